"""Kinks whose slopes are not free: places of a convolution that share weights, and nothing that is verified by them."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from flint import fmpq
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, LeakyReLU, Linear, ReLU
from provable.arithmetic import RATIONAL, to_float
from provable.networks import Parameters
from provable.stationarity import verify_stationarity, verify_weight_decay
from provable.stationarity.clarke import ClarkeTangents
from provable.stationarity.free_kinks import samples_with_tied_kinks

ROWS = Architecture(
    "two rows", (1, 2, 2), (Conv2d(2, (1, 2), bias=False), ReLU(), Flatten(), Linear(1, bias=False)), "logistic"
)


@dataclasses.dataclass(frozen=True)
class Point:
    parameters: Parameters
    points: np.ndarray
    labels: np.ndarray


def antipodal_rows() -> Point:
    """θ = Σ λ y h with slopes 0 at both antipodal rows of the first sample, λ = (1, 9/25, 16/25), margins 1.

    The function relu(w·a)·3/5 - relu(-w·a)·4/5 of that sample has Clarke's subdifferential [3/5, 4/5] a at w·a = 0, and no
    other term of w₁ lies along a: θ is no KKT point.
    """
    rational = np.vectorize(fmpq, otypes=[object])
    first = rational([[0, 1], [1, 0]]).reshape(2, 1, 1, 2)
    last = rational([[3, -4, 5, 0]], 5)
    points = rational([[[12, 0], [-12, 0]], [[0, 20], [0, 0]], [[0, 0], [0, 15]]], 12)
    return Point(Parameters(ROWS, {"0/weight": first, "3/weight": last}), points[:, None], np.array([1, 1, -1]))


def test_slopes_that_no_gradient_nearby_has_prove_nothing() -> None:
    point = antipodal_rows()
    report = verify_stationarity(ROWS, point.parameters, point.points, point.labels)
    assert report.residual == report.slackness == 0 and set(report.margins) == {1}
    assert not report.verified and "sample 0 in layer 1 are tied" in report.explanation
    floats = Parameters(ROWS, {name: to_float(array) for name, array in point.parameters.items()})
    report = verify_stationarity(ROWS, floats, to_float(point.points), point.labels)
    assert report.residual < 1e-15 and not report.verified and "are tied" in report.explanation
    # by gradients next to θ: along the antipodal rows both slopes are never zero, and w₁ along a is never 0
    row = np.array([1.0, 0.0])
    for seed in range(20):
        w = np.array([0.0, 1.0]) + 1e-7 * np.random.default_rng(seed).standard_normal(2)
        gradient = 0.6 * (w @ row > 0) * row - 0.8 * (-w @ row > 0) * -row
        assert 0.6 <= gradient[0] <= 0.8


def test_other_kinks_of_convolutions_are_verified() -> None:
    """Without the tied sample's second row, the slope at its first one is free, and 0 is among Clarke's."""
    point = antipodal_rows()
    points = point.points.copy()
    points[0, 0, 1] = points[0, 0, 1] * 0
    report = verify_stationarity(ROWS, point.parameters, points, point.labels)
    assert report.verified, report.explanation
    assert "Proved" in report.explanation


def patches(image: np.ndarray, size: int) -> list[np.ndarray]:
    height, width = image.shape
    return [
        image[top : top + size, left : left + size].ravel()
        for top in range(height - size + 1)
        for left in range(width - size + 1)
    ]


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.booleans())
def test_places_of_a_channel_are_free_where_their_patches_are_independent(seed: int, bias: bool, exact: bool) -> None:
    rng = np.random.default_rng(seed)
    layers = (Conv2d(2, 2, bias=bias), LeakyReLU(negative_slope=0.25), Flatten(), Linear(1))
    architecture = Architecture("patches", (1, 3, 3), layers, "squared")
    parameters = Parameters.from_vector(architecture, rng.integers(-1, 2, architecture.parameter_count).astype(float))
    images = rng.integers(-1, 2, (4, 1, 3, 3)).astype(float)
    tied = set()
    for sample, image in enumerate(images):
        for channel in range(2):
            weight = parameters["0/weight"][channel].ravel()
            shift = parameters["0/bias"][channel] if bias else 0.0
            rows = [np.append(patch, float(bias)) for patch in patches(image[0], 2) if weight @ patch + shift == 0]
            rows = [row for row in rows if row.any()]
            if rows and np.linalg.matrix_rank(np.array(rows)) < len(rows):
                tied.add(sample)
    if exact:
        parameters = parameters.map_numbers(RATIONAL.convert)
        images = RATIONAL.convert(images)
    samples = np.arange(4)
    clarke = ClarkeTangents(
        architecture, parameters, images, samples, RATIONAL.convert(np.ones((4, 1))) if exact else np.ones((4, 1))
    )
    assert set(samples_with_tied_kinks(clarke, samples)) == tied


@pytest.mark.parametrize(("first", "tied"), [(-1.0, False), (0.0, True), (1.0, False)])
def test_a_deeper_layer_moves_freely_unless_its_input_is_zero_at_kinks(first: float, tied: bool) -> None:
    """One unit at each layer: with w₁ x = 0 the second pre-activation w₂ relu(w₁ x) has the sign of w₂ or is zero."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=False), ReLU(), Linear(1, bias=False))
    architecture = Architecture("one unit", (1,), layers, "squared")
    parameters = Parameters.from_vector(architecture, np.array([first, 0.0 if first > 0 else -1.0, 1.0]))
    clarke = ClarkeTangents(architecture, parameters, np.ones((1, 1)), np.zeros(1, dtype=np.intp), np.ones((1, 1)))
    assert clarke.kinks["3"].all()
    assert samples_with_tied_kinks(clarke, np.zeros(1, dtype=np.intp)) == ({0: "3"} if tied else {})


def test_weight_decay_is_left_open_at_tied_kinks() -> None:
    """f(x) = v relu(w₂ relu(w₁ x)) + b at w = v = 0: f = b next to it, and slopes are not what is stationary."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=False), ReLU(), Linear(1))
    architecture = Architecture("tied", (1,), layers, "squared")
    parameters = Parameters.from_vector(architecture, np.array([0.0, 0.0, 0.0, 1.0]))
    report = verify_weight_decay(architecture, parameters, np.ones((1, 1)), [[2.0]], weight_decay=1.0)
    assert report.residual <= 1e-15
    assert not report.verified and "are tied" in report.explanation
