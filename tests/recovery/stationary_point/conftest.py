"""Stationary points of dense ReLU networks, exact in rationals, as observations."""

from __future__ import annotations

import numpy as np
import pytest

from provable.architectures import Architecture, Linear, ReLU
from provable.networks import Parameters
from provable.observations import Observation


@pytest.fixture
def two_classes():
    """Give f(x) = relu(g·x) - relu(-g·x) on copies of ±g: stationary with multipliers that add up to one on each side."""

    def make(direction=(0.6, 0.8), multiples=1):
        g = np.array(direction)
        architecture = Architecture("two neurons", (len(g),), (Linear(2, False), ReLU(), Linear(1, False)), "logistic")
        parameters = Parameters(architecture, {"0/weight": np.stack([g, -g]), "2/weight": np.array([[1.0, -1.0]])})
        points = np.repeat(np.stack([g, -g]), multiples, axis=0)
        labels = np.repeat(np.array([1, -1]), multiples)
        observation = Observation("stationary-point", architecture, parameters, labels=labels)
        return observation, points, labels / multiples

    return make
