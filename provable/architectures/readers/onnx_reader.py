"""Reading architectures, and parameters, from ONNX files.

Only the structure and the shapes are needed for an architecture; numbers are read where they decide the structure,
such as the shape that a value is flattened to. A model whose weights lie in another file (external data) is refused unless
that is allowed; the other file is never opened, and the weights have the shapes that the model declares.
Batch normalisation that an exporter has merged into a convolution is gone from the file, and so it is here. ONNX
stores no loss: it is an argument.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from provable.architectures import fields
from provable.architectures.architecture import Architecture
from provable.architectures.readers.naming import described
from provable.architectures.readers.onnx_file import LARGEST_MODEL, parse_onnx
from provable.architectures.readers.structure import Recognised, recognise
from provable.errors import InputError, ProvableError


def from_onnx(
    path: str | Path,
    *,
    loss: str | None = None,
    external_weights: bool = False,
    limit_bytes: int = LARGEST_MODEL,
) -> Architecture:
    """Read the architecture of an ONNX file.

    Parameters
    ----------
    path : str or Path
        The file; its stem becomes the architecture's name. The batch axis may be symbolic, no other may.
    loss : {"squared", "logistic", "cross_entropy"}, optional
        The loss, which is not in the file; by default logistic for one output and cross_entropy for more.
    external_weights : bool
        Whether weights may lie in another file, whose numbers are not needed and which is not opened.
    limit_bytes : int
        The largest file accepted.

    Returns
    -------
    Architecture
        The description.

    Raises
    ------
    InputError
        If the extra ``[onnx]`` is not installed, or the file is no well-formed ONNX model or not whole; the message names
        the file.
    UnsupportedError
        If the description cannot express the model; the message names the node, and the attribute if there is one.
    """
    return _read(path, loss, limit_bytes, external_weights)[0]


def parameters_from_onnx(
    path: str | Path, *, loss: str | None = None, limit_bytes: int = LARGEST_MODEL
) -> tuple[Architecture, dict[str, Any]]:
    """Read the architecture and the parameters of an ONNX file.

    Parameters
    ----------
    path : str or Path
        The file.
    loss : {"squared", "logistic", "cross_entropy"}, optional
        The loss, as for `from_onnx`.
    limit_bytes : int
        The largest file accepted.

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
        As for `from_onnx`, and if the weights lie in another file.
    UnsupportedError
        As for `from_onnx`.
    """
    architecture, recognised, arrays = _read(path, loss, limit_bytes, external_weights=False)
    try:
        numbers = {
            name: np.asarray(arrays[recognised.parameters[name]].numbers(name), dtype=np.float64)
            for name in architecture.parameter_shapes
        }
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
    return architecture, numbers


def _read(
    path: str | Path, loss: str | None, limit_bytes: int, external_weights: bool
) -> tuple[Architecture, Recognised, dict[str, Any]]:
    model = parse_onnx(path, limit_bytes=limit_bytes)
    outside = next((tensor.name for tensor in model.graph.initializer if tensor.data_location), None)
    if outside is not None and not external_weights:
        raise InputError(
            f"{path}: found {fields.shown(outside)} in another file (external data), which is not opened; a file that holds "
            "its weights is accepted, or shapes without numbers if external weights are allowed"
        )
    from provable.architectures.readers.onnx_walk import read_graph

    try:
        graph, arrays = read_graph(model)
        recognised = recognise(graph)
        architecture = described(Path(path).stem, graph.input_shape, recognised.layers, loss)
    except ProvableError as error:
        raise type(error)(f"{path}: {error}") from None
    return architecture, recognised, arrays
