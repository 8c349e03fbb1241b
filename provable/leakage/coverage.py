"""Which values of the input a network looks at, whatever its parameters are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Architecture, AvgPool2d, Conv2d, Flatten, Layer, Linear, MaxPool2d, Residual
from provable.architectures.fields import Shape
from provable.architectures.layers import chain_shapes
from provable.leakage.layer_system import Axis

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
    useful = _looked_at(architecture.layers, architecture.input_shape, None)
    if useful is None:
        return 0
    return architecture.input_shape[0] * int(np.count_nonzero(~useful))


def _looked_at(layers: tuple[Layer, ...], shape: Shape, useful: Mask | None) -> Mask | None:
    """Pull back, from the output of a chain to its input, which pixels are looked at; None for all."""
    shapes = chain_shapes(layers, shape)
    for layer, below in zip(reversed(layers), reversed(shapes[:-1]), strict=True):
        match layer:
            case Conv2d() | AvgPool2d() | MaxPool2d():
                useful = _through_windows(layer, below, useful)
            case Residual():
                straight = _looked_at(layer.layers, below, useful)
                around = _looked_at(layer.shortcut, below, useful)
                useful = None if straight is None or around is None else straight | around
            case Flatten() | Linear():
                useful = None
            case _:
                pass
    return useful


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
