"""Fitted exponents and empirical tails."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.errors import TheoremError
from provable.theorems.rates import fit_exponent, tail_frequency

SIZES = (10, 20, 40, 80, 160)


@given(st.floats(-2, 2), st.integers(0, 2**32 - 1))
@settings(max_examples=20)
def test_a_noiseless_power_law_is_fitted_exactly(exponent, seed):
    fitted = fit_exponent(lambda size, rng: 3.0 * size**exponent, SIZES, 5, np.random.default_rng(seed))
    # A least-squares slope of five logarithms below 15 over abscissas that spread by 3: some tens of roundings.
    assert abs(fitted.estimate - exponent) < 1e-13
    assert fitted.upper - fitted.lower < 1e-12


def test_the_interval_covers_the_exponent_as_often_as_it_says():
    def measure(size, rng):
        return abs(rng.standard_normal(size).mean())

    covered = 0
    for seed in range(100):
        fitted = fit_exponent(measure, SIZES, 20, np.random.default_rng(seed))
        covered += fitted.contains(-0.5)
    # 99 % intervals: at least 94 hits out of 100 except with probability below 1e-3 (binomial).
    assert covered >= 94


def test_a_wrong_exponent_is_excluded():
    def measure(size, rng):
        return abs(rng.standard_normal(size).mean())

    fitted = fit_exponent(measure, SIZES, 200, np.random.default_rng(0))
    assert not fitted.contains(-1.0)
    assert not fitted.contains(-0.25)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_measurements_have_to_be_positive(value):
    with pytest.raises(TheoremError, match="a rate measured"):
        fit_exponent(lambda size, rng: value, SIZES, 2, np.random.default_rng(0))


@pytest.mark.parametrize("probability", [0.0, 0.01, 0.5, 1.0])
def test_tail_intervals_cover_the_probability(probability):
    covered = sum(
        tail_frequency(lambda rng: rng.random() < probability, 200, np.random.default_rng(seed)).contains(probability)
        for seed in range(50)
    )
    # 99 % intervals, conservative: at least 46 of 50 except with probability below 1e-3.
    assert covered >= 46
