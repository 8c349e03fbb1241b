r"""Atoms that have the moments seen, sought from many random starts at once, where the moments are not all determined.

With the unknowns t(μ) of a `MomentSystem` and the equations E t(μ) = y in orthonormal rows E, the unknown atoms (x_i, c_i)
minimise ‖E Σ_i c_i t(x_i) - y‖² by the method of Levenberg and Marquardt, all starts in step, each with a damping of its own.
Directions that change nothing, as a scale that is open, are left to the damping.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.recovery.stationary_point.polynomial_moments import MomentSolution, MomentSystem

Float = NDArray[np.float64]

STEPS = 200
"""Most steps."""

CONVERGED = 1e-11
"""Misfit, relative to y, that counts as none; a local minimum has far more, and a refinement follows."""

_SMALLEST_DAMPING, _LARGEST_DAMPING = 1e-14, 1e8


def atoms_from_starts(
    system: MomentSystem, moments: MomentSolution, count: int, starts: int, rng: np.random.Generator
) -> list[tuple[Float, Float]]:
    """Seek measures that agree with what was seen of the moments.

    Parameters
    ----------
    system : MomentSystem
        Says which moments are unknown.
    moments : MomentSolution
        What was seen of them.
    count : int
        Number of atoms n.
    starts : int
        Number of random starts.
    rng : numpy.random.Generator
        Draws them.

    Returns
    -------
    list of (array of shape (n, r), array of shape (n,))
        Points and coefficients where a start converged, in the order of the starts. The same measure may come several times.
        With an anchor the points are those whose anchor is one.
    """
    target = moments.equations @ moments.unknowns
    size = float(np.linalg.norm(target))
    if not size > 0:
        return []
    target = target / size
    points = rng.standard_normal((starts, count, system.dimension))
    points *= np.exp(0.5 * rng.standard_normal((starts, count, 1))) / np.sqrt(system.dimension)
    design = np.swapaxes(system.monomials(points) @ moments.equations.T, 1, 2)
    coefficients = np.einsum("sij,j->si", np.linalg.pinv(design), target)
    points, coefficients, misfit = _minimised(system, moments.equations, target, points, coefficients)
    found = []
    for place in np.flatnonzero(misfit <= CONVERGED):
        atoms, weights = points[place], size * coefficients[place]
        if system.anchored:
            along = atoms[:, 0] * system.anchored
            atoms, weights = atoms / along[:, None], weights * along**system.degree
        if np.all(np.isfinite(atoms)) and np.all(np.isfinite(weights)):
            found.append((atoms, weights))
    return found


def _minimised(
    system: MomentSystem, equations: Float, target: Float, points: Float, coefficients: Float
) -> tuple[Float, Float, Float]:
    """Points (s, n, r), coefficients (s, n) and misfits (s,) of local minima."""
    starts, count, dimension = points.shape
    damping = np.full(starts, 1e-2)

    def misfits(points: Float, coefficients: Float) -> Float:
        values = np.einsum("si,siq->sq", coefficients, system.monomials(points))
        return np.asarray(values @ equations.T - target)

    current = misfits(points, coefficients)
    for _ in range(STEPS):
        size = np.linalg.norm(current, axis=1)
        active = np.flatnonzero((size > CONVERGED / 100) & (damping < _LARGEST_DAMPING))
        if not len(active):
            break
        x, c, residual = points[active], coefficients[active], current[active]
        slopes = c[:, :, None, None] * (system.slopes(x) @ equations.T)
        values = system.monomials(x) @ equations.T
        columns = np.concatenate([slopes, values[:, :, None, :]], axis=2).reshape(
            len(active), count * (dimension + 1), -1
        )
        lengths = np.linalg.norm(columns, axis=2, keepdims=True)
        columns = columns / np.where(lengths > 0, lengths, 1.0)
        gram = columns @ np.swapaxes(columns, 1, 2)
        gram += damping[active, None, None] * np.eye(gram.shape[1])
        step = -np.linalg.solve(gram, columns @ residual[:, :, None])[:, :, 0]
        step = (step / np.where(lengths[:, :, 0] > 0, lengths[:, :, 0], 1.0)).reshape(len(active), count, dimension + 1)
        there, weights = x + step[:, :, :dimension], c + step[:, :, dimension]
        moved = misfits(there, weights)
        better = np.linalg.norm(moved, axis=1) < size[active]
        chosen = active[better]
        points[chosen], coefficients[chosen], current[chosen] = there[better], weights[better], moved[better]
        # damping below the rounding of a Gram matrix of columns of norm one does nothing
        damping[active] = np.where(better, np.maximum(damping[active] / 8, _SMALLEST_DAMPING), damping[active] * 5)
    return points, coefficients, np.linalg.norm(current, axis=1)
