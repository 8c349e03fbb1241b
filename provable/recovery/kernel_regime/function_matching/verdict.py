r"""Does a measure explain the trained function, and which of its atoms are demanded by it?

With the norm of the function known, the loss is :math:`\|h\|^2 - 2\beta^T h(S) + \beta^T K \beta`. Deleting atom j and
refitting the others costs α_j² P_j², P_j² = 1/[K⁻¹]_jj the squared distance of k(·, x_j) from the span of the other atoms
(a Schur complement). Any measure without x_j on the other atoms is at least that far from ĥ, so an atom whose cost is above
what is left unexplained is there.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.recovery.kernel_regime.function_matching.oracle import Float, TrainedFunction

RATIO = 30.0
"""An error may be this multiple of k·ε·κ."""


@dataclass(frozen=True, eq=False)
class Verdict:
    """Residual, loss and what they decide.

    Attributes
    ----------
    residual, tolerance : float
        Largest difference at held-out points over the largest value there, and what rounding explains of it.
    loss : float or None
        Squared distance in the kernel's Hilbert space, at least its floor.
    loss_floor : float
        What rounding adds to it.
    deletion_costs : ndarray of shape (n,)
        α_j² P_j².
    decided : ndarray of bool, shape (n,)
        Costs above the loss, or above what the residual allows.
    """

    residual: float
    tolerance: float
    loss: float | None
    loss_floor: float
    deletion_costs: Float
    decided: NDArray[np.bool_]


def judged(
    function: TrainedFunction, points: Float, coefficients: Float, held_out: Float, squared_norm: float | None
) -> Verdict:
    """Compare a measure with the function at points that were not used to find it.

    Parameters
    ----------
    function : TrainedFunction
        The function and its kernel.
    points : ndarray of shape (n, free)
        The atoms.
    coefficients : ndarray of shape (n,)
        Their coefficients.
    held_out : ndarray of shape (q, free)
        Where to compare.
    squared_norm : float or None
        ‖h‖²_H, if known.

    Returns
    -------
    Verdict
        What the comparison says.
    """
    values = function.values(held_out)
    model = coefficients @ function.kernel(points, held_out) if len(points) else np.zeros(len(held_out))
    size = float(np.abs(values).max(initial=0.0))
    difference = float(np.abs(values - model).max(initial=0.0))
    residual = difference / size if size > 0 else (np.inf if difference > 0 else 0.0)
    gram = function.kernel(points, points) if len(points) else np.zeros((0, 0))
    gram = (gram + gram.T) / 2
    roots = np.sqrt(np.maximum(np.diag(gram), 0.0))
    absolute = float(np.abs(coefficients) @ roots)
    # a kernel value has an error of k ε √(k(x, x) k(z, z)), k the dimension and the few operations of each layer;
    # the same error of the function's own values is unavoidable, so both sums count
    own = np.sqrt(np.maximum(_diagonal(function, held_out), 0.0)).max(initial=0.0)
    unit = RATIO * (function.free + 10) * EPSILON
    tolerance = unit * 2 * absolute * float(own) / size if size > 0 else 0.0
    costs = deletion_costs(gram, coefficients)
    loss, floor = None, unit * (absolute**2 + (squared_norm or 0.0))
    if squared_norm is not None:
        at_points = function.values(points) if len(points) else np.zeros(0)
        raw = squared_norm - 2 * coefficients @ at_points + coefficients @ gram @ coefficients
        loss = max(float(raw), floor)
        bar = loss
    else:
        # without the norm nothing bounds the loss from above; |h - ĥ|² ≤ k(z, z) L bounds it from below
        bar = max((residual * size / max(float(own), np.finfo(float).tiny)) ** 2, floor)
    return Verdict(residual, tolerance, loss, floor, costs, costs > bar)


def deletion_costs(gram: Float, coefficients: Float) -> Float:
    """The loss after deleting one atom and refitting the others.

    Parameters
    ----------
    gram : ndarray of shape (n, n)
        Kernel values of the atoms.
    coefficients : ndarray of shape (n,)
        The coefficients.

    Returns
    -------
    ndarray of shape (n,)
        α_j²/[K⁻¹]_jj, exactly 0 for all if the matrix is singular to rounding and 0 for a zero atom.
    """
    if not len(gram):
        return np.zeros(0)
    roots = np.sqrt(np.maximum(np.diag(gram), 0.0))
    present = roots > 0
    costs = np.zeros(len(gram))
    scaled = gram[np.ix_(present, present)] / np.outer(roots[present], roots[present])
    values, vectors = np.linalg.eigh(scaled)
    if not len(values) or values[0] <= len(values) * EPSILON * values[-1]:
        return costs
    inverse = np.einsum("ik,k->i", vectors**2, 1 / values)
    costs[present] = (coefficients[present] * roots[present]) ** 2 / inverse
    return costs


def _diagonal(function: TrainedFunction, points: Float) -> Float:
    """k(z, z) for each point, a few at a time."""
    pieces = [
        np.diag(function.kernel(points[start : start + 64], points[start : start + 64]))
        for start in range(0, len(points), 64)
    ]
    return np.concatenate(pieces) if pieces else np.zeros(0)
