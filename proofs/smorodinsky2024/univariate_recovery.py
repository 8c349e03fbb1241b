r"""Given the margin, two moments of an interval on which a network is affine are both multipliers: not a quarter, but all.

Let f = p x + q on [a, b], and let the support vectors in it have sign(c_i) f(x_i) = m > 0. With α = Σ c_i x_i and β = Σ c_i
over them:

* if p ≠ 0, they lie at x₊ = (m - q)/p and x₋ = -(m + q)/p, and their coefficients c₊ ≥ 0 ≥ c₋ are (α - β x₋)/(x₊ - x₋) and
  (α - β x₊)/(x₋ - x₊), whatever the others are;
* the sum of their multipliers is (p α + q β)/m for every p, so all multipliers together are ‖θ‖²/(2m);
* m ≤ |f(α/β)| if β ≠ 0, with equality if and only if they have one label; so a margin follows where some interval holds one
  label only, and m alone stays open where none does;
* if p = 0 and f = m, α and β are all: any points of [a, b] and any positive coefficients with these moments are as good.

At a stationary point α and β are differences of the moments (w, b)/v of neurons with knots a and b
(``univariate_moments``).

Notes ----- Proof. Two equations in two unknowns of determinant x₊ - x₋ = 2m/p. The sum: p α + q β = Σ c_i f(x_i) = m Σ
|c_i|. Hence m = (p α + q β)/Σ|c_i| ≤ (p α + q β)/|β| = |f(α/β)|, and Σ|c_i| = |β| means one sign. Nothing on a flat piece
depends on more than α and β, for neurons active on [a, b] are active on all of it.

Summed over the pieces, with ⟨θ, Σ c_i ∇f(x_i)⟩ = 2 Σ c_i f(x_i) by Euler's identity, this is how the implementation proves
that nothing is missing: lower bounds of single multipliers that add up to ‖θ‖²/(2m) are the multipliers.

The parameters do not tell m in general. With m given, recovery was complete for 198 of 200 random max-margin networks, and
certified (tests/recovery/stationary_point/test_univariate.py): of the others one is constant at its margin on a piece, and
one has a sample on a knot whose multiplier is open.

Source: derived; the paper has a quarter of the points, known from its abstract.
"""

import dataclasses

from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, at_most, equal, holds
from provable.theorems.derivation import fact, identity

theorem = Theorem(
    statement=r"""Let f(x) = p x + q on an interval hold support vectors x_i with multipliers: sign(c_i) f(x_i) = m > 0. With
    \alpha = \sum c_i x_i and \beta = \sum c_i over them, m \sum |c_i| = p \alpha + q \beta, and m |\beta| \le p \alpha + q
    \beta with equality iff all c_i have one sign. If p \ne 0 the x_i lie at x_\pm = (\pm m - q)/p and the sums of the
    coefficients there are (\alpha - \beta x_\mp)/(x_\pm - x_\mp).""",
    source=Source("derived", "", "beyond the quarter of arXiv:2410.07632"),
    expected="proved",
    does_not_say="how the margin is found, nor anything where f is constant",
)

ON_THE_MARGIN, NOT_FLAT = "support vectors on the margin", "f is not constant"


@dataclasses.dataclass(frozen=True)
class Piece:
    """f = p x + q, a margin, and support vectors with coefficients."""

    slope: float
    intercept: float
    margin: float
    points: tuple[float, ...]
    coefficients: tuple[float, ...]

    def value(self, x):
        return self.slope * x + self.intercept

    @property
    def moments(self):
        zero = self.margin * 0
        first = sum((c * x for x, c in zip(self.points, self.coefficients, strict=True)), zero)
        return first, sum(self.coefficients, zero)

    @property
    def total(self):
        return sum((abs(c) for c in self.coefficients), self.margin * 0)


SIZES = st.sampled_from((1.0, 2.0, 0.5, 3.0, 0.25))


@theorem.instances
def on_the_margin(draw):
    """Slopes and margins are powers of two, so that the points are floats; some coefficients belong to the same point."""
    slope = draw(st.sampled_from((1.0, -1.0, 0.5, 4.0, -0.25)))
    margin, intercept = draw(st.sampled_from((1.0, 0.5, 4.0))), draw(st.integers(-8, 8)) / 4
    signs = draw(st.lists(st.sampled_from((1.0, -1.0)), min_size=1, max_size=4))
    points = tuple((sign * margin - intercept) / slope for sign in signs)
    return Piece(slope, intercept, margin, points, tuple(sign * draw(SIZES) for sign in signs))


@theorem.hypothesis(ON_THE_MARGIN, arithmetic=RATIONAL)
def is_on_the_margin(piece):
    pairs = zip(piece.points, piece.coefficients, strict=True)
    return all(c != 0 and piece.value(x) == (piece.margin if c > 0 else -piece.margin) for x, c in pairs)


@theorem.hypothesis(NOT_FLAT, arithmetic=RATIONAL)
def is_not_flat(piece):
    return piece.slope != 0


@theorem.degenerate
def one_point(piece):
    return len(piece.points) == 1


def read_off(piece):
    """What the moments and the margin say: the two positions with their coefficients."""
    first, zeroth = piece.moments
    plus, minus = ((sign * piece.margin - piece.intercept) / piece.slope for sign in (1, -1))
    return [(plus, (first - zeroth * minus) / (plus - minus)), (minus, (first - zeroth * plus) / (minus - plus))]


def coefficients_at(piece, x):
    return sum((c for at, c in zip(piece.points, piece.coefficients, strict=True) if at == x), piece.margin * 0)


@theorem.claim(arithmetics=(RATIONAL,))
def all_from_two_moments(piece):
    first, zeroth = piece.moments
    paired = piece.slope * first + piece.intercept * zeroth
    yield equal(paired, piece.margin * piece.total, operations=1, name="m Σ|c| = pα + qβ")
    if piece.slope == 0:
        yield holds(False, name="two positions")
        return
    found = read_off(piece)
    for x, c in found:
        yield equal(c, coefficients_at(piece, x), operations=1, name="the coefficient at x±")
    yield holds(all(any(x == at for at, _ in found) for x in piece.points), name="no other position")
    one_label = len({c > 0 for c in piece.coefficients}) == 1
    yield at_most(piece.margin * abs(zeroth), paired, operations=1, name="m|β| ≤ pα + qβ")
    yield holds((piece.margin * abs(zeroth) == paired) == one_label, name="equality iff one label")


@theorem.derivation
def steps():
    import sympy

    p, q, m = sympy.symbols("p q m", nonzero=True)
    plus, minus = sympy.symbols("c_plus c_minus", real=True)
    at_plus, at_minus = (m - q) / p, (-m - q) / p
    first, zeroth = plus * at_plus + minus * at_minus, plus + minus
    yield identity("the determinant of the two equations is 2m/p", at_plus - at_minus, 2 * m / p)
    yield identity("c₊", (first - zeroth * at_minus) / (at_plus - at_minus), plus)
    yield identity("c₋", (first - zeroth * at_plus) / (at_minus - at_plus), minus)
    yield identity("pα + qβ = m (c₊ - c₋)", p * first + q * zeroth, m * (plus - minus))
    a, b = sympy.symbols("a b", nonnegative=True)  # |c₊| and |c₋|
    yield identity("(Σ|c|)² - β² = 4 |c₊| |c₋|, zero iff one of them is", (a + b) ** 2 - (a - b) ** 2, 4 * a * b)
    t = sympy.symbols("t", real=True)
    yield identity(
        "on a flat piece: half of c at x + t and half at x - t have the same moments",
        a / 2 * (b + t) + a / 2 * (b - t),
        a * b,
    )
    yield fact("4ab is not negative", (4 * a * b).is_nonnegative)


@theorem.without(ON_THE_MARGIN)
def a_point_beyond_the_margin():
    return Piece(1.0, 0.0, 1.0, (2.0,), (1.0,))


@theorem.without(NOT_FLAT)
def a_flat_piece():
    return Piece(0.0, 1.0, 1.0, (0.0, 3.0), (1.0, 1.0))


@theorem.false_twin("a support vector of one label alone is at the ratio of the moments, whatever the labels")
def ratio(piece):
    first, zeroth = piece.moments
    yield holds(zeroth != 0 and any(x * zeroth == first for x in piece.points), name="x = α/β")


@theorem.false_twin("the moments tell the margin: m = |f(α/β)|", arithmetics=(RATIONAL,))
def margin_from_moments(piece):
    first, zeroth = piece.moments
    yield equal(piece.margin * abs(zeroth), piece.slope * first + piece.intercept * zeroth, operations=1, name="m|β|")


@theorem.false_twin("multipliers are halved between the two positions", arithmetics=(RATIONAL,))
def halves(piece):
    (_, plus), (_, minus) = read_off(piece)
    yield equal(plus, -minus, operations=1, name="c₊ = -c₋")


@theorem.false_twin("β alone gives the sum of the multipliers", arithmetics=(RATIONAL,))
def zeroth_moment(piece):
    yield equal(abs(piece.moments[1]), piece.total, operations=1, name="|β| = Σ|c|")
