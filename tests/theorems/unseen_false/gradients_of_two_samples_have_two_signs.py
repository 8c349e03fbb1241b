"""Flipping an input flips the gradient of a bias-free ReLU net."""

from provable.architectures import Architecture, Linear, ReLU
from provable.networks.tangents import tangents
from provable.theorems import FLOAT64, RATIONAL, Source, Theorem, equal
from provable.theorems.strategies import parameters, readable_arrays

theorem = Theorem(
    statement="the tangent at -x is minus the tangent at x for a two-layer ReLU net", source=Source("false on purpose")
)


NET = Architecture("net", (2,), (Linear(3, bias=False), ReLU(), Linear(1, bias=False)), "squared")


@theorem.instances
def cases(draw):
    return draw(parameters(NET, readable=True)), draw(readable_arrays((1, 2)))


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def odd(case):
    theta, x = case
    return equal(tangents(NET, theta, -x), -tangents(NET, theta, x), operations=30)
