"""Reading of observation files (`.npz`) with the standard library alone, and no more of them than a check needs.

Members are NumPy arrays of text or of little-endian float64, stored or deflated. Nothing is unpickled; sizes are compared
with the limits before anything is decompressed.
"""

from __future__ import annotations

import array
import ast
import dataclasses
import io
import math
import sys
import zipfile
import zlib
from itertools import product

from provable.checker.verdict import Invalid

LARGEST_ARCHIVE = 2**31
"""Bytes that all members together may declare."""

_MOST_MEMBERS = 10_000
_LONGEST_HEADER = 10_000
_LONGEST_TEXT = 2**24


@dataclasses.dataclass(frozen=True)
class Numbers:
    """An array of float64: its shape, and its entries in row-major order."""

    shape: tuple[int, ...]
    entries: list[float]


class Archive:
    """The members of an `.npz` file.

    Parameters
    ----------
    content : bytes
        The file.

    Raises
    ------
    Invalid
        If it is no sound archive within the limits.
    """

    def __init__(self, content: bytes) -> None:
        if content.count(b"PK\x01\x02") > _MOST_MEMBERS:
            raise Invalid(f"the observation has more than {_MOST_MEMBERS} members")
        try:
            self._file = zipfile.ZipFile(io.BytesIO(content))
            members = self._file.infolist()
        except (zipfile.BadZipFile, zlib.error, OSError, ValueError, NotImplementedError) as error:
            raise Invalid("the observation is not a sound .npz archive") from error
        self._members: dict[str, zipfile.ZipInfo] = {}
        for member in members:
            name = member.filename.removesuffix(".npy")
            if name == member.filename or name in self._members:
                raise Invalid(f"the observation has a member that is no array, or one twice: {ascii(name)[:60]}")
            self._members[name] = member
        if sum(member.file_size for member in members) > LARGEST_ARCHIVE:
            raise Invalid(f"the observation declares more than {LARGEST_ARCHIVE} bytes")

    @property
    def names(self) -> list[str]:
        """Names of the members, without the ending."""
        return list(self._members)

    def text(self, name: str) -> str:
        """Read a text of shape ().

        Parameters
        ----------
        name : str
            The member.

        Returns
        -------
        str
            The text.

        Raises
        ------
        Invalid
            If the member is missing or of another type.
        """
        kind, shape, _, raw = self._member(name)
        if not kind.startswith("<U") or shape != () or len(raw) > _LONGEST_TEXT or len(raw) % 4:
            raise Invalid(f"{name} in the observation is not one text")
        try:
            return raw.decode("utf-32-le").rstrip("\0")
        except UnicodeDecodeError as error:
            raise Invalid(f"{name} in the observation is not valid Unicode") from error

    def observed(self, piece: str) -> Numbers:
        """Read a piece of the observed vector: of the parameters themselves at a stationary point.

        Parameters
        ----------
        piece : str
            Name of a parameter.

        Returns
        -------
        Numbers
            Finite numbers.

        Raises
        ------
        Invalid
            If the piece or the kind of the observation is missing or malformed.
        """
        groups = {"gradient": "vector", "parameter-change": "vector", "stationary-point": "parameters"}
        kind = self.text("kind")
        if kind not in groups:
            raise Invalid("the observation is neither a gradient, nor a parameter-change, nor a stationary-point")
        return self.numbers(f"{groups[kind]}/{piece}")

    def numbers(self, name: str) -> Numbers:
        """Read an array of float64 or float32.

        Parameters
        ----------
        name : str
            The member.

        Returns
        -------
        Numbers
            Finite numbers.

        Raises
        ------
        Invalid
            If the member is missing, of another type, or holds a number that is not finite.
        """
        kind, shape, fortran, raw = self._member(name)
        code, size = {"<f8": ("d", 8), "<f4": ("f", 4)}.get(kind, ("", 0))
        if not code or len(raw) != size * math.prod(shape):
            raise Invalid(
                f"{name} in the observation is not an array of little-endian float64 or float32 of its declared shape"
            )
        values: array.array[float] = array.array(code)
        values.frombytes(raw)
        if sys.byteorder == "big":
            values.byteswap()
        entries = values.tolist()
        if not all(map(math.isfinite, entries)):
            raise Invalid(f"{name} in the observation holds a number that is not finite")
        if fortran and len(shape) > 1:
            strides = [math.prod(shape[:axis]) for axis in range(len(shape))]
            places = product(
                *(range(0, extent * stride, stride) for extent, stride in zip(shape, strides, strict=True))
            )
            entries = [entries[sum(place)] for place in places]
        return Numbers(shape, entries)

    def _member(self, name: str) -> tuple[str, tuple[int, ...], bool, bytes]:
        if name not in self._members:
            raise Invalid(f"the observation has no {name}")
        member = self._members[name]
        if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise Invalid(f"{name} in the observation is compressed by an unknown method")
        try:
            with self._file.open(member) as stream:
                content = stream.read(member.file_size + 1)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError) as error:
            raise Invalid(f"{name} in the observation cannot be decompressed") from error
        if len(content) != member.file_size:
            raise Invalid(f"{name} in the observation is not as long as declared")
        return _split(name, content)


def _split(name: str, content: bytes) -> tuple[str, tuple[int, ...], bool, bytes]:
    """Split a `.npy` file into element type, shape, whether it is in column-major order, and raw data."""
    wrong = Invalid(f"{name} in the observation is not a NumPy array")
    if content[:6] != b"\x93NUMPY" or len(content) < 12 or content[6] not in (1, 2, 3):
        raise wrong
    start = 10 if content[6] == 1 else 12
    length = int.from_bytes(content[8:start], "little")
    if length > _LONGEST_HEADER or start + length > len(content):
        raise wrong
    try:
        header = ast.literal_eval(content[start : start + length].decode("latin-1").strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError) as error:
        raise wrong from error
    if not isinstance(header, dict) or set(header) != {"descr", "fortran_order", "shape"}:
        raise wrong
    kind, fortran, shape = header["descr"], header["fortran_order"], header["shape"]
    if not isinstance(kind, str) or not isinstance(fortran, bool) or not isinstance(shape, tuple):
        raise wrong
    if not all(type(extent) is int and 0 <= extent < 2**40 for extent in shape) or len(shape) > 8:
        raise wrong
    return kind, shape, fortran, content[start + length :]
