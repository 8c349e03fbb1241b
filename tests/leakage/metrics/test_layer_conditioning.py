"""Condition numbers of layer systems against singular values of the whole matrices."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear, Tanh
from provable.arithmetic import EPSILON
from provable.errors import UnsupportedError
from provable.leakage.layer_systems import LayerSystem
from provable.leakage.metrics import Instance, layer_conditioning, random_instance
from provable.networks import Parameters, backpropagate, losses, trace

convolutions = st.tuples(st.integers(1, 5), st.integers(1, 3), st.integers(1, 2), st.integers(0, 1))


def stack(first, second):
    """Two convolutions of a 2×8×8 image."""
    chain = (Conv2d(*first), Tanh(), Conv2d(*second), Tanh(), Flatten(), Linear(3))
    return Architecture("stack", (2, 8, 8), chain, "cross_entropy")


@settings(max_examples=15)
@given(first=convolutions, second=convolutions, seed=st.integers(0, 2**32 - 1))
def test_condition_numbers_are_those_of_the_scaled_matrices(first, second, seed):
    network = stack(first, second)
    instance = random_instance(network, rng=seed)
    traced = trace(network, instance.parameters, instance.inputs)
    residual = losses.residual("cross_entropy", traced.output, instance.labels)
    sensitivities = backpropagate(network, instance.parameters, traced, residual).outputs
    found = layer_conditioning(instance)
    assert [layer.path for layer in found] == ["0", "2"]
    for layer in found:
        index = int(layer.path)
        system = LayerSystem.of_layer(network.layers[index], network.shapes[index])
        forward = system.forward_matrix(instance.parameters[f"{index}/weight"])
        gradient = system.gradient_matrix(sensitivities[layer.path][0])
        matrix = np.vstack([forward, gradient * (abs(forward).max() / abs(gradient).max())])
        values = np.linalg.svd(matrix, compute_uv=False)
        rank = int((values > 1e-7 * values[0]).sum())
        assert layer.unknowns == matrix.shape[1] and layer.deficit == matrix.shape[1] - rank
        # a Gram matrix squares the condition number in the error
        condition = values[0] / values[rank - 1]
        assert layer.condition_number == pytest.approx(condition, rel=30 * matrix.shape[1] * EPSILON * condition**2)


@given(power=st.integers(-30, 30), seed=st.integers(0, 2**32 - 1))
def test_the_scale_of_the_gradient_does_not_matter(power, seed):
    # a squared loss and a last layer divided by 2^k: sensitivities scale, equations and their conditioning do not
    chain = (Conv2d(3, 2), Tanh(), Flatten(), Linear(1, bias=False))
    network = Architecture("scaled", (1, 4, 4), chain, "squared")
    instance = random_instance(network, rng=seed)
    arrays = dict(instance.parameters.arrays)
    arrays["3/weight"] = arrays["3/weight"] * 2.0**power
    scaled = Instance(Parameters(network, arrays), instance.inputs, instance.labels, "")
    (one,), (two,) = layer_conditioning(instance), layer_conditioning(scaled)
    assert one.deficit == two.deficit
    assert two.condition_number == pytest.approx(one.condition_number, rel=30 * 16 * EPSILON * one.condition_number**2)


def test_dead_layers_and_large_ones():
    network = stack((2, 2, 1, 0), (1, 2, 1, 0))
    zeros = Parameters(network, {name: np.zeros(shape) for name, shape in network.parameter_shapes.items()})
    dead = layer_conditioning(Instance(zeros, np.ones((1, 2, 8, 8)), np.array([0]), ""))
    assert [layer.deficit for layer in dead] == [128, 98] and dead[0].condition_number == float("inf")
    large = Architecture("large", (3, 64, 64), (Conv2d(1, 64), Flatten(), Linear(2)), "cross_entropy")
    with pytest.raises(UnsupportedError, match=r"layer 0 \(conv2d\): found 12288 input values, .* 3\.4 GiB"):
        layer_conditioning(random_instance(large))
