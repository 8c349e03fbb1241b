"""Balls: exact conversion, outward rounding, and upper bounds of matrix norms.

A ball [m ± r] stands for every real number within r of m; the result of an operation on balls contains the result for
every choice of numbers inside them (Arb). The working precision is that of `flint.ctx`, which callers set with
``with flint.ctx.workprec(bits):`` and nowhere else. A quantity called *upper* is an exact ball (radius zero) that is not
smaller than the number it bounds.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable
from fractions import Fraction
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

Ball = flint.arb
"""A real number known up to a radius."""

BallMatrix = flint.arb_mat
"""A matrix of balls."""

LONGEST_EXPONENT = 40_000
"""Bits of the longest numbers that are written down as fractions; float64 needs 1100."""


def ball(value: float | int | Fraction) -> Ball:
    """Turn a number into the ball of least radius around it: exactly, if its denominator is a power of two.

    Parameters
    ----------
    value : float, int or Fraction
        A finite number; a float stands for the rational number that it is.

    Returns
    -------
    arb
        The ball, at the working precision.
    """
    numerator, denominator = value.as_integer_ratio()
    if denominator & (denominator - 1) == 0:
        # integers become balls without rounding and scaling by a power of two is exact
        return flint.arb((numerator, 1 - denominator.bit_length()))
    return flint.arb(flint.fmpq(numerator, denominator))


def ball_matrix(values: Any) -> BallMatrix:
    """Turn an array of floats, rationals or balls into a matrix of balls.

    Parameters
    ----------
    values : array_like of shape (m, n) or (m,)
        The entries; a vector becomes one column.

    Returns
    -------
    arb_mat
        The matrix; floats are converted exactly.
    """
    array = np.asarray(values)
    if array.ndim == 1:
        array = array.reshape(-1, 1)
    rows, columns = array.shape
    if array.dtype == np.float64:
        entries = [flint.arb(entry) for entry in array.ravel().tolist()]
    else:
        entries = [entry if isinstance(entry, flint.arb) else ball(entry) for entry in array.ravel().tolist()]
    return flint.arb_mat(rows, columns, entries)


def ball_interval(centre: Any, radius: Any) -> BallMatrix:
    """Matrix of balls with given midpoints and radii.

    Parameters
    ----------
    centre, radius : array_like of float of shape (m, n)
        Midpoints, and radii that are at least 0.

    Returns
    -------
    arb_mat
        Entry (i, j) contains every number within ``radius[i, j]`` of ``centre[i, j]``.
    """
    middle, width = np.asarray(centre, dtype=np.float64), np.asarray(radius, dtype=np.float64)
    entries = [flint.arb(m, r) for m, r in zip(middle.ravel().tolist(), width.ravel().tolist(), strict=True)]
    return flint.arb_mat(middle.shape[0], middle.shape[1], entries)


def midpoints(matrix: BallMatrix) -> NDArray[np.float64]:
    """Midpoints of a matrix of balls, rounded to nearest.

    Parameters
    ----------
    matrix : arb_mat
        A matrix.

    Returns
    -------
    ndarray of float64
        An approximation, for choosing a strategy; nothing rigorous may rest on it.
    """
    values = [float(entry.mid()) for entry in matrix.entries()]
    return np.array(values, dtype=np.float64).reshape(matrix.nrows(), matrix.ncols())


def exact_value(number: Ball) -> Fraction:
    """Return the rational number that an exact ball is.

    Parameters
    ----------
    number : arb
        A ball of radius zero, for instance an end point.

    Returns
    -------
    Fraction
        The same number.

    Raises
    ------
    OverflowError
        If it is not finite, or takes more than `LONGEST_EXPONENT` bits to write down; balls have exponents of any size.
    """
    if not number.is_finite():
        raise OverflowError(f"{number} is no number that can be written down")
    mantissa, exponent = (int(part) for part in number.man_exp())
    if abs(exponent) > LONGEST_EXPONENT:
        raise OverflowError(f"the number {mantissa} * 2**{exponent} is too long to be written down")
    return Fraction(mantissa << exponent) if exponent >= 0 else Fraction(mantissa, 1 << -exponent)


def lower_fraction(number: Ball) -> Fraction:
    """Return a rational number that is not above any number in the ball.

    Parameters
    ----------
    number : arb
        A finite ball.

    Returns
    -------
    Fraction
        The lower end, rounded downwards at the working precision, and to 0 or to a power of two if it is too close to
        zero to be written down.

    Raises
    ------
    OverflowError
        If it is too large to be written down.
    """
    return -upper_fraction(-number)


def upper_fraction(number: Ball) -> Fraction:
    """Return a rational number that is not below any number in the ball.

    Parameters
    ----------
    number : arb
        A finite ball.

    Returns
    -------
    Fraction
        The upper end, rounded upwards at the working precision, and to 0 or to a power of two if it is too close to
        zero to be written down.

    Raises
    ------
    OverflowError
        If it is too large to be written down.
    """
    end = number.upper()
    if end != 0 and abs(end) < flint.arb((1, -LONGEST_EXPONENT // 2)):
        return Fraction(1, 2 ** (LONGEST_EXPONENT // 2)) if end > 0 else Fraction(0)
    return exact_value(end)


def lower_float(number: Ball | Fraction) -> float:
    """Round downwards to float64.

    Parameters
    ----------
    number : arb or Fraction
        A finite ball, or a rational number.

    Returns
    -------
    float
        The largest float64 not above the lower end; ``-inf`` when there is none.
    """
    if isinstance(number, Fraction):
        return _directed(number, -math.inf)
    try:
        return _directed(lower_fraction(number), -math.inf)
    except OverflowError:
        return sys.float_info.max if number.lower() > 0 else -math.inf


def upper_float(number: Ball | Fraction) -> float:
    """Round upwards to float64.

    Parameters
    ----------
    number : arb or Fraction
        A finite ball, or a rational number.

    Returns
    -------
    float
        The smallest float64 not below the upper end; ``inf`` when there is none.
    """
    return -lower_float(-number)


def _directed(exact: Fraction, direction: float) -> float:
    try:
        nearest = float(exact)
    except OverflowError:
        nearest = math.inf if exact > 0 else -math.inf
    if math.isinf(nearest):
        return nearest if nearest == direction else math.nextafter(nearest, direction)
    wrong_side = Fraction(nearest) > exact if direction < 0 else Fraction(nearest) < exact
    return math.nextafter(nearest, direction) if wrong_side else nearest


def rounded_down(value: Fraction, bits: int = 64) -> Fraction:
    """Round a positive rational downwards to few bits, so that its text form is short.

    Parameters
    ----------
    value : Fraction
        At least 0.
    bits : int
        Bits of the result.

    Returns
    -------
    Fraction
        A number in [value·(1 - 2**(1 - bits)), value].
    """
    if value <= 0:
        return value
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - bits
    scale = Fraction(2) ** exponent
    return (value / scale).__floor__() * scale


def rounded_up(value: Fraction, bits: int = 64) -> Fraction:
    """Round a positive rational upwards to few bits, so that its text form is short.

    Parameters
    ----------
    value : Fraction
        At least 0.
    bits : int
        Bits of the result.

    Returns
    -------
    Fraction
        A number in [value, value·(1 + 2**(1 - bits))].
    """
    if value <= 0:
        return value
    exponent = value.numerator.bit_length() - value.denominator.bit_length() - bits
    scale = Fraction(2) ** exponent
    return (value / scale).__ceil__() * scale


def sum_of_squares(entries: Iterable[Ball]) -> Ball:
    """Ball that contains the sum of the squares.

    Parameters
    ----------
    entries : iterable of arb
        Numbers.

    Returns
    -------
    arb
        The sum, at least 0.
    """
    total = flint.arb(0)
    for entry in entries:
        total += entry * entry
    return total


def frobenius_upper(matrix: BallMatrix) -> Ball:
    """Upper bound of the Frobenius norm of every matrix in a matrix of balls.

    Parameters
    ----------
    matrix : arb_mat
        A matrix.

    Returns
    -------
    arb
        Exact ball, at least ``‖A‖_F``.
    """
    largest = [entry.abs_upper() for entry in matrix.entries()]
    return sum_of_squares(largest).abs_upper().sqrt().abs_upper()


def one_infinity_upper(matrix: BallMatrix) -> Ball:
    """Upper bound of the spectral norm by the largest absolute column and row sums.

    Parameters
    ----------
    matrix : arb_mat
        A matrix.

    Returns
    -------
    arb
        Exact ball, at least ``sqrt(‖A‖_1 ‖A‖_∞)``, which is at least ``‖A‖_2``.

    References
    ----------
    N. J. Higham, *Accuracy and Stability of Numerical Algorithms*, 2nd ed. (2002), eq. (6.19).
    """
    rows = [[entry.abs_upper() for entry in row] for row in matrix.tolist()]
    row_sums = [sum(row, flint.arb(0)).abs_upper() for row in rows]
    column_sums = [sum(column, flint.arb(0)).abs_upper() for column in zip(*rows, strict=True)]
    return (largest(row_sums) * largest(column_sums)).abs_upper().sqrt().abs_upper()


def spectral_upper(matrix: BallMatrix, squarings: int = 5) -> Ball:
    """Upper bound of the spectral norm by repeated squaring of the smaller Gram matrix.

    Parameters
    ----------
    matrix : arb_mat of shape (m, n)
        A matrix.
    squarings : int
        k below; each halves the logarithm of the overestimate.

    Returns
    -------
    arb
        Exact ball, at least ``‖A‖_2``, and for narrow balls at most ``min(m, n)**(2**(-k-2))`` times it.

    Notes
    -----
    With M = AᵀA or AAᵀ, whichever is smaller, and p = 2^k: ``‖A‖_2 = ‖M^p‖_2^{1/(2p)} ≤ ‖M^p‖_F^{1/(2p)}``, because M is
    symmetric. The interval matrix product contains M^p for every A in the matrix of balls.
    """
    if matrix.nrows() == 0 or matrix.ncols() == 0:
        return flint.arb(0)
    transposed = matrix.transpose()
    power = transposed * matrix if matrix.ncols() <= matrix.nrows() else matrix * transposed
    for _ in range(squarings):
        power = power * power
    bound = frobenius_upper(power)
    for _ in range(squarings + 1):
        bound = bound.sqrt().abs_upper()
    return bound


def largest(numbers: Iterable[Ball]) -> Ball:
    """Largest of some exact nonnegative balls.

    Parameters
    ----------
    numbers : iterable of arb
        Exact balls, at least 0.

    Returns
    -------
    arb
        The largest one, 0 if there is none, and the first one that is not finite, if any is not.
    """
    found = flint.arb(0)
    for number in numbers:
        if not number.is_finite():  # such numbers cannot be compared, and must not be lost
            return number
        if number > found:
            found = number
    return found
