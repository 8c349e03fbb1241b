"""A product of two numbers is never exactly one quarter above their sum."""

from hypothesis import strategies as st

from provable.arithmetic import constant
from provable.theorems import RATIONAL, Source, Theorem, different
from provable.theorems.strategies import readable_numbers

theorem = Theorem(
    statement="ab != a + b + 1/4",
    source=Source("false on purpose"),
)


theorem.instances(st.tuples(readable_numbers(), readable_numbers()))


@theorem.claim(arithmetics=(RATIONAL,))
def never(pair):
    a, b = pair
    return different(a * b, a + b + constant(0.25, a), operations=3)
