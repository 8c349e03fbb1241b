"""Adam, for a function of one array."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]


def adam(
    function: Callable[[Float], tuple[float, Float]],
    start: Float,
    steps: int,
    *,
    learning_rate: float = 1e-3,
    decay: tuple[float, float] = (0.9, 0.999),
    floor: float = 1e-8,
) -> tuple[Float, float]:
    """Minimise a function by Adam.

    Parameters
    ----------
    function : callable
        Gives the value and the gradient.
    start : array
        Where to begin.
    steps : int
        How many evaluations to make; with none the start is given back with an infinite value.
    learning_rate : float
        Size of the first steps, entry by entry.
    decay : tuple of two float
        How much of the running mean of gradients, and of their squares, is kept at each step.
    floor : float
        Added to the root of the mean square.

    Returns
    -------
    best : array
        Of all points evaluated the one with the smallest value.
    value : float
        The value there.

    References
    ----------
    D. P. Kingma and J. Ba, Adam: A method for stochastic optimization, ICLR 2015, Algorithm 1.
    """
    point, best, lowest = start.copy(), start.copy(), np.inf
    mean, square = np.zeros_like(start), np.zeros_like(start)
    for step in range(1, steps + 1):
        value, gradient = function(point)
        if value < lowest:
            best, lowest = point.copy(), value
        if not np.all(np.isfinite(gradient)):
            break
        mean = decay[0] * mean + (1 - decay[0]) * gradient
        square = decay[1] * square + (1 - decay[1]) * gradient * gradient
        corrected = mean / (1 - decay[0] ** step)
        point = point - learning_rate * corrected / (np.sqrt(square / (1 - decay[1] ** step)) + floor)
    return best, float(lowest)
