r"""Multipliers of cells of tangents: a vector's nearest point in the cone that the cells generate.

Notes
-----
A cell is a set of vectors :math:`a_g + \sum_k t_k b_k`, :math:`0 \le t_k \le 1`. Multiplied by :math:`\lambda_g \ge 0` its
elements are :math:`\lambda_g a_g + \sum_k \mu_k b_k` with :math:`0 \le \mu_k \le \lambda_g`, so the nearest point in the sum
of these cones solves a convex quadratic program in :math:`(\lambda, \mu)`. Its conditions with the residual r: r is
orthogonal to the columns in use, and for every cell

.. math:: \langle r, a_g \rangle + \sum_k \max(0, \langle r, b_k \rangle) \le 0 ,

which also proves, in exact arithmetic and for r ≠ 0, that the vector does not lie in the cone (then
:math:`\langle r, v \rangle = \|r\|^2 > 0`). The method is Lawson and Hanson's for nonnegative least squares: solve on a
face, go as far as the bounds allow, pin what they stop, and release what has a price of the right sign.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from provable import arithmetic
from provable.arithmetic import EPSILON, Array

PRICE_ROUNDINGS = 64
"""Prices below this many roundings of the norms multiplied do not release anything."""

DEPENDENT_ROUNDINGS = 16
"""Columns are dependent if they are so up to this many roundings per entry."""

ZERO, FREE, FULL = -1, 0, 1
"""Where a part μ_k of its cell's multiplier λ is: at 0, between, or at λ."""


@dataclass(frozen=True, eq=False)
class ConePoint:
    """The nearest point in a cone.

    Attributes
    ----------
    weights : ndarray of shape (G,)
        λ_g ≥ 0.
    parts : ndarray of shape (K,)
        μ_k, between 0 and the multiplier of its cell.
    residual : ndarray of shape (P,)
        The vector minus Σ λ_g a_g + Σ μ_k b_k.
    settled : bool
        Whether no price was left that a step could follow; if exact, the point is proved to be the nearest one.
    """

    weights: Array
    parts: Array
    residual: Array
    settled: bool


def nearest_in_cone(
    vector: Array, base: Array, steps: Array, owners: NDArray[np.intp], *, fixed: Array | None = None
) -> ConePoint:
    """Find multipliers of cells that come nearest to a vector.

    Parameters
    ----------
    vector : ndarray of shape (P,)
        Floats or rationals.
    base : ndarray of shape (G, P)
        a_g.
    steps : ndarray of shape (K, P)
        b_k.
    owners : ndarray of int, shape (K,)
        The cell of each step.
    fixed : ndarray of shape (G,), optional
        Known multipliers λ ≥ 0; then only the parts are unknown.

    Returns
    -------
    ConePoint
        The nearest point; of floats, to a rounding level of the largest terms.
    """
    exact = arithmetic.kind(vector) != "float64"
    rows = (vector, base, steps)
    if not exact and len(vector) > len(base) + len(steps) + 1:
        # an orthogonal change of basis leaves only as many rows as there are columns
        triangle = np.asarray(np.linalg.qr(np.concatenate([base, steps, vector[None]]).T, mode="r"))
        rows = triangle[:, -1], triangle[:, : len(base)].T, triangle[:, len(base) : -1].T
    search = _Search(*rows, owners, fixed)
    settled = search.run()
    weights, parts = search.weights, search.parts
    residual = vector - weights @ base - parts @ steps
    return ConePoint(weights, parts, residual, settled)


class _Search:
    """The active-set method; one face is given by the cells in use and the states of the parts."""

    def __init__(self, vector: Array, base: Array, steps: Array, owners: NDArray[np.intp], fixed: Array | None) -> None:
        self.vector, self.base, self.steps, self.owners = vector, base, steps, owners
        self.exact = arithmetic.kind(vector) != "float64"
        self.weights = arithmetic.full((len(base),), 0, vector) if fixed is None else fixed.copy()
        self.parts = arithmetic.full((len(steps),), 0, vector)
        self.used = np.asarray(self.weights != 0, dtype=np.bool_)
        self.known = fixed is not None
        self.states = np.full(len(steps), ZERO)
        if not self.exact:
            size = PRICE_ROUNDINGS * EPSILON * np.linalg.norm(vector)
            self.base_threshold = size * np.linalg.norm(base, axis=1)
            self.step_threshold = size * np.linalg.norm(steps, axis=1)

    def run(self) -> bool:
        """Follow prices until none is left; False if the steps ran out or rounding stopped them."""
        best = None
        for _ in range(100 + 20 * (len(self.base) + len(self.steps))):
            state = self.weights.copy(), self.parts.copy()
            squared = self._squared()
            if best is not None and not squared < best and not self.exact:
                return True  # at rounding level: no price moves anything any more
            best = squared
            if not self._release():
                return True
            self._descend()
            if not self.exact and self._squared() > squared:
                self.weights, self.parts = state
                return True
        return False

    def _residual(self) -> Array:
        residual: Array = self.vector - self.weights @ self.base - self.parts @ self.steps
        return residual

    def _squared(self) -> Any:
        residual = self._residual()
        return residual @ residual

    def _owned_sum(self, values: Array) -> Array:
        totals = arithmetic.full((len(self.base), *values.shape[1:]), 0, self.vector)
        np.add.at(totals, self.owners, values)
        return totals

    def _release(self) -> bool:
        """Release everything (the best one, if exact) whose price allows a descent; False if there is none."""
        residual = self._residual()
        prices = self.steps @ residual
        gains = np.where(prices > 0, prices, prices * 0)
        totals = self.base @ residual + self._owned_sum(gains)
        low = self.base_threshold if not self.exact else arithmetic.full((len(self.base),), 0, self.vector)
        near = self.step_threshold if not self.exact else arithmetic.full((len(self.steps),), 0, self.vector)
        cells = np.flatnonzero(~self.used & np.asarray(totals > low, dtype=np.bool_) & (not self.known))
        inside = self.used[self.owners]
        up = inside & (self.states == ZERO) & np.asarray(prices > near, dtype=np.bool_)
        down = inside & (self.states == FULL) & np.asarray(-prices > near, dtype=np.bool_)
        moving = np.flatnonzero(up | down)
        if len(cells) == 0 and len(moving) == 0:
            return False
        if self.exact:  # one at a time: then the columns in use stay independent
            if len(cells):
                cells, moving = cells[[max(range(len(cells)), key=lambda k: totals[cells[k]])]], moving[:0]
            else:
                moving = moving[:1]
        self.states[moving] = FREE
        for cell in cells:
            own = self.owners == cell
            self.states[own] = np.where(np.asarray(prices[own] > 0, dtype=np.bool_), FULL, ZERO)
        self.used[cells] = True
        return True

    def _directions(self) -> tuple[Array, Array]:
        """Changes of multipliers and parts towards the least squares solution on the face."""
        free = np.flatnonzero((self.states == FREE) & self.used[self.owners])
        full = (self.states == FULL) & self.used[self.owners]
        cells = np.flatnonzero(self.used) if not self.known else np.zeros(0, dtype=np.intp)
        columns = self.base.copy()
        np.add.at(columns, self.owners[full], self.steps[full])
        solution = _least_squares(np.concatenate([columns[cells], self.steps[free]]).T, self._residual())
        weights = arithmetic.full((len(self.base),), 0, self.vector)
        weights[cells] = solution[: len(cells)]
        parts = arithmetic.full((len(self.steps),), 0, self.vector)
        parts[free] = solution[len(cells) :]
        parts[full] = weights[self.owners[full]]
        return weights, parts

    def _descend(self) -> None:
        """Go to the least squares solution of the face, or to that of the smaller faces which the bounds leave."""
        while True:
            by_weight, by_part = self._directions()
            free = (self.states == FREE) & self.used[self.owners]
            room = self.weights[self.owners] - self.parts
            by_room = by_weight[self.owners] - by_part
            bounded = (
                (self.weights, by_weight, self.used & (not self.known)),
                (self.parts, by_part, free),
                (room, by_room, free),
            )
            limits = [_limits(*entry) for entry in bounded]
            step = min([arithmetic.constant(1, self.vector), *(limit for found in limits for limit in found.values())])
            lowest, zero, full = ([k for k, limit in found.items() if limit == step] for found in limits)
            ended = bool(step == 1)
            self.weights = self.weights + step * by_weight
            self.parts = self.parts + step * by_part
            self.states[full], self.states[zero] = FULL, ZERO
            self.used[lowest] = False
            self._pin()
            if ended:
                return

    def _pin(self) -> None:
        """Make what the face says exact."""
        if not self.known:
            self.weights[~self.used] = arithmetic.constant(0, self.vector)
        self.states[~self.used[self.owners]] = ZERO
        self.parts[self.states == ZERO] = arithmetic.constant(0, self.vector)
        full = self.states == FULL
        self.parts[full] = self.weights[self.owners[full]]


def _limits(values: Array, changes: Array, mask: NDArray[np.bool_]) -> dict[int, Any]:
    """How many times a change can be made before a value is zero, for those that one change would make negative or zero."""
    falling = mask & np.asarray(changes < 0, dtype=np.bool_) & np.asarray(values + changes <= 0, dtype=np.bool_)
    return {int(k): min(values[k] / -changes[k], arithmetic.constant(1, values)) for k in np.flatnonzero(falling)}


def _least_squares(matrix: Array, right: Array) -> Array:
    if matrix.shape[1] == 0:
        return right[:0]
    if arithmetic.kind(right) != "float64":
        return arithmetic.solve(matrix.T @ matrix, matrix.T @ right)
    import scipy.linalg

    norms = np.linalg.norm(matrix, axis=0)
    norms = np.where(norms > 0, norms, 1.0)
    # columns that agree but for rounding, as of samples on one ray, are one: what would tell them apart is 1 / ε large
    cutoff = DEPENDENT_ROUNDINGS * max(matrix.shape) * EPSILON
    solution, *_ = scipy.linalg.lstsq(matrix / norms, right, cond=cutoff, lapack_driver="gelsy", check_finite=False)
    result: Array = solution / norms
    return result
