"""Units that a ReLU cut off must stay so: inequalities within the null space of a layer's system."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.recovery.layerwise.least_squares import LARGEST_NULLITY, Solution

Float = NDArray[np.float64]

_SMALLEST_DISTANCE = 1e-12


def within(solution: Solution, matrix: Any, limits: Float) -> Float:
    """Move a solution within its null space until inequalities hold.

    Parameters
    ----------
    solution : Solution
        With a basis of its null space.
    matrix : sparse array of shape (r, unknowns)
        Rows A.
    limits : array of shape (r,)
        Right sides of A x ≤ b, which some solution obeys.

    Returns
    -------
    array of shape (unknowns,)
        Of the solutions that obey them with a small margin the one of least norm; the one without regard to them if none
        was found.

    References
    ----------
    C. L. Lawson and R. J. Hanson, Solving Least Squares Problems, 1974, Chapter 23 (least distance programming).
    """
    values, null = solution.values, solution.null
    if null is None:
        return values
    # Loaded only here: it is a large package.
    from scipy.optimize import nnls

    # Entries that no equation sees are free as well.
    free = np.flatnonzero(~solution.determined & ~np.any(null, axis=1))
    if len(free) > LARGEST_NULLITY:
        return values
    units = np.zeros((len(values), len(free)))
    units[free, np.arange(len(free))] = 1.0
    null = np.hstack([null, units])
    reduced, images = matrix @ null, matrix @ values
    movable = np.linalg.norm(reduced, axis=1) > _SMALLEST_DISTANCE * float(np.max(np.abs(matrix.data), initial=0.0))
    size = float(np.max(np.abs(matrix) @ np.abs(values) + np.abs(limits), initial=0.0))
    # Zero itself would be decided by rounding; margins get smaller until they can be kept.
    for margin in (1e-6, 1e-9, 1e-12):
        excess = np.where(movable, images - limits + margin * size, -size)
        if not np.any(excess > 0):
            return values
        # Least distance programming: of all a with (A N) a ≤ -excess the shortest.
        scale = float(np.max(np.abs(excess)))
        system = np.vstack([-reduced[movable].T, excess[movable] / scale])
        unit = np.zeros(len(system))
        unit[-1] = 1.0
        try:
            residual = system @ nnls(system, unit)[0] - unit
        except RuntimeError:  # too many iterations
            break
        if residual[-1] < -_SMALLEST_DISTANCE:
            move: Float = null @ residual[:-1] * (-scale / residual[-1])
            return values + move
    return values
