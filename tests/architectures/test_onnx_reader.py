"""Files that exporters wrote become the descriptions one would write by hand, with the same values."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx.reference import ReferenceEvaluator

from provable.architectures import (
    ELU,
    GELU,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
    load,
)
from provable.architectures.readers import from_onnx, parameters_from_onnx
from provable.cli.application import run
from provable.errors import InputError
from provable.networks import Parameters, forward

MODELS = Path(__file__).parent / "models"


def residual_network(*, merged: bool) -> tuple[Layer, ...]:
    """The network of ``residual`` in export.py; a merged batch normalisation leaves a bias behind."""

    def normalised(channels: int, kernel: int, stride: int, padding: int, *, bias: bool = False) -> list[Layer]:
        conv = Conv2d(channels, kernel, stride, padding, bias=merged or bias)
        return [conv] if merged else [conv, BatchNorm2d()]

    def branch(channels: int, stride: int) -> tuple[Layer, ...]:
        return (*normalised(channels, 3, stride, 1), ReLU(), *normalised(channels, 3, 1, 1))

    return (
        *normalised(4, 3, 1, 1, bias=True),
        ReLU(),
        MaxPool2d(3, 2, 1),
        Residual(branch(4, 1)),
        ReLU(),
        Residual(branch(6, 2), tuple(normalised(6, 1, 2, 0))),
        ReLU(),
        AvgPool2d(4),
        Flatten(),
        Linear(5),
    )


SMOOTH = (Tanh(), Sigmoid(), LeakyReLU(0.2), GELU(), SiLU(), ELU(0.7), Softplus())
ACTIVATIONS = (Conv2d(2, (3, 2), (2, 1), (1, 0)), *SMOOTH, AvgPool2d(3, 2, 1), Flatten(), Linear(3, bias=False))
PERCEPTRON = (Linear(4), GELU(), Linear(1))
PIECES = (Conv2d(2, 3, 1, 1), GELU(), SiLU(), Polynomial((0.0, 0.25, 1.0)), Flatten(), Linear(3))

EXPECTED = {
    "residual-dynamo": ((3, 16, 16), residual_network(merged=True)),
    "residual-dynamo-external": ((3, 16, 16), residual_network(merged=True)),
    "residual-dynamo-unoptimized": ((3, 16, 16), residual_network(merged=False)),
    "residual-torchscript": ((3, 16, 16), residual_network(merged=True)),
    "residual-torchscript-unfused": ((3, 16, 16), residual_network(merged=False)),
    "activations-dynamo": ((1, 8, 7), ACTIVATIONS),
    "activations-torchscript": ((1, 8, 7), ACTIVATIONS),
    "activations-torchscript-9": ((1, 8, 7), ACTIVATIONS),
    "perceptron-dynamo": ((6,), PERCEPTRON),
    "perceptron-torchscript-12": ((6,), PERCEPTRON),
    "perceptron-skl2onnx": ((5,), (Linear(4), Tanh(), Linear(3), Tanh(), Linear(1))),
    "pieces-dynamo": ((1, 7, 7), PIECES),
    "pieces-torchscript-13": ((1, 7, 7), PIECES),
}
SELF_CONTAINED = [name for name in EXPECTED if not name.endswith("external")]
EVALUABLE = [name for name in SELF_CONTAINED if BatchNorm2d() not in EXPECTED[name][1]]


def test_every_file_is_tested() -> None:
    assert {path.stem for path in MODELS.glob("*.onnx")} == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_exported_files_are_described(name: str) -> None:
    shape, layers = EXPECTED[name]
    loss = "logistic" if layers[-1] == Linear(1) else "cross_entropy"
    assert load(MODELS / f"{name}.onnx", external_weights=name.endswith("external")) == Architecture(
        name, shape, layers, loss
    )


@pytest.mark.parametrize("name", EVALUABLE)
def test_parameters_are_read_in_their_places(name: str) -> None:
    """ONNX's own reference implementation, which knows nothing of layers, computes the same outputs."""
    path = MODELS / f"{name}.onnx"
    architecture, numbers = parameters_from_onnx(path)
    inputs = np.random.default_rng(0).standard_normal((2, *architecture.input_shape)).astype(np.float32)
    model = onnx.load(path)
    (expected,) = ReferenceEvaluator(model).run(None, {model.graph.input[0].name: inputs})
    found = forward(architecture, Parameters(architecture, numbers), inputs.astype(np.float64))
    # float32 rounding in the reference, some ten layers of moderate values; a wrong layer is off by 1e-2
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", SELF_CONTAINED)
def test_parameters_have_the_shapes_of_the_description(name: str) -> None:
    architecture, numbers = parameters_from_onnx(MODELS / f"{name}.onnx")
    assert {key: array.shape for key, array in numbers.items()} == architecture.parameter_shapes
    assert all(array.dtype == np.float64 for array in numbers.values())


def test_weights_in_another_file_are_described_if_allowed_but_never_looked_for(tmp_path: Path) -> None:
    path = tmp_path / "external.onnx"
    path.write_bytes((MODELS / "residual-dynamo-external.onnx").read_bytes())
    beside = {
        tensor.external_data[0].value
        for tensor in onnx.load(path, load_external_data=False).graph.initializer
        if tensor.data_location
    }
    assert beside == {"residual-dynamo-external.onnx.data"}
    whole = from_onnx(MODELS / "residual-dynamo.onnx")
    assert from_onnx(path, external_weights=True).parameter_count == whole.parameter_count
    for read in (from_onnx, parameters_from_onnx, load):
        with pytest.raises(InputError, match=r"external\.onnx: found '0\.weight' in another file \(external data\)"):
            read(path)
    assert load(path, external_weights=True) == from_onnx(path, external_weights=True)


def test_the_loss_is_an_argument() -> None:
    path = MODELS / "perceptron-dynamo.onnx"
    assert from_onnx(path).loss == "logistic"
    assert from_onnx(path, loss="squared").loss == "squared"
    with pytest.raises(InputError, match=r"perceptron-dynamo\.onnx: loss: found cross_entropy with one output"):
        from_onnx(path, loss="cross_entropy")


def test_the_command_line_audits_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["audit", str(MODELS / "perceptron-torchscript-12.onnx"), "--json"]) == 0
    out = json.loads(capsys.readouterr().out)
    assert out["architecture"]["layers"][1] == {"type": "gelu"} and out["verdict"] == "identifiable"


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot be read (No such file or directory)"),
        (b"", "found no graph"),
        (b"PK\x03\x04 not a model", "found bytes that are no ONNX model"),
        ((MODELS / "residual-dynamo.onnx").read_bytes()[:-100], "found bytes that are no ONNX model"),
    ],
    ids=["missing", "empty", "garbage", "truncated"],
)
def test_bad_files_end_in_one_line(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, content: bytes | None, words: str
) -> None:
    path = tmp_path / "bad.onnx"
    if content is not None:
        path.write_bytes(content)
    assert run(["audit", str(path)]) == 2
    captured = capsys.readouterr()
    assert captured.out == "" and captured.err.count("\n") == 1
    assert captured.err.startswith(f"provable: {path}: ") and words in captured.err


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    path = MODELS / "perceptron-dynamo.onnx"
    assert run(["audit", str(path)]) == 2
    assert capsys.readouterr().err == f"provable: {path}: needs the extra [onnx]: pip install 'provable[onnx]'\n"


def test_nothing_foreign_is_imported_before_it_is_needed() -> None:
    code = (
        "import sys, provable.architectures.readers, provable.cli.audit; from provable.architectures import load; "
        "load('cnn6'); print([name for name in ('onnx', 'google.protobuf', 'torch') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_files_are_limited_in_size() -> None:
    path = MODELS / "residual-dynamo.onnx"
    size = path.stat().st_size
    assert from_onnx(path, limit_bytes=size) == from_onnx(path)
    with pytest.raises(InputError, match=f"is larger than {size - 1} bytes"):
        from_onnx(path, limit_bytes=size - 1)
