"""Labels give the norms of points that a walk knows as unit vectors, and the orientation of points whose norms are known."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.kernels import ntk
from provable.measures import Measure
from provable.recovery.kernel_regime.arrangement_walk import walk_arrangement
from provable.recovery.kernel_regime.arrangement_walk_labels import (
    norms_from_labels,
    orientation_from_labels,
    trained_function,
)
from provable.recovery.kernel_regime.arrangement_walk_oracle import simulated_network


def trained(points, labels, kernel=None):
    """The measure of an infinitely wide network trained to interpolate, and the condition of its kernel matrix."""
    gram = (kernel or ntk(1, "relu"))(points)
    return Measure(points, np.linalg.solve(gram, labels)), np.linalg.cond(gram)


@settings(max_examples=20)
@given(st.integers(1, 10), st.integers(0, 2**32))
def test_norms_come_back(count, seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, 10)) * rng.uniform(0.5, 3.0, (count, 1))
    labels = rng.choice([-1.0, 1.0], count)
    truth, condition = trained(points, labels)
    walk = walk_arrangement(simulated_network(truth), 10)
    found = norms_from_labels(walk)
    # solving for the coefficients and evaluating h: both lose the condition of the kernel matrix
    assert found.matching(truth).error <= 100 * EPSILON * condition
    order = found.matching(truth).permutation
    own = np.empty(count)
    own[order] = labels
    assert norms_from_labels(walk, own) == found


def test_another_kernel_scales_the_norms():
    rng = np.random.default_rng(0)
    points = np.abs(rng.standard_normal((20, 6)))
    kernel = ntk(1, "relu", weight_variance=0.7)
    truth, condition = trained(points, np.full(20, 3.0), kernel)
    walk = walk_arrangement(simulated_network(truth), 6)
    assert norms_from_labels(walk, 3.0, kernel=kernel).matching(truth).error <= 100 * EPSILON * condition


@pytest.mark.parametrize("seed", range(5))
def test_labels_orient_points_of_norm_one(seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((40, 5))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    truth, condition = trained(points, rng.choice([-1.0, 1.0], 40))
    walk = walk_arrangement(simulated_network(truth), 5)
    assert walk.orientation_is_open
    assert orientation_from_labels(walk).matching(truth).error <= 100 * EPSILON * condition


def test_the_trained_function_does_not_depend_on_the_open_orientation():
    rng = np.random.default_rng(2)
    points = rng.standard_normal((30, 3))
    truth = Measure(points, rng.standard_normal(30))
    walk = walk_arrangement(simulated_network(truth), 3)
    assert walk.orientation_is_open
    there = rng.standard_normal((7, 3))
    expected = ntk(1, "relu")(there, points) @ truth.coefficients
    assert np.abs(trained_function(walk, there) - expected).max() <= 1e-12  # thirty terms of size about 1


def test_refusals():
    rng = np.random.default_rng(2)
    open_walk = walk_arrangement(simulated_network(Measure(rng.standard_normal((30, 3)), np.ones(30))), 3)
    with pytest.raises(InputError, match="walk: found an open orientation"):
        norms_from_labels(open_walk)
    with pytest.raises(InputError, match=r"walk: found \|h\| = .* at axis 0"):
        orientation_from_labels(open_walk)
    truth, _ = trained(np.eye(3), np.array([1.0, -1.0, 1.0]))
    walk = walk_arrangement(simulated_network(truth), 3)
    with pytest.raises(InputError, match=r"labels: found shape \(2,\)"):
        norms_from_labels(walk, np.ones(2))
    with pytest.raises(InputError, match=r"labels: found .* a label of the same sign"):
        norms_from_labels(walk, np.ones(3))
    with pytest.raises(InputError, match=r"labels: found -?0 at point 0"):
        norms_from_labels(walk, 0.0)
