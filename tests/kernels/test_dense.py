"""The kernels of infinitely wide dense networks against high precision, textbook formulas and finite networks."""

from __future__ import annotations

import math

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import GELU, Architecture, Erf, Identity, LeakyReLU, Linear, ReLU
from provable.arithmetic import EPSILON, Arithmetic
from provable.errors import ArithmeticUnsupported, InputError
from provable.kernels import DenseKernel, nngp, ntk
from provable.networks import Parameters, tangent_kernel, tangents
from provable.theorems.rates import fit_exponent
from provable.theorems.strategies import seeds

BALLS = Arithmetic("ball", bits=200)
ACTIVATIONS = (ReLU(), LeakyReLU(0.25), LeakyReLU(-1.0), LeakyReLU(-3.0), Identity(), Erf(), GELU())


@st.composite
def kernels(draw):
    """Closed-form kernels of every kind."""
    biases = draw(st.sampled_from(("absent", "zero-initialised", "random")))
    variance = draw(st.sampled_from((0.25, 1.0))) if biases == "random" else 0.0
    parametrisation = draw(st.sampled_from(("ntk", "standard")))
    return DenseKernel(
        draw(st.integers(0, 5)),
        draw(st.sampled_from(ACTIVATIONS)),
        draw(st.sampled_from((0.5, 1.0, 2.0, 4.0))),
        variance,
        tangent=draw(st.booleans()),
        biases=biases,
        parametrisation=parametrisation,
        width=draw(st.sampled_from((1, 100))) if parametrisation == "standard" else None,
    )


def close_points(seed, dimension):
    """Points with all that is delicate: equal, close, on one ray, antipodal, nearly antipodal, zero."""
    generator = np.random.default_rng(seed)
    points = generator.standard_normal((9, dimension))
    points[1] = points[0] + 1e-6 * generator.standard_normal(dimension) / math.sqrt(dimension)
    points[2] = points[0]
    points[3] = 3.0 * points[0]
    points[4] = -points[5]
    points[6] = -points[5] + 1e-9 * generator.standard_normal(dimension)
    points[7] = 0.0
    points[8] = (1 + 1e-6) * points[0]
    return points


def expectations(activation, p, q, s, same):
    """K and K̇ as they are usually printed: arccos and arcsin of the correlation itself."""
    number, half, pi = flint.arb, flint.arb(1) / 2, flint.arb.pi()
    root, u = (p * q).sqrt(), number(1) if same else s / (p * q).sqrt()
    arccosine = (root * (u * (pi - u.acos()) + (1 - u * u).sqrt()) / pi / 2, (pi - u.acos()) / pi / 2)
    match activation:
        case ReLU():
            return arccosine
        case LeakyReLU():
            # az + (1 - a)relu(z), and E[x relu(y)] = S/2
            a = number(activation.negative_slope)
            return a * s + (1 - a) ** 2 * arccosine[0], a + (1 - a) ** 2 * arccosine[1]
        case Identity():
            return s, number(1)
        case Erf():
            P, Q = 1 + 2 * p, 1 + 2 * q
            return 2 / pi * (2 * s / (P * Q).sqrt()).asin(), 4 / pi / (P * Q - 4 * s * s).sqrt()
        case GELU():
            # E[aΦ(a)bΦ(b)] by parts, collected in powers of D; test_dual_activations integrates it numerically
            P, Q = 1 + p, 1 + q
            D, gate = P * Q - s * s, half / 2 + (s / (P * Q).sqrt()).asin() / (2 * pi)
            K = s * gate + (1 + D * (1 - 1 / P - 1 / Q)) / (2 * pi * D.sqrt())
            return K, gate + s * (1 / P + 1 / Q + 1 / D) / (2 * pi * D.sqrt())
    raise AssertionError(activation)


def textbook(kernel, points):
    """The recursion as it is usually printed, in balls."""
    weight, bias = flint.arb(kernel.weight_variance), flint.arb(kernel.bias_variance)
    n, dimension = points.shape
    inner = [[sum(a * b for a, b in zip(x, z, strict=True)) for z in points] for x in points]
    S = [[weight * t / dimension + bias for t in row] for row in inner]
    trained = {"absent": 0, "zero-initialised": 1, "random": bias}[kernel.biases]
    if kernel.parametrisation == "standard":
        trained = 0 if kernel.biases == "absent" else 1
        theta = [[t + trained for t in row] for row in inner]
    else:
        theta = [[weight * t / dimension + trained for t in row] for row in inner]
    for _ in range(kernel.depth):
        pairs = [
            [expectations(kernel.activation, S[i][i], S[j][j], S[i][j], i == j) for j in range(n)] for i in range(n)
        ]
        S = [[weight * K + bias for K, _ in row] for row in pairs]
        gain = kernel.width if kernel.parametrisation == "standard" else weight
        theta = [
            [gain * K + trained + weight * theta[i][j] * slopes for j, (K, slopes) in enumerate(row)]
            for i, row in enumerate(pairs)
        ]
    return theta if kernel.tangent else S


def worst_error(kernel, points):
    """The largest error of a kernel value relative to √(k(x, x) k(z, z)), against balls."""
    values = kernel(points)
    with BALLS.working():
        balls = kernel(BALLS.convert(points))
        scale = [max(balls[i, i], flint.arb(1e-300)).sqrt() for i in range(len(points))]
        errors = [
            float(abs(balls[i, j] - flint.arb(values[i, j])) / (scale[i] * scale[j]))
            for i, j in np.ndindex(values.shape)
        ]
    return max(errors)


@given(kernels(), seeds(), st.integers(1, 8), st.sampled_from((1e-3, 1.0, 30.0)))
def test_float64_agrees_with_balls_at_every_distance(kernel, seed, dimension, length):
    # a fixed bound for everything up to five layers: 45 units of 2⁻⁵², where below 10 were seen
    assert worst_error(kernel, length * close_points(seed, dimension)) < 1e-14


@pytest.mark.parametrize("activation", ACTIVATIONS)
def test_float64_agrees_with_balls_for_images(activation):
    points = close_points(0, 784)
    assert worst_error(ntk(2, activation, bias_variance=0.25), points) < 1e-14


@pytest.mark.parametrize("length", [1e2, 1e4, 1e6, 1e8])
@pytest.mark.parametrize("tangent", [False, True])
@pytest.mark.parametrize("activation", [Erf(), GELU()])
def test_errors_at_large_inputs_are_as_documented(activation, tangent, length):
    generator = np.random.default_rng(0)
    points = (
        generator.standard_normal((1, 5)) * length
        + generator.standard_normal((8, 5)) * np.logspace(-1.5, 1, 8)[:, None]
    )
    kernel = DenseKernel(1, activation, 1.0, 0.0, tangent)
    deviation = float(np.max(np.linalg.norm(points, axis=1))) / math.sqrt(5) if tangent and activation == Erf() else 0.0
    # 10 units of 2⁻⁵² before the factor of the documentation
    assert worst_error(kernel, points) <= 10 * EPSILON * (1 + deviation / 10)


@given(kernels(), seeds(), st.integers(2, 4))
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


@given(kernels(), seeds(), st.integers(1, 4))
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


@pytest.mark.parametrize(
    ("activation", "biases", "parametrisation"),
    [
        (ReLU(), "absent", "ntk"),
        (Erf(), "random", "ntk"),
        (ReLU(), "zero-initialised", "ntk"),
        (Erf(), "random", "standard"),
    ],
)
def test_wide_networks_approach_the_kernel_at_the_monte_carlo_rate(activation, biases, parametrisation):
    weight_variance, dimension, depth = 2.0, 3, 2
    bias_variance = 0.5 if biases == "random" else 0.0
    points = np.random.default_rng(1).standard_normal((3, dimension))

    def limit(width):
        width = width if parametrisation == "standard" else None
        options = {"biases": biases, "parametrisation": parametrisation, "width": width}
        return ntk(depth, activation, weight_variance=weight_variance, bias_variance=bias_variance, **options)(points)

    def difference(width, rng):
        layers = []
        for _ in range(depth):
            layers += [Linear(width), activation]
        network = Architecture("wide", (dimension,), (*layers, Linear(1)), "squared")
        arrays, slopes = {}, []
        for name, shape in network.parameter_shapes.items():
            weight = name.endswith("weight")
            deviation = math.sqrt(weight_variance / shape[1] if weight else bias_variance)
            arrays[name] = deviation * rng.standard_normal(shape)
            trained = 1.0 if parametrisation == "standard" else deviation
            if not weight and biases == "zero-initialised":
                trained = 1.0
            slopes.append(np.full(math.prod(shape), trained))
        gradients = tangents(network, Parameters(network, arrays), points)[:, 0] * np.concatenate(slopes)
        kernel = limit(width)
        return (gradients @ gradients.T - kernel) / kernel.max()

    def spread(width, rng):
        return math.sqrt(sum(float((difference(width, rng) ** 2).mean()) for _ in range(10)))

    fitted = fit_exponent(spread, (16, 32, 64, 128), 12, np.random.default_rng(2))
    assert fitted.contains(-0.5)
    assert not fitted.contains(-0.25) and not fitted.contains(-0.75)
    # the mean of 200 networks has no bias beyond O(1 / width): three standard errors and that
    errors = np.array([difference(128, np.random.default_rng(seed)) for seed in range(200)])
    assert np.all(np.abs(errors.mean(axis=0)) < 3 * errors.std(axis=0) / math.sqrt(200) + 2 / 128)


@given(seeds(), st.integers(1, 4), st.sampled_from((ReLU(), Erf(), GELU())))
def test_the_three_kinds_of_biases_give_three_kernels(seed, depth, activation):
    points = np.random.default_rng(seed).standard_normal((3, 2))
    absent = ntk(depth, activation)(points)
    trained = ntk(depth, activation, biases="zero-initialised")(points)
    random = ntk(depth, activation, bias_variance=1.0)(points)
    # trained biases add at least the one of the output layer, everywhere on the diagonal
    assert np.all(np.diag(trained) >= np.diag(absent) + 1 - 1e-12 * np.diag(trained))
    assert np.abs(random - trained).max() > 0.01


@given(seeds(), st.sampled_from((1, 100, 10**6)))
def test_standard_parametrisation_has_the_terms_of_its_layers(seed, width):
    # two hidden layers, LeCun: n(K² + K¹K̇²) + x·z K̇¹K̇² + 1 + K̇² + K̇¹K̇², from kernels of other depths
    points = np.random.default_rng(seed).standard_normal((4, 3))
    kernel = ntk(2, "relu", weight_variance=1.0, biases="zero-initialised", parametrisation="standard", width=width)
    first, second = (nngp(depth, "relu", weight_variance=1.0)(points) for depth in (1, 2))
    slopes = []
    for below in (nngp(0, "relu", weight_variance=1.0), nngp(1, "relu", weight_variance=1.0)):
        variances = np.diag(below(points))
        cosine = np.clip(below(points) / np.sqrt(np.outer(variances, variances)), -1.0, 1.0)
        np.fill_diagonal(cosine, 1.0)
        slopes.append((np.pi - np.arccos(cosine)) / (2 * np.pi))
    rest = points @ points.T * slopes[0] * slopes[1] + 1 + slopes[1] + slopes[0] * slopes[1]
    expected = width * (second + first * slopes[1]) + rest
    # arccos loses half of the digits of a cosine next to 1; random points are not as close as that
    assert np.abs(kernel(points) - expected).max() < 1e-11 * expected.max()


def test_depth_zero_is_the_linear_kernel():
    points = np.array([[1.0, 2.0], [3.0, -1.0]])
    network = Architecture("linear", (2,), (Linear(1),), "squared")
    empirical = tangent_kernel(
        network, Parameters(network, {"0/weight": np.ones((1, 2)), "0/bias": np.ones(1)}), points
    )
    assert np.abs(ntk(0, "relu", weight_variance=2.0, bias_variance=1.0)(points) - empirical).max() < 30 * EPSILON * 11


@pytest.mark.parametrize("scale", [1e-145, 1e-100, 1e-80, 1e80, 1e100, 1e145])
@pytest.mark.parametrize("count", [4, 80])
def test_homogeneous_kernels_keep_their_digits_at_every_scale(scale, count):
    points = np.random.default_rng(0).standard_normal((count, 3))
    for kernel in (nngp(2, "relu"), ntk(2, "relu"), ntk(2, LeakyReLU(-0.5)), ntk(2, "identity")):
        expected, found = kernel(points), kernel(scale * points) / scale / scale
        size = np.sqrt(np.outer(np.diag(expected), np.diag(expected)))
        # as for all float64 values: units of rounding for three layers and three coordinates, and those of the scaling
        assert np.max(np.abs(found - expected) / size) <= 30 * EPSILON


@pytest.mark.parametrize("scale", [1e-160, 1e-60, 1e60, 1e160])
@pytest.mark.parametrize("activation", ["erf", "gelu", "tanh", "softplus"])
def test_points_out_of_range_are_refused(scale, activation):
    points = scale * np.random.default_rng(0).standard_normal((3, 2))
    kernel = ntk(2, activation, bias_variance=0.25)
    for call in (lambda: kernel(points), lambda: kernel.gradient(np.ones((1, 2)), points, np.ones(3))):
        with pytest.raises(
            InputError, match=r"^[XZ]: found the norm .* at index 0; zero and norms from 1e-50 to 1e\+50"
        ):
            call()
    with pytest.raises(InputError, match=r"^X: found the norm"):
        ntk(1, "relu").partials(points, np.ones((1, 2)))


@pytest.mark.parametrize("count", [2, 80])
def test_a_kernel_that_overflows_is_refused(count):
    points = np.random.default_rng(0).standard_normal((count, 3))
    with pytest.raises(InputError, match=r"^weight_variance: found 1e\+200 with 2 hidden layers"):
        ntk(2, "relu", weight_variance=1e200)(points)


def test_numbers_of_numpy_are_numbers():
    kernel = ntk(np.int64(2), "relu", weight_variance=np.float32(2.0), parametrisation="standard", width=np.int32(3))
    assert kernel == ntk(2, "relu", weight_variance=2.0, parametrisation="standard", width=3)


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
        ({"activation": "nope"}, "activation"),
        ({"weight_variance": 0.0}, "weight_variance"),
        ({"bias_variance": -1.0}, "bias_variance"),
        ({"bias_variance": math.inf}, "bias_variance"),
        ({"biases": "random"}, "bias_variance"),
        ({"biases": "zero-initialised", "bias_variance": 1.0}, "bias_variance"),
        ({"biases": "absent", "bias_variance": 1.0}, "bias_variance"),
        ({"biases": "none"}, "biases"),
        ({"parametrisation": "maximal"}, "parametrisation"),
        ({"parametrisation": "standard"}, "width"),
        ({"parametrisation": "standard", "width": 0}, "width"),
        ({"width": 10}, "width"),
    ],
)
def test_wrong_arguments_are_named(arguments, word):
    values = {"depth": 1, "activation": "relu", "weight_variance": 2.0, "bias_variance": 0.0, **arguments}
    depth, activation = values.pop("depth"), values.pop("activation")
    for make in (ntk, nngp) if word in ("depth", "activation", "weight_variance") else (ntk,):
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
