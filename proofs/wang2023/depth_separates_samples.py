r"""Depth helps the observer: with squares, one hidden layer mixes the samples for good, and a second one separates them.

Let σ(z) = z². For one hidden layer, f(x) = a·σ(Wx), the whole gradient depends on the samples and residuals through
Σ_i r_i x_i x_iᵀ only: the samples may be turned among themselves, x_1, x_2 -> (3x_1 + 4x_2)/5, (4x_1 - 3x_2)/5 if r_1 = r_2,
and no choice of W shows it (Wang, Lee and Lei say as much of quadratic activations).

With a second hidden layer, f(x) = a·σ(W_2 σ(W_1 x)), let the samples be linearly independent, let the rank-one matrices wwᵀ
of the rows of W_1 span all symmetric matrices, and let the sensitivities r_i a∘σ'(W_2 σ(W_1 x_i)) be linearly independent.
Then the row space of ∂L/∂W_2 is the span of the σ(W_1 x_i), and for any x

    σ(W_1 x) lies in that row space if and only if x is a multiple of some sample.

So every line through a sample can be found by itself, whatever the others are: d unknowns instead of B(d+1).

Notes
-----
Proof. ∂L/∂W_2 = Σ_i δ_i σ(W_1 x_i)ᵀ with independent δ_i, so its row space is the span of the σ(W_1 x_i) if these are
independent. The entries of σ(W_1 x) are wᵀ(xxᵀ)w, an injective linear function of xxᵀ. So σ(W_1 x) = Σ c_i σ(W_1 x_i) if
and only if xxᵀ = Σ c_i x_i x_iᵀ = X diag(c) Xᵀ, and for independent samples the rank of the right side is the number of
nonzero c_i. The left side has rank one (or zero): exactly one c_i (or none) differs from zero.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial
from provable.arithmetic import RATIONAL, rank
from provable.networks import Parameters, forward, loss_gradient
from provable.theorems import Source, Theorem, different, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $\sigma(z) = z^2$. The gradient of $f(x) = a^T\sigma(Wx)$ depends on the batch through $\sum_i
    r_ix_ix_i^T$ only. For $f(x) = a^T\sigma(W_2\sigma(W_1x))$ let the $x_i$ be linearly independent, let the $ww^T$ of the
    rows of $W_1$ span the symmetric matrices, and let the $r_i\,a\odot\sigma'(W_2\sigma(W_1x_i))$ be independent. Then the
    row space of $\partial L/\partial W_2$ is the span of the $\sigma(W_1x_i)$, and it contains $\sigma(W_1x)$ if and only
    if $x$ is a multiple of some $x_i$.""",
    source=Source(
        "derived",
        "",
        "against the remark after Corollary 5.2 of Wang, Lee, Lei, arXiv:2212.03714v3, that depth does not matter",
    ),
    expected="proved",
    does_not_say="anything of other activations, for which the samples near a solution have to be counted, or of norms",
)

INDEPENDENT = "the samples are linearly independent"
COMPLETE = "the first layer tells all symmetric matrices apart"
SENSITIVE = "the sensitivities are linearly independent"
SQUARE = Polynomial((0.0, 0.0, 1.0))


@dataclass(frozen=True)
class Network:
    """Samples (B, d) with residuals, the weights of two hidden layers and of the output, and a point to be checked."""

    samples: np.ndarray
    residuals: np.ndarray
    first: np.ndarray
    second: np.ndarray
    output: np.ndarray
    point: np.ndarray


def complete_weights(dimension):
    """Unit vectors and their pairwise sums: d(d+1)/2 rows."""
    unit = np.eye(dimension)
    return np.vstack([unit, *(unit[i] + unit[j] for i, j in combinations(range(dimension), 2))])


@st.composite
def networks(draw, *, shapes=((1, 1), (1, 2), (2, 2), (2, 3)), complete=True):
    size, dimension = draw(st.sampled_from(shapes))
    first = complete_weights(dimension) if complete else np.eye(dimension)
    width = size + draw(st.integers(0, 1))
    # all numbers come from one choice, which shrinks fast
    parts = [size * dimension, width * len(first), width, dimension]
    numbers = draw(readable_arrays((sum(parts) + size,)))
    samples, second, output, point, residuals = np.split(numbers, np.cumsum(parts))
    samples = samples.reshape(size, dimension)
    if draw(st.booleans()):
        point = draw(st.sampled_from((1.0, -2.0, 0.5))) * samples[draw(st.integers(0, size - 1))]
    elif draw(st.booleans()):
        point = samples.sum(axis=0)
    residuals, output = (np.where(part == 0, 1.0, part) for part in (residuals, output))
    return Network(samples, residuals, first, second.reshape(width, len(first)), output, point)


theorem.instances(networks())


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent_samples(case):
    return rank(case.samples) == len(case.samples)


@theorem.hypothesis(COMPLETE, arithmetic=RATIONAL)
def complete_first_layer(case):
    dimension = case.samples.shape[1]
    forms = np.array([np.outer(w, w).reshape(-1) for w in case.first])
    return rank(forms) == dimension * (dimension + 1) // 2


@theorem.hypothesis(SENSITIVE, arithmetic=RATIONAL)
def independent_sensitivities(case):
    slopes = 2 * (case.samples @ case.first.T) ** 2 @ case.second.T
    return rank(case.residuals[:, None] * case.output * slopes) == len(case.samples)


@theorem.degenerate
def no_point(case):
    return not case.point.any()


def gradients(weights, samples, residuals):
    """The gradient of a chain of square layers for the labels that leave these residuals, by the package."""
    layers, values = [], {}
    for index, weight in enumerate(weights):
        layers += [Linear(len(weight), bias=False), SQUARE]
        values[f"{2 * index}/weight"] = weight
    network = Architecture("squares", (samples.shape[1],), tuple(layers[:-1]), "squared")
    theta = Parameters(network, values)
    labels = forward(network, theta, samples) - residuals[:, None]
    return loss_gradient(network, theta, samples, labels)


def second_gradient(case):
    return gradients((case.first, case.second, case.output[None]), case.samples, case.residuals)["2/weight"]


def passes(case, observed):
    """Whether σ(W_1 x) lies in the row space."""
    return rank(np.vstack([observed, ((case.first @ case.point) ** 2)[None]])) == rank(observed)


def is_multiple(case):
    return any(rank(np.vstack([case.point, sample])) <= 1 for sample in case.samples)


@theorem.claim(arithmetics=(RATIONAL,))
def separated(case):
    observed = second_gradient(case)
    features = (case.samples @ case.first.T) ** 2
    yield holds(rank(observed) == len(case.samples), name="rank ∂L/∂W_2 = B")
    yield holds(
        rank(np.vstack([observed, features])) == len(case.samples), name="the row space is that of the features"
    )
    yield holds(
        passes(case, observed) == is_multiple(case), name="a point passes if and only if it is a multiple of a sample"
    )
    if len(case.samples) == 2:
        shallow, turned = mixed(case)
        yield equal(shallow, turned, operations=1, name="one hidden layer does not see a turn")


def mixed(case):
    """The gradient of one hidden layer at the samples and at turned samples, with one residual for both."""
    one, other = case.samples
    turned = np.array([(3 * one + 4 * other) / 5, (4 * one - 3 * other) / 5])
    residuals = case.residuals[[0, 0]]
    weights = (case.first, case.second[:1])
    return (gradients(weights, batch, residuals).vector() for batch in (case.samples, turned))


@theorem.derivation
def by_the_rank_of_a_sum():
    import sympy as sp

    x = sp.Matrix(3, 2, sp.symbols("x:6"))
    c, w = sp.symbols("c:2"), sp.Matrix(sp.symbols("w:3"))
    gram = x.T * x
    left = gram.adjugate() * x.T
    total = x * sp.diag(*c) * x.T
    yield identity(
        "left inverses turn Σ c_i x_i x_iᵀ into diag(c), times det² XᵀX: its rank is the number of nonzero c_i",
        left * total * left.T,
        gram.det() ** 2 * sp.diag(*c),
    )
    yield identity(
        "the entries of σ(W_1 x) are linear in xxᵀ", ((w.T * x[:, 0])[0]) ** 2, (w.T * x[:, 0] * x[:, 0].T * w)[0]
    )
    r, a = sp.symbols("r a")
    slope = 2 * r * a * (w.T * x[:, 0])[0]
    yield identity(
        "one hidden layer: r a σ'(w·x) x = 2a (r xxᵀ) w", slope * x[:, 0], 2 * a * (r * x[:, 0] * x[:, 0].T) * w
    )
    first, second = (3 * x[:, 0] + 4 * x[:, 1]) / 5, (4 * x[:, 0] - 3 * x[:, 1]) / 5
    yield identity(
        "a turn keeps the sum", first * first.T + second * second.T, x[:, 0] * x[:, 0].T + x[:, 1] * x[:, 1].T
    )


def network_of(samples, first, second, point, residuals=None):
    samples, first, second = (np.array(part, dtype=float) for part in (samples, first, second))
    residuals = np.ones(len(samples)) if residuals is None else np.array(residuals, dtype=float)
    return Network(samples, residuals, first, second, np.ones(len(second)), np.array(point, dtype=float))


@theorem.without(INDEPENDENT)
def three_samples_in_a_plane():
    # their squares span all symmetric 2 × 2 matrices, so that every point passes
    return network_of([[1, 0], [0, 1], [1, 1]], complete_weights(2), np.eye(3), [1, -1])


@theorem.without(COMPLETE)
def two_coordinates():
    return network_of([[1, 1]], np.eye(2), [[1, 0]], [1, -1])


@theorem.without(SENSITIVE)
def an_invisible_sample():
    return network_of([[1]], [[1]], [[1]], [1], residuals=[0])


@theorem.false_twin("one hidden layer sees a turn of two samples", instances=networks(shapes=((2, 2),)))
def seen_by_one_layer(case):
    shallow, turned = mixed(case)
    return different(shallow, turned, operations=1, name="the gradients differ")


@theorem.false_twin("every point in the span of the batch passes", instances=networks(shapes=((2, 2),)))
def whole_span_passes(case):
    inside = rank(np.vstack([case.samples, case.point])) == len(case.samples)
    return holds(not inside or passes(case, second_gradient(case)), name="points of the span pass")


@theorem.false_twin(
    "it is enough that no two samples are parallel", without=(INDEPENDENT,), instances=networks(shapes=((3, 2),))
)
def no_two_parallel(case):
    if any(rank(case.samples[list(pair)]) < 2 for pair in combinations(range(3), 2)):
        return holds(True, name="nothing is claimed")
    return list(separated(case))


@theorem.false_twin(
    "as many first units as inputs are enough",
    without=(COMPLETE,),
    instances=networks(shapes=((1, 2),), complete=False),
)
def few_units(case):
    return list(separated(case))
