"""Does a sample explain an observed gradient in every piece?"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, losses
from provable.observations import Observation
from provable.recovery.acceptance import (
    conditions,
    explaining_labels,
    fitted_coefficients,
    labels_agree,
    longest,
    relative_misfit,
    rounding_tolerance,
)

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Judgement:
    """A sample and how well it explains an observation.

    Parameters
    ----------
    inputs : array of shape (1, *input_shape)
        The sample.
    coefficients : array of shape (1, C)
        Its coefficients.
    labels : array of shape (1,) or (1, C), or None
        Its label, if one explains the coefficients.
    residual : float
        Relative misfit of all observed pieces together; infinite if the network overflows.
    open_directions : int
        Directions of the coefficients that the observed pieces leave open.
    accepted : bool
        Whether every piece is explained at the level of rounding, and no stated label is contradicted.
    reason : str
        Why not, or why there is no label.
    """

    inputs: Float
    coefficients: Float
    labels: NDArray[Any] | None
    residual: float
    open_directions: int
    accepted: bool
    reason: str


def judge(
    observation: Observation, inputs: Float, label: NDArray[Any] | None, method: str, rng: np.random.Generator
) -> Judgement:
    r"""Test a sample.

    Parameters
    ----------
    observation : Observation
        What was observed.
    inputs : array of shape (1, *input_shape)
        The sample.
    label : array of shape (1,) or (1, C), or None
        The label with which its coefficients are those of the loss; None to fit the coefficients to the observation.
    method : str
        Name of the method, for error messages.
    rng : numpy.random.Generator
        Draws the perturbations with which conditions are measured.

    Returns
    -------
    Judgement
        Accepted if the relative misfit of all pieces together, and of each that is not zero alone, is at most
        :math:`30 k \varepsilon \kappa` with its own κ.
    """
    evaluated = _evaluated(observation, inputs, label, method)
    if evaluated is None:
        nothing = np.zeros((1, observation.architecture.output_size))
        reason = "the network cannot be evaluated at the input found"
        return Judgement(inputs, nothing, label, math.inf, 0, False, reason)
    outputs, coefficients, open_directions, image = evaluated
    residual = relative_misfit(image, observation.vector)
    overall, single = conditions(observation, inputs, coefficients, image, rng)
    reason = _excess(observation, "", residual, overall)
    for key, piece in observation.vector.items():
        if not reason and np.any(piece):
            misfit = relative_misfit(image, {key: piece})
            reason = _excess(observation, f" of {key}", misfit, single[key])
    tolerance = rounding_tolerance(observation, overall)
    accepted = not reason
    labels = label
    if accepted and label is None and not open_directions:
        labels = explaining_labels(observation, outputs, coefficients, tolerance)
        if labels is None:
            reason = (
                f"no label explains the coefficients as one sample's under the loss {observation.architecture.loss}"
            )
    if (
        accepted
        and labels is not None
        and observation.labels is not None
        and not labels_agree(labels, observation.labels, tolerance)
    ):
        accepted, reason = False, "the labels that the observation states are not those that its gradient shows"
    return Judgement(inputs, coefficients, labels, residual, open_directions, accepted, reason)


def _evaluated(
    observation: Observation, inputs: Float, label: NDArray[Any] | None, method: str
) -> tuple[Float, Float, int, Parameters] | None:
    """Outputs, coefficients, their open directions and the embedding; None if a value inside is not finite."""
    architecture, parameters = observation.architecture, observation.parameters
    try:
        outputs = forward(architecture, parameters, inputs)
        if label is None:
            coefficients, open_directions = fitted_coefficients(observation, inputs, method)
        else:
            coefficients, open_directions = losses.residual(architecture.loss, outputs, label), 0
        return outputs, coefficients, open_directions, embed(architecture, parameters, Measure(inputs, coefficients))
    except InputError:  # which they are refused with
        return None


def _excess(observation: Observation, what: str, misfit: float, condition: float) -> str:
    tolerance = rounding_tolerance(observation, condition)
    if misfit <= tolerance:
        return ""
    return f"the residual{what} {misfit:.2g} is above {tolerance:.2g} = 30·{longest(observation)}·ε·{condition:.2g}"
