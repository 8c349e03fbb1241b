"""Neurons that see one sample and no other: there the first-layer change is that sample, without the rounding of a sum.

If all oriented points lie in one open half-space, some neuron w₀ sees none of them: w₀·x_k < 0 for all k. Almost all sets of
fewer than 2d points in general position do, and all with a bias coordinate. Moved onto the hyperplane of x_j, w₀ still sees
no other point if these are nearly orthogonal to x_j, and g = α_j x_j just on the far side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from provable.arithmetic import EPSILON, Float

_NEWTON_STEPS = 40
_STEP = 1e-6  # onto the far side; small beside the margins, large beside the errors of directions
_MARGIN = 1e-4
_MOST_OPERATIONS = 1e10  # of one Newton step: a second


def silent_neuron(points: Float) -> Float | None:
    """Find a neuron at which no point is active.

    Parameters
    ----------
    points : ndarray of shape (n, dimension)
        Oriented unit vectors.

    Returns
    -------
    ndarray of shape (dimension,) or None
        w with w·x_k ≤ -1/2 for all k; None if none was found, or if the search would take too long.

    Notes
    -----
    Newton's method with halved steps for Σ_k max(0, w·x_k + 1)², whose infimum is zero exactly if there is such a neuron.
    """
    count, dimension = points.shape
    if not count or count * dimension**2 > _MOST_OPERATIONS:
        return None
    neuron: Float = -points.mean(axis=0)
    neuron /= max(float(np.linalg.norm(neuron)), EPSILON)
    for _ in range(_NEWTON_STEPS):
        active = points @ neuron > -1.0
        if not active.any():
            return neuron
        chosen = points[active]
        gram = chosen.T @ chosen + 1e-10 * np.eye(dimension)
        step = np.linalg.solve(gram, -chosen.sum(axis=0) - gram @ neuron)
        # halve the step while it does not decrease the sum of squares
        length, before = 1.0, _loss(points, neuron)
        while length > 1e-3 and _loss(points, neuron + length * step) >= before:
            length /= 2
        neuron = neuron + length * step
        if (points @ neuron).max() <= -0.5:
            return neuron
    return None


def _loss(points: Float, neuron: Float) -> float:
    return float(np.sum(np.maximum(points @ neuron + 1.0, 0.0) ** 2))


def jumps_from_silence(
    oracle: Callable[[Float], Float], points: Float, chosen: np.ndarray, neuron: Float
) -> tuple[np.ndarray, Float]:
    """Measure the jumps of points at neurons that see no other point.

    Parameters
    ----------
    oracle : callable
        The map g.
    points : ndarray of shape (n, dimension)
        Oriented unit vectors.
    chosen : ndarray of int
        The points to measure.
    neuron : ndarray of shape (dimension,)
        A neuron that sees none.

    Returns
    -------
    indices : ndarray of int
        Those of the chosen points for which there was such a neuron, and for which g was zero on the near side.
    jumps : ndarray of shape (m, dimension)
        α_j x_j, to the accuracy of a product.
    """
    here = neuron / np.linalg.norm(neuron)
    units = points[chosen]
    beside = here - (units @ here)[:, None] * units
    beside /= np.linalg.norm(beside, axis=1, keepdims=True)
    seen = points @ beside.T > -_MARGIN
    seen[chosen, np.arange(len(chosen))] = False
    alone = ~seen.any(axis=0)
    indices, beside, units = chosen[alone], beside[alone], units[alone]
    near, far = oracle(beside - _STEP * units), oracle(beside + _STEP * units)
    silent = np.linalg.norm(near, axis=1) <= EPSILON * np.linalg.norm(far, axis=1)
    jumps: Float = far[silent]
    return indices[silent], jumps
