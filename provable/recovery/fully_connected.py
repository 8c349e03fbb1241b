r"""One sample behind the gradient of a network whose first parametrised layer is fully connected with a bias.

Notes
-----
For one sample and :math:`z = Wx + b`, with :math:`\delta = \partial L/\partial z`,

.. math:: \partial L/\partial W = \delta x^T, \qquad \partial L/\partial b = \delta,

so every row with :math:`\delta_i \ne 0` gives :math:`x = (\partial L/\partial W)_i / \delta_i`, whatever comes after the
layer. All rows together: :math:`x = (\partial L/\partial W)^T \delta / \|\delta\|^2`, the least-squares solution, in which
the rounding errors of large rows count for little and those of zero rows not at all. Given x, the coefficients
:math:`c = \partial\ell/\partial f` enter :math:`v = \Phi_\theta(x, c) = \sum_k c_k \nabla_\theta f_k(x; \theta)` linearly.

References
----------
L. T. Phong et al., Privacy-preserving deep learning via additively homomorphic encryption, 2018, Section 3;
J. Geiping et al., Inverting gradients, 2020, Proposition 3.1.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Flatten, Identity, Linear
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import embed, forward
from provable.observations import Observation
from provable.recovery.acceptance import (
    RATIO,
    conditions,
    explaining_labels,
    fitted_coefficients,
    labels_agree,
    longest,
    norm_of,
    nothing_found,
    power_of_two,
    relative_misfit,
    rounding_tolerance,
)
from provable.recovery.method import Method
from provable.recovery.result import Recovery

Float = NDArray[np.float64]
Pieces = Mapping[str, Float]

NAME = "fully-connected"

SMALLEST_GAP = 1000.0
"""Neighbouring singular values of smaller ratio belong together; rounding to float16 makes gaps of a few thousand."""


def supports(observation: Observation) -> str | None:
    """Tell whether the method applies.

    Parameters
    ----------
    observation : Observation
        Any observation.

    Returns
    -------
    str or None
        None if it applies, otherwise the reason why not.
    """
    if observation.kind != "gradient":
        return f"it needs the gradient of a loss, and the observation is of kind {observation.kind}"
    index = _first_layer(observation)
    for position, layer in enumerate(observation.architecture.layers[:index]):
        if not isinstance(layer, Flatten | Identity):
            return f"layer {position} ({layer.type}) comes before the first linear one; flatten alone may"
    if index == len(observation.architecture.layers):
        return "the architecture has no linear layer"
    layer = observation.architecture.layers[index]
    assert isinstance(layer, Linear)
    if not layer.bias:
        return f"layer {index} (linear) has no bias, and without its gradient the input is known up to a factor only"
    for piece in ("weight", "bias"):
        if f"{index}/{piece}" not in observation.vector:
            return f"the gradient of {index}/{piece} was not observed"
    samples = observation.batch_size
    if samples is None and observation.labels is not None:
        samples = len(observation.labels)
    if samples is not None and samples > 1:
        rank, _ = numerical_rank(observation.vector[f"{index}/weight"], observation.vector[f"{index}/bias"])
        return (
            f"the observation is of {samples} samples, and the gradient of layer {index} (linear) has numerical rank {rank}; "
            "one sample is accepted"
        )
    return None


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    r"""Recover the sample and its coefficients in closed form.

    Parameters
    ----------
    observation : Observation
        One that `supports` accepts.
    rng : numpy.random.Generator
        Draws the perturbations with which the condition of the network is measured.

    Returns
    -------
    Recovery
        ``consistent`` if the first layer's gradient has rank one and the residual is at most
        :math:`30 k \varepsilon \kappa`, where k is the largest number of entries of a layer's input or output and κ ≥ 1
        the relative change of :math:`\Phi_\theta(x, c)` per relative change of θ, x and c, measured at the solution;
        ``partial`` if only the first layer's gradient is explained at rounding level; otherwise ``failed``, with the
        candidate if the rank is one but for errors above rounding. Labels are those of one sample. The fibre is trivial
        among measures of one atom, unless the observed pieces leave directions of c open.

    Raises
    ------
    UnsupportedError
        If `supports` gives a reason.
    """
    if (reason := supports(observation)) is not None:
        raise UnsupportedError(f"method {NAME}: {reason}")
    with np.errstate(all="ignore"):
        return _recover(observation, rng)


def _recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    index = _first_layer(observation)
    where = f"layer {index} (linear)"
    weight, bias = observation.vector[f"{index}/weight"], observation.vector[f"{index}/bias"]
    if not np.any(bias) and not np.any(weight):
        return nothing_found(observation, NAME, f"no sample is visible in {where}: every entry of its gradient is zero")
    if not np.any(bias):
        return nothing_found(
            observation, NAME, f"the gradient of {where} is no sample's: its bias is zero, its weight not"
        )
    # Powers of two bring both near 1, so that no square under- or overflows.
    weight_power, bias_power = power_of_two(weight), power_of_two(bias)
    scaled, sensitivity = np.ldexp(weight, -weight_power), np.ldexp(bias, -bias_power)
    scaled_point = rank_one_input(scaled, sensitivity)
    # Two roundings in an entry of the data, two in the fit; the data may have underflowed as well.
    underflow = math.ldexp(math.sqrt(weight.size), -1074 - weight_power)
    rounded = (
        norm_of([scaled - np.outer(sensitivity, scaled_point)]) <= RATIO * 4 * EPSILON * norm_of([scaled]) + underflow
    )
    rank, error = (1, 0.0) if rounded else numerical_rank(weight, bias)
    if rank > 1:
        return nothing_found(
            observation,
            NAME,
            f"the gradient of {where} has numerical rank {rank}, so at least {rank} samples are in it; one is accepted",
        )
    inputs = np.ldexp(scaled_point, weight_power - bias_power).reshape(1, *observation.architecture.input_shape)
    coefficients, open_directions = fitted_coefficients(observation, inputs, NAME)
    if not (np.all(np.isfinite(inputs)) and np.all(np.isfinite(coefficients))):
        return nothing_found(
            observation, NAME, f"the input of {where}, or what follows from it, is not finite in float64"
        )
    result = _judged(observation, inputs, coefficients, open_directions, rng)
    if rounded:
        return result
    reason = (
        f"the gradient of {where} has rank 1 up to a relative error of {error:.1e} only, so it was rounded to less than "
        "float64, noise was added or samples of little weight are in it"
    )
    return dataclasses.replace(result, status="failed", reason=reason)


def rank_one_input(weight: Float, bias: Float) -> Float:
    r"""Solve :math:`V = g x^T` for x by least squares.

    Parameters
    ----------
    weight : array of shape (m, d)
        V, the gradient of the weight.
    bias : array of shape (m,)
        g, the gradient of the bias, not zero, of magnitude about 1.

    Returns
    -------
    array of shape (d,)
        :math:`V^T g / \|g\|^2`, accumulated in extended precision where the machine has it.
    """
    rows = np.flatnonzero(bias)
    factors = bias[rows].astype(np.longdouble)
    total = factors @ factors
    result = np.empty(weight.shape[1])
    # Blocks of columns bound the memory of the extended copy.
    width = max(1, 2**22 // max(len(rows), 1))
    for start in range(0, weight.shape[1], width):
        block = weight[rows, start : start + width].astype(np.longdouble)
        result[start : start + width] = ((factors @ block) / total).astype(np.float64)
    return result


def numerical_rank(weight: Float, bias: Float) -> tuple[int, float]:
    """Count the samples that are visible in a layer's gradient.

    Parameters
    ----------
    weight : array of shape (m, d)
        Gradient of the weight.
    bias : array of shape (m,)
        Gradient of the bias.

    Returns
    -------
    rank : int
        Where the singular values of [weight, bias], its columns scaled to norm 1, have their widest gap, those at the
        level of rounding being equal; full if no gap reaches `SMALLEST_GAP`.
    error : float
        The first singular value after the gap, relative to the first of all; 0 if the rank is full.
    """
    columns = np.column_stack([np.ldexp(weight, -power_of_two(weight)), np.ldexp(bias, -power_of_two(bias))])
    # Unit columns: the bias must count, however large or small the inputs are.
    lengths = np.linalg.norm(columns, axis=0)
    columns = columns[:, lengths > 0] / lengths[lengths > 0]
    if not columns.size:
        return 0, 0.0
    singular = np.linalg.svd(columns, compute_uv=False)
    raised = np.maximum(singular, 8 * max(columns.shape) * EPSILON * singular[0])
    gaps = raised[:-1] / raised[1:]
    if np.max(gaps, initial=0.0) < SMALLEST_GAP:
        return len(singular), 0.0
    rank = 1 + int(np.argmax(gaps))
    return rank, float(singular[rank] / singular[0])


def _judged(
    observation: Observation, inputs: Float, coefficients: Float, open_directions: int, rng: np.random.Generator
) -> Recovery:
    architecture, parameters = observation.architecture, observation.parameters
    try:
        image = embed(architecture, parameters, Measure(inputs, coefficients))
    except InputError as error:  # a value inside is not finite
        return nothing_found(observation, NAME, f"the network cannot be evaluated at the input found ({error})")
    residual = relative_misfit(image, observation.vector)
    length = longest(observation)
    condition, _ = conditions(observation, inputs, coefficients, image, rng)
    tolerance = rounding_tolerance(observation, condition)
    fibre = (f"null-space:{open_directions}",) if open_directions else ()
    if not math.isfinite(residual):
        return nothing_found(observation, NAME, "the network overflows at the input found")
    if not residual <= tolerance:
        reason = (
            f"the residual {residual:.2g} is above {tolerance:.2g} = 30·{length}·ε·{condition:.2g}, so more than one "
            "sample or an error above rounding is in the gradient"
        )
        index = _first_layer(observation)
        # One visible row is a multiple of (x, 1) for any mixture of samples: then rank one says nothing.
        shown = np.count_nonzero(observation.vector[f"{index}/bias"]) > 1
        status = "partial" if shown else "failed"
        return Recovery(inputs, coefficients, None, residual, NAME, fibre, status, reason=reason)
    outputs = forward(architecture, parameters, inputs)
    labels = None if open_directions else explaining_labels(observation, outputs, coefficients, tolerance)
    reason = ""
    if labels is None and not open_directions:
        reason = f"no label explains the coefficients as one sample's under the loss {architecture.loss}"
    if (
        labels is not None
        and observation.labels is not None
        and not labels_agree(labels, observation.labels, tolerance)
    ):
        reason = "the labels that the observation states are not those that its gradient shows"
        return Recovery(inputs, coefficients, labels, residual, NAME, fibre, "failed", reason=reason)
    norm = float(np.linalg.norm(inputs))
    # The input is as exact as the gradient, whose relative error the tolerance bounds.
    if observation.unit_norm and not abs(norm - 1) <= tolerance:
        reason = f"the observation states that the input has norm 1, and its gradient shows norm {norm:.4g}"
        return Recovery(inputs, coefficients, labels, residual, NAME, fibre, "failed", reason=reason)
    return Recovery(inputs, coefficients, labels, residual, NAME, fibre, "consistent", reason=reason)


def _first_layer(observation: Observation) -> int:
    layers = observation.architecture.layers
    return next((index for index, layer in enumerate(layers) if isinstance(layer, Linear)), len(layers))


METHOD = Method(NAME, supports, recover)
