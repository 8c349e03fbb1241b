r"""The max-margin problem of two-layer ReLU networks is convex in u = |v| w: balanced neurons, one for each pattern and sign.

A neuron (w, v) with w = a² e, v = ±b², ‖e‖ = 1, can be balanced: (ab e, ±ab) gives the same function, and half its squared
norm is a² b² = |v| ‖w‖, the least that a rescaling reaches. So ½‖θ‖² may be replaced by Σ ‖u_k‖, u_k = |v_k| w_k. Two
neurons of one sign that are active on the same samples may be replaced by u_1 + u_2: it has the same pattern and values,
and ‖u_1 + u_2‖ ≤ ‖u_1‖ + ‖u_2‖. Hence the problem and the convex program

    min Σ_{D,σ} ‖u_Dσ‖  s.t.  y_i Σ_{D,σ} σ D_ii x̃_i·u_Dσ ≥ 1,  (2D - 1) X̃ u_Dσ ≥ 0

over the activation patterns D of the samples and both signs σ have the same optimum.

Notes
-----
Proof. ½(a⁴ + b⁴) = a²b² + ½(a² - b²)². (c w, v/c) has the same function for c > 0 as relu(cz) = c relu(z). Inner products
that are positive have a positive sum, and those that are not have one that is not; relu is linear on each side. The
triangle inequality is Cauchy and Schwarz's. Conversely each u_Dσ ≠ 0 is a neuron w = u/√‖u‖, v = σ√‖u‖ of half squared
norm ‖u‖.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, at_most, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Rescaling a neuron to $\|w\| = |v|$ keeps $f$ and minimises $\frac12(\|w\|^2 + v^2)$ to $|v|\|w\|$.
    Neurons $u_1, u_2$ ($u = |v| w$) of one sign and one activation pattern on the samples can be replaced by $u_1 +
    u_2$ without changing $f$ at the samples, and $\|u_1 + u_2\| \le \|u_1\| + \|u_2\|$. So the max-margin problem has
    the optimum of the convex program over patterns.""",
    source=Source(
        "arXiv:2002.10553", "Theorem 1, for margins", "from memory: Pilanci and Ergen treat losses; derived here"
    ),
    expected="proved",
    does_not_say="that f is unchanged away from the samples, nor anything for three layers",
)

SIGN, PATTERN, BALANCE = "one sign", "one activation pattern", "positive factors"

VECTORS = ((1, 0), (0, 1), (3, 4), (4, 3), (-3, 4), (5, 12), (12, 5), (-1, 0), (4, -3))


@dataclass(frozen=True)
class Neurons:
    """Two neurons u = length · direction / norm of it, signs, a balance factor a/b, and samples."""

    directions: np.ndarray
    norms: np.ndarray
    roots: np.ndarray
    signs: np.ndarray
    inputs: np.ndarray


def neurons(first, second, roots, signs, inputs):
    directions = np.array([first, second], dtype=float)
    norms = np.rint(np.linalg.norm(directions, axis=1))
    return Neurons(directions, norms, *(np.array(part, dtype=float) for part in (roots, signs, inputs)))


@st.composite
def pairs(draw, *, same_pattern=True, same_sign=True):
    first, second = (VECTORS[draw(st.integers(0, len(VECTORS) - 1))] for _ in range(2))
    numbers = draw(readable_arrays((10,)))
    roots = np.where(numbers[:4] == 0, 1.0, np.abs(numbers[:4])).reshape(2, 2)
    inputs = numbers[4:].reshape(3, 2)
    if same_pattern:  # the samples on which both are active, or neither
        products = inputs @ np.array([first, second], dtype=float).T
        inputs = inputs[(products[:, 0] > 0) == (products[:, 1] > 0)]
    sign = draw(st.sampled_from((1.0, -1.0)))
    return neurons(first, second, roots, (sign, sign if same_sign else -sign), inputs.reshape(-1, 2))


theorem.instances(pairs())


@theorem.hypothesis(SIGN, arithmetic=RATIONAL)
def same_sign(case):
    return case.signs[0] == case.signs[1]


@theorem.hypothesis(PATTERN, arithmetic=RATIONAL)
def same_pattern(case):
    return all(bool(p > 0) == bool(q > 0) for p, q in case.inputs @ case.directions.T)


@theorem.hypothesis(BALANCE, arithmetic=RATIONAL)
def positive_roots(case):
    return all(root > 0 for root in case.roots.reshape(-1))


@theorem.degenerate
def no_samples(case):
    return len(case.inputs) == 0


def relu(values):
    return np.where(np.asarray(values > 0, dtype=bool), values, 0 * values)


def unit(case, k):
    return case.directions[k] / case.norms[k]


def u(case, k):
    """|v| w for w = a² e and v = ±b²."""
    a, b = case.roots[k]
    return a * a * b * b * unit(case, k)


def balanced(case, power=1):
    """Both rescaled by c = (b/a)^power > 0: (c w, v / c)."""
    for k in (0, 1):
        a, b = case.roots[k]
        factor = (b / a) ** power
        w, v = a * a * unit(case, k), case.signs[k] * b * b
        yield k, (w, v), (factor * w, v / factor)


def half_square(neuron):
    w, v = neuron
    return (w @ w + v * v) / 2


@theorem.claim(arithmetics=(RATIONAL,))
def problem_is_convex(case):
    for k, before, after in balanced(case):
        length = case.roots[k][0] ** 2 * case.roots[k][1] ** 2
        yield equal(
            after[1] * relu(case.inputs @ after[0]),
            before[1] * relu(case.inputs @ before[0]),
            operations=20,
            name="the same function",
        )
        yield equal(half_square(after), length, operations=20, name="½(‖w‖² + v²) = |v| ‖w‖ after balancing")
        yield at_most(length, half_square(before), operations=20, name="|v| ‖w‖ ≤ ½(‖w‖² + v²)")
        yield equal(u(case, k) @ u(case, k), length * length, operations=20, name="‖u‖ = |v| ‖w‖")
    yield from merged(case)


def merged(case):
    """u_1 + u_2 instead of both."""
    total = u(case, 0) + u(case, 1)
    separate = sum(case.signs[k] * relu(case.inputs @ u(case, k)) for k in (0, 1))
    yield equal(
        case.signs[0] * relu(case.inputs @ total), separate, operations=20, name="the same values at the samples"
    )
    lengths = sum(case.roots[k][0] ** 2 * case.roots[k][1] ** 2 for k in (0, 1))
    yield at_most(total @ total, lengths * lengths, operations=20, name="‖u_1 + u_2‖ ≤ ‖u_1‖ + ‖u_2‖")
    for product, one in zip(case.inputs @ total, case.inputs @ u(case, 0), strict=True):
        yield holds(bool(product > 0) == bool(one > 0), name="the same pattern")


@theorem.derivation
def balance_and_merging():
    import sympy as sp

    a, b, c, z = sp.symbols("a b c z", positive=True)
    yield identity(
        "½(a⁴ + b⁴) = a² b² + ½(a² - b²)²", (a**4 + b**4) / 2, sp.expand(a**2 * b**2 + (a**2 - b**2) ** 2 / 2)
    )
    yield identity("active: (v/c) (c z) = v z", (b / c) * (c * z), b * z)
    yield identity("balanced: ‖c w‖ = |v|/c for c = b/a, ‖w‖ = a², |v| = b²", (b / a) * a**2, b**2 / (b / a))
    p, q, r = sp.symbols("p q r", real=True)  # ‖u_1‖, ‖u_2‖ and u_1·u_2 ≤ p q
    yield identity(
        "(p + q)² - ‖u_1 + u_2‖² = 2 (p q - u_1·u_2)",
        sp.expand((p + q) ** 2 - (p**2 + q**2 + 2 * r)),
        sp.expand(2 * (p * q - r)),
    )


@theorem.without(SIGN)
def opposite_signs():
    return neurons((1, 0), (1, 0), np.ones((2, 2)), (1, -1), [(1, 0)])


@theorem.without(PATTERN)
def other_patterns():
    return neurons((1, 0), (-1, 0), np.ones((2, 2)), (1, 1), [(1, 0)])


@theorem.without(BALANCE)
def a_negative_factor():
    return neurons((1, 0), (1, 0), [(1, -1), (1, 1)], (1, 1), [(1, 0)])


@theorem.false_twin("neurons of any patterns merge", instances=pairs(same_pattern=False), without=(PATTERN,))
def any_patterns(case):
    yield from merged(case)


@theorem.false_twin("neurons of both signs merge", instances=pairs(same_sign=False), without=(SIGN,))
def both_signs(case):
    yield from merged(case)


@theorem.false_twin("lengths add up: ‖u_1 + u_2‖ = ‖u_1‖ + ‖u_2‖")
def lengths_add(case):
    total = u(case, 0) + u(case, 1)
    lengths = sum(case.roots[k][0] ** 2 * case.roots[k][1] ** 2 for k in (0, 1))
    return equal(total @ total, lengths * lengths, operations=20, name="‖u_1 + u_2‖ = ‖u_1‖ + ‖u_2‖")


@theorem.false_twin("half the squared norm is |v| ‖w‖ before balancing as well")
def always_balanced(case):
    for _k, before, after in balanced(case):
        yield equal(half_square(before), half_square(after), operations=20, name="½(‖w‖² + v²) = |v| ‖w‖")


@theorem.false_twin("the balancing factor is |v|/‖w‖")
def wrong_factor(case):
    for _k, _before, after in balanced(case, power=2):
        yield equal(after[0] @ after[0], after[1] * after[1], operations=20, name="‖w‖ = |v|")
