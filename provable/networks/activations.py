"""Values and derivatives of the activation functions, of floats and wherever possible of exact numbers and balls."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import flint
import numpy as np
import scipy.special

from provable import arithmetic
from provable.architectures.activations import (
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
from provable.arithmetic import Array
from provable.errors import InputError, UnsupportedError

SMOOTH: tuple[type[Activation], ...] = (Tanh, Sigmoid, Softplus, Erf, GELU, SiLU, Identity, Polynomial)
"""Activations with derivatives of every order everywhere."""

HIGHEST_ORDER = 4
"""Order of the highest derivative of the activations that are no piecewise polynomials."""

BELL_FACTORS: tuple[tuple[float, ...], ...] = ((1.0,), (0.0, -2.0), (-2.0, 0.0, 4.0), (0.0, 12.0, 0.0, -8.0))
"""exp(z²) times the derivatives of exp(-z²): (-1)ᵏ times the physicists' Hermite polynomials, lowest degree first."""

GELU_FACTORS: tuple[tuple[float, ...], ...] = ((2.0, 0.0, -1.0), (0.0, -4.0, 0.0, 1.0), (-4.0, 0.0, 7.0, 0.0, -1.0))
"""The derivatives of order 2, 3, 4 of z Φ(z), divided by the normal density, lowest degree first."""


def _is_ball(z: Array) -> bool:
    return arithmetic.kind(z) == "ball"


def _each(function: Callable[[Any], Any], z: Array) -> Array:
    result = np.empty(z.shape, dtype=object)
    for index in np.ndindex(z.shape):
        result[index] = function(z[index])
    return result


def _select(condition: Array, where_true: Any, where_false: Any, like: Array) -> Array:
    # numpy.where on mixed scalars and object arrays would lose flint's types
    result = arithmetic.full(like.shape, 0, like)
    result[condition] = where_true[condition] if isinstance(where_true, np.ndarray) else where_true
    result[~condition] = where_false[~condition] if isinstance(where_false, np.ndarray) else where_false
    return result


def _increasing(function: Callable[[Any], Any], z: Array) -> Array:
    # Arb's functions of a wide ball are far too wide, or not finite; an increasing one is enclosed by its end points
    def enclose(ball: Any) -> Any:
        if ball.rad() < 0.125:
            return function(ball)
        return function(ball.lower()).union(function(ball.upper()))

    return _each(enclose, z)


def _tanh(z: Array) -> Array:
    return _increasing(lambda ball: ball.tanh(), z) if _is_ball(z) else np.asarray(arithmetic.tanh(z))


def _logistic(z: Array) -> Array:
    if _is_ball(z):
        return _increasing(lambda ball: 1 / (1 + (-ball).exp()), z)
    if arithmetic.kind(z) != "float64":
        return np.asarray(arithmetic.exp(z))  # refuses, naming the arithmetic
    result: Array = scipy.special.expit(z)
    return result


def _logistic_slope(z: Array) -> Array:
    return _logistic(z) * _logistic(-z)


def _logistic_bend(slope: Array, direction: Array, order: int) -> Array:
    # derivatives of the logistic function from its slope L and u = tanh(z/2), with L' = -uL and u² = 1 - 4L
    bends = (slope, -direction * slope, (1 - 6 * slope) * slope, direction * (12 * slope - 1) * slope)
    return bends[order - 1]


def _logistic_derivative(z: Array, order: int) -> Array:
    return _logistic_bend(_logistic_slope(z), _tanh(z / 2), order) if order else _logistic(z)


def _normal_distribution(z: Array) -> Array:
    if _is_ball(z):
        return _increasing(lambda ball: (-ball / flint.arb(2).sqrt()).erfc() / 2, z)
    if arithmetic.kind(z) != "float64":
        return np.asarray(arithmetic.erf(z))  # refuses, naming the arithmetic
    result: Array = scipy.special.ndtr(z)
    return result


def _pi(z: Array) -> Any:
    return flint.arb.pi() if _is_ball(z) else math.pi


def _before_underflow(z: Array) -> Array:
    # beyond 40 exp(-z²/2) is zero in float64, and the square of a huge z would overflow
    return z if z.dtype == object else np.clip(z, -40.0, 40.0)


def _bell(z: Array) -> Array:
    # exp(-z²), which decreases in |z|
    def enclose(ball: Any) -> Any:
        if ball.rad() < 0.125:
            return (-ball * ball).exp()
        return (-(ball.abs_lower() ** 2)).exp().union((-(ball.abs_upper() ** 2)).exp())

    return _each(enclose, z) if _is_ball(z) else np.asarray(arithmetic.exp(-z * z))


def _normal_density(z: Array) -> Array:
    density: Array = _bell(z / arithmetic.sqrt(arithmetic.constant(2, z))) / arithmetic.sqrt(2 * _pi(z))
    return density


def _sech_squared(z: Array) -> Array:
    if arithmetic.kind(z) == "float64":
        # 4 e^(-2|z|) / (1 + e^(-2|z|))², because 1 - tanh² has no relative accuracy in the tails
        decay = np.exp(-np.abs(z)) ** 2
        return np.asarray(4 * decay / ((1 + decay) * (1 + decay)))
    return np.asarray(4 * _logistic_slope(2 * z))


def _horner(coefficients: list[Any], z: Array) -> Array:
    result = arithmetic.full(z.shape, 0, z)
    for number in reversed(coefficients):
        result = result * z + number
    return result


def _in_arithmetic_of(z: Array, coefficients: tuple[float, ...]) -> list[Any]:
    return [arithmetic.constant(number, z) for number in coefficients]


def _flat(z: Any) -> tuple[Array, tuple[int, ...]]:
    array = np.asarray(z)
    if array.dtype != object or array.size == 0:
        array = array.astype(np.float64, copy=False)
    return array.reshape(-1), array.shape


def value(activation: Activation, z: Any) -> Array:
    """Apply an activation to every entry.

    Parameters
    ----------
    activation : Activation
        Which function.
    z : array_like
        Pre-activations: floats, or an object array of rationals, residues or balls.

    Returns
    -------
    ndarray
        Values in the same arithmetic and shape.

    Raises
    ------
    UnsupportedError
        For an activation that has no implementation.
    ArithmeticUnsupported
        If the function has no value in that arithmetic, for instance tanh of a rational or the sign of a residue.

    Notes
    -----
    GELU is the exact z Φ(z), not its tanh approximation.
    """
    flat, shape = _flat(z)
    return np.asarray(_value(activation, flat)).reshape(shape)


def _value(activation: Activation, z: Array) -> Any:
    match activation:
        case Identity():
            return z
        case ReLU():
            if _is_ball(z):  # monotone: a ball that straddles zero has an enclosure all the same
                return _each(lambda ball: ball.max(flint.arb(0)), z)
            return _select(arithmetic.positive(z), z, arithmetic.constant(0, z), z)
        case LeakyReLU():
            slope = arithmetic.constant(activation.negative_slope, z)
            return _select(arithmetic.positive(z), z, slope * z, z)
        case Tanh():
            return _tanh(z)
        case Sigmoid():
            return _logistic(z)
        case Softplus():
            if arithmetic.kind(z) == "float64":
                return np.logaddexp(0.0, z)
            if _is_ball(z):
                return _increasing(lambda ball: (1 + ball.exp()).log(), z)
            return arithmetic.exp(z)  # refuses, naming the arithmetic
        case Erf():
            return _increasing(lambda ball: ball.erf(), z) if _is_ball(z) else arithmetic.erf(z)
        case GELU():
            return z * _normal_distribution(z)
        case SiLU():
            return z * _logistic(z)
        case ELU():
            alpha = arithmetic.constant(activation.alpha, z)
            if arithmetic.kind(z) == "float64":
                return np.where(z > 0, z, alpha * np.expm1(np.minimum(z, 0.0)))
            return _select(arithmetic.positive(z), z, alpha * (arithmetic.exp(z) - 1), z)
        case Polynomial():
            return _horner(_in_arithmetic_of(z, activation.coefficients), z)
    raise UnsupportedError(f"{activation.type}: evaluating this activation needs an implementation of its value")


def derivative(activation: Activation, z: Any, order: int = 1) -> Array:
    """Differentiate an activation at every entry.

    Parameters
    ----------
    activation : Activation
        Which function.
    z : array_like
        Pre-activations: floats, or an object array of rationals, residues or balls.
    order : {0, 1, 2, 3, 4}
        Of the derivative; any nonnegative order for ``identity``, ``relu``, ``leaky_relu`` and ``polynomial``.

    Returns
    -------
    ndarray
        Values in the same arithmetic and shape. At a kink, the left derivative: ReLU has 0 at 0, leaky ReLU its
        slope and ELU its α, as in PyTorch; higher derivatives are those of the pieces (no Dirac mass). Floats are accurate
        to a few roundings of the terms of the formula, so to relative accuracy in the tails.

    Raises
    ------
    InputError
        If the order is not available.
    UnsupportedError
        For an activation that has no implementation.
    ArithmeticUnsupported
        If the function has no value in that arithmetic, and for balls that straddle a kink.
    """
    if order == 0:
        return value(activation, z)
    flat, shape = _flat(z)
    return np.asarray(_derivative(activation, flat, order)).reshape(shape)


def _derivative(activation: Activation, z: Array, order: int) -> Any:
    if isinstance(activation, ReLU | LeakyReLU | Identity | Polynomial) and order > 0:
        return _piecewise_derivative(activation, z, order)
    if order not in range(1, HIGHEST_ORDER + 1):
        raise InputError(f"order: found {order} for {activation.type}; 0 to {HIGHEST_ORDER} are accepted")
    match activation:
        case Tanh():
            # tanh(z) = 2 / (1 + exp(-2z)) - 1; powers of two round nothing
            return 2 ** (order + 1) * _logistic_bend(_sech_squared(z) / 4, _tanh(z), order)
        case Sigmoid():
            return _logistic_derivative(z, order)
        case Softplus():
            return _logistic_derivative(z, order - 1)
        case Erf():
            z = _before_underflow(z)
            return 2 * _bell(z) / arithmetic.sqrt(_pi(z)) * _horner(_in_arithmetic_of(z, BELL_FACTORS[order - 1]), z)
        case GELU():
            z = _before_underflow(z)
            density = _normal_density(z)
            if order == 1:
                return _normal_distribution(z) + z * density
            return _horner(_in_arithmetic_of(z, GELU_FACTORS[order - 2]), z) * density
        case SiLU():
            return z * _logistic_derivative(z, order) + order * _logistic_derivative(z, order - 1)
        case ELU():
            one = arithmetic.constant(1 if order == 1 else 0, z)
            alpha = arithmetic.constant(activation.alpha, z)
            if arithmetic.kind(z) == "float64":
                return np.where(z > 0, one, alpha * np.exp(np.minimum(z, 0.0)))
            return _select(arithmetic.positive(z), one, alpha * arithmetic.exp(z), z)
    raise UnsupportedError(f"{activation.type}: differentiating it needs an implementation of its derivative")


def _piecewise_derivative(activation: Activation, z: Array, order: int) -> Array:
    if isinstance(activation, Polynomial):
        coefficients = _in_arithmetic_of(z, activation.coefficients)
        for _ in range(order):
            coefficients = [degree * number for degree, number in enumerate(coefficients)][1:]
        return _horner(coefficients, z)
    if order > 1:
        return arithmetic.full(z.shape, 0, z)
    if isinstance(activation, Identity):
        return arithmetic.full(z.shape, 1, z)
    slope = activation.negative_slope if isinstance(activation, LeakyReLU) else 0.0
    left, right = arithmetic.constant(slope, z), arithmetic.constant(1, z)
    return _select(arithmetic.positive(z), right, left, z)
