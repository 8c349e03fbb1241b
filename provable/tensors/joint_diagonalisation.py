r"""Joint diagonalisation of several symmetric matrices by congruence: M_l = U D_l Uᵀ.

The matrix B sought makes all B M_l Bᵀ as diagonal as possible, by sweeps of elementary steps over pairs of rows. A rotation
step turns two rows by the angle that minimises the sum of squares off the diagonal: J.-F. Cardoso, A. Souloumiac, SIAM J.
Matrix Anal. Appl. 17 (1996) 161-164. A triangular step adds the best multiple of one row to another: B. Afsari, Simple LU
and QR based non-orthogonal matrix joint diagonalization, ICA 2006, whose QRJ1D alternates the two; here the triangular steps
take all ordered pairs. No step increases the sum of squares off the diagonal. Between sweeps the rows are scaled: that sum is
not invariant under it, but what is sought is.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import EPSILON, Float
from provable.errors import InputError

MOST_SWEEPS = 200
"""Sweeps over all pairs at most."""


@dataclass(frozen=True, eq=False)
class JointDiagonalisation:
    """The outcome of a joint diagonalisation.

    Attributes
    ----------
    vectors : ndarray of shape (r, r)
        U: the columns of the inverse of B, scaled to norm one.
    diagonals : ndarray of shape (L, r)
        The diagonals of the D_l for this U.
    off_diagonal : float
        √(Σ_l ‖off(U⁻¹ M_l U⁻ᵀ)‖²_F / Σ_l ‖U⁻¹ M_l U⁻ᵀ‖²_F).
    sweeps : int
        Sweeps that were made.
    """

    vectors: Float
    diagonals: Float
    off_diagonal: float
    sweeps: int


def joint_diagonalisation(
    matrices: ArrayLike, *, start: ArrayLike | None = None, orthogonal: bool = False, most_sweeps: int = MOST_SWEEPS
) -> JointDiagonalisation:
    """Diagonalise several symmetric matrices by one congruence.

    Parameters
    ----------
    matrices : array_like of shape (L, r, r)
        The M_l; the symmetric parts are taken.
    start : array_like of shape (r, r), optional
        A first U, invertible. Default: the identity.
    orthogonal : bool
        Rotations only, for orthogonal U; a start is then orthogonalised.
    most_sweeps : int
        At most that many sweeps; iteration ends when a sweep changes nothing to working precision.

    Returns
    -------
    JointDiagonalisation
        U, the diagonals, what is left beside them, and the number of sweeps.

    Raises
    ------
    InputError
        If the shapes do not match, a number is not finite or the start is singular.

    Notes
    -----
    For exact M_l with U invertible, U is unique up to order and signs if and only if no two columns of the matrix of the
    diagonals are parallel (Afsari, SIAM J. Matrix Anal. Appl. 30 (2008) 1148-1171). There are local minima; a start from one
    pencil avoids most of them. Costs O(L r³) per sweep.
    """
    stack = np.asarray(matrices, dtype=np.float64)
    if stack.ndim != 3 or stack.shape[1] != stack.shape[2] or stack.size == 0:
        raise InputError(f"matrices: found shape {stack.shape}; (L, r, r) with L, r > 0 is accepted")
    if not np.all(np.isfinite(stack)):
        raise InputError("matrices: found a number that is not finite; finite numbers are accepted")
    size = stack.shape[1]
    vectors = np.eye(size) if start is None else np.array(start, dtype=np.float64)
    if vectors.shape != (size, size) or not np.all(np.isfinite(vectors)):
        raise InputError(f"start: found shape {vectors.shape}; ({size}, {size}) finite numbers are accepted")
    if orthogonal:
        left, _, right = np.linalg.svd(vectors)
        vectors = left @ right
    try:
        transform: Float = np.asarray(np.linalg.inv(vectors), dtype=np.float64)
    except np.linalg.LinAlgError as error:
        raise InputError("start: found a singular matrix; an invertible one is accepted") from error
    symmetric = (stack + stack.transpose(0, 2, 1)) / 2
    current = transform @ symmetric @ transform.T
    sweeps = 0
    while sweeps < most_sweeps:
        sweeps += 1
        step = _rotation_sweep(current, transform)
        if not orthogonal:
            step = max(step, _triangular_sweep(current, transform))
            # rows of equal size, so that neither hides the other; diagonal scalings change nothing of what is sought
            sizes = np.abs(np.einsum("lii->li", current)).max(axis=0)
            scale = 1 / np.sqrt(np.where(sizes > EPSILON * np.linalg.norm(current), sizes, 1.0))
            transform *= scale[:, None]
            current *= scale[:, None] * scale
        if step <= 4 * EPSILON * size:
            break
    vectors = np.asarray(np.linalg.inv(transform), dtype=np.float64)
    vectors = vectors / np.linalg.norm(vectors, axis=0)
    transform = np.asarray(np.linalg.inv(vectors), dtype=np.float64)
    current = transform @ symmetric @ transform.T
    diagonals = np.einsum("lii->li", current).copy()
    total = float(np.linalg.norm(current))
    off = float(np.linalg.norm(current * (1 - np.eye(size))))
    return JointDiagonalisation(vectors, diagonals, off / total if total > 0 else 0.0, sweeps)


def _rotation_sweep(current: Float, transform: Float) -> float:
    """Rotate every pair of rows and columns in turn, in place; the largest |sin| that was used."""
    size, largest = len(transform), 0.0
    rounding = (EPSILON * float(np.linalg.norm(current))) ** 2
    for p in range(size - 1):
        for q in range(p + 1, size):
            difference = current[:, p, p] - current[:, q, q]
            double = 2 * current[:, p, q]
            on, off = float(difference @ difference - double @ double), 2 * float(difference @ double)
            if float(double @ double) <= rounding:
                continue  # between equal diagonals the angle would be noise
            angle = math.atan2(off, on) / 4
            cosine, sine = math.cos(angle), math.sin(angle)
            largest = max(largest, abs(sine))
            turn = np.array([[cosine, sine], [-sine, cosine]])
            pair = [p, q]
            transform[pair] = turn @ transform[pair]
            current[:, pair, :] = turn @ current[:, pair, :]
            current[:, :, pair] = current[:, :, pair] @ turn.T
    return largest


def _triangular_sweep(current: Float, transform: Float) -> float:
    """Add multiples of one row to another, for every ordered pair in turn, in place; the largest relative multiple."""
    size, largest = len(transform), 0.0
    for i in range(size):
        for j in range(size):
            if i == j:
                continue
            added, changed = current[:, j, :].copy(), current[:, i, :].copy()
            added[:, i], changed[:, i] = 0.0, 0.0  # what it does to the diagonal entry (i, i) does not count
            denominator = float(np.vdot(added, added))
            if denominator == 0.0:
                continue
            multiple = -float(np.vdot(added, changed)) / denominator
            # relative to the rows, which need not be of equal size
            largest = max(
                largest, abs(multiple) * math.sqrt(denominator / (denominator + float(np.vdot(changed, changed))))
            )
            transform[i] += multiple * transform[j]
            current[:, i, :] += multiple * current[:, j, :]
            current[:, :, i] += multiple * current[:, :, j]
    return largest
