"""Degrees of homogeneity: found for random chains by evaluating them exactly, and refused with the layer's name."""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    Tanh,
)
from provable.arithmetic import RATIONAL
from provable.errors import InputError
from provable.networks import Parameters, forward
from provable.stationarity import degree_of_homogeneity, layer_degrees

ACTIVATIONS = (
    ReLU(),
    LeakyReLU(negative_slope=0.25),
    Identity(),
    Polynomial((0.0, 0.0, 1.0)),
    Polynomial((0.0, 0.0, 0.0, -0.5)),
    Polynomial((0.0, 2.0)),
)


@st.composite
def chains(draw):
    layers = [Linear(draw(st.integers(1, 3)), bias=draw(st.booleans()))]
    for _ in range(draw(st.integers(0, 2))):
        layers += [draw(st.sampled_from(ACTIVATIONS)), Linear(draw(st.integers(1, 3)), bias=False)]
    if draw(st.booleans()):
        layers.append(draw(st.sampled_from(ACTIVATIONS)))
    if draw(st.booleans()):  # something that does not depend on the parameters
        layers.insert(0, draw(st.sampled_from((Polynomial((1.0, 1.0, 2.0)), Identity()))))
    return Architecture("chain", (2,), tuple(layers), "squared")


def rational(architecture, seed):
    rng = np.random.default_rng(seed)
    parameters = Parameters.from_vector(architecture, rng.integers(-3, 4, architecture.parameter_count).astype(float))
    return RATIONAL.convert(parameters), RATIONAL.convert(
        rng.integers(-3, 4, (4, *architecture.input_shape)).astype(float)
    )


@settings(max_examples=60, deadline=None)
@given(chains(), st.sampled_from((Fraction(2), Fraction(1, 3))), st.integers(0, 100))
def test_outputs_scale_with_the_degree_exactly(architecture, factor, seed):
    parameters, points = rational(architecture, seed)
    c = flint.fmpq(factor.numerator, factor.denominator)
    degree = degree_of_homogeneity(architecture)
    scaled = forward(architecture, parameters.map_numbers(lambda array: array * c), points)
    assert np.all(scaled == c**degree * forward(architecture, parameters, points))


@settings(max_examples=60, deadline=None)
@given(chains(), st.integers(0, 100))
def test_layers_scale_with_their_own_degrees_exactly(architecture, seed):
    parameters, points = rational(architecture, seed)
    degrees, outputs = layer_degrees(architecture), forward(architecture, parameters, points)
    assert sum(degrees.values()) == degree_of_homogeneity(architecture)
    for path, degree in degrees.items():
        arrays = {name: array * 3 if name.split("/")[0] == path else array for name, array in parameters.items()}
        assert np.all(forward(architecture, Parameters(architecture, arrays), points) == 3**degree * outputs)


def test_images():
    layers = (
        Conv2d(2, 3, padding=1),
        ReLU(),
        AvgPool2d(2),
        Residual((Conv2d(2, 1, bias=False),), (Conv2d(2, 1, bias=False),)),
        MaxPool2d(2),
        Flatten(),
        Linear(3, bias=False),
    )
    assert degree_of_homogeneity(Architecture("images", (1, 4, 4), layers, "cross_entropy")) == 3


REFUSED = {
    r"layer 2 \(linear\): found a bias, of degree 1, beside a term of degree 2": (Linear(2), ReLU(), Linear(1)),
    r"layer 1 \(tanh\): found an activation that is not homogeneous": (Linear(2), Tanh(), Linear(1, bias=False)),
    r"layer 1 \(elu\): found an activation that is not homogeneous": (Linear(2), ELU(), Linear(1, bias=False)),
    r"layer 1 \(polynomial\): found a polynomial with terms of degrees 1, 2": (
        Linear(2),
        Polynomial((0.0, 1.0, 1.0)),
        Linear(1, bias=False),
    ),
    r"layer 1 \(polynomial\): found a polynomial that is zero": (Linear(2), Polynomial((0.0,)), Linear(1, bias=False)),
    r"layer 1 \(residual\): found branches of degrees 2 and 1 \(shortcut\)": (
        Linear(2),
        Residual((Linear(2, bias=False),)),
        Linear(1, bias=False),
    ),
    r"layer 1\.0 \(linear\): found a bias, of degree 1, beside a term of degree 2": (
        Linear(2),
        Residual((Linear(2),)),
        Linear(1, bias=False),
    ),
    r"does not depend on the parameters' size": (Linear(2), ReLU(), Polynomial((3.0,))),
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_is_not_homogeneous_is_refused_with_the_layer(message):
    with pytest.raises(InputError, match=message):
        degree_of_homogeneity(Architecture("refused", (2,), REFUSED[message], "squared"))


def test_a_normalisation_is_refused():
    layers = (Conv2d(1, 1, bias=False), BatchNorm2d(), Flatten())
    with pytest.raises(InputError, match=r"layer 1 \(batch_norm2d\): found a normalisation"):
        degree_of_homogeneity(Architecture("normalised", (1, 2, 2), layers, "squared"))


def test_layers_inside_a_block_have_no_degree_of_their_own():
    block = Residual((Linear(2, bias=False),), (Linear(2, bias=False),))
    architecture = Architecture("block", (2,), (block, Linear(1, bias=False)), "squared")
    assert degree_of_homogeneity(architecture) == 2
    with pytest.raises(InputError, match="layer 0"):
        layer_degrees(architecture)


def test_the_loss_does_not_matter():
    architecture = Architecture("loss", (2,), (Linear(1),), "logistic")
    assert degree_of_homogeneity(architecture) == degree_of_homogeneity(
        dataclasses.replace(architecture, loss="squared")
    )
