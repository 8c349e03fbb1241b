"""Which common margin the data behind a stationary point can have, where θ does not say it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from provable.recovery.stationary_point.arrangement import Arrangement
from provable.recovery.stationary_point.cell_moments import CellMoments

Float = NDArray[np.float64]

FEASIBLE = 1e-6
"""An infeasibility below this is that of the linear program's tolerance, 1e-7 per equation; the g_k have norm 1."""

LARGEST_VERTICES = 500
"""So many vertices of the arrangement at most are evaluated."""

GRID = 16

_NEARBY = 3
_STEPS = 20


def feasible_margins(program: CellMoments, at_most: int) -> list[float]:
    """Find margins for which there are data, the most telling first.

    Parameters
    ----------
    program : CellMoments
        The linear program.
    at_most : int
        How many are returned at most.

    Returns
    -------
    list of float
        First 1, the margin of the max-margin problem as it is stated; then outputs at vertices of the arrangement (samples
        often lie on so many kinks), those that occur most first; then isolated feasible margins and the ends of intervals of
        them, found by bisection on a grid, and last the grid itself. Without bias 1 alone: samples can be scaled.
    """
    if not program.arrangement.biased:
        return [1.0] if program.infeasibility(1.0) <= FEASIBLE else []
    known: dict[float, float] = {}

    def infeasibility(margin: float) -> float:
        if margin not in known:
            known[margin] = program.infeasibility(margin)
        return known[margin]

    corners = _at_vertices(program.arrangement)
    likely = [margin for margin in [1.0, *corners[:12]] if infeasibility(margin) <= FEASIBLE]
    values = [*corners, 1.0]
    grid = np.geomspace(min(values) / 2, 2 * max(values), GRID)
    costs = np.array([infeasibility(float(margin)) for margin in grid])
    good = costs <= FEASIBLE
    ends = [
        _end(infeasibility, float(grid[k]), float(grid[k + 1]), bool(good[k]))
        for k in range(len(grid) - 1)
        if good[k] != good[k + 1]
    ]
    lonely = [k for k in range(1, len(grid) - 1) if not good[k - 1 : k + 2].any()]
    lonely = [k for k in lonely if costs[k] <= min(costs[k - 1], costs[k + 1])]
    isolated = []
    unsolved = 1.0 + 2.0 * float(np.max(costs[np.isfinite(costs)], initial=0.0))

    def solved(margin: float) -> float:
        # where the linear program fails its cost is infinite, and the minimiser takes differences
        return min(infeasibility(float(margin)), unsolved)

    for k in sorted(lonely, key=lambda k: float(costs[k]))[:_NEARBY]:
        found = scipy.optimize.minimize_scalar(
            solved,
            bounds=(grid[k - 1], grid[k + 1]),
            method="bounded",
            options={"xatol": 1e-9 * grid[k], "maxiter": 40},
        )
        if found.fun <= 1e3 * FEASIBLE:  # refinement, with the margin free, goes the rest of the way
            isolated.append(float(found.x))
    inside = [float(margin) for margin in grid[good]]
    return _distinct([*likely, *isolated, *ends, *inside])[:at_most]


def _end(infeasibility: Callable[[float], float], low: float, high: float, low_is_good: bool) -> float:
    """The last feasible margin before an infeasible one, or after it."""
    for _ in range(_STEPS):
        middle = math.sqrt(low * high)
        if (infeasibility(middle) <= FEASIBLE) == low_is_good:
            low = middle
        else:
            high = middle
    return low if low_is_good else high


def _at_vertices(arrangement: Arrangement) -> list[float]:
    """Magnitudes of the outputs where as many hyperplanes meet as there are coordinates, those that occur most first."""
    rank, units = arrangement.basis.shape[1], len(arrangement.signs)
    values: list[float] = []
    for chosen in itertools.islice(itertools.combinations(range(units), rank), LARGEST_VERTICES):
        rows = arrangement.directions[list(chosen)]
        if np.linalg.cond(rows[:, :rank]) < 1e8:
            point = np.asarray(np.linalg.solve(rows[:, :rank], -rows[:, -1]), dtype=np.float64)
            values.append(float(abs(arrangement.outputs(point[None])[0])))
    # One sample alone lies where its moment points, whatever the margin.
    offsets = arrangement.directions[:, -1]
    for row in arrangement.directions[np.abs(offsets) > 1e-8]:
        values.append(float(abs(arrangement.outputs(row[None, :rank] / row[-1])[0])))
    values = [value for value in values if value > 0 and math.isfinite(value)]
    different = _distinct(sorted(values))
    often = [sum(math.isclose(value, other, rel_tol=1e-7) for other in values) for value in different]
    return [different[k] for k in sorted(range(len(different)), key=lambda k: (-often[k], different[k]))] or [1.0]


def _distinct(margins: list[float]) -> list[float]:
    kept: list[float] = []
    for margin in margins:
        if not any(math.isclose(margin, other, rel_tol=1e-7) for other in kept):
            kept.append(margin)
    return kept
