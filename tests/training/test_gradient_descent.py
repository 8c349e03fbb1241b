"""Training of finite networks: against steps written out, other engines, closed forms; stopping, divergence, bad input."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Architecture,
    Conv2d,
    Flatten,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Residual,
    Softplus,
    Tanh,
)
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.networks import Parameters, embed, forward, loss_gradient, losses, tangents
from provable.observations.local_training import after_local_steps
from provable.training.dense_chain import DenseChain
from provable.training.gradient_descent import train
from provable.training.linearised_networks import train_linearised
from provable.training.optimisers import Adam, GradientDescent

ACTIVATIONS = (ReLU(), LeakyReLU(0.25), Tanh(), Softplus(), GELU(), ELU(0.5), Polynomial((0.0, 1.0, 0.25)))
LOSSES = ("squared", "logistic", "cross_entropy")


def problem(seed, loss, activation, *, depth=1, bias=True, count=3, width=4, dimension=3, image=False):
    rng = np.random.default_rng(seed)
    outputs = {"squared": 2, "logistic": 1, "cross_entropy": 3}[loss]
    hidden = [layer for _ in range(depth) for layer in (Linear(width, bias=bias), activation)]
    layers = (*([Flatten()] if image else []), *hidden, Linear(outputs, bias=bias))
    shape = (1, dimension) if image else (dimension,)
    model = Architecture("net", shape, layers, loss)
    labels = {
        "squared": lambda: rng.standard_normal((count, outputs)),
        "logistic": lambda: rng.choice([-1.0, 1.0], count),
        "cross_entropy": lambda: rng.integers(0, outputs, count),
    }[loss]()
    return model, Parameters.random(model, rng=rng), rng.standard_normal((count, *shape)), labels


@given(
    st.integers(0, 10**6),
    st.sampled_from(LOSSES),
    st.sampled_from(ACTIVATIONS),
    st.integers(0, 3),
    st.booleans(),
    st.booleans(),
)
def test_the_fast_gradient_is_the_gradient(seed, loss, activation, depth, bias, image):
    model, theta, inputs, labels = problem(seed, loss, activation, depth=depth, bias=bias, image=image)
    chain = DenseChain.of(model, inputs, labels, factor=0.5)
    expected = 0.5 * loss_gradient(model, theta, inputs, labels).vector()
    found = np.full(model.parameter_count, np.nan)
    for _ in range(2):  # the buffers of the first evaluation are used again
        value, outputs = chain.evaluate(theta.vector(), found)
        # k: the same sums of at most 4 products in 4 layers, in another order; κ: their absolute values, below 1e2 here
        bound = 30 * 16 * EPSILON * max(1.0, np.abs(expected).max()) * 1e2
        assert np.max(np.abs(found - expected)) <= bound
        assert np.max(np.abs(outputs - forward(model, theta, inputs))) <= bound
        assert abs(value - 0.5 * losses.value(loss, outputs, labels).sum()) <= bound * max(1.0, value)
    assert chain.evaluate(theta.vector())[0] == value


def test_only_chains_are_dense():
    for layers in ((Conv2d(1, 2), Flatten(), Linear(1)), (Flatten(), Residual((Linear(4),)), Linear(1))):
        model = Architecture("net", (1, 2, 2), layers, "squared")
        assert DenseChain.of(model, np.ones((1, 1, 2, 2)), np.ones((1, 1))) is None


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["dense", "convolution", "residual"])
def test_plain_steps_are_those_of_local_training(kind, loss, reduction):
    model, theta, inputs, labels = problem(7, loss, Tanh(), dimension=9)
    if kind != "dense":
        layers = {
            "convolution": (Conv2d(2, 2), ReLU(), Flatten(), Linear(model.output_size)),
            "residual": (Flatten(), Residual((Linear(9), Tanh())), Linear(model.output_size)),
        }[kind]
        model, inputs = Architecture(kind, (1, 3, 3), layers, loss), inputs.reshape(3, 1, 3, 3)
        theta = Parameters.random(model, rng=0)
    found = train(model, theta, inputs, labels, optimiser=GradientDescent(0.05), steps=6, reduction=reduction)
    expected = after_local_steps(model, theta, inputs, labels, steps=6, learning_rate=0.05, reduction=reduction)
    observation = found.observation()
    for name, piece in expected.vector.items():
        # k: 6 steps of sums of at most 9 products in 2 layers; κ: parameters near 1 are subtracted
        assert np.max(np.abs(observation.vector[name] - piece)) <= 30 * 6 * 18 * EPSILON
    assert (observation.kind, observation.reduction, observation.batch_size) == ("parameter-change", reduction, 3)
    assert found.observation(batch_size_known=False).batch_size is None
    np.testing.assert_array_equal(found.observation(labels_known=True).labels, found.labels)
    # a training loss that falls, and is the one of the outputs
    assert np.all(np.diff(found.losses) < 0)
    factor = 3 if reduction == "mean" else 1
    assert found.losses[-1] == pytest.approx(losses.value(loss, found.outputs, labels).sum() / factor, rel=30 * EPSILON)
    assert np.max(np.abs(forward(model, found.trained, inputs) - found.outputs)) <= 30 * 30 * EPSILON


def exact_momentum(rate, rho, decay, nesterov, steps, curvature, start):
    """The quadratic ½ Σ c θ² in rationals."""
    theta = [Fraction(value) for value in start]
    velocity = [Fraction(0)] * len(theta)
    rate, rho, decay = Fraction(rate), Fraction(rho), Fraction(decay)
    for _ in range(steps):
        there = [t + rho * v for t, v in zip(theta, velocity, strict=True)] if nesterov else theta
        gradient = [(Fraction(c) + decay) * t for c, t in zip(curvature, there, strict=True)]
        velocity = [rho * v - rate * g for v, g in zip(velocity, gradient, strict=True)]
        theta = [t + v for t, v in zip(theta, velocity, strict=True)]
    return np.array([float(value) for value in theta])


@given(
    st.floats(1e-3, 0.3),
    st.sampled_from([0.0, 0.5, 0.9]),
    st.sampled_from([0.0, 0.25]),
    st.booleans(),
    st.integers(0, 20),
)
def test_descent_in_rationals(rate, rho, decay, nesterov, steps):
    curvature, start = np.array([0.25, 1.0, 2.0]), np.array([1.0, -2.0, 0.5])
    theta, worker = start.copy(), GradientDescent(rate, rho, nesterov, decay).start(3)
    for _ in range(steps):
        there = worker.look_ahead(theta)
        worker.step(theta, curvature * there)
    expected = exact_momentum(rate, rho, decay, nesterov, steps, curvature, start)
    # k: 6 roundings in each of 20 steps, with velocities up to 1/(1 - ρ)
    assert np.max(np.abs(theta - expected)) <= 30 * 6 * max(steps, 1) * EPSILON * 2 / (1 - rho)


@given(st.integers(0, 10**6), st.sampled_from([(0.9, 0.999), (0.0, 0.9), (0.5, 0.0)]), st.sampled_from([0.0, 0.1]))
def test_adam_by_its_definition(seed, rates, decay):
    rng = np.random.default_rng(seed)
    gradients = rng.standard_normal((12, 4))
    gradients[rng.random((12, 4)) < 0.2] = 0.0
    start = rng.standard_normal(4)
    theta, worker = start.copy(), Adam(0.1, rates, 1e-6, decay).start(4)
    expected, history = start.copy(), []
    for step, gradient in enumerate(gradients, 1):
        history.append(gradient + decay * expected)
        one, two = rates
        # the moments as weighted means of all gradients so far, not recursively
        first = [(1 - one) * one ** (step - k) for k in range(1, step + 1)]
        second = [(1 - two) * two ** (step - k) for k in range(1, step + 1)]
        mean = sum(w * g for w, g in zip(first, history, strict=True)) / sum(first)
        square = sum(w * g * g for w, g in zip(second, history, strict=True)) / sum(second)
        expected = expected - 0.1 * mean / (np.sqrt(square) + 1e-6)
        assert worker.look_ahead(theta) is theta
        worker.step(theta, gradient.copy())
    # k: 12 steps of sums of 12; κ: 1e-6 in the denominator where all gradients vanished is exact
    assert np.max(np.abs(theta - expected)) <= 30 * 12 * 12 * EPSILON * max(1.0, np.abs(expected).max())


@given(
    st.integers(0, 10**6),
    st.sampled_from([0.0, 0.8]),
    st.booleans(),
    st.sampled_from(["sum", "mean"]),
    st.integers(0, 25),
)
def test_linearised_steps_are_the_closed_form(seed, momentum, nesterov, reduction, steps):
    model, theta, inputs, labels = problem(seed, "squared", ReLU())
    closed = train_linearised(model, theta, inputs, labels, steps=0, reduction=reduction)
    largest = float(np.linalg.eigvalsh(closed.kernel)[-1])
    rate = 0.7 / largest * (3 if reduction == "mean" else 1)
    closed = train_linearised(
        model,
        theta,
        inputs,
        labels,
        steps=steps,
        learning_rate=rate,
        momentum=momentum,
        nesterov=nesterov,
        reduction=reduction,
    )
    found = train(
        model,
        theta,
        inputs,
        labels,
        optimiser=GradientDescent(rate, momentum, nesterov),
        steps=steps,
        dynamics="linearised",
        reduction=reduction,
    )
    # k: an eigenbasis of size 6, 25 steps; κ: 1/(1 - ρ)²; the change is at most a few times the steps' sizes
    scale = max(1.0, np.abs(labels).sum()) * 0.7 * max(steps, 1) / (1 - momentum) * np.sqrt(model.parameter_count)
    bound = 30 * 6 * EPSILON * (steps + 1 / (1 - momentum) ** 2) * scale
    for name, piece in closed.observation.vector.items():
        assert np.max(np.abs(found.change[name] - piece)) <= bound * max(1.0, 1 / np.sqrt(largest))
    assert np.max(np.abs(found.outputs - (labels - closed.training.residual))) <= bound * max(1.0, largest)
    assert found.initial_share == 0.0
    image = embed(model, theta, found.measure)
    assert all(np.array_equal(image[name], found.change[name]) for name in model.parameter_shapes)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize(
    "optimiser",
    [GradientDescent(0.02, 0.9, weight_decay=0.3), GradientDescent(0.02, 0.5, True, 0.3), Adam(0.02, weight_decay=0.3)],
)
def test_linearised_training_in_all_coordinates(loss, optimiser):
    """Descent in the span's own coordinates takes the same steps as in all of them, with weight decay and any loss."""
    model, theta, inputs, labels = problem(11, loss, Tanh())
    found = train(model, theta, inputs, labels, optimiser=optimiser, steps=30, dynamics="linearised")
    start, flat = forward(model, theta, inputs), theta.vector()
    jacobian = tangents(model, theta, inputs).reshape(start.size, -1)
    expected, worker = flat.copy(), optimiser.start(len(flat))
    for _ in range(30):
        outputs = start + (jacobian @ (worker.look_ahead(expected) - flat)).reshape(start.shape)
        worker.step(expected, jacobian.T @ losses.residual(loss, outputs, labels).reshape(-1))
    change = np.concatenate([found.change[name].reshape(-1) for name in model.parameter_shapes])
    # k: 30 steps of sums of 9 and 30 terms; κ: momentum's 1/(1 - ρ), Adam's quotients of small gradients
    assert np.max(np.abs(change - (expected - flat))) <= 30 * 30 * 30 * EPSILON * 10
    assert (found.measure is None) == isinstance(optimiser, Adam)
    if found.measure is not None:
        image = embed(model, theta, found.measure).vector() + found.initial_share * flat
        assert np.max(np.abs(image - change)) <= 30 * 30 * EPSILON


@given(st.floats(1e-3, 0.2), st.floats(1e-3, 1.0), st.integers(0, 30))
def test_weight_decay_keeps_a_known_share_of_the_start(rate, decay, steps):
    model, theta, inputs, labels = problem(5, "logistic", ReLU())
    found = train(
        model,
        theta,
        inputs,
        labels,
        optimiser=GradientDescent(rate, weight_decay=decay),
        steps=steps,
        dynamics="linearised",
    )
    # β_t = (1 - ηw)ᵗ; k: 3 roundings in each of 30 steps
    assert abs(found.initial_share + 1 - (1 - rate * decay) ** steps) <= 30 * 3 * max(steps, 1) * EPSILON


def test_stopping_at_a_loss_and_determinism():
    model, theta, inputs, labels = problem(1, "squared", ReLU(), width=30)
    arguments = {"optimiser": GradientDescent(0.01), "steps": 2000}
    whole = train(model, theta, inputs, labels, **arguments)
    assert (whole.stopped, whole.steps) == ("steps", 2000)
    target = float(whole.losses[40])
    found = train(model, theta, inputs, labels, **arguments, target_loss=target)
    assert (found.stopped, found.steps) == ("loss", int(np.argmax(whole.losses <= target)))
    np.testing.assert_array_equal(found.losses, whole.losses[: found.steps + 1])
    again = train(model, theta, inputs, labels, optimiser=GradientDescent(0.01), steps=found.steps)
    assert again.change == found.change
    assert train(model, theta, inputs, labels, **arguments, target_loss=1e9).steps == 0
    none = train(model, theta, inputs, labels, optimiser=Adam(), steps=0)
    assert not none.change.vector().any()


@pytest.mark.parametrize("dynamics", ["standard", "linearised"])
@pytest.mark.parametrize("layers", [(Linear(5), ReLU(), Linear(2)), (Residual((Linear(3), ReLU())), Linear(2))])
def test_divergence_is_reported_at_its_step(dynamics, layers):
    _, _, inputs, labels = problem(2, "squared", ReLU())
    model = Architecture("net", (3,), layers, "squared")
    theta = Parameters.random(model, rng=0)
    with pytest.raises(InputError, match=r"learning_rate: found 100, .*leaves the range of float64 at step \d+"):
        train(model, theta, inputs, labels, optimiser=GradientDescent(100.0), steps=2000, dynamics=dynamics)


WRONG = {
    "dynamics: found 'lazy'; standard and linearised": {"dynamics": "lazy"},
    "reduction: found 'max'; sum and mean": {"reduction": "max"},
    "steps: found '-1'; an integer from 0": {"steps": -1},
    "steps: found 'True'": {"steps": True},
    "target_loss: found nan": {"target_loss": math.nan},
    "inputs: found no samples": {"inputs": np.ones((0, 3))},
    "inputs: found shape (3, 4)": {"inputs": np.ones((3, 4))},
    "labels: are 2; 3 would fit": {"labels": np.ones((2, 2))},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments(message):
    model, theta, inputs, labels = problem(2, "squared", ReLU())
    arguments = {"inputs": inputs, "labels": labels, "optimiser": GradientDescent(0.1), "steps": 1} | WRONG[message]
    with pytest.raises(InputError) as caught:
        train(model, theta, arguments.pop("inputs"), arguments.pop("labels"), **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: GradientDescent(0.0), "learning_rate: found '0.0'; a positive number"),
        (lambda: GradientDescent(0.1, 1.0), "momentum: found '1.0'; a number from 0 to below 1"),
        (lambda: GradientDescent(0.1, weight_decay=-1.0), "weight_decay: found '-1.0'; a nonnegative number"),
        (lambda: GradientDescent(math.nan), "learning_rate: found 'nan'"),
        (lambda: Adam(True), "learning_rate: found 'True'"),
        (lambda: Adam(decay_rates=(0.9, 1.0)), "decay_rates: found '1.0'"),
        (lambda: Adam(decay_rates=(0.9,)), "decay_rates: found 1 numbers; two"),
        (lambda: Adam(epsilon=0.0), "epsilon: found '0.0'"),
        (lambda: Adam(weight_decay=-1.0), "weight_decay: found '-1.0'"),
    ],
)
def test_wrong_optimisers(make, message):
    with pytest.raises(InputError) as caught:
        make()
    assert message in str(caught.value)
