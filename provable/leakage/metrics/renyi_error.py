"""The reconstruction error that Rényi differential privacy of order 2 guarantees.

Notes
-----
Let a mechanism be (2, ε)-Rényi differentially private between any two samples of a box with sides d_1 … d_n, and x̂ an
unbiased estimator of the sample. Then

    E |x̂ - x|² / n >= Σ_i d_i² / (4 n (e^ε - 1)).

Proof: from any x of the box one reaches an x' with |x_i - x'_i| >= d_i / 2 that differs in coordinate i only. By Hammersley,
Chapman and Robbins, Var x̂_i >= (x_i - x'_i)² / χ²(P_x', P_x), and (2, ε) says 1 + χ² <= e^ε.

Unbiasedness is needed: as ε → 0 the bound grows without limit, while the estimator that always answers the centre of the box
is never further than half a side from x_i. A box is needed in the proof: at an x from which one cannot move far in a single
coordinate, the largest d_i over other points of the set says nothing.

References
----------
Guo, Karrer, Chaudhuri and van der Maaten, "Bounding training data reconstruction in private (deep) learning", ICML 2022.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from provable.errors import InputError
from provable.leakage.metrics.metric import Metric

METRIC = Metric(
    name="reconstruction error from Rényi differential privacy",
    question="Which error does a privacy budget guarantee against unbiased attacks?",
    definition="(2, ε)-RDP on a box with sides d_i: mean square error per coordinate >= Σ d_i² / (4 n (e^ε - 1))",
    unit="square of an input value",
    needs="ε of order 2, the sides of the box",
    source="Guo, Karrer, Chaudhuri and van der Maaten, ICML 2022 (the statement is recalled; proved here for boxes)",
    cannot_see=(
        "the architecture: networks with N* = 0 and N* = n get the same number",
        "biased estimators, that is prior knowledge: for small ε a constant guess beats the bound",
        "which coordinates are exposed",
    ),
)


def renyi_mean_square_error(epsilon: float, sides: ArrayLike) -> float:
    """Mean square error per coordinate of unbiased estimators, at least, under (2, ε)-Rényi differential privacy.

    Parameters
    ----------
    epsilon : float
        ε >= 0 of order 2, for replacing one sample of the box by another.
    sides : array_like of shape (n,)
        Lengths of the sides of the box in which samples lie, for instance 1 for each pixel.

    Returns
    -------
    float
        Σ d_i² / (4 n (e^ε - 1)); infinite for ε = 0.

    Raises
    ------
    InputError
        If ε is negative or no number, or a side is.
    """
    lengths = np.asarray(sides, dtype=np.float64)
    if not epsilon >= 0:
        raise InputError(f"epsilon: found {epsilon}; a nonnegative number is accepted")
    if lengths.ndim != 1 or not len(lengths) or not (np.isfinite(lengths) & (lengths >= 0)).all():
        raise InputError(f"sides: found {str(sides)[:40]}; a list of nonnegative numbers is accepted")
    if epsilon > 700:  # e^ε overflows; 0 is a lower bound
        return 0.0
    total = float((lengths**2).mean())
    return total / (4 * math.expm1(epsilon)) if epsilon else math.inf if total else 0.0
