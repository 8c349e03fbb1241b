"""Small networks with every kind of layer, and their whole Jacobians in exact arithmetic."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import Architecture, AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Residual
from provable.architectures.layers import chain_shapes
from provable.arithmetic import RATIONAL
from provable.leakage.layer_systems import LayerSystem
from provable.leakage.layer_systems.rank import upper_bound
from provable.networks import Parameters, gradient_jacobian


@st.composite
def _convolutions(draw, shape):
    pads = (draw(st.integers(0, 1)), draw(st.integers(0, 1)))
    padded = [side + 2 * pad for side, pad in zip(shape[1:], pads, strict=True)]
    kernel = tuple(draw(st.integers(1, min(3, side))) for side in padded)
    stride = tuple(draw(st.integers(1, min(2, side))) for side in padded)
    return Conv2d(draw(st.integers(1, 3)), kernel, stride, pads, bias=draw(st.booleans()))


@st.composite
def _image_layers(draw, shape, activations):
    kind = draw(st.sampled_from(["convolution"] * 3 + ["average", "maximum", "residual"]))
    if kind == "convolution" or min(shape[1:]) < 2:
        return draw(_convolutions(shape))
    if kind != "residual":
        pool = AvgPool2d if kind == "average" else MaxPool2d
        return pool(2, draw(st.integers(1, 2)), draw(st.integers(0, 1)))
    inner = Conv2d(shape[0], 3, 1, 1, bias=draw(st.booleans()))
    longer = (draw(st.sampled_from(activations)), Conv2d(shape[0], 1))
    shortcut = draw(st.sampled_from([(), (Conv2d(shape[0], 1, bias=False),)]))
    return Residual((inner, *draw(st.sampled_from([(), longer]))), shortcut)


@st.composite
def _networks(draw, activations, loss="squared"):
    """Up to three layers on images, then one or two linear ones, with activations or none between them."""
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 4)), draw(st.integers(1, 4)))
    layers, current = [], shape
    for _ in range(draw(st.integers(0, 3))):
        layer = draw(_image_layers(current, activations))
        layers.append(layer)
        current = chain_shapes((layer,), current)[-1]
        if draw(st.integers(0, 3)):
            layers.append(draw(st.sampled_from(activations)))
    layers.append(Flatten())
    if draw(st.booleans()):
        layers += [Linear(draw(st.integers(1, 4)), draw(st.booleans())), draw(st.sampled_from(activations))]
    outputs = 1 if loss == "logistic" else draw(st.integers(2 if loss == "cross_entropy" else 1, 3))
    layers.append(Linear(outputs, draw(st.booleans())))
    return Architecture("small", shape, tuple(layers), loss)


def _systems(architecture):
    """Proved upper bounds of the layer systems' ranks, residual blocks included."""
    found = {}

    def visit(layers, shape, prefix):
        shapes = chain_shapes(layers, shape)
        for index, layer in enumerate(layers):
            if isinstance(layer, Conv2d | Linear):
                system = LayerSystem.of_layer(layer, shapes[index])
                found[f"{prefix}{index}"] = upper_bound(system).value
            elif isinstance(layer, Residual):
                visit(layer.layers, shapes[index], f"{prefix}{index}.")
                visit(layer.shortcut, shapes[index], f"{prefix}{index}.shortcut.")

    visit(architecture.layers, architecture.input_shape, "")
    return found


def _jacobian(architecture, parameters, sample, label):
    """The whole matrix, input values in rows."""
    size = sample.size
    units = np.eye(size).reshape(size, *sample.shape)
    exact = arithmetic.kind(sample) != "float64"
    return gradient_jacobian(architecture, parameters, sample, label).push_forward(
        RATIONAL.convert(units) if exact else units
    )


def _exact_rank(architecture, rng, zeros, samples=1):
    """Rank over the rationals at a random integer point, where some parameters and values are zero."""

    def draw(shape):
        numbers = np.where(rng.random(shape) < zeros, 0, rng.integers(-9, 10, shape)).astype(float)
        return RATIONAL.convert(numbers)

    shapes = architecture.parameter_shapes
    parameters = Parameters(architecture, {name: draw(shape) for name, shape in shapes.items()})
    sample, label = draw((samples, *architecture.input_shape)), draw((samples, architecture.output_size))
    matrix = _jacobian(architecture, parameters, sample, label)
    return flint.fmpq_mat(*matrix.shape, matrix.ravel().tolist()).rank() if matrix.size else 0


@pytest.fixture(scope="session")
def networks():
    """A function that makes a strategy of networks from a list of activations and a loss."""
    return _networks


@pytest.fixture(scope="session")
def systems():
    """A function that bounds the ranks of an architecture's layer systems from above."""
    return _systems


@pytest.fixture(scope="session")
def jacobian():
    """A function that differentiates all gradients of an architecture with respect to the input."""
    return _jacobian


@pytest.fixture(scope="session")
def exact_rank():
    """A function that gives the rank of the Jacobian at a random rational point."""
    return _exact_rank
