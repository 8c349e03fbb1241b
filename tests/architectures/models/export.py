"""Write the ONNX files in this folder anew: python export.py (needs torch, onnx, onnxscript, scikit-learn and skl2onnx).

What exporters note about the machine they ran on (stack traces, source positions) is removed; nothing else is changed.
"""

from __future__ import annotations

import sys
import tempfile
import warnings
from pathlib import Path
from typing import Any

import onnx
import torch
from torch import nn
from torch.nn import functional

FOLDER = Path(__file__).parent


class Block(nn.Module):
    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(outputs)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(outputs)
        self.downsample: nn.Module = nn.Identity()
        if stride > 1 or inputs != outputs:
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(functional.relu(self.bn1(self.conv1(x)))))
        return functional.relu(y + self.downsample(x))


class Pieces(nn.Module):
    """Activations in pieces, a view that computes its shape, and a padding of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3)
        self.matrix = nn.Parameter(torch.randn(3, 98))
        self.constants = nn.Parameter(torch.randn(3))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        z = self.conv(functional.pad(x, (1, 1, 1, 1)))
        z = 0.5 * z * (1.0 + torch.erf(z / 2**0.5))
        z = functional.max_pool2d(z * torch.sigmoid(z), 1)
        z = z**2 + 0.25 * z
        return z.view(z.size(0), -1) @ self.matrix.t() + self.constants


def residual() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.MaxPool2d(3, 2, 1),
        Block(4, 4, 1),
        Block(4, 6, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(6, 5),
    )


def activations() -> nn.Module:
    smooth = [nn.Tanh(), nn.Sigmoid(), nn.LeakyReLU(0.2), nn.GELU(), nn.SiLU(), nn.ELU(0.7), nn.Softplus()]
    end = [nn.AvgPool2d(3, 2, 1), nn.Flatten(), nn.Linear(12, 3, bias=False)]
    return nn.Sequential(nn.Conv2d(1, 2, (3, 2), (2, 1), (1, 0)), *smooth, *end)


def perceptron() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 4), nn.GELU(), nn.Dropout(0.2), nn.Linear(4, 1))


def write(name: str, module: nn.Module, shape: tuple[int, ...], *, dynamo: bool, **options: Any) -> None:
    for part in module.modules():  # numbers as after some training, so that nothing is merged for being equal
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.bias, part.running_mean, part.running_var):
                tensor.data.uniform_(0.5, 1.5)
    x = torch.randn(2, *shape)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{name}.onnx"
        torch.onnx.export(module.eval(), (x,), path, dynamo=dynamo, input_names=["x"], **options)
        model = onnx.load(path, load_external_data=False)
    for message in [model, model.graph, *model.graph.node, *model.graph.value_info, *model.graph.initializer]:
        message.doc_string = ""
        del message.metadata_props[:]
    for value in [*model.graph.input, *model.graph.output]:
        del value.metadata_props[:]
    content = model.SerializeToString()
    (FOLDER / f"{name}.onnx").write_bytes(content)
    nodes = len(model.graph.node)
    sys.stdout.write(
        f"{name}.onnx: {len(content)} bytes, {nodes} nodes, {model.producer_name} {model.producer_version}\n"
    )


def write_scikit_learn() -> None:
    import numpy as np
    from skl2onnx import to_onnx
    from sklearn.neural_network import MLPRegressor

    data = np.random.default_rng(0).standard_normal((60, 5)).astype(np.float32)
    model = MLPRegressor(hidden_layer_sizes=(4, 3), activation="tanh", max_iter=20, random_state=0)
    content = to_onnx(model.fit(data, data[:, 0]), data[:1]).SerializeToString()
    (FOLDER / "perceptron-skl2onnx.onnx").write_bytes(content)
    sys.stdout.write(f"perceptron-skl2onnx.onnx: {len(content)} bytes\n")


def main() -> None:
    warnings.simplefilter("ignore")
    write_scikit_learn()
    torch.manual_seed(0)
    batch = {"dynamic_axes": {"x": {0: "batch"}}}
    symbolic = {"dynamic_shapes": ({0: torch.export.Dim("batch")},)}
    inside = {"external_data": False}
    unfused = {"training": torch.onnx.TrainingMode.PRESERVE, "do_constant_folding": False}
    image = (3, 16, 16)
    write("residual-dynamo", residual(), image, dynamo=True, **symbolic, **inside)
    write("residual-dynamo-external", residual(), image, dynamo=True, **symbolic)
    write("residual-dynamo-unoptimized", residual(), image, dynamo=True, optimize=False, **inside)
    write("residual-torchscript", residual(), image, dynamo=False, **batch)
    write("residual-torchscript-unfused", residual(), image, dynamo=False, **batch, **unfused)
    write("activations-dynamo", activations(), (1, 8, 7), dynamo=True, **inside)
    write("activations-torchscript", activations(), (1, 8, 7), dynamo=False, **batch)
    write("activations-torchscript-9", activations(), (1, 8, 7), dynamo=False, opset_version=9)
    write("perceptron-dynamo", perceptron(), (6,), dynamo=True, **symbolic, **inside)
    write("perceptron-torchscript-12", perceptron(), (6,), dynamo=False, opset_version=12)
    write("pieces-dynamo", Pieces(), (1, 7, 7), dynamo=True, **symbolic, **inside)
    write("pieces-torchscript-13", Pieces(), (1, 7, 7), dynamo=False, opset_version=13, **batch)


if __name__ == "__main__":
    main()
