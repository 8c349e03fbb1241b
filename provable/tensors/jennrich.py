"""Jennrich's algorithm: the canonical decomposition of a third-order tensor from one matrix pencil."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError

ATTEMPTS = 8
"""Random pencils that are tried; the one with the smallest residual is kept."""


def _checked(tensor: ArrayLike, rank: int) -> Float:
    values = np.asarray(tensor)
    if values.ndim != 3 or values.dtype.kind not in "fiu":
        raise InputError(
            f"tensor: found shape {values.shape} of {values.dtype}; three axes of real numbers are accepted"
        )
    if not np.all(np.isfinite(values)):
        raise InputError("tensor: found a number that is not finite; finite numbers are accepted")
    largest = min(values.shape[:2])
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or not 1 <= rank <= largest:
        raise InputError(
            f"rank: found {rank!r:.60}; an integer from 1 to {largest} is accepted, "
            "because the first two factors need independent columns"
        )
    return values.astype(np.float64)


def real_basis(eigenvalues: Any, vectors: Any) -> Float:
    """Real vectors in the place of the eigenvectors of a real matrix.

    Parameters
    ----------
    eigenvalues : ndarray of shape (r,)
        Real or in conjugate pairs.
    vectors : ndarray of shape (p, r)
        The eigenvectors.

    Returns
    -------
    ndarray of shape (p, r)
        The real parts; of the second of a conjugate pair the imaginary part.
    """
    # noise can turn two close eigenvalues into a conjugate pair: its real and imaginary parts span the same plane
    basis: Float = np.where(eigenvalues.imag < 0, vectors.imag, vectors.real)
    return basis


def _decompose(core: Float, pencil: Float) -> tuple[Float, Float, Float] | None:
    """Factors of the (r, r, K) core for the pencil of contractions (2, K), or None if the pencil is singular."""
    first, second = core @ pencil[0], core @ pencil[1]
    try:
        eigenvalues, vectors = np.linalg.eig(np.linalg.solve(second.T, first.T).T)
        left = real_basis(eigenvalues, vectors)
        rank, _, depth = core.shape
        terms = np.linalg.solve(left, core.reshape(rank, rank * depth)).reshape(rank, rank, depth)
        right, sizes, third = np.linalg.svd(terms, full_matrices=False)
    except np.linalg.LinAlgError:
        return None
    return left, right[:, :, 0].T, (sizes[:, :1] * third[:, 0, :]).T


def jennrich(
    tensor: ArrayLike, rank: int, *, contractions: ArrayLike | None = None, rng: int | np.random.Generator | None = None
) -> Any:
    """Decompose T = Σ_i u_i ⊗ v_i ⊗ w_i by simultaneous diagonalisation.

    Parameters
    ----------
    tensor : array_like of shape (I, J, K)
        The tensor T.
    rank : int
        Number of terms r, at most min(I, J).
    contractions : array_like of shape (2, K), optional
        The two vectors a, b with which the third axis is contracted. Default: eight random pairs, of which the one with the
        smallest residual is kept.
    rng : int or Generator, optional
        Seed or generator of the random pairs.

    Returns
    -------
    tensorly.cp_tensor.CPTensor
        Weights (r,), nonnegative and descending, and factors (I, r), (J, r), (K, r) with columns of norm one. The order and
        the signs within a term are not determined by T.

    Raises
    ------
    InputError
        If the tensor has other than three axes or non-finite numbers, the rank is out of range, or the contractions have
        another shape.
    UnsupportedError
        If every pencil is singular: T has fewer than `rank` terms in its first two axes.

    Notes
    -----
    T(·,·,a) = U diag(Wᵀa) Vᵀ, so that T(·,·,a) T(·,·,b)⁺ has the eigenvectors u_i with eigenvalues (w_i·a)/(w_i·b). With U
    known, U⁺T holds the matrices v_i w_iᵀ. Axes one and two are first compressed to their leading r singular vectors. The
    decomposition is exact and essentially unique if U and V have independent columns and no two columns of W are parallel
    (theorem ``foundations.jennrich``); under noise the result is a starting point, because methods that use one pencil are
    less stable than the decomposition itself. Costs O(IJK·min(I, JK)) for the compression and O(r³ + r³K) behind it.

    References
    ----------
    R. A. Harshman, Foundations of the PARAFAC procedure, UCLA Working Papers in Phonetics 16 (1970), who credits
    R. Jennrich; S. E. Leurgans, R. T. Ross, R. B. Abel, SIAM J. Matrix Anal. Appl. 14 (1993) 1064-1083.
    """
    from tensorly.cp_tensor import CPTensor

    values = _checked(tensor, rank)
    rows, columns, depth = values.shape
    if contractions is None:
        pencils = np.random.default_rng(rng).standard_normal((ATTEMPTS, 2, depth))
    else:
        pencils = np.asarray(contractions, dtype=np.float64)[None]
        if pencils.shape != (1, 2, depth):
            raise InputError(f"contractions: found shape {pencils.shape[1:]}; (2, {depth}) is accepted")
    left = np.linalg.svd(values.reshape(rows, -1), full_matrices=False)[0][:, :rank]
    right = np.linalg.svd(values.transpose(1, 0, 2).reshape(columns, -1), full_matrices=False)[0][:, :rank]
    core = np.einsum("ijk,ia,jb->abk", values, left, right, optimize=True)
    best: tuple[float, tuple[Float, Float, Float]] | None = None
    for pencil in pencils:
        found = _decompose(core, pencil)
        if found is None:
            continue
        residual = float(np.linalg.norm(core - np.einsum("ai,bi,ki->abk", *found)))
        if np.isfinite(residual) and (best is None or residual < best[0]):
            best = residual, found
    if best is None:
        raise UnsupportedError(f"tensor: every pencil is singular at rank {rank}; a smaller rank is needed")
    factors = [left @ best[1][0], right @ best[1][1], best[1][2]]
    norms = [np.linalg.norm(factor, axis=0) for factor in factors]
    factors = [factor / np.where(norm > 0, norm, 1.0) for factor, norm in zip(factors, norms, strict=True)]
    weights = norms[0] * norms[1] * norms[2]
    order = np.argsort(-weights, kind="stable")
    return CPTensor((weights[order], [factor[:, order] for factor in factors]))
