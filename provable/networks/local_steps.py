r"""Several steps of full-batch gradient descent as a function of the batch, with its derivative.

:math:`\theta_{k+1} = \theta_k - \eta \nabla L(\theta_k; x, y)`. Along dx and dy its tangent obeys

.. math:: d\theta_{k+1} = d\theta_k - \eta \left( \frac{\partial^2 L}{\partial\theta^2} d\theta_k
          + \frac{\partial^2 L}{\partial\theta\,\partial x} dx + \frac{\partial^2 L}{\partial\theta\,\partial y} dy \right),

all at :math:`\theta_k`, so that one tangent pass per step gives the derivative of :math:`\theta_K - \theta_0`.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.networks.gradients import REDUCTIONS, loss_gradient
from provable.networks.parameters import Parameters
from provable.networks.second_derivatives import gradient_jacobian
from provable.networks.tangents import tangents

LARGEST_JACOBIAN = 2**31
"""Bytes that the derivative may take."""


@dataclass(frozen=True, eq=False)
class LocalSteps:
    """The change of the parameters by gradient descent, and its derivative with respect to the batch.

    Attributes
    ----------
    change : Parameters
        θ_K - θ_0.
    jacobian : ndarray of shape (P, n * input_size + labels)
        Its derivative by all samples and, if asked for, all n * C labels.
    """

    change: Parameters
    jacobian: Float


def local_steps(
    architecture: Architecture,
    parameters: Parameters,
    inputs: Any,
    labels: Any,
    *,
    steps: int,
    learning_rate: float,
    reduction: str = "sum",
    by_labels: bool = False,
) -> LocalSteps:
    """Train on one batch, and differentiate what comes out.

    Parameters
    ----------
    architecture : Architecture
        The network and its loss.
    parameters : Parameters
        θ_0, of float64.
    inputs : array_like of shape (n, *input_shape)
        The batch.
    labels : array_like
        As for ``provable.networks.losses.value``.
    steps : int
        K >= 1.
    learning_rate : float
        η.
    reduction : {"sum", "mean"}
        How the loss is reduced over the batch.
    by_labels : bool
        Whether to differentiate by the labels as well, which only the squared loss allows.

    Returns
    -------
    LocalSteps
        The change and its derivative.

    Raises
    ------
    InputError
        If something does not fit, or training leaves the range of float64.
    UnsupportedError
        If the derivative would take over 2 GiB, or labels of another loss are to be differentiated by.
    """
    points = np.asarray(inputs, dtype=np.float64)
    if reduction not in REDUCTIONS:
        raise InputError(f"reduction: found {reduction!r:.60}; {', '.join(REDUCTIONS)} are accepted")
    if by_labels and architecture.loss != "squared":
        raise UnsupportedError(f"loss: found {architecture.loss}, whose labels are discrete; squared is accepted")
    count, size = len(points), points.size
    extra = count * architecture.output_size if by_labels else 0
    if 8 * architecture.parameter_count * (size + extra) > LARGEST_JACOBIAN:
        raise UnsupportedError(
            f"inputs: found {size} values; their derivative for {architecture.parameter_count} parameters needs "
            f"{8 * architecture.parameter_count * (size + extra)} bytes; at most {LARGEST_JACOBIAN} are accepted"
        )
    rate = learning_rate / (count if reduction == "mean" else 1)
    directions = np.zeros((size + extra, *points.shape))
    directions[:size] = np.eye(size).reshape(size, *points.shape)
    moved = np.zeros((size + extra, architecture.parameter_count))
    there = parameters
    for _ in range(steps):
        bent = gradient_jacobian(architecture, there, points, labels).push_forward_jointly(directions, moved)
        if by_labels:  # the residual is f - y
            bent[size:] -= tangents(architecture, there, points).reshape(extra, -1)
        moved = moved - rate * bent
        gradient = loss_gradient(architecture, there, points, labels)
        there = Parameters(architecture, {key: there[key] - rate * gradient[key] for key in there})
    return LocalSteps(Parameters(architecture, {key: there[key] - parameters[key] for key in there}), moved.T)
