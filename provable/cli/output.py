"""What every command prints: a table for people, or one JSON document and nothing else."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from provable.files import write_atomically

PLAIN_WIDTH = 140
"""Columns of a table that goes to a file or a pipe."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout and nothing else.")]
OutputOption = Annotated[Path | None, typer.Option("-o", "--output", help="Write the result file there, atomically.")]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of everything random.")]


def emit(document: str, *, as_json: bool, output: Path | None, show: Callable[[Console], None]) -> None:
    """Print a command's result, and write its JSON to a file if one is asked for.

    Parameters
    ----------
    document : str
        The result as JSON text.
    as_json : bool
        Print `document` on stdout instead of the table.
    output : Path or None
        Where `document` is written as well.
    show : callable
        Prints the result for people on the console that it is given.
    """
    if output is not None:
        write_atomically(output, (document.rstrip("\n") + "\n").encode())
    if as_json:
        sys.stdout.write(document.rstrip("\n") + "\n")
    else:
        show(Console(file=sys.stdout, width=None if sys.stdout.isatty() else PLAIN_WIDTH))
