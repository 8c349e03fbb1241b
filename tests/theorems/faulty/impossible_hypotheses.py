"""A true theorem with hypotheses that exclude one another."""

from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_numbers

theorem = Theorem(statement="x^2 >= 0", source=Source("faulty on purpose"))
theorem.instances(readable_numbers())


@theorem.hypothesis("positive", arithmetic=RATIONAL)
def positive(x):
    return x > 0


@theorem.hypothesis("negative", arithmetic=RATIONAL)
def negative(x):
    return x < 0


@theorem.claim(arithmetics=(RATIONAL,))
def square(x):
    return holds(x * x >= 0, name="x^2 >= 0")
