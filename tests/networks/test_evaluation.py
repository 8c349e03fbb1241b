"""Forward evaluation: enclosures, symmetries of networks, refusals."""

from __future__ import annotations

from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import (
    Activation,
    Architecture,
    BatchNorm2d,
    Conv2d,
    Flatten,
    LeakyReLU,
    Linear,
    ReLU,
    Residual,
)
from provable.architectures.layers import GELU, Erf, Tanh
from provable.arithmetic import RATIONAL, Arithmetic, Array
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, tangents, trace

seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=8)  # for each of up to twenty networks
HOMOGENEOUS = Architecture(
    "homogeneous", (3,), (Linear(4, False), ReLU(), Linear(3, False), LeakyReLU(0.25), Linear(2, False)), "squared"
)


def drawn(architecture: Architecture, seed: int, count: int = 3) -> tuple[Parameters, Array]:
    """Random parameters and samples."""
    rng = np.random.default_rng(seed)
    return Parameters.random(architecture, rng=rng), rng.standard_normal((count, *architecture.input_shape))


def blown_up(array: Array, radius: float) -> Array:
    """Balls of one radius around floats."""
    result = np.empty(array.shape, dtype=object)
    for index in np.ndindex(array.shape):
        result[index] = flint.arb(float(array[index]), radius)
    return result


@pytest.mark.parametrize("activation", [Tanh(), Erf(), GELU()], ids=["tanh", "erf", "gelu"])
@given(seed=seeds, exponent=st.integers(-40, -10))
def test_enclosures_contain_the_values_at_points_inside(activation: Activation, seed: int, exponent: int) -> None:
    architecture = Architecture(
        "net", (2,), (Linear(3), activation, Residual((Linear(3), activation)), Linear(2)), "squared"
    )
    parameters, samples = drawn(architecture, seed, 1)
    radius, rng = 2.0**exponent, np.random.default_rng(seed)

    def inside(array: Array) -> Array:
        # rounding the sum moves it by at most |array| 2**-53, and the largest number met here is below 16
        return array + rng.uniform(-1, 1, array.shape) * (radius - 2.0**-48)

    with Arithmetic("ball", bits=64).working():
        wide = parameters.map_numbers(lambda array: blown_up(array, radius))
        outer = [function(architecture, wide, blown_up(samples, radius)) for function in (forward, tangents)]
    precise = Arithmetic("ball", bits=300)
    with precise.working():
        point = precise.convert((parameters.map_numbers(inside), inside(samples)))
        inner = [function(architecture, *point) for function in (forward, tangents)]
    for enclosures, values in zip(outer, inner, strict=True):
        for enclosure, value in zip(enclosures.flat, values.flat, strict=True):
            assert value.rad() < 2.0**-200 and enclosure.contains(value)
            assert enclosure.rad() < 2.0 ** (exponent + 16)  # enclosures that hold everything would prove nothing


@few
@given(seed=seeds)
def test_samples_do_not_see_each_other(piecewise_linear: Architecture, seed: int) -> None:
    parameters, samples = RATIONAL.convert(drawn(piecewise_linear, seed))
    order = np.random.default_rng(seed).permutation(3)
    together, permuted = tangents(piecewise_linear, parameters, samples), samples[order]
    assert (tangents(piecewise_linear, parameters, permuted) == together[order]).all()
    assert (
        forward(piecewise_linear, parameters, permuted) == forward(piecewise_linear, parameters, samples)[order]
    ).all()
    assert (tangents(piecewise_linear, parameters, samples[1:2]) == together[1:2]).all()


@given(seed=seeds)
def test_hidden_neurons_can_be_renumbered(seed: int) -> None:
    architecture = Architecture("net", (3,), (Linear(4), ReLU(), Linear(2)), "squared")
    parameters, samples = RATIONAL.convert(drawn(architecture, seed))
    order = np.random.default_rng(seed).permutation(4)

    def renumbered(one: Parameters) -> Parameters:
        moved = {
            "0/weight": one["0/weight"][order],
            "0/bias": one["0/bias"][order],
            "2/weight": one["2/weight"][:, order],
        }
        return Parameters(architecture, dict(one) | moved)

    measure = Measure(samples, RATIONAL.convert(np.random.default_rng(seed).standard_normal((3, 2))))
    other = renumbered(parameters)
    assert (forward(architecture, other, samples) == forward(architecture, parameters, samples)).all()
    assert embed(architecture, other, measure) == renumbered(embed(architecture, parameters, measure))


@given(seed=seeds, exponents=st.tuples(st.integers(-8, 8), st.integers(-8, 8), st.integers(-8, 8)))
def test_positive_scaling_passes_through(seed: int, exponents: tuple[int, int, int]) -> None:
    parameters, samples = drawn(HOMOGENEOUS, seed)
    powers = [2.0**exponent for exponent in exponents]  # on which float64 is exact
    names = ("0/weight", "2/weight", "4/weight")
    scaled = Parameters(
        HOMOGENEOUS, {name: power * parameters[name] for name, power in zip(names, powers, strict=True)}
    )
    product = powers[0] * powers[1] * powers[2]
    outputs = forward(HOMOGENEOUS, parameters, samples)
    assert (forward(HOMOGENEOUS, scaled, samples) == product * outputs).all()
    assert (forward(HOMOGENEOUS, parameters, powers[0] * samples) == powers[0] * outputs).all()
    # (x, c) and (t x, c / t) embed alike: the tangents are homogeneous of degree one in x
    measure = Measure(samples, np.random.default_rng(seed).standard_normal((3, 2)))
    rescaled = measure.rescaled(powers)
    assert embed(HOMOGENEOUS, parameters, measure) == embed(HOMOGENEOUS, parameters, rescaled)


@given(seed=seeds)
def test_eulers_identity_layer_by_layer(seed: int) -> None:
    parameters, samples = RATIONAL.convert(drawn(HOMOGENEOUS, seed))
    outputs, rows = forward(HOMOGENEOUS, parameters, samples), tangents(HOMOGENEOUS, parameters, samples)
    assert (rows @ parameters.vector() == 3 * outputs).all()
    start = 0
    for array in parameters.values():
        stop = start + array.size
        assert (rows[:, :, start:stop] @ array.reshape(-1) == outputs).all()
        start = stop


@given(seed=seeds)
def test_odd_networks_do_not_see_joint_signs(seed: int) -> None:
    architecture = Architecture("odd", (3,), (Linear(4, False), Tanh(), Linear(2, False)), "squared")
    parameters, samples = drawn(architecture, seed)
    measure = Measure(samples, np.random.default_rng(seed).standard_normal((3, 2)))
    flipped = measure.sign_flipped([0, 2])
    # negation is exact and tanh is odd bit by bit, so all products agree
    assert embed(architecture, parameters, measure) == embed(architecture, parameters, flipped)


def test_traces_keep_the_input_of_every_layer() -> None:
    layers = (Residual((Linear(3), ReLU()), (Linear(3, False),)), Linear(1))
    architecture = Architecture("net", (2,), layers, "squared")
    parameters, samples = drawn(architecture, 0)
    traced = trace(architecture, parameters, samples)
    assert list(traced.inputs) == ["0", "0.0", "0.1", "0.shortcut.0", "1"]
    assert (traced.inputs["0"] == samples).all() and (traced.inputs["0.shortcut.0"] == samples).all()
    hidden = samples @ parameters["0.0/weight"].T + parameters["0.0/bias"]
    assert (traced.inputs["0.1"] == hidden).all()
    assert (traced.inputs["1"] == np.maximum(hidden, 0) + samples @ parameters["0.shortcut.0/weight"].T).all()
    assert (traced.output == forward(architecture, parameters, samples)).all()


@pytest.mark.parametrize("system", [arithmetic.FLOAT64, RATIONAL, arithmetic.BALL], ids=lambda system: system.name)
def test_empty_batches_are_fine(piecewise_linear: Architecture, system: Arithmetic) -> None:
    parameters = system.convert(Parameters.random(piecewise_linear, rng=0))
    for dtype in (float, object):
        nothing = np.empty((0, *piecewise_linear.input_shape), dtype=dtype)
        assert forward(piecewise_linear, parameters, nothing).shape == (0, piecewise_linear.output_size)
        assert tangents(piecewise_linear, parameters, nothing).shape == (
            0, piecewise_linear.output_size, piecewise_linear.parameter_count,
        )  # fmt: skip
        empty = Measure(nothing, np.empty((0, piecewise_linear.output_size), dtype=dtype))
        embedded = embed(piecewise_linear, parameters, empty)
        assert embedded.kind == parameters.kind and (embedded.vector() == 0).all()


def wrong_inputs() -> list[tuple[Any, str]]:
    """Inputs that do not fit a network of three inputs."""
    return [
        (np.zeros(3), r"inputs: found shape \(3,\); \(n, 3\) is accepted"),
        (np.zeros((2, 4)), r"inputs: found shape \(2, 4\); \(n, 3\) is accepted"),
        (3.0, r"inputs: found shape \(\); \(n, 3\) is accepted"),
        (np.full((1, 3), np.inf), "inputs: found a number that is not finite"),
        (np.full((1, 3), 1j), "inputs: found entries of type complex128"),
        (RATIONAL.convert(np.zeros((1, 3))), "inputs: found rational numbers with float64 parameters"),
    ]


@pytest.mark.parametrize(("inputs", "message"), wrong_inputs(), ids=[message for _, message in wrong_inputs()])
def test_wrong_inputs_are_named(inputs: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        forward(HOMOGENEOUS, Parameters.random(HOMOGENEOUS, rng=0), inputs)


def test_parameters_of_another_network_are_refused() -> None:
    other = Architecture("other", (3,), (Linear(2),), "squared")
    with pytest.raises(InputError, match="found those of the architecture other; those of homogeneous are accepted"):
        forward(HOMOGENEOUS, Parameters.random(other, rng=0), np.zeros((1, 3)))


def test_layers_without_evaluation_are_named_with_their_path() -> None:
    block = Residual((Conv2d(1, 1), BatchNorm2d()))
    architecture = Architecture("net", (1, 2, 2), (block, Flatten()), "squared")
    with pytest.raises(UnsupportedError, match=r"layer 0\.1 \(batch_norm2d\): evaluating it needs the running mean"):
        forward(architecture, Parameters.random(architecture, rng=0), np.ones((1, 1, 2, 2)))
