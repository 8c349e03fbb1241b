r"""Smallest eigenvalues of large symmetric matrices, dense or banded, with or without a border, by rounded elimination.

For A = [[P, Qᵀ], [Q, S]] and any X, with T = [[I, X], [0, I]] and C = S - XᵀPX,

.. math:: A = T^\top \begin{pmatrix} P & 0 \\ 0 & C \end{pmatrix} T
            + \begin{pmatrix} 0 & E^\top \\ E & 0 \end{pmatrix}, \qquad E = Q - X^\top P.

T leaves right lower blocks as they are, so replacing C by a rounded C' changes A by C - C' in that block, and nothing
more. In the end A = T'ᵀ diag(pivots) T' + R with ‖R‖ at most the sum ε of all ‖E‖ and ‖C - C'‖. Taking X and C' as
the rounded midpoints of P⁻¹Qᵀ and C keeps the radii of the balls from multiplying along the chain of blocks.

If the pivots of A - s are positive, λ_min(A) ≥ s - ε. For A + BᵀB with few rows B, let M = [[A - s, Bᵀ], [B, -I]]
(Haynsworth: its inertia is that of A - s + BᵀB and of -I together). If as many pivots of M are negative as B has
rows, M + ε has at least n positive eigenvalues, whence A - s + ε + BᵀB/(1 - ε) is positive definite.
"""

from __future__ import annotations

import flint
import numpy as np

from provable.arithmetic import Float
from provable.rigor.balls import Ball, BallMatrix, ball, frobenius_upper
from provable.rigor.layer_balls import AffineLayer, Balls, balls_of, matrix_of, zeros
from provable.rigor.positive_definite import is_positive_definite

_WIDTH = 64
"""Columns that are eliminated at once."""

_CORNER_WIDTH = 32
"""The same in a border's corner."""

_SLACK = 2.0**-30
"""Part of the eigenvalue that the roundings may take."""


def banded_lower_eigenvalue(layer: AffineLayer, lowest: Balls, estimate: float, border: Balls | None = None) -> float:
    """Prove a lower bound of the smallest eigenvalue of WᵀL²W, or of WᵀL²W + (1 + 2⁻²⁹)BᵀB, on the pixels that W sees.

    Parameters
    ----------
    layer : AffineLayer
        W.
    lowest : ndarray of arb (output channels, positions)
        The diagonal of L.
    estimate : float
        A guess of the eigenvalue.
    border : ndarray of arb (rows, channels, pixels), optional
        B.

    Returns
    -------
    float
        A lower bound, a little below the estimate; 0 if no trial succeeded.
    """
    side: Balls | None = None
    if border is not None:
        # the same order of unknowns as in the bands: by row, channel, column
        images = border.reshape(len(border), layer.channels, -1, layer.columns)
        side = images.transpose(0, 2, 1, 3).reshape(len(border), -1)
    return _by_trial(_bands(layer, lowest), side, estimate)


def dense_lower_eigenvalue(matrix: BallMatrix, estimate: float) -> float:
    """Prove a lower bound of the smallest eigenvalue of a symmetric matrix.

    Parameters
    ----------
    matrix : arb_mat
        The matrix; its lower triangle is read.
    estimate : float
        A guess of the eigenvalue.

    Returns
    -------
    float
        A lower bound, a little below the estimate; 0 if no trial succeeded.
    """
    array = balls_of(matrix)
    bands = [array[start:, start : start + _WIDTH] for start in range(0, len(array), _WIDTH)]
    return _by_trial(bands, None, estimate)


def _by_trial(bands: list[Balls], border: Balls | None, estimate: float) -> float:
    for slack in (2.0**-10, 2.0**-4, 0.5):
        shift = estimate * (1 - slack)
        if shift > 0 and _exceeds(bands, border, shift):
            return shift * (1 - 2 * _SLACK)
    return 0.0


def _bands(layer: AffineLayer, lowest: Balls) -> list[Balls]:
    """The columns from the diagonal on downwards, one array per image row; unknowns are ordered by row, channel, column."""
    lags, columns, channels = len(layer.windows), layer.columns, layer.channels
    rows = layer.pixels // columns
    block = channels * columns
    inside = layer.windows < layer.pixels
    reach = np.arange(rows)
    for kept, seen in zip(inside.T, layer.windows.T // columns, strict=True):
        if kept.any():
            first, last = seen[kept].min(), seen[kept].max()
            reach[first : last + 1] = np.maximum(reach[first : last + 1], last)
    bands = [zeros((int(last) - row + 1) * block, block) for row, last in enumerate(reach)]
    weight = balls_of(flint.arb_mat(layer.weight.tolist()))
    turned = matrix_of(weight).transpose()
    squared = lowest * lowest
    offset = np.arange(channels)[:, None] * columns
    for position in range(layer.windows.shape[1]):
        kept = inside[:, position]
        pixel = layer.windows[kept, position]
        product = balls_of(turned * matrix_of(squared[:, position, None] * weight))
        size = channels * pixel.size
        product = product.reshape(channels, lags, channels, lags)[:, kept][:, :, :, kept].reshape(size, size)
        row = np.broadcast_to(pixel // columns, (channels, pixel.size)).ravel()
        place = (offset + pixel % columns).ravel()
        for value in np.unique(row):
            chosen, below = np.flatnonzero(row == value), np.flatnonzero(row >= value)
            target = np.ix_((row[below] - value) * block + place[below], place[chosen])
            bands[value][target] = bands[value][target] + product[np.ix_(below, chosen)]
    largest = max((entry for band in bands for entry in np.diag(band[:block]).tolist()), key=float)
    for pixel in layer.unseen.tolist():
        place = offset[:, 0] + pixel % columns
        bands[pixel // columns][place, place] = largest
    return bands


def _exceeds(bands: list[Balls], border: Balls | None, shift: float) -> bool:
    """Whether λ_min > shift·(1 - _SLACK) is proved, by block elimination from the first columns on."""
    level, spent, negative = ball(shift), flint.arb(0), 0
    rows = 0 if border is None else len(border)
    # what is left of the columns that were reached: square, and below it the border; the border's corner apart
    front, corner = zeros(rows, 0), flint.arb_mat(np.diag(np.full(rows, -1.0)).tolist()) if rows else None
    begin = 0
    for band in bands:
        block = band.shape[1]
        size = max(len(band), front.shape[1])
        grown, old = zeros(size + rows, size), front.shape[1]
        grown[:old, :old], grown[size:, :old] = front[:old], front[old:]
        if border is not None:
            grown[size:, old:] = border[:, begin + old : begin + size]
        grown[: len(band), :block] = grown[: len(band), :block] + band
        diagonal = np.arange(block)
        grown[diagonal, diagonal] = grown[diagonal, diagonal] - level
        front = grown
        for start in range(0, block, _WIDTH):
            width = min(_WIDTH, block - start)
            step = _eliminated(front, corner, width)
            if step is None or (border is None and step[3]):
                return False
            front, corner, lost, count = step
            spent, negative = spent + lost, negative + count
        begin += block
    if corner is not None:
        # the lower triangle is what the elimination goes on with, and the radii above it differ by roundings
        corner = matrix_of(_mirrored(balls_of(corner)))
        rest = balls_of(corner.mid())
        spent = spent + frobenius_upper(corner - corner.mid())
        while len(rest):
            step = _eliminated(rest, flint.arb_mat(0, 0), min(_CORNER_WIDTH, len(rest)))
            if step is None:
                return False
            rest, _, lost, count = step
            spent, negative = spent + lost, negative + count
        if negative != rows:
            return False
    return bool(spent <= ball(shift * _SLACK) and spent <= ball(_SLACK))


def _eliminated(
    front: Balls, corner: BallMatrix | None, width: int
) -> tuple[Balls, BallMatrix | None, Ball, int] | None:
    """What is left after the first columns, rounded, the corner, a bound of what was lost, and the negative pivots."""
    pivot = matrix_of(_mirrored(front[:width, :width]))
    negative: int | None = 0
    if corner is None:
        if is_positive_definite(pivot) is not True:
            return None
    else:
        negative = _negative_pivots(balls_of(pivot))
    if negative is None:
        return None
    if len(front) == width:
        return zeros(0, 0), corner, flint.arb(0), negative
    right = matrix_of(front[width:, :width]).transpose()
    try:
        solution = pivot.solve(right).mid()
    except ZeroDivisionError:
        return None
    product = pivot * solution
    lost = frobenius_upper(right - product)
    left = front.shape[1] - width
    whole = balls_of(solution).T
    if corner is not None and len(front) > front.shape[1]:
        corner = corner - matrix_of(whole[left:]) * matrix_of(balls_of(product)[:, left:])
    if not left:
        return zeros(len(front) - width, 0), corner, lost.abs_upper(), negative
    rest = front[width:, width:].copy()
    rest[:left] = _mirrored(rest[:left])
    complement = matrix_of(rest) - solution.transpose() * matrix_of(balls_of(product)[:, :left])
    rounded = complement.mid()
    # midpoints vanish, so sums of entries are sums of radii; the norm is at most that of all of them
    sums = (complement - rounded) * flint.arb_mat([[1]] * complement.ncols())
    lost += 2 * sum((entry.abs_upper() for entry in sums.entries()), flint.arb(0))
    return balls_of(rounded), corner, lost.abs_upper(), negative


def _negative_pivots(square: Balls) -> int | None:
    """Number of negative pivots, which is that of negative eigenvalues; None if the sign of one is not known."""
    work, count = square.copy(), 0
    for k in range(len(work)):
        pivot = work[k, k]
        if not (pivot > 0 or pivot < 0):
            return None
        count += pivot < 0
        column = work[k + 1 :, k]
        work[k + 1 :, k + 1 :] = work[k + 1 :, k + 1 :] - np.outer(column / pivot, column)
    return count


def _mirrored(square: Balls) -> Balls:
    lower: Float = np.tri(len(square), dtype=bool)
    return np.where(lower, square, square.T)
