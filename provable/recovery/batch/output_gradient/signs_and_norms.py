r"""Signs and norms of samples where next to nothing of the gradient depends on them.

**Signs.** If :math:`\sigma(-z) = k - \sigma(z)` and there is no hidden bias, then
:math:`c\,\sigma(w \cdot x) = k c + (-c)\,\sigma(w \cdot (-x))`: turning samples F around, with their coefficients, changes
the gradient of the output weight by the constant :math:`k \sum_F c_i` only. If :math:`\sigma(-z) = \sigma(z) - k z`, turning
around without the coefficients changes it by the linear :math:`k W \sum_F c_i x_i`. Descents end in wrong signs, therefore.
With a constant or a linear function θ among the unknowns the signs drop out of the search, and afterwards they are those
with :math:`k \sum_F c_i = -\theta` or :math:`k \sum_F c_i x_i^T = -\theta`, and in the first case with
:math:`\sum_i c_i - 2 \sum_F c_i` the gradient of the output bias if that was observed.

**Norms.** If σ is positively homogeneous and there is no hidden bias, (t x, c / t) has the image of (x, c) for t > 0, except
in the gradient of the output bias, :math:`\sum_i c_i`: p equations for n norms.
"""

from __future__ import annotations

import numpy as np
import scipy.optimize
from numpy.typing import NDArray

from provable.recovery.batch.chain import numerical_rank

Float = NDArray[np.float64]

MOST_SAMPLES = 18
"""All 2ⁿ choices of signs are compared up to this n where the changes are dependent."""

_SMALLEST_SCALE = 2.0**-10


def turned_around(changes: Float, wanted: Float) -> Float:
    """Find the samples that have to be turned around.

    Parameters
    ----------
    changes : array of shape (n, q)
        What turning each sample around changes; n is at most `MOST_SAMPLES` unless they are independent.
    wanted : array of shape (q,)
        What has to be changed in all.

    Returns
    -------
    array of shape (n,)
        -1 for those to be turned around, 1 for the others: the choice whose changes add up best.
    """
    count = len(changes)
    if numerical_rank(changes) == count:
        weights = np.linalg.lstsq(changes.T, wanted, rcond=None)[0]
        return np.where(weights > 0.5, -1.0, 1.0)
    # Coordinates in the span of the changes; what of the wanted is outside is the same for all choices.
    basis = np.linalg.svd(changes, full_matrices=False)[2]
    rows, target = changes @ basis.T, basis @ wanted
    sums = np.zeros((1, len(target)))
    for row in rows:  # subset s of the first i samples is row s, sample i its highest bit
        sums = np.concatenate([sums, sums + row])
    chosen = int(np.argmin(np.sum((sums - target) ** 2, axis=1)))
    return np.where((chosen >> np.arange(count)) & 1 == 1, -1.0, 1.0)


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
