"""Forward evaluation of a network, with or without what each layer received."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.architectures import Architecture, Layer, Residual
from provable.arithmetic import Array
from provable.errors import InputError
from provable.measures import as_numbers
from provable.networks import layers
from provable.networks.parameters import Parameters


@dataclass(frozen=True, eq=False)
class Trace:
    """What went through a network.

    Attributes
    ----------
    inputs : mapping of str to ndarray of shape (n, *input shape of the layer)
        The input of every layer by its path, ``"0"``, ``"3.1"`` or ``"3.shortcut.0"``.
    output : ndarray of shape (n, C)
        The outputs of the network.
    """

    inputs: Mapping[str, Array]
    output: Array


def check_inputs(architecture: Architecture, parameters: Parameters, inputs: Any) -> Array:
    """Check samples against an architecture and the arithmetic of its parameters.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters.
    inputs : array_like of shape (n, *input_shape)
        Samples.

    Returns
    -------
    ndarray of shape (n, *input_shape)
        The samples, float64 or exact.

    Raises
    ------
    InputError
        If the shape, a number or the arithmetic is wrong, or the parameters belong to another architecture.
    """
    if parameters.architecture is not architecture and parameters.architecture != architecture:
        raise InputError(
            f"parameters: found those of the architecture {parameters.architecture.name}; "
            f"those of {architecture.name} are accepted"
        )
    samples = as_numbers(inputs, "inputs")
    if samples.shape[1:] != architecture.input_shape or samples.ndim == 0:
        shape = ", ".join(map(str, architecture.input_shape))
        raise InputError(f"inputs: found shape {samples.shape}; (n, {shape}) is accepted")
    if samples.size and len(parameters) and arithmetic.kind(samples) != parameters.kind:
        raise InputError(
            f"inputs: found {arithmetic.kind(samples)} numbers with {parameters.kind} parameters; "
            "numbers of one arithmetic are accepted"
        )
    return samples


def _run(
    chain: tuple[Layer, ...], prefix: str, parameters: Parameters, current: Array, record: dict[str, Array] | None
) -> Array:
    for index, layer in enumerate(chain):
        path = f"{prefix}{index}"
        if record is not None:
            record[path] = current
        if isinstance(layer, Residual):
            straight = _run(layer.layers, f"{path}.", parameters, current, record)
            around = _run(layer.shortcut, f"{path}.shortcut.", parameters, current, record)
            current = straight + around
        else:
            current = layers.apply(layer, path, parameters, current)
    return current


def forward(architecture: Architecture, parameters: Parameters, inputs: Any) -> Array:
    """Evaluate the network.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters.
    inputs : array_like of shape (n, *input_shape)
        Samples: floats, or an object array in the arithmetic of the parameters.

    Returns
    -------
    ndarray of shape (n, C)
        Outputs f(x_i; θ).

    Raises
    ------
    InputError
        If the inputs do not fit the architecture.
    UnsupportedError
        For a layer that cannot be evaluated; the message names it.
    """
    return _run(architecture.layers, "", parameters, check_inputs(architecture, parameters, inputs), None)


def trace(architecture: Architecture, parameters: Parameters, inputs: Any) -> Trace:
    """Evaluate the network and keep the input of every layer.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters.
    inputs : array_like of shape (n, *input_shape)
        Samples: floats, or an object array in the arithmetic of the parameters.

    Returns
    -------
    Trace
        Layer inputs and outputs.

    Raises
    ------
    InputError
        If the inputs do not fit the architecture.
    UnsupportedError
        For a layer that cannot be evaluated; the message names it.
    """
    record: dict[str, Array] = {}
    samples = check_inputs(architecture, parameters, inputs)
    output = _run(architecture.layers, "", parameters, samples, record)
    return Trace(record, np.asarray(output))
