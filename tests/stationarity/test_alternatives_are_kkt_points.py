"""The verifier of KKT points, which finds multipliers of its own, accepts the alternatives to data that it accepts."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given, settings

from provable.arithmetic import RATIONAL
from provable.max_margin import maximise_margin
from provable.stationarity import alternative_data, verify_stationarity
from provable.theorems.strategies.stationary_points import stationary_points


@settings(max_examples=10)
@given(stationary_points(depths=(2,)))
def test_alternatives_of_exact_points_are_proved(point):
    exact = RATIONAL.convert(point)
    given_data = verify_stationarity(exact.architecture, exact.parameters, exact.points, exact.labels)
    assume(given_data.verified)  # Clarke weights other than those on the left may be needed, and are found
    result = alternative_data(exact.architecture, exact.parameters, exact.points, exact.labels, exact.weights, rng=0)
    for other in result.found:
        report = verify_stationarity(exact.architecture, exact.parameters, other.points, other.labels)
        assert report.verified and report.residual == 0, (other.name, report.explanation)


@pytest.mark.parametrize("seed", range(6))
def test_alternatives_of_networks_of_largest_margin_are_verified(seed):
    rng = np.random.default_rng(seed)
    points, labels = rng.standard_normal((7, 3)), rng.choice([-1.0, 1.0], 7)
    network = maximise_margin(points, labels, bias=bool(seed % 2), rng=seed)
    result = alternative_data(
        network.architecture,
        network.parameters,
        points,
        labels,
        network.multipliers,
        slopes={"1": network.clarke_weights},
        rng=seed,
    )
    assert result.residual < 1e-9  # what the network of largest margin promises
    assert any(other.distances.hausdorff >= result.diameter for other in result.found)
    for other in result.found:
        assert other.in_cells
        assert other.change <= 1e-12  # what was asked for; it is 1e-14
        report = verify_stationarity(
            network.architecture, network.parameters, other.points, other.labels, kink_tolerance=1e-9
        )
        assert report.verified, (other.name, report.explanation)
