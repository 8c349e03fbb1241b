r"""Signs and norms of samples where next to nothing of the gradient depends on them.

**Signs.** If :math:`\sigma(-z) = k - \sigma(z)` and there is no hidden bias, then
:math:`c\,\sigma(w \cdot x) = k c + (-c)\,\sigma(w \cdot (-x))`: turning samples F around, with their coefficients, changes
the gradient of the output weight by the constant :math:`k \sum_F c_i` only, and descents end in wrong signs. With a constant
κ among the unknowns the signs drop out of the search, and afterwards they are those with :math:`k \sum_F c_i = -\kappa`, and
with :math:`\sum_i c_i - 2 \sum_F c_i` the gradient of the output bias if that was observed.

**Norms.** If σ is positively homogeneous and there is no hidden bias, (t x, c / t) has the image of (x, c) for t > 0, except
in the gradient of the output bias, :math:`\sum_i c_i`: p equations for n norms.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

Float = NDArray[np.float64]

MOST_SAMPLES = 18
"""All 2ⁿ choices of signs are compared up to this n."""

_SMALLEST_SCALE = 2.0**-10


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
    misfit = sum(np.sum((factor * sums - target) ** 2, axis=1) for factor, target in zip(factors, wanted, strict=True))
    chosen = int(np.argmin(misfit))
    bits = (chosen >> np.arange(len(coefficients))) & 1
    return np.where(bits == 1, -1.0, 1.0)


def scales(coefficients: Float, bias_gradient: Float) -> Float:
    """Find factors of coefficients with a given sum.

    Parameters
    ----------
    coefficients : array of shape (n, p)
        Coefficients of samples of norm 1.
    bias_gradient : array of shape (p,)
        The gradient of the output bias.

    Returns
    -------
    array of shape (n,)
        Positive numbers u with Σ u_i c_i as near to the gradient as possible, and near to 1 where that leaves them open.
    """
    result = scipy.optimize.lsq_linear(
        coefficients.T, bias_gradient - coefficients.sum(axis=0), bounds=(_SMALLEST_SCALE - 1, np.inf), method="bvls"
    )
    return np.asarray(1 + result.x, dtype=np.float64)
