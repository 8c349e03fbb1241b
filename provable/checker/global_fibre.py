r"""The claim ``global-fibre``: a direction in which the input can be changed without any gradient noticing.

Let the first layer with parameters have the system U = [W; K] (see `layer_ranks`), and let only flatten or identity
layers precede it. If U v = 0, then x + tv gives the same pre-activation Wx + b, so the same output and the same sensitivity
D at that layer's output; hence the same gradients of every later layer and of the bias, and its own weight gradient K(D)x
does not change either because K(D)v = 0. For a convolution and a v that lives on inputs covered by no patch, U v = 0
whatever the parameters and the sensitivity are.
"""

from __future__ import annotations

import hashlib
from fractions import Fraction
from math import prod
from typing import Any

from provable.checker import documents
from provable.checker.description import Layer, Shape, layers_of, output_shape, pair
from provable.checker.layer_system import Axis
from provable.checker.verdict import Invalid


def check(data: dict[str, Any], subject: str) -> str:
    """Check a ``global-fibre`` claim.

    Parameters
    ----------
    data : dict
        ``architecture``, ``layer``, ``vector``, and optionally ``weight`` and ``sensitivity``, flat in row-major order.
    subject : str
        SHA-256 of the architecture's text.

    Returns
    -------
    str
        What was proved.

    Raises
    ------
    Invalid
        If the claim is not proved.
    """
    documents.keys(data, {"architecture", "layer", "vector"}, {"weight", "sensitivity"})
    if not isinstance(data["architecture"], str):
        raise Invalid("architecture is not a text")
    if hashlib.sha256(data["architecture"].encode()).hexdigest() != subject:
        raise Invalid("the subject is not the SHA-256 of the architecture")
    layers, shape = layers_of(data["architecture"])
    layer, shape = _first(layers, shape, data["layer"])
    vector = documents.rationals(data["vector"], "vector", prod(shape))
    if not any(vector):
        raise Invalid("the vector is zero")
    if ("weight" in data) != ("sensitivity" in data):
        raise Invalid("weight and sensitivity are not both present or both absent")
    outputs = output_shape(layer, shape)
    if layer["type"] == "linear":
        shape, outputs, kernel, stride, padding = (*shape, 1, 1), (*outputs, 1, 1), (1, 1), (1, 1), (0, 0)
    else:
        kernel, stride, padding = (
            pair(layer, "kernel_size"),
            pair(layer, "stride", 1),
            pair(layer, "padding", 0, least=0),
        )
    vertical, horizontal = (Axis(*sizes) for sizes in zip(shape[1:], kernel, stride, padding, strict=True))
    seen = [
        [(p * outputs[2] + q, i * shape[2] + j) for p, i in vertical.seen(a) for q, j in horizontal.seen(b)]
        for a in range(kernel[0])
        for b in range(kernel[1])
    ]
    if "weight" not in data:
        pixels = shape[1] * shape[2]
        covered = {pixel for pairs in seen for _, pixel in pairs}
        if any(value and index % pixels in covered for index, value in enumerate(vector)):
            raise Invalid("the vector is not zero on an input that a patch covers, and no weight is given")
        return "the vector lives on inputs that no patch covers, so no gradient depends on it"
    weight = documents.rationals(data["weight"], "weight", outputs[0] * shape[0] * len(seen))
    sensitivity = documents.rationals(data["sensitivity"], "sensitivity", prod(outputs))
    _require_null(weight, sensitivity, vector, seen, shape, outputs)
    return "the vector is annihilated exactly by the layer's weight and by its gradient's sensitivity"


def _first(layers: list[Layer], shape: Shape, path: Any) -> tuple[Layer, Shape]:
    """The first layer with parameters, which must be the one named, and its input shape."""
    for index, layer in enumerate(layers):
        if layer["type"] in ("linear", "conv2d"):
            if path != str(index):
                raise Invalid(f"the first layer with parameters is {index}, not the one that is named")
            output_shape(layer, shape)
            return layer, shape
        if layer["type"] not in ("flatten", "identity"):
            break
        shape = output_shape(layer, shape)
    raise Invalid("the architecture does not begin with a linear or conv2d layer")


def _require_null(
    weight: list[Fraction],
    sensitivity: list[Fraction],
    vector: list[Fraction],
    seen: list[list[tuple[int, int]]],
    shape: Shape,
    outputs: Shape,
) -> None:
    pixels, positions = shape[1] * shape[2], outputs[1] * outputs[2]
    for o in range(outputs[0]):
        image = [Fraction(0)] * positions
        for c in range(shape[0]):
            for lag, pairs in enumerate(seen):
                coefficient = weight[(o * shape[0] + c) * len(seen) + lag]
                gradient = Fraction(0)
                for position, pixel in pairs:
                    value = vector[c * pixels + pixel]
                    if value:
                        image[position] += coefficient * value
                        gradient += sensitivity[o * positions + position] * value
                if gradient:
                    raise Invalid("the vector changes the weight gradient of the layer")
        if any(image):
            raise Invalid("the vector changes the output of the layer")
