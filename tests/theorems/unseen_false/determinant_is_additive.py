"""The determinant is additive."""

from hypothesis import strategies as st

from provable.arithmetic import determinant
from provable.theorems import Source, Theorem, equal
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement="det(A + B) = det A + det B",
    source=Source("false on purpose"),
)


@theorem.instances
def pairs(draw):
    size = draw(st.integers(1, 3))
    return draw(readable_arrays((size, size))), draw(readable_arrays((size, size)))


@theorem.claim
def additive(pair):
    a, b = pair
    return equal(determinant(a + b), determinant(a) + determinant(b), operations=50, magnitude=1e3)
