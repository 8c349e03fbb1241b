r"""If every layer's equations have full column rank, the gradient of one sample determines it, and a recursion returns it.

A network alternates convolutions with injective activations whose derivatives are known, and ends in a linear layer with a
bias. If some output of that layer has a sensitivity, the layer's gradient gives its input and the gradient with respect to
that input (``chen2022.fully_connected_leakage``). Then, from the last convolution down: undo the activation, z = s⁻¹(x_i+1);
multiply by its derivative, D = ∂L/∂x_{i+1} ⊙ s'(z); solve U_i x_i = (z - bias, ∂L/∂W_i); pull D back. If every U_i has
full column rank at the sample, this ends in the sample exactly. Every input with the same gradient, whatever its label, runs
through the same numbers, so there is no other.

The condition is sufficient, not necessary: an inner layer may be short where the gradients of layers before it make up for it
(``chen2022.layerwise_solubility``).

Notes
-----
.. math:: x_{d+1} = \frac{(\partial L/\partial V)_j}{(\partial L/\partial b)_j}, \qquad
          \frac{\partial L}{\partial x_{d+1}} = V^T \frac{\partial L}{\partial b},

.. math:: x_i = (U_i^T U_i)^{-1} U_i^T \begin{pmatrix} z_i - b_i \\ \mathrm{vec}\, \partial L/\partial W_i \end{pmatrix},
          \qquad \frac{\partial L}{\partial x_i} = F_i^T D_i .

Source: the recursion of R-GAP (Zhu and Blaschko, arXiv:2010.07733), with the start of Chen and Campbell (arXiv:2111.10178),
both read in the authors' code; the statement is derived here. Chen and Campbell's code leaves the bias in z. Instances are
exact: among the activations is z + z³, which is inverted in rational numbers.
"""

from dataclasses import dataclass, replace

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Identity, LeakyReLU, Polynomial, ReLU
from provable.architectures.layers import Conv2d, Flatten, Linear
from provable.arithmetic import constant, rank, solve
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, activations, backpropagate, layers, loss_gradient, losses, trace
from provable.theorems import RATIONAL, Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let a network alternate convolutions with injective activations of known derivative and end in a linear
    layer with bias. If dL/db of that layer is nonzero for one sample and every layer system U_i has full column rank at it,
    then the sample is the only input with its gradient, whatever the label, and the recursion from the last layer down
    returns it.""",
    source=Source("derived", "", "the recursion is that of arXiv:2010.07733 and arXiv:2111.10178, read in their code"),
    expected="proved",
    does_not_say="nothing about rounding, which is amplified by the condition of every layer, nor about short layers",
)

CUBIC = Polynomial((0.0, 1.0, 0.0, 1.0))
INJECTIVE = (LeakyReLU(negative_slope=0.25), Identity(), Polynomial((0.5, 2.0)), CUBIC)


@dataclass(frozen=True)
class Case:
    """A network; the sample and another input, (2, ...); a label for each of them."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray


def network(shape, convolutions, activation, last):
    chain = [layer for one in convolutions for layer in (one, activation)]
    return Architecture("drawn", shape, (*chain, Flatten(), last), "squared")


def filled(draw, architecture, *, same_label=False):
    """All numbers from one array: a single choice of Hypothesis, which shrinks fast."""
    sizes = (architecture.parameter_count, 2 * architecture.input_size, 2 * architecture.output_size)
    vector, inputs, labels = np.split(draw(readable_arrays((sum(sizes),))), np.cumsum(sizes)[:-1])
    labels = labels.reshape(2, -1)
    return Case(
        architecture,
        Parameters.from_vector(architecture, vector),
        inputs.reshape(2, *architecture.input_shape),
        labels[[0, 0]] if same_label else labels,
    )


def draw_architecture(draw, activation):
    height, width = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    first = Conv2d(draw(st.integers(1, 3)), (1, draw(st.integers(1, min(2, width)))), 1, 0, bias=draw(st.booleans()))
    padded = Conv2d(draw(st.integers(1, 3)), (1, 2), (1, draw(st.integers(1, 2))), (0, 1), bias=draw(st.booleans()))
    pointwise = Conv2d(draw(st.integers(2, 3)), 1, bias=draw(st.booleans()))
    convolutions = draw(st.sampled_from(((first,), (padded,), (pointwise,), (pointwise, first), (first, pointwise))))
    shape = (draw(st.integers(1, 2)), height, width)
    return network(shape, convolutions, activation, Linear(draw(st.integers(1, 2))))


@theorem.instances
def networks(draw):
    return filled(draw, draw_architecture(draw, draw(st.sampled_from(INJECTIVE))))


def gradient(case, which):
    one = slice(which, which + 1)
    return loss_gradient(case.architecture, case.parameters, case.inputs[one], case.labels[one])


def convolution_indices(case):
    return [index for index, layer in enumerate(case.architecture.layers) if isinstance(layer, Conv2d)]


def layer_system(case, index):
    return LayerSystem.of_layer(case.architecture.layers[index], case.architecture.shapes[index])


def short_layers(case):
    """Indices of the convolutions whose system lacks column rank at the sample."""
    traced = trace(case.architecture, case.parameters, case.inputs[:1])
    residual = losses.residual("squared", traced.output, case.labels[:1])
    found = backpropagate(case.architecture, case.parameters, traced, residual).outputs
    result = []
    for index in convolution_indices(case):
        system = layer_system(case, index)
        matrix = system.matrix(case.parameters[f"{index}/weight"], found[str(index)][0])
        if rank(matrix) < system.unknowns:
            result.append(index)
    return result


@theorem.hypothesis("the last layer has a bias")
def bias_at_the_end(case):
    return case.architecture.layers[-1].bias


@theorem.hypothesis("some output has a sensitivity", arithmetic=RATIONAL)
def not_fitted(case):
    outputs = trace(case.architecture, case.parameters, case.inputs[:1]).output
    return bool(np.any(losses.residual("squared", outputs, case.labels[:1]) != 0))


@theorem.hypothesis("injective activations")
def injective(case):
    return all(case.architecture.layers[index + 1] in INJECTIVE for index in convolution_indices(case))


@theorem.hypothesis("full column rank at every layer", arithmetic=RATIONAL)
def full_rank(case):
    return not short_layers(case)


def cubic_root(number):
    """The rational z with z + z³ = number, or None: of z = a/d in lowest terms, d³ is the denominator."""
    numerator, denominator = int(number.p), int(number.q)
    root = int(flint.fmpz(denominator).root(3))
    if root**3 != denominator:
        return None
    low, high = -abs(numerator) - 1, abs(numerator) + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if middle * root**2 + middle**3 <= numerator else (low, middle)
    return flint.fmpq(low, root) if low * root**2 + low**3 == numerator else None


def undo(activation, values):
    """The pre-activations, or None if the values are not in the activation's range (or not of a rational number)."""
    if activation == CUBIC:
        roots = [cubic_root(value) for value in values.reshape(-1)]
        return None if None in roots else np.array(roots, dtype=object).reshape(values.shape)
    if isinstance(activation, Polynomial):
        shift, factor = (constant(number, values) for number in activation.coefficients)
        return (values - shift) / factor
    if isinstance(activation, ReLU):
        return None
    slope = constant(getattr(activation, "negative_slope", 1.0), values)
    return np.where(values > 0, values, values / slope)


def start(observed, last, *, sum_of_rows):
    """Input of the last layer, from the first output that has a sensitivity or from the sum of all; None if that is zero."""
    weights, biases = observed[f"{last}/weight"], observed[f"{last}/bias"]
    if sum_of_rows:
        return None if biases.sum() == 0 else weights.sum(axis=0) / biases.sum()
    seen = [row for row in range(len(biases)) if biases[row] != 0]
    return weights[seen[0]] / biases[seen[0]] if seen else None


def recursion(case, observed, *, with_slopes=True, subtract_bias=True, sum_of_rows=False):
    """The sample, from parameters and gradient alone; None where a step is impossible."""
    chain = case.architecture.layers
    last = len(chain) - 1
    if not chain[last].bias:
        return None
    x = start(observed, last, sum_of_rows=sum_of_rows)
    below = case.parameters[f"{last}/weight"].T @ observed[f"{last}/bias"]
    for index in reversed(convolution_indices(case)):
        system, weight = layer_system(case, index), case.parameters[f"{index}/weight"]
        z = None if x is None else undo(chain[index + 1], x.reshape(system.sensitivity_shape))
        if z is None:
            return None
        sensitivity = below.reshape(z.shape)
        if with_slopes:
            sensitivity = sensitivity * activations.derivative(chain[index + 1], z)
        if chain[index].bias and subtract_bias:
            z = z - case.parameters[f"{index}/bias"][:, None, None]
        matrix = system.matrix(weight, sensitivity)
        right = np.concatenate([z.reshape(-1), observed[f"{index}/weight"].reshape(-1)])
        try:
            x = solve(matrix.T @ matrix, matrix.T @ right)
        except ZeroDivisionError:
            return None
        images = x.reshape(1, *case.architecture.shapes[index])
        layer = replace(chain[index], bias=False)
        below = layers.pull_back(layer, "0", {"0/weight": weight}, images, sensitivity[None])
    return x


def unique(case):
    same = bool(np.all(gradient(case, 0).vector() == gradient(case, 1).vector()))
    return holds(
        not same or bool(np.all(case.inputs[0] == case.inputs[1])), name="the other input has another gradient"
    )


def returns_the_sample(case, **variant):
    found = recursion(case, gradient(case, 0), **variant)
    if found is None:
        return holds(False, name="the recursion comes to an end")
    return equal(found, case.inputs[0].reshape(-1), operations=1, name="the recursion returns the sample")


@theorem.claim(arithmetics=(RATIONAL,))
def determined(case):
    yield returns_the_sample(case)
    yield unique(case)


@theorem.derivation
def one_step():
    import sympy

    def generic(name, rows, columns=1):
        return sympy.Matrix(rows, columns, sympy.symbols(f"{name}:{rows * columns}"))

    # Two outputs and two inputs are generic: entries are products, and sums over what meets pairwise.
    x, sensitivity, weight = generic("x", 2), generic("d", 2), generic("v", 2, 2)
    by_weight, by_bias = sensitivity * x.T, sensitivity
    for unit in range(2):
        yield identity(
            f"start: (dL/dV)_{unit} = d_{unit} x^T and dL/db_{unit} = d_{unit}, so x = (dL/dV)_{unit} / (dL/db)_{unit}",
            by_weight[unit, :].T / by_bias[unit],
            x,
        )
    above = sympy.Function("Lambda")
    z = weight * x
    y = sympy.symbols("y:2")
    slopes = sympy.Matrix([above(*y).diff(one).subs(dict(zip(y, z, strict=True))) for one in y])
    yield identity(
        "dL/dx = V^T dL/dz for every function of z above",
        sympy.Matrix([above(*z).diff(one).doit() for one in x]),
        weight.T * slopes,
    )
    activation = sympy.Function("s")
    u = sympy.symbols("u:2")
    hidden = [activation(one) for one in u]
    inner = sympy.Matrix([above(*y).diff(one).subs(dict(zip(y, hidden, strict=True))) for one in y])
    yield identity(
        "dL/dz = dL/dx * s'(z), entry by entry",
        sympy.Matrix([above(*hidden).diff(one).doit() for one in u]),
        sympy.Matrix([inner[i] * activation(u[i]).diff(u[i]) for i in range(2)]),
    )
    tall = generic("m", 3, 2)
    gram = tall.T * tall
    yield identity(
        "adj(U^T U) U^T (U x) = det(U^T U) x, and full column rank makes det(U^T U) positive",
        gram.adjugate() * tall.T * (tall * x),
        gram.det() * x,
    )
    yield identity(
        "det(U^T U) is the sum of the squared minors: zero only if the columns are dependent",
        gram.det(),
        sum(tall.extract(list(rows), [0, 1]).det() ** 2 for rows in ((0, 1), (0, 2), (1, 2))),
    )


def pixels(activation, weight, head, inputs, labels, *, bias=True):
    """A 1×1 convolution to one channel, an activation, a linear output, whose bias is zero."""
    inputs = np.array(inputs, dtype=float)
    convolution = Conv2d(1, 1, bias=False)
    architecture = network(inputs.shape[1:], (convolution,), activation, Linear(1, bias=bias))
    values = {"0/weight": np.array(weight, dtype=float).reshape(1, -1, 1, 1), "3/weight": np.array([head], dtype=float)}
    if bias:
        values["3/bias"] = np.zeros(1)
    return Case(architecture, Parameters(architecture, values), inputs, np.array(labels, dtype=float).reshape(2, 1))


@theorem.without("the last layer has a bias")
def twins():
    """(x - 3) x is the same at 1 and at 2."""
    return pixels(Identity(), [1], [1], [[[[1]]], [[[2]]]], [3, 3], bias=False)


@theorem.without("some output has a sensitivity")
def both_fitted():
    return pixels(Identity(), [1], [1], [[[[1]]], [[[2]]]], [1, 2])


@theorem.without("injective activations")
def two_negative_pixels():
    return pixels(ReLU(), [1], [1], [[[[-1]]], [[[-2]]]], [1, 1])


@theorem.without("full column rank at every layer")
def two_channels_of_two_pixels():
    """The other input differs by (1, -1) ⊗ (1, -1), which neither the channels' sum nor that of the pixels sees."""
    return pixels(Identity(), [1, 1], [1, 1], [[[[1, 0]], [[0, 0]]], [[[2, -1]], [[-1, 1]]]], [0, 0])


def short_inner_layer(draw):
    """1×1 convolutions from two channels to two and to one on two pixels, no activation; the other input is built to fit."""
    shear, a, b, c, d = draw(readable_arrays((5,), nonzero=True))
    chain = (Conv2d(2, 1, bias=False), Conv2d(1, 1, bias=False))
    architecture = network((2, 1, 2), chain, Identity(), Linear(1))
    values = {
        "0/weight": np.array([[1, shear], [0, 1]]).reshape(2, 2, 1, 1),
        "2/weight": np.array([[a, b]]).reshape(1, 2, 1, 1),
        "5/weight": np.array([[c, d]]),
        "5/bias": np.zeros(1),
    }
    one = draw(readable_arrays((2, 1, 2)))
    unseen = np.outer([b + shear * a, -a], [d, -c]).reshape(2, 1, 2)
    label = draw(readable_arrays((1,)))
    return Case(architecture, Parameters(architecture, values), np.array([one, one + unseen]), np.array([label, label]))


@theorem.false_twin(
    "full rank of the first layer suffices",
    without=("full column rank at every layer",),
    instances=short_inner_layer,
)
def first_layer_suffices(case):
    yield holds(0 in short_layers(case) or unique(case).left, name="unique if the first layer has full rank")


def small_network(draw, activation, *, bias=False):
    """One 1×1 convolution on at most two pixels, and a linear layer."""
    convolution = Conv2d(draw(st.integers(1, 2)), 1, bias=bias)
    return network((draw(st.integers(1, 2)), 1, draw(st.integers(1, 2))), (convolution,), activation, Linear(1))


def rectified_networks(draw):
    return filled(draw, small_network(draw, ReLU()), same_label=True)


@theorem.false_twin(
    "ReLU will do: full rank counts what it switches off",
    without=("injective activations",),
    instances=rectified_networks,
)
def rectified(case):
    return unique(case)


def single_pixels_without_bias(draw):
    one, other, weight, head = draw(readable_arrays((4,), nonzero=True))
    label = weight * head * (one + other)
    return pixels(Identity(), [weight], [head], [[[[one]]], [[[other]]]], [label, label], bias=False)


@theorem.false_twin(
    "the last layer needs no bias if the label is known",
    without=("the last layer has a bias",),
    instances=single_pixels_without_bias,
)
def no_bias(case):
    return unique(case)


def opposite_residuals(draw):
    """One pixel, one unit, two outputs, whose residuals often add up to zero."""
    architecture = network((1, 1, 1), (Conv2d(1, 1, bias=False),), Identity(), Linear(2))
    case = filled(draw, architecture)
    outputs = trace(case.architecture, case.parameters, case.inputs).output
    one, other = draw(readable_arrays((2,), nonzero=True))
    return replace(case, labels=outputs - np.array([[one, -one if draw(st.booleans()) else other]]))


@theorem.false_twin(
    "the sum of all rows over the sum of all entries starts the recursion as well", instances=opposite_residuals
)
def sums(case):
    return returns_the_sample(case, sum_of_rows=True)


def leaky_networks(draw):
    return filled(draw, small_network(draw, INJECTIVE[0], bias=True))


@theorem.false_twin("the derivative of the activation may be left out", instances=leaky_networks)
def no_slopes(case):
    return returns_the_sample(case, with_slopes=False)


@theorem.false_twin("the bias of a convolution may stay in z", instances=leaky_networks)
def bias_stays(case):
    return returns_the_sample(case, subtract_bias=False)
