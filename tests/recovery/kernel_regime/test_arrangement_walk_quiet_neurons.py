"""Neurons that see one point alone give its jump without the rounding of a sum."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.recovery.kernel_regime.arrangement_walk_oracle import SimulatedNetwork
from provable.recovery.kernel_regime.arrangement_walk_quiet_neurons import jumps_from_silence, silent_neuron


def unit(array):
    return array / np.linalg.norm(array, axis=1, keepdims=True)


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 30), st.integers(0, 2**32))
def test_a_silent_neuron_is_silent(count, dimension, seed):
    points = unit(np.random.default_rng(seed).standard_normal((count, dimension)))
    neuron = silent_neuron(points)
    if neuron is not None:
        assert (points @ neuron <= -0.5).all()
    else:
        assert count > dimension  # independent points always lie in a half-space


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(2, 10), st.integers(0, 2**32))
def test_points_in_a_half_space_have_one(count, dimension, seed):
    points = np.random.default_rng(seed).standard_normal((count, dimension))
    points[:, -1] = 0.1 + np.abs(points[:, -1])
    assert silent_neuron(unit(points)) is not None


def test_points_around_the_origin_have_none():
    assert silent_neuron(np.concatenate([np.eye(3), -np.eye(3)])) is None
    assert silent_neuron(np.empty((0, 3))) is None


@pytest.mark.parametrize("seed", range(5))
def test_jumps_are_exact_products(seed):
    rng = np.random.default_rng(seed)
    points = unit(rng.standard_normal((60, 40)))
    coefficients = 10.0 ** rng.uniform(-12, 3, 60)
    neuron = silent_neuron(points)
    assert neuron is not None
    blurred = unit(points + 1e-11 * rng.standard_normal(points.shape))
    heard, jumps = jumps_from_silence(SimulatedNetwork(points, coefficients), blurred, np.arange(60), neuron)
    assert len(heard) > 40
    wanted = points[heard] * coefficients[heard, None]
    assert (np.abs(jumps - wanted) <= EPSILON * np.abs(wanted)).all()


def test_a_neuron_that_is_not_silent_after_all_is_not_used():
    points = unit(np.random.default_rng(0).standard_normal((5, 8)))
    neuron = silent_neuron(points)
    everywhere = SimulatedNetwork(np.concatenate([points, -points[:1]]), np.ones(6))  # one point is unknown
    heard, _ = jumps_from_silence(everywhere, points, np.arange(1, 5), neuron)
    assert len(heard) == 0
