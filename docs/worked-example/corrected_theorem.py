"""One gradient tells how many samples were in the batch, if the sensitivities are independent.

The corrected theorem. With Δ the (m, B) matrix whose columns are the sensitivities r_i·(a ⊙ relu'(W x_i)), and X the (B, d)
matrix of inputs, dL/dW = Δ X. If the columns of Δ are independent and so are the inputs, the rank is B. Zero residuals, dead
units and repeated activation patterns make Δ lose rank, and then samples disappear from the count.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import positive, rank
from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For f(x) = a^T relu(Wx) and B samples: if the sensitivities r_i (a * relu'(W x_i)) are linearly independent
    and the inputs x_i are linearly independent, then rank dL/dW = B.""",
    source=Source("a conjecture, corrected"),
    expected="certified",
)


@dataclass(frozen=True)
class Batch:
    """Inputs x_i (B, d), residuals r_i (B,), first layer W (m, d) and output weights a (m,)."""

    inputs: np.ndarray
    residuals: np.ndarray
    weight: np.ndarray
    output_weight: np.ndarray

    def sensitivities(self):
        """The matrix of the r_i (a * relu'(W x_i)), shape (B, m)."""
        return self.residuals[:, None] * self.output_weight * positive(self.inputs @ self.weight.T)


@theorem.instances
def batches(draw):
    size, extra, wider = draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.integers(0, 3))
    dimension, width = size + extra, size + wider
    return Batch(
        draw(readable_arrays((size, dimension))),
        draw(readable_arrays((size,))),
        draw(readable_arrays((width, dimension))),
        draw(readable_arrays((width,), nonzero=True)),
    )


@theorem.hypothesis("independent sensitivities", arithmetic=RATIONAL)
def independent_sensitivities(batch):
    return rank(batch.sensitivities()) == len(batch.inputs)


@theorem.hypothesis("independent inputs", arithmetic=RATIONAL)
def independent_inputs(batch):
    return rank(batch.inputs) == len(batch.inputs)


@theorem.claim(arithmetics=(RATIONAL,))
def rank_is_batch_size(batch):
    return holds(rank(batch.sensitivities().T @ batch.inputs) == len(batch.inputs), name="rank dL/dW = B")


@theorem.without("independent sensitivities")
def a_sample_that_is_fitted_exactly():
    return Batch(np.eye(2), np.array([1.0, 0.0]), np.eye(2), np.ones(2))


@theorem.without("independent inputs")
def the_same_sample_on_two_sides_of_a_unit():
    return Batch(np.array([[1.0, 0.0], [-1.0, 0.0]]), np.ones(2), np.array([[1.0, 0.0], [-1.0, 0.0]]), np.ones(2))


@theorem.false_twin("nonzero residuals suffice", without=("independent sensitivities",))
def nonzero_residuals(batch):
    if all(residual != 0 for residual in batch.residuals):
        yield rank_is_batch_size(batch)
    else:
        yield holds(True, name="nothing is claimed")


@theorem.false_twin("independent inputs are not needed", without=("independent inputs",))
def any_inputs(batch):
    return rank_is_batch_size(batch)


@theorem.false_twin("the rank is the width")
def rank_is_width(batch):
    gradient = batch.sensitivities().T @ batch.inputs
    return holds(rank(gradient) == len(gradient), name="rank dL/dW = m")
