"""The trained function as a checked oracle: shapes, finiteness, chunks of bounded memory, and a fixed bias coordinate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable.errors import InputError

Float = NDArray[np.float64]
Oracle = Callable[[Float], Any]
Kernel = Callable[[Float, Float], Any]

CHUNK_ROWS = 2**14
"""The most points of one call of an oracle."""

SMALLEST = 1e-120
"""Squares of smaller numbers leave the range of float64."""


class TrainedFunction:
    """A trained function, its gradient where that is known, and its kernel, all on the free coordinates of an input.

    Parameters
    ----------
    function : callable
        Points of shape (q, dimension) to values of shape (q,).
    kernel : callable
        ``kernel(X, Z)`` for (n, dimension) and (m, dimension) gives (n, m).
    dimension : int
        The number of coordinates of an input, a bias coordinate included.
    gradient : callable or None
        Points of shape (q, dimension) to gradients of that shape.
    bias : float or None
        The value of the last coordinate of every input, if that is fixed; the function is asked at such points only.

    Attributes
    ----------
    free : int
        The number of free coordinates.
    evaluations : int
        At how many points the function or its gradient was asked so far.

    Raises
    ------
    InputError
        If the dimension or the bias is out of range.
    """

    def __init__(
        self, function: Oracle, kernel: Kernel, dimension: int, gradient: Oracle | None, bias: float | None
    ) -> None:
        if isinstance(dimension, bool) or not isinstance(dimension, int | np.integer) or dimension < 1:
            raise InputError(f"dimension: found {dimension!r:.60}; a positive integer is accepted")
        if bias is not None and (not np.isfinite(bias) or bias == 0):
            raise InputError(f"bias: found {bias!r:.60}; a finite number other than 0, or None, is accepted")
        self._function, self._kernel, self._gradient = function, kernel, gradient
        self.dimension, self.bias = int(dimension), bias
        self.free = self.dimension - (bias is not None)
        self.evaluations = 0

    @property
    def has_gradient(self) -> bool:
        """Whether the gradient is known.

        Returns
        -------
        bool
            True if `gradients` may be called.
        """
        return self._gradient is not None

    def full(self, points: Float) -> Float:
        """Add the bias coordinate.

        Parameters
        ----------
        points : ndarray of shape (q, free)
            Free coordinates.

        Returns
        -------
        ndarray of shape (q, dimension)
            Inputs of the network.
        """
        if self.bias is None:
            return points
        return np.hstack([points, np.full((len(points), 1), self.bias)])

    def values(self, points: Float) -> Float:
        """Evaluate the function.

        Parameters
        ----------
        points : ndarray of shape (q, free)
            Where.

        Returns
        -------
        ndarray of shape (q,)
            Its values.
        """
        return self._asked(self._function, points, "function", ())

    def gradients(self, points: Float) -> Float:
        """Evaluate the gradient with respect to the free coordinates.

        Parameters
        ----------
        points : ndarray of shape (q, free)
            Where.

        Returns
        -------
        ndarray of shape (q, free)
            The gradients.

        Raises
        ------
        InputError
            If no gradient was given.
        """
        if self._gradient is None:
            raise InputError("gradient: is missing; a callable is accepted")
        return self._asked(self._gradient, points, "gradient", (self.dimension,))[:, : self.free]

    def kernel(self, left: Float, right: Float) -> Float:
        """Evaluate the kernel between two sets of free coordinates.

        Parameters
        ----------
        left : ndarray of shape (n, free)
            Points; the shorter list, since kernels may loop over it.
        right : ndarray of shape (m, free)
            Points.

        Returns
        -------
        ndarray of shape (n, m)
            Kernel values.

        Raises
        ------
        InputError
            If the kernel returns another shape or numbers that are not finite.
        """
        left, right = self.full(left), self.full(right)
        result = np.empty((len(left), len(right)))
        for start in range(0, len(right), CHUNK_ROWS):
            part = right[start : start + CHUNK_ROWS]
            result[:, start : start + CHUNK_ROWS] = _checked(self._kernel(left, part), "kernel", (len(left), len(part)))
        return result

    def _asked(self, oracle: Oracle, points: Float, name: str, tail: tuple[int, ...]) -> Float:
        self.evaluations += len(points)
        result = np.empty((len(points), *tail))
        for start in range(0, len(points), CHUNK_ROWS):
            part = self.full(points[start : start + CHUNK_ROWS])
            result[start : start + len(part)] = _checked(oracle(part), name, (len(part), *tail))
        largest = float(np.abs(result).max(initial=0.0))
        if 0 < largest < SMALLEST:
            raise InputError(
                f"{name}: returned numbers up to {largest:.1e} only; zero or {SMALLEST:g} and more is accepted"
            )
        return result


def _checked(answer: Any, name: str, shape: tuple[int, ...]) -> Float:
    array = np.asarray(answer)
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: returned entries of type {array.dtype}; real numbers are accepted")
    if array.shape != shape:
        raise InputError(f"{name}: returned shape {array.shape}; {shape} is accepted for these points")
    numbers = array.astype(np.float64)
    if not np.isfinite(numbers).all():
        raise InputError(f"{name}: returned a number that is not finite; finite numbers are accepted")
    return numbers
