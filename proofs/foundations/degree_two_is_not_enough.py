r"""With a quadratic activation infinitely many data sets leave the same parameters, biases or not.

Let f(x) = Σ_k v_k φ(w_k·x + b_k) + β with a polynomial φ of degree at most two, and μ = c (δ_{x_1} + δ_{x_2} + δ_{x_3}). For
every t let s = 1 + t + t² and (p, q, r) = (t + t², 1 + t, -t)/s. The points x'_i = p x_i + q x_{i+1} + r x_{i+2} (indices
modulo three) with the same coefficients have Σ_i c ∇_θ f(x'_i; θ) = Σ_i c ∇_θ f(x_i; θ) for every θ: a curve of data sets on
which no gradient, no stationary point and no certificate of one depends.

Notes
-----
By p + q + r = 1 and pq + qr + rp = 0 the circulant matrix of (p, q, r) is orthogonal and fixes (1, 1, 1), so Σ x'_i = Σ x_i
and Σ x'_i x'_iᵀ = Σ x_i x_iᵀ. With z = (x, 1) the value Σ c φ(w·z_i) and its gradient in w, which are all that the network
sees of the samples, depend on the moments of orders 0, 1, 2 alone. From degree three on the third moment is seen too, and by
theorem ``foundations.polynomial_map_determines_data`` it determines independent data: three is sharp.

Source: the hypothesis "degree at least three" of arXiv:2602.08723, whose text was not read; derived here.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial
from provable.arithmetic import FLOAT64, RATIONAL, constant, kind
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let f(x) = \sum_k v_k \phi(w_k \cdot x + b_k) + \beta with a polynomial \phi of degree at most two, let
    s = 1 + t + t^2 and (p, q, r) = (t + t^2, 1 + t, -t)/s. Then for x'_i = p x_i + q x_{i+1} + r x_{i+2}, indices modulo
    three, \sum_{i \le 3} \nabla_\theta f(x'_i; \theta) = \sum_{i \le 3} \nabla_\theta f(x_i; \theta) at every \theta.""",
    source=Source(
        "arXiv:2602.08723", note="sharpness of its hypothesis on the degree, which is known second-hand; derived"
    ),
    expected="proved",
    does_not_say="how many data sets there are: by their moments of orders 0, 1 and 2, far more than this curve",
)


@dataclass(frozen=True)
class Turned:
    """A network, three points (3, d), their coefficients (3,), and the parameter t."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray
    node: float


def network(inner, bias, outer, activation, *, output_bias=0.0):
    layers = (Linear(len(inner)), Polynomial(coefficients=activation), Linear(1))
    values = {"0/weight": inner, "0/bias": bias, "2/weight": outer[None], "2/bias": np.array([output_bias])}
    return Parameters(Architecture("quadratic", (inner.shape[1],), layers, "squared"), values)


@st.composite
def turned(draw, *, cubic=False, equal_coefficients=True):
    width, dimension = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    # one choice for all numbers, so that an instance shrinks in few steps
    numbers = draw(readable_arrays((20,)))
    nonzero = np.where(numbers == 0, 1.0, numbers)
    activation = (*(float(number) for number in numbers[:2]), float(nonzero[2]), 1.0)
    theta = network(
        nonzero[3 : 3 + width * dimension].reshape(width, dimension),
        numbers[7 : 7 + width],
        nonzero[9 : 9 + width],
        activation if cubic else activation[:3],
    )
    coefficients = np.repeat(nonzero[11], 3) if equal_coefficients else nonzero[11:14]
    node = draw(st.sampled_from([1.0, 2.0, -0.5, 3.0, -2.0, 0.5, -1.0, 0.0]))
    return Turned(theta, numbers[14 : 14 + 3 * dimension].reshape(3, dimension), coefficients, node)


theorem.instances(turned())

DEGREE, EQUAL = "degree at most two", "three equal coefficients"


@theorem.hypothesis(DEGREE)
def quadratic(case):
    return len(case.parameters.architecture.layers[1].coefficients) <= 3


@theorem.hypothesis(EQUAL)
def equal_coefficients(case):
    first, second, third = case.coefficients
    return bool(first == second) and bool(second == third)


@theorem.degenerate
def nothing_moves(case):
    return float(case.node) in (0.0, -1.0)


def weights(case):
    """The circulant's first row."""
    t, one = case.node, constant(1, case.points)
    size = one + t + t * t
    return (t + t * t) / size, (one + t) / size, -t / size


def other_points(case, row):
    following, last = case.points[[1, 2, 0]], case.points[[2, 0, 1]]
    return row[0] * case.points + row[1] * following + row[2] * last


def same_gradients(case, row):
    theta, coefficients = case.parameters, case.coefficients[:, None]
    points = other_points(case, row)
    left, right = (embed(theta.architecture, theta, Measure(x, coefficients)).vector() for x in (case.points, points))
    size = None
    if kind(points) == "float64":
        bound = theta.map_numbers(np.abs)
        largest = np.maximum(abs(points), sum(abs(number) * abs(case.points).max(axis=0) for number in row))
        layers = list(theta.architecture.layers)
        layers[1] = Polynomial(coefficients=tuple(abs(number) for number in layers[1].coefficients))
        architecture = Architecture("bound", theta.architecture.input_shape, tuple(layers), "squared")
        bounded = Parameters(architecture, dict(bound))
        size = embed(architecture, bounded, Measure(largest, abs(coefficients))).vector().max() + 1e-300
    # sums over three samples of polynomials of sums over two inputs
    return equal(left, right, operations=30, magnitude=size, name="the same Σ c ∇f")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def turned_data_are_not_told_apart(case):
    return same_gradients(case, weights(case))


@theorem.derivation
def moments_of_orders_up_to_two():
    """P(w, b) = Σ φ(w·x_i + b) as a function of generic points; its derivatives by w, b are those of equal functions."""
    import sympy

    t, b, a0, a1, a2 = sympy.symbols("t b a_0 a_1 a_2")
    size = 1 + t + t**2
    row = [(t + t**2) / size, (1 + t) / size, -t / size]
    yield identity("p + q + r = 1", sum(row), 1)
    yield identity("pq + qr + rp = 0", row[0] * row[1] + row[1] * row[2] + row[2] * row[0])
    # all that the network sees of a sample are the numbers u_i = w·x_i for every w, of which x' takes the same combinations
    u, h = sympy.symbols("u_1:4"), sympy.symbols("h_1:4")

    def combined(values):
        return [sum(row[k] * values[(i + k) % 3] for k in range(3)) for i in range(3)]

    yield identity("first moments: Σ u'_i = Σ u_i", sum(combined(u)), sum(u))
    yield identity(
        "second moments, polarised: Σ u'_i h'_i = Σ u_i h_i",
        sum(left * right for left, right in zip(combined(u), combined(h), strict=True)),
        sum(left * right for left, right in zip(u, h, strict=True)),
    )

    def value(numbers):
        return sum(a0 + a1 * (number + b) + a2 * (number + b) ** 2 for number in numbers)

    yield identity("so Σ φ(u'_i + b) = Σ φ(u_i + b): the pieces of v", value(combined(u)), value(u))

    def slope(numbers, along):
        return sum((a1 + 2 * a2 * (number + b)) * step for number, step in zip(numbers, along, strict=True))

    yield identity(
        "and Σ φ'(u'_i + b) h'_i = Σ φ'(u_i + b) h_i for every direction h: the pieces of W",
        slope(combined(u), combined(h)),
        slope(u, h),
    )
    yield identity(
        "and Σ φ'(u'_i + b) = Σ φ'(u_i + b): the pieces of b", slope(combined(u), [1, 1, 1]), slope(u, [1, 1, 1])
    )


def plain(activation, points, coefficients=(1.0, 1.0, 1.0)):
    theta = network(np.array([[1.0]]), np.array([0.0]), np.array([1.0]), activation)
    return Turned(theta, np.array(points)[:, None], np.array(coefficients), 1.0)


@theorem.without(DEGREE)
def the_third_moment_is_seen():
    return plain((0.0, 0.0, 0.0, 1.0), [1.0, 0.0, 0.0])


@theorem.without(EQUAL)
def other_weights():
    return plain((0.0, 1.0), [1.0, 0.0, 0.0], (1.0, 2.0, 3.0))


@theorem.false_twin("the same curve is invisible to cubic networks", without=(DEGREE,), instances=turned(cubic=True))
def any_degree(case):
    return same_gradients(case, weights(case))


@theorem.false_twin("coefficients may differ", without=(EQUAL,), instances=turned(equal_coefficients=False))
def any_coefficients(case):
    return same_gradients(case, weights(case))


@theorem.false_twin("any weights with p + q + r = 1 do", arithmetics=(RATIONAL,))
def affine_combinations(case):
    t, one = case.node, constant(1, case.points)
    return same_gradients(case, (one - t, t, 0 * t))


@theorem.false_twin("the data are determined up to their order", arithmetics=(RATIONAL,))
def the_same_set(case):
    points, other = case.points.tolist(), other_points(case, weights(case)).tolist()
    return holds(all(point in points for point in other), name="every x' is one of the x")
