r"""Parameter matching where no exact method applies: standard training, more samples than dimensions, deeper networks.

Candidates are kept in the row space of the first layer's change. For one hidden layer they start where projections onto its
column space come to rest (`provable.recovery.parameter_matching.starting_points`), otherwise at noise; then the
reconstruction loss is minimised, with tangents at θ for linearised training and in the middle of the chord for standard
training (`provable.recovery.parameter_matching.features`). Without biases the norms are those with which the trained network
has the labels' magnitude.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import embed, forward
from provable.observations import Observation
from provable.recovery.acceptance import nothing_found, relative_misfit
from provable.recovery.method import Method
from provable.recovery.parameter_matching import alternating_projections
from provable.recovery.parameter_matching.annealing import (
    Annealing,
    affordable_steps,
    annealed,
    fitted_coefficients,
    row_space,
    typical_coefficient,
)
from provable.recovery.parameter_matching.features import is_linearised, moved_parameters
from provable.recovery.parameter_matching.loo2024 import number_of_samples
from provable.recovery.parameter_matching.loo2024 import supports as supports_matching
from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss
from provable.recovery.parameter_matching.starting_points import starting_points
from provable.recovery.result import Recovery
from provable.recovery.training_labels import linearised_outputs

Float = NDArray[np.float64]

NAME = "parameter-matching"

FROM_NOISE = Annealing()
FROM_PATTERNS = Annealing(steps=800, learning_rate=0.01, first_sharpness=100.0, constant=0.3)

SMALLEST_PART = 1e-3
"""Candidates whose tangent has less than this share of ‖Δθ‖ are dropped; what they are is not determined."""


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it is a change of the parameters of a dense ReLU network by training on a known number of samples, otherwise
        the reason why not.
    """
    return supports_matching(observation)


def recover(observation: Observation, rng: np.random.Generator, *, features: str | None = None) -> Recovery:
    """Match a change of parameters.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws starts.
    features : {"initial", "final", "both", "middle"}, optional
        Where tangents are taken; by default at θ if the change can be a sum of tangents there, otherwise in the middle.

    Returns
    -------
    Recovery
        What alternating projections find if that explains the change up to rounding. Otherwise candidates, the heaviest part
        of Δθ first, with the status ``failed``: nothing tells which of them are samples. Their coefficients are those of the
        tangents at the parameters named in the reason.

    Raises
    ------
    UnsupportedError
        If the observation is not supported.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    linearised = is_linearised(observation)
    if linearised and features in (None, "initial") and alternating_projections.supports(observation) is None:
        exact = alternating_projections.recover(observation, rng)
        if exact.status == "consistent":
            return dataclasses.replace(exact, method=NAME)
    features = features or ("initial" if linearised else "middle")
    loss = ReconstructionLoss.of(observation, features)
    if loss.scale == 0.0:
        return nothing_found(observation, NAME, "the parameters did not change, so that no sample left a trace")
    samples = number_of_samples(observation)
    assert samples is not None
    points, start, schedule = _starts(loss, samples, rng)
    schedule = dataclasses.replace(schedule, steps=affordable_steps(loss, len(points), schedule.steps))
    with np.errstate(over="ignore", invalid="ignore"):
        points, coefficients, value = annealed(loss, points, start, schedule)
    if not (np.all(np.isfinite(points)) and np.all(np.isfinite(coefficients))):
        return nothing_found(observation, NAME, "the candidates ran away to numbers that are not finite")
    order = _by_weight(loss, points, coefficients)
    points, weights = points[order], coefficients[0][order]
    rescaled = _with_norms(observation, points, linearised) if loss.networks[0].is_homogeneous else None
    if rescaled is not None:
        points, weights = points * rescaled[:, None], weights / rescaled[:, None]
    shaped = points.reshape(-1, *observation.architecture.input_shape)
    residual = relative_misfit(
        embed(observation.architecture, observation.parameters, Measure(shaped, weights)), observation.vector
    )
    kind = "linearised" if linearised else "standard"
    open_norms = loss.networks[0].is_homogeneous and rescaled is None
    return Recovery(
        shaped,
        weights,
        None,
        residual if np.isfinite(residual) else 1.0,
        NAME,
        ("permutation", "positive-scaling") if open_norms else ("permutation",),
        "failed",
        reason=(
            f"{len(points)} candidates for {samples} samples of what looks like {kind} training, at a relative loss of "
            f"{value:.2g} with {features} features; no test tells which of them are samples"
        ),
    )


def _starts(loss: ReconstructionLoss, samples: int, rng: np.random.Generator) -> tuple[Float, Float, Annealing]:
    network = loss.networks[0]
    weight_key, bias_key = network.keys[0]
    shallow = len(network.weights) == 2 and loss.outputs == 1 and weight_key in loss.target
    if shallow and (bias_key is None or bias_key in loss.target):
        gradient, weight = loss.target[weight_key], network.weights[0]
        if bias_key is not None:
            gradient = np.column_stack([gradient, loss.target[bias_key]])
            weight = np.column_stack([weight, network.biases[0]])
        found = starting_points(gradient, weight, network.weights[1][0], samples, rng, has_bias=bias_key is not None)
        if len(found) >= samples:
            return found, fitted_coefficients(loss, found), FROM_PATTERNS
    count = 2 * samples
    basis = row_space(loss)
    # The norm of the released attack's first candidates, whatever the dimension of the row space.
    size = 0.2 * np.sqrt(loss.dimension / max(1, len(basis)))
    points = size * rng.standard_normal((count, len(basis))) @ basis
    unit = typical_coefficient(loss, points)
    return points, unit * (rng.random((len(loss.networks), count, loss.outputs)) - 0.5), FROM_NOISE


def _by_weight(loss: ReconstructionLoss, points: Float, coefficients: Float) -> NDArray[np.int64]:
    """Candidates whose tangents are not negligible in Δθ, the heaviest first."""
    sizes = np.zeros(len(points))
    for network, weights in zip(loss.networks, coefficients, strict=True):
        for index in range(len(points)):
            passed = network.forward(points[index : index + 1])
            image = network.embedding(passed, network.sensitivities(passed, weights[index : index + 1]))
            sizes[index] += sum(float(np.vdot(image[key], image[key])) for key in loss.target)
    order = np.argsort(-sizes)
    heavy: NDArray[np.int64] = order[sizes[order] >= SMALLEST_PART**2 * loss.scale]
    return heavy


def _with_norms(observation: Observation, points: Float, linearised: bool) -> Float | None:
    """Factors with which the trained network has the labels' magnitude, if that is one number."""
    labels = observation.labels
    magnitudes = np.zeros(0) if labels is None else np.unique(np.abs(np.asarray(labels, dtype=np.float64)))
    if len(magnitudes) != 1 or magnitudes[0] == 0 or observation.architecture.output_size != 1:
        return None
    shaped = points.reshape(-1, *observation.architecture.input_shape)
    if linearised:
        outputs = linearised_outputs(observation, shaped)
    else:
        outputs = forward(observation.architecture, moved_parameters(observation, 1.0), shaped)
    if outputs is None or not np.all(np.isfinite(outputs)) or not np.all(outputs):
        return None
    return np.asarray(magnitudes[0] / np.abs(outputs[:, 0]))


METHOD = Method(NAME, supports, recover)
