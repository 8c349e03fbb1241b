"""Modules of PyTorch become descriptions, with the same values; skipped where PyTorch is not installed."""

from __future__ import annotations

import importlib.util
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from provable.architectures import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, ReLU, Residual
from provable.architectures.readers import from_onnx, from_torch, parameters_from_torch
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters, forward

torch = pytest.importorskip("torch", reason="the extra [torch] is not installed")
nn = torch.nn

MODELS = Path(__file__).parent / "models"


def exported() -> Any:
    """The networks of the ONNX files."""
    pytest.importorskip("onnx")
    specification = importlib.util.spec_from_file_location("export", MODELS / "export.py")
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("network", "shape", "file"),
    [
        ("residual", (3, 16, 16), "residual-torchscript-unfused"),
        ("activations", (1, 8, 7), "activations-torchscript"),
        ("perceptron", (6,), "perceptron-dynamo"),
        ("Pieces", (1, 7, 7), "pieces-torchscript-13"),
    ],
)
def test_a_module_and_its_export_have_one_description(network: str, shape: tuple[int, ...], file: str) -> None:
    module = getattr(exported(), network)().train()
    found, described = from_torch(module, shape, name=file), from_onnx(MODELS / f"{file}.onnx")
    assert found == described
    assert module.training and found.parameter_count == sum(p.numel() for p in module.parameters())
    if not any(isinstance(layer, BatchNorm2d) for layer in found.layers):
        architecture, numbers = parameters_from_torch(module, shape)
        inputs = torch.randn(3, *shape, generator=torch.Generator().manual_seed(0))
        values = forward(architecture, Parameters(architecture, numbers), inputs.double().numpy())
        expected = module.eval()(inputs).detach().numpy()
        # float32 rounding in the module, a handful of layers of moderate values; a wrong layer is off by 1e-2
        np.testing.assert_allclose(values, expected, rtol=1e-4, atol=1e-4)


class InPlace(nn.Module):
    """A block as in PyTorch's ResNets: sums and activations overwrite their operands."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(2, 2, 3, padding=1)
        self.second = nn.Conv2d(2, 2, 3, padding=1, bias=False)
        self.end = nn.Linear(2 * 36, 1)
        self.relu = nn.ReLU(inplace=True)

    def forward(self, x):
        y = self.second(self.relu(self.first(x)))
        y += x
        return self.end(torch.flatten(self.relu(y), 1))


def test_values_that_are_overwritten() -> None:
    block = Residual((Conv2d(2, 3, 1, 1), ReLU(), Conv2d(2, 3, 1, 1, bias=False)))
    found = from_torch(InPlace(), (2, 6, 6))
    assert found.layers == (block, ReLU(), Flatten(), Linear(1))
    assert (found.name, found.loss) == ("InPlace", "logistic")


def test_large_networks_are_described_without_their_numbers() -> None:
    def vgg11() -> Any:
        layers: list[Any] = []
        channels = 3
        for wanted in (64, 0, 128, 0, 256, 256, 0, 512, 512, 0, 512, 512, 0):
            layers += [nn.Conv2d(channels, wanted, 3, padding=1), nn.ReLU(True)] if wanted else [nn.MaxPool2d(2)]
            channels = wanted or channels
        dense = [nn.Linear(512 * 49, 4096), nn.ReLU(True), nn.Dropout(), nn.Linear(4096, 4096), nn.ReLU(True)]
        end = [nn.AdaptiveAvgPool2d(7), nn.Flatten(), *dense, nn.Dropout(), nn.Linear(4096, 1000)]
        return nn.Sequential(*layers, *end)

    with torch.device("meta"):
        module = vgg11()
    found = from_torch(module, (3, 224, 224))
    assert found.parameter_count == 132_863_336 and found.layers[-1] == Linear(1000)
    assert [type(layer) for layer in found.layers].count(MaxPool2d) == 5
    with pytest.raises(InputError, match=r"found the parameter '0\.weight' without numbers \(meta device\)"):
        parameters_from_torch(module, (3, 224, 224))


def test_shared_modules_and_tied_parameters() -> None:
    shared = nn.Linear(4, 4)
    with pytest.raises(UnsupportedError, match=r"module '2' \(linear\): found the parameter '0.weight'"):
        from_torch(nn.Sequential(shared, nn.ReLU(), shared), (4,))
    tied = nn.Sequential(nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 4))
    tied[2].weight = tied[0].weight
    with pytest.raises(UnsupportedError, match=r"module '2' \(linear\): found the parameter '0.weight'"):
        from_torch(tied, (4,))


@pytest.mark.parametrize(
    ("module", "shape", "words"),
    [
        (nn.Sequential(nn.Linear(4, 4), nn.LayerNorm(4)), (4,), "module '1' (layer_norm): found an unknown operator"),
        (
            nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
            (4,),
            "module '1' (batch_norm): found samples of shape (4,)",
        ),
        (
            nn.Linear(3, 4),
            (4,),
            "module Linear: found something that torch.export cannot trace for samples of shape (4,)",
        ),
        (nn.LSTM(3, 4), (4,), "module LSTM: found something that torch.export cannot trace"),
        (nn.Conv2d(1, 1, 3, dilation=2), (1, 9, 9), "the module itself (conv2d): dilation: found [2, 2]"),
        (nn.MaxPool2d(2, return_indices=True), (1, 4, 4), "module: found 2 outputs; exactly one tensor is accepted"),
    ],
)
def test_refusals_name_the_submodule(module: Any, shape: tuple[int, ...], words: str) -> None:
    before = logging.root.manager.disable
    with pytest.raises(UnsupportedError) as caught:
        from_torch(module, shape)
    message = str(caught.value)
    assert words in message and message.isprintable() and len(message) < 1500
    assert logging.root.manager.disable == before and module.training


def test_wrong_arguments() -> None:
    with pytest.raises(InputError, match=r"module: found 'net'; a torch\.nn\.Module is accepted"):
        from_torch("net", (3,))
    for shape in ((), (3, 3), (0,), (1, 2, 3, 4), 3, (2**31, 2**31, 2**31)):
        with pytest.raises(InputError, match="found"):
            from_torch(nn.Flatten(), shape)
