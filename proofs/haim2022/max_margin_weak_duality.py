r"""Multipliers that no neuron violates bound every network's norm from below; with equality a KKT point is the optimum.

Let h(w) = Σ_i λ_i y_i relu(w·x̃_i) with λ_i ≥ 0. If M ≥ 0 and |h(w_k)| ≤ M ‖w_k‖ for the neurons of a network f(x) = Σ_k v_k
relu(w_k·x̃) with y_i f(x_i) ≥ 1, then M ½‖θ‖² ≥ Σ λ_i. So λ with |h(w)| ≤ ‖w‖ for all w bound the norm of every network, and
one with ½‖θ‖² = Σ λ_i has the largest margin. This is what a KKT point has to be checked for in addition, since KKT points
need not be optimal (`kkt_is_optimal_as_printed`).

Notes
-----
Proof. M ½ Σ (‖w_k‖² + v_k²) ≥ M Σ |v_k| ‖w_k‖ ≥ Σ v_k h(w_k) = Σ_i λ_i y_i f(x_i) ≥ Σ λ_i, by ½(a² + b²) = ab + ½(a - b)²,
the bound of h, exchanging sums, and the margins with λ ≥ 0. At a KKT point of the problem v_k = h(w_k) and ‖w_k‖ = |v_k|,
so |h(w_k)| = ‖w_k‖ holds at its own neurons: the bound is a matter of all the others.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, at_most, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $\lambda \ge 0$, $h(w) = \sum_i \lambda_i y_i\,\mathrm{relu}(w \cdot \tilde x_i)$ and $f(x) =
    \sum_k v_k\, \mathrm{relu}(w_k \cdot \tilde x)$ with $y_i f(x_i) \ge 1$ for all $i$. If $|h(w_k)| \le M\|w_k\|$
    for all $k$, then $M \cdot \frac12\|\theta\|^2 \ge \sum_i \lambda_i$.""",
    source=Source("derived", note="the dual of the convex program of Pilanci and Ergen 2020, for margins"),
    expected="proved",
    does_not_say="that multipliers with equality exist: that is strong duality, shown case by case by certificates",
)

MARGINS, MULTIPLIERS, BOUND = "margins of at least 1", "λ ≥ 0", "the bound at the neurons"

VECTORS = ((1, 0), (0, 1), (3, 4), (4, 3), (-3, 4), (4, -3), (-1, 0), (0, -1), (5, 12), (-4, -3), (0, 0))


@dataclass(frozen=True)
class Network:
    """Neurons with integer norms, output weights, samples, labels, multipliers and M."""

    hidden: np.ndarray
    norms: np.ndarray
    outer: np.ndarray
    inputs: np.ndarray
    labels: np.ndarray
    multipliers: np.ndarray
    bound: float


def network(hidden, outer, inputs, labels, multipliers, bound):
    hidden = np.array(hidden, dtype=float)
    norms = np.rint(np.linalg.norm(hidden, axis=1))
    return Network(
        hidden, norms, *(np.array(part, dtype=float) for part in (outer, inputs, labels, multipliers)), bound
    )


@st.composite
def networks(draw, *, least=1.0):
    # 31 and 37: two choices that shrink fast stand for all neurons
    width, count, pick = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(0, 120))
    hidden = np.array([VECTORS[(pick + 31 * k * (pick + 37)) % len(VECTORS)] for k in range(width)], dtype=float)
    numbers = draw(readable_arrays((width + 3 * count,)))
    outer, inputs, multipliers = numbers[:width], numbers[width : width + 2 * count].reshape(count, 2), numbers[-count:]
    outputs = np.maximum(inputs @ hidden.T, 0.0) @ outer
    labels = np.where(outputs < 0, -1.0, 1.0)
    smallest = np.min(np.abs(outputs))
    if smallest > 0:  # output weights that make the margins at least what is wanted, by a power of two
        outer = outer * 2.0 ** np.ceil(np.log2(least / smallest))
    multipliers = np.abs(multipliers)
    heights = np.abs(np.maximum(hidden @ inputs.T, 0.0) @ (multipliers * labels))
    norms = np.rint(np.linalg.norm(hidden, axis=1))
    # the smallest M that is allowed, rounded up to a multiple of 1/16
    ratio = max((a / b for a, b in zip(heights, norms, strict=True) if b > 0), default=0.0)
    return network(hidden, outer, inputs, labels, multipliers, float(np.ceil(16 * ratio) / 16))


def on_a_line(size, first, second, factor):
    """One neuron (1, 0), output weight 1, and samples at 1 and `factor` with the multipliers first and -second."""
    inputs, height = [(1, 0), (factor, 0)], abs(first - factor * second)
    return network([(1, 0)], [size], inputs, [1, 1], [first, -second], float(height))


SIGNED = st.builds(on_a_line, st.just(1), st.integers(0, 4), st.integers(0, 2), st.integers(1, 3))
SHORT = st.builds(on_a_line, st.sampled_from((0.5, 1.0)), st.integers(0, 4), st.just(0), st.integers(1, 3))


theorem.instances(networks())


def relu(values):
    return np.where(np.asarray(values > 0, dtype=bool), values, 0 * values)


def margins(case):
    return case.labels * (relu(case.inputs @ case.hidden.T) @ case.outer)


def heights(case):
    """h(w_k)."""
    return relu(case.hidden @ case.inputs.T) @ (case.multipliers * case.labels)


@theorem.hypothesis(MARGINS, arithmetic=RATIONAL)
def separates(case):
    return all(margin >= 1 for margin in margins(case))


@theorem.hypothesis(MULTIPLIERS, arithmetic=RATIONAL)
def nonnegative(case):
    return all(value >= 0 for value in case.multipliers)


@theorem.hypothesis(BOUND, arithmetic=RATIONAL)
def bounded(case):
    return all(abs(h) <= case.bound * norm for h, norm in zip(heights(case), case.norms, strict=True))


@theorem.degenerate
def a_dead_neuron(case):
    return any(norm == 0 for norm in case.norms)


def objective(case):
    return (case.norms @ case.norms + case.outer @ case.outer) / 2


@theorem.claim(arithmetics=(RATIONAL,))
def norm_is_bounded_below(case):
    total = sum(case.multipliers)
    lengths = abs(case.outer) @ case.norms
    yield at_most(total, case.bound * lengths, operations=30, name="Σ λ_i ≤ M Σ |v_k| ‖w_k‖")
    yield at_most(lengths, objective(case), operations=30, name="Σ |v_k| ‖w_k‖ ≤ ½‖θ‖²")
    yield at_most(total, case.bound * objective(case), operations=30, name="Σ λ_i ≤ M ½‖θ‖²")


@theorem.derivation
def chain_of_inequalities():
    """Sums over neurons and samples are exchanged termwise; two of each are generic, by linearity."""
    import sympy as sp

    a, b, M = sp.symbols("a b M", nonnegative=True)
    yield identity("½(a² + b²) = ab + ½(a - b)²", (a**2 + b**2) / 2, sp.expand(a * b + (a - b) ** 2 / 2))
    v, lam, y = sp.symbols("v_1:3"), sp.symbols("lambda_1:3", nonnegative=True), sp.symbols("y_1:3")
    r = sp.Matrix(2, 2, sp.symbols("r_1:5"))  # relu(w_k·x_i), any numbers
    heights = [sum(lam[i] * y[i] * r[k, i] for i in (0, 1)) for k in (0, 1)]
    outputs = [sum(v[k] * r[k, i] for k in (0, 1)) for i in (0, 1)]
    yield identity(
        "Σ_k v_k h(w_k) = Σ_i λ_i y_i f(x_i)",
        sp.expand(sum(v[k] * heights[k] for k in (0, 1))),
        sp.expand(sum(lam[i] * y[i] * outputs[i] for i in (0, 1))),
    )
    m, e = sp.symbols("m e", nonnegative=True)
    yield identity("a margin 1 + e with e ≥ 0 adds λ e ≥ 0", sp.expand(lam[0] * (1 + e)), lam[0] + lam[0] * e)
    yield identity(
        "v h ≤ |v| M ‖w‖ where h = M ‖w‖ - m with m ≥ 0 and v ≥ 0", sp.expand(a * (M * b - m)), a * M * b - a * m
    )


@theorem.without(MARGINS)
def a_short_margin():
    return network([(1, 0)], [0.5], [(1, 0)], [1], [1], 1.0)


@theorem.without(MULTIPLIERS)
def a_negative_multiplier():
    # margins 1 and 2: -1·2 + 2·1 = 0, so M = 0 is allowed, and Σ λ = 1
    return network([(1, 0)], [1], [(1, 0), (2, 0)], [1, 1], [2, -1], 0.0)


@theorem.without(BOUND)
def too_small_a_bound():
    return network([(1, 0)], [1], [(1, 0)], [1], [2], 1.0)


@theorem.false_twin("half the margin is enough", instances=SHORT, without=(MARGINS,))
def half_margins(case):
    if not all(2 * margin >= 1 for margin in margins(case)):
        return at_most(0 * case.bound, 0 * case.bound, operations=1, name="nothing is claimed")
    return at_most(sum(case.multipliers), case.bound * objective(case), operations=30, name="Σ λ_i ≤ M ½‖θ‖²")


@theorem.false_twin("multipliers may have any sign", instances=SIGNED, without=(MULTIPLIERS,))
def any_sign(case):
    return at_most(sum(case.multipliers), case.bound * objective(case), operations=30, name="Σ λ_i ≤ M ½‖θ‖²")


@theorem.false_twin("the first layer alone is as long: Σ λ_i ≤ M ½‖W‖²")
def first_layer_only(case):
    half = case.norms @ case.norms / 2
    return at_most(sum(case.multipliers), case.bound * half, operations=30, name="Σ λ_i ≤ M ½‖W‖²")


@theorem.false_twin("twice the multipliers: 2 Σ λ_i ≤ M ½‖θ‖², since ‖θ‖² = 2 Σ λ_i at KKT points")
def doubled(case):
    return at_most(2 * sum(case.multipliers), case.bound * objective(case), operations=30, name="2 Σ λ_i ≤ M ½‖θ‖²")
