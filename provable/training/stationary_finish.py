r"""From the end of training to a stationary point at rounding level: kinks, support vectors, Clarke weights.

Notes
-----
Descent ends in a zigzag across kinks. The share of the time that a unit spends on either side of its kink estimates the
Clarke weight there, because the steps cancel in the mean. Newton's method then solves for the point with these kinks as
equality constraints. The multipliers τ that belong to it need not be unique: where kinks of a second layer depend on each
other they are a flat. Of all of them those next to descent's estimate are taken, by least squares in the Clarke weights
:math:`s = D + \tau/\delta`. Kinks with s outside its interval are dropped, pairs on the wrong side of theirs become kinks,
support vectors with λ < 0 are dropped, samples with too small a margin become support vectors, and it begins again.

A point is accepted if its residual with its own Clarke weights, its multipliers and its margins pass; otherwise the reason is
said. Nothing here proves that it is a minimum.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np

from provable.arithmetic import Float
from provable.training.fixed_pattern import FixedPattern, Pattern
from provable.training.stationary_equations import (
    Candidate,
    Evaluation,
    Mask,
    Problem,
    coefficients,
    evaluate,
    newton,
    spread,
)

MOST_ROUNDS = 12
"""Choices of kinks and support vectors that are tried."""

MOST_STALLS = 2
"""How many of them may leave Newton's method stuck at a residual above `STALLED`."""

STALLED = 1e-6
"""Relative residual above which Newton's method counts as stuck."""

SHARES = (0.02, 0.1, 0.25)
"""A unit that spends at least this share of the time on either side of zero is on a kink; if one fails the next is tried."""

FAR = 0.1
"""A failure with a larger residual is not due to a few kinks, and is the last."""

DEAD = 1e-9
"""Hidden units of this size relative to the largest of their layer are set to zero."""

ROUNDING = 1e-11
"""Pre-activations relative to the largest of their layer, and margins and Clarke weights, may be off by this."""

ACCEPTED = 1e-10
"""The largest relative residual of a finished point."""


@dataclass(frozen=True, eq=False)
class Finish:
    """A stationary point, or the reason why there is none.

    Attributes
    ----------
    theta : ndarray of shape (P,)
        θ.
    coefficients : ndarray of shape (n, C)
        c.
    slopes : dict of int to ndarray of shape (n, units)
        Clarke weights: a slope for every unit of a piecewise linear layer.
    residual : float
        ‖θ - Σ c_i ∇f_i‖/‖θ‖ with these slopes.
    reason : str
        Empty if everything holds.
    """

    theta: Float
    coefficients: Float
    slopes: Pattern
    residual: float
    reason: str


def finish(problem: Problem, theta: Float, slopes: Pattern, multipliers: Float) -> Finish:
    """Finish training by Newton's method.

    Parameters
    ----------
    problem : Problem
        What is to be stationary.
    theta : ndarray of shape (P,)
        Where descent ended; for the max-margin problem scaled to the smallest margin 1.
    slopes : dict of int to ndarray of shape (n, units)
        Mean slopes of descent's last steps.
    multipliers : ndarray of shape (n,)
        Estimates of λ; not used with weight decay.

    Returns
    -------
    Finish
        The point; `reason` says if it did not pass.
    """
    results = []
    for share in SHARES:
        results.append(_finish(problem, theta, slopes, multipliers, share))
        if not results[-1].reason:
            return results[-1]
        if results[-1].residual > FAR:
            break
    return min(results, key=_residual)


def _residual(result: Finish) -> float:
    return result.residual


def _finish(problem: Problem, theta: Float, slopes: Pattern, multipliers: Float, share: float) -> Finish:
    candidate = _first(problem, theta, slopes, multipliers, share)
    estimate, result, stalls = slopes, None, 0
    for _ in range(MOST_ROUNDS):
        candidate = _without_dead_units(problem.chain, newton(problem, candidate))
        candidate = newton(problem, candidate)  # for what the dead ones have left
        candidate, estimate = _nearest_multipliers(problem, candidate, estimate)
        there = evaluate(problem, candidate)
        result = _judge(problem, candidate, estimate)
        if not result.reason:
            return result
        stalls += bool(np.linalg.norm(there.equations) > STALLED * np.linalg.norm(candidate.theta))
        changed = _corrected(problem, candidate, estimate, there)
        if changed is None or stalls > MOST_STALLS:
            return result
        candidate = changed
    assert result is not None
    return result


def _first(problem: Problem, theta: Float, slopes: Pattern, multipliers: Float, share: float) -> Candidate:
    chain = problem.chain
    pattern, kinks, taus = {}, {}, {}
    for index, mean in slopes.items():
        left, right = chain.slopes(index)
        position = (mean - left) / (right - left) if right != left else np.zeros_like(mean)
        pattern[index] = np.where(position > 0.5, right, left)
        kinks[index] = (position > share) & (position < 1 - share)
        taus[index] = np.zeros_like(mean)
    support = np.zeros(len(problem.labels), dtype=np.bool_)
    if not problem.weight_decay:
        support = multipliers > 1e-3 * multipliers.max()
        multipliers = np.where(support, multipliers, 0.0)
    back = chain.forward(theta, slopes).backward(
        coefficients(problem, chain.forward(theta, pattern).outputs, multipliers), {}
    )
    for index, mean in slopes.items():
        taus[index] = np.where(kinks[index], (mean - pattern[index]) * back.passed[index], 0.0)
    return Candidate(theta, multipliers, support, pattern, kinks, taus)


def unit_sizes(chain: FixedPattern, theta: Float) -> list[tuple[list[Float], Float]]:
    """Incoming and outgoing parameters of every hidden layer, and the norms of the incoming ones.

    Parameters
    ----------
    chain : FixedPattern
        The network.
    theta : ndarray of shape (P,)
        Its parameters; the arrays returned are views of them.

    Returns
    -------
    list of (list of ndarray, ndarray of shape (units,))
        For every hidden layer, arrays whose first axis runs over its units, and √(‖w_k‖² + b_k²).
    """
    arrays = [theta[part].reshape(shape) for part, shape in chain.views]
    weights = [position for position, array in enumerate(arrays) if array.ndim == 2]
    result = []
    for position, behind in itertools.pairwise(weights):
        incoming = arrays[position:behind]
        squares = sum(np.square(array.reshape(len(array), -1)).sum(axis=1) for array in incoming)
        result.append(([*incoming, arrays[behind].T], np.sqrt(squares)))
    return result


def _without_dead_units(chain: FixedPattern, candidate: Candidate) -> Candidate:
    if not chain.kinked:
        return candidate
    theta = candidate.theta.copy()
    kinks, taus, pattern = dict(candidate.kinks), dict(candidate.kink_multipliers), dict(candidate.pattern)
    for index, (arrays, norms) in zip(chain.kinked, unit_sizes(chain, theta), strict=False):
        dead = norms <= DEAD * norms.max()
        if not dead.any():
            continue
        for array in arrays:
            array[dead] = 0.0
        kinks[index] = kinks[index] & ~dead
        taus[index] = np.where(dead, 0.0, taus[index])
        pattern[index] = np.where(dead, chain.slopes(index)[0], pattern[index])
    return replace(candidate, theta=theta, kinks=kinks, kink_multipliers=taus, pattern=pattern)


def _nearest_multipliers(problem: Problem, candidate: Candidate, estimate: Pattern) -> tuple[Candidate, Pattern]:
    """Of the multipliers τ that belong to a point, those whose Clarke weights are next to an estimate."""
    from scipy.sparse.linalg import LinearOperator, lsqr

    kinks, size = candidate.kinks, len(candidate.theta)
    count = sum(int(np.count_nonzero(mask)) for mask in kinks.values())
    if not count:
        return candidate, dict(candidate.pattern)
    forward = problem.chain.forward(candidate.theta, candidate.pattern)
    weights = coefficients(problem, forward.outputs, candidate.multipliers)
    slopes = {i: np.where(mask, estimate[i], candidate.pattern[i]) for i, mask in kinks.items()}
    best: tuple[float, Candidate, Pattern] | None = None
    for attempt in range(6):
        # δ of a layer depends on τ of the layers behind it, so the system is solved again at the weights that it gave
        back = problem.chain.forward(candidate.theta, slopes).backward(weights, {})
        delta = {i: back.passed[i] for i in kinks}
        taus = {i: np.where(mask, (slopes[i] - candidate.pattern[i]) * delta[i], 0.0) for i, mask in kinks.items()}
        missing = candidate.theta - forward.backward(weights, taus).gradient
        rest = float(np.linalg.norm(missing))
        if best is not None and rest >= best[0]:
            break
        best = rest, replace(candidate, kink_multipliers=taus), slopes
        if rest <= 1e-14 * float(np.linalg.norm(candidate.theta)):
            break
        # the first step is the shortest in the weights; the others are so in τ, which is better conditioned by far
        ratio = np.concatenate([delta[i][mask] for i, mask in kinks.items()])
        scale = ratio if attempt == 0 else np.ones(count)
        silent = np.zeros_like(weights)

        def image(vector: Float, scale: Float = scale, silent: Float = silent) -> Float:
            product: Float = forward.backward(silent, spread(kinks, scale * vector.reshape(-1))).gradient
            return product

        def transposed(vector: Float, scale: Float = scale) -> Float:
            received, _ = forward.along(vector.reshape(-1))
            return np.asarray(scale * np.concatenate([received[i][mask] for i, mask in kinks.items()]))

        operator = LinearOperator((size, count), matvec=image, rmatvec=transposed, dtype=np.float64)
        # 1e-14 is 45 ε: as far as sums over samples and units can be told from zero
        found = scale * np.asarray(
            lsqr(operator, missing, atol=1e-14, btol=1e-14, iter_lim=100 if attempt == 0 else 2000)[0]
        )
        change = spread(kinks, np.divide(found, ratio, out=np.zeros(count), where=ratio != 0))
        slopes = {i: slopes[i] + change[i] for i in kinks}
    assert best is not None
    return best[1], best[2]


def _outside(problem: Problem, slopes: Pattern, index: int) -> tuple[Mask, Mask]:
    low, high = sorted(problem.chain.slopes(index))
    return slopes[index] < low - ROUNDING, slopes[index] > high + ROUNDING


def _wrong_side(problem: Problem, candidate: Candidate, there: Evaluation, index: int) -> Mask:
    z = there.forward.received[index]
    left, right = problem.chain.slopes(index)
    allowed = ROUNDING * max(float(np.abs(z).max(initial=0.0)), float(np.finfo(np.float64).tiny))
    on = candidate.pattern[index] == right
    wrong = np.where(on, z < -allowed, z > allowed) if left != right else np.zeros(z.shape, dtype=np.bool_)
    return np.asarray(wrong & ~candidate.kinks[index])


def _judge(problem: Problem, candidate: Candidate, slopes: Pattern) -> Finish:
    forward = problem.chain.forward(candidate.theta, slopes)
    weights = coefficients(problem, forward.outputs, candidate.multipliers)
    gap = candidate.theta - forward.backward(weights, {}).gradient
    norm = float(np.linalg.norm(candidate.theta))
    if norm == 0:
        return Finish(candidate.theta, weights, slopes, 0.0, "all parameters went to zero")
    residual = float(np.linalg.norm(gap)) / norm
    there = evaluate(problem, candidate)
    reasons = []
    for index in candidate.pattern:
        low, high = _outside(problem, slopes, index)
        wrong = _wrong_side(problem, candidate, there, index)
        z, mask = np.abs(there.forward.received[index]), candidate.kinks[index]
        name = f"layer {problem.chain.names[index]}"
        if low.any() or high.any():
            reasons.append(f"{name}: {np.count_nonzero(low | high)} Clarke weights lie outside their interval")
        if wrong.any():
            reasons.append(f"{name}: {np.count_nonzero(wrong)} pre-activations changed their sign")
        if mask.any() and z[mask].max() > ROUNDING * z.max():
            reasons.append(f"{name}: a kink is missed by {z[mask].max():.1e}")
    if not problem.weight_decay:
        margins = problem.labels * forward.outputs[:, 0]
        if candidate.multipliers.min() < 0:
            reasons.append(f"the multiplier {candidate.multipliers.min():.1e} is negative")
        if np.abs(margins[candidate.support] - 1).max(initial=0.0) > ROUNDING:
            reasons.append("a support vector is not on the margin")
        if margins.min() < 1 - ROUNDING:
            reasons.append(f"the margin {margins.min():.6f} is below one")
    if not residual <= ACCEPTED:
        reasons.append(f"the residual is {residual:.1e}")
    return Finish(candidate.theta, weights, slopes, residual, "; ".join(reasons))


def _corrected(problem: Problem, candidate: Candidate, slopes: Pattern, there: Evaluation) -> Candidate | None:
    """Another choice of kinks and support vectors; None if nothing speaks for one."""
    changed = False
    pattern, kinks, taus = dict(candidate.pattern), dict(candidate.kinks), dict(candidate.kink_multipliers)
    for index in pattern:
        below, above = _outside(problem, slopes, index)
        wrong = _wrong_side(problem, candidate, there, index)
        ends = sorted(problem.chain.slopes(index))
        changed = changed or bool((below | above | wrong).any())
        kinks[index] = (kinks[index] & ~below & ~above) | wrong
        pattern[index] = np.where(below, ends[0], np.where(above, ends[1], pattern[index]))
        taus[index] = np.where(kinks[index], taus[index], 0.0)
        slopes[index] = np.clip(slopes[index], ends[0], ends[1])
    support, multipliers = candidate.support, candidate.multipliers
    if not problem.weight_decay:
        margins = problem.labels * there.forward.outputs[:, 0]
        support = (support & (multipliers > 0)) | (margins < 1 - ROUNDING)
        changed = changed or bool((support != candidate.support).any())
        multipliers = np.where(support, np.maximum(multipliers, 0.0), 0.0)
    if not changed:
        return None
    return Candidate(candidate.theta, multipliers, support, pattern, kinks, taus)
