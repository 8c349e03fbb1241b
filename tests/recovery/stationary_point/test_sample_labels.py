"""Exact batch methods on smooth networks trained with weight decay, and what the coefficients say of labels."""

import numpy as np
import pytest
import scipy.optimize

from provable.architectures import Architecture, Linear, Softplus, Tanh
from provable.networks import Parameters, forward, loss_gradient, losses
from provable.observations import Observation
from provable.recovery.selection import recover
from provable.recovery.stationary_point.sample_labels import sample_labels


def trained(architecture, points, labels, decay, seed):
    """Σ ℓ + ½ w ‖θ‖² at a stationary point: BFGS, then Newton with numerical second derivatives."""
    rng = np.random.default_rng(seed)

    def gradient(theta):
        parameters = Parameters.from_vector(architecture, theta)
        return loss_gradient(architecture, parameters, points, labels).vector() + decay * theta

    def objective(theta):
        outputs = forward(architecture, Parameters.from_vector(architecture, theta), points)
        total = float(np.sum(losses.value(architecture.loss, outputs, labels)))
        return total + 0.5 * decay * theta @ theta, gradient(theta)

    theta = rng.standard_normal(architecture.parameter_count) / np.sqrt(3)
    theta = scipy.optimize.minimize(objective, theta, jac=True, method="BFGS", options={"maxiter": 5000}).x
    for _ in range(6):
        steps = 1e-6 * np.eye(len(theta))
        hessian = np.array([(gradient(theta + step) - gradient(theta - step)) / 2e-6 for step in steps])
        theta = theta - np.linalg.lstsq((hessian + hessian.T) / 2, gradient(theta), rcond=1e-12)[0]
    assert np.linalg.norm(gradient(theta)) < 1e-13 * decay * np.linalg.norm(theta) * 100
    return Observation("stationary-point", architecture, Parameters.from_vector(architecture, theta))


def network(activation, outputs, loss, *, width=10, bias=True):
    return Architecture("smooth", (4,), (Linear(width, bias=bias), activation, Linear(outputs, bias=bias)), loss)


def data(count, seed=1):
    return np.random.default_rng(seed).standard_normal((count, 4))


def test_three_classes_behind_tanh_are_certified_with_labels_and_weight_decay():
    points, labels = data(3), np.arange(3)
    observation = trained(network(Tanh(), 3, "cross_entropy"), points, labels, 1e-3, 0)
    result = recover(observation, rng=0)
    assert result.status == "certified"
    distances = np.linalg.norm(result.points[:, None] - points[None], axis=2)
    assert np.max(np.min(distances, axis=0)) < 1e-12
    np.testing.assert_array_equal(result.labels, labels[np.argmin(distances, axis=1)])
    assert "weight decay 0.001" in result.reason
    assert "gradient" not in result.reason


def test_two_samples_behind_softplus_are_certified_with_labels():
    points, labels = data(2), np.array([-1.0, 1.0])
    result = recover(trained(network(Softplus(), 1, "logistic"), points, labels, 1e-3, 0), rng=0)
    assert result.status == "certified"
    distances = np.linalg.norm(result.points[:, None] - points[None], axis=2)
    assert np.max(np.min(distances, axis=0)) < 1e-12
    np.testing.assert_array_equal(result.labels, labels[np.argmin(distances, axis=1)])


@pytest.mark.parametrize("bias", [True, False])
def test_tanh_with_one_output_collapses_to_one_neuron_and_that_is_said(bias):
    # weight decay leaves all ten neurons equal: one sample explains what three made
    observation = trained(network(Tanh(), 1, "logistic", bias=bias), data(3), np.array([-1.0, 1.0, -1.0]), 1e-3, 0)
    result = recover(observation, rng=0)
    assert "undetermined: by its equations the point shows at most 1 sample, and may have others" in result.reason
    stated = Observation("stationary-point", observation.architecture, observation.parameters, batch_size=3)
    assert recover(stated, rng=0).status not in ("certified",)


def measure(count=3, loss="logistic", outputs=1):
    architecture = network(Tanh(), outputs, loss)
    rng = np.random.default_rng(5)
    theta = Parameters.from_vector(architecture, rng.standard_normal(architecture.parameter_count))
    return Observation("stationary-point", architecture, theta), data(count, 3)


def test_common_weight_decay_is_found_and_unequal_ones_are_rejected():
    observation, points = measure()
    outputs = forward(observation.architecture, observation.parameters, points)
    labels = np.array([1.0, -1.0, 1.0])
    coefficients = -losses.residual("logistic", outputs, labels) / 0.02
    shown = sample_labels(observation, points, coefficients)
    np.testing.assert_array_equal(shown.labels, labels)
    assert shown.possible and "weight decay 0.02" in shown.remark
    wrong = sample_labels(observation, points, coefficients * np.array([[1.0], [1.1], [1.0]]))
    assert not wrong.possible and wrong.labels is None
    assert "not those of one training" in wrong.remark
    assert not sample_labels(observation, points, 0 * coefficients).possible


def test_common_margin_is_enough_whatever_the_multipliers():
    observation, points = measure(count=2)
    outputs = forward(observation.architecture, observation.parameters, points)[:, 0]

    def along(factor):  # towards the other sample, until the outputs have one magnitude
        return forward(observation.architecture, observation.parameters, (points[:1] + factor * points[1:]))[0, 0]

    target = np.sign(outputs[0]) * abs(outputs[0]) * 0.9
    second = scipy.optimize.brentq(lambda factor: along(factor) - target, *bracket(along, target))
    both = np.vstack([points[:1] + second * points[1:]] * 2)
    shown = sample_labels(observation, both, np.sign(target) * np.array([[0.3], [7.0]]))
    assert shown.possible and "margin" in shown.remark
    scaled = sample_labels(observation, points, np.sign(outputs)[:, None] * [[1.0], [5.0]], scales_open=True)
    assert scaled.possible and "choice of the scales" in scaled.remark


def bracket(function, target):
    places = np.linspace(-3, 3, 601)
    signs = np.sign([function(place) - target for place in places])
    change = int(np.flatnonzero(signs[1:] != signs[:-1])[0])
    return places[change], places[change + 1]


def test_regression_needs_labels():
    observation, points = measure(loss="squared", outputs=2)
    outputs = forward(observation.architecture, observation.parameters, points)
    labels = np.random.default_rng(0).standard_normal((3, 2))
    coefficients = (labels - outputs) / 0.05
    assert sample_labels(observation, points, coefficients).labels is None
    known = Observation("stationary-point", observation.architecture, observation.parameters, labels=labels[[2, 0, 1]])
    shown = sample_labels(known, points, coefficients)
    np.testing.assert_allclose(shown.labels, labels, atol=1e-9)
    assert "0.05" in shown.remark
    assert not sample_labels(known, points, coefficients * np.array([[1.0], [1.5], [1.0]])).possible
