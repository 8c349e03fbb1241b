"""What the solver certifies, the checker proves again: over architectures, activations, precisions and pieces."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    Erf,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import RATIONAL
from provable.checker import check
from provable.errors import InputError
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.rigor.certificates import Certificate, Refusal
from provable.rigor.isolated_recovery import certify

ACTIVATIONS: list[Activation] = [Tanh(), Sigmoid(), Softplus(), Erf(), GELU(), SiLU(), ELU(0.7), ReLU(), LeakyReLU(0.2)]
ACTIVATIONS += [Identity(), Polynomial((0.5, -1.0, 0.25, 0.125))]
SEEDS = st.integers(0, 2**32 - 1)
EXPENSIVE = settings(max_examples=max(25, settings.default.max_examples // 4))
"""A quarter of the profile's examples: each one makes and checks a certificate."""


def network(kind: int, activation: Activation) -> Architecture:
    layers: list[tuple[Any, ...]] = [
        (Linear(5), activation, Linear(3)),
        (Flatten(), Linear(6), activation, Linear(5), activation, Linear(2)),
        (Flatten(), activation, Linear(6), Linear(4), activation, Linear(1)),
        (Linear(8), Tanh(), activation, Linear(2, bias=False)),
    ]
    return Architecture("net", (4,) if kind in (0, 3) else (1, 2, 2), layers[kind], "squared")


def observe(
    seed: int, architecture: Architecture, atoms: int, kind: str = "gradient", scale: float = 1.0
) -> tuple[Observation, Measure]:
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    measure = Measure(
        rng.standard_normal((atoms, *architecture.input_shape)),
        scale * rng.standard_normal((atoms, architecture.output_size)),
    )
    return Observation(kind, architecture, parameters, dict(embed(architecture, parameters, measure))), measure


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@EXPENSIVE
@given(SEEDS, st.integers(0, 3), st.sampled_from([1, 1, 2]), st.sampled_from([90, 128, 300]), st.floats(-6, 3))
def test_what_is_certified_is_proved_again(
    activation: Activation, seed: int, kind: int, atoms: int, bits: int, log_scale: float
) -> None:
    observation, measure = observe(seed, network(kind, activation), atoms, scale=10.0**log_scale)
    made = certify(observation, measure, bits=bits)
    assume(isinstance(made, Certificate))
    assert isinstance(made, Certificate)
    result = check(made.to_json(), observation=observation.to_bytes())
    assert result.valid, result.reason


def test_parameter_changes_and_parts_of_the_pieces_are_checked() -> None:
    observation, measure = observe(0, network(0, Tanh()), 1, kind="parameter-change")
    for keys in (["0/weight"], ["0/weight", "0/bias"], ["2/weight", "0/weight"], list(observation.vector)):
        part = dataclasses.replace(observation, vector={key: observation.vector[key] for key in keys})
        made = certify(part, measure)
        if isinstance(made, Certificate):
            assert check(made.to_json(), observation=part.to_bytes()).valid
            # the same certificate holds for the file with all pieces, once its subject says so
            whole = dataclasses.replace(made, subject=observation.sha256)
            assert check(whole.to_json(), observation=observation.to_bytes()).valid
    assert isinstance(certify(observation, measure), Certificate)


def test_files_written_by_numpy_itself_are_checked(tmp_path: Any) -> None:
    observation, measure = observe(1, network(1, Tanh()), 1)
    arrays: dict[str, Any] = {"format": "provable-observation/1", "kind": "gradient"}
    arrays["architecture"] = observation.architecture.to_json()
    arrays |= {f"parameters/{key}": np.asfortranarray(value) for key, value in observation.parameters.items()}
    arrays |= {f"vector/{key}": np.asfortranarray(value) for key, value in observation.vector.items()}
    np.savez_compressed(tmp_path / "o.npz", **arrays)
    content = (tmp_path / "o.npz").read_bytes()
    made = certify(Observation.from_bytes(content), measure)
    assert isinstance(made, Certificate)
    assert check(made.to_json(), observation=content).valid


def test_points_need_not_be_floats() -> None:
    observation, measure = observe(1, network(0, Tanh()), 1)
    made = certify(observation, measure, eta=Fraction(1, 10**8))
    assert isinstance(made, Certificate)
    document = json.loads(made.to_json())
    data = document["data"]
    data["points"] = [[str(Fraction(entry) + Fraction(1, 3 * 10**16)) for entry in row] for row in data["points"]]
    data["residual"], data["eta"], data["rho"] = "1/1000000000000", "1/10000000", "1/100000"
    assert check(document, observation=observation.to_bytes()).valid


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("hessian", "neither a gradient"),
        ("shape", "do not fit"),
        ("layer", "neither linear"),
        ("missing", "has no parameters/0/weight"),
        ("format", "provable-observation/1"),
        ("bias", "true nor false"),
        ("integers", "float64"),
    ],
)
def test_observations_that_do_not_fit_are_named(tmp_path: Any, kind: str, reason: str) -> None:
    import hashlib

    observation, measure = observe(1, network(0, Tanh()), 1)
    made = certify(observation, measure)
    assert isinstance(made, Certificate)
    description = json.loads(observation.architecture.to_json())
    arrays: dict[str, Any] = {"format": "provable-observation/1", "kind": "gradient"}
    arrays |= {f"parameters/{key}": value for key, value in observation.parameters.items()}
    arrays |= {f"vector/{key}": value for key, value in observation.vector.items()}
    if kind == "hessian":
        arrays["kind"] = kind
    elif kind == "shape":
        arrays["parameters/0/weight"] = np.ones((5, 3))
    elif kind == "layer":
        description["layers"][1] = {"type": "batch_norm2d"}
    elif kind == "missing":
        del arrays["parameters/0/weight"]
    elif kind == "format":
        arrays["format"] = "provable-observation/2"
    elif kind == "bias":
        description["layers"][0]["bias"] = 1
    else:
        arrays["vector/0/bias"] = np.ones(5, dtype=np.int64)
    np.savez(tmp_path / "o.npz", **arrays, architecture=json.dumps(description))
    content = (tmp_path / "o.npz").read_bytes()
    changed = dataclasses.replace(made, subject=hashlib.sha256(content).hexdigest())
    result = check(changed.to_json(), observation=content)
    assert not result.valid
    assert reason in result.reason


def test_a_network_of_ordinary_size_is_certified_and_checked() -> None:
    rng = np.random.default_rng(0)
    architecture = Architecture("mlp", (64,), (Linear(32), Tanh(), Linear(10)), "cross_entropy")
    parameters = Parameters.random(architecture, rng=rng)
    image = rng.random((1, 64))
    observation = Observation.from_data(architecture, parameters, image, [3])
    # the first layer gives the image exactly, up to rounding, and the coefficients are softmax minus label
    row = int(np.argmax(np.abs(observation.vector["0/bias"])))
    points = observation.vector["0/weight"][row] / observation.vector["0/bias"][row]
    made = certify(observation, Measure(points[None, :], observation.vector["2/bias"][None, :]))
    assert isinstance(made, Certificate)
    assert np.linalg.norm(points - image) <= float(Fraction(made.data["rho"]))
    assert check(made.to_json(), observation=observation.to_bytes()).valid


@pytest.mark.parametrize("scale", [1e-300, 1e-150, 1e5, 1e60, 1e150, 1e300])
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
def test_extreme_parameters_give_a_refusal_or_a_certificate_that_is_accepted(
    activation: Activation, scale: float
) -> None:
    architecture = Architecture("net", (3,), (Linear(4), activation, Linear(2)), "squared")
    drawn = Parameters.random(architecture, rng=0)
    arrays = {key: value * scale if key.startswith("0/") else np.array(value) for key, value in drawn.items()}
    parameters = Parameters(architecture, arrays)
    measure = Measure(np.random.default_rng(0).standard_normal((1, 3)), np.ones((1, 2)))
    try:
        with np.errstate(all="ignore"):
            vector = dict(embed(architecture, parameters, measure))
    except InputError:  # the embedding is not finite in float64, so there is no such observation
        return
    observation = Observation("gradient", architecture, parameters, vector)
    made = certify(observation, measure)
    if isinstance(made, Refusal):
        assert "\n" not in made.reason
        assert scale > 1e4
        return
    result = check(made.to_json(), observation=observation.to_bytes())
    assert result.valid, result.reason


def test_a_residual_of_exactly_zero_is_handled() -> None:
    architecture = Architecture("net", (2,), (Linear(3), Tanh(), Linear(2)), "squared")
    shapes = architecture.parameter_shapes
    parameters = Parameters(architecture, {key: np.zeros(shape) for key, shape in shapes.items()})
    arrays = {**parameters, "2/weight": np.array([[1.0, 0.0, 2.0], [0.0, 1.0, 4.0]])}
    parameters = Parameters(architecture, arrays)
    measure = Measure(np.array([[1.0, -2.0]]), np.array([[1.0, 0.5]]))
    observation = Observation("gradient", architecture, parameters, dict(embed(architecture, parameters, measure)))
    made = certify(observation, measure, eta=Fraction(0))
    assert isinstance(made, Certificate)
    assert Fraction(made.data["residual"]) < Fraction(1, 2**80)
    assert check(made.to_json(), observation=observation.to_bytes()).valid
    moved = json.loads(made.to_json())
    moved["data"]["points"][0][0] = str(1 + Fraction(made.data["rho"]) * Fraction(10**6 + 1, 10**6))
    assert not check(moved, observation=observation.to_bytes()).valid


def test_exact_numbers_are_refused() -> None:
    observation, measure = observe(1, network(0, Tanh()), 1)
    assert isinstance(certify(observation, RATIONAL.convert(measure)), Refusal)
