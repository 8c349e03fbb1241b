"""Residues modulo a prime of 22 bits, held balanced around zero in float64 so that BLAS multiplies them exactly.

With |residue| <= 2²¹ + 8, a sum of 2000 products stays below 2⁵³ - 2⁴⁶: in whatever order and with whatever fused operations
it is computed, every intermediate result is an integer that float64 holds. Its quotient by the prime is below 2³¹ and comes
with an error below 2⁻²⁰, so after rounding it is off by at most 1/2 + 2⁻²⁰; the remainder, exact as well, stays in bounds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

PRIME = 4194301
"""The largest prime below 2²²."""

MOST_PRODUCTS = 2000
"""So many products of residues may be added before they are reduced."""

Residues = NDArray[np.float64]

_PIECE = 2**15
_OUTER = 256
_INNER = 32


def reduce_in_place(numbers: Residues) -> Residues:
    """Reduce integers of size at most 2000 products of residues.

    Parameters
    ----------
    numbers : ndarray of float64
        Integers; they are overwritten.

    Returns
    -------
    ndarray of float64
        The same array, with residues.
    """
    if numbers.size <= _PIECE or not numbers.flags.c_contiguous:
        numbers -= PRIME * np.rint(numbers * (1.0 / PRIME))
        return numbers
    flat = numbers.reshape(-1)
    for start in range(0, len(flat), _PIECE):  # pieces that stay in the cache
        piece = flat[start : start + _PIECE]
        quotients = piece * (1.0 / PRIME)
        np.rint(quotients, out=quotients)
        quotients *= PRIME
        piece -= quotients
    return numbers


def product(left: Residues, right: Residues) -> Residues:
    """Multiply two matrices modulo the prime.

    Parameters
    ----------
    left : ndarray of float64, shape (m, k)
        Residues.
    right : ndarray of float64, shape (k, n)
        Residues.

    Returns
    -------
    ndarray of float64, shape (m, n)
        Residues.
    """
    total = reduce_in_place(left[:, :MOST_PRODUCTS] @ right[:MOST_PRODUCTS])
    for start in range(MOST_PRODUCTS, left.shape[1], MOST_PRODUCTS):
        stop = start + MOST_PRODUCTS
        total += reduce_in_place(left[:, start:stop] @ right[start:stop])
        reduce_in_place(total)
    return total


def residue(numerator: int, denominator: int = 1) -> float:
    """Bring a rational number into the field.

    Parameters
    ----------
    numerator, denominator : int
        The number; the prime must not divide the denominator.

    Returns
    -------
    float
        The balanced residue.
    """
    value = numerator * pow(denominator, -1, PRIME) % PRIME
    return float(value - PRIME if value > PRIME // 2 else value)


class Draws:
    """Reproducible random residues from the raw stream of a PCG64 generator, which NumPy keeps unchanged.

    Parameters
    ----------
    seed : int
        Which stream.
    """

    def __init__(self, seed: int) -> None:
        self._bits = np.random.PCG64(seed)

    def residues(self, *shape: int) -> Residues:
        """Draw residues, uniform to within 2⁻⁴².

        Parameters
        ----------
        *shape : int
            Shape of the array.

        Returns
        -------
        ndarray of float64
            Residues.
        """
        raw = self._bits.random_raw(int(np.prod(shape, dtype=np.int64)))
        values = (np.asarray(raw, dtype=np.uint64) % np.uint64(PRIME)).astype(np.float64)
        return (values - PRIME // 2).reshape(shape)


def rank(matrix: Residues, target: int | None = None) -> int:
    """Rank modulo the prime.

    Parameters
    ----------
    matrix : ndarray of float64, shape (m, n)
        Residues; overwritten.
    target : int, optional
        Stop as soon as the rank is known to be at least this.

    Returns
    -------
    int
        The rank, or a number between `target` and the rank.

    Notes
    -----
    Rows are taken in blocks of 256, and within a block 32 at a time. Each group is brought to echelon form with an
    identity in its pivot columns; the rows behind it are cleared there by one matrix product, and the columns are dropped.
    """
    found = 0
    rest = matrix
    while rest.shape[0] and rest.shape[1] and (target is None or found < target):
        block, rest = rest[:_OUTER], rest[_OUTER:]
        pivots, rows = _echelon(block)
        found += len(pivots)
        if len(pivots) and len(rest):
            rest -= product(rest[:, pivots], rows)
            reduce_in_place(rest)
            rest = np.delete(rest, pivots, axis=1)
    return found


def _echelon(block: Residues) -> tuple[list[int], Residues]:
    """Pivot columns of a block of rows, and rows with its row space and an identity in those columns."""
    pivots: list[int] = []
    rows = np.empty((0, block.shape[1]))
    for start in range(0, len(block), _INNER):
        group = block[start : start + _INNER]
        if pivots:
            group = reduce_in_place(group - product(group[:, pivots], rows))
        fresh, kept = _small_echelon(group)
        if not fresh:
            continue
        if pivots:
            rows = reduce_in_place(rows - product(rows[:, fresh], kept))
        rows = np.vstack([rows, kept])
        pivots += fresh
    return pivots, rows


def _small_echelon(group: Residues) -> tuple[list[int], Residues]:
    group = group.copy()
    pivots: list[int] = []
    kept: list[int] = []
    for index in range(len(group)):
        nonzero = np.flatnonzero(group[index])
        if not len(nonzero):
            continue
        column = int(nonzero[0])
        inverse = residue(1, int(group[index, column]))
        row = reduce_in_place(group[index] * inverse)
        factors = group[:, column].copy()
        factors[index] = 0.0
        group -= np.multiply.outer(factors, row)
        group[index] = row
        reduce_in_place(group)
        pivots.append(column)
        kept.append(index)
    return pivots, group[kept]
