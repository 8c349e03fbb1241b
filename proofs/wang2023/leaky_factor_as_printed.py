r"""Erratum: behind K leaky ReLU layers of slope γ the features are (1 + γ^K) x, and not (1 + γ) x at every depth.

Algorithm 2 as printed passes the data through K leaky ReLU layers with W_1 = [I; -I] and identities, and takes the recovered
points over 1.01, for the slope γ = 0.01, whatever the depth. The features [p(x); p(-x)] give the unit [z; -z] the value
(1 + γ^K) z·x, so that this is right for K = 1 only; for K = 2 the points come out about 1 % too small.

Notes ----- The claim is evaluated in rationals with the slopes 1/4 and 0.01 (the float); ``wang2023.deep_linear_image``
does the same with whole networks.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, positive
from provable.theorems import Source, Theorem, equal
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""As printed: behind $K$ leaky ReLU layers of slope $\gamma$ with $W_1 = [I; -I]$ and $W_2 = \dots = W_K =
    I$, a unit with weight $[z; -z]$ receives $(1 + \gamma)\,z^Tx$, for every depth $K$; so recovered points are divided by
    1.01.""",
    source=Source("Wang, Lee, Lei, arXiv:2212.03714v3", "Algorithm 2", "read in the proceedings version; restated"),
    expected="refuted",
    corrected_by="wang2023.deep_linear_image",
    does_not_say="for ReLU, and for a single layer, the printed factor is right",
)


@dataclass(frozen=True)
class Layers:
    """A sample, a direction z, the slope and the number of leaky ReLU layers."""

    sample: np.ndarray
    direction: np.ndarray
    slope: float
    depth: int


@st.composite
def layers(draw, *, depths=(1, 2, 3), slopes=(0.01, 0.25)):
    numbers = draw(readable_arrays((2 * draw(st.integers(1, 2)),)))
    sample, direction = np.split(numbers, 2)
    return Layers(sample, direction, draw(st.sampled_from(slopes)), draw(st.sampled_from(depths)))


theorem.instances(layers())


# the statement is false with all its hypotheses, so none of them is shown to be needed
@theorem.hypothesis("the slope is between zero and one", necessity_unknown=True)
def slope_of_a_leaky_relu(case):
    return 0 < case.slope < 1


def received(case):
    """[z; -z] · h for h the last of the leaky ReLU layers."""
    total = 0 * case.slope
    for sign in (1, -1):
        for coordinate, weight in zip(sign * case.sample, sign * case.direction, strict=True):
            value = coordinate
            for _ in range(case.depth):
                value = value if positive(value) else case.slope * value
            total = total + weight * value
    return total


def compare(case, factor):
    # two products of at most five factors for each of two coordinates
    size = float(np.abs(case.sample) @ np.abs(case.direction)) * 2 if isinstance(case.slope, float) else None
    return equal(
        received(case),
        factor * (case.direction @ case.sample),
        operations=10,
        magnitude=size,
        name="w·h is the factor times z·x",
    )


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def same_factor_at_every_depth(case):
    return compare(case, 1 + case.slope)


@theorem.counterexample
def two_layers():
    return Layers(np.ones(1), np.ones(1), 0.25, 2)


@theorem.false_twin("the factor is (1 + γ)^K")
def power(case):
    return compare(case, (1 + case.slope) ** case.depth)


@theorem.false_twin("the factor is 1 + Kγ")
def linear(case):
    return compare(case, 1 + case.depth * case.slope)


@theorem.false_twin("the factor is 1 + γ if the slope is at most 0.01", instances=layers(slopes=(0.01, 0.0078125)))
def small_slopes(case):
    return compare(case, 1 + case.slope)


@theorem.false_twin("behind two or more layers the factor is 1, as for ReLU", instances=layers(depths=(2, 3)))
def no_factor(case):
    return compare(case, 1)
