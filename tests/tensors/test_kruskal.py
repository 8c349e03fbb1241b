"""Kruskal's rank against its definition and its invariances."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.arithmetic import MODULAR, RATIONAL, rank
from provable.errors import InputError, UnsupportedError
from provable.tensors import kruskal_rank
from provable.theorems.strategies import readable_arrays


@st.composite
def matrices(draw):
    return draw(readable_arrays((draw(st.integers(0, 3)), draw(st.integers(0, 4)))))


@given(matrices())
def test_agrees_with_the_determinants_of_its_definition(matrix):
    rows, columns = matrix.shape

    def independent(chosen):  # some minor of full size is nonzero; quarters up to 6 keep 3×3 determinants exact to 1/64
        return any(
            abs(np.linalg.det(matrix[np.ix_(lines, chosen)])) > 1 / 128
            for lines in itertools.combinations(range(rows), len(chosen))
        )

    expected = 0
    while expected < columns and all(map(independent, itertools.combinations(range(columns), expected + 1))):
        expected += 1
    assert kruskal_rank(matrix) == expected


@given(matrices(), st.randoms(use_true_random=False))
def test_is_invariant_under_order_and_scaling_of_columns(matrix, random):
    order = list(range(matrix.shape[1]))
    random.shuffle(order)
    factors = [random.choice([-2.0, -1.0, 0.5, 4.0]) for _ in order]
    assert kruskal_rank(matrix[:, order] * factors) == kruskal_rank(matrix)


@given(matrices())
def test_is_at_most_the_rank_and_the_same_for_exact_numbers(matrix):
    exact = RATIONAL.convert(matrix)
    assert kruskal_rank(matrix) == kruskal_rank(exact) <= rank(exact)
    assert kruskal_rank(matrix) == kruskal_rank(MODULAR.convert(matrix))


def test_uses_no_tolerance():
    assert kruskal_rank(np.array([[1.0, 1.0], [0.0, 2.0**-1000]])) == 2
    assert kruskal_rank(np.array([[1.0, 1.0], [0.1, 0.1]])) == 1


def test_three_vectors_in_a_plane():
    plane = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    assert kruskal_rank(plane) == 2
    assert kruskal_rank(plane * [1.0, 1.0, 0.0]) == 0
    assert kruskal_rank(np.zeros((3, 0))) == 0


def test_refuses_bad_input():
    with pytest.raises(InputError, match="two axes are accepted"):
        kruskal_rank(np.ones(3))
    with pytest.raises(InputError, match="not finite"):
        kruskal_rank(np.array([[np.inf]]))
    with pytest.raises(UnsupportedError, match="found 40 columns of rank 8"):
        kruskal_rank(np.eye(8)[:, np.arange(40) % 8])
