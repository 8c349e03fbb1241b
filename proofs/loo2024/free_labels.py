r"""With free labels, RKIP, the reconstruction loss with eliminated coefficients and the projection loss are one function.

Let h_T be any function in the kernel's Hilbert space and X_S synthetic points with an invertible kernel matrix K_SS. Over all
labels y_S, with h_S their interpolant,

    RKIP(X_S, y_S) = ½‖P^⊥h_T‖² + ½(y_S - b)ᵀK_SS⁻¹(y_S - b),   b = h_T(X_S),   P the projection to span{k(·, x) : x in X_S},

so the best labels are b and what remains is ½(‖h_T‖² - bᵀK_SS⁻¹b) = ½‖P^⊥h_T‖²: labels are redundant. The reconstruction loss
‖v - Σ_j β_j ∇_θ f(x_j)‖² of an attacker who sees v = Δθ, minimised over the coefficients β, is the same with tangents for
sections (its value is twice as large): reconstruction is distillation with M ≥ N.

Notes
-----
Proof. h_T - h_S = P^⊥h_T + (Ph_T - h_S), orthogonal; Ph_T is the interpolant of b, because P^⊥h_T vanishes at X_S; and the
interpolant of y has the squared norm yᵀK_SS⁻¹y.

By how much other coefficients β are worse is (β - β*)ᵀK_SS(β - β*), positive while K_SS is invertible: then the coefficients
are determined. With coincident synthetic points they are not (only their sums are), though the function still is.

The projection loss is the one of Iurada et al.; its formula was read in their code, where
the features are random ones.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, kind, rank, solve
from provable.theorems import Source, Theorem, at_most, equal, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $h_T$ be in the Hilbert space of $k$, $K_{SS}$ the invertible kernel matrix of $X_S$, $P$ the projection
    to $\mathrm{span}\{k(\cdot,x): x\in X_S\}$ and $b = h_T(X_S)$. Then for all labels $\mathrm{RKIP}(X_S,y) =
    \frac12\|P^\perp h_T\|^2 + \frac12(y-b)^TK_{SS}^{-1}(y-b)$ and $\|P^\perp h_T\|^2 = \|h_T\|^2 - b^TK_{SS}^{-1}b =
    \min_\beta\|h_T - \sum_j\beta_jk(\cdot,x_j)\|^2$, attained by $\beta = K_{SS}^{-1}b$ alone.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "RKIP; and the projection loss of Iurada et al.",
        "losses read in both codes; the identity is derived here",
    ),
    expected="proved",
    does_not_say="that descent on the eliminated form and on the joint form end in the same local minimum",
)

INVERTIBLE = "the kernel matrix of the synthetic points is invertible"


@dataclass(frozen=True)
class Distillation:
    """h_T (D,), sections at the synthetic points (M, D), other labels and a change of coefficients (M,)."""

    target: np.ndarray
    sections: np.ndarray
    labels: np.ndarray
    change: np.ndarray


@theorem.instances
def distillations(draw):
    count = draw(st.integers(1, 3))
    dimension = count + draw(st.integers(0, 2))
    numbers = draw(readable_arrays((dimension + count * dimension + 2 * count,)))
    target, sections, labels, change = np.split(numbers, np.cumsum([dimension, count * dimension, count]))
    sections = sections.reshape(count, dimension)
    if draw(st.integers(0, 4)) == 4:  # h_T in the span of the sections: recovery is possible
        target = sections.T @ labels
    if count > 1 and draw(st.integers(0, 5)) == 5:  # nearly coincident synthetic points
        sections[1] = sections[0]
        sections[1, 0] += 2.0 ** -draw(st.integers(2, 10))
    return Distillation(target, sections, labels, change)


@theorem.hypothesis(INVERTIBLE, arithmetic=RATIONAL)
def invertible(case):
    return rank(case.sections) == len(case.sections)


@theorem.degenerate
def nothing_to_distil(case):
    return not case.target.any()


def gram(case):
    return case.sections @ case.sections.T


def rkip(case, labels):
    """‖h_T - h_S‖², from the functions themselves."""
    difference = case.target - case.sections.T @ solve(gram(case), labels)
    return difference @ difference


def error_unit(case):
    if kind(case.target) != "float64":
        return {"operations": 1}
    matrix = gram(case)
    size = (1 + np.abs(case.target).sum() + np.abs(case.labels).sum() + np.abs(case.change).sum()) ** 2
    # two solves with K_SS one after the other, with sums of at most 5 products
    return {
        "operations": 50,
        "magnitude": size * (1 + np.abs(matrix).sum()) * (1 + np.abs(np.linalg.pinv(matrix)).max()),
        "condition": np.linalg.cond(matrix),
    }


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def one_function(case):
    worse = case.sections.T @ case.change
    if any(entry != 0 for entry in case.change):
        yield less(0 * (worse @ worse), worse @ worse, operations=20, name="other coefficients are worse")
    if rank(case.sections) < len(case.sections):
        return
    unit = error_unit(case)
    b = case.sections @ case.target
    beta = solve(gram(case), b)
    left = case.target - case.sections.T @ beta
    projection = case.target @ case.target - b @ beta
    yield equal(left @ left, projection, **unit, name="‖P^⊥h_T‖² = ‖h_T‖² - bᵀK⁻¹b")
    yield equal(case.sections @ left, 0 * b, **unit, name="what is left vanishes at the synthetic points")
    gap = case.labels - b
    yield equal(rkip(case, case.labels), projection + gap @ solve(gram(case), gap), **unit, name="any labels")
    yield at_most(projection, rkip(case, case.labels), **unit, name="the labels b are best")
    other = left - worse
    yield equal(other @ other, projection + worse @ worse, **unit, name="any coefficients")


@theorem.derivation
def orthogonal_parts():
    """In the span of the sections one coordinate stands for all, by bilinearity; h_T has one more, outside."""
    import sympy as sp

    a, t, r, y, beta = sp.symbols("a t r y beta", real=True)  # section, h_T in and out of the span, label, coefficient
    section, h_t = sp.Matrix([a, 0]), sp.Matrix([t, r])
    b = section.dot(h_t)
    h_s = section * (y / a**2)
    yield identity("the interpolant takes the label", section.dot(h_s), y)
    yield identity("its squared norm is yᵀK⁻¹y", h_s.dot(h_s), y**2 / a**2)
    left = h_t - section * (b / a**2)
    yield identity("what is left of h_T is orthogonal to the sections", section.dot(left), 0)
    yield identity("and has the projection loss as its squared norm", left.dot(left), h_t.dot(h_t) - b**2 / a**2)
    yield identity(
        "RKIP = projection loss + (y - b)ᵀK⁻¹(y - b)",
        (h_t - h_s).dot(h_t - h_s),
        left.dot(left) + (y - b) ** 2 / a**2,
    )
    rest = h_t - section * beta
    yield identity(
        "any coefficients: (β - β*)ᵀK(β - β*) more", rest.dot(rest), left.dot(left) + a**2 * (beta - b / a**2) ** 2
    )


@theorem.without(INVERTIBLE)
def coincident_synthetic_points():
    return Distillation(np.ones(1), np.ones((2, 1)), np.ones(2), np.array([1.0, -1.0]))


EXACT = (RATIONAL,)


@theorem.false_twin("the projection loss is ‖h_T‖² - bᵀb: the kernel matrix counts as the identity", arithmetics=EXACT)
def without_the_kernel_matrix(case):
    b = case.sections @ case.target
    return equal(rkip(case, b), case.target @ case.target - b @ b, operations=50)


@theorem.false_twin("other labels cost their squared distance to b", arithmetics=EXACT)
def plain_distance_of_labels(case):
    b = case.sections @ case.target
    gap = case.labels - b
    return equal(rkip(case, case.labels), rkip(case, b) + gap @ gap, operations=50)


@theorem.false_twin("any labels serve as well as b", arithmetics=EXACT)
def labels_do_not_matter(case):
    return equal(rkip(case, case.labels), rkip(case, case.sections @ case.target), operations=50)


@theorem.false_twin("with as many sections as dimensions less one nothing is left", arithmetics=EXACT)
def one_section_too_few(case):
    if len(case.sections) + 1 < len(case.target):
        return equal(0 * case.target, 0 * case.target, operations=1)
    b = case.sections @ case.target
    return equal(rkip(case, b), 0 * (b @ b), operations=50)


@theorem.false_twin("RKIP is the projection loss less the cost of other labels", arithmetics=EXACT)
def wrong_sign(case):
    b = case.sections @ case.target
    gap = case.labels - b
    return equal(rkip(case, case.labels), rkip(case, b) - gap @ solve(gram(case), gap), operations=50)
