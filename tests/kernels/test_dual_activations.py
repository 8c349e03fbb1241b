"""The closed forms of Gaussian expectations against numerical integration."""

from __future__ import annotations

import math

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import EPSILON, Arithmetic
from provable.errors import ArithmeticUnsupported, InputError, UnsupportedError
from provable.kernels import hermite_series, nngp, ntk
from provable.kernels.activations import described, dual
from provable.kernels.covariances import of_inputs
from provable.networks.activations import derivative
from provable.networks.hermite_coefficients import hermite_coefficient

BALLS = Arithmetic("ball", bits=200)
SERIES = (Tanh(), Sigmoid(), Softplus(), SiLU())
POLYNOMIALS = (Polynomial((0.5, -1.0, 0.25, 2.0)), Polynomial((0.0, 1.0, 0.0, -0.1, 0.0, 0.01)), Polynomial((2.0,)))
SMOOTH = (Identity(), Erf(), GELU(), *SERIES, *POLYNOMIALS)
VARIANCES = st.just(0.0) | st.floats(1e-6, 4.0)
CORRELATIONS = st.floats(-1.0, 1.0)


def pair(p, q, u):
    """Two points of the plane with squared norms p and q and correlation u."""
    return np.array([[math.sqrt(p), 0.0]]), math.sqrt(q) * np.array([[u, math.sqrt(max(0.0, 1 - u * u))]])


def integrated(activation, left, right, order, other):
    """E[σ⁽ⁱ⁾(l·Z) σ⁽ʲ⁾(r·Z)] by the trapezoidal rule in the plane, spectrally accurate for analytic σ; and E|…|."""
    nodes = np.arange(-120, 121) / 12
    weights = np.exp(-nodes * nodes / 2) / (12 * math.sqrt(2 * math.pi))
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"))
    product = derivative(activation, np.tensordot(left[0], grid, axes=1), order)
    product = product * derivative(activation, np.tensordot(right[0], grid, axes=1), other)
    return float(weights @ product @ weights), float(weights @ abs(product) @ weights)


@given(st.sampled_from(SMOOTH), VARIANCES, VARIANCES, CORRELATIONS)
def test_smooth_duals_are_the_integrals(activation, p, q, u):
    left, right = pair(p, q, u)
    covariance = of_inputs(left, right)
    found = dual(activation)
    result, partials = found(covariance), found.first_partials(*arguments(covariance))
    values = [(result.covariance.value, 0, 0, 1), (result.slopes, 1, 1, 1), (partials.slopes, 1, 1, 1)]
    values += [(partials.value_p, 2, 0, 2), (partials.slopes_s, 2, 2, 1), (partials.slopes_p, 3, 1, 2)]
    second = found.second_partials(*arguments(covariance))
    values += [(second.value_pp, 4, 0, 4), (second.slopes_ss, 3, 3, 1), (second.slopes_sp, 4, 2, 2)]
    for value, order, other, factor in values:
        expected, _ = integrated(activation, left, right, order, other)
        squares = [integrated(activation, v, v, i, i)[0] for v, i in ((left, order), (right, other))]
        # closed forms lose digits by terms of up to the fourth power of 1 + p; E[σ²] is what the series is relative to
        assert abs(factor * value[0, 0] - expected) < 100 * EPSILON * (
            math.sqrt(squares[0] * squares[1]) + (1 + p) * (1 + q)
        )


def arguments(covariance):
    """What partial derivatives are asked for."""
    return covariance.left[:, None], covariance.right[None, :], covariance.value, covariance.gap


@given(st.sampled_from((Erf(), GELU(), *SERIES, *POLYNOMIALS)), VARIANCES, VARIANCES, CORRELATIONS)
def test_the_last_partial_derivative_is_a_difference_of_the_one_before(activation, p, q, u):
    found, step = dual(activation), 1e-5
    value = np.array([[u * math.sqrt(p * q)]])
    q = np.array([[q + 2 * step]])

    def at(p):
        p = np.array([[p]])
        return found.first_partials(p, q, value, p * q - value * value)

    p += 2 * step
    difference = (at(p + step).slopes_p - at(p - step).slopes_p) / (2 * step)
    second = found.second_partials(np.array([[p]]), q, value, p * q - value * value)
    # a central difference: step² times a third derivative, and rounding over the step
    assert abs(second.slopes_pp - difference)[0, 0] < 1e-7 * (1 + abs(second.slopes_pp[0, 0])) * (1 + p + q[0, 0]) ** 3


@pytest.mark.parametrize("biases", ["absent", "zero-initialised", "random"])
@pytest.mark.parametrize("activation", SMOOTH)
def test_deep_kernels_are_recursions_of_integrals(activation, biases):
    depth, weight, bias = 3, 1.5, 0.5 if biases == "random" else 0.0
    points = np.array([[1.0, -0.5], [0.2, 1.1], [1.0, -0.5 + 1e-6], [-1.0, 0.5], [0.0, 0.0]])
    kernel = ntk(depth, activation, weight_variance=weight, bias_variance=bias, biases=biases)
    trained = {"absent": 0.0, "zero-initialised": 1.0, "random": bias}[biases]
    S, theta = (weight * points @ points.T / 2 + offset for offset in (bias, trained))
    for _ in range(depth):
        K, slopes = np.zeros_like(S), np.zeros_like(S)
        for i, j in np.ndindex(S.shape):
            u = S[i, j] / max(math.sqrt(S[i, i] * S[j, j]), 1e-300)
            left, right = pair(S[i, i], S[j, j], min(1.0, max(-1.0, u)))
            K[i, j], slopes[i, j] = (integrated(activation, left, right, k, k)[0] for k in (0, 1))
        S = weight * K + bias
        theta = weight * K + trained + weight * theta * slopes
    for found, expected in ((kernel, theta), (nngp(depth, activation, weight_variance=weight, bias_variance=bias), S)):
        scale = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        # the recursion of integrals is ill-conditioned for polynomials, whose values double their relative errors in a layer
        assert np.all(np.abs(found(points) - expected) <= 100 * 2**depth * EPSILON * scale)


@pytest.mark.parametrize("activation", SERIES)
def test_coefficients_are_the_rigorous_ones(activation):
    for scale in (1e-3, 0.5, 1.5, 4.0):
        expansion = hermite_series._expanded(activation, (0,), np.array([scale**2]), 64)[0]
        for order in range(13):
            with BALLS.working():
                exact = hermite_coefficient(activation, order, BALLS.convert(np.array([scale])))[0]
                exact = float(exact / flint.arb(math.factorial(order)).sqrt())
            error = abs(expansion.coefficients[order, 0] - exact)
            assert error < 30 * EPSILON * math.sqrt(expansion.squares[0])


@pytest.mark.parametrize("activation", SERIES)
def test_a_slow_series_is_refused_and_names_what_it_leaves_out(activation):
    x, near = np.array([[1.0, 0.0]]), np.array([[1.0, 1e-3]])
    kernel = ntk(1, activation, weight_variance=2e4)
    with pytest.raises(
        UnsupportedError, match=rf"^{activation.type}: with pre-activations of variance 1e\+04, degree 1024"
    ):
        kernel(x, near)
    # the series is not needed on the diagonal, nor slow at a right angle
    assert np.isfinite(kernel(x)).all()
    assert np.isfinite(kernel(x, np.array([[0.0, 1.0]]))).all()


@pytest.mark.parametrize("scale", [1e4, 1e20, 1e49])
def test_variances_beyond_the_quadrature_are_refused(scale):
    with pytest.raises(UnsupportedError, match="smaller inputs, weight or bias variances are accepted"):
        nngp(1, "tanh")(np.full((1, 2), scale))


def test_a_series_is_none_in_balls():
    with BALLS.working(), pytest.raises(ArithmeticUnsupported, match="tanh is a truncated series"):
        ntk(1, "tanh")(BALLS.convert(np.ones((1, 2))))


def test_activations_without_an_accurate_kernel_are_named():
    with pytest.raises(UnsupportedError, match=r"^elu: its second derivative jumps"):
        ntk(1, ELU())(np.ones((1, 2)))
    with pytest.raises(InputError, match=r"^polynomial: found degree 65; kernels of degrees up to 64"):
        ntk(1, Polynomial((1.0,) * 66))(np.ones((1, 2)))
    with pytest.raises(InputError, match=r"^polynomial: found degree 64 with variances up to 1e\+04"):
        ntk(1, Polynomial((1.0,) * 65), weight_variance=1e4)(np.ones((1, 1)))


def polar(activation, left, right, order):
    """The same expectation for activations that are homogeneous: E[R²] ∫ σ(l·e(φ)) σ(r·e(φ)) dφ/2π, piece by piece."""
    angles = [math.atan2(v[0, 1], v[0, 0]) for v in (left, right)]
    kinks = sorted((angle + quarter) % (2 * math.pi) for angle in angles for quarter in (math.pi / 2, -math.pi / 2))
    nodes, weights = np.polynomial.legendre.leggauss(24)
    total = 0.0
    for start, end in zip(kinks, [*kinks[1:], kinks[0] + 2 * math.pi], strict=True):
        phi = (start + end) / 2 + (end - start) / 2 * nodes
        direction = np.stack([np.cos(phi), np.sin(phi)])
        values = [derivative(activation, v[0] @ direction, order) for v in (left, right)]
        total += (end - start) / 2 * float(weights @ (values[0] * values[1])) / (2 * math.pi)
    return total * (2.0 if order == 0 else 1.0)


@given(st.floats(-3.0, 3.0), VARIANCES, VARIANCES, CORRELATIONS)
def test_piecewise_linear_duals_are_the_integrals(slope, p, q, u):
    activation = LeakyReLU(slope)
    left, right = pair(p, q, u)
    result = dual(activation)(of_inputs(left, right))
    tolerance = 30 * EPSILON * (1 + slope * slope)
    assert abs(result.covariance.value[0, 0] - polar(activation, left, right, 0)) <= tolerance * math.sqrt(p * q)
    if p > 0 and q > 0:
        # a node within rounding of a kink may fall on its other side; the kinks have that much room
        assert abs(result.slopes[0, 0] - polar(activation, left, right, 1)) < tolerance * 10


@given(st.floats(-3.0, 3.0), VARIANCES, VARIANCES, CORRELATIONS)
def test_named_slopes_are_leaky_ones(slope, p, q, u):
    covariance = of_inputs(*pair(p, q, u))
    for plain, leaky in ((ReLU(), LeakyReLU(0.0)), (Identity(), LeakyReLU(1.0))):
        first, second = dual(plain)(covariance), dual(leaky)(covariance)
        assert np.array_equal(first.covariance.value, second.covariance.value)
        assert np.array_equal(first.slopes, second.slopes)
    assert dual(Identity())(covariance).slopes[0, 0] == 1.0


def test_names_and_descriptions():
    assert described("relu") == ReLU()
    assert described("leaky_relu") == LeakyReLU()
    assert described(LeakyReLU(0.5)) == LeakyReLU(0.5)
    with pytest.raises(InputError, match=r"^activation: found 'swish'"):
        described("swish")
