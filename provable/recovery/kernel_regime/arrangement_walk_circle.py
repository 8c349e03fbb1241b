"""One half of a great circle through the arrangement of the hyperplanes {w : w·x_j = 0}: where g jumps, and by how much.

w(t) = u cos t + v sin t meets every hyperplane once for 0 ≤ t < π, and there g jumps by α_j x_j sign(x_j·w'(t_j)). An
interval whose end values differ holds a crossing. If it holds exactly one, the difference J of the end values is orthogonal
to w(t_j), which predicts t_j; g just left and just right of it then agrees with the end values, and the interval is done.
Otherwise the evaluated neuron cuts the interval, and so does the midpoint where the prediction lies outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from provable.arithmetic import EPSILON, Float
from provable.errors import InputError

_INTERVALS = 15  # odd: in dimension 1 the only crossing is at a right angle, which must not be an end
_STACK_BYTES = 1 << 27  # end values of the intervals that are treated together


@dataclass(frozen=True, eq=False)
class Crossings:
    """The jumps of g on half a great circle.

    Attributes
    ----------
    plane : ndarray of shape (2, dimension)
        u and v, orthonormal (v = 0 in dimension 1).
    angles : ndarray of shape (n,)
        t_j with 0 ≤ t_j < π.
    jumps : ndarray of shape (n, dimension)
        g just after t_j minus g just before.
    windows : ndarray of shape (n,)
        Each jump happens within this distance of t_j; hyperplanes that are crossed within the same window are taken for one.
    start : ndarray of shape (dimension,)
        g(u).
    """

    plane: Float
    angles: Float
    jumps: Float
    windows: Float
    start: Float

    @property
    def signs(self) -> Float:
        """The signs of the coefficients.

        Returns
        -------
        ndarray of shape (n,)
            sign(J_j·w'(t_j)), which is the sign of α_j since J_j·w' = α_j |x_j·w'|.
        """
        u, v = self.plane
        slopes = (self.jumps @ v) * np.cos(self.angles) - (self.jumps @ u) * np.sin(self.angles)
        return np.where(slopes < 0, -1.0, 1.0)


@dataclass
class _Intervals:
    """Intervals with a jump: their ends and the values there."""

    low: Float
    high: Float
    before: Float
    after: Float

    def __len__(self) -> int:
        return len(self.low)

    def part(self, chosen: np.ndarray | slice) -> _Intervals:
        return _Intervals(*(getattr(self, name)[chosen] for name in self.__dataclass_fields__))


def walk_half_circle(
    oracle: Callable[[Float], Float],
    plane: Float,
    *,
    rounding: float,
    tolerance: float,
    most: int,
) -> Crossings:
    """Find all jumps of g on half a great circle.

    Parameters
    ----------
    oracle : callable
        g, or g minus the map of a measure.
    plane : ndarray of shape (2, dimension)
        u and v, orthonormal.
    rounding : float
        The root mean square error of one value.
    tolerance : float
        The largest distance of two values that counts as none.
    most : int
        Evaluations after which to give up.

    Returns
    -------
    Crossings
        In order of their angles.

    Raises
    ------
    InputError
        If more than `most` evaluations were needed.

    Notes
    -----
    A random error of norm δ in J has, along the plane, components of about δ/√d; it moves the predicted angle by that over
    the norm ρ of the projection of J onto the plane. The oracle's own rounding of w·x_j moves the crossing by about
    ε‖x_j‖ over the norm of the projection of x_j. The neurons left and right of a prediction keep eight times the sum of
    both away from it. Two crossings are merged if they are closer than that, and then only.
    """
    u, v = plane
    dimension = len(u)
    used = 0

    def at(angles: Float) -> Float:
        nonlocal used
        used += len(angles)
        if used > most:
            raise InputError(
                f"oracle: the walk needed more than {most} evaluations; a map w ↦ Σ_j α_j 1[w·x_j > 0] x_j with "
                "finitely many points, in float64, is accepted"
            )
        return oracle(np.outer(np.cos(angles), u) + np.outer(np.sin(angles), v))

    grid = np.linspace(0.0, np.pi, _INTERVALS + 1)
    values = at(grid)
    first = _Intervals(grid[:-1], grid[1:], values[:-1], values[1:])
    stack = [_with_a_jump(first, tolerance)]
    together = max(_INTERVALS, _STACK_BYTES // (16 * dimension))
    angles, jumps, windows = [np.empty(0)], [np.empty((0, dimension))], [np.empty(0)]

    while stack:
        intervals = _pop(stack, together)
        if not len(intervals):
            continue
        low, high = intervals.low, intervals.high
        jump = intervals.after - intervals.before
        along, across = jump @ u, jump @ v
        projected = np.hypot(along, across)
        with np.errstate(divide="ignore", invalid="ignore"):
            size = np.linalg.norm(jump, axis=1)
            window = 8.0 * (np.sqrt(2.0 / dimension) * rounding + EPSILON * size) / projected + 4.0 * EPSILON
            predicted = np.mod(np.arctan2(-along, across) - low, np.pi) + low
        window = np.where(np.isfinite(window), np.minimum(window, np.pi), np.pi)
        # the prediction modulo π that is nearest to the interval
        predicted = np.where(predicted - high > np.pi + low - predicted, predicted - np.pi, predicted)

        # Done without further evaluations: the whole interval lies in the window, or is as narrow as angles can be told.
        narrow = ((np.abs(low - predicted) <= 2 * window) & (np.abs(high - predicted) <= 2 * window)) | (
            high - low <= 8.0 * EPSILON * np.pi
        )
        if narrow.any():
            angles.append((low[narrow] + high[narrow]) / 2)
            jumps.append(jump[narrow])
            windows.append((high[narrow] - low[narrow]) / 2)
        keep = ~narrow
        intervals = intervals.part(keep)
        if not len(intervals):
            continue
        low, high, jump = low[keep], high[keep], jump[keep]
        predicted, window = predicted[keep], window[keep]

        # The left end may lie just left of the prediction already: always after the first test, else by coincidence.
        second = (np.abs(low - predicted) <= 2 * window) & (low < predicted) & (predicted + window < high)
        right_is_clear = (predicted + window < high) | (np.abs(high - predicted) <= 2 * window)
        first_test = ~second & (low < predicted - window) & (predicted - window < high) & right_is_clear
        cut = np.where(second, predicted + window, np.where(first_test, predicted - window, (low + high) / 2))
        cut = np.where((low < cut) & (cut < high), cut, (low + high) / 2)
        middle = at(cut)
        from_before = np.linalg.norm(middle - intervals.before, axis=1) > tolerance
        to_after = np.linalg.norm(intervals.after - middle, axis=1) > tolerance

        accepted = second & ~to_after
        if accepted.any():
            angles.append((low[accepted] + cut[accepted]) / 2)
            jumps.append(jump[accepted])
            windows.append((cut[accepted] - low[accepted]) / 2)
        left, right = from_before & ~accepted, to_after & ~accepted
        stack.append(_Intervals(low, cut, intervals.before, middle).part(left))
        stack.append(_Intervals(cut, high, middle, intervals.after).part(right))

    order = np.argsort(np.concatenate(angles))
    return Crossings(
        plane, np.concatenate(angles)[order], np.concatenate(jumps)[order], np.concatenate(windows)[order], values[0]
    )


def _with_a_jump(intervals: _Intervals, tolerance: float) -> _Intervals:
    return intervals.part(np.linalg.norm(intervals.after - intervals.before, axis=1) > tolerance)


def _pop(stack: list[_Intervals], most: int) -> _Intervals:
    """Take up to `most` intervals from the top, so that the stack stays as low as the cuts are deep."""
    taken: list[_Intervals] = []
    count = 0
    while stack and count < most:
        top = stack.pop()
        room = most - count
        if len(top) > room:
            stack.append(top.part(slice(room, None)))
            top = top.part(slice(0, room))
        taken.append(top)
        count += len(top)
    return _Intervals(
        *(np.concatenate([getattr(one, name) for one in taken]) for name in _Intervals.__dataclass_fields__)
    )
