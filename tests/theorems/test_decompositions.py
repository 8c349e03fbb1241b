"""Strategies for tensors with two decompositions: they have to hold what they promise, exactly."""

from __future__ import annotations

import dataclasses

import numpy as np
from hypothesis import find, given
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.tensors import kruskal_rank
from provable.theorems.strategies import readable_arrays
from provable.theorems.strategies.decompositions import (
    Decompositions,
    coplanar_factors,
    mixed,
    outer_products,
    parallel_third_factors,
    reordered,
    unordered,
)


def same_tensor(case):
    exact = RATIONAL.convert(case)
    return bool(np.all(exact.terms.sum(axis=0) == exact.other_terms.sum(axis=0)))


@given(st.one_of(parallel_third_factors(), coplanar_factors()))
def test_both_decompositions_give_one_tensor(case):
    assert same_tensor(case)


@given(coplanar_factors())
def test_coplanar_factors_miss_kruskals_condition_by_one(case):
    if case.disagree:
        ranks = [kruskal_rank(factor) for factor in (case.first, case.second, case.third)]
        assert sum(ranks) <= 2 * 3 + 1


def test_each_strategy_finds_an_ambiguity():
    for strategy in (parallel_third_factors(), coplanar_factors()):
        case = find(strategy, lambda case: RATIONAL.convert(case).disagree)
        assert unordered(case.terms) != unordered(case.other_terms)
    tight = find(coplanar_factors(), lambda c: c.disagree and kruskal_rank(c.second) == kruskal_rank(c.third) == 2)
    assert np.linalg.matrix_rank(tight.other_first) == 3


@given(st.data())
def test_reordering_keeps_the_terms(data):
    count = data.draw(st.integers(0, 3))
    factors = [data.draw(readable_arrays((count, 2))).T for _ in range(3)]
    other = reordered(data.draw, *factors)
    case = Decompositions(*factors, *other)
    assert unordered(RATIONAL.convert(case).terms) == unordered(RATIONAL.convert(case).other_terms)
    assert not RATIONAL.convert(case).disagree


@given(readable_arrays((2, 2)), readable_arrays((2, 2)), st.integers(-2, 2), st.integers(-2, 2))
def test_mixing_keeps_the_sum(first, second, g, h):
    left, right = mixed(first, second, float(g), float(h))
    assert np.array_equal(left @ right.T, first @ second.T)


def test_different_tensors_do_not_disagree():
    one, two = np.eye(2), 2 * np.eye(2)
    assert not Decompositions(one, one, one, two, two, two).disagree
    ambiguous = Decompositions(one, one, np.ones((1, 2)), *mixed(one, one), np.ones((1, 2)))
    assert ambiguous.disagree
    assert not dataclasses.replace(ambiguous, other_first=one, other_second=one).disagree
    assert outer_products(one, one, one).shape == (2, 2, 2, 2)
