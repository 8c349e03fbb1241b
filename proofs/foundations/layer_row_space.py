"""The gradient of any dense layer spans the layer's inputs over the batch if and only if its sensitivities are independent.

A dense layer z = W h + b anywhere in a network: h_i are its inputs over the batch, for a second layer h_i = σ(W₁x_i), and
δ_i = ∂ℓ_i/∂z the sensitivities of the samples' losses. Then ∂L/∂W = Σ_i δ_i h_iᵀ. For independent h_i its row space is
span{h_i} if and only if the B sensitivities are independent, which takes B units at least; otherwise it is smaller. So a
candidate x can be tested on its own: σ(W₁x) has to lie in the row space of the *second* layer's gradient. With the gradient
of the bias as a last column the same holds for the extended inputs (h_i, 1), whose independence is a weaker demand.

Notes
-----
Proof. ∂L/∂W = Δ H with columns δ_i of Δ and rows h_i of H. Its rows are combinations of the h_i. If these are independent, H
has a right inverse, so rank Δ H = rank Δ; a subspace of span{h_i} is all of it if and only if its dimension is B.

This is the rank condition of DAGER's span check, with continuous inputs and one layer deeper; the converse and the extended
form are derived here. The first layer is the case of `wang2023.gradient_row_space`.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import full, rank
from provable.networks import Parameters, forward, loss_gradient
from provable.networks.activations import derivative, value
from provable.theorems import RATIONAL, Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $h_i$ be the inputs of a dense layer $z = Wh + b$ over a batch of $B$ samples,
    $\delta_i = \partial\ell_i/\partial z$ and $L = \sum_i \ell_i$. If $h_1, \dots, h_B$ are linearly independent, the row
    space of $\partial L/\partial W$ is $\mathrm{span}\{h_i\}$ if and only if $\delta_1, \dots, \delta_B$ are linearly
    independent; in general it lies in the span. If the $(h_i, 1)$ are independent, the same holds of
    $[\partial L/\partial W, \partial L/\partial b]$ and $\mathrm{span}\{(h_i, 1)\}$.""",
    source=Source(
        "derived", note="the rank condition of the span check of DAGER, arXiv:2405.15586, for continuous inputs"
    ),
    expected="proved",
    does_not_say="nothing is said of points that are no samples and lie in the span as well",
)


@dataclass(frozen=True)
class Batch:
    """A network with two hidden layers, samples, and labels that leave readable residuals."""

    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray


def network(dimension, widths, activations, outputs):
    layers = [Linear(widths[0]), activations[0], Linear(widths[1]), activations[1], Linear(outputs, bias=False)]
    return Architecture("two hidden layers", (dimension,), tuple(layers), "squared")


EXACT = (ReLU(), LeakyReLU(0.5), Polynomial((0.0, 1.0, 0.5)))


@st.composite
def batches(draw, *, activations=EXACT, largest=3):
    size = draw(st.integers(1, largest))
    widths = (size + draw(st.integers(0, 1)), draw(st.integers(1, largest + 1)))
    outputs = draw(st.integers(1, 2))
    chosen = [draw(st.sampled_from(activations)) for _ in range(2)]
    architecture = network(draw(st.integers(1, 2)), widths, chosen, outputs)
    sizes = [architecture.parameter_count, size * architecture.input_size, size * outputs]
    numbers = np.split(draw(readable_arrays((sum(sizes),))), np.cumsum(sizes)[:-1])
    return of_residuals(
        Parameters.from_vector(architecture, numbers[0]),
        numbers[1].reshape(size, -1),
        numbers[2].reshape(size, outputs),
    )


def of_residuals(parameters, inputs, residuals):
    return Batch(parameters, inputs, forward(parameters.architecture, parameters, inputs) - residuals)


theorem.instances(batches())


def hidden(batch):
    """Inputs of the second layer, one row per sample."""
    theta, layers = batch.parameters, batch.parameters.architecture.layers
    return value(layers[1], batch.inputs @ theta["0/weight"].T + theta["0/bias"])


def extended(batch):
    h = hidden(batch)
    return np.hstack([h, full((len(h), 1), 1, h)])


def sensitivities(batch):
    """Rows δ_i of the second layer, by the chain rule written out."""
    theta, layers = batch.parameters, batch.parameters.architecture.layers
    z = hidden(batch) @ theta["2/weight"].T + theta["2/bias"]
    outputs = value(layers[3], z) @ theta["4/weight"].T
    return derivative(layers[3], z) * ((outputs - batch.labels) @ theta["4/weight"])


def gradients(batch):
    observed = loss_gradient(batch.parameters.architecture, batch.parameters, batch.inputs, batch.labels)
    return observed["2/weight"], np.hstack([observed["2/weight"], observed["2/bias"].reshape(-1, 1)])


@theorem.hypothesis("the extended inputs (h_i, 1) of the layer are linearly independent", arithmetic=RATIONAL)
def independent_inputs(batch):
    return rank(extended(batch)) == len(batch.inputs)


def fills(gradient, inputs):
    return rank(gradient) == rank(inputs) == rank(np.vstack([gradient, inputs]))


@theorem.claim(arithmetics=(RATIONAL,))
def row_space(batch):
    plain, wide = gradients(batch)
    h, delta = hidden(batch), sensitivities(batch)
    yield equal(plain, delta.T @ h, operations=1, name="dL/dW is the sum of δ_i h_i^T")
    yield equal(wide, delta.T @ extended(batch), operations=1, name="and with the bias that of δ_i (h_i, 1)^T")
    independent = rank(delta) == len(batch.inputs)
    yield holds(rank(np.vstack([plain, h])) == rank(h), name="the rows of dL/dW lie in the span of the h_i")
    yield holds(
        fills(wide, extended(batch)) == independent, name="[dL/dW, dL/db] fills the extended span iff rank Δ = B"
    )
    if rank(h) == len(batch.inputs):
        yield holds(fills(plain, h) == independent, name="dL/dW fills the span iff rank Δ = B, for independent h_i")


@theorem.derivation
def by_a_right_inverse():
    import sympy as sp

    w, d = (sp.Matrix(2, 2, lambda i, j, n=name: sp.Symbol(f"{n}{i}{j}")) for name in "wd")
    g, z, h = sp.Function("g"), sp.symbols("z0 z1"), sp.symbols("h0 h1")
    for j in range(2):
        for k in range(2):
            pre = [w[0, 0] * h[0] + w[0, 1] * h[1], w[1, 0] * h[0] + w[1, 1] * h[1]]
            slope = sp.diff(g(*z), z[j]).subs(dict(zip(z, pre, strict=True)), simultaneous=True).doit()
            yield identity(
                f"∂ℓ/∂W_{j}{k} = δ_{j} h_{k} for any loss g of z = Wh; two units and inputs stand for all",
                sp.diff(g(*pre), w[j, k]).doit(),
                slope * h[k],
            )
    wide = sp.Matrix(2, 3, lambda i, j: sp.Symbol(f"p{i}{j}"))
    inverse = wide.T * (wide * wide.T).adjugate()
    yield identity("H H⁺ = 1 for independent rows, times det HHᵀ", wide * inverse, (wide * wide.T).det() * sp.eye(2))
    yield identity("so ΔH determines Δ, and rank ΔH = rank Δ", d * wide * inverse, (wide * wide.T).det() * d)


def relu_batch(first, second, last, inputs, residuals):
    """Two hidden layers of ReLUs without biases but zeros, with these numbers."""
    first, second, last = (np.array(matrix, dtype=float) for matrix in (first, second, last))
    architecture = network(first.shape[1], (len(first), len(second)), (ReLU(), ReLU()), len(last))
    arrays = {"0/weight": first, "0/bias": np.zeros(len(first)), "2/weight": second, "2/bias": np.zeros(len(second))}
    parameters = Parameters(architecture, arrays | {"4/weight": last})
    return of_residuals(parameters, np.array(inputs, dtype=float), np.array(residuals, dtype=float))


@theorem.without("the extended inputs (h_i, 1) of the layer are linearly independent")
def one_sample_twice():
    # the row space is all of the span although the two sensitivities are dependent
    return relu_batch([[1]], [[1], [1]], [[1, 1]], [[1], [1]], [[1], [1]])


@theorem.false_twin("as many units as samples suffice", arithmetics=(RATIONAL,))
def enough_units(batch):
    enough = len(batch.parameters["2/weight"]) >= len(batch.inputs)
    return holds(not enough or fills(gradients(batch)[1], extended(batch)), name="the rows fill the span if m_2 >= B")


@theorem.false_twin(
    "nonzero sensitivities suffice", instances=batches(activations=(ReLU(),), largest=2), arithmetics=(RATIONAL,)
)
def nonzero_sensitivities(batch):
    nonzero = all(row.any() for row in sensitivities(batch))
    return holds(
        not nonzero or fills(gradients(batch)[1], extended(batch)), name="the rows fill the span if no δ_i = 0"
    )


@theorem.false_twin("the first layer's gradient tells the rank of the second's", arithmetics=(RATIONAL,))
def first_layers_rank(batch):
    observed = loss_gradient(batch.parameters.architecture, batch.parameters, batch.inputs, batch.labels)
    return holds(rank(observed["0/weight"]) <= rank(observed["2/weight"]), name="rank dL/dW_1 <= rank dL/dW_2")


@theorem.false_twin(
    "dependent inputs are allowed",
    without=("the extended inputs (h_i, 1) of the layer are linearly independent",),
    instances=batches(activations=(ReLU(),), largest=2),
    arithmetics=(RATIONAL,),
)
def dependent_inputs(batch):
    independent = rank(sensitivities(batch)) == len(batch.inputs)
    return holds(fills(gradients(batch)[1], extended(batch)) == independent, name="fills the span iff rank Δ = B")
