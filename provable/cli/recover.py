"""`provable recover`: find the data behind an observation."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from provable.cli.check import OF_OBSERVATIONS, in_numbers
from provable.cli.output import JsonOption, SeedOption, emit
from provable.cli.targets import check_targets

if TYPE_CHECKING:
    from provable.cli.truth import Truth
    from provable.recovery import Recovery

STYLES = {"certified": "bold green", "consistent": "green", "partial": "yellow", "failed": "red"}


def recover(
    observation: Annotated[str, typer.Argument(help="The observation (.npz); - for standard input.")],
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write the recovery (.npz) there, atomically.")
    ] = None,
    method: Annotated[
        str,
        typer.Option("--method", help="The algorithm; auto tries those that apply until one explains the observation."),
    ] = "auto",
    image: Annotated[Path | None, typer.Option("--image", help="Draw the recovery (.png) there.")] = None,
    truth: Annotated[
        Path | None,
        typer.Option("--truth", help="The data itself (.npz of `provable observe --truth`) to compare with."),
    ] = None,
    certificate: Annotated[
        Path | None, typer.Option("--certificate", help="Write the certificate (.json) there.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Recover the data behind one observation, with a certificate where one can be made.

    Parameters
    ----------
    observation : str
        The observation's file.
    output : Path, optional
        The recovery's file.
    method : str
        Name of an algorithm, or auto.
    image : Path, optional
        The picture's file.
    truth : Path, optional
        File with the data, for comparison.
    certificate : Path, optional
        The certificate's file.
    seed : int
        Seed of everything random.
    as_json : bool
        Print JSON instead of a table.

    Raises
    ------
    Exit
        With status 1 if the recovery is partial or failed, or no certificate could be written where one was asked for.
    """
    from provable.cli.truth import Truth
    from provable.files import write_atomically
    from provable.observations import Observation
    from provable.recovery import recover as recover_observation
    from provable.recovery.selection import passed_over

    check_targets(output, image, certificate, inputs=(observation, truth))
    known = None if truth is None else Truth.read(truth)
    seen = Observation.read(observation)
    result = recover_observation(seen, method=method, rng=seed)
    others = passed_over(seen, result.method) if method == "auto" else ()
    errors = None if known is None else compare(result, known, str(truth))
    contents: dict[Path, bytes] = {}
    if output is not None:
        contents[output] = result.to_bytes()
    if image is not None:
        from provable.cli.picture import draw

        contents[image] = draw(result, known)
    if certificate is not None and result.certificate is not None:
        contents[certificate] = (result.certificate.rstrip("\n") + "\n").encode()
    for path, content in contents.items():
        write_atomically(path, content)
    document = json.loads(result.to_json()) | ({} if errors is None else {"error": errors})
    document["passed_over"] = dict(others)

    def show(console: Console) -> None:
        _show(console, result, errors, others)
        for path in contents:
            console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)
        if certificate is not None and result.certificate is None:
            console.print("not written: there is no certificate", highlight=False)

    emit(json.dumps(document, indent=2), as_json=as_json, output=None, show=show)
    if result.status in ("partial", "failed") or (certificate is not None and result.certificate is None):
        raise typer.Exit(1)


def compare(result: Recovery, truth: Truth, name: str) -> dict[str, Any]:
    """Measure a recovery against the data, atom by atom after the best matching.

    Parameters
    ----------
    result : Recovery
        What was found.
    truth : Truth
        What is there.
    name : str
        How error messages call the file of `truth`.

    Returns
    -------
    dict
        ``points``: largest relative Euclidean error of a point, ``largest_entry``: largest absolute error of an entry,
        ``coefficients``: largest relative error of an atom's coefficients; null where an atom has no counterpart.

    Raises
    ------
    InputError
        If the shapes differ.
    """
    import math

    import numpy as np

    from provable.errors import InputError
    from provable.symmetries import is_symmetry

    if result.points.shape[1:] != truth.measure.points.shape[1:]:
        raise InputError(
            f"{name}: points: have shape {truth.measure.points.shape}; (n, "
            f"{', '.join(map(str, result.points.shape[1:]))}) would fit the observation"
        )
    symmetries = [word for word in result.fibre if word != "permutation" and is_symmetry(word)]
    matching = truth.matching(result.measure, ("permutation", *symmetries))
    if matching is None or not math.isfinite(matching.point_error):
        return {"points": None, "largest_entry": None, "coefficients": None}
    aligned = matching.apply(result.measure)
    return {
        "points": matching.point_error,
        "largest_entry": float(np.max(np.abs(aligned.points - truth.measure.points), initial=0.0)),
        "coefficients": float(np.max(matching.coefficient_errors, initial=0.0)),
    }


def _show(
    console: Console, result: Recovery, errors: dict[str, Any] | None, others: tuple[tuple[str, str], ...]
) -> None:
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    table.add_row(
        "status", f"[{STYLES[result.status]}]{result.status}[/]{', undetermined' if result.undetermined else ''}"
    )
    if result.reason:
        # one clause a line, the verdict first
        reason = result.reason.removeprefix("undetermined: ") if result.undetermined else result.reason
        for number, clause in enumerate(reason.replace("; ", ";\n").splitlines()):
            table.add_row("" if number else "reason", _plain(clause))
    table.add_row("method", _plain(result.method or "none"))
    if result.method:
        for name, reason in others:
            table.add_row("", _plain(f"not {name}: {reason}"), style="dim")
    table.add_row("atoms", str(len(result.points)))
    if result.labels is not None and result.labels.size <= 20:
        table.add_row("labels", _plain(", ".join(f"{label:g}" for label in result.labels.reshape(-1))))
    table.add_row("residual", f"{result.residual:.2e}")
    if errors is not None:
        for key, title in (("points", "relative error of the points"), ("coefficients", "… of the coefficients")):
            table.add_row(title, "no counterpart" if errors[key] is None else f"{errors[key]:.2e}")
    table.add_row("fibre", _plain(", ".join(result.fibre) or ("trivial" if result.measure.size else "unknown")))
    if result.certificate is not None:
        claim = json.loads(result.certificate).get("claim")
        table.add_row("certificate", _plain(f"{claim}, accepted by the independent checker"))
        if claim in OF_OBSERVATIONS:
            table.add_row("it proves that", _plain(in_numbers(result.certificate)))
    console.print(table, highlight=False)


def _plain(text: str) -> Any:
    from rich.text import Text

    return Text(text)
