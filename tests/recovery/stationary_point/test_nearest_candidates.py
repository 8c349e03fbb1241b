"""The published measure of success: correlations, structural similarity, chance and control."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from provable.errors import InputError
from provable.recovery.stationary_point.nearest_candidates import (
    compare,
    correlations,
    nearest_candidates,
    rescaled,
    structural_similarity,
)

EPSILON = 2.0**-52
IMAGES = arrays.arrays(np.float64, (2, 4, 5), elements=st.integers(-3, 3))


def by_definition(first, second):
    """Structural similarity window by window, with the variances of NumPy."""
    values = []
    for row, column in itertools.product(range(first.shape[0] - 2), range(first.shape[1] - 2)):
        a, b = (image[row : row + 3, column : column + 3].ravel() for image in (first, second))
        covariance = np.cov(a, b)
        numerator = (2 * a.mean() * b.mean() + 1e-4) * (2 * covariance[0, 1] + 9e-4)
        values.append(
            numerator / ((a.mean() ** 2 + b.mean() ** 2 + 1e-4) * (covariance[0, 0] + covariance[1, 1] + 9e-4))
        )
    return np.mean(values)


@given(IMAGES, IMAGES)
def test_structural_similarity_is_its_definition(first, second):
    first, second = rescaled(first), rescaled(second)
    found = structural_similarity(first, second)
    expected = [by_definition(*pair) for pair in zip(first, second, strict=True)]
    # sums of 9 squares of numbers up to 1, divided by c_2 = 9e-4 at least
    assert np.allclose(found, expected, rtol=0, atol=30 * 20 * EPSILON / 9e-4)
    assert np.allclose(structural_similarity(first, first), 1.0, rtol=0, atol=30 * 20 * EPSILON)
    assert np.all(found <= 1 + 30 * 20 * EPSILON)


@given(IMAGES, IMAGES)
def test_correlations_are_those_of_numpy(first, second):
    table = correlations(first, second)
    for (i, sample), (j, candidate) in itertools.product(enumerate(second), enumerate(first)):
        constant = np.ptp(sample) == 0 or np.ptp(candidate) == 0
        expected = 0.0 if constant else np.corrcoef(sample.ravel(), candidate.ravel())[0, 1]
        assert table[i, j] == pytest.approx(expected, abs=30 * 20 * EPSILON * 10)
        assert constant or table[i, j] == pytest.approx(
            # 2 D (1 - ρ) is the squared distance of standardised images
            1 - np.sum((standardised(sample) - standardised(candidate)) ** 2) / (2 * sample.size),
            abs=1e-12,
        )


def standardised(image):
    return (image - image.mean()) / image.std()


@given(
    arrays.arrays(np.float64, (3, 4, 4), elements=st.integers(-3, 3)),
    st.sampled_from([2.0**-30, 0.5, 3.0, 1e6]),
    st.sampled_from([-7.0, 0.0, 0.25]),
)
def test_brightness_and_contrast_are_ignored_and_the_distance_sees_them(images, factor, shift):
    images = images + np.arange(16).reshape(4, 4) * 8.0  # nothing is constant
    moved = factor * images + shift
    found = nearest_candidates(moved, images)
    # a shift loses the digits of the image against it
    loss = max(1.0, abs(shift) / (factor * np.ptp(images)))
    assert np.allclose(found.correlations, 1.0, rtol=0, atol=30 * 16 * EPSILON * loss * 10)
    assert np.allclose(found.similarities, 1.0, rtol=0, atol=30 * 16 * EPSILON * loss * 1e4)
    assert found.recovered == 3
    # the other sign is the worst there is
    assert np.allclose(np.diag(correlations(-moved, images)), -1.0, rtol=0, atol=30 * 16 * EPSILON * loss * 10)


def test_channels_are_standardised_one_by_one():
    rng = np.random.default_rng(0)
    images = rng.standard_normal((2, 3, 4, 4))
    factors = np.array([1.0, 5.0, 100.0]).reshape(3, 1, 1)
    table = correlations(images * factors + factors, images)
    assert np.allclose(np.diag(table), 1.0, rtol=0, atol=1e-12)
    one = [correlations(images[:, [k]], images[:, [k]]) for k in range(3)]
    assert np.allclose(correlations(images, images), sum(one) / 3, rtol=0, atol=1e-14)


def test_a_candidate_may_serve_several_samples_and_the_distances_do_not_let_it():
    rng = np.random.default_rng(1)
    truth = rng.standard_normal((1, 5, 5)) + 1e-3 * rng.standard_normal((4, 5, 5))
    found = np.concatenate([truth[:1], 50 + rng.standard_normal((7, 5, 5))])
    result = compare(found, truth, rng.standard_normal((12, 5, 5)), rng=0)
    assert result.training.recovered == 4 and set(result.training.indices) == {0}
    assert np.count_nonzero(result.distances.greedy < 1) == 1
    assert result.held_out.recovered < 4 or result.noise.recovered < 4


def test_chance_has_as_many_candidates_as_the_attack_and_control_as_many_samples():
    rng = np.random.default_rng(2)
    truth, held = rng.standard_normal((3, 4, 4)), rng.standard_normal((10, 4, 4))
    found = np.concatenate([held[:3], truth])  # as good on the control as on the truth
    result = compare(found, truth, held, rng=0, loss=0.5, loss_at_truth=0.25)
    assert result.training.recovered == result.held_out.recovered == 3
    assert np.all(result.other_images.indices < 6) and np.all(result.noise.indices < 6)
    direct = nearest_candidates(held[3:9], truth)
    assert np.array_equal(direct.similarities, result.other_images.similarities)
    assert result.distances.loss == 0.5 and result.distances.loss_at_truth == 0.25
    summary = result.summary()
    assert summary["training"]["recovered"] == 3 and summary["training"]["largest_correlation"] == pytest.approx(1)
    # two sets of random candidates are equally good in distribution, and no attack
    assert result.other_images.recovered <= 2 and result.noise.recovered <= 2


def test_advantage_is_a_half_for_ignorance_and_one_for_the_training_set():
    rng = np.random.default_rng(4)
    truth, held = rng.standard_normal((8, 4, 4)), rng.standard_normal((40, 4, 4))
    assert compare(truth, truth, held, rng=0).advantage == 1.0
    assert compare(held[:8], truth, held, rng=0).advantage == 0.0
    assert compare(np.ones((8, 4, 4)), truth, held, rng=0).advantage == 0.5
    # 8 against 8: a standard deviation of about 0.15 under ignorance
    assert abs(compare(rng.standard_normal((8, 4, 4)), truth, held, rng=0).advantage - 0.5) < 0.45


def test_the_mean_is_added_before_images_are_rescaled():
    rng = np.random.default_rng(3)
    images, mean = rng.random((4, 5, 5)), 3 * rng.random((5, 5))
    with_mean = nearest_candidates(2 * (images - mean), images - mean, mean=mean)
    # NCC is that of centred images, so the factor is hidden; with the mean it is not in the similarity
    assert np.allclose(with_mean.correlations, 1.0, rtol=0, atol=1e-13)
    assert np.all(with_mean.similarities < 0.999)


@pytest.mark.parametrize("shape", [(2, 2, 5), (2, 5, 2), (2, 5)])
def test_images_smaller_than_a_window_are_refused(shape):
    with pytest.raises(InputError, match="3 by 3"):
        structural_similarity(np.zeros(shape), np.zeros(shape))


def test_what_does_not_fit_is_refused():
    images = np.zeros((2, 4, 4))
    with pytest.raises(InputError, match="found, truth"):
        nearest_candidates(np.zeros((0, 4, 4)), images)
    with pytest.raises(InputError, match="found, truth"):
        nearest_candidates(np.zeros((1, 4, 5)), images)
    with pytest.raises(InputError, match="not finite"):
        nearest_candidates(np.full((1, 4, 4), np.nan), images)
    with pytest.raises(InputError, match="held_out: found 3 images; 4 or more"):
        compare(images, images, np.zeros((3, 4, 4)))
