"""Reading architectures, and parameters, from PyTorch modules, through ``torch.export``.

A module is traced in evaluation mode with two samples of zeros, so what it does must not depend on the numbers. PyTorch
has no loss in a module: it is an argument.
"""

from __future__ import annotations

import dataclasses
import logging
import warnings
from typing import Any

import numpy as np

from provable.architectures import fields
from provable.architectures.architecture import Architecture
from provable.architectures.fields import Shape
from provable.architectures.readers.naming import described
from provable.architectures.readers.structure import Recognised, recognise
from provable.architectures.readers.torch_graph import Array, Call, Value
from provable.architectures.readers.torch_operators import read_calls
from provable.errors import InputError, UnsupportedError

BATCH = 2
"""Samples with which a module is traced."""


def from_torch(module: Any, input_shape: Shape, *, loss: str | None = None, name: str | None = None) -> Architecture:
    """Read the architecture of a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        The network, without its loss; it is traced in evaluation mode and left as it was. It may lie on any device,
        the meta device included.
    input_shape : tuple of int
        Shape of one sample, without the batch axis: (features,) or (channels, height, width).
    loss : {"squared", "logistic", "cross_entropy"}, optional
        The loss; by default logistic for one output and cross_entropy for more.
    name : str, optional
        The architecture's name; by default the name of the module's class.

    Returns
    -------
    Architecture
        The description.

    Raises
    ------
    InputError
        If the extra ``[torch]`` is not installed, or the module or the shape is none.
    UnsupportedError
        If the description cannot express the module, or PyTorch cannot trace it; the message names the submodule.
    """
    return _read(module, input_shape, loss, name)[0]


def parameters_from_torch(
    module: Any, input_shape: Shape, *, loss: str | None = None, name: str | None = None
) -> tuple[Architecture, dict[str, Any]]:
    """Read the architecture and the parameters of a PyTorch module.

    Parameters
    ----------
    module : torch.nn.Module
        The network, as for `from_torch`.
    input_shape : tuple of int
        Shape of one sample, without the batch axis.
    loss : {"squared", "logistic", "cross_entropy"}, optional
        The loss, as for `from_torch`.
    name : str, optional
        The architecture's name.

    Returns
    -------
    architecture : Architecture
        The description.
    parameters : dict of str to ndarray
        Float64 arrays by the architecture's names, in its shapes: what ``provable.networks.Parameters`` accepts.
        The running statistics of a batch normalisation are no parameters and are left out.

    Raises
    ------
    InputError
        As for `from_torch`, and if the parameters are on the meta device.
    UnsupportedError
        As for `from_torch`.
    """
    architecture, recognised, arrays = _read(module, input_shape, loss, name)
    own = dict(module.named_parameters(remove_duplicate=False)) | dict(module.named_buffers(remove_duplicate=False))
    numbers = {}
    for key, shape in architecture.parameter_shapes.items():
        array = arrays[recognised.parameters[key]]
        tensor = own[array.name].detach()
        if tensor.is_meta:
            raise InputError(
                f"module: found the parameter {array.name!r} without numbers (meta device); numbers are accepted"
            )
        found = np.asarray(tensor.cpu().double().numpy())
        numbers[key] = (found if array.axes is None else found.transpose(array.axes)).reshape(shape).copy()
    return architecture, numbers


def _read(
    module: Any, input_shape: Shape, loss: str | None, name: str | None
) -> tuple[Architecture, Recognised, dict[str, Array]]:
    try:
        import torch
    except ImportError:
        raise InputError("module: needs the extra [torch]: pip install 'provable[torch]'") from None
    if not isinstance(module, torch.nn.Module):
        raise InputError(f"module: found {fields.shown(module)}; a torch.nn.Module is accepted")
    extents = fields.sequence(input_shape, "input_shape", longest=3, of="positive integers")
    shape = tuple(fields.integer(extent, f"input_shape[{axis}]", minimum=1) for axis, extent in enumerate(extents))
    if len(shape) == 2:
        raise InputError(f"input_shape: found {shape}; (features,) or (channels, height, width) is accepted")
    program = _exported(module, fields.bounded(shape, "an input"))
    calls, input_name, output = _calls(program, module)
    graph, arrays = read_calls(calls, input_name=input_name, input_shape=shape, output=output, batch=BATCH)
    recognised = recognise(graph)
    architecture = described(name or type(module).__name__, shape, recognised.layers, loss)
    return architecture, recognised, arrays


def _exported(module: Any, shape: Shape) -> Any:
    """Trace a module in evaluation mode, with mutations of values written as new values."""
    import torch

    floating = [parameter for parameter in module.parameters() if parameter.is_floating_point()]
    kind = {"dtype": floating[0].dtype, "device": floating[0].device} if floating else {}
    modes = {part: part.training for part in module.modules()}
    silenced = logging.root.manager.disable
    try:
        module.eval()
        logging.disable(logging.CRITICAL)  # the tracer logs what it raises
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.export.export(module, (torch.zeros(BATCH, *shape, **kind),))
            nodes = [node for node in program.graph.nodes if node.op == "call_function"]
            if any(getattr(getattr(node.target, "_schema", None), "is_mutable", False) for node in nodes):
                program = program.run_decompositions({})
    except Exception as error:  # whatever user code and PyTorch's tracer raise
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise UnsupportedError(
            f"module {type(module).__name__}: found something that torch.export cannot trace for samples of shape "
            f"{shape} ({fields.shown(reason)}); a module that it can trace is accepted"
        ) from None
    finally:
        logging.disable(silenced)
        for part, mode in modes.items():
            part.training = mode
    return program


def _calls(program: Any, module: Any) -> tuple[tuple[Call, ...], str, str]:
    """Write a traced module as plain data: the calls, the name of the input and that of the output."""
    signature = program.graph_signature
    for what, found in (("input", signature.user_inputs), ("output", signature.user_outputs)):
        if len(found) != 1 or not isinstance(found[0], str):
            raise UnsupportedError(f"module: found {len(found)} {what}s; exactly one tensor is accepted")
    first: dict[int, str] = {}
    names = {
        name: first.setdefault(id(tensor), name)
        for name, tensor in [
            *module.named_parameters(remove_duplicate=False),
            *module.named_buffers(remove_duplicate=False),
        ]
    }
    sources = signature.inputs_to_parameters | signature.inputs_to_buffers
    values: dict[str, Any] = {}
    calls = []
    for node in program.graph.nodes:
        shape = tuple(getattr(node.meta.get("val"), "shape", ()))
        if node.op == "placeholder":
            if node.name in sources:
                source = sources[node.name]
                values[node.name] = Array(names.get(source, source), shape)
            elif node.name in signature.inputs_to_lifted_tensor_constants:
                constant = program.constants[signature.inputs_to_lifted_tensor_constants[node.name]]
                values[node.name] = Array("", shape, number=float(constant) if constant.numel() == 1 else None)
        elif node.op == "call_function":
            calls.append(_call(node, values))
    return tuple(calls), signature.user_inputs[0], signature.user_outputs[0]


def _call(node: Any, values: dict[str, Any]) -> Call:
    from torch.fx import Node

    def plain(value: Any) -> Any:
        if isinstance(value, Node):
            return values.get(value.name, Value(value.name))
        return [plain(entry) for entry in value] if isinstance(value, list | tuple) else value

    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = stack[-1][0] if stack else ""
    schema = getattr(node.target, "_schema", None)
    operator = node.target.__name__ if schema is None else schema.name.rpartition(":")[2]
    where = f"module {path!r} ({operator})" if path else f"the module itself ({operator})"
    shape = tuple(getattr(node.meta.get("val"), "shape", ()))
    if schema is None:
        arguments = dict(zip(("input", "index"), node.args, strict=False))
    else:
        declared = schema.arguments
        arguments = {argument.name: argument.default_value for argument in declared if argument.has_default_value()}
        arguments |= {argument.name: value for argument, value in zip(declared, node.args, strict=False)}
        arguments |= node.kwargs
    value = node.meta.get("val")
    if isinstance(value, list | tuple):  # of several results, the first is the one that getitem may take
        shape = tuple(value[0].shape)
    call = Call(node.name, operator, where, {name: plain(argument) for name, argument in arguments.items()}, shape)
    if schema is not None and schema.name.partition(":")[0] != "aten":
        call = dataclasses.replace(call, operator=schema.name)
    return call
