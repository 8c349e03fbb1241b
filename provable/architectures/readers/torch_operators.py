"""What PyTorch's operators mean as layers and as steps on single entries."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

from provable.architectures import fields
from provable.architectures.activations import ELU, GELU, Erf, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from provable.architectures.fields import Pair, Shape
from provable.architectures.images import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from provable.architectures.layers import Flatten, Layer, Linear
from provable.architectures.readers.expressions import SOFTPLUS_THRESHOLD
from provable.architectures.readers.graph import MOST_STEPS, AddedBias, Graph, Padded, Scalar, Unchanged
from provable.architectures.readers.torch_graph import Array, Call, TorchGraph, Value
from provable.errors import InputError, UnsupportedError


def _image(graph: TorchGraph, call: Call) -> tuple[int, int, int]:
    shape = graph.entries(call)
    if len(shape) != 3:
        raise UnsupportedError(f"{call.where}: found samples of shape {shape}; (channels, height, width) is accepted")
    return shape[0], shape[1], shape[2]


def _pair(call: Call, name: str, default: Any, *, minimum: int = 1) -> Pair:
    found = call.arguments.get(name)
    found = default if found is None or found in ([], ()) else found
    if isinstance(found, list | tuple) and len(found) == 1:
        found = found[0]
    return fields.pair(found, f"{call.where}: {name}", minimum=minimum)


def _layer(call: Call, kind: Callable[..., Layer], *arguments: Any) -> Layer:
    try:
        return kind(*arguments)
    except InputError as error:
        raise InputError(f"{call.where}: {error}") from None


def _parameters(weight: Array, bias: Array | None) -> dict[str, Array]:
    return {"weight": weight} | ({} if bias is None else {"bias": bias})


def _parameter(graph: TorchGraph, call: Call, name: str) -> Array:
    array = graph.array(call, name)
    if array is None:
        raise UnsupportedError(f"{call.where}: {name}: found none; a parameter is accepted")
    return array


def _conv(graph: TorchGraph, call: Call) -> None:
    _image(graph, call)
    weight, bias = _parameter(graph, call, "weight"), graph.array(call, "bias")
    for name, accepted in (("groups", (1,)), ("dilation", ([1, 1], [1], 1)), ("transposed", (False,))):
        call.only(name, accepted)
    kernel, stride = fields.pair(weight.shape[2:], f"{call.where}: weight", minimum=1), _pair(call, "stride", 1)
    padding = call.arguments.get("padding")
    if padding == "same":
        if kernel[0] % 2 == 0 or kernel[1] % 2 == 0:
            raise UnsupportedError(
                f"{call.where}: padding: found 'same' with a kernel {kernel}; an odd kernel is accepted"
            )
        margins = (kernel[0] // 2, kernel[1] // 2)
    else:
        margins = (0, 0) if padding == "valid" else _pair(call, "padding", 0, minimum=0)
    layer = _layer(call, Conv2d, weight.shape[0], kernel, stride, margins, bias is not None)
    graph.emit_layer(call, layer, **_parameters(weight, bias))


def _linear(graph: TorchGraph, call: Call) -> None:
    weight, bias = _parameter(graph, call, "weight"), graph.array(call, "bias")
    graph.emit_layer(call, _layer(call, Linear, weight.shape[0], bias is not None), **_parameters(weight, bias))


def _product(factor: str, summand: str | None) -> Callable[[TorchGraph, Call], None]:
    """A product with a matrix of the module from the right, and the sum with a vector."""

    def read(graph: TorchGraph, call: Call) -> None:
        matrix = _parameter(graph, call, factor)
        bias = None if summand is None else _parameter(graph, call, summand)
        if len(matrix.shape) != 2:
            raise UnsupportedError(f"{call.where}: found a factor of shape {matrix.shape}; a matrix is accepted")
        for name in ("alpha", "beta"):
            call.only(name, (1,))
        axes = (1, 0) if matrix.axes is None else (matrix.axes[1], matrix.axes[0])
        weight = dataclasses.replace(matrix, shape=matrix.shape[::-1], axes=axes)
        source = "mat1" if summand is not None else "self"
        entered = dataclasses.replace(call, arguments={"input": call.arguments[source]})
        graph.emit_layer(entered, _layer(call, Linear, weight.shape[0], bias is not None), **_parameters(weight, bias))

    return read


def _batch_norm(graph: TorchGraph, call: Call) -> None:
    _image(graph, call)
    call.only("training", (False,))
    weight, bias = _parameter(graph, call, "weight"), _parameter(graph, call, "bias")
    for name in ("running_mean", "running_var"):
        _parameter(graph, call, name)
    layer = _layer(call, BatchNorm2d, call.arguments["eps"])
    graph.emit_layer(call, layer, weight=weight, bias=bias)


def _pool(kind: type[AvgPool2d] | type[MaxPool2d]) -> Callable[[TorchGraph, Call], None]:
    def read(graph: TorchGraph, call: Call) -> None:
        _, *extents = _image(graph, call)
        kernel = _pair(call, "kernel_size", None)
        stride, padding = _pair(call, "stride", kernel), _pair(call, "padding", 0, minimum=0)
        call.only("dilation", ([1, 1], [1], 1))
        rests = [
            (extent + 2 * margin - size) % step
            for extent, margin, size, step in zip(extents, padding, kernel, stride, strict=True)
        ]
        call.only("ceil_mode", (False, True) if rests == [0, 0] else (False,))
        call.only("count_include_pad", (True, False) if padding == (0, 0) else (True,))
        call.only("divisor_override", (None, kernel[0] * kernel[1]))
        if (kernel, stride, padding) == ((1, 1), (1, 1), (0, 0)):
            graph.emit(call, Unchanged(), graph.entries(call))
        else:
            graph.emit_layer(call, _layer(call, kind, kernel, stride, padding))

    return read


def _adaptive_pool(kind: type[AvgPool2d] | type[MaxPool2d]) -> Callable[[TorchGraph, Call], None]:
    def read(graph: TorchGraph, call: Call) -> None:
        _, height, width = _image(graph, call)
        rows, columns = _pair(call, "output_size", None)
        if height % rows or width % columns:
            raise UnsupportedError(
                f"{call.where}: output_size: found {(rows, columns)} for an input of {height} by {width}; "
                "divisors of the input's height and width are accepted"
            )
        if (rows, columns) == (height, width):
            graph.emit(call, Unchanged(), graph.entries(call))
        else:
            graph.emit_layer(call, _layer(call, kind, (height // rows, width // columns)))

    return read


def _mean(graph: TorchGraph, call: Call) -> None:
    channels, height, width = _image(graph, call)
    axes = call.arguments.get("dim") or []
    if sorted(axis % 4 for axis in axes) != [2, 3]:
        raise UnsupportedError(f"{call.where}: dim: found {fields.shown(axes)}; [2, 3], height and width, is accepted")
    pooled = f"{call.name} before its flatten"
    shape = (graph.batch, channels, 1, 1)
    name = call.name if call.arguments.get("keepdim") else pooled
    graph.emit_layer(dataclasses.replace(call, name=name, shape=shape), _layer(call, AvgPool2d, (height, width)))
    if name == pooled:
        graph.emit(dataclasses.replace(call, arguments={"input": Value(pooled)}), Flatten(), (channels,))


def _reshape(graph: TorchGraph, call: Call) -> None:
    array = graph.resolve(call.arguments.get("self", call.arguments.get("input")))
    if isinstance(array, Array):
        if array.axes is not None:
            raise UnsupportedError(f"{call.where}: found a reshape of a transposed parameter; a plain one is accepted")
        graph.arrays[call.name] = dataclasses.replace(array, shape=call.shape)
        return
    before = graph.entries(call)
    after = call.shape[1:]
    if call.shape == (graph.batch, *before):
        graph.emit(call, Unchanged(), before)
    elif call.shape[:1] == (graph.batch,) and after == Flatten().output_shape(before):
        graph.emit(call, Flatten(), after)
    else:
        raise UnsupportedError(
            f"{call.where}: found samples of shape {before} reshaped to {after}; flattening all axes is accepted"
        )


def _transpose(graph: TorchGraph, call: Call) -> None:
    array = graph.array(call, "self")
    if array is None:
        raise UnsupportedError(f"{call.where}: found no array; a parameter is accepted")
    rank = len(array.shape)
    order = list(range(rank))
    if "dims" in call.arguments:
        order = [axis % rank for axis in call.arguments["dims"]]
    elif "dim0" in call.arguments:
        first, second = call.arguments["dim0"] % rank, call.arguments["dim1"] % rank
        order[first], order[second] = order[second], order[first]
    else:
        order.reverse()
    graph.rearrange(call, array, tuple(order))


def _pad(graph: TorchGraph, call: Call) -> None:
    channels, height, width = _image(graph, call)
    call.only("mode", ("constant",))
    pads = list(call.arguments["pad"])  # from the last axis to the first
    pads += [0] * (8 - len(pads))
    left, right, top, bottom, *rest = pads
    if left != right or top != bottom or any(rest) or min(left, top) < 0:
        raise UnsupportedError(
            f"{call.where}: pad: found {fields.shown(call.arguments['pad'])}; "
            "the same on both sides of the height and of the width is accepted"
        )
    value = call.arguments.get("value")
    shape = (channels, height + 2 * top, width + 2 * left)
    graph.emit(call, Padded((top, left), 0.0 if value is None else float(value)), shape)


def _unchanged(graph: TorchGraph, call: Call) -> None:
    for name in ("train", "training"):
        call.only(name, (False,))
    array = graph.resolve(call.arguments.get("self", call.arguments.get("input")))
    if isinstance(array, Array):
        graph.arrays[call.name] = array
    else:
        graph.emit(call, Unchanged(), graph.entries(call))


def _first(graph: TorchGraph, call: Call) -> None:
    call.only("index", (0,))
    graph.emit(call, Unchanged(), graph.entries(call))


def _activation(make: Callable[[Call], Layer]) -> Callable[[TorchGraph, Call], None]:
    def read(graph: TorchGraph, call: Call) -> None:
        graph.emit_layer(call, make(call))

    return read


def _gelu(call: Call) -> Layer:
    call.only("approximate", ("none",))
    return GELU()


def _elu(call: Call) -> Layer:
    call.only("scale", (1,))
    call.only("input_scale", (1,))
    return _layer(call, ELU, call.arguments["alpha"])


def _softplus(call: Call) -> Layer:
    call.only("beta", (1,))
    threshold = call.arguments.get("threshold", SOFTPLUS_THRESHOLD)
    if not threshold >= SOFTPLUS_THRESHOLD:
        raise UnsupportedError(
            f"{call.where}: threshold: found {fields.shown(threshold)}; at least {SOFTPLUS_THRESHOLD} is accepted"
        )
    return Softplus()


def _scalar(operation: str, *names: str, extra: tuple[float, ...] = ()) -> Callable[[TorchGraph, Call], None]:
    def read(graph: TorchGraph, call: Call) -> None:
        call.only("alpha", (1,))
        call.only("rounding_mode", (None,))
        values = [graph.resolve(call.arguments[name]) for name in names]
        shapes = [graph.shapes[value.name] for value in values if isinstance(value, Value)]
        if not shapes or any(shape != shapes[0] for shape in shapes):
            raise UnsupportedError(f"{call.where}: found samples of shapes {shapes}; equal shapes are accepted")
        operands: list[str | float] = []
        for value in values:
            if isinstance(value, Value):
                operands.append(value.name)
            elif isinstance(value, Array) and operation == "add" and _is_bias(value, shapes[0]):
                graph.emit(call, AddedBias(), shapes[0], bias=dataclasses.replace(value, shape=(max(value.shape),)))
                return
            else:
                number = value.number if isinstance(value, Array) and not value.name else value
                if isinstance(number, bool) or not isinstance(number, int | float):
                    found = f"an array of shape {value.shape}" if isinstance(value, Array) else fields.shown(value)
                    raise UnsupportedError(
                        f"{call.where}: found {found} for samples of shape {shapes[0]}; a fixed number, "
                        "or the bias of the layer before, is accepted"
                    )
                operands.append(float(number))
        graph.emit(call, Scalar(operation, (*operands, *extra)), shapes[0])

    return read


def _is_bias(array: Array, shape: Shape) -> bool:
    wanted = (shape[0],) + (1,) * (len(shape) - 1)
    return bool(array.name) and array.shape in (wanted, (1, *wanted))


def _softmax(graph: TorchGraph, call: Call) -> None:
    raise UnsupportedError(
        f"{call.where}: found the softmax in the network; a network that ends with its logits is accepted: "
        "the loss cross_entropy contains the softmax"
    )


OPERATORS: dict[str, Callable[[TorchGraph, Call], None]] = {
    "conv2d": _conv,
    "convolution": _conv,
    "linear": _linear,
    "matmul": _product("other", None),
    "mm": _product("mat2", None),
    "addmm": _product("mat2", "self"),
    "t": _transpose,
    "numpy_T": _transpose,
    "transpose": _transpose,
    "permute": _transpose,
    "batch_norm": _batch_norm,
    "_native_batch_norm_legit_no_training": _batch_norm,
    "max_pool2d": _pool(MaxPool2d),
    "max_pool2d_with_indices": _pool(MaxPool2d),
    "avg_pool2d": _pool(AvgPool2d),
    "adaptive_avg_pool2d": _adaptive_pool(AvgPool2d),
    "_adaptive_avg_pool2d": _adaptive_pool(AvgPool2d),
    "adaptive_max_pool2d": _adaptive_pool(MaxPool2d),
    "mean": _mean,
    "flatten": _reshape,
    "view": _reshape,
    "_unsafe_view": _reshape,
    "reshape": _reshape,
    "squeeze": _reshape,
    "unsqueeze": _reshape,
    "pad": _pad,
    "constant_pad_nd": _pad,
    "getitem": _first,
    "relu": _activation(lambda call: ReLU()),
    "leaky_relu": _activation(lambda call: _layer(call, LeakyReLU, call.arguments["negative_slope"])),
    "tanh": _activation(lambda call: Tanh()),
    "sigmoid": _activation(lambda call: Sigmoid()),
    "softplus": _activation(_softplus),
    "erf": _activation(lambda call: Erf()),
    "gelu": _activation(_gelu),
    "silu": _activation(lambda call: SiLU()),
    "elu": _activation(_elu),
    "dropout": _unchanged,
    "feature_dropout": _unchanged,
    "alpha_dropout": _unchanged,
    "clone": _unchanged,
    "contiguous": _unchanged,
    "detach": _unchanged,
    "alias": _unchanged,
    "add": _scalar("add", "self", "other"),
    "sub": _scalar("subtract", "self", "other"),
    "rsub": _scalar("subtract", "other", "self"),
    "mul": _scalar("multiply", "self", "other"),
    "div": _scalar("divide", "self", "other"),
    "pow": _scalar("power", "self", "exponent"),
    "square": _scalar("power", "self", extra=(2.0,)),
    "neg": _scalar("negate", "self"),
    "exp": _scalar("exp", "self"),
    "log": _scalar("log", "self"),
    "reciprocal": _scalar("reciprocal", "self"),
    "softmax": _softmax,
    "_softmax": _softmax,
    "log_softmax": _softmax,
    "_log_softmax": _softmax,
}
"""The operators that are read, each with a function that appends its steps to the graph."""


def read_calls(
    calls: tuple[Call, ...], *, input_name: str, input_shape: Shape, output: str, batch: int
) -> tuple[Graph, dict[str, Array]]:
    """Read the calls of a module.

    Parameters
    ----------
    calls : tuple of Call
        Every call after those whose results it needs.
    input_name : str
        The name of the network's input.
    input_shape : tuple of int
        Shape of one sample.
    output : str
        The name of the network's output.
    batch : int
        The number of samples with which the shapes were found.

    Returns
    -------
    graph : Graph
        The steps that the output needs.
    arrays : dict of str to Array
        The parameters by their name in the module.

    Raises
    ------
    InputError
        If there are too many calls or the output does not depend on the input.
    UnsupportedError
        For an operator or argument that the description cannot express; the message names the module.
    """
    if len(calls) > MOST_STEPS:
        raise InputError(f"module: found {len(calls)} calls of operators; at most {MOST_STEPS} are accepted")
    needed = {output}
    kept = []
    for call in reversed(calls):
        if call.name in needed:
            kept.append(call)
            needed.update(value.name for value in call.arguments.values() if isinstance(value, Value))
    reader = TorchGraph(input_name, input_shape, batch)
    for call in reversed(kept):
        if call.operator not in OPERATORS:
            raise UnsupportedError(f"{call.where}: found an unknown operator; {', '.join(OPERATORS)} are accepted")
        OPERATORS[call.operator](reader, call)
    if output not in reader.shapes:
        raise InputError("module: found an output that does not depend on the input; a network of layers is accepted")
    return Graph(input_name, input_shape, output, tuple(reader.steps.values())), reader.parameters
