"""Tangent kernels of finite networks at many samples: by blocks, with a peak of memory that is known beforehand."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from provable import memory
from provable.architectures import Architecture, AvgPool2d, Conv2d, Layer, Linear, MaxPool2d, Residual
from provable.architectures.fields import Shape
from provable.architectures.layers import chain_shapes
from provable.arithmetic import Float
from provable.errors import ArithmeticUnsupported
from provable.networks.evaluation import check_inputs
from provable.networks.parameters import Parameters
from provable.networks.tangents import tangent_kernel

LAYER_ARRAYS = 4
"""Arrays of the size of what one layer works on that may live at once."""

PAIR_ARRAYS = 6
"""Arrays of the size of the kernel of a block that may live at once."""


def tangent_gram_memory(architecture: Architecture, shape: tuple[int, int], side: int | None = None) -> int:
    """Predict the memory that a tangent kernel takes.

    Parameters
    ----------
    architecture : Architecture
        The network.
    shape : tuple of int
        Numbers n and m of samples.
    side : int, optional
        Samples on each side of a block; default all of them at once.

    Returns
    -------
    int
        Bytes at the peak: the matrix, copies of the samples and all working memory.
    """
    outputs = architecture.output_size
    sides = [count if side is None else min(side, count) for count in shape]
    kept, largest = architecture.input_size, 0
    for layer, received, sent in _layers(architecture.layers, architecture.input_shape):
        # every layer's inputs, and its cotangents for every output, stay until the end
        kept += math.prod(received) + outputs * math.prod(sent)
        largest = max(largest, outputs * _worked_on(layer, received, sent))
    numbers = sum(shape) * architecture.input_size + sum(sides) * (kept + LAYER_ARRAYS * largest)
    pairs = math.prod(shape) + PAIR_ARRAYS * math.prod(sides)
    return 8 * (numbers + outputs**2 * pairs)


def _layers(chain: tuple[Layer, ...], input_shape: Shape) -> Iterator[tuple[Layer, Shape, Shape]]:
    shapes = chain_shapes(chain, input_shape)
    for layer, received, sent in zip(chain, shapes, shapes[1:], strict=False):
        yield layer, received, sent
        if isinstance(layer, Residual):
            yield from _layers(layer.layers, received)
            yield from _layers(layer.shortcut, received)


def _worked_on(layer: Layer, received: Shape, sent: Shape) -> int:
    """Numbers for one sample and output: inputs and outputs, windows, and the gradients that are formed."""
    numbers = math.prod(received) + math.prod(sent)
    if isinstance(layer, Conv2d | AvgPool2d | MaxPool2d):
        numbers += received[0] * math.prod(layer.kernel_size) * math.prod(sent[1:])
    if not isinstance(layer, Linear):
        numbers += sum(math.prod(shape) for shape in layer.parameter_shapes(received).values())
    return numbers


def tangent_gram(
    architecture: Architecture, parameters: Parameters, X: Any, Z: Any = None, *, memory_limit: int | None = None
) -> Float:
    """The tangent kernel K = ⟨∇_θ f_k(x_i; θ), ∇_θ f_l(z_j; θ)⟩ of many samples.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        Its parameters θ, float64.
    X : array_like of shape (n, *input_shape)
        Samples.
    Z : array_like of shape (m, *input_shape), optional
        Other samples; default the same, which takes half the time.
    memory_limit : int, optional
        Bytes that the evaluation may take; default what is available.

    Returns
    -------
    ndarray of shape (n * C, m * C)
        Row i * C + k belongs to sample i and output k, likewise the columns; symmetric to the last bit if both sets are the
        same.

    Raises
    ------
    InputError
        If the samples do not fit the architecture, or the limit is not a positive integer.
    ArithmeticUnsupported
        For other numbers than float64: `tangent_kernel` takes them.
    UnsupportedError
        If the matrix would not fit into memory even by blocks of one pair, with the number of bytes that it would need, and
        for a layer that cannot be evaluated, which the message names.

    Notes
    -----
    The blocks are as large as the memory allows, `tangent_gram_memory`: each of them evaluates the network anew.
    """
    left = check_inputs(architecture, parameters, X)
    right = left if Z is None else check_inputs(architecture, parameters, Z)
    if left.dtype == object or right.dtype == object:
        raise ArithmeticUnsupported(
            "blocks of tangent kernels are made of float64 numbers; take tangent_kernel for others"
        )
    symmetric = Z is None or np.array_equal(left, right)
    shape, outputs = (len(left), len(right)), architecture.output_size
    side = _largest_side(architecture, shape, memory_limit)
    result = np.zeros((shape[0] * outputs, shape[1] * outputs))
    for start in range(0, shape[0], side):
        for other in range(start if symmetric else 0, shape[1], side):
            first, second = left[start : start + side], right[other : other + side]
            on_diagonal = symmetric and start == other
            block = tangent_kernel(architecture, parameters, first, None if on_diagonal else second)
            rows, columns = (
                slice(outputs * begin, outputs * (begin + len(part)))
                for begin, part in ((start, first), (other, second))
            )
            if on_diagonal:
                np.copyto(block, block.T.copy(), where=np.tri(len(block), k=-1, dtype=np.bool_))
            result[rows, columns] = block
            if symmetric and not on_diagonal:
                result[columns, rows] = block.T
    return result


def _largest_side(architecture: Architecture, shape: tuple[int, int], memory_limit: int | None) -> int:
    """The largest number of samples on the side of a block that the memory allows."""
    side = max(1, *shape)
    limit = memory.usable_memory(memory_limit)
    while side > 1 and limit is not None and tangent_gram_memory(architecture, shape, side) > limit:
        side = (side + 1) // 2
    needed = tangent_gram_memory(architecture, shape, side)
    memory.require_memory(f"a tangent kernel of {shape[0]} by {shape[1]} samples", needed, memory_limit)
    return side
