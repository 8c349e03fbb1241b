"""Jennrich's algorithm against the factors that made the tensor."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.tensors import jennrich
from provable.theorems.strategies import conditioned_matrices, seeds


def tensor_of(factors):
    return np.einsum("ir,jr,kr->ijk", *factors)


def terms_of(decomposition):
    weights, factors = decomposition
    return np.einsum("r,ir,jr,kr->rijk", weights, *factors)


def distance(found, expected):
    """Largest difference of terms, minimised over their order."""
    return min(np.abs(found[list(order)] - expected).max() for order in itertools.permutations(range(len(expected))))


@st.composite
def decomposable(draw):
    rank, depth = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    assume(depth >= 2 or rank == 1)
    left = draw(conditioned_matrices(rank + draw(st.integers(0, 2)), rank, max_log10_condition=2.0))
    right = draw(conditioned_matrices(rank + draw(st.integers(0, 2)), rank, max_log10_condition=2.0))
    third = np.random.default_rng(draw(seeds())).standard_normal((depth, rank))
    return [left, right, third]


def pencil_condition(factors, pencil):
    """Amplification of rounding errors by the pencil: the eigenvectors of U Λ U⁻¹ with the gaps of Λ."""
    left, right, third = factors
    first, second = pencil @ third
    shifted = np.linalg.svd(left * second @ right.T, compute_uv=False)[: left.shape[1]]
    values = first / second
    gaps = np.abs(values[:, None] - values) + np.where(np.eye(len(values)), np.inf, 0.0)
    gap = min(gaps.min(), np.abs(values).max())
    matrix = np.linalg.norm(left * first @ right.T, 2) / shifted[-1] * shifted[0] / shifted[-1]
    return np.linalg.cond(left) ** 2 * matrix / gap


@given(decomposable(), seeds())
def test_recovers_the_terms(factors, seed):
    pencil = np.random.default_rng(seed).standard_normal((2, len(factors[2])))
    tensor, terms = tensor_of(factors), np.einsum("ir,jr,kr->rijk", *factors)
    found = terms_of(jennrich(tensor, len(terms), contractions=pencil))
    # singular vectors, a solve and an eigendecomposition of r×r matrices: k = 10 r operations in a row
    unit = 10 * len(terms) * EPSILON * pencil_condition(factors, pencil) * np.abs(terms).max()
    assert distance(found, terms) <= 30 * unit


@given(decomposable(), seeds())
def test_default_pencils_explain_the_tensor_and_are_repeatable(factors, seed):
    tensor, rank = tensor_of(factors), factors[0].shape[1]
    found = jennrich(tensor, rank, rng=seed)
    generator = np.random.default_rng(seed)
    best = min(pencil_condition(factors, pencil) for pencil in generator.standard_normal((8, 2, len(factors[2]))))
    residual = np.linalg.norm(terms_of(found).sum(axis=0) - tensor)
    assert residual <= 30 * 10 * rank * EPSILON * best * np.linalg.norm(tensor)
    weights, [left, right, third] = found
    again = jennrich(tensor, rank, rng=seed)
    assert np.array_equal(weights, again.weights)
    assert all(np.array_equal(one, other) for one, other in zip([left, right, third], again.factors, strict=True))
    assert np.all(np.diff(weights) <= 0)
    for factor in (left, right, third):  # a norm and a division: two roundings per entry
        assert np.abs(np.linalg.norm(factor, axis=0) - 1).max() <= 30 * EPSILON


@given(decomposable(), seeds())
def test_scaling_the_tensor_scales_the_weights(factors, seed):
    tensor, rank = tensor_of(factors), factors[0].shape[1]
    small, large = jennrich(tensor, rank, rng=seed), jennrich(4.0 * tensor, rank, rng=seed)
    # a power of two changes no rounding
    assert np.array_equal(4.0 * small.weights, large.weights)


def test_a_single_term():
    terms = terms_of(jennrich(np.full((1, 1, 1), -3.0), 1))
    assert terms.shape == (1, 1, 1, 1)
    assert abs(terms[0, 0, 0, 0] + 3.0) <= 30 * EPSILON * 3.0


def test_noise_moves_the_terms_a_little():
    generator = np.random.default_rng(0)
    factors = [np.eye(4, 3), np.eye(3), generator.standard_normal((3, 3))]
    pencil = generator.standard_normal((2, 3))
    noise = generator.standard_normal((4, 3, 3))
    noise /= np.linalg.norm(noise)
    terms, bound = np.einsum("ir,jr,kr->rijk", *factors), pencil_condition(factors, pencil)
    for size in (1e-9, 1e-6):
        found = terms_of(jennrich(tensor_of(factors) + size * noise, 3, contractions=pencil))
        assert 0 < distance(found, terms) <= 10 * bound * size


def test_a_conjugate_pair_still_gives_real_factors():
    rotation = np.stack([np.array([[0.0, -1.0], [1.0, 0.0]]), np.eye(2)], axis=2)
    weights, factors = jennrich(rotation, 2, rng=0)
    assert all(np.isrealobj(factor) and np.all(np.isfinite(factor)) for factor in [weights, *factors])


def test_refuses_bad_input():
    tensor = np.ones((2, 3, 2))
    with pytest.raises(InputError, match="tensor: found shape"):
        jennrich(np.ones((2, 2)), 1)
    with pytest.raises(InputError, match="not finite"):
        jennrich(np.full((2, 2, 2), np.nan), 1)
    for rank in (0, 3, True, 1.0):
        with pytest.raises(InputError, match="an integer from 1 to 2 is accepted"):
            jennrich(tensor, rank)
    with pytest.raises(InputError, match="contractions: found shape"):
        jennrich(tensor, 1, contractions=np.ones((2, 3)))
    with pytest.raises(UnsupportedError, match="singular at rank 2"):
        jennrich(np.zeros((2, 2, 2)), 2)
