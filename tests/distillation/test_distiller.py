"""The distiller: what its results satisfy, options, and the cases with a known answer."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.distillation import best_single_atom, describe, distil, interpolant, single_atom_scores
from provable.distillation.constraints import corrupt, distance_hinge, squared_distances
from provable.distillation.feature_pool import FeatureKernel, FeaturePool
from provable.errors import InputError
from provable.kernels import ntk
from provable.theorems.strategies import seeds

KERNEL = ntk(1, "relu", bias_variance=1.0)


def target(seed=0, count=8, dimension=3, outputs=0):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, dimension))
    labels = np.where(rng.random((count, outputs) if outputs else count) < 0.5, -1.0, 1.0)
    return interpolant(KERNEL, points, labels)


@settings(max_examples=10)
@given(
    seeds(),
    st.integers(1, 6),
    st.sampled_from((("rkip", "fixed"), ("rkip", "learned"), ("rkip", "free"), ("kip", "fixed"), ("kip", "learned"))),
    st.sampled_from((0, 2)),
    st.sampled_from((None, 0.05)),
)
def test_the_loss_falls_and_the_bound_holds(seed, count, names, outputs, rate):
    loss, labels = names
    h = target(seed, outputs=outputs)
    options = {"loss": loss, "labels": labels, "start": "noise", "rng": seed, "learning_rate": rate}
    before = distil(h, count, iterations=0, **options)
    after = distil(h, count, iterations=25, **options)
    assert after.points.shape == (count, 3) and after.labels.shape == (count, *h.values.shape[1:])
    if rate is None:  # Adam may rise
        assert getattr(after, loss) <= getattr(before, loss) * (1 + 1e-9)
    for found in (before, after):
        # the kernel matrix of 8 points and its solve
        slack = 30 * 20 * EPSILON * np.linalg.cond(h.gram) * h.largest_eigenvalue * h.squared_norm
        assert found.kip <= found.bound + slack
        assert found.bound == found.largest_eigenvalue * found.rkip
    if labels == "fixed":
        assert np.array_equal(after.labels, before.labels)
    if labels == "free":
        assert np.array_equal(after.labels, h(after.points))


def test_the_training_set_itself_has_loss_zero_and_stays():
    h = target()
    whole = describe(h, h.points, h.values, ridge=0.0)
    assert whole.rkip == 0.0
    # half the squared residual of a solve with 8 unknowns
    unit = 8 * EPSILON * np.linalg.cond(h.gram)
    assert whole.kip <= (30 * unit * np.linalg.norm(h.values)) ** 2 / 2
    # deleting one point costs what the result says: the best labels of the others are their own
    for i in (0, 5):
        others = [j for j in range(8) if j != i]
        without = describe(h, h.points[others], h.values[others], ridge=0.0)
        assert abs(without.rkip - whole.deletion_costs[i]) < 30 * unit * h.squared_norm


def test_as_many_points_as_samples_recover_the_samples_nearby():
    h = target(seed=4, count=4)
    rng = np.random.default_rng(0)
    near = h.points + 0.05 * rng.standard_normal(h.points.shape)
    found = distil(h, start=near, labels="free", ridge=0.0, iterations=400)
    assert np.abs(found.points - h.points).max() < 1e-3  # L-BFGS at the cusps of a ReLU kernel stops before rounding


def diagonal(points):
    """k(x, x) of the tangent kernel with one hidden layer, weight variance 2 and bias variance 1, in two dimensions."""
    return 2 * np.sum(points**2, axis=1) + 3


def test_one_point_is_the_best_atom_on_a_grid():
    """M = 1: the largest h(x)²/k(x, x), over the plane by brute force."""
    rng = np.random.default_rng(2)
    h = interpolant(KERNEL, rng.standard_normal((4, 2)), np.array([1.0, -1.0, 1.0, 1.0]))
    axis = np.linspace(-4, 4, 161)
    grid = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)
    scores = h(grid) ** 2 / diagonal(grid)
    # |h(x)| <= largest·√k(x, x), and a sum of 4 kernel values of two layers is known to 8 roundings of that
    largest = np.sum(np.abs(h.coefficients) * np.sqrt(diagonal(h.points)))
    unit = 8 * EPSILON
    assert np.abs(single_atom_scores(h, grid[::100]) - scores[::100]).max() < 30 * unit * largest**2
    best = best_single_atom(h, starts=4)
    assert best.score >= scores.max() - 30 * unit * largest**2
    x = best.point
    root = np.sqrt(KERNEL(x[None])[0, 0])
    assert abs(best.coefficient - h(x[None])[0] / root**2) < 30 * unit * largest / root
    # the distance itself, from the two measures
    atoms = np.vstack([h.points, x])
    c = np.append(h.coefficients, -best.coefficient)
    assert abs(best.distance - c @ KERNEL(atoms) @ c) < 30 * unit * np.abs(c) @ np.abs(KERNEL(atoms)) @ np.abs(c)
    assert best.score >= single_atom_scores(h, h.points).max()
    with pytest.raises(InputError, match="starts"):
        best_single_atom(h, starts=0)
    with pytest.raises(InputError, match="zero at its points"):
        best_single_atom(interpolant(KERNEL, h.points, np.zeros(4)))


def test_a_multiple_of_one_section_is_its_own_best_atom():
    h = interpolant(KERNEL, np.array([[1.0, 2.0]]), np.array([-3.0]))
    best = best_single_atom(h, iterations=20)
    assert np.array_equal(best.point, [1.0, 2.0])  # the search starts there too, at a cusp of the score
    assert abs(best.score - h.squared_norm) <= 30 * 8 * EPSILON * h.squared_norm


def test_frozen_pixels_stay_and_bounds_hold():
    h = target()
    for rate in (None, 0.1):
        found = distil(h, 4, corrupted=0.34, bounds=(-0.5, 0.5), iterations=20, learning_rate=rate, rng=3)
        same = distil(h, 4, corrupted=0.34, bounds=(-0.5, 0.5), iterations=0, rng=3)
        assert found.frozen.sum(axis=1).tolist() == [1, 1, 1, 1]
        assert np.array_equal(found.points[found.frozen], same.points[found.frozen])
        assert np.abs(found.points[~found.frozen]).max() <= 0.5
        assert not np.array_equal(found.points, same.points)
    all_noise = distil(h, 4, corrupted=1.0, iterations=5, rng=99)
    assert all_noise.frozen.all() and all_noise.evaluations == 0
    assert not np.isin(all_noise.points, h.points).any()


def test_the_distance_is_kept():
    h = target()
    free = distil(h, 4, labels="free", iterations=60, rng=1)
    kept = distil(h, 4, labels="free", iterations=300, distance=0.5, rng=1)
    nearest = squared_distances(kept.points, h.points).min(axis=1)
    assert squared_distances(free.points, h.points).min() < 0.1
    # a penalty, not a constraint: missing by m costs 50/4·m², gained slope is below the norm of h
    assert nearest.min() > 0.4
    assert kept.rkip > free.rkip


@given(seeds(), st.sampled_from((0.1, 1.0, 10.0)))
def test_the_hinge_has_the_stated_value_and_gradient(seed, distance):
    rng = np.random.default_rng(seed)
    x, t = rng.standard_normal((3, 2)), rng.standard_normal((4, 2))
    value, gradient = distance_hinge(x, t, distance)
    nearest = np.array([min(float(np.sum((a - b) ** 2)) for b in t) for a in x])
    expected = 50 * np.mean((distance - np.minimum(nearest, distance)) ** 2)
    # squared distances below the hinge are at most `distance`, and their differences from it are squared
    assert abs(value - expected) < 30 * 4 * EPSILON * 50 * distance**2
    direction = rng.standard_normal((3, 2))
    step = 1e-6
    difference = (
        distance_hinge(x + step * direction, t, distance)[0] - distance_hinge(x - step * direction, t, distance)[0]
    ) / (2 * step)
    # the hinge is once continuously differentiable away from ties of the nearest point: error step·second derivative
    assert abs(difference - np.sum(gradient * direction)) < 1e-4 * (1 + abs(value)) * (1 + distance)
    with pytest.raises(InputError, match="distance"):
        distance_hinge(x, t, 0.0)


@given(seeds(), st.integers(1, 3))
def test_feature_kernel_and_its_gradient(seed, outputs):
    rng = np.random.default_rng(seed)
    kernel = FeatureKernel(rng.standard_normal((6, 3)), rng.standard_normal(6))
    x, z, w = rng.standard_normal((2, 3)), rng.standard_normal((4, 3)), rng.standard_normal((2, 4))
    loops = [[sum(max(a @ p + b, 0) * max(a @ q + b, 0) for a, b in zip(kernel.weight, kernel.bias, strict=True))
              for q in z] for p in x]  # fmt: skip
    # sums over 6 units of products of sums over 3 coordinates
    left, right = (np.abs(points) @ np.abs(kernel.weight.T) + np.abs(kernel.bias) for points in (x, z))
    assert np.all(np.abs(kernel(x, z) - loops) <= 30 * (6 + 2 * 4) * EPSILON * (left @ right.T))
    direction, step = rng.standard_normal((2, 3)), 2.0**-30
    change = (np.sum(w * kernel(x + step * direction, z)) - np.sum(w * kernel(x - step * direction, z))) / (2 * step)
    # piecewise linear in x: the difference quotient is exact up to rounding, 2⁻⁵²/2⁻³⁰, unless a kink lies within a step
    size = np.linalg.norm(w) * np.linalg.norm(z) * np.linalg.norm(kernel.weight) ** 2 * np.linalg.norm(direction) * 10
    if np.abs(x @ kernel.weight.T + kernel.bias).min() > 10 * step:
        assert abs(change - np.sum(kernel.gradient(x, z, w) * direction)) < 30 * 2.0**-22 * size


def test_the_pool_trains_and_renews_its_networks():
    rng = np.random.default_rng(0)
    pool = FeaturePool(3, 1, 32, 2, 40, 1.0, rng)
    x, y = rng.standard_normal((4, 3)), np.array([[1.0], [-1.0], [1.0], [-1.0]])
    pool.ages[0] = 0

    def error():
        kernel = pool.kernel(0)
        return float(np.sum((kernel.features(x) @ pool.networks[0][2].T - y) ** 2))

    errors = [error()]
    for _ in range(40):
        pool.train(0, x, y)
        errors.append(error())
    assert all(later <= earlier for earlier, later in itertools.pairwise(errors))
    assert errors[-1] < 0.5 * errors[0]
    old = pool.networks[0][0]
    pool.train(0, x, y)
    assert pool.ages[0] == 0 and not np.array_equal(pool.networks[0][0], old)
    assert pool.draw() in (0, 1)
    with pytest.raises(InputError, match="width"):
        FeaturePool(3, 1, 0, 2, 40, 1.0, rng)


def test_frepo_lowers_the_error_of_features_it_has_not_seen():
    h = target(count=12)
    before = distil(h, 3, start="noise", loss="frepo", labels="learned", iterations=0, rng=0)
    after = distil(h, 3, start="noise", loss="frepo", labels="learned", iterations=300, rng=0)
    rng = np.random.default_rng(9)
    errors = []
    for found in (before, after):
        total = 0.0
        for _ in range(5):
            kernel = FeatureKernel(rng.standard_normal((512, 3)), np.zeros(512))
            fit = interpolant(kernel, found.points, found.labels, ridge=1e-6)
            total += float(np.sum((fit(h.points) - h.values) ** 2))
        errors.append(total)
    assert errors[1] < errors[0]


def test_results_repeat_with_the_seed_and_say_what_they_are():
    h = target()
    first, second = (distil(h, 3, iterations=5, rng=7) for _ in range(2))
    assert np.array_equal(first.points, second.points)
    document = json.loads(first.to_json())
    assert document["points"] == 3 and document["kip"] <= document["bound"]
    # labels of both classes in a set of two, which is drawn class by class
    assert sorted(distil(h, 2, iterations=0, rng=0).labels.tolist()) == [-1.0, 1.0]
    assert len(distil(h, 20, start="noise", iterations=0, rng=0).points) == 20


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"count": 0}, "count"),
        ({"count": None}, "count"),
        ({"count": 9}, "start='noise'"),
        ({"count": 2, "start": np.ones((3, 3))}, "count"),
        ({"start": np.ones((3, 2))}, "start"),
        ({"count": 2, "start": "ones"}, "start"),
        ({"count": 2, "start_labels": np.ones(3)}, "start_labels"),
        ({"count": 2, "loss": "kip", "labels": "free"}, "labels"),
        ({"count": 2, "loss": "mmd"}, "loss"),
        ({"count": 2, "corrupted": 1.5}, "corrupted"),
        ({"count": 2, "distance": -1.0}, "distance"),
        ({"count": 2, "loss": "frepo", "distance": -1.0}, "distance"),
        ({"count": 2, "iterations": -1}, "iterations"),
        ({"count": 2, "bounds": (1.0, 0.0)}, "bounds"),
        ({"count": 2, "learning_rate": 0.0}, "learning_rate"),
        ({"start": np.ones((2, 3)), "ridge": 0.0}, "coincide"),
    ],
)
def test_bad_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        distil(target(), **{"iterations": 1} | options)


def test_a_target_with_a_ridge_is_refused():
    h = target()
    with pytest.raises(InputError, match="ridge"):
        distil(interpolant(KERNEL, h.points, h.values, ridge=1e-3), 2)


def test_corruption_counts_coordinates():
    points, frozen = corrupt(np.zeros((5, 10)), 0.3, rng=0)
    assert frozen.sum(axis=1).tolist() == [3] * 5
    assert np.array_equal(points != 0, frozen)
