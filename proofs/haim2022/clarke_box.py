r"""In two layers the slopes at kinks are free, unit by unit and for independent samples: Clarke's subdifferential is a box.

Let f(θ; x) = Σ_k v_k relu(w_k·x) and let x_1, …, x_n be linearly independent. Choose for every pair of a unit and a sample
with w_k·x_i = 0 a side s_ik ∈ {0, 1}. Then arbitrarily close to θ there are parameters where Σ_i c_i f(·; x_i) is
differentiable, with a gradient arbitrarily close to the one that backpropagation forms with these slopes. So Clarke's
subdifferential of Σ_i c_i f(·; x_i) is the set of tangents with slopes s_ik ∈ [0, 1], all independent of each other, and the
sum of those of the single functions.

Notes
-----
Move w_k by ε Σ_i (2 s_ik − 1) b_i over its kinks, with the dual basis b_i·x_j = δ_ij: then w_k·x_i becomes ± ε on the chosen
side, while products that were not zero stay as they are. The gradient in w_k is then exactly v_k Σ_i c_i s_ik x_i, and that
in v_k changes by at most ε Σ |c_i|. The tangent is affine in every slope, and in two layers no product of two slopes occurs,
so that the convex hull of all corners is the whole box.

For dependent samples the sides exclude each other. With x₂ = −x₁ no parameters near a kink have both sides on the right, and
the subdifferential of f(·; x₁) + f(·; x₂) is smaller than the sum of the two: Clarke's sum rule is an inclusion. KKT
conditions take each constraint's subdifferential by itself, so that their slopes are free in any case; but "0 lies in the
subdifferential of the loss", as in training with weight decay, then says more than the sum of the terms' subdifferentials.

Source: derived here; background for arXiv:2206.07758, whose conditions for ReLU networks are Clarke's.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, constant
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import identity

theorem = Theorem(
    statement=r"""Let f(\theta; x) = \sum_k v_k relu(w_k \cdot x) and x_1, ..., x_n be linearly independent. For every choice
    of s_{ik} in {0, 1} at the pairs with w_k \cdot x_i = 0 there are parameters arbitrarily close to \theta, off all kinks,
    with gradients of \sum_i c_i f(\cdot; x_i) arbitrarily close to the tangent with these slopes: its Clarke subdifferential
    is the set of tangents with slopes in [0, 1] at kinks, independent of each other.""",
    source=Source("arXiv:2206.07758", "KKT conditions in Clarke's sense", "derived here"),
    expected="proved",
    does_not_say="anything about deeper networks, where products of slopes of two layers occur",
)

INDEPENDENT = "linearly independent samples"


@dataclass(frozen=True)
class Kinked:
    """A network, samples with their dual basis, coefficients, sides (as numbers 0 and 1) for all pairs, and ε."""

    hidden: Any
    outer: Any
    points: Any
    dual: Any
    coefficients: Any
    sides: Any
    step: float

    @property
    def products(self):
        """w_k·x_i, of shape (m, n)."""
        return self.hidden @ self.points.T

    @property
    def kinks(self):
        return np.asarray(self.products == 0, dtype=bool)


@st.composite
def networks(draw, samples=(1, 3)):
    """Samples are rows of a triangular integer matrix with ones on the diagonal, so that the dual basis is integer too."""
    dimension = draw(st.integers(samples[0], 3))
    count, width = draw(st.integers(samples[0], min(samples[1], dimension))), draw(st.integers(1, 3))
    small = st.integers(-2, 2)
    lower = np.tril(
        np.array(draw(st.lists(small, min_size=dimension**2, max_size=dimension**2))).reshape(dimension, -1), -1
    )
    basis = np.eye(dimension) + lower
    inverse = np.rint(np.linalg.inv(basis))
    products = np.array(
        draw(st.lists(st.sampled_from((0, 0, 1, -1, 3)), min_size=width * dimension, max_size=width * dimension))
    )
    sides = np.array(draw(st.lists(st.integers(0, 1), min_size=width * count, max_size=width * count)), dtype=float)
    nonzero = st.sampled_from((1.0, -1.0, 2.0, 0.5))
    return Kinked(
        products.reshape(width, dimension) @ inverse.T,
        np.array([draw(nonzero) for _ in range(width)]),
        basis[:count],
        inverse.T[:count],
        np.array([draw(nonzero) for _ in range(count)]),
        sides.reshape(width, count),
        draw(st.sampled_from((0.5, 2.0**-10, 2.0**-40))),
    )


theorem.instances(networks())


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def has_a_dual_basis(case):
    return bool(np.all(case.points @ case.dual.T == np.eye(len(case.points), dtype=int)))


@theorem.degenerate
def no_kinks(case):
    return not case.kinks.any()


def slopes(case, sides):
    """1 and 0 by the signs of the products, and given numbers at kinks."""
    result = np.where(np.asarray(case.products > 0, dtype=bool), constant(1, case.products), constant(0, case.products))
    return np.where(case.kinks, sides, result)


def gradient(case, hidden, slope):
    """∂/∂w and ∂/∂v of Σ_i c_i f(θ; x_i) with given slopes."""
    weighted = slope * case.coefficients
    return case.outer[:, None] * (weighted @ case.points), (weighted * (hidden @ case.points.T)).sum(axis=1)


def near(case, sides):
    """Parameters next to θ, off the kinks, compared with the tangent that has the chosen slopes."""
    signs = np.where(case.kinks, 2 * sides - 1, 0 * sides)
    moved = case.hidden + case.step * (signs @ case.dual)
    products = moved @ case.points.T
    right = np.where(np.asarray(products > 0, dtype=bool), constant(1, products), constant(0, products))
    first, last = gradient(case, moved, right)
    expected, limit = gradient(case, case.hidden, slopes(case, sides))
    off = products * products
    yield at_most(case.step * case.step + 0 * off, off, operations=1, name="off all kinks")
    yield equal(first, expected, operations=1, name="the gradient in w is the tangent's")
    bound = case.step * np.abs(case.coefficients).sum()
    change = last - limit
    yield at_most(change * change, bound * bound + 0 * change, operations=1, name="that in v is within ε Σ |c_i|")


@theorem.claim(arithmetics=(RATIONAL,))
def every_corner_is_a_limit(case):
    yield from near(case, case.sides)


@theorem.derivation
def one_unit_and_two_samples():
    """One unit with both kinds of pairs, a kink (product 0) and none (product p); units do not meet in two layers."""
    import sympy

    e = sympy.Symbol("epsilon", positive=True)
    p, v, c1, c2, s, t = sympy.symbols("p v c_1 c_2 s t", real=True)
    x = [sympy.Matrix(sympy.symbols(f"{name}_1:3", real=True)) for name in ("x", "z")]
    matrix = sympy.Matrix.hstack(*x).T
    dual = matrix.inv()
    for i in (0, 1):
        for j in (0, 1):
            product = sympy.simplify(dual[:, i].dot(x[j]))
            yield identity(f"dual basis: b_{i + 1}·x_{j + 1}", product, int(i == j))
    w = p * dual[:, 1]  # w·x_1 = 0 and w·x_2 = p
    sign = 2 * s - 1
    moved = w + e * sign * dual[:, 0]
    yield identity("moved: w·x_1 = ε (2s − 1), on the side s", sympy.simplify(moved.dot(x[0])), e * sign)
    yield identity("moved: w·x_2 = p as before", sympy.simplify(moved.dot(x[1])), p)
    both = e * sign * dual[:, 0] + e * (2 * t - 1) * dual[:, 1]  # both samples on the kink
    yield identity("two kinks: w·x_1 = ε (2s − 1)", sympy.simplify(both.dot(x[0])), e * sign)
    yield identity("two kinks: w·x_2 = ε (2t − 1), whatever s", sympy.simplify(both.dot(x[1])), e * (2 * t - 1))
    for coordinate in (0, 1):
        tangent = v * (c1 * s * x[0][coordinate] + c2 * t * x[1][coordinate])
        yield identity(
            f"gradient in w, entry {coordinate + 1}, is affine in each slope",
            sympy.diff(tangent, s, 2) + sympy.diff(tangent, t, 2) + sympy.diff(tangent, s, t),
        )
    yield identity(
        "gradient in v: what a kink adds is c_1 s ε (2s − 1) = c_1 s² ε at s = 1, 0 at s = 0",
        (c1 * s * e * sign).subs(s, 1),
        c1 * e,
    )


@theorem.without(INDEPENDENT)
def opposite_samples():
    """x₂ = −x₁: a unit cannot be on the right of both."""
    return Kinked(
        np.zeros((1, 1)),
        np.ones(1),
        np.array([[1.0], [-1.0]]),
        np.array([[1.0], [0.0]]),
        np.ones(2),
        np.ones((1, 2)),
        0.5,
    )


@theorem.false_twin("the gradient of a program, relu'(0) = 0, is the only limit")
def left_only(case):
    first, _ = gradient(case, case.hidden, slopes(case, case.sides))
    expected, _ = gradient(case, case.hidden, slopes(case, 0 * case.sides))
    return equal(first, expected, operations=1, name="all limits agree")


@theorem.false_twin("all kinks of a sample are on one side: the limits are two", instances=networks(samples=(2, 3)))
def common_side(case):
    """Every tangent is the one with all kinks left, or with all kinks right."""
    first, _ = gradient(case, case.hidden, slopes(case, case.sides))
    left, _ = gradient(case, case.hidden, slopes(case, 0 * case.sides))
    right, _ = gradient(case, case.hidden, slopes(case, 0 * case.sides + constant(1, case.sides)))
    distances = [((first - corner) ** 2).sum() for corner in (left, right)]
    return equal(distances[0] * distances[1], 0 * distances[0], operations=1, name="one of two corners")


@st.composite
def opposite(draw):
    """One direction with two samples of opposite signs, and a unit that is zero on it."""
    factor = draw(st.sampled_from((1.0, 2.0)))
    points = np.array([[1.0, 0.0], [-factor, 0.0]])
    sides = np.array([[float(draw(st.integers(0, 1))), float(draw(st.integers(0, 1)))]])
    dual = np.array([[1.0, 0.0], [0.0, 0.0]])
    return Kinked(np.array([[0.0, 1.0]]), np.ones(1), points, dual, np.ones(2), sides, 0.5)


@theorem.false_twin("opposite samples as well", without=(INDEPENDENT,), instances=opposite())
def dependent(case):
    yield from near(case, case.sides)


@theorem.false_twin("the gradient in v is the tangent's too, at every distance")
def without_change(case):
    signs = np.where(case.kinks, 2 * case.sides - 1, 0 * case.sides)
    moved = case.hidden + case.step * (signs @ case.dual)
    right = np.asarray(moved @ case.points.T > 0, dtype=bool)
    one, zero = constant(1, case.hidden), constant(0, case.hidden)
    _, last = gradient(case, moved, np.where(right, one, zero))
    _, limit = gradient(case, case.hidden, slopes(case, case.sides))
    return equal(last, limit, operations=1, name="∂/∂v does not change")
