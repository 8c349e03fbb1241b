r"""Least squares for a layer's system: full-rank systems by their Gram matrix, all others by the null space of K̃.

**Full rank.** :math:`A = W^T W + I \otimes \tilde K^T \tilde K` is formed block by block and factorised by Cholesky;
three steps of iterative refinement with the residual of the system itself bring the error down to that of a backward
stable method (corrected seminormal equations). σ_min is estimated by inverse iteration with the factor; the way is taken
only if it is above :math:`10^{-5} \sigma_{\max}`, where A's rounding does not hide it.

**Otherwise.** With the singular vectors :math:`\tilde K = Q \Sigma V^T`, the components of x along the columns of V with
large singular values are divided out channel by channel; the others obey a system of their own, W and what is left of K
on them, which is solved by a complete orthogonal decomposition (QR with column pivoting, then QR of the transposed
triangle), whose diagonal shows the rank. The columns of V are orthonormal, so the minimum-norm
solution of the small system gives that of the large one, and rank U = channels · (large ones) + rank (small system).

References
----------
Å. Björck, Numerical Methods for Least Squares Problems, 1996, Sections 2.7.3 (complete orthogonal decompositions) and
6.6.5 (corrected seminormal equations).
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.typing import NDArray

from provable.arithmetic import EPSILON
from provable.recovery.layerwise.system import System

Float = NDArray[np.float64]

WELL_CONDITIONED = 1e-5
"""Smallest ratio of singular values that is read off a Gram matrix, whose rounding hides those below 1e-8."""

DIVIDED_OUT = 1e-3
"""Singular values of K̃ above this multiple of the largest are divided out; smaller ones share the work with W."""

LARGEST_GRAM_MATRIX = 8192
"""Most unknowns of a Gram matrix (512 MiB)."""

LARGEST_MATRIX = 1.5e8
"""Most entries of the matrix that is decomposed otherwise (1.2 GB)."""

LARGEST_NULLITY = 1024
"""Most dimensions of a null space whose basis is written down."""

LARGEST_BASIS = 6e7
"""Most entries of a basis of a row space (480 MB)."""

UNDETERMINED = 1e-6
"""An entry of x is undetermined if its unit vector is this far from the row space or more."""

_REFINEMENTS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Solution:
    """The minimum-norm solution of a layer's system.

    Parameters
    ----------
    values : array of shape (channels * pixels,)
        x.
    rank : int
        Numerical rank of U.
    determined : array of bool, same shape
        Which entries are the same in all solutions.
    smallest : float
        Smallest singular value that counts, relative to the largest (estimated, if the rank is full); 0 if none counts.
    dropped : float
        Largest singular value taken for zero, relative to the largest of all; 0 if there is none.
    misfit : float
        Residual norm of the system relative to the norm of its right side, before biases were subtracted.
    null : array of shape (channels * pixels, m) or None
        Orthonormal basis of the null space but for entries that no equation sees; None if it was not asked for, or is
        large.
    rows : array of shape (channels * pixels, r) or None
        Orthonormal basis of the row space, if that of the null space was asked for but is large; None if it is large too.
    """

    values: Float
    rank: int
    determined: NDArray[np.bool_]
    smallest: float
    dropped: float
    misfit: float
    null: Float | None = None
    rows: Float | None = None


def solve(system: System, *, null_space: bool = False) -> Solution:
    """Solve a layer's system in least squares.

    Parameters
    ----------
    system : System
        The system; K̃ is scaled here so that its largest entry is that of W.
    null_space : bool, optional
        Whether a basis of the null space is wanted, as far as it has at most `LARGEST_NULLITY` dimensions.

    Returns
    -------
    Solution
        Of minimum norm if the rank is deficient.
    """
    scaled = _balanced(system)
    seen = _seen(scaled)
    if not np.any(seen):
        nothing = np.zeros(system.unknowns)
        return Solution(nothing, 0, nothing > 0, 0.0, 0.0, _relative(scaled, nothing))
    if not np.all(seen):
        return _on_all_pixels(solve(_on_seen_pixels(scaled, seen), null_space=null_space), seen, system.channels)
    rows = len(scaled.outputs) + min(scaled.block.shape) * scaled.channels
    if scaled.unknowns <= min(rows, LARGEST_GRAM_MATRIX) and (found := _by_gram_matrix(scaled)) is not None:
        return found
    return _by_null_space(scaled, null_space)


def _seen(system: System) -> NDArray[np.bool_]:
    """Which pixels have an equation in any channel, (pixels,)."""
    columns = np.zeros(system.unknowns, dtype=np.bool_)
    columns[system.forward.indices[system.forward.data != 0]] = True
    by_channel = columns.reshape(system.channels, system.pixels)
    return np.asarray(np.any(by_channel, axis=0) | np.any(system.block, axis=0))


def _on_seen_pixels(system: System, seen: NDArray[np.bool_]) -> System:
    columns = np.flatnonzero(np.tile(seen, system.channels))
    return dataclasses.replace(
        system, forward=scipy.sparse.csr_array(system.forward[:, columns]), block=system.block[:, seen]
    )


def _on_all_pixels(solution: Solution, seen: NDArray[np.bool_], channels: int) -> Solution:
    everywhere = np.tile(seen, channels)
    values, determined = np.zeros(len(everywhere)), np.zeros(len(everywhere), dtype=np.bool_)
    values[everywhere], determined[everywhere] = solution.values, solution.determined

    def spread(basis: Float | None) -> Float | None:
        if basis is None:
            return None
        result = np.zeros((len(everywhere), basis.shape[1]))
        result[everywhere] = basis
        return result

    return dataclasses.replace(
        solution, values=values, determined=determined, null=spread(solution.null), rows=spread(solution.rows)
    )


def _balanced(system: System) -> System:
    largest = float(np.max(np.abs(system.block), initial=0.0))
    forward = float(np.max(np.abs(system.forward.data), initial=0.0))
    if largest == 0:
        return system
    # A power of two: balancing rounds nothing.
    power = math.frexp(forward if forward else 1.0)[1] - math.frexp(largest)[1]
    return dataclasses.replace(system, block=np.ldexp(system.block, power), gradients=np.ldexp(system.gradients, power))


def _misfit(system: System, values: Float) -> tuple[Float, Float]:
    """Residuals of both kinds of rows."""
    images = values.reshape(system.channels, system.pixels)
    return system.outputs - system.forward @ values, system.gradients - system.block @ images.T


def _transposed(system: System, outputs: Float, gradients: Float) -> Float:
    result: Float = system.forward.T @ outputs + (gradients.T @ system.block).ravel()
    return result


def _relative(system: System, values: Float) -> float:
    outputs, gradients = _misfit(system, values)
    size = math.hypot(float(np.linalg.norm(system.outputs)), float(np.linalg.norm(system.gradients)), system.size)
    found = math.hypot(float(np.linalg.norm(outputs)), float(np.linalg.norm(gradients)))
    return found / size if size else 0.0


def _by_gram_matrix(system: System) -> Solution | None:
    gram = _gram_matrix(system)
    # Power iteration needs the matrix, which the factorisation overwrites.
    largest = power_iteration(gram)
    try:
        factor = scipy.linalg.cho_factor(gram, lower=True, overwrite_a=True, check_finite=False)
    except np.linalg.LinAlgError:
        return None
    smallest = inverse_iteration(factor)
    if not smallest > WELL_CONDITIONED**2 * largest:
        return None
    values = np.zeros(system.unknowns)
    for _ in range(1 + _REFINEMENTS):
        right = _transposed(system, *_misfit(system, values))
        values = values + scipy.linalg.cho_solve(factor, right, check_finite=False)
    return Solution(
        values=values,
        rank=system.unknowns,
        determined=np.ones(system.unknowns, dtype=np.bool_),
        smallest=math.sqrt(smallest / largest),
        dropped=0.0,
        misfit=_relative(system, values),
        null=np.zeros((system.unknowns, 0)),
    )


def _gram_matrix(system: System) -> Float:
    forward = system.forward
    if forward.nnz > 0.05 * math.prod(forward.shape):
        dense = forward.toarray()
        gram: Float = dense.T @ dense
    else:
        gram = (forward.T @ forward).toarray()
    square = system.block.T @ system.block
    for start in range(0, system.unknowns, system.pixels):
        gram[start : start + system.pixels, start : start + system.pixels] += square
    return gram


def _start(size: int) -> Float:
    # Fixed, so that the same system always has the same answer.
    return np.random.default_rng(0).standard_normal(size)


def power_iteration(*factors: Float) -> float:
    """Estimate the largest eigenvalue of a product of matrices that is positive semidefinite.

    Parameters
    ----------
    *factors : array
        The matrix, or two whose product it is.

    Returns
    -------
    float
        The eigenvalue; of two factors its square root, the singular value of one of them if they are transposes.
    """
    vector, value = _start(factors[-1].shape[1]), 0.0
    for _ in range(20):
        vector = vector / np.linalg.norm(vector)
        for factor in reversed(factors):
            vector = factor @ vector
        value = float(np.linalg.norm(vector))
        if value == 0:
            break
    return float(value ** (1 / len(factors)))


def inverse_iteration(factor: tuple[Float, bool]) -> float:
    """Estimate the smallest eigenvalue of a positive definite matrix.

    Parameters
    ----------
    factor : tuple
        Its Cholesky factor, of ``scipy.linalg.cho_factor``.

    Returns
    -------
    float
        The eigenvalue; 0 if it is lost in rounding.
    """
    vector, value = _start(len(factor[0])), 0.0
    for _ in range(8):
        vector = scipy.linalg.cho_solve(factor, vector / np.linalg.norm(vector), check_finite=False)
        value = float(np.linalg.norm(vector))
        if not np.isfinite(value) or value == 0:
            return 0.0
    return 1 / value


def _by_null_space(system: System, wanted_basis: bool) -> Solution:
    channels, pixels = system.channels, system.pixels
    left, singular, right = _full_svd(system.block)
    large = int(np.count_nonzero(singular > DIVIDED_OUT * singular[0])) if len(singular) else 0
    rest = right[large:]
    divided = (left[:, :large].T @ system.gradients) / singular[:large, None]
    first = (divided.T @ right[:large]).ravel()
    # The rows of K on the other components: diagonal, one for each singular value that is left.
    floor = 8 * max(system.block.shape) * EPSILON * float(np.max(singular, initial=0.0))
    kept = singular[large:][singular[large:] > floor]
    zero = singular[large + len(kept) :]
    below = np.zeros((len(kept), len(rest)))
    np.fill_diagonal(below, kept)
    reduced = np.concatenate(
        [
            _restricted(system, rest).reshape(len(system.outputs), channels * len(rest)),
            np.kron(np.eye(channels), below),
        ]
    )
    wanted = np.concatenate(
        [
            system.outputs - system.forward @ first,
            (left[:, large : large + len(kept)].T @ system.gradients).T.ravel(),
        ]
    )
    solution, rows, extremes = _minimum_norm(reduced, wanted, float(np.max(singular, initial=0.0)))
    found = first + (solution.reshape(channels, len(rest)) @ rest).ravel()
    largest = max(float(np.max(singular, initial=0.0)), extremes[0])
    counted = [float(value) for value in singular[max(large - 1, 0) : large]] + [extremes[1]] * bool(len(rows))
    dropped = max(float(np.max(zero, initial=0.0)), extremes[2])
    return Solution(
        values=found,
        rank=channels * large + len(rows),
        determined=_distance(rows, rest, channels, pixels) < UNDETERMINED,
        smallest=min(counted) / largest if counted else 0.0,
        dropped=dropped / largest if largest else 0.0,
        misfit=_relative(system, found),
        null=(null := _null_basis(rows, rest, channels) if wanted_basis else None),
        rows=_row_basis(rows, right[:large], rest, channels) if wanted_basis and null is None else None,
    )


def _null_basis(rows: Float, rest: Float, channels: int) -> Float | None:
    """Complete the row space within the components that K̃ leaves."""
    size = channels * len(rest)
    if size - len(rows) > LARGEST_NULLITY or size > LARGEST_GRAM_MATRIX:
        return None
    complement = np.linalg.qr(rows.T, mode="complete")[0][:, len(rows) :]
    return np.concatenate([rest.T @ part for part in complement.reshape(channels, len(rest), -1)])


def _row_basis(rows: Float, divided: Float, rest: Float, channels: int) -> Float | None:
    """Put the components that K̃ determines and the others' row space together."""
    size, pixels = channels * len(divided) + len(rows), rest.shape[1]
    if size > LARGEST_GRAM_MATRIX or size * channels * pixels > LARGEST_BASIS:
        return None
    others = (rows.reshape(len(rows), channels, len(rest)) @ rest).reshape(len(rows), channels * pixels)
    return np.concatenate([np.kron(np.eye(channels), divided), others]).T


def _full_svd(block: Float) -> tuple[Float, Float, Float]:
    """Singular value decomposition with all right singular vectors, zero rows compressed first."""
    if len(block) > block.shape[1]:
        orthogonal, triangle = np.linalg.qr(block)
        left, singular, right = np.linalg.svd(triangle)
        return orthogonal @ left, singular, right
    if not block.size:
        return np.zeros((0, 0)), np.zeros(0), np.eye(block.shape[1])
    left, singular, right = np.linalg.svd(block, full_matrices=True)
    return left, singular, right


def _restricted(system: System, rest: Float) -> Float:
    """W on the components that K̃ leaves, (r, channels, components)."""
    parts = [
        system.forward[:, start : start + system.pixels] @ rest.T for start in range(0, system.unknowns, system.pixels)
    ]
    return np.stack(parts, axis=1)


def _minimum_norm(matrix: Float, right: Float, scale: float) -> tuple[Float, Float, tuple[float, float, float]]:
    """Minimum-norm least squares by a complete orthogonal decomposition.

    Gives the solution, an orthonormal basis of the row space, and the largest, the smallest counted and the largest
    dropped singular value (estimates; the last two 0 if there is none).
    """
    unknowns = matrix.shape[1]
    if not matrix.size:
        return np.zeros(unknowns), np.zeros((0, unknowns)), (0.0, 0.0, 0.0)
    # Columns in order of what they add: the triangle's diagonal then shows the rank.
    orthogonal, triangle, order = scipy.linalg.qr(matrix, mode="economic", pivoting=True, check_finite=False)
    turned = orthogonal.T @ right
    diagonal = np.abs(np.diag(triangle))
    tolerance = 8 * max(matrix.shape) * EPSILON * max(scale, float(diagonal[0]))
    rank = int(np.count_nonzero(diagonal > tolerance))
    if not rank:
        return np.zeros(unknowns), np.zeros((0, unknowns)), (0.0, 0.0, float(diagonal[0]))
    basis, lower = np.linalg.qr(triangle[:rank].T)
    rows = np.empty((rank, unknowns))
    rows[:, order] = basis.T
    solution = rows.T @ scipy.linalg.solve_triangular(lower, turned[:rank], trans="T", check_finite=False)
    dropped = float(np.linalg.norm(triangle[rank:]))
    return solution, rows, (power_iteration(lower.T, lower), _smallest_of_triangle(lower), dropped)


def _smallest_of_triangle(triangle: Float) -> float:
    vector, value = _start(len(triangle)), 0.0
    for _ in range(8):
        half = scipy.linalg.solve_triangular(triangle, vector / np.linalg.norm(vector), trans="T", check_finite=False)
        vector = scipy.linalg.solve_triangular(triangle, half, check_finite=False)
        value = float(np.linalg.norm(vector))
        if not np.isfinite(value) or value == 0:
            return 0.0
    return 1 / math.sqrt(value)


def _distance(rows: Float, rest: Float, channels: int, pixels: int) -> Float:
    """Distance of every unit vector from the row space of the system, (channels * pixels,)."""
    if not len(rest):
        return np.zeros(channels * pixels)
    # Within the components left by K̃, the unit vector of a pixel is a column of `rest`.
    whole = np.tile(np.sum(rest * rest, axis=0), channels)
    inside = np.zeros(channels * pixels)
    for start in range(0, len(rows), 256):
        part = rows[start : start + 256].reshape(-1, channels, len(rest)) @ rest
        inside += np.sum(part.reshape(len(part), -1) ** 2, axis=0)
    return np.sqrt(np.maximum(whole - inside, 0.0))
