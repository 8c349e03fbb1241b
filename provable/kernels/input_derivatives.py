"""Derivatives of a kernel k(x, z) = f(x·z, ‖x‖², ‖z‖²) with respect to x, and of sums of such kernels."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array, Float
from provable.errors import InputError
from provable.kernels import covariances
from provable.kernels.covariances import Covariance
from provable.kernels.gram_angles import block_of_angles, directions
from provable.kernels.layer_recursion import Recursion
from provable.memory import require_memory

BLOCK = 2**15
"""Pairs of points whose derivatives are held at one time: some arrays of that many numbers stay in the cache."""

PARTIAL_ARRAYS = 40
"""Arrays of the size of the result that all partial derivatives at once may hold, Hermite series apart."""

MANY_PAIRS = 2**12
"""Pairs of points from which on their angles come from products of matrices."""


@dataclass(frozen=True, eq=False)
class Partials:
    """A kernel as a function of t = x·z and r = ‖x‖², with z fixed.

    Attributes
    ----------
    value, t, r, tt, tr, rr : ndarray of shape (n, m)
        k and its partial derivatives.

    Notes
    -----
    The gradient in x is k_t z + 2k_r x and the Hessian k_tt zzᵀ + 2k_tr(zxᵀ + xzᵀ) + 4k_rr xxᵀ + 2k_r I.
    """

    value: Float
    t: Float
    r: Float
    tt: Float
    tr: Float
    rr: Float


def partials(recursion: Recursion, points: Float, centres: Float) -> Partials:
    """Differentiate a kernel by x·z and ‖x‖².

    Parameters
    ----------
    recursion : Recursion
        The kernel.
    points : ndarray of shape (n, d)
        The points x.
    centres : ndarray of shape (m, d)
        The points z.

    Returns
    -------
    Partials
        Up to order two.

    Raises
    ------
    InputError
        If a point x is zero where the kernel is not differentiable.
    UnsupportedError
        If the arrays would not fit into memory; the message says how much they need.
    """
    _require_differentiable(recursion, points)
    shape = (len(points), len(centres))
    require_memory(f"an array of partial derivatives of shape {shape}", 8 * PARTIAL_ARRAYS * shape[0] * shape[1])
    return Partials(*recursion.expansion(covariances.of_inputs(points, centres), 2).numbers)


def gradient(recursion: Recursion, points: Float, centres: Float, coefficients: Any) -> Float:
    """Gradients of Σ_j α_j k(x, z_j) by x, without the array of all pairs' gradients.

    Parameters
    ----------
    recursion : Recursion
        The kernel.
    points : ndarray of shape (n, d)
        The points x.
    centres : ndarray of shape (m, d)
        The points z_j.
    coefficients : array_like of shape (m,) or (n, m)
        α_j, or a row of them for every point.

    Returns
    -------
    ndarray of shape (n, d)
        The gradients.

    Raises
    ------
    InputError
        If the coefficients do not fit or a point x is zero where the kernel is not differentiable.
    """
    weights = _weights(coefficients, points, centres)
    _require_differentiable(recursion, points)
    result = np.empty(points.shape)
    for rows, inputs in _blocks(points, centres):
        _, t, r = recursion.expansion(inputs, 1).numbers
        here = weights[rows]
        result[rows] = (here * t) @ centres + 2 * (here * r).sum(axis=1)[:, None] * points[rows]
    return result


def hessian(
    recursion: Recursion, points: Float, centres: Float, coefficients: Any, directions: Any | None = None
) -> Float:
    """Hessians of Σ_j α_j k(x, z_j) by x.

    Parameters
    ----------
    recursion : Recursion
        The kernel.
    points : ndarray of shape (n, d)
        The points x.
    centres : ndarray of shape (m, d)
        The points z_j.
    coefficients : array_like of shape (m,) or (n, m)
        α_j, or a row of them for every point.
    directions : array_like of shape (d, w), optional
        Columns W; default all of space.

    Returns
    -------
    ndarray of shape (n, w, w)
        Wᵀ(Hessian)W at every point.

    Raises
    ------
    InputError
        If the coefficients or directions do not fit or a point x is zero where the kernel is not differentiable.
    """
    weights = _weights(coefficients, points, centres)
    _require_differentiable(recursion, points)
    frame = np.eye(points.shape[1]) if directions is None else np.asarray(directions, dtype=np.float64)
    if frame.ndim != 2 or len(frame) != points.shape[1] or not np.isfinite(frame).all():
        raise InputError(
            f"directions: found shape {frame.shape}; finite numbers of shape ({points.shape[1]}, w) are accepted"
        )
    metric, seen, own = frame.T @ frame, centres @ frame, points @ frame
    result = np.empty((len(points), frame.shape[1], frame.shape[1]))
    for rows, inputs in _blocks(points, centres):
        numbers = recursion.expansion(inputs, 2).numbers * weights[rows]
        _, _, r, tt, tr, rr = numbers
        sides = 2 * (tr @ seen)[:, :, None] * own[rows][:, None, :]
        result[rows] = np.matmul(seen.T[None] * tt[:, None, :], seen) + sides + sides.transpose(0, 2, 1)
        result[rows] += 4 * rr.sum(axis=1)[:, None, None] * own[rows][:, :, None] * own[rows][:, None, :]
        result[rows] += 2 * r.sum(axis=1)[:, None, None] * metric
    return result


def _weights(coefficients: Any, points: Float, centres: Float) -> Float:
    weights = np.asarray(coefficients, dtype=np.float64)
    shape = (len(points), len(centres))
    if weights.shape not in (shape, shape[1:]) or not np.isfinite(weights).all():
        raise InputError(
            f"coefficients: found shape {weights.shape}; finite numbers of shape {shape[1:]} or {shape} are accepted"
        )
    return np.broadcast_to(weights, shape)


def _require_differentiable(recursion: Recursion, points: Array) -> None:
    if arithmetic.kind(points) != "float64":
        raise InputError(f"X: found {arithmetic.kind(points)} numbers; derivatives are available for float64")
    zeros = np.flatnonzero(~points.any(axis=1))
    smooth = recursion.depth == 0 or recursion.bias_variance > 0 or recursion.dual.differentiable_at_zero
    if zeros.size and not smooth:
        raise InputError(
            f"X: found a zero vector at index {zeros[0]}; nonzero points are accepted, because this kernel has a kink at zero"
        )


def _blocks(points: Float, centres: Float) -> Iterator[tuple[slice, Covariance]]:
    """Inner products of all pairs, by rows: few pairs by differences of the points, many by products of matrices."""
    shape = (len(points), len(centres))
    if 0 in shape or shape[0] * shape[1] < MANY_PAIRS:
        yield slice(0, shape[0]), covariances.of_inputs(points, centres)
        return
    left, right = directions(points, centres)
    step = max(1, BLOCK // shape[1])
    for start in range(0, shape[0], step):
        rows, columns = slice(start, min(start + step, shape[0])), slice(0, shape[1])
        near, far = np.empty((2, rows.stop - start, shape[1]))
        angles = block_of_angles(left, right, rows, columns, near, far)
        same = np.zeros(near.shape, dtype=np.bool_)
        same[angles.same] = True
        yield rows, Covariance(left.squares[rows], right.squares, 2 * angles.near, 2 * angles.far, same)
