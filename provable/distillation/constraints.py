"""What synthetic data may be made to satisfy so that they show less: distance to the training set, frozen noise, bounds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import Float
from provable.errors import InputError

HINGE = 50.0
"""The weight of the distance penalty in the code of Loo et al. (2024)."""


def distance_hinge(
    points: Float, training_points: Float, distance: float, *, weight: float = HINGE
) -> tuple[float, Float]:
    """Penalise synthetic points that are close to a training point.

    Parameters
    ----------
    points : ndarray of shape (M, d)
        Synthetic points x̂_j.
    training_points : ndarray of shape (N, d)
        Training points x_i.
    distance : float
        δ > 0, a *squared* distance.
    weight : float, optional
        w.

    Returns
    -------
    value : float
        w·mean_j (δ - min(min_i ‖x̂_j - x_i‖², δ))²: zero if every point keeps the distance.
    gradient : ndarray of shape (M, d)
        Its derivative by the points; where several training points are nearest, that of the first.

    Raises
    ------
    InputError
        If δ is not positive and finite.
    """
    if not 0 < distance < np.inf:
        raise InputError(f"distance: found {distance}; a positive squared distance is accepted")
    squares = squared_distances(points, training_points)
    nearest = squares.argmin(axis=1)
    gaps = points - training_points[nearest]
    missing = np.maximum(distance - np.einsum("ij,ij->i", gaps, gaps), 0.0)
    value = weight * float(np.mean(missing**2))
    return value, (-4.0 * weight / len(points)) * missing[:, None] * gaps


def squared_distances(points: Float, others: Float) -> Float:
    """All squared distances, by differences.

    Parameters
    ----------
    points : ndarray of shape (n, d)
        Points.
    others : ndarray of shape (m, d)
        Other points.

    Returns
    -------
    ndarray of shape (n, m)
        ‖x_i - z_j‖², exactly zero for equal points.
    """
    result = np.empty((len(points), len(others)))
    for row, point in zip(result, points, strict=True):
        gaps = others - point
        row[:] = np.einsum("ij,ij->i", gaps, gaps)
    return result


def corrupt(
    points: Float, fraction: float, *, rng: int | np.random.Generator | None = None
) -> tuple[Float, NDArray[np.bool_]]:
    """Replace a random share of the coordinates of each point by standard normal noise.

    Parameters
    ----------
    points : ndarray of shape (M, d)
        Points.
    fraction : float
        ρ in [0, 1]; round(ρd) coordinates of each point are replaced.
    rng : int or Generator, optional
        Randomness.

    Returns
    -------
    points : ndarray of shape (M, d)
        The corrupted points.
    frozen : ndarray of bool, shape (M, d)
        Which coordinates are noise.

    Raises
    ------
    InputError
        If ρ is not in [0, 1].
    """
    if not 0 <= fraction <= 1:
        raise InputError(f"corrupted: found {fraction}; a share from 0 to 1 is accepted")
    generator = np.random.default_rng(rng)
    dimension = points.shape[1]
    frozen = np.zeros(points.shape, dtype=np.bool_)
    for row in frozen:
        row[generator.choice(dimension, round(fraction * dimension), replace=False)] = True
    return np.where(frozen, generator.standard_normal(points.shape), points), frozen
