"""Dense ReLU networks and the changes of their parameters by linearised training."""

from __future__ import annotations

import numpy as np
import pytest

from provable.architectures import Architecture, Linear, ReLU
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation


@pytest.fixture
def observed_change():
    """Make an observation with known points and coefficients."""

    def make(rng, *, count, dimension, widths, outputs=1, biases="random"):
        layers = []
        for width in widths:
            layers += [Linear(width, biases != "absent"), ReLU()]
        architecture = Architecture("dense", (dimension,), (*layers, Linear(outputs, biases != "absent")), "squared")
        values = {}
        for key, shape in architecture.parameter_shapes.items():
            values[key] = rng.standard_normal(shape)
            if key.endswith("weight"):
                values[key] /= np.sqrt(shape[-1])
            elif biases == "zero":
                values[key] *= 0.0
        parameters = Parameters(architecture, values)
        truth = Measure(rng.standard_normal((count, dimension)), rng.standard_normal((count, outputs)))
        vector = dict(embed(architecture, parameters, truth))
        observation = Observation(
            kind="parameter-change", architecture=architecture, parameters=parameters, vector=vector, batch_size=count
        )
        return observation, truth

    return make
