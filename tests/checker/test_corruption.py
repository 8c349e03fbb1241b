"""Corrupted certificates of recovered measures: more than a thousand, every one of them rejected."""

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

from provable.architectures import Activation, Architecture, Linear, ReLU, Tanh
from provable.checker import check
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.rigor.certificates import Certificate
from provable.rigor.isolated_recovery import certify

Document = dict[str, Any]
Corruption = tuple[str, Any, bytes | None]
"""What was done, the certificate, the observation."""


class Case:
    """A valid certificate, its observation, and the Jacobian's singular vectors in float64."""

    def __init__(self, activation: Activation, atoms: int, seed: int) -> None:
        rng = np.random.default_rng(seed)
        sizes = (6, 5, 3) if atoms == 1 else (4, 9, 3)
        layers = (Linear(sizes[1]), activation, Linear(sizes[2]))
        architecture = Architecture("net", (sizes[0],), layers, "squared")
        parameters = Parameters.random(architecture, rng=rng)
        measure = Measure(rng.standard_normal((atoms, sizes[0])), rng.standard_normal((atoms, sizes[2])))
        observation = Observation("gradient", architecture, parameters, dict(embed(architecture, parameters, measure)))
        certificate = certify(observation, measure)
        assert isinstance(certificate, Certificate)
        self.observation = observation.to_bytes()
        self.document: Document = json.loads(certificate.to_json())
        self.atoms, self.inputs, self.outputs = atoms, sizes[0], sizes[2]
        self.unknowns = np.hstack([measure.points, measure.coefficients]).ravel()
        self.jacobian = self._jacobian(architecture, parameters)
        self.rng = rng

    def _jacobian(self, architecture: Architecture, parameters: Parameters) -> np.ndarray:
        """Central differences: worst directions and σ_min are needed to a few digits only."""
        columns = []
        for index in range(self.unknowns.size):
            step = np.zeros(self.unknowns.size)
            step[index] = 1e-6
            sides = []
            for unknowns in (self.unknowns + step, self.unknowns - step):
                rows = unknowns.reshape(self.atoms, -1)
                moved = Measure(rows[:, : self.inputs], rows[:, self.inputs :])
                sides.append(embed(architecture, parameters, moved).vector())
            columns.append((sides[0] - sides[1]) / 2e-6)
        return np.stack(columns, axis=1)

    def number(self, key: str) -> Fraction:
        return Fraction(self.document["data"][key])

    def with_data(self, **changes: Any) -> Document:
        return {**self.document, "data": {**self.document["data"], **changes}}

    def moved(self, direction: np.ndarray, distance: Fraction) -> Document:
        """The certificate with points and coefficients moved by more than `distance`, exactly."""
        exact = [Fraction(entry) for entry in direction.tolist()]
        squared = sum(entry**2 for entry in exact)
        # a rational factor that is at least distance / ‖direction‖, and at most 2**-40 more, relatively
        factor = distance * Fraction(1 / float(squared) ** 0.5) * (1 + Fraction(1, 2**40))
        assert factor**2 * squared > distance**2
        document = copy.deepcopy(self.document)
        rows = np.array(exact, dtype=object).reshape(self.atoms, -1)
        for row, x, c in zip(rows, document["data"]["points"], document["data"]["coefficients"], strict=True):
            for place, shift in enumerate(row):
                target, index = (x, place) if place < self.inputs else (c, place - self.inputs)
                target[index] = str(Fraction(target[index]) + factor * shift)
        return document


CASES = {
    "tanh": Case(Tanh(), 1, 3),
    "relu": Case(ReLU(), 1, 4),
    "tanh-two-atoms": Case(Tanh(), 2, 5),
}


def moved_points(case: Case) -> Iterator[Corruption]:
    """Further than rho: in random directions, along points alone, and where F changes least."""
    rho = case.number("rho")
    only_points = np.tile([1.0] * case.inputs + [0.0] * case.outputs, case.atoms)
    directions = [case.rng.standard_normal(case.unknowns.size) for _ in range(6)]
    directions += [case.rng.standard_normal(case.unknowns.size) * only_points for _ in range(6)]
    directions += list(np.linalg.svd(case.jacobian)[2][-3:])
    of_points = np.linalg.svd(case.jacobian[:, only_points > 0])[2][-2:]
    for vector in of_points:
        direction = np.zeros(case.unknowns.size)
        direction[only_points > 0] = vector
        directions.append(direction)
    for direction in directions:
        for factor in (1 + Fraction(1, 10**6), Fraction(101, 100), Fraction(2), Fraction(10), Fraction(1000)):
            for sign in (1, -1):
                yield f"moved by {float(factor)} rho", case.moved(sign * direction, factor * rho), case.observation
        # beyond the radius as well, where another solution would be needed to pass
        yield "moved beyond R", case.moved(direction, 3 * case.number("radius")), case.observation


def flipped_bits(case: Case) -> Iterator[Corruption]:
    """Any bit of the observation file: header, directory, padding, numbers."""
    positions = case.rng.choice(8 * len(case.observation), 60, replace=False).tolist()
    for position in [0, 7, 8 * len(case.observation) - 1, *positions]:
        content = bytearray(case.observation)
        content[position // 8] ^= 1 << (position % 8)
        yield f"bit {position} flipped", case.document, bytes(content)
    for length in (0, 1, 100, len(case.observation) - 1):
        yield "observation cut", case.document, case.observation[:length]
    yield "observation extended", case.document, case.observation + b"\0"
    yield "no observation", case.document, None
    other = next(c for c in CASES.values() if c is not case)
    yield "another observation", case.document, other.observation


def changed_numbers(case: Case) -> Iterator[Corruption]:
    """Stored bounds that are false, or do not fit together any more."""
    eta, sigma, residual, rho, radius = (case.number(k) for k in ("eta", "sigma", "residual", "rho", "radius"))
    smallest = Fraction(float(np.linalg.svd(case.jacobian)[1][-1]))
    for factor in (Fraction(10**4 + 1, 10**4), Fraction(11, 10), Fraction(2), Fraction(10**6)):
        # the differences behind `smallest` are good to five digits or so
        yield "sigma above σ_min", case.with_data(sigma=str(max(smallest * factor, sigma))), case.observation
        yield (
            "sigma and rho",
            case.with_data(sigma=str(smallest * factor), rho=str((eta + residual) / smallest)),
            case.observation,
        )
        yield "sigma lowered alone", case.with_data(sigma=str(sigma / factor)), case.observation
        yield "rho shrunk", case.with_data(rho=str(rho / factor)), case.observation
        yield "rho beyond R", case.with_data(rho=str(radius * factor)), case.observation
        yield "eta enlarged", case.with_data(eta=str(eta * factor)), case.observation
        yield "residual above eta/2", case.with_data(residual=str(eta / 2 * factor)), case.observation
        yield "eta below twice the residual", case.with_data(eta=str(2 * residual / factor)), case.observation
        yield "radius below rho", case.with_data(radius=str(rho / factor)), case.observation
    for power in (8, 16, 64, 1000):
        yield "radius enlarged", case.with_data(radius=str(radius * 2**power)), case.observation
        yield "residual shrunk", case.with_data(residual=str(residual / 2**power)), case.observation
    for key in ("eta", "sigma", "residual", "rho", "radius"):
        for value in ("0", "-1", str(-case.number(key)), "1" + "0" * 3000):
            if not (key == "residual" and value == "0" and residual == 0):
                yield f"{key} = {value[:9]}", case.with_data(**{key: value}), case.observation


BAD_VALUES: list[Any] = [
    None,
    True,
    0,
    1.5,
    "",
    " 1",
    "+1",
    "01",
    "2/4",
    "1/1",
    "1/0",
    "1e-9",
    "0x1",
    "nan",
    "inf",
    "1_0",
]
BAD_VALUES += [[], {}, ["1"], [["1"]], [[1.0]], [[]], "1" * 5000, "٣", "1/2/3"]


def wrong_forms(case: Case) -> Iterator[Corruption]:
    """Wrong types, missing and unknown keys, other claims, other subjects, text that is cut."""
    for key in case.document["data"]:
        for value in BAD_VALUES:
            yield f"data.{key} = {value!r}"[:40], case.with_data(**{key: value}), case.observation
        yield f"no {key}", case.with_data() | {"data": without(case.document["data"], key)}, case.observation
    yield "data.extra", case.with_data(extra="1"), case.observation
    for key in case.document:
        for value in (None, [], "x", -1, 0.5):
            if (key, value) != ("seed", None):
                yield f"{key} = {value!r}", {**case.document, key: value}, case.observation
        yield f"no {key}", without(case.document, key), case.observation
    yield "extra", {**case.document, "extra": 1}, case.observation
    claims = "generic-rank-lower-bound generic-rank-upper-bound global-fibre kernel-positive-definite cp-uniqueness"
    for claim in [*claims.split(), "counterexample", "isolated", "ISOLATED-RECOVERY"]:
        yield "another claim", {**case.document, "claim": claim}, case.observation
    subject = case.document["subject"]
    for place in range(64):
        digit = "0123456789abcdef"[(int(subject[place], 16) + 1 + place % 15) % 16]
        yield "subject", {**case.document, "subject": subject[:place] + digit + subject[place + 1 :]}, case.observation
    text = json.dumps(case.document)
    for length in case.rng.integers(0, len(text), 40).tolist():
        yield "cut", text[:length], case.observation
        yield "cut", text[:length].encode(), case.observation
    yield "key twice", text[:-1] + ', "seed": null}', case.observation


def without(mapping: Document, key: str) -> Document:
    return {k: v for k, v in mapping.items() if k != key}


def other_measures(case: Case) -> Iterator[Corruption]:
    """Atoms and pieces that are not those of the observation."""
    data = case.document["data"]
    points, coefficients, pieces = data["points"], data["coefficients"], data["pieces"]
    zero = [["0"] * len(row) for row in points]
    yield "points zero", case.with_data(points=zero), case.observation
    yield "coefficients zero", case.with_data(coefficients=[["0"] * len(r) for r in coefficients]), case.observation
    yield "negated", case.with_data(points=[[str(-Fraction(e)) for e in row] for row in points]), case.observation
    yield "atom twice", case.with_data(points=points * 2, coefficients=coefficients * 2), case.observation
    yield "more points", case.with_data(points=points * 2), case.observation
    yield "longer points", case.with_data(points=[[*row, "0"] for row in points]), case.observation
    yield "shorter points", case.with_data(points=[row[1:] for row in points]), case.observation
    yield "longer coefficients", case.with_data(coefficients=[[*row, "0"] for row in coefficients]), case.observation
    null = [*points, ["1"] * len(points[0])], [*coefficients, ["0"] * len(coefficients[0])]
    yield "a null atom", case.with_data(points=null[0], coefficients=null[1]), case.observation
    if case.atoms == 2:
        yield "points swapped alone", case.with_data(points=points[::-1]), case.observation
    for scale in (Fraction(3, 2), 1 + Fraction(1, 10**6)):
        moved = [[str(scale * Fraction(e)) for e in row] for row in points]
        moved_back = [[str(Fraction(e) / scale) for e in row] for row in coefficients]
        yield "points scaled", case.with_data(points=moved), case.observation
        yield "atoms rescaled", case.with_data(points=moved, coefficients=moved_back), case.observation
    for replaced in (
        "0/Weight",
        "1/weight",
        "00/weight",
        "7/weight",
        "0",
        "weight",
        "0/weight.npy",
        "-1/bias",
        "0/bias/",
    ):
        yield "pieces", case.with_data(pieces=[replaced, *pieces[1:]]), case.observation
        yield "pieces", case.with_data(pieces=[*pieces, replaced]), case.observation
    yield "a piece twice", case.with_data(pieces=[*pieces, pieces[0]]), case.observation
    yield "no first layer", case.with_data(pieces=["2/bias"]), case.observation
    yield "one bias", case.with_data(pieces=["0/bias"]), case.observation


KINDS = [moved_points, flipped_bits, changed_numbers, wrong_forms, other_measures]
EVERY = [
    (f"{name}: {kind.__name__}", *corruption)
    for name, case in CASES.items()
    for kind in KINDS
    for corruption in kind(case)
]


@pytest.mark.parametrize("name", CASES)
def test_the_certificates_are_valid_before_they_are_corrupted(name: str) -> None:
    case = CASES[name]
    for form in (case.document, json.dumps(case.document), json.dumps(case.document, indent=2).encode()):
        result = check(form, observation=case.observation)
        assert result.valid, result.reason
        assert result.claim == "isolated-recovery"


@pytest.mark.parametrize("name", CASES)
def test_weaker_claims_that_are_consistent_stay_valid(name: str) -> None:
    case = CASES[name]
    eta, sigma, residual, rho, radius = (case.number(k) for k in ("eta", "sigma", "residual", "rho", "radius"))
    weaker = [
        case.with_data(radius=str(radius / 2)),
        case.with_data(rho=str(min(2 * rho, radius))),
        case.with_data(eta=str(2 * residual)),
        case.with_data(sigma=str(sigma / 2), rho=str(2 * rho)),
        case.with_data(eta=str(10 * eta), rho=str(10 * rho)),
        {**case.document, "library": {}, "seed": 5},
    ]
    for document in weaker:
        result = check(document, observation=case.observation)
        assert result.valid, result.reason


@pytest.mark.parametrize("name", CASES)
def test_atoms_in_another_order_are_the_same_measure(name: str) -> None:
    data = CASES[name].document["data"]
    document = CASES[name].with_data(points=data["points"][::-1], coefficients=data["coefficients"][::-1])
    assert check(document, observation=CASES[name].observation).valid


def test_more_than_a_thousand_corruptions_are_all_rejected() -> None:
    accepted = []
    for what, how, certificate, observation in EVERY:
        result = check(certificate, observation=observation)
        assert "\n" not in result.reason
        assert "broke down" not in result.reason, (what, how, result.reason)
        if result.valid:
            accepted.append((what, how))
    assert accepted == []
    assert len(EVERY) > 1500


def resubmitted(case: Case, content: bytes) -> Document:
    """The certificate with the digest of another file as its subject."""
    return {**case.document, "subject": hashlib.sha256(content).hexdigest()}


@pytest.mark.parametrize("name", CASES)
def test_a_changed_observation_is_rejected_even_with_its_digest(name: str) -> None:
    case = CASES[name]
    observation = Observation.from_bytes(case.observation)
    for key, piece in observation.vector.items():
        for place in np.flatnonzero(piece)[:6].tolist():
            for bit in (63, 62, 55, 40):  # sign, exponent, and a mantissa bit far above the rounding of the residual
                words = piece.copy().view(np.uint64).ravel()
                words[place] ^= np.uint64(1) << np.uint64(bit)
                changed = words.view(np.float64).reshape(piece.shape)
                if not np.all(np.isfinite(changed)):
                    continue
                vector = {**observation.vector, key: changed}
                content = dataclasses.replace(observation, vector=vector).to_bytes()
                result = check(resubmitted(case, content), observation=content)
                assert not result.valid
                assert "residual" in result.reason


@pytest.mark.parametrize("name", CASES)
def test_a_broken_observation_with_its_digest_never_breaks_the_checker(name: str) -> None:
    case = CASES[name]
    rng = np.random.default_rng(0)
    for position in rng.choice(len(case.observation), 300, replace=False).tolist():
        content = bytearray(case.observation)
        content[position] ^= int(rng.integers(1, 256))
        result = check(resubmitted(case, bytes(content)), observation=bytes(content))
        assert "broke down" not in result.reason, result.reason
    for length in rng.integers(0, len(case.observation), 40).tolist():
        content = case.observation[:length]
        result = check(resubmitted(case, content), observation=content)
        assert not result.valid
        assert "broke down" not in result.reason, result.reason
