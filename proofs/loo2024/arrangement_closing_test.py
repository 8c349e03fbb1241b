"""Two hyperplanes taken for one: a random neuron notices with probability at least angle/π, one beside the wrong one always.

A walk that meets the hyperplanes of x_1 and x_2 within one window sees a single jump J = α_1y_1 + α_2y_2, with y_i = ±x_i
turned such that y_i·v > 0, and takes it for a sample on the axis of J. Let J·v ≠ 0, and turn J to e = sign(J·v) J. At neuron
w the recovered map differs from the true one by

    D(w) = α_1y_1 (1[w·y_1 > 0] - 1[w·e > 0]) + α_2y_2 (1[w·y_2 > 0] - 1[w·e > 0]).

* Off the three hyperplanes, D(w) = 0 if and only if w lies on the same side of all three. A neuron drawn uniformly from the
  sphere notices with probability at least θ/π, θ the angle between y_1 and y_2; exactly θ/π if α_1 and α_2 have one sign.
  m neurons all miss it with probability at most (1 - θ/π)^m.
* Beside the wrong hyperplane, at w ± ηe with w·e = 0, w·y_i ≠ 0 and η small, D is not zero on at least one side, and on both
  if α_1 and α_2 have one sign: the true map does not jump there.

A sample that is missed altogether is simpler: the difference takes two different values on the two sides of its hyperplane,
which cannot both be zero, so a random neuron notices with probability at least 1/2.

Notes
-----
Proof. If y_1 and y_2 are dependent, they lie on one ray, and nothing was merged wrongly: θ = 0, all three sides agree, D = 0.
Otherwise, as the α are not zero, D = 0 needs both brackets to vanish. The sign pattern of w on y_1, y_2, e depends on the
projection of w onto their plane, which is uniform in angle; y_1 and y_2 disagree for a part θ/π of all angles. If α_1 and α_2
have one sign, e is a positive combination of y_1 and y_2, so w·e has their sign where they agree. On w·e = 0,
α_1 w·y_1 = -α_2 w·y_2: with one sign, y_1 and y_2 disagree on both sides of the hyperplane; with two, they agree, and e
disagrees with them on one side.

Derived here. It is why the closing test takes neurons on both sides of every recovered hyperplane besides random ones: nearly
parallel hyperplanes, θ ≈ 0, escape random neurons.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $\alpha_1\alpha_2 \ne 0$, $v^Ty_i > 0$, $J = \alpha_1y_1 + \alpha_2y_2$ with $J^Tv \ne 0$ and
    $e = \mathrm{sign}(J^Tv)J$. Then $D(w) = \sum_i \alpha_iy_i(1[w^Ty_i > 0] - 1[w^Te > 0])$ vanishes, off the three
    hyperplanes, exactly where $w^Ty_1, w^Ty_2, w^Te$ have one sign; a uniform $w$ has $D(w) \ne 0$ with probability at least
    $\theta/\pi$, $\theta$ the angle of $y_1$ and $y_2$; and of the neurons on both sides of $w^Te = 0$, off
    $w^Ty_i = 0$, at least one has $D \ne 0$, both if $\alpha_1\alpha_2 > 0$.""",
    source=Source("derived", note="the closing test of the arrangement walk"),
    expected="proved",
    does_not_say="three and more hyperplanes within one window; the walk is repeated until its test passes",
)


@dataclass(frozen=True)
class Merged:
    """The samples y_1, y_2 (2, d), their coefficients (2,), the direction v (d,) of the circle and a neuron (d,)."""

    points: np.ndarray
    coefficients: np.ndarray
    direction: np.ndarray
    neuron: np.ndarray

    @property
    def jump(self):
        return self.coefficients @ self.points

    @property
    def recovered(self):
        """The merged sample, turned as the samples are."""
        return self.jump if self.jump @ self.direction > 0 else -self.jump


@theorem.instances
def merged_pairs(draw):
    dimension = draw(st.integers(2, 3))
    points = draw(readable_arrays((2, dimension)))
    direction = draw(readable_arrays((dimension,)))
    turned = np.where(points @ direction < 0, -1.0, 1.0)[:, None] * points
    return Merged(
        turned,
        draw(readable_arrays((2,), nonzero=draw(st.booleans()))),
        direction,
        draw(readable_arrays((dimension,))),
    )


@theorem.hypothesis("no coefficient is zero", arithmetic=RATIONAL)
def visible(case):
    return all(entry != 0 for entry in case.coefficients)


@theorem.hypothesis("the samples are turned to the side of v", arithmetic=RATIONAL)
def turned(case):
    return all(entry > 0 for entry in case.points @ case.direction) and case.jump @ case.direction != 0


def on(number):
    return 1 if number > 0 else 0


def difference(case, neuron):
    """The true map minus the recovered one, both set to agree at v."""
    alone = on(neuron @ case.recovered)
    total = 0 * case.points[0]
    for point, coefficient in zip(case.points, case.coefficients, strict=True):
        total = total + (on(neuron @ point) - alone) * coefficient * point
    return total


def is_zero(vector):
    return all(entry == 0 for entry in vector)


def beside(case):
    """A neuron w on the wrong hyperplane, and the signs of y_i there; None if it lies on a true one as well."""
    e = case.recovered
    neuron = (e @ e) * case.neuron - (e @ case.neuron) * e
    values = case.points @ neuron
    if any(value == 0 for value in values):
        return None
    # a step that keeps the sides of both samples
    step = min(abs(value) / (2 * (1 + abs(point @ e))) for value, point in zip(values, case.points, strict=True))
    return [neuron + step * e, neuron - step * e]


@theorem.claim(arithmetics=(RATIONAL,))
def noticed(case):
    values = [case.neuron @ vector for vector in (*case.points, case.recovered)]
    if all(value != 0 for value in values):
        one_side = len({value > 0 for value in values}) == 1
        yield holds(is_zero(difference(case, case.neuron)) == one_side, name="D = 0 iff all three are on one side")
        if (values[0] > 0) != (values[1] > 0):
            yield holds(not is_zero(difference(case, case.neuron)), name="D ≠ 0 between the samples' hyperplanes")
    sides = beside(case)
    if sides is not None:
        seen = [not is_zero(difference(case, neuron)) for neuron in sides]
        yield holds(any(seen), name="one side of the wrong hyperplane notices")
        if case.coefficients[0] * case.coefficients[1] > 0:
            yield holds(all(seen), name="both sides notice where the coefficients have one sign")
    yield holds(is_zero(difference(case, case.direction)), name="both maps agree at v")


@theorem.derivation
def by_cases():
    import sympy as sp

    a, b = sp.symbols("alpha_1 alpha_2", real=True, nonzero=True)
    p, q = sp.symbols("p q", positive=True)
    first, second = sp.symbols("s_1 s_2")  # the brackets 1[w·y_i > 0] - 1[w·e > 0]
    solution = sp.solve([a * first, b * second], [first, second], dict=True)
    yield identity("in the basis y_1, y_2, D = 0 only if the first bracket vanishes", solution[0][first], 0)
    yield identity("and the second", solution[0][second], 0)
    r, t = sp.symbols("r t", positive=True)
    yield identity("w·J = α_1 w·y_1 + α_2 w·y_2 is positive for positive α and w·y", sp.sign(p * r + q * t), 1)
    # on w·e = 0
    height = sp.symbols("h", real=True, nonzero=True)
    other = sp.solve(a * height + b * sp.Symbol("k"), sp.Symbol("k"))[0]
    yield identity("on w·e = 0: w·y_2 = -(α_1/α_2) w·y_1", other, -a / b * height)
    yield identity("so with one sign the samples are on two sides", sp.sign(-p / q * height), -sp.sign(height))
    yield identity("and with two signs on one side", sp.sign(p / q * height), sp.sign(height))
    theta = sp.symbols("theta", positive=True)
    # uniform angle φ of w in the plane; y_1 at angle 0, y_2 at angle θ: they disagree for φ in (π/2, π/2 + θ) and opposite
    yield identity("two arcs of length θ of the circle", 2 * theta / (2 * sp.pi), theta / sp.pi)


ANGLE, NEURONS = np.pi / 3, 4
MISSED = (1 - ANGLE / np.pi) ** NEURONS


@theorem.tail(
    bound=MISSED, false_bounds={"half of it": MISSED / 2, "one neuron more": (1 - ANGLE / np.pi) ** (2 * NEURONS)}
)
def random_neurons_miss(rng):
    """Four neurons in five dimensions, all of which miss two samples with equal coefficients at an angle of π/3."""
    plane = np.linalg.qr(rng.standard_normal((5, 2)))[0].T
    points = np.array([[1.0, 0.0], [np.cos(ANGLE), np.sin(ANGLE)]]) @ plane
    sides = rng.standard_normal((NEURONS, 5)) @ np.stack([*points, points.sum(axis=0)]).T > 0
    return bool((sides == sides[:, :1]).all())


@theorem.without("no coefficient is zero")
def a_sample_without_weight():
    return Merged(np.eye(2), np.array([1.0, 0.0]), np.ones(2), np.array([1.0, -1.0]))


@theorem.without("the samples are turned to the side of v")
def a_sample_that_is_not_turned():
    return Merged(np.array([[1.0, 0.0], [0.0, -1.0]]), np.ones(2), np.array([2.0, 1.0]), np.array([1.0, 1.0]))


@theorem.false_twin("every neuron notices", arithmetics=(RATIONAL,))
def every_neuron(case):
    return holds(not is_zero(difference(case, case.neuron)), name="D ≠ 0")


@theorem.false_twin("both sides of the wrong hyperplane notice, whatever the signs", arithmetics=(RATIONAL,))
def both_sides(case):
    sides = beside(case)
    return holds(
        sides is None or all(not is_zero(difference(case, neuron)) for neuron in sides), name="both sides notice"
    )


@theorem.false_twin("only neurons between the two true hyperplanes notice", arithmetics=(RATIONAL,))
def between_only(case):
    values = [case.neuron @ vector for vector in (*case.points, case.recovered)]
    between = (values[0] > 0) != (values[1] > 0)
    generic = all(value != 0 for value in values)
    return holds(not generic or between != is_zero(difference(case, case.neuron)), name="D ≠ 0 iff w is between")
