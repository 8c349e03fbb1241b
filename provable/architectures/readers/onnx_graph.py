"""From an ONNX model to a graph of steps: names, shapes and constants; what each operator means is told elsewhere."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.architectures import fields
from provable.architectures.fields import Shape
from provable.architectures.layers import Layer, chain_shapes
from provable.architectures.readers.graph import Action, Step
from provable.architectures.readers.onnx_node import Node, decimal
from provable.architectures.readers.onnx_values import BATCH, Constant, fold, from_tensor
from provable.errors import InputError, UnsupportedError

OLDEST_OPERATORS = 7
"""The first version of ONNX's operator set whose operators broadcast as today's do."""

_FLOATS = (1, 10, 11, 16)  # float32, float16, float64, bfloat16


@dataclass(frozen=True)
class Entries:
    """A value that depends on the network's input.

    Parameters
    ----------
    shape : tuple of int
        Shape of one sample.
    """

    shape: Shape


class OnnxGraph:
    """An ONNX graph while it is being read, one node after the other.

    Parameters
    ----------
    model : onnx.ModelProto
        The parsed model.

    Raises
    ------
    InputError
        If there is not exactly one input and one output, or the input's shape is not known.
    UnsupportedError
        If the operators are of a version that is not known.
    """

    def __init__(self, model: Any) -> None:
        from onnx import defs

        version = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
        newest = defs.onnx_opset_version()
        if not OLDEST_OPERATORS <= version <= newest:
            raise UnsupportedError(
                f"opset_import: found version {version} of the operators; {OLDEST_OPERATORS} to {newest} are accepted"
            )
        self.values: dict[str, Entries | Constant] = {}
        self.steps: dict[str, Step] = {}
        self.arrays: dict[str, Constant] = {}
        graph = model.graph
        for tensor in graph.initializer:
            self._define(tensor.name, from_tensor(tensor, tensor.name))
        given = [value for value in graph.input if value.name not in self.values]
        for what, found in (("input", given), ("output", list(graph.output))):
            if len(found) != 1:
                names = fields.shown([value.name for value in found])
                raise UnsupportedError(f"graph: found {len(found)} {what}s {names}; exactly one {what} is accepted")
        self.input, self.output = given[0].name, graph.output[0].name
        self.batch, shape = _input_shape(given[0])
        self._define(self.input, Entries(shape))
        self.input_shape = shape

    def _define(self, name: str, value: Entries | Constant) -> None:
        if not name or name in self.values:
            raise InputError(
                f"graph: found the value {fields.shown(name)} defined twice or without a name; once is accepted"
            )
        self.values[name] = value

    def value(self, node: Node, index: int) -> Entries | Constant | None:
        """Look up an input of a node.

        Parameters
        ----------
        node : Node
            The node.
        index : int
            Which input.

        Returns
        -------
        Entries, Constant or None
            The value; None if it was left out.
        """
        name = node.inputs[index] if index < len(node.inputs) else ""
        return self.values[name] if name else None

    def entries(self, node: Node, index: int = 0) -> Shape:
        """Look up an input that must depend on the network's input.

        Parameters
        ----------
        node : Node
            The node.
        index : int
            Which input.

        Returns
        -------
        tuple of int
            Shape of one sample.

        Raises
        ------
        UnsupportedError
            If it is a constant or left out.
        """
        value = self.value(node, index)
        if not isinstance(value, Entries):
            raise UnsupportedError(
                f"{node.where}: found a constant as input {index}; a value that depends on the network's input is accepted"
            )
        return value.shape

    def constant(self, node: Node, index: int) -> Constant | None:
        """Look up an input that must not depend on the network's input.

        Parameters
        ----------
        node : Node
            The node.
        index : int
            Which input.

        Returns
        -------
        Constant or None
            The constant; None if it was left out.

        Raises
        ------
        UnsupportedError
            If it depends on the network's input.
        """
        value = self.value(node, index)
        if isinstance(value, Entries):
            raise UnsupportedError(
                f"{node.where}: found an input {index} that depends on the network's input; a constant is accepted"
            )
        return value

    def required(self, node: Node, index: int) -> Constant:
        """Look up a constant that must be there.

        Parameters
        ----------
        node : Node
            The node.
        index : int
            Which input.

        Returns
        -------
        Constant
            The constant.

        Raises
        ------
        InputError
            If it was left out.
        """
        value = self.constant(node, index)
        if value is None:
            raise InputError(f"{node.where}: found no input {index}; a constant is accepted")
        return value

    def emit(self, node: Node, action: Action, shape: Shape, **parameters: Constant) -> None:
        """Append a step.

        Parameters
        ----------
        node : Node
            Where it comes from; its inputs that are no constants are the step's.
        action : Layer or other action
            What the step does.
        shape : tuple of int
            Shape of one sample of the result.
        **parameters : Constant
            ``weight`` and ``bias`` in the shapes of the description.
        """
        inputs = tuple(name for name in node.inputs if isinstance(self.values.get(name), Entries))
        for constant in parameters.values():
            self.arrays[constant.name] = constant
        names = {key: constant.name for key, constant in parameters.items()}
        name = node.outputs[0]
        self._define(name, Entries(shape))
        self.steps[name] = Step(name, inputs, node.where, action, names)

    def emit_layer(self, node: Node, layer: Layer, **parameters: Constant) -> None:
        """Append a step that is a layer, and check that it accepts its input.

        Parameters
        ----------
        node : Node
            Where it comes from; its first input is the layer's.
        layer : Layer
            The layer.
        **parameters : Constant
            ``weight`` and ``bias``.

        Raises
        ------
        InputError
            If the shapes of input, layer and parameters do not fit.
        """
        before = self.entries(node)
        try:
            after = chain_shapes((layer,), before)[-1]
        except InputError as error:
            raise InputError(f"{node.where}: {str(error).partition(': ')[2]}") from None
        for name, shape in layer.parameter_shapes(before).items():
            if parameters[name].shape != shape:
                raise InputError(f"{node.where}: found a {name} of shape {parameters[name].shape}; {shape} is accepted")
        self.emit(node, layer, after, **parameters)

    def compute(self, node: Node) -> None:
        """Compute a constant of a node whose inputs are constants.

        Parameters
        ----------
        node : Node
            The node.

        Raises
        ------
        InputError
            If the node or its inputs do not fit the operator.
        UnsupportedError
            If a constant holds no numbers, or the operator is none that exporters write between constants.
        """
        name = node.outputs[0]
        if node.operator == "Constant":
            if len(node.attributes) != 1:
                raise InputError(
                    f"{node.where}: found {len(node.attributes)} attributes; exactly one value is accepted"
                )
            ((kind, value),) = node.attributes.items()
            if kind == "value" and hasattr(value, "data_type"):
                self._define(name, from_tensor(value, name))
            elif kind in ("value_float", "value_floats", "value_int", "value_ints"):
                try:
                    array = np.asarray(value, dtype=np.float32 if "float" in kind else np.int64)
                except (ValueError, TypeError, OverflowError):
                    shown = fields.shown(value)
                    raise InputError(f"{node.where}: {kind}: found {shown}; what the name says is accepted") from None
                self._define(name, Constant(name, array.shape, array=array))
            else:
                raise UnsupportedError(f"{node.where}: found the attribute {fields.shown(kind)}; numbers are accepted")
            return
        kept = node.inputs[:1] if node.operator == "CastLike" else node.inputs  # the other input only gives the type
        given = [self.constant(node, index) for index in range(len(kept))]
        self._define(name, fold(node.operator, node.attributes, given, name, node.where))

    def define_sizes(self, node: Node) -> None:
        """Make the extents of a value available as a constant.

        Parameters
        ----------
        node : Node
            A node of the operator Shape.
        """
        sizes = np.array([BATCH, *self.entries(node)], dtype=object)
        start, end = node.take("start", 0), node.take("end", len(sizes))
        name = node.outputs[0]
        self._define(name, Constant(name, sizes[start:end].shape, array=sizes[start:end]))

    def number(self, constant: Constant, node: Node) -> float:
        """Read a constant with one entry.

        Parameters
        ----------
        constant : Constant
            The constant, of one entry.
        node : Node
            Who needs it.

        Returns
        -------
        float
            The shortest decimal that is stored so.

        Raises
        ------
        UnsupportedError
            If it is no number, or more than one.
        """
        array = constant.small(node.where).reshape(-1)
        entry = array[0] if array.size == 1 else array
        if not isinstance(entry, np.number):
            raise UnsupportedError(f"{node.where}: found the constant {fields.shown(entry)}; a number is accepted")
        return decimal(entry)


def _input_shape(value: Any) -> tuple[int | None, Shape]:
    """Return the batch size, if it is fixed, and the shape of one sample."""
    where = f"input {fields.shown(value.name)}"
    tensor = value.type.tensor_type
    if not value.type.HasField("tensor_type") or tensor.elem_type not in _FLOATS:
        raise InputError(f"{where}: found another type than an array of floating-point numbers; one is accepted")
    dimensions = list(tensor.shape.dim) if tensor.HasField("shape") else []
    if len(dimensions) not in (2, 4):
        raise InputError(
            f"{where}: found {len(dimensions)} axes; (batch, features) or (batch, channels, height, width) are accepted"
        )
    extents: list[int] = []
    for axis, dimension in enumerate(dimensions[1:], start=1):
        if not dimension.HasField("dim_value"):
            raise InputError(
                f"{where}: found the symbolic extent {fields.shown(dimension.dim_param)} of axis {axis}; "
                "only the batch axis may be symbolic: export the model with a fixed size"
            )
        extents.append(fields.integer(dimension.dim_value, f"{where}, axis {axis}", minimum=1))
    batch = dimensions[0].dim_value if dimensions[0].HasField("dim_value") else None
    return batch, fields.bounded(tuple(extents), "an input")
