"""Which networks the recursion can go through, and where it can start."""

from __future__ import annotations

import math

from provable.architectures import Activation, AvgPool2d, BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Residual
from provable.observations import Observation
from provable.recovery.layerwise.anchors import biased_layers, last_layer
from provable.recovery.layerwise.inverses import refusal
from provable.recovery.layerwise.least_squares import LARGEST_GRAM_MATRIX, LARGEST_MATRIX

LARGEST_WEIGHTS = 5e7
"""Most nonzero entries of the matrix of a convolution (0.8 GB)."""


def supports(observation: Observation) -> str | None:
    """Tell whether the recursion applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it applies, otherwise the reason why not, with the layer and what it would need.
    """
    if observation.kind != "gradient":
        return f"it needs the gradient of a loss, and the observation is of kind {observation.kind}"
    samples = observation.batch_size
    if samples is None and observation.labels is not None:
        samples = len(observation.labels)
    if samples is not None and samples > 1:
        return f"the observation is of {samples} samples; one is accepted"
    biased = biased_layers(observation)
    start, reason = (biased[0], "") if biased else last_layer(observation)
    if start is None:
        return reason
    return obstacle_before(observation, start)


def obstacle_before(observation: Observation, start: int) -> str | None:
    """Tell what is in the way from a layer to the input.

    Parameters
    ----------
    observation : Observation
        Gives the architecture.
    start : int
        Position of the layer.

    Returns
    -------
    str or None
        None if every layer in front of it can be inverted, otherwise the first that cannot, and why.
    """
    return next((text for index in range(start) if (text := _obstacle(observation, index)) is not None), None)


def _obstacle(observation: Observation, index: int) -> str | None:
    architecture = observation.architecture
    layer = architecture.layers[index]
    where = f"layer {index} ({layer.type})"
    match layer:
        case Flatten():
            return None
        case Activation():
            found = refusal(layer)
            return None if found is None else f"{where} {found}"
        case Linear() | Conv2d() | AvgPool2d():
            return _size(observation, index, where)
        case MaxPool2d():
            return f"{where} passes maxima on, and the position of each would be needed"
        case Residual():
            return f"{where} adds two paths, and one linear system for the values on both would be needed"
        case BatchNorm2d():
            return f"{where} would need its running mean and variance: fold them into the layer before it"
    return f"{where} has no linear system here; linear, conv2d, avg_pool2d, flatten and activations are accepted"


def _size(observation: Observation, index: int, where: str) -> str | None:
    shapes = observation.architecture.shapes
    unknowns, outputs = math.prod(shapes[index]), math.prod(shapes[index + 1])
    layer = observation.architecture.layers[index]
    if isinstance(layer, Linear):
        return None
    assert isinstance(layer, Conv2d | AvgPool2d)
    entries = outputs * math.prod(layer.kernel_size) * (shapes[index][0] if isinstance(layer, Conv2d) else 1)
    if entries > LARGEST_WEIGHTS:
        return f"{where} has a matrix of {entries} entries; at most {LARGEST_WEIGHTS:.0f} are accepted"
    if unknowns > LARGEST_GRAM_MATRIX and outputs * unknowns > LARGEST_MATRIX:
        return (
            f"{where} has a system of {unknowns} unknowns and {outputs} outputs; at most {LARGEST_GRAM_MATRIX} unknowns, or "
            f"{LARGEST_MATRIX:.0f} for the product of both, are accepted"
        )
    return None
