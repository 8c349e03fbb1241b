"""The attack of Haim et al.: what it needs, what it says of itself, and that no training data enters."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from provable.architectures import Architecture, Linear, ReLU
from provable.errors import UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.stationary_point import haim2022
from provable.recovery.stationary_point.haim2022 import attack, balanced_labels, supports, sweep
from provable.recovery.stationary_point.momentum_sweep import HyperParameters, Settings, relative_loss

LONG = Settings(
    steps=1500,
    runs=2,
    multiplier_learning_rate=0.1,
    multiplier_prior=0.01,
    first_runs=(HyperParameters(0.5, 0.05, 0.01, 100.0), HyperParameters(0.3, 0.05, 0.01, 30.0)),
)
"""Two dimensions and two neurons need larger steps for λ than the released ones, which fit a thousand neurons."""


def test_loss_falls_on_an_exact_stationary_point_and_its_zeros_are_not_the_data(two_classes):
    observation, points, coefficients = two_classes()
    found = attack(observation, np.random.default_rng(0), LONG)
    assert found.points.shape == (4, 2) and found.coefficients.shape == (4, 1)
    assert found.status == "failed" and found.method == "haim2022" and "of 2 runs" in found.reason
    runs = sweep(observation, np.random.default_rng(0), LONG)
    assert np.array_equal(runs[0].points.reshape(4, 2), found.points)
    assert runs[0].loss < 1e-3
    # the hard slopes make the data an exact zero; what was found explains θ as well and is something else
    assert relative_loss(observation, points, coefficients) < 1e-30
    nearest = np.linalg.norm(points[:, None] - found.points[None], axis=2).min(axis=1)
    assert nearest.max() > 0.05


def test_the_same_seed_gives_the_same_candidates_and_nothing_else_enters(two_classes):
    observation, _, _ = two_classes()
    short = Settings(steps=40, runs=3)
    first, second = (attack(observation, np.random.default_rng(5), short) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    # a stated batch size says no less than labels do: their values do not enter
    by_size = dataclasses.replace(observation, labels=None, batch_size=2)
    assert np.array_equal(attack(by_size, np.random.default_rng(5), short).points, first.points)


@pytest.mark.parametrize("count", [1, 2, 3, 8])
def test_half_of_the_candidates_have_each_label(count):
    labels = balanced_labels(count)
    assert labels.shape == (count, 1) and set(np.unique(labels)) <= {-1.0, 1.0}
    assert 0 <= labels.sum() <= 1


def test_coefficients_are_multipliers_times_labels_over_the_number_of_candidates(two_classes):
    observation, _, _ = two_classes()
    # no step worth the name: λ stays in [0, 1] as drawn
    still = Settings(steps=1, runs=1, multiplier_learning_rate=1e-300, multiplier_prior=0.0)
    found = attack(observation, np.random.default_rng(0), still)
    multipliers = found.coefficients * balanced_labels(4) * 4
    assert np.all((multipliers >= 0) & (multipliers <= 1)) and np.ptp(multipliers) > 0.05


def test_what_it_needs_is_said(two_classes):
    observation, _, _ = two_classes()
    assert supports(observation) is None
    unknown = dataclasses.replace(observation, labels=None)
    assert "number of samples is not known" in str(supports(unknown))
    with pytest.raises(UnsupportedError, match="method haim2022: the number of samples"):
        attack(unknown, np.random.default_rng(0))
    with pytest.raises(UnsupportedError, match="number of samples"):
        sweep(unknown, np.random.default_rng(0))
    gradient = dataclasses.replace(observation, kind="gradient")
    assert "kind gradient" in str(supports(gradient))
    late = Architecture("late", (2,), (Linear(2, False), ReLU(), Linear(1, True)), "logistic")
    values = {**observation.parameters, "2/bias": np.zeros(1)}
    biased = Observation("stationary-point", late, Parameters(late, values), batch_size=2)
    assert "not homogeneous: there is 2/bias" in str(supports(biased))
    squared = Architecture("squared", (2,), (Linear(2, False), ReLU(), Linear(1, False)), "squared")
    other = Observation("stationary-point", squared, Parameters(squared, dict(observation.parameters)), batch_size=2)
    assert "the loss is squared" in str(supports(other))
    assert not haim2022.METHOD.automatic


def test_a_network_of_zeros_ends_in_a_clear_failure(two_classes):
    observation, _, _ = two_classes()
    nothing = {key: 0 * piece for key, piece in observation.parameters.items()}
    zero = Observation(
        "stationary-point", observation.architecture, Parameters(observation.architecture, nothing), batch_size=1
    )
    found = attack(zero, np.random.default_rng(0), Settings(steps=2))
    assert found.status == "failed" and not len(found.points) and "all parameters are zero" in found.reason


def test_a_huge_network_ends_in_a_clear_failure(two_classes):
    observation, _, _ = two_classes()
    huge = {key: 1e160 * piece for key, piece in observation.parameters.items()}
    point = Observation(
        "stationary-point", observation.architecture, Parameters(observation.architecture, huge), batch_size=1
    )
    found = attack(point, np.random.default_rng(0), Settings(steps=5, runs=2))
    assert found.status == "failed" and not len(found.points) and "all 2 runs ran away" in found.reason
