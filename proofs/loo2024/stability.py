r"""A small reconstruction loss leaves no heavy, isolated training point out.

Let L = ‖Σ_i α_i k(·, x_i) - Σ_l β_l k(·, z_l)‖² be the loss of candidates z_l with coefficients β_l, and P_j² the squared
distance of k(·, x_j) from the span of all k(·, x_i), i ≠ j, and all k(·, z_l). Then α_j² P_j² ≤ L. With G the Gram matrix of
all sections and G_j the one without x_j, P_j² = det G/det G_j where det G_j ≠ 0 (a Schur complement), and

    α_j² det G ≤ L det G_j

holds without exception. So if every placement of the candidates outside of a ball around x_j leaves α_j² P_j² > L, then a
candidate lies in the ball. The bound is for one point at a time: the sum of the α_j² P_j² may exceed L.

Notes
-----
Split k(·, x_j) into its part in the span and a part p orthogonal to it. All of the difference but α_j p lies in the span, so
L = α_j²‖p‖² + ‖rest‖². In exact arithmetic vectors stand for the sections, which is no restriction: finitely many sections
span a space of finite dimension.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import constant, determinant
from provable.theorems import RATIONAL, Source, Theorem, at_most, equal, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For $L = \|\sum_i\alpha_ik(\cdot,x_i) - \sum_l\beta_lk(\cdot,z_l)\|^2$ and $P_j$ the distance of
    $k(\cdot,x_j)$ from the span of all $k(\cdot,x_i)$, $i \ne j$, and all $k(\cdot,z_l)$: $\alpha_j^2P_j^2 \le L$. With the
    Gram matrices $G$ of all sections and $G_j$ of all but $k(\cdot,x_j)$, $\alpha_j^2\det G \le L\det G_j$.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "Theorem 1, for a loss that is not zero",
        "the paper treats loss zero; the bound is derived here",
    ),
    expected="proved",
    does_not_say="how fast P_j falls as candidates approach x_j, which depends on the kernel",
)


@dataclass(frozen=True)
class Sections:
    """Sections of the training points (N, m) and candidates (M, m) as vectors, with their coefficients."""

    training: np.ndarray
    candidates: np.ndarray
    alpha: np.ndarray
    beta: np.ndarray


@st.composite
def sections(draw):
    count, candidates, dimension = draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.integers(1, 5))
    vectors = draw(readable_arrays((count + candidates, dimension)))
    numbers = draw(readable_arrays((count + candidates,)))
    if candidates and draw(st.booleans()):  # a candidate in place
        vectors[count] = vectors[0]
    return Sections(vectors[:count], vectors[count:], numbers[:count], numbers[count:])


theorem.instances(sections())


def loss(case):
    difference = case.alpha @ case.training
    if len(case.candidates):
        difference = difference - case.beta @ case.candidates
    return difference @ difference


def grams(case, j, *, others=True):
    """det G and det G_j; without the other training points if told so."""
    rest = [*(v for i, v in enumerate(case.training) if i != j and others), *case.candidates]
    full = np.array([case.training[j], *rest])
    matrix = full @ full.T
    one = constant(1, matrix)
    return determinant(matrix), determinant(matrix[1:, 1:]) if len(rest) else one


@theorem.claim(arithmetics=(RATIONAL,))
def no_heavy_point_is_missing(case):
    for j, weight in enumerate(case.alpha):
        whole, rest = grams(case, j)
        yield at_most(weight * weight * whole, loss(case) * rest, operations=1, name="α_j² det G ≤ L det G_j")


@theorem.derivation
def orthogonal_part():
    import sympy

    alpha, p, f, g = sympy.symbols("alpha p f g", real=True)
    # a frame whose first vector is the direction of the part p of k(·, x_j) outside of the span; f and g stand for its
    # part inside and for all other terms, on any one of the remaining vectors of the frame
    total = (alpha * p) ** 2 + (alpha * f + g) ** 2
    yield identity("L = α²‖p‖² + ‖αf + g‖²", total - alpha**2 * p**2, (alpha * f + g) ** 2)
    a, b, c, d, e, h = sympy.symbols("a b c d e h")
    gram = sympy.Matrix([[a, b, c], [b, d, e], [c, e, h]])
    inner, side = gram[1:, 1:], gram[1:, :1]
    schur = a - (side.T * inner.inv() * side)[0]
    yield identity("P_j² = a - bᵀG_j⁻¹b = det G/det G_j, for two other sections", schur * inner.det(), gram.det())


@theorem.false_twin("the norm of the section stands for its distance", arithmetics=(RATIONAL,))
def norm_instead(case):
    for j, weight in enumerate(case.alpha):
        yield at_most(weight * weight * (case.training[j] @ case.training[j]), loss(case), operations=1)


@theorem.false_twin("the distance from the candidates alone counts", arithmetics=(RATIONAL,))
def candidates_alone(case):
    for j, weight in enumerate(case.alpha):
        whole, rest = grams(case, j, others=False)
        yield at_most(weight * weight * whole, loss(case) * rest, operations=1)


@theorem.false_twin("the bound is an equality", arithmetics=(RATIONAL,))
def equality(case):
    for j, weight in enumerate(case.alpha):
        whole, rest = grams(case, j)
        yield equal(weight * weight * whole, loss(case) * rest, operations=1)


@theorem.false_twin("the bounds add up over the points", arithmetics=(RATIONAL,))
def sum_of_bounds(case):
    whole = grams(case, 0)[0]
    rests = [grams(case, j)[1] for j in range(len(case.alpha))]
    if any(rest == 0 for rest in rests):
        return at_most(0 * whole, loss(case), operations=1)
    total = sum(weight * weight * whole / rest for weight, rest in zip(case.alpha, rests, strict=True))
    return at_most(total, loss(case), operations=1)
