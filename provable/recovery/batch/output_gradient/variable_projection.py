r"""Levenberg-Marquardt on the samples alone, the coefficients being eliminated by linear least squares.

For given points the best coefficients are :math:`c = \Phi^+ v` with the design matrix :math:`\Phi = QR`, and the misfit is
:math:`F = (I - QQ^T) v`. After Kaufman, its derivative by the points is :math:`-(I - QQ^T)\,\Phi'[c]` up to a term that
vanishes with F, so convergence at a solution is quadratic.

References
----------
G. Golub and V. Pereyra, Separable nonlinear least squares: the variable projection method and its applications, 2003;
L. Kaufman, A variable projection method for solving separable nonlinear least squares problems, 1975.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.recovery.batch.output_gradient.equations import Equations

Float = NDArray[np.float64]

_LOWER, _RAISE, _TRIES = 5.0, 5.0, 8

_SMALLEST_DAMPING = 1e-14

_NEAR = 1e-7
"""Below this relative misfit steps are solved by orthogonal factors: normal equations square the condition, which nearly
parallel samples make large."""

_WINDOW, _PROGRESS = 15, 0.985
"""A descent ends if that many steps have not lowered the squared misfit by that factor."""


@dataclasses.dataclass(frozen=True, eq=False)
class Fit:
    """Points with their best coefficients.

    Parameters
    ----------
    points : array of shape (n, d)
        Samples.
    coefficients : array of shape (n, p)
        Best coefficients.
    constants : array of shape (constants,)
        Best values of `Equations.free`; those of one output are neighbours.
    orthogonal, triangular : array
        The factors of the design matrix.
    misfit : array of shape (rows,)
        Observed minus explained.
    cost : float
        Its squared norm; infinite if the design matrix is singular.
    scale : float
        Root of the summed squared norms of the terms of all samples, to which rounding errors are relative.
    """

    points: Float
    coefficients: Float
    constants: Float
    orthogonal: Float
    triangular: Float
    misfit: Float
    cost: float
    scale: float

    @property
    def relative(self) -> float:
        """Norm of the misfit, relative to the sizes of the terms."""
        return math.sqrt(self.cost) / self.scale if self.scale > 0 else math.inf


def fit(equations: Equations, observed: Float, points: Float) -> Fit:
    """Find the best coefficients of given points.

    Parameters
    ----------
    equations : Equations
        The equations.
    observed : array of shape (rows,)
        Their right-hand side.
    points : array of shape (n, d)
        Samples.

    Returns
    -------
    Fit
        With an infinite cost if the terms of the samples are numerically dependent, or a number is not finite.
    """
    design = equations.design(points)
    count = len(points) * equations.outputs
    nothing = np.zeros((len(points), equations.outputs)), np.zeros(equations.constants)
    if not np.all(np.isfinite(design)):
        return Fit(points, *nothing, design, design, observed, math.inf, 0.0)
    orthogonal, triangular = np.linalg.qr(design)
    sizes = np.linalg.norm(triangular, axis=0)
    if not np.all(np.abs(np.diag(triangular)) > 64 * EPSILON * sizes):
        return Fit(points, *nothing, orthogonal, triangular, observed, math.inf, 0.0)
    inside = orthogonal.T @ observed
    solution = scipy.linalg.solve_triangular(triangular, inside, check_finite=False)
    misfit = observed - orthogonal @ inside
    return Fit(
        points,
        solution[:count].reshape(len(points), -1),
        solution[count:],
        orthogonal,
        triangular,
        misfit,
        float(misfit @ misfit),
        float(np.linalg.norm(sizes * solution)),
    )


def descend(
    equations: Equations, observed: Float, start: Fit, *, most: int, tolerance: float, damping: float = 1e-3
) -> tuple[Fit, int]:
    """Lower the misfit until it is at rounding level or stands still.

    Parameters
    ----------
    equations : Equations
        The equations.
    observed : array of shape (rows,)
        Their right-hand side.
    start : Fit
        Where from.
    most : int
        Most steps.
    tolerance : float
        `Fit.relative` at which the goal is reached.
    damping : float, optional
        First damping, relative to the diagonal of the normal matrix.

    Returns
    -------
    fit : Fit
        The last point.
    steps : int
        Steps taken.
    """
    current, costs = start, [start.cost]
    for step in range(most):
        if not math.isfinite(current.cost) or current.relative <= tolerance:
            return current, step
        better, damping = _stepped(equations, observed, current, damping)
        if better is None:
            return current, step + 1
        current = better
        costs.append(current.cost)
        if len(costs) > _WINDOW and costs[-1] > _PROGRESS**_WINDOW * costs[-1 - _WINDOW]:
            return current, step + 1
    return current, most


def _stepped(equations: Equations, observed: Float, current: Fit, damping: float) -> tuple[Fit | None, float]:
    shape = current.points.shape
    jacobian = equations.derivative(current.points, current.coefficients)
    if equations.unit_norm:  # only tangents of the sphere move a point
        blocks = jacobian.reshape(len(jacobian), *shape)
        radial = np.einsum("rnd,nd->rn", blocks, current.points)
        jacobian = (blocks - radial[:, :, None] * current.points).reshape(jacobian.shape)
    jacobian = jacobian - current.orthogonal @ (current.orthogonal.T @ jacobian)
    normal, gradient = jacobian.T @ jacobian, jacobian.T @ current.misfit
    diagonal = np.diag(normal).copy()
    largest = float(np.max(diagonal))
    if not 0 < largest < math.inf:
        return None, damping
    diagonal += 1e-12 * largest
    for _ in range(_TRIES):
        try:
            if current.relative < _NEAR:
                moves = _by_factors(jacobian, current.misfit, damping * diagonal)
            else:
                factor = scipy.linalg.cho_factor(normal + np.diag(damping * diagonal), lower=True, check_finite=False)
                moves = scipy.linalg.cho_solve(factor, gradient, check_finite=False)
        except np.linalg.LinAlgError:
            damping *= _RAISE
            continue
        there = current.points + moves.reshape(shape)
        if equations.unit_norm:
            there = there / np.linalg.norm(there, axis=1, keepdims=True)
        found = fit(equations, observed, there)
        if found.cost < current.cost:
            return found, max(damping / _LOWER, _SMALLEST_DAMPING)
        damping *= _RAISE
    return None, damping


def _by_factors(jacobian: Float, misfit: Float, penalty: Float) -> Float:
    """Minimise ‖J s - F‖² + Σ penalty s²."""
    if len(jacobian) > 2 * jacobian.shape[1]:
        reduced: Float = np.asarray(np.linalg.qr(np.column_stack([jacobian, misfit]), mode="r"))
        jacobian, misfit = reduced[:, :-1], reduced[:, -1]
    matrix = np.concatenate([jacobian, np.diag(np.sqrt(penalty))])
    right = np.concatenate([misfit, np.zeros(len(penalty))])
    orthogonal, triangular = np.linalg.qr(matrix)
    return np.asarray(scipy.linalg.solve_triangular(triangular, orthogonal.T @ right, check_finite=False))
