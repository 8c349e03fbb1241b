"""What PyTorch's operators mean, on calls written by hand: these tests run without PyTorch."""

from __future__ import annotations

import sys
from typing import Any

import pytest

from provable.architectures import (
    ELU,
    GELU,
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
from provable.architectures.readers import from_torch
from provable.architectures.readers.graph import MOST_STEPS
from provable.architectures.readers.structure import Recognised, recognise
from provable.architectures.readers.torch_graph import Array, Call, Value
from provable.architectures.readers.torch_operators import read_calls
from provable.errors import InputError, UnsupportedError

X = Value("x")
Made = tuple[str, str, dict[str, Any], tuple[int, ...]]


def read(*made: Made, shape: tuple[int, ...] = (2, 6, 6), output: str | None = None) -> Recognised:
    """Read calls given as (name, operator, arguments, shape of one sample of the result)."""
    calls = tuple(
        Call(name, operator, f"module 'm.{name}' ({operator})", arguments, (2, *result))
        for name, operator, arguments, result in made
    )
    graph, arrays = read_calls(calls, input_name="x", input_shape=shape, output=output or calls[-1].name, batch=2)
    found = recognise(graph)
    assert set(found.parameters.values()) <= set(arrays)
    return found


W = Array("w", (3, 2, 3, 3))
B = Array("b", (3,))
ONES = {"stride": [1, 1], "padding": [0, 0], "dilation": [1, 1], "groups": 1}
SQUARE = [Array(name, (4, 4)) for name in "uv"]


@pytest.mark.parametrize(
    ("operator", "arguments", "result", "layer"),
    [
        ("conv2d", {"weight": W, "bias": B} | ONES, (3, 4, 4), Conv2d(3, 3)),
        ("conv2d", {"weight": W, "bias": None, "padding": "same"}, (3, 6, 6), Conv2d(3, 3, 1, 1, bias=False)),
        ("conv2d", {"weight": W, "bias": None, "padding": "valid"}, (3, 4, 4), Conv2d(3, 3, bias=False)),
        ("convolution", {"weight": W, "bias": B, "stride": [2], "padding": [1, 0]}, (3, 3, 2), Conv2d(3, 3, 2, (1, 0))),
        ("batch_norm", {"weight": Array("g", (2,)), "bias": Array("b", (2,)), "eps": 0.5, "training": False,
                        "running_mean": Array("m", (2,)), "running_var": Array("v", (2,))}, (2, 6, 6), BatchNorm2d(0.5)),
        ("max_pool2d", {"kernel_size": [2], "stride": []}, (2, 3, 3), MaxPool2d(2)),
        ("max_pool2d", {"kernel_size": [3, 2], "stride": [2, 1], "padding": [1, 1]}, (2, 3, 7), MaxPool2d((3, 2), (2, 1), 1)),
        ("avg_pool2d", {"kernel_size": [2, 2], "stride": [2, 2], "ceil_mode": True}, (2, 3, 3), AvgPool2d(2)),
        ("adaptive_avg_pool2d", {"output_size": [3, 2]}, (2, 3, 2), AvgPool2d((2, 3))),
        ("adaptive_max_pool2d", {"output_size": [1]}, (2, 1, 1), MaxPool2d(6)),
        ("mean", {"dim": [-1, -2], "keepdim": True}, (2, 1, 1), AvgPool2d(6)),
        ("flatten", {"start_dim": 1}, (72,), Flatten()),
        ("view", {"size": [2, -1]}, (72,), Flatten()),
        ("relu", {}, (2, 6, 6), ReLU()),
        ("leaky_relu", {"negative_slope": 0.2}, (2, 6, 6), LeakyReLU(0.2)),
        ("tanh", {}, (2, 6, 6), Tanh()),
        ("sigmoid", {}, (2, 6, 6), Sigmoid()),
        ("softplus", {"beta": 1, "threshold": 20}, (2, 6, 6), Softplus()),
        ("erf", {}, (2, 6, 6), Erf()),
        ("gelu", {"approximate": "none"}, (2, 6, 6), GELU()),
        ("silu", {}, (2, 6, 6), SiLU()),
        ("elu", {"alpha": 0.5, "scale": 1, "input_scale": 1}, (2, 6, 6), ELU(0.5)),
        ("square", {}, (2, 6, 6), Polynomial((0.0, 0.0, 1.0))),
        ("rsub", {"other": 3.0, "alpha": 1}, (2, 6, 6), Polynomial((3.0, -1.0))),
        ("mul", {"other": Array("", (), number=2.0)}, (2, 6, 6), Polynomial((0.0, 2.0))),
    ],
)  # fmt: skip
def test_operators_are_layers(operator: str, arguments: dict, result: tuple[int, ...], layer: Layer) -> None:
    for name in ("self",) if isinstance(layer, Polynomial) else ("self", "input"):
        found = read(("a", operator, {name: X, **arguments}, result))
        assert found.layers == (layer,)
        assert {key.partition("/")[2] for key in found.parameters} == set(layer.parameter_shapes((2, 6, 6)))


@pytest.mark.parametrize("operator", ["dropout", "clone", "contiguous", "detach", "alias", "alpha_dropout"])
def test_operators_that_change_nothing(operator: str) -> None:
    unchanged = ("a", operator, {"input": X, "p": 0.5, "train": False}, (2, 6, 6))
    assert read(unchanged, ("b", "relu", {"self": Value("a")}, (2, 6, 6))).layers == (ReLU(),)
    with pytest.raises(UnsupportedError, match=rf"module 'm.a' \({operator}\): train: found True; False is accepted"):
        read(("a", operator, {"input": X, "p": 0.5, "train": True}, (2, 6, 6)))
    for size in ([2, 6, 6], [6, 6]):  # pooling of single entries, and to the size that is there already
        pool = ("a", "adaptive_avg_pool2d", {"self": X, "output_size": size[-2:]}, (2, 6, 6))
        assert read(pool, ("b", "max_pool2d", {"self": Value("a"), "kernel_size": [1]}, (2, 6, 6))).layers == ()


def test_linear_layers_in_every_form() -> None:
    transposed = [("t", "t", {"self": SQUARE[0]}, (4,)), ("p", "permute", {"self": SQUARE[1], "dims": [1, 0]}, (4,))]
    bias = Array("c", (4,))
    found = read(
        *transposed,
        ("a", "addmm", {"self": bias, "mat1": X, "mat2": Value("t"), "alpha": 1, "beta": 1}, (4,)),
        ("b", "relu", {"self": Value("a")}, (4,)),
        ("c", "matmul", {"self": Value("b"), "other": Value("p")}, (4,)),
        ("d", "add", {"self": Value("c"), "other": Array("d", (4,))}, (4,)),
        ("e", "linear", {"input": Value("d"), "weight": Array("f", (3, 4)), "bias": None}, (3,)),
        shape=(4,),
    )
    assert found.layers == (Linear(4), ReLU(), Linear(4), Linear(3, bias=False))
    names = {"0/weight": "u", "0/bias": "c", "2/weight": "v", "2/bias": "d", "3/weight": "f"}
    assert found.parameters == names


def test_arrays_that_are_rearranged() -> None:
    column = Call("v", "view", "here", {"self": Array("b", (3,)), "size": [3, 1, 1]}, (3, 1, 1))
    conv = Call("a", "conv2d", "here", {"input": X, "weight": W, "bias": None}, (2, 3, 4, 4))
    add = Call("y", "add", "here", {"self": Value("v"), "other": Value("a")}, (2, 3, 4, 4))
    graph, arrays = read_calls((column, conv, add), input_name="x", input_shape=(2, 6, 6), output="y", batch=2)
    assert recognise(graph).layers == (Conv2d(3, 3),) and arrays["b"].shape == (3,)
    found = read(
        ("t", "transpose", {"self": SQUARE[0], "dim0": 0, "dim1": -1}, (4,)),
        ("r", "view", {"self": X, "size": [2, 4]}, (4,)),
        ("a", "mm", {"self": Value("r"), "mat2": Value("t")}, (4,)),
        shape=(4,),
    )
    assert found.layers == (Linear(4, bias=False),)
    with pytest.raises(UnsupportedError, match="found a reshape of a transposed parameter"):
        read(
            ("t", "t", {"self": SQUARE[0]}, (4,)),
            ("v", "view", {"self": Value("t")}, (4,)),
            ("a", "mm", {"self": X, "mat2": Value("v")}, (4,)),
            shape=(4,),
        )


def test_a_residual_block_with_normalisation_in_two_calls() -> None:
    square = Array("w", (2, 2, 3, 3))
    statistics = {name: Array(name, (2,)) for name in ("weight", "bias", "running_mean", "running_var")}
    found = read(
        ("p", "pad", {"input": X, "pad": [1, 1, 1, 1], "mode": "constant", "value": None}, (2, 8, 8)),
        ("a", "conv2d", {"input": Value("p"), "weight": square, "bias": None} | ONES, (2, 6, 6)),
        ("b", "_native_batch_norm_legit_no_training", {"input": Value("a"), "eps": 1e-3, **statistics}, (2, 6, 6)),
        ("c", "getitem", {"input": Value("b"), "index": 0}, (2, 6, 6)),
        ("d", "add", {"self": X, "other": Value("c"), "alpha": 1}, (2, 6, 6)),
    )
    assert found.layers == (Residual((Conv2d(2, 3, 1, 1, bias=False), BatchNorm2d(1e-3))),)


def test_the_mean_over_height_and_width_without_its_axes() -> None:
    assert read(("a", "mean", {"self": X, "dim": [2, 3], "keepdim": False}, (2,))).layers == (AvgPool2d(6), Flatten())


@pytest.mark.parametrize(
    ("operator", "arguments", "result", "words"),
    [
        ("conv2d", {"weight": W, "bias": None, "groups": 2}, (3, 4, 4), "groups: found 2; 1 is accepted"),
        ("conv2d", {"weight": W, "bias": None, "dilation": [2, 2]}, (3, 2, 2), "dilation: found [2, 2]"),
        ("conv2d", {"weight": X, "bias": None}, (3, 4, 4), "weight: found a value that depends on the input"),
        (
            "conv2d",
            {"weight": Array("w", (3, 2, 2, 2)), "padding": "same"},
            (3, 6, 6),
            "padding: found 'same' with a kernel",
        ),
        ("conv_transpose2d", {"weight": W}, (3, 8, 8), "found an unknown operator; conv2d, convolution, linear"),
        (
            "avg_pool2d",
            {"kernel_size": 2, "padding": 1, "count_include_pad": False},
            (2, 4, 4),
            "count_include_pad: found False",
        ),
        ("avg_pool2d", {"kernel_size": 2, "divisor_override": 3}, (2, 3, 3), "divisor_override: found 3; None or 4"),
        ("max_pool2d", {"kernel_size": 4, "stride": 4, "ceil_mode": True}, (2, 2, 2), "ceil_mode: found True; False"),
        ("adaptive_avg_pool2d", {"output_size": [4, 6]}, (2, 4, 6), "found (4, 6) for an input of 6 by 6; divisors"),
        ("mean", {"dim": [1], "keepdim": False}, (6, 6), "dim: found [1]; [2, 3], height and width, is accepted"),
        ("batch_norm", {"weight": None, "training": False, "eps": 1.0}, (2, 6, 6), "weight: found none; a parameter"),
        ("batch_norm", {"training": True, "eps": 1.0}, (2, 6, 6), "training: found True; False is accepted"),
        ("view", {}, (36, 2), "reshaped to (36, 2); flattening all axes is accepted"),
        ("pad", {"pad": [1, 0], "mode": "constant"}, (2, 6, 7), "pad: found [1, 0]; the same on both sides"),
        ("pad", {"pad": [1, 1], "mode": "reflect"}, (2, 6, 8), "mode: found 'reflect'; 'constant' is accepted"),
        ("gelu", {"approximate": "tanh"}, (2, 6, 6), "approximate: found 'tanh'; 'none' is accepted"),
        ("softplus", {"beta": 2}, (2, 6, 6), "beta: found 2; 1 is accepted"),
        ("softplus", {"beta": 1, "threshold": 5}, (2, 6, 6), "threshold: found 5; at least 20.0 is accepted"),
        ("add", {"other": 1.0, "alpha": 2}, (2, 6, 6), "alpha: found 2; 1 is accepted"),
        ("mul", {"other": Array("scale", (2, 1, 1))}, (2, 6, 6), "found an array of shape (2, 1, 1) for samples of"),
        ("mul", {"other": Array("gain", (), number=2.0)}, (2, 6, 6), "found an array of shape () for samples of"),
        ("mul", {"other": True}, (2, 6, 6), "found True for samples of shape (2, 6, 6); a fixed number"),
        ("softmax", {"dim": 1}, (2, 6, 6), "found the softmax in the network; a network that ends with its logits"),
        ("relu", {}, (2, 6, 5), "found a result of shape (2, 2, 6, 5) where a layer gives (2, 2, 6, 6) for 2 samples"),
        ("getitem", {"index": 1}, (2, 6, 6), "index: found 1; 0 is accepted"),
        ("add", {"other": Value("x"), "self": Array("b", (3,))}, (2, 6, 6), "found an array of shape (3,) for samples"),
        ("matmul", {"other": B}, (3,), "found a factor of shape (3,); a matrix is accepted"),
        ("t", {"self": None}, (3,), "found no array; a parameter is accepted"),
        ("permute", {"dims": [0, 2, 3, 1]}, (6, 6, 2), "self: found a value that depends on the input; a parameter"),
    ],
)
def test_what_descriptions_cannot_express(operator: str, arguments: dict, result: tuple[int, ...], words: str) -> None:
    with pytest.raises(UnsupportedError) as caught:
        read(("a", operator, {"self": X, **arguments}, result))
    assert str(caught.value).startswith(f"module 'm.a' ({operator}): ") and words in str(caught.value)


def test_parameters_used_twice() -> None:
    first = ("a", "linear", {"input": X, "weight": SQUARE[0], "bias": Array("c", (4,))}, (4,))
    second = ("b", "linear", {"input": Value("a"), "weight": SQUARE[1], "bias": Array("c", (4,))}, (4,))
    with pytest.raises(UnsupportedError, match=r"found the parameter 'c', which module 'm.a' \(linear\) uses as well"):
        read(first, second, shape=(4,))


def test_graphs_that_are_none() -> None:
    with pytest.raises(InputError, match="found an output that does not depend on the input"):
        read(("a", "detach", {"self": W}, (3,)))
    with pytest.raises(UnsupportedError, match="found an array of the module; a value that depends on the input"):
        read(("a", "relu", {"self": W}, (3,)))
    with pytest.raises(InputError, match=f"found {MOST_STEPS + 1} calls of operators"):
        read(*[("a", "relu", {"self": X}, (2, 6, 6))] * (MOST_STEPS + 1))
    wide = ("b", "linear", {"input": X, "weight": Array("w", (3, 72)), "bias": None}, (3,))
    with pytest.raises(InputError, match=r"module 'm.b' \(linear\): found an input of shape \(2, 6, 6\); a flat one"):
        read(wide)


def test_without_the_extra_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(InputError, match=r"^module: needs the extra \[torch\]: pip install 'provable\[torch\]'$"):
        from_torch(object(), (3,))
