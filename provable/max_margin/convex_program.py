r"""The max-margin problem as a convex program over activation patterns.

Notes
-----
A neuron of sign σ = ±1 with u = \|v\| w contributes σ relu(u·x̃) to f and, when \|w\| = |v|, the amount \|u\| to ½\|θ\|². For
a pattern D (a diagonal 0/1 matrix) neurons of that pattern and one sign add up to a single one, so the problem is

.. math:: \min \sum_{D,σ} \|u_{Dσ}\| \quad \text{s.t.} \quad y_i \sum_{D,σ} σ D_{ii} \tilde x_i^T u_{Dσ} \ge 1, \quad
          (2D - 1) \tilde X u_{Dσ} \ge 0

over all patterns (Pilanci and Ergen 2020, for other losses). With some patterns only it is a restriction, and an upper bound.
"""

from __future__ import annotations

import importlib
import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from provable.arithmetic import Float
from provable.errors import InputError
from provable.max_margin.activation_patterns import Patterns


@dataclass(frozen=True, eq=False)
class RestrictedOptimum:
    """The optimum over some activation patterns.

    Attributes
    ----------
    neurons : ndarray of shape (2P, D)
        The u of both signs, first all of sign 1.
    signs : ndarray of shape (2P,)
        σ.
    multipliers : ndarray of shape (n,)
        Those of the margins, λ ≥ 0.
    objective : float
        Σ ‖u‖.
    """

    neurons: Float
    signs: Float
    multipliers: Float
    objective: float


def solve_restricted(inputs: Float, labels: Float, patterns: Patterns) -> RestrictedOptimum | None:
    """Solve the convex program over given patterns with an interior-point method (cvxpy, Clarabel).

    Parameters
    ----------
    inputs : ndarray of shape (n, D)
        The x̃_i.
    labels : ndarray of shape (n,)
        ±1.
    patterns : ndarray of bool (P, n)
        The patterns, each used with both signs.

    Returns
    -------
    RestrictedOptimum or None
        Numerical, to about eight digits; None if no network with these patterns separates the samples.

    Raises
    ------
    InputError
        If the solver fails.
    """
    cvxpy: Any = importlib.import_module("cvxpy")  # a second to import, and its names are made when it runs
    both = np.concatenate([patterns, patterns])
    signs = np.repeat([1.0, -1.0], len(patterns))
    neurons = cvxpy.Variable((len(both), inputs.shape[1]))
    activations = neurons @ inputs.T
    outputs = cvxpy.sum(cvxpy.multiply(both * signs[:, None] * labels, activations), axis=0)
    margins = outputs >= 1
    problem = cvxpy.Problem(
        cvxpy.Minimize(cvxpy.sum(cvxpy.norm(neurons, axis=1))),
        [margins, cvxpy.multiply(2.0 * both - 1.0, activations) >= 0],
    )
    try:
        with warnings.catch_warnings():
            # "may be inaccurate": what it is worth is decided by the dual check and the exact bounds
            warnings.simplefilter("ignore", UserWarning)
            problem.solve(solver=cvxpy.CLARABEL, tol_gap_abs=1e-13, tol_gap_rel=1e-13, tol_feas=1e-13)
    except cvxpy.SolverError as error:
        raise InputError(f"points: the interior-point solver failed on {len(labels)} samples ({error})") from error
    if neurons.value is None:
        return None
    return RestrictedOptimum(
        np.asarray(neurons.value, dtype=np.float64),
        signs,
        np.maximum(np.asarray(margins.dual_value, dtype=np.float64), 0.0),
        float(problem.value),
    )
