r"""Joint refinement of all points and coefficients by Gauss-Newton steps on values of the function.

The derivative of Σ_j α_j k(z, x_j) needs two numbers for each pair (z, x_j), since k depends on z·x, ‖z‖ and ‖x‖ only: the
gradient in x is a z + b x. They come from differences of the kernel along x_j and along one random direction. Each atom's
own columns are made orthonormal first, which also leaves out a direction without effect; the step solves the least-squares
problem by conjugate gradients on it, preconditioned by the Cholesky factor of the normal matrix.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from provable.arithmetic import EPSILON
from provable.recovery.kernel_regime.function_matching.local_sweeps import swept
from provable.recovery.kernel_regime.function_matching.oracle import Float, TrainedFunction
from provable.recovery.kernel_regime.function_matching.slopes import slopes

OVERSAMPLING = 1.5
"""Values of the function for each unknown."""

FEW_UNKNOWNS, MOST_UNKNOWNS = 2_000, 8_000
"""Up to the first number of unknowns joint steps are cheap, and up to the second possible; sweeps come first between them."""

STEPS = 12
"""The most Gauss-Newton steps."""

NEAREST, FARTHEST = 0.02, 1.0
"""Distances from the points at which values are taken, as fractions of the radius."""


@dataclass(frozen=True, eq=False)
class Refined:
    """Points and coefficients, and how well they reproduce the values.

    Attributes
    ----------
    points : ndarray of shape (N, free)
        The points.
    coefficients : ndarray of shape (N,)
        Their coefficients.
    misfit : float
        Norm of the residual over the norm of the values.
    steps : int
        Gauss-Newton steps taken.
    """

    points: Float
    coefficients: Float
    misfit: float
    steps: int


CORRECTIONS = 8
"""Steps of conjugate gradients for one least-squares problem."""


def samples_around(points: Float, radius: float, rng: np.random.Generator) -> Float:
    """Draw points around each point, at distances spread over a range of scales.

    Parameters
    ----------
    points : ndarray of shape (N, free)
        The centres.
    radius : float
        The size that distances are relative to.
    rng : Generator
        For directions and distances.

    Returns
    -------
    ndarray of shape (S, free)
        `OVERSAMPLING` times as many as there are unknowns.
    """
    count, free = points.shape
    each = int(np.ceil(OVERSAMPLING * (free + 1)))
    directions = rng.standard_normal((count, each, free))
    directions /= np.linalg.norm(directions, axis=2, keepdims=True)
    distances = radius * NEAREST * (FARTHEST / NEAREST) ** rng.uniform(0, 1, (count, each, 1))
    return (points[:, None] + distances * directions).reshape(-1, free)


def refined(
    function: TrainedFunction, points: Float, coefficients: Float, radius: float, rng: np.random.Generator
) -> Refined:
    """Take Gauss-Newton steps until the residual stops falling.

    Parameters
    ----------
    function : TrainedFunction
        The function and its kernel.
    points : ndarray of shape (N, free)
        Where to start.
    coefficients : ndarray of shape (N,)
        Likewise.
    radius : float
        The size of the points.
    rng : Generator
        For the points where the function is asked.

    Returns
    -------
    Refined
        The best iterate.
    """
    where = samples_around(points, radius, rng)
    if points.size + len(points) > FEW_UNKNOWNS:
        points, coefficients, _ = swept(function, points, coefficients, where, radius, rng)
    values = function.values(where)
    size = max(float(np.linalg.norm(values)), np.finfo(float).tiny)
    best = Refined(points, coefficients, np.inf, 0)
    trial, weights = points, coefficients
    stalled = 0
    for step in range(STEPS + 1):
        kernel = function.kernel(trial, where)
        residual = values - weights @ kernel
        misfit = float(np.linalg.norm(residual)) / size
        if not np.isfinite(misfit):
            break
        stalled = stalled + 1 if misfit > best.misfit / 2 else 0
        if misfit < best.misfit:
            best = Refined(trial, weights, misfit, step)
        # the kernel values of N atoms, each with a few roundings for every coordinate; below that a step changes nothing
        rounding = (
            10 * (points.shape[1] + 10) * EPSILON * float(np.linalg.norm(np.abs(weights) @ np.abs(kernel))) / size
        )
        if step == STEPS or stalled == 2 or misfit < rounding or points.size + len(points) > MOST_UNKNOWNS:
            break
        change, weight_change = _step(function, where, trial, weights, kernel, residual, rng)
        # a point moves by at most half its own norm or radius in one step
        limit = 0.5 * radius / np.maximum(np.linalg.norm(change, axis=1, keepdims=True), 1e-300)
        trial, weights = trial + np.minimum(limit, 1.0) * change, weights + weight_change
    return best


def _step(
    function: TrainedFunction,
    where: Float,
    points: Float,
    weights: Float,
    kernel: Float,
    residual: Float,
    rng: np.random.Generator,
) -> tuple[Float, Float]:
    along_z, along_x = slopes(function, where, points, rng)
    along_z, along_x = weights[:, None] * along_z, weights[:, None] * along_x
    count, free = points.shape
    columns = np.empty((len(where), count * (free + 1)))
    inverses = np.empty((count, free + 1, free + 1))
    for j in range(count):
        own = np.hstack([along_z[j][:, None] * where + np.outer(along_x[j], points[j]), kernel[j][:, None]])
        inverses[j] = _inverse_factor(np.asarray(np.linalg.qr(own, mode="r")))
        columns[:, j * (free + 1) : (j + 1) * (free + 1)] = own @ inverses[j]
    moves = np.matmul(inverses, _least_squares(columns, residual).reshape(count, free + 1, 1))[:, :, 0]
    return moves[:, :free], moves[:, free]


def _least_squares(columns: Float, right: Float) -> Float:
    """Solve by the normal matrix as a preconditioner, and by corrections with the matrix itself."""
    from scipy.linalg import cho_factor, cho_solve

    normal = columns.T @ columns
    # keeps the factorisation of a matrix that is singular to rounding going; corrections take its effect out again
    normal[np.diag_indices_from(normal)] += 1e-13 * len(normal)
    factor = cho_factor(normal, overwrite_a=True, check_finite=False)
    solution = np.zeros(columns.shape[1])
    gradient = columns.T @ right
    direction = np.zeros_like(solution)
    previous = 1.0
    rest = right.copy()
    for _ in range(CORRECTIONS):
        conditioned = cho_solve(factor, gradient, check_finite=False)
        size = float(gradient @ conditioned)
        if not size > 0:
            break
        direction = conditioned + (size / previous) * direction
        image = columns @ direction
        length = size / max(float(image @ image), np.finfo(float).tiny)
        solution, rest = solution + length * direction, rest - length * image
        gradient, previous = columns.T @ rest, size
    return solution


def _inverse_factor(triangular: Float) -> Float:
    """A matrix that makes an atom's columns orthonormal; directions without effect are left out."""
    scale = np.linalg.norm(triangular, axis=0)
    scale = np.where(scale > 0, scale, 1.0)
    _, values, right = np.linalg.svd(triangular / scale)
    # below this the direction is rounding of the differences: a length that a homogeneous kernel does not see
    inverse = np.where(values > 1e-7 * values[0], 1 / np.where(values > 0, values, 1.0), 0.0)
    return (right.T * inverse) / scale[:, None]
