"""Small networks, their parameters and measures on their inputs."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Erf, Identity, LeakyReLU, ReLU, Sigmoid, Softplus, Tanh
from provable.architectures.layers import Conv2d, Flatten, Layer, Linear
from provable.measures import Measure
from provable.networks.parameters import Parameters
from provable.theorems.strategies.arrays import arrays, gaussian_arrays, readable_arrays

SMOOTH_ACTIVATIONS: tuple[Layer, ...] = (Tanh(), Sigmoid(), Softplus(), Erf())
PIECEWISE_LINEAR_ACTIVATIONS: tuple[Layer, ...] = (ReLU(), LeakyReLU(negative_slope=0.25), Identity())


@st.composite
def architectures(
    draw: st.DrawFn,
    *,
    max_width: int = 4,
    max_depth: int = 3,
    activations: tuple[Layer, ...] = SMOOTH_ACTIVATIONS + PIECEWISE_LINEAR_ACTIVATIONS,
    bias: bool | None = None,
    outputs: int | None = None,
    convolutional: bool | None = None,
    loss: str = "squared",
) -> Architecture:
    """Small chains of linear or convolution layers with activations between them.

    Parameters
    ----------
    max_width : int, optional
        Largest number of inputs, units or channels.
    max_depth : int, optional
        Largest number of layers with parameters.
    activations : tuple of Layer, optional
        What is drawn from; each hidden layer draws its own.
    bias : bool, optional
        Force biases on or off in every layer.
    outputs : int, optional
        Number of outputs; default: drawn.
    convolutional : bool, optional
        Force the first layer to be a convolution, or every layer to be linear.
    loss : str, optional
        The loss.

    Returns
    -------
    Architecture
        A valid architecture.
    """
    width = st.integers(1, max_width)
    biases = st.booleans() if bias is None else st.just(bias)
    first_is_convolution = draw(st.booleans()) if convolutional is None else convolutional
    depth = draw(st.integers(1, max_depth))
    layers: list[Layer] = []
    if first_is_convolution:
        side = draw(st.integers(2, 4))
        input_shape: tuple[int, ...] = (draw(st.integers(1, 2)), side, side)
        kernel = draw(st.integers(1, side))
        stride, padding = draw(st.integers(1, 2)), draw(st.integers(0, 1))
        layers.append(Conv2d(draw(st.integers(1, 3)), kernel, stride=stride, padding=padding, bias=draw(biases)))
        layers.extend((draw(st.sampled_from(activations)), Flatten()))
    else:
        input_shape = (draw(width),)
        if depth > 1:
            layers.extend((Linear(draw(width), bias=draw(biases)), draw(st.sampled_from(activations))))
    for _ in range(depth - 2):
        layers.extend((Linear(draw(width), bias=draw(biases)), draw(st.sampled_from(activations))))
    layers.append(Linear(outputs if outputs is not None else draw(width), bias=draw(biases)))
    return Architecture("drawn", input_shape, tuple(layers), loss)


@st.composite
def parameters(draw: st.DrawFn, architecture: Architecture, *, readable: bool | None = None) -> Parameters:
    """Parameters of an architecture, readable or Gaussian.

    Parameters
    ----------
    architecture : Architecture
        Whose parameters.
    readable : bool, optional
        Force one kind.

    Returns
    -------
    Parameters
        The parameters.
    """
    chosen = not draw(st.booleans()) if readable is None else readable  # shrinks toward readable ones
    values: dict[str, Any] = {}
    for name, shape in architecture.parameter_shapes.items():
        fan_in = max(1, int(np.prod(shape[1:], dtype=np.int64)))
        values[name] = draw(readable_arrays(shape) if chosen else gaussian_arrays(shape, scale=fan_in**-0.5))
    return Parameters(architecture, values)


@st.composite
def measures(
    draw: st.DrawFn, input_shape: tuple[int, ...], *, max_atoms: int = 3, outputs: int | None = None
) -> Measure:
    """Signed measures with a few atoms; equal atoms and zero coefficients occur.

    Parameters
    ----------
    input_shape : tuple of int
        Shape of a point.
    max_atoms : int, optional
        Largest number of atoms.
    outputs : int, optional
        Number of coefficients per atom; default: one, without an axis of its own.

    Returns
    -------
    Measure
        The measure.
    """
    atoms = draw(st.integers(1, max_atoms))
    points = draw(arrays((atoms, *input_shape)))
    if atoms > 1 and draw(st.integers(0, 9)) == 0:
        points[1] = points[0]
    return Measure(points, draw(arrays((atoms,) if outputs is None else (atoms, outputs))))
