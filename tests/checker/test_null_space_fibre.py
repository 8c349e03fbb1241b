"""The claim that an affine space of samples has one gradient: made, proved again, and refused when it says too much."""

from __future__ import annotations

import copy
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import provable
from provable import checker
from provable.architectures import Architecture, Conv2d, Flatten, LeakyReLU, Linear, Tanh
from provable.arithmetic import EPSILON
from provable.cli.application import run
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, losses
from provable.observations import Observation
from provable.rigor import null_space_fibre
from provable.rigor.certificates import Refusal


def problem(architecture, seed):
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    x = rng.normal(size=(1, *architecture.input_shape))
    labels = np.array([1])
    observation = Observation.from_data(architecture, parameters, x, labels)
    return observation, Measure(x, losses.residual(architecture.loss, forward(architecture, parameters, x), labels))


# (first layer, size of the image, dimension of the null space: counted by hand or from the dependency law)
SHORT = [
    (Conv2d(1, 3, 2, bias=False), (2, 6, 6), 51),  # 72 unknowns, rank 4 + 18 - 1
    (Conv2d(3, 2, 2), (1, 7, 7), 19),  # 13 pixels never seen; tiled: (4 - 3)(9 - 3) = 6
    (Conv2d(2, 3), (1, 5, 5), 0),
]


@pytest.mark.parametrize(("layer", "shape", "dimension"), SHORT)
@pytest.mark.parametrize("activation", [Tanh(), LeakyReLU(0.2)])
def test_the_whole_null_space_is_proved_and_no_more(layer, shape, dimension, activation):
    architecture = Architecture("short", shape, (layer, activation, Flatten(), Linear(3)), "cross_entropy")
    observation, measure = problem(architecture, 0)
    if dimension:
        certificate = null_space_fibre.certify(observation, measure, dimension)
        assert checker.check(certificate.to_json(), observation=observation.to_bytes()).valid
    more = null_space_fibre.certify(observation, measure, dimension + 1)
    verdict = checker.check(more.to_json(), observation=observation.to_bytes())
    assert not verdict.valid and "dimension is" in verdict.reason


@given(st.integers(0, 2**32), st.floats(-6, 3))
def test_what_is_claimed_is_so(seed, exponent):
    """Points of the null space, near and far, have the gradient that the certificate is about."""
    architecture = Architecture("short", (2, 6, 6), (Conv2d(1, 3, 2), Tanh(), Flatten(), Linear(3)), "cross_entropy")
    observation, measure = problem(architecture, seed)
    from provable.leakage import LayerSystem
    from provable.networks import backpropagate, trace

    traced = trace(architecture, observation.parameters, measure.points)
    sensitivity = backpropagate(architecture, observation.parameters, traced, measure.coefficients).outputs["0"][0]
    system = LayerSystem.of_layer(architecture.layers[0], architecture.input_shape)
    matrix = system.matrix(observation.parameters["0/weight"], sensitivity / np.abs(sensitivity).max())
    null = np.linalg.svd(matrix)[2][21:]
    shift = 10.0**exponent * np.random.default_rng(seed).normal(size=len(null)) @ null
    moved = embed(
        architecture, observation.parameters, Measure(measure.points + shift.reshape(1, 2, 6, 6), measure.coefficients)
    )
    size = 1 + np.linalg.norm(shift) / np.linalg.norm(measure.points)
    for name, array in observation.vector.items():
        # the null space in float64 is off by rounding times the condition of the equations, below 1e4 here
        assert np.linalg.norm(moved[name] - array) <= 30 * 72 * EPSILON * 1e4 * size * (1 + np.linalg.norm(array))


def test_altered_certificates_are_refused():
    architecture = Architecture("short", (2, 6, 6), (Conv2d(1, 3, 2), Tanh(), Flatten(), Linear(3)), "cross_entropy")
    observation, measure = problem(architecture, 3)
    evidence = observation.to_bytes()
    document = json.loads(null_space_fibre.certify(observation, measure, 51).to_json())
    assert checker.check(document, observation=evidence).valid
    assert checker.check(copy.deepcopy(document) | {"seed": 5}, observation=evidence).valid

    def altered(**changes):
        return copy.deepcopy(document) | {"data": copy.deepcopy(document["data"]) | changes}

    point = document["data"]["points"][0]
    moved = [[str(Fraction(point[0]) + Fraction(1, 10**6)), *point[1:]]]
    for changes in (
        {"points": moved},
        {"points": [point[:-1]]},
        {"coefficients": [["1/3", "1/3", "1/3"]]},
        {"residual": "0"},
        {"residual": "-1"},
        {"dimension": 52},
        {"dimension": 0},
        {"dimension": True},
        {"prime": 2**61 + 1},
        {"pieces": []},
        {"pieces": ["0/weight", "0/weight"]},
        {"more": 1},
    ):
        assert not checker.check(altered(**changes), observation=evidence).valid, changes
    assert not checker.check(document).valid
    assert not checker.check(document, observation=problem(architecture, 4)[0].to_bytes()).valid
    assert not checker.check(document, observation=evidence[:-1] + bytes([evidence[-1] ^ 1])).valid


def test_nothing_is_stated_where_there_is_nothing_to_state():
    observation, measure = problem(
        Architecture("short", (2, 6, 6), (Conv2d(1, 3, 2), Tanh(), Flatten(), Linear(3)), "cross_entropy"), 1
    )
    assert isinstance(null_space_fibre.certify(observation, measure, 0), Refusal)
    two = Measure(np.concatenate([measure.points] * 2), np.concatenate([measure.coefficients] * 2))
    assert isinstance(null_space_fibre.certify(observation, two, 51), Refusal)


def test_from_a_gradient_to_the_certificate(tmp_path, capsys):
    architecture = Architecture("short", (2, 6, 6), (Conv2d(1, 3, 2), Tanh(), Flatten(), Linear(3)), "cross_entropy")
    observation, measure = problem(architecture, 2)
    recovery = provable.recover(observation, method="layer-wise", rng=0)
    assert (recovery.status, recovery.fibre) == ("consistent", ("null-space:51",))
    assert json.loads(recovery.certificate)["data"]["dimension"] == 51
    assert provable.check(recovery, observation=observation).valid
    assert np.linalg.norm(recovery.points) < np.linalg.norm(measure.points), "the shortest of all that explain it"
    recovery.write(tmp_path / "recovery.npz")
    (tmp_path / "observation.npz").write_bytes(observation.to_bytes())
    command = ["check", str(tmp_path / "recovery.npz"), "--observation", str(tmp_path / "observation.npz")]
    assert run(command) == 0
    assert "every point of a space of dimension 51" in " ".join(capsys.readouterr().out.split())
