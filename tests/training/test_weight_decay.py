"""The share of θ_0 that weight decay leaves in a change of parameters: found blindly, taken away, and what then remains."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.training.gradient_descent import train
from provable.training.linearised_networks import train_linearised
from provable.training.optimisers import Adam, GradientDescent
from provable.training.span import decompose
from provable.training.weight_decay import initial_share, without_initial_share


def problem(seed, *, width=30, count=3, bias=True, loss="squared"):
    rng = np.random.default_rng(seed)
    layers = (Flatten(), Linear(width, bias=bias), Tanh(), Linear(1))
    model = Architecture("net", (1, 8), layers, loss)
    labels = rng.choice([-1.0, 1.0], count)
    return model, Parameters.random(model, rng=rng), rng.standard_normal((count, 1, 8)), labels


@given(
    st.integers(0, 10**6),
    st.sampled_from(["standard", "linearised"]),
    st.sampled_from([0.0, 0.8]),
    st.sampled_from([0.0, 0.01, 0.5]),
    st.booleans(),
    st.sampled_from(["squared", "logistic"]),
)
def test_the_share_is_read_off_the_first_layer(seed, dynamics, momentum, decay, bias, loss):
    model, theta, inputs, labels = problem(seed, bias=bias, loss=loss)
    steps, rate = 20, 0.02
    found = train(
        model,
        theta,
        inputs,
        labels,
        optimiser=GradientDescent(rate, momentum, weight_decay=decay),
        steps=steps,
        dynamics=dynamics,
    )
    share = initial_share(found.observation())
    beta, velocity = 1.0, 0.0  # the coefficient of θ_0, by the same steps
    for _ in range(steps):
        velocity = momentum * velocity - rate * decay * beta
        beta += velocity
    columns = 8 + bias
    assert (share.dimension, share.multiplicity) == (3, columns - 3)
    # κ: that of W_0 (30 × 9) and of the eigenvectors, below 1e3; θ_t - θ_0 cancels to a few digits at worst
    assert abs(share.share - (beta - 1)) <= 30 * 30 * EPSILON * 1e3
    if dynamics == "linearised":
        rest = without_initial_share(found.observation(), share.share)
        before = np.linalg.norm(np.concatenate([piece.reshape(-1) for piece in rest.vector.values()]))
        assert decompose(rest, inputs).outside <= 30 * 30 * EPSILON * 1e3 * max(
            1.0, np.linalg.norm(theta.vector()) / before
        )


def test_adam_and_many_samples_are_not_mistaken_for_decay():
    model, theta, inputs, labels = problem(0)
    adam = train(model, theta, inputs, labels, optimiser=Adam(1e-2, weight_decay=0.1), steps=20)
    assert initial_share(adam.observation()) is None
    model, theta, inputs, labels = problem(1, count=9)
    many = train(model, theta, inputs, labels, optimiser=GradientDescent(0.01, weight_decay=0.1), steps=20)
    assert initial_share(many.observation()) is None
    # one direction left: a single eigenvalue tells nothing
    model, theta, inputs, labels = problem(1, count=8)
    one = train(model, theta, inputs, labels, optimiser=GradientDescent(0.01, weight_decay=0.1), steps=20)
    assert initial_share(one.observation()) is None


def test_decay_alone_is_all_of_the_change():
    model, theta, _, _ = problem(4)
    vector = {name: -0.25 * array for name, array in theta.items()}
    share = initial_share(Observation(kind="parameter-change", architecture=model, parameters=theta, vector=vector))
    # κ of W_0 below 1e2
    assert abs(share.share + 0.25) <= 30 * 30 * EPSILON * 1e2
    assert (share.dimension, share.multiplicity) == (0, 9)


def test_what_is_refused():
    model, theta, inputs, labels = problem(0)
    seen = train_linearised(model, theta, inputs, labels).observation
    with pytest.raises(InputError, match="kind: found gradient; a parameter-change is accepted"):
        initial_share(dataclasses.replace(seen, kind="gradient"))
    with pytest.raises(InputError, match="kind: found gradient"):
        without_initial_share(dataclasses.replace(seen, kind="gradient"), 0.0)
    with pytest.raises(InputError, match="vector/1/bias: is absent"):
        initial_share(dataclasses.replace(seen, vector={"1/weight": seen.vector["1/weight"]}))
    narrow, start, inputs, labels = problem(0, width=8)
    with pytest.raises(UnsupportedError, match=r"layer 1 \(linear\): has 8 units; finding .* needs 9 or more"):
        initial_share(train_linearised(narrow, start, inputs, labels).observation)
    flat = {name: np.ones_like(array) for name, array in seen.parameters.items()}
    with pytest.raises(UnsupportedError, match=r"first layer has rank 1; .* needs 9 independent columns"):
        initial_share(dataclasses.replace(seen, parameters=Parameters(model, flat)))
    convolution = Architecture("conv", (1, 4, 4), (Conv2d(2, 2), ReLU(), Flatten(), Linear(1)), "squared")
    start = Parameters.random(convolution, rng=0)
    with pytest.raises(UnsupportedError, match=r"layer 0 \(conv2d\): .* needs a linear first layer"):
        initial_share(train_linearised(convolution, start, np.ones((1, 1, 4, 4)), np.ones(1)).observation)
