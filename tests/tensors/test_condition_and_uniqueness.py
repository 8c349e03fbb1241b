"""Condition numbers against finite differences and invariances; uniqueness against ranks, counterexamples, certificates."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import checker
from provable.arithmetic import EPSILON, RATIONAL
from provable.errors import InputError
from provable.rigor.certificate_writers import cp_uniqueness
from provable.rigor.certificates import Refusal
from provable.tensors import (
    condition_number,
    generic_rank_bound,
    kruskal_rank,
    symmetric_condition,
    symmetric_uniqueness,
    third_order_factors,
    uniqueness,
)
from provable.theorems.strategies import conditioned_matrices, readable_arrays, seeds


@st.composite
def columns(draw, most=4):
    rank = draw(st.integers(1, most))
    return draw(conditioned_matrices(rank + draw(st.integers(0, 3)), rank, max_log10_condition=1.0))


def jacobian(directions, order):
    """Derivatives of T = Σ x_i^{⊗k} by the x_i, divided by the derivative's size per unit change of a term."""
    blocks = []
    for x in directions.T:
        power = x
        for _ in range(order - 1):
            power = np.multiply.outer(power, x).reshape(-1)
        steps = []
        for direction in np.eye(len(x)):
            total = np.zeros(len(x) ** order)
            for place in range(order):
                term = np.ones(1)
                for other in range(order):
                    term = np.multiply.outer(term, direction if other == place else x).reshape(-1)
                total += term
            steps.append(total)
        blocks.append(np.linalg.qr(np.stack(steps, axis=1))[0])
    return np.hstack(blocks)


@given(columns(), st.sampled_from([3, 4]))
def test_symmetric_condition_is_that_of_the_full_terracini_matrix(directions, order):
    directions = directions / np.linalg.norm(directions, axis=0)
    smallest = np.linalg.svd(jacobian(directions, order), compute_uv=False)[-1]
    # singular values are known to ε times the largest, which is at most √r
    assert abs(1 / symmetric_condition(directions, order) - smallest) <= 30 * EPSILON * 10 * directions.shape[1]


@given(columns(), st.sampled_from([3, 4]), seeds())
def test_condition_is_invariant_under_rotation_scaling_and_order(directions, order, seed):
    generator = np.random.default_rng(seed)
    size, rank = directions.shape
    rotation = np.linalg.qr(generator.standard_normal((size, size)))[0]
    changed = (rotation @ directions * generator.uniform(0.5, 2, rank))[:, generator.permutation(rank)]
    one, other = symmetric_condition(directions, order), symmetric_condition(changed, order)
    assert abs(1 / one - 1 / other) <= 30 * EPSILON * 10 * rank
    assert one >= 1 - 30 * EPSILON * 10
    # padding with zeros changes nothing either
    padded = symmetric_condition(np.vstack([directions, np.zeros((2, rank))]), order)
    assert 1 / padded <= 1 / one + 30 * EPSILON * 10 * rank


@given(columns())
def test_the_condition_among_all_decompositions_is_at_least_the_symmetric_one(directions):
    assert condition_number([directions] * 3) >= symmetric_condition(directions, 3) * (1 - 1e-9)


@given(columns(3), seeds())
def test_small_changes_of_the_terms_are_seen_in_the_tensor(directions, seed):
    """‖ΔT‖ ≥ (1/κ) √(Σ_i ‖ΔA_i‖²) to first order, for random changes of all terms A_i = x_i^{⊗3}."""
    change = 1e-6 * np.random.default_rng(seed).standard_normal(directions.shape)
    cube = lambda x: np.einsum("ir,jr,kr->rijk", x, x, x)  # noqa: E731
    moved = cube(directions + change) - cube(directions)
    seen = np.linalg.norm(moved.sum(axis=0)) / np.linalg.norm(moved)
    # second order: changes of 1e-6, magnified by the condition
    assert seen >= 1 / symmetric_condition(directions, 3) - 1e-3


def test_orthogonal_vectors_have_condition_one():
    for order in (3, 4):
        frame = np.linalg.qr(np.random.default_rng(0).standard_normal((6, 4)))[0]
        assert abs(symmetric_condition(frame, order) - 1) <= 30 * EPSILON
    assert abs(condition_number([np.eye(3)] * 3) - 1) <= 30 * EPSILON
    assert symmetric_condition(np.ones((1, 1)), 3) == 1.0


@pytest.mark.parametrize(("cosine", "printed"), [(0.6, 4.0), (0.9, 39), (0.95, 115), (0.99, 1337)])
def test_equicorrelated_vectors(cosine, printed):
    frame = np.linalg.qr(np.random.default_rng(0).standard_normal((20, 6)))[0]
    directions = math.sqrt(cosine) * frame[:, :1] + math.sqrt(1 - cosine) * frame[:, 1:]
    # printed to two to four digits
    assert abs(symmetric_condition(directions, 3) / printed - 1) < 0.02


def test_two_vectors_at_a_small_angle_have_a_condition_of_its_inverse_cube():
    for angle in (1e-1, 1e-2, 1e-3):
        pair = np.array([[1.0, math.cos(angle)], [0.0, math.sin(angle)]])
        # 2√2 θ⁻³ (1 + O(θ²)); κ is known to κ ε
        allowed = angle**2 + 30 * EPSILON * angle**-3
        assert abs(symmetric_condition(pair, 3) * angle**3 / math.sqrt(8) - 1) <= allowed


def test_what_is_not_determined_has_no_finite_condition():
    assert symmetric_condition(np.eye(3), 2) == math.inf  # 9 unknowns, 6 equations
    assert condition_number([np.eye(3), np.eye(3)]) == math.inf
    assert symmetric_condition(np.array([[1.0, 1.0], [0.0, 0.0]]), 3) > 1e14  # parallel


@given(readable_arrays((3, 3)), readable_arrays((3, 3)), readable_arrays((3, 3)))
def test_the_conditions_say_what_the_ranks_say(first, second, third):
    found = uniqueness([first, second, third])
    ranks = tuple(kruskal_rank(factor) for factor in (first, second, third))
    assert found.kruskal_ranks == ranks
    assert found.kruskal == (sum(ranks) >= 8)
    assert (found.jennrich is not None) == (sorted(ranks)[1] == 3 and min(ranks) >= 2)
    if found.jennrich is not None:
        u, v, w = found.jennrich
        assert ranks[u] == ranks[v] == 3 and ranks[w] >= 2 and {u, v, w} == {0, 1, 2}
    assert found.proved == (found.kruskal or found.jennrich is not None)


@given(readable_arrays((3, 2)), st.sampled_from([3, 4]))
def test_certificates_of_symmetric_tensors(directions, order):
    factors = third_order_factors(directions, order)
    assert [factor.shape for factor in factors] == [(3, 2), (3, 2), (9, 2) if order == 4 else (3, 2)]
    made = cp_uniqueness(factors)
    assert isinstance(made, Refusal) == (not symmetric_uniqueness(directions, order).proved)
    if not isinstance(made, Refusal):
        assert checker.check(made.to_json()).valid
        broken = json.loads(made.to_json())
        broken["data"]["factors"][0][0] = ["99", "98"]  # no drawn number
        assert not checker.check(json.dumps(broken)).valid


def test_certificates_of_order_four_are_about_the_exact_products():
    directions = np.array([[0.1, 1.0], [1.0, 0.3]])
    merged = third_order_factors(directions, 4)[2]
    exact = RATIONAL.convert(directions)
    assert merged[1, 0] == exact[0, 0] * exact[1, 0] and merged[3, 1] == exact[1, 1] ** 2
    assert checker.check(cp_uniqueness(third_order_factors(directions, 4)).to_json()).valid


def test_three_vectors_in_a_plane_are_not_enough_at_order_three():
    plane = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    third, fourth = symmetric_uniqueness(plane, 3), symmetric_uniqueness(plane, 4)
    assert third.kruskal_ranks == (2, 2, 2) and not third.proved
    # 4·2 < 2·3 + 3 as well, but u ⊗ u are independent: the merged factor helps
    assert not fourth.proved
    merged = uniqueness(third_order_factors(plane, 4))
    assert merged.kruskal_ranks == (2, 2, 3) and not merged.proved


def test_a_single_term_and_parallel_terms():
    assert symmetric_uniqueness(np.ones((2, 1)), 3).jennrich == (0, 1, 2)
    assert not symmetric_uniqueness(np.zeros((2, 1)), 3).proved
    assert not symmetric_uniqueness(np.ones((2, 2)), 3).proved


def test_generic_ranks():
    # cubics in 6, quartics in 4 variables and sextics in 3 are the exceptions, one below their neighbours' rule
    assert [generic_rank_bound(p, 3) for p in range(2, 9)] == [1, 3, 4, 6, 8, 11, 14]
    assert generic_rank_bound(4, 4) == 7 and generic_rank_bound(3, 6) == 8


def test_refuses_bad_input():
    for directions in (np.ones(3), np.ones((2, 0)), np.full((2, 1), np.nan)):
        with pytest.raises(InputError, match="factors: found shape"):
            symmetric_condition(directions, 3)
    with pytest.raises(InputError, match="zero column"):
        symmetric_condition(np.zeros((2, 1)), 3)
    for order in (1, True, 3.0):
        with pytest.raises(InputError, match="order: found"):
            symmetric_condition(np.ones((2, 1)), order)
    for factors in ([np.ones((2, 1))], [np.ones((2, 1)), np.ones((2, 2))]):
        with pytest.raises(InputError, match="at least two"):
            condition_number(factors)
    with pytest.raises(InputError, match="Terracini matrix"):
        symmetric_condition(np.eye(40), 4)
    for factors in ([np.eye(2)] * 2, [np.eye(2), np.eye(2), np.eye(3)], [np.ones(2)] * 3):
        with pytest.raises(InputError, match="at least three matrices"):
            uniqueness(factors)
    with pytest.raises(InputError, match="3 and 4 are accepted"):
        third_order_factors(np.eye(2), 5)
    with pytest.raises(InputError, match="directions: found shape"):
        third_order_factors(np.ones(2), 3)
    with pytest.raises(InputError, match="at least 3"):
        symmetric_uniqueness(np.eye(2), 2)
    for dimension, order in ((1, 3), (3, 2), (True, 3)):
        with pytest.raises(InputError, match="an integer of at least"):
            generic_rank_bound(dimension, order)
