"""Certificates of the rank bounds of one layer, in the form that the independent checker reads."""

from __future__ import annotations

from typing import Any

from provable.architectures import Architecture
from provable.leakage.layer_systems.dimension_counts import IMAGES, UpperBound
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.rank import LowerBound
from provable.rigor.certificates import Certificate, library_versions
from provable.rigor.modular_rank import PRIME


def _layer(architecture: Architecture, path: str, system: LayerSystem, seed: int) -> dict[str, Any]:
    return {
        "architecture": architecture.to_json(),
        "layer": path,
        "in_channels": system.in_channels,
        "height": system.input_size[0],
        "width": system.input_size[1],
        "out_channels": system.out_channels,
        "kernel": list(system.kernel_size),
        "stride": list(system.stride),
        "padding": list(system.padding),
        "prime": PRIME,
        "seed": seed,
    } | ({} if system.batch_size == 1 else {"batch_size": system.batch_size})


def _point(bound: LowerBound | UpperBound) -> dict[str, Any]:
    return {} if bound.witness is None else {"witness": bound.witness.to_json()}


def lower_certificate(
    architecture: Architecture, path: str, system: LayerSystem, bound: LowerBound, *, seed: int
) -> Certificate:
    """Certify a lower bound of the generic rank.

    Parameters
    ----------
    architecture : Architecture
        The network.
    path : str
        Which of its layers.
    system : LayerSystem
        That layer's system.
    bound : LowerBound
        The bound.
    seed : int
        Seed of the witness.

    Returns
    -------
    Certificate
        Claim ``generic-rank-lower-bound``; its proof is the rank at the witness, which the checker draws again.
    """
    data = _layer(architecture, path, system, seed) | {"rank": bound.value} | _point(bound)
    return Certificate("generic-rank-lower-bound", data, architecture.sha256, library_versions(), seed)


def upper_certificate(
    architecture: Architecture, path: str, system: LayerSystem, bound: UpperBound, *, seed: int
) -> Certificate:
    """Certify an upper bound of the generic rank.

    Parameters
    ----------
    architecture : Architecture
        The network.
    path : str
        Which of its layers.
    system : LayerSystem
        That layer's system.
    bound : UpperBound
        The bound.
    seed : int
        Seed of the witness at which dependencies were counted.

    Returns
    -------
    Certificate
        Claim ``generic-rank-upper-bound``.
    """
    data = _layer(architecture, path, system, seed) | {
        "bound": bound.value,
        "covered": bound.covered,
        "rank_weight_bound": bound.forward,
        "rank_gradient_bound": bound.gradient,
        "dependencies": bound.dependencies,
    }
    data |= _point(bound)
    if bound.how == IMAGES:
        data["images"] = (bound.value - bound.gradient) // system.out_channels
    return Certificate("generic-rank-upper-bound", data, architecture.sha256, library_versions(), seed)
