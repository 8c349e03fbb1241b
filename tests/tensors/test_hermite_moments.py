"""Hermite moments against explicit sums, Gaussian quadrature, symmetries and their own standard error."""

from __future__ import annotations

import functools
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures.layers import GELU, Activation, Erf, Polynomial, ReLU, Softplus, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.networks.activations import derivative, value
from provable.networks.hermite_coefficients import hermite_coefficient
from provable.tensors import (
    antithetic_weights,
    contracted_moment,
    detrended,
    hermite_moment,
    hermite_regression,
    leading_subspace,
    moment_error,
    parity_part,
    slope_moment,
)
from provable.theorems.strategies import seeds

CUBIC = Polynomial((0.0, 0.0, 1.0, 1.0))


def explicit_hermite(w: np.ndarray, order: int) -> np.ndarray:
    """H_k(w) entry by entry as a product of He_n(w_i), one per coordinate."""
    result = np.empty((len(w),) * order)
    for places in itertools.product(range(len(w)), repeat=order):
        counts = np.bincount(places, minlength=len(w))
        result[places] = math.prod(
            np.polynomial.hermite_e.hermeval(x, [0] * n + [1]) for x, n in zip(w, counts, strict=True)
        )
    return result


def power(vector: np.ndarray, order: int) -> np.ndarray:
    return functools.reduce(np.multiply.outer, [vector] * order)


def expected_moment(activation: Activation, inputs: np.ndarray, residuals: np.ndarray, order: int) -> np.ndarray:
    """Σ_i r_i a_k(‖x_i‖) (x_i/‖x_i‖)^{⊗k}."""
    norms = np.linalg.norm(inputs, axis=0)
    weights = residuals * hermite_coefficient(activation, order, norms)
    return sum(weight * power(x, order) for weight, x in zip(weights, (inputs / norms).T, strict=True))


def batch(seed: int, activation: Activation, d: int, size: int, width: int, offset: float = 0.0):
    """Unit inputs (d, B), residuals, weights, the values g and their gradients."""
    generator = np.random.default_rng(seed)
    inputs = generator.standard_normal((d, size))
    inputs /= np.linalg.norm(inputs, axis=0)
    residuals = generator.choice([-1.0, 1.0], size) + offset
    weights = generator.standard_normal((width, d))
    z = weights @ inputs
    return (
        inputs,
        residuals,
        weights,
        value(activation, z) @ residuals,
        derivative(activation, z) * residuals @ inputs.T,
    )


@given(seeds(), st.integers(1, 3), st.integers(1, 4), st.integers(1, 4))
def test_moments_are_averages_of_hermite_tensors(seed: int, p: int, count: int, order: int) -> None:
    generator = np.random.default_rng(seed)
    points, values, slopes = (generator.standard_normal(shape) for shape in ((count, p), count, (count, p)))
    tensors = [explicit_hermite(w, order) for w in points]
    lower = [explicit_hermite(w, order - 1) for w in points]
    # sums of ten products per entry, and cancellation among terms as large as these
    size = (
        count * (1 + np.abs(points).max()) ** order * (1 + np.abs(np.concatenate([values, slopes.reshape(-1)])).max())
    )
    average = sum(g * tensor for g, tensor in zip(values, tensors, strict=True)) / count
    assert np.abs(hermite_moment(points, values, order) - average).max() <= 30 * EPSILON * size
    outer = sum(np.multiply.outer(y, tensor) for y, tensor in zip(slopes, lower, strict=True)) / count
    symmetric = sum(np.transpose(outer, places) for places in itertools.permutations(range(order)))
    found = slope_moment(points, slopes, order)
    assert np.abs(found - symmetric / math.factorial(order)).max() <= 30 * EPSILON * size


@given(seeds(), st.integers(1, 4), st.integers(1, 3), st.integers(0, 2), st.booleans())
def test_contracted_moments_are_contractions(seed: int, d: int, columns: int, extra: int, sloped: bool) -> None:
    generator = np.random.default_rng(seed)
    weights, block = generator.standard_normal((5, d)), generator.standard_normal((d, columns))
    values = generator.standard_normal((5, d) if sloped else 5)
    directions = list(generator.standard_normal((extra, d)))
    full = (slope_moment if sloped else hermite_moment)(weights, values, 2 + extra)
    for direction in directions:
        full = full @ direction
    size = 5 * np.linalg.norm(values) * (1 + np.linalg.norm(weights)) ** (2 + extra) * np.linalg.norm(block)
    size *= math.prod(1 + np.linalg.norm(direction) for direction in directions)
    found = contracted_moment(weights, values, block, directions)
    # at most ten terms of ten roundings each
    assert np.abs(found - full @ block).max() <= 30 * EPSILON * size


@given(seeds(), st.integers(1, 4), st.integers(1, 3))
def test_projection_commutes_with_the_moment(seed: int, order: int, p: int) -> None:
    generator = np.random.default_rng(seed)
    weights, values = generator.standard_normal((6, 4)), generator.standard_normal(6)
    basis = np.linalg.qr(generator.standard_normal((4, p)))[0]
    contracted = hermite_moment(weights, values, order)
    for _ in range(order):
        contracted = np.tensordot(contracted, basis, axes=(0, 0))
    size = np.linalg.norm(values) * (1 + np.linalg.norm(weights)) ** order
    assert np.abs(hermite_moment(weights @ basis, values, order) - contracted).max() <= 30 * EPSILON * size


@pytest.mark.parametrize("activation", [Tanh(), Softplus(), Erf(), GELU(), CUBIC], ids=lambda a: a.type)
def test_gaussian_quadrature_gives_the_moments_of_theory(activation: Activation) -> None:
    # Gauss-Hermite nodes of two coordinates as weighted points: the mean is exact up to 1e-7 for these functions
    nodes, masses = np.polynomial.hermite_e.hermegauss(60)
    points = np.array(list(itertools.product(nodes, nodes)))
    measure = np.array([a * b for a, b in itertools.product(masses, masses)]) / (2 * np.pi)
    inputs, residuals = np.array([[0.6, -0.3], [0.8, 1.1]]), np.array([1.0, -0.7])
    z = points @ inputs
    values = value(activation, z) @ residuals * measure * len(points)
    slopes = (derivative(activation, z) * residuals @ inputs.T) * (measure * len(points))[:, None]
    for order in (1, 2, 3, 4):
        expected = expected_moment(activation, inputs, residuals, order)
        # convergence of the rule, limited by the poles of tanh at ±iπ/2
        assert np.abs(hermite_moment(points, values, order) - expected).max() < 1e-6
        assert np.abs(slope_moment(points, slopes, order) - expected).max() < 1e-6


@given(seeds(), st.integers(1, 4))
def test_parity_parts_cancel_the_other_parity_exactly(seed: int, order: int) -> None:
    weights = antithetic_weights(20, 3, rng=seed)
    assert np.array_equal(weights[:20], -weights[20:])
    z = weights @ np.array([0.5, -0.3, 1.0])
    for activation, parity in ((Tanh(), 1), (Erf(), 1), (Polynomial((0.0, 0.0, 1.0)), 0)):
        part = parity_part(value(activation, z), order)
        moment = hermite_moment(weights[:20], part, order)
        if order % 2 != parity:
            assert not np.any(moment)
        else:
            full = hermite_moment(weights, value(activation, z), order)
            size = np.abs(z).max() ** 2 * (1 + np.linalg.norm(weights)) ** order
            assert np.abs(moment - full).max() <= 30 * EPSILON * size


@given(seeds(), st.integers(1, 4))
def test_standard_error_is_the_empirical_one(seed: int, order: int) -> None:
    generator = np.random.default_rng(seed)
    points, values = generator.standard_normal((30, 3)), generator.standard_normal(30)
    samples = np.array([g * explicit_hermite(w, order) for g, w in zip(values, points, strict=True)])
    direct = math.sqrt(samples.reshape(30, -1).var(axis=0, ddof=1).sum() / 30)
    measured = moment_error(points, values, order)
    assert abs(measured.error - direct) <= 30 * 10 * EPSILON * direct + 1e-12 * np.abs(samples).max()
    assert 0 <= measured.low <= measured.error <= measured.high


@pytest.mark.parametrize("activation", [Tanh(), Softplus(), ReLU()], ids=lambda a: a.type)
def test_true_error_lies_within_the_predicted_one(activation: Activation) -> None:
    squares, predicted = [], []
    order = 3 if isinstance(activation, Tanh) else 4
    for seed in range(12):
        inputs, residuals, weights, values, _ = batch(seed, activation, 4, 3, 3000)
        values = detrended(weights, values, 1)
        error = hermite_moment(weights, values, order) - expected_moment(activation, inputs, residuals, order)
        measured = moment_error(weights, values, order)
        squares.append(float(np.sum(error**2)) / measured.error**2)
        predicted.append(measured)
    # the mean of 12 squared errors of 81 to 256 correlated entries is within a factor of two of its expectation
    assert 0.5 < np.mean(squares) < 2.0
    assert all(one.low < one.error < one.high for one in predicted)


@given(seeds(), st.integers(1, 4), st.sampled_from([False, True]))
def test_regression_is_exact_for_polynomials(seed: int, size: int, sloped: bool) -> None:
    features = math.comb(size + 3, 3)
    width = math.ceil(2 * features / (size + 1)) if sloped else 2 * features
    inputs, residuals, weights, values, slopes = batch(seed, CUBIC, size, size, width, offset=3.0)
    fit = hermite_regression(weights, values, 3, slopes=slopes if sloped else None)
    unit = EPSILON * fit.condition * (np.linalg.norm(values) + np.linalg.norm(slopes)) * features
    assert fit.residual * np.linalg.norm(values) <= 30 * unit
    for order in (1, 2, 3):
        expected = expected_moment(CUBIC, inputs, residuals, order)
        # least squares: features operations in a row, magnified by the condition; √6 from the normalisation
        assert np.abs(fit.moments[order] - expected).max() <= 30 * unit


def test_a_batch_of_five_needs_sixty_neurons_and_no_more_for_the_cubic() -> None:
    for seed in range(3):
        inputs, residuals, weights, values, _ = batch(seed, CUBIC, 20, 5, 60, offset=3.0)
        basis = np.linalg.qr(inputs)[0]
        fit = hermite_regression(weights @ basis, values, 3)
        expected = expected_moment(CUBIC, basis.T @ inputs, residuals, 3)
        assert np.abs(fit.moments[3] - expected).max() <= 30 * 56 * EPSILON * fit.condition * np.linalg.norm(values)


def test_regression_moments_are_symmetric_and_agree_with_averages_on_large_samples() -> None:
    inputs, residuals, weights, values, slopes = batch(0, Tanh(), 3, 2, 4000)
    plain = hermite_regression(weights, values, 4)
    both = hermite_regression(weights, values, 4, slopes=slopes)
    for order in (1, 3):
        expected = expected_moment(Tanh(), inputs, residuals, order)
        errors = [np.linalg.norm(fit.moments[order] - expected) for fit in (plain, both)]
        assert errors[0] < np.linalg.norm(hermite_moment(weights, values, order) - expected)
        assert np.array_equal(plain.moments[order], np.swapaxes(plain.moments[order], 0, order - 1))
    assert 0 < plain.residual < 1 and plain.condition < 10


VARIANCES = {
    # √m ‖T̂(V,V,V) - T‖_F of the plain, centred and detrended moments of order three and of the regression of degree four
    Tanh(): (68, 68, 28, 21),
    Softplus(): (270, 92, 40, 0.9),
    ReLU(): (168, 96, 60, 14),
    CUBIC: (1450, 1340, 990, 0),
}


@pytest.mark.parametrize("activation", VARIANCES, ids=lambda activation: activation.type)
def test_the_errors_of_the_estimators_are_the_printed_ones(activation: Activation) -> None:
    errors = []
    for seed in range(5):
        inputs, labels, weights, _, _ = batch(seed, activation, 20, 5, 4000)
        z = weights @ inputs
        residuals = value(activation, z).mean(axis=0) + 3.0 - labels
        basis = np.linalg.qr(inputs)[0]
        points, values = weights @ basis, value(activation, z) @ residuals
        slopes = derivative(activation, z) * residuals @ (inputs.T @ basis)
        expected = expected_moment(activation, basis.T @ inputs, residuals, 3)
        estimates = [hermite_moment(points, values, 3)]
        estimates += [hermite_moment(points, detrended(points, values, degree), 3) for degree in (0, 1)]
        estimates += [hermite_regression(points, values, 4).moments[3]]
        estimates += [slope_moment(points, detrended(points, slopes, 1), 3)]
        errors.append([math.sqrt(4000) * float(np.linalg.norm(estimate - expected)) for estimate in estimates])
    *measured, sloped = np.mean(errors, axis=0)
    for number, printed in zip(measured, VARIANCES[activation], strict=True):
        # five batches against five others: each error is a root of 125 squares, and the residuals vary between batches
        assert abs(number - printed) <= 0.25 * printed + 1e-9
    assert sloped < 0.5 * measured[2]  # gradients tell more than values


@given(seeds(), st.integers(0, 3))
def test_detrending_removes_its_own_degree_and_nothing_of_polynomials_beyond(seed: int, degree: int) -> None:
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((40, 2))
    values = np.stack([points[:, 0] ** degree, generator.standard_normal(40)], axis=1)
    left = detrended(points, values, degree)
    assert left.shape == values.shape
    assert np.abs(left[:, 0]).max() <= 30 * 40 * EPSILON * np.abs(values).max() * 1e3  # condition of the products
    assert np.allclose(detrended(points, left, degree), left, atol=1e-9)  # a projection
    assert np.linalg.norm(left[:, 1]) < np.linalg.norm(values[:, 1])


@pytest.mark.parametrize("activation", [Tanh(), Softplus(), ReLU()], ids=lambda a: a.type)
def test_span_error_follows_the_root_of_d_over_m(activation: Activation) -> None:
    """‖P̂ - P‖ √(m/d) is the same for d = 20 and 80 and for m = 4000 and 16000, to 20 %."""

    def scaled(d: int, width: int) -> float:
        errors = []
        for seed in range(4):
            inputs, residuals, weights, values, _ = batch(seed, activation, d, 5, width, offset=3.0)
            values = detrended(weights, values, 1)
            matrix = contracted_moment(weights, values, np.eye(d))
            errors.append(np.linalg.norm(matrix - expected_moment(activation, inputs, residuals, 2), 2))
        return float(np.mean(errors)) * math.sqrt(width / d)

    small = scaled(20, 4000)
    for d, width in ((20, 16000), (80, 16000)):
        # the fourth seed leaves 5 % of noise, and d/m = 1/200 costs a few percent
        assert 0.8 < scaled(d, width) / small < 1.25


def test_leading_subspace_finds_the_inputs() -> None:
    for sloped, d in ((False, 12), (True, 12), (True, 5)):
        inputs, _, weights, values, slopes = batch(1, Softplus(), d, 3, 20_000)
        observed = detrended(weights, slopes if sloped else values, 0 if sloped else 1)
        basis = leading_subspace(weights, observed, 3, rng=0)
        assert np.abs(basis.T @ basis - np.eye(3)).max() <= 30 * EPSILON
        assert np.linalg.norm(inputs - basis @ (basis.T @ inputs), 2) < (0.2 if sloped else 0.5)
        assert np.array_equal(basis, leading_subspace(weights, observed, 3, rng=0))
    # odd activations: the order-3 matrix along the first moment, which lies in the span
    inputs, _, weights, values, _ = batch(1, Tanh(), 12, 3, 40_000)
    along = hermite_moment(weights, values, 1)
    basis = leading_subspace(weights, detrended(weights, values, 1), 3, [along / np.linalg.norm(along)], rng=0)
    assert np.linalg.norm(inputs - basis @ (basis.T @ inputs), 2) < 0.6


def test_refuses_bad_input() -> None:
    points, values = np.ones((3, 2)), np.ones(3)
    for order in (0, 5, True, 2.0):
        with pytest.raises(InputError, match="order: found"):
            hermite_moment(points, values, order)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="points: found shape"):
        hermite_moment(np.ones(3), values, 1)
    with pytest.raises(InputError, match="values: found shape"):
        hermite_moment(points, np.ones(4), 1)
    with pytest.raises(InputError, match="one number per point"):
        hermite_moment(points, points, 1)
    with pytest.raises(InputError, match="not finite"):
        hermite_moment(points, np.full(3, np.nan), 1)
    with pytest.raises(InputError, match="slopes: found shape"):
        slope_moment(points, values, 2)
    with pytest.raises(InputError, match="at least two"):
        moment_error(points[:1], values[:1], 2)
    with pytest.raises(InputError, match="confidence"):
        moment_error(points, values, 2, confidence=1.0)
    with pytest.raises(InputError, match="block"):
        contracted_moment(points, values, np.ones((3, 1)))
    with pytest.raises(InputError, match="at most two vectors"):
        contracted_moment(points, values, np.ones((2, 1)), [np.ones(2)] * 3)
    with pytest.raises(InputError, match="numbers per weight"):
        contracted_moment(points, np.ones((3, 3)), np.ones((2, 1)))
    with pytest.raises(InputError, match="rank: found 3"):
        leading_subspace(points, values, 3)
    with pytest.raises(InputError, match="more than the 3 products"):
        detrended(points, values, 1)
    for degree in (-1, 7, True):
        with pytest.raises(InputError, match="degree: found"):
            detrended(points, values, degree)
    with pytest.raises(InputError, match="degree: found 0"):
        hermite_regression(points, values, 0)
    with pytest.raises(InputError, match="at least the 6 products"):
        hermite_regression(points, values, 2)
    with pytest.raises(InputError, match="lower the degree"):
        hermite_regression(np.ones((1000, 60)), np.ones(1000), 4)
    with pytest.raises(InputError, match="one number per point"):
        hermite_regression(points, points, 1)
    with pytest.raises(InputError, match="slopes: found shape"):
        hermite_regression(points, values, 1, slopes=values)
    with pytest.raises(InputError, match="an even number"):
        parity_part(values, 2)
