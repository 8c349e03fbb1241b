"""Matrices of residues against Python's integers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.leakage.layer_systems import residues
from provable.rigor.modular_rank import PRIME


def draw(rng, shape, extreme):
    values = rng.integers(0, PRIME, shape, dtype=np.uint64)
    return np.where(rng.random(shape) < extreme, np.uint64(PRIME - 1), values)


@given(
    st.integers(0, 6), st.integers(0, 40), st.integers(0, 6), st.sampled_from([0.0, 0.5, 1.0]), st.integers(0, 2**32)
)
def test_products_are_exact(rows, inner, columns, extreme, seed):
    rng = np.random.default_rng(seed)
    left, right = draw(rng, (rows, inner), extreme), draw(rng, (inner, columns), extreme)
    exact = left.astype(object) @ right.astype(object) % PRIME if inner else np.zeros((rows, columns), dtype=object)
    assert (residues.product(left, right).astype(object) == exact).all()


@pytest.mark.parametrize("inner", [681, 682, 683, 1365])
def test_products_are_exact_where_the_sums_are_largest(inner):
    left = np.full((1, inner), PRIME - 1, dtype=np.uint64)
    worst = np.full((inner, 1), PRIME - 1, dtype=np.uint64)
    limbs = np.full((inner, 1), 2**60 - 1, dtype=np.uint64)
    assert int(residues.product(left, worst)[0, 0]) == inner
    assert int(residues.product(limbs.T, limbs)[0, 0]) == inner * (2**60 - 1) ** 2 % PRIME


@given(st.integers(0, 7), st.integers(1, 7), st.integers(0, 7), st.integers(0, 2**32))
def test_kernels_are_complete(rows, columns, inner, seed):
    rng = np.random.default_rng(seed)
    matrix = residues.product(draw(rng, (rows, inner), 0.1), draw(rng, (inner, columns), 0.1))
    kernel = residues.kernel(matrix)
    assert not residues.product(matrix, kernel).any()
    rank = residues.rank(matrix)
    assert kernel.shape == (columns, columns - rank) and residues.rank(kernel) == columns - rank
    assert rank <= min(rows, columns, inner)
