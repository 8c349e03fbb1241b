r"""Second derivatives of a dense network whose piecewise linear units keep the slopes that they are given.

Notes
-----
With the slopes :math:`D` of all ReLU units fixed, sample by sample, the outputs :math:`f_i` and the pre-activations
:math:`z_{lki}` are smooth functions of θ. Training ends on kinks, :math:`z_{lki} = 0`; there the equations to solve are those
of a smooth problem with equality constraints, whose Lagrangian has the gradient and the products

.. math:: G = \sum_i q_i \nabla f_i + \sum_{lki} \tau_{lki} \nabla z_{lki}, \qquad
          \dot G = \sum_i (\dot q_i \nabla f_i + q_i \nabla^2 f_i \dot\theta)
                 + \sum_{lki} (\dot\tau_{lki} \nabla z_{lki} + \tau_{lki} \nabla^2 z_{lki} \dot\theta).

G is what backpropagation gives if τ is added to the gradient at the unit's pre-activation. The gradient δ at the unit's
output passes with the slope D, so with τ it passes with the slope :math:`s = D + \tau/\delta`: that is the Clarke weight of
the kink.
Products are the derivatives of both passes in a direction, at twice their price.

References
----------
B. Pearlmutter, Fast exact multiplication by the Hessian, Neural Computation 6, 1994, for derivatives of both passes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from provable.architectures import Activation, Architecture, Flatten, Identity, Layer, LeakyReLU, Linear, ReLU
from provable.arithmetic import Float
from provable.errors import UnsupportedError
from provable.networks import activations

Pattern = dict[int, Float]
"""Slopes of shape (n, units) by the index of a piecewise linear layer in the chain."""


@dataclass(frozen=True, eq=False)
class FixedPattern:
    """A dense chain with its samples, and slopes for its piecewise linear layers; `of` recognises one.

    Attributes
    ----------
    layers : tuple of Layer
        Linear layers and activations.
    names : tuple of str
        The layers' paths in the architecture.
    views : list of (slice, shape), one for each parameter array
        Where weights and biases lie in the flat vector.
    inputs : ndarray of shape (n, d)
        The samples, flattened.
    """

    layers: tuple[Layer, ...]
    names: tuple[str, ...]
    views: list[tuple[slice, tuple[int, ...]]]
    inputs: Float

    @classmethod
    def of(cls, architecture: Architecture, inputs: Float) -> FixedPattern:
        """Recognise a dense chain.

        Parameters
        ----------
        architecture : Architecture
            Linear layers, activations and flattens.
        inputs : ndarray of shape (n, *input_shape)
            The samples, float64.

        Returns
        -------
        FixedPattern
            The chain.

        Raises
        ------
        UnsupportedError
            For any other layer, which the message names.
        """
        kept = [
            (str(index), layer)
            for index, layer in enumerate(architecture.layers)
            if not isinstance(layer, Flatten | Identity)
        ]
        for name, layer in kept:
            if not isinstance(layer, Linear | Activation):
                raise UnsupportedError(
                    f"layer {name} ({layer.type}): is not supported here; chains of linear layers and activations are"
                )
        views, start = [], 0
        for shape in architecture.parameter_shapes.values():
            size = int(np.prod(shape))
            views.append((slice(start, start + size), tuple(shape)))
            start += size
        names, layers = tuple(name for name, _ in kept), tuple(layer for _, layer in kept)
        return cls(layers, names, views, np.ascontiguousarray(inputs.reshape(len(inputs), -1)))

    @property
    def kinked(self) -> tuple[int, ...]:
        """Indices in the chain of the layers that are piecewise linear.

        Returns
        -------
        tuple of int
            Those of ReLU and leaky ReLU.
        """
        return tuple(index for index, layer in enumerate(self.layers) if isinstance(layer, ReLU | LeakyReLU))

    def slopes(self, index: int) -> tuple[float, float]:
        """The slopes of a piecewise linear layer.

        Parameters
        ----------
        index : int
            Its index in the chain.

        Returns
        -------
        tuple of two floats
            Left and right of zero.
        """
        layer = self.layers[index]
        return (layer.negative_slope if isinstance(layer, LeakyReLU) else 0.0), 1.0

    def forward(self, theta: Float, pattern: Pattern | None = None) -> Pass:
        """Evaluate the chain.

        Parameters
        ----------
        theta : ndarray of shape (P,)
            All parameters, in the order of ``Parameters.vector``.
        pattern : dict of int to ndarray of shape (n, units), optional
            Slopes by layer; those of the signs at θ where nothing is given, and the left one at zero.

        Returns
        -------
        Pass
            Everything on the way.
        """
        arrays = iter([theta[part].reshape(shape) for part, shape in self.views])
        weights: list[Float | None] = []
        received: list[Float] = []
        factors: list[Float] = []
        current = self.inputs
        for index, layer in enumerate(self.layers):
            received.append(current)
            if isinstance(layer, Linear):
                weight = next(arrays)
                current = current @ weight.T
                if layer.bias:
                    current += next(arrays)
                weights.append(weight)
                factors.append(np.empty(0))
                continue
            weights.append(None)
            assert isinstance(layer, Activation)
            if isinstance(layer, ReLU | LeakyReLU):
                left, right = self.slopes(index)
                slope = np.where(current > 0, right, left) if pattern is None else pattern[index]
                factors.append(slope)
                current = slope * current
            else:
                factors.append(activations.derivative(layer, current))
                current = activations.value(layer, current)
        return Pass(self, weights, received, factors, current)


@dataclass(frozen=True, eq=False)
class Pass:
    """One evaluation of a chain at fixed slopes.

    Attributes
    ----------
    chain : FixedPattern
        The chain.
    weights : list of ndarray or None
        Weights of the linear layers.
    received : list of ndarray
        What every layer receives: pre-activations, where it is an activation.
    factors : list of ndarray
        Slopes of every activation.
    outputs : ndarray of shape (n, C)
        f at the samples.
    """

    chain: FixedPattern
    weights: list[Float | None]
    received: list[Float]
    factors: list[Float]
    outputs: Float
    _bends: dict[int, Float] = field(default_factory=dict)

    def backward(self, cotangent: Float, injected: Mapping[int, Float]) -> Backward:
        """The gradient G of Σ q_i f_i + Σ τ_lki z_lki.

        Parameters
        ----------
        cotangent : ndarray of shape (n, C)
            q.
        injected : mapping of int to ndarray of shape (n, units)
            τ by the index of the activation whose pre-activations they belong to.

        Returns
        -------
        Backward
            The gradient and what is passed back.
        """
        layers = self.chain.layers
        pieces: list[Float] = []
        passed: list[Float] = [np.empty(0)] * len(layers)
        current = cotangent
        for index in reversed(range(len(layers))):
            layer, weight = layers[index], self.weights[index]
            passed[index] = current
            if weight is not None:
                if isinstance(layer, Linear) and layer.bias:
                    pieces.append(current.sum(axis=0))
                pieces.append((current.T @ self.received[index]).reshape(-1))
                current = current @ weight
            else:
                current = current * self.factors[index]
                if index in injected:
                    current = current + injected[index]
        return Backward(self, passed, np.concatenate(pieces[::-1]))

    def bend(self, index: int) -> Float | None:
        """Second derivatives of an activation at what it receives.

        Parameters
        ----------
        index : int
            Its index in the chain.

        Returns
        -------
        ndarray or None
            None for a piecewise linear layer, whose slopes are fixed.
        """
        layer = self.chain.layers[index]
        if isinstance(layer, ReLU | LeakyReLU) or not isinstance(layer, Activation):
            return None
        if index not in self._bends:
            self._bends[index] = activations.derivative(layer, self.received[index], 2)
        return self._bends[index]

    def along(self, direction: Float) -> tuple[list[Float], Float]:
        """Derivatives of everything that `forward` computes, in a direction.

        Parameters
        ----------
        direction : ndarray of shape (P,)
            Of the parameters.

        Returns
        -------
        received : list of ndarray
            Derivatives of what every layer receives.
        outputs : ndarray of shape (n, C)
            Derivatives of the outputs.
        """
        arrays = iter([direction[part].reshape(shape) for part, shape in self.chain.views])
        current, received = np.zeros_like(self.chain.inputs), []
        for index, layer in enumerate(self.chain.layers):
            received.append(current)
            weight = self.weights[index]
            if weight is not None:
                current = current @ weight.T if index else np.zeros((len(current), len(weight)))
                current = current + self.received[index] @ next(arrays).T
                if isinstance(layer, Linear) and layer.bias:
                    current += next(arrays)
            else:
                current = self.factors[index] * current
        return received, current


@dataclass(frozen=True, eq=False)
class Backward:
    """Gradients that were passed back.

    Attributes
    ----------
    forward : Pass
        The evaluation.
    passed : list of ndarray
        Gradient at the output of every layer: δ for an activation.
    gradient : ndarray of shape (P,)
        G.
    """

    forward: Pass
    passed: list[Float]
    gradient: Float

    def along(self, direction: Float, received: list[Float], cotangent: Float, injected: Mapping[int, Float]) -> Float:
        """The derivative of G in a direction of θ, q and τ together.

        Parameters
        ----------
        direction : ndarray of shape (P,)
            Of the parameters.
        received : list of ndarray
            What `Pass.along` says of this direction.
        cotangent : ndarray of shape (n, C)
            The direction of q.
        injected : mapping of int to ndarray of shape (n, units)
            The direction of τ.

        Returns
        -------
        ndarray of shape (P,)
            The derivative of G.
        """
        there = self.forward
        views = there.chain.views
        arrays = [direction[part].reshape(shape) for part, shape in views]
        pieces: list[Float] = []
        current = cotangent
        for index in reversed(range(len(there.chain.layers))):
            layer, weight = there.chain.layers[index], there.weights[index]
            if weight is not None:
                if isinstance(layer, Linear) and layer.bias:
                    arrays.pop()
                    pieces.append(current.sum(axis=0))
                turned = arrays.pop()
                change = current.T @ there.received[index] + self.passed[index].T @ received[index]
                pieces.append(change.reshape(-1))
                if arrays:
                    current = current @ weight + self.passed[index] @ turned
            else:
                current = current * there.factors[index]
                bend = there.bend(index)
                if bend is not None:
                    current += bend * received[index] * self.passed[index]
                if index in injected:
                    current = current + injected[index]
        return np.concatenate(pieces[::-1])
