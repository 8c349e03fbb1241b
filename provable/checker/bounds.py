"""Numbers as balls, and upper bounds of norms; the bounds are exact balls."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

from flint import arb, arb_mat, fmpq


def exact(value: Any) -> arb:
    """Turn a number into a ball.

    Parameters
    ----------
    value : int, float or Fraction
        A finite number.

    Returns
    -------
    arb
        A ball that contains it: exact for integers and floats, at the working precision otherwise.
    """
    if isinstance(value, Fraction):
        return arb(fmpq(value.numerator, value.denominator))
    return arb(value)


def length(entries: list[arb]) -> arb:
    """Bound a Euclidean norm from above.

    Parameters
    ----------
    entries : list of arb
        A vector.

    Returns
    -------
    arb
        The bound.
    """
    total = arb(0)
    for entry in entries:
        bound = entry.abs_upper()
        total += bound * bound
    return total.abs_upper().sqrt().abs_upper()


def spectral(matrix: arb_mat, squarings: int = 6) -> arb:
    """Bound a spectral norm from above.

    Parameters
    ----------
    matrix : arb_mat
        A matrix A.
    squarings : int
        How often M is squared.

    Returns
    -------
    arb
        ``‖M^p‖_F^(1/2p)``, p = 2**squarings, with M = AAᵀ or AᵀA, whichever is smaller; as M is symmetric, at least ``‖A‖₂``.
    """
    turned = matrix.transpose()
    power = matrix * turned if matrix.nrows() < matrix.ncols() else turned * matrix
    for _ in range(squarings):
        power = power * power
    bound = length(power.entries())
    for _ in range(squarings + 1):
        bound = bound.sqrt().abs_upper()
    return bound
