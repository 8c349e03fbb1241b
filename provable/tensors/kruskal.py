"""Kruskal's rank of a matrix, exactly."""

from __future__ import annotations

import itertools
import math

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import RATIONAL, rank
from provable.errors import InputError, UnsupportedError

LARGEST_SEARCH = 200_000
"""Sets of columns that are examined at most."""


def kruskal_rank(matrix: ArrayLike) -> int:
    """The largest k such that every k columns are linearly independent.

    Parameters
    ----------
    matrix : array_like of shape (d, n)
        Floats, which stand for the rational numbers that they are, or an object array of rationals or residues.

    Returns
    -------
    int
        The k-rank, between 0 (there is a zero column, or no column at all) and the rank. It is exact: no tolerance is used.

    Raises
    ------
    InputError
        If the matrix has other than two axes, or numbers that are not finite.
    UnsupportedError
        If more than 200 000 sets of columns would have to be examined.

    Notes
    -----
    Brute force over the sets of columns; deciding k-rank ≥ k is NP-hard in general. Kruskal's condition for the uniqueness
    of Σ_{i≤r} a_i ⊗ b_i ⊗ c_i is k_A + k_B + k_C ≥ 2r + 2.

    References
    ----------
    J. B. Kruskal, Linear Algebra Appl. 18 (1977) 95-138.
    """
    values = np.asarray(matrix)
    if values.ndim != 2:
        raise InputError(f"matrix: found shape {values.shape}; two axes are accepted")
    if values.dtype != object:
        if not np.all(np.isfinite(values)):
            raise InputError("matrix: found a number that is not finite; finite numbers are accepted")
        values = RATIONAL.convert(values.astype(np.float64))
    columns = values.shape[1]
    full = rank(values) if values.size else 0
    if full == columns:
        return full
    if (sets := sum(math.comb(columns, size) for size in range(1, full + 1))) > LARGEST_SEARCH:
        raise UnsupportedError(
            f"matrix: found {columns} columns of rank {full}, which form {sets} sets; at most {LARGEST_SEARCH} are examined"
        )
    for size in range(1, full + 1):
        if any(rank(values[:, chosen]) < size for chosen in map(list, itertools.combinations(range(columns), size))):
            return size - 1
    return full
