"""Labels orient: where the antipodes of one hidden layer are confused, the trained function at -x_j tells x_j from -x_j.

One hidden ReLU layer without biases leaves open, for training points on different axes, on which side of its axis each of
them lies (loo2024.even_part_and_first_moment): every x_j may be -x_j as long as the first moment m = Σ α_i x_i is kept.
But the trained function h = Σ α_i k(·, x_i) is known on the whole space, being a function of what is visible, and so is
|y_j| for labels ±1. Where norms are known, h has to take the value ±|y_j| at the training point, so the side is decided
if |h(-x_j)| ≠ |h(x_j)|. As h(z) - h(-z) = (σ_w⁴/d)·m·z,

    h(-x_j) = y_j - (σ_w⁴/d)·m·x_j,

the label leaves the side of x_j open exactly if m·x_j = 0 or m·x_j = 2d·y_j/σ_w⁴: two hyperplanes for each axis, which
data in general position avoid. All is said of a single axis at a time, so it holds for any number of points and does not
need the other sides. The finite network has h(z) - h(-z) = z·g with g_k = Σ_j (a_j·Δw_jk + w_jk·Δa_j), and the same two
hyperplanes.

Notes
-----
Proof. relu(z) - relu(-z) = z makes h(z) - h(-z) linear. |y - s| = |y| holds for real numbers exactly if s = 0 or s = 2y.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import BALL, FLOAT64, RATIONAL, kind
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, tangents
from provable.theorems import Source, Theorem, at_most, equal, holds, identity
from provable.theorems.strategies import readable_arrays, readable_directions

theorem = Theorem(
    statement=r"""Let $h = \sum_i\alpha_ik(\cdot, x_i)$ with the tangent kernel of one hidden ReLU layer without biases, of
    finite width (no $w_j^Tx_i$ on a kink) or infinite. Then $h(x) - h(-x) = g^Tx$,
    with $g = (\sigma_w^4/d)\sum_i\alpha_ix_i$ at
    infinite width, and with $y_j = h(x_j)$, $|h(-x_j)| = |h(x_j)|$ if and only if $g^Tx_j \in \{0, 2y_j\}$. Otherwise
    $|y_j|$ and $\|x_j\|$ tell on which side of its axis $x_j$ lies.""",
    source=Source("derived"),
    expected="certified",
    does_not_say="norms have to be known: labels cannot give norms and sides at once",
)


@dataclass(frozen=True)
class Fitted:
    """A network, training points (n, d) and their coefficients."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray


def network(weights, biases=None):
    """A dense ReLU network with scalar output from its weight matrices; biases of the hidden layers start at zero."""
    layers, values = [], {}
    for index, weight in enumerate(weights):
        weight, last = np.array(weight, dtype=float), index == len(weights) - 1
        layers.append(Linear(len(weight), bias=bool(biases) and not last))
        values[f"{2 * index}/weight"] = weight
        if biases and not last:
            values[f"{2 * index}/bias"] = np.zeros(len(weight))
        if not last:
            layers.append(ReLU())
    return Parameters(Architecture("dense", (np.shape(weights[0])[1],), tuple(layers), "squared"), values)


@st.composite
def fitted(draw, *, hidden=1, biases=False):
    dimension, count, width = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
    sizes = [width * dimension, *[width * width] * (hidden - 1), width, count]
    numbers = np.split(draw(readable_arrays((sum(sizes),), nonzero=True)), np.cumsum(sizes)[:-1])
    # small odd parts keep the units off their kinks at readable points
    first = numbers[0].reshape(width, dimension) + 1 / np.array([8.0, 32.0, 128.0])[:dimension]
    weights = [first, *(inner.reshape(width, width) for inner in numbers[1:hidden]), numbers[hidden][None]]
    points = draw(readable_directions(count, dimension))
    coefficients = numbers[-1]
    special = draw(st.sampled_from(["none", "moment", "odd"])) if count > 1 else "none"
    if special == "moment":  # the first moment vanishes, and nothing is oriented
        points[-1], coefficients[-1] = -(coefficients[:-1] @ points[:-1]) + 0.0, 1.0
    elif special == "none":
        coefficients = 0.3 * coefficients  # with full mantissas, so that float64 has to round
    elif special == "odd":  # h is odd if every unit has a mirror image: the antipode has the opposite label
        weights = (
            [np.vstack([weights[0], -weights[0]]), np.hstack([weights[1], weights[1]])] if hidden == 1 else weights
        )
        points, coefficients = np.array([points[0], -points[0] + 0.0]), np.array([coefficients[0], -coefficients[0]])
    return Fitted(network(weights, biases), points, coefficients)


theorem.instances(fitted())


def layers(case):
    return case.parameters.architecture.layers


@theorem.hypothesis("there is one hidden layer", arithmetic=RATIONAL)
def one_hidden_layer(case):
    return len(layers(case)) == 3


@theorem.hypothesis("there are no biases", arithmetic=RATIONAL)
def no_biases(case):
    return not any(layer.bias for layer in layers(case)[::2])


@theorem.hypothesis("no unit has its kink at a point", arithmetic=RATIONAL)
def no_kinks(case):
    return all(
        z != 0 or not x.any()
        for x, row in zip(case.points, case.points @ case.parameters["0/weight"].T, strict=True)
        for z in row
    )


def trained(case, at):
    theta = case.parameters
    change = embed(theta.architecture, theta, Measure(case.points, case.coefficients)).vector()
    return tangents(theta.architecture, theta, at)[:, 0] @ change


def linear_part(case):
    """g with g_k = Σ_j (a_j Δw_jk + w_jk Δa_j)."""
    theta = case.parameters
    change = embed(theta.architecture, theta, Measure(case.points, case.coefficients))
    weight, output = theta["0/weight"], theta["2/weight"][0]
    return output @ change["0/weight"] + change["2/weight"][0] @ weight


def magnitude(case):
    """The size of the terms that the trained function sums, on either side."""
    theta = case.parameters
    near, far = (abs(tangents(theta.architecture, theta, sign * case.points)[:, 0]) for sign in (1, -1))
    change = abs(case.coefficients) @ near
    return float(((near + far) @ change).max()) + 1e-300


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def the_other_side(case):
    arithmetic = kind(case.points)
    if arithmetic == "ball":
        yield from at_infinite_width(case)
        return
    here, there = trained(case, case.points), trained(case, -case.points)
    if len(layers(case)) == 3:
        odd = case.points @ linear_part(case)
        # 3 units of 3 inputs and 3 points: chains of fewer than 20 roundings
        size = magnitude(case) if arithmetic == "float64" else None
        yield equal(here - there, odd, operations=20, magnitude=size, name="h(x) - h(-x) = g·x")
    else:
        odd, total = here - there, case.points.sum(axis=0, keepdims=True)
        both = trained(case, total) - trained(case, -total)
        yield equal(both, odd.sum(keepdims=True), operations=20, magnitude=1e3, name="h(x) - h(-x) is additive")
    if arithmetic == "rational":
        for y, s, value in zip(here, odd, there, strict=True):
            yield holds((value * value == y * y) == (s == 0 or s == 2 * y), name="|h(-x)| = |y| iff g·x is 0 or 2y")


def at_infinite_width(case):
    kernel = ntk(len(layers(case)) // 2, "relu")
    moment, dimension = case.coefficients @ case.points, case.points.shape[1]
    here = kernel(case.points) @ case.coefficients
    there = kernel(-case.points, case.points) @ case.coefficients
    gap = abs(here - there - 4 * (case.points @ moment) / dimension)
    size = (1 + abs(case.coefficients).sum()) * (case.points * case.points).sum()
    # transcendental numbers: balls decide their equality to as many digits as one asks for
    yield at_most(gap, 0 * gap + size / 2**100, operations=40, name="h(x) - h(-x) = (σ_w⁴/d)·m·x at infinite width")


@theorem.derivation(covers="one unit")
def two_hyperplanes():
    import sympy as sp

    z, y, s = sp.symbols("z y s", real=True)
    relu = (z + sp.Abs(z)) / 2
    yield identity("relu(z) - relu(-z) = z", relu - relu.subs(z, -z), z)
    yield identity("(y - s)² - y² = s(s - 2y)", (y - s) ** 2 - y**2, s * (s - 2 * y))


@theorem.without("there is one hidden layer")
def two_hidden_layers():
    return Fitted(network([[[1, 0.5], [0.5, -1]], [[1, 2], [1, -1]], [[1, 1]]]), np.eye(2), np.ones(2))


@theorem.without("there are no biases")
def a_bias():
    return Fitted(network([[[1.0]], [[1.0]]], biases=True), np.array([[1.0]]), np.ones(1))


@theorem.without("no unit has its kink at a point")
def a_point_on_a_kink():
    return Fitted(network([[[0, 1]], [[1]]]), np.array([[1.0, 0.0], [0.5, 1.0]]), np.ones(2))


@theorem.false_twin("the antipode always has another label", arithmetics=(RATIONAL,))
def always_oriented(case):
    here, there = trained(case, case.points), trained(case, -case.points)
    return holds(all(a * a != b * b for a, b in zip(here, there, strict=True)), name="|h(-x)| differs from |y|")


@theorem.false_twin("only g·x = 0 leaves the side open", arithmetics=(RATIONAL,))
def one_hyperplane(case):
    here, there = trained(case, case.points), trained(case, -case.points)
    open_sides = [a * a == b * b for a, b in zip(here, there, strict=True)]
    flat = [s == 0 for s in case.points @ linear_part(case)]
    return holds(open_sides == flat, name="|h(-x)| = |y| iff g·x = 0")


@theorem.false_twin("h is even: h(-x) = y", arithmetics=(RATIONAL,))
def even_function(case):
    return equal(trained(case, case.points), trained(case, -case.points), operations=30)


@theorem.false_twin(
    "biases that start at zero change nothing",
    without=("there are no biases",),
    instances=fitted(biases=True),
    arithmetics=(RATIONAL,),
)
def zero_biases(case):
    return equal(
        trained(case, case.points) - trained(case, -case.points), case.points @ linear_part(case), operations=30
    )
