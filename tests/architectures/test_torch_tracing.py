"""How traced programs are written as plain data, with a stand-in for PyTorch: these tests run without it."""

from __future__ import annotations

import contextlib
import logging
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from provable.architectures import Architecture, Conv2d, Flatten, Linear, MaxPool2d, Polynomial
from provable.architectures.readers import from_torch, parameters_from_torch
from provable.errors import InputError, UnsupportedError


class Tensor:
    """What the reader asks of a tensor."""

    def __init__(self, numbers: Any, *, meta: bool = False) -> None:
        self.numbers, self.is_meta = np.asarray(numbers, dtype=float), meta
        self.shape, self.dtype, self.device = self.numbers.shape, "float64", "cpu"

    def is_floating_point(self) -> bool:
        return True

    def numel(self) -> int:
        return self.numbers.size

    def __float__(self) -> float:
        return float(self.numbers)

    def detach(self) -> Tensor:
        return self

    cpu = double = detach

    def numpy(self) -> Any:
        return self.numbers


class Node:
    """A node of a traced graph."""

    def __init__(
        self, name: str, op: str, target: Any, args: tuple[Any, ...], shape: Any, path: str, **kwargs: Any
    ) -> None:
        self.name, self.op, self.target, self.args, self.kwargs = name, op, target, args, kwargs
        value = (
            [SimpleNamespace(shape=entry) for entry in shape]
            if isinstance(shape, list)
            else SimpleNamespace(shape=shape)
        )
        self.meta = {"val": value, "nn_module_stack": {path: (path, "module")}}


class Module:
    """What the reader asks of a module."""

    def __init__(self, parameters: dict[str, Tensor], program: Callable[[], Any]) -> None:
        self.named, self.program, self.training = parameters, program, True

    def parameters(self) -> list[Tensor]:
        return list(self.named.values())

    def named_parameters(self, *, remove_duplicate: bool) -> list[tuple[str, Tensor]]:
        assert not remove_duplicate
        return list(self.named.items())

    def named_buffers(self, *, remove_duplicate: bool) -> list[tuple[str, Tensor]]:
        return []

    def modules(self) -> list[Module]:
        return [self]

    def eval(self) -> None:
        self.training = False


def operator(name: str, *arguments: Any, mutable: bool = False) -> Any:
    """An operator whose schema lists names, or names with defaults."""
    listed = [argument if isinstance(argument, tuple) else (argument,) for argument in arguments]
    declared = [
        SimpleNamespace(
            name=first, has_default_value=lambda rest=rest: bool(rest), default_value=rest[0] if rest else None
        )
        for first, *rest in listed
    ]
    return SimpleNamespace(_schema=SimpleNamespace(name=name, arguments=declared, is_mutable=mutable))


CONV = operator(
    "aten::conv2d", "input", "weight", ("bias", None), ("stride", [1, 1]), ("padding", [0, 0]), ("groups", 1)
)
POOL = operator("aten::max_pool2d_with_indices", "self", "kernel_size", ("stride", []))
FLATTEN = operator("aten::flatten", "self", ("start_dim", 0))
LINEAR = operator("aten::linear", "input", "weight", ("bias", None))
MULTIPLY = operator("aten::mul", "self", "other")


@pytest.fixture
def traced(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Module]:
    def export(module: Module, arguments: tuple[Any, ...]) -> Any:
        assert not module.training and arguments == ((2, 1, 6, 6),)
        return module.program()

    torch = SimpleNamespace(
        nn=SimpleNamespace(Module=Module),
        export=SimpleNamespace(export=export),
        zeros=lambda *shape, dtype, device: shape,
        no_grad=contextlib.nullcontext,
    )
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch.fx", SimpleNamespace(Node=Node))

    def make(change: Callable[[dict[str, Any]], None] = lambda parts: None, *, meta: bool = False) -> Module:
        numbers = np.random.default_rng(0)
        own = {name: Tensor(numbers.standard_normal(shape), meta=meta) for name, shape in SHAPES.items()}
        places = {f"p_{name.replace('.', '_')}": name for name in SHAPES}
        held = {place: Node(place, "placeholder", place, (), SHAPES[name], "") for place, name in places.items()}
        held["half"] = Node("half", "placeholder", "half", (), (), "")
        x = Node("x", "placeholder", "x", (), (2, 1, 6, 6), "")
        a = Node("a", "call_function", CONV, (x, held["p_body_weight"]), (2, 2, 4, 4), "body", bias=held["p_body_bias"])
        b = Node("b", "call_function", MULTIPLY, (a, held["half"]), (2, 2, 4, 4), "")
        c = Node("c", "call_function", POOL, (b, [2, 2]), [(2, 2, 2, 2), (2, 2, 2, 2)], "pool")
        d = Node("d", "call_function", getitem, (c, 0), (2, 2, 2, 2), "pool")
        e = Node("e", "call_function", FLATTEN, (d, 1), (2, 8), "")
        f = Node("f", "call_function", LINEAR, (e, held["p_head_weight"]), (2, 3), "head")
        parts = {"nodes": [*held.values(), x, a, b, c, d, e, f], "inputs": ["x"], "outputs": ["f"], "parameters": own}
        change(parts)
        signature = SimpleNamespace(
            user_inputs=parts["inputs"],
            user_outputs=parts["outputs"],
            inputs_to_parameters=places,
            inputs_to_buffers={},
            inputs_to_lifted_tensor_constants={"half": "constant"},
        )
        program = SimpleNamespace(
            graph=SimpleNamespace(nodes=parts["nodes"]), graph_signature=signature, constants={"constant": Tensor(0.5)}
        )
        return Module(own, lambda: program)

    return make


SHAPES = {"body.weight": (2, 1, 3, 3), "body.bias": (2,), "head.weight": (3, 8)}
LAYERS = (Conv2d(2, 3), Polynomial((0.0, 0.5)), MaxPool2d(2), Flatten(), Linear(3, bias=False))


def getitem(values: Any, index: int) -> Any:
    raise AssertionError("the graph is read, never run")


def test_programs_are_read(traced: Callable[..., Module]) -> None:
    module = traced()
    architecture, numbers = parameters_from_torch(module, (1, 6, 6))
    assert architecture == Architecture("Module", (1, 6, 6), LAYERS, "cross_entropy") and module.training
    assert from_torch(module, (1, 6, 6), name="net", loss="squared") == Architecture(
        "net", (1, 6, 6), LAYERS, "squared"
    )
    for name, source in {"0/weight": "body.weight", "0/bias": "body.bias", "4/weight": "head.weight"}.items():
        np.testing.assert_array_equal(numbers.pop(name), module.named[source].numbers)
    assert not numbers


def test_modules_without_numbers(traced: Callable[..., Module]) -> None:
    assert from_torch(traced(meta=True), (1, 6, 6)).layers == LAYERS
    with pytest.raises(InputError, match=r"found the parameter 'body\.weight' without numbers \(meta device\)"):
        parameters_from_torch(traced(meta=True), (1, 6, 6))


def test_programs_that_overwrite_values_are_rewritten_first(traced: Callable[..., Module]) -> None:
    def overwriting(parts: dict[str, Any]) -> None:
        parts["nodes"][-3].target = operator("aten::relu_", "self", mutable=True)

    plain, module = traced().program(), traced(overwriting)
    module.program().run_decompositions = lambda table: plain if table == {} else None
    assert from_torch(module, (1, 6, 6)).layers == LAYERS


def test_messages_name_the_submodule(traced: Callable[..., Module]) -> None:
    def custom(parts: dict[str, Any]) -> None:
        parts["nodes"][-1].target = operator("mine::linear", "input", "weight")

    with pytest.raises(UnsupportedError, match=r"^module 'head' \(linear\): found an unknown operator; conv2d"):
        from_torch(traced(custom), (1, 6, 6))

    def outputs(parts: dict[str, Any]) -> None:
        parts["outputs"] = ["f", "e"]

    with pytest.raises(UnsupportedError, match=r"^module: found 2 outputs; exactly one tensor is accepted"):
        from_torch(traced(outputs), (1, 6, 6))

    def tied(parts: dict[str, Any]) -> None:
        parts["parameters"]["head.weight"] = parts["parameters"]["body.weight"]

    with pytest.raises(UnsupportedError, match=r"^module 'head' \(linear\): found the parameter 'body.weight', which"):
        from_torch(traced(tied), (1, 6, 6))


def test_failures_of_the_tracer(traced: Callable[..., Module]) -> None:
    def fail() -> None:
        raise RuntimeError("first line\nsecond line")

    module = Module(traced().named, fail)
    with pytest.raises(UnsupportedError, match=r"module Module: found something that torch.export .*\('first line'\)"):
        from_torch(module, (1, 6, 6))
    assert module.training and logging.root.manager.disable == logging.NOTSET


@pytest.mark.parametrize("shape", [(), (1, 6), (0,), (1, 1, 6, 6), 6, (2**31, 2**31, 2**31), "ab"])
def test_shapes_that_are_none(traced: Callable[..., Module], shape: Any) -> None:
    with pytest.raises(InputError, match="found"):
        from_torch(traced(), shape)
    with pytest.raises(InputError, match=r"^module: found 3; a torch\.nn\.Module is accepted"):
        from_torch(3, (1, 6, 6))
