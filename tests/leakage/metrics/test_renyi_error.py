"""The error that Rényi privacy of order 2 guarantees: against mechanisms that are known exactly, and its hypotheses."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import InputError
from provable.leakage.metrics import renyi_mean_square_error

shares = st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=100)


@given(ends=st.tuples(shares, shares).filter(lambda pair: pair[0] != pair[1]), place=st.fractions(0, 1))
def test_no_unbiased_estimator_of_a_coin_beats_it(ends, place):
    # the mechanism says 1 with probability p(x) = a + b x, x in [0, 1]; the only unbiased estimator is (answer - a) / b.
    # Exactly: e^ε - 1 = χ² = b² (x - x')² / (p (1 - p)), at its largest over x, x' among 0, 1 and the place
    low, high = ends
    slope = high - low

    def variance(x):
        chance = low + slope * x
        return chance * (1 - chance) / slope**2

    points = (Fraction(0), Fraction(1), place)
    divergence = max((x - y) ** 2 / variance(x) for x in points for y in points)
    for x in points:
        assert variance(x) >= 1 / (4 * divergence)
    floats = renyi_mean_square_error(math.log1p(divergence), [1.0])
    # ε is rounded, relative to 1 + χ²; expm1 magnifies that by (1 + χ²) / χ²
    assert floats == pytest.approx(float(1 / (4 * divergence)), rel=1e-14 * (1 + float(1 / divergence)))


@given(noise=st.floats(0.05, 50), sides=st.lists(st.floats(0, 10), min_size=1, max_size=4))
def test_the_gaussian_mechanism_keeps_it(noise, sides):
    # x + N(0, σ² I) is its own best unbiased estimator; its divergence of order 2 over the box is |diagonal|² / σ²
    epsilon = float(np.square(sides).sum()) / noise**2
    assert renyi_mean_square_error(epsilon, sides) <= noise**2 / 4 * (1 + 1e-12) or epsilon == 0


def test_biased_estimators_are_free_to_beat_it():
    # always answering the centre errs by at most half a side, whatever the mechanism
    assert renyi_mean_square_error(0.1, [1.0]) > 0.25


@given(epsilon=st.floats(0, 1000), more=st.floats(0, 10), side=st.floats(0, 1e3))
def test_it_falls_with_epsilon_and_scales_with_the_box(epsilon, more, side):
    assert renyi_mean_square_error(epsilon + more, [side]) <= renyi_mean_square_error(epsilon, [side])
    one, two = renyi_mean_square_error(1.0, [side]), renyi_mean_square_error(1.0, [2 * side])
    assert two == pytest.approx(4 * one, rel=1e-15)


def test_limits_and_refusals():
    assert renyi_mean_square_error(0.0, [1.0]) == math.inf and renyi_mean_square_error(0.0, [0.0]) == 0.0
    assert renyi_mean_square_error(math.inf, [1.0]) == 0.0
    for epsilon in (-1.0, math.nan):
        with pytest.raises(InputError, match="epsilon: found"):
            renyi_mean_square_error(epsilon, [1.0])
    for sides in ([], [-1.0], [math.inf], [[1.0]]):
        with pytest.raises(InputError, match="sides: found"):
            renyi_mean_square_error(1.0, sides)
