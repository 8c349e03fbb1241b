r"""From an approximate batch to one that explains the whole gradient: Gauss-Newton on all observed pieces at once.

Where the first layer's weight gradient :math:`G = \Delta_1 X^T` has as many independent rows as there are samples, its row
space is span{x_j}: points are V c with V an orthonormal basis of it, and the network is the one with the first weight WV and
the observed gradient GV. The unknowns are then n (n + C) instead of n (d + C).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.networks import activations
from provable.recovery.batch.chain import FullyConnected, numerical_rank
from provable.recovery.batch.jacobian import embedding, embedding_jacobian, entries, passes, sizes

Float = NDArray[np.float64]

LARGEST_JACOBIAN = 2**25
"""Most entries of a joint derivative (256 MiB); larger systems are left as they came."""

STEPS = 12
"""Most steps of Gauss and Newton; from a good start three or four reach rounding."""

_HALVINGS = 6


def row_space(network: FullyConnected, count: int, precision: float = EPSILON) -> Float | None:
    """Give an orthonormal basis of the span of the samples, if the first layer's gradient shows it.

    Parameters
    ----------
    network : FullyConnected
        The network and its gradient.
    count : int
        Number of samples n.
    precision : float, optional
        Unit of rounding of the gradient.

    Returns
    -------
    array of shape (d, n) or None
        V; None if the weight gradient was not observed, its numerical rank is not n, or n ≥ d, when V would not help.
    """
    gradient = network.first.weight_gradient
    if gradient is None or count >= gradient.shape[1] or numerical_rank(gradient, precision) != count:
        return None
    basis: Float = np.linalg.svd(gradient, full_matrices=False)[2][:count].T
    return basis


def in_coordinates(network: FullyConnected, basis: Float) -> FullyConnected:
    """Write a network for inputs x = V c.

    Parameters
    ----------
    network : FullyConnected
        The network and its gradient.
    basis : array of shape (d, p)
        V, with orthonormal columns.

    Returns
    -------
    FullyConnected
        The network with the first weight WV and the observed gradient GV.
    """
    first = network.first
    gradient = None if first.weight_gradient is None else first.weight_gradient @ basis
    changed = dataclasses.replace(first, weight=first.weight @ basis, weight_gradient=gradient)
    return FullyConnected((changed, *network.layers[1:]))


def fitted_coefficients(network: FullyConnected, points: Float) -> Float:
    r"""Fit the coefficients of known points, in which the embedding is linear.

    Parameters
    ----------
    network : FullyConnected
        The network and its gradient.
    points : array of shape (n, d)
        Atoms.

    Returns
    -------
    array of shape (n, C)
        From the last layer's gradient, :math:`\Delta_L H_{L-1}^T`, if it was observed and the n inputs of that layer are
        independent; otherwise from all observed pieces, by least squares and of least norm. Not a number if that system has
        more than `LARGEST_JACOBIAN` entries.
    """
    count, outputs = len(points), len(network.last.weight)
    passed = passes(network, points, np.zeros((count, outputs)))
    if (gradient := network.last.gradient) is not None:
        inputs = passed.inputs[-1]
        if network.last.bias_gradient is not None:
            inputs = np.column_stack([inputs, np.ones(count)])
        if count <= inputs.shape[1] and numerical_rank(inputs) == count:
            sensitivities = np.linalg.lstsq(inputs.T, gradient.T, rcond=None)[0]
            slopes = activations.derivative(network.last.activation, passed.preactivations[-1])
            fitted: Float = np.divide(sensitivities, slopes, out=np.zeros_like(slopes), where=slopes != 0)
            return fitted
    basis = row_space(network, count)
    if basis is not None:
        network, points = in_coordinates(network, basis), points @ basis
    dimension = points.shape[1]
    columns = count * (dimension + outputs)
    if entries(network) * columns > LARGEST_JACOBIAN:
        return np.full((count, outputs), np.nan)
    unit = dict.fromkeys(_observed(network), 1.0)
    jacobian = embedding_jacobian(network, points, np.zeros((count, outputs)), unit)
    linear = jacobian.reshape(len(jacobian), count, dimension + outputs)[:, :, dimension:]
    solution = np.linalg.lstsq(linear.reshape(len(jacobian), -1), _stacked(_observed(network), unit), rcond=None)[0]
    return np.asarray(solution, dtype=np.float64).reshape(count, outputs)


def refined(
    network: FullyConnected, points: Float, coefficients: Float, *, precision: float = EPSILON, unit_norm: bool = False
) -> tuple[Float, Float]:
    """Refine points and coefficients together until rounding stops it.

    Parameters
    ----------
    network : FullyConnected
        The network and its gradient.
    points : array of shape (n, d)
        Atoms, approximately.
    coefficients : array of shape (n, C)
        Their coefficients, approximately.
    precision : float, optional
        Unit of rounding of the gradient.
    unit_norm : bool, optional
        Whether the points have norm 1, which is then imposed after each step.

    Returns
    -------
    points : array of shape (n, d)
        Refined points; the ones given if no step lowers the misfit, each piece relative to its size, or the system is too
        large.
    coefficients : array of shape (n, C)
        Refined coefficients.
    """
    basis = row_space(network, len(points), precision)
    if basis is None:
        return _iterated(network, points, coefficients, unit_norm)
    inside, coefficients = _iterated(in_coordinates(network, basis), points @ basis, coefficients, unit_norm)
    return inside @ basis.T, coefficients


def _iterated(network: FullyConnected, points: Float, coefficients: Float, unit_norm: bool) -> tuple[Float, Float]:
    count, dimension = points.shape
    columns = count * (dimension + coefficients.shape[1])
    if entries(network) * columns > LARGEST_JACOBIAN:
        return points, coefficients
    weights = {name: 1 / size if size > 0 else 1.0 for name, size in sizes(network, points, coefficients).items()}
    observed = _stacked(_observed(network), weights)

    def misfit(points: Float, coefficients: Float) -> Float:
        return _stacked(embedding(network, points, coefficients), weights) - observed

    current = misfit(points, coefficients)
    for _ in range(STEPS):
        jacobian = embedding_jacobian(network, points, coefficients, weights)
        step = _least_squares(jacobian, current)
        if step is None:
            return points, coefficients
        moves = step.reshape(count, -1)
        better = None
        for halving in range(_HALVINGS):
            length = 0.5**halving
            there: Float = points - length * moves[:, :dimension]
            if unit_norm:
                there = np.asarray(there / np.linalg.norm(there, axis=1, keepdims=True))
            then = coefficients - length * moves[:, dimension:]
            change = misfit(there, then)
            if np.linalg.norm(change) < np.linalg.norm(current):
                better = there, then, change
                break
        if better is None:
            break
        settled = np.linalg.norm(better[2]) > 0.5 * np.linalg.norm(current) and halving == 0
        points, coefficients, current = better
        if settled:
            break
    return points, coefficients


def _least_squares(matrix: Float, right: Float) -> Float | None:
    if not (np.all(np.isfinite(matrix)) and np.all(np.isfinite(right))):
        return None
    norms = np.linalg.norm(matrix, axis=0)
    norms[norms == 0] = 1.0
    # Triangular factors first: the decomposition that finds the rank is slow on long matrices.
    whole = np.column_stack([matrix / norms, right])
    (triangle,) = scipy.linalg.qr(whole, mode="r", overwrite_a=True, check_finite=False)
    triangle = triangle[: whole.shape[1]]
    try:
        solution = scipy.linalg.lstsq(triangle[:, :-1], triangle[:, -1], cond=64 * EPSILON, lapack_driver="gelsy")[0]
    except np.linalg.LinAlgError:
        return None
    result: Float = solution / norms
    return result


def _observed(network: FullyConnected) -> dict[str, Float]:
    pieces: dict[str, Float] = {}
    for layer in network.layers:
        if layer.weight_gradient is not None:
            pieces[f"{layer.index}/weight"] = layer.weight_gradient
        if layer.bias_gradient is not None:
            pieces[f"{layer.index}/bias"] = layer.bias_gradient
    return pieces


def _stacked(pieces: Mapping[str, Float], weights: Mapping[str, float]) -> Float:
    return np.concatenate([weights[name] * piece.reshape(-1) for name, piece in pieces.items()])
