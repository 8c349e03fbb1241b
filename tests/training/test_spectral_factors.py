"""The closed forms of training on one eigenvector, against their recurrences in 300-bit balls and in rationals."""

from __future__ import annotations

from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.training import spectral_factors

BITS = 300
RATES = (0.0, 1e-3, 0.5, 0.9, 0.99)


def recurrence(x, rate, steps, nesterov, number):
    """p_t and g_t step by step; g_{t+1} = τ g_t - δ g_{t-1} + 1 follows from p = 1 - x g."""
    x, rate, one = number(x), number(rate), number(1)
    trace, product = ((one - x) * (one + rate), (one - x) * rate) if nesterov else (one + rate - x, rate)
    p, q, g, h = one, one - x, 0 * one, one
    for _ in range(steps):
        p, q, g, h = q, trace * q - product * p, h, trace * h - product * g + one
    return p, g


def ball(value):
    return flint.arb(float(value))


def limit(rate, nesterov):
    return 2 * (1 + rate) / (1 + 2 * rate if nesterov else 1)


def assert_agrees(x, rate, steps, nesterov):
    before = flint.ctx.prec
    flint.ctx.prec = BITS
    try:
        p, g = (float(value.mid()) for value in recurrence(x, rate, steps, nesterov, ball))
    finally:
        flint.ctx.prec = before
    found = spectral_factors.momentum(np.array([x]), rate, steps, nesterov=nesterov)
    # κ: 1/(1 - ρ)² from the gap of the roots; next to the limit, a rounding of x times t
    condition = 1 / (1 - rate) ** 2 + (steps if x > 0.9 * limit(rate, nesterov) else 0)
    assert abs(found[0][0] - p) <= 30 * EPSILON * condition * max(1.0, 1 / (1 - rate))
    assert abs(found[1][0] - g) <= 30 * EPSILON * condition * max(abs(g), 1 / x if x > 1 else 0.0)


@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("rate", RATES)
def test_closed_forms_next_to_every_change_of_regime(rate, nesterov):
    double = ((1 - rate) / (1 + rate)) ** 2 if nesterov else (1 - np.sqrt(rate)) ** 2
    other = (1 + np.sqrt(rate)) ** 2
    switch, edge = (1 - rate) ** 2 / 8, limit(rate, nesterov)
    values = [1e-300, 1e-16, 1e-8, 1e-3, 0.5, 1.0, 1 - 1e-9, edge * (1 - 1e-9)]
    values += [place * factor for place in (double, switch, other) for factor in (1 - 1e-12, 1.0, 1 + 1e-12, 1 + 1e-6)]
    for x in values:
        if 0 < x < edge:
            for steps in (0, 1, 2, 3, 17, 400):
                assert_agrees(float(x), rate, steps, nesterov)


@given(st.floats(1e-12, 1 - 1e-9), st.sampled_from([*RATES, 0.25, 0.95]), st.integers(0, 200), st.booleans())
def test_closed_forms_anywhere_below_the_limit(share, rate, steps, nesterov):
    assert_agrees(share * limit(rate, nesterov), rate, steps, nesterov)


@given(st.floats(1e-300, 2 - 1e-9), st.integers(0, 60))
def test_gradient_descent_is_a_power(x, steps):
    p, g = (value[0] for value in spectral_factors.descent(np.array([x]), steps))
    exact = (1 - Fraction(x)) ** steps
    gain = (1 - exact) / Fraction(x)
    # k: a logarithm, a product of t, an exponential; κ <= t: a rounding of 1 - x, or of x next to 2
    assert abs(Fraction(p) - exact) <= 30 * EPSILON * max(steps, 1) * abs(exact) + Fraction(1, 10**300)
    # where 1 - p cancels (x near 2, t even), its error is absolute: that of p over x
    assert abs(Fraction(g) - gain) <= 30 * EPSILON * max(gain, 1 if x > 1 else 0)


@given(st.floats(1e-12, 30.0))
def test_gradient_flow_is_the_limit_of_many_small_steps(x):
    steps = 2**40
    p, g = (value[0] for value in spectral_factors.flow(np.array([x])))
    q, h = (value[0] for value in spectral_factors.descent(np.array([x / steps]), steps))
    # (1 - x/t)ᵗ = e^{-x}(1 - x²/(2t) + …), and a few roundings of x
    bound = x * x / steps + 30 * EPSILON * (1 + x)
    assert abs(p - q) <= bound * p
    assert abs(g * x - h * x / steps) <= bound * p + 30 * EPSILON * g * x


@given(st.floats(1e-6, 1.9), st.booleans())
def test_no_momentum_is_gradient_descent(x, nesterov):
    plain = spectral_factors.descent(np.array([x]), 9)
    momentum = spectral_factors.momentum(np.array([x]), 0.0, 9, nesterov=nesterov)
    for ours, theirs in zip(plain, momentum, strict=True):
        # κ: t for x near the limit 2
        assert abs(ours[0] - theirs[0]) <= 30 * 9 * EPSILON * max(abs(theirs[0]), 1.0)
