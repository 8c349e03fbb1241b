"""One gradient tells how many samples were in the batch.

A first guess, written down as quickly as it was made: for f(x) = aᵀσ(Wx) with ReLU units, the gradient of the first layer
is a sum of B rank-one matrices, so its rank is the batch size B, as long as B exceeds neither the width nor the dimension.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import positive, rank
from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"For f(x) = a^T relu(Wx) and B <= min(m, d) samples, rank dL/dW = B.",
    source=Source("a conjecture"),
)


@dataclass(frozen=True)
class Batch:
    """Inputs x_i (B, d), residuals r_i (B,), first layer W (m, d) and output weights a (m,)."""

    inputs: np.ndarray
    residuals: np.ndarray
    weight: np.ndarray
    output_weight: np.ndarray


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


def first_layer_gradient(batch):
    """dL/dW = sum_i r_i (a * relu'(W x_i)) x_i^T, a matrix of shape (m, d)."""
    active = positive(batch.inputs @ batch.weight.T)
    sensitivities = batch.residuals[:, None] * batch.output_weight * active
    return sensitivities.T @ batch.inputs


@theorem.claim(arithmetics=(RATIONAL,))
def rank_is_batch_size(batch):
    return holds(rank(first_layer_gradient(batch)) == len(batch.inputs), name="rank dL/dW = B")
