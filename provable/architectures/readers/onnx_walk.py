"""A walk through the nodes of an ONNX model that its output needs, operator by operator."""

from __future__ import annotations

from typing import Any

from provable.architectures import fields
from provable.architectures.readers.graph import Graph
from provable.architectures.readers.onnx_graph import Entries, OnnxGraph
from provable.architectures.readers.onnx_node import Node, read_node
from provable.architectures.readers.onnx_operators import OPERATORS
from provable.architectures.readers.onnx_values import Constant
from provable.errors import InputError, UnsupportedError

MOST_NODES = 2**15
"""Nodes that the output needs, those between constants included, at most."""


def read_graph(model: Any) -> tuple[Graph, dict[str, Constant]]:
    """Read the graph of a model.

    Parameters
    ----------
    model : onnx.ModelProto
        The parsed model.

    Returns
    -------
    graph : Graph
        The steps that the output needs.
    arrays : dict of str to Constant
        The parameters by their name in the file.

    Raises
    ------
    InputError
        If the graph is no ONNX graph, or shapes do not fit.
    UnsupportedError
        For an operator or an attribute that the description cannot express; the message names the node.
    """
    reader = OnnxGraph(model)
    for node in _needed(model.graph, reader.output):
        for name in node.inputs:
            if name and name not in reader.values:
                raise InputError(
                    f"{node.where}: found the input {fields.shown(name)}, which no node before it computes; "
                    "nodes in order are accepted"
                )
        if not any(isinstance(reader.values.get(name), Entries) for name in node.inputs if name):
            reader.compute(node)
            continue
        if node.operator not in OPERATORS:
            raise UnsupportedError(f"{node.where}: found an unknown operator; {', '.join(OPERATORS)} are accepted")
        OPERATORS[node.operator](reader, node)
        node.finish()
    if not isinstance(reader.values.get(reader.output), Entries):
        raise InputError("graph: found an output that does not depend on the input; a network of layers is accepted")
    return Graph(reader.input, reader.input_shape, reader.output, tuple(reader.steps.values())), reader.arrays


def _needed(graph: Any, output: str) -> list[Node]:
    """Read the nodes that the output needs, in the graph's order."""
    needed = {output}
    nodes: list[Node] = []
    for proto in reversed(graph.node):
        if needed.intersection(proto.output):
            needed.update(proto.input)
            if len(nodes) == MOST_NODES:
                raise InputError(f"graph: found more than {MOST_NODES} nodes; fewer are accepted")
            node = read_node(proto)
            if not needed.intersection(proto.output[:1]):
                raise UnsupportedError(
                    f"{node.where}: found a use of another output than its first; only that is accepted"
                )
            nodes.append(node)
    return nodes[::-1]
