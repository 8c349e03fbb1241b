r"""How much of a change of parameters lies in the span of the samples' tangents, and how much does not.

Notes
-----
The attack on a trained network rests on :math:`\theta_t - \theta_0 \in \operatorname{span}\{\nabla_\theta f_k(x_i;
\theta_0)\}`. That holds exactly for linearised gradient descent at any stopping time, with momentum or without; three
things break it:

* **Adam** divides every coordinate by a number of its own;
* **weight decay** toward zero adds a multiple of θ_0, a direction that an attacker knows and can add to the span;
* **standard dynamics** at finite width has the tangents of all θ_τ on the way: the part outside shrinks as the width grows
  and the tangent kernel moves less.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError
from provable.networks import Parameters, tangents
from provable.observations import Observation


@dataclass(frozen=True, eq=False)
class SpanDecomposition:
    """A change of parameters, split into its part in the span of the tangents and the rest.

    Attributes
    ----------
    coefficients : ndarray of shape (n, C)
        Those of the best approximation, of least norm.
    outside : float
        Norm of the rest relative to that of the whole, 0 to 1.
    initial_share : float or None
        Coefficient of θ_0, where that was counted into the span.
    rank : int
        Numerical dimension of the span.
    """

    coefficients: Float
    outside: float
    initial_share: float | None
    rank: int


def decompose(
    observation: Observation, points: ArrayLike, *, with_initial: bool = False, at: Parameters | None = None
) -> SpanDecomposition:
    r"""Approximate an observed change of parameters by the tangents at given points.

    Parameters
    ----------
    observation : Observation
        Of kind ``"parameter-change"`` or ``"gradient"``; pieces that were not observed count nowhere.
    points : array_like of shape (n, *input_shape)
        The samples, or candidates for them.
    with_initial : bool, optional
        Whether θ_0 is counted into the span, as weight decay toward zero makes necessary.
    at : Parameters, optional
        Where the tangents are taken; default θ_0, the parameters of the observation.

    Returns
    -------
    SpanDecomposition
        Coefficients and the relative distance
        :math:`\min_{c, b} \|v - \sum_{ik} c_{ik} \nabla_\theta f_k(x_i) - b\,\theta_0\| / \|v\|`.

    Raises
    ------
    InputError
        If the observation has no vector, the vector is zero, or the points do not fit the architecture.
    """
    if observation.kind == "stationary-point":
        raise InputError("kind: found stationary-point; parameter-change and gradient are accepted")
    architecture, theta = observation.architecture, observation.parameters
    samples = np.asarray(points, dtype=np.float64)
    if not samples.size:
        raise InputError("points: found none; one or more are accepted")
    columns = tangents(architecture, theta if at is None else at, samples)
    count, outputs = columns.shape[:2]
    seen = [
        np.full(int(np.prod(shape)), name in observation.vector)
        for name, shape in architecture.parameter_shapes.items()
    ]
    mask = np.concatenate(seen)
    target = np.concatenate(
        [observation.vector[name].reshape(-1) for name in architecture.parameter_shapes if name in observation.vector]
    )
    size = float(np.linalg.norm(target))
    if size == 0:
        raise InputError("vector: is zero, so that no part of it lies anywhere; a change of the parameters is accepted")
    matrix = columns.reshape(count * outputs, -1)[:, mask].T
    if with_initial:
        matrix = np.concatenate([matrix, theta.vector()[mask][:, None]], axis=1)
    # Columns of norm 1: the scale of a sample says nothing about the rank.
    norms = np.linalg.norm(matrix, axis=0)
    norms[norms == 0] = 1.0
    solution, _, rank, _ = np.linalg.lstsq(matrix / norms, target, rcond=8 * max(matrix.shape) * 2.0**-52)
    rest = target - (matrix / norms) @ solution
    solution = solution / norms
    return SpanDecomposition(
        solution[: count * outputs].reshape(count, outputs),
        min(float(np.linalg.norm(rest)) / size, 1.0),
        float(solution[-1]) if with_initial else None,
        int(rank),
    )
