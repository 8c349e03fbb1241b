"""Behind one hidden layer of ReLUs every activation pattern of the batch is in a finite list, which can be written down.

For f(x) = a·σ(Wx + b), σ with slopes s (left of zero) and 1, the first layer's gradient is
G = Σ_i r_i (a ∘ σ'(z_i)) x_iᵀ. Let Y (m × n) have independent columns that span the column space of G, and let the rows
S of Y be independent, |S| = n. Then the vectors of that space with entries in {s a_j, a_j} are exactly those among the
2^n vectors

    h = Y Y_S⁻¹ (a_S ∘ t),  t ∈ {s, 1}^S,

that have such entries in the other rows as well. If rank G = B, the vectors a ∘ σ'(z_i) of all B samples are on the list.

Notes
-----
Proof. h = Y c has h_S = Y_S c, so that c = Y_S⁻¹ h_S: a vector of the space is determined by its entries in S, and 2^n
choices of these are two-valued. If rank G = B, column space and span{a ∘ σ'(z_i)} coincide, since the first lies in the
second and has dimension B.

The list may be longer than the batch: if two samples share no active ReLU, the sum of their patterns is on it. Samples
of equal patterns are one vector (and rank G < B).

Slawski, Hein and Lutsik (Matrix factorization with binary components, NIPS 2013) find the vertices of a cube in an affine
subspace this way; credit for the enumeration is theirs. That the gradient of a ReLU network has this form is derived
here, and so are statement and proof as they stand.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, constant, full, positive, rank, solve
from provable.theorems import Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $G = \sum_{i \le B} r_i (a \circ \sigma'(W x_i)) x_i^T$ with $\sigma' \in \{s, 1\}$, $s \ne 1$, let
    the columns of $Y$ be a basis of the column space of $G$, of dimension $n$, and let $Y_S$ be regular, $|S| = n$. Then
    $h$ with $h_j \in \{s a_j, a_j\}$ is in the column space if and only if $h = Y Y_S^{-1} (a_S \circ t)$ for some
    $t \in \{s, 1\}^S$. If $\mathrm{rank}\, G = B$, every $a \circ \sigma'(W x_i)$ is such a vector.""",
    source=Source(
        "derived",
        note="the enumeration is that of Slawski, Hein, Lutsik, NIPS 2013",
    ),
    expected="certified",
    does_not_say="that the list has no other vectors than the samples'",
)

FULL_RANK = "rank G = B"
REGULAR = "the rows S are independent"
BENT = "the two slopes differ"


@dataclass(frozen=True)
class Batch:
    """Weights W (m, d), output weights a (m,), samples X (B, d), residuals r (B,), the slope, and the rows S."""

    weight: np.ndarray
    output_weight: np.ndarray
    samples: np.ndarray
    residuals: np.ndarray
    slope: np.ndarray
    rows: tuple[int, ...]

    @property
    def patterns(self):
        """σ'(W x_i), one column per sample."""
        values = self.weight @ self.samples.T
        slopes = full(values.shape, 0, values) + self.slope[0]
        slopes[positive(values)] = constant(1, values)
        return slopes

    @property
    def columns(self):
        """a ∘ σ'(W x_i)."""
        return self.output_weight[:, None] * self.patterns

    @property
    def gradient(self):
        return (self.columns * self.residuals) @ self.samples

    @property
    def basis(self):
        """Columns of the gradient that form a basis of its column space."""
        chosen: list[int] = []
        for k in range(self.gradient.shape[1]):
            if rank(self.gradient[:, [*chosen, k]]) == len(chosen) + 1:
                chosen.append(k)
        return self.gradient[:, chosen]


def first_rows(columns):
    """Rows that are independent, from the first on."""
    chosen = []
    for j in range(len(columns)):
        if np.linalg.matrix_rank(columns[[*chosen, j]]) == len(chosen) + 1:
            chosen.append(j)
    return tuple(chosen)


@st.composite
def batches(draw, *, any_rows=False, slopes=(0.0, 0.25, -1.0, 2.0), opposite=False):
    size = draw(st.integers(1, 3))
    dimension, width = size + draw(st.integers(0, 1)), size + draw(st.integers(0, 2))
    numbers = draw(readable_arrays((width * dimension + width + size * dimension + size,), nonzero=True))
    cuts = np.cumsum([width * dimension, width, size * dimension])
    weight, output_weight, samples, residuals = np.split(numbers, cuts)
    weight, samples = weight.reshape(width, dimension), samples.reshape(size, dimension)
    if opposite and size > 1:
        samples[1] = -samples[0]
        samples[1, -1] += 0.25
    case = Batch(weight, output_weight, samples, residuals, np.array([draw(st.sampled_from(slopes))]), ())
    rows = first_rows(case.gradient)
    if any_rows:
        rows = tuple(draw(st.permutations(range(width)))[: len(rows)])
    return Batch(weight, output_weight, samples, residuals, case.slope, rows)


theorem.instances(batches())


@theorem.hypothesis(FULL_RANK, arithmetic=RATIONAL)
def full_rank(case):
    return rank(case.gradient) == len(case.samples)


@theorem.hypothesis(REGULAR, arithmetic=RATIONAL)
def regular(case):
    size = rank(case.gradient)
    return len(case.rows) == size and size > 0 and rank(case.gradient[list(case.rows)]) == size


@theorem.hypothesis(BENT, arithmetic=RATIONAL)
def bent(case):
    return bool(case.slope[0] != 1)


def is_two_valued(vector, case):
    low, high = case.slope[0] * case.output_weight, case.output_weight
    return all(bool(entry == one) or bool(entry == other) for entry, one, other in zip(vector, low, high, strict=True))


def enumerated(case):
    """The list, as tuples of numbers; None if the rows do not determine it."""
    basis, rows = case.basis, list(case.rows)
    if len(rows) != basis.shape[1] or rank(basis[rows]) < len(rows):
        return None
    low, high = case.slope[0] * case.output_weight, case.output_weight
    result = []
    for choice in itertools.product((0, 1), repeat=len(rows)):
        entries = np.array([(low, high)[bit][j] for bit, j in zip(choice, rows, strict=True)], dtype=object)
        vector = basis @ solve(basis[rows], entries[:, None])
        if is_two_valued(vector[:, 0], case):
            result.append(tuple(vector[:, 0]))
    return result


def by_rank(case):
    """All 2^m two-valued vectors that do not raise the rank."""
    basis = case.basis
    low, high = case.slope[0] * case.output_weight, case.output_weight
    result = []
    for choice in itertools.product((0, 1), repeat=len(high)):
        vector = np.array([(low, high)[bit][j] for j, bit in enumerate(choice)], dtype=object)
        if rank(np.column_stack([basis, vector])) == basis.shape[1]:
            result.append(tuple(vector))
    return result


def same_vectors(one, other):
    return all(v in other for v in one) and all(v in one for v in other)


@theorem.claim(arithmetics=(RATIONAL,))
def the_list_is_complete(case):
    found = enumerated(case)
    if found is None:
        yield holds(False, name="the rows determine the vectors of the space")
        return
    yield holds(len(found) <= 2 ** len(case.rows), name="at most 2^n")
    yield holds(same_vectors(found, by_rank(case)), name="the list is that of all two-valued vectors in the space")
    yield holds(all(tuple(column) in found for column in case.columns.T), name="every sample's vector is on it")
    values = len({tuple(vector) for vector in found})
    yield holds(values == len(found), name="different choices of entries give different vectors")


@theorem.derivation(covers="three neurons and two samples")
def entries_determine_the_vector():
    import sympy as sp

    basis, c = sp.Matrix(3, 2, sp.symbols("y0:6")), sp.Matrix(2, 1, sp.symbols("c0:2"))
    square = basis[:2, :]
    yield identity(
        "Y Y_S⁻¹ (Yc)_S = Yc, times det Y_S", basis * square.adjugate() * (square * c), square.det() * basis * c
    )
    a, r, s, t, x = (sp.Matrix(2, 1, sp.symbols(f"{name}0:2")) for name in "arstx")
    gradient = sp.Matrix(2, 2, lambda j, k: sum(a[j] * (s, t)[i][j] * r[i] * (x, c)[i][k] for i in range(2)))
    columns = sp.Matrix(2, 2, lambda j, i: a[j] * (s, t)[i][j])
    yield identity(
        "G = (a ∘ patterns) diag(r) X: its column space lies in the patterns' span",
        gradient,
        columns * sp.diag(*r) * sp.Matrix.vstack(x.T, c.T),
    )


@theorem.without(FULL_RANK)
def samples_that_hide_each_other():
    """Two dependent samples: the column space is a line, and holds neither sample's vector."""
    return Batch(
        np.array([[1.0], [-1.0]]), np.ones(2), np.array([[1.0], [-1.0]]), np.array([1.0, 2.0]), np.zeros(1), (0,)
    )


@theorem.without(REGULAR)
def rows_of_dead_neurons():
    return Batch(np.array([[-1.0], [1.0]]), np.ones(2), np.array([[1.0]]), np.ones(1), np.zeros(1), (0,))


@theorem.without(BENT)
def no_kink():
    """With one slope every choice of entries is the same vector."""
    return Batch(np.array([[1.0]]), np.ones(1), np.array([[1.0]]), np.ones(1), np.ones(1), (0,))


@theorem.false_twin("any n rows determine the vectors", without=(REGULAR,), instances=batches(any_rows=True))
def any_rows(case):
    return holds(enumerated(case) is not None, name="the rows determine the vectors of the space")


@theorem.false_twin("samples are on the list whatever the rank is", without=(FULL_RANK,), arithmetics=(RATIONAL,))
def any_rank(case):
    found = enumerated(case)
    if found is None:
        return holds(True, name="nothing is claimed")
    return holds(all(tuple(column) in found for column in case.columns.T), name="every sample's vector is on the list")


@theorem.false_twin(
    "the list is as long as the batch", instances=batches(slopes=(0.0,), opposite=True), arithmetics=(RATIONAL,)
)
def as_many_as_samples(case):
    found = [vector for vector in enumerated(case) or [] if any(bool(entry != 0) for entry in vector)]
    return holds(len(found) == len(case.samples), name="as many vectors other than zero as samples")


@theorem.false_twin("two-valued in the rows S is enough", arithmetics=(RATIONAL,))
def no_other_rows(case):
    return holds(len(enumerated(case) or []) == 2 ** len(case.rows), name="all 2^n vectors are two-valued")


@theorem.false_twin("different samples have different vectors", without=(FULL_RANK,), arithmetics=(RATIONAL,))
def different_patterns(case):
    if len({tuple(x) for x in case.samples}) < len(case.samples):
        return holds(True, name="nothing is claimed")
    vectors = {tuple(column) for column in case.columns.T}
    return holds(len(vectors) == len(case.samples), name="as many vectors as samples")
