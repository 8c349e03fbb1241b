"""Oracles that are not of the form w ↦ Σ_j α_j 1[w·x_j > 0] x_j are refused in one sentence that says why."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit

from provable.errors import InputError
from provable.measures import Measure
from provable.recovery.kernel_regime.arrangement_walk import infinite_width, walk_arrangement
from provable.recovery.kernel_regime.arrangement_walk_oracle import simulated_network

RNG = np.random.default_rng(5)
POINTS, COEFFICIENTS = RNG.standard_normal((12, 4)), RNG.choice([-1.0, 1.0], 12)
GOOD = simulated_network(Measure(POINTS, COEFFICIENTS))


def noisy(weights):
    return GOOD(weights) + 1e-3 * np.random.default_rng(len(weights)).standard_normal(weights.shape)


def softened(weights):
    unit = weights / np.linalg.norm(weights, axis=1, keepdims=True)
    return expit(1e6 * unit @ POINTS.T) @ (POINTS * COEFFICIENTS[:, None])


REFUSED = {
    "another shape": (lambda w: w[:, :2], r"answer of shape \(24, 2\) to weights of shape \(24, 4\)"),
    "one vector": (lambda w: w[0], "the same shape is accepted"),
    "nan": (lambda w: GOOD(w) * np.nan, "not finite"),
    "infinite": (lambda w: GOOD(w) + np.inf, "not finite"),
    "complex": (lambda w: GOOD(w) * 1j, "real numbers are accepted"),
    "tiny": (lambda w: 1e-200 * GOOD(w), "found answers as large as"),
    "huge": (lambda w: 1e200 * GOOD(w), "found answers as large as"),
    "noise": (noisy, "differ by .* without noise is accepted"),
    "linear": (lambda w: w, r"g\(cw\) and g\(w\)"),
    "normalised": (
        lambda w: w / np.linalg.norm(w, axis=1, keepdims=True),
        r"g\(w \+ δ\), for most w .* differ by",
    ),
    "relu instead of its derivative": (lambda w: np.maximum(w @ POINTS.T, 0) @ POINTS, r"g\(cw\) and g\(w\)"),
    "a cubic of the direction": (
        lambda w: np.round(1e3 * w / np.linalg.norm(w, axis=1, keepdims=True)) ** 2,
        r"g\(w\) \+ g\(-w\) at different neurons",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name):
    oracle, message = REFUSED[name]
    with pytest.raises(InputError, match=message) as caught:
        infinite_width(oracle, 4)
    assert str(caught.value).startswith("oracle: ") and "\n" not in str(caught.value)


def test_a_smooth_step_that_is_steep_is_not_taken_for_a_jump():
    with pytest.raises(InputError, match="oracle: "):
        walk_arrangement(softened, 4, most_evaluations=20_000)


def test_a_step_function_of_angles_runs_out_of_evaluations():
    def rounded(
        weights,
    ):  # odd and constant on small cells, but these are cells of no arrangement of central hyperplanes
        return np.round(1e7 * weights / np.linalg.norm(weights, axis=1, keepdims=True))

    with pytest.raises(InputError, match="the walk needed more than 5000 evaluations"):
        walk_arrangement(rounded, 4, most_evaluations=5000)


def test_hyperplanes_that_do_not_pass_through_their_own_jump_do_not_close():
    def foreign(weights):  # jumps across w·x_j = 0, but by other vectors
        return (weights @ POINTS.T > 0) @ np.roll(POINTS, 1, axis=0)

    with pytest.raises(InputError, match=r"oracle: after 8 great circles the .* points found miss its answers"):
        walk_arrangement(foreign, 4)


def test_a_bias_that_the_inputs_do_not_have():
    with pytest.raises(InputError, match="bias: found points that miss"):
        infinite_width(GOOD, 4, bias=1.0)


def test_a_point_without_bias():
    points = POINTS.copy()
    points[:, -1] = 1.0
    points[3, -1] = 0.0
    with pytest.raises(InputError, match="bias: found a point whose last coordinate is zero"):
        infinite_width(simulated_network(Measure(points, COEFFICIENTS)), 4, bias=1.0)
