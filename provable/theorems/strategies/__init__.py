"""Hypothesis strategies for instances of theorems: typical, degenerate and nearly degenerate ones, in one tested place.

Two kinds of numbers are drawn. *Readable* ones are small multiples of 1/4, drawn entry by entry: they shrink to an instance
that people can check by hand, are exact in every arithmetic, and coincide often enough to be degenerate. *Spread* ones come
from a seed and a drawn condition number or gap: they reach the nearly degenerate cases at a known distance. A bare
`hypothesis.extra.numpy.arrays` fills most entries with one value and almost never gives a matrix of full rank.

Larger constructions stand in modules of their own: `decompositions` (tensors with two decompositions), `stationary_points`
(networks at exact stationary points), `multiclass_points` (the same for several classes) and `weight_decay_points` (for
squared loss with weight decay).
"""

from provable.theorems.strategies.arrays import (
    arrays,
    conditioned_matrices,
    gaussian_arrays,
    matrices,
    readable_arrays,
    readable_directions,
    readable_numbers,
    seeds,
    sphere_points,
)
from provable.theorems.strategies.networks import (
    PIECEWISE_LINEAR_ACTIVATIONS,
    SMOOTH_ACTIVATIONS,
    architectures,
    measures,
    parameters,
)

__all__ = [
    "PIECEWISE_LINEAR_ACTIVATIONS",
    "SMOOTH_ACTIVATIONS",
    "architectures",
    "arrays",
    "conditioned_matrices",
    "gaussian_arrays",
    "matrices",
    "measures",
    "parameters",
    "readable_arrays",
    "readable_directions",
    "readable_numbers",
    "seeds",
    "sphere_points",
]
