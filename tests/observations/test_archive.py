"""The reader of archives made by strangers: nothing but `InputError`, whatever the bytes; the writer: always the same."""

from __future__ import annotations

import io
import pickle
import struct
import zipfile
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from provable.errors import InputError
from provable.observations.archive import MEMBER_LIMIT, TEXT_LIMIT_BYTES, read_archive, shown, write_archive


def npy(array: np.ndarray, **options) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array(stream, array, **options)
    return stream.getvalue()


def archive(members: list[tuple[str, bytes]], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as target:
        for name, content in members:
            target.writestr(zipfile.ZipInfo(name), content, compression)
    return stream.getvalue()


def raw_npy(header: str, data: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    return b"\x93NUMPY" + version + struct.pack("<H", len(header)) + header.encode("latin-1") + data


def header(descr: str = "'<f8'", fortran: str = "False", shape: str = "(1,)") -> str:
    return f"{{'descr': {descr}, 'fortran_order': {fortran}, 'shape': {shape}, }}\n"


VALID = write_archive(
    {"format": "something/1", "a": np.arange(6.0).reshape(2, 3), "n": 3, "words": np.array(["a", "bc"])}
)

texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
arrays = st.one_of(
    hnp.arrays(
        np.float64,
        hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
        elements=st.floats(width=64, allow_nan=False, allow_infinity=False),
    ),
    hnp.arrays(np.int64, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)),
    hnp.arrays(np.bool_, hnp.array_shapes(min_dims=0, max_dims=2, min_side=0, max_side=4)),
)


@given(st.dictionaries(st.text("abcxyz/019_", min_size=1, max_size=12), arrays | texts, max_size=5))
def test_what_is_written_is_read(members):
    content = write_archive(members)
    assert write_archive(members) == content
    found = read_archive(content, "file")
    assert list(found) == list(members)
    with np.load(io.BytesIO(content), allow_pickle=False) as reference:
        for key, value in members.items():
            if isinstance(value, str):
                assert found[key] == value
                continue
            assert found[key].tobytes() == value.tobytes()
            assert found[key].shape == value.shape
            assert found[key].dtype == value.dtype
            assert not found[key].flags.writeable
            np.testing.assert_array_equal(found[key], reference[key])


@given(arrays, st.booleans(), st.booleans(), st.sampled_from([(1, 0), (2, 0), (3, 0)]))
def test_reads_whatever_numpy_writes(array, swapped, compressed, version):
    stored = np.asfortranarray(array) if array.ndim else array
    if swapped and array.dtype.itemsize > 1:
        stored = stored.astype(stored.dtype.newbyteorder(">"))
    compression = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    found = read_archive(archive([("a.npy", npy(stored, version=version))], compression), "file")["a"]
    np.testing.assert_array_equal(found, array)
    assert found.dtype == array.dtype


def test_reads_savez_of_numpy():
    stream = io.BytesIO()
    np.savez_compressed(stream, **{"format": "x", "parameters/0/weight": np.eye(3)})
    found = read_archive(stream.getvalue(), "file")
    assert found["format"] == "x"
    np.testing.assert_array_equal(found["parameters/0/weight"], np.eye(3))


class Bomb:
    """Unpickling this is noticed."""

    def __reduce__(self):
        return (exec, ("raise SystemExit('unpickled')",))


REFUSALS = {
    "pickled objects": (
        archive([("a.npy", npy(np.array([Bomb()], dtype=object), allow_pickle=True))]),
        r"a holds pickled Python objects",
    ),
    "a bare pickle": (archive([("a.npy", pickle.dumps(Bomb()))]), r"a is no NumPy array"),
    "not a zip": (b"hello", r"is not a sound \.npz archive"),
    "nothing": (b"", r"is not a sound \.npz archive"),
    "a text member": (archive([("readme.txt", b"x")]), r"'readme\.txt' is no array"),
    "a key of many lines": (archive([("a\nb.npy", npy(np.zeros(1)))]), r"unknown key 'a\\nb'"),
    "a key not in ASCII": (archive([("é.npy", npy(np.zeros(1)))]), r"unknown key '\\xe9'"),
    "structured": (archive([("a.npy", npy(np.zeros(1, dtype=[("u", "f8")])))]), r"a is a structured array"),
    "float16": (archive([("a.npy", npy(np.zeros(1, dtype=np.float16)))]), r"a is of type '<f2'; float64, float32"),
    "single nan": (archive([("a.npy", npy(np.array([np.nan], dtype=np.float32)))]), r"a holds nan at flat position 0"),
    "complex": (archive([("a.npy", npy(np.zeros(1, dtype=complex)))]), r"a is of type '<c16'"),
    "bytes": (archive([("a.npy", npy(np.array([b"x"])))]), r"a is of type '\|S1'"),
    "a date": (archive([("a.npy", npy(np.zeros(1, dtype="M8[s]")))]), r"a is of type '<M8\[s\]'"),
    "nan": (archive([("a.npy", npy(np.array([0.0, np.nan])))]), r"a holds nan at flat position 1; finite"),
    "infinity": (archive([("a.npy", npy(np.array([[-np.inf]])))]), r"a holds -inf at flat position 0"),
    "a boolean of 2": (archive([("a.npy", raw_npy(header("'|b1'"), b"\x02"))]), r"a holds a byte above 1"),
    "too little data": (
        archive([("a.npy", raw_npy(header(shape="(2,)"), b"\0" * 8))]),
        r"a holds 8 bytes of data.* 16",
    ),
    "too much data": (archive([("a.npy", raw_npy(header(), b"\0" * 9))]), r"a holds 9 bytes of data.* 8"),
    "a huge shape": (
        archive([("a.npy", raw_npy(header(shape="(9999999, 9999999, 9999999)")))]),
        r"a holds 0 bytes of data",
    ),
    "a huge empty shape": (
        archive([("a.npy", raw_npy(header(shape="(0, 999999999999999999, 999999999999999999)")))]),
        r"a has the shape",
    ),
    "many dimensions": (
        archive([("a.npy", raw_npy(header(shape="(" + "1, " * 33 + ")"), b"\0" * 8))]),
        r"a has 33 dimensions",
    ),
    "a negative shape": (archive([("a.npy", raw_npy(header(shape="(-1,)"), b"\0" * 8))]), r"a has the array header"),
    "code as a header": (archive([("a.npy", raw_npy("__import__('os').abort()\n"))]), r"a has the array header"),
    "a nested header": (archive([("a.npy", raw_npy("(" * 9000))]), r"a has the array header"),
    "a header beyond the end": (
        archive([("a.npy", b"\x93NUMPY\x01\x00\xff\xff{   }")]),
        r"array header of 65535 bytes",
    ),
    "a later version": (
        archive([("a.npy", raw_npy(header(), b"\0" * 8, version=b"\x04\x00"))]),
        r"a is no NumPy array",
    ),
    "text in two dimensions": (archive([("a.npy", npy(np.array([["a"]])))]), r"a is of type '<U1' and shape \(1, 1\)"),
    "many empty texts": (
        archive([("a.npy", raw_npy(header("'<U0'", shape="(999999999999,)")))]),
        r"999999999999 empty texts",
    ),
    "a surrogate": (
        archive([("a.npy", raw_npy(header("'<U1'", shape="()"), b"\0\xd8\0\0"))]),
        r"a holds an invalid character",
    ),
    "a character above the last": (
        archive([("a.npy", raw_npy(header("'<U1'", shape="()"), b"\0\0\x11\0"))]),
        r"a holds an invalid character",
    ),
    "bzip2": (archive([("a.npy", npy(np.zeros(1)))], zipfile.ZIP_BZIP2), r"a is compressed by method 12"),
    "lzma": (archive([("a.npy", npy(np.zeros(1)))], zipfile.ZIP_LZMA), r"a is compressed by method 14"),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refusals(name):
    content, message = REFUSALS[name]
    with pytest.raises(InputError, match=rf"^bad\.npz: .*{message}") as caught:
        read_archive(content, "bad.npz")
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_key_twice():
    content = archive([("a.npy", npy(np.zeros(1))), ("a.npy", npy(np.ones(1)))])
    with pytest.raises(InputError, match=r"^f: a occurs twice"):
        read_archive(content, "f")


def test_encrypted():
    content = bytearray(archive([("a.npy", npy(np.zeros(1)))]))
    content[content.rindex(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(InputError, match=r"^f: a is encrypted"):
        read_archive(bytes(content), "f")


def test_too_many_members():
    content = archive([(f"{index}.npy", b"") for index in range(MEMBER_LIMIT + 1)])
    with pytest.raises(InputError, match=r"^f: has more than 10000 members"):
        read_archive(content, "f")


def test_limit_holds_for_one_member_and_for_all():
    content = write_archive({"a": np.zeros(100), "b": np.zeros(100)})
    each = len(npy(np.zeros(100)))
    assert list(read_archive(content, "f", limit_bytes=2 * each)) == ["a", "b"]
    with pytest.raises(InputError, match=rf"^f: b declares {each} bytes \({2 * each} with the members before it\)"):
        read_archive(content, "f", limit_bytes=2 * each - 1)
    with pytest.raises(InputError, match=rf"^f: a declares {each} bytes .* raise the limit"):
        read_archive(content, "f", limit_bytes=each - 1)


def test_a_bomb_is_not_inflated():
    declared = 2**28
    with (
        zipfile.ZipFile(stream := io.BytesIO(), "w", zipfile.ZIP_DEFLATED) as target,
        target.open("a.npy", "w") as member,
    ):
        for _ in range(declared // 2**20):
            member.write(bytes(2**20))
    assert len(stream.getvalue()) < declared / 900
    with pytest.raises(InputError, match=rf"^f: a declares {declared} bytes"):
        read_archive(stream.getvalue(), "f", limit_bytes=2**26)


def with_declared_size(content: bytes, size: int) -> bytes:
    """Lie about the uncompressed size, in the directory and in the member's own header."""
    changed = bytearray(content)
    struct.pack_into("<I", changed, changed.rindex(b"PK\x01\x02") + 24, size)
    struct.pack_into("<I", changed, changed.index(b"PK\x03\x04") + 22, size)
    return bytes(changed)


def with_checksum(content: bytes, checksum: int) -> bytes:
    changed = bytearray(content)
    struct.pack_into("<I", changed, changed.rindex(b"PK\x01\x02") + 16, checksum)
    struct.pack_into("<I", changed, changed.index(b"PK\x03\x04") + 14, checksum)
    return bytes(changed)


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_lies_about_sizes(compression, monkeypatch):
    content = npy(np.zeros(2**16))
    honest = archive([("a.npy", content)], compression)
    read = []
    original = zipfile.ZipExtFile.read

    def counting(self, n=-1):
        result = original(self, n)
        read.append(len(result))
        return result

    monkeypatch.setattr(zipfile.ZipExtFile, "read", counting)
    with pytest.raises(InputError, match=r"^f: a "):
        read_archive(with_declared_size(honest, 1000), "f")
    # Even with a checksum that fits the part read, no more is inflated than was declared.
    with pytest.raises(InputError, match=r"^f: a holds 872 bytes of data"):
        read_archive(with_checksum(with_declared_size(honest, 1000), zlib.crc32(content[:1000])), "f")
    assert sum(read) <= 2000
    with pytest.raises(InputError, match=r"^f: a "):
        read_archive(with_declared_size(honest, len(content) + 1), "f")


def test_long_text_is_refused_before_it_is_decoded():
    size = TEXT_LIMIT_BYTES + 4
    content = raw_npy(header(f"'<U{size // 4}'", shape="()"), bytes(size))
    with pytest.raises(InputError, match=rf"^f: a is a text of {size} bytes"):
        read_archive(archive([("a.npy", content)], zipfile.ZIP_DEFLATED), "f")


@given(st.binary(max_size=300))
def test_any_bytes(content):
    with pytest.raises(InputError, match=r"^f: "):
        read_archive(content, "f")


@given(st.data())
def test_any_damage_is_refused_by_name_or_harmless(data):
    content = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 4))):
        position = data.draw(st.integers(0, len(content) - 1))
        content[position] = data.draw(st.integers(0, 255))
    start = data.draw(st.integers(0, 8).map(lambda k: k if k < 3 else 0))
    stop = data.draw(st.sampled_from([len(content)] * 3 + [len(content) // 2, len(content) - 1]))
    try:
        found = read_archive(bytes(content[start:stop]), "f", limit_bytes=2**20)
    except InputError as error:
        assert str(error).startswith("f: ")
        assert "\n" not in str(error)
    else:
        assert all(isinstance(value, str | tuple | np.ndarray) for value in found.values())


@given(st.integers(0, len(VALID) - 1))
def test_every_truncation_is_refused(length):
    with pytest.raises(InputError, match=r"^f: "):
        read_archive(VALID[:length], "f")


@given(st.data())
def test_any_array_header(data):
    """Damage inside a member whose checksum is right reaches the header's parser."""
    member = bytearray(npy(np.arange(3.0)))
    for _ in range(data.draw(st.integers(1, 6))):
        member[data.draw(st.integers(0, 130))] = data.draw(st.integers(0, 255))
    try:
        found = read_archive(archive([("a.npy", bytes(member))]), "f")
    except InputError as error:
        assert str(error).startswith("f: a ")
    else:
        assert isinstance(found["a"], np.ndarray)


@given(st.text(max_size=200))
def test_shown_is_one_short_line(text):
    assert len(shown(text).splitlines()) == 1
    assert len(shown(text)) <= 83
    assert shown(text).isascii()


@pytest.mark.parametrize(
    "array", [np.zeros(2, dtype=np.float32), np.zeros(2, dtype=np.int32), np.array([None]), np.zeros(1, complex)]
)
def test_other_types_are_not_written(array):
    with pytest.raises(TypeError, match=r"^a: "):
        write_archive({"a": array})
