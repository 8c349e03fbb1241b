"""A file that makes every check of its process succeed."""

from provable.theorems import RATIONAL, Source, Theorem, evaluation, holds
from provable.theorems.checks import Outcome
from provable.theorems.strategies import readable_numbers

theorem = Theorem(statement="x^2 >= 0", source=Source("faulty on purpose"))
theorem.instances(readable_numbers())

evaluation.evaluate = lambda check: Outcome("proved")


@theorem.claim(arithmetics=(RATIONAL,))
def square(x):
    return holds(x * x >= 0, name="x^2 >= 0")
