"""Drawn descriptions, written as ONNX in the forms that exporters use, are read back; damaged files never crash."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Erf,
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
)
from provable.architectures.layers import chain_shapes
from provable.architectures.readers import from_onnx, parameters_from_onnx
from provable.architectures.readers.onnx_operators import OPERATORS
from provable.errors import ProvableError
from provable.networks import Parameters, forward

FOLDED = ("Expand", "Gather", "Concat", "Slice", "Unsqueeze", "Transpose", "ConstantOfShape")
MODELS = Path(__file__).parent / "models"
dyadic = st.integers(-15, 15).map(lambda number: number / 8)  # survive float32 attributes
NAMED: dict[type[Layer], str] = {
    ReLU: "Relu",
    Tanh: "Tanh",
    Sigmoid: "Sigmoid",
    Softplus: "Softplus",
    Erf: "Erf",
}
ACTIVATIONS = st.one_of(
    st.sampled_from([ReLU(), Tanh(), Sigmoid(), Softplus(), Erf(), GELU(), SiLU()]),
    dyadic.map(LeakyReLU),
    dyadic.map(ELU),
)
# two polynomials in a row are one, so there is at most one, right after an affine layer
POLYNOMIALS = st.lists(dyadic, min_size=1, max_size=3).map(lambda head: Polynomial((*head, 0.5, 1.25)))


@dataclass
class Writer:
    """Writes ONNX graphs; `rng` chooses among equivalent forms and draws the weights."""

    rng: np.random.Generator
    nodes: list[onnx.NodeProto] = field(default_factory=list)
    arrays: list[onnx.TensorProto] = field(default_factory=list)

    def node(self, operator: str, *inputs: str, **attributes) -> str:
        name = f"v{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, inputs, [name], name=f"n{len(self.nodes)}", **attributes))
        return name

    def array(self, numbers) -> str:
        name = f"array{len(self.arrays) + len(self.nodes)}"
        tensor = numpy_helper.from_array(np.asarray(numbers), name)
        if self.rng.integers(4) == 0:
            return self.node("Constant", value=tensor)
        self.arrays.append(tensor)
        return name

    def weights(self, shape: tuple[int, ...]):
        return self.rng.standard_normal(shape) / math.sqrt(math.prod(shape[1:]))

    def chain(self, layers: tuple[Layer, ...], shape: tuple[int, ...], value: str) -> str:
        for layer, before in zip(layers, chain_shapes(layers, shape), strict=False):
            if self.rng.integers(5) == 0:
                value = self.node(self.rng.choice(["Identity", "Dropout"]), value)
            value = self.layer(layer, before, value)
        return value

    def layer(self, layer: Layer, shape: tuple[int, ...], x: str) -> str:
        form = self.rng.integers(3)
        if isinstance(layer, Residual):
            straight, around = self.chain(layer.layers, shape, x), self.chain(layer.shortcut, shape, x)
            return (
                self.node("Add", around, straight)
                if not layer.shortcut and form
                else self.node("Add", straight, around)
            )
        if isinstance(layer, Conv2d):
            return self.convolution(layer, shape, x, form)
        if isinstance(layer, Linear):
            return self.linear(layer, shape, x, form)
        if isinstance(layer, Flatten):
            return self.flatten(shape, x, form)
        if isinstance(layer, BatchNorm2d):
            given = [self.array(self.rng.uniform(0.5, 1.5, shape[0])) for _ in range(4)]
            return self.node("BatchNormalization", x, *given, epsilon=layer.eps)
        if isinstance(layer, AvgPool2d | MaxPool2d):
            operator = "AveragePool" if isinstance(layer, AvgPool2d) else "MaxPool"
            if layer == type(layer)(shape[1:]) and form == 0:
                return self.node(f"Global{operator}", x)
            counted = {"count_include_pad": 1} if operator == "AveragePool" else {}
            pads = [*layer.padding, *layer.padding]
            return self.node(operator, x, kernel_shape=layer.kernel_size, strides=layer.stride, pads=pads, **counted)
        return self.activation(layer, x, form)

    def convolution(self, layer: Conv2d, shape: tuple[int, ...], x: str, form: int) -> str:
        weight = self.array(self.weights((layer.out_channels, shape[0], *layer.kernel_size)))
        vector = self.rng.standard_normal(layer.out_channels)
        pads = [*layer.padding, *layer.padding]
        if form == 2 and any(pads):
            full = np.array([0, 0, *layer.padding] * 2, dtype=np.int64)
            x, pads = self.node("Pad", x, self.array(full)), [0, 0, 0, 0]
        given = [x, weight]
        if layer.bias and form == 0:
            given.append(self.array(vector))
        y = self.node("Conv", *given, pads=pads, strides=layer.stride)
        return self.node("Add", y, self.array(vector.reshape(-1, 1, 1))) if layer.bias and form else y

    def linear(self, layer: Linear, shape: tuple[int, ...], x: str, form: int) -> str:
        weight, bias = self.weights((layer.out_features, shape[0])), self.rng.standard_normal(layer.out_features)
        if form == 0:
            y = self.node("MatMul", x, self.array(weight.T))
            return self.node("Add", *self.rng.permutation([y, self.array(bias)])) if layer.bias else y
        given = [self.array(bias)] if layer.bias else []
        if form == 1:
            return self.node("Gemm", x, self.array(weight), *given, transB=1)
        return self.node("Gemm", x, self.node("Transpose", self.array(weight), perm=[1, 0]), *given)

    def flatten(self, shape: tuple[int, ...], x: str, form: int) -> str:
        if form == 0:
            return self.node("Flatten", x, axis=1)
        if form == 1:
            target = [[0, -1], [-1, math.prod(shape)]][self.rng.integers(2)]
            return self.node("Reshape", x, self.array(np.array(target, dtype=np.int64)))
        sizes = self.node("Shape", x)
        batch = self.node("Gather", sizes, self.array(np.array(0, dtype=np.int64)), axis=0)
        batch = self.node("Unsqueeze", batch, self.array(np.array([0], dtype=np.int64)))
        target = self.node("Concat", batch, self.array(np.array([-1], dtype=np.int64)), axis=0)
        return self.node("Reshape", x, target)

    def activation(self, layer: Layer, x: str, form: int) -> str:
        number = lambda value: self.array(np.array(value, dtype=np.float64))  # noqa: E731
        if isinstance(layer, LeakyReLU):
            return self.node("LeakyRelu", x, alpha=layer.negative_slope)
        if isinstance(layer, ELU):
            return self.node("Elu", x, alpha=layer.alpha)
        if isinstance(layer, SiLU):
            return self.node("Mul", *self.rng.permutation([x, self.node("Sigmoid", x)]))
        if isinstance(layer, GELU):
            if form == 0:
                return self.node("Gelu", x)
            inner = self.node("Erf", self.node("Div", x, number(2**0.5)))
            half = self.node("Mul", number(0.5), x)
            if form == 1:
                return self.node("Mul", half, self.node("Add", inner, number(1.0)))
            return self.node("Mul", self.node("Mul", x, self.node("Add", number(1.0), inner)), number(0.5))
        if isinstance(layer, Polynomial):  # Horner's rule
            *rest, value = layer.coefficients
            y = self.node("Mul", x, number(value))
            for index, coefficient in enumerate(reversed(rest)):
                y = self.node("Add", y, number(coefficient))
                y = self.node("Mul", x, y) if index < len(rest) - 1 else y
            return y
        return self.node(NAMED[type(layer)], x)

    def model(self, architecture: Architecture, batch: int | str) -> onnx.ModelProto:
        output = self.chain(architecture.layers, architecture.input_shape, "x")
        value = helper.make_tensor_value_info
        given = value("x", TensorProto.DOUBLE, [batch, *architecture.input_shape])
        result = value(output, TensorProto.DOUBLE, [batch, architecture.output_size])
        graph = helper.make_graph(self.nodes, "drawn", [given], [result], self.arrays)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


@st.composite
def image_layers(draw: st.DrawFn, shape: tuple[int, ...], *, padded_pools: bool = True) -> Layer:
    """One layer that fits an image."""
    extents = shape[1:]
    kernel = tuple(draw(st.integers(1, min(3, extent))) for extent in extents)
    stride = tuple(draw(st.integers(1, size)) for size in kernel)
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    kind = draw(st.sampled_from([Conv2d, Conv2d, AvgPool2d, MaxPool2d, BatchNorm2d, Activation]))
    if kind is Activation:
        return draw(ACTIVATIONS)
    if kind is BatchNorm2d:
        return BatchNorm2d(draw(st.sampled_from([1e-5, 1e-3, 0.25])))
    if kind is Conv2d or kernel == (1, 1):  # a pooling of single entries is none
        return Conv2d(draw(st.integers(1, 3)), kernel, stride, padding, draw(st.booleans()))
    return kind(kernel, stride, padding if padded_pools else 0)


@st.composite
def residuals(draw: st.DrawFn, channels: int, nesting: int = 0) -> Layer:
    """A block that keeps the image's size; its branches do something that no activation does."""
    layers: list[Layer] = [Conv2d(channels, 3, 1, 1, draw(st.booleans())), draw(ACTIVATIONS), BatchNorm2d(0.5)]
    if nesting < 2 and draw(st.booleans()):
        layers.insert(draw(st.integers(0, 3)), draw(residuals(channels, nesting + 1)))
    shortcut = [Conv2d(channels, 1, bias=False), BatchNorm2d(0.25)][: draw(st.integers(0, 2))]
    return Residual(tuple(layers), tuple(shortcut))


def without_normalisation(layers: Sequence[Layer]) -> tuple[Layer, ...]:
    """The same chain without batch normalisations."""
    return tuple(
        Residual(without_normalisation(layer.layers), without_normalisation(layer.shortcut))
        if isinstance(layer, Residual)
        else layer
        for layer in layers
        if not isinstance(layer, BatchNorm2d)
    )


@st.composite
def architectures(draw: st.DrawFn, *, evaluable: bool = False) -> Architecture:
    """Networks on images or on vectors, with every layer but the identity or with those that both sides evaluate.

    Descriptions have no statistics for a batch normalisation, and the reference fails on padded windows of a pooling.
    """
    layers: list[Layer] = []
    shape: tuple[int, ...] = (draw(st.integers(1, 6)),)
    if draw(st.booleans()):
        shape = tuple(draw(st.integers(1, most)) for most in (3, 7, 7))
        start = shape
        for _ in range(draw(st.integers(0, 4))):
            now = chain_shapes(tuple(layers), start)[-1]
            layers.append(draw(st.one_of(image_layers(now, padded_pools=not evaluable), residuals(now[0]))))
            if isinstance(layers[-1], Conv2d) and draw(st.booleans()):
                layers.append(draw(POLYNOMIALS))
        layers.append(Flatten())
    for _ in range(draw(st.integers(0, 2))):
        layers += [Linear(draw(st.integers(1, 5)), draw(st.booleans())), draw(st.one_of(ACTIVATIONS, POLYNOMIALS))]
    outputs = draw(st.integers(1, 4))
    layers.append(Linear(outputs, draw(st.booleans())))
    chain = without_normalisation(layers) if evaluable else tuple(layers)
    return Architecture("drawn", shape, chain, "logistic" if outputs == 1 else "cross_entropy")


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("onnx") / "drawn.onnx"


@given(architectures(), st.integers(0, 2**32), st.sampled_from(["batch", 1, 3]))
def test_written_descriptions_are_read_back(
    file: Path, architecture: Architecture, seed: int, batch: int | str
) -> None:
    model = Writer(np.random.default_rng(seed)).model(architecture, batch)
    onnx.checker.check_model(model)
    file.write_bytes(model.SerializeToString())
    assert from_onnx(file) == architecture


@given(architectures(evaluable=True), st.integers(0, 2**32))
def test_what_is_read_computes_the_same(file: Path, architecture: Architecture, seed: int) -> None:
    """Values by ONNX's own reference implementation, which knows nothing of layers."""
    rng = np.random.default_rng(seed)
    model = Writer(rng).model(architecture, "batch")
    file.write_bytes(model.SerializeToString())
    found, numbers = parameters_from_onnx(file)
    inputs = rng.standard_normal((2, *architecture.input_shape))
    with np.errstate(all="ignore"):
        (expected,) = ReferenceEvaluator(model).run(None, {"x": inputs})
    values = forward(found, Parameters(found, numbers), inputs)
    # float64 on both sides; polynomials of degree four in a row amplify rounding, a wrong layer is off by percents
    np.testing.assert_allclose(values, expected, rtol=1e-6, atol=1e-6 * (1 + np.abs(expected).max()))


@given(st.data())
def test_damaged_files_are_refused_in_one_sentence_or_read(file: Path, data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(path.name for path in MODELS.glob("*.onnx"))))
    content = bytearray((MODELS / name).read_bytes())
    for _ in range(data.draw(st.integers(1, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(content), data.draw(st.integers(0, len(content)))]))
    file.write_bytes(bytes(content[:cut]))
    refused_in_one_sentence_or_read(file)


def alter(graph: onnx.GraphProto, rng: random.Random) -> None:
    """Change one thing of a graph into something that fits its message, but seldom its meaning."""
    whole = rng.choice([0, 1, -1, 2, 7, 2**31, 2**40, 2**62, -(2**63)])
    real = rng.choice([0.0, 1.0, -1.0, math.nan, math.inf, 0.5])
    names = [
        "",
        "x",
        "none",
        *(name for node in graph.node for name in node.output),
        *(a.name for a in graph.initializer),
    ]
    node, tensor = rng.choice(graph.node), rng.choice(graph.initializer)
    position = rng.randrange(4)
    match rng.randrange(10):
        case 0:
            node.op_type = rng.choice([*OPERATORS, *FOLDED, "Constant", "If"])
        case 1:
            node.input[position : position + rng.randrange(2)] = [rng.choice(names)]
        case 2:
            del node.input[position : position + 1]
        case 3:
            node.output[0] = rng.choice(names)
        case 4 | 5:
            name = rng.choice(
                [a.name for a in node.attribute] or ["axis", "axes", "to", "perm", "start", "end", "value_ints"]
            )
            kept = [attribute for attribute in node.attribute if attribute.name != name]
            value = rng.choice([whole, [whole] * rng.randrange(1, 5), real, [real], "text", ["text"]])
            del node.attribute[:]
            node.attribute.extend([*kept, helper.make_attribute(name, value)])
        case 6:
            tensor.dims[position : position + 1] = [whole]
        case 7:
            tensor.data_type = rng.randrange(30)
        case 8:
            arrays = [
                np.array(whole),
                np.array([whole, -1]),
                np.array(real),
                np.zeros((0, 3)),
                np.array(1j),
                np.array([True]),
            ]
            tensor.CopyFrom(numpy_helper.from_array(rng.choice(arrays), tensor.name))
        case _:
            graph.input[0].type.tensor_type.shape.dim[position % 2].dim_value = whole


@given(st.integers(0, 2**32))
def test_altered_models_are_refused_in_one_sentence_or_read(file: Path, seed: int) -> None:
    rng = random.Random(seed)
    model = onnx.load(rng.choice(sorted(MODELS.glob("*.onnx"))), load_external_data=False)
    for _ in range(rng.randrange(1, 4)):
        alter(model.graph, rng)
    file.write_bytes(model.SerializeToString())
    refused_in_one_sentence_or_read(file)


def refused_in_one_sentence_or_read(file: Path) -> None:
    """Read a file; accept a description or an error of the package, and nothing else."""
    for read in (from_onnx, parameters_from_onnx):
        try:
            read(file)
        except ProvableError as error:
            message = str(error)
            assert message.startswith(str(file)) and message.isprintable() and len(message) < 1500
