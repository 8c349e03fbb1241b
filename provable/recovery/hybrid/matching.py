r"""The loss by which Chen and Campbell correct the input of a layer, and its gradient.

.. math:: w_{\cos} \sum_t (1 - \cos(\nabla_{\theta_t} L(x), v_t)) + w_{tv}\,\mathrm{TV}(x) + w_{sq} \|U x - b\|^2

over the parameter tensors t of the layer and of those behind it, with the anisotropic total variation
TV(x) = mean |horizontal differences| + mean |vertical differences|. The gradient of the first term is Jᵀ w with J the
derivative of x ↦ ∇_θ L (`provable.networks.second_derivatives`).

References
----------
C. Chen and N. Campbell, Understanding training-data leakage from gradients in neural networks for image classification,
arXiv:2111.10178, with the released code, from which the weights are.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.networks import loss_gradient
from provable.networks.second_derivatives import gradient_jacobian
from provable.observations import Observation
from provable.recovery.layerwise.system import System

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True)
class Weights:
    """Weights of the three terms.

    Parameters
    ----------
    cosine, variation, system : float
        Of the gradients' directions, the total variation and the layer's own linear system.
    """

    cosine: float
    variation: float
    system: float


PUBLISHED = (Weights(1.0, 1.0, 0.05), Weights(1.0, 1.0, 0.1), Weights(10.0, 0.1, 1.0))
"""For the first layer, the second and all others."""


@dataclasses.dataclass(frozen=True, eq=False)
class MatchingLoss:
    """The loss as a function of the input of a layer.

    Parameters
    ----------
    observation : Observation
        The gradient of the layer and all behind it.
    label : array of shape (1,) or (1, C)
        The label of the sample.
    weights : Weights
        How the terms count.
    system : System or None
        The layer's own system, if it counts.
    """

    observation: Observation
    label: NDArray[Any]
    weights: Weights
    system: System | None = None

    def __call__(self, inputs: Float) -> tuple[float, Float]:
        """Evaluate.

        Parameters
        ----------
        inputs : array of shape input_shape
            The layer's input.

        Returns
        -------
        value : float
            The loss.
        gradient : array of shape input_shape
            Its gradient; at the kinks of absolute values 0 is taken for the slope.
        """
        value, gradient = self._directions(inputs)
        value, gradient = self.weights.cosine * value, self.weights.cosine * gradient
        if inputs.ndim == 3:
            part, slope = total_variation(inputs)
            value, gradient = value + self.weights.variation * part, gradient + self.weights.variation * slope
        if self.system is not None:
            part, slope = squared_misfit(self.system, inputs)
            value, gradient = value + self.weights.system * part, gradient + self.weights.system * slope
        return value, gradient

    def _directions(self, inputs: Float) -> tuple[float, Float]:
        architecture, parameters = self.observation.architecture, self.observation.parameters
        current = loss_gradient(architecture, parameters, inputs[None], self.label)
        value, pieces = 0.0, []
        for key, piece in current.items():
            wanted = self.observation.vector.get(key)
            sizes = (0.0, 0.0) if wanted is None else (float(np.linalg.norm(piece)), float(np.linalg.norm(wanted)))
            if wanted is None or not all(sizes):
                pieces.append(np.zeros(piece.size))
                continue
            mine, theirs = piece / sizes[0], wanted / sizes[1]
            cosine = float(np.vdot(mine, theirs))
            value += 1 - cosine
            pieces.append(((cosine * mine - theirs) / sizes[0]).ravel())
        jacobian = gradient_jacobian(architecture, parameters, inputs[None], self.label)
        return value, jacobian.pull_back(np.concatenate(pieces)[None])[0, 0]


def total_variation(image: Float) -> tuple[float, Float]:
    """Anisotropic total variation with its gradient.

    Parameters
    ----------
    image : array of shape (channels, height, width)
        An image.

    Returns
    -------
    value : float
        Mean absolute difference of vertical neighbours plus that of horizontal ones.
    gradient : array of the same shape
        A subgradient, with slope 0 where neighbours are equal.
    """
    value, gradient = 0.0, np.zeros_like(image)
    for axis in (1, 2):
        difference = np.diff(image, axis=axis)
        if not difference.size:
            continue
        value += float(np.mean(np.abs(difference)))
        sign = np.sign(difference) / difference.size
        before, after = [slice(None)] * 3, [slice(None)] * 3
        before[axis], after[axis] = slice(None, -1), slice(1, None)
        gradient[tuple(before)] -= sign
        gradient[tuple(after)] += sign
    return value, gradient


def squared_misfit(system: System, inputs: Float) -> tuple[float, Float]:
    """Squared residual of a layer's system with its gradient.

    Parameters
    ----------
    system : System
        The system.
    inputs : array of shape (channels, height, width)
        The layer's input.

    Returns
    -------
    value : float
        ‖U x - b‖².
    gradient : array of the same shape
        2 Uᵀ (U x - b).
    """
    images = inputs.reshape(system.channels, system.pixels)
    outputs = system.forward @ inputs.ravel() - system.outputs
    gradients = system.block @ images.T - system.gradients
    slope = system.forward.T @ outputs + (gradients.T @ system.block).ravel()
    value = float(outputs @ outputs) + float(np.vdot(gradients, gradients))
    return value, 2 * slope.reshape(inputs.shape)
