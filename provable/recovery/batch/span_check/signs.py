r"""Which of x and -x is the sample, where the conditions of single samples cannot tell.

If σ is odd up to a constant and no bias comes before it, (x, δ) and (-x, -δ) leave the same trace in the first layer's
gradient. What the last layer's gradient adds is a sum over the batch: with the traces :math:`t_i^\pm` of both candidates,
:math:`v = \sum_i t_i^{\epsilon_i}`, so that :math:`\sum_i \epsilon_i (t_i^+ - t_i^-)/2` is known. If these differences are
independent, the signs follow linearly; for one output they are multiples of one vector (the constant part of σ), and the
signs solve a subset sum of real numbers, found by meeting in the middle.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from provable.arithmetic import EPSILON

Float = NDArray[np.float64]

MOST_SIGNS = 36
"""More signs than this are not searched: each half of them has 2^(n/2) patterns."""


def choose_signs(plus: Float, minus: Float, total: Float, tolerance: float) -> tuple[Float | None, str]:
    r"""Find the signs with :math:`\sum_i t_i^{\epsilon_i} = v`.

    Parameters
    ----------
    plus, minus : arrays of shape (n, N)
        The traces of both candidates.
    total : array of shape (N,)
        v.
    tolerance : float
        Relative error of the traces, up to which differences count as none.

    Returns
    -------
    signs : array of shape (n,) or None
        ±1; None if every choice has the same sum, so that the signs are open.
    remark : str
        What is wrong with the answer: several choices fit, none does, or there are too many to try. Empty if one fits.
    """
    differences, wanted = (plus - minus) / 2, total - (plus + minus).sum(axis=0) / 2
    size = float(np.linalg.norm(plus, axis=1).sum() + np.linalg.norm(minus, axis=1).sum() + np.linalg.norm(total))
    left, singular, right = np.linalg.svd(differences, full_matrices=False)
    rank = int(np.count_nonzero(singular > tolerance * size))
    if not rank:
        return None, ""
    # Coordinates of the differences and of their sum in the few directions that they span.
    terms, goal = left[:, :rank] * singular[:rank], right[:rank] @ wanted
    # What no choice of signs can change shows how precise the traces are.
    noise = float(np.linalg.norm(wanted - right[:rank].T @ goal))
    allowed = max(64 * EPSILON * size, 8 * noise) if len(total) > rank else tolerance * size
    if rank == len(terms):
        signs = np.where(np.linalg.solve(terms.T, goal) >= 0, 1.0, -1.0)
        return signs, "" if _misses(signs, terms, goal) <= allowed else "no choice of signs fits"
    if len(terms) > MOST_SIGNS:
        return np.ones(len(terms)), f"{len(terms)} signs are more than the {MOST_SIGNS} that can be tried"
    best = _subset_sums(terms, goal, allowed)
    if _misses(best[0], terms, goal) > allowed:
        return best[0], "no choice of signs fits"
    if len(best) > 1:
        return best[0], "several choices of signs fit"
    return best[0], ""


def _misses(signs: Float, terms: Float, goal: Float) -> float:
    return float(np.linalg.norm(signs @ terms - goal))


def _patterns(count: int) -> Float:
    bits = (np.arange(2**count)[:, None] >> np.arange(count)) & 1
    return np.asarray(1.0 - 2.0 * bits, dtype=np.float64)


def _subset_sums(terms: Float, goal: Float, tolerance: float) -> list[Float]:
    """The signs that fit within the tolerance, at most two of them, or the nearest if none does."""
    half = len(terms) // 2
    first, second = _patterns(half), _patterns(len(terms) - half)
    sums, needed = second @ terms[half:], goal - first @ terms[:half]
    order = np.argsort(sums[:, 0], kind="stable")
    keys = sums[order, 0]
    low = np.searchsorted(keys, needed[:, 0] - tolerance, side="left")
    high = np.searchsorted(keys, needed[:, 0] + tolerance, side="right")
    found: list[Float] = []
    for index in np.flatnonzero(high > low):
        window = order[low[index] : high[index]]
        fits = window[np.linalg.norm(sums[window] - needed[index], axis=1) <= tolerance]
        found += [np.concatenate([first[index], second[other]]) for other in fits[:2]]
        if len(found) >= 2:
            return found[:2]
    if found:
        return found
    places = np.searchsorted(keys, needed[:, 0])
    near = order[np.stack([np.maximum(places - 1, 0), np.minimum(places, len(keys) - 1)], axis=1)]
    misses = np.linalg.norm(sums[near] - needed[:, None], axis=2)
    row, side = np.unravel_index(int(np.argmin(misses)), misses.shape)
    return [np.concatenate([first[row], second[near[row, side]]])]
