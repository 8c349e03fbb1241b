"""Scales of the last layer's input, from the loss."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given
from hypothesis import strategies as st

from provable.networks import losses
from provable.recovery.layerwise.margins import (
    LARGEST_MARGIN_OF_ONE_BRANCH,
    logistic_margins,
    product,
    softmax_scales,
    squared_scales,
)

EPSILON = 2.0**-52


def test_where_the_branches_meet():
    assert abs(LARGEST_MARGIN_OF_ONE_BRANCH - 1.2784645427610738) <= 4 * EPSILON
    # The derivative of φ vanishes there: 1 + e^μ (1 - μ) = 0.
    assert abs(1 + math.exp(LARGEST_MARGIN_OF_ONE_BRANCH) * (1 - LARGEST_MARGIN_OF_ONE_BRANCH)) <= 30 * 4 * EPSILON


def sensitivity(margin: float) -> float:
    """|dμ/ds| at φ(μ) = s, relative: how far a rounding of s moves μ."""
    share = 1 / (1 + math.exp(margin))
    slope = share * abs(1 - margin * (1 - share))
    return abs(product(margin)) / (slope * max(abs(margin), 1e-300)) if slope else math.inf


@given(st.floats(-600, 30))
def test_the_margin_is_among_the_roots(margin):
    value = product(margin)
    found = logistic_margins(value)
    # The smallest positive margins have the product zero in float64.
    assert len(found) == (1 if value >= 0 or margin == LARGEST_MARGIN_OF_ONE_BRANCH else 2)
    error = min(abs(root - margin) for root in found)
    # Next to the branch point the root moves by √ε at most.
    bound = min(30 * 4 * EPSILON * (1 + sensitivity(margin)), 30 * math.sqrt(EPSILON))
    assert error <= bound * max(1.0, abs(margin))
    assert found == tuple(sorted(found))


@given(st.floats(-0.27846, 100))
def test_roots_against_bisection(value):
    def difference(margin):
        return product(margin) - value

    wanted = [scipy.optimize.brentq(difference, -200, LARGEST_MARGIN_OF_ONE_BRANCH, xtol=1e-14)]
    if value < 0 and product(700.0) > value:
        wanted.append(scipy.optimize.brentq(difference, LARGEST_MARGIN_OF_ONE_BRANCH, 700.0, xtol=1e-14))
    found = logistic_margins(value)
    for root in wanted:
        # Bisection stops at 1e-14 and at the rounding of φ, which near the branch point moves roots by √ε.
        bound = 1e-13 + 30 * 4 * EPSILON * (1 + sensitivity(root)) * max(1.0, abs(root))
        assert min(abs(other - root) for other in found) <= bound


@given(st.floats(1e-3, 20))
def test_twins_have_equal_products(margin):
    """(h) φ(μ₁) = φ(μ₂), and the two lie on both sides of μ*."""
    found = logistic_margins(product(margin))
    if len(found) == 2:
        first, second = found
        assert first < LARGEST_MARGIN_OF_ONE_BRANCH < second
        # φ has a condition of at most 1 + |μ| in relative terms.
        assert abs(product(first) - product(second)) <= 30 * 4 * EPSILON * (1 + second) * product(margin) * -1


def test_published_twins():
    first, second = logistic_margins(product(2.0))
    assert abs(second - 2) <= 30 * 4 * EPSILON
    assert abs(first - 0.73619) <= 1e-5  # printed to five digits


def test_no_margin_below_the_minimum():
    assert logistic_margins(-0.279) == ()
    assert logistic_margins(-0.2784645427610738) != ()


@st.composite
def softmax_problems(draw, classes):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(classes)
    weight = rng.standard_normal((count, draw(st.integers(1, 6))))
    inputs = rng.standard_normal(weight.shape[1]) * 10.0 ** draw(st.floats(-2, 0.5))
    label = draw(st.integers(0, count - 1))
    return weight, inputs, label


def scales(weight, inputs, label):
    residual = losses.residual("cross_entropy", (weight @ inputs)[None], np.array([label]))[0]
    others = np.delete(np.arange(len(weight)), label)
    row = residual[label] * inputs
    return softmax_scales(-residual[others] / residual[label], (weight[others] - weight[label]) @ row), -1 / residual[
        label
    ]


@given(softmax_problems(st.integers(3, 8)))
def test_softmax_scale_in_closed_form(problem):
    """(i) One scale, that of the sample."""
    weight, inputs, label = problem
    found, wanted = scales(weight, inputs, label)
    # t = 1/(1 - p_y); the equations determine log(t - 1), whose condition is that of log p_j at logits of this size.
    condition = (1 + float(np.max(np.abs(weight @ inputs)))) * wanted / (wanted - 1)
    assert min(abs(scale - wanted) for scale in found) <= 30 * 8 * EPSILON * condition * wanted * 10
    if float(np.linalg.norm(inputs)) > 0.3:
        # Equal differences of logits would leave twins; random ones of this size do not.
        assert len(found) == 1


@given(softmax_problems(st.just(2)))
def test_two_classes_are_logistic(problem):
    """With C = 2 the scales are those of the margins of f_y - f_other."""
    weight, inputs, label = problem
    found, wanted = scales(weight, inputs, label)
    difference = weight[label] - weight[1 - label]
    margin = float(difference @ inputs)
    margins = logistic_margins(product(margin))
    expected = [1 + math.exp(root) for root in margins]
    assert len(found) in (1, len(expected))
    bound = min(30 * 8 * EPSILON * (1 + sensitivity(margin)), 30 * math.sqrt(EPSILON))
    assert min(abs(scale - wanted) for scale in found) <= bound * wanted * max(1.0, abs(margin))


def test_equal_weights_of_the_other_classes_leave_twins():
    """The linear equations of C ≥ 3 say nothing if all other classes have the same weights."""
    weight = np.array([[1.0, 0.5], [0.2, -0.3], [0.2, -0.3]])
    inputs = np.array([1.0, 0.4])
    found, wanted = scales(weight, inputs, 0)
    assert len(found) == 2
    assert min(abs(scale - wanted) for scale in found) <= 30 * 4 * EPSILON * wanted * 10


@given(st.integers(0, 2**32), st.integers(1, 5))
def test_squared_scale(seed, outputs):
    rng = np.random.default_rng(seed)
    weight, inputs = rng.standard_normal((outputs, 3)), rng.standard_normal(3)
    labels = rng.standard_normal(outputs)
    size = float(np.linalg.norm(inputs))
    residual = weight @ inputs - labels
    found = squared_scales(weight @ inputs / size, residual * size, labels)
    k = int(np.argmax(np.abs(residual)))
    # The roots of a t² - y t - r move by 1/|discriminant| per rounding of the coefficients.
    a, y, r = float(weight[k] @ inputs) / size, labels[k], residual[k] * size
    spread = abs(2 * a * size - y)
    condition = (abs(a) * size**2 + abs(y) * size + abs(r)) / (spread * size) if spread else math.inf
    bound = min(30 * 4 * EPSILON * condition, 30 * math.sqrt(EPSILON))
    if math.isfinite(condition) and condition < 1e6:
        assert min(abs(scale - size) for scale in found) <= bound * size


def test_no_real_scale():
    # t² + 1 = 0
    assert squared_scales(np.array([1.0]), np.array([-1.0]), np.array([0.0])) == ()


def test_nothing_seen_is_no_scale():
    assert softmax_scales(np.zeros(2), np.ones(2)) == ()


@pytest.mark.parametrize("value", [0.0, 1e-300, -1e-300, 700.0, 1e5])
def test_extreme_products(value):
    for margin in logistic_margins(value):
        assert math.isfinite(margin)
        assert abs(product(margin) - value) <= 30 * 4 * EPSILON * (1 + abs(margin)) * abs(value)
