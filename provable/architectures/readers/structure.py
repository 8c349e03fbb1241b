"""Recognising chains of layers and residual blocks in the graph of a network.

A value dominates another if every way from the network's input to the second goes through the first. The values that
dominate the output, in order, cut the network into segments. A segment of operations on single entries is an
activation if its expression is one. A segment that ends in the sum of two values is a residual block: the two ways
from the segment's beginning to the summands are chains of their own, the first summand's being ``layers``.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from provable.architectures.activations import Activation, Identity
from provable.architectures.images import AvgPool2d, Conv2d, MaxPool2d
from provable.architectures.layers import DEEPEST_NESTING, MOST_LAYERS, Layer, Linear, Residual
from provable.architectures.readers.expressions import X, activation_of, evaluate, number
from provable.architectures.readers.graph import MOST_STEPS, AddedBias, Graph, Padded, Scalar, Step, Unchanged
from provable.errors import InputError, UnsupportedError

LONGEST_PATTERN = 8
"""Segments that together may make one activation, at most."""

LARGEST_PATTERN = 48
"""Steps that together may make one activation, at most."""


@dataclass(frozen=True)
class Recognised:
    """The layers of a graph.

    Parameters
    ----------
    layers : tuple of Layer
        The layers, as in an architecture.
    parameters : dict of str to str
        The architecture's names of the parameters, such as ``"3.1/weight"``, to the names in the source.
    """

    layers: tuple[Layer, ...]
    parameters: dict[str, str]


def recognise(graph: Graph) -> Recognised:
    """Find the layers of a graph.

    Parameters
    ----------
    graph : Graph
        The steps; those that the output does not need are left aside.

    Returns
    -------
    Recognised
        Layers and where their parameters are in the source.

    Raises
    ------
    InputError
        If the output does not depend on the input, or there are too many steps.
    UnsupportedError
        If the graph is no chain of layers and residual blocks, or two layers share an array; the message names the
        step.
    """
    if len(graph.steps) > MOST_STEPS:
        raise InputError(f"graph: found {len(graph.steps)} operations; at most {MOST_STEPS} are accepted")
    recogniser = _Recogniser(graph)
    layers = recogniser.chain(graph.input, graph.output, "", 0)
    return Recognised(tuple(layers), recogniser.parameters)


class _Recogniser:
    def __init__(self, graph: Graph) -> None:
        self.steps = {step.output: step for step in graph.steps}
        self.order = {step.output: index for index, step in enumerate(graph.steps)}
        self.dominator: dict[str, str] = {}
        self.parameters: dict[str, str] = {}
        self.claimed: set[str] = set()
        self.users: dict[str, str] = {}
        self._find_dominators(graph)
        if graph.output not in self.dominator:
            raise InputError(
                "graph: found an output that does not depend on the input; a network of layers is accepted"
            )

    def _find_dominators(self, graph: Graph) -> None:
        depth = {graph.input: 0}
        for step in graph.steps:
            common, *others = step.inputs
            for other in others:
                while common != other:
                    if depth[common] >= depth[other]:
                        common = self.dominator[common]
                    else:
                        other = self.dominator[other]
            self.dominator[step.output] = common
            depth[step.output] = depth[common] + 1

    def chain(self, source: str, target: str, prefix: str, nesting: int) -> list[Layer]:
        path = [target]
        while path[-1] != source:
            path.append(self.dominator[path[-1]])
        path.reverse()
        layers: list[Layer] = []
        margin: Step | None = None
        position = 0
        while position < len(path) - 1:
            if len(layers) > MOST_LAYERS:
                raise InputError(f"graph: found more than {MOST_LAYERS} layers in a row; fewer are accepted")
            step = self.steps[path[position + 1]]
            if margin is not None and not isinstance(step.action, Unchanged | AvgPool2d | Conv2d | MaxPool2d):
                break
            length = 0 if margin is not None else self._activation(path, position, layers)
            if length:
                position += length
                continue
            self._claim(step)
            position += 1
            if isinstance(step.action, Padded):
                margin = step
            elif isinstance(step.action, AddedBias):
                self._add_bias(step, layers, prefix)
            elif isinstance(step.action, Layer):
                self._keep_parameters(step, f"{prefix}{len(layers)}")
                layers.append(step.action if margin is None else _widened(step, margin))
                margin = None
            elif isinstance(step.action, Scalar):
                layers.append(self._block(step, f"{prefix}{len(layers)}.", nesting))
        if margin is not None:
            raise UnsupportedError(f"{margin.where}: found a padding of its own; one before a convolution is accepted")
        return layers

    def _activation(self, path: list[str], position: int, layers: list[Layer]) -> int:
        """Append the activation made of the most segments, if there is one, and return their number."""
        source = path[position]
        for end in range(min(position + LONGEST_PATTERN, len(path) - 1), position, -1):
            # every composite activation ends with an operation of its own, not with another activation
            if end > position + 1 and not isinstance(self.steps[path[end]].action, Scalar):
                continue
            region = self._region(source, path[end])
            if region is None:
                continue
            expressions = {source: X}
            for step in region:
                operation: str | Activation = Identity()
                operands: tuple[str | float, ...] = step.inputs
                if isinstance(step.action, Scalar):
                    operation, operands = step.action.operation, step.action.operands
                elif isinstance(step.action, Activation):
                    operation = step.action
                known = [expressions.get(name) if isinstance(name, str) else number(name) for name in operands]
                given = [operand for operand in known if operand is not None]
                result = evaluate(operation, given) if len(given) == len(known) else None
                if result is not None:
                    expressions[step.output] = result
            if path[end] not in expressions:
                continue
            activation = activation_of(expressions[path[end]])
            if activation is not None:
                for step in region:
                    self._claim(step)
                if not isinstance(activation, Identity):
                    layers.append(activation)
                return end - position
        return 0

    def _region(self, source: str, target: str) -> list[Step] | None:
        """List the steps between two values, in order, if all of them work on single entries and they are few."""
        found: set[str] = set()
        waiting = [target]
        while waiting:
            name = waiting.pop()
            if name == source or name in found:
                continue
            step = self.steps[name]
            if not isinstance(step.action, Scalar | Activation | Unchanged) or len(found) == LARGEST_PATTERN:
                return None
            found.add(name)
            waiting += step.inputs
        return [self.steps[name] for name in sorted(found, key=self.order.__getitem__)]

    def _block(self, step: Step, prefix: str, nesting: int) -> Layer:
        scalar = step.action
        if not isinstance(scalar, Scalar) or scalar.operation != "add" or len(step.inputs) != 2:
            raise UnsupportedError(
                f"{step.where}: found an operation on every entry that makes no activation known here; the activations "
                "of provable-architecture/1, polynomials and sums of two branches are accepted"
            )
        if nesting == DEEPEST_NESTING:
            raise UnsupportedError(
                f"{step.where}: found residual blocks nested deeper than {DEEPEST_NESTING}; fewer are accepted"
            )
        source = self.dominator[step.output]
        first, second = (self._unchanged(name, source) for name in step.inputs)
        if first == source:
            first, second = second, first
        layers = self.chain(source, first, prefix, nesting + 1)
        shortcut = self.chain(source, second, f"{prefix}shortcut.", nesting + 1)
        if not layers:
            raise UnsupportedError(f"{step.where}: found a sum of two empty branches; a residual block is accepted")
        return Residual(tuple(layers), tuple(shortcut))

    def _unchanged(self, name: str, source: str) -> str:
        """Go back over steps that change nothing, but not beyond the source."""
        while name != source and isinstance(self.steps[name].action, Unchanged):
            self._claim(self.steps[name])
            name = self.steps[name].inputs[0]
        return name

    def _claim(self, step: Step) -> None:
        if step.output in self.claimed:
            raise UnsupportedError(
                f"{step.where}: found a value that is used by several branches; "
                "residual blocks whose two branches share only their input are accepted"
            )
        self.claimed.add(step.output)

    def _keep_parameters(self, step: Step, layer: str) -> None:
        for name, source in step.parameters.items():
            # Exporters merge equal vectors, such as zero biases, but matrices are equal only if they are shared.
            if name == "weight" and isinstance(step.action, Linear | Conv2d):
                if source in self.users:
                    raise UnsupportedError(
                        f"{step.where}: found the weight {source[:60]!r}, which {self.users[source]} uses as well; "
                        "layers with weights of their own are accepted"
                    )
                self.users[source] = step.where
            self.parameters[f"{layer}/{name}"] = source

    def _add_bias(self, step: Step, layers: list[Layer], prefix: str) -> None:
        last = layers[-1] if layers else None
        if not isinstance(last, Linear | Conv2d) or last.bias:
            raise UnsupportedError(
                f"{step.where}: found the sum with an array of constants; "
                "one right after a linear layer or convolution without bias is accepted"
            )
        layers[-1] = dataclasses.replace(last, bias=True)
        self.parameters[f"{prefix}{len(layers) - 1}/bias"] = step.parameters["bias"]


def _widened(step: Step, margin: Step) -> Layer:
    """Return the layer with the padding before it taken in."""
    layer, padded = step.action, margin.action
    assert isinstance(padded, Padded) and isinstance(layer, AvgPool2d | Conv2d | MaxPool2d)
    wanted = float("-inf") if isinstance(layer, MaxPool2d) else 0.0
    if padded.value != wanted:
        raise UnsupportedError(
            f"{margin.where}: found a padding with {padded.value} before {step.where}; {wanted} is accepted"
        )
    padding = (layer.padding[0] + padded.padding[0], layer.padding[1] + padded.padding[1])
    try:
        return dataclasses.replace(layer, padding=padding)
    except InputError as error:
        raise UnsupportedError(f"{step.where}: {error}") from None
