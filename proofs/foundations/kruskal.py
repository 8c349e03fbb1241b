r"""Kruskal's condition makes the decomposition of a third-order tensor unique.

Let k_A be the largest k such that every k of the r columns of A are independent. If k_A + k_B + k_C ≥ 2r + 2, then the terms
of T = Σ_{i≤r} a_i ⊗ b_i ⊗ c_i are determined by T: every decomposition into r terms has the same ones. Moreover no
infinitesimal change of the factors leaves T unchanged, other than moving scalars within a term: the derivative of (A, B, C)
↦ T has rank r(I + J + K − 2).

Notes
-----
The theorem is Kruskal's; no finite computation proves it for all tensors, and none is pretended here. Evidence, all exact:

- *Infinitesimal uniqueness* on every draw, by the rank of the derivative over the rationals. It follows from the condition:
  let Σ ȧ_i b_i c_i + a_i ḃ_i c_i + a_i b_i ċ_i = 0. Take a set S of k_C − 1 indices and any x orthogonal to the c_i with
  i ∈ S, contract with x, and divide out the span of the q = r − k_C + 1 vectors a_j with j ∉ S on the left and of these b_j
  on the right. What remains is Σ_{i∈S} (ċ_i·x) ā_i b̄_iᵀ = 0, where the k-ranks of the ā_i and b̄_i are at least k_A − q
  and k_B − q. The matrices ā_i b̄_iᵀ are independent if (k_A − q) + (k_B − q) − 1 ≥ |S| = k_C − 1, which is Kruskal's
  condition. So ċ_i lies in the span of c_S for every S that contains i, and these spans meet in the multiples of c_i. The
  same holds for ȧ and ḃ, and since the terms are independent, only the 2r scalings are left. [derived here]
- *Global uniqueness* on every draw in which one factor, say C, has independent columns: a second decomposition uses
  rank-one matrices from the span of the a_i b_iᵀ, and Σ t_i a_i b_iᵀ has the 2×2 minors
  Σ_{i<j} t_i t_j (a_i∧a_j) ⊗ (b_i∧b_j). If these r(r − 1)/2 vectors are independent, all products t_i t_j vanish. Their rank
  is computed.
- *Second decompositions* drawn along: the same terms in another order and scaling never disagree; where the condition
  fails by one, an explicit different decomposition does (sharpness and false twins).

Tensors of order n need Σ k ≥ 2r + n − 1 (Sidiropoulos and Bro). The condition is sufficient and not necessary: a false twin
below says otherwise.

Source: Kruskal 1977 (Theorem 4a by memory; the statement from an abstract by Lovitz and Petrov, read second-hand). The
infinitesimal form and the choice of evidence are derived here.
"""

import itertools

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, full, rank
from provable.tensors import kruskal_rank
from provable.theorems import Source, Theorem, holds
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies import readable_arrays
from provable.theorems.strategies.decompositions import (
    Decompositions,
    coplanar_factors,
    parallel_third_factors,
    reordered,
)

theorem = Theorem(
    statement=r"""If k_A + k_B + k_C \ge 2r + 2 for the k-ranks of A (I \times r), B (J \times r) and C (K \times r), then
    T = \sum_{i \le r} a_i \otimes b_i \otimes c_i has only this decomposition into r terms, up to their order and scalars
    within them; and the derivative of (A, B, C) \mapsto T has rank r (I + J + K - 2).""",
    source=Source("Kruskal, Linear Algebra Appl. 18 (1977)", "Theorem 4a", "the infinitesimal part is derived here"),
    expected="certified",
    does_not_say="that global uniqueness was tested where no factor has independent columns: evidence there is infinitesimal",
)

CONDITION = "k_A + k_B + k_C ≥ 2r + 2"
K_RANKS = {
    2: ((2, 2, 2),),
    3: ((3, 3, 2), (2, 3, 3), (3, 3, 3)),
    4: ((4, 4, 2), (3, 3, 4), (4, 3, 4)),
    5: ((4, 4, 4), (5, 4, 3)),
}
NODES = (0.0, 1.0, -1.0, 2.0, -2.0, 0.5, 3.0, 1.0 + 2.0**-20)


def moment_curve(draw, k, count):
    """`count` vectors (1, t, …, t^{k−1}) with distinct t: every k of them are independent. Two nodes may nearly coincide."""
    nodes = draw(st.permutations(NODES))[:count]
    scales = draw(st.lists(st.sampled_from((1.0, -1.0, 2.0)), min_size=count, max_size=count))
    return np.array([[scale * node**power for node, scale in zip(nodes, scales, strict=True)] for power in range(k)])


@theorem.instances
def factors_of_known_ranks(draw):
    count = draw(st.sampled_from((2, 3, 3, 4, 4, 5)))
    ranks = draw(st.sampled_from(K_RANKS[count]))
    factors = [moment_curve(draw, k, count) for k in ranks]
    if count <= 3 and draw(st.booleans()):  # any numbers; the condition is then checked, not built in
        sizes = [k + draw(st.integers(0, 1)) for k in ranks]
        factors = [draw(readable_arrays((size, count), nonzero=True)) for size in sizes]
    return Decompositions(*factors, *reordered(draw, *factors))


def k_ranks(case):
    return [kruskal_rank(factor) for factor in (case.first, case.second, case.third)]


@theorem.hypothesis(CONDITION, arithmetic=RATIONAL)
def kruskals_condition(case):
    return sum(k_ranks(case)) >= 2 * case.first.shape[1] + 2


def derivative_rank(case):
    """Rank of (Ȧ, Ḃ, Ċ) ↦ Σ ȧ_i b_i c_i + a_i ḃ_i c_i + a_i b_i ċ_i."""
    lines = []
    for a, b, c in zip(case.first.T, case.second.T, case.third.T, strict=True):
        for place, vectors in enumerate(((a, b, c), (b, c, a), (c, a, b))):
            size = len(vectors[0])
            fixed = np.multiply.outer(vectors[1], vectors[2])
            for axis in range(size):
                line = full((size, *fixed.shape), 0, a)
                line[axis] = fixed
                lines.append(np.transpose(line, np.roll((0, 1, 2), place)).reshape(-1))
    return rank(np.stack(lines))


def compound_rank(one, other):
    """Rank of the vectors (a_i ∧ a_j) ⊗ (b_i ∧ b_j), i < j."""
    lines = []
    for i, j in itertools.combinations(range(one.shape[1]), 2):
        wedges = []
        for factor in (one, other):
            pairs = itertools.combinations(factor, 2)
            wedges.append(np.array([x[i] * y[j] - x[j] * y[i] for x, y in pairs], dtype=object))
        lines.append(np.multiply.outer(*wedges).reshape(-1))
    return rank(np.stack(lines))


def is_globally_unique(case):
    """The minor criterion, for a factor with independent columns; None if there is no such factor."""
    factors, count = [case.first, case.second, case.third], case.first.shape[1]
    for place, factor in enumerate(factors):
        if rank(factor) == count:
            return compound_rank(*(factors[:place] + factors[place + 1 :])) == count * (count - 1) // 2
    return None


def no_second_decomposition(case):
    return holds(not case.disagree, name="a second decomposition of the tensor has the same terms")


@theorem.claim(arithmetics=(RATIONAL,))
def decomposition_is_unique(case):
    count, dimensions = case.first.shape[1], sum(len(factor) for factor in (case.first, case.second, case.third))
    yield no_second_decomposition(case)
    yield holds(derivative_rank(case) == count * (dimensions - 2), name="no infinitesimal change but scalings")
    unique = is_globally_unique(case)
    if unique is not None:
        yield holds(unique, name="no other rank-one matrix in the span of the a_i b_iᵀ")


@theorem.derivation(covers="tensors with one factor of independent columns, given the rank of the minors")
def rank_one_matrices_in_a_span():
    """Minors are bilinear in pairs of terms, so three terms and 3×3 matrices are generic."""
    import sympy

    t = sympy.symbols("t_1:4")
    a, b = (sympy.Matrix(3, 3, sympy.symbols(f"{name}_1:4_1:4")) for name in "ab")
    combination = a * sympy.diag(*t) * b.T
    for rows in itertools.combinations(range(3), 2):
        columns = (0, 1)
        minor = combination.extract(rows, columns).det()
        pairs = itertools.combinations(range(3), 2)
        expected = sum(t[i] * t[j] * a.extract(rows, (i, j)).det() * b.extract(columns, (i, j)).det() for i, j in pairs)
        yield identity(
            f"minor of Σ t_i a_i b_iᵀ in rows {rows}: Σ t_i t_j (a_i∧a_j)(b_i∧b_j)", minor, sympy.expand(expected)
        )
    roots = sympy.solve([t[i] * t[j] for i, j in itertools.combinations(range(3), 2)], t, dict=True)
    yield fact(
        "all products t_i t_j vanish only where at most one t_i does not",
        all(sum(symbol not in root for symbol in t) <= 1 and set(root.values()) <= {0} for root in roots)
        and bool(roots),
    )
    kA, kB, kC, r = sympy.symbols("k_A k_B k_C r")
    q, size = r - kC + 1, kC - 1
    yield identity(
        "the count in the infinitesimal proof: (k_A−q) + (k_B−q) − 1 − |S| = k_A + k_B + k_C − (2r + 2)",
        (kA - q) + (kB - q) - 1 - size,
        kA + kB + kC - (2 * r + 2),
    )


@theorem.without(CONDITION)
def three_coplanar_vectors_twice():
    """k-ranks 3 + 2 + 2 = 2r + 1, with two different decompositions."""
    second, third = np.array([[1.0, 1.0, -1.0], [-1.0, 2.0, -1.0]]), np.array([[1.0, 1.0, 1.0], [1.0, -1.0, 2.0]])
    return Decompositions(
        36.0 * np.eye(3),
        second,
        third,
        np.array([[-2.0, 0.0, 0.0], [0.0, 12.0, 0.0], [-1.0, 2.0, 2.0]]),
        np.array([[1.0, 1.0, 2.0], [-1.0, 2.0, 1.0]]),
        np.array([[-18.0, 3.0, -15.0], [-18.0, -3.0, -21.0]]),
    )


@st.composite
def parallel_pair_among_three(draw):
    """Independent a_i and b_i, but c_1 ∥ c_2: ranks 3 + 3 + 2, k-ranks 3 + 3 + 1."""
    case = draw(parallel_third_factors())
    one = np.ones((1, 1))

    def extend(factor, last):
        return np.block([[factor, np.zeros((2, 1))], [np.zeros((1, 2)), last]])

    third, other = (np.hstack([factor, [[1.0], [-1.0]]]) for factor in (case.third, case.other_third))
    first, second = extend(case.first, one), extend(case.second, one)
    return Decompositions(first, second, third, extend(case.other_first, one), extend(case.other_second, one), other)


@theorem.false_twin("k_A + k_B + k_C ≥ 2r + 1 suffices", without=(CONDITION,), instances=coplanar_factors())
def one_less(case):
    if sum(k_ranks(case)) < 2 * case.first.shape[1] + 1:
        return holds(True, name="nothing is claimed")
    return no_second_decomposition(case)


@theorem.false_twin("ranks serve instead of k-ranks", without=(CONDITION,), instances=parallel_pair_among_three())
def ranks_instead(case):
    if sum(rank(factor) for factor in (case.first, case.second, case.third)) < 2 * case.first.shape[1] + 2:
        return holds(True, name="nothing is claimed")
    return no_second_decomposition(case)


@theorem.false_twin(
    "k_A + k_B ≥ r + 2 suffices for any nonzero c_i", without=(CONDITION,), instances=parallel_third_factors()
)
def two_factors_suffice(case):
    first, second, third = k_ranks(case)
    if first + second < case.first.shape[1] + 2 or third < 1:
        return holds(True, name="nothing is claimed")
    return no_second_decomposition(case)


@st.composite
def below_the_bound(draw):
    """Four terms with c_i = e_i, three coplanar a_i: k-ranks 2 + 3 + 4 = 2r + 1 at best."""
    numbers = draw(readable_arrays((21,), nonzero=True))
    first, second = numbers[:9].reshape(3, 3), numbers[9:].reshape(3, 4)
    first = np.column_stack([first[:, :2], first[:, 0] + first[:, 1], first[:, 2]])
    return Decompositions(first, second, np.eye(4), first, second, np.eye(4))


@theorem.false_twin("the condition is necessary as well", without=(CONDITION,), instances=below_the_bound())
def necessary(case):
    if sum(k_ranks(case)) >= 2 * case.first.shape[1] + 2:
        return holds(True, name="nothing is claimed")
    return holds(not is_globally_unique(case), name="there is another decomposition")
