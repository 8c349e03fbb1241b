"""Fisher information loss and its diagonal variant: two numbers for the Fisher information of the sample.

Notes
-----
With Gaussian noise of standard deviation σ on the gradient, the information is I = JᵀJ / σ², J the derivative of
x ↦ ∇_θ L. Two summaries of it:

- η = ‖J‖₂ / σ, the Fisher information loss. For every unit vector u and unbiased estimator of uᵀx,
  Var >= uᵀ I⁻¹ u >= 1 / (uᵀ I u) >= 1 / η². Information of independent observations adds, so k of them have a loss of at
  most √(Σ η_i²); a function of the observation has no more.
- dFIL = √(tr I / n). For every unbiased estimator of x, E |x̂ - x|² / n >= tr I⁻¹ / n >= n / tr I = 1 / dFIL², because an
  arithmetic mean of eigenvalues is at least the harmonic one.

Both bounds are weaker than Cramér and Rao's, and finite where that one is infinite: the best seen direction decides η, the
average dFIL, and neither notices a direction that is not seen at all.

References
----------
Hannun, Guo and van der Maaten, "Measuring data leakage in machine-learning models with Fisher information", UAI 2021.
Guo, Karrer, Chaudhuri and van der Maaten, "Bounding training data reconstruction in private (deep) learning", ICML 2022.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from provable.errors import InputError
from provable.leakage.metrics.metric import Metric
from provable.leakage.metrics.spectrum import Spectrum

METRIC = Metric(
    name="Fisher information loss",
    question="How accurate can an attack on the best-seen projection of the sample be?",
    definition="η = ‖J‖₂ / σ; any unbiased estimator of a projection of x has variance >= 1 / η²",
    unit="1 / input value",
    needs="architecture, parameters, sample, noise",
    source="Hannun, Guo and van der Maaten, UAI 2021",
    cannot_see=(
        "directions that are not seen at all (N* > 0): the largest singular value decides",
        "how many directions are exposed",
        "biased estimators, that is prior knowledge",
    ),
)

DIAGONAL_METRIC = Metric(
    name="diagonal Fisher information loss (dFIL)",
    question="How much information per input value does a noisy gradient carry on average?",
    definition="dFIL = √(tr(JᵀJ) / (n σ²)); any unbiased estimator has mean square error per coordinate >= 1 / dFIL²",
    unit="1 / input value",
    needs="architecture, parameters, sample, noise",
    source="Guo, Karrer, Chaudhuri and van der Maaten, ICML 2022 (the formula is recalled; the bound is proved here)",
    cannot_see=(
        "directions that are not seen at all (N* > 0): the mean of the spectrum decides",
        "single coordinates that are exposed more than the average",
        "biased estimators, that is prior knowledge",
    ),
)


@dataclass(frozen=True)
class FisherInformation:
    """Fisher information losses of one gradient, and what they bound.

    Parameters
    ----------
    loss : float
        η; infinite without noise.
    diagonal_loss : float
        dFIL; infinite without noise.
    """

    loss: float
    diagonal_loss: float

    @property
    def variance_lower_bound(self) -> float:
        """1 / η², for unbiased estimators of any projection of the sample on a unit vector; infinite if η = 0."""
        return 1 / self.loss**2 if self.loss else math.inf

    @property
    def mean_square_error_lower_bound(self) -> float:
        """1 / dFIL², per coordinate, for unbiased estimators of the sample; infinite if dFIL = 0."""
        return 1 / self.diagonal_loss**2 if self.diagonal_loss else math.inf


def fisher_information(found: Spectrum, noise: float) -> FisherInformation:
    """Fisher information losses of a gradient with Gaussian noise.

    Parameters
    ----------
    found : Spectrum
        Singular values of J.
    noise : float
        Standard deviation σ >= 0 of the noise on each entry of the gradient.

    Returns
    -------
    FisherInformation
        η and dFIL.

    Raises
    ------
    InputError
        If the noise is no nonnegative number.
    """
    if isinstance(noise, bool) or not isinstance(noise, int | float) or not 0 <= noise < math.inf:
        raise InputError(f"noise: found {str(noise)[:40]!r}; a nonnegative number is accepted")
    sizes = found.largest, float(np.linalg.norm(found.values)) / math.sqrt(len(found.values))
    loss, diagonal = (size / noise if noise else math.inf if size else 0.0 for size in sizes)
    return FisherInformation(loss, diagonal)


def composed_loss(losses: Iterable[float]) -> float:
    """Fisher information loss of independent observations together, at most.

    Parameters
    ----------
    losses : iterable of float
        η of each of them.

    Returns
    -------
    float
        √(Σ η²).
    """
    return math.hypot(*losses)
