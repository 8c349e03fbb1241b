"""ReLU with smoothed slopes: its value, and its second backward pass beside finite differences."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit

from provable.architectures import Architecture, Linear, ReLU
from provable.networks import Parameters, forward
from provable.recovery.parameter_matching.dense_relu import DenseReLU
from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss
from provable.recovery.stationary_point.modified_relu import ModifiedReLU, has_late_biases, modified


def network(rng, widths, outputs=1, dimension=4, biased=True):
    layers = []
    for level, width in enumerate(widths):
        layers += [Linear(width, biased and level == 0), ReLU()]
    architecture = Architecture("dense", (dimension,), (*layers, Linear(outputs, False)), "squared")
    values = {key: rng.standard_normal(shape) for key, shape in architecture.parameter_shapes.items()}
    return architecture, Parameters(architecture, values)


@given(st.integers(0, 2**32 - 1), st.sampled_from([(5,), (4, 3), (3, 4, 2)]), st.sampled_from([2.0, 20.0]))
@settings(max_examples=20)
def test_second_backward_pass_is_the_derivative_of_the_smooth_network_that_agrees_here(seed, widths, alpha):
    rng = np.random.default_rng(seed)
    architecture, parameters = network(rng, widths)
    plain = DenseReLU.of(architecture, parameters)
    net = modified(plain)
    points, signs = rng.standard_normal((3, 4)), rng.standard_normal((3, 1))
    target = {key: rng.standard_normal(shape) for key, shape in architecture.parameter_shapes.items()}
    loss = ReconstructionLoss((net,), target)
    value, by_points, by_signs = loss.value_and_gradient(points, signs[None], alpha)

    step = 1e-5
    shapes = list(architecture.parameter_shapes.items())

    def embedding(at):
        """Σ_j c_j ∇_θ of the smooth network at `at`, its offsets from `points`, by central differences in θ."""
        # The offset of every unit is fixed at (θ, points): it is no function of θ.
        offsets, current = [], points
        for level, (weight, bias) in enumerate(zip(plain.weights, plain.biases, strict=True)):
            current = current @ weight.T + bias
            if level < len(plain.weights) - 1:
                offsets.append(np.maximum(current, 0) - np.logaddexp(0, alpha * current) / alpha)
                current = np.maximum(current, 0)
        inputs, slopes, current = [], [], at
        for level, (weight, bias) in enumerate(zip(plain.weights, plain.biases, strict=True)):
            inputs.append(current)
            current = current @ weight.T + bias
            if level < len(plain.weights) - 1:
                slopes.append(expit(alpha * current))
                current = np.logaddexp(0, alpha * current) / alpha + offsets[level]
        delta, pieces = signs, {}
        for level in range(len(plain.weights) - 1, -1, -1):
            name, bias = plain.keys[level]
            pieces[name] = delta.T @ inputs[level]
            if bias is not None:
                pieces[bias] = delta.sum(axis=0)
            if level:
                delta = slopes[level - 1] * (delta @ plain.weights[level])
        return pieces

    def distance(at):
        pieces = embedding(at)
        return sum(float(np.sum((pieces[key] - target[key]) ** 2)) for key, _ in shapes)

    assert value == pytest.approx(distance(points), rel=1e-12)
    direction = rng.standard_normal(points.shape)
    difference = (distance(points + step * direction) - distance(points - step * direction)) / (2 * step)
    # The third derivative grows like α² per layer; cancellation leaves 1e-16 / 1e-5 of the value.
    scale = max(1.0, value) * (1 + alpha**2) * 100
    assert float(np.vdot(by_points, direction)) == pytest.approx(
        difference, abs=scale * (step**2 * alpha + 1e-10), rel=1e-4
    )
    # linear in the coefficients: exact differences
    moved = rng.standard_normal(signs.shape)
    plus = loss.value(points, (signs + moved)[None], alpha)
    minus = loss.value(points, (signs - moved)[None], alpha)
    assert float(np.vdot(by_signs, moved)) == pytest.approx((plus - minus) / 2, rel=1e-9, abs=1e-9 * (plus + minus))


def test_formula_for_two_layers():
    """∂L/∂x of the note's closed form, written out with the modified ReLU."""
    rng = np.random.default_rng(5)
    architecture, parameters = network(rng, (6,))
    net = modified(DenseReLU.of(architecture, parameters))
    (w, v), b, alpha = net.weights, net.biases[0], 7.0
    q, c = rng.standard_normal((5, 4)), rng.standard_normal(5)
    z = q @ w.T + b
    h, s = np.maximum(z, 0), expit(alpha * z)
    bend, d = alpha * s * (1 - s), s * v
    by_w, by_b, by_v = (d * c[:, None]).T @ q - w, (d * c[:, None]).sum(0) - b, c @ h - v[0]
    u = q @ by_w.T + by_b
    expected_points = 2 * c[:, None] * ((s * by_v + v * bend * u) @ w + d @ by_w)
    expected_signs = 2 * (h @ by_v + (d * u).sum(1))
    loss = ReconstructionLoss((net,), dict(parameters))
    value, by_points, by_signs = loss.value_and_gradient(q, c[None, :, None], alpha)
    assert value == pytest.approx((by_w**2).sum() + (by_b**2).sum() + (by_v**2).sum(), rel=1e-13)
    assert np.allclose(by_points, expected_points, rtol=1e-11, atol=1e-11 * np.abs(expected_points).max())
    assert np.allclose(by_signs[0, :, 0], expected_signs, rtol=1e-11, atol=1e-11 * np.abs(expected_signs).max())


@given(st.integers(0, 2**32 - 1), st.sampled_from([None, 1.0, 1e8]))
def test_values_are_those_of_relu_at_every_sharpness(seed, alpha):
    rng = np.random.default_rng(seed)
    architecture, parameters = network(rng, (5, 3), outputs=2)
    net = modified(DenseReLU.of(architecture, parameters))
    points = rng.standard_normal((4, 4))
    passed = net.forward(points, alpha)
    expected = forward(architecture, parameters, points)
    # sums of at most 5 products in each of 3 layers
    assert np.allclose(passed.output, expected, rtol=0, atol=30 * 15 * 2.0**-52 * max(1, np.abs(expected).max()) * 10)
    limit = DenseReLU.of(architecture, parameters).forward(points)
    for one, other in zip(passed.slopes, limit.slopes, strict=True):
        # behind dead units a layer without bias has z = 0, where the smoothed slope is 1/2 at every sharpness
        assert alpha == 1.0 or np.all((one == 0.5) | np.isclose(one, other))


def test_restricting_to_a_subspace_keeps_the_kind():
    architecture, parameters = network(np.random.default_rng(0), (3,))
    loss = ReconstructionLoss((modified(DenseReLU.of(architecture, parameters)),), dict(parameters))
    assert isinstance(loss.in_coordinates(np.eye(4)[:2]).networks[0], ModifiedReLU)
    assert dataclasses.fields(ModifiedReLU) == dataclasses.fields(DenseReLU)


def test_late_biases_are_seen():
    rng = np.random.default_rng(0)
    for biased in (True, False):
        assert not has_late_biases(DenseReLU.of(*network(rng, (3, 2), biased=biased)))
    late = Architecture("late", (2,), (Linear(3, False), ReLU(), Linear(1, True)), "logistic")
    values = {key: np.ones(shape) for key, shape in late.parameter_shapes.items()}
    assert has_late_biases(DenseReLU.of(late, Parameters(late, values)))
