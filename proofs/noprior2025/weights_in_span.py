r"""Stationarity puts every first-layer neuron into the span of the samples that it sees, and its bias with it.

Let θ = Σ_i c_i ∇_θ f(x_i; θ) for a network whose first layer is dense, z = W x + b (or W x). Then for every neuron k,
with δ_ik the gradient of f(x_i) at z_k, (w_k, b_k) = Σ_i c_i δ_ik (x_i, 1). So (w_k, b_k) lies in the span of the (x_i,
1) with c_i δ_ik ≠ 0 (for ReLUs: of the samples that activate it or lie on its kink), and w_k in that of the x_i. Hence
rank W is at most the number of samples with coefficients and the dimension of their span.

Notes
-----
It is the equation of the first layer, read row by row. Three consequences:

* with a bias or without, directions orthogonal to all samples are invisible (`noprior2025.orthogonal_shifts`);
* the rank of (W, b) is a lower bound for the number of samples;
* the converse fails: the span of the samples may be larger than the row space of W, and then θ does not determine the span
  (second twin).

Source: arXiv:2509.21296, used for its Theorem 4 (wording not read); derived, with biases and for the neuron's own
samples.
"""

import dataclasses

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, full, rank
from provable.networks import Parameters, backpropagate, trace
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""If \theta = \sum_i c_i \nabla_\theta f(x_i; \theta) for a network with a dense first layer W x + b, then
    (w_k, b_k) = \sum_i c_i \delta_{ik} (x_i, 1) for every neuron k, with \delta_{ik} the gradient of f(x_i) at its
    pre-activation: (w_k, b_k) lies in the span of the (x_i, 1) with c_i \delta_{ik} \ne 0, w_k in that of the x_i, and
    rank W is at most the number of samples with c_i \ne 0. Without bias the same holds of w_k alone.""",
    source=Source("arXiv:2509.21296", "the argument for Theorem 4", "from a summary; derived here"),
    expected="proved",
    does_not_say="that the row space of W is the span of the samples: it may be smaller",
)

STATIONARY = "stationarity"


theorem.instances(stationary_points())


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(point):
    return point.is_stationary


@theorem.degenerate
def a_sample_without_multiplier(point):
    return bool(np.any(point.multipliers == 0))


def rows(point):
    """The neurons (w_k, b_k), and the samples (x_i, 1) that go with them."""
    weight, samples = point.parameters["0/weight"], point.points
    if "0/bias" in point.parameters:
        weight = np.hstack([weight, point.parameters["0/bias"][:, None]])
        samples = np.hstack([samples, full((len(samples), 1), 1, samples)])
    return weight, samples


def sensitivities(point):
    """c_i δ_ik."""
    traced = trace(point.architecture, point.parameters, point.points)
    back = backpropagate(point.architecture, point.parameters, traced, (point.weights * point.labels).reshape(-1, 1))
    return back.outputs["0"]


def in_span(vector, vectors):
    if not len(vectors):
        return not np.any(vector != 0)
    return rank(np.vstack([vectors, vector[None]])) == rank(vectors)


@theorem.claim(arithmetics=(RATIONAL,))
def neurons_are_combinations(point):
    weight, samples = rows(point)
    seen = sensitivities(point)
    yield equal(weight, seen.T @ samples, operations=20, name="(w_k, b_k) = Σ c_i δ_ik (x_i, 1)")
    for k, neuron in enumerate(weight):
        used = np.asarray(seen[:, k] != 0, dtype=bool)
        yield holds(in_span(neuron, samples[used]), name="(w_k, b_k) in the span of the samples that it sees")
        yield holds(
            in_span(point.parameters["0/weight"][k], point.points[used]), name="w_k in the span of these samples"
        )
    count = int(np.count_nonzero(np.asarray(point.weights != 0, dtype=bool)))
    yield holds(rank(weight) <= count, name="rank (W, b) is at most the number of samples")


@theorem.derivation
def row_by_row():
    import sympy

    c, delta, w, x, b = (sympy.symbols(f"{name}_1:3") for name in ("c", "delta", "w", "x", "b"))
    z = [w[0] * x[i] + b[0] for i in (0, 1)]
    # f is any function of the pre-activation; its derivative at sample i is δ_i, and the chain rule gives both entries
    yield identity(
        "the chain rule at the weight: Σ c_i δ_i ∂z_i/∂w = Σ c_i δ_i x_i",
        sum(c[i] * delta[i] * sympy.diff(z[i], w[0]) for i in (0, 1)),
        sum(c[i] * delta[i] * x[i] for i in (0, 1)),
    )
    yield identity(
        "and at the bias: Σ c_i δ_i ∂z_i/∂b = Σ c_i δ_i, the last entry of Σ c_i δ_i (x_i, 1)",
        sum(c[i] * delta[i] * sympy.diff(z[i], b[0]) for i in (0, 1)),
        sum(c[i] * delta[i] for i in (0, 1)),
    )


@theorem.without(STATIONARY)
def a_neuron_that_was_turned():
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=False))
    architecture = Architecture("one unit", (2,), layers, "logistic")
    parameters = Parameters(architecture, {"0/weight": np.array([[1.0, 1.0]]), "2/weight": np.ones((1, 1))})
    return StationaryPoint(architecture, parameters, np.array([[1.0, 0.0]]), 1.0, np.ones(1), np.ones(1), 1.0)


@theorem.false_twin(
    "a neuron sees the samples with the label of its output weight only",
    instances=stationary_points(depths=(2,)),
    arithmetics=(RATIONAL,),
)
def own_sign_only(point):
    weight, samples = rows(point)
    last = point.parameters["2/weight"]
    for k, neuron in enumerate(weight):
        same = np.asarray(last[0, k] * point.labels > 0, dtype=bool)
        yield holds(in_span(neuron, samples[same]), name="w_k in the span of the samples with the label of v_k")


@theorem.false_twin("the row space of W is the whole span of the samples", arithmetics=(RATIONAL,))
def fills_the_span(point):
    return holds(rank(point.parameters["0/weight"]) == rank(point.points), name="rank W = rank X")


@theorem.false_twin(
    "with a bias, the neurons lie in the span of the differences x_i - x_1",
    instances=stationary_points(biased=True, depths=(2,)),
    arithmetics=(RATIONAL,),
)
def differences(point):
    moved = point.points[1:] - point.points[:1]
    for neuron in point.parameters["0/weight"]:
        yield holds(in_span(neuron, moved), name="w_k in the span of the differences")


@theorem.false_twin(
    "with a bias, the neurons with their biases lie in the span of the (x_i, 0)",
    instances=stationary_points(biased=True, depths=(2,)),
    arithmetics=(RATIONAL,),
)
def without_constant(point):
    weight, samples = rows(point)
    flat = samples.copy()
    flat[:, -1] = 0 * flat[:, -1]
    for neuron in weight:
        yield holds(in_span(neuron, flat), name="(w_k, b_k) in the span of the (x_i, 0)")


@st.composite
def turned(draw):
    """A point whose last layer was changed: the same first layer, not stationary."""
    point = draw(stationary_points(depths=(2,)))
    moved = dict(point.parameters)
    moved["0/weight"] = moved["0/weight"] + np.eye(*moved["0/weight"].shape)
    return dataclasses.replace(point, parameters=Parameters(point.architecture, moved))


@theorem.false_twin("it holds at every θ", without=(STATIONARY,), instances=turned(), arithmetics=(RATIONAL,))
def at_every_point(point):
    yield from neurons_are_combinations(point)
