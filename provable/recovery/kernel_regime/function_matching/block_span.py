r"""The space spanned by blocks of the Hessian of a trained function, and the number of training points read off it.

For h(z) = Σ_j α_j k(z, x_j) with k a function of z·x, ‖z‖ and ‖x‖, and for z in a space Z with complement W,

.. math:: W^T \operatorname{Hess} h(z)\, W = \sum_j c_j(z)\, p_j p_j^T + s(z) I, \quad p_j = W^T x_j, \quad
          c_j(z) = \alpha_j k_{tt}(z, x_j) .

Over many z these blocks span the p_j p_jᵀ and the identity if the functions c_j are linearly independent on Z.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from provable.recovery.kernel_regime.function_matching import differences
from provable.recovery.kernel_regime.function_matching.differences import Stencil
from provable.recovery.kernel_regime.function_matching.oracle import Float, TrainedFunction
from provable.recovery.kernel_regime.function_matching.rank_one import packed, unpacked

CLEAR_GAP = 10.0
"""Singular values count as separated from rounding if they fall by this factor."""

NOISE_RANGE = 300.0
"""How far the measured level of noise may be off, either way."""

SMALLEST_COMPLEMENT = 4
"""The least dimension of Z: two halves of dimension 2, on each of which points differ in more than their length."""


@dataclass(frozen=True, eq=False)
class BlockSpan:
    """Blocks of the Hessian and the space that they span.

    Attributes
    ----------
    inside : ndarray of shape (r, free)
        Orthonormal basis of Z.
    outside : ndarray of shape (n, free)
        Orthonormal basis of the complement, W transposed.
    space : ndarray of shape (R, n, n)
        Orthonormal basis of the span of the blocks, the identity included.
    centres : ndarray of shape (p, free)
        Where blocks were taken.
    blocks : ndarray of shape (p, n, n)
        The blocks.
    singular_values : ndarray
        Of the blocks brought to norm 1.
    gap : float
        Ratio of the last singular value that counts to the next.
    noise : float
        The level of singular values that are rounding.
    saturated : bool
        Whether the span was still growing, or nearly filled the symmetric matrices: then R is no number of points.
    stencil : Stencil
        The step of the differences and their error.
    """

    inside: Float
    outside: Float
    space: Float
    centres: Float
    blocks: Float
    singular_values: Float
    gap: float
    noise: float
    saturated: bool
    stencil: Stencil


def deficit_tolerance(span: BlockSpan) -> float:
    """How far, squared, noise may carry a square of the span out of it.

    Parameters
    ----------
    span : BlockSpan
        The span.

    Returns
    -------
    float
        The square of 10 times the rotation noise/σ_R of its weakest direction, at least 1e-8 and at most 1e-4.
    """
    weakest = float(span.singular_values[len(span.space) - 1])
    return float(np.clip((10 * span.noise / weakest) ** 2, 1e-8, 1e-4))


def largest_count(size: int) -> int:
    """The most rank-one matrices for which the search is tried.

    Parameters
    ----------
    size : int
        n.

    Returns
    -------
    int
        Half of n(n - 1)/2, above which the equations for a square in the space have spurious solutions; close to it the
        search needs ever more starts.
    """
    return max(1, (size * (size - 1)) // 4)


def points_in(space: Float, count: int, radius: float, rng: np.random.Generator) -> Float:
    """Draw points of a linear space.

    Parameters
    ----------
    space : ndarray of shape (r, free)
        Orthonormal basis.
    count : int
        How many.
    radius : float
        Their typical norm.
    rng : Generator
        For directions and norms.

    Returns
    -------
    ndarray of shape (count, free)
        Uniform directions, norms within a factor 1.5 of the radius.
    """
    directions = rng.standard_normal((count, len(space)))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    lengths = radius * 1.5 ** rng.uniform(-1, 1, (count, 1))
    return lengths * directions @ space


def span_of_blocks(function: TrainedFunction, radius: float, rng: np.random.Generator) -> BlockSpan:
    """Sample blocks until their span stops growing.

    Parameters
    ----------
    function : TrainedFunction
        With at least 6 free coordinates.
    radius : float
        The size of the points where it is asked.
    rng : Generator
        For the spaces and the points.

    Returns
    -------
    BlockSpan
        The last one tried; it says whether the span is saturated and how clear its dimension is.
    """
    free = function.free
    size = max(2, min(free - SMALLEST_COMPLEMENT, (free + 1) // 2))
    while True:
        span = _span(function, radius, size, rng)
        larger = min(free - SMALLEST_COMPLEMENT, max(size + 1, round(1.4 * size)))
        if not span.saturated or larger <= size:
            return span
        size = larger


def _span(function: TrainedFunction, radius: float, size: int, rng: np.random.Generator) -> BlockSpan:
    rotation, _ = np.linalg.qr(rng.standard_normal((function.free, function.free)))
    outside, inside = rotation[:, :size].T, rotation[:, size:].T
    pilots = points_in(inside, 12, radius, rng)
    lines = points_in(outside, 12, 1.0, rng)
    lines /= np.linalg.norm(lines, axis=1, keepdims=True)
    stencil = differences.choose_step(function, pilots, lines, radius)
    centres, blocks = np.empty((0, function.free)), np.empty((0, size, size))
    most, wanted = largest_count(size), 16
    while True:
        more = points_in(inside, wanted - len(centres), radius, rng)
        centres = np.vstack([centres, more])
        blocks = np.concatenate([blocks, differences.symmetric_blocks(function, more, outside, stencil.step)])
        values, basis, noise = _decompose(blocks, stencil.error)
        dimension, gap = _dimension(values, noise)
        saturated = dimension > most + 1
        spare = len(centres) - dimension
        # a fifth more blocks than dimensions, so that the gap is seen, and enough of them above the noise
        if saturated or spare >= 6 + dimension // 5:
            break
        wanted = 2 * len(centres) if dimension == len(centres) else 6 + dimension + (dimension + 4) // 5
    space = unpacked(basis[:dimension], size)
    return BlockSpan(inside, outside, space, centres, blocks, values, gap, noise, saturated, stencil)


def _decompose(blocks: Float, error: float) -> tuple[Float, Float, float]:
    """Singular values and right singular vectors of the blocks brought to norm 1, and the largest that noise gives."""
    rows = packed(blocks)
    sizes = np.linalg.norm(rows, axis=1)
    scales = 1 / np.where(sizes > 0, sizes, 1.0)
    _, values, basis = np.linalg.svd(rows * scales[:, None], full_matrices=False)
    # the norm of a random matrix with rows of different scales; polarisation adds the errors of three derivatives
    noise = math.sqrt(1.5) * error * (float(np.linalg.norm(scales)) + float(scales.max()) * math.sqrt(rows.shape[1]))
    return values, basis, max(noise, float(values[0]) * np.finfo(float).eps)


def _dimension(values: Float, noise: float) -> tuple[int, float]:
    """The number of singular values above the largest fall to the level of noise; all of them, gap 1, if none falls there."""
    floor = np.maximum(np.append(values, 0.0), noise / NOISE_RANGE)
    if values[0] <= noise:
        return 0, math.inf
    ratios = floor[:-1] / floor[1:]
    landing = np.flatnonzero(values[1:] <= NOISE_RANGE * noise)
    if not len(landing):
        return len(values), 1.0
    best = landing[np.argmax(ratios[landing])]
    return int(best) + 1, float(ratios[best])
