"""Jennrich's algorithm for symmetric tensors of order three and four."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError, UnsupportedError
from provable.tensors.jennrich import real_basis

ATTEMPTS = 20
"""Random pencils that are tried; the one with the smallest residual is kept."""

LARGEST_ASYMMETRY = 1e-8
"""Relative to the norm: far above rounding, far below what an unsymmetrised moment has."""


def symmetric_jennrich(
    tensor: ArrayLike, rank: int, *, attempts: int = ATTEMPTS, rng: int | np.random.Generator | None = None
) -> Any:
    """Decompose a symmetric tensor T = Σ_i λ_i u_i^{⊗k}, k = 3 or 4, by simultaneous diagonalisation.

    Parameters
    ----------
    tensor : array_like of shape (p, p, p) or (p, p, p, p)
        The symmetric tensor T.
    rank : int
        Number of terms r, at most p.
    attempts : int
        Number of random pencils, of which the one with the smallest residual is kept.
    rng : int or Generator, optional
        Seed or generator of the pencils.

    Returns
    -------
    tensorly.cp_tensor.CPTensor
        Weights λ (r,), descending by absolute value, and k times the same factor (p, r) with columns of norm one. At order 3
        the weights are nonnegative; at order 4 they have the signs of T, and the signs of the u_i are not determined.

    Raises
    ------
    InputError
        If the tensor is not symmetric, has another order or non-finite numbers, or the rank is out of range.
    UnsupportedError
        If every pencil is singular: T has fewer than `rank` terms with independent u_i.

    Notes
    -----
    Order 3 is contracted with two random vectors, order 4 in two places with two random symmetric matrices S, which keeps the
    weights u_iᵀSu_i away from zero better than the squares of a single vector do: T(·,·,S) = U diag(λ_i u_iᵀSu_i) Uᵀ. The
    decomposition is unique if the u_i are independent. The weights are the least-squares ones. Under noise the result is a
    start for a refinement.
    """
    from tensorly.cp_tensor import CPTensor

    values = checked_symmetric(tensor)
    size = len(values)
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or not 1 <= rank <= size:
        raise InputError(f"rank: found {rank!r:.60}; an integer from 1 to {size} is accepted")
    unit = magnitude(values)
    values = values / unit
    basis = np.linalg.svd(values.reshape(size, -1), full_matrices=False)[0][:, :rank]
    core = projected(values, basis)
    generator = np.random.default_rng(rng)
    best: tuple[float, Float, Float] | None = None
    for _ in range(attempts):
        first, second = contraction(core, generator), contraction(core, generator)
        try:
            directions = real_basis(*np.linalg.eig(np.linalg.solve(second.T, first.T).T))
            directions = directions / np.linalg.norm(directions, axis=0)
            weights, residual = fitted_weights(core, directions)
        except np.linalg.LinAlgError:
            continue
        if np.isfinite(residual) and (best is None or residual < best[0]):
            best = residual, weights, directions
    if best is None:
        raise UnsupportedError(f"tensor: every pencil is singular at rank {rank}; a smaller rank is needed")
    return CPTensor(ordered(unit * best[1], basis @ best[2], values.ndim))


def checked_symmetric(tensor: ArrayLike) -> Float:
    """Check that a tensor is a finite symmetric one of order three or four.

    Parameters
    ----------
    tensor : array_like of shape (p,) * 3 or (p,) * 4
        The tensor.

    Returns
    -------
    ndarray
        As float64.

    Raises
    ------
    InputError
        If it is not.
    """
    values = np.asarray(tensor)
    if values.ndim not in (3, 4) or len(set(values.shape)) != 1 or values.dtype.kind not in "fiu" or values.size == 0:
        raise InputError(
            f"tensor: found shape {values.shape} of {values.dtype}; three or four equal axes of real numbers are accepted"
        )
    values = values.astype(np.float64)
    if not np.all(np.isfinite(values)):
        raise InputError("tensor: found a number that is not finite; finite numbers are accepted")
    scaled = values / magnitude(values)
    size = float(np.linalg.norm(scaled))
    # neighbouring transpositions generate all permutations
    for axis in range(values.ndim - 1):
        asymmetry = float(np.linalg.norm(scaled - np.swapaxes(scaled, axis, axis + 1)))
        if asymmetry > LARGEST_ASYMMETRY * size:
            raise InputError(
                f"tensor: found a relative asymmetry of {asymmetry / size:.1e} between axes {axis} and {axis + 1}; "
                "symmetric tensors are accepted"
            )
    return values


def magnitude(tensor: Float) -> float:
    """The largest entry by absolute value, by which a tensor can be divided.

    Parameters
    ----------
    tensor : ndarray
        Finite numbers.

    Returns
    -------
    float
        Positive: one if the tensor is zero.
    """
    largest = float(np.abs(tensor).max())
    return largest if largest > 0 else 1.0


def projected(tensor: Float, basis: Float) -> Float:
    """T(V, …, V).

    Parameters
    ----------
    tensor : ndarray of shape (p,) * k
        The tensor T.
    basis : ndarray of shape (p, r)
        The matrix V.

    Returns
    -------
    ndarray of shape (r,) * k
        The tensor contracted with V in every place.
    """
    result = tensor
    for _ in range(tensor.ndim):
        result = np.tensordot(result, basis, axes=(0, 0))
    return result


def contraction(tensor: Float, generator: np.random.Generator) -> Float:
    """A random matrix in the span of the u_i u_iᵀ.

    Parameters
    ----------
    tensor : ndarray of shape (r,) * 3 or (r,) * 4
        The symmetric tensor.
    generator : Generator
        Of the normal entries of the vector, or of the symmetric matrix, with which the last places are contracted.

    Returns
    -------
    ndarray of shape (r, r)
        T(·,·,a) or T(·,·,S).
    """
    size = len(tensor)
    if tensor.ndim == 3:
        return np.asarray(tensor @ generator.standard_normal(size))
    matrix = generator.standard_normal((size, size))
    return np.tensordot(tensor, matrix + matrix.T, axes=2)


def powers(directions: Float, order: int) -> Float:
    """The vectorised u_i^{⊗k} as columns.

    Parameters
    ----------
    directions : ndarray of shape (p, r)
        The u_i.
    order : int
        k.

    Returns
    -------
    ndarray of shape (p^k, r)
        One column per term.
    """
    result = directions
    for _ in range(order - 1):
        result = (result[:, None, :] * directions[None, :, :]).reshape(-1, directions.shape[1])
    return result


def fitted_weights(tensor: Float, directions: Float) -> tuple[Float, float]:
    """Least-squares weights of given directions.

    Parameters
    ----------
    tensor : ndarray of shape (p,) * k
        The tensor.
    directions : ndarray of shape (p, r)
        The u_i.

    Returns
    -------
    weights : ndarray of shape (r,)
        The minimiser of ‖T - Σ_i λ_i u_i^{⊗k}‖.
    residual : float
        The minimum.
    """
    design = powers(directions, tensor.ndim)
    weights: Float = np.asarray(np.linalg.lstsq(design, tensor.reshape(-1), rcond=None)[0])
    return weights, float(np.linalg.norm(tensor.reshape(-1) - design @ weights))


def ordered(weights: Float, directions: Float, order: int) -> tuple[Float, list[Float]]:
    """Weights and factors in the form of a CPTensor of `provable`.

    Parameters
    ----------
    weights : ndarray of shape (r,)
        λ_i.
    directions : ndarray of shape (p, r)
        u_i, of any nonzero norm.
    order : int
        k.

    Returns
    -------
    weights : ndarray of shape (r,)
        Descending by absolute value; nonnegative for odd k.
    factors : list of ndarray of shape (p, r)
        k times the same matrix with columns of norm one.
    """
    norms = np.linalg.norm(directions, axis=0)
    weights, directions = weights * norms**order, directions / np.where(norms > 0, norms, 1.0)
    if order % 2:
        signs = np.where(weights < 0, -1.0, 1.0)
        weights, directions = weights * signs, directions * signs
    place = np.argsort(-np.abs(weights), kind="stable")
    return weights[place], [directions[:, place]] * order
