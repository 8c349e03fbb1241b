r"""Erratum: the sigmoid is not odd, and its limit residuals are 1/2 - y and not -y.

Section 4 as printed takes the limit residual r*_i = Eσ(‖x_i‖Z) - y_i to be -y_i for odd activations, and counts tanh and
the sigmoid among them. For tanh this is so. The sigmoid is 1/2 plus an odd function: Eσ(sZ) = 1/2 for every norm s, and
r*_i = 1/2 - y_i.

Notes
-----
sigmoid(z) + sigmoid(-z) = 1 and Z is symmetric, so 2 Eσ(sZ) = 1. The claim is evaluated in rationals.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, constant
from provable.theorems import Source, Theorem, equal
from provable.theorems.strategies import readable_numbers

theorem = Theorem(
    statement=r"""As printed: if $\sigma$ is tanh or the sigmoid, then $r^*_i = E\sigma(\|x_i\|Z) - y_i$, $Z \sim N(0,1)$,
    equals $-y_i$.""",
    source=Source("Wang, Lee, Lei, arXiv:2212.03714v3", "Section 4", "read in the proceedings version; restated"),
    expected="refuted",
    corrected_by="wang2023.residual_ratio",
    does_not_say="anything of tanh, for which it is right, or of the algorithm, which does not need it",
)


@dataclass(frozen=True)
class Sample:
    """An activation, the norm of a sample, and its label."""

    activation: str
    norm: float
    label: float


def draw_sample(draw, *, norms=(1.0, 0.5, 2.0), labels=None):
    label = draw(readable_numbers() if labels is None else st.sampled_from(labels))
    return Sample(draw(st.sampled_from(("tanh", "sigmoid"))), draw(st.sampled_from(norms)), label)


@theorem.instances
def samples(draw):
    return draw_sample(draw)


# the statement is false with its hypothesis, so it is not shown to be needed
@theorem.hypothesis("the sample is not zero", arithmetic=RATIONAL, necessity_unknown=True)
def not_zero(sample):
    return sample.norm > 0


def residual(sample):
    """r* of the sample; the mean output does not depend on the norm."""
    mean = constant(0.5, sample.label) if sample.activation == "sigmoid" else 0 * sample.label
    return mean - sample.label


def compare(left, right, name):
    return equal(left, right, operations=2, magnitude=4.0, name=name)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def minus_the_label(sample):
    return compare(residual(sample), -sample.label, "r* = -y")


@theorem.counterexample
def a_sigmoid():
    return Sample("sigmoid", 1.0, 1.0)


@theorem.false_twin(
    "at least the sizes agree for labels 1 and -1", instances=lambda d: draw_sample(d, labels=(1.0, -1.0))
)
def same_size(sample):
    return compare(abs(residual(sample)), abs(sample.label), "|r*| = |y|")


@theorem.false_twin("it holds for samples of small norm", instances=lambda d: draw_sample(d, norms=(0.25, 0.0625)))
def small_norms(sample):
    return minus_the_label(sample)


@theorem.false_twin("it holds for labels 0 and 1 if these are written as -1 and 1")
def recoded(sample):
    return compare(residual(sample), 1 - 2 * sample.label, "r* = -(2y - 1)")


@theorem.false_twin("the mean output of the sigmoid is one")
def mean_of_one(sample):
    mean = 1 if sample.activation == "sigmoid" else 0
    return compare(residual(sample), mean - sample.label, "r* = 1 - y for the sigmoid")
