"""`provable audit`: what the gradient of one sample gives away, proved from the architecture alone."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console

from provable.cli.output import JsonOption, OutputOption, SeedOption, emit
from provable.errors import InputError

if TYPE_CHECKING:
    from provable.leakage import Audit, LayerAudit
    from provable.leakage.metrics import CramerRao


def audit(
    architecture: Annotated[
        str | None,
        typer.Argument(help="A name of the zoo (see --list) or a FILE.json (- for standard input) or FILE.onnx."),
    ] = None,
    batch_size: Annotated[int, typer.Option("--batch-size", help="Number of samples behind the gradient.")] = 1,
    noise: Annotated[
        float | None, typer.Option("--noise", help="Standard deviation of the noise on the gradient.")
    ] = None,
    external_weights: Annotated[
        bool,
        typer.Option(
            "--external-weights", help="Accept a FILE.onnx whose weights lie in another file, without opening it."
        ),
    ] = False,
    seed: SeedOption = 0,
    list_zoo: Annotated[bool, typer.Option("--list", help="Print the architectures that have a name.")] = False,
    as_json: JsonOption = False,
    output: OutputOption = None,
) -> None:
    """Security metrics of an architecture, with proofs: which layers can be solved, and what stays open.

    Parameters
    ----------
    architecture : str, optional
        A name of the zoo, or a file.
    batch_size : int
        Number of samples behind the gradient.
    noise : float, optional
        Standard deviation of the noise on the gradient.
    external_weights : bool
        Whether the weights of an ONNX file may lie in another file.
    seed : int
        Seed of the witnesses.
    list_zoo : bool
        Print the zoo instead.
    as_json : bool
        Print JSON instead of a table.
    output : Path, optional
        Where the JSON is written as well.

    Raises
    ------
    InputError
        If there is not exactly one of an architecture and ``--list``.
    """
    if list_zoo:
        if architecture is not None:
            raise InputError(
                f"--list: was given with the architecture {architecture[:60]!r}; one of the two is accepted"
            )
        _list(as_json, output)
        return
    if architecture is None:
        raise InputError(
            "ARCHITECTURE: is missing; a name of the zoo (see --list), a .json or .onnx file or - is accepted"
        )
    from provable.architectures import load
    from provable.leakage import audit as run

    with _progress() as tell:
        result = run(
            load(architecture, external_weights=external_weights),
            batch_size=batch_size,
            noise=noise,
            rng=seed,
            progress=tell,
        )
    emit(result.to_json(), as_json=as_json, output=output, show=lambda console: show(result, console))


@contextlib.contextmanager
def _progress() -> Iterator[Callable[[str, int, int], None]]:
    """Draw a bar on stderr, on a terminal only."""
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    console = Console(stderr=True)
    if not console.is_terminal:  # older releases of Rich end a disabled bar in an empty line
        yield lambda what, done, total: None
        return
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task("reading", total=None)
        yield lambda what, done, total: bar.update(task, description=what, completed=done, total=total)


def show(result: Audit, console: Console) -> None:
    """Print an audit for people.

    Parameters
    ----------
    result : Audit
        The audit.
    console : rich.console.Console
        Where to.
    """
    from rich.markup import escape
    from rich.table import Table

    samples = "one sample" if result.batch_size == 1 else f"{result.batch_size} samples"
    table = Table(
        title=f"{escape(result.architecture.name)}: equations that the gradient of {samples} gives for each layer's input"
    )
    table.add_column("layer", no_wrap=True)
    for heading in ("unknowns", "equations", "rank", "short by"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("layer-by-layer attack")
    table.add_column("how proved")
    for layer in result.layers:
        how = layer.how_upper if layer.how_lower is None else f"≥ {layer.how_lower}, ≤ {layer.how_upper}"
        table.add_row(
            f"{layer.path} {layer.type}",
            str(layer.unknowns),
            f"{layer.forward_equations} + {layer.gradient_equations}",
            _interval(layer.rank_lower, layer.rank_upper, layer.rank_upper),
            _interval(layer.deficit_lower, layer.deficit_upper, layer.unknowns),
            attack(layer),
            how,
        )
    console.print(table)
    colour = {"identifiable": "red", "ambiguous": "green"}.get(result.verdict, "yellow")
    console.print(f"[bold {colour}]{result.verdict}[/]  {result.explanation}", highlight=False, soft_wrap=True)
    ambiguity, inputs = result.ambiguity, result.batch_size * result.architecture.input_size
    undecided = ambiguity.lower == 0 and ambiguity.upper is None
    metrics = {
        "open dimensions (N*)": "not known" if undecided else _interval(ambiguity.lower, ambiguity.upper, inputs),
        "because": result.ambiguity.how,
        "dead inputs": str(result.dead_inputs),
        "c(M)": "not defined" if result.c_metric is None else str(result.c_metric),
        "R-GAP's index": "not defined" if result.rgap_index is None else str(result.rgap_index),
    }
    if result.cramer_rao is not None:
        metrics["error under noise"] = _noisy(result.cramer_rao)
    for name, value in metrics.items():
        console.print(f"{name}: {value}", highlight=False, markup=False, soft_wrap=True)
    console.print("assuming:", highlight=False)
    for assumption in result.assumptions:
        console.print(f"- {assumption}", highlight=False, markup=False, soft_wrap=True)


def _noisy(bound: CramerRao) -> str:
    """Say the Cramér-Rao bound in a sentence."""
    where = f"(numerically, {bound.instance}; noise of standard deviation {bound.noise:g} on every gradient entry)"
    partial = bound.identifiable_rmse_lower_bound
    if bound.nullity is None:
        return f"not resolved: the singular values show no gap {where}"
    if bound.rmse_lower_bound is not None:
        return f"an unbiased attack errs by at least {bound.rmse_lower_bound:.3g} per input value {where}"
    answer = f"no unbiased attack recovers all of the sample, {bound.nullity} dimensions being open"
    if partial is not None:
        answer += f"; on the others it errs by at least {partial:.3g}"
    return f"{answer} {where}"


def attack(layer: LayerAudit) -> str:
    """Say what an attack layer by layer, from the output on, gets out of a layer.

    Parameters
    ----------
    layer : LayerAudit
        The layer's system.

    Returns
    -------
    str
        A few words.
    """
    if not layer.reached:
        return "not reached"
    if layer.hidden:
        return "stuck: outputs hidden"
    if layer.is_solvable:
        return "leaks its input"
    if layer.deficit_lower > 0:
        return f"stuck: {layer.deficit_lower} short"
    return "not decided"


def _interval(lower: int | None, upper: int | None, most: int) -> str:
    if lower == upper:
        return str(lower)
    if lower is None:
        return f"≤ {upper}"
    return f"≥ {lower}" if upper is None or upper == most else f"{lower} to {upper}"


def _list(as_json: bool, output: Path | None) -> None:
    from provable.architectures.zoo import zoo

    rows = [
        {
            "name": name,
            "input_shape": list(network.input_shape),
            "layers": " ".join(layer.type for layer in network.layers),
            "parameters": network.parameter_count,
            "loss": network.loss,
        }
        for name, network in zoo().items()
    ]

    def show_zoo(console: Console) -> None:
        from rich.table import Table

        table = Table(
            "name", "input", "layers with parameters", "parameters", "loss", title="Architectures with a name"
        )
        for row, network in zip(rows, zoo().values(), strict=True):
            kinds = [layer.type for layer in network.layers if layer.type in ("conv2d", "linear")]
            shapes = "×".join(map(str, network.input_shape))
            counts = [f"{kinds.count(kind)} {kind}" for kind in dict.fromkeys(kinds)]
            table.add_row(str(row["name"]), shapes, ", ".join(counts), str(row["parameters"]), network.loss)
        console.print(table)

    emit(json.dumps({"zoo": rows}, indent=2), as_json=as_json, output=output, show=show_zoo)
