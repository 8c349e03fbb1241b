"""Where the recursion starts: a linear layer whose input, and the gradient with respect to it, are known."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Flatten, Identity, Linear
from provable.observations import Observation
from provable.recovery.acceptance import power_of_two
from provable.recovery.fully_connected import numerical_rank, rank_one_input
from provable.recovery.layerwise.margins import logistic_margins, softmax_scales, squared_scales

Float = NDArray[np.float64]


SMALLEST_RATIO = 1e-6
"""Singular values of a last layer's gradient below this multiple of the largest are errors, not samples."""


@dataclasses.dataclass(frozen=True, eq=False)
class Anchor:
    """One candidate for the state of the network before a linear layer.

    Parameters
    ----------
    index : int
        The layer's position in the architecture.
    inputs : array of shape (features,)
        Its input.
    gradient : array of shape (features,)
        ∂L/∂inputs.
    label : array of shape (1,) or (1, C), or None
        The label that belongs to the candidate; None if the loss was not used.
    how : str
        How it was found, for people.
    """

    index: int
    inputs: Float
    gradient: Float
    label: NDArray[Any] | None
    how: str


def biased_layers(observation: Observation) -> tuple[int, ...]:
    """List the linear layers with a bias whose gradients were observed, nearest to the input first.

    Parameters
    ----------
    observation : Observation
        What was observed.

    Returns
    -------
    tuple of int
        Positions in the architecture.
    """
    return tuple(
        index
        for index, layer in enumerate(observation.architecture.layers)
        if isinstance(layer, Linear)
        and layer.bias
        and {f"{index}/weight", f"{index}/bias"} <= observation.vector.keys()
    )


def last_layer(observation: Observation) -> tuple[int | None, str]:
    """Find the last linear layer, if nothing but identities follow.

    Parameters
    ----------
    observation : Observation
        What was observed.

    Returns
    -------
    index : int or None
        Its position; None if the recursion cannot start from the loss.
    reason : str
        Why not; empty if it can.
    """
    layers = observation.architecture.layers
    index = max((place for place, layer in enumerate(layers) if isinstance(layer, Linear)), default=None)
    if index is None:
        return None, "there is no linear layer to start from"
    for place in range(index + 1, len(layers)):
        if not isinstance(layers[place], Flatten | Identity):
            return None, f"layer {place} ({layers[place].type}) follows the last linear layer; nothing may"
    if f"{index}/weight" not in observation.vector:
        return None, f"the gradient of {index}/weight was not observed"
    if observation.architecture.loss == "squared" and observation.labels is None:
        return None, (
            f"layer {index} (linear) has no bias, so its input is known up to a factor, and the loss squared gives the "
            "factor only if the label is known"
        )
    return index, ""


def anchors(observation: Observation) -> tuple[Anchor, ...] | str:
    """Find all candidates from which the recursion can start.

    Parameters
    ----------
    observation : Observation
        The gradient of one sample.

    Returns
    -------
    tuple of Anchor or str
        At least one candidate, the likeliest first, or the reason why there is none.
    """
    for index in biased_layers(observation):
        weight, bias = observation.vector[f"{index}/weight"], observation.vector[f"{index}/bias"]
        if not np.any(bias):
            continue
        rank, _ = numerical_rank(weight, bias)
        if rank > 1:
            return (
                f"the gradient of layer {index} (linear) has numerical rank {rank}, so at least {rank} samples are in it; "
                "one is accepted"
            )
        weight_power, bias_power = power_of_two(weight), power_of_two(bias)
        found = rank_one_input(np.ldexp(weight, -weight_power), np.ldexp(bias, -bias_power))
        inputs = np.ldexp(found, weight_power - bias_power)
        how = f"layer {index} (linear): weight gradient divided by bias gradient"
        return (Anchor(index, inputs, bias @ observation.parameters[f"{index}/weight"], None, how),)
    last, reason = last_layer(observation)
    if last is None:
        return f"no linear layer's bias has a gradient that is not zero, and {reason}"
    index = last
    gradient, weight = observation.vector[f"{index}/weight"], observation.parameters[f"{index}/weight"]
    if not np.any(gradient):
        return f"no sample is visible in layer {index} (linear): every entry of its gradient is zero"
    layer = observation.architecture.layers[index]
    assert isinstance(layer, Linear)
    # A bias whose gradient was not observed shifts the outputs, and the equations of the loss with them.
    if layer.bias:
        return (
            f"layer {index} (linear) has a bias whose gradient is zero or was not observed; a gradient of it is needed"
        )
    _, singular, right = np.linalg.svd(np.ldexp(gradient, -power_of_two(gradient)), full_matrices=False)
    rank = int(np.count_nonzero(singular > SMALLEST_RATIO * singular[0]))
    if rank > 1:
        return (
            f"the gradient of layer {index} (linear) has numerical rank {rank}, so at least {rank} samples are in it; one "
            "is accepted"
        )
    direction = right[0]
    products = gradient @ direction
    loss = observation.architecture.loss
    if loss == "logistic":
        return _logistic(observation, index, gradient[0], weight[0])
    if loss == "squared":
        return _squared(observation, index, direction, products, weight)
    return _softmax(observation, index, direction, products, weight)


def _logistic(observation: Observation, index: int, gradient: Float, weight: Float) -> tuple[Anchor, ...] | str:
    value = float(gradient @ weight)
    margins = logistic_margins(value)
    if not margins:
        return (
            f"layer {index} (linear): the product {value:.3g} of weight and gradient is below -0.2785, which no single "
            "sample has under the loss logistic"
        )
    labels = (1.0, -1.0) if observation.labels is None else (float(observation.labels[0]),)
    found = []
    for margin in margins:
        for label in labels:
            coefficient = -label / (1 + np.exp(min(margin, 700.0)))
            how = f"margin {margin:.6g} and label {label:g} under the loss logistic"
            found.append(Anchor(index, gradient / coefficient, coefficient * weight, np.array([label]), how))
    return tuple(found)


def _squared(
    observation: Observation, index: int, direction: Float, products: Float, weight: Float
) -> tuple[Anchor, ...] | str:
    assert observation.labels is not None
    label = np.asarray(observation.labels, dtype=np.float64).reshape(1, -1)
    scales = squared_scales(weight @ direction, products, label[0])
    if not scales:
        return f"layer {index} (linear): no input explains its gradient with the label that is stated"
    return tuple(
        Anchor(
            index,
            scale * direction,
            (products / scale) @ weight,
            label,
            f"norm {abs(scale):.6g} under the loss squared",
        )
        for scale in scales
    )


def _softmax(
    observation: Observation, index: int, direction: Float, products: Float, weight: Float
) -> tuple[Anchor, ...] | str:
    classes = len(products)
    where = f"layer {index} (linear)"
    if classes == 1:
        return f"{where} has one output, whose softmax is constant; at least two outputs carry a gradient"
    if abs(float(np.sum(products))) > SMALLEST_RATIO * float(np.max(np.abs(products))):
        return (
            f"{where}: the rows of its gradient do not add up to zero, as those of every sample under cross_entropy do"
        )
    shown = int(np.argmax(np.abs(products)))
    # Two classes show opposite rows: each may be the label.
    labels = [shown] if classes > 2 else [0, 1]
    if observation.labels is not None:
        stated = int(observation.labels[0])
        if stated not in labels:
            return f"the label stated is {stated}, but the rows of the gradient of {where} are those of label {shown}"
        labels = [stated]
    found = []
    for label in labels:
        others = np.delete(np.arange(classes), label)
        row = products[label] * direction
        scales = softmax_scales(-products[others] / products[label], (weight[others] - weight[label]) @ row)
        for scale in scales:
            inputs = -scale * row
            coefficients = -products / (products[label] * scale)
            how = f"label {label} with probability {1 - 1 / scale:.6g} under the loss cross_entropy"
            found.append(Anchor(index, inputs, coefficients @ weight, np.array([label]), how))
    if not found:
        return f"{where}: no probabilities explain its gradient as one sample's under cross_entropy"
    # Of two twins the one with the smaller margin first: networks before training have small margins.
    return tuple(found)
