"""`provable verify`: run theorems, print the verdicts."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer
from rich.console import Console

from provable.cli.output import JsonOption, OutputOption, SeedOption, emit

STYLES = {
    "proved": "bold green",
    "certified": "green",
    "supported": "cyan",
    "refuted": "magenta",
    "vacuous": "yellow",
    "inconclusive": "yellow",
}


def verify(
    theorems: Annotated[
        list[str] | None, typer.Argument(help="Identifiers, sources or FILE.py; all registered theorems if left out.")
    ] = None,
    effort: Annotated[str, typer.Option("--effort", help="quick, standard or deep.")] = "standard",
    seed: SeedOption = 0,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Run theorems' evidence and compare the verdicts with the expected ones.

    Parameters
    ----------
    theorems : list of str, optional
        Identifiers, sources or files.
    effort : str
        How much work to do.
    seed : int
        Seed of everything random.
    as_json : bool
        Print JSON instead of a table.
    output : Path, optional
        Where the JSON is written as well.

    Raises
    ------
    Exit
        With status 1 if a verdict is not as expected or a false twin survived.
    """
    from provable.theorems import evidence, runner

    names = runner.select_theorems(theorems)
    with _Progress(len(names)) as progress:
        results = runner.verify(names, effort=effort, rng=seed, progress=progress.advance)
    emit(
        evidence.document(results, effort=effort, seed=seed),
        as_json=as_json,
        output=output,
        show=lambda console: _show(console, results),
    )
    if not all(result.as_expected for result in results):
        raise typer.Exit(1)


class _Progress:
    """A bar on stderr, only if stderr is a terminal."""

    def __init__(self, total: int) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        self._bar: Progress | None = None
        if sys.stderr.isatty():
            columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
            self._bar = Progress(*columns, console=Console(file=sys.stderr), transient=True)
            self._task = self._bar.add_task("verifying", total=total)

    def __enter__(self) -> _Progress:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def advance(self, result: Any) -> None:
        if self._bar is not None:
            self._bar.update(self._task, advance=1, description=result.id)


def _show(console: Console, results: list[Any]) -> None:
    from rich.table import Table
    from rich.text import Text

    from provable.theorems.evidence import summary

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("theorem", "verdict", "evidence", "twins refuted"):
        table.add_column(heading, overflow="fold", no_wrap=heading in ("verdict",))
    table.add_column("s", justify="right")
    for result in results:
        verdict = Text(result.verdict, style=STYLES[result.verdict])
        if not result.as_expected:
            verdict.append(f" (expected {result.expected or 'a good one'})", style="bold red")
        table.add_row(
            Text(result.id),
            verdict,
            Text(", ".join(_evidence(item) for item in result.evidence)),
            f"{sum(twin.refuted for twin in result.false_twins)}/{len(result.false_twins)}",
            f"{result.seconds:.1f}",
        )
    console.print(table)
    for result in results:
        _explain(console, result)
    counts = summary(results)
    console.print(
        f"\n{len(results)} theorems: {counts['proved']} proved, {counts['certified']} certified, "
        f"{counts['supported']} supported, {counts['refuted_as_expected']} refuted as expected, "
        f"{counts['unexpected']} unexpected; {counts['false_twins_refuted']} of {counts['false_twins']} false twins refuted",
        highlight=False,
    )


def _evidence(item: dict[str, Any]) -> str:
    failed = "" if item["ok"] else " (failed)"
    if item["kind"] == "symbolic":
        return f"{item['steps']} symbolic steps{failed}"
    if item["kind"] == "sampled":
        return f"{item['instances']} draws, ratio {item['worst_ratio']:.2g}{failed}"
    if item["kind"] == "exact":
        return f"{item['proved']}/{item['instances']} {item['arithmetic']}{failed}"
    if item["kind"] == "rate":
        name = "rate" if "stated" in item else "tail"
        return f"{name} {item['estimate']:.3g} [{item['lower']:.3g}, {item['upper']:.3g}]{failed}"
    if item["kind"] == "sharpness":
        return f"{item['counterexamples']} hypotheses sharp"
    return f"{item['kind']}{failed}"


def _explain(console: Console, result: Any) -> None:
    if result.as_expected and result.expected is not None and not result.counterexample:
        return
    console.print(f"\n{result.id}: {result.verdict}", highlight=False, markup=False, style="bold")
    if result.reason:
        console.print(f"  {result.reason}", highlight=False, markup=False)
    if result.counterexample:
        found = result.counterexample
        computed = (
            "" if found["relation"] == "holds" else f": {found['left']} {found['relation']} {found['right']} is false"
        )
        console.print(
            f"  counterexample to '{found['check']}', re-checked in {found['arithmetic']} arithmetic{computed}",
            highlight=False,
            markup=False,
        )
        console.print("\n".join("    " + line for line in found["text"].splitlines()), highlight=False, markup=False)
    for twin in result.false_twins:
        if not twin.refuted:
            console.print(f"  false twin not refuted: {twin.id}", highlight=False, markup=False)
    console.print(f"  This does not say more: {result.does_not_say}.", highlight=False, markup=False)
