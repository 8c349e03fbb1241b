"""Stationary points with directions that are orthogonal to all samples."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.arithmetic import RATIONAL, Array, to_float
from provable.arithmetic.null_space import null_space
from provable.networks import Parameters
from provable.theorems.strategies.arrays import seeds
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points


@dataclass(frozen=True)
class ShiftedPoint:
    """A stationary point with a direction for every sample, and how far to go.

    Parameters
    ----------
    point : StationaryPoint
        θ, the samples and their multipliers.
    directions : ndarray of shape (n, d)
        ν_i.
    distance : float
        The factor t of all directions.
    """

    point: StationaryPoint
    directions: Array
    distance: float


def in_more_dimensions(point: StationaryPoint, extra: int) -> StationaryPoint:
    """The same network on samples with more entries in front, all of them zero, which it does not look at.

    Parameters
    ----------
    point : StationaryPoint
        Any stationary point, in floats.
    extra : int
        How many entries.

    Returns
    -------
    StationaryPoint
        A stationary point with the same outputs.
    """
    first = point.parameters["0/weight"]
    architecture = Architecture("wider", (first.shape[1] + extra,), point.architecture.layers, "logistic")
    arrays = dict(point.parameters) | {"0/weight": np.pad(first, ((0, 0), (extra, 0)))}
    inputs = np.pad(point.inputs, ((0, 0), (extra, 0)))
    parameters = Parameters(architecture, arrays)
    return dataclasses.replace(point, architecture=architecture, parameters=parameters, inputs=inputs)


@st.composite
def shifted_points(draw: st.DrawFn, *, depths: tuple[int, ...] = (2, 3, 1)) -> ShiftedPoint:
    """Stationary points whose samples do not span their space, with directions across the span.

    Parameters
    ----------
    depths : tuple of int, optional
        Numbers of layers to draw from.

    Returns
    -------
    ShiftedPoint
        Not all directions are zero.
    """
    point = in_more_dimensions(draw(stationary_points(depths=depths)), draw(st.integers(0, 2)))
    basis = null_space(RATIONAL.convert(point.inputs))
    assume(len(basis))
    rng = np.random.default_rng(draw(seeds()))
    exact = rng.integers(-2, 3, size=(len(point.inputs), len(basis))) @ basis
    directions = to_float(exact)
    assume(np.any(directions) and np.all(RATIONAL.convert(directions) == exact))
    return ShiftedPoint(point, directions, draw(st.sampled_from((1.0, 2.0**10, 2.0**40))))
