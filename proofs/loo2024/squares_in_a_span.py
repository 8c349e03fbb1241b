r"""Of all squares xxᵀ, the span of independent squares p_j p_jᵀ and the identity holds only multiples of these.

Let p_1, …, p_N be linearly independent in R^n, N ≤ n - 2. If xxᵀ = Σ_j a_j p_j p_jᵀ + s I, then s = 0 and x is a multiple of
one p_j. So the space that Hessian blocks of a trained function span (`loo2024.hessian_blocks`) determines the projections of
the training points up to scale: they are its rank-one elements.

Both hypotheses are sharp. With N = n - 1 orthonormal vectors, I - Σ_j p_j p_jᵀ is the square of the missing one. Three
vectors in a plane have squares that span all squares of the plane.

Notes
-----
On the orthogonal complement V of the p_j, of dimension at least 2, the equation reads (Vᵀx)(Vᵀx)ᵀ = s I: a matrix of rank at
most 1 on the left, of rank at least 2 on the right unless s = 0. Then Vᵀx = 0, and with P = (p_1, …, p_N) and its left
inverse L, (Lx)(Lx)ᵀ = diag(a): two nonzero coordinates of Lx would give a nonzero entry off the diagonal.

Beyond N = n - 2 generic squares stay isolated: xxᵀ near p_1 p_1ᵀ in the space is p_1 p_1ᵀ up to scale, if the tangent
vectors p_1 yᵀ + y p_1ᵀ with y not a multiple of p_1 meet the space in zero. The count N + n ≤ n(n + 1)/2 is necessary for
that; a derivation decides it by exact ranks for one family of integer vectors in each of four dimensions, at that count or
one below.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import constant, rank
from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $p_1, \dots, p_N \in R^n$ be linearly independent and $N \le n - 2$. If
    $xx^T = \sum_ja_jp_jp_j^T + sI$ with $x \ne 0$, then $s = 0$ and $x$ is a multiple of one $p_j$.""",
    source=Source("derived", note="for the subspace power method of Kileel, Pereira, arXiv:1912.04007"),
    expected="proved",
    does_not_say="that more than n - 2 generic squares stay alone in their span; that they can be isolated is shown",
)

INDEPENDENT = "the vectors are linearly independent"
FEW = "there are at most n - 2 of them"


@dataclass(frozen=True)
class Span:
    """Vectors p_j as rows (N, n), and a vector x (n,) whose square may lie in the span."""

    vectors: np.ndarray
    candidate: np.ndarray


@st.composite
def spans(draw):
    size = draw(st.integers(3, 4))
    number = draw(st.integers(1, size - 2))
    vectors = draw(readable_arrays((number, size)))
    kind = draw(st.integers(0, 2))
    if kind == 0:  # a multiple of one of them
        candidate = -2.0 * vectors[draw(st.integers(0, number - 1))]
    elif kind == 1:  # a combination
        candidate = draw(readable_arrays((number,))) @ vectors
    else:
        candidate = draw(readable_arrays((size,)))
    return Span(vectors, candidate)


@st.composite
def in_a_plane(draw):
    """Three vectors of a coordinate plane of R^5, and a fourth."""
    entries = draw(readable_arrays((4, 2), nonzero=True))
    padded = np.hstack([entries, np.zeros((4, 3))])
    return Span(padded[:3], padded[3])


@st.composite
def on_axes(draw):
    """Multiples of all axes of R^3 but one, and of that one."""
    axes = np.diag(draw(readable_arrays((3,), nonzero=True)))
    return Span(axes[:2], axes[2])


theorem.instances(spans())


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent(case):
    return rank(case.vectors) == len(case.vectors)


@theorem.hypothesis(FEW, arithmetic=RATIONAL)
def few(case):
    return len(case.vectors) <= case.vectors.shape[1] - 2


def one(like):
    size = like.shape[1]
    return np.array([[constant(float(i == k), like) for i in range(size)] for k in range(size)])


def space(case):
    """Rows p_j p_jᵀ and the identity."""
    return np.array([*(np.outer(p, p).reshape(-1) for p in case.vectors), one(case.vectors).reshape(-1)])


def inside(case):
    """Whether the square of the candidate lies in the space."""
    rows = space(case)
    square = np.outer(case.candidate, case.candidate).reshape(1, -1)
    return rank(np.concatenate([rows, square])) == rank(rows)


def parallel(case):
    """How many of the vectors the candidate is a multiple of."""
    return sum(rank(np.array([p, case.candidate])) <= 1 for p in case.vectors)


def alone(case):
    is_one = parallel(case) > 0
    return holds(is_one == inside(case), name="the square is in the span exactly if x is a multiple of one p_j")


@theorem.claim(arithmetics=(RATIONAL,))
def squares_of_the_span(case):
    yield alone(case)
    yield holds(rank(space(case)) == len(case.vectors) + 1, name="the squares and the identity are independent")
    # isolation at p_1: the tangent vectors of squares at p_1 p_1ᵀ meet the space in its own multiples only
    first = case.vectors[0]
    tangents = np.array([(np.outer(first, e) + np.outer(e, first)).reshape(-1) for e in one(case.vectors)])
    together = rank(np.concatenate([space(case), tangents]))
    yield holds(together == len(case.vectors) + case.vectors.shape[1], name="the square of p_1 is isolated in the span")


@theorem.derivation
def restriction_and_left_inverse():
    import sympy

    u, v, s = sympy.symbols("u v s")
    restricted = sympy.Matrix([u, v]) * sympy.Matrix([[u, v]])
    yield identity("on two dimensions outside all p_j: (Vᵀx)(Vᵀx)ᵀ = s I has determinant 0 = s²", restricted.det(), 0)
    yield identity("while the right-hand side has determinant s²", (s * sympy.eye(2)).det(), s**2)
    yield fact(
        "with s = 0 the diagonal gives u = v = 0: x has no part outside the span of the p_j",
        sympy.solve([u**2, v**2], [u, v], dict=True) == [{u: 0, v: 0}],
    )
    size = sympy.Symbol("N", integer=True, positive=True)
    P, D = sympy.MatrixSymbol("P", size, size), sympy.MatrixSymbol("D", size, size)
    yield fact(
        "in coordinates of the span P is invertible: P⁻¹ (P D Pᵀ) P⁻ᵀ = D, so (P⁻¹x)(P⁻¹x)ᵀ = diag(a)",
        (P.I * (P * D * P.T) * P.T.I).doit() == D,
    )
    y1, y2 = sympy.symbols("y1 y2", nonzero=True)
    outer = sympy.Matrix([y1, y2]) * sympy.Matrix([[y1, y2]])
    yield fact("two nonzero coordinates give a nonzero entry off the diagonal", outer[0, 1].is_nonzero is True)


def isolated(vectors):
    """Whether every vector's square is isolated among the squares in the span: its tangents meet the span in it alone."""
    rows = space(Span(vectors, vectors[0]))
    number, size = vectors.shape
    for p in vectors:
        tangents = np.array([(np.outer(p, e) + np.outer(e, p)).reshape(-1) for e in one(vectors)])
        if rank(np.concatenate([rows, tangents])) != number + size:
            return False
    return True


@theorem.derivation
def isolation_of_more_squares():
    for size, number in ((3, 3), (4, 6), (5, 9), (6, 14)):
        integers = np.random.default_rng(size).integers(-9, 10, (number, size)).astype(float)
        with RATIONAL.working():
            alone_there = isolated(RATIONAL.convert(integers))
        yield fact(f"{number} squares in dimension {size} that are each isolated, by exact ranks", alone_there)


@theorem.without(INDEPENDENT)
def three_in_a_plane():
    plane = np.array([[1.0, 0.0, 0.0, 0.0, 0.0], [0.0, 1.0, 0.0, 0.0, 0.0], [1.0, 1.0, 0.0, 0.0, 0.0]])
    return Span(plane, np.array([1.0, 2.0, 0.0, 0.0, 0.0]))


@theorem.without(FEW)
def an_orthonormal_family():
    return Span(np.eye(3)[:2], np.eye(3)[2])


@theorem.false_twin("pairwise independent vectors suffice", without=(INDEPENDENT,), instances=in_a_plane())
def pairwise(case):
    pairs = [rank(case.vectors[[i, k]]) == 2 for i in range(3) for k in range(i)]
    return alone(case) if all(pairs) else holds(True, name="nothing is claimed")


@theorem.false_twin("n - 1 vectors are few enough", without=(FEW,), instances=on_axes())
def one_more(case):
    return alone(case)


@theorem.false_twin("the square of every combination is in the span", arithmetics=(RATIONAL,))
def every_combination(case):
    combined = rank(np.concatenate([case.vectors, case.candidate[None]])) == len(case.vectors)
    return holds(inside(case) or not combined, name="x in the span of the p_j has its square in the span of theirs")


@theorem.false_twin("the coefficient of p_j is 1", arithmetics=(RATIONAL,))
def unscaled(case):
    if parallel(case) != 1:
        return holds(True, name="nothing is claimed")
    same = next(p for p in case.vectors if rank(np.array([p, case.candidate])) <= 1)
    zero = all(entry == 0 for entry in case.candidate)
    square, found = (np.outer(v, v).reshape(-1) for v in (same, case.candidate))
    return holds(zero or all(a == b for a, b in zip(square, found, strict=True)), name="xxᵀ = p_j p_jᵀ")
