r"""Erratum: the label is not the weight of the third moment minus the mean output; sign and scale are both wrong.

The last step of Algorithm 1 as printed sets ŷ_i = λ̂_i - Eσ(Z), where λ̂_i estimates the weight λ_i of x_i^{⊗3} in the
third moment and the samples have norm one. At the exact weights λ_i = r*_i Eσ'''(Z), r*_i = Eσ(Z) - y_i, this is false, and
so is its sign: the label is Eσ(Z) - λ_i/Eσ'''(Z).

Notes
-----
The claim is evaluated exactly for cubic activations. Theorem 5.1 uses the signs of the ŷ_i.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""As printed: for unit-norm samples with labels $y_i \in \{\pm1\}$ and $\lambda_i$ the weight of
    $x_i^{\otimes3}$ in the third Hermite moment of $\partial L/\partial a$, $y_i = \lambda_i - E\sigma(Z)$.""",
    source=Source("Wang, Lee, Lei, arXiv:2212.03714v3", "Algorithm 1", "read in the proceedings version; restated"),
    expected="refuted",
    corrected_by="wang2023.labels_from_weights",
    does_not_say="anything of the points, which do not depend on this step",
)


@dataclass(frozen=True)
class Sample:
    """A label and the coefficients of a cubic activation."""

    label: float
    coefficients: np.ndarray


@theorem.instances
def samples(draw):
    coefficients = draw(readable_arrays((4,))).copy()
    coefficients[3] = coefficients[3] or 1.0
    return Sample(draw(st.sampled_from((1.0, -1.0))), coefficients)


# the statement is false with all its hypotheses, so none of them is shown to be needed
@theorem.hypothesis("the third moment sees the sample", arithmetic=RATIONAL, necessity_unknown=True)
def third_derivative(sample):
    return sample.coefficients[3] != 0


def mean(sample):
    """Eσ(Z)."""
    return sample.coefficients[0] + sample.coefficients[2]


def weight(sample):
    """λ = r* Eσ'''(Z)."""
    return (mean(sample) - sample.label) * 6 * sample.coefficients[3]


def compare(sample, estimate, name):
    # sums and products of at most five numbers below 3
    return equal(sample.label + 0 * estimate, estimate, operations=5, magnitude=100.0, name=name)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def weight_minus_mean(sample):
    return compare(sample, weight(sample) - mean(sample), "y = λ - Eσ(Z)")


@theorem.counterexample
def the_cube():
    return Sample(1.0, np.array([0.0, 0.0, 0.0, 1.0]))


@theorem.false_twin("the sign at least is right")
def sign_only(sample):
    return holds(sample.label * (weight(sample) - mean(sample)) >= 0, name="sign(λ - Eσ(Z)) = y")


@theorem.false_twin("y = Eσ(Z) - λ")
def sign_turned(sample):
    return compare(sample, mean(sample) - weight(sample), "y = Eσ(Z) - λ")


@theorem.false_twin("y = λ/Eσ'''(Z) - Eσ(Z)")
def scaled(sample):
    return compare(sample, weight(sample) / (6 * sample.coefficients[3]) - mean(sample), "y = λ/Eσ'''(Z) - Eσ(Z)")


@theorem.false_twin("the sign of y is that of -λ")
def opposite_sign(sample):
    return holds(sample.label * weight(sample) <= 0, name="sign(-λ) = y")
