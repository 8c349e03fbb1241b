"""What each layer does: its value, the transpose of its derivative, and its parameter gradients; any arithmetic."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np

from provable import arithmetic
from provable.architectures.layers import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
)
from provable.arithmetic import Array
from provable.errors import UnsupportedError
from provable.networks import activations
from provable.networks.windows import first_maxima, fold, patches, scatter


def _unsupported(layer: Layer, path: str) -> UnsupportedError:
    if isinstance(layer, BatchNorm2d):
        needs = "the running mean and variance, which neither the description nor an observation carries"
        advice = ": fold them into the weight and bias of the convolution before it"
        return UnsupportedError(f"layer {path} ({layer.type}): evaluating it needs {needs}{advice}")
    return UnsupportedError(f"layer {path} ({layer.type}): evaluating it needs an implementation of this layer type")


def columns(layer: Conv2d, images: Array) -> Array:
    """Write the windows of a convolution as columns.

    Parameters
    ----------
    layer : Conv2d
        The convolution.
    images : ndarray of shape (n, channels, height, width)
        Its inputs.

    Returns
    -------
    ndarray of shape (n, channels * kernel height * kernel width, rows * columns)
        The matrix that the flattened kernels multiply.
    """
    windows = patches(images, layer.kernel_size, layer.stride, layer.padding)
    n, channels, tall, wide, high, long = windows.shape
    return windows.reshape(n, channels * tall * wide, high * long)


def apply(layer: Layer, path: str, parameters: Mapping[str, Array], inputs: Array) -> Array:
    """Evaluate a layer that is no residual block.

    Parameters
    ----------
    layer : Layer
        The layer.
    path : str
        Its place, such as ``"3.1"``, under which its parameters are found.
    parameters : mapping of str to ndarray
        All parameters.
    inputs : ndarray of shape (n, *input shape of the layer)
        One input per sample.

    Returns
    -------
    ndarray of shape (n, *output shape of the layer)
        One output per sample.

    Raises
    ------
    UnsupportedError
        For ``batch_norm2d``.
    """
    match layer:
        case Activation():
            return activations.value(layer, inputs)
        case MaxPool2d():
            return first_maxima(inputs, layer.kernel_size, layer.stride, layer.padding)[0]
    outputs = linear_part(layer, path, parameters, inputs)
    if isinstance(layer, Linear) and layer.bias:
        return np.asarray(outputs + parameters[f"{path}/bias"])
    if isinstance(layer, Conv2d) and layer.bias:
        return np.asarray(outputs + parameters[f"{path}/bias"][:, None, None])
    return outputs


def linear_part(layer: Layer, path: str, parameters: Mapping[str, Array], inputs: Array) -> Array:
    """Evaluate an affine layer without its bias: its derivative, applied to tangents.

    Parameters
    ----------
    layer : Layer
        A linear or convolutional layer, average pooling or a flattening.
    path : str
        Its place, under which its parameters are found.
    parameters : mapping of str to ndarray
        All parameters.
    inputs : ndarray of shape (n, *input shape of the layer)
        Inputs or tangents.

    Returns
    -------
    ndarray of shape (n, *output shape of the layer)
        The linear map's values.

    Raises
    ------
    UnsupportedError
        For ``batch_norm2d``.
    """
    match layer:
        case Flatten():
            return inputs.reshape(len(inputs), math.prod(inputs.shape[1:]))
        case Linear():
            outputs: Array = inputs @ parameters[f"{path}/weight"].T
            return outputs
        case Conv2d():
            weight = parameters[f"{path}/weight"]
            outputs = weight.reshape(len(weight), -1) @ columns(layer, inputs)
            return outputs.reshape(len(inputs), *layer.output_shape(inputs.shape[1:]))
        case AvgPool2d():
            windows = patches(inputs, layer.kernel_size, layer.stride, layer.padding)
            result: Array = windows.sum(axis=(2, 3)) / arithmetic.constant(math.prod(layer.kernel_size), inputs)
            return result
    raise _unsupported(layer, path)


def pull_back(layer: Layer, path: str, parameters: Mapping[str, Array], inputs: Array, cotangents: Array) -> Array:
    """Apply the transpose of a layer's derivative with respect to its input.

    Parameters
    ----------
    layer : Layer
        The layer, no residual block.
    path : str
        Its place, under which its parameters are found.
    parameters : mapping of str to ndarray
        All parameters.
    inputs : ndarray of shape (n, *input shape of the layer)
        Where the derivative is taken.
    cotangents : ndarray of shape (n, *output shape of the layer)
        Gradients with respect to the layer's output.

    Returns
    -------
    ndarray of shape (n, *input shape of the layer)
        Gradients with respect to the layer's input.

    Raises
    ------
    UnsupportedError
        For ``batch_norm2d``.
    """
    match layer:
        case Activation():
            return cotangents * activations.derivative(layer, inputs)
        case Flatten():
            return cotangents.reshape(inputs.shape)
        case Linear():
            result: Array = cotangents @ parameters[f"{path}/weight"]
            return result
        case Conv2d():
            weight = parameters[f"{path}/weight"]
            n, channels, high, long = cotangents.shape
            columns_of_windows = weight.reshape(channels, -1).T @ cotangents.reshape(n, channels, high * long)
            windows = columns_of_windows.reshape(n, *weight.shape[1:], high, long)
            return fold(windows, (inputs.shape[2], inputs.shape[3]), layer.stride, layer.padding)
        case AvgPool2d():
            shares = cotangents / arithmetic.constant(math.prod(layer.kernel_size), cotangents)
            shape = (*shares.shape[:2], *layer.kernel_size, *shares.shape[2:])
            windows = np.broadcast_to(shares[:, :, None, None], shape)
            return fold(windows, (inputs.shape[2], inputs.shape[3]), layer.stride, layer.padding)
        case MaxPool2d():
            places = first_maxima(inputs, layer.kernel_size, layer.stride, layer.padding)[1]
            windows = scatter(cotangents, places, layer.kernel_size)
            return fold(windows, (inputs.shape[2], inputs.shape[3]), layer.stride, layer.padding)
    raise _unsupported(layer, path)


def sample_gradients(layer: Layer, inputs: Array, cotangents: Array) -> dict[str, Array]:
    """Gradients with respect to the layer's own parameters, sample by sample.

    Parameters
    ----------
    layer : Layer
        The layer.
    inputs : ndarray of shape (n, *input shape of the layer)
        Inputs of the layer.
    cotangents : ndarray of shape (n, *output shape of the layer)
        Gradients with respect to the layer's output.

    Returns
    -------
    dict of str to ndarray of shape (n, *parameter shape)
        ``"weight"`` and ``"bias"`` as far as the layer has them.
    """
    result: dict[str, Array] = {}
    match layer:
        case Linear():
            result["weight"] = cotangents[:, :, None] * inputs[:, None, :]
            if layer.bias:
                result["bias"] = cotangents
        case Conv2d():
            n, channels, high, long = cotangents.shape
            flat = cotangents.reshape(n, channels, high * long)
            weight: Array = flat @ columns(layer, inputs).transpose(0, 2, 1)
            result["weight"] = weight.reshape(n, channels, inputs.shape[1], *layer.kernel_size)
            if layer.bias:
                result["bias"] = flat.sum(axis=2)
    return result


def summed_gradients(layer: Layer, inputs: Array, cotangents: Array) -> dict[str, Array]:
    """Gradients with respect to the layer's own parameters, summed over a nonempty batch.

    Parameters
    ----------
    layer : Layer
        The layer.
    inputs : ndarray of shape (n, *input shape of the layer)
        Inputs of the layer, n > 0.
    cotangents : ndarray of shape (n, *output shape of the layer)
        Gradients with respect to the layer's output.

    Returns
    -------
    dict of str to ndarray of the parameters' shapes
        ``"weight"`` and ``"bias"`` as far as the layer has them.
    """
    if isinstance(layer, Linear):  # without the (n, out, in) array of the sample gradients
        result: dict[str, Array] = {"weight": cotangents.T @ inputs}
        return result | ({"bias": cotangents.sum(axis=0)} if layer.bias else {})
    return {name: gradients.sum(axis=0) for name, gradients in sample_gradients(layer, inputs, cotangents).items()}
