"""The gradient of the kernel in its second argument, from differences of the kernel.

A kernel k(z, x) of z·x, ‖z‖ and ‖x‖ has the gradient a z + b x in x, so two directional derivatives give all of it.
"""

from __future__ import annotations

import numpy as np

from provable.recovery.kernel_regime.function_matching.oracle import Float, TrainedFunction


def slopes(function: TrainedFunction, where: Float, points: Float, rng: np.random.Generator) -> tuple[Float, Float]:
    """The numbers a, b with ∇_x k(z, x) = a z + b x.

    Parameters
    ----------
    function : TrainedFunction
        Gives the kernel.
    where : ndarray of shape (S, free)
        The z.
    points : ndarray of shape (N, free)
        The x, none of them zero.
    rng : Generator
        For the second direction.

    Returns
    -------
    along_z, along_x : ndarray of shape (N, S)
        a and b, from central differences along x and across it.
    """
    norms = np.linalg.norm(points, axis=1, keepdims=True)
    lines = rng.standard_normal(points.shape)
    lines -= np.einsum("jd,jd->j", lines, points)[:, None] * points / norms**2
    lines *= norms / np.linalg.norm(lines, axis=1, keepdims=True)
    step = 2.0**-17  # the cube root of the unit roundoff
    radial, across = (
        (function.kernel(points + step * line, where) - function.kernel(points - step * line, where)) / (2 * step)
        for line in (points, lines)
    )
    # across: a (z·v), radial: a (z·x) + b ‖x‖²
    products = lines @ where.T
    along_z = across / np.where(np.abs(products) > 0, products, np.inf)
    along_x = (radial - along_z * (points @ where.T)) / norms**2
    return along_z, along_x
