"""Weight decay toward zero adds a known multiple of the initial parameters to the change, and nothing else.

Let a linearised network with tangents ∇f_0(x_i) be trained on all samples at once by gradient descent with rate η and
weight decay w, θ_{t+1} = θ_t - η(∇L(θ_t) + wθ_t). For every loss and every number t of steps

    θ_t - θ_0 = Σ_i α_{t,i} ∇f_0(x_i) - (1 - (1 - ηw)^t) θ_0,    α_{t+1} = (1 - ηw) α_t + η r_t,

with r_t the negative derivatives of the losses at the outputs. So the change leaves the span of the tangents by exactly
one known direction, unless θ_0 lies in the span itself. An attacker who knows θ_0 counts it into the span, or subtracts
the multiple, which the first layer tells (loo2024.weight_decay_is_readable): weight decay is no defence. Decay toward
θ_0 instead of zero leaves the change in the span.

Notes
-----
Proof. With θ_t = Σ α_i ∇f_0(x_i) + β θ_0 a step gives (1 - ηw)θ_t + η Σ r_i ∇f_0(x_i), so α → (1 - ηw)α + ηr and
β → (1 - ηw)β, from β = 1.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import rank
from provable.theorems import RATIONAL, Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Linearised full-batch gradient descent with rate $\eta$ and weight decay $w$ toward zero gives, for every
    loss and stopping time, $\theta_t - \theta_0 = \sum_i \alpha_{t,i}\nabla f_0(x_i) - (1-(1-\eta w)^t)\,\theta_0$ with
    $\alpha_{t+1} = (1-\eta w)\alpha_t + \eta r_t$. If $\theta_0$ is not in the span of the tangents and
    $(1-\eta w)^t \ne 1$, the change is not in it either.""",
    source=Source("derived", note="weight decay is named as what breaks the span in notes on arXiv:2302.01428"),
    expected="proved",
    does_not_say="anything about decay of an adaptive method, or about momentum",
)


@dataclass(frozen=True)
class Run:
    """A linearisation by its tangents (rows), its outputs at the start, and how it is trained."""

    tangents: np.ndarray
    start: np.ndarray
    outputs: np.ndarray
    targets: np.ndarray
    rate: float
    decay: float
    steps: int
    cubic: bool


@st.composite
def runs(draw, *, rates=(0.25, 0.5, 1.0), decays=(0.5, 1.0, 2.0), in_the_span=False):
    count, size = draw(st.integers(1, 2)), draw(st.integers(2, 4))
    numbers = draw(readable_arrays((count * size + size + 2 * count,)))
    rows, start, outputs, targets = np.split(numbers, np.cumsum([count * size, size, count]))
    rows = rows.reshape(count, size)
    if in_the_span:
        start = start[:count] @ rows
    cubic = draw(st.booleans())
    rate, decay = draw(st.sampled_from(rates)), draw(st.sampled_from(decays))
    return Run(rows, start, outputs, targets, rate, decay, draw(st.integers(1, 2 if cubic else 4)), cubic)


theorem.instances(st.one_of(runs(), runs(in_the_span=True)))


def change_of_parameters(run, *, toward_start=False):
    """θ_t - θ_0, step by step in parameter space."""
    theta = run.start
    for _ in range(int(run.steps)):
        gap = run.targets - (run.outputs + run.tangents @ (theta - run.start))
        r = gap**3 if run.cubic else gap
        anchor = run.start if toward_start else 0 * run.start
        theta = theta + run.rate * (r @ run.tangents - run.decay * (theta - anchor))
    return theta - run.start


def kept(run):
    """(1 - ηw)^t."""
    return (1 - run.rate * run.decay) ** int(run.steps)


def coefficients(run):
    """α_t, without parameters: the outputs need K and the tangents' products with θ_0."""
    kernel, along = run.tangents @ run.tangents.T, run.tangents @ run.start
    alpha, share = 0 * run.outputs, 1
    for _ in range(int(run.steps)):
        gap = run.targets - (run.outputs + kernel @ alpha + (share - 1) * along)
        alpha = (1 - run.rate * run.decay) * alpha + run.rate * (gap**3 if run.cubic else gap)
        share = share * (1 - run.rate * run.decay)
    return alpha


def in_span(run, vector):
    return rank(np.vstack([run.tangents, vector[None]])) == rank(run.tangents)


@theorem.claim(arithmetics=(RATIONAL,))
def one_more_direction(run):
    change = change_of_parameters(run)
    expected = coefficients(run) @ run.tangents - (1 - kept(run)) * run.start
    yield equal(change, expected, operations=50, name="θ_t - θ_0 = Σ α_i ∇f_0(x_i) - (1 - (1 - ηw)^t) θ_0")
    outside = not in_span(run, run.start) and kept(run) != 1
    yield holds(in_span(run, change) != outside, name="in the span if and only if θ_0 is, or (1 - ηw)^t = 1")


@theorem.derivation
def one_step():
    import sympy as sp

    rows = sp.Matrix(2, 3, sp.symbols("p:6"))
    start, alpha, r = sp.Matrix(sp.symbols("t:3")), sp.Matrix(sp.symbols("a:2")), sp.Matrix(sp.symbols("r:2"))
    eta, decay, beta = sp.symbols("eta w beta")
    theta = rows.T * alpha + beta * start
    after = theta + eta * (rows.T * r - decay * theta)
    shrunk = 1 - eta * decay
    yield identity(
        "a step: α becomes (1 - ηw)α + ηr and β becomes (1 - ηw)β",
        after,
        rows.T * (shrunk * alpha + eta * r) + shrunk * beta * start,
    )
    t = sp.Symbol("t", integer=True, positive=True)
    yield identity("β = (1 - ηw)^t solves its recursion", shrunk**t * shrunk, shrunk ** (t + 1))
    yield identity("from β = 1", shrunk**0, 1)
    combination, change = sp.Symbol("s"), sp.Symbol("c")
    solved = sp.solve(sp.Eq(change, combination - (1 - beta) * sp.Symbol("theta")), sp.Symbol("theta"))[0]
    yield identity(
        "with β ≠ 1, θ_0 is a combination of the change and of the tangents",
        solved,
        (combination - change) / (1 - beta),
    )


@theorem.false_twin("the change stays in the span of the tangents", arithmetics=(RATIONAL,))
def stays(run):
    return holds(in_span(run, change_of_parameters(run)), name="θ_t - θ_0 and the span")


@theorem.false_twin("the multiple of θ_0 is 1 - ηwt", arithmetics=(RATIONAL,))
def linear_share(run):
    share = 1 - run.rate * run.decay * int(run.steps)
    return equal(change_of_parameters(run), coefficients(run) @ run.tangents - (1 - share) * run.start, operations=50)


@theorem.false_twin("decay toward θ_0 adds it, too", arithmetics=(RATIONAL,))
def decay_toward_the_start(run):
    change = change_of_parameters(run, toward_start=True)
    outside = not in_span(run, run.start) and kept(run) != 1
    return holds(in_span(run, change) != outside, name="θ_t - θ_0 and the span")


@theorem.false_twin(
    "if θ_0 is outside the span, so is every change",
    instances=runs(rates=(1.0,), decays=(2.0,)),  # ηw = 2 comes back to β = 1 after two steps
    arithmetics=(RATIONAL,),
)
def always_outside(run):
    return holds(in_span(run, run.start) or not in_span(run, change_of_parameters(run)), name="θ_t - θ_0 and the span")
