"""What the operators of ONNX mean as layers and as steps on single entries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from provable.architectures import fields
from provable.architectures.activations import ELU, GELU, Erf, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from provable.architectures.fields import Pair, Shape
from provable.architectures.images import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from provable.architectures.layers import Flatten, Layer, Linear
from provable.architectures.readers.graph import AddedBias, Padded, Scalar, Unchanged
from provable.architectures.readers.onnx_graph import Entries, OnnxGraph
from provable.architectures.readers.onnx_node import Node, decimal
from provable.architectures.readers.onnx_values import BatchSize, Constant
from provable.errors import InputError, UnsupportedError


def _image(graph: OnnxGraph, node: Node) -> tuple[int, int, int]:
    shape = graph.entries(node)
    if len(shape) != 3:
        raise UnsupportedError(
            f"{node.where}: found an input with samples of shape {shape}; (channels, height, width) is accepted"
        )
    return shape[0], shape[1], shape[2]


def _pair(node: Node, name: str, default: list[int] | None, *, minimum: int = 1) -> Pair:
    found = node.integers(name) or default
    return fields.pair(found, f"{node.where}: {name}", minimum=minimum)


def _padding(node: Node, extents: Pair, kernel: Pair, stride: Pair) -> Pair:
    """Read ``pads`` and ``auto_pad``; both sides of an axis must get the same."""
    mode = node.only("auto_pad", "NOTSET", ("NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"))
    pads = node.integers("pads") or [0, 0, 0, 0]
    if mode == "VALID":
        pads = [0, 0, 0, 0]
    elif mode != "NOTSET":  # the output is to have ⌈extent / stride⌉ entries
        pairs = zip(extents, kernel, stride, strict=True)
        totals = [max(0, ((extent - 1) // step) * step + size - extent) for extent, size, step in pairs]
        small, large = [total // 2 for total in totals], [total - total // 2 for total in totals]
        pads = small + large if mode == "SAME_UPPER" else large + small
    return _symmetric(node, pads)


def _symmetric(node: Node, pads: Any) -> Pair:
    if len(pads) != 4 or pads[:2] != pads[2:]:
        raise UnsupportedError(
            f"{node.where}: pads: found {fields.shown(pads)}; "
            "[vertical, horizontal, vertical, horizontal] with the same on both sides is accepted"
        )
    return fields.pair(pads[:2], f"{node.where}: pads", minimum=0)


def _layer(node: Node, kind: Callable[..., Layer], *arguments: Any, **named: Any) -> Layer:
    try:
        return kind(*arguments, **named)
    except InputError as error:
        raise InputError(f"{node.where}: {error}") from None


def _conv(graph: OnnxGraph, node: Node) -> None:
    _, *extents = _image(graph, node)
    weight, bias = graph.required(node, 1), _bias(graph, node)
    if len(weight.shape) != 4:
        raise UnsupportedError(
            f"{node.where}: found a weight of shape {weight.shape}; (filters, channels, height, width) is accepted"
        )
    node.only("group", 1, (1,))
    node.only("dilations", [1, 1], ([1, 1],))
    kernel = _pair(node, "kernel_shape", list(weight.shape[2:]))
    stride = _pair(node, "strides", [1, 1])
    padding = _padding(node, (extents[0], extents[1]), kernel, stride)
    layer = _layer(node, Conv2d, weight.shape[0], kernel, stride, padding, bias is not None)
    graph.emit_layer(node, layer, **_parameters(weight, bias))


def _bias(graph: OnnxGraph, node: Node) -> Constant | None:
    bias = graph.constant(node, 2)
    return None if bias is None or bias.vanishes else bias


def _parameters(weight: Constant, bias: Constant | None) -> dict[str, Constant]:
    return {"weight": weight} | ({} if bias is None else {"bias": bias})


def _transposed(matrix: Constant) -> Constant:
    shape = (matrix.shape[1], matrix.shape[0])
    if matrix.array is not None:
        return Constant(matrix.name, shape, array=matrix.array.T)
    axes = (1, 0) if matrix.axes is None else matrix.axes[::-1]
    return Constant(matrix.name, shape, tensor=matrix.tensor, axes=axes)


def _matrix(graph: OnnxGraph, node: Node) -> Constant:
    graph.entries(node)
    matrix = graph.required(node, 1)
    if len(matrix.shape) != 2:
        raise UnsupportedError(f"{node.where}: found a factor of shape {matrix.shape}; a matrix is accepted")
    return matrix


def _matmul(graph: OnnxGraph, node: Node) -> None:
    weight = _transposed(_matrix(graph, node))
    graph.emit_layer(node, _layer(node, Linear, weight.shape[0], bias=False), weight=weight)


def _gemm(graph: OnnxGraph, node: Node) -> None:
    matrix = _matrix(graph, node)
    node.only("alpha", 1.0, (1.0,))
    node.only("transA", 0, (0,))
    weight = matrix if node.only("transB", 0, (0, 1)) else _transposed(matrix)
    bias = _bias(graph, node)
    node.only("beta", 1.0, (1.0,) if bias is not None else (node.attributes.get("beta", 1.0),))
    if bias is not None and bias.shape == (1, weight.shape[0]):
        bias = _flat(bias)
    graph.emit_layer(node, _layer(node, Linear, weight.shape[0], bias=bias is not None), **_parameters(weight, bias))


def _batch_normalization(graph: OnnxGraph, node: Node) -> None:
    channels = _image(graph, node)[0]
    eps = decimal(node.take("epsilon", 1e-5))
    node.take("momentum")
    node.only("training_mode", 0, (0,))
    node.only("spatial", 1, (1,))
    weight, bias, mean, variance = (graph.required(node, index) for index in range(1, 5))
    for constant in (mean, variance):
        if constant.shape != (channels,):
            raise InputError(f"{node.where}: found statistics of shape {constant.shape}; ({channels},) is accepted")
    graph.emit_layer(node, _layer(node, BatchNorm2d, eps), weight=weight, bias=bias)


def _pool(kind: type[AvgPool2d] | type[MaxPool2d]) -> Callable[[OnnxGraph, Node], None]:
    def read(graph: OnnxGraph, node: Node) -> None:
        _, *extents = _image(graph, node)
        kernel = _pair(node, "kernel_shape", None)
        stride = _pair(node, "strides", [1, 1])
        padding = _padding(node, (extents[0], extents[1]), kernel, stride)
        node.only("dilations", [1, 1], ([1, 1],))
        node.take("storage_order")
        rests = [
            (extent + 2 * margin - size) % step
            for extent, margin, size, step in zip(extents, padding, kernel, stride, strict=True)
        ]
        node.only("ceil_mode", 0, (0, 1) if rests == [0, 0] else (0,))
        if kind is AvgPool2d:
            node.only("count_include_pad", 0, (0, 1) if padding == (0, 0) else (1,))
        if (kernel, stride, padding) == (
            (1, 1),
            (1, 1),
            (0, 0),
        ):  # what is left of an adaptive pooling to the same size
            graph.emit(node, Unchanged(), graph.entries(node))
        else:
            graph.emit_layer(node, _layer(node, kind, kernel, stride, padding))

    return read


def _global_pool(kind: type[AvgPool2d] | type[MaxPool2d]) -> Callable[[OnnxGraph, Node], None]:
    def read(graph: OnnxGraph, node: Node) -> None:
        _, *extents = _image(graph, node)
        graph.emit_layer(node, _layer(node, kind, tuple(extents)))

    return read


def _integers(graph: OnnxGraph, node: Node, name: str, index: int) -> list[int | BatchSize] | None:
    """Read a list of integers that is an attribute in old and an input in new versions of an operator."""
    found = node.integers(name)
    constant = graph.constant(node, index)
    if constant is None:
        return None if found is None else list(found)
    array = constant.small(node.where).reshape(-1)
    if array.dtype.kind not in "iuO":  # arrays of extents are arrays of objects
        raise InputError(f"{node.where}: {name}: found numbers of type {array.dtype}; integers are accepted")
    return [entry if isinstance(entry, BatchSize) else int(entry) for entry in array]


def _reduce_mean(graph: OnnxGraph, node: Node) -> None:
    channels, *extents = _image(graph, node)
    axes = _integers(graph, node, "axes", 1) or []
    node.take("noop_with_empty_axes")
    if sorted(axis % 4 for axis in axes if isinstance(axis, int)) != [2, 3]:
        raise UnsupportedError(f"{node.where}: axes: found {fields.shown(axes)}; [2, 3], height and width, is accepted")
    layer = _layer(node, AvgPool2d, tuple(extents))
    if node.only("keepdims", 1, (0, 1)):
        graph.emit_layer(node, layer)
        return
    name = node.outputs[0]
    pooled = Node(node.where, node.operator, node.inputs, (f"{name} before its flatten",))
    graph.emit_layer(pooled, layer)
    graph.emit(Node(node.where, node.operator, pooled.outputs, (name,)), Flatten(), (channels,))


def _reshaped(graph: OnnxGraph, node: Node, target: Shape) -> None:
    before = graph.entries(node)
    if target == before:
        graph.emit(node, Unchanged(), target)
    elif target == Flatten().output_shape(before):
        graph.emit(node, Flatten(), target)
    else:
        raise UnsupportedError(
            f"{node.where}: found samples of shape {before} reshaped to {target}; flattening all axes is accepted"
        )


def _flatten(graph: OnnxGraph, node: Node) -> None:
    before = graph.entries(node)
    node.only("axis", 1, (1, -len(before)))
    _reshaped(graph, node, Flatten().output_shape(before))


def _reshape(graph: OnnxGraph, node: Node) -> None:
    before = graph.entries(node)
    keep_zero = node.only("allowzero", 0, (0, 1))
    target = _integers(graph, node, "shape", 1) or []
    shown = fields.shown(target)
    size = Flatten().output_shape(before)[0]
    if target and target[0] == 0 and not keep_zero:
        target[0] = BatchSize()
    rest: list[int] = []
    for axis, extent in enumerate(target[1:]):
        if extent == 0 and not keep_zero and axis < len(before):
            extent = before[axis]
        rest.append(extent if isinstance(extent, int) else 0)
    batch = target[0] if target else 0
    known = 1
    for extent in rest:
        known *= extent if extent != -1 else 1
    if rest.count(-1) == 1 and known > 0 and size % known == 0 and batch != -1:
        rest[rest.index(-1)] = size // known
        known = size
    # -1 is the batch size if the other extents take all entries of a sample
    same_batch = isinstance(batch, BatchSize) or batch == -1 or (graph.batch is not None and batch == graph.batch)
    if not same_batch or known != size or min(rest, default=0) < 1:
        raise UnsupportedError(
            f"{node.where}: shape: found {shown} for samples of shape {before}; flattening all axes but the batch is accepted"
        )
    _reshaped(graph, node, tuple(rest))


def _squeeze(graph: OnnxGraph, node: Node) -> None:
    before = graph.entries(node)
    axes = _integers(graph, node, "axes", 1)
    rank = len(before) + 1
    chosen = {axis % rank for axis in axes if isinstance(axis, int)} if axes else set()
    if not chosen or 0 in chosen or any(before[axis - 1] != 1 for axis in chosen):
        raise UnsupportedError(
            f"{node.where}: axes: found {fields.shown(axes)}; axes of extent one, the batch axis not among them, are accepted"
        )
    _reshaped(graph, node, tuple(extent for axis, extent in enumerate(before, start=1) if axis not in chosen))


def _pad(graph: OnnxGraph, node: Node) -> None:
    channels, height, width = _image(graph, node)
    node.only("mode", "constant", ("constant",))
    pads = _integers(graph, node, "pads", 1) or []
    axes = _integers(graph, node, "axes", 3)
    value = node.take("value", 0.0)
    constant = graph.constant(node, 2)
    if constant is not None:
        value = graph.number(constant, node)
    if axes is not None and len(pads) == 2 * len(axes):
        full: list[Any] = [0] * 8
        for index, axis in enumerate(axes):
            if isinstance(axis, int):
                full[axis % 4], full[axis % 4 + 4] = pads[index], pads[index + len(axes)]
        pads = full
    if len(pads) != 8 or any(pads[axis] != 0 for axis in (0, 1, 4, 5)):
        raise UnsupportedError(
            f"{node.where}: pads: found {fields.shown(pads)}; a padding of height and width is accepted"
        )
    vertical, horizontal = _symmetric(node, [*pads[2:4], *pads[6:8]])
    shape = (channels, height + 2 * vertical, width + 2 * horizontal)
    graph.emit(node, Padded((vertical, horizontal), value), fields.bounded(shape, "a padded input"))


def _cast(graph: OnnxGraph, node: Node) -> None:
    node.only("to", 0, (1, 10, 11, 16))  # floating-point numbers
    node.take("saturate")
    graph.emit(node, Unchanged(), graph.entries(node))


def _cast_like(graph: OnnxGraph, node: Node) -> None:
    if isinstance(graph.value(node, 0), Entries):
        raise UnsupportedError(f"{node.where}: found a change of the element type; a constant as input 0 is accepted")
    node.take("saturate")
    graph.compute(node)


def _unchanged(graph: OnnxGraph, node: Node) -> None:
    for name in ("ratio", "seed"):
        node.take(name)
    training = graph.constant(node, 2)
    if training is not None and training.small(node.where).any():
        raise UnsupportedError(
            f"{node.where}: training_mode: found true; evaluation mode is accepted: export after eval()"
        )
    graph.emit(node, Unchanged(), graph.entries(node))


def _activation(make: Callable[[Node], Layer]) -> Callable[[OnnxGraph, Node], None]:
    def read(graph: OnnxGraph, node: Node) -> None:
        graph.emit_layer(node, _layer(node, make, node))

    return read


def _gelu(node: Node) -> Layer:
    node.only("approximate", "none", ("none",))
    return GELU()


def _swish(node: Node) -> Layer:
    node.only("alpha", 1.0, (1.0,))
    return SiLU()


def _clip(graph: OnnxGraph, node: Node) -> None:
    bounds = []
    for index, name in enumerate(("min", "max"), start=1):
        constant = graph.constant(node, index)
        found = node.take(name)
        bounds.append(found if constant is None else graph.number(constant, node))
    if bounds[0] != 0.0 or (bounds[1] is not None and bounds[1] < 3e38):
        raise UnsupportedError(f"{node.where}: found the bounds {fields.shown(bounds)}; [0, none], a ReLU, is accepted")
    graph.emit_layer(node, ReLU())


def _scalar(operation: str, operands: int) -> Callable[[OnnxGraph, Node], None]:
    def read(graph: OnnxGraph, node: Node) -> None:
        if len(node.inputs) != operands or "" in node.inputs:
            raise UnsupportedError(
                f"{node.where}: found the inputs {fields.shown(node.inputs)}; {operands} are accepted"
            )
        shapes = [value.shape for value in map(graph.values.__getitem__, node.inputs) if isinstance(value, Entries)]
        if any(shape != shapes[0] for shape in shapes):
            raise UnsupportedError(f"{node.where}: found samples of shapes {shapes}; equal shapes are accepted")
        given: list[str | float] = []
        for index, name in enumerate(node.inputs):
            constant = graph.values[name]
            if isinstance(constant, Entries):
                given.append(name)
            elif operation == "add" and _is_bias(graph, node, constant, node.inputs[1 - index], shapes[0]):
                graph.emit(node, AddedBias(), shapes[0], bias=_flat(constant))
                return
            elif constant.shape.count(1) != len(constant.shape) or len(constant.shape) > len(shapes[0]) + 1:
                raise UnsupportedError(
                    f"{node.where}: found a constant of shape {constant.shape} for samples of shape {shapes[0]}; "
                    "a single number, or the bias of the layer before, is accepted"
                )
            else:
                given.append(graph.number(constant, node))
        graph.emit(node, Scalar(operation, tuple(given)), shapes[0])

    return read


def _is_bias(graph: OnnxGraph, node: Node, constant: Constant, other: str, shape: Shape) -> bool:
    """Tell whether there is one constant per channel or feature; a single one only counts after a layer that lacks it."""
    wanted = (shape[0],) + (1,) * (len(shape) - 1)
    step = graph.steps.get(other)
    lacking = step is not None and isinstance(step.action, Linear | Conv2d) and not step.action.bias
    return constant.shape in (wanted, (1, *wanted)) and (shape[0] > 1 or lacking)


def _flat(constant: Constant) -> Constant:
    """Drop the axes of extent one around the axis of a bias."""
    return dataclasses.replace(constant, shape=(max(constant.shape),))


def _softmax(graph: OnnxGraph, node: Node) -> None:
    raise UnsupportedError(
        f"{node.where}: found the softmax in the network; a network that ends with its logits is accepted: "
        "the loss cross_entropy contains the softmax"
    )


def _shape(graph: OnnxGraph, node: Node) -> None:
    graph.define_sizes(node)


OPERATORS: dict[str, Callable[[OnnxGraph, Node], None]] = {
    "Conv": _conv,
    "Gemm": _gemm,
    "MatMul": _matmul,
    "BatchNormalization": _batch_normalization,
    "MaxPool": _pool(MaxPool2d),
    "AveragePool": _pool(AvgPool2d),
    "GlobalMaxPool": _global_pool(MaxPool2d),
    "GlobalAveragePool": _global_pool(AvgPool2d),
    "ReduceMean": _reduce_mean,
    "Flatten": _flatten,
    "Reshape": _reshape,
    "Squeeze": _squeeze,
    "Shape": _shape,
    "Pad": _pad,
    "Relu": _activation(lambda node: ReLU()),
    "LeakyRelu": _activation(lambda node: LeakyReLU(decimal(node.take("alpha", 0.01)))),
    "Tanh": _activation(lambda node: Tanh()),
    "Sigmoid": _activation(lambda node: Sigmoid()),
    "Softplus": _activation(lambda node: Softplus()),
    "Erf": _activation(lambda node: Erf()),
    "Gelu": _activation(_gelu),
    "Swish": _activation(_swish),
    "Elu": _activation(lambda node: ELU(decimal(node.take("alpha", 1.0)))),
    "Clip": _clip,
    "Identity": _unchanged,
    "Dropout": _unchanged,
    "Cast": _cast,
    "CastLike": _cast_like,
    "Add": _scalar("add", 2),
    "Sum": _scalar("add", 2),
    "Sub": _scalar("subtract", 2),
    "Mul": _scalar("multiply", 2),
    "Div": _scalar("divide", 2),
    "Pow": _scalar("power", 2),
    "Neg": _scalar("negate", 1),
    "Exp": _scalar("exp", 1),
    "Log": _scalar("log", 1),
    "Reciprocal": _scalar("reciprocal", 1),
    "Greater": _scalar("greater", 2),
    "Where": _scalar("where", 3),
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
}
"""The operators that are read, each with a function that appends its steps to the graph."""
