"""Positive definiteness and smallest eigenvalues of symmetric matrices, proved in ball arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError
from provable.rigor.balls import (
    Ball,
    BallMatrix,
    ball,
    ball_interval,
    ball_matrix,
    frobenius_upper,
    midpoints,
    one_infinity_upper,
    upper_float,
)

_SCALAR_SIZE = 16
"""Below this size one elimination in Python costs less than the calls into FLINT."""


def is_positive_definite(matrix: BallMatrix) -> bool | None:
    """Decide whether every symmetric matrix in a matrix of balls is positive definite.

    Parameters
    ----------
    matrix : arb_mat of shape (n, n)
        Balls; entry (i, j) is taken from the lower triangle, so the upper one is never read alone.

    Returns
    -------
    bool or None
        True: proved of every symmetric matrix inside. False: proved of none. None: undecided at this precision.

    Notes
    -----
    Block LDLᵀ: with A = [[P, Qᵀ], [Q, S]], A is positive definite if and only if P and the Schur complement
    S - Q P⁻¹ Qᵀ are (Haynsworth's inertia formula). Both halves are decided recursively, the ends by scalar elimination:
    all pivots are positive if and only if the matrix is positive definite (Sylvester). Every number is a ball that
    contains the exact one, so a pivot whose ball is positive is a positive pivot.
    """
    return _definite([list(row) for row in matrix.tolist()])


def _definite(rows: list[list[Ball]]) -> bool | None:
    size = len(rows)
    if size <= _SCALAR_SIZE:
        return _scalar_definite(rows)
    half = size // 2
    first = _definite([row[:half] for row in rows[:half]])
    if first is not True:
        return first
    lower = [row[:half] for row in rows[half:]]
    upper = [[lower[j][i] for j in range(size - half)] for i in range(half)]
    symmetric = [[rows[max(i, j)][min(i, j)] for j in range(half)] for i in range(half)]
    try:
        solution = _matrix(symmetric).solve(_matrix(upper))
    except ZeroDivisionError:  # FLINT could not separate the block from the singular matrices
        return None
    correction = _matrix(lower) * solution
    complement = (_matrix([row[half:] for row in rows[half:]]) - correction).tolist()
    return _definite(complement)


def _scalar_definite(rows: list[list[Ball]]) -> bool | None:
    rows = [list(row) for row in rows]
    for k in range(len(rows)):
        pivot = rows[k][k]
        if not pivot > 0:
            return False if pivot <= 0 else None
        for i in range(k + 1, len(rows)):
            factor = rows[i][k] / pivot
            for j in range(k + 1, i + 1):
                rows[i][j] -= factor * rows[j][k]
    return True


def _matrix(rows: list[list[Ball]]) -> BallMatrix:
    return flint.arb_mat(len(rows), len(rows[0]), [entry for row in rows for entry in row])


def shifted(matrix: BallMatrix, shift: Ball) -> BallMatrix:
    """Subtract a multiple of the identity.

    Parameters
    ----------
    matrix : arb_mat of shape (n, n)
        A matrix A.
    shift : arb
        A number s.

    Returns
    -------
    arb_mat
        A - s·I.
    """
    size = matrix.nrows()
    entries = matrix.entries()
    for i in range(size):
        entries[i * (size + 1)] -= shift
    return flint.arb_mat(size, size, entries)


def certified_lower_eigenvalue(matrix: Any, *, bits: int = 128) -> float:
    """Prove a lower bound of the smallest eigenvalue of a symmetric matrix.

    Parameters
    ----------
    matrix : ndarray of float64 (n, n), pair (centre, radius) of such arrays, or arb_mat
        The symmetric matrix, each float taken as the rational number that it is; or midpoints and radii; or balls.
    bits : int
        Working precision.

    Returns
    -------
    float
        A number s such that λ_min > s for every symmetric matrix inside, typically within a few roundings of a float64
        eigenvalue solver; ``-inf`` only if an entry is not finite in float64. It is positive whenever positive
        definiteness itself could be proved.

    Raises
    ------
    InputError
        If the matrix is not square, is empty, is not symmetric or has entries that are not finite.

    Notes
    -----
    For balls with midpoints M and radii E, ``λ_min(A) ≥ λ_min(M) - ‖A - M‖₂ ≥ λ_min(M) - e`` with e the largest row sum of E
    (Weyl; ‖A - M‖₂ ≤ ‖A - M‖_∞ for symmetric matrices), and M - (s + e)·I is shown to be positive definite
    (`is_positive_definite`). Floating point (LAPACK's ``eigvalsh``) only chooses which s to try, from just below its own
    λ_min downwards; each trial is a proof.
    """
    with flint.ctx.workprec(bits):
        rows = symmetric_balls(matrix)
        centre = _matrix([[entry.mid() for entry in row] for row in rows])
        # a little more than e, since radii grow by their last bit when they are written and read again
        spread = one_infinity_upper(_matrix([[entry.rad() for entry in row] for row in rows])) * ball(1 + 2.0**-20)
        approximate = midpoints(centre)
        scale = upper_float(frobenius_upper(centre))
        margin = upper_float(spread)
        if not (np.all(np.isfinite(approximate)) and np.isfinite(scale + margin)):
            return -np.inf
        estimate = float(np.linalg.eigvalsh(approximate)[0]) - margin

        def proved(shift: float) -> bool:
            return is_positive_definite(shifted(centre, ball(shift) + spread)) is True

        # the backward error of eigvalsh is a modest multiple of eps·‖A‖; below it, search by factors of 16
        slack = max(2.0**-52 * len(rows) * scale, 5e-324)
        if estimate - slack <= 0 and proved(0.0):
            return _positive_shift(proved, max(slack, estimate))
        shift, failed = estimate - slack, estimate
        floor = -(scale + margin) * (1 + 2.0**-50) - 5e-324  # every eigenvalue exceeds this, which needs no trial
        while shift > floor and not proved(shift):
            failed, slack = shift, 16 * slack
            shift = estimate - slack
        if shift <= floor:
            return floor
        for _ in range(2 if failed < estimate else 0):
            middle = (shift + failed) / 2
            if proved(middle):
                shift = middle
            else:
                failed = middle
        return shift


def _positive_shift(proved: Callable[[float], bool], start: float) -> float:
    """Largest power of 16 times `start` that is proved to lie below a positive smallest eigenvalue (or 0)."""
    shift = start
    for _ in range(80):
        if proved(shift):
            return shift
        shift /= 16
    return 0.0


def symmetric_balls(matrix: Any) -> list[list[Ball]]:
    """Write a symmetric matrix as rows of balls, equal ones on both sides of the diagonal.

    Parameters
    ----------
    matrix : ndarray of float64 (n, n), pair (centre, radius) of such arrays, or arb_mat
        As in `certified_lower_eigenvalue`.

    Returns
    -------
    list of list of arb
        Every symmetric matrix inside `matrix` lies inside the result; of the balls at (i, j) and (j, i) the lower one is
        kept, as `is_positive_definite` reads it.

    Raises
    ------
    InputError
        As `certified_lower_eigenvalue`.
    """
    rows = _as_balls(matrix).tolist()
    return [[rows[max(i, j)][min(i, j)] for j in range(len(rows))] for i in range(len(rows))]


def _as_balls(matrix: Any) -> BallMatrix:
    if isinstance(matrix, tuple):
        centre, radius = (np.asarray(part, dtype=np.float64) for part in matrix)
        _require_symmetric(centre)
        _require_symmetric(radius)
        if centre.shape != radius.shape or not np.all(radius >= 0):
            raise InputError("smallest eigenvalue: radii must be nonnegative and of the shape of the midpoints")
        return ball_interval(centre, radius)
    if isinstance(matrix, flint.arb_mat):
        if matrix.nrows() != matrix.ncols() or matrix.nrows() == 0:
            raise InputError(
                f"smallest eigenvalue: shape {matrix.nrows(), matrix.ncols()} was found; a square matrix is accepted"
            )
        return matrix
    values = np.asarray(matrix, dtype=np.float64)
    _require_symmetric(values)
    return ball_matrix(values)


def _require_symmetric(values: NDArray[np.float64]) -> None:
    if values.ndim != 2 or values.shape[0] != values.shape[1] or values.shape[0] == 0:
        raise InputError(f"smallest eigenvalue: shape {values.shape} was found; a square matrix is accepted")
    if not np.all(np.isfinite(values)):
        raise InputError("smallest eigenvalue: an entry is not finite; finite numbers are accepted")
    if not np.array_equal(values, values.T):
        raise InputError("smallest eigenvalue: the matrix is not symmetric; an exactly symmetric one is accepted")


def relative_lower_eigenvalue(matrix: BallMatrix, metric: BallMatrix | None = None) -> Ball | None:
    """Prove a positive lower bound of the smallest eigenvalue of a symmetric matrix relative to another one.

    Parameters
    ----------
    matrix : arb_mat of shape (n, n)
        M, narrow balls; entry (i, j) is taken from the lower triangle.
    metric : arb_mat of shape (n, n), optional
        N, symmetric; default the identity.

    Returns
    -------
    arb or None
        An exact ball s > 0 such that M - s·N is positive definite, for narrow balls about 0.1 % below the largest one; None
        if none was found at this precision.

    Notes
    -----
    If N is positive semidefinite, vᵀMv ≥ s·vᵀNv. An estimate, in float64 or, where rounding hides it there, at the working
    precision, chooses which s to try; each trial is a proof.
    """
    size = matrix.nrows()
    rows = symmetric_balls(matrix)
    symmetric = _matrix(rows)
    unit = flint.arb_mat([[int(i == j) for j in range(size)] for i in range(size)]) if metric is None else metric
    estimates = [partial(_float_estimate, symmetric, unit), partial(_ball_estimate, symmetric, unit)]
    for estimate in estimates:
        quotient = estimate()
        for slack in (2.0**-10, 2.0**-5):
            trial = (quotient * ball(1 - slack)).mid()
            if trial > 0 and is_positive_definite(symmetric - unit * trial) is True:
                return trial
    return None


def _float_estimate(matrix: BallMatrix, metric: BallMatrix) -> Ball:
    """Smallest eigenvalue of M relative to N by LAPACK, or 0 if rounding hides it."""
    values, form = midpoints(matrix), midpoints(metric)
    if not (np.all(np.isfinite(values)) and np.all(np.isfinite(form))):
        return ball(0)
    try:
        inverse = np.linalg.inv(np.linalg.cholesky(form))
        spectrum = np.linalg.eigvalsh(inverse @ values @ inverse.T)
    except np.linalg.LinAlgError:
        return ball(0)
    least, greatest = float(spectrum[0]), float(spectrum[-1])
    return ball(least) if least > 1e4 * len(values) * np.finfo(np.float64).eps * greatest else ball(0)


def _ball_estimate(matrix: BallMatrix, metric: BallMatrix) -> Ball:
    """The same by repeated squaring of M⁻¹N at the working precision; 0 if M is not proved to be regular."""
    try:
        power = matrix.mid().solve(metric.mid()).mid()
    except ZeroDivisionError:
        return ball(0)
    size = matrix.nrows()
    # balls have exponents of any size, so powers need no scaling
    vector = flint.arb_mat(size, 1, [1 + (7 * k) % 5 for k in range(size)])
    for _ in range(6):
        vector, power = (power * vector).mid(), (power * power).mid()
    for _ in range(4):
        vector = (power * vector).mid()
    transposed = vector.transpose()
    quotient = (transposed * matrix * vector)[0, 0] / (transposed * metric * vector)[0, 0]
    return quotient.mid() if quotient.is_finite() else ball(0)
