r"""Projecting candidates on the row space of W_1 never raises the attack's loss, and takes away only what θ does not hold.

Let the first layer of f be dense with weights W, P the orthogonal projector on the row space of W, and μ = Σ_i c_i
δ_{x_i} any candidate, stationary or not. With Pμ = Σ_i c_i δ_{P x_i} and Δ the sensitivities, ‖θ − Φ_θ μ‖² = ‖θ − Φ_θ
Pμ‖² + ‖ΔᵀX (I − P)‖_F², and f(P x_i) = f(x_i). So if (x_i, c_i) makes θ stationary, (P x_i, c_i) does as well, with the
same margins.

Notes
-----
Proof. W (x − P x) = 0: values and sensitivities are the same at x and P x. Of the residual only the block of W sees the
difference: W − ΔᵀX P = (W − ΔᵀX) P, since W P = W. Pythagoras for the rows.

This is the remedy against shifts along directions that the first layer does not see: search with rank W instead of d
unknowns for each sample. Nothing is lost that θ determines; but nothing is gained beyond it either. The true samples need
not lie in the row space, so a perfect attack returns P x_i and not x_i (first twin), and splitting and merging go on
inside the row space. For a gradient or a change of parameters v instead of θ the rows of v's first block need not lie in
the row space of W: there the projection is the one on the row space of that block (the hypothesis, and its
counterexample).

Source: arXiv:2509.21296 and arXiv:2605.06519 for the idea of searching in the span seen by the first layer (wording not
read); the identity is derived here.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import RATIONAL, rank, solve
from provable.arithmetic.null_space import null_space
from provable.measures import Measure
from provable.networks import Parameters, backpropagate, embed, forward, trace
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies import seeds

theorem = Theorem(
    statement=r"""Let f have a dense first layer with weights W, P the orthogonal projector on the row space of W, and v a
    vector of parameters' shape whose block V for W satisfies V P = V, such as v = \theta. For all samples x_i and
    coefficients c_i with sensitivities \Delta, f(P x_i) = f(x_i) and \|v - \sum_i c_i \nabla_\theta f(x_i)\|^2 = \|v -
    \sum_i c_i \nabla_\theta f(P x_i)\|^2 + \|\Delta^T X (I - P)\|_F^2.""",
    source=Source("arXiv:2509.21296", "the remedy against shifts", "from a summary; the identity is derived here"),
    expected="proved",
    does_not_say="that the samples lie in the row space, or that what lies in it is determined",
)

OBSERVED = "the observed first block lies in the row space of W"


@dataclass(frozen=True)
class Candidate:
    """A network, an observed vector, and candidate samples with coefficients."""

    parameters: Parameters
    observed: Parameters
    points: np.ndarray
    coefficients: np.ndarray


def network(dimension, widths, activation, bias):
    layers = [part for width in widths for part in (Linear(width, bias=bias), activation)]
    return Architecture("chain", (dimension,), (*layers, Linear(1, bias=bias)), "squared")


ACTIVATIONS = (ReLU(), LeakyReLU(0.25), Polynomial((0.0, 1.0, 0.5)))


@st.composite
def candidates(draw, *, observed="parameters"):
    dimension, count = draw(st.integers(2, 4)), draw(st.integers(1, 3))
    widths = [draw(st.integers(1, 2)) for _ in range(draw(st.integers(1, 2)))]
    architecture = network(dimension, widths, draw(st.sampled_from(ACTIVATIONS)), draw(st.booleans()))
    rng = np.random.default_rng(draw(seeds()))

    def drawn():
        return Parameters.from_vector(architecture, rng.integers(-2, 3, size=architecture.parameter_count) / 1.0)

    parameters = drawn()
    points, coefficients = rng.integers(-2, 3, size=(count, dimension)) / 1.0, rng.integers(-2, 3, size=count) / 1.0
    return Candidate(parameters, parameters if observed == "parameters" else drawn(), points, coefficients)


theorem.instances(candidates())


def beyond(weight, rows):
    """The parts of rows that are orthogonal to the row space of a matrix."""
    basis = null_space(weight)
    if not len(basis):
        return 0 * rows
    return (basis.T @ solve(basis @ basis.T, basis @ rows.T)).T


@theorem.hypothesis(OBSERVED, arithmetic=RATIONAL)
def inside_row_space(candidate):
    return not np.any(beyond(candidate.parameters["0/weight"], candidate.observed["0/weight"]) != 0)


@theorem.degenerate
def nothing_is_beyond(candidate):
    weight = candidate.parameters["0/weight"]
    return rank(RATIONAL.convert(weight)) == weight.shape[1]


def loss(candidate, points):
    architecture = candidate.parameters.architecture
    image = embed(architecture, candidate.parameters, Measure(points, candidate.coefficients))
    return ((candidate.observed.vector() - image.vector()) ** 2).sum()


def projected(candidate):
    return candidate.points - beyond(candidate.parameters["0/weight"], candidate.points)


def unseen(candidate):
    """‖ΔᵀX (I − P)‖²."""
    architecture = candidate.parameters.architecture
    traced = trace(architecture, candidate.parameters, candidate.points)
    cotangent = candidate.coefficients.reshape(-1, 1)
    delta = backpropagate(architecture, candidate.parameters, traced, cotangent).outputs["0"]
    return ((delta.T @ beyond(candidate.parameters["0/weight"], candidate.points)) ** 2).sum()


@theorem.claim(arithmetics=(RATIONAL,))
def pythagoras(candidate):
    architecture = candidate.parameters.architecture
    before, after = (
        forward(architecture, candidate.parameters, points) for points in (candidate.points, projected(candidate))
    )
    yield equal(before, after, operations=20, name="f(P x) = f(x)")
    yield equal(
        loss(candidate, candidate.points),
        loss(candidate, projected(candidate)) + unseen(candidate),
        operations=40,
        name="loss(μ) = loss(Pμ) + ‖ΔᵀX(I - P)‖²",
    )


@theorem.derivation
def residual_of_the_first_block():
    import sympy

    v, a, x, y = sympy.symbols("v a x y")
    delta = sympy.symbols("delta")
    # coordinates along the row space (x) and across it (y): a row of V has the entries (v, 0)
    yield identity(
        "a row of the residual: (v - δx)² + (0 - δy)², with P the first coordinate",
        sympy.expand((v - delta * x) ** 2 + (0 - delta * y) ** 2),
        sympy.expand((v - delta * x) ** 2 + (delta * y) ** 2),
    )
    yield identity(
        "after the projection y = 0: what is left is the first square",
        sympy.expand(((v - delta * x) ** 2 + (0 - delta * y) ** 2).subs(y, 0)),
        sympy.expand((v - delta * x) ** 2),
    )
    yield identity("a row of W has the entries (a, 0): its pre-activation does not see y", a * x + 0 * y, a * x)


@theorem.without(OBSERVED)
def a_vector_across_the_row_space():
    architecture = network(2, [1], ReLU(), False)
    parameters = Parameters(architecture, {"0/weight": np.array([[1.0, 0.0]]), "2/weight": np.ones((1, 1))})
    observed = Parameters(architecture, {"0/weight": np.array([[0.0, 1.0]]), "2/weight": np.ones((1, 1))})
    return Candidate(parameters, observed, np.array([[1.0, 1.0]]), np.ones(1))


@theorem.false_twin("the samples lie in the row space", arithmetics=(RATIONAL,))
def samples_in_row_space(candidate):
    return equal(projected(candidate), candidate.points, operations=20, name="P x = x")


@theorem.false_twin("the loss stays", arithmetics=(RATIONAL,))
def same_loss(candidate):
    return equal(
        loss(candidate, candidate.points),
        loss(candidate, projected(candidate)),
        operations=40,
        name="loss(μ) = loss(Pμ)",
    )


@theorem.false_twin("the direction of one neuron is enough", arithmetics=(RATIONAL,))
def one_neuron(candidate):
    points = candidate.points - beyond(candidate.parameters["0/weight"][:1], candidate.points)
    return at_most(
        loss(candidate, points), loss(candidate, candidate.points), operations=40, name="loss(P_1 μ) ≤ loss(μ)"
    )


@theorem.false_twin(
    "for a gradient v as well", without=(OBSERVED,), instances=candidates(observed="another"), arithmetics=(RATIONAL,)
)
def any_observation(candidate):
    return at_most(
        loss(candidate, projected(candidate)),
        loss(candidate, candidate.points),
        operations=40,
        name="loss(Pμ) ≤ loss(μ)",
    )


@theorem.false_twin("the mirror image at the row space is as good as the projection", arithmetics=(RATIONAL,))
def mirrored(candidate):
    points = 2 * projected(candidate) - candidate.points
    return equal(
        loss(candidate, projected(candidate)),
        loss(candidate, points),
        operations=40,
        name="loss(Pμ) = loss(mirror image)",
    )
