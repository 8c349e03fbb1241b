"""Crossings that were taken for one are noticed by the closing test, and mended on another circle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.measures import Measure
from provable.recovery.kernel_regime import arrangement_walk
from provable.recovery.kernel_regime.arrangement_walk_circle import walk_half_circle
from provable.recovery.kernel_regime.arrangement_walk_closing import (
    Axes,
    axes_of,
    closing_test,
    completed,
    mended,
    neurons_on_hyperplanes,
)
from provable.recovery.kernel_regime.arrangement_walk_oracle import QueriedOracle, probe, simulated_network


def coincident(count, dimension, pairs, seed):
    """Unit vectors with strengths, and a plane in which the first `pairs` pairs of hyperplanes are crossed at one angle."""
    rng = np.random.default_rng(seed)
    plane = np.linalg.qr(rng.standard_normal((dimension, 2)))[0].T
    points = rng.standard_normal((count, dimension))
    for k in range(pairs):
        first, second = points[2 * k], points[2 * k + 1]
        normal = plane @ first  # the crossing is orthogonal to this; give the second point the same
        points[2 * k + 1] = second + (rng.choice([-1.0, 1.0]) * normal * rng.uniform(0.5, 2) - plane @ second) @ plane
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return Measure(points, rng.choice([-1.0, 1.0], count) * rng.uniform(0.3, 2.0, count)), plane


def close_to(found, truth):
    """Errors up to orientation below 100 ε: differences of sums of about ten vectors of norm at most 2."""
    largest = [np.abs(measure.points).argmax(axis=1) for measure in (found, truth)]
    oriented = [
        Measure(m.points * np.sign(m.points[np.arange(m.size), k])[:, None], m.coefficients)
        for m, k in zip((found, truth), largest, strict=True)
    ]
    return oriented[0].matching(oriented[1]).error <= 100 * EPSILON


@settings(max_examples=20)
@example(0, 3, 1, 3)  # what is found spans less than what there is
@given(st.integers(0, 6), st.integers(3, 8), st.integers(1, 2), st.integers(0, 2**32))
def test_merged_crossings_are_noticed_and_mended(extra, dimension, pairs, seed):
    truth, plane = coincident(2 * pairs + extra, dimension, pairs, seed)
    rng = np.random.default_rng(seed)
    oracle = QueriedOracle(simulated_network(truth), dimension)
    known = probe(oracle, rng)
    options = {"rounding": known.rounding, "most": 10**5}
    crossings = walk_half_circle(oracle, plane, tolerance=known.tolerance, **options)
    model = completed(*axes_of(crossings), known.total)
    # the map of the model adds up its own points, in another order than the oracle
    tolerance = 16 * known.tolerance

    for _ in range(pairs + 1):
        neurons = neurons_on_hyperplanes(model, known.rounding, rng)
        residual, worst = closing_test(model, known, neurons, oracle(neurons))
        if residual <= tolerance:
            break
        assert residual > 1e6 * tolerance
        other = np.linalg.qr(np.stack([worst, rng.standard_normal(dimension)], axis=1))[0].T
        left = walk_half_circle(lambda w, model=model: oracle(w) - model(w), other, tolerance=tolerance, **options)
        model = mended(model, left, known.total, rounding=known.rounding, tolerance=tolerance)
    assert residual <= tolerance
    assert close_to(Measure(model.directions, model.coefficients), truth)


@settings(max_examples=20)
@given(st.integers(3, 8), st.floats(1e-7, 1e-1), st.sampled_from([1.5, -1.5, -0.3]), st.integers(0, 2**32))
def test_nearly_parallel_merged_hyperplanes_are_noticed_beside_the_one_they_were_taken_for(
    dimension, angle, strength, seed
):
    rng = np.random.default_rng(seed)
    first, across = np.linalg.qr(rng.standard_normal((dimension, 2)))[0].T
    second = np.cos(angle) * first + np.sin(angle) * across
    others = rng.standard_normal((4, dimension))
    truth = Measure(np.concatenate([[first, second], others]), np.array([1.0, strength, 1.0, -1.0, 2.0, 0.5]))
    oracle = QueriedOracle(simulated_network(truth), dimension)
    known = probe(oracle, rng)
    merged = first + strength * second
    norms = np.linalg.norm(others, axis=1)
    wrong = completed(
        np.concatenate([[np.sign(1.0 + strength) * merged / np.linalg.norm(merged)], others / norms[:, None]]),
        np.concatenate([[np.sign(1.0 + strength) * np.linalg.norm(merged)], truth.coefficients[2:] * norms]),
        known.total,
    )
    neurons = neurons_on_hyperplanes(wrong, known.rounding, rng)
    assert closing_test(wrong, known, neurons, oracle(neurons))[0] > 0.1


def test_every_hyperplane_lies_beside_a_neuron():
    rng = np.random.default_rng(0)
    units = rng.standard_normal((100, 9))
    units /= np.linalg.norm(units, axis=1, keepdims=True)
    neurons = neurons_on_hyperplanes(Axes(units, np.ones(100), np.zeros(9)), 1e-15, rng)
    assert len(neurons) == 34  # 2 ceil(100 / 6)
    distances = np.abs(units @ neurons.T) / np.linalg.norm(neurons, axis=1)
    assert (distances.min(axis=1) < 1e-8).all()
    beside = (units @ neurons.T)[distances < 1e-8].reshape(100, 2)
    assert (beside.min(axis=1) < 0).all() and (beside.max(axis=1) > 0).all()


@pytest.mark.parametrize("seed", range(5))
def test_the_walk_goes_on_until_the_test_passes(monkeypatch, seed):
    truth, plane = coincident(9, 6, 2, seed)
    planes = [plane]
    generic = arrangement_walk._plane
    monkeypatch.setattr(arrangement_walk, "_plane", lambda *arguments: planes.pop() if planes else generic(*arguments))
    walk = arrangement_walk.walk_arrangement(simulated_network(truth), 6)
    assert walk.measure.size == 9 and close_to(walk.measure, truth)
    assert walk.closing_residual <= walk.closing_tolerance


def test_coinciding_crossings_need_a_second_circle(monkeypatch):
    # exactly representable: both hyperplanes contain w(π/2) = (0, 1, 0), and only there does the circle cross them
    points = np.array([[1.0, 0.0, 1.0], [1.0, 0.0, -2.0], [0.0, 1.0, 0.5]])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    truth = Measure(points, np.array([1.0, 2.0, 0.5]))
    planes = [np.eye(3)[:2]]
    generic = arrangement_walk._plane
    monkeypatch.setattr(arrangement_walk, "_plane", lambda *arguments: planes.pop() if planes else generic(*arguments))
    walk = arrangement_walk.walk_arrangement(simulated_network(truth), 3)
    assert walk.circles == 2
    assert close_to(walk.measure, truth)


def test_every_circle_finds_the_same_jumps():
    rng = np.random.default_rng(1)
    truth = Measure(rng.standard_normal((30, 5)), rng.standard_normal(30))
    oracle = QueriedOracle(simulated_network(truth), 5)
    known = probe(oracle, rng)
    sizes = []
    for _ in range(3):
        plane = np.linalg.qr(rng.standard_normal((5, 2)))[0].T
        crossings = walk_half_circle(oracle, plane, rounding=known.rounding, tolerance=known.tolerance, most=10**4)
        assert (np.diff(crossings.angles) > 0).all() and crossings.angles[0] >= 0 and crossings.angles[-1] < np.pi
        expected = np.sort(np.mod(np.arctan2(-truth.points @ plane[0], truth.points @ plane[1]), np.pi))
        assert (np.abs(crossings.angles - expected) <= crossings.windows + 4 * EPSILON).all()
        sizes.append(np.sort(crossings.signs * np.linalg.norm(crossings.jumps, axis=1)))
    wanted = np.sort(truth.coefficients * np.linalg.norm(truth.points, axis=1))
    for found in sizes:
        assert np.abs(found - wanted).max() <= 100 * EPSILON * np.abs(wanted).sum()


@pytest.mark.parametrize("seed", range(30))
def test_clusters_closer_than_cosines_tell_invent_no_points(seed):
    # Mending has to find the axis that a jump belongs to among many at distances of which the cosine knows nothing.
    rng = np.random.default_rng(seed)
    dimension = int(rng.choice([3, 5, 30]))
    cluster = rng.standard_normal(dimension) + 10.0 ** rng.uniform(-11, -9) * rng.standard_normal((30, dimension))
    points = np.concatenate([cluster, rng.standard_normal((10, dimension))])
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    coefficients = rng.choice([-1.0, 1.0], 40) * rng.uniform(0.2, 2.0, 40)
    try:
        found = arrangement_walk.walk_arrangement(
            simulated_network(Measure(points, coefficients)), dimension, rng=seed
        ).measure
    except InputError:
        return  # that no explanation was found is an honest answer
    distances = np.minimum(
        np.linalg.norm(found.points[:, None] - points, axis=2), np.linalg.norm(found.points[:, None] + points, axis=2)
    )
    assert found.size <= 40
    assert distances.min(axis=1).max() <= 1e-10
    assert distances.min(axis=0).max() <= 1e-10
