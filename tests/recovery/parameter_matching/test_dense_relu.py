"""Dense ReLU networks: their tangents beside the general ones, and softplus beside its limits."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from provable.architectures import Architecture, Flatten, Identity, LeakyReLU, Linear, ReLU, Tanh
from provable.errors import UnsupportedError
from provable.networks import Parameters, embed, forward
from provable.recovery.parameter_matching.dense_relu import DenseReLU, reason_against, rectifier

EPSILON = 2.0**-52


@pytest.mark.parametrize("biases", ["absent", "zero", "random"])
@pytest.mark.parametrize("widths", [(7,), (7, 5), (4, 5, 6)])
@pytest.mark.parametrize("outputs", [1, 3])
def test_tangents_are_those_of_the_general_evaluation(observed_change, widths, outputs, biases):
    observation, truth = observed_change(
        np.random.default_rng(3), count=4, dimension=6, widths=widths, outputs=outputs, biases=biases
    )
    network = DenseReLU.of(observation.architecture, observation.parameters)
    passed = network.forward(truth.points)
    pieces = network.embedding(passed, network.sensitivities(passed, truth.coefficients))
    assert set(pieces) == set(observation.vector)
    for key, piece in pieces.items():
        # sums of at most 7 products per layer, 4 layers
        scale = max(1.0, float(np.abs(observation.vector[key]).max()))
        assert np.abs(piece - observation.vector[key]).max() <= 30 * 28 * EPSILON * scale
    outputs_there = forward(observation.architecture, observation.parameters, truth.points)
    assert np.abs(passed.output - outputs_there).max() <= 30 * 28 * EPSILON * max(1.0, np.abs(outputs_there).max())
    assert network.is_homogeneous == (biases == "absent")


@given(
    arrays.arrays(np.float64, (5,), elements=st.floats(-50, 50)),
    st.sampled_from([0.1, 1.0, 10.0, 200.0, 1e6]),
)
def test_softplus_lies_above_relu_by_at_most_log_two(z, sharpness):
    value, slope, bend = rectifier(z, sharpness)
    limit, _, _ = rectifier(z, None)
    above = value - limit
    assert np.all(above >= 0)
    assert np.all(above <= np.log(2) / sharpness + 4 * EPSILON * (1 + np.abs(z)))
    assert np.all((slope >= 0) & (slope <= 1))
    assert np.all((bend >= 0) & (bend <= sharpness / 4 * (1 + 4 * EPSILON)))
    mirrored = rectifier(-z, sharpness)
    # softplus(z) - softplus(-z) = z, and slopes add up to one: 4 roundings of numbers of size |z| + 1/β
    assert np.allclose(value - mirrored[0], z, rtol=0, atol=16 * EPSILON * (np.abs(z).max() + 1 / sharpness))
    assert np.allclose(slope + mirrored[1], 1, rtol=0, atol=8 * EPSILON)


def test_softplus_has_the_stated_derivatives():
    z, step = np.linspace(-3, 3, 41), 1e-6
    for sharpness in (1.0, 10.0):
        plus, minus = rectifier(z + step, sharpness), rectifier(z - step, sharpness)
        _, slope, bend = rectifier(z, sharpness)
        # central differences: third derivatives are at most β², times step²/6, and rounding ε/step
        error = sharpness**3 * step**2 + 8 * EPSILON / step
        assert np.abs((plus[0] - minus[0]) / (2 * step) - slope).max() <= error
        assert np.abs((plus[1] - minus[1]) / (2 * step) - bend).max() <= error


def test_no_overflow_at_large_inputs():
    value, slope, bend = rectifier(np.array([-1e300, 1e300, 0.0]), 200.0)
    assert value.tolist() == [0.0, 1e300, np.log(2) / 200]
    assert slope.tolist() == [0.0, 1.0, 0.5]
    assert bend.tolist() == [0.0, 0.0, 50.0]


def architecture(*layers, shape=(3,)):
    return Architecture("net", shape, layers, "squared")


@pytest.mark.parametrize(
    ("layers", "word"),
    [
        ((Linear(2, True), Tanh(), Linear(1, True)), "tanh"),
        ((Linear(2, True), LeakyReLU(0.1), Linear(1, True)), "leaky_relu"),
        ((Linear(2, True), Linear(1, True), ReLU()), "layer 1 (linear)"),
        ((ReLU(), Linear(2, True), Linear(1, True)), "layer 0 (relu)"),
        ((Linear(1, True),), "hidden layer"),
        ((Linear(2, True), ReLU(), Linear(1, True), ReLU()), "hidden layer"),
    ],
)
def test_other_networks_are_refused_with_the_layer(layers, word):
    reason = reason_against(architecture(*layers))
    assert reason is not None and word in reason
    with pytest.raises(UnsupportedError):
        net = architecture(*layers)
        DenseReLU.of(net, Parameters(net, {key: np.ones(shape) for key, shape in net.parameter_shapes.items()}))


def test_flatten_identity_and_a_leaky_relu_of_slope_zero_change_nothing():
    plain = architecture(Linear(2, True), ReLU(), Linear(1, False), shape=(4,))
    other = architecture(
        Identity(), Flatten(), Linear(2, True), Identity(), LeakyReLU(0.0), Linear(1, False), shape=(2, 2)
    )
    assert reason_against(plain) is None and reason_against(other) is None
    rng = np.random.default_rng(0)
    values = [rng.standard_normal(shape) for shape in plain.parameter_shapes.values()]
    networks = [
        DenseReLU.of(net, Parameters(net, dict(zip(net.parameter_shapes, values, strict=True))))
        for net in (plain, other)
    ]
    points = rng.standard_normal((3, 4))
    assert np.array_equal(networks[0].forward(points).output, networks[1].forward(points).output)


def test_embedding_agrees_with_the_general_one_on_images(observed_change):
    net = architecture(Flatten(), Linear(5, True), ReLU(), Linear(1, True), shape=(2, 3))
    rng = np.random.default_rng(1)
    parameters = Parameters(net, {key: rng.standard_normal(shape) for key, shape in net.parameter_shapes.items()})
    from provable.measures import Measure

    points, weights = rng.standard_normal((2, 2, 3)), rng.standard_normal((2, 1))
    network = DenseReLU.of(net, parameters)
    passed = network.forward(points.reshape(2, 6))
    pieces = network.embedding(passed, network.sensitivities(passed, weights))
    for key, piece in embed(net, parameters, Measure(points, weights)).items():
        assert np.allclose(piece, pieces[key], rtol=0, atol=1e3 * EPSILON)
