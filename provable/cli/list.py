"""`provable list`: which theorems there are."""

from __future__ import annotations

import json
from typing import Annotated

import typer
from rich.console import Console

from provable.cli.output import JsonOption, OutputOption, emit
from provable.errors import InputError


def list(
    source: Annotated[str | None, typer.Option("--source", help="Only theorems of this source, e.g. wang2023.")] = None,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """List the theorems with statement, source and expected verdict.

    Parameters
    ----------
    source : str, optional
        Only the theorems of this folder.
    as_json : bool
        Print JSON instead of a table.
    output : Path, optional
        Where the JSON is written as well.

    Raises
    ------
    InputError
        If there is no such source.
    """
    from provable.theorems import registry

    names = registry.identifiers()
    if source is not None:
        sources = sorted({name.partition(".")[0] for name in names})
        if source not in sources:
            raise InputError(f"--source: '{source}' is unknown; accepted: {', '.join(sources)}")
        names = [name for name in names if name.partition(".")[0] == source]
    theorems = []
    for name in names:
        theorem = registry.find(name).theorem
        theorems.append(
            {
                "id": name,
                "title": theorem.title,
                "source": str(theorem.source),
                "statement": theorem.statement,
                "expected": theorem.expected,
                "corrected_by": theorem.corrected_by,
                "hypotheses": [*theorem.hypotheses],
                "false_twins": [twin.name for twin in theorem.twins],
            }
        )

    def show(console: Console) -> None:
        for entry in theorems:
            console.print(f"[bold]{entry['id']}[/bold]  (expected: {entry['expected']})", highlight=False)
            console.print(f"  {entry['title']}  [{entry['source']}]", highlight=False, markup=False)
            console.print(f"  {entry['statement']}", highlight=False, markup=False)
            if entry["corrected_by"]:
                console.print(f"  corrected by {entry['corrected_by']}", highlight=False)

    emit(json.dumps({"theorems": theorems}, ensure_ascii=False, indent=2), as_json=as_json, output=output, show=show)
