"""The second-order finish of training with smooth activations and weight decay: a trust region, then Newton's method."""

from __future__ import annotations

import numpy as np

from provable.arithmetic import Float
from provable.training.separable_losses import bends, slopes, total
from provable.training.stationary_equations import Candidate, Problem, evaluate, newton
from provable.training.stationary_finish import ACCEPTED, Finish

SWITCH = 1e-6
"""Relative residual at which Newton's method takes over, which compares gradients where losses no longer differ."""


def finish_smooth(problem: Problem, theta: Float) -> Finish:
    """Minimise loss and weight decay to rounding level.

    Parameters
    ----------
    problem : Problem
        A network without piecewise linear layers, and a positive weight decay.
    theta : ndarray of shape (P,)
        Where descent ended.

    Returns
    -------
    Finish
        The point; `reason` says if its residual is too large.
    """
    from scipy.optimize import minimize

    chain, decay, labels = problem.chain, problem.weight_decay, problem.labels

    def value(point: Float) -> tuple[float, Float]:
        there = chain.forward(point)
        cotangent = slopes(problem.loss, there.outputs, labels) / decay
        loss = total(problem.loss, there.outputs, labels) / decay
        return loss + float(point @ point) / 2, point + there.backward(cotangent, {}).gradient

    def product(point: Float, direction: Float) -> Float:
        there = chain.forward(point)
        back = there.backward(slopes(problem.loss, there.outputs, labels) / decay, {})
        received, outputs = there.along(direction)
        cotangent = np.einsum("nij,nj->ni", bends(problem.loss, there.outputs, labels) / decay, outputs)
        return direction + back.along(direction, received, cotangent, {})

    norm = float(np.linalg.norm(theta)) or 1.0
    if np.linalg.norm(value(theta)[1]) > SWITCH * norm:
        found = minimize(value, theta, jac=True, hessp=product, method="trust-ncg", options={"gtol": SWITCH * norm})
        theta = np.asarray(found.x, dtype=np.float64)
    empty = np.zeros(len(labels))
    candidate = newton(problem, Candidate(theta, empty, empty.astype(np.bool_), {}, {}, {}))
    there = evaluate(problem, candidate)
    size = float(np.linalg.norm(candidate.theta))
    residual = float(np.linalg.norm(there.stationarity)) / size if size else 0.0
    reason = "" if residual <= ACCEPTED else f"the residual is {residual:.1e}"
    return Finish(candidate.theta, there.coefficients, {}, residual, reason)
