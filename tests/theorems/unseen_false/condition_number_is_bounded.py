"""The smallest singular value of a matrix with unit columns is at least 1/1000."""

from provable.arithmetic import constant
from provable.theorems import BALL, FLOAT64, Source, Theorem, at_most
from provable.theorems.strategies import conditioned_matrices

theorem = Theorem(
    statement="det(A^T A) >= 10^-6 for two unit columns",
    source=Source("false on purpose"),
)


@theorem.instances
def columns(draw):
    a = draw(conditioned_matrices(3, 2))
    return a / (a * a).sum(axis=0) ** 0.5


@theorem.claim(arithmetics=(FLOAT64, BALL))
def well_conditioned(a):
    gram = a.T @ a
    return at_most(constant(1e-6, a), gram[0, 0] * gram[1, 1] - gram[0, 1] * gram[0, 1], operations=20, magnitude=1.0)
