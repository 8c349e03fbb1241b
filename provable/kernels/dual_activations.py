"""What the layer recursion of a kernel asks of an activation: expectations over Gaussian pairs, and their derivatives."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Protocol

import flint

from provable import arithmetic
from provable.arithmetic import Array, Float
from provable.kernels.covariances import Covariance


@dataclass(frozen=True, eq=False)
class Dual:
    """Expectations over a Gaussian pair (a, b) with a given covariance.

    Attributes
    ----------
    covariance : Covariance
        K = E[σ(a)σ(b)].
    slopes : ndarray of shape (n, m)
        K̇ = E[σ'(a)σ'(b)].
    """

    covariance: Covariance
    slopes: Array


@dataclass(frozen=True, eq=False)
class FirstPartials:
    """First partial derivatives of K and K̇ as functions of p = Var a and S = Cov(a, b), with q = Var b fixed, in float64.

    Attributes
    ----------
    slopes : ndarray
        ∂K/∂S = K̇ (Price's theorem).
    value_p : ndarray
        ∂K/∂p = ½E[σ''(a)σ(b)], because Gaussian densities solve the heat equation.
    slopes_s, slopes_p : ndarray
        ∂K̇/∂S and ∂K̇/∂p.

    Notes
    -----
    Where the pair is degenerate (pq = S²) and σ has a kink, ∂K̇/∂S and ∂K̇/∂p are infinite; infinite terms are left out.
    """

    slopes: Float
    value_p: Float
    slopes_s: Float
    slopes_p: Float


@dataclass(frozen=True, eq=False)
class SecondPartials:
    """The second partial derivatives that `FirstPartials` lacks; ∂²K/∂S² = ∂K̇/∂S, ∂²K/∂S∂p = ∂K̇/∂p and ∂²K/∂p∂q = ¼∂²K/∂S².

    Attributes
    ----------
    value_pp : ndarray
        ∂²K/∂p².
    slopes_ss, slopes_sp, slopes_pp : ndarray
        ∂²K̇/∂S², ∂²K̇/∂S∂p and ∂²K̇/∂p².
    """

    value_pp: Float
    slopes_ss: Float
    slopes_sp: Float
    slopes_pp: Float


class DualActivation(Protocol):
    """What a layer recursion needs to know of an activation."""

    @property
    def differentiable_at_zero(self) -> bool:
        """Whether K is differentiable in an input where its variance p vanishes."""
        ...

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

    def first_partials(self, p: Float, q: Float, value: Float, gap: Float) -> FirstPartials:
        """Differentiate the expectations.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        FirstPartials
            Arrays of the common shape.
        """
        ...

    def second_partials(self, p: Float, q: Float, value: Float, gap: Float) -> SecondPartials:
        """Differentiate the expectations twice.

        Parameters
        ----------
        p, q, value, gap : ndarray
            Var a, Var b, S = Cov(a, b) and pq - S², of shapes that broadcast.

        Returns
        -------
        SecondPartials
            Arrays of the common shape.
        """
        ...


def pi(like: Array) -> Any:
    """The number π.

    Parameters
    ----------
    like : ndarray
        Floats or balls.

    Returns
    -------
    float or arb
        π in their arithmetic.
    """
    return flint.arb.pi() if arithmetic.kind(like) == "ball" else math.pi
