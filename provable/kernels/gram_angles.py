"""Angles between many points: one matrix product for most pairs, differences of the points for the delicate ones.

The angle θ of a pair comes from sin²(θ/2) = ‖x̂ - ẑ‖²/4 and cos²(θ/2) = ‖x̂ + ẑ‖²/4, x̂ = x/‖x‖. A matrix product gives the
first up to an absolute error δ, and θ up to 2δ/sin θ, which is too much where points are nearly parallel. There the
differences or sums themselves are taken, which give θ up to a rounding error at any distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON

Numbers = NDArray[np.float64]

DELICATE = 1 / 16
"""A pair is delicate if sin²(θ/2) is below this times s², with s the greatest (‖x̂ - c‖² + ‖ẑ - c‖²)/4 of its block.

Products of vectors of 2 to 3072 coordinates were up to 5 units of 2⁻⁵² off, times s (measured; nearly parallel ones are the
worst). Beyond the threshold that leaves the angle an error of at most 5·2⁻⁵²/√(1/16) = 4.4e-15.
"""

NUMBERS_AT_ONCE = 2**15
"""Coordinates of the delicate pairs that are taken together: a quarter of a mebibyte stays in the cache."""


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
        (x̂ - c)/√2 with a common centre c.
    halves : ndarray of shape (n,)
        Half the squared norms of the centred vectors: sin²(θ/2) is the sum of two of them minus a product.
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
        centred *= math.sqrt(0.5)
        prepared.append(Directions(points, square, unit, centred, np.einsum("ij,ij->i", centred, centred) / 2))
    return tuple(prepared)


@dataclass(frozen=True, eq=False)
class Angles:
    """The angles θ of all pairs of a block.

    Attributes
    ----------
    near, far : ndarray of shape (n, m)
        sin²(θ/2) and cos²(θ/2); numbers without a meaning where one of both points is zero.
    same : pair of ndarray of int
        Rows and columns of the pairs that are twice the same point: exactly 0 and 1 there, also if it is zero.
    """

    near: Numbers
    far: Numbers
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
        return Angles(self.near[rows], self.far[rows], same)


def block_of_angles(
    left: Directions, right: Directions, rows: slice, columns: slice, near: Numbers, far: Numbers
) -> Angles:
    """Find the angles between some points of one set and some of another.

    Parameters
    ----------
    left, right : Directions
        The sets, prepared together.
    rows, columns : slice
        Which points of them.
    near, far : ndarray of shape (n, m)
        Where to write sin²(θ/2) and cos²(θ/2).

    Returns
    -------
    Angles
        Of the block, in the arrays given.
    """
    halves, other_halves = left.halves[rows], right.halves[columns]
    np.matmul(left.centred[rows], right.centred[columns].T, out=near)
    np.subtract(halves[:, None], near, out=near)
    np.add(near, other_halves, out=near)
    np.subtract(1.0, near, out=far)
    spread = float(halves.max()) + float(other_halves.max())
    # with 64 units of 2⁻⁵²·s at least, what the product says is positive beyond the threshold
    threshold = spread * max(DELICATE * spread, 64 * EPSILON)
    same = _NONE
    if float(near.min()) < threshold:
        pairs = np.nonzero(near < threshold)
        squares, equal = _squared_distances(left, right, rows, columns, pairs, -1.0)
        near[pairs], far[pairs] = squares / 4, 1 - squares / 4
        same = (pairs[0][equal], pairs[1][equal])
    # sums of the points are not centred, so that nothing makes their errors smaller
    if float(far.min()) < DELICATE / 4:
        pairs = np.nonzero(far < DELICATE / 4)
        squares, _ = _squared_distances(left, right, rows, columns, pairs, 1.0)
        far[pairs], near[pairs] = squares / 4, 1 - squares / 4
    return Angles(near, far, same)


_NONE = (np.zeros(0, dtype=np.intp), np.zeros(0, dtype=np.intp))


def _squared_distances(
    left: Directions,
    right: Directions,
    rows: slice,
    columns: slice,
    pairs: tuple[NDArray[np.intp], ...],
    sign: float,
) -> tuple[Numbers, NDArray[np.bool_]]:
    """‖x̂ + sign·ẑ‖² of listed pairs of a block, and which of them are twice the same point."""
    ours, theirs = pairs[0] + rows.start, pairs[1] + columns.start
    squares = np.empty(len(ours))
    step = max(1, NUMBERS_AT_ONCE // left.unit.shape[1])
    for start in range(0, len(ours), step):
        part = slice(start, start + step)
        gap = left.unit[ours[part]]
        if sign < 0:
            gap -= right.unit[theirs[part]]
        else:
            gap += right.unit[theirs[part]]
        np.einsum("ij,ij->i", gap, gap, out=squares[part])
    same = np.zeros(len(ours), dtype=np.bool_)
    (candidates,) = np.nonzero(squares == 0)
    for start in range(0, len(candidates), step):
        chosen = candidates[start : start + step]
        same[chosen] = (left.points[ours[chosen]] == right.points[theirs[chosen]]).all(axis=1)
    return squares, same
