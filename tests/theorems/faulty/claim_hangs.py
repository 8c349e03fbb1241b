"""A claim that does not end."""

from provable.theorems import RATIONAL, Source, Theorem
from provable.theorems.strategies import readable_numbers

theorem = Theorem(statement="x^2 >= 0", source=Source("faulty on purpose"))
theorem.instances(readable_numbers())


@theorem.claim(arithmetics=(RATIONAL,))
def square(x):
    while True:
        pass
