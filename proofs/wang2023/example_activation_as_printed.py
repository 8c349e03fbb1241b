r"""Erratum: z² + z³, the activation of the paper's own figures, does not meet the assumption that it is an example of.

Assumption 5.1 of Wang, Lee and Lei demands a 1-Lipschitz activation with moments of order two and three that do not vanish.
σ(z) = z² + z³, called an example of it, has the slope 2z + 3z², which is 5 at z = 1 and unbounded; no multiple of it is
Lipschitz. With it the mean output Eσ(Z) = 1 equals the label 1, so that samples with this label are invisible at large width
unless a constant is added to the output, as the experiments do.

Notes
-----
What the method needs are moments, not a Lipschitz constant: the errors of the averaged moments stated in
``wang2023.moment_errors`` are those of every activation with E g²‖w‖⁶ finite.
"""

from dataclasses import dataclass

from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL
from provable.theorems import Source, Theorem, at_most, different
from provable.theorems.strategies import readable_numbers

theorem = Theorem(
    statement=r"""As printed: $\sigma(z) = z^2 + z^3$ is an example of Assumption 5.1. Implied: it is 1-Lipschitz,
    $|\sigma(u) - \sigma(v)| \le |u - v|$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3", "remark on Assumption 5.1", "read in the proceedings version; restated"
    ),
    expected="refuted",
    corrected_by="wang2023.moment_errors",
    does_not_say="that the algorithm fails for this activation: it does not, once a constant is added to the output",
)


@dataclass(frozen=True)
class Pair:
    """Two arguments."""

    first: float
    second: float


@theorem.instances
def pairs(draw):
    return Pair(draw(readable_numbers()), draw(readable_numbers()))


@theorem.degenerate
def one_point(pair):
    return pair.first == pair.second


def sigma(z):
    return z * z + z * z * z


def slope_at_most(pair, constant):
    # sums of at most four terms
    return at_most(
        abs(sigma(pair.first) - sigma(pair.second)),
        constant * abs(pair.first - pair.second),
        operations=4,
        magnitude=abs(pair.first) ** 3 + abs(pair.second) ** 3 + 1,
        name=f"|σ(u) - σ(v)| <= {constant} |u - v|",
    )


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def lipschitz(pair):
    return slope_at_most(pair, 1)


@theorem.counterexample
def zero_and_one():
    return Pair(0.0, 1.0)


@theorem.false_twin("σ/25 is 1-Lipschitz")
def larger_constant(pair):
    return slope_at_most(pair, 25)


def short_pairs(draw):
    near = st.sampled_from((0.0, 0.25, 0.5, 0.75, 1.0))
    return Pair(draw(near), -draw(near))


@theorem.false_twin("σ is 1-Lipschitz on [-1, 1]", instances=short_pairs)
def near_zero(pair):
    return slope_at_most(pair, 1)


@theorem.false_twin("the proof's |σ(u)| <= C|u| holds with C = 10")
def linear_growth(pair):
    return slope_at_most(Pair(pair.first, 0 * pair.first), 10)


@theorem.false_twin("labels of size at most two leave residuals Eσ(Z) - y that are not zero")
def visible_residuals(pair):
    # Eσ(Z) = E Z² + E Z³ = 1
    if abs(pair.first) > 2:
        return slope_at_most(Pair(pair.first, pair.first), 1)
    return different(1 + 0 * pair.first, pair.first, operations=1, magnitude=1.0, name="Eσ(Z) - y is not zero")
