"""Covariances of Gaussian pre-activations between two sets of points, accurate where points nearly coincide.

For a pair with variances p and q and correlation u, what matters near u = 1 and u = -1 are the small numbers 1 - u and
1 + u; they are carried along on their own and never recovered from u.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.arithmetic import Array


@dataclass(frozen=True, eq=False)
class Covariance:
    """The 2 × 2 covariances of all pairs of a left and a right point.

    Attributes
    ----------
    left : ndarray of shape (n,)
        Variances at the left points.
    right : ndarray of shape (m,)
        Variances at the right points.
    below_one : ndarray of shape (n, m)
        1 - u, with u the correlation of the pair.
    above_minus_one : ndarray of shape (n, m)
        1 + u.
    same : ndarray of bool, shape (n, m)
        Which pairs are twice the same point.
    """

    left: Array
    right: Array
    below_one: Array
    above_minus_one: Array
    same: NDArray[np.bool_]

    @property
    def correlation(self) -> Array:
        """The correlations u.

        Returns
        -------
        ndarray of shape (n, m)
            (1 + u)/2 - (1 - u)/2.
        """
        u: Array = (self.above_minus_one - self.below_one) / 2
        return u

    @property
    def scale(self) -> Array:
        """The geometric means √(pq) of the variances.

        Returns
        -------
        ndarray of shape (n, m)
            Exactly the variance where both points are the same.
        """
        roots: Array = (
            np.asarray(arithmetic.sqrt(self.left))[:, None] * np.asarray(arithmetic.sqrt(self.right))[None, :]
        )
        return self.with_diagonal(roots, self.left)

    @property
    def value(self) -> Array:
        """The covariances √(pq)·u.

        Returns
        -------
        ndarray of shape (n, m)
            Exactly the variance where both points are the same.
        """
        return self.with_diagonal(self.scale * self.correlation, self.left)

    @property
    def gap(self) -> Array:
        """The determinants pq - S² of the 2 × 2 covariances.

        Returns
        -------
        ndarray of shape (n, m)
            pq(1 - u)(1 + u), a product of nonnegative numbers.
        """
        determinants: Array = self.left[:, None] * self.right[None, :] * self.below_one * self.above_minus_one
        return determinants

    def with_diagonal(self, between: Array, left: Array) -> Array:
        """Overwrite what belongs to pairs of twice the same point.

        Parameters
        ----------
        between : ndarray of shape (n, m)
            Numbers of all pairs.
        left : ndarray of shape (n,)
            The numbers that hold where both points are the same.

        Returns
        -------
        ndarray of shape (n, m)
            The numbers, with the diagonal in place.
        """
        rows, columns = np.nonzero(self.same)
        result = between.copy()
        result[rows, columns] = left[rows]
        return result

    def folded(self, negative: NDArray[np.bool_]) -> Covariance:
        """Change the sign of some correlations.

        Parameters
        ----------
        negative : ndarray of bool, shape (n, m)
            Of which pairs.

        Returns
        -------
        Covariance
            With 1 - u and 1 + u exchanged for them.
        """
        below, above = self.below_one.copy(), self.above_minus_one.copy()
        below[negative], above[negative] = self.above_minus_one[negative], self.below_one[negative]
        return Covariance(self.left, self.right, below, above, self.same)

    def affine(self, factor: Any, offset: Any) -> Covariance:
        """The covariances factor · S + offset of the next layer's pre-activations.

        Parameters
        ----------
        factor, offset : number
            Nonnegative, in the arithmetic of the covariances.

        Returns
        -------
        Covariance
            With P = factor·p, Q = factor·q, b = offset and N = √((P+b)(Q+b)), the new 1 - u' is
            [b(√P - √Q)²/(N + √(PQ) + b) + √(PQ)(1 - u)]/N and the new 1 + u' is
            [b(P + Q + b)/(N + √(PQ)) + b + √(PQ)(1 + u)]/N: sums of nonnegative numbers, so nothing cancels.
        """
        left, right = factor * self.left, factor * self.right
        mean = factor * self.scale
        shape = self.same.shape
        p, q = np.broadcast_to(left[:, None], shape), np.broadcast_to(right[None, :], shape)
        spread = np.asarray(arithmetic.sqrt(p)) + np.asarray(arithmetic.sqrt(q))
        # roots first: products of tiny or huge variances leave the range of float64
        norm = np.asarray(arithmetic.sqrt(p + offset)) * np.asarray(arithmetic.sqrt(q + offset))
        positive = nonzero(norm)
        norm, spread = or_one(norm, positive), or_one(spread, nonzero(spread))
        difference = (p - q) / spread
        below = (offset * difference * difference / (norm + mean + offset) + mean * self.below_one) / norm
        above = (offset * (p + q + offset) / (norm + mean) + offset + mean * self.above_minus_one) / norm
        # a pair with a zero variance has no correlation; 0 stands for it and is multiplied by zero
        below, above = or_one(below, positive), or_one(above, positive)
        below = self.with_diagonal(below, arithmetic.full(left.shape, 0, left))
        above = self.with_diagonal(above, arithmetic.full(left.shape, 2, left))
        return Covariance(left + offset, right + offset, below, above, self.same)


def nonzero(numbers: Array) -> NDArray[np.bool_]:
    """Tell which numbers are not exactly zero.

    Parameters
    ----------
    numbers : ndarray
        Floats or balls.

    Returns
    -------
    ndarray of bool
        True for a ball that merely contains zero, so that a division by it shows.
    """
    if arithmetic.kind(numbers) == "float64":
        return np.asarray(numbers != 0, dtype=np.bool_)
    return np.array([not ball.is_zero() for ball in numbers.reshape(-1)], dtype=np.bool_).reshape(numbers.shape)


def or_one(numbers: Array, keep: NDArray[np.bool_]) -> Array:
    """Replace numbers by one.

    Parameters
    ----------
    numbers : ndarray
        Numbers of one arithmetic.
    keep : ndarray of bool
        Which of them stay.

    Returns
    -------
    ndarray
        The numbers, and one elsewhere.
    """
    result = arithmetic.full(numbers.shape, 1, numbers)
    result[keep] = numbers[keep]
    return result


def of_values(value: Array, left: Array, right: Array, same: NDArray[np.bool_]) -> Covariance:
    """Covariances given by their values.

    Parameters
    ----------
    value : ndarray of shape (n, m)
        S.
    left : ndarray of shape (n,)
        Variances at the left points.
    right : ndarray of shape (m,)
        Variances at the right points.
    same : ndarray of bool, shape (n, m)
        Which pairs are twice the same point.

    Returns
    -------
    Covariance
        Its 1 - u and 1 + u have a rounding error of one unit, which smooth activations do not magnify; a pair with a zero
        variance has correlation 0.
    """
    norm = np.asarray(arithmetic.sqrt(left))[:, None] * np.asarray(arithmetic.sqrt(right))[None, :]
    correlation = value / or_one(norm, nonzero(norm))
    plain = Covariance(left, right, nonnegative(1 - correlation), nonnegative(1 + correlation), same)
    below = plain.with_diagonal(plain.below_one, arithmetic.full(left.shape, 0, left))
    above = plain.with_diagonal(plain.above_minus_one, arithmetic.full(left.shape, 2, left))
    return Covariance(left, right, below, above, same)


def of_distances(
    below_one: Array, above_minus_one: Array, left: Array, right: Array, same: NDArray[np.bool_]
) -> Covariance:
    """Covariances given by 1 - u and 1 + u, in float64.

    Parameters
    ----------
    below_one, above_minus_one : ndarray of shape (n, m)
        1 - u and 1 + u up to rounding; they may be anything for a pair with a zero variance, whose correlation is 0.
    left : ndarray of shape (n,)
        Variances at the left points.
    right : ndarray of shape (m,)
        Variances at the right points.
    same : ndarray of bool, shape (n, m)
        Which pairs are twice the same point.

    Returns
    -------
    Covariance
        With both numbers between 0 and 2, and exact where both points are the same.
    """
    present = (left[:, None] > 0) & (right[None, :] > 0)
    below, above = (or_one(np.clip(numbers, 0.0, 2.0), present) for numbers in (below_one, above_minus_one))
    plain = Covariance(left, right, below, above, same)
    below = plain.with_diagonal(below, np.zeros(left.shape))
    return Covariance(left, right, below, plain.with_diagonal(above, np.full(left.shape, 2.0)), same)


def nonnegative(numbers: Array) -> Array:
    """Drop the negative part that rounding gave to numbers known to be nonnegative.

    Parameters
    ----------
    numbers : ndarray
        Floats or balls.

    Returns
    -------
    ndarray
        The numbers, at least zero.
    """
    if arithmetic.kind(numbers) == "float64":
        return np.maximum(numbers, 0.0)
    return each(lambda ball: ball.nonnegative_part(), numbers)


def each(function: Callable[..., Any], *arrays: Array) -> Array:
    """Apply a function of balls elementwise.

    Parameters
    ----------
    function : callable
        Of as many balls as there are arrays.
    *arrays : ndarray
        Object arrays of one shape.

    Returns
    -------
    ndarray
        An object array.
    """
    result = np.empty(arrays[0].shape, dtype=object)
    for index in np.ndindex(arrays[0].shape):
        result[index] = function(*(array[index] for array in arrays))
    return result


def of_inputs(left: Array, right: Array) -> Covariance:
    """Inner products x·z of two sets of inputs as covariances.

    Parameters
    ----------
    left : ndarray of shape (n, d)
        Inputs.
    right : ndarray of shape (m, d)
        Inputs, in the same arithmetic.

    Returns
    -------
    Covariance
        With x̂ = x/‖x‖, 1 - u = ‖x̂ - ẑ‖²/2 and 1 + u = ‖x̂ + ẑ‖²/2 (chordal form), by differences and sums of the
        normalised inputs themselves; zero inputs have correlation 0.
    """
    shape = (len(left), len(right))
    squares, other_squares = (left * left).sum(axis=1), (right * right).sum(axis=1)
    below, above = arithmetic.full(shape, 1, left), arithmetic.full(shape, 1, left)
    same = np.zeros(shape, dtype=np.bool_)
    if 0 in shape:
        return Covariance(_numbers(squares, left), _numbers(other_squares, right), below, above, same)
    unit, other_unit = _normalised(left, squares), _normalised(right, other_squares)
    present, other_present = nonzero(squares), nonzero(other_squares)
    for row in range(len(left)):
        columns = np.flatnonzero(other_present) if present[row] else np.zeros(0, dtype=np.intp)
        difference, total = unit[row] - other_unit[columns], unit[row] + other_unit[columns]
        below[row, columns] = (difference * difference).sum(axis=1) / 2
        above[row, columns] = (total * total).sum(axis=1) / 2
        same[row] = np.asarray(left[row] == right, dtype=np.bool_).all(axis=1)
    plain = Covariance(squares, other_squares, below, above, same)
    below = plain.with_diagonal(below, arithmetic.full(squares.shape, 0, squares))
    above = plain.with_diagonal(above, arithmetic.full(squares.shape, 2, squares))
    return Covariance(squares, other_squares, below, above, same)


def _numbers(sums: Array, like: Array) -> Array:
    # summing an empty object array gives integers
    return sums if sums.size else arithmetic.full(sums.shape, 0, like)


def _normalised(inputs: Array, squares: Array) -> Array:
    norms = np.asarray(arithmetic.sqrt(squares))
    unit: Array = inputs / or_one(norms, nonzero(norms))[:, None]
    return unit
