"""Losses of distillation and their gradients against 200-bit differences, and against each other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable import arithmetic
from provable.arithmetic import EPSILON, Arithmetic
from provable.distillation.interpolation import interpolant
from provable.distillation.losses import kip, merge_atoms, projection_loss, rkip, squared_distance
from provable.errors import InputError
from provable.kernels import nngp, ntk
from provable.theorems.strategies import seeds

BALLS = Arithmetic("ball", bits=200)
STEP = 2.0**-60
kernels = st.builds(
    lambda make, depth, bias: make(depth, "relu", bias_variance=bias),
    st.sampled_from((ntk, nngp)),
    st.integers(1, 3),
    st.sampled_from((0.0, 0.25, 1.0)),
)


def samples(seed, outputs=0):
    """Training and synthetic points in general position, labels of one or several outputs."""
    rng = np.random.default_rng(seed)
    shape = (outputs,) if outputs else ()
    return (
        rng.standard_normal((5, 3)),
        rng.standard_normal((5, *shape)),
        rng.standard_normal((3, 3)),
        rng.standard_normal((3, *shape)),
    )


@given(kernels, seeds(), st.sampled_from((0.0, 1e-6, 1e-2)))
def test_kernel_gradient_is_the_derivative_in_balls(kernel, seed, closeness):
    rng = np.random.default_rng(seed)
    x, z, w = rng.standard_normal((3, 3)), rng.standard_normal((4, 3)), rng.standard_normal((3, 4))
    if closeness:  # points close to each other and to each other's opposite
        z[0] = x[0] + closeness * rng.standard_normal(3)
        z[1] = -x[1] + closeness * rng.standard_normal(3)
    direction = rng.standard_normal((3, 3))
    with BALLS.working():
        ball_x, ball_z, ball_w, along = (BALLS.convert(array) for array in (x, z, w, STEP * direction))
        up, down = ((ball_w * kernel(ball_x + sign * along, ball_z)).sum() for sign in (1, -1))
        derivative = float((up - down).mid()) / (2 * STEP)
    found = float(np.sum(kernel.gradient(x, z, w) * direction))
    scale = sum(np.linalg.norm(a) for a in (x, z)) * np.linalg.norm(w) * np.linalg.norm(direction)
    # two terms of the size 1/sin(angle) that cancel
    unit = (3 * kernel.depth + 3) * EPSILON * scale * (1 / closeness if closeness else 1 / smallest_sine(x, z))
    assert abs(found - derivative) < 30 * unit


def smallest_sine(x, z):
    """The sine of the smallest angle between the line through a point of x and another one through a point of z."""
    x, z = (points / np.linalg.norm(points, axis=1, keepdims=True) for points in (x, z))
    squares = 1 - (x @ z.T) ** 2
    return float(np.sqrt(squares[squares > 1e-12].min()))  # the diagonal is a point and itself


def in_balls(kernel, x_t, y_t, x_s, y_s, ridge, name):
    """The three losses, written out from their definitions."""
    k_tt, k_st, k_ss = kernel(x_t), kernel(x_s, x_t), kernel(x_s)
    alpha_t = arithmetic.solve(k_tt, y_t)
    goal = k_st @ alpha_t
    regular = k_ss.copy()
    for i in range(len(k_ss)):
        regular[i, i] = regular[i, i] + arithmetic.constant(ridge, k_ss) * np.trace(k_ss) / len(k_ss)
    alpha = arithmetic.solve(regular, goal if name == "projection" else y_s)
    if name == "kip":
        return ((y_t - k_st.T @ alpha) ** 2).sum() / 2
    norm = (alpha_t * (k_tt @ alpha_t)).sum()
    if name == "projection":
        return (norm - (alpha * goal).sum()) / 2
    return (norm - 2 * (alpha * goal).sum() + (alpha * (k_ss @ alpha)).sum()) / 2


@given(
    kernels,
    seeds(),
    st.sampled_from((0, 2)),
    st.sampled_from((0.0, 2.0**-10)),
    st.sampled_from(("kip", "rkip", "projection")),
)
def test_losses_and_gradients_against_balls(kernel, seed, outputs, ridge, name):
    x_t, y_t, x_s, y_s = samples(seed, outputs)
    target = interpolant(kernel, x_t, y_t)
    if name == "kip":
        loss = kip(kernel, x_t, y_t, x_s, y_s, ridge=ridge)
    elif name == "rkip":
        loss = rkip(target, x_s, y_s, ridge=ridge)
    else:
        loss = projection_loss(target, x_s, ridge=ridge)
    rng = np.random.default_rng(seed + 1)
    dx, dy = rng.standard_normal(x_s.shape), rng.standard_normal(y_s.shape)
    with BALLS.working():
        arrays = [BALLS.convert(array) for array in (x_t, y_t, x_s, y_s, STEP * dx, STEP * dy)]
        values = [
            in_balls(kernel, arrays[0], arrays[1], arrays[2] + s * arrays[4], arrays[3] + s * arrays[5], ridge, name)
            for s in (1, 0, -1)
        ]
        derivative = float((values[0] - values[2]).mid()) / (2 * STEP)
        value = float(values[1].mid())
    grams = [kernel(x_t), kernel(x_s)]
    condition = max(np.linalg.cond(gram) for gram in grams)
    assume(condition < 1e8)
    alpha_s = np.linalg.solve(grams[1], y_s if name != "projection" else target(x_s))
    size = (
        np.sum(y_t**2) + np.trace(grams[0]) * np.sum(target.coefficients**2) + np.trace(grams[1]) * np.sum(alpha_s**2)
    )
    # 8 points in 3 dimensions, chains through both solves: 50 roundings
    unit = 50 * EPSILON * condition * size
    assert abs(loss.value - value) < 30 * unit
    found = float(np.sum(loss.by_points * dx) + np.sum(loss.by_labels * dy))
    lengths = 1 / np.linalg.norm(x_s, axis=1).min() + 1 / smallest_sine(x_s, np.vstack([x_t, x_s]))
    assert abs(found - derivative) < 30 * unit * condition * lengths * (np.linalg.norm(dx) + np.linalg.norm(dy))


@given(kernels, seeds(), st.sampled_from((0, 2)))
def test_free_labels_are_the_best_labels(kernel, seed, outputs):
    x_t, y_t, x_s, y_s = samples(seed, outputs)
    target = interpolant(kernel, x_t, y_t)
    condition = np.linalg.cond(kernel(x_s))
    assume(condition < 1e6)
    best = rkip(target, x_s, target(x_s))
    eliminated = projection_loss(target, x_s)
    unit = 50 * EPSILON * condition * target.squared_norm
    assert abs(best.value - eliminated.value) < 30 * unit
    # stationary in the labels, and by the envelope theorem the gradients by the inputs agree
    assert np.linalg.norm(best.by_labels) < 30 * unit * condition
    assert best.value <= rkip(target, x_s, y_s).value + 30 * unit
    assert np.abs(best.by_points - eliminated.by_points).max() < 30 * unit * condition


@given(kernels, seeds(), st.floats(1e-9, 1e-3))
def test_the_difference_of_measures_is_accurate_where_the_expansion_cancels(kernel, seed, size):
    x_t, y_t, _, _ = samples(seed)
    target = interpolant(kernel, x_t, y_t)
    change = size * np.random.default_rng(seed).standard_normal(5)
    near = interpolant(kernel, x_t[::-1].copy(), (y_t + change)[::-1].copy())
    condition = np.linalg.cond(kernel(x_t))
    assume(condition < 1e6)
    expected = change @ np.linalg.solve(kernel(x_t), change)
    # cᵀKc for the rounded difference c of coefficients, which are known to 2⁻⁵²·κ of their size
    loss_of_digits = EPSILON * condition * np.linalg.norm(target.coefficients)
    gram = np.linalg.norm(kernel(x_t), 2)
    c = np.linalg.norm(np.linalg.solve(kernel(x_t), change))
    assert abs(squared_distance(target, near) - expected) < 30 * 5 * gram * loss_of_digits * (c + loss_of_digits)
    expanded = 2 * rkip(target, near.points, near.values).value
    assert abs(expanded - expected) < 30 * 20 * EPSILON * condition * (1 + condition * size) * target.squared_norm


def test_a_set_against_itself_has_distance_zero_exactly():
    x_t, y_t, _, _ = samples(3, 2)
    target = interpolant(ntk(2, "relu"), x_t, y_t)
    order = [3, 1, 4, 0, 2]
    permuted = type(target)(
        target.kernel, x_t[order], y_t[order], 0.0, target.coefficients[order], target.gram, target.factor
    )
    assert squared_distance(target, permuted) == 0.0
    points, coefficients = merge_atoms(np.ones((2, 3)), np.array([[1.0], [-1.0]]))
    assert points.shape == (0, 3) and coefficients.shape == (0, 1)


def test_a_kernel_without_derivatives_is_refused():
    x_t, y_t, x_s, y_s = samples(0)
    target = interpolant(lambda X, Z=None: ntk(1, "erf")(X, Z), x_t, y_t)
    with pytest.raises(InputError, match="no derivatives"):
        rkip(target, x_s, y_s)


def test_coincident_synthetic_points_are_refused_without_a_ridge_and_accepted_with_one():
    x_t, y_t, x_s, y_s = samples(1)
    kernel = ntk(1, "relu", bias_variance=1.0)
    target = interpolant(kernel, x_t, y_t)
    x_s[2] = x_s[0]
    with pytest.raises(InputError, match="points 0 and 2 coincide"):
        projection_loss(target, x_s)
    loss, exact = projection_loss(target, x_s, ridge=1e-6), projection_loss(target, x_s[:2])
    # the same span as without the repetition; a ridge λ adds between 0 and λ‖α‖²/2, for it adds λ/2 where two points coincide
    gram = kernel(x_s[:2])
    alpha = np.linalg.solve(gram, target(x_s[:2]))
    added = 1e-6 * np.trace(kernel(x_s)) / 3 * np.sum(alpha**2) / 2
    rounding = 30 * 50 * EPSILON * np.linalg.cond(gram) * target.squared_norm
    assert -rounding <= loss.value - exact.value <= added + rounding
    assert np.all(np.isfinite(loss.by_points))
    assert np.all(np.isfinite(kip(kernel, x_t, y_t, x_s, y_s, ridge=1e-6).by_points))


def test_labels_of_different_numbers_of_outputs_are_refused():
    generator = np.random.default_rng(0)
    kernel, points, others = ntk(1, "relu"), generator.standard_normal((4, 3)), generator.standard_normal((2, 3))
    target = interpolant(kernel, points, np.ones(4))
    for call in (
        lambda: kip(kernel, points, np.ones(4), others, np.ones((2, 3))),
        lambda: rkip(target, others, np.ones((2, 3))),
        lambda: squared_distance(target, interpolant(kernel, others, np.ones((2, 3)))),
    ):
        with pytest.raises(InputError, match=r"^labels: found 3 outputs beside 1"):
            call()
    with pytest.raises(InputError, match=r"^training_labels: found 1 of them for 4 points"):
        kip(kernel, points, np.ones(1), others, np.ones(2))
