"""Batches from noisy gradients: errors at the Cramér-Rao bound, calibrated predictions, and honest verdicts."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Flatten, Linear, ReLU, Softplus, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.leakage.metrics import batch_cramer_rao
from provable.leakage.metrics.batch_cramer_rao import BatchCramerRao
from provable.measures import Measure
from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.observations.defences import (
    aggregated,
    clipped,
    clipped_per_sample,
    kept_entries,
    pruned,
    with_gaussian_noise,
)
from provable.observations.dropout import surviving, with_dropout
from provable.recovery.batch.maximum_likelihood import maximum_likelihood
from provable.recovery.batch.noisy_recovery import STATUSES, NoisyRecovery
from provable.recovery.batch.random_starts import from_random_starts, in_span, leading_span

OUTER = "2/weight"
FIBRE = ("permutation", "joint-sign")


def problem(dimension, samples, width, seed, activation=None, outer=None, unit=True):
    """The paper's setting: standard normal W, a = 1/m (or N(0, outer²)), samples of norm 1, labels ±1."""
    rng = np.random.default_rng(seed)
    network = Architecture(
        "wide", (dimension,), (Linear(width, False), activation or Tanh(), Linear(1, False)), "squared"
    )
    points = rng.standard_normal((samples, dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    if not unit:
        points *= rng.uniform(0.5, 1.5, (samples, 1))
    weights = np.full((1, width), 1 / width) if outer is None else outer * rng.standard_normal((1, width))
    parameters = Parameters(network, {"0/weight": rng.standard_normal((width, dimension)), OUTER: weights})
    labels = rng.choice([-1.0, 1.0], (samples, 1))
    residuals = forward(network, parameters, points) - labels
    return Observation.from_data(network, parameters, points, labels), Measure(points, residuals)


def only_outer(observation):
    return dataclasses.replace(observation, vector={OUTER: observation.vector[OUTER]})


def squared_error(found: NoisyRecovery, truth: Measure) -> float:
    """Mean over the batch of |x̂ - x|², modulo order and joint signs."""
    matching = found.measure.matching(truth, fibre=FIBRE)
    assert not matching.unmatched.size
    return float(np.mean((matching.errors * np.linalg.norm(truth.points, axis=1)) ** 2))


def ratio_to_the_bound(observation, truth, noise, draws, pieces=None):
    """Root mean square error over draws of the noise, over the Cramér-Rao bound; starts are random."""
    bound: BatchCramerRao = batch_cramer_rao(
        observation.architecture, observation.parameters, truth, noise, pieces=pieces
    )
    squares = []
    for draw in range(draws):
        seen = with_gaussian_noise(observation, noise, rng=draw)
        found = from_random_starts(seen, truth.size, noise=noise, rng=draw)
        assert found.status == "consistent-with-noise", found.reason
        squares.append(squared_error(found, truth))
    return math.sqrt(np.mean(squares)) / bound.rmse_lower_bound


@pytest.mark.parametrize("noise", [1e-3, 1e-1])
@pytest.mark.parametrize("pieces", [[OUTER], None], ids=["outer gradient", "both gradients"])
def test_errors_are_at_the_cramer_rao_bound(noise, pieces):
    observation, truth = problem(8, 3, 500, 0, outer=None if pieces else 1.0)
    seen = only_outer(observation) if pieces else observation
    # 24 unknowns and 16 draws: the mean square has a relative standard deviation of √(2 / 384) = 7 % or, the directions
    # being unequal, somewhat more; the asked-for range is two of them and more on each side of the root
    assert 0.9 <= ratio_to_the_bound(seen, truth, noise, 16, pieces) <= 1.25


@pytest.mark.deep
@pytest.mark.parametrize("noise", [1e-3, 1e-2, 1e-1])
@pytest.mark.parametrize("pieces", [[OUTER], None], ids=["outer gradient", "both gradients"])
@pytest.mark.parametrize("outer", [None, 1.0], ids=["a = 1/m", "a normal"])
def test_errors_are_at_the_cramer_rao_bound_at_the_table_size(noise, pieces, outer):
    ratios = []
    for seed in range(5):
        observation, truth = problem(20, 5, 2000, seed, outer=outer)
        ratios.append(ratio_to_the_bound(only_outer(observation) if pieces else observation, truth, noise, 6, pieces))
    assert 0.9 <= math.sqrt(np.mean(np.square(ratios))) <= 1.25


def test_predicted_covariances_are_calibrated():
    observation, truth = problem(6, 2, 300, 1, outer=1.0, unit=False)
    noise, total, trials = 0.05, 0.0, 20
    unknowns = 2 * 7
    for draw in range(trials):
        found = from_random_starts(with_gaussian_noise(observation, noise, rng=draw), 2, noise=noise, rng=draw)
        matching = found.measure.matching(truth, fibre=FIBRE)
        # bring the truth into the estimate's order and signs, where the covariance is meant
        order = np.argsort(matching.permutation)
        there = truth.permuted(order).sign_flipped(np.flatnonzero(matching.signs[order] < 0))
        error = np.concatenate(
            [(found.points - there.points).reshape(-1), (found.coefficients - there.coefficients).reshape(-1)]
        )
        total += error @ np.linalg.solve(found.covariance, error)
        assert found.standard_errors == pytest.approx(
            np.sqrt(np.diagonal(found.covariance)[:12].reshape(2, 6).sum(axis=1)), rel=1e-12
        )
    # a sum of 20 χ² with 14 degrees of freedom each: five standard deviations, and 5 % for curvature at this noise
    assert abs(total / (trials * unknowns) - 1) <= 5 * math.sqrt(2 / (trials * unknowns)) + 0.05


@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), size=st.sampled_from([1e-8, 1e-4, 1e-2]), unit=st.booleans())
def test_without_noise_the_truth_comes_back(seed, size, unit):
    observation, truth = problem(5, 2, 80, seed, outer=1.0)
    if unit:
        observation = dataclasses.replace(observation, unit_norm=True)
    rng = np.random.default_rng([seed, 1])
    start = truth.points + size * rng.standard_normal(truth.points.shape)
    found = maximum_likelihood(observation, start, truth.coefficients, noise=0.0)
    assert found.status == "consistent-with-noise" and found.status in STATUSES
    bound = batch_cramer_rao(observation.architecture, observation.parameters, truth, 1.0, unit_norm=unit)
    scale = max(float(np.linalg.norm(piece)) for piece in observation.vector.values())
    # rounding of what is seen is noise of ε times its size; the bound says what that makes of the points
    assert np.linalg.norm(found.points - truth.points) <= 30 * 80 * EPSILON * scale * bound.rmse_lower_bound + 1e-13
    if unit:
        assert abs(np.linalg.norm(found.points, axis=1) - 1).max() <= 4 * EPSILON


@settings(max_examples=10)
@given(seed=st.integers(0, 2**16), garbage=st.sampled_from([0.0, 1.0, 1e6]))
def test_what_is_masked_has_no_influence(seed, garbage):
    observation, truth = problem(4, 2, 60, seed, outer=1.0)
    rng = np.random.default_rng([seed, 1])
    mask = {OUTER: rng.random((1, 60)) < 0.7}
    dirty = {**observation.vector, OUTER: np.where(mask[OUTER], observation.vector[OUTER], garbage)}
    start = truth.points + 1e-3
    one = maximum_likelihood(observation, start, truth.coefficients, noise=0.1, mask=mask)
    two = maximum_likelihood(
        dataclasses.replace(observation, vector=dirty), start, truth.coefficients, noise=0.1, mask=mask
    )
    assert (one.points == two.points).all() and one.chi_square == two.chi_square
    assert one.degrees_of_freedom == np.count_nonzero(mask[OUTER]) + 240 - 10


def test_clipping_alone_is_no_defence():
    observation, truth = problem(10, 3, 60, 2, outer=1.0)
    norm = math.hypot(*(np.linalg.norm(piece) for piece in observation.vector.values()))
    for share in (1e-3, 0.5):
        found = from_random_starts(clipped(observation, share * norm), 3, noise=0.0, rng=0)
        assert found.status == "consistent-with-noise"
        matching = found.measure.matching(truth, fibre=FIBRE)
        # at rounding level: ε times the condition number of this instance, which is below 1e3
        assert matching.point_error <= 1e-12
        # the coefficients are off by the factor, all alike
        assert matching.apply(found.measure).coefficients == pytest.approx(share * truth.coefficients, rel=1e-10)


def test_clipping_per_sample_is_none_either_and_shows_which_were_clipped():
    observation, truth = problem(10, 3, 60, 3, outer=1.0)
    network, parameters = observation.architecture, observation.parameters
    labels = forward(network, parameters, truth.points) - truth.coefficients
    norms = [
        math.hypot(*map(np.linalg.norm, Observation.from_data(network, parameters, x[None], y[None]).vector.values()))
        for x, y in zip(truth.points, labels, strict=True)
    ]
    bound = float(np.median(norms))
    sent = clipped_per_sample(network, parameters, truth.points, labels, bound)
    found = from_random_starts(sent, 3, noise=0.0, rng=0)
    matching = found.measure.matching(truth, fibre=FIBRE)
    assert found.status == "consistent-with-noise" and matching.point_error <= 1e-12
    factors = np.abs(matching.apply(found.measure).coefficients / truth.coefficients)[:, 0]
    assert factors == pytest.approx(np.minimum(1.0, bound / np.array(norms)), rel=1e-9)


@pytest.mark.parametrize("kept", [0.5, 0.2])
def test_pruning_is_no_defence_while_enough_is_kept(kept):
    observation, truth = problem(8, 3, 400, 4)
    observation = dataclasses.replace(only_outer(observation), unit_norm=True)
    sparse = pruned(observation, kept)
    found = from_random_starts(sparse, 3, noise=0.0, mask=kept_entries(sparse), rng=0)
    assert found.status == "consistent-with-noise" and squared_error(found, truth) < 1e-24
    # taken for equations that say zero, the zeros reject every batch
    assert from_random_starts(sparse, 3, noise=0.0, starts=3, rng=0).status == "rejected"


def test_too_few_kept_entries_prove_nothing():
    observation, _ = problem(8, 3, 400, 4)
    sparse = pruned(only_outer(observation), 25 / 400)  # 27 unknowns
    found = from_random_starts(sparse, 3, noise=0.0, mask=kept_entries(sparse), starts=2, rng=0)
    assert found.status == "rejected" and "25 equations for 27 unknowns" in found.reason


def test_dropout_is_a_narrower_network():
    observation, truth = problem(8, 3, 120, 5, outer=1.0)
    network, parameters = observation.architecture, observation.parameters
    labels = forward(network, parameters, truth.points) - truth.coefficients
    sent = with_dropout(network, parameters, truth.points, labels, 0.5, rng=1)
    smaller = surviving(sent, 0.5)
    assert 30 < smaller.architecture.shapes[1][0] < 90
    found = from_random_starts(smaller, 3, noise=0.0, rng=0)
    assert found.status == "consistent-with-noise" and squared_error(found, truth) < 1e-24
    # and its own outputs give the labels
    residuals = forward(smaller.architecture, smaller.parameters, found.points) - found.coefficients
    assert sorted(abs(residuals[:, 0])) == pytest.approx([1.0] * 3, rel=1e-9)


def test_aggregated_clients_are_one_batch():
    observation, truth = problem(8, 4, 200, 6, outer=1.0)
    network, parameters = observation.architecture, observation.parameters
    labels = forward(network, parameters, truth.points) - truth.coefficients
    clients = [
        Observation.from_data(network, parameters, truth.points[part], labels[part])
        for part in (slice(0, 1), slice(1, 4))
    ]
    found = from_random_starts(aggregated(clients), 4, noise=0.0, rng=0)
    assert found.status == "consistent-with-noise" and squared_error(found, truth) < 1e-24


def test_a_wrong_number_of_samples_or_noise_is_rejected():
    observation, _ = problem(8, 3, 500, 7, outer=1.0)
    seen = with_gaussian_noise(observation, 0.01, rng=0)
    few = from_random_starts(seen, 2, noise=0.01, starts=4, rng=0)
    assert few.status == "rejected" and "χ²" in few.reason
    assert from_random_starts(seen, 3, noise=0.005, starts=2, rng=0).status == "rejected"
    generous = from_random_starts(seen, 3, noise=0.05, rng=0)
    assert generous.status == "consistent-with-noise" and "smaller than stated" in generous.reason
    exact = from_random_starts(observation, 2, noise=0.0, starts=2, rng=0)
    assert exact.status == "rejected" and "residual" in exact.reason


def test_open_directions_are_said():
    observation, truth = problem(4, 2, 200, 8, activation=ReLU(), outer=1.0)
    seen = with_gaussian_noise(observation, 1e-3, rng=0)
    # scaled, so in the same cell of ReLU; from another cell the method does not find back
    start = truth.points * np.array([[1.1], [0.9]]) + 1e-6
    free = maximum_likelihood(seen, start, truth.coefficients, noise=1e-3)
    assert free.status == "not-identified" and "2 directions" in free.reason
    assert np.isinf(free.standard_errors).all()
    sphere = dataclasses.replace(seen, unit_norm=True)
    fixed = maximum_likelihood(sphere, start, truth.coefficients, noise=1e-3)
    assert fixed.status == "consistent-with-noise" and np.isfinite(fixed.standard_errors).all()


def test_deeper_networks_are_refined_too():
    rng = np.random.default_rng(9)
    network = Architecture(
        "deep", (1, 2, 2), (Flatten(), Linear(20), Softplus(), Linear(10), Tanh(), Linear(3)), "cross_entropy"
    )
    parameters = Parameters.random(network, rng=rng)
    points, labels = rng.standard_normal((2, 1, 2, 2)), np.array([0, 2])
    observation = Observation.from_data(network, parameters, points, labels)
    residuals = forward(network, parameters, points)
    exact = np.exp(residuals) / np.exp(residuals).sum(axis=1, keepdims=True) - np.eye(3)[labels]
    noisy = with_gaussian_noise(observation, 1e-4, rng=1)
    found = maximum_likelihood(noisy, points + 0.05, exact, noise=1e-4)
    assert found.status == "consistent-with-noise" and found.points.shape == points.shape
    bound = batch_cramer_rao(network, parameters, Measure(points, exact), 1e-4)
    # one draw: the squared error is a sum of 8 squares, above nine times its mean with probability below 1e-6
    assert (
        np.linalg.norm((found.points - points).reshape(2, -1), axis=1) <= 3 * bound.sample_lower_bounds + 1e-7
    ).all()


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16))
def test_observations_in_a_span_are_those_of_a_smaller_network(seed):
    rng = np.random.default_rng(seed)
    network = Architecture("flat", (1, 2, 4), (Flatten(), Linear(12), Tanh(), Linear(2)), "squared")
    parameters = Parameters.random(network, rng=rng)
    points = rng.standard_normal((2, 1, 2, 4))
    observation = Observation.from_data(network, parameters, points, rng.standard_normal((2, 2)))
    basis = leading_span(observation, 2, 0.0)
    assert basis is not None
    inside = points.reshape(2, 8) @ basis
    gradient = np.linalg.svd(observation.vector["1/weight"], compute_uv=False)
    kappa = gradient[0] / gradient[1]
    assert np.linalg.norm(inside @ basis.T - points.reshape(2, 8)) <= 30 * 12 * EPSILON * kappa * np.linalg.norm(points)
    smaller = in_span(observation, basis)
    labels = forward(network, parameters, points) - np.ones((2, 2))
    same = Observation.from_data(network, parameters, points, labels)
    image = Observation.from_data(smaller.architecture, smaller.parameters, inside, labels)
    for key, piece in in_span(same, basis).vector.items():
        scale = np.linalg.norm(piece) + np.linalg.norm(parameters["1/weight"]) * np.linalg.norm(points)
        assert np.linalg.norm(piece - image.vector[key]) <= 30 * 12 * 10 * EPSILON * kappa * scale


def test_a_span_below_the_noise_is_not_used():
    observation, _ = problem(20, 3, 300, 0)
    assert leading_span(observation, 3, 0.0) is not None
    assert leading_span(with_gaussian_noise(observation, 1.0, rng=0), 3, 1.0) is None
    assert leading_span(only_outer(observation), 3, 0.0) is None
    assert leading_span(observation, 20, 0.0) is None
    assert leading_span(observation, 4, 0.0) is None  # rank 3


def test_misfits_are_refused():
    observation, truth = problem(4, 2, 30, 0)
    start = truth.points, truth.coefficients
    for noise in (-1.0, math.nan, math.inf, True, "loud"):
        with pytest.raises(InputError, match="noise: found"):
            maximum_likelihood(observation, *start, noise=noise)
        with pytest.raises(InputError, match="noise: found"):
            from_random_starts(observation, 2, noise=noise)
    with pytest.raises(InputError, match=r"points: found shape \(2, 3\); \(n, 4\) with n > 0"):
        maximum_likelihood(observation, truth.points[:, :3], truth.coefficients, noise=1.0)
    with pytest.raises(InputError, match="coefficients: found shape"):
        maximum_likelihood(observation, truth.points, np.ones((2, 2)), noise=1.0)
    with pytest.raises(InputError, match="mask/9/weight: no such piece"):
        maximum_likelihood(observation, *start, noise=1.0, mask={"9/weight": np.ones(1, dtype=bool)})
    with pytest.raises(InputError, match="mask/2/weight: has shape"):
        maximum_likelihood(observation, *start, noise=1.0, mask={OUTER: np.ones(3, dtype=bool)})
    for name in ("samples", "starts"):
        with pytest.raises(InputError, match=f"{name}: found '0'"):
            from_random_starts(observation, **({"samples": 2, "noise": 1.0} | {name: 0}))


def test_degenerate_gradients_end_without_a_claim():
    observation, truth = problem(4, 2, 30, 0)
    zero = dataclasses.replace(observation, vector={key: np.zeros(p.shape) for key, p in observation.vector.items()})
    found = from_random_starts(zero, 2, noise=0.0, starts=2, rng=0)
    assert found.status != "consistent-with-noise"
    huge = {key: 1e200 * piece for key, piece in observation.vector.items()}
    with pytest.raises(UnsupportedError, match="vector: holds numbers whose squares are too large"):
        from_random_starts(dataclasses.replace(observation, vector=huge), 2, noise=0.0)
    far = maximum_likelihood(observation, 1e200 * truth.points, 1e200 * truth.coefficients, noise=1.0)
    assert far.status == "rejected"


@pytest.mark.parametrize("noise", [0.0, 1e-3])
def test_samples_that_are_not_there_are_not_invented(noise):
    observation, _ = problem(4, 2, 60, 1, outer=1.0)
    found = from_random_starts(with_gaussian_noise(observation, noise, rng=0), 3, noise=noise, starts=3, rng=0)
    assert found.status != "consistent-with-noise"
    # a sample with a residual far below the noise is as good as none
    network, parameters = observation.architecture, observation.parameters
    points = np.eye(4)[:2]
    labels = forward(network, parameters, points) - np.array([[1.0], [1e-9]])
    faint = with_gaussian_noise(Observation.from_data(network, parameters, points, labels), noise, rng=0)
    found = maximum_likelihood(faint, points, np.array([[1.0], [1e-9]]), noise=noise)
    if noise:
        assert found.status == "not-identified" and "may be zero" in found.reason
    else:
        assert found.status == "consistent-with-noise"


def test_single_precision_is_noise_of_its_own():
    observation, truth = problem(10, 3, 50, 1, outer=1.0)
    single = {key: piece.astype(np.float32).astype(np.float64) for key, piece in observation.vector.items()}
    found = from_random_starts(dataclasses.replace(observation, vector=single), 3, noise=0.0, rng=0)
    assert found.status == "consistent-with-noise"
    assert 1e-10 < found.measure.matching(truth, fibre=FIBRE).point_error < 1e-5
