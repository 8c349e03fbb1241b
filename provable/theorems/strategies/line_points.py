r"""Exact stationary points of two-layer ReLU networks of one input: instances for theorems on data on a line.

A neuron v relu(w x + b) that faces right, with its knot at t, is stationary if the measure :math:`\sum_i c_i \delta_{x_i}`
has the moments :math:`(w, b)/v = \sigma (\cos\varphi, -\sin\varphi)` to its right, with :math:`t = \tan\varphi` and σ the
sign of v. Knots with a rational tan φ/2 make all of that rational; then two points between neighbouring knots take what the
moments differ by. Nothing but stationarity is asked for: the points need not lie on a common margin.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

from hypothesis import strategies as st

Number = Any
Pair = tuple[Number, Number]


@dataclasses.dataclass(frozen=True)
class LinePoint:
    """Knots, signs and places from which a network and its data follow, in any arithmetic.

    Parameters
    ----------
    halves : tuple of float
        Ascending tan φ/2 of the knots of the neurons that face right, all above -1 and below 1.
    signs : tuple of float
        The signs of their outer weights.
    sizes : tuple of float
        The magnitudes of all outer weights; the last one belongs to the neuron that faces left, if there is one.
    places : tuple of (float, float)
        Where in the gaps behind the knots the two points lie, ascending in (0, 1); one point where both are equal: at the
        only place where one is enough, for knots of equal signs.
    masses, slopes : tuple of float
        Coefficients of points on the knots, zero for none, and the slopes s from 0 to 1 there.
    facing_left : float
        Sign of a neuron that faces left and is active on all data; 0 for none. Then there are two points left of all knots.
    """

    halves: tuple[Number, ...]
    signs: tuple[Number, ...]
    sizes: tuple[Number, ...]
    places: tuple[Pair, ...]
    masses: tuple[Number, ...]
    slopes: tuple[Number, ...]
    facing_left: Number

    @functools.cached_property
    def directions(self) -> list[Pair]:
        """Give (cos φ, sin φ) of the knots.

        Returns
        -------
        list of (number, number)
            From left to right.
        """
        return [direction(half) for half in self.halves]

    @functools.cached_property
    def knots(self) -> list[Number]:
        """Give the knots of the neurons that face right.

        Returns
        -------
        list of number
            tan φ, ascending.
        """
        return [sine / cosine for cosine, sine in self.directions]

    @functools.cached_property
    def moments(self) -> list[Pair]:
        """Give first and zeroth moments of the measure to the right of every knot, with the slopes on it.

        Returns
        -------
        list of (number, number)
            σ (cos φ, -sin φ).
        """
        return [(s * cosine, -s * sine) for s, (cosine, sine) in zip(self.signs, self.directions, strict=True)]

    @functools.cached_property
    def total(self) -> Pair:
        """Give first and zeroth moment of the whole measure.

        Returns
        -------
        (number, number)
            Those of the neuron that faces left or, without one, those of the first knot, which has nothing to its left.
        """
        if self.facing_left == 0:
            return self.moments[0]
        cosine, sine = direction(self._last_half())
        return -self.facing_left * cosine, self.facing_left * sine

    def _last_half(self) -> Number:
        """Of the knot that faces left: halfway to infinity, beyond all points."""
        return (self.halves[-1] * 0 + 1) * 15 / 16

    @functools.cached_property
    def measure(self) -> list[Pair]:
        """Give the measure.

        Returns
        -------
        list of (number, number)
            Points with nonzero coefficients, ascending.
        """
        knots, moments = self.knots, self.moments
        atoms: list[Pair] = []
        if self.facing_left != 0:
            first, second = self.places[-1]
            mass = (1 - self.slopes[0]) * self.masses[0]
            rest = _minus(_minus(self.total, moments[0]), (mass * knots[0], mass))
            atoms += _two(
                knots[0] - 1 - second, knots[0] - 1 - first if second != first else knots[0] - 2 - first, rest
            )
        end = direction(self._last_half())
        for j, knot in enumerate(knots):
            atoms.append((knot, self.masses[j]))
            mass = self.slopes[j] * self.masses[j]
            rest = _minus(moments[j], (mass * knot, mass))
            following = end[1] / end[0]
            if j + 1 < len(knots):
                following = knots[j + 1]
                mass = (1 - self.slopes[j + 1]) * self.masses[j + 1]
                rest = _minus(_minus(rest, moments[j + 1]), (mass * following, mass))
            first, second = self.places[j]
            single = rest[0] / rest[1] if rest[1] != 0 else knot
            if first == second and knot < single and single < following:
                atoms.append((single, rest[1]))
                continue
            second = second if second != first else (1 + first) / 2
            atoms += _two(knot + (following - knot) * first, knot + (following - knot) * second, rest)
        return sorted([(x, c) for x, c in atoms if c != 0], key=_position)

    @functools.cached_property
    def neurons(self) -> list[tuple[Number, Number, Number]]:
        """Give the network.

        Returns
        -------
        list of (number, number, number)
            w, b and v of every neuron; one that faces left is the last.
        """
        result = []
        for sign, size, (first, zeroth) in zip(self.signs, self.sizes, self.moments, strict=False):
            result.append((sign * size * first, sign * size * zeroth, sign * size))
        if self.facing_left != 0:
            outer = self.facing_left * self.sizes[-1]
            first, zeroth = self.total
            result.append((outer * first, outer * zeroth, outer))
        return result

    def slope(self, neuron: tuple[Number, Number, Number], x: Number) -> Number:
        """Give the slope of a neuron's activation at a point.

        Parameters
        ----------
        neuron : (number, number, number)
            w, b and v.
        x : number
            The point.

        Returns
        -------
        number
            0, 1 or, on a knot of a neuron that faces right, the slope there.
        """
        z = neuron[0] * x + neuron[1]
        if z == 0:
            return self.slopes[self.knots.index(x)]
        return z * 0 + 1 if z > 0 else z * 0

    def explained(self, neuron: tuple[Number, Number, Number]) -> tuple[Number, Number, Number]:
        """Give the right side of the stationarity equation.

        Parameters
        ----------
        neuron : (number, number, number)
            w, b and v.

        Returns
        -------
        (number, number, number)
            What w, b and v have to be: Σ c s v x, Σ c s v and Σ c relu(w x + b).
        """
        w, b, v = neuron
        parts = [(x, c * self.slope(neuron, x)) for x, c in self.measure]
        return sum(v * p * x for x, p in parts), sum(v * p for _, p in parts), sum(p * (w * x + b) for x, p in parts)


def direction(half: Number) -> Pair:
    """Give cosine and sine of an angle.

    Parameters
    ----------
    half : number
        The tangent of half the angle.

    Returns
    -------
    (number, number)
        (1 - h²)/(1 + h²) and 2h/(1 + h²).
    """
    return (1 - half * half) / (1 + half * half), 2 * half / (1 + half * half)


def _position(atom: Pair) -> Number:
    return atom[0]


def _minus(one: Pair, other: Pair) -> Pair:
    return one[0] - other[0], one[1] - other[1]


def _two(x: Number, y: Number, moments: Pair) -> list[Pair]:
    """Coefficients at two points that give two moments."""
    first, zeroth = moments
    return [(x, (first - zeroth * y) / (x - y)), (y, (first - zeroth * x) / (y - x))]


@st.composite
def line_points(draw: st.DrawFn, *, least: int = 1, most: int = 3, alternating: bool = False) -> LinePoint:
    """Stationary points with `least` to `most` neurons that face right and at most one that faces left.

    Parameters
    ----------
    least, most : int, optional
        The smallest and largest number of neurons that face right.
    alternating : bool, optional
        Whether the signs of neighbours differ.

    Returns
    -------
    LinePoint
        With points on knots, gaps with one point, and single neurons among them.
    """
    count = draw(st.integers(least, most))
    # tan φ/2 in sixteenths below the knot that faces left
    halves = sorted(draw(st.sets(st.integers(-13, 13), min_size=count, max_size=count)))
    sign = st.sampled_from((1.0, -1.0))
    first = draw(sign)
    signs = [first * (-1.0) ** k if alternating else draw(sign) for k in range(count)]
    place = st.sampled_from(((0.25, 0.75), (0.5, 0.5), (0.125, 0.5), (0.25, 0.25), (0.5, 0.875)))
    return LinePoint(
        tuple(half / 16 for half in halves),
        tuple(signs),
        tuple(draw(st.lists(st.sampled_from((1.0, 2.0, 0.5, 3.0)), min_size=count + 1, max_size=count + 1))),
        tuple(draw(place) for _ in range(count + 1)),
        tuple(draw(st.sampled_from((0.0, 0.0, 1.0, -0.5))) for _ in range(count)),
        tuple(draw(st.sampled_from((0.0, 0.5, 1.0, 0.25))) for _ in range(count)),
        draw(st.sampled_from((0.0, 1.0, -1.0))),
    )
