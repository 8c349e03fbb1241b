r"""Smallest eigenvalues of large symmetric matrices, dense or banded, proved by an elimination of rounded blocks.

For A = [[P, Qᵀ], [Q, S]] and any X, with T = [[I, X], [0, I]] and C = S - XᵀPX,

.. math:: A = T^\top \begin{pmatrix} P & 0 \\ 0 & C \end{pmatrix} T
            + \begin{pmatrix} 0 & E^\top \\ E & 0 \end{pmatrix}, \qquad E = Q - X^\top P.

So if P is positive definite, C' is a symmetric matrix with ‖C - C'‖ ≤ ε₁, ‖E‖ ≤ ε₂ and C' + ε₃I is positive definite,
then so is A + (ε₁ + ε₂ + ε₃)I. Taking X and C' as the rounded midpoints of P⁻¹Qᵀ and C keeps the radii of the balls
from multiplying along the chain of blocks; the ε add up, and their sum is taken off the proved eigenvalue.
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

_SLACK = 2.0**-30
"""Part of the eigenvalue that the roundings may take."""


def banded_lower_eigenvalue(layer: AffineLayer, lowest: Balls, estimate: float) -> float:
    """Prove a lower bound of the smallest eigenvalue of WᵀL²W for a convolution W.

    Parameters
    ----------
    layer : AffineLayer
        W.
    lowest : ndarray of arb (output channels, positions)
        The diagonal of L.
    estimate : float
        A guess of the eigenvalue.

    Returns
    -------
    float
        A lower bound, a little below the estimate; 0 if no trial succeeded.
    """
    return _by_trial(_bands(layer, lowest), estimate)


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
    return _by_trial([array[start:, start : start + _WIDTH] for start in range(0, len(array), _WIDTH)], estimate)


def _by_trial(bands: list[Balls], estimate: float) -> float:
    for slack in (2.0**-10, 2.0**-4, 0.5):
        shift = estimate * (1 - slack)
        if shift > 0 and _exceeds(bands, shift):
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
    return bands


def _exceeds(bands: list[Balls], shift: float) -> bool:
    """Whether λ_min > shift·(1 - _SLACK) is proved, by block elimination from the first columns on."""
    level, allowed, spent = ball(shift), ball(shift * _SLACK), flint.arb(0)
    front = zeros(0, 0)
    for band in bands:
        block = band.shape[1]
        size = max(len(band), len(front))
        grown = zeros(size, size)
        grown[: len(front), : len(front)] = front
        grown[: len(band), :block] = grown[: len(band), :block] + band
        diagonal = np.arange(block)
        grown[diagonal, diagonal] = grown[diagonal, diagonal] - level
        front = grown
        for start in range(0, block, _WIDTH):
            width = min(_WIDTH, block - start)
            step = _eliminated(front, width)
            if step is None:
                return False
            front, lost = step
            spent += lost
    return bool(spent <= allowed)


def _eliminated(front: Balls, width: int) -> tuple[Balls, Ball] | None:
    """What is left after the first columns, rounded, and a bound of ε₁ + ε₂; None if they are not positive definite."""
    pivot = matrix_of(_mirrored(front[:width, :width]))
    if is_positive_definite(pivot) is not True:
        return None
    if len(front) == width:
        return zeros(0, 0), flint.arb(0)
    right = matrix_of(front[width:, :width]).transpose()
    try:
        solution = pivot.solve(right).mid()
    except ZeroDivisionError:
        return None
    product = pivot * solution
    complement = matrix_of(_mirrored(front[width:, width:])) - solution.transpose() * product
    rounded = complement.mid()
    sums = (complement - rounded) * flint.arb_mat([[1]] * complement.ncols())  # of radii, since midpoints vanish
    lost = max(entry.abs_upper() for entry in sums.entries()) + frobenius_upper(right - product)
    return balls_of(rounded), lost.abs_upper()


def _mirrored(square: Balls) -> Balls:
    lower: Float = np.tri(len(square), dtype=bool)
    return np.where(lower, square, square.T)
