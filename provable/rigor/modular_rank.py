"""Exact rank modulo a prime, and the random integer points at which it is taken.

The rank of an integer matrix modulo a prime never exceeds its rank over the rationals, and the rank of a polynomial
matrix at one point never exceeds its generic rank. So a rank modulo p at one integer point is a proof of a lower bound
of the generic rank, whatever the point; drawing the point at random only makes it likely that the bound is attained
(Schwartz-Zippel: a minor of degree k that is not the zero polynomial modulo p vanishes at a uniformly drawn point with
probability at most k/p).
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

import flint
import numpy as np

from provable.arithmetic import DEFAULT_PRIME
from provable.errors import InputError

PRIME = DEFAULT_PRIME
"""The modulus used unless another prime is asked for: 2**61 - 1."""


def witness_integers(seed: int, stream: str, count: int, prime: int = PRIME) -> list[int]:
    """Draw integers modulo a prime, reproducibly, with nothing but SHA-256.

    Parameters
    ----------
    seed : int
        Which sequence; nonnegative.
    stream : str
        A name in ASCII that separates the sequences of one seed, for instance ``"weight"``.
    count : int
        How many integers.
    prime : int
        The modulus.

    Returns
    -------
    list of int
        `count` integers in [0, prime).

    Raises
    ------
    InputError
        If `seed` or `count` is negative.

    Notes
    -----
    Counter mode: with ``SEED`` and ``INDEX`` in decimal notation, the integer at position INDEX = 0, 1, … is the SHA-256
    digest of the ASCII text ``provable-witness/1|SEED|STREAM|INDEX``, read as one big-endian number of 256 bits, modulo
    `prime`. For `prime` < 2**64 its distribution differs from the uniform one by less than 2**-192.
    """
    if seed < 0 or count < 0:
        raise InputError(f"witness integers: seed {seed} and count {count} were given; both must be at least 0")
    prefix = f"provable-witness/1|{seed}|{stream}|"
    return [
        int.from_bytes(hashlib.sha256(f"{prefix}{index}".encode("ascii")).digest(), "big") % prime
        for index in range(count)
    ]


def rank_mod(matrix: Any, prime: int = PRIME) -> int:
    """Rank of an integer matrix modulo a prime, exactly.

    Parameters
    ----------
    matrix : nmod_mat, or array_like of int of shape (m, n)
        The matrix. An `nmod_mat` carries its own modulus, which must be `prime`.
    prime : int
        The modulus, below 2**64.

    Returns
    -------
    int
        The rank over the field of `prime` elements: a lower bound of the rank over the rationals.

    Raises
    ------
    InputError
        If the modulus is not a prime, or not the modulus of the matrix.
    """
    if not (1 < prime < 2**64 and flint.fmpz(prime).is_prime()):
        raise InputError(f"rank modulo {prime}: the modulus is not a prime below 2**64, which is what is accepted")
    if isinstance(matrix, flint.nmod_mat):
        if int(matrix.modulus()) != prime:
            raise InputError(
                f"rank modulo {prime}: the matrix has modulus {matrix.modulus()}; the same one is accepted"
            )
        return int(matrix.rank())
    rows: Sequence[Sequence[int]] = np.asarray(matrix, dtype=object).tolist()
    if not rows or not rows[0]:
        return 0
    entries = [int(entry) % prime for row in rows for entry in row]
    return int(flint.nmod_mat(len(rows), len(rows[0]), entries, prime).rank())
