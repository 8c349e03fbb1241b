"""Reading within a limit and writing atomically."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import InputError
from provable.files import read_limited, write_atomically


@given(content=st.binary(max_size=200), former=st.none() | st.binary(max_size=20))
def test_what_is_written_is_read(
    content: bytes, former: bytes | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("files")
    path = folder / "file"
    if former is not None:
        path.write_bytes(former)
    write_atomically(path, content)
    assert read_limited(path, limit_bytes=len(content)) == content == read_limited(str(path), limit_bytes=10**9)
    assert os.listdir(folder) == ["file"]  # noqa: PTH208
    if content:
        with pytest.raises(InputError, match=f"is larger than {len(content) - 1} bytes"):
            read_limited(path, limit_bytes=len(content) - 1)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(InputError, match=r"file: cannot be written \(No space left on device\)"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old" and [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_missing_files_and_folders_are_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"absent: cannot be read \(No such file or directory\)"):
        read_limited(tmp_path / "absent", limit_bytes=10)
    with pytest.raises(InputError, match=r"file: cannot be written \(No such file or directory\)"):
        write_atomically(tmp_path / "absent" / "file", b"")
    with pytest.raises(InputError, match="cannot be read"):
        read_limited(tmp_path, limit_bytes=10)


def test_a_pipe_is_written_to_and_not_replaced(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    reader = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
    try:
        write_atomically(path, b"abc")
        assert os.read(reader, 10) == b"abc" and path.is_fifo()
    finally:
        os.close(reader)


def test_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, accepted in ((3, True), (2, False)):
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"abc")))
        if accepted:
            assert read_limited("-", limit_bytes=limit) == b"abc"
        else:
            with pytest.raises(InputError, match="-: is larger than 2 bytes"):
                read_limited("-", limit_bytes=limit)
