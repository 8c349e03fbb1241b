"""Exact KKT points that are stationary in Clarke's sense only: hyperplanes of units pass through samples.

In a plane let x₊ = a e and x₋ = b (e cos α + e⊥ sin α) with 0 < α < π/2 have opposite labels. The unit that serves x₊ would
point along x₊, but there it would be active on x₋ too; at the optimum it points along the part of x₊ orthogonal to x₋, so
that x₋ lies on its kink and enters its stationarity with the slope cos α. The same with the signs exchanged serves x₋.
Several such pairs live in orthogonal planes.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

from hypothesis import assume
from hypothesis import strategies as st

from provable.theorems.strategies.rational_margins import Block, Sample, Vector, unit_vector
from provable.theorems.strategies.stationary_points import ACTIVATIONS, StationaryPoint, in_integers, weight_matrices

ANGLES = ((3, 4), (4, 3), (5, 12), (12, 5))
"""cos α and sin α times a common factor."""


def pairs_at_kinks(
    angles: Sequence[tuple[int, int]],
    sizes: Sequence[tuple[Fraction, Fraction]],
    *,
    units: Sequence[int] = (1,),
    beyond: bool = False,
) -> StationaryPoint | None:
    """Build the two-layer ReLU network of pairs of samples in orthogonal planes.

    Parameters
    ----------
    angles : sequence of tuple of two int
        For each pair, the legs of a Pythagorean triangle with the angle α.
    sizes : sequence of tuple of two Fraction
        For each pair, the norms ρ₊, ρ₋ of the incoming weights of its two blocks.
    units : sequence of int, optional
        An integer vector of integer norm: how every block is distributed over hidden units.
    beyond : bool, optional
        Whether each pair gets 2x₊ as a further sample, with multiplier zero.

    Returns
    -------
    StationaryPoint or None
        Two samples (three, with those beyond the margin) for each pair; None if the numbers need more than 53 bits.
    """
    blocks: list[Block] = []
    samples: list[Sample] = []
    zero, one = Fraction(0), Fraction(1)
    for index, (angle, (plus, minus)) in enumerate(zip(angles, sizes, strict=True)):
        cosine, sine = unit_vector(angle)
        place = 2 * index, 2 * (len(angles) - index - 1)
        blocks.append(Block(plus, _at(place, sine, -cosine), [unit_vector(units)], 1))
        blocks.append(Block(minus, _at(place, zero, -one), [unit_vector(units)], -1))
        # margins ρ² a sin α = 1 and multipliers λ a sin α = 1
        first, second = 1 / (plus**2 * sine), 1 / (minus**2 * sine)
        samples.append(Sample(_at(place, first, zero), 1, plus**2))
        samples.append(Sample(_at(place, second * cosine, second * sine), -1, minus**2))
        if beyond:
            samples.append(Sample(_at(place, 2 * first, zero), 1, zero))
    return in_integers(weight_matrices(blocks), samples, ACTIVATIONS["relu"], False)


def _at(place: tuple[int, int], first: Fraction, second: Fraction) -> Vector:
    before, behind = ([Fraction(0)] * count for count in place)
    return [*before, first, second, *behind]


@st.composite
def clarke_points(draw: st.DrawFn, *, beyond: bool | None = None) -> StationaryPoint:
    """KKT points of two-layer ReLU networks that need slopes between 0 and 1 at kinks, exact in rationals.

    Parameters
    ----------
    beyond : bool, optional
        Force or forbid samples beyond the margin.

    Returns
    -------
    StationaryPoint
        One or two pairs of samples. At its kinks the slopes that are needed are cos α within a pair, 0 between pairs.
    """
    count = draw(st.integers(1, 2))
    numbers = st.sampled_from((Fraction(1), Fraction(2), Fraction(1, 2)))
    point = pairs_at_kinks(
        [draw(st.sampled_from(ANGLES)) for _ in range(count)],
        [(draw(numbers), draw(numbers)) for _ in range(count)],
        units=draw(st.sampled_from(((1,), (4, 3)))),
        beyond=draw(st.booleans()) if beyond is None else beyond,
    )
    assume(point is not None)
    assert point is not None
    return point
