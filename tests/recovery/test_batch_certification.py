"""Certification of recovered batches: true ones are certified by both programs, perturbed ones never are."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

import numpy as np
import pytest

from provable.architectures import Activation, Architecture, Linear, ReLU, Softplus, Tanh
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.recovery.acceptance import relative_misfit
from provable.recovery.certification import certified
from provable.recovery.result import Recovery


def batch(
    inputs: int, widths: tuple[int, ...], samples: int, activation: Activation, bias: bool
) -> tuple[Observation, Recovery]:
    rng = np.random.default_rng(samples)
    layers: list[Any] = [Linear(widths[0], bias)]
    for width in widths[1:]:
        layers += [activation, Linear(width, bias)]
    architecture = Architecture("net", (inputs,), tuple(layers), "squared")
    parameters = Parameters.random(architecture, rng=rng)
    measure = Measure(rng.standard_normal((samples, inputs)), rng.standard_normal((samples, widths[-1])))
    observation = Observation("gradient", architecture, parameters, dict(embed(architecture, parameters, measure)))
    return observation, recovered(observation, measure)


def recovered(observation: Observation, measure: Measure) -> Recovery:
    image = embed(observation.architecture, observation.parameters, measure)
    misfit = relative_misfit(image, observation.vector)
    return Recovery(measure.points, measure.coefficients, None, misfit, "test", (), "consistent")


BATCHES = {
    "row space": (120, (30, 1), 5, Tanh(), True),
    "row space, rectified": (120, (60, 1), 5, ReLU(), True),
    "row space, modulo scaling": (120, (60, 1), 5, ReLU(), False),
    "more samples than inputs": (6, (40, 30, 1), 12, Softplus(), True),
    "layer inputs, modulo scaling": (6, (50, 40, 1), 12, ReLU(), False),
    "Gram matrix": (6, (20, 2), 3, Tanh(), True),
}


@pytest.mark.parametrize("name", BATCHES)
def test_true_batches_are_certified_up_to_rounding(name: str) -> None:
    observation, recovery = batch(*BATCHES[name])
    rng = np.random.default_rng(0)
    rounded = Measure(recovery.points * (1 + 1e-15 * rng.standard_normal(recovery.points.shape)), recovery.coefficients)
    outcome = certified(observation, recovered(observation, rounded))
    assert outcome.status == "certified", outcome.reason
    assert outcome.certificate is not None
    data = json.loads(outcome.certificate)["data"]
    assert ("modulo" in data) == ("modulo" in name)


@pytest.mark.parametrize("name", ["row space", "row space, rectified", "more samples than inputs"])
@pytest.mark.parametrize("size", [1e-6, 1e-4, 1e-2])
def test_perturbed_answers_are_never_certified(name: str, size: float) -> None:
    observation, recovery = batch(*BATCHES[name])
    rng = np.random.default_rng(1)
    for trial in range(60):
        shift = rng.standard_normal(recovery.points.shape)
        if trial % 3 == 1:  # one sample alone
            shift[1:] = 0.0
        elif trial % 3 == 2:  # within the span of the batch, which the row space of the gradient does not show
            shift = rng.standard_normal((len(shift), len(shift))) @ recovery.points
        shift *= size * np.linalg.norm(recovery.points) / np.linalg.norm(shift)
        answer = Measure(recovery.points + shift, recovery.coefficients)
        honest = recovered(observation, answer)
        stale = dataclasses.replace(recovery, points=answer.points)
        for claim in (honest, stale):
            outcome = certified(observation, claim)
            assert outcome.status == "consistent"
            assert outcome.certificate is None
            assert "residual" in outcome.reason


def test_samples_with_each_others_coefficients_are_not_certified() -> None:
    observation, recovery = batch(*BATCHES["row space"])
    swapped = dataclasses.replace(recovery, coefficients=recovery.coefficients[::-1])
    outcome = certified(observation, swapped)
    assert outcome.status == "consistent"
    assert "residual" in outcome.reason


def test_points_at_which_the_network_overflows_are_not_certified() -> None:
    observation, recovery = batch(*BATCHES["row space, rectified"])
    outcome = certified(observation, dataclasses.replace(recovery, points=np.full_like(recovery.points, 1e308)))
    assert outcome.status == "consistent"
    assert outcome.reason
