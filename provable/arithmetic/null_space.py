"""Bases of null spaces: exact for exact numbers, orthonormal for floats."""

from __future__ import annotations

from typing import Any

import flint
import numpy as np

from provable.arithmetic.number_systems import EPSILON, Array, constant, full, kind
from provable.errors import ArithmeticUnsupported


def null_space(matrix: Any, *, relative_tolerance: float | None = None) -> Array:
    """A basis of the vectors that a matrix takes to zero.

    Parameters
    ----------
    matrix : array_like of shape (m, n)
        Floats or rationals; without rows the null space is everything.
    relative_tolerance : float, optional
        For floats only: singular values up to this multiple of the largest one count as zero; default
        ``8 * max(m, n) * 2**-52``, as in `provable.arithmetic.rank`.

    Returns
    -------
    ndarray of shape (k, n)
        One vector a row. Of floats they are orthonormal. Of rationals they come from the reduced echelon form: each has a
        one where all others have a zero.

    Raises
    ------
    ArithmeticUnsupported
        For residues and balls.
    """
    values = np.asarray(matrix)
    name = kind(values)
    if name in ("modular", "ball"):
        raise ArithmeticUnsupported(f"null_space was given {name} numbers; float64 and rational ones are accepted")
    return _exact(values) if name == "rational" else _rounded(values, relative_tolerance)


def _rounded(values: Array, relative_tolerance: float | None) -> Array:
    if not values.size:
        return np.eye(values.shape[1])
    if relative_tolerance is None:
        relative_tolerance = 8 * max(values.shape) * EPSILON
    _, singular, right = np.linalg.svd(values.astype(np.float64), full_matrices=True)
    found = int(np.count_nonzero(singular > relative_tolerance * singular[0]))
    return np.asarray(right[found:])


def _exact(values: Array) -> Array:
    rows, columns = values.shape
    echelon, rank = flint.fmpq_mat(rows, columns, values.reshape(-1).tolist()).rref()
    pivots = [next(j for j in range(columns) if echelon[i, j] != 0) for i in range(rank)]
    free = [j for j in range(columns) if j not in set(pivots)]
    basis = full((len(free), columns), 0, values)
    for index, column in enumerate(free):
        basis[index, column] = constant(1, values)
        for row, pivot in enumerate(pivots):
            basis[index, pivot] = -echelon[row, column]
    return basis
