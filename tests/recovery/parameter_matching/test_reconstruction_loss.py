"""The reconstruction loss: its gradient by finite differences, its zero at the truth, and its symmetries."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from provable.errors import InputError, UnsupportedError
from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss, loss_at

EPSILON = 2.0**-52


def differences(function, array, step):
    result = np.zeros_like(array)
    for index in np.ndindex(*array.shape):
        plus, minus = array.copy(), array.copy()
        plus[index] += step
        minus[index] -= step
        result[index] = (function(plus) - function(minus)) / (2 * step)
    return result


@pytest.mark.parametrize("biases", ["absent", "zero", "random"])
@pytest.mark.parametrize("widths", [(6,), (6, 5)])
@pytest.mark.parametrize("features", ["initial", "final", "both"])
@pytest.mark.parametrize("sharpness", [2.0, None])
def test_gradient_is_that_of_the_value(observed_change, widths, biases, features, sharpness):
    rng = np.random.default_rng(11)
    observation, _ = observed_change(rng, count=3, dimension=4, widths=widths, outputs=2, biases=biases)
    # of the order of θ, so that the two networks differ
    scaled = {key: 0.1 * piece for key, piece in observation.vector.items()}
    observation = dataclasses.replace(observation, vector=scaled)
    loss = ReconstructionLoss.of(observation, features)
    points = rng.standard_normal((5, 4))
    coefficients = rng.standard_normal((len(loss.networks), 5, 2))
    value, by_points, by_coefficients = loss.value_and_gradient(points, coefficients, sharpness)
    assert value == loss.value(points, coefficients, sharpness)
    # rounding of the value over the step, and third derivatives times the step squared; ReLU is quadratic between kinks
    step = 1e-6
    error = 100 * value * EPSILON / step + 1e4 * step**2 * value
    by_hand = differences(lambda moved: loss.value(moved, coefficients, sharpness), points, step)
    assert np.abs(by_hand - by_points).max() <= error
    by_hand = differences(lambda moved: loss.value(points, moved, sharpness), coefficients, step)
    assert np.abs(by_hand - by_coefficients).max() <= error


@pytest.mark.parametrize("widths", [(40,), (40, 30)])
def test_relu_has_its_zero_at_the_truth_and_softplus_has_not(observed_change, widths):
    observation, truth = observed_change(np.random.default_rng(5), count=3, dimension=4, widths=widths)
    # two sums of the same products in another order
    assert loss_at(observation, truth.points, truth.coefficients) <= (30 * 40 * EPSILON) ** 2
    assert loss_at(observation, truth.points, truth.coefficients, sharpness=200.0) > 1e-8
    # the mismatch falls with β
    values = [loss_at(observation, truth.points, truth.coefficients, sharpness=beta) for beta in (1.0, 10.0, 1e3, 1e6)]
    assert values == sorted(values, reverse=True)


def test_scaling_is_invisible_without_biases_and_visible_with_them(observed_change):
    factors = np.array([0.5, 2.0, 4.0])  # powers of two: no rounding
    for biases, invisible in (("absent", True), ("random", False)):
        observation, truth = observed_change(
            np.random.default_rng(5), count=3, dimension=4, widths=(9, 8), biases=biases
        )
        moved = truth.rescaled(factors)
        loss = loss_at(observation, moved.points, moved.coefficients)
        assert (loss <= (30 * 40 * EPSILON) ** 2) == invisible


def test_order_and_splitting_of_atoms_change_nothing(observed_change):
    observation, truth = observed_change(np.random.default_rng(8), count=3, dimension=4, widths=(9,))
    loss = ReconstructionLoss.of(observation)
    points = np.random.default_rng(0).standard_normal((3, 4))
    weights = np.ones((1, 3, 1))
    value = loss.value(points, weights)
    twice = loss.value(np.concatenate([points[::-1], points]), np.concatenate([weights, weights], axis=1) / 2)
    assert abs(twice - value) <= 30 * 16 * EPSILON * value
    assert truth.size == 3


def test_pieces_that_were_not_observed_do_not_count(observed_change):
    observation, truth = observed_change(np.random.default_rng(5), count=3, dimension=4, widths=(9,))
    some = dataclasses.replace(observation, vector={"0/weight": observation.vector["0/weight"]})
    assert loss_at(some, truth.points, truth.coefficients) <= (30 * 40 * EPSILON) ** 2
    loss = ReconstructionLoss.of(some)
    points, weights = truth.points + 0.1, truth.coefficients[None]
    assert loss.value(points, weights) < ReconstructionLoss.of(observation).value(points, weights)
    with pytest.raises(UnsupportedError, match="0/bias was not observed"):
        ReconstructionLoss.of(some, "final")
    with pytest.raises(InputError, match="features: found 'theirs'"):
        ReconstructionLoss.of(observation, "theirs")
