r"""The inverse of an information matrix JᵀJ: covariances of unbiased estimators, with open directions and known norms.

Unknowns are n points of d values each, then others (coefficients or labels). Where points are known to have the norms that
they have, the inverse is :math:`U (U^T J^T J U)^{-1} U^T`, U an orthonormal basis of the directions that are left.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON, Float

RESOLUTION = 30.0
"""Eigenvalues of the scaled matrix up to this times order times ε times the largest count as zero."""

OPEN = 1e-4
"""An unknown is open if this share of its (squared, scaled) direction lies in the null space, or more."""


@dataclass(frozen=True, eq=False)
class InverseInformation:
    """The pseudo-inverse of JᵀJ on the free directions.

    Attributes
    ----------
    matrix : ndarray of shape (N, N)
        Symmetric positive semidefinite; multiplied by σ² it is a covariance.
    open_entries : ndarray of bool, shape (N,)
        Unknowns that open directions move: their true variance is infinite.
    unknowns : int
        Free directions.
    nullity : int
        Directions with a singular value of J, its columns scaled to norm 1, below √(`RESOLUTION` N ε) times the largest:
        open, or seen so badly that rounding hides them.
    condition_number : float
        Largest singular value of the scaled J over the smallest one that counts; infinite if none does.
    """

    matrix: Float
    open_entries: NDArray[np.bool_]
    unknowns: int
    nullity: int
    condition_number: float

    def point_variances(self, count: int, dimension: int) -> Float:
        """Traces of the blocks of the points.

        Parameters
        ----------
        count : int
            Number of points n.
        dimension : int
            Values of each, d.

        Returns
        -------
        ndarray of shape (n,)
            E |x̂_i - x_i|² / σ²; infinite where an entry is open.
        """
        places = count * dimension
        variances = np.diagonal(self.matrix)[:places].reshape(count, dimension).sum(axis=1)
        return np.where(self.open_entries[:places].reshape(count, dimension).any(axis=1), math.inf, variances)

    def other_variances(self, count: int, dimension: int) -> Float:
        """Variances of the unknowns that are not points.

        Parameters
        ----------
        count : int
            Number of points n.
        dimension : int
            Values of each, d.

        Returns
        -------
        ndarray of shape (N - n d,)
            In units of σ²; infinite where one is open.
        """
        places = count * dimension
        return np.where(self.open_entries[places:], math.inf, np.diagonal(self.matrix)[places:])


def inverse_information(information: Float, points: Float, *, unit_norm: bool = False) -> InverseInformation:
    """Invert JᵀJ.

    Parameters
    ----------
    information : ndarray of shape (N, N)
        JᵀJ, finite.
    points : ndarray of shape (n, d)
        Where it was taken; N >= n d.
    unit_norm : bool
        Whether the norms of the points are known.

    Returns
    -------
    InverseInformation
        The pseudo-inverse, and what is open.
    """
    basis = _free_directions(points, len(information)) if unit_norm else np.eye(len(information))
    reduced = basis.T @ information @ basis
    # Columns of J scaled to norm 1: points and coefficients have different units.
    scale = np.sqrt(np.diagonal(reduced))
    scale = np.where(scale > 0, scale, 1.0)
    values, vectors = np.linalg.eigh(reduced / np.outer(scale, scale))
    largest = float(np.max(values, initial=0.0))
    null = values <= RESOLUTION * len(values) * EPSILON * largest
    seen = basis @ (vectors[:, ~null] / np.sqrt(values[~null]) / scale[:, None])
    unseen = basis @ (vectors[:, null] / scale[:, None])
    smallest = float(np.min(values[~null], initial=math.inf))
    return InverseInformation(
        matrix=seen @ seen.T,
        open_entries=np.asarray((unseen**2).sum(axis=1) > OPEN * (basis**2 @ (1 / scale**2))),
        unknowns=len(values),
        nullity=int(np.count_nonzero(null)),
        condition_number=math.sqrt(largest / smallest) if math.isfinite(smallest) else math.inf,
    )


def tangent_basis(point: Float) -> Float:
    """An orthonormal basis of the directions in which a point keeps its norm.

    Parameters
    ----------
    point : ndarray of shape (d,)
        The point.

    Returns
    -------
    ndarray of shape (d, d - 1)
        Its orthogonal complement; that of the first axis for a zero point.
    """
    direction = point[:, None] if point.any() else np.eye(len(point), 1)
    return np.asarray(np.linalg.qr(direction, mode="complete")[0][:, 1:])


def _free_directions(points: Float, order: int) -> Float:
    count, dimension = points.shape
    basis = np.zeros((order, order - count))
    for sample, point in enumerate(points):
        rows, columns = sample * dimension, sample * (dimension - 1)
        basis[rows : rows + dimension, columns : columns + dimension - 1] = tangent_basis(point)
    basis[count * dimension :, count * (dimension - 1) :] = np.eye(order - count * dimension)
    return basis
