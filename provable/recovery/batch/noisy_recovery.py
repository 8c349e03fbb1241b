"""What was found of a batch behind a noisy gradient, and the test of its misfit."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from provable.measures import Measure

Float = NDArray[np.float64]

STATUSES = ("consistent-with-noise", "not-identified", "rejected")
"""What the misfit says; see `NoisyRecovery`."""

TAIL = 14.0
"""t of the test: the truth is rejected with probability e^-14 < 1e-6."""


@dataclasses.dataclass(frozen=True, eq=False)
class NoisyRecovery:
    r"""The estimate of a batch from a noisy gradient.

    Parameters
    ----------
    points : array of shape (n, *input_shape)
        The estimates of the samples.
    coefficients : array of shape (n, C)
        Those of their coefficients.
    noise : float
        The σ that was stated.
    chi_square : float
        Sum of squares of the misfit over σ²; without noise, over the squared norm of what was seen.
    degrees_of_freedom : int
        M - N; what is open does not count as an unknown.
    covariance : array of shape (n (d + C), n (d + C))
        Predicted covariance of all points, then all coefficients: σ² times the (pseudo-)inverse of JᵀJ.
    standard_errors : array of shape (n,)
        Predicted :math:`\sqrt{E \|\hat x_i - x_i\|^2}`; infinite where the gradient leaves a direction of the sample open.
    status : {"consistent-with-noise", "not-identified", "rejected"}
        ``consistent-with-noise``: the misfit is what the stated noise makes of the truth, every direction is seen and no
        coefficient may be zero; without noise, the misfit is at rounding level. ``not-identified``: the misfit is that,
        but a direction is open, or a sample contributes no more than the noise.
        ``rejected``: the misfit is larger: a local minimum, too few samples, or more noise than stated; or there are no
        more equations than unknowns, when nothing can be tested.
    reason : str
        What there is to say on the status; empty if nothing.
    """

    points: Float
    coefficients: Float
    noise: float
    chi_square: float
    degrees_of_freedom: int
    covariance: Float
    standard_errors: Float
    status: str
    reason: str = ""

    @property
    def measure(self) -> Measure:
        """The points with their coefficients."""
        return Measure(self.points, self.coefficients)


def chi_square_limit(freedom: int) -> float:
    r"""What a χ² variable exceeds with probability e^-`TAIL` at most.

    Parameters
    ----------
    freedom : int
        k, its degrees of freedom; negative ones count as none.

    Returns
    -------
    float
        :math:`k + 2 \sqrt{kt} + 2t`.
    """
    return freedom + 2 * math.sqrt(max(freedom, 0) * TAIL) + 2 * TAIL
