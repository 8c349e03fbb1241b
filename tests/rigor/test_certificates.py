"""Reading and writing certificates: strict, canonical, one line for whatever is wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import CertificateError
from provable.rigor.certificate_fields import CLAIMS
from provable.rigor.certificates import Certificate, canonical_json, data_sha256, library_versions

SUBJECT = "0123456789abcdef" * 4

LAYER = {
    "architecture": "{}",
    "layer": "0",
    "in_channels": 1,
    "height": 4,
    "width": 4,
    "out_channels": 2,
    "kernel": [3, 3],
    "stride": [1, 1],
    "padding": [0, 0],
    "prime": 2**61 - 1,
    "seed": 0,
}

DATA: dict[str, dict[str, Any]] = {
    "isolated-recovery": {
        "points": [["1", "-1/2"], ["0", "3"]],
        "coefficients": [["1"], ["2/3"]],
        "pieces": ["0/weight", "0/bias"],
        "radius": "1/1024",
        "eta": "1/1048576",
        "sigma": "1/3",
        "residual": "0",
        "rho": "1/4096",
    },
    "max-margin-optimality": {
        "points": [["3/5", "4/5"]],
        "labels": [1],
        "bias": False,
        "hidden": [["3/5", "4/5"]],
        "outer": ["1"],
        "multipliers": ["1"],
        "height": "1",
        "gap": "0",
        "trees": {"positive": {"coefficients": {"0": "1"}}, "negative": {"coefficients": {}}},
    },
    "null-space-fibre": {
        "points": [["1", "-1/2"]],
        "coefficients": [["2/3"]],
        "pieces": ["0/weight"],
        "residual": "1/1048576",
        "dimension": 1,
        "prime": 2305843009213693951,
        "seed": 0,
    },
    "univariate-support": {
        "points": [["-1/2"]],
        "coefficients": [["2/3"]],
        "others": [["1", "-1"]],
        "slopes": [[0, 0, "1/2"]],
        "margin": ["1", "3/2"],
        "kink": "1/1048576",
        "eta": "1/1048576",
        "residual": "0",
        "rho": "1/4096",
        "lower": ["1/2"],
        "coefficient_rho": "1/4096",
        "outside": "0",
        "multipliers": [[[0, "-1", "0"]]],
    },
    "layerwise-recovery": {
        "points": [["1", "-1/2"]],
        "coefficients": [["2/3"]],
        "pieces": ["0/weight", "2/weight"],
        "eta": "1/1048576",
        "residual": "0",
        "rho": "1/4096",
        "coefficient_rho": "1/4096",
        "determined_by": "logistic",
        "free_inputs": 0,
        "label": -1,
        "branch": "low",
        "margins": ["-1/2", "-1/4"],
        "layers": [
            {"layer": 0, "strategy": "forward", "error": "1/4096", "omega": "1/2"},
            {
                "layer": 1,
                "strategy": "gradient-then-forward",
                "error": "1",
                "kappa": "2",
                "omega": "1",
                "complement": [["1"]],
            },
            {"layer": 2, "strategy": "gradient", "error": "1/8192", "kappa": "1/2"},
        ],
    },
    "generic-rank-lower-bound": {**LAYER, "rank": 16},
    "generic-rank-upper-bound": {
        **LAYER,
        "bound": 16,
        "covered": 16,
        "rank_weight_bound": 8,
        "rank_gradient_bound": 16,
        "dependencies": 0,
    },
    "global-fibre": {"architecture": "{}", "layer": "0", "vector": ["0", "1"], "weight": ["1"], "sensitivity": ["1"]},
    "kernel-positive-definite": {"matrix": [["2", ["1", "1/8"]], [["1", "1/8"], "2"]], "lower_bound": "1/2"},
    "cp-uniqueness": {"factors": [[["1", "0"], ["0", "1"]]] * 3, "condition": "jennrich"},
    "counterexample": {"theorem": "a.b", "instance": {"x": 0.5}, "arithmetic": "rational", "twin": None, "text": ""},
}


def make(claim: str, **changes: Any) -> Certificate:
    return Certificate(claim, DATA[claim] | changes, SUBJECT, library_versions(), 3)


def test_every_claim_is_exercised_here() -> None:
    assert set(DATA) == set(CLAIMS)


@pytest.mark.parametrize("claim", CLAIMS)
def test_certificates_read_back(claim: str) -> None:
    certificate = make(claim)
    text = certificate.to_json()
    assert Certificate.from_json(text) == certificate
    assert Certificate.from_json(text.encode()) == certificate
    assert Certificate.from_json(json.dumps(json.loads(text), indent=1)).to_json() == text
    assert list(json.loads(text)) == sorted(["format", "claim", "data", "subject", "library", "seed"])


def refused(text: str | bytes) -> str:
    with pytest.raises(CertificateError) as caught:
        Certificate.from_json(text)
    message = str(caught.value)
    assert "\n" not in message
    assert len(message) < 400
    return message


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_missing_or_unknown_key_of_the_data_is_named(claim: str) -> None:
    document = json.loads(make(claim).to_json())
    for key in ("theorem", "layer", "points", "matrix", "factors"):
        if key in document["data"]:
            without = {**document, "data": {k: v for k, v in document["data"].items() if k != key}}
            assert key in refused(json.dumps(without))
    assert "surprise" in refused(json.dumps({**document, "data": {**document["data"], "surprise": 1}}))


@pytest.mark.parametrize("key", ["format", "claim", "data", "subject", "library", "seed"])
def test_outer_keys_are_required(key: str) -> None:
    document = json.loads(make("cp-uniqueness").to_json())
    del document[key]
    assert key in refused(json.dumps(document))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("format", "provable-certificate/2"),
        ("claim", "isolated-recoveries"),
        ("claim", 1),
        ("claim", ["cp-uniqueness"]),
        ("data", []),
        ("subject", SUBJECT.upper()),
        ("subject", SUBJECT[:-1]),
        ("subject", None),
        ("library", []),
        ("library", {"numpy": 2}),
        ("seed", -1),
        ("seed", True),
        ("seed", 0.0),
        ("seed", "0"),
    ],
)
def test_wrong_outer_values_are_refused(key: str, value: object) -> None:
    document = json.loads(make("cp-uniqueness").to_json())
    assert refused(json.dumps({**document, key: value}))


WRONG_FIELDS = [
    ("isolated-recovery", "points", [["1"], ["1", "2"]]),
    ("isolated-recovery", "points", [[0.5]]),
    ("isolated-recovery", "points", []),
    ("isolated-recovery", "points", ["1"]),
    ("isolated-recovery", "radius", "0"),
    ("isolated-recovery", "radius", "-1"),
    ("isolated-recovery", "sigma", "2/4"),
    ("isolated-recovery", "eta", 0),
    ("isolated-recovery", "rho", "-1/2"),
    ("isolated-recovery", "pieces", []),
    ("isolated-recovery", "pieces", [1]),
    ("layerwise-recovery", "label", 0),
    ("layerwise-recovery", "label", True),
    ("layerwise-recovery", "branch", "left"),
    ("layerwise-recovery", "determined_by", "faith"),
    ("layerwise-recovery", "margins", []),
    ("layerwise-recovery", "layers", []),
    ("layerwise-recovery", "layers", [0]),
    ("layerwise-recovery", "layers", [{"layer": 0, "strategy": "forward", "error": "1"}]),
    ("layerwise-recovery", "layers", [{"layer": 0, "strategy": "none", "error": "1"}]),
    ("layerwise-recovery", "layers", [{"layer": 0, "strategy": "gradient", "error": "-1", "kappa": "1"}]),
    ("layerwise-recovery", "layers", [{"layer": 0, "strategy": "gradient", "error": "1", "kappa": "0"}]),
    ("generic-rank-lower-bound", "rank", -1),
    ("generic-rank-lower-bound", "rank", 1.0),
    ("generic-rank-lower-bound", "rank", True),
    ("generic-rank-lower-bound", "kernel", 3),
    ("generic-rank-lower-bound", "kernel", [3, 0]),
    ("generic-rank-lower-bound", "layer", 0),
    ("generic-rank-upper-bound", "dependencies", None),
    ("global-fibre", "vector", ["x"]),
    ("kernel-positive-definite", "matrix", [[["1", "-1"]]]),
    ("kernel-positive-definite", "matrix", [["1", "2"], ["2"]]),
    ("kernel-positive-definite", "lower_bound", 0.5),
    ("cp-uniqueness", "condition", "both"),
    ("cp-uniqueness", "factors", [[["1"]], [["1"]]]),
    ("counterexample", "text", 3),
    ("counterexample", "theorem", ""),
]


@pytest.mark.parametrize(("claim", "key", "value"), WRONG_FIELDS)
def test_wrong_fields_are_refused_by_name(claim: str, key: str, value: object) -> None:
    with pytest.raises(CertificateError, match=f"data.{key}") as caught:
        make(claim, **{key: value})
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "null",
        "{",
        "[" * 100_000,
        b"\xff\xfe",
        '{"format": 1, "format": 1}',
        '{"seed": NaN}',
        '{"seed": Infinity}',
        '{"seed": 1e999}',
        '{"a": {"b": 1, "b": 2}}',
    ],
)
def test_what_is_no_json_object_is_refused(text: str | bytes) -> None:
    refused(text)


@given(st.text(max_size=60) | st.binary(max_size=60))
def test_noise_is_refused_without_a_traceback(text: str | bytes) -> None:
    refused(text)


@given(st.data())
def test_truncations_are_refused(data: st.DataObject) -> None:
    text = make("isolated-recovery").to_json()
    refused(text[: data.draw(st.integers(0, len(text) - 1))])


def test_digests_ignore_the_order_of_keys() -> None:
    assert data_sha256({"a": 1, "b": ["x"]}) == data_sha256({"b": ["x"], "a": 1})
    assert canonical_json({"b": "é", "a": None}) == '{"a":null,"b":"\\u00e9"}'


def test_library_versions_name_the_packages() -> None:
    assert set(library_versions()) == {"provable", "numpy", "python-flint"}
