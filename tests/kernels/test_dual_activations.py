"""The closed forms of Gaussian expectations against numerical integration."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import GELU, Erf, Identity, LeakyReLU, ReLU
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.kernels.activations import described, dual
from provable.kernels.covariances import of_inputs
from provable.networks.activations import derivative

VARIANCES = st.just(0.0) | st.floats(1e-6, 4.0)
CORRELATIONS = st.floats(-1.0, 1.0)


def pair(p, q, u):
    """Two points of the plane with squared norms p and q and correlation u."""
    return np.array([[math.sqrt(p), 0.0]]), math.sqrt(q) * np.array([[u, math.sqrt(max(0.0, 1 - u * u))]])


def integrated(activation, left, right, order):
    """E[σ⁽ᵏ⁾(l·Z) σ⁽ᵏ⁾(r·Z)] by the trapezoidal rule in the plane, which is spectrally accurate for analytic σ."""
    nodes = np.arange(-9.0, 9.0 + 1e-9, 0.125)
    weights = 0.125 * np.exp(-nodes * nodes / 2) / math.sqrt(2 * math.pi)
    grid = np.stack(np.meshgrid(nodes, nodes, indexing="ij"))
    values = [derivative(activation, np.tensordot(v[0], grid, axes=1), order) for v in (left, right)]
    return float(weights @ (values[0] * values[1]) @ weights)


@given(st.sampled_from((Erf(), GELU())), VARIANCES, VARIANCES, CORRELATIONS)
def test_smooth_duals_are_the_integrals(activation, p, q, u):
    left, right = pair(p, q, u)
    result = dual(activation)(of_inputs(left, right))
    # sums of 145² terms bounded by (1 + p)(1 + q), beside the rounding of the closed form
    tolerance = 30 * EPSILON * (1 + p) * (1 + q)
    assert abs(result.covariance.value[0, 0] - integrated(activation, left, right, 0)) < tolerance
    assert abs(result.slopes[0, 0] - integrated(activation, left, right, 1)) < tolerance


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
