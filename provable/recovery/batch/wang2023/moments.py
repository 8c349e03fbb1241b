r"""Hermite moments of the observed gradient of a two-layer network, of either gradient.

Notes
-----
With :math:`f(x) = \sum_j a_j \sigma(w_j \cdot x)`, :math:`w_j \sim N(0, I)` and samples :math:`x_i = s \hat u_i` of norm s,

.. math:: M_p = \sum_i r_i\, c_p(s)\, \hat u_i^{\otimes p}, \qquad c_p(s) = E\, \sigma(sZ) He_p(Z),

is the expectation of :math:`\frac1m \sum_j g_j H_p(w_j)` with :math:`g_j = \partial L/\partial a_j` (Lemma 4.1), and also of
the symmetric part of :math:`\frac1m \sum_j y_j \otimes H_{p-1}(w_j)` with :math:`y_j = (\partial L/\partial w_j) / a_j`
(appendix B).

References
----------
Z. Wang, J. Lee, Q. Lei, Reconstructing training data from model gradient, provably, AISTATS 2023.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.tensors import contracted_moment, hermite_moment, slope_moment


@dataclasses.dataclass(frozen=True, eq=False)
class Moments:
    """Empirical moments M_p, none of them formed outside a subspace.

    Parameters
    ----------
    weights : ndarray of shape (m, d)
        The neurons w_j.
    values : ndarray of shape (m,) or (m, d)
        g_j, or the slopes y_j.
    """

    weights: Float
    values: Float

    def first(self) -> Float:
        """Average g w, or the slopes.

        Returns
        -------
        ndarray of shape (d,)
            M₁, which behind the gradient of the first layer is in the span of the samples exactly.
        """
        if self.values.ndim == 1:
            return np.asarray(self.values @ self.weights / len(self.weights))
        return np.asarray(np.mean(self.values, axis=0))

    def times(self, vectors: Float, *directions: Float) -> Float:
        """Multiply M₂, or M₃ contracted with a direction, with vectors.

        Parameters
        ----------
        vectors : ndarray of shape (d, k)
            Columns.
        *directions : ndarray of shape (d,)
            None for M₂, a for M₃(·, ·, a).

        Returns
        -------
        ndarray of shape (d, k)
            The product.
        """
        return contracted_moment(self.weights, self.values, vectors, directions)

    def inside(self, basis: Float, order: int) -> Float:
        """Project M_p.

        Parameters
        ----------
        basis : ndarray of shape (d, B)
            V, orthonormal columns.
        order : {1, 2, 3, 4}
            p.

        Returns
        -------
        ndarray of shape (B,) * p
            M_p(V, …, V).
        """
        points = self.weights @ basis
        if self.values.ndim == 1:
            return hermite_moment(points, self.values, order)
        return slope_moment(points, self.values @ basis, order)

    def fourth_contracted(self, basis: Float, direction: Float) -> Float:
        """Project M₄ and contract it with a vector that need not be in the span of V.

        Parameters
        ----------
        basis : ndarray of shape (d, B)
            V, orthonormal columns.
        direction : ndarray of shape (d,)
            a.

        Returns
        -------
        ndarray of shape (B, B, B)
            M₄(V, V, V, a).
        """
        outside = direction
        for _ in range(2):  # the second time takes away what rounding left of V
            outside = outside - basis @ (basis.T @ outside)
        size = float(np.linalg.norm(outside))
        inner_only = size <= 16 * len(direction) * EPSILON * float(np.linalg.norm(direction))
        whole = basis if inner_only else np.column_stack([basis, outside / size])
        tensor = self.inside(whole, 4) @ (whole.T @ direction)
        inner = slice(basis.shape[1])
        return np.asarray(tensor[inner, inner, inner])


def weights_of_powers(tensor: Float, vectors: Float) -> Float:
    """Fit the weights of powers of known vectors.

    Parameters
    ----------
    tensor : ndarray of shape (B,) * p
        T, a vector, a matrix or a tensor of order three or four.
    vectors : ndarray of shape (B, n)
        Columns u_i.

    Returns
    -------
    ndarray of shape (n,)
        λ, with which Σ λ_i u_i^{⊗p} is nearest to T.
    """
    powers = vectors
    for _ in range(tensor.ndim - 1):
        powers = np.asarray((powers[:, None, :] * vectors[None, :, :]).reshape(-1, vectors.shape[1]))
    return np.asarray(np.linalg.lstsq(powers, tensor.reshape(-1), rcond=None)[0])
