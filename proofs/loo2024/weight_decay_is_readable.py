"""The first layer alone tells what weight decay has added: its change minus that multiple of its weights drops in rank.

Let a network, or its linearisation, be trained from θ_0 on samples x_1, …, x_n by gradient descent with rate η,
momentum ρ and weight decay w toward zero. Let X hold the extended samples (x_i, 1) as rows and W_t the first layer's
weight with the bias as last column. For every loss and any number of steps

    W_t - W_0 = A_t X + (β_t - 1) W_0,

with the scalar β_t = 1 + Σ_{s≤t} u_s, u_{s+1} = ρ u_s - ηwβ_s, the same in all layers. So

    rank(W_t - W_0 - (β_t - 1) W_0) ≤ rank X,

and if W_0 has d independent columns, β_t - 1 is an eigenvalue of W_0⁺(W_t - W_0) at least d - rank X times. An observer
of W_0 and W_t who knows neither η nor w, ρ or t finds β_t as the eigenvalue that repeats, if the samples span d - 2
dimensions at most, and takes β_t - 1 times θ_0 away from the whole change: weight decay hides nothing.

Notes
-----
Proof. Every gradient of the first layer is a matrix times X, at any parameters. By induction velocity and change are of
the form A X + u W_0. A vector v with Xv = 0 then has (W_t - W_0)v = (β_t - 1)W_0 v, so W_0⁺(W_t - W_0)v = (β_t - 1)v,
and there are d - rank X independent ones.

That the other eigenvalues are simple, so that the repeated one is the right one, is generic and not claimed.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import full, rank, solve
from provable.networks import Parameters, forward, tangents
from provable.theorems import RATIONAL, Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Full-batch gradient descent with momentum $\rho$ and weight decay $w$ toward zero, of a network or of
    its linearisation, changes the first layer by $W_t - W_0 = A_tX + (\beta_t-1)W_0$ with the extended samples $X$ and
    $\beta_t = 1 + \sum_{s\le t}u_s$, $u_{s+1} = \rho u_s - \eta w\beta_s$, for every loss. Hence $\mathrm{rank}(W_t -
    W_0 - (\beta_t-1)W_0) \le \mathrm{rank}\,X$, and if $W_0$ has $d$ independent columns, $\beta_t - 1$ is an
    eigenvalue of $W_0^+(W_t-W_0)$ of multiplicity $d - \mathrm{rank}\,X$ at least.""",
    source=Source("derived", note="against weight decay as a defence from attacks in the style of arXiv:2302.01428"),
    expected="proved",
    does_not_say="that no other eigenvalue repeats, which holds generically only; nor anything about adaptive methods",
)


@dataclass(frozen=True)
class Run:
    """A network with one hidden layer, its samples and targets, and how it is trained."""

    parameters: Parameters
    inputs: np.ndarray
    targets: np.ndarray
    rate: float
    momentum: float
    decay: float
    steps: int
    cubic: bool
    linearised: bool


ACTIVATIONS = (ReLU(), LeakyReLU(0.5), Polynomial((0.0, 1.0, 0.5)))


@st.composite
def runs(draw, *, momenta=(0.0, 0.5, 0.75), steps=(1, 2, 3)):
    dimension, width, count = draw(st.integers(1, 3)), draw(st.integers(1, 4)), draw(st.integers(1, 2))
    layers = (Linear(width), draw(st.sampled_from(ACTIVATIONS)), Linear(1))
    network = Architecture("one hidden layer", (dimension,), layers, "squared")
    sizes = [network.parameter_count, count * dimension, count]
    theta, inputs, targets = np.split(draw(readable_arrays((sum(sizes),))), np.cumsum(sizes)[:-1])
    cubic = draw(st.booleans())
    return Run(
        Parameters.from_vector(network, theta),
        inputs.reshape(count, dimension),
        targets,
        draw(st.sampled_from((0.25, 0.5))),
        draw(st.sampled_from(momenta)),
        draw(st.sampled_from((0.5, 1.0, 2.0))),
        draw(st.sampled_from(steps[:2] if cubic else steps)),
        cubic,
        draw(st.booleans()),
    )


theorem.instances(runs())


def change_of_parameters(run):
    """θ_t - θ_0, step by step."""
    network, start = run.parameters.architecture, run.parameters.vector()
    change, velocity = 0 * start, 0 * start
    rows, outputs = (
        tangents(network, run.parameters, run.inputs)[:, 0],
        forward(network, run.parameters, run.inputs)[:, 0],
    )
    for _ in range(int(run.steps)):
        if run.linearised:
            now, values = rows, outputs + rows @ change
        else:
            there = Parameters.from_vector(network, start + change)
            now, values = tangents(network, there, run.inputs)[:, 0], forward(network, there, run.inputs)[:, 0]
        gap = run.targets - values
        downhill = (gap**3 if run.cubic else gap) @ now - run.decay * (start + change)
        velocity = run.momentum * velocity + run.rate * downhill
        change = change + velocity
    return change


def share(run):
    """β_t - 1."""
    u, sum_of_u = 0 * run.rate, 0 * run.rate
    for _ in range(int(run.steps)):
        u = run.momentum * u - run.rate * run.decay * (1 + sum_of_u)
        sum_of_u = sum_of_u + u
    return sum_of_u


def extended_samples(run):
    return np.hstack([run.inputs, full((len(run.inputs), 1), 1, run.inputs)])


def first_layer(parameters):
    """The first layer's weight with the bias as last column."""
    return np.hstack([parameters["0/weight"], parameters["0/bias"].reshape(-1, 1)])


def pair(run):
    """W_0 and W_t - W_0."""
    change = Parameters.from_vector(run.parameters.architecture, change_of_parameters(run))
    return first_layer(run.parameters), first_layer(change)


def drops(run, multiple, *, bound=None):
    start, moved = pair(run)
    limit = rank(extended_samples(run)) if bound is None else bound
    return holds(rank(moved - multiple * start) <= limit, name="rank(W_t - W_0 - (β_t - 1) W_0)")


@theorem.claim(arithmetics=(RATIONAL,))
def rank_drops(run):
    samples, (start, moved), multiple = extended_samples(run), pair(run), share(run)
    rest = moved - multiple * start
    yield holds(rank(np.vstack([samples, rest])) == rank(samples), name="W_t - W_0 - (β_t - 1) W_0 = A X")
    yield holds(rank(rest) <= rank(samples), name="rank(W_t - W_0 - (β_t - 1) W_0) <= rank X")
    columns = start.shape[1]
    if rank(start) == columns:
        matrix = solve(start.T @ start, start.T @ moved)  # W_0⁺ (W_t - W_0)
        shifted = matrix - np.diag(full((columns,), 1, start) * multiple)
        yield holds(columns - rank(shifted) >= columns - rank(samples), name="multiplicity of the eigenvalue β_t - 1")


@theorem.derivation
def one_step_and_the_eigenvectors():
    import sympy as sp

    start, sample = sp.Matrix(2, 3, sp.symbols("w:6")), sp.Matrix(1, 3, sp.symbols("x:3"))
    left, speed, delta = (sp.Matrix(sp.symbols(f"{name}:2")) for name in ("a", "b", "g"))
    rho, eta, decay, beta, u = sp.symbols("rho eta w beta u")
    layer_now = start + left * sample + (beta - 1) * start
    velocity = rho * (speed * sample + u * start) + eta * (delta * sample - decay * layer_now)
    slower = rho * u - eta * decay * beta
    yield identity(
        "a velocity AX + uW_0 becomes one with ρu - ηwβ for u",
        velocity,
        (rho * speed + eta * (delta - decay * left)) * sample + slower * start,
    )
    yield identity(
        "and the change AX + (β - 1)W_0 one with β + ρu - ηwβ for β",
        left * sample + (beta - 1) * start + velocity,
        (left + rho * speed + eta * (delta - decay * left)) * sample + (beta + slower - 1) * start,
    )
    orthogonal = sp.Matrix([-sample[1], sample[0], 0])
    yield identity("v is orthogonal to the sample", sample * orthogonal, sp.zeros(1, 1))
    moved = left * sample + (beta - 1) * start
    yield identity("so that the change maps it to (β - 1)W_0 v", moved * orthogonal, (beta - 1) * start * orthogonal)


@theorem.false_twin(
    "with momentum, β_t is (1 - ηw)^t as well",
    arithmetics=(RATIONAL,),
    instances=runs(momenta=(0.5,), steps=(2, 3)),
)
def as_without_momentum(run):
    return drops(run, (1 - run.rate * run.decay) ** int(run.steps) - 1)


@theorem.false_twin("the change itself has at most the rank of the samples", arithmetics=(RATIONAL,))
def without_subtraction(run):
    return drops(run, 0 * share(run))


@theorem.false_twin("the rank drops to that of the samples less one", arithmetics=(RATIONAL,))
def one_less(run):
    return drops(run, share(run), bound=rank(extended_samples(run)) - 1)


@theorem.false_twin(
    "without momentum, β_t is 1 - ηwt", arithmetics=(RATIONAL,), instances=runs(momenta=(0.0,), steps=(2, 3))
)
def first_order(run):
    return drops(run, -run.rate * run.decay * int(run.steps))
