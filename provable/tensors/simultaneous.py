"""Symmetric tensors by simultaneous diagonalisation of random projections and then of plug-in projections.

References
----------
V. Kuleshov, A. Chaganty, P. Liang, Tensor factorization via matrix factorization, AISTATS 2015 (PMLR 38, 507-516),
Algorithm 1.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.errors import InputError
from provable.tensors.joint_diagonalisation import JointDiagonalisation, joint_diagonalisation
from provable.tensors.symmetric_jennrich import (
    checked_symmetric,
    fitted_weights,
    magnitude,
    ordered,
    projected,
    symmetric_jennrich,
)

PROJECTIONS = 20
"""Random projections of the first pass."""


def simultaneous_diagonalisation(
    tensor: ArrayLike,
    rank: int,
    *,
    projections: int = PROJECTIONS,
    independent: bool = True,
    plug_in: bool = True,
    orthogonal: bool = False,
    rng: int | np.random.Generator | None = None,
) -> Any:
    """Decompose a symmetric tensor T = Σ_i λ_i u_i^{⊗k}, k = 3 or 4, with independent u_i.

    Parameters
    ----------
    tensor : array_like of shape (p, p, p) or (p, p, p, p)
        The symmetric tensor T.
    rank : int
        Number of terms r, at most p.
    projections : int
        Number L of random projections T(·,·,w_l) with w_l uniform on the sphere (at order 4: T(·,·,S_l) with symmetric S_l
        uniform on the sphere), at least 2; of bases, rounded up to whole ones.
    independent : bool
        Whether the projections are independent, as printed, or drawn as orthonormal bases: then they are isotropic without
        any law of large numbers, and their error is that of infinitely many independent ones (theorems
        ``kuleshov2015.orthogonal_random_projections`` and ``kuleshov2015.random_projections``).
    plug_in : bool
        Whether a second pass projects T with the rows of the inverse factor of the first: its matrices λ_i u_i u_iᵀ have the
        largest gaps.
    orthogonal : bool
        Whether the u_i are known to be orthogonal.
    rng : int or Generator, optional
        Seed or generator of the projections.

    Returns
    -------
    tensorly.cp_tensor.CPTensor
        Weights and factors as from `provable.tensors.symmetric_jennrich`.

    Raises
    ------
    InputError
        If the tensor is not symmetric, or the rank or the number of projections is out of range.
    UnsupportedError
        If T has fewer than `rank` independent terms.

    Notes
    -----
    T(·,·,w) = U diag(λ_i u_i·w) Uᵀ is diagonalised by U for every w. Joint diagonalisation starts from the best of several
    single pencils, because it has local minima.
    """
    from tensorly.cp_tensor import CPTensor

    if isinstance(projections, bool) or not isinstance(projections, int | np.integer) or projections < 2:
        raise InputError(f"projections: found {projections!r:.40}; an integer of at least 2 is accepted")
    values = checked_symmetric(tensor)
    size = len(values)
    if isinstance(rank, bool) or not isinstance(rank, int | np.integer) or not 1 <= rank <= size:
        raise InputError(f"rank: found {rank!r:.60}; an integer from 1 to {size} is accepted")
    generator = np.random.default_rng(rng)
    unit = magnitude(values)
    values = values / unit
    basis = np.linalg.svd(values.reshape(size, -1), full_matrices=False)[0][:, :rank]
    core = projected(values, basis)
    start = symmetric_jennrich(core, rank, rng=generator).factors[0]
    directions = joint_diagonalisation(
        _projections(core, int(projections), independent, generator),
        start=start if np.linalg.cond(start) < 1e12 else None,
        orthogonal=orthogonal,
    ).vectors
    if plug_in:
        directions = _plug_in(core, directions, orthogonal).vectors
    weights, _ = fitted_weights(core, directions)
    return CPTensor(ordered(unit * weights, basis @ directions, values.ndim))


def _projections(core: Float, count: int, independent: bool, generator: np.random.Generator) -> Float:
    """T(·,·,w_l), or T(·,·,S_l) in an orthonormal basis of the symmetric matrices."""
    size = len(core)
    if core.ndim == 3:
        flat = core
    else:
        rows, columns = np.triu_indices(size)
        # symmetric matrices in orthonormal coordinates: √2 for the entries that come twice
        flat = core[:, :, rows, columns] * np.where(rows == columns, 1.0, math.sqrt(2))
    dimension = flat.shape[2]
    if independent:
        directions = generator.standard_normal((count, dimension))
        directions /= np.linalg.norm(directions, axis=1)[:, None]
    else:
        bases = [
            np.linalg.qr(generator.standard_normal((dimension, dimension)))[0] for _ in range(-(-count // dimension))
        ]
        directions = np.vstack(bases)
    return np.asarray(np.einsum("ijk,lk->lij", flat, directions))


def _plug_in(core: Float, directions: Float, orthogonal: bool) -> JointDiagonalisation:
    """Diagonalise the T(·,·,v_i), or T(·,·,v_i,v_i), where v_i is the i-th row of U⁻¹ scaled to norm one."""
    dual = np.linalg.inv(directions)
    matrices = []
    for vector in dual / np.linalg.norm(dual, axis=1)[:, None]:
        contracted = core
        for _ in range(core.ndim - 2):
            contracted = contracted @ vector
        matrices.append(contracted)
    return joint_diagonalisation(np.stack(matrices), start=directions, orthogonal=orthogonal)
