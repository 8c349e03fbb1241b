"""Stationary points of training, for `provable observe --train stationary-point`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from provable.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from provable.measures import Measure
    from provable.networks import Parameters
    from provable.observations import Observation

    Float = NDArray[np.float64]

FIRST_LAYER = 20.0
"""By how much the first layer is smaller than a random one, so that training leaves the kernel regime (Haim et al. 2022)."""

VISIBLE = 1e-9
"""Above this residual with backpropagation's slopes, kinks are mentioned."""

STOPPED = ("stationary-point", "unfinished")
"""What the report of such a training says of its end."""


def stationary_point(
    parameters: Parameters,
    inputs: Float,
    labels: NDArray[Any],
    *,
    weight_decay: float,
    steps: int | None,
    learning_rate: float | None,
    momentum: float | None,
    reduction: str,
    stated: bool,
) -> tuple[Observation, Measure, dict[str, Any]]:
    """Train from a small first layer to a stationary point.

    Parameters
    ----------
    parameters : Parameters
        Where training begins, but for the first layer, which is divided by `FIRST_LAYER`.
    inputs : array of shape (n, *input_shape)
        The samples.
    labels : array
        Their labels, as the loss wants them.
    weight_decay : float
        w; zero for the max-margin problem.
    steps : int or None
        Number of steps of descent.
    learning_rate : float or None
        η.
    momentum : float or None
        ρ.
    reduction : {"sum", "mean"}
        How the loss is reduced; only the sum is accepted.
    stated : bool
        Whether the observation states the labels.

    Returns
    -------
    observation : Observation
        Of kind ``"stationary-point"``.
    measure : Measure
        The samples with their coefficients.
    report : dict
        Numbers for people and for JSON.

    Raises
    ------
    InputError
        If the loss is averaged, or training refuses an argument.
    """
    from provable.networks import Parameters, forward
    from provable.training.separable_losses import total
    from provable.training.stationary_training import STEPS, train_to_stationarity

    if reduction != "sum":
        raise InputError(f"--reduction: found {reduction} with --train stationary-point; sum is accepted")
    first = next(iter(parameters)).rpartition("/")[0] + "/"
    start = Parameters(
        parameters.architecture,
        {name: array / FIRST_LAYER if name.startswith(first) else array for name, array in parameters.items()},
    )
    found = train_to_stationarity(
        parameters.architecture,
        start,
        inputs,
        labels,
        weight_decay=weight_decay,
        steps=STEPS if steps is None else steps,
        learning_rate=learning_rate,
        momentum=momentum,
    )

    report = {
        "dynamics": "standard",
        "optimiser": "descent",
        "steps": STEPS if steps is None else steps,
        "learning_rate": learning_rate,
        "weight_decay": weight_decay,
        "stopped": "stationary-point" if found.finished else "unfinished",
        "loss_before": total(found.loss_name, forward(start.architecture, start, inputs), found.labels),
        "loss": found.loss,
        "outside_span": found.residual,
        "outside_span_with_initial": None,
        "hard_residual": found.hard_residual,
        "remark": found.reason,
    }
    return found.observation(labels_known=stated), found.measure, report


def stationary_sentence(report: dict[str, Any]) -> str:
    """Say how training to a stationary point went.

    Parameters
    ----------
    report : dict
        The report.

    Returns
    -------
    str
        A few sentences.
    """
    decay = f"weight decay {report['weight_decay']:g}" if report["weight_decay"] else "for the largest margin"
    text = (
        f"Trained (standard, descent, {decay}) for {report['steps']} steps: the loss went from "
        f"{report['loss_before']:.4g} to {report['loss']:.4g}"
    )
    text += " at the scale where the smallest margin is one. " if not report["weight_decay"] else ". "
    if report["remark"]:
        return text + (
            f"Newton's method did not finish it ({report['remark']}): what the samples do not explain of the parameters "
            f"has {report['outside_span']:.1e} of their norm."
        )
    text += (
        f"Newton's method finished it: what the samples do not explain of the parameters has {report['outside_span']:.1e} "
        "of their norm"
    )
    if report["hard_residual"] > VISIBLE:
        text += f", and {report['hard_residual']:.2g} if kinked units have the slopes that backpropagation gives them"
    return text + "."
