r"""The condition number of a canonical decomposition.

Small changes of a tensor change its rank-one terms by at most κ times as much, to first order: κ = 1/σ_min of the Terracini
matrix, whose columns are orthonormal bases of the tangent spaces of the rank-one tensors at the terms: P. Breiding,
N. Vannieuwenhoven, SIAM J. Matrix Anal. Appl. 39 (2018) 287-309. It does not depend on the sizes of the terms. Orthogonal
terms have κ = 1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError

LARGEST_MATRIX = 30_000_000
"""Numbers in the largest Terracini matrix."""


def symmetric_condition(directions: ArrayLike, order: int) -> float:
    r"""κ of T = Σ_i λ_i u_i^{⊗k} among the symmetric decompositions.

    Parameters
    ----------
    directions : array_like of shape (p, r)
        The u_i, of any nonzero norms.
    order : int
        k ≥ 2. At k = 2 the decomposition is not unique for r ≥ 2, and κ = ∞ up to rounding.

    Returns
    -------
    float
        At least 1; inf if a term is not determined to first order, or there are more unknowns than equations.

    Raises
    ------
    InputError
        If the shapes do not match, a number is not finite, a column is zero or the order is below two.

    Notes
    -----
    The tangent space at u^{⊗k} has the orthonormal basis u^{⊗k}, √k Sym(u^{⊗k-1} ⊗ t) for t in a basis of u^⊥. Directions
    outside of the span of the u_i all contribute alike, so that one of them stands for all.
    """
    vectors = _checked_factor(directions)
    if isinstance(order, bool) or not isinstance(order, int | np.integer) or order < 2:
        raise InputError(f"order: found {order!r:.40}; an integer of at least 2 is accepted")
    return _one_over_smallest([vectors] * int(order), symmetric=True)


def condition_number(factors: Sequence[ArrayLike]) -> float:
    r"""κ of T = Σ_i a_i ⊗ b_i ⊗ … among all decompositions into rank-one tensors.

    Parameters
    ----------
    factors : sequence of array_like of shapes (I, r), (J, r), …
        At least two factors; the norms of the columns do not matter.

    Returns
    -------
    float
        At least 1; inf if a term is not determined to first order, or there are more unknowns than equations.

    Raises
    ------
    InputError
        If there are fewer than two factors, the shapes do not match, a number is not finite, or a column is zero.
    """
    matrices = [_checked_factor(factor) for factor in factors]
    if len(matrices) < 2 or len({matrix.shape[1] for matrix in matrices}) != 1:
        shapes = [matrix.shape for matrix in matrices]
        raise InputError(f"factors: found shapes {shapes}; at least two with equally many columns are accepted")
    return _one_over_smallest(matrices, symmetric=False)


def _checked_factor(factor: ArrayLike) -> Float:
    matrix = np.asarray(factor, dtype=np.float64)
    if matrix.ndim != 2 or 0 in matrix.shape or not np.all(np.isfinite(matrix)):
        raise InputError(f"factors: found shape {matrix.shape}; (p, r) finite numbers with p, r > 0 are accepted")
    norms = np.linalg.norm(matrix, axis=0)
    if not np.all(norms > 0):
        raise InputError("factors: found a zero column; nonzero columns are accepted")
    return np.asarray(matrix / norms)


def _compressed(matrix: Float) -> Float:
    """Coordinates in the span of the columns and, if there is one, one direction outside of it."""
    rows, columns = matrix.shape
    if rows <= columns:
        return matrix
    triangular = np.linalg.qr(matrix)[1]
    return np.vstack([triangular, np.zeros((1, columns))])


def _one_over_smallest(matrices: list[Float], *, symmetric: bool) -> float:
    rank = matrices[0].shape[1]
    unknowns = rank * (matrices[0].shape[0] if symmetric else sum(len(matrix) - 1 for matrix in matrices) + 1)
    equations = (
        math.comb(len(matrices[0]) + len(matrices) - 1, len(matrices))
        if symmetric
        else math.prod(len(matrix) for matrix in matrices)
    )
    if unknowns > equations:
        return math.inf
    matrices = [_compressed(matrix) for matrix in matrices]
    frames = [[np.linalg.svd(column[:, None])[0][:, 1:] for column in matrix.T] for matrix in matrices]
    tangents = matrices[0].shape[0] - 1 if symmetric else sum(len(matrix) - 1 for matrix in matrices)
    entries = math.prod(len(matrix) for matrix in matrices)
    if entries * rank * (tangents + 1) > LARGEST_MATRIX:
        raise InputError(
            f"factors: found a Terracini matrix of {entries} × {rank * (tangents + 1)}; "
            f"at most {LARGEST_MATRIX} entries are accepted"
        )
    blocks = []
    for term in range(rank):
        columns = [matrix[:, term : term + 1] for matrix in matrices]
        blocks.append(_outer(columns))
        places = [_outer([*columns[:k], frames[k][term], *columns[k + 1 :]]) for k in range(len(columns))]
        # with equal factors the places of the same tangent are orthogonal to each other: norm √k of their sum
        blocks += [np.asarray(sum(places)) / math.sqrt(len(places))] if symmetric else places
    smallest = float(np.linalg.svd(np.hstack(blocks), compute_uv=False)[-1])
    return 1 / smallest if smallest > 0 else math.inf


def _outer(parts: list[Float]) -> Float:
    """Vectorised outer products of columns; at most one part has more than one column."""
    result = np.ones((1, 1))
    for part in parts:
        result = (result[:, None, :] * part[None, :, :]).reshape(len(result) * len(part), -1)
    return result
