"""The derivative of the gradient against difference quotients in exact arithmetic; transposes, floats, sizes."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import (
    Activation,
    Architecture,
    AvgPool2d,
    Conv2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    Residual,
)
from provable.architectures.layers import Tanh
from provable.arithmetic import EPSILON, RATIONAL, Arithmetic, Array, Float
from provable.errors import InputError, UnsupportedError
from provable.networks import GradientJacobian, Parameters, gradient_jacobian, loss_gradient, second_derivatives

WIDE = Arithmetic("ball", bits=600)
STEP = flint.fmpq(1, 2**150)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=3)  # for each of up to twenty networks
losses = st.sampled_from(["squared", "logistic", "cross_entropy"])


def with_loss(network: Architecture, loss: str) -> Architecture:
    """The same network with the loss, behind one more layer if the number of outputs does not fit it."""
    wanted = {"squared": network.output_size, "logistic": 1, "cross_entropy": max(2, network.output_size)}[loss]
    chain = network.layers if wanted == network.output_size else (*network.layers, Linear(wanted))
    return Architecture(network.name, network.input_shape, chain, loss)


def instance(architecture: Architecture, seed: int, count: int = 2) -> tuple[Parameters, Float, Array]:
    """Random parameters, samples and labels; no pre-activation is near a kink (that has probability below 1e-10)."""
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng, scale="lecun")
    samples = rng.standard_normal((count, *architecture.input_shape))
    labels = {
        "squared": rng.standard_normal((count, architecture.output_size)),
        "logistic": rng.choice([-1, 1], count),
        "cross_entropy": rng.integers(0, architecture.output_size, count),
    }[architecture.loss]
    return parameters, samples, labels


def directions(architecture: Architecture, seed: int, rows: int, count: int = 2) -> tuple[Float, Float]:
    """Random directions of the samples and of the parameters, with zeros among their entries."""
    rng = np.random.default_rng([seed, 1])
    moves = rng.integers(-2, 3, (rows, count, *architecture.input_shape)).astype(float)
    return moves, rng.integers(-2, 3, (rows, architecture.parameter_count)).astype(float)


def quotient(architecture: Architecture, parameters: Parameters, samples: Array, labels: Array, move: Array) -> Array:
    """Central difference of the loss gradient along a direction of the samples, by first derivatives only."""
    high, low = (
        loss_gradient(architecture, parameters, samples + step * move, labels).vector() for step in (STEP, -STEP)
    )
    return np.asarray((high - low) / (2 * STEP))


@few
@given(seed=seeds)
def test_derivatives_equal_exact_difference_quotients(piecewise_linear: Architecture, seed: int) -> None:
    # between kinks the gradient of the squared loss is quadratic in the samples, so central differences are exact
    numbers = instance(piecewise_linear, seed)
    moves, weights = RATIONAL.convert(directions(piecewise_linear, seed, 2))
    parameters, samples, labels = RATIONAL.convert(numbers)
    jacobian = gradient_jacobian(piecewise_linear, parameters, samples, labels)
    found = jacobian.push_forward(moves)
    for row, move in zip(found, moves, strict=True):
        assert (row == quotient(piecewise_linear, parameters, samples, labels, move)).all()
    pulled = jacobian.pull_back(weights).reshape(2, -1)
    assert (found @ weights.T == moves.reshape(2, -1) @ pulled.T).all()  # ⟨J dx, w⟩ = ⟨dx, Jᵀ w⟩ exactly


@few
@given(seed=seeds, loss=losses)
def test_derivatives_are_limits_of_difference_quotients(smooth: Architecture, seed: int, loss: str) -> None:
    architecture = with_loss(smooth, loss)
    parameters, samples, labels = instance(architecture, seed)
    with WIDE.working():
        parameters, samples = WIDE.convert((parameters, samples))
        moves, weights = WIDE.convert(directions(architecture, seed, 2))
        if loss == "squared":
            labels = WIDE.convert(labels)
        jacobian = gradient_jacobian(architecture, parameters, samples, labels)
        found = jacobian.push_forward(moves)
        pulled = jacobian.pull_back(weights).reshape(2, -1)
        errors = [found[0] - quotient(architecture, parameters, samples, labels, moves[0])]
        errors.append((found @ weights.T - moves.reshape(2, -1) @ pulled.T).reshape(-1))
        for entry in np.concatenate(errors):
            # the truncation error is STEP² / 6 times a third derivative, hence below 2**-250 for those below 2**50;
            # the radius shows that the balls are narrow enough for that to be a test
            assert abs(entry).upper() < 2.0**-250 and entry.rad() < 2.0**-250


def majorant_layer(layer: Layer) -> Layer:
    """A layer that dominates another one and its first two derivatives on absolute values."""
    if isinstance(layer, Residual):
        parts = (tuple(map(majorant_layer, chain)) for chain in (layer.layers, layer.shortcut))
        return Residual(*parts)
    if isinstance(layer, MaxPool2d):
        return AvgPool2d(layer.kernel_size, layer.stride, layer.padding)
    if isinstance(layer, Polynomial):
        return Polynomial(tuple(map(abs, layer.coefficients)))
    if isinstance(layer, Activation):
        # |σ| <= 0.7 + 1.2 |z| + z², |σ'| <= 1.2 and |σ''| <= 2 for every activation of the fixtures
        smooth = layer.type not in ("relu", "leaky_relu", "identity")
        return Polynomial((0.7, 1.2, 1.0) if smooth else (0.0, 1.0))
    return layer


def majorant(architecture: Architecture, parameters: Parameters, samples: Float, labels: Array) -> GradientJacobian:
    """The same derivative with every number and every operation replaced by one that dominates its absolute value."""
    chain = tuple(map(majorant_layer, architecture.layers))
    dominant = Architecture("majorant", architecture.input_shape, chain, "squared")
    absolute = Parameters(dominant, {name: abs(array) for name, array in parameters.items()})
    # |f| + |y| dominates f - y, and 1 dominates the curvature
    return gradient_jacobian(dominant, absolute, abs(samples), -abs(labels))


@few
@given(seed=seeds)
def test_floats_agree_with_exact_numbers(network: Architecture, seed: int) -> None:
    numbers, moves = instance(network, seed), directions(network, seed, 2)
    jacobian = gradient_jacobian(network, *numbers)
    found = jacobian.push_forward(moves[0]), jacobian.pull_back(moves[1])
    kinds = {layer.type for _, layer in second_derivatives.leaves(network.layers)}
    system = WIDE if kinds & {"tanh", "sigmoid", "softplus", "erf", "gelu", "silu", "elu"} else RATIONAL
    with system.working():
        exact = gradient_jacobian(network, *system.convert(numbers))
        wanted = exact.push_forward(system.convert(moves[0])), exact.pull_back(system.convert(moves[1]))
        errors = [abs(arithmetic.to_float(w - system.convert(f))) for w, f in zip(wanted, found, strict=True)]
    bound = majorant(network, *numbers)
    conditions = bound.push_forward(abs(moves[0])), bound.pull_back(abs(moves[1]))
    factor = float(math.prod(math.prod(p.kernel_size) for p in network.layers if isinstance(p, MaxPool2d)))
    # σ'' and σ' at a rounded z: one more |z|, and third derivatives below 2, as in the tests of the tangents
    factor *= 1 + sum(float(received.max(initial=0.0)) for received in bound.traced.inputs.values())
    for error, condition in zip(errors, conditions, strict=True):
        assert (error <= 30 * len(network.layers) * EPSILON * factor * condition).all()


@few
@given(seed=seeds, loss=losses)
def test_gram_matrix_is_that_of_the_pushed_units(network: Architecture, seed: int, loss: str) -> None:
    architecture = with_loss(network, loss)
    jacobian = gradient_jacobian(architecture, *instance(architecture, seed, 1))
    size = architecture.input_size
    dense = jacobian.push_forward(np.eye(size).reshape(size, 1, *architecture.input_shape))
    gram = jacobian.gram()
    assert jacobian.shape == dense.shape[::-1] and (gram == gram.T).all()
    # both are backward stable: errors are a multiple of ε times the norms of J and of the passes that make it
    bound = majorant(architecture, *instance(with_loss(network, "squared"), seed, 1)) if loss == "squared" else None
    scale = np.linalg.norm(dense) ** 2 if bound is None else np.linalg.norm(bound.gram())
    factor = 1 + max(float(abs(array).max(initial=0.0)) for array in jacobian.traced.inputs.values())
    assert np.linalg.norm(gram - dense @ dense.T) <= 30 * len(architecture.layers) * EPSILON * factor**4 * scale


@given(seed=seeds, count=st.integers(0, 3), rows=st.integers(0, 4), chunk=st.integers(1, 3))
def test_chunks_and_batches_change_nothing(seed: int, count: int, rows: int, chunk: int) -> None:
    chain = (Conv2d(2, 2, padding=1), Tanh(), MaxPool2d(2), Residual((Conv2d(2, 3, padding=1),)), Flatten(), Linear(3))
    architecture = Architecture("small", (1, 3, 3), chain, "cross_entropy")
    numbers = instance(architecture, seed, count)
    moves, weights = directions(architecture, seed, rows, count)
    jacobian = gradient_jacobian(architecture, *numbers)
    pushed, pulled = jacobian.push_forward(moves), jacobian.pull_back(weights)
    assert pushed.shape == (rows, architecture.parameter_count) and pulled.shape == moves.shape
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(second_derivatives, "WORKING_MEMORY", chunk * jacobian.bytes_per_direction)
        parts = jacobian.push_forward(moves), jacobian.pull_back(weights)
    parameters, samples, labels = numbers
    singles = [gradient_jacobian(architecture, parameters, samples[i : i + 1], labels[i : i + 1]) for i in range(count)]
    alone = sum((one.push_forward(moves[:, i : i + 1]) for i, one in enumerate(singles)), np.zeros(pushed.shape))
    # sums of at most 48 products of weights, samples and integers, in another order: each below 100
    tolerance = 30 * 4800 * EPSILON
    pairs = [(parts[0], pushed), (parts[1], pulled), (alone, pushed)]
    pairs += [(one.pull_back(weights)[:, 0], pulled[:, i]) for i, one in enumerate(singles)]
    for left, right in pairs:
        assert np.allclose(left, right, rtol=0, atol=tolerance)


def test_residues_agree_with_rationals_modulo_the_prime() -> None:
    chain = (Conv2d(2, 2), Polynomial((1.0, 2.0, 0.5)), Flatten(), Residual((Linear(8),)), Linear(2))
    architecture = Architecture("polynomial", (1, 3, 3), chain, "squared")
    numbers, (moves, weights) = instance(architecture, 7), directions(architecture, 7, 1)
    results: list[Any] = []
    for system in (RATIONAL, arithmetic.MODULAR):
        jacobian = gradient_jacobian(architecture, *system.convert(numbers))
        parts = jacobian.push_forward(system.convert(moves)), jacobian.pull_back(system.convert(weights))
        results.append(np.concatenate([part.reshape(-1) for part in parts]))
    prime = arithmetic.DEFAULT_PRIME
    for rational, residue in zip(*results, strict=True):
        assert (int(rational.q) * int(residue) - int(rational.p)) % prime == 0


def test_a_kink_takes_the_left_derivative() -> None:
    architecture = Architecture("kink", (1,), (LeakyReLU(0.5), Linear(1, bias=False)), "squared")
    parameters = Parameters(architecture, {"1/weight": np.array([[3.0]])})
    jacobian = gradient_jacobian(architecture, parameters, np.zeros((1, 1)), np.array([1.0]))
    # ∇_w ½ (w σ(x) - 1)² = (w σ - 1) σ, whose derivative is (2 w σ - 1) σ' = -0.5 on the left of 0
    assert jacobian.push_forward(np.ones((1, 1, 1))).tolist() == [[-0.5]]
    assert jacobian.pull_back(np.ones((1, 1))).tolist() == [[[-0.5]]]


def test_misfits_and_sizes_are_refused_by_name() -> None:
    architecture = Architecture("net", (2,), (Linear(3),), "squared")
    jacobian = gradient_jacobian(architecture, *instance(architecture, 0))
    with pytest.raises(InputError, match=r"directions: found shape \(2, 2\); \(k, 2, 2\) is accepted"):
        jacobian.push_forward(np.ones((2, 2)))
    with pytest.raises(InputError, match=r"covectors: found shape \(1, 8\); \(k, 9\) is accepted"):
        jacobian.pull_back(np.ones((1, 8)))
    with pytest.raises(InputError, match="directions: found rational numbers; float64 ones are accepted"):
        jacobian.push_forward(RATIONAL.convert(np.ones((1, 2, 2))))
    exact = gradient_jacobian(architecture, *RATIONAL.convert(instance(architecture, 0)))
    with pytest.raises(UnsupportedError, match="gram: found exact numbers; float64 is accepted"):
        exact.gram()
    wide = Architecture("wide", (40000,), (Linear(1, bias=False),), "squared")
    with pytest.raises(UnsupportedError, match=r"inputs: found 40000, .* needs 12800000000 bytes; at most 8589934592"):
        gradient_jacobian(wide, *instance(wide, 0, 1)).gram()


def test_networks_without_parameters_have_nothing_to_differentiate() -> None:
    architecture = Architecture("flat", (1, 2, 2), (AvgPool2d(2), Flatten()), "squared")
    jacobian = gradient_jacobian(architecture, Parameters(architecture, {}), np.ones((3, 1, 2, 2)), np.ones(3))
    assert jacobian.push_forward(np.ones((2, 3, 1, 2, 2))).shape == (2, 0)
    assert (jacobian.pull_back(np.ones((2, 0))) == np.zeros((2, 3, 1, 2, 2))).all()


def test_the_loss_is_not_part_of_the_shape() -> None:
    # the logistic loss of one logit equals the cross-entropy of (f, 0); so do the derivatives of the shared parameters
    chain = (Linear(3), Tanh(), Linear(1, bias=False))
    logistic = Architecture("one", (2,), chain, "logistic")
    two = dataclasses.replace(logistic, layers=(*chain[:2], Linear(2, bias=False)), loss="cross_entropy")
    parameters, samples, _ = instance(logistic, 3, 1)
    row = parameters["2/weight"]
    doubled = Parameters(two, {**parameters.arrays, "2/weight": np.concatenate([row, 0 * row])})
    move = np.array([[[1.0, -2.0]]])
    left = gradient_jacobian(logistic, parameters, samples, np.array([1])).push_forward(move)[0]
    right = gradient_jacobian(two, doubled, samples, np.array([0])).push_forward(move)[0, : len(left)]
    # a dozen operations on numbers below 10
    assert np.allclose(left, right, rtol=0, atol=1000 * EPSILON)
