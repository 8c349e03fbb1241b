"""The released sweep: its ranges, its optimiser, and what is taken from it."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Tanh
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.stationary_point.momentum_sweep import (
    RANGES,
    WINNERS,
    HyperParameters,
    Settings,
    affordable,
    descended,
    relative_loss,
    stationarity_loss,
    swept,
)
from provable.theorems.strategies.stationary_points import stationary_points

EPSILON = 2.0**-52


def ones(network, points):
    return np.ones((len(points), 1))


def uniform(generator):
    return generator.random((4, 1))


@given(stationary_points(depths=(2, 3), activations=("relu",)))
@settings(max_examples=25)
def test_exact_stationary_points_have_no_loss_with_the_slopes_of_relu(point):
    observation = Observation("stationary-point", point.architecture, point.parameters, batch_size=len(point.labels))
    found = relative_loss(observation, point.points, point.weights * point.labels)
    # squares of rounding errors: sums over samples and units, and multipliers that are floats of rationals
    count = point.parameters.vector().size + len(point.labels)
    size = (
        np.abs(point.weights).sum()
        * max(1.0, np.abs(point.points).max())
        * np.abs(point.parameters.vector()).max() ** 2
    )
    assert found <= (30 * count * EPSILON * max(1.0, size)) ** 2


@pytest.mark.parametrize("alpha", [1.0, 20.0])
def test_smoothed_slopes_have_a_closed_form_at_the_data(two_classes, alpha):
    """Both samples have z = 1 at their neuron and -1 at the other: slopes σ(α) and 1 - σ(α) in the place of 1 and 0."""
    observation, points, coefficients = two_classes()
    missing = 1 / (1 + np.exp(alpha))
    # c_1 x_1 + c_2 x_2 = 2 g, so neuron 1 has g (σ + (1 - σ)) = g, and no error at all
    assert relative_loss(observation, points, coefficients, sharpness=alpha) < 1e-30
    # one sample without its mirror image has, of a norm of 4: both rows of W_1 off by 1 - σ, and v_2 by 1
    alone = relative_loss(observation, points[:1], coefficients[:1], sharpness=alpha)
    assert alone == pytest.approx((missing**2 + (1 - missing) ** 2 + 1) / 4, rel=1e-12)


@given(st.integers(0, 2**32 - 1))
def test_draws_are_within_the_released_ranges(seed):
    drawn = HyperParameters.draw(np.random.default_rng(seed))
    for name, (low, high) in RANGES.items():
        assert low <= getattr(drawn, name) <= high


def test_logarithms_are_uniform_where_the_released_sweep_has_them_so():
    drawn = [HyperParameters.draw(np.random.default_rng(seed)) for seed in range(400)]
    # median of a uniform logarithm: the geometric mean; three standard deviations of the share below it are 0.075
    assert abs(np.mean([one.learning_rate < math.sqrt(1e-5) for one in drawn]) - 0.5) < 0.08
    assert abs(np.mean([one.image_scale < math.sqrt(1e-7) for one in drawn]) - 0.5) < 0.08
    assert abs(np.mean([one.sharpness < 255 for one in drawn]) - 0.5) < 0.08


def test_a_sweep_begins_with_the_published_winners():
    rng = np.random.default_rng(0)
    assert Settings(runs=2).sweep(rng) == WINNERS[:2]
    six = Settings(runs=6).sweep(rng)
    assert six[:4] == WINNERS and len(six) == 6 and six[4] != six[5]


def test_steps_are_those_of_descent_with_momentum(two_classes):
    """v ← 0.9 v + g, x ← x - η v, with the gradient of the whole loss by central differences in λ and x."""
    observation, _, _ = two_classes()
    loss = stationarity_loss(observation)
    # A sharpness and points for which all slopes are 0 or 1 within rounding: then the gradient is the loss's own.
    choice = HyperParameters(1.0, 0.003, 0.4, 1e6)
    options = Settings(steps=1, runs=1, multiplier_learning_rate=0.02, multiplier_prior=0.7, range_prior=0.3)
    points, multipliers = np.array([[1.5, 0.4], [-0.3, -1.2], [0.2, 0.9]]), np.array([[0.2], [0.5], [-0.3]])
    signs = np.array([[1.0], [-1.0], [1.0]])

    def directions(network, at):
        return signs

    def whole(at, weights):
        value = loss.value(at, (weights * signs / 3)[None], 1e6)
        value += 0.7 * np.sum(np.maximum(0.4 - weights, 0) ** 2)
        return value + 0.3 * np.sum(np.maximum(at - 1, 0) ** 2 + np.maximum(-at - 1, 0) ** 2)

    def gradients(at, weights):
        result, step = [np.zeros_like(at), np.zeros_like(weights)], 1e-6
        for part in (0, 1):
            for place in np.ndindex(result[part].shape):
                values = []
                for sign in (1, -1):
                    both = [at.copy(), weights.copy()]
                    both[part][place] += sign * step
                    values.append(whole(*both))
                result[part][place] = (values[0] - values[1]) / (2 * step)
        return result

    x, lam = points.copy(), multipliers.copy()
    v, u = np.zeros_like(x), np.zeros_like(lam)
    for steps in (1, 2, 3):
        by_x, by_lam = gradients(x, lam)
        v, u = 0.9 * v + by_x, 0.9 * u + by_lam
        x, lam = x - 0.003 * v, lam - 0.02 * u
        run = descended(loss, directions, points, multipliers, choice, dataclasses.replace(options, steps=steps))
        # central differences of a piecewise polynomial of degree 4 with step 1e-6
        assert np.allclose(run.points, x, rtol=0, atol=1e-8)
        assert np.allclose(run.coefficients, lam * signs / 3, rtol=0, atol=1e-8)
        assert run.loss == pytest.approx(loss.value(x, (lam * signs / 3)[None], 1e6) / loss.scale, abs=1e-7)


@pytest.mark.parametrize("seed", range(3))
def test_the_run_with_the_smallest_loss_comes_first(two_classes, seed):
    observation, _, _ = two_classes()
    loss = stationarity_loss(observation)
    runs = swept(loss, ones, uniform, Settings(steps=30, runs=5), np.random.default_rng(seed))
    losses = [run.loss for run in runs]
    assert len(runs) == 5 and losses == sorted(losses)
    best = runs[0]
    assert best.loss == loss.value(best.points, best.coefficients[None], best.choice.sharpness) / loss.scale
    assert best.loss == relative_loss(observation, best.points, best.coefficients, sharpness=best.choice.sharpness)


def test_a_run_that_leaves_the_numbers_is_the_worst(two_classes):
    observation, _, _ = two_classes()
    wild = HyperParameters(0.1, 1e300, 0.1, 10.0)
    tame = HyperParameters(0.1, 1e-3, 0.1, 10.0)
    settings_of_both = Settings(steps=50, runs=2, first_runs=(wild, tame))
    runs = swept(stationarity_loss(observation), ones, uniform, settings_of_both, np.random.default_rng(0))
    assert runs[0].choice == tame and runs[1].loss == math.inf


def test_large_networks_get_fewer_steps_by_default(two_classes):
    observation, _, _ = two_classes()
    assert affordable(stationarity_loss(observation), 4) == Settings()
    # 12 operations per weight and candidate in each of 8 runs: 10^13 of them are 10^13 / (96 · 10^6 · 6) steps
    assert affordable(stationarity_loss(observation), 10**7).steps == 10**13 // (96 * 10**7 * 6)
    assert affordable(stationarity_loss(observation), 10**12).steps == 200


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"runs": 0},
        {"candidates_per_sample": 0.0},
        {"momentum": 1.0},
        {"multiplier_learning_rate": math.nan},
        {"multiplier_prior": -1.0},
        {"range_prior": math.inf},
        {"bounds": (1.0, 1.0)},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)


@pytest.mark.parametrize("name", list(RANGES))
def test_hyper_parameters_out_of_range_are_refused(name):
    for value in (0.0, -1.0, math.inf, math.nan):
        with pytest.raises(InputError, match=name):
            dataclasses.replace(WINNERS[0], **{name: value})


def test_other_networks_are_refused(two_classes):
    smooth = Architecture("smooth", (2,), (Linear(2, False), Tanh(), Linear(1, False)), "logistic")
    observation, _, _ = two_classes()
    moved = Observation("stationary-point", smooth, Parameters(smooth, dict(observation.parameters)))
    with pytest.raises(UnsupportedError, match="layer 1"):
        stationarity_loss(moved)
