r"""What a client sends after several local steps: θ_K - θ_0 of full-batch gradient descent.

Notes
-----
:math:`\theta_{k+1} = \theta_k - \eta \nabla L(\theta_k)` on one fixed batch, so that

.. math:: \theta_K - \theta_0 = -\eta \sum_{k<K} \sum_i r_i^{(k)} \nabla f(x_i; \theta_k).

The points are the same in all steps, the residuals and the parameters are not: for K > 1 this is not the tangent embedding
of a measure at θ_0, only nearly so while θ moves little. For the first linear layer it is still
:math:`-\eta \sum_k D_k X^T`, whose row space lies in the span of the batch, exactly.

References
----------
B. McMahan et al., Communication-efficient learning of deep networks from decentralized data, 2017 (federated averaging).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from provable.architectures import Architecture
from provable.errors import InputError
from provable.networks import Parameters, loss_gradient
from provable.observations.labels import check_labels
from provable.observations.observation import Observation


def after_local_steps(
    architecture: Architecture,
    parameters: Parameters,
    inputs: ArrayLike,
    labels: ArrayLike,
    *,
    steps: int,
    learning_rate: float,
    reduction: str = "sum",
) -> Observation:
    """Train on one batch for some steps of full-batch gradient descent, and observe the change of the parameters.

    Parameters
    ----------
    architecture : Architecture
        The network and its loss.
    parameters : Parameters
        θ_0, which the observation states.
    inputs : array of shape (n, *input_shape)
        The batch.
    labels : array of shape (n,) or (n, C)
        Its labels.
    steps : int
        K >= 1.
    learning_rate : float
        η > 0.
    reduction : {"sum", "mean"}, optional
        How the loss is reduced over the batch.

    Returns
    -------
    Observation
        Of kind ``"parameter-change"``: θ_K - θ_0. It says neither K nor η; whoever attacks it has to know them.

    Raises
    ------
    InputError
        If an argument does not fit, or training leaves the range of float64.
    """
    checked, points = check_steps(steps, learning_rate), np.asarray(inputs, dtype=np.float64)
    first = Observation.from_data(architecture, parameters, points, labels, reduction=reduction)
    values = check_labels(architecture, np.asarray(labels), len(points))
    there = parameters
    for _ in range(checked):
        gradient = loss_gradient(architecture, there, points, values, reduction=reduction)
        there = Parameters(architecture, {key: there[key] - learning_rate * gradient[key] for key in there})
    return Observation(
        kind="parameter-change",
        architecture=architecture,
        parameters=parameters,
        vector={key: there[key] - parameters[key] for key in there},
        reduction=reduction,
        batch_size=first.batch_size,
    )


def as_one_step(observation: Observation, *, steps: int, learning_rate: float) -> Observation:
    """Read a change of parameters as if all its steps had been taken at θ_0.

    Parameters
    ----------
    observation : Observation
        Of kind ``"parameter-change"``.
    steps : int
        K >= 1.
    learning_rate : float
        η > 0.

    Returns
    -------
    Observation
        Of kind ``"gradient"``: -(θ_K - θ_0) / (η K), the mean gradient on the way. It is the gradient at θ_0 for K = 1, and
        differs from it by O(η K) otherwise.

    Raises
    ------
    InputError
        If an argument does not fit.
    """
    if observation.kind != "parameter-change":
        raise InputError(f"kind: found {observation.kind}; a parameter-change is accepted")
    factor = -1 / (learning_rate * check_steps(steps, learning_rate))
    return Observation(
        kind="gradient",
        architecture=observation.architecture,
        parameters=observation.parameters,
        vector={key: factor * piece for key, piece in observation.vector.items()},
        reduction=observation.reduction,
        batch_size=observation.batch_size,
        labels=observation.labels,
        unit_norm=observation.unit_norm,
    )


def check_steps(steps: int, learning_rate: float) -> int:
    """Check a number of steps and a learning rate.

    Parameters
    ----------
    steps : int
        K >= 1.
    learning_rate : float
        η > 0.

    Returns
    -------
    int
        The number of steps.

    Raises
    ------
    InputError
        If one of them is not as above.
    """
    if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1:
        raise InputError(f"steps: found {str(steps)[:40]!r}; a positive integer is accepted")
    real = isinstance(learning_rate, int | float | np.floating) and not isinstance(learning_rate, bool)
    if not real or not 0 < learning_rate < np.inf:
        raise InputError(f"learning_rate: found {str(learning_rate)[:40]!r}; a positive number is accepted")
    return int(steps)
