"""Recovery from the trained function alone: exactness on known data, invariances, the fibre, and bad input."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.errors import InputError, UnsupportedError
from provable.kernels import nngp, ntk
from provable.measures import Measure
from provable.recovery.kernel_regime.function_matching import rank_one, recover_from_function

# Points come back to a small multiple of the rounding of h, divided by what one point contributes to h: 1e-9 leaves
# two digits to the worst seen over hundreds of seeds
EXACT = 1e-9


def gaussian(count, dimension, rng):
    return rng.standard_normal((count, dimension)) / np.sqrt(dimension)


def trained(kernel, points, coefficients):
    return lambda z: coefficients @ kernel(points, z)


def interpolating(kernel, points, rng):
    return np.linalg.solve(kernel(points), rng.choice([-1.0, 1.0], len(points)))


@settings(max_examples=6)
@given(
    seed=st.integers(0, 2**16),
    kernel=st.sampled_from(
        [ntk(1, "relu", bias_variance=1.0), ntk(2, "relu", bias_variance=0.5), nngp(1, "relu", bias_variance=1.0)]
    ),
    count=st.integers(1, 14),
)
def test_every_point_comes_back(seed, kernel, count):
    rng = np.random.default_rng(seed)
    points = gaussian(count, 12, rng)
    coefficients = rng.choice([-1.0, 1.0], count) * rng.uniform(0.5, 2.0, count)
    norm = coefficients @ kernel(points) @ coefficients
    found = recover_from_function(trained(kernel, points, coefficients), kernel, 12, squared_norm=float(norm), rng=seed)
    assert found.status == "consistent", found.reason
    assert found.count == count
    matching = found.measure.matching(Measure(points, coefficients))
    assert matching.error < EXACT
    assert found.decided.all()
    assert found.loss == found.loss_floor


def test_digits_with_a_bias_coordinate():
    from sklearn.datasets import load_digits

    rng = np.random.default_rng(0)
    images = load_digits().data
    points = images[rng.choice(len(images), 20, replace=False)] / 16.0
    points = np.hstack([points / np.linalg.norm(points, axis=1, keepdims=True), np.ones((20, 1))])
    kernel = ntk(1, "relu")
    coefficients = interpolating(kernel, points, rng)
    found = recover_from_function(trained(kernel, points, coefficients), kernel, 65, bias=1.0)
    assert found.status == "consistent", found.reason
    assert found.measure.matching(Measure(points, coefficients)).error < EXACT


def test_without_bias_lengths_stay_open_and_independent_points_get_their_signs():
    rng = np.random.default_rng(3)
    points, kernel = gaussian(6, 12, rng), ntk(1, "relu")
    coefficients = rng.choice([-1.0, 1.0], 6) * rng.uniform(0.5, 2.0, 6)
    found = recover_from_function(trained(kernel, points, coefficients), kernel, 12)
    assert found.status == "consistent", found.reason
    assert found.fibre == ("permutation", "positive-scaling")
    matching = found.measure.matching(Measure(points, coefficients), fibre=("permutation", "positive-scaling"))
    assert matching.error < EXACT


def test_of_coincident_points_the_sum_of_coefficients_is_seen():
    rng = np.random.default_rng(4)
    points, kernel = gaussian(4, 12, rng), ntk(1, "relu", bias_variance=1.0)
    points[1] = points[0]
    coefficients = np.array([1.0, 0.5, -1.0, 0.0])  # and one that is invisible
    found = recover_from_function(trained(kernel, points, coefficients), kernel, 12)
    assert (found.status, found.count) == ("consistent", 2)
    assert found.measure.matching(Measure(points[[0, 2]], np.array([1.5, -1.0]))).error < EXACT


@pytest.mark.parametrize("bad", [lambda z: np.full(len(z), np.nan), lambda z: z, lambda z: np.full(len(z), "a")])
def test_what_an_oracle_returns_is_checked(bad):
    with pytest.raises(InputError, match="function: returned"):
        recover_from_function(bad, ntk(1, "relu", bias_variance=1.0), 12)


def test_noise_is_no_function():
    noise = np.random.default_rng(0)
    found = recover_from_function(lambda z: noise.standard_normal(len(z)), ntk(1, "relu", bias_variance=1.0), 12)
    assert found.status == "failed"
    assert "noisy" in found.reason
    assert found.measure.size == 0
    assert json.loads(found.to_json())["status"] == "failed"


def test_the_zero_function_has_no_points():
    found = recover_from_function(lambda z: np.zeros(len(z)), ntk(1, "relu", bias_variance=1.0), 12)
    assert (found.status, found.measure.size) == ("consistent", 0)


def test_values_whose_squares_underflow_are_refused():
    kernel = ntk(1, "relu", bias_variance=1.0)
    points = np.random.default_rng(0).standard_normal((2, 12)) / 4
    small = trained(kernel, points, np.array([1e-150, -1e-150]))
    with pytest.raises(InputError, match="1e-120 and more"):
        recover_from_function(small, kernel, 12)
    found = recover_from_function(trained(kernel, points, np.array([1e-100, -1e-100])), kernel, 12)
    assert (found.status, found.count) == ("consistent", 2)


def test_an_integer_of_numpy_is_a_dimension():
    found = recover_from_function(lambda z: np.zeros(len(z)), ntk(1, "relu", bias_variance=1.0), np.int64(12))
    assert found.status == "consistent"


@pytest.mark.parametrize("factor", [2.0, -1.0])
def test_points_on_one_line_are_never_consistent_with_fewer(factor):
    kernel = ntk(1, "relu", bias_variance=1.0)
    points = np.random.default_rng(4).standard_normal((3, 12)) / 4
    points[1] = factor * points[0]
    found = recover_from_function(trained(kernel, points, np.array([1.0, 0.5, -1.0])), kernel, 12)
    assert (found.status, found.count) == ("partial", 2)


def test_too_small_a_dimension_is_refused():
    with pytest.raises(UnsupportedError, match="free coordinates"):
        recover_from_function(lambda z: np.zeros(len(z)), ntk(1, "relu", bias_variance=1.0), 4)


@pytest.mark.parametrize(("seed", "distance"), [(0, 0.15), (3, 0.3), (2, 0.03)])
def test_close_points_of_opposite_coefficients(seed, distance):
    """Between close directions the subspace power method hardly moves: these seeds had one of the pair, or neither."""
    rng = np.random.default_rng(seed)
    points = gaussian(12, 16, rng)
    points[1] = points[0] + distance * gaussian(1, 16, rng)[0]
    coefficients = rng.standard_normal(12)
    coefficients[:2] = 1.0, -1.0
    kernel = ntk(1, "relu", bias_variance=0.5)
    found = recover_from_function(trained(kernel, points, coefficients), kernel, 16, rng=seed)
    assert found.status == "consistent", found.reason
    assert found.measure.matching(Measure(points, coefficients)).point_error < EXACT


@given(st.integers(0, 2**32 - 1), st.integers(4, 10), st.integers(1, 6), st.floats(0.0, 0.3))
def test_sharpening_ends_at_a_square_of_the_space_and_never_rises(seed, size, count, distance):
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((count, size))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    rows = np.linalg.qr(rank_one.squares(vectors).T)[0].T
    start = vectors[0] + distance * rng.standard_normal(size) / np.sqrt(size)
    start /= np.linalg.norm(start)
    outer = rank_one.squares(start[None])[0]
    before = float(np.sum((outer - (outer @ rows.T) @ rows) ** 2))
    found, deficit = rank_one.sharpened(rows, start)
    assert deficit <= before
    assert abs(np.linalg.norm(found) - 1) < 1e-12
    outer = rank_one.squares(found[None])[0]
    # the residual itself is of the size of rounding where the deficit vanishes
    assert abs(np.sum((outer - (outer @ rows.T) @ rows) ** 2) - deficit) <= 1e-14 * max(1.0, before)
    if distance < 0.01 and count == 1:
        assert deficit < 1e-20
