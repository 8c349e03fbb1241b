"""Without biases and with homogeneous activations, only the product of a sample's scale and its residual is seen.

For a chain of linear and convolution layers without biases, average or max pooling, flattening and activations that are
positively homogeneous, σ_k(tz) = t^{p_k} σ_k(z) for t > 0, let P = Π p_k (the identity, ReLU and leaky ReLU have p = 1, z^p
has p). Replace (x_i, c_i), with c_i = ∂ℓ_i/∂f, by (t_i x_i, t_i^{-P} c_i) with t_i > 0 for any subset of the batch. The
gradient with respect to all parameters stays the same: any depth, any width, any parameters, any number of outputs. For the
squared loss the new residuals are those of the labels y_i' = f(t_i x_i) - t_i^{-P} (f(x_i) - y_i). So nobody who sees only
gradients, and does not know the labels, can tell the norm of a sample; for ReLU (p = 1) the fibre is (x, c) -> (tx, c/t) in
every depth.

Notes
-----
Proof. Each layer is positively homogeneous in its input, of degree one or p_k, so f(tx; θ) = t^P f(x; θ) for every θ.
Differentiating in θ at fixed x and t, ∇_θ f(tx) = t^P ∇_θ f(x). A sample enters the gradient with c_i ∇_θ f(x_i), and the two
powers cancel. At a kink of ReLU the package takes the slope 0 on both sides of the equation, since t > 0 keeps the signs of
all preactivations.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from provable.architectures import (
    Architecture,
    AvgPool2d,
    Conv2d,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Softplus,
)
from provable.networks import Parameters, forward, loss_gradient
from provable.theorems import BALL, FLOAT64, RATIONAL, Source, Theorem, equal, identity
from provable.theorems.strategies import architectures, gaussian_arrays, parameters, readable_arrays

theorem = Theorem(
    statement=r"""Let $f$ be a chain of linear and convolution layers without biases, pooling, flattening and activations with
    $\sigma_k(tz) = t^{p_k}\sigma_k(z)$ for $t > 0$, and $P = \prod_k p_k$. Replacing $(x_i, c_i)$, $c_i = \partial\ell_i/
    \partial f$, by $(t_i x_i, t_i^{-P} c_i)$ with $t_i > 0$ leaves $\nabla_\theta L = \sum_i c_i\nabla_\theta f(x_i)$
    unchanged, at every $\theta$; for ReLU and leaky ReLU $P = 1$ in every depth.""",
    source=Source("derived", note="for the networks of Wang, Lee, Lei, arXiv:2212.03714v3, Section 4 and Remark 4"),
    expected="proved",
    does_not_say="whether the norms are determined once the labels are known, or by gradients of biases",
)

HOMOGENEOUS_LAYERS = "only linear, convolution, pooling and flattening layers and positively homogeneous activations"
NO_BIASES = "there are no biases"
POSITIVE = "the factors are positive"
COMPENSATED = "the residuals are divided by the power t^P"
ACTIVATIONS = (ReLU(), LeakyReLU(0.25), Identity(), Polynomial((0.0, 0.0, 0.5)))


@dataclass(frozen=True)
class Scaling:
    """A batch with the residuals c_i = f(x_i) - y_i, a factor for each sample, and the power that divides the residuals."""

    parameters: Parameters
    inputs: np.ndarray
    residuals: np.ndarray
    factors: np.ndarray
    power: int


def degree(layer):
    """The degree p of a homogeneous activation; None for other layers."""
    if isinstance(layer, ReLU | LeakyReLU | Identity):
        return 1
    if isinstance(layer, Polynomial):
        powers = [power for power, coefficient in enumerate(layer.coefficients) if coefficient != 0]
        return powers[0] if len(powers) == 1 else None
    return None


def total_degree(network):
    """P = Π p_k; activations without a degree count as one."""
    return int(np.prod([degree(layer) or 1 for layer in network.layers]))


FACTORS = (0.5, 2.0, 0.25, 1.5, 1.0)


@st.composite
def scalings(draw, *, activations=ACTIVATIONS, bias=False, factors=FACTORS, power=None, convolutional=None):
    shape = {"outputs": draw(st.integers(1, 2)), "max_width": 3, "convolutional": convolutional}
    network = draw(architectures(activations=activations, bias=bias, loss="squared", **shape))
    if isinstance(network.layers[0], Conv2d) and draw(st.booleans()):
        kernel = tuple(min(2, side) for side in network.shapes[1][1:])
        pooling = draw(st.sampled_from((AvgPool2d(kernel, 1), MaxPool2d(kernel, 1))))
        network = Architecture(
            "drawn", network.input_shape, (*network.layers[:2], pooling, *network.layers[2:]), network.loss
        )
    count = draw(st.integers(1, 3))
    chosen = np.array(draw(st.lists(st.sampled_from(factors), min_size=count, max_size=count)))
    residuals = draw(readable_arrays((count, network.output_size)))
    spread = draw(st.integers(0, 7)) == 7
    inputs = draw((gaussian_arrays if spread else readable_arrays)((count, *network.input_shape)))
    exponent = total_degree(network) if power is None else power
    return Scaling(draw(parameters(network, readable=not spread)), inputs, residuals, chosen, exponent)


@st.composite
def small_scalings(draw, *, activations, factors=FACTORS, bias=False):
    """Dense networks with one unit per layer and one sample; all numbers come from one choice, which shrinks fast."""
    layers: list[Layer] = []
    for activation in activations:
        layers += [Linear(1, bias=bias), activation]
    network = Architecture("small", (1,), (*layers, Linear(1, bias=False)), "squared")
    numbers = draw(readable_arrays((network.parameter_count + 2,)))
    theta = Parameters.from_vector(network, numbers[2:])
    factor = np.array([draw(st.sampled_from(factors))])
    return Scaling(theta, numbers[:1, None], numbers[1:2, None], factor, total_degree(network))


theorem.instances(scalings())


@theorem.hypothesis(HOMOGENEOUS_LAYERS)
def homogeneous_layers(scaling):
    kinds = (Linear, Conv2d, AvgPool2d, MaxPool2d, Flatten)
    return all(isinstance(layer, kinds) or degree(layer) for layer in scaling.parameters.architecture.layers)


@theorem.hypothesis(NO_BIASES)
def no_biases(scaling):
    return all(name.endswith("weight") for name in scaling.parameters)


@theorem.hypothesis(POSITIVE)
def positive_factors(scaling):
    return all(factor > 0 for factor in scaling.factors)


@theorem.hypothesis(COMPENSATED)
def compensated(scaling):
    return scaling.power == total_degree(scaling.parameters.architecture)


def gradient(scaling, inputs, residuals):
    """∇L for the labels that leave these residuals, as one vector, by the package."""
    theta = scaling.parameters
    labels = forward(theta.architecture, theta, inputs) - residuals
    return loss_gradient(theta.architecture, theta, inputs, labels).vector()


@theorem.degenerate
def nothing_is_scaled(scaling):
    if all(factor == 1 for factor in scaling.factors):
        return True
    return not gradient(scaling, scaling.inputs, scaling.residuals).any()


@theorem.claim(arithmetics=(RATIONAL,))
def same_gradient(scaling):
    before = gradient(scaling, scaling.inputs, scaling.residuals)
    factors = scaling.factors.reshape(-1, *[1] * (scaling.inputs.ndim - 1))
    divisors = scaling.factors[:, None] ** scaling.power
    after = gradient(scaling, factors * scaling.inputs, scaling.residuals / divisors)
    return equal(before, after, operations=1, name="the gradient is unchanged")


@theorem.derivation
def by_homogeneity():
    import sympy as sp

    t, p, q = sp.symbols("t p q", positive=True)
    w, x = sp.symbols("w0 w1"), sp.symbols("x0 x1")
    c = sp.symbols("c")
    yield identity(
        "a bias-free linear or convolution layer, a mean and a reshaping are homogeneous of degree one",
        sum(a * t * b for a, b in zip(w, x, strict=True)),
        t * sum(a * b for a, b in zip(w, x, strict=True)),
    )
    one, other = sp.symbols("a b", real=True)
    maximum = (one + other + sp.Abs(one - other)) / 2
    yield identity(
        "so is a maximum, max(a, b) = (a + b + |a - b|)/2, which includes relu(z) = max(z, 0)",
        maximum.subs({one: t * one, other: t * other}, simultaneous=True),
        t * maximum,
    )
    z = sp.symbols("z", positive=True)
    degree_p, degree_q = (lambda v: v**p), (lambda v: v**q)
    yield identity(
        "degrees multiply under composition",
        sp.powsimp(sp.expand_power_base(degree_q(degree_p(t * z)), force=True), force=True),
        sp.powsimp(t ** (p * q) * degree_q(degree_p(z)), force=True),
    )
    # any function of degree p on t > 0, in polar form: |x|^p times a function of the direction and of θ
    theta, total, s = sp.symbols("theta P s", positive=True)
    h = sp.Function("h")

    def network(scale):
        return (scale * s) ** total * h(x[0] / x[1], theta)

    yield identity(
        "∇_θ f(tx) = t^P ∇_θ f(x), since f(tx; θ) = t^P f(x; θ) for every θ",
        sp.expand_power_base(sp.diff(network(t), theta), force=True),
        t**total * sp.diff(network(sp.Integer(1)), theta),
    )
    yield identity("(t^{-P} c)(t^P ∇f) = c ∇f", sp.powsimp((c * t**-total) * (t**total * s)), c * s)


def dense(activation, weights, *, bias=None):
    """A dense network with these weights and one activation; `bias` goes to the first layer."""
    layers, values = [], {}
    for index, weight in enumerate(weights):
        biased = bias is not None and index == 0
        layers += [Linear(len(weight), bias=biased), activation]
        values[f"{2 * index}/weight"] = np.array(weight, dtype=float)
        if biased:
            values["0/bias"] = np.array(bias, dtype=float)
    network = Architecture("dense", (len(weights[0][0]),), tuple(layers[:-1]), "squared")
    return Parameters(network, values)


def one_sample(parameters, factor, power):
    return Scaling(parameters, np.array([[1.0]]), np.array([[1.0]]), np.array([factor]), power)


@theorem.without(HOMOGENEOUS_LAYERS)
def linear_plus_quadratic():
    return one_sample(dense(Polynomial((0.0, 1.0, 1.0)), [[[1]], [[1]]]), 2.0, 1)


@theorem.without(NO_BIASES)
def one_bias():
    return one_sample(dense(ReLU(), [[[1]], [[1]]], bias=[1]), 2.0, 1)


@theorem.without(POSITIVE)
def a_reflection():
    return one_sample(dense(ReLU(), [[[1]], [[1]]]), -1.0, 1)


@theorem.without(COMPENSATED)
def the_sample_alone():
    return one_sample(dense(ReLU(), [[[1]], [[1]]]), 2.0, 0)


@theorem.false_twin(
    "the label may stay as it is",
    instances=small_scalings(activations=(ReLU(), LeakyReLU(0.25))),
)
def labels_stay(scaling):
    # with an unchanged label the residual is f(tx) - y
    theta = scaling.parameters
    labels = forward(theta.architecture, theta, scaling.inputs) - scaling.residuals
    before = loss_gradient(theta.architecture, theta, scaling.inputs, labels).vector()
    after = loss_gradient(theta.architecture, theta, scaling.factors[:, None] * scaling.inputs, labels).vector()
    return equal(before, after, operations=1, name="the gradient is unchanged")


@theorem.false_twin(
    "biases do no harm", without=(NO_BIASES,), instances=small_scalings(activations=(ReLU(),), bias=True)
)
def with_biases(scaling):
    return same_gradient(scaling)


@theorem.false_twin(
    "negative factors are as good, as for odd activations",
    without=(POSITIVE,),
    instances=small_scalings(activations=(ReLU(), LeakyReLU(0.25)), factors=(-1.0, -2.0, 1.0)),
)
def negative_factors(scaling):
    return same_gradient(scaling)


@theorem.false_twin(
    "degrees add along the depth",
    without=(COMPENSATED,),
    instances=small_scalings(activations=(Polynomial((0.0, 0.0, 1.0)), ReLU())),
)
def degrees_add(scaling):
    degrees = [degree(layer) for layer in scaling.parameters.architecture.layers if degree(layer)]
    return same_gradient(replace(scaling, power=max(1, sum(degrees))))


@theorem.false_twin(
    "softplus, which is ReLU up to a bounded difference, does as well",
    without=(HOMOGENEOUS_LAYERS,),
    instances=small_scalings(activations=(Softplus(),)),
    arithmetics=(FLOAT64, BALL),
)
def not_homogeneous(scaling):
    return same_gradient(scaling)
