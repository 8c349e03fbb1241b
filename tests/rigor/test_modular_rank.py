"""Exact ranks modulo a prime, and the witness that anybody can draw again."""

from __future__ import annotations

import hashlib

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import InputError
from provable.rigor.modular_rank import PRIME, rank_mod, witness_integers

SEEDS = st.integers(0, 2**32 - 1)


@given(SEEDS, st.integers(0, 8), st.integers(1, 8), st.integers(1, 8))
def test_rank_of_a_product_through_a_narrow_waist(seed: int, waist: int, rows: int, columns: int) -> None:
    rng = np.random.default_rng(seed)
    left, right = rng.integers(-9, 10, (rows, waist)), rng.integers(-9, 10, (waist, columns))
    product = left @ right
    exact = flint.fmpz_mat(rows, columns, product.ravel().tolist()).rank()
    # minors of such small integers are far below the prime, so the rank modulo it is the rank
    assert rank_mod(product) == exact <= waist


@given(SEEDS, st.sampled_from([2, 3, 5, 7]))
def test_rank_modulo_a_small_prime_never_exceeds_the_rational_rank(seed: int, prime: int) -> None:
    matrix = np.random.default_rng(seed).integers(-9, 10, (5, 4))
    rank = rank_mod(matrix, prime)
    assert rank <= flint.fmpz_mat(5, 4, matrix.ravel().tolist()).rank()
    assert rank == rank_mod(flint.nmod_mat(5, 4, matrix.ravel().tolist(), prime), prime)


def test_rank_drops_modulo_a_prime_that_divides_the_determinant() -> None:
    assert rank_mod([[1, 1], [1, 8]], 7) == 1
    assert rank_mod([[1, 1], [1, 8]]) == 2


def test_empty_matrices_have_rank_zero() -> None:
    assert rank_mod([]) == 0
    assert rank_mod(np.zeros((0, 3))) == 0
    assert rank_mod(np.zeros((3, 0))) == 0


@pytest.mark.parametrize("modulus", [1, 0, -7, 4, 2**61, 2**89 - 1])
def test_a_modulus_that_is_no_prime_below_two_to_the_64_is_refused(modulus: int) -> None:
    with pytest.raises(InputError):
        rank_mod([[1]], modulus)


def test_a_matrix_over_another_field_is_refused() -> None:
    with pytest.raises(InputError):
        rank_mod(flint.nmod_mat(1, 1, [1], 7), 11)


@given(st.integers(0, 2**70), st.sampled_from(["weight", "sensitivity"]), st.integers(0, 20))
def test_witness_integers_are_the_documented_hashes(seed: int, stream: str, count: int) -> None:
    expected = [
        int(hashlib.sha256(f"provable-witness/1|{seed}|{stream}|{index}".encode()).hexdigest(), 16) % (2**61 - 1)
        for index in range(count)
    ]
    assert witness_integers(seed, stream, count) == expected


def test_the_witness_scheme_never_changes() -> None:
    # released certificates rest on these numbers: sha256 of "provable-witness/1|0|weight|0" and "...|1", modulo 2**61 - 1
    first = 348047280838331777
    second = 1477325645192948222
    assert witness_integers(0, "weight", 2) == [first, second]


@given(SEEDS)
def test_streams_seeds_and_prefixes(seed: int) -> None:
    long, short = witness_integers(seed, "weight", 8), witness_integers(seed, "weight", 5)
    assert long[:5] == short
    assert long != witness_integers(seed, "sensitivity", 8)
    assert long != witness_integers(seed + 1, "weight", 8)
    assert all(0 <= number < PRIME for number in long)


def test_negative_seeds_and_counts_are_refused() -> None:
    with pytest.raises(InputError):
        witness_integers(-1, "weight", 1)
    with pytest.raises(InputError):
        witness_integers(0, "weight", -1)
