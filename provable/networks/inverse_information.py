r"""The inverse of an information matrix JᵀJ: covariances of unbiased estimators, with open directions and known norms.

Unknowns are n points of d values each, then others (coefficients or labels). Where points are known to have the norms that
they have, the inverse is :math:`U (U^T J^T J U)^{-1} U^T`, U an orthonormal basis of the directions that are left.

Rounding of JᵀJ hides singular values of J below 1e-7 times the largest. Where J v can be computed for given directions v,
those that belong to small singular values are decomposed again by what J makes of them, and so on.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON, Float

RESOLUTION = 30.0
"""Eigenvalues of the scaled matrix up to this times order times ε times the largest count as zero if they come from JᵀJ."""

REFINED_RESOLUTION = 1e-11
"""Singular values of the scaled J below this times the largest count as zero if they come from J itself."""

REFINED = 1e-3
"""Below this times the largest one, singular values are computed again from J."""

ROUNDS = 4
"""Times that they are: 1e-3, four times, is below rounding."""

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
        Unknowns that open directions move, by so much that their variance is infinite or decided by what rounding hides.
    unknowns : int
        Free directions.
    nullity : int
        Directions with a singular value of J, its columns scaled to norm 1, that counts as zero: open, or seen so badly that
        rounding hides them.
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


def inverse_information(
    information: Float, points: Float, *, unit_norm: bool = False, push: Callable[[Float], Float] | None = None
) -> InverseInformation:
    """Invert JᵀJ.

    Parameters
    ----------
    information : ndarray of shape (N, N)
        JᵀJ, finite.
    points : ndarray of shape (n, d)
        Where it was taken; N >= n d.
    unit_norm : bool
        Whether the norms of the points are known.
    push : callable, optional
        Takes directions (k, N) and gives J v for each, (k, rows).

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
    resolution = RESOLUTION * len(values) * EPSILON
    if push is not None and largest > 0:
        resolution = REFINED_RESOLUTION**2
        small = len(values)
        for _ in range(ROUNDS):
            small = int(np.count_nonzero(values[:small] < REFINED**2 * values[small - 1]))
            if not small:
                break
            pushed = push((basis @ (vectors[:, :small] / scale[:, None])).T)
            values[:small], rotation = np.linalg.eigh(pushed @ pushed.T)
            vectors[:, :small] = vectors[:, :small] @ rotation
    null = values <= resolution * largest
    seen = basis @ (vectors[:, ~null] / np.sqrt(values[~null]) / scale[:, None])
    unseen = basis @ (vectors[:, null] / scale[:, None])
    smallest = float(np.min(values[~null], initial=math.inf))
    moved = (unseen**2).sum(axis=1)
    # What a direction that counts as zero adds to a variance, at least.
    hidden = moved / (resolution * largest) if largest > 0 else moved
    return InverseInformation(
        matrix=seen @ seen.T,
        open_entries=np.asarray((moved > OPEN * (basis**2 @ (1 / scale**2))) | (hidden > (seen**2).sum(axis=1))),
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
