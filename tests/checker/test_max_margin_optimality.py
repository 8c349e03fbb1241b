"""The claim max-margin-optimality: what is written is proved again; changed numbers are rejected, or leave the claim true."""

from __future__ import annotations

import copy
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.checker import check
from provable.errors import InputError
from provable.max_margin import MaxMarginNetwork, certify_optimality, maximise_margin
from provable.max_margin.feasibility import require_feasible
from provable.rigor.certificates import Certificate, data_sha256

Document = dict[str, Any]
EXPENSIVE = settings(max_examples=max(15, settings.default.max_examples // 2))


def verdict(document: Document) -> bool:
    result = check(document)
    assert "broke down" not in result.reason, result.reason
    return result.valid


def written(network: MaxMarginNetwork) -> Document:
    certificate = certify_optimality(network)
    assert isinstance(certificate, Certificate)
    document: Document = json.loads(certificate.to_json())
    assert Certificate.from_json(certificate.to_json()).to_json() == certificate.to_json()
    return document


def resubmitted(document: Document, **changes: Any) -> Document:
    """New data under their own digest."""
    changed = copy.deepcopy(document)
    changed["data"] |= changes
    changed["subject"] = data_sha256(changed["data"])
    return changed


@st.composite
def networks(draw: st.DrawFn) -> MaxMarginNetwork:
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, dimension = draw(st.integers(1, 7)), draw(st.integers(1, 3))
    bias = draw(st.booleans()) if dimension > 1 else True
    points, labels = rng.standard_normal((size, dimension)), rng.choice([-1.0, 1.0], size)
    if draw(st.booleans()):
        points = np.round(2 * points) / 2
    try:
        require_feasible(points, labels, bias=bias)
    except InputError:
        assume(False)
    return maximise_margin(points, labels, bias=bias)


EXAMPLE = maximise_margin(np.random.default_rng(5).standard_normal((9, 2)), [1, -1, 1, 1, -1, 1, -1, -1, 1])


@EXPENSIVE
@given(networks())
def test_what_is_written_is_proved_again(network: MaxMarginNetwork) -> None:
    document = written(network)
    result = check(document)
    assert result.valid, result.reason
    assert result.claim == "max-margin-optimality"
    # the gap is what it says, up to the rounding of its own digits
    gap = Fraction(document["data"]["gap"])
    assert network.gap <= gap <= network.gap * (1 + Fraction(1, 2**18))
    assert gap <= Fraction(1, 10**9) * network.dual_bound


def numbers_of(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to all rational texts and integers."""
    if isinstance(value, dict):
        return [place for key, part in value.items() for place in numbers_of(part, (*path, key))]
    if isinstance(value, list):
        return [place for index, part in enumerate(value) for place in numbers_of(part, (*path, index))]
    return [path] if isinstance(value, str | int) and not isinstance(value, bool) else []


def with_number(document: Document, path: tuple[Any, ...], number: Fraction) -> dict[str, Any]:
    """The data with one number changed."""
    data = copy.deepcopy(document["data"])
    inner = data
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = str(number) if isinstance(inner[path[-1]], str) else int(number)
    return data


def objective_and_margins(data: dict[str, Any]) -> tuple[Fraction, list[Fraction]]:
    """Written without looking at the checker: NumPy arrays of Fractions."""
    fractions = np.vectorize(Fraction, otypes=[object])
    points, hidden, outer = (fractions(np.array(data[key])) for key in ("points", "hidden", "outer"))
    if data["bias"]:
        points = np.concatenate([points, fractions(np.ones((len(points), 1), dtype=int))], axis=1)
    values = points @ hidden.T
    outputs = np.where(values > 0, values, Fraction(0)) @ outer
    total = (hidden * hidden).sum() + (outer * outer).sum()
    return total / 2, [Fraction(y) * f for y, f in zip(data["labels"], outputs, strict=True)]


CHANGES = st.sampled_from(
    (
        lambda x: x * (1 + Fraction(1, 2**30)),
        lambda x: x * (1 - Fraction(1, 2**30)),
        lambda x: x * 2,
        lambda x: x / 2,
        lambda x: -x,
        lambda x: x + 1,
        lambda x: x - 1,
        lambda x: Fraction(0),
    )
)


@settings(max_examples=max(300, settings.default.max_examples))
@given(st.data())
def test_any_changed_number_is_rejected_or_leaves_a_true_claim(data: st.DataObject) -> None:
    document = written(EXAMPLE)
    path = data.draw(st.sampled_from(numbers_of(document["data"])))
    inner = document["data"]
    for key in path:
        inner = inner[key]
    number = data.draw(CHANGES)(Fraction(inner))
    changed = with_number(document, path, number)
    assume(changed != document["data"])
    # under the old digest every change is found
    assert not verdict({**document, "data": changed})
    # under a new one, what passes is true
    if verdict(resubmitted(document, **changed)):
        objective, margins = objective_and_margins(changed)
        assert min(margins) >= 1
        same = path[0] not in ("points", "labels")
        points = np.array([[float(Fraction(x)) for x in point] for point in changed["points"]])
        optimum = EXAMPLE if same else maximise_margin(points, changed["labels"])
        # 1e-12: a changed point is a float only up to rounding
        assert objective - Fraction(changed["gap"]) <= optimum.bracket.upper * (1 + Fraction(1, 10**12))


def leaves_of(node: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    if "sample" not in node:
        return [path]
    return [*leaves_of(node["active"], (*path, "active")), *leaves_of(node["inactive"], (*path, "inactive"))]


def test_numbers_that_carry_the_proof_cannot_be_changed() -> None:
    document = written(EXAMPLE)
    data, little = document["data"], Fraction(1, 2**15)
    assert verdict(document)
    for path, factor in (
        (("gap",), 1 - little),  # the gap has 20 digits and is rounded up
        (("height",), 1 - Fraction(1, 2**50)),
        *((("multipliers", i), 1 + little) for i in np.flatnonzero(EXAMPLE.multipliers)),
        *((("multipliers", i), 1 - little) for i in np.flatnonzero(EXAMPLE.multipliers)),
        *((("outer", k), 1 - little) for k in range(EXAMPLE.neurons)),
        *((("outer", k), 1 + little) for k in range(EXAMPLE.neurons)),
        *((("labels", i), -1) for i in range(len(EXAMPLE.labels))),
    ):
        number = data
        for key in path:
            number = number[key]
        assert not verdict(resubmitted(document, **with_number(document, path, Fraction(number) * factor))), path
    for name, tree in data["trees"].items():
        other = data["trees"]["negative" if name == "positive" else "positive"]
        for replaced in (other, {"coefficients": {}}, {"dependency": {}}, {"dependency": {"0": "1"}}, [], "0", None):
            assert not verdict(resubmitted(document, trees={**data["trees"], name: replaced}))
        for path in leaves_of(tree):
            for replaced in ({"dependency": {"0": "1", "1": "1"}}, {}, {"coefficients": {}, "dependency": {}}):
                changed = copy.deepcopy(data["trees"])
                inner = changed[name]
                for key in path[:-1]:
                    inner = inner[key]
                inner[path[-1]] = replaced
                assert not verdict(resubmitted(document, trees=changed))


@pytest.mark.parametrize(
    "changes",
    [
        {"bias": 1},
        {"bias": False},
        {"labels": [1.0] * 9},
        {"labels": [1] * 8},
        {"labels": [True] * 9},
        {"labels": "1"},
        {"multipliers": ["0"] * 9},
        {"multipliers": ["-1"] * 9},
        {"height": "0"},
        {"height": "-1"},
        {"points": [["1", "1"]] * 9},
        {"outer": ["1"]},
        {"hidden": [["1"]]},
        {"trees": {}},
        {"trees": {"positive": {"coefficients": {}}}},
        {"more": "1"},
    ],
)
def test_malformed_data_are_rejected(changes: dict[str, Any]) -> None:
    assert not verdict(resubmitted(written(EXAMPLE), **changes))


def test_the_smallest_certificate() -> None:
    """One sample of norm 1: f(x) = relu(x·x̂), and λ = 1 with |h(w)| = |relu(w·x)| ≤ ‖w‖."""
    data = {
        "points": [["3/5", "4/5"]],
        "labels": [1],
        "bias": False,
        "hidden": [["3/5", "4/5"]],
        "outer": ["1"],
        "multipliers": ["1"],
        "height": "1",
        "gap": "0",
        "trees": {
            "positive": {"sample": 0, "active": {"coefficients": {}}, "inactive": {"coefficients": {}}},
            "negative": {"coefficients": {}},
        },
    }
    document = {
        "format": "provable-certificate/1",
        "claim": "max-margin-optimality",
        "data": data,
        "subject": data_sha256(data),
        "library": {},
        "seed": None,
    }
    assert verdict(document)
    # undecided with t = 0: κ = ‖x‖ max(e, 0), a little above 1 by the rounding of the norm; t = 1/2 costs as much
    whole = {"positive": {"coefficients": {}}, "negative": {"coefficients": {}}}
    assert not verdict(resubmitted(document, trees=whole))
    assert verdict(resubmitted(document, trees=whole, height="101/100", gap="1/100"))
    assert not verdict(resubmitted(document, trees=whole, height="101/100", gap="9/1000"))
    # a dependency of signed samples that are decided
    opposite = {
        "points": [["3/5", "4/5"], ["-3/5", "-4/5"]],
        "labels": [1, 1],
        "hidden": [["3/5", "4/5"], ["-3/5", "-4/5"]],
        "outer": ["1", "1"],
        "multipliers": ["1", "1"],
        "gap": "0",
    }
    side = {"coefficients": {}}
    empty = {"dependency": {"0": "1", "1": "1"}}
    inner = {"sample": 1, "active": empty, "inactive": side}
    outer = {"sample": 1, "active": side, "inactive": empty}
    trees = {"positive": {"sample": 0, "active": inner, "inactive": outer}, "negative": side}
    good = resubmitted(document, **opposite, trees=trees)
    assert verdict(good)
    for wrong in (
        {"0": "1", "1": "2"},
        {"0": "1"},
        {"0": "-1", "1": "-1"},
        {"0": "1", "1": "1", "2": "1"},
        {"00": "1"},
    ):
        inner["active"] = {"dependency": wrong}
        assert not verdict(resubmitted(document, **opposite, trees=trees))
    inner["active"] = empty
    inner["sample"] = 0  # decided already
    assert not verdict(resubmitted(document, **opposite, trees=trees))


def test_a_dependency_of_a_zero_sample_proves_nothing() -> None:
    """Both sides of a sample at 0 are everything: a tree that leaves them out would bound any function by any height."""
    empty = {"dependency": {"0": "1"}}
    tree = {"sample": 0, "active": empty, "inactive": empty}
    document = written(EXAMPLE)
    data = {
        "points": [["0", "0"], ["1", "0"]],
        "labels": [1, 1],
        "bias": False,
        "hidden": [["2", "0"]],
        "outer": ["2"],
        "multipliers": ["1", "4"],
        "height": "1",
        "gap": "0",
        "trees": {"positive": tree, "negative": tree},
    }
    result = check(resubmitted(document, **data))
    assert not result.valid and "zero" in result.reason


def test_a_gap_of_any_size_is_stated_and_rounded_up() -> None:
    document = written(EXAMPLE)
    for gap in ("1" + "0" * 400, "100000001/1000", "1000001/1000000", document["data"]["gap"]):
        result = check(resubmitted(document, gap=gap))
        assert result.valid, result.reason
        shown = Fraction(result.reason.split("within ")[1].split(" of")[0])
        assert 0 <= shown - Fraction(gap) <= Fraction(gap) / 50
