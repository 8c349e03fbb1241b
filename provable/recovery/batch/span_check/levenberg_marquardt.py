"""Levenberg-Marquardt on the span conditions from many starts at once, and the exact end of it."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from provable.recovery.batch.span_check.conditions import Conditions
from provable.recovery.batch.span_check.distances import normal_equations, residuals

Float = NDArray[np.float64]

FIRST_DAMPING = 1e-2
"""Damping at the start, relative to the diagonal of the Gauss-Newton matrix; divided by 5 at success, times 5 otherwise."""

STUCK = 1e4
"""Damping at which a start is given up."""

ZERO = 1e-26
"""Sum of squared relative distances that is rounding alone."""

HOPELESS = 1e-10
"""Above this a start that gains less than `SLOWEST` in a step is given up: it approaches a local minimum."""

SLOWEST = 1e-4


def descend(
    conditions: Conditions, starts: Float, *, iterations: int, scale_free: bool = False
) -> tuple[Float, Float, Float]:
    """Minimise the sum of squared relative distances from every start.

    Parameters
    ----------
    conditions : Conditions
        The conditions.
    starts : array of shape (S, p)
        Values of e to begin with.
    iterations : int
        Steps at most.
    scale_free : bool, optional
        Whether positive multiples of e are equivalent; then e is brought to norm 1.

    Returns
    -------
    unknowns : array of shape (S, p)
        e.
    directions : array of shape (S, k)
        ρ.
    cost : array of shape (S,)
        The sum of squared relative distances; infinite for starts without value.
    """
    unknowns = np.array(starts)
    if scale_free:
        unknowns = _normalised(unknowns)
    rho, cost = conditions.evaluate(unknowns)
    if not conditions.dimension:
        return unknowns, rho, cost
    damping = np.full(len(unknowns), FIRST_DAMPING)
    for _ in range(iterations):
        alive = np.flatnonzero(np.isfinite(cost) & (cost > ZERO) & (damping <= STUCK))
        if not len(alive):
            break
        gradient, matrix = normal_equations(conditions.vectors(unknowns[alive], rho[alive]))
        step = _damped_step(gradient, matrix, damping[alive])[:, : conditions.dimension]
        moved = unknowns[alive] + step
        if scale_free:
            moved = _normalised(moved)
        moved_rho, moved_cost = conditions.evaluate(moved)
        before = cost[alive]
        better = moved_cost < before
        took = alive[better]
        unknowns[took], rho[took], cost[took] = moved[better], moved_rho[better], moved_cost[better]
        damping[alive] = np.where(better, np.maximum(damping[alive] / 5, 1e-14), damping[alive] * 5)
        slow = better & (moved_cost > before * (1 - SLOWEST)) & (moved_cost > HOPELESS)
        damping[alive[slow]] = 2 * STUCK
    return unknowns, rho, cost


def _damped_step(gradient: Float, matrix: Float, damping: Float) -> Float:
    size = matrix.shape[1]
    diagonal = np.einsum("sii->si", matrix)
    trace = np.sum(np.abs(diagonal), axis=1, keepdims=True)
    # The floor keeps directions without influence from making the system singular.
    shift = damping[:, None] * diagonal + 1e-15 * trace / size + np.finfo(np.float64).tiny
    system = matrix + shift[:, :, None] * np.eye(size)
    broken = ~np.all(np.isfinite(system), axis=(1, 2)) | ~np.all(np.isfinite(gradient), axis=1) | (trace[:, 0] == 0)
    system[broken], gradient = np.eye(size), np.where(broken[:, None], 0.0, gradient)
    try:
        return np.asarray(np.linalg.solve(system, -gradient[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:  # exactly singular in spite of the floor
        return np.stack([np.linalg.lstsq(a, -b)[0] for a, b in zip(system, gradient, strict=True)])


def finish(conditions: Conditions, unknowns: Float, *, steps: int = 4) -> Float:
    """End at the accuracy of the data: Gauss-Newton steps by orthogonal decomposition, without squaring the condition.

    Parameters
    ----------
    conditions : Conditions
        The conditions.
    unknowns : array of shape (p,)
        e, near a solution.
    steps : int, optional
        How many steps at most; a step that does not help is undone and the last.

    Returns
    -------
    array of shape (p,)
        e.
    """
    current = unknowns[None]
    rho, cost = conditions.evaluate(current)
    for _ in range(steps):
        values, jacobian = residuals(conditions.vectors(current, rho))
        if not jacobian.shape[2] or not np.all(np.isfinite(jacobian)):
            break
        lengths = np.linalg.norm(jacobian[0], axis=0)
        if not np.all(lengths > 0):
            break
        orthogonal, triangular = np.linalg.qr(jacobian[0] / lengths)
        left, singular, right = np.linalg.svd(triangular)
        kept = singular > 1e-12 * singular[0]
        projected = left.T[: len(singular)][kept] @ (orthogonal.T @ values[0])
        step = -(right[: len(singular)][kept].T @ (projected / singular[kept])) / lengths
        moved = current + step[None, : conditions.dimension]
        moved_rho, moved_cost = conditions.evaluate(moved)
        if not moved_cost[0] < cost[0]:
            break
        current, rho, cost = moved, moved_rho, moved_cost
    return np.asarray(current[0])


def isolation(conditions: Conditions, unknowns: Float, *, scale_free: bool = False) -> tuple[float, float]:
    """How fast the distances grow around a solution, and how far linearisation would still move it.

    Parameters
    ----------
    conditions : Conditions
        The conditions.
    unknowns : array of shape (p,)
        e, a solution.
    scale_free : bool, optional
        Whether multiples of e are solutions as well; that direction is left out.

    Returns
    -------
    steepness : float
        Smallest singular value of the derivative of F by e, what a turn of ρ can undo being left out; infinite if there
        is no direction.
    step : float
        Norm of the next Gauss-Newton step: near a solution small, on an exponentially flat plain not.
    """
    current = unknowns[None]
    rho, _ = conditions.evaluate(current)
    values, jacobian = (array[0] for array in residuals(conditions.vectors(current, rho)))
    if not np.all(np.isfinite(jacobian)):
        return 0.0, math.inf
    moves, turns = jacobian[:, : conditions.dimension], jacobian[:, conditions.dimension :]
    if turns.shape[1]:
        orthogonal = np.linalg.qr(turns)[0]
        moves, values = moves - orthogonal @ (orthogonal.T @ moves), values - orthogonal @ (orthogonal.T @ values)
    if scale_free:
        moves = moves @ np.linalg.svd(current)[2][1:].T
    if not moves.shape[1]:
        return math.inf, 0.0
    if len(moves) < moves.shape[1]:
        return 0.0, math.inf
    orthogonal, triangular = np.linalg.qr(moves)
    left, singular, _ = np.linalg.svd(triangular)
    if not singular[-1] > 0:
        return 0.0, math.inf
    return float(singular[-1]), float(np.linalg.norm((left.T @ (orthogonal.T @ values)) / singular))


def _normalised(unknowns: Float) -> Float:
    size = np.linalg.norm(unknowns, axis=1, keepdims=True)
    return np.asarray(unknowns / np.where(size > 0, size, 1.0))
