"""Finding theorems by discovery, through entry points and by path."""

from __future__ import annotations

import sys
import types
from importlib import metadata

import pytest

from provable.errors import InputError, TheoremError
from provable.theorems import Source, Theorem, registry


def test_every_proof_file_is_a_registered_theorem_and_no_more():
    files = {
        f"{path.parent.name}.{path.stem}"
        for path in registry.proofs_folder().glob("*/*.py")
        if not path.name.startswith("_")
    }
    assert set(registry.identifiers()) == files
    assert {entry.id for entry in registry.entries()} == files
    assert len(files) >= 15


def test_unknown_names_are_refused_with_neighbours():
    with pytest.raises(InputError, match=r"there is no theorem 'wang2023.nope'; close to it: wang2023\."):
        registry.find("wang2023.nope")
    with pytest.raises(InputError, match=r"there is no theorem 'nope'; close to it: .*chen2022, .*foundations"):
        registry.find("nope")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("missing.py", None, "there is no such file"),
        ("broken.py", "theorem = = 1\n", "line 1: invalid syntax"),
        ("raising.py", "x = 1\nraise KeyError('first\\nsecond')\n", r"line 2: KeyError: 'first\\nsecond'"),
        ("empty.py", "", "assigns no theorem"),
        ("wrong.py", "theorem = 3\n", "assigns no theorem"),
        ("exiting.py", "import sys\nsys.exit(0)\n", "line 2: SystemExit"),
    ],
)
def test_files_that_cannot_be_loaded_say_where(tmp_path, name, content, message):
    path = tmp_path / name
    if content is not None:
        path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        registry.find(str(path))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def fake_entry_point(monkeypatch, name, value):
    point = metadata.EntryPoint(name=name, value=value, group=registry.ENTRY_POINT_GROUP)
    monkeypatch.setattr(registry.metadata, "entry_points", lambda group: [point])


def test_third_parties_add_theorems_by_entry_point(monkeypatch):
    module = types.ModuleType("third_party_theorem", "Someone else's theorem.")
    module.theorem = Theorem(statement="1 = 1", source=Source("third party"))
    monkeypatch.setitem(sys.modules, "third_party_theorem", module)
    fake_entry_point(monkeypatch, "thirdparty.identity", "third_party_theorem")
    assert "thirdparty.identity" in registry.identifiers()
    assert registry.find("thirdparty.identity").theorem.title == "Someone else's theorem"
    fake_entry_point(monkeypatch, "thirdparty.identity", "third_party_theorem:theorem")
    assert registry.find("thirdparty.identity").theorem is module.theorem


def test_entry_points_that_cannot_be_loaded_are_named(monkeypatch):
    fake_entry_point(monkeypatch, "thirdparty.gone", "no_such_module_anywhere")
    with pytest.raises(InputError, match=r"entry point thirdparty\.gone: cannot be loaded"):
        registry.find("thirdparty.gone")


def test_an_identifier_cannot_be_taken_twice(monkeypatch):
    own = registry.identifiers()[0]
    fake_entry_point(monkeypatch, own, "somewhere")
    with pytest.raises(TheoremError, match="registered twice"):
        registry.identifiers()
