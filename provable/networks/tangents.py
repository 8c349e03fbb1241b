"""Per-sample gradients of the outputs, the tangent embedding of a measure and the tangent kernel."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.architectures import Architecture, Layer, Linear, Residual
from provable.arithmetic import Array
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import layers
from provable.networks.evaluation import Trace, trace
from provable.networks.parameters import Parameters

LARGEST_TANGENTS = 2**35
"""Bytes that the array of all tangents may take."""


@dataclass(frozen=True, eq=False)
class Cotangents:
    """Gradients of a scalar function of the outputs with respect to everything on the way.

    Attributes
    ----------
    outputs : mapping of str to ndarray of shape (n, *output shape of the layer)
        Gradient with respect to the output of every layer, by its path.
    input : ndarray of shape (n, *input_shape)
        Gradient with respect to the samples.
    """

    outputs: Mapping[str, Array]
    input: Array


def _back(
    chain: tuple[Layer, ...],
    prefix: str,
    parameters: Parameters,
    record: Mapping[str, Array],
    current: Array,
    result: dict[str, Array],
) -> Array:
    for index in reversed(range(len(chain))):
        layer, path = chain[index], f"{prefix}{index}"
        result[path] = current
        if isinstance(layer, Residual):
            straight = _back(layer.layers, f"{path}.", parameters, record, current, result)
            around = _back(layer.shortcut, f"{path}.shortcut.", parameters, record, current, result)
            current = straight + around
        else:
            current = layers.pull_back(layer, path, parameters, record[path], current)
    return current


def backpropagate(architecture: Architecture, parameters: Parameters, traced: Trace, cotangent: Array) -> Cotangents:
    """Propagate gradients from the outputs to every layer.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters.
    traced : Trace
        A forward evaluation with these parameters.
    cotangent : ndarray of shape (n, C)
        Gradient with respect to the outputs.

    Returns
    -------
    Cotangents
        Gradients with respect to every layer's output and the samples.

    Raises
    ------
    InputError
        If the cotangent has another shape than the outputs.
    """
    if cotangent.shape != traced.output.shape:
        raise InputError(f"cotangent: found shape {cotangent.shape}; {traced.output.shape} is accepted")
    outputs: dict[str, Array] = {}
    gradient = _back(architecture.layers, "", parameters, traced.inputs, cotangent, outputs)
    return Cotangents(outputs, gradient)


def leaves(chain: tuple[Layer, ...], prefix: str = "") -> Iterator[tuple[str, Layer]]:
    """Layers that are no residual blocks, with their paths, in the order of the parameters.

    Parameters
    ----------
    chain : tuple of Layer
        The layers.
    prefix : str
        What comes before the index in a path.

    Yields
    ------
    tuple of str and Layer
        The path, such as ``"3.shortcut.0"``, and the layer.
    """
    for index, layer in enumerate(chain):
        path = f"{prefix}{index}"
        if isinstance(layer, Residual):
            yield from leaves(layer.layers, f"{path}.")
            yield from leaves(layer.shortcut, f"{path}.shortcut.")
        else:
            yield path, layer


def _output_cotangents(architecture: Architecture, parameters: Parameters, traced: Trace) -> Iterator[Cotangents]:
    for output in range(architecture.output_size):
        unit = arithmetic.full(traced.output.shape, 0, traced.output)
        unit[:, output] = arithmetic.constant(1, traced.output)
        yield backpropagate(architecture, parameters, traced, unit)


def tangents(architecture: Architecture, parameters: Parameters, inputs: Any) -> Array:
    """Gradients ∇_θ f_k(x_i; θ) of every output at every sample.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters θ.
    inputs : array_like of shape (n, *input_shape)
        Samples x_i.

    Returns
    -------
    ndarray of shape (n, C, P)
        P runs over the parameters in the order of ``Parameters.vector``.

    Raises
    ------
    InputError
        If the inputs do not fit the architecture.
    UnsupportedError
        For a layer that cannot be evaluated, which the message names, and if the result would take over 32 GiB.
    """
    traced = trace(architecture, parameters, inputs)
    shape = (len(traced.output), architecture.output_size, architecture.parameter_count)
    if 8 * math.prod(shape) > LARGEST_TANGENTS:
        raise UnsupportedError(
            f"inputs: found {shape[0]} samples, whose tangents of shape {shape} need {8 * math.prod(shape)} bytes; at most "
            f"{LARGEST_TANGENTS} are accepted: take fewer samples, embed a measure or form the tangent kernel"
        )
    result = np.empty(shape, dtype=traced.output.dtype)
    for output, cotangents in enumerate(_output_cotangents(architecture, parameters, traced)):
        start = 0
        for path, layer in leaves(architecture.layers):
            for gradients in layers.sample_gradients(layer, traced.inputs[path], cotangents.outputs[path]).values():
                stop = start + math.prod(gradients.shape[1:])
                result[:, output, start:stop] = gradients.reshape(shape[0], stop - start)
                start = stop
    return result


def embed(architecture: Architecture, parameters: Parameters, measure: Measure) -> Parameters:
    """The tangent embedding Φ_θ μ = Σ_j Σ_k c_jk ∇_θ f_k(x_j; θ), by one backward pass.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters θ.
    measure : Measure
        Atoms in the input space; coefficients (n,) for one output, (n, C) for C.

    Returns
    -------
    Parameters
        The embedding, in the shapes of the parameters.

    Raises
    ------
    InputError
        If the measure does not fit the architecture.
    UnsupportedError
        For a layer that cannot be evaluated; the message names it.
    """
    traced = trace(architecture, parameters, measure.points)
    coefficients = measure.coefficients
    if coefficients.ndim == 1 and architecture.output_size == 1:
        coefficients = coefficients[:, None]
    if coefficients.shape != traced.output.shape:
        raise InputError(
            f"coefficients: found shape {measure.coefficients.shape}; {traced.output.shape} is accepted: "
            "one for each atom and output"
        )
    return contract(architecture, parameters, traced, coefficients)


def contract(architecture: Architecture, parameters: Parameters, traced: Trace, coefficients: Array) -> Parameters:
    """Contract the tangents at traced samples with coefficients, by one backward pass.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters θ.
    traced : Trace
        A forward evaluation with these parameters at samples x_j.
    coefficients : ndarray of shape (n, C)
        One number c_jk for each sample and output.

    Returns
    -------
    Parameters
        Σ_j Σ_k c_jk ∇_θ f_k(x_j; θ), in the shapes of the parameters.
    """
    if len(coefficients) == 0:
        return parameters.map_numbers(lambda array: arithmetic.full(array.shape, 0, array))
    cotangents = backpropagate(architecture, parameters, traced, coefficients)
    arrays: dict[str, Array] = {}
    for path, layer in leaves(architecture.layers):
        for name, gradient in layers.summed_gradients(layer, traced.inputs[path], cotangents.outputs[path]).items():
            arrays[f"{path}/{name}"] = gradient
    return Parameters(architecture, arrays)


def _stacked(cotangents: list[Cotangents], path: str) -> Array:
    # (n, C, *output shape) flattened to one row per sample and output
    block = np.stack([one.outputs[path] for one in cotangents], axis=1)
    return block.reshape(block.shape[0] * block.shape[1], *block.shape[2:])


def tangent_kernel(architecture: Architecture, parameters: Parameters, X: Any, Z: Any = None) -> Array:
    """The tangent kernel K = ⟨∇_θ f_k(x_i; θ), ∇_θ f_l(z_j; θ)⟩, layer by layer without all tangents at once.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters θ.
    X : array_like of shape (n, *input_shape)
        Samples.
    Z : array_like of shape (m, *input_shape), optional
        Other samples; default the same.

    Returns
    -------
    ndarray of shape (n * C, m * C)
        Row i * C + k belongs to sample i and output k, likewise the columns.

    Raises
    ------
    InputError
        If the samples do not fit the architecture.
    UnsupportedError
        For a layer that cannot be evaluated; the message names it.
    """
    outputs = architecture.output_size
    left = trace(architecture, parameters, X)
    left_cotangents = list(_output_cotangents(architecture, parameters, left))
    right, right_cotangents = left, left_cotangents
    if Z is not None:
        right = trace(architecture, parameters, Z)
        right_cotangents = list(_output_cotangents(architecture, parameters, right))
    shape = (len(left.output) * outputs, len(right.output) * outputs)
    kernel = arithmetic.full(shape, 0, left.output)
    if 0 in shape:
        return kernel
    for path, layer in leaves(architecture.layers):
        g, h = _stacked(left_cotangents, path), _stacked(right_cotangents, path)
        x, z = left.inputs[path], right.inputs[path]
        if isinstance(layer, Linear):  # ⟨g xᵀ, h zᵀ⟩ = ⟨g, h⟩ ⟨x, z⟩
            similarity = x @ z.T
            if layer.bias:
                similarity = similarity + arithmetic.constant(1, similarity)
            kernel = kernel + (g @ h.T) * similarity.repeat(outputs, axis=0).repeat(outputs, axis=1)
            continue
        ours = layers.sample_gradients(layer, x.repeat(outputs, axis=0), g)
        theirs = ours if Z is None else layers.sample_gradients(layer, z.repeat(outputs, axis=0), h)
        for name, gradients in ours.items():
            kernel = kernel + gradients.reshape(shape[0], -1) @ theirs[name].reshape(shape[1], -1).T
    return kernel
