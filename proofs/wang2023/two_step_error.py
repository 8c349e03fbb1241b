r"""Span first, points second: the squared errors of the two steps of the paper's algorithm add.

Algorithm 1 of Wang, Lee and Lei estimates an orthonormal basis V (d × B) of the span, decomposes a tensor in its coordinates
into û_i, and returns x̂_i = V û_i. For any V with orthonormal columns, any samples x_i and any û_i

    ‖x_i - V û_i‖² = ‖(I - VVᵀ) x_i‖² + ‖Vᵀx_i - û_i‖²,
    σ_min(VᵀX)² >= σ_min(X)² - ‖(I - VVᵀ)X‖²,

where the tensor to be decomposed, T(V,V,V) = Σ λ_i (Vᵀx_i)^{⊗3}, has the components Vᵀx_i. With the bound of
``wang2023.subspace_bound`` on the first term this is Proposition 5.3 with constants, given a bound η on the error of the
decomposition: ‖x_i - x̂_i‖² <= (2μ/(ν_min π_min))² + η², and the decomposition is one of B vectors in B dimensions whose
smallest singular value is at least √(π_min² - (2μ/(ν_min π_min))²).

Notes
-----
Proof. x_i - Vû_i = (I - VVᵀ)x_i + V(Vᵀx_i - û_i) with orthogonal summands. XᵀX = (VᵀX)ᵀ(VᵀX) + Xᵀ(I - VVᵀ)X, so that for
every unit c, ‖VᵀXc‖² = ‖Xc‖² - ‖(I - VVᵀ)Xc‖².
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, constant, full, kind, solve, to_float
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $V \in \mathbb{R}^{d\times B}$ have orthonormal columns. For all $x_i \in \mathbb{R}^d$ and
    $\hat u_i \in \mathbb{R}^B$, $\|x_i - V\hat u_i\|^2 = \|(I - VV^T)x_i\|^2 + \|V^Tx_i - \hat u_i\|^2$, and
    $\sigma_{\min}(V^TX)^2 \ge \sigma_{\min}(X)^2 - \|(I - VV^T)X\|^2$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3",
        "Proposition 5.3",
        "the printed form was read; its steps are separated here",
    ),
    expected="proved",
    does_not_say="how large the error of the decomposition is, which the printed proposition takes from Kuleshov et al.",
)

ORTHONORMAL = "the columns of V are orthonormal"


@dataclass(frozen=True)
class Estimate:
    """Samples (B, d), estimates (B, B) in coordinates, a skew matrix (its Cayley transform holds V), and a factor of V."""

    samples: np.ndarray
    estimates: np.ndarray
    skew: np.ndarray
    stretch: float


@st.composite
def drawn(draw, *, shapes=((1, 1), (1, 2), (2, 2), (2, 3), (1, 3)), stretches=(1.0,)):
    size, dimension = draw(st.sampled_from(shapes))
    # all numbers come from one choice, which shrinks fast
    parts = [size * dimension, size * size]
    numbers = draw(readable_arrays((sum(parts) + dimension * (dimension - 1) // 2,)))
    samples, estimates, skew = np.split(numbers, np.cumsum(parts))
    samples = samples.reshape(size, dimension)
    return Estimate(samples, estimates.reshape(size, size), skew, draw(st.sampled_from(stretches)))


theorem.instances(drawn())


@theorem.hypothesis(ORTHONORMAL, arithmetic=RATIONAL)
def orthonormal(case):
    return abs(case.stretch) == 1


@theorem.degenerate
def zero_samples(case):
    return not case.samples.any()


def basis(case):
    """V: the first B columns of (I - A)⁻¹(I + A), times the factor."""
    size = case.samples.shape[1]
    one, skew = full((size, size), 0, case.samples), full((size, size), 0, case.samples)
    np.fill_diagonal(one, constant(1, case.samples))
    upper = np.triu_indices(size, 1)
    skew[upper] = case.skew
    return case.stretch * solve(one - (skew - skew.T), one + (skew - skew.T))[:, : len(case.samples)]


def squares(matrix):
    """Sums of the squares of the rows."""
    return (matrix * matrix).sum(axis=1)


def parts(case):
    """x_i - Vû_i, (I - VVᵀ)x_i and Vᵀx_i - û_i, as rows."""
    v = basis(case)
    inside = case.samples @ v
    return case.samples - case.estimates @ v.T, case.samples - inside @ v.T, inside - case.estimates


def semidefinite(matrix):
    """Whether a symmetric rational matrix is positive semidefinite: no elementary symmetric function of its roots is < 0."""
    size = len(matrix)
    coefficients = flint.fmpq_mat(size, size, list(matrix.reshape(-1))).charpoly().coeffs()
    return all((-1) ** (size - power) * coefficient >= 0 for power, coefficient in enumerate(coefficients))


def singular_values(matrix):
    """Rationals below σ_min² and above σ_max² of the rows, by 10⁻⁹ of them, and the Gram matrix."""
    gram, size = matrix @ matrix.T, len(matrix)
    roots = np.linalg.eigvalsh(to_float(gram))
    least = flint.fmpq(*max(float(roots[0] * (1 - 1e-9)), 0.0).as_integer_ratio())
    largest = flint.fmpq(*float(roots[-1] * (1 + 1e-9)).as_integer_ratio())
    unit = np.array([[flint.fmpq(int(i == j)) for j in range(size)] for i in range(size)], dtype=object)
    if not semidefinite(gram - least * unit):
        least = flint.fmpq(0)
    assert semidefinite(largest * unit - gram)
    return least, largest, gram, unit


def least_after(case, factor):
    """Claim σ_min(VᵀX)² >= σ_min(X)² - factor ‖(I - VVᵀ)X‖², with the norms rounded so that it is weaker."""
    _, outside, _ = parts(case)
    least, _, _, unit = singular_values(case.samples)
    _, lost, _, _ = singular_values(outside)
    inside = case.samples @ basis(case)
    return holds(
        semidefinite(inside @ inside.T - (least - factor * lost) * unit),
        name="σ_min(VᵀX)² >= σ_min(X)² - ‖(I - VVᵀ)X‖²",
    )


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def two_steps(case):
    total, outside, inside = (squares(part) for part in parts(case))
    exact = kind(case.samples) != "float64"
    size = None if exact else 1 + 8 * (squares(case.samples).max() + squares(case.estimates).max())
    # V comes from a system with orthogonal transforms of condition at most that of I - A, which is below 20
    yield equal(total, outside + inside, operations=40, condition=20.0, magnitude=size, name="the squared errors add")
    if exact:
        yield least_after(case, 1)


@theorem.derivation
def by_pythagoras():
    import sympy as sp

    angle = sp.symbols("t", real=True)
    v = sp.Matrix([sp.cos(angle), sp.sin(angle)])
    x, u = sp.Matrix(sp.symbols("x_1:3")), sp.symbols("u")
    outside, inside = x - v * (v.T * x)[0], (v.T * x)[0] - u
    yield identity(
        "the summands are orthogonal; one column in two dimensions stands for all", sp.simplify((outside.T * v)[0]), 0
    )
    yield identity(
        "x - Vû = (I - VVᵀ)x + V(Vᵀx - û)", (x - v * u - outside - v * inside).applyfunc(sp.simplify), sp.zeros(2, 1)
    )
    generic = sp.Matrix(3, 2, sp.symbols("y:6"))
    projector = sp.Matrix(3, 3, sp.symbols("p:9"))
    yield identity(
        "XᵀX = XᵀPX + Xᵀ(I - P)X for P = VVᵀ",
        generic.T * generic,
        generic.T * projector * generic + generic.T * (sp.eye(3) - projector) * generic,
    )


@theorem.without(ORTHONORMAL)
def a_longer_column():
    return Estimate(np.ones((1, 1)), np.zeros((1, 1)), np.zeros(0), 2.0)


@theorem.false_twin("the errors themselves add", instances=drawn(shapes=((1, 2),)), arithmetics=(RATIONAL,))
def errors_add(case):
    total, outside, inside = (squares(part)[0] for part in parts(case))
    # √total = √outside + √inside if and only if outside · inside = 0, given that the squares add
    return holds(outside * inside == 0 or total != outside + inside, name="‖x - Vû‖ = ‖(I - VVᵀ)x‖ + ‖Vᵀx - û‖")


@theorem.false_twin(
    "the projection keeps the least singular value", instances=drawn(shapes=((1, 2),)), arithmetics=(RATIONAL,)
)
def keeps_singular_value(case):
    return least_after(case, 0)


@theorem.false_twin(
    "half of the lost square is enough", instances=drawn(shapes=((1, 2), (2, 3))), arithmetics=(RATIONAL,)
)
def half_is_enough(case):
    return least_after(case, flint.fmpq(1, 2))


@theorem.false_twin(
    "any basis of the span will do",
    without=(ORTHONORMAL,),
    instances=drawn(stretches=(1.0, 2.0, 0.5)),
    arithmetics=(RATIONAL,),
)
def any_basis(case):
    return list(two_steps(case))
