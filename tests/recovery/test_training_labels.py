"""A change of parameters by linearised training: every sample, its label and its norm."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import provable
from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, losses, tangent_kernel
from provable.observations import Observation
from provable.recovery.training_labels import linearised_outputs, trained_labels, with_norms


def trained(seed, samples, dimension, width, *, bias, activation=None, labels=None, fraction=1.0):
    """Linearised training until a fraction of the residual at the start is gone; the samples, their labels and the change."""
    rng = np.random.default_rng(seed)
    activation = ReLU() if activation is None else activation
    architecture = Architecture(
        "trained", (dimension,), (Linear(width, bias=bias), activation, Linear(1, bias=bias)), "squared"
    )
    parameters = Parameters.random(architecture, rng=rng)
    points = rng.standard_normal((samples, dimension))
    labels = rng.choice([-1.0, 1.0], size=samples) if labels is None else labels
    kernel = np.asarray(tangent_kernel(architecture, parameters, points)).reshape(samples, samples)
    start = forward(architecture, parameters, points).reshape(-1)
    coefficients = np.linalg.solve(kernel, fraction * (labels - start))
    change = embed(architecture, parameters, Measure(points, coefficients))
    observation = Observation(
        kind="parameter-change", architecture=architecture, parameters=parameters, vector=dict(change)
    )
    return observation, Measure(points, coefficients[:, None]), labels, np.linalg.cond(kernel)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.booleans(), st.floats(0.01, 100))
def test_the_linearised_network_interpolates_at_any_scale_of_the_labels(seed, samples, bias, scale):
    labels = scale * np.random.default_rng(seed).standard_normal(samples)
    observation, truth, labels, condition = trained(seed, samples, 6, 40, bias=bias, labels=labels)
    outputs = linearised_outputs(observation, truth.points)[:, 0]
    size = float(np.max(np.abs(labels))) + float(
        np.max(np.abs(forward(observation.architecture, observation.parameters, truth.points)))
    )
    assert np.max(np.abs(outputs - labels)) <= 30 * 40 * EPSILON * condition * size


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("activation", [ReLU(), Tanh()], ids=lambda layer: layer.type)
def test_all_samples_and_labels_come_back(seed, activation):
    observation, truth, labels, _ = trained(seed, 4, 12, 60, bias=True, activation=activation)
    recovery = provable.recover(observation, rng=seed)
    sizes = np.abs(truth.coefficients)
    # a sample that was nearly fitted from the start is hardly visible, and its ball too small
    assert recovery.status == "certified" or (np.min(sizes) < 1e-4 * np.max(sizes) and recovery.status == "consistent")
    matching = recovery.measure.matching(truth)
    # what machine precision leaves of well separated random samples
    assert matching.error < 1e-9
    assert np.array_equal(recovery.labels[matching.permutation, 0], labels)


@pytest.mark.parametrize("seed", range(3))
def test_labels_of_one_magnitude_fix_the_norms(seed):
    """Without biases the change itself leaves every norm open."""
    observation, truth, labels, _ = trained(seed, 3, 8, 60, bias=False)
    silent = provable.recover(observation, rng=seed)
    assert "positive-scaling" in silent.fibre
    assert silent.labels is None
    assert silent.measure.matching(truth, fibre=("permutation", "positive-scaling")).error < 1e-9
    told = provable.recover(dataclasses.replace(observation, labels=labels[::-1].copy()), rng=seed)
    matching = told.measure.matching(truth)
    assert matching.error < 1e-9
    assert np.array_equal(told.labels[matching.permutation, 0], labels)
    assert "norms are those" in told.reason


def test_early_stopping_hides_labels_and_not_samples():
    observation, truth, _, _ = trained(0, 4, 12, 60, bias=True, fraction=0.5)
    recovery = provable.recover(observation, rng=0)
    assert recovery.status == "certified"
    assert recovery.measure.matching(truth).error < 1e-9
    assert recovery.labels is None
    assert "does not interpolate" in recovery.reason


def test_labels_of_other_signs_leave_the_norms_open():
    """Training that stopped early: the output of a sample still has the sign that it had at the start."""
    labels = np.array([1.0, -1.0, 1.0])
    observation, truth, _, _ = trained(3, 3, 8, 60, bias=False, labels=labels)
    told = dataclasses.replace(observation, labels=-labels)
    recovery = provable.recover(told, rng=0)
    assert "positive-scaling" in recovery.fibre
    assert recovery.labels is None
    assert "other signs" in recovery.reason
    assert recovery.measure.matching(truth, fibre=("permutation", "positive-scaling")).error < 1e-9


def test_labels_of_two_magnitudes_leave_the_norms_open():
    labels = np.array([1.0, -2.0, 1.0])
    observation, truth, labels, _ = trained(1, 3, 8, 60, bias=False, labels=labels)
    recovery = provable.recover(dataclasses.replace(observation, labels=labels), rng=0)
    assert "positive-scaling" in recovery.fibre
    assert recovery.measure.matching(truth, fibre=("permutation", "positive-scaling")).error < 1e-9


def test_stated_labels_of_any_size_are_recognised():
    labels = np.array([0.25, -2.0, 1.0])
    observation, truth, labels, _ = trained(2, 3, 12, 60, bias=True, labels=labels)
    observation = dataclasses.replace(observation, labels=np.sort(labels))
    found, remark = trained_labels(observation, truth.points, truth.coefficients)
    assert np.array_equal(found[:, 0], labels)
    assert not remark


def test_missing_pieces_hide_the_labels():
    observation, truth, _, _ = trained(0, 3, 8, 60, bias=True)
    part = dataclasses.replace(observation, vector={key: observation.vector[key] for key in ("0/weight", "0/bias")})
    assert linearised_outputs(part, truth.points) is None
    labels, remark = trained_labels(part, truth.points, truth.coefficients)
    assert labels is None
    assert "all pieces" in remark


def test_the_gradient_of_a_loss_keeps_its_open_norms():
    observation, _, labels, _ = trained(0, 3, 8, 60, bias=False)
    gradient = dataclasses.replace(observation, kind="gradient", batch_size=None)
    recovery = provable.recover(gradient, rng=0)
    told = dataclasses.replace(gradient, labels=labels)
    assert with_norms(told, recovery) is recovery


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic"])
def test_classes_are_read_off_the_coefficients_of_any_training(loss):
    """Sums of y - p over the steps of a descent whose predictions change."""
    rng = np.random.default_rng(0)
    outputs = 4 if loss == "cross_entropy" else 1
    architecture = Architecture("classes", (6,), (Linear(30), Tanh(), Linear(outputs)), loss)
    parameters = Parameters.random(architecture, rng=rng)
    points = rng.standard_normal((5, 6))
    labels = rng.integers(4, size=5) if outputs > 1 else rng.choice([-1.0, 1.0], size=5)
    coefficients = np.zeros((5, outputs))
    for _ in range(20):
        coefficients -= 0.1 * losses.residual(loss, rng.standard_normal((5, outputs)), labels)
    observation = Observation(
        kind="parameter-change",
        architecture=architecture,
        parameters=parameters,
        vector=dict(embed(architecture, parameters, Measure(points, coefficients))),
    )
    found, remark = trained_labels(observation, points, coefficients)
    assert np.array_equal(found, labels)
    assert not remark
    assert trained_labels(observation, points, 0 * coefficients)[0] is None
    if outputs > 1:
        assert trained_labels(observation, points, coefficients + 1)[0] is None
