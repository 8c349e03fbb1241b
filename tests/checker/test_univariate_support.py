"""The claim ``univariate-support``: accepted as it was made, refused once anything that carries it is wrong."""

from __future__ import annotations

import copy
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable import checker
from provable.architectures import Architecture, Linear, ReLU
from provable.cli.check import in_numbers
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.stationary_point import univariate
from tests.recovery.stationary_point.univariate_nets import stationary


def network():
    layers = (Linear(2), ReLU(), Linear(1, bias=False))
    architecture = Architecture("any other", (1,), layers, "logistic")
    return Observation("stationary-point", architecture, Parameters.random(architecture, rng=0))


def made():
    found = stationary(np.array([-1.7, -0.4, 0.9, 2.0]), np.array([1.0, -1.0, 1.0, -1.0]))
    observation = found.observation
    recovered = univariate.recover(observation, np.random.default_rng(0))
    assert recovered.status == "certified"
    return observation.to_bytes(), json.loads(recovered.certificate)


@pytest.fixture(scope="module")
def claim():
    return made()


def refused(claim, change):
    evidence, document = claim
    changed = copy.deepcopy(document)
    change(changed["data"])
    result = checker.check(changed, observation=evidence)
    assert not result.valid, "a wrong claim was accepted"
    assert "broke down" not in result.reason, result.reason
    return result.reason


def test_it_is_accepted_and_says_what_was_proved(claim):
    evidence, document = claim
    result = checker.check(document, observation=evidence)
    assert result.valid and result.claim == "univariate-support"
    assert "all 4 points" in result.reason


def test_the_command_line_says_what_it_proves(claim):
    text = in_numbers(json.dumps(claim[1]))
    assert text.startswith("whatever samples with margin 1 explain") and "each of the 4 points" in text


def test_it_needs_its_own_observation(claim):
    _, document = claim
    assert "was given" in checker.check(document).reason
    other = network().to_bytes()
    assert "SHA-256" in checker.check(document, observation=other).reason


def shifted(field, factor):
    def change(data):
        value = Fraction(data[field]) * Fraction(factor)
        data[field] = str(value)

    return change


@pytest.mark.parametrize(
    ("field", "factor"),
    [
        ("rho", "1/1000"),
        ("outside", "1/1000000"),
        ("coefficient_rho", "1/1000000"),
        ("residual", "1/1000000000"),
        ("eta", "10000000000"),
    ],
)
def test_a_bound_that_is_too_good_is_refused(claim, field, factor):
    refused(claim, shifted(field, factor))


def test_more_mass_than_there_is_is_refused(claim):
    def change(data):
        data["lower"][1] = str(Fraction(data["lower"][1]) * Fraction(1001, 1000))

    assert "multipliers do not prove" in refused(claim, change)


def test_points_elsewhere_are_refused(claim):
    def moved(data):
        data["points"][0] = [str(Fraction(data["points"][0][0]) + Fraction(1, 10))]

    assert "margin at a point" in refused(claim, moved)

    def doubled(data):
        data["points"][0] = data["points"][1]
        data["coefficients"][0] = data["coefficients"][1]

    assert "one interval" in refused(claim, doubled)

    def of_the_other_class(data):
        data["coefficients"][0] = [str(-Fraction(data["coefficients"][0][0]))]

    assert "sign" in refused(claim, of_the_other_class)


def test_slopes_have_to_be_at_knots(claim):
    def away(data):
        data["slopes"] = [[0, 0, "1/2"], *(entry for entry in data["slopes"] if entry[:2] != [0, 0])]

    def outside(data):
        data["slopes"] = [[k, j, "3/2"] for k, j, _ in data["slopes"]] or [[0, 0, "3/2"]]

    assert "knot" in refused(claim, away) and "from 0 to 1" in refused(claim, outside)


def test_multipliers_without_a_pairing_are_refused(claim):
    def none(data):
        data["multipliers"][0] = [[0, "0", "0"]]

    def swapped(data):
        data["multipliers"] = data["multipliers"][::-1]

    refused(claim, none)
    refused(claim, swapped)


@settings(max_examples=30, deadline=None)
@given(st.data())
def test_noise_never_breaks_the_checker(data):
    evidence, document = CLAIM
    changed = copy.deepcopy(document)
    key = data.draw(st.sampled_from(sorted(changed["data"])))
    changed["data"][key] = data.draw(
        st.sampled_from(
            [None, [], {}, "1", "0", "-1", [["1"]], [[0, "1", "1"]], [[[0, "1"]]], 3, [None], [[[]]], ["1", "2"]]
        )
    )
    result = checker.check(changed, observation=evidence)
    # a larger bound is true as well
    weaker = key in ("rho", "coefficient_rho", "outside") or changed["data"] == document["data"]
    assert "broke down" not in result.reason and (weaker or not result.valid)


CLAIM = made()
