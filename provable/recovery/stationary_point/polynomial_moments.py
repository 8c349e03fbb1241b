r"""The moments of a measure as linear unknowns, seen through the value and the gradient of one polynomial at given points.

For an activation :math:`\varphi(z) = \sum_m a_m z^m` and a measure μ = Σ_i c_i δ_{x_i},

.. math:: P(w) = \sum_i c_i\,\varphi(w \cdot x_i) = \sum_m a_m \langle T_m, w^{\otimes m} \rangle, \qquad
          T_m = \sum_i c_i\, x_i^{\otimes m}

is a polynomial in w, and its values and gradients are linear in the symmetric tensors T_m. The unknowns are their entries
times the root of their multiplicity, so that the Euclidean norm of the unknowns is that of the tensors. If a linear form e is
known to be one on all points (a bias), every T_m is a contraction of the one of the highest degree p:
:math:`T_m = T_p(e, \dots, e, \cdot)`, and that one alone is unknown.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float64]

RANK_LEVEL = 1e-10
"""Singular values below this multiple of the largest count as zero: rounding leaves about 1e-14, and a solution with this
condition has six digits left, enough for a refinement."""


@dataclasses.dataclass(frozen=True, eq=False)
class MomentSystem:
    """Which moments are unknown, and how a polynomial depends on them.

    Parameters
    ----------
    coefficients : tuple of float
        a_0, …, a_p, with a_p nonzero and p ≥ 1.
    dimension : int
        Length r of the points.
    anchored : float
        Norm of the linear form e that is one on all points, whose direction is the first axis; 0 if there is none.
    total : bool
        Whether the total mass T_0 = Σ_i c_i is unknown too where nothing anchors the points; a_0 ≠ 0 needs it.
    """

    coefficients: tuple[float, ...]
    dimension: int
    anchored: float
    total: bool

    @property
    def degree(self) -> int:
        """The highest degree p."""
        return len(self.coefficients) - 1

    @property
    def orders(self) -> tuple[int, ...]:
        """The orders of the tensors that are unknown, ascending."""
        if self.anchored:
            return (self.degree,)
        found = [order for order, number in enumerate(self.coefficients) if order and number]
        return (0, *found) if self.total else tuple(found)

    @property
    def unknowns(self) -> int:
        """The number of unknowns, C(r + k - 1, k) for each order k."""
        return sum(math.comb(self.dimension + order - 1, order) for order in self.orders)

    def rows(self, points: Float) -> tuple[Float, Float]:
        """Write value and gradient of the polynomial as linear functions of the unknowns.

        Parameters
        ----------
        points : array of shape (k, r)
            Where to.

        Returns
        -------
        values : array of shape (k, q)
            One row for each value.
        gradients : array of shape (k, r, q)
            One row for each partial derivative.
        """
        values, gradients = [], []
        for order in self.orders:
            exponents = _exponents(self.dimension, order)
            # the monomials of degree m are those of order p whose first exponent is at least p - m
            value: Float = np.zeros((len(points), len(exponents)))
            gradient: Float = np.zeros((len(points), self.dimension, len(exponents)))
            for degree, number in enumerate(self.coefficients):
                lower = order - degree
                if not number or (lower and not self.anchored) or lower < 0:
                    continue
                reduced = exponents.copy()
                reduced[:, 0] -= lower
                there = reduced[:, 0] >= 0
                reduced = reduced[there]
                factor = number * self.anchored**lower * _multiplicities(reduced)
                factor = factor / np.sqrt(_multiplicities(exponents[there]))
                value[:, there] += factor * _monomials(reduced, points)
                for axis in range(self.dimension):
                    less = reduced.copy()
                    less[:, axis] -= 1
                    slope = reduced[:, axis] * _monomials(np.maximum(less, 0), points)
                    gradient[:, axis, there] += factor * slope
            values.append(value)
            gradients.append(gradient)
        return np.concatenate(values, axis=1), np.concatenate(gradients, axis=2)

    def monomials(self, points: Float) -> Float:
        """Give the unknowns of single atoms with coefficient one.

        Parameters
        ----------
        points : array of shape (..., r)
            The atoms; with an anchor only their ray counts, up to the power of a factor.

        Returns
        -------
        array of shape (..., q)
            The moments of each.
        """
        parts = []
        for order in self.orders:
            exponents = _exponents(self.dimension, order)
            parts.append(np.sqrt(_multiplicities(exponents)) * _monomials(exponents, points))
        return np.concatenate(parts, axis=-1)

    def slopes(self, points: Float) -> Float:
        """Differentiate the unknowns of single atoms with coefficient one.

        Parameters
        ----------
        points : array of shape (..., r)
            The atoms.

        Returns
        -------
        array of shape (..., r, q)
            The derivatives of the moments by the entries of each.
        """
        parts = []
        for order in self.orders:
            exponents = _exponents(self.dimension, order)
            factors = np.sqrt(_multiplicities(exponents))
            rows = []
            for axis in range(self.dimension):
                less = exponents.copy()
                less[:, axis] = np.maximum(less[:, axis] - 1, 0)
                rows.append(factors * exponents[:, axis] * _monomials(less, points))
            parts.append(np.stack(rows, axis=-2))
        return np.concatenate(parts, axis=-1)

    def mass(self) -> Float:
        """Write the total mass as a linear function of the unknowns.

        Returns
        -------
        array of shape (q,)
            The row; zero where the mass is no unknown.
        """
        row: Float = np.zeros(self.unknowns)
        if self.anchored:
            row[0] = self.anchored**self.degree  # the first monomial is the power of the first axis
        elif self.total:
            row[0] = 1.0
        return row

    def tensors(self, unknowns: Float) -> dict[int, Float]:
        """Give the tensors.

        Parameters
        ----------
        unknowns : array of shape (q,)
            The unknowns.

        Returns
        -------
        dict of int to array of shape (r,) * k
            T_k by its order k.
        """
        found: dict[int, Float] = {}
        start = 0
        for order in self.orders:
            exponents = _exponents(self.dimension, order)
            if order == 0:
                found[order], start = unknowns[0].reshape(()), 1
                continue
            entries = unknowns[start : start + len(exponents)] / np.sqrt(_multiplicities(exponents))
            start += len(exponents)
            shape = (self.dimension,) * order
            # an entry is that of its sorted index
            indices = np.sort(np.indices(shape).reshape(order, -1).T, axis=1)
            sorted_indices = np.array([np.repeat(np.arange(self.dimension), row) for row in exponents]).reshape(
                -1, order
            )
            weights = self.dimension ** np.arange(order)
            place = {int(code): entry for code, entry in zip(sorted_indices @ weights, entries, strict=True)}
            tensor: Float = np.array([place[int(code)] for code in indices @ weights]).reshape(shape)
            found[order] = tensor
        return found


@dataclasses.dataclass(frozen=True, eq=False)
class MomentSolution:
    """Moments of least norm that agree with what was seen, and what is open.

    Parameters
    ----------
    unknowns : array of shape (q,)
        The unknowns of a `MomentSystem`.
    rank : int
        Number of independent equations.
    gap : tuple of float
        The singular values on both sides of the rank, relative to the largest; the second is 0 where the rank is full.
    misfit : float
        Norm of what the equations leave, relative to their right side.
    equations : array of shape (rank, q)
        Orthonormal rows; their products with the unknowns are all that was seen.
    """

    unknowns: Float
    rank: int
    gap: tuple[float, float]
    misfit: float
    equations: Float

    @property
    def open_dimensions(self) -> int:
        """Dimension of the space of moments that no equation sees."""
        return len(self.unknowns) - self.rank


def solved(matrix: Float, right: Float) -> MomentSolution:
    """Solve equations for moments.

    Parameters
    ----------
    matrix : array of shape (e, q)
        One row per equation; rows are brought to norm one first, so that no equation counts less for its unit of measure.
    right : array of shape (e,)
        Right sides.

    Returns
    -------
    MomentSolution
        The solution of least norm.
    """
    norms = np.linalg.norm(matrix, axis=1)
    there = norms > 0
    matrix, right = matrix[there] / norms[there, None], right[there] / norms[there]
    unknowns = matrix.shape[1]
    if not len(matrix):
        return MomentSolution(np.zeros(unknowns), 0, (0.0, 0.0), 0.0, np.empty((0, unknowns)))
    left, singular, basis = np.linalg.svd(matrix, full_matrices=False)
    rank = int(np.count_nonzero(singular > RANK_LEVEL * singular[0]))
    solution = basis[:rank].T @ ((left[:, :rank].T @ right) / singular[:rank])
    size = float(np.linalg.norm(right))
    misfit = float(np.linalg.norm(matrix @ solution - right)) / (size or 1.0)
    below = float(singular[rank] / singular[0]) if rank < len(singular) else 0.0
    gap = float(singular[rank - 1] / singular[0]), below
    return MomentSolution(solution, rank, gap, misfit, basis[:rank])


def _exponents(size: int, order: int) -> NDArray[np.int64]:
    """All exponents of that degree, the power of the first axis first."""
    places = itertools.combinations_with_replacement(range(size), order)
    found = [np.bincount(np.array(place, dtype=np.int64), minlength=size) for place in places]
    return np.array(found, dtype=np.int64).reshape(-1, size)


def _multiplicities(exponents: NDArray[np.int64]) -> Float:
    """How often an entry comes in a symmetric tensor."""
    numbers = [math.factorial(sum(row)) / math.prod(map(math.factorial, row)) for row in exponents.tolist()]
    return np.array(numbers)


def _monomials(exponents: NDArray[np.int64], points: Float) -> Float:
    return np.asarray(np.prod(points[..., None, :] ** exponents, axis=-1))
