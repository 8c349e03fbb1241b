"""The Cramér-Rao bound of the sample from its gradient with Gaussian noise, at one point.

Notes
-----
Somebody sees v = ∇_θ ℓ(f(x; θ), y) + N(0, σ² I) and knows θ and y. With J the derivative of the gradient with respect to x,
the Fisher information of x is JᵀJ / σ². Every unbiased estimator x̂ has

    E |x̂ - x|² >= σ² tr (JᵀJ)⁻¹,

so the root mean square error per coordinate is at least σ √(tr (JᵀJ)⁻¹ / n). If JᵀJ is singular, which is N* > 0, no unbiased
estimator of x has a finite variance, and the bound is infinite. What is identifiable then is the orthogonal projection of
x onto the row space of J, up to first order; its unbiased estimators have a squared error of at least σ² tr (JᵀJ)⁺.
The latter says nothing about the whole sample, and is kept apart. Estimators of a single coordinate x_i have variance at
least σ² [(JᵀJ)⁺]_ii, and infinite variance unless the unit vector e_i lies in the row space.

Several samples behind one summed gradient are one long x. Their order is not in the gradient; the bound is about estimators
near one order.

The bound is local, numerical, and for unbiased estimators. With piecewise linear activations it belongs to the cell in which
the sample lies. Guesses about typical images are biased estimators: they can beat it.

References
----------
Rao, 1945; Cramér, 1946. For singular information: Stoica and Marzetta, "Parameter estimation problems with singular
information matrices", IEEE Transactions on Signal Processing, 2001.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.architectures import ELU, Architecture, LeakyReLU, MaxPool2d, ReLU
from provable.arithmetic import EPSILON, Float
from provable.errors import InputError
from provable.leakage.metrics.instance import Instance, random_instance
from provable.leakage.metrics.metric import Metric
from provable.leakage.metrics.spectrum import Spectrum, spectrum
from provable.networks.tangents import leaves

METRIC = Metric(
    name="Cramér-Rao bound",
    question="How accurate can an unbiased attack on a noisy gradient be?",
    definition="root mean square error per coordinate >= σ √(tr (JᵀJ)⁻¹ / n); infinite if J has a null space",
    unit="that of an input value",
    needs="architecture, parameters, sample, noise",
    source="Rao 1945, Cramér 1946; singular case Stoica and Marzetta 2001",
    cannot_see=(
        "biased estimators, that is all prior knowledge of images",
        "anything away from the point where it is evaluated (other cells of ReLU, other preimages)",
        "how hard it is to compute an estimator that attains it",
        "which directions are bad, in the single number",
    ),
)


@dataclass(frozen=True, eq=False)
class CramerRao:
    """Cramér-Rao bounds at one instance.

    Parameters
    ----------
    noise : float
        Standard deviation σ of the noise on each entry of the gradient.
    instance : str
        Where the bound was evaluated.
    inputs : int
        Number n of input values of all samples.
    nullity : int or None
        Dimension of the null space of J, numerically; None if the singular values do not tell.
    gap : float
        Smallest singular value that counts over the largest that does not (or over the resolution).
    condition_number : float
        Largest singular value over the smallest that counts.
    rmse_lower_bound : float or None
        Bound of the root mean square error per coordinate; None if it is infinite. If `nullity` is None, the part of it
        that comes from the singular values that are certain.
    identifiable_rmse_lower_bound : float or None
        The same for the projection onto the row space, per identifiable dimension; None if there is none.
    coordinate_lower_bounds : ndarray of shape (n,)
        Bound of the standard deviation of each coordinate's unbiased estimators; infinite where it is not identifiable.
    is_local : bool
        Whether the network is piecewise smooth only, so that the bound belongs to one cell.
    """

    noise: float
    instance: str
    inputs: int
    nullity: int | None
    gap: float
    condition_number: float
    rmse_lower_bound: float | None
    identifiable_rmse_lower_bound: float | None
    coordinate_lower_bounds: Float
    is_local: bool

    @property
    def infinite(self) -> bool:
        """Whether no unbiased estimator of the sample has a finite variance, numerically."""
        return self.rmse_lower_bound is None

    def to_dict(self) -> dict[str, Any]:
        """Describe the bounds in JSON's types.

        Returns
        -------
        dict
            The field ``cramer_rao`` of ``provable-audit/1``; infinite numbers are None.
        """
        rank = None if self.nullity is None else self.inputs - self.nullity
        return {
            "noise": self.noise,
            "rmse_lower_bound": self.rmse_lower_bound,
            "infinite": self.infinite,
            "identifiable": {"dimensions": rank, "rmse_lower_bound": self.identifiable_rmse_lower_bound},
            "nullity": self.nullity,
            "singular_value_gap": self.gap if math.isfinite(self.gap) else None,
            "condition_number": self.condition_number if math.isfinite(self.condition_number) else None,
            "evidence": "numerical",
            "instance": self.instance,
            "local": self.is_local,
        }


def cramer_rao(
    architecture: Architecture,
    noise: float,
    *,
    instance: Instance | None = None,
    batch_size: int = 1,
    rng: int | np.random.Generator | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CramerRao:
    """Cramér-Rao bounds of the samples from their noisy gradient; see the module for what they say.

    Parameters
    ----------
    architecture : Architecture
        The network.
    noise : float
        Standard deviation σ >= 0 of the noise on each entry of the gradient, which is the sum of those of the samples.
    instance : Instance, optional
        Parameters, samples and labels; drawn by default.
    batch_size : int
        Number of samples behind the gradient if the instance is drawn.
    rng : int or numpy.random.Generator, optional
        Seed of the instance if it is drawn, 0 by default.
    progress : callable, optional
        Called with the numbers of input values that are done and of all, which takes nearly all of the time.

    Returns
    -------
    CramerRao
        The bounds.

    Raises
    ------
    InputError
        If the noise is no nonnegative number or the instance belongs to another architecture.
    UnsupportedError
        For a layer that cannot be evaluated, and beyond 4096 input values of all samples, with the memory that they would
        need.
    """
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")
    if instance is None:
        instance = random_instance(architecture, batch_size=batch_size, rng=rng)
    elif instance.parameters.architecture != architecture:
        raise InputError(
            f"instance: found one of {instance.parameters.architecture.name}; {architecture.name} is accepted"
        )
    found = spectrum(instance.jacobian(), progress=progress)
    return bounds(found, float(noise), description=instance.description, is_local=_has_kinks(architecture))


def _has_kinks(architecture: Architecture) -> bool:
    kinds = LeakyReLU, ReLU, ELU, MaxPool2d
    return any(isinstance(layer, kinds) for _, layer in leaves(architecture.layers))


def bounds(found: Spectrum, noise: float, *, description: str, is_local: bool) -> CramerRao:
    """Cramér-Rao bounds from singular values.

    Parameters
    ----------
    found : Spectrum
        Singular values and vectors of J.
    noise : float
        Standard deviation σ of the noise.
    description : str
        Where J was evaluated.
    is_local : bool
        Whether J belongs to one cell of a piecewise smooth network.

    Returns
    -------
    CramerRao
        The bounds.
    """
    order, zeros = len(found.values), found.nullity
    with np.errstate(divide="ignore"):
        variances = (
            1 / found.values[zeros:] ** 2
        )  # under noise of standard deviation 1, since the square of σ may overflow
    total, resolved = math.fsum(variances), found.is_resolved
    null, rows = found.vectors[:, :zeros], found.vectors[:, zeros:]
    with np.errstate(over="ignore"):
        coordinates = noise * np.sqrt(rows**2 @ variances)
    # singular vectors are accurate to rounding times the condition number, which a clear gap keeps below 1e9
    tolerance = min(1e-4, max(1e-8, 30 * EPSILON * found.condition_number))
    coordinates[np.sqrt((null**2).sum(axis=1)) > tolerance] = math.inf
    return CramerRao(
        noise=noise,
        instance=description,
        inputs=order,
        nullity=zeros if resolved else None,
        gap=found.gap,
        condition_number=found.condition_number,
        rmse_lower_bound=None if zeros and resolved else _scaled(noise, math.sqrt(total / order)),
        identifiable_rmse_lower_bound=_scaled(noise, math.sqrt(total / found.rank)) if found.rank else None,
        coordinate_lower_bounds=coordinates,
        is_local=is_local,
    )


def _scaled(noise: float, bound: float) -> float:
    """The bound under this noise; the largest float, which is a lower bound too, instead of an infinity that it is not."""
    return min(noise * bound, sys.float_info.max)
