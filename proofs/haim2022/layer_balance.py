r"""At a KKT point of the max-margin problem all layers have the same norm, and so do the two sides of every hidden unit.

Let Φ be a chain of L dense layers with one output, activations that are positively homogeneous of degree one (ReLU, leaky
ReLU, identity) and a bias in the first layer at most, and let θ = Σ_i λ_i y_i ∇_θ Φ(θ; x_i). Then
‖W_1‖² + ‖b_1‖² = ‖W_2‖² = … = ‖W_L‖² = Σ_i λ_i y_i Φ(θ; x_i) in the Frobenius norm. Finer: for every hidden unit the
squared norm of its incoming weights (with its bias, in the first layer) is the squared norm of its outgoing weights.

Notes
-----
For a unit with pre-activation z, slope s and h = s z, let g be the gradient of Φ at h. Then sample i contributes
λ_i y_i (s g) z to the incoming weights' ⟨w, ∂Φ/∂w⟩, and λ_i y_i h g to the outgoing ones': the same number. Summed over the
samples with stationarity these are the squared norms, and summed over the units of a layer the balance of the layers:

.. math:: \|w_k\|^2 + b_k^2 = \sum_i \lambda_i y_i\, s_{ik} g_{ik} z_{ik} = \sum_i \lambda_i y_i\, h_{ik} g_{ik}
          = \|W_{2,\cdot k}\|^2 .

So a reconstruction attack has redundant equations: of the L equations that one gets by pairing each layer with itself, L − 1
only test that θ is balanced. Balance is a property of the point and not of the function: moving a factor from one layer to
the next keeps Φ and breaks it. It holds for Frobenius norms; the matrices W_l W_lᵀ and W_{l+1}ᵀ W_{l+1} agree on their
diagonals only (for linear chains they are equal), so spectral norms need not agree.

Source: consequence of the KKT conditions of arXiv:2206.07758, Theorem 3.1, whose wording was not read; balancedness along
gradient flow is due to Du, Hu and Lee 2018. The statement and proof here are derived.
"""

import dataclasses
import itertools

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Identity, LeakyReLU, Linear, ReLU
from provable.arithmetic import FLOAT64, RATIONAL, determinant
from provable.networks import Parameters, forward
from provable.theorems import Source, Theorem, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""If \theta = \sum_i \lambda_i y_i \nabla_\theta \Phi(\theta; x_i) for a chain \Phi of dense layers
    W_1, ..., W_L with one output, activations that are positively homogeneous of degree one (ReLU, leaky ReLU, identity) and
    at most a first-layer bias b_1, then \|W_1\|_F^2 + \|b_1\|^2 = \sum_i \lambda_i y_i \Phi(\theta; x_i) = \|W_l\|_F^2 for
    all l > 1, and for every hidden unit the incoming weights, with the bias if there is one, have the norm of the outgoing
    weights.""",
    source=Source("arXiv:2206.07758", "Theorem 3.1", "the KKT conditions from memory; balance is derived here"),
    expected="proved",
    does_not_say="anything about points that are not stationary, such as those where training has been stopped early",
)

HOMOGENEOUS, STATIONARY = "homogeneous chain", "stationarity"


@theorem.instances
def kkt_points(draw):
    return draw(stationary_points(depths=(2, 3, 1, 4)))


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(point):
    layers = point.architecture.layers
    good = all(isinstance(layer, Linear | ReLU | LeakyReLU | Identity) for layer in layers)
    return good and not any(isinstance(layer, Linear) and layer.bias for layer in layers[1:])


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(point):
    return point.is_stationary


@theorem.degenerate
def one_layer(point):
    return len(point.architecture.layers) == 1


def matrices(point, *, biases=True):
    """The weight matrices, each with its bias as a last column unless left out."""
    result = []
    for name, array in point.parameters.items():
        if name.endswith("weight"):
            result.append(array)
        elif biases:
            result[-1] = np.concatenate([result[-1], array[:, None]], axis=1)
    return result


def size_of_sums(point):
    """Bound on all sums that occur: every number replaced by its absolute value; None for exact numbers."""
    if point.parameters.kind != "float64":
        return None
    absolute = point.parameters.map_numbers(np.abs)
    outputs = forward(point.architecture, absolute, np.abs(point.points))[:, 0]
    return absolute.vector() @ absolute.vector() + point.weights @ outputs


def compare(point, left, right, name):
    """An equality with the error of a sum over parameters and of sums over units in every layer and over samples."""
    count = point.parameters.vector().size + len(point.labels) + 8 * len(point.architecture.layers)
    return equal(left, right, operations=count, magnitude=size_of_sums(point), name=name)


def layer_norms(point, **options):
    """‖W_l‖² = Σ λ_i y_i Φ_i for all layers."""
    total = point.weights @ point.margins
    for level, matrix in enumerate(matrices(point, **options), 1):
        yield compare(point, (matrix * matrix).sum(), total, f"‖W_{level}‖² = Σ λ_i y_i Φ_i")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def layers_and_units_are_balanced(point):
    yield from layer_norms(point)
    layers = matrices(point)
    for level, (before, behind) in enumerate(itertools.pairwise(layers), 1):
        outgoing = behind[:, : len(before)]  # without a bias
        incoming, outgoing = (before * before).sum(axis=1), (outgoing * outgoing).sum(axis=0)
        yield compare(point, incoming, outgoing, f"units of hidden layer {level}: incoming = outgoing")


@theorem.derivation
def contributions_of_a_unit():
    """One hidden unit with any number of neighbours: two inputs, two outputs and two samples are generic, by linearity."""
    import sympy

    def symbols(name, *sizes):
        return sympy.Matrix(*sizes, sympy.symbols(f"{name}_1:{1 + sympy.prod(sizes)}"))

    w, v, b, s = symbols("w", 2, 1), symbols("v", 2, 1), sympy.Symbol("b"), sympy.symbols("s_1:3")
    x, epsilon = [symbols(f"x{i}", 2, 1) for i in (1, 2)], [symbols(f"e{i}", 2, 1) for i in (1, 2)]
    lam, y = sympy.symbols("lambda_1:3"), sympy.symbols("y_1:3")
    z = [(w.T * x[i])[0] + b for i in (0, 1)]
    g = [(v.T * epsilon[i])[0] for i in (0, 1)]  # gradient at h from the gradients ε behind the outgoing weights v
    incoming = [[s[i] * g[i] * entry for entry in (*x[i], 1)] for i in (0, 1)]
    outgoing = [[epsilon[i][k] * s[i] * z[i] for k in (0, 1)] for i in (0, 1)]
    yield identity(
        "one sample, any slope: ⟨incoming, their gradient⟩ = s g z",
        sympy.expand(sum(p * q for p, q in zip((*w, b), incoming[0], strict=True))),
        sympy.expand(s[0] * g[0] * z[0]),
    )
    yield identity(
        "one sample, any slope: ⟨outgoing, their gradient⟩ = g h with h = s z, the same number",
        sympy.expand(sum(p * q for p, q in zip(v, outgoing[0], strict=True))),
        sympy.expand(s[0] * g[0] * z[0]),
    )
    # stationarity: each weight is its entry of Σ λ_i y_i ∇Φ_i, so its square is weight times that sum
    stationary = [sum(lam[i] * y[i] * gradient[k] for i, gradient in enumerate(incoming)) for k in range(3)]
    behind = [sum(lam[i] * y[i] * gradient[k] for i, gradient in enumerate(outgoing)) for k in range(2)]
    yield identity(
        "stationarity, both samples: Σ_k w_k (Σ_i λ_i y_i ∂Φ_i/∂w_k) = Σ_k v_k (Σ_i λ_i y_i ∂Φ_i/∂v_k)",
        sympy.expand(sum(p * q for p, q in zip((*w, b), stationary, strict=True))),
        sympy.expand(sum(p * q for p, q in zip(v, behind, strict=True))),
    )
    output = sympy.symbols("a_1:3"), sympy.symbols("h_1:3")
    value = sum(a * h for a, h in zip(*output, strict=True))
    yield identity(
        "the last layer: ⟨a, ∂Φ/∂a⟩ = Φ, so its squared norm is Σ λ_i y_i Φ_i",
        sum(a * sympy.diff(value, a) for a in output[0]),
        value,
    )
    W = symbols("W", 2, 2)
    units = (
        sum(sum(W[k, m] ** 2 for m in (0, 1)) for k in (0, 1)),
        sum(sum(W[k, m] ** 2 for k in (0, 1)) for m in (0, 1)),
    )
    yield identity("summed over units, rows and columns give the Frobenius norm of the layer between them", *units)
    c = sympy.Symbol("c", positive=True)
    yield identity(
        "moving a factor c keeps Φ: (v/c)(c w x) = v w x", (v[0] / c) * (c * w[0] * x[0][0]), v[0] * w[0] * x[0][0]
    )


def one_unit(size, sample, factor=1.0, output_bias=False):
    """Φ(x) = v relu(w x) (+ b) for one sample x > 0, y = 1, λ = 1/x: stationary at w = v (and b = λ), so if factor is one."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias))
    architecture = Architecture("one unit", (1,), layers, "logistic")
    values = [size * factor, size / factor] + [1.0 / sample] * output_bias
    parameters = Parameters.from_vector(architecture, np.array(values))
    return StationaryPoint(architecture, parameters, np.array([[sample]]), 1.0, np.ones(1), np.ones(1), sample)


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    return one_unit(1.0, 1.0, output_bias=True)


@theorem.without(STATIONARY)
def the_same_function_with_a_factor_moved():
    return one_unit(1.0, 1.0, factor=2.0)


TWO_LAYERS = stationary_points(depths=(2,), activations=("relu", "leaky_relu"))


@theorem.false_twin("the first layer's bias need not be counted", instances=stationary_points(biased=True, depths=(2,)))
def weights_only(point):
    yield from layer_norms(point, biases=False)


@st.composite
def rescaled(draw):
    """A KKT point after moving a factor from the last layer to the first: the same function, margins and multipliers."""
    point = draw(stationary_points(depths=(2, 3), biased=False))
    factor, last = draw(st.sampled_from((2.0, 0.5, 4.0))), f"{len(point.architecture.layers) - 1}/weight"
    moved = dict(point.parameters)
    moved["0/weight"], moved[last] = moved["0/weight"] * factor, moved[last] / factor
    return dataclasses.replace(point, parameters=Parameters(point.architecture, moved))


@theorem.false_twin("balance is a property of the function", without=(STATIONARY,), instances=rescaled())
def same_function(point):
    yield from layer_norms(point)


@theorem.false_twin(
    "each layer counts with its own bias",
    without=(HOMOGENEOUS,),
    instances=st.builds(
        one_unit, st.sampled_from((1.0, 2.0, 0.5, -1.0)), st.sampled_from((1.0, 2.0, 0.5)), output_bias=st.just(True)
    ),
)
def own_biases(point):
    first, second = ((matrix * matrix).sum() for matrix in matrices(point))
    return compare(point, first, second, "‖W_1‖² + ‖b_1‖² = ‖W_2‖² + ‖b_2‖²")


@theorem.false_twin("W_l W_lᵀ = W_{l+1}ᵀ W_{l+1}, as for linear networks", instances=TWO_LAYERS)
def full_balance(point):
    first, second = matrices(point)
    yield compare(point, first @ first.T, second.T @ second, "W_1 W_1ᵀ = W_2ᵀ W_2")


@theorem.false_twin(
    "spectral norms agree: ‖W_2‖² is an eigenvalue of W_1 W_1ᵀ", instances=TWO_LAYERS, arithmetics=(RATIONAL,)
)
def spectral_balance(point):
    first, second = matrices(point)
    gram, zero = first @ first.T, first[0, 0] * 0
    for k in range(len(gram)):
        gram[k, k] = gram[k, k] - (second * second).sum()
    yield equal(determinant(gram), zero, operations=1, name="det(W_1 W_1ᵀ − ‖W_2‖² I) = 0")
