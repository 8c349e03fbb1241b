"""The inversion influence function: how far a perturbed gradient shifts the recovered sample, to first order.

Notes
-----
Perturb the gradient by δ. The sample that fits it best moves, to first order, by the least-squares solution of J dx = δ, so
by |(JᵀJ)⁺ Jᵀ δ|; and no less than |Jᵀ δ| / λ_max(JᵀJ), which needs no inverse. (The authors' J is the transpose of this one,
and their code adds a multiple of the identity before it inverts.) With δ ~ N(0, σ² I), the mean square of the shift is
σ² tr (JᵀJ)⁺: the Cramér-Rao bound of the identifiable part.

The pseudo-inverse leaves out the null space: if N* > 0, the shift is that of the identifiable part, and the error in the null
space, which the gradient does not limit at all, is not in it. λ_max cannot tell: adding input values that nothing looks at
changes neither number.

References
----------
Zhang, Hong, Wang and Zhou, "Understanding deep gradient leakage via inversion influence functions", NeurIPS 2023.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.leakage.metrics.metric import Metric
from provable.leakage.metrics.spectrum import Spectrum
from provable.networks import GradientJacobian

METRIC = Metric(
    name="inversion influence function (I²F), lower bound",
    question="How far does a perturbed gradient shift the recovered sample?",
    definition="shift of the recovered sample under a gradient perturbation δ >= |Jᵀδ| / λ_max(JᵀJ)",
    unit="that of an input value",
    needs="architecture, parameters, sample, perturbation of the gradient",
    source="Zhang, Hong, Wang and Zhou, NeurIPS 2023 (read: released code and summary)",
    cannot_see=(
        "rank deficiency: λ_max is blind to directions that are not seen",
        "shifts beyond first order, and other samples with the same gradient",
        "whether an optimiser finds the minimum",
    ),
)


@dataclass(frozen=True)
class InversionInfluence:
    """First-order shift of the recovered sample.

    Parameters
    ----------
    shift : float
        |(JᵀJ)⁺ Jᵀ δ|, in the identifiable part of the sample.
    lower_bound : float
        |Jᵀ δ| / λ_max(JᵀJ), at most `shift`; 0 if J = 0.
    nullity : int
        Dimension of what the shift leaves out, numerically.
    """

    shift: float
    lower_bound: float
    nullity: int


def inversion_influence(jacobian: GradientJacobian, found: Spectrum, perturbation: Any) -> InversionInfluence:
    """Shift of the recovered sample when its gradient is perturbed.

    Parameters
    ----------
    jacobian : GradientJacobian
        J.
    found : Spectrum
        Its singular values and vectors.
    perturbation : array_like of shape (P,)
        δ, in the order of ``Parameters.vector``.

    Returns
    -------
    InversionInfluence
        The shift and its lower bound.

    Raises
    ------
    InputError
        If the perturbation does not fit the parameters.
    """
    pulled = jacobian.pull_back(np.asarray(perturbation)[None]).reshape(-1)
    if found.rank == 0:
        return InversionInfluence(0.0, 0.0, found.nullity)
    coefficients = found.vectors[:, found.nullity :].T @ pulled
    shift = float(np.linalg.norm(coefficients / found.values[found.nullity :] ** 2))
    return InversionInfluence(shift, float(np.linalg.norm(pulled)) / found.largest**2, found.nullity)
