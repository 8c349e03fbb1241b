r"""At which parameters the tangents that explain a change of parameters are to be taken.

Training in the linearisation at θ leaves :math:`\Delta\theta = \sum_j \alpha_j \nabla_\theta f(x_j; \theta)`
exactly. Standard training leaves an integral of such sums along its path; tangents at the middle of the chord,
:math:`\theta + \Delta\theta / 2`, are nearer to it than those at either end. The two are told apart by a law that every sum
of tangents of a network with ReLUs obeys: by Euler's identity the change of a hidden unit's incoming weights and bias, paired
with these, equals that of its outgoing weights, paired with those.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.errors import UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.parameter_matching.dense_relu import DenseReLU

Float = NDArray[np.float64]

BALANCED = 2.0**-20
"""Relative imbalance up to which training counts as linearised; a rounding error has 2⁻⁵⁰, standard training 10⁻³ or more."""


def imbalance(observation: Observation) -> float | None:
    """Measure how far a change of parameters is from every sum of tangents at θ.

    Parameters
    ----------
    observation : Observation
        Of a dense ReLU network.

    Returns
    -------
    float or None
        The largest difference between what a hidden layer's incoming and outgoing parameters have, relative to the size of
        the terms; None if a piece was not observed.
    """
    if any(key not in observation.vector for key in observation.architecture.parameter_shapes):
        return None
    network = DenseReLU.of(observation.architecture, observation.parameters)
    worst = 0.0
    for layer in range(len(network.weights) - 1):
        weight, bias = network.keys[layer]
        terms = [network.weights[layer] * observation.vector[weight]]
        if bias is not None:
            terms.append((network.biases[layer] * observation.vector[bias])[:, None])
        outgoing = (network.weights[layer + 1] * observation.vector[network.keys[layer + 1][0]]).T
        incoming = np.concatenate(terms, axis=1)
        size = np.abs(incoming).sum() + np.abs(outgoing).sum()
        if size > 0:
            worst = max(worst, float(np.abs(incoming.sum(axis=1) - outgoing.sum(axis=1)).sum() / size))
    return worst


def is_linearised(observation: Observation) -> bool:
    """Tell whether a change of parameters can be a sum of tangents at θ.

    Parameters
    ----------
    observation : Observation
        Of a dense ReLU network.

    Returns
    -------
    bool
        True also if not enough was observed to tell.
    """
    found = imbalance(observation)
    return found is None or found <= BALANCED


def moved_parameters(observation: Observation, share: float) -> Parameters:
    """Give the parameters after a share of the change.

    Parameters
    ----------
    observation : Observation
        Of kind ``parameter-change``.
    share : float
        t.

    Returns
    -------
    Parameters
        θ + t Δθ.

    Raises
    ------
    UnsupportedError
        If a piece of Δθ was not observed.
    """
    shapes = observation.architecture.parameter_shapes
    missing = [key for key in shapes if key not in observation.vector]
    if missing:
        raise UnsupportedError(
            f"the change of {missing[0]} was not observed, so the parameters after training are not known"
        )
    values = {key: observation.parameters[key] + share * observation.vector[key] for key in shapes}
    return Parameters(observation.architecture, values)
