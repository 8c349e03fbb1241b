"""The method ``wang2023``: what it supports, and that an estimate is never called more than it is."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from provable.architectures import Architecture, Flatten, Linear
from provable.architectures.activations import GELU, ReLU, Tanh
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.recovery.acceptance import relative_misfit
from provable.recovery.batch.wang2023.method import METHOD, estimate, recover, supports
from tests.recovery.batch.test_wang2023 import CUBIC, batch, design


def observe(activation, weights, points, labels, *, output_bias=None, reduction="sum", loss="squared", **changes):
    count, dimension = weights.shape
    layers = (Linear(count, bias=False), activation, Linear(1, bias=output_bias is not None))
    architecture = Architecture("shallow", (dimension,), layers, loss)
    arrays = {"0/weight": weights, "2/weight": np.full((1, count), 1 / count)}
    if output_bias is not None:
        arrays["2/bias"] = np.array([output_bias])
    observation = Observation.from_data(
        architecture, Parameters(architecture, arrays), points, labels, reduction=reduction
    )
    return dataclasses.replace(observation, **changes)


def without(observation, *keys):
    return dataclasses.replace(
        observation, vector={key: piece for key, piece in observation.vector.items() if key not in keys}
    )


@pytest.fixture(scope="module")
def noisy():
    weights = np.random.default_rng(0).standard_normal((3000, 8))
    points = np.linalg.qr(np.random.default_rng(1).standard_normal((8, 2)))[0].T
    return observe(GELU(), weights, points, np.array([1.0, -1.0]), output_bias=3.0), points


def test_an_estimate_has_failed_and_says_how_far_off_it_is(noisy):
    observation, points = noisy
    recovery = METHOD.recover(observation, np.random.default_rng(0))
    assert recovery.status == "failed"
    assert recovery.method == "wang2023"
    assert "√(d/m) = 0.052, and is not refined" in recovery.reason
    assert "the residual" in recovery.reason
    image = embed(observation.architecture, observation.parameters, recovery.measure)
    assert recovery.residual == pytest.approx(relative_misfit(image, observation.vector), rel=1e-12)
    assert 1e-4 < recovery.residual < 0.5
    errors = recovery.measure.matching(Measure(points, np.zeros((2, 1)))).errors
    assert np.all(errors < 0.3)
    raw = estimate(observation, rng=np.random.default_rng(0))
    np.testing.assert_array_equal(raw.points, recovery.points)  # nothing was refined
    np.testing.assert_array_equal(raw.residuals[:, None], recovery.coefficients)


def test_it_is_never_taken_by_itself():
    assert not METHOD.automatic


def test_exact_moments_pass_the_test():
    """Neurons that make all moments exact: the only way to a residual at rounding level without refinement."""
    weights, points = design(3, 5), np.eye(3)[:2]
    observation = observe(CUBIC, weights, points, np.array([1.0, -1.0]), output_bias=3.0)
    recovery = recover(observation, np.random.default_rng(0))
    assert recovery.status == "consistent"
    np.testing.assert_allclose(np.sort(recovery.labels.ravel()), [-1.0, 1.0], atol=1e-10)


@pytest.mark.parametrize("spread", [0.01, 0.3, 5.0])
def test_standard_deviation_of_the_weights_is_read_from_them(spread):
    """ReLU and a cubic of adjusted coefficients: the same function of x, so the same estimate."""
    weights = np.random.default_rng(0).standard_normal((2000, 5))
    weights /= np.sqrt(np.mean(weights**2))
    points = np.eye(5)[:2]
    plain = observe(ReLU(), weights, points, np.array([1.0, -1.0]))
    scaled = observe(ReLU(), spread * weights, points, np.array([1.0, -1.0]))
    rng = np.random.default_rng
    one, other = estimate(plain, rng=rng(0)), estimate(scaled, rng=rng(0))
    # the gradients differ, because r = f - y does; both estimates are near the same points
    for found in (one, other):
        errors = Measure(found.points, np.zeros(2)).matching(Measure(points, np.zeros(2))).errors
        assert np.all(errors < 0.35)
    np.testing.assert_allclose(np.linalg.norm(other.points, axis=1), 1.0, rtol=1e-12)


def test_reduction_and_first_layer_alone(noisy):
    observation, _ = noisy
    rng = np.random.default_rng
    halved = {key: piece / 2 for key, piece in observation.vector.items()}
    mean = dataclasses.replace(observation, vector=halved, reduction="mean")
    one, other = estimate(observation, rng=rng(0)), estimate(mean, rng=rng(0))
    np.testing.assert_allclose(other.points, one.points, atol=1e-12)
    np.testing.assert_allclose(2 * other.residuals, one.residuals, rtol=1e-10)
    np.testing.assert_allclose(other.labels, one.labels, rtol=1e-9)
    # ∂L/∂W alone tells the number of samples, ∂L/∂a alone does not
    unknown = dataclasses.replace(observation, batch_size=None)
    np.testing.assert_array_equal(estimate(without(unknown, "2/weight"), rng=rng(0)).points, one.points)
    labelled = dataclasses.replace(unknown, labels=np.array([1.0, -1.0]))
    assert len(estimate(without(labelled, "0/weight"), rng=rng(0)).points) == 2
    blind = recover(without(unknown, "0/weight"), rng(0))
    assert blind.status == "failed"
    assert "batch_size is not stated" in blind.reason
    assert len(blind.points) == 0


def test_zero_gradient_and_too_many_samples_are_no_batch(noisy):
    observation, _ = noisy
    nothing = {key: 0 * piece for key, piece in observation.vector.items()}
    for size in (None, 2):
        found = recover(dataclasses.replace(observation, vector=nothing, batch_size=size), np.random.default_rng(0))
        assert found.status in ("failed", "consistent")
        assert found.status == "failed" or not np.any(found.coefficients)
    many = recover(dataclasses.replace(observation, batch_size=9), np.random.default_rng(0))
    assert many.status == "failed"
    assert "samples: found 9; an integer from 1 to 8 is accepted" in many.reason


def test_duplicates_and_cancelling_samples():
    """Two samples at one point are one to the gradient; the answer is not called a batch of two."""
    weights = np.random.default_rng(0).standard_normal((500, 4))
    points = np.eye(4)[[0, 0]]
    recovery = recover(observe(Tanh(), weights, points, np.array([1.0, 0.5])), np.random.default_rng(0))
    assert recovery.status == "failed"


def test_what_is_not_supported():
    weights = np.random.default_rng(0).standard_normal((200, 6))
    points, labels = batch(6, 2, 0)[0], np.array([1.0, -1.0])
    base = observe(Tanh(), weights, points, labels)
    assert supports(base) is None
    uniform = np.random.default_rng(0).uniform(-1, 1, (400, 6))
    assert "not independent normal" in supports(observe(Tanh(), uniform, points, labels))
    assert "not independent normal" in supports(observe(Tanh(), weights + 0.5, points, labels))
    assert "not independent normal" in supports(observe(Tanh(), 0 * weights, points, labels))
    assert "norms of the inputs" in supports(dataclasses.replace(base, unit_norm=False))
    assert "neither the gradient" in supports(
        dataclasses.replace(observe(Tanh(), weights, points, labels, output_bias=0.0), vector={"2/bias": np.ones(1)})
    )
    stationary = Observation(kind="stationary-point", architecture=base.architecture, parameters=base.parameters)
    assert "stationary-point" in supports(stationary)
    deep = Architecture("deep", (2, 3), (Flatten(), Linear(5), Tanh(), Linear(4), Tanh(), Linear(1)), "squared")
    observation = Observation.from_data(deep, Parameters.random(deep, rng=0), np.ones((1, 2, 3)), np.ones(1))
    assert "found 3 linear layers and 1 outputs" in supports(observation)
    biased = Architecture("biased", (6,), (Linear(200), Tanh(), Linear(1)), "squared")
    observation = Observation.from_data(biased, Parameters.random(biased, rng=0), points, labels)
    assert "has a bias that is not zero" in supports(observation)
    bent = Architecture("bent", (6,), (Linear(200, bias=False), Tanh(), Linear(1, bias=False), Tanh()), "squared")
    observation = Observation.from_data(bent, Parameters.random(bent, rng=0), points, labels)
    assert "a tanh follows the last linear layer" in supports(observation)
    dead = {**base.parameters, "2/weight": np.zeros((1, 200))}
    silent = dataclasses.replace(
        base, parameters=Parameters(base.architecture, dead), vector={"0/weight": np.ones((200, 6))}
    )
    assert "has zero weights, and its gradient was not observed" in supports(silent)
    with pytest.raises(UnsupportedError, match=r"^method wang2023: it needs weights that were drawn"):
        recover(stationary, np.random.default_rng(0))
    with pytest.raises(UnsupportedError, match=r"^method wang2023: it needs weights that were drawn"):
        estimate(stationary, rng=np.random.default_rng(0))
