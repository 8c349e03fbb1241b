"""From PyTorch's operators to a graph of steps; the calls are plain data, so that nothing here needs PyTorch."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from provable.architectures import fields
from provable.architectures.fields import Shape
from provable.architectures.layers import Layer, chain_shapes
from provable.architectures.readers.graph import Action, Step
from provable.errors import InputError, UnsupportedError


@dataclass(frozen=True)
class Value:
    """A reference to the result of another call, or to the network's input.

    Parameters
    ----------
    name : str
        Its name in the graph.
    """

    name: str


@dataclass(frozen=True)
class Array:
    """A parameter, a buffer or a constant of the module.

    Parameters
    ----------
    name : str
        Its name in the module.
    shape : tuple of int
        Its shape here, after transposition.
    number : float, optional
        Its value if it has one entry.
    axes : tuple of int, optional
        How the axes of the module's array are permuted.
    """

    name: str
    shape: Shape
    number: float | None = None
    axes: tuple[int, ...] | None = None


@dataclass(frozen=True)
class Call:
    """One call of an operator.

    Parameters
    ----------
    name : str
        The name of its result.
    operator : str
        Such as ``"conv2d"``, without library and overload.
    where : str
        How messages call it: with the module that makes it.
    arguments : mapping of str to object
        By the names in the operator's schema, defaults included; tensors are `Value` or `Array`.
    shape : tuple of int
        Shape of the result, batch axis included.
    """

    name: str
    operator: str
    where: str
    arguments: Mapping[str, Any]
    shape: Shape

    def only(self, name: str, accepted: tuple[Any, ...]) -> Any:
        """Look up an argument of which the description can express some values only.

        Parameters
        ----------
        name : str
            The argument.
        accepted : tuple
            The values that can be expressed.

        Returns
        -------
        object
            Its value.

        Raises
        ------
        UnsupportedError
            For any other value.
        """
        value = self.arguments.get(name, accepted[0])
        value = list(value) if isinstance(value, tuple) else value
        if value not in accepted:
            choices = " or ".join(fields.shown(choice) for choice in accepted)
            raise UnsupportedError(f"{self.where}: {name}: found {fields.shown(value)}; {choices} is accepted")
        return value


class TorchGraph:
    """A graph of calls while it is being read, one call after the other.

    Parameters
    ----------
    input_name : str
        The name of the network's input.
    input_shape : tuple of int
        Shape of one sample.
    batch : int
        The number of samples with which the shapes were found.
    """

    def __init__(self, input_name: str, input_shape: Shape, batch: int) -> None:
        self.batch = batch
        self.shapes: dict[str, Shape] = {input_name: input_shape}
        self.steps: dict[str, Step] = {}
        self.arrays: dict[str, Array] = {}  # by the name of the result of a call
        self.parameters: dict[str, Array] = {}  # by their name in the module
        self.users: dict[str, str] = {}

    def resolve(self, value: Any) -> Any:
        """Follow a reference to an array that a call has transposed or passed on.

        Parameters
        ----------
        value : object
            An argument.

        Returns
        -------
        object
            The array, or the argument as it is.
        """
        return self.arrays.get(value.name, value) if isinstance(value, Value) else value

    def entries(self, call: Call, argument: str = "input") -> Shape:
        """Look up an argument that must depend on the network's input.

        Parameters
        ----------
        call : Call
            The call.
        argument : str
            The argument's name; ``"self"`` will do for ``"input"``.

        Returns
        -------
        tuple of int
            Shape of one sample.

        Raises
        ------
        UnsupportedError
            If it is an array of the module.
        """
        value = self.resolve(call.arguments.get(argument, call.arguments.get("self")))
        if not isinstance(value, Value) or value.name not in self.shapes:
            raise UnsupportedError(
                f"{call.where}: {argument}: found an array of the module; a value that depends on the input is accepted"
            )
        return self.shapes[value.name]

    def array(self, call: Call, argument: str) -> Array | None:
        """Look up an argument that must be an array of the module.

        Parameters
        ----------
        call : Call
            The call.
        argument : str
            The argument's name.

        Returns
        -------
        Array or None
            The array; None if there is none.

        Raises
        ------
        UnsupportedError
            If it depends on the network's input.
        """
        value = self.resolve(call.arguments.get(argument))
        if value is not None and not isinstance(value, Array):
            raise UnsupportedError(
                f"{call.where}: {argument}: found a value that depends on the input; a parameter is accepted"
            )
        return value

    def emit(self, call: Call, action: Action, shape: Shape, **parameters: Array) -> None:
        """Append a step.

        Parameters
        ----------
        call : Call
            Where it comes from; its arguments that depend on the network's input are the step's inputs.
        action : Layer or other action
            What the step does.
        shape : tuple of int
            Shape of one sample of the result.
        **parameters : Array
            ``weight`` and ``bias`` in the shapes of the description.

        Raises
        ------
        UnsupportedError
            If a parameter is used a second time, or the result has another shape than the description says.
        """
        if call.shape != (self.batch, *shape):
            raise UnsupportedError(
                f"{call.where}: found a result of shape {call.shape} where a layer gives {(self.batch, *shape)} for "
                f"{self.batch} samples; layers that treat every sample for itself are accepted"
            )
        for array in parameters.values():
            if array.name in self.users:
                raise UnsupportedError(
                    f"{call.where}: found the parameter {array.name[:60]!r}, which {self.users[array.name]} uses as well; "
                    "layers with parameters of their own are accepted"
                )
            self.users[array.name] = call.where
            self.parameters[array.name] = array
        given = [self.resolve(value) for value in call.arguments.values()]
        inputs = tuple(value.name for value in given if isinstance(value, Value))
        names = {key: array.name for key, array in parameters.items()}
        self.shapes[call.name] = shape
        self.steps[call.name] = Step(call.name, inputs, call.where, action, names)

    def emit_layer(self, call: Call, layer: Layer, **parameters: Array) -> None:
        """Append a step that is a layer, and check that it accepts its input.

        Parameters
        ----------
        call : Call
            Where it comes from.
        layer : Layer
            The layer.
        **parameters : Array
            ``weight`` and ``bias``.

        Raises
        ------
        InputError
            If the layer does not accept its input.
        """
        try:
            after = chain_shapes((layer,), self.entries(call))[-1]
        except InputError as error:
            raise InputError(f"{call.where}: {str(error).partition(': ')[2]}") from None
        self.emit(call, layer, after, **parameters)

    def rearrange(self, call: Call, array: Array, axes: tuple[int, ...]) -> None:
        """Permute the axes of an array of the module.

        Parameters
        ----------
        call : Call
            Whose result it is.
        array : Array
            The array.
        axes : tuple of int
            The new order.
        """
        known = axes if array.axes is None else tuple(array.axes[axis] for axis in axes)
        shape = tuple(array.shape[axis] for axis in axes)
        self.arrays[call.name] = dataclasses.replace(array, shape=shape, axes=known)
