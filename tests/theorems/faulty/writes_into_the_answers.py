"""A file that writes garbage to every open file descriptor."""

import os

from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_numbers

theorem = Theorem(statement="x^2 >= 0", source=Source("faulty on purpose"))
theorem.instances(readable_numbers())

for descriptor in range(3, 64):
    try:
        os.write(descriptor, b'{"verification": 1}\n')
    except OSError:
        continue


@theorem.claim(arithmetics=(RATIONAL,))
def square(x):
    return holds(x * x >= 0, name="x^2 >= 0")
