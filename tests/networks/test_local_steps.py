"""Gradient descent on one batch, and the derivative of its outcome by the batch."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear, Residual, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters, gradient_jacobian, loss_gradient
from provable.networks.local_steps import local_steps
from provable.observations.local_training import after_local_steps

NETWORKS = {
    "squared": Architecture("s", (3,), (Linear(5), Tanh(), Linear(2)), "squared"),
    "softmax": Architecture("c", (1, 3, 3), (Conv2d(2, 2), Tanh(), Flatten(), Linear(3)), "cross_entropy"),
    "logistic": Architecture("l", (3,), (Residual((Linear(3), Tanh())), Linear(1)), "logistic"),
}
seeds = st.integers(0, 2**32 - 1)


def batch(network, seed, count=2):
    rng = np.random.default_rng(seed)
    labels = {
        "squared": rng.standard_normal((count, network.output_size)),
        "logistic": rng.choice([-1.0, 1.0], count),
        "cross_entropy": rng.integers(0, network.output_size, count),
    }[network.loss]
    return Parameters.random(network, rng=rng), rng.standard_normal((count, *network.input_shape)), labels


@settings(max_examples=15)
@given(
    name=st.sampled_from(sorted(NETWORKS)),
    seed=seeds,
    steps=st.integers(1, 4),
    mean=st.booleans(),
    rate=st.floats(0.01, 0.3),
)
def test_the_derivative_is_the_limit_of_difference_quotients(name, seed, steps, mean, rate):
    network = NETWORKS[name]
    parameters, inputs, labels = batch(network, seed)
    squared = name == "squared"
    options = {"steps": steps, "learning_rate": rate, "reduction": "mean" if mean else "sum"}
    found = local_steps(network, parameters, inputs, labels, by_labels=squared, **options)
    rng = np.random.default_rng([seed, 1])
    move, turn = rng.standard_normal(inputs.shape), rng.standard_normal(labels.shape)
    step = 2.0**-17
    ends = []
    for sign in (1, -1):
        shifted = labels + sign * step * turn if squared else labels
        moved = after_local_steps(network, parameters, inputs + sign * step * move, shifted, **options)
        ends.append(np.concatenate([piece.reshape(-1) for piece in moved.vector.values()]))
    quotient = (ends[0] - ends[1]) / (2 * step)
    direction = np.concatenate([move.reshape(-1), turn.reshape(-1)]) if squared else move.reshape(-1)
    # truncation: step² / 6 ~ 1e-11 times third derivatives; rounding: ε / step ~ 3e-11 times parameters; below 1e3 both
    assert abs(quotient - found.jacobian @ direction).max() <= 1e-7 * max(1.0, abs(quotient).max())
    exact = after_local_steps(network, parameters, inputs, labels, **options).vector
    for key, piece in found.change.items():
        assert abs(piece - exact[key]).max() <= 30 * steps * EPSILON * (abs(piece).max() + abs(parameters[key]).max())


@settings(max_examples=15)
@given(name=st.sampled_from(sorted(NETWORKS)), seed=seeds)
def test_joint_derivatives_add_up_and_the_hessian_is_symmetric(name, seed):
    network = NETWORKS[name]
    parameters, inputs, labels = batch(network, seed)
    jacobian = gradient_jacobian(network, parameters, inputs, labels)
    rng = np.random.default_rng([seed, 1])
    moves, changes = rng.standard_normal((2, *inputs.shape)), rng.standard_normal((2, network.parameter_count))
    alone = jacobian.push_forward_jointly(np.zeros_like(moves), changes)
    both = jacobian.push_forward_jointly(moves, changes)
    scale = abs(both).max() + abs(alone).max()
    assert abs(both - alone - jacobian.push_forward(moves)).max() <= 30 * 30 * EPSILON * scale
    gram = alone @ changes.T
    assert abs(gram[0, 1] - gram[1, 0]) <= 30 * network.parameter_count * EPSILON * scale * abs(changes).max()
    step = 2.0**-17
    ends = [
        loss_gradient(
            network, Parameters.from_vector(network, parameters.vector() + s * step * changes[0]), inputs, labels
        )
        for s in (1, -1)
    ]
    quotient = (ends[0].vector() - ends[1].vector()) / (2 * step)
    assert abs(quotient - alone[0]).max() <= 1e-7 * max(1.0, abs(alone[0]).max())  # as above


def test_one_step_is_the_derivative_of_the_gradient():
    network = NETWORKS["squared"]
    parameters, inputs, labels = batch(network, 0)
    found = local_steps(network, parameters, inputs, labels, steps=1, learning_rate=0.5)
    jacobian = gradient_jacobian(network, parameters, inputs, labels)
    assert (found.jacobian == -0.5 * jacobian.push_forward(np.eye(6).reshape(6, 2, 3)).T).all()


def test_misfits_are_refused():
    network = NETWORKS["softmax"]
    parameters, inputs, labels = batch(network, 0)
    with pytest.raises(UnsupportedError, match="loss: found cross_entropy, whose labels are discrete"):
        local_steps(network, parameters, inputs, labels, steps=1, learning_rate=1.0, by_labels=True)
    with pytest.raises(InputError, match="reduction: found 'median'"):
        local_steps(network, parameters, inputs, labels, steps=1, learning_rate=1.0, reduction="median")
    wide = Architecture("wide", (20000,), (Linear(1),), "squared")
    with pytest.raises(UnsupportedError, match="inputs: found 20000 values"):
        local_steps(wide, Parameters.random(wide), np.ones((1, 20000)), np.ones(1), steps=1, learning_rate=1.0)
    jacobian = gradient_jacobian(network, parameters, inputs, labels)
    with pytest.raises(InputError, match="changes: found 1; 2 are accepted"):
        jacobian.push_forward_jointly(np.zeros((2, *inputs.shape)), np.zeros((1, network.parameter_count)))
