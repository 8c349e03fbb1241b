"""Arithmetic modulo a prime of 22 bits in float64 against Python's integers and FLINT."""

from __future__ import annotations

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.leakage.open_dimensions.balanced_residues import (
    MOST_PRODUCTS,
    PRIME,
    Draws,
    product,
    rank,
    reduce_in_place,
    residue,
)

BOUND = PRIME // 2 + 4
"""Residues after a reduction are at most this: half the prime and what an inexact quotient adds."""


def flint_rank(matrix):
    entries = [int(entry) % PRIME for entry in matrix.ravel()]
    return flint.nmod_mat(*matrix.shape, entries, PRIME).rank()


def test_the_modulus_is_the_largest_prime_below_its_power_of_two():
    assert flint.fmpz(PRIME).is_prime()
    assert not any(flint.fmpz(number).is_prime() for number in range(PRIME + 1, 2**22))
    assert MOST_PRODUCTS * BOUND**2 < 2**53 - 2**46


@given(st.lists(st.integers(-(2**53) + 2**46, 2**53 - 2**46), min_size=1, max_size=30), st.integers(-3, 3))
def test_reduction_is_exact(numbers, shift):
    near_halves = [number // PRIME * PRIME + PRIME // 2 + shift for number in numbers]
    numbers = [number for number in numbers + near_halves if abs(number) <= 2**53 - 2**46]
    if not numbers:
        return
    reduced = reduce_in_place(np.array(numbers, dtype=np.float64))
    assert [int(entry) % PRIME for entry in reduced] == [number % PRIME for number in numbers]
    assert (np.abs(reduced) <= BOUND).all()


def test_large_and_strided_arrays_are_reduced_alike():
    rng = np.random.default_rng(0)
    numbers = rng.integers(-(2**52), 2**52, (3, 2**15 + 5)).astype(np.float64)
    expected = (numbers.astype(np.int64) % PRIME).tolist()
    for copy in (numbers.copy(), numbers.T.copy().T):
        assert (reduce_in_place(copy).astype(np.int64) % PRIME).tolist() == expected


@pytest.mark.parametrize("inner", [1, MOST_PRODUCTS - 1, MOST_PRODUCTS, MOST_PRODUCTS + 1, 2 * MOST_PRODUCTS + 1])
@pytest.mark.parametrize("extreme", [True, False])
def test_products_are_exact_however_long(inner, extreme):
    rng = np.random.default_rng(inner)
    shapes = ((3, inner), (inner, 2))
    if extreme:
        left, right = (np.where(rng.random(shape) < 0.01, -BOUND, BOUND).astype(float) for shape in shapes)
    else:
        left, right = (rng.integers(-BOUND, BOUND + 1, shape).astype(float) for shape in shapes)
    found = product(left, right)
    expected = left.astype(int).astype(object) @ right.astype(int).astype(object)
    assert ((found.astype(int) - expected) % PRIME == 0).all()
    assert (np.abs(found) <= BOUND).all()


@given(st.integers(-(10**9), 10**9), st.integers(1, PRIME - 1))
def test_fractions_become_residues(numerator, denominator):
    assert (int(residue(numerator, denominator)) * denominator - numerator) % PRIME == 0
    assert abs(residue(numerator, denominator)) <= PRIME // 2


@given(st.integers(0, 40), st.integers(0, 40), st.integers(0, 40), st.integers(0, 2**32), st.integers(0, 3))
def test_ranks_equal_those_of_flint(rows, columns, inner, seed, zeros):
    """Low ranks, and columns and rows of zeros."""
    draws = Draws(seed)
    matrix = product(draws.residues(rows, inner), draws.residues(inner, columns))
    rng = np.random.default_rng(seed)
    matrix[rng.random(rows) < zeros / 4] = 0
    matrix[:, rng.random(columns) < zeros / 4] = 0
    expected = flint_rank(matrix) if matrix.size else 0
    assert rank(matrix.copy()) == expected
    found = rank(matrix.copy(), target=expected // 2)
    assert expected // 2 <= found <= expected


@pytest.mark.parametrize(("shape", "inner"), [((300, 290), 270), ((600, 500), 257), ((40, 700), 40)])
def test_ranks_over_several_blocks(shape, inner):
    draws = Draws(3)
    matrix = product(draws.residues(shape[0], inner), draws.residues(inner, shape[1]))
    assert rank(matrix.copy()) == flint_rank(matrix) == inner
    doubled = np.concatenate([matrix, matrix[::-1]])
    assert rank(doubled) == inner


def test_draws_are_reproducible_and_spread():
    numbers = Draws(5).residues(2, 5000)
    assert (numbers == Draws(5).residues(2, 5000)).all() and (numbers != Draws(6).residues(2, 5000)).any()
    assert numbers.shape == (2, 5000) and (np.abs(numbers) <= PRIME // 2).all()
    # the mean of 10⁴ uniform numbers has a deviation of PRIME / √(12 · 10⁴), and 5 of them are never seen
    assert abs(numbers.mean()) < 5 * PRIME / np.sqrt(12e4)
