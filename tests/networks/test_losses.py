"""Losses: residuals are derivatives, values are accurate and stable; gradients of batches."""

from __future__ import annotations

from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import Architecture, Linear, Tanh
from provable.arithmetic import EPSILON, RATIONAL, Arithmetic, Array
from provable.errors import ArithmeticUnsupported, InputError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, loss_gradient
from provable.networks.losses import curvature, residual, value

WIDE = Arithmetic("ball", bits=2400)  # the exponentials of logits 700 apart need 2000 bits
STEP = flint.fmpq(1, 2**150)
seeds = st.integers(0, 2**32 - 1)


@st.composite
def instances(draw: st.DrawFn) -> tuple[str, Array, Array]:
    """A loss with outputs from tiny to large and fitting labels."""
    loss = draw(st.sampled_from(["squared", "logistic", "cross_entropy"]))
    n = draw(st.integers(0, 3))
    count = {"squared": draw(st.integers(1, 3)), "logistic": 1, "cross_entropy": draw(st.integers(2, 4))}[loss]
    rng = np.random.default_rng(draw(seeds))
    outputs = rng.standard_normal((n, count)) * 10.0 ** draw(st.integers(-8, 2))
    labels = {
        "squared": rng.standard_normal((n, count)),
        "logistic": rng.choice([-1.0, 1.0], n),
        "cross_entropy": rng.integers(0, count, n),
    }[loss]
    return loss, outputs, labels


@settings(max_examples=15)  # balls of 2400 bits
@given(instances())
def test_residuals_are_limits_of_difference_quotients(instance: tuple[str, Array, Array]) -> None:
    loss, outputs, labels = instance
    with WIDE.working():
        found = residual(loss, WIDE.convert(outputs), labels)
        assert found.shape == outputs.shape
        for k in range(outputs.shape[1]):
            shifted: list[Any] = []
            for step in (STEP, -STEP):
                moved = WIDE.convert(outputs).astype(object)
                moved[:, k] = moved[:, k] + step
                shifted.append(value(loss, moved, labels))
            error = found[:, k] - (shifted[0] - shifted[1]) / (2 * STEP)
            # truncation: STEP² / 6 times a third derivative, which is below 1 for all three losses
            assert all(abs(entry).upper() < 2.0**-290 for entry in error)


@settings(max_examples=15)  # balls of 2400 bits
@given(instances())
def test_curvatures_are_limits_of_difference_quotients(instance: tuple[str, Array, Array]) -> None:
    loss, outputs, labels = instance
    floats = curvature(loss, outputs, labels)
    assert floats.shape == (*outputs.shape, outputs.shape[1])
    with WIDE.working():
        found = curvature(loss, WIDE.convert(outputs), labels)
        for k in range(outputs.shape[1]):
            shifted: list[Any] = []
            for step in (STEP, -STEP):
                moved = WIDE.convert(outputs).astype(object)
                moved[:, k] = moved[:, k] + step
                shifted.append(residual(loss, moved, labels))
            error = found[:, :, k] - (shifted[0] - shifted[1]) / (2 * STEP)
            # truncation: STEP² / 6 times a fourth derivative of the loss, which is below 1 for all three
            assert all(abs(entry).upper() < 2.0**-290 for entry in error.reshape(-1))
        errors = abs(arithmetic.to_float(found - WIDE.convert(floats)))
        sizes = abs(arithmetic.to_float(found))
    # relative accuracy of every entry, however small, as for the residuals
    spread = 1 + 2 * abs(outputs).max(axis=1, initial=0.0)
    assert (errors <= 30 * EPSILON * sizes * spread[:, None, None] + 2.0**-1060).all()


@given(instances())
def test_floats_agree_with_balls(instance: tuple[str, Array, Array]) -> None:
    loss, outputs, labels = instance
    values, residuals = value(loss, outputs, labels), residual(loss, outputs, labels)
    assert values.shape == (len(outputs),) and residuals.shape == outputs.shape
    with WIDE.working():
        exact = value(loss, WIDE.convert(outputs), labels), residual(loss, WIDE.convert(outputs), labels)
        errors = [
            abs(arithmetic.to_float(e - WIDE.convert(f))) for e, f in zip(exact, (values, residuals), strict=True)
        ]
        sizes = [abs(arithmetic.to_float(e)) for e in exact]
    # relative accuracy, times the condition number of the exponentials: differences of logits are rounded
    spread = 1 + 2 * abs(outputs).max(axis=1, initial=0.0)
    assert (errors[0] <= 30 * EPSILON * sizes[0] * spread + 2.0**-1060).all()
    assert (errors[1] <= 30 * EPSILON * sizes[1] * spread[:, None] + 2.0**-1060).all()


def test_squared_loss_is_exact_in_rationals() -> None:
    outputs, labels = RATIONAL.convert((np.array([[1.5, 2.0], [0.0, -1.0]]), np.array([[0.5, 0.0], [0.25, 0.0]])))
    assert [str(entry) for entry in value("squared", outputs, labels)] == ["5/2", "17/32"]
    assert (residual("squared", outputs, labels) == outputs - labels).all()
    assert (residual("squared", outputs, arithmetic.to_float(labels)) == outputs - labels).all()
    with pytest.raises(ArithmeticUnsupported):
        value("logistic", outputs[:, :1], np.array([1, -1]))


def test_extreme_outputs_neither_overflow_nor_lose_the_tail() -> None:
    far = np.array([[1e300], [-1e300], [40.0], [-40.0]])
    ones = np.ones(4)
    assert (value("logistic", far, ones)[:2] == [0.0, 1e300]).all()
    assert abs(value("logistic", far, ones)[2] / np.exp(-40.0) - 1) < 30 * EPSILON
    assert (residual("logistic", far, ones)[:2, 0] == [0.0, -1.0]).all()
    assert abs(residual("logistic", far, ones)[2, 0] / -np.exp(-40.0) - 1) < 30 * EPSILON
    logits = np.array([[1e300, -1e300, 0.0], [0.0, 40.0, 0.0]])
    assert (value("cross_entropy", logits, np.array([0, 1])) == [0.0, np.log1p(2 * np.exp(-40.0))]).all()
    assert (value("cross_entropy", logits, np.array([1, 1]))[0]) == 2e300
    tail = residual("cross_entropy", logits, np.array([0, 1]))
    assert (tail[0] == 0).all() and abs(tail[1, 1] / (-2 * np.exp(-40.0)) - 1) < 30 * EPSILON


@given(seeds, st.integers(2, 4))
def test_softmax_residuals_sum_to_zero_and_forget_a_common_shift(seed: int, count: int) -> None:
    rng = np.random.default_rng(seed)
    outputs, labels = rng.integers(-8, 9, (3, count)).astype(float), rng.integers(0, count, 3)
    found = residual("cross_entropy", outputs, labels)
    assert (abs(found.sum(axis=1)) <= 30 * EPSILON).all()  # a sum of numbers whose absolute values add up to at most 2
    assert (found[np.arange(3), labels] < 0).all()
    shifted = outputs + 4.0  # exact on small integers
    assert (residual("cross_entropy", shifted, labels) == found).all()
    assert (value("cross_entropy", shifted, labels) == value("cross_entropy", outputs, labels)).all()


def test_two_classes_are_the_logistic_loss() -> None:
    margin = np.linspace(-30, 30, 13)
    two = np.stack([margin, np.zeros(13)], axis=1)
    for label, sign in ((0, 1.0), (1, -1.0)):
        pairs = value("cross_entropy", two, np.full(13, label)), value("logistic", margin[:, None], np.full(13, sign))
        # the same function by two formulas; exp has condition number |margin| <= 30
        assert (abs(pairs[0] - pairs[1]) <= 30 * 30 * EPSILON * pairs[1]).all()


WRONG = [
    ("hinge", np.zeros((2, 1)), np.zeros(2), "loss: found 'hinge'; squared, logistic, cross_entropy are accepted"),
    ("squared", np.zeros(2), np.zeros(2), "outputs: found shape (2,); (n, C) is accepted"),
    ("squared", np.zeros((2, 3)), np.zeros(2), "labels: found shape (2,) with squared; (2, 3) is accepted"),
    ("squared", np.zeros((2, 1)), np.array([0, np.nan]), "labels: found a number that is not finite"),
    ("logistic", np.zeros((2, 1)), np.array([0, 1]), "labels: found a label other than 1 and -1 with logistic"),
    ("logistic", np.zeros((2, 2)), np.ones((2, 2)), "outputs: found 2 per sample with logistic; one is accepted"),
    (
        "cross_entropy",
        np.zeros((2, 3)),
        np.array([0, 3]),
        "labels: found 0 to 3 with cross_entropy; 0 to 2 are accepted",
    ),
    ("cross_entropy", np.zeros((2, 3)), np.array([-1, 1]), "labels: found -1 to 1 with cross_entropy; 0 to 2 are"),
    (
        "cross_entropy",
        np.zeros((2, 3)),
        np.array([0.0, 1.0]),
        "labels: found shape (2,) and type float64 with cross_entropy",
    ),
]


@pytest.mark.parametrize(("loss", "outputs", "labels", "message"), WRONG, ids=[row[3][:45] for row in WRONG])
def test_wrong_labels_are_named(loss: str, outputs: Array, labels: Array, message: str) -> None:
    for function in (value, residual):
        with pytest.raises(InputError) as caught:
            function(loss, outputs, labels)
        assert str(caught.value).startswith(message)


NETWORKS = {
    loss: Architecture(loss, (2,), (Linear(3), Tanh(), Linear(1 if loss == "logistic" else 2)), loss)
    for loss in ("squared", "logistic", "cross_entropy")
}


@pytest.mark.parametrize("loss", list(NETWORKS))
@settings(max_examples=10)  # balls
@given(seed=seeds)
def test_batch_gradients_are_limits_of_difference_quotients(loss: str, seed: int) -> None:
    architecture, rng = NETWORKS[loss], np.random.default_rng(seed)
    labels = {"squared": rng.standard_normal((4, 2)), "logistic": rng.choice([-1.0, 1.0], 4)}.get(
        loss, rng.integers(0, 2, 4)
    )
    floats = Parameters.random(architecture, rng=rng), rng.standard_normal((4, 2))
    with Arithmetic("ball", bits=600).working():
        parameters, samples = arithmetic.BALL.convert(floats)
        found = loss_gradient(architecture, parameters, samples, labels).vector()
        coordinate = int(rng.integers(architecture.parameter_count))
        shifted: list[Any] = []
        for step in (STEP, -STEP):
            vector = parameters.vector().copy()
            vector[coordinate] = vector[coordinate] + step
            outputs = forward(architecture, Parameters.from_vector(architecture, vector), samples)
            shifted.append(value(loss, outputs, labels).sum())
        error = found[coordinate] - (shifted[0] - shifted[1]) / (2 * STEP)
        # truncation: STEP² / 6 times a third derivative below 2**40
        assert abs(error).upper() < 2.0**-250
    residuals = residual(loss, forward(architecture, *floats), labels)
    gradient = loss_gradient(architecture, *floats, labels)
    assert gradient == embed(architecture, floats[0], Measure(floats[1], residuals))
    mean = loss_gradient(architecture, *floats, labels, reduction="mean")
    assert (4 * mean.vector() == gradient.vector()).all()  # dividing by four is exact


def test_reductions_are_checked_and_empty_batches_have_a_sum_only() -> None:
    architecture = NETWORKS["squared"]
    parameters, nothing = Parameters.random(architecture, rng=0), np.empty((0, 2))
    assert not loss_gradient(architecture, parameters, nothing, nothing).vector().any()
    with pytest.raises(InputError, match="found no samples with the reduction mean"):
        loss_gradient(architecture, parameters, nothing, nothing, reduction="mean")
    with pytest.raises(InputError, match="reduction: found 'max'; sum, mean are accepted"):
        loss_gradient(architecture, parameters, nothing, nothing, reduction="max")
