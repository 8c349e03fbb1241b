"""The kinks of activations: which pre-activations are zero, and the slopes on both sides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.architectures import (
    ELU,
    Activation,
    Architecture,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
)
from provable.arithmetic import EPSILON, Array
from provable.errors import UnsupportedError
from provable.networks import Parameters, Trace, activations, layers, trace

KINK_ROUNDINGS = 2**10
"""Default size of a pre-activation that counts as zero, in roundings of |w||x|: long sums and what a solver leaves."""


def one_sided_slopes(layer: Layer) -> tuple[float, float] | None:
    """The slopes of an activation left and right of its kink at zero.

    Parameters
    ----------
    layer : Layer
        Any layer.

    Returns
    -------
    tuple of two float or None
        None for activations without a kink and for other layers.
    """
    slopes = (1.0, 1.0)
    if isinstance(layer, ReLU):
        slopes = (0.0, 1.0)
    elif isinstance(layer, LeakyReLU):
        slopes = (layer.negative_slope, 1.0)
    elif isinstance(layer, ELU):
        slopes = (layer.alpha, 1.0)
    return None if slopes[0] == slopes[1] else slopes


def _bound(layer: Layer, path: str, absolute: Mapping[str, Array], bound: Array) -> Array:
    """Entries of the size of |w||x|, from such entries of the layer's input."""
    match layer:
        case Linear():
            weight = absolute[f"{path}/weight"]
            squares = (weight * weight).sum(axis=1)
            lengths = (bound * bound).sum(axis=1)
            if layer.bias:
                squares, lengths = squares + absolute[f"{path}/bias"] ** 2, lengths + 1.0
            return np.asarray(np.sqrt(lengths)[:, None] * np.sqrt(squares))
        case Identity() | ReLU():
            return bound
        case LeakyReLU():
            return np.asarray(bound * max(1.0, abs(layer.negative_slope)))
        case Polynomial():
            return activations.value(Polynomial(tuple(map(abs, layer.coefficients))), bound)
        case Activation():
            return np.asarray(np.maximum(abs(activations.value(layer, bound)), abs(activations.value(layer, -bound))))
    return layers.apply(layer, path, absolute, bound)


def find_kinks(
    architecture: Architecture, parameters: Parameters, points: Any, *, tolerance: float | None = None
) -> dict[str, NDArray[np.bool_]]:
    """Find the pre-activations that are zero, up to rounding unless the numbers are exact.

    Parameters
    ----------
    architecture : Architecture
        A chain of layers.
    parameters : Parameters
        θ, floats or rationals.
    points : array_like of shape (n, *input_shape)
        The samples x_i, in the arithmetic of the parameters.
    tolerance : float, optional
        What |z| may be relative to |w||x|, Euclidean norms that count the bias and its constant input (behind the first layer
        the norm of a bound for the layer's input; sums of absolute values for convolutions). Default ``2**10 * 2**-52``, and
        zero for exact numbers, for which nothing else is accepted.

    Returns
    -------
    dict of str to ndarray of bool, shape (n, units)
        By the path of the activation, for the activations that have a kink.

    Raises
    ------
    UnsupportedError
        For a residual block or max-pooling, which the message names.
    """
    return kinks_among(relative_heights(architecture, parameters, trace(architecture, parameters, points)), tolerance)


def kinks_among(heights: Mapping[str, Array], tolerance: float | None = None) -> dict[str, NDArray[np.bool_]]:
    """Tell which relative pre-activations count as zero.

    Parameters
    ----------
    heights : mapping of str to ndarray of shape (n, units)
        From `relative_heights`.
    tolerance : float, optional
        As for `find_kinks`.

    Returns
    -------
    dict of str to ndarray of bool, shape (n, units)
        As for `find_kinks`.
    """
    limit = KINK_ROUNDINGS * EPSILON if tolerance is None else tolerance
    return {path: np.asarray(height <= limit, dtype=np.bool_) for path, height in heights.items()}


def relative_heights(architecture: Architecture, parameters: Parameters, traced: Trace) -> dict[str, Array]:
    """The pre-activations |z| of kinked activations relative to |w||x|.

    Parameters
    ----------
    architecture : Architecture
        A chain of layers.
    parameters : Parameters
        θ.
    traced : Trace
        A forward evaluation.

    Returns
    -------
    dict of str to ndarray of float64, shape (n, units)
        By the path of the activation; zero where z is. Of exact numbers, zero or infinity.

    Raises
    ------
    UnsupportedError
        For a residual block or max-pooling, which the message names.
    """
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Residual | MaxPool2d):
            raise UnsupportedError(
                f"layer {index} ({layer.type}): Clarke tangents need a chain of layers without pooling of maxima"
            )
    exact = arithmetic.kind(traced.output) != "float64"
    absolute = {} if exact else {name: np.abs(array) for name, array in parameters.items()}
    bound = np.zeros(0) if exact else np.abs(traced.inputs["0"])
    heights = {}
    for index, layer in enumerate(architecture.layers):
        path = str(index)
        if one_sided_slopes(layer) is not None:
            before = traced.inputs[path]
            zero = np.asarray(before == 0, dtype=np.bool_)
            height = np.where(zero, 0.0, np.inf)
            if not exact:
                np.divide(np.abs(before), bound, out=height, where=~zero & (bound > 0))
            heights[path] = height.reshape(len(before), -1)
        if not exact:
            bound = _bound(layer, path, absolute, bound)
    return heights
