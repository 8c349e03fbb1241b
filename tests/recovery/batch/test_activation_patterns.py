"""Batches behind one hidden layer of ReLUs or leaky ReLUs, by their activation patterns."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits

from provable.architectures import Architecture, Flatten, Identity, LeakyReLU, Linear, ReLU, Sigmoid, Tanh
from provable.errors import UnsupportedError
from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.recovery import Recovery
from provable.recovery.batch.activation_patterns import METHOD
from provable.recovery.batch.column_space import ColumnSpace

EPSILON = 2.0**-52


def recovered(observation: Observation) -> Recovery:
    return METHOD.recover(observation, np.random.default_rng(0))


def network(size, width, *, activation=None, bias=True, loss="squared", outputs=1, extra=(), seed=0, shape=None):
    activation = activation or ReLU()
    layers = (Flatten(), Linear(width, bias), activation, *extra, Linear(outputs, bias))
    architecture = Architecture("drawn", shape or (size,), layers, loss)
    rng = np.random.default_rng(seed)
    drawn = Parameters.random(architecture, rng=rng, scale="he")
    numbers = {key: 0.1 * rng.standard_normal(p.shape) if key.endswith("bias") else p for key, p in drawn.items()}
    return Parameters(architecture, numbers), rng


def observed(parameters, inputs, rng, **options):
    architecture = parameters.architecture
    labels = {
        "squared": rng.standard_normal((len(inputs), architecture.output_size)),
        "logistic": rng.choice([-1.0, 1.0], size=len(inputs)),
        "cross_entropy": rng.integers(architecture.output_size, size=len(inputs)),
    }[architecture.loss]
    return Observation.from_data(architecture, parameters, inputs, labels, **options), labels


def directions(array):
    flat = array.reshape(len(array), -1)
    return flat / np.linalg.norm(flat, axis=1, keepdims=True)


def errors(found, wanted):
    """Relative error of every sample, matched as well as possible; infinite if some are missing."""
    found, wanted = found.reshape(len(found), -1), wanted.reshape(len(wanted), -1)
    if len(found) != len(wanted):
        return np.array([np.inf])
    costs = np.linalg.norm(found[:, None] - wanted[None], axis=2) / np.linalg.norm(wanted, axis=1)
    return costs[linear_sum_assignment(costs)]


def condition(parameters, inputs, labels):
    """κ of the sensitivities, one column per sample: what the least-squares solution multiplies errors by."""
    architecture = parameters.architecture
    if architecture.loss != "squared":
        return 1e3
    preactivations = inputs.reshape(len(inputs), -1) @ parameters["1/weight"].T
    if "1/bias" in parameters:
        preactivations = preactivations + parameters["1/bias"]
    slope = getattr(architecture.layers[2], "negative_slope", 0.0)
    residuals = (forward(architecture, parameters, inputs) - labels)[:, 0]
    last = f"{len(architecture.layers) - 1}/weight"
    columns = np.where(preactivations > 0, 1.0, slope) * parameters[last][0] * residuals[:, None]
    return float(np.linalg.cond(columns))


@st.composite
def batches(draw):
    size, count = draw(st.integers(4, 40)), draw(st.integers(1, 9))
    count = min(count, size)
    options = {
        "activation": draw(st.sampled_from([ReLU(), LeakyReLU(0.2), LeakyReLU(-0.5), LeakyReLU(0.01)])),
        "bias": draw(st.booleans()),
        "seed": draw(st.integers(0, 2**32)),
    }
    options["loss"] = draw(st.sampled_from(["squared", "logistic", "cross_entropy"]))
    options["outputs"] = 2 if options["loss"] == "cross_entropy" else 1
    parameters, rng = network(size, 6 * count + draw(st.integers(4, 80)), **options)
    inputs = rng.standard_normal((count, size)) * 2.0 ** rng.integers(-2, 3, size=(count, 1))
    unit = draw(st.booleans())
    return parameters, directions(inputs) if unit else inputs, unit, rng


@given(batches(), st.booleans(), st.sampled_from(["sum", "mean"]))
def test_recovers_the_batch(batch, batch_size_known, reduction):
    parameters, inputs, unit, rng = batch
    observation, labels = observed(
        parameters, inputs, rng, batch_size_known=batch_size_known, reduction=reduction, labels_known=unit
    )
    observation = dataclasses.replace(observation, unit_norm=unit)
    first = observation.vector["1/weight"]
    if "1/bias" in observation.vector:
        first = np.column_stack([first, observation.vector["1/bias"]])
    singular = np.linalg.svd(first / np.maximum(np.linalg.norm(first, axis=0), 1e-300), compute_uv=False)
    # Samples that are fitted almost exactly, or patterns that are almost equal, need more digits than there are.
    # With as many samples as columns a gap of 1000 is also where a rank below full would be seen.
    assume(singular[len(inputs) - 1] > (2e-3 if len(inputs) >= first.shape[1] else 1e-6) * singular[0])
    assert METHOD.supports(observation) is None
    found = recovered(observation)
    assume(found.status != "failed" or "of no choice that was found" not in found.reason)
    assert found.status == "consistent", found.reason
    open_scale = not unit and "1/bias" not in parameters
    assert ("positive-scaling" in found.fibre) == open_scale
    assert ("permutation" in found.fibre) == (len(inputs) > 1)
    pair = (directions(found.points), directions(inputs)) if open_scale else (found.points, inputs)
    kappa = condition(parameters, inputs, labels) + singular[0] / singular[len(inputs) - 1]
    # k: the rows of the least-squares problem.
    assert np.max(errors(*pair)) <= 30 * len(first) * EPSILON * kappa
    if not open_scale:
        wanted = np.sort(labels.reshape(-1))
        got = np.sort(found.labels.reshape(-1))
        assert np.max(np.abs(got - wanted)) <= 30 * len(first) * EPSILON * kappa * max(1.0, np.max(np.abs(inputs)) * 10)


@pytest.mark.parametrize("seed", range(2))
def test_twenty_samples(seed):
    parameters, rng = network(100, 200, seed=seed)
    inputs = rng.standard_normal((20, 100))
    observation, labels = observed(parameters, inputs, rng)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert np.max(errors(found.points, inputs)) <= 30 * 200 * EPSILON * condition(parameters, inputs, labels)


@pytest.mark.deep
@pytest.mark.parametrize("seed", range(20))
def test_twenty_images_before_a_thousand_neurons(seed):
    parameters, rng = network(784, 1000, seed=seed)
    inputs = rng.standard_normal((20, 784))
    observation, _ = observed(parameters, inputs, rng)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert np.max(errors(found.points, inputs)) <= 1e-9  # the acceptance figure of the task; rounding is 1e-13


@pytest.mark.parametrize("count", [8, 16])
@pytest.mark.parametrize("seed", range(4))
def test_digits_with_the_nearest_pair(count, seed):
    digits = load_digits().data / 16
    parameters, rng = network(64, 256, seed=seed, shape=(1, 8, 8))
    inputs = digits[rng.permutation(len(digits))[:count]]
    inputs[1] = digits[np.argsort(np.linalg.norm(digits - inputs[0], axis=1))[1]]
    observation, labels = observed(parameters, inputs.reshape(-1, 1, 8, 8), rng)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert found.points.shape == (count, 1, 8, 8)
    kappa = condition(parameters, inputs.reshape(-1, 1, 8, 8), labels)
    assert np.max(errors(found.points, inputs)) <= 30 * 256 * EPSILON * kappa


@given(batches())
def test_a_permuted_batch_gives_the_same_samples(batch):
    parameters, inputs, unit, rng = batch
    observation, labels = observed(parameters, inputs, rng)
    order = rng.permutation(len(inputs))
    other = Observation.from_data(parameters.architecture, parameters, inputs[order], labels[order])
    observation, other = (dataclasses.replace(one, unit_norm=unit) for one in (observation, other))
    one, two = recovered(observation), recovered(other)
    assert one.status == two.status
    if one.status == "consistent":
        # Both are within rounding of the truth, magnified by the condition; a wrong sample would be off by its size.
        assert np.max(errors(one.points, two.points)) <= 1e-6


def test_neighbours_that_differ_in_one_neuron():
    """Their patterns' difference is a two-valued vector too, and every other pattern has a companion."""
    parameters, rng = network(30, 120)
    inputs = rng.standard_normal((8, 30))
    weight, bias = parameters["1/weight"], parameters["1/bias"]
    values = (weight @ inputs[0] + bias) / np.linalg.norm(weight, axis=1)
    nearest = np.argsort(np.abs(values))
    step = 0.5 * (np.abs(values[nearest[0]]) + np.abs(values[nearest[1]]))
    inputs[1] = inputs[0] - np.sign(values[nearest[0]]) * step * weight[nearest[0]] / np.linalg.norm(weight[nearest[0]])
    active = inputs @ weight.T + bias > 0
    assert np.count_nonzero(active[0] != active[1]) == 1
    observation, labels = observed(parameters, inputs, rng)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert np.max(errors(found.points, inputs)) <= 30 * 120 * EPSILON * condition(parameters, inputs, labels)


def test_samples_of_one_pattern_are_not_told_apart():
    parameters, rng = network(30, 60)
    inputs = rng.standard_normal((5, 30))
    inputs[1] = inputs[0] * (1 + 1e-9)
    weight, bias = parameters["1/weight"], parameters["1/bias"]
    assert np.array_equal(weight @ inputs[0] + bias > 0, weight @ inputs[1] + bias > 0)
    observation, _ = observed(parameters, inputs, rng)
    found = recovered(observation)
    assert found.status == "partial"
    assert "the batch has 5 samples and its gradient has rank 4" in found.reason
    assert len(found.points) in (3, 4)
    # Those that are shown and are none of the pair are exact.
    costs = np.linalg.norm(found.points[:, None] - inputs[None, 2:], axis=2)
    assert np.all(np.min(costs, axis=0) <= 1e-10)


def test_a_duplicate_is_one_sample_of_more_weight():
    parameters, rng = network(30, 60)
    inputs = rng.standard_normal((4, 30))[[0, 1, 2, 3, 3]]
    found = recovered(observed(parameters, inputs, rng)[0])
    assert found.status == "partial" and "rank 4" in found.reason
    assert np.max(errors(found.points, inputs[:4])) <= 1e-10
    unsaid = recovered(observed(parameters, inputs, rng, batch_size_known=False)[0])
    assert len(unsaid.points) == 4


def test_a_sample_without_residual_is_not_invented():
    parameters, rng = network(30, 60)
    inputs = rng.standard_normal((5, 30))
    labels = forward(parameters.architecture, parameters, inputs)
    labels[:4] += 1.0
    found = recovered(Observation.from_data(parameters.architecture, parameters, inputs, labels))
    assert found.status == "partial" and "residuals near zero" in found.reason
    assert np.max(errors(found.points, inputs[:4])) <= 1e-10


def test_dead_neurons_and_neurons_without_output_weight():
    parameters, rng = network(20, 80)
    numbers = {key: np.array(array) for key, array in parameters.items()}
    numbers["1/bias"][:20] = -1e3
    numbers["3/weight"][0, 20:30] = 0.0
    parameters = Parameters(parameters.architecture, numbers)
    inputs = rng.standard_normal((6, 20))
    found = recovered(observed(parameters, inputs, rng)[0])
    assert found.status == "consistent", found.reason
    assert np.max(errors(found.points, inputs)) <= 1e-10


def test_a_gradient_rounded_to_float32():
    parameters, rng = network(40, 200)
    inputs = rng.standard_normal((8, 40))
    observation, _ = observed(parameters, inputs, rng)
    vector = {key: piece.astype(np.float32).astype(np.float64) for key, piece in observation.vector.items()}
    found = recovered(dataclasses.replace(observation, vector=vector))
    assert found.status == "consistent", found.reason
    # Rounding of 1e-7 times the condition of the sensitivities and of the samples, below a hundred each.
    assert np.max(errors(found.points, inputs)) <= 1e-4


@given(st.integers(0, 2**32), st.floats(-6, 0))
def test_noise_is_never_called_consistent(seed, exponent):
    parameters, rng = network(20, 60, seed=seed)
    observation, _ = observed(parameters, rng.standard_normal((4, 20)), rng)
    vector = {
        key: piece + 10.0**exponent * np.linalg.norm(piece) / np.sqrt(piece.size) * rng.standard_normal(piece.shape)
        for key, piece in observation.vector.items()
    }
    assert recovered(dataclasses.replace(observation, vector=vector)).status in ("partial", "failed")


def test_more_samples_than_dimensions_are_not_invented():
    parameters, rng = network(5, 100)
    found = recovered(observed(parameters, rng.standard_normal((12, 5)), rng)[0])
    assert found.status == "failed"
    assert len(found.points) == 0 and "the samples are dependent" in found.reason


def test_hardly_more_neurons_than_samples():
    parameters, rng = network(30, 10)
    found = recovered(observed(parameters, rng.standard_normal((10, 30)), rng)[0])
    assert found.status == "failed" and found.reason


def test_a_zero_gradient():
    parameters, rng = network(5, 8)
    inputs = rng.standard_normal((3, 5))
    labels = forward(parameters.architecture, parameters, inputs)
    found = recovered(Observation.from_data(parameters.architecture, parameters, inputs, labels))
    assert found.status == "failed" and "its gradient is zero" in found.reason


def test_an_activation_after_the_output():
    architecture = Architecture(
        "drawn", (10,), (Linear(40), ReLU(), Linear(3), Identity(), Linear(1), Sigmoid()), "squared"
    )
    rng = np.random.default_rng(5)
    parameters = Parameters.random(architecture, rng=rng, scale="he")
    inputs = rng.standard_normal((4, 10))
    found = recovered(observed(parameters, inputs, rng)[0])
    assert found.status == "consistent", found.reason
    assert np.max(errors(found.points, inputs)) <= 1e-10


def bare(layers, loss="squared", **options):
    architecture = Architecture("drawn", (4,), layers, loss)
    rng = np.random.default_rng(0)
    parameters = Parameters.random(architecture, rng=rng)
    return observed(parameters, rng.standard_normal((2, 4)), rng, **options)[0]


def without(observation, key):
    vector = {name: piece for name, piece in observation.vector.items() if name != key}
    return dataclasses.replace(observation, vector=vector)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (bare((Linear(8), Tanh(), Linear(1))), "the activation of layer 0 is tanh"),
        (bare((Linear(8), LeakyReLU(1.0), Linear(1))), "the activation of layer 0 is identity"),
        (bare((Linear(8), ReLU(), Linear(5), ReLU(), Linear(1))), "exactly one layer of hidden units"),
        (bare((Linear(8), ReLU())), "exactly one layer of hidden units"),
        (bare((Linear(8), ReLU(), Linear(3)), "cross_entropy"), "has 3 outputs"),
        (bare((Linear(8), ReLU(), Linear(2))), "has 2 outputs under the loss squared"),
        (bare((Linear(8), ReLU(), Linear(2), Tanh()), "cross_entropy"), "comes after the two outputs"),
        (without(bare((Linear(8), ReLU(), Linear(1))), "0/weight"), "the gradient of 0/weight was not observed"),
        (without(bare((Linear(8), ReLU(), Linear(1))), "0/bias"), "the gradient of 0/bias was not observed"),
        (bare((Linear(8, False), ReLU(), Linear(1))), "the bias gradient of a later layer"),
        (dataclasses.replace(bare((Linear(8), ReLU(), Linear(1))), batch_size=45), "at most 44 are accepted"),
    ],
)
def test_what_it_does_not_support(observation, message):
    reason = METHOD.supports(observation)
    assert reason is not None and message in reason
    with pytest.raises(UnsupportedError, match="method activation-patterns"):
        recovered(observation)


@given(st.integers(1, 6), st.integers(0, 2**32), st.floats(-250, 250))
def test_the_column_space_does_not_depend_on_the_scale(count, seed, exponent):
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((30, count))
    gradient = columns @ rng.standard_normal((count, 12))
    plain, scaled = ColumnSpace.of(gradient), ColumnSpace.of(gradient * 10.0**exponent)
    assert plain.dimension == scaled.dimension == count
    left = columns - plain.basis @ (plain.basis.T @ columns)
    assert np.linalg.norm(left) <= 30 * plain.error * np.linalg.norm(columns)
