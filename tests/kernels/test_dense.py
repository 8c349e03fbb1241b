"""The kernels of infinitely wide dense networks against high precision, textbook formulas and finite networks."""

from __future__ import annotations

import math

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Erf, Linear, ReLU
from provable.arithmetic import EPSILON, Arithmetic
from provable.errors import ArithmeticUnsupported, InputError
from provable.kernels import nngp, ntk
from provable.networks import Parameters, tangent_kernel, tangents
from provable.theorems.rates import fit_exponent
from provable.theorems.strategies import seeds

BALLS = Arithmetic("ball", bits=200)
kernels = st.builds(
    lambda make, depth, activation, weight, bias: make(depth, activation, weight_variance=weight, bias_variance=bias),
    st.sampled_from((ntk, nngp)),
    st.integers(0, 4),
    st.sampled_from(("relu", "erf")),
    st.sampled_from((0.5, 1.0, 2.0)),
    st.sampled_from((0.0, 0.25, 1.0)),
)


def close_points(seed, dimension):
    """Points with all that is delicate: equal, close, on one ray, antipodal, nearly antipodal, zero."""
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((8, dimension))
    points[1] = points[0] + 1e-6 * generator.standard_normal(dimension) / math.sqrt(dimension)
    points[2] = points[0]
    points[3] = 3.0 * points[0]
    points[4] = -points[5]
    points[6] = -points[5] + 1e-9 * generator.standard_normal(dimension)
    points[7] = 0.0
    return points


def textbook(kernel, points):
    """The recursion as it is usually printed, in balls: arccos and arcsin of the correlation itself."""
    number, half = flint.arb, flint.arb(1) / 2
    weight, bias = number(kernel.weight_variance), number(kernel.bias_variance)
    n, dimension = points.shape
    S = [[weight * sum(a * b for a, b in zip(points[i], points[j], strict=True)) / dimension + bias
          for j in range(n)] for i in range(n)]  # fmt: skip
    theta = [row[:] for row in S]
    for _ in range(kernel.depth):
        K, slopes = [[None] * n for _ in range(n)], [[None] * n for _ in range(n)]
        for i in range(n):
            for j in range(n):
                p, q, s = S[i][i], S[j][j], S[i][j]
                if kernel.activation == "relu":
                    u = number(1) if i == j else s / (p * q).sqrt()
                    angle = u.acos()
                    K[i][j] = half * (p * q).sqrt() * (u * (number.pi() - angle) + (1 - u * u).sqrt()) / number.pi()
                    slopes[i][j] = half * (number.pi() - angle) / number.pi()
                else:
                    K[i][j] = 2 / number.pi() * (2 * s / ((1 + 2 * p) * (1 + 2 * q)).sqrt()).asin()
                    slopes[i][j] = 4 / number.pi() / ((1 + 2 * p) * (1 + 2 * q) - 4 * s * s).sqrt()
        S = [[weight * K[i][j] + bias for j in range(n)] for i in range(n)]
        theta = [[S[i][j] + weight * theta[i][j] * slopes[i][j] for j in range(n)] for i in range(n)]
    return theta if kernel.tangent else S


@given(kernels, seeds(), st.integers(1, 5))
def test_float64_agrees_with_balls_at_every_distance(kernel, seed, dimension):
    points = close_points(seed, dimension)
    values = kernel(points)
    with BALLS.working():
        balls = kernel(BALLS.convert(points))
        scale = [max(balls[i, i], flint.arb(1e-300)).sqrt() for i in range(len(points))]
        # k = depth + d: one rounding chain through the inner products and one through each layer
        unit = (kernel.depth + dimension) * EPSILON
        for i, j in np.ndindex(values.shape):
            error = abs(balls[i, j] - flint.arb(values[i, j])) / (unit * scale[i] * scale[j])
            assert error < 30, (i, j, values[i, j], balls[i, j])


@given(kernels, seeds(), st.integers(2, 4))
def test_the_textbook_formula_encloses_the_same_numbers(kernel, seed, dimension):
    points = np.random.default_rng(seed).standard_normal((3, dimension))
    # far more digits than ours, because arccos near 1 loses half of them
    with Arithmetic("ball", bits=2000).working():
        expected = textbook(kernel, Arithmetic("ball").convert(points))
        with BALLS.working():
            balls = kernel(BALLS.convert(points))
        for i, j in np.ndindex(balls.shape):
            assert balls[i, j].overlaps(expected[i][j])
            assert balls[i, j].rad() < flint.arb(2) ** -180 * (1 + abs(expected[i][j]))


@given(kernels, seeds(), st.integers(1, 4))
def test_symmetric_blocks_diagonal_and_cauchy_schwarz(kernel, seed, dimension):
    points = close_points(seed, dimension)
    values = kernel(points)
    assert np.array_equal(values, values.T)
    assert np.array_equal(values, kernel(points, points.copy()))
    assert np.array_equal(values[2:5, 1:], kernel(points[2:5], points[1:]))
    assert values[0, 0] == values[0, 2] == values[2, 2]
    variances = np.diag(values)
    bound = np.sqrt(np.outer(variances, variances))
    assert np.all(np.abs(values) <= bound * (1 + 30 * (kernel.depth + dimension) * EPSILON))


@given(seeds(), st.integers(1, 4), st.integers(1, 4), st.sampled_from((2.0**-20, 2.0, 2.0**30)))
def test_relu_kernels_without_bias_are_homogeneous(seed, depth, dimension, factor):
    points = np.random.default_rng(seed).standard_normal((3, dimension))
    for kernel in (ntk(depth, "relu"), nngp(depth, "relu")):
        # a power of two scales every intermediate number exactly
        assert np.array_equal(kernel(factor * points), factor * factor * kernel(points))


@given(seeds(), st.integers(1, 3), st.integers(1, 4))
def test_erf_kernels_without_bias_are_odd(seed, depth, dimension):
    points = np.random.default_rng(seed).standard_normal((3, dimension))
    for kernel in (ntk(depth, "erf"), nngp(depth, "erf")):
        values = kernel(points)
        error = np.abs(kernel(-points, points) + values) / (30 * (depth + dimension) * EPSILON * values.max())
        assert error.max() < 1


@given(seeds(), st.integers(1, 5))
def test_one_hidden_relu_layer_has_its_closed_form(seed, dimension):
    x, z = np.random.default_rng(seed).standard_normal((2, dimension))
    norms = np.linalg.norm(x) * np.linalg.norm(z)
    u = float(np.clip(x @ z / norms, -1.0, 1.0))
    angle = math.acos(u)
    expected = 2 / dimension * norms * (2 * u * (math.pi - angle) + math.sqrt(1 - u * u)) / math.pi
    # arccos has condition 1/√(1 - u²) near the ends; d products in u
    unit = dimension * EPSILON * norms / max(math.sqrt(1 - u * u), math.sqrt(EPSILON))
    assert abs(ntk(1, "relu")(x[None], z[None])[0, 0] - expected) < 30 * unit


@pytest.mark.parametrize("activation", ["relu", "erf"])
@pytest.mark.parametrize("bias_variance", [0.0, 0.5])
def test_wide_networks_approach_the_kernel_at_the_monte_carlo_rate(activation, bias_variance):
    weight_variance, dimension, depth = 2.0, 3, 2
    points = np.random.default_rng(1).standard_normal((3, dimension))
    kernel = ntk(depth, activation, weight_variance=weight_variance, bias_variance=bias_variance)(points)

    def difference(width, rng):
        layers = []
        for _ in range(depth):
            layers += [Linear(width), ReLU() if activation == "relu" else Erf()]
        network = Architecture("wide", (dimension,), (*layers, Linear(1)), "squared")
        arrays, slopes = {}, []
        for name, shape in network.parameter_shapes.items():
            weight = name.endswith("weight")
            deviation = math.sqrt(weight_variance / shape[1] if weight else bias_variance)
            arrays[name] = deviation * rng.standard_normal(shape)
            slopes.append(np.full(math.prod(shape), deviation))
        gradients = tangents(network, Parameters(network, arrays), points)[:, 0] * np.concatenate(slopes)
        return (gradients @ gradients.T - kernel) / kernel.max()

    def spread(width, rng):
        return math.sqrt(sum(float((difference(width, rng) ** 2).mean()) for _ in range(10)))

    fitted = fit_exponent(spread, (16, 32, 64, 128), 12, np.random.default_rng(2))
    assert fitted.contains(-0.5)
    assert not fitted.contains(-0.25) and not fitted.contains(-0.75)
    # the mean of 400 networks has no bias beyond O(1 / width): three standard errors and that
    errors = np.array([difference(128, np.random.default_rng(seed)) for seed in range(400)])
    assert np.all(np.abs(errors.mean(axis=0)) < 3 * errors.std(axis=0) / 20 + 2 / 128)


def test_depth_zero_is_the_linear_kernel():
    points = np.array([[1.0, 2.0], [3.0, -1.0]])
    network = Architecture("linear", (2,), (Linear(1),), "squared")
    empirical = tangent_kernel(
        network, Parameters(network, {"0/weight": np.ones((1, 2)), "0/bias": np.ones(1)}), points
    )
    assert np.abs(ntk(0, "relu", weight_variance=2.0, bias_variance=1.0)(points) - empirical).max() < 30 * EPSILON * 11


def test_no_points_and_one_point():
    kernel = ntk(2, "relu", bias_variance=1.0)
    assert kernel(np.zeros((0, 3))).shape == (0, 0)
    assert kernel(np.ones((2, 3)), np.zeros((0, 3))).shape == (2, 0)
    assert np.isfinite(kernel(np.zeros((1, 3)))).all()
    assert ntk(2, "relu")(np.zeros((1, 3)))[0, 0] == 0
    with BALLS.working():
        assert ntk(1, "erf")(BALLS.convert(np.zeros((1, 3))), BALLS.convert(np.ones((2, 3)))).shape == (1, 2)


def test_a_ball_that_may_be_zero_is_not_taken_for_zero():
    uncertain = np.array([[flint.arb(0, 1)]], dtype=object)
    assert not ntk(1, "relu")(uncertain, np.array([[flint.arb(1)]], dtype=object))[0, 0].is_zero()


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"depth": -1}, "depth"),
        ({"depth": True}, "depth"),
        ({"activation": "tanh"}, "activation"),
        ({"weight_variance": 0.0}, "weight_variance"),
        ({"bias_variance": -1.0}, "bias_variance"),
        ({"bias_variance": math.inf}, "bias_variance"),
    ],
)
def test_wrong_arguments_are_named(arguments, word):
    values = {"depth": 1, "activation": "relu", "weight_variance": 2.0, "bias_variance": 0.0, **arguments}
    depth, activation = values.pop("depth"), values.pop("activation")
    for make in (ntk, nngp):
        with pytest.raises(InputError, match=rf"^{word}: found"):
            make(depth, activation, **values)


def test_wrong_points_are_named():
    kernel = ntk(1, "relu")
    with pytest.raises(InputError, match=r"^X: found shape \(3,\)"):
        kernel(np.ones(3))
    with pytest.raises(InputError, match=r"^Z: found points of dimension 2; 3 is accepted"):
        kernel(np.ones((1, 3)), np.ones((1, 2)))
    with pytest.raises(InputError, match="one arithmetic"):
        kernel(np.ones((1, 1)), np.array([[flint.arb(1)]], dtype=object))
    with pytest.raises(ArithmeticUnsupported, match="rational"):
        kernel(Arithmetic("rational").convert(np.ones((1, 3))))
