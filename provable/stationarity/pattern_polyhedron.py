r"""All data with given labels and activation patterns that share a stationary point: a polyhedron, and its far corners.

Fix the slopes of n samples (patterns, and Clarke weights at kinks) and their labels. In the variables λ_i and p_i = λ_i x_i

* stationarity is linear: tangents are affine in x, so Σ λ_i y_i ∇_θ f(x_i) = Σ y_i (λ_i t_i + T_i p_i);
* so are margins, y_i (g_i p_i + h_i λ_i) = m_i λ_i, and kinks;
* the cells are half-spaces, σ_k (row_k p_i + offset_k λ_i) ≥ 0, and λ_i ≥ 0.

So the multipliers and data with these patterns form a convex polyhedron, of a dimension that is a rank. Exchanges move within
it, and splitting and merging lead to that of another number of samples. If its dimension is zero, no other data of that
number with these patterns, Clarke weights and margins exist, near or far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array, Float
from provable.arithmetic.null_space import null_space
from provable.errors import UnsupportedError
from provable.stationarity.activation_cells import ActivationCells, CellMeasure
from provable.stationarity.data_distances import data_distances

LEAST_SHARE = 0.125
"""Multipliers stay above this share of what they were, so that every sample remains one."""

TRIALS = 8
"""So many random objectives are tried."""

MOST_UNKNOWNS = 1500
"""Multipliers and entries of samples together, of which a null space is still found in seconds."""


@dataclass(frozen=True, eq=False)
class PatternPolyhedron:
    """The polyhedron around a data set; `pattern_polyhedron` makes one.

    Attributes
    ----------
    members : ndarray of int, shape (n',)
        The samples with positive multipliers: the others can be anywhere on or beyond the margin.
    labels : ndarray of shape (n',)
        Their labels.
    start : ndarray of shape (n' (1 + d),)
        The data set itself: λ_i and λ_i x_i, sample by sample.
    directions : ndarray of shape (k, n' (1 + d))
        A basis of the directions of its affine hull.
    inequalities : ndarray of shape (q, n' (1 + d))
        Rows whose products are nonnegative on it.
    limits : ndarray of shape (q,)
        What these products are at least: zero, or the least multiplier.
    sizes : ndarray of shape (n' (1 + d),)
        Typical sizes of the variables, floats, by which linear algebra and linear programs of floats scale them.
    """

    members: Array
    labels: Array
    start: Array
    directions: Array
    inequalities: Array
    limits: Array
    sizes: Float

    @property
    def dimension(self) -> int:
        """The dimension k of its affine hull.

        Returns
        -------
        int
            Zero if the data set is the only one with its patterns and Clarke weights.
        """
        return len(self.directions)

    def along(self, move: Array) -> Array:
        """Go along a direction, up to where it ends or the polyhedron does.

        Parameters
        ----------
        move : ndarray of shape (n' (1 + d),)
            A combination of `directions`.

        Returns
        -------
        ndarray of shape (n' (1 + d),)
            The start plus the move, or the share of it that the polyhedron has.
        """
        slack = self.inequalities @ self.start - self.limits
        step = arithmetic.constant(1, self.start)
        for rate, room in zip(self.inequalities @ move, slack, strict=True):
            if rate < 0 and -room / rate < step:
                step = -room / rate
        return np.asarray(self.start + step * move)


def pattern_polyhedron(
    cells: ActivationCells, coefficients: Array, *, keep_multipliers: bool = False
) -> PatternPolyhedron:
    """Form the polyhedron of all data sets with the patterns and the stationary point of one.

    Parameters
    ----------
    cells : ActivationCells
        The network with one output, and the samples with their slopes.
    coefficients : ndarray of shape (n, 1)
        λ_i y_i.
    keep_multipliers : bool, optional
        Whether λ stays, as it has to under weight decay, where margins determine it.

    Returns
    -------
    PatternPolyhedron
        With at least one member unless all coefficients are zero. Ranks are exact for rationals.

    Raises
    ------
    UnsupportedError
        If there are more than `MOST_UNKNOWNS` unknowns.
    """
    members = np.flatnonzero(np.asarray(coefficients[:, 0] != 0, dtype=np.bool_))
    dimension, like = cells.points.shape[1], cells.points
    size = 1 + dimension
    total = len(members) * size
    if total > MOST_UNKNOWNS:
        raise UnsupportedError(
            f"points: {len(members)} of {dimension} entries with multipliers are {total} unknowns; at most {MOST_UNKNOWNS} "
            "are accepted"
        )
    one, zero = arithmetic.constant(1, like), arithmetic.constant(0, like)
    labels = np.array([one if coefficients[i, 0] > 0 else -one for i in members], dtype=like.dtype)
    start = arithmetic.full((total,), 0, like)
    columns, rows, half_spaces, limits = [], [], [], []
    for place, index in enumerate(members):
        part = slice(place * size, (place + 1) * size)
        multiplier = coefficients[index, 0] * labels[place]
        start[part] = np.concatenate([_one(multiplier, like), multiplier * cells.points[index]])
        columns.append(labels[place] * _tangent_columns(cells, int(index)))
        cell = cells.cell(int(index))
        offsets = cell.values - cell.rows @ cells.points[index]

        def placed(number: Any, vector: Array, part: slice = part) -> Array:
            row = arithmetic.full((total,), 0, like)
            row[part] = np.concatenate([_one(number, like), vector])
            return row

        rows += [placed(offsets[k], cell.rows[k]) for k in np.flatnonzero(cell.kinks)]
        # the output g x + h stays: (h - f) λ + g p = 0
        rows.append(placed(-(cell.outputs[0] @ cells.points[index]), cell.outputs[0]))
        if keep_multipliers:
            rows.append(placed(one, zero * cells.points[index]))
        for k in np.flatnonzero(~cell.kinks):
            sign = one if cell.values[k] > 0 else -one
            half_spaces.append(placed(sign * offsets[k], sign * cell.rows[k]))
            limits.append(zero)
        half_spaces.append(placed(one, zero * cells.points[index]))
        limits.append(multiplier * arithmetic.constant(LEAST_SHARE, like))
    if not len(members):
        empty = arithmetic.full((0, 0), 0, like)
        return PatternPolyhedron(members, labels, start, empty, empty, start, np.zeros(0))
    weights = np.abs(arithmetic.to_float(coefficients[members, 0]))
    length = float(np.abs(arithmetic.to_float(cells.points[members])).max()) or 1.0
    sizes: Float = (weights[:, None] * np.array([1.0, *[length] * dimension])).reshape(-1)
    directions = _solutions(np.concatenate(columns, axis=1), np.array(rows, dtype=like.dtype), sizes)
    inequalities = np.array(half_spaces, dtype=like.dtype)
    return PatternPolyhedron(
        members, labels, start, directions, inequalities, np.array(limits, dtype=like.dtype), sizes
    )


def far_member(
    polyhedron: PatternPolyhedron, cells: ActivationCells, distance: float, rng: np.random.Generator
) -> CellMeasure:
    """Find a data set in the polyhedron that is far from the one it was formed around.

    Parameters
    ----------
    polyhedron : PatternPolyhedron
        Of positive dimension.
    cells : ActivationCells
        What it was formed from.
    distance : float
        How far the samples are to be in the mean under the best assignment, where the polyhedron reaches so far.
    rng : numpy.random.Generator
        Draws objectives.

    Returns
    -------
    CellMeasure
        A data set on the way to the farthest of the corners that linear programs find: the nearest one on that way, of
        those that halving finds, that is far enough, or the corner.
    """
    half = arithmetic.constant(0.5, cells.points)
    farthest, best = -1.0, polyhedron.start
    for _ in range(TRIALS):
        corner = polyhedron.along(_corner(polyhedron, distance, rng))
        far = _distance(polyhedron, corner, cells)
        if far > farthest:
            farthest, best = far, corner
    while True:
        nearer = half * (polyhedron.start + best)
        if _distance(polyhedron, nearer, cells) < distance:
            return _as_measure(polyhedron, best)
        best = nearer


def _distance(polyhedron: PatternPolyhedron, state: Array, cells: ActivationCells) -> float:
    here = arithmetic.to_float(cells.points[polyhedron.members])
    return data_distances(here, arithmetic.to_float(_as_measure(polyhedron, state).points)).assignment


def _corner(polyhedron: PatternPolyhedron, distance: float, rng: np.random.Generator) -> Array:
    from scipy.optimize import linprog

    sizes = polyhedron.sizes
    basis = arithmetic.to_float(polyhedron.directions) / sizes
    basis_lengths = np.linalg.norm(basis, axis=1)
    basis = basis / basis_lengths[:, None]
    rows = arithmetic.to_float(polyhedron.inequalities) * sizes
    lengths = np.linalg.norm(rows, axis=1)
    lengths[lengths == 0] = 1.0
    slack = rows @ (arithmetic.to_float(polyhedron.start) / sizes) - arithmetic.to_float(polyhedron.limits)
    # variables are scaled to samples of size one or less
    reach = 4 * max(1.0, distance * sizes[0] / sizes[-1])
    box: Any = (-reach, reach)
    objective = rng.standard_normal(size=(len(sizes),))
    solution = linprog(
        -basis @ objective,
        A_ub=-(rows / lengths[:, None]) @ basis.T,
        b_ub=np.maximum(slack / lengths, 0.0),
        bounds=box,
    )
    factors: Float = np.zeros(len(basis)) if solution.status != 0 else np.asarray(solution.x) / basis_lengths
    exact = arithmetic.full((len(factors),), 0, polyhedron.directions)
    for index, factor in enumerate(factors):
        exact[index] = arithmetic.constant(float(factor), polyhedron.directions)
    return np.asarray(exact @ polyhedron.directions)


def _as_measure(polyhedron: PatternPolyhedron, state: Array) -> CellMeasure:
    table = state.reshape(len(polyhedron.members), -1)
    multipliers = table[:, :1]
    return CellMeasure(table[:, 1:] / multipliers, multipliers * polyhedron.labels[:, None], polyhedron.members)


def _tangent_columns(cells: ActivationCells, index: int) -> Array:
    """The tangent of one cell as a linear function of (1, x): columns for one, and for each entry of x."""
    dimension = cells.points.shape[1]
    unit = arithmetic.full((1, 1), 1, cells.points)
    columns = []
    origin = arithmetic.full((1, dimension), 0, cells.points)
    constant = cells.embedding(CellMeasure(origin, unit, np.array([index])))
    columns.append(constant)
    for k in range(dimension):
        point = origin.copy()
        point[0, k] = unit[0, 0]
        columns.append(cells.embedding(CellMeasure(point, unit, np.array([index]))) - constant)
    return np.stack(columns, axis=1)


def _solutions(tangents: Array, rows: Array, sizes: Float) -> Array:
    """A basis of the common null space; floats are scaled by the sizes of the variables, and row by row."""
    if arithmetic.kind(rows) != "float64":
        return null_space(np.concatenate([tangents, rows]))
    scaled = _normalised(tangents * sizes)
    if scaled.shape[0] > scaled.shape[1]:
        scaled = np.asarray(np.linalg.qr(scaled, mode="r"))
    return null_space(np.concatenate([scaled, _normalised(rows * sizes)])) * sizes


def _normalised(rows: Array) -> Array:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(rows / np.where(lengths > 0, lengths, 1.0))


def _one(number: Any, like: Array) -> Array:
    result = arithmetic.full((1,), 0, like)
    result[0] = number
    return result
