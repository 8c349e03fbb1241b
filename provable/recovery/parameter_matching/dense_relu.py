r"""Dense ReLU networks, their tangents, and the same with softplus in the place of ReLU.

Layer :math:`l` has :math:`z_l = W_l h_{l-1} + b_l`, :math:`h_l = \sigma(z_l)`, the last one :math:`f = z_L`. With
:math:`\delta_L = c` and :math:`\delta_l = \sigma'(z_l) \circ W_{l+1}^T \delta_{l+1}`, the embedding of :math:`\sum_j c_j
\delta_{x_j}` is :math:`\sum_j \delta_l(x_j) h_{l-1}(x_j)^T` in :math:`W_l` and :math:`\sum_j \delta_l(x_j)` in :math:`b_l`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit

from provable.architectures import Architecture, Flatten, Identity, LeakyReLU, Linear, ReLU
from provable.errors import UnsupportedError
from provable.networks import Parameters

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class DenseReLU:
    """A chain of linear layers with a ReLU between any two.

    Parameters
    ----------
    keys : tuple of (str, str or None)
        Names of the weight and of the bias of every layer, None without a bias.
    weights : tuple of array of shape (m_l, m_{l-1})
        W_l.
    biases : tuple of array of shape (m_l,)
        b_l, zero where there is none.
    """

    keys: tuple[tuple[str, str | None], ...]
    weights: tuple[Float, ...]
    biases: tuple[Float, ...]

    @classmethod
    def of(cls, architecture: Architecture, parameters: Parameters) -> DenseReLU:
        """Read a network.

        Parameters
        ----------
        architecture : Architecture
            One for which `reason_against` has no reason.
        parameters : Parameters
            Its parameters, of float64.

        Returns
        -------
        DenseReLU
            The matrices.

        Raises
        ------
        UnsupportedError
            If the network is no such chain.
        """
        if (reason := reason_against(architecture)) is not None:
            raise UnsupportedError(reason)
        keys: list[tuple[str, str | None]] = []
        weights, biases = [], []
        for index, layer in enumerate(architecture.layers):
            if isinstance(layer, Linear):
                weight = parameters[f"{index}/weight"]
                keys.append((f"{index}/weight", f"{index}/bias" if layer.bias else None))
                weights.append(weight)
                biases.append(parameters[f"{index}/bias"] if layer.bias else np.zeros(len(weight)))
        return cls(tuple(keys), tuple(weights), tuple(biases))

    @property
    def is_homogeneous(self) -> bool:
        """Whether no layer has a bias, so that (x, c) and (t x, c / t) have the same embedding for t > 0."""
        return all(bias is None for _, bias in self.keys)

    def forward(self, points: Float, sharpness: float | None = None) -> Forward:
        """Evaluate the network.

        Parameters
        ----------
        points : array of shape (n, d)
            The x_j.
        sharpness : float, optional
            β, for softplus(βz)/β in the place of ReLU.

        Returns
        -------
        Forward
            Everything on the way.
        """
        inputs, slopes, bends, current = [], [], [], points
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            inputs.append(current)
            current = current @ weight.T + bias
            if number < len(self.weights) - 1:
                current, slope, bend = rectifier(current, sharpness)
                slopes.append(slope)
                bends.append(bend)
        return Forward(tuple(inputs), tuple(slopes), tuple(bends), current)

    def sensitivities(self, passed: Forward, coefficients: Float) -> tuple[Float, ...]:
        """Propagate coefficients of the outputs back to every layer.

        Parameters
        ----------
        passed : Forward
            An evaluation at n points.
        coefficients : array of shape (n, C)
            The c_j.

        Returns
        -------
        tuple of array of shape (n, m_l)
            δ_l, layer by layer.
        """
        deltas = [coefficients]
        for weight, slope in zip(self.weights[:0:-1], passed.slopes[::-1], strict=True):
            deltas.append(slope * (deltas[-1] @ weight))
        return tuple(deltas[::-1])

    def embedding(self, passed: Forward, deltas: tuple[Float, ...]) -> dict[str, Float]:
        """Add up the tangents.

        Parameters
        ----------
        passed : Forward
            An evaluation at n points.
        deltas : tuple of array of shape (n, m_l)
            Their sensitivities.

        Returns
        -------
        dict of str to array
            Σ_j c_j ∇_θ f(x_j), by the names of the parameters.
        """
        pieces = {}
        for (weight, bias), inputs, delta in zip(self.keys, passed.inputs, deltas, strict=True):
            pieces[weight] = delta.T @ inputs
            if bias is not None:
                pieces[bias] = delta.sum(axis=0)
        return pieces

    def pairing(
        self, passed: Forward, deltas: tuple[Float, ...], direction: Mapping[str, Float]
    ) -> tuple[Float, Float]:
        r"""Differentiate :math:`\langle R, \sum_j c_j \nabla_\theta f(x_j) \rangle` by coefficients and by points.

        Parameters
        ----------
        passed : Forward
            An evaluation at n points.
        deltas : tuple of array of shape (n, m_l)
            Their sensitivities.
        direction : mapping of str to array
            R by the names of the parameters; what is absent is zero.

        Returns
        -------
        by_coefficients : array of shape (n, C)
            The derivative of f in direction R of the parameters.
        by_points : array of shape (n, d)
            The gradient of its product with c_j by x_j.
        """
        last, pushed, moved = len(self.weights) - 1, [], np.zeros_like(passed.inputs[0])
        for number, (weight, bias) in enumerate(self.keys):
            step = moved @ self.weights[number].T if number else np.zeros((len(moved), len(self.weights[0])))
            if weight in direction:
                step += passed.inputs[number] @ direction[weight].T
            if bias is not None and bias in direction:
                step += direction[bias]
            pushed.append(step)
            if number < last:
                moved = passed.slopes[number] * step
        # Backwards: deltas are the cotangents of what was pushed, `before` those of the preactivations themselves.
        before = np.zeros_like(deltas[last])
        for number in range(last, 0, -1):
            behind = before @ self.weights[number]
            key = self.keys[number][0]
            if key in direction:
                behind += deltas[number] @ direction[key]
            before = passed.slopes[number - 1] * behind
            # δ divided by the slope is what comes back to the activation.
            before += passed.bends[number - 1] * pushed[number - 1] * (deltas[number] @ self.weights[number])
        by_points = before @ self.weights[0]
        if self.keys[0][0] in direction:
            by_points += deltas[0] @ direction[self.keys[0][0]]
        return pushed[last], by_points


@dataclasses.dataclass(frozen=True, eq=False)
class Forward:
    """What went through a network.

    Parameters
    ----------
    inputs : tuple of array of shape (n, m_{l-1})
        h_{l-1}, layer by layer.
    slopes, bends : tuple of array of shape (n, m_l)
        σ'(z_l) and σ''(z_l) of all layers but the last.
    output : array of shape (n, C)
        f.
    """

    inputs: tuple[Float, ...]
    slopes: tuple[Float, ...]
    bends: tuple[Float, ...]
    output: Float


def rectifier(z: Float, sharpness: float | None) -> tuple[Float, Float, Float]:
    """Give ReLU or softplus(βz)/β with its first two derivatives.

    Parameters
    ----------
    z : array
        Any numbers.
    sharpness : float or None
        β; None for ReLU.

    Returns
    -------
    value, slope, bend : array
        σ(z), σ'(z) (zero at the kink of ReLU) and σ''(z) (zero for ReLU).
    """
    if sharpness is None:
        slope = (z > 0).astype(np.float64)
        return z * slope, slope, np.zeros_like(z)
    scaled = sharpness * z
    slope = expit(scaled)
    value = np.maximum(z, 0.0) + np.log1p(np.exp(-np.abs(scaled))) / sharpness
    return value, slope, sharpness * slope * (1.0 - slope)


def reason_against(architecture: Architecture) -> str | None:
    """Tell why an architecture is no dense ReLU chain.

    Parameters
    ----------
    architecture : Architecture
        Any architecture.

    Returns
    -------
    str or None
        None if it is linear layers with one ReLU between any two, after ``flatten`` or ``identity`` if need be; otherwise
        what is in the way.
    """
    relevant = [(index, layer) for index, layer in enumerate(architecture.layers) if not isinstance(layer, Identity)]
    while relevant and isinstance(relevant[0][1], Flatten):
        relevant.pop(0)
    for place, (index, layer) in enumerate(relevant):
        if place % 2 == 0 and not isinstance(layer, Linear):
            return f"layer {index} ({layer.type}) is not linear, where a dense ReLU network has a linear layer"
        rectifies = isinstance(layer, ReLU) or (isinstance(layer, LeakyReLU) and layer.negative_slope == 0)
        if place % 2 == 1 and not rectifies:
            return f"layer {index} ({layer.type}) is not relu, where a dense ReLU network has its activation"
    if len(relevant) < 3 or len(relevant) % 2 == 0:
        return "it needs a dense network with at least one hidden layer of ReLUs and linear outputs"
    return None
