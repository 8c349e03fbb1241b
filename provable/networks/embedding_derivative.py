r"""The derivative of the tangent embedding with respect to the measure: :math:`J` of (x, c) ↦ Σ_j Σ_k c_jk ∇_θ f_k(x_j; θ).

Unknowns are all points, sample by sample in row-major order, then all coefficients, sample by sample. Unlike
`gradient_jacobian`, which knows the labels, the coefficients are unknowns of their own here.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Architecture
from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks.evaluation import trace
from provable.networks.one_hidden_layer import OneHiddenLayer
from provable.networks.parameters import Parameters
from provable.networks.second_derivatives import GradientJacobian
from provable.networks.tangents import backpropagate, contract, tangents

LARGEST_JACOBIAN = 2**31
"""Bytes that a Jacobian may take."""

MOST_UNKNOWNS = 4096
"""Unknowns of normal equations, at most (128 MiB for the matrix)."""


def embedding_jacobian(
    architecture: Architecture, parameters: Parameters, measure: Measure, keys: Iterable[str] | None = None
) -> Float:
    """The Jacobian J of the embedding with respect to points and coefficients, as a matrix.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        θ, of float64.
    measure : Measure
        Where J is taken; coefficients of shape (n, C), or (n,) for one output.
    keys : iterable of str, optional
        Names of the parameters whose gradients are wanted, all by default; rows come in the architecture's order.

    Returns
    -------
    ndarray of shape (rows, n * input_size + n * C)
        J.

    Raises
    ------
    InputError
        If the measure does not fit.
    UnsupportedError
        If J would take over 2 GiB, and for a layer that cannot be evaluated.
    """
    coefficients = _coefficients(architecture, measure)
    n, outputs = coefficients.shape
    unknowns = n * (architecture.input_size + outputs)
    if 8 * unknowns * architecture.parameter_count > LARGEST_JACOBIAN:
        raise UnsupportedError(
            f"measure: found {unknowns} unknowns; their Jacobian for {architecture.parameter_count} parameters needs "
            f"{8 * unknowns * architecture.parameter_count} bytes; at most {LARGEST_JACOBIAN} are accepted"
        )
    traced = trace(architecture, parameters, measure.points)
    # With coefficients that do not move, the loss has no curvature.
    frozen = GradientJacobian(
        architecture,
        parameters,
        traced,
        backpropagate(architecture, parameters, traced, coefficients),
        np.zeros((n, outputs, outputs)),
    )
    size = n * architecture.input_size
    directions = np.eye(size).reshape(size, n, *architecture.input_shape)
    by_points = frozen.push_forward(directions)
    by_coefficients = tangents(architecture, parameters, measure.points).reshape(n * outputs, -1)
    whole = np.concatenate([by_points, by_coefficients]).T
    return whole[_rows(architecture, keys)] if keys is not None else whole


def pushed_embedding(
    architecture: Architecture,
    parameters: Parameters,
    measure: Measure,
    directions: Float,
    weights: Mapping[str, Float],
) -> Float:
    """Directional derivatives √Ω J v of the embedding.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        θ, of float64.
    measure : Measure
        Where J is taken; coefficients of shape (n, C), or (n,) for one output.
    directions : ndarray of shape (k, n * input_size + n * C)
        The v: changes of all points, then of all coefficients.
    weights : mapping of str to ndarray
        Ω, as for `normal_equations`.

    Returns
    -------
    ndarray of shape (k, rows)
        √Ω J v for the pieces that have weights, in the architecture's order.

    Raises
    ------
    InputError
        If the measure does not fit.
    UnsupportedError
        If the result would take over 2 GiB, and for a layer that cannot be evaluated.
    """
    coefficients = _coefficients(architecture, measure)
    n, outputs = coefficients.shape
    rows = _rows(architecture, weights)
    if 8 * len(directions) * architecture.parameter_count > LARGEST_JACOBIAN:
        raise UnsupportedError(
            f"directions: found {len(directions)} for {architecture.parameter_count} parameters; their derivatives may take "
            f"{LARGEST_JACOBIAN} bytes"
        )
    traced = trace(architecture, parameters, measure.points)
    frozen = GradientJacobian(
        architecture,
        parameters,
        traced,
        backpropagate(architecture, parameters, traced, coefficients),
        np.zeros((n, outputs, outputs)),
    )
    places = n * architecture.input_size
    moves = np.ascontiguousarray(directions[:, :places]).reshape(len(directions), n, *architecture.input_shape)
    whole = frozen.push_forward(moves)[:, rows]
    # Linear in the coefficients: a change of them is a measure of its own.
    for index, change in enumerate(directions[:, places:].reshape(len(directions), n, outputs)):
        whole[index] += contract(architecture, parameters, traced, change).vector()[rows]
    roots = [np.sqrt(weights[key]).reshape(-1) for key in architecture.parameter_shapes if key in weights]
    return np.asarray(whole * np.concatenate([np.empty(0), *roots]))


def normal_equations(
    architecture: Architecture,
    parameters: Parameters,
    measure: Measure,
    weights: Mapping[str, Float],
    misfit: Mapping[str, Float] | None = None,
) -> tuple[Float, Float]:
    """JᵀΩJ and JᵀΩF for weights Ω and a misfit F; block by block for one hidden layer, by the whole J otherwise.

    Parameters
    ----------
    architecture : Architecture
        The network.
    parameters : Parameters
        θ, of float64.
    measure : Measure
        Where J is taken; coefficients of shape (n, C), or (n,) for one output.
    weights : mapping of str to ndarray
        Nonnegative weights of the entries of each observed piece; pieces that are absent are not observed.
    misfit : mapping of str to ndarray, optional
        F in the same shapes; zero by default.

    Returns
    -------
    matrix : ndarray of shape (n * input_size + n * C, the same)
        JᵀΩJ, symmetric.
    vector : ndarray of shape (n * input_size + n * C,)
        JᵀΩF.

    Raises
    ------
    InputError
        If the measure or a weight does not fit.
    UnsupportedError
        For more than 4096 unknowns, and for a layer that cannot be evaluated.
    """
    coefficients = _coefficients(architecture, measure)
    shapes = architecture.parameter_shapes
    for key, weight in weights.items():
        if key not in shapes:
            raise InputError(f"weights: found the unknown name {key!r:.60}; {', '.join(shapes)} are accepted")
        if np.shape(weight) != shapes[key]:
            raise InputError(f"weights {key}: found shape {np.shape(weight)}; {shapes[key]} is accepted")
    n, outputs = coefficients.shape
    unknowns = n * (architecture.input_size + outputs)
    if unknowns > MOST_UNKNOWNS:
        raise UnsupportedError(
            f"measure: found {unknowns} unknowns ({n} atoms of {architecture.input_size} input values); at most "
            f"{MOST_UNKNOWNS} are accepted"
        )
    known = misfit or {}
    points = np.asarray(measure.points, dtype=np.float64).reshape(n, -1)
    shallow = OneHiddenLayer.of(architecture, parameters)
    if shallow is not None:
        return shallow.normal_equations(points, coefficients, weights, known)
    keys = [key for key in shapes if key in weights]
    if not keys:
        return np.zeros((unknowns, unknowns)), np.zeros(unknowns)
    jacobian = embedding_jacobian(architecture, parameters, measure, keys)
    flat = np.concatenate([np.asarray(weights[key]).reshape(-1) for key in keys])
    other = np.concatenate([np.asarray(known.get(key, np.zeros(shapes[key]))).reshape(-1) for key in keys])
    weighted = jacobian * flat[:, None]
    matrix = weighted.T @ jacobian
    return (matrix + matrix.T) / 2, weighted.T @ other


def _coefficients(architecture: Architecture, measure: Measure) -> Float:
    coefficients = np.asarray(measure.coefficients, dtype=np.float64)
    if coefficients.ndim == 1 and architecture.output_size == 1:
        coefficients = coefficients[:, None]
    if coefficients.shape != (measure.size, architecture.output_size):
        raise InputError(
            f"coefficients: found shape {measure.coefficients.shape}; "
            f"({measure.size}, {architecture.output_size}) is accepted"
        )
    return coefficients


def _rows(architecture: Architecture, keys: Iterable[str]) -> NDArray[np.intp]:
    wanted, parts, start = set(keys), [np.empty(0, dtype=np.intp)], 0
    for key, shape in architecture.parameter_shapes.items():
        stop = start + math.prod(shape)
        if key in wanted:
            parts.append(np.arange(start, stop))
            wanted.discard(key)
        start = stop
    if wanted:
        raise InputError(
            f"keys: found the unknown name {sorted(wanted)[0]!r:.60}; {', '.join(architecture.parameter_shapes)} are accepted"
        )
    return np.concatenate(parts)
