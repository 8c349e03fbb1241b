"""Angles between many points: one matrix product for most pairs, differences of the points for the delicate ones.

The angle θ of a pair depends on 1 - u = ‖x̂ - ẑ‖²/2 and 1 + u = ‖x̂ + ẑ‖²/2, x̂ = x/‖x‖. A matrix product gives 1 - u up to an
absolute error δ, and θ up to δ/sin θ, which is too much where points are nearly parallel. There the differences or sums
themselves are taken, which give θ up to a rounding error at any distance.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON

Numbers = NDArray[np.float64]

DELICATE = 1 / 32
"""A pair is delicate if 1 - u or 1 + u is below this times s², with s the greatest ‖x̂ - c‖² of its block.

Products of unit vectors of 2 to 3072 coordinates were up to 5 units of 2⁻⁵² off, times s (measured, nearly parallel ones are
the worst). Beyond the threshold that leaves the angle an error of at most 5·2⁻⁵²/√(2/32) = 4.4e-15.
"""

PAIRS_AT_ONCE = 2**15
"""Numbers of a batch of delicate pairs: a quarter of a mebibyte stays in the cache."""


@dataclass(frozen=True, eq=False)
class Directions:
    """One set of points, prepared for angles with others.

    Attributes
    ----------
    points : ndarray of shape (n, d)
        The points.
    squares : ndarray of shape (n,)
        Their squared norms.
    unit : ndarray of shape (n, d)
        x/‖x‖, and zero for a zero point.
    centred : ndarray of shape (n, d)
        The unit vectors minus a common centre c.
    halves : ndarray of shape (n,)
        Half the squared norms of the centred vectors.
    """

    points: Numbers
    squares: Numbers
    unit: Numbers
    centred: Numbers
    halves: Numbers


def directions(*sets: Numbers) -> tuple[Directions, ...]:
    """Normalise sets of points and move them to a common centre, the mean direction.

    Parameters
    ----------
    *sets : ndarray of shape (n, d)
        Points, finite.

    Returns
    -------
    tuple of Directions
        One for each set. Differences of unit vectors do not depend on the centre, and rounding errors of their products are
        the smaller, the closer all of them are to it.
    """
    squares = [(points * points).sum(axis=1) for points in sets]
    units = []
    for points, square in zip(sets, squares, strict=True):
        norms = np.sqrt(square)
        norms[norms == 0] = 1.0
        units.append(points / norms[:, None])
    count = sum(len(points) for points in sets)
    total = np.sum([unit.sum(axis=0) for unit in units], axis=0)
    centre = total / max(count, 1)
    prepared = []
    for points, square, unit in zip(sets, squares, units, strict=True):
        centred = unit - centre
        prepared.append(Directions(points, square, unit, centred, np.einsum("ij,ij->i", centred, centred) / 2))
    return tuple(prepared)


@dataclass(frozen=True, eq=False)
class Angles:
    """The angles of all pairs of a block.

    Attributes
    ----------
    below_one, above_minus_one : ndarray of shape (n, m)
        1 - u and 1 + u, with u the cosine of the angle; both are 1 where a point is zero.
    same : pair of ndarray of int
        Rows and columns of the pairs that are twice the same point: 1 - u = 0 and 1 + u = 2 there, zero or not.
    """

    below_one: Numbers
    above_minus_one: Numbers
    same: tuple[NDArray[np.intp], NDArray[np.intp]]

    def strip(self, rows: slice) -> Angles:
        """Take some rows.

        Parameters
        ----------
        rows : slice
            Which, with both ends.

        Returns
        -------
        Angles
            Of these rows, in the same arrays.
        """
        same_rows, same_columns = self.same
        inside = (same_rows >= rows.start) & (same_rows < rows.stop)
        same = (same_rows[inside] - rows.start, same_columns[inside])
        return Angles(self.below_one[rows], self.above_minus_one[rows], same)


def block_of_angles(
    left: Directions, right: Directions, rows: slice, columns: slice, below: Numbers, above: Numbers
) -> Angles:
    """Find the angles between some points of one set and some of another.

    Parameters
    ----------
    left, right : Directions
        The sets, prepared together.
    rows, columns : slice
        Which points of them.
    below, above : ndarray of shape (n, m)
        Where to write 1 - u and 1 + u.

    Returns
    -------
    Angles
        Of the block, in the arrays given.
    """
    halves, other_halves = left.halves[rows], right.halves[columns]
    np.matmul(left.centred[rows], right.centred[columns].T, out=below)
    np.subtract(halves[:, None], below, out=below)
    np.add(below, other_halves, out=below)
    np.subtract(2.0, below, out=above)
    spread = float(halves.max()) + float(other_halves.max())
    # with 64 units of 2⁻⁵²·s at least, what the product says is positive beyond the threshold
    threshold = spread * max(DELICATE * spread, 64 * EPSILON)
    zero, other_zero = left.squares[rows] == 0, right.squares[columns] == 0
    # a zero point has no angle with others; two of them are the same point
    for array in (below, above):
        array[zero] = 1.0
        array[:, other_zero] = 1.0
    same_rows, same_columns = np.nonzero(zero[:, None] & other_zero) if zero.any() and other_zero.any() else _NONE
    if float(below.min()) < threshold:
        near_rows, near_columns = np.nonzero(below < threshold)
        squared, same = _squared_distances(left, right, rows, columns, near_rows, near_columns, -1.0)
        below[near_rows, near_columns] = squared / 2
        above[near_rows, near_columns] = 2 - squared / 2
        same_rows = np.concatenate([same_rows, near_rows[same]])
        same_columns = np.concatenate([same_columns, near_columns[same]])
    # sums are not centred: their error is that of products of unit vectors
    if float(above.min()) < DELICATE:
        far_rows, far_columns = np.nonzero(above < DELICATE)
        squared, _ = _squared_distances(left, right, rows, columns, far_rows, far_columns, 1.0)
        above[far_rows, far_columns] = squared / 2
        below[far_rows, far_columns] = 2 - squared / 2
    below[same_rows, same_columns] = 0.0
    above[same_rows, same_columns] = 2.0
    return Angles(below, above, (same_rows, same_columns))


_NONE = (np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp))


def _squared_distances(
    left: Directions,
    right: Directions,
    rows: slice,
    columns: slice,
    near_rows: NDArray[np.intp],
    near_columns: NDArray[np.intp],
    sign: float,
) -> tuple[Numbers, NDArray[np.bool_]]:
    """‖x̂ + sign·ẑ‖² of listed pairs, and which of them are twice the same point."""
    unit, other = left.unit[rows], right.unit[columns]
    squared = np.empty(len(near_rows))
    step = max(1, PAIRS_AT_ONCE // unit.shape[1])
    for start in range(0, len(near_rows), step):
        part = slice(start, start + step)
        gap = unit[near_rows[part]]
        with_other = other[near_columns[part]]
        if sign < 0:
            gap -= with_other
        else:
            gap += with_other
        np.einsum("ij,ij->i", gap, gap, out=squared[part])
    same = np.zeros(len(near_rows), dtype=np.bool_)
    (candidates,) = np.nonzero(squared == 0)
    points, others = left.points[rows], right.points[columns]
    for start in range(0, len(candidates), step):
        part_of = candidates[start : start + step]
        same[part_of] = (points[near_rows[part_of]] == others[near_columns[part_of]]).all(axis=1)
    return squared, same
