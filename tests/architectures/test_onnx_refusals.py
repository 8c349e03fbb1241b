"""What ONNX can say and a description cannot is refused with the node, what was found and what is accepted."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from provable.architectures import (
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    SiLU,
)
from provable.architectures.readers import from_onnx, parameters_from_onnx
from provable.architectures.readers.onnx_file import LARGEST_STRUCTURE, MOST_FIELDS
from provable.errors import InputError, UnsupportedError

IMAGE = ["batch", 2, 6, 6]


def node(operator: str, inputs: str, output: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(operator, inputs.split(","), [output], name=f"the {operator}", **attributes)


def array(name: str, *shape: int, fill: float = 0.5) -> onnx.TensorProto:
    return numpy_helper.from_array(np.full(shape, fill, dtype=np.float32), name)


def integers(name: str, *values: int) -> onnx.TensorProto:
    return numpy_helper.from_array(np.array(values, dtype=np.int64), name)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    def write(
        nodes: list[onnx.NodeProto],
        arrays: list[onnx.TensorProto] | None = None,
        *,
        shape: list[Any] | None = None,
        output: str = "y",
        change: Callable[[onnx.ModelProto], None] = lambda model: None,
        **options: Any,
    ) -> Path:
        given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape or IMAGE)
        result = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
        graph = helper.make_graph(nodes, "graph", [given], [result], arrays or [])
        model = helper.make_model(graph, **({"opset_imports": [helper.make_opsetid("", 20)]} | options))
        change(model)
        path = tmp_path / "model.onnx"
        path.write_bytes(model.SerializeToString())
        return path

    return write


def refused(path: Path, words: str, kind: type[Exception] = UnsupportedError) -> None:
    with pytest.raises(kind) as caught:
        from_onnx(path)
    message = str(caught.value)
    assert message.startswith(f"{path}: ") and words in message and message.isprintable()


WEIGHT = array("w", 3, 2, 3, 3)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"group": 2}, "node 'the Conv' (Conv): group: found 2; 1 is accepted"),
        ({"dilations": [2, 2]}, "node 'the Conv' (Conv): dilations: found [2, 2]; [1, 1] is accepted"),
        ({"pads": [0, 0, 1, 1]}, "pads: found [0, 0, 1, 1]; [vertical, horizontal, vertical, horizontal]"),
        ({"pads": [0, 0]}, "pads: found [0, 0]"),
        ({"auto_pad": "SAME_UPPER", "strides": [2, 2]}, "pads: found [0, 0, 1, 1]"),
        ({"auto_pad": "SIDEWAYS"}, "auto_pad: found 'SIDEWAYS'; 'NOTSET' or 'VALID'"),
        ({"surprise": 1}, "found the attribute 'surprise' = 1; none of that name is accepted"),
    ],
)
def test_convolutions(save: Callable[..., Path], attributes: dict[str, Any], words: str) -> None:
    refused(save([node("Conv", "x,w", "y", **attributes)], [WEIGHT]), words)


@pytest.mark.parametrize(
    ("attributes", "words"),
    [
        ({"strides": [0, 1]}, "strides: found [0, 1]; a positive integer or a pair of them"),
        ({"pads": [-1, 0, -1, 0]}, "pads: found [-1, 0]; a nonnegative integer or a pair"),
        ({"pads": 1}, "pads: found 1; a list of integers is accepted"),
        ({"group": 1.0}, "group: found 1.0; a value like 1"),
        ({"kernel_shape": [3, 2]}, "found a weight of shape (3, 2, 3, 3); (3, 2, 3, 2) is accepted"),
        ({"kernel_shape": [9, 9]}, "kernel_size: found (9, 9) on a padded input of 6 by 6"),
    ],
)
def test_wrong_convolutions(save: Callable[..., Path], attributes: dict[str, Any], words: str) -> None:
    refused(save([node("Conv", "x,w", "y", **attributes)], [WEIGHT]), words, InputError)


@pytest.mark.parametrize(
    ("operator", "attributes", "words"),
    [
        ("MaxPool", {"ceil_mode": 1, "strides": [3, 3]}, "ceil_mode: found 1; 0 is accepted"),
        ("MaxPool", {"dilations": [2, 2]}, "dilations: found [2, 2]"),
        ("AveragePool", {"pads": [1, 1, 1, 1]}, "count_include_pad: found 0; 1 is accepted"),
        ("AveragePool", {"pads": [1, 0, 0, 0]}, "pads: found [1, 0, 0, 0]"),
        ("LpPool", {}, "node 'the LpPool' (LpPool): found an unknown operator; Conv, Gemm"),
    ],
)
def test_poolings(save: Callable[..., Path], operator: str, attributes: dict[str, Any], words: str) -> None:
    refused(save([node(operator, "x", "y", kernel_shape=[2, 2], **attributes)]), words)


def test_poolings_that_fit_are_read_whatever_their_unused_options(save: Callable[..., Path]) -> None:
    pool = node("MaxPool", "x", "z", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)  # 6 is even: nothing to round
    path = save([pool, node("Flatten", "z", "y")])
    assert from_onnx(path).layers == (MaxPool2d(2), Flatten())
    same = node("Conv", "x,w", "z", auto_pad="SAME_LOWER", kernel_shape=[3, 3])
    mean = node("ReduceMean", "z,axes", "y", keepdims=0)
    path = save([same, mean], [WEIGHT, integers("axes", -1, -2)])
    assert from_onnx(path).layers == (Conv2d(3, 3, 1, 1, bias=False), AvgPool2d(6), Flatten())


VECTORS = [array(name, 2) for name in "gbmv"]
PADS = integers("p", 1, 2, 1, 2)


@pytest.mark.parametrize(
    ("nodes", "arrays", "layers"),
    [
        ([node("Conv", "x,w", "z", auto_pad="VALID", pads=[1, 1, 1, 1])], [WEIGHT], (Conv2d(3, 3, bias=False),)),
        (
            [node("Pad", "x,p,,a", "s"), node("Conv", "s,w", "z")],
            [WEIGHT, PADS, integers("a", 2, -1)],
            (Conv2d(3, 3, 1, (1, 2), bias=False),),
        ),
        ([node("BatchNormalization", "x,g,b,m,v", "z", epsilon=0.5, momentum=0.1)], VECTORS, (BatchNorm2d(0.5),)),
        ([node("GlobalMaxPool", "x", "s"), node("Squeeze", "s,a", "z")], [integers("a", 2, -1)], (MaxPool2d(6), Flatten())),
        ([node("Reshape", "x,s", "z")], [integers("s", 0, 0, 0, 0)], ()),
        ([node("Clip", "x,a", "z")], [array("a", fill=0.0)], (ReLU(),)),
        ([node("Identity", "w", "u"), node("Conv", "x,u", "z")], [WEIGHT], (Conv2d(3, 3, bias=False),)),
        ([node("Cast", "x", "z", to=TensorProto.DOUBLE)], [], ()),
        ([node("Sum", "x,x", "z")], [], (Polynomial((0.0, 2.0)),)),
        (
            [node("Shape", "x", "s"), node("Slice", "s,i,j", "n"), node("Squeeze", "n", "m"), node("Unsqueeze", "m,i", "n1"),
             node("Shape", "w", "e", start=1, end=2), node("Mul", "e,k", "f"), node("Concat", "n1,f", "t", axis=0),
             node("Reshape", "x,t", "z")],
            [WEIGHT, integers("i", 0), integers("j", 1), integers("k", 36)],
            (Flatten(),),
        ),
    ],
)  # fmt: skip
def test_operators_in_less_usual_forms(
    save: Callable[..., Path], nodes: list[onnx.NodeProto], arrays: list[onnx.TensorProto], layers: tuple[Layer, ...]
) -> None:
    path = save([*nodes, node("Flatten", "z", "y")], arrays)
    assert from_onnx(path).layers == (layers if layers[-1:] == (Flatten(),) else (*layers, Flatten()))


def test_operators_of_older_and_newer_versions(save: Callable[..., Path]) -> None:
    old = [
        node("Pad", "x", "a", pads=[0, 0, 1, 1, 0, 0, 1, 1], value=0.0),
        node("Conv", "a,w", "b"),
        node("Clip", "b", "c", min=0.0, max=3.4e38),
        node("ReduceMean", "c", "d", axes=[2, 3]),
        node("Squeeze", "d", "e", axes=[2, 3]),
        node("Dropout", "e", "y", ratio=0.5),
    ]
    path = save(old, [WEIGHT], opset_imports=[helper.make_opsetid("", 9)])
    assert from_onnx(path).layers == (Conv2d(3, 3, 1, 1, bias=False), ReLU(), AvgPool2d(6), Flatten())
    new = [node("Swish", "x", "z"), node("Gemm", "z,a,c", "y", beta=1.0)]
    assert from_onnx(save(new, [array("a", 4, 3), array("c", 1, 3)], shape=[1, 4])).layers == (SiLU(), Linear(3))


@pytest.mark.parametrize(
    ("nodes", "arrays", "words"),
    [
        ([node("Constant", "", "c", value_ints=["a"]), node("Mul", "x,c", "y")], [], "value_ints: found"),
        ([node("Constant", "", "c", value_string="a"), node("Mul", "x,c", "y")], [], "found the attribute 'value_string'"),
        ([node("Constant", "", "c"), node("Mul", "x,c", "y")], [], "found 0 attributes; exactly one value is accepted"),
        ([node("Mul", "x,c", "y")], [numpy_helper.from_array(np.array(1j), "c")], "array 'c': found the element type 15"),
        ([node("Mul", "x,c", "y")], [numpy_helper.from_array(np.array(True), "c")], "found the constant np.True_"),
        ([node("Exp", "c", "d"), node("Mul", "x,d", "y")], [array("c")], "(Exp): found it between constants; Shape"),
        ([node("Transpose", "w", "u", perm=[0, 0, 1, 2]), node("Conv", "x,u", "y")], [WEIGHT], "perm: found [0, 0, 1, 2]"),
        ([node("Gather", "c,i", "d"), node("Mul", "x,d", "y")], [array("c"), integers("i", 5)], "constants that do not fit"),
        ([node("Add", "w,h", "u"), node("Conv", "x,u", "y")], [WEIGHT, array("h", 2**17)], "found the constant 'h' of shape"),
        ([node("BatchNormalization", "x,g,g,m,g", "y")], [VECTORS[0], array("m", 3)], "found statistics of shape (3,); (2,)"),
        ([node("BatchNormalization", "x,g,g,,g", "y")], VECTORS, "found no input 3; a constant is accepted"),
        ([node("Gemm", "x,w", "y")], [WEIGHT], "found a factor of shape (3, 2, 3, 3); a matrix is accepted"),
        ([node("MatMul", "w,x", "y")], [WEIGHT], "found a constant as input 0; a value that depends on the network's"),
        ([node("Flatten", "x", "f"), node("Conv", "f,w", "y")], [WEIGHT], "found an input with samples of shape (72,)"),
        ([node("ReduceMean", "x,a", "y")], [integers("a", 1)], "axes: found [1]; [2, 3], height and width"),
        ([node("Squeeze", "x,a", "y")], [integers("a", 0)], "axes: found [0]; axes of extent one, the batch axis not"),
        ([node("Conv", "x,w", "z"), node("Add", "x,z", "y")], [WEIGHT], "found samples of shapes [(2, 6, 6), (3, 4, 4)]"),
        ([node("CastLike", "x,x", "y")], [], "found a change of the element type"),
        ([node("Cast", "x", "y", to=7)], [], "to: found 7; 1 or 10 or 11 or 16 is accepted"),
        ([node("Reshape", "x,s", "y")], [array("s", 2)], "shape: found numbers of type float32; integers are accepted"),
        ([helper.make_node("MaxPool", ["x"], ["a", "i"], kernel_shape=[1, 1]), node("Cast", "i", "y", to=1)], [],
         "found a use of another output than its first"),
    ],
)  # fmt: skip
def test_misused_operators(
    save: Callable[..., Path], nodes: list[onnx.NodeProto], arrays: list[onnx.TensorProto], words: str
) -> None:
    for proto in nodes:
        if proto.op_type == "Constant":
            del proto.input[:]
    with pytest.raises((InputError, UnsupportedError)) as caught:
        from_onnx(save(nodes, arrays))
    assert words in str(caught.value)


def test_inputs_of_other_types(save: Callable[..., Path]) -> None:
    def integral(model: onnx.ModelProto) -> None:
        model.graph.input[0].type.tensor_type.elem_type = TensorProto.INT64

    refused(save([node("Relu", "x", "y")], change=integral), "found another type than an array of floating", InputError)


@pytest.mark.parametrize(
    ("nodes", "arrays", "words"),
    [
        ([node("Custom", "x", "y", domain="com.example")], [], "found an operator of the domain 'com.example'"),
        ([node("Softmax", "x", "y")], [], "found the softmax in the network; a network that ends with its logits"),
        ([node("Mul", "x,x", "z"), node("Sin", "z", "y")], [], "node 'the Sin' (Sin): found an unknown operator"),
        ([node("Tanh", "x", "z"), node("Mul", "x,z", "y")], [], "makes no activation known here"),
        ([node("Mul", "x,s", "y")], [array("s", 2, 1, 1)], "found a constant of shape (2, 1, 1) for samples of shape"),
        ([node("Add", "x,s", "y")], [array("s", 2, 1, 1)], "the sum with an array of constants; one right after a"),
        ([node("Gelu", "x", "y", approximate="tanh")], [], "approximate: found 'tanh'; 'none' is accepted"),
        ([node("Flatten", "x", "y", axis=2)], [], "axis: found 2; 1 or -3 is accepted"),
        (
            [node("Reshape", "x,s", "y")],
            [integers("s", -1, 36)],
            "shape: found [-1, 36] for samples of shape (2, 6, 6)",
        ),
        ([node("Reshape", "x,s", "y")], [integers("s", 1, -1)], "shape: found [1, -1]"),
        ([node("Reshape", "x,s", "y")], [integers("s", 0, 12, 6)], "reshaped to (12, 6); flattening all axes"),
        ([node("Transpose", "x", "y", perm=[0, 2, 3, 1])], [], "node 'the Transpose' (Transpose): found an unknown"),
        ([node("Concat", "x,x", "y", axis=1)], [], "(Concat): found an unknown operator"),
        (
            [node("Conv", "x,x", "y")],
            [],
            "found an input 1 that depends on the network's input; a constant is accepted",
        ),
        ([node("Dropout", "x,,t", "y")], [numpy_helper.from_array(np.array(True), "t")], "training_mode: found true"),
        ([node("Pad", "x,p", "y")], [integers("p", 0, 0, 1, 1, 0, 0, 1, 1)], "found a padding of its own"),
        (
            [node("Pad", "x,p,v", "z"), node("Conv", "z,w", "y")],
            [integers("p", 0, 0, 1, 1, 0, 0, 1, 1), array("v", fill=1.0), WEIGHT],
            "found a padding with 1.0 before node 'the Conv' (Conv); 0.0 is accepted",
        ),
        ([node("Clip", "x,a,b", "y")], [array("a", fill=0.0), array("b", fill=6.0)], "[0, none], a ReLU, is accepted"),
    ],
)
def test_operators(
    save: Callable[..., Path], nodes: list[onnx.NodeProto], arrays: list[onnx.TensorProto], words: str
) -> None:
    refused(save(nodes, arrays), words)


def test_branches_of_a_graph_inside_a_node(save: Callable[..., Path]) -> None:
    result = helper.make_tensor_value_info("z", TensorProto.FLOAT, None)
    inner = helper.make_graph([node("Relu", "x", "z")], "inner", [], [result])
    condition = numpy_helper.from_array(np.array(True), "c")
    branch = node("If", "c", "y", then_branch=inner, else_branch=inner)
    refused(save([branch], [condition]), "node 'the If' (If): 'else_branch': found a graph inside a node")


def test_branches_that_share_more_than_their_beginning(save: Callable[..., Path]) -> None:
    nodes = [
        node("Conv", "x,w", "a"),
        node("Relu", "a", "b"),
        node("Conv", "b,v", "c"),
        node("Conv", "b,u", "d"),
        node("Add", "c,b", "e"),
        node("Add", "d,e", "f"),
        node("Add", "f,c", "y"),
    ]
    square = [array(name, 3, 3, 1, 1) for name in "vu"]
    refused(save(nodes, [WEIGHT, *square]), "found a value that is used by several branches")


def test_layers_that_share_a_weight(save: Callable[..., Path]) -> None:
    nodes = [node("MatMul", "x,m", "z"), node("MatMul", "z,m", "y")]
    path = save(nodes, [array("m", 4, 4)], shape=["n", 4])
    refused(path, "found the weight 'm', which node 'the MatMul' (MatMul) uses as well")


def test_equal_biases_that_an_exporter_merged_are_two(save: Callable[..., Path]) -> None:
    nodes = [node("Gemm", "x,a,c", "z"), node("Relu", "z", "r"), node("Gemm", "r,b,c", "y")]
    path = save(nodes, [array("a", 4, 4), array("b", 4, 4), array("c", 4)], shape=["n", 4])
    assert from_onnx(path).layers == (Linear(4), ReLU(), Linear(4))


def test_the_nodes_that_the_output_does_not_need_do_not_matter(save: Callable[..., Path]) -> None:
    nodes = [node("Flatten", "x", "y"), node("Sin", "x", "unused"), node("Missing", "nowhere", "gone", domain="z")]
    assert from_onnx(save(nodes)).layers == (Flatten(),)


@pytest.mark.parametrize(
    ("shape", "kind", "words"),
    [
        (["n", 3, "height", 8], InputError, "input 'x': found the symbolic extent 'height' of axis 2; only the batch"),
        (["n", 3, -8, 8], InputError, "input 'x', axis 2: found -8; a positive integer is accepted"),
        (["n", 3, 0, 8], InputError, "input 'x', axis 2: found 0"),
        (["n", 3, 2**40, 8], InputError, "axis 2: found 1099511627776; at most 2147483648"),
        (["n", 2**31, 2**31, 2**31], InputError, "bytes; at most 1099511627776 entries are accepted"),
        (["n", 3, 8], InputError, "found 3 axes; (batch, features) or (batch, channels, height, width)"),
    ],
)
def test_input_shapes(save: Callable[..., Path], shape: list[Any], kind: type[Exception], words: str) -> None:
    refused(save([node("Relu", "x", "z"), node("Flatten", "z", "y")], shape=shape), words, kind)


def test_several_inputs_or_outputs(save: Callable[..., Path]) -> None:
    def another_input(model: onnx.ModelProto) -> None:
        model.graph.input.append(helper.make_tensor_value_info("z", TensorProto.FLOAT, IMAGE))

    def another_output(model: onnx.ModelProto) -> None:
        model.graph.output.append(helper.make_tensor_value_info("x", TensorProto.FLOAT, IMAGE))

    add = [node("Add", "x,z", "y")]
    refused(save(add, change=another_input), "found 2 inputs ['x', 'z']; exactly one input is accepted")
    refused(save([node("Relu", "x", "y")], change=another_output), "found 2 outputs ['y', 'x']")


@pytest.mark.parametrize(
    ("nodes", "words"),
    [
        ([node("Relu", "z", "y"), node("Relu", "x", "z")], "found the input 'z', which no node before it computes"),
        ([node("Relu", "x", "z"), node("Relu", "z", "z"), node("Relu", "z", "y")], "the value 'z' defined twice"),
        ([node("Constant", "", "y", value_float=1.0)], "found an output that does not depend on the input"),
        ([], "found an output that does not depend on the input"),
        ([node("Relu", "", "y")], "found"),
    ],
)
def test_graphs_that_are_none(save: Callable[..., Path], nodes: list[onnx.NodeProto], words: str) -> None:
    for proto in nodes:
        if list(proto.input) == [""] and proto.op_type == "Constant":
            del proto.input[:]
    kind: tuple[type[Exception], ...] = (InputError, UnsupportedError)
    with pytest.raises(kind, match="model.onnx: .*" + words.replace("(", r"\(")):
        from_onnx(save(nodes))


def test_operators_of_unknown_versions(save: Callable[..., Path]) -> None:
    relu = [node("Relu", "x", "y")]
    refused(save(relu, opset_imports=[helper.make_opsetid("", 6)]), "found version 6 of the operators; 7 to")
    refused(save(relu, opset_imports=[helper.make_opsetid("", 10**6)]), "found version 1000000 of the operators")


def test_arrays_that_lie(save: Callable[..., Path]) -> None:
    def reshaped(*extents: int) -> onnx.TensorProto:
        tensor = array("w", 3, 2, 3, 3)
        tensor.dims[:] = extents
        return tensor

    conv = [node("Conv", "x,w", "y")]
    refused(save(conv, [reshaped(3, 2, 3, 4)]), "array 'w': found 216 bytes for the shape (3, 2, 3, 4)", InputError)
    refused(save(conv, [reshaped(-3, 2, 3, 3)]), "array 'w': found the shape (-3, 2, 3, 3)", InputError)
    refused(save(conv, [reshaped(2**31, 2**31, 3, 3)]), "at most 1099511627776 entries are accepted", InputError)
    short = helper.make_tensor("w", TensorProto.FLOAT, [2, 1], [1.0, 2.0])
    short.dims[:] = [2, 3]
    refused(save(conv, [short]), "array 'w': found 2 numbers for the shape (2, 3)", InputError)
    text = helper.make_tensor("w", TensorProto.STRING, [1], [b"1"])
    refused(save(conv, [text]), "array 'w': found", InputError)


def test_numbers_in_another_file_are_refused_where_they_are_needed(save: Callable[..., Path], tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(np.array([-1, 72], dtype=np.int64).tobytes())

    def moved(tensor: onnx.TensorProto) -> onnx.TensorProto:
        tensor.ClearField("raw_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=str(secret))
        return tensor

    path = save([node("Reshape", "x,s", "y")], [moved(integers("s", -1, 72))])
    refused(path, "found 's' in another file (external data)", InputError)
    with pytest.raises(
        InputError, match=r"node 'the Reshape' \(Reshape\): found 's' in another file \(external data\)"
    ):
        from_onnx(path, external_weights=True)
    gemm = save([node("MatMul", "x,m", "y")], [moved(array("m", 4, 3))], shape=["n", 4])
    assert from_onnx(gemm, external_weights=True).layers == (Linear(3, bias=False),)
    with pytest.raises(InputError, match=r"found 'm' in another file \(external data\)"):
        parameters_from_onnx(gemm)


def test_constants_that_would_not_fit_into_memory(save: Callable[..., Path]) -> None:
    huge = [node("ConstantOfShape", "n", "c"), node("Mul", "x,c", "y")]
    refused(save(huge, [integers("n", 2**20, 2**20)]), "node 'the ConstantOfShape'", InputError)
    outer = [node("Mul", "a,b", "c"), node("Mul", "x,c", "y")]
    refused(save(outer, [array("a", 2**16, 1), array("b", 1, 2**16)]), "node 'the Mul'", InputError)
    wide = [node("Expand", "a,n", "c"), node("Mul", "x,c", "y")]
    refused(save(wide, [array("a", 1), integers("n", 2**40)]), "node 'the Expand'", InputError)


def test_files_that_would_not_fit_into_memory_when_parsed(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"

    def message(number: int, content: bytes) -> bytes:
        length = len(content)
        digits = []
        while length >= 128:
            digits.append(length & 127 | 128)
            length >>= 7
        return bytes([number << 3 | 2, *digits, length]) + content

    path.write_bytes(message(7, message(1, b"") * (MOST_FIELDS + 1)))  # a graph of empty nodes, two bytes each
    refused(path, f"found more than {MOST_FIELDS} fields", InputError)
    path.write_bytes(message(7, message(10, bytes(LARGEST_STRUCTURE + 1))))
    refused(path, f"found more than {LARGEST_STRUCTURE} bytes that are no weights", InputError)
    content = b""
    for _ in range(30):  # a node with an attribute with a graph with a node ...
        content = message(1, message(5, message(6, content)))
    path.write_bytes(message(7, content))
    refused(path, "levels are accepted", InputError)


def test_products_of_products_are_not_expanded_without_end(save: Callable[..., Path]) -> None:
    nodes = [node("Add", "x,one", "v0")]
    nodes += [node("Mul", f"v{index},v{index}", f"v{index + 1}") for index in range(40)]
    *polynomials, last = from_onnx(save([*nodes, node("Flatten", "v40", "y")], [array("one", fill=1.0)])).layers
    degrees = [len(layer.coefficients) - 1 for layer in polynomials if isinstance(layer, Polynomial)]
    assert last == Flatten() and len(degrees) == len(polynomials)
    assert math.prod(degrees) == 2**40 and max(degrees) <= 128
