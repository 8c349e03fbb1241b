"""Batches in front of a fully connected ReLU layer, from the zeros of the sensitivities."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import linear_sum_assignment
from sklearn.datasets import load_digits

from provable.architectures import Architecture, LeakyReLU, Linear, ReLU, Tanh
from provable.errors import UnsupportedError
from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.column_space import ColumnSpace
from provable.recovery.batch.disaggregation import Disaggregation
from provable.recovery.batch.sparse_directions import SparseSearch, expected_draws, is_new
from provable.recovery.batch.spear import METHOD, Search

DEEP = (Linear(30), Tanh())
SHALLOW = ()


def case(
    size, count, width, *, outputs=10, behind=SHALLOW, bias=True, unit=False, loss="cross_entropy", seed=0, **options
):
    layers = (Linear(width, bias), ReLU(), *behind, Linear(outputs, bias))
    architecture = Architecture("drawn", (size,), layers, loss)
    rng = np.random.default_rng(seed)
    drawn = Parameters.random(architecture, rng=rng, scale="he")
    numbers = {key: 0.1 * rng.standard_normal(p.shape) if key.endswith("bias") else p for key, p in drawn.items()}
    inputs = rng.standard_normal((count, size))
    if unit:
        inputs /= np.linalg.norm(inputs, axis=1, keepdims=True)
    labels = rng.integers(outputs, size=count) if loss == "cross_entropy" else rng.standard_normal((count, outputs))
    observation = Observation.from_data(architecture, Parameters(architecture, numbers), inputs, labels, **options)
    return dataclasses.replace(observation, unit_norm=unit), inputs, labels


def recovered(observation):
    return METHOD.recover(observation, np.random.default_rng(0))


def matched(found, wanted):
    """Relative errors in the best matching, and the matching."""
    if len(found) != len(wanted):
        return np.array([np.inf]), np.arange(len(found))
    costs = np.linalg.norm(found[:, None] - wanted[None], axis=2) / np.linalg.norm(wanted, axis=1)
    rows, columns = linear_sum_assignment(costs)
    return costs[rows, columns], columns


def nested(observation, inputs):
    """Whether the zeros of one sample span too little to give it: those of a sample among those of another, for instance."""
    parameters = observation.parameters
    active = inputs @ parameters["0/weight"].T + parameters.get("0/bias", 0.0) > 0
    return any(
        np.count_nonzero(other & ~one) < 2 for k, one in enumerate(active) for other in np.delete(active, k, axis=0)
    )


@settings(max_examples=15)
@given(
    st.integers(1, 6),
    st.sampled_from([(3, SHALLOW), (10, SHALLOW), (2, DEEP), (4, DEEP)]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_recovers_batches_and_labels(count, head, bias, known, seed):
    outputs, behind = head
    observation, inputs, labels = case(
        12, count, 120, outputs=outputs, behind=behind, bias=bias, unit=not bias, seed=seed, batch_size_known=known
    )
    assert METHOD.supports(observation) is None
    assume(not nested(observation, inputs))
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    error, order = matched(found.points, inputs)
    # Kernels of about 60 rows are well conditioned; what is left is the condition of samples of similar patterns, below 1e4.
    assert np.max(error) <= 30 * 120 * 2.0**-52 * 1e4
    np.testing.assert_array_equal(found.labels, labels[order])


@pytest.mark.parametrize(("count", "width"), [(6, 1000), (10, 1000)])
def test_draws_are_as_many_as_expected(count, width):
    """Averages over seeds, against inclusion and exclusion with the true numbers of zeros."""
    drawn, expected = [], []
    for seed in range(12 if count == 6 else 3):
        observation, _, _ = case(60, count, width, seed=seed)
        chain = FullyConnected.of(observation)
        space = ColumnSpace.of(chain.first.gradient)
        search = SparseSearch.of(space)
        rng = np.random.default_rng(seed)
        found, draws = [], 0
        while len(found) < count and draws < 20_000:
            draws += 1
            found += [one for one in search.sampled(1, width // 3, rng) if is_new(one, found)]
        drawn.append(draws)
        zeros = np.count_nonzero(search.zeros(np.array(found).T), axis=0)
        expected.append(expected_draws(zeros, len(search.rows), count))
    # Draws of lower rank hit nothing: 1/3 of them for six samples, few for ten. A maximum of geometric times has a relative
    # deviation of about 0.5, divided by the root of the number of seeds.
    assert (
        0.5 <= np.mean(drawn) / np.mean(expected) <= 2.0
        if count == 6
        else 0.3 <= np.mean(drawn) / np.mean(expected) <= 3
    )


@given(st.integers(1, 6), st.integers(8, 40), st.data())
def test_expected_draws_by_inclusion_and_exclusion(dimension, width, data):
    zeros = data.draw(st.lists(st.integers(dimension - 1, width), min_size=dimension, max_size=dimension))

    def choose(total):
        result = Fraction(1)
        for k in range(dimension - 1):
            result *= Fraction(total - k, k + 1)
        return result

    hits = [choose(z) / choose(width) for z in zeros]
    exact = sum(
        Fraction((-1) ** (size + 1)) / sum(chosen)
        for size in range(1, dimension + 1)
        for chosen in itertools.combinations(hits, size)
    )
    # The quadrature's own accuracy; its terms are all positive.
    assert abs(expected_draws(np.array(zeros), width, dimension) / float(exact) - 1) <= 1e-9


def test_too_few_zeros_are_never_hit():
    assert expected_draws(np.array([3, 1, 3]), 10, 3) == float("inf")


@given(st.integers(2, 7), st.integers(0, 2**32))
def test_polishing_finds_the_column_from_its_neighbourhood(count, seed):
    rng = np.random.default_rng(seed)
    columns = rng.standard_normal((100, count)) * (rng.random((100, count)) < 0.5)
    space = ColumnSpace.of(columns @ rng.standard_normal((count, count + 3)))
    search = SparseSearch.of(space)
    for column in columns.T:
        direction = space.basis.T @ column
        direction /= np.linalg.norm(direction)
        found = search.polished(direction, count + 2, rng)
        assert len(found) == 1
        assert abs(abs(found[0] @ direction) - 1) <= 1e-9
        zeros = search.zeros(found[0][:, None])[:, 0]
        np.testing.assert_array_equal(zeros, column[search.decided] == 0)


def test_a_plane_of_two_columns_is_divided():
    rng = np.random.default_rng(0)
    columns = rng.standard_normal((80, 5)) * (rng.random((80, 5)) < 0.5)
    space = ColumnSpace.of(columns @ rng.standard_normal((5, 9)))
    search = SparseSearch.of(space)
    mixture = space.basis.T @ (columns[:, 0] + 0.7 * columns[:, 1])
    found = search.polished(mixture / np.linalg.norm(mixture), 8, rng)
    for column in columns.T[:2]:
        wanted = space.basis.T @ column / np.linalg.norm(column)
        assert max(abs(one @ wanted) for one in found) >= 1 - 1e-9


def test_false_columns_are_excluded_by_the_score():
    """With one output the difference of two patterns has as many zeros as the patterns themselves."""
    observation, inputs, _ = case(20, 5, 200, outputs=1, loss="squared")
    chain = FullyConnected.of(observation)
    space = ColumnSpace.of(chain.first.gradient)
    search = Search(space, Disaggregation(space, chain.first, False), np.random.default_rng(0))
    search.run()
    assert search.choice is not None and len(search.found) > 5
    assert search.agreement.score == 1.0
    assert np.max(matched(recovered(observation).points, inputs)[0]) <= 1e-10


@pytest.mark.parametrize("seed", range(2))
def test_descent_finds_sixteen_samples(seed):
    observation, inputs, _ = case(64, 16, 512, seed=seed)
    chain = FullyConnected.of(observation)
    space = ColumnSpace.of(chain.first.gradient)
    disaggregation = Disaggregation(space, chain.first, False)
    search = Search(space, disaggregation, np.random.default_rng(0))
    search.run()
    assert search.choice is not None, search.failure(0)
    assert search.draws == 0 < search.descents
    rows = np.linalg.solve(search.directions.vectors[:, search.choice], space.coordinates)
    assert np.max(matched(disaggregation.samples(rows, search.agreement.factors)[0], inputs)[0]) <= 1e-10


def test_output_weights_exclude_vectors_that_are_no_samples():
    """Without them two columns combined pass, which vanish where both do."""
    observation, _, _ = case(12, 5, 150)
    chain = FullyConnected.of(observation)
    space = ColumnSpace.of(chain.first.gradient)
    weights = chain.last.weight.T
    search = Search(space, Disaggregation(space, chain.first, False), np.random.default_rng(0), outputs=weights)
    search.run()
    assert search.choice is not None
    # Every direction kept is a sample's.
    assert len(search.found) == 5
    one, other = search.found[:2]
    mixed = (one + other) / np.linalg.norm(one + other)
    assert search._is_possible(one) and not search._is_possible(mixed)


def test_descent_among_the_zeros_of_a_direction():
    rng = np.random.default_rng(3)
    columns = rng.standard_normal((200, 6)) * (rng.random((200, 6)) < 0.5)
    space = ColumnSpace.of(columns @ rng.standard_normal((6, 9)))
    search = SparseSearch.of(space)
    wanted = space.basis.T @ columns
    wanted /= np.linalg.norm(wanted, axis=0)
    found = [one for _ in range(20) for one in search.descended_within(wanted[:, 0], 50, rng)]
    hits = {int(np.argmax(np.abs(wanted.T @ one))) for one in found if np.max(np.abs(wanted.T @ one)) > 1 - 1e-9}
    assert len(hits) >= 3


@pytest.mark.parametrize("seed", range(3))
def test_digits_before_ten_classes(seed):
    digits = load_digits().data / 16
    observation, _, labels = case(64, 8, 512, seed=seed)
    inputs = digits[np.random.default_rng(seed).permutation(len(digits))[:8]]
    observation = Observation.from_data(observation.architecture, observation.parameters, inputs, labels)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    error, order = matched(found.points, inputs)
    assert np.max(error) <= 30 * 512 * 2.0**-52 * 1e4  # the condition of samples of similar patterns, below 1e4
    np.testing.assert_array_equal(found.labels, labels[order])


def test_without_biases_samples_are_known_up_to_a_factor():
    observation, inputs, _ = case(12, 4, 100, bias=False, behind=(Linear(20, False), ReLU()), outputs=5)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert "positive-scaling" in found.fibre
    lengths = np.linalg.norm(inputs, axis=1, keepdims=True)
    points = found.points / np.linalg.norm(found.points, axis=1, keepdims=True)
    assert np.max(matched(points, inputs / lengths)[0]) <= 1e-10


def test_two_samples_of_one_pattern_fail_by_name():
    observation, inputs, labels = case(12, 4, 40)
    inputs[1] = inputs[0] * (1 + 1e-7)
    labels[:2] = 0, 1
    twins = Observation.from_data(observation.architecture, observation.parameters, inputs, labels)
    found = recovered(twins)
    assert found.status == "failed" and "no choice agrees" in found.reason
    assert len(found.points) == 0


def test_a_zero_gradient():
    observation, inputs, _ = case(6, 3, 20, outputs=2, loss="squared")
    labels = forward(observation.architecture, observation.parameters, inputs)
    found = recovered(Observation.from_data(observation.architecture, observation.parameters, inputs, labels))
    assert found.status == "failed" and "its gradient is zero" in found.reason


def test_noise_is_never_called_consistent():
    observation, _, _ = case(20, 4, 60)
    rng = np.random.default_rng(1)
    for size in (1e-9, 1e-5, 1e-2):
        vector = {
            key: piece + size * np.abs(piece).max() * rng.standard_normal(piece.shape)
            for key, piece in observation.vector.items()
        }
        assert recovered(dataclasses.replace(observation, vector=vector)).status in ("partial", "failed")


def bare(layers):
    architecture = Architecture("drawn", (4,), layers, "squared")
    parameters = Parameters.random(architecture, rng=np.random.default_rng(0))
    return Observation.from_data(architecture, parameters, np.eye(2, 4), np.zeros((2, architecture.output_size)))


def trained(layers):
    drawn = bare(layers)
    return Observation("stationary-point", drawn.architecture, drawn.parameters)


@pytest.mark.parametrize(
    ("observation", "message"),
    [
        (trained((Linear(8), ReLU(), Linear(2))), "trained neurons repeat one another"),
        (bare((Linear(8), LeakyReLU(), Linear(2))), "leaky_relu, which leaves no zeros"),
        (bare((Linear(8), Tanh(), Linear(2))), "the activation of layer 0 is tanh"),
        (bare((Linear(8, False), ReLU(), Linear(2))), "not positively homogeneous"),
    ],
)
def test_what_it_does_not_support(observation, message):
    assert message in METHOD.supports(observation)
    with pytest.raises(UnsupportedError, match="method spear"):
        recovered(observation)
