"""Ranks, determinants and linear systems: exact for exact numbers, numerical for floats."""

from __future__ import annotations

from typing import Any

import flint
import numpy as np

from provable.arithmetic.number_systems import EPSILON, Array, kind, modulus_of, working_arithmetic
from provable.errors import ArithmeticUnsupported


def _is_exact(values: Array, operation: str) -> bool:
    """Whether a matrix holds exact numbers; floats are refused while an exact arithmetic is at work."""
    if values.dtype.kind in "iub":
        return True
    if kind(values) != "float64":
        return True
    if working_arithmetic.get() != "float64":
        raise ArithmeticUnsupported(
            f"{operation} was given floats in {working_arithmetic.get()} arithmetic; exact numbers are accepted"
        )
    return False


def _flint_matrix(matrix: Any) -> Any:
    values = np.asarray(matrix)
    rows, columns = values.shape
    arithmetic = kind(values) if values.dtype == object else "rational"
    entries = values.reshape(-1).tolist()
    if arithmetic == "modular":
        prime = modulus_of(values)
        return flint.nmod_mat(rows, columns, [int(entry) for entry in entries], prime)
    if arithmetic == "ball":
        return flint.arb_mat(rows, columns, entries)
    return flint.fmpq_mat(rows, columns, entries)


def _from_flint(matrix: Any) -> Array:
    result = np.empty((matrix.nrows(), matrix.ncols()), dtype=object)
    for index, row in enumerate(matrix.tolist()):
        result[index] = row
    return result


def rank(matrix: Any, *, relative_tolerance: float | None = None) -> int:
    """Rank of a matrix: exact for rationals and residues, numerical for floats.

    Parameters
    ----------
    matrix : array_like of shape (m, n)
        Numbers of one arithmetic.
    relative_tolerance : float, optional
        For floats only: singular values below this multiple of the largest one count as zero; default
        ``8 * max(m, n) * 2**-52``, where 8 covers the error of forming the entries by products of length below 64.

    Returns
    -------
    int
        The rank.

    Raises
    ------
    ArithmeticUnsupported
        For balls, whose rank is not determined by their midpoints.
    """
    values = np.asarray(matrix)
    if values.size == 0:
        return 0
    if kind(values) == "ball":
        raise ArithmeticUnsupported("a matrix of balls has no rank; use rationals or residues")
    if _is_exact(values, "rank"):
        return int(_flint_matrix(values).rank())
    singular = np.linalg.svd(values.astype(np.float64), compute_uv=False)
    if relative_tolerance is None:
        relative_tolerance = 8 * max(values.shape) * EPSILON
    return int(np.sum(singular > relative_tolerance * singular[0]))


def determinant(matrix: Any) -> Any:
    """Determinant of a square matrix in any arithmetic.

    Parameters
    ----------
    matrix : array_like of shape (n, n)
        Numbers of one arithmetic.

    Returns
    -------
    float, fmpq, nmod or arb
        The determinant.
    """
    values = np.asarray(matrix)
    if not _is_exact(values, "determinant"):
        return float(np.linalg.det(values.astype(np.float64)))
    return _flint_matrix(values).det()


def solve(matrix: Any, right: Any) -> Array:
    """Solve a square linear system in any arithmetic.

    Parameters
    ----------
    matrix : array_like of shape (n, n)
        An invertible matrix.
    right : array_like of shape (n,) or (n, k)
        Right-hand sides in the same arithmetic.

    Returns
    -------
    ndarray of the shape of `right`
        The solution.

    Raises
    ------
    ZeroDivisionError
        If the matrix is singular (for balls: cannot be shown to be invertible).
    """
    values, sides = np.asarray(matrix), np.asarray(right)
    if not (_is_exact(values, "solve") and _is_exact(sides, "solve")):
        try:
            solution: Array = np.linalg.solve(values.astype(np.float64), sides.astype(np.float64))
        except np.linalg.LinAlgError as error:
            raise ZeroDivisionError("the matrix is singular") from error
        return solution
    columns = sides.reshape(len(sides), -1)
    return _from_flint(_flint_matrix(values).solve(_flint_matrix(columns))).reshape(sides.shape)
