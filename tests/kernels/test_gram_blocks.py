"""Kernel matrices by blocks against 200-bit balls, and their symmetry, repeatability and memory."""

from __future__ import annotations

import math
import tracemalloc

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from threadpoolctl import threadpool_info, threadpool_limits

from provable.architectures import LeakyReLU
from provable.arithmetic import EPSILON, Arithmetic
from provable.errors import ArithmeticUnsupported, InputError, UnsupportedError
from provable.kernels import gram, gram_blocks, gram_memory, nngp, ntk
from provable.theorems.strategies import seeds

BALLS = Arithmetic("ball", bits=200)
# what a kernel matrix has to reach, relative to √(k(x, x) k(z, z)), whatever the points
LARGEST_ERROR = 1e-14

biases = st.sampled_from(({}, {"bias_variance": 0.01}, {"bias_variance": 2.0}, {"biases": "zero-initialised"}))
activations = st.sampled_from(("relu", "erf", "identity", LeakyReLU(0.2), LeakyReLU(0.9375), LeakyReLU(-0.5)))


@st.composite
def kernels(draw):
    options, depth, activation = draw(biases), draw(st.integers(0, 3)), draw(activations)
    if "biases" not in options and draw(st.booleans()):
        return nngp(depth, activation, **options)
    if draw(st.booleans()):
        options = {**options, "parametrisation": "standard", "width": 64}
    return ntk(depth, activation, **options)


def delicate_points(rng, dimension, count):
    """Points of which 16 are equal, close at all distances, on one ray, opposite or nearly so, or zero."""
    points = rng.standard_normal((count, dimension))
    step = rng.standard_normal(dimension) / math.sqrt(dimension)
    chosen = rng.permutation(count)[:16]
    base, other = points[chosen[0]].copy(), points[chosen[1]].copy()
    variants = [base + 10.0**-k * step for k in (1, 2, 3, 6, 8, 10, 12)]
    variants += [base, 3.0 * base, -base, -2.0 * base + 1e-7 * step, -base + 1e-2 * step, 0 * base, 0 * base]
    for place, variant in zip(chosen[2:], variants, strict=True):
        points[place] = variant
    assert np.array_equal(points[chosen[1]], other)
    return points, chosen


def small_blocks(patch):
    patch.setattr(gram_blocks, "SIDE", 16)
    patch.setattr(gram_blocks, "STRIP", 6)


def relative_errors(kernel, values, rows, columns):
    """|values - k|/√(k(x, x) k(z, z)) in balls, for points where k(x, x) is positive."""
    with BALLS.working():
        left, right = BALLS.convert(rows), BALLS.convert(columns)
        exact, ours, theirs = kernel(left, right), kernel(left), kernel(right)
        errors = np.zeros(values.shape)
        for i, j in np.ndindex(values.shape):
            scale = (ours[i, i] * theirs[j, j]).sqrt()
            difference = abs(exact[i, j] - flint.arb(float(values[i, j])))
            errors[i, j] = float(difference) if scale.is_zero() else float(difference / scale)
    return errors


@given(kernels(), seeds(), st.sampled_from((1, 2, 5, 64)), st.integers(16, 40))
def test_symmetric_and_rectangular_blocks_agree_with_balls(kernel, seed, dimension, count):
    rng = np.random.default_rng(seed)
    points, chosen = delicate_points(rng, dimension, count)
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch)
        values = gram(kernel, points)
        between = gram(kernel, points, points[::-2])
    some = chosen[rng.permutation(16)[:6]]
    few = points[some]
    assert relative_errors(kernel, values[np.ix_(some, some)], few, few).max() < LARGEST_ERROR
    assert relative_errors(kernel, between[some, :3], few, points[::-2][:3]).max() < LARGEST_ERROR


@pytest.mark.parametrize("common", [0.0, 1.0, 100.0])
@pytest.mark.parametrize("options", [{}, {"bias_variance": 1.0}])
def test_all_angles_in_many_dimensions(common, options):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((300, 784)) / 28 + common * np.ones(784) / 28
    x, z = points[0] / np.linalg.norm(points[0]), points[1] - points[0]
    z = z - (z @ x) * x
    z /= np.linalg.norm(z)
    angles = np.concatenate([np.logspace(-15, 0, 11), [math.pi - 1e-6, math.pi - 1e-2, math.pi]])
    points[100:114] = np.cos(angles)[:, None] * x + np.sin(angles)[:, None] * z
    kernel = ntk(3, "relu", **options)
    values = gram(kernel, points)
    chosen = np.r_[2, 100:114, 299]
    assert relative_errors(kernel, values[np.ix_(chosen[:4], chosen)], points[chosen[:4]], points[chosen]).max() < (
        LARGEST_ERROR
    )


@given(kernels(), seeds(), st.integers(1, 6), st.integers(16, 40))
def test_symmetric_to_the_last_bit_for_any_number_of_threads(kernel, seed, dimension, count):
    points, chosen = delicate_points(np.random.default_rng(seed), dimension, count)
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch)
        values = gram(kernel, points, threads=1)
        assert np.array_equal(values, values.T)
        assert np.array_equal(values, gram(kernel, points, points.copy(), threads=2))
        with threadpool_limits(2, user_api="blas"):
            assert np.array_equal(values, gram(kernel, points, threads=3))
    equal = np.flatnonzero((points == points[chosen[0]]).all(axis=1))
    assert len(equal) >= 2 and len(np.unique(values[np.ix_(equal, equal)])) == 1


@given(kernels(), seeds(), st.integers(1, 6))
def test_blocks_agree_with_differences_of_all_pairs(kernel, seed, dimension):
    rng = np.random.default_rng(seed)
    points, _ = delicate_points(rng, dimension, 33)
    others = np.concatenate([points[5:20], rng.standard_normal((4, dimension))])
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch)
        values = gram(kernel, points, others)
        both = gram(kernel, np.concatenate([points, others]))
    patchless = kernel(points, others)  # too few pairs for blocks
    assert len(points) * len(others) < gram_blocks.LEAST_PAIRS
    scale = np.sqrt(np.outer(*(np.array([kernel(x[None])[0, 0] for x in part]) for part in (points, others))))
    bound = 30 * (kernel.depth + dimension) * EPSILON * scale
    assert np.all(np.abs(values - patchless) <= bound)
    assert np.all(np.abs(values - both[:33, 33:]) <= bound)


@given(seeds(), st.integers(16, 40))
def test_the_diagonal_has_no_rounding_error_of_angles(seed, count):
    points, _ = delicate_points(np.random.default_rng(seed), 4, count)
    with pytest.MonkeyPatch.context() as patch:
        small_blocks(patch)
        values = gram(ntk(3, "relu"), points)
    # (depth + 1)·σ_w²‖x‖²/d, here by powers of two
    assert np.array_equal(np.diag(values), 2 * (points * points).sum(axis=1))
    for radius in 10.0 ** -np.arange(3, 17):
        cluster = 1 + radius * points
        assert np.array_equal(np.diag(gram(ntk(3, "relu"), cluster)), 2 * (cluster * cluster).sum(axis=1))


@pytest.mark.parametrize("activation", ["relu", "erf", LeakyReLU(0.2)])
@pytest.mark.parametrize("options", [{}, {"bias_variance": 1.0}])
def test_points_that_are_hardly_different_at_all(activation, options):
    rng = np.random.default_rng(0)
    cluster = np.ones((20, 3)) + 1e-14 * rng.standard_normal((20, 3))
    small = np.stack([np.ones(60), 10.0 ** -np.arange(0.0, 180.0, 3.0)], axis=1)
    kernel = ntk(6, activation, **options)
    for points in (cluster, small, -small):
        values = gram(kernel, points)  # no square root of a negative number
        assert relative_errors(kernel, values[::9, ::4], points[::9], points[::4]).max() < LARGEST_ERROR


def test_opposite_points_stay_opposite_in_nearly_linear_networks():
    angles = np.pi - 10.0 ** -np.arange(0.0, 10.0)
    points = np.concatenate([[[1.0, 0.0]], np.stack([np.cos(angles), np.sin(angles)], axis=1)])
    for slope in (0.9, 0.95, 0.998, 1 - 2.0**-40):
        for options in ({}, {"bias_variance": 1e-8}):
            kernel = ntk(3, LeakyReLU(slope), **options)
            errors = relative_errors(kernel, gram(kernel, points)[:1], points[:1], points)
            assert errors.max() < LARGEST_ERROR


@given(seeds(), st.integers(0, 3), st.sampled_from((2.0**-20, 2.0, 2.0**30)))
def test_relu_kernels_without_bias_are_homogeneous(seed, depth, factor):
    points, _ = delicate_points(np.random.default_rng(seed), 3, 70)
    # a power of two scales every intermediate number exactly
    assert np.array_equal(ntk(depth, "relu")(factor * points), factor * factor * ntk(depth, "relu")(points))


@pytest.mark.parametrize("activation", ["relu", "erf", "gelu", "tanh", "sigmoid"])
@pytest.mark.parametrize("count", [30, 80])
def test_kernels_are_symmetric_to_the_last_bit(activation, count):
    points = np.random.default_rng(count).standard_normal((count, 4)) / 4
    points[1] = points[0] * (1 + 1e-9)
    points[2] = -points[0]
    for kernel in (ntk(2, activation), ntk(2, activation, bias_variance=0.25)):
        matrix = kernel(points)
        np.testing.assert_array_equal(matrix, matrix.T)


def test_kernels_take_blocks_by_themselves():
    points = np.random.default_rng(0).standard_normal((70, 5))
    for kernel in (ntk(2, "relu", bias_variance=0.5), nngp(1, "erf")):
        assert np.array_equal(kernel(points), gram(kernel, points))
        assert np.array_equal(kernel(points, points[1:]), gram(kernel, points, points[1:]))
        assert not np.array_equal(kernel(points[:5]), gram(kernel, points)[:5, :5]) or points.shape[1] < 5


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("activation", ["relu", "erf", "gelu"])
@pytest.mark.parametrize("shape", [(30, 30), (900, 900), (1500, 20)])
def test_predicted_memory_is_an_upper_bound_that_is_met(threads, activation, shape):
    rng = np.random.default_rng(0)
    points, others = rng.standard_normal((shape[0], 40)), rng.standard_normal((shape[1], 40))
    others = points if shape[0] == shape[1] else others
    kernel = ntk(3, activation)
    gram(kernel, points[:2])  # imports are not counted
    tracemalloc.start()
    try:
        gram(kernel, points, others, threads=threads)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    predicted = gram_memory(kernel, shape, 40, threads)
    assert peak <= predicted
    # arrays of all workers are reserved, also if there are blocks for one only
    assert shape != (900, 900) or peak > predicted / 2


def test_as_many_threads_as_blas_has():
    if not any(library["user_api"] == "blas" for library in threadpool_info()):
        pytest.skip("this BLAS does not tell its threads")
    kernel = ntk(1, "relu")
    for threads in (1, 2):
        with threadpool_limits(threads, user_api="blas"):
            assert gram_memory(kernel, (9, 9), 2) == gram_memory(kernel, (9, 9), 2, threads)


def test_too_large_a_matrix_is_refused_before_it_is_allocated():
    points = np.ones((20000, 1))
    kernel = ntk(1, "relu")
    needed = gram_memory(kernel, (20000, 20000), 1)
    tracemalloc.start()
    try:
        with pytest.raises(
            UnsupportedError, match=rf"shape \(20000, 20000\) needs .* \({needed} bytes\) .* are the limit"
        ):
            gram(kernel, points, memory_limit=needed - 1)
        assert tracemalloc.get_traced_memory()[1] < 2**21
    finally:
        tracemalloc.stop()
    # 10⁷ points would take 745 TiB
    with pytest.raises(UnsupportedError, match=r"7\.45e\+05 GiB .* are available"):
        kernel(np.ones((10**7, 1)))


def test_an_error_in_a_worker_is_raised():
    class Broken:
        depth, dual, bias_gain, bias_variance = 1, None, 0.0, 0.0

        def require_range(self, points, what):
            pass

        def values(self, covariance):
            raise InputError("layer 2: broken")

        def recursion(self, points):
            return self

    for threads in (1, 2):
        with pytest.raises(InputError, match="layer 2: broken"):
            gram(Broken(), np.ones((600, 2)), threads=threads)


def test_no_points_and_wrong_arguments():
    kernel = ntk(1, "relu")
    assert gram(kernel, np.zeros((0, 3))).shape == (0, 0)
    assert gram(kernel, np.zeros((2, 3)), np.zeros((0, 3))).shape == (2, 0)
    with pytest.raises(InputError, match=r"^X: found shape \(3,\)"):
        gram(kernel, np.ones(3))
    with pytest.raises(InputError, match=r"^Z: found points of dimension 2; 3 is accepted"):
        gram(kernel, np.ones((1, 3)), np.ones((1, 2)))
    with pytest.raises(InputError, match="not finite"):
        gram(kernel, np.full((1, 2), np.nan))
    with pytest.raises(InputError, match=r"^Z: found the norm inf at index 0; zero and norms from 1e-150"):
        gram(kernel, np.ones((1, 2)), np.full((1, 2), 1e200))
    with pytest.raises(ArithmeticUnsupported, match=r"X has ball numbers"):
        gram(kernel, BALLS.convert(np.ones((1, 1))))
    for wrong in (0, -1, True, 1.5):
        with pytest.raises(InputError, match=r"^threads: found"):
            gram(kernel, np.ones((1, 1)), threads=wrong)
        with pytest.raises(InputError, match=r"^memory_limit: found"):
            gram(kernel, np.ones((1, 1)), memory_limit=wrong)
