r"""Hermite coefficients a_k(s, b) = E[σ(sZ + b) He_k(Z)] of the activations, Z ~ N(0, 1), of floats and of balls.

Gaussian weights w and an input x of norm s make w·x + b a Gaussian sZ + b, so that these numbers weigh the orders of every
Hermite moment of a network: E[σ(w·x + b) H_k(w)] = a_k(s, b) (x/s)^{⊗k}, and a_k(s, b) = s^k E σ^(k)(sZ + b) (Stein, theorem
``foundations.stein_hermite``). With m(b) = E σ(sZ + b) they are a_k = s^k m^(k)(b), from which the closed forms follow.

The logistic family has none; `provable.networks.strip_quadrature` computes it with a rigorous remainder.
"""

from __future__ import annotations

import math
from typing import Any

import flint
import numpy as np
import scipy.special
from numpy.typing import ArrayLike

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
from provable.networks import activations
from provable.networks.strip_quadrature import LogisticFunction, gaussian_mean, hermite_polynomial

HIGHEST_ORDER = 12
"""The largest k for which a Hermite coefficient is computed."""

UNDERFLOW = 39.0
"""The normal density is zero in float64 beyond."""

EXPONENTIAL_BITS = 400
"""Working precision, in bits, of the coefficients of ELU for floats."""

SMALLEST_SCALE, LARGEST_SCALE = 1e-30, 1e4
"""Norms for which the transcendental activations are evaluated: beyond, numbers overflow or the quadrature takes too long."""


def hermite_coefficient(activation: Activation, order: int, scale: ArrayLike = 1.0, bias: ArrayLike = 0.0) -> Array:
    r"""a_k(s, b) = E[σ(sZ + b) He_k(Z)] for Z ~ N(0, 1) and the probabilists' Hermite polynomial He_k.

    Parameters
    ----------
    activation : Activation
        The function σ.
    order : int
        k, from 0 to 12.
    scale : array_like
        Norms s > 0: floats, or an object array of balls. For ``identity`` and ``polynomial`` also rationals.
    bias : array_like
        Biases b, of a shape that broadcasts with the norms.

    Returns
    -------
    ndarray
        Coefficients in the arithmetic of the arguments, of their common shape. Balls are rigorous enclosures at the working
        precision. Floats are within a few dozen roundings of the largest term of the formula; a coefficient that vanishes
        by the parity of σ at b = 0 is exactly zero.

    Raises
    ------
    InputError
        If the order is out of range, a norm is not positive, or a number is not finite.
    UnsupportedError
        For an activation that has no implementation.

    Notes
    -----
    With t = b/s, φ and Φ the normal density and distribution function, and k ≥ 2: ReLU s (-1)^k He_{k-2}(t) φ(t); erf with
    τ² = 1 + 2s² (s/τ)^k times the k-th derivative of erf at b/τ; GELU with τ² = 1 + s² and u = b/τ
    (-1)^k s^k τ^{1-k} [He_{k-2}(u) - He_k(u)/τ²] φ(u). Softplus has a_k(s, b) = s times a_{k-1} of the sigmoid.
    """
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or not 0 <= order <= HIGHEST_ORDER:
        raise InputError(f"order: found {order!r:.40}; an integer from 0 to {HIGHEST_ORDER} is accepted")
    scales, biases = _in_one_arithmetic(scale, bias)
    result: Array = np.empty(scales.shape, dtype=scales.dtype)
    for index in np.ndindex(scales.shape):
        result[index] = _coefficient(activation, int(order), scales[index], biases[index])
    return result


def mean_derivative(activation: Activation, order: int, scale: ArrayLike = 1.0, bias: ArrayLike = 0.0) -> Array:
    r"""E σ^(k)(sZ + b) = a_k(s, b) / s^k, with the Dirac masses that derivatives of kinks have.

    Parameters
    ----------
    activation : Activation
        The function σ.
    order : int
        k, from 0 to 12.
    scale : array_like
        Norms s > 0, as for `hermite_coefficient`.
    bias : array_like
        Biases b.

    Returns
    -------
    ndarray
        The means, in the arithmetic and the common shape of the arguments.
    """
    coefficients = hermite_coefficient(activation, order, scale, bias)
    scales, _ = _in_one_arithmetic(scale, bias)
    return np.asarray(coefficients / scales ** int(order))


def _in_one_arithmetic(scale: ArrayLike, bias: ArrayLike) -> tuple[Array, Array]:
    parts = [np.asarray(scale), np.asarray(bias)]
    exact = next((part for part in parts if part.dtype == object and part.size), None)
    for place, name in enumerate(("scale", "bias")):
        part = parts[place]
        if part.dtype != object:
            if part.dtype.kind not in "fiu" or not np.all(np.isfinite(part)):
                raise InputError(f"{name}: found {part!r:.60}; finite real numbers are accepted")
            part = part.astype(np.float64)
            if exact is not None:
                numbers = np.empty(part.shape, dtype=object)
                for index in np.ndindex(part.shape):
                    numbers[index] = arithmetic.constant(float(part[index]), exact)
                part = numbers
        elif arithmetic.kind(part) == "ball" and not all(number.is_finite() for number in part.reshape(-1)):
            raise InputError(f"{name}: found a ball that is not finite; finite balls are accepted")
        parts[place] = part
    if not all(number > 0 for number in parts[0].reshape(-1)):
        raise InputError("scale: found a norm that is not positive, or a ball that contains zero; s > 0 is accepted")
    scales, biases = np.broadcast_arrays(*parts)
    return scales, biases


def _coefficient(activation: Activation, order: int, scale: Any, bias: Any) -> Any:
    if not isinstance(activation, Identity | Polynomial):
        arithmetic.exp(np.asarray([0 * scale]))  # refuses rationals and residues, naming the arithmetic
        if not (SMALLEST_SCALE <= scale <= LARGEST_SCALE and abs(bias) <= 1 / SMALLEST_SCALE):
            raise InputError(
                f"scale, bias: found {float(scale):.3g}, {float(bias):.3g}; norms from {SMALLEST_SCALE} to {LARGEST_SCALE} "
                f"and biases up to {1 / SMALLEST_SCALE} are accepted"
            )
    match activation:
        case Identity():
            return _polynomial((0.0, 1.0), order, scale, bias)
        case Polynomial():
            return _polynomial(activation.coefficients, order, scale, bias)
        case ReLU():
            return _ramp(order, scale, bias)
        case LeakyReLU():
            slope = arithmetic.constant(activation.negative_slope, scale)
            return (1 - slope) * _ramp(order, scale, bias) + slope * _polynomial((0.0, 1.0), order, scale, bias)
        case ELU():
            alpha = arithmetic.constant(activation.alpha, scale)
            if isinstance(scale, flint.arb):
                return _exponential(alpha, order, scale, bias)
            # k - 1 orders of s cancel, and exp(b + s²/2) can overflow
            with flint.ctx.workprec(EXPONENTIAL_BITS):
                return float(_exponential(flint.arb(alpha), order, flint.arb(scale), flint.arb(bias)))
        case Erf():
            spread = _root(1 + 2 * scale * scale)
            return (scale / spread) ** order * _error_function(order, bias / spread) + 0
        case GELU():
            return _gaussian_gate(order, scale, bias)
        case Tanh():
            return _quadrature("tanh", order, scale, bias)
        case Sigmoid():
            return _sigmoid(order, scale, bias)
        case Softplus():
            if order:
                return scale * _sigmoid(order - 1, scale, bias)
            return bias / 2 + _quadrature("logarithm", 0, scale / 2, bias / 2)
        case SiLU():
            # z / (1 + exp(-z)) = z/2 + (z/2) tanh(z/2)
            even = _quadrature("product", order, scale / 2, bias / 2)
            return even + _polynomial((0.0, 0.5), order, scale, bias)
    raise UnsupportedError(f"{activation.type}: its Hermite coefficients need an implementation")


def _root(number: Any) -> Any:
    return number.sqrt() if isinstance(number, flint.arb) else math.sqrt(number)


def _density(t: Any) -> Any:
    if isinstance(t, flint.arb):
        return (-t * t / 2).exp() / (2 * flint.arb.pi()).sqrt()
    if abs(t) > UNDERFLOW:
        return 0.0
    return math.exp(-t * t / 2) / math.sqrt(2 * math.pi)


def _distribution(t: Any) -> Any:
    if isinstance(t, flint.arb):
        return (-t / flint.arb(2).sqrt()).erfc() / 2
    return float(scipy.special.ndtr(t))


def _polynomial(coefficients: tuple[float, ...], order: int, scale: Any, bias: Any) -> Any:
    """s^k E p^(k)(sZ + b), from E (sZ + b)^n = Σ_j C(n, 2j) (2j - 1)!! s^{2j} b^{n-2j}."""
    total = 0 * scale
    for degree in range(order, len(coefficients)):
        power = degree - order
        moment = sum(
            (
                math.comb(power, 2 * j) * math.prod(range(1, 2 * j, 2)) * scale ** (2 * j) * bias ** (power - 2 * j)
                for j in range(power // 2 + 1)
            ),
            start=0 * scale,
        )
        total = total + arithmetic.constant(coefficients[degree], scale) * math.perm(degree, order) * moment
    return scale**order * total


def _bounded(t: Any) -> Any:
    # where the density underflows, He_k must not overflow
    return t if isinstance(t, flint.arb) else min(max(t, -UNDERFLOW - 1), UNDERFLOW + 1)


def _ramp(order: int, scale: Any, bias: Any) -> Any:
    """ReLU: m(b) = bΦ(t) + sφ(t), m' = Φ(t), m'' = φ(t)/s with t = b/s."""
    t = bias / scale
    if order == 0:
        return bias * _distribution(t) + scale * _density(t)
    if order == 1:
        return scale * _distribution(t)
    # adding zero turns -0.0 into 0.0
    return (-1) ** order * scale * hermite_polynomial(order - 2, _bounded(t)) * _density(t) + 0


def _exponential(alpha: Any, order: int, scale: Any, bias: Any) -> Any:
    """ELU: the ramp, and α(P - Φ(-t)) with P = E[exp(sZ + b); sZ + b < 0] = exp(b + s²/2) Φ(-t - s), P' = P - φ(t)/s."""
    ramp = _ramp(order, scale, bias)
    t = bias / scale
    part = (bias + scale * scale / 2).exp() * _distribution(-t - scale)
    if order == 0:
        return ramp + alpha * (part - _distribution(-t))
    jumps = sum(
        ((-1) ** j * scale ** (order - 1 - j) * hermite_polynomial(j, t) for j in range(order - 1)), start=0 * scale
    )
    return ramp + alpha * (scale**order * part - jumps * _density(t))


def _error_function(order: int, u: Any) -> Any:
    """The k-th derivative of erf at u."""
    point = np.asarray([u])
    if order <= activations.HIGHEST_ORDER:
        return activations.derivative(Erf(), point, order)[0]
    # erf(u) = 2Φ(√2 u) - 1
    two = _root(arithmetic.constant(2, u))
    t = two * u
    return 2 * two**order * (-1) ** (order - 1) * hermite_polynomial(order - 1, _bounded(t)) * _density(t)


def _gaussian_gate(order: int, scale: Any, bias: Any) -> Any:
    """GELU: m(b) = bΦ(u) + (s²/τ)φ(u) and m'(b) = Φ(u) + uφ(u)/τ² with τ² = 1 + s² and u = b/τ."""
    square = 1 + scale * scale
    spread = _root(square)
    u = bias / spread
    if order == 0:
        return bias * _distribution(u) + scale * scale / spread * _density(u)
    if order == 1:
        return scale * (_distribution(u) + u * _density(u) / square)
    bracket = hermite_polynomial(order - 2, _bounded(u)) - hermite_polynomial(order, _bounded(u)) / square
    return (-1) ** order * scale * (scale / spread) ** (order - 1) * bracket * _density(u) + 0


def _sigmoid(order: int, scale: Any, bias: Any) -> Any:
    # 1 / (1 + exp(-z)) = (1 + tanh(z/2)) / 2
    odd = _quadrature("tanh", order, scale / 2, bias / 2) / 2
    return odd + arithmetic.constant(0.5, scale) if order == 0 else odd


def _quadrature(name: str, order: int, scale: Any, bias: Any) -> Any:
    """a_k of tanh, w tanh w or log(2 cosh w)."""
    # small s: s^k E σ^(k) keeps the relative accuracy; large s: the narrow σ^(k) would cancel, He_k does not
    moved = min(order, activations.HIGHEST_ORDER) if scale <= 1 and name != "logarithm" else 0
    return scale**moved * gaussian_mean(LogisticFunction(name, moved), order - moved, scale, bias)
