"""The JSON form of architectures: round trips, refusals by name, and fuzzing."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import LAYER_TYPES, Architecture, Conv2d, Linear, ReLU, Residual, load
from provable.architectures.description import layer_from_dict, layer_to_dict, strict_json
from provable.architectures.loading import LARGEST_DESCRIPTION
from provable.errors import InputError

finite = st.floats(allow_nan=False, allow_infinity=False)
ACTIVATIONS = st.one_of(
    st.sampled_from(["relu", "tanh", "sigmoid", "softplus", "erf", "gelu", "silu", "identity"]).map(
        lambda name: {"type": name}
    ),
    finite.map(lambda slope: {"type": "leaky_relu", "negative_slope": slope}),
    finite.map(lambda alpha: {"type": "elu", "alpha": alpha}),
    st.lists(finite, min_size=1, max_size=5).map(lambda numbers: {"type": "polynomial", "coefficients": numbers}),
)


@st.composite
def image_layers(draw: st.DrawFn, channels: int | None) -> dict[str, Any]:
    """Layers that keep the image's size, so that any chain of them fits, with some defaults left out."""
    half = draw(st.integers(0, 2))
    kernel = 2 * half + 1
    kind = draw(st.sampled_from(["conv2d", "avg_pool2d", "max_pool2d", "batch_norm2d", "activation"]))
    if kind == "activation":
        return draw(ACTIVATIONS)
    if kind == "batch_norm2d":
        return {"type": kind} | draw(st.sampled_from([{}, {"eps": 0.001}, {"eps": 1}]))
    shape = draw(st.sampled_from([kernel, [kernel, kernel]]))
    layer: dict[str, Any] = {"type": kind, "kernel_size": shape, "stride": 1, "padding": [half, half]}
    if kind == "conv2d":
        layer["out_channels"] = channels or draw(st.integers(1, 4))
        layer |= draw(st.sampled_from([{}, {"bias": False}, {"bias": True}]))
    return layer


@st.composite
def residuals(draw: st.DrawFn) -> dict[str, Any]:
    """Residual blocks; both branches end with the same number of channels."""
    last = {"type": "conv2d", "out_channels": 3, "kernel_size": 1}
    layer = {"type": "residual", "layers": [*draw(st.lists(image_layers(None), max_size=2)), last]}
    return layer | {"shortcut": [*draw(st.lists(image_layers(None), max_size=2)), last]}


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Valid documents of every layer type."""
    loss = draw(st.sampled_from(["squared", "logistic", "cross_entropy"]))
    outputs = {"squared": draw(st.integers(1, 4)), "logistic": 1, "cross_entropy": draw(st.integers(2, 4))}[loss]
    images = draw(st.lists(st.one_of(image_layers(None), residuals()), max_size=4))
    extents = draw(st.tuples(st.integers(1, 3), st.integers(1, 9), st.integers(1, 9)))
    return {
        "format": "provable-architecture/1",
        "name": draw(st.text(st.characters(categories=["L", "N", "P", "S"]), min_size=1, max_size=20)),
        "input_shape": list(extents),
        "layers": [*images, {"type": "flatten"}, draw(ACTIVATIONS), {"type": "linear", "out_features": outputs}],
        "loss": loss,
    }


def fails_in_one_line(text: str | bytes) -> bool:
    """Read; accept a result or a short InputError of one line, and nothing else."""
    try:
        Architecture.from_json(text)
    except InputError as error:
        message = str(error)
        assert message and len(message) < 1000 and message.isprintable(), message
        return True
    return False


@given(documents())
def test_documents_survive_the_round_trip(document: dict[str, Any]) -> None:
    architecture = Architecture.from_json(json.dumps(document))
    text = architecture.to_json()
    again = Architecture.from_json(text)
    assert again == architecture and again.to_json() == text and hash(again) == hash(architecture)
    assert text.isascii() and " " not in text.replace(json.dumps(architecture.name), "")
    assert architecture.sha256 == hashlib.sha256(text.encode()).hexdigest() == again.sha256
    assert Architecture.from_dict(architecture.to_dict()) == architecture
    assert list(architecture.to_dict()) == ["format", "name", "input_shape", "layers", "loss"]


def test_the_contract_example_is_read_and_written() -> None:
    text = (
        '{"format":"provable-architecture/1","name":"small","input_shape":[3,32,32],"layers":'
        '[{"type":"conv2d","out_channels":12,"kernel_size":4,"stride":2,"padding":2,"bias":false},'
        '{"type":"leaky_relu","negative_slope":0.2},{"type":"flatten"},'
        '{"type":"linear","out_features":1,"bias":false}],"loss":"logistic"}'
    )
    architecture = Architecture.from_json(text)
    assert architecture.layers[0] == Conv2d(12, 4, 2, 2, bias=False)
    assert architecture.to_json() == text


def test_every_layer_type_is_written_as_it_is_read() -> None:
    for name, kind in LAYER_TYPES.items():
        required: dict[str, dict[str, Any]] = {
            "linear": {"out_features": 2},
            "conv2d": {"out_channels": 2, "kernel_size": [1, 2]},
            "avg_pool2d": {"kernel_size": 2},
            "max_pool2d": {"kernel_size": [2, 3], "padding": [1, 0]},
            "residual": {"layers": [{"type": "relu"}]},
            "polynomial": {"coefficients": [0, 1, 2]},
        }
        layer = layer_from_dict({"type": name} | required.get(name, {}), "layer")
        assert type(layer) is kind
        assert layer_from_dict(layer_to_dict(layer), "layer") == layer


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda children: st.lists(children, max_size=4) | st.dictionaries(st.text(max_size=8), children, max_size=4),
    max_leaves=10,
)


@given(json_values)
def test_random_json_is_refused_cleanly(value: Any) -> None:
    assert fails_in_one_line(json.dumps(value))


@given(st.binary(max_size=60) | st.text(max_size=60).map(str.encode))
def test_random_bytes_are_refused_cleanly(content: bytes) -> None:
    assert fails_in_one_line(content)


def paths(value: Any, here: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Every place in a nested structure."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [here] + [place for key, part in inner for place in paths(part, (*here, key))]


@given(st.data())
def test_mutated_documents_are_read_or_refused_cleanly(data: st.DataObject) -> None:
    document = data.draw(documents())
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.sampled_from(paths(document)[1:]))
        parent = document
        for key in place[:-1]:
            parent = parent[key]
        action = data.draw(st.sampled_from(["replace", "delete", "rename", "huge", "negative"]))
        if action == "replace":
            parent[place[-1]] = data.draw(json_values)
        elif action == "delete":
            del parent[place[-1]]
        elif action == "rename" and isinstance(parent, dict):
            parent[data.draw(st.text(max_size=8))] = parent.pop(place[-1])
        else:
            parent[place[-1]] = 10 ** data.draw(st.integers(1, 400)) * (1 if action == "huge" else -1)
        if not document:
            break
    fails_in_one_line(json.dumps(document))


@given(documents(), st.data())
def test_truncated_and_damaged_text_is_refused_cleanly(document: dict[str, Any], data: st.DataObject) -> None:
    text = json.dumps(document)
    cut = data.draw(st.integers(0, len(text) - 1))
    assert fails_in_one_line(text[:cut])
    fails_in_one_line(text[:cut] + data.draw(st.text(max_size=3)) + text[cut + 1 :])


def document(**changes: Any) -> dict[str, Any]:
    """A small valid document with changes."""
    layers = [{"type": "linear", "out_features": 2}, {"type": "relu"}, {"type": "linear", "out_features": 1}]
    base = {"format": "provable-architecture/1", "name": "a", "input_shape": [3], "layers": layers, "loss": "squared"}
    return base | changes


def with_layer(**layer: Any) -> dict[str, Any]:
    """A document whose third layer is this one."""
    relu = {"type": "relu"}
    return document(input_shape=[3, 8, 8], layers=[relu, relu, layer, {"type": "flatten"}])


REFUSALS = [
    (document(format="provable-architecture/2"), "format: found 'provable-architecture/2'; provable-architecture/1 is"),
    (document(extra=1), "architecture: found the unknown key 'extra'; the keys accepted are format, name,"),
    ({"format": "provable-architecture/1"}, "architecture.name: found nothing; this key is required"),
    ([], "architecture: found []; an object is accepted"),
    (document(layers={}), "layers: found {}; a list of layers is accepted"),
    (document(layers=[3]), "layers[0]: found 3; an object with a type is accepted"),
    (document(layers=[{}]), "layers[0].type: found nothing; one of linear, conv2d,"),
    (document(layers=[{"type": "lstm"}]), "layers[0].type: found 'lstm'; one of linear, conv2d,"),
    (document(layers=[{"type": ["relu"]}]), "layers[0].type: found ['relu']; one of linear,"),
    (document(input_shape=3), "input_shape: found 3; a list of positive integers is accepted"),
    (document(input_shape=[True]), "input_shape[0]: found True; a positive integer is accepted"),
    (document(input_shape=[3.0]), "input_shape[0]: found 3.0; a positive integer is accepted"),
    (
        with_layer(type="conv2d", out_channels=2, kernel_size=-1),
        "layers[2].kernel_size: found -1; a positive integer or a pair of them is accepted",
    ),
    (with_layer(type="conv2d", out_channels=2), "layers[2].kernel_size: found nothing; this key is required"),
    (
        with_layer(type="conv2d", out_channels=2, kernel_size=3, dilation=2),
        "layers[2]: found the unknown key 'dilation'; the keys accepted are type, out_channels, kernel_size, stride,",
    ),
    (with_layer(type="relu", negative_slope=0.1), "layers[2]: found the unknown key 'negative_slope'"),
    (with_layer(type="linear", out_features=1), "layer 2 (linear): found an input of shape (3, 8, 8); a flat one"),
    (
        with_layer(type="residual", layers=[{"type": "relu"}, {"type": "leaky_relu", "negative_slope": "a"}]),
        "layers[2].layers[1].negative_slope: found 'a'; a finite number is accepted",
    ),
    (
        with_layer(type="residual", layers=[{"type": "relu"}], shortcut=[{"type": "elu", "alpha": True}]),
        "layers[2].shortcut[0].alpha: found True; a finite number is accepted",
    ),
    (with_layer(type="residual", layers=[]), "layers[2].layers: found 0 entries; 1 to 4096 layers are accepted"),
    (
        document(input_shape=[2**31], layers=[{"type": "linear", "out_features": 2**31}]),
        "layer 0 (linear): found a weight",
    ),
]


@pytest.mark.parametrize(("value", "message"), REFUSALS, ids=[message[:50] for _, message in REFUSALS])
def test_refusals_name_the_field_and_the_layer(value: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        Architecture.from_json(json.dumps(value))
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1, "b": 2, "a": 3}', "found the key 'a' twice in one object"),
        ('{"a": NaN}', "found the number NaN"),
        ("[-Infinity]", "found the number -Infinity"),
        ("[" * 200_000, "nested too deeply"),
        ('{"a":' * 200_000, "nested too deeply"),
        ("1" * 5000, "not JSON"),
        (b"\xff", "not JSON"),
        ("", "not JSON"),
        ("{} {}", "not JSON"),
    ],
    ids=["duplicate", "nan", "infinity", "brackets", "braces", "digits", "encoding", "empty", "trailing"],
)
def test_json_that_the_standard_library_would_let_pass_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(InputError, match=message):
        strict_json(text, where="file")


def test_overflowing_numbers_are_refused() -> None:
    text = json.dumps(document(layers=[{"type": "elu", "alpha": 7}])).replace("7", "1e999")
    with pytest.raises(InputError, match=r"layers\[0\].alpha: found inf; a finite number is accepted"):
        Architecture.from_json(text)


def test_deep_residuals_are_refused_by_name() -> None:
    layer: dict[str, Any] = {"type": "relu"}
    for _ in range(17):
        layer = {"type": "residual", "layers": [layer]}
    with pytest.raises(InputError, match="nested deeper than 16; fewer are accepted"):
        Architecture.from_json(json.dumps(document(layers=[layer])))


def test_load_reads_files_standard_input_and_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    architecture = Architecture("net", (3,), (Residual((Linear(3), ReLU())), Linear(1)), "squared")
    path = tmp_path / "net.json"
    path.write_text(architecture.to_json(), encoding="utf-8")
    assert load(path) == load(str(path)) == architecture
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(architecture.to_json().encode())))
    assert load("-") == architecture
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(InputError, match=r"net\.json: architecture\.format: found nothing"):
        load(path)
    with pytest.raises(InputError, match=r"missing\.json: cannot be read"):
        load(tmp_path / "missing.json")
    with pytest.raises(InputError, match="a file of unknown kind"):
        load(tmp_path / "net.txt")
    path.write_bytes(b" " * (LARGEST_DESCRIPTION + 1))
    with pytest.raises(InputError, match="is larger than"):
        load(path)
