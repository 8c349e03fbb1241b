"""The structure of the package: no import goes up a floor, there are no circles, and importing it stays cheap."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

import provable

PACKAGE = Path(provable.__file__).parent
FLOORS = [
    {"errors"},
    {"arithmetic", "files", "memory", "symmetries"},
    {"architectures", "measures"},
    {"networks", "tensors"},
    {"kernels", "stationarity"},
    {"observations", "theorems"},
    {"rigor", "training"},
    {"distillation", "max_margin"},
    {"recovery", "leakage"},
    {"cli"},
]
ROOT_MODULES = {"__init__", "__main__"}
CHECKER_MAY_IMPORT = sys.stdlib_module_names | {"flint"}
MODULES = sorted(PACKAGE.rglob("*.py"))


def floor(name: str) -> int:
    return next(level for level, members in enumerate(FLOORS) if name in members)


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, *, top_level_only: bool = False) -> list[str]:
    """All absolute imports of a module as dotted names (``from a import b`` gives ``a.b``)."""
    found = []
    tree = ast.parse(path.read_text())
    nodes = ast.walk(tree) if not top_level_only else _executed_on_import(tree)
    for node in nodes:
        if isinstance(node, ast.Import):
            found += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found += [f"{node.module}.{alias.name}" for alias in node.names]
    return found


def _executed_on_import(tree: ast.AST):
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            continue
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        yield node
        yield from _executed_on_import(node)


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_no_import_goes_up_a_floor(path):
    own = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
    used = {name.split(".")[1] for name in imports(path) if name.startswith("provable.")}
    if own in ROOT_MODULES:
        return
    if own == "checker":
        allowed = {"checker", "theorems"} if path.name == "counterexample.py" else {"checker"}
        assert used <= allowed
        outside = {name.partition(".")[0] for name in imports(path)} - {"provable"}
        assert outside <= CHECKER_MAY_IMPORT, "the checker rests on the standard library and FLINT alone"
        return
    for name in used - {own}:
        if name == "checker":
            assert floor(own) >= floor("recovery"), "only recovery and the command line ask the checker"
        else:
            assert floor(name) < floor(own), f"{dotted(path)} imports provable.{name}"


def test_there_are_no_circles():
    known = {dotted(path) for path in MODULES}
    graph = {}
    for path in MODULES:
        needed = set()
        for name in imports(path, top_level_only=True):
            module = name if name in known else name.rpartition(".")[0]
            if module in known and module != "provable" and module != dotted(path):
                needed.add(module)
        graph[dotted(path)] = needed
    TopologicalSorter(graph).prepare()


HEAVY = ("sympy", "cvxpy", "matplotlib", "sklearn", "hypothesis", "tensorly", "scipy.optimize", "rich", "typer")


@pytest.mark.parametrize("module", ["provable", "provable.checker"])
def test_importing_the_package_is_cheap(module):
    code = f"import sys, {module}; print([name for name in {HEAVY!r} if name in sys.modules])"
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "[]"


def test_the_checker_runs_without_numpy():
    code = (
        "import sys; sys.modules['numpy'] = None; sys.modules['scipy'] = None; import provable.checker; "
        "print(provable.checker.check('{}').valid)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert output.strip() == "False"


@pytest.mark.parametrize("path", MODULES, ids=dotted)
def test_files_have_one_subject_and_a_plain_name(path):
    assert path.stem not in {"utils", "util", "helpers", "common", "misc", "tools"}
    assert len(path.read_text().splitlines()) <= 500


def test_every_public_name_of_the_package_can_be_loaded():
    for name in provable.__all__:
        assert getattr(provable, name) is not None
    assert sorted(provable.__all__) == dir(provable)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        provable.nope  # noqa: B018
