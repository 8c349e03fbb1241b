"""On which side of its hyperplane each recovered point lies, what decides it, and what completes the explanation if nothing.

A point x̂ and its antipode -x̂ make g jump in the same way across the same hyperplane; they differ by a constant. Knowing
axes ±e_k and coefficients c_k, all that is left to know is Σ_j α_j x_j = Σ_k s_k c_k e_k: d equations for the signs s_k.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.errors import InputError

_SPLITTING_STEPS = 4000
_LARGEST_LINEAR_PROGRAM = 400_000  # entries of its dense matrix: some seconds


@dataclass(frozen=True, eq=False)
class Orientation:
    """Oriented atoms, and how their orientation was found.

    Attributes
    ----------
    directions : ndarray of shape (n, dimension)
        Unit vectors.
    coefficients : ndarray of shape (n,)
        α_j‖x_j‖.
    sources : ndarray of int, shape (n,)
        The axis of each atom; one that occurs twice is that of two antipodal points.
    constant : ndarray of shape (dimension,)
        g minus the map of the atoms: zero if the orientation is determined.
    how : str
        What determined it, or ``"open"``.
    """

    directions: Float
    coefficients: Float
    sources: np.ndarray
    constant: Float
    how: str


def canonical_signs(axes: Float) -> Float:
    """Orient axes so that their entry of largest magnitude is positive; right for all nonnegative points.

    Parameters
    ----------
    axes : ndarray of shape (n, dimension)
        Nonzero vectors.

    Returns
    -------
    ndarray of shape (n,)
        ±1, to multiply the axes with.
    """
    largest = np.abs(axes).argmax(axis=1)
    return np.where(axes[np.arange(len(axes)), largest] < 0, -1.0, 1.0)


def orient(axes: Float, coefficients: Float, total: Float, *, tolerance: float) -> Orientation:
    """Choose the side of every point from Σ_j α_j x_j.

    Parameters
    ----------
    axes : ndarray of shape (n, dimension)
        Unit vectors, known up to sign.
    coefficients : ndarray of shape (n,)
        Their coefficients c_k, signs included.
    total : ndarray of shape (dimension,)
        Σ_j α_j x_j.
    tolerance : float
        The largest distance from `total` that rounding explains.

    Returns
    -------
    Orientation
        Where nothing decides, the orientation of `canonical_signs`, with a constant that is not zero.

    Notes
    -----
    Tried in this order: (1) the canonical orientation; if it explains `total`, nonnegative points are as found, and another
    choice of signs explains it too only on a null set of coefficients. (2) Independent axes: the linear system has one
    solution, and a solution other than ±1 is two antipodal points on one axis, whose coefficients c(1 ± s)/2 it gives.
    (3) Fewer than two axes per dimension: the box -1 ≤ s ≤ 1 meets the solutions of the system in a single point for
    almost all axes in general position [1]_, which Douglas-Rachford splitting finds [2]_, or, near 2d, a linear program.
    (4) Otherwise the orientation is open.

    References
    ----------
    .. [1] D. L. Donoho, J. Tanner, Counting the faces of randomly-projected hypercubes and orthants, with applications,
       Discrete and Computational Geometry 43 (2010).
    .. [2] H. H. Bauschke, P. L. Combettes, Convex Analysis and Monotone Operator Theory in Hilbert Spaces, Springer 2011.
    """
    count, dimension = axes.shape
    vectors = axes * coefficients[:, None]
    canonical = canonical_signs(axes)
    every = np.arange(count)

    def missing(signs: Float) -> Float:
        constant: Float = (total - signs @ vectors) / 2
        return constant

    def oriented(signs: Float, how: str) -> Orientation:
        return Orientation(axes * signs[:, None], coefficients, every, np.zeros(dimension), how)

    if not count:  # all there may be are antipodal points whose jumps cancel
        constant: Float = total / 2
        if np.linalg.norm(constant) > tolerance:
            return Orientation(axes, coefficients, every, constant, "open")
        return Orientation(axes, coefficients, every, np.zeros(dimension), "determined by the absence of points")
    if np.linalg.norm(missing(canonical)) <= tolerance:
        return oriented(canonical, "determined by the sum of the jumps: canonical signs reproduce it")
    if count <= dimension:
        found = _from_independence(axes, coefficients, total, tolerance)
        if found is not None:
            return found
    if dimension < count < 2 * dimension:
        signs = _in_the_box(vectors, total, tolerance)
        if signs is None and count * dimension <= _LARGEST_LINEAR_PROGRAM:
            signs = _by_linear_program(vectors, total)
        if signs is not None and np.linalg.norm(missing(signs)) <= tolerance:
            return oriented(signs, "determined by box constraints")
    return Orientation(axes * canonical[:, None], coefficients, every, missing(canonical), "open")


def _from_independence(axes: Float, coefficients: Float, total: Float, tolerance: float) -> Orientation | None:
    """Solve Σ_k s_k c_k e_k = total in independent axes, and split axes with |s_k| ≠ 1 into two antipodal points."""
    left, values, right = np.linalg.svd(axes, full_matrices=False)
    if values[-1] <= 64 * EPSILON * values[0]:
        return None
    weights = (right @ total / values) @ left.T  # s_k c_k, so that small coefficients do not spoil the conditioning
    if np.linalg.norm(weights @ axes - total) > tolerance:
        return None
    # The error of the weights is that of the total over the least singular value.
    error = tolerance / values[-1]
    single = np.abs(np.abs(weights) - np.abs(coefficients)) <= error
    signs = np.where(weights * coefficients < 0, -1.0, 1.0)
    split = np.flatnonzero(~single)
    chosen = axes * signs[:, None]
    strengths = coefficients.copy()
    strengths[split] = (coefficients[split] + signs[split] * weights[split]) / 2
    directions = np.concatenate([chosen, -chosen[split]])
    strengths = np.concatenate([strengths, (coefficients[split] - signs[split] * weights[split]) / 2])
    sources = np.concatenate([np.arange(len(axes)), split])
    how = "determined by linear independence"
    return Orientation(directions, strengths, sources, np.zeros(axes.shape[1]), how)


def _in_the_box(vectors: Float, total: Float, tolerance: float) -> Float | None:
    """Douglas-Rachford splitting for the box and the solutions of Σ_k s_k y_k = total, stopped when the signs solve it."""
    orthonormal, triangle = np.linalg.qr(vectors)
    if np.abs(np.diagonal(triangle)).min() <= 64 * EPSILON * np.abs(triangle).max():
        return None
    wanted = np.linalg.solve(triangle.T, total)
    point = orthonormal @ wanted
    for step in range(_SPLITTING_STEPS):
        solution = point - orthonormal @ (orthonormal.T @ point - wanted)
        signs = np.where(solution < 0, -1.0, 1.0)
        if step % 10 == 0 and np.linalg.norm(total - signs @ vectors) <= 2 * tolerance:
            return signs
        point += np.clip(2 * solution - point, -1.0, 1.0) - solution
    return None


def _by_linear_program(vectors: Float, total: Float) -> Float | None:
    import scipy.optimize

    scale = np.linalg.norm(vectors, axis=0).max()
    answer = scipy.optimize.linprog(
        np.zeros(len(vectors)), A_eq=vectors.T / scale, b_eq=total / scale, bounds=(-1.0, 1.0), method="highs"
    )
    if not answer.success:
        return None
    return np.where(np.asarray(answer.x) < 0, -1.0, 1.0)


def orient_by_bias(axes: Float, coefficients: Float, total: Float, *, bias: float, tolerance: float) -> Orientation:
    """Choose the side of every point from the sign of its last coordinate.

    Parameters
    ----------
    axes : ndarray of shape (n, dimension)
        Unit vectors, known up to sign.
    coefficients : ndarray of shape (n,)
        Their coefficients.
    total : ndarray of shape (dimension,)
        Σ_j α_j x_j.
    bias : float
        The last coordinate of every input.
    tolerance : float
        The largest distance from `total` that rounding explains.

    Returns
    -------
    Orientation
        With directions still of norm 1.

    Raises
    ------
    InputError
        If a last coordinate vanishes, or if the points so oriented do not add up to `total`.
    """
    last = axes[:, -1] * np.sign(bias)
    if (np.abs(coefficients * last) <= EPSILON * np.abs(coefficients)).any():
        raise InputError(
            f"bias: found a point whose last coordinate is zero; points whose last coordinate is {bias:g} are accepted"
        )
    signs = np.where(last < 0, -1.0, 1.0)
    directions = axes * signs[:, None]
    difference = float(np.linalg.norm(total - coefficients @ directions))
    if difference > 2 * tolerance:
        raise InputError(
            f"bias: found points that miss Σ α_j x_j by {difference:.1e}, so some last coordinates have another sign; "
            f"points whose last coordinate is {bias:g} are accepted"
        )
    how = "determined by bias"
    return Orientation(directions, coefficients, np.arange(len(axes)), np.zeros(axes.shape[1]), how)
