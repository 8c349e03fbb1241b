r"""What the neurons of a stationary two-layer ReLU network of one input say of the data: moments between knots.

At a stationary point every neuron with outer weight :math:`v_k \ne 0` has

.. math:: (w_k, b_k)/v_k = \sum_i c_i s_{ik} (x_i, 1), \qquad c_i = \lambda_i y_i,

with :math:`s_{ik} = 1` where the neuron is active, 0 where it is not, and anything in between at its knot. So it gives the
zeroth and first moment of the measure :math:`\sum_i c_i \delta_{x_i}` on one side of its knot. Neurons on one side with one
knot and one sign of v say the same and are merged. Support points lie where :math:`|f| = m`; given m, the measure is a
nonnegative combination of finitely many columns, and the equations are linear.

References
----------
G. Smorodinsky, G. Vardi, I. Safran, arXiv:2410.07632, has the case; the equations here are derived.
"""

from __future__ import annotations

import dataclasses
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from provable.stationarity.univariate import Level, Neuron, UnivariateNetwork

Float = NDArray[np.float64]

SAME_KNOT = 1e-9
"""Knots whose angles arctan t differ by less belong together: neurons reach their common knot up to rounding only."""

MOST_OPEN = 3
"""Of more equations that face one way with knots next to one point all slopes are taken for equal."""

SMALLEST = 2.0**-200
"""Smaller outer weights are taken for zero: their squares leave the range of floats."""


@dataclasses.dataclass(frozen=True)
class MomentEquation:
    """Neurons that face one way, with one knot and one sign: one pair of moments.

    Parameters
    ----------
    side : {1, -1, 0}
        Where they face; 0 if they are constant.
    knot : float
        The knot; -inf for constant neurons, which are active everywhere.
    moments : tuple of two float
        First and zeroth moment of the measure on the active side.
    size : float
        Norm of their outer weights: an error e in the moments makes one of size·e in θ.
    neurons : tuple of Neuron
        They.
    """

    side: int
    knot: float
    moments: tuple[float, float]
    size: float
    neurons: tuple[Neuron, ...]


@dataclasses.dataclass(frozen=True)
class Column:
    """An atom, or a direction in which one can go to infinity, that a solution may use.

    Parameters
    ----------
    level : int
        Index of the level on which it lies.
    point : float
        Its position; infinite for a direction.
    slopes : tuple of float
        The slope of every equation's neurons there, times the sign of the coefficient.
    """

    level: int
    point: float
    slopes: tuple[float, ...]


def moment_equations(network: UnivariateNetwork, same_knot: float = SAME_KNOT) -> tuple[MomentEquation, ...]:
    """Merge the neurons that say the same.

    Parameters
    ----------
    network : UnivariateNetwork
        The network; neurons without outer weight to speak of say nothing and are left out.
    same_knot : float, optional
        Neighbouring knots whose angles differ by less belong together.

    Returns
    -------
    tuple of MomentEquation
        Constant neurons first, then those that face left and right, each by ascending knots.
    """
    kinds: dict[tuple[int, int], list[Neuron]] = {}
    for neuron in network.neurons:
        if abs(neuron.outer) > SMALLEST and (neuron.side or neuron.bias > 0):
            kinds.setdefault((abs(neuron.side), neuron.side), []).append(neuron)
    result = []
    for (_, side), members in sorted(kinds.items()):
        ordered = sorted(members, key=_knot_and_sign)
        groups: list[list[Neuron]] = []
        for neuron in ordered:
            if groups and _alike(groups[-1][-1], neuron, same_knot):
                groups[-1].append(neuron)
            else:
                groups.append([neuron])
        result += [_merged(side, tuple(group)) for group in groups]
    return tuple(result)


def _knot_and_sign(neuron: Neuron) -> tuple[bool, float]:
    return neuron.outer > 0, float(neuron.knot) if neuron.side else 0.0


def _alike(first: Neuron, second: Neuron, same_knot: float) -> bool:
    if (first.outer > 0) != (second.outer > 0):
        return False
    return not first.side or bool(np.arctan(float(second.knot)) - np.arctan(float(first.knot)) <= same_knot)


def _merged(side: int, neurons: tuple[Neuron, ...]) -> MomentEquation:
    total = sum((n.outer**2 for n in neurons), Fraction(0))
    first = sum((n.outer * n.weight for n in neurons), Fraction(0)) / total
    zeroth = sum((n.outer * n.bias for n in neurons), Fraction(0)) / total
    knot = float(-zeroth / first) if side else -np.inf
    return MomentEquation(side, knot, (float(first), float(zeroth)), float(total) ** 0.5, neurons)


def columns_of(
    equations: tuple[MomentEquation, ...], levels: tuple[Level, ...], kink: float, narrow: float
) -> tuple[Column, ...]:
    """List what a measure on given levels may consist of.

    Parameters
    ----------
    equations : tuple of MomentEquation
        The equations.
    levels : tuple of Level
        Where support points may lie.
    kink : float
        A point this close to a knot may have any slope there.
    narrow : float
        Levels of at most this width count as points; of others the ends and the knots inside are taken, whose combinations
        have the moments of any measure on the level.

    Returns
    -------
    tuple of Column
        The columns.
    """
    knots = np.array([equation.knot for equation in equations])
    result = []
    for index, level in enumerate(levels):
        for point in _vertices(level, knots, kink, narrow):
            for slopes in _patterns(equations, point, kink):
                result.append(Column(index, point, tuple(level.sign * slope for slope in slopes)))
        for end, point in ((level.left, -np.inf), (level.right, np.inf)):
            if end is None:
                slopes = [1.0 if e.side == 0 or e.side * point > 0 else 0.0 for e in equations]
                result.append(Column(index, point, tuple(level.sign * slope for slope in slopes)))
    return tuple(result)


def _vertices(level: Level, knots: Float, kink: float, narrow: float) -> list[float]:
    ends = [float(end) for end in (level.left, level.right) if end is not None]
    inside = [
        float(knot)
        for knot in np.unique(knots[np.isfinite(knots)])
        if (level.left is None or knot >= ends[0] - kink) and (level.right is None or knot <= ends[-1] + kink)
    ]
    if level.width <= narrow:
        return inside[:1] or [(ends[0] + ends[-1]) / 2]
    return sorted({*ends, *inside}) or [0.0]  # without ends and knots f is constant, and any point will do


def _patterns(equations: tuple[MomentEquation, ...], point: float, kink: float) -> list[list[float]]:
    """Slopes at a point: at a knot both extremes, independently for different knots there, together if there are many."""
    sure: list[float] = []
    near: dict[int, list[int]] = {1: [], -1: []}
    for place, equation in enumerate(equations):
        if equation.side and abs(point - equation.knot) <= kink:
            near[equation.side].append(place)
        sure.append(float(equation.side == 0 or equation.side * (point - equation.knot) > 0))
    patterns = [sure]
    for places in near.values():
        together = [places] if len(places) > MOST_OPEN else [[place] for place in places]
        for part in together:
            patterns = [
                [option if place in part else slope for place, slope in enumerate(pattern)]
                for pattern in patterns
                for option in (0.0, 1.0)
            ]
    return patterns


def system(equations: tuple[MomentEquation, ...], columns: tuple[Column, ...]) -> tuple[Float, Float]:
    """Write the equations as a linear system.

    Parameters
    ----------
    equations : tuple of MomentEquation
        The equations.
    columns : tuple of Column
        The columns.

    Returns
    -------
    matrix : array of shape (2 E, n)
        First and zeroth moments that a column of weight one contributes.
    right : array of shape (2 E,)
        The moments that were read.
    """
    slopes = np.array([column.slopes for column in columns]).reshape(len(columns), len(equations)).T
    points = np.array([column.point for column in columns])
    finite = np.isfinite(points)
    first = slopes * np.where(finite, points, np.sign(points))
    zeroth = slopes * finite
    matrix = np.stack([first, zeroth], axis=1).reshape(2 * len(equations), len(columns))
    return matrix, np.array([equation.moments for equation in equations]).reshape(-1)
