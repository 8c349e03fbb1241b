"""Jennrich's algorithm for symmetric tensors against the vectors that made them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.tensors import symmetric_jennrich
from provable.theorems.strategies import conditioned_matrices, seeds


def tensor_of(weights, directions, order):
    axes = "abcd"[:order]
    return np.einsum(f"r,{','.join(axis + 'r' for axis in axes)}->{axes}", weights, *[directions] * order)


def terms_of(decomposition):
    weights, factors = decomposition
    axes = "abcd"[: len(factors)]
    return np.einsum(f"r,{','.join(axis + 'r' for axis in axes)}->r{axes}", weights, *factors)


def distance(found, expected):
    """Largest distance of a true term from the nearest one found."""
    return max(min(np.abs(one - term).max() for one in found) for term in expected)


@st.composite
def symmetric_terms(draw):
    rank, order = draw(st.integers(1, 4)), draw(st.sampled_from([3, 4]))
    directions = draw(conditioned_matrices(rank + draw(st.integers(0, 2)), rank, max_log10_condition=1.5))
    weights = np.random.default_rng(draw(seeds())).choice([-2.0, -1.0, 1.0, 3.0], rank)
    return weights, directions, order


@given(symmetric_terms(), seeds())
def test_recovers_the_terms(case, seed):
    weights, directions, order = case
    tensor = tensor_of(weights, directions, order)
    found = symmetric_jennrich(tensor, len(weights), rng=seed)
    terms = np.stack([tensor_of([w], u[:, None], order) for w, u in zip(weights, directions.T, strict=True)])
    # the best of 20 pencils: U twice and T(b)^-1 once, so the fourth power of the condition of U, and a gap of 1/100
    unit = 10 * len(weights) * EPSILON * np.linalg.cond(directions) ** 4 * 100 * np.abs(terms).max()
    assert distance(terms_of(found), terms) <= 30 * unit
    numbers, factors = found
    assert len(factors) == order and all(np.array_equal(factors[0], factor) for factor in factors)
    assert np.abs(np.linalg.norm(factors[0], axis=0) - 1).max() <= 30 * EPSILON
    assert np.all(np.diff(np.abs(numbers)) <= 0)
    assert np.all(numbers >= 0) if order == 3 else sorted(np.sign(numbers)) == sorted(np.sign(weights))


@given(symmetric_terms(), seeds())
def test_is_repeatable_and_equivariant(case, seed):
    weights, directions, order = case
    tensor, rank = tensor_of(weights, directions, order), len(weights)
    found, again = symmetric_jennrich(tensor, rank, rng=seed), symmetric_jennrich(tensor, rank, rng=seed)
    assert np.array_equal(found.weights, again.weights) and np.array_equal(found.factors[0], again.factors[0])
    # a power of two changes no rounding
    assert np.array_equal(4.0 * found.weights, symmetric_jennrich(4.0 * tensor, rank, rng=seed).weights)


@pytest.mark.parametrize("order", [3, 4])
@pytest.mark.parametrize("cosine", [0.0, 0.6, 0.9, 0.95])
def test_equicorrelated_vectors(order, cosine):
    frame = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 6)))[0]
    directions = np.sqrt(cosine) * frame[:, :1] + np.sqrt(1 - cosine) * frame[:, 1:]
    terms = np.stack([tensor_of([1.0], u[:, None], order) for u in directions.T])
    found = terms_of(symmetric_jennrich(terms.sum(axis=0), 5, rng=0))
    # as above; the fourth power of the condition is 1e4 at 0.95
    assert distance(found, terms) <= 30 * 50 * EPSILON * np.linalg.cond(directions) ** 4 * 100


def test_refuses_bad_input():
    cube = tensor_of([1.0, 1.0], np.eye(2), 3)
    for tensor in (
        np.ones((2, 2)),
        np.ones((2, 2, 3)),
        np.ones((2,) * 5),
        np.zeros((0, 0, 0)),
        np.full((1, 1, 1), "a"),
    ):
        with pytest.raises(InputError, match="tensor: found shape"):
            symmetric_jennrich(tensor, 1)
    with pytest.raises(InputError, match="not finite"):
        symmetric_jennrich(np.full((2, 2, 2), np.inf), 1)
    skew = cube.copy()
    skew[0, 0, 1] += 1e-3
    with pytest.raises(InputError, match=r"asymmetry of 1\.0e-03 between axes 0 and 1|between axes 1 and 2"):
        symmetric_jennrich(skew, 1)
    for rank in (0, 3, True, 1.0):
        with pytest.raises(InputError, match="an integer from 1 to 2 is accepted"):
            symmetric_jennrich(cube, rank)
    with pytest.raises(UnsupportedError, match="singular at rank 2"):
        symmetric_jennrich(np.zeros((2, 2, 2)), 2)
