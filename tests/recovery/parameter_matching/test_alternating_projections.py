"""Alternating projections: every sample of a random network comes back, at rounding, or the answer says why not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, ReLU
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.batch.column_space import ColumnSpace
from provable.recovery.parameter_matching import alternating_projections
from provable.recovery.parameter_matching.alternating_projections import resting_patterns, supports

EPSILON = 2.0**-52


def distances(found, truth):
    return found.measure.matching(truth, fibre=found.fibre).errors


@pytest.mark.parametrize("biases", ["random", "zero", "absent"])
@pytest.mark.parametrize("count", [1, 5, 12])
def test_every_sample_comes_back(observed_change, biases, count):
    observation, truth = observed_change(
        np.random.default_rng(count), count=count, dimension=12, widths=(400,), biases=biases
    )
    if biases == "absent":  # norms are open, and with them the coefficients of a later bias; there is none here
        assert observation.architecture.layers[-1] == Linear(1, False)
    found = alternating_projections.recover(observation, np.random.default_rng(0))
    assert found.status == "consistent" and len(found.points) == count
    assert ("positive-scaling" in found.fibre) == (biases == "absent")
    # a least-squares problem with twelve columns whose condition is in the tens
    assert distances(found, truth).max() <= 30 * 400 * 100 * EPSILON


@given(seed=st.integers(0, 10**6), count=st.integers(1, 6), slope=st.sampled_from([0.0, 0.1, 0.5, -0.25]))
@settings(max_examples=15)
def test_gradients_of_leaky_networks_too(seed, count, slope):
    rng = np.random.default_rng(seed)
    layers = (Linear(200, True), LeakyReLU(slope) if slope else ReLU(), Linear(1, True))
    architecture = Architecture("leaky", (6,), layers, "squared")
    values = {key: rng.standard_normal(shape) for key, shape in architecture.parameter_shapes.items()}
    points, labels = rng.standard_normal((count, 6)), 100 * rng.standard_normal(count)
    observation = Observation.from_data(architecture, Parameters(architecture, values), points, labels[:, None])
    found = alternating_projections.recover(observation, np.random.default_rng(seed))
    assert found.status == "consistent"
    assert distances(found, Measure(points, np.ones((count, 1)))).max(initial=0.0) <= 30 * 200 * 100 * EPSILON


def test_more_samples_than_are_enumerated(observed_change):
    observation, truth = observed_change(np.random.default_rng(0), count=50, dimension=60, widths=(1500,))
    found = alternating_projections.recover(observation, np.random.default_rng(0))
    assert found.status == "consistent"
    # fifty columns of zeros and ones, condition in the hundreds
    assert distances(found, truth).max() <= 30 * 1500 * 1000 * EPSILON


def test_patterns_found_are_in_the_space_and_among_them_those_of_the_samples(observed_change):
    observation, truth = observed_change(np.random.default_rng(1), count=5, dimension=8, widths=(200,))
    gradient = np.column_stack([observation.vector["0/weight"], observation.vector["0/bias"]])
    weight = np.column_stack([observation.parameters["0/weight"], observation.parameters["0/bias"]])
    space, outer = ColumnSpace.of(gradient), observation.parameters["2/weight"][0]
    found = resting_patterns(space, weight, outer, 0.0, np.random.default_rng(0))
    augmented = np.column_stack([truth.points, np.ones(5)])
    patterns = {row.tobytes() for row in found.large[:, found.decided]}
    for row in augmented @ weight[found.decided].T > 0:
        assert row.tobytes() in patterns
    for row in found.large:
        vector = np.where(found.decided, outer * row, 0.0)
        outside = vector - space.basis @ (space.basis.T @ vector)
        # rows with small output weights are looked at by their quotient; the projection itself is exact to rounding
        assert np.linalg.norm(outside[found.decided]) <= 1e-9 * np.linalg.norm(vector)


def test_one_network_and_its_units_in_another_order_give_the_same_samples(observed_change):
    observation, truth = observed_change(np.random.default_rng(3), count=4, dimension=6, widths=(150,))
    order = np.random.default_rng(0).permutation(150)

    def shuffled(pieces):
        moved = dict(pieces)
        for key in ("0/weight", "0/bias"):
            moved[key] = pieces[key][order]
        moved["2/weight"] = pieces["2/weight"][:, order]
        return moved

    other = dataclasses.replace(
        observation,
        parameters=Parameters(observation.architecture, shuffled(observation.parameters)),
        vector=shuffled(observation.vector),
    )
    for one in (observation, other):
        found = alternating_projections.recover(one, np.random.default_rng(0))
        assert found.status == "consistent" and distances(found, truth).max() <= 30 * 150 * 100 * EPSILON


def test_failures_say_why(observed_change):
    observation, _ = observed_change(np.random.default_rng(3), count=9, dimension=4, widths=(60,))
    assert "more than their 4 coordinates" in str(supports(observation))
    with pytest.raises(UnsupportedError, match="alternating-projections"):
        alternating_projections.recover(observation, np.random.default_rng(0))
    # the number of samples unknown: the search is made, and finds no nine patterns in five dimensions
    unknown = dataclasses.replace(observation, batch_size=None)
    assert supports(unknown) is None
    found = alternating_projections.recover(unknown, np.random.default_rng(0))
    assert found.status == "failed" and found.reason
    nothing = {key: 0 * piece for key, piece in observation.vector.items()}
    silent = alternating_projections.recover(dataclasses.replace(unknown, vector=nothing), np.random.default_rng(0))
    assert silent.status == "failed" and "no sample is visible" in silent.reason


@pytest.mark.parametrize("noise", [1e-6, 1e-2, 1.0])
def test_noise_is_never_called_an_explanation(observed_change, noise):
    rng = np.random.default_rng(5)
    observation, _ = observed_change(rng, count=3, dimension=6, widths=(100,))
    noisy = {key: piece + noise * rng.standard_normal(piece.shape) for key, piece in observation.vector.items()}
    found = alternating_projections.recover(dataclasses.replace(observation, vector=noisy), np.random.default_rng(0))
    assert found.status not in ("certified", "consistent")


def test_coincident_samples_are_one_atom(observed_change):
    observation, truth = observed_change(np.random.default_rng(5), count=3, dimension=6, widths=(100,))
    twice = {key: 2 * piece for key, piece in observation.vector.items()}
    doubled = dataclasses.replace(observation, vector=twice, batch_size=6)
    found = alternating_projections.recover(doubled, np.random.default_rng(0))
    assert len(found.points) == 3 and found.status == "partial" and "6 samples" in found.reason
    assert distances(found, Measure(truth.points, 2 * truth.coefficients)).max() <= 30 * 100 * 100 * EPSILON
