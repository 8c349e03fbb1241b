"""Which values of a network's signals the output depends on at all, by the connections alone."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.architectures import AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, Residual
from provable.architectures.fields import Shape
from provable.architectures.layers import chain_shapes
from provable.leakage.layer_system import LayerSystem

Mask = NDArray[np.bool_]


def window_system(layer: Conv2d | AvgPool2d | MaxPool2d, input_shape: Shape) -> LayerSystem:
    """Read how the windows of a layer on images touch its input.

    Parameters
    ----------
    layer : Conv2d, AvgPool2d or MaxPool2d
        The layer.
    input_shape : tuple of int
        (channels, height, width).

    Returns
    -------
    LayerSystem
        For a convolution its layer system; for pooling a system with the same windows.
    """
    if isinstance(layer, Conv2d):
        return LayerSystem.of_layer(layer, input_shape)
    channels, height, width = input_shape
    return LayerSystem(channels, channels, (height, width), layer.kernel_size, layer.stride, layer.padding)


def used_inputs(layer: Layer, input_shape: Shape, used: Mask) -> Mask:
    """Carry the used values of a layer's output back to its input.

    Parameters
    ----------
    layer : Layer
        The layer.
    input_shape : tuple of int
        Shape of its input.
    used : ndarray of bool, shape of the layer's output
        The values on which the output of the network depends.

    Returns
    -------
    ndarray of bool, shape of the layer's input
        The input values that a used value depends on through the connections of the layer.
    """
    match layer:
        case Linear():
            return np.full(input_shape, used.any())
        case Flatten():
            return used.reshape(input_shape)
        case Conv2d() | AvgPool2d() | MaxPool2d():
            system = window_system(layer, input_shape)
            wanted = used.reshape(len(used), system.positions)
            if isinstance(layer, Conv2d):  # every input channel goes into every output channel
                wanted = np.broadcast_to(wanted.any(axis=0), (input_shape[0], system.positions))
            result = np.zeros((input_shape[0], system.pixels), dtype=np.bool_)
            for row, column in system.lags():
                positions, pixels = system.touched(row, column)
                result[:, pixels] |= wanted[:, positions]
            return result.reshape(input_shape)
        case Residual():
            straight = used_values(layer.layers, input_shape, used)[0]
            around = used_values(layer.shortcut, input_shape, used)[0]
            return straight | around
    return used


def used_values(layers: tuple[Layer, ...], input_shape: Shape, used: Mask | None = None) -> list[Mask]:
    """Find the used values between the layers of a chain.

    Parameters
    ----------
    layers : tuple of Layer
        The layers in order.
    input_shape : tuple of int
        Shape of the chain's input.
    used : ndarray of bool, shape of the chain's output, optional
        The used values of its output, by default all.

    Returns
    -------
    list of ndarray of bool
        For the input of every layer, then for the output. On a value that is not used depend neither the output of the
        network nor, as the sensitivity of whatever is computed from it is zero, any gradient.
    """
    shapes = chain_shapes(layers, input_shape)
    masks = [np.ones(shapes[-1], dtype=np.bool_) if used is None else used]
    for layer, shape in zip(reversed(layers), reversed(shapes[:-1]), strict=True):
        masks.append(used_inputs(layer, shape, masks[-1]))
    return masks[::-1]
