r"""Crafted first layers pass the data on exactly: a deep network's last hidden layer sees a multiple of x, any depth.

Algorithm 2 of Wang, Lee and Lei sends a deep network whose lower layers are crafted, so that the attack on two layers applies
to the upper ones. Let W_1 = [I; -I], let the K lower hidden layers have no biases and width 2d, and let a unit of the next
layer have the weight [z; -z], z in R^d.

* Leaky ReLU of slope γ (ReLU: γ = 0) with W_2 = … = W_K = I: the last of the lower layers is h = [p(x); p(-x)] with
  p(t) = t for t > 0 and γ^K t otherwise, and the unit receives (1 + γ^K) z·x.
* Any activation that is affine plus even, σ(t) - σ(-t) = ct (leaky ReLU: c = 1 + γ; softplus, SiLU, GELU: c = 1), with
  W_2 = … = W_K = [[I, -I], [-I, I]]: the unit receives c^K z·x. With identities instead this fails for softplus, SiLU and
  GELU as soon as K = 2.

So the gradient of the output weights is that of the two-layer network at the samples (1 + γ^K) x_i (or c^K x_i), with the
same residuals, at every width: g = Σ_i r_i σ(κ z·x_i), κ the factor. Everything that holds for two layers holds for κ x_i.

Notes
-----
Proof. Leaky ReLU maps t > 0 to t and t < 0 to γt, and keeps signs for γ >= 0, so K of them map t < 0 to γ^K t; then
z·p(x) - z·p(-x) with p(t) - p(-t) = (1 + γ^K) t. In the second design, if a layer receives [u; -u] it puts out
[σ(u); σ(-u)], and the next one receives [σ(u) - σ(-u); σ(-u) - σ(u)] = [cu; -cu].

The second design is derived here; the printed one has identities, and divides by 1 + γ at every depth.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import ELU, GELU, Architecture, LeakyReLU, Linear, ReLU, SiLU, Softplus
from provable.arithmetic import BALL, FLOAT64, RATIONAL, constant, full, kind, to_float
from provable.networks import Parameters, forward, loss_gradient
from provable.theorems import Source, Theorem, at_most, equal, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $W_1 = [I; -I]$, let $K$ bias-free layers of width $2d$ follow, the first included, and let $w = [z;
    -z]$. For a leaky ReLU of slope $\gamma \ge 0$ and $W_2 = \dots = W_K = I$, $w^Th_K = (1+\gamma^K)\,z^Tx$. For $\sigma$
    with $\sigma(t) - \sigma(-t) = ct$ and $W_2 = \dots = W_K = [I, -I; -I, I]$, $w^Th_K = c^Kz^Tx$. So $\partial L/\partial
    a = \sum_i r_i\sigma(\kappa Zx_i)$ with that factor $\kappa$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3",
        "Algorithm 2 and Corollary 5.2, corrected",
        "the algorithm was read; the factor and the second design are derived here",
    ),
    expected="proved",
    does_not_say="that a network with such weights looks innocent; layers of width below 2d are not treated",
)

IDENTITIES, DIFFERENCES = "identities", "differences"
FITS = "leaky ReLU, or differences and an affine plus even activation"
NO_BIAS = "the lower layers have no biases"


@dataclass(frozen=True)
class Network:
    """A batch through K crafted layers and one layer with weights [z, -z], in one of the two designs."""

    activation: str
    slope: float
    design: str
    depth: int
    bias: float
    inputs: np.ndarray
    directions: np.ndarray
    residuals: np.ndarray


ACTIVATIONS = {"softplus": Softplus(), "silu": SiLU(), "gelu": GELU(), "elu": ELU(), "relu": ReLU()}
PIECEWISE, SMOOTH = ("relu", "leaky relu", "leaky relu"), ("softplus", "silu", "gelu")


@st.composite
def networks(draw, *, activations=PIECEWISE + SMOOTH, designs=None, depths=(1, 2, 3), biases=(0.0,)):
    activation = draw(st.sampled_from(activations))
    fitting = (DIFFERENCES,) if activation in SMOOTH else (IDENTITIES, DIFFERENCES)
    design = draw(st.sampled_from(designs or fitting))
    size, dimension, width = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((size * dimension + width * dimension + size,)))
    inputs, directions, residuals = np.split(numbers, np.cumsum([size * dimension, width * dimension]))
    slope = {"leaky relu": draw(st.sampled_from((0.25, 0.5)))}.get(activation, 0.0)
    shapes = inputs.reshape(size, dimension), directions.reshape(width, dimension)
    return Network(
        activation, slope, design, draw(st.sampled_from(depths)), draw(st.sampled_from(biases)), *shapes, residuals
    )


theorem.instances(networks())


@theorem.hypothesis(FITS)
def fits(case):
    return case.activation in PIECEWISE or (case.activation in SMOOTH and case.design == DIFFERENCES)


@theorem.hypothesis(NO_BIAS)
def no_bias(case):
    return case.bias == 0


@theorem.degenerate
def nothing_passes(case):
    return not np.any(case.inputs @ case.directions.T)


def identity_matrix(size, like):
    matrix = full((size, size), 0, like)
    np.fill_diagonal(matrix, constant(1, like))
    return matrix


def crafted(case):
    """The architecture and its parameters; all biases of the lower layers are equal."""
    dimension, width = case.inputs.shape[1], len(case.directions)
    # the instance holds numbers of some arithmetic, the architecture floats
    activation = ACTIVATIONS.get(case.activation) or LeakyReLU(float(to_float(case.slope)))
    layers, values = [], {}
    one = identity_matrix(dimension, case.inputs)
    between = identity_matrix(2 * dimension, case.inputs)
    if case.design == DIFFERENCES:
        between = np.block([[one, -one], [-one, one]])
    for level in range(case.depth):
        layers += [Linear(2 * dimension, bias=True), activation]
        values[f"{2 * level}/weight"] = np.vstack([one, -one]) if level == 0 else between
        values[f"{2 * level}/bias"] = full((2 * dimension,), 0, case.inputs) + case.bias
    layers += [Linear(width, bias=False), activation, Linear(1, bias=False)]
    values[f"{2 * case.depth}/weight"] = np.hstack([case.directions, -case.directions])
    values[f"{2 * case.depth + 2}/weight"] = full((1, width), 1, case.inputs)
    network = Architecture("crafted", (dimension,), tuple(layers), "squared")
    return network, Parameters(network, values)


def received(case, factor, name="w·h is the factor times z·x"):
    """Claim what the units behind the crafted layers receive; one evaluation of the lower layers."""
    network, theta = crafted(case)
    lower = Architecture("lower", network.input_shape, network.layers[: 2 * case.depth + 1], "squared")
    values = Parameters(lower, {key: theta[key] for key in lower.parameter_shapes})
    observed, expected = forward(lower, values, case.inputs), factor * (case.inputs @ case.directions.T)
    if kind(case.inputs) == "ball":
        return at_most(abs(observed - expected), (1 + abs(observed)) / 2**60, operations=1, name=name)
    # numbers below 3, products of two of them, and up to three layers of differences
    size = 100.0 if kind(case.inputs) == "float64" else None
    return equal(observed, expected, operations=50, magnitude=size, name=name)


def two_layers(case, factor):
    """The two-layer network with the same upper layers, at samples scaled by the factor."""
    full_network, theta = crafted(case)
    width, depth = len(case.directions), case.depth
    layers = (Linear(width, bias=False), *full_network.layers[2 * depth + 1 :])
    network = Architecture("two-layer", full_network.input_shape, layers, "squared")
    values = {"0/weight": case.directions, "2/weight": theta[f"{2 * depth + 2}/weight"]}
    return network, Parameters(network, values), factor * case.inputs


def output_gradient(network, theta, inputs, residuals):
    """∂L/∂a for the labels that leave these residuals, by the package."""
    labels = forward(network, theta, inputs) - residuals[:, None]
    return loss_gradient(network, theta, inputs, labels)[f"{len(network.layers) - 1}/weight"]


def stated_factor(case):
    one = constant(1, case.inputs)
    if case.design == IDENTITIES:
        return one + case.slope**case.depth
    return (one + case.slope) ** case.depth if case.activation in PIECEWISE else one


def same_gradient(case, factor, name="∂L/∂a is that of two layers at the samples times the factor"):
    network, theta = crafted(case)
    deep = output_gradient(network, theta, case.inputs, case.residuals)
    shallow = output_gradient(*two_layers(case, factor), case.residuals)
    if kind(case.inputs) == "ball":  # an equality of transcendental numbers: decided to as many digits as one asks for
        return at_most(abs(deep - shallow), (1 + abs(deep)) / 2**60, operations=1, name=name)
    # numbers below 3, slopes below 1.2, rows of at most four entries, and up to three layers of differences
    size = 1 + 100 * np.abs(case.residuals).max(initial=0.0) if kind(case.inputs) == "float64" else None
    return equal(deep, shallow, operations=100, magnitude=size, name=name)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def linear_image(case):
    yield received(case, stated_factor(case))
    yield same_gradient(case, stated_factor(case))


@theorem.derivation
def by_induction():
    import sympy as sp

    t, slope = sp.symbols("t gamma", positive=True)
    levels, z = sp.symbols("K", integer=True, positive=True), sp.symbols("z", real=True)
    leaky = lambda u: (u + sp.Abs(u)) / 2 + slope * (u - sp.Abs(u)) / 2  # noqa: E731
    yield identity("leaky ReLU keeps t > 0", leaky(t), t)
    yield identity(
        "and multiplies -t by γ, which keeps its sign: K of them by γ^K",
        leaky(-(slope**levels) * t),
        -(slope ** (levels + 1)) * t,
    )
    yield identity(
        "z p(t) - z p(-t) = (1 + γ^K) z t; for t < 0 both sides change sign",
        z * t - z * (-(slope**levels) * t),
        (1 + slope**levels) * z * t,
    )
    even, c, u = sp.Function("e"), sp.symbols("c"), sp.symbols("u", real=True)

    def sigma(v):  # any function with σ(t) - σ(-t) = ct
        return c * v / 2 + (even(v) + even(-v)) / 2

    yield identity(
        "differences: a layer that receives [u; -u] hands on [cu; -cu]",
        sp.Matrix([sigma(u) - sigma(-u), sigma(-u) - sigma(u)]),
        sp.Matrix([c * u, -c * u]),
    )
    yield identity("and the unit [z; -z] receives c z·u from the last of them", z * sigma(u) - z * sigma(-u), c * z * u)


def one_number(activation, slope, design, depth, bias=0.0):
    return Network(activation, slope, design, depth, bias, np.array([[1.0]]), np.array([[1.0]]), np.ones(1))


@theorem.without(FITS)
def two_softplus_layers_with_identities():
    return one_number("softplus", 0.0, IDENTITIES, 2)


@theorem.without(NO_BIAS)
def a_bias():
    return Network("relu", 0.0, IDENTITIES, 1, -1.0, np.array([[2.0]]), np.array([[1.0]]), np.ones(1))


@theorem.false_twin(
    "with identities the factor is (1 + γ)^K", instances=networks(activations=PIECEWISE, designs=(IDENTITIES,))
)
def power_of_the_sum(case):
    return received(case, (constant(1, case.inputs) + case.slope) ** case.depth)


@theorem.false_twin(
    "with identities the factor is 1 + Kγ", instances=networks(activations=PIECEWISE, designs=(IDENTITIES,))
)
def linear_in_depth(case):
    return received(case, constant(1, case.inputs) + case.depth * case.slope)


@theorem.false_twin(
    "identities do for softplus, SiLU and GELU in every depth",
    without=(FITS,),
    instances=networks(activations=SMOOTH, designs=(IDENTITIES,)),
    arithmetics=(FLOAT64, BALL),
)
def smooth_with_identities(case):
    return received(case, stated_factor(case))


@theorem.false_twin(
    "ELU, which is the identity right of zero like ReLU, passes the data on",
    without=(FITS,),
    instances=networks(activations=("elu",), designs=(DIFFERENCES,), depths=(1,)),
    arithmetics=(FLOAT64, BALL),
)
def exponential_units(case):
    return received(case, constant(1, case.inputs))


@theorem.false_twin(
    "biases do no harm", without=(NO_BIAS,), instances=networks(activations=PIECEWISE, biases=(0.5, -1.0))
)
def with_biases(case):
    return received(case, stated_factor(case))
