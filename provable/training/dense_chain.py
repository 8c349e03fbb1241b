"""Loss and gradient of a dense network over a fixed batch, many times over: no checks, no copies, buffers used again.

`provable.networks.loss_gradient` is for any network and any arithmetic and checks what it is given; here the
architecture and the samples are checked once, and each evaluation is a few matrix products on one flat vector of
parameters.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Activation, Architecture, Flatten, Identity, Layer, LeakyReLU, Linear, ReLU
from provable.arithmetic import Float
from provable.networks import activations, losses


@dataclass(eq=False)
class DenseChain:
    """A chain of linear layers and activations with its batch; `of` recognises one.

    Attributes
    ----------
    layers : tuple of Layer
        Linear layers and activations.
    views : list of (slice, shape), one for each parameter array
        Where weights and biases lie in the flat vector.
    inputs : ndarray of shape (n, d)
        The samples, flattened.
    labels : ndarray
        Labels, as the loss wants them.
    loss : str
        Name of the loss.
    factor : float
        1, or 1/n for the mean.
    """

    layers: tuple[Layer, ...]
    views: list[tuple[slice, tuple[int, ...]]]
    inputs: Float
    labels: NDArray[Any]
    loss: str
    factor: float
    _buffers: dict[int, Float] = field(default_factory=dict)

    @classmethod
    def of(
        cls, architecture: Architecture, inputs: Float, labels: NDArray[Any], *, factor: float = 1.0
    ) -> DenseChain | None:
        """Recognise a dense chain.

        Parameters
        ----------
        architecture : Architecture
            Any architecture.
        inputs : ndarray of shape (n, *input_shape)
            The samples, float64.
        labels : ndarray
            Checked labels.
        factor : float, optional
            With which losses are multiplied.

        Returns
        -------
        DenseChain or None
            None if a layer is neither ``linear``, an activation nor a ``flatten``.
        """
        chain = tuple(layer for layer in architecture.layers if not isinstance(layer, Flatten | Identity))
        if not all(isinstance(layer, Linear | Activation) for layer in chain):
            return None
        views, start = [], 0
        for shape in architecture.parameter_shapes.values():
            views.append((slice(start, start + math.prod(shape)), tuple(shape)))
            start += math.prod(shape)
        flat = np.ascontiguousarray(inputs.reshape(len(inputs), -1))
        return cls(chain, views, flat, labels, architecture.loss, factor)

    def evaluate(self, theta: Float, gradient: Float | None = None) -> tuple[float, Float]:
        """The loss and the outputs, and the gradient into a given vector.

        Parameters
        ----------
        theta : ndarray of shape (P,)
            All parameters, in the order of ``Parameters.vector``.
        gradient : ndarray of shape (P,), optional
            Where the gradient goes.

        Returns
        -------
        loss : float
            Σ of the samples' losses times the factor; infinite, and no gradient, if an output is not finite.
        outputs : ndarray of shape (n, C)
            f at the samples.
        """
        arrays = iter([theta[part].reshape(shape) for part, shape in self.views])
        record: list[tuple[Float, Float | None]] = []
        current = self.inputs
        for index, layer in enumerate(self.layers):
            weight = None
            if isinstance(layer, Linear):
                weight = next(arrays)
                record.append((current, weight))
                out = self._buffer(index, (len(current), len(weight)))
                np.matmul(current, weight.T, out=out)
                if layer.bias:
                    out += next(arrays)
                current = out
            else:
                record.append((current, None))
                current = self._activated(index, layer, current)
        outputs = current.copy()
        if not np.isfinite(outputs).all():
            return math.inf, outputs
        loss = float(np.sum(losses.value(self.loss, outputs, self.labels))) * self.factor
        if gradient is not None:
            self._back(record, losses.residual(self.loss, outputs, self.labels) * self.factor, gradient)
        return loss, outputs

    def _back(self, record: list[tuple[Float, Float | None]], cotangent: Float, gradient: Float) -> None:
        pieces = [gradient[part].reshape(shape) for part, shape in self.views]
        for index in reversed(range(len(self.layers))):
            layer, (received, weight) = self.layers[index], record[index]
            if isinstance(layer, Linear):
                if layer.bias:
                    np.sum(cotangent, axis=0, out=pieces.pop())
                np.matmul(cotangent.T, received, out=pieces.pop())
                if pieces and weight is not None:
                    cotangent = cotangent @ weight
            elif pieces and isinstance(layer, Activation):
                cotangent *= self._slopes(layer, received)

    def _activated(self, index: int, layer: Layer, current: Float) -> Float:
        if isinstance(layer, ReLU):
            return np.maximum(current, 0.0, out=self._buffer(index, current.shape))
        assert isinstance(layer, Activation)  # `of` lets nothing else through
        return activations.value(layer, current)

    @staticmethod
    def _slopes(layer: Activation, received: Float) -> Float | NDArray[np.bool_]:
        if isinstance(layer, ReLU):
            return received > 0
        if isinstance(layer, LeakyReLU):
            return np.where(received > 0, 1.0, layer.negative_slope)
        return activations.derivative(layer, received)

    def _buffer(self, index: int, shape: tuple[int, ...]) -> Float:
        if index not in self._buffers:
            self._buffers[index] = np.empty(shape)
        return self._buffers[index]
