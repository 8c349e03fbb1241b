"""Observations that training leaves, for `provable observe --train`."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from provable.cli.trained_stationary import STOPPED, stationary_point, stationary_sentence
from provable.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from provable.measures import Measure
    from provable.networks import Parameters
    from provable.observations import Observation
    from provable.training.optimisers import Optimiser

    Float = NDArray[np.float64]

TRAIN = ("linearised", "gradient-descent", "stationary-point")
"""What can be trained: the network's linearisation at its random parameters, the network itself, or that until it stands."""

OPTIMISERS = ("descent", "adam")
"""How steps are taken."""

STEPS = 10_000
"""Steps that are taken if none are asked for and training has no closed form."""

ADAM_RATE = 1e-3
"""Learning rate of Adam if none is given."""


@dataclass(frozen=True)
class TrainingOptions:
    """What the command line says of training; None where it says nothing.

    Parameters
    ----------
    train : str or None
        One of `TRAIN`; None for the gradient of the loss, without training.
    steps : int or None
        Number of steps.
    learning_rate : float or None
        η.
    optimiser : str or None
        One of `OPTIMISERS`.
    momentum : float or None
        ρ.
    weight_decay : float or None
        w.
    target_loss : float or None
        Where to stop.

    Raises
    ------
    InputError
        If an option is unknown, out of range, or given without what it belongs to; the message names it.
    """

    train: str | None
    steps: int | None = None
    learning_rate: float | None = None
    optimiser: str | None = None
    momentum: float | None = None
    weight_decay: float | None = None
    target_loss: float | None = None

    def __post_init__(self) -> None:
        given = {name: value for name, value in vars(self).items() if value is not None and name != "train"}
        if self.train is None:
            for name in given:
                raise InputError(f"{_option(name)}: is given without --train; {' or '.join(TRAIN)} would be trained")
            return
        if self.train not in TRAIN:
            raise InputError(f"--train: found {self.train[:40]!r}; {' and '.join(TRAIN)} are accepted")
        if self.optimiser not in (None, *OPTIMISERS):
            raise InputError(f"--optimiser: found {self.optimiser[:40]!r}; {' and '.join(OPTIMISERS)} are accepted")
        for name, value in given.items():
            if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
                raise InputError(f"{_option(name)}: found {value}; a nonnegative number is accepted")
        if self.learning_rate == 0:
            raise InputError("--learning-rate: found 0; a positive number is accepted")
        if self.train == "stationary-point":
            for name in ("optimiser", "target_loss"):
                if getattr(self, name) is not None:
                    raise InputError(
                        f"{_option(name)}: is given with --train stationary-point, which descends to where nothing moves"
                    )
        if self.optimiser == "adam" and self.momentum is not None:
            raise InputError("--momentum: is given with --optimiser adam, which has its own; descent takes it")
        if self.momentum is not None and self.momentum >= 1:
            raise InputError(f"--momentum: found {self.momentum}; a number from 0 to below 1 is accepted")


@dataclass(frozen=True, eq=False)
class TrainedObservation:
    """An observation by training, the truth behind it, and how training went.

    Parameters
    ----------
    observation : Observation
        Of kind ``"parameter-change"`` or ``"stationary-point"``.
    measure : Measure
        The samples and their coefficients: exact after linearised descent, otherwise those of the best approximation.
    report : dict
        Numbers for people and for JSON.
    """

    observation: Observation
    measure: Measure
    report: dict[str, Any]


def trained_observation(
    parameters: Parameters,
    inputs: Float,
    labels: NDArray[Any],
    options: TrainingOptions,
    *,
    reduction: str,
    stated: bool,
) -> TrainedObservation:
    """Train, and observe the change of the parameters, or the parameters themselves at a stationary point.

    Parameters
    ----------
    parameters : Parameters
        Where training starts.
    inputs : array of shape (n, *input_shape)
        The samples.
    labels : array
        Their labels, as the loss wants them.
    options : TrainingOptions
        How to train; ``train`` is not None.
    reduction : {"sum", "mean"}
        How the loss is reduced over the samples.
    stated : bool
        Whether the observation states the labels.

    Returns
    -------
    TrainedObservation
        The observation and what is behind it.
    """
    if options.train == "stationary-point":
        found = stationary_point(
            parameters,
            inputs,
            labels,
            weight_decay=options.weight_decay or 0.0,
            steps=options.steps,
            learning_rate=options.learning_rate,
            momentum=options.momentum,
            reduction=reduction,
            stated=stated,
        )
        return TrainedObservation(*found)
    if _has_closed_form(parameters, options):
        return _closed_form(parameters, inputs, labels, options, reduction=reduction, stated=stated)
    return _by_steps(parameters, inputs, labels, options, reduction=reduction, stated=stated)


def sentence(report: dict[str, Any]) -> str:
    """Say how training went.

    Parameters
    ----------
    report : dict
        The report of a trained observation.

    Returns
    -------
    str
        One or two sentences.
    """
    if report["stopped"] in STOPPED:
        return stationary_sentence(report)
    how = (
        "to its limit"
        if report["steps"] is None
        else f"for {report['steps']} step{'' if report['steps'] == 1 else 's'}"
    )
    if report["learning_rate"] is not None:
        how += f" at the learning rate {report['learning_rate']:.4g}"
    if report["stopped"] == "loss":
        how += ", when it reached the target loss"
    text = (
        f"Trained ({report['dynamics']}, {report['optimiser']}) {how}: "
        f"the loss went from {report['loss_before']:.4g} to {report['loss']:.4g}. "
    )
    if report["outside_span"] is None:
        text += "The change is an exact tangent embedding of the samples."
    else:
        text += f"Of the change, {_share(report['outside_span'])} of the norm lies outside the span of the samples' tangents"
        beside = report["outside_span_with_initial"]
        text += "." if beside is None else f", {_share(beside)} if the initial parameters are counted into it."
    return text + (f" Note that {report['remark']}." if report["remark"] else "")


def _share(number: float) -> str:
    return f"{number:.2%}" if number >= 1e-4 else f"{number:.0e}"


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")


def _has_closed_form(parameters: Parameters, options: TrainingOptions) -> bool:
    return (
        options.train == "linearised"
        and parameters.architecture.loss == "squared"
        and options.optimiser in (None, "descent")
        and not options.weight_decay
        and options.target_loss is None
    )


def _closed_form(
    parameters: Parameters,
    inputs: Float,
    labels: NDArray[Any],
    options: TrainingOptions,
    *,
    reduction: str,
    stated: bool,
) -> TrainedObservation:
    from provable.networks import losses
    from provable.training.linearised_networks import train_linearised

    for name in ("learning_rate", "momentum"):
        if options.steps is None and getattr(options, name) is not None:
            raise InputError(f"{_option(name)}: is given without --steps; the limit of training does not depend on it")
    found = train_linearised(
        parameters.architecture,
        parameters,
        inputs,
        labels,
        steps=options.steps,
        learning_rate=options.learning_rate,
        momentum=options.momentum or 0.0,
        reduction=reduction,
        labels_known=stated,
    )
    factor = len(inputs) if reduction == "mean" else 1
    before = float(losses.value("squared", found.initial_outputs, labels).sum())
    rate = options.learning_rate
    if rate is None and options.steps is not None:
        rate = factor / found.training.largest_eigenvalue if found.training.largest_eigenvalue else 1.0
    report = {
        "dynamics": "linearised",
        "optimiser": "descent",
        "steps": options.steps,
        "learning_rate": rate,
        "stopped": "limit" if options.steps is None else "steps",
        "loss_before": before / factor,
        "loss": found.training.loss / factor,
        "outside_span": None,
        "outside_span_with_initial": None,
        "remark": found.training.explanation,
    }
    return TrainedObservation(found.observation, found.measure, report)


def _by_steps(
    parameters: Parameters,
    inputs: Float,
    labels: NDArray[Any],
    options: TrainingOptions,
    *,
    reduction: str,
    stated: bool,
) -> TrainedObservation:
    from provable.measures import Measure
    from provable.training.gradient_descent import train
    from provable.training.span import decompose

    optimiser = _optimiser(parameters, inputs, options, reduction)
    found = train(
        parameters.architecture,
        parameters,
        inputs,
        labels,
        optimiser=optimiser,
        steps=STEPS if options.steps is None else options.steps,
        target_loss=options.target_loss,
        dynamics="linearised" if options.train == "linearised" else "standard",
        reduction=reduction,
    )
    observation = found.observation(labels_known=stated)
    measure, outside, beside = found.measure, None, None
    if measure is None or found.initial_share != 0:
        parts = decompose(observation, inputs)
        outside, measure = parts.outside, measure or Measure(inputs, parts.coefficients)
        beside = decompose(observation, inputs, with_initial=True).outside if options.weight_decay else None
    report = {
        "dynamics": "linearised" if options.train == "linearised" else "standard",
        "optimiser": options.optimiser or "descent",
        "steps": found.steps,
        "learning_rate": optimiser.learning_rate,
        "stopped": found.stopped,
        "loss_before": float(found.losses[0]),
        "loss": float(found.losses[-1]),
        "outside_span": outside,
        "outside_span_with_initial": beside,
        "remark": "",
    }
    return TrainedObservation(observation, measure, report)


def _optimiser(parameters: Parameters, inputs: Float, options: TrainingOptions, reduction: str) -> Optimiser:
    from provable.training.optimisers import Adam, GradientDescent

    decay = options.weight_decay or 0.0
    if options.optimiser == "adam":
        return Adam(ADAM_RATE if options.learning_rate is None else options.learning_rate, weight_decay=decay)
    rate = options.learning_rate
    if rate is None:
        from provable.networks import tangent_kernel
        from provable.training.linearised_networks import default_learning_rate

        kernel = tangent_kernel(parameters.architecture, parameters, inputs)
        # the second derivative of the loss is at most 1, 1/4 and 1/2
        curvature = {"squared": 1.0, "logistic": 0.25, "cross_entropy": 0.5}[parameters.architecture.loss]
        rate = default_learning_rate(kernel, len(inputs), reduction) / curvature
        rate = rate / (1.0 + rate * decay)  # one over the largest eigenvalue, decay included
    return GradientDescent(rate, options.momentum or 0.0, weight_decay=decay)
