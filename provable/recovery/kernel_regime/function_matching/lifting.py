r"""From the projections of the training points to the points: missing coordinates, coefficients, signs and scales.

The projections p_j = Wᵀx_j are known up to factors. With Z split into Z₁ and Z₂, the block of the Hessian at z in Z₁ between
Z₂ and W is :math:`\sum_j c_j(z)\, q_j p_j^T`, q_j = Z₂ᵀx_j, without any other term: with the c_j(z) from the block on W a
linear system for the q_j. So x_j = λ_j y_j with y_j known. The function c_j(z) = α_j λ_j² k_tt(z, λ_j y_j) on Z gives α_j
and λ_j where the kernel is neither homogeneous nor even in it.
"""

from __future__ import annotations

import math

import numpy as np

from provable.recovery.kernel_regime.function_matching import differences
from provable.recovery.kernel_regime.function_matching.block_span import BlockSpan, points_in
from provable.recovery.kernel_regime.function_matching.oracle import Float, TrainedFunction
from provable.recovery.kernel_regime.function_matching.rank_one import packed, squares

SCALES = 33
"""Lengths tried for each point, in a geometric series."""

WIDEST_SCALE = 32.0
"""Lengths are tried up to this multiple of the radius, and down to its inverse."""

SAME_FIT = 1e-3
"""Two signs count as told apart if their misfits differ by this fraction of the function that is fitted, at least."""


def weights_of(blocks: Float, directions: Float) -> Float:
    """Write blocks as Σ_j c_j p_j p_jᵀ + s I.

    Parameters
    ----------
    blocks : ndarray of shape (p, n, n)
        Symmetric matrices.
    directions : ndarray of shape (N, n)
        The p_j.

    Returns
    -------
    ndarray of shape (p, N)
        The c_j, by least squares.
    """
    design = np.vstack([squares(directions), packed(np.eye(directions.shape[1])[None])])
    solution, *_ = np.linalg.lstsq(design.T, packed(blocks).T, rcond=None)
    return np.array(solution[:-1].T, dtype=np.float64)


def lifted(
    function: TrainedFunction, span: BlockSpan, directions: Float, radius: float, rng: np.random.Generator
) -> Float:
    """Find the coordinates on Z of the points with given directions of their projections.

    Parameters
    ----------
    function : TrainedFunction
        The function.
    span : BlockSpan
        Its spaces Z and W and its step.
    directions : ndarray of shape (N, n)
        Unit vectors p_j/‖p_j‖, either sign.
    radius : float
        The size of the points where the function is asked.
    rng : Generator
        For those points.

    Returns
    -------
    ndarray of shape (N, free)
        y_j = x_j/λ_j, with the given projection.
    """
    half = len(span.inside) // 2
    count, size = directions.shape
    result: Float = directions @ span.outside
    for own, other in ((span.inside[:half], span.inside[half:]), (span.inside[half:], span.inside[:half])):
        centres = points_in(own, 4 + math.ceil(2 * count / size), radius, rng)
        step = span.stencil.step
        weights = weights_of(differences.symmetric_blocks(function, centres, span.outside, step), directions)
        mixed = differences.mixed_blocks(function, centres, other, span.outside, step)
        sizes = np.linalg.norm(weights, axis=1)
        sizes = np.where(sizes > 0, sizes, 1.0)
        design = ((weights / sizes[:, None])[:, None, :] * directions.T[None]).reshape(-1, count)
        right = (mixed / sizes[:, None, None]).transpose(0, 2, 1).reshape(-1, len(other))
        coordinates, *_ = np.linalg.lstsq(design, right, rcond=None)
        result = result + coordinates @ other
    return result


def second_kernel_derivative(
    function: TrainedFunction, centres: Float, points: Float, direction: Float, across: Float, step: float
) -> Float:
    """The part k_tt (v·x)² of the second derivative of the kernel, for v and v' orthogonal to z and v' to x.

    Parameters
    ----------
    function : TrainedFunction
        Gives the kernel.
    centres : ndarray of shape (p, free)
        The z.
    points : ndarray of shape (m, free)
        The x.
    direction, across : ndarray of shape (free,)
        Unit vectors v and v'.
    step : float
        Of the differences.

    Returns
    -------
    ndarray of shape (m, p)
        D²_v k - D²_{v'} k.
    """
    weights = differences.second_weights(differences.HALF_WIDTH) / step**2
    steps = step * np.arange(1, len(weights) + 1)[:, None]
    shifts = np.vstack([steps * direction, -steps * direction, steps * across, -steps * across])
    # one call for all shifts: kernels may loop over the points on the left
    values = function.kernel(points, (centres + shifts[:, None]).reshape(-1, centres.shape[1]))
    signed = np.concatenate([weights, weights, -weights, -weights])
    difference: Float = np.einsum("s,msp->mp", signed, values.reshape(len(points), len(shifts), len(centres)))
    return difference


def scaled(
    function: TrainedFunction, span: BlockSpan, directions: Float, lifts: Float, radius: float
) -> tuple[Float, Float, np.ndarray[tuple[int], np.dtype[np.bool_]], bool]:
    """Find lengths, signs and coefficients from the c_j as functions of z.

    Parameters
    ----------
    function : TrainedFunction
        Gives the kernel.
    span : BlockSpan
        The blocks.
    directions : ndarray of shape (N, n)
        Unit vectors p_j/‖p_j‖.
    lifts : ndarray of shape (N, free)
        The y_j with these projections.
    radius : float
        The size of the points.

    Returns
    -------
    points : ndarray of shape (N, free)
        λ_j y_j; unit vectors if the kernel is homogeneous.
    coefficients : ndarray of shape (N,)
        The α_j.
    undecided : ndarray of bool, shape (N,)
        Where both signs fit equally well.
    homogeneous : bool
        Whether lengths cannot be told from coefficients.
    """
    weights = weights_of(span.blocks, directions)
    chosen = np.argsort(np.linalg.norm(weights, axis=1))[::-1][: min(40, len(weights))]
    centres, weights = span.centres[chosen], weights[chosen].T
    lengths = np.linalg.norm(lifts, axis=1)
    homogeneous = homogeneity(function, span.centres, lifts)
    start = radius * WIDEST_SCALE ** np.linspace(-1, 1, SCALES)
    points, coefficients = np.empty_like(lifts), np.empty(len(lifts))
    undecided = np.zeros(len(lifts), dtype=np.bool_)
    for j, (line, lift) in enumerate(zip(directions, lifts, strict=True)):
        direction = line @ span.outside
        other = span.outside[np.argmin(np.abs(line))]
        across = other - (other @ direction) * direction
        across /= np.linalg.norm(across)
        best: list[tuple[float, float, float]] = []
        for sign in (1.0, -1.0):
            grid = np.array([1.0]) if homogeneous else start
            for zoom in range(1 if homogeneous else 8):
                candidates = sign * grid[:, None] * lift / lengths[j]
                shapes = second_kernel_derivative(function, centres, candidates, direction, across, span.stencil.step)
                alphas, misfits = _fitted(shapes, weights[j])
                at = int(np.argmin(misfits))
                if not homogeneous:
                    ratio = WIDEST_SCALE ** (2 / (SCALES - 1) / 3**zoom)
                    low, high = grid[at] / ratio, grid[at] * ratio
                    chosen_length = grid[at]
                    grid = np.geomspace(low, high, 7)
                else:
                    chosen_length = 1.0
            best.append((float(misfits[at]), sign * float(chosen_length), float(alphas[at])))
        (misfit, length, alpha), (worse, *_) = sorted(best)
        undecided[j] = worse - misfit < SAME_FIT
        points[j], coefficients[j] = length * lift / lengths[j], alpha
    return points, coefficients, undecided, homogeneous


def signed(
    function: TrainedFunction,
    points: Float,
    coefficients: Float,
    undecided: np.ndarray[tuple[int], np.dtype[np.bool_]],
    where: Float,
) -> tuple[Float, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """Choose the signs that second derivatives leave open by the values of the function, where that is a linear problem.

    Parameters
    ----------
    function : TrainedFunction
        The function and its kernel.
    points : ndarray of shape (N, free)
        Points with either sign where undecided.
    coefficients : ndarray of shape (N,)
        Their coefficients.
    undecided : ndarray of bool, shape (N,)
        Where the sign is open.
    where : ndarray of shape (S, free)
        Points at which values are compared.

    Returns
    -------
    points : ndarray of shape (N, free)
        Points with their signs.
    undecided : ndarray of bool, shape (N,)
        Where the sign is still a guess.

    Notes
    -----
    With e and o the even and odd part of k(z, ·), h - Σ α_j e(z, x_j) = Σ_j s_j α_j o(z, x_j) with s_j = ±1. For one hidden
    ReLU layer o is linear in x, and the s_j are determined as real numbers if the undecided points are independent.
    """
    plus, minus = function.kernel(points, where), function.kernel(-points, where)
    even, odd = coefficients[:, None] * (plus + minus) / 2, coefficients[:, None] * (plus - minus) / 2
    rest = function.values(where) - even.sum(axis=0) - odd[~undecided].sum(axis=0)
    design = odd[undecided].T
    signs, _, rank, _ = np.linalg.lstsq(design, rest, rcond=1e-8)
    # rounding to ±1 is safe below a half; a quarter leaves room for what the points' own errors add
    certain = (np.abs(np.abs(signs) - 1) < 0.25) & (rank == design.shape[1])
    points, undecided = points.copy(), undecided.copy()
    chosen = np.flatnonzero(undecided)
    points[chosen[signs < 0]] *= -1
    undecided[chosen[certain]] = False
    return points, undecided


def _fitted(shapes: Float, target: Float) -> tuple[Float, Float]:
    """Best factors of given functions for a target, and relative misfits."""
    squared = np.einsum("lp,lp->l", shapes, shapes)
    factors = (shapes @ target) / np.where(squared > 0, squared, 1.0)
    misfits = np.linalg.norm(factors[:, None] * shapes - target, axis=1) / max(float(np.linalg.norm(target)), 1e-300)
    return factors, misfits


def homogeneity(function: TrainedFunction, centres: Float, points: Float) -> bool:
    """Tell whether k(z, tx) = t k(z, x) for t > 0, at the points themselves.

    Parameters
    ----------
    function : TrainedFunction
        Gives the kernel.
    centres : ndarray of shape (p, free)
        The z.
    points : ndarray of shape (m, free)
        The x.

    Returns
    -------
    bool
        True if it holds for t = 2 up to rounding.
    """
    once, twice = function.kernel(points, centres), function.kernel(2 * points, centres)
    size = float(np.abs(twice).max(initial=0.0))
    # of two kernel values, each with an error of a small multiple of the dimension
    return bool(np.abs(twice - 2 * once).max(initial=0.0) <= 30 * (10 + points.shape[1]) * 2.0**-52 * size)
