"""The equations of layers inside whole networks, against differences of the loss and against each other."""

from __future__ import annotations

import math

import flint
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import LeakyReLU, Polynomial, ReLU, Sigmoid, Softplus, Tanh
from provable.architectures.layers import AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d
from provable.arithmetic import EPSILON, MODULAR, RATIONAL, rank
from provable.leakage.layer_systems import LayerSystem, rank_bounds
from provable.networks import Parameters, backpropagate, loss_gradient, losses, trace
from provable.rigor.modular_rank import rank_mod

SMOOTH = (Tanh(), Sigmoid(), Softplus())
ACTIVATIONS = (*SMOOTH, ReLU(), LeakyReLU(0.2))
QUADRATIC = (Polynomial((0.0, 1.0, 0.5)),)
QUINTIC = Polynomial((0.0, 1.0, 0.5, 0.25, 0.125, 0.0625))


@st.composite
def chains(draw, activations=ACTIVATIONS, outputs=None):
    """Two convolutions of any stride and padding, perhaps with pooling between them, and a linear layer."""
    shape = (draw(st.integers(1, 3)), draw(st.integers(2, 6)), draw(st.integers(2, 6)))
    pads = (draw(st.integers(0, 1)), draw(st.integers(0, 2)))
    kernel = tuple(draw(st.integers(1, min(3, side + 2 * pad))) for side, pad in zip(shape[1:], pads, strict=True))
    stride = tuple(draw(st.integers(1, min(2, k))) for k in kernel)
    first = Conv2d(draw(st.integers(1, 3)), kernel, stride, pads, bias=draw(st.booleans()))
    rows, columns = first.output_shape(shape)[1:]
    window = (draw(st.integers(1, rows)), draw(st.integers(1, columns)))
    pooling = draw(st.sampled_from(((), (AvgPool2d(window, 1),), (MaxPool2d(window, 1),))))
    activation = draw(st.sampled_from(activations))
    second = Conv2d(draw(st.integers(1, 3)), 1, bias=draw(st.booleans()))
    size = draw(st.integers(1, 3)) if outputs is None else outputs
    chain = (first, activation, *pooling, second, activation, Flatten(), Linear(size, bias=draw(st.booleans())))
    return Architecture("chain", shape, chain, "squared")


def filled(architecture, seed, samples=1, spread=1.0):
    """Parameters, samples and labels; `spread` is the standard deviation of the samples."""
    rng = np.random.default_rng(seed)
    parameters = Parameters.from_vector(architecture, rng.standard_normal(architecture.parameter_count))
    inputs = spread * rng.standard_normal((samples, *architecture.input_shape))
    return parameters, inputs, rng.standard_normal((samples, architecture.output_size))


def convolutions(architecture):
    return [index for index, layer in enumerate(architecture.layers) if isinstance(layer, Conv2d)]


def sensitivities(architecture, parameters, inputs, labels):
    traced = trace(architecture, parameters, inputs)
    residual = losses.residual(architecture.loss, traced.output, labels)
    return traced, backpropagate(architecture, parameters, traced, residual).outputs


def agree(left, right, operations, magnitude):
    """Within the error of sums of so many terms of this total size, the project's k·eps with ratio 30."""
    underflow = np.finfo(np.float64).tiny  # saturated units have sensitivities that are barely numbers
    assert np.all(np.abs(left - right) <= 30 * operations * (EPSILON * magnitude + underflow))


@given(chains(), st.integers(0, 2**32), st.sampled_from([1e-6, 1.0, 1e6]))
def test_every_layer_fulfils_its_equations(architecture, seed, spread):
    """F x = z - bias and K x = vec G at each convolution, whatever stands before and behind it."""
    parameters, inputs, labels = filled(architecture, seed, spread=spread)
    traced, found = sensitivities(architecture, parameters, inputs, labels)
    gradients = loss_gradient(architecture, parameters, inputs, labels)
    for index in convolutions(architecture):
        system = LayerSystem.of_layer(architecture.layers[index], architecture.shapes[index])
        x, z = traced.inputs[str(index)].ravel(), traced.inputs[str(index + 1)].ravel()
        bias = np.zeros(system.out_channels)
        if architecture.layers[index].bias:
            bias = parameters[f"{index}/bias"]
        shift = np.repeat(bias, system.positions)
        forward = system.forward_matrix(parameters[f"{index}/weight"])
        agree(forward @ x, z - shift, system.patch + 2, np.abs(forward) @ np.abs(x) + np.abs(shift))
        backward = system.gradient_matrix(found[str(index)][0])
        agree(backward @ x, gradients[f"{index}/weight"].ravel(), system.positions, np.abs(backward) @ np.abs(x))


def exact_derivative(function, half_degree):
    """Derivative at 0 of a polynomial of degree up to twice `half_degree`, from its values at integers."""
    total = flint.fmpq(0)
    square = math.factorial(half_degree) ** 2
    for step in range(1, half_degree + 1):
        below = step * math.factorial(half_degree - step) * math.factorial(half_degree + step)
        total += flint.fmpq((-1) ** (step + 1) * square, below) * (function(step) - function(-step))
    return total


@given(chains(activations=QUADRATIC, outputs=1), st.integers(0, 2**32))
def test_gradient_equations_agree_with_exact_differences_of_the_loss(architecture, seed):
    """Independent of back-propagation: along one weight the loss is a polynomial, whose differences are exact."""
    assume(not any(isinstance(layer, MaxPool2d) for layer in architecture.layers))  # no polynomial
    rng = np.random.default_rng(seed)
    vector = rng.integers(-4, 5, architecture.parameter_count) / 4
    parameters = RATIONAL.convert(Parameters.from_vector(architecture, vector))
    inputs = RATIONAL.convert(rng.integers(-4, 5, (1, *architecture.input_shape)) / 4)
    labels = RATIONAL.convert(rng.integers(-4, 5, (1, 1)) / 4)
    traced, found = sensitivities(architecture, parameters, inputs, labels)
    for index, degree in zip(convolutions(architecture), (4, 2), strict=True):  # of the output, along a weight
        system = LayerSystem.of_layer(architecture.layers[index], architecture.shapes[index])
        predicted = system.gradient_matrix(found[str(index)][0]) @ traced.inputs[str(index)].ravel()
        which = int(rng.integers(system.gradient_equations))

        def loss(step, path=f"{index}/weight", which=which):
            weight = parameters[path].copy()
            weight.reshape(-1)[which] += step
            moved = Parameters(architecture, {**parameters, path: weight})
            output = trace(architecture, moved, inputs).output
            return losses.value("squared", output, labels)[0]

        assert exact_derivative(loss, degree) == predicted[which]


@given(chains(), st.integers(0, 2**32), st.integers(1, 3))
def test_weight_times_gradient_is_output_times_sensitivity(architecture, seed, samples):
    """W Gᵀ = Σ over samples of (Z - bias) Dᵀ: the dependencies between the two sets of equations."""
    parameters, inputs, labels = filled(architecture, seed, samples)
    traced, found = sensitivities(architecture, parameters, inputs, labels)
    gradients = loss_gradient(architecture, parameters, inputs, labels)
    for index in convolutions(architecture):
        system = LayerSystem.of_layer(architecture.layers[index], architecture.shapes[index])
        outputs = system.out_channels
        weight = parameters[f"{index}/weight"].reshape(outputs, -1)
        z = traced.inputs[str(index + 1)].reshape(samples, outputs, -1)
        if architecture.layers[index].bias:
            z = z - parameters[f"{index}/bias"][None, :, None]
        d = found[str(index)].reshape(samples, outputs, -1)
        right = np.einsum("nop,nqp->oq", z, d)
        patches = np.array([system.patches(one) for one in traced.inputs[str(index)]])
        sizes = np.abs(weight) @ np.abs(patches) + np.abs(z)
        magnitude = np.einsum("nop,nqp->oq", sizes, np.abs(d))
        left = weight @ gradients[f"{index}/weight"].reshape(outputs, -1).T
        agree(left, right, system.patch + samples * system.positions, magnitude)


@st.composite
def special_points(draw):
    """A system at integers with zeros, repeated rows and few different numbers: the ranks of W and D are often small."""
    sides = (draw(st.integers(1, 4)), draw(st.integers(1, 5)))
    pads = (draw(st.integers(0, 1)), draw(st.integers(0, 2)))
    kernel = tuple(draw(st.integers(1, min(4, side + 2 * pad))) for side, pad in zip(sides, pads, strict=True))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    system = LayerSystem(draw(st.integers(1, 3)), draw(st.integers(1, 4)), sides, kernel, stride, pads)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    largest = draw(st.sampled_from([1, 2, 1000]))
    arrays = []
    for shape in (system.weight_shape, system.sensitivity_shape):
        numbers = rng.integers(-largest, largest + 1, shape).astype(object)
        if draw(st.booleans()):
            numbers[-1] = 2 * numbers[0]
        arrays.append(numbers)
    return system, *arrays


@given(special_points())
def test_dependencies_for_all_weights_and_sensitivities(point):
    """The bounds of chen2022.overlapping_patches_bound, modulo a prime: their proofs hold over every field."""
    system, weight, sensitivity = point
    forward, gradient = system.forward_matrix(weight), system.gradient_matrix(sensitivity)
    together, outputs = rank_mod(np.vstack([forward, gradient])), system.out_channels
    of_weight, of_sensitivity = rank_mod(weight.reshape(outputs, -1)), rank_mod(sensitivity.reshape(outputs, -1))
    assert together <= system.forward_equations + rank_mod(gradient) - outputs * of_sensitivity
    assert together <= rank_mod(forward) + system.gradient_equations - outputs * of_weight
    room = math.prod(
        max(0, min(s, k - s * (u - 1)))
        for s, k, u in zip(system.stride, system.kernel_size, system.output_size, strict=True)
    )
    relations = math.comb(outputs, 2) - math.comb(outputs - of_sensitivity, 2)
    assert rank_mod(gradient) <= system.gradient_equations - room * system.in_channels * relations


@given(
    st.integers(1, 6),
    st.integers(1, 8),
    st.integers(0, 2**32),
    st.sampled_from([1.0, 1e-100, 1e-150, 1e100]),
    st.sampled_from([0.0, 0.5, 0.9]),
)
def test_bias_gradients_give_the_input_of_a_linear_layer(features, units, seed, scale, switched_off):
    """At every unit with a sensitivity, however small; units that ReLU switches off, or that nobody reads, have none."""
    chain = (Linear(units), ReLU(), Linear(1))
    architecture = Architecture("two layers", (features,), chain, "squared")
    rng = np.random.default_rng(seed)
    head = np.where(rng.random((1, units)) < switched_off, 0.0, scale * rng.standard_normal((1, units)))
    values = {
        "0/weight": rng.standard_normal((units, features)),
        "0/bias": rng.standard_normal(units),
        "2/weight": head,
        "2/bias": np.zeros(1),
    }
    inputs = rng.standard_normal((1, features)) * 10.0 ** rng.integers(-8, 9, (1, features))
    gradients = loss_gradient(architecture, Parameters(architecture, values), inputs, np.ones((1, 1)))
    weights, biases = gradients["0/weight"], gradients["0/bias"]
    z = values["0/weight"] @ inputs[0] + values["0/bias"]
    assert np.array_equal(biases != 0, (z > 0) & (head[0] != 0))
    for unit in np.flatnonzero(biases):
        agree(weights[unit] / biases[unit], inputs[0], 2, np.abs(inputs[0]))  # one product and one quotient
    assert not weights[biases == 0].any(), "a unit without sensitivity tells nothing"


NETWORKS = {
    "narrow": ((3, 4, 4), [Conv2d(2, 2, 1, 0, bias=False), Conv2d(2, 2, 1, 0, bias=False)]),
    "strided": ((2, 6, 6), [Conv2d(3, 3, 2, 1, bias=False), Conv2d(2, 2, 1, 0, bias=False)]),
    "one filter behind": ((3, 3, 3), [Conv2d(2, 1, bias=False), Conv2d(1, 1, bias=False)]),
}


def network(name, activation):
    shape, layers = NETWORKS[name]
    chain = [part for one in layers for part in (one, activation)]
    return Architecture(name, shape, (*chain, Flatten(), Linear(1, bias=False)), "squared")


def numerical_ranks(architecture, seed):
    """Rank of every layer's system in float64; None if no gap of three decades separates what counts."""
    parameters, inputs, labels = filled(architecture, seed)
    _, found = sensitivities(architecture, parameters, inputs, labels)
    result = []
    for index in convolutions(architecture):
        system = LayerSystem.of_layer(architecture.layers[index], architecture.shapes[index])
        forward = system.forward_matrix(parameters[f"{index}/weight"])
        gradient = system.gradient_matrix(found[str(index)][0])
        scaled = gradient * (np.abs(forward).max() / np.abs(gradient).max())  # one threshold has to serve both
        singular = np.linalg.svd(np.vstack([forward, scaled]), compute_uv=False)
        attained = int(np.sum(singular > 1e-10 * singular[0]))
        if singular[attained - 1] < 1e-7 * singular[0]:
            return None
        result.append(attained)
    return result


def exact_ranks(architecture, parameters, inputs, labels):
    _, found = sensitivities(architecture, parameters, inputs, labels)
    result = []
    for index in convolutions(architecture):
        system = LayerSystem.of_layer(architecture.layers[index], architecture.shapes[index])
        result.append(rank(system.matrix(parameters[f"{index}/weight"], found[str(index)][0])))
    return result


def modular_point(architecture, seed):
    rng = np.random.default_rng(seed)

    def residues(shape):
        return MODULAR.convert(rng.integers(-(2**30), 2**30, shape).astype(np.float64))

    parameters = Parameters(
        architecture, {name: residues(shape) for name, shape in architecture.parameter_shapes.items()}
    )
    return parameters, residues((1, *architecture.input_shape)), residues((1, 1))


@pytest.mark.parametrize("name", NETWORKS)
def test_deficits_do_not_depend_on_which_smooth_activation(name):
    """tanh, sigmoid and softplus give one rank, that of a polynomial at a random point and that of free sensitivities."""
    architecture = network(name, QUINTIC)
    expected = exact_ranks(architecture, *modular_point(architecture, 0))
    systems = [LayerSystem.of_layer(architecture.layers[i], architecture.shapes[i]) for i in convolutions(architecture)]
    assert expected == [rank_bounds(system).lower.value for system in systems]
    decided = 0
    for activation in SMOOTH:
        for seed in range(4):
            found = numerical_ranks(network(name, activation), seed)
            assert found in (None, expected)
            decided += found is not None
    assert decided >= 8, "a gap separates the ranks at most points"


@given(st.sampled_from([*NETWORKS]), st.integers(0, 2**32))
def test_deficits_ignore_the_order_of_channels(name, seed):
    """Renumbering input and hidden channels together with the weights that touch them, exactly."""
    architecture = network(name, QUINTIC)
    parameters, inputs, labels = modular_point(architecture, seed)
    rng = np.random.default_rng(seed)
    into, hidden = rng.permutation(inputs.shape[1]), rng.permutation(parameters["0/weight"].shape[0])
    moved = {
        **parameters,
        "0/weight": parameters["0/weight"][hidden][:, into],
        "2/weight": parameters["2/weight"][:, hidden],
    }
    renumbered = exact_ranks(architecture, Parameters(architecture, moved), inputs[:, into], labels)
    assert renumbered == exact_ranks(architecture, parameters, inputs, labels)


@given(st.sampled_from([*NETWORKS]), st.integers(0, 2**32), st.integers(-20, 20))
def test_deficits_ignore_the_scale_of_kernels(name, seed, exponent):
    """A positive factor that moves from one layer of a leaky ReLU network to the next, exactly."""
    architecture = network(name, LeakyReLU(0.25))
    rng = np.random.default_rng(seed)
    values = {name: rng.integers(-9, 10, shape) / 1.0 for name, shape in architecture.parameter_shapes.items()}
    inputs, labels = rng.integers(-9, 10, (1, *architecture.input_shape)) / 1.0, np.ones((1, 1)) / 2
    factor = 2.0**exponent
    scaled = {**values, "0/weight": factor * values["0/weight"], "2/weight": values["2/weight"] / factor}
    found = [
        exact_ranks(architecture, *RATIONAL.convert((Parameters(architecture, arrays), inputs, labels)))
        for arrays in (values, scaled)
    ]
    assert found[0] == found[1]
