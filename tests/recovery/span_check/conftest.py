"""Random fully connected networks with batches behind their gradients."""

from __future__ import annotations

import numpy as np
import pytest

from provable.architectures import Architecture, Linear
from provable.networks import Parameters
from provable.observations import Observation


def batch_observation(
    activation,
    dimension,
    size,
    widths,
    seed,
    *,
    outputs=1,
    bias=False,
    loss="squared",
    scale="lecun",
    norms=(1.0, 1.0),
    inputs=None,
    **options,
):
    """An observation, and the samples behind it; weights of unit variance in the first layer for scale "lecun"."""
    rng = np.random.default_rng(seed)
    layers = []
    for width in widths:
        layers += [Linear(width, bias), activation]
    network = Architecture("drawn", (dimension,), (*layers, Linear(outputs, bias)), loss)
    parameters = Parameters.random(network, rng=rng, scale=scale)
    if scale == "lecun":
        first = {"0/weight": parameters["0/weight"] * np.sqrt(dimension)}
        parameters = Parameters(network, dict(parameters) | first)
    if inputs is None:
        inputs = rng.standard_normal((size, dimension))
        inputs *= rng.uniform(*norms, (size, 1)) / np.linalg.norm(inputs, axis=1, keepdims=True)
    if loss == "cross_entropy":
        labels = rng.integers(0, outputs, size)
    elif loss == "logistic":
        labels = rng.choice([-1.0, 1.0], size)
    else:
        labels = rng.standard_normal((size, outputs))
    return Observation.from_data(network, parameters, inputs, labels, **options), inputs


@pytest.fixture(name="batch_observation", scope="session")
def _batch_observation():
    return batch_observation
