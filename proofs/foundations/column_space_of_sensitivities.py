"""If the gradient of a dense layer has rank B, its columns span the sensitivities of the B samples, one by one.

A dense layer z = W h + b anywhere in a network: h_i are its inputs over the batch, δ_i = ∂ℓ_i/∂z its sensitivities, and
∂L/∂W = Σ_i δ_i h_iᵀ has rank B at most. If it is B, both factors can be read off as spaces: its rows span the h_i and its
columns span the δ_i. In a network with one hidden layer, f(x) = Aσ(Wx + b), δ_i = (Aᵀr_i) ∘ σ'(Wx_i + b) depends on the
sample and on the direction of its residual r_i = ∂ℓ_i/∂f alone. So every sample meets a condition of its own, m - B
equations for its B coordinates in the row space and the C - 1 of a direction: no other sample, and nothing but ∂L/∂W,
enters.

Notes
-----
Proof. ∂L/∂W = Δ H with columns δ_i and rows h_i. Rank B makes Δ and H of rank B. Then H has a right inverse, so the columns
of Δ = Δ H H⁺ are combinations of those of ∂L/∂W, and vice versa.

For one output the sample enters by a ∘ σ'(Wx + b) alone, a the output weights. Where σ' is affine, that is linear in (x, 1)
and tells nothing: every point of the span meets it.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import rank
from provable.networks import Parameters, forward, loss_gradient
from provable.networks.activations import derivative, value
from provable.theorems import RATIONAL, Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $f(x) = A\sigma(Wx + b)$, $r_i = \partial\ell_i/\partial f$ at $x_i$ and $L = \sum_{i \le B} \ell_i$. If
    $G = [\partial L/\partial W, \partial L/\partial b]$ has rank $B$, then $(A^T r_i) \circ \sigma'(Wx_i + b)$,
    $i = 1, \dots, B$, is a basis of its column space, and $(x_i, 1)$ of its row space.""",
    source=Source("derived", note="the condition on single samples that the method span-check solves"),
    expected="proved",
    does_not_say="nothing is said of points that are no samples and meet both conditions as well",
)

EXACT = (ReLU(), LeakyReLU(0.5), Polynomial((0.0, 0.0, 1.0, 1.0)), Polynomial((0.0, 1.0, 0.5)))


@dataclass(frozen=True)
class Batch:
    """A network with one hidden layer, samples, and labels that leave readable residuals."""

    parameters: Parameters
    inputs: np.ndarray
    labels: np.ndarray


def network(dimension, width, activation, outputs):
    layers = (Linear(width), activation, Linear(outputs, bias=False))
    return Architecture("one hidden layer", (dimension,), layers, "squared")


@st.composite
def batches(draw, *, activations=EXACT):
    size = draw(st.integers(1, 3))
    architecture = network(
        draw(st.integers(max(1, size - 1), size)),
        size + draw(st.integers(0, 2)),
        draw(st.sampled_from(activations)),
        draw(st.integers(1, 2)),
    )
    outputs = architecture.output_size
    sizes = [architecture.parameter_count, size * architecture.input_size, size * outputs]
    numbers = np.split(draw(readable_arrays((sum(sizes),), nonzero=draw(st.booleans()))), np.cumsum(sizes)[:-1])
    theta = Parameters.from_vector(architecture, numbers[0])
    return of_residuals(theta, numbers[1].reshape(size, -1), numbers[2].reshape(size, outputs))


def of_residuals(theta, inputs, residuals):
    return Batch(theta, inputs, forward(theta.architecture, theta, inputs) - residuals)


theorem.instances(batches())


def gradient(batch):
    """[∂L/∂W, ∂L/∂b], by the package."""
    observed = loss_gradient(batch.parameters.architecture, batch.parameters, batch.inputs, batch.labels)
    return np.hstack([observed["0/weight"], observed["0/bias"].reshape(-1, 1)])


def sensitivity(batch, points, residuals):
    """Rows (Aᵀr) ∘ σ'(Wx + b)."""
    theta = batch.parameters
    slopes = derivative(theta.architecture.layers[1], points @ theta["0/weight"].T + theta["0/bias"])
    return (residuals @ theta["2/weight"]) * slopes


def residuals(batch):
    return forward(batch.parameters.architecture, batch.parameters, batch.inputs) - batch.labels


def extended(points):
    ones = points[:, :1] * 0 + 1
    return np.hstack([points, ones])


@theorem.hypothesis("the gradient has rank B", arithmetic=RATIONAL)
def full_rank(batch):
    return rank(gradient(batch)) == len(batch.inputs)


def lie_in_columns(batch, vectors):
    observed = gradient(batch)
    return rank(np.hstack([observed, vectors.T])) == rank(observed)


@theorem.claim(arithmetics=(RATIONAL,))
def both_spaces(batch):
    observed, inputs = gradient(batch), extended(batch.inputs)
    delta = sensitivity(batch, batch.inputs, residuals(batch))
    yield equal(observed, delta.T @ inputs, operations=1, name="G is the sum of δ_i (x_i, 1)^T")
    yield holds(rank(delta) == len(inputs), name="the sensitivities are independent")
    yield holds(lie_in_columns(batch, delta), name="and lie in the column space of G")
    yield holds(rank(inputs) == len(inputs), name="the extended samples are independent")
    yield holds(rank(np.vstack([observed, inputs])) == len(inputs), name="and lie in the row space of G")


@theorem.derivation
def by_inverses():
    import sympy as sp

    tall = sp.Matrix(3, 2, lambda i, j: sp.Symbol(f"d{i}{j}"))
    wide = sp.Matrix(2, 3, lambda i, j: sp.Symbol(f"h{i}{j}"))
    weights, slopes, residual = sp.symbols("w0 w1"), sp.Function("s"), sp.Symbol("r")
    x = sp.symbols("x0 x1")
    output = slopes(weights[0] * x[0] + weights[1] * x[1])
    argument = sp.Symbol("z")
    slope = sp.diff(slopes(argument), argument).subs(argument, weights[0] * x[0] + weights[1] * x[1]).doit()
    for place in range(2):
        yield identity(
            f"r ∂(aσ(w·x))/∂w_{place} = (r a σ'(w·x)) x_{place}; two inputs stand for all",
            residual * sp.Symbol("a") * sp.diff(output, weights[place]).doit(),
            residual * sp.Symbol("a") * slope * x[place],
        )
    right = wide.T * (wide * wide.T).adjugate()
    yield identity(
        "Δ H H⁺ = Δ, times det HHᵀ: the columns of Δ are combinations of those of ΔH",
        tall * wide * right,
        (wide * wide.T).det() * tall,
    )
    left = (tall.T * tall).adjugate() * tall.T
    yield identity(
        "Δ⁺ Δ H = H, times det ΔᵀΔ: the rows of H are combinations of those of ΔH",
        left * tall * wide,
        (tall.T * tall).det() * wide,
    )


def relu_batch(weight, bias, output, inputs, given):
    """One hidden layer of ReLUs with these numbers and residuals."""
    weight, output = np.array(weight, dtype=float), np.array(output, dtype=float)
    architecture = network(weight.shape[1], len(weight), ReLU(), len(output))
    values = {"0/weight": weight, "0/bias": np.array(bias, dtype=float), "2/weight": output}
    return of_residuals(Parameters(architecture, values), np.array(inputs, dtype=float), np.array(given, dtype=float))


@theorem.without("the gradient has rank B")
def one_point_twice():
    # two residuals whose sensitivities differ, of one point: only their sum is seen
    return relu_batch([[1], [1]], [0, 0], [[1, 0], [0, 1]], [[1], [1]], [[1, 0], [0, 1]])


@theorem.false_twin("independent sensitivities suffice", without=("the gradient has rank B",), arithmetics=(RATIONAL,))
def independent_sensitivities(batch):
    delta = sensitivity(batch, batch.inputs, residuals(batch))
    return holds(rank(delta) < len(delta) or lie_in_columns(batch, delta), name="the δ_i lie in the column space")


@theorem.false_twin("any direction of the residual will do", arithmetics=(RATIONAL,))
def any_direction(batch):
    given = residuals(batch)
    return holds(lie_in_columns(batch, sensitivity(batch, batch.inputs, given * 0 + 1)), name="(A^T 1) ∘ σ'(Wx_i + b)")


@theorem.false_twin("every mean of samples meets both conditions", arithmetics=(RATIONAL,))
def means_of_samples(batch):
    point = batch.inputs.sum(axis=0)[None] / len(batch.inputs)
    given = residuals(batch).sum(axis=0)[None] / len(batch.inputs)
    return holds(lie_in_columns(batch, sensitivity(batch, point, given)), name="so does the mean of the samples")


@theorem.false_twin("the columns span the values σ(Wx_i + b) as well", arithmetics=(RATIONAL,))
def values_instead(batch):
    theta = batch.parameters
    values = value(theta.architecture.layers[1], batch.inputs @ theta["0/weight"].T + theta["0/bias"])
    weights = (residuals(batch) @ theta["2/weight"]) * values
    return holds(lie_in_columns(batch, weights), name="(A^T r_i) ∘ σ(Wx_i + b) lies in the column space")
