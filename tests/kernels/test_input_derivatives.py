"""Derivatives of kernels with respect to inputs, against differences of balls and where two points meet."""

from __future__ import annotations

import math

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import GELU, Erf, Identity, LeakyReLU, ReLU, Sigmoid, SiLU, Softplus, Tanh
from provable.arithmetic import EPSILON, Arithmetic
from provable.errors import InputError, UnsupportedError
from provable.kernels import DenseKernel, nngp, ntk
from provable.theorems.strategies import seeds

BITS = 700
BALLS = Arithmetic("ball", bits=BITS)
STEP = 2.0**-160
"""Central differences err by the square of it, and lose as many of the bits."""
ACTIVATIONS = (ReLU(), LeakyReLU(-0.5), Identity(), Erf(), GELU())


@st.composite
def kernels(draw, activations=ACTIVATIONS):
    """Kernels whose biases are of all three kinds."""
    biases = draw(st.sampled_from(("absent", "zero-initialised", "random")))
    width = draw(st.sampled_from((None, 50)))
    return DenseKernel(
        draw(st.integers(0, 3)),
        draw(st.sampled_from(activations)),
        draw(st.sampled_from((1.0, 2.0))),
        0.5 if biases == "random" else 0.0,
        tangent=draw(st.booleans()),
        biases=biases,
        parametrisation="ntk" if width is None else "standard",
        width=width,
    )


def angle_condition(kernel, x, z):
    """1 over the sine of the angle of the first pre-activations for activations with a kink, 1 for the others."""
    if isinstance(kernel.activation, Identity | Erf | GELU):
        return 1.0
    # the bias is one more coordinate
    bias = math.sqrt(kernel.bias_variance / kernel.weight_variance * x.shape[1])
    ours, theirs = np.append(x[0], bias), np.append(z[0], bias)
    unit, other = ours / np.linalg.norm(ours), theirs / np.linalg.norm(theirs)
    sine = np.linalg.norm(unit - other) * np.linalg.norm(unit + other) / 2
    # on one line the angular part is left out
    return 1 / sine if sine > 8 * EPSILON else 1.0


def differences(kernel, x, z):
    """Gradient and Hessian of k(·, z) at x by central differences of balls."""
    d = x.shape[1]
    with BALLS.working():
        centre, point, step = BALLS.convert(z), BALLS.convert(x), flint.arb(STEP)
        frame = BALLS.convert(np.eye(d)) * step

        def at(offset):
            return kernel(point + offset[None], centre)[0, 0]

        gradient = [float((at(e) - at(-e)) / (2 * step)) for e in frame]
        hessian = np.zeros((d, d))
        for i, e in enumerate(frame):
            for j, f in enumerate(frame[: i + 1]):
                mixed = at(e + f) - at(e - f) - at(f - e) + at(-e - f)
                hessian[i, j] = hessian[j, i] = float(mixed / (4 * step * step))
    return np.array(gradient), hessian


@given(kernels(), seeds(), st.integers(2, 3), st.sampled_from((None, 1e-2, -1e-2, 1e-4, -1e-4, 1e-6)))
def test_derivatives_are_those_of_the_balls(kernel, seed, dimension, distance):
    x, z = np.random.default_rng(seed).standard_normal((2, 1, dimension))
    if distance is not None:  # near x or near -x
        z = math.copysign(1.0, distance) * x + abs(distance) * z
    gradient, hessian = differences(kernel, x, z)
    length = min(1.0, float(np.linalg.norm(x)))
    size = math.sqrt(kernel(x)[0, 0] * kernel(z)[0, 0])
    unit, condition = (kernel.depth + dimension) * EPSILON * size / length, angle_condition(kernel, x, z)
    assert np.abs(kernel.gradient(x, z, [1.0])[0] - gradient).max() < 30 * unit * condition
    # at a kink k_tt is of the order 1/θ³, of which the Hessian keeps 1/θ
    assert np.abs(kernel.hessian(x, z, [1.0])[0] - hessian).max() < 30 * unit / length * condition**3


@settings(max_examples=20)
@given(kernels((Tanh(), Sigmoid(), Softplus(), SiLU())), seeds())
def test_derivatives_of_series_are_differences(kernel, seed):
    x, z = np.random.default_rng(seed).standard_normal((2, 1, 2))
    # the series of the fifth derivative of tanh converges slowly for larger variances
    x, z = x / np.linalg.norm(x), z / np.linalg.norm(z)
    step, size = 1e-4, 1 + kernel(x)[0, 0] + kernel(z)[0, 0]
    frame = step * np.eye(2)
    gradient = (kernel(x + frame, z) - kernel(x - frame, z))[:, 0] / (2 * step)
    # third derivatives times step², and rounding over the step
    assert np.abs(kernel.gradient(x, z, [1.0])[0] - gradient).max() < 1e-6 * size
    hessian = (kernel.gradient(x + frame, z, [1.0]) - kernel.gradient(x - frame, z, [1.0])) / (2 * step)
    assert np.abs(kernel.hessian(x, z, [1.0])[0] - hessian).max() < 1e-6 * size


@given(kernels(), seeds(), st.integers(1, 4), st.integers(1, 6), st.integers(1, 4))
def test_sums_are_contracted_partials(kernel, seed, dimension, centres, points):
    generator = np.random.default_rng(seed)
    X, Z = generator.standard_normal((points, dimension)), generator.standard_normal((centres, dimension))
    alpha, W = generator.standard_normal(centres), generator.standard_normal((dimension, 2))
    rows = generator.standard_normal((points, centres))
    p = kernel.partials(X, Z)
    values = kernel(X, Z)
    assert np.abs(p.value - values).max() <= 30 * dimension * EPSILON * np.abs(values).max()
    gradients = p.t[:, :, None] * Z + 2 * p.r[:, :, None] * X[:, None, :]
    outer = np.einsum("jk,il->ijkl", Z, X)
    hessians = np.einsum("ij,jk,jl->ijkl", p.tt, Z, Z) + 2 * p.tr[:, :, None, None] * (outer + outer.swapaxes(2, 3))
    hessians += 4 * np.einsum("ij,ik,il->ijkl", p.rr, X, X) + 2 * np.einsum("ij,kl->ijkl", p.r, np.eye(dimension))
    # sums of m terms
    unit = 30 * centres * EPSILON
    for weights in (alpha, rows):
        full = np.broadcast_to(weights, (points, centres))
        expected = np.einsum("ij,ijk->ik", full, gradients)
        bound = unit * np.einsum(
            "ij,ijk->ik", abs(full), abs(p.t[:, :, None] * Z) + abs(2 * p.r[:, :, None] * X[:, None])
        )
        assert np.all(abs(kernel.gradient(X, Z, weights) - expected) <= bound)
        expected = np.einsum("ij,ijkl->ikl", full, hessians)
        bound = unit * (abs(full).sum(axis=1) * abs(p.tt).max() * 4 + 8 * abs(full * p.tr).sum(axis=1)).max()
        bound += unit * (8 * abs(full * p.rr).sum(axis=1) + 2 * abs(full * p.r).sum(axis=1)).max()
        bound *= 1 + max(abs(X).max(), abs(Z).max()) ** 2
        assert np.all(abs(kernel.hessian(X, Z, weights) - expected) <= bound)
        bound *= dimension**2 * (1 + abs(W).max()) ** 2
        assert np.all(abs(kernel.hessian(X, Z, weights, W) - W.T @ expected @ W) <= bound)


@given(kernels(), seeds(), st.integers(1, 4))
def test_many_points_have_the_same_derivatives(kernel, seed, dimension):
    generator = np.random.default_rng(seed)
    X, Z = generator.standard_normal((7, dimension)), generator.standard_normal((5, dimension))
    # coincident, opposite and close ones, where the angles are taken apart
    X[0], X[1], X[2], X[3] = Z[0], -Z[1], Z[2] + 1e-3 * X[2], 2 * Z[3] + 1e-3 * X[3]
    alpha = generator.standard_normal((7, 5))
    whole = kernel.gradient(X, Z, alpha), kernel.hessian(X, Z, alpha)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("provable.kernels.input_derivatives.MANY_PAIRS", 0)
        patch.setattr("provable.kernels.input_derivatives.BLOCK", 8)
        blocks = kernel.gradient(X, Z, alpha), kernel.hessian(X, Z, alpha)
    condition = max(angle_condition(kernel, x[None], z[None]) for x in X for z in Z)
    sizes = np.sqrt(np.outer(np.diag(kernel(X)), np.diag(kernel(Z))))
    lengths = np.minimum(1.0, np.linalg.norm(X, axis=1))[:, None]
    unit = (kernel.depth + dimension) * EPSILON * (abs(alpha) * sizes).sum() * condition
    assert np.all(np.abs(blocks[0] - whole[0]) < 30 * unit / lengths)
    assert np.all(np.abs(blocks[1] - whole[1]) < 30 * unit * condition**2 / lengths[:, :, None] ** 2)


@given(kernels(), seeds(), st.integers(2, 4))
def test_where_two_points_meet_the_gradient_is_the_mean_of_its_limits(kernel, seed, dimension):
    generator = np.random.default_rng(seed)
    z, direction = generator.standard_normal((2, 1, dimension))
    z /= np.linalg.norm(z)
    met = kernel.gradient(z, z, [1.0])[0]
    # half of the gradient of k(x, x), which is radial
    with BALLS.working():
        point, step = BALLS.convert(z), flint.arb(STEP)
        radial = float((kernel(point * (1 + step)) - kernel(point * (1 - step)))[0, 0] / (4 * step))
    size = kernel(z)[0, 0]
    assert np.abs(met - radial * z[0]).max() < 30 * (kernel.depth + dimension) * EPSILON * size
    for distance in (1e-3, 1e-5):
        pair = np.concatenate([z + distance * direction, z - distance * direction])
        mean = kernel.gradient(pair, z, [1.0]).mean(axis=0)
        # the first derivative of a cone is odd around its tip and the next term is of the order of the distance
        rounding = 30 * (kernel.depth + dimension) * EPSILON / (distance * np.linalg.norm(direction))
        assert np.abs(mean - met).max() < size * (200 * distance * np.linalg.norm(direction) + rounding)


@given(kernels((ReLU(), LeakyReLU(-0.5))), seeds(), st.sampled_from((1, 3)), st.sampled_from((3.0, -0.7)))
def test_on_a_line_the_gradient_is_the_radial_one(kernel, seed, dimension, factor):
    z = np.random.default_rng(seed).standard_normal((1, dimension))
    x = factor * z
    with BALLS.working():
        # parallel exactly, as x is not
        centre, step = BALLS.convert(z), flint.arb(STEP)
        point = flint.arb(factor) * centre
        radial = float((kernel(point * (1 + step), centre) - kernel(point * (1 - step), centre))[0, 0] / (2 * step))
    expected = radial * x[0] / np.dot(x[0], x[0])
    size = math.sqrt(kernel(x)[0, 0] * kernel(z)[0, 0]) / np.linalg.norm(x)
    assert np.abs(kernel.gradient(x, z, [1.0])[0] - expected).max() < 30 * (kernel.depth + dimension) * EPSILON * size


@given(kernels((Identity(), Erf(), GELU())), seeds(), st.integers(1, 3))
def test_smooth_kernels_are_differentiable_at_zero(kernel, seed, dimension):
    z = np.random.default_rng(seed).standard_normal((1, dimension))
    zero = np.zeros((1, dimension))
    gradient, hessian = differences(kernel, zero, z)
    size = 1 + kernel(z)[0, 0]
    unit = (kernel.depth + dimension) * EPSILON * size
    assert np.abs(kernel.gradient(zero, z, [1.0])[0] - gradient).max() < 30 * unit * (1 + np.abs(z).max())
    assert np.abs(kernel.hessian(zero, z, [1.0])[0] - hessian).max() < 30 * unit * (1 + np.abs(z).max()) ** 2


def test_random_biases_make_relu_kernels_differentiable_at_zero():
    z, zero = np.array([[1.0, 2.0]]), np.zeros((1, 2))
    kernel = ntk(2, "relu", bias_variance=0.5)
    gradient, hessian = differences(kernel, zero, z)
    assert np.abs(kernel.gradient(zero, z, [1.0])[0] - gradient).max() < 30 * 4 * EPSILON * np.abs(gradient).max()
    assert np.abs(kernel.hessian(zero, z, [1.0])[0] - hessian).max() < 30 * 4 * EPSILON * np.abs(hessian).max()
    for biases in ("absent", "zero-initialised"):
        with pytest.raises(InputError, match=r"^X: found a zero vector at index 1"):
            ntk(1, "relu", biases=biases).gradient(np.concatenate([z, zero]), z, [1.0])
    # zero centres do no harm
    assert np.array_equal(nngp(1, "relu").gradient(z, zero, [1.0]), zero)


def test_partials_that_do_not_fit_are_refused():
    points = np.ones((10**6, 2))
    with pytest.raises(UnsupportedError, match=r"^an array of partial derivatives of shape \(1000000, 1000000\) needs"):
        ntk(1, "relu").partials(points, points)


def test_wrong_arguments_are_named():
    kernel, X = ntk(1, "relu"), np.ones((2, 3))
    with pytest.raises(InputError, match=r"^coefficients: found shape \(3,\)"):
        kernel.gradient(X, X, np.ones(3))
    with pytest.raises(InputError, match=r"^directions: found shape \(2, 2\)"):
        kernel.hessian(X, X, np.ones(2), np.ones((2, 2)))
    with pytest.raises(InputError, match=r"^X: found ball numbers"):
        kernel.partials(BALLS.convert(X), BALLS.convert(X))
