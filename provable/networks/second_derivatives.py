"""The derivative of x ↦ ∇_θ L(x; θ) and its transpose, by one tangent of the forward and backward pass; any arithmetic."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable import arithmetic
from provable.architectures import Activation, Architecture, Conv2d, Layer, Linear, MaxPool2d, Residual
from provable.arithmetic import Array, Float
from provable.errors import InputError, UnsupportedError
from provable.measures import as_numbers
from provable.networks import activations, layers, losses
from provable.networks.evaluation import Trace, trace
from provable.networks.parameters import Parameters
from provable.networks.tangents import Cotangents, backpropagate, leaves
from provable.networks.windows import first_maxima, fold, gather, patches, scatter

WORKING_MEMORY = 2**25
"""Bytes that the tangents of one chunk of directions may take: about what caches hold, which is fastest."""

LARGEST_RESULT = 2**33
"""Bytes that a result may take."""


def _per_direction(numbers: Array, count: int) -> Array:
    """Cut the merged axis of directions and samples in two: (directions, n, ...)."""
    return numbers.reshape(len(numbers) // count, count, *numbers.shape[1:])


def _merged(numbers: Array) -> Array:
    return numbers.reshape(numbers.shape[0] * numbers.shape[1], *numbers.shape[2:])


@dataclass(frozen=True, eq=False)
class GradientJacobian:
    """The derivative J of x ↦ ∇_θ L(x; θ) = Σ_j ∇_θ ℓ(f(x_j; θ), y_j), as a linear map; `gradient_jacobian` makes one.

    Attributes
    ----------
    architecture : Architecture
        The network, and the loss.
    parameters : Parameters
        The parameters θ.
    traced : Trace
        The forward evaluation at the n samples x.
    cotangents : Cotangents
        Gradients of L with respect to everything on the way.
    curvature : ndarray of shape (n, C, C)
        ∂²ℓ/∂f² of each sample.

    Notes
    -----
    J is the mixed block ∂²L/∂θ∂x of a symmetric matrix. Differentiating both passes along (dx, dθ) gives the whole
    product with that matrix: inputs a and sensitivities δ of a layer get tangents

    - affine layer z = W a + b: z' = W a' + W' a + b', and back δ'_in = Wᵀ δ' + W'ᵀ δ; its gradient δ aᵀ has the tangent
      δ' aᵀ + δ a'ᵀ;
    - activation: z' = σ'(a) a' and back δ'_in = σ'(a) δ' + σ''(a) a' δ;
    - loss: δ' = (∂²ℓ/∂f²) f'.

    J dx is the part for θ at dθ = 0, Jᵀ w the part for x at dx = 0, dθ = w. At kinks, derivatives are those of
    `provable.networks.activations.derivative`, and of equal maxima the first counts.
    """

    architecture: Architecture
    parameters: Parameters
    traced: Trace
    cotangents: Cotangents
    curvature: Array

    @property
    def shape(self) -> tuple[int, int]:
        """Number of parameters and number of input values of all samples together."""
        return self.architecture.parameter_count, len(self.traced.output) * self.architecture.input_size

    @property
    def bytes_per_direction(self) -> int:
        """Working memory that one direction takes, predicted, in bytes."""
        count, largest, total = len(self.traced.output), 0, 0
        for path, layer in leaves(self.architecture.layers):
            size = math.prod(self.traced.inputs[path].shape[1:])
            total += size
            if isinstance(layer, Conv2d | MaxPool2d):
                outputs = self.cotangents.outputs[path].shape
                channels = self.traced.inputs[path].shape[1]
                size = channels * math.prod(layer.kernel_size) * math.prod(outputs[2:])
            largest = max(largest, size)
        return 8 * (count * (total + 4 * largest) + 3 * self.architecture.parameter_count)

    def push_forward(self, directions: Any) -> Array:
        """Directional derivatives J dx of the parameter gradient.

        Parameters
        ----------
        directions : array_like of shape (k, n, *input_shape)
            k directions, each of which moves all samples.

        Returns
        -------
        ndarray of shape (k, P)
            Entry r is the derivative along direction r, in the order of ``Parameters.vector``.

        Raises
        ------
        InputError
            If the shape or the arithmetic is wrong.
        UnsupportedError
            If the result would take over 8 GiB.
        """
        moves = self._checked(directions, self._samples.shape, "directions")
        self._check_size(len(moves), self.shape[0], "directions")
        results = [self._push(moves[part]) for part in self._chunks(len(moves))]
        return np.concatenate(results) if results else np.zeros((0, self.shape[0]))

    def push_forward_jointly(self, directions: Any, changes: Any) -> Array:
        """Directional derivatives of ∇_θ L along dx and dθ together: J dx + (∂²L/∂θ²) dθ.

        Parameters
        ----------
        directions : array_like of shape (k, n, *input_shape)
            k directions dx, each of which moves all samples.
        changes : array_like of shape (k, P)
            k directions dθ in the order of ``Parameters.vector``.

        Returns
        -------
        ndarray of shape (k, P)
            Entry r is the derivative along both r-th directions at once.

        Raises
        ------
        InputError
            If a shape or the arithmetic is wrong.
        UnsupportedError
            If the result would take over 8 GiB.
        """
        moves = self._checked(directions, self._samples.shape, "directions")
        weights = self._checked(changes, (self.shape[0],), "changes")
        if len(moves) != len(weights):
            raise InputError(
                f"changes: found {len(weights)}; {len(moves)} are accepted, one for each of the directions"
            )
        self._check_size(len(moves), self.shape[0], "directions")
        if not len(moves) or not len(self._samples):
            return np.zeros((len(moves), self.shape[0]))
        results = []
        for part in self._chunks(len(moves)):
            change = self._cut(weights[part])
            results.append(_Pass(self, part.stop - part.start, change).gradients(_merged(moves[part])))
        return np.concatenate(results)

    def pull_back(self, covectors: Any) -> Array:
        """Gradients Jᵀ w = ∇_x ⟨w, ∇_θ L(x; θ)⟩, which are derivatives of ∇_x L along dθ = w.

        Parameters
        ----------
        covectors : array_like of shape (k, P)
            k vectors w in the order of ``Parameters.vector``.

        Returns
        -------
        ndarray of shape (k, n, *input_shape)
            Entry r is Jᵀ w_r.

        Raises
        ------
        InputError
            If the shape or the arithmetic is wrong.
        UnsupportedError
            If the result would take over 8 GiB.
        """
        weights = self._checked(covectors, (self.shape[0],), "covectors")
        self._check_size(len(weights), self.shape[1], "covectors")
        results = [self._pull(weights[part]) for part in self._chunks(len(weights))]
        return np.concatenate(results) if results else np.zeros((0, *self._samples.shape))

    def gram(self, *, progress: Callable[[int, int], None] | None = None) -> Float:
        """The Gram matrix JᵀJ of the input values, chunk by chunk without ever holding J.

        Parameters
        ----------
        progress : callable, optional
            Called after every chunk with the numbers of rows that are done and of all rows.

        Returns
        -------
        ndarray of shape (n * input_size, n * input_size)
            Symmetric positive semidefinite up to rounding; sample by sample, each in row-major order.

        Raises
        ------
        UnsupportedError
            If it would take over 8 GiB, and for exact parameters.
        """
        size = self.shape[1]
        self._check_size(size, size, "inputs")
        if arithmetic.kind(self._samples) != "float64":
            raise UnsupportedError("gram: found exact numbers; float64 is accepted")
        result = np.empty((size, size))
        for part in self._chunks(size):
            units = np.zeros((part.stop - part.start, size))
            units[np.arange(len(units)), np.arange(part.start, part.stop)] = 1.0
            pushed = self._push(units.reshape(len(units), *self._samples.shape))
            result[part] = self._pull(pushed).reshape(len(units), size)
            if progress is not None:
                progress(part.stop, size)
        return np.asarray((result + result.T) / 2)

    @property
    def _samples(self) -> Array:
        return self.traced.inputs["0"]

    def _checked(self, numbers: Any, shape: tuple[int, ...], name: str) -> Array:
        array = as_numbers(numbers, name)
        if array.ndim != len(shape) + 1 or array.shape[1:] != shape:
            raise InputError(f"{name}: found shape {array.shape}; (k, {', '.join(map(str, shape))}) is accepted")
        if array.size and arithmetic.kind(array) != arithmetic.kind(self._samples):
            raise InputError(
                f"{name}: found {arithmetic.kind(array)} numbers; {arithmetic.kind(self._samples)} ones are accepted"
            )
        return array

    def _check_size(self, rows: int, columns: int, name: str) -> None:
        if 8 * rows * columns > LARGEST_RESULT:
            raise UnsupportedError(
                f"{name}: found {rows}, whose result of shape ({rows}, {columns}) needs {8 * rows * columns} bytes; "
                f"at most {LARGEST_RESULT} are accepted"
            )

    def _chunks(self, total: int) -> Iterator[slice]:
        step = max(1, WORKING_MEMORY // max(1, self.bytes_per_direction))
        for start in range(0, total, step):
            yield slice(start, min(start + step, total))

    def _push(self, moves: Array) -> Array:
        if not len(self._samples):  # the empty sum does not move
            return np.zeros((len(moves), self.shape[0]))
        return _Pass(self, len(moves), None).gradients(_merged(moves))

    def _pull(self, weights: Array) -> Array:
        if not len(self._samples):
            return np.zeros((len(weights), *self._samples.shape))
        change = self._cut(weights)
        still = arithmetic.full((len(weights) * len(self._samples), *self._samples.shape[1:]), 0, self._samples)
        return _per_direction(_Pass(self, len(weights), change).inputs(still), len(self._samples))

    def _cut(self, weights: Array) -> dict[str, Array]:
        """Rows of flat parameter tangents, cut into the shapes of the parameters."""
        change: dict[str, Array] = {}
        start = 0
        for name, shape in self.architecture.parameter_shapes.items():
            stop = start + math.prod(shape)
            change[name] = weights[:, start:stop].reshape(len(weights), *shape)
            start = stop
        return change


class _Pass:
    """One tangent of the forward and backward pass for some directions; axis 0 runs over directions, then samples."""

    def __init__(self, jacobian: GradientJacobian, directions: int, change: Mapping[str, Array] | None) -> None:
        self.jacobian = jacobian
        self.directions = directions
        self.change = change  # tangents of the parameters, (directions, *shape); None if they do not move
        self.moved: dict[str, Array] = {}  # tangents of the inputs of layers
        self.parts: dict[str, Array] = {}  # tangents of parameter gradients, (directions, size)

    def gradients(self, moves: Array) -> Array:
        """Tangents of all parameter gradients, (directions, P)."""
        self._run(moves, collect=True)
        names = self.jacobian.architecture.parameter_shapes
        if not names:
            return np.zeros((self.directions, 0))
        return np.concatenate([self.parts[name] for name in names], axis=1)

    def inputs(self, moves: Array) -> Array:
        """Tangents of the gradient with respect to the samples, (directions * n, *input_shape)."""
        return self._run(moves, collect=False)

    def _run(self, moves: Array, *, collect: bool) -> Array:
        chain = self.jacobian.architecture.layers
        outputs = self._spread(self._forward(chain, "", moves))
        bent: Array = (self.jacobian.curvature @ outputs[..., None])[..., 0]
        return self._backward(chain, "", _merged(bent), collect)

    def _spread(self, numbers: Array) -> Array:
        return _per_direction(numbers, len(self.jacobian.traced.output))

    def _forward(self, chain: tuple[Layer, ...], prefix: str, current: Array) -> Array:
        for index, layer in enumerate(chain):
            path = f"{prefix}{index}"
            if isinstance(layer, Residual):
                straight = self._forward(layer.layers, f"{path}.", current)
                around = self._forward(layer.shortcut, f"{path}.shortcut.", current)
                current = straight + around
            else:
                self.moved[path] = current
                current = self._through(layer, path, current)
        return current

    def _through(self, layer: Layer, path: str, current: Array) -> Array:
        at = self.jacobian.traced.inputs[path]
        if isinstance(layer, Activation):
            return _merged(self._spread(current) * activations.derivative(layer, at))
        if isinstance(layer, MaxPool2d):
            windows = patches(current, layer.kernel_size, layer.stride, layer.padding)
            return gather(windows, self._places(layer, path))
        result = layers.linear_part(layer, path, self.jacobian.parameters, current)
        if self.change is None or not isinstance(layer, Linear | Conv2d):
            return result
        weight = self.change[f"{path}/weight"]
        if isinstance(layer, Linear):
            caused = at @ weight.transpose(0, 2, 1)
        else:
            flat = weight.reshape(self.directions * len(weight[0]), -1) @ layers.columns(layer, at)
            caused = flat.reshape(len(at), self.directions, *result.shape[1:]).swapaxes(0, 1)
        if layer.bias:
            bias = self.change[f"{path}/bias"]
            caused = caused + bias.reshape(self.directions, 1, -1, *([1] * (result.ndim - 2)))
        return np.asarray(result + _merged(caused))

    def _places(self, layer: MaxPool2d, path: str) -> Array:
        at = self.jacobian.traced.inputs[path]
        places = first_maxima(at, layer.kernel_size, layer.stride, layer.padding)[1]
        return np.tile(places, (self.directions, 1, 1, 1))

    def _backward(self, chain: tuple[Layer, ...], prefix: str, current: Array, collect: bool) -> Array:
        for index in reversed(range(len(chain))):
            layer, path = chain[index], f"{prefix}{index}"
            if isinstance(layer, Residual):
                straight = self._backward(layer.layers, f"{path}.", current, collect)
                around = self._backward(layer.shortcut, f"{path}.shortcut.", current, collect)
                current = straight + around
                continue
            if collect and isinstance(layer, Linear):
                self._linear_gradients(layer, path, current)
            elif collect and isinstance(layer, Conv2d):
                self._convolution_gradients(layer, path, current)
            if collect and path == "0":  # nobody asks for the samples' part
                break
            current = self._back(layer, path, current)
        return current

    def _back(self, layer: Layer, path: str, current: Array) -> Array:
        at, sensitivity = self.jacobian.traced.inputs[path], self.jacobian.cotangents.outputs[path]
        moved = self.moved[path]
        if isinstance(layer, Activation):
            bend = sensitivity * activations.derivative(layer, at, order=2)
            slope = activations.derivative(layer, at)
            return _merged(self._spread(current) * slope + self._spread(moved) * bend)
        if isinstance(layer, MaxPool2d):
            windows = scatter(current, self._places(layer, path), layer.kernel_size)
            return fold(windows, (at.shape[2], at.shape[3]), layer.stride, layer.padding)
        # an affine layer's transpose asks its input for the shape only
        result = layers.pull_back(layer, path, self.jacobian.parameters, moved, current)
        if self.change is None or not isinstance(layer, Linear | Conv2d):
            return result
        weight = self.change[f"{path}/weight"]
        if isinstance(layer, Linear):
            return np.asarray(result + _merged(sensitivity @ weight))
        n, channels, high, long = sensitivity.shape
        kernels = weight.reshape(self.directions, channels, -1).transpose(0, 2, 1)
        flat = kernels.reshape(-1, channels) @ sensitivity.reshape(n, channels, high * long)
        windows = flat.reshape(n, self.directions, *weight.shape[2:], high, long).swapaxes(0, 1)
        return np.asarray(result + fold(_merged(windows), (at.shape[2], at.shape[3]), layer.stride, layer.padding))

    def _linear_gradients(self, layer: Linear, path: str, current: Array) -> None:
        at, sensitivity = self.jacobian.traced.inputs[path], self.jacobian.cotangents.outputs[path]
        bent, moved = self._spread(current), self._spread(self.moved[path])
        weight = bent.transpose(0, 2, 1) @ at + sensitivity.T @ moved
        self.parts[f"{path}/weight"] = weight.reshape(self.directions, -1)
        if layer.bias:
            self.parts[f"{path}/bias"] = bent.sum(axis=1)

    def _convolution_gradients(self, layer: Conv2d, path: str, current: Array) -> None:
        at, sensitivity = self.jacobian.traced.inputs[path], self.jacobian.cotangents.outputs[path]
        n, channels, high, long = sensitivity.shape
        bent = self._spread(current.reshape(len(current), channels, high * long))
        windows = layers.columns(layer, at).transpose(0, 2, 1)
        first = bent.swapaxes(0, 1).reshape(n, self.directions * channels, high * long) @ windows
        moved = self._spread(layers.columns(layer, self.moved[path])).swapaxes(2, 3)
        second = (sensitivity.reshape(n, channels, high * long) @ moved).sum(axis=1)
        self.parts[f"{path}/weight"] = first.sum(axis=0).reshape(self.directions, -1) + second.reshape(
            self.directions, -1
        )
        if layer.bias:
            self.parts[f"{path}/bias"] = bent.sum(axis=(1, 3))


def gradient_jacobian(architecture: Architecture, parameters: Parameters, inputs: Any, labels: Any) -> GradientJacobian:
    """Differentiate the gradient of the summed loss with respect to the samples.

    Parameters
    ----------
    architecture : Architecture
        The network, and the loss.
    parameters : Parameters
        The parameters θ.
    inputs : array_like of shape (n, *input_shape)
        Samples.
    labels : array_like
        As for ``provable.networks.losses.value``.

    Returns
    -------
    GradientJacobian
        The linear map dx ↦ d ∇_θ L and its transpose. The gradient of the mean has 1 / n of it.

    Raises
    ------
    InputError
        If inputs or labels do not fit.
    UnsupportedError
        For a layer that cannot be evaluated; the message names it.
    """
    traced = trace(architecture, parameters, inputs)
    residuals = losses.residual(architecture.loss, traced.output, labels)
    curvature = losses.curvature(architecture.loss, traced.output, labels)
    cotangents = backpropagate(architecture, parameters, traced, residuals)
    return GradientJacobian(architecture, parameters, traced, cotangents, curvature)
