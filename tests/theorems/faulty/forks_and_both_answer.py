"""A file that forks, so that two processes would answer."""

import os

from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_numbers

theorem = Theorem(statement="x^2 >= 0", source=Source("faulty on purpose"))
theorem.instances(readable_numbers())

os.fork()


@theorem.claim(arithmetics=(RATIONAL,))
def square(x):
    return holds(x * x >= 0, name="x^2 >= 0")
