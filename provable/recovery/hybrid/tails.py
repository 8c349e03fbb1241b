"""The end of a network, seen as a network of its own."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.recovery.acceptance import explaining_labels, fitted_coefficients
from provable.recovery.layerwise.anchors import Anchor

_TOLERANCE = 1e-6
"""A start is known up to rounding times small factors; coefficients that miss a label's by more are no label's."""


def tail(observation: Observation, index: int) -> Observation:
    """Cut the layers before one off.

    Parameters
    ----------
    observation : Observation
        A gradient.
    index : int
        Position of the first layer that is kept.

    Returns
    -------
    Observation
        The same gradient of the layers from there on, whose samples are the inputs of that layer.
    """
    architecture = observation.architecture
    short = dataclasses.replace(
        architecture,
        name=f"{architecture.name} from layer {index}"[:200],
        input_shape=architecture.shapes[index],
        layers=architecture.layers[index:],
    )
    arrays = {key: observation.parameters[_moved(key, index)] for key in short.parameter_shapes}
    vector = {
        key: observation.vector[_moved(key, index)]
        for key in short.parameter_shapes
        if _moved(key, index) in observation.vector
    }
    return dataclasses.replace(
        observation, architecture=short, parameters=Parameters(short, arrays), vector=vector, unit_norm=None
    )


def label_at(observation: Observation, anchor: Anchor, method: str) -> NDArray[Any] | None:
    """Find the label that the start of the recursion shows.

    Parameters
    ----------
    observation : Observation
        The gradient of one sample.
    anchor : Anchor
        The start.
    method : str
        Name of the method, for error messages.

    Returns
    -------
    array of shape (1,) or (1, C), or None
        The start's own label, or the one that explains the coefficients behind it; None if there is none.
    """
    if anchor.label is not None:
        return anchor.label
    rest = tail(observation, anchor.index)
    inputs = anchor.inputs[None]
    coefficients, open_directions = fitted_coefficients(rest, inputs, method)
    if open_directions or not np.all(np.isfinite(coefficients)):
        return None
    return explaining_labels(rest, forward(rest.architecture, rest.parameters, inputs), coefficients, _TOLERANCE)


def _moved(key: str, index: int) -> str:
    """Name of a parameter of the tail in the whole network: its first number is the layer's position."""
    end = next(place for place, letter in enumerate(key) if not letter.isdigit())
    return f"{int(key[:end]) + index}{key[end:]}"
