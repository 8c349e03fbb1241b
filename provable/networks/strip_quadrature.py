r"""Gaussian means of analytic functions by the trapezoidal rule, with a rigorous remainder.

For f analytic in the strip |Im z| < c, the sum h Σ_j f(jh) differs from ∫ f by at most 2M / (exp(2πc/h) - 1), where M
bounds ∫ |f(x + iy)| dx for |y| < c: Trefethen, Weideman, SIAM Review 56 (2014) 385-458, Theorem 5.1. Here f(x) =
g(sx + b) He_n(x) φ(x) with g a derivative of tanh w, w tanh w or log(2 cosh w), each of which is bounded by C + D |Re w| in
its strip. The logistic family of activations consists of these three and affine functions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.architectures.activations import Tanh
from provable.arithmetic import Array
from provable.networks import activations

TANH = Tanh()

HALF_STRIP = math.pi / 4
"""|tanh w| ≤ 1 for |Im w| ≤ π/4."""

GUARD_BITS = 8
"""The remainder is that many bits below the working precision."""


def hermite_polynomial(order: int, z: Any) -> Any:
    """Evaluate He_k, the probabilists' Hermite polynomial, elementwise.

    Parameters
    ----------
    order : int
        k ≥ 0.
    z : number or ndarray
        Arguments of any arithmetic.

    Returns
    -------
    number or ndarray
        He_0 = 1, He_1 = z, He_{k+1} = z He_k - k He_{k-1}, in the arithmetic of the arguments.
    """
    before, value = 0 * z, 0 * z + 1
    for k in range(order):
        before, value = value, z * value - k * before
    return value


@dataclass(frozen=True)
class LogisticFunction:
    """One of the functions tanh w, w tanh w and log(2 cosh w), or a derivative of one of the first two.

    Attributes
    ----------
    name : {"tanh", "product", "logarithm"}
        Which function.
    order : int
        Of the derivative, at most 4; 0 for ``"logarithm"``.
    """

    name: str
    order: int = 0

    @property
    def half_strip(self) -> float:
        """Height above and below the real axis where the bound holds; the rest of π/4 is the radius of Cauchy's estimate."""
        return HALF_STRIP / 2 if self.order else HALF_STRIP

    def bound(self) -> tuple[float, float]:
        """C and D with |g(w)| ≤ C + D |Re w| in the strip.

        Returns
        -------
        C, D : float
            From |tanh| ≤ 1 and Cauchy's |tanh^(j)| ≤ j! (8/π)^j, and for |Im w| ≤ π/4 from
            |log(1 + e^{2w})| ≤ log 2 + π/2 in the left half plane.
        """
        if self.name == "logarithm":
            return 3.1, 1.0  # log 2 + π/2 + π/4 = 3.05
        derivatives = [math.factorial(j) * (2 / HALF_STRIP) ** j for j in range(self.order + 1)]
        if self.name == "tanh":
            return derivatives[-1], 0.0
        below = self.order * derivatives[self.order - 1] if self.order else 0.0
        return derivatives[-1] * self.half_strip + below, derivatives[-1]

    def __call__(self, w: Array) -> Array:
        """Evaluate the function.

        Parameters
        ----------
        w : ndarray
            Floats or balls, one axis.

        Returns
        -------
        ndarray
            Values.
        """
        if self.name == "tanh":
            return activations.derivative(TANH, w, self.order)
        if self.name == "product":
            value = w * activations.derivative(TANH, w, self.order)
            return value + self.order * activations.derivative(TANH, w, self.order - 1) if self.order else value
        if arithmetic.kind(w) == "ball":
            result = np.empty(w.shape, dtype=object)
            for index, ball in enumerate(w):
                result[index] = (2 * ball.cosh()).log()
            return result
        magnitude: Array = np.abs(w) + np.log1p(np.exp(-2 * np.abs(w)))
        return magnitude


def gaussian_mean(function: LogisticFunction, degree: int, scale: Any, bias: Any) -> Any:
    """E[g(sZ + b) He_n(Z)] for Z ~ N(0, 1).

    Parameters
    ----------
    function : LogisticFunction
        g.
    degree : int
        n ≥ 0.
    scale : float or arb
        s > 0.
    bias : float or arb
        b.

    Returns
    -------
    float or arb
        The mean. As a ball it encloses it at the working precision, remainder and tail included; as a float these are below
        one rounding of ∫ |f|. If g(sx + b) He_n(x) is odd, the result is exactly zero, because the nodes ±x are added first.
    """
    ball = isinstance(scale, flint.arb)
    # 1 + 1e-9 makes up for rounding to float
    largest = float(abs(scale).upper()) * (1 + 1e-9) if ball else scale
    shift = float(abs(bias).upper()) * (1 + 1e-9) if ball else abs(bias)
    rule = _rule(function, degree, largest, shift, flint.ctx.prec if ball else 53)
    one = arithmetic.constant(1, scale)
    nodes = np.arange(1, rule.count + 1) * rule.step
    if ball:
        nodes = np.array([one * rule.step * j for j in range(1, rule.count + 1)], dtype=object)
        weights = np.array([(-x * x / 2).exp() for x in nodes], dtype=object)
    else:
        weights = np.exp(-nodes * nodes / 2)
    pairs = function(scale * nodes + bias) + (-1) ** degree * function(-scale * nodes + bias)
    middle = function(np.array([bias], dtype=object if ball else np.float64))[0] * hermite_polynomial(degree, 0 * one)
    total = middle + np.sum(pairs * hermite_polynomial(degree, nodes) * weights)
    if not ball:
        return float(total * rule.step / math.sqrt(2 * math.pi))
    return total * rule.step / (2 * flint.arb.pi()).sqrt() + flint.arb(0, 1) * rule.remainder()


@dataclass(frozen=True)
class _Rule:
    """Nodes ±jh, j ≤ N, with everything that bounds the remainder."""

    step: float
    count: int
    half_strip: float
    strip_mean: float  # bounds M without its factor exp(c²/2)
    tail: float  # bounds the cut-off tail without its factor exp(-N²h²/2)

    def remainder(self) -> Any:
        """An upper bound, as a ball, on what the sum leaves out."""
        strip, step, end = flint.arb(self.half_strip), flint.arb(self.step), flint.arb(self.step) * self.count
        discretised = 2 * self.strip_mean * (strip * strip / 2).exp() / (2 * flint.arb.pi() * strip / step).expm1()
        return (discretised + self.tail * (-end * end / 2).exp()).upper()


def _rule(function: LogisticFunction, degree: int, scale: float, shift: float, bits: int) -> _Rule:
    digits = (bits + GUARD_BITS) * math.log(2)
    # a taller strip than that only makes exp(c²/2) larger
    strip = min(function.half_strip / scale, math.sqrt(2 * digits))
    constant, slope = function.bound()
    growth = np.polynomial.Polynomial([constant + slope * shift, slope * scale])
    hermite = np.polynomial.Polynomial(_hermite_majorant(degree))
    # every number below is a sum of positive terms, so that 1.001 makes up for rounding
    widened = (growth * hermite(np.polynomial.Polynomial([strip, 1.0]))).coef
    moments = [2 ** (q / 2) * math.gamma((q + 1) / 2) / math.sqrt(math.pi) for q in range(len(widened))]
    strip_mean = 1.001 * float(widened @ np.array(moments))
    step = 2 * math.pi * strip / (digits + strip * strip / 2 + math.log1p(strip_mean))
    polynomial = growth * hermite
    end = math.sqrt(2 * digits + 2 * len(polynomial.coef))
    while end * end / 2 < digits + math.log1p(float(polynomial(end))):
        end *= 1.05
    count = math.ceil(end / step)
    # beyond x² > 2 deg P, P(x) φ(x) decreases, and the integral of it is at most 2 P(x) φ(x) / x, on either side
    end = step * count
    return _Rule(step, count, strip, strip_mean, 1.001 * 4 * float(polynomial(end)) / end)


def _hermite_majorant(degree: int) -> NDArray[np.float64]:
    """The coefficients of i^{-n} He_n(i t), which are the absolute values of those of He_n."""
    return np.abs(np.polynomial.hermite_e.herme2poly([0.0] * degree + [1.0]))
