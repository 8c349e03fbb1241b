"""Rank-one matrices in a space of symmetric matrices, by the subspace power method.

On the unit sphere f(x) = ‖P(xxᵀ)‖², with P the projection onto the space, is at most 1, and 1 exactly where xxᵀ lies in the
space. The iteration x ← ∇f(x)/‖∇f(x)‖ climbs to a local maximum [1]_; for spaces spanned by few generic rank-one matrices
practically every start ends at one of them. Between two that are close together f is nearly flat and the climb slow:
Levenberg-Marquardt steps on the residual xxᵀ - P(xxᵀ) end it. Starts for what is still missing come from the part of the
space that is orthogonal to what was found.

References
----------
.. [1] J. Kileel, J. M. Pereira, Subspace power method for symmetric tensor decomposition, arXiv:1912.04007.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.recovery.kernel_regime.function_matching.oracle import Float

ITERATIONS = 500
"""The most steps from one start."""

SAME_DIRECTION = 1e-5
"""Directions count as one if the cosine of their angle is within this of 1: the ascent is slow close to a maximum."""

ROUNDS = 12
"""The most batches of starts."""

STALLED = 0.1
"""Deficits below this are of climbs that may be on their way to a maximum of 1."""

STEPS = 30
"""The most Levenberg-Marquardt steps."""


def packed(matrices: Float) -> Float:
    """Write symmetric matrices as vectors with the same inner product.

    Parameters
    ----------
    matrices : ndarray of shape (p, n, n)
        Symmetric.

    Returns
    -------
    ndarray of shape (p, n(n+1)/2)
        Upper triangles, entries off the diagonal times √2.
    """
    rows, columns = np.triu_indices(matrices.shape[1])
    scaled: Float = matrices[:, rows, columns] * np.where(rows == columns, 1.0, np.sqrt(2.0))
    return scaled


def unpacked(vectors: Float, size: int) -> Float:
    """Undo `packed`.

    Parameters
    ----------
    vectors : ndarray of shape (p, n(n+1)/2)
        Packed matrices.
    size : int
        n.

    Returns
    -------
    ndarray of shape (p, n, n)
        The matrices.
    """
    rows, columns = np.triu_indices(size)
    scaled = vectors / np.where(rows == columns, 1.0, np.sqrt(2.0))
    matrices = np.zeros((len(vectors), size, size))
    matrices[:, rows, columns] = scaled
    matrices[:, columns, rows] = scaled
    return matrices


def squares(vectors: Float) -> Float:
    """The packed matrices xxᵀ.

    Parameters
    ----------
    vectors : ndarray of shape (s, n)
        The x.

    Returns
    -------
    ndarray of shape (s, n(n+1)/2)
        Packed matrices.
    """
    return packed(vectors[:, :, None] * vectors[:, None, :])


def climb(space: Float, starts: Float, *, iterations: int = ITERATIONS) -> tuple[Float, Float]:
    """Iterate the subspace power method from several starts.

    Parameters
    ----------
    space : ndarray of shape (R, n, n)
        An orthonormal basis of symmetric matrices.
    starts : ndarray of shape (s, n)
        Vectors other than zero.
    iterations : int, optional
        The most steps.

    Returns
    -------
    vectors : ndarray of shape (s, n)
        Unit vectors.
    deficits : ndarray of shape (s,)
        1 - f, the squared distance of xxᵀ from the space.
    """
    size = space.shape[1]
    flat = np.ascontiguousarray(space.transpose(1, 0, 2).reshape(size, -1))
    x = starts / np.linalg.norm(starts, axis=1, keepdims=True)
    moving = np.arange(len(x))
    for _ in range(iterations):
        current = x[moving]
        images = (current @ flat).reshape(len(current), len(space), size)
        products = np.matmul(images, current[:, :, None])[:, :, 0]
        ascent = np.matmul(products[:, None, :], images)[:, 0]
        ascent /= np.linalg.norm(ascent, axis=1, keepdims=True)
        x[moving] = ascent
        # 1e-15 in the cosine is where the direction stands still to rounding
        moving = moving[np.linalg.norm(ascent - current, axis=1) > 1e-14]
        if not len(moving):
            break
    rows = packed(space)
    outer = squares(x)
    rest = outer - (outer @ rows.T) @ rows  # by the remainder, not by 1 - f, which cancels
    deficits: Float = np.einsum("sk,sk->s", rest, rest)
    return x, deficits


def sharpened(rows: Float, vector: Float) -> tuple[Float, float]:
    """Descend from one vector to the nearest minimum of the deficit.

    Parameters
    ----------
    rows : ndarray of shape (R, n(n+1)/2)
        The space, packed.
    vector : ndarray of shape (n,)
        A unit vector.

    Returns
    -------
    vector : ndarray of shape (n,)
        A unit vector.
    deficit : float
        Its deficit, not above the one at the start.
    """

    def outside(vectors: Float) -> Float:
        rest: Float = vectors - (vectors @ rows.T) @ rows
        return rest

    x, damping = vector, 1e-3
    residual = outside(squares(x[None]))[0]
    for _ in range(STEPS):
        tangents = np.linalg.qr(np.column_stack([x, np.eye(len(x))]))[0][:, 1 : len(x)].T
        products = x[None, :, None] * tangents[:, None, :]
        jacobian = outside(packed(products + products.transpose(0, 2, 1)))
        normal, slope = jacobian @ jacobian.T, jacobian @ residual
        scale = float(np.trace(normal)) / len(normal)
        step = np.linalg.solve(normal + damping * scale * np.eye(len(normal)), slope) @ tangents
        moved = x - step
        moved /= np.linalg.norm(moved)
        after = outside(squares(moved[None]))[0]
        if after @ after < residual @ residual:
            x, residual, damping = moved, after, damping / 10
        else:
            damping *= 10
        if np.linalg.norm(step) <= 1e-12 or damping > 1e8:
            break
    return x, float(residual @ residual)


def rank_ones(space: Float, count: int, tolerance: float, rng: np.random.Generator) -> tuple[Float, Float]:
    """Find the rank-one matrices of a space.

    Parameters
    ----------
    space : ndarray of shape (R, n, n)
        An orthonormal basis of symmetric matrices.
    count : int
        How many there are; the search ends when these are found.
    tolerance : float
        The largest deficit of a rank-one matrix that counts as lying in the space.
    rng : Generator
        For the starts.

    Returns
    -------
    vectors : ndarray of shape (m, n)
        Unit vectors, m ≤ count, no two parallel.
    deficits : ndarray of shape (m,)
        Their deficits.
    """
    size = space.shape[1]
    rows = packed(space)
    found, deficits = np.empty((0, size)), np.empty(0)
    for _ in range(ROUNDS):
        if len(found) >= count:
            break
        missing = count - len(found)
        starts = rng.standard_normal((min(200, 2 * missing + 20), size))
        if len(found):
            remaining = _remaining(rows, found)
            starts = climb(unpacked(remaining, size), starts, iterations=100)[0]
        candidates, new = climb(space, starts)
        for index in _apart(candidates, np.flatnonzero((new > tolerance) & (new < STALLED))):
            candidates[index], new[index] = sharpened(rows, candidates[index])
        order = np.argsort(new)
        for index in order[new[order] <= tolerance]:
            if not len(found) or np.abs(found @ candidates[index]).max() < 1 - SAME_DIRECTION:
                found, deficits = np.vstack([found, candidates[index]]), np.append(deficits, new[index])
    order = np.argsort(deficits)[:count]
    return found[order], deficits[order]


def _remaining(rows: Float, found: Float) -> Float:
    """An orthonormal basis of the part of a space that is orthogonal to rank-one matrices in it."""
    coordinates = rows @ squares(found).T
    q, _ = np.linalg.qr(coordinates, mode="complete")
    return q[:, coordinates.shape[1] :].T @ rows


def _apart(vectors: Float, indices: NDArray[np.intp]) -> list[int]:
    """Of several vectors one for each direction."""
    kept: list[int] = []
    for index in indices:
        if not kept or np.abs(vectors[kept] @ vectors[index]).max() < 1 - SAME_DIRECTION:
            kept.append(int(index))
    return kept
