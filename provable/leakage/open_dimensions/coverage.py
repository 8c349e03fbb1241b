"""Which values of the input a network looks at, whatever its parameters are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Architecture, AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, Residual
from provable.architectures.fields import Shape
from provable.architectures.layers import chain_shapes
from provable.leakage.layer_systems.axis import Axis

Mask = NDArray[np.bool_]


def dead_inputs(architecture: Architecture) -> int:
    """Count the input values on which neither the output nor any gradient depends.

    Parameters
    ----------
    architecture : Architecture
        The network.

    Returns
    -------
    int
        Values of the sample that no window of a convolution or a pooling passes on to a value that is passed on itself,
        for instance a border that the last stride does not reach. A flat input has none.
    """
    useful = pixels_looked_at(architecture.layers, architecture.input_shape)[0]
    if useful is None:
        return 0
    return architecture.input_shape[0] * int(np.count_nonzero(~useful))


def pixels_looked_at(
    layers: tuple[Layer, ...], input_shape: Shape, useful: Mask | None = None
) -> tuple[Mask | None, ...]:
    """Pull back, from the output of a chain to its input, which pixels are looked at.

    Parameters
    ----------
    layers : tuple of Layer
        The chain.
    input_shape : tuple of int
        Shape of its input.
    useful : ndarray of bool, shape (height, width), optional
        The pixels of its output that are looked at, the same in every channel; None for all.

    Returns
    -------
    tuple of ndarray of bool, or None
        The same for the input of every layer, then for the output. On a value that is not looked at depends neither the
        output of the network nor, as the sensitivity of whatever is computed from it is zero, any gradient.
    """
    shapes = chain_shapes(layers, input_shape)
    result = [useful]
    for layer, below in zip(reversed(layers), reversed(shapes[:-1]), strict=True):
        match layer:
            case Conv2d() | AvgPool2d() | MaxPool2d():
                useful = _through_windows(layer, below, useful)
            case Residual():
                straight = pixels_looked_at(layer.layers, below, useful)[0]
                around = pixels_looked_at(layer.shortcut, below, useful)[0]
                useful = None if straight is None or around is None else straight | around
            case Flatten() | Linear():
                useful = None
            case _:
                pass
        result.append(useful)
    return tuple(reversed(result))


def _through_windows(layer: Conv2d | AvgPool2d | MaxPool2d, shape: Shape, useful: Mask | None) -> Mask:
    extents = (shape[1], shape[2])
    vertical, horizontal = (
        Axis(*sizes) for sizes in zip(extents, layer.kernel_size, layer.stride, layer.padding, strict=True)
    )
    if useful is None:
        result: Mask = np.logical_and.outer(vertical.covered, horizontal.covered)
        return result
    result = np.zeros(extents, dtype=np.bool_)
    for row in range(vertical.lags):
        tall, rows = vertical.touched(row)
        for column in range(horizontal.lags):
            wide, columns = horizontal.touched(column)
            result[np.ix_(rows, columns)] |= useful[np.ix_(tall, wide)]
    return result
