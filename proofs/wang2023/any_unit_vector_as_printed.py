r"""Erratum: a contraction of the third moment with "any unit vector" need not span the batch, nor keep the weights' size.

For odd activations, where the second moment vanishes, Remark 3 as printed estimates the span of the batch from the third
moment contracted with a unit vector a, whichever it is, and keeps the weights r_i Eσ''' in the bounds (Remark 4 does the
same with the fourth moment for ReLU). The contraction is Σ_i r_i Eσ''' (a·x_i) x_i x_iᵀ: a sample that is orthogonal to a
has no part in it, and a random a takes a factor of the size 1/√d from every weight.

The claim below is what the remark uses first: the contraction has rank B.

Notes
-----
A moment of order p is Σ_i c_i x_i^{⊗p} with c_i = r_i Eσ^(p) by Lemma 4.1 (``foundations.stein_hermite``). For
orthonormal samples the weights are the eigenvalues of the contraction.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, kind, rank
from provable.theorems import Source, Theorem, holds

theorem = Theorem(
    statement=r"""As printed: let $x_i$ be linearly independent unit vectors and $r_iE\sigma''' \ne 0$. For any unit vector
    $a$ the matrix $M_3(\cdot,\cdot,a)$, $M_3 = \sum_i r_iE\sigma'''x_i^{\otimes 3}$, serves as a second moment with weights
    $r_iE\sigma'''$. Implied: its rank is $B$.""",
    source=Source("Wang, Lee, Lei, arXiv:2212.03714v3", "Remark 3", "read in the proceedings version; restated"),
    expected="refuted",
    corrected_by="wang2023.contracted_moments",
    does_not_say="a vector that is orthogonal to no sample serves, with the weights of the corrected statement",
)


@dataclass(frozen=True)
class Case:
    """Unit samples (B, d), the weights r_i Eσ''' and the vector a."""

    samples: np.ndarray
    weights: np.ndarray
    vector: np.ndarray


POOL = np.vstack([np.eye(4), np.array([[1.0, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1], [1, -1, -1, 1]]) / 2])
ORTHONORMAL = "orthonormal"


@st.composite
def cases(draw, *, sizes=(1, 2, 3), frames=("any", "any", ORTHONORMAL), vectors=("any", "any", "sum", "first moment")):
    """Samples from two orthonormal bases of four dimensions, or from one of them; vectors of several kinds."""
    size, frame, kind_of_vector = (draw(st.sampled_from(choice)) for choice in (sizes, frames, vectors))
    chosen = draw(st.permutations(range(4 if frame == ORTHONORMAL else 8)))
    samples = POOL[chosen[:size]]
    weights = np.array(draw(st.lists(st.sampled_from((1.0, -1.0, 2.0, -0.5)), min_size=size, max_size=size)))
    if kind_of_vector == "any":
        vector = POOL[chosen[-1]]
    elif kind_of_vector == "sum":
        vector = samples.sum(axis=0)
    else:
        vector = weights @ samples
    return Case(samples + 0.0, weights, vector + 0.0)


theorem.instances(cases(vectors=("any",)))


# the statement is false with all its hypotheses, so none of them is shown to be needed
@theorem.hypothesis("the samples are linearly independent", arithmetic=RATIONAL, necessity_unknown=True)
def independent(case):
    return rank(case.samples) == len(case.samples)


@theorem.hypothesis("the samples have norm one", arithmetic=RATIONAL, necessity_unknown=True)
def unit_samples(case):
    return all(sample @ sample == 1 for sample in case.samples)


def contracted(case):
    """M_3(·,·,a), by contracting the tensor."""
    third = sum(
        weight * np.multiply.outer(np.multiply.outer(sample, sample), sample)
        for weight, sample in zip(case.weights, case.samples, strict=True)
    )
    return third @ case.vector


def spans(case, matrix):
    found = rank(matrix) if kind(matrix) != "float64" else rank(matrix, relative_tolerance=1e-9)
    return holds(found == len(case.samples), name="the contraction has rank B")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def any_vector(case):
    return spans(case, contracted(case))


@theorem.counterexample
def an_orthogonal_vector():
    return Case(np.eye(1, 4), np.ones(1), np.eye(4)[1])


@theorem.false_twin("true for orthonormal samples", instances=cases(frames=(ORTHONORMAL,), vectors=("any",)))
def orthonormal_samples(case):
    return any_vector(case)


def in_span(case):
    return rank(np.vstack([case.samples, case.vector])) == len(case.samples)


@theorem.false_twin("true for vectors in the span of the batch", instances=cases(), arithmetics=(RATIONAL,))
def vector_in_the_span(case):
    if not in_span(case) or not case.vector.any():
        return holds(True, name="nothing is claimed")
    return any_vector(case)


@theorem.false_twin("true for the first moment", instances=cases(sizes=(2, 3), vectors=("first moment",)))
def vector_of_the_first_moment(case):
    return any_vector(case)


@theorem.false_twin("true for the sum of the samples", instances=cases(sizes=(2, 3), vectors=("sum",)))
def sum_of_samples(case):
    return any_vector(case)


@theorem.false_twin(
    "true for unit vectors orthogonal to no sample, with weights at least half as large",
    instances=cases(frames=(ORTHONORMAL,), vectors=("any",)),
    arithmetics=(RATIONAL,),
)
def half_the_weight(case):
    turn = np.array([[24, 7, 0, 0], [-7, 24, 0, 0], [0, 0, 24, 7], [0, 0, -7, 24]], dtype=object)  # 25 times a rotation
    rotated = case.vector @ turn / 25
    inner = case.samples @ rotated
    if any(product == 0 for product in inner):
        return holds(True, name="nothing is claimed")
    return holds(all(4 * product * product >= 1 for product in inner), name="|r_i Eσ''' (a·x_i)| >= |r_i Eσ'''|/2")
