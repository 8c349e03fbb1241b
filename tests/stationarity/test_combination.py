"""Combinations of Clarke tangents with kinks in several layers at once, more than can be listed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, ReLU
from provable.arithmetic import EPSILON, RATIONAL
from provable.networks import Parameters, tangents
from provable.stationarity.clarke import ClarkeTangents
from provable.stationarity.combination import combine


def through_samples(values, width, each, rng):
    """Random rows, each orthogonal to some of the given values."""
    rows = rng.standard_normal((width, values.shape[1]))
    for row in rows:
        own = values[rng.choice(len(values), each, replace=False)]
        row -= np.linalg.lstsq(own, own @ row, rcond=None)[0]
    return rows


def kinked(seed, widths=(10, 12), dimension=6, count=4):
    """A three-layer network, two or three of whose samples lie on the kink of every unit of both hidden layers."""
    rng = np.random.default_rng(seed)
    layers = (
        Linear(widths[0], bias=False),
        ReLU(),
        Linear(widths[1], bias=False),
        LeakyReLU(negative_slope=0.125),
        Linear(1, bias=False),
    )
    architecture = Architecture("kinked", (dimension,), layers, "logistic")
    points = rng.standard_normal((count, dimension))
    first = through_samples(points, widths[0], 2, rng)
    before = points @ first.T
    hidden = np.where(before > 1e-9, before, 0.0)
    second = through_samples(hidden, widths[1], 3, rng)
    parameters = Parameters(
        architecture, {"0/weight": first, "2/weight": second, "4/weight": rng.standard_normal((1, widths[1]))}
    )
    return architecture, parameters, points, rng


def gradient_with_slopes(architecture, parameters, points, sample, kinks, rng):
    """The gradient at a sample with random slopes at its kinks, from products of matrices."""
    first, second, third = (parameters[f"{index}/weight"] for index in (0, 2, 4))
    x = points[sample]
    before = first @ x
    low = np.where(kinks["1"][sample], rng.random(len(before)), before > 0)
    hidden = np.where(kinks["1"][sample], 0.0, np.maximum(before, 0))
    behind = second @ hidden
    high = np.where(behind > 0, 1.0, 0.125)
    high[kinks["3"][sample]] = 0.125 + 0.875 * rng.random(int(kinks["3"][sample].sum()))
    output = np.where(kinks["3"][sample], 0.0, np.where(behind > 0, behind, 0.125 * behind))
    back = third[0] * high
    through = (back @ second) * low
    return np.concatenate([np.outer(through, x).reshape(-1), np.outer(back, hidden).reshape(-1), output])


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("seed", range(2))
def test_mixtures_with_many_kinks_in_two_layers_are_found(seed, known):
    architecture, parameters, points, rng = kinked(seed)
    labels = rng.choice([-1.0, 1.0], len(points))
    clarke = ClarkeTangents(architecture, parameters, points, np.arange(4), labels[:, None], tolerance=1e-10)
    assert clarke.truncated(2).any()
    vector = np.zeros(architecture.parameter_count)
    for sample in range(len(points)):
        for _ in range(1 if known else 3):
            weight = 1.0 if known else rng.random()
            gradient = gradient_with_slopes(architecture, parameters, points, sample, clarke.kinks, rng)
            vector += weight * labels[sample] * gradient
    found = combine(clarke, vector, np.ones(4, dtype=bool), known=known)
    if known:
        assert found.multipliers == pytest.approx(np.ones(4), rel=1e-12)
    # pre-activations that count as zero are of size 1e-15; the row of known multipliers is 100 times as large as the vector
    assert np.linalg.norm(found.residual) <= 30 * 100 * len(vector) * EPSILON * np.linalg.norm(vector)
    for path, where in clarke.kinks.items():
        low = 0.125 if path == "3" else 0.0
        assert np.all((found.slopes[path] >= low - 1e-12) & (found.slopes[path] <= 1 + 1e-12))
        layer_input = np.maximum(points @ parameters["0/weight"].T, 0) if path == "3" else points
        index = int(path) - 1
        active = layer_input @ parameters[f"{index}/weight"].T > 1e-9
        assert np.all(found.slopes[path][active & ~where] == 1)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000))
def test_a_combination_outside_is_the_nearest_one(seed):
    """Few kinks, so that all cells can be priced: no cell has a positive inner product with what is left."""
    architecture, parameters, points, rng = kinked(seed, widths=(4, 4), dimension=5)
    clarke = ClarkeTangents(architecture, parameters, points, np.arange(4), np.ones((4, 1)), tolerance=1e-10)
    vector = rng.standard_normal(architecture.parameter_count)
    found = combine(clarke, vector, np.ones(4, dtype=bool))
    assert not clarke.truncated().any()
    cells = clarke.first_cells()
    prices = cells.steps @ found.residual
    totals = cells.base @ found.residual
    np.add.at(totals, cells.owners, np.maximum(prices, 0))
    size = np.linalg.norm(vector) * max(np.linalg.norm(cells.base, axis=1).max(), 1.0)
    assert totals.max() <= 30 * len(vector) * EPSILON * size
    assert abs((vector - found.residual) @ found.residual) <= 30 * len(vector) * EPSILON * (vector @ vector)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 1000), st.booleans())
def test_functions_that_are_left_out_keep_their_slopes_and_no_multiplier(seed, known):
    architecture, parameters, points, rng = kinked(seed, widths=(3, 3), dimension=5)
    clarke = ClarkeTangents(architecture, parameters, points, np.arange(4), np.ones((4, 1)), tolerance=1e-10)
    chosen = np.array([True, False, True, False])
    found = combine(clarke, rng.standard_normal(architecture.parameter_count), chosen, known=known)
    assert np.all(found.multipliers[~chosen] == 0)
    for path, where in clarke.kinks.items():
        assert found.slopes[path].shape == where.shape
        assert np.all(found.slopes[path] >= -1e-12)


def test_exact_numbers_through_two_layers():
    """x₁ − x₂ meets the hyperplanes of both layers exactly, and half of one slope is needed in each."""
    layers = (Linear(2, bias=False), ReLU(), Linear(1, bias=False), ReLU(), Linear(1, bias=False))
    architecture = Architecture("exact", (2,), layers, "logistic")
    parameters = Parameters(
        architecture,
        {
            "0/weight": np.array([[1.0, 1.0], [1.0, -1.0]]),
            "2/weight": np.array([[0.0, 1.0]]),
            "4/weight": np.array([[1.0]]),
        },
    )
    points = np.array([[1.0, 1.0], [2.0, 1.0]])
    exact = RATIONAL.convert(parameters)
    samples, ones = np.arange(2), RATIONAL.convert(np.ones((2, 1)))
    clarke = ClarkeTangents(architecture, exact, RATIONAL.convert(points), samples, ones)
    assert clarke.kinks["1"].tolist() == [[False, True], [False, False]]
    assert clarke.kinks["3"].tolist() == [[True], [False]]
    smooth = tangents(architecture, exact, RATIONAL.convert(points))[1, 0]
    corners = clarke.first_cells()
    target = smooth + (corners.base[0] + corners.base[1] + corners.steps.sum(axis=0)) / 2
    found = combine(clarke, target, np.ones(2, dtype=bool))
    assert np.all(found.residual == 0)
