"""Exact stationary points on a line: the stationarity equations hold in rational numbers, knots included."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given, settings

from provable.arithmetic import RATIONAL
from provable.theorems.strategies.line_points import LinePoint, line_points


@settings(max_examples=60, deadline=None)
@given(line_points())
def test_every_neuron_is_explained(point):
    exact = RATIONAL.convert(point)
    measure = exact.measure
    assert all(exact.explained(neuron) == neuron for neuron in exact.neurons)
    assert [x for x, _ in measure] == sorted(x for x, _ in measure)
    assert all(c != 0 for _, c in measure)


@settings(max_examples=30, deadline=None)
@given(line_points(least=2, alternating=True))
def test_signs_alternate(point):
    assert all(one == -other for one, other in zip(point.signs, point.signs[1:], strict=False))


def test_one_neuron_has_its_sample_at_minus_one_over_the_knot():
    point = LinePoint((Fraction(-1, 2),), (1,), (1, 1), ((0.5, 0.5), (0.5, 0.5)), (0,), (0,), 0)
    assert point.knots == [Fraction(-4, 3)]
    assert point.measure == [(Fraction(3, 4), Fraction(4, 5))]
