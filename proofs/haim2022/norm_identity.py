r"""At a KKT point of the max-margin problem the squared norm of θ is L times the weighted sum of the margins.

Let Φ be a chain of L dense layers with one output, activations that are positively homogeneous of degree one (ReLU, leaky
ReLU, identity) and a bias in the first layer at most, and let θ = Σ_i λ_i y_i ∇_θ Φ(θ; x_i). Then
‖θ‖² = L Σ_i λ_i y_i Φ(θ; x_i). If moreover λ_i = 0 unless sample i has the smallest margin γ, then ‖θ‖² = L γ Σ_i λ_i. For
any θ and λ, stationary or not, the defect is ‖θ‖² − L Σ_i λ_i y_i Φ(θ; x_i) = ⟨θ, θ − Σ_i λ_i y_i ∇_θ Φ(θ; x_i)⟩.

Notes
-----
Haim et al. reconstruct training data from a network whose parameters have converged in direction to a KKT point of
min ½‖θ‖² subject to y_i Φ(θ; x_i) ≥ 1. The identity is the first thing to check on a trained network: it needs nothing but
outputs and multipliers, and the defect formula turns a residual of stationarity into an error bar,

.. math:: \Big| \|\theta\|^2 - L \sum_i \lambda_i y_i \Phi_i \Big|
          \le \|\theta\| \, \Big\| \theta - \sum_i \lambda_i y_i \nabla \Phi_i \Big\| .

Neither λ_i ≥ 0 nor feasibility is used. The multipliers belong to the scale of θ: at tθ they are t^{2−L} λ_i, independent of
the scale for L = 2 only. Any element of the Clarke subdifferential that backpropagation can produce serves as ∇Φ, since
Euler's identity holds for all of them. The identity is necessary for a KKT point, not sufficient: it is one equation.

Instances are exact: networks of rank-one blocks with rational unit vectors, for which the data that make them stationary
are solved for in rationals (`provable.theorems.strategies.stationary_points`): one to three layers, ReLU, leaky ReLU or
identity, with and without a bias in the first layer, one or two classes, several samples per unit, samples that are no
support vectors, units that are dead and pre-activations that are zero.

Source: arXiv:2206.07758, Theorem 3.1 (after Lyu and Li 2020, Ji and Telgarsky 2020) for the KKT conditions; its wording was
not read. The identity is derived here.
"""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Activation, Architecture, Identity, LeakyReLU, Linear, ReLU
from provable.arithmetic import FLOAT64, RATIONAL
from provable.networks import Parameters, forward
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""If \Phi is a chain of L dense layers with one output, activations that are positively homogeneous of degree
    one (ReLU, leaky ReLU, identity) and a bias in the first layer at most, and if
    \theta = \sum_i \lambda_i y_i \nabla_\theta \Phi(\theta; x_i), then
    \|\theta\|^2 = L \sum_i \lambda_i y_i \Phi(\theta; x_i); if also \lambda_i = 0 wherever the margin y_i \Phi(\theta; x_i)
    exceeds the smallest one, \gamma, then \|\theta\|^2 = L \gamma \sum_i \lambda_i.""",
    source=Source("arXiv:2206.07758", "Theorem 3.1", "the KKT conditions from memory; the identity is derived here"),
    expected="proved",
    does_not_say="that training reaches such a point, nor that the identity alone makes a point stationary",
)

HOMOGENEOUS, STATIONARY, SLACK = "homogeneous network", "stationarity", "multipliers only at the smallest margin"


@theorem.instances
def kkt_points(draw):
    return draw(stationary_points())


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(point):
    layers = point.architecture.layers
    good = all(isinstance(layer, Linear | ReLU | LeakyReLU | Identity) for layer in layers)
    return good and not any(isinstance(layer, Linear) and layer.bias for layer in layers[1:])


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(point):
    return point.is_stationary


@theorem.hypothesis(SLACK, arithmetic=RATIONAL)
def is_complementary(point):
    return point.is_complementary


@theorem.degenerate
def one_support_vector(point):
    return np.sum(point.multipliers > 0) == 1


def depth(point):
    """L, the number of layers with parameters."""
    return sum(not isinstance(layer, Activation) for layer in point.architecture.layers)


def size_of_sums(point):
    """Bound on all sums that occur: every number replaced by its absolute value; None for exact numbers."""
    if point.parameters.kind != "float64":
        return None
    absolute = point.parameters.map_numbers(np.abs)
    outputs = forward(point.architecture, absolute, np.abs(point.points))[:, 0]
    return absolute.vector() @ absolute.vector() + depth(point) * (point.weights + 1) @ outputs


def chain(point):
    """Longest chain of roundings: sums over parameters and samples, and a product of L sums over the units."""
    return point.parameters.vector().size + len(point.labels) + 8 * depth(point)


def norm_is(point, right, name):
    """‖θ‖² equals the given number."""
    theta = point.parameters.vector()
    return equal(theta @ theta, right, operations=chain(point), magnitude=size_of_sums(point), name=name)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def norm_from_margins(point):
    margins, weights, theta = point.margins, point.weights, point.parameters.vector()
    yield norm_is(point, depth(point) * (weights @ margins), "‖θ‖² = L Σ λ_i y_i Φ_i")
    yield norm_is(point, depth(point) * min(margins) * sum(weights), "‖θ‖² = L γ Σ λ_i")
    # other multipliers, so that the point is stationary no more
    shifted = dataclasses.replace(point, multipliers=point.multipliers + point.multiplier_denominator)
    residual = theta - shifted.explained.vector()
    right = depth(point) * (shifted.weights @ margins) + theta @ residual
    yield norm_is(point, right, "‖θ‖² − L Σ λ_i y_i Φ_i = ⟨θ, residual⟩ for any λ")


@theorem.derivation
def inner_product_with_theta():
    """Everything is linear in the samples and in the entries of θ, so two samples and two entries are generic."""
    import sympy

    theta = sympy.Matrix(2, 1, sympy.symbols("theta_1:3"))
    gradients = [sympy.Matrix(2, 1, sympy.symbols(f"g_{i}_1:3")) for i in (1, 2)]
    lam, y, phi = (sympy.symbols(f"{name}_1:3") for name in ("lambda", "y", "Phi"))
    L, gamma = sympy.symbols("L gamma", positive=True)
    explained = lam[0] * y[0] * gradients[0] + lam[1] * y[1] * gradients[1]
    yield identity(
        "⟨θ, Σ λ_i y_i ∇Φ_i⟩ = Σ λ_i y_i ⟨θ, ∇Φ_i⟩",
        sympy.expand((theta.T * explained)[0]),
        sympy.expand(sum(lam[i] * y[i] * (theta.T * gradients[i])[0] for i in (0, 1))),
    )
    # Euler's identity, layer by layer (theorem foundations.euler_identity): h is the input of a layer, z = W h + b its
    # output, δ the gradient at z, and s the slope of the activation, arbitrary at a kink
    h, W, z, delta, s, b = sympy.symbols("h W z delta s b")
    yield identity("a layer's own share: ⟨δhᵀ, W⟩ = ⟨δ, Wh⟩, entry by entry", (delta * h) * W, delta * (W * h))
    yield identity("a bias adds ⟨δ, b⟩: together ⟨δ, z⟩", (delta * h) * W + delta * b, delta * (W * h + b))
    yield identity("⟨δ, z⟩ survives an activation: (s g) z = g (s z)", (s * delta) * z, delta * (s * z))
    yield identity("⟨Wᵀδ, h⟩ = ⟨δ, Wh⟩ carries it through a layer without bias", (W * delta) * h, delta * (W * h))
    layer = sympy.Symbol("l", integer=True)
    shares = sympy.Sum(phi[0], (layer, 1, L)).doit()
    yield identity("at the output the share is Φ, so L layers give ⟨θ, ∇Φ⟩ = L Φ", shares, L * phi[0])
    yield identity("a sample without multiplier: λ y Φ = γ λ", (lam[0] * y[0] * phi[0]).subs(lam[0], 0), 0)
    margin = (lam[0] * y[0] * phi[0]).subs(phi[0], gamma / y[0])
    yield identity("a sample with the smallest margin: λ y Φ = γ λ", margin, gamma * lam[0])
    yield identity(
        "defect: ‖θ‖² − ⟨θ, Σ λ_i y_i ∇Φ_i⟩ = ⟨θ, θ − Σ λ_i y_i ∇Φ_i⟩",
        sympy.expand((theta.T * theta)[0] - (theta.T * explained)[0]),
        sympy.expand((theta.T * (theta - explained))[0]),
    )
    t = sympy.Symbol("t", positive=True)
    yield identity(
        "multipliers at tθ: t^{2−L} λ · t^{L−1} ∇Φ = t · λ ∇Φ", sympy.powsimp(t ** (2 - L) * t ** (L - 1)), t
    )


def one_layer(inputs, labels, multipliers, weight=None):
    """A linear classifier; by default with the weight vector that makes it stationary."""
    inputs, labels, multipliers = np.array(inputs), np.array(labels), np.array(multipliers)
    architecture = Architecture("linear classifier", inputs.shape[1:], (Linear(1, bias=False),), "logistic")
    weight = (multipliers * labels) @ inputs if weight is None else np.array(weight)
    parameters = Parameters(architecture, {"0/weight": weight[None]})
    return StationaryPoint(architecture, parameters, inputs, 1.0, labels, multipliers, 1.0)


def one_unit(size, sample, output_bias=True):
    """Φ(x) = a relu(w x) + b at its stationary point for the single sample x > 0, y = 1: w = a, λ = 1/x = b."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias))
    architecture = Architecture("unit with output bias", (1,), layers, "logistic")
    parameters = Parameters.from_vector(architecture, np.array([size, size, 1.0 / sample]))
    return StationaryPoint(architecture, parameters, np.array([[sample]]), 1.0, np.ones(1), np.ones(1), sample)


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    return one_unit(1.0, 1.0)


@theorem.without(STATIONARY)
def twice_the_weight():
    return one_layer([[1.0]], [1.0], [1.0], weight=[2.0])


@theorem.without(SLACK)
def unequal_margins():
    return one_layer([[1.0], [2.0]], [1.0, 1.0], [1.0, 1.0])


@st.composite
def stationary_only(draw):
    """Linear classifiers θ = Σ λ_i y_i x_i with arbitrary λ_i ≥ 0: weight decay makes such points, whatever the margins."""
    count, dimension = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    numbers = draw(readable_arrays((count * (dimension + 2),), nonzero=True))
    inputs, labels, multipliers = np.split(numbers, [count * dimension, count * (dimension + 1)])
    return one_layer(inputs.reshape(count, dimension), np.sign(labels), np.abs(multipliers))


@theorem.false_twin("L counts hidden layers", instances=stationary_points(depths=(2,)))
def hidden_layers_only(point):
    return norm_is(point, (depth(point) - 1) * (point.weights @ point.margins), "‖θ‖² = (L−1) Σ λ_i y_i Φ_i")


@theorem.false_twin("‖θ‖² = L γ Σ λ_i if all margins are positive", without=(SLACK,), instances=stationary_only())
def any_margins(point):
    if not min(point.margins) > 0:
        return holds(True, name="nothing is claimed")
    return norm_is(point, depth(point) * min(point.margins) * sum(point.weights), "‖θ‖² = L γ Σ λ_i")


@theorem.false_twin(
    "biases of later layers may be counted into θ",
    without=(HOMOGENEOUS,),
    instances=st.builds(one_unit, st.sampled_from((1.0, 2.0, 0.5, -1.0)), st.sampled_from((1.0, 2.0, 0.5))),
)
def output_bias(point):
    return norm_is(point, depth(point) * (point.weights @ point.margins), "‖θ‖² = L Σ λ_i y_i Φ_i")


@theorem.false_twin("the first layer's bias need not be counted", instances=stationary_points(biased=True, depths=(2,)))
def weights_only(point):
    total = sum((array * array).sum() for name, array in point.parameters.items() if name.endswith("weight"))
    right = depth(point) * (point.weights @ point.margins)
    yield equal(
        total, right, operations=chain(point), magnitude=size_of_sums(point), name="Σ_l ‖W_l‖² = L Σ λ_i y_i Φ_i"
    )


@theorem.false_twin("the multipliers do not depend on the scale of θ", instances=stationary_points(depths=(3, 1)))
def scale_free(point):
    doubled = dataclasses.replace(point, parameters=point.parameters.map_numbers(lambda array: 2 * array))
    return norm_is(doubled, depth(point) * (point.weights @ doubled.margins), "‖2θ‖² = L Σ λ_i y_i Φ_i(2θ)")
