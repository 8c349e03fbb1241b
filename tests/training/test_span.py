"""What of a change of parameters lies in the span of the tangents: descent stays, Adam leaves, weight decay adds θ_0."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.networks import Parameters, tangents
from provable.observations import Observation
from provable.training.gradient_descent import train
from provable.training.linearised_networks import default_learning_rate, train_linearised
from provable.training.optimisers import Adam, GradientDescent
from provable.training.span import decompose


def problem(seed, width=12, *, activation=None, count=4):
    rng = np.random.default_rng(seed)
    model = Architecture("net", (5,), (Linear(width), activation or ReLU(), Linear(1)), "squared")
    theta = Parameters.random(model, rng=rng)
    inputs, labels = rng.standard_normal((count, 5)), rng.choice([-1.0, 1.0], count)
    return model, theta, inputs, labels


@given(st.integers(0, 10**6), st.sampled_from([1, 5, 300]), st.sampled_from([0.0, 0.9]), st.booleans())
def test_linearised_descent_stays_in_the_span_at_any_stopping_time(seed, steps, momentum, nesterov):
    model, theta, inputs, labels = problem(seed)
    closed = train_linearised(
        model, theta, inputs, labels, steps=steps, momentum=momentum, nesterov=nesterov and momentum > 0
    )
    if not any(piece.any() for piece in closed.observation.vector.values()):
        return
    found = decompose(closed.observation, inputs)
    condition = np.linalg.cond(closed.kernel)
    # k: sums over up to 73 parameters; κ: that of the tangents, the root of the kernel's
    assert found.outside <= 30 * 73 * EPSILON * np.sqrt(condition)
    if found.rank == len(inputs):
        size = np.abs(closed.measure.coefficients).max()
        error = np.max(np.abs(found.coefficients - closed.measure.coefficients))
        assert error <= 30 * 73 * EPSILON * condition * size


def test_adam_leaves_the_span_and_weight_decay_adds_the_start():
    model, theta, inputs, labels = problem(3, 40)
    arguments = {"steps": 200, "dynamics": "linearised"}
    adam = train(model, theta, inputs, labels, optimiser=Adam(1e-3), **arguments).observation()
    assert decompose(adam, inputs).outside > 0.5
    assert decompose(adam, inputs, with_initial=True).outside > 0.5
    decayed = train(model, theta, inputs, labels, optimiser=GradientDescent(0.01, 0.5, weight_decay=0.3), **arguments)
    apart = decompose(decayed.observation(), inputs)
    joint = decompose(decayed.observation(), inputs, with_initial=True)
    assert apart.outside > 0.1
    # k: sums over 281 parameters; κ of the tangents and θ_0 below 1e3 here
    assert joint.outside <= 30 * 281 * EPSILON * 1e3
    assert abs(joint.initial_share - decayed.initial_share) <= 30 * 281 * EPSILON * 1e3
    assert apart.initial_share is None


def test_standard_dynamics_leaves_the_span_less_the_wider_the_network():
    outside = []
    for width in (20, 200, 2000):
        parts = []
        for seed in range(3):
            model, theta, inputs, labels = problem(seed, width, activation=Tanh())
            rate = default_learning_rate(train_linearised(model, theta, inputs, labels, steps=0).kernel, len(inputs))
            found = train(model, theta, inputs, labels, optimiser=GradientDescent(rate), steps=150)
            parts.append(decompose(found.observation(), inputs).outside)
            # the first step is in the span exactly
            first = train(model, theta, inputs, labels, optimiser=GradientDescent(rate), steps=1)
            # k: sums over the parameters; κ: θ - θ_0 cancels, by its size relative to θ
            cancelled = np.linalg.norm(theta.vector()) / np.linalg.norm(first.change.vector())
            assert decompose(first.observation(), inputs).outside <= 30 * EPSILON * cancelled * np.sqrt(
                len(theta.vector())
            )
        outside.append(np.mean(parts))
    # the kernel moves by O(1/width) in the standard parametrisation, so a factor 10 in width is far more than one of 2
    assert outside[0] > 2 * outside[1] > 4 * outside[2] > 0


@given(st.integers(0, 10**6), st.booleans(), st.booleans())
def test_decomposition_is_the_orthogonal_projection(seed, with_initial, partly):
    rng = np.random.default_rng(seed)
    model, theta, inputs, _ = problem(seed)
    names = [name for name in model.parameter_shapes if not partly or name.startswith("0")]
    vector = {name: rng.standard_normal(model.parameter_shapes[name]) for name in names}
    seen = Observation(kind="parameter-change", architecture=model, parameters=theta, vector=vector)
    found = decompose(seen, inputs, with_initial=with_initial)
    shapes, start, kept = model.parameter_shapes, 0, []
    for name, shape in shapes.items():
        size = int(np.prod(shape))
        kept += list(range(start, start + size)) if name in vector else []
        start += size
    rows = tangents(model, theta, inputs)[:, 0][:, kept]
    if with_initial:
        rows = np.vstack([rows, theta.vector()[kept]])
    target = np.concatenate([vector[name].reshape(-1) for name in names])
    basis = np.linalg.svd(rows, full_matrices=False)
    basis = basis[2][basis[1] > 1e-10 * basis[1][0]]
    rest = target - basis.T @ (basis @ target)
    # k: sums over 73 parameters
    assert abs(found.outside - np.linalg.norm(rest) / np.linalg.norm(target)) <= 30 * 73 * EPSILON
    assert found.rank == len(basis)
    # the sign and the size of the observation do not matter
    halved = dataclasses.replace(seen, vector={name: -piece / 2 for name, piece in vector.items()})
    assert abs(decompose(halved, inputs, with_initial=with_initial).outside - found.outside) <= 30 * EPSILON


def test_what_is_refused_and_coinciding_points():
    model, theta, inputs, labels = problem(0)
    seen = train_linearised(model, theta, inputs, labels).observation
    twice = decompose(seen, np.concatenate([inputs, inputs[:1]]))
    once = decompose(seen, inputs)
    assert twice.rank == once.rank == 4
    # the coefficient of a repeated point is shared; κ below 1e3
    assert abs(twice.coefficients[0] - twice.coefficients[4])[0] <= 30 * 73 * EPSILON * 1e3
    assert decompose(seen, inputs[1:]).outside > 1e-3
    moved = decompose(seen, inputs, at=Parameters.random(model, rng=9))
    assert moved.outside > 1e-3
    zero = dataclasses.replace(seen, vector={name: 0 * piece for name, piece in seen.vector.items()})
    with pytest.raises(InputError, match="vector: is zero"):
        decompose(zero, inputs)
    with pytest.raises(InputError, match="kind: found stationary-point"):
        decompose(Observation(kind="stationary-point", architecture=model, parameters=theta), inputs)
    with pytest.raises(InputError, match="inputs: found shape"):
        decompose(seen, inputs[:, :2])
    with pytest.raises(InputError, match="points: found none"):
        decompose(seen, inputs[:0])
