"""Finding theorems: the package's own proofs, the entry-point group ``provable.theorems``, and a user's file."""

from __future__ import annotations

import dataclasses
import importlib.util
import sys
import traceback
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from types import ModuleType
from typing import Any

import provable
from provable.errors import InputError, TheoremError
from provable.theorems.theorem import Theorem

ENTRY_POINT_GROUP = "provable.theorems"


@dataclasses.dataclass(frozen=True)
class Entry:
    """A theorem as the registry found it.

    Parameters
    ----------
    id : str
        ``<source>.<name>``: the folder and the file; its meaning never changes once released.
    theorem : Theorem
        The theorem.
    namespace : mapping
        Globals of its file.
    origin : str
        For a user's own file: its path; empty for registered theorems.
    """

    id: str
    theorem: Theorem
    namespace: Mapping[str, Any]
    origin: str = ""


def proofs_folder() -> Path:
    """Return the folder of the package's own theorem files.

    Returns
    -------
    Path
        ``_proofs`` inside an installed package, or ``proofs`` beside the package in a checkout.

    Raises
    ------
    InputError
        If neither exists.
    """
    package = Path(provable.__file__).resolve().parent
    for folder in (package / "_proofs", package.parent / "proofs"):
        if folder.is_dir():
            return folder
    raise InputError(f"{package}: the theorem files are missing; install the package again")


def theorem_files() -> dict[str, Path]:
    """List the package's own theorem files without importing them.

    Returns
    -------
    dict
        Identifier to path, sorted by identifier.
    """
    files = {f"{path.parent.name}.{path.stem}": path for path in proofs_folder().glob("*/*.py")}
    return {name: files[name] for name in sorted(files) if not name.rpartition(".")[2].startswith("_")}


def identifiers() -> list[str]:
    """List the identifiers of all registered theorems.

    Returns
    -------
    list of str
        The package's own ones first, then those of entry points.

    Raises
    ------
    TheoremError
        If two theorems claim one identifier.
    """
    own = list(theorem_files())
    foreign = [point.name for point in metadata.entry_points(group=ENTRY_POINT_GROUP)]
    for name in foreign:
        if name in own or foreign.count(name) > 1:
            raise TheoremError(f"the theorem identifier '{name}' is registered twice")
    return own + sorted(foreign)


def entries() -> Iterator[Entry]:
    """Load all registered theorems.

    Yields
    ------
    Entry
        One theorem after another.
    """
    for name in identifiers():
        yield find(name)


def find(name: str, origin: str = "") -> Entry:
    """Load one theorem.

    Parameters
    ----------
    name : str
        Its identifier, or the path of a file that ends in ``.py``.
    origin : str, optional
        The path, if the theorem comes from a user's file.

    Returns
    -------
    Entry
        The theorem.

    Raises
    ------
    InputError
        If there is no such theorem or its file cannot be loaded.
    """
    if origin or name.endswith(".py"):
        path = Path(origin or name)
        return load_file(path, path.stem, origin=str(path))
    own = theorem_files()
    if name in own:
        return load_file(own[name], name)
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP):
        if point.name == name:
            try:
                loaded = point.load()
            except Exception as error:
                raise InputError(f"entry point {name}: cannot be loaded ({type(error).__name__}: {error})") from error
            module = loaded if isinstance(loaded, ModuleType) else sys.modules[point.module]
            return _entry(name, loaded if isinstance(loaded, Theorem) else module, vars(module), name, "")
    source = name.partition(".")[0]
    near = [known for known in own if known.startswith(source + ".")] or sorted({k.partition(".")[0] for k in own})
    raise InputError(
        f"there is no theorem '{name}'; close to it: {', '.join(near) or 'none'} (provable list shows all)"
    )


def load_file(path: Path, name: str, *, origin: str = "") -> Entry:
    """Import a theorem file.

    Parameters
    ----------
    path : Path
        The file.
    name : str
        The identifier that it gets.
    origin : str, optional
        Recorded in the entry.

    Returns
    -------
    Entry
        The theorem.

    Raises
    ------
    InputError
        If the file is missing, raises on import, or assigns no theorem.
    """
    if not path.is_file():
        raise InputError(f"{path}: there is no such file; a Python file that assigns `theorem` is accepted")
    module_name = f"provable_theorem_files.{name}"
    specification = importlib.util.spec_from_file_location(module_name, path)
    if specification is None or specification.loader is None:
        raise InputError(f"{path}: is no Python file; a file ending in .py is accepted")
    module = importlib.util.module_from_spec(specification)
    sys.modules[module_name] = module  # dataclasses look their module up while the file runs
    try:
        specification.loader.exec_module(module)
    except SyntaxError as error:
        raise InputError(f"{path}: line {error.lineno}: {error.msg}") from error
    except (Exception, SystemExit) as error:
        raise InputError(f"{path}: {locate(error, path)}") from error
    return _entry(name, module, vars(module), str(path), origin)


def _entry(name: str, found: Any, namespace: Mapping[str, Any], where: str, origin: str) -> Entry:
    theorem = found if isinstance(found, Theorem) else getattr(found, "theorem", None)
    if not isinstance(theorem, Theorem):
        raise InputError(f"{where}: assigns no theorem; `theorem = Theorem(...)` is needed")
    if not theorem.title:
        documentation = str(namespace.get("__doc__") or "").strip()
        theorem.title = documentation.partition("\n")[0].rstrip(".") or name
    return Entry(name, theorem, namespace, origin)


def locate(error: BaseException, path: Path | str) -> str:
    """Say in one line what was raised and where in a theorem's file.

    Parameters
    ----------
    error : BaseException
        What was raised.
    path : Path or str
        The theorem's file.

    Returns
    -------
    str
        ``line N: Type: message``.
    """
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    where = f"line {lines[-1]}: " if lines else ""
    return " ".join(f"{where}{type(error).__name__}: {error}".split())
