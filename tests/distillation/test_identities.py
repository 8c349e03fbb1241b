"""Leave-one-out, deletion cost and the two parts of a distance: against fits that were made again, in three arithmetics."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable import arithmetic
from provable.arithmetic import EPSILON, FLOAT64, RATIONAL
from provable.distillation.identities import (
    conditional_variances,
    deletion_costs,
    distance_parts,
    leave_one_out_residuals,
)
from provable.distillation.interpolation import accuracy, interpolant, merge_coincident
from provable.errors import InputError
from provable.kernels import ntk
from provable.theorems.strategies import readable_arrays, seeds


@st.composite
def definite_matrices(draw, size):
    """Rational positive definite matrices: A·Aᵀ plus a multiple of 1."""
    factor = draw(readable_arrays((size, size)))
    return factor @ factor.T + draw(st.sampled_from((1.0, 0.25, 2.0**-10))) * np.eye(size)


def refitted(gram, coefficients, j):
    """The function h, fitted again without sample j: its value there and the squared distance to h."""
    others = [i for i in range(len(gram)) if i != j]
    values = gram @ coefficients
    inner = gram[np.ix_(others, others)]
    beta = arithmetic.solve(inner, values[others])
    prediction = gram[j, others] @ beta
    difference = coefficients.copy()
    difference[others] = difference[others] - beta
    return prediction, (difference * (gram @ difference)).sum()


@given(st.data(), st.integers(1, 5), st.sampled_from((0, 2)), st.sampled_from((FLOAT64, RATIONAL)))
def test_the_outlier_law_against_fits_made_again(data, size, outputs, numbers):
    gram = data.draw(definite_matrices(size))
    alpha = data.draw(readable_arrays((size, outputs) if outputs else (size,)))
    condition = np.linalg.cond(gram)
    with numbers.working():
        gram, alpha = numbers.convert(gram), numbers.convert(alpha)
        residuals, costs = leave_one_out_residuals(gram, alpha), deletion_costs(gram, alpha)
        variances = conditional_variances(gram)
        values = gram @ alpha
        for j in range(size):
            if size == 1:
                prediction, distance = 0 * values[0], (values * alpha).sum()
            else:
                prediction, distance = refitted(gram, alpha, j)
            if numbers is RATIONAL:
                assert np.all(residuals[j] == values[j] - prediction)
                assert costs[j] == distance
                assert np.all(costs[j] == np.sum(residuals[j] * residuals[j]) / variances[j])
            else:
                # two solves of at most 5 unknowns
                unit = 20 * EPSILON * condition * np.abs(gram).max() * (1 + np.abs(alpha).max()) ** 2
                assert np.all(abs(residuals[j] - (values[j] - prediction)) < 30 * unit)
                assert abs(costs[j] - distance) < 30 * unit * condition


@given(st.data(), st.integers(1, 4), st.integers(1, 4), st.sampled_from((0, 2)))
def test_the_two_parts_add_up_to_the_distance(data, n, m, outputs):
    factor = data.draw(readable_arrays((n + m, n + m)))
    shape = (outputs,) if outputs else ()
    alpha, beta = data.draw(readable_arrays((n, *shape))), data.draw(readable_arrays((m, *shape)))
    with RATIONAL.working():
        factor, alpha, beta = (RATIONAL.convert(array) for array in (factor, alpha, beta))
        joint = factor @ factor.T
        gram, cross, other = joint[:n, :n], joint[:n, n:], joint[n:, n:]
        assume(arithmetic.determinant(gram) != 0)
        parts = distance_parts(gram, cross, other, gram @ alpha, beta)
        c = np.concatenate([alpha, -beta])
        assert parts.at_the_points + parts.unseen == (c * (joint @ c)).sum()
        assert parts.at_the_points >= 0 and parts.unseen >= 0


@given(seeds(), st.sampled_from((0.0, 1e-3, 1.0)))
def test_a_ridge_gives_the_residuals_of_the_ridge_fit(seed, ridge):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((6, 4)), rng.standard_normal(6)
    fit = interpolant(ntk(1, "relu"), x, y, ridge=ridge)
    regular = fit.gram + fit.ridge * np.eye(6)
    residuals = leave_one_out_residuals(regular, fit.coefficients)
    for j in range(6):
        others = [i for i in range(6) if i != j]
        alpha = np.linalg.solve(regular[np.ix_(others, others)], y[others])
        # two solves with 6 unknowns
        unit = 20 * EPSILON * np.linalg.cond(regular) * np.abs(fit.gram).max() * np.abs(fit.coefficients).max()
        assert abs(residuals[j] - (y[j] - fit.gram[j, others] @ alpha)) < 30 * unit


def test_a_sample_that_the_others_fit_costs_nothing():
    with RATIONAL.working():
        gram, values = RATIONAL.convert(np.array([[2.0, 1.0], [1.0, 2.0]])), RATIONAL.convert(np.array([2.0, 1.0]))
        alpha = arithmetic.solve(gram, values)  # the second value is what the first sample predicts
        assert leave_one_out_residuals(gram, alpha)[1] == 0
        assert deletion_costs(gram, alpha)[1] == 0
        assert 2 * deletion_costs(gram, alpha)[0] == 3  # α² / [K⁻¹] = 1 / (2/3)


def test_shapes_are_checked():
    with pytest.raises(InputError, match="square"):
        conditional_variances(np.ones((2, 3)))
    with pytest.raises(InputError, match="coefficients"):
        deletion_costs(np.eye(2), np.ones(3))


@given(seeds(), st.integers(1, 3))
def test_interpolants_take_the_values_and_have_the_norm(seed, outputs):
    rng = np.random.default_rng(seed)
    x, y = rng.standard_normal((6, 4)), rng.standard_normal((6, outputs))
    h = interpolant(ntk(2, "relu", bias_variance=0.5), x, y)
    unit = 20 * EPSILON * np.linalg.cond(h.gram) * np.abs(y).max()
    assert np.abs(h(x) - y).max() < 30 * unit
    assert abs(h.squared_norm - np.sum(y * h.coefficients)) < 30 * unit * (1 + np.abs(h.coefficients).sum())
    assert abs(h.largest_eigenvalue - np.linalg.norm(h.gram, 2)) < 30 * 6 * EPSILON * np.linalg.norm(h.gram, 2)
    assert np.array_equal(h.measure.points, x)


def test_coincident_points_are_named_and_merged():
    x = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0], [0.0, 1.0]])
    y = np.array([1.0, -1.0, 0.1, -1.0])
    kernel = ntk(1, "relu")
    with pytest.raises(InputError, match="points 0 and 2 coincide"):
        interpolant(kernel, x, y)
    merged = merge_coincident(x, y)
    assert merged.groups.tolist() == [0, 1, 0, 1] and merged.conflicts == (0,)
    assert np.array_equal(merged.points, x[:2]) and merged.values.tolist() == [0.55, -1.0]
    # the limit of ridge regression: with the ridge r the error is of the order of r + 2⁻⁵²/r, least at r = 2⁻²⁶
    limit, tolerance = interpolant(kernel, x, y, ridge=2.0**-26), 30 * 2.0**-26
    exact = interpolant(kernel, merged.points, merged.values)
    z = np.random.default_rng(0).standard_normal((5, 2))
    assert np.abs(limit(z) - exact(z)).max() < tolerance
    sums = np.bincount(merged.groups, weights=limit.coefficients)
    assert np.abs(sums - exact.coefficients).max() < tolerance


def test_points_on_one_ray_are_refused_without_a_bias():
    x = np.array([[1.0, 2.0], [2.0, 4.0]])
    with pytest.raises(InputError, match=r"no two points coincide.*one ray"):
        interpolant(ntk(1, "relu"), x, np.ones(2))
    interpolant(ntk(1, "relu", bias_variance=1.0), x, np.ones(2))


def test_zeros_and_nearly_coincident_points_are_named():
    kernel = ntk(1, "relu")
    with pytest.raises(InputError, match="point 1 is zero"):
        interpolant(kernel, np.array([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]]), np.ones(3))
    near = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 2.0**-51]])
    with pytest.raises(InputError, match="points 0 and 2 are at the relative distance 4e-16"):
        interpolant(kernel, near, np.ones(3))


@pytest.mark.parametrize(
    ("points", "values", "ridge", "message"),
    [
        (np.ones((2, 2)), np.ones(3), 0.0, "values"),
        (np.ones((2, 2)), np.array([1.0, np.nan]), 0.0, "values"),
        (np.ones(2), np.ones(2), 0.0, "points"),
        (np.full((1, 2), np.inf), np.ones(1), 0.0, "points"),
        (np.eye(2), np.ones(2), -1.0, "ridge"),
        (np.zeros((2, 2)), np.ones(2), 0.0, "singular"),
    ],
)
def test_bad_samples_are_refused(points, values, ridge, message):
    with pytest.raises(InputError, match=message):
        interpolant(ntk(1, "relu"), points, values, ridge=ridge)


def test_accuracy_by_sign_and_by_class():
    assert accuracy([1.0, -2.0, 0.0, 3.0], [1.0, 1.0, 1.0, 1.0]) == 0.5
    assert accuracy([[1.0, 2.0], [3.0, 0.0]], [[-0.1, 0.9], [-0.1, 0.9]]) == 0.5
    assert accuracy([[1.0], [-1.0]], [[1.0], [1.0]]) == 0.5
    with pytest.raises(InputError, match="predictions"):
        accuracy([1.0], [1.0, 2.0])
    with pytest.raises(InputError, match="values"):
        merge_coincident(np.ones((2, 2)), np.ones(3))


def test_singular_matrices_are_refused():
    ones = np.ones((2, 2))
    for arithmetic_of in (FLOAT64, RATIONAL):
        gram = arithmetic_of.convert(ones)
        for call in (
            lambda gram=gram: conditional_variances(gram),
            lambda gram=gram: deletion_costs(gram, gram[0]),
            lambda gram=gram: distance_parts(gram, gram, gram, gram[0], gram[0]),
        ):
            with pytest.raises(InputError, match=r"^gram: found a singular matrix"):
                call()


def test_a_kernel_that_returns_no_numbers_is_refused():
    with pytest.raises(InputError, match="singular to rounding"):
        interpolant(lambda X, Z=None: np.full((2, 2), np.nan), np.eye(2), np.ones(2))
