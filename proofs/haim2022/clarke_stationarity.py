r"""Two samples of opposite labels at an acute angle: the max-margin net is stationary in Clarke's sense and in no other.

Let x₊, x₋ have norms a, b, labels 1, −1 and the angle α, 0 < α < π/2. Among the two-layer ReLU networks
f(x) = Σ_k v_k relu(w_k·x) of any width ≥ 2 with y f ≥ 1 on both, the least ½‖θ‖² is 1/(a sin α) + 1/(b sin α). It is attained
by two units, w₊ along the part of x₊ that is orthogonal to x₋ and w₋ along the part of x₋ that is orthogonal to x₊: each
hyperplane passes exactly through the other sample. There

* θ = Σ λ_i y_i h_i with λ₊ = 1/(a sin α), λ₋ = 1/(b sin α) and slope cos α at both kinks, the only slope that works;
* with relu'(0) = 0, as in programs, the least ‖θ − Σ λ_i y_i ∇f‖/‖θ‖ over all λ is cos α/√(1 + sin² α), which is near 1 for
  nearly parallel samples;
* with any other slope that is prescribed at kinks, such as the σ(0) = 1/2 of a smoothed backward pass, no λ gives zero
  unless α is 60°.

Notes
-----
The lower bound is weak duality: with h(w) = λ₊ relu(w·x₊) − λ₋ relu(w·x₋),

.. math:: \sum_i \lambda_i \le \sum_i \lambda_i y_i f(x_i) = \sum_k v_k h(w_k) \le \sum_k |v_k| \|w_k\|
          \le \tfrac12 \|\theta\|^2 ,

because |h(w)| ≤ ‖w‖: with the components p, q of w along the unit vectors of x₊ and x₋, sin²α ‖w‖² ≥ p² − 2pq cos α + q²,
and (relu p − relu q)² is at most that, by cases on the signs.

So the data are not a zero of the loss that reconstruction attacks minimise, however well the network was trained. The
residual of the samples themselves says nothing about convergence until slopes at kinks are free.

Source: found on trained networks (where a third of all pairs of units and samples were on kinks); the example, its optimality
and the constants are derived here. arXiv:2206.07758 for the loss.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, constant
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies import readable_arrays
from provable.theorems.strategies.clarke_points import ANGLES

theorem = Theorem(
    statement=r"""Let x_+, x_- have norms a, b, labels 1, -1 and an angle \alpha with 0 < \alpha < \pi/2. The minimum of
    \frac12\|\theta\|^2 over bias-free two-layer ReLU networks of any width >= 2 with margins >= 1 is
    (1/a + 1/b)/\sin\alpha, attained by two units whose hyperplanes pass through the other sample. There
    \theta = \sum_i \lambda_i y_i h_i holds with \lambda_+ = 1/(a \sin\alpha), \lambda_- = 1/(b \sin\alpha) and slopes
    \cos\alpha at the kinks, and with no other slope that is common to both kinks; with slope zero there,
    \min_\lambda \|\theta - \sum_i \lambda_i y_i \nabla f(x_i)\|/\|\theta\| = \cos\alpha / \sqrt{1 + \sin^2\alpha}.""",
    source=Source("arXiv:2206.07758", "Theorem 3.1 and the loss", "the example and its constants are derived here"),
    expected="proved",
    does_not_say="that every max-margin network has kinks on its data",
)

ACUTE, OPPOSITE = "acute angle", "opposite labels"


@dataclass(frozen=True)
class Pair:
    """The samples a e₁ and b (e₁ cos α + e₂ sin α) in an orthonormal frame, a net, and numbers to try.

    `legs` are cos α and sin α times `hypotenuse`, the rows of `frame` over `frame_norm` are e₁ and e₂, and a = 1/(ρ₊² sin α),
    b = 1/(ρ₋² sin α) with `sizes` ρ₊, ρ₋, so that the net is rational.
    """

    legs: Any
    hypotenuse: float
    frame: Any
    frame_norm: float
    sizes: Any
    second_label: float
    trial_multipliers: Any
    trial_slope: float
    directions: Any

    @property
    def cosine(self):
        return self.legs[0] / self.hypotenuse

    @property
    def sine(self):
        return self.legs[1] / self.hypotenuse

    @property
    def norms(self):
        """a and b."""
        return 1 / (self.sizes * self.sizes * self.sine)

    @property
    def labels(self):
        return np.array([constant(1, self.legs), self.second_label])

    def in_space(self, coordinates):
        return coordinates @ self.frame / self.frame_norm

    @property
    def points(self):
        zero = self.cosine * 0
        rows = np.array([[self.norms[0], zero], [self.norms[1] * self.cosine, self.norms[1] * self.sine]])
        return self.in_space(rows)

    @property
    def hidden(self):
        """The rows w₊ and w₋."""
        zero = self.cosine * 0
        rows = np.array([[self.sine, -self.cosine], [zero, zero + 1]])
        return self.in_space(rows) * self.sizes[:, None]

    @property
    def outer(self):
        return self.sizes * np.array([self.labels[0], self.labels[1]])

    @property
    def squared_norm(self):
        return (self.hidden * self.hidden).sum() + (self.outer * self.outer).sum()

    def explained(self, multipliers, slope):
        """Σ λ_i y_i ∂f with slope 1 for each unit on its own sample and a common slope on the other one."""
        slopes = np.array([[slope * 0 + 1, slope], [slope, slope * 0 + 1]])  # unit, sample
        weights = slopes * (multipliers * self.labels)
        hidden = self.outer[:, None] * (weights @ self.points)
        outer = weights @ (self.points @ self.hidden.T)
        return hidden, np.array([outer[0, 0], outer[1, 1]])

    def squared_residual(self, multipliers, slope):
        hidden, outer = self.explained(multipliers, slope)
        return ((self.hidden - hidden) ** 2).sum() + ((self.outer - outer) ** 2).sum()


FRAMES = (
    (((1.0, 0.0), (0.0, 1.0)), 1.0),
    (((3.0, 4.0), (-4.0, 3.0)), 5.0),
    (((0.0, 0.0, -1.0), (1.0, 0.0, 0.0)), 1.0),
    (((1.0, 2.0, 2.0), (2.0, 1.0, -2.0)), 3.0),
)


@st.composite
def pairs(draw, angles=ANGLES, second_label=-1.0):
    legs = draw(st.sampled_from(angles))
    frame, norm = draw(st.sampled_from(FRAMES))
    sizes = st.sampled_from((1.0, 2.0, 0.5, 8.0))
    return Pair(
        np.array(legs, dtype=float),
        float(np.hypot(*legs)),
        np.array(frame),
        norm,
        np.array([draw(sizes), draw(sizes)]),
        second_label,
        np.abs(draw(readable_arrays((2,)))),
        draw(st.sampled_from((0.0, 0.5, 1.0, 0.25, 0.75))),
        draw(readable_arrays((3, len(frame[0])))),
    )


theorem.instances(pairs())


@theorem.hypothesis(ACUTE, arithmetic=RATIONAL)
def is_acute(pair):
    return all(leg > 0 for leg in pair.legs)


@theorem.hypothesis(OPPOSITE, arithmetic=RATIONAL)
def has_opposite_labels(pair):
    return pair.second_label == -1


@theorem.degenerate
def equal_norms(pair):
    return pair.sizes[0] == pair.sizes[1]


def known_multipliers(pair):
    return 1 / (pair.norms * pair.sine)


def relu(numbers):
    return np.where(np.asarray(numbers > 0, dtype=bool), numbers, 0 * numbers)


def clarke_equations(pair, slope):
    """θ = Σ λ_i y_i h_i in both layers."""
    hidden, outer = pair.explained(known_multipliers(pair), slope)
    size = pair.sizes.max()
    # products of six numbers, summed over two samples
    yield equal(hidden, pair.hidden, operations=16, magnitude=2 * size, name="first layer")
    yield equal(outer, pair.outer, operations=16, magnitude=2 * size, name="last layer")


def dual_bound(pair, factor=1):
    """(λ₊ relu(w·x₊) − λ₋ relu(w·x₋))² ≤ ‖w‖², for some w and for the two units, where it is an equality."""
    directions = np.concatenate([pair.directions, pair.hidden])
    products = directions @ pair.points.T
    values = relu(products) @ (known_multipliers(pair) * pair.labels)
    squares = (directions * directions).sum(axis=1)
    # the terms λ w·x that cancel are at most ‖w‖/sin α
    size = float(np.max([float(square) for square in squares])) / float(pair.sine) ** 2
    return at_most(factor * values * values, squares, operations=32, magnitude=size, name="h(w)² ≤ ‖w‖²")


def least_hard_residual(pair):
    """At λ = 2 sin α/(1 + sin² α) over the norm the residual is the least one; at any other λ it is larger."""
    ratio = pair.cosine * pair.cosine / (1 + pair.sine * pair.sine)
    best = 2 * pair.sine / (1 + pair.sine * pair.sine) / pair.norms
    size = pair.squared_norm
    zero = pair.cosine * 0
    left = pair.squared_residual(best, zero)
    yield equal(left, ratio * size, operations=32, magnitude=size, name="least residual: cos² α/(1 + sin² α)")
    other = pair.squared_residual(pair.trial_multipliers, zero)
    # a trial multiplier explains up to λ² times the squared norms of tangents
    larger = size + other
    yield at_most(ratio * size, other, operations=32, magnitude=larger, name="any λ: residual ≥ cos² α/(1 + sin² α)")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def clarke_and_no_other(pair):
    cosine, one = pair.cosine, pair.cosine * 0 + 1
    outputs = relu(pair.points @ pair.hidden.T) @ pair.outer
    yield equal(pair.labels * outputs, one + 0 * outputs, operations=32, name="margins are 1")
    total = known_multipliers(pair).sum()
    yield equal(pair.squared_norm / 2, total, operations=32, name="½‖θ‖² = (1/a + 1/b)/sin α = Σ λ_i")
    yield dual_bound(pair)
    yield at_most(0 * cosine, cosine, operations=1, name="the slope is at least 0")
    yield at_most(cosine, one, operations=1, name="the slope is at most 1")
    yield from clarke_equations(pair, cosine)
    yield from least_hard_residual(pair)
    # the multipliers of the own samples are forced, so another slope leaves (t − cos α)² of the other sample's part
    left = pair.squared_residual(known_multipliers(pair), pair.trial_slope + 0 * cosine)
    parts = (pair.sizes / pair.sine) ** 2
    yield equal(
        left,
        (pair.trial_slope - cosine) ** 2 * parts.sum(),
        operations=32,
        magnitude=parts.sum() + pair.squared_norm,
        name="slope t at the known λ: residual (t − cos α)² Σ ρ²/sin² α",
    )


@theorem.derivation
def in_the_plane():
    """All numbers are symbols: c = cos α and s = sin α with c² + s² = 1, norms a, b > 0 and ρ₊² = 1/(a s), ρ₋² = 1/(b s)."""
    import sympy

    alpha = sympy.Symbol("alpha", positive=True)
    c, s = sympy.cos(alpha), sympy.sin(alpha)
    a, b = sympy.symbols("a b", positive=True)
    plus, minus = sympy.Matrix([a, 0]), b * sympy.Matrix([c, s])
    unit_plus, unit_minus = sympy.Matrix([s, -c]), sympy.Matrix([0, 1])
    yield identity("w₊ is orthogonal to x₋", unit_plus.dot(minus))
    yield identity("w₋ is orthogonal to x₊", unit_minus.dot(plus))
    yield identity("‖w₊‖ = ρ₊", sympy.simplify(unit_plus.dot(unit_plus)), 1)
    yield identity("x₊ is at w₊·x₊ = ρ₊ a sin α, so its margin is ρ₊² a sin α = 1", unit_plus.dot(plus), a * s)
    yield identity("x₋ is at w₋·x₋ = ρ₋ b sin α, so its margin is ρ₋² b sin α = 1", unit_minus.dot(minus), b * s)
    first, second, t = sympy.symbols("lambda_1 lambda_2 t")
    solution = sympy.solve(list(first * plus - t * second * minus - unit_plus), [first, t * second], dict=True)
    forced = sympy.Matrix([[plus[0], -minus[0]], [plus[1], -minus[1]]])
    yield identity("the determinant for (λ₊, t λ₋) is −a b sin α ≠ 0", forced.det(), -a * b * s)
    yield fact("unit +: λ₊ x₊ − t λ₋ x₋ = w₊/ρ₊ has one solution", len(solution) == 1)
    yield identity("unit +: its λ₊ is 1/(a sin α)", sympy.simplify((forced.LUsolve(unit_plus))[0] - 1 / (a * s)))
    yield identity("unit +: its t λ₋ is cos α/(b sin α)", sympy.simplify(forced.LUsolve(unit_plus)[1] - c / (b * s)))
    other = sympy.Matrix([[minus[0], -plus[0]], [minus[1], -plus[1]]])
    yield identity("unit −: its λ₋ is 1/(b sin α)", sympy.simplify(other.LUsolve(unit_minus)[0] - 1 / (b * s)))
    yield identity("unit −: its t λ₊ is cos α/(a sin α)", sympy.simplify(other.LUsolve(unit_minus)[1] - c / (a * s)))
    yield identity("so t = cos α in unit +, where λ₋ is unit −'s", (c / (b * s)) / (1 / (b * s)), c)
    yield identity("and t = cos α in unit −, where λ₊ is unit +'s", (c / (a * s)) / (1 / (a * s)), c)
    yield identity("last layer: λ₊ w₊·x₊ = ρ₊, the kink adds nothing", 1 / (a * s) * (a * s), 1)
    yield identity("½‖θ‖² = ½(2ρ₊² + 2ρ₋²) = Σ λ_i", (2 / (a * s) + 2 / (b * s)) / 2, 1 / (a * s) + 1 / (b * s))

    p, q, k = sympy.symbols("p q k", real=True)  # w·x₊/a, w·x₋/b and cos α
    quadratic = p**2 - 2 * p * q * k + q**2
    component = sympy.Matrix([p, (q - p * c) / s])  # the part of w in the plane
    yield identity(
        "sin² α times ‖part of w in the plane‖²", sympy.simplify(s**2 * component.dot(component) - quadratic.subs(k, c))
    )
    yield identity(
        "p, q ≥ 0: difference 2pq(1 − cos α) ≥ 0", sympy.expand(quadratic - (p - q) ** 2), 2 * p * q - 2 * p * q * k
    )
    yield identity(
        "p ≥ 0 ≥ q: difference q² + 2p(−q) cos α ≥ 0", sympy.expand(quadratic - p**2), q**2 + 2 * p * (-q) * k
    )
    yield identity(
        "q ≥ 0 ≥ p: difference p² + 2q(−p) cos α ≥ 0", sympy.expand(quadratic - q**2), p**2 + 2 * q * (-p) * k
    )
    yield identity(
        "p, q ≤ 0: (p − q cos α)² + q² sin² α ≥ 0", sympy.expand(quadratic - (p - q * k) ** 2 - q**2 * (1 - k**2))
    )

    m = sympy.Symbol("m")  # λ a
    left = (s - m) ** 2 + c**2 + (1 - m * s) ** 2  # of unit +, over ρ₊²; that of unit − is the same with λ b
    minimum = 2 * c**2 / (1 + s**2)
    square = (1 + s**2) * (m - 2 * s / (1 + s**2)) ** 2
    yield identity("hard slopes: residual of a unit = minimum + square", sympy.simplify(left - minimum - square))
    yield identity(
        "relative: 2 cos² α/(1 + sin² α) Σ ρ² over ‖θ‖² = 2 Σ ρ²", sympy.simplify(minimum / 2 - c**2 / (1 + s**2))
    )


def one_pair(legs=(3.0, 4.0), second_label=-1.0):
    return Pair(
        np.array(legs),
        float(np.hypot(*legs)),
        np.eye(2),
        1.0,
        np.ones(2),
        second_label,
        np.ones(2),
        0.5,
        np.eye(2),
    )


@theorem.without(ACUTE)
def an_obtuse_angle():
    """There the slope cos α would be negative: the two samples do not get in each other's way."""
    return one_pair(legs=(-3.0, 4.0))


@theorem.without(OPPOSITE)
def one_label():
    return one_pair(second_label=1.0)


@theorem.false_twin("the data are a zero of the loss with hard slopes", arithmetics=(RATIONAL,))
def hard(pair):
    yield from clarke_equations(pair, 0 * pair.cosine)


@theorem.false_twin("slope σ(0) = 1/2 at kinks suffices", arithmetics=(RATIONAL,))
def half(pair):
    yield from clarke_equations(pair, constant(0.5, pair.legs))


@theorem.false_twin("the least hard residual is cos α", arithmetics=(RATIONAL,))
def without_the_root(pair):
    best = 2 * pair.sine / (1 + pair.sine * pair.sine) / pair.norms
    left = pair.squared_residual(best, pair.cosine * 0)
    return equal(left, pair.cosine**2 * pair.squared_norm, operations=32, magnitude=pair.squared_norm)


@theorem.false_twin("the dual constraint is not tight: h(w)² ≤ ‖w‖² · 8/9", arithmetics=(RATIONAL,))
def slack_dual(pair):
    return dual_bound(pair, factor=constant(1.125, pair.legs))


@theorem.false_twin("the least ½‖θ‖² is 1/a + 1/b, that of the samples one by one", arithmetics=(RATIONAL,))
def without_the_other_sample(pair):
    return equal(pair.squared_norm / 2, (1 / pair.norms).sum(), operations=32)


@theorem.false_twin(
    "obtuse angles as well", without=(ACUTE,), instances=pairs(angles=((-3, 4), (-12, 5))), arithmetics=(RATIONAL,)
)
def obtuse(pair):
    yield from clarke_and_no_other(pair)


@theorem.false_twin(
    "samples of one label as well", without=(OPPOSITE,), instances=pairs(second_label=1.0), arithmetics=(RATIONAL,)
)
def same_label(pair):
    yield from clarke_and_no_other(pair)
