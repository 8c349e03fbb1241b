"""The probability that a filter on zeros rejects a true direction is a sum of binomial coefficients.

If every neuron is off for a sample independently with probability ½ (weights and biases symmetric about zero and
independent), the number of zeros of a true column has the binomial distribution. A filter that wants at least τm zeros
among m neurons rejects it with probability 2^{-m} Σ_{i < τm} C(m, i).

Notes
-----
Proof. All 2^m patterns of zeros are equally likely, and C(m, i) of them have i zeros.

The number says nothing about the directions that a filter lets through by mistake: of two samples whose zeros agree in a
share τ of the neurons every combination passes. The formula is derived here; that the source has such a probability p_fr
and sets it to 1e-9 is known from the captions of its figures.
"""

import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, constant
from provable.theorems import Source, Theorem, equal

theorem = Theorem(
    statement=r"""If the $m$ entries of a column vanish independently with probability $1/2$, it has fewer than $\tau m$
    zeros with probability $2^{-m} \sum_{i < \tau m} \binom{m}{i}$.""",
    source=Source(
        "Dimitrov, Baader, Müller, Vechev, SPEAR, NeurIPS 2024",
        "the false-rejection probability",
        "formula derived here: the body was not readable",
    ),
    expected="supported",
    does_not_say="that vectors which pass the filter are columns",
)

LARGEST = 10
"""Patterns of this many neurons are all counted."""


@dataclass(frozen=True)
class Filter:
    """The number of neurons m, the threshold τ as a fraction, and the probability that a neuron is off."""

    width: int
    numerator: int
    denominator: int
    off: np.ndarray

    @property
    def rejected(self):
        """Numbers of zeros i < τm."""
        return [i for i in range(self.width + 1) if i * self.denominator < self.numerator * self.width]


@st.composite
def filters(draw, *, fair=True):
    denominator = draw(st.integers(1, 6))
    off = 0.5 if fair else draw(st.sampled_from((0.25, 0.5, 0.75)))
    return Filter(draw(st.integers(1, LARGEST)), draw(st.integers(0, denominator)), denominator, np.array([off]))


theorem.instances(filters())

FAIR = "a neuron is off with probability 1/2"


@theorem.hypothesis(FAIR, arithmetic=RATIONAL)
def fair(case):
    return bool(2 * case.off[0] == 1)


@theorem.degenerate
def nothing_is_rejected(case):
    return not case.rejected


def by_listing(case):
    """The probability as a sum over all patterns of zeros."""
    off, total = case.off[0], constant(0, case.off[0])
    for pattern in itertools.product((0, 1), repeat=case.width):
        if sum(pattern) in case.rejected:
            term = constant(1, off)
            for zero in pattern:
                term = term * (off if zero else 1 - off)
            total = total + term
    return total


def formula(case, counts):
    return constant(Fraction(sum(math.comb(case.width, i) for i in counts), 2**case.width), case.off[0])


@theorem.claim(arithmetics=(RATIONAL,))
def binomial_sum(case):
    return equal(by_listing(case), formula(case, case.rejected), operations=1, name="P(fewer than τm zeros)")


WIDTH, THRESHOLD = 20, 8
PROBABILITY = sum(math.comb(WIDTH, i) for i in range(THRESHOLD)) / 2**WIDTH


@theorem.tail(
    bound=PROBABILITY,
    false_bounds={"a third of it": PROBABILITY / 3, "a quarter of it": PROBABILITY / 4},
)
def rejected_in_a_network(rng):
    """A sample in front of 20 neurons with Gaussian weights and biases."""
    sample = np.append(rng.standard_normal(5), 1.0)
    return bool(np.count_nonzero(rng.standard_normal((WIDTH, 6)) @ sample <= 0) < THRESHOLD)


@theorem.without(FAIR)
def biased_neurons():
    return Filter(1, 1, 1, np.array([0.25]))


@theorem.false_twin("a column with exactly τm zeros is rejected as well", arithmetics=(RATIONAL,))
def threshold_included(case):
    counts = [i for i in range(case.width + 1) if i * case.denominator <= case.numerator * case.width]
    return equal(by_listing(case), formula(case, counts), operations=1, name="P")


@theorem.false_twin(
    "the probability is the same for any chance of being off", without=(FAIR,), instances=filters(fair=False)
)
def any_chance(case):
    return binomial_sum(case)


@theorem.false_twin("the filter's loss is symmetric: τ and 1 - τ reject alike", arithmetics=(RATIONAL,))
def symmetric(case):
    mirrored = Filter(case.width, case.denominator - case.numerator, case.denominator, case.off)
    return equal(by_listing(case), by_listing(mirrored), operations=1, name="P(τ) = P(1 - τ)")


@theorem.false_twin("only the largest binomial coefficient counts", arithmetics=(RATIONAL,))
def last_term(case):
    return equal(by_listing(case), formula(case, case.rejected[-1:]), operations=1, name="P")
