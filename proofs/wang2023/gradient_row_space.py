"""The first layer's gradient spans the batch if and only if the combined sensitivities of the batch are independent.

A dense first layer z = Wx + b receives the data; what comes after it, the loss of a sample included, is any differentiable
function of z, and the batch loss is the sum of the losses ℓ_i of the samples. Its gradient is dL/dW = Δ X, where row i of X
(B × d) is the sample x_i and column i of Δ (m × B) is its sensitivity δ_i = ∂ℓ_i/∂z. So its rows lie in the span of the
batch, always. Write the batch in terms of independent points b_1, …, b_k that span it, x_i = Σ_l R_il b_l (for independent
samples b = x and R = 1). The rows fill the span if and only if the k combined sensitivities Σ_i R_il δ_i are independent;
for independent samples these are the δ_i themselves, and for f(x) = aᵀσ(Wx) they are r_i·(a ⊙ σ'(Wx_i)) with r_i = ∂ℓ_i/∂f.

For dependent samples independence of the δ_i is still sufficient, but no longer necessary.

Notes
-----
Proof. The chain rule gives Δ X, and Δ X = (ΔR) b. With the right inverse b⁺ = bᵀ(bbᵀ)⁻¹ of b, (ΔR) b b⁺ = ΔR, so that
rank dL/dW = rank ΔR, while the rank of the batch is rank R b = rank R = k. The row space of dL/dW lies in that of X, and two
nested spaces are equal if and only if their dimensions are.

Wang, Lee and Lei estimate the span from second moments of the gradient of the output weights, with an error of order √(d/m);
by this identity the other half of the same gradient contains it exactly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.special
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial, ReLU
from provable.arithmetic import kind, rank
from provable.networks import Parameters, forward, loss_gradient
from provable.networks.activations import derivative, value
from provable.theorems import FLOAT64, RATIONAL, Source, Theorem, equal, holds, identity
from provable.theorems.strategies import (
    PIECEWISE_LINEAR_ACTIVATIONS,
    SMOOTH_ACTIVATIONS,
    arrays,
    parameters,
    readable_arrays,
)

theorem = Theorem(
    statement=r"""Let $z = Wx + b$ be the first layer of a network and $L = \sum_i \ell_i$ the sum of the samples' losses.
    Let $x_i = \sum_l R_{il} b_l$ be a batch with $b_1, \dots, b_k$ linearly independent and $R$ of rank $k$, and
    $\delta_i = \partial\ell_i/\partial z$. Then
    $\partial L/\partial W = \sum_i \delta_i x_i^T$, its row space lies in $\mathrm{span}\{x_i\}$, and it equals the
    span if and only if the $k$ vectors $\sum_i R_{il}\delta_i$ are linearly independent. If the $x_i$ themselves are
    independent, these are the $\delta_i$; for $f(x) = a^T\sigma(Wx)$, $\delta_i = r_i\,(a \odot \sigma'(Wx_i))$ with
    $r_i = \partial\ell_i/\partial f$.""",
    source=Source("derived", note="used against the span estimate of Wang, Lee, Lei, arXiv:2212.03714v3, Section 4"),
    expected="proved",
    does_not_say="nothing is said of how well conditioned the row space is",
)


@dataclass(frozen=True)
class Batch:
    """A network and samples R @ b with their labels."""

    parameters: Parameters
    basis: np.ndarray
    mixing: np.ndarray
    labels: np.ndarray

    @property
    def inputs(self):
        return self.mixing @ self.basis


def draw_network(draw, activations, loss, max_hidden, outputs, biases):
    layers = []
    for _ in range(draw(st.integers(1, max_hidden))):
        layers += [Linear(draw(st.integers(1, 3)), bias=draw(biases)), draw(st.sampled_from(activations))]
    return Architecture("drawn", (draw(st.integers(2, 3)),), (*layers, Linear(outputs, bias=False)), loss)


@st.composite
def batches(draw, activations: tuple[Any, ...], losses: tuple[str, ...]):
    size, loss = draw(st.integers(1, 2)), draw(st.sampled_from(losses))
    outputs = {"logistic": 1, "cross_entropy": 2}.get(loss) or draw(st.integers(1, 2))
    network = draw_network(draw, activations, loss, 2, outputs, st.booleans())
    theta, count = draw(parameters(network)), size + draw(st.integers(0, 2))
    mixing = np.eye(count, size)
    mixing[size:] = draw(readable_arrays((count - size, size)))
    basis = draw(arrays((size, *network.input_shape)))
    if loss == "squared":
        return readable_residuals(theta, basis, mixing, draw(readable_arrays((count, outputs))))
    choices = (1.0, -1.0) if loss == "logistic" else (0, 1)
    labels = np.array(draw(st.lists(st.sampled_from(choices), min_size=count, max_size=count)))
    return Batch(theta, basis, mixing, labels)


@st.composite
def readable_batches(draw, *, outputs=None):
    """One hidden layer of ReLUs; all numbers come from one choice, which shrinks fast."""
    outputs = outputs or draw(st.integers(1, 2))
    network = draw_network(draw, (ReLU(),), "squared", 1, outputs, st.just(False))
    size, dimension = draw(st.integers(1, 2)), network.input_size
    count = size + draw(st.integers(0, 2))
    sizes = [network.parameter_count, size * dimension, (count - size) * size, count * outputs]
    numbers = draw(readable_arrays((sum(sizes),)))
    theta, basis, mixing, labels = np.split(numbers, np.cumsum(sizes)[:-1])
    mixing = np.vstack([np.eye(size), np.where(mixing == 0, 1.0, mixing).reshape(count - size, size)])
    return readable_residuals(Parameters.from_vector(network, theta), basis.reshape(size, dimension), mixing, labels)


def readable_residuals(theta, basis, mixing, residuals):
    """Labels that leave these residuals, so that some vanish and some cancel."""
    outputs = forward(theta.architecture, theta, mixing @ basis)
    return Batch(theta, basis, mixing, outputs - residuals.reshape(outputs.shape))


EXACT_ACTIVATIONS = (*PIECEWISE_LINEAR_ACTIVATIONS, Polynomial((0.0, 1.0, 0.5)))
exact_batches = batches(EXACT_ACTIVATIONS, ("squared",))
small_batches = readable_batches()
smooth_batches = batches(SMOOTH_ACTIVATIONS, ("squared", "logistic", "cross_entropy"))


def cancelling_batches(draw):
    """One output, points that occur twice, residuals ±1: sensitivities that cancel are common."""
    batch = draw(readable_batches(outputs=1))
    size, repeated = len(batch.basis), draw(st.integers(0, 1))
    mixing = np.vstack([np.eye(size), np.eye(size)[: 1 + repeated]])
    signs = draw(st.lists(st.sampled_from((1.0, -1.0)), min_size=4, max_size=4))
    return readable_residuals(batch.parameters, batch.basis, mixing, np.array(signs)[: len(mixing)])


theorem.instances(st.one_of(exact_batches, small_batches, exact_batches, smooth_batches))


@theorem.hypothesis("the points b_l are linearly independent", arithmetic=RATIONAL)
def independent_basis(batch):
    return rank(batch.basis) == len(batch.basis)


@theorem.hypothesis("the batch spans what the points b_l span", arithmetic=RATIONAL)
def spanning(batch):
    return rank(batch.mixing) == len(batch.basis)


def residuals(loss, outputs, labels):
    """The derivatives of the loss of each sample, written out."""
    if loss == "squared":
        return outputs - labels.reshape(outputs.shape)
    if loss == "logistic":
        return -labels[:, None] * scipy.special.expit(-labels[:, None] * outputs)
    return scipy.special.softmax(outputs, axis=1) - np.eye(outputs.shape[1])[labels]


def chain(batch):
    """The dense layers as (weight, bias or 0, activation or None)."""
    layers = batch.parameters.architecture.layers
    for index in range(0, len(layers), 2):
        bias = batch.parameters[f"{index}/bias"] if layers[index].bias else 0
        yield batch.parameters[f"{index}/weight"], bias, layers[index + 1] if index + 1 < len(layers) else None


def sensitivities(batch):
    """Rows δ_i = ∂ℓ_i/∂z, by the chain rule written out backwards from the loss."""
    current, steps = batch.inputs, []
    for weight, bias, activation in chain(batch):
        preactivation = current @ weight.T + bias
        steps.append((weight, activation, preactivation))
        current = preactivation if activation is None else value(activation, preactivation)
    delta = residuals(batch.parameters.architecture.loss, current, batch.labels)
    for weight, (_, activation, preactivation) in zip(
        [step[0] for step in reversed(steps[1:])], reversed(steps[:-1]), strict=True
    ):
        delta = (delta @ weight) * derivative(activation, preactivation)
    return delta


def rounding_sizes(batch):
    """For float64: the sensitivities with every term replaced by a bound on its absolute value.

    A slope's own rounding error is |σ''| ≤ 1.2 times that of its argument, which is a multiple of the bound on the argument;
    hence the factor 1 + bound. Polynomials are bounded by their coefficients' absolute values.
    """

    def envelope(activation, bound, order):
        if isinstance(activation, Polynomial):
            return derivative(Polynomial(tuple(abs(c) for c in activation.coefficients)), bound, order)
        return 1 + bound if order == 0 else np.full(bound.shape, 1.2)

    current, steps = abs(batch.inputs), []
    for weight, bias, activation in chain(batch):
        bound = current @ abs(weight).T + abs(bias)
        steps.append((abs(weight), activation, bound))
        current = bound if activation is None else envelope(activation, bound, 0)
    delta = 2 + current + (0 if batch.labels.dtype.kind == "i" else abs(batch.labels).max(initial=0.0))
    for weight, (_, activation, bound) in zip(
        [step[0] for step in reversed(steps[1:])], reversed(steps[:-1]), strict=True
    ):
        slope, curvature = envelope(activation, bound, 1), envelope(activation, bound, 2)
        delta = (delta @ weight) * (slope + curvature * bound)
    return delta


def gradient(batch):
    """dL/dW of the first layer, by the package."""
    network = batch.parameters.architecture
    return loss_gradient(network, batch.parameters, batch.inputs, batch.labels)["0/weight"]


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def row_space(batch):
    observed, inputs, delta = gradient(batch), batch.inputs, sensitivities(batch)
    exact = kind(observed) == "rational"
    sizes = None if exact else rounding_sizes(batch).T @ abs(inputs)
    # the longest chain: one product of length at most 5 per layer, forward and backward, and the sum over the batch
    yield equal(observed, delta.T @ inputs, operations=40, magnitude=sizes, name="dL/dW is the sum of δ_i x_i^T")
    if exact:
        size = len(batch.basis)
        yield holds(rank(np.vstack([observed, inputs])) == size, name="the rows of dL/dW lie in the span of the batch")
        independent = rank(delta.T @ batch.mixing) == size
        yield holds(
            (rank(observed) == size) == independent,
            name="they fill it if and only if the combined sensitivities are independent",
        )


@theorem.derivation
def by_the_chain_rule():
    import sympy as sp

    w, x, d, r, b = (sp.Matrix(2, 2, lambda i, j, n=name: sp.Symbol(f"{n}{i}{j}")) for name in "wxdrb")
    g, z = sp.Function("g"), sp.symbols("z0 z1")
    slopes = [sp.diff(g(*z), z[j]) for j in range(2)]
    for j in range(2):
        for k in range(2):
            arguments = [w[0, 0] * x[0, 0] + w[0, 1] * x[0, 1], w[1, 0] * x[0, 0] + w[1, 1] * x[0, 1]]
            left = sp.diff(g(*arguments), w[j, k]).doit()
            right = slopes[j].subs(dict(zip(z, arguments, strict=True)), simultaneous=True).doit() * x[0, k]
            yield identity(
                f"dg/dW_{j}{k} = (dg/dz_{j}) x_{k} for any function g of z = Wx; two units and inputs stand for all",
                left,
                right,
            )
    yield identity("Δ(Rb) = (ΔR)b", d * (r * b), (d * r) * b)
    wide = sp.Matrix(2, 3, lambda i, j: sp.Symbol(f"p{i}{j}"))
    inverse = wide.T * (wide * wide.T).adjugate()
    yield identity("bb⁺ = 1 for independent rows, times det bb^T", wide * inverse, (wide * wide.T).det() * sp.eye(2))
    yield identity("hence (ΔR)b determines ΔR: ranks agree", d * wide * inverse, (wide * wide.T).det() * d)


def batch_of(inputs, weight, output_weight, labels, mixing=None):
    """A network a^T relu(Wx) with these numbers."""
    weight, output_weight = np.array(weight, dtype=float), np.array(output_weight, dtype=float)
    layers = (Linear(len(weight), bias=False), ReLU(), Linear(len(output_weight), bias=False))
    network = Architecture("two-layer", (weight.shape[1],), layers, "squared")
    inputs = np.array(inputs, dtype=float)
    mixing = np.eye(len(inputs)) if mixing is None else np.array(mixing, dtype=float)
    values = {"0/weight": weight, "2/weight": output_weight}
    return Batch(Parameters(network, values), inputs, mixing, np.array(labels, dtype=float))


@theorem.without("the points b_l are linearly independent")
def one_point_twice():
    # one direction, seen by the gradient, while two sensitivities of one unit cannot be independent
    return batch_of([[1, 0], [2, 0]], [[1, 0]], [[1]], [[3], [3]])


@theorem.without("the batch spans what the points b_l span")
def a_point_that_no_sample_uses():
    return batch_of([[1, 0], [0, 1]], [[1, 0]], [[1]], [[3]], mixing=[[1, 0]])


@theorem.false_twin(
    "the rows fill the span whenever no residual is zero", instances=small_batches, arithmetics=(RATIONAL,)
)
def nonzero_residuals(batch):
    outputs = forward(batch.parameters.architecture, batch.parameters, batch.inputs)
    some_zero = any(not row.any() for row in residuals("squared", outputs, batch.labels))
    return holds(
        some_zero or not gradient(batch).any() or rank(gradient(batch)) == len(batch.basis), name="row space = span"
    )


@theorem.false_twin(
    "the sensitivities of all samples must be independent", instances=small_batches, arithmetics=(RATIONAL,)
)
def all_sensitivities(batch):
    independent = rank(sensitivities(batch)) == len(batch.inputs)
    filled = rank(gradient(batch)) == len(batch.basis)
    return holds(filled == independent, name="row space = span if and only if rank Δ = B")


@theorem.false_twin(
    "as many independent sensitivities as dimensions suffice", instances=cancelling_batches, arithmetics=(RATIONAL,)
)
def enough_sensitivities(batch):
    too_few = rank(sensitivities(batch)) < len(batch.basis)
    return holds(too_few or rank(gradient(batch)) == len(batch.basis), name="row space = span if rank Δ >= rank X")


@theorem.false_twin(
    "the points b_l may be dependent",
    without=("the points b_l are linearly independent",),
    instances=small_batches,
    arithmetics=(RATIONAL,),
)
def dependent_points(batch):
    filled = rank(gradient(batch)) == rank(batch.inputs)
    return holds(
        filled == (rank(sensitivities(batch).T @ batch.mixing) == len(batch.basis)),
        name="row space = span if and only if the combined sensitivities are independent",
    )
