"""How many directions all gradients together leave open at a sample, to first order."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.networks.second_derivatives import gradient_jacobian
from provable.observations import Observation

Float = NDArray[np.float64]

LARGEST_INPUT = 4096
"""Most entries of a sample for which the derivative is decomposed."""

ZERO = 1e-11
"""Eigenvalues of JᵀJ below this multiple of the largest count as zero; its rounding leaves about 1e-13."""

_CHUNK = 64


def open_directions(observation: Observation, inputs: Float, label: NDArray[Any]) -> int | None:
    """Count the directions in which no observed gradient changes at first order.

    Parameters
    ----------
    observation : Observation
        Gives the network and which pieces were observed.
    inputs : array of shape (1, *input_shape)
        The sample.
    label : array of shape (1,) or (1, C)
        Its label, which stays.

    Returns
    -------
    int or None
        Numerical nullity of the derivative of the observed pieces, each divided by its norm, with respect to the sample;
        None if the sample is larger than `LARGEST_INPUT`.
    """
    size = inputs.size
    if size > LARGEST_INPUT:
        return None
    shapes = observation.architecture.parameter_shapes
    weight = np.concatenate([_weight(observation, key, math.prod(shape)) for key, shape in shapes.items()])
    jacobian = gradient_jacobian(observation.architecture, observation.parameters, inputs, label)
    gram = np.empty((size, size))
    for start in range(0, size, _CHUNK):
        units = np.eye(size)[start : start + _CHUNK].reshape(-1, *inputs.shape)
        pushed = jacobian.push_forward(units) * weight**2
        gram[start : start + _CHUNK] = jacobian.pull_back(pushed).reshape(len(units), size)
    values = np.linalg.eigvalsh((gram + gram.T) / 2)
    return int(np.count_nonzero(values <= ZERO * max(float(values[-1]), np.finfo(np.float64).tiny)))


def _weight(observation: Observation, key: str, size: int) -> Float:
    norm = float(np.linalg.norm(observation.vector[key])) if key in observation.vector else 0.0
    return np.full(size, 1 / norm if norm else 0.0)
