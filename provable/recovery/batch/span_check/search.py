"""The search: starts, descent, exact end, test and deflation, until the batch is complete or nothing new appears."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.recovery.batch.chain import is_affine, is_homogeneous
from provable.recovery.batch.span_check.charts import Chart
from provable.recovery.batch.span_check.conditions import Conditions
from provable.recovery.batch.span_check.deflation import (
    LARGEST_TOLERANCE,
    Atom,
    atom_at,
    remaining_conditions,
    tolerance,
)
from provable.recovery.batch.span_check.levenberg_marquardt import descend, finish, isolation
from provable.recovery.batch.span_check.spaces import Spaces, degree_of, has_even_slope

Float = NDArray[np.float64]

STARTS = 64
"""Starts at once."""

FRUITLESS = 12
"""Rounds of starts without a new sample after which the search ends."""

ITERATIONS = 60

BEYOND = 0.25
"""Share of the size beyond first order in distances, where it counts at all."""

PROMISING = 1e-4
"""Root of the cost below which a candidate of the reduced search is brought to the full conditions."""

LARGEST_UNCERTAINTY = 0.1
"""A solution is certainly a sample if the conditions, at the level of rounding, determine it to this fraction of its size.

Where σ' underflows, for instance, sensitivities have a few entries only, and regions of points meet all conditions. But a
pair of near duplicates is little more certain, so that solutions of that kind are taken if nothing better appears.
"""

PATIENCE = 3
"""Rounds without a certain sample after which uncertain ones are taken."""


@dataclasses.dataclass(frozen=True)
class Plan:
    """Which conditions the search minimises; all of them are tested.

    Parameters
    ----------
    rows, columns : tuple of int
        Layers.
    first_layer_only : bool
        Whether they concern the first hidden layer alone, so that some of its neurons suffice.
    """

    rows: tuple[int, ...]
    columns: tuple[int, ...]
    first_layer_only: bool


def plan(spaces: Spaces, unknowns: int) -> Plan | None:
    """Choose the cheapest sufficient conditions.

    Parameters
    ----------
    spaces : Spaces
        The spans.
    unknowns : int
        The number of unknowns of a sample.

    Returns
    -------
    Plan or None
        None if all conditions together have no more equations than unknowns.
    """
    rows, columns = spaces.row_layers, informative_columns(spaces)
    widths = [len(layer.weight) for layer in spaces.network.layers]
    bent = not is_affine(spaces.activations[0])  # otherwise the second row condition repeats the first
    second = bent and 2 in rows and widths[0] - spaces.rank >= unknowns + max(4, unknowns // 4)
    if second:
        return Plan((2,), (), True)
    equations = sum(widths[layer - 2] - spaces.rank for layer in rows)
    if columns:
        equations += sum(widths[layer - 1] - spaces.rank for layer in columns) - (spaces.outputs.shape[1] - 1)
    # As many equations as unknowns have solutions of their own beside the samples; one more has none.
    if equations <= unknowns:
        return None
    return Plan(rows, columns, spaces.depth == 2)


def informative_columns(spaces: Spaces) -> tuple[int, ...]:
    """The column conditions that depend smoothly on the sample.

    Parameters
    ----------
    spaces : Spaces
        The spans.

    Returns
    -------
    tuple of int
        Layers with an activation at or behind them that is not piecewise linear.
    """
    return tuple(
        layer
        for layer in spaces.column_layers
        if not all(is_homogeneous(activation) for activation in spaces.activations[layer - 1 :])
    )


def search(spaces: Spaces, chart: Chart, rng: np.random.Generator, *, unit_norm: bool = False) -> list[Atom]:
    """Find samples until there are as many as the rank says, or nothing new appears.

    Parameters
    ----------
    spaces : Spaces
        The spans.
    chart : Chart
        Coordinates of samples.
    rng : numpy.random.Generator
        Draws starts and neurons.
    unit_norm : bool, optional
        Whether samples are known to have norm 1.

    Returns
    -------
    list of Atom
        Each of them meets all conditions at the level of rounding.
    """
    atoms: list[Atom] = []
    whole, origin, directions = remaining_conditions(spaces, chart, [], spaces.row_layers, spaces.column_layers)
    chosen = plan(spaces, directions.shape[1])
    if chosen is None:
        return atoms
    # In the coordinates themselves, for tests; and on all neurons without deflation, for the exact end.
    tested = dataclasses.replace(whole, offset=chart.offset, matrix=chart.matrix)
    ends = remaining_conditions(spaces, chart, [], chosen.rows, chosen.columns)[0]
    rounding = min(tolerance(spaces, chart, layer) for layer in (*chosen.rows, *chosen.columns))
    known = rounding < LARGEST_TOLERANCE
    # After a round without success distances are measured in the other way.
    # Odd activations trap the descent at small inputs, others lead it astray at large ones.
    powers = (BEYOND, 0.0) if has_even_slope(spaces.activations[0]) else (0.0, BEYOND)
    # The second row condition alone may see directions only, and deeper ones the norm.
    directed = not spaces.scale_free and chosen.rows == (2,) and not chosen.columns and _sees_directions(spaces)
    if directed:
        ends = remaining_conditions(spaces, chart, [], spaces.row_layers, informative_columns(spaces))[0]

    def trusted(atom: Atom) -> bool:
        # Pieces of few dimensions meet spaces of many at more points than the samples; dual functionals would tell.
        return atom.certain and bool(atom.duals or not is_homogeneous(spaces.activations[0]))

    fruitless, seen, lenient = 0, False, False
    while len(atoms) < spaces.rank and fruitless < FRUITLESS:
        neurons = _some_neurons(spaces, chosen, directions.shape[1], rng)
        left, point, tangent = remaining_conditions(
            spaces,
            chart,
            atoms,
            chosen.rows,
            chosen.columns,
            neurons=neurons,
            power=powers[fruitless % 2],
            whole=fruitless % 2 == 1,
        )
        starts = _starts(left, chart, point, tangent, atoms, rng, unit_norm)
        unknowns, _, cost = descend(left, starts, iterations=ITERATIONS, scale_free=spaces.scale_free or directed)
        before = len(atoms)
        for candidate in _distinct(point + unknowns @ tangent.T, cost):
            e = (candidate - origin) @ directions
            e = finish(ends, _scaled(ends, e) if directed else e)
            found = _tested(spaces, chart, tested, origin + directions @ e)
            if found is None:
                continue
            size = LARGEST_UNCERTAINTY * float(np.linalg.norm(found.coordinates))
            steepness, step = isolation(ends, e, scale_free=spaces.scale_free)
            certain = known and trusted(found) and rounding <= size * steepness and 10 * step <= size
            seen = seen or not certain
            if not (certain or lenient):
                continue
            found = dataclasses.replace(found, certain=certain)
            if not any(found.repeats(other) for other in atoms):
                atoms.append(found)
                if len(atoms) == spaces.rank:
                    break
        fruitless = 0 if len(atoms) > before else fruitless + 1
        if fruitless == PATIENCE and seen and not lenient:
            lenient, fruitless = True, 0
    return atoms


def _sees_directions(spaces: Spaces) -> bool:
    second = spaces.complete(2)
    assert second is not None
    first = spaces.network.first
    return first.bias is None and not second.unit and degree_of(first.activation) > 0


def _scaled(conditions: Conditions, unknowns: Float) -> Float:
    """The multiple of a direction from which all conditions are met best."""
    factors = np.geomspace(1e-3, 1e3, 121)[:, None]
    grid = factors * unknowns / np.linalg.norm(unknowns)
    best = grid[np.argsort(conditions.evaluate(grid)[1])[:4]]
    found, _, cost = descend(conditions, best, iterations=ITERATIONS)
    return np.asarray(found[np.argmin(cost)])


def _some_neurons(spaces: Spaces, chosen: Plan, unknowns: int, rng: np.random.Generator) -> NDArray[np.intp] | None:
    width = len(spaces.network.first.weight)
    enough = 5 * (spaces.rank + unknowns) + spaces.outputs.shape[1]
    if not chosen.first_layer_only or width <= enough:
        return None
    return np.sort(rng.choice(width, enough, replace=False))


def _starts(
    conditions: Conditions,
    chart: Chart,
    origin: Float,
    directions: Float,
    atoms: list[Atom],
    rng: np.random.Generator,
    unit_norm: bool,
) -> Float:
    """Points of plausible size: that of the samples found, or one that makes pre-activations of order one."""
    size = directions.shape[1]
    drawn = rng.standard_normal((STARTS, size))
    # Half of them scatter like the rows of the gradient.
    drawn[::2] = (rng.standard_normal((len(drawn[::2]), len(chart.spread))) * chart.spread) @ directions
    lengths = np.linalg.norm(drawn, axis=1, keepdims=True)
    drawn /= np.where(lengths > 0, lengths, 1.0)
    preactivations = np.linalg.norm(drawn @ conditions.matrix.T, axis=1) / np.sqrt(len(conditions.matrix))
    wanted = np.exp(rng.uniform(np.log(0.3), np.log(2.5), STARTS))
    reach = wanted / np.where(preactivations > 0, preactivations, 1.0)
    norms = np.array([1.0]) if unit_norm else np.array([np.linalg.norm(atom.point) for atom in atoms])
    if len(norms):
        radius = rng.choice(norms, STARTS) * (1.0 if unit_norm else np.exp(rng.uniform(-0.3, 0.3, STARTS)))
        inside = np.sqrt(np.maximum(radius**2 + chart.unit**2 - origin @ origin, (0.1 * radius) ** 2))
        some = np.arange(STARTS) % 4 != 3
        reach[some] = inside[some]
    return np.asarray(drawn * reach[:, None])


def _distinct(coordinates: Float, cost: Float) -> list[Float]:
    """Candidates of small cost, the best first, those that agree but for rounding once."""
    kept: list[Float] = []
    for index in np.argsort(cost):
        if not cost[index] < PROMISING**2:
            break
        candidate = coordinates[index]
        if not any(np.linalg.norm(candidate - other) <= 1e-7 * np.linalg.norm(other) for other in kept):
            kept.append(candidate)
    return kept


def _tested(spaces: Spaces, chart: Chart, conditions: Conditions, coordinates: Float) -> Atom | None:
    """The atom at a point or at its mirror image, if all conditions hold there at the level of rounding."""
    signs = (1.0, -1.0) if spaces.mirrored else (1.0,)
    limits = np.array([tolerance(spaces, chart, c.layer) for c in (*conditions.rows, *conditions.columns)])
    atoms = []
    for sign in signs:
        _, distances = conditions.distances(sign * coordinates[None])
        atom = atom_at(spaces, conditions, chart, sign * coordinates) if np.all(distances[0] <= limits) else None
        if atom is not None:
            atoms.append(dataclasses.replace(atom, certain=bool(np.all(8 * distances[0] <= limits))))
    if not atoms:
        return None
    return dataclasses.replace(atoms[0], mirrored=len(atoms) == 2)
