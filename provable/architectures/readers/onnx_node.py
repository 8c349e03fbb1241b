"""One node of an ONNX graph, read strictly: an attribute that nobody asked for is refused."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from provable.architectures import fields
from provable.errors import InputError, UnsupportedError


def decimal(value: Any) -> float:
    """Read a stored number as the shortest decimal that is stored so.

    Parameters
    ----------
    value : float or NumPy scalar
        A Python float holds a number that was stored as float32, as attributes of ONNX are.

    Returns
    -------
    float
        0.2 for the float32 next to 0.2; a float64 as it is.
    """
    single = np.float32(value) if isinstance(value, float) and not isinstance(value, np.float64) else value
    return float(str(single))


@dataclass
class Node:
    """A node whose attributes are taken out one by one.

    Parameters
    ----------
    where : str
        How messages call it.
    operator : str
        The name of its operator.
    inputs, outputs : tuple of str
        Names of values; an empty name stands for one left out.
    attributes : dict of str to object
        Those not yet asked for.
    """

    where: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any] = field(default_factory=dict)

    def take(self, name: str, default: Any = None) -> Any:
        """Take an attribute out.

        Parameters
        ----------
        name : str
            The attribute.
        default : object
            What is meant if it is not there.

        Returns
        -------
        object
            Its value: an integer, a float, a text, a list of such, or a tensor.

        Raises
        ------
        InputError
            If its type is another than the default's.
        """
        value = self.attributes.pop(name, default)
        if default is not None and type(value) is not type(default):
            raise InputError(
                f"{self.where}: {name}: found {fields.shown(value)}; a value like {fields.shown(default)} is accepted"
            )
        return value

    def integers(self, name: str) -> list[int] | None:
        """Take an attribute out that is a list of integers.

        Parameters
        ----------
        name : str
            The attribute.

        Returns
        -------
        list of int or None
            Its value; None if it is not there.

        Raises
        ------
        InputError
            If it is anything else.
        """
        value = self.attributes.pop(name, None)
        if value is not None and not (isinstance(value, list) and all(isinstance(entry, int) for entry in value)):
            raise InputError(f"{self.where}: {name}: found {fields.shown(value)}; a list of integers is accepted")
        return value

    def only(self, name: str, default: Any, accepted: tuple[Any, ...]) -> Any:
        """Take an attribute out of which the description can express some values only.

        Parameters
        ----------
        name : str
            The attribute.
        default : object
            What is meant if it is not there.
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
        value = self.take(name, default)
        if value not in accepted:
            choices = " or ".join(fields.shown(choice) for choice in accepted)
            raise UnsupportedError(f"{self.where}: {name}: found {fields.shown(value)}; {choices} is accepted")
        return value

    def finish(self) -> None:
        """Check that every attribute was asked for.

        Raises
        ------
        UnsupportedError
            If one was not.
        """
        for name, value in self.attributes.items():
            found = f"{fields.shown(name)} = {fields.shown(value)}"
            raise UnsupportedError(f"{self.where}: found the attribute {found}; none of that name is accepted")


def read_node(proto: Any) -> Node:
    """Read a node.

    Parameters
    ----------
    proto : onnx.NodeProto
        The node.

    Returns
    -------
    Node
        The node, its attributes not yet checked.

    Raises
    ------
    UnsupportedError
        If it is of an operator set of its own, or contains a graph.
    InputError
        If an attribute occurs twice or is malformed.
    """
    name = proto.name or next(iter(proto.output), "")
    operator = proto.op_type if proto.op_type.isidentifier() else fields.shown(proto.op_type)
    where = f"node {fields.shown(name)} ({operator[:60]})"
    if proto.domain not in ("", "ai.onnx"):
        raise UnsupportedError(
            f"{where}: found an operator of the domain {fields.shown(proto.domain)}; ONNX's own operators are accepted"
        )
    attributes: dict[str, Any] = {}
    for attribute in proto.attribute:
        shown = fields.shown(attribute.name)
        if attribute.name in attributes:
            raise InputError(f"{where}: found the attribute {shown} twice; once is accepted")
        kind = attribute.type
        if kind in (5, 10):
            raise UnsupportedError(
                f"{where}: {shown}: found a graph inside a node; a graph without loops and branches is accepted"
            )
        if attribute.ref_attr_name or kind not in (1, 2, 3, 4, 6, 7, 8):
            raise UnsupportedError(
                f"{where}: {shown}: found an attribute of type {kind}; numbers and texts are accepted"
            )
        if kind == 3:
            value: Any = attribute.s.decode("utf-8", "replace")
        elif kind in (6, 7, 8):
            value = list({6: attribute.floats, 7: attribute.ints, 8: attribute.strings}[kind])
        else:
            value = {1: attribute.f, 2: attribute.i, 4: attribute.t}[kind]
        attributes[attribute.name] = value
    return Node(where, proto.op_type, tuple(proto.input), tuple(proto.output), attributes)
