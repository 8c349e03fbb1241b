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
    train: Annotated[
        str | None,
        typer.Option(
            "--train",
            help="Observe the change of the parameters by training instead of a gradient: linearised (at the random "
            "parameters) or gradient-descent (the network itself); or the parameters at a stationary-point, where they are "
            "a sum of the samples' gradients (with --weight-decay; without it for the largest margin, of a homogeneous "
            "network with one logit). The samples are shifted by their mean grey value.",
        ),
    ] = None,
    steps: Annotated[
        int | None,
        typer.Option(
            "--steps", min=1, help="Number of steps; linearised training on the squared loss goes to its limit without."
        ),
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option("--learning-rate", help="Default: one over the tangent kernel's largest eigenvalue.")
    ] = None,
    optimiser: Annotated[str | None, typer.Option("--optimiser", help="descent (the default) or adam.")] = None,
    momentum: Annotated[float | None, typer.Option("--momentum", help="Heavy-ball momentum of the descent.")] = None,
    weight_decay: Annotated[float | None, typer.Option("--weight-decay", help="Weight decay toward zero.")] = None,
    target_loss: Annotated[float | None, typer.Option("--target-loss", help="Stop at this training loss.")] = None,
    with_labels: Annotated[bool, typer.Option("--with-labels", help="State the labels in the observation.")] = False,
    truth: Annotated[
        Path | None, typer.Option("--truth", help="Write the data itself (.npz) there, to compare a recovery with.")
    ] = None,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Make an observation file: what data leave behind in a network with random parameters, by a gradient or by training.

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
    train : str, optional
        What is trained; by default nothing is, and the observation is the gradient of the loss.
    steps : int, optional
        Number of steps.
    learning_rate : float, optional
        Of the optimiser.
    optimiser : str, optional
        How steps are taken.
    momentum : float, optional
        Of the descent.
    weight_decay : float, optional
        Toward zero.
    target_loss : float, optional
        Where training stops.
    with_labels : bool
        Whether the observation states the labels.
    truth : Path, optional
        Where the samples, their coefficients and labels go.
    seed : int
        Seed of the parameters.
    as_json : bool
        Print JSON instead of a table.

    Raises
    ------
    InputError
        If there are no such data, they do not fit the architecture, or an option is wrong.
    """
    import numpy as np

    from provable.architectures import load
    from provable.cli.samples import samples
    from provable.cli.trained import TrainingOptions, sentence, trained_observation
    from provable.cli.truth import Truth
    from provable.measures import Measure
    from provable.networks import Parameters, forward, losses
    from provable.observations import REDUCTIONS, Observation

    check_targets(output, truth)
    if reduction not in REDUCTIONS:
        raise InputError(f"--reduction: found {reduction!r}; {' and '.join(REDUCTIONS)} are accepted")
    options = TrainingOptions(train, steps, learning_rate, optimiser, momentum, weight_decay, target_loss)
    description = load(architecture)
    inputs, classes = samples(data, description, index, count)
    labels = _labels(description, classes)
    parameters = Parameters.random(description, rng=np.random.default_rng(seed))
    summary: dict[str, Any] = {}
    if train is None:
        observation = Observation.from_data(
            description, parameters, inputs, labels, reduction=reduction, labels_known=with_labels
        )
        coefficients = losses.residual(description.loss, forward(description, parameters, inputs), labels)
        measure = Measure(inputs, coefficients / (count if reduction == "mean" else 1))
        text = ""
    else:
        inputs = inputs - inputs.mean()
        trained = trained_observation(parameters, inputs, labels, options, reduction=reduction, stated=with_labels)
        observation, measure, text = trained.observation, trained.measure, sentence(trained.report)
        summary = {"training": trained.report}
    contents = {output: observation.to_bytes()}
    if truth is not None:
        contents[truth] = Truth(measure, labels).to_bytes()
    _finish(contents, observation_summary(observation, data, index, count) | summary, text, as_json)


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


def _finish(contents: dict[Path, bytes], summary: dict[str, Any], text: str, as_json: bool) -> None:
    from provable.files import write_atomically

    for path, content in contents.items():
        write_atomically(path, content)

    def show(console: Console) -> None:
        samples = summary["data"]
        last = samples["index"] + samples["count"] - 1
        numbers = f"sample {samples['index']}" if samples["count"] == 1 else f"samples {samples['index']} to {last}"
        what = {
            "gradient": "The gradient of",
            "parameter-change": "The change of the parameters by training on",
            "stationary-point": "The parameters after training on",
        }[summary["kind"]]
        console.print(
            f"{what} {numbers} of {samples['name']} in {summary['architecture']} "
            f"({summary['parameters']} parameters, loss {summary['loss']}).",
            highlight=False,
            markup=False,
        )
        if text:
            console.print(text, highlight=False, markup=False)
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
