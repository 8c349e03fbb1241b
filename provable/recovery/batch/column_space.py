r"""The column space of a layer's gradient, and how far rounding may have turned it.

With :math:`\tilde X` the inputs of a batch (with a last coordinate 1 if the bias gradient was observed) and D the matrix of
sensitivities :math:`\partial L / \partial z`, one column per sample, the layer's gradient is :math:`G = D \tilde X`. If both
factors have rank B, so has G, and its column space is that of D.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON

Float = NDArray[np.float64]

SMALLEST_GAP = 1000.0
"""Neighbouring singular values of smaller ratio belong together; rounding to float16 makes gaps of a few thousand."""


@dataclasses.dataclass(frozen=True, eq=False)
class ColumnSpace:
    r"""An orthonormal basis of the column space of G.

    Parameters
    ----------
    basis : array of shape (m, n)
        Orthonormal columns U.
    coordinates : array of shape (n, k)
        :math:`U^T G`, so that :math:`G = U (U^T G)` up to rounding.
    error : float
        Sine of the largest angle by which errors of the size of rounding, or of what lies outside the first n singular
        vectors, can have turned the space; by Wedin's theorem, the error's norm over the smallest singular value.
    """

    basis: Float
    coordinates: Float
    error: float

    @property
    def dimension(self) -> int:
        """The number n of basis vectors."""
        return len(self.coordinates)

    @classmethod
    def of(cls, gradient: Float, *, batch_size: int | None = None, precision: float = EPSILON) -> ColumnSpace:
        """Find the column space of a gradient.

        Parameters
        ----------
        gradient : array of shape (m, k)
            G, finite numbers.
        batch_size : int, optional
            The number of samples, if it is known: the dimension, if there is a wide gap behind that many singular values.
        precision : float, optional
            Unit of rounding of the gradient's entries.

        Returns
        -------
        ColumnSpace
            Of the numerical rank of G with its columns scaled to norm 1 (rounding is relative to the columns): the number of
            singular values above rounding, or, if all are, as they are of rounded or noisy numbers, the number above the
            widest gap; of dimension 0 for a matrix of zeros.
        """
        largest = float(np.max(np.abs(gradient), initial=0.0))
        if largest == 0.0:
            return cls(np.zeros((len(gradient), 0)), np.zeros((0, gradient.shape[1])), 0.0)
        # A power of two keeps squares of very large and very small numbers finite.
        scaled = np.ldexp(gradient, -int(np.frexp(largest)[1]))
        lengths = np.linalg.norm(scaled, axis=0)
        columns = scaled[:, lengths > 0] / lengths[lengths > 0]
        basis, singular, _ = np.linalg.svd(columns, full_matrices=False)
        # Rounding errors of the entries are as good as independent, so the norm of their matrix grows like a square root.
        rounding = 4 * math.sqrt(max(columns.shape)) * precision * float(singular[0])
        count = _rank(singular, rounding, batch_size)
        outside = float(singular[count]) if count < len(singular) else 0.0
        error = max(outside, 4 * precision * float(singular[0])) / float(singular[count - 1])
        basis = basis[:, :count]
        return cls(basis, basis.T @ gradient, error)


def _rank(singular: Float, rounding: float, batch_size: int | None) -> int:
    above = int(np.count_nonzero(singular > rounding))
    if batch_size is not None and batch_size <= above:
        rest = singular[batch_size] if batch_size < len(singular) else 0.0
        if singular[batch_size - 1] > SMALLEST_GAP * rest:
            return batch_size
    if above < len(singular):
        return above
    gaps = singular[:-1] / singular[1:]
    if np.max(gaps, initial=0.0) < SMALLEST_GAP:
        return len(singular)
    return 1 + int(np.argmax(gaps))
