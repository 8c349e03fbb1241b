"""Dual activations: E[σ(a)σ(b)] and E[σ'(a)σ'(b)] for Gaussian pairs (a, b), in closed form.

References
----------
.. [1] Y. Cho, L. K. Saul, Kernel methods for deep learning, NeurIPS 2009: the arc-cosine kernels, for ReLU.
.. [2] C. K. I. Williams, Computing with infinite networks, NeurIPS 1996: the arc-sine kernel, for erf.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import flint
import numpy as np
import scipy.special

from provable import arithmetic
from provable.arithmetic import Array
from provable.kernels.covariances import Covariance, nonzero, or_one


@dataclass(frozen=True, eq=False)
class Dual:
    """Expectations over a Gaussian pair with a given covariance.

    Attributes
    ----------
    covariance : Covariance
        E[σ(a)σ(b)].
    slopes : ndarray of shape (n, m)
        E[σ'(a)σ'(b)].
    """

    covariance: Covariance
    slopes: Array


class DualActivation(Protocol):
    """What a layer recursion needs to know of an activation."""

    def __call__(self, covariance: Covariance) -> Dual:
        """Take the expectations.

        Parameters
        ----------
        covariance : Covariance
            Of the pre-activations.

        Returns
        -------
        Dual
            Of the activations and their derivatives.
        """
        ...


def relu(covariance: Covariance) -> Dual:
    """The dual of ReLU.

    Parameters
    ----------
    covariance : Covariance
        Of the pre-activations: variances p and q, correlation u.

    Returns
    -------
    Dual
        ½√(pq)·κ₁(u) and ½κ₀(u).

    Notes
    -----
    With θ = arccos u: κ₀ = (π - θ)/π and κ₁ = [sin θ + (π - θ) cos θ]/π. The angle comes from both small numbers,
    θ = 2 arctan(√((1 - u)/(1 + u))), and 1 - κ₁ = (1 - u) - (sin θ - θ cos θ)/π, with a small second term, keeps the angle
    of the next layer accurate to a rounding error, however close two points are.
    """
    below, above, u = covariance.below_one, covariance.above_minus_one, covariance.correlation
    pi = _pi(below)
    angle = _angle(below, above)
    sine = np.asarray(arithmetic.sqrt(_nonnegative(below * above)))
    kappa0 = (pi - angle) / pi
    left, right = covariance.left / 2, covariance.right / 2
    next_below = _nonnegative(below - _sine_excess(angle) / pi)
    next_above = 1 + (sine + (pi - angle) * u) / pi
    next_below = covariance.with_diagonal(next_below, arithmetic.full(left.shape, 0, left))
    next_above = covariance.with_diagonal(next_above, arithmetic.full(left.shape, 2, left))
    activated = Covariance(left, right, next_below, next_above, covariance.same)
    slopes = covariance.with_diagonal(kappa0 / 2, arithmetic.full(left.shape, 0.5, left))
    return Dual(activated, slopes)


def erf(covariance: Covariance) -> Dual:
    """The dual of erf.

    Parameters
    ----------
    covariance : Covariance
        Of the pre-activations: variances p and q, covariance S.

    Returns
    -------
    Dual
        (2/π) arcsin(2S/√((1 + 2p)(1 + 2q))) and (4/π)/√((1 + 2p)(1 + 2q) - 4S²).

    Notes
    -----
    D = (1 + 2p)(1 + 2q) - 4S² = 1 + 2(p + q) + 4pq(1 - u)(1 + u) is a sum of nonnegative numbers, and the arc sine is
    arctan(2S/√D), which is smooth everywhere.
    """
    p, q = covariance.left, covariance.right
    scale = covariance.scale
    gap = scale * scale * covariance.below_one * covariance.above_minus_one
    root = np.asarray(arithmetic.sqrt(1 + 2 * (p[:, None] + q[None, :]) + 4 * gap))
    pi = _pi(root)
    value = 2 * _arctangent(2 * covariance.value / root) / pi
    left = 2 * _arctangent(2 * p / np.asarray(arithmetic.sqrt(1 + 4 * p))) / pi
    right = 2 * _arctangent(2 * q / np.asarray(arithmetic.sqrt(1 + 4 * q))) / pi
    norm = np.asarray(arithmetic.sqrt(left))[:, None] * np.asarray(arithmetic.sqrt(right))[None, :]
    # E[erf(a)²] = 0 only for a = 0, whose correlation is multiplied by zero
    correlation = value / or_one(norm, nonzero(norm))
    below = covariance.with_diagonal(_nonnegative(1 - correlation), arithmetic.full(left.shape, 0, left))
    above = covariance.with_diagonal(_nonnegative(1 + correlation), arithmetic.full(left.shape, 2, left))
    activated = Covariance(left, right, below, above, covariance.same)
    return Dual(activated, 4 / (pi * root))


def _pi(like: Array) -> Any:
    return flint.arb.pi() if arithmetic.kind(like) == "ball" else math.pi


def _each(function: Callable[..., Any], *arrays: Array) -> Array:
    result = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(arrays[0].shape):
        result[index] = function(*(array[index] for array in arrays))
    return result


def _nonnegative(numbers: Array) -> Array:
    """Numbers known to be nonnegative, without the negative part that rounding gave them."""
    if arithmetic.kind(numbers) == "float64":
        return np.maximum(numbers, 0.0)
    return _each(lambda ball: ball.nonnegative_part(), numbers)


def _angle(below: Array, above: Array) -> Array:
    """The angle θ in [0, π] with 1 - cos θ and 1 + cos θ given."""
    sine, cosine = arithmetic.sqrt(_nonnegative(below)), arithmetic.sqrt(_nonnegative(above))
    if arithmetic.kind(below) == "float64":
        angle: Array = 2 * np.arctan2(sine, cosine)
        return angle
    return _each(lambda s, c: 2 * flint.arb.atan2(s, c), sine, cosine)


def _sine_excess(angle: Array) -> Array:
    """sin θ - θ cos θ = θ² j₁(θ) = θ³/3 · ₀F₁(; 5/2; -θ²/4), with relative accuracy down to θ = 0."""
    if arithmetic.kind(angle) == "float64":
        excess: Array = angle * angle * scipy.special.spherical_jn(1, angle)
        return excess
    return _each(lambda t: t * t * t / 3 * (-t * t / 4).hypgeom_0f1(flint.arb(5) / 2), angle)


def _arctangent(numbers: Array) -> Array:
    if arithmetic.kind(numbers) == "float64":
        angle: Array = np.arctan(numbers)
        return angle
    return _each(lambda ball: ball.atan(), numbers)
