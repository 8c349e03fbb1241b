"""Elimination of the forward equations one image row at a time, modulo 2⁶¹ - 1.

The rows of W that belong to one output row touch only as many image rows as the kernel is high. So W is eliminated by
a front that moves down the image: it holds the equations that still touch image rows ahead, adds those of the next
output row, and eliminates the image rows that no later output row sees, or all of its rows once they are determined
completely: then later equations simply lose the entries that belong to them. Each column of W thus becomes a pivot column
or a free one, and the gradient equations K, with all pivot columns cleared, have rank U - rank W on the free columns.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import flint
import numpy as np

from provable.leakage.layer_systems import residues
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.residues import Residues
from provable.rigor.modular_rank import PRIME


@dataclasses.dataclass(frozen=True)
class Step:
    """What one step of the front leaves behind.

    Parameters
    ----------
    first, last : int
        The front holds the image rows ``first`` to ``last - 1``.
    eliminated : int
        How many columns of the front were eliminated, counted from the left.
    pivots : tuple of int
        Which of those are pivot columns.
    equations : flint.nmod_mat of shape (len(pivots), columns of the front)
        The pivot rows, with an identity in the pivot columns.
    """

    first: int
    last: int
    eliminated: int
    pivots: tuple[int, ...]
    equations: flint.nmod_mat


def _selection(rows: int, columns: int, pairs: Iterator[tuple[int, int]]) -> flint.nmod_mat:
    chosen = flint.nmod_mat(rows, columns, PRIME)
    for row, column in pairs:
        chosen[row, column] = 1
    return chosen


def _rows(matrix: flint.nmod_mat, first: int, last: int) -> flint.nmod_mat:
    pairs = zip(range(last - first), range(first, last), strict=True)
    return _selection(last - first, matrix.nrows(), pairs) * matrix


def _columns(matrix: flint.nmod_mat, chosen: list[int] | range) -> flint.nmod_mat:
    pairs = zip(chosen, range(len(chosen)), strict=True)
    return matrix * _selection(matrix.ncols(), len(chosen), pairs)


def _widened(matrix: flint.nmod_mat, columns: int) -> flint.nmod_mat:
    width = matrix.ncols()
    return matrix * _selection(width, columns, zip(range(width), range(width), strict=True))


def _stacked(upper: flint.nmod_mat, lower: flint.nmod_mat) -> flint.nmod_mat:
    rows = upper.nrows() + lower.nrows()
    above = zip(range(upper.nrows()), range(upper.nrows()), strict=True)
    below = zip(range(upper.nrows(), rows), range(lower.nrows()), strict=True)
    return _selection(rows, upper.nrows(), above) * upper + _selection(rows, lower.nrows(), below) * lower


def work(system: LayerSystem) -> int:
    """Estimate the elimination of W.

    Parameters
    ----------
    system : LayerSystem
        The layer system.

    Returns
    -------
    int
        Multiplications, to within a small factor.
    """
    vertical, horizontal = system.axes
    width = vertical.lags * system.in_channels * horizontal.pixels
    rows = system.out_channels * horizontal.positions + width
    return vertical.positions * rows * width * (2 * rows + width)


def gradient_work(system: LayerSystem, steps: list[Step]) -> int:
    """Estimate `rank_with_gradient`.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    steps : list of Step
        The elimination of W.

    Returns
    -------
    int
        Multiplications, to within a small factor.
    """
    widths = [step.equations.ncols() for step in steps]
    free = system.unknowns - system.batch_size * sum(len(step.pivots) for step in steps)
    equations = system.gradient_equations
    cleared = 3 * system.batch_size * sum(width**2 for width in widths)
    return equations * (cleared + residues.CONVERSION * system.unknowns + 2 * free**2)


def eliminate(system: LayerSystem, weight: Residues) -> list[Step]:
    """Eliminate W, of one sample.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    weight : ndarray of uint64, shape (out_channels, in_channels, kernel height, kernel width)
        Residues modulo 2⁶¹ - 1.

    Returns
    -------
    list of Step
        One per output row; the numbers of pivots add up to the rank of W.
    """
    vertical, horizontal = system.axes
    width = system.in_channels * horizontal.pixels
    slices = _kernel_rows(system, weight)
    known: dict[tuple[int, int, int], flint.nmod_mat] = {}
    steps: list[Step] = []
    first = 0
    waiting = flint.nmod_mat(0, 0, PRIME)
    for position in range(vertical.positions):
        top = vertical.stride * position - vertical.padding
        last = max(first, min(vertical.pixels, top + vertical.lags))
        shape = (top - first, last - first, int(top < 0))
        if shape not in known:
            table = np.zeros((system.out_channels * horizontal.positions, last - first, width), dtype=np.uint64)
            for lag in range(vertical.lags):
                if first <= top + lag < last:
                    table[:, top + lag - first] = slices[lag]
            known[shape] = residues.matrix(table.reshape(len(table), -1))
        front, rank = _stacked(_widened(waiting, (last - first) * width), known[shape]).rref()
        following = vertical.stride * (position + 1) - vertical.padding
        settled = rank == front.ncols() or position + 1 == vertical.positions
        done = last if settled else min(last, max(first, following))
        eliminated = (done - first) * width
        pivots = _pivots(front, rank, eliminated)
        steps.append(Step(first, last, eliminated, pivots, _rows(front, 0, len(pivots))))
        waiting = _columns(_rows(front, len(pivots), rank), range(eliminated, front.ncols()))
        first = done
    return steps


def _kernel_rows(system: LayerSystem, weight: Residues) -> list[Residues]:
    """Per row of the kernel, the map from one image row (all channels) to one output row (all channels)."""
    horizontal = system.axes[1]
    slices = []
    for row in range(system.kernel_size[0]):
        table = np.zeros(
            (system.out_channels, horizontal.positions, system.in_channels, horizontal.pixels), dtype=np.uint64
        )
        for column in range(system.kernel_size[1]):
            positions, pixels = horizontal.touched(column)
            table[:, positions, :, pixels] = weight[None, :, :, row, column]
        slices.append(table.reshape(system.out_channels * horizontal.positions, -1))
    return slices


def _pivots(reduced: flint.nmod_mat, rank: int, columns: int) -> tuple[int, ...]:
    pivots: list[int] = []
    column = 0
    for row in range(rank):
        while column < columns and not int(reduced[row, column]):
            column += 1
        if column == columns:
            break
        pivots.append(column)
        column += 1
    return tuple(pivots)


def rank_with_gradient(system: LayerSystem, steps: list[Step], sensitivity: Residues) -> int:
    """Rank of U, once W is eliminated.

    Parameters
    ----------
    system : LayerSystem
        The layer system.
    steps : list of Step
        The elimination of W.
    sensitivity : ndarray of uint64, shape ``system.sensitivity_shape``
        Residues modulo 2⁶¹ - 1.

    Returns
    -------
    int
        The rank of U = [W; K] modulo 2⁶¹ - 1.
    """
    channels, (height, breadth) = system.in_channels, system.input_size
    lags = len(system.lags())
    block = system.gradient_block(sensitivity).reshape(system.out_channels * lags, system.batch_size, height, breadth)
    open_columns: list[flint.nmod_mat] = []
    for sample in range(system.batch_size):
        open_columns += _cleared(steps, block[:, sample], channels)
    rank = system.batch_size * sum(len(step.pivots) for step in steps)
    if not open_columns:
        return rank
    stacked = open_columns[0]
    for part in open_columns[1:]:
        stacked = _stacked(stacked, part)
    return rank + int(stacked.rank())


def _cleared(steps: list[Step], block: Residues, channels: int) -> list[flint.nmod_mat]:
    """Columns of K that belong to free unknowns of one sample, transposed, once its pivot columns are cleared."""
    equations, breadth = channels * len(block), block.shape[2]
    open_columns: list[flint.nmod_mat] = []
    front = flint.nmod_mat(equations, 0, PRIME)
    reached = 0
    for step in steps:
        added = np.zeros((channels, len(block), max(step.last - reached, 0), channels, breadth), dtype=np.uint64)
        for channel in range(channels):
            added[channel, :, :, channel] = block[:, reached : step.last]
        held = front.ncols()
        fresh = residues.matrix(added.reshape(equations, -1))
        shift = zip(range(fresh.ncols()), range(held, held + fresh.ncols()), strict=True)
        front = _widened(front, held + fresh.ncols()) + fresh * _selection(fresh.ncols(), held + fresh.ncols(), shift)
        reached = max(reached, step.last)
        front = front - _columns(front, list(step.pivots)) * step.equations
        free = sorted(set(range(step.eliminated)) - set(step.pivots))
        if free:
            open_columns.append(_columns(front, free).transpose())
        front = _columns(front, range(step.eliminated, front.ncols()))
    return open_columns
