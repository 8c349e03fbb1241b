"""NumPy archives (`.npz`) from strangers: read without pickles or trust in declared sizes, written bit for bit alike.

A reader sees arrays of five kinds only: float64, float32, integers, booleans and text. The header of a member is matched,
never evaluated, and every size is compared with the limit before anything is decompressed.
"""

from __future__ import annotations

import dataclasses
import io
import math
import re
import zipfile
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError

Member = NDArray[Any] | str | tuple[str, ...]
"""What an archive holds under a key."""

LIMIT_BYTES = 2 * 2**30
"""Default limit on the size of a file and on what its members declare together, in bytes."""

TEXT_LIMIT_BYTES = 2**26
"""Largest size of a text in bytes of UTF-32; an architecture of a thousand layers needs a hundredth of it."""

MEMBER_LIMIT = 10_000
"""Largest number of members of an archive."""

_TIMESTAMP = (1980, 1, 1, 0, 0, 0)
_DIRECTORY_ENTRY = b"PK\x01\x02"
_MAGIC = b"\x93NUMPY"
_HEADER_LIMIT = 10_000
_HEADER = re.compile(
    r"\{\s*'descr'\s*:\s*'(?P<descr>[^']{1,40})'\s*,\s*'fortran_order'\s*:\s*(?P<fortran>True|False)\s*,"
    r"\s*'shape'\s*:\s*\(\s*(?P<shape>[0-9,\s]{0,400})\)\s*,?\s*\}\s*",
    re.ASCII,
)
_SHAPE = re.compile(r"\s*(?:[0-9]{1,18}\s*,\s*)*(?:[0-9]{1,18}\s*)?", re.ASCII)
_DIMENSION_LIMIT = 32
_NUMBERS = frozenset({"f4", "f8", *(f"{kind}{size}" for kind in "iu" for size in (1, 2, 4, 8))})


@dataclasses.dataclass(frozen=True)
class _Header:
    descr: str
    fortran: bool
    shape: tuple[int, ...]
    start: int

    @property
    def count(self) -> int:
        return math.prod(self.shape)


def shown(text: str, limit: int = 80) -> str:
    """Quote text from a stranger's file so that it stays on one line of an error message.

    Parameters
    ----------
    text : str
        Any text.
    limit : int, optional
        Largest number of characters shown.

    Returns
    -------
    str
        The text in quotes, in printable ASCII, cut if it is long.
    """
    quoted = ascii(text[:limit])
    return quoted if len(text) <= limit and len(quoted) <= limit + 2 else f"{quoted[:limit]}..."


def write_archive(members: Mapping[str, Member | float]) -> bytes:
    """Write arrays as an uncompressed `.npz`: the same arrays give the same bytes, always and everywhere.

    Parameters
    ----------
    members : mapping of str to array, str, tuple of str or number
        Keys and contents, in the order in which they are written: float64, int64, bool and text.

    Returns
    -------
    bytes
        The archive, readable by `numpy.load`.

    Raises
    ------
    TypeError
        If a member is not of one of these kinds.
    """
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for key, content in members.items():
            array = np.array(content, dtype=np.str_) if isinstance(content, tuple) else np.asarray(content, order="C")
            if array.dtype.kind not in "fibU" or (array.dtype.kind in "fi" and array.dtype.itemsize != 8):
                raise TypeError(f"{key}: {array.dtype} is not written; float64, int64, bool and text are")
            entry = zipfile.ZipInfo(f"{key}.npy", date_time=_TIMESTAMP)
            # The system that made the archive is recorded in it: fixed, so that all systems agree.
            entry.create_system = 3
            entry.external_attr = 0o600 << 16
            stream = io.BytesIO()
            portable = array.astype(array.dtype.newbyteorder("<"), copy=False)
            np.lib.format.write_array(stream, portable, version=(1, 0), allow_pickle=False)
            archive.writestr(entry, stream.getvalue())
    return buffer.getvalue()


def read_archive(content: bytes, name: str, *, limit_bytes: int = LIMIT_BYTES) -> dict[str, Member]:
    """Read every member of an `.npz` made by anybody.

    Parameters
    ----------
    content : bytes
        The file.
    name : str
        How error messages call the file.
    limit_bytes : int, optional
        Limit on the sizes that the members declare together.

    Returns
    -------
    dict of str to ndarray, str or tuple of str
        Key to read-only array (float64, float32, an integer type or bool), or to text of shape () or (n,).

    Raises
    ------
    InputError
        If the bytes are no archive, a size exceeds the limit or is untrue, a member occurs twice, is compressed by
        anything but deflate, is no array, holds Python objects or a number that is not finite.
    """
    if content.count(_DIRECTORY_ENTRY) > MEMBER_LIMIT:
        raise InputError(f"{name}: has more than {MEMBER_LIMIT} members; an archive with fewer is accepted")
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = _directory(archive, name, limit_bytes)
            return {key: _member(archive, entry, f"{name}: {key}") for key, entry in entries.items()}
    except InputError:
        raise
    except (zipfile.BadZipFile, zipfile.LargeZipFile, zlib.error, EOFError, OSError) as error:
        raise InputError(f"{name}: is not a sound .npz archive ({_reason(error)})") from error
    except (
        ValueError,
        RuntimeError,
        NotImplementedError,
        IndexError,
        OverflowError,
        SystemError,
        LookupError,
    ) as error:
        raise InputError(f"{name}: is not an .npz archive that can be read ({_reason(error)})") from error


def _reason(error: BaseException) -> str:
    return ascii(str(error))[1:-1][:120] or type(error).__name__


def _directory(archive: zipfile.ZipFile, name: str, limit_bytes: int) -> dict[str, zipfile.ZipInfo]:
    entries: dict[str, zipfile.ZipInfo] = {}
    total = 0
    for entry in archive.infolist():
        if not entry.filename.endswith(".npy"):
            raise InputError(f"{name}: member {shown(entry.filename)} is no array; members called KEY.npy are accepted")
        key = entry.filename.removesuffix(".npy")
        if not key.isascii() or not key.isprintable() or len(key) > 200:
            raise InputError(f"{name}: unknown key {shown(key)}; the keys of the format are short and in ASCII")
        if key in entries:
            raise InputError(f"{name}: {key} occurs twice; each key is accepted once")
        if entry.flag_bits & 0x1:
            raise InputError(f"{name}: {key} is encrypted; plain members are accepted")
        if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
            raise InputError(
                f"{name}: {key} is compressed by method {entry.compress_type}; stored and deflated members are accepted"
            )
        total += entry.file_size
        if entry.file_size > limit_bytes or total > limit_bytes:
            raise InputError(
                f"{name}: {key} declares {entry.file_size} bytes ({total} with the members before it), above the limit "
                f"of {limit_bytes}; raise the limit or give a smaller file"
            )
        entries[key] = entry
    return entries


def _member(archive: zipfile.ZipFile, entry: zipfile.ZipInfo, where: str) -> Member:
    try:
        with archive.open(entry) as stream:
            content = stream.read(entry.file_size)
            excess = len(stream.read(1))
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError) as error:
        raise InputError(f"{where} cannot be decompressed ({_reason(error)})") from error
    if len(content) != entry.file_size or excess:
        raise InputError(f"{where} holds {len(content) + excess} bytes, but the directory declares {entry.file_size}")
    header = _header(content, where)
    return _text(content, header, where) if "U" in header.descr else _array(content, header, where)


def _header(content: bytes, where: str) -> _Header:
    if content[:6] != _MAGIC or len(content) < 12 or content[6] not in (1, 2, 3) or content[7] != 0:
        raise InputError(f"{where} is no NumPy array; the .npy format, version 1.0 to 3.0, is accepted")
    start = 10 if content[6] == 1 else 12
    length = int.from_bytes(content[8:start], "little")
    if length > _HEADER_LIMIT or start + length > len(content):
        raise InputError(
            f"{where} has an array header of {length} bytes, of {len(content)} in all; "
            f"at most {_HEADER_LIMIT} are accepted"
        )
    text = content[start : start + length].decode("latin-1")
    matched = _HEADER.fullmatch(text)
    if matched is None or not _SHAPE.fullmatch(matched["shape"]):
        if "'descr': [" in text:
            raise InputError(f"{where} is a structured array; float64, float32, integers, bool and text are accepted")
        raise InputError(f"{where} has the array header {shown(text)}; descr, fortran_order and shape are accepted")
    if "O" in matched["descr"]:
        raise InputError(
            f"{where} holds pickled Python objects; float64, float32, integers, bool and text are accepted"
        )
    shape = tuple(int(part) for part in matched["shape"].split(",") if part.strip())
    if len(shape) > _DIMENSION_LIMIT:
        raise InputError(f"{where} has {len(shape)} dimensions; at most {_DIMENSION_LIMIT} are accepted")
    return _Header(matched["descr"], matched["fortran"] == "True", shape, start + length)


def _sized(content: bytes, header: _Header, size: int, where: str) -> memoryview:
    found, wanted = len(content) - header.start, header.count * size
    if found != wanted:
        raise InputError(
            f"{where} holds {found} bytes of data, but its header, {shown(header.descr)} of shape "
            f"{shown(str(header.shape))}, needs {str(wanted)[:40]}"
        )
    return memoryview(content)[header.start :]


def _array(content: bytes, header: _Header, where: str) -> NDArray[Any]:
    code = header.descr.lstrip("<>|=")
    if header.descr not in ("|b1", "|i1", "|u1", "<" + code, ">" + code) or (code != "b1" and code not in _NUMBERS):
        raise InputError(
            f"{where} is of type {shown(header.descr)}; float64, float32, integers, bool and text are accepted"
        )
    data_type = np.dtype(header.descr)
    flat = np.frombuffer(_sized(content, header, data_type.itemsize, where), dtype=data_type)
    if code == "b1" and np.any(flat.view(np.uint8) > 1):
        raise InputError(f"{where} holds a byte above 1 as a boolean; 0 and 1 are accepted")
    if code in ("f4", "f8") and not np.all(np.isfinite(flat)):
        index = int(np.argmin(np.isfinite(flat)))
        raise InputError(f"{where} holds {flat[index]} at flat position {index}; finite numbers are accepted")
    native = flat.astype(data_type.newbyteorder("="), copy=False)
    try:
        shaped = native.reshape(header.shape, order="F" if header.fortran else "C")
    except (ValueError, OverflowError) as error:
        raise InputError(
            f"{where} has the shape {shown(str(header.shape))}; a shape that NumPy has is accepted"
        ) from error
    array = np.asarray(shaped, order="C")
    array.flags.writeable = False
    return array


def _text(content: bytes, header: _Header, where: str) -> str | tuple[str, ...]:
    matched = re.fullmatch(r"([<>])U([0-9]{1,10})", header.descr, re.ASCII)
    if matched is None or len(header.shape) > 1:
        raise InputError(
            f"{where} is of type {shown(header.descr)} and shape {header.shape}; text of shape () or (n,) is accepted"
        )
    size = 4 * int(matched[2])
    raw = _sized(content, header, size, where)
    if len(raw) > TEXT_LIMIT_BYTES:
        raise InputError(f"{where} is a text of {len(raw)} bytes; at most {TEXT_LIMIT_BYTES} are accepted")
    if header.count > max(len(raw), 1):
        raise InputError(f"{where} declares {header.count} empty texts; texts of at least one character are accepted")
    codec = "utf-32-le" if matched[1] == "<" else "utf-32-be"
    try:
        parts = [str(raw[i * size : (i + 1) * size], codec).rstrip("\0") for i in range(header.count)]
    except UnicodeDecodeError as error:
        raise InputError(
            f"{where} holds an invalid character at byte {error.start}; Unicode text is accepted"
        ) from error
    return parts[0] if header.shape == () else tuple(parts)
