"""Rank modulo 2⁶¹ - 1 of a sparse matrix: what decides itself is counted, the rest falls apart and is eliminated densely.

A row with one entry makes its column a pivot: the rank is one more than that of the matrix without this column. A column
with one entry does the same for its row. Once neither is left, rows and columns that are not connected through entries
form blocks, and the rank is the sum over the blocks.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from provable.leakage.layer_systems import residues
from provable.leakage.layer_systems.residues import Residues

Indices = NDArray[np.intp]


def rank(rows: Indices, columns: Indices, values: Residues, *, largest: int, most_work: int) -> int | None:
    """Rank of a matrix that is given by its nonzero entries.

    Parameters
    ----------
    rows, columns : ndarray of int
        Where the entries are; no place twice.
    values : ndarray of uint64
        Residues between 1 and 2⁶¹ - 2.
    largest : int
        Entries of the largest dense block that is eliminated.
    most_work : int
        Multiplications of the longest elimination of a block that is begun.

    Returns
    -------
    int or None
        The rank; None if a block is too large.
    """
    found, left = peel(rows, columns)
    if not left.any():
        return found
    rows, columns, values = rows[left], columns[left], values[left]
    rows, columns = np.unique(rows, return_inverse=True)[1], np.unique(columns, return_inverse=True)[1]
    height, width = int(rows.max()) + 1, int(columns.max()) + 1
    graph = coo_array((np.ones(len(rows), dtype=np.int8), (rows, height + columns)), shape=(height + width,) * 2)
    labels = connected_components(graph, directed=False)[1][rows]
    order = np.argsort(labels, kind="stable")
    known: dict[bytes, int] = {}
    for block in np.split(order, np.flatnonzero(np.diff(labels[order])) + 1):
        down, across = np.unique(rows[block], return_inverse=True)[1], np.unique(columns[block], return_inverse=True)[1]
        shape = (int(down.max()) + 1, int(across.max()) + 1)
        if shape[0] * shape[1] > largest or elimination_work(*shape) > most_work:
            return None
        key = down.tobytes() + across.tobytes() + values[block].tobytes()
        if key not in known:
            dense = np.zeros(shape, dtype=np.uint64)
            dense[down, across] = values[block]
            known[key] = residues.rank(dense)
        found += known[key]
    return found


def elimination_work(rows: int, columns: int) -> int:
    """Estimate a dense elimination, moving the matrix to FLINT included.

    Parameters
    ----------
    rows, columns : int
        Shape of the matrix.

    Returns
    -------
    int
        Multiplications, to within a small factor.
    """
    return rows * columns * (min(rows, columns) // 3 + residues.CONVERSION)


def peel(rows: Indices, columns: Indices) -> tuple[int, NDArray[np.bool_]]:
    """Take out rows and columns with a single entry until there are none.

    Parameters
    ----------
    rows, columns : ndarray of int
        Where the nonzero entries of a matrix are.

    Returns
    -------
    rank : int
        How much of the rank was taken out.
    left : ndarray of bool
        Which entries are left; the rest of the rank is the rank of these.
    """
    left = np.ones(len(rows), dtype=np.bool_)
    found = 0
    if not len(rows):
        return found, left
    lines = [(rows, columns), (columns, rows)]
    sizes = [int(line.max()) + 1 for line, _ in lines]
    alone = True
    while alone:
        alone = False
        for (line, crossing), size, across in zip(lines, sizes, reversed(sizes), strict=True):
            single = left & (np.bincount(line[left], minlength=size) == 1)[line]
            if single.any():
                pivots = np.zeros(across, dtype=np.bool_)
                pivots[crossing[single]] = True
                left &= ~pivots[crossing]
                found += int(np.count_nonzero(pivots))
                alone = True
    return found, left
