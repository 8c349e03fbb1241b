"""The sensitivity of a sample, found once, is a functional that vanishes on all the other samples of its batch.

Let G = Σ_i δ_i h_iᵀ have rank B, let the columns of V be a basis of its row space and h_i = V c_i. Then Y = G V (VᵀV)⁻¹ has
full column rank, and q_i = Y⁺δ_i, which sample i alone determines, satisfies q_i·c_k = 1 if i = k and 0 otherwise: the q_i
are the basis dual to the coordinates of the samples. So the other samples lie in the hyperplane q_i·c = 0, in which sample
i does not lie. If the sensitivity is known up to a factor only, s = t δ_i, then the functional of s is t q_i, its value at
c_i is t, and s divided by it is δ_i: the scale and the sign of the residual come with the sample.

Notes
-----
Proof. With C = (c_1, …, c_B), G = Δ Cᵀ Vᵀ, hence Y = Δ Cᵀ. Rank B makes Δ of full column rank and C invertible. So Y⁺Δ =
C⁻ᵀ, whose column q_i is row i of C⁻¹, and C⁻¹C = 1.

Deflation by orthogonality, c_i·c_k = 0, would be wrong: samples are not orthogonal (a false twin).
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, rank, solve
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $G = \sum_{i \le B} \delta_i h_i^T$ have rank $B$, let the columns of $V$ be a basis of its row space,
    $h_i = Vc_i$, $Y = GV(V^TV)^{-1}$ and $q_i = Y^+\delta_i$. Then $q_i \cdot c_k = 1$ if $i = k$ and $0$ otherwise.
    The functional $q$ of a multiple $s = t\delta_i$ has $q \cdot c_i = t$.""",
    source=Source("derived", note="the deflation of the method span-check"),
    expected="proved",
    does_not_say="how far rounding in G moves the functionals; their norms tell",
)


@dataclass(frozen=True)
class Factors:
    """Sensitivities as rows, inputs as rows, a mixing of the rows of G to a basis of its row space, and a factor."""

    sensitivities: np.ndarray
    inputs: np.ndarray
    mixing: np.ndarray
    factor: np.ndarray


@theorem.instances
def factors(draw):
    size = draw(st.integers(1, 3))
    width, dimension = size + draw(st.integers(0, 2)), size + draw(st.integers(0, 1))
    return Factors(
        draw(readable_arrays((size, width), nonzero=draw(st.booleans()))),
        draw(readable_arrays((size, dimension), nonzero=draw(st.booleans()))),
        draw(readable_arrays((width, size))) + np.eye(width, size) * 8,
        draw(readable_arrays((1,), nonzero=True)),
    )


def gradient(case):
    return case.sensitivities.T @ case.inputs


@theorem.hypothesis("G has rank B, and so has the chosen basis of its row space", arithmetic=RATIONAL)
def full_rank(case):
    size = len(case.inputs)
    return rank(gradient(case)) == size and rank(gradient(case).T @ case.mixing) == size


def coordinates(case):
    """V, and the columns c_i."""
    basis = gradient(case).T @ case.mixing
    return basis, solve(basis.T @ basis, basis.T @ case.inputs.T)


def functionals(case, sensitivities):
    """Columns Y⁺δ_i."""
    basis, _ = coordinates(case)
    image = gradient(case) @ basis
    reduced = solve(basis.T @ basis, image.T).T
    return solve(reduced.T @ reduced, reduced.T @ sensitivities.T)


@theorem.claim(arithmetics=(RATIONAL,))
def dual_bases(case):
    try:
        basis, points = coordinates(case)
        dual = functionals(case, case.sensitivities)
    except ZeroDivisionError:
        yield holds(False, name="V and Y have full column rank")
        return
    yield equal(basis @ points, case.inputs.T, operations=1, name="the samples lie in the row space")
    yield equal(dual.T @ points, np.eye(len(case.inputs)), operations=1, name="q_i · c_k = 1 if i = k and 0 otherwise")
    scaled = functionals(case, case.factor[0] * case.sensitivities)
    own = np.array([scaled[:, i] @ points[:, i] for i in range(len(case.inputs))])
    yield equal(own, np.repeat(case.factor, len(own)), operations=1, name="the functional of t δ_i is t at sample i")


@theorem.derivation
def by_the_inverse():
    import sympy as sp

    delta = sp.Matrix(3, 2, lambda i, j: sp.Symbol(f"d{i}{j}"))
    inner = sp.Matrix(2, 2, lambda i, j: sp.Symbol(f"c{i}{j}"))
    basis = sp.Matrix(3, 2, lambda i, j: sp.Symbol(f"v{i}{j}"))
    gram = basis.T * basis
    image = delta * inner.T * basis.T * basis * gram.adjugate()
    yield identity("Y = G V (VᵀV)⁻¹ = Δ Cᵀ, times det VᵀV", image, gram.det() * delta * inner.T)
    reduced = delta * inner.T
    yield identity(
        "YᵀY C⁻ᵀ = YᵀΔ, times det C: the normal equations of Y⁺Δ have the solution C⁻ᵀ",
        reduced.T * reduced * inner.adjugate().T,
        inner.det() * reduced.T * delta,
    )
    yield identity("C⁻¹C = 1, times det C", inner.adjugate() * inner, inner.det() * sp.eye(2))


@theorem.without("G has rank B, and so has the chosen basis of its row space")
def a_sample_without_trace():
    # the second sample has no sensitivity: its functional is zero, on itself as well; the basis is short of a vector
    return Factors(np.array([[1.0], [0.0]]), np.array([[1.0], [1.0]]), np.array([[1.0]]), np.array([1.0]))


@theorem.false_twin("the coordinates themselves are orthogonal", arithmetics=(RATIONAL,))
def orthogonal_samples(case):
    _, points = coordinates(case)
    gram = points.T @ points
    return equal(gram - np.diag(np.diag(gram)), 0 * gram, operations=1, name="c_i · c_k = 0")


@theorem.false_twin("so are the sensitivities", arithmetics=(RATIONAL,))
def orthogonal_sensitivities(case):
    gram = case.sensitivities @ case.sensitivities.T
    return equal(gram - np.diag(np.diag(gram)), 0 * gram, operations=1, name="δ_i · δ_k = 0")


@theorem.false_twin("the functional of a multiple is the same functional", arithmetics=(RATIONAL,))
def no_scale(case):
    _, points = coordinates(case)
    scaled = functionals(case, case.factor[0] * case.sensitivities)
    return equal(scaled.T @ points, np.eye(len(case.inputs)), operations=1, name="q · c_i = 1 whatever t is")


@theorem.false_twin("the sum of all sensitivities vanishes on all samples but one", arithmetics=(RATIONAL,))
def sums(case):
    _, points = coordinates(case)
    dual = functionals(case, case.sensitivities.sum(axis=0)[None])
    return equal((dual.T @ points)[0, 1:], np.zeros(len(case.inputs) - 1), operations=1, name="(Σ q_i) · c_k = 0")
