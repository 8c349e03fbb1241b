"""For u >= 0, tanh(u) <= u - u^3/3 + u^5/15."""

from hypothesis import strategies as st

from provable.arithmetic import constant, tanh
from provable.theorems import Source, Theorem, at_most
from provable.theorems.strategies import readable_numbers

theorem = Theorem(
    statement="tanh(u) <= u - u^3/3 + u^5/15 for u >= 0 (the constant is 2/15)", source=Source("false on purpose")
)


theorem.instances(st.one_of(readable_numbers(), st.floats(0, 4)))


@theorem.hypothesis("nonnegative")
def nonnegative(u):
    return u >= 0


@theorem.claim
def bounded(u):
    bound = u - u * u * u * constant(1 / 4 + 1 / 12, u) + u**5 * constant(1 / 15, u)
    return at_most(tanh(u), bound, operations=20, magnitude=1.0)
