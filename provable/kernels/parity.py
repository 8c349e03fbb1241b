"""Which harmonic degrees a kernel of a dense network has on the sphere, decided from the parities of its activation.

With the angle between two points of a sphere given by t = cos θ, every kernel of a dense network is a power series in t with
nonnegative coefficients. The eigenvalue of degree ℓ is positive if and only if some power n ≥ ℓ with n - ℓ even occurs in it
[1]_. So two numbers say which degrees occur: the largest even and the largest odd power, possibly infinite. Both follow from
the activation alone, by the rules for sums, products and compositions of such series.

References
----------
.. [1] I. J. Schoenberg, Positive definite functions on spheres, Duke Math. J. 9 (1942).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from provable.architectures.activations import (
    ELU,
    GELU,
    Activation,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.errors import InputError, UnsupportedError
from provable.kernels.dense import DenseKernel

ABSENT = -1.0
"""Stands for the largest power of a series that has none."""


@dataclass(frozen=True)
class Degrees:
    """The degrees up to the largest even one and up to the largest odd one.

    Attributes
    ----------
    even : float
        The largest even degree; -1 if there is none, infinity if all occur.
    odd : float
        The largest odd degree, in the same way.
    """

    even: float
    odd: float

    def __contains__(self, degree: int) -> bool:
        """Tell whether a degree occurs.

        Parameters
        ----------
        degree : int
            ℓ ≥ 0.

        Returns
        -------
        bool
            Whether the eigenvalue of degree ℓ is positive; otherwise it is zero.
        """
        return degree <= (self.odd if degree % 2 else self.even)

    @property
    def all(self) -> bool:
        """Whether every degree occurs.

        Returns
        -------
        bool
            Then the kernel is strictly positive definite and universal on the sphere.
        """
        return self.even == math.inf and self.odd == math.inf

    def __or__(self, other: Degrees) -> Degrees:
        """The degrees of the sum of two series.

        Parameters
        ----------
        other : Degrees
            Of the other series.

        Returns
        -------
        Degrees
            The larger of both.
        """
        return Degrees(max(self.even, other.even), max(self.odd, other.odd))

    def __and__(self, other: Degrees) -> Degrees:
        """The degrees of the product of two series.

        Parameters
        ----------
        other : Degrees
            Of the other series.

        Returns
        -------
        Degrees
            Sums of degrees; nonnegative coefficients never cancel.
        """
        even = max(_plus(self.even, other.even), _plus(self.odd, other.odd))
        return Degrees(even, max(_plus(self.even, other.odd), _plus(self.odd, other.even)))

    def of(self, inner: Degrees) -> Degrees:
        """The degrees of this series taken at another one.

        Parameters
        ----------
        inner : Degrees
            Of the series put in, which is not zero.

        Returns
        -------
        Degrees
            The sum over the powers of the inner series that occur; two parities with infinitely many powers cover all of
            them as far as degrees go.
        """
        total, power = Degrees(ABSENT, ABSENT), Degrees(0, ABSENT)
        finite = [int(end) for end in (self.even, self.odd) if end != math.inf]
        # powers beyond the second repeat the parities of those two below, with larger degrees
        for exponent in range(max([*finite, 3]) + 1):
            if exponent in self:
                total = total | power
            power = power & inner
        if inner.even > 0 or inner.odd > 0:
            total = Degrees(*(_unbounded(self, inner, parity, total) for parity in (0, 1)))
        return total


LAYERS_UNTIL_STABLE = 4
"""Hidden layers after which nothing changes any more, except for the growing degrees of polynomials."""

CONSTANT = Degrees(0, ABSENT)
LINEAR = Degrees(ABSENT, 1)
ALL = Degrees(math.inf, math.inf)


def _plus(first: float, second: float) -> float:
    return first + second if first >= 0 and second >= 0 else ABSENT


def _unbounded(outer: Degrees, inner: Degrees, parity: int, bounded: Degrees) -> float:
    """The largest degree of one parity, infinite if the outer series has infinitely many powers that produce it."""
    so_far = bounded.odd if parity else bounded.even
    for end, exponents in ((outer.even, 0), (outer.odd, 1)):
        if end != math.inf:
            continue
        if inner.even >= 0 and inner.odd >= 0:
            return math.inf  # n factors, any number of which may be odd
        if (parity == 0) == (inner.odd < 0 or exponents == 0):
            return math.inf  # all factors of one parity
    return so_far


def parts(activation: Activation) -> Degrees:
    """The degrees of the even and of the odd part of an activation.

    Parameters
    ----------
    activation : Activation
        Its description.

    Returns
    -------
    Degrees
        -1 for a part that is zero, infinity for one that is no polynomial.

    Raises
    ------
    UnsupportedError
        If the activation is unknown here.

    Notes
    -----
    Leaky ReLU is (1 + s)/2·z + (1 - s)/2·|z|. Softplus, GELU and SiLU are z/2 plus an even function, the sigmoid is 1/2 plus
    an odd one, and ELU has a linear branch and an exponential one, whose halves are parts of both parities.
    """
    match activation:
        case ReLU() | Softplus() | GELU() | SiLU():
            return Degrees(math.inf, 1)
        case LeakyReLU() as leaky:
            even = math.inf if leaky.negative_slope != 1 else ABSENT
            return Degrees(even, 1 if leaky.negative_slope != -1 else ABSENT)
        case ELU() as elu:
            return ALL if elu.alpha != 0 else Degrees(math.inf, 1)
        case Erf() | Tanh():
            return Degrees(ABSENT, math.inf)
        case Sigmoid():
            return Degrees(0, math.inf)
        case Identity():
            return LINEAR
        case Polynomial() as polynomial:
            present = [power for power, number in enumerate(polynomial.coefficients) if number != 0]
            ends = ([ABSENT, *(power for power in present if power % 2 == parity)][-1] for parity in (0, 1))
            return Degrees(*ends)
    raise UnsupportedError(f"{activation.type}: the parities of its two parts are not known here")


def slope_parts(activation: Activation) -> Degrees:
    """The degrees of the even and of the odd part of the derivative of an activation.

    Parameters
    ----------
    activation : Activation
        Its description.

    Returns
    -------
    Degrees
        As `parts`: each part of the activation, differentiated, is the part of the other parity.
    """
    own = parts(activation)
    return Degrees(own.odd - 1 if own.odd > 0 else ABSENT, own.even - 1 if own.even > 0 else ABSENT)


def positive_degrees(kernel: DenseKernel) -> Degrees:
    """The degrees of a kernel on a sphere around the origin, whatever its radius and dimension.

    Parameters
    ----------
    kernel : DenseKernel
        Any activation that `parts` knows.

    Returns
    -------
    Degrees
        Those with positive eigenvalues; all others are exactly zero.

    Raises
    ------
    InputError
        If the activation is zero everywhere.
    UnsupportedError
        If its parities are unknown.

    Notes
    -----
    E[σ(a)σ(b)] = Σ_n h_n² uⁿ with h_n the coefficients of σ(√p·) in normalised Hermite polynomials; its even part gives the
    even powers, infinitely many of them if it is no polynomial and up to its degree otherwise. The recursion over the layers
    takes sums, products and compositions of such series.
    """
    description = kernel.activation
    assert isinstance(description, Activation)
    values, slopes = parts(description), slope_parts(description)
    if values == Degrees(ABSENT, ABSENT):
        raise InputError("activation: found a polynomial that is zero everywhere; any other activation is accepted")
    offset = CONSTANT if kernel.biases == "random" else Degrees(ABSENT, ABSENT)
    trained = CONSTANT if kernel.biases != "absent" else offset
    covariance, theta = LINEAR | offset, LINEAR | trained
    finite = isinstance(description, Polynomial)
    for _ in range(kernel.depth if finite else min(kernel.depth, LAYERS_UNTIL_STABLE)):
        activated = values.of(covariance)
        theta = activated | trained | (theta & slopes.of(covariance))
        covariance = activated | offset
    return theta if kernel.tangent else covariance
