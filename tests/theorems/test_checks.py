"""The relations that claims hand to the engine, in every arithmetic."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.arithmetic import BALL, EPSILON, MODULAR, RATIONAL
from provable.errors import TheoremError
from provable.theorems import at_most, different, equal, holds, less
from provable.theorems.checks import RATIO_LIMIT, evaluate
from provable.theorems.strategies import readable_arrays, readable_numbers

RELATIONS = {
    "=": (equal, lambda a, b: a == b),
    "!=": (different, lambda a, b: a != b),
    "<=": (at_most, lambda a, b: a <= b),
    "<": (less, lambda a, b: a < b),
}


@given(st.floats(0.1, 100), st.integers(1, 50), st.floats(1, 1e6), st.floats(0.01, 100))
def test_float_equality_is_accepted_up_to_thirty_units_and_not_beyond(value, operations, condition, factor):
    unit = operations * EPSILON * condition * value
    outcome = evaluate(equal(value, value + factor * unit, operations=operations, condition=condition, magnitude=value))
    # The sum is rounded, by at most one EPSILON of its size, which is at most two units.
    assert abs(outcome.ratio - factor) <= 2 + 2 * factor * EPSILON * operations * condition
    if abs(factor - RATIO_LIMIT) > 3:
        assert (outcome.status == "within") == (factor < RATIO_LIMIT)


@pytest.mark.parametrize("relation", RELATIONS)
@given(a=readable_numbers(), b=readable_numbers())
def test_exact_arithmetic_decides_what_the_numbers_say(relation, a, b):
    make, truth = RELATIONS[relation]
    outcome = evaluate(make(RATIONAL.number(a), RATIONAL.number(b), operations=1))
    assert outcome.status == ("proved" if truth(a, b) else "violated")


@pytest.mark.parametrize("relation", ["=", "!="])
@given(a=readable_numbers(), b=readable_numbers())
def test_residues_decide_equalities(relation, a, b):
    make, truth = RELATIONS[relation]
    outcome = evaluate(make(MODULAR.number(a), MODULAR.number(b), operations=1))
    assert outcome.status == ("proved" if truth(a, b) else "violated")


@pytest.mark.parametrize("relation", RELATIONS)
@given(a=readable_numbers(), b=readable_numbers())
def test_balls_never_contradict_the_numbers(relation, a, b):
    make, truth = RELATIONS[relation]
    with BALL.working():
        third = BALL.number(1) / BALL.number(3)
        outcome = evaluate(make(BALL.number(a) + third, BALL.number(b) + third, operations=1))
    if outcome.status == "proved":
        assert truth(a, b)
    if outcome.status == "violated":
        assert not truth(a, b)


def test_wide_balls_leave_an_equality_enclosed_and_a_strict_inequality_open():
    import flint

    wide = flint.arb(0, 1)
    assert evaluate(equal(wide, flint.arb(0), operations=1)).status == "within"
    assert evaluate(less(wide, flint.arb(0), operations=1)).status == "open"
    assert evaluate(different(wide, flint.arb(0), operations=1)).status == "open"


@given(readable_arrays((2, 3)), st.integers(0, 5))
def test_one_wrong_entry_violates_an_array(array, entry):
    other = array.copy()
    other.flat[entry] += 1.0
    assert evaluate(equal(array, array.copy(), operations=1)).status == "within"
    assert evaluate(equal(array, other, operations=1)).status == "violated"
    exact = evaluate(equal(RATIONAL.convert(array), RATIONAL.convert(other), operations=1))
    assert exact.status == "violated"


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_not_finite_decide_nothing(value):
    assert evaluate(equal(np.array([value]), np.array([value]), operations=1)).status == "open"


def test_a_strict_inequality_within_rounding_is_open_and_an_equality_violates_it():
    assert evaluate(less(1.0, 1.0 + 4 * EPSILON, operations=1)).status == "open"
    assert evaluate(less(1.0, 1.0, operations=1)).status == "violated"
    assert evaluate(less(1.0, 2.0, operations=1)).status == "within"


def test_truth_values():
    assert evaluate(holds(True, name="true")).status == "proved"
    assert evaluate(holds(False, name="false")).status == "violated"


def test_shapes_must_agree():
    with pytest.raises(TheoremError, match=r"compares shapes \(2,\) and \(3,\)"):
        evaluate(equal(np.ones(2), np.ones(3), operations=1))
    assert evaluate(equal(np.ones(2), 1.0, operations=1)).status == "within"


def test_empty_arrays_say_nothing():
    assert evaluate(equal(np.ones(0), np.ones(0), operations=1)).status == "empty"
    assert evaluate(different(np.ones(0), np.ones(0), operations=1)).status == "empty"


def test_float_literals_are_exact_numbers_unless_rounding_could_decide():
    half, third = RATIONAL.number(0.5), RATIONAL.number(1) / 3
    assert evaluate(equal(half, 0.5, operations=1)).status == "proved"
    assert evaluate(different(half, 0.5, operations=1)).status == "violated"
    assert evaluate(equal(third, 1 / 3, operations=1)).status == "open"
    assert evaluate(at_most(third, 1 / 3, operations=1)).status == "open"
    assert evaluate(at_most(third, 0.3, operations=1)).status == "violated"
    assert evaluate(equal(MODULAR.number(0.5), 0.5, operations=1)).status == "proved"
    assert evaluate(equal(half, np.inf, operations=1)).status == "open"


@pytest.mark.parametrize("relation", RELATIONS)
@given(a=st.integers(-3, 3), b=st.integers(-3, 3))
def test_integers_such_as_ranks_are_exact(relation, a, b):
    make, truth = RELATIONS[relation]
    assert evaluate(make(a, b, operations=1)).status == ("proved" if truth(a, b) else "violated")
