"""Points with small coefficients, beyond the digits that the oracle's rounding leaves of their jumps.

A jump is the difference of two sums of all points, so its error is that of these sums: small against the largest points, not
against itself. What rounding does not blur is *where* g jumps. Either many pairs of neurons left and right of the hyperplane
are averaged, or neurons w = q + Σ_j s_j p_j with a dual basis p_j of the points' directions and q from a basis of R^d are
bisected in all s_j at once: one evaluation tells for every point on which side of its hyperplane w lies.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.recovery.kernel_regime.arrangement_walk_quiet_neurons import jumps_from_silence, silent_neuron

_PAIRS = 8
_MOST_PAIRS = 1 << 16
_STEP = 1e-9  # beside a hyperplane; of N others about N times that many lie between
_BRACKET = 6.0  # standard deviations of one coordinate of the error
_LARGEST_CONDITION = 1e6
_FINEST = 8.0 * EPSILON  # where g jumps moves by the rounding of w·x_j
_ROUNDS = 3


def jump_noise(
    oracle: Callable[[Float], Float],
    directions: Float,
    coefficients: Float,
    rng: np.random.Generator,
    *,
    tolerance: float = 0.0,
) -> float:
    """Measure the error of a jump by taking some of the larger ones again, elsewhere on their hyperplanes.

    A value is rounded like the sum of the points that it sees. So each jump is taken at two opposite neurons: one of them
    sees the largest of the other points.

    Parameters
    ----------
    oracle : callable
        The map g.
    directions : ndarray of shape (n, dimension)
        Unit vectors.
    coefficients : ndarray of shape (n,)
        Their coefficients; the jumps are their products.
    rng : numpy.random.Generator
        Source of randomness.
    tolerance : float, optional
        Differences up to it are rounding, whatever the others are.

    Returns
    -------
    float
        The Euclidean distance of both values of a jump, as a root mean square over these points.
    """
    larger = np.argsort(-np.abs(coefficients), kind="stable")[: max(1, (len(coefficients) + 1) // 2)]
    chosen = rng.choice(larger, size=min(_PAIRS // 2, len(larger)), replace=False)
    there = _on_hyperplanes(directions[chosen], rng)
    chosen = np.concatenate([chosen, chosen])
    jumps = _jumps_at(oracle, np.concatenate([there, -there]), directions[chosen], _STEP)
    differences = np.linalg.norm(jumps - directions[chosen] * coefficients[chosen, None], axis=1)
    # else another hyperplane lay between
    alone = differences[differences <= max(32.0 * float(np.median(differences)), tolerance)]
    floor = EPSILON * np.median(np.abs(coefficients[chosen]))
    return float(max(np.sqrt(np.mean(alone**2)), floor))


def _jumps_across(
    oracle: Callable[[Float], Float], directions: Float, rng: np.random.Generator, step: float = _STEP
) -> Float:
    """The jump across each hyperplane, at a random place of it."""
    return _jumps_at(oracle, _on_hyperplanes(directions, rng), directions, step)


def _on_hyperplanes(directions: Float, rng: np.random.Generator) -> Float:
    there = rng.standard_normal(directions.shape)
    there /= np.linalg.norm(there, axis=1, keepdims=True)
    there -= np.einsum("nd,nd->n", there, directions)[:, None] * directions
    return there


def _jumps_at(oracle: Callable[[Float], Float], there: Float, directions: Float, step: float) -> Float:
    jumps: Float = oracle(there + step * directions) - oracle(there - step * directions)
    return jumps


def refined(
    oracle: Callable[[Float], Float],
    directions: Float,
    coefficients: Float,
    *,
    noise: float,
    wanted: Float,
    rng: np.random.Generator,
    sides: Float | None = None,
) -> tuple[Float, Float, Float]:
    """Bring the directions of points to a wanted accuracy.

    Parameters
    ----------
    oracle : callable
        The map g.
    directions : ndarray of shape (n, dimension)
        Unit vectors of all points.
    coefficients : ndarray of shape (n,)
        Their coefficients.
    noise : float
        The Euclidean error of one jump, as `jump_noise` measures it.
    wanted : ndarray of shape (n,)
        The error wanted of each direction.
    rng : numpy.random.Generator
        Source of randomness.
    sides : ndarray of shape (n,), optional
        ±1 for each direction, on which side of its hyperplane the point lies, if that is known.

    Returns
    -------
    directions : ndarray of shape (n, dimension)
        The refined ones.
    coefficients : ndarray of shape (n,)
        Their coefficients.
    errors : ndarray of shape (n,)
        Estimates of the errors of the directions.

    Notes
    -----
    Where the sides are known and neurons see no other point, two evaluations give a jump to the last digit. With K other
    points to refine in dimension d, averaging takes 2 (error/wanted)² evaluations for each, bisection d(1 + bits) for every
    d/2 of them together, and a few for the coefficients; the cheaper one is taken. Nothing is done where the errors are so
    large that other hyperplanes are likely to lie within them: the estimates say so.
    """
    directions, coefficients = directions.copy(), coefficients.copy()
    wanted = np.maximum(wanted, _FINEST)
    count, dimension = directions.shape
    errors = 2.0 * noise / np.abs(coefficients) + EPSILON  # twice: jumps differ in how they are rounded
    # Brackets are about 6 errors / √d wide, and w·u_k has the density √d / √(2π) at 0: other hyperplanes are unlikely inside.
    legible = errors * count <= 1e-2
    chosen = np.flatnonzero((errors > wanted) & legible)
    if not len(chosen):
        return directions, coefficients, errors
    if sides is not None:
        points = directions * sides[:, None]
        neuron = silent_neuron(points)
        if neuron is not None:
            heard, jumps = jumps_from_silence(oracle, points, chosen, neuron)
            norms = np.linalg.norm(jumps, axis=1)
            coefficients[heard] = np.sign(coefficients[heard]) * norms
            directions[heard] = jumps * (sides[heard] / coefficients[heard])[:, None]
            errors[heard] = 4.0 * EPSILON
            chosen = np.setdiff1d(chosen, heard)
            if not len(chosen):
                return directions, coefficients, errors
    pairs = np.ceil((errors[chosen] / wanted[chosen]) ** 2)
    bits = _bits(errors[chosen], wanted[chosen])
    batches = -(-len(chosen) // max(1, dimension // 2))
    bisecting = 2 * pairs.sum() > batches * dimension * (bits + 1)
    if bisecting:
        left = chosen
        for _ in range(_ROUNDS):  # a second one where squares of the errors are left
            for part in np.array_split(rng.permutation(left), -(-len(left) // max(1, dimension // 2))):
                _bisect(oracle, directions, coefficients, errors, wanted, part, rng)
            left = left[errors[left] > 2 * wanted[left]]
            if not len(left):
                break
        # The coefficient is the jump's component along the direction, which has 1/√d of its error; the estimates above allow
        # for twice the error, and averages of jumps reached half of what they were taken for.
        pairs = np.minimum(np.floor(pairs / (8 * dimension)), 4 * dimension)
    for j, number in zip(chosen, pairs.astype(np.int64), strict=True):
        jump = _averaged(oracle, directions[j], coefficients[j], min(int(number), _MOST_PAIRS), noise, rng)
        if bisecting:
            coefficients[j] = jump @ directions[j]
        else:
            coefficients[j] = float(np.linalg.norm(jump)) * np.sign(coefficients[j])
            directions[j] = jump / coefficients[j]
            errors[j] = max(errors[j] / np.sqrt(number + 1), _FINEST)
    return directions, coefficients, errors


def _bits(errors: Float, wanted: Float) -> int:
    # A bracket of ±6 σ per coordinate, halved `bits` times, leaves uniform errors of 12 σ / (√12 2^bits).
    return max(1, int(np.ceil(np.log2(_BRACKET / np.sqrt(3.0) * np.max(errors / wanted)))))


def _averaged(
    oracle: Callable[[Float], Float],
    direction: Float,
    coefficient: float,
    number: int,
    noise: float,
    rng: np.random.Generator,
) -> Float:
    jump = coefficient * direction
    step = max(
        _STEP, 64.0 * noise / abs(coefficient) / np.sqrt(len(direction))
    )  # outside of the error of the direction
    total, taken, left = jump.copy(), 1, number
    while left:
        piece = min(left, 4096)
        jumps = _jumps_across(oracle, np.broadcast_to(direction, (piece, len(direction))), rng, step)
        alone = np.linalg.norm(jumps - jump, axis=1) <= 32.0 * noise  # else another hyperplane lies between
        total += jumps[alone].sum(axis=0)
        taken += int(alone.sum())
        left -= piece
    mean: Float = total / taken
    return mean


def _bisect(
    oracle: Callable[[Float], Float],
    directions: Float,
    coefficients: Float,
    errors: Float,
    wanted: Float,
    part: np.ndarray,
    rng: np.random.Generator,
) -> None:
    """Measure q·u_j for all points u_j of a part and a basis of directions q, by bisection, and update in place."""
    known = directions[part]
    left, values, right = np.linalg.svd(known, full_matrices=True)
    size, dimension = known.shape
    if values[-1] * _LARGEST_CONDITION < values[0]:
        if size > 1:
            for half in np.array_split(part, 2):
                _bisect(oracle, directions, coefficients, errors, wanted, half, rng)
        return
    duals = (left / values @ right[:size]).T  # columns p_j with p_j·u_i = 1 if i = j, else 0
    lengths = np.linalg.norm(duals, axis=0)
    # The complement of the span, rotated: its axes may be special, for instance entries in which all points are zero.
    rotation = np.linalg.qr(rng.standard_normal((dimension - size, dimension - size)))[0]
    basis = np.concatenate([rotation @ right[size:], (duals / lengths).T])
    own = np.zeros((dimension, size), dtype=np.bool_)  # where a direction q is the point's own dual
    own[dimension - size :] = np.eye(size, dtype=np.bool_)

    # Neuron (q, s) sees the jumps of the points with u_j·w < 0, from an all-on neuron on.
    jumps = known * coefficients[part, None]
    decoder = np.linalg.pinv(jumps)
    reach = _BRACKET * errors[part] / np.sqrt(dimension)
    low, high = np.tile(-reach, (dimension, 1)), np.tile(reach, (dimension, 1))
    low[own] = high[own] = 0.0
    on = oracle(basis + high @ duals.T)

    # Errors along the duals come back multiplied by their lengths, so these directions take some halvings more.
    halvings = np.full(dimension, _bits(errors[part], wanted[part]))
    halvings[dimension - size :] += int(np.ceil(np.log2(np.linalg.norm(known.T * lengths, 2))))
    valid = np.ones(dimension, dtype=np.bool_)
    for halving in range(halvings.max()):
        rows = halvings > halving
        middle = (low[rows] + high[rows]) / 2
        shares = (on[rows] - oracle(basis[rows] + middle @ duals.T)) @ decoder
        legible = (np.abs(shares - np.round(shares)) < 0.1).all(axis=1)  # else another hyperplane lay between
        valid[rows] &= legible
        off = np.round(shares) == 1.0
        low[rows], high[rows] = np.where(off, middle, low[rows]), np.where(off, high[rows], middle)
    # A bracket that kept an end did not hold the hyperplane.
    measured = valid[:, None] & (np.abs(low + high) < 2 * reach - 1.5 * (high - low)) | own
    found = np.where(measured & ~own, -(low + high) / 2, 0.0)  # q·(u_j - its estimate)

    components = found[dimension - size :] * lengths[:, None]  # along the directions themselves, (i, j)
    gram = known @ known.T
    np.fill_diagonal(components, 0.0)
    np.fill_diagonal(components, -np.einsum("ij,ij->j", components, gram))  # corrections are orthogonal to u_j
    corrections = found[: dimension - size].T @ basis[: dimension - size] + components.T @ known
    moved = known + corrections
    directions[part] = moved / np.linalg.norm(moved, axis=1, keepdims=True)
    left_over = errors[part] * _BRACKET / np.sqrt(3.0) / 2.0 ** _bits(errors[part], wanted[part])
    missing = np.sqrt((~measured).mean(axis=0))
    # Neurons hold s_i times the dual vectors, which are dual to the estimates and not to the points.
    squares = np.linalg.norm(errors[part] * lengths) * errors[part]
    errors[part] = np.linalg.norm([left_over, missing * errors[part], squares, np.full(size, _FINEST / 2)], axis=0)
