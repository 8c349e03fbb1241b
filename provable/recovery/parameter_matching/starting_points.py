r"""Candidates for the samples of one hidden layer, where the change of parameters is only nearly a sum of tangents.

The first layer's change still has the samples' span as its row space (at every step its gradient is a sum of δ xᵀ), and its
column space still nearly holds :math:`a \circ 1[W x_j + b > 0]`. Projecting back and forth
(`provable.recovery.parameter_matching.alternating_projections`) then comes to rest near the samples' activation patterns,
many starts at the same one, and the point of the row space that separates a pattern's neurons with the largest margin is
near the sample.
"""

from __future__ import annotations

import numpy as np
import scipy.linalg
from numpy.typing import NDArray

Float = NDArray[np.float64]
Bools = NDArray[np.bool_]

STARTS = 2048
ROUNDS = 60

SAME = 0.03
"""Patterns that differ in this share of the neurons at most count as one; those of different digits differ in more."""

_MARGIN_STEPS = 40


def resting_clusters(basis: Float, starts: Bools) -> Bools:
    """Project patterns back and forth, and give what they lead to, the most frequent first.

    Parameters
    ----------
    basis : array of shape (m, n)
        Orthonormal columns: the column space divided by the output weights.
    starts : array of bool of shape (m, c)
        Activation patterns.

    Returns
    -------
    array of bool of shape (m, k)
        One pattern for every cluster, the one nearest to the space.
    """
    moving = starts
    for _ in range(ROUNDS):
        rounded = basis @ (basis.T @ moving) > 0.5
        if np.array_equal(rounded, moving):
            break
        moving = rounded
    moving = moving[:, np.any(moving, axis=0)]
    order = np.argsort(np.linalg.norm(basis @ (basis.T @ moving) - moving, axis=0))
    kept: list[int] = []
    counts: list[int] = []
    for column in order:
        if kept:
            differing = np.mean(moving[:, kept] != moving[:, [column]], axis=0)
            nearest = int(np.argmin(differing))
            if differing[nearest] <= SAME:
                counts[nearest] += 1
                continue
        kept.append(int(column))
        counts.append(1)
    frequent = np.argsort(-np.array(counts, dtype=np.int64), kind="stable")
    result: Bools = moving[:, np.array(kept, dtype=np.int64)[frequent]]
    return result


def separating_point(weight: Float, active: Bools) -> Float:
    r"""Separate the active neurons from the others: minimise :math:`\sum_k \max(0, 1 \mp w_k \cdot p)^2` by Newton's method.

    Parameters
    ----------
    weight : array of shape (m, r)
        The w_k.
    active : array of bool of shape (m,)
        Which of them shall have a positive product.

    Returns
    -------
    array of shape (r,)
        p, in a direction that says as little as possible beyond the pattern.
    """
    signed = np.where(active, 1.0, -1.0)[:, None] * weight
    # A little ridge, for patterns that leave directions open.
    ridge = 1e-4 * np.eye(weight.shape[1])

    def objective(at: Float) -> float:
        short = np.maximum(0.0, 1.0 - signed @ at)
        return float(short @ short + 1e-4 * at @ at)

    point = np.zeros(weight.shape[1])
    value = objective(point)
    for _ in range(_MARGIN_STEPS):
        inside = signed[signed @ point < 1]
        target = scipy.linalg.solve(inside.T @ inside + ridge, inside.sum(axis=0), assume_a="pos")
        # Convex and piecewise quadratic: some part of the step to the piece's own minimum goes down, or there is none.
        trials = [point + 0.5**halving * (target - point) for halving in range(12)]
        values = [objective(trial) for trial in trials]
        best = int(np.argmin(values))
        if not values[best] < value * (1 - 1e-12):
            break
        point, value = trials[best], values[best]
    return np.asarray(point)


def starting_points(
    gradient: Float, weight: Float, outer: Float, count: int, rng: np.random.Generator, *, has_bias: bool
) -> Float:
    """Find candidates.

    Parameters
    ----------
    gradient : array of shape (m, k)
        Change of the first layer's weight, with that of the bias as last column if there is one.
    weight : array of shape (m, k)
        The weight, with the bias as last column.
    outer : array of shape (m,)
        Output weights a.
    count : int
        Number of samples N.
    rng : numpy.random.Generator
        Draws the starts.
    has_bias : bool
        Whether there is a last column for the bias.

    Returns
    -------
    array of shape (c, d)
        At most 2N candidates, the best supported first; those with a bias have their norms, others norm 1 and either
        orientation that the pattern has.
    """
    heavy = np.abs(outer) >= 0.3 * np.median(np.abs(outer))
    columns, singular, rows = np.linalg.svd(gradient[heavy] / outer[heavy, None], full_matrices=False)
    rank = min(count, int(np.count_nonzero(singular > 1e-9 * singular[0])))
    rows = np.linalg.svd(gradient, full_matrices=False)[2][:rank]
    inside = weight[heavy] @ rows.T
    patterns = resting_clusters(columns[:, :rank], (rng.standard_normal((STARTS, rank)) @ inside.T > 0).T)
    found = []
    for pattern in patterns[:, : 2 * count].T:
        point = rows.T @ separating_point(inside, pattern)
        length = point[-1] if has_bias else np.linalg.norm(point)
        # A sample's last coordinate is 1, so that its pattern is separated by a point with a positive one.
        if length > 1e-6 * np.linalg.norm(point):
            found.append(point[:-1] / length if has_bias else point / length)
    return np.array(found).reshape(len(found), gradient.shape[1] - has_bias)
