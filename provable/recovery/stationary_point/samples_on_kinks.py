r"""Whether samples on kinks can explain a stationary point as well as samples that were found without any.

Methods for gradients look for samples at which every unit is active or not. At a stationary point of a piecewise linear
network other samples may lie on kinks, with any multipliers in [0, 1], as training samples often do. So an answer without
kinks can be isolated, and certified to be, and yet be none of the data. For two layers of ReLUs with one output a linear
program tells whether there are others (`provable.recovery.stationary_point.only_solution`).
"""

from __future__ import annotations

import dataclasses

import numpy as np

from provable.architectures import LeakyReLU, ReLU
from provable.observations import Observation
from provable.recovery.result import Recovery
from provable.recovery.stationary_point import clarke_matching, univariate
from provable.recovery.stationary_point.arrangement import Arrangement
from provable.recovery.stationary_point.cell_moments import Atoms, CellMoments
from provable.recovery.stationary_point.only_solution import is_only_solution

EQUAL = 1e-9
"""Margins that differ by more, relatively, are not one."""


def with_doubt_of_kinks(observation: Observation, recovery: Recovery) -> Recovery:
    """Say of a recovery that samples on kinks may explain the stationary point as well.

    Parameters
    ----------
    observation : Observation
        A stationary point.
    recovery : Recovery
        What a method found.

    Returns
    -------
    Recovery
        The same, ``undetermined`` by its reason unless `excludes_samples_on_kinks`. Unchanged for other observations, for
        smooth networks, for methods that know of kinks, and if the samples explain nothing or are undetermined anyway.
    """
    piecewise = any(isinstance(layer, ReLU | LeakyReLU) for layer in observation.architecture.layers)
    if observation.kind != "stationary-point" or not piecewise or recovery.undetermined:
        return recovery
    if recovery.status not in ("certified", "consistent") or recovery.method in (clarke_matching.NAME, univariate.NAME):
        return recovery
    if excludes_samples_on_kinks(observation, recovery):
        return recovery
    doubt = "undetermined: other samples, on kinks, are not excluded"
    return dataclasses.replace(recovery, reason="; ".join(part for part in (doubt, recovery.reason) if part))


def excludes_samples_on_kinks(observation: Observation, recovery: Recovery) -> bool:
    """Decide, numerically, whether the samples found are the only ones of their common margin.

    Parameters
    ----------
    observation : Observation
        A stationary point.
    recovery : Recovery
        Samples that explain it, without kinks.

    Returns
    -------
    bool
        True if `is_only_solution`. False if it is not, and if this cannot be decided: the network is no two-layer ReLU
        network with one logit, has too many cells, or the margins are not one.
    """
    if clarke_matching.supports(observation) is not None:
        return False
    arrangement = Arrangement.of(observation)
    patterns = arrangement.patterns(clarke_matching.LARGEST_CELLS) if arrangement.basis.shape[1] else None
    if patterns is None:
        return False
    points = recovery.points.reshape(len(recovery.points), -1) @ arrangement.basis
    coefficients = recovery.coefficients.reshape(-1)
    margins = np.sign(coefficients) * arrangement.outputs(points)
    if not np.all(margins > 0):
        return False
    if not arrangement.biased:  # the scale of each sample is open
        points, coefficients, margins = points / margins[:, None], coefficients * margins, np.ones(len(points))
    margin = float(np.mean(margins))
    if np.max(np.abs(margins - margin)) > EQUAL * margin:
        return False
    values = arrangement.extended(points) @ (arrangement.signs[:, None] * arrangement.directions).T
    atoms = Atoms(points, coefficients, (values > 0).astype(np.float64))
    return is_only_solution(CellMoments(arrangement, patterns), atoms, margin)
