r"""Damped Gauss-Newton steps on all gradients at once, without a matrix.

The equations are :math:`\nabla_{\theta_t} L(x) = v_t` for every observed tensor t, each divided by its norm, so that the
small gradients of early layers count as much as the others. Steps come from LSMR on the derivative and its transpose;
where the derivative has a null space they stay out of it, so that what is undetermined is left as it was.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import scipy.sparse.linalg
from numpy.typing import NDArray

from provable.errors import InputError
from provable.networks import loss_gradient
from provable.networks.second_derivatives import gradient_jacobian
from provable.observations import Observation

Float = NDArray[np.float64]

_INNER_STEPS = 200
_LARGEST_DAMPING = 1e3


def polish(observation: Observation, inputs: Float, label: NDArray[Any], *, steps: int = 20) -> tuple[Float, float]:
    """Improve a sample until its gradients no longer come closer to the observed ones.

    Parameters
    ----------
    observation : Observation
        The gradient of one sample.
    inputs : array of shape (1, *input_shape)
        Where to begin.
    label : array of shape (1,) or (1, C)
        The label of the sample.
    steps : int
        Largest number of steps tried.

    Returns
    -------
    inputs : array of shape (1, *input_shape)
        The best sample.
    misfit : float
        Root mean square, over the tensors that are not zero, of their relative misfits; infinite if the network overflows.
    """
    architecture, parameters = observation.architecture, observation.parameters
    scales = {key: float(np.linalg.norm(piece)) for key, piece in observation.vector.items()}
    count = sum(scale > 0 for scale in scales.values())
    if not count:
        return inputs, 0.0
    weights, wanted = [], []
    for key, shape in architecture.parameter_shapes.items():
        scale, size = scales.get(key, 0.0), math.prod(shape)
        weights.append(np.full(size, 1 / (scale * math.sqrt(count)) if scale else 0.0))
        wanted.append(observation.vector[key].ravel() if scale else np.zeros(size))
    weight, target = np.concatenate(weights), np.concatenate(wanted)

    def misfit(point: Float) -> Float:
        try:
            return np.asarray(weight * (loss_gradient(architecture, parameters, point, label).vector() - target))
        except InputError:  # a value inside is not finite
            return np.full(len(target), math.inf)

    residual, damping = misfit(inputs), 1e-2
    for _ in range(steps):
        cost = float(np.linalg.norm(residual))
        if not np.isfinite(cost) or cost == 0 or damping > _LARGEST_DAMPING:
            break
        step = _step(observation, inputs, label, weight, residual, damping)
        moved = inputs + step
        reached = misfit(moved)
        found = float(np.linalg.norm(reached))
        if not found < cost:
            damping *= 10
            continue
        inputs, residual = moved, reached
        if found > 0.9 * cost and found < 1e-12:
            break
        damping = damping / 10 if damping > 1e-14 else 0.0
    return inputs, float(np.linalg.norm(residual))


def _step(
    observation: Observation, inputs: Float, label: NDArray[Any], weight: Float, residual: Float, damping: float
) -> Float:
    jacobian = gradient_jacobian(observation.architecture, observation.parameters, inputs, label)

    def push(direction: Float) -> Float:
        return np.asarray(weight * jacobian.push_forward(direction.reshape(1, *inputs.shape))[0])

    def pull(covector: Float) -> Float:
        return np.asarray(jacobian.pull_back((weight * covector)[None])[0].ravel())

    operator = scipy.sparse.linalg.LinearOperator((len(weight), inputs.size), matvec=push, rmatvec=pull)
    # An inner solve needs no more digits than the outer steps, which are judged by the residual, can use.
    result = scipy.sparse.linalg.lsmr(operator, -residual, damp=damping, atol=1e-12, btol=1e-12, maxiter=_INNER_STEPS)
    step: Float = result[0].reshape(inputs.shape)
    return step
