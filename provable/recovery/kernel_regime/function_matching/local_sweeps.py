r"""Refinement of one point at a time, from values of the function in a small ball around it.

Kernels of ReLU networks have a cusp at z = x_j, while every other point contributes a function that is smooth there. So in
a ball of radius ρ around the estimate the residual is the effect of this point's own error, plus an affine function, plus
O(ρ²) times the errors of the others: with the affine part projected out the points decouple, and sweeps over all of them
with shrinking balls converge at a cost linear in the number of unknowns. Coefficients are refitted jointly, which is linear.
"""

from __future__ import annotations

import numpy as np

from provable.recovery.kernel_regime.function_matching.oracle import Float, TrainedFunction
from provable.recovery.kernel_regime.function_matching.slopes import slopes

SWEEPS = 24
"""The most sweeps."""

WIDEST, NARROWEST = 0.3, 1e-3
"""Radii of the balls, as fractions of the size of the points; in smaller ones the rounding of the function takes over."""

PATIENCE = 3
"""Sweeps after which the misfit has to have halved."""


def swept(
    function: TrainedFunction,
    points: Float,
    coefficients: Float,
    where: Float,
    radius: float,
    rng: np.random.Generator,
) -> tuple[Float, Float, float]:
    """Sweep over the points until the misfit stops falling.

    Parameters
    ----------
    function : TrainedFunction
        The function and its kernel.
    points : ndarray of shape (N, free)
        Where to start.
    coefficients : ndarray of shape (N,)
        Likewise.
    where : ndarray of shape (S, free)
        Points at which the misfit is measured and coefficients are fitted, S > N.
    radius : float
        The size of the points.
    rng : Generator
        For the points in the balls.

    Returns
    -------
    points : ndarray of shape (N, free)
        The best iterate.
    coefficients : ndarray of shape (N,)
        Its coefficients.
    misfit : float
        Norm of the residual at `where` over the norm of the values.
    """
    values = function.values(where)
    size = max(float(np.linalg.norm(values)), np.finfo(float).tiny)
    balls = np.full(len(points), WIDEST * radius)
    best = (points, coefficients, float(np.linalg.norm(values - coefficients @ function.kernel(points, where))) / size)
    weights, history = coefficients, [best[2]]
    for _ in range(SWEEPS):
        moves = _moves(function, points, weights, balls, rng)
        points = points + moves
        lengths = np.linalg.norm(moves, axis=1)
        balls = np.clip(20 * lengths, np.maximum(balls / 5, NARROWEST * radius), WIDEST * radius)
        kernel = function.kernel(points, where)
        scale = np.linalg.norm(kernel, axis=1)
        scale = np.where(scale > 0, scale, 1.0)
        solution, *_ = np.linalg.lstsq((kernel / scale[:, None]).T, values, rcond=None)
        weights = solution / scale
        history.append(float(np.linalg.norm(values - weights @ kernel)) / size)
        if history[-1] < best[2]:
            best = (points, weights, history[-1])
        if len(history) > PATIENCE and best[2] > min(history[:-PATIENCE]) / 2:
            break
    return best


def _moves(function: TrainedFunction, points: Float, weights: Float, balls: Float, rng: np.random.Generator) -> Float:
    count, free = points.shape
    each = 5 * free + 5
    directions = rng.standard_normal((count, each, free))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    offsets = balls[:, None, None] * rng.uniform(0.1, 1.0, (count, each, 1)) * directions
    around = points[:, None] + offsets
    flat = around.reshape(-1, free)
    residuals = (function.values(flat) - weights @ function.kernel(points, flat)).reshape(count, each)
    moves = np.zeros_like(points)
    for j in range(count):
        along_z, along_x = slopes(function, around[j], points[j : j + 1], rng)
        columns = weights[j] * (along_z[0][:, None] * around[j] + np.outer(along_x[0], points[j]))
        affine, _ = np.linalg.qr(np.hstack([np.ones((each, 1)), offsets[j] / balls[j]]))
        columns, right = (array - affine @ (affine.T @ array) for array in (columns, residuals[j]))
        scale = np.linalg.norm(columns, axis=0)
        scale = np.where(scale > 0, scale, 1.0)
        # directions that are left with a millionth of their size are smooth: the function says nothing of them here
        solution, *_ = np.linalg.lstsq(columns / scale, right, rcond=1e-6)
        moves[j] = solution / scale
    lengths = np.linalg.norm(moves, axis=1)
    return moves * np.minimum(1.0, balls / np.where(lengths > 0, lengths, 1.0))[:, None]
