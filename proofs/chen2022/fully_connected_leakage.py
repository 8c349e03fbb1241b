r"""A linear layer with bias gives its input away, wherever one of its units has a sensitivity.

Somewhere in a network a linear layer computes z = W x + b from its input x, and a loss L is taken of one sample; what
follows the layer is arbitrary. If ∂L/∂z_j ≠ 0 for some unit j, then x is row j of ∂L/∂W divided by entry j of ∂L/∂b,
exactly, and every such j gives the same x. So samples with the same gradient have the same x. For the first layer, x is
the sample itself.

Notes
-----
.. math:: \frac{\partial L}{\partial W} = \frac{\partial L}{\partial z}\, x^T, \qquad
          \frac{\partial L}{\partial b} = \frac{\partial L}{\partial z}
          \quad\Longrightarrow\quad
          x = \frac{(\partial L/\partial W)_j}{(\partial L/\partial b)_j} \quad\text{if } (\partial L/\partial b)_j \ne 0 .

Sources: Phong, Aono, Hayashi, Wang and Moriai (IEEE TIFS 13(5), 2018); Geiping, Bauermeister, Dröge and Moeller,
arXiv:2003.14053, Proposition 3.1 (its wording was not read; statement and proof are derived here). The released code of
Chen and Campbell starts its recursion with it. The linear layer tested is the network's first one; in networks that begin
with a convolution its input x is a hidden feature.

Without a bias x is known up to a factor only: see ``zhu2021.twin_data``.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import ReLU
from provable.architectures.layers import Conv2d, Linear
from provable.networks import Parameters, loss_gradient, trace
from provable.networks.windows import patches
from provable.theorems import BALL, FLOAT64, RATIONAL, Source, Theorem, different, equal, identity
from provable.theorems.strategies import (
    PIECEWISE_LINEAR_ACTIVATIONS,
    architectures,
    arrays,
    parameters,
    readable_arrays,
)

theorem = Theorem(
    statement=r"""Let z = Wx + b be a linear layer of a network, L the loss of one sample, and let dL/dz_j be nonzero for some
    j. Then x = (dL/dW)_j / (dL/db)_j for every such j, whatever follows the layer, and a sample with the same gradient has
    the same layer input x.""",
    source=Source(
        "arXiv:2003.14053; arXiv:2111.10178",
        "Geiping et al., Proposition 3.1; first step of Chen and Campbell's attack",
        "proposition's wording not read; derived here; the attack was read in the authors' code",
    ),
    expected="proved",
)


@dataclass(frozen=True)
class Case:
    """A network, the samples of a batch with labels, and another single sample with its own label."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray
    other_input: np.ndarray
    other_label: np.ndarray


def linear_layer(case):
    """Path of the first linear layer."""
    return str(next(i for i, layer in enumerate(case.architecture.layers) if isinstance(layer, Linear)))


def layer_inputs(case, samples):
    """Inputs of the linear layer, (n, features)."""
    return trace(case.architecture, case.parameters, samples).inputs[linear_layer(case)]


def layer_gradient(case):
    """The batch gradient of the linear layer: dL/dW, and dL/db or None."""
    path = linear_layer(case)
    gradient = loss_gradient(case.architecture, case.parameters, case.inputs, case.labels)
    return gradient[f"{path}/weight"], gradient.get(f"{path}/bias")


def draw_labels(draw, architecture, size):
    if architecture.loss == "logistic":
        return np.array(draw(st.lists(st.sampled_from((1.0, -1.0)), min_size=size, max_size=size)))
    if architecture.loss == "cross_entropy":
        classes = st.integers(0, architecture.output_size - 1)
        return np.array(draw(st.lists(classes, min_size=size, max_size=size)))
    return draw(readable_arrays((size, architecture.output_size)))


def general_case(draw):
    """Any activation and loss, readable or Gaussian numbers."""
    loss = draw(st.sampled_from(("squared", "logistic", "cross_entropy")))
    outputs = {"squared": None, "logistic": 1, "cross_entropy": draw(st.integers(2, 3))}[loss]
    architecture = draw(architectures(bias=True, outputs=outputs, loss=loss))
    inputs, other = (draw(arrays((1, *architecture.input_shape))) for _ in range(2))
    labels, other_label = (draw_labels(draw, architecture, 1) for _ in range(2))
    return Case(architecture, draw(parameters(architecture)), inputs, labels, other, other_label)


def rational_case(draw, *, size=1, **options):
    """Small rational numbers throughout: piecewise linear activations and the squared loss."""
    options = {"activations": PIECEWISE_LINEAR_ACTIVATIONS, **options}
    architecture = draw(architectures(bias=True, **options))
    shapes = [(architecture.parameter_count,)]
    for count in (size, 1):
        shapes += [(count, *architecture.input_shape), (count, architecture.output_size)]
    # One array for everything: a single choice of Hypothesis, which shrinks fast.
    ends = np.cumsum([np.prod(shape) for shape in shapes])
    parts = np.split(draw(readable_arrays((int(ends[-1]),))), ends[:-1])
    vector, inputs, labels, other, other_label = (
        part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)
    )
    return Case(architecture, Parameters.from_vector(architecture, vector), inputs, labels, other, other_label)


@theorem.instances
def one_sample_through_a_network(draw):
    return rational_case(draw) if draw(st.booleans()) else general_case(draw)


@theorem.hypothesis("one sample")
def one_sample(case):
    return len(case.inputs) == 1


@theorem.hypothesis("the layer has a bias")
def with_bias(case):
    return layer_gradient(case)[1] is not None


@theorem.hypothesis("some dL/dz_j is nonzero")
def sensitive(case):
    weight, bias = layer_gradient(case)
    return bool(np.any(weight != 0) if bias is None else np.any(bias != 0))


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def ratio_is_the_input(case):
    weight, bias = layer_gradient(case)
    x = layer_inputs(case, case.inputs)[0]
    if bias is not None:
        # Both gradients hold one rounding of the same dL/dz_j each, and the quotient one more.
        yield equal(weight, bias[:, None] * x, operations=3, name="dL/dW = dL/db x^T")
        known = np.asarray(bias != 0, dtype=bool)
        ratio = weight[known] / bias[known, None]
        yield equal(ratio, np.broadcast_to(x, ratio.shape), operations=3, name="(dL/dW)_j / (dL/db)_j = x")
    other_x = layer_inputs(case, case.other_input)[0]
    if np.any(other_x != x):
        yield different(
            loss_gradient(case.architecture, case.parameters, case.inputs, case.labels).vector(),
            loss_gradient(case.architecture, case.parameters, case.other_input, case.other_label).vector(),
            # The longest chain: three layers, at most 48 products each, forward and backward.
            operations=300,
            name="another layer input has another gradient",
        )


@theorem.derivation
def chain_rule():
    import sympy

    # L = Λ(z, rest): Λ is an arbitrary differentiable function of z. Entry (j, k) of W meets the rest of the layer only
    # through z_j, so two units and two inputs are generic.
    weight, inputs, bias = sympy.symbols("w:2:2"), sympy.symbols("x:2"), sympy.symbols("b:2")
    z = [weight[2 * j] * inputs[0] + weight[2 * j + 1] * inputs[1] + bias[j] for j in range(2)]
    loss = sympy.Function("Lambda")(*z)
    for j in range(2):
        yield identity(f"dz_{1 - j} / dW_{j}k = 0: a row of W acts on one unit only", z[1 - j].diff(weight[2 * j]), 0)
        sensitivity = loss.diff(bias[j])
        for k in range(2):
            yield identity(
                f"dL/dW_{j}{k} = dL/db_{j} x_{k} for every Lambda",
                loss.diff(weight[2 * j + k]),
                sensitivity * inputs[k],
            )
    delta, x, y, epsilon = sympy.symbols("delta x y epsilon", nonzero=True)
    yield identity("the quotient is x wherever dL/db_j is nonzero", (delta * x) / delta, x)
    yield identity(
        "equal gradients have equal inputs: delta = epsilon and delta x = epsilon y give x = y",
        ((delta * x - epsilon * y) / delta).subs(epsilon, delta),
        x - y,
    )


def linear_case(inputs, labels, other_input, other_label, *, bias, layers=(), weights=None):
    """Linear(1), and perhaps more layers, on scalar inputs with unit weights and zero biases."""
    architecture = Architecture("scalar", (1,), (Linear(1, bias=bias), *layers), "squared")
    arrays_ = {
        name: np.ones(shape) if name.endswith("weight") else np.zeros(shape)
        for name, shape in architecture.parameter_shapes.items()
    }
    return Case(
        architecture,
        Parameters(architecture, arrays_),
        np.array(inputs)[:, None],
        np.array(labels)[:, None],
        np.array([[other_input]]),
        np.array([[other_label]]),
    )


@theorem.without("one sample")
def a_weighted_mean_of_two_samples():
    return linear_case([1.0, 3.0], [0.0, 0.0], 2.5, -1.5, bias=True)


@theorem.without("the layer has a bias")
def two_samples_on_one_ray():
    # (x - y) x is -3 at x = 1 and at x = 3 when y = 4.
    return linear_case([1.0], [4.0], 3.0, 4.0, bias=False)


@theorem.without("some dL/dz_j is nonzero")
def a_dead_unit():
    return linear_case([-1.0], [1.0], -2.0, 1.0, bias=True, layers=(ReLU(), Linear(1)))


def two_samples(draw):
    return rational_case(draw, size=2, max_depth=1, max_width=2)


@theorem.false_twin("for two samples the ratio is their mean", without=("one sample",), instances=two_samples)
def mean_of_the_batch(case):
    weight, bias = layer_gradient(case)
    mean = layer_inputs(case, case.inputs).sum(axis=0) / 2
    return equal(weight, bias[:, None] * mean, operations=300, name="dL/dW = dL/db mean(x)^T")


def thin_relu_networks(draw):
    case = rational_case(draw, convolutional=False, max_width=1, max_depth=2, activations=(ReLU(),))
    return replace(case, other_label=case.labels)


@theorem.false_twin(
    "a dead layer still tells inputs apart",
    without=("some dL/dz_j is nonzero",),
    instances=thin_relu_networks,
)
def no_sensitivity_needed(case):
    yield equal(0.0, 0.0, operations=1, name="nothing is claimed of equal inputs")
    yield ratio_is_the_input(case)


def samples_on_one_ray(draw):
    """A linear model without bias: the residual w·x - y and x scale together at factor y/(w·x) - 1."""
    dimension = draw(st.integers(1, 3))
    architecture = Architecture("linear model", (dimension,), (Linear(1, bias=False),), "squared")
    weights = draw(readable_arrays((1, dimension), nonzero=True))
    inputs = draw(readable_arrays((1, dimension), nonzero=True))
    output = float(inputs[0] @ weights[0])
    factor = draw(st.sampled_from((2.0, 3.0, 0.5, -2.0)))
    label = np.array([[output * (factor + 1)]])
    return Case(architecture, Parameters(architecture, {"0/weight": weights}), inputs, label, factor * inputs, label)


@theorem.false_twin(
    "without a bias the input is determined all the same",
    without=("the layer has a bias",),
    instances=samples_on_one_ray,
)
def no_bias_needed(case):
    return ratio_is_the_input(case)


def convolutional(draw):
    return rational_case(draw, convolutional=True, max_depth=1, max_width=1)


@theorem.false_twin("a convolution gives its mean patch away", instances=convolutional)
def mean_patch(case):
    layer = case.architecture.layers[0]
    assert isinstance(layer, Conv2d)
    gradient = loss_gradient(case.architecture, case.parameters, case.inputs, case.labels)
    windows = patches(case.inputs, layer.kernel_size, layer.stride, layer.padding)[0]
    mean = windows.sum(axis=(3, 4)) / (windows.shape[3] * windows.shape[4])
    bias = gradient["0/bias"][:, None, None, None]
    return equal(gradient["0/weight"], bias * mean, operations=300, name="dL/dW_o = dL/db_o mean patch")
