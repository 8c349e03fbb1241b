"""Public docstrings: every function says what goes in, what comes out and what is raised, in numpydoc's form."""

from __future__ import annotations

import ast
import importlib
import inspect
import textwrap
from pathlib import Path

import pytest
from numpydoc.docscrape import NumpyDocString

import provable

PACKAGE = Path(provable.__file__).parent
MODULES = sorted(
    ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
    for path in PACKAGE.rglob("*.py")
    if path.name not in ("__init__.py", "__main__.py")
)


def public_functions(module_name):
    """Yield (name, function) of the public functions and methods that a module defines."""
    module = importlib.import_module(module_name)
    for name, value in vars(module).items():
        if name.startswith("_") or getattr(value, "__module__", None) != module_name:
            continue
        if inspect.isfunction(value):
            yield name, value
        elif inspect.isclass(value):
            yield name, value
            for attribute, member in vars(value).items():
                function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
                if not attribute.startswith("_") and inspect.isfunction(function):
                    yield f"{name}.{attribute}", function


def raised_directly(function):
    """The names of the exceptions in the `raise Name(...)` statements of a function's own body."""
    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    except OSError:
        return set()  # Hypothesis wraps its composites in functions that have no source
    found = set()
    stack = list(ast.iter_child_nodes(tree.body[0]))
    while stack:
        node = stack.pop()
        if isinstance(node, ast.FunctionDef | ast.ClassDef | ast.Lambda):
            continue
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func).rpartition(".")[2])
        stack.extend(ast.iter_child_nodes(node))
    return {name for name in found if not name.startswith("_")}


@pytest.mark.parametrize("module_name", MODULES)
def test_public_docstrings(module_name):
    module = importlib.import_module(module_name)
    assert (module.__doc__ or "").strip(), "the module says what its subject is"
    for name, value in public_functions(module_name):
        documentation = inspect.getdoc(value)
        assert documentation, f"{module_name}.{name} has no docstring"
        summary = documentation.partition("\n\n")[0]
        assert summary.rstrip().endswith((".", ":", "?")), f"{module_name}.{name}: the summary is a sentence"
        if inspect.isclass(value):
            continue
        parsed = NumpyDocString(documentation)
        signature = inspect.signature(value)
        wanted = [p for p in signature.parameters if p not in ("self", "cls") and not p.startswith("_")]
        listed = [part.strip().lstrip("*") for entry in parsed["Parameters"] for part in entry.name.split(",")]
        assert sorted(listed) == sorted(wanted), f"{module_name}.{name}: parameters documented: {listed}"
        returns = str(signature.return_annotation)
        if returns not in ("None", "NoReturn") and value.__name__ != "main":
            assert parsed["Returns"] or parsed["Yields"], f"{module_name}.{name}: what is returned is not said"
        missing = raised_directly(value) - {entry.type.rpartition(".")[2] for entry in parsed["Raises"]}
        assert not missing, f"{module_name}.{name}: raises {missing} without saying so"
