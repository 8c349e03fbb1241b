r"""Without a bias, the gradient of the logistic loss has one or two preimages, and which is known exactly.

A linear head f = w·x without bias is trained with the logistic loss log(1 + e^(-yf)), y = ±1. One sample's gradient g tells
u = y f only through ⟨g, w⟩ = φ(u) = -u/(1 + e^u). φ falls strictly from +∞ to its minimum -(u* - 1) at
u* = 1 + W₀(1/e) = 1.2784645…, and then rises strictly to 0 without reaching it. So with the label known the gradient has
exactly one preimage if u ≤ 0 (the sample is misclassified) or u = u*, and exactly two otherwise: x and its twin
x' = (u'/u) x. With t = u/(1 + e^u) the margins are

    t - W₀(-t eᵗ)   (the smaller one)      and      t - W₋₁(-t eᵗ)   (the larger one, only for t > 0).

Notes
-----
.. math:: \varphi'(u) = -\frac{1 + e^u - u e^u}{(1+e^u)^2} = 0 \iff (u-1)\,e^{u-1} = e^{-1},
          \qquad \frac{u}{1+e^u} = t \iff (t-u)\,e^{t-u} = -t\,e^t .

Two data have equal gradients, x'/(1 + e^{u'}) = x/(1 + e^u), only if they are positive multiples of one another, and then
if and only if φ(u') = φ(u).

Source: Zhu and Blaschko, R-GAP, arXiv:2010.07733: "twin data". The equation is in the authors' code, which solves it by
30 000 steps of Adam; that twins exist is said on the authors' page. The paper's wording was not read; the count of the
preimages and the closed form are derived here. Where the label is unknown too, (-x, -y) has the same gradient and the
number of preimages doubles. A bias settles u: see ``chen2022.fully_connected_leakage``.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.layers import Linear
from provable.arithmetic import constant, exp, kind, to_float
from provable.networks import Parameters, forward, loss_gradient
from provable.theorems import BALL, FLOAT64, Source, Theorem, at_most, different, equal, fact, identity, less
from provable.theorems.strategies import arrays, readable_arrays

theorem = Theorem(
    statement=r"""For f = w·x without bias, y = ±1 known and u = y f, the gradient -y x/(1+e^u) of log(1+e^(-yf)) has exactly
    one preimage x if u <= 0 or u = u* = 1 + W_0(1/e), and exactly two otherwise, whose margins are t - W_0(-t e^t) and
    t - W_{-1}(-t e^t) with t = u/(1+e^u).""",
    source=Source(
        "arXiv:2010.07733",
        "Section on twin data",
        "equation read in the authors' code; count of preimages and closed form derived here",
    ),
    expected="proved",
)


@dataclass(frozen=True)
class Case:
    """A logistic head, a sample with its label, a factor c for the rival sample c x, and two margins to compare φ at."""

    parameters: Parameters
    inputs: np.ndarray
    label: np.ndarray
    factor: float
    margins: np.ndarray


MINIMUM = 1.0 + float(flint.arb(-1).exp().lambertw())


def readable_margins():
    return st.integers(-24, 24).map(lambda number: number / 4)


def close_margins(width):
    return st.floats(-width, width).map(lambda deviation: MINIMUM * (1 + deviation))


def margin_pairs(draw, margins):
    return np.sort(np.array([draw(margins), draw(margins)]))


def draw_head(draw, *, bias=False, margins=None):
    dimension = draw(st.integers(1, 3))
    numbers = draw(readable_arrays((2 * dimension + bias,), nonzero=True))
    weights, inputs = numbers[None, :dimension], numbers[None, dimension : 2 * dimension]
    if margins is None:
        inputs = draw(arrays((1, dimension)))
        output = float(inputs[0] @ weights[0])
        target = draw(st.sampled_from(("as drawn", "any size", "near the minimum")))
        if target != "as drawn" and abs(output) > 0.05:
            deviation = draw(st.sampled_from((1.0, -1.0))) * 10.0 ** draw(st.floats(-6.0, 0.9))
            margin = deviation if target == "any size" else MINIMUM + deviation / 10
            weights = weights * (margin / output)
        margins = st.one_of(readable_margins(), close_margins(0.3))
    layers = {"0/weight": weights} | ({"0/bias": numbers[2 * dimension :]} if bias else {})
    architecture = Architecture("logistic head", (dimension,), (Linear(1, bias=bias),), "logistic")
    return Case(
        Parameters(architecture, layers),
        inputs,
        np.array([draw(st.sampled_from((1.0, -1.0)))]),
        draw(st.sampled_from((2.0, 0.5, 0.75, -1.0))),
        margin_pairs(draw, margins),
    )


@theorem.instances
def heads(draw):
    return draw_head(draw)


@theorem.hypothesis("the head has no bias")
def without_bias(case):
    return "0/bias" not in case.parameters


def lambert(argument, branch):
    """W₀ or W₋₁ of a float or a ball."""
    if kind(argument) == "ball":
        return argument.lambertw(branch)
    # Beside the branch point SciPy 1.17 loses all digits of W₋₁ + 1, so a ball's midpoint serves floats as well.
    found = flint.arb(float(argument)).lambertw(branch)
    return float(found) if found.is_finite() else -1.0  # rounding took the argument below -1/e


def minimum_place(like):
    """u* = 1 + W₀(1/e)."""
    return 1 + lambert(exp(constant(-1, like)), 0)


def phi(margin):
    return -margin / (1 + exp(margin))


def gradient(case, inputs):
    return loss_gradient(case.parameters.architecture, case.parameters, inputs, case.label).vector()


def margin_of(case):
    """u = y f(x)."""
    return (case.label * forward(case.parameters.architecture, case.parameters, case.inputs)[:, 0])[0]


def observed_phi(case):
    """φ(u) as an observer computes it: the inner product of gradient and weight."""
    found = loss_gradient(case.parameters.architecture, case.parameters, case.inputs, case.label)
    return (found["0/weight"] * case.parameters["0/weight"]).sum()


def preimages(value, bias=0):
    """Margins u with φ(u) = value: the one up to u* and, for negative values, the one from u* on.

    With a bias, u stands for y w·x and φ for -u / (1 + e^(u + bias)).
    """
    t = -value
    argument = -t * exp(t + bias)
    smaller = t - lambert(argument, 0)
    return (smaller, t - lambert(argument, -1)) if t > 0 else (smaller,)


def condition(case, *margins):
    """Growth of relative errors: cancellation in w·x, then the exponential of each margin."""
    terms = to_float(case.parameters["0/weight"] * case.inputs)
    cancellation = np.abs(terms).sum() / abs(terms.sum()) if terms.sum() else 1.0
    return float(cancellation * (1 + sum(abs(float(margin)) for margin in margins)))


@theorem.claim(arithmetics=(FLOAT64, BALL))
def one_or_two_preimages(case):
    u, value = margin_of(case), observed_phi(case)
    place = minimum_place(u)
    # Products of at most four numbers, one exponential, one quotient.
    yield equal(value, phi(u), operations=8, condition=condition(case, u), name="<g, w> = φ(u)")
    candidates = preimages(value)
    own = 1 if u > place else 0
    slope = abs(float((1 + exp(u) - u * exp(u)) / (1 + exp(u)) ** 2))
    if len(candidates) > own and slope > 1e-12:
        # An error of φ shows in u divided by the slope φ'(u), which vanishes at u*.
        sensitivity = condition(case, u) * max(1.0, abs(float(value)) / slope)
        magnitude = max(1.0, abs(float(u)))
        yield equal(
            candidates[own], u, operations=8, condition=sensitivity, magnitude=magnitude, name="the closed form gives u"
        )
    if len(candidates) == 2:
        # Beside the branch point an error ε of the argument moves W₀ and W₋₁ by √ε.
        yield at_most(candidates[0], place, operations=8, name="the smaller margin is at most u*", condition=2**26)
        yield at_most(place, candidates[1], operations=8, name="the larger margin is at least u*", condition=2**26)
        for found in candidates:
            yield equal(
                gradient(case, (found / u) * case.inputs),
                gradient(case, case.inputs),
                operations=16,
                condition=condition(case, u, found),
                name="the twin has the same gradient",
            )
    # Rivals so close to a twin that float64 could not tell them apart are left out.
    rival = case.factor * case.inputs
    if np.any(rival != case.inputs) and not any(abs(float(case.factor * u - found)) < 1e-6 for found in candidates):
        yield different(
            gradient(case, rival),
            gradient(case, case.inputs),
            operations=16,
            condition=condition(case, u, case.factor * u),
            name="every other sample has another gradient",
        )
    yield shape_of_phi(case, place)


def shape_of_phi(case, place):
    """φ falls up to a place and rises after it, at the two margins of the case."""
    first, second = case.margins
    yield at_most(1 - place, phi(second), operations=8, name="φ(u) >= -(u* - 1)")
    # φ is flat at u*: float64 has no different values for margins closer than this.
    apart = float(second - first) > 1e-6
    if apart and second <= place:
        yield less(phi(second), phi(first), operations=8, name="φ falls up to u*")
    if apart and first >= place:
        yield less(phi(first), phi(second), operations=8, name="φ rises after u*")


@theorem.derivation
def calculus_of_phi():
    import sympy

    weight, point, other = sympy.symbols("w:2", real=True), sympy.symbols("x:2", real=True), sympy.Symbol("c")
    u, v, t, s = sympy.symbols("u v t s", real=True)
    for y in (1, -1):
        output = weight[0] * point[0] + weight[1] * point[1]
        loss = sympy.log(1 + sympy.exp(-y * output))
        entries = [loss.diff(one) for one in weight]
        yield identity(
            f"dL/dw = -y x / (1 + e^u), y = {y}",
            sympy.Matrix(entries) + sympy.Matrix(point) * y / (1 + sympy.exp(y * output)),
            sympy.zeros(2, 1),
        )
        inner = sum(entry * one for entry, one in zip(entries, weight, strict=True))
        yield identity(f"<dL/dw, w> = φ(u), y = {y}", inner, phi_symbolic(y * output))
    yield identity(
        "x'/(1 + e^u') = x/(1 + e^u) makes x' = c x with c = (1 + e^u')/(1 + e^u), and c u = u' means φ(u') = φ(u)",
        (other * u / (1 + sympy.exp(v)) - u / (1 + sympy.exp(u))).subs(other, (1 + sympy.exp(v)) / (1 + sympy.exp(u))),
        0,
    )
    shape = 1 + sympy.exp(u) - u * sympy.exp(u)
    yield identity(
        "φ' = -h/(1 + e^u)^2 with h = 1 + e^u - u e^u", phi_symbolic(u).diff(u), -shape / (1 + sympy.exp(u)) ** 2
    )
    yield identity("h = 1 + (1 - u) e^u, so h > 1 for u <= 0", shape, 1 + (1 - u) * sympy.exp(u))
    yield identity("h' = -u e^u: h falls strictly for u > 0", shape.diff(u), -u * sympy.exp(u))
    yield fact(
        "h(0) = 2 and h(2) < 0, so h has exactly one zero u*, and 0 < u* < 2",
        shape.subs(u, 0) == 2 and shape.subs(u, 2) < 0,
    )
    yield identity(
        "h = 0 is (u - 1) e^(u-1) = 1/e, so u* = 1 + W_0(1/e)",
        ((u - 1) * sympy.exp(u - 1) - sympy.exp(-1)) * sympy.exp(1),
        -shape,
    )
    yield identity(
        "where h = 0, that is e^u = 1/(u - 1), φ(u) = -(u - 1)",
        phi_symbolic(u).subs(sympy.exp(u), 1 / (u - 1)),
        -(u - 1),
    )
    limits = [sympy.limit(phi_symbolic(u), u, end) for end in (-sympy.oo, sympy.oo)]
    yield fact("φ(-∞) = ∞, φ(0) = 0, φ(∞) = 0", [*limits, phi_symbolic(u).subs(u, 0)] == [sympy.oo, 0, 0])
    yield fact(
        "φ < 0 for u > 0 and φ >= 0 for u <= 0: the sign of -u",
        sympy.simplify(phi_symbolic(u) * (1 + sympy.exp(u)) + u) == 0,
    )
    yield identity(
        "s = t - u turns u/(1 + e^u) = t into s e^s = -t e^t",
        (u - t * (1 + sympy.exp(u))).subs(u, t - s) * sympy.exp(s),
        -(s * sympy.exp(s) + t * sympy.exp(t)),
    )
    yield identity(
        "u < t + 1 is s > -1, the branch W_0; u > t + 1 the branch W_-1; at u* both: u* = t + 1",
        (t - s).subs(s, -1),
        t + 1,
    )


def phi_symbolic(margin):
    import sympy

    return -margin / (1 + sympy.exp(margin))


@theorem.without("the head has no bias")
def a_bias_enters_the_margin():
    architecture = Architecture("logistic head", (1,), (Linear(1, bias=True),), "logistic")
    layers = {"0/weight": np.array([[1.0]]), "0/bias": np.array([1.0])}
    return Case(Parameters(architecture, layers), np.array([[1.0]]), np.array([1.0]), 2.0, np.array([0.0, 1.0]))


def heads_with_readable_margins(draw):
    return draw_head(draw, margins=readable_margins())


def heads_with_margins_near_the_minimum(draw):
    return draw_head(draw, margins=close_margins(0.02))


def heads_with_bias(draw):
    return draw_head(draw, bias=True, margins=readable_margins())


@theorem.false_twin("φ falls up to 1.01 u*", instances=heads_with_margins_near_the_minimum)
def minimum_one_percent_later(case):
    first, second = case.margins
    place = minimum_place(first) * constant(101, first) / 100
    yield at_most(place, place, operations=1, name="nothing is claimed behind that place")
    if first < second and second <= place:
        yield less(phi(second), phi(first), operations=8, name="φ falls up to 1.01 u*")


@theorem.false_twin("φ never falls below -0.99 (u* - 1)", instances=heads_with_margins_near_the_minimum)
def minimum_one_percent_higher(case):
    bound = (1 - minimum_place(case.margins[0])) * constant(99, case.margins[0]) / 100
    return at_most(bound, phi(case.margins[1]), operations=8, name="φ(u) >= -0.99 (u* - 1)")


@theorem.false_twin(
    "a margin of at most 1 has no twin: φ(v) < φ(u) for all v > u", instances=heads_with_readable_margins
)
def unique_below_one(case):
    first, second = case.margins
    yield at_most(first, second, operations=1, name="the margins are in order")
    if first < second and first <= 1:
        yield less(phi(second), phi(first), operations=8, name="φ(v) < φ(u)")


@theorem.false_twin("the margins of twins have the mean u*", instances=heads_with_readable_margins)
def symmetric_about_the_minimum(case):
    found = preimages(observed_phi(case))
    mean = (found[0] + found[-1]) / 2 if len(found) == 2 else minimum_place(found[0])
    return equal(mean, minimum_place(found[0]), operations=8, condition=2**26, name="(u + u')/2 = u*")


@theorem.false_twin("the margins are t - W(-t e^(-t))", instances=heads_with_readable_margins)
def sign_of_the_exponent(case):
    value = observed_phi(case)
    found = -value - lambert(value * exp(value), 0)
    return equal(phi(found), value, operations=8, name="φ(t - W_0(-t e^(-t))) = φ(u)")


@theorem.false_twin("with a bias there are twins too", without=("the head has no bias",), instances=heads_with_bias)
def twins_in_spite_of_a_bias(case):
    bias = (case.label * case.parameters["0/bias"])[0]
    part = margin_of(case) - bias  # y w·x
    yield at_most(bias, bias, operations=1, name="nothing is claimed of w·x of the wrong sign")
    if part > 0:
        found = preimages(observed_phi(case), bias)
        other = max(found, key=lambda margin: abs(float(margin - part)))
        yield equal(
            gradient(case, (other / part) * case.inputs),
            gradient(case, case.inputs),
            operations=16,
            condition=2**26,
            name="the other solution has the same gradient",
        )
