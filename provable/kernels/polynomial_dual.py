"""Dual of polynomial activations: a finite sum, in float64 and in balls."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.arithmetic import Array, Float
from provable.errors import InputError
from provable.kernels.covariances import Covariance, of_values
from provable.kernels.dual_activations import Dual, FirstPartials, SecondPartials

HIGHEST_DEGREE = 64
"""Beyond, the sums of factorials leave the range of float64."""


@dataclass(frozen=True)
class PolynomialDual:
    """The dual of z ↦ Σ_n a_n zⁿ.

    Parameters
    ----------
    coefficients : tuple of float
        a_n, lowest degree first.

    Raises
    ------
    InputError
        If the degree is too high.

    Notes
    -----
    E[f(a)g(b)] = Σ_k E f⁽ᵏ⁾(a) E g⁽ᵏ⁾(b) S^k/k! (Mehler's formula after Stein's) with E aⁿ = (n - 1)!! p^{n/2} for even n,
    and 0 for odd n. Where terms of both signs cancel, digits are lost; 1 - u is known to rounding only.
    """

    coefficients: tuple[float, ...]

    def __post_init__(self) -> None:
        degree = len(self.coefficients) - 1
        if degree > HIGHEST_DEGREE:
            raise InputError(
                f"polynomial: found degree {degree}; kernels of degrees up to {HIGHEST_DEGREE} are accepted"
            )

    @property
    def differentiable_at_zero(self) -> bool:
        """Whether K is differentiable in an input where its variance p vanishes: yes."""
        return True

    def __call__(self, covariance: Covariance) -> Dual:
        """Take the expectations.

        Parameters
        ----------
        covariance : Covariance
            Of the pre-activations.

        Returns
        -------
        Dual
            K and K̇.

        Raises
        ------
        InputError
            If a number overflows.
        """
        p, q, value = covariance.left, covariance.right, covariance.value
        left, right = self._mean(0, 0, p, p, p), self._mean(0, 0, q, q, q)
        activated = of_values(self._mean(0, 0, p[:, None], q[None, :], value), left, right, covariance.same)
        return Dual(activated, self._mean(1, 1, p[:, None], q[None, :], value))

    def first_partials(self, p: Float, q: Float, value: Float, gap: Float) -> FirstPartials:
        """Differentiate the expectations.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        FirstPartials
            Each is the expectation of a product of two derivatives of the activation.
        """
        return FirstPartials(
            slopes=self._mean(1, 1, p, q, value),
            value_p=self._mean(2, 0, p, q, value) / 2,
            slopes_s=self._mean(2, 2, p, q, value),
            slopes_p=self._mean(3, 1, p, q, value) / 2,
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
            Each is the expectation of a product of two derivatives of the activation.
        """
        return SecondPartials(
            value_pp=self._mean(4, 0, p, q, value) / 4,
            slopes_ss=self._mean(3, 3, p, q, value),
            slopes_sp=self._mean(4, 2, p, q, value) / 2,
            slopes_pp=self._mean(5, 1, p, q, value) / 4,
        )

    def _mean(self, first: int, second: int, p: Array, q: Array, value: Array) -> Array:
        """E[σ⁽ⁱ⁾(a)σ⁽ʲ⁾(b)]."""
        total = 0 * (p * q * value)
        with np.errstate(over="ignore", invalid="ignore"):
            for k in reversed(range(max(0, len(self.coefficients) - max(first, second)))):
                means = self._derivative_mean(first + k, p) * self._derivative_mean(second + k, q)
                total = total * value / (k + 1) + means
        if arithmetic.kind(total) == "float64" and not np.isfinite(total).all():
            raise InputError(
                f"polynomial: found degree {len(self.coefficients) - 1} with variances up to {p.max(initial=0.0):.3g}, whose "
                "kernel overflows; smaller ones are accepted"
            )
        return np.asarray(total)

    def _derivative_mean(self, order: int, p: Array) -> Array:
        """E σ⁽ⁱ⁾(√p Z)."""
        total: Any = 0 * p
        for n in reversed(range(order, len(self.coefficients))):
            if (n - order) % 2 == 0:
                factor = math.perm(n, order) * math.prod(range(1, n - order, 2))
                total = total * p + arithmetic.constant(self.coefficients[n], p) * factor
        return np.asarray(total)
