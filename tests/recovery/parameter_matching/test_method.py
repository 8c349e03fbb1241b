"""Parameter matching: exact where it can be, nearer than the released attack where it cannot."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import embed, forward, tangent_kernel
from provable.recovery.parameter_matching import loo2024, method
from provable.recovery.parameter_matching.annealing import (
    Annealing,
    affordable_steps,
    annealed,
    fitted_coefficients,
    row_space,
)
from provable.recovery.parameter_matching.features import BALANCED, imbalance, is_linearised, moved_parameters
from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss
from provable.recovery.parameter_matching.report import greedy_matching
from provable.recovery.parameter_matching.starting_points import resting_clusters, separating_point
from provable.training.gradient_descent import train
from provable.training.linearised_networks import default_learning_rate
from provable.training.optimisers import GradientDescent

EPSILON = 2.0**-52


def trained(observation, count, *, steps=400):
    """What standard training on random labels of magnitude one leaves of the same network."""
    rng = np.random.default_rng(0)
    points, labels = rng.standard_normal((count, observation.architecture.input_size)), rng.choice([-1.0, 1.0], count)
    kernel = np.asarray(tangent_kernel(observation.architecture, observation.parameters, points))
    run = train(
        observation.architecture,
        observation.parameters,
        points,
        labels[:, None],
        optimiser=GradientDescent(0.5 * default_learning_rate(kernel, count)),
        steps=steps,
    )
    return run.observation(labels_known=True), points


@pytest.mark.parametrize("biases", ["absent", "zero", "random"])
@pytest.mark.parametrize("widths", [(30,), (20, 15)])
def test_sums_of_tangents_are_balanced_and_standard_training_is_not(observed_change, widths, biases):
    observation, _ = observed_change(np.random.default_rng(3), count=3, dimension=5, widths=widths, biases=biases)
    found = imbalance(observation)
    # sums of at most thirty products
    assert found is not None and found <= 30 * 60 * EPSILON
    assert is_linearised(observation)
    changed, _ = trained(observation, 3)
    found = imbalance(changed)
    assert found is not None and found > 100 * BALANCED
    assert not is_linearised(changed)
    some = dataclasses.replace(observation, vector={"0/weight": observation.vector["0/weight"]})
    assert imbalance(some) is None and is_linearised(some)


def test_row_space_holds_the_samples_also_after_standard_training(observed_change):
    observation, _ = observed_change(np.random.default_rng(3), count=3, dimension=8, widths=(40, 30))
    changed, points = trained(observation, 3)
    basis = row_space(ReconstructionLoss.of(changed))
    assert basis.shape == (3, 8)
    outside = points - (points @ basis.T) @ basis
    # rounding of hundreds of steps, over the smallest singular value
    assert np.abs(outside).max() <= 1e-10 * np.abs(points).max()


def test_restricted_loss_is_the_loss_up_to_a_constant(observed_change):
    observation, truth = observed_change(np.random.default_rng(3), count=3, dimension=8, widths=(40,))
    loss = ReconstructionLoss.of(observation)
    basis = row_space(loss)
    inside = loss.in_coordinates(basis)
    for shift in (0.0, 0.5):
        points = (truth.points + shift) @ basis.T @ basis
        pair = inside.value(points @ basis.T, truth.coefficients[None]), loss.value(points, truth.coefficients[None])
        # nothing of Δθ lies outside
        assert abs(pair[0] - pair[1]) <= 30 * 40 * EPSILON * (loss.scale + pair[1])


def test_linearised_training_is_undone_exactly(observed_change):
    observation, truth = observed_change(np.random.default_rng(3), count=10, dimension=20, widths=(400,))
    found = method.recover(observation, np.random.default_rng(0))
    assert found.status == "consistent" and found.method == "parameter-matching"
    assert found.measure.matching(truth).error <= 30 * 400 * 100 * EPSILON


@pytest.mark.parametrize("biases", ["random", "absent"])
def test_standard_training_is_undone_better_than_by_the_released_attack(observed_change, biases):
    observation, _ = observed_change(np.random.default_rng(1), count=4, dimension=10, widths=(800,), biases=biases)
    changed, points = trained(observation, 4, steps=1000)
    ours = method.recover(changed, np.random.default_rng(0))
    theirs = loo2024.attack(changed, np.random.default_rng(0), loo2024.Settings(steps=400, features="final"))
    near = greedy_matching(ours.points, points)
    assert np.median(near) < 0.5 * np.median(greedy_matching(theirs.points, points))
    assert np.median(near) < 0.15 * np.mean(np.linalg.norm(points, axis=1))
    assert ours.status == "failed" and "standard training" in ours.reason
    if biases == "absent":
        final = forward(changed.architecture, moved_parameters(changed, 1.0), ours.points)
        assert np.allclose(np.abs(final), 1.0, rtol=0, atol=1e-10)  # one rescaling of a homogeneous function
        assert ours.fibre == ("permutation",)


def test_more_samples_than_dimensions_and_deeper_networks_run(observed_change, monkeypatch):
    monkeypatch.setattr(method, "FROM_NOISE", Annealing(steps=300))
    for widths, dimension in (((60,), 2), ((30, 30), 6)):
        observation, truth = observed_change(np.random.default_rng(1), count=4, dimension=dimension, widths=widths)
        found = method.recover(observation, np.random.default_rng(0))
        assert found.status == "failed" and "linearised" in found.reason and len(found.points)
        assert np.all(np.isfinite(found.points))
        assert truth.size == 4


def test_features_may_be_chosen(observed_change):
    observation, _ = observed_change(np.random.default_rng(1), count=2, dimension=4, widths=(50,))
    changed, _ = trained(observation, 2)
    for features in ("initial", "final", "both"):
        found = method.recover(changed, np.random.default_rng(0), features=features)
        assert f"with {features} features" in found.reason


@given(seed=st.integers(0, 10**6))
@settings(max_examples=15)
def test_a_separating_point_has_the_pattern(seed):
    rng = np.random.default_rng(seed)
    weight, truth = rng.standard_normal((120, 4)), rng.standard_normal(4)
    active = weight @ truth > 0
    found = separating_point(weight, active)
    assert np.mean((weight @ found > 0) == active) >= 0.97
    cosine = found @ truth / np.linalg.norm(found) / np.linalg.norm(truth)
    # a random cell of 120 great spheres in four dimensions may reach over a few tenths of a radian
    assert cosine > 0.9
    assert np.allclose(separating_point(weight, ~active), -found, rtol=0, atol=1e-8 * np.linalg.norm(found))


def test_clusters_are_the_patterns_and_frequent_ones_come_first(observed_change):
    observation, truth = observed_change(np.random.default_rng(2), count=4, dimension=8, widths=(300,))
    weight = observation.parameters["0/weight"]
    patterns = (truth.points @ weight.T + observation.parameters["0/bias"] > 0).T
    basis = np.linalg.qr(patterns.astype(float))[0]
    noise = np.random.default_rng(0).random((300, 40)) < 0.1
    starts = patterns[:, np.arange(40) % 4] ^ noise
    found = resting_clusters(basis, starts)[:, :4]
    assert {column.tobytes() for column in found.T} == {column.tobytes() for column in patterns.T}


def test_annealing_begins_and_ends_where_it_says():
    schedule = Annealing(steps=100)
    assert schedule.at(0) == (10.0, 0.02)
    sharpness, rate = schedule.at(99)
    assert sharpness == 200.0 and 0.0002 <= rate < 0.00025
    assert all(schedule.at(step)[0] <= schedule.at(step + 1)[0] for step in range(99))


def test_the_truth_stays_where_it_is(observed_change):
    observation, truth = observed_change(np.random.default_rng(2), count=3, dimension=8, widths=(300,))
    loss = ReconstructionLoss.of(observation)
    fitted = fitted_coefficients(loss, truth.points, ridge=0.0)[0]
    # the Gram matrix of three tangents has a condition below a hundred
    assert np.abs(fitted - truth.coefficients).max() <= 30 * 300 * 100 * EPSILON
    points, _, value = annealed(
        loss, truth.points, truth.coefficients[None], Annealing(steps=300, first_sharpness=200.0)
    )
    assert np.linalg.norm(points - truth.points, axis=1).max() < 0.2
    assert value < 1e-2


def test_fitted_coefficients_are_those_of_least_squares(observed_change):
    observation, _ = observed_change(np.random.default_rng(2), count=3, dimension=5, widths=(30, 20))
    points = np.random.default_rng(0).standard_normal((4, 5))
    for vector in (dict(observation.vector), {"0/weight": observation.vector["0/weight"]}):
        some = dataclasses.replace(observation, vector=vector)
        columns = []
        for point in points:
            image = embed(observation.architecture, observation.parameters, Measure(point[None], np.ones((1, 1))))
            columns.append(np.concatenate([image[key].reshape(-1) for key in vector]))
        wanted = np.concatenate([piece.reshape(-1) for piece in vector.values()])
        expected = np.linalg.lstsq(np.array(columns).T, wanted, rcond=None)[0]
        found = fitted_coefficients(ReconstructionLoss.of(some), points, ridge=0.0)[0, :, 0]
        # normal equations square a condition below a hundred
        assert np.abs(found - expected).max() <= 30 * 30 * 1e4 * EPSILON * np.abs(expected).max()


def test_large_networks_get_fewer_steps(observed_change):
    observation, _ = observed_change(np.random.default_rng(2), count=3, dimension=5, widths=(30, 20))
    loss = ReconstructionLoss.of(observation)
    assert affordable_steps(loss, 6, 3000) == 3000
    assert affordable_steps(loss, 10**7, 3000) == 200
    assert affordable_steps(loss, 10**7, 50) == 50
    steps = [affordable_steps(loss, count, 3000) for count in (10**5, 10**6, 10**7)]
    assert steps == sorted(steps, reverse=True)


def test_what_it_needs_is_said(observed_change):
    observation, _ = observed_change(np.random.default_rng(2), count=3, dimension=8, widths=(20,))
    unknown = dataclasses.replace(observation, batch_size=None)
    assert "number of samples" in str(method.supports(unknown))
    with pytest.raises(UnsupportedError, match="parameter-matching"):
        method.recover(unknown, np.random.default_rng(0))
    nothing = {key: 0 * piece for key, piece in observation.vector.items()}
    silent = method.recover(dataclasses.replace(observation, vector=nothing), np.random.default_rng(0))
    assert silent.status == "failed" and "did not change" in silent.reason
