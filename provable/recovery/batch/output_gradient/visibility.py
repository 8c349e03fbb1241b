"""Which samples of a solution the observation determines, and how well."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.recovery.batch.output_gradient.equations import Equations
from provable.recovery.batch.output_gradient.search import LONGEST_DESCENT, contributions
from provable.recovery.batch.output_gradient.variable_projection import Fit, descend, fit

Float = NDArray[np.float64]

INVISIBLE = 2.0**-7
"""A sample with a larger relative error is not determined by its observation."""

_LEVERAGE = 1e-9
"""Leverages nearer to 1 are 1; those of equations that others check differ by the share of these."""


@dataclasses.dataclass(frozen=True, eq=False)
class Visibility:
    """How well a solution is determined, to first order.

    Parameters
    ----------
    errors : array of shape (n,)
        Relative error of each sample that an error of the observation at the level of rounding can cause, at most; infinite
        for all if directions are open.
    open_directions : int
        Directions of samples and coefficients together along which nothing changes.
    unchecked : int
        Equations of leverage 1: without each of them a direction is open, so their being met says nothing.
    """

    errors: Float
    open_directions: int
    unchecked: int


def visibility(equations: Equations, observed: Float, found: Fit, precision: float) -> Visibility:
    """Measure how well a solution is determined.

    Parameters
    ----------
    equations : Equations
        The equations.
    observed : array of shape (rows,)
        Their right-hand side.
    found : Fit
        A solution.
    precision : float
        Unit of rounding of the observation.

    Returns
    -------
    Visibility
        From the singular values of the derivative by relative changes of the samples and of the coefficients, these relative
        to the largest.
    """
    count, dimension = found.points.shape
    norms = np.linalg.norm(found.points, axis=1)
    moving = equations.derivative(found.points, found.coefficients).reshape(len(observed), count, dimension)
    moving = moving * norms[:, None]
    if equations.unit_norm:
        directions = found.points / norms[:, None]
        tangents = [np.linalg.svd(direction[None, :])[2][1:].T for direction in directions]
        moving = np.stack([moving[:, index] @ basis for index, basis in enumerate(tangents)], axis=1)
    width = moving.shape[2]
    design = equations.design(found.points) * float(np.max(np.abs(found.coefficients)))
    columns = np.concatenate([moving.reshape(len(observed), -1), design], axis=1)
    basis, values, rows = np.linalg.svd(columns, full_matrices=False)
    level = 16 * EPSILON * math.sqrt(sum(columns.shape)) * values[0]
    open_directions = int(np.count_nonzero(values <= level)) + columns.shape[1] - len(values)
    if open_directions:
        return Visibility(np.full(count, math.inf), open_directions, 0)
    spread = (rows.T / values)[: count * width].reshape(count, -1)
    error = max(math.sqrt(found.cost), precision * found.scale)
    leverages = np.sum(basis**2, axis=1)
    return Visibility(error * np.linalg.norm(spread, axis=1), 0, int(np.count_nonzero(leverages > 1 - _LEVERAGE)))


def without_invisible(
    equations: Equations, observed: Float, found: Fit, *, precision: float, tolerance: float
) -> tuple[Fit, Visibility]:
    """Drop samples without which the observation is explained as well.

    Parameters
    ----------
    equations : Equations
        The equations.
    observed : array of shape (rows,)
        Their right-hand side.
    found : Fit
        A solution.
    precision : float
        Unit of rounding of the observation.
    tolerance : float
        `Fit.relative` that counts as explained.

    Returns
    -------
    fit : Fit
        A solution, possibly of fewer samples: one that has no weight is gone, and samples that coincide are one.
    visibility : Visibility
        How well it is determined.
    """
    seen = visibility(equations, observed, found, precision)
    while len(found.points) > 1 and (seen.open_directions or np.max(seen.errors) > INVISIBLE):
        for place in np.argsort(contributions(found)):
            fewer = fit(equations, observed, np.delete(found.points, place, axis=0))
            fewer, _ = descend(equations, observed, fewer, most=LONGEST_DESCENT, tolerance=tolerance)
            if fewer.relative <= tolerance:
                found, seen = fewer, visibility(equations, observed, fewer, precision)
                break
        else:
            break
    return found, seen
