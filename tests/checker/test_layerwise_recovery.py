"""Certificates of one sample, layer by layer: made, proved again, true of every other input tried, and not to be forged."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import brentq

from provable.architectures import Architecture, Conv2d, Flatten, Identity, LeakyReLU, Linear, Sigmoid, Softplus, Tanh
from provable.architectures.zoo import from_zoo
from provable.checker import check
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.observations import Observation
from provable.rigor.certificates import Certificate, Refusal
from provable.rigor.layerwise_recovery import certify

Document = dict[str, Any]

LEAKY = LeakyReLU(0.2)
SEEDS = st.integers(0, 2**32 - 1)
EXPENSIVE = settings(max_examples=max(10, settings.default.max_examples // 8))
"""An eighth of the profile's examples: each one makes and checks a certificate."""


def chain(activation: Any, *, bias: bool, loss: str) -> Architecture:
    """Convolutions with stride, padding and phases; both kinds of head."""
    outputs = 1 if loss == "logistic" else 3
    layers = (
        Conv2d(9, 3, 2, 1, bias),
        activation,
        Conv2d(6, (2, 3), 1, (0, 1), bias),
        activation,
        Flatten(),
        Linear(outputs, bias or loss != "logistic"),
    )
    return Architecture("chain", (2, 6, 5), layers, loss)


def unreached(activation: Any) -> Architecture:
    """Strides that leave the last row of the first layer's output unseen, and with it the last row of the input."""
    layers = (Conv2d(9, 3), activation, Conv2d(20, 2, 2), activation, Flatten(), Linear(3))
    return Architecture("unreached", (2, 7, 6), layers, "cross_entropy")


def flat(activation: Any) -> Architecture:
    return Architecture("flat", (4,), (Linear(5, False), activation, Linear(6, False), Linear(1, False)), "logistic")


NETWORKS = {
    "leaky, logistic": chain(LEAKY, bias=False, loss="logistic"),
    "leaky with biases": chain(LEAKY, bias=True, loss="cross_entropy"),
    "steep leaky": chain(LeakyReLU(1.5), bias=True, loss="squared"),
    "tanh": chain(Tanh(), bias=True, loss="cross_entropy"),
    "sigmoid": chain(Sigmoid(), bias=False, loss="cross_entropy"),
    "softplus": chain(Softplus(), bias=False, loss="logistic"),
    "identity": chain(Identity(), bias=False, loss="logistic"),
    "fully connected": flat(LEAKY),
    "narrow tanh": Architecture("n", (5,), (Linear(3), Tanh(), Linear(4), Tanh(), Linear(3)), "squared"),
    "unseen pixels": unreached(LEAKY),
    "unseen pixels, tanh": unreached(Tanh()),
}


@dataclasses.dataclass(frozen=True)
class Case:
    """A sample, its gradient and the certificate."""

    parameters: Parameters
    observation: Observation
    measure: Measure
    document: Document

    def number(self, key: str) -> Fraction:
        return Fraction(self.document["data"][key])

    def changed(self, **data: Any) -> Document:
        return {**self.document, "data": {**self.document["data"], **data}}

    @property
    def content(self) -> bytes:
        return self.observation.to_bytes()


def sample(architecture: Architecture, seed: int, *, label: int = 1) -> tuple[Parameters, Observation, Measure]:
    """One input with its gradient; float64 makes both."""
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    point = rng.standard_normal((1, *architecture.input_shape))
    output = forward(architecture, parameters, point)
    if architecture.loss == "logistic":
        labels: Any = np.array([label])
        coefficient = -label / (1 + np.exp(label * output))
    elif architecture.loss == "cross_entropy":
        labels = np.array([1])
        weights = np.exp(output - output.max())
        coefficient = weights / weights.sum() - np.eye(output.shape[1])[labels]
    else:
        labels = rng.standard_normal(output.shape)
        coefficient = output - labels
    return parameters, Observation.from_data(architecture, parameters, point, labels), Measure(point, coefficient)


def certified(name: str, seed: int = 3, **arguments: Any) -> Case:
    parameters, observation, measure = sample(NETWORKS[name], seed, **arguments)
    made = certify(observation, measure)
    assert isinstance(made, Certificate), made
    return Case(parameters, observation, measure, json.loads(made.to_json()))


CASES = {name: certified(name) for name in NETWORKS}


@pytest.mark.parametrize("name", NETWORKS)
@EXPENSIVE
@given(SEEDS, st.sampled_from([-1, 1]), st.sampled_from([100, 128, 200]))
def test_what_is_certified_is_proved_again(name: str, seed: int, label: int, bits: int) -> None:
    _, observation, measure = sample(NETWORKS[name], seed, label=label)
    made = certify(observation, measure, bits=bits)
    if isinstance(made, Refusal):  # an unlucky draw may be degenerate; CASES shows that not all are
        assert made.reason
        return
    result = check(made.to_json(), observation=observation.to_bytes())
    assert result.valid, result.reason
    assert result.claim == "layerwise-recovery"


@pytest.mark.parametrize("name", NETWORKS)
def test_the_radius_is_far_below_the_size_of_the_sample(name: str) -> None:
    case = CASES[name]
    assert 0 < case.number("rho") < 1e-6 * np.linalg.norm(case.measure.points)


@pytest.mark.parametrize("name", NETWORKS)
@EXPENSIVE
@given(SEEDS, st.floats(-9, 1), st.booleans())
def test_inputs_beyond_rho_do_not_explain_the_observation(
    name: str, seed: int, log_distance: float, least: bool
) -> None:
    """The claim itself, on inputs near and far: their gradients, with the best coefficients, are farther than eta."""
    case = CASES[name]
    rng = np.random.default_rng(seed)
    rho, eta = float(case.number("rho")), float(case.number("eta"))
    direction = rng.standard_normal(case.measure.points.shape)
    if least:  # along one input entry
        direction *= rng.permutation(direction.size).reshape(direction.shape) == 0
    distance = max(1.01 * rho, 10.0**log_distance)
    free = np.zeros(direction.shape, dtype=bool)
    if name.startswith("unseen"):
        free[:, :, -1] = True
        assert case.document["data"]["free_inputs"] == np.count_nonzero(free)
        elsewhere = case.measure.points + np.where(free, direction, 0.0)
        assert misfit(case, elsewhere) <= eta
    length = np.linalg.norm(np.where(free, 0.0, direction))
    if length == 0:
        return
    moved = case.measure.points + distance * direction / length
    assert np.linalg.norm(np.where(free, 0.0, moved - case.measure.points)) > rho
    assert misfit(case, moved) > eta


def misfit(case: Case, point: np.ndarray[Any, Any]) -> float:
    """Distance of the gradients at a point from the observation: over all coefficients, or with that of the loss."""
    architecture = case.observation.architecture
    vector = np.concatenate([case.observation.vector[key].ravel() for key in architecture.parameter_shapes])
    count = architecture.output_size
    columns = np.stack(
        [embed(architecture, case.parameters, Measure(point, row[None])).vector() for row in np.eye(count)], axis=1
    )
    if architecture.loss != "logistic":
        best = np.linalg.lstsq(columns, vector, rcond=None)[0]
        return float(np.linalg.norm(columns @ best - vector))
    label = case.document["data"]["label"]
    output = forward(architecture, case.parameters, point)[0]
    return float(np.linalg.norm(columns @ (-label / (1 + np.exp(label * output))) - vector))


def test_the_twin_on_the_other_branch_is_left_to_the_other_branch() -> None:
    """R-GAP's twins: with margins of equal -μ/(1+e^μ) the last layer's gradients agree; the branch is part of the claim."""
    architecture = Architecture("one", (3,), (Linear(1, False),), "logistic")
    parameters = Parameters(architecture, {"0/weight": np.array([[0.5, -1.0, 2.0]])})
    twin = float(brentq(lambda margin: margin / (1 + np.exp(margin)) - 2 / (1 + np.exp(2.0)), 0.1, 1.2, xtol=1e-15))
    found = {}
    for margin in (2.0, twin):
        weight = parameters["0/weight"][0]
        direction = weight / (weight @ weight)
        coefficient = -1 / (1 + np.exp(margin))
        # the inputs that have this margin and gradients along one and the same vector
        found[margin] = (margin * direction)[None], np.array([[coefficient]])
    (far, far_c), (near, near_c) = found[2.0], found[twin]
    assert np.allclose(far_c[0, 0] * far, near_c[0, 0] * near, rtol=1e-14, atol=0)
    observation = Observation.from_data(architecture, parameters, far, np.array([1]))
    documents = {}
    for branch, point, coefficient in (("high", far, far_c), ("low", near, near_c)):
        made = certify(observation, Measure(point, coefficient))
        assert isinstance(made, Certificate), made
        documents[branch] = json.loads(made.to_json())
        assert documents[branch]["data"]["branch"] == branch
        assert check(documents[branch], observation=observation.to_bytes()).valid
    for branch, document in documents.items():
        for other in {"any", "low", "high"} - {branch}:
            forged = {**document, "data": {**document["data"], "branch": other}}
            assert not check(forged, observation=observation.to_bytes()).valid


def test_a_margin_at_the_turn_is_certified_with_a_larger_error() -> None:
    """φ' vanishes at μ*, so the coefficient is known to about the square root of the rounding only."""
    architecture = Architecture("one", (2,), (Linear(1, False),), "logistic")
    parameters = Parameters(architecture, {"0/weight": np.array([[1.0, 0.0]])})
    errors = []
    for margin in (0.5, 1.2784645427610738):
        point = np.array([[margin, 0.3]])
        observation = Observation.from_data(architecture, parameters, point, np.array([1]))
        made = certify(observation, Measure(point, np.array([[-1 / (1 + np.exp(margin))]])))
        assert isinstance(made, Certificate), made
        assert check(made.to_json(), observation=observation.to_bytes()).valid
        errors.append(float(Fraction(made.data["coefficient_rho"])))
    assert errors[0] < 1e-12 and 1e-9 < errors[1] < 1e-6


Corruption = tuple[str, Any, bytes]


def corruptions(case: Case) -> Iterator[Corruption]:
    """Changes after which the certificate is false, unproved or malformed."""
    data, content = case.document["data"], case.content
    rho, eta, residual = case.number("rho"), case.number("eta"), case.number("residual")
    points = [Fraction(entry) for entry in data["points"][0]]
    for factor in (Fraction(11, 10), 10, 10**6, 10**12):
        for index in (0, len(points) // 2):  # inputs that are seen
            moved = list(points)
            moved[index] += factor * rho
            yield f"moved by {factor} rho", case.changed(points=[[str(entry) for entry in moved]]), content
    yield "negated", case.changed(points=[[str(-entry) for entry in points]]), content
    yield "zero", case.changed(points=[["0"] * len(points)]), content
    yield "coefficients", case.changed(coefficients=[[str(-Fraction(c)) for c in data["coefficients"][0]]]), content
    yield "shorter", case.changed(points=[data["points"][0][1:]]), content
    yield "two atoms", case.changed(points=data["points"] * 2, coefficients=data["coefficients"] * 2), content
    for factor in (2, 1000):
        yield "rho", case.changed(rho=str(rho / factor)), content
        yield "coefficient_rho", case.changed(coefficient_rho=str(case.number("coefficient_rho") / factor)), content
        yield "eta", case.changed(eta=str(eta * factor * 2)), content
        yield "residual", case.changed(residual=str(eta * factor)), content
    yield "residual", case.changed(residual=str(residual / 2**20)), content
    used = f"{data['layers'][-1]['layer']}/weight"
    yield "pieces", case.changed(pieces=[piece for piece in data["pieces"] if piece != used]), content
    yield "pieces", case.changed(pieces=[*data["pieces"], data["pieces"][0]]), content
    yield "pieces", case.changed(pieces=["9/weight", *data["pieces"][1:]]), content
    other = "bias" if data["determined_by"] == "logistic" else "logistic"
    yield "determined_by", case.changed(determined_by=other), content
    yield "determined_by", case.changed(determined_by="label"), content
    if "label" in data:
        yield "label", case.changed(label=-data["label"]), content
        yield "label", case.changed(label=0), content
        low, high = (Fraction(margin) for margin in data["margins"])
        yield "margins", case.changed(margins=[str((low + high) / 2), str(high)]), content
        yield "margins", case.changed(margins=[str(low), str((low + high) / 2)]), content
        yield "margins", case.changed(margins=[str(low)]), content
    for place, layer in enumerate(data["layers"]):
        for key in ("kappa", "omega"):
            if key in layer:
                for factor in (Fraction(3, 2), 1000):
                    yield key, edited(case, place, key, str(Fraction(layer[key]) * factor)), content
                yield key, edited(case, place, key, "0"), content
        yield "error", edited(case, place, "error", str(Fraction(layer["error"]) * Fraction(9, 10))), content
        yield "strategy", edited(case, place, "strategy", "faith"), content
        yield "layer", edited(case, place, "layer", layer["layer"] + 1), content
        yield "no error", without(case, place, "error"), content
        yield "extra", edited(case, place, "extra", "1"), content
    yield "layers", case.changed(layers=data["layers"][1:]), content
    yield "layers", case.changed(layers=data["layers"][::-1] if len(data["layers"]) > 1 else []), content
    for key in data:
        for value in (None, 1, "x", [], {}, [["1/0"]]):
            if value != data[key]:
                yield f"{key} = {value!r}", case.changed(**{key: value}), content
        broken = copy.deepcopy(case.document)
        del broken["data"][key]
        yield f"no {key}", broken, content
    yield "another claim", {**case.document, "claim": "isolated-recovery"}, content
    yield "subject", {**case.document, "subject": "0" * 64}, content
    yield "no observation", case.document, b""


def edited(case: Case, place: int, key: str, value: Any) -> Document:
    document = copy.deepcopy(case.document)
    document["data"]["layers"][place][key] = value
    return document


def without(case: Case, place: int, key: str) -> Document:
    document = copy.deepcopy(case.document)
    del document["data"]["layers"][place][key]
    return document


@pytest.mark.parametrize("name", CASES)
def test_corrupted_certificates_are_rejected(name: str) -> None:
    case = CASES[name]
    assert check(case.document, observation=case.content).valid
    tried = 0
    for what, document, content in corruptions(case):
        result = check(document, observation=content)
        assert not result.valid, what
        assert "broke down" not in result.reason, (what, result.reason)
        tried += 1
    assert tried > 80
    assert not check(case.document).valid


@pytest.mark.parametrize("name", CASES)
def test_flipped_bits_of_the_observation_are_rejected_even_with_the_right_digest(name: str) -> None:
    case = CASES[name]
    rng = np.random.default_rng(1)
    for group in ("vector", "parameters"):
        for key in case.observation.vector:
            if group == "parameters" and key == f"{len(case.observation.architecture.layers) - 1}/bias":
                continue  # the last bias shifts the outputs, and neither their gradients nor the claim
            arrays = dict(getattr(case.observation, group))
            array = arrays[key].copy()
            flat_view = array.reshape(-1).view(np.uint64)
            flat_view[rng.integers(flat_view.size)] ^= np.uint64(1 << 45)  # a 2^-7th part of the entry
            arrays[key] = array
            value = Parameters(case.observation.architecture, arrays) if group == "parameters" else arrays
            # a new object, so that the bytes are made anew
            changed = dataclasses.replace(case.observation, **{group: value})
            content = changed.to_bytes()
            assert not check(case.document, observation=content).valid
            forged = {**case.document, "subject": hashlib.sha256(content).hexdigest()}
            assert not check(forged, observation=content).valid


def test_another_architecture_with_the_same_shapes_is_rejected() -> None:
    case = CASES["leaky, logistic"]
    other = chain(LeakyReLU(0.25), bias=False, loss="logistic")
    parameters = Parameters(other, dict(case.parameters))
    changed = Observation("gradient", other, parameters, dict(case.observation.vector))
    forged = {**case.document, "subject": hashlib.sha256(changed.to_bytes()).hexdigest()}
    assert not check(forged, observation=changed.to_bytes()).valid


def test_weaker_claims_that_follow_stay_valid() -> None:
    case = CASES["leaky, logistic"]
    rho = case.number("rho")
    weaker = [case.changed(rho=str(2 * rho)), case.changed(residual=str(case.number("residual") / 1))]
    first = case.document["data"]["layers"][0]
    weaker.append(edited(case, 0, "error", str((Fraction(first["error"]) + rho) / 2)))
    for document in weaker:
        assert check(document, observation=case.content).valid


@pytest.mark.parametrize("name", ["leaky, logistic", "tanh", "fully connected", "narrow tanh"])
def test_the_largest_eta_that_is_certified_is_proved_without_slack(name: str) -> None:
    """Near the end of what the recursion reaches, terms of second order weigh as much as those of first order."""
    case = CASES[name]
    eta, best = case.number("eta"), None
    step = Fraction(16)
    for _ in range(60):
        made = certify(case.observation, case.measure, eta=eta * step)
        if isinstance(made, Certificate):
            best, eta = made, eta * step
        else:
            step = 1 + (step - 1) / 4
        if step < Fraction(33, 32):
            break
    assert best is not None and eta > 1000 * case.number("eta")
    document = json.loads(best.to_json())
    assert check(document, observation=case.content).valid
    last = dataclasses.replace(case, document=document)
    for place, layer in enumerate(document["data"]["layers"]):
        # the solver confines arguments of tanh to balls twice as wide as the checker does, which costs when they are wide
        part = Fraction(1, 3) if name == "narrow tanh" else Fraction(9, 10)
        smaller = edited(last, place, "error", str(Fraction(layer["error"]) * part))
        assert not check(smaller, observation=case.content).valid, layer["layer"]


def test_layers_whose_equations_are_needed_together() -> None:
    """Three channels after two: the outputs leave 2·3·(3 - 1)² = 24 dimensions open, and 54 gradient equations close them."""
    layers = (Conv2d(3, 3, bias=False), LEAKY, Flatten(), Linear(2))
    _, observation, measure = sample(Architecture("together", (2, 11, 11), layers, "cross_entropy"), 1)
    made = certify(observation, measure)
    assert isinstance(made, Certificate), made
    document = json.loads(made.to_json())
    first = document["data"]["layers"][0]
    assert first["strategy"] == "joint"
    assert float(Fraction(document["data"]["rho"])) < 1e-6 * np.linalg.norm(measure.points)
    assert check(document, observation=observation.to_bytes()).valid
    for key, factor in (("omega", 2), ("tau", Fraction(1, 10**6)), ("error", Fraction(1, 2))):
        forged = copy.deepcopy(document)
        forged["data"]["layers"][0][key] = str(Fraction(first[key]) * factor)
        assert not check(forged, observation=observation.to_bytes()).valid


def test_what_cannot_be_certified_is_refused_with_a_reason() -> None:
    cases = CASES["leaky, logistic"]
    two = Measure(np.concatenate([cases.measure.points] * 2), np.ones((2, 1)))
    assert "2 atoms" in reason(certify(cases.observation, two))
    wide = Architecture("wide", (1, 4, 4), (Conv2d(1, 3), LEAKY, Flatten(), Linear(3)), "squared")
    assert "direction may be left open" in reason(certify(*sample(wide, 0)[1:]))
    # the next layer's strides reach the corners only, and there the first layer sees nothing but padding
    blind = (Conv2d(6, 1, 3, 2), LEAKY, Conv2d(4, 1, 3), LEAKY, Flatten(), Linear(3))
    assert "direction may be left open" in reason(
        certify(*sample(Architecture("b", (1, 5, 5), blind, "squared"), 0)[1:])
    )
    unknown = Architecture("unknown", (4,), (Linear(4), LEAKY, Linear(3, False)), "cross_entropy")
    assert "determines the coefficient" in reason(certify(*sample(unknown, 0)[1:]))
    _, observation, measure = sample(NETWORKS["tanh"], 0)
    vector = {key: piece for key, piece in observation.vector.items() if key != "5/bias"}
    partial = dataclasses.replace(observation, vector=vector)
    assert "determines the coefficient" in reason(certify(partial, measure))
    dark = np.zeros_like(cases.measure.points)
    gradient = Observation.from_data(cases.observation.architecture, cases.parameters, dark, np.array([1]))
    assert "no derivative" in reason(certify(gradient, Measure(dark, np.array([[-0.5]]))))


def reason(outcome: Certificate | Refusal) -> str:
    assert isinstance(outcome, Refusal)
    return outcome.reason


def test_pieces_that_were_not_observed_are_done_without() -> None:
    """Without the gradient of the first layer its outputs alone have to determine the input."""
    case = CASES["leaky with biases"]
    vector = {key: piece for key, piece in case.observation.vector.items() if not key.startswith("0/")}
    partial = dataclasses.replace(case.observation, vector=vector)
    made = certify(partial, case.measure)
    assert isinstance(made, Certificate)
    assert made.data["layers"][0]["strategy"] == "forward"
    assert check(made.to_json(), observation=partial.to_bytes()).valid


@pytest.mark.deep
def test_the_network_of_r_gap_is_certified_to_seven_digits() -> None:
    architecture = from_zoo("cnn6")
    _, observation, measure = sample(architecture, 0, label=1)
    made = certify(observation, measure)
    assert isinstance(made, Certificate), made
    assert float(Fraction(made.data["rho"])) < 1e-6 * np.linalg.norm(measure.points)
    strategies = {layer["strategy"] for layer in made.data["layers"]}
    assert strategies >= {"gradient", "forward", "gradient-then-forward"}
    result = check(made.to_json(), observation=observation.to_bytes())
    assert result.valid, result.reason
