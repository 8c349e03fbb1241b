"""The product of two numbers is never exactly three quarters."""

from hypothesis import strategies as st

from provable.arithmetic import constant
from provable.theorems import RATIONAL, Source, Theorem, different
from provable.theorems.strategies import readable_numbers

theorem = Theorem(
    statement="ab != 3/4",
    source=Source("false on purpose"),
)


theorem.instances(st.tuples(readable_numbers(), readable_numbers()))


@theorem.claim(arithmetics=(RATIONAL,))
def never(pair):
    a, b = pair
    return different(a * b, constant(0.75, a), operations=1)
