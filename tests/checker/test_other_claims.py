"""Fibres, kernels, tensors and counterexamples: what is written is proved again, and what is changed is rejected."""

from __future__ import annotations

import hashlib
import json
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, AvgPool2d, Conv2d, Flatten, Identity, Linear, Tanh
from provable.arithmetic import RATIONAL
from provable.checker import check
from provable.errors import InputError
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.rigor.certificate_writers import counterexample, cp_uniqueness, global_fibre, kernel_positive_definite
from provable.rigor.certificates import Certificate, Refusal, data_sha256

SEEDS = st.integers(0, 2**32 - 1)
EXPENSIVE = settings(max_examples=max(25, settings.default.max_examples // 4))
"""A quarter of the profile's examples: each one makes and checks a certificate several times."""


def verdict(certificate: Certificate | dict[str, Any]) -> bool:
    result = check(certificate if isinstance(certificate, dict) else certificate.to_json())
    assert "broke down" not in result.reason, result.reason
    assert "\n" not in result.reason
    return result.valid


def resubmitted(certificate: Certificate, **changes: Any) -> dict[str, Any]:
    """Change the data, and the subject with them where it is the digest of the data."""
    document: dict[str, Any] = json.loads(certificate.to_json())
    document["data"] |= changes
    document["data"] = {key: value for key, value in document["data"].items() if value != "DELETED"}
    if "architecture" not in document["data"]:
        document["subject"] = data_sha256(document["data"])
    return document


# fibres


def convolution(size: int, kernel: int, stride: int, channels: int = 2) -> Architecture:
    layers = (Conv2d(3, kernel, stride), Tanh(), Flatten(), Linear(2))
    return Architecture("net", (channels, size, size), layers, "squared")


@given(st.integers(4, 8), st.integers(2, 3), st.integers(1, 4), SEEDS)
def test_dead_inputs_are_a_fibre_and_covered_ones_are_not(size: int, kernel: int, stride: int, seed: int) -> None:
    architecture = convolution(size, kernel, stride)
    positions = (size - kernel) // stride + 1
    seen = sorted({stride * p + a for p in range(positions) for a in range(kernel)})
    dead = np.ones((2, size, size), dtype=bool)
    dead[:, np.ix_(seen, seen)[0], np.ix_(seen, seen)[1]] = False
    rng = np.random.default_rng(seed)
    vector = np.where(dead, rng.standard_normal(dead.shape), 0.0)
    if dead.any():
        assert verdict(global_fibre(architecture, 0, vector))
        parameters = Parameters.random(architecture, rng=rng)
        point, coefficients = rng.standard_normal((1, *dead.shape)), rng.standard_normal((1, 2))
        same = [embed(architecture, parameters, Measure(x, coefficients)) for x in (point, point + vector)]
        assert all(np.array_equal(same[0][key], same[1][key]) for key in same[0])
    assert not verdict(global_fibre(architecture, 0, np.zeros(dead.shape)))
    vector[0, seen[0], seen[0]] = 2.0**-300
    assert not verdict(global_fibre(architecture, 0, vector))


@given(SEEDS, st.integers(1, 2))
def test_an_exact_null_vector_of_weight_and_sensitivity_is_a_fibre(seed: int, stride: int) -> None:
    rng = np.random.default_rng(seed)
    layers = (Conv2d(1, 2, stride, bias=False), Tanh(), Flatten(), Linear(1))
    architecture = Architecture("net", (3, 4, 4), layers, "squared")
    outputs = architecture.shapes[1]
    weight, sensitivity = rng.integers(-3, 4, (1, 3, 2, 2)), rng.integers(-3, 4, outputs)
    # U from its definition, and a null vector by exact elimination: 48 unknowns, at most 21 equations
    rows = []
    for p, q in np.ndindex(*outputs[1:]):
        row = np.zeros((3, 4, 4), dtype=object)
        row[:, stride * p : stride * p + 2, stride * q : stride * q + 2] = weight[0]
        rows.append(row.ravel())
    for c, a, b in np.ndindex(3, 2, 2):
        row = np.zeros((3, 4, 4), dtype=object)
        for p, q in np.ndindex(*outputs[1:]):
            row[c, stride * p + a, stride * q + b] += sensitivity[0, p, q]
        rows.append(row.ravel())
    matrix = flint.fmpz_mat([[int(entry) for entry in row] for row in rows])
    basis, nullity = matrix.nullspace()
    assert nullity >= 48 - len(rows)
    chosen = int(rng.integers(nullity))
    column = [int(basis[i, chosen]) for i in range(48)]
    exact = np.array([Fraction(entry, 7) for entry in column], dtype=object).reshape(3, 4, 4)
    certificate = global_fibre(architecture, 0, exact, weight=weight, sensitivity=sensitivity)
    assert verdict(certificate)
    place = int(rng.integers(48))
    vector = list(certificate.data["vector"])
    vector[place] = str(Fraction(vector[place]) + Fraction(1, 10**30))
    moved = matrix * flint.fmpz_mat([[int(i == place)] for i in range(48)])
    assert verdict(resubmitted(certificate, vector=vector)) == (moved.rank() == 0)


def test_a_linear_layer_has_a_fibre_only_without_sensitivity() -> None:
    architecture = Architecture("net", (1, 2, 2), (Flatten(), Identity(), Linear(2), Tanh(), Linear(1)), "squared")
    weight = np.array([[1, 1, 0, 0], [0, 0, 1, 2]])
    vector = np.array([1, -1, 0, 0])
    assert verdict(global_fibre(architecture, 2, vector, weight=weight, sensitivity=[0, 0]))
    assert not verdict(global_fibre(architecture, 2, vector, weight=weight, sensitivity=[0, 1]))
    assert not verdict(global_fibre(architecture, 2, np.array([1, 1, 0, 0]), weight=weight, sensitivity=[0, 0]))
    assert not verdict(global_fibre(architecture, 2, vector))


def test_other_fibres_are_rejected() -> None:
    architecture = convolution(4, 3, 2)
    vector = np.zeros((2, 4, 4))
    vector[:, 3, :] = 1.0
    certificate = global_fibre(architecture, 0, vector)
    assert verdict(certificate)
    for changes in (
        {"layer": "3"},
        {"layer": 0},
        {"layer": "00"},
        {"vector": certificate.data["vector"][1:]},
        {"vector": "DELETED"},
        {"weight": ["1"]},
        {"sensitivity": ["1"]},
        {"weight": ["1"] * 54, "sensitivity": ["1"] * 2},
        {"more": 1},
        {"architecture": convolution(5, 3, 2).to_json()},
    ):
        assert not verdict(resubmitted(certificate, **changes))
    assert verdict(resubmitted(certificate, weight=["1"] * 54, sensitivity=["1"] * 3))  # whatever they are
    behind = (Tanh(), Conv2d(3, 3, 2), Flatten(), Linear(2))
    assert not verdict(global_fibre(Architecture("net", (2, 4, 4), behind, "squared"), 1, vector))
    pooled = (AvgPool2d(1), Conv2d(3, 3, 2), Flatten(), Linear(2))
    assert not verdict(global_fibre(Architecture("net", (2, 4, 4), pooled, "squared"), 1, vector))


# kernels


@EXPENSIVE
@given(SEEDS, st.sampled_from([1, 2, 5, 40]), st.floats(0, 10), st.booleans())
def test_kernels_are_proved_again(seed: int, size: int, log_condition: float, exact: bool) -> None:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    matrix = (basis * 10.0 ** np.linspace(0, -log_condition, size)) @ basis.T
    matrix = (matrix + matrix.T) / 2
    radius = np.full((size, size), 0.0 if exact else 10.0 ** (-log_condition - 2) / size)
    certificate = kernel_positive_definite(matrix if exact else (matrix, radius))
    assert isinstance(certificate, Certificate)
    assert verdict(certificate)
    bound = Fraction(certificate.data["lower_bound"])
    smallest = float(np.linalg.eigvalsh(matrix)[0])
    assert 0 < bound < smallest * (1 + 30 * size * 2.0**-52 * 10**log_condition)
    # radii count: with them, the stated bound plus their row sum must stay below the midpoints' smallest eigenvalue
    above = Fraction(smallest) * Fraction(1001, 1000) - (0 if exact else Fraction(radius[0].sum()))
    assert not verdict(resubmitted(certificate, lower_bound=str(above)))
    assert verdict(resubmitted(certificate, lower_bound=str(bound / 2)))


def test_indefinite_and_singular_kernels_are_refused() -> None:
    for matrix in (np.diag([1.0, -1.0]), np.ones((2, 2)), np.zeros((1, 1)), (np.eye(2), np.ones((2, 2)))):
        assert isinstance(kernel_positive_definite(matrix), Refusal)


def test_other_kernels_are_rejected() -> None:
    certificate = kernel_positive_definite((np.array([[2.0, 1.0], [1.0, 2.0]]), np.full((2, 2), 0.125)))
    assert isinstance(certificate, Certificate)
    assert verdict(certificate)
    matrix = certificate.data["matrix"]
    bad: list[Any] = [
        [["1"]],
        [],
        "1",
        [["1", "0"], ["1", "1"]],
        [["1", "0"]],
        [["1"], ["1"]],
        [[None]],
        [[["1", "-1"]]],
    ]
    bad += [[[["1", "0", "0"]]], [[1.5]], [matrix[0]], [row[::-1] for row in matrix], [[["0", "0"]]], [["-1"]], {}]
    for value in bad:
        assert not verdict(resubmitted(certificate, matrix=value)) or value == [["1"]]
    for value in ("2", "1000000", 0.5, None, "1/0"):
        assert not verdict(resubmitted(certificate, lower_bound=value))
    wide = [[[middle, "4"] for middle, _ in row] for row in matrix]
    assert not verdict(resubmitted(certificate, matrix=wide))
    document = json.loads(certificate.to_json())
    document["data"]["lower_bound"] = "1/1000"
    assert not verdict(document)  # true, but no longer the data that the subject names


# tensors


def brute_k_rank(matrix: np.ndarray) -> int:
    """By every subset and exact determinants of Gram matrices, independent of the ranks used elsewhere."""
    import itertools

    exact = [[Fraction(entry) for entry in column] for column in matrix.T.tolist()]
    reached = 0
    for size in range(1, len(exact) + 1):
        for chosen in itertools.combinations(exact, size):
            gram = [[sum(a * b for a, b in zip(x, y, strict=True)) for y in chosen] for x in chosen]
            if flint.fmpq_mat([[flint.fmpq(e.numerator, e.denominator) for e in row] for row in gram]).det() == 0:
                return reached
        reached = size
    return reached


@given(SEEDS, st.integers(1, 4), st.tuples(*[st.integers(1, 4)] * 3), st.integers(1, 2))
def test_uniqueness_is_claimed_exactly_when_a_condition_holds(
    seed: int, terms: int, sizes: tuple[int, int, int], largest: int
) -> None:
    rng = np.random.default_rng(seed)
    factors = [rng.integers(-largest, largest + 1, (size, terms)).astype(np.float64) for size in sizes]
    ranks = [brute_k_rank(factor) for factor in factors]
    jennrich = ranks[0] == ranks[1] == terms and ranks[2] >= min(2, terms)
    kruskal = terms >= 2 and sum(ranks) >= 2 * terms + 2
    made = cp_uniqueness(factors)
    assert isinstance(made, Certificate) == (jennrich or kruskal)
    data = {"factors": [[[str(int(e)) for e in row] for row in factor] for factor in factors]}
    for condition, holds in (("jennrich", jennrich), ("kruskal", kruskal)):
        both = {**data, "condition": condition}
        document = json.loads(Certificate("cp-uniqueness", both, data_sha256(both), {}).to_json())
        assert verdict(document) == holds
    if isinstance(made, Certificate):
        assert verdict(made)


def test_generic_factors_beyond_full_rank_need_kruskal() -> None:
    factors = [np.random.default_rng(k).standard_normal((4, 5)) for k in range(3)]
    made = cp_uniqueness(factors)
    assert isinstance(made, Certificate)
    assert made.data["condition"] == "kruskal"
    assert verdict(made)
    assert not verdict(resubmitted(made, condition="jennrich"))
    twice = [[[*row[:-1], row[0]] for row in factor] for factor in made.data["factors"]]
    assert not verdict(resubmitted(made, factors=twice))


def test_other_tensors_are_rejected() -> None:
    made = cp_uniqueness([np.eye(2)] * 3)
    assert isinstance(made, Certificate)
    factors = made.data["factors"]
    bad: list[Any] = [
        factors[:2],
        [*factors[:2], [["1"]]],
        factors[0],
        None,
        [[["1", "2"], ["1"]]] * 3,
        [[[]]] * 3,
        [1] * 3,
    ]
    for value in bad:
        assert not verdict(resubmitted(made, factors=value))
    for value in ("both", None, 1, ["jennrich"]):
        assert not verdict(resubmitted(made, condition=value))
    many = [[["1" if j % 30 == i else "0" for j in range(60)] for i in range(30)]] * 3
    assert not verdict(resubmitted(made, factors=many, condition="kruskal"))
    for shapes in ([np.eye(2)] * 2, [np.eye(2), np.eye(2), np.eye(3)], [np.ones(2)] * 3, [np.zeros((0, 2))] * 3):
        with pytest.raises(InputError):
            cp_uniqueness(shapes)


# counterexamples


def test_counterexamples_are_evaluated_again(monkeypatch: pytest.MonkeyPatch) -> None:
    import provable.theorems.counterexamples as counterexamples

    asked: list[Any] = []

    def recheck(data: dict[str, Any]) -> tuple[bool, str]:
        asked.append(data)
        return data["theorem"] == "a.b", "one sentence"

    monkeypatch.setattr(counterexamples, "recheck", recheck)
    data = {"theorem": "a.b", "instance": {"x": [0.5, None]}, "arithmetic": "rational", "file": None, "twin": "t"}
    assert verdict(counterexample(data))
    assert asked == [data]
    assert not verdict(counterexample({**data, "theorem": "a.c"}))
    document = json.loads(counterexample(data).to_json())
    document["data"]["instance"] = {"x": [0.25, None]}
    assert not verdict(document)  # the subject is the digest of the data
    assert not verdict(resubmitted(counterexample(data), surprise=1))


def test_the_digest_is_that_of_sorted_json_without_spaces() -> None:
    made = cp_uniqueness([np.eye(2)] * 3)
    assert isinstance(made, Certificate)
    text = json.dumps(json.loads(made.to_json())["data"], sort_keys=True, separators=(",", ":"))
    assert made.subject == hashlib.sha256(text.encode()).hexdigest()


def test_the_exact_arithmetic_of_factors_is_that_of_floats() -> None:
    # 0.1 + 0.2 and 0.3 differ in float64, so these columns are not parallel, by 2**-54
    third = np.array([[1.0, 1.0], [0.1 + 0.2, 0.3]])
    made = cp_uniqueness([np.eye(2), np.eye(2), third])
    assert isinstance(made, Certificate)
    assert verdict(made)
    assert RATIONAL.convert(third)[0, 0] == 1


def _uniqueness(factors, condition):
    """A certificate written by hand, with entries as texts of rationals."""
    data = {"factors": factors, "condition": condition}
    return json.loads(Certificate("cp-uniqueness", data, data_sha256(data), {}).to_json())


EYE = [["1", "0"], ["0", "1"]]


@pytest.mark.parametrize(
    ("third", "valid"),
    [
        ([["1/2", "1/3"]], False),  # one row: all columns are parallel
        ([["1/2", "1/3"], ["1/2", "1/2"]], True),
        ([["1/2", "1/3"], ["3/2", "1"]], False),  # parallel, which the numerators alone hide
        ([["1/2", "1/3"], ["1/3", "1/2"]], True),
        ([["0", "1"], ["0", "1"]], False),  # a zero column
        ([["1", "0"], ["1", "0"]], False),
    ],
)
def test_jennrichs_condition_looks_at_fractions_and_zero_columns(third, valid):
    assert check(_uniqueness([EYE, EYE, third], "jennrich")).valid == valid


def test_one_term_is_unique_unless_it_vanishes():
    assert check(_uniqueness([[["1"]], [["1"]], [["1/2"]]], "jennrich")).valid
    assert not check(_uniqueness([[["1"]], [["1"]], [["0"]]], "jennrich")).valid
    assert not check(_uniqueness([[["1"]], [["1"]], [["1"]]], "kruskal")).valid


@pytest.mark.parametrize(
    ("factor", "k_rank"),
    [
        ([["1", "0", "1"], ["0", "1", "1"]], 2),  # three vectors of a plane, no two parallel
        ([["1", "0", "2"], ["0", "1", "0"]], 1),  # the first and the last are parallel
        ([["1", "0", "0"], ["0", "1", "0"]], 0),  # a zero column
    ],
)
def test_kruskals_sum_counts_the_k_rank_and_not_the_rank(factor, k_rank):
    full = [["1", "0", "0"], ["0", "1", "0"], ["0", "0", "1"]]
    # Two factors of k-rank 3 need 2 more for 2·3 + 2 = 8; all three factors above have rank 2.
    for order in ([full, full, factor], [full, factor, full], [factor, full, full]):
        assert check(_uniqueness(order, "kruskal")).valid == (6 + k_rank >= 8)
