"""Exact points of several classes and of weight decay: what their strategies promise, and what they reach."""

from __future__ import annotations

from collections import Counter

import numpy as np
from hypothesis import given, seed, settings
from hypothesis import strategies as st

from provable.theorems.strategies.multiclass_points import multiclass_points
from provable.theorems.strategies.weight_decay_points import weight_decay_points


@given(multiclass_points(), st.booleans().flatmap(lambda ties: multiclass_points(ties=ties)))
@settings(max_examples=40)
def test_points_of_several_classes_satisfy_the_conditions_in_integers(untied, point):
    for one in (untied, point):
        weight = np.zeros_like(one.parameters["0/weight"])
        margins = []
        for x, label, row in zip(one.points, one.classes, one.multipliers, strict=True):
            assert np.all(row >= 0) and row[label] == 0
            scores = one.parameters["0/weight"] @ x
            for k, multiplier in enumerate(row):
                weight += multiplier * np.outer(np.eye(len(row))[label] - np.eye(len(row))[k], x)
                if k != label:
                    margins.append((scores[label] - scores[k], multiplier))
        # integers far below 2^53: no rounding
        assert np.array_equal(weight, one.parameters["0/weight"])
        smallest = min(margin for margin, _ in margins)
        assert smallest > 0 and all(multiplier == 0 or margin == smallest for margin, multiplier in margins)
    assert all(len(untied.runners_up(i)) == 1 for i in range(len(untied.classes)))


@given(weight_decay_points(depths=(2, 1, 3)))
@settings(max_examples=40)
def test_points_of_weight_decay_are_stationary_up_to_rounding_and_other_targets_are_not(point):
    gradient = point.objective_gradient(point.points, point.targets)
    theta = point.parameters.vector()
    # a target is a small number added to the output, which leaves the residual with an error of the output's size
    tangents = max(np.abs(point.explained(row)).max() for row in np.eye(len(point.multipliers)))
    size = len(point.multipliers) * (1 + np.abs(point.outputs).max()) * tangents + point.decay * np.abs(theta).max()
    assert np.abs(gradient).max() <= 30 * 100 * 2.0**-52 * size
    # with the outputs themselves as targets, the decay is all that is left
    assert np.array_equal(point.objective_gradient(point.points, point.outputs), point.decay * theta)


def test_ties_signs_and_silent_samples_are_reached():
    seen: Counter[str] = Counter()

    @seed(0)
    @given(multiclass_points(ties=True), multiclass_points(), weight_decay_points())
    @settings(max_examples=60, database=None)
    def look(tied, untied, decayed):
        seen["ties"] += any(len(tied.runners_up(i)) > 1 for i in range(len(tied.classes)))
        seen["two classes"] += untied.multipliers.shape[1] == 2
        seen["no support vector"] += any(not row.any() for row in untied.multipliers)
        seen["other sign"] += bool(np.any(decayed.multipliers * decayed.outputs < 0))
        seen["silent"] += bool(np.any(decayed.multipliers == 0))
        seen["biased"] += "0/bias" in decayed.parameters

    look()
    assert seen["ties"] == 60
    assert all(count >= 4 for count in seen.values()), seen
