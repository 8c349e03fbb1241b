"""Conversions, text forms and norm bounds of balls: what goes in must stay inside."""

from __future__ import annotations

import math
from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.rigor import balls

FINITE = st.floats(allow_nan=False, allow_infinity=False)
RATIONAL = st.fractions() | st.builds(
    lambda m, e: Fraction(m) * Fraction(2) ** e, st.integers(), st.integers(-1100, 1100)
)
BITS = st.integers(30, 300)
SEEDS = st.integers(0, 2**32 - 1)


def inside(ball: flint.arb, number: Fraction) -> bool:
    return balls.lower_fraction(ball) <= number <= balls.upper_fraction(ball)


@given(FINITE, BITS)
def test_floats_become_balls_exactly(value: float, bits: int) -> None:
    with flint.ctx.workprec(bits):
        number = balls.ball(value)
        assert number.is_exact()
        assert balls.exact_value(number) == Fraction(value)
        assert balls.ball_matrix(np.array([[value]]))[0, 0] == number


@given(RATIONAL, BITS)
def test_rationals_lie_in_their_balls_of_least_precision(value: Fraction, bits: int) -> None:
    with flint.ctx.workprec(bits):
        number = balls.ball(value)
        assert inside(number, value)
        assert balls.upper_fraction(number) - balls.lower_fraction(number) <= 4 * abs(value) / 2**bits


@given(RATIONAL)
def test_directed_rounding_to_float64_brackets_within_one_step(value: Fraction) -> None:
    low, high = balls.lower_float(value), balls.upper_float(value)
    assert low == -math.inf or Fraction(low) <= value
    assert high == math.inf or Fraction(high) >= value
    assert low == high or math.nextafter(low, math.inf) == high


@given(RATIONAL, st.integers(2, 80))
def test_short_roundings_are_directed_and_relatively_close(value: Fraction, bits: int) -> None:
    size = abs(value)
    low, high = balls.rounded_down(size, bits), balls.rounded_up(size, bits)
    assert low <= size <= high
    assert size - low <= size * Fraction(2) ** (1 - bits)
    assert high - size <= size * Fraction(2) ** (1 - bits)


def random_matrix(rng: np.random.Generator, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    scale = 10.0 ** rng.uniform(-8, 8)
    return scale * rng.standard_normal((rows, columns)), scale * 10.0 ** rng.uniform(-20, 0) * rng.random(
        (rows, columns)
    )


@given(SEEDS, st.sampled_from([1, 2, 3, 7]), st.sampled_from([1, 2, 5]), BITS)
def test_norm_bounds_hold_for_every_inner_matrix(seed: int, rows: int, columns: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    centre, radius = random_matrix(rng, rows, columns)
    with flint.ctx.workprec(bits):
        matrix = balls.ball_interval(centre, radius)
        bounds = [balls.spectral_upper(matrix), balls.one_infinity_upper(matrix)]
        frobenius = balls.frobenius_upper(matrix)
    with flint.ctx.workprec(bits + 100):
        for _ in range(5):
            signs = rng.choice([-1.0, 1.0, 0.0], size=centre.shape)
            inner = [
                Fraction(m) + Fraction(r) * Fraction(s)
                for m, r, s in zip(centre.flat, radius.flat, signs.flat, strict=True)
            ]
            assert sum(entry**2 for entry in inner) <= balls.exact_value(frobenius) ** 2
            # a norm is a supremum: no vector may be stretched by more than the bound
            vector = [Fraction(entry) for entry in rng.standard_normal(columns)]
            image = [sum(inner[i * columns + j] * vector[j] for j in range(columns)) for i in range(rows)]
            stretched = sum(entry**2 for entry in image)
            for bound in bounds:
                assert stretched <= balls.exact_value(bound) ** 2 * sum(entry**2 for entry in vector)


@given(SEEDS, st.integers(1, 12), st.integers(1, 12))
def test_the_spectral_bound_is_tight(seed: int, rows: int, columns: int) -> None:
    centre, _ = random_matrix(np.random.default_rng(seed), rows, columns)
    bound = float(balls.spectral_upper(balls.ball_matrix(centre)))
    norm = float(np.linalg.norm(centre, 2))
    # the documented overestimate is min(m, n)**(2**-7) in exact arithmetic; 53 working bits add rounding only
    assert norm * (1 - 2.0**-40) <= bound <= norm * min(rows, columns) ** (2.0**-7) * (1 + 2.0**-40)


def test_norms_of_empty_matrices_are_zero() -> None:
    assert balls.spectral_upper(flint.arb_mat(0, 3)) == 0
    assert balls.frobenius_upper(flint.arb_mat(0, 3)) == 0


def test_largest_does_not_lose_what_cannot_be_compared() -> None:
    one, infinite = flint.arb(1), flint.arb("inf").abs_upper()
    assert balls.largest([]) == 0
    assert balls.largest([one, flint.arb(3), one]) == 3
    for lost in (infinite, flint.arb("nan")):
        assert not balls.largest([one, lost, one]).is_finite()
        assert not balls.largest([lost, one]).is_finite()


def test_exponents_too_long_to_write_down_are_rounded_outwards() -> None:
    tiny, huge = flint.arb((3, -(10**12))), flint.arb((3, 10**12))
    assert 0 < balls.upper_fraction(tiny) < Fraction(5e-324)
    assert balls.lower_fraction(tiny) == 0 == balls.upper_fraction(-tiny)
    assert -Fraction(5e-324) < balls.lower_fraction(-tiny) < 0
    assert (balls.lower_float(tiny), balls.upper_float(tiny)) == (0.0, 5e-324)
    assert (balls.lower_float(huge), balls.upper_float(huge)) == (1.7976931348623157e308, math.inf)
    assert (balls.lower_float(-huge), balls.upper_float(-huge)) == (-math.inf, -1.7976931348623157e308)
    for end in (balls.upper_fraction, balls.lower_fraction, balls.exact_value):
        with pytest.raises(OverflowError):
            end(huge)
