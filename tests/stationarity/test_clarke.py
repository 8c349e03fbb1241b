"""Kinks and Clarke's tangents, against gradients of networks whose parameters are perturbed off the kinks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    Architecture,
    Conv2d,
    Flatten,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    Tanh,
)
from provable.arithmetic import EPSILON, RATIONAL, to_float
from provable.errors import UnsupportedError
from provable.networks import Parameters, tangents
from provable.stationarity.clarke import ClarkeTangents
from provable.stationarity.kinks import find_kinks, one_sided_slopes
from provable.stationarity.multipliers import nearest_in_cone

ACTIVATIONS = (ReLU(), LeakyReLU(negative_slope=0.25), LeakyReLU(negative_slope=-0.5), ELU(alpha=0.5))


@st.composite
def networks(draw, *, depths=(2, 3), activations=ACTIVATIONS):
    """Small integer weights and inputs: many pre-activations are exactly zero."""
    depth = draw(st.sampled_from(depths))
    layers = [Linear(draw(st.integers(1, 3)), bias=draw(st.booleans()))]
    for level in range(1, depth):
        width = 1 if level == depth - 1 else draw(st.integers(1, 2))
        layers += [draw(st.sampled_from(activations)), Linear(width, bias=draw(st.booleans()))]
    architecture = Architecture("kinked", (2,), tuple(layers), "squared")
    entries = st.lists(st.integers(-2, 2), min_size=architecture.parameter_count, max_size=architecture.parameter_count)
    parameters = Parameters.from_vector(architecture, np.array(draw(entries), dtype=float))
    count = draw(st.integers(1, 3))
    points = np.array(draw(st.lists(st.integers(-2, 2), min_size=2 * count, max_size=2 * count)), dtype=float)
    return architecture, parameters, points.reshape(count, 2)


def cells_of(architecture, parameters, points):
    samples = np.arange(len(points))
    return ClarkeTangents(architecture, parameters, points, samples, np.ones((len(points), 1))).first_cells()


@settings(max_examples=100, deadline=None)
@given(networks(), st.integers(0, 100))
def test_gradients_next_to_the_kinks_are_near_corners_of_the_cells(network, seed):
    architecture, parameters, points = network
    cells = cells_of(*network)
    radius = 1e-7
    noise = radius * np.random.default_rng(seed).standard_normal(architecture.parameter_count)
    moved = Parameters.from_vector(architecture, parameters.vector() + noise)
    limits = tangents(architecture, moved, points)[:, 0]
    for sample, limit in enumerate(limits):
        distances = []
        for cell in np.flatnonzero(cells.constraints == sample):
            own = cells.steps[cells.owners == cell]
            for sides in itertools.product((0.0, 1.0), repeat=len(own)):
                distances.append(np.abs(cells.base[cell] + np.array(sides) @ own - limit).max())
        # gradients of these networks are piecewise smooth with derivatives below 10⁴ at entries up to 2 and width 3
        assert min(distances) <= 1e4 * radius


@settings(max_examples=100, deadline=None)
@given(networks(depths=(2,)), st.integers(0, 1000))
def test_in_two_layers_every_corner_is_a_limit_of_gradients(network, seed):
    architecture, parameters, points = network
    cells = cells_of(*network)
    rng = np.random.default_rng(seed)
    for cell in range(len(points)):
        own = np.flatnonzero(cells.owners == cell)
        sides = rng.integers(0, 2, len(own)).astype(float)
        arrays = {name: array.copy() for name, array in parameters.items()}
        inputs = np.append(points[cell], 1.0) if architecture.layers[0].bias else points[cell]
        radius = 1e-7
        for unit, side in zip(cells.units[own], sides, strict=True):
            push = radius * (2 * side - 1) * inputs / max(inputs @ inputs, 1e-300)
            arrays["0/weight"][unit] += push[:2]
            if architecture.layers[0].bias:
                arrays["0/bias"][unit] += push[2]
        limit = tangents(architecture, Parameters(architecture, arrays), points[cell : cell + 1])[0, 0]
        corner = cells.base[cell] + sides @ cells.steps[own]
        assert np.abs(limit - corner).max() <= 1e2 * radius  # slopes and weights are at most 2, inputs 2√2


@settings(max_examples=60, deadline=None)
@given(networks(activations=(ReLU(), LeakyReLU(negative_slope=0.25))))
def test_exact_numbers_give_the_same_cells(network):
    architecture, parameters, points = network
    exact = RATIONAL.convert(parameters), RATIONAL.convert(points)
    samples, ones = np.arange(len(points)), RATIONAL.convert(np.ones((len(points), 1)))
    ours = ClarkeTangents(architecture, *exact, samples, ones).first_cells()
    floats = cells_of(*network)
    for path, where in find_kinks(architecture, parameters, points).items():
        assert np.array_equal(where, find_kinks(architecture, *exact)[path])
    # all numbers are integers over a power of two, small enough for exact floats
    assert np.array_equal(to_float(ours.base), floats.base)
    assert np.array_equal(to_float(ours.steps), floats.steps)


@settings(max_examples=60, deadline=None)
@given(networks(activations=(ReLU(), LeakyReLU(negative_slope=0.25))), st.integers(0, 1000))
def test_mixtures_of_gradients_next_to_kinks_are_combinations_of_the_cells(network, seed):
    """Backpropagation with slopes between the sides lies in the hull too, in every layer at once."""
    architecture, parameters, points = network
    exact, inputs = RATIONAL.convert(parameters), RATIONAL.convert(points)
    samples = np.arange(len(points))
    ones = RATIONAL.convert(np.ones((len(points), 1)))
    cells = ClarkeTangents(architecture, exact, inputs, samples, ones).first_cells()
    rng = np.random.default_rng(seed)
    total = 0
    for sample in range(len(points)):
        before = inputs[sample]
        slopes, layers = [], architecture.layers
        for index in range(0, len(layers) - 1, 2):
            bias = exact[f"{index}/bias"] if layers[index].bias else 0 * exact[f"{index}/weight"][:, 0]
            z = exact[f"{index}/weight"] @ before + bias
            left, right = (RATIONAL.number(s) for s in one_sided_slopes(layers[index + 1]))
            between = [left + (right - left) * RATIONAL.number(share) for share in rng.integers(0, 5, len(z)) / 4]
            slopes.append(np.array([right if e > 0 else left if e < 0 else s for e, s in zip(z, between, strict=True)]))
            before = slopes[-1] * z
        linear = _with_slopes(architecture, exact, inputs[sample], slopes)
        total = total + RATIONAL.number(float(rng.integers(1, 4))) * linear
    point = nearest_in_cone(total, cells.base, cells.steps, cells.owners)
    assert np.all(point.residual == 0)


def _with_slopes(architecture, parameters, point, slopes):
    """The gradient of the product of matrices that a network is where its slopes are given."""
    weights = [f"{index}/weight" for index in range(0, len(architecture.layers), 2)]
    pieces, before = [], point
    for level, name in enumerate(weights):
        behind = parameters[weights[-1]][0] if level < len(weights) - 1 else np.array([RATIONAL.number(1.0)])
        for other in range(len(weights) - 2, level, -1):
            behind = (behind * slopes[other]) @ parameters[weights[other]]
        if level < len(weights) - 1:
            behind = behind * slopes[level]
        pieces.append(np.outer(behind, before).reshape(-1))
        after = parameters[name] @ before
        if architecture.layers[2 * level].bias:
            pieces.append(behind)
            after = after + parameters[name.replace("weight", "bias")]
        if level < len(weights) - 1:
            before = after * slopes[level]
    return np.concatenate(pieces)


def one_unit(weight, bias=0.0, activation=None):
    architecture = Architecture("one", (2,), (Linear(1), activation or ReLU(), Linear(1, bias=False)), "squared")
    return architecture, Parameters.from_vector(architecture, np.array([*weight, bias, 1.0]))


def test_what_counts_as_zero_is_relative_to_both_norms():
    for factor in (1e-8, 1.0, 1e8):
        for size in (1e-6, 1.0, 1e6):
            architecture, parameters = one_unit([3 * factor, 4 * factor], 0.0)
            points = size * np.array([[4.0, -3.0], [4.0, -3.0 + 1e-9], [4.0, -3.0 - 1e-9], [4.0, -3.0 + 2e-13]])
            # the constant input belongs to the norm, so that small samples lie closer to the hyperplane in relation to it
            close = 1e-9 * 0.8 * size / np.hypot(5 * size, 1.0) < 2**10 * EPSILON
            kinks = find_kinks(architecture, parameters, points)["1"][:, 0]
            assert kinks.tolist() == [True, close, close, True]
            assert find_kinks(architecture, parameters, points, tolerance=1e-6)["1"].all()
            assert not find_kinks(architecture, parameters, points[1:3], tolerance=0.0)["1"].any()


def test_rounding_of_long_sums_is_a_kink():
    """w·x = 0 in exact numbers, with a rounding error in floats."""
    rng = np.random.default_rng(0)
    weight = rng.standard_normal((1, 500))
    points = rng.standard_normal((50, 500))
    points -= (points @ weight.T) * weight / (weight @ weight.T)
    architecture = Architecture("long", (500,), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "squared")
    parameters = Parameters.from_vector(architecture, np.append(weight, 1.0))
    assert find_kinks(architecture, parameters, points)["1"].all()
    assert not find_kinks(architecture, parameters, points + 1e-10 * weight)["1"].any()


def test_more_combinations_than_are_formed_are_said():
    layers = (Linear(8, bias=False), ReLU(), Linear(8, bias=False), ReLU(), Linear(1, bias=False))
    architecture = Architecture("many", (1,), layers, "squared")
    weight = np.concatenate([np.ones(8), np.zeros(64), np.ones(8)])
    # the second layer is zero on everything, and eight zeros of the first one are kinks of the sample 0
    parameters = Parameters.from_vector(architecture, weight)
    tangents_of_zero = ClarkeTangents(
        architecture, parameters, np.zeros((1, 1)), np.zeros(1, dtype=int), np.ones((1, 1))
    )
    assert tangents_of_zero.truncated().all()
    assert not tangents_of_zero.truncated(256).any()
    assert len(tangents_of_zero.first_cells().base) == 64
    assert len(tangents_of_zero.first_cells(256).base) == 256


def test_convolutions_have_kinks_too():
    layers = (Conv2d(2, 2, bias=False), LeakyReLU(negative_slope=0.25), Flatten(), Linear(1, bias=False))
    architecture = Architecture("images", (1, 3, 3), layers, "squared")
    rng = np.random.default_rng(1)
    parameters = Parameters.from_vector(architecture, rng.integers(-1, 2, architecture.parameter_count).astype(float))
    points = rng.integers(-1, 2, (3, 1, 3, 3)).astype(float)
    cells = cells_of(architecture, parameters, points)
    assert len(cells.steps) > 0
    moved = Parameters.from_vector(
        architecture, parameters.vector() + 1e-9 * rng.standard_normal(len(parameters.vector()))
    )
    for sample, limit in enumerate(tangents(architecture, moved, points)[:, 0]):
        own = cells.steps[cells.owners == sample]
        corners = [np.array(sides) @ own for sides in itertools.product((0, 1), repeat=len(own))]
        # entries are sums of nine products of integers and the noise
        assert min(np.abs(cells.base[sample] + corner - limit).max() for corner in corners) <= 1e-6


def test_slopes():
    assert one_sided_slopes(ReLU()) == (0.0, 1.0)
    assert one_sided_slopes(LeakyReLU(negative_slope=0.1)) == (0.1, 1.0)
    for smooth in (LeakyReLU(negative_slope=1.0), ELU(), Tanh(), Polynomial((0.0, 1.0)), Linear(1)):
        assert one_sided_slopes(smooth) is None


def test_smooth_networks_have_one_tangent_each():
    architecture, parameters = one_unit([1.0, -1.0], activation=Tanh())
    points = np.ones((2, 2))
    cells = cells_of(architecture, parameters, points)
    assert cells.open_layer is None
    assert len(cells.steps) == 0
    assert np.array_equal(cells.base, tangents(architecture, parameters, points)[:, 0])


def test_pooling_of_maxima_and_residual_blocks_are_refused():
    pooled = (Conv2d(1, 1), ReLU(), MaxPool2d(2), Flatten(), Linear(1))
    for index, architecture in (
        (2, Architecture("pooled", (1, 2, 2), pooled, "squared")),
        (1, Architecture("block", (2,), (Linear(2), Residual((Linear(2), ReLU())), Linear(1)), "squared")),
    ):
        parameters = Parameters.random(architecture, rng=0)
        with pytest.raises(UnsupportedError, match=f"layer {index}"):
            find_kinks(architecture, parameters, np.ones((1, *architecture.input_shape)))


def test_tangents_that_do_not_fit_are_refused():
    layers = (Linear(20000, bias=False), ReLU(), Linear(1, bias=False))
    architecture = Architecture("wide", (100,), layers, "squared")
    parameters = Parameters.from_vector(architecture, np.zeros(architecture.parameter_count))
    with pytest.raises(UnsupportedError, match="take fewer samples"):
        cells_of(architecture, parameters, np.ones((1, 100)))
