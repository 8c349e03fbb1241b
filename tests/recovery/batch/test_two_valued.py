"""All two-valued vectors of a subspace, against brute force and against what is known to be there."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import UnsupportedError
from provable.recovery.batch.two_valued import LARGEST_DIMENSION, two_valued_vectors

EPSILON = 2.0**-52
SLOPES = (0.0, 0.25, -0.5, 2.0, 0.01)


def orthonormal(columns):
    return np.linalg.svd(columns, full_matrices=False)[0]


def patterns(found) -> set[tuple[bool, ...]]:
    return {tuple(row) for row in found.large.tolist()}


def by_brute_force(columns, slope) -> set[tuple[bool, ...]]:
    """All of the 2^m patterns that the columns span, by the rank of integer-sized matrices (entries are multiples of 1/4)."""
    rank = np.linalg.matrix_rank(columns)
    result = set()
    for bits in itertools.product((False, True), repeat=len(columns)):
        vector = np.where(bits, 1.0, slope)
        if np.any(vector) and np.linalg.matrix_rank(np.column_stack([columns, vector])) == rank:
            result.add(bits)
    return result


@st.composite
def spanning_columns(draw, width):
    """A few two-valued columns, or columns of any small numbers, which seldom span a two-valued vector."""
    count = draw(st.integers(1, 4))
    slope = draw(st.sampled_from(SLOPES[:4]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns = np.where(rng.random((width, count)) < draw(st.sampled_from([0.2, 0.5, 0.8])), 1.0, slope)
    if draw(st.booleans()):
        columns[:, -1] = rng.integers(-3, 4, size=width)
    if not np.any(columns):
        columns[0] = 1.0
    return columns, slope


@given(spanning_columns(9))
def test_finds_exactly_what_brute_force_finds(case):
    columns, slope = case
    basis = orthonormal(columns)[:, : np.linalg.matrix_rank(columns)]
    found = two_valued_vectors(basis, np.ones(len(columns)), slope, error=4 * EPSILON)
    assert np.all(found.decided)
    assert patterns(found) == by_brute_force(columns, slope)
    assert len(patterns(found)) == len(found.large)


@st.composite
def planted(draw):
    """More rows, output weights of any size, columns mixed by an invertible matrix."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, slope = draw(st.integers(1, 14)), draw(st.sampled_from(SLOPES))
    width = count + draw(st.integers(6, 60))
    large = rng.random((width, count)) < draw(st.floats(0.3, 0.7))
    large[0] = True  # no column is zero
    weights = rng.standard_normal(width) * 2.0 ** rng.integers(-4, 5, size=width)
    columns = np.where(large, 1.0, slope) * weights[:, None]
    return large, columns, weights, slope, rng


@given(planted())
def test_finds_every_planted_vector(case):
    large, columns, weights, slope, rng = case
    mixed = columns @ rng.standard_normal((columns.shape[1], columns.shape[1]))
    values = np.linalg.svd(columns, compute_uv=False)
    if values[-1] < 1e-3 * values[0]:  # dependent columns: the span is another one
        return
    found = two_valued_vectors(orthonormal(mixed), weights, slope, error=1e3 * EPSILON * np.linalg.cond(mixed))
    assert {tuple(column) for column in large.T.tolist()} <= patterns(found)
    for pattern in found.large:
        vector = np.where(pattern, 1.0, slope) * weights
        left = vector - columns @ np.linalg.lstsq(columns, vector, rcond=None)[0]
        assert np.linalg.norm(left) <= 1e-6 * np.linalg.norm(vector)  # any other pattern is off by a whole entry


@given(planted(), st.integers(0, 2**32))
def test_the_order_of_rows_does_not_matter(case, seed):
    _, columns, weights, slope, _ = case
    basis = orthonormal(columns)[:, : np.linalg.matrix_rank(columns)]
    order = np.random.default_rng(seed).permutation(len(weights))
    error = 100 * EPSILON
    one = two_valued_vectors(basis, weights, slope, error=error)
    other = two_valued_vectors(basis[order], weights[order], slope, error=error)
    assert {tuple(np.array(row)[order]) for row in patterns(one)} == patterns(other)


def test_neurons_without_output_weight_say_nothing():
    rng = np.random.default_rng(0)
    weights = rng.standard_normal(40)
    weights[[3, 17]] = 0.0
    weights[5] = 1e-18
    large = rng.random((40, 6)) < 0.5
    found = two_valued_vectors(orthonormal(large * weights[:, None]), weights, 0.0, error=1e-15)
    assert not np.any(found.decided[[3, 5, 17]]) and np.count_nonzero(found.decided) == 37
    decided = {tuple(row[found.decided]) for row in found.large}
    assert {tuple(column[found.decided]) for column in large.T} <= decided


def test_disjoint_patterns_give_their_sum_as_well():
    large = np.array([[1, 0], [1, 0], [0, 1], [0, 1], [0, 0]], dtype=bool)
    found = two_valued_vectors(orthonormal(large.astype(float)), np.ones(5), 0.0, error=EPSILON)
    assert patterns(found) == {tuple(large[:, 0]), tuple(large[:, 1]), tuple(large.any(axis=1))}


def test_twenty_dimensions_of_a_rounded_space():
    """The space is known to 1e-7 only, as from a gradient of float32."""
    rng = np.random.default_rng(1)
    weights = rng.standard_normal(1000)
    large = rng.random((1000, 20)) < 0.5
    columns = large * weights[:, None]
    basis = orthonormal(columns @ rng.standard_normal((20, 20)) + 1e-7 * rng.standard_normal((1000, 20)))
    found = two_valued_vectors(basis, weights, 0.0, error=1e-6)
    wanted = {tuple(column[found.decided]) for column in large.T.tolist() for column in [np.array(column)]}
    assert {tuple(row[found.decided]) for row in found.large} == wanted


@pytest.mark.parametrize(
    ("basis", "weights", "error", "message"),
    [
        (np.eye(50, LARGEST_DIMENSION + 1), np.ones(50), EPSILON, "dimension of at most 44"),
        (np.eye(30, 25), np.ones(30), EPSILON, "more than 1048576 patterns"),
        (np.eye(4, 2), np.array([1.0, 0, 0, 0]), EPSILON, "1 neurons have an output weight that is not negligible"),
        (np.eye(4, 2), np.ones(4), 1e-2, "does not tell the two values"),
        (np.eye(4, 2), np.array([1.0, 0, 1, 1]), EPSILON, "are dependent"),
        (np.eye(4, 2), np.zeros(4), EPSILON, "0 neurons have an output weight"),
    ],
)
def test_what_cannot_be_listed_is_refused(basis, weights, error, message):
    with pytest.raises(UnsupportedError, match=message):
        two_valued_vectors(basis, weights, 0.0, error=error)
