"""Reading the bytes of an ONNX file: what would exhaust the memory or reach beyond the file is refused beforehand.

An ONNX file is a Protocol Buffers message. Parsing one can take a hundred times its size in memory (two bytes make an
empty node), so the bytes are walked first, without building anything, and fields and bytes outside of the weights are
counted. Weights that the file keeps in another file are never looked for.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from provable.errors import InputError
from provable.files import read_limited

LARGEST_MODEL = 2**30
"""Bytes of an ONNX file, weights included, that are read at most."""

MOST_FIELDS = 2**20
"""Fields of all messages of a file, at most."""

LARGEST_STRUCTURE = 2**24
"""Bytes of a file outside of its weights, at most."""

DEEPEST_MESSAGES = 32
"""Messages inside messages, at most."""

_MODEL, _GRAPH, _NODE, _ATTRIBUTE, _TENSOR, _OPERATORS, _VALUE, _TYPE, _ARRAY, _SHAPE, _EXTENT = range(11)

# Field numbers of onnx.proto whose content is a message that may hold many more, the numbers of a tensor, or names.
_CHILDREN: dict[int, dict[int, int]] = {
    _MODEL: {7: _GRAPH, 8: _OPERATORS},
    _GRAPH: {1: _NODE, 5: _TENSOR, 11: _VALUE, 12: _VALUE},
    _NODE: {5: _ATTRIBUTE},
    _ATTRIBUTE: {5: _TENSOR, 6: _GRAPH, 10: _TENSOR, 11: _GRAPH},
    _VALUE: {2: _TYPE},
    _TYPE: {1: _ARRAY},
    _ARRAY: {2: _SHAPE},
    _SHAPE: {1: _EXTENT},
}
_TEXTS: dict[int, tuple[int, ...]] = {
    _OPERATORS: (1,),
    _NODE: (1, 2, 3, 4, 7),
    _ATTRIBUTE: (1, 21),
    _TENSOR: (8,),
    _VALUE: (1,),
    _EXTENT: (2,),
}
_NUMBERS = {4: "float_data", 9: "raw_data", 10: "double_data"}

_VARINT, _FIXED64, _LENGTH, _FIXED32 = 0, 1, 2, 5


def parse_onnx(path: str | Path, *, limit_bytes: int = LARGEST_MODEL) -> Any:
    """Read and parse an ONNX file.

    Parameters
    ----------
    path : str or Path
        The file.
    limit_bytes : int
        The largest size accepted, in bytes.

    Returns
    -------
    onnx.ModelProto
        The parsed message, nothing in it checked yet.

    Raises
    ------
    InputError
        If the package ``onnx`` is not installed, or the file is missing, too large, truncated or no ONNX model.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError
    except ImportError:
        raise InputError(f"{path}: needs the extra [onnx]: pip install 'provable[onnx]'") from None
    content = read_limited(path, limit_bytes=limit_bytes)
    check_wire(content, str(path))
    try:
        model = onnx.ModelProto.FromString(content)
    except (DecodeError, ValueError, RecursionError):
        raise _damaged(str(path)) from None
    if not model.HasField("graph"):
        raise InputError(f"{path}: found no graph; an ONNX model with one is accepted")
    return model


def _damaged(path: str) -> InputError:
    return InputError(
        f"{path}: found bytes that are no ONNX model, or only a part of one; a whole ONNX file is accepted"
    )


def check_wire(content: bytes, path: str) -> None:
    """Walk through the messages of a file without building them.

    Parameters
    ----------
    content : bytes
        The file.
    path : str
        What messages call it.

    Raises
    ------
    InputError
        If a message is cut short, or there are too many fields, levels, or bytes that are no weights.
    """
    waiting = [(_MODEL, 0, len(content), 0)]
    count = structure = 0
    while waiting:
        kind, start, end, depth = waiting.pop()
        if depth > DEEPEST_MESSAGES:
            raise InputError(
                f"{path}: found graphs nested {depth} deep; at most {DEEPEST_MESSAGES} levels are accepted"
            )
        for number, wire, first, last in _fields(content, start, end, path):
            count += 1
            if count > MOST_FIELDS:
                raise InputError(f"{path}: found more than {MOST_FIELDS} fields; fewer are accepted")
            child = _CHILDREN.get(kind, {}).get(number)
            if wire == _LENGTH and child is not None:
                waiting.append((child, first, last, depth + 1))
            elif not (kind == _TENSOR and number in _NUMBERS and wire == _LENGTH):
                structure += last - first
                if wire == _LENGTH and number in _TEXTS.get(kind, ()):
                    _check_text(content[first:last], path)
        if structure > LARGEST_STRUCTURE:
            raise InputError(
                f"{path}: found more than {LARGEST_STRUCTURE} bytes that are no weights; fewer are accepted"
            )


def _check_text(content: bytes, path: str) -> None:
    try:
        content.decode("utf-8")
    except UnicodeDecodeError:
        raise _damaged(path) from None


def _fields(content: bytes, start: int, end: int, path: str) -> Iterator[tuple[int, int, int, int]]:
    """Yield field number, wire type, and where the field's content begins and ends."""
    position = start
    while position < end:
        key, position = _varint(content, position, end, path)
        number, wire = key >> 3, key & 7
        first = position
        if wire == _VARINT:
            _, last = _varint(content, position, end, path)
        elif wire == _LENGTH:
            length, first = _varint(content, position, end, path)
            last = first + length
        elif wire in (_FIXED64, _FIXED32):
            last = position + (8 if wire == _FIXED64 else 4)
        else:
            raise _damaged(path)
        if last > end or number == 0:
            raise _damaged(path)
        yield number, wire, first, last
        position = last


def _varint(content: bytes, position: int, end: int, path: str) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        if position >= end:
            raise _damaged(path)
        byte = content[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
    raise _damaged(path)
