"""Reading and writing whole files: atomically, and never more than was agreed to."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from provable.errors import InputError


def write_atomically(path: str | Path, content: bytes) -> None:
    """Write a file so that a reader sees the old content or the new one, never a part.

    Parameters
    ----------
    path : str or Path
        The file; its folder must exist.
    content : bytes
        What is written to a temporary file beside it, which is then renamed. Devices and pipes are written to directly, as
        renaming would replace them.

    Raises
    ------
    InputError
        If the folder does not exist or cannot be written.
    """
    target = Path(path)
    temporary = None
    try:
        if target.exists() and not target.is_file() and not target.is_dir():
            target.write_bytes(content)
            return
        descriptor, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(content)
        Path(temporary).replace(target)
        temporary = None
    except OSError as error:
        raise InputError(f"{target}: cannot be written ({error.strerror}); a folder that exists is needed") from error
    finally:
        if temporary is not None:
            Path(temporary).unlink(missing_ok=True)


def read_limited(path: str | Path, *, limit_bytes: int) -> bytes:
    """Read a whole file, or standard input for ``-``, if it is not larger than a limit.

    Parameters
    ----------
    path : str or Path
        The file, or ``-``.
    limit_bytes : int
        The largest size accepted, in bytes.

    Returns
    -------
    bytes
        The content.

    Raises
    ------
    InputError
        If the file is missing, unreadable or too large.
    """
    try:
        if str(path) == "-":
            content = sys.stdin.buffer.read(limit_bytes + 1)
        else:
            with Path(path).open("rb") as stream:
                content = stream.read(limit_bytes + 1)
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); an existing file or - is accepted") from error
    if len(content) > limit_bytes:
        raise InputError(f"{path}: is larger than {limit_bytes} bytes; raise the limit or give a smaller file")
    return content
