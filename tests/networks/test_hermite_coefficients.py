"""Hermite coefficients against rigorous adaptive integration, a published table, recursions and parity."""

from __future__ import annotations

import math
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import example, given, settings
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
from provable.networks.activations import derivative
from provable.networks.hermite_coefficients import hermite_coefficient, mean_derivative

LOGISTIC: list[Activation] = [Tanh(), Sigmoid(), Softplus(), SiLU()]
CLOSED: list[Activation] = [
    ReLU(),
    LeakyReLU(0.2),
    Erf(),
    GELU(),
    ELU(1.5),
    Identity(),
    Polynomial((0.5, -1.0, 0.25, 2.0)),
]
EVERY = LOGISTIC + CLOSED
WIDE = Arithmetic("ball", bits=120)

scales = st.floats(2.0**-7, 16.0)
biases = st.one_of(st.just(0.0), st.floats(-6.0, 6.0))
orders = st.integers(0, 7)


def balls(*numbers: float) -> Any:
    """Numbers as an array of balls."""
    return WIDE.convert(np.array(numbers))


def complex_value(activation: Activation, w: Any, analytic: bool, right: bool) -> Any:
    """σ at a complex ball; of a piecewise function the piece right or left of zero."""
    match activation:
        case ReLU() | LeakyReLU() | ELU():
            if right:
                return w
            slope = getattr(activation, "negative_slope", 0.0)
            return activation.alpha * (w.exp() - 1) if isinstance(activation, ELU) else w * slope
        case Tanh():
            return w.tanh()
        case Sigmoid():
            return 1 / (1 + (-w).exp())
        case Softplus():
            return (1 + w.exp()).log(analytic=analytic)
        case SiLU():
            return w / (1 + (-w).exp())
        case Erf():
            return w.erf()
        case GELU():
            return w * (-w / flint.arb(2).sqrt()).erfc() / 2
    coefficients = getattr(activation, "coefficients", (0.0, 1.0))
    return sum((c * w**k for k, c in enumerate(coefficients)), start=flint.acb(0))


def hermite(order: int, z: Any) -> Any:
    """He_k by its explicit sum."""
    factor = math.factorial
    terms = ((-1) ** j * (factor(order) // (factor(j) * factor(order - 2 * j) * 2**j)) for j in range(order // 2 + 1))
    return sum((number * z ** (order - 2 * j) for j, number in enumerate(terms)), start=flint.acb(0))


def integral(activation: Activation, order: int, scale: float, bias: float) -> Any:
    """∫ σ(sx + b) He_k(x) φ(x) dx by Arb's adaptive integration on [-16, 16]; the rest is below 1e-40, for φ(16) < 1e-56."""
    end, kink = flint.arb(16), flint.arb(-bias) / scale
    if not isinstance(activation, ReLU | LeakyReLU | ELU) or not -end < kink < end:
        kink = end if bias < 0 else -end

    def piece(low: Any, high: Any, right: bool) -> Any:
        def integrand(z: Any, analytic: bool) -> Any:
            value = complex_value(activation, scale * z + bias, analytic, right)
            return value * hermite(order, z) * (-z * z / 2).exp() / (2 * flint.arb.pi()).sqrt()

        return flint.acb.integral(integrand, low, high, rel_tol=2.0**-80, abs_tol=2.0**-80)

    return (piece(-end, kink, False) + piece(kink, end, True)).real + flint.arb(0, 1e-40)


@pytest.mark.parametrize("activation", EVERY, ids=[activation.type for activation in EVERY])
@settings(max_examples=10)
@given(order=orders, scale=scales, bias=biases)
@example(order=4, scale=1.0, bias=0.0)
def test_balls_agree_with_adaptive_integration(activation: Activation, order: int, scale: float, bias: float) -> None:
    with WIDE.working():
        enclosure = hermite_coefficient(activation, order, balls(scale), bias)[0]
        expected = integral(activation, order, scale, bias)
        assert expected.rad() < 1e-15 * (1 + abs(expected))  # otherwise agreeing says nothing
        assert enclosure.overlaps(expected)
        assert enclosure.rad() < 2.0**-60 * (1 + abs(enclosure))


def size(activation: Activation, order: int, scale: float, bias: float) -> float:
    """√(E σ^(j)(sZ + b)² (k - j)!) s^j, a bound on the mean of |s^j σ^(j)(sZ + b) He_{k-j}(Z)|, for the j of the formula."""
    moved = min(order, 4) if activation in LOGISTIC and scale <= 1 else 0
    nodes = np.linspace(-9, 9, 2001)
    weights = np.exp(-nodes * nodes / 2) * (nodes[1] - nodes[0]) / math.sqrt(2 * math.pi)
    square = float(weights @ derivative(activation, scale * nodes + bias, moved) ** 2)
    return math.sqrt(square * math.factorial(order - moved)) * scale**moved


@pytest.mark.parametrize("activation", EVERY, ids=[activation.type for activation in EVERY])
@given(order=orders, scale=scales, bias=biases)
def test_floats_agree_with_balls(activation: Activation, order: int, scale: float, bias: float) -> None:
    computed = float(hermite_coefficient(activation, order, scale, bias))
    with WIDE.working():
        exact, following, third = (hermite_coefficient(activation, order + k, balls(scale), bias)[0] for k in range(3))
        error = float(abs(exact - computed))
        # b ∂_b a_k = b a_{k+1} / s and s ∂_s a_k = k a_k + a_{k+2}
        relative = abs(float(bias * following / scale)) + abs(float(order * exact + third))
    # the sum over the nodes, the bell, He_k and the activation: chains of about ten roundings
    assert error <= 30 * 10 * EPSILON * (size(activation, order, scale, bias) + relative)


TABLE = {
    ReLU(): ".39894 .5 .39894 0 -.39894 0 1.19683",
    LeakyReLU(0.01): ".39495 .505 .39495 0 -.39495 0 1.18486",
    Tanh(): "0 .60571 0 -.36360 0 .68517 0",
    Sigmoid(): ".5 .20662 0 -.06240 0 .06438 0",
    Softplus(): ".80606 .5 .20662 0 -.06240 0 .06438",
    Erf(): "0 .65147 0 -.43431 0 .86863 0",
    GELU(): ".28209 .5 .42314 0 -.35262 0 .74050",
    SiLU(): ".20662 .5 .35085 0 -.18521 0 .26370",
    ELU(): ".16052 .76158 .26158 -.13736 -.13736 .26158 .26158",
    Polynomial((0.0, 0.0, 1.0)): "1 0 2 0 0 0 0",
    Polynomial((0.0, 0.0, 0.0, 1.0)): "0 3 0 6 0 0 0",
    Polynomial((0.0, 0.0, 1.0, 1.0)): "1 3 2 6 0 0 0",
}


@pytest.mark.parametrize("activation", TABLE, ids=str)
def test_the_table_at_unit_norm(activation: Activation) -> None:
    for order, printed in enumerate(TABLE[activation].split()):
        coefficient = float(hermite_coefficient(activation, order))
        # five printed decimals; zeros are exact
        assert coefficient == 0 if printed == "0" else abs(coefficient - float(printed)) <= 0.5001e-5


ZEROS: dict[type[Activation], tuple[int, ...]] = {
    **dict.fromkeys((Tanh, Erf), (0, 2, 4, 6)),
    Sigmoid: (2, 4, 6),
    **dict.fromkeys((ReLU, LeakyReLU, GELU, SiLU, Softplus), (3, 5, 7)),
    Identity: (0, 2, 3, 4, 5, 6, 7),
    Polynomial: (4, 5, 6, 7),
}


@pytest.mark.parametrize("activation", EVERY, ids=[activation.type for activation in EVERY])
@given(scale=scales)
def test_parity_zeros_hold_at_every_norm_and_are_exact(activation: Activation, scale: float) -> None:
    for order in range(8):
        coefficient = float(hermite_coefficient(activation, order, scale))
        if order in ZEROS.get(type(activation), ()):
            assert coefficient == 0
        elif not isinstance(activation, Polynomial | ELU):  # these cross zero at some norms
            assert coefficient != 0


@given(order=st.integers(0, 5), scale=scales, bias=biases)
def test_the_logistic_functions_are_one_family(order: int, scale: float, bias: float) -> None:
    with WIDE.working():
        s, b = balls(scale), balls(bias)
        sigmoid = hermite_coefficient(Sigmoid(), order, s, b)[0]
        tanh = hermite_coefficient(Tanh(), order, s / 2, b / 2)[0]
        # sigmoid(z) = (1 + tanh(z/2)) / 2, and softplus' = sigmoid
        assert (tanh + (order == 0)).overlaps(2 * sigmoid)
        assert hermite_coefficient(Softplus(), order + 1, s, b)[0].overlaps(s[0] * sigmoid)
        # z sigmoid(z): z = sZ + b and Z He_k = He_{k+1} + k He_{k-1}
        product = b[0] * sigmoid + s[0] * hermite_coefficient(Sigmoid(), order + 1, s, b)[0]
        if order:
            product += s[0] * order * hermite_coefficient(Sigmoid(), order - 1, s, b)[0]
        assert hermite_coefficient(SiLU(), order, s, b)[0].overlaps(product)


def test_closed_forms_at_another_norm() -> None:
    s = 1.7
    c, spread, bell = s / math.sqrt(1 + 2 * s * s), math.sqrt(1 + s * s), 1 / math.sqrt(2 * math.pi)
    expected = {
        (Erf(), 1): 2 * c / math.sqrt(math.pi),
        (Erf(), 5): 24 * c**5 / math.sqrt(math.pi),
        (ReLU(), 2): s * bell,
        (ReLU(), 6): 3 * s * bell,
        (GELU(), 0): s * s / spread * bell,
        (GELU(), 2): s * s * bell * (1 / spread + spread**-3),
        (GELU(), 4): -(s**4) * bell * (spread**-3 + 3 * spread**-5),
        (Polynomial((0.0, 0.0, 0.0, 1.0)), 1): 3 * s**3,
    }
    for (activation, order), number in expected.items():
        # a dozen roundings on either side
        assert abs(float(hermite_coefficient(activation, order, s)) - number) <= 30 * EPSILON * abs(number)


def test_polynomials_are_exact_in_rationals() -> None:
    scale, bias = arithmetic.RATIONAL.convert(np.array([0.5, 3.0])), arithmetic.RATIONAL.convert(np.array([[-0.25]]))
    cube = Polynomial((0.0, 0.0, 0.0, 1.0))
    found = hermite_coefficient(cube, 2, scale, bias)
    # s² E 6 (sZ + b) = 6 s² b
    assert found.shape == (1, 2) and [found[0, 0], found[0, 1]] == [flint.fmpq(-3, 8), flint.fmpq(-27, 2)]
    assert mean_derivative(cube, 2, scale, bias)[0, 1] == flint.fmpq(-3, 2)
    for activation in (ReLU(), Tanh(), Erf(), GELU(), ELU(), Softplus(), SiLU(), Sigmoid()):
        with pytest.raises(ArithmeticUnsupported, match="rational"):
            hermite_coefficient(activation, 2, scale)


def test_means_of_derivatives_include_the_kink() -> None:
    # the third derivative of ReLU(sZ + b) has the mean -(b/s²) p_s(b), from the derivative of a Dirac mass
    for scale, bias in ((1.0, 1.0), (2.0, -0.5)):
        density = math.exp(-((bias / scale) ** 2) / 2) / (scale * math.sqrt(2 * math.pi))
        mean = float(mean_derivative(ReLU(), 3, scale, bias))
        assert abs(mean + bias / scale**2 * density) <= 30 * EPSILON * density


def test_wide_balls_enclose() -> None:
    scale, bias = np.array([flint.arb(1.0, 0.125)]), np.array([flint.arb(0.5, 0.25)])
    for activation in EVERY:
        outer = hermite_coefficient(activation, 3, scale, bias)[0]
        for s in (0.875, 1.0, 1.125):
            for b in (0.25, 0.5, 0.75):
                with WIDE.working():
                    assert outer.overlaps(hermite_coefficient(activation, 3, balls(s), b)[0])


def test_extreme_norms_and_biases_stay_finite() -> None:
    for activation in EVERY:
        for scale, bias in ((1e-30, 1e20), (1e-30, -1.0), (1e-3, 700.0), (1e3, -1e6), (30.0, 1e-300)):
            numbers = [float(hermite_coefficient(activation, order, scale, bias)) for order in range(8)]
            assert np.all(np.isfinite(numbers))
    assert float(hermite_coefficient(ReLU(), 1, 1e-30, 1.0)) == 1e-30
    for scale, bias in ((1e-31, 0.0), (1e5, 0.0), (1.0, 1e31)):
        with pytest.raises(InputError, match="norms from 1e-30"):
            hermite_coefficient(Tanh(), 1, scale, bias)
    assert float(hermite_coefficient(Identity(), 1, 1e50, 0.0)) == 1e50


def test_refuses_bad_input() -> None:
    for order in (-1, 13, True, 1.0):
        with pytest.raises(InputError, match="order: found"):
            hermite_coefficient(Tanh(), order)  # type: ignore[arg-type]
    for scale in (0.0, -1.0, np.array([flint.arb(0.5, 1)])):
        with pytest.raises(InputError, match="s > 0 is accepted"):
            hermite_coefficient(Tanh(), 1, scale)
    for scale, bias in ((np.inf, 0.0), (1.0, np.nan), (1.0, np.array([flint.arb("nan")])), ("1", 0.0)):
        with pytest.raises(InputError, match="are accepted"):
            hermite_coefficient(Tanh(), 1, scale, bias)

    class Sine(Activation):
        type = "sine"

    with pytest.raises(UnsupportedError, match=r"^sine: "):
        hermite_coefficient(Sine(), 1)
