"""Nonnegative linear dependencies between rational vectors: exact certificates that an open cone is empty."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import gcd, lcm
from typing import Any

import flint
import numpy as np

from provable.arithmetic import Float

_NEARLY_ZERO = 1e-7
"""Below this distance of 0 from the convex hull of unit vectors a dependency is looked for; the search itself is exact."""


def integer_rows(matrix: Any) -> list[list[int]]:
    """Multiply every row of a matrix by the least positive number that makes it integral.

    Parameters
    ----------
    matrix : array_like of shape (n, D)
        Finite floats (taken as the rationals that they are) or Fractions.

    Returns
    -------
    list of list of int
        Row i is a positive multiple of row i of the matrix, with entries without a common divisor; a zero row stays zero.
    """
    rows = []
    for row in np.asarray(matrix).tolist():
        ratios = [entry.as_integer_ratio() for entry in row]
        common = lcm(*(bottom for _, bottom in ratios))
        integers = [top * (common // bottom) for top, bottom in ratios]
        divisor = gcd(*integers) or 1
        rows.append([entry // divisor for entry in integers])
    return rows


def strict_solution(directions: Float) -> tuple[Float, Float]:
    """Look for a vector that has positive inner products with all given ones.

    Parameters
    ----------
    directions : ndarray of shape (n, D)
        Unit vectors a_i.

    Returns
    -------
    vector : ndarray of shape (D,)
        w; if 0 is not in the convex hull of the a_i, then w·a_i > 0 for all i, up to rounding. Numerical.
    shares : ndarray of shape (n,)
        ν ≥ 0; if 0 is in the convex hull, then Σ ν_i a_i = 0 and Σ ν_i = 1, up to rounding.

    Notes
    -----
    Gordan's alternative by one nonnegative least-squares problem, min ‖Σ ν_i (a_i, 1) - (0, 1)‖: with w = Σ ν_i a_i and
    r = 1 - Σ ν_i, its optimality says w·a_i ≥ r, and r = ‖w‖² + r².
    """
    from scipy.optimize import nnls

    system = np.vstack([directions.T, np.ones(len(directions))])
    target = np.zeros(len(system))
    target[-1] = 1.0
    shares, _ = nnls(system, target)
    return directions.T @ shares, shares


def nonnegative_dependency(rows: Sequence[Sequence[int]]) -> dict[int, Fraction] | None:
    """Find ν ≥ 0, not all zero, with Σ ν_i a_i = 0 exactly.

    Parameters
    ----------
    rows : sequence of sequence of int
        The vectors a_i, none of them zero.

    Returns
    -------
    dict of int to Fraction or None
        The positive ν_i by index; at most D + 1 of them. None if none was found: then none exists, unless rounding hid it.

    Notes
    -----
    Floating point proposes which ν_i are positive (`strict_solution`); the null space of these vectors is computed exactly,
    and the signs in it are checked.
    """
    if not rows:
        return None
    lengths = [float(np.linalg.norm([float(entry) for entry in row])) for row in rows]
    unit = np.array([[entry / length for entry in row] for row, length in zip(rows, lengths, strict=True)])
    vector, shares = strict_solution(unit)
    if np.linalg.norm(vector) > _NEARLY_ZERO:
        return None
    for share in (_NEARLY_ZERO, 0.0):
        chosen = np.flatnonzero(shares > share).tolist()
        if not chosen:
            continue
        basis, nullity = flint.fmpz_mat(
            [list(column) for column in zip(*(rows[i] for i in chosen), strict=True)]
        ).nullspace()
        if nullity != 1:
            continue
        entries = [int(basis[k, 0]) for k in range(len(chosen))]
        sign = 1 if sum(entries) > 0 else -1
        if all(sign * entry >= 0 for entry in entries):
            return {i: Fraction(sign * entry) for i, entry in zip(chosen, entries, strict=True) if entry}
    return None
