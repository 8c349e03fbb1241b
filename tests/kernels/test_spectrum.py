"""Eigenvalues on spheres against quadrature, closed forms and traces; vanishing degrees against power series."""

from __future__ import annotations

import json
import math

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import polynomial
from scipy.special import eval_gegenbauer, roots_jacobi

from provable.architectures.activations import LeakyReLU, Polynomial, Tanh
from provable.errors import InputError, UnsupportedError
from provable.kernels import nngp, ntk
from provable.kernels.parity import ABSENT, Degrees, positive_degrees
from provable.kernels.spectrum import multiplicity, spectrum
from provable.kernels.zonal import ZonalKernel


def on_the_sphere(kernel, dimension, cosines, radius=1.0):
    """Kernel values between one point of the sphere and others at given cosines."""
    first = np.zeros((1, dimension))
    first[0, 0] = radius
    others = np.zeros((len(cosines), dimension))
    others[:, 0], others[:, 1] = radius * cosines, radius * np.sqrt(1 - cosines**2)
    return kernel(first, others)[0]


@st.composite
def kernels(draw):
    depth = draw(st.integers(1, 2))
    activation = draw(st.sampled_from(["relu", "erf", LeakyReLU(0.25), LeakyReLU(-0.5), "identity"]))
    biases = draw(st.sampled_from(["absent", "zero-initialised", "random"]))
    variance = draw(st.sampled_from([0.01, 0.5])) if biases == "random" else 0.0
    if draw(st.booleans()):
        return ntk(depth, activation, bias_variance=variance, biases=biases)
    return nngp(depth, activation, weight_variance=1.5, bias_variance=variance)


@settings(max_examples=6)
@given(kernels(), st.sampled_from([2, 3, 7, 40]), st.sampled_from([0.5, 1.0, 2.0]))
def test_eigenvalues_agree_with_gauss_quadrature_in_float64(kernel, dimension, radius):
    found = spectrum(kernel, dimension, 6, radius=radius)
    nodes, weights = roots_jacobi(400, (dimension - 3) / 2, (dimension - 3) / 2)
    values = on_the_sphere(kernel, dimension, nodes, radius) * weights / weights.sum()
    for degree, eigenvalue in enumerate(found.eigenvalues):
        index = (dimension - 2) / 2
        basis = (
            np.cos(degree * np.arccos(nodes))
            if dimension == 2
            else eval_gegenbauer(degree, index, nodes) / eval_gegenbauer(degree, index, 1.0)
        )
        # as functions of the cosine the kernels are as smooth as (1 - t)^{3/2}, tangent kernels as (1 - t)^{1/2}, which
        # quadrature with 400 nodes sees to about n⁻³ for d = 2
        assert eigenvalue == pytest.approx(values @ basis, abs=2e-6 * abs(values).sum())
        assert (eigenvalue == 0) == found.vanishing[degree]


@pytest.mark.parametrize("dimension", [2, 3, 5, 64])
def test_one_hidden_layer_has_its_closed_form(dimension):
    # Rodrigues: ∫ κ₁ P₂ (1-t²)^{ν-1} dt = ∫ κ₁'' (1-t²)^{ν+1} dt / (4ν(ν+1)) with κ₁'' = 1/(π√(1-t²)) and ν = (d-1)/2
    nu = flint.arb(dimension - 1) / 2
    scale = (nu + flint.arb(1) / 2).gamma() / (flint.arb.pi().sqrt() * nu.gamma())

    def beta(x, y):
        return x.gamma() * y.gamma() / (x + y).gamma()

    kappa = scale * beta(flint.arb(1) / 2, nu + 1.5) / (flint.arb.pi() * 4 * nu * (nu + 1))
    found = spectrum(nngp(1, "relu"), dimension, 2).enclosures
    # weight variance 2: k = 2/d·κ₁
    assert (found[2] * dimension / 2).overlaps(kappa)
    assert (found[1] * dimension / 2).overlaps(flint.arb(1) / (2 * dimension))
    assert found[2].rad() < 1e-15 * found[2]


@settings(max_examples=4)
@given(kernels(), st.sampled_from([2, 3, 8]))
def test_partial_traces_stay_below_the_diagonal(kernel, dimension):
    found = spectrum(kernel, dimension, 8)
    trace = sum(value * size for value, size in zip(found.enclosures, found.multiplicities, strict=True))
    diagonal = ZonalKernel(kernel, dimension)(flint.acb(0)).real
    assert all(value >= 0 for value in found.enclosures)
    assert trace.lower() <= diagonal.upper()


def test_the_series_of_a_smooth_kernel_sums_to_it():
    kernel, dimension = nngp(2, "erf", bias_variance=0.25), 3
    found = spectrum(kernel, dimension, 40)
    cosines = np.array([-1.0, -0.3, 0.0, 0.8, 1.0])
    legendre = np.array([eval_gegenbauer(degree, 0.5, cosines) for degree in range(41)])
    series = (found.eigenvalues * np.array(found.multiplicities)) @ legendre
    # 41 terms of size up to the diagonal, and a remainder below 1e-16
    np.testing.assert_allclose(series, on_the_sphere(kernel, dimension, cosines), rtol=0, atol=1e-14)


def test_more_digits_lie_inside_fewer():
    kernel = ntk(2, "relu")
    rough, fine = spectrum(kernel, 5, 8, digits=8), spectrum(kernel, 5, 8, digits=60)
    for wide, narrow in zip(rough.enclosures, fine.enclosures, strict=True):
        assert wide.overlaps(narrow)
        assert narrow.rad() <= 1e-59 * narrow


@settings(max_examples=10)
@given(kernels(), st.floats(0.0, 3.14159))
def test_the_continuation_is_the_kernel_on_the_real_axis(kernel, angle):
    value = float(ZonalKernel(kernel, 3)(flint.acb(angle)).real.mid())
    expected = on_the_sphere(kernel, 3, np.cos(np.array([angle])))[0]
    # the sphere point itself is rounded: an angle near 0 or π is only known to 1e-8
    assert value == pytest.approx(expected, abs=1e-7 * abs(value) + 1e-12)


@given(st.integers(2, 12), st.integers(0, 12))
def test_multiplicities_count_polynomials(dimension, degree):
    up_to = sum(multiplicity(dimension, lower) for lower in range(degree % 2, degree + 1, 2))
    assert up_to == math.comb(degree + dimension - 1, dimension - 1)
    if dimension == 3:
        assert multiplicity(dimension, degree) == 2 * degree + 1


LONG = 30


def truncated(degrees, rng):
    """A series with random powers below the ends and at the ends; infinitely many stand for all below 30."""
    series = np.zeros(LONG)
    for parity, end in ((0, degrees.even), (1, degrees.odd)):
        if end == ABSENT:
            continue
        powers = np.arange(parity, min(end, LONG - 1) + 1, 2, dtype=int)
        series[powers] = rng.integers(0, 2, len(powers))
        series[powers[-1]] = 1
        if math.isinf(end):
            series[powers[::2]] = 1
    return series


def ends(series):
    present = np.flatnonzero(series)
    return tuple(max((n for n in present if n % 2 == parity), default=-1) for parity in (0, 1))


some_degrees = st.builds(
    Degrees, st.sampled_from([ABSENT, 0, 2, 4, math.inf]), st.sampled_from([ABSENT, 1, 3, math.inf])
)


def agree(found, expected):
    return all(e == min(f, e) and (e == f or (math.isinf(f) and e >= 10)) for f, e in zip(found, expected, strict=True))


@given(some_degrees, some_degrees, st.integers(0, 99))
def test_sums_products_and_compositions_of_series(outer, inner, seed):
    rng = np.random.default_rng(seed)
    f, g = truncated(outer, rng), truncated(inner, rng)
    total = outer | inner
    assert agree((total.even, total.odd), ends(f + g))
    product = outer & inner
    assert agree((product.even, product.odd), ends(polynomial.polymul(f, g)))
    composed, power = np.zeros(1), np.ones(1)
    for coefficient in f:
        composed = polynomial.polyadd(composed, coefficient * power)
        power = np.minimum(polynomial.polymul(power, g)[:60], 1)
    found = outer.of(inner)
    if inner != Degrees(ABSENT, ABSENT):
        assert agree((found.even, found.odd), ends(composed))


@pytest.mark.parametrize(
    ("kernel", "even", "odd"),
    [
        (ntk(1, "relu"), math.inf, 1),
        (nngp(1, "relu"), math.inf, 1),
        (ntk(2, "relu"), math.inf, math.inf),
        (ntk(1, "relu", bias_variance=0.1), math.inf, math.inf),
        (ntk(1, "relu", biases="zero-initialised"), math.inf, math.inf),
        (ntk(3, "erf"), ABSENT, math.inf),
        (ntk(3, Tanh(), biases="zero-initialised"), math.inf, math.inf),
        (ntk(5, LeakyReLU(-1.0)), math.inf, ABSENT),
        (ntk(4, "identity", bias_variance=1.0), 0, 1),
        (nngp(2, Polynomial((0.0, 1.0, 1.0))), 4, 3),
    ],
)
def test_known_kernels(kernel, even, odd):
    assert positive_degrees(kernel) == Degrees(even, odd)


def test_an_activation_that_is_zero_is_refused():
    with pytest.raises(InputError, match="zero everywhere"):
        positive_degrees(ntk(1, Polynomial((0.0,))))


def test_a_spectrum_says_what_vanishes_in_json():
    written = json.loads(spectrum(ntk(1, "relu"), 3, 5).to_json())
    assert written["vanishing"] == [False, False, False, True, False, True]
    assert written["multiplicities"] == [1, 3, 5, 7, 9, 11]
    assert not written["universal_on_the_sphere"]
    assert max(written["errors"]) < 1e-16


@pytest.mark.parametrize(
    ("arguments", "options", "named"),
    [
        ((ntk(1, "relu"), 1, 3), {}, "dimension"),
        ((ntk(1, "relu"), 3, -1), {}, "highest_degree"),
        ((ntk(1, "relu"), 3, 3), {"digits": True}, "digits"),
        ((ntk(1, "relu"), 3, 3), {"radius": 0.0}, "radius"),
    ],
)
def test_bad_input_is_named(arguments, options, named):
    with pytest.raises(InputError, match=f"^{named}: found"):
        spectrum(*arguments, **options)


def test_kernels_without_a_neighbourhood_of_analyticity_are_refused():
    with pytest.raises(UnsupportedError, match="no neighbourhood"):
        spectrum(ntk(2, LeakyReLU(-1.0)), 3, 2)
    with pytest.raises(UnsupportedError, match="tanh"):
        spectrum(ntk(1, Tanh()), 3, 2)
