"""Samples found without kinks are called determined only where others on kinks are excluded."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from provable.max_margin import maximise_margin
from provable.observations import Observation
from provable.recovery import recover
from provable.recovery.stationary_point.samples_on_kinks import excludes_samples_on_kinks, with_doubt_of_kinks


def observed(points, labels, *, bias):
    net = maximise_margin(points, np.array(labels), bias=bias, rng=0)
    return Observation("stationary-point", net.architecture, net.parameters, batch_size=len(points))


@pytest.mark.parametrize("bias", [True, False])
def test_one_sample_is_the_only_one_of_its_margin(bias):
    points = np.array([[0.6, -1.1, 0.4]])
    observation = observed(points, [1.0], bias=bias)
    result = recover(observation, method="activation-patterns", rng=0)
    assert result.status == "certified" and excludes_samples_on_kinks(observation, result)
    doubted = dataclasses.replace(result, method="some", reason="")
    assert with_doubt_of_kinks(observation, doubted) is doubted


def test_two_samples_of_which_one_is_on_a_kink_are_not_what_is_certified():
    # the search without kinks finds two other samples, each seen by one neuron
    found = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        points = rng.standard_normal((2, 3))
        observation = observed(points, [1.0, -1.0], bias=False)
        result = recover(observation, rng=0)
        if result.status not in ("certified", "consistent"):
            continue
        rays = [each / np.linalg.norm(each, axis=1, keepdims=True) for each in (result.points, points)]
        error = np.max(np.min(np.linalg.norm(rays[0][:, None] - rays[1][None], axis=2), axis=0))
        found.append(error > 1e-6)
        assert error < 1e-6 or result.undetermined
    assert any(found)


def test_smooth_networks_and_gradients_are_left_alone():
    observation = observed(np.array([[0.6, -1.1], [-0.5, 0.2]]), [1.0, -1.0], bias=False)
    result = recover(observation, rng=0)
    plain = dataclasses.replace(result, method="some", reason="")
    assert with_doubt_of_kinks(observation, dataclasses.replace(plain, status="failed", reason="no")).reason == "no"
    gradient = Observation("gradient", observation.architecture, observation.parameters, dict(observation.vector))
    assert with_doubt_of_kinks(gradient, plain) is plain
