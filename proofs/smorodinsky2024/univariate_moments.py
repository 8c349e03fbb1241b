r"""On a line every neuron of a stationary network states two moments of the data, and its knot alone says which.

Let f(x) = Σ_k v_k relu(w_k x + b_k) on one input with θ = Σ_i c_i ∇_θ f(x_i) in Clarke's sense, with slopes s_ik in [0, 1]
at knots. For every neuron with v ≠ 0 that faces right (w > 0), with knot t = -b/w = tan φ and σ = sign v,

    Σ_i c_i s_i (x_i, 1) = (w, b)/v = σ u(φ),   u(φ) = (cos φ, -sin φ),

so the moments to the right of t depend on t and σ only. For two of them with knots t < t', weigh every sample by the
difference of the slopes, which is positive on [t, t'] only, and by h_i = (x_i, 1)·n, which is positive there, for n = (sin
φ + sin φ', cos φ + cos φ'): Σ_i c_i (s_i - s'_i) h_i is 2σ sin(φ' - φ) if σ = σ', and 0 if σ ≠ σ'. So in [t, t'] there is a
support vector with the sign of the neurons, or there are some of both signs. Neurons that face left have the same of t, x
and w reflected.

Notes
-----
Proof. Stationarity in w and b divided by v is the first equality. With v = Σ_i c_i relu(w x_i + b) it gives v² = w² + b²
(pair w and b with themselves), so (w, b)/v is a unit vector orthogonal to (t, 1), with first entry of the sign σ. The
difference of two of these is Σ_i c_i (s_i - s'_i)(x_i, 1), as activity only ends from t to t'. Pairing it with n gives

    (σu - σ'u')·n = σ sin(φ' - φ) - σ' sin(φ - φ') = (σ + σ') sin(φ' - φ),

and (x, 1)·(sin φ, cos φ) = cos(ψ - φ)/cos ψ > 0 for x = tan ψ and |ψ - φ| < π/2, which holds for x in [t, t'] and one of
the two angles at least, their sum being 2 cos(ψ - (φ + φ')/2) cos((φ' - φ)/2)/cos ψ.

The scale of θ is not in it: λ is the same for all multiples of θ, and so the margin cannot be read from the moments. It is
why the parameters do not tell m; see ``univariate_recovery``.

Source: the paper's one-dimensional section, not read; derived here.
"""

import dataclasses
import itertools

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies.line_points import LinePoint, line_points

theorem = Theorem(
    statement=r"""Let f(x) = \sum_k v_k relu(w_k x + b_k) on one input be stationary, \theta = \sum_i c_i \nabla f(x_i) in
    Clarke's sense with slopes s_{ik}. A neuron with w, v \ne 0 and knot t = -b/w has w^2 + b^2 = v^2 and, if w > 0,
    \sum_i c_i s_i (x_i, 1) = sign(v) (1, -t)/\sqrt{1 + t^2}. For two of these with t < t', [t, t'] holds a support vector
    with the sign of both v if they have one sign, and support vectors of both signs if they have not.""",
    source=Source("arXiv:2410.07632", "one-dimensional data", "not read; statement and proof derived here"),
    expected="proved",
    does_not_say="anything about the margin, which the moments do not determine",
)

STATIONARY = "stationarity"


@theorem.instances
def points(draw):
    return draw(line_points())


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(point):
    return all(point.explained(neuron) == neuron for neuron in point.neurons)


@theorem.degenerate
def one_neuron(point):
    return len(point.neurons) == 1


def facing_right(point):
    return [neuron for neuron in point.neurons if neuron[0] > 0]


def read(neuron):
    """Knot, sign and moments of a neuron."""
    w, b, v = neuron
    return -b / w, (1 if v > 0 else -1), (w / v, b / v)


@theorem.claim(arithmetics=(RATIONAL,))
def moments_and_signs(point):
    yield from knots_tell_moments(point)
    yield from signs_between_knots(point)


def knots_tell_moments(point):
    measure = point.measure
    for neuron in facing_right(point):
        knot, sign, (first, zeroth) = read(neuron)
        yield equal(neuron[0] ** 2 + neuron[1] ** 2, neuron[2] ** 2, operations=1, name="w² + b² = v²")
        seen = [(x, c * point.slope(neuron, x)) for x, c in measure]
        yield equal(sum(p * x for x, p in seen), first, operations=1, name="first moment")
        yield equal(sum(p for _, p in seen), zeroth, operations=1, name="zeroth moment")
        yield equal(first * knot + zeroth, knot * 0, operations=1, name="orthogonal to (t, 1)")
        yield holds((first > 0) == (sign > 0), name="the first moment has the sign of v")


def pairs(point):
    """Neighbours that face right; they are ordered by knots."""
    return list(itertools.pairwise(facing_right(point)))


def between(point, left, right):
    """Coefficients between two knots, by the part that the difference of the slopes leaves, with their points."""
    parts = [(x, c, point.slope(left, x) - point.slope(right, x)) for x, c in point.measure]
    return [(x, c, part) for x, c, part in parts if part != 0]


def signs_between_knots(point):
    for left, right in pairs(point):
        (t, sign, one), (u, other, two) = read(left), read(right)
        # n of unit vectors: (sin φ, cos φ) is σ times the moments, turned
        normal = -sign * one[1] - other * two[1], sign * one[0] + other * two[0]
        parts = between(point, left, right)
        weights = [x * normal[0] + normal[1] for x, _, _ in parts]
        yield holds(
            all(t <= x and x <= u and h > 0 and p > 0 for (x, _, p), h in zip(parts, weights, strict=True)), name="h"
        )
        total = sum((c * p * h for (_, c, p), h in zip(parts, weights, strict=True)), t * 0)
        sine = sign * other * (one[1] * two[0] - one[0] * two[1])  # sin(φ' - φ) of σu and σ'u'
        yield equal(total, (sign + other) * sine, operations=1, name="Σ c (s - s') h")
        signs = {1 if c > 0 else -1 for _, c, _ in parts}
        yield holds(signs >= {sign, other}, name="a support vector of each neuron's sign")


@theorem.derivation
def steps():
    import sympy

    p, q, s = sympy.symbols("p q s", real=True)  # tangents of half the angles of two knots and of a point

    def cosine(half):
        return (1 - half**2) / (1 + half**2)

    def sine(half):
        return 2 * half / (1 + half**2)

    w, b, v = sympy.symbols("w b v", real=True)
    x = sympy.symbols("x1:3", real=True)
    k, m = sympy.symbols("k1:3", real=True), sympy.symbols("m1:3", real=True)
    inner = sum(k[i] * m[i] * v * (w * x[i] + b) for i in (0, 1))
    yield identity(
        "two samples with any slopes m: ⟨(w, b), Σ c m v (x, 1)⟩ = v Σ c m (w x + b), so stationarity gives w² + b² = v²",
        w * sum(k[i] * m[i] * v * x[i] for i in (0, 1)) + b * sum(k[i] * m[i] * v for i in (0, 1)),
        inner,
    )
    yield identity(
        "a unit vector with (w, b)·(t, 1) = 0 is ±(cos φ, -sin φ)", cosine(p) * sine(p) / cosine(p) - sine(p)
    )
    yield identity("it is one", cosine(p) ** 2 + sine(p) ** 2, 1)
    difference = sine(q) * cosine(p) - cosine(q) * sine(p)  # sin(φ' - φ)
    normal = sine(p) + sine(q), cosine(p) + cosine(q)
    yield identity("u·n = sin(φ' - φ)", cosine(p) * normal[0] - sine(p) * normal[1], difference)
    yield identity("u'·n = -sin(φ' - φ)", cosine(q) * normal[0] - sine(q) * normal[1], -difference)
    tangent = sine(s) / cosine(s)
    half_angles = [(1 + s * t) ** 2 - (s - t) ** 2 for t in (p, q)]  # (1 + s²)(1 + t²) cos(ψ - φ)
    yield identity(
        "(x, 1)·(sin φ, cos φ) cos ψ = cos(ψ - φ), for both knots",
        (tangent * normal[0] + normal[1]) * cosine(s),
        sum(part / ((1 + s**2) * (1 + t**2)) for part, t in zip(half_angles, (p, q), strict=True)),
    )
    a, d = sympy.symbols("a d", real=True)  # ψ - (φ + φ')/2 and (φ' - φ)/2, both within (-π/2, π/2) on [t, t']
    yield identity(
        "cos(ψ - φ) + cos(ψ - φ') = 2 cos a cos d, positive as |a| ≤ d < π/2",
        sympy.expand_trig(sympy.cos(a + d) + sympy.cos(a - d)),
        2 * sympy.cos(a) * sympy.cos(d),
    )


@theorem.without(STATIONARY)
def a_network_that_fits_no_moments():
    """Places beyond the second knot for the points between the two: they enter the second equation as well."""
    return LinePoint(
        (0.0, 0.5), (1.0, 1.0), (1.0, 1.0, 1.0), ((2.0, 3.0), (0.25, 0.75), (0.25, 0.75)), (0.0, 0.0), (0.0, 2.0), 0.0
    )


@theorem.false_twin("the slope at a knot is zero: moments are those strictly to the right", arithmetics=(RATIONAL,))
def strictly_right(point):
    for neuron in facing_right(point):
        knot, _, (_, zeroth) = read(neuron)
        yield equal(
            sum((c for x, c in point.measure if x > knot), knot * 0), zeroth, operations=1, name="zeroth moment"
        )


@theorem.false_twin(
    "one support vector between two knots is enough, whatever their signs",
    instances=line_points(least=2, alternating=True),
    arithmetics=(RATIONAL,),
)
def one_between(point):
    for left, right in pairs(point):
        yield holds(len({c > 0 for _, c, _ in between(point, left, right)}) == 1, name="support vectors of one sign")


@theorem.false_twin(
    "the coefficients between two knots sum up to what the signs of the neurons differ by",
    instances=line_points(least=2),
    arithmetics=(RATIONAL,),
)
def signs_add_up(point):
    for left, right in pairs(point):
        (_, sign, _), (_, other, _) = read(left), read(right)
        total = sum(c * p for _, c, p in between(point, left, right))
        yield equal(total, total * 0 + sign - other, operations=30, name="Σ c")


@theorem.false_twin("the moments determine the outer weights", arithmetics=(RATIONAL,))
def sizes_too(point):
    """The same moments as with all outer weights doubled."""
    other = dataclasses.replace(point, sizes=tuple(2 * size for size in point.sizes))
    for neuron, same in zip(point.neurons, other.neurons, strict=True):
        yield equal(neuron[0] / neuron[2], same[0] / same[2], operations=1, name="first moment")
        yield equal(neuron[2], same[2], operations=1, name="v")
