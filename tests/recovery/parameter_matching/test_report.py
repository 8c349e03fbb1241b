"""Matchings beside brute force, and what a report says of perfect, random and empty answers."""

from __future__ import annotations

import itertools
import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.errors import InputError
from provable.recovery.parameter_matching.report import greedy_matching, optimal_matching, report


@given(st.integers(0, 10**6), st.integers(1, 4), st.integers(0, 5))
@settings(max_examples=40)
def test_matchings_are_those_of_brute_force(seed, samples, candidates):
    rng = np.random.default_rng(seed)
    truth, found = rng.standard_normal((samples, 2)), rng.standard_normal((candidates, 2))
    costs = np.linalg.norm(truth[:, None] - found[None], axis=2)
    pairs = min(samples, candidates)
    best = min(
        sum(costs[row, column] for row, column in zip(rows, columns, strict=True))
        for rows in itertools.combinations(range(samples), pairs)
        for columns in itertools.permutations(range(candidates), pairs)
    )
    optimal, greedy = optimal_matching(found, truth), greedy_matching(found, truth)
    assert np.isclose(optimal[np.isfinite(optimal)].sum(), best, rtol=1e-12)  # sums of a few numbers
    assert np.count_nonzero(np.isfinite(optimal)) == np.count_nonzero(np.isfinite(greedy)) == pairs
    # greedy takes the smallest of all first, and is never better in sum
    assert greedy[np.isfinite(greedy)].sum() >= best * (1 - 1e-12)
    if pairs:
        assert greedy.min() == costs.min()


def test_a_perfect_answer_in_any_order(observed_change):
    truth = np.random.default_rng(0).standard_normal((6, 2, 2))
    found = report(truth[::-1], truth, held_out=truth + 10.0, loss=0.0, loss_at_truth=0.0, rng=0)
    assert found.within(0.0) == 6 and np.all(found.optimal == 0)
    assert np.all(found.held_out > 5) and np.all(found.chance > 5)
    document = json.loads(found.to_json())
    assert document["greedy"] == [0.0] * 6 and document["loss_at_truth"] == 0.0


def test_random_candidates_are_as_good_as_chance():
    rng = np.random.default_rng(1)
    truth, found, others = (rng.standard_normal((50, 20)) for _ in range(3))
    result = report(found, truth, held_out=others, rng=2)
    # means of fifty distances, each of the order of √40 with a spread of one
    assert abs(np.mean(result.greedy) - np.mean(result.chance)) < 1
    assert abs(np.mean(result.greedy) - np.mean(result.held_out)) < 1


def test_nothing_found_is_infinitely_far():
    result = report(np.zeros((0, 3)), np.ones((2, 3)))
    assert np.all(np.isinf(result.greedy)) and result.within(1e300) == 0
    assert json.loads(result.to_json())["greedy"] == [None, None]


@pytest.mark.parametrize(
    ("found", "truth", "word"),
    [
        (np.zeros((2, 3)), np.zeros((0, 3)), "truth"),
        (np.zeros((2, 4)), np.zeros((2, 3)), "found"),
        (np.zeros(2), np.zeros((2, 3)), "found"),
        (np.full((2, 3), np.nan), np.zeros((2, 3)), "found"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(found, truth, word):
    with pytest.raises(InputError, match=word):
        report(found, truth)
