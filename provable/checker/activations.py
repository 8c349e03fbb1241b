"""Activations over balls: value and three derivatives together, each enclosing every number that occurs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flint import arb

from provable.checker.description import Layer
from provable.checker.verdict import Invalid

Jet = tuple[arb, arb, arb, arb]


def jet(layer: Layer, z: arb) -> Jet:
    """Enclose σ, σ⁽¹⁾, σ⁽²⁾ and σ⁽³⁾ over a ball.

    Parameters
    ----------
    layer : dict
        An activation of the architecture description.
    z : arb
        The ball of arguments.

    Returns
    -------
    tuple of arb
        Balls that contain σ(z), σ⁽¹⁾(z), σ⁽²⁾(z), σ⁽³⁾(z) for every z in the ball.

    Raises
    ------
    Invalid
        If the ball contains a kink of the activation, or a constant of the layer is no number.

    Notes
    -----
    With t = tanh: u = 1 - t², -2tu, (6t² - 2)u. With p the logistic function: q = p(1 - p), q(1 - 2p), q(1 - 6q); softplus
    has the derivatives p, q, q(1 - 2p), and silu = zp. With φ and Φ the density and distribution function of N(0, 1),
    gelu = zΦ has Φ + zφ, (2 - z²)φ, z(z² - 4)φ. The error function has e = 2/√π·exp(-z²), -2ze, (4z² - 2)e.
    """
    kind = layer["type"]
    if kind in ("relu", "leaky_relu", "elu"):
        return _with_kink(layer, z)
    if kind == "polynomial":
        return _polynomial(layer, z)
    return _SMOOTH[kind](z)


def _constant(layer: Layer, key: str, default: float) -> arb:
    return _number(layer.get(key, default), f"{key} of a layer {layer['type']}")


def _number(value: Any, field: str) -> arb:
    if type(value) not in (int, float) or abs(value) > sys.float_info.max:
        raise Invalid(f"{field} is not a number")
    return arb(float(value))  # constants of a description are float64


def _with_kink(layer: Layer, z: arb) -> Jet:
    if z > 0:
        return z, arb(1), arb(0), arb(0)
    if not z < 0:
        raise Invalid(f"a pre-activation of {layer['type']} may cross the kink at zero within the radius")
    if layer["type"] == "elu":
        alpha = _constant(layer, "alpha", 1.0)
        bent = alpha * z.exp()
        return bent - alpha, bent, bent, bent
    slope = arb(0) if layer["type"] == "relu" else _constant(layer, "negative_slope", 0.01)
    return slope * z, slope, arb(0), arb(0)


def _polynomial(layer: Layer, z: arb) -> Jet:
    coefficients = layer.get("coefficients")
    if not isinstance(coefficients, list):
        raise Invalid("coefficients of a layer polynomial are not a list")
    value, first, half, sixth = arb(0), arb(0), arb(0), arb(0)
    for coefficient in reversed(coefficients):
        value, first, half, sixth = (
            value * z + _number(coefficient, "a coefficient"),
            first * z + value,
            half * z + first,
            sixth * z + half,
        )
    return value, first, 2 * half, 6 * sixth


def _tanh(z: arb) -> Jet:
    t = z.tanh()
    slope = 1 - t * t
    return t, slope, -2 * t * slope, (6 * t * t - 2) * slope


def _logistic(z: arb) -> Jet:
    p = 1 / (1 + (-z).exp())
    slope = p / (1 + z.exp())
    return p, slope, slope * (1 - 2 * p), slope * (1 - 6 * slope)


def _softplus(z: arb) -> Jet:
    p, slope, bend, _ = _logistic(z)
    return (1 + z.exp()).log(), p, slope, bend


def _silu(z: arb) -> Jet:
    p, slope, bend, third = _logistic(z)
    return z * p, p + z * slope, 2 * slope + z * bend, 3 * bend + z * third


def _erf(z: arb) -> Jet:
    slope = 2 * (-z * z).exp() / arb.pi().sqrt()
    return z.erf(), slope, -2 * z * slope, (4 * z * z - 2) * slope


def _gelu(z: arb) -> Jet:
    distribution = (1 + (z / arb(2).sqrt()).erf()) / 2
    density = (-z * z / 2).exp() / (2 * arb.pi()).sqrt()
    return z * distribution, distribution + z * density, density * (2 - z * z), density * z * (z * z - 4)


_SMOOTH: dict[str, Callable[[arb], Jet]] = {
    "identity": lambda z: (z, arb(1), arb(0), arb(0)),
    "tanh": _tanh,
    "sigmoid": _logistic,
    "softplus": _softplus,
    "silu": _silu,
    "erf": _erf,
    "gelu": _gelu,
}
