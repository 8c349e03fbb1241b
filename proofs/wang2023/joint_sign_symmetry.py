"""With odd activations and no biases, a sample and its label may change sign together, and the gradient does not notice.

For a chain of linear and convolution layers without biases, average pooling, flattening and odd activations, replace
(x_i, y_i) by (-x_i, -y_i) for any subset of the batch. The gradient of the squared or logistic loss with respect to all
parameters stays the same: any depth, any width, any parameters, any number of outputs (one for the logistic loss). Nobody who
sees only gradients can therefore tell the sign of a sample or of its label; at most the pair up to joint sign is identified.

Notes
-----
Proof. Each of these layers is odd in its input, so f(-x; θ) = -f(x; θ) for every θ. (Max pooling is not odd:
max(-a, -b) = -min(a, b). The hypothesis does not admit it.) Differentiating this in θ,
∇f(-x) = -∇f(x). The residual ∂ℓ/∂f is odd in (f, y) for both losses: f - y and -y/(1 + e^{yf}). A sample enters the gradient
with the product of the two, and the two signs cancel.

IEEE arithmetic rounds z and -z to opposite numbers, so even the float64 gradients agree to the last bit as long as tanh and
erf are implemented as odd functions.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import (
    Activation,
    Architecture,
    AvgPool2d,
    Conv2d,
    Erf,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Sigmoid,
    Tanh,
)
from provable.arithmetic import kind
from provable.networks import Parameters, loss_gradient
from provable.theorems import BALL, FLOAT64, RATIONAL, Source, Theorem, at_most, equal, identity
from provable.theorems.strategies import architectures, arrays, parameters, readable_arrays

theorem = Theorem(
    statement=r"""Let $f$ be a chain of linear and convolution layers without biases, average pooling, flattening and odd
    activations, and let the loss be squared or logistic (with one output).
    Replacing $(x_i, y_i)$ by $(-x_i, -y_i)$ for any subset of the batch leaves $\nabla_\theta L$ unchanged, at every
    $\theta$.""",
    source=Source("derived", note="used against Theorem 5.1 of Wang, Lee, Lei, arXiv:2212.03714v3"),
    expected="proved",
)

ODD_LAYERS = "only linear, convolution, average pooling and flattening layers and odd activations"
ODD = (Tanh(), Erf(), Identity(), Polynomial((0.0, 1.0, 0.0, -0.25)))


@dataclass(frozen=True)
class Flip:
    """A batch, the samples whose inputs change sign, and the samples whose labels change sign."""

    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray
    samples: tuple[int, ...]
    flipped_labels: tuple[int, ...]


def gradient(parameters, inputs, labels):
    """The gradient with respect to all parameters, as one vector, by the package."""
    return loss_gradient(parameters.architecture, parameters, inputs, labels).vector()


def negated(array, samples):
    result = array.copy()
    result[list(samples)] = -result[list(samples)]
    return result


@st.composite
def flips(draw, *, activations=ODD, bias=False, joint=True, convolutional=None):
    loss = draw(st.sampled_from(("squared", "squared", "logistic")))
    outputs = 1 if loss == "logistic" else draw(st.integers(1, 2))
    shape = {"outputs": outputs, "max_width": 3, "convolutional": convolutional}
    network = draw(architectures(activations=activations, bias=bias, loss=loss, **shape))
    if isinstance(network.layers[0], Conv2d) and draw(st.booleans()):
        kernel = tuple(min(2, side) for side in network.shapes[1][1:])
        layers = (*network.layers[:2], AvgPool2d(kernel, 1), *network.layers[2:])
        network = Architecture("drawn", network.input_shape, layers, loss)
    count = draw(st.integers(1, 3))
    samples = tuple(sorted(draw(st.sets(st.integers(0, count - 1), min_size=1))))
    signs = st.lists(st.sampled_from((1.0, -1.0)), min_size=count, max_size=count).map(np.array)
    labels = draw(signs if loss == "logistic" else readable_arrays((count, outputs)))
    inputs = draw(arrays((count, *network.input_shape)))
    return Flip(draw(parameters(network)), inputs, labels, samples, samples if joint else ())


theorem.instances(flips())


@theorem.hypothesis(ODD_LAYERS)
def odd_activations(flip):
    for layer in flip.parameters.architecture.layers:
        if isinstance(layer, Polynomial):
            if any(layer.coefficients[::2]):
                return False
        elif not isinstance(layer, Tanh | Erf | Identity | Linear | Conv2d | AvgPool2d | Flatten):
            return False
    return True


@theorem.hypothesis("there are no biases")
def no_biases(flip):
    return all(name.endswith("weight") for name in flip.parameters)


@theorem.hypothesis("a label changes sign exactly when its sample does")
def together(flip):
    return flip.samples == flip.flipped_labels


@theorem.degenerate
def zero_gradient(flip):
    return not gradient(flip.parameters, flip.inputs, flip.labels).any()


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def same_gradient(flip):
    before = gradient(flip.parameters, flip.inputs, flip.labels)
    after = gradient(flip.parameters, negated(flip.inputs, flip.samples), negated(flip.labels, flip.flipped_labels))
    if kind(before) == "ball":  # an equality of transcendental numbers: decided to as many digits as one asks for
        slack = (1 + abs(before)) / 2**100
        return at_most(abs(before - after), slack, operations=1, name="the gradient is unchanged, to 30 digits")
    # every intermediate number is the same or negated, and negation is exact: less than one rounding is allowed for
    return equal(before, after, operations=1, name="the gradient is unchanged")


@theorem.derivation
def by_oddness():
    import sympy as sp

    g, h = sp.Function("g"), sp.Function("h")
    w = sp.symbols("w0 w1")
    u, y, theta, f = sp.symbols("u y theta f")
    x = sp.symbols("x0 x1")

    def sigma(z):  # any odd function is the odd part of some function
        return (g(z) - g(-z)) / 2

    def unit(first, second):
        return sigma(w[0] * first + w[1] * second)

    yield identity("a unit is odd in the values that it receives", unit(-x[0], -x[1]), -unit(x[0], x[1]))

    def network(*point):  # any function of x and θ that is odd in x
        return (h(*point, theta) - h(*(-p for p in point), theta)) / 2

    yield identity("so is a composition of units, by induction: f(-x) = -f(x)", network(-x[0], -x[1]), -network(*x))
    slope = sp.diff(network(*x), theta)
    flipped = slope.subs({x[0]: -x[0], x[1]: -x[1]}, simultaneous=True).doit()
    yield identity("its derivative in any parameter is odd in x", flipped, -slope)
    yield identity("the residual of the squared loss is odd in (f, y)", (-f) - (-y), -(f - y))
    logistic = -y / (1 + sp.exp(y * f))
    yield identity(
        "the residual of the logistic loss is odd in (f, y)",
        logistic.subs({f: -f, y: -y}, simultaneous=True),
        -logistic,
    )
    yield identity("the product of residual and derivative keeps its sign", (-f) * (-u), f * u)


def dense(activation, weights, biases=None):
    """A dense network with these weights and one activation."""
    layers, values = [], {}
    for index, weight in enumerate(weights):
        weight = np.array(weight, dtype=float)
        layers += [Linear(len(weight), bias=biases is not None), activation]
        values[f"{2 * index}/weight"] = weight
        if biases is not None:
            values[f"{2 * index}/bias"] = np.array(biases[index], dtype=float)
    network = Architecture("dense", (np.array(weights[0]).shape[1],), tuple(layers[:-1]), "squared")
    return Parameters(network, values)


@theorem.without(ODD_LAYERS)
def rectified_units():
    return Flip(dense(ReLU(), [[[1]], [[1]]]), np.array([[1.0]]), np.array([[2.0]]), (0,), (0,))


@theorem.without("there are no biases")
def one_bias():
    parameters = dense(Identity(), [[[1]], [[1]]], [[0], [1]])
    return Flip(parameters, np.array([[1.0]]), np.array([[1.0]]), (0,), (0,))


@theorem.without("a label changes sign exactly when its sample does")
def the_sample_alone():
    return Flip(dense(Identity(), [[[1]], [[1]]]), np.array([[1.0]]), np.array([[2.0]]), (0,), ())


@theorem.false_twin(
    "the sample may change sign alone",
    without=("a label changes sign exactly when its sample does",),
    instances=flips(joint=False, convolutional=False),
)
def sample_alone(flip):
    return same_gradient(flip)


@theorem.false_twin("biases do no harm", without=("there are no biases",), instances=flips(bias=True))
def with_biases(flip):
    return same_gradient(flip)


@theorem.false_twin(
    "it is enough that the activations vanish at zero",
    without=(ODD_LAYERS,),
    instances=flips(activations=(LeakyReLU(0.25), ReLU(), Polynomial((0.0, 1.0, 0.25))), convolutional=False),
)
def vanishing_at_zero(flip):
    return same_gradient(flip)


@st.composite
def pooled_pairs(draw):
    """A linear model behind max pooling over pairs of pixels; all numbers come from one choice, which shrinks fast."""
    pairs = draw(st.integers(1, 2))
    layers = (MaxPool2d((1, 2)), Flatten(), Linear(1, bias=False))
    network = Architecture("pooled", (1, 1, 2 * pairs), layers, "squared")
    inputs, weight, label = np.split(draw(readable_arrays((3 * pairs + 1,))), [2 * pairs, 3 * pairs])
    theta = Parameters.from_vector(network, weight)
    return Flip(theta, inputs.reshape(1, 1, 1, -1), label[None], (0,), (0,))


@theorem.false_twin("max pooling does as well as average pooling", without=(ODD_LAYERS,), instances=pooled_pairs())
def max_pooling(flip):
    return same_gradient(flip)


@st.composite
def sigmoid_batches(draw):
    """One hidden layer of sigmoids, which are odd up to the constant 1/2."""
    size, width = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    layers: tuple[Linear | Activation, ...] = (Linear(width, bias=False), Sigmoid(), Linear(1, bias=False))
    network = Architecture("sigmoid", (size,), layers, "squared")
    inputs, labels = draw(readable_arrays((1, size))), draw(readable_arrays((1, 1)))
    return Flip(draw(parameters(network, readable=True)), inputs, labels, (0,), (0,))


@theorem.false_twin(
    "a constant plus an odd function does as well if labels are reflected at the output's midpoint",
    without=(ODD_LAYERS,),
    instances=sigmoid_batches(),
    arithmetics=(FLOAT64, BALL),
)
def reflected_at_the_midpoint(flip):
    # with σ(-z) = 1 - σ(z), f(-x) = Σ a_j - f(x): the residual does change sign, and so does the derivative in W
    before = gradient(flip.parameters, flip.inputs, flip.labels)
    labels = flip.parameters["2/weight"].sum() - flip.labels
    return equal(
        before, gradient(flip.parameters, -flip.inputs, labels), operations=20, name="the gradient is unchanged"
    )
