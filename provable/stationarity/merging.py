r"""Merging: samples of one activation cell with coefficients of one sign become their weighted mean.

Within an activation cell a measure is seen through Σ c and Σ c x only. If all coefficients have one sign, the mean lies in
the cell, which is convex; if all outputs are at the margin, so is the mean's. The number of samples is not determined either.

Source: arXiv:2509.21296, the lemma on merging (wording not read); derived.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from provable.arithmetic import Array
from provable.errors import UnsupportedError
from provable.stationarity.activation_cells import ActivationCells, CellMeasure


def cell_groups(cells: ActivationCells, coefficients: Array) -> list[list[int]]:
    """Samples that share a cell and the sign of their coefficients.

    Parameters
    ----------
    cells : ActivationCells
        The network and the samples.
    coefficients : ndarray of shape (n, 1)
        Their coefficients; samples with coefficient zero are in no group.

    Returns
    -------
    list of list of int
        A partition of the others, in order of first appearance.

    Raises
    ------
    UnsupportedError
        For several outputs, whose coefficients have no sign.
    """
    if coefficients.shape[1] != 1:
        raise UnsupportedError(
            f"outputs: found {coefficients.shape[1]}; merging needs one, so that coefficients have signs"
        )
    groups: list[list[int]] = []
    for index, coefficient in enumerate(coefficients[:, 0]):
        if coefficient == 0:
            continue
        for group in groups:
            if (coefficients[group[0], 0] > 0) == (coefficient > 0) and cells.same_cell(group[0], index):
                group.append(index)
                break
        else:
            groups.append([index])
    return groups


def merge(cells: ActivationCells, coefficients: Array) -> CellMeasure:
    """Merge all samples that can be merged.

    Parameters
    ----------
    cells : ActivationCells
        The network and the samples.
    coefficients : ndarray of shape (n, 1)
        Their coefficients.

    Returns
    -------
    CellMeasure
        One atom for each group of `cell_groups`; samples with coefficient zero are left out. The same embedding.
    """
    groups = cell_groups(cells, coefficients)
    points, sums = cells.points[:0], coefficients[:0]
    for group in groups:
        total: Any = coefficients[group, 0].sum()
        mean = (coefficients[group] * cells.points[group]).sum(axis=0) / total
        points = np.concatenate([points, mean[None]])
        sums = np.concatenate([sums, np.array([[total]], dtype=sums.dtype)])
    return CellMeasure(points, sums, np.array([group[0] for group in groups], dtype=np.intp))
