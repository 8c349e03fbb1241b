"""Cells against exact evaluation: which side of its kink a unit is on, which entry wins, how large rounding errors are."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import (
    ELU,
    Architecture,
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
    SiLU,
)
from provable.architectures.layers import Sigmoid, Softplus, Tanh
from provable.architectures.zoo import from_zoo
from provable.arithmetic import RATIONAL, Arithmetic
from provable.errors import ArithmeticUnsupported
from provable.leakage.open_dimensions import activation_cells
from provable.leakage.open_dimensions.activation_cells import find_cell, is_piecewise
from provable.networks import Parameters, trace
from provable.networks.windows import first_maxima

seeds = st.integers(0, 2**32 - 1)
RATIONAL_LAYERS = [LeakyReLU(0.25), LeakyReLU(-0.3), ReLU(), Identity(), Polynomial((0.5, 1.0, -0.25))]
ALL_LAYERS = [*RATIONAL_LAYERS, ELU(0.5), Tanh(), Sigmoid(), Softplus(), SiLU()]
BALLS = Arithmetic("ball", bits=300)


def traced(network, cell, numbers):
    parameters = Parameters(network, dict(cell.parameters))
    with numbers.working():
        return trace(network, *(numbers.convert(part) for part in (parameters, cell.sample[None]))).inputs


def walk(layers, prefix=""):
    for index, layer in enumerate(layers):
        yield f"{prefix}{index}", layer
        if isinstance(layer, Residual):
            yield from walk(layer.layers, f"{prefix}{index}.")
            yield from walk(layer.shortcut, f"{prefix}{index}.shortcut.")


@given(st.data(), seeds)
def test_sides_and_winners_are_those_of_exact_arithmetic(networks, data, seed):
    network = data.draw(networks(RATIONAL_LAYERS))
    cell = find_cell(network, seed=seed)
    if cell is None:
        return
    inputs = traced(network, cell, RATIONAL)
    for path, layer in walk(network.layers):
        if isinstance(layer, LeakyReLU | ReLU):
            assert (arithmetic.positive(inputs[path])[0] == cell.positive[path]).all()
        if isinstance(layer, MaxPool2d):
            sizes = (layer.kernel_size, layer.stride, layer.padding)
            maxima, places = first_maxima(inputs[path], *sizes)
            same = places[0] == cell.winners[path]
            assert (same | (maxima[0] == 0)).all(), "of several that stay zero any may win"
    assert is_piecewise(network) == bool(cell.positive or cell.winners)


@given(st.data(), seeds)
def test_errors_of_values_stay_within_their_bounds(networks, data, seed):
    """Every signal of the float evaluation against balls of 300 bits."""
    network = data.draw(networks(ALL_LAYERS))
    rng = np.random.default_rng(seed)
    parameters = {name: rng.standard_normal(shape) for name, shape in network.parameter_shapes.items()}
    sample = rng.standard_normal((1, *network.input_shape))
    reader = activation_cells._Reader(parameters)
    value, error = sample, np.zeros_like(sample)
    with BALLS.working():
        converted = [BALLS.convert(part) for part in (Parameters(network, parameters), sample)]
        try:
            exact = trace(network, *converted).inputs
        except ArithmeticUnsupported:  # balls do not order equal entries, even if neither is the greatest
            return
        for index, layer in enumerate(network.layers):
            for entry, middle, bound in zip(
                exact[f"{index}"].reshape(-1), value.reshape(-1), error.reshape(-1), strict=True
            ):
                assert abs(entry - float(middle)).upper() <= float(bound) + 1e-80  # the radius of the ball itself
            value, error = reader._step(layer, f"{index}", value, error)
            if not reader.certain:
                return
    assert (error <= 1e-6 * (1 + np.abs(value))).all(), "and the bounds are of some use"


def test_a_point_on_a_kink_is_not_accepted(monkeypatch):
    network = Architecture("net", (2,), (Linear(2, bias=False), ReLU(), Linear(1)), "squared")
    draw = activation_cells._draw

    def cancelling(rng, name, shape, few):
        return np.array([[1.0, 1.0], [1.0, -1.0]]) if shape == (2, 2) else draw(rng, name, shape, few)

    class Sample(np.random.Generator):
        def standard_normal(self, size=None, *args, **kwargs):
            return np.full(size, 0.1)

    monkeypatch.setattr(activation_cells, "_draw", cancelling)
    monkeypatch.setattr(np.random, "default_rng", lambda seed: Sample(np.random.PCG64(seed)))
    assert find_cell(network) is None, "x_1 - x_2 = 0, up to rounding"


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.0), ELU(0.0)])
def test_zeros_that_stay_zero_have_no_side(activation):
    """A kernel that sees only padding somewhere: its outputs are zero for all weights."""
    layers = (Conv2d(2, 1, padding=1, bias=False), activation, MaxPool2d(2), Flatten(), Linear(2))
    cell = find_cell(Architecture("net", (1, 3, 3), layers, "cross_entropy"))
    assert cell is not None
    border = np.ones((5, 5), dtype=bool)
    border[1:-1, 1:-1] = False
    assert not cell.positive["1"][:, border].any()


def test_equal_entries_leave_the_winner_open():
    twice = (MaxPool2d(2, 1, 1), MaxPool2d(2, 1), Flatten(), Linear(1))
    assert find_cell(Architecture("net", (1, 2, 2), twice, "squared")) is None


def test_deep_networks_have_cells():
    network = from_zoo("resnet18-32")
    cell = find_cell(network)
    assert cell is not None and len(cell.positive) == 17 and len(cell.winners) == 1
    shares = [side.mean() for side in cell.positive.values()]
    assert all(0.3 < share < 0.97 for share in shares), "neither side is empty"


def test_cells_are_reproducible():
    network = from_zoo("rgap-figure-5")
    first, second, third = (find_cell(network, seed=seed) for seed in (1, 1, 2))
    assert all((first.positive[path] == second.positive[path]).all() for path in first.positive)
    assert any((first.positive[path] != third.positive[path]).any() for path in first.positive)


@pytest.mark.parametrize(
    ("layer", "expected"), [(ReLU(), True), (ELU(), True), (Tanh(), False), (Residual((Linear(3), ReLU())), True)]
)
def test_which_layers_are_piecewise(layer, expected):
    assert is_piecewise(Architecture("net", (3,), (layer,), "squared")) == expected


def test_normalisation_is_affine():
    layers = (Conv2d(2, 2), BatchNorm2d(), LeakyReLU(0.1), Flatten(), Linear(1))
    cell = find_cell(Architecture("net", (1, 4, 4), layers, "squared"), seed=3)
    folded = Architecture("net", (1, 4, 4), (layers[0], *layers[2:]), "squared")
    scale, shift = cell.parameters["1/weight"], cell.parameters["1/bias"]
    weights = {
        "0/weight": cell.parameters["0/weight"] * scale[:, None, None, None],
        "0/bias": cell.parameters["0/bias"] * scale + shift,
        "3/weight": cell.parameters["4/weight"],
        "3/bias": cell.parameters["4/bias"],
    }
    inputs = trace(folded, Parameters(folded, weights), cell.sample[None]).inputs
    assert ((inputs["1"][0] > 0) == cell.positive["2"]).all()
