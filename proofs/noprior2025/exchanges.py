r"""Samples can be moved against each other unseen in exactly (n − rank Δ)(d − rank W) dimensions of invisible directions.

Let the first layer of a network f be dense with weights W, and Δ the n × m matrix of the sensitivities c_i ∂f(x_i)/∂z_k
of its pre-activations. Let all rows of S lie in null(W). Then X + S has the same outputs as X, and the same Σ_i c_i ∇_θ
f(x_i; θ) if and only if ΔᵀS = 0. These S are a linear space of dimension (n − rank Δ)(d − rank W), unbounded, and nothing
about them has to be small. The number of samples, their coefficients and their outputs all stay.

Notes
-----
Proof. Values in the network and sensitivities do not change with W S_i = 0. The gradient of W is ΔᵀX, so it changes by
ΔᵀS; all others see values only. S = AᵀMN with bases A of null(Δᵀ) and N of null(W): the dimension is the product.

Since multipliers and margins stay, such data are stationary for every loss with weight decay, where multipliers are
functions of the margins, as well as KKT points of the max-margin problem. The space is not empty whenever W has a null
space and the samples are more than the patterns of sensitivities: networks with few distinct neurons. Any activation, any
depth, biases anywhere. n independent sensitivities leave none (`foundations.layer_row_space`); pairs still exist then
(`noprior2025.orthogonal_shifts`).

Source: derived; the directions are those of arXiv:2509.21296, Theorem 4.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import RATIONAL, rank
from provable.arithmetic.null_space import null_space
from provable.measures import Measure
from provable.networks import Parameters, backpropagate, embed, forward, trace
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import seeds

theorem = Theorem(
    statement=r"""Let f have a dense first layer with weights W, and let \Delta_{ik} = c_i \partial f(x_i)/\partial z_k be
    the sensitivities of its pre-activations. For S with S W^T = 0, X + S has the outputs of X, and \sum_i c_i
    \nabla_\theta f(x_i + S_i) = \sum_i c_i \nabla_\theta f(x_i) if and only if \Delta^T S = 0. These S form a space of
    dimension (n - rank \Delta)(d - rank W).""",
    source=Source("derived", note="the directions of arXiv:2509.21296, Theorem 4"),
    expected="proved",
    does_not_say="that other data sets with the same parameters do not exist: these are the ones in invisible directions",
)

UNSEEN, BALANCED = "the first layer does not see the shift", "the sensitivities cancel it"


@dataclass(frozen=True)
class Exchange:
    """A network, samples with coefficients, and a shift of the samples."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray
    shift: np.ndarray


def network(dimension, widths, activation, bias):
    layers = [part for width in widths for part in (Linear(width, bias=bias), activation)]
    return Architecture("chain", (dimension,), (*layers, Linear(1, bias=bias)), "squared")


ACTIVATIONS = (ReLU(), LeakyReLU(0.25), Polynomial((0.0, 1.0, 0.5)))


def integers(matrix):
    """A basis with rational entries as one of integers, in floats."""
    return np.array([[float(entry * 1) for entry in row * denominator(row)] for row in matrix]).reshape(matrix.shape)


def denominator(row):
    result = 1
    for entry in row:
        result = result * int(entry.q) // np.gcd(result, int(entry.q))
    return int(result)


@st.composite
def exchanges(draw, *, balanced=True):
    activation = draw(st.sampled_from(ACTIVATIONS))
    dimension, count = draw(st.integers(2, 4)), draw(st.integers(1, 4))
    widths = [draw(st.integers(1, 2)) for _ in range(draw(st.integers(1, 2)))]
    architecture = network(dimension, widths, activation, draw(st.booleans()))
    rng = np.random.default_rng(draw(seeds()))
    parameters = Parameters.from_vector(architecture, rng.integers(-2, 3, size=architecture.parameter_count) / 1.0)
    points, coefficients = rng.integers(-2, 3, size=(count, dimension)) / 1.0, rng.integers(-2, 3, size=count) / 1.0
    blank = Exchange(parameters, points, coefficients, np.zeros_like(points))
    exact = RATIONAL.convert(blank)
    directions, ways = null_space(exact.parameters["0/weight"]), null_space(sensitivities(exact).T)
    mixture = rng.integers(-2, 3, size=(len(ways) if balanced else count, len(directions)))
    shift = mixture @ integers(directions)
    return Exchange(parameters, points, coefficients, integers(ways).T @ shift if balanced else shift)


def sensitivities(exchange):
    architecture = exchange.parameters.architecture
    traced = trace(architecture, exchange.parameters, exchange.points)
    return backpropagate(architecture, exchange.parameters, traced, exchange.coefficients.reshape(-1, 1)).outputs["0"]


theorem.instances(exchanges())


@theorem.hypothesis(UNSEEN, arithmetic=RATIONAL)
def unseen(exchange):
    return not np.any(exchange.shift @ exchange.parameters["0/weight"].T != 0)


@theorem.hypothesis(BALANCED, arithmetic=RATIONAL)
def cancels(exchange):
    return not np.any(sensitivities(exchange).T @ exchange.shift != 0)


@theorem.degenerate
def all_sensitivities_vanish(exchange):
    return not np.any(sensitivities(exchange))


def embedding(exchange, points):
    return embed(exchange.parameters.architecture, exchange.parameters, Measure(points, exchange.coefficients)).vector()


def same_embedding(exchange, shift):
    return equal(
        embedding(exchange, exchange.points + shift), embedding(exchange, exchange.points), operations=20, name="Σ c ∇f"
    )


@theorem.claim(arithmetics=(RATIONAL,))
def nothing_changes(exchange):
    architecture = exchange.parameters.architecture
    yield same_embedding(exchange, exchange.shift)
    yield same_embedding(exchange, 1024 * exchange.shift)
    before, after = (
        forward(architecture, exchange.parameters, points)
        for points in (exchange.points, exchange.points + exchange.shift)
    )
    yield equal(before, after, operations=20, name="outputs")
    yield from no_other_shift_is_unseen(exchange)


def no_other_shift_is_unseen(exchange):
    """The kernel of the change, which is linear in S, and each elementary shift e_i ⊗ ν on its own."""
    delta, weight = sensitivities(exchange), exchange.parameters["0/weight"]
    directions = null_space(weight)
    count, dimension = exchange.points.shape
    system = np.array(
        [np.outer(delta[i], direction).reshape(-1) for i in range(count) for direction in directions], dtype=object
    )
    seen = rank(system) if system.size else 0
    expected = (count - rank(delta)) * (dimension - rank(weight))
    yield holds(len(system) - seen == expected, name="dimension (n - rank Δ)(d - rank W)")
    for i in range(count):
        for direction in directions:
            shift = 0 * exchange.points
            shift[i] = direction
            change = embedding(exchange, exchange.points + shift) - embedding(exchange, exchange.points)
            yield holds(
                bool(np.any(change != 0)) == bool(np.any(delta[i] != 0)), name="seen if and only if ΔᵀS is not zero"
            )


@theorem.derivation
def gradient_of_the_first_layer():
    import sympy

    a, b = sympy.symbols("delta_1 delta_2")
    x, z, s, t = sympy.symbols("x z s t")
    yield identity(
        "the gradient of W is Σ δ_i x_i: it changes by Σ δ_i s_i, an entry of ΔᵀS",
        sympy.expand(a * (x + s) + b * (z + t) - (a * x + b * z)),
        a * s + b * t,
    )
    w, nu = sympy.symbols("w nu")
    yield identity(
        "pre-activations w (x + s) with w s = 0 stay, so values and sensitivities do",
        sympy.expand(w * (x + nu)).subs(w * nu, 0),
        w * x,
    )


def of_unit(points, coefficients, shift, weight=(1.0, 0.0)):
    architecture = network(2, [1], ReLU(), False)
    parameters = Parameters(architecture, {"0/weight": np.array([weight]), "2/weight": np.ones((1, 1))})
    return Exchange(parameters, np.array(points), np.array(coefficients), np.array(shift))


@theorem.without(UNSEEN)
def a_shift_across_the_kink():
    return of_unit([[1.0, 0.0], [1.0, 0.0]], [1.0, 1.0], [[2.0, 0.0], [-2.0, 0.0]])


@theorem.without(BALANCED)
def one_sample_alone():
    return of_unit([[1.0, 0.0], [1.0, 0.0]], [1.0, 1.0], [[0.0, 1.0], [0.0, 0.0]])


@theorem.false_twin(
    "any shift that the first layer does not see",
    without=(BALANCED,),
    instances=exchanges(balanced=False),
    arithmetics=(RATIONAL,),
)
def any_shift(exchange):
    return same_embedding(exchange, exchange.shift)


@theorem.false_twin(
    "it is enough that Σ c_i S_i = 0", without=(BALANCED,), instances=exchanges(balanced=False), arithmetics=(RATIONAL,)
)
def first_moment_only(exchange):
    total = exchange.coefficients.sum()
    if total == 0:
        return holds(True, name="no mean")
    mean = (exchange.coefficients @ exchange.shift) / total
    return same_embedding(exchange, exchange.shift - mean)


@theorem.false_twin("the dimension is (n - rank Δ) d", arithmetics=(RATIONAL,))
def any_direction(exchange):
    yield same_embedding(exchange, 0 * exchange.shift)
    for way in null_space(sensitivities(exchange).T):
        for k in range(exchange.points.shape[1]):
            shift = 0 * exchange.points
            shift[:, k] = way
            yield same_embedding(exchange, shift)


@theorem.false_twin("n - rank Δ is n - rank W", arithmetics=(RATIONAL,))
def rank_of_the_weights(exchange):
    count = len(exchange.points)
    return holds(
        count - rank(sensitivities(exchange)) == max(0, count - rank(exchange.parameters["0/weight"])),
        name="rank Δ = min(n, rank W)",
    )
