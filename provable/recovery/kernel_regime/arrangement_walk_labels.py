"""What labels add to a walk without bias coordinate: the norms of the points, or their orientation if the norms are known.

The trained function h(z) = Σ_j α_j k(z, x_j) is positively homogeneous and takes the value y_j at x_j, so that
‖x_j‖ = y_j / h(x_j/‖x_j‖). It does not depend on the open orientation: k(z, x) - k(z, -x) is linear in z and x, and what a
choice of signs changes in h, the constant that completes it changes back.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError
from provable.measures import Measure
from provable.recovery.kernel_regime.arrangement_walk import ArrangementWalk

Kernel = Callable[[Float, Float], Float]


def trained_function(walk: ArrangementWalk, points: Float, *, kernel: Kernel | None = None) -> Float:
    """Evaluate the trained function from what a walk found.

    Parameters
    ----------
    walk : ArrangementWalk
        A walk without bias coordinate, whose orientation may be open, or with one.
    points : ndarray of shape (m, dimension)
        Where.
    kernel : callable, optional
        The tangent kernel of one hidden ReLU layer without biases, ``kernel(X, Z) -> (n, m)``, for which Σ_j α_j k(x_i, x_j)
        are the labels; default: `provable.kernels.ntk(1, "relu")`.

    Returns
    -------
    ndarray of shape (m,)
        h(z) = Σ_j α_j k(z, x_j).
    """
    measure = walk.completed_measure()
    values: Float = _kernel(kernel)(points, measure.points) @ measure.coefficients
    return values


def norms_from_labels(walk: ArrangementWalk, labels: ArrayLike = 1.0, *, kernel: Kernel | None = None) -> Measure:
    """Restore the norms of points that are known as unit vectors: ‖x_j‖ = y_j / h(x_j/‖x_j‖).

    Parameters
    ----------
    walk : ArrangementWalk
        A walk without bias coordinate, with determined orientation.
    labels : array_like of shape (n,), or float
        The labels y_j that the trained function takes at the points, in the order of ``walk.measure``, less what the network
        gave at initialisation; or their common magnitude, if the labels are ±1 for instance.
    kernel : callable, optional
        As in `trained_function`.

    Returns
    -------
    Measure
        The points x_j with their α_j.

    Raises
    ------
    InputError
        If the orientation is open, a point has no label of its sign, or the shape of the labels is wrong.
    """
    if walk.orientation_is_open:
        raise InputError(
            "walk: found an open orientation; a walk whose orientation is determined is accepted, "
            "for instance by knowing that all points are nonnegative"
        )
    units, coefficients = walk.measure.points, walk.measure.coefficients
    values = trained_function(walk, units, kernel=kernel)
    if np.ndim(labels) == 0:
        wanted = np.where(values < 0, -1.0, 1.0) * abs(float(np.asarray(labels)))
    else:
        wanted = np.asarray(labels, dtype=np.float64)
        if wanted.shape != values.shape:
            raise InputError(f"labels: found shape {wanted.shape}; ({len(values)},) or one number is accepted")
    with np.errstate(divide="ignore", invalid="ignore"):
        norms = wanted / values
    if not (np.isfinite(norms) & (norms > 0)).all():
        worst = int(np.flatnonzero(~(np.isfinite(norms) & (norms > 0)))[0])
        raise InputError(
            f"labels: found {wanted[worst]:g} at point {worst}, where the trained function on the unit sphere is "
            f"{values[worst]:.3g}; a label of the same sign, not zero, is accepted"
        )
    return Measure(units * norms[:, None], coefficients / norms)


def orientation_from_labels(
    walk: ArrangementWalk, magnitude: float = 1.0, *, norm: float = 1.0, kernel: Kernel | None = None
) -> Measure:
    """Orient points of known norm by the magnitude of their labels: at x_j the trained function has it, at -x_j hardly ever.

    Parameters
    ----------
    walk : ArrangementWalk
        A walk without bias coordinate.
    magnitude : float
        The common |y_j|, for instance 1.
    norm : float
        The common ‖x_j‖.
    kernel : callable, optional
        As in `trained_function`.

    Returns
    -------
    Measure
        Unit vectors with coefficients α‖x‖, one for each point of ``walk.measure``.

    Raises
    ------
    InputError
        If at some axis both sides, or neither, have that magnitude to six digits.
    """
    units = walk.measure.points
    values = np.stack([trained_function(walk, side * units, kernel=kernel) for side in (1.0, -1.0)])
    # Six digits: coefficients from an ill-conditioned kernel matrix lose some, and the wrong side agrees by chance only.
    fits = np.abs(np.abs(values) * norm - magnitude) <= 1e-6 * magnitude
    undecided = fits[0] == fits[1]
    if undecided.any():
        worst = int(np.flatnonzero(undecided)[0])
        raise InputError(
            f"walk: found |h| = {abs(values[0, worst]) * norm:.9g} and {abs(values[1, worst]) * norm:.9g} at axis {worst}; "
            f"axes with {magnitude:g} on exactly one side are accepted"
        )
    signs = np.where(fits[0], 1.0, -1.0)
    return Measure(units * signs[:, None], walk.measure.coefficients)


def _kernel(kernel: Kernel | None) -> Kernel:
    if kernel is not None:
        return kernel
    from provable.kernels import ntk

    default: Kernel = ntk(1, "relu")
    return default
