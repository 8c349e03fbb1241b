"""Certificates ``null-space-fibre``: a recovered sample, and the affine space of others with the same gradient."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np

from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import embed
from provable.rigor.balls import rounded_up
from provable.rigor.certificates import Certificate, Refusal, library_versions
from provable.rigor.isolated_recovery import Observed
from provable.rigor.modular_rank import PRIME
from provable.rigor.rational_texts import encode_rational

ROUNDINGS = 64
"""The stated residual is larger than the one in float64 by this many units of rounding of ‖v‖; the checker proves it."""


def certify(observation: Observed, measure: Measure, dimension: int, *, seed: int = 0) -> Certificate | Refusal:
    """State that an affine space of samples through a recovered one has the same gradient.

    Parameters
    ----------
    observation : Observed
        A gradient or parameter change.
    measure : Measure
        One atom, which explains it.
    dimension : int
        Dimension of the null space of the first layer's system, at least 1.
    seed : int
        Seed of the witness at which the checker counts dependencies between the equations.

    Returns
    -------
    Certificate or Refusal
        What the checker is to prove, or the reason why there is nothing to state. Nothing is proved here.
    """
    if measure.size != 1:
        return Refusal(f"the measure has {measure.size} atoms; the fibre of one is certified")
    if dimension < 1:
        return Refusal("no direction is open")
    try:
        image = embed(observation.architecture, observation.parameters, measure)
    except (InputError, UnsupportedError) as error:
        return Refusal(str(error))
    misfit = math.hypot(*(float(np.linalg.norm(image[name] - array)) for name, array in observation.vector.items()))
    size = math.hypot(*(float(np.linalg.norm(array)) for array in observation.vector.values()))
    if not math.isfinite(misfit + size):
        return Refusal("the misfit is no finite number")
    residual = rounded_up(Fraction(2 * misfit) + Fraction(ROUNDINGS * EPSILON) * Fraction(size), bits=32)
    data = {
        "points": [[encode_rational(entry) for entry in measure.points.ravel().tolist()]],
        "coefficients": [[encode_rational(entry) for entry in measure.coefficients.ravel().tolist()]],
        "pieces": list(observation.vector),
        "residual": encode_rational(residual),
        "dimension": dimension,
        "prime": PRIME,
        "seed": seed,
    }
    return Certificate("null-space-fibre", data, observation.sha256, library_versions(), seed)
