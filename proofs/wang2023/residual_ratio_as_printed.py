r"""Erratum: for labels ±1 and the sigmoid, ReLU or leaky ReLU the residuals do not have one size: κ is 3 or 2.33, not 1.

Claim 5.4 as printed: if the labels are ±1 and the samples have norm one, then κ = max|r*_i|/min|r*_i| = 1 for the sigmoid,
ReLU and leaky ReLU (and tanh), where r*_i = E σ(Z) - y_i. It holds for odd σ, where r*_i = -y_i, and for batches with one
label. With both labels it fails for each of the three: the residuals have the sizes 1 ± E σ(Z).

Notes
-----
E σ(Z) is 1/2 for the sigmoid, by sigmoid(z) + sigmoid(-z) = 1; (1 - α)/√(2π) for a leaky ReLU of slope α.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, FLOAT64, RATIONAL, arccos, constant, sqrt
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""As printed: for unit-norm samples with labels $y_i \in \{\pm1\}$ and $\sigma$ the sigmoid, ReLU or leaky
    ReLU, $\kappa = \max_i|r^*_i|/\min_i|r^*_i| = 1$ where $r^*_i = E\sigma(Z) - y_i$.""",
    source=Source("Wang, Lee, Lei, arXiv:2212.03714v3", "Claim 5.4", "read in the proceedings version; restated"),
    expected="refuted",
    corrected_by="wang2023.residual_ratio",
    does_not_say="the claim is right for tanh and erf, and for batches in which one label occurs",
)


@dataclass(frozen=True)
class Batch:
    """The activation and its slope left of zero, the norm that all samples have, labels, a known constant at the output."""

    activation: str
    slope: float
    norm: float
    labels: np.ndarray
    offset: float = 0.0


ACTIVATIONS = st.sampled_from((("sigmoid", 0.0), ("relu", 0.0), ("leaky relu", 0.01)))


def draw_batch(draw, *, norms=(1.0,), offsets=(0.0,)):
    labels = np.where(draw(readable_arrays((draw(st.integers(1, 3)),))) < 0, -1.0, 1.0)
    return Batch(*draw(ACTIVATIONS), draw(st.sampled_from(norms)), labels, draw(st.sampled_from(offsets)))


@theorem.instances
def batches(draw):
    return draw_batch(draw)


# the statement is false with all its hypotheses, so none of them is shown to be needed
@theorem.hypothesis("the labels are 1 or -1", necessity_unknown=True)
def binary(batch):
    return all(abs(label) == 1 for label in batch.labels)


def residuals(batch):
    """r*_i = E σ(sZ) + M - y_i."""
    if batch.activation == "sigmoid":
        mean = constant(0.5, batch.labels)
    else:
        norm = batch.norm + 0 * batch.labels[0]
        mean = (1 - batch.slope) * norm / sqrt(4 * arccos(0 * norm))
    return mean + batch.offset - batch.labels


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def one_size(batch):
    sizes = abs(residuals(batch))
    # a dozen roundings in the mean
    return equal(sizes, sizes[0] + 0 * sizes, operations=12, magnitude=2 * sizes, name="κ = 1")


@theorem.counterexample
def a_pair_of_labels():
    return Batch("sigmoid", 0.0, 1.0, np.array([1.0, -1.0]))


def bounded(batch, factor):
    sizes = abs(residuals(batch))
    for size in sizes:
        yield at_most(sizes, factor * size + 0 * sizes, operations=12, magnitude=2 * sizes, name=f"κ <= {factor}")


@theorem.false_twin("κ is at most 2")
def at_most_two(batch):
    return list(bounded(batch, 2))


def with_constants(draw):
    return draw_batch(draw, offsets=(2.0, 4.0))


@theorem.false_twin(
    "κ = 1 once a constant of at least twice the labels is added to the output", instances=with_constants
)
def constant_added(batch):
    return one_size(batch)


def with_small_constants(draw):
    return draw_batch(draw, offsets=(1.0, 0.5))


@theorem.false_twin("any positive output constant keeps κ below 3", instances=with_small_constants)
def any_constant(batch):
    return list(bounded(batch, 3))


def shrunk(draw):
    return draw_batch(draw, norms=(0.5, 0.25))


@theorem.false_twin("κ = 1 for small norms, where σ is nearly linear", instances=shrunk)
def small_norms(batch):
    return one_size(batch)
