r"""The span of the batch from a perturbed second moment: the error is at most 2μ/(ν_min π_min), and 2 is the best factor.

Let the columns of X (d × B) be the samples, P = X diag(ν) Xᵀ a second moment with weights ν_i of any signs, and P̂ = P + S
symmetric with ‖S‖ = μ. Let V (d × B) hold orthonormal eigenvectors of P̂ for the B eigenvalues of largest absolute value.
With ν_min = min |ν_i| and π_min = σ_B(X),

    ν_min π_min ‖(I - VVᵀ) X‖ <= 2 μ.

No gap between eigenvalues is needed, and no condition on μ. This is the first of the two terms of the printed Proposition
5.3, with its constant. Bounds of the form of Davis and Kahan divide by the smallest eigenvalue of P, that is by ν_min π_min².

Notes
-----
Proof. X = P (X⁺)ᵀ diag(ν)⁻¹ with ‖X⁺‖ = 1/π_min, so it is to be shown that ‖(I - VVᵀ)P‖ <= 2μ. Now (I - VVᵀ)P is
(I - VVᵀ)P̂ - (I - VVᵀ)S, and the norm of the first term is |λ_{B+1}|, the next eigenvalue of P̂ in absolute value. Among the
first B+1 eigenvectors there is a unit combination u orthogonal to all samples; Pu = 0, so μ >= ‖Su‖ = ‖P̂u‖ >= |λ_{B+1}|.

Sharp: X = e_1, ν = 1 and S = diag(-1/2, 1/2) give P̂ = I/2, of which V = e_2 is an admissible eigenvector; both sides are 1.

The claim is decided in rationals: V comes from the Cayley transform of a rational matrix, and the two norms, which are
irrational, are replaced by rationals within 10⁻⁹ of them on the side that makes the bound larger.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import constant, full, solve, to_float
from provable.theorems import RATIONAL, Source, Theorem, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $P = X\,\mathrm{diag}(\nu)X^T$ with $X \in \mathbb{R}^{d\times B}$, $\hat P = P + S$ symmetric, and
    let the columns of $V \in \mathbb{R}^{d\times B}$ be orthonormal eigenvectors of $\hat P$ for the $B$ eigenvalues that
    are largest in absolute value. Then $\nu_{\min}\pi_{\min}\|(I - VV^T)X\| \le 2\|S\|$ with $\nu_{\min} = \min_i|\nu_i|$
    and $\pi_{\min} = \sigma_B(X)$, and no factor below 2 will do.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3",
        "Proposition 5.3, first term",
        "the printed proposition was read; the constant and the proof are derived here",
    ),
    expected="proved",
    does_not_say="the second term of the proposition, the error of the tensor decomposition inside the span",
)

DOMINANT = "V belongs to the eigenvalues that are largest in absolute value"


@dataclass(frozen=True)
class Perturbation:
    """Samples in rows (B, d), weights (B,), a skew matrix's upper entries, and the eigenvalues of P̂, those of V first."""

    samples: np.ndarray
    weights: np.ndarray
    skew: np.ndarray
    eigenvalues: np.ndarray


def rotation(case):
    """The Cayley transform (I - A)⁻¹(I + A) of the skew matrix A: orthogonal, with rational entries."""
    size = len(case.eigenvalues)
    one, skew = full((size, size), 0, case.samples), full((size, size), 0, case.samples)
    np.fill_diagonal(one, constant(1, case.samples))
    upper = np.triu_indices(size, 1)
    skew[upper] = case.skew
    return solve(one - (skew - skew.T), one + (skew - skew.T))


@st.composite
def perturbations(draw, *, shapes=((1, 2), (1, 1), (2, 2), (2, 3), (1, 3), (2, 4))):
    """Matrices P̂ that have little to do with P, and some that are close to it."""
    size, dimension = draw(st.sampled_from(shapes))
    pairs = dimension * (dimension - 1) // 2
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((size * dimension + size + pairs + dimension,)))
    samples, weights, skew, eigenvalues = np.split(numbers, np.cumsum([size * dimension, size, pairs]), axis=0)
    samples, weights = samples.reshape(size, dimension), np.where(weights == 0, 1.0, weights)
    eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")]
    if draw(st.booleans()):
        lengths = np.where(samples[:, 0] == 0, 1.0, samples[:, 0])
        close = lengths[:, None] * rotation(Perturbation(samples, weights, skew, eigenvalues)).T[:size]
        samples = np.round(64 * close) / 64 + samples / draw(st.sampled_from((8.0, 64.0)))
        eigenvalues = np.concatenate([weights * lengths**2, eigenvalues[size:] / 16])
        eigenvalues[:size] += eigenvalues[-1] / 4
        eigenvalues = eigenvalues[np.argsort(-np.abs(eigenvalues), kind="stable")]
    return Perturbation(samples, weights, skew, eigenvalues)


@st.composite
def extremal(draw, *, shape, together=False):
    """Samples on axes, P̂ diagonal up to a rotation; the eigenvalue of one sample, or of all `together`, is halved."""
    size, dimension = shape
    numbers = draw(readable_arrays((size + dimension * (dimension - 1) // 2 + 1,)))
    weights, skew = np.where(numbers[:size] == 0, 1.0, numbers[:size]), numbers[size:-1].copy()
    length = numbers[-1] or 1.0
    if together:
        weights = np.full(size, weights[0])
    else:
        skew[:-1] = 0  # P̂ is a multiple of the identity in the plane of the last rotation only
    eigenvalues = np.full(dimension, weights[0] / 2)
    if not together:
        eigenvalues[: size - 1] = weights[:0:-1]
    return Perturbation(length * np.eye(size, dimension)[::-1], weights, skew, length**2 * eigenvalues)


theorem.instances(st.one_of(perturbations(), perturbations(), extremal(shape=(1, 2)), extremal(shape=(2, 3))))


@theorem.hypothesis(DOMINANT)
def dominant(case):
    sizes = np.abs(case.eigenvalues)
    size = len(case.samples)
    return bool(sizes[:size].min() >= sizes[size:].max(initial=0.0))


@theorem.degenerate
def nothing_to_bound(case):
    return np.linalg.matrix_rank(case.samples) < len(case.samples)


def semidefinite(matrix):
    """Whether a symmetric rational matrix is positive semidefinite: no elementary symmetric function of its roots is < 0."""
    size = len(matrix)
    coefficients = flint.fmpq_mat(size, size, list(matrix.reshape(-1))).charpoly().coeffs()
    return all((-1) ** (size - power) * coefficient >= 0 for power, coefficient in enumerate(coefficients))


def scalar(number, size):
    matrix = np.array([[flint.fmpq(0)] * size for _ in range(size)], dtype=object)
    matrix[range(size), range(size)] = number
    return matrix


def rational(number):
    return flint.fmpq(*float(number).as_integer_ratio())


def norm_above(symmetric):
    """A rational above the norm of a symmetric matrix, by 10⁻⁹ of it."""
    size = len(symmetric)
    bound = rational(np.abs(np.linalg.eigvalsh(to_float(symmetric))).max() * (1 + 1e-9))
    assert semidefinite(scalar(bound * bound, size) - symmetric @ symmetric)
    return bound


def least_singular_value_below(samples):
    """A rational below σ_B, by 10⁻⁹ of it if it is not tiny."""
    gram, size = samples @ samples.T, len(samples)
    least = np.linalg.svd(to_float(samples), compute_uv=False)[-1] if size <= samples.shape[1] else 0.0
    bound = rational(least * (1 - 1e-9))
    return bound if semidefinite(gram - scalar(bound * bound, size)) else flint.fmpq(0)


class Quantities:
    """Everything that occurs in the bound, in rationals."""

    def __init__(self, case):
        turn, size = rotation(case), len(case.samples)
        second_moment = case.samples.T @ (case.weights[:, None] * case.samples)
        basis = turn[:, :size]
        self.error = norm_above((turn * case.eigenvalues) @ turn.T - second_moment)
        self.residual = case.samples - case.samples @ basis @ basis.T
        self.gram = self.residual @ self.residual.T
        self.weights = [abs(weight) for weight in case.weights]
        self.least = least_singular_value_below(case.samples)

    def bounded(self, left, right, name):
        """Claim left · ‖(I - VVᵀ)X‖ <= right."""
        return holds(semidefinite(scalar(right * right, len(self.gram)) - left * left * self.gram), name=name)


@theorem.claim(arithmetics=(RATIONAL,))
def bound(case):
    of = Quantities(case)
    return of.bounded(min(of.weights) * of.least, 2 * of.error, "ν_min π_min ‖(I - VVᵀ)X‖ <= 2‖S‖")


@theorem.derivation
def by_a_vector_orthogonal_to_the_batch():
    import sympy as sp

    x = sp.Matrix(3, 2, sp.symbols("x:6"))
    weights = sp.diag(*sp.symbols("nu_1 nu_2", nonzero=True))
    gram = x.T * x
    scaled = x * gram.adjugate()  # (X⁺)ᵀ times det XᵀX
    yield identity(
        "X = P (X⁺)ᵀ diag(ν)⁻¹, times det XᵀX; three rows and two columns stand for all",
        (x * weights * x.T) * scaled * weights.inv(),
        gram.det() * x,
    )
    yield identity(
        "X⁺(X⁺)ᵀ = (XᵀX)⁻¹, times det² XᵀX; so ‖X⁺‖ = 1/π_min", scaled.T * scaled, gram.det() * gram.adjugate()
    )
    angle = sp.symbols("t", real=True)
    turn = sp.Matrix([[sp.cos(angle), -sp.sin(angle)], [sp.sin(angle), sp.cos(angle)]])
    first, second = sp.symbols("lambda_1 lambda_2", real=True)
    estimate, v = turn * sp.diag(first, second) * turn.T, turn[:, 0]
    yield identity(
        "(I - VVᵀ)P̂ is P̂ on the other eigenvectors, so its norm is |λ_{B+1}|",
        ((sp.eye(2) - v * v.T) * estimate).applyfunc(sp.simplify),
        (second * turn[:, 1] * turn[:, 1].T).applyfunc(sp.simplify),
    )
    values, parts = sp.symbols("lambda_1:4", real=True), sp.symbols("u_1:4", real=True)
    yield identity(
        "‖P̂u‖² = Σ λ_k² u_k² exceeds λ_{B+1}² ‖u‖² by Σ (λ_k² - λ_{B+1}²) u_k², which is not negative",
        sum(a**2 * b**2 for a, b in zip(values, parts, strict=True)) - values[2] ** 2 * sum(b**2 for b in parts),
        sum((a**2 - values[2] ** 2) * b**2 for a, b in zip(values, parts, strict=True)),
    )
    p, s, projector = (sp.Matrix(2, 2, sp.symbols(f"{name}:4")) for name in "psq")
    yield identity("(I - VVᵀ)P = (I - VVᵀ)P̂ - (I - VVᵀ)S", projector * p, projector * (p + s) - projector * s)
    half = sp.Rational(1, 2)
    yield fact(
        "equality: P = diag(1, 0), S = diag(-1/2, 1/2), V = e_2 gives ‖(I - VVᵀ)X‖ = 1 = 2‖S‖",
        sp.diag(1, 0) + sp.diag(-half, half) == half * sp.eye(2) and 2 * half == 1,
    )


@theorem.without(DOMINANT)
def the_wrong_eigenvector():
    # P̂ = P = e_1 e_1ᵀ, but V = e_2 belongs to the eigenvalue 0; a quarter turn has A = [[0, 1], [-1, 0]]
    return Perturbation(np.array([[1.0, 0.0]]), np.ones(1), np.array([1.0]), np.array([0.0, 1.0]))


small = perturbations(shapes=((1, 2),))


@theorem.false_twin("the factor 1 does as well", instances=small)
def factor_one(case):
    of = Quantities(case)
    return of.bounded(min(of.weights) * of.least, of.error, "ν_min π_min ‖(I - VVᵀ)X‖ <= ‖S‖")


@theorem.false_twin("the factor 15/8 does as well", instances=extremal(shape=(1, 2)))
def slightly_smaller_factor(case):
    of = Quantities(case)
    return of.bounded(8 * min(of.weights) * of.least, 15 * of.error, "ν_min π_min ‖(I - VVᵀ)X‖ <= 15/8 ‖S‖")


@theorem.false_twin("as in Davis and Kahan's theorem the error is at most 2μ/(ν_min π_min²)", instances=small)
def davis_kahan(case):
    of = Quantities(case)
    return of.bounded(min(of.weights) * of.least * of.least, 2 * of.error, "ν_min π_min² ‖(I - VVᵀ)X‖ <= 2‖S‖")


@theorem.false_twin("the largest weight may stand for the smallest", instances=extremal(shape=(2, 3)))
def largest_weight(case):
    of = Quantities(case)
    return of.bounded(max(of.weights) * of.least, 2 * of.error, "ν_max π_min ‖(I - VVᵀ)X‖ <= 2‖S‖")


@st.composite
def unperturbed(draw):
    """One sample on an axis, weights of both signs, the eigenvalues of P in descending order, and P̂ = P up to a rotation."""
    numbers = draw(readable_arrays((2,)))
    weight = numbers[0] or 1.0
    eigenvalues = np.array(sorted((weight, 0.0), reverse=True))
    return Perturbation(np.array([[1.0, 0.0]]), np.array([weight]), numbers[1:], eigenvalues)


@theorem.false_twin(
    "V may belong to the largest eigenvalues whatever the signs of the weights",
    without=(DOMINANT,),
    instances=unperturbed(),
)
def largest_eigenvalues(case):
    return bound(case)


@theorem.false_twin(
    "the Frobenius norm of the error obeys the same bound", instances=extremal(shape=(2, 4), together=True)
)
def frobenius(case):
    of = Quantities(case)
    left, right = min(of.weights) * of.least, 2 * of.error
    return holds(
        left * left * sum(of.gram[k, k] for k in range(len(of.gram))) <= right * right,
        name="ν_min π_min ‖(I - VVᵀ)X‖_F <= 2‖S‖",
    )
