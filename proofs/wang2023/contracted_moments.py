r"""A contraction of the third moment weighs each sample with its product with the vector, so it sees only some samples.

Let M_p = Σ_i c_i x_i^{⊗p} be a moment of order p = 3 or 4 (c_i = r_i E σ^(p), Lemma 4.1) of linearly independent samples with
weights c_i that are not zero. For a vector a, the contraction of M_3 with a is Σ_i c_i (a·x_i) x_i x_iᵀ. So its rank is the
number of samples that are not orthogonal to a, its range is their span, and the weight ν_i of Proposition 5.3 is c_i (a·x_i)
instead of c_i. Likewise M_4(·,·,·,a) = Σ_i c_i (a·x_i) x_i^{⊗3}. The matrix of all contractions, the d × d² flattening of
M_3, has rank B always.

For a uniform unit vector a, |a·x_i| has the size ‖x_i‖/√d: the least weight falls like d^{-1/2}, so that the m ≳ d/ν_min²
of Theorem 5.1 becomes m ≳ d². For orthonormal samples with residuals r_i and a = M_1 = Σ_i r_i Eσ' x_i the weight is
r_i² Eσ' Eσ''', whatever d is.

Notes
-----
Proof. Contraction is linear and (x⊗x⊗x)(·,·,a) = (a·x) xxᵀ. With the samples as columns of X the contraction is
X diag(c_i (a·x_i)) Xᵀ, and X has a left inverse, so the rank is that of the diagonal and the range that of the columns with a
nonzero entry. The flattening is X diag(c) K with K the B × d² matrix of rows x_i⊗x_i; these are independent since the samples
are (apply the dual basis twice).
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, MODULAR, RATIONAL, kind, rank
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $M_p = \sum_{i\le B} c_i x_i^{\otimes p}$ with linearly independent $x_i \in \mathbb{R}^d$ and
    $c_i \ne 0$. For every $a$, $M_3(\cdot,\cdot,a) = \sum_i c_i (a^Tx_i)\,x_ix_i^T$ has rank
    $\#\{i : a^Tx_i \ne 0\}$ and the span of these samples as its range; $M_4(\cdot,\cdot,\cdot,a) =
    \sum_i c_i(a^Tx_i)\,x_i^{\otimes 3}$; and the flattening of $M_3$ has rank $B$. For uniform unit $a$ the weights fall like
    $d^{-1/2}$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3", "Remarks 3 and 4, corrected", "derived here; the printed form was read"
    ),
    expected="proved",
    does_not_say="which vector is best at finite width, where M_3 is known up to an error; the d^{-1/2} is measured",
)

INDEPENDENT, WEIGHTED = "the samples are linearly independent", "no weight is zero"


@dataclass(frozen=True)
class Contraction:
    """Samples (B, d), weights (B,) and the vector a."""

    samples: np.ndarray
    weights: np.ndarray
    vector: np.ndarray


@st.composite
def contractions(draw, *, sizes=(1, 2, 3), extra=(0, 1), nonzero=True):
    size = draw(st.sampled_from(sizes))
    dimension = max(1, size + draw(st.sampled_from(extra)))
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((size * dimension + size + dimension,)))
    samples, weights, vector = np.split(numbers, [size * dimension, size * dimension + size])
    weights = np.where(weights == 0, 1.0, weights) if nonzero else weights
    return Contraction(samples.reshape(size, dimension), weights, vector)


theorem.instances(contractions())


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent(case):
    return rank(case.samples) == len(case.samples)


@theorem.hypothesis(WEIGHTED, arithmetic=RATIONAL)
def weighted(case):
    return all(weight != 0 for weight in case.weights)


def moment(case, order):
    """M_p as an array with p axes."""
    total = 0
    for weight, sample in zip(case.weights, case.samples, strict=True):
        power = weight * sample
        for _ in range(order - 1):
            power = np.multiply.outer(power, sample)
        total = power + total
    return total


def products(case):
    return case.samples @ case.vector


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, MODULAR))
def contraction(case):
    third, fourth, count = moment(case, 3), moment(case, 4), len(case.samples)
    inner, dimension = products(case), case.samples.shape[1]
    matrix = case.samples.T @ ((case.weights * inner)[:, None] * case.samples)
    cube = moment(Contraction(case.samples, case.weights * inner, case.vector), 3)
    exact = kind(case.samples) != "float64"
    size = None
    if not exact:
        absolute = Contraction(abs(case.samples), abs(case.weights), abs(case.vector))
        size = max(1.0, (moment(absolute, 3) @ absolute.vector).max(), (moment(absolute, 4) @ absolute.vector).max())
    # sums over at most three samples and four coordinates of products of six numbers
    yield equal(third @ case.vector, matrix, operations=20, magnitude=size, name="M_3(·,·,a)")
    yield equal(fourth @ case.vector, cube, operations=20, magnitude=size, name="M_4(·,·,·,a)")
    if exact:
        seen = [k for k in range(count) if inner[k] != 0]
        yield holds(
            rank(third @ case.vector) == len(seen), name="the rank is the number of samples not orthogonal to a"
        )
        joint = np.vstack([third @ case.vector, case.samples[seen]]) if seen else third @ case.vector
        yield holds(rank(joint) == len(seen), name="the range is the span of these samples")
        yield holds(rank(third.reshape(dimension, -1)) == count, name="the flattening has rank B")


@theorem.derivation
def by_a_left_inverse():
    import sympy as sp

    x = sp.Matrix(3, 2, sp.symbols("x:6"))
    a, c = sp.Matrix(sp.symbols("a:3")), sp.symbols("c:2")
    contracted = sp.zeros(3)
    for k in range(3):
        for i in range(2):
            contracted += c[i] * a[k] * x[k, i] * x[:, i] * x[:, i].T
    weights = sp.diag(*(c[i] * (a.T * x[:, i])[0] for i in range(2)))
    yield identity(
        "M_3(·,·,a) = X diag(c_i (a·x_i)) Xᵀ; three rows and two samples stand for all", contracted, x * weights * x.T
    )
    gram = x.T * x
    left = gram.adjugate() * x.T
    yield identity("X has a left inverse, up to the factor det XᵀX", left * x, gram.det() * sp.eye(2))
    yield identity(
        "so the contraction determines the diagonal: ranks agree",
        left * (x * weights * x.T) * left.T,
        gram.det() ** 2 * weights,
    )
    square = sp.Matrix(2, 2, sp.symbols("z:4"))
    dual = square.adjugate()
    rows = sp.Matrix([[square[p, i] * square[q, i] for p in range(2) for q in range(2)] for i in range(2)])
    tests = sp.Matrix([[dual[j, p] * dual[j, q] for p in range(2) for q in range(2)] for j in range(2)])
    yield identity(
        "the dual basis, applied twice, tells the x_i⊗x_i apart: they are independent",
        rows * tests.T,
        square.det() ** 2 * sp.eye(2),
    )
    r, s, first, third = sp.symbols("r s b_1 b_3")
    mean = sp.Matrix([r * first, s * first])
    yield identity(
        "orthonormal samples, a = M_1: the weight is r² Eσ' Eσ'''", r * third * mean[0], r**2 * first * third
    )


@theorem.without(INDEPENDENT)
def parallel_samples():
    return Contraction(np.array([[1.0, 0.0], [1.0, 0.0]]), np.ones(2), np.array([1.0, 0.0]))


@theorem.without(WEIGHTED)
def an_invisible_sample():
    return Contraction(np.array([[1.0]]), np.zeros(1), np.ones(1))


@theorem.rate(
    exponent=-0.5,
    sizes=(16, 64, 256, 1024),
    false_exponents={"the weights do not depend on d": 0.0, "the weights fall like 1/d": -1.0},
)
def least_weight(dimension, rng):
    """Root mean square, over 64 unit vectors, of the least weight |a·x_i| of three orthonormal samples."""
    vectors = rng.standard_normal((64, dimension))
    least = np.abs(vectors[:, :3]).min(axis=1) / np.linalg.norm(vectors, axis=1)
    return float(np.sqrt(np.mean(least**2)))


small = contractions(sizes=(1, 2))


@theorem.false_twin(
    "the contraction spans the batch for every vector that is not zero", instances=small, arithmetics=(RATIONAL,)
)
def spans_for_any_vector(case):
    full = not case.vector.any() or rank(moment(case, 3) @ case.vector) == len(case.samples)
    return holds(full, name="rank M_3(·,·,a) = B")


@theorem.false_twin("the weights are c_i, as for a second moment", instances=small)
def second_moment_weights(case):
    matrix = case.samples.T @ (case.weights[:, None] * case.samples)
    return equal(moment(case, 3) @ case.vector, matrix, operations=20, name="M_3(·,·,a) = Σ c_i x_i x_iᵀ")


@theorem.false_twin("a first moment, Σ c_i x_i, is orthogonal to no sample", instances=small, arithmetics=(RATIONAL,))
def first_moment(case):
    vector = case.weights @ case.samples
    return holds(rank(moment(case, 3) @ vector) == len(case.samples), name="rank M_3(·,·,M_1) = B")


@theorem.false_twin(
    "it is enough that no two samples are parallel",
    without=(INDEPENDENT,),
    instances=contractions(sizes=(3,), extra=(-1,)),
    arithmetics=(RATIONAL,),
)
def pairwise_independent(case):
    if any(rank(case.samples[[i, j]]) < 2 for i, j in ((0, 1), (0, 2), (1, 2))):
        return holds(True, name="nothing is claimed")
    return list(contraction(case))
