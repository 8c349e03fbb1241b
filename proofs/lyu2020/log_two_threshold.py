r"""A logistic loss below log 2, summed over the samples, separates the data, with a margin that the loss tells.

Let q_1, …, q_n be the margins and ℒ = Σ_i log(1 + e^{−q_i}) < log 2. Then all q_i > 0, and more precisely
q_i ≥ −log(e^ℒ − 1) > 0 for every i. Both are sharp: for one sample with q = 0 the loss is log 2, and for n = 1 the bound is
an equality.

Notes
-----
Every term is positive, so log(1 + e^{−q_i}) ≤ ℒ, that is q_i ≥ −log(e^ℒ − 1), and e^ℒ − 1 < 1 for ℒ < log 2. This is the
condition under which gradient flow on a homogeneous network is known to reach zero loss: the margins at the time where it
holds are positive, so that scaling θ up would send the loss to zero. It is a condition on the *sum*. With the mean, which
programs report, the threshold is log(2)/n: a mean of log 2 is what the zero function has on any data, and any mean loss above
log(2)/n occurs with a sample on the wrong side. For the exponential loss Σ e^{−q_i} the threshold is 1 and q_i ≥ −log ℒ.

Source: Lyu and Li 2020 (arXiv:1906.05890), the assumption of separability at some time; its wording was not read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, FLOAT64, constant, exp, log, to_float
from provable.theorems import Source, Theorem, at_most, equal, less
from provable.theorems.derivation import fact, identity

theorem = Theorem(
    statement=r"""If \mathcal L = \sum_i \log(1 + e^{-q_i}) < \log 2 over the margins q_1, ..., q_n of the samples, then
    q_i >= -\log(e^{\mathcal L} - 1) > 0 for all i; for n = 1 the first is an equality.""",
    source=Source("arXiv:1906.05890", "separability assumption", "from memory; the bound is derived here"),
    expected="proved",
    does_not_say="anything about the mean of the losses, whose threshold is log(2)/n",
)

BELOW = "summed loss below log 2"


@dataclass(frozen=True)
class Margins:
    """The margins q_i of a data set."""

    margins: Any


@st.composite
def margins(draw, least=0.0):
    """Margins of one to five samples, mostly large, so that sums of losses lie on both sides of log 2."""
    numbers = st.sampled_from((least, 0.125, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0, 8.0, 20.0, 600.0))
    return Margins(np.array(draw(st.lists(numbers, min_size=1, max_size=5))))


theorem.instances(margins())


def terms(case):
    return np.asarray(log(1 + exp(-case.margins)))


def total(case):
    return terms(case).sum()


@theorem.hypothesis(BELOW, arithmetic=BALL)
def is_below(case):
    return bool(total(case) < log(constant(2, case.margins)))


@theorem.degenerate
def one_sample(case):
    return len(case.margins) == 1


def excess(case):
    """e^ℒ − 1 = Π (1 + e^{−q_i}) − 1, summed without cancellation."""
    result = constant(0, case.margins)
    for q in case.margins:
        small = exp(-np.array([q]))[0]
        result = result + small + result * small
    return result


@theorem.claim(arithmetics=(FLOAT64, BALL))
def all_margins_are_positive(case):
    bound = -log(np.array([excess(case)]))[0]
    zero = constant(0, case.margins)
    yield less(zero, bound, operations=1, name="−log(e^ℒ − 1) > 0")
    # −log of a number that is within n + 4 roundings of the true one; near e^ℒ − 1 = 1 the error is absolute
    size = float(np.max(np.abs(to_float(case.margins)))) + 1
    for q in case.margins:
        yield at_most(bound, q, operations=4 * len(case.margins) + 4, magnitude=size, name="q_i ≥ −log(e^ℒ − 1)")
    if len(case.margins) == 1:
        yield equal(bound, case.margins[0], operations=8, magnitude=size, name="n = 1: equality")


@theorem.derivation
def monotone():
    """One term of the sum against the sum: the others are positive, R ≥ 0 stands for them."""
    import sympy

    q, loss = sympy.symbols("q ell", real=True)
    rest = sympy.Symbol("R", nonnegative=True)
    term = sympy.log(1 + sympy.exp(-q))
    yield fact("every term is positive: log(1 + e^{−q}) with e^{−q} > 0", sympy.exp(-q).is_positive)
    yield identity(
        "one term inverts to its margin: −log(e^ℓ − 1) = q",
        sympy.expand_log(-sympy.log(sympy.exp(term) - 1), force=True),
        q,
    )
    inverse = -sympy.log(sympy.exp(loss) - 1)
    slope = sympy.simplify(sympy.diff(inverse, loss) * (1 - sympy.exp(-loss)))
    yield identity("−log(e^ℓ − 1) has the derivative −1/(1 − e^{−ℓ}) < 0 for ℓ > 0: it decreases", slope, -1)
    yield fact("so −log(e^ℒ − 1) ≤ −log(e^ℓ − 1) = q at ℒ = ℓ + R, R ≥ 0", rest.is_nonnegative)
    yield identity("at ℒ = log 2 it is 0, so below it is positive", inverse.subs(loss, sympy.log(2)), 0)


@theorem.without(BELOW)
def a_loss_of_exactly_log_two():
    """One sample on the boundary."""
    return Margins(np.array([0.0]))


ANY_MARGINS = st.builds(
    Margins,
    st.lists(st.sampled_from((-1.0, -0.25, 0.0, 0.5, 1.0, 4.0, 20.0)), min_size=1, max_size=5).map(np.array),
)


def positive_margins(case):
    for q in case.margins:
        yield less(constant(0, q), q, operations=1, name="q_i > 0")


def only_if(condition, case):
    """The conclusion where a twin's condition holds, and something true elsewhere."""
    if condition:
        yield from positive_margins(case)
    else:
        yield less(constant(0, case.margins), constant(1, case.margins), operations=1, name="nothing is claimed")


@theorem.false_twin("a mean loss below log 2 separates", without=(BELOW,), instances=ANY_MARGINS, arithmetics=(BALL,))
def mean_loss(case):
    yield from only_if(bool(total(case) < len(case.margins) * log(constant(2, case.margins))), case)


@theorem.false_twin("a summed loss below 1 separates", without=(BELOW,), instances=ANY_MARGINS, arithmetics=(BALL,))
def loss_below_one(case):
    yield from only_if(bool(total(case) < 1), case)


@theorem.false_twin(
    "separated data have a summed loss below log 2",
    without=(BELOW,),
    instances=margins(least=0.25),
    arithmetics=(BALL,),
)
def converse(case):
    yield less(total(case), log(constant(2, case.margins)), operations=1, name="ℒ < log 2")


@theorem.false_twin("the margins are at least −log ℒ, as with the exponential loss", arithmetics=(BALL,))
def exponential_bound(case):
    bound = -log(np.array([total(case)]))[0]
    for q in case.margins:
        yield at_most(bound, q, operations=8, name="q_i ≥ −log ℒ")


@theorem.false_twin("the margins are at least 3 (log 2 − ℒ)", arithmetics=(BALL,), instances=margins(least=0.03125))
def linear_bound(case):
    for q in case.margins:
        yield at_most(3 * (log(constant(2, case.margins)) - total(case)), q, operations=8, name="q_i ≥ 3 (log 2 − ℒ)")
