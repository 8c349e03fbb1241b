r"""The attack's loss sees candidates through their outputs and their tangent kernel alone.

Let f be positively homogeneous of degree L in θ (chains of L dense layers with (leaky) ReLU or identity, bias in the
first layer at most). For any candidates x_j and coefficients c_j, with f̂_j = f(x_j; θ) and the tangent kernel K_jl =
⟨∇_θ f(x_j), ∇_θ f(x_l)⟩, ‖θ − Σ_j c_j ∇_θ f(x_j)‖² = ‖θ‖² − 2L cᵀf̂ + cᵀKc. So the best coefficients solve K c = L f̂,
and the loss that is left is ‖θ‖² − L² f̂ᵀK⁻¹f̂ where K is invertible.

Notes
-----
Proof. ⟨θ, ∇_θ f(x)⟩ = L f(x) by Euler's identity (`foundations.euler_identity`). It is the counterpart, at stationary
points, of the identity ‖h_T‖² − h_T(X)ᵀK⁻¹h_T(X) for kernel interpolation: θ takes the place of the function h_T, and L f
that of its values.

Two consequences. Coefficients need not be searched: eliminated, they leave a loss of the positions alone (without the
sign conditions λ_i ≥ 0, which only raise it). And two sets of candidates with the same outputs and tangent kernel have
the same loss for all coefficients: the fibre of the attack is that of (f̂, K), whatever the parameters are otherwise.

Source: derived; the identity for kernels is that of Loo et al., arXiv:2302.01428, and of projection losses, see the note
there.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Identity, LeakyReLU, Linear, ReLU
from provable.arithmetic import RATIONAL, constant, rank, solve
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, tangents
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import seeds

theorem = Theorem(
    statement=r"""If f is positively homogeneous of degree L in \theta, then for all x_j and c_j, with \hat f_j = f(x_j;
    \theta) and K_{jl} = \langle \nabla_\theta f(x_j), \nabla_\theta f(x_l) \rangle, \|\theta - \sum_j c_j \nabla_\theta
    f(x_j)\|^2 = \|\theta\|^2 - 2 L c^T \hat f + c^T K c; where K is invertible, the smallest value is \|\theta\|^2 - L^2
    \hat f^T K^{-1} \hat f, at c = L K^{-1} \hat f.""",
    source=Source("derived", note="counterpart of an identity for kernels, arXiv:2302.01428"),
    expected="proved",
    does_not_say="anything of multipliers that have to be nonnegative: these can only have a larger loss",
)

HOMOGENEOUS = "homogeneous network"


@dataclass(frozen=True)
class Candidates:
    """A network, candidates and their coefficients."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray

    @property
    def depth(self):
        return sum(isinstance(layer, Linear) for layer in self.parameters.architecture.layers)


@st.composite
def candidates(draw, *, last_bias=False):
    activation = draw(st.sampled_from((ReLU(), LeakyReLU(0.25), Identity())))
    widths = [draw(st.integers(1, 3)) for _ in range(draw(st.integers(0, 2)))]
    biased = draw(st.booleans()) and bool(widths)
    layers = []
    for place, width in enumerate(widths):
        layers += [Linear(width, bias=biased and place == 0), activation]
    dimension, count = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    architecture = Architecture("chain", (dimension,), (*layers, Linear(1, bias=last_bias)), "squared")
    rng = np.random.default_rng(draw(seeds()))
    parameters = Parameters.from_vector(architecture, rng.integers(-2, 3, size=architecture.parameter_count) / 1.0)
    return Candidates(
        parameters, rng.integers(-2, 3, size=(count, dimension)) / 1.0, rng.integers(-2, 3, size=count) / 1.0
    )


theorem.instances(candidates())


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(candidate):
    layers = candidate.parameters.architecture.layers
    first = next(k for k, layer in enumerate(layers) if isinstance(layer, Linear))
    biased = [k for k, layer in enumerate(layers) if isinstance(layer, Linear) and layer.bias]
    return all(isinstance(layer, Linear | ReLU | LeakyReLU | Identity) for layer in layers) and biased in ([], [first])


@theorem.degenerate
def singular_kernel(candidate):
    return rank(RATIONAL.convert(candidate_kernel(candidate))) < len(candidate.points)


def candidate_kernel(candidate):
    """K, from all tangents."""
    theta = candidate.parameters
    rows = tangents(theta.architecture, theta, candidate.points)[:, 0]
    return rows @ rows.T


def outputs(candidate):
    return forward(candidate.parameters.architecture, candidate.parameters, candidate.points)[:, 0]


def loss(candidate, coefficients):
    theta = candidate.parameters
    image = embed(theta.architecture, theta, Measure(candidate.points, coefficients))
    return ((theta.vector() - image.vector()) ** 2).sum()


def squared_norm(candidate):
    return (candidate.parameters.vector() ** 2).sum()


def formula(candidate, degree):
    c = candidate.coefficients
    return squared_norm(candidate) - 2 * degree * (c @ outputs(candidate)) + c @ candidate_kernel(candidate) @ c


@theorem.claim(arithmetics=(RATIONAL,))
def outputs_and_kernel_alone(candidate):
    kernel, degree = candidate_kernel(candidate), candidate.depth
    found = loss(candidate, candidate.coefficients)
    yield equal(found, formula(candidate, degree), operations=40, name="‖θ - Σ c ∇f‖² = ‖θ‖² - 2L cᵀf̂ + cᵀKc")
    if rank(kernel) == len(kernel):
        best = solve(kernel, degree * outputs(candidate))
        smallest = squared_norm(candidate) - degree * (outputs(candidate) @ best)
        yield equal(loss(candidate, best), smallest, operations=40, name="‖θ‖² - L² f̂ᵀK⁻¹f̂ at the best coefficients")
        gap = candidate.coefficients - best
        yield equal(found - smallest, gap @ kernel @ gap, operations=40, name="all others lose (c - c*)ᵀK(c - c*)")


@theorem.derivation
def euler_and_squares():
    import sympy

    t, a = sympy.symbols("t a", positive=True)
    degree = sympy.Symbol("L", positive=True)
    f = sympy.Function("f")
    scaled = t**degree * f(a)
    yield identity(
        "f(tθ) = t^L f(θ): the derivative in t at one is ⟨θ, ∇f⟩ on the left and L f on the right",
        sympy.diff(scaled, t).subs(t, 1),
        degree * f(a),
    )
    theta, g, c, k, value = sympy.symbols("theta g c K f_hat", real=True)
    expanded = sympy.expand((theta - c * g) ** 2)
    yield identity(
        "the square: θ² - 2c θg + c²g², with θg = L f̂ and g² = K",
        expanded.subs(g**2, k).subs(theta * g, degree * value),
        theta**2 - 2 * c * degree * value + c**2 * k,
    )
    best = degree * value / k
    yield identity(
        "its minimum at c = L f̂ / K",
        sympy.simplify((theta**2 - 2 * c * degree * value + c**2 * k).subs(c, best)),
        theta**2 - degree**2 * value**2 / k,
    )


@theorem.without(HOMOGENEOUS)
def a_bias_in_the_last_layer():
    architecture = Architecture("affine", (1,), (Linear(1, bias=False), ReLU(), Linear(1)), "squared")
    return Candidates(Parameters.from_vector(architecture, np.ones(3)), np.ones((1, 1)), np.ones(1))


@theorem.false_twin("the degree does not matter: L = 1", arithmetics=(RATIONAL,))
def degree_one(candidate):
    return equal(loss(candidate, candidate.coefficients), formula(candidate, 1), operations=40, name="with L = 1")


@theorem.false_twin(
    "a bias in the last layer is no matter",
    without=(HOMOGENEOUS,),
    instances=candidates(last_bias=True),
    arithmetics=(RATIONAL,),
)
def any_bias(candidate):
    return equal(
        loss(candidate, candidate.coefficients), formula(candidate, candidate.depth), operations=40, name="with a bias"
    )


@theorem.false_twin("the kernel of the last layer is enough", arithmetics=(RATIONAL,))
def last_layer_only(candidate):
    theta, c = candidate.parameters, candidate.coefficients
    rows = tangents(theta.architecture, theta, candidate.points)[:, 0]
    name = list(theta)[-1]
    kernel = rows[:, -theta[name].size :]
    value = squared_norm(candidate) - 2 * candidate.depth * (c @ outputs(candidate)) + c @ kernel @ kernel.T @ c
    return equal(loss(candidate, c), value, operations=40, name="with the kernel of the last layer")


@theorem.false_twin("the best coefficients reach zero", arithmetics=(RATIONAL,))
def always_explained(candidate):
    kernel = candidate_kernel(candidate)
    if rank(kernel) < len(kernel):
        return holds(True, name="a singular kernel")
    best = solve(kernel, candidate.depth * outputs(candidate))
    return equal(loss(candidate, best), constant(0, candidate.points), operations=40, name="loss = 0")
