"""Other data sets with the same stationarity: everything that this package can construct, each measured and named."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.architectures import Architecture
from provable.arithmetic import EPSILON, Array, Float
from provable.errors import InputError, UnsupportedError
from provable.measures import as_numbers
from provable.networks import Parameters
from provable.stationarity.activation_cells import ActivationCells, CellMeasure, activation_cells
from provable.stationarity.cell_directions import CellDirection, cell_direction
from provable.stationarity.data_distances import DataDistances, data_distances, diameter
from provable.stationarity.merging import merge
from provable.stationarity.orthogonal_shifts import InvisibleShifts, exchanged, invisible_shifts, paired
from provable.stationarity.pattern_polyhedron import far_member, pattern_polyhedron
from provable.stationarity.splitting import split

FRACTION = 0.5
"""The share of the way to a cell's boundary that a split sample goes, where there is a boundary."""


@dataclass(frozen=True, eq=False)
class Alternative:
    """Another data set with the same parameters.

    Attributes
    ----------
    name : {"exchange", "pairs", "splitting", "rearrangement", "merging"}
        How it was constructed.
    points : ndarray of shape (k, *input_shape)
        Its samples.
    labels : ndarray of shape (k,)
        Their labels ±1.
    multipliers : ndarray of shape (k,)
        Their multipliers, all of them nonnegative.
    slopes : mapping of str to ndarray of shape (k, units)
        The slopes (Clarke weights) with which it is stationary, by the path of the activation.
    change : float
        ‖Σ λ'y'∇f' - Σ λ y ∇f‖ / ‖θ‖, exact before it is rounded if the numbers are rational.
    rounding : float
        Σ λ' ‖∇f'‖ 2⁻⁵² / ‖θ‖: what a unit of rounding in every term comes to. Large and cancelling multipliers make it large.
    margins : ndarray of shape (k,)
        y f of its samples.
    margins_before : ndarray of shape (k,)
        y f of the samples from which these come.
    in_cells : bool
        Whether all samples lie in the closed activation cells that the slopes belong to.
    distances : DataDistances
        How far it is from the data.
    fibre : str
        ``"null-space:k"`` for k free directions, ``"splitting"`` or ``"merging"``.
    claim : str
        What holds, in one sentence.
    """

    name: str
    points: Array
    labels: Array
    multipliers: Array
    slopes: Mapping[str, Array]
    change: float
    rounding: float
    margins: Array
    margins_before: Array
    in_cells: bool
    distances: DataDistances
    fibre: str
    claim: str


@dataclass(frozen=True, eq=False)
class Alternatives:
    """All alternatives that were constructed.

    Attributes
    ----------
    found : tuple of Alternative
        At most one of each kind.
    refused : mapping of str to str
        For the other kinds, why there is none.
    residual : float
        ‖θ - Σ λ y ∇f‖ / ‖θ‖ of the data that were given.
    diameter : float
        The largest distance between two of the given samples.
    distance : float
        How far the alternatives were asked to be.
    invisible : InvisibleShifts
        The directions that the first layer does not look at, and how the samples can move along them.
    """

    found: tuple[Alternative, ...]
    refused: Mapping[str, str]
    residual: float
    diameter: float
    distance: float
    invisible: InvisibleShifts

    def named(self, name: str) -> Alternative:
        """Look one of them up.

        Parameters
        ----------
        name : str
            Its kind.

        Returns
        -------
        Alternative
            The one of that kind.

        Raises
        ------
        InputError
            If it could not be constructed; the message says why.
        """
        for alternative in self.found:
            if alternative.name == name:
                return alternative
        raise InputError(f"{name}: no such alternative was constructed ({self.refused.get(name, 'unknown kind')})")


def alternative_data(
    architecture: Architecture,
    parameters: Parameters,
    points: Any,
    labels: Any,
    multipliers: Any,
    *,
    slopes: Mapping[str, Any] | None = None,
    distance: float | None = None,
    rng: int | np.random.Generator | None = None,
) -> Alternatives:
    """Construct other data sets that explain the same parameters equally well.

    Parameters
    ----------
    architecture : Architecture
        A chain of linear layers with ReLU, leaky ReLU or identity, and one output.
    parameters : Parameters
        θ, float64 or rational.
    points : array_like of shape (n, *input_shape)
        The data, n ≥ 1, in the same arithmetic.
    labels : array_like of shape (n,)
        ±1.
    multipliers : array_like of shape (n,)
        λ_i ≥ 0.
    slopes : mapping of str to array_like of shape (n, units), optional
        Clarke weights, as for `activation_cells`.
    distance : float, optional
        How far alternatives are to be from the data, where cells are unbounded; by default their diameter, and the length
        of the longest sample (or 1) if that is zero.
    rng : int or Generator, optional
        Draws directions.

    Returns
    -------
    Alternatives
        ``exchange``: as many samples with the same labels, multipliers and margins, each (but those that no exchange moves)
        at least that far from its place: also stationary under weight decay, where margins determine multipliers. ``pairs``:
        each sample replaced by two on both sides of it in a direction that the first layer does not see, all of them at
        least that far from all data. ``splitting``: the same within activation cells, as far as they reach, if the first
        whatever the first layer sees. ``rearrangement``: as many samples as have multipliers, all of them moved together
        within their cells, with other multipliers. ``merging``: fewer samples.

    Raises
    ------
    InputError
        If a shape is wrong, labels are not ±1, a multiplier is negative, a label with a positive multiplier contradicts
        the network's output, or the distance is not positive.
    UnsupportedError
        For layers of another kind.
    """
    generator = np.random.default_rng(rng)
    cells = activation_cells(architecture, parameters, points, slopes=slopes)
    signs, weights = _checked(cells, labels, multipliers)
    coefficients = (weights * signs)[:, None]
    floats = arithmetic.to_float(cells.points)
    size = diameter(floats)
    if distance is None:
        distance = size or float(np.linalg.norm(floats, axis=1).max()) or 1.0
    if not (distance > 0 and np.isfinite(distance)):
        raise InputError(f"distance: found {distance}; a positive number is accepted")
    before = cells.embedding(cells.measure(coefficients))
    norm = _norm(parameters.vector())
    invisible = invisible_shifts(cells, coefficients)
    reach = distance + size  # so far from its place, a sample is at least `distance` from all data
    builder = _Builder(cells, coefficients, signs, before, norm)
    refused: dict[str, str] = {}
    free = len(invisible.directions)
    if invisible.dimension:
        builder.add(
            "exchange",
            exchanged(cells, coefficients, invisible, reach, generator),
            f"null-space:{invisible.dimension}",
            f"the samples can move in {invisible.dimension} dimensions without bound, with the same labels, multipliers, "
            "margins and stationarity",
        )
    elif not free:
        refused["exchange"] = f"the first layer has full rank {cells.points.shape[1]} and sees every direction"
    else:
        refused["exchange"] = (
            f"the sensitivities of the {len(signs)} samples are independent: moved alone, each is seen"
        )
    if free:
        builder.add(
            "pairs",
            paired(cells, coefficients, invisible.directions, reach, generator),
            f"null-space:{free}",
            f"{free} directions of each sample are not seen by the first layer: pairs on both sides of it, at any distance, "
            "have the same margins and stationarity",
        )
    else:
        refused["pairs"] = f"the first layer has full rank {cells.points.shape[1]} and sees every direction"
    if np.any(np.asarray(weights != 0, dtype=np.bool_)):
        _add_splitting(builder, refused, reach, generator)
        _add_rearrangement(builder, refused, reach, generator)
        _add_merging(builder, refused)
    else:
        idle = "no sample has a multiplier: they leave no trace in the parameters, and can be anything or absent"
        refused |= dict.fromkeys(("splitting", "rearrangement", "merging"), idle)
    residual = _norm(parameters.vector() - before) / (norm or 1.0)
    return Alternatives(tuple(builder.found), refused, residual, size, float(distance), invisible)


def _add_merging(builder: _Builder, refused: dict[str, str]) -> None:
    merged = merge(builder.cells, builder.coefficients)
    given = int(np.count_nonzero(np.asarray(builder.coefficients[:, 0] != 0, dtype=np.bool_)))
    if len(merged.points) == given:
        refused["merging"] = "no two samples with multipliers share an activation cell and a label"
        return
    builder.add(
        "merging",
        merged,
        "merging",
        f"{len(merged.points)} samples, weighted means of {given} within activation cells, have the same stationarity, and "
        "weighted means of their margins",
    )


def _add_splitting(builder: _Builder, refused: dict[str, str], distance: float, rng: np.random.Generator) -> None:
    cells = builder.cells
    directions = arithmetic.full(cells.points.shape, 0, cells.points)
    forward = arithmetic.full((len(directions),), 0, cells.points)
    backward = forward.copy()
    kinds = []
    for index in range(len(directions)):
        found = cell_direction(cells.cell(index), rng) if builder.coefficients[index, 0] != 0 else None
        if found is None:
            continue
        kinds.append(found.kind)
        directions[index] = found.direction
        forward[index], backward[index] = _steps(found, distance, cells.points)
    if not kinds:
        refused["splitting"] = "every sample is alone in the part of its activation cell that has its margin"
        return
    counts = {kind: kinds.count(kind) for kind in ("line", "ray", "segment") if kind in kinds}
    told = ", ".join(f"{count} along a {kind}" for kind, count in counts.items())
    builder.add(
        "splitting",
        split(cells.measure(builder.coefficients), directions, forward, backward),
        "splitting",
        f"{len(kinds)} of {len(directions)} samples split within their activation cells ({told}), with the same margins and "
        "stationarity",
    )


def _add_rearrangement(builder: _Builder, refused: dict[str, str], distance: float, rng: np.random.Generator) -> None:
    try:
        polyhedron = pattern_polyhedron(builder.cells, builder.coefficients)
    except UnsupportedError as error:
        refused["rearrangement"] = str(error)
        return
    count, dimension = len(polyhedron.members), polyhedron.dimension
    if not dimension:
        refused["rearrangement"] = f"no other {count} samples with these activation patterns and Clarke weights exist"
        return
    builder.add(
        "rearrangement",
        far_member(polyhedron, builder.cells, distance, rng),
        f"null-space:{dimension}",
        f"the data sets of {count} samples with the same labels, activation patterns, margins and stationarity form a "
        f"polyhedron of dimension {dimension}",
    )


def _steps(found: CellDirection, distance: float, like: Array) -> tuple[Any, Any]:
    """Both steps: the distance where there is no boundary, else a part of the way there or the distance."""
    target = arithmetic.constant(distance, like)
    part = arithmetic.constant(FRACTION, like)
    return tuple(
        target if reach is None or part * reach > target else part * reach for reach in (found.forward, found.backward)
    )


class _Builder:
    """Measures alternatives against the data they replace."""

    def __init__(self, cells: ActivationCells, coefficients: Array, signs: Array, before: Array, norm: float) -> None:
        self.cells, self.coefficients, self.signs = cells, coefficients, signs
        self.before, self.norm = before, norm
        self.found: list[Alternative] = []

    def add(self, name: str, measure: CellMeasure, fibre: str, claim: str) -> None:
        cells, origin = self.cells, measure.origin
        labels = self.signs[origin]
        outputs = cells.outputs(cells.measure(self.coefficients))[:, 0]
        self.found.append(
            Alternative(
                name=name,
                points=measure.points.reshape(-1, *cells.architecture.input_shape),
                labels=labels,
                multipliers=measure.coefficients[:, 0] * labels,
                slopes={path: slopes[origin] for path, slopes in cells.slopes.items()},
                change=_norm(cells.embedding(measure) - self.before) / (self.norm or 1.0),
                rounding=float(cells.tangent_sizes(measure).sum()) * EPSILON / (self.norm or 1.0),
                margins=labels * cells.outputs(measure)[:, 0],
                margins_before=labels * outputs[origin],
                in_cells=cells.contains(measure),
                distances=data_distances(arithmetic.to_float(cells.points), arithmetic.to_float(measure.points)),
                fibre=fibre,
                claim=claim,
            )
        )


def _checked(cells: ActivationCells, labels: Any, multipliers: Any) -> tuple[Array, Array]:
    count = len(cells.points)
    if not count:
        raise InputError("points: found none; one sample or more is accepted")
    if cells.architecture.output_size != 1:
        raise InputError(f"architecture: has {cells.architecture.output_size} outputs; one is accepted")
    signs, weights = as_numbers(labels, "labels"), as_numbers(multipliers, "multipliers")
    for name, numbers in (("labels", signs), ("multipliers", weights)):
        if numbers.shape != (count,):
            raise InputError(f"{name}: found shape {numbers.shape}; ({count},) is accepted")
    rounded = arithmetic.to_float(signs)
    if not np.all(np.abs(rounded) == 1):
        raise InputError(f"labels: found {rounded[np.abs(rounded) != 1][0]:.6g}; 1 and -1 are accepted")
    one = arithmetic.constant(1, cells.points)
    signs = np.array([one if sign > 0 else -one for sign in rounded], dtype=cells.points.dtype)
    if any(weight < 0 for weight in weights):
        raise InputError(
            f"multipliers: found {min(arithmetic.to_float(weights)):.6g}; nonnegative numbers are accepted"
        )
    if arithmetic.kind(weights) != arithmetic.kind(cells.points):
        raise InputError(f"multipliers: are {arithmetic.kind(weights)} and the points {arithmetic.kind(cells.points)}")
    margins: Float = arithmetic.to_float(signs * cells.outputs(cells.measure(signs[:, None]))[:, 0])
    wrong = (margins <= 0) & np.asarray(weights != 0, dtype=np.bool_)
    if np.any(wrong):
        index = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"labels: sample {index} has a multiplier and the margin {margins[index]:.6g}; positive margins are accepted"
        )
    return signs, weights


def _norm(vector: Array) -> float:
    return float(np.linalg.norm(arithmetic.to_float(vector)))
