"""Generic ranks of layer systems: the checker against dense exact ranks, both bounds against each other, and corruptions."""

from __future__ import annotations

import json
import time
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import Architecture, AvgPool2d, Conv2d, Flatten, LeakyReLU, Linear, Residual
from provable.architectures.zoo import zoo
from provable.checker import check
from provable.checker.layer_system import Axis, System
from provable.checker.witness import Witness
from provable.rigor.certificates import Certificate
from provable.rigor.modular_rank import PRIME, witness_integers

SEEDS = st.integers(0, 1000)


@st.composite
def convolutions(
    draw: st.DrawFn,
) -> tuple[int, int, tuple[int, int], tuple[int, int], tuple[int, int], tuple[int, int]]:
    """in_channels, out_channels, size, kernel, stride, padding of a small convolution."""
    size = draw(st.tuples(st.integers(1, 6), st.integers(1, 6)))
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = draw(st.tuples(st.integers(0, 2), st.integers(0, 2)))
    padded = [side + 2 * pad for side, pad in zip(size, padding, strict=True)]
    assume(all(side >= max(k, step) for side, k, step in zip(padded, kernel, stride, strict=True)))
    return draw(st.integers(1, 3)), draw(st.integers(1, 3)), size, kernel, stride, padding


def system_of(sizes: Any) -> System:
    inputs, outputs, size, kernel, stride, padding = sizes
    vertical, horizontal = (Axis(*axis) for axis in zip(size, kernel, stride, padding, strict=True))
    return System(inputs, outputs, (vertical, horizontal))


def dense(sizes: Any, weight: list[int], sensitivity: list[int]) -> list[list[int]]:
    """U = [W; K] straight from its definition, entry by entry."""
    inputs, outputs, size, kernel, stride, padding = sizes
    high, wide = ((size[t] + 2 * padding[t] - kernel[t]) // stride[t] + 1 for t in range(2))
    columns = inputs * size[0] * size[1]
    w = np.array(weight, dtype=object).reshape(outputs, inputs, *kernel)
    d = np.array(sensitivity, dtype=object).reshape(outputs, high, wide)
    forward = np.zeros((outputs, high, wide, columns), dtype=object)
    gradient = np.zeros((outputs, inputs, *kernel, columns), dtype=object)
    for o, p, q, c, a, b in np.ndindex(outputs, high, wide, inputs, *kernel):
        i, j = stride[0] * p + a - padding[0], stride[1] * q + b - padding[1]
        if 0 <= i < size[0] and 0 <= j < size[1]:
            column = (c * size[0] + i) * size[1] + j
            forward[o, p, q, column] = w[o, c, a, b]
            gradient[o, c, a, b, column] = d[o, p, q]
    return [*forward.reshape(-1, columns).tolist(), *gradient.reshape(-1, columns).tolist()]


def rank_mod(rows: list[list[int]]) -> int:
    return int(flint.nmod_mat(len(rows), len(rows[0]), [e for row in rows for e in row], PRIME).rank())


@given(convolutions(), SEEDS)
def test_the_rank_at_the_witness_is_that_of_the_dense_matrix(sizes: Any, seed: int) -> None:
    system = system_of(sizes)
    weight = witness_integers(seed, "weight", system.outputs * system.inputs * system.lags)
    sensitivity = witness_integers(seed, "sensitivity", system.outputs * system.positions)
    found = Witness(system, PRIME, seed).rank(10**9)
    assert found == rank_mod(dense(sizes, weight, sensitivity))
    assert found <= min(system.covered, system.weight_bound() + system.gradient_bound())


@given(convolutions(), SEEDS)
def test_counting_bounds_hold_for_each_block(sizes: Any, seed: int) -> None:
    system = system_of(sizes)
    weight = witness_integers(seed, "weight", system.outputs * system.inputs * system.lags)
    sensitivity = witness_integers(seed, "sensitivity", system.outputs * system.positions)
    rows = dense(sizes, weight, sensitivity)
    equations = system.outputs * system.positions
    forward, gradient = rank_mod(rows[:equations]), rank_mod(rows[equations:])
    assert forward <= system.weight_bound()
    assert gradient <= system.gradient_bound()
    assert sum(any(row[column] for row in rows) for column in range(len(rows[0]))) == system.covered
    dependencies = Witness(system, PRIME, seed).dependencies()
    assert dependencies <= forward + gradient - rank_mod(rows)
    if system.tiled():
        assert rank_mod(rows) == system.tiled_rank()
        assert dependencies == min(system.outputs, system.inputs * system.lags) * min(system.outputs, system.positions)


def certificate(
    claim: str, architecture: Architecture, path: str, system: System, seed: int, **numbers: int
) -> Certificate:
    """A certificate in the documented form, written down here so that no solver is needed."""
    vertical, horizontal = system.axes
    data = {
        "architecture": architecture.to_json(),
        "layer": path,
        "in_channels": system.inputs,
        "height": vertical.extent,
        "width": horizontal.extent,
        "out_channels": system.outputs,
        "kernel": [vertical.lags, horizontal.lags],
        "stride": [vertical.stride, horizontal.stride],
        "padding": [vertical.padding, horizontal.padding],
        "prime": PRIME,
        "seed": seed,
    }
    return Certificate(f"generic-rank-{claim}-bound", {**data, **numbers}, architecture.sha256, {}, seed)


def lower(architecture: Architecture, path: str, system: System, rank: int, seed: int = 0) -> Certificate:
    return certificate("lower", architecture, path, system, seed, rank=rank)


def architecture_of(sizes: Any) -> Architecture:
    inputs, outputs, size, kernel, stride, padding = sizes
    layers = (Conv2d(outputs, kernel, stride, padding), LeakyReLU(0.2), Flatten(), Linear(2))
    return Architecture("net", (inputs, *size), layers, "squared")


def upper(architecture: Architecture, path: str, system: System, seed: int = 0, **changes: int) -> Certificate:
    numbers = {
        "covered": system.covered,
        "rank_weight_bound": system.weight_bound(),
        "rank_gradient_bound": system.gradient_bound(),
        "dependencies": Witness(system, PRIME, seed).dependencies(),
    }
    total = numbers["rank_weight_bound"] + numbers["rank_gradient_bound"] - numbers["dependencies"]
    values = {"bound": min(system.covered, total), **numbers, **changes}
    return certificate("upper", architecture, path, system, seed, **values)


def valid(certificate: Certificate) -> bool:
    result = check(certificate.to_json())
    assert "broke down" not in result.reason
    assert "\n" not in result.reason
    return result.valid


@given(convolutions(), SEEDS)
def test_bounds_are_accepted_when_true_and_meet_or_leave_a_gap(sizes: Any, seed: int) -> None:
    architecture, system = architecture_of(sizes), system_of(sizes)
    rank = Witness(system, PRIME, seed).rank(10**9)
    assert valid(lower(architecture, "0", system, rank, seed))
    assert valid(lower(architecture, "0", system, 0, seed))
    assert not valid(lower(architecture, "0", system, rank + 1, seed))
    made = upper(architecture, "0", system, seed)
    assert valid(made)
    bound = made.data["bound"]
    assert rank <= bound
    assert valid(upper(architecture, "0", system, seed, bound=bound + 5))
    if bound > 0:
        assert not valid(upper(architecture, "0", system, seed, bound=bound - 1))
        # one dependency too many, where it would matter
        dependencies = made.data["dependencies"] + 1
        total = made.data["rank_weight_bound"] + made.data["rank_gradient_bound"] - dependencies
        if 0 <= total < system.covered:
            assert not valid(upper(architecture, "0", system, seed, dependencies=dependencies, bound=total))
    for key in ("covered", "rank_weight_bound", "rank_gradient_bound"):
        if made.data[key] > 0:
            assert not valid(upper(architecture, "0", system, seed, **{key: made.data[key] - 1}))


def test_the_authors_own_deficient_layer_has_rank_3188_of_3468_by_both_bounds() -> None:
    architecture = zoo()["cnn6-d"]
    system = System(12, 20, (Axis(17, 3, 2, 1), Axis(17, 3, 2, 1)))
    before = time.process_time()
    assert valid(lower(architecture, "2", system, 3188))
    numbers = {"covered": 3468, "rank_weight_bound": 1620, "rank_gradient_bound": 12 * 164}
    assert valid(certificate("upper", architecture, "2", system, 0, bound=3188, dependencies=400, **numbers))
    assert not valid(certificate("upper", architecture, "2", system, 0, bound=3187, dependencies=401, **numbers))
    assert time.process_time() - before < 60  # three checks, each of which is to stay below 20 seconds


def test_dead_pixels_are_no_unknowns() -> None:
    architecture = zoo()["cnn2_c0"]
    system = System(3, 1, (Axis(32, 3, 2, 0), Axis(32, 3, 2, 0)))
    rank = 3 * 32 * 32 - 2821
    assert system.covered == 3 * 31 * 31
    assert valid(lower(architecture, "0", system, rank))
    assert valid(upper(architecture, "0", system, bound=rank))
    assert not valid(lower(architecture, "0", system, rank + 1))


def test_linear_layers_and_layers_inside_residual_blocks() -> None:
    inner = (Conv2d(2, 3, 1, 1), LeakyReLU(0.1), Conv2d(2, 3, 1, 1))
    block = Residual(inner, (Conv2d(2, 1, 1, 0),))
    layers = (AvgPool2d(2), block, LeakyReLU(0.1), Flatten(), Linear(3))
    architecture = Architecture("net", (2, 8, 8), layers, "squared")
    for path in ("1.0", "1.2", "1.shortcut.0"):
        kernel = 1 if "shortcut" in path else 3
        system = System(2, 2, (Axis(4, kernel, 1, kernel // 2),) * 2)
        rank = Witness(system, PRIME, 0).rank(10**9)
        assert valid(lower(architecture, path, system, rank))
        assert valid(upper(architecture, path, system))
    flat = System(32, 3, (Axis(1, 1, 1, 0),) * 2)
    assert valid(lower(architecture, "4", flat, 32))
    assert not valid(lower(architecture, "4", flat, 33))
    for path in ("0", "1", "3", "9", "1.1", "0.0", "1.shortcut.1", "x", "4.0"):
        assert not valid(lower(architecture, path, flat, 1))


def test_large_layers_that_tile_need_no_matrix() -> None:
    layers = (Conv2d(192, 16, 16), Flatten(), Linear(10))
    vit = Architecture("patches", (3, 224, 224), layers, "cross_entropy")
    system = System(3, 192, (Axis(224, 16, 16, 0),) * 2)
    # nullity (3·256 - 192)(196 - 192) = 2304
    assert valid(lower(vit, "0", system, 150528 - 2304))
    assert not valid(lower(vit, "0", system, 150528 - 2303))
    numbers = {"covered": 150528, "rank_weight_bound": 192 * 196, "rank_gradient_bound": 768 * 192}
    for more in (0, 1):
        values = {"bound": 150528 - 2304 - more, "dependencies": 192**2 + more, **numbers}
        assert valid(certificate("upper", vit, "0", system, 0, **values)) == (more == 0)


def test_layers_that_are_too_large_are_said_to_be() -> None:
    large = Architecture("large", (2, 200, 200), (Conv2d(2, 3, 1, 1), Flatten(), Linear(10)), "cross_entropy")
    system = System(2, 2, (Axis(200, 3, 1, 1),) * 2)
    result = check(lower(large, "0", system, 2 * 200**2).to_json())
    assert not result.valid
    assert "entries" in result.reason


CHANGES = [
    ("in_channels", 2),
    ("height", 7),
    ("width", 5),
    ("out_channels", 1),
    ("kernel", [3, 2]),
    ("stride", [2, 1]),
    ("padding", [1, 0]),
    ("layer", "2"),
    ("layer", "3"),
    ("layer", "1"),
    ("layer", ""),
    ("layer", 0),
    ("prime", 4),
    ("prime", 2**61),
    ("prime", 2**89 - 1),
    ("prime", 1),
    ("seed", -1),
    ("seed", 0.0),
    ("rank", True),
    ("rank", "16"),
    ("rank", -1),
    ("kernel", 0),
    ("kernel", [3]),
    ("architecture", "{}"),
    ("architecture", None),
]

SMALL = (1, 2, (6, 6), (3, 3), (1, 1), (0, 0))


@pytest.mark.parametrize(("key", "value"), CHANGES)
def test_changed_fields_are_rejected(key: str, value: object) -> None:
    document = json.loads(lower(architecture_of(SMALL), "0", system_of(SMALL), 30).to_json())
    assert check(document).valid
    document["data"][key] = value
    result = check(document)
    assert not result.valid
    assert "broke down" not in result.reason


def test_missing_keys_other_subjects_and_other_architectures_are_rejected() -> None:
    architecture = architecture_of(SMALL)
    document = json.loads(lower(architecture, "0", system_of(SMALL), 30).to_json())
    for key in document["data"]:
        assert not check({**document, "data": {k: v for k, v in document["data"].items() if k != key}}).valid
    assert not check({**document, "subject": "0" * 64}).valid
    assert not check({**document, "data": {**document["data"], "more": 1}}).valid
    assert check(document, architecture=architecture.to_json()).valid
    assert not check(document, architecture=zoo()["cnn6"].to_json()).valid
    # the same sizes under another description are another subject
    other = document["data"]["architecture"].replace('"net"', '"ten"')
    assert not check({**document, "data": {**document["data"], "architecture": other}}).valid
