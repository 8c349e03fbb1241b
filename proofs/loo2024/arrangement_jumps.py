"""Across the hyperplane of a sample the first-layer change jumps by that sample; half a great circle meets each of them once.

g(w) = Σ_j α_j 1[w·x_j > 0] x_j is the change of the first-layer weights of a ReLU neuron that starts at w, per unit of output
weight, in the kernel regime at infinite width. It depends on w/‖w‖ only, and up to positive factors the neurons
w(τ) = u + τv, τ ∈ R, are the half great circle from -v to v. Let no x_j·v vanish and let the hyperplanes w·x_j = 0 be met at
different τ_j = -(u·x_j)/(v·x_j). Then

* g(w(τ)) is constant except at τ_1, …, τ_n, where it jumps by J_j = sign(x_j·v) α_j x_j;
* J_j·w(τ_j) = 0, which predicts τ_j from the jump alone, and sign(J_j·v) = sign α_j, so that the sign of the coefficient and
  the axis of the sample can be read off, but not on which side of the hyperplane the sample lies: -x_j with the same α_j
  gives the same jump;
* g(w) + g(-w) = Σ_j α_j x_j for every w that lies on no hyperplane.

This is the constructive proof that the parameters of an infinitely wide network, one hidden ReLU layer, kernel regime,
contain all samples with α_j ≠ 0, up to scaling and, without biases, orientation.

Notes
-----
Proof. x_j·w(τ_j + δ) = δ x_j·v, so the j-th indicator, and no other, changes at τ_j, from 1[-x_j·v > 0] to 1[x_j·v > 0], that
is by sign(x_j·v). The rest is substitution; -x_j in place of x_j changes both signs. The derivation does these steps for one
term with all numbers symbolic; g is their sum.

Derived here; the dual, with neurons and samples exchanged, of the critical points at which ReLU networks are extracted.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, constant
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $g(w) = \sum_j \alpha_j 1[w^Tx_j > 0]\, x_j$ with $\alpha_j \ne 0$ and $w(\tau) = u + \tau v$ with
    $v^Tx_j \ne 0$ and the $\tau_j = -u^Tx_j/v^Tx_j$ distinct. Then $g(w(\tau))$ is constant but for jumps
    $J_j = \mathrm{sign}(v^Tx_j)\,\alpha_jx_j$ at the $\tau_j$; $J_j^Tw(\tau_j) = 0$, $\mathrm{sign}(J_j^Tv) =
    \mathrm{sign}\,\alpha_j$, the jumps do not change if $x_j$ is replaced by $-x_j$, and $g(w) + g(-w) = \sum_j\alpha_jx_j$
    off the hyperplanes.""",
    source=Source(
        "derived",
        note="makes Theorem 1 of Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2, constructive for one hidden layer",
    ),
    expected="proved",
)


@dataclass(frozen=True)
class HalfCircle:
    """Samples (n, d), their coefficients (n,), and the two vectors (2, d) that span the circle."""

    points: np.ndarray
    coefficients: np.ndarray
    plane: np.ndarray


@theorem.instances
def half_circles(draw):
    count, dimension = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    points = draw(readable_arrays((count, dimension)))
    coefficients = draw(readable_arrays((count,)))
    plane = draw(readable_arrays((2, dimension)))
    # small generic parts: readable points meet at one angle more often than not
    jitter = np.array([[((7 * i + 3 * k) % 11 - 5) / 64 for k in range(dimension)] for i in range(count)])
    return HalfCircle(points + jitter, coefficients, plane + np.array([[1 / 16], [1 / 8]]))


@theorem.hypothesis("no sample is orthogonal to v", arithmetic=RATIONAL)
def crossed(case):
    return all(entry != 0 for entry in case.points @ case.plane[1])


@theorem.hypothesis("the hyperplanes are met one at a time", arithmetic=RATIONAL)
def one_at_a_time(case):
    heights, slopes = case.points @ case.plane[0], case.points @ case.plane[1]
    count = len(heights)
    return all(
        heights[i] * slopes[k] != heights[k] * slopes[i]
        for i in range(count)
        for k in range(i)
        if slopes[i] != 0 != slopes[k]
    )


@theorem.hypothesis("no coefficient is zero", arithmetic=RATIONAL)
def visible(case):
    return all(entry != 0 for entry in case.coefficients)


def change(case, neuron):
    """g at a neuron."""
    total = 0 * case.points[0]
    for point, coefficient in zip(case.points, case.coefficients, strict=True):
        if point @ neuron > 0:
            total = total + coefficient * point
    return total


def angles(case):
    """The different τ at which hyperplanes are met, in order."""
    heights, slopes = case.points @ case.plane[0], case.points @ case.plane[1]
    found = []
    for tau in sorted(-height / slope for height, slope in zip(heights, slopes, strict=True) if slope != 0):
        if not found or tau != found[-1]:
            found.append(tau)
    return found


def values_along(case):
    """g between the τ's, from -∞ to ∞: two neurons in each piece."""
    met = angles(case)
    half = constant(0.5, case.points)
    if not met:
        return [], [[change(case, case.plane[0] - case.plane[1]), change(case, case.plane[0] + case.plane[1])]]
    ends = [met[0] - 2, *met, met[-1] + 2]
    pieces = []
    for left, right in itertools.pairwise(ends):
        middle, quarter = (left + right) * half, (3 * left + right) * half * half
        pieces.append([change(case, case.plane[0] + tau * case.plane[1]) for tau in (quarter, middle)])
    return met, pieces


def sign(number):
    return (number > 0) - (number < 0)


@theorem.claim(arithmetics=(RATIONAL,))
def jumps(case):
    met, pieces = values_along(case)
    yield holds(len(met) == len(case.points), name="every hyperplane is met once")
    for left, right in pieces:
        yield equal(left, right, operations=4, name="g is constant in between")
    slopes = case.points @ case.plane[1]
    heights = case.points @ case.plane[0]
    for tau, before, after in zip(met, pieces[:-1], pieces[1:], strict=True):
        jump = after[0] - before[0]
        yield holds(any(entry != 0 for entry in jump), name="g jumps")
        j = next(k for k in range(len(slopes)) if slopes[k] != 0 and heights[k] + tau * slopes[k] == 0)
        yield equal(jump, sign(slopes[j]) * case.coefficients[j] * case.points[j], operations=4, name="by ±α_j x_j")
        yield equal(
            jump @ (case.plane[0] + tau * case.plane[1]),
            0 * tau,
            operations=8,
            name="the jump is orthogonal to its neuron",
        )
        yield holds(sign(jump @ case.plane[1]) == sign(case.coefficients[j]), name="sign(J·v) = sign α_j")
    neuron = case.plane[0] + (met[-1] + 1) * case.plane[1] if met else case.plane[0]
    if all(entry != 0 for entry in case.points @ neuron):
        total = case.coefficients @ case.points
        yield equal(change(case, neuron) + change(case, -neuron), total, operations=8, name="g(w) + g(-w) = Σ α_j x_j")


@theorem.derivation
def one_term():
    import sympy as sp

    height, slope, delta, alpha, x = sp.symbols("h b delta alpha x", real=True, nonzero=True)
    tau = -height / slope
    yield identity("x·w(τ_j + δ) = δ x·v", height + (tau + delta) * slope, delta * slope)

    def step(number):
        return (1 + sp.sign(number)) / 2

    positive = sp.symbols("delta", positive=True)
    yield identity(
        "the indicator changes by sign(x·v)",
        step(positive * slope) - step(-positive * slope),
        sp.sign(slope),
    )
    jump = sp.sign(slope) * alpha  # of the component along x
    yield identity("J·w(τ_j) = 0", jump * (height + tau * slope), 0)
    yield identity("J·v = α|x·v|", jump * slope, alpha * sp.Abs(slope))
    flipped = sp.sign(-slope) * alpha * (-x)
    yield identity("-x jumps as x does", flipped, sp.sign(slope) * alpha * x)
    yield identity("1[z > 0] + 1[-z > 0] = 1 off the hyperplane", step(height) + step(-height), 1)


@theorem.without("no sample is orthogonal to v")
def a_hyperplane_that_is_never_met():
    return HalfCircle(np.array([[1.0, 0.0]]), np.array([1.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))


@theorem.without("the hyperplanes are met one at a time")
def two_hyperplanes_at_one_angle():
    return HalfCircle(
        np.array([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]]),
        np.array([1.0, 1.0]),
        np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
    )


@theorem.without("no coefficient is zero")
def a_sample_without_weight():
    return HalfCircle(np.array([[1.0, 1.0]]), np.array([0.0]), np.array([[1.0, 0.0], [0.0, 1.0]]))


@theorem.false_twin("g jumps by α_j x_j whichever way the hyperplane is met", arithmetics=(RATIONAL,))
def without_the_sign(case):
    met, pieces = values_along(case)
    slopes, heights = case.points @ case.plane[1], case.points @ case.plane[0]
    for tau, before, after in zip(met, pieces[:-1], pieces[1:], strict=True):
        j = next(k for k in range(len(slopes)) if slopes[k] != 0 and heights[k] + tau * slopes[k] == 0)
        yield equal(after[0] - before[0], case.coefficients[j] * case.points[j], operations=4, name="J_j = α_j x_j")


@theorem.false_twin("the jumps tell a sample from its antipode", arithmetics=(RATIONAL,))
def orientation_is_visible(case):
    mirrored = HalfCircle(-case.points, case.coefficients, case.plane)
    here, there = values_along(case)[1], values_along(mirrored)[1]
    same = all(
        all(a == b for a, b in zip(x[0] - y[0], z[0] - w[0], strict=True))
        for y, x, w, z in zip(here[:-1], here[1:], there[:-1], there[1:], strict=True)
    )
    return holds(not same, name="some jump changes")


@theorem.false_twin("g is odd", arithmetics=(RATIONAL,))
def odd(case):
    neuron = case.plane[0] + (angles(case)[-1] + 1) * case.plane[1]
    return equal(change(case, -neuron), -change(case, neuron), operations=4, name="g(-w) = -g(w)")


@theorem.false_twin(
    "the jump is a sample also where hyperplanes are met together",
    without=("the hyperplanes are met one at a time",),
    arithmetics=(RATIONAL,),
)
def met_together(case):
    return jumps(case)
