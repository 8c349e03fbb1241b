r"""Clarke's tangents of chains with kinked activations, at samples on which pre-activations are zero.

Notes
-----
For a kinked activation with slopes a left and b right of zero (ReLU 0 and 1), backpropagation with any slope s in [a, b] at
each pre-activation that is zero gives an element of the convex hull of the limits of gradients, which is Clarke's
subdifferential of θ ↦ Φ(θ; x), provided that the kinks can be perturbed on their own: each layer with kinks has a nonzero
input there. For two layers the kinked units have separate weights, so that all sides occur together and the subdifferential
is exactly the set of these tangents with one s_k in [a, b] for every kinked unit. (If the input of a deeper layer is zero,
the set formed here may be larger than Clarke's.)

In the slopes of one layer the tangent is affine,

.. math:: \nabla\Phi(s) = \nabla\Phi(a) + \sum_k \frac{s_k - a}{b - a}\, (b - a)\, g_k \nabla_\theta z_k ,

with z_k the pre-activation and g_k the gradient of Φ at the unit's output; z_k depends on the layers up to this one only.
With kinks in several layers it is affine in each and not in all. Here one layer keeps its slopes free (the *open* layer) and
the others take all combinations of one-sided slopes: the convex hull of the resulting *cells* is the whole set.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
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

MOST_COMBINATIONS = 64
"""Combinations of one-sided slopes in the layers that are not open, for one sample; beyond them only some are formed."""

LARGEST_CELLS = 2**32
"""Bytes that the tangents of all cells may take."""


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
    return _kinks(architecture, parameters, trace(architecture, parameters, points), tolerance)


def _kinks(
    architecture: Architecture, parameters: Parameters, traced: Trace, tolerance: float | None
) -> dict[str, NDArray[np.bool_]]:
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Residual | MaxPool2d):
            raise UnsupportedError(
                f"layer {index} ({layer.type}): Clarke tangents need a chain of layers without pooling of maxima"
            )
    exact = arithmetic.kind(traced.output) != "float64"
    relative = KINK_ROUNDINGS * EPSILON if tolerance is None else tolerance
    absolute = {} if exact else {name: np.abs(array) for name, array in parameters.items()}
    bound = np.zeros(0) if exact else np.abs(traced.inputs["0"])
    found = {}
    for index, layer in enumerate(architecture.layers):
        path = str(index)
        if one_sided_slopes(layer) is not None:
            before = traced.inputs[path]
            kinked = before == 0 if exact else np.abs(before) <= relative * bound
            found[path] = np.asarray(kinked, dtype=np.bool_).reshape(len(before), -1)
        if not exact:
            bound = _bound(layer, path, absolute, bound)
    return found


@dataclass(frozen=True, eq=False)
class ClarkeCells:
    """Sets of tangents base_g + Σ_k t_k step_k, 0 ≤ t_k ≤ 1, whose convex hulls are the sets of Clarke tangents.

    Attributes
    ----------
    constraints : ndarray of int, shape (G,)
        The function to which each cell belongs.
    base : ndarray of shape (G, P)
        The tangents with left slopes at the kinks of the open layer.
    steps : ndarray of shape (K, P)
        What moving one slope of the open layer from left to right adds; kinks that add nothing are left out.
    owners, units : ndarray of int, shape (K,)
        The cell and the unit to which each step belongs.
    open_layer : str or None
        The path of the activation whose slopes are free; None without kinks.
    slopes : mapping of str to ndarray of shape (G, units)
        The slopes of the kinked activations that the bases are formed with.
    kinks : mapping of str to ndarray of bool, shape (n, units)
        What `find_kinks` gives, by sample.
    complete : bool
        Whether all combinations of one-sided slopes were formed.
    """

    constraints: NDArray[np.intp]
    base: Array
    steps: Array
    owners: NDArray[np.intp]
    units: NDArray[np.intp]
    open_layer: str | None
    slopes: Mapping[str, Array]
    kinks: Mapping[str, NDArray[np.bool_]]
    complete: bool


def _gradients(
    architecture: Architecture,
    parameters: Parameters,
    inputs: Mapping[str, Array],
    slopes: Mapping[str, Array],
    cotangent: Array,
    last: int,
    watched: str | None = None,
) -> tuple[Array, Array]:
    """Backpropagate one row per entry of the batch from the output of layer `last`, with given slopes of activations.

    Returns the gradients, (rows, P), and the cotangents at the output of the watched layer.
    """
    pieces: dict[str, Array] = {}
    current, seen = cotangent, cotangent
    for index in reversed(range(last + 1)):
        layer, path = architecture.layers[index], str(index)
        if path == watched:
            seen = current
        if path in slopes:
            current = current * slopes[path].reshape(current.shape)
            continue
        for name, gradient in layers.sample_gradients(layer, inputs[path], current).items():
            pieces[f"{path}/{name}"] = gradient
        if index:
            current = layers.pull_back(layer, path, parameters, inputs[path], current)
    rows = len(cotangent)
    result = arithmetic.full((rows, architecture.parameter_count), 0, cotangent)
    start = 0
    for name, shape in architecture.parameter_shapes.items():
        stop = start + math.prod(shape)
        if name in pieces:
            result[:, start:stop] = pieces[name].reshape(rows, stop - start)
        start = stop
    return result, seen


def _sides(kinks: Mapping[str, NDArray[np.bool_]], sample: int, open_layer: str | None) -> Iterator[dict[str, Array]]:
    """Which kinks outside the open layer take their right slope, in all combinations."""
    places = [(path, unit) for path in kinks if path != open_layer for unit in np.flatnonzero(kinks[path][sample])]
    for sides in itertools.product((False, True), repeat=len(places)):
        result = {path: np.zeros(where.shape[1], dtype=np.bool_) for path, where in kinks.items()}
        for (path, unit), side in zip(places, sides, strict=True):
            result[path][unit] = side
        yield result


def clarke_cells(
    architecture: Architecture,
    parameters: Parameters,
    points: Any,
    samples: NDArray[np.intp],
    cotangents: Array,
    *,
    tolerance: float | None = None,
) -> ClarkeCells:
    """The Clarke tangents of the functions θ ↦ Σ_k e_ck f_k(θ; x_i) as cells.

    Parameters
    ----------
    architecture : Architecture
        A chain of layers: dense ones or convolutions, and activations of which ReLU, leaky ReLU and ELU have kinks.
    parameters : Parameters
        θ, floats or rationals.
    points : array_like of shape (n, *input_shape)
        The samples, in the arithmetic of the parameters.
    samples : ndarray of int, shape (q,)
        The sample i of each function.
    cotangents : ndarray of shape (q, C)
        The combination e_c of outputs of each function.
    tolerance : float, optional
        As for `find_kinks`.

    Returns
    -------
    ClarkeCells
        The open layer is the one with most kinks at the samples used. For a function with more combinations of the other
        kinks than 64, the first 64 are formed, which is less than all tangents and said by ``complete``.

    Raises
    ------
    UnsupportedError
        For a residual block or max-pooling, and if the tangents need more than 4 GiB.
    """
    traced = trace(architecture, parameters, points)
    kinks = _kinks(architecture, parameters, traced, tolerance)
    counts = {path: int(where[samples].sum()) for path, where in kinks.items()}
    open_layer = max(counts, key=counts.__getitem__) if any(counts.values()) else None

    constraints: list[int] = []
    sides: dict[str, list[Array]] = {path: [] for path in kinks}
    complete = True
    for constraint, sample in enumerate(samples):
        combinations = itertools.islice(_sides(kinks, int(sample), open_layer), MOST_COMBINATIONS + 1)
        for number, combination in enumerate(combinations):
            if number == MOST_COMBINATIONS:
                complete = False
                break
            constraints.append(constraint)
            for path, right in combination.items():
                sides[path].append(right)
    owner = np.array(constraints, dtype=np.intp)
    rows = np.asarray(samples, dtype=np.intp)[owner]

    slopes: dict[str, Array] = {}
    for path, where in kinks.items():
        layer = architecture.layers[int(path)]
        left, right = (arithmetic.constant(slope, traced.output) for slope in one_sided_slopes(layer) or (1, 1))
        before = traced.inputs[path].reshape(len(traced.output), -1)
        assert isinstance(layer, Activation)
        values = activations.derivative(layer, before)[rows]
        on_right = np.reshape(sides[path], values.shape).astype(np.bool_)
        values[where[rows] & ~on_right], values[where[rows] & on_right] = left, right
        slopes[path] = values
    width = 0 if open_layer is None else counts[open_layer]
    if 8 * architecture.parameter_count * (len(owner) + width) > LARGEST_CELLS:
        raise UnsupportedError(
            f"points: found {len(owner)} tangents and {width} kinks with {architecture.parameter_count} parameters; "
            f"at most {LARGEST_CELLS} bytes of tangents are accepted: take fewer samples"
        )

    def repeated(indices: NDArray[np.intp]) -> dict[str, Array]:
        return {path: array[indices] for path, array in traced.inputs.items()}

    last = len(architecture.layers) - 1
    base, seen = _gradients(
        architecture, parameters, repeated(rows), slopes, cotangents[owner], last, watched=open_layer
    )
    cells, units = np.zeros((2, 0), dtype=np.intp)
    steps = base[:0]
    if open_layer is not None:
        shape = seen.shape
        seen = seen.reshape(len(owner), -1)
        cells, units = np.nonzero(kinks[open_layer][rows] & np.asarray(seen != 0, dtype=np.bool_))
        left, right = (
            arithmetic.constant(s, seen) for s in one_sided_slopes(architecture.layers[int(open_layer)]) or (1, 1)
        )
        single = arithmetic.full((len(cells), seen.shape[1]), 0, seen)
        single[np.arange(len(cells)), units] = (right - left) * seen[cells, units]
        steps, _ = _gradients(
            architecture,
            parameters,
            repeated(rows[cells]),
            {path: array[cells] for path, array in slopes.items()},
            single.reshape(len(cells), *shape[1:]),
            int(open_layer) - 1,
        )
    return ClarkeCells(owner, base, steps, cells, units, open_layer, slopes, kinks, complete)
