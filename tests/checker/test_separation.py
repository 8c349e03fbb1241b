"""Certificates of batches: proved again by the checker's own splittings, and rejected once corrupted."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from flint import arb, arb_mat, ctx
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    Erf,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.checker import check
from provable.checker.separation import _least_eigenvalue, _partner
from provable.checker.verdict import Invalid
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.rigor.certificates import Certificate, Refusal
from provable.rigor.isolated_recovery import certify

Document = dict[str, Any]
SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS: list[Activation] = [Tanh(), Erf(), Sigmoid(), GELU(), SiLU(), Softplus(), ELU(0.7), ReLU(), LeakyReLU(0.2)]
ACTIVATIONS += [Polynomial((0.0, 0.0, 1.0, 1.0))]
EXPENSIVE = settings(max_examples=max(10, settings.default.max_examples // 10))
"""Each example makes and checks a certificate."""
SHAPES = {
    "row-space": [(7, (16, 2), 3), (9, (20, 1), 4), (8, (14, 9, 2), 3)],
    "layer-inputs": [(3, (12, 9, 1), 4), (2, (9, 8, 7, 2), 3), (4, (15, 6), 5)],
}


def observe(
    seed: int, shape: tuple[int, tuple[int, ...], int], activation: Activation, bias: bool = True
) -> tuple[Observation, Measure]:
    inputs, widths, samples = shape
    rng = np.random.default_rng(seed)
    layers: list[Any] = [Linear(widths[0], bias)]
    for size in widths[1:]:
        layers += [activation, Linear(size, bias)]
    architecture = Architecture("net", (inputs,), tuple(layers), "squared")
    parameters = Parameters.random(architecture, rng=rng)
    measure = Measure(rng.standard_normal((samples, inputs)), rng.standard_normal((samples, widths[-1])))
    vector = dict(embed(architecture, parameters, measure))
    return Observation("gradient", architecture, parameters, vector), measure


@pytest.mark.parametrize("split", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@EXPENSIVE
@given(SEEDS, st.integers(0, 2), st.booleans(), st.sampled_from([100, 128, 250]))
def test_what_is_certified_is_proved_again(
    split: str, activation: Activation, seed: int, kind: int, bias: bool, bits: int
) -> None:
    modulo = ("positive-scaling",) if isinstance(activation, ReLU | LeakyReLU) and not bias else ()
    observation, measure = observe(seed, SHAPES[split][kind], activation, bias)
    made = certify(observation, measure, split=split, modulo=modulo, bits=bits)
    assume(isinstance(made, Certificate))
    assert isinstance(made, Certificate)
    result = check(made.to_json(), observation=observation.to_bytes())
    assert result.valid, result.reason
    assert ("scaled" in result.reason) == bool(modulo)


class Case:
    """A certificate of a batch, its observation, and numbers that are true of it."""

    def __init__(self, split: str, activation: Activation, bias: bool = True) -> None:
        observation, measure = observe(3, SHAPES[split][0], activation, bias)
        self.scaled = isinstance(activation, ReLU) and not bias
        made = certify(observation, measure, split=split, modulo=("positive-scaling",) if self.scaled else ())
        assert isinstance(made, Certificate)
        self.document: Document = json.loads(made.to_json())
        self.observation = observation.to_bytes()
        self.split, self.size, self.names = split, measure.size, list(observation.vector)

    def number(self, key: str) -> Fraction:
        return Fraction(self.document["data"][key])

    def with_data(self, **changes: Any) -> Document:
        return {**self.document, "data": {**self.document["data"], **changes}}


CASES = {
    "row-space": Case("row-space", Tanh()),
    "layer-inputs": Case("layer-inputs", Tanh()),
    "row-space-scaled": Case("row-space", ReLU(), bias=False),
    "layer-inputs-scaled": Case("layer-inputs", ReLU(), bias=False),
}


def corruptions(case: Case) -> Iterator[tuple[str, Document]]:
    data = case.document["data"]
    rho, eta, sigma, radius = (case.number(key) for key in ("rho", "eta", "sigma", "radius"))
    yield "sigma 1 % larger", case.with_data(sigma=str(sigma * Fraction(101, 100)))
    better = sigma * Fraction(102, 100)
    yield "sigma and rho", case.with_data(sigma=str(better), rho=str((eta + case.number("residual")) / better))
    yield "rho 1 % smaller", case.with_data(rho=str(rho * Fraction(99, 100)))
    yield "rho beyond the radius", case.with_data(rho=str(radius * 2))
    yield "eta 1 % larger", case.with_data(eta=str(eta * Fraction(101, 100)))
    yield "residual smaller", case.with_data(residual=str(case.number("residual") / 2**20))
    yield "radius enlarged", case.with_data(radius=str(radius * 64))
    yield "radius below rho", case.with_data(radius=str(rho / 2))
    for key in ("eta", "sigma", "residual", "rho", "radius"):
        yield f"{key} negative", case.with_data(**{key: str(-case.number(key))})
    for field in ("points", "coefficients"):
        for row in range(case.size):
            for column in range(len(data[field][0])):
                changed = copy.deepcopy(data[field])
                changed[row][column] = str(Fraction(changed[row][column]) + 2 * rho)
                yield f"{field}[{row}][{column}] moved", case.with_data(**{field: changed})
        swapped = [data[field][1], data[field][0], *data[field][2:]]
        yield f"{field} swapped between atoms", case.with_data(**{field: swapped})
        yield (
            f"{field} reversed in an atom",
            case.with_data(
                **{field: [data[field][0][::-1], *data[field][1:]]} if len(data[field][0]) > 1 else {field: swapped}
            ),
        )
        yield f"a row of {field} missing", case.with_data(**{field: data[field][1:]})
    other = "layer-inputs" if case.split == "row-space" else "row-space"
    yield "the other split", case.with_data(split=other)
    for split in ("dense", "", None, ["row-space"], 1):
        yield f"split {split!r}", case.with_data(split=split)
    for pieces in (["4/weight"], ["0/bias"], [*data["pieces"], "4/weight"], [*data["pieces"], *data["pieces"]], []):
        yield f"pieces {pieces}", case.with_data(pieces=pieces)
    for modulo in ([], ["permutation"], "positive-scaling", ["positive-scaling", "positive-scaling"], None):
        yield f"modulo {modulo}", case.with_data(modulo=modulo)
    if not case.scaled:
        yield "modulo a symmetry that is none", case.with_data(modulo=["positive-scaling"])
    else:
        without = {key: value for key, value in data.items() if key != "modulo"}
        yield "the symmetry left out", {**case.document, "data": without}
    yield "an unknown field", case.with_data(separation="1")
    zero = [["0"] * len(data["coefficients"][0]), *data["coefficients"][1:]]
    yield "a zero coefficient", case.with_data(coefficients=zero)
    yield "a zero point", case.with_data(points=[["0"] * len(data["points"][0]), *data["points"][1:]])


@pytest.mark.parametrize("name", CASES)
def test_corrupted_certificates_are_rejected(name: str) -> None:
    case = CASES[name]
    assert check(case.document, observation=case.observation).valid
    for what, document in corruptions(case):
        result = check(document, observation=case.observation)
        assert not result.valid, what
        assert "broke down" not in result.reason, f"{what}: {result.reason}"
        assert "\n" not in result.reason


@pytest.mark.parametrize("name", CASES)
def test_another_order_of_the_atoms_is_the_same_claim(name: str) -> None:
    case = CASES[name]
    turned = {field: case.document["data"][field][::-1] for field in ("points", "coefficients")}
    assert check(case.with_data(**turned), observation=case.observation).valid


@pytest.mark.parametrize("name", ["row-space", "layer-inputs"])
def test_weaker_claims_are_accepted(name: str) -> None:
    case = CASES[name]
    sigma, radius = case.number("sigma"), case.number("radius")
    weaker = case.with_data(sigma=str(sigma / 2), rho=str(2 * case.number("rho")), radius=str(radius / 2))
    assert check(weaker, observation=case.observation).valid


def test_a_small_batch_is_proved_with_and_without_a_splitting() -> None:
    observation, measure = observe(3, SHAPES["row-space"][0], Tanh())
    made = certify(observation, measure, split="row-space")
    assert isinstance(made, Certificate)
    data = {key: value for key, value in made.data.items() if key != "split"}
    # the dense deviation bound is the cruder one, and needs a smaller radius
    data |= {"radius": str(Fraction(made.data["rho"]) * 2)}
    result = check(dataclasses.replace(made, data=data).to_json(), observation=observation.to_bytes())
    assert result.valid, result.reason


def test_limits_of_size_are_named() -> None:
    observation, measure = observe(0, (40, (40, 1), 39), Tanh())
    case = CASES["row-space"]
    data = case.document["data"] | {
        "points": [[str(Fraction(x)) for x in row] for row in measure.points.tolist()],
        "coefficients": [[str(Fraction(x)) for x in row] for row in measure.coefficients.tolist()],
        "pieces": ["0/weight"],
        "residual": "1/1000000",
        "eta": "1/100",
        "sigma": "1",
        "rho": "1",
        "radius": "1",
    }
    document = {**case.document, "data": data, "subject": observation.sha256}
    result = check(document, observation=observation.to_bytes())
    assert not result.valid
    assert "the most that are checked" in result.reason


@given(st.floats(1e-3, 1e3), st.floats(1e-3, 1e3), st.floats(0, 1e3), st.floats(0.01, 0.999))
def test_the_partner_is_what_the_two_by_two_matrix_needs(s: float, t: float, k: float, part: float) -> None:
    least = np.linalg.svd(np.array([[s, 0.0], [k, t]]), compute_uv=False)[-1]
    sigma = part * least
    with ctx.workprec(200):
        assert float(_partner(arb(s), arb(k), arb(sigma))) <= t * (1 + 1e-9)
        # and a smaller one would not do: at the found t the least singular value is sigma
        found = float(_partner(arb(s), arb(k), arb(sigma)))
    there = np.linalg.svd(np.array([[s, 0.0], [k, found]]), compute_uv=False)
    assert abs(there[-1] - sigma) <= 16 * np.finfo(np.float64).eps * there[0]
    with pytest.raises(Invalid):
        _partner(arb(s), arb(k), arb(1.001 * s))


@settings(max_examples=30)
@given(SEEDS, st.integers(1, 12), st.floats(0, 8))
def test_the_smallest_eigenvalue_is_bounded_from_below(seed: int, size: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    factor = rng.standard_normal((size, size)) * 10.0 ** -np.linspace(0, spread, size)
    with ctx.workprec(256):
        exact = arb_mat(factor.tolist())
        found = _least_eigenvalue(exact.transpose() * exact)
        values = np.linalg.svd(factor, compute_uv=False)
    square = values[-1] ** 2
    rounding = 64 * size * np.finfo(np.float64).eps * values[0] * values[-1]
    assert float(found) <= square + rounding
    assert float(found) >= square * (1 - 2.0**-9) - rounding


def test_a_bias_before_a_last_rectifier_fixes_the_scale() -> None:
    """Nothing of the bias is observed, and yet no sample may be scaled: the bias decides what the rectifier does."""
    rng = np.random.default_rng(0)
    behind = LeakyReLU(0.2)
    architecture = Architecture("net", (3,), (Linear(12, False), ReLU(), Linear(4), behind), "squared")
    parameters = Parameters.random(architecture, rng=rng)
    arrays = {key: np.array(value) for key, value in parameters.items()}
    arrays["2/bias"] = rng.standard_normal(4)
    parameters = Parameters(architecture, arrays)
    measure = Measure(rng.standard_normal((2, 3)), rng.standard_normal((2, 4)))
    image = embed(architecture, parameters, measure)
    scaled = embed(architecture, parameters, Measure(30 * measure.points, measure.coefficients / 30))
    assert np.linalg.norm(scaled["2/weight"] - image["2/weight"]) > 0.1 * np.linalg.norm(image["2/weight"])
    vector = {key: image[key] for key in ("0/weight", "2/weight")}
    observation = Observation("gradient", architecture, parameters, vector)
    made = certify(observation, measure, modulo=("positive-scaling",))
    assert isinstance(made, Refusal)
    # a certificate of the network without the last rectifier has the right form
    plain = Architecture("net", (3,), architecture.layers[:3], "squared")
    like = Parameters(plain, arrays)
    found = embed(plain, like, measure)
    alike = Observation("gradient", plain, like, {key: found[key] for key in vector})
    made = certify(alike, measure, modulo=("positive-scaling",))
    assert isinstance(made, Certificate)
    assert check(made.to_json(), observation=alike.to_bytes()).valid
    forged = {**json.loads(made.to_json()), "subject": observation.sha256}
    result = check(forged, observation=observation.to_bytes())
    assert not result.valid
    assert "fixes the scale" in result.reason
