"""One door to the canonical decompositions: Jennrich, simultaneous diagonalisation, alternating least squares."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from provable.errors import InputError, UnsupportedError
from provable.tensors.jennrich import jennrich
from provable.tensors.simultaneous import simultaneous_diagonalisation
from provable.tensors.symmetric_jennrich import checked_symmetric, magnitude, symmetric_jennrich

Method = Literal["jennrich", "simultaneous", "als"]

METHODS: tuple[Method, ...] = ("jennrich", "simultaneous", "als")
"""The methods of `decompose`."""

MOST_ITERATIONS = 1000
"""Of alternating least squares."""

STARTS = 5
"""Random starts of alternating least squares, of which the one with the smallest residual is kept."""

TOLERANCE = 1e-14
"""Alternating least squares ends when the relative residual falls by less than that."""


def decompose(
    tensor: ArrayLike, rank: int, *, method: Method = "jennrich", rng: int | np.random.Generator | None = None
) -> Any:
    """Decompose a tensor into r rank-one terms.

    Parameters
    ----------
    tensor : array_like
        A symmetric tensor of order 3 or 4; for ``"jennrich"`` also any of order 3, for ``"als"`` any at all.
    rank : int
        Number of terms r.
    method : {"jennrich", "simultaneous", "als"}
        One matrix pencil, the best of several: exact, fast, the least stable under noise. Simultaneous diagonalisation of
        many projections (Kuleshov, Chaganty, Liang 2015). Or TensorLy's alternating least squares, the customary baseline:
        any rank, no guarantee, slow where terms are nearly parallel.
    rng : int or Generator, optional
        Seed or generator.

    Returns
    -------
    tensorly.cp_tensor.CPTensor
        Weights (r,), descending by absolute value, and one factor with columns of norm one per axis; of a symmetric tensor,
        by the first two methods, the same factor every time.

    Raises
    ------
    InputError
        If the method is unknown, or as the method says.
    """
    if method not in METHODS:
        raise InputError(f"method: found {method!r:.40}; {', '.join(METHODS)} are accepted")
    values = np.asarray(tensor)
    if method == "als":
        return alternating_least_squares(values, rank, rng=rng)
    if method == "jennrich" and values.ndim == 3 and not _is_symmetric(values):
        return jennrich(values, rank, rng=rng)
    return (symmetric_jennrich if method == "jennrich" else simultaneous_diagonalisation)(values, rank, rng=rng)


def alternating_least_squares(
    tensor: ArrayLike, rank: int, *, starts: int = STARTS, rng: int | np.random.Generator | None = None
) -> Any:
    """TensorLy's alternating least squares from random starts.

    Parameters
    ----------
    tensor : array_like
        Real, of order at least two.
    rank : int
        Number of terms r ≥ 1.
    starts : int
        Number of starts, of which the one with the smallest residual is kept.
    rng : int or Generator, optional
        Seed or generator of the starts.

    Returns
    -------
    tensorly.cp_tensor.CPTensor
        Nonnegative weights (r,), descending, and factors with columns of norm one.

    Raises
    ------
    InputError
        If the tensor has fewer than two axes or numbers that are not finite, or the rank or the number of starts is not
        positive.
    UnsupportedError
        If the normal equations are singular from every start, for instance for the tensor zero.
    """
    from tensorly.cp_tensor import CPTensor, cp_to_tensor
    from tensorly.decomposition import parafac

    values = np.asarray(tensor)
    if values.ndim < 2 or values.dtype.kind not in "fiu" or not np.all(np.isfinite(values)):
        raise InputError(
            f"tensor: found shape {values.shape} of {values.dtype}; at least two axes of finite numbers are accepted"
        )
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or rank < 1:
        raise InputError(f"rank: found {rank!r:.60}; a positive integer is accepted")
    if isinstance(starts, bool) or not isinstance(starts, int | np.integer) or starts < 1:
        raise InputError(f"starts: found {starts!r:.40}; a positive integer is accepted")
    generator = np.random.default_rng(rng)
    unit = magnitude(values)
    values = values / unit
    best: tuple[float, Any] | None = None
    for _ in range(starts):
        seed = int(generator.integers(2**31))
        try:
            found = parafac(
                values,
                int(rank),
                n_iter_max=MOST_ITERATIONS,
                init="random",
                tol=TOLERANCE,
                random_state=seed,
                normalize_factors=True,
            )
        except np.linalg.LinAlgError:
            continue
        residual = float(np.linalg.norm(values - cp_to_tensor(found)))
        if best is None or residual < best[0]:
            best = residual, found
    if best is None:
        raise UnsupportedError(
            f"tensor: the normal equations are singular from every start at rank {rank}; it may be zero"
        )
    weights, factors = best[1]
    weights = unit * weights
    order = np.argsort(-weights, kind="stable")
    return CPTensor((weights[order], [factor[:, order] for factor in factors]))


def _is_symmetric(values: Any) -> bool:
    try:
        checked_symmetric(values)
    except InputError:
        return False
    return True
