r"""Enough neurons of a network with a monomial activation of degree at least three determine independent samples.

Let P(w) = Σ_{i≤n} c_i (w·x_i)^p with p ≥ 3, independent x_i and c_i ≠ 0, and let w_1, …, w_K be such that no form of degree p
but zero has a vanishing gradient at all w_k. If P'(w) = Σ_{j≤n'} c'_j (w·x'_j)^p with n' ≤ n has the gradients of P at all
w_k, then n' = n and, in some order, x'_i = t_i x_i, c'_i = c_i/t_i^p with real t_i ≠ 0. So at a stationary point, where
∇P(w_k) = w_k/v_k, the parameters determine the samples up to order and scale; with a bias, x = (z, 1), up to order.

Notes
-----
The gradient of a form at a point is linear in the form, so the condition is the full rank of a matrix: then P' = P, that is
T = Σ c_i x_i^{⊗p} = Σ c'_j x'_j^{⊗p}. Contract p - 2 places with a and b that do not meet the zeros of w·x_i:

.. math:: T_a = X \operatorname{diag}(c_i (a \cdot x_i)^{p-2}) X^T, \qquad T_a y_i = \frac{(a \cdot x_i)^{p-2}}
          {(b \cdot x_i)^{p-2}}\, T_b y_i \quad\text{for the dual basis } y_i \text{ of } x_i .

T_b has rank n, so n' = n and the x'_j are a basis of the same space whose dual basis diagonalises the same pencil; where its
eigenvalues differ (for generic a, b, as p ≥ 3) the y'_i are multiples of the y_i. Values add nothing to the gradients
(Euler), and with p = 2 the pencil is (X D Xᵀ, X D Xᵀ): theorem ``foundations.degree_two_is_not_enough``.

n' ≤ n matters: T has longer decompositions. The number of neurons is at least C(n + p - 1, p)/n in the span of n samples;
``foundations.neurons_are_eigenvectors`` says how many a stationary point can have.

Source: derived; arXiv:2602.08723 is said to prove recovery for degree three and more under a rank condition; not read.
"""

import itertools
import math
from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, rank, solve
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let x_1, ..., x_n be linearly independent, c_i \ne 0, p \ge 3, and let no form of degree p but zero have a
    vanishing gradient at w_1, ..., w_K. If \sum_{j \le n'} c'_j (w \cdot x'_j)^p with n' \le n has the gradients of
    \sum_{i \le n} c_i (w \cdot x_i)^p at all w_k, then n' = n and, up to order, x'_i = t_i x_i and c'_i = c_i / t_i^p with
    real t_i \ne 0.""",
    source=Source("arXiv:2602.08723", note="known second-hand; statement and proof are derived here"),
    expected="proved",
    does_not_say="that training gives so many different neurons, or anything about more atoms than there are samples",
)


@dataclass(frozen=True)
class TwoMeasures:
    """Points (n, d), coefficients (n,), others (n', d), (n',), and the places w (K, d)."""

    degree: int
    points: np.ndarray
    coefficients: np.ndarray
    other_points: np.ndarray
    other_coefficients: np.ndarray
    places: np.ndarray


def hidden(draw, degree, points, coefficients):
    """The same measure in other words, or (one time in three) one that is nearly so."""
    order = list(draw(st.permutations(range(len(points)))))
    factors = np.array([draw(st.sampled_from([1.0, -1.0, 2.0, -2.0])) for _ in order])
    others, weights = factors[:, None] * points[order], coefficients[order] / factors**degree
    if draw(st.integers(0, 2)) == 2:
        others, weights = others.copy(), weights.copy()
        changed = draw(st.sampled_from(["sign", "point", "missing"]))
        if changed == "sign":
            weights[0] = -weights[0]
        elif changed == "point":
            others[0, 0] = others[0, 0] + 1.0
        else:
            others, weights = others[1:], weights[1:]
    return others, weights


@st.composite
def pairs(draw, *, degrees=(3, 4, 5), most=3):
    degree = draw(st.sampled_from(degrees))
    size = draw(st.integers(1, 2 if degree == 5 else most))
    count = draw(st.integers(max(1, size - 1), size))
    points = draw(readable_arrays((count, size)))
    coefficients = draw(readable_arrays((count,), nonzero=True))
    generator = np.random.default_rng(draw(st.integers(0, 99)))
    unknowns = math.comb(size + degree - 1, degree)
    places = generator.integers(-3, 4, (-(-unknowns // size) + 2, size)).astype(float)
    return TwoMeasures(degree, points, coefficients, *hidden(draw, degree, points, coefficients), places)


theorem.instances(pairs())

DEGREE, INDEPENDENT, NONZERO = "degree at least three", "independent samples", "no coefficient is zero"
DETERMINED, FEW = "gradients at the places determine the form", "at most as many other atoms"


@theorem.hypothesis(DEGREE)
def cubic_or_higher(case):
    return case.degree >= 3


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent_samples(case):
    return rank(case.points) == len(case.points)


@theorem.hypothesis(NONZERO)
def nonzero_coefficients(case):
    return all(float(number) != 0 for number in [*case.coefficients, *case.other_coefficients])


@theorem.hypothesis(DETERMINED, arithmetic=RATIONAL)
def determined(case):
    matrix, exponents = gradient_rows(case)
    return rank(matrix) == len(exponents)


@theorem.hypothesis(FEW)
def few_others(case):
    return len(case.other_points) <= len(case.points)


@theorem.degenerate
def one_sample(case):
    return len(case.points) == 1


def power(number, exponent):
    result = 0 * number + 1
    for _ in range(exponent):
        result = result * number
    return result


def exponents_of(size, degree):
    places = itertools.combinations_with_replacement(range(size), degree)
    return [tuple(place.count(axis) for axis in range(size)) for place in places]


def gradient_rows(case):
    """The matrix of form ↦ all its gradients at the places, for the coefficients of monomials."""
    size = case.places.shape[1]
    exponents, rows = exponents_of(size, case.degree), []
    for place in case.places:
        powers = [[power(number, e) for e in range(case.degree + 1)] for number in place]
        for axis in range(size):
            row = []
            for exponent in exponents:
                entry = powers[0][0] * exponent[axis]
                for k, e in enumerate(exponent):
                    entry = entry * powers[k][e - (k == axis) if e else 0]
                row.append(entry)
            rows.append(row)
    return np.array(rows, dtype=object if case.places.dtype == object else float), exponents


def form(points, coefficients, exponents):
    """Coefficients of Σ c (w·x)^p by monomials."""
    result = []
    for exponent in exponents:
        number = math.factorial(sum(exponent)) // math.prod(map(math.factorial, exponent))
        terms = [
            number * c * math.prod([power(entry, e) for entry, e in zip(x, exponent, strict=True)])
            for x, c in zip(points, coefficients, strict=True)
        ]
        result.append(sum(terms))
    return np.array(result, dtype=object)


def gradients(case, points, coefficients):
    if not len(points):
        return 0 * case.places
    slopes = case.degree * power(case.places @ points.T, case.degree - 1) * coefficients
    return slopes @ points


def agree(case):
    left = gradients(case, case.points, case.coefficients)
    right = gradients(case, case.other_points, case.other_coefficients)
    return all(a == b for a, b in zip(left.flat, right.flat, strict=True))


def multiple(case, x, z):
    """t with z = t x, or None."""
    axis = next((k for k, entry in enumerate(x) if entry != 0), None)
    if axis is None:
        return None
    t = z[axis] / x[axis]
    return t if t != 0 and all(b == t * a for a, b in zip(x, z, strict=True)) else None


def equivalent(case, scale):
    """Whether the measures are the same up to order and c' scale(t) = c."""
    if len(case.points) != len(case.other_points):
        return False
    free = set(range(len(case.points)))
    for z, e in zip(case.other_points, case.other_coefficients, strict=True):
        for i in free:
            t = multiple(case, case.points[i], z)
            if t is not None and e * scale(t) == case.coefficients[i]:
                free.remove(i)
                break
        else:
            return False
    return True


def same_if_alike(case):
    return holds(
        not agree(case) or equivalent(case, lambda t: power(t, case.degree)),
        name="a measure with the same gradients is the same up to order and scale",
    )


def flint_matrix(matrix):
    return flint.fmpq_mat(*matrix.shape, list(matrix.reshape(-1)))


def contraction(case, coefficients, exponents, vector):
    """T(·, ·, a, …, a) from the coefficients of the form, as its second derivative along a over p (p − 1)."""
    size, degree = len(vector), case.degree
    result = np.empty((size, size), dtype=object)
    for i, j in itertools.product(range(size), repeat=2):
        total = vector[0] * 0
        for number, exponent in zip(coefficients, exponents, strict=True):
            left = [e - (k == i) - (k == j) for k, e in enumerate(exponent)]
            if min(left) >= 0:
                factor = exponent[i] * (exponent[j] - (i == j))
                total = total + number * factor * math.prod([power(a, e) for a, e in zip(vector, left, strict=True)])
        result[i, j] = total / (degree * (degree - 1))
    return result


def pencil_checks(case):
    """The form from gradients alone, and the eigenvalues of its pencil against those of the samples."""
    matrix, exponents = gradient_rows(case)
    if rank(matrix) < len(exponents):
        return
    right = gradients(case, case.points, case.coefficients).reshape(-1)
    found = solve(matrix.T @ matrix, matrix.T @ right)
    yield equal(
        found, form(case.points, case.coefficients, exponents), operations=1, name="the form from its gradients"
    )
    count, size = case.points.shape
    if count != size:
        return  # the pencil acts in the span of the samples; the form is what was to be found
    pencil = separating(case)
    yield holds(pencil is not None, name="some pencil separates the samples")
    if pencil is None:
        return
    a, b = pencil
    above, below = (flint_matrix(contraction(case, found, exponents, vector)) for vector in (a, b))
    yield holds(below.det() != 0, name="its second contraction is regular")
    if below.det() == 0:
        return
    characteristic = (below.inv() * above).charpoly()
    values = ratios(case, a, b)
    roots = [flint.fmpq_poly([-value, 1]) for value in values]
    wanted = math.prod(roots, start=flint.fmpq_poly([1]))
    yield holds(characteristic == wanted, name="the pencil has the eigenvalues (a·x_i / b·x_i)^(p−2)")
    dual = flint_matrix(case.points).inv()
    for i, value in enumerate(values):
        y = flint.fmpq_mat(size, 1, [dual[k, i] for k in range(size)])
        yield holds(above * y == value * (below * y), name="and the dual basis for its eigenvectors")


def ratios(case, a, b):
    return [power((a @ x) / (b @ x), case.degree - 2) for x in case.points]


def separating(case):
    """Integer vectors a, b with b·x_i ≠ 0 and different eigenvalues."""
    size, one = case.points.shape[1], case.points[0, 0] * 0 + 1
    vectors = [np.array([node**k * one for k in range(size)]) for node in (1, 2, -1, 3, -2, 4, 5, -3, 7)]
    for a, b in itertools.permutations(vectors, 2):
        if all(b @ x != 0 for x in case.points):
            values = ratios(case, a, b)
            if len({str(value) for value in values}) == len(values):
                return a, b
    return (vectors[0], vectors[0]) if size == 1 else None


@theorem.claim(arithmetics=(RATIONAL,))
def gradients_determine_the_samples(case):
    yield same_if_alike(case)
    yield from pencil_checks(case)


@theorem.derivation
def pencil_of_contractions():
    """Any p ≥ 3; three samples are generic for n, since every step is about two of them at most."""
    import sympy

    size = sympy.Symbol("n", integer=True, positive=True)
    X, A, B = (sympy.MatrixSymbol(name, size, size) for name in ("X", "D_a", "D_b"))
    p = sympy.Symbol("p", positive=True)
    s, t, c, z = sympy.symbols("s t c z", positive=True)
    yield identity(
        "one sample: second derivative of c (s + z t)^p along two directions, over p (p − 1), is c (…)^(p−2) t²",
        sympy.simplify(sympy.diff(c * (s + z * t) ** p, z, 2) / (p * (p - 1)) - c * (s + z * t) ** (p - 2) * t**2),
    )
    dual = (X.T).I
    yield fact(
        "T_a = X D_a Xᵀ and Y = X⁻ᵀ: T_a Y = X D_a, so T_a y_i = (D_a)_ii x_i, any n",
        ((X * A * X.T) * dual).doit() == X * A,
    )
    yield fact(
        "T_b⁻¹ T_a = X⁻ᵀ D_b⁻¹ D_a Xᵀ, any n: its eigenvectors are the y_i",
        ((X * B * X.T).I * (X * A * X.T)).doit() == X.T.I * B.I * A * X.T,
    )
    values, y = sympy.symbols("rho_1:4"), sympy.Matrix(3, 1, sympy.symbols("y_1:4"))
    yield identity(
        "an eigenvector for ρ_1 in the basis y_i has (ρ_j − ρ_1) y_j = 0: for different ρ it is a multiple of y_1",
        (sympy.diag(*values) - values[0] * sympy.eye(3)) * y,
        sympy.Matrix([0, (values[1] - values[0]) * y[1], (values[2] - values[0]) * y[2]]),
    )
    x, w, a, b = (sympy.Matrix(3, 1, sympy.symbols(f"{name}_1:4")) for name in "xwab")
    gap = (x.T * a)[0] * (w.T * b)[0] - (w.T * a)[0] * (x.T * b)[0]
    minors = sum(
        (x[k] * w[m] - x[m] * w[k]) * (a[k] * b[m] - a[m] * b[k]) for k, m in itertools.combinations(range(3), 2)
    )
    yield identity("a·x/b·x differs from a·w/b·w for generic a, b unless x ∥ w: the gap is Σ (x∧w)(a∧b)", gap, minors)
    u, v = sympy.symbols("u v", positive=True)
    yield fact(
        "and powers p − 2 ≥ 1 of different positive numbers differ: a generic pencil can be chosen positive near any one",
        sympy.solve(sympy.Eq(u**3, v**3), u, dict=True) == [{u: v}],
    )
    yield identity(
        "parallel points: c' (t x·w)^p = c (x·w)^p if and only if c' t^p = c",
        sympy.expand_power_base(c * (t * s) ** p / (c * s**p), force=True),
        t**p,
    )


PLACES = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, -1.0]])
AXES = np.eye(2)


@theorem.without(DEGREE)
def a_rotation_of_squares():
    other = np.array([[1.0, 1.0], [1.0, -1.0]])
    return TwoMeasures(2, AXES, np.ones(2), other, np.array([0.5, 0.5]), PLACES)


@theorem.without(INDEPENDENT)
def three_samples_in_the_plane():
    """15 x³ − 3 y³ + 12 (x + y)³ = 2 (x − y)³ + (x + 2y)³ + 3 (2x + y)³."""
    points = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 1.0]])
    other = np.array([[1.0, -1.0], [1.0, 2.0], [2.0, 1.0]])
    return TwoMeasures(3, points, np.array([15.0, -3.0, 12.0]), other, np.array([2.0, 1.0, 3.0]), PLACES)


@theorem.without(NONZERO)
def a_sample_of_no_weight():
    other = np.array([[1.0, 0.0], [1.0, 1.0]])
    return TwoMeasures(3, AXES, np.array([1.0, 0.0]), other, np.array([1.0, 0.0]), PLACES)


@theorem.without(DETERMINED)
def one_neuron():
    other = np.array([[1.0, 0.0], [0.0, 2.0]])
    return TwoMeasures(3, AXES, np.ones(2), other, np.ones(2), PLACES[:1])


@theorem.without(FEW)
def a_third_atom():
    """3 x³ − 6 y³ = 3 (x + y)³ + (x − y)³ − (x + 2y)³."""
    other = np.array([[1.0, 1.0], [1.0, -1.0], [1.0, 2.0]])
    return TwoMeasures(3, AXES, np.array([3.0, -6.0]), other, np.array([3.0, 1.0, -1.0]), PLACES)


@theorem.false_twin("the open scale is (t x, c/t), as for ReLU")
def scale_of_degree_one(case):
    return holds(not agree(case) or equivalent(case, lambda t: t), name="the same up to order and (t x, c/t)")


@theorem.false_twin("nothing but the order is open")
def no_scale(case):
    return holds(not agree(case) or equivalent(case, lambda t: 1 if t == 1 else 0), name="the same up to order")


@st.composite
def rotated_squares(draw):
    """Two orthogonal samples of equal weight and degree, and the same turned by a Pythagorean angle."""
    points = draw(st.sampled_from([np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[2.0, 1.0], [-1.0, 2.0]])]))
    turn = np.array([[3.0, 4.0], [-4.0, 3.0]])
    weight = draw(st.sampled_from([1.0, -1.0, 25.0]))
    return TwoMeasures(2, points, np.full(2, 25 * weight), points @ turn, np.full(2, weight), PLACES)


@theorem.false_twin("degree two suffices", without=(DEGREE,), instances=rotated_squares())
def degree_two(case):
    return same_if_alike(case)


@st.composite
def few_places(draw):
    case = draw(pairs(degrees=(3,), most=2))
    moved = case.points.copy()
    moved[-1] = draw(st.sampled_from([2.0, 3.0])) * moved[-1]
    place = np.array([[1.0, 0.0][: case.points.shape[1]]])
    return TwoMeasures(3, case.points, case.coefficients, moved, case.coefficients, place)


@theorem.false_twin("as many neurons as unknown samples suffice", without=(DETERMINED,), instances=few_places())
def few_neurons(case):
    return same_if_alike(case)


@theorem.false_twin("the number of atoms does not matter", without=(FEW,), instances=st.builds(a_third_atom))
def more_atoms(case):
    return same_if_alike(case)
