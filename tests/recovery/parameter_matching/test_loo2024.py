"""The attack of Loo et al.: its schedule, its optimiser, and what it says of itself."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import recover
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import embed
from provable.recovery.parameter_matching import loo2024
from provable.recovery.parameter_matching.loo2024 import RELEASED, Settings, SparseAdam, attack, minimised, supports
from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss


def test_sharpness_runs_through_the_released_values():
    for step in (0, 1, 20_000, 40_000, 79_999):
        assert RELEASED.sharpness(step) == min(10 + 10 ** (step / 20_000), 200)
    # it is at its end where 10^(t/20000) = 190
    last = next(step for step in range(80_000) if RELEASED.sharpness(step) == 200)
    assert last == math.ceil(20_000 * math.log10(190))


@given(st.integers(1, 10**5), st.floats(0, 1))
def test_fewer_steps_run_through_the_same_schedule(steps, share):
    settings = Settings(steps=steps)
    step = int(share * steps)
    assert settings.sharpness(step) == pytest.approx(min(10 + 10 ** (4 * step / steps), 200))
    assert 11 <= settings.sharpness(0) <= settings.sharpness(step) <= 200


def test_adam_passes_over_zeros_and_starts_with_the_learning_rate():
    one = SparseAdam(np.zeros(3), 0.5)
    one.step(np.array([2.0, -3.0, 0.0]))
    # the first step has the size of the learning rate, up to 1e-8 over the gradient
    assert np.allclose(one.values, [-0.5, 0.5, 0.0], rtol=1e-7, atol=0)
    one.step(np.array([0.0, 0.0, 4.0]))
    # entries that were passed over do not drift, and the third makes a first step of its own
    assert np.allclose(one.values, [-0.5, 0.5, -0.5], rtol=1e-7, atol=0)


@given(st.lists(st.floats(-5, 5).filter(lambda g: abs(g) > 1e-3), min_size=1, max_size=6))
def test_adam_is_the_published_one_where_no_gradient_vanishes(gradients):
    one, mean, square, value = SparseAdam(np.zeros(1), 0.1), 0.0, 0.0, 0.0
    for count, gradient in enumerate(gradients, 1):
        one.step(np.array([gradient]))
        mean, square = 0.9 * mean + 0.1 * gradient, 0.999 * square + 0.001 * gradient**2
        value -= 0.1 * (mean / (1 - 0.9**count)) / (math.sqrt(square / (1 - 0.999**count)) + 1e-8)
    # 1 - 0.999 loses three digits
    assert one.values[0] == pytest.approx(value, rel=1e-11, abs=1e-14)


@pytest.mark.parametrize("biases", ["absent", "zero", "random"])
@pytest.mark.parametrize("widths", [(200,), (100, 100)])
def test_loss_falls_far_below_that_of_the_start(observed_change, widths, biases):
    rng = np.random.default_rng(2)
    observation, truth = observed_change(rng, count=2, dimension=3, widths=widths, biases=biases)
    found = attack(observation, np.random.default_rng(0), Settings(steps=600))
    assert found.points.shape == (4, 3) and found.coefficients.shape == (4, 1)
    assert found.status == "failed" and "4 candidates for 2 samples" in found.reason
    # softplus has no zero at the truth, so nothing of the size of rounding is to be expected
    assert found.residual < 0.3
    assert truth.size == 2


def test_two_points_in_the_plane_come_back(observed_change):
    observation, _ = observed_change(np.random.default_rng(4), count=2, dimension=2, widths=(400,))
    truth = Measure(np.array([[1.0, 0.0], [-0.6, 0.8]]), np.array([[1.0], [-1.0]]))
    vector = dict(embed(observation.architecture, observation.parameters, truth))
    observation = dataclasses.replace(observation, vector=vector)
    found = attack(observation, np.random.default_rng(0), Settings(steps=1500))
    nearest = np.linalg.norm(truth.points[:, None] - found.points[None], axis=2).min(axis=1)
    # the half-chord of a cell of 400 lines, and the mismatch of softplus; the nearest of four random starts is at about 0.7
    assert np.all(nearest < 0.1)


def test_the_same_seed_gives_the_same_candidates_and_the_network_does_not_change(observed_change):
    observation, _ = observed_change(np.random.default_rng(4), count=2, dimension=2, widths=(5,))
    before = observation.sha256
    short = Settings(steps=100)
    runs = [attack(observation, np.random.default_rng(7), short) for _ in range(2)]
    assert np.array_equal(runs[0].points, runs[1].points)
    assert observation.sha256 == before


@pytest.mark.parametrize("features", ["final", "both"])
def test_other_features_have_coefficients_of_their_own(observed_change, features):
    observation, _ = observed_change(np.random.default_rng(4), count=2, dimension=3, widths=(30,))
    found = attack(observation, np.random.default_rng(0), Settings(steps=20, features=features))
    assert found.coefficients.shape == (4, 1)
    loss = ReconstructionLoss.of(observation, features)
    start, duals = np.ones((4, 3)), np.ones((len(loss.networks), 4, 1))
    assert minimised(loss, start, duals, Settings(steps=1))[1].shape == duals.shape


def test_the_prior_pulls_images_between_their_bounds(observed_change):
    observation, _ = observed_change(np.random.default_rng(4), count=2, dimension=3, widths=(30,))
    found = [
        attack(observation, np.random.default_rng(0), Settings(steps=300, prior=1e6, bounds=bounds)).points
        for bounds in (None, (-0.1, 0.1))
    ]
    assert np.abs(found[0]).max() > 0.3
    # Adam oscillates about a kink by a few learning rates
    assert np.abs(found[1]).max() < 0.2


def test_what_it_needs_is_said(observed_change):
    observation, truth = observed_change(np.random.default_rng(4), count=2, dimension=2, widths=(30,))
    assert supports(observation) is None
    unknown = dataclasses.replace(observation, batch_size=None)
    assert "number of samples" in str(supports(unknown))
    assert supports(dataclasses.replace(unknown, labels=np.array([1.0, -1.0]))) is None
    assert "kind gradient" in str(supports(dataclasses.replace(observation, kind="gradient")))
    with pytest.raises(UnsupportedError, match="method loo2024"):
        attack(unknown, np.random.default_rng(0))
    nothing = {key: 0 * piece for key, piece in observation.vector.items()}
    silent = attack(dataclasses.replace(observation, vector=nothing), np.random.default_rng(0))
    by_name = recover(dataclasses.replace(observation, vector=nothing), method="loo2024")
    assert by_name.method == "loo2024" and by_name.reason == silent.reason
    assert silent.status == "failed" and not len(silent.points) and "did not change" in silent.reason
    assert not loo2024.METHOD.automatic
    assert truth.size == 2


def test_huge_changes_end_in_a_clear_failure(observed_change):
    observation, _ = observed_change(np.random.default_rng(4), count=2, dimension=2, widths=(30,))
    huge = {key: 1e200 * piece for key, piece in observation.vector.items()}
    found = attack(dataclasses.replace(observation, vector=huge), np.random.default_rng(0), Settings(steps=20))
    assert found.status == "failed" and found.reason


@pytest.mark.parametrize(
    "wrong",
    [
        {"steps": 0},
        {"candidates_per_sample": 0.0},
        {"learning_rate": -1.0},
        {"image_scale": math.inf},
        {"last_sharpness": math.nan},
        {"bounds": (1.0, 0.0)},
        {"features": "mine"},
    ],
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError, match=next(iter(wrong))):
        Settings(**wrong)
