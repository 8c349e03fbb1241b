"""Activation cells of (leaky) ReLU networks: where the network, and all its tangents, are affine in the sample.

Fix a slope for every hidden unit: one or the negative slope where its pre-activation is positive or negative, anything
between them where it is zero (Clarke). As long as no pre-activation changes sign, and those that are zero with a slope
between the two stay zero, x ↦ f(x; θ) and x ↦ ∇_θ f(x; θ) are affine: the sensitivities of all layers depend on the slopes
alone, the values on the way are affine in x, and a tangent is the product of both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.architectures import Architecture, Flatten, Identity, Layer, LeakyReLU, Linear, ReLU
from provable.arithmetic import Array, Float
from provable.errors import InputError, UnsupportedError
from provable.measures import as_numbers
from provable.networks import Parameters

KINK = 1e-9
"""Pre-activations below this multiple of ‖w‖ ‖x‖ + |b| count as zero in float64; training leaves about 1e-12."""


@dataclass(frozen=True, eq=False)
class Cell:
    """The closed activation cell of one sample.

    Attributes
    ----------
    rows : ndarray of shape (u, d)
        Gradients of the pre-activations of all hidden units with respect to the sample.
    values : ndarray of shape (u,)
        The pre-activations at the sample.
    kinks : ndarray of bool, shape (u,)
        Units whose pre-activation is zero, and is kept so.
    outputs : ndarray of shape (C, d)
        Gradients of the outputs.
    """

    rows: Array
    values: Array
    kinks: NDArray[np.bool_]
    outputs: Array

    @property
    def fixed(self) -> Array:
        """Gradients of all that a move within the cell may not change if it keeps the outputs.

        Returns
        -------
        ndarray of shape (r, d)
            Those of the kinks and of the outputs.
        """
        return np.concatenate([self.rows[self.kinks], self.outputs])

    def steps(self, direction: Array) -> tuple[Any, Any]:
        """How far one can go along a direction and against it without leaving the closed cell.

        Parameters
        ----------
        direction : ndarray of shape (d,)
            A direction along which kinks stay: the components of a kink are taken for zero.

        Returns
        -------
        forward, backward : number or None
            The largest factors; None where there is no boundary.
        """
        rates, values = (self.rows @ direction)[~self.kinks], self.values[~self.kinks]
        forward = backward = None
        for rate, value in zip(rates, values, strict=True):
            if rate == 0:
                continue
            step = abs(value / rate)
            if (rate < 0) == (value > 0):
                forward = step if forward is None or step < forward else forward
            else:
                backward = step if backward is None or step < backward else backward
        return forward, backward


@dataclass(frozen=True, eq=False)
class CellMeasure:
    """A measure whose atoms are attributed to the cells of given samples.

    Attributes
    ----------
    points : ndarray of shape (k, d)
        The atoms, flattened.
    coefficients : ndarray of shape (k, C)
        Their coefficients, one for each output.
    origin : ndarray of int, shape (k,)
        The sample in whose cell each atom lies, and whose slopes it has.
    """

    points: Array
    coefficients: Array
    origin: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class ActivationCells:
    """A dense (leaky) ReLU network with samples and slopes; `activation_cells` makes one.

    Attributes
    ----------
    layers : tuple of (str, Layer)
        The linear layers and activations with their paths.
    architecture : Architecture
        The network.
    parameters : Parameters
        θ.
    points : ndarray of shape (n, d)
        The samples, flattened.
    slopes : mapping of str to ndarray of shape (n, units)
        The slopes, by the path of the activation.
    kinks : mapping of str to ndarray of bool, shape (n, units)
        Which pre-activations count as zero.
    """

    layers: tuple[tuple[str, Layer], ...]
    architecture: Architecture
    parameters: Parameters
    points: Array
    slopes: Mapping[str, Array]
    kinks: Mapping[str, NDArray[np.bool_]]

    @property
    def first_weight(self) -> Array:
        """The first layer's weights.

        Returns
        -------
        ndarray of shape (units, d)
            W_1, without bias.
        """
        return self.parameters[f"{self.layers[0][0]}/weight"]

    def same_cell(self, i: int, j: int) -> bool:
        """Whether two samples have the same slopes, and their kinks at the same units.

        Parameters
        ----------
        i, j : int
            Which samples.

        Returns
        -------
        bool
            True if all slopes are equal.
        """
        return all(
            bool(np.all(s[i] == s[j])) and bool(np.all(self.kinks[path][i] == self.kinks[path][j]))
            for path, s in self.slopes.items()
        )

    def cell(self, index: int) -> Cell:
        """The cell of one sample.

        Parameters
        ----------
        index : int
            Which sample.

        Returns
        -------
        Cell
            All inequalities and equations, in the arithmetic of the parameters.
        """
        jacobian = self.first_weight
        # without hidden units there are no rows
        rows, values, kinks = [jacobian[:0]], [jacobian[:0, 0]], [np.zeros(0, dtype=np.bool_)]
        origin = np.array([index])
        for (path, layer), value in zip(self.layers[1:], self._forward(self.points[origin], origin)[1:], strict=False):
            if isinstance(layer, Linear):
                jacobian = self.parameters[f"{path}/weight"] @ jacobian
            else:
                rows.append(jacobian)
                values.append(value[0])
                kinks.append(self.kinks[path][index])
                jacobian = self.slopes[path][index][:, None] * jacobian
        return Cell(np.concatenate(rows), np.concatenate(values), np.concatenate(kinks), jacobian)

    def measure(self, coefficients: Array) -> CellMeasure:
        """The samples themselves with coefficients.

        Parameters
        ----------
        coefficients : ndarray of shape (n, C)
            Their coefficients.

        Returns
        -------
        CellMeasure
            Each sample in its own cell.
        """
        return CellMeasure(self.points, coefficients, np.arange(len(self.points)))

    def outputs(self, measure: CellMeasure) -> Array:
        """Outputs of the affine pieces.

        Parameters
        ----------
        measure : CellMeasure
            Any atoms.

        Returns
        -------
        ndarray of shape (k, C)
            f, as long as the atoms are in the cells to which they are attributed.
        """
        return self._forward(measure.points, measure.origin)[-1]

    def embedding(self, measure: CellMeasure) -> Array:
        """The tangent embedding Σ_j c_j ∇_θ f(x_j; θ) with the slopes of the cells.

        Parameters
        ----------
        measure : CellMeasure
            Any atoms.

        Returns
        -------
        ndarray of shape (P,)
            In the order of ``Parameters.vector``.
        """
        origin, current = measure.origin, measure.coefficients
        values = self._forward(measure.points, origin)
        pieces: dict[str, Array] = {}
        for (path, layer), received in zip(reversed(self.layers), reversed(values[:-1]), strict=True):
            if isinstance(layer, Linear):
                pieces[f"{path}/weight"] = current.T @ received
                if layer.bias:
                    pieces[f"{path}/bias"] = current.sum(axis=0)
                current = current @ self.parameters[f"{path}/weight"]
            else:
                current = current * self.slopes[path][origin]
        return np.concatenate([pieces[name].reshape(-1) for name in self.architecture.parameter_shapes])

    def tangent_sizes(self, measure: CellMeasure) -> Float:
        """The norms of the terms of the embedding, which rounding is relative to.

        Parameters
        ----------
        measure : CellMeasure
            Any atoms.

        Returns
        -------
        ndarray of shape (k,)
            ‖Σ_k c_jk ∇_θ f_k(x_j; θ)‖ of each atom, in float64.
        """
        current = measure.coefficients
        values = self._forward(measure.points, measure.origin)
        squares = np.zeros(len(measure.points))
        for (path, layer), received in zip(reversed(self.layers), reversed(values[:-1]), strict=True):
            if isinstance(layer, Linear):
                inputs = (arithmetic.to_float(received) ** 2).sum(axis=1) + layer.bias
                squares += (arithmetic.to_float(current) ** 2).sum(axis=1) * inputs
                current = current @ self.parameters[f"{path}/weight"]
            else:
                current = current * self.slopes[path][measure.origin]
        return np.asarray(np.sqrt(squares))

    def sensitivities(self, coefficients: Array) -> Array:
        """What the first layer's units contribute: its gradient is ΔᵀX.

        Parameters
        ----------
        coefficients : ndarray of shape (n, C)
            The coefficients of the samples.

        Returns
        -------
        ndarray of shape (n, units)
            Δ, gradients of Σ_k c_ik f_k with respect to the first layer's outputs.
        """
        current = coefficients
        for path, layer in reversed(self.layers[1:]):
            if isinstance(layer, Linear):
                current = current @ self.parameters[f"{path}/weight"]
            else:
                current = current * self.slopes[path]
        return current

    def at(self, measure: CellMeasure) -> ActivationCells:
        """The cells in which atoms really are, with the slopes of those that they are attributed to at kinks.

        Parameters
        ----------
        measure : CellMeasure
            Any atoms.

        Returns
        -------
        ActivationCells
            With the atoms as samples: away from kinks they have the slopes of the network.
        """
        return activation_cells(
            self.architecture,
            self.parameters,
            measure.points.reshape(-1, *self.architecture.input_shape),
            slopes={path: slopes[measure.origin] for path, slopes in self.slopes.items()},
        )

    def contains(self, measure: CellMeasure) -> bool:
        """Whether all atoms are in the closed cells to which they are attributed.

        Parameters
        ----------
        measure : CellMeasure
            Any atoms.

        Returns
        -------
        bool
            Exact for exact numbers; in float64 pre-activations count as zero up to `KINK`.
        """
        origin = measure.origin
        values = self._forward(measure.points, origin)
        for place, (path, layer) in enumerate(self.layers):
            if isinstance(layer, Linear):
                continue
            signs = _signs(self.parameters, self.layers[place - 1], values[place - 1], values[place])
            slopes, low, high = self.slopes[path][origin], *_extremes(layer, values[place])
            wrong = ((signs > 0) & (slopes != high)) | ((signs < 0) & (slopes != low))
            if np.any(wrong | ((signs != 0) & self.kinks[path][origin])):
                return False
        return True

    def _forward(self, points: Array, origin: NDArray[np.intp]) -> list[Array]:
        """The input of every layer, and the output."""
        values = [points]
        for path, layer in self.layers:
            if isinstance(layer, Linear):
                values.append(_affine(self.parameters, path, layer, values[-1]))
            else:
                values.append(values[-1] * self.slopes[path][origin])
        return values


def activation_cells(
    architecture: Architecture, parameters: Parameters, points: Any, *, slopes: Mapping[str, Any] | None = None
) -> ActivationCells:
    """Find the activation cells of samples.

    Parameters
    ----------
    architecture : Architecture
        A chain of linear layers, each followed by at most one ReLU, leaky ReLU or identity; flattening may come first.
    parameters : Parameters
        θ, float64 or rational.
    points : array_like of shape (n, *input_shape)
        The samples, in the same arithmetic.
    slopes : mapping of str to array_like of shape (n, units), optional
        Clarke weights as slopes, by the path of the activation (``"1"`` for the layer with index 1): what stands at
        units whose pre-activation is zero is used, the others have their own slope. By default the slope at zero is the
        one on the left, as in `provable.networks.forward` and its derivatives.

    Returns
    -------
    ActivationCells
        With a slope for every unit and sample.

    Raises
    ------
    InputError
        If a shape is wrong, or a slope at zero is not between those on both sides.
    UnsupportedError
        For a layer of another kind; the message names it.
    """
    layers = _chain(architecture)
    samples = as_numbers(points, "points")
    if samples.ndim != 1 + len(architecture.input_shape) or samples.shape[1:] != architecture.input_shape:
        raise InputError(
            f"points: found shape {samples.shape}; (n, {', '.join(map(str, architecture.input_shape))}) is accepted"
        )
    flat = samples.reshape(len(samples), architecture.input_size)
    if flat.size and arithmetic.kind(flat) != parameters.kind:
        raise InputError(
            f"points: found {arithmetic.kind(flat)} numbers with {parameters.kind} parameters; one arithmetic is accepted"
        )
    given = dict(slopes or {})
    if unknown := set(given) - {path for path, layer in layers if not isinstance(layer, Linear)}:
        raise InputError(f"slopes: found the layer {min(unknown)!r:.60}, which is no activation of the network")
    found: dict[str, Array] = {}
    kinks: dict[str, NDArray[np.bool_]] = {}
    value = flat
    for place, (path, layer) in enumerate(layers):
        if isinstance(layer, Linear):
            received, value = value, _affine(parameters, path, layer, value)
            continue
        signs = _signs(parameters, layers[place - 1], received, value)
        low, high = _extremes(layer, value)
        chosen = arithmetic.full(value.shape, 0, value) + low
        chosen[signs > 0] = high
        kinks[path] = np.asarray(signs == 0, dtype=np.bool_) & bool(low != high)
        if path in given:
            weights = as_numbers(given[path], f"slopes {path}")
            if weights.shape != value.shape:
                raise InputError(f"slopes {path}: found shape {weights.shape}; {value.shape} is accepted")
            outside = kinks[path] & np.asarray((weights < min(low, high)) | (weights > max(low, high)), dtype=np.bool_)
            if np.any(outside):
                raise InputError(
                    f"slopes {path}: found {arithmetic.to_float(weights)[outside][0]:.6g} at a kink; numbers between "
                    "the slopes on both sides are accepted"
                )
            chosen[kinks[path]] = weights[kinks[path]]
        found[path] = chosen
        value = value * chosen
    return ActivationCells(layers, architecture, parameters, flat, found, kinks)


def _chain(architecture: Architecture) -> tuple[tuple[str, Layer], ...]:
    layers = [(str(k), layer) for k, layer in enumerate(architecture.layers) if not isinstance(layer, Flatten)]
    for place, (path, layer) in enumerate(layers):
        if not isinstance(layer, Linear | ReLU | LeakyReLU | Identity):
            raise UnsupportedError(
                f"layer {path} ({layer.type}): activation cells need linear layers with relu, leaky_relu or identity"
            )
        if not isinstance(layer, Linear) and (place == 0 or not isinstance(layers[place - 1][1], Linear)):
            raise UnsupportedError(f"layer {path} ({layer.type}): activation cells need a linear layer before it")
    if not layers:
        raise UnsupportedError("layers: there are none; activation cells need a linear layer")
    return tuple(layers)


def _affine(parameters: Parameters, path: str, layer: Linear, received: Array) -> Array:
    product = received @ parameters[f"{path}/weight"].T
    return np.asarray(product + parameters[f"{path}/bias"] if layer.bias else product)


def _signs(parameters: Parameters, linear: tuple[str, Layer], received: Array, value: Array) -> NDArray[np.int8]:
    """Signs of pre-activations; zero up to rounding for floats."""
    threshold: Any = 0
    if arithmetic.kind(value) == "float64":
        path, layer = linear
        assert isinstance(layer, Linear)
        weights = np.linalg.norm(parameters[f"{path}/weight"], axis=1)
        inputs = np.linalg.norm(received, axis=1, keepdims=True)
        bias = np.abs(parameters[f"{path}/bias"]) if layer.bias else 0.0
        threshold = KINK * (inputs * weights + bias)
    positive = np.asarray(value > threshold, dtype=np.bool_)
    negative = np.asarray(-value > threshold, dtype=np.bool_)
    return positive.astype(np.int8) - negative.astype(np.int8)


def _extremes(layer: Layer, like: Array) -> tuple[Any, Any]:
    """The slopes on the left and on the right of zero."""
    low = {ReLU: 0.0, LeakyReLU: getattr(layer, "negative_slope", 0.0), Identity: 1.0}[type(layer)]
    return arithmetic.constant(low, like), arithmetic.constant(1.0, like)
