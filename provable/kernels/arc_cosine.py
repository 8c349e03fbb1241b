"""Dual of the piecewise linear activations with one kink: ReLU, leaky ReLU with any slope, absolute value, identity.

References
----------
.. [1] Y. Cho, L. K. Saul, Kernel methods for deep learning, NeurIPS 2009: the arc-cosine kernels, for ReLU.
"""

from __future__ import annotations

from dataclasses import dataclass

import flint
import numpy as np

from provable import arithmetic
from provable.arithmetic import EPSILON, Array, Float
from provable.kernels.covariances import Covariance, each, nonnegative
from provable.kernels.dual_activations import Dual, FirstPartials, SecondPartials, pi


@dataclass(frozen=True)
class PiecewiseLinear:
    """z for z > 0 and slope · z otherwise.

    Parameters
    ----------
    negative_slope : float
        Any real number: 0 is ReLU, 1 the identity, -1 the absolute value.

    Notes
    -----
    With λ = (1 + slope)/2 and μ = (1 - slope)/2 the activation is λz + μ|z|, an odd and an even part, so that
    K = λ²S + μ²E|ab| and K̇ = λ² + μ²E[sign(a) sign(b)]. With θ = arccos u, E|ab| = √(pq)[1 - b + (2/π)(sin θ - θ cos θ)]
    with b = 1 - u, and E[sign(a) sign(b)] = 1 - 2θ/π. For λ = μ = ½ these are the arc-cosine kernels ½√(pq)κ₁ and ½κ₀ [1]_.

    1 - u of the next layer is the mean of 1 - u and of its counterpart for |z|, weighted by λ² and μ². The latter is
    (1 - |u|) - (2/π)(sin φ - φ cos φ) with φ = arccos|u| from both small numbers, φ = 2 arctan(√((1 - |u|)/(1 + |u|))). As
    it is of the order φ² and its terms are wrong by a rounding error of φ, the angle of the next layer is accurate to a
    rounding error, however close two points are.

    References
    ----------
    .. [1] Y. Cho, L. K. Saul, Kernel methods for deep learning, NeurIPS 2009.
    """

    negative_slope: float

    @property
    def differentiable_at_zero(self) -> bool:
        """Whether K is differentiable in an input where its variance p vanishes: only for the identity."""
        return self.negative_slope == 1.0

    def _squares(self, like: Array) -> tuple[float, float]:
        """λ² and μ²."""
        slope = arithmetic.constant(self.negative_slope, like)
        return ((1 + slope) / 2) ** 2, ((1 - slope) / 2) ** 2

    def __call__(self, covariance: Covariance) -> Dual:
        """Take the expectations.

        Parameters
        ----------
        covariance : Covariance
            Of the pre-activations: variances p and q, correlation u.

        Returns
        -------
        Dual
            (λ² + μ²)√(pq)·u' and λ² + μ²(1 - 2θ/π).
        """
        # a ball with an open sign of u keeps u: all formulas for |z| hold for angles up to π
        negative = np.asarray(covariance.above_minus_one < covariance.below_one, dtype=np.bool_)
        folded = covariance.folded(negative)
        near, far = folded.below_one, folded.above_minus_one
        sign = arithmetic.full(near.shape, 1, near)
        sign[negative] = -sign[negative]
        odd, even = self._squares(near)
        total = odd + even
        angle = _angle(near, far)
        distance = nonnegative(near - 2 * _sine_excess(angle, near, far) / pi(near))
        below = (odd * covariance.below_one + even * distance) / total
        above = (odd * covariance.above_minus_one + even * (2 - distance)) / total
        slopes = odd + even * sign * (1 - 2 * angle / pi(near))
        left, right = total * covariance.left, total * covariance.right
        below = covariance.with_diagonal(below, arithmetic.full(left.shape, 0, left))
        above = covariance.with_diagonal(above, arithmetic.full(left.shape, 2, left))
        slopes = covariance.with_diagonal(slopes, arithmetic.full(left.shape, 1, left) * total)
        return Dual(Covariance(left, right, below, above, covariance.same), slopes)

    def first_partials(self, p: Float, q: Float, value: Float, gap: Float) -> FirstPartials:
        """Differentiate the expectations.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        FirstPartials
            With D = pq - S², E|ab| = (2/π)[√D + S(π/2 - θ)] has the derivatives √D/(πp) by p and (2/π)(π/2 - θ) by S,
            and the latter 2/(π√D) by S and -S/(πp√D) by p. Where D = 0 the terms with √D in a denominator are left out.
        """
        odd, even = self._squares(p)
        p, root, inverse = _positive(p), np.sqrt(gap), _inverse_root(gap, p * q)
        return FirstPartials(
            slopes=odd + even * (1 - 2 * np.arctan2(root, value) / np.pi),
            value_p=even / np.pi * root / p,
            slopes_s=even / np.pi * 2 * inverse,
            slopes_p=-even / np.pi * value * inverse / p,
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
            By differentiating those of first order, with the same convention where D = 0.
        """
        even = self._squares(p)[1] / np.pi
        p, root, inverse = _positive(p), np.sqrt(gap), _inverse_root(gap, p * q)
        cube = inverse * inverse * inverse
        return SecondPartials(
            value_pp=even * (q * inverse / 2 - root / p) / p,
            slopes_ss=2 * even * value * cube,
            slopes_sp=-even * q * cube,
            slopes_pp=even * value * (inverse / p + q * cube / 2) / p,
        )


def _positive(p: Float) -> Float:
    # at p = 0 only the identity is differentiable, and its derivatives by p vanish
    return np.where(p > 0, p, 1.0)


def _inverse_root(gap: Float, product: Float) -> Float:
    """1/√(pq - S²), and 0 where the angle is no more than rounding."""
    root = np.sqrt(gap)
    return np.divide(1.0, root, out=np.zeros_like(root), where=root > 8 * EPSILON * np.sqrt(product))


def _angle(below: Array, above: Array) -> Array:
    """The angle θ in [0, π] with 1 - cos θ and 1 + cos θ given."""
    sine, cosine = arithmetic.sqrt(nonnegative(below)), arithmetic.sqrt(nonnegative(above))
    if arithmetic.kind(below) == "float64":
        angle: Array = 2 * np.arctan2(sine, cosine)
        return angle
    return each(lambda s, c: 2 * flint.arb.atan2(s, c), sine, cosine)


def _sine_excess(angle: Array, near: Array, far: Array) -> Array:
    """sin θ - θ cos θ, with near = 1 - cos θ and far = 1 + cos θ."""
    if arithmetic.kind(angle) == "float64":
        excess: Array = angle * near - (angle - np.sqrt(near * far))
        return excess
    # θ³/3 · ₀F₁(; 5/2; -θ²/4): differences of balls would widen by 1/θ in every layer
    return each(lambda t: t * t * t / 3 * (-t * t / 4).hypgeom_0f1(flint.arb(5) / 2), angle)
