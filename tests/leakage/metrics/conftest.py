"""Small networks for numerical metrics, and spectra of given matrices."""

from __future__ import annotations

import numpy as np
import pytest

from provable.architectures import (
    Architecture,
    AvgPool2d,
    Conv2d,
    Flatten,
    LeakyReLU,
    Linear,
    Residual,
    Sigmoid,
    Tanh,
)

NETWORKS = {
    "dense": Architecture("dense", (5,), (Linear(6), Tanh(), Linear(3)), "cross_entropy"),
    "logit": Architecture("logit", (4,), (Linear(5, False), LeakyReLU(0.2), Linear(1, False)), "logistic"),
    "convolution": Architecture(
        "convolution", (2, 5, 5), (Conv2d(2, 2, 2), Tanh(), Flatten(), Linear(3)), "cross_entropy"
    ),
    "pooled": Architecture(
        "pooled", (1, 6, 6), (Conv2d(2, 3), Sigmoid(), AvgPool2d(2), Flatten(), Linear(2)), "squared"
    ),
    "residual": Architecture("residual", (4,), (Residual((Linear(4), Tanh())), Linear(2)), "squared"),
}


@pytest.fixture(scope="session")
def networks():
    """The networks by name: dense, logit, convolution, pooled, residual."""
    return NETWORKS


@pytest.fixture(scope="session")
def dense_jacobian():
    """A function that writes J as a matrix, one row for each parameter."""

    def write(jacobian):
        inputs = jacobian.traced.inputs["0"]
        size = jacobian.shape[1]
        return jacobian.push_forward(np.eye(size).reshape(size, *inputs.shape)).T

    return write
