"""Kernels of dense networks on a sphere, as analytic functions of the angle between two points.

On a sphere a kernel of a dense network depends on the angle θ between its points only, and it is analytic in θ on a
neighbourhood of [0, π], although as a function of cos θ it is singular at ±1. All values here are complex balls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import flint
import numpy as np

from provable.architectures.activations import Activation, Erf, Identity, LeakyReLU, ReLU
from provable.errors import InputError, UnsupportedError
from provable.kernels.dense import DenseKernel

Complex = flint.acb
"""A complex ball."""

Layer = Callable[["_State", bool], tuple["_State", Any]]


@dataclass(frozen=True)
class _State:
    """Pre-activations at two points: the variance p of both, their covariance, and the angle φ with covariance p·cos φ, for
    layers that need it."""

    variance: Any
    covariance: Any
    angle: Any = None

    def affine(self, factor: Any, offset: Any) -> _State:
        """factor·S + offset; sin²(φ/2) = (1 - u)/2 shrinks by factor·p/(factor·p + offset)."""
        scaled = factor * self.variance
        angle = self.angle
        if angle is not None and offset != 0:
            angle = _twice_arcsine((angle / 2).sin() * (scaled / (scaled + offset)).sqrt())
        return _State(scaled + offset, factor * self.covariance + offset, angle)


@dataclass(frozen=True)
class ZonalKernel:
    """A kernel of a dense network on the sphere of a given radius in R^d.

    Parameters
    ----------
    kernel : DenseKernel
        The kernel.
    dimension : int
        d, at least 2.
    radius : float, optional
        The norm of all points.

    Raises
    ------
    InputError
        If the dimension or the radius is out of range.
    UnsupportedError
        If the activation has no analytic continuation here.

    Notes
    -----
    Piecewise linear activations λz + μ|z|: with φ the angle of the pre-activations and m = μ²/(λ² + μ²), the next one has
    sin(φ'/2) = (φ/2)√r(φ), where r(φ) = sinc²(φ/2) - (4mφ/3π)·₀F₁(; 5/2; -φ²/4) is entire and 1 at 0. On (0, π] it is
    positive and the half sine below 1 if m < 1, so φ' is analytic in φ around [0, π], and so is everything made of it.
    """

    kernel: DenseKernel
    dimension: int
    radius: float = 1.0

    def __post_init__(self) -> None:
        if isinstance(self.dimension, bool) or not isinstance(self.dimension, int) or self.dimension < 2:
            raise InputError(f"dimension: found {self.dimension!r:.60}; an integer of at least 2 is accepted")
        if not 0 < float(self.radius) < float("inf"):
            raise InputError(f"radius: found {self.radius!r:.60}; a positive finite number is accepted")
        _layer(self.kernel.activation)

    def __call__(self, angle: Complex) -> Complex:
        """Evaluate the kernel at an angle.

        Parameters
        ----------
        angle : acb
            θ, a ball that may reach outside of [0, π].
        Returns
        -------
        acb
            k(x, z) for ∠(x, z) = θ and ‖x‖ = ‖z‖ = radius, or its continuation. If it is finite, the kernel is analytic on
            the whole ball: no inner function meets a branch cut there.
        """
        # constants of the recursion at the working precision, which may have changed since the last call
        recursion = self.kernel.recursion(np.full((1, self.dimension), flint.arb(1), dtype=object))
        layer, depth = _layer(self.kernel.activation), self.kernel.depth
        square = flint.arb(self.radius) ** 2
        cosine = _cosine(angle)
        state = _State(square, square * cosine, angle).affine(recursion.input_variance, recursion.bias_variance)
        theta = recursion.input_gain * square * cosine + recursion.bias_gain
        for index in range(depth):
            state, slopes = layer(state, index + 1 < depth)
            activated = state.covariance
            theta = recursion.gain * activated + recursion.bias_gain + recursion.weight_variance * theta * slopes
            state = state.affine(recursion.weight_variance, recursion.bias_variance)
        value: Complex = theta if recursion.tangent else state.covariance
        return value if value.is_finite() else flint.acb("nan")


def _around_middle(function: Callable[[Complex], Complex], argument: Complex, derivative: Complex) -> Complex:
    """A function on a ball by the mean value theorem, from its value at the midpoint and a ball of its derivative;
    evaluated on the ball itself, it would lose most digits to the dependency of its terms."""
    middle = argument.mid()
    value: Complex = function(middle) + derivative * (argument - middle)
    return value


def _cosine(angle: Complex) -> Complex:
    return _around_middle(lambda middle: middle.cos(), angle, -angle.sin())


def _centred(bound: Any) -> Complex:
    error = flint.arb(0, bound.abs_upper())
    return flint.acb(error, error)


def _square_root(number: Complex) -> Complex:
    """The principal root, not finite where the ball meets the branch cut."""
    if number.imag.contains(0) and not number.real > 0:
        return flint.acb("nan")
    return _around_middle(lambda middle: middle.sqrt(), number, _centred(1 / (2 * number.abs_lower().sqrt())))


def _twice_arcsine(half_sine: Complex) -> Complex:
    """2 arcsin, not finite where the ball meets a branch cut."""
    if half_sine.imag.contains(0) and not abs(half_sine.real) < 1:
        return flint.acb("nan")
    return _around_middle(lambda middle: 2 * middle.asin(), half_sine, 2 / _square_root(1 - half_sine * half_sine))


def _spherical_bessel(angle: Complex) -> Complex:
    """₀F₁(; 5/2; -φ²/4) = 3(sin φ - φ cos φ)/φ³."""
    return (-angle * angle / 4).hypgeom_0f1(flint.acb(5) / 2)


def _chord(angle: Complex, growth: Any) -> Complex:
    """sinc(φ/2), whose derivative ¼ ∫ it·e^{iφt/2} dt over [-1, 1] is at most e^{|Im φ|}/4."""
    return _around_middle(lambda z: (z / 2).sinc(), angle, _centred(growth / 4))


def _bessel(angle: Complex, growth: Any) -> Complex:
    """₀F₁(; 5/2; -φ²/4) = 3(sin φ - φ cos φ)/φ³ = ¾ ∫ (1 - t²) e^{iφt} dt over [-1, 1]."""
    return _around_middle(lambda z: (-z * z / 4).hypgeom_0f1(flint.acb(5) / 2), angle, _centred(growth * 3 / 8))


def _next_angle(angle: Complex, share: Any) -> Complex:
    """The angle φ' behind a piecewise linear layer, with share = m."""

    def factors(point: Complex) -> tuple[Complex, Complex, Complex]:
        growth = abs(point.imag).exp()
        chord = _chord(point, growth)
        root = _square_root(chord * chord - point * _bessel(point, growth) * 4 * share / (3 * pi))
        return chord, root, point / 2 * root

    pi = flint.arb.pi()
    chord, root, half_sine = factors(angle)
    if half_sine.imag.contains(0) and not abs(half_sine.real) < 1:
        return flint.acb("nan")
    # sin φ / sin φ', without the zeros of both
    sines = chord * (angle / 2).cos() / (root * _square_root(1 - half_sine * half_sine))
    return _around_middle(lambda z: 2 * factors(z)[2].asin(), angle, (1 - 2 * share * angle / pi) * sines)


def _piecewise_linear(slope: float, state: _State, continued: bool) -> tuple[_State, Complex]:
    pi, angle = flint.arb.pi(), state.angle
    odd, even = ((1 + flint.arb(slope)) / 2) ** 2, ((1 - flint.arb(slope)) / 2) ** 2
    excess = angle**3 * _bessel(angle, abs(angle.imag).exp()) * 2 / (3 * pi)
    covariance = (odd + even) * state.covariance + even * state.variance * excess
    if slope != 1:
        angle = _next_angle(angle, even / (odd + even)) if continued else None
    return _State((odd + even) * state.variance, covariance, angle), odd + even * (1 - 2 * state.angle / pi)


def _erf(state: _State, continued: bool) -> tuple[_State, Complex]:
    pi, covariance, largest = flint.arb.pi(), state.covariance, 1 + 2 * state.variance
    slopes = 4 / (pi * _square_root(largest - 2 * covariance) * _square_root(largest + 2 * covariance))
    variance = 2 * (2 * state.variance / largest).asin() / pi
    return _State(variance, _twice_arcsine(2 * covariance / largest) / pi), slopes


def _layer(activation: str | Activation) -> Layer:
    match activation:
        case ReLU():
            return partial(_piecewise_linear, 0.0)
        case LeakyReLU() as leaky:
            return partial(_piecewise_linear, leaky.negative_slope)
        case Identity():
            return partial(_piecewise_linear, 1.0)
        case Erf():
            return _erf
    name = activation if isinstance(activation, str) else activation.type
    raise UnsupportedError(
        f"activation: {name} has no analytic continuation here; relu, leaky_relu, identity and erf have one"
    )
