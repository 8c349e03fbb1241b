r"""The null space of the first layer's system is invisible to every gradient.

Let the first layer be a convolution or linear layer, through which alone the network sees its input. Let F be the matrix of
x -> W P(x), K that of x -> P(x) Dᵀ with the sensitivities D of the layer's output at a batch x, and U = [F; K]. If F v = 0
and K v = 0, that is v ∈ null(U), then for every t the batch x + t v has the same outputs, the same loss and the same
gradient with respect to every parameter of every layer, whatever the activations, the layers above and the loss are. (A
linear layer is a 1×1 convolution on a 1×1 image.) So |x| - rank U is a lower bound on the dimension of what the gradient
leaves open, not only near x, and what an attack returns along null(U) comes from its prior.

Notes
-----
Shared weights make z = F(w) x with F(w) = Σ_k w_k M_k, and the k-th entry of the weight gradient is ⟨D, M_k x⟩, so K has the
rows Dᵀ M_k. Then

.. math:: F v = 0 \;\Rightarrow\; z(x + t v) = z(x) \;\Rightarrow\; D(x + t v) = D(x), \qquad
          D^T M_k (x + t v) - D^T M_k x = t\,(K v)_k = 0 ,

and every other gradient is a function of z₁. For a batch, F acts on each sample and K = [K(D_1) … K(D_B)] on their sum.
Pixels that no window reaches ("dead pixels") are the simplest such v.

Source: derived here; the layer system is that of R-GAP (arXiv:2010.07733) and of Chen and Campbell (arXiv:2111.10178), whose
metric adds up rank U_i - n_i over all layers. The statement is false for inner layers: x_i + v is in general the image of no
sample.
"""

from dataclasses import dataclass, replace

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Identity, LeakyReLU, Polynomial, ReLU, Tanh
from provable.architectures.layers import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Residual
from provable.arithmetic import constant, full, kind, rank
from provable.networks import Parameters, backpropagate, forward, layers, loss_gradient, losses, trace
from provable.theorems import FLOAT64, RATIONAL, Source, Theorem, equal, holds, identity
from provable.theorems.strategies import gaussian_arrays, readable_arrays

theorem = Theorem(
    statement=r"""Let a network see its input through one convolution or linear layer Z = WP(x), with D = dL/dZ at a batch x.
    If F v = 0 and K v = 0 for the matrices F of x -> WP(x) and K of x -> P(x)D^T, then x + tv has the outputs and all
    parameter gradients of x, for every t, every network above the layer and every loss.""",
    source=Source("derived", "", "the layer system is that of arXiv:2010.07733 and arXiv:2111.10178"),
    expected="proved",
    does_not_say="nothing about null spaces of inner layers, and no upper bound on what the gradient leaves open",
)


@dataclass(frozen=True)
class Case:
    """A network, a batch with labels, and the movement t v.

    v is a combination of a basis of the null space of the equations `kept`: "forward" (F), "gradient" (K), "both", or
    "active" (both, but without the forward equations of units that are negative at x).
    """

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray
    kept: str
    combination: np.ndarray
    step: float


EXACT_ACTIVATIONS = (ReLU(), LeakyReLU(negative_slope=0.25), Identity(), Polynomial((0.0, 1.0, 0.5)))


def draw_first_layer(draw):
    """Input shape and a convolution, often with fewer equations than unknowns or with dead pixels."""
    height, width = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    stride, padding = draw(st.sampled_from(((1, 0), (2, 0), (2, 0), (1, 1))))
    kernel, stride = (draw(st.integers(1, height)), draw(st.integers(1, 2))), (min(stride, height), stride)
    convolution = Conv2d(draw(st.integers(1, 2)), kernel, stride, (0, padding), bias=draw(st.booleans()))
    return (draw(st.integers(1, 3)), height, width), convolution


def draw_middle(draw, activation, shape):
    channels, stride = shape[0], (min(2, shape[1]), min(2, shape[2]))
    kinds = ("nothing", "nothing", "convolution", "average", "maximum", "residual")
    match draw(st.sampled_from(kinds)):
        case "convolution":
            return (Conv2d(draw(st.integers(1, 2)), 1), activation)
        case "average":
            return (AvgPool2d(1, stride),)
        case "maximum":
            return (MaxPool2d(1, stride),)
        case "residual":
            return (Residual((Conv2d(channels, 1), activation)),)
    return ()


@theorem.instances
def networks(draw):
    exact = draw(st.sampled_from((True, True, False)))
    activation = draw(st.sampled_from(EXACT_ACTIVATIONS)) if exact else Tanh()
    loss = "squared" if exact else draw(st.sampled_from(("squared", "logistic", "cross_entropy")))
    outputs = {"squared": draw(st.integers(1, 2)), "logistic": 1, "cross_entropy": 2}[loss]
    shape, convolution = draw_first_layer(draw)
    middle = draw_middle(draw, activation, convolution.output_shape(shape))
    architecture = Architecture("drawn", shape, (convolution, activation, *middle, Flatten(), Linear(outputs)), loss)
    numbers = readable_arrays if exact else gaussian_arrays
    size = draw(st.sampled_from((1, 1, 2)))
    labels = {
        "squared": draw(readable_arrays((size, outputs))),
        "logistic": np.ones(size),
        "cross_entropy": np.arange(size) % 2,
    }[loss]
    return Case(
        architecture,
        Parameters(architecture, {name: draw(numbers(one)) for name, one in architecture.parameter_shapes.items()}),
        draw(numbers((size, *shape))),
        labels,
        "both",
        draw(readable_arrays((4,), nonzero=True)),
        draw(st.sampled_from((1.0, -3.0, 0.25, 10.0))),
    )


def sensitivities(case, layer):
    """∂L/∂z of a layer, per sample."""
    traced = trace(case.architecture, case.parameters, case.inputs)
    residuals = losses.residual(case.architecture.loss, traced.output, case.labels)
    return backpropagate(case.architecture, case.parameters, traced, residuals).outputs[str(layer)]


def equations(case, layer=0):
    """F and K of a layer on the whole batch, by applying it and its weight gradient to unit images."""
    convolution = replace(case.architecture.layers[layer], bias=False)
    weight, shape = case.parameters[f"{layer}/weight"], case.architecture.shapes[layer]
    count = int(np.prod(shape))
    units = full((count, count), 0, weight)
    np.fill_diagonal(units, constant(1, weight))
    units = units.reshape(count, *shape)
    once = layers.apply(convolution, "0", {"0/weight": weight}, units).reshape(count, -1).T
    found = sensitivities(case, layer)
    blocks = [[once if i == j else full(once.shape, 0, weight) for j in range(len(found))] for i in range(len(found))]
    gradients = [
        layers.sample_gradients(convolution, units, np.broadcast_to(one, (count, *one.shape)))["weight"]
        for one in found
    ]
    return np.block(blocks), np.hstack([one.reshape(count, -1).T for one in gradients])


def null_space(matrix):
    """A basis as rows: exact for rationals, by the singular value decomposition for floats."""
    rows, columns = matrix.shape
    if kind(matrix) == "float64":
        singular, basis = np.linalg.svd(matrix)[1:]
        # Below this, rounding of the entries and of the decomposition hides a singular value.
        return basis[np.sum(singular > 8 * max(rows, columns) * 2.0**-52 * singular.max(initial=0.0)) :]
    reduced, found = flint.fmpq_mat(rows, columns, list(matrix.reshape(-1))).rref()
    table = np.array(reduced.tolist(), dtype=object).reshape(rows, columns)[:found]
    pivots = [int(np.argmax(row != 0)) for row in table]
    free = [column for column in range(columns) if column not in pivots]
    basis = full((len(free), columns), 0, matrix)
    for row, column in enumerate(free):
        basis[row, column] = constant(1, matrix)
        basis[row, pivots] = -table[:, column]
    return basis


def kept_equations(case):
    over, under = equations(case)
    if kind(over) == "float64" and under.any() and over.any():
        under = under * (np.abs(over).max() / np.abs(under).max())  # one threshold has to serve both
    if case.kept == "active":
        z = trace(case.architecture, case.parameters, case.inputs).inputs["1"].reshape(-1)
        over = over[np.asarray(z >= 0, dtype=bool)]
    return {"forward": over, "gradient": under}.get(case.kept, np.vstack([over, under]))


def direction(case):
    """v, in the shape of the batch."""
    basis = null_space(kept_equations(case))
    total = full((basis.shape[1],), 0, case.inputs)
    for index, vector in enumerate(basis):
        total = total + case.combination[index % len(case.combination)] * vector
    return total.reshape(case.inputs.shape)


@theorem.degenerate
def nothing_to_move(case):
    return not np.any(direction(case))


def vanishes(matrix, vector):
    # SVD null vectors miss zero by rounding only; a vector that is no null vector misses it by far more than 2^-30.
    scale = np.abs(matrix).max(initial=0.0) * np.abs(vector).max(initial=0.0)
    return bool(np.abs(matrix @ vector.reshape(-1)).max(initial=0.0) <= 2.0**-30 * scale)


@theorem.hypothesis("F v = 0")
def keeps_the_output_of_the_layer(case):
    return vanishes(equations(case)[0], direction(case))


@theorem.hypothesis("K v = 0")
def keeps_the_weight_gradient(case):
    return vanishes(equations(case)[1], direction(case))


def gradient(case, inputs):
    return loss_gradient(case.architecture, case.parameters, inputs, case.labels).vector()


def absolute_network(case, movement):
    """Bounds on all terms of the gradient and of the pre-activations: every number by its absolute value, no activation."""

    def linear(layer):
        if isinstance(layer, Residual):
            return Residual(tuple(map(linear, layer.layers)), tuple(map(linear, layer.shortcut)))
        return Identity() if isinstance(layer, Tanh) else layer

    chain = tuple(map(linear, case.architecture.layers))
    architecture = Architecture("absolute", case.architecture.input_shape, chain, "squared")
    parameters = Parameters(architecture, {name: np.abs(part) for name, part in case.parameters.items()})
    inputs = np.abs(case.inputs) + np.abs(movement)
    outputs = forward(architecture, parameters, inputs)
    targets = np.full(outputs.shape, -1.0 - np.abs(np.asarray(case.labels, dtype=float)).max())
    return loss_gradient(architecture, parameters, inputs, targets).vector().max(), outputs.max()


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def invisible(case):
    v = direction(case)
    moved = case.inputs + case.step * v
    if kind(v) != "float64":
        yield equal(gradient(case, moved), gradient(case, case.inputs), operations=1, name="all gradients agree")
        before, after = (forward(case.architecture, case.parameters, batch) for batch in (case.inputs, moved))
        yield equal(after, before, operations=1, name="the outputs agree")
        return
    operations = (
        8 * max(kept_equations(case).shape) + 50
    )  # of the null vectors, and of four layers forward and backward
    if case.architecture.layers[1] == Tanh():
        size, largest = absolute_network(case, case.step * v)
        yield equal(
            gradient(case, moved),
            gradient(case, case.inputs),
            operations=operations,
            magnitude=size,
            condition=1 + float(largest),  # an error of z changes tanh'(z) too
            name="all gradients agree",
        )
        return
    # At a kink rounding may switch a unit, so floats are compared before the activation.
    for name, matrix in zip(("z", "dL/dW"), equations(case), strict=True):
        yield equal(
            matrix @ moved.reshape(-1),
            matrix @ case.inputs.reshape(-1),
            operations=operations,
            magnitude=np.abs(matrix).max(initial=0.0) * np.abs(moved).max() * matrix.shape[1],
            name=f"{name} agrees",
        )


@theorem.derivation
def shared_weights():
    import sympy

    def generic(name, count):
        return sympy.Matrix(sympy.symbols(f"{name}:{count}"))

    # Two shared weights, two outputs and two inputs are generic: everything is linear in x, in the weights and in D.
    x, v, w = generic("x", 2), generic("v", 2), sympy.symbols("w:2")
    t = sympy.Symbol("t")
    maps = [sympy.Matrix(2, 2, sympy.symbols(f"m{k}_:4")) for k in range(2)]
    weight = w[0] * maps[0] + w[1] * maps[1]
    yield identity("z(x + tv) = z(x) + t F v", weight * (x + t * v), weight * x + t * (weight * v))
    z = weight * x
    above = sympy.Function("Lambda")
    loss = above(z[0], z[1])
    y = sympy.symbols("y:2")
    sensitivity = sympy.Matrix([above(*y).diff(one).subs(dict(zip(y, z, strict=True))) for one in y])
    for k in range(2):
        yield identity(
            f"dL/dw_{k} = <D, M_{k} x> for every function Lambda of z above the layer",
            loss.diff(w[k]).doit(),
            (sensitivity.T * maps[k] * x)[0].doit(),
        )
    d = generic("d", 2)
    for k in range(2):
        yield identity(
            f"at equal z and so equal D: dL/dw_{k} (x + tv) - dL/dw_{k} (x) = t (K v)_{k}",
            (d.T * maps[k] * (x + t * v) - d.T * maps[k] * x)[0],
            t * (d.T * maps[k] * v)[0],
        )
    bias = generic("b", 2)
    yield identity("a bias shifts both z alike", weight * (x + t * v) + bias - (weight * x + bias), t * (weight * v))


def linear_case(weight, head, inputs, kept):
    """A 1×1 convolution to one channel, then a linear output, with label 0."""
    weight, head, inputs = (np.array(part, dtype=float) for part in (weight, head, inputs))
    layers_ = (Conv2d(1, 1, bias=False), Identity(), Flatten(), Linear(1, bias=False))
    architecture = Architecture("linear", inputs.shape, layers_, "squared")
    values = {"0/weight": weight.reshape(1, -1, 1, 1), "3/weight": head.reshape(1, -1)}
    labels = np.zeros((1, 1))
    return Case(architecture, Parameters(architecture, values), inputs[None], labels, kept, np.ones(4), 1.0)


@theorem.without("F v = 0")
def two_pixels_of_equal_sensitivity():
    return linear_case([1], [1, 1], [[[1, 0]]], "gradient")


@theorem.without("K v = 0")
def two_channels_of_equal_weight():
    return linear_case([1, 1], [1], [[[1]], [[0]]], "forward")


def small_case(draw, kept, activation):
    """One sample; all numbers from one array: a single choice of Hypothesis, which shrinks fast."""
    shape, convolution = draw_first_layer(draw)
    convolution = replace(convolution, bias=False)
    return filled(draw, shape, (convolution, activation, Flatten(), Linear(1, bias=False)), kept)


def filled(draw, shape, chain, kept):
    architecture = Architecture("drawn", shape, chain, "squared")
    ends = np.cumsum([architecture.parameter_count, architecture.input_size, 1])
    vector, inputs, label = np.split(draw(readable_arrays((int(ends[-1]),), nonzero=True)), ends[:-1])
    return Case(
        architecture,
        Parameters.from_vector(architecture, vector),
        inputs.reshape(1, *shape),
        label.reshape(1, 1),
        kept,
        np.ones(1),
        draw(st.sampled_from((1.0, 4.0, -8.0))),
    )


def along_the_null_space_of_the_gradient(draw):
    return small_case(draw, "gradient", Identity())


@theorem.false_twin(
    "the gradient equations alone suffice",
    without=("F v = 0",),
    instances=along_the_null_space_of_the_gradient,
    arithmetics=(RATIONAL,),
)
def gradient_equations_suffice(case):
    return invisible(case)


def along_the_null_space_of_the_layer(draw):
    return small_case(draw, "forward", Identity())


@theorem.false_twin(
    "the forward equations alone suffice",
    without=("K v = 0",),
    instances=along_the_null_space_of_the_layer,
    arithmetics=(RATIONAL,),
)
def forward_equations_suffice(case):
    return invisible(case)


def keeping_active_units(draw):
    return small_case(draw, "active", ReLU())


@theorem.false_twin(
    "units that ReLU has switched off at x need not keep their pre-activation, however large t is",
    without=("F v = 0",),
    instances=keeping_active_units,
    arithmetics=(RATIONAL,),
)
def inactive_units_are_free(case):
    return invisible(case)


def two_convolutions(draw):
    """Two convolutions without activation: sensitivities and layer inputs are affine in x, the gradient quadratic."""
    width, first = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    chain = (
        Conv2d(draw(st.integers(1, 3)), (1, min(first, width)), bias=False),
        Conv2d(1, 1, bias=False),
        Flatten(),
        Linear(1, bias=False),
    )
    return filled(draw, (1, 1, width), chain, "both")


@theorem.false_twin(
    "the null space of an inner layer is invisible too: the gradient leaves at least n_2 - rank U_2 dimensions open",
    instances=two_convolutions,
    arithmetics=(RATIONAL,),
)
def inner_layers_too(case):
    over, under = equations(case, layer=1)
    short = over.shape[1] - rank(np.vstack([over, under]))
    # The gradient is quadratic in x, so central differences are its derivative exactly.
    columns = []
    for index in range(case.inputs.size):
        step = full((case.inputs.size,), 0, case.inputs)
        step[index] = constant(1, case.inputs)
        step = step.reshape(case.inputs.shape)
        columns.append((gradient(case, case.inputs + step) - gradient(case, case.inputs - step)) / 2)
    unseen = case.inputs.size - rank(np.array(columns))
    return holds(unseen >= short, name="n_1 - rank dg/dx >= n_2 - rank U_2")
