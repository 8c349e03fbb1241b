"""Which algorithm recovers the measure behind an observation, and why the others do not."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from provable.architectures import AvgPool2d, Conv2d, Layer, MaxPool2d, Residual
from provable.architectures.layers import chain_shapes
from provable.errors import InputError, UnsupportedError
from provable.observations import Observation
from provable.recovery import fully_connected, hybrid, layerwise
from provable.recovery.acceptance import nothing_found
from provable.recovery.batch import activation_patterns, output_gradient, span_check, spear, wang2023
from provable.recovery.certification import certified
from provable.recovery.method import Method
from provable.recovery.parameter_matching import alternating_projections, loo2024
from provable.recovery.parameter_matching import method as parameter_matching
from provable.recovery.result import STATUSES, Recovery
from provable.recovery.stationary_point import buzaglo2023, clarke_matching, haim2022, polynomial_activation, univariate
from provable.recovery.stationary_point.equation_count import imbalance_remark
from provable.recovery.stationary_point.invisible_directions import with_invisible_directions
from provable.recovery.stationary_point.samples_on_kinks import with_doubt_of_kinks
from provable.recovery.training_labels import with_norms

METHODS: tuple[Method, ...] = (
    fully_connected.METHOD,
    univariate.METHOD,
    layerwise.METHOD,
    polynomial_activation.METHOD,
    span_check.METHOD,
    activation_patterns.METHOD,
    alternating_projections.METHOD,
    clarke_matching.METHOD,
    spear.METHOD,
    output_gradient.METHOD,
    hybrid.METHOD,
    wang2023.METHOD,
    parameter_matching.METHOD,
    loo2024.METHOD,
    haim2022.METHOD,
    buzaglo2023.METHOD,
)
"""All algorithms, the best informed first: `recover` tries those that support an observation in this order."""

LARGEST_ACTIVATION = 2**28
"""Largest number of entries of one layer's output that is evaluated (2 GiB in float64)."""


def recover(observation: Observation, *, method: str = "auto", rng: Any = None) -> Recovery:
    """Recover the measure behind an observation.

    Parameters
    ----------
    observation : Observation
        What is known.
    method : str, optional
        The name of an algorithm, or ``"auto"``: those of `METHODS` that support the observation, one after the other, until
        one explains it; if none does, the best of what they found.
    rng : int, numpy.random.Generator or None, optional
        Source of everything random.

    Returns
    -------
    Recovery
        With status ``certified`` if a certificate could be made and the independent checker accepts it. If no method
        supports the observation, or the named one does not, the status is ``failed`` and the reason says why.

    Raises
    ------
    InputError
        If no algorithm has that name.
    UnsupportedError
        If evaluating the network would need an absurd amount of memory.
    """
    chosen = [
        candidate for candidate in METHODS if method == candidate.name or (method == "auto" and candidate.automatic)
    ]
    if not chosen:
        names = ", ".join(["auto", *(candidate.name for candidate in METHODS)])
        raise InputError(f"method: found {method!r}; {names} are accepted")
    _check_memory(observation)
    generator = np.random.default_rng(rng)
    reasons, found = [], []
    for candidate in chosen:
        reason = candidate.supports(observation)
        if reason is not None:
            reasons.append(f"{candidate.name}: {reason}")
            continue
        result = certified(observation, with_norms(observation, candidate.recover(observation, generator)))
        result = with_doubt_of_kinks(observation, _verdict_first(with_invisible_directions(observation, result)))
        if result.status in ("certified", "consistent"):
            return result
        found.append(result)
    if not found:
        return nothing_found(observation, "", f"no method supports the observation ({'; '.join(reasons)})")
    best = min(found, key=lambda result: (STATUSES.index(result.status), -len(result.points), result.residual))
    if best.status == "failed" and (remark := imbalance_remark(observation)):
        return dataclasses.replace(best, reason=f"{remark}; {best.reason}")
    return best


def passed_over(observation: Observation, method: str) -> tuple[tuple[str, str], ...]:
    """Tell why the methods in front of the one that was taken were not.

    Parameters
    ----------
    observation : Observation
        What is known.
    method : str
        The name of the method that was taken.

    Returns
    -------
    tuple of (str, str)
        Names of the automatic methods in front of it, and why each does not support the observation; those that do were
        tried, and what they found is not acceptable.
    """
    names = [candidate.name for candidate in METHODS]
    before = METHODS[: names.index(method)] if method in names else METHODS
    return tuple(
        (candidate.name, candidate.supports(observation) or "it was tried, and what it found is not acceptable")
        for candidate in before
        if candidate.automatic
    )


def _verdict_first(result: Recovery) -> Recovery:
    """Put the part of a reason in front that says that the samples are not determined."""
    if result.status == "failed":  # then the failure comes first
        return result
    parts = result.reason.split("; ")
    parts.sort(key=lambda part: not part.startswith("undetermined"))
    return dataclasses.replace(result, reason="; ".join(parts))


def _check_memory(observation: Observation) -> None:
    architecture = observation.architecture
    for index, layer in enumerate(architecture.layers):
        size = _largest((layer,), architecture.shapes[index])
        if size > LARGEST_ACTIVATION:
            raise UnsupportedError(
                f"layer {index} ({layer.type}): {size} numbers arise at once; at most {LARGEST_ACTIVATION} are accepted"
            )


def _largest(layers: tuple[Layer, ...], shape: tuple[int, ...]) -> int:
    """Largest array in the evaluation of a chain: an input, an output or the windows of a convolution."""
    shapes = chain_shapes(layers, shape)
    sizes = [math.prod(part) for part in shapes]
    for layer, before, after in zip(layers, shapes, shapes[1:], strict=False):
        if isinstance(layer, Residual):
            sizes += [_largest(layer.layers, before), _largest(layer.shortcut, before)]
        elif isinstance(layer, Conv2d | AvgPool2d | MaxPool2d):
            sizes.append(before[0] * math.prod(after[1:]) * math.prod(layer.kernel_size))
    return max(sizes)
