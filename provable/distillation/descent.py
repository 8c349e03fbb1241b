"""Minimise a loss over synthetic points and labels: L-BFGS-B for a fixed loss, Adam for one that changes at every step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float
from provable.distillation.losses import Loss
from provable.errors import InputError

Objective = Callable[[Float, Float], Loss]


def quasi_newton(
    objective: Objective,
    points: Float,
    labels: Float,
    frozen: NDArray[np.bool_],
    labels_move: bool,
    iterations: int,
    bounds: tuple[float, float] | None,
) -> tuple[Float, Float, int]:
    """L-BFGS-B.

    Parameters
    ----------
    objective : callable
        (points, labels) to their loss.
    points, labels : ndarray of shape (M, d), (M,) or (M, C)
        Where to begin.
    frozen : ndarray of bool, shape (M, d)
        Coordinates that stay.
    labels_move : bool
        Whether labels are variables.
    iterations : int
        At most that many.
    bounds : (float, float) or None
        Range of the coordinates that are not frozen.

    Returns
    -------
    points : ndarray of shape (M, d)
        The final points.
    labels : ndarray of the shape of `labels`
        The final labels.
    evaluations : int
        How often the loss was evaluated.

    Raises
    ------
    InputError
        If the number of iterations is negative or the range is empty.
    """
    from scipy.optimize import minimize

    _check(iterations, bounds)
    free = ~frozen
    moving = int(free.sum())

    def unpacked(variables: Float) -> tuple[Float, Float]:
        x = points.copy()
        x[free] = variables[:moving]
        return x, variables[moving:].reshape(labels.shape) if labels_move else labels

    def value_and_gradient(variables: Any) -> Any:
        loss = objective(*unpacked(variables))
        pieces = [loss.by_points[free], loss.by_labels.reshape(-1)] if labels_move else [loss.by_points[free]]
        return loss.value, np.concatenate(pieces)

    begin: Float = np.concatenate([points[free], labels.reshape(-1)]) if labels_move else points[free]
    if begin.size == 0 or iterations == 0:
        return points, labels, 0
    limits: list[tuple[float | None, float | None]] = [(None, None)] * begin.size
    if bounds is not None:
        limits[:moving] = [bounds] * moving
        begin[:moving] = np.clip(begin[:moving], *bounds)
    # `ftol` ends at a relative decrease of the rounding level of a loss that cancels, the others are left to the count
    options: dict[str, Any] = {
        "maxiter": iterations,
        "maxfun": 3 * iterations + 10,
        "ftol": 1e-14,
        "gtol": 0.0,
        "maxcor": 20,
    }
    # SciPy's type stubs refuse a function that returns its gradient as well
    run: Any = minimize
    result = run(value_and_gradient, begin, jac=True, method="L-BFGS-B", bounds=limits, options=options)
    return *unpacked(result.x), int(result.nfev)


def adam(
    objective: Objective,
    points: Float,
    labels: Float,
    frozen: NDArray[np.bool_],
    labels_move: bool,
    iterations: int,
    learning_rate: float,
    bounds: tuple[float, float] | None,
) -> tuple[Float, Float, int]:
    """Adam with the usual constants (0.9, 0.999, 1e-8).

    Parameters
    ----------
    objective, points, labels, frozen, labels_move, iterations, bounds
        As for `quasi_newton`; points are put back into the range after every step.
    learning_rate : float
        The length of a step in each coordinate.

    Returns
    -------
    points : ndarray of shape (M, d)
        The final points.
    labels : ndarray of the shape of `labels`
        The final labels.
    evaluations : int
        The number of steps.

    Raises
    ------
    InputError
        If the number of iterations is negative, the range is empty or the rate is not positive.
    """
    _check(iterations, bounds)
    if not 0 < learning_rate < np.inf:
        raise InputError(f"learning_rate: found {learning_rate}; a positive number is accepted")
    variables = [points.copy(), labels.copy()]
    means, squares = ([np.zeros_like(part) for part in variables] for _ in range(2))
    for step in range(1, iterations + 1):
        loss = objective(*variables)
        gradients = [np.where(frozen, 0.0, loss.by_points), loss.by_labels if labels_move else 0.0 * labels]
        for part, gradient, mean, square in zip(variables, gradients, means, squares, strict=True):
            mean += 0.1 * (gradient - mean)
            square += 0.001 * (gradient**2 - square)
            part -= learning_rate * (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.999**step)) + 1e-8)
        if bounds is not None:
            variables[0] = np.where(frozen, variables[0], np.clip(variables[0], *bounds))
    return variables[0], variables[1], iterations


def _check(iterations: int, bounds: tuple[float, float] | None) -> None:
    if iterations < 0:
        raise InputError(f"iterations: found {iterations}; a number from 0 is accepted")
    if bounds is not None and not bounds[0] < bounds[1]:
        raise InputError(f"bounds: found {bounds}; a lower and a larger upper end are accepted")
