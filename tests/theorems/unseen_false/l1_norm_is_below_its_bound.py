"""The 1-norm is one per cent below its bound by the 2-norm (which vectors of equal magnitudes attain)."""

from provable.theorems import RATIONAL, Source, Theorem, at_most
from provable.theorems.strategies import readable_arrays

theorem = Theorem(statement="|x|_1^2 <= 0.98 * 6 * |x|_2^2 in six dimensions", source=Source("false on purpose"))
theorem.instances(readable_arrays((6,)))


@theorem.claim(arithmetics=(RATIONAL,))
def bounded(x):
    return at_most(100 * abs(x).sum() ** 2, 588 * (x @ x), operations=20)
