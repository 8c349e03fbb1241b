r"""All vectors of a linear subspace whose entries have only two known values each.

Given an orthonormal basis U of a subspace of :math:`R^m` of dimension n, weights :math:`a_j` and a number s, find every
vector of the subspace with entries in :math:`\{s a_j, a_j\}`. A vector of the subspace is determined by its entries in n
rows that are independent, so there are at most :math:`2^n` of them, and

.. math:: h = U U_S^{-1} h_S, \qquad h_S \in \prod_{j \in S} \{s a_j, a_j\},

has to be two-valued in the other rows as well. In terms of bits :math:`\beta \in \{0, 1\}^n` that is the condition
:math:`(T \beta)_j - o_j \in \{0, 1\}` with :math:`T = \mathrm{diag}(a)^{-1} U U_S^{-1} \mathrm{diag}(a_S)` and
:math:`o = (1 - T 1)\, s / (1 - s)`. A generic combination of a few rows of it is a subset-sum equation, the solutions of
which are found by sorting the sums of either half of the bits: of the order of :math:`2^{n/2}` steps. They are then tested in
every row. Nothing is random and nothing is left out: the answer is the complete list, up to the stated rounding error.

References
----------
M. Slawski, M. Hein, P. Lutsik, Matrix factorization with binary components, NIPS 2013 (the vertices of a cube in an affine
subspace, found from as many entries as the subspace has dimensions). E. Horowitz, S. Sahni, Computing partitions with
applications to the knapsack problem, 1974 (two sorted halves).
"""

from __future__ import annotations

import dataclasses
from typing import TypeAlias

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from provable.errors import UnsupportedError

Float: TypeAlias = NDArray[np.float64]
Bools: TypeAlias = NDArray[np.bool_]
Integers: TypeAlias = NDArray[np.int64]

LARGEST_DIMENSION = 44
"""Half of the bits are enumerated at once; 2**22 sums of either half are 64 MiB."""

MOST_CANDIDATES = 2**20
"""Solutions of the subset-sum equation that are tested in every row."""

_MOST_SEARCHES = 2**27
_RATIO = 30.0


@dataclasses.dataclass(frozen=True, eq=False)
class TwoValued:
    """The two-valued vectors of a subspace.

    Parameters
    ----------
    large : array of bool of shape (c, m)
        One row per vector: which entries are the weight itself rather than the slope times the weight.
    decided : array of bool of shape (m,)
        The rows in which the two values lie further apart than rounding; what the others say is not known.
    """

    large: Bools
    decided: Bools


def two_valued_vectors(basis: Float, weights: Float, slope: float, *, error: float) -> TwoValued:
    r"""Find all two-valued vectors of a subspace.

    Parameters
    ----------
    basis : array of shape (m, n)
        Orthonormal columns U, n at least 1.
    weights : array of shape (m,)
        The a_j.
    slope : float
        The number s, not 1.
    error : float
        Sine of the angle between the space that is meant and the span of U, at most.

    Returns
    -------
    TwoValued
        All of them, but for the vector 0. With δ the error, an entry counts as one of its two values if it is off by at most
        :math:`30\, \delta\, (1 + \|U_j U_S^{-1}\|)\, \|U_S^{-1}\|\, \|a_S\|`, which bounds what turning the space does to it.

    Raises
    ------
    UnsupportedError
        If the dimension is too large, if fewer rows than the dimension have weights that stand out of the error, or if the
        rows do not single out few enough candidates.
    """
    count = basis.shape[1]
    if count > LARGEST_DIMENSION:
        raise UnsupportedError(
            f"the column space has dimension {count}, so that 2^{(count + 1) // 2} half patterns would be listed; "
            f"a dimension of at most {LARGEST_DIMENSION} is accepted"
        )
    rows = _independent_rows(basis, weights)
    inverse = np.linalg.inv(basis[rows])
    entries = basis @ inverse
    spread = np.linalg.norm(entries, axis=1)
    turned = _RATIO * error * (1 + spread) * np.linalg.norm(inverse, 2) * np.linalg.norm(weights[rows])
    # Two values closer than four tolerances are not told apart.
    decided = np.abs(weights) * min(abs(1 - slope), 1.0) > 4 * turned
    if not np.all(decided[rows]):
        raise UnsupportedError(
            f"the column space is known up to {error:.1e} only, which does not tell the two values of an entry apart in "
            f"{count} independent rows"
        )
    others = np.flatnonzero(decided)
    others = others[~np.isin(others, rows)]
    transfer = entries[others] * weights[rows] / weights[others, None]
    equations = _Equations(
        transfer,
        (1 - transfer.sum(axis=1)) * slope / (1 - slope),
        turned[others] / (np.abs(weights[others]) * abs(1 - slope)),
    )
    bits = equations.solutions()
    if slope == 0.0:
        bits = bits[np.any(bits, axis=1)]
    large = np.zeros((len(bits), len(basis)), dtype=bool)
    large[:, others] = bits @ transfer.T - equations.offset > 0.5
    large[:, rows] = bits > 0.5
    return TwoValued(large, decided)


def _independent_rows(basis: Float, weights: Float) -> Integers:
    """Choose rows by pivoting: as independent as cheaply possible, among those whose weight is not negligible."""
    # Ten powers of two below the typical weight, rounding errors relative to the weight are a thousand times the typical.
    size = np.median(np.abs(weights[weights != 0])) if np.any(weights) else 1.0
    heavy = np.flatnonzero(np.abs(weights) >= size * 2.0**-10)
    if len(heavy) < basis.shape[1]:
        raise UnsupportedError(
            f"{len(heavy)} neurons have an output weight that is not negligible; at least {basis.shape[1]}, the dimension "
            "of the column space, are accepted"
        )
    _, triangle, order = scipy.linalg.qr(basis[heavy].T, mode="economic", pivoting=True)
    if abs(triangle[-1, basis.shape[1] - 1]) < 2.0**-40:
        raise UnsupportedError("the rows of neurons whose output weight is not negligible are dependent")
    chosen: Integers = heavy[order[: basis.shape[1]]]
    return chosen


@dataclasses.dataclass(frozen=True, eq=False)
class _Equations:
    """The conditions (T β)_j - o_j ∈ {0, 1} up to a tolerance in every row."""

    transfer: Float
    offset: Float
    tolerance: Float

    def solutions(self) -> Float:
        """All bits β, one row per solution."""
        count = self.transfer.shape[1]
        # Rows in which every bit counts exclude most.
        weighty = np.count_nonzero(np.abs(self.transfer) > 2.0**-10, axis=1)
        order = np.lexsort((self.tolerance, -weighty))
        candidates: Integers | None = None
        for used in (3, 6, 10):
            used = min(used, len(order))
            if candidates is None and 2.0**used * 2.0 ** ((count + 1) // 2) <= _MOST_SEARCHES:
                candidates = self._candidates(order[:used])
        if candidates is None:
            raise UnsupportedError(
                f"more than {MOST_CANDIDATES} patterns agree with the rows that were compared; too few neurons, or too "
                f"much alike, to tell {count} samples apart"
            )
        for start in range(0, len(order), 32):
            rows = order[start : start + 32]
            values = _bits(candidates, count) @ self.transfer[rows].T - self.offset[rows]
            wrong = np.minimum(np.abs(values), np.abs(values - 1)) > self.tolerance[rows]
            candidates = candidates[~np.any(wrong, axis=1)]
        return _bits(candidates, count)

    def _candidates(self, rows: Integers) -> Integers | None:
        """Codes of the patterns that solve one combination of rows; None if they are too many."""
        count = self.transfer.shape[1]
        low = count // 2
        # Square roots of distinct primes: no two choices of 0 and 1 in the rows have the same sum.
        factors = np.sqrt([2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0, 23.0, 29.0])[: len(rows)]
        combined, offset = factors @ self.transfer[rows], float(factors @ self.offset[rows])
        # The sums themselves are rounded as well, at most once per addition.
        rounding = (count + len(rows)) * 2.0**-52 * (float(np.abs(combined).sum()) + abs(offset) + factors.sum())
        reach = float(factors @ self.tolerance[rows]) + rounding
        first, second = _subset_sums(combined[:low]), _subset_sums(combined[low:])
        first_order, second_order = np.argsort(first), np.argsort(-second)
        first, second = first[first_order], second[second_order]
        found, total = [], 0
        for target in _subset_sums(factors) + offset:
            begin = np.searchsorted(first, target - second - reach, side="left")
            lengths = np.searchsorted(first, target - second + reach, side="right") - begin
            total += int(lengths.sum())
            if total > MOST_CANDIDATES:
                return None
            places = np.flatnonzero(lengths)
            counts = lengths[places]
            within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
            low_codes = first_order[np.repeat(begin[places], counts) + within]
            found.append((np.repeat(second_order[places], counts) << low) | low_codes)
        return np.unique(np.concatenate(found)).astype(np.int64)


def _subset_sums(numbers: Float) -> Float:
    """Sums over all subsets; bit k of an index says whether number k is in."""
    sums = np.zeros(1)
    for number in numbers:
        sums = np.concatenate([sums, sums + number])
    return sums


def _bits(codes: Integers, count: int) -> Float:
    return ((codes[:, None] >> np.arange(count)) & 1).astype(np.float64)
