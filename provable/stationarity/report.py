"""What the verification of a stationary point found."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Array, Float, to_float

FORMAT = "provable-stationarity/1"


@dataclass(frozen=True, eq=False)
class StationarityReport:
    """Multipliers, slopes and errors of a stationary point θ = Σ_c λ_c Σ_k e_ck ∇_θ f_k(θ; x_i).

    Each constraint c belongs to a sample i and has a combination e_c of the outputs: y_i for two classes, e_{y_i} − e_j for
    several, −ℓ'_i/w for weight decay (one for each sample, then with λ = 1).

    Attributes
    ----------
    problem : {"max-margin", "weight-decay"}
        Which stationarity.
    arithmetic : {"float64", "rational"}
        In rationals every decision is exact.
    degree : int or None
        The degree of homogeneity L; None if there is none, which weight decay does not need.
    samples : ndarray of int, shape (q,)
        The sample of each constraint.
    directions : ndarray of shape (q, C)
        The combinations e_c.
    margins : ndarray of shape (q,)
        Σ_k e_ck f_k(θ; x_i), y_i f(θ; x_i) for two classes.
    margin : float
        m, the smallest margin; nan for weight decay.
    scale : float
        m^{-1/L}: multiplying θ by it makes the smallest margin 1; nan unless m > 0.
    multipliers : ndarray of shape (q,)
        λ_c ≥ 0, for θ as it is and not for the scaled one.
    slopes : mapping of str to ndarray of shape (q, units)
        By the path of every activation with a kink, the slope that each constraint's tangent is formed with: one-sided, or
        a Clarke weight at a kink. (With kinks in several layers, the mean over the tangents that were combined.)
    kinks : mapping of str to ndarray of bool, shape (n, units)
        Which pre-activations count as zero.
    residual : float
        ‖θ − Σ_c λ_c …‖/‖θ‖ with the best Clarke weights.
    hard_residual : float
        The same for the best multipliers with the slopes that programs use: the left one at exact zeros. For weight decay
        with the same multipliers.
    slackness : float
        max_c λ_c (margin_c − m) L/‖θ‖², which is max_c λ_c (margin_c − m) as a part of Σ_c λ_c margin_c at a KKT point.
    euler_error : float
        |‖θ‖² − L Σ_c λ_c margin_c|/‖θ‖²; nan without a degree.
    balance_errors : mapping of str to float
        By layer, |‖θ_l‖² − m_l Σ_c λ_c margin_c|/‖θ‖² with the layer's own degree m_l; empty without a degree.
    tolerance : float
        What residual and slackness may be; zero in rationals.
    complete : bool
        Whether all of Clarke's tangents were at hand; if not, a large residual does not show that θ is not stationary.
    verified : bool
        Whether residual, feasibility and complementary slackness meet the tolerance; in rationals a proof.
    explanation : str
        One sentence.
    """

    problem: str
    arithmetic: str
    degree: int | None
    samples: NDArray[np.intp]
    directions: Array
    margins: Array
    margin: float
    scale: float
    multipliers: Array
    slopes: Mapping[str, Array]
    kinks: Mapping[str, NDArray[np.bool_]]
    residual: float
    hard_residual: float
    slackness: float
    euler_error: float
    balance_errors: Mapping[str, float]
    tolerance: float
    complete: bool
    verified: bool
    explanation: str

    @property
    def coefficients(self) -> Array:
        """The measure whose embedding θ is, at the samples in order.

        Returns
        -------
        ndarray of shape (n, C)
            c_i = Σ_c λ_c e_c over the constraints of sample i; λ_i y_i for two classes.
        """
        weighted = self.multipliers[:, None] * self.directions
        count = int(self.samples.max()) + 1 if len(self.samples) else 0
        result = np.stack([weighted[self.samples == i].sum(axis=0) for i in range(count)])
        return np.asarray(result)

    @property
    def kink_count(self) -> int:
        """The number of pre-activations that count as zero.

        Returns
        -------
        int
            Over all layers, units and samples.
        """
        return sum(int(where.sum()) for where in self.kinks.values())

    @property
    def multipliers_at_margin_one(self) -> Float:
        """The multipliers of the point of the same direction whose smallest margin is 1.

        Returns
        -------
        ndarray of float64, shape (q,)
            λ_c scale^{2−L}, the multipliers themselves for L = 2; nan unless the margin is positive.
        """
        if self.degree is None:
            return np.full(len(self.multipliers), np.nan)
        return np.asarray(to_float(self.multipliers) * self.scale ** (2 - self.degree))

    def to_json(self) -> str:
        """Write the report as JSON.

        Returns
        -------
        str
            Keys are the attributes, without the slopes, kinks and directions; ``kinks`` is their number, and numbers that
            are not there are null.
        """

        def plain(number: float) -> float | None:
            return float(number) if np.isfinite(number) else None

        document = {
            "format": FORMAT,
            "problem": self.problem,
            "arithmetic": self.arithmetic,
            "degree": self.degree,
            "samples": self.samples.tolist(),
            "margins": to_float(self.margins).tolist(),
            "margin": plain(self.margin),
            "scale": plain(self.scale),
            "multipliers": to_float(self.multipliers).tolist(),
            "kinks": self.kink_count,
            "residual": plain(self.residual),
            "hard_residual": plain(self.hard_residual),
            "slackness": plain(self.slackness),
            "euler_error": plain(self.euler_error),
            "balance_errors": {path: plain(error) for path, error in self.balance_errors.items()},
            "tolerance": self.tolerance,
            "complete": self.complete,
            "verified": self.verified,
            "explanation": self.explanation,
        }
        return json.dumps(document, indent=2, allow_nan=False)
