"""The derivative of the embedding with respect to points and coefficients, and its normal equations."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Activation, Architecture, Conv2d, Flatten, Linear, Tanh
from provable.architectures.layers import ELU, GELU, Erf, Polynomial, ReLU, Sigmoid, SiLU, Softplus
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.networks.embedding_derivative import embedding_jacobian, normal_equations, pushed_embedding
from provable.networks.one_hidden_layer import OneHiddenLayer

ACTIVATIONS: list[Activation] = [
    Tanh(), Sigmoid(), Softplus(), Erf(), GELU(), SiLU(), ELU(), ReLU(), Polynomial((0.0, 0.5, 1.0, 1.0)),
]  # fmt: skip


@st.composite
def shallow(draw):
    """A network with one hidden layer, a measure, weights with zeros and a misfit; some pieces are not observed."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from([(4,), (1,), (1, 2, 2)]))
    outputs = draw(st.integers(1, 3))
    front = (Flatten(),) if len(shape) > 1 else ()
    chain = (
        *front,
        Linear(draw(st.integers(1, 6)), draw(st.booleans())),
        draw(st.sampled_from(ACTIVATIONS)),
        Linear(outputs, draw(st.booleans())),
    )
    network = Architecture("shallow", shape, chain, "squared")
    count = draw(st.integers(1, 4))
    points = rng.standard_normal((count, *shape))
    if count > 1 and draw(st.booleans()):
        points[1] = points[0]  # a duplicate: J has dependent columns
    measure = Measure(points, rng.standard_normal((count, outputs)) * draw(st.sampled_from([1.0, 1e-8])))
    keys = [key for key in network.parameter_shapes if draw(st.booleans())]
    weights = {key: rng.integers(0, 3, network.parameter_shapes[key]).astype(float) for key in keys}
    misfit = {key: rng.standard_normal(shape) for key, shape in network.parameter_shapes.items()}
    return network, Parameters.random(network, rng=rng), measure, weights, misfit


@given(shallow())
def test_block_by_block_equals_the_whole_matrix(case):
    network, parameters, measure, weights, misfit = case
    matrix, vector = normal_equations(network, parameters, measure, weights, misfit)
    jacobian = embedding_jacobian(network, parameters, measure)
    zero = {key: np.zeros(shape) for key, shape in network.parameter_shapes.items()}
    flat = np.concatenate([(zero | weights)[key].reshape(-1) for key in zero])
    other = np.concatenate([misfit[key].reshape(-1) for key in zero])
    weighted = jacobian.T * flat
    # rounding of sums of products is relative to the sums of absolute values; the factors come from the same functions
    lengths = 30 * (network.parameter_count + 10) * EPSILON
    size = np.sqrt((weighted * jacobian.T).sum(axis=1))
    absolute = abs(jacobian.T) * flat @ abs(jacobian)
    assert (abs(matrix - weighted @ jacobian) <= lengths * (absolute + np.outer(size, size))).all()
    assert (abs(vector - weighted @ other) <= lengths * (abs(weighted) @ abs(other))).all()
    assert (matrix == matrix.T).all()


NETWORKS = {
    "shallow": Architecture("shallow", (3,), (Linear(4), Tanh(), Linear(2)), "squared"),
    "deep": Architecture("deep", (3,), (Linear(4), Tanh(), Linear(3), Softplus(), Linear(1)), "squared"),
    "convolution": Architecture("c", (1, 3, 3), (Conv2d(2, 2), Tanh(), Flatten(), Linear(2)), "cross_entropy"),
}


@settings(max_examples=10)
@given(name=st.sampled_from(sorted(NETWORKS)), seed=st.integers(0, 2**32 - 1))
def test_the_matrix_is_the_limit_of_difference_quotients(name, seed):
    network, rng = NETWORKS[name], np.random.default_rng(seed)
    parameters = Parameters.random(network, rng=rng)
    points, coefficients = rng.standard_normal((2, *network.input_shape)), rng.standard_normal((2, network.output_size))
    moves = rng.standard_normal(points.shape), rng.standard_normal(coefficients.shape)
    step = 2.0**-17
    high, low = (
        embed(network, parameters, Measure(points + sign * step * moves[0], coefficients + sign * step * moves[1]))
        for sign in (1, -1)
    )
    quotient = (high.vector() - low.vector()) / (2 * step)
    found = embedding_jacobian(network, parameters, Measure(points, coefficients)) @ np.concatenate(
        [part.reshape(-1) for part in moves]
    )
    # truncation: step² / 6 ~ 1e-11 times third derivatives; rounding: ε / step ~ 3e-11 times values; both of order 1e3
    assert abs(quotient - found).max() <= 1e-7 * max(1.0, abs(found).max())


@given(name=st.sampled_from(sorted(NETWORKS)), seed=st.integers(0, 2**32 - 1))
def test_rows_can_be_selected(name, seed):
    network, rng = NETWORKS[name], np.random.default_rng(seed)
    parameters = Parameters.random(network, rng=rng)
    measure = Measure(rng.standard_normal((2, *network.input_shape)), rng.standard_normal((2, network.output_size)))
    whole, start = embedding_jacobian(network, parameters, measure), 0
    for key, shape in network.parameter_shapes.items():
        stop = start + math.prod(shape)
        assert (embedding_jacobian(network, parameters, measure, [key]) == whole[start:stop]).all()
        start = stop


@given(name=st.sampled_from(sorted(NETWORKS)), seed=st.integers(0, 2**32 - 1))
def test_pushed_directions_are_products_with_the_matrix(name, seed):
    network, rng = NETWORKS[name], np.random.default_rng(seed)
    parameters = Parameters.random(network, rng=rng)
    measure = Measure(rng.standard_normal((2, *network.input_shape)), rng.standard_normal((2, network.output_size)))
    keys = [key for key in network.parameter_shapes if rng.random() < 0.7]
    weights = {key: rng.integers(0, 3, network.parameter_shapes[key]).astype(float) for key in keys}
    jacobian = embedding_jacobian(network, parameters, measure, keys)
    directions = rng.standard_normal((3, jacobian.shape[1]))
    roots = np.concatenate([np.zeros(0), *(np.sqrt(weights[key]).reshape(-1) for key in keys)])
    found = pushed_embedding(network, parameters, measure, directions, weights)
    sizes = abs(directions) @ abs(jacobian.T) * roots + np.linalg.norm(jacobian)
    assert (abs(found - directions @ jacobian.T * roots) <= 30 * 20 * EPSILON * sizes).all()


def test_other_networks_are_not_taken_for_one_hidden_layer():
    for name, expected in (("shallow", True), ("deep", False), ("convolution", False)):
        network = NETWORKS[name]
        assert (OneHiddenLayer.of(network, Parameters.random(network)) is not None) is expected


def test_misfits_are_refused():
    network = NETWORKS["shallow"]
    parameters = Parameters.random(network, rng=0)
    measure = Measure(np.ones((2, 3)), np.ones((2, 2)))
    with pytest.raises(InputError, match="weights: found the unknown name '9/weight'"):
        normal_equations(network, parameters, measure, {"9/weight": np.ones(1)})
    with pytest.raises(InputError, match=r"weights 0/bias: found shape \(3,\); \(4,\) is accepted"):
        normal_equations(network, parameters, measure, {"0/bias": np.ones(3)})
    with pytest.raises(InputError, match=r"coefficients: found shape \(2, 1\); \(2, 2\) is accepted"):
        embedding_jacobian(network, parameters, Measure(np.ones((2, 3)), np.ones((2, 1))))
    with pytest.raises(InputError, match="keys: found the unknown name 'x'"):
        embedding_jacobian(network, parameters, measure, ["x"])
    with pytest.raises(UnsupportedError, match="found 5000 unknowns"):
        normal_equations(network, parameters, Measure(np.ones((1000, 3)), np.ones((1000, 2))), {})
    wide = Architecture("wide", (3000,), (Linear(100), Tanh(), Linear(1)), "squared")
    with pytest.raises(UnsupportedError, match="found 3001 unknowns; their Jacobian"):
        embedding_jacobian(wide, Parameters.random(wide), Measure(np.ones((1, 3000)), np.ones(1)))
