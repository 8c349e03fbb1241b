r"""Hermite moments as matrices that are applied without being formed: T(I, I), T(I, I, a) and T(I, I, a, b).

H_k(w) is the sum over all partial matchings of its k places of (-1)^{pairs} times I for every pair and w in every place
left over. Contracted with vectors in all places but two, every such term is a diagonal scaling between two products with W,
so that a block of B vectors costs O(m d B).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError
from provable.tensors.hermite_moments import HIGHEST_ORDER, checked


def contracted_moment(
    weights: ArrayLike, values: ArrayLike, block: ArrayLike, directions: Sequence[ArrayLike] = ()
) -> Float:
    r"""Apply the matrix (1/m) Σ_j g_j H_k(w_j)(I, I, a_1, …, a_{k-2}) to a block of vectors.

    Parameters
    ----------
    weights : array_like of shape (m, d)
        The w_j.
    values : array_like of shape (m,) or (m, d)
        The g_j, or the slopes y_j: then Sym(y ⊗ H_{k-1}) takes the place of g H_k.
    block : array_like of shape (d, B)
        The vectors.
    directions : sequence of array_like of shape (d,)
        None for k = 2, one for k = 3, two for k = 4.

    Returns
    -------
    ndarray of shape (d, B)
        The product, for O(m d B).

    Raises
    ------
    InputError
        If the shapes do not match, a number is not finite or there are more than two directions.
    """
    weights, values = checked(weights, values, name="values")
    dimension = weights.shape[1]
    columns = np.asarray(block, dtype=np.float64)
    if columns.ndim != 2 or len(columns) != dimension:
        raise InputError(f"block: found shape {columns.shape}; ({dimension}, B) is accepted")
    vectors = [np.asarray(direction, dtype=np.float64) for direction in directions]
    if len(vectors) > HIGHEST_ORDER - 2 or any(vector.shape != (dimension,) for vector in vectors):
        shapes = [vector.shape for vector in vectors]
        raise InputError(f"directions: found shapes {shapes}; at most two vectors of length {dimension} are accepted")
    order = 2 + len(vectors)
    if values.ndim == 1:
        return _contracted(weights, values, None, columns, vectors, None)
    if values.shape != weights.shape:
        raise InputError(
            f"values: found shape {values.shape}; one number or {dimension} numbers per weight are accepted"
        )
    ones = np.ones(len(weights))
    terms = [_contracted(weights, ones, values, columns, vectors, place) for place in range(order)]
    return np.asarray(sum(terms) / order)


def leading_subspace(
    weights: ArrayLike,
    values: ArrayLike,
    rank: int,
    directions: Sequence[ArrayLike] = (),
    *,
    rng: int | np.random.Generator | None = None,
) -> Float:
    r"""An orthonormal basis of the leading eigenvectors, by absolute value, of the matrix of `contracted_moment`.

    Parameters
    ----------
    weights : array_like of shape (m, d)
        The w_j.
    values : array_like of shape (m,) or (m, d)
        The g_j or the slopes y_j, detrended or not.
    rank : int
        Number of vectors B, at most d.
    directions : sequence of array_like of shape (d,)
        As for `contracted_moment`. Where a·x_i is small, sample i is hardly visible; a = (1/m) Σ g_j w_j lies in the span.
    rng : int or Generator, optional
        Seed of the starting vector.

    Returns
    -------
    ndarray of shape (d, B)
        The basis. The matrix may be indefinite: residuals of both signs are no obstacle.

    Raises
    ------
    InputError
        If the rank is out of range, or as for `contracted_moment`.
    """
    weights, values = checked(weights, values, name="values")
    dimension = weights.shape[1]
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or not 1 <= rank <= dimension:
        raise InputError(f"rank: found {rank!r:.40}; an integer from 1 to {dimension} is accepted")
    if rank > dimension // 2:
        matrix = contracted_moment(weights, values, np.eye(dimension), directions)
        sizes, vectors = np.linalg.eigh((matrix + matrix.T) / 2)
        return np.asarray(vectors[:, np.argsort(-np.abs(sizes), kind="stable")[:rank]])
    import scipy.sparse.linalg

    sparse: Any = scipy.sparse.linalg  # its stubs do not know this use of operators
    operator = sparse.LinearOperator(
        (dimension, dimension),
        matvec=lambda vector: contracted_moment(weights, values, vector.reshape(-1, 1), directions)[:, 0],
        dtype=np.float64,
    )
    start = np.random.default_rng(rng).standard_normal(dimension)
    _, vectors = sparse.eigsh(operator, k=int(rank), which="LM", v0=start)
    return np.asarray(np.linalg.qr(vectors)[0])


def _matchings(places: tuple[int, ...]) -> Iterator[tuple[tuple[int, int], ...]]:
    """All partial matchings of the places."""
    if not places:
        yield ()
        return
    first, rest = places[0], places[1:]
    yield from _matchings(rest)
    for partner in rest:
        for others in _matchings(tuple(place for place in rest if place != partner)):
            yield ((first, partner), *others)


def _contracted(
    weights: Float, values: Float, slopes: Float | None, block: Float, vectors: list[Float], slope_place: int | None
) -> Float:
    """The contraction with w in every open place, or with the slopes in one of them; places 0 and 1 are I and the block."""
    count = len(weights)
    order = 2 + len(vectors)
    open_places = tuple(place for place in range(order) if place != slope_place)
    projected = {place: weights @ vector for place, vector in enumerate(vectors, 2)}
    blocks = weights @ block
    if slopes is not None and slope_place is not None and slope_place >= 2:
        projected[slope_place] = slopes @ vectors[slope_place - 2]
    rows = slopes if slopes is not None and slope_place == 0 else weights
    images = slopes @ block if slopes is not None and slope_place == 1 else blocks
    total = np.zeros(block.shape)
    for matching in _matchings(open_places):
        partner = {place: other for pair in matching for place, other in (pair, pair[::-1])}
        scalars = values * (-1.0) ** len(matching)
        for place, vector in enumerate(vectors, 2):
            if place not in partner:
                scalars = scalars * projected[place]
            elif place < partner[place]:
                scalars = scalars * float(vector @ vectors[partner[place] - 2])
        if partner.get(0) == 1:
            total += scalars.mean() * block
        elif 0 not in partner and 1 not in partner:
            total += rows.T @ (scalars[:, None] * images) / count
        else:
            left = vectors[partner[0] - 2] if 0 in partner else rows.T @ scalars / count
            right = vectors[partner[1] - 2] @ block if 1 in partner else images.T @ scalars / count
            # with both matched to directions, the scalars are still to be averaged
            total += np.outer(left, right) * (scalars.mean() if 0 in partner and 1 in partner else 1.0)
    return total
