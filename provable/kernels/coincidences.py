"""Exact positions of finitely many points: which coincide, share a ray or an axis, are antipodal or linearly dependent."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import flint
import numpy as np

from provable.errors import InputError

Relation = dict[int, Fraction]
"""Coefficients of a linear relation by the index of their point."""


@dataclass(frozen=True)
class Place:
    """A point as a multiple of a primitive integer vector.

    Attributes
    ----------
    axis : tuple of int
        Coprime integers, the first nonzero one positive; empty for the zero vector.
    scale : Fraction
        The point is scale·axis.
    """

    axis: tuple[int, ...]
    scale: Fraction

    @property
    def ray(self) -> tuple[tuple[int, ...], bool]:
        """What all positive multiples of the point share.

        Returns
        -------
        tuple
            The axis and whether the point lies on its positive side.
        """
        return self.axis, self.scale > 0


def places(points: Any) -> list[Place]:
    """Place points exactly.

    Parameters
    ----------
    points : array_like of shape (n, d)
        Floats (each the rational number that it is), integers, fractions or FLINT rationals.

    Returns
    -------
    list of Place
        One for each point.

    Raises
    ------
    InputError
        If the shape does not fit or an entry is not a finite rational number.
    """
    table = np.asarray(points)
    if table.ndim != 2 or table.shape[1] == 0:
        raise InputError(f"points: found shape {table.shape}; (n, d) with d at least 1 is accepted")
    return [_place([_ratio(entry) for entry in row]) for row in table.tolist()]


def _ratio(entry: Any) -> tuple[int, int]:
    try:
        if isinstance(entry, flint.fmpq | flint.fmpz):
            rational = flint.fmpq(entry)
            return int(rational.numer()), int(rational.denom())
        numerator, denominator = entry.as_integer_ratio()
        return int(numerator), int(denominator)
    except (AttributeError, TypeError, ValueError, OverflowError):
        raise InputError(f"points: found {entry!r:.60}; finite floats, integers and fractions are accepted") from None


def _place(row: Sequence[tuple[int, int]]) -> Place:
    denominator = math.lcm(*(below for _, below in row))
    integers = [above * (denominator // below) for above, below in row]
    divisor = math.gcd(*integers)
    if divisor == 0:
        return Place((), Fraction(0))
    if next(number for number in integers if number) < 0:
        divisor = -divisor
    return Place(tuple(number // divisor for number in integers), Fraction(divisor, denominator))


def dependency(vectors: Sequence[Sequence[int | Fraction]]) -> list[Fraction] | None:
    """A linear relation between rational vectors.

    Parameters
    ----------
    vectors : sequence of sequence of int or Fraction
        Vectors of one length.

    Returns
    -------
    list of Fraction or None
        Coefficients, not all zero, of a vanishing combination; None if the vectors are independent.
    """
    if not vectors:
        return None
    length = len(vectors[0])
    used = vectors[: length + 1]  # more are always dependent
    entries = [[flint.fmpq(*Fraction(vector[row]).as_integer_ratio()) for vector in used] for row in range(length)]
    reduced, rank = flint.fmpq_mat(entries).rref()
    if rank == len(used):
        return None
    pivots = [next(column for column in range(len(used)) if reduced[row, column] != 0) for row in range(rank)]
    free = next(column for column in range(len(used)) if column not in pivots)
    relation = [Fraction(0)] * len(vectors)
    relation[free] = Fraction(1)
    for row, pivot in enumerate(pivots):
        value = reduced[row, free]
        relation[pivot] = -Fraction(int(value.numer()), int(value.denom()))
    return relation
