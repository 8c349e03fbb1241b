"""Activations: derivatives against difference quotients of balls, floats against balls, conventions at kinks."""

from __future__ import annotations

import math
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures.layers import (
    ELU,
    GELU,
    Activation,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import EPSILON, Arithmetic
from provable.errors import ArithmeticUnsupported, InputError, UnsupportedError
from provable.networks.activations import derivative, value

TRANSCENDENTAL: list[Activation] = [Tanh(), Sigmoid(), Softplus(), Erf(), GELU(), SiLU(), ELU(1.5)]
PIECEWISE: list[Activation] = [ReLU(), LeakyReLU(0.2), Identity(), Polynomial((0.5, -1.0, 0.25, 2.0))]
EVERY = TRANSCENDENTAL + PIECEWISE
WIDE = Arithmetic("ball", bits=600)
STEP = flint.fmpq(1, 2**150)

names = [activation.type for activation in EVERY]
# away from kinks by more than STEP; |z| <= 25 keeps erfc and exp within the float64 range
arguments = st.floats(-25, 25).filter(lambda z: abs(z) > 1e-3)


def ball(z: float) -> Any:
    """One argument as an array of balls."""
    return WIDE.convert(np.array([z]))


def quotient(activation: Activation, z: float, order: int) -> Any:
    """Central difference of the derivative of lower order.

    The truncation error is at most STEP² / 6 times the third derivative of that: below 2**-300 times 2**40, which
    bounds every third derivative of these functions on [-25, 25].
    """
    upper, lower = ball(z) + STEP, ball(z) - STEP
    difference = derivative(activation, upper, order - 1) - derivative(activation, lower, order - 1)
    return difference / (2 * STEP) + flint.arb(0, 2.0**-260)


@pytest.mark.parametrize("activation", EVERY, ids=names)
@given(z=arguments, order=st.sampled_from([1, 2, 3, 4]))
def test_derivatives_are_limits_of_difference_quotients(activation: Activation, z: float, order: int) -> None:
    with WIDE.working():
        difference = derivative(activation, ball(z), order)[0] - quotient(activation, z, order)[0]
        assert difference.contains(0)
        assert difference.rad() < 2.0**-200  # otherwise containing zero says nothing


def logistic_terms(z: float, order: int) -> float:
    """The terms of a derivative of the logistic function, where they can cancel."""
    decay = math.exp(-abs(z))
    slope = decay / (1 + decay) ** 2
    return (1 / (1 + math.exp(-z)), slope, slope, (1 + 6 * slope) * slope, (1 + 12 * slope) * slope)[order]


def terms(activation: Activation, z: float, order: int) -> float:
    """Sum of the absolute values of the terms that the formula adds up, where they can cancel."""
    density = math.exp(-z * z / 2) / math.sqrt(2 * math.pi)
    match activation:
        case _ if order == 0:
            return 0.0
        case GELU():
            below = math.erfc(-z / math.sqrt(2)) / 2
            bends = (2 + z * z, abs(4 * z) + abs(z) ** 3, 4 + 7 * z**2 + z**4)
            return below + abs(z) * density if order == 1 else bends[order - 2] * density
        case Erf():
            factors = (1.0, 2 * abs(z), 2 + 4 * z * z, 12 * abs(z) + 8 * abs(z) ** 3)
            return 2 * factors[order - 1] * math.exp(-z * z) / math.sqrt(math.pi)
        case Tanh():
            return 2.0 ** (order + 1) * logistic_terms(2 * z, order)
        case Sigmoid():
            return logistic_terms(z, order)
        case Softplus():
            return logistic_terms(z, order - 1)
        case SiLU():
            return abs(z) * logistic_terms(z, order) + order * logistic_terms(z, order - 1)
        case Polynomial():
            numbers = enumerate(activation.coefficients)
            return sum(math.perm(k, order) * abs(c * z ** (k - order)) for k, c in numbers if k >= order)
    return 0.0


@pytest.mark.parametrize("activation", EVERY, ids=names)
@given(z=arguments, order=st.sampled_from([0, 1, 2, 3, 4]))
def test_floats_agree_with_balls_to_the_conditioning(activation: Activation, z: float, order: int) -> None:
    computed = derivative(activation, np.array([z]), order)[0]
    with WIDE.working():
        exact = derivative(activation, ball(z), order)[0]
        slope = quotient(activation, z, order + 1)[0]
        error = float(abs(flint.arb(float(computed)) - exact))
        # relative accuracy wherever the function is well conditioned, tails included
        condition = abs(float(exact)) + abs(z * float(slope)) + terms(activation, z, order)
    assert error <= 30 * EPSILON * condition + 2.0**-1060  # the last term for results that underflow


@pytest.mark.parametrize("activation", PIECEWISE, ids=[activation.type for activation in PIECEWISE])
@given(z=st.floats(-1e6, 1e6), order=st.sampled_from([0, 1, 2, 3]))
def test_piecewise_polynomials_are_exact_in_rationals(activation: Activation, z: float, order: int) -> None:
    exact = derivative(activation, arithmetic.RATIONAL.convert(np.array([z])), order)
    x = Fraction(z)
    if isinstance(activation, Polynomial):
        expected = sum(
            (
                math.perm(k, order) * Fraction(c) * x ** (k - order)
                for k, c in enumerate(activation.coefficients)
                if k >= order
            ),
            Fraction(0),
        )
    else:
        slope = {ReLU: Fraction(0), Identity: Fraction(1)}.get(type(activation), Fraction(0.2))
        pieces = [x if x > 0 else slope * x, Fraction(1) if x > 0 else slope, Fraction(0), Fraction(0)]
        expected = pieces[order]
    assert exact[0] == flint.fmpq(expected.numerator, expected.denominator)


def test_kinks_take_the_left_derivative_in_every_arithmetic() -> None:
    zero = np.array([0.0, -0.0])
    for system in (arithmetic.FLOAT64, arithmetic.RATIONAL, arithmetic.BALL):
        point = system.convert(zero)
        for activation, slope in ((ReLU(), 0.0), (LeakyReLU(0.25), 0.25)):
            assert (arithmetic.to_float(derivative(activation, point)) == slope).all()
            assert (arithmetic.to_float(value(activation, point)) == 0).all()
    assert (derivative(ELU(1.5), zero) == 1.5).all() and (value(ELU(1.5), zero) == 0).all()
    assert (arithmetic.to_float(derivative(ELU(1.5), arithmetic.BALL.convert(zero))) == 1.5).all()


@given(
    st.integers(-50_000, 50_000),
    st.integers(0, 1000),
    st.integers(-16, 16),
    st.sampled_from(EVERY),
    st.sampled_from([0, 1, 2, 3, 4]),
)
def test_enclosures_contain_what_they_enclose(
    middle: int, radius: int, place: int, activation: Activation, order: int
) -> None:
    # dyadic numbers, so that ball and point are exact
    wide = np.array([flint.arb(middle / 1024, radius / 1024)], dtype=object)
    inner = flint.arb(middle / 1024 + place * radius / 2**14)
    assert wide[0].contains(inner)
    try:
        with arithmetic.Arithmetic("ball", bits=64).working():
            outer = derivative(activation, wide, order)[0]
    except ArithmeticUnsupported:  # the derivative at a ball that straddles the kink
        assert abs(middle) <= radius and isinstance(activation, ReLU | LeakyReLU | ELU)
        return
    with WIDE.working():
        precise = derivative(activation, np.array([inner], dtype=object), order)[0]
    assert precise.rad() < 2.0**-400 and outer.overlaps(precise)


@pytest.mark.parametrize(
    "activation", [Sigmoid(), Tanh(), Softplus(), SiLU(), Erf(), GELU()], ids=lambda activation: activation.type
)
def test_very_wide_balls_have_finite_enclosures(activation: Activation) -> None:
    wide = np.array([flint.arb(1, 50)], dtype=object)
    for order in range(5):
        enclosure = derivative(activation, wide, order)[0]
        assert enclosure.rad() < 51.0 ** max(order, 2)  # the largest |z|, to the degree of the polynomial times a bell
        for point in np.linspace(-49, 51, 21):
            assert enclosure.contains(flint.arb(float(derivative(activation, np.array([point]), order)[0])).mid())


def test_relu_of_a_straddling_ball_is_enclosed() -> None:
    result = value(ReLU(), np.array([flint.arb(0, 1)], dtype=object))[0]
    assert result.contains(0) and result.contains(1)
    with pytest.raises(ArithmeticUnsupported, match="straddles zero"):
        derivative(ReLU(), np.array([flint.arb(0, 1)], dtype=object))


def test_extreme_arguments_stay_finite() -> None:
    far = np.array([-1e308, -750.0, 750.0, 1e308])
    for activation in TRANSCENDENTAL:
        for order in range(5):
            with np.errstate(over="raise", invalid="raise", under="ignore"):
                result = derivative(activation, far, order)
            assert np.isfinite(result).all(), (activation, order)
    assert value(Softplus(), far[3:])[0] == 1e308 and value(SiLU(), far[2:3])[0] == 750.0


@pytest.mark.parametrize("activation", TRANSCENDENTAL, ids=[activation.type for activation in TRANSCENDENTAL])
def test_transcendental_functions_refuse_rationals_and_residues(activation: Activation) -> None:
    for system in (arithmetic.RATIONAL, arithmetic.MODULAR):
        for order in (0, 1, 2):
            with pytest.raises(ArithmeticUnsupported):
                derivative(activation, system.convert(np.array([-1.0])), order)


def test_residues_have_no_sign_but_polynomials() -> None:
    residues = arithmetic.MODULAR.convert(np.array([1.0, -3.0]))
    for activation in (ReLU(), LeakyReLU()):
        with pytest.raises(ArithmeticUnsupported, match="no order"):
            value(activation, residues)
    cube = value(Polynomial((0.0, 0.0, 0.0, 1.0)), residues)
    assert [int(entry) for entry in cube] == [1, arithmetic.DEFAULT_PRIME - 27]


@pytest.mark.parametrize("shape", [(), (0,), (0, 3), (1,), (2, 3)])
@pytest.mark.parametrize("activation", EVERY, ids=names)
def test_shapes_are_kept(activation: Activation, shape: tuple[int, ...]) -> None:
    z = np.full(shape, 0.5)
    for order in (0, 1, 2):
        assert derivative(activation, z, order).shape == shape
        assert derivative(activation, arithmetic.BALL.convert(z), order).shape == shape


def test_orders_and_unknown_functions_are_refused_by_name() -> None:
    with pytest.raises(InputError, match="order: found 5 for tanh; 0 to 4 are accepted"):
        derivative(Tanh(), np.zeros(1), 5)
    with pytest.raises(InputError, match="order: found -1 for relu"):
        derivative(ReLU(), np.zeros(1), -1)

    class Sine(Activation):
        type = "sine"

    for function in (value, derivative):
        with pytest.raises(UnsupportedError, match=r"^sine: "):
            function(Sine(), np.zeros(1))
