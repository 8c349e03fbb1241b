"""From an observation to a certificate: whichever claim applies, made and accepted without being asked for."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from sklearn.datasets import load_digits

import provable
import provable.networks
from provable.architectures import Architecture, Conv2d, Flatten, LeakyReLU, Linear, ReLU, Tanh
from provable.architectures.zoo import from_zoo
from provable.cli.check import in_numbers
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.refinement import fitted_coefficients
from provable.recovery.certification import certified
from provable.recovery.result import Recovery

IMAGES, CLASSES = load_digits(return_X_y=True)


def digit(index, seed=0):
    architecture = from_zoo("cnn-digits")
    parameters = Parameters.random(architecture, rng=seed)
    image = (IMAGES[index] / 16).reshape(1, 1, 8, 8)
    return image, Observation.from_data(architecture, parameters, image, CLASSES[index : index + 1])


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_digit_behind_a_convolution_is_certified(index):
    image, observation = digit(index, seed=index)
    recovery = provable.recover(observation)
    assert recovery.status == "certified"
    document = json.loads(recovery.certificate)
    assert document["claim"] == "layerwise-recovery"
    rho = float(Fraction(document["data"]["rho"]))
    assert np.linalg.norm(recovery.points - image) <= rho < 1e-8
    assert provable.check(recovery, observation=observation).valid
    assert "wherever it lies" in in_numbers(recovery.certificate)


def test_the_certificate_of_a_digit_does_not_cover_other_numbers():
    _, observation = digit(0)
    recovery = provable.recover(observation)
    moved = dataclasses.replace(recovery, points=np.nextafter(recovery.points, np.inf))
    result = provable.check(moved, observation=observation)
    assert not result.valid and "other points" in result.reason
    _, other = digit(1)
    assert not provable.check(recovery, observation=other).valid


def consistent(points, coefficients):
    return Recovery(
        points=points,
        coefficients=coefficients,
        labels=None,
        residual=0.0,
        method="given",
        fibre=(),
        status="consistent",
    )


def test_the_branch_and_the_label_of_a_logistic_recovery_are_said():
    layers = (Conv2d(6, 2, bias=False), LeakyReLU(0.2), Flatten(), Linear(1, False))
    architecture = Architecture("logit", (1, 4, 4), layers, "logistic")
    parameters = Parameters.random(architecture, rng=4)
    rng = np.random.default_rng(0)
    texts = set()
    for scale in (0.3, 40.0):
        point = scale * np.abs(rng.standard_normal((1, 1, 4, 4)))
        for label in (-1, 1):
            observation = Observation.from_data(architecture, parameters, point, np.array([label]))
            output = provable.networks.forward(architecture, parameters, point)
            with np.errstate(over="ignore"):
                coefficient = -label / (1 + np.exp(label * output))
            result = certified(observation, consistent(point, coefficient))
            if result.status == "certified":
                text = in_numbers(result.certificate)
                assert f"with label {label}" in text
                texts.add("margin" in text)
            else:
                assert "layer by layer" in result.reason
    assert False in texts


def test_inputs_on_which_nothing_depends_are_counted_in_words():
    architecture = Architecture("strided", (1, 4, 5), (Conv2d(6, 2, 2), Tanh(), Flatten(), Linear(2)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    point = np.random.default_rng(0).standard_normal((1, 1, 4, 5))
    observation = Observation.from_data(architecture, parameters, point, np.zeros((1, 2)))
    result = certified(observation, consistent(point, provable.networks.forward(architecture, parameters, point)))
    assert result.status == "certified"
    assert in_numbers(result.certificate).endswith("of this one, but for 4 inputs on which nothing depends")


def test_both_reasons_are_given_where_neither_claim_can_be_proved():
    architecture = Architecture("wide", (2, 5, 5), (Conv2d(1, 3), Tanh(), Flatten(), Linear(2)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    point = np.random.default_rng(0).standard_normal((1, 2, 5, 5))
    observation = Observation.from_data(architecture, parameters, point, np.zeros((1, 2)))
    output = provable.networks.forward(architecture, parameters, point)
    result = certified(observation, consistent(point, output))
    assert result.status == "consistent" and result.certificate is None
    assert "no certificate: " in result.reason and "layer by layer: " in result.reason


@pytest.mark.parametrize(("unit", "kind"), [(2.0**-24, np.float32), (2.0**-53, np.float64)])
@pytest.mark.parametrize("seed", range(4))
def test_the_sample_behind_stored_numbers_lies_within_rho(unit, kind, seed):
    """As many equations as unknowns: rounded numbers are fitted exactly, by other data than those behind them."""
    architecture = Architecture("linear", (8,), (Linear(1),), "squared")
    parameters = Parameters.random(architecture, rng=seed)
    rng = np.random.default_rng(seed)
    point = rng.standard_normal((1, 8))
    observation = Observation.from_data(architecture, parameters, point, rng.standard_normal((1, 1)))
    stored = {key: piece.astype(kind).astype(np.float64) for key, piece in observation.vector.items()}
    recovery = provable.recover(dataclasses.replace(observation, vector=stored))
    assert recovery.status == "certified", recovery.reason
    data = json.loads(recovery.certificate)["data"]
    length = np.sqrt(sum(np.sum(piece**2) for piece in stored.values()))
    assert float(Fraction(data["eta"])) >= unit * length * (1 - 1e-12)
    assert np.linalg.norm(recovery.points - point) <= float(Fraction(data["rho"]))


def test_a_claim_modulo_scaling_names_it_in_the_fibre():
    architecture = Architecture("relu", (3,), (Linear(10, bias=False), ReLU(), Linear(2)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    rng = np.random.default_rng(0)
    point = rng.standard_normal((2, 3))
    observation = Observation.from_data(architecture, parameters, point, rng.standard_normal((2, 2)))
    vector = {key: piece for key, piece in observation.vector.items() if key != "2/bias"}
    observation = dataclasses.replace(observation, vector=vector)
    fitted = fitted_coefficients(FullyConnected.of(observation), point)
    result = certified(observation, consistent(point, fitted))
    assert result.status == "certified", result.reason
    assert "modulo" in json.loads(result.certificate)["data"]
    assert result.fibre == ("positive-scaling",)


def test_a_claim_modulo_scaling_says_so():
    numbers = {"radius": "1/32", "eta": "1/64", "rho": "1/128"}
    for modulo in ({}, {"modulo": ["positive-scaling:3"]}):
        text = in_numbers(json.dumps({"claim": "isolated-recovery", "data": numbers | modulo}))
        assert ("scaled" in text) == bool(modulo)
