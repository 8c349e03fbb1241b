"""The equations behind the gradient of one hidden layer, and the search that solves them, against independent oracles."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Architecture,
    Erf,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import EPSILON
from provable.measures import Measure
from provable.networks import Parameters, activations, embed
from provable.observations import Observation
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.output_gradient.equations import Equations, Reflection
from provable.recovery.batch.output_gradient.search import contributions, random_points, with_new_sample
from provable.recovery.batch.output_gradient.signs_and_norms import scales, turned_around
from provable.recovery.batch.output_gradient.variable_projection import descend, fit

SMOOTH = (Tanh(), Sigmoid(), Softplus(), Erf(), GELU(), SiLU(), Polynomial((0.5, -1.0, 1.0, 1.0)))
PIECES = ("0/weight", "0/bias", "2/weight", "2/bias")


@st.composite
def systems(draw, *, most_outputs=1, fewest_outputs=1):
    """Equations of a random network, samples and coefficients, of which any pieces but none are observed."""
    hidden_bias, output_bias = draw(st.booleans()), draw(st.booleans())
    width, dimension, count = draw(st.integers(2, 7)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    outputs = draw(st.integers(fewest_outputs, most_outputs))
    layers = (Linear(width, hidden_bias), draw(st.sampled_from(SMOOTH)), Linear(outputs, output_bias))
    architecture = Architecture("drawn", (dimension,), layers, "squared")
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parameters = Parameters.random(architecture, rng=rng)
    points = rng.standard_normal((count, dimension))
    coefficients = rng.standard_normal((count, architecture.output_size))
    image = embed(architecture, parameters, Measure(points, coefficients))
    available = [name for name in PIECES if name in image]
    names = draw(st.lists(st.sampled_from(available), min_size=1, unique=True))
    vector = {name: image[name] for name in available if name in names}
    observation = Observation("gradient", architecture, parameters, vector)
    return Equations.of(FullyConnected.of(observation), False), points, coefficients


@given(systems())
def test_the_true_batch_solves_the_equations(system):
    equations, points, coefficients = system
    design, observed = equations.design(points), equations.observed()
    terms = np.abs(design) @ np.abs(coefficients.reshape(-1))
    # Sums of at most 7 products inside each of at most 3 terms, all in another order than the embedding.
    assert np.all(np.abs(design @ coefficients.reshape(-1) - observed) <= 30 * 7 * EPSILON * (terms + np.max(terms)))
    assert equations.size == len(observed) == len(design)


@given(systems(fewest_outputs=2, most_outputs=3))
def test_fewer_coordinates_of_the_outputs_suffice(system):
    """In the column space of the observed gradient of A some coefficients solve the equations."""
    equations, points, coefficients = system
    if equations.output_weight is None or np.linalg.matrix_rank(coefficients) < min(coefficients.shape):
        return
    hidden = activations.value(equations.activation, equations._preactivations(points))
    rank = min(hidden.shape)
    singular = np.linalg.svd(hidden, compute_uv=False)
    if (
        singular[rank - 1] < 1e-4 * singular[0]
    ):  # nearly dependent samples: a column space smaller than the coefficients'
        return
    solution, *_ = np.linalg.lstsq(equations.design(points), equations.observed(), rcond=None)
    misfit = equations.design(points) @ solution - equations.observed()
    # The rank decision cuts at 16 (√m + √p) ε of the largest entry; cond(hidden) ≤ 1e4 amplifies the cut.
    assert np.linalg.norm(misfit) <= 1e4 * 16 * 5 * EPSILON * 30


@given(systems(most_outputs=3), st.integers(0, 2**32))
def test_the_derivative_agrees_with_differences(system, seed):
    equations, points, _ = system
    rng = np.random.default_rng(seed)
    coefficients = rng.standard_normal((len(points), equations.outputs))
    direction = rng.standard_normal(points.shape)

    def value(step):
        rows = equations.design(points + step * direction)
        return rows[:, : coefficients.size] @ coefficients.reshape(-1)

    step = 2.0**-12
    # Richardson's extrapolation: the error is of order step⁴ ≈ 4e-15 times fifth derivatives, and ε / step from rounding.
    first, second = (value(step) - value(-step)) / (2 * step), (value(2 * step) - value(-2 * step)) / (4 * step)
    expected = (4 * first - second) / 3
    found = equations.derivative(points, coefficients) @ direction.reshape(-1)
    size = (
        np.linalg.norm(equations.design(points)) * np.linalg.norm(coefficients) * (1 + np.linalg.norm(direction)) ** 5
    )
    size *= (1 + np.linalg.norm(equations.weight) + np.linalg.norm(points)) ** 2
    assert np.linalg.norm(found - expected) <= 30 * EPSILON / step * (size + np.linalg.norm(expected))


@given(systems())
def test_the_surplus_counts_equations_and_unknowns(system):
    equations, points, _ = system
    rows, columns = equations.design(points).shape
    assert equations.surplus(len(points)) == equations.independent - columns - points.size
    assert equations.independent <= rows == equations.size
    if not isinstance(equations.activation, Polynomial):
        assert equations.independent == rows
    for free, unknowns in (("constant", equations.outputs), ("linear", equations.outputs * equations.dimension)):
        extended = dataclasses.replace(equations, free=free)
        assert extended.surplus(2) == equations.surplus(2) - unknowns
        assert extended.design(points).shape == (rows, columns + unknowns)


@given(
    st.lists(st.sampled_from([0.0, 1.0, -0.5]), min_size=3, max_size=5),
    st.integers(1, 3),
    st.integers(1, 40),
    st.booleans(),
    st.integers(0, 2**32),
)
def test_a_polynomial_shows_no_more_than_its_monomials(coefficients, dimension, neurons, bias, seed):
    """The rank of the terms of very many samples is the number of independent equations."""
    rng = np.random.default_rng(seed)
    weight, shift = rng.standard_normal((neurons, dimension)), rng.standard_normal(neurons) if bias else None
    ones = np.ones((1, neurons))
    equations = Equations(weight, shift, Polynomial(tuple(coefficients)), ones, ones, None, None, None)
    design = equations.design(rng.standard_normal((300, dimension)))
    # A gap of many orders: exact zeros beside products of Gaussian matrices of at most 40 rows and degree 4.
    assert np.linalg.matrix_rank(design, tol=1e-10 * max(np.linalg.norm(design), 1e-300)) <= equations.independent
    if any(coefficients[1:]) and coefficients[-1] and dimension > 1 and not bias:
        assert np.linalg.matrix_rank(design, tol=1e-12 * np.linalg.norm(design)) == equations.independent


@pytest.mark.parametrize(
    ("activation", "expected"),
    [
        (Tanh(), Reflection(odd=True, amount=0.0)),
        (Erf(), Reflection(odd=True, amount=0.0)),
        (Sigmoid(), Reflection(odd=True, amount=1.0)),
        (Polynomial((0.25, 1.0, 0.0, -2.0)), Reflection(odd=True, amount=0.5)),
        (Softplus(), Reflection(odd=False, amount=1.0)),
        (ReLU(), Reflection(odd=False, amount=1.0)),
        (GELU(), Reflection(odd=False, amount=1.0)),
        (SiLU(), Reflection(odd=False, amount=1.0)),
        (LeakyReLU(0.25), Reflection(odd=False, amount=1.25)),
        (Polynomial((1.0, -3.0, 1.0, 0.0, 2.0)), Reflection(odd=False, amount=-6.0)),
        (ELU(), None),
        (Polynomial((0.0, 0.0, 1.0, 1.0)), None),
    ],
)
def test_reflections_hold_for_the_functions_themselves(activation, expected):
    weight = np.ones((3, 2))
    equations = Equations(weight, None, activation, np.ones((1, 3)), np.ones((1, 3)), None, None, None)
    assert equations.reflection == expected
    assert dataclasses.replace(equations, bias=np.ones(3)).reflection is None
    z = np.linspace(-3, 3, 41)
    here, there = activations.value(activation, z), activations.value(activation, -z)
    if expected is None:
        assert np.ptp(here + there) > 0.1
        assert np.ptp((here - there)[z != 0] / z[z != 0]) > 0.1
        return
    wanted = expected.amount - here if expected.odd else here - expected.amount * z
    # A few roundings of values, which are at most 200.
    np.testing.assert_allclose(there, wanted, atol=8 * 200 * EPSILON)


@given(
    st.sampled_from([Sigmoid(), Softplus(), ReLU(), GELU(), Polynomial((0.25, 1.0, 0.0, -2.0))]),
    st.integers(1, 2),
    st.integers(0, 2**32),
)
def test_with_the_free_unknown_signs_do_not_matter(activation, outputs, seed):
    """All 2ⁿ choices of signs explain the gradient of A equally well, and that of W where it can."""
    rng = np.random.default_rng(seed)
    weight, head = rng.standard_normal((25, 3)), rng.standard_normal((outputs, 25))
    points = rng.standard_normal((2, 3))
    equations = Equations(weight, None, activation, head, head, None, weight, None)
    reflection = equations.reflection
    free = dataclasses.replace(equations, free=reflection.free)
    coefficients = rng.standard_normal((2, outputs))
    truth = np.concatenate([coefficients.reshape(-1), np.zeros(free.constants)])
    image = free.design(points) @ truth
    for signs in itertools.product([1.0, -1.0], repeat=2):
        design = free.design(np.array(signs)[:, None] * points)
        misfit = image - design @ np.linalg.lstsq(design, image, rcond=None)[0]
        # κ of the design enters the projection; the columns are independent but not well-conditioned.
        condition = np.linalg.cond(design / np.linalg.norm(design, axis=0))
        assert np.linalg.norm(misfit) <= 30 * 10 * EPSILON * condition * np.linalg.norm(image)


@given(systems(), st.integers(0, 2**32))
def test_eliminated_coefficients_are_the_best_ones(system, seed):
    equations, points, _ = system
    rng = np.random.default_rng(seed)
    observed = equations.observed()
    elsewhere = points + 0.3 * rng.standard_normal(points.shape)
    if equations.surplus(0) < len(points):
        return
    found = fit(equations, observed, elsewhere)
    design = equations.design(elsewhere)
    if not math.isfinite(found.cost):
        # Refused: numerically dependent columns, at a condition that the normalised design shows as well.
        sizes = np.linalg.norm(design, axis=0)
        assert not np.all(sizes > 0) or np.linalg.cond(design / sizes) > 1e10
        return
    best = np.linalg.lstsq(design, observed, rcond=None)[0]
    cost = float(np.sum((design @ best - observed) ** 2))
    # Both are projections: errors ε of the observation's norm, which is at most 2, one piece each having norm 1.
    assert abs(found.cost - cost) <= 30 * 10 * EPSILON * (1 + found.scale)
    misfit = observed - design @ np.concatenate([found.coefficients.reshape(-1), found.constants])
    np.testing.assert_allclose(misfit, found.misfit, atol=30 * 10 * EPSILON * (1 + found.scale))


def large_system(seed, activation=None, count=4):
    rng = np.random.default_rng(seed)
    architecture = Architecture("wide", (3,), (Linear(60, False), activation or Tanh(), Linear(1, False)), "squared")
    parameters = Parameters.random(architecture, rng=rng)
    points, coefficients = rng.standard_normal((count, 3)), rng.choice([-1.0, 1.0], size=(count, 1))
    image = embed(architecture, parameters, Measure(points, coefficients))
    observation = Observation("gradient", architecture, parameters, {"2/weight": image["2/weight"]})
    return Equations.of(FullyConnected.of(observation), False), points


@given(st.integers(0, 2**32))
def test_contributions_are_what_the_fit_loses_without_a_sample(seed):
    equations, points = large_system(seed)
    observed = equations.observed()
    elsewhere = points + 0.5 * np.random.default_rng(seed).standard_normal(points.shape)
    found = fit(equations, observed, elsewhere)
    if not math.isfinite(found.cost):
        return
    lost = [fit(equations, observed, np.delete(elsewhere, index, axis=0)).cost - found.cost for index in range(4)]
    condition = np.linalg.cond(equations.design(elsewhere))
    np.testing.assert_allclose(contributions(found), lost, atol=30 * 10 * EPSILON * condition**2)


@given(st.integers(0, 2**32))
def test_a_new_sample_never_explains_less(seed):
    equations, points = large_system(seed)
    observed = equations.observed()
    rng = np.random.default_rng(seed)
    before = fit(equations, observed, points[:2])
    after = with_new_sample(equations, observed, points[:2], rng)
    assert len(after.points) == 3
    np.testing.assert_array_equal(after.points[:2], points[:2])
    assert after.cost <= before.cost * (1 + 30 * EPSILON)
    assert len(random_points(equations, 7, rng)) == 7


@given(st.integers(0, 2**32), st.sampled_from([Tanh(), Softplus(), Polynomial((0.0, 0.0, 1.0, 1.0))]))
def test_a_descent_never_goes_up_and_ends_at_a_nearby_solution(seed, activation):
    equations, points = large_system(seed, activation, count=2)
    observed = equations.observed()
    rng = np.random.default_rng(seed)
    start = fit(equations, observed, points + 1e-6 * rng.standard_normal(points.shape))
    if not math.isfinite(start.cost):
        return
    found, steps = descend(equations, observed, start, most=30, tolerance=64 * EPSILON * 3)
    assert steps <= 30
    assert found.cost <= start.cost
    if np.linalg.cond(equations.design(points)) < 1e2:  # apart from nearly parallel samples, whose valley is curved
        assert found.relative <= 64 * EPSILON * 3


@given(st.integers(1, 8), st.integers(1, 9), st.integers(0, 2**32))
def test_signs_are_those_that_add_up(count, size, seed):
    rng = np.random.default_rng(seed)
    changes = rng.standard_normal((count, size))
    turned = rng.choice([0.0, 1.0], size=count)
    signs = turned_around(changes, turned @ changes)
    sums = [np.array(choice) @ changes for choice in itertools.product([0.0, 1.0], repeat=count)]
    gap = min(float(np.linalg.norm(one - other)) for one, other in itertools.combinations(sums, 2))
    if gap > 1e-6:  # no other choice adds up as well
        np.testing.assert_array_equal(signs, 1 - 2 * turned)


@given(st.integers(1, 6), st.integers(1, 3), st.integers(0, 2**32))
def test_scales_reproduce_the_gradient_of_the_bias(count, outputs, seed):
    rng = np.random.default_rng(seed)
    coefficients = rng.standard_normal((count, outputs))
    truth = np.exp(rng.uniform(-1, 1, size=count))
    gradient = coefficients.T @ truth
    found = scales(coefficients, gradient)
    assert np.all(found > 0)
    condition = np.linalg.cond(coefficients)
    if condition < 1e6:
        # The bounded least squares stop at a relative change of 1e-10 of the cost, so at 1e-5 of the misfit's scale.
        np.testing.assert_allclose(coefficients.T @ found, gradient, atol=1e-5 * np.linalg.norm(coefficients))
        if count <= outputs:
            np.testing.assert_allclose(found, truth, atol=1e-5 * condition * math.e)
