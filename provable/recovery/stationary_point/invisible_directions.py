r"""What a stationary point never shows of its samples, named for a recovery: directions, exchanges, splits.

Let θ be observed at a stationary point, r the rank of the first layer's weights W_1 and d the size of a sample. A direction
ν with W_1 ν = 0 changes no value in the network. Replacing a sample by x ± ν, or moving several samples along such directions
with ΔᵀS = 0 (Δ their sensitivities), leaves θ stationary with the same margins (`provable.stationarity.orthogonal_shifts`).
This is a linear space of dimension (n - rank Δ)(d - r), at any distance, for every recovery whatever found it.

The other way round, nothing is gained by searching in these directions: the projections of the samples on the row space of
W_1 explain θ as well as they do. What the projection takes away is not in θ.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from provable.architectures import Flatten, LeakyReLU, Linear, ReLU
from provable.arithmetic import Float
from provable.arithmetic.null_space import null_space
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import backpropagate, trace
from provable.observations import Observation
from provable.recovery.result import Recovery

ROUNDING = 1e-10
"""Singular values up to this multiple of the largest count as zero: θ is stationary up to more than that."""


@dataclasses.dataclass(frozen=True)
class InvisibleDirections:
    """What the first layer of a network does not see of its samples.

    Parameters
    ----------
    dimension : int
        d - rank W_1: so many directions of each sample are never seen.
    rank : int
        The rank of W_1.
    exchanges : int
        n - rank Δ: so many ways to move n recovered samples against each other; 0 without a measure.
    piecewise_linear : bool
        Whether samples may be split and merged within activation cells as well.
    fibre : tuple of str
        ``"null-space:k"`` with k = exchanges · dimension, if that is not zero, and ``"splitting"`` where every sample can
        be replaced by pairs at any distance: if `dimension` is not zero.
    sentence : str
        The same for people, without a full stop; empty if nothing is open.
    """

    dimension: int
    rank: int
    exchanges: int
    piecewise_linear: bool
    fibre: tuple[str, ...]
    sentence: str


def invisible_directions(
    observation: Observation, measure: Measure | None = None, *, relative_tolerance: float = ROUNDING
) -> InvisibleDirections:
    """Name what the parameters leave open about samples, by linear algebra of the first layer.

    Parameters
    ----------
    observation : Observation
        A stationary point of a chain whose first layer is linear.
    measure : Measure, optional
        Recovered samples with their coefficients.
    relative_tolerance : float, optional
        Singular values of W_1 and of the sensitivities up to this multiple of the largest one count as zero.

    Returns
    -------
    InvisibleDirections
        Its numbers are numerical ranks.

    Raises
    ------
    UnsupportedError
        If the first layer is not linear.
    """
    path, weight = _first_layer(observation)
    bias = observation.parameters.get(f"{path}/bias")
    if bias is not None and np.linalg.norm(weight) <= relative_tolerance * np.linalg.norm(bias):
        weight = np.zeros_like(weight)  # rounding beside the biases
    dimension = len(null_space(weight, relative_tolerance=relative_tolerance))
    rank = weight.shape[1] - dimension
    exchanges, count = 0, 0
    if measure is not None and measure.size:
        sensitivities = _sensitivities(observation, measure, path)
        count = len(sensitivities)
        exchanges = len(null_space(sensitivities.T, relative_tolerance=relative_tolerance))
    layers = observation.architecture.layers
    piecewise = any(isinstance(layer, ReLU | LeakyReLU) for layer in layers)
    fibre, parts = [], []
    if exchanges * dimension:
        fibre.append(f"null-space:{exchanges * dimension}")
        parts.append(
            f"the first layer sees {rank} of {weight.shape[1]} directions, and the {count} samples can move in "
            f"{exchanges * dimension} dimensions without bound"
        )
    elif dimension:
        parts.append(
            f"the first layer sees {rank} of {weight.shape[1]} directions: along the others samples can be split into pairs "
            "at any distance"
        )
    if dimension:
        fibre.append("splitting")
    elif piecewise:
        parts.append(
            "the first layer sees every direction, but samples may be split and merged as far as their activation cells reach"
        )
    return InvisibleDirections(dimension, rank, exchanges, piecewise, tuple(fibre), "; ".join(parts))


def with_invisible_directions(observation: Observation, recovery: Recovery) -> Recovery:
    """Add to a recovery from a stationary point what no recovery can determine.

    Parameters
    ----------
    observation : Observation
        A stationary point.
    recovery : Recovery
        What a method found.

    Returns
    -------
    Recovery
        The same with the names of `invisible_directions` in its fibre (no second ``null-space``) and its sentence behind the
        reason. A certificate isolates its measure from those with as many atoms, so that samples may be split at most; where
        the observation states as many samples as were found, they may not, and nothing is said of it. Unchanged if nothing
        was found, for other observations, and if the first layer is not linear or its sensitivities leave the range of
        float64.
    """
    if observation.kind != "stationary-point" or not len(recovery.points):
        return recovery
    proved = recovery.status == "certified"
    stated = observation.batch_size if observation.labels is None else len(observation.labels)
    complete = stated == len(recovery.points)
    if proved and complete:
        return recovery
    try:
        found = invisible_directions(observation, None if proved else recovery.measure)
    except (UnsupportedError, FloatingPointError):
        return recovery
    if proved and not found.dimension:
        return recovery  # within activation cells the certificate says what is open
    counted = any(name.startswith("null-space") for name in recovery.fibre)
    names = [name for name in found.fibre if not (complete if name == "splitting" else counted)]
    if complete and not names:
        return recovery
    fibre = (*recovery.fibre, *(name for name in names if name not in recovery.fibre))
    reason = "; ".join(part for part in (recovery.reason, found.sentence) if part)
    return dataclasses.replace(recovery, fibre=fibre, reason=reason)


def _first_layer(observation: Observation) -> tuple[str, Float]:
    layers = observation.architecture.layers
    index = next((place for place, layer in enumerate(layers) if not isinstance(layer, Flatten)), 0)
    if not layers or not isinstance(layers[index], Linear):
        kind = layers[index].type if layers else "none"
        raise UnsupportedError(f"layer {index} ({kind}): invisible directions are those of a linear first layer")
    return str(index), np.asarray(observation.parameters[f"{index}/weight"], dtype=np.float64)


def _sensitivities(observation: Observation, measure: Measure, path: str) -> Float:
    """Gradients of Σ_k c_ik f_k(x_i) with respect to the first layer's outputs."""
    with np.errstate(over="raise", invalid="raise"):
        traced = trace(observation.architecture, observation.parameters, measure.points)
        cotangent = measure.coefficients.reshape(traced.output.shape)
        back = backpropagate(observation.architecture, observation.parameters, traced, cotangent)
    return np.asarray(back.outputs[path], dtype=np.float64)
