"""One sample from the gradient of a convolutional chain."""

from __future__ import annotations

import dataclasses
import json
import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Erf,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    Sigmoid,
    Softplus,
    Tanh,
)
from provable.architectures.zoo import from_zoo
from provable.errors import UnsupportedError
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, backpropagate, embed, losses, trace
from provable.observations import Observation
from provable.recovery.layerwise import METHOD, layerwise_report

EPSILON = 2.0**-52
INVERTIBLE = (
    Tanh(),
    Sigmoid(),
    Softplus(),
    LeakyReLU(0.2),
    ELU(0.7),
    Erf(),
    Identity(),
    Polynomial((0.3, -2.0, 0.0)),
)


def recovered(observation: Observation):
    return METHOD.recover(observation, np.random.default_rng(0))


def relative(found, wanted) -> float:
    size = float(np.linalg.norm(wanted))
    return float(np.linalg.norm(found - wanted)) / (size if size else 1.0)


def label_of(architecture, rng):
    if architecture.loss == "cross_entropy":
        return rng.integers(architecture.output_size, size=1)
    if architecture.loss == "logistic":
        return rng.choice([-1.0, 1.0], size=1)
    return rng.standard_normal((1, architecture.output_size))


@st.composite
def chains(draw, *, activations=INVERTIBLE, last_bias=None, convolutions=(1, 3), wide=False):
    """A small convolutional chain: strides that leave dead pixels, padding, biases, 1×1 kernels, single channels."""
    channels, height, width = draw(st.integers(1, 3)), draw(st.integers(3, 7)), draw(st.integers(3, 7))
    shape = (channels, height, width)
    layers = []
    for _ in range(draw(st.integers(*convolutions))):
        kernel = (draw(st.integers(1, min(3, height))), draw(st.integers(1, min(3, width))))
        padding = (draw(st.integers(0, 1)), draw(st.integers(0, 1)))
        largest = min(2, height + 2 * padding[0]), min(2, width + 2 * padding[1])
        stride = (draw(st.integers(1, largest[0])), draw(st.integers(1, largest[1])))
        low = channels * math.prod(stride) + 2 if wide else 1
        layer = Conv2d(draw(st.integers(low, low + 5)), kernel, stride, padding, draw(st.booleans()))
        channels, height, width = layer.output_shape((channels, height, width))
        layers += [layer, draw(st.sampled_from(activations))]
    layers.append(Flatten())
    if draw(st.booleans()):
        layers += [Linear(draw(st.integers(2, 9)), draw(st.booleans())), draw(st.sampled_from(activations))]
    loss = draw(st.sampled_from(["squared", "logistic", "cross_entropy"]))
    outputs = {"logistic": 1, "squared": draw(st.integers(1, 3)), "cross_entropy": draw(st.integers(2, 4))}[loss]
    bias = draw(st.booleans()) if last_bias is None else last_bias
    return Architecture("chain", shape, (*layers, Linear(outputs, bias)), loss)


@st.composite
def observations(draw, architectures):
    architecture = draw(architectures)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parameters = Parameters.random(architecture, rng=rng, scale=draw(st.sampled_from(["he", "lecun"])))
    inputs = rng.standard_normal((1, *architecture.input_shape)) * 10.0 ** draw(st.floats(-1, 0.5))
    label = label_of(architecture, rng)
    return Observation.from_data(architecture, parameters, inputs, label, labels_known=True), inputs, label


def anchor_is_unique(report) -> bool:
    return report.recovery.fibre == () or not {"twin", "joint-sign"} & set(report.recovery.fibre)


def growth(report) -> float:
    """Product of the condition numbers: the most that the recursion can multiply an error with, up to slopes."""
    return math.prod(max(1.0, step.condition) for step in report.steps)


def slopes(architecture, parameters, inputs) -> float:
    """Product over the activations of the largest ratio of slopes, and of |z s''/s'|: what they do to errors."""
    from provable.networks.activations import derivative

    traced, result = trace(architecture, parameters, inputs).inputs, 1.0
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, tuple({type(one) for one in INVERTIBLE})):
            z = traced[str(index)]
            first, second = np.abs(derivative(layer, z)), np.abs(derivative(layer, z, order=2))
            with np.errstate(all="ignore"):
                result *= 1 + float(np.max(1 / first)) * (1 + float(np.max(second / first)))
    return result


@given(observations(st.one_of(chains(wide=True, convolutions=(1, 2)), chains(wide=True, last_bias=True))))
def test_full_rank_everywhere_gives_the_sample(problem):
    """(d): rank U_i = n_i for all i."""
    observation, inputs, label = problem
    assert METHOD.supports(observation) is None
    report = layerwise_report(observation, rng=0)
    kappa = growth(report) * slopes(observation.architecture, observation.parameters, inputs)
    assume(report.steps and all(step.nullity == 0 for step in report.steps) and kappa < 1e10)
    assume(anchor_is_unique(report))
    found = report.recovery
    assert found.status == "consistent", found.reason
    # k: 147 unknowns at most; κ: conditions of all systems and slopes of all activations, multiplied.
    assert relative(found.points, inputs) <= 30 * 147 * EPSILON * kappa
    assert found.labels is None or np.allclose(found.labels, label, rtol=0, atol=30 * 147 * EPSILON * kappa)


def first_system(observation, inputs, label):
    """U = [W; K] of the first layer at the truth, dense, from the package's other construction of it."""
    architecture, parameters = observation.architecture, observation.parameters
    traced = trace(architecture, parameters, inputs)
    back = backpropagate(architecture, parameters, traced, losses.residual(architecture.loss, traced.output, label))
    system = LayerSystem.of_layer(architecture.layers[0], architecture.input_shape)
    weight = parameters["0/weight"]
    matrix = system.matrix(weight, back.outputs["0"][0])
    scale = float(np.max(np.abs(weight))) / float(np.max(np.abs(back.outputs["0"])))
    matrix[system.forward_equations :] *= scale
    return matrix


@given(observations(chains(convolutions=(1, 1), last_bias=True)))
def test_a_deficient_first_layer_gives_the_least_norm(problem):
    """x - x̂ lies in the null space of U₁, x̂ in its row space, and the fibre has its dimension."""
    observation, inputs, label = problem
    report = layerwise_report(observation, rng=0)
    step = report.steps[-1]
    matrix = first_system(observation, inputs, label)
    singular = np.linalg.svd(matrix, compute_uv=False)
    rank = int(np.count_nonzero(singular > 1e-9 * singular[0]))
    assume(rank == len(singular) or singular[rank] < 1e-13 * singular[0])
    kappa = singular[0] / singular[rank - 1] * slopes(observation.architecture, observation.parameters, inputs)
    assume(kappa < 1e8 and all(other.nullity == 0 for other in report.steps[:-1]))
    assert step.rank == rank
    found = report.recovery
    assert found.status == "consistent", found.reason
    nullity = inputs.size - rank
    assert f"null-space:{nullity}" in found.fibre if nullity else found.fibre == ()
    bound = 30 * 147 * EPSILON * kappa * growth(report)
    difference = (inputs - found.points).ravel()
    assert np.linalg.norm(matrix @ difference) <= bound * singular[0] * np.linalg.norm(inputs)
    rows = np.linalg.svd(matrix)[2][:rank]
    assert np.linalg.norm(found.points.ravel() - rows.T @ (rows @ found.points.ravel())) <= bound * np.linalg.norm(
        inputs
    )


@given(observations(chains(wide=True, convolutions=(1, 2))), st.integers(0, 2**32))
def test_corrupted_gradients_are_never_called_consistent(problem, seed):
    observation, inputs, _ = problem
    size = sum(piece.size for piece in observation.vector.values())
    # More equations than a sample and coefficients can fit, so noise of all entries has no explanation.
    assume(size >= 2 * (inputs.size + observation.architecture.output_size))
    rng = np.random.default_rng(seed)
    noisy = {key: piece * (1 + 1e-4 * rng.standard_normal(piece.shape)) for key, piece in observation.vector.items()}
    assert recovered(dataclasses.replace(observation, vector=noisy)).status == "failed"


@given(observations(chains(wide=True, convolutions=(1, 2))), st.data())
def test_one_wrong_piece_is_never_consistent(problem, data):
    """Whatever is called consistent explains every piece, judged by another evaluation."""
    observation, _, _ = problem
    key = data.draw(st.sampled_from(sorted(observation.vector)))
    factor = data.draw(st.sampled_from([0.0, -1.0, 0.5, 1 + 1e-5]))
    vector = dict(observation.vector) | {key: factor * observation.vector[key]}
    found = recovered(dataclasses.replace(observation, vector=vector))
    if found.status == "consistent":
        image = embed(observation.architecture, observation.parameters, found.measure)
        for name, piece in vector.items():
            # The largest tolerance of the acceptance test, whatever the condition.
            assert np.linalg.norm(image[name] - piece) <= 2.0**-20 * np.linalg.norm(piece) or not np.any(piece)


@given(observations(chains(activations=(ReLU(),), wide=True, convolutions=(1, 1))))
def test_relu_uses_active_rows_only(problem):
    observation, inputs, _ = problem
    assume(any(np.any(piece) for piece in observation.vector.values()))
    report = layerwise_report(observation, rng=0)
    traced = trace(observation.architecture, observation.parameters, inputs).inputs
    assume(report.steps and anchor_is_unique(report) and all(step.nullity == 0 for step in report.steps[:-1]))
    step = report.steps[-1]
    active = int(np.count_nonzero(traced["2"] > 0))
    assert step.index == 0
    assert step.equations == active + observation.parameters["0/weight"].size
    found = report.recovery
    kappa = growth(report)
    if found.status == "consistent" and report.steps[-1].nullity == 0 and kappa < 1e8:
        assert relative(found.points, inputs) <= 30 * 147 * EPSILON * kappa * 10
    if all(step.nullity == 0 for step in report.steps) and kappa < 1e8:
        assert found.status == "consistent", found.reason


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(2, 4), st.integers(1, 2), st.booleans())
def test_relu_with_a_deficient_first_layer(seed, width, kernel, stride, bias):
    """Of the inputs with the same active units and the same values there, the shortest: no longer than the truth."""
    layers = (Conv2d(width, kernel, stride, 1, bias), ReLU(), Flatten(), Linear(4))
    architecture = Architecture("net", (2, 6, 6), layers, "cross_entropy")
    observation, inputs, _ = observe(architecture, seed)
    report = layerwise_report(observation, rng=0)
    assume(report.steps and report.steps[0].nullity)
    pre = trace(architecture, observation.parameters, inputs).inputs["1"]
    # Units within the margins of zero may fall on the other side.
    assume(np.min(np.abs(pre)) > 1e-5 * np.max(np.abs(pre)))
    found = report.recovery
    assert found.status == "consistent", found.reason
    assert f"null-space:{report.steps[0].nullity}" in found.fibre
    assert "for which inactive units stay inactive" in found.reason
    again = trace(architecture, observation.parameters, found.points).inputs["1"]
    assert np.array_equal(again > 0, pre > 0)
    bound = 30 * 72 * EPSILON * growth(report)
    assert relative(np.maximum(again, 0), np.maximum(pre, 0)) <= bound
    # The margins are at most 1e-6 of the largest pre-activation.
    assert np.linalg.norm(found.points) <= (1 + 1e-4) * np.linalg.norm(inputs)


def observe(architecture, seed=0, count=1, scale="he", size=1.0, **options):
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng, scale=scale)
    inputs = size * rng.standard_normal((count, *architecture.input_shape))
    labels = np.concatenate([label_of(architecture, rng) for _ in range(count)])
    return Observation.from_data(architecture, parameters, inputs, labels, **options), inputs, labels


LEAKY = Architecture(
    "leaky", (2, 6, 6), (Conv2d(9, 3, 1, 1, False), LeakyReLU(0.2), Flatten(), Linear(1, False)), "logistic"
)


def test_twins_of_a_homogeneous_network():
    """Some seed has a sample on the two-valued side; both twins explain the gradient, and the fibre says so."""
    for seed in range(20):
        observation, inputs, labels = observe(LEAKY, seed)
        margin = float(labels[0] * trace(LEAKY, observation.parameters, inputs).output[0, 0])
        report = layerwise_report(observation, rng=0)
        found = report.recovery
        assert found.status == "consistent"
        assert ("twin" in found.fibre) == (margin > 0)
        if margin > 0:
            factor = float(found.reason.split("a second input, ")[1].split(" times")[0])
            twins = [found.points, factor * found.points]
            # The factor is printed to four digits.
            assert min(relative(twin, inputs) for twin in twins) <= 1e-3
        else:
            assert relative(found.points, inputs) <= 30 * 72 * EPSILON * growth(report)
            assert found.labels.tolist() == labels.tolist()


def test_twins_of_another_network_are_told_apart():
    """A bias breaks the homogeneity, so only one margin explains the gradient."""
    layers = (Conv2d(9, 3, 1, 1, True), LeakyReLU(0.2), Flatten(), Linear(1, False))
    architecture = Architecture("leaky", (2, 6, 6), layers, "logistic")
    seen = 0
    for seed in range(8):
        observation, inputs, labels = observe(architecture, seed)
        report = layerwise_report(observation, rng=0)
        seen += report.candidates == 4
        assert report.recovery.status == "consistent"
        assert report.recovery.fibre == ()
        assert report.recovery.labels.tolist() == labels.tolist()
        assert relative(report.recovery.points, inputs) <= 30 * 72 * EPSILON * growth(report)
    assert seen


def test_the_sign_of_an_odd_network():
    layers = (Conv2d(9, 3, 1, 1, False), Tanh(), Flatten(), Linear(1, False))
    observation, inputs, labels = observe(Architecture("odd", (2, 6, 6), layers, "logistic"), 3)
    found = recovered(observation)
    assert found.status == "consistent"
    assert "joint-sign" in found.fibre
    assert min(relative(sign * found.points, inputs) for sign in (1, -1)) <= 1e-10
    known = dataclasses.replace(observation, labels=labels)
    assert "joint-sign" not in recovered(known).fibre
    assert relative(recovered(known).points, inputs) <= 1e-10


DEAD = Architecture(
    "dead",
    (1, 8, 8),
    (Conv2d(9, 3, 2, 0), Tanh(), Conv2d(20, 2, 2, 0), Tanh(), Flatten(), Linear(3)),
    "cross_entropy",
)


def test_dead_pixels_are_the_fibre_and_do_no_harm():
    """Stride 2 leaves the last row and column of the first convolution out, and of what it produces as well."""
    observation, inputs, label = observe(DEAD)
    report = layerwise_report(observation, rng=0)
    inner, first = report.steps
    # Of the 3 by 3 pixels between the layers, 2 by 2 are seen; of the 8 by 8 in front, 5 by 5.
    assert (inner.nullity, inner.assumed) == (9 * (9 - 4), False)
    assert first.nullity == 64 - 25
    found = report.recovery
    assert found.status == "consistent", found.reason
    assert found.fibre == ("null-space:39",)
    assert "layer 0 (conv2d) is 39 equations short" in found.reason
    assert relative(found.points[..., :5, :5], inputs[..., :5, :5]) <= 30 * 64 * EPSILON * growth(report)
    assert not np.any(found.points[..., 5:, :])
    # The fibre: whatever the dead pixels are, the gradient is the same.
    moved = found.points.copy()
    moved[..., 6:, :] += 100.0
    again = Observation.from_data(DEAD, observation.parameters, moved, label)
    for key, piece in observation.vector.items():
        assert relative(again.vector[key], piece) <= 30 * 64 * EPSILON * growth(report)


def test_a_deficient_inner_layer_fails_by_name():
    layers = (Conv2d(2, 3, 1, 1, False), Tanh(), Conv2d(1, 3, 2, 1, False), Tanh(), Flatten(), Linear(3))
    observation, _, _ = observe(Architecture("narrow", (1, 8, 8), layers, "cross_entropy"))
    report = layerwise_report(observation, rng=0)
    assert report.recovery.status == "failed"
    step = report.steps[0]
    # T6: all rows are independent but for out_channels² dependencies between both kinds.
    assert step.rank == 16 + 2 * 9 - 1
    assert step.assumed
    assert "layer 2 (conv2d) is 95 equations short (128 unknowns, rank 33)" in report.recovery.reason
    assert report.recovery.points.shape == (1, 1, 8, 8)


@pytest.mark.parametrize("activation", [LeakyReLU(0.2), Tanh(), Softplus()])
@pytest.mark.parametrize("channels", [2, 3])
@pytest.mark.parametrize("seed", [0, 1])
def test_a_deficient_inner_layer_with_a_wide_one_in_front(activation, channels, seed):
    """The surplus of the first layer, 768 outputs of 64 inputs, makes up for what the second leaves open."""
    layers = (Conv2d(12, 3, 1, 1, bool(seed)), activation, Conv2d(channels, 3, 2, 1), activation, Flatten(), Linear(3))
    observation, inputs, _ = observe(Architecture("wide", (1, 8, 8), layers, "cross_entropy"), seed)
    report = layerwise_report(observation, rng=0)
    inner, first = report.steps
    assert inner.rank == channels * 16 + channels * 12 * 9 - channels**2
    assert not inner.assumed
    assert first.joint
    found = report.recovery
    assert found.status == "consistent", found.reason
    assert "and was solved together with layer 0 (conv2d)" in found.reason
    assert found.fibre == ()
    # k: 768 values between the layers; slopes of at least 0.2 or so on the way back.
    assert relative(found.points, inputs) <= 30 * 768 * EPSILON * growth(report)


def test_either_basis_of_a_deficient_layer_closes_it(monkeypatch):
    """With more open directions than may be written down, the row space serves as well as the null space."""
    from provable.recovery.layerwise import least_squares

    layers = (Conv2d(12, 3, 1, 1), Tanh(), Conv2d(3, 3, 2, 1), Tanh(), Flatten(), Linear(3))
    observation, inputs, _ = observe(Architecture("wide", (1, 8, 8), layers, "cross_entropy"))
    first = layerwise_report(observation, rng=0)
    monkeypatch.setattr(least_squares, "LARGEST_NULLITY", 0)
    second = layerwise_report(observation, rng=0)
    for report in (first, second):
        assert report.recovery.status == "consistent"
        assert report.steps[1].joint
        assert relative(report.recovery.points, inputs) <= 30 * 768 * EPSILON * growth(report)
    assert first.steps[1].equations == second.steps[1].equations


@pytest.mark.parametrize("seed", range(3))
def test_dead_pixels_under_a_deficient_layer(seed):
    """The second convolution lacks equations, and the first one, stride 2, does not see the last row and column."""
    layers = (Conv2d(12, 3, 2), Softplus(), Conv2d(2, 2), Softplus(), Flatten(), Linear(3))
    observation, inputs, _ = observe(Architecture("net", (1, 8, 8), layers, "cross_entropy"), seed)
    report = layerwise_report(observation, rng=0)
    inner, first = report.steps
    # K̃ has 8 rows of rank 7, because two sensitivities of the kernel's size commute; then T6 with 12 · 7 and 8 rows of W.
    assert (inner.rank, first.nullity, first.joint) == (12 * 7 + 8 - 4, 64 - 49, True)
    found = report.recovery
    assert found.status == "consistent", found.reason
    assert found.fibre == ("null-space:15",)
    assert relative(found.points[..., :7, :7], inputs[..., :7, :7]) <= 30 * 108 * EPSILON * growth(report)
    assert not np.any(found.points[..., 7, :])


def test_what_an_inner_layer_leaves_open_is_counted():
    """Pooling of single pixels in front changes nothing: the null space of the convolution stays open."""
    layers = (AvgPool2d(1), Conv2d(1, 3, 2), Tanh(), Flatten(), Linear(3))
    observation, _, _ = observe(Architecture("net", (1, 6, 6), layers, "cross_entropy"))
    found = recovered(observation)
    assert found.status == "consistent"
    # 4 outputs and 9 weights with one dependency (T6).
    assert found.fibre == (f"null-space:{36 - (4 + 9 - 1)}",)
    assert "layer 1 (conv2d) is 24 equations short" in found.reason


def test_the_zero_image():
    """All right sides are rounding then, and the biases alone are in the outputs."""
    layers = (Conv2d(9, 3, 1, 1), ELU(1.0), Conv2d(11, 3, 1, 1), Sigmoid(), Flatten(), Linear(1, False))
    architecture = Architecture("net", (1, 5, 5), layers, "logistic")
    parameters = Parameters.random(architecture, rng=0)
    observation = Observation.from_data(architecture, parameters, np.zeros((1, 1, 5, 5)), np.array([1.0]))
    report = layerwise_report(observation, rng=0)
    assert report.recovery.status == "consistent", report.recovery.reason
    # Absolute now: biases and outputs have size 1.
    assert np.linalg.norm(report.recovery.points) <= 30 * 275 * EPSILON * growth(report)


def test_average_pooling_usually_leaves_a_null_space():
    for width, status in ((1, "failed"), (8, "consistent")):
        layers = (Conv2d(width, 3, 1, 1), Tanh(), AvgPool2d(2), Flatten(), Linear(3))
        observation, inputs, _ = observe(Architecture("pool", (1, 6, 6), layers, "cross_entropy"))
        report = layerwise_report(observation, rng=0)
        short = f"layer 2 (avg_pool2d) is {27 * width} equations short ({36 * width} unknowns, rank {9 * width})"
        assert short in report.recovery.reason
        # A wide convolution in front makes up for what the pooling leaves open, a narrow one does not.
        assert report.recovery.status == status
        if status == "consistent":
            assert relative(report.recovery.points, inputs) <= 30 * 288 * EPSILON * growth(report)
    first = Architecture("pool", (2, 6, 6), (AvgPool2d(2), Flatten(), Linear(3)), "cross_entropy")
    observation, inputs, _ = observe(first)
    found = recovered(observation)
    assert found.status == "consistent"
    assert found.fibre == ("null-space:54",)
    means = inputs.reshape(1, 2, 3, 2, 3, 2).mean(axis=(3, 5))
    assert relative(found.points, means.repeat(2, axis=2).repeat(2, axis=3)) <= 30 * 72 * EPSILON


@pytest.mark.parametrize("size", [1.0, 3.0, 6.0])
def test_near_saturated_tanh(size):
    """Slopes down to e^(-2|z|): the answer is right within its own condition, or it is not called consistent."""
    layers = (Conv2d(12, 3, 1, 1), Tanh(), Flatten(), Linear(4))
    observation, inputs, _ = observe(Architecture("tanh", (1, 6, 6), layers, "cross_entropy"), 5, size=size)
    report = layerwise_report(observation, rng=0)
    assert report.recovery.status == "consistent"
    assert relative(report.recovery.points, inputs) <= 30 * 36 * EPSILON * growth(report)


def test_saturated_units_are_left_out():
    """Beyond |z| = 19 tanh is ±1 in float64 and says nothing of z."""
    layers = (Conv2d(40, 3, 1, 1), Tanh(), Flatten(), Linear(4))
    observation, inputs, _ = observe(Architecture("tanh", (1, 6, 6), layers, "cross_entropy"), 5, size=15.0)
    features = np.abs(trace(observation.architecture, observation.parameters, inputs).inputs["2"])
    saturated = int(np.count_nonzero(features == 1))
    assert saturated
    report = layerwise_report(observation, rng=0)
    assert report.steps[0].equations == 40 * 36 - saturated + 40 * 9
    assert report.recovery.status == "consistent"
    assert relative(report.recovery.points, inputs) <= 30 * 36 * EPSILON * growth(report)


def test_a_gradient_that_was_not_observed_is_not_needed():
    """Without the first convolution's own gradient W alone is left, which has more rows than columns here."""
    layers = (Conv2d(12, 3, 1, 1), Tanh(), Flatten(), Linear(4))
    observation, inputs, _ = observe(Architecture("tanh", (1, 6, 6), layers, "cross_entropy"))
    rest = {key: piece for key, piece in observation.vector.items() if not key.startswith("0/")}
    report = layerwise_report(dataclasses.replace(observation, vector=rest), rng=0)
    assert report.steps[0].equations == 12 * 36
    assert report.recovery.status == "consistent"
    assert relative(report.recovery.points, inputs) <= 30 * 36 * EPSILON * growth(report)


def test_all_gradients_zero():
    for bias in (True, False):
        layers = (Conv2d(4, 3), Tanh(), Flatten(), Linear(3, bias))
        observation, _, _ = observe(Architecture("net", (1, 5, 5), layers, "cross_entropy"))
        nothing = {key: 0 * piece for key, piece in observation.vector.items()}
        found = recovered(dataclasses.replace(observation, vector=nothing))
        assert found.status == "failed"
        assert found.residual == 0
        assert len(found.points) == 0
        assert "zero" in found.reason


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic", "squared"])
@pytest.mark.parametrize("bias", [True, False])
def test_a_contradicting_label_is_no_explanation(loss, bias):
    outputs = {"cross_entropy": 3, "logistic": 1, "squared": 2}[loss]
    layers = (Conv2d(12, 3, bias=True), Softplus(), Flatten(), Linear(outputs, bias))
    observation, _, label = observe(Architecture("net", (1, 5, 5), layers, loss), 1)
    wrong = {"cross_entropy": (label + 1) % 3, "logistic": -label, "squared": label + 1}[loss]
    found = recovered(dataclasses.replace(observation, labels=wrong))
    assert found.status == "failed", found.reason
    if bias or loss == "cross_entropy":
        assert "label" in found.reason
    right = recovered(dataclasses.replace(observation, labels=label))
    assert right.status == "consistent", right.reason


def test_two_samples_fail():
    for bias in (True, False):
        layers = (Conv2d(4, 3), Tanh(), Flatten(), Linear(3, bias))
        observation, _, _ = observe(
            Architecture("net", (1, 5, 5), layers, "cross_entropy"), count=2, batch_size_known=False
        )
        found = recovered(observation)
        assert found.status == "failed"
        assert "numerical rank 2, so at least 2 samples are in it" in found.reason
        known = dataclasses.replace(observation, batch_size=2)
        assert METHOD.supports(known) == "the observation is of 2 samples; one is accepted"


def test_two_samples_behind_one_logit_fail():
    observation, _, _ = observe(LEAKY, count=2, batch_size_known=False)
    found = recovered(observation)
    assert found.status == "failed"
    assert found.reason


UNSUPPORTED = {
    "max pooling": ((Conv2d(2, 3), MaxPool2d(2), Flatten(), Linear(3)), r"layer 1 \(max_pool2d\) .*position"),
    "residual": ((Residual((Conv2d(1, 3, padding=1),)), Flatten(), Linear(3)), r"layer 0 \(residual\) adds two paths"),
    "gelu": ((Conv2d(2, 3), GELU(), Flatten(), Linear(3)), r"layer 1 \(gelu\) takes some values twice"),
    "slope": ((Conv2d(2, 3), LeakyReLU(0.0), Flatten(), Linear(3)), r"layer 1 \(leaky_relu\) has the negative slope 0"),
    "elu": ((Conv2d(2, 3), ELU(-1.0), Flatten(), Linear(3)), r"layer 1 \(elu\) has alpha = -1"),
    "square": ((Conv2d(2, 3), Polynomial((0.0, 1.0, 1.0)), Flatten(), Linear(3)), "polynomial whose degree is not 1"),
    "no linear layer": ((Conv2d(3, 6), Flatten()), "no linear layer to start from"),
    "activation last": ((Flatten(), Linear(3, False), Tanh()), r"layer 2 \(tanh\) follows the last linear layer"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_architectures(name):
    layers, message = UNSUPPORTED[name]
    observation, _, _ = observe(Architecture("other", (1, 6, 6), layers, "cross_entropy"))
    with pytest.raises(UnsupportedError, match=f"method layer-wise: .*{message}"):
        recovered(observation)


def test_what_follows_the_start_does_not_matter():
    """Behind a linear layer with a bias anything may stand: its input is known whatever follows."""
    layers = (Conv2d(12, 3, 1, 1), Tanh(), Flatten(), Linear(5), GELU(), Residual((Linear(5),)), Linear(3))
    observation, inputs, _ = observe(Architecture("net", (1, 6, 6), layers, "cross_entropy"))
    report = layerwise_report(observation, rng=0)
    assert report.recovery.status == "consistent"
    assert relative(report.recovery.points, inputs) <= 30 * 36 * EPSILON * growth(report)


def test_normalisation_and_size_are_refused_by_name():
    from provable.recovery.layerwise import support

    layers = (Conv2d(2, 3), BatchNorm2d(), Tanh(), Flatten(), Linear(3))
    architecture = Architecture("net", (1, 6, 6), layers, "cross_entropy")
    vector = {"4/weight": np.ones((3, 32)), "4/bias": np.ones(3)}
    observation = Observation("gradient", architecture, Parameters.random(architecture, rng=0), vector)
    assert "layer 1 (batch_norm2d) would need its running mean" in support.supports(observation)
    layers = (Conv2d(60, 3, 1, 1), Flatten(), Linear(1))
    architecture = Architecture("net", (1, 100, 100), layers, "squared")
    vector = {"2/weight": np.ones((1, 600000)), "2/bias": np.ones(1)}
    observation = Observation("gradient", architecture, Parameters.random(architecture, rng=0), vector)
    assert "layer 0 (conv2d) has a system of 10000 unknowns" in support.supports(observation)


@pytest.mark.parametrize("missing", ["3/weight", "3/bias"])
def test_pieces_that_the_start_needs(missing):
    layers = (Conv2d(2, 3), Tanh(), Flatten(), Linear(3))
    observation, _, _ = observe(Architecture("net", (1, 6, 6), layers, "cross_entropy"))
    rest = {key: piece for key, piece in observation.vector.items() if key != missing}
    partly = dataclasses.replace(observation, vector=rest)
    if missing == "3/weight":
        assert METHOD.supports(partly) == "the gradient of 3/weight was not observed"
    else:
        assert "has a bias whose gradient is zero or was not observed" in recovered(partly).reason


def test_the_squared_loss_without_bias_needs_a_label():
    layers = (Conv2d(12, 3), Softplus(), Flatten(), Linear(2, False))
    observation, inputs, label = observe(Architecture("net", (1, 5, 5), layers, "squared"), 2)
    assert "only if the label is known" in METHOD.supports(observation)
    report = layerwise_report(dataclasses.replace(observation, labels=label), rng=0)
    assert report.recovery.status == "consistent"
    assert relative(report.recovery.points, inputs) <= 30 * 108 * EPSILON * growth(report)


def test_other_kinds_are_not_supported():
    observation, _, _ = observe(LEAKY)
    changed = dataclasses.replace(observation, kind="parameter-change")
    assert "of kind parameter-change" in METHOD.supports(changed)


def test_the_report_in_json():
    observation, _, _ = observe(DEAD)
    report = layerwise_report(observation, rng=0)
    document = json.loads(report.to_json())
    assert [layer["index"] for layer in document["layers"]] == [2, 0]
    assert document["layers"][1]["nullity"] == 39
    assert document["layers"][1]["gap"] is None
    assert 0 <= document["layers"][0]["error"] <= 30 * 64 * EPSILON * growth(report)
    assert document["recovery"]["status"] == "consistent"
    assert document["anchor"].startswith("layer 5 (linear)")


def test_published_network_end_to_end():
    """CNN6 of R-GAP on a smooth 3×32×32 image; its authors' code loses a factor of ten at each of six layers."""
    architecture = from_zoo("cnn6")
    rng = np.random.default_rng(1)
    inputs = np.cumsum(np.cumsum(rng.standard_normal((1, *architecture.input_shape)), axis=2), axis=3)
    inputs = (inputs - inputs.min()) / np.ptp(inputs)
    parameters = Parameters.random(architecture, rng=rng)
    # The label that the network gets wrong has one margin only.
    label = -np.sign(trace(architecture, parameters, inputs).output[0])
    observation = Observation.from_data(architecture, parameters, inputs, label)
    report = layerwise_report(observation, rng=0)
    assert report.recovery.status == "consistent"
    assert report.recovery.fibre == ()
    assert [step.nullity for step in report.steps] == [0] * 6
    assert report.recovery.labels.tolist() == label.tolist()
    assert relative(report.recovery.points, inputs) <= 1e-9  # what is asked for; measured 1e-14
    traced = trace(architecture, parameters, inputs).inputs
    forward = trace(architecture, parameters, report.recovery.points).inputs
    for step in report.steps:
        # The recovered sample's own forward evaluation is as good a reference as the truth.
        assert relative(forward[str(step.index)], traced[str(step.index)]) <= 1e-9
        assert step.error <= 1e-9
