"""The arrangement walk on simulated networks: every point, exactly what is hidden, and what it costs."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import provable
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.measures import Measure
from provable.recovery.kernel_regime.arrangement_walk import infinite_width, walk_arrangement
from provable.recovery.kernel_regime.arrangement_walk_oracle import SimulatedNetwork, simulated_network
from provable.recovery.kernel_regime.arrangement_walk_orientation import _by_linear_program, _in_the_box

seeds = st.integers(0, 2**32)


def drawn(count, dimension, seed, *, bias=None, nonnegative=False):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, dimension))
    if nonnegative:
        points = np.abs(points)
    if bias is not None:
        points[:, -1] = bias
    return Measure(points, rng.choice([-1.0, 1.0], count) * rng.uniform(0.1, 2.0, count))


def on_the_sphere(measure):
    """Unit vectors with coefficients α‖x‖."""
    norms = np.linalg.norm(measure.points, axis=1)
    return Measure(measure.points / norms[:, None], measure.coefficients * norms)


def error_limit(measure, amplification=1.0):
    """30 ε κ with κ the sum of all ‖α_j x_j‖, which bounds what is added up, over the smallest."""
    sizes = np.abs(measure.coefficients) * np.linalg.norm(measure.points, axis=1)
    return 30 * EPSILON * amplification * sizes.sum() / sizes.min()


def up_to_orientation(measure):
    largest = np.abs(measure.points).argmax(axis=1)
    signs = np.sign(measure.points[np.arange(measure.size), largest])
    return Measure(measure.points * signs[:, None], measure.coefficients)


@settings(max_examples=40)
@given(st.integers(0, 40), st.integers(2, 12), seeds)
def test_every_axis_and_coefficient_is_found(count, dimension, seed):
    truth = on_the_sphere(drawn(count, dimension, seed))
    found = infinite_width(simulated_network(truth), dimension)
    assert (
        up_to_orientation(found).matching(up_to_orientation(truth)).error <= error_limit(truth)
        if count
        else not found.size
    )


@settings(max_examples=40)
@given(st.integers(1, 40), st.integers(2, 12), st.sampled_from([1.0, -0.5, 8.0]), seeds)
def test_a_bias_coordinate_determines_everything(count, dimension, bias, seed):
    truth = drawn(count, dimension, seed, bias=bias)
    walk = walk_arrangement(simulated_network(truth), dimension, bias=bias)
    assert walk.orientation == "determined by bias" and not walk.orientation_is_open
    norms = np.linalg.norm(truth.points, axis=1)
    assert walk.measure.matching(truth).error <= error_limit(truth, 1 + norms.max() / abs(bias))
    assert (walk.measure.points[:, -1] == bias).all()


@settings(max_examples=30)
@given(st.integers(1, 12), st.integers(0, 6), seeds)
def test_independent_points_are_oriented(count, extra, seed):
    truth = on_the_sphere(drawn(count, count + extra, seed))
    assume(np.linalg.cond(truth.points) < 1e3)
    walk = walk_arrangement(simulated_network(truth), count + extra)
    assert walk.orientation.startswith("determined by")
    assert walk.measure.matching(truth).error <= error_limit(truth, np.linalg.cond(truth.points))


@pytest.mark.parametrize("count", [31, 45, 55])
@pytest.mark.parametrize("seed", range(4))
def test_fewer_than_two_points_per_dimension_are_oriented_by_the_box(count, seed):
    truth = on_the_sphere(drawn(count, 30, seed))
    walk = walk_arrangement(simulated_network(truth), 30)
    if count == 55 and walk.orientation_is_open:  # close to 2d the box may hold other solutions as well
        return
    assert walk.orientation == "determined by box constraints"
    assert walk.measure.matching(truth).error <= error_limit(truth)


def test_splitting_and_the_linear_program_find_the_same_signs():
    rng = np.random.default_rng(0)
    vectors, signs = rng.standard_normal((50, 32)), rng.choice([-1.0, 1.0], 50)
    assert np.array_equal(_in_the_box(vectors, signs @ vectors, 1e-10), signs)
    assert np.array_equal(_by_linear_program(vectors, signs @ vectors), signs)


@given(st.integers(1, 60), st.integers(1, 6), seeds)
def test_nonnegative_points_are_oriented(count, dimension, seed):
    truth = on_the_sphere(drawn(count if dimension > 1 else 1, dimension, seed, nonnegative=True))
    walk = walk_arrangement(simulated_network(truth), dimension)
    assert not walk.orientation_is_open
    assert walk.measure.matching(truth).error <= error_limit(truth)


@settings(max_examples=20)
@given(st.integers(30, 60), st.integers(2, 4), seeds)
def test_an_open_orientation_is_said_and_completed_by_one_pair(count, dimension, seed):
    truth = on_the_sphere(drawn(count, dimension, seed))
    walk = walk_arrangement(simulated_network(truth), dimension)
    assert walk.orientation_is_open
    assert any(word.startswith("orientation:") for word in walk.fibre)
    completed = walk.completed_measure()
    assert completed.size == walk.measure.size + 2
    neurons = np.random.default_rng(seed).standard_normal((20, dimension))
    difference = simulated_network(completed)(neurons) - simulated_network(truth)(neurons)
    # n sums of n terms whose coefficients have errors of a few ε each, times the norms that they cancel
    assert np.abs(difference).max() <= 30 * count * EPSILON * np.abs(truth.coefficients).sum()


@given(st.integers(1, 8), st.integers(2, 5), seeds)
def test_points_on_one_ray_are_one_atom_with_the_sum(count, dimension, seed):
    rng = np.random.default_rng(seed)
    base = drawn(count, dimension, seed)
    factors = rng.uniform(0.5, 2.0, count)
    strengths = np.sign(base.coefficients) * rng.uniform(0.1, 1.0, count)  # equal signs do not cancel
    both = Measure(
        np.concatenate([base.points, base.points * factors[:, None]]), np.concatenate([base.coefficients, strengths])
    )
    expected = on_the_sphere(Measure(base.points, base.coefficients + strengths * factors))
    found = infinite_width(simulated_network(both), dimension)
    assert up_to_orientation(found).matching(up_to_orientation(expected)).error <= error_limit(expected)


@given(st.integers(1, 5), seeds)
def test_antipodal_pairs_on_independent_axes_are_separated(count, seed):
    base = on_the_sphere(drawn(count, 6, seed))
    assume(np.linalg.cond(base.points) < 100)
    rng = np.random.default_rng(seed)
    opposite = np.sign(base.coefficients) * rng.uniform(0.2, 1.0, count)
    truth = Measure(np.concatenate([base.points, -base.points]), np.concatenate([base.coefficients, opposite]))
    walk = walk_arrangement(simulated_network(truth), 6)
    assert walk.orientation == "determined by linear independence"
    assert walk.measure.matching(truth).error <= error_limit(truth, np.linalg.cond(base.points))


def test_antipodal_pairs_whose_jumps_cancel_leave_a_constant():
    points = np.random.default_rng(0).standard_normal((3, 4))
    truth = Measure(np.concatenate([points, -points]), np.array([1.0, 2.0, 0.5, -1.0, -2.0, -0.5]))
    walk = walk_arrangement(simulated_network(truth), 4)
    assert walk.measure.size == 0 and walk.orientation_is_open
    neurons = np.random.default_rng(1).standard_normal((9, 4))
    expected = simulated_network(truth)(neurons)
    assert np.abs(simulated_network(walk.completed_measure())(neurons) - expected).max() <= 1e-14  # six terms below 4


@given(st.integers(1, 30), st.integers(1, 4), st.integers(0, 8), seeds)
def test_data_in_a_subspace(count, rank, extra, seed):
    rng = np.random.default_rng(seed)
    flat = drawn(count if rank > 1 else 1, rank, seed)
    embedding = np.linalg.qr(rng.standard_normal((rank + extra, rank)))[0]
    truth = on_the_sphere(Measure(flat.points @ embedding.T, flat.coefficients))
    found = infinite_width(simulated_network(truth), rank + extra)
    assert up_to_orientation(found).matching(up_to_orientation(truth)).error <= 2 * error_limit(truth)


@pytest.mark.parametrize("signs", [[1.0], [-1.0, 1.0]])
def test_points_on_a_lattice(signs):
    rng = np.random.default_rng(0)
    points = np.c_[rng.integers(0, 2, (80, 6)), np.ones(80)]
    truth = Measure(points, rng.choice(signs, 80))
    walk = walk_arrangement(simulated_network(truth), 7, bias=1.0)
    merged = truth.merged().without_null_atoms()
    assert merged.size < 64 and walk.measure.matching(merged).error <= error_limit(merged, 4.0)


def test_zero_vectors_and_null_coefficients_are_invisible():
    points = np.concatenate([drawn(4, 5, 0).points, np.zeros((1, 5)), np.ones((1, 5))])
    coefficients = np.array([1.0, -1.0, 0.5, 2.0, 3.0, 0.0])
    walk = walk_arrangement(SimulatedNetwork(points, coefficients), 5)
    assert (
        walk.measure.matching(on_the_sphere(Measure(points[:4], coefficients[:4]))).error <= 1e-13
    )  # 5 unit-sized terms
    assert any("invisible" in word for word in walk.fibre)


@settings(max_examples=40)
@given(st.integers(2, 6), st.floats(1e-12, 1e-2), seeds)
def test_nearly_parallel_points_are_separated(dimension, distance, seed):
    rng = np.random.default_rng(seed)
    first = rng.standard_normal(dimension)
    first /= np.linalg.norm(first)
    second = first + distance * rng.standard_normal(dimension)
    truth = on_the_sphere(Measure(np.stack([first, second]), np.array([1.0, rng.choice([-1.0, 1.0]) * 1.5])))
    walk = walk_arrangement(simulated_network(truth), dimension)
    assert walk.measure.size == 2
    assert up_to_orientation(walk.measure).matching(up_to_orientation(truth)).error <= 100 * EPSILON


@given(st.integers(1, 30), st.integers(2, 6), st.integers(-30, 30), seeds)
def test_scaling_the_oracle_scales_the_coefficients(count, dimension, exponent, seed):
    truth = on_the_sphere(drawn(count, dimension, seed))
    oracle, factor = simulated_network(truth), 2.0**exponent
    plain = infinite_width(oracle, dimension, rng=np.random.default_rng(seed))
    scaled = infinite_width(lambda w: factor * oracle(w), dimension, rng=np.random.default_rng(seed))
    assert np.array_equal(scaled.points, plain.points)
    assert np.array_equal(scaled.coefficients, factor * plain.coefficients)


@given(st.integers(1, 12), st.integers(2, 6), seeds)
def test_rotating_the_data_rotates_the_answer(count, dimension, seed):
    truth = drawn(count, dimension, seed, bias=1.0)
    rotation = np.eye(dimension)
    rotation[:-1, :-1] = np.linalg.qr(np.random.default_rng(seed).standard_normal((dimension - 1, dimension - 1)))[0]
    rotated = Measure(truth.points @ rotation.T, truth.coefficients)
    plain = infinite_width(simulated_network(truth), dimension, bias=1.0)
    other = infinite_width(simulated_network(rotated), dimension, bias=1.0)
    norms = np.linalg.norm(truth.points, axis=1)
    moved = Measure(plain.points @ rotation.T, plain.coefficients)
    assert other.matching(moved).error <= error_limit(truth, 1 + norms.max())


@given(st.integers(1, 4), seeds)
def test_one_dimension_has_two_rays(count, seed):
    rng = np.random.default_rng(seed)
    points, coefficients = rng.standard_normal((count, 1)), rng.standard_normal(count)
    walk = walk_arrangement(SimulatedNetwork(points, coefficients), 1)
    right = float((coefficients * points[:, 0])[points[:, 0] > 0].sum())
    left = float((-coefficients * points[:, 0])[points[:, 0] < 0].sum())
    size = np.abs(coefficients * points[:, 0]).sum()
    found = {float(x): float(c) for x, c in zip(walk.measure.points[:, 0], walk.measure.coefficients, strict=True)}
    assert set(found) <= {1.0, -1.0}
    assert abs(found.get(1.0, 0.0) - right) <= 30 * EPSILON * size
    assert abs(found.get(-1.0, 0.0) - left) <= 30 * EPSILON * size


def test_an_empty_measure():
    walk = walk_arrangement(lambda w: np.zeros_like(w), 3)
    assert walk.measure.points.shape == (0, 3) and walk.measure.coefficients.shape == (0,)
    assert not walk.orientation_is_open and walk.completed_measure().size == 0


def test_six_evaluations_per_point_are_enough_and_counted():
    truth = on_the_sphere(drawn(600, 20, 0))
    asked = []

    def oracle(weights):
        asked.append(len(weights))
        return simulated_network(truth)(weights)

    walk = walk_arrangement(oracle, 20)
    assert walk.measure.size == 600 and walk.circles == 1
    assert walk.evaluations == sum(asked) <= 6 * 600
    assert walk.calls == len(asked)


def test_the_same_seed_gives_the_same_answer():
    oracle = simulated_network(drawn(30, 7, 0))
    assert infinite_width(oracle, 7) == infinite_width(oracle, 7, rng=np.random.default_rng(0))


def test_the_contract_names_it():
    assert provable.recovery.infinite_width is infinite_width


def test_the_result_is_written_as_json():
    walk = walk_arrangement(simulated_network(drawn(5, 9, 0)), 9)
    document = json.loads(walk.to_json())
    assert document["format"] == "provable-arrangement-walk/1"
    assert document["points"] == 5 and document["orientation"] == walk.orientation
    assert document["closing_residual"] <= document["closing_tolerance"]


@pytest.mark.parametrize("dimension", [0, -1, 2.5, True, "3"])
def test_the_dimension_is_checked(dimension):
    with pytest.raises(InputError, match=r"dimension: found .* a positive integer is accepted"):
        infinite_width(lambda w: w, dimension)


@pytest.mark.parametrize("bias", [0.0, np.nan, np.inf])
def test_the_bias_is_checked(bias):
    with pytest.raises(InputError, match="bias: found"):
        infinite_width(lambda w: w, 3, bias=bias)


def test_a_simulated_network_needs_vectors():
    with pytest.raises(InputError, match="measure: found points of shape"):
        simulated_network(Measure(np.zeros((2, 3, 3)), np.zeros(2)))
