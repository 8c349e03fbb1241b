r"""Directions inside an activation cell along which the output stays, unbounded ones first, by linear programs.

The part of a closed cell where the outputs are those of the sample is a polyhedron F = {z : σ_k (z_k(x)) ≥ 0, kinks and
outputs as they are}. The sample can be split along a direction as far as F reaches on both sides. F contains

* a whole line if its lineality space, the null space of all rows, is not trivial: always if rank W_1 < d;
* a ray r, σ_k ⟨row_k, r⟩ ≥ 0 for all k, if its recession cone is not that space. One of the two new points then goes to any
  distance, with a weight that falls in proportion, and the other one stays within the cell;
* neither if F is bounded, as for d = 1, where it is a point unless the network is flat there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array, Float
from provable.arithmetic.null_space import null_space
from provable.stationarity.activation_cells import Cell

TRIALS = 8
"""So many random objectives are tried in each linear program."""

SOLVER_ERROR = 1e-7
"""Slacks below this count as zero in a solution of the linear program, whose tolerance is 1e-7."""


@dataclass(frozen=True, eq=False)
class CellDirection:
    """A direction within a cell that keeps the outputs.

    Attributes
    ----------
    kind : {"line", "ray", "segment"}
        Whether the cell has no boundary on both sides, on one side, or on neither.
    direction : ndarray of shape (d,)
        The direction, of length about one.
    forward, backward : number or None
        How far the cell reaches along it and against it; None where there is no boundary.
    """

    kind: str
    direction: Array
    forward: Any
    backward: Any


def cell_direction(cell: Cell, rng: np.random.Generator) -> CellDirection | None:
    """Find a direction along which the cell reaches far.

    Parameters
    ----------
    cell : Cell
        A cell, of floats or rationals.
    rng : numpy.random.Generator
        Draws the objectives of the linear programs.

    Returns
    -------
    CellDirection or None
        A line if there is one, else a ray if the linear program finds one, else the longest segment found; None if the
        sample is alone in the part of its cell that has its outputs. For rationals the direction is exact.
    """
    strict = ~cell.kinks
    signs = np.sign(arithmetic.to_float(cell.values[strict]))
    lines = null_space(np.concatenate([cell.rows, cell.outputs]))
    if len(lines):
        return CellDirection("line", _unit(_mixture(lines, rng)), None, None)
    free = null_space(cell.fixed)
    if not len(free):
        return None
    rows = cell.rows[strict] @ free.T
    lengths = np.linalg.norm(arithmetic.to_float(rows), axis=1)
    seen = lengths > 0
    scaled = signs[seen, None] * arithmetic.to_float(rows[seen]) / lengths[seen, None]
    for _ in range(TRIALS):
        found = _ray(scaled, rows[seen], signs[seen], rng)
        if found is not None:
            direction = _unit(found @ free)
            return _with_steps("ray", cell, direction)
    values = np.abs(arithmetic.to_float(cell.values[strict][seen])) / lengths[seen]
    return _longest(cell, free, scaled, values, rng)


def _ray(scaled: Float, rows: Array, signs: Float, rng: np.random.Generator) -> Array | None:
    """A nonzero vector with nonnegative products with all rows times their signs, if the program finds one."""
    # products with random positive weights: zero for all only if the cone is trivial, since its lineality space is
    weights = rng.uniform(0.5, 1.5, size=len(scaled))
    vertex = _largest(weights @ scaled, -scaled, np.zeros(len(scaled)), 1.0)
    if vertex is None or weights @ scaled @ vertex < SOLVER_ERROR * len(scaled):
        return None
    products = scaled @ vertex
    # the vertex as an exact null vector of the rows that hold with equality, where floats would be off by the tolerance
    # (the first row of zeros keeps the arithmetic where there are no others)
    candidates = null_space(np.concatenate([0 * rows[:1], rows[products < SOLVER_ERROR]]))
    if len(candidates):
        coordinates = arithmetic.to_float(candidates)
        factors: Float = np.asarray(np.linalg.lstsq(coordinates.T, vertex, rcond=None)[0], dtype=np.float64)
        vector: Array = _converted(factors, candidates) @ candidates
        products = np.where(products < SOLVER_ERROR, 0.0, signs * arithmetic.to_float(rows @ vector))
        if np.all(products >= 0) and np.any(products > 0):
            return vector
    return None


def _longest(cell: Cell, free: Array, scaled: Float, values: Float, rng: np.random.Generator) -> CellDirection | None:
    """The direction with the largest way on both sides among those that linear programs give."""
    best: CellDirection | None = None
    rows, limits = np.concatenate([scaled, -scaled]), np.concatenate([values, values])
    for _ in range(TRIALS):
        vertex = _largest(rng.standard_normal(size=(scaled.shape[1],)), rows, limits, None)
        if vertex is None or not np.any(vertex):
            continue
        candidate = _with_steps("segment", cell, _unit(_converted(vertex, free) @ free))
        if candidate.forward is None or candidate.backward is None:
            continue
        if best is None or min(candidate.forward, candidate.backward) > min(best.forward, best.backward):
            best = candidate
    return best


def _largest(objective: Float, rows: Float, limits: Float, bound: float | None) -> Float | None:
    """The x with the largest product with the objective where rows @ x ≤ limits and |x_k| ≤ bound, if the solver finds it."""
    from scipy.optimize import linprog

    box: Any = (None, None) if bound is None else (-bound, bound)
    solution = linprog(-objective, A_ub=rows, b_ub=limits, bounds=box)
    return np.asarray(solution.x, dtype=np.float64) if solution.status == 0 else None


def _with_steps(kind: str, cell: Cell, direction: Array) -> CellDirection:
    forward, backward = cell.steps(direction)
    return CellDirection(kind, direction, forward, backward)


def _mixture(basis: Array, rng: np.random.Generator) -> Array:
    return np.asarray(_converted(rng.standard_normal(len(basis)), basis) @ basis)


def _converted(numbers: Float, like: Array) -> Array:
    result = arithmetic.full(numbers.shape, 0, like)
    for index, number in enumerate(numbers):
        result[index] = arithmetic.constant(float(number), like)
    return result


def _unit(vector: Array) -> Array:
    length = float(np.linalg.norm(arithmetic.to_float(vector)))
    return np.asarray(vector / arithmetic.constant(length, vector))
