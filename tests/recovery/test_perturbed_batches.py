"""Thousands of wrong answers handed in as recoveries, and what a certificate of one may say.

A perturbed answer whose residual passes for rounding may be certified. Then its certificate is a true statement about it: the
batch behind the gradient explains it within η, and lies within ρ of the answer. Any other one is refused.
"""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from provable.architectures import GELU, Activation, Architecture, LeakyReLU, Linear, ReLU, Sigmoid, Softplus, Tanh
from provable.arithmetic import Float
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.recovery.acceptance import relative_misfit
from provable.recovery.certification import certified
from provable.recovery.result import Recovery
from provable.rigor import isolated_recovery

CASES: dict[str, tuple[int, tuple[int, ...], int, Activation, bool]] = {
    "smooth": (3, (8, 2), 2, Tanh(), True),
    "three samples": (4, (12, 1), 3, Softplus(), True),
    "rectified": (3, (10, 2), 2, ReLU(), True),
    "modulo scaling": (3, (10, 2), 2, LeakyReLU(0.2), False),
    "more samples than inputs": (2, (8, 7, 1), 3, Sigmoid(), True),
    "one sample": (4, (6, 2), 1, GELU(), True),
    "row space": (9, (14, 1), 3, Tanh(), True),
    "row space modulo scaling": (8, (24, 1), 3, ReLU(), False),
    "layer inputs": (3, (12, 9, 1), 4, Softplus(), True),
}
"""Inputs, widths, samples, activation, biases; the splittings of large batches are tried first where a name says so."""

NEVER = 1e-6
"""Perturbations of this relative size leave residuals far above rounding in all of these networks."""


class Batch:
    """A gradient, the batch behind it, and the directions in which it shows least of that."""

    def __init__(self, inputs: int, widths: tuple[int, ...], samples: int, activation: Activation, bias: bool) -> None:
        rng = np.random.default_rng(samples)
        layers: list[Any] = [Linear(widths[0], bias)]
        for width in widths[1:]:
            layers += [activation, Linear(width, bias)]
        architecture = Architecture("net", (inputs,), tuple(layers), "squared")
        parameters = Parameters.random(architecture, rng=rng)
        self.samples, self.inputs = samples, inputs
        self.truth = np.hstack([rng.standard_normal((samples, inputs)), rng.standard_normal((samples, widths[-1]))])
        measure = Measure(self.truth[:, :inputs], self.truth[:, inputs:])
        self.observation = Observation(
            "gradient", architecture, parameters, dict(embed(architecture, parameters, measure))
        )
        columns = []
        for step in 1e-5 * np.eye(self.truth.size):
            sides = [self.image(self.truth + sign * step.reshape(self.truth.shape)) for sign in (1, -1)]
            columns.append((sides[0] - sides[1]) / 2e-5)
        basis = np.eye(self.truth.size)
        if not bias:  # scaling moves the batch along these, and is no perturbation
            scalings = np.zeros((samples, *self.truth.shape))
            for sample, row in enumerate(self.truth):
                scalings[sample, sample] = np.concatenate([row[:inputs], -row[inputs:]])
            basis = np.linalg.svd(scalings.reshape(samples, -1))[2][samples:].T
        directions = np.linalg.svd(np.stack(columns, axis=1) @ basis)[2]
        self.worst = (basis @ directions[-2:].T).T[::-1]

    def image(self, rows: Float) -> Float:
        measure = Measure(rows[:, : self.inputs], rows[:, self.inputs :])
        found = embed(self.observation.architecture, self.observation.parameters, measure)
        return np.concatenate([found[key].ravel() for key in self.observation.vector])

    def claim(self, rows: Float) -> Recovery:
        measure = Measure(rows[:, : self.inputs], rows[:, self.inputs :])
        image = embed(self.observation.architecture, self.observation.parameters, measure)
        misfit = relative_misfit(image, self.observation.vector)
        return Recovery(measure.points, measure.coefficients, None, misfit, "test", (), "consistent")

    def perturbation(self, trial: int, rng: np.random.Generator) -> Float:
        """At random, of one sample, and along the directions that the gradient shows least, either way."""
        shift = rng.standard_normal(self.truth.shape)
        if trial % 4 == 1:
            shift[np.arange(self.samples) != rng.integers(self.samples)] = 0.0
        elif trial % 4 > 1:
            shift = self.worst[trial % 2].reshape(self.truth.shape) * rng.choice([-1.0, 1.0])
        size = 10.0 ** rng.uniform(-9, -1)
        return np.asarray(shift * (size * np.linalg.norm(self.truth) / np.linalg.norm(shift)))

    def distance(self, rows: Float, scaled: bool) -> float:
        """Of the truth, where the claim is modulo scaling with the samples scaled as it says."""
        truth = self.truth.copy()
        if scaled:
            for true, row in zip(truth, rows, strict=True):
                answer = row[: self.inputs]
                factor = answer @ answer / (answer @ true[: self.inputs])
                true[: self.inputs] *= factor
                true[self.inputs :] /= factor
        return float(np.linalg.norm(truth - rows))


def judge(name: str, count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hand in perturbed answers and check every certificate."""
    if name.startswith(("row space", "layer inputs")):
        monkeypatch.setattr(isolated_recovery, "SMALL_SYSTEM", 0)
    case = Batch(*CASES[name])
    rng = np.random.default_rng(count)
    exact = case.claim(case.truth)
    for trial in range(count):
        shift = case.perturbation(trial, rng)
        rows = case.truth + shift
        size = np.linalg.norm(shift) / np.linalg.norm(case.truth)
        honest = case.claim(rows)
        stale = dataclasses.replace(exact, points=honest.points, coefficients=honest.coefficients)
        for claim in (honest, stale):
            outcome = certified(case.observation, claim)
            if outcome.status != "certified":
                assert outcome.status == "consistent"
                assert outcome.certificate is None
                assert outcome.reason
                continue
            assert size < NEVER
            assert outcome.certificate is not None
            data = json.loads(outcome.certificate)["data"]
            assert case.distance(rows, "modulo" in data) <= float(Fraction(data["rho"]))


@pytest.mark.parametrize("name", CASES)
def test_a_perturbed_answer_is_refused_or_its_certificate_is_true(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    judge(name, 40, monkeypatch)


@pytest.mark.deep
@pytest.mark.parametrize("name", CASES)
def test_ten_thousand_perturbed_answers_are_refused_or_their_certificates_are_true(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    judge(name, 10_000 // len(CASES) + 1, monkeypatch)
