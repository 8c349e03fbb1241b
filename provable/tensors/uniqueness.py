r"""Exact conditions under which a tensor determines its rank-one terms.

Kruskal: Σ_{i≤r} a_i ⊗ b_i ⊗ … with n factors is unique if their k-ranks add up to at least 2r + n - 1. Jennrich: two factors
with independent columns and a third without parallel columns. Both are decided here on the floats as the rational numbers
that they are. `generic_rank_bound` says for how many terms almost every symmetric decomposition is unique.

References
----------
J. B. Kruskal, Linear Algebra Appl. 18 (1977) 95-138; N. D. Sidiropoulos, R. Bro, J. Chemometrics 14 (2000) 229-239, for more
than three factors; L. Chiantini, G. Ottaviani, N. Vannieuwenhoven, Trans. Amer. Math. Soc. 369 (2017) 4021-4042, for the
generic bound, which is quoted from memory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import RATIONAL, Array
from provable.errors import InputError
from provable.tensors.kruskal import kruskal_rank

GENERIC_EXCEPTIONS: dict[tuple[int, int], int] = {(3, 6): 9, (4, 4): 8, (6, 3): 9}
"""(order, dimension): rank below the generic one at which a generic symmetric tensor has two decompositions."""


@dataclass(frozen=True)
class Uniqueness:
    """What exact arithmetic says about the uniqueness of a decomposition.

    Attributes
    ----------
    kruskal_ranks : tuple of int
        k-ranks of the factors.
    kruskal : bool
        Whether Kruskal's condition holds: the k-ranks add up to at least 2r + n - 1.
    jennrich : tuple of int or None
        Places of two factors with independent columns and of a third without zero or parallel columns, if there are such.
    """

    kruskal_ranks: tuple[int, ...]
    kruskal: bool
    jennrich: tuple[int, int, int] | None

    @property
    def proved(self) -> bool:
        """Whether either condition proves that the terms are determined by the tensor."""
        return self.kruskal or self.jennrich is not None


def uniqueness(factors: Sequence[ArrayLike]) -> Uniqueness:
    """Decide Kruskal's and Jennrich's conditions exactly.

    Parameters
    ----------
    factors : sequence of array_like of shapes (I, r), (J, r), (K, r), …
        At least three factors of Σ_i a_i ⊗ b_i ⊗ c_i ⊗ …; floats stand for the rational numbers that they are.

    Returns
    -------
    Uniqueness
        The k-ranks and which condition holds. A single nonzero term is always unique, and counted under Jennrich.

    Raises
    ------
    InputError
        If there are fewer than three factors or their numbers of columns differ.
    UnsupportedError
        If a k-rank would need too many sets of columns.
    """
    matrices = [np.asarray(factor) for factor in factors]
    shapes = [matrix.shape for matrix in matrices]
    if len(matrices) < 3 or any(len(shape) != 2 or 0 in shape for shape in shapes) or len({s[1] for s in shapes}) != 1:
        raise InputError(
            f"factors: found shapes {shapes}; at least three matrices with equally many columns are accepted"
        )
    terms = shapes[0][1]
    ranks = tuple(kruskal_rank(matrix) for matrix in matrices)
    full = [place for place, number in enumerate(ranks) if number == terms]
    others = [place for place, number in enumerate(ranks) if number >= min(2, terms)]
    jennrich = None
    if len(full) >= 2 and len(others) >= 3 and all(number >= 1 for number in ranks):
        third = next(place for place in others if place not in full[:2])
        jennrich = (full[0], full[1], third)
    return Uniqueness(ranks, terms >= 2 and sum(ranks) >= 2 * terms + len(matrices) - 1, jennrich)


def third_order_factors(directions: ArrayLike, order: int) -> list[Array]:
    r"""The factors by which a symmetric decomposition is one of a third-order tensor, for ``cp-uniqueness`` certificates.

    Parameters
    ----------
    directions : array_like of shape (p, r)
        The u_i: floats or rationals.
    order : {3, 4}
        k: for 4, two axes are merged into one.

    Returns
    -------
    list of ndarray
        Three times the directions, or twice and the columns u_i ⊗ u_i of shape (p², r), exact: floats stay floats at order 3
        and become rationals at order 4. Scalar weights change nothing.

    Raises
    ------
    InputError
        If the order is neither 3 nor 4 or the directions are no matrix.

    Notes
    -----
    If the merged tensor has one decomposition only, so has the symmetric one.
    """
    matrix: Any = np.asarray(directions)
    if matrix.ndim != 2 or 0 in matrix.shape:
        raise InputError(f"directions: found shape {matrix.shape}; (p, r) is accepted")
    if order == 3:
        return [matrix] * 3
    if order != 4:
        raise InputError(f"order: found {order!r:.40}; 3 and 4 are accepted")
    exact = matrix if matrix.dtype == object else RATIONAL.convert(matrix.astype(np.float64))
    merged = (exact[:, None, :] * exact[None, :, :]).reshape(-1, exact.shape[1])
    return [exact, exact, merged]


def generic_rank_bound(dimension: int, order: int) -> int:
    """The largest r for which almost every symmetric tensor of rank at most r has one decomposition.

    Parameters
    ----------
    dimension : int
        p ≥ 2.
    order : int
        k ≥ 3.

    Returns
    -------
    int
        The largest subgeneric rank, ⌈C(p + k - 1, k)/p⌉ - 1, less one in the three exceptional cases. Quoted from memory (see
        the references of the module): no proof, and nothing about a given tensor. It holds over the complex numbers.

    Raises
    ------
    InputError
        If the dimension is below two or the order below three.
    """
    for name, number, least in (("dimension", dimension, 2), ("order", order, 3)):
        if isinstance(number, bool) or not isinstance(number, int | np.integer) or number < least:
            raise InputError(f"{name}: found {number!r:.40}; an integer of at least {least} is accepted")
    subgeneric = -(-math.comb(dimension + order - 1, order) // dimension) - 1
    return min(subgeneric, GENERIC_EXCEPTIONS.get((order, dimension), subgeneric + 1) - 1)


def symmetric_uniqueness(directions: ArrayLike, order: int) -> Uniqueness:
    """Decide the conditions for Σ_i λ_i u_i^{⊗k} with nonzero λ_i.

    Parameters
    ----------
    directions : array_like of shape (p, r)
        The u_i: floats, as the rational numbers that they are, or rationals.
    order : int
        k ≥ 3.

    Returns
    -------
    Uniqueness
        As for k equal factors; the rank is computed once.

    Raises
    ------
    InputError
        If the order is below three or the directions are no matrix.
    """
    matrix = np.asarray(directions)
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or order < 3:
        raise InputError(f"order: found {order!r:.40}; an integer of at least 3 is accepted")
    return uniqueness([matrix] * int(order))
