"""The search for all samples of a batch at once: random starts, and the replacement of single samples.

A descent from a random start usually ends with some samples right and a few in the wrong place. So the sample that
contributes least is taken out and put elsewhere, where its term has the largest correlation with what is unexplained, and the
descent goes on; only when no replacement helps does the search start anew. It gives up early if start after start ends in the
same minimum above rounding: then there is no batch of that size to be found.
"""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import NDArray

from provable.recovery.batch.output_gradient.equations import Equations
from provable.recovery.batch.output_gradient.variable_projection import Fit, descend, fit

Float = NDArray[np.float64]

CANDIDATES = 50
"""Random places that are compared for a sample that is replaced."""

LONGEST_DESCENT = 200
"""Most steps of one descent."""

FIRST_DAMPINGS = (10.0, 0.1)
"""Of every other start. First steps along the gradient suit tanh, longer ones the long valleys of softplus."""

_SAME = 1e-3
"""Squared misfits within this relative distance are those of one minimum."""

_ENOUGH = 8
"""Starts that end in the lowest minimum, above rounding, before the search gives up."""

_NEAR, _ENOUGH_NEAR = 1e-6, 3
"""So many starts that end below that relative misfit, but above rounding, are in a valley that cannot be followed to its end:
samples that are nearly parallel, or noise."""

_GAIN = 0.99
"""A replacement must lower the squared misfit by this factor."""

_SPREAD = 2.0
"""Norms of random points vary by this factor both ways where they are not known."""


def random_points(equations: Equations, count: int, rng: np.random.Generator) -> Float:
    """Draw places to start from.

    Parameters
    ----------
    equations : Equations
        The equations.
    count : int
        How many.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    array of shape (count, d)
        Uniform directions; norm 1 on the unit sphere, otherwise such that pre-activations are of the order of 1.
    """
    directions = rng.standard_normal((count, equations.dimension))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    if equations.unit_norm:
        return directions
    spread = rng.uniform(-math.log(_SPREAD), math.log(_SPREAD), size=(count, 1))
    return np.asarray(equations.start_norm() * np.exp(spread) * directions)


def search(
    equations: Equations,
    observed: Float,
    count: int,
    rng: np.random.Generator,
    *,
    most: int,
    tolerance: float,
    start: Float | None = None,
) -> Fit:
    """Look for the samples of a batch.

    Parameters
    ----------
    equations : Equations
        The equations.
    observed : array of shape (rows,)
        Their right-hand side.
    count : int
        Number of samples n.
    rng : numpy.random.Generator
        Draws starts and replacements.
    most : int
        About how many steps of Levenberg and Marquardt are made in all.
    tolerance : float
        `Fit.relative` that counts as explained.
    start : array of shape (n, d), optional
        The first start; random by default, as all others are.

    Returns
    -------
    Fit
        The best found; its `Fit.relative` says whether it explains the observation.
    """
    best: Fit | None = None
    ends: list[Fit] = []
    dampings = itertools.cycle(FIRST_DAMPINGS)
    left = most

    def descended(points: Fit, damping: float) -> tuple[Fit, int]:
        steps = min(left, LONGEST_DESCENT)
        return descend(equations, observed, points, most=steps, tolerance=tolerance, damping=damping)

    while left > 0 and (best is None or best.relative > tolerance):
        points = random_points(equations, count, rng) if start is None else start
        start, damping = None, next(dampings)
        found, used = descended(fit(equations, observed, points), damping)
        left -= used + 1
        tried = 0
        while left > 0 and tried < count and math.isfinite(found.cost) and found.relative > tolerance:
            place = int(np.argsort(contributions(found))[tried])
            moved = with_new_sample(equations, observed, np.delete(found.points, place, axis=0), rng)
            other, used = descended(moved, damping)
            left -= used + 1
            tried += 1
            if other.relative <= tolerance or other.cost < _GAIN * found.cost:
                found, tried = other, 0
        if best is None or found.cost < best.cost or found.relative <= tolerance:
            best = found
        ends.append(found)
        lowest = sum(end.cost <= (1 + _SAME) * best.cost for end in ends)
        if lowest >= _ENOUGH or sum(end.relative < _NEAR for end in ends) >= _ENOUGH_NEAR:
            break
    assert best is not None
    return best


def with_new_sample(equations: Equations, observed: Float, points: Float, rng: np.random.Generator) -> Fit:
    """Add the sample that explains most of what is left, out of a few random ones.

    Parameters
    ----------
    equations : Equations
        The equations.
    observed : array of shape (rows,)
        Their right-hand side.
    points : array of shape (n, d)
        Samples so far, possibly none.
    rng : numpy.random.Generator
        Draws the candidates.

    Returns
    -------
    Fit
        Of n + 1 samples.
    """
    candidates = random_points(equations, CANDIDATES, rng)
    columns = equations.design(candidates)[:, : CANDIDATES * equations.outputs]
    unexplained = observed
    if len(points):
        before = fit(equations, observed, points)
        columns = columns - before.orthogonal @ (before.orthogonal.T @ columns)
        unexplained = before.misfit
    sizes = np.sum(columns**2, axis=0)
    gains = np.divide((unexplained @ columns) ** 2, sizes, out=np.zeros_like(sizes), where=sizes > 0)
    place = int(np.argmax(gains.reshape(CANDIDATES, -1).sum(axis=1)))
    return fit(equations, observed, np.concatenate([points, candidates[place : place + 1]]))


def contributions(found: Fit) -> Float:
    """By how much would the squared misfit rise without each sample, the others staying where they are?

    Parameters
    ----------
    found : Fit
        Points and coefficients with a regular design matrix.

    Returns
    -------
    array of shape (n,)
        :math:`c_i^T M_i^{-1} c_i` with M_i the diagonal block of the inverse normal matrix of the design.
    """
    count, outputs = found.coefficients.shape
    inverse = np.linalg.inv(found.triangular)
    rises = np.empty(count)
    for index in range(count):
        rows = inverse[index * outputs : (index + 1) * outputs]
        # The least norm of y with rows @ y = c, whose square is cᵀ(rows rowsᵀ)⁻¹c, also where that product is singular.
        rises[index] = np.sum(np.linalg.lstsq(rows, found.coefficients[index], rcond=None)[0] ** 2)
    return rises
