"""Membership of near-orthogonal data: members stand out, fresh inputs do not, and bounds hold."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import quad

from provable.architectures import Architecture, Linear, ReLU
from provable.errors import InputError
from provable.networks import Parameters, forward
from provable.recovery.stationary_point import membership


def on_sphere(rng, count, dimension, radius=1.0):
    points = rng.standard_normal((count, dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return radius * points


def two_neurons(points, labels, bias=False):
    """The max-margin network of data whose classes are each on the positive side of one neuron, if it is that of two SVMs.

    One neuron for each class, v w relu: for the positive class w minimises ‖w‖ with w·x ≥ 1 on it and w·x ≤ 0 on the other,
    so equality holds everywhere for data that are nearly orthogonal: the pseudo-inverse gives it, and all are support.
    """
    inputs = np.column_stack([points, np.ones(len(points))]) if bias else points
    solve = np.linalg.pinv(inputs)
    rows, outer = [], []
    for sign in (1.0, -1.0):
        unit = solve @ (labels == sign)
        rows.append(unit / math.sqrt(np.linalg.norm(unit)))
        outer.append(sign * math.sqrt(np.linalg.norm(unit)))
    return network(np.array(rows), np.array(outer), bias)


def network(inner, outer, bias=False):
    dimension = inner.shape[1] - bias
    architecture = Architecture(
        "two layers", (dimension,), (Linear(len(outer), bias=bias), ReLU(), Linear(1, False)), "logistic"
    )
    arrays = {"0/weight": inner[:, :dimension].copy(), "2/weight": outer[None].copy()}
    if bias:
        arrays["0/bias"] = inner[:, dimension].copy()
    return architecture, Parameters(architecture, arrays)


def alternating(count):
    return np.where(np.arange(count) % 2 == 0, 1.0, -1.0)


@pytest.mark.parametrize("bias", [False, True])
def test_members_are_found_and_fresh_inputs_are_not(bias):
    rng = np.random.default_rng(0)
    count, dimension = 8, 2000
    radius = math.sqrt(dimension)
    points = on_sphere(rng, count, dimension, radius)
    architecture, parameters = two_neurons(points, alternating(count), bias)
    fresh = on_sphere(rng, 200, dimension, radius)
    found = membership.membership_test(architecture, parameters, np.vstack([points, fresh]), radius=radius, level=1e-6)
    assert found.member[:count].all() and not found.member[count:].any()
    assert np.max(found.false_positive_bounds[:count]) < 1e-20  # 2 exp(-(d - 1)/(2 Λ² R²)), Λ² R² ≤ 2n or so: e^-60


def test_without_room_for_near_orthogonality_nobody_is_accused():
    rng = np.random.default_rng(1)
    points = on_sphere(rng, 8, 9)
    architecture, parameters = two_neurons(points, alternating(8))
    assert not membership.membership_test(architecture, parameters, points, radius=1.0).member.any()


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(3, 40), st.integers(1, 6), st.booleans())
def test_the_worst_case_bound_holds_at_every_input(seed, dimension, width, bias):
    """Stationarity is all that it needs: neurons of the form g = Σ c_i s_i x̃_i scaled to norm one, whatever the rest."""
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 6))
    points = rng.standard_normal((count, dimension))
    inputs = np.column_stack([points, np.ones(count)]) if bias else points
    multipliers, labels = rng.uniform(0.1, 2.0, count), rng.choice([-1.0, 1.0], count)
    parts = [(rng.random(count) < 0.6) * multipliers * labels for _ in range(width)]
    units = [part @ inputs for part in parts if np.any(part)]
    if not units:
        return
    # a common factor on the multipliers makes the first unit one of norm one; others are kept if they are, up to their length
    longest = max(np.linalg.norm(unit) for unit in units)
    units = [unit / longest for unit in units if np.linalg.norm(unit) > longest * (1 - 1e-12)]
    outer = rng.uniform(0.2, 1.5, len(units)) * rng.choice([-1.0, 1.0], len(units))
    architecture, parameters = network(np.abs(outer)[:, None] * np.sign(outer)[:, None] * np.array(units), outer, bias)
    total = float(np.sum(multipliers)) / longest
    margin = float(np.sum(outer**2)) / total  # so that ‖θ‖² = 2 m Λ
    fresh = rng.standard_normal((20, dimension))
    products = np.abs((np.column_stack([fresh, np.ones(20)]) if bias else fresh) @ inputs.T)
    for output, delta in zip(forward(architecture, parameters, fresh)[:, 0], np.max(products, axis=1), strict=True):
        bound = membership.fresh_bound(parameters, margin, float(delta))
        assert abs(output) <= bound * (1 + 1e-12)  # sums of at most 240 terms
    assert membership.total_multiplier(parameters, margin) == pytest.approx(total, rel=1e-12)


@pytest.mark.parametrize("count", [2, 5, 12])
def test_the_published_rate_with_its_constants(count):
    rng = np.random.default_rng(count)
    dimension = 40 * count**3
    points = on_sphere(rng, count + 30, dimension)
    data, fresh = points[:count], points[count:]
    architecture, parameters = two_neurons(data, alternating(count))
    gram = np.abs(points @ data.T)
    gram[np.arange(count), np.arange(count)] = 0
    bound = membership.published_bound(count, 1.0, float(np.max(gram)), 1.0 - 1e-12)
    assert bound < 1
    outputs = np.abs(forward(architecture, parameters, fresh)[:, 0])
    assert np.max(outputs) <= bound
    assert np.allclose(np.abs(forward(architecture, parameters, data)[:, 0]), 1, rtol=0, atol=1e-9)
    assert membership.published_bound(count, 1.0, 1.0 / max(count - 1, 1), 1.0) == math.inf


@settings(max_examples=30, deadline=None)
@given(st.floats(0.01, 5), st.floats(-6, 6), st.integers(3, 60))
def test_the_mean_is_that_of_quadrature(scale, shift, dimension):
    constant = math.gamma(dimension / 2) / math.gamma((dimension - 1) / 2) / math.sqrt(math.pi)

    def integrand(u):
        return max(scale * u + shift, 0.0) * constant * (1 - u * u) ** ((dimension - 3) / 2)

    kink = min(max(-shift / scale, -1.0), 1.0)
    expected = quad(integrand, kink, 1.0, epsabs=1e-13, limit=200)[0]
    found = membership.mean_of_relu(np.array([scale]), np.array([shift]), dimension)[0]
    assert found == pytest.approx(expected, rel=1e-7, abs=1e-9)  # the accuracy of quadrature where the tail is thin


def test_constant_neurons_have_their_mean():
    found = membership.mean_of_relu(np.zeros(3), np.array([2.0, -2.0, 0.0]), 5)
    assert np.array_equal(found, [2.0, 0.0, 0.0])


@pytest.mark.parametrize("bias", [False, True])
def test_fresh_outputs_keep_to_mean_and_tail(bias):
    rng = np.random.default_rng(4)
    architecture, parameters = network(rng.standard_normal((30, 6 + bias)), rng.standard_normal(30), bias)
    law = membership.fresh_outputs(architecture, parameters, 2.0)
    outputs = forward(architecture, parameters, on_sphere(rng, 20000, 6, 2.0))[:, 0]
    # five standard errors
    assert abs(np.mean(outputs) - law.mean) < 5 * np.std(outputs) / math.sqrt(20000)
    for level in (0.5, 0.1):
        assert np.mean(np.abs(outputs - law.mean) >= law.threshold(level)) <= level
        assert law.tail(np.array([law.mean + law.threshold(level)]))[0] == pytest.approx(level, rel=1e-9)


def test_ranks_are_valid_for_any_function():
    rng = np.random.default_rng(5)
    taken = [bool(membership.rank_test([v[0]], v[1:], level=0.1).member[0]) for v in rng.standard_cauchy((4000, 20))]
    # exactly 1/10 would be 2 of 20 ranks; five standard errors above that
    assert 0.05 < np.mean(taken) < 0.1 + 5 * math.sqrt(0.09 / 4000)
    assert not membership.rank_test([1.0], np.ones(99), level=0.5).member.any()
    assert membership.rank_test([2.0], np.ones(99), level=0.01).member.all()


def test_what_cannot_be_tested_is_said():
    rng = np.random.default_rng(6)
    architecture, parameters = network(rng.standard_normal((3, 4)), rng.standard_normal(3))
    with pytest.raises(InputError, match="norm differs"):
        membership.membership_test(architecture, parameters, np.ones((2, 4)), radius=1.0)
    with pytest.raises(InputError, match="candidates"):
        membership.membership_test(architecture, parameters, np.ones((2, 5)), radius=1.0)
    with pytest.raises(InputError, match="level"):
        membership.membership_test(architecture, parameters, np.ones((1, 4)) / 2, radius=1.0, level=0)
    with pytest.raises(InputError, match="margin"):
        membership.total_multiplier(parameters, 0.0)
    with pytest.raises(InputError, match="radius"):
        membership.fresh_outputs(architecture, parameters, -1.0)
    with pytest.raises(InputError, match="at least 3"):
        membership.fresh_outputs(*network(rng.standard_normal((3, 2)), rng.standard_normal(3)), 1.0)
    deep = Architecture("deep", (4,), (Linear(3), ReLU(), Linear(3), ReLU(), Linear(1, False)), "logistic")
    with pytest.raises(InputError, match="layers are"):
        membership.fresh_outputs(deep, Parameters.random(deep, rng=0), 1.0)
    with pytest.raises(InputError, match="fresh"):
        membership.rank_test([1.0], [])
