r"""Norms of samples, where the conditions of single samples show directions only.

Without biases before the last layer and with homogeneous activations of degree k in all, (x, δ) and
:math:`(tx, \delta / t^k)` with t > 0 leave the same trace in every gradient of a weight. The gradient of the last layer's
bias, if there is one, is the sum of the δ, so that the factors :math:`w_i = t_i^{-k}` solve
:math:`\sum_i w_i \delta_i = g`: C equations for B unknowns.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

ITERATIONS = 100


def choose_factors(sensitivities: Float, total: Float) -> Float:
    r"""Find positive factors with :math:`\sum_i w_i \delta_i = g`, near one where the equations leave them open.

    Parameters
    ----------
    sensitivities : array of shape (B, C)
        The δ of the samples of norm one, none of them zero.
    total : array of shape (C,)
        g.

    Returns
    -------
    array of shape (B,)
        w, by Newton steps of least norm in the logarithms; the best that was found if the equations have no solution.
    """
    size = float(np.linalg.norm(sensitivities))
    logarithms = np.zeros(len(sensitivities))

    def misfit(values: Float) -> Float:
        return np.asarray(total - np.exp(values) @ sensitivities)

    left = misfit(logarithms)
    for _ in range(ITERATIONS):
        if np.linalg.norm(left) <= 1e-15 * size:
            break
        step = np.linalg.lstsq((np.exp(logarithms)[:, None] * sensitivities).T, left, rcond=1e-13)[0]
        # Factors change by e at most in a step; halved until it helps.
        step /= max(1.0, float(np.max(np.abs(step))))
        for _ in range(40):
            moved = logarithms + step
            after = misfit(moved)
            if np.linalg.norm(after) < np.linalg.norm(left):
                break
            step = step / 2
        else:
            break
        logarithms, left = moved, after
    return np.exp(logarithms)
