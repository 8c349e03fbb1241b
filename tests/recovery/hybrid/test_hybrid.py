"""The recursion with corrections, and its parts."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, LeakyReLU, Linear, MaxPool2d, Softplus, Tanh
from provable.errors import UnsupportedError
from provable.networks import Parameters, forward, loss_gradient, trace
from provable.observations import Observation
from provable.recovery import recover
from provable.recovery.hybrid import METHOD, Iterations, hybrid
from provable.recovery.hybrid.adam import adam
from provable.recovery.hybrid.matching import PUBLISHED, MatchingLoss, squared_misfit, total_variation
from provable.recovery.hybrid.polishing import polish
from provable.recovery.hybrid.tails import label_at, tail
from provable.recovery.layerwise.anchors import anchors
from provable.recovery.layerwise.descent import descend
from provable.recovery.openness import open_directions

EPSILON = 2.0**-52
SHORT = Iterations(20, 20, 5, 15)


def network(convolutions, activation=None, loss="cross_entropy", outputs=3, shape=(1, 6, 6), bias=True):
    activation = activation or Tanh()
    layers = []
    for convolution in convolutions:
        layers += [convolution, activation]
    return Architecture("net", shape, (*layers, Flatten(), Linear(outputs, bias)), loss)


def observe(architecture, seed=0):
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    inputs = rng.standard_normal((1, *architecture.input_shape))
    label = {
        "cross_entropy": lambda: rng.integers(architecture.output_size, size=1),
        "logistic": lambda: rng.choice([-1.0, 1.0], size=1),
        "squared": lambda: rng.standard_normal((1, architecture.output_size)),
    }[architecture.loss]()
    return Observation.from_data(architecture, parameters, inputs, label), inputs, label


def relative(found, wanted) -> float:
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))


WIDE = network([Conv2d(6, 3, 1, 1)])
TWO = network([Conv2d(6, 3, 1, 1), Conv2d(8, 3, 2, 1, False)])


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic", "squared"])
@pytest.mark.parametrize("index", [0, 2, 4, 5])
def test_the_tail_has_the_same_gradients(loss, index):
    outputs = 1 if loss == "logistic" else 3
    architecture = network([Conv2d(4, 3), Conv2d(3, 2, bias=False)], loss=loss, outputs=outputs)
    observation, inputs, label = observe(architecture)
    rest = tail(observation, index)
    states = trace(architecture, observation.parameters, inputs).inputs[str(index)]
    np.testing.assert_array_equal(
        forward(rest.architecture, rest.parameters, states), forward(architecture, observation.parameters, inputs)
    )
    gradient = loss_gradient(rest.architecture, rest.parameters, states, label)
    assert sorted(gradient) == sorted(rest.vector)
    for key, piece in gradient.items():
        np.testing.assert_array_equal(piece, rest.vector[key])


@pytest.mark.parametrize("loss", ["cross_entropy", "logistic", "squared"])
@pytest.mark.parametrize("bias", [True, False])
def test_the_label_is_read_off_the_start(loss, bias):
    observation, _, label = observe(
        network([Conv2d(4, 3)], loss=loss, outputs=1 if loss == "logistic" else 3, bias=bias)
    )
    if loss == "squared" and not bias:  # the start needs the label then
        observation = dataclasses.replace(observation, labels=label)
    found = [label_at(observation, start, "hybrid") for start in anchors(observation)]
    # Without a bias both signs are candidates; a label that is a number has its rounding.
    assert any(np.allclose(one, label, rtol=0, atol=1e-12) for one in found)


def central(function, at, direction, step):
    return (function(at + step * direction)[0] - function(at - step * direction)[0]) / (2 * step)


@given(st.integers(0, 2**32), st.sampled_from([0, 2]), st.sampled_from(PUBLISHED))
def test_the_gradient_of_the_matching_loss(seed, index, weights):
    """Against central differences, whose error is h² times a third derivative."""
    architecture = network([Conv2d(3, 3, 1, 1), Conv2d(4, 3, 2)], Softplus())
    observation, inputs, label = observe(architecture, seed)
    rng = np.random.default_rng(seed)
    rest = tail(observation, index)
    point = trace(architecture, observation.parameters, inputs).inputs[str(index)][0]
    point = point + 0.3 * rng.standard_normal(point.shape)
    systems = []
    descend(
        observation,
        anchors(observation)[0],
        patience=np.inf,
        correct=lambda place, solution, system: (systems.append(system) if place == index else None) or solution.values,
    )
    loss = MatchingLoss(rest, label, weights, systems[0])
    direction = rng.standard_normal(point.shape)
    # No difference of neighbours may change its sign within the step.
    step = 1e-5
    gaps = [np.min(np.abs(np.diff(point, axis=axis))) for axis in (1, 2)]
    assume(min(gaps) > 10 * step * np.max(np.abs(direction)))
    slope = float(np.vdot(loss(point)[1], direction))
    wanted = central(loss, point, direction, step)
    # h² = 1e-10 times derivatives of size 10 to 1000, and rounding ε/h = 2e-11 times the value.
    assert abs(slope - wanted) <= 1e-6 * (abs(wanted) + abs(loss(point)[0]) + np.linalg.norm(loss(point)[1]))


def test_the_matching_loss_vanishes_at_the_truth():
    observation, inputs, label = observe(TWO)
    loss = MatchingLoss(observation, label, dataclasses.replace(PUBLISHED[0], variation=0.0))
    value, gradient = loss(inputs[0])
    assert abs(value) <= 30 * 288 * EPSILON
    # 1 - cos is quadratic there; its slope is rounding divided by the norms of gradients, 0.01 at least.
    assert np.max(np.abs(gradient)) <= 30 * 288 * EPSILON * 100


def test_total_variation_by_hand():
    image = np.array([[[0.0, 1.0, 3.0], [2.0, 2.0, 2.0]]])
    value, gradient = total_variation(image)
    assert value == (2 + 1 + 1) / 3 + (1 + 2 + 0 + 0) / 4
    vertical = np.array([[[-1, -1, 1], [1, 1, -1]]]) / 3
    horizontal = np.array([[[-1, 0, 1], [0, 0, 0]]]) / 4
    np.testing.assert_allclose(gradient, vertical + horizontal, rtol=0, atol=4 * EPSILON)
    assert total_variation(np.ones((2, 1, 1)))[0] == 0


def test_the_squared_misfit_vanishes_at_the_truth_only():
    observation, inputs, _ = observe(WIDE)
    systems = []
    descend(
        observation,
        anchors(observation)[0],
        correct=lambda place, solution, system: systems.append(system) or solution.values,
    )
    value, gradient = squared_misfit(systems[0], inputs[0])
    assert value <= (30 * 36 * EPSILON) ** 2 * 1e4
    moved, slope = squared_misfit(systems[0], inputs[0] + 0.1)
    assert moved > 1e-3
    # A quadratic: f(x + d) - f(x) = (∇f(x) + ∇f(x + d))·d / 2 exactly.
    assert abs(moved - value - 0.05 * float(np.sum(gradient + slope))) <= 30 * 600 * EPSILON * moved


def test_adam_s_first_step_is_the_learning_rate():
    seen = []
    adam(lambda x: (seen.append(x) or float(x @ x), 2 * x), np.array([1.0, -2.0]), 2, learning_rate=0.25)
    np.testing.assert_allclose(seen[1], [0.75, -1.75], rtol=0, atol=1e-8)  # the floor, 1e-8


def test_adam_gives_the_best_point_it_saw():
    values = iter([3.0, 1.0, 2.0])
    seen = []
    best, value = adam(lambda x: (seen.append(x) or next(values), np.ones(1)), np.zeros(1), 3)
    assert value == 1.0
    np.testing.assert_array_equal(best, seen[1])
    start = np.array([5.0])
    best, value = adam(lambda x: (0.0, x), start, 0)
    np.testing.assert_array_equal(best, start)
    assert value == np.inf


def test_adam_minimises_a_quadratic():
    best, _ = adam(lambda x: (float((x - 3) @ (x - 3)), 2 * (x - 3)), np.zeros(2), 3000, learning_rate=0.01)
    np.testing.assert_allclose(best, 3, rtol=0, atol=1e-3)  # Adam circles within about a tenth of the learning rate


@pytest.mark.parametrize("architecture", [WIDE, TWO])
def test_polishing_converges_from_nearby(architecture):
    observation, inputs, label = observe(architecture)
    start = inputs + 1e-2 * np.random.default_rng(1).standard_normal(inputs.shape)
    found, misfit = polish(observation, start, label)
    assert misfit <= 30 * 288 * EPSILON
    assert relative(found, inputs) <= 1e-11  # the derivative has a condition below 1000
    still, _ = polish(observation, start, label, steps=0)
    np.testing.assert_array_equal(still, start)


@pytest.mark.parametrize("seed", range(3))
def test_open_directions_against_the_dense_derivative(seed):
    architecture = network([Conv2d(2, 3, 2), Conv2d(3, 2)])
    observation, inputs, label = observe(architecture, seed)
    columns = []
    for place in range(inputs.size):
        direction = np.zeros(inputs.size)
        direction[place] = 1e-5
        moved = [
            loss_gradient(architecture, observation.parameters, inputs + sign * direction.reshape(inputs.shape), label)
            for sign in (1, -1)
        ]
        columns.append(
            np.concatenate(
                [
                    (moved[0][key] - moved[1][key]).ravel() / np.linalg.norm(observation.vector[key])
                    for key in observation.vector
                ]
            )
            / 2e-5
        )
    singular = np.linalg.svd(np.stack(columns, axis=1), compute_uv=False)
    # Central differences are off by about 1e-10.
    wanted = inputs.size - int(np.count_nonzero(singular > 1e-6 * singular[0]))
    assert open_directions(observation, inputs, label) == wanted


@pytest.mark.parametrize("activation", [Tanh(), LeakyReLU(0.2), Softplus()])
def test_full_rank_gives_the_sample(activation):
    observation, inputs, label = observe(network([Conv2d(9, 3, 1, 1), Conv2d(20, 3, 1, 1, False)], activation))
    found = hybrid(observation, np.random.default_rng(0), iterations=SHORT)
    assert found.status == "consistent", found.reason
    assert found.fibre == ()
    assert found.labels.tolist() == label.tolist()
    assert relative(found.points, inputs) <= 1e-9  # conditions of two systems and of the final fit, below 1e5


def test_corrections_everywhere_move_what_was_right():
    """As published: the total variation pulls an input that its system determines away from the truth."""
    observation, inputs, _ = observe(WIDE)
    errors = []
    for everywhere in (False, True):
        iterations = Iterations(20, 20, 5, 0, everywhere=everywhere)
        errors.append(relative(hybrid(observation, np.random.default_rng(0), iterations=iterations).points, inputs))
    assert errors[0] <= 1e-12  # one system of condition below 100
    assert errors[1] > 1e-4  # twenty steps of 1e-3 against noise of size 1


def test_a_deficient_first_layer_is_filled_in_and_counted():
    architecture = network([Conv2d(1, 3, 2)])
    observation, _, _ = observe(architecture)
    found = hybrid(observation, np.random.default_rng(0), iterations=SHORT)
    assert found.status == "consistent", found.reason
    # 4 outputs and 9 weights with one dependency (T6).
    assert found.fibre == (f"null-space:{36 - (4 + 9 - 1)}",)
    assert "layer 0 (conv2d) by 24" in found.reason
    assert "total variation" in found.reason
    plain = recover(observation, method="layer-wise")
    # The prior moved the sample within the null space.
    assert relative(found.points, plain.points) > 1e-3


def test_a_deficient_inner_layer_is_never_called_trivial():
    """Both layers lack equations: many samples explain the gradient, and the one found is not the only one."""
    architecture = network([Conv2d(2, 3, 1, 1), Conv2d(1, 3, 2, 1)], shape=(1, 8, 8))
    observation, _, label = observe(architecture)
    found = hybrid(observation, np.random.default_rng(0), iterations=Iterations(20, 20, 5, 12))
    assert found.status in ("consistent", "failed")
    if found.status == "consistent":
        count = open_directions(observation, found.points, label)
        assert count > 0
        assert found.fibre == (f"null-space:{count}",)


@given(st.integers(0, 2**32))
def test_corrupted_gradients_are_never_called_consistent(seed):
    observation, _, _ = observe(WIDE, seed)
    rng = np.random.default_rng(seed)
    noisy = {key: piece * (1 + 1e-4 * rng.standard_normal(piece.shape)) for key, piece in observation.vector.items()}
    found = hybrid(
        dataclasses.replace(observation, vector=noisy), np.random.default_rng(0), iterations=Iterations(3, 3, 3, 3)
    )
    assert found.status == "failed"


def test_nothing_to_be_seen():
    observation, _, _ = observe(WIDE)
    nothing = {key: 0 * piece for key, piece in observation.vector.items()}
    found = METHOD.recover(dataclasses.replace(observation, vector=nothing), np.random.default_rng(0))
    assert found.status == "failed"
    assert len(found.points) == 0


def test_no_label_no_matching():
    """Coefficients that no label has: twice those of a sample."""
    observation, _, _ = observe(network([Conv2d(6, 3)], loss="logistic", outputs=1))
    doubled = {key: 3 * piece for key, piece in observation.vector.items()}
    found = METHOD.recover(dataclasses.replace(observation, vector=doubled), np.random.default_rng(0))
    assert found.status == "failed"
    assert "no label explains" in found.reason


def test_unsupported_layers_are_named():
    architecture = Architecture("net", (1, 6, 6), (Conv2d(2, 3), MaxPool2d(2), Flatten(), Linear(3)), "cross_entropy")
    observation, _, _ = observe(architecture)
    with pytest.raises(UnsupportedError, match=r"method hybrid: layer 1 \(max_pool2d\)"):
        METHOD.recover(observation, np.random.default_rng(0))


def test_the_command_s_name():
    observation, inputs, _ = observe(WIDE)
    found = recover(observation, method="hybrid", rng=0)
    assert found.method == "hybrid"
    assert found.status in ("consistent", "certified")
    assert relative(found.points, inputs) <= 1e-9
