"""The nearest point in a cone of cells, against enumeration of vertices, SciPy's solvers and its own conditions."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.arithmetic import EPSILON, RATIONAL, to_float
from provable.stationarity.multipliers import nearest_in_cone


@st.composite
def problems(draw, *, inside=None):
    """Small integers, so that dependent, repeated and zero columns are common."""
    dimension, cells = draw(st.integers(1, 5)), draw(st.integers(1, 4))
    owners = np.array(draw(st.lists(st.integers(0, cells - 1), max_size=5)), dtype=np.intp)
    numbers = st.integers(-2, 2)
    base = np.array(draw(st.lists(numbers, min_size=cells * dimension, max_size=cells * dimension)), dtype=float)
    steps = len(owners) * dimension
    steps = np.array(draw(st.lists(numbers, min_size=steps, max_size=steps)), dtype=float)
    base, steps = base.reshape(cells, dimension), steps.reshape(len(owners), dimension)
    if draw(st.booleans()) if inside is None else inside:
        weights = np.array(draw(st.lists(st.integers(0, 2), min_size=cells, max_size=cells)), dtype=float)
        shares = np.array(draw(st.lists(st.sampled_from((0.0, 0.25, 1.0)), min_size=len(owners), max_size=len(owners))))
        return weights @ base + (weights[owners] * shares) @ steps, base, steps, owners
    vector = np.array(draw(st.lists(numbers, min_size=dimension, max_size=dimension)), dtype=float)
    return vector, base, steps, owners


def vertices(base, steps, owners):
    """Every cell's vertices: the cone's generators."""
    found = []
    for cell in range(len(base)):
        own = steps[owners == cell]
        found += [
            base[cell] + np.array(sides, dtype=float) @ own for sides in itertools.product((0, 1), repeat=len(own))
        ]
    return np.array(found)


def size(vector, base, steps, point):
    return np.linalg.norm(vector) + point.weights @ np.abs(base).sum(axis=1) + point.parts @ np.abs(steps).sum(axis=1)


@settings(max_examples=200, deadline=None)
@given(problems())
def test_the_distance_is_that_of_the_vertices(problem):
    vector, base, steps, owners = problem
    point = nearest_in_cone(*problem)
    _, distance = scipy.optimize.nnls(vertices(base, steps, owners).T, vector)
    # the condition of subsets of columns with entries up to 12 in dimension 5; measured ratios stay below 3
    assert abs(np.linalg.norm(point.residual) - distance) <= 30 * 64 * EPSILON * size(vector, base, steps, point)
    assert point.settled


@settings(max_examples=100, deadline=None)
@given(problems())
def test_exact_points_meet_their_conditions_exactly(problem):
    vector, base, steps, owners = RATIONAL.convert(problem[:3]) + problem[3:]
    steps = np.asarray(steps).reshape(problem[2].shape)
    point = nearest_in_cone(vector, base, steps, owners)
    assert point.settled
    assert all(weight >= 0 for weight in point.weights)
    assert all(0 <= part <= point.weights[owner] for part, owner in zip(point.parts, owners, strict=True))
    residual = vector - point.weights @ base - point.parts @ steps
    assert np.all(residual == point.residual)
    assert (vector - residual) @ residual == 0
    for cell in range(len(base)):
        price = base[cell] @ residual
        assert price + sum((max(step @ residual, 0 * price) for step in steps[owners == cell]), 0 * price) <= 0
    floats = nearest_in_cone(*problem)
    error = np.linalg.norm(floats.residual - to_float(point.residual))
    assert error <= 30 * 64 * EPSILON * size(*problem[:3], floats)


@settings(max_examples=100, deadline=None)
@given(problems(inside=True))
def test_what_lies_in_the_cone_is_found_there(problem):
    exact = RATIONAL.convert(problem[:3]) + problem[3:]
    point = nearest_in_cone(exact[0], exact[1], np.asarray(exact[2]).reshape(problem[2].shape), exact[3])
    assert np.all(point.residual == 0)


@settings(max_examples=100, deadline=None)
@given(problems(), st.lists(st.integers(0, 2), min_size=4, max_size=4))
def test_known_multipliers_leave_a_problem_in_a_box(problem, known):
    vector, base, steps, owners = problem
    fixed = np.array(known[: len(base)], dtype=float)
    point = nearest_in_cone(vector, base, steps, owners, fixed=fixed)
    assert np.array_equal(point.weights, fixed)
    assert np.all((point.parts >= 0) & (point.parts <= fixed[owners]))
    open_steps = steps[fixed[owners] > 0]
    target = vector - fixed @ base
    distance = np.linalg.norm(target)
    if len(open_steps):
        upper = fixed[owners][fixed[owners] > 0]
        distance = np.sqrt(
            2 * scipy.optimize.lsq_linear(open_steps.T, target, (0, upper), method="bvls", tol=1e-15).cost
        )
    # SciPy's method stops at a relative decrease of 1e-15 of the cost, that is of the square
    assert np.linalg.norm(point.residual) <= distance + 1e-7 * (1 + distance)
    assert distance <= np.linalg.norm(point.residual) + 1e-7 * (1 + distance)


@pytest.mark.parametrize("seed", range(2))
def test_a_larger_problem_is_solved_to_rounding(seed):
    """Twenty cells with two hundred steps: a point inside is found, and one outside gets the prices of the nearest one."""
    rng = np.random.default_rng(seed)
    cells, kinks, dimension = 20, 200, 160
    base, steps = rng.standard_normal((cells, dimension)), rng.standard_normal((kinks, dimension))
    owners = rng.integers(0, cells, kinks)
    weights = rng.random(cells) * (rng.random(cells) < 0.7)
    vector = weights @ base + (np.clip(rng.normal(0.5, 1.0, kinks), 0, 1) * weights[owners]) @ steps
    inside = nearest_in_cone(vector, base, steps, owners)
    assert np.linalg.norm(inside.residual) <= 30 * kinks * EPSILON * np.linalg.norm(vector)
    outside = nearest_in_cone(rng.standard_normal(dimension), base, steps, owners)
    prices = np.maximum(steps @ outside.residual, 0)
    totals = base @ outside.residual
    np.add.at(totals, owners, prices)
    scale = np.linalg.norm(base, axis=1).max() * np.linalg.norm(steps, axis=1).max()
    assert np.linalg.norm(outside.residual) > 0.1
    assert totals.max() <= 30 * dimension * EPSILON * scale
