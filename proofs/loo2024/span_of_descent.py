"""Linearised descent changes the parameters within the span of the samples' tangents, at any stopping time.

Let a network be trained in its linearisation at θ_0, f_0(z) + ⟨∇f_0(z), θ - θ_0⟩, on all samples x_1, …, x_n at once,
by gradient descent with momentum ρ from rest, v_{t+1} = ρ v_t - η∇L, θ_{t+1} = θ_t + v_{t+1}, the gradient taken at θ_t
(heavy ball) or at θ_t + ρ v_t (Nesterov). Whatever the loss, the rate, ρ and the number t of steps,

    θ_t - θ_0 = Σ_i α_{t,i} ∇f_0(x_i),    (1 - ρ) α_t + ρ ν_t = η Σ_{τ<t} r_τ,

with r_τ the negative derivatives of the losses at the outputs where the gradient was taken, and ν_t the velocity in the same
coordinates, v_t = Σ_i ν_{t,i} ∇f_0(x_i). So where training converges, ν_t → 0, every residual has counted 1/(1 - ρ) times:
α_∞ = η/(1 - ρ) Σ_τ r_τ. For the squared loss, ρ = 0 and the kernel matrix K of the tangents,

    y - f_t = (I - ηK)^t (y - f_0),    K α_t = (I - (I - ηK)^t)(y - f_0).

Three things break it, each on its own: weight decay toward zero (loo2024.weight_decay_adds_the_start), Adam, whose first step
already divides every coordinate of the gradient by its absolute value (plus ε), and standard dynamics, in which the tangents
move with the parameters.

Notes
-----
Proof. ∇L at any θ is -Σ_i r_i ∇f_0(x_i), because the linearisation's tangents do not depend on θ. By induction v_t and
θ_t - θ_0 are combinations of the ∇f_0(x_i), with coefficients ν_{t+1} = ρν_t + η r_t and α_{t+1} = α_t + ν_{t+1}.
Adding up the former over the steps gives (1 - ρ)α_t + ρν_t = η Σ r_τ. For ρ = 0 and the squared loss r_{t+1} = r_t - ηK
r_t.

One step from a state (α_t, ν_t) that is given by symbols stands for every step, and two samples with three coordinates
stand for all by linearity.
"""

import dataclasses
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import constant, rank
from provable.networks import Parameters, forward, tangents
from provable.theorems import RATIONAL, Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Linearised full-batch descent from rest with rate $\eta$ and momentum $\rho$, heavy-ball or Nesterov's,
    satisfies for every loss and stopping time $\theta_t - \theta_0 = \sum_i \alpha_{t,i}\nabla f_0(x_i)$ and
    $(1-\rho)\alpha_t + \rho\nu_t = \eta\sum_{\tau<t} r_\tau$, with $v_t = \sum_i \nu_{t,i}\nabla f_0(x_i)$ the
    velocity; for the squared loss and $\rho = 0$, $y - f_t = (I-\eta K)^t(y-f_0)$ and
    $K\alpha_t = (I-(I-\eta K)^t)(y-f_0)$.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "the identity for the change of parameters",
        "the wording is known from the authors' code and from reviews; derived here for any stopping time",
    ),
    expected="proved",
    does_not_say="how small the part outside the span is for standard dynamics at a finite width",
)


@dataclass(frozen=True)
class Run:
    """A network with its samples and targets, and how it is trained."""

    parameters: Parameters
    inputs: np.ndarray
    targets: np.ndarray
    rate: float
    momentum: float
    decay: float
    steps: int
    nesterov: bool
    cubic: bool
    adaptive: bool
    standard: bool


ACTIVATIONS = (ReLU(), LeakyReLU(0.5), Polynomial((0.0, 1.0, 0.5)))


@st.composite
def runs(draw, *, decays=(0.0,), adaptive=False, standard=False):
    dimension, width, count = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(1, 2))
    layers = (Linear(width), draw(st.sampled_from(ACTIVATIONS)), Linear(1))
    network = Architecture("one hidden layer", (dimension,), layers, "squared")
    sizes = [network.parameter_count, count * dimension, count]
    theta, inputs, targets = np.split(draw(readable_arrays((sum(sizes),))), np.cumsum(sizes)[:-1])
    cubic = draw(st.booleans())
    return Run(
        Parameters.from_vector(network, theta),
        inputs.reshape(count, dimension),
        targets,
        draw(st.sampled_from((0.25, 0.5, 1.0))),
        draw(st.sampled_from((0.0, 0.5, 0.75))),
        draw(st.sampled_from(decays)),
        1 if adaptive else draw(st.integers(1, 2 if cubic else 4)),
        draw(st.booleans()),
        cubic,
        adaptive,
        standard,
    )


theorem.instances(runs())


@theorem.hypothesis("there is no weight decay", arithmetic=RATIONAL)
def no_decay(run):
    return run.decay == 0


@theorem.hypothesis("no coordinate has a step size of its own", arithmetic=RATIONAL)
def not_adaptive(run):
    return not run.adaptive


@theorem.hypothesis("the linearisation at the start is trained", arithmetic=RATIONAL)
def linearised(run):
    return not run.standard


def features(run, theta=None):
    """Rows ∇f(x_i) and the outputs, at the start or elsewhere."""
    network = run.parameters.architecture
    there = run.parameters if theta is None else Parameters.from_vector(network, theta)
    return tangents(network, there, run.inputs)[:, 0], forward(network, there, run.inputs)[:, 0]


def pull(run, outputs):
    """Negative derivatives of the samples' losses: y - f, or its cube for the loss (f - y)⁴/4."""
    gap = run.targets - outputs
    return gap**3 if run.cubic else gap


def change_of_parameters(run):
    """θ_t - θ_0 and the sum of all r_τ, step by step in parameter space."""
    phi, start = features(run)
    flat = run.parameters.vector()
    change, velocity, total = 0 * flat, 0 * flat, 0 * start
    for _ in range(int(run.steps)):
        ahead = change + run.momentum * velocity if run.nesterov else change
        rows, outputs = features(run, flat + ahead) if run.standard else (phi, start + phi @ ahead)
        r = pull(run, outputs)
        downhill = r @ rows - run.decay * (flat + ahead)
        if run.adaptive:
            # Adam's first step: both moments are those of one gradient; ε = 1 is as good as any
            downhill = downhill / (abs(downhill) + constant(1, flat))
        velocity = run.momentum * velocity + run.rate * downhill
        change, total = change + velocity, total + r
    return change, total


def coefficients(run):
    """α_t and ν_t from the kernel matrix alone, without parameters."""
    phi, start = features(run)
    kernel = phi @ phi.T
    alpha, nu = 0 * start, 0 * start
    for _ in range(int(run.steps)):
        ahead = alpha + run.momentum * nu if run.nesterov else alpha
        nu = run.momentum * nu + run.rate * pull(run, start + kernel @ ahead)
        alpha = alpha + nu
    return alpha, nu


def lies_in_the_span(run, change):
    phi = features(run)[0]
    return holds(rank(np.vstack([phi, change[None]])) == rank(phi), name="θ_t - θ_0 lies in the span of the tangents")


def power(matrix, vector, times):
    for _ in range(times):
        vector = matrix(vector)
    return vector


@theorem.claim(arithmetics=(RATIONAL,))
def stays_in_the_span(run):
    change, total = change_of_parameters(run)
    phi, start = features(run)
    alpha, nu = coefficients(run)
    yield lies_in_the_span(run, change)
    yield equal(change, alpha @ phi, operations=50, name="θ_t - θ_0 = Σ α_i ∇f_0(x_i)")
    weighted = (1 - run.momentum) * alpha + run.momentum * nu
    yield equal(weighted, run.rate * total, operations=50, name="(1 - ρ) α_t + ρ ν_t = η Σ r_τ")
    if run.momentum == 0 and not run.cubic:
        kernel, gap = phi @ phi.T, run.targets - start
        left = power(lambda vector: vector - run.rate * (kernel @ vector), gap, int(run.steps))
        yield equal(run.targets - start - phi @ change, left, operations=50, name="y - f_t = (I - ηK)^t (y - f_0)")
        yield equal(kernel @ alpha, gap - left, operations=50, name="K α_t = (I - (I - ηK)^t)(y - f_0)")


@theorem.derivation
def one_step_and_induction():
    import sympy as sp

    phi = sp.Matrix(2, 3, sp.symbols("p:6"))
    alpha, nu, r = (sp.Matrix(sp.symbols(f"{name}0 {name}1")) for name in ("alpha", "nu", "r"))
    rho, eta = sp.symbols("rho eta")
    velocity = rho * (phi.T * nu) + eta * (phi.T * r)  # -∇L = Φᵀ r wherever it is taken
    after = rho * nu + eta * r
    yield identity("a velocity in the span stays there, with coefficients ρν + ηr", velocity, phi.T * after)
    yield identity("and so does the change", phi.T * alpha + velocity, phi.T * (alpha + after))
    before = (1 - rho) * alpha + rho * nu
    grown = (1 - rho) * (alpha + after) + rho * after
    yield identity("a step adds ηr to (1 - ρ)α + ρν, which starts at zero", grown - before, eta * r)
    gap, kernel = sp.Matrix(sp.symbols("e0 e1")), phi * phi.T
    yield identity(
        "squared loss, ρ = 0: a step multiplies the residual by I - ηK",
        gap - phi * (phi.T * (eta * gap)),
        (sp.eye(2) - eta * kernel) * gap,
    )


def one_unit(**changes):
    """f(x) = a·x with one sample and target 1; its tangent is the sample."""
    network = Architecture("linear", (2,), (Linear(1, bias=False),), "squared")
    theta = Parameters(network, {"0/weight": np.array([[1.0, -1.0]])})
    run = Run(theta, np.array([[1.0, 2.0]]), np.ones(1), 0.5, 0.0, 0.0, 1, False, False, False, False)
    return dataclasses.replace(run, **changes)


@theorem.without("there is no weight decay")
def half_of_the_start():
    return one_unit(decay=1.0)


@theorem.without("no coordinate has a step size of its own")
def nearly_the_sign_of_the_gradient():
    return one_unit(adaptive=True)


@theorem.without("the linearisation at the start is trained")
def two_steps_of_a_product():
    network = Architecture("product", (1,), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "squared")
    theta = Parameters(network, {"0/weight": np.array([[1.0]]), "2/weight": np.array([[2.0]])})
    return one_unit(parameters=theta, inputs=np.array([[1.0]]), standard=True, steps=2, rate=0.25)


@theorem.false_twin(
    "Adam stays in the span",
    without=("no coordinate has a step size of its own",),
    instances=runs(adaptive=True),
    arithmetics=(RATIONAL,),
)
def adam_stays(run):
    return lies_in_the_span(run, change_of_parameters(run)[0])


@theorem.false_twin(
    "weight decay stays in the span",
    without=("there is no weight decay",),
    instances=runs(decays=(0.5, 1.0)),
    arithmetics=(RATIONAL,),
)
def decay_stays(run):
    return lies_in_the_span(run, change_of_parameters(run)[0])


@theorem.false_twin(
    "standard dynamics stays in the span",
    without=("the linearisation at the start is trained",),
    instances=runs(standard=True),
    arithmetics=(RATIONAL,),
)
def standard_dynamics_stays(run):
    return lies_in_the_span(run, change_of_parameters(run)[0])


@theorem.false_twin("the coefficients are η times the sum of the residuals, with momentum too", arithmetics=(RATIONAL,))
def as_without_momentum(run):
    return equal(coefficients(run)[0], run.rate * change_of_parameters(run)[1], operations=50)


@theorem.false_twin("after finitely many steps every residual has counted 1/(1 - ρ) times", arithmetics=(RATIONAL,))
def as_in_the_limit(run):
    alpha, total = coefficients(run)[0], change_of_parameters(run)[1]
    return equal((1 - run.momentum) * alpha, run.rate * total, operations=50)
