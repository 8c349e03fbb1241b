"""Matrix multiplication commutes (a claim that returns a bool)."""

import numpy as np
from hypothesis import strategies as st

from provable.theorems import Source, Theorem
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement="AB = BA",
    source=Source("false on purpose"),
)


@theorem.instances
def pairs(draw):
    size = draw(st.integers(1, 3))
    return draw(readable_arrays((size, size))), draw(readable_arrays((size, size)))


@theorem.claim
def commute(pair):
    a, b = pair
    return bool(np.all(a @ b == b @ a))
