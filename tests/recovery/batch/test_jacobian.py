"""The embedding of a batch and its derivative: against the general embedding, finite differences and linearity."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import ELU, GELU, Architecture, Linear, Polynomial, Sigmoid, SiLU, Softplus, Tanh
from provable.arithmetic import EPSILON, Float
from provable.measures import Measure
from provable.networks import Parameters, embed, embedding_derivative
from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.jacobian import embedding, embedding_jacobian, entries, sizes

ACTIVATIONS = (Tanh(), Sigmoid(), Softplus(), GELU(), SiLU(), Polynomial((0.0, 0.0, 1.0, 1.0)))


def problem(
    activation: object, seed: int, widths: tuple[int, ...], *, bias: bool
) -> tuple[FullyConnected, Observation, Float, Float]:
    rng = np.random.default_rng(seed)
    layers: list[object] = []
    for width in widths:
        layers += [Linear(width, bias=bias), activation]
    architecture = Architecture("chain", (4,), tuple(layers[:-1]), "squared")  # type: ignore[arg-type]
    parameters = Parameters.random(architecture, rng=rng)
    points, coefficients = rng.standard_normal((3, 4)), rng.standard_normal((3, widths[-1]))
    image = embed(architecture, parameters, Measure(points, coefficients))
    observation = Observation("gradient", architecture, parameters, dict(image))
    return FullyConnected.of(observation), observation, points, coefficients


@given(
    activation=st.sampled_from([*ACTIVATIONS, ELU()]),
    seed=st.integers(0, 2**32),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    bias=st.booleans(),
)
def test_the_embedding_is_the_general_one(activation: object, seed: int, widths: list[int], bias: bool) -> None:
    network, observation, points, coefficients = problem(activation, seed, tuple(widths), bias=bias)
    found = embedding(network, points, coefficients)
    assert list(found) == list(observation.vector)
    scale = sizes(network, points, coefficients)
    for name, piece in found.items():
        # Both add the same terms in other orders: a few roundings of each term, three terms, chains of 15 products.
        assert np.linalg.norm(piece - observation.vector[name]) <= 30 * 15 * EPSILON * (scale[name] + 1e-300)


@given(
    activation=st.sampled_from(ACTIVATIONS),
    seed=st.integers(0, 2**32),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    bias=st.booleans(),
)
def test_the_derivative_is_that_of_the_embedding(activation: object, seed: int, widths: list[int], bias: bool) -> None:
    network, _, points, coefficients = problem(activation, seed, tuple(widths), bias=bias)
    unit = dict.fromkeys(sizes(network, points, coefficients), 1.0)
    jacobian = embedding_jacobian(network, points, coefficients, unit)
    assert jacobian.shape == (entries(network), 3 * (4 + widths[-1]))
    rng = np.random.default_rng(seed)
    dx, dc = rng.standard_normal(points.shape), rng.standard_normal(coefficients.shape)

    def moved(step: float) -> Float:
        pieces = embedding(network, points + step * dx, coefficients + step * dc).values()
        return np.concatenate([piece.reshape(-1) for piece in pieces])

    exact = jacobian @ np.hstack([dx, dc]).reshape(-1)
    # Richardson's combination of central differences has an error of order step⁴; halving the step shows its size.
    coarse, fine = ((moved(h) - moved(-h)) / (2 * h) for h in (2.0**-9, 2.0**-10))
    finer = (moved(2.0**-11) - moved(-(2.0**-11))) * 2.0**10
    first, second = (4 * fine - coarse) / 3, (4 * finer - fine) / 3
    size = float(np.linalg.norm(moved(0.0)) + np.linalg.norm(exact))
    allowed = float(np.linalg.norm(first - second)) + 2.0**12 * 30 * EPSILON * size
    assert np.linalg.norm(exact - second) <= allowed


@given(
    activation=st.sampled_from(ACTIVATIONS),
    seed=st.integers(0, 2**32),
    widths=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    bias=st.booleans(),
)
def test_the_derivative_is_the_general_one_in_another_order(
    activation: object, seed: int, widths: list[int], bias: bool
) -> None:
    network, observation, points, coefficients = problem(activation, seed, tuple(widths), bias=bias)
    unit = dict.fromkeys(sizes(network, points, coefficients), 1.0)
    found = embedding_jacobian(network, points, coefficients, unit)
    general = embedding_derivative.embedding_jacobian(
        observation.architecture, observation.parameters, Measure(points, coefficients)
    )
    atoms, outputs = len(points), widths[-1]
    by_points = general[:, : points.size].reshape(-1, atoms, 4)
    by_coefficients = general[:, points.size :].reshape(-1, atoms, outputs)
    ordered = np.concatenate([by_points, by_coefficients], axis=2).reshape(len(general), -1)
    # Chains of at most 15 products, with a few roundings each; cubes of pre-activations triple their errors.
    assert np.linalg.norm(found - ordered) <= 30 * 45 * EPSILON * np.linalg.norm(general)


def test_weights_multiply_their_pieces() -> None:
    network, _, points, coefficients = problem(Tanh(), 5, (3, 2), bias=True)
    unit = dict.fromkeys(sizes(network, points, coefficients), 1.0)
    plain = embedding_jacobian(network, points, coefficients, unit)
    doubled = embedding_jacobian(network, points, coefficients, unit | {"2/bias": 2.0})
    np.testing.assert_array_equal(doubled[:-2], plain[:-2])
    np.testing.assert_array_equal(doubled[-2:], 2 * plain[-2:])


@pytest.mark.parametrize("piece", ["0/weight", "0/bias", "2/weight", "2/bias"])
def test_pieces_that_were_not_observed_have_no_rows(piece: str) -> None:
    _, observation, points, coefficients = problem(Tanh(), 5, (3, 2), bias=True)
    vector = {name: array for name, array in observation.vector.items() if name != piece}
    partial = FullyConnected.of(Observation("gradient", observation.architecture, observation.parameters, vector))
    assert list(embedding(partial, points, coefficients)) == list(vector)
    assert entries(partial) == sum(array.size for array in vector.values())
