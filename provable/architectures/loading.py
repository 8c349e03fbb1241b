"""Getting an architecture by name, from a file or from standard input."""

from __future__ import annotations

from pathlib import Path

from provable.architectures.architecture import Architecture
from provable.errors import InputError
from provable.files import read_limited

LARGEST_DESCRIPTION = 2**24
"""Bytes of JSON text that are read at most."""


def load(source: str | Path, *, external_weights: bool = False) -> Architecture:
    """Load an architecture.

    Parameters
    ----------
    source : str or Path
        A name of the zoo, the path of a ``.json`` or ``.onnx`` file, or ``-`` for JSON on standard input.
    external_weights : bool, optional
        Whether the weights of an ``.onnx`` file may lie in another file, which is not opened.

    Returns
    -------
    Architecture
        The description.

    Raises
    ------
    InputError
        If the name or the file is unknown, or the description is wrong; the message names the file and the field.
    """
    if Path(source).suffix == ".onnx":
        from provable.architectures.readers import from_onnx

        return from_onnx(source, external_weights=external_weights)
    if isinstance(source, str) and source != "-" and Path(source).suffix != ".json" and Path(source).name == source:
        from provable.architectures.zoo import from_zoo

        return from_zoo(source)
    path = str(source)
    if path != "-" and Path(path).suffix != ".json":
        raise InputError(
            f"{path}: found a file of unknown kind; a name of the zoo, a .json or .onnx file or - is accepted"
        )
    content = read_limited(path, limit_bytes=LARGEST_DESCRIPTION)
    try:
        return Architecture.from_json(content)
    except InputError as error:
        raise InputError(f"{path}: {error}") from None
