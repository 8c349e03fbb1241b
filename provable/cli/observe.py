"""`provable observe`: make an observation from an architecture and data."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from provable.cli.output import JsonOption, SeedOption, emit
from provable.cli.targets import check_targets
from provable.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from provable.architectures import Architecture


def observe(
    output: Annotated[Path, typer.Option("-o", "--output", help="Write the observation (.npz) there, atomically.")],
    data: Annotated[
        str,
        typer.Option(
            "--data", help="Which data: digits (8 by 8 images, in scikit-learn) or synthetic (random images)."
        ),
    ] = "digits",
    index: Annotated[int, typer.Option("--index", min=0, help="Number of the first sample.")] = 0,
    count: Annotated[int, typer.Option("--count", min=1, help="Number of samples in the batch.")] = 1,
    architecture: Annotated[
        str, typer.Option("--architecture", help="A name of the zoo or a FILE.json (- for standard input).")
    ] = "two-layer-tanh",
    reduction: Annotated[str, typer.Option("--reduction", help="How the loss is reduced: sum or mean.")] = "sum",
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Write the data itself (.npz) there, to compare a recovery with.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make an observation file: the gradient that data leave behind in a network with random parameters.

    Parameters
    ----------
    output : Path
        The observation's file.
    data : str
        The data set.
    index : int
        Number of the first sample.
    count : int
        Number of samples, one after the other.
    architecture : str
        A name of the zoo, or a file.
    reduction : str
        How the loss is reduced over the batch.
    truth : Path, optional
        Where the samples, their coefficients and labels go.
    seed : int
        Seed of the parameters.
    as_json : bool
        Print JSON instead of a table.

    Raises
    ------
    InputError
        If there are no such data or they do not fit the architecture.
    """
    import numpy as np

    from provable.architectures import load
    from provable.cli.samples import samples
    from provable.cli.truth import Truth
    from provable.measures import Measure
    from provable.networks import Parameters, forward, losses
    from provable.observations import REDUCTIONS, Observation

    check_targets(output, truth)
    if reduction not in REDUCTIONS:
        raise InputError(f"--reduction: found {reduction!r}; {' and '.join(REDUCTIONS)} are accepted")
    description = load(architecture)
    inputs, classes = samples(data, description, index, count)
    labels = _labels(description, classes)
    parameters = Parameters.random(description, rng=np.random.default_rng(seed))
    observation = Observation.from_data(description, parameters, inputs, labels, reduction=reduction)
    contents = {output: observation.to_bytes()}
    if truth is not None:
        coefficients = losses.residual(description.loss, forward(description, parameters, inputs), labels)
        coefficients = coefficients / (count if reduction == "mean" else 1)
        contents[truth] = Truth(Measure(inputs, coefficients), labels).to_bytes()
    _finish(contents, observation_summary(observation, data, index, count), as_json)


def observation_summary(observation: Any, data: str, index: int, count: int) -> dict[str, Any]:
    """Describe an observation in JSON's types.

    Parameters
    ----------
    observation : Observation
        The observation.
    data : str
        The data set.
    index, count : int
        Which samples.

    Returns
    -------
    dict
        Format, kind, architecture, number of parameters, samples and SHA-256.
    """
    return {
        "format": "provable-observation/1",
        "kind": observation.kind,
        "architecture": observation.architecture.name,
        "loss": observation.architecture.loss,
        "parameters": observation.architecture.parameter_count,
        "reduction": observation.reduction,
        "batch_size": observation.batch_size,
        "data": {"name": data, "index": index, "count": count},
        "sha256": observation.sha256,
    }


def _finish(contents: dict[Path, bytes], summary: dict[str, Any], as_json: bool) -> None:
    from provable.files import write_atomically

    for path, content in contents.items():
        write_atomically(path, content)

    def show(console: Console) -> None:
        samples = summary["data"]
        last = samples["index"] + samples["count"] - 1
        numbers = f"sample {samples['index']}" if samples["count"] == 1 else f"samples {samples['index']} to {last}"
        console.print(
            f"The gradient of {numbers} of {samples['name']} in {summary['architecture']} "
            f"({summary['parameters']} parameters, loss {summary['loss']}).",
            highlight=False,
            markup=False,
        )
        for path in contents:
            console.print(f"written: {path}", highlight=False, markup=False, soft_wrap=True)

    emit(json.dumps(summary, indent=2), as_json=as_json, output=None, show=show)


def _labels(architecture: Architecture, classes: NDArray[np.int64]) -> NDArray[Any]:
    """Turn digits into labels: the class, its unit vector, or 1 for odd and -1 for even ones."""
    import numpy as np

    outputs = architecture.output_size
    if outputs == 1:
        return np.where(classes % 2 == 1, 1.0, -1.0)
    if outputs < 10:
        raise InputError(f"--architecture: {architecture.name} has {outputs} outputs; 1 or at least 10 fit the digits")
    return classes if architecture.loss == "cross_entropy" else np.eye(outputs)[classes]
