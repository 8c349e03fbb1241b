"""A claim about the global generator, whose state differs from run to run unless it is set."""

import random

from provable.theorems import Source, Theorem
from provable.theorems.strategies import readable_numbers

theorem = Theorem(statement="x^2 >= 0", source=Source("faulty on purpose"))
theorem.instances(readable_numbers())


@theorem.rate(exponent=0.0, sizes=(1, 2, 3, 4))
def error(size, rng):
    return random.random() + 1
