"""Matrices of residues modulo 2⁶¹ - 1: products with BLAS, ranks and null spaces with FLINT."""

from __future__ import annotations

import flint
import numpy as np
from numpy.typing import NDArray

from provable.rigor.modular_rank import PRIME

Residues = NDArray[np.uint64]

CONVERSION = 1000
"""Moving one entry between NumPy and FLINT costs about as much as this many multiplications."""

_BITS = 61
_LIMB = 21
_BLOCK = 682
_MASK = (1 << _LIMB) - 1


def _limbs(matrix: Residues) -> list[NDArray[np.float64]]:
    return [((matrix >> np.uint64(_LIMB * part)) & np.uint64(_MASK)).astype(np.float64) for part in range(3)]


def _reduced(numbers: Residues) -> Residues:
    folded = (numbers & np.uint64(PRIME)) + (numbers >> np.uint64(_BITS))
    return np.where(folded >= np.uint64(PRIME), folded - np.uint64(PRIME), folded)


def product(left: Residues, right: Residues) -> Residues:
    """Multiply two matrices modulo 2⁶¹ - 1.

    Parameters
    ----------
    left : ndarray of uint64, shape (m, k)
        Residues below 2⁶¹ - 1.
    right : ndarray of uint64, shape (k, n)
        Residues below 2⁶¹ - 1.

    Returns
    -------
    ndarray of uint64, shape (m, n)
        The exact product modulo 2⁶¹ - 1.

    Notes
    -----
    Residues are cut into three limbs of 21 bits. A sum of 3 · 682 products of limbs stays below 2⁵³, so float64
    matrix products are exact; multiplying by 2^(21 t) is a rotation of 61 bits because 2⁶¹ = 1 modulo the prime.
    """
    total = np.zeros((left.shape[0], right.shape[1]), dtype=np.uint64)
    for start in range(0, left.shape[1], _BLOCK):
        first = _limbs(left[:, start : start + _BLOCK])
        second = _limbs(right[start : start + _BLOCK])
        for power in range(5):
            pairs = [(i, power - i) for i in range(3) if 0 <= power - i < 3]
            part = sum((first[i] @ second[j] for i, j in pairs), np.zeros(total.shape)).astype(np.uint64)
            shift = _LIMB * power % _BITS
            rotated = ((part << np.uint64(shift)) & np.uint64(PRIME)) | (part >> np.uint64(_BITS - shift))
            total = _reduced(total + rotated)
    return total


def matrix(residues: Residues) -> flint.nmod_mat:
    """Hand residues to FLINT.

    Parameters
    ----------
    residues : ndarray of uint64, shape (m, n)
        Residues below 2⁶¹ - 1.

    Returns
    -------
    flint.nmod_mat
        The same matrix.
    """
    rows, columns = residues.shape
    entries: list[int] = residues.ravel().tolist()
    return flint.nmod_mat(rows, columns, entries, PRIME)


def rank(residues: Residues) -> int:
    """Rank modulo 2⁶¹ - 1.

    Parameters
    ----------
    residues : ndarray of uint64, shape (m, n)
        Residues below 2⁶¹ - 1.

    Returns
    -------
    int
        The rank.
    """
    return 0 if residues.size == 0 else int(matrix(residues).rank())


def kernel(residues: Residues) -> Residues:
    """Basis of the null space modulo 2⁶¹ - 1.

    Parameters
    ----------
    residues : ndarray of uint64, shape (m, n)
        Residues below 2⁶¹ - 1.

    Returns
    -------
    ndarray of uint64, shape (n, n - rank)
        Basis vectors as columns.
    """
    columns = residues.shape[1]
    if residues.size == 0:
        return np.eye(columns, dtype=np.uint64)
    reduced, found = matrix(residues).rref()
    table = np.array([int(entry) for entry in reduced.entries()], dtype=np.uint64).reshape(-1, columns)[:found]
    pivots = (table != 0).argmax(axis=1) if found else np.zeros(0, dtype=np.intp)
    free = np.setdiff1d(np.arange(columns), pivots)
    basis = np.zeros((columns, len(free)), dtype=np.uint64)
    basis[free, np.arange(len(free))] = 1
    negated = np.uint64(PRIME) - table[:, free]
    basis[pivots] = np.where(negated == np.uint64(PRIME), np.uint64(0), negated)
    return basis
