"""A title made of everything that changes from one process to the next unless it is fixed, and of what stdin says."""

import random
import sys

import numpy as np

from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_numbers

theorem = Theorem(
    title=f"{hash('a')} {random.random()} {np.random.random()} {sys.stdin.read()!r}",  # noqa: NPY002
    statement="x^2 >= 0",
    source=Source("faulty on purpose"),
)
theorem.instances(readable_numbers())


@theorem.claim(arithmetics=(RATIONAL,))
def square(x):
    return holds(x * x >= 0, name="x^2 >= 0")
