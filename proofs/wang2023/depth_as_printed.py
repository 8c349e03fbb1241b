r"""Erratum: depth is not neutral: batches that one hidden layer cannot tell apart are told apart by two.

The remark after Corollary 5.2 as printed says that depth neither helps nor hurts the attacker, since the bound of Algorithm 2
is that of Algorithm 1. Read as a statement on what gradients tell, it is false: with σ(z) = z² there are batches of the same
residuals that have the same gradient for one hidden layer at every W, and different gradients for two.

The claim below is what the remark implies: the same gradient with one hidden layer, at the given W, and so with two.

Notes
-----
Squares are the paper's own example of an activation that loses the samples. With two hidden layers each of them can even be
found by itself: ``wang2023.depth_separates_samples``.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial
from provable.arithmetic import RATIONAL, full
from provable.networks import Parameters, forward, loss_gradient
from provable.theorems import Source, Theorem, holds
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""As printed: depth neither helps nor hurts the reconstruction from a gradient. Implied: if two batches with
    the same residuals have the same gradient $\sum_i r_i\nabla f(x_i)$ for $f(x) = a^T\sigma(Wx)$ at every $W$, they have
    the same gradient for $f(x) = a^T\sigma(W_2\sigma(W_1x))$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3", "remark after Corollary 5.2", "read; restated as an implication"
    ),
    expected="refuted",
    corrected_by="wang2023.depth_separates_samples",
    does_not_say="that the bound printed for Algorithm 2 is wrong: depth does not help that algorithm",
)


@dataclass(frozen=True)
class Pair:
    """Two samples, a factor of both residuals, the same samples turned (or not), and the weights of two hidden layers."""

    samples: np.ndarray
    residual: float
    turned: bool
    first: np.ndarray
    second: np.ndarray


def draw_pair(draw, *, orthonormal=False):
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((7,)))
    samples = np.eye(2) if orthonormal else numbers[:4].reshape(2, 2)
    first, second = numbers[4:6].reshape(1, 2), numbers[6:].reshape(1, 1)
    residual = draw(st.sampled_from((1.0, -1.0, 2.0)))
    return Pair(samples, residual, draw(st.booleans()), first, second)


@theorem.instances
def pairs(draw):
    return draw_pair(draw)


@theorem.degenerate
def zero_gradient(pair):
    return not (pair.samples.any() and pair.first.any() and pair.second.any())


# the statement is false with all its hypotheses, so none of them is shown to be needed
@theorem.hypothesis("the residual is not zero", arithmetic=RATIONAL, necessity_unknown=True)
def visible(pair):
    return pair.residual != 0


def gradient(weights, samples, pair):
    """All pieces of the gradient for the labels that leave the residuals, by the package."""
    layers, values = [], {}
    for index, weight in enumerate(weights):
        layers += [Linear(len(weight), bias=False), Polynomial((0.0, 0.0, 1.0))]
        values[f"{2 * index}/weight"] = weight
    network = Architecture("squares", (2,), tuple(layers[:-1]), "squared")
    theta = Parameters(network, values)
    residuals = full((2, 1), 0, samples) + pair.residual
    return loss_gradient(network, theta, samples, forward(network, theta, samples) - residuals)


def batches(pair):
    """The samples, and the samples turned among themselves."""
    one, other = pair.samples
    turned = np.array([(3 * one + 4 * other) / 5, (4 * one - 3 * other) / 5])
    return pair.samples, turned if pair.turned else pair.samples


def implied(pair, piece=None):
    output = full((1, 1), 1, pair.samples)
    shallow = [gradient((pair.first, pair.second), batch, pair).vector() for batch in batches(pair)]
    deep = [gradient((pair.first, pair.second, output), batch, pair) for batch in batches(pair)]
    chosen = [one.vector() if piece is None else one[piece].reshape(-1) for one in deep]
    name = "the same gradient with one hidden layer, so the same with two"
    return holds(any(shallow[0] != shallow[1]) or all(chosen[0] == chosen[1]), name=name)


@theorem.claim(arithmetics=(RATIONAL,))
def depth_does_not_matter(pair):
    return implied(pair)


@theorem.counterexample
def two_orthonormal_samples():
    return Pair(np.eye(2), 1.0, True, np.eye(2), np.array([[1.0, 0.0]]))


@theorem.false_twin("true for orthonormal samples", instances=lambda draw: draw_pair(draw, orthonormal=True))
def orthonormal_samples(pair):
    return implied(pair)


@theorem.false_twin("true for the gradient of the first layer")
def first_layer(pair):
    return implied(pair, "0/weight")


@theorem.false_twin("true for the gradient of the second layer")
def second_layer(pair):
    return implied(pair, "2/weight")


@theorem.false_twin("true for the gradient of the output weights")
def output_weights(pair):
    return implied(pair, "4/weight")
