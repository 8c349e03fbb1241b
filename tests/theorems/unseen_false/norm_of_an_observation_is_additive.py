"""The norm of an observation is the sum of the atoms' norms."""

from provable.architectures import Architecture, Linear, Tanh
from provable.arithmetic import sqrt
from provable.networks.tangents import embed, tangents
from provable.theorems import BALL, FLOAT64, Source, Theorem, equal
from provable.theorems.strategies import measures, parameters

theorem = Theorem(
    statement="the norm of an embedding is the sum of |c_j| times the norms of the tangents",
    source=Source("false on purpose"),
)


NET = Architecture("net", (2,), (Linear(2), Tanh(), Linear(1)), "squared")


@theorem.instances
def cases(draw):
    return draw(parameters(NET, readable=True)), draw(measures((2,)))


@theorem.claim(arithmetics=(FLOAT64, BALL))
def additive(case):
    theta, measure = case
    image = embed(NET, theta, measure).vector()
    atoms = tangents(NET, theta, measure.points)[:, 0, :]
    lengths = sqrt((atoms * atoms).sum(axis=1))
    sizes = sqrt(measure.coefficients * measure.coefficients)
    return equal(sqrt((image * image).sum()), (sizes * lengths).sum(), operations=100)
