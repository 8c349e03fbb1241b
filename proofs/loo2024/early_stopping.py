"""Stopping early hides no sample: the coefficients are an invertible image of the residuals at the start, at any time.

Let a linearised network with kernel matrix K be trained on the squared loss by gradient descent with a rate
0 < η < 2/λ_max(K), for t ≥ 1 steps. Then its change of parameters has the coefficients

    α_t = S_t (y - f_0),    S_t = η Σ_{τ<t} (I - ηK)^τ,

and S_t is positive definite, even where K is singular. So

(i)   (y - f_0)ᵀ α_t > 0 unless y = f_0: training that has begun has left a trace, and by Cauchy-Schwarz one of size
      ‖α_t‖ ≥ λ_min(S_t)·‖y - f_0‖;
(ii)  every α_{t,i} is a function of the targets that is affine and not constant, so outside a union of n hyperplanes of
      targets no sample has coefficient zero;
(iii) the change lies in the span of the same n tangents as after any other time, the limit included.

What an attacker reads off a change of parameters, that it is a combination of the samples' tangents with nonzero
coefficients, is there after one step and stays; only the coefficients depend on the time.

Notes
-----
Proof. In an eigenbasis of K, S_t has the eigenvalues s_t(λ) = η Σ_{τ<t} (1 - ηλ)^τ, which is ηt for λ = 0 and
(1 - (1 - ηλ)^t)/λ otherwise, positive since |1 - ηλ| < 1. At η = 2/λ_max and even t the largest eigenvalue gives zero,
which is why the bound is sharp: with one sample, training is back where it began after two steps.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import determinant, full, rank
from provable.theorems import RATIONAL, Source, Theorem, equal, fact, holds, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For linearised gradient descent on the squared loss with $0 < \eta < 2/\lambda_{\max}(K)$ and $t \ge 1$
    steps, $\theta_t - \theta_0 = \sum_i \alpha_{t,i}\nabla f_0(x_i)$ with $\alpha_t = S_t(y - f_0)$ and
    $S_t = \eta\sum_{\tau<t}(I-\eta K)^\tau$ positive definite. Hence $(y-f_0)^T\alpha_t > 0$ unless $y = f_0$, and outside a
    union of $n$ hyperplanes of targets every $\alpha_{t,i} \ne 0$.""",
    source=Source("derived", note="against early stopping as a defence, with the span property of arXiv:2302.01428"),
    expected="proved",
    does_not_say="how small the coefficients of single samples can be, which decides what noise hides",
)


@dataclass(frozen=True)
class Run:
    """Tangents as rows, the residuals y - f_0, and how it is trained."""

    tangents: np.ndarray
    residuals: np.ndarray
    rate: float
    steps: int


@st.composite
def runs(draw, *, rates=(0.5, 0.25, 1.0, 0.75), shrink=True):
    count, size = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    rows = draw(readable_arrays((count, size)))
    # λ_max <= trace: the rate is a readable multiple of two over a power of two above the trace
    trace = float(np.sum(rows**2))
    scale = 2.0 ** -np.ceil(np.log2(trace)) if trace and shrink else 1.0
    rate = draw(st.sampled_from(rates)) * (2.0 * scale if shrink else 1.0)
    return Run(rows, draw(readable_arrays((count,))), float(rate), draw(st.integers(1, 5)))


theorem.instances(runs())


def kernel(run):
    return run.tangents @ run.tangents.T


def positive_definite(matrix):
    """Sylvester: all leading minors are positive."""
    return all(determinant(matrix[:size, :size]) > 0 for size in range(1, len(matrix) + 1))


def identity_matrix(run):
    return full((len(run.residuals),) * 2, 0, run.residuals) + np.diag(full((len(run.residuals),), 1, run.residuals))


@theorem.hypothesis("the learning rate is below 2/λ_max", arithmetic=RATIONAL)
def stable(run):
    return positive_definite(2 * identity_matrix(run) - run.rate * kernel(run))


@theorem.hypothesis("there is at least one step", arithmetic=RATIONAL)
def begun(run):
    return run.steps >= 1


def gain(run):
    """S_t by its sum."""
    one = identity_matrix(run)
    factor = one - run.rate * kernel(run)
    total, power = 0 * one, one
    for _ in range(int(run.steps)):
        total, power = total + run.rate * power, power @ factor
    return total


def change_of_parameters(run):
    """θ_t - θ_0, step by step."""
    change = 0 * run.tangents[0]
    for _ in range(int(run.steps)):
        change = change + run.rate * ((run.residuals - run.tangents @ change) @ run.tangents)
    return change


def product(run):
    return run.residuals @ gain(run) @ run.residuals


def silent(run):
    return all(residual == 0 for residual in run.residuals)


@theorem.claim(arithmetics=(RATIONAL,))
def invertible_image(run):
    matrix = gain(run)
    yield equal(
        change_of_parameters(run), (matrix @ run.residuals) @ run.tangents, operations=50, name="α_t = S_t (y - f_0)"
    )
    yield holds(positive_definite(matrix), name="S_t is positive definite")
    if not silent(run):
        yield less(0 * product(run), product(run), operations=50, name="(y - f_0)ᵀ α_t > 0")
    rows_differ_from_zero = all(rank(matrix[i : i + 1]) == 1 for i in range(len(matrix)))
    yield holds(rows_differ_from_zero, name="no coefficient vanishes for all targets")


@theorem.derivation
def by_eigenvalue():
    import sympy as sp

    eta, eigenvalue = sp.symbols("eta lambda", positive=True)
    power = sp.Symbol("q")  # (1 - ηλ)^t
    closed = (1 - power) / eigenvalue
    yield identity(
        "(1 - (1 - ηλ)^t)/λ solves the recursion s + η(1 - λs) of one step",
        closed + eta * (1 - eigenvalue * closed),
        (1 - power * (1 - eta * eigenvalue)) / eigenvalue,
    )
    yield identity("from s = 0 at t = 0", closed.subs(power, 1), 0)
    # At λ = 0 a step adds η > 0. Otherwise 0 < ηλ < 2 says that b = |1 - ηλ| is below 1, so 0 or 1/(1 + u) with u > 0.
    u = sp.Symbol("u", positive=True)
    base = 1 / (1 + u)
    yield fact("1 - b > 0", bool((1 - base).simplify().is_positive))
    yield identity(
        "1 - qb = (1 - q) + q(1 - b): if 0 <= q < 1, then qb < 1, so (1 - ηλ)^t < 1 by induction",
        1 - power * base,
        (1 - power) + power * (1 - base),
    )
    vector, other = sp.Matrix(sp.symbols("e:2")), sp.symbols("s:2", positive=True)
    form = (vector.T * sp.diag(*other) * vector)[0]
    yield identity(
        "in the eigenbasis (y - f_0)ᵀα is a sum of positive multiples of squares",
        form,
        sum(s * e**2 for s, e in zip(other, vector, strict=True)),
    )


@theorem.without("the learning rate is below 2/λ_max")
def back_at_the_start():
    return Run(np.array([[1.0]]), np.array([1.0]), 2.0, 2)


@theorem.without("there is at least one step")
def not_begun():
    return Run(np.array([[1.0]]), np.array([1.0]), 0.5, 0)


@theorem.false_twin(
    "any learning rate will do",
    without=("the learning rate is below 2/λ_max",),
    instances=runs(rates=(1.0, 2.0), shrink=False),
    arithmetics=(RATIONAL,),
)
def any_rate(run):
    return holds(silent(run) or product(run) > 0, name="(y - f_0)ᵀ α_t > 0")


@st.composite
def hyperplanes(draw):
    """Residuals at which the first coefficient vanishes: the theorem excludes these hyperplanes."""
    run = draw(runs())
    row = gain(run)[0]
    residuals = np.concatenate([row[1:2], -row[:1], 0 * row[2:]]) if len(row) > 1 else run.residuals
    return Run(run.tangents, residuals, run.rate, run.steps)


@theorem.false_twin(
    "a sample that is not fitted at the start has a coefficient other than zero",
    instances=hyperplanes(),
    arithmetics=(RATIONAL,),
)
def every_residual_leaves_a_trace(run):
    alpha = gain(run) @ run.residuals
    return holds(
        all(a != 0 or r == 0 for a, r in zip(alpha, run.residuals, strict=True)), name="α_i and y_i - f_0(x_i)"
    )


@theorem.false_twin("a sample that is fitted at the start has the coefficient zero", arithmetics=(RATIONAL,))
def fitted_samples_are_hidden(run):
    alpha = gain(run) @ run.residuals
    return holds(
        all(a == 0 or r != 0 for a, r in zip(alpha, run.residuals, strict=True)), name="α_i and y_i - f_0(x_i)"
    )


@theorem.false_twin("every step increases (y - f_0)ᵀ α_t", arithmetics=(RATIONAL,), instances=runs(rates=(0.75, 1.0)))
def monotone(run):
    later = Run(run.tangents, run.residuals, run.rate, int(run.steps) + 1)
    return holds(product(later) >= product(run), name="(y - f_0)ᵀ α_{t+1} >= (y - f_0)ᵀ α_t")
