"""Recoveries and their files: round trips, refusals by file and key, damage."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import InputError
from provable.observations.archive import read_archive, write_archive
from provable.recovery import STATUSES, Recovery


@st.composite
def recoveries(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count, outputs = draw(st.integers(0, 3)), draw(st.integers(0, 3))
    shape = draw(st.sampled_from([(1,), (4,), (1, 2, 3)]))
    status = draw(st.sampled_from(STATUSES))
    certificate = draw(st.sampled_from([None, '{"claim":"x"}']))
    labels = draw(st.sampled_from([None, rng.integers(10, size=count), rng.standard_normal((count, 2))]))
    return Recovery(
        points=rng.standard_normal((count, *shape)),
        coefficients=rng.standard_normal((count, outputs) if outputs else count),
        labels=labels,
        residual=draw(st.floats(0, 1e300)),
        method=draw(st.sampled_from(["", "fully-connected"])),
        fibre=tuple(draw(st.lists(st.sampled_from(["permutation", "null-space:3"]), max_size=2))),
        status=status,
        certificate='{"claim":"x"}' if status == "certified" else certificate,
        reason="x" if status == "failed" else draw(st.sampled_from(["", "because"])),
    )


@given(recoveries())
def test_round_trip(recovery):
    content = recovery.to_bytes()
    found = Recovery.from_bytes(content, "file")
    assert found.to_bytes() == content
    assert found.to_json() == recovery.to_json()
    for name in ("points", "coefficients", "labels"):
        left, right = getattr(found, name), getattr(recovery, name)
        assert (left is None) == (right is None)
        if left is not None:
            assert left.dtype == right.dtype
            np.testing.assert_array_equal(left, right)
    assert found.measure == recovery.measure


@given(recoveries())
def test_numpy_reads_the_file_without_pickles(recovery):
    with np.load(io.BytesIO(recovery.to_bytes()), allow_pickle=False) as members:
        assert members["format"] == "provable-recovery/1"
        assert members["fibre"].tolist() == list(recovery.fibre)
        assert float(members["residual"]) == recovery.residual
        np.testing.assert_array_equal(members["points"], recovery.points)


@given(recoveries())
def test_json_has_everything_but_the_arrays(recovery):
    document = json.loads(recovery.to_json())
    assert document["format"] == "provable-recovery/1"
    assert document["status"] == recovery.status
    assert document["residual"] == recovery.residual
    assert document["atoms"] == len(recovery.points)
    assert document["fibre"] == list(recovery.fibre)
    assert document["reason"] == (recovery.reason or None)
    assert document["certificate"] == (None if recovery.certificate is None else json.loads(recovery.certificate))
    assert not {"points", "coefficients", "labels"} & set(document)


def example(**changes):
    fields = {
        "points": np.ones((2, 3)),
        "coefficients": np.ones((2, 1)),
        "labels": np.array([1, 2]),
        "residual": 1e-16,
        "method": "m",
        "fibre": ("permutation",),
        "status": "consistent",
    }
    return Recovery(**(fields | changes))


OBJECT_REFUSALS = {
    "points without an axis of entries": ({"points": np.ones(2)}, r"points: have shape \(2,\)"),
    "points of integers": ({"points": np.ones((2, 3), dtype=int)}, "points: are of type int64"),
    "points of nan": ({"points": np.full((2, 3), np.nan)}, "points: hold a number that is not finite"),
    "coefficients too few": ({"coefficients": np.ones(1)}, r"coefficients: have shape \(1,\); \(2,\) and \(2, C\)"),
    "coefficients of three axes": ({"coefficients": np.ones((2, 1, 1))}, "coefficients: have shape"),
    "labels too few": ({"labels": np.ones(1)}, "labels: are an array of float64"),
    "labels of text": ({"labels": np.array(["a", "b"])}, "labels: are an array of <U1"),
    "residual negative": ({"residual": -1.0}, "residual: found -1.0"),
    "residual infinite": ({"residual": np.inf}, "residual: found inf"),
    "status unknown": ({"status": "verified"}, "status: found 'verified'; certified, consistent, partial, failed"),
    "certified without certificate": ({"status": "certified"}, "certificate: is missing"),
    "certificate no JSON": ({"certificate": "{"}, "certificate: is no JSON text"),
    "certificate a list": ({"certificate": "[]"}, "certificate: is a JSON list"),
    "certificate of NaN": ({"certificate": '{"a": NaN}'}, "certificate: is no JSON text"),
    "certificate nested deeply": ({"certificate": "[" * 100000}, "certificate: is no JSON text"),
    "failed without reason": ({"status": "failed"}, "reason: is missing"),
}


@pytest.mark.parametrize("name", OBJECT_REFUSALS)
def test_refused_in_memory(name):
    changes, message = OBJECT_REFUSALS[name]
    with pytest.raises(InputError, match=f"^{message}"):
        example(**changes)


MEMBERS = read_archive(example(reason="why", certificate="{}").to_bytes(), "file")

FILE_REFUSALS = {
    **{
        f"{key} missing": ({key: None}, f"{key}: is missing")
        for key in ("format", "points", "coefficients", "residual")
    },
    **{f"{key} missing": ({key: None}, f"{key}: is missing") for key in ("method", "fibre", "status")},
    "another format": ({"format": "provable-observation/1"}, "format: found 'provable-observation/1'"),
    "unknown key": ({"error": 0.0}, "error: is an unknown key"),
    "points of text": ({"points": "x"}, "points: found 'x'; an array of numbers"),
    "points of texts": ({"points": np.array(["x", "y"])}, "points: found"),
    "points of integers": ({"points": np.ones((2, 3), dtype=int)}, "points: are of type int64"),
    "method of numbers": ({"method": 1.0}, "method: found an array of float64; one text"),
    "status unknown": ({"status": "proved"}, "status: found 'proved'"),
    "residual of two": ({"residual": np.zeros(2)}, "residual: is no single number"),
    "residual of integers": ({"residual": 0}, "residual: is no single number"),
    "fibre of numbers": ({"fibre": np.zeros(2)}, "fibre: found an array of float64; a list of texts"),
    "fibre one text": ({"fibre": "permutation"}, "fibre: found 'permutation'; a list"),
    "labels of texts": ({"labels": np.array(["a", "b"])}, "labels: found"),
    "certificate no JSON": ({"certificate": "x"}, "certificate: is no JSON text"),
}


@pytest.mark.parametrize("name", FILE_REFUSALS)
def test_refused_by_file_and_key(name):
    changes, message = FILE_REFUSALS[name]
    members = {key: value for key, value in (MEMBERS | changes).items() if value is not None}
    with pytest.raises(InputError, match=rf"^bad\.npz: {message}") as caught:
        Recovery.from_bytes(write_archive(members), "bad.npz")
    assert "\n" not in str(caught.value)


@given(st.data())
def test_damaged_files_give_one_line_or_a_recovery(data):
    content = bytearray(example(reason="why", certificate="{}").to_bytes())
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    length = data.draw(st.one_of(st.just(len(content)), st.integers(0, len(content))))
    try:
        Recovery.from_bytes(bytes(content[:length]), "f", limit_bytes=2**20)
    except InputError as error:
        assert str(error).startswith("f: ")
        assert "\n" not in str(error)


def test_write_and_read(tmp_path):
    example().write(tmp_path / "r.npz")
    assert [path.name for path in tmp_path.iterdir()] == ["r.npz"]
    assert Recovery.read(tmp_path / "r.npz").to_bytes() == example().to_bytes()
    with pytest.raises(InputError, match=r"r\.npz: is larger than 10 bytes"):
        Recovery.read(tmp_path / "r.npz", limit_bytes=10)


def test_arrays_are_copied_and_read_only():
    points = np.ones((2, 3))
    recovery = example(points=points)
    points[:] = 7
    assert np.all(recovery.points == 1)
    assert not any(array.flags.writeable for array in (recovery.points, recovery.coefficients, recovery.labels))
