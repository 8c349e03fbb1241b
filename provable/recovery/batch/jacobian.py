r"""The embedding of a batch and its derivative with respect to all points and coefficients, for fully connected networks.

For one atom (x, c) and :math:`S_l = \partial h_l / \partial x`, :math:`\delta_L = c`, the embedding has the pieces
:math:`\delta_l h_{l-1}^T` and :math:`\delta_l`. Along dx and dc both passes are differentiated:

.. math:: S_l = \operatorname{diag}(\sigma'(s_l)) W_l S_{l-1}, \qquad
          \delta_l' = \sigma'(s_l) \circ W_{l+1}^T \delta_{l+1}'
                      + \sigma''(s_l) \circ W_{l+1}^T \delta_{l+1} \circ W_l S_{l-1},

and a piece has the derivative :math:`\delta_l' h_{l-1}^T + \delta_l S_{l-1}^T`. All atoms are worked at once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from provable.networks import activations
from provable.recovery.batch.chain import FullyConnected

Float = NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class BatchPasses:
    """Forward and backward pass of a batch.

    Parameters
    ----------
    inputs : tuple of array of shape (n, k)
        Input of every linear layer.
    preactivations : tuple of array of shape (n, m)
        s of every linear layer.
    sensitivities : tuple of array of shape (n, m)
        δ of every linear layer, coefficients included.
    """

    inputs: tuple[Float, ...]
    preactivations: tuple[Float, ...]
    sensitivities: tuple[Float, ...]


def passes(network: FullyConnected, points: Float, coefficients: Float) -> BatchPasses:
    """Evaluate a batch forward and backward.

    Parameters
    ----------
    network : FullyConnected
        The network.
    points : array of shape (n, d)
        Atoms.
    coefficients : array of shape (n, C)
        Their coefficients.

    Returns
    -------
    BatchPasses
        What went through.
    """
    inputs, preactivations = [], []
    current = points
    for layer in network.layers:
        inputs.append(current)
        values = current @ layer.weight.T
        if layer.bias is not None:
            values = values + layer.bias
        preactivations.append(values)
        current = activations.value(layer.activation, values)
    sensitivities: list[Float] = []
    above = coefficients
    for layer, values in zip(reversed(network.layers), reversed(preactivations), strict=True):
        sensitivity = above * activations.derivative(layer.activation, values)
        sensitivities.append(sensitivity)
        above = sensitivity @ layer.weight
    return BatchPasses(tuple(inputs), tuple(preactivations), tuple(reversed(sensitivities)))


def embedding(network: FullyConnected, points: Float, coefficients: Float) -> dict[str, Float]:
    """Embed a measure, on the observed pieces.

    Parameters
    ----------
    network : FullyConnected
        The network, and which pieces were observed.
    points : array of shape (n, d)
        Atoms.
    coefficients : array of shape (n, C)
        Their coefficients.

    Returns
    -------
    dict of str to array
        Σ_j Σ_k c_jk ∇f_k(x_j), by the name of the piece.
    """
    passed = passes(network, points, coefficients)
    pieces: dict[str, Float] = {}
    for layer, inputs, sensitivity in zip(network.layers, passed.inputs, passed.sensitivities, strict=True):
        if layer.weight_gradient is not None:
            pieces[f"{layer.index}/weight"] = sensitivity.T @ inputs
        if layer.bias_gradient is not None:
            pieces[f"{layer.index}/bias"] = sensitivity.sum(axis=0)
    return pieces


def sizes(network: FullyConnected, points: Float, coefficients: Float) -> Mapping[str, float]:
    """Size of each observed piece before its terms cancel.

    Parameters
    ----------
    network : FullyConnected
        The network, and which pieces were observed.
    points : array of shape (n, d)
        Atoms.
    coefficients : array of shape (n, C)
        Their coefficients.

    Returns
    -------
    mapping of str to float
        Root of the sum over the atoms of their squared Frobenius norms; rounding errors are relative to it.
    """
    passed = passes(network, points, coefficients)
    found: dict[str, float] = {}
    for layer, inputs, sensitivity in zip(network.layers, passed.inputs, passed.sensitivities, strict=True):
        squares = np.sum(sensitivity**2, axis=1)
        if layer.weight_gradient is not None:
            found[f"{layer.index}/weight"] = float(np.sqrt(squares @ np.sum(inputs**2, axis=1)))
        if layer.bias_gradient is not None:
            found[f"{layer.index}/bias"] = float(np.sqrt(squares.sum()))
    return found


def atom_sizes(network: FullyConnected, points: Float, coefficients: Float) -> Float:
    """Size of the part that each atom has in the observed pieces.

    Parameters
    ----------
    network : FullyConnected
        The network, and which pieces were observed.
    points : array of shape (n, d)
        Atoms.
    coefficients : array of shape (n, C)
        Their coefficients.

    Returns
    -------
    array of shape (n,)
        Euclidean norm of Σ_k c_jk ∇f_k(x_j) on the observed pieces.
    """
    passed = passes(network, points, coefficients)
    squares = np.zeros(len(points))
    for layer, inputs, sensitivity in zip(network.layers, passed.inputs, passed.sensitivities, strict=True):
        size = np.sum(sensitivity**2, axis=1)
        if layer.weight_gradient is not None:
            squares += size * np.sum(inputs**2, axis=1)
        if layer.bias_gradient is not None:
            squares += size
    return np.asarray(np.sqrt(squares))


def entries(network: FullyConnected) -> int:
    """Count the observed numbers.

    Parameters
    ----------
    network : FullyConnected
        The network, and which pieces were observed.

    Returns
    -------
    int
        Rows of `embedding_jacobian`.
    """
    observed = [piece for layer in network.layers for piece in (layer.weight_gradient, layer.bias_gradient)]
    return sum(piece.size for piece in observed if piece is not None)


def embedding_jacobian(
    network: FullyConnected, points: Float, coefficients: Float, weights: Mapping[str, float]
) -> Float:
    """Differentiate the embedding of a measure.

    Parameters
    ----------
    network : FullyConnected
        The network, and which pieces were observed.
    points : array of shape (n, d)
        Atoms.
    coefficients : array of shape (n, C)
        Their coefficients.
    weights : mapping of str to float
        Each piece is multiplied by its weight.

    Returns
    -------
    array of shape (rows, n (d + C))
        Rows: the observed pieces, in the order of the layers, weight before bias, each in row-major order. Columns: for each
        atom the d entries of its point and its C coefficients.
    """
    passed = passes(network, points, coefficients)
    count, dimension = points.shape
    outputs = coefficients.shape[1]
    unknowns = dimension + outputs
    # Tangents of the inputs of the layers, (n, k, d); those of the first are the identity.
    tangents = [np.broadcast_to(np.eye(dimension), (count, dimension, dimension))]
    moved = []
    for layer, values in zip(network.layers, passed.preactivations, strict=True):
        moved.append(layer.weight @ tangents[-1])
        tangents.append(activations.derivative(layer.activation, values)[:, :, None] * moved[-1])
    above = coefficients
    above_tangent = np.zeros((count, outputs, unknowns))
    above_tangent[:, :, dimension:] = np.eye(outputs)
    blocks: list[Float] = []
    for position in reversed(range(len(network.layers))):
        layer, values = network.layers[position], passed.preactivations[position]
        slope = activations.derivative(layer.activation, values)
        bent = activations.derivative(layer.activation, values, 2) * above
        sensitivity_tangent = slope[:, :, None] * above_tangent
        sensitivity_tangent[:, :, :dimension] += bent[:, :, None] * moved[position]
        if layer.bias_gradient is not None:
            rows = weights[f"{layer.index}/bias"] * sensitivity_tangent
            blocks.append(np.moveaxis(rows, 0, 1).reshape(len(layer.weight), -1))
        if layer.weight_gradient is not None:
            inputs, sensitivity = passed.inputs[position], passed.sensitivities[position]
            full = sensitivity_tangent[:, :, None, :] * inputs[:, None, :, None]
            full[..., :dimension] += sensitivity[:, :, None, None] * tangents[position][:, None, :, :]
            full *= weights[f"{layer.index}/weight"]
            blocks.append(np.moveaxis(full, 0, 2).reshape(layer.weight.size, -1))
        above = passed.sensitivities[position] @ layer.weight
        above_tangent = np.swapaxes(np.swapaxes(sensitivity_tangent, 1, 2) @ layer.weight, 1, 2)
    return np.concatenate(blocks[::-1])
