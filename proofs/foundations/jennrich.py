r"""A third-order tensor with two independent factors has one decomposition, and a matrix pencil finds it.

Let T = Σ_{i≤r} u_i ⊗ v_i ⊗ w_i with linearly independent u_i, linearly independent v_i and nonzero w_i, no two parallel.
Then T has rank r, its r terms are determined by T alone, and for vectors a, b that separate the w_i the matrix
T(·,·,a) T(·,·,b)⁺ has the eigenvectors u_i with the distinct eigenvalues (w_i·a)/(w_i·b).

Notes
-----
.. math:: T(\cdot,\cdot,a) = U D_a V^T, \qquad T(\cdot,\cdot,a)\,T(\cdot,\cdot,b)^+ = U D_a D_b^{-1} U^+, \qquad
          D_a = \operatorname{diag}(w_i \cdot a) .

Existence of good a, b: (w_i·a)(w_j·b) − (w_j·a)(w_i·b) is the polynomial Σ_{k<l} (w_i ∧ w_j)_{kl} (a ∧ b)_{kl}, which
vanishes identically only if w_i and w_j are parallel. Uniqueness: T(·,·,b) has rank r, so every decomposition with r terms
has independent factors too and diagonalises the same matrix; simple eigenvalues have one eigenvector each, up to scale, and
with the spectral projectors P_i the terms are P_i T. Not determined are the order of the terms, and scalars within a term.

The exact evidence recovers the terms from T alone: a pencil on a grid of Vandermonde vectors (1, t, t², …), large enough
that a good one is on it, the characteristic polynomial over the rationals, and spectral projectors. The float64 evidence uses
`provable.tensors.jennrich`, with the condition of its pencil in the stated error.

Source: Harshman 1970, who credits Jennrich; Leurgans, Ross, Abel 1993. The wording follows the introduction of
arXiv:2510.26587 (read second-hand); proof, pencil grid and counterexamples are written out here.
"""

import itertools

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, kind, rank
from provable.tensors import jennrich, kruskal_rank
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies import conditioned_matrices, readable_arrays, sphere_points
from provable.theorems.strategies.decompositions import (
    Decompositions,
    coplanar_factors,
    mixed,
    outer_products,
    parallel_third_factors,
    reordered,
    unordered,
)

theorem = Theorem(
    statement=r"""If the u_i are linearly independent, the v_i are linearly independent and the w_i are nonzero and pairwise
    linearly independent, then T = \sum_{i \le r} u_i \otimes v_i \otimes w_i has rank r, its decomposition into r terms is
    unique up to their order, and for generic a, b the matrix T(\cdot,\cdot,a) T(\cdot,\cdot,b)^+ has the eigenvectors u_i
    with the eigenvalues (w_i \cdot a)/(w_i \cdot b).""",
    source=Source("Leurgans, Ross, Abel, SIAM J. Matrix Anal. Appl. 14 (1993)", note="wording second-hand"),
    expected="proved",
    does_not_say="how stable the algorithm is: a pencil can be far worse conditioned than the decomposition",
)

FIRST, SECOND, THIRD = (
    "independent first factor",
    "independent second factor",
    "nonzero, pairwise independent third factor",
)


@theorem.instances
def decomposable_tensors(draw):
    count = draw(st.sampled_from((1, 2, 2, 3)))
    rows, columns, depth = count + draw(st.integers(0, 1)), count + draw(st.integers(0, 1)), draw(st.integers(1, 3))
    if draw(st.integers(0, 3)) == 3:  # nearly dependent and nearly parallel columns
        first = draw(conditioned_matrices(rows, count, max_log10_condition=4.0))
        second = draw(conditioned_matrices(columns, count, max_log10_condition=4.0))
        third = draw(sphere_points(count, max(depth, 2), min_log10_separation=-4.0)).T
    else:
        first, second, third = (
            draw(readable_arrays((count, size))).T for size in (rows, columns, depth if count == 1 else max(depth, 2))
        )
    return Decompositions(first, second, third, *reordered(draw, first, second, third))


@st.composite
def two_readable_terms(draw):
    """For the false twins: 2×2×2 with readable numbers from one choice."""
    factors = draw(readable_arrays((12,), nonzero=True)).reshape(3, 2, 2)
    return Decompositions(*factors, *reordered(draw, *factors))


@theorem.hypothesis(FIRST, arithmetic=RATIONAL)
def independent_first(case):
    return rank(case.first) == case.first.shape[1]


@theorem.hypothesis(SECOND, arithmetic=RATIONAL)
def independent_second(case):
    return rank(case.second) == case.second.shape[1]


@theorem.hypothesis(THIRD, arithmetic=RATIONAL)
def pairwise_independent_third(case):
    return kruskal_rank(case.third) >= min(2, case.third.shape[1])


@theorem.degenerate
def one_term(case):
    return case.first.shape[1] == 1


def vandermonde(tensor, node):
    """T(·,·,(1, node, node², …))."""
    return sum(tensor[:, :, power] * node**power for power in range(tensor.shape[2]))


def flint_matrix(matrix):
    return flint.fmpq_mat(*matrix.shape, list(matrix.reshape(-1)))


def pivots(matrix):
    """Indices of the first columns that span the others, by Gaussian elimination over the rationals."""
    reduced, count = flint_matrix(matrix).rref()
    lines = reduced.tolist()
    return [next(k for k, number in enumerate(line) if number != 0) for line in lines[:count]]


def terms_from_pencil(tensor, count, node_a, node_b):
    """Eigenvalues and terms from T(·,·,a) and T(·,·,b), exactly; None if b is singular on T or an eigenvalue is repeated."""
    contracted_a, contracted_b = vandermonde(tensor, node_a), vandermonde(tensor, node_b)
    columns, rows = pivots(contracted_b), pivots(contracted_b.T)
    if len(columns) != count:
        return None
    minor = flint_matrix(contracted_b[np.ix_(rows, columns)]).inv()
    matrix = flint_matrix(contracted_a[np.ix_(rows, columns)]) * minor  # = U_rows Λ U_rows⁻¹
    factors = matrix.charpoly().factor()[1]
    if len(factors) != count:
        return None
    if any(factor.degree() > 1 for factor, _ in factors):
        return None  # irrational eigenvalues: not a sum of `count` rational terms
    eigenvalues = [-factor[0] / factor[1] for factor, _ in factors]
    one = flint.fmpq_mat(count, count, [int(i == j) for i in range(count) for j in range(count)])
    lift = flint_matrix(contracted_b[:, columns]) * minor  # = U U_rows⁻¹
    terms = []
    for value in eigenvalues:
        projector = one
        for other in eigenvalues:
            if other != value:
                projector = projector * (matrix - other * one) * (1 / (value - other))
        slices = [lift * projector * flint_matrix(tensor[rows, :, k]) for k in range(tensor.shape[2])]
        terms.append(np.stack([np.array(part.tolist(), dtype=object) for part in slices], axis=2))
    return eigenvalues, terms


def recover(tensor, count):
    """The terms of a rational tensor from nothing but itself, with the nodes of the pencil; None if no pencil works."""
    depth, pairs = tensor.shape[2] - 1, count * (count - 1) // 2
    # as a polynomial in the nodes, the product of all (w_i·b) and all differences has these degrees: see Notes
    for node_b in range(1, depth * (count + pairs) + 2):
        for node_a in range(depth * pairs + 1):
            found = terms_from_pencil(tensor, count, node_a, node_b) if node_a != node_b or count == 1 else None
            if found is not None:
                return (*found, node_a, node_b)
    return None


def same_terms(case):
    """If the other factors give the same tensor, they have the same terms."""
    return holds(not case.disagree, name="a second decomposition of the tensor has the same terms")


def pencil_checks(case, *, inverted=False):
    """What the tensor says of itself against the factors that made it."""
    found = recover(case.terms.sum(axis=0), case.first.shape[1])
    yield holds(found is not None, name="a pencil separates the terms")
    if found is not None:
        eigenvalues, recovered, *nodes = found
        yield holds(unordered(recovered) == unordered(case.terms), name="the pencil gives the terms back")
        above, below = (sum(row * node**k for k, row in enumerate(case.third)) for node in nodes)
        ratios = below / above if inverted else above / below
        yield holds(unordered(ratios) == unordered(eigenvalues), name="the eigenvalues are (w_i·a)/(w_i·b)")


def pencil_condition(case, contractions):
    """κ of the pencil (a, b): rounding in T(a) T(b)⁺, divided by the gap, seen through the eigenvectors twice."""
    above, below = contractions @ case.third
    sizes = np.linalg.svd(case.first * below @ case.second.T, compute_uv=False)[: case.first.shape[1]]
    if sizes[-1] == 0 or np.any(below == 0):
        return np.inf
    values = above / below
    gaps = np.abs(values[:, None] - values) + np.where(np.eye(len(values)), np.inf, 0.0)
    gap = min(gaps.min(), np.abs(values).max())
    amplified = np.linalg.norm(case.first * above @ case.second.T, 2) * sizes[0] / sizes[-1] ** 2
    return np.linalg.cond(case.first) ** 2 * max(1.0, amplified / gap) if gap > 0 else np.inf


def float_checks(case):
    """The terms of `provable.tensors.jennrich`, in the best order."""
    contractions = np.random.default_rng(0).standard_normal((2, len(case.third)))
    condition, count = pencil_condition(case, contractions), case.first.shape[1]
    if not condition < 1e12:
        yield holds(True, name="nothing is claimed of a pencil that is singular to working precision")
        return
    terms = case.terms
    weights, (first, second, third) = jennrich(terms.sum(axis=0), count, contractions=contractions)
    found = outer_products(weights * first, second, third)
    orders = [found[list(order)] for order in itertools.permutations(range(count))]
    best = min(orders, key=lambda ordered: np.abs(ordered - terms).max())
    # singular vectors, a solve and an eigendecomposition, all of r×r matrices
    yield equal(best, terms, operations=10 * count, condition=condition, name="the algorithm gives the terms back")


@theorem.claim(arithmetics=(RATIONAL, FLOAT64))
def terms_are_determined(case):
    if kind(case.first) == "float64":
        yield from float_checks(case)
    else:
        yield same_terms(case)
        yield from pencil_checks(case)


@theorem.derivation
def simultaneous_diagonalisation():
    """Matrix identities for any r; restricted to rows on which they are invertible, U and V are square."""
    import sympy

    size = sympy.Symbol("r", integer=True, positive=True)
    U, V, A, B, L = (sympy.MatrixSymbol(name, size, size) for name in ("U", "V", "D_a", "D_b", "Lambda"))
    w, z, a, b = (sympy.Matrix(3, 1, sympy.symbols(f"{name}_1:4")) for name in "wzab")
    u, v = (sympy.Matrix(2, 2, sympy.symbols(f"{name}_1:3_1:3")) for name in "uv")
    weights = sympy.diag((w.T * a)[0], (z.T * a)[0])
    terms = [[(u[:, i] * v[:, i].T) * factor[k] for i, factor in enumerate((w, z))] for k in range(3)]
    yield identity(
        "contraction: Σ_k a_k T(·,·,k) = U diag(w_i·a) Vᵀ, generic entries",
        sympy.expand(sum((a[k] * (terms[k][0] + terms[k][1]) for k in range(3)), sympy.zeros(2))),
        sympy.expand(u * weights * v.T),
    )
    pencil = (U * A * V.T) * (U * B * V.T).I
    yield fact("U D_a Vᵀ (U D_b Vᵀ)⁻¹ = U D_a D_b⁻¹ U⁻¹, any r", pencil.doit() == U * A * B.I * U.I)
    yield fact("so U consists of eigenvectors: (U Λ U⁻¹) U = U Λ, any r", (U * L * U.I * U).doit() == U * L)
    minors = sum(
        (w[k] * z[m] - w[m] * z[k]) * (a[k] * b[m] - a[m] * b[k]) for k, m in itertools.combinations(range(3), 2)
    )
    gap = (w.T * a)[0] * (z.T * b)[0] - (z.T * a)[0] * (w.T * b)[0]
    yield identity("two eigenvalues differ by Σ_{k<l} (w∧z)_kl (a∧b)_kl over (w·b)(z·b)", gap, minors)
    coefficients = sympy.Poly(sympy.expand(minors), *a, *b).coeffs()
    wanted = {sign * (w[k] * z[m] - w[m] * z[k]) for k, m in itertools.combinations(range(3), 2) for sign in (1, -1)}
    yield fact(
        "which as a polynomial in a, b has the minors of (w, z) for coefficients: zero only if w ∥ z",
        {sympy.expand(c) for c in coefficients} == {sympy.expand(c) for c in wanted},
    )
    values = sympy.symbols("lambda_1:4")
    y = sympy.Matrix(3, 1, sympy.symbols("y_1:4"))
    eigen = (sympy.diag(*values) - values[0] * sympy.eye(3)) * y
    yield identity(
        "any eigenvector U y for λ_1 has (λ_j − λ_1) y_j = 0, so y_j = 0 for j ≠ 1: it is a multiple of u_1",
        eigen,
        sympy.Matrix([0, (values[1] - values[0]) * y[1], (values[2] - values[0]) * y[2]]),
    )
    diagonal = sympy.diag(*values)
    projector = sympy.eye(3)
    for value in values[1:]:
        projector = projector * (diagonal - value * sympy.eye(3)) / (values[0] - value)
    yield identity("spectral projector: Π_j (Λ − λ_j)/(λ_1 − λ_j) = e_1 e_1ᵀ", projector, sympy.diag(1, 0, 0))
    E, D = sympy.MatrixSymbol("E_i", size, size), sympy.MatrixSymbol("D_k", size, size)
    term = (U * E * U.I) * (U * D * V.T)
    yield fact(
        "the terms are projections of T: (U E_i U⁻¹) T(·,·,k) = U E_i D_k Vᵀ, any r", term.doit() == U * E * D * V.T
    )


@theorem.without(FIRST)
def one_vector_in_the_first_factor():
    same, identity_factor = np.array([[1.0, 1.0]]), np.eye(2)
    second, third = mixed(identity_factor, identity_factor)
    return Decompositions(same, identity_factor, identity_factor, same, second, third)


@theorem.without(SECOND)
def one_vector_in_the_second_factor():
    same, identity_factor = np.array([[1.0, 1.0]]), np.eye(2)
    first, third = mixed(identity_factor, identity_factor)
    return Decompositions(identity_factor, same, identity_factor, first, same, third)


@theorem.without(THIRD)
def one_vector_in_the_third_factor():
    same, identity_factor = np.array([[1.0, 1.0]]), np.eye(2)
    first, second = mixed(identity_factor, identity_factor)
    return Decompositions(identity_factor, identity_factor, same, first, second, same)


@theorem.false_twin("parallel w_i do no harm", without=(THIRD,), instances=parallel_third_factors())
def any_third_factor(case):
    return same_terms(case)


@theorem.false_twin("pairwise independent v_i suffice", without=(SECOND,), instances=coplanar_factors())
def pairwise_independent_second_factor(case):
    return same_terms(case) if kruskal_rank(case.second) >= 2 else holds(True, name="nothing is claimed")


@theorem.false_twin("the eigenvalues are (w_i·b)/(w_i·a)", instances=two_readable_terms(), arithmetics=(RATIONAL,))
def inverted_eigenvalues(case):
    yield from pencil_checks(case, inverted=True)


@theorem.false_twin(
    "the vectors themselves are determined, up to their order", instances=two_readable_terms(), arithmetics=(RATIONAL,)
)
def no_scaling(case):
    yield holds(unordered(case.first.T) == unordered(case.other_first.T), name="the u_i are the same vectors")
