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
from provable.kernels.covariances import Covariance, each, of_distances, of_values
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
        slopes = 4 / (pi(root) * root)
        if arithmetic.kind(root) == "ball":
            value = 2 * _arctangent(2 * covariance.value / root) / pi(root)
            return Dual(of_values(value, left, right, covariance.same), slopes)
        # erf is odd: what is true near u = 1 is true near u = -1
        negative = covariance.above_minus_one < covariance.below_one
        near = self._near_one(covariance.folded(negative), left, right)
        below, above = np.where(negative, 2 - near, near), np.where(negative, near, 2 - near)
        return Dual(of_distances(below, above, left, right, covariance.same), slopes)

    def _near_one(self, covariance: Covariance, left: Float, right: Float) -> Float:
        """1 - u of the next layer for u ≥ 0, from [V(p) + V(q)]/2 - K = ½E(σ(a) - σ(b))² as a sum of differences."""
        gaps, between = _Arctangents.of(covariance, 2).differences()
        roots, other_roots = np.sqrt(left)[:, None], np.sqrt(right)[None, :]
        norm = roots * other_roots
        safe = norm + (norm == 0)
        radial = 2 / np.pi * between / (roots + other_roots + (norm == 0))
        by_distance = ((gaps[0] + gaps[1]) / np.pi - radial * radial / 2) / safe
        # where the lengths differ, their difference is no small part of the distance
        root = np.sqrt(_of_pairs(covariance, 2))
        plain = 1 - 2 / np.pi * np.arctan2(2 * covariance.value, root) / safe
        comparable = (roots <= 2 * other_roots) & (other_roots <= 2 * roots)
        near: Float = np.where(comparable, by_distance, plain)
        return near

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
        slopes = gate + value * (1 / p + 1 / q + 1 / excess) / (twice_pi * root)
        if arithmetic.kind(root) == "ball":
            activated = of_values(value * gate + spread / (twice_pi * root), left, right, covariance.same)
        else:
            below = self._below_one(covariance, gate)
            activated = of_distances(below, 2 - below, left, right, covariance.same)
        return Dual(activated, slopes)

    def _below_one(self, covariance: Covariance, gate: Float) -> Float:
        """1 - u of the next layer, from the half mean square distance between σ(a)/√p and σ(b)/√q.

        With f_p = E σ(a)²/p = F_p + g_p that is (f_p + f_q)/2 - K/√(pq). For large p and q, where rounding would matter, g is
        small beside the terms with F, which are differences.
        """
        p, q = covariance.left[:, None], covariance.right[None, :]
        gaps, between = _Arctangents.of(covariance, 1).differences()
        ours, theirs, root = np.sqrt(1 + 2 * p), np.sqrt(1 + 2 * q), np.sqrt(_of_pairs(covariance, 1))
        own, other = 2 * p / ((1 + p) * ours), 2 * q / ((1 + q) * theirs)
        angles = covariance.below_one * covariance.above_minus_one
        u = covariance.correlation
        mixed = covariance.scale * (angles + u * u * (1 / (1 + p) + 1 / (1 + q))) / root
        half = ((gaps[0] + gaps[1]) + (own + other) - 2 * mixed) / (4 * np.pi) + covariance.below_one * gate
        lengths = [0.25 + (np.arctan(v / w) + g) / (2 * np.pi) for v, w, g in ((p, ours, own), (q, theirs, other))]
        radial = (between + (own - other)) / (2 * np.pi) / (np.sqrt(lengths[0]) + np.sqrt(lengths[1]))
        below: Float = (half - radial * radial / 2) / np.sqrt(lengths[0] * lengths[1])
        return below

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


@dataclass(frozen=True, eq=False)
class _Arctangents:
    """The angles A_p = arctan(x) of the variances and A = arctan(y) of the pairs, with y = fS/√D and D of `_excess`.

    On the diagonal x = fp/√(1 + 2fp), so that A_p - A vanishes where two points meet.
    """

    p: Float
    q: Float
    value: Float
    gap: Float
    root: Float

    @classmethod
    def of(cls, covariance: Covariance, factor: int) -> _Arctangents:
        p, q = factor * covariance.left[:, None], factor * covariance.right[None, :]
        gap = factor * factor * covariance.gap
        return cls(p, q, factor * covariance.value, gap, np.sqrt(1 + (p + q) + gap))

    def differences(self) -> tuple[tuple[Float, Float], Float]:
        """(A_p - A, A_q - A) and A_p - A_q.

        x² - y² = (1 + p)[p(p - q) + (1 + p)(pq - S²)]/(D(1 + 2p)) and x_p² - x_q² = (p - q)(p + q + 2pq)/((1 + 2p)(1 + 2q)),
        with the factor f in p, q and S.
        """
        p, q = self.p, self.q
        x, z, y = p / np.sqrt(1 + 2 * p), q / np.sqrt(1 + 2 * q), self.value / self.root
        squares = (p - q) * (p + q + 2 * p * q) / ((1 + 2 * p) * (1 + 2 * q))
        between = np.arctan2(squares, (x + z + (x + z == 0)) * (1 + x * z))
        return (self._gap(p, q, x, y), self._gap(q, p, z, y)), between

    def _gap(self, p: Float, q: Float, x: Float, y: Float) -> Float:
        squares = (1 + p) * (p * (p - q) + (1 + p) * self.gap) / (self.root * self.root * (1 + 2 * p))
        total = x + y
        acute = y > 0
        difference = np.where(acute, squares / np.where(acute, total, 1.0), x - y)
        angle: Float = np.arctan2(difference, 1 + x * y)
        return angle


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
