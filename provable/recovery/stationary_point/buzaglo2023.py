r"""The attacks of Buzaglo, Haim, Yehudai, Vardi, Oz, Nikankin and Irani, as released: several classes, and general losses.

With several classes and cross-entropy, a candidate of class y pulls at :math:`\lambda_j (\Phi_y - \max_{k \ne y} \Phi_k)`: of
the constraints :math:`\Phi_y - \Phi_k \ge 1` only that of the runner-up is kept. With weight decay w and any loss, a
stationary point of :math:`\sum_i \ell(\Phi_i, y_i) + \frac{w}{2} \|\theta\|^2` has :math:`\theta = \sum_i (-\ell_i' / w)
\nabla_\theta \Phi_i`, homogeneous or not: multipliers have either sign, and there are no labels and no priors.

Notes
-----
Where two classes tie for the runner-up, the first form loses a multiplier: see ``buzaglo2023.multiclass_runner_up``. With
squared loss a sample that is fitted exactly is not in the second: see ``buzaglo2023.interpolation_erases``.

References
----------
G. Buzaglo, N. Haim, G. Yehudai, G. Vardi, Y. Oz, Y. Nikankin, M. Irani, Deconstructing data reconstruction: multiclass,
weight decay and general losses, NeurIPS 2023, arXiv:2307.01827, and its released code.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.errors import UnsupportedError
from provable.observations import Observation
from provable.recovery.method import Method
from provable.recovery.result import Recovery
from provable.recovery.stationary_point.haim2022 import (
    number_of_candidates,
    reason_against_dense,
    reason_against_homogeneity,
    recovery_of,
)
from provable.recovery.stationary_point.modified_relu import ModifiedReLU
from provable.recovery.stationary_point.momentum_sweep import Run, Settings, affordable, stationarity_loss, swept

Float = NDArray[np.float64]

NAME = "buzaglo2023"


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it is the stationary point of a dense ReLU network, homogeneous for cross-entropy, of a known number of
        samples; otherwise the reason why not.
    """
    if (reason := reason_against_dense(observation)) is not None:
        return reason
    return reason_against_homogeneity(observation) if observation.architecture.loss == "cross_entropy" else None


def runner_up_directions(outputs: Float, labels: NDArray[np.int64]) -> Float:
    """Give the combinations of outputs whose margins are kept.

    Parameters
    ----------
    outputs : array of shape (M, C)
        Φ at the candidates, C > 1.
    labels : array of shape (M,)
        Their classes.

    Returns
    -------
    array of shape (M, C)
        1 at the class, -1 at the largest of the other outputs, the first of equal ones, and 0 elsewhere.
    """
    rows = np.arange(len(outputs))
    others = outputs.copy()
    others[rows, labels] = -np.inf
    result = np.zeros_like(outputs)
    result[rows, labels] = 1.0
    result[rows, np.argmax(others, axis=1)] = -1.0
    return result


def sweep(observation: Observation, rng: np.random.Generator, settings: Settings | None = None) -> tuple[Run, ...]:
    """Run the whole sweep.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws hyper-parameters, candidates and multipliers.
    settings : Settings, optional
        What to do; without cross-entropy there is no prior on multipliers or candidates, whatever the settings say.

    Returns
    -------
    tuple of Run
        All runs, the smallest loss first.

    Raises
    ------
    UnsupportedError
        If the observation is not supported.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    options = settings or Settings()
    loss = stationarity_loss(observation)
    count = number_of_candidates(observation, options)
    classes = np.arange(count) * loss.outputs // count

    def margins(network: ModifiedReLU, points: Float) -> Float:
        return runner_up_directions(network.forward(points).output, classes)

    def outputs(network: ModifiedReLU, points: Float) -> Float:
        return np.ones((count, loss.outputs))

    def uniform(generator: np.random.Generator) -> Float:
        return generator.random((count, 1))

    def normal(generator: np.random.Generator) -> Float:
        return generator.standard_normal((count, loss.outputs))

    if observation.architecture.loss == "cross_entropy":
        return swept(loss, margins, uniform, options, rng)
    free = dataclasses.replace(options, multiplier_prior=0.0, range_prior=0.0)
    return swept(loss, outputs, normal, free, rng)


def attack(observation: Observation, rng: np.random.Generator, settings: Settings | None = None) -> Recovery:
    """Run the attack.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws hyper-parameters, candidates and multipliers.
    settings : Settings, optional
        What to do; by default fewer steps for large networks.

    Returns
    -------
    Recovery
        All candidates of the run with the smallest loss, with their coefficients. The status is ``failed``: the attack has
        no test by which candidates could be told from training data.

    Raises
    ------
    UnsupportedError
        If the observation is not supported.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    options = settings or affordable(stationarity_loss(observation), number_of_candidates(observation, Settings()))
    runs = sweep(observation, rng, options) if np.any(observation.parameters.vector()) else ()
    return recovery_of(observation, NAME, runs)


METHOD = Method(NAME, supports, attack, automatic=False)
"""The attack, for `recover` by name."""
