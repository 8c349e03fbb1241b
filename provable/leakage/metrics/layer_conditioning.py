"""Condition numbers of the layer systems, numerically: by how much a layer-wise attack amplifies errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from provable.architectures import Conv2d
from provable.arithmetic import Float
from provable.errors import UnsupportedError
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.metrics.instance import Instance
from provable.leakage.metrics.metric import Metric
from provable.networks import backpropagate, losses, trace
from provable.networks.tangents import leaves

METRIC = Metric(
    name="condition numbers of the layer systems",
    question="By how much does an attack layer by layer amplify errors in one step?",
    definition="largest over smallest nonzero singular value of [W; s K] per convolution, s = max|W| / max|K|",
    unit="1",
    needs="architecture, parameters, sample",
    source="scaling as in the authors' later code of R-GAP",
    cannot_see=(
        "attacks on all layers at once",
        "errors in the sensitivities, which change the matrix K itself",
        "amplification by small slopes of activations between the layers",
    ),
)

LARGEST_ORDER = 6144
"""Input values of a layer, at most."""

RESOLUTION = 1e-7
"""Singular values below this times the largest count as zero: they come from a Gram matrix, with errors of 1e-8."""


@dataclass(frozen=True)
class LayerConditioning:
    """How well one layer's system can be solved.

    Parameters
    ----------
    path : str
        The layer.
    unknowns : int
        Size of its input.
    deficit : int
        Dimensions that the equations leave open, numerically.
    condition_number : float
        Largest singular value over the smallest one that counts.
    gap : float
        Smallest singular value that counts over the largest one that does not, at most its inverse rounding (or over the
        resolution).
    """

    path: str
    unknowns: int
    deficit: int
    condition_number: float
    gap: float


def layer_conditioning(instance: Instance) -> tuple[LayerConditioning, ...]:
    """Condition numbers of the systems of all convolutions.

    Parameters
    ----------
    instance : Instance
        Parameters, sample and label, at which the sensitivities are taken.

    Returns
    -------
    tuple of LayerConditioning
        From the input on; nothing is dropped where ReLU hides outputs, so this is for invertible activations.

    Raises
    ------
    UnsupportedError
        For a layer with more than 6144 input values, with the memory that it would need, and for layers that cannot be
        evaluated.

    Notes
    -----
    UᵀU = WᵀW + s² I ⊗ K̃ᵀK̃, so the tall matrix K is never formed.
    """
    parameters = instance.parameters
    architecture = parameters.architecture
    traced = trace(architecture, parameters, instance.inputs)
    residuals = losses.residual(architecture.loss, traced.output, instance.labels)
    cotangents = backpropagate(architecture, parameters, traced, residuals)
    found = []
    for path, layer in leaves(architecture.layers):
        if isinstance(layer, Conv2d):
            system = LayerSystem.of_layer(layer, traced.inputs[path].shape[1:])
            found.append(_condition(path, system, parameters[f"{path}/weight"], cotangents.outputs[path][0]))
    return tuple(found)


def _condition(path: str, system: LayerSystem, weight: Float, sensitivity: Float) -> LayerConditioning:
    order = system.unknowns
    if order > LARGEST_ORDER:
        raise UnsupportedError(
            f"layer {path} (conv2d): found {order} input values, whose Gram matrix and eigenvalues need "
            f"{3 * 8 * order * order / 2**30:.1f} GiB; at most {LARGEST_ORDER} values are accepted"
        )
    forward, block = system.forward_matrix(weight), system.gradient_block(sensitivity)
    size = float(abs(block).max(initial=0.0))
    scale = float(abs(forward).max(initial=0.0)) / size if size else 0.0
    gram = forward.T @ forward
    shared = scale**2 * (block.T @ block)
    for channel in range(system.in_channels):
        part = slice(channel * system.pixels, (channel + 1) * system.pixels)
        gram[part, part] += shared
    values = np.sqrt(np.maximum(np.linalg.eigvalsh(gram), 0.0))
    largest = float(values[-1])
    deficit = int(np.count_nonzero(values <= RESOLUTION * largest)) if largest else order
    if deficit == order:
        return LayerConditioning(path, order, order, float("inf"), float("inf"))
    smallest = float(values[deficit])
    below = float(values[deficit - 1]) if deficit else RESOLUTION * largest
    return LayerConditioning(path, order, deficit, largest / smallest, smallest / below if below else float("inf"))
