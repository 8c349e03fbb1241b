r"""On a line a quarter, at least, of the points where a stationary network has its margin are training points.

Let f(x) = Σ_k v_k relu(w_k x + b_k) on one input be stationary, θ = Σ_{i=1}^N c_i ∇_θ f(x_i) in Clarke's sense, with
distinct points and c_i ≠ 0. Then its neurons have at most 2N - 1 distinct knots, so f has at most 2N pieces. For every m >
0, if f is ±m on no whole piece, |f| = m at 4N points at most. At a KKT point with margin m all N support vectors are among
them: so at least a quarter of a finite set, which one computes from θ and m, are training points.

Notes ----- Proof. By ``univariate_moments`` a neuron that faces right with knot t has h(t) = σ √(1 + t²), and its slope, -Σ
c_i s_i, is that of σ √(1 + t²) there, for h(t) = Σ c_i relu(x_i - t): h meets a branch of the hyperbola y² = 1 + t², and is
tangent to it unless t is a training point. h is affine between neighbouring points and zero to the right of the last. The
tangent at t has the value (1 + t s)/√(1 + t²) at s, and (1 + t s)² = (1 + t²)(1 + s²) - (t - s)²: it meets the hyperbola at
t only. So there is one knot in [x_i, x_{i+1}) at most, be it inside or x_i itself: N - 1 of them; and one to the left of
x_1, where h is the line T(t) = Σ c_i (x_i - t). The same holds for neurons that face left, whose line beyond x_N is -T. As
one line is tangent at one point only, T to the left and -T to the right have not both a knot: 2N - 1 at most. (Constant
neurons have no knot.) A piece that is not constant has one point with f = m and one with f = -m at most.

On what the source assumes, as far as is known: that one neuron is active on all data and that θ is a local optimum. Neither
is needed for the quarter. Flat pieces have to be excluded, and no optimality does that: f = 1 is the max-margin network for
data of one class on both sides of zero, and with two classes there are max-margin networks that are constant at a margin
between two knots (tests/recovery/stationary_point/test_univariate.py has one). Their samples are undetermined but for
weight and mean: there the finite set has none of them for sure.

The constant: 2N - 1 knots are attained for N = 1, and for N = 2 by two points of one class whose (x, 1) are 120° apart.
Whether a quarter is attained is not known. For 200 random max-margin networks the sets held 848 points, of which 843 were
support vectors: on 191 all of them.

Source: the abstract of the paper; its theorems were not read. Statement and proof are derived here.
"""

import dataclasses
import itertools

from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, at_most, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies.line_points import LinePoint, line_points

theorem = Theorem(
    statement=r"""Let f(x) = \sum_k v_k relu(w_k x + b_k) on one input be stationary, \theta = \sum_{i=1}^N c_i \nabla f(x_i)
    in Clarke's sense with distinct x_i and c_i \ne 0. Its neurons have at most 2N - 1 distinct knots. For every m > 0 for
    which f is \pm m on no piece, |f| = m at 4N points at most. So at a KKT point with margin m at least a quarter of the
    points where |f| = m are training points.""",
    source=Source(
        "arXiv:2410.07632", "one-dimensional data", "known from the abstract; statement and proof derived here"
    ),
    expected="proved",
    does_not_say="that all points where |f| = m are training points, nor which are",
)

STATIONARY, NOT_FLAT = "stationarity", "no piece is constant at the margin"


@dataclasses.dataclass(frozen=True)
class Leveled:
    """A stationary point, some more neurons and a margin."""

    point: LinePoint
    more: tuple[tuple[float, float, float], ...]
    numerator: float
    denominator: float

    @property
    def margin(self):
        return self.numerator / self.denominator

    @property
    def neurons(self):
        return [*self.point.neurons, *self.more]

    @property
    def knots(self):
        return sorted({-b / w for w, b, _ in self.neurons if w != 0})


@theorem.instances
def leveled(draw):
    return Leveled(
        draw(line_points()), (), draw(st.sampled_from((1.0, 0.25, 4.0, 8.0))), draw(st.sampled_from((1.0, 5.0, 64.0)))
    )


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(case):
    return all(case.point.explained(neuron) == neuron for neuron in case.neurons)


@theorem.hypothesis(NOT_FLAT, arithmetic=RATIONAL)
def is_not_flat(case):
    return not any(slope == 0 and abs(value) == case.margin for slope, value, _, _ in pieces(case))


@theorem.degenerate
def one_sample(case):
    return len(case.point.measure) == 1


def value(case, x):
    return sum(v * (w * x + b) for w, b, v in case.neurons if w * x + b > 0)


def pieces(case):
    """Slope and intercept of every piece, with its ends; None for an infinite one."""
    ends = [None, *case.knots, None]
    for left, right in itertools.pairwise(ends):
        if left is None:
            inside = case.margin * 0 if right is None else right - 1
        else:
            inside = left + 1 if right is None else (left + right) / 2
        active = [(w, b, v) for w, b, v in case.neurons if w * inside + b > 0]
        zero = case.margin * 0
        yield sum((v * w for w, _, v in active), zero), sum((v * b for _, b, v in active), zero), left, right


def level_points(case):
    """All x with |f(x)| = m; None if there are infinitely many."""
    found = []
    for slope, intercept, left, right in pieces(case):
        for level in (case.margin, -case.margin):
            if slope == 0:
                if intercept == level:
                    return None
                continue
            x = (level - intercept) / slope
            if (left is None or left <= x) and (right is None or x <= right) and x not in found:
                found.append(x)
    return found


@theorem.claim(arithmetics=(RATIONAL,))
def knots_and_levels(case, knots=2, fewer=1, levels=4):
    samples = len({x for x, _ in measure_texts(case)})
    yield holds(len(case.knots) <= knots * samples - fewer, name="2N - 1 knots")
    found = level_points(case)
    yield holds(found is not None and len(found) <= levels * samples, name="|f| = m at 4N points")
    if found is not None:
        yield holds(all(abs(value(case, x)) == case.margin for x in found), name="they are such points")


def measure_texts(case):
    """The measure with hashable points."""
    return [(str(x), c) for x, c in case.point.measure]


@theorem.derivation
def steps():
    import sympy

    t, s, a, b = sympy.symbols("t s a b", real=True)
    yield identity(
        "unit moments (a, b) with a + ... = σ√(1+t²): h(t) = a - b t at (a, b) = (1, -t)/√(1+t²) is √(1+t²)",
        (1 + t**2) / sympy.sqrt(1 + t**2),
        sympy.sqrt(1 + t**2),
    )
    yield identity(
        "the slope of h there is that of the branch", t / sympy.sqrt(1 + t**2), sympy.diff(sympy.sqrt(1 + t**2), t)
    )
    yield identity(
        "the branch is strictly convex", sympy.diff(sympy.sqrt(1 + t**2), t, 2), (1 + t**2) ** sympy.Rational(-3, 2)
    )
    yield identity(
        "the tangent at t meets neither branch at s ≠ t: (1+t²)(1+s²) - (1+ts)² = (t-s)² > 0",
        (1 + t**2) * (1 + s**2) - (1 + t * s) ** 2,
        (t - s) ** 2,
    )
    yield identity(
        "a line a - b t is tangent at t = -b/a only: its coefficients are those of σ(1, -t)/√(1+t²)",
        (-(-b / a)) * a - b,
        0,
    )
    n = sympy.Symbol("N", integer=True, positive=True)
    yield identity("N - 1 segments and a half-line for either side, less one half-line", 2 * (n - 1) + 2 - 1, 2 * n - 1)
    yield identity("pieces, and two points on each", 2 * ((2 * n - 1) + 1), 4 * n)
    one, two = -sympy.pi / 4, 5 * sympy.pi / 12
    yield identity(
        "N = 2, points at -45° and 75°: the whole measure has unit moments as each half has, so there is a third knot",
        (sympy.sin(one) + sympy.sin(two)) ** 2 + (sympy.cos(one) + sympy.cos(two)) ** 2,
        1,
    )


SINGLE = LinePoint((-0.5,), (1.0,), (1.0, 1.0), ((0.5, 0.5), (0.5, 0.5)), (0.0,), (0.0,), 0.0)
"""One neuron and one sample."""


@theorem.without(STATIONARY)
def a_saw():
    """One sample, and neurons that no sample explains: six knots."""
    more = tuple((1.0, -float(k), 4.0 * (-1.0) ** k) for k in range(1, 6))
    return Leveled(SINGLE, more, 1.0, 1.0)


@theorem.without(NOT_FLAT)
def a_constant_network():
    """f(x) = relu(x + 1) up to a factor, then flat: a neuron of the other sign takes the slope away."""
    point = LinePoint((-0.5, 0.5), (1.0, -1.0), (1.0, 1.0, 1.0), ((0.25, 0.75),) * 3, (0.0, 0.0), (0.0, 0.0), 0.0)
    # 0.6 (x - t) with t = ∓4/3: the two neurons have the slopes ±3/5, and f is 3/5 · 8/3 = 8/5 behind the second knot
    return Leveled(point, (), 8.0, 5.0)


SINGLES = st.builds(
    LinePoint,
    st.tuples(st.sampled_from((-0.5, -0.25, -0.75))),
    st.tuples(st.sampled_from((1.0, -1.0))),
    *(st.just(part) for part in ((1.0, 1.0), ((0.5, 0.5), (0.5, 0.5)), (0.0,), (0.0,), 0.0)),
)


@theorem.false_twin(
    "2N - 2 knots at most",
    instances=st.builds(Leveled, SINGLES, st.just(()), st.sampled_from((1.0, 0.25)), st.just(1.0)),
    arithmetics=(RATIONAL,),
)
def one_fewer(case):
    yield holds(len(case.knots) <= 2 * len(case.point.measure) - 2, name="2N - 2 knots")


@theorem.false_twin("every network, stationary or not", without=(STATIONARY,), arithmetics=(RATIONAL,))
def any_network(case):
    saw = Leveled(case.point, tuple((1.0 + 0 * k, -k, (-1.0) ** k) for k in range(20)), 1.0, 1.0)
    yield at_most(len(RATIONAL.convert(saw).knots), 2 * len(case.point.measure) - 1, operations=1, name="knots")


@theorem.false_twin("the set holds N points whatever the margin", arithmetics=(RATIONAL,))
def any_margin(case):
    found = level_points(case)
    yield holds(found is None or len(found) >= len(case.point.measure), name="at least N")


@theorem.false_twin("no support vector lies on a knot", arithmetics=(RATIONAL,))
def off_knots(case):
    yield holds(not {str(t) for t in case.knots} & {x for x, _ in measure_texts(case)}, name="none on a knot")
