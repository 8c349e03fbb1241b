r"""Samples found one by one, each of which makes the search for the others smaller, exactly.

Where :math:`G_l = \Delta_l \tilde H_{l-1}^T` has rank B, with :math:`\tilde H_{l-1} = V_l C_l`, the matrix
:math:`(G_l V_l)^+ \Delta_l = C_l^{-T}` is the basis dual to the coordinates: the functional :math:`q_i`, computed from sample
i alone, vanishes on the coordinates of every other sample and is one on its own. So every sample found takes one dimension
from the row spaces of all such layers, the first one's included, which parametrises the samples; it cannot be found again,
and :math:`q_i(c_i) = 1` gives the scale and sign of its sensitivity, the coefficients of the sample.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from provable.recovery.batch.span_check.charts import Chart
from provable.recovery.batch.span_check.conditions import Conditions
from provable.recovery.batch.span_check.distances import Condition
from provable.recovery.batch.span_check.first_order import FirstOrder
from provable.recovery.batch.span_check.spaces import Spaces

Float = NDArray[np.float64]

SMALLEST_PAIRING = 1e-9
"""Below this fraction of the product of norms a dual functional vanishes on its own sample: then it belongs to none."""


LARGEST_TOLERANCE = 1e-4
"""Spaces known less precisely than this are not known."""


@dataclasses.dataclass(frozen=True, eq=False)
class Atom:
    """One sample found.

    Parameters
    ----------
    coordinates : array of shape (p,)
        In the chart.
    point : array of shape (d,)
        x.
    sensitivity : array of shape (C,) or None
        δ at the last linear layer, in scale; None if the conditions leave its direction open.
    duals, features : mapping of int to array of shape (r,)
        By layer: the dual functional, and the coordinates of the layer's extended input, for layers of full rank.
    mirrored : bool
        Whether -x meets all conditions as well.
    certain : bool
        Whether the conditions determine the point well beyond rounding.
    """

    coordinates: Float
    point: Float
    sensitivity: Float | None
    duals: Mapping[int, Float]
    features: Mapping[int, Float]
    mirrored: bool = False
    certain: bool = True

    def repeats(self, other: Atom) -> bool:
        """Whether this is another found sample again, up to sign where that is open.

        Parameters
        ----------
        other : Atom
            Found before.

        Returns
        -------
        bool
            By the dual functionals, which are one on the sample itself and zero on others, however near; by distance where
            there are none.
        """
        if self.duals:
            layer = min(self.duals)
            return abs(float(self.duals[layer] @ other.features[layer])) > 0.5
        distances = [np.linalg.norm(self.point - other.point)]
        if self.mirrored:
            distances.append(np.linalg.norm(self.point + other.point))
        return bool(min(distances) <= 1e-6 * np.linalg.norm(other.point))


def remaining_conditions(
    spaces: Spaces,
    chart: Chart,
    atoms: list[Atom],
    rows: tuple[int, ...],
    columns: tuple[int, ...],
    *,
    neurons: NDArray[np.intp] | None = None,
    power: float = 0.0,
    whole: bool = False,
) -> tuple[Conditions, Float, Float]:
    """The conditions on the samples that are not found yet.

    Parameters
    ----------
    spaces : Spaces
        The spans.
    chart : Chart
        Coordinates of samples.
    atoms : list of Atom
        Samples found.
    rows, columns : tuple of int
        The layers whose row and column conditions are used.
    neurons : array of int, optional
        The neurons of the first hidden layer that are used, for conditions on that layer alone: the row condition of the
        second layer, and the column condition of the first if there are two.
    power : float, optional
        How much sizes beyond first order count in the distances of inputs; see `Condition`.
    whole : bool, optional
        Whether the distances of sensitivities are relative to the whole vectors.

    Returns
    -------
    conditions : Conditions
        In the unknowns e.
    origin, directions : arrays of shape (p,) and (p, n)
        Coordinates are origin + directions @ e.
    """
    first = spaces.complete(1)
    duals = [atom.duals[1] for atom in atoms if 1 in atom.duals] if first is not None else []
    origin, directions = chart.remaining(duals)
    offset, matrix = chart.offset + chart.matrix @ origin, chart.matrix @ directions
    deeper = spaces.deeper
    weights = _weights(spaces, chart, rows, columns)
    row_conditions, column_conditions = [], []
    still = FirstOrder.of(spaces, offset, matrix)
    for layer in rows:
        span = spaces.complete(layer)
        assert span is not None
        reference, (fixed, moving) = span.extended(still.inputs[layer - 2]), still.linear[layer - 2]
        if span.unit:
            fixed, moving = np.append(fixed, 0.0), np.vstack([moving, np.zeros((1, moving.shape[1]))])
        basis, found = span.right, [atom.duals[layer] for atom in atoms if layer in atom.duals]
        if found:
            basis = basis @ np.linalg.svd(np.array(found))[2][len(found) :].T
        if neurons is not None:
            kept = np.append(neurons, len(basis) - 1) if span.unit else neurons
            basis, reference = np.linalg.qr(basis[kept])[0], reference[kept]
            fixed, moving = fixed[kept], moving[kept]
        row_conditions.append(
            Condition(layer, basis, weights[layer, "row"], span.unit, reference, (fixed, moving), power)
        )
    for layer in columns:
        span = spaces.complete(layer)
        assert span is not None
        basis, factor = span.left, still.factors[layer - 1]
        if neurons is not None:
            basis, factor = np.linalg.qr(basis[neurons])[0], factor[neurons]
        column_conditions.append(Condition(layer, basis, weights[layer, "column"], reference=None if whole else factor))
    if neurons is not None:
        offset, matrix = offset[neurons], matrix[neurons]
        deeper = ((deeper[0][0][:, neurons], deeper[0][1]), *deeper[1:])
    conditions = Conditions(
        offset,
        matrix,
        deeper,
        spaces.activations,
        spaces.outputs,
        tuple(row_conditions),
        tuple(column_conditions),
    )
    return conditions, origin, directions


def _weights(
    spaces: Spaces, chart: Chart, rows: tuple[int, ...], columns: tuple[int, ...]
) -> dict[tuple[int, str], float]:
    """Spaces known less precisely count less, in the same proportion."""
    errors = {
        (layer, kind): tolerance(spaces, chart, layer)
        for kind, layers in (("row", rows), ("column", columns))
        for layer in layers
    }
    least = min(errors.values(), default=1.0)
    return {key: least / error for key, error in errors.items()}


def tolerance(spaces: Spaces, chart: Chart, layer: int) -> float:
    """The relative distance to a layer's spaces that is rounding.

    Parameters
    ----------
    spaces : Spaces
        The spans.
    chart : Chart
        Coordinates of samples, of some error themselves.
    layer : int
        l, counted from 1.

    Returns
    -------
    float
        Eight times the errors of the layer's span and of the chart together, at most `LARGEST_TOLERANCE`.
    """
    span = spaces.spans[layer - 1]
    assert span is not None
    return min(8 * (span.error + chart.error), LARGEST_TOLERANCE)


def atom_at(spaces: Spaces, conditions: Conditions, chart: Chart, coordinates: Float) -> Atom | None:
    """Complete a sample by the sensitivity that explains it and by its dual functionals.

    Parameters
    ----------
    spaces : Spaces
        The spans.
    conditions : Conditions
        All conditions, in the coordinates themselves.
    chart : Chart
        Coordinates of samples.
    coordinates : array of shape (p,)
        c.

    Returns
    -------
    Atom or None
        None if a dual functional vanishes on the sample, so that no batch that contains the sample has this gradient.
    """
    unknowns = coordinates[None]
    point = chart.points(unknowns)[0]
    extended = [point, *(inputs[0] for inputs in conditions.inputs(unknowns))]
    complete = {layer: span for layer in range(1, spaces.depth + 1) if (span := spaces.complete(layer)) is not None}
    features = {layer: span.coordinates(span.extended(extended[layer - 1])) for layer, span in complete.items()}
    if not direction_is_determined(spaces):
        return Atom(coordinates, point, None, {}, features)
    rho, _ = conditions.evaluate(unknowns)
    if not conditions.columns:
        rho = np.ones((1, spaces.outputs.shape[1]))
    sensitivities = conditions.sensitivities(unknowns, rho)
    duals, scales = {}, {}
    for layer, span in complete.items():
        dual = span.dual(sensitivities[layer - 1][0])
        pairing, size = float(dual @ features[layer]), float(np.linalg.norm(dual) * np.linalg.norm(features[layer]))
        if not abs(pairing) > SMALLEST_PAIRING * size:
            return None
        duals[layer], scales[layer] = dual / pairing, 1.0 / pairing
    best = min(complete, key=lambda layer: complete[layer].error)
    return Atom(coordinates, point, scales[best] * sensitivities[-1][0], duals, features)


def direction_is_determined(spaces: Spaces) -> bool:
    """Whether the column conditions determine the direction of the loss at a sample.

    Parameters
    ----------
    spaces : Spaces
        The spans.

    Returns
    -------
    bool
        True for one output, and if there are at least as many column equations as outputs.
    """
    count = spaces.outputs.shape[1]
    equations = sum(len(spaces.network.layers[layer - 1].weight) - spaces.rank for layer in spaces.column_layers)
    return bool(count == 1 or equations >= count)
