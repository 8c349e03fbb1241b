"""A claim that divides by zero."""

from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_numbers

theorem = Theorem(statement="x^2 >= 0", source=Source("faulty on purpose"))
theorem.instances(readable_numbers())


@theorem.claim(arithmetics=(RATIONAL,))
def square(x):
    return holds([][1] > x, name="never reached")
