"""The verdict on a recovered batch: does it explain the whole gradient up to rounding, and under which labels?"""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Any

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from provable.errors import InputError
from provable.measures import Measure
from provable.networks import embed, forward
from provable.observations import Observation
from provable.recovery.acceptance import (
    RATIO,
    conditions,
    explaining_labels,
    longest,
    norm_of,
    nothing_found,
    relative_misfit,
    rounding_tolerance,
)
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.jacobian import atom_sizes, embedding_jacobian, sizes
from provable.recovery.batch.precision import UNITS, number_format
from provable.recovery.batch.refinement import fitted_coefficients, refined
from provable.recovery.result import Recovery
from provable.recovery.stationary_point.equation_count import count_equations
from provable.recovery.stationary_point.sample_labels import sample_labels
from provable.recovery.training_labels import trained_labels
from provable.symmetries import scaling_degree

Float = NDArray[np.float64]

LARGEST_SYSTEM = 256
"""So many unknowns at most are looked at for directions that are open (a second for fifty thousand equations)."""

LABEL_ERROR = 2.0**-10
"""Coefficients this near to those of a class show it: those of two classes differ by 1 in at least one entry."""

_OTHER_LABELS = "the labels that the observation states are not those that its gradient shows"


def judge(
    observation: Observation,
    points: Float,
    coefficients: Float | None = None,
    *,
    method: str,
    rng: np.random.Generator,
    symmetries: tuple[str, ...] = (),
    reason: str = "",
    incomplete: bool = False,
) -> Recovery:
    """Refine a recovered batch on all observed pieces, and say how far to trust it.

    Parameters
    ----------
    observation : Observation
        The gradient of a fully connected network.
    points : array of shape (n, *input_shape)
        What a method found.
    coefficients : array of shape (n, C), optional
        Their coefficients; by default the least-squares fit.
    method : str
        The method's name.
    rng : numpy.random.Generator
        Draws the perturbations with which the condition of the network is measured.
    symmetries : tuple of str, optional
        Symmetries that the method knows to be open, beside those of the network (`FullyConnected.symmetries`).
    reason : str, optional
        What the method has to say.
    incomplete : bool, optional
        Whether the points are some of the batch only, each with a test of its own: then an unexplained gradient makes the
        recovery ``partial``, not ``failed``.

    Returns
    -------
    Recovery
        ``consistent`` if the relative residual is at most 30 k ε κ, with k the longest layer or the batch, ε the unit of
        rounding of the observation and κ ≥ 1 the measured condition of the embedding; otherwise ``partial`` or ``failed``.
        Atoms whose own part in the gradient is below that level are not shown by it, and are dropped.
    """
    with np.errstate(all="ignore"):
        found = _judged(observation, points, coefficients, method, rng, symmetries, reason, incomplete)
    if observation.kind == "stationary-point":
        found = dataclasses.replace(
            found, reason=re.sub(r"\bthe gradient\b(?! of)", "the stationary point", found.reason)
        )
    return found


def _judged(
    observation: Observation,
    points: Float,
    coefficients: Float | None,
    method: str,
    rng: np.random.Generator,
    symmetries: tuple[str, ...],
    reason: str,
    incomplete: bool,
) -> Recovery:
    if not len(points):
        return nothing_found(observation, method, reason or "no sample was found")
    network = FullyConnected.of(observation)
    form = number_format(observation)
    unit = UNITS[form]
    flat = points.reshape(len(points), -1)
    normed = bool(observation.unit_norm)
    if coefficients is None:
        coefficients = fitted_coefficients(network, flat)
    given, fitted = flat, coefficients
    if normed:
        lengths = np.linalg.norm(flat, axis=1, keepdims=True)
        flat = np.asarray(flat / np.where(lengths > 0, lengths, 1.0))
    if np.all(np.isfinite(coefficients)) and not incomplete:
        flat, coefficients = refined(network, flat, coefficients, precision=unit, unit_norm=normed)
    points = flat.reshape(points.shape)
    if not (np.all(np.isfinite(points)) and np.all(np.isfinite(coefficients))):
        return nothing_found(
            observation, method, _joined(reason, "the coefficients of the samples found are not finite")
        )
    try:
        image = embed(observation.architecture, observation.parameters, Measure(points, coefficients))
    except InputError as error:  # a value inside is not finite
        return nothing_found(observation, method, f"the network cannot be evaluated at the samples found ({error})")
    residual = relative_misfit(image, observation.vector)
    if not math.isfinite(residual):
        return nothing_found(observation, method, "the network overflows at the samples found")
    condition, _ = conditions(observation, points, coefficients, image, rng)
    tolerance = rounding_tolerance(observation, condition, atoms=len(points), unit=unit)
    visible = atom_sizes(network, flat, coefficients) > tolerance * norm_of(observation.vector.values())
    if residual <= tolerance and not np.all(visible):
        # What explains the gradient as well without an atom does not show that atom.
        remark = f"{np.count_nonzero(~visible)} points whose part in the gradient is below its rounding were dropped"
        return _judged(
            observation,
            points[visible],
            coefficients[visible],
            method,
            rng,
            symmetries,
            _joined(reason, remark),
            incomplete,
        )
    fibre = _fibre(network, observation, len(points), symmetries)
    if form != "float64":
        reason = _joined(reason, f"the gradient was rounded to {form}, so a residual of {tolerance:.1e} is rounding")
    if not residual <= tolerance and normed:
        # Without the norms stated, do the samples found explain the gradient?
        free = dataclasses.replace(observation, unit_norm=None)
        other = _judged(free, given.reshape(points.shape), fitted, method, rng, symmetries, reason, incomplete)
        if other.status == "consistent" and not any(map(scaling_degree, other.fibre)):
            norms = np.linalg.norm(other.points.reshape(len(other.points), -1), axis=1)
            found = (
                f"the observation states that inputs have norm 1, and those that explain its gradient have norms from "
                f"{np.min(norms):.4g} to {np.max(norms):.4g}"
            )
            return dataclasses.replace(other, status="failed", reason=_joined(other.reason, found))
    if not residual <= tolerance:
        length = max(longest(observation), len(points))
        found = f"the residual {residual:.2g} is above {tolerance:.2g} = {RATIO:.0f}·{length}·ε·{condition:.2g}"
        status = "partial" if incomplete else "failed"
        return Recovery(points, coefficients, None, residual, method, fibre, status, reason=_joined(reason, found))
    sliced = normed or any((scaling_degree(name) or 0) > 1 for name in fibre)
    if (count := _open_directions(network, flat, coefficients, fibre, unit, sliced)) is not None:
        fibre = (*fibre, f"null-space:{count}")
        are = "directions are" if count > 1 else "direction is"
        reason = _joined(reason, f"{count} {are} open up to rounding, so other batches explain the gradient as well")
    if observation.kind == "parameter-change":
        open_norms = "positive-scaling" in fibre  # they and the labels are known together, see `training_labels`
        labels, remark = (None, "") if open_norms else trained_labels(observation, points, coefficients)
    elif observation.kind == "stationary-point":
        shown = sample_labels(observation, points, coefficients, scales_open=any(map(scaling_degree, fibre)))
        labels, remark = shown.labels, shown.remark
        if not _labels_agree(observation, labels, fibre):
            remark = _OTHER_LABELS
        elif not shown.possible and network.is_piecewise_affine:
            # Atoms with the same active neurons stand for others, so that what contradicts training is no training set.
            return Recovery(
                points, coefficients, None, residual, method, fibre, "failed", reason=_joined(reason, remark)
            )
        counted = count_equations(observation, samples=len(points))
        if counted.largest <= len(points) and not counted.largest == len(points) == stated_size(observation):
            most = f"{counted.largest} sample{'' if counted.largest == 1 else 's'}"
            remark = _joined(
                f"undetermined: by its equations the point shows at most {most}, and may have others", remark
            )
    else:
        labels, remark = _labels(observation, points, coefficients, fibre)
    status = "failed" if _OTHER_LABELS in remark else "consistent"
    stated = stated_size(observation)
    if stated is not None and stated != len(points):
        reason = _joined(reason, _count_remark(stated, len(points), fibre))
        if status == "consistent" and stated < len(points):
            status = "failed"
        elif status == "consistent" and (labels is None or network.is_piecewise_affine):
            status = "partial"
        if status == "partial" and observation.kind == "stationary-point":
            fibre = (*fibre, "splitting")
    elif stated is None and network.is_piecewise_affine:
        fibre = (*fibre, "splitting") if observation.kind == "stationary-point" else fibre
        reason = _joined(
            reason,
            "the number of samples is not known, and one atom can stand for several with the same active neurons",
        )
    return Recovery(points, coefficients, labels, residual, method, fibre, status, reason=_joined(reason, remark))


def _fibre(
    network: FullyConnected, observation: Observation, count: int, symmetries: tuple[str, ...]
) -> tuple[str, ...]:
    names = ["permutation"] if count > 1 else []
    for name in (*network.symmetries, *symmetries):
        if name not in names and not (scaling_degree(name) and observation.unit_norm):
            names.append(name)
    return tuple(names)


def _open_directions(
    network: FullyConnected,
    points: Float,
    coefficients: Float,
    fibre: tuple[str, ...],
    unit: float,
    sliced: bool,
) -> int | None:
    """How many directions of points and coefficients change nothing observed to first order.

    None if there are none, a method has counted them, a scale of degree one is known to be open, or the derivative is too
    large. If `sliced`, points are moved at right angles to themselves only: their norms are known, or a scale is open.
    """
    unknowns = points.size + coefficients.size
    if "positive-scaling" in fibre or any(name.startswith("null-space") for name in fibre):
        return None
    if unknowns > LARGEST_SYSTEM or not np.all(np.any(coefficients, axis=1)):
        return None
    weights = {name: 1 / size if size > 0 else 1.0 for name, size in sizes(network, points, coefficients).items()}
    jacobian = embedding_jacobian(network, points, coefficients, weights)
    # By changes of a point relative to its norm and of coefficients relative to theirs, so that no unit of measure counts.
    norms = np.linalg.norm(points, axis=1, keepdims=True), np.linalg.norm(coefficients, axis=1, keepdims=True)
    scales = np.hstack(
        [np.broadcast_to(np.where(norms[0] > 0, norms[0], 1.0), points.shape), norms[1] + 0 * coefficients]
    )
    jacobian = jacobian * scales.reshape(-1)
    if not np.all(np.isfinite(jacobian)):
        return None
    if sliced:  # one more equation for each sample, weighted like the others
        directions = points / np.where(norms[0] > 0, norms[0], 1.0)
        rows = np.zeros((len(points), *scales.shape))
        rows[np.arange(len(points)), np.arange(len(points)), : points.shape[1]] = directions
        jacobian = np.vstack([jacobian, np.linalg.norm(jacobian) * rows.reshape(len(points), -1)])
    singular = np.linalg.svd(jacobian, compute_uv=False)
    # The points are those of the batch up to errors of the size of rounding, and so is the derivative.
    level = 16 * unit * math.sqrt(sum(jacobian.shape)) * float(singular[0])
    missing = unknowns - int(np.count_nonzero(singular > level))
    return missing or None


def stated_size(observation: Observation) -> int | None:
    """Give the number of samples that an observation states.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    int or None
        The batch size, or the number of labels; None if neither is known.
    """
    if observation.batch_size is None and observation.labels is not None:
        return len(observation.labels)
    return observation.batch_size


def _count_remark(stated: int, found: int, fibre: tuple[str, ...]) -> str:
    if found < stated:
        where = "on one ray" if "positive-scaling" in fibre else "at one point"
        return (
            f"{found} atom{'s explain' if found > 1 else ' explains'} the gradient, and the batch has {stated} "
            f"samples: those {where} up to rounding are one atom, those with less than rounding in the gradient leave none, "
            "and those between which the network is affine may be merged into atoms that are no samples"
        )
    return f"{found} atoms explain the gradient, more than the {stated} samples that the observation states"


def _labels(
    observation: Observation, points: Float, coefficients: Float, fibre: tuple[str, ...]
) -> tuple[NDArray[Any] | None, str]:
    """Labels of the samples, or None and the reason."""
    count = len(points)
    whole = observation.batch_size or (count if observation.labels is None else len(observation.labels))
    if observation.reduction == "mean":
        coefficients = coefficients * whole
    outputs = forward(observation.architecture, observation.parameters, points)
    labels = explaining_labels(observation, outputs, coefficients, LABEL_ERROR)
    if labels is None:
        loss = observation.architecture.loss
        return None, (
            f"no labels explain the coefficients as those of single samples under the loss {loss}: an atom stands for "
            "several, the gradient was rescaled, or something that the observation states is wrong"
        )
    if not _labels_agree(observation, labels, fibre):
        return labels, _OTHER_LABELS
    return labels, ""


def _labels_agree(observation: Observation, labels: NDArray[Any] | None, fibre: tuple[str, ...]) -> bool:
    """Whether labels found are those stated, in some order; where joint signs are open, up to signs."""
    if labels is None or observation.labels is None or len(labels) != len(observation.labels):
        return True
    known = np.asarray(observation.labels, dtype=np.float64).reshape(len(labels), -1)
    found = labels.astype(np.float64).reshape(len(labels), -1)
    costs = np.max(np.abs(found[:, None] - known[None]), axis=2)
    if "joint-sign" in fibre:
        costs = np.minimum(costs, np.max(np.abs(found[:, None] + known[None]), axis=2))
    matched = costs[scipy.optimize.linear_sum_assignment(costs)]
    return bool(np.max(matched) <= LABEL_ERROR * max(1.0, float(np.max(np.abs(known)))))


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)
