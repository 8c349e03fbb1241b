"""Signs of mirrored samples, against all of them tried."""

from __future__ import annotations

import itertools

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from provable.recovery.batch.span_check.signs import choose_signs


@given(st.integers(0, 2**32), st.integers(1, 9), st.integers(1, 4), st.integers(1, 12))
def test_the_signs_are_those_of_brute_force(seed, count, rank, entries):
    rng = np.random.default_rng(seed)
    # Differences in a space of small dimension, as the constant part of an activation makes them.
    half = rng.standard_normal((count, rank)) @ rng.standard_normal((rank, entries))
    middle = rng.standard_normal((count, entries))
    truth = rng.choice([-1.0, 1.0], count)
    plus, minus = middle + half, middle - half
    total = np.where(truth[:, None] > 0, plus, minus).sum(axis=0)
    signs, remark = choose_signs(plus, minus, total, 1e-9)
    misses = {
        pattern: np.linalg.norm(np.where(np.array(pattern)[:, None] > 0, plus, minus).sum(axis=0) - total)
        for pattern in itertools.product((-1.0, 1.0), repeat=count)
    }
    # Sums of at most 9 numbers of size 10, so that 1e-9 is far above rounding and far below a chance agreement.
    fitting = [pattern for pattern, miss in misses.items() if miss < 1e-9]
    assert tuple(truth) in fitting
    assert tuple(signs) in fitting
    assert remark == ("" if len(fitting) == 1 else "several choices of signs fit")


def test_signs_without_a_trace_are_open():
    traces = np.random.default_rng(0).standard_normal((4, 7))
    assert choose_signs(traces, traces, traces.sum(axis=0), 1e-9) == (None, "")


def test_two_equal_samples_can_be_exchanged():
    plus = np.array([[1.0, 0.0], [1.0, 0.0], [0.3, 0.0]])
    signs, remark = choose_signs(plus, -plus, np.array([0.3, 0.0]), 1e-9)
    assert remark == "several choices of signs fit"
    assert signs @ plus[:, 0] == 0.3


@given(st.integers(0, 2**32), st.integers(2, 30))
def test_a_sum_that_no_choice_has_is_reported(seed, count):
    rng = np.random.default_rng(seed)
    plus = rng.uniform(0.5, 1.5, (count, 1)) * np.array([[1.0, 2.0, 0.0]])
    total = 10 * count * np.array([1.0, 2.0, 0.0])
    signs, remark = choose_signs(plus, -plus, total, 1e-9)
    assert remark == "no choice of signs fits"
    np.testing.assert_array_equal(signs, np.ones(count))  # the nearest sum is the largest


def test_too_many_signs_are_refused():
    plus = np.arange(1.0, 41.0)[:, None]
    assert "40 signs" in choose_signs(plus, -plus, plus.sum(axis=0), 1e-9)[1]
