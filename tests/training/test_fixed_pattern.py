"""Derivatives at fixed slopes: against differences of values, and against the tangents of the network itself."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    Architecture,
    AvgPool2d,
    Flatten,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import EPSILON
from provable.errors import UnsupportedError
from provable.networks import Parameters, forward, tangents
from provable.training.fixed_pattern import FixedPattern

ACTIVATIONS = (ReLU(), LeakyReLU(0.25), Tanh(), Softplus(), Polynomial((0.5, 1.0, -1.0, 0.25)))


@st.composite
def chains(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    layers = []
    for _ in range(draw(st.integers(0, 2))):
        layers += [Linear(draw(st.integers(1, 4)), bias=draw(st.booleans())), draw(st.sampled_from(ACTIVATIONS))]
    layers.append(Linear(draw(st.integers(1, 3)), bias=draw(st.booleans())))
    architecture = Architecture("chain", (draw(st.integers(1, 3)),), tuple(layers), "squared")
    points = rng.standard_normal((draw(st.integers(1, 4)), *architecture.input_shape))
    chain = FixedPattern.of(architecture, points)
    theta = 0.7 * rng.standard_normal(architecture.parameter_count)
    return architecture, chain, theta, rng


def injected(chain, there, rng):
    hidden = [index for index, weight in enumerate(there.weights) if weight is None]
    return {index: rng.standard_normal(there.received[index].shape) for index in hidden}


@settings(max_examples=40, deadline=None)
@given(chains())
def test_outputs_and_tangents_are_those_of_the_network(case):
    architecture, chain, theta, rng = case
    parameters = Parameters.from_vector(architecture, theta)
    there = chain.forward(theta)
    points = chain.inputs
    np.testing.assert_array_equal(there.outputs, forward(architecture, parameters, points))
    cotangent = rng.standard_normal(there.outputs.shape)
    expected = np.einsum("nc,ncp->p", cotangent, tangents(architecture, parameters, points))
    scale = np.abs(tangents(architecture, parameters, points)).max() * np.abs(cotangent).sum() + 1
    # k: sums over units, layers and samples
    assert np.abs(there.backward(cotangent, {}).gradient - expected).max() <= 30 * 50 * EPSILON * scale


@settings(max_examples=40, deadline=None)
@given(chains())
def test_products_are_derivatives_of_the_gradient(case):
    _, chain, theta, rng = case
    first = chain.forward(theta)
    pattern = {index: first.factors[index] for index in chain.kinked}
    taus = injected(chain, first, rng)
    q = rng.standard_normal(first.outputs.shape)
    step = rng.standard_normal(theta.shape)
    dq, dtaus = rng.standard_normal(q.shape), {index: rng.standard_normal(tau.shape) for index, tau in taus.items()}

    def moved(t):
        there = chain.forward(theta + t * step, pattern)
        moved_taus = {index: tau + t * dtaus[index] for index, tau in taus.items()}
        return there, there.backward(q + t * dq, moved_taus).gradient

    received, outputs = first.along(step)
    product = first.backward(q, taus).along(step, received, dq, dtaus)
    h = 1e-4
    # Richardson's difference of order h⁴: third and fifth derivatives of these small polynomials are below 1e4
    (ahead, g1), (back, g2), (further, g3), (behind, g4) = (moved(t) for t in (h, -h, 2 * h, -2 * h))
    expected = (8 * (g1 - g2) - (g3 - g4)) / (12 * h)
    size = 1 + max(np.abs(g).max() for g in (g1, g2, g3, g4, product))
    assert np.abs(product - expected).max() <= 1e-8 * size
    moved_outputs = (8 * (ahead.outputs - back.outputs) - (further.outputs - behind.outputs)) / (12 * h)
    assert np.abs(outputs - moved_outputs).max() <= 1e-8 * (1 + np.abs(outputs).max() + np.abs(first.outputs).max())


@settings(max_examples=40, deadline=None)
@given(chains())
def test_products_are_symmetric(case):
    _, chain, theta, rng = case
    there = chain.forward(theta)
    taus = injected(chain, there, rng)
    back = there.backward(rng.standard_normal(there.outputs.shape), taus)
    one, two = rng.standard_normal((2, len(theta)))
    nothing = np.zeros_like(there.outputs)

    def times(step):
        received, _ = there.along(step)
        return back.along(step, received, nothing, {})

    first, second = two @ times(one), one @ times(two)
    scale = np.abs(two) @ np.abs(times(one)) + np.abs(one) @ np.abs(times(two)) + 1
    # k: products of two passes of up to 3 layers with 4 units; cancellation in the passes below 1e3
    assert abs(first - second) <= 30 * 50 * EPSILON * 1e3 * scale


@settings(max_examples=30, deadline=None)
@given(chains(), st.floats(0.0, 1.0))
def test_multipliers_at_a_kink_are_clarke_weights(case, weight):
    """Backpropagation with τ = (s - D) δ is backpropagation with the slope s."""
    _, chain, theta, rng = case
    there = chain.forward(theta)
    if not chain.kinked:
        return
    index = chain.kinked[0]
    pattern = {i: there.factors[i] for i in chain.kinked}
    changed = pattern | {index: np.full_like(pattern[index], weight)}
    q = rng.standard_normal(there.outputs.shape)
    delta = there.backward(q, {}).passed[index]
    # the values on the way are those of the first pattern in both, as they are at a kink
    one = there.backward(q, {index: (weight - pattern[index]) * delta}).gradient
    other = chain.forward(theta, pattern)
    other.factors[index] = changed[index]
    two = other.backward(q, {}).gradient
    assert np.abs(one - two).max() <= 30 * 50 * EPSILON * (1 + np.abs(one).max() + np.abs(two).max())


def test_other_layers_are_named():
    architecture = Architecture("pool", (1, 2, 2), (AvgPool2d(2), Flatten(), Linear(1)), "squared")
    with pytest.raises(UnsupportedError, match=r"layer 0 \(avg_pool2d\): is not supported"):
        FixedPattern.of(architecture, np.ones((1, 1, 2, 2)))
