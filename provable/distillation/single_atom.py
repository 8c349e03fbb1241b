"""The best synthetic set of one point: where h(x)²/k(x, x) is largest."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from provable.arithmetic import Float
from provable.distillation.distiller import distil
from provable.distillation.interpolation import Interpolant, checked_points
from provable.errors import InputError


def single_atom_scores(target: Interpolant, points: ArrayLike) -> Float:
    """What a multiple of one kernel function can explain of a function, h(x)²/k(x, x).

    Parameters
    ----------
    target : Interpolant
        h.
    points : array_like of shape (m, d)
        The x.

    Returns
    -------
    ndarray of shape (m,)
        ‖h‖² - min over β of ‖h - βk(·, x)‖², summed over the outputs; 0 where k(x, x) = 0. At most ‖h‖².

    Raises
    ------
    InputError
        If the points are no points.
    """
    x = checked_points(points, "points")
    values = target(x).reshape(len(x), -1)
    # one at a time: the matrix of all pairs is not needed
    variances = np.array([float(target.kernel(point[None])[0, 0]) for point in x])
    squares = np.sum(values**2, axis=1)
    scores: Float = np.divide(squares, variances, out=np.zeros(len(x)), where=variances > 0)
    return scores


@dataclass(frozen=True, eq=False)
class SingleAtom:
    """A one-term approximation βk(·, x) of a function.

    Attributes
    ----------
    point : ndarray of shape (d,)
        x.
    coefficient : float or ndarray of shape (C,)
        β = h(x)/k(x, x).
    score : float
        h(x)²/k(x, x).
    distance : float
        ‖h - βk(·, x)‖² = ‖h‖² - score.
    """

    point: Float
    coefficient: Float
    score: float
    distance: float


def best_single_atom(target: Interpolant, *, starts: int = 10, iterations: int = 200) -> SingleAtom:
    """Search the best one-term approximation of a function.

    Parameters
    ----------
    target : Interpolant
        h, without a ridge and with a differentiable kernel.
    starts : int, optional
        The search begins at that many training points, those of the largest scores. It is a local one: the largest of its
        maxima is returned, which need not be the largest of all.
    iterations : int, optional
        Steps of each search.

    Returns
    -------
    SingleAtom
        At least as good as the best training point.

    Raises
    ------
    InputError
        If there are no starts, or no training point has a positive k(x, x).
    """
    if starts < 1:
        raise InputError(f"starts: found {starts}; at least 1 is accepted")
    scores = single_atom_scores(target, target.points)
    if not scores.any():
        raise InputError("target: found a function that is zero at its points; one that is not is accepted")
    candidates = []
    for place in np.argsort(-scores)[:starts]:
        begin = target.points[[place]]
        found = distil(target, start=begin, labels="free", ridge=0.0, iterations=iterations).points
        candidates += [begin[0], found[0]]
    points = np.array(candidates)
    reached = single_atom_scores(target, points)
    best = points[int(np.argmax(reached))]
    coefficient = target(best[None])[0] / float(target.kernel(best[None])[0, 0])
    score = float(reached.max())
    return SingleAtom(best, np.asarray(coefficient), score, target.squared_norm - score)
