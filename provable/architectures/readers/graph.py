"""A network as a graph of steps: what the readers of foreign formats produce and the recogniser of layers consumes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from provable.architectures.fields import Pair, Shape
from provable.architectures.layers import Layer

MOST_STEPS = 2**13
"""Steps of one graph, at most."""


@dataclass(frozen=True)
class Scalar:
    """An operation on every entry for itself.

    Parameters
    ----------
    operation : str
        A name of `provable.architectures.readers.expressions.OPERATIONS`.
    operands : tuple of str or float
        Names of values and constants, in the operation's order.
    """

    operation: str
    operands: tuple[str | float, ...]


@dataclass(frozen=True)
class AddedBias:
    """One constant for every feature, or every channel, is added."""


@dataclass(frozen=True)
class Padded:
    """A margin of constant entries is put around the height and the width.

    Parameters
    ----------
    padding : tuple of two int
        Entries above and below, left and right.
    value : float
        The constant.
    """

    padding: Pair
    value: float


@dataclass(frozen=True)
class Unchanged:
    """The value is passed on: identity, dropout in evaluation mode, a reshape that changes nothing."""


Action = Layer | Scalar | AddedBias | Padded | Unchanged


@dataclass(frozen=True)
class Step:
    """One operation of a graph.

    Parameters
    ----------
    output : str
        The name of the value it computes.
    inputs : tuple of str
        The values that it needs and that depend on the network's input.
    where : str
        How messages call it.
    action : Layer, Scalar, AddedBias, Padded or Unchanged
        What it does.
    parameters : mapping of str to str
        ``"weight"`` and ``"bias"`` to the names of the arrays in the source.
    """

    output: str
    inputs: tuple[str, ...]
    where: str
    action: Action
    parameters: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """Steps in an order in which they can be carried out.

    Parameters
    ----------
    input : str
        The name of the network's input.
    input_shape : tuple of int
        Shape of one sample.
    output : str
        The name of the network's output.
    steps : tuple of Step
        Every step after those whose values it needs; each value is computed once.
    """

    input: str
    input_shape: Shape
    output: str
    steps: tuple[Step, ...]
