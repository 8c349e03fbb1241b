"""Activations over balls: value, first and second derivative together, each enclosing every number that occurs."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from flint import arb

from provable.checker.description import Layer
from provable.checker.verdict import Invalid

Jet = tuple[arb, arb, arb]


def jet(layer: Layer, z: arb) -> Jet:
    """Enclose σ, σ' and σ'' over a ball.

    Parameters
    ----------
    layer : dict
        An activation of the architecture description.
    z : arb
        The ball of arguments.

    Returns
    -------
    tuple of arb
        Balls that contain σ(z), σ'(z), σ''(z) for every z in the ball.

    Raises
    ------
    Invalid
        If the ball contains a kink of the activation, or a constant of the layer is no number.

    Notes
    -----
    tanh' = 1 - t² and tanh'' = -2t(1 - t²); with p the logistic function, p' = p(1 - p), p'' = p'(1 - 2p),
    softplus' = p, silu = zp; with φ and Φ the density and distribution function of N(0, 1), gelu = zΦ,
    gelu' = Φ + zφ, gelu'' = (2 - z²)φ; erf' = 2/√π·exp(-z²), erf'' = -2z·erf'.
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
        return z, arb(1), arb(0)
    if not z < 0:
        raise Invalid(f"a pre-activation of {layer['type']} may cross the kink at zero within the radius")
    if layer["type"] == "elu":
        alpha = _constant(layer, "alpha", 1.0)
        bent = alpha * z.exp()
        return bent - alpha, bent, bent
    slope = arb(0) if layer["type"] == "relu" else _constant(layer, "negative_slope", 0.01)
    return slope * z, slope, arb(0)


def _polynomial(layer: Layer, z: arb) -> Jet:
    coefficients = layer.get("coefficients")
    if not isinstance(coefficients, list):
        raise Invalid("coefficients of a layer polynomial are not a list")
    value, first, half = arb(0), arb(0), arb(0)
    for coefficient in reversed(coefficients):
        value, first, half = value * z + _number(coefficient, "a coefficient"), first * z + value, half * z + first
    return value, first, 2 * half


def _tanh(z: arb) -> Jet:
    t = z.tanh()
    slope = 1 - t * t
    return t, slope, -2 * t * slope


def _logistic(z: arb) -> tuple[arb, arb]:
    p = 1 / (1 + (-z).exp())
    return p, p / (1 + z.exp())


def _sigmoid(z: arb) -> Jet:
    p, slope = _logistic(z)
    return p, slope, slope * (1 - 2 * p)


def _softplus(z: arb) -> Jet:
    p, slope = _logistic(z)
    return (1 + z.exp()).log(), p, slope


def _silu(z: arb) -> Jet:
    p, slope = _logistic(z)
    return z * p, p + z * slope, slope * (2 + z * (1 - 2 * p))


def _erf(z: arb) -> Jet:
    slope = 2 * (-z * z).exp() / arb.pi().sqrt()
    return z.erf(), slope, -2 * z * slope


def _gelu(z: arb) -> Jet:
    distribution = (1 + (z / arb(2).sqrt()).erf()) / 2
    density = (-z * z / 2).exp() / (2 * arb.pi()).sqrt()
    return z * distribution, distribution + z * density, density * (2 - z * z)


_SMOOTH: dict[str, Callable[[arb], Jet]] = {
    "identity": lambda z: (z, arb(1), arb(0)),
    "tanh": _tanh,
    "sigmoid": _sigmoid,
    "softplus": _softplus,
    "silu": _silu,
    "erf": _erf,
    "gelu": _gelu,
}
