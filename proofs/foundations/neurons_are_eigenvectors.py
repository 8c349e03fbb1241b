r"""The neurons of a stationary network with monomial activation are eigenvectors of one tensor of the data.

Let f(x) = Σ_k v_k φ(w_k·x) with φ(z) = z^p, p ≥ 2, and θ = Σ_i c_i ∇_θ f(x_i; θ). Let T = Σ_i c_i x_i^{⊗p} and P(w) =
⟨T, w^{⊗p}⟩. Every neuron has v = P(w) and w = v ∇P(w). So, where v ≠ 0, ‖w‖² = p v² and T(·, w, …, w) = w/(p v): w is an
eigenvector (E-eigenvector) of T, and its norm and v follow from its direction and T, up to signs. In two dimensions the
neurons lie on at most p lines, unless P is a multiple of (w_1² + w_2²)^{p/2}.

Notes
-----
Stationarity of a neuron says v = Σ c_i φ(w·x_i) = P(w) and w = v Σ c_i φ'(w·x_i) x_i = v ∇P(w). Euler's identity w·∇P = p P
gives ‖w‖² = p v². A neuron is therefore no free direction: it is a critical point of P on the sphere. In the plane
w ∥ ∇P(w) says that the form w_1 ∂_2 P - w_2 ∂_1 P of degree p, the derivative of P by the angle, vanishes; a form of
degree p that is not zero vanishes on p lines at most. In d dimensions the number is ((p-1)^d - 1)/(p - 2) for generic T
(D. Cartwright, B. Sturmfels, Linear Algebra Appl. 438 (2013); not proved here); n orthogonal samples reach 2^n - 1 in their
span for p = 3, one for each set of samples. How many neurons are found by training is another matter: minima have few.

For an activation of several degrees v = P(w), w = v ∇P(w) with P(w) = Σ_i c_i φ(w·x_i) hold as well, and nothing fixes the
norm by the direction.

Source: derived; the mechanism behind arXiv:2602.08723, whose text was not read.
"""

import math
from dataclasses import dataclass
from fractions import Fraction

import flint
import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial
from provable.arithmetic import FLOAT64, RATIONAL, kind
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import fact, identity

theorem = Theorem(
    statement=r"""If \theta = \sum_i c_i \nabla_\theta f(x_i; \theta) for f(x) = \sum_k v_k (w_k \cdot x)^p, p \ge 2, then
    every neuron with v_k \ne 0 has \|w_k\|^2 = p v_k^2 and T(\cdot, w_k, ..., w_k) = w_k / (p v_k) for
    T = \sum_i c_i x_i^{\otimes p}; in two dimensions the w_k lie on at most p lines unless T is a multiple of the symmetric
    part of a power of the identity.""",
    source=Source("arXiv:2602.08723", note="known second-hand; statement and proof are derived here"),
    expected="proved",
    does_not_say="how many of the eigenvectors are neurons of a network that was trained",
)


@dataclass(frozen=True)
class StationaryMonomial:
    """Activation (lowest degree first), w (k, d), v (k,), samples (n, d), and numerators of the c_i over a denominator."""

    activation: tuple
    inner: np.ndarray
    outer: np.ndarray
    points: np.ndarray
    numerators: np.ndarray
    denominator: float

    @property
    def degree(self):
        return len(self.activation) - 1

    @property
    def coefficients(self):
        return self.numerators / self.denominator


# (w, v) with ‖w‖² = p v² in integers
NEURONS = {
    (2, 2): [((1, 1), 1), ((1, -1), 1), ((7, 1), 5), ((1, -7), 5)],
    (4, 2): [((2, 0), 1), ((0, 2), 1), ((6, 8), 5), ((8, -6), 5)],
    (5, 2): [((2, 1), 1), ((1, 2), 1), ((-1, 2), 1)],
    (3, 3): [((1, 1, 1), 1), ((1, -1, 1), 1), ((5, 1, 1), 3), ((1, 5, -1), 3)],
    (4, 1): [((2,), 1)],
}
LARGEST = 2**53


def solved(inner, outer, points, slopes):
    """Numerators and denominator of the c_i with w = v Σ c_i φ'(w·x_i) x_i for all neurons; None if that has no solution."""
    rows = [
        [v * slopes(sum(a * b for a, b in zip(w, x, strict=True))) * x[axis] for x in points]
        for w, v in zip(inner, outer, strict=True)
        for axis in range(len(w))
    ]
    right = [number for w in inner for number in w]
    augmented = [[*row, number] for row, number in zip(rows, right, strict=True)]
    reduced, count = flint.fmpq_mat(
        len(rows), len(points) + 1, [flint.fmpq(n) for row in augmented for n in row]
    ).rref()
    found = [Fraction(0)] * len(points)
    for row in reduced.tolist()[:count]:
        pivot = next(k for k, number in enumerate(row) if number != 0)
        if pivot == len(points):
            return None
        found[pivot] = Fraction(int(row[-1].p), int(row[-1].q))
    common = math.lcm(*(n.denominator for n in found))
    numerators = [int(n * common) for n in found]
    return (numerators, common) if max(map(abs, [*numerators, common])) < LARGEST else None


@st.composite
def stationary(draw, *, cases=tuple(NEURONS)):
    degree, dimension = draw(st.sampled_from(cases))
    count = 1 if dimension == 1 else draw(st.integers(1, 2))
    chosen = draw(st.permutations(NEURONS[degree, dimension]))[:count]
    sizes = [draw(st.sampled_from([1, 2, -1])) for _ in chosen]
    inner = [[size * n for n in w] for size, (w, _) in zip(sizes, chosen, strict=True)]
    outer = [size * v for size, (_, v) in zip(sizes, chosen, strict=True)]
    entries = st.integers(-2, 2)
    points = [[draw(entries) for _ in range(dimension)] for _ in range(count * dimension + 1)]
    found = solved(inner, outer, points, lambda z: degree * z ** (degree - 1))
    assume(found is not None)
    activation = (0.0,) * degree + (1.0,)
    arrays = (np.array(numbers, dtype=float) for numbers in (inner, outer, points, found[0]))
    return StationaryMonomial(activation, *arrays, float(found[1]))


theorem.instances(stationary())

MONOMIAL, STATIONARY = "the activation is z^p", "stationarity"


@theorem.hypothesis(MONOMIAL)
def is_monomial(case):
    return all(float(number) == 0 for number in case.activation[:-1]) and float(case.activation[-1]) == 1


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(case):
    width, dimension = case.inner.shape
    activation = Polynomial(coefficients=tuple(float(number) for number in case.activation))
    layers = (Linear(width, bias=False), activation, Linear(1, bias=False))
    architecture = Architecture("polynomial", (dimension,), layers, "squared")
    theta = Parameters(architecture, {"0/weight": case.inner, "2/weight": case.outer[None]})
    explained = embed(architecture, theta, Measure(case.points, case.coefficients[:, None])).vector()
    return all(left == right for left, right in zip(explained.flat, theta.vector().flat, strict=True))


@theorem.degenerate
def on_a_line(case):
    return case.inner.shape[1] == 1


def contracted(case):
    """T(·, w, …, w) for every neuron, and the same of absolute values."""
    sizes = [case.points, case.coefficients]
    results = []
    for inner, points, coefficients in ((case.inner, *sizes), (abs(case.inner), *map(abs, sizes))):
        weights = coefficients * powers(inner @ points.T, case.degree - 1)
        results.append(weights @ points)
    return results


def powers(numbers, exponent):
    result = 0 * numbers + 1
    for _ in range(exponent):
        result = result * numbers
    return result


def norms(case, factor):
    squares = (case.inner * case.inner).sum(axis=1)
    size = squares.max() if kind(squares) == "float64" else None
    yield equal(squares, factor * case.outer * case.outer, operations=10, magnitude=size, name="‖w‖² = p v²")


def lines(case):
    found = []
    for w in case.inner:
        if not any(w[0] * u[1] - w[1] * u[0] == 0 for u in found):
            found.append(w)
    return len(found)


def is_round(case):
    """P(w) is a multiple of a power of w_1² + w_2²: its derivative by the angle vanishes on more than p lines."""
    one = case.coefficients[:1].sum() * 0 + 1
    for slope in range(case.degree + 1):
        w = [one, slope * one]
        weights = case.coefficients * powers(case.points @ np.array(w), case.degree - 1)
        gradient = weights @ case.points
        if w[0] * gradient[1] - w[1] * gradient[0] != 0:
            return False
    return True


def few_lines(case, most):
    if case.inner.shape[1] == 2 and not is_round(case):
        yield holds(lines(case) <= most, name="in the plane, at most p lines")


@theorem.claim(arithmetics=(RATIONAL, FLOAT64))
def neurons_are_eigenvectors(case):
    yield from norms(case, case.degree)
    (left, size), outer = contracted(case), case.outer[:, None]
    magnitude = float((size * abs(case.degree * outer)).max()) if kind(left) == "float64" else None
    yield equal(
        left * outer * case.degree, case.inner, operations=40, magnitude=magnitude, name="T(·, w, …, w) p v = w"
    )
    if kind(left) != "float64":
        yield from few_lines(case, case.degree)


@theorem.derivation
def euler_and_angles():
    import sympy

    w1, w2, w3 = w = sympy.symbols("w_1:4", positive=True)
    a, b, c = exponents = sympy.symbols("alpha_1:4")
    monomial = w1**a * w2**b * w3**c
    yield identity(
        "Euler: Σ w_j ∂_j w^α = |α| w^α (three factors are generic; P is a sum of such terms with |α| = p)",
        sympy.simplify(sum(x * sympy.diff(monomial, x) for x in w) / monomial),
        sum(exponents),
    )
    x, z, p, v, weight = sympy.symbols("x z p v c")
    yield identity(
        "one sample: the gradient of c (w·x)^p by w_1 is c p (w·x)^(p−1) x_1, so ∇P = p T(·, w, …, w)",
        sympy.simplify(sympy.diff(weight * (w1 * x + w2 * z) ** p, w1) / (weight * p * (w1 * x + w2 * z) ** (p - 1))),
        x,
    )
    value = sympy.Symbol("P")
    yield identity("v = P, w = v ∇P: w·w = v (w·∇P) = v p P = p v²", (v * p * value).subs(value, v), p * v**2)
    r, angle = sympy.symbols("r phi", positive=True)
    for degree in range(2, 7):
        entries = sympy.symbols(f"t_0:{degree + 1}")
        form = sum(t * w1**k * w2 ** (degree - k) for k, t in enumerate(entries))
        turning = w1 * sympy.diff(form, w2) - w2 * sympy.diff(form, w1)
        polar = {w1: r * sympy.cos(angle), w2: r * sympy.sin(angle)}
        difference = sympy.diff(form.subs(polar), angle) - turning.subs(polar)
        yield fact(
            f"p = {degree}: w_1 ∂_2 P − w_2 ∂_1 P is the derivative of P by the angle, a form of degree p",
            sympy.expand(difference) == 0 and sympy.Poly(turning, w1, w2).homogeneous_order() == degree,
        )
        equations = sympy.Poly(sympy.expand(turning), w1, w2).coeffs()
        solution = sympy.solve(equations, entries, dict=True)[0]
        left = sympy.expand(form.subs(solution))
        wanted = sympy.expand(entries[-1] * (w1**2 + w2**2) ** (degree // 2)) if degree % 2 == 0 else sympy.Integer(0)
        yield fact(
            f"p = {degree}: it vanishes identically for multiples of (w_1² + w_2²)^(p/2) only",
            sympy.expand(left - wanted.subs(solution)) == 0,
        )
    nodes = sympy.symbols("s_1:5")
    yield identity(
        "a form of degree 3 that vanishes on 4 lines is zero (any degree alike): Vandermonde",
        sympy.factor(sympy.Matrix(4, 4, lambda i, j: nodes[i] ** j).det()),
        sympy.prod(nodes[j] - nodes[i] for i in range(4) for j in range(i + 1, 4)),
    )


@theorem.without(MONOMIAL)
def two_degrees():
    """φ(z) = z + z², samples 1 and 2 with c = 2 and -1/2: w = v = 1 is stationary, and ‖w‖² is not 2 v²."""
    inner, outer = np.array([[1.0]]), np.array([1.0])
    return StationaryMonomial((0.0, 1.0, 1.0), inner, outer, np.array([[1.0], [2.0]]), np.array([4.0, -1.0]), 2.0)


@theorem.without(STATIONARY)
def any_neuron():
    inner, outer = np.array([[1.0, 0.0]]), np.array([1.0])
    return StationaryMonomial((0.0, 0.0, 0.0, 1.0), inner, outer, np.eye(2), np.ones(2), 1.0)


@theorem.false_twin("‖w‖ = |v|, as for ReLU")
def balanced(case):
    yield from norms(case, 1)


@theorem.false_twin("p ‖w‖² = v²", arithmetics=(RATIONAL,))
def inverted(case):
    squares = (case.inner * case.inner).sum(axis=1)
    yield equal(case.degree * squares, case.outer * case.outer, operations=10, name="p ‖w‖² = v²")


@theorem.false_twin("the eigenvalue of a neuron is 1/v", arithmetics=(RATIONAL,))
def without_degree(case):
    yield equal(contracted(case)[0] * case.outer[:, None], case.inner, operations=10, name="T(·, w, …, w) v = w")


@theorem.false_twin("in the plane at most p − 1 lines", instances=stationary(cases=((2, 2),)), arithmetics=(RATIONAL,))
def fewer_lines(case):
    yield holds(True, name="nothing is claimed of round tensors")
    yield from few_lines(case, case.degree - 1)


@st.composite
def with_two_degrees(draw):
    """φ(z) = z + z² in one dimension: any w and v, and two samples that make them stationary."""
    w, v = draw(st.sampled_from([1, 2, -1, 3])), draw(st.sampled_from([1, -1, 2]))
    first, second = draw(st.sampled_from([(1, 2), (1, 3), (2, -1), (1, -2)]))
    matrix = flint.fmpq_mat(
        2, 2, [w * x + (w * x) ** 2 for x in (first, second)] + [v * (x + 2 * w * x * x) for x in (first, second)]
    )
    assume(matrix.det() != 0)
    found = [Fraction(int(n.p), int(n.q)) for n in matrix.solve(flint.fmpq_mat(2, 1, [v, w])).entries()]
    common = math.lcm(*(n.denominator for n in found))
    numerators = np.array([float(n * common) for n in found])
    points = np.array([[float(first)], [float(second)]])
    return StationaryMonomial(
        (0.0, 1.0, 1.0), np.array([[float(w)]]), np.array([float(v)]), points, numerators, float(common)
    )


@theorem.false_twin(
    "activations of several degrees have ‖w‖² = p v² too", without=(MONOMIAL,), instances=with_two_degrees()
)
def several_degrees(case):
    yield from norms(case, case.degree)
