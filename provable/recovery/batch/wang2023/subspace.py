"""The span of the samples: the leading eigenvectors, of either sign, of a symmetric matrix that is never formed."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from provable.arithmetic import Float

ITERATIONS_PER_BLOCK = 10
"""Iterations of the power method between two looks at the subspace."""

MOST_BLOCKS = 50
"""Looks after which the power method stops in any case."""

SETTLED = 1e-12
"""The iteration ends when the subspace turns by less between two looks."""


def leading_subspace(matrix: Callable[[Float], Float], dimension: int, rank: int, rng: np.random.Generator) -> Float:
    r"""Find the eigenvectors to the eigenvalues of largest magnitude by a shifted power method.

    Parameters
    ----------
    matrix : callable
        Maps (d, k) to the product of the symmetric matrix P with it.
    dimension : int
        d.
    rank : int
        How many eigenvectors, B ≤ d.
    rng : numpy.random.Generator
        Draws the starts.

    Returns
    -------
    ndarray of shape (d, B)
        Orthonormal columns V.

    Notes
    -----
    Second moments :math:`\sum_i r_i E\sigma''\, x_i x_i^T` are indefinite if the residuals have both signs. Orthogonal
    iterations on :math:`C I + P` and :math:`C I - P` with :math:`C = 3\|P\|` find the largest and the smallest eigenvalues;
    of both groups the B vectors with the largest :math:`|v^T P v|` are kept, those of the second group made orthogonal to
    those of the first.

    References
    ----------
    K. Zhong, Z. Song, P. Jain, P. L. Bartlett, I. S. Dhillon, Recovery guarantees for one-hidden-layer neural networks,
    2017, Algorithm 3.
    """
    shift = 3 * _spectral_norm(matrix, dimension, rng)
    if shift == 0:
        return np.eye(dimension, rank)
    upper, lower = (np.linalg.qr(rng.standard_normal((dimension, rank)))[0] for _ in range(2))
    chosen = np.zeros((dimension, rank))
    for _ in range(MOST_BLOCKS):
        for _ in range(ITERATIONS_PER_BLOCK):
            product = matrix(np.column_stack([upper, lower]))
            upper = np.linalg.qr(shift * upper + product[:, :rank])[0]
            lower = np.linalg.qr(shift * lower - product[:, rank:])[0]
        before, chosen = chosen, _largest(matrix, upper, lower)
        # the part of the new subspace outside the old one: the sines of the angles between them
        if np.linalg.norm(chosen - before @ (before.T @ chosen)) <= SETTLED:
            break
    return chosen


def _largest(matrix: Callable[[Float], Float], upper: Float, lower: Float) -> Float:
    """Of two groups of k orthonormal columns, the k with the largest |vᵀPv|, made orthogonal."""
    groups, values = [], []
    for basis in (upper, lower):
        # Ritz vectors: within a group the columns settle long after their span has
        ritz, rotation = np.linalg.eigh(basis.T @ matrix(basis))
        groups.append(basis @ rotation)
        values.append(np.abs(ritz))
    chosen = np.sort(np.argsort(-np.concatenate(values), kind="stable")[: upper.shape[1]])
    # columns of the first group come first, so the orthogonalisation keeps their span
    return np.asarray(np.linalg.qr(np.column_stack(groups)[:, chosen])[0])


def _spectral_norm(matrix: Callable[[Float], Float], dimension: int, rng: np.random.Generator) -> float:
    # the shift is a factor of three above the norm, so a few digits of it are enough
    vector = rng.standard_normal((dimension, 1))
    norm = 0.0
    for _ in range(50):
        size = float(np.linalg.norm(vector))
        if size == 0:
            return 0.0
        vector = matrix(vector / size)
        before, norm = norm, float(np.linalg.norm(vector))
        if abs(norm - before) <= 1e-2 * norm:
            break
    return norm
