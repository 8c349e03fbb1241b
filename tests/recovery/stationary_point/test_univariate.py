"""Samples on a line from the network alone: all of them, certified, and what is open where some are open."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import provable
from provable.architectures import Architecture, Linear, ReLU
from provable.errors import UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.stationary_point import univariate
from provable.recovery.stationary_point.univariate_measures import best_fits, fit
from provable.stationarity.univariate import read_network
from tests.recovery.stationary_point.univariate_nets import observation_of, random_data, stationary

RNG = np.random.default_rng(0)


def trained(seed, most=10):
    rng = np.random.default_rng(seed)
    while (found := stationary(*random_data(rng, most))) is None or len(set(found.labels)) < 2:
        pass
    return found


def distance(recovered, points):
    """Of every point to the nearest recovered one."""
    return np.min(np.abs(points[:, None] - recovered.points[:, 0]), axis=1)


def check_complete(found):
    observation = found.observation
    recovered = provable.recover(observation)
    assert (recovered.method, recovered.status) == ("univariate", "certified"), recovered.reason
    data = json.loads(recovered.certificate)["data"]
    rho, coefficient_rho = (float(Fraction(data[key])) for key in ("rho", "coefficient_rho"))
    assert np.max(distance(recovered, found.support)) <= rho
    for point, coefficient in zip(recovered.points[:, 0], recovered.coefficients[:, 0], strict=True):
        near = np.abs(found.support - point) <= rho
        assert near.any() and abs(np.sum(found.coefficients[near]) - coefficient) <= coefficient_rho
    assert np.array_equal(recovered.labels, np.sign(recovered.coefficients[:, 0]))
    assert provable.check(recovered, observation=observation).valid
    return recovered


@pytest.mark.parametrize("seed", range(12))
def test_all_support_points_of_a_max_margin_network_are_recovered(seed):
    found = trained(seed)
    recovered = check_complete(found)
    # 1e-9: the network is stationary to 1e-14 or so, and recovery amplifies that by the slopes of f and the angles of knots
    assert np.max(distance(recovered, found.support)) < 1e-9


@pytest.mark.deep
def test_two_hundred_more():
    """A quarter of the points with |f| = m is certified on all, and everything on nearly all."""
    complete = 0
    for seed in range(100, 300):
        found = trained(seed)
        observation = found.observation
        recovered = univariate.recover(observation, RNG)
        assert recovered.status in ("certified", "partial")
        assert provable.check(recovered, observation=observation).valid
        # what is certified are support points
        assert np.max(np.min(np.abs(recovered.points - found.support), axis=1)) < 1e-7
        levels = best_fits(read_network(observation.architecture, observation.parameters))[0].levels
        assert 4 * len(recovered.points) >= len(levels) + sum(level.width > 1e-3 for level in levels)
        complete += len(recovered.points) == len(found.support) and recovered.status == "certified"
    assert complete >= 190  # 198 were counted; a piece at the margin or a multiplier that is open is no failure


def test_kkt_points_that_are_not_optimal():
    rng, seen = np.random.default_rng(5), 0
    while seen < 2:
        points, labels = random_data(rng, 7)
        best = stationary(points, labels)
        other = stationary(points, labels, rng.random((2 * len(points) - 1, 2)) < 0.6)
        # 1e-6: both programs are solved to 1e-9 or so
        if best is None or other is None or other.value < best.value * (1 + 1e-6):
            continue
        check_complete(other)
        seen += 1


@pytest.mark.parametrize("gap", [0.1, 1e-2, 1e-3])
def test_close_points_of_two_classes(gap):
    points = np.array([-2.0, -0.3, -0.3 + gap, 1.5])
    found = stationary(points, np.array([1.0, 1.0, -1.0, -1.0]))
    assert found is not None
    recovered = check_complete(found)
    assert np.max(distance(recovered, found.support)) < gap / 100


def test_runs_of_one_label_show_their_ends_only():
    found = stationary(np.linspace(-2.6, 2.4, 8), np.array([1.0] * 3 + [-1.0] * 3 + [1.0] * 2))
    recovered = check_complete(found)
    assert len(recovered.points) == len(found.support) < 8


def test_duplicated_points_are_one():
    points, labels = np.array([-1.2, 0.4, 0.4, 1.9]), np.array([-1.0, 1.0, 1.0, -1.0])
    single = stationary(np.unique(points), np.array([-1.0, 1.0, -1.0]))
    recovered = check_complete(single)
    assert len(recovered.points) == 3
    # the same network with the multiplier of the middle sample shared between two of them: only the sum is visible
    halves = single.multipliers[[0, 1, 1, 2]] * np.array([1, 0.25, 0.75, 1])
    check_complete(dataclasses.replace(single, points=points, labels=labels, multipliers=halves))


def test_points_on_knots_are_found_with_their_slopes():
    seen = 0
    for seed in range(30, 40):
        found = trained(seed, 8)
        knots = -found.inner[:, 1] / found.inner[:, 0]
        if np.min(np.abs(knots[:, None] - found.support)) < 1e-12:  # the oracle puts them there up to rounding
            document = json.loads(check_complete(found).certificate)
            assert document["data"]["slopes"]
            seen += 1
    assert seen >= 3


def test_a_constant_network_shows_weight_and_mean_only():
    """All labels equal and data on both sides of zero: f = 1 everywhere, at a global optimum."""
    recovered = univariate.recover(observation_of(np.array([[0.0, 1.0]]), np.array([1.0])), RNG)
    assert recovered.status == "partial" and recovered.certificate is None
    assert recovered.fibre and recovered.fibre[0].startswith("null-space:")
    assert "constant at its margin" in recovered.reason and "1 about 0" in recovered.reason
    assert recovered.coefficients.sum() == pytest.approx(1.0, rel=1e-9)  # Σ c = b/v, up to the error allowed for
    assert abs(recovered.coefficients[:, 0] @ recovered.points[:, 0]) < 1e-9  # Σ c x = w/v = 0, likewise


def test_a_flat_piece_at_a_global_optimum_beside_ordinary_samples():
    """Four samples of one class between two of the other: f = -1 on a whole piece, and only the outer two are determined."""
    points = np.array([-1.34972553, -0.4382996, -0.19562174, -0.14670315, 0.41161111, 0.75193179])
    found = stationary(points, np.array([1.0, -1.0, -1.0, -1.0, -1.0, 1.0]))
    recovered = univariate.recover(found.observation, RNG)
    assert recovered.status == "partial" and "constant at its margin" in recovered.reason
    assert np.allclose(recovered.points[:, 0], points[[0, -1]], rtol=0, atol=1e-9)
    assert provable.check(recovered, observation=found.observation).valid
    # another data set with the same weight and mean inside is as good: there is no telling which was used
    inside = found.multipliers[1:5]
    mean = inside @ points[1:5] / np.sum(inside)
    assert -0.4382996 < mean < 0.41161111


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from((0.5, 3.0, 1e-3, 1e3)))
def test_other_margins_are_found_by_consistency_or_said_to_be_open(seed, factor):
    """Scaling θ scales the margin; the same samples stay at |f| = m with the same multipliers."""
    found = trained(seed % 40)
    scaled = found.scaled(factor)
    network = read_network(scaled.observation.architecture, scaled.observation.parameters)
    fits = best_fits(network)
    margin = min((each.margin for each in fits), key=lambda m: abs(m - factor**2))
    recovered = univariate.recover(scaled.observation, RNG)
    if len(fits) == 1:
        # 1e-9 as above; without a cell that holds one point only, the margin is not determined at all
        assert margin == pytest.approx(factor**2, rel=1e-9)
    if len(fits) == 1 and recovered.status == "certified":
        assert "margin" not in recovered.fibre
    else:  # also next to the only one listed: below a peak on a knot, say, there is a point on either side of it
        assert "would be consistent as well" in recovered.reason
        assert recovered.status != "certified" or fits[0].margin == 1


def test_a_margin_below_peaks_on_knots_is_consistent_too():
    """All samples are on knots where |f| is largest: a little lower, two samples each have the same moments."""
    found = trained(23).scaled(0.5)
    recovered = univariate.recover(found.observation, RNG)
    assert np.max(distance(recovered, found.support)) < 1e-9
    assert recovered.status == "consistent" and "margin" in recovered.fibre
    network = read_network(found.observation.architecture, found.observation.parameters)
    (only,) = best_fits(network)
    below = fit(network, only.equations, 0.99 * only.margin, only.tolerance)
    assert below.accepted and sum(below.weights > 1e-6 * np.sum(below.weights)) > len(found.support)
    assert not fit(network, only.equations, 1.01 * only.margin, only.tolerance).accepted


def test_nothing_is_certified_where_no_margin_is_preferred():
    """Data of margin 4/5 whose network has data of other margins too, and none of margin one: each would be as good."""
    found = stationary(*random_data(np.random.default_rng(2), 6)).scaled(0.8**0.5)
    recovered = univariate.recover(found.observation, RNG)
    assert recovered.status == "consistent" and recovered.certificate is None
    assert "margin" in recovered.fibre and "the margin is open" in recovered.reason
    network = read_network(found.observation.architecture, found.observation.parameters)
    margins = [each.margin for each in best_fits(network)]
    # the data are among the consistent ones, and others too
    assert len(margins) > 1 and min(abs(margin - 0.8) for margin in margins) < 1e-9


def test_margins_next_to_one_are_consistent_where_all_cells_hold_two_points():
    """Scaled to another margin the network has data of margin one all the same; that another is possible is said."""
    seen = 0
    for seed in range(40):
        found = stationary(*random_data(np.random.default_rng(seed), 6))
        if found is None:
            continue
        scaled = found.scaled(1.1**0.5)
        recovered = univariate.recover(scaled.observation, RNG)
        if recovered.status == "certified" and np.max(distance(recovered, found.support)) > 1e-3:
            assert "margin" in recovered.fibre and "given margin 1;" in recovered.reason
            seen += 1
    assert seen >= 3  # 12 were counted


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 39), st.integers(0, 2**32 - 1))
def test_splitting_and_permuting_neurons_changes_nothing(seed, shuffle):
    found, rng = trained(seed), np.random.default_rng(shuffle)
    order = rng.permutation(np.repeat(np.arange(len(found.outer)), 2))
    shares = rng.uniform(0.2, 0.8, len(found.outer))
    first = {}
    factors = []
    for k in order:
        factors.append(np.sqrt(1 - shares[k] if k in first else shares[k]))
        first[k] = True
    split = dataclasses.replace(
        found, inner=found.inner[order] * np.array(factors)[:, None], outer=found.outer[order] * np.array(factors)
    )
    one, two = univariate.recover(found.observation, rng), univariate.recover(split.observation, rng)
    assert two.status == one.status == "certified"
    # 1e-9: knots of parts differ by rounding only
    assert np.allclose(one.points, two.points, rtol=0, atol=1e-9)


def test_reflection_reflects():
    found = trained(8)
    mirrored = dataclasses.replace(found, inner=found.inner * [-1, 1], points=-found.points)
    one, two = check_complete(found), check_complete(mirrored)
    assert np.allclose(one.points, -two.points[::-1], rtol=0, atol=1e-9)


@pytest.mark.parametrize("noise", [1e-9, 1e-6])
def test_a_network_that_is_nearly_stationary_is_recovered_nearly(noise):
    found, rng = trained(2), np.random.default_rng(3)
    inner = found.inner * (1 + noise * rng.standard_normal(found.inner.shape))
    outer = found.outer * (1 + noise * rng.standard_normal(found.outer.shape))
    recovered = univariate.recover(observation_of(inner, outer), rng)
    assert recovered.status != "failed" and recovered.residual > noise / 100
    assert (
        np.max(distance(recovered, found.support)) < 1e4 * noise
    )  # slopes of f down to 0.01, angles of knots down to 0.01


def test_many_neurons_that_are_nearly_alike():
    """As training leaves them: every neuron in twenty parts, with errors well above rounding; points on knots included."""
    found, rng = trained(2), np.random.default_rng(8)
    parts = np.sqrt(rng.dirichlet(np.ones(20), len(found.outer))).ravel()
    which = np.repeat(np.arange(len(found.outer)), 20)
    errors = 1 + 1e-6 * rng.standard_normal((3, len(which)))
    inner = found.inner[which] * (parts * errors[:2]).T
    recovered = univariate.recover(observation_of(inner, found.outer[which] * parts * errors[2]), rng)
    assert recovered.status in ("certified", "partial")
    assert np.max(distance(recovered, found.support)) < 1e-2  # 1e4 times the errors, as above


@pytest.mark.parametrize("size", [1e-300, 1e-150, 1e150])
def test_sizes_beyond_floats_squares_are_refused(size):
    recovered = univariate.recover(observation_of(size * np.array([[0.6, 0.8]]), np.array([size])), RNG)
    assert recovered.status == "failed" and "is accepted" in recovered.reason


def test_a_network_that_is_at_no_stationary_point_is_refused_with_the_residual():
    rng = np.random.default_rng(0)
    unbalanced = univariate.recover(observation_of(rng.standard_normal((4, 2)), rng.standard_normal(4)), rng)
    assert unbalanced.status == "failed" and "not at a stationary point" in unbalanced.reason
    inner = rng.standard_normal((6, 2))
    signs = np.array([1.0, -1.0, 1.0, -1.0, 1.0, -1.0])
    balanced = univariate.recover(observation_of(inner, signs * np.linalg.norm(inner, axis=1)), rng)
    assert balanced.status == "failed" and "residual is" in balanced.reason
    assert univariate.recover(observation_of(np.zeros((3, 2)), np.zeros(3)), rng).status == "failed"


def test_unsupported_networks_are_named():
    for size, layers, word in (
        (2, (Linear(3), ReLU(), Linear(1, bias=False)), "shape (2,)"),
        (1, (Linear(3, bias=False), ReLU(), Linear(1, bias=False)), "a bias in the first layer"),
        (1, (Linear(3), ReLU(), Linear(2, bias=False)), "2 outputs"),
        (1, (Linear(3), ReLU(), Linear(3), ReLU(), Linear(1, bias=False)), "layers are"),
    ):
        architecture = Architecture(
            "other", (size,), layers, "logistic" if layers[-1].out_features == 1 else "cross_entropy"
        )
        observation = Observation("stationary-point", architecture, Parameters.random(architecture, rng=0))
        assert word in univariate.supports(observation)
        with pytest.raises(UnsupportedError, match="univariate"):
            univariate.recover(observation, RNG)


def test_the_residual_tells_a_wrong_margin():
    found = trained(4)
    network = read_network(found.observation.architecture, found.observation.parameters)
    right = best_fits(network)[0]
    assert right.margin == 1 and right.residual < 1e-12
    assert fit(network, right.equations, 50.0, right.tolerance).residual > 1e-3


def test_a_constant_neuron_beside_others_is_no_trouble():
    """f = 1 - |x| with (-2, -), (0, +), (2, -), λ = (1/2, 2, 1/2), slopes 1/4 at the kink, exactly; warnings are errors."""
    observation = observation_of(np.array([[0.0, 1.0], [1.0, 0.0], [-1.0, 0.0]]), np.array([1.0, -1.0, -1.0]))
    recovered = univariate.recover(observation, RNG)
    assert recovered.status == "certified", recovered.reason
    assert recovered.points[:, 0] == pytest.approx([-2.0, 0.0, 2.0], abs=1e-9)
    assert recovered.coefficients[:, 0] == pytest.approx([-0.5, 2.0, -0.5], abs=1e-9)
    assert provable.check(recovered, observation=observation).valid
