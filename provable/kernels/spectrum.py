"""Eigenvalues of kernels of dense networks on spheres, enclosed by the Funk-Hecke formula, and which of them are zero.

References
----------
.. [1] C. Müller, Spherical harmonics, 1966: the Funk-Hecke formula.
.. [2] L. N. Trefethen, Approximation theory and approximation practice, 2013, Theorem 19.3: the error of Gauss quadrature.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass

import flint
import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.kernels.dense import DenseKernel
from provable.kernels.parity import Degrees, positive_degrees
from provable.kernels.zonal import ZonalKernel

HIGHEST_DEGREE = 10_000
MOST_BOXES = 4000
"""Boxes that may cover the region of analyticity of a kernel."""

MOST_BITS = 8192
"""The highest working precision tried."""


@dataclass(frozen=True, eq=False)
class Spectrum:
    """Eigenvalues of a kernel on a sphere of R^d, with respect to the uniform probability measure.

    Attributes
    ----------
    dimension : int
        d; the sphere has dimension d - 1.
    radius : float
        Of the sphere.
    enclosures : tuple of arb
        A ball for the eigenvalue of every degree 0, 1, …; exactly zero where the eigenvalue is zero.
    multiplicities : tuple of int
        The dimensions of the spaces of harmonics.
    positive : Degrees
        Which degrees have a positive eigenvalue, by theorem.
    """

    dimension: int
    radius: float
    enclosures: tuple[flint.arb, ...]
    multiplicities: tuple[int, ...]
    positive: Degrees

    @property
    def eigenvalues(self) -> Float:
        """The eigenvalues in float64.

        Returns
        -------
        ndarray of shape (degrees,)
            Midpoints of the enclosures; smaller than 5e-324 gives 0.
        """
        return np.array([float(ball.mid()) for ball in self.enclosures])

    @property
    def vanishing(self) -> NDArray[np.bool_]:
        """Which of these degrees have the eigenvalue zero.

        Returns
        -------
        ndarray of bool, shape (degrees,)
            Decided by theorem, not by size.
        """
        return np.array([degree not in self.positive for degree in range(len(self.enclosures))])

    def to_json(self) -> str:
        """Write the spectrum as JSON.

        Returns
        -------
        str
            Eigenvalues in float64, bounds of their errors, multiplicities and vanishing degrees.
        """
        return json.dumps(
            {
                "dimension": self.dimension,
                "radius": self.radius,
                "eigenvalues": self.eigenvalues.tolist(),
                "errors": [
                    abs(float((ball - float(value)).abs_upper()))
                    for ball, value in zip(self.enclosures, self.eigenvalues, strict=True)
                ],
                "multiplicities": list(self.multiplicities),
                "vanishing": self.vanishing.tolist(),
                "universal_on_the_sphere": self.positive.all,
            }
        )


def multiplicity(dimension: int, degree: int) -> int:
    """The dimension of the space of spherical harmonics of one degree.

    Parameters
    ----------
    dimension : int
        d ≥ 2, of the space around the sphere.
    degree : int
        ℓ ≥ 0.

    Returns
    -------
    int
        C(ℓ+d-1, d-1) - C(ℓ+d-3, d-1): homogeneous polynomials of degree ℓ less those divisible by ‖x‖².
    """
    above = math.comb(degree + dimension - 1, dimension - 1)
    return above - (math.comb(degree + dimension - 3, dimension - 1) if degree >= 2 else 0)


def spectrum(
    kernel: DenseKernel, dimension: int, highest_degree: int, *, radius: float = 1.0, digits: int = 16
) -> Spectrum:
    """Enclose the eigenvalues of a kernel on the sphere ‖x‖ = radius of R^d.

    Parameters
    ----------
    kernel : DenseKernel
        With a piecewise linear activation or erf, any depth, biases and parametrisation.
    dimension : int
        d, at least 2.
    highest_degree : int
        The largest degree ℓ wanted.
    radius : float, optional
        The norm of the points.
    digits : int, optional
        Relative accuracy: every positive eigenvalue is enclosed to within 10⁻ᵈⁱᵍⁱᵗˢ of itself.

    Returns
    -------
    Spectrum
        Degrees 0 to ℓ.

    Raises
    ------
    InputError
        If a number is out of range.
    UnsupportedError
        If the activation has no analytic continuation here, or the kernel is so steep that no neighbourhood of analyticity
        was found.

    Notes
    -----
    Funk-Hecke [1]_: with P_ℓ the Gegenbauer polynomial of index (d-2)/2 scaled to P_ℓ(1) = 1,

        λ_ℓ = Γ(d/2)/(√π Γ((d-1)/2)) ∫₀^π g(θ) P_ℓ(cos θ) sin^{d-2} θ dθ.

    The integrand is analytic around [0, π] (`ZonalKernel`), so Gauss-Legendre quadrature with n nodes errs by at most
    (π/2)(64/15) M ρ^{-2n}/(1 - ρ^{-2}) [2]_, where M bounds it on the ellipse with foci 0 and π and half axes
    (π/4)(ρ ± 1/ρ). There |sin θ| ≤ cosh y and |P_ℓ(cos θ)| ≤ e^{ℓy} (Laplace's integral) with y the half height, and |g|
    is bounded by evaluating it on boxes that cover the ellipse.
    """
    for name, number, most in (("highest_degree", highest_degree, HIGHEST_DEGREE), ("digits", digits, 1000)):
        if isinstance(number, bool) or not isinstance(number, int) or not 0 <= number <= most:
            raise InputError(f"{name}: found {number!r:.60}; an integer from 0 to {most} is accepted")
    zonal = ZonalKernel(kernel, dimension, radius)
    positive = positive_degrees(kernel)
    wanted = [degree for degree in range(highest_degree + 1) if degree in positive]
    ellipse = _ellipse(zonal)
    tolerance = flint.arb(10) ** -digits
    bits = 128 + 4 * digits
    while True:
        with flint.ctx.workprec(bits):
            values = _integrals(zonal, ellipse, highest_degree, bits)
            if all(values[degree] > 0 and values[degree].rad() <= tolerance * values[degree] for degree in wanted):
                break
        bits *= 2
        if bits > MOST_BITS:
            raise UnsupportedError(
                f"spectrum: the eigenvalue of some degree up to {highest_degree} has no {digits} digits at "
                f"{MOST_BITS} bits; lower the degree"
            )
    enclosures = tuple(values[degree] if degree in positive else flint.arb(0) for degree in range(highest_degree + 1))
    sizes = tuple(multiplicity(dimension, degree) for degree in range(highest_degree + 1))
    return Spectrum(dimension, float(radius), enclosures, sizes, positive)


@dataclass(frozen=True)
class _Ellipse:
    """An ellipse with foci 0 and π on which the kernel is analytic, and a bound of the kernel there."""

    height: flint.arb
    bound: flint.arb

    @property
    def rho(self) -> flint.arb:
        ratio = 2 * self.height / flint.arb.pi()
        return ratio + (ratio * ratio + 1).sqrt()


def _ellipse(zonal: ZonalKernel) -> _Ellipse:
    """The highest ellipse found; heights are halved until the kernel is analytic and moderate on it."""
    with flint.ctx.workprec(64):
        most = 1000 * abs(zonal(flint.acb(0)))
        at_the_antipodes = zonal(flint.acb(flint.arb.pi()))
        for halvings in range(2, 12) if at_the_antipodes.is_finite() else ():
            height = flint.arb(2) ** -halvings
            bound = _bound(zonal, _Ellipse(height, most), most)
            if bound is not None:
                return _Ellipse(height, bound)
    raise UnsupportedError(
        "spectrum: no neighbourhood of [0, π] was found in which the kernel is analytic; lower the radius, the weight "
        "variance or the depth"
    )


def _bound(zonal: ZonalKernel, ellipse: _Ellipse, most: flint.arb) -> flint.arb | None:
    """The largest modulus on boxes that cover the upper half of an ellipse; the kernel is real on the real axis."""
    middle, rho = math.pi / 2, ellipse.rho
    reach = float((flint.arb.pi() / 4 * (rho + 1 / rho)).upper()) + 1e-9
    height = float(ellipse.height)
    columns = 16
    boxes = [
        (middle + reach * ((2 * column + 1) / columns - 1), height * (2 * row + 1) / 8, reach / columns, height / 8)
        for column in range(columns)
        for row in range(4)
    ]
    bound, evaluated = flint.arb(0), 0
    while boxes:
        x, y, width, tall = boxes.pop()
        evaluated += 1
        # neighbouring boxes overlap by more than the rounding of their float64 corners
        box = flint.acb(flint.arb(x, width * (1 + 1e-9)), flint.arb(y, tall * (1 + 1e-9)))
        value = abs(zonal(box))
        if value.is_finite() and value < most:
            bound = bound.max(value.upper())
        elif evaluated > MOST_BOXES:
            return None
        else:
            boxes += [
                (x + across * width / 2, y + up * tall / 2, width / 2, tall / 2) for across in (-1, 1) for up in (-1, 1)
            ]
    return bound


def _integrals(zonal: ZonalKernel, ellipse: _Ellipse, highest: int, bits: int) -> list[flint.arb]:
    """Balls for the eigenvalues of degree 0 to `highest`."""
    d, pi, rho = zonal.dimension, flint.arb.pi(), ellipse.rho
    decay = rho * rho
    peak = ellipse.bound * ellipse.height.cosh() ** (d - 2) * pi / 2 * flint.arb(64) / 15 / (1 - 1 / decay)
    growth = ellipse.height.exp()
    nodes = 1 + max(0, math.ceil(float(((peak * growth**highest).log() + bits * flint.arb(2).log()) / decay.log())))
    sums = [flint.arb(0)] * (highest + 1)
    for index in range(nodes):
        node, weight = flint.arb.legendre_p_root(nodes, index, weight=True)
        angle = pi / 2 * (1 + node)
        cosine = angle.cos()
        mass = weight * pi / 2 * zonal(flint.acb(angle)).real * angle.sin() ** (d - 2)
        before, now = cosine, flint.arb(1)  # P_1 = P_{-1} stands before P_0 in the recurrence for d = 2
        for degree in range(highest + 1):
            sums[degree] += mass * now
            following = ((2 * degree + d - 2) * cosine * now - degree * before) / max(degree + d - 2, 1)
            before, now = now, following if degree + d > 2 else cosine
    scale = (flint.arb(d) / 2).gamma() / (pi.sqrt() * (flint.arb(d - 1) / 2).gamma())
    remainder = peak / decay**nodes
    return [scale * (total + flint.arb(0, (remainder * growth**degree).upper())) for degree, total in enumerate(sums)]
