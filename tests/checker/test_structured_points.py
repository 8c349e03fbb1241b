"""Rank claims at structured points: the checker against dense exact ranks, and points that are not what they claim."""

from __future__ import annotations

import copy
import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, LeakyReLU, Linear
from provable.checker import check, sparse_rank
from provable.checker.layer_system import Axis, System
from provable.checker.witness import Witness, read_point
from provable.leakage.layer_systems import LayerSystem, rank_bounds, structured_witness, witness_search
from provable.leakage.layer_systems.rank_certificates import lower_certificate, upper_certificate
from provable.leakage.layer_systems.structured_witness import StructuredWitness
from provable.rigor.modular_rank import PRIME, rank_mod

Document = dict[str, Any]


@st.composite
def systems(draw: st.DrawFn) -> LayerSystem:
    """Small layers with up to three samples."""
    image = (draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    pads = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    padded = [side + 2 * pad for side, pad in zip(image, pads, strict=True)]
    kernel = (draw(st.integers(1, min(4, padded[0]))), draw(st.integers(1, min(4, padded[1]))))
    stride = (draw(st.integers(1, min(3, padded[0]))), draw(st.integers(1, min(3, padded[1]))))
    batch = draw(st.sampled_from([1, 1, 2, 3]))
    return LayerSystem(draw(st.integers(1, 4)), draw(st.integers(1, 5)), image, kernel, stride, pads, batch)


def network(system: LayerSystem) -> Architecture:
    layer = Conv2d(system.out_channels, system.kernel_size, system.stride, system.padding)
    layers = (layer, LeakyReLU(0.2), Flatten(), Linear(2))
    return Architecture("net", (system.in_channels, *system.input_size), layers, "squared")


def certificates(system: LayerSystem, seed: int = 0) -> tuple[Document, Document]:
    bounds = rank_bounds(system, seed=seed)
    assert bounds.lower is not None
    lower = lower_certificate(network(system), "0", system, bounds.lower, seed=seed)
    upper = upper_certificate(network(system), "0", system, bounds.upper, seed=seed)
    return json.loads(lower.to_json()), json.loads(upper.to_json())


def valid(document: Document) -> bool:
    result = check(document)
    assert "broke down" not in result.reason, result.reason
    assert "\n" not in result.reason
    return result.valid


def checkers_system(system: LayerSystem) -> System:
    sizes = zip(system.input_size, system.kernel_size, system.stride, system.padding, strict=True)
    vertical, horizontal = (Axis(*axis) for axis in sizes)
    return System(system.in_channels, system.out_channels, (vertical, horizontal), system.batch_size)


@given(systems(), st.integers(0, 20))
def test_bounds_that_are_proved_are_accepted_and_one_better_is_not(system: LayerSystem, seed: int) -> None:
    lower, upper = certificates(system, seed)
    assert valid(lower)
    assert valid(upper)
    lower["data"]["rank"] += 1
    assert not valid(lower)
    if upper["data"]["bound"]:
        upper["data"]["bound"] -= 1
        assert not valid(upper)


@given(systems(), st.integers(0, 5))
def test_both_programs_find_the_same_ranks_at_all_points_that_are_proposed(system: LayerSystem, seed: int) -> None:
    own = checkers_system(system)
    points = list(witness_search.selections(system))
    for positions in witness_search.positions(system):
        points += [*witness_search.sparse_kernels(system, positions), *witness_search.normal_forms(system, positions)]
    for point in points:
        read = read_point(json.loads(json.dumps(point.to_json())), own)
        assert Witness(own, PRIME, seed, *read).rank(10**9) == structured_witness.rank(system, point, seed=seed)
        found = Witness(own, PRIME, seed, *read).dependencies()
        assert found == structured_witness.dependencies(system, point, seed=seed)
    for groups in witness_search.splits(system):
        read = read_point(StructuredWitness(groups, None).to_json(), own)
        generic = Witness(own, PRIME, seed).rank(10**9)
        assert Witness(own, PRIME, seed, *read).rank(10**9) <= generic


@given(systems())
def test_counts_of_both_programs_agree(system: LayerSystem) -> None:
    from provable.leakage.layer_systems import dimension_counts as counts

    own = checkers_system(system)
    assert own.covered == counts.covered_unknowns(system)
    assert own.weight_bound() == counts.forward_count(system)
    assert own.gradient_bound() == counts.gradient_count(system)
    assert (own.tiled_rank() if own.tiled() else None) == counts.tiled_rank(system)
    for attained in (False, True):
        images = counts.image_count(system, gradient_attained=attained) - counts.gradient_count(system)
        assert own.image_bound(attained=attained) * system.out_channels == images


@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([0.1, 0.3, 0.6]), st.integers(0, 2**32), st.booleans())
def test_sparse_rank_is_the_dense_one(rows: int, columns: int, density: float, seed: int, again: bool) -> None:
    rng = np.random.default_rng(seed)
    table = np.where(rng.random((rows, columns)) < density, rng.integers(1, 3, (rows, columns)), 0)
    if again:
        table = np.vstack([table, table.sum(axis=0)])
    listed = [{column: int(row[column]) for column in np.flatnonzero(row).tolist()} for row in table]
    assert sparse_rank.rank(listed, 5) == rank_mod(table, 5)


LAYER = LayerSystem(4, 5, (8, 8), (3, 3), (2, 2), (1, 1))


def corrupted(document: Document) -> list[tuple[str, Document]]:
    """What a forger might change about the point."""
    result: list[tuple[str, Document]] = []

    def add(name: str, change: Any) -> None:
        copied = copy.deepcopy(document)
        change(copied["data"])
        result.append((name, copied))

    def point(data: Document) -> Document:
        return data["witness"]

    def group(data: Document) -> Document:
        return point(data)["groups"][0]

    add("another count", lambda data: group(data).update(count=group(data)["count"] + 1))
    add("no count", lambda data: group(data).pop("count"))
    add("count of zero", lambda data: group(data).update(count=0))
    add("count is true", lambda data: group(data).update(count=True))
    add("more inputs", lambda data: group(data).update(inputs=group(data)["inputs"] + 1))
    add("more outputs", lambda data: group(data).update(outputs=group(data)["outputs"] + 1))
    add("huge group", lambda data: group(data).update(outputs=10**18))
    add("an unknown key", lambda data: group(data).update(more=1))
    add("an unknown key of the point", lambda data: point(data).update(more=1))
    add("no groups", lambda data: point(data).update(groups=[]))
    add("groups are no list", lambda data: point(data).update(groups={}))
    add("groups are numbers", lambda data: point(data).update(groups=[1]))
    add("a group twice", lambda data: point(data).update(groups=point(data)["groups"] * 2))
    add("one group less", lambda data: point(data).update(groups=point(data)["groups"][1:]))
    add("a list as point", lambda data: data.update(witness=[]))
    add("null as point", lambda data: data.update(witness=None))
    for value in (None, {}, [-1], [10**9], [True], [0.0], ["0"], [0, 0], [[0]], list(range(6))):
        add(f"positions {value}", lambda data, value=value: point(data).update(positions=value))
    for value in (
        None,
        {},
        [],
        [[]],
        [[[0, 0, 0]]] * 9,
        [[[0, 0]]],
        [[[0, 0, 3]]],
        [[[9, 0, 0]]],
        [[[0, -1, 0]]],
        [0],
        [[0]],
    ):
        add(f"taps {value}", lambda data, value=value: group(data).update(taps=value))
    for value in (0, -1, "1", None, True, 1.0, [1]):
        add(f"batch_size {value}", lambda data, value=value: data.update(batch_size=value))
    return result


def test_points_that_are_none_are_rejected() -> None:
    lower, upper = certificates(LAYER)
    assert "positions" in lower["data"]["witness"] and "taps" in lower["data"]["witness"]["groups"][0]
    assert upper["data"]["dependencies"] > 0 and "witness" in upper["data"]
    assert valid(lower) and valid(upper)
    accepted = [name for document in (lower, upper) for name, changed in corrupted(document) if valid(changed)]
    assert accepted == []


def test_points_that_prove_less_do_not_prove_the_claim() -> None:
    lower, upper = certificates(LAYER)
    places = lower["data"]["witness"]["positions"]
    for document, key, worse in ((lower, "rank", -1), (upper, "bound", 1)):
        assert valid(document)
        weaker = copy.deepcopy(document)
        weaker["data"]["witness"]["positions"] = places[:1]
        assert not valid(weaker)
        weaker["data"][key] += worse * 10**3 if key == "bound" else -weaker["data"]["rank"]
        assert valid(weaker), "a weak claim needs no good point"
        for group in document["data"]["witness"]["groups"]:
            emptied = copy.deepcopy(document)
            for other in emptied["data"]["witness"]["groups"]:
                if other == group:
                    other["taps"] = [[]] * group["outputs"]
            assert not valid(emptied)


def test_certificates_without_the_new_keys_stay_valid() -> None:
    """The random point of one sample, as certificates had it before there were others."""
    lower, upper = certificates(LAYER)
    for document in (lower, upper):
        del document["data"]["witness"]
        assert valid(document)


@pytest.mark.parametrize("change", [-1, 0, 5])
def test_kernel_images_are_counted_again(change: int) -> None:
    """6 -> 3 channels, kernel 4, stride 2, padding 2, side 8: rank 336 by the kernel images bound only."""
    system = LayerSystem(6, 3, (8, 8), (4, 4), (2, 2), (2, 2))
    _, upper = certificates(system)
    assert (upper["data"]["bound"], upper["data"]["images"]) == (336, 16)
    upper["data"]["images"] += change
    upper["data"]["bound"] += max(0, system.out_channels * change)
    assert valid(upper) == (change >= 0)
    upper["data"]["bound"] = 335
    assert not valid(upper)
    del upper["data"]["images"]
    upper["data"]["bound"] = 336
    assert not valid(upper), "the other numbers prove 354 only"


def test_kernel_images_of_a_gradient_matrix_that_falls_short_are_refused() -> None:
    """2 -> 2 channels, kernel 5, stride 3, side 10: rank K is 92, and counting says 100."""
    system = LayerSystem(2, 2, (10, 10), (5, 5), (3, 3))
    own = checkers_system(system)
    assert Witness(own, PRIME, 0).gradient_rank() == 92 < own.gradient_bound() == 100
    _, upper = certificates(system)
    small, large = own.image_bound(attained=True), own.image_bound(attained=False)
    assert valid({**upper, "data": {**upper["data"], "images": large}})
    if small < large:
        refused = {**upper, "data": {**upper["data"], "images": small}}
        assert not valid(refused)


@pytest.mark.parametrize("batch", [2, 3])
def test_certificates_of_batches_are_not_those_of_one_sample(batch: int) -> None:
    system = LayerSystem(3, 2, (6, 6), (3, 3), (2, 2), (1, 1), batch)
    lower, upper = certificates(system)
    assert lower["data"]["batch_size"] == batch and valid(lower) and valid(upper)
    for document in (lower, upper):
        for other in (1, batch - 1, batch + 1):
            changed = copy.deepcopy(document)
            changed["data"]["batch_size"] = other
            assert valid(changed) == (other == batch or (document is lower and other > batch))
        del document["data"]["batch_size"]
        assert not valid(document)
