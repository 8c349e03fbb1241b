"""Bases of null spaces, exact and rounded."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from provable.arithmetic import EPSILON, MODULAR, RATIONAL, rank, to_float
from provable.arithmetic.null_space import null_space
from provable.errors import ArithmeticUnsupported

SHAPES = st.tuples(st.integers(1, 4), st.integers(1, 5))
MATRICES = SHAPES.flatmap(lambda shape: arrays(float, shape, elements=st.integers(-2, 2).map(float)))


@given(MATRICES)
def test_a_basis_of_the_null_space(matrix):
    exact = RATIONAL.convert(matrix)
    basis, rounded = null_space(exact), null_space(matrix)
    assert not np.any(exact @ basis.T != 0)
    assert len(basis) == matrix.shape[1] - rank(exact) == len(rounded)
    if len(basis):
        assert rank(basis) == len(basis)
        # products of length 5 with entries up to 2, and the error of a singular vector
        assert np.abs(matrix @ rounded.T).max() <= 30 * 10 * EPSILON * max(np.linalg.norm(matrix), 1)
        assert np.abs(rounded @ rounded.T - np.eye(len(rounded))).max() <= 30 * 5 * EPSILON
        # both span the same space
        assert rank(np.concatenate([to_float(basis), rounded]), relative_tolerance=1e-9) == len(basis)


def test_without_equations_everything_is_free():
    assert np.array_equal(null_space(np.zeros((0, 3))), np.eye(3))
    assert len(null_space(np.zeros((2, 3)))) == 3


def test_a_tolerance_decides_what_counts_as_zero():
    matrix = np.diag([1.0, 1e-6])
    assert len(null_space(matrix)) == 0
    assert np.array_equal(np.abs(null_space(matrix, relative_tolerance=1e-5)), [[0.0, 1.0]])


def test_residues_are_refused():
    with pytest.raises(ArithmeticUnsupported, match="modular"):
        null_space(MODULAR.convert(np.eye(2)))
