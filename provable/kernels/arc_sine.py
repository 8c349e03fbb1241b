"""Duals of the two activations made of the Gaussian distribution function: erf and GELU.

References
----------
.. [1] C. K. I. Williams, Computing with infinite networks, NeurIPS 1996: the arc-sine kernel, for erf.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array, Float
from provable.kernels.covariances import Covariance, each, of_values
from provable.kernels.dual_activations import Dual, FirstPartials, SecondPartials, pi


@dataclass(frozen=True)
class ErrorFunction:
    """erf(z) = (2/√π) ∫₀ᶻ exp(-t²) dt."""

    @property
    def differentiable_at_zero(self) -> bool:
        """Whether K is differentiable in an input where its variance p vanishes: yes."""
        return True

    def __call__(self, covariance: Covariance) -> Dual:
        """Take the expectations.

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
        D = (1 + 2p)(1 + 2q) - 4S² = 1 + 2(p + q) + 4(pq - S²) is a sum of nonnegative numbers, and the arc sine is
        arctan(2S/√D), which is smooth everywhere.
        """
        root = np.asarray(arithmetic.sqrt(_of_pairs(covariance, 2)))
        left, right = (self._variance(variances) for variances in (covariance.left, covariance.right))
        value = 2 * _arctangent(2 * covariance.value / root) / pi(root)
        activated = of_values(value, left, right, covariance.same)
        return Dual(activated, 4 / (pi(root) * root))

    def _variance(self, p: Array) -> Array:
        return np.asarray(2 * _arctangent(2 * p / np.asarray(arithmetic.sqrt(1 + 4 * p))) / pi(p))

    def first_partials(self, p: Float, q: Float, value: Float, gap: Float) -> FirstPartials:
        """Differentiate the expectations.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        FirstPartials
            With P = 1 + 2p and D: ∂K/∂p = -(4/π)S/(P√D), the others by differentiating D.
        """
        P, Q, inverse = 1 + 2 * p, 1 + 2 * q, 1 / _excess(p, q, gap, 2)
        slopes = 4 / np.pi * np.sqrt(inverse)
        return FirstPartials(
            slopes=slopes,
            value_p=-slopes * value / P,
            slopes_s=4 * slopes * value * inverse,
            slopes_p=-slopes * Q * inverse,
        )

    def second_partials(self, p: Float, q: Float, value: Float, gap: Float) -> SecondPartials:
        """Differentiate the expectations twice.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        SecondPartials
            By differentiating those of first order.
        """
        P, Q, inverse = 1 + 2 * p, 1 + 2 * q, 1 / _excess(p, q, gap, 2)
        slopes = 4 / np.pi * np.sqrt(inverse)
        return SecondPartials(
            value_pp=slopes * value / P * (2 / P + Q * inverse),
            slopes_ss=4 * slopes * inverse * (1 + 12 * value * value * inverse),
            slopes_sp=-12 * slopes * value * Q * inverse * inverse,
            slopes_pp=3 * slopes * Q * Q * inverse * inverse,
        )


@dataclass(frozen=True)
class GaussianGate:
    """GELU, z·P(N(0, 1) ≤ z), with the exact Gaussian distribution function.

    Notes
    -----
    Let P = 1 + p, Q = 1 + q, D = PQ - S² and F = E[Φ(a)Φ(b)] = ¼ + arcsin(S/√(PQ))/(2π). Integrating by parts twice gives
    K = S·F + [pq - S² + S²/P + S²/Q]/(2π√D) and K̇ = F + S[1/P + 1/Q + 1/D]/(2π√D); on the diagonal, where p = q = S,
    K = p·F + p²/(π(1 + p)√(1 + 2p)).
    """

    @property
    def differentiable_at_zero(self) -> bool:
        """Whether K is differentiable in an input where its variance p vanishes: yes."""
        return True

    def __call__(self, covariance: Covariance) -> Dual:
        """Take the expectations.

        Parameters
        ----------
        covariance : Covariance
            Of the pre-activations: variances p and q, covariance S.

        Returns
        -------
        Dual
            K and K̇ of the class's notes.
        """
        p, q, value = 1 + covariance.left[:, None], 1 + covariance.right[None, :], covariance.value
        excess = _of_pairs(covariance, 1)
        root = np.asarray(arithmetic.sqrt(excess))
        twice_pi = 2 * pi(root)
        gate = _quarter(root) + _arctangent(value / root) / twice_pi
        spread = covariance.gap + value * value * (1 / p + 1 / q)
        left, right = (self._variance(variances) for variances in (covariance.left, covariance.right))
        activated = of_values(value * gate + spread / (twice_pi * root), left, right, covariance.same)
        return Dual(activated, gate + value * (1 / p + 1 / q + 1 / excess) / (twice_pi * root))

    def _variance(self, p: Array) -> Array:
        root = np.asarray(arithmetic.sqrt(1 + 2 * p))
        gate = _quarter(p) + _arctangent(p / root) / (2 * pi(p))
        return np.asarray(p * gate + p * p / ((1 + p) * root * pi(p)))

    def first_partials(self, p: Float, q: Float, value: Float, gap: Float) -> FirstPartials:
        """Differentiate the expectations.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        FirstPartials
            Rational functions of P, Q, S and √D, and F; with c = 1/P + 1/Q, 2πK = 2πSF + 1/√D + (1 - c)√D.
        """
        S, P, Q, D = value, 1 + p, 1 + q, _excess(p, q, gap, 1)
        # 1/(2π√D) and its quotients by D
        first = 1 / np.sqrt(D) / (2 * np.pi)
        third, fifth = first / D, first / D**2
        c = 1 / P + 1 / Q
        gate = 0.25 + np.arctan2(S, np.sqrt(D)) / (2 * np.pi)
        return FirstPartials(
            slopes=gate + S * (first * c + third),
            value_p=first * D * (0.5 + 1 / P) / P - 0.5 * Q * (c * first + third),
            slopes_s=(1 + c) * first + (1 + c * S * S) * third + 3 * S * S * fifth,
            slopes_p=-S * (first * (0.5 + 1 / P) / P + 0.5 * Q * (c * third + 3 * fifth)),
        )

    def second_partials(self, p: Float, q: Float, value: Float, gap: Float) -> SecondPartials:
        """Differentiate the expectations twice.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        SecondPartials
            By differentiating those of first order.
        """
        S, P, Q, D = value, 1 + p, 1 + q, _excess(p, q, gap, 1)
        first = 1 / np.sqrt(D) / (2 * np.pi)
        third, fifth, seventh = first / D, first / D**2, first / D**3
        c = 1 / P + 1 / Q
        of_variance = (0.5 + 2 / P) / P
        return SecondPartials(
            value_pp=(0.5 * Q * first - first * D / P) * of_variance + 0.25 * Q * Q * (c * third + 3 * fifth),
            slopes_ss=S * ((1 + 3 * c) * third + (9 + 3 * c * S * S) * fifth + 15 * S * S * seventh),
            slopes_sp=-(first + S * S * third) / P**2
            - Q * (0.5 * (1 + c) * third + 1.5 * (1 + c * S * S) * fifth + 7.5 * S * S * seventh),
            slopes_pp=S
            * (first * of_variance / P + Q * third * (0.25 + 1 / P) / P + Q * Q * (0.75 * c * fifth + 3.75 * seventh)),
        )


def _of_pairs(covariance: Covariance, factor: int) -> Any:
    return _excess(covariance.left[:, None], covariance.right[None, :], covariance.gap, factor)


def _excess(p: Array, q: Array, gap: Array, factor: int) -> Any:
    """(1 + fp)(1 + fq) - f²S², a sum of nonnegative numbers."""
    return 1 + factor * (p + q) + factor * factor * gap


def _quarter(like: Array) -> Any:
    return arithmetic.constant(0.25, like)


def _arctangent(numbers: Array) -> Array:
    if arithmetic.kind(numbers) == "float64":
        angle: Array = np.arctan(numbers)
        return angle
    return each(lambda ball: ball.atan(), numbers)
