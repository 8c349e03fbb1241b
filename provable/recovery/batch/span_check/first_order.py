"""What the layers of a network give at the input zero, and to first order around it."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.networks.activations import derivative, value
from provable.recovery.batch.span_check.spaces import Spaces

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class FirstOrder:
    """The network to first order at the input zero.

    Parameters
    ----------
    inputs : list of arrays of shape (m_l,)
        h_1 to h_{L-1} there.
    linear : list of pairs of arrays of shape (m_l,) and (m_l, n)
        Their first-order parts, as affine functions of e.
    factors : list of arrays of shape (m_l, k)
        The factors of ρ in the sensitivities of layers 1 to L - 1.
    """

    inputs: list[Float]
    linear: list[tuple[Float, Float]]
    factors: list[Float]

    @classmethod
    def of(cls, spaces: Spaces, offset: Float, matrix: Float) -> FirstOrder:
        """Linearise the network.

        Parameters
        ----------
        spaces : Spaces
            Gives the network.
        offset, matrix : arrays of shape (m_1,) and (m_1, n)
            The first pre-activations are offset + matrix @ e.

        Returns
        -------
        FirstOrder
            Values and first-order parts.
        """
        layers = spaces.network.layers
        h = np.zeros(layers[0].weight.shape[1])
        # W x is what the first pre-activation is without its bias.
        fixed, moving = offset if layers[0].bias is None else offset - layers[0].bias, matrix
        inputs, linear, slopes = [], [], []
        for index, layer in enumerate(layers[:-1]):
            s = layer.weight @ h
            s = s if layer.bias is None else s + layer.bias
            if index:
                fixed, moving = layer.weight @ fixed, layer.weight @ moving
            h = value(layer.activation, s)
            # The mean of both sides, where there is a kink.
            tiny = np.finfo(np.float64).tiny
            slope = (derivative(layer.activation, s - tiny) + derivative(layer.activation, s + tiny)) / 2
            fixed, moving = slope * fixed, slope[:, None] * moving
            inputs.append(h)
            linear.append((fixed, moving))
            slopes.append(derivative(layer.activation, s))
        factors = [spaces.outputs]
        for layer, slope in zip(layers[:0:-1], slopes[::-1], strict=True):
            factors.append(slope[:, None] * (layer.weight.T @ factors[-1]))
        return cls(inputs, linear, factors[:0:-1])
