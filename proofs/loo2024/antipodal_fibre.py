"""With one hidden layer and no biases, d + 1 antipodal pairs of points can be exchanged unnoticed; d independent ones cannot.

For f(x) = Σ_j a_j σ(w_j·x) with ReLU, at every finite width and every θ, ∇f(x) - ∇f(-x) is linear in x: its components are
a_j x and w_j·x. Therefore Σ_j β_j (δ_{z_j} - δ_{-z_j}) embeds to zero exactly when Σ_j β_j z_j = 0, as long as some a_j is
not zero. The tangents of n antipodal pairs have rank at most n + rank(z_1, …, z_n), so those of d + 1 pairs are always
dependent. The reconstruction loss has more zeros than the truth: from N + 2 candidates on, any subset J of an N-point
training set may be replaced by its antipodes, with the same coefficients, at the cost of δ_v - δ_{-v} with v = Σ_J α_j x_j.
The differences of d independent pairs are independent.

The same holds at infinite width, for the tangent kernel of one hidden ReLU layer without biases: with weight variance σ_w²,
k(x, z) - k(x, -z) = (σ_w⁴/d) x·z. There, d independent pairs have a positive definite Gram matrix.

Only the odd part of σ matters: everything holds for c·z plus any even function with c ≠ 0, with 2c in place of 1 (leaky
ReLU, softplus, GELU and SiLU are of this kind). Biases, also those initialised at zero, and a second hidden layer destroy the
linearity.

Notes
-----
Proof. relu(z) - relu(-z) = z and relu'(z) + relu'(-z) = 1 for z ≠ 0; at a kink, where a unit sees z = 0, the convention
relu'(0) = 0 breaks the second identity, so points on kinks are excluded. For the kernel, κ_1(u) - κ_1(-u) = u and
κ_0(u) + κ_0(-u) = 1 in k(x, z) = (σ_w⁴/2d)‖x‖‖z‖(uκ_0(u) + κ_1(u)).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import constant, determinant, kind, rank, sqrt
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, tangents
from provable.theorems import BALL, FLOAT64, RATIONAL, Source, Theorem, at_most, equal, holds, identity, less
from provable.theorems.strategies import readable_arrays, readable_directions, sphere_points

theorem = Theorem(
    statement=r"""Let $f(x) = \sum_j a_j\sigma(w_j^Tx)$ with $a \ne 0$ and $\sigma$ the sum of $cz$, $c \ne 0$, and an even
    function (ReLU: $c = 1/2$), no $w_j^Tz_i$ on a kink. Then $\nabla f(z) - \nabla f(-z) = 2c\,(a_jz,\ w_j^Tz)_j$, so
    $\sum_i \beta_i(\delta_{z_i} - \delta_{-z_i})$ embeds to zero if and only if $\sum_i \beta_iz_i = 0$, and the tangents at
    $n$ antipodal pairs have rank at most $n + \mathrm{rank}(z_1, \dots, z_n)$. At infinite width
    $k(x, z) - k(x, -z) = (\sigma_w^4/d)\,x^Tz$ for ReLU, and $d$ independent pairs have a positive definite Gram matrix.""",
    source=Source("derived", note="used against Theorem 1 of Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2"),
    expected="proved",
    does_not_say="the positive definite Gram matrices of infinite width are certified on every draw, not derived",
)


@dataclass(frozen=True)
class Pairs:
    """A network, points z_i (n, d) and the coefficients β_i of δ_{z_i} - δ_{-z_i}."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray


def network(weights, activation=None, biases=None):
    """A dense network with scalar output from its weight matrices, and biases of the hidden layers if given."""
    layers, values = [], {}
    for index, weight in enumerate(weights):
        weight, last = np.array(weight, dtype=float), index == len(weights) - 1
        layers.append(Linear(len(weight), bias=biases is not None and not last))
        values[f"{2 * index}/weight"] = weight
        if biases is not None and not last:
            values[f"{2 * index}/bias"] = np.array(biases[index], dtype=float)
        if not last:
            layers.append(activation or ReLU())
    architecture = Architecture("dense", (np.array(weights[0]).shape[1],), tuple(layers), "squared")
    return Parameters(architecture, values)


LINEAR_PLUS_EVEN = (ReLU(), ReLU(), LeakyReLU(negative_slope=0.25), Polynomial((0.5, -1.0, 0.25)))


@st.composite
def antipodal_pairs(
    draw, *, activations=LINEAR_PLUS_EVEN, hidden=1, bias=None, kinks=False, balanced=False, readable=True
):
    dimension, extra = draw(st.integers(1, 3)), 1 if balanced else draw(st.integers(-1, 1))
    count, width = max(1, dimension + extra), draw(st.integers(1, 3))
    if not readable and dimension > 1 and draw(st.booleans()):
        points = draw(sphere_points(count, dimension))
    else:
        points = draw(readable_directions(count, dimension))
    # all other numbers in one draw, which shrinks faster than one for each array
    sizes = [count, width * dimension, width * width * (hidden - 1), width, width * hidden]
    numbers = np.split(draw(readable_arrays((sum(sizes),), nonzero=True)), np.cumsum(sizes)[:-1])
    coefficients, first, inner, output, offsets = numbers
    if count > 1 and (balanced or draw(st.booleans())):  # Σ β_i z_i = 0
        points[-1], coefficients[-1] = -(coefficients[:-1] @ points[:-1]) + 0.0, 1.0
    # small odd parts keep the units off their kinks at readable points
    off_kinks = 0.0 if kinks else 1 / np.array([8.0, 32.0, 128.0])[:dimension]
    weights = [first.reshape(width, dimension) + off_kinks, *inner.reshape(hidden - 1, width, width), output[None]]
    biases = None if bias is None else bias * offsets.reshape(hidden, width) + 0.0
    return Pairs(network(weights, draw(st.sampled_from(activations)), biases), points, coefficients)


theorem.instances(antipodal_pairs(readable=False))


def layers(pairs):
    return pairs.parameters.architecture.layers


def is_two_layer(pairs):
    """One hidden layer and no biases: the shape for which the closed form is written."""
    return len(layers(pairs)) == 3 and not any(layer.bias for layer in layers(pairs)[::2])


@theorem.hypothesis("there is one hidden layer")
def one_hidden_layer(pairs):
    return len(layers(pairs)) == 3


@theorem.hypothesis("there are no biases")
def no_biases(pairs):
    return not any(layer.bias for layer in layers(pairs)[::2])


@theorem.hypothesis("the activation is a nonzero multiple of z plus an even function")
def linear_plus_even(pairs):
    return odd_slope(layers(pairs)[1]) not in (None, 0)


@theorem.hypothesis("no unit has its kink at a point", arithmetic=RATIONAL)
def no_kinks(pairs):
    if isinstance(layers(pairs)[1], Polynomial):
        return True
    bias = pairs.parameters["0/bias"] if layers(pairs)[0].bias else 0
    seen = [z for sign in (1, -1) for z in (sign * pairs.points @ pairs.parameters["0/weight"].T + bias).reshape(-1)]
    return all(z != 0 for z in seen)


@theorem.hypothesis("some output weight is not zero")
def visible(pairs):
    return pairs.parameters[f"{len(layers(pairs)) - 1}/weight"].any()


def odd_slope(activation):
    """The number c if the odd part of the activation is c·z, else None."""
    if isinstance(activation, ReLU):
        return Fraction(1, 2)
    if isinstance(activation, LeakyReLU):
        return (1 + Fraction(activation.negative_slope)) / 2
    coefficients = (*activation.coefficients, 0.0, 0.0)
    return Fraction(coefficients[1]) if not any(coefficients[3::2]) else None


def antipodal_measure(pairs):
    """Σ β_i (δ_{z_i} - δ_{-z_i})."""
    points = np.concatenate([pairs.points, -pairs.points])
    return Measure(points, np.concatenate([pairs.coefficients, -pairs.coefficients]))


def linear_map(pairs, points):
    """2c·(a_j z, w_j·z)_j for each z, in the order of the parameters."""
    factor = 2 * constant(odd_slope(layers(pairs)[1]), points)
    weight, output = pairs.parameters["0/weight"], pairs.parameters["2/weight"][0]
    first = output[None, :, None] * points[:, None, :]
    return factor * np.concatenate([first.reshape(len(points), -1), points @ weight.T], axis=1)


def rounding_size(pairs):
    """float64: the largest possible entry of a tangent at one of the points, times the sum of |β| (or one)."""
    weight, output = pairs.parameters["0/weight"], pairs.parameters["2/weight"]
    reach = max(1.0, float((abs(pairs.points) @ abs(weight).T).max()))
    entry = (reach + reach**2) * max(1.0, float(abs(output).max()) * float(abs(pairs.points).max()))
    return 2 * entry * (1 + float(abs(pairs.coefficients).sum()))


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def antipodes(pairs):
    arithmetic, theta = kind(pairs.points), pairs.parameters
    total = (pairs.coefficients @ pairs.points)[None]
    if arithmetic == "ball":
        yield from at_infinite_width(pairs, total[0])
        return
    embedded = embed(theta.architecture, theta, antipodal_measure(pairs)).vector()
    differences = (
        tangents(theta.architecture, theta, pairs.points) - tangents(theta.architecture, theta, -pairs.points)
    )[:, 0]
    if is_two_layer(pairs) and linear_plus_even(pairs):
        # products of at most 3 inputs, one activation, sums of at most 8 atoms
        size = rounding_size(pairs) if arithmetic == "float64" else None
        expected = linear_map(pairs, pairs.points)
        yield equal(differences, expected, operations=8, magnitude=size, name="∇f(z) - ∇f(-z) is 2c(a_j z, w_j·z)")
        image = linear_map(pairs, total)[0]
        yield equal(embedded, image, operations=16, magnitude=size, name="the sum embeds to the image of Σ β_i z_i")
    if arithmetic == "rational":
        yield holds(
            any(entry != 0 for entry in embedded) == any(entry != 0 for entry in total[0]),
            name="the sum embeds to zero if and only if Σ β_i z_i = 0",
        )
        yield holds(rank(differences) == rank(pairs.points), name="differences are as independent as the points")
        if is_two_layer(pairs) and all(z != 0 for z in (total @ theta["0/weight"].T)[0]):
            yield equal(
                embed(theta.architecture, theta, Measure(pairs.points, pairs.coefficients)).vector(),
                embed(theta.architecture, theta, replaced_by_antipodes(pairs, total)).vector(),
                operations=16,
                name="antipodes with δ_v - δ_{-v} look like the points",
            )
        yield holds(
            rank_of_pairs(pairs) <= len(pairs.points) + rank(pairs.points), name="rank <= n + rank(z_1, ..., z_n)"
        )


def replaced_by_antipodes(pairs, total):
    """Σ β_i δ_{-z_i} + δ_v - δ_{-v} with v = Σ β_i z_i: another measure with the same embedding."""
    one = constant(1, total)
    points = np.concatenate([-pairs.points, total, -total])
    return Measure(points, np.concatenate([pairs.coefficients, np.array([one, -one])]))


def rank_of_pairs(pairs):
    """The rank of the tangents at all z_i and -z_i."""
    theta, points = pairs.parameters, np.concatenate([pairs.points, -pairs.points])
    return rank(tangents(theta.architecture, theta, points)[:, 0])


def kernel_form(pairs):
    """‖Σ β_i (k(·, z_i) - k(·, -z_i))‖² for one hidden ReLU layer, weight variance 2, no biases."""
    kernel, measure = ntk(1, "relu"), antipodal_measure(pairs)
    return measure.coefficients @ kernel(measure.points) @ measure.coefficients


def at_infinite_width(pairs, total):
    dimension = pairs.points.shape[1]
    norms = sqrt((pairs.points * pairs.points).sum(axis=1))
    scale = (abs(pairs.coefficients) @ norms) * (abs(pairs.coefficients) @ norms)
    # an equality of transcendental numbers: balls decide it to as many digits as one asks for
    yield at_most(
        abs(kernel_form(pairs) - 8 * (total @ total) / dimension),
        scale / 2**100,
        operations=40,
        name="the kernel's form is (2σ_w⁴/d)‖Σ β_i z_i‖², to 30 digits",
    )
    if determinant(pairs.points @ pairs.points.T) > 0:
        volume = determinant(ntk(1, "relu")(np.concatenate([pairs.points, -pairs.points])))
        yield less(0 * volume, volume, operations=40, name="independent pairs have a positive definite Gram matrix")


@theorem.derivation
def by_parity():
    import sympy as sp

    z, a, c = sp.symbols("z a c", real=True, nonzero=True)
    w, x = sp.symbols("w0 w1", real=True), sp.symbols("x0 x1", real=True)

    class h(sp.Function):  # its derivative has a name: SymPy's own form of it at -z is not always the same
        def fdiff(self, argindex=1):
            return sp.Function("slope")(self.args[0])

    relu = (z + sp.Abs(z)) / 2
    slope = (1 + sp.sign(z)) / 2
    yield identity("relu(z) - relu(-z) = z", relu - relu.subs(z, -z), z)
    yield identity("relu'(z) + relu'(-z) = 1 off the kink", slope + slope.subs(z, -z), 1)
    sigma = c * z + h(z) + h(-z)
    yield identity("σ = cz + even: σ(z) - σ(-z) = 2cz", sigma - sigma.subs(z, -z, simultaneous=True), 2 * c * z)
    derivative = sp.diff(sigma, z)
    reflected = derivative.subs(z, -z, simultaneous=True).doit()
    yield identity("and σ'(z) + σ'(-z) = 2c", (derivative + reflected).doit(), 2 * c)

    p = sp.symbols("p")  # stands for σ'(w·x), so that σ'(-w·x) = 2c - p
    component = a * p * x[0] - a * (2 * c - p) * (-x[0])
    yield identity("the component in w_j is 2c a_j x", component, 2 * c * a * x[0])
    inner = w[0] * x[0] + w[1] * x[1]
    yield identity(
        "the component in a_j is 2c w_j·x",
        sigma.subs(z, inner, simultaneous=True) - sigma.subs(z, -inner, simultaneous=True),
        2 * c * inner,
    )
    b = sp.symbols("b0 b1")
    v = sp.Matrix(sp.symbols("v0 v1"))
    image = b[0] * a * sp.Matrix(x) + b[1] * a * v
    yield identity(
        "so a sum over pairs has the image of Σ β_i z_i, which a_j ≠ 0 shows", image / a, b[0] * sp.Matrix(x) + b[1] * v
    )

    u = sp.symbols("u", real=True)
    angle = sp.pi / 2 - sp.asin(u)  # arccos u
    kappa_0 = (sp.pi - angle) / sp.pi
    kappa_1 = (u * (sp.pi - angle) + sp.sqrt(1 - u**2)) / sp.pi
    yield identity("κ_0(u) + κ_0(-u) = 1", kappa_0 + kappa_0.subs(u, -u), 1)
    yield identity("κ_1(u) - κ_1(-u) = u", kappa_1 - kappa_1.subs(u, -u), u)
    tangent = u * kappa_0 + kappa_1
    yield identity("uκ_0 + κ_1 has the odd part u", tangent - tangent.subs(u, -u), 2 * u)


@theorem.without("there is one hidden layer")
def two_hidden_layers():
    theta = network([[[1, 0.5], [0.5, -1]], [[1, 2], [1, -1]], [[1, 1]]])
    return Pairs(theta, np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]]), np.ones(3))


@theorem.without("there are no biases")
def a_bias():
    theta = network([[[1]], [[1]]], biases=[[3]])
    return Pairs(theta, np.array([[1.0], [5.0]]), np.array([-5.0, 1.0]))


@theorem.without("the activation is a nonzero multiple of z plus an even function")
def a_cubic_term():
    theta = network([[[1]], [[1]]], Polynomial((0.0, 1.0, 0.0, 1.0)))
    return Pairs(theta, np.array([[1.0], [2.0]]), np.array([-2.0, 1.0]))


@theorem.without("no unit has its kink at a point")
def a_point_on_a_kink():
    theta = network([[[1, 0]], [[1]]])
    return Pairs(theta, np.array([[0.0, 1.0]]), np.array([1.0]))


@theorem.without("some output weight is not zero")
def no_output():
    theta = network([[[1, 1]], [[0]]])
    return Pairs(theta, np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([1.0, -1.0]))


def zero_sum_embeds_to_zero(pairs):
    """The sum embeds to zero if Σ β_i z_i = 0."""
    theta = pairs.parameters
    embedded = embed(theta.architecture, theta, antipodal_measure(pairs)).vector()
    total = pairs.coefficients @ pairs.points
    zero = not any(entry != 0 for entry in embedded)
    return holds(zero or any(entry != 0 for entry in total), name="the sum embeds to zero if Σ β_i z_i = 0")


@theorem.false_twin(
    "a second hidden layer changes nothing",
    without=("there is one hidden layer",),
    instances=antipodal_pairs(activations=(ReLU(),), hidden=2, balanced=True),
    arithmetics=(RATIONAL,),
)
def deeper(pairs):
    return zero_sum_embeds_to_zero(pairs)


@theorem.false_twin(
    "biases that are trained but initialised at zero change nothing",
    without=("there are no biases",),
    instances=antipodal_pairs(activations=(ReLU(),), bias=0, balanced=True),
    arithmetics=(RATIONAL,),
)
def zero_biases(pairs):
    return zero_sum_embeds_to_zero(pairs)


@theorem.false_twin(
    "points may lie on kinks",
    without=("no unit has its kink at a point",),
    instances=antipodal_pairs(activations=(ReLU(),), kinks=True),
    arithmetics=(RATIONAL,),
)
def on_kinks(pairs):
    return antipodes(pairs)


@theorem.false_twin(
    "d antipodal pairs are already dependent: rank < n + rank(z_1, ..., z_n)",
    instances=antipodal_pairs(),
    arithmetics=(RATIONAL,),
)
def one_less(pairs):
    return holds(rank_of_pairs(pairs) < len(pairs.points) + rank(pairs.points), name="rank < n + rank(z_1, ..., z_n)")


@theorem.false_twin(
    "the kernel's form is at most 1 % less than (2σ_w⁴/d)‖Σ β_i z_i‖²", instances=antipodal_pairs(), arithmetics=(BALL,)
)
def one_per_cent_less(pairs):
    total = pairs.coefficients @ pairs.points
    bound = 8 * (total @ total) / pairs.points.shape[1] * 99 / 100
    return at_most(kernel_form(pairs), bound, operations=40, name="form <= 0.99 (2σ_w⁴/d)‖Σ β_i z_i‖²")
