"""The linear kernel is strictly positive definite on distinct points."""

from hypothesis import strategies as st

from provable.arithmetic import rank
from provable.theorems import RATIONAL, Source, Theorem, holds
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement="distinct points have a regular linear Gram matrix",
    source=Source("false on purpose"),
)


@theorem.instances
def points(draw):
    return draw(readable_arrays((draw(st.integers(1, 3)), draw(st.integers(1, 3)))))


@theorem.hypothesis("distinct points")
def distinct(x):
    return len({tuple(row) for row in x}) == len(x)


@theorem.claim(arithmetics=(RATIONAL,))
def regular(x):
    return holds(rank(x @ x.T) == len(x), name="the Gram matrix is regular")
