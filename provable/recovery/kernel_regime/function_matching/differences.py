"""Second derivatives of an analytic function from its values, or from its gradients, by central differences of high order.

With nodes ±1, …, ±m and step δ, D²f = Σ_k w_k (f(kδ) + f(-kδ) - 2f(0))/δ² is exact up to δ^{2m} f^{(2m+2)}, and rounding adds
about ε|f|/δ². The step balances the two by the function's own values: the formulas of m and of m - 1 nodes, which
share their evaluations, are compared over a range of steps.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from provable.recovery.kernel_regime.function_matching.oracle import Float, TrainedFunction

HALF_WIDTH = 6
"""m, the nodes on each side."""

LARGEST_STEP, SMALLEST_STEP = 2.0**-2, 2.0**-10
"""The steps tried, as fractions of the radius: a stencil of the largest spans a whole radius on each side."""


@dataclass(frozen=True)
class Stencil:
    """A step, and how large errors of second derivatives are with it.

    Attributes
    ----------
    step : float
        δ.
    error : float
        Root mean square difference of the formulas with m and m - 1 nodes.
    size : float
        Root mean square of the second derivatives that were tried.
    """

    step: float
    error: float
    size: float


def second_weights(half_width: int) -> Float:
    """Weights w_k of f(kδ) + f(-kδ) - 2f(0) in the second derivative.

    Parameters
    ----------
    half_width : int
        m.

    Returns
    -------
    ndarray of shape (m,)
        w_k = 2(-1)^{k+1} (m!)²/(k² (m-k)! (m+k)!).
    """
    return np.array([2 * weight / k for k, weight in enumerate(first_weights(half_width), start=1)])


def first_weights(half_width: int) -> Float:
    """Weights v_k of f(kδ) - f(-kδ) in the first derivative.

    Parameters
    ----------
    half_width : int
        m.

    Returns
    -------
    ndarray of shape (m,)
        v_k = (-1)^{k+1} (m!)²/(k (m-k)! (m+k)!).
    """
    m = half_width
    return np.array(
        [
            (-1) ** (k + 1) * math.factorial(m) ** 2 / (k * math.factorial(m - k) * math.factorial(m + k))
            for k in range(1, m + 1)
        ]
    )


def choose_step(function: TrainedFunction, centres: Float, directions: Float, radius: float) -> Stencil:
    """Find the step at which truncation and rounding balance.

    Parameters
    ----------
    function : TrainedFunction
        The function.
    centres : ndarray of shape (p, free)
        Where derivatives will be taken.
    directions : ndarray of shape (p, free)
        A unit direction at each.
    radius : float
        The size of the centres, to which steps are relative.

    Returns
    -------
    Stencil
        The best of the steps tried.
    """
    ratio = math.sqrt(0.5)
    count = round(math.log(SMALLEST_STEP / LARGEST_STEP, ratio)) + 1
    best: Stencil | None = None
    for step in (radius * LARGEST_STEP * ratio ** np.arange(count)).tolist():
        estimates = np.array(
            [
                _both_orders(function, centre[None], line[None], step)
                for centre, line in zip(centres, directions, strict=True)
            ]
        )
        error = float(np.sqrt(np.mean((estimates[:, 0] - estimates[:, 1]) ** 2)))
        if best is None or error < best.error:
            best = Stencil(step, error, float(np.sqrt(np.mean(estimates[:, 0] ** 2))))
    assert best is not None
    return best


def along(function: TrainedFunction, centres: Float, directions: Float, step: float) -> Float:
    """Second derivatives along directions.

    Parameters
    ----------
    function : TrainedFunction
        The function.
    centres : ndarray of shape (p, free)
        Where.
    directions : ndarray of shape (m, free)
        Unit vectors, the same at every centre.
    step : float
        δ.

    Returns
    -------
    ndarray of shape (p, m)
        vᵀ(Hess f)v.
    """
    derivatives: Float = _both_orders(function, centres, directions, step)[0]
    return derivatives


def _both_orders(function: TrainedFunction, centres: Float, directions: Float, step: float) -> Float:
    """Second derivatives by the formulas with m and with m - 1 nodes, shape (2, p, directions)."""
    weights = np.zeros((2, HALF_WIDTH))
    weights[0], weights[1, :-1] = second_weights(HALF_WIDTH), second_weights(HALF_WIDTH - 1)
    offsets = step * np.arange(1, HALF_WIDTH + 1)
    nodes = np.concatenate([offsets, -offsets])[:, None, None] * directions
    middle = function.values(centres)
    result = np.empty((2, len(centres), len(directions)))
    for row, centre in enumerate(centres):
        values = function.values((centre + nodes).reshape(-1, centres.shape[1]))
        sides = values.reshape(2, HALF_WIDTH, -1)
        result[:, row] = weights @ ((sides[0] - middle[row]) + (sides[1] - middle[row])) / step**2
    return result


def symmetric_blocks(function: TrainedFunction, centres: Float, basis: Float, step: float) -> Float:
    """Blocks WᵀHess f W of the Hessian.

    Parameters
    ----------
    function : TrainedFunction
        The function.
    centres : ndarray of shape (p, free)
        Where.
    basis : ndarray of shape (n, free)
        Orthonormal rows, W transposed.
    step : float
        δ.

    Returns
    -------
    ndarray of shape (p, n, n)
        Symmetric matrices: from n(n + 1)/2 directional derivatives by polarisation, or from the gradient along n directions.
    """
    n = len(basis)
    if function.has_gradient:
        rows = _gradient_rows(function, centres, basis, step) @ basis.T
        return (rows + rows.transpose(0, 2, 1)) / 2
    first, second = np.triu_indices(n, 1)
    derivatives = along(function, centres, np.vstack([basis, (basis[first] + basis[second]) / math.sqrt(2)]), step)
    blocks = np.zeros((len(centres), n, n))
    own = derivatives[:, :n]
    blocks[:, np.arange(n), np.arange(n)] = own
    blocks[:, first, second] = derivatives[:, n:] - (own[:, first] + own[:, second]) / 2
    blocks[:, second, first] = blocks[:, first, second]
    return blocks


def mixed_blocks(function: TrainedFunction, centres: Float, left: Float, right: Float, step: float) -> Float:
    """Blocks UᵀHess f W of the Hessian for orthogonal spaces.

    Parameters
    ----------
    function : TrainedFunction
        The function.
    centres : ndarray of shape (p, free)
        Where.
    left : ndarray of shape (u, free)
        Orthonormal rows, U transposed.
    right : ndarray of shape (n, free)
        Orthonormal rows, orthogonal to those of `left`.
    step : float
        δ.

    Returns
    -------
    ndarray of shape (p, u, n)
        Mixed second derivatives.
    """
    if function.has_gradient:
        rows = _gradient_rows(function, centres, right, step) @ left.T
        return rows.transpose(0, 2, 1)
    pairs = (left[:, None] + right[None]) / math.sqrt(2), (left[:, None] - right[None]) / math.sqrt(2)
    plus, minus = (along(function, centres, pair.reshape(-1, left.shape[1]), step) for pair in pairs)
    return ((plus - minus) / 2).reshape(len(centres), len(left), len(right))


def _gradient_rows(function: TrainedFunction, centres: Float, basis: Float, step: float) -> Float:
    """Derivatives of the gradient along the rows of `basis`, shape (p, n, free)."""
    weights = first_weights(HALF_WIDTH)
    offsets = step * np.arange(1, HALF_WIDTH + 1)
    nodes = np.concatenate([offsets, -offsets])[:, None, None] * basis
    result = np.empty((len(centres), len(basis), centres.shape[1]))
    for row, centre in enumerate(centres):
        gradients = function.gradients((centre + nodes).reshape(-1, centres.shape[1]))
        sides = gradients.reshape(2, HALF_WIDTH, len(basis), -1)
        result[row] = np.tensordot(weights, sides[0] - sides[1], 1) / step
    return result
