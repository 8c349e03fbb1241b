"""The checker's own readers of archives, architectures and certificates, against NumPy and the package's readers."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import provable.checker
from provable.architectures import Architecture
from provable.architectures.layers import LAYER_TYPES, Activation
from provable.architectures.zoo import zoo
from provable.checker import check
from provable.checker.archive import Archive
from provable.checker.description import ACTIVATIONS, layer_at, layers_of, shape_after
from provable.checker.verdict import Invalid

SEEDS = st.integers(0, 2**32 - 1)


def saved(compressed: bool = False, **arrays: Any) -> bytes:
    stream = io.BytesIO()
    (np.savez_compressed if compressed else np.savez)(stream, **arrays)
    return stream.getvalue()


@given(SEEDS, st.lists(st.integers(0, 4), max_size=4), st.booleans(), st.booleans())
def test_arrays_are_read_as_numpy_reads_them(seed: int, shape: list[int], column_major: bool, compressed: bool) -> None:
    array = np.random.default_rng(seed).standard_normal(shape)
    array = np.asfortranarray(array) if column_major else array
    read = Archive(saved(compressed, **{"vector/0/weight": array})).numbers("vector/0/weight")
    assert read.shape == array.shape
    assert read.entries == array.ravel().tolist()


@given(
    hnp.arrays(
        np.float32,
        hnp.array_shapes(max_dims=3, max_side=4),
        elements=st.floats(width=32, allow_nan=False, allow_infinity=False),
    )
)
def test_single_precision_is_read_exactly(array: np.ndarray) -> None:
    read = Archive(saved(**{"vector/0/weight": array})).numbers("vector/0/weight")
    assert read.shape == array.shape
    assert read.entries == array.astype(np.float64).ravel().tolist()


@given(st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1, max_size=30))
def test_texts_are_read_as_numpy_reads_them(text: str) -> None:
    archive = Archive(saved(format=text))
    assert archive.text("format") == text
    assert archive.names == ["format"]


@pytest.mark.parametrize(
    "array",
    [
        np.array([1, 2]),
        np.array([1.0], dtype=">f8"),
        np.array([1.0], dtype=np.float16),
        np.array([1.0], dtype=">f4"),
        np.array([np.inf], dtype=np.float32),
        np.array([True]),
        np.array("text"),
        np.array([np.nan]),
        np.array([-np.inf]),
        np.array([None], dtype=object),
        np.zeros(2, dtype=[("a", "<f8")]),
    ],
)
def test_other_arrays_are_refused(array: np.ndarray) -> None:
    with pytest.raises(Invalid):
        Archive(saved(x=array)).numbers("x")


def test_other_texts_are_refused() -> None:
    for array in (np.array(["a"]), np.array(b"a"), np.array(1.0)):
        with pytest.raises(Invalid):
            Archive(saved(x=array)).text("x")
    with pytest.raises(Invalid):
        Archive(saved(x=np.array("a"))).text("y")


def zipped(entries: list[tuple[str, bytes]], method: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as archive:
        for name, content in entries:
            archive.writestr(name, content)
    return stream.getvalue()


def npy(header: str) -> bytes:
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_malformed_archives_are_refused() -> None:
    good = npy("{'descr': '<f8', 'fortran_order': False, 'shape': (), }") + np.array(1.0).tobytes()
    assert Archive(zipped([("x.npy", good)])).numbers("x").entries == [1.0]
    bad_headers = [
        "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }",
        "{'descr': '<f8', 'fortran_order': 0, 'shape': (), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '<f8', 'fortran_order': False, 'shape': [1], }",
        "{'descr': '<f8', 'fortran_order': False}",
        "__import__('os').getcwd()",
        "(" * 9000,
        "[",
        "1",
    ]
    contents = [npy(header) + np.array(1.0).tobytes() for header in bad_headers]
    contents += [b"", b"\x93NUMPY", good[:-1], good + b"\0", b"\x92" + good[1:], good[:6] + b"\x09" + good[7:]]
    for content in contents:
        with pytest.raises(Invalid):
            Archive(zipped([("x.npy", content)])).numbers("x")
    for entries in ([("x", good)], [("x.npy", good), ("x.npy", good)]):
        with pytest.raises(Invalid):
            Archive(zipped(entries))
    with pytest.raises(Invalid):
        Archive(zipped([("x.npy", good)], zipfile.ZIP_BZIP2)).numbers("x")


def test_declared_sizes_are_limited() -> None:
    bomb = bytearray(zipped([("x.npy", b"0" * 100)]))
    place = bomb.rindex(b"PK\x01\x02") + 24
    bomb[place : place + 4] = (2**32 - 2).to_bytes(4, "little")
    with pytest.raises(Invalid, match="declares"):
        Archive(bytes(bomb))
    with pytest.raises(Invalid, match="members"):
        Archive(b"PK\x01\x02" * 10_001)


@given(st.binary(max_size=200))
def test_noise_is_no_archive(content: bytes) -> None:
    with pytest.raises(Invalid):
        Archive(content)


def test_activations_are_those_of_the_format() -> None:
    assert {name for name, kind in LAYER_TYPES.items() if issubclass(kind, Activation)} == ACTIVATIONS


@pytest.mark.parametrize("name", sorted(zoo()))
def test_shapes_of_the_zoo_are_propagated_alike(name: str) -> None:
    architecture: Architecture = zoo()[name]
    layers, shape = layers_of(architecture.to_json())
    assert shape == architecture.input_shape
    for index in range(len(layers) + 1):
        assert shape_after(layers[:index], shape) == architecture.shapes[index]
    for path, parameter in architecture.parameter_shapes.items():
        if path.endswith("/weight"):
            layer, entering = layer_at(layers, shape, path.removesuffix("/weight"))
            if layer["type"] in ("linear", "conv2d"):
                assert parameter[:2] == (layer.get("out_features", layer.get("out_channels")), entering[0])


def test_descriptions_with_unknown_keys_are_refused() -> None:
    description = json.loads(zoo()["cnn6"].to_json())
    layers_of(json.dumps(description))
    for place in (description, description["layers"][0], description["layers"][1], description["layers"][-1]):
        place["surprise"] = 1
        with pytest.raises(Invalid):
            layers_of(json.dumps(description))
        del place["surprise"]
    for missing in list(description):
        with pytest.raises(Invalid):
            layers_of(json.dumps({key: value for key, value in description.items() if key != missing}))


@pytest.mark.parametrize("path", ["", "x", "99", "-1", "0.0", "0.shortcut.0", "1/weight", "٣", "0." * 500])
def test_paths_that_lead_nowhere_are_refused(path: str) -> None:
    layers, shape = layers_of(zoo()["cnn6"].to_json())
    with pytest.raises(Invalid):
        layer_at(layers, shape, path)


@pytest.mark.parametrize(
    "certificate", ["", "{}", b"\xff", "[1]", "null", {}, {"claim": []}, "[" * 10**5, {1: 2}, None, 7]
)
def test_the_checker_never_raises(certificate: Any) -> None:
    result = check(certificate)
    assert not result.valid
    assert result.claim == ""
    assert "\n" not in result.reason
    assert json.loads(result.to_json()) == {"valid": False, "claim": "", "reason": result.reason}


@given(st.text(max_size=80) | st.binary(max_size=80))
def test_the_checker_never_raises_on_noise(certificate: str | bytes) -> None:
    assert not check(certificate).valid


def test_the_checker_shares_no_code() -> None:
    """Imports: the standard library, flint, and its own modules; one documented exception, by name and on demand."""
    import ast

    folder = Path(provable.checker.__file__).parent
    files = sorted(folder.glob("*.py"))
    assert len(files) > 10
    for file in files:
        for node in ast.walk(ast.parse(file.read_text())):
            names = []
            if isinstance(node, ast.Import):
                names = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0
                names = [node.module or ""]
            for name in names:
                root = name.split(".")[0]
                own = name == "provable.checker" or name.startswith("provable.checker.")
                assert own or root == "flint" or root in sys.stdlib_module_names, (file.name, name)
    dynamic = [file.name for file in files if "import_module" in file.read_text()]
    assert dynamic == ["counterexample.py"]


def test_importing_the_checker_is_light() -> None:
    program = (
        "import sys, provable.checker; "
        "print(sorted(m for m in sys.modules if m in "
        "('sympy', 'cvxpy', 'matplotlib', 'sklearn', 'hypothesis', 'scipy.optimize')))"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
