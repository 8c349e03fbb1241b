r"""Signs of samples where the gradient barely depends on them.

If :math:`\sigma(-z) = k - \sigma(z)` and there is no hidden bias, :math:`c\,\sigma(w \cdot x) = k c + (-c)\,\sigma(w \cdot (-x))`:
turning samples F around, with their coefficients, changes the gradient of the output weight by the constant
:math:`k \sum_F c_i` only. Descents end in wrong signs, therefore. With an unknown constant κ among the unknowns the signs drop
out of the search, and afterwards they are those with :math:`k \sum_F c_i = -\kappa`, and with
:math:`\sum_i c_i - 2 \sum_F c_i` the gradient of the output bias if that was observed.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

MOST_SAMPLES = 20
"""All 2ⁿ choices of signs are compared up to this n."""


def turned_around(coefficients: Float, constants: Float, reflection: float, bias_gradient: Float | None) -> Float:
    """Find the samples that have to be turned around.

    Parameters
    ----------
    coefficients : array of shape (n, p)
        Coefficients under the signs found, n at most `MOST_SAMPLES`.
    constants : array of shape (p,) or (0,)
        κ; empty if k = 0.
    reflection : float
        k.
    bias_gradient : array of shape (p,) or None
        The gradient of the output bias.

    Returns
    -------
    array of shape (n,)
        -1 for those to be turned around, 1 for the others: the choice that fits best; all 1 if nothing depends on it.
    """
    wanted, factors = [], []
    if len(constants):
        wanted.append(-constants)
        factors.append(reflection)
    if bias_gradient is not None:
        wanted.append((coefficients.sum(axis=0) - bias_gradient) / 2)
        factors.append(1.0)
    if not wanted:
        return np.ones(len(coefficients))
    sums = np.zeros((1, coefficients.shape[1]))
    for row in coefficients:  # subset s of the first i samples is row s, sample i its highest bit
        sums = np.concatenate([sums, sums + row])
    misfit = sum(
        np.sum((factor * sums - target) ** 2, axis=1) for factor, target in zip(factors, wanted, strict=True)
    )
    chosen = int(np.argmin(misfit))
    bits = (chosen >> np.arange(len(coefficients))) & 1
    return 1.0 - 2.0 * bits
