"""The best combination of Clarke tangents for a vector: multipliers of functions, with the slopes at kinks.

Notes
-----
With known multipliers (weight decay), the cells of one function share its multiplier: their weights add up to one. Functions
with several cells get this equation as a further row that is `SIMPLEX_WEIGHT` times as large as the vector, and the weights
are normalised afterwards. If the vector is a combination, the row costs nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.arithmetic import EPSILON, Array
from provable.stationarity.clarke import ClarkeCells, ClarkeTangents
from provable.stationarity.multipliers import PRICE_ROUNDINGS, nearest_in_cone

SIMPLEX_WEIGHT = 100.0
"""Size of the row that makes weights add up to one: the residual is then the least one up to a relative 1e-4."""

FIRST_COMBINATIONS = 2
"""Combinations of one-sided slopes outside the open layer to begin with; others are added where a residual asks for them."""

ROUNDS = 200
"""How often cells are added at most."""


@dataclass(frozen=True, eq=False)
class Combination:
    """A vector as a combination of Clarke tangents, and what is left of it.

    Attributes
    ----------
    multipliers : ndarray of shape (q,)
        λ_c ≥ 0; zero for the functions that were left out, one if they were known.
    slopes : dict of str to ndarray of shape (q, units)
        By the path of every activation with a kink, the slopes of each function's tangent, or their mean over several.
    residual : ndarray of shape (P,)
        The vector minus the combination.
    """

    multipliers: Array
    slopes: dict[str, Array]
    residual: Array


def combine(tangents: ClarkeTangents, vector: Array, chosen: NDArray[np.bool_], *, known: bool = False) -> Combination:
    """Combine the tangents of chosen functions so that they come nearest to a vector.

    Parameters
    ----------
    tangents : ClarkeTangents
        The tangents of q functions.
    vector : ndarray of shape (P,)
        The vector, in their arithmetic.
    chosen : ndarray of bool, shape (q,)
        Which functions may have multipliers.
    known : bool, optional
        Whether the multipliers are known, namely one; only slopes are searched then.

    Returns
    -------
    Combination
        The nearest one; with functions of more than 64 combinations of slopes, one to which an ascent found nothing to add.
    """
    cells = tangents.first_cells(FIRST_COMBINATIONS)
    first = cells
    cells = cells.selected(np.flatnonzero(chosen[cells.constraints]))
    open_ones = np.flatnonzero(tangents.truncated(FIRST_COMBINATIONS) & chosen)
    few = chosen & ~tangents.truncated()
    every: ClarkeCells | None = None
    former = None
    for _ in range(ROUNDS):
        weights, parts, excess = _solve(cells, vector, len(chosen), known=known)
        residual = vector - weights @ cells.base - parts @ cells.steps
        squared = residual @ residual
        if len(open_ones) == 0 or (former is not None and not squared < former):
            break  # every cell that was asked for makes the residual smaller, up to rounding
        former = squared
        added = _asked(tangents.better_cells(residual, open_ones), residual, vector, excess)
        if len(added.constraints) == 0:  # the ascent may have missed some of the functions with few combinations
            if every is None:
                every = tangents.first_cells()
                every = every.selected(np.flatnonzero(few[every.constraints]))
            added = _asked(every, residual, vector, excess)
        if len(added.constraints) == 0:
            break
        cells = cells.joined(added)
    multipliers = arithmetic.full((len(chosen),), 0, vector)
    np.add.at(multipliers, cells.constraints, weights)
    return Combination(multipliers, _mean_slopes(first, cells, multipliers, weights, parts), residual)


def _solve(cells: ClarkeCells, vector: Array, count: int, *, known: bool) -> tuple[Array, Array, Array]:
    """Weights of cells, parts of steps, and the price above which another cell of each function would help."""
    zero = arithmetic.full((count,), 0, vector)
    several = len(set(cells.constraints.tolist())) < len(cells.constraints)
    if not known or not several:
        fixed = arithmetic.full((len(cells.constraints),), 1, vector) if known else None
        point = nearest_in_cone(vector, cells.base, cells.steps, cells.owners, fixed=fixed)
        return point.weights, point.parts, zero
    row = SIMPLEX_WEIGHT * np.linalg.norm(vector)
    functions = np.unique(cells.constraints)
    sums = row * (cells.constraints[:, None] == functions)
    base = np.concatenate([cells.base, sums], axis=1)
    steps = np.concatenate([cells.steps, np.zeros((len(cells.steps), len(functions)))], axis=1)
    point = nearest_in_cone(np.concatenate([vector, np.full(len(functions), row)]), base, steps, cells.owners)
    totals = np.zeros(count)
    np.add.at(totals, cells.constraints, point.weights)
    factors = 1 / np.where(totals > 0, totals, 1.0)[cells.constraints]
    zero[functions] = -row * point.residual[len(vector) :]
    return point.weights * factors, point.parts * factors[cells.owners], zero


def _asked(cells: ClarkeCells, residual: Array, vector: Array, excess: Array) -> ClarkeCells:
    """The best cell of each function, if its largest inner product with the residual says that it would help."""
    prices = cells.steps @ residual
    totals = cells.base @ residual
    np.add.at(totals, cells.owners, np.where(np.asarray(prices > 0, dtype=np.bool_), prices, prices * 0))
    if arithmetic.kind(vector) == "float64":  # what rounding may make of zero
        sizes = np.linalg.norm(cells.base, axis=1)
        np.add.at(sizes, cells.owners, np.linalg.norm(cells.steps, axis=1))
        totals = totals - PRICE_ROUNDINGS * EPSILON * np.linalg.norm(vector) * sizes
    best: dict[int, int] = {}
    for cell, function in enumerate(cells.constraints.tolist()):
        if totals[cell] > excess[function] and (function not in best or totals[cell] > totals[best[function]]):
            best[function] = cell
    return cells.selected(np.array(sorted(best.values()), dtype=np.intp))


def _mean_slopes(
    first: ClarkeCells, cells: ClarkeCells, multipliers: Array, weights: Array, parts: Array
) -> dict[str, Array]:
    places = np.searchsorted(first.constraints, np.arange(len(multipliers)))
    result = {}
    for path, of_cells in cells.slopes.items():
        moved = of_cells * weights[:, None]
        if path == cells.open_layer:
            left_to_right = arithmetic.constant(1, weights) - of_cells[cells.owners, cells.units]
            moved[cells.owners, cells.units] = moved[cells.owners, cells.units] + left_to_right * parts
        summed = arithmetic.full((len(multipliers), of_cells.shape[1]), 0, weights)
        np.add.at(summed, cells.constraints, moved)
        for function in range(len(multipliers)):
            if multipliers[function] != 0:
                summed[function] = summed[function] / multipliers[function]
            else:  # nothing depends on them: those of the first tangent
                summed[function] = first.slopes[path][places[function]]
        result[path] = summed
    return result
