r"""Dense networks whose ReLU keeps its value while its derivative is smoothed, as the released attacks have it.

The forward pass is exact, :math:`h = \max(z, 0)`; the backward pass multiplies by :math:`\sigma(\alpha z)` in the place of
:math:`1[z > 0]`, and differentiating that once more gives :math:`\sigma(\alpha z)` for the derivative of h and
:math:`\alpha \sigma (1 - \sigma)` for that of the factor. What results is no gradient of the loss that is evaluated, but
that of the loss of :math:`h = \max(z_0, 0) + \int_{z_0}^z \sigma(\alpha t) dt` at
:math:`z = z_0`, the current candidates'.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.recovery.parameter_matching.dense_relu import DenseReLU, Forward, rectifier

Float = NDArray[np.float64]


class ModifiedReLU(DenseReLU):
    """A chain of linear layers with ReLU in value and the slopes of a softplus."""

    def forward(self, points: Float, sharpness: float | None = None) -> Forward:
        """Evaluate the network.

        Parameters
        ----------
        points : array of shape (n, d)
            The x_j.
        sharpness : float, optional
            α; without it, slopes are those of ReLU.

        Returns
        -------
        Forward
            Everything on the way: values of ReLU, slopes σ(αz) and bends ασ(αz)(1 - σ(αz)).
        """
        if sharpness is None:
            return super().forward(points)
        inputs, slopes, bends, current = [], [], [], points
        for number, (weight, bias) in enumerate(zip(self.weights, self.biases, strict=True)):
            inputs.append(current)
            current = current @ weight.T + bias
            if number < len(self.weights) - 1:
                _, slope, bend = rectifier(current, sharpness)
                current = np.maximum(current, 0.0)
                slopes.append(slope)
                bends.append(bend)
        return Forward(tuple(inputs), tuple(slopes), tuple(bends), current)


def has_late_biases(network: DenseReLU) -> bool:
    """Tell whether a layer behind the first has a bias, so that outputs are not homogeneous in the parameters.

    Parameters
    ----------
    network : DenseReLU
        Any network.

    Returns
    -------
    bool
        True if there is such a bias.
    """
    return any(bias is not None for _, bias in network.keys[1:])


def modified(network: DenseReLU) -> ModifiedReLU:
    """Smooth the slopes of a network.

    Parameters
    ----------
    network : DenseReLU
        Any network.

    Returns
    -------
    ModifiedReLU
        The same matrices.
    """
    return ModifiedReLU(**{field.name: getattr(network, field.name) for field in dataclasses.fields(network)})
