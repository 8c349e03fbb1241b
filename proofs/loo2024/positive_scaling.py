"""Without biases a ReLU network sees points up to positive scaling, at every depth: N of N(d + 1) unknowns stay open.

For f without biases and with ReLU (or leaky ReLU), of any depth and width and at every θ, f(cx) = c f(x) and ∇f(cx) = c ∇f(x)
for c > 0. So Σ α_j δ_{x_j} and Σ (α_j/c_j) δ_{c_j x_j} have the same embedding, and so they do for kernels of infinite width.
The Jacobian of (X, α) ↦ Σ α_j ∇f(x_j) maps the N directions (x_j, -α_j) to zero. Where the derivatives ∂_k ∇f(x_j) are
linearly independent and no α_j is zero, its null space is no larger, and its rank is N·d.

Notes
-----
Proof. relu(cz) = c·relu(z) and relu'(cz) = relu'(z), so activations scale with c and the signals that go backwards do not;
a tangent is made of products of one of each. By Euler, ∇f(x) = Σ_k x_k ∂_k ∇f(x). So the columns of the Jacobian are
combinations of the α_j ∂_k ∇f(x_j), N·d in number and, under the hypotheses, independent.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import BALL, FLOAT64, RATIONAL, constant, kind, rank
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, tangents
from provable.theorems import Source, Theorem, at_most, equal, holds, identity
from provable.theorems.strategies import readable_arrays, readable_directions

theorem = Theorem(
    statement=r"""Let $f$ be a network of any depth without biases and with ReLU or leaky ReLU, $c_j > 0$. Then
    $\sum_j \alpha_j\delta_{x_j}$ and $\sum_j (\alpha_j/c_j)\delta_{c_jx_j}$ have the same embedding, also in the limit of
    infinite width. If no $\alpha_j$ is zero, no unit has its kink at a point and the $Nd$ derivatives
    $\partial_k\nabla f(x_j)$ are independent, the Jacobian of $(X, \alpha) \mapsto \sum_j\alpha_j\nabla f(x_j)$ has rank
    $Nd$ out of $N(d + 1)$, and its null space is spanned by the directions $(x_j, -\alpha_j)$.""",
    source=Source("derived", note="about Theorem 1 of Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2"),
    expected="certified",
    does_not_say="nothing is said of points that labels tell apart, see loo2024.labels_fix_norms",
)

STEP = Fraction(1, 2**40)


@dataclass(frozen=True)
class Scaled:
    """A network, points (n, d) with coefficients (n,), and a factor for each point."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray
    factors: np.ndarray


def random_network(seed, dimension, hidden, activation, bias):
    """Readable random weights, wide enough to tell a few points apart; no row is zero."""
    generator, width, layers, values = np.random.default_rng(seed), 3, [], {}
    for index in range(hidden + 1):
        last = index == hidden
        shape = (1 if last else width, dimension if index == 0 else width)
        layers.append(Linear(shape[0], bias=bias and not last))
        # odd multiples of 1/8 are not zero
        values[f"{2 * index}/weight"] = (2 * generator.integers(-8, 8, shape) + 1) / 8.0
        if bias and not last:
            values[f"{2 * index}/bias"] = np.zeros(shape[0])
        if not last:
            layers.append(activation)
    return Parameters(Architecture("dense", (dimension,), tuple(layers), "squared"), values)


@st.composite
def scaled(draw, *, activation=None, bias=False, sign=1.0):
    dimension, count = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    description = activation or draw(st.sampled_from([ReLU(), LeakyReLU(negative_slope=0.25)]))
    theta = random_network(draw(st.integers(0, 999)), dimension, draw(st.integers(1, 2)), description, bias)
    factors = sign * np.array(draw(st.lists(st.sampled_from([0.5, 3.0, 0.3, 5.0]), min_size=count, max_size=count)))
    return Scaled(
        theta,
        draw(readable_directions(count, dimension)),
        draw(readable_arrays((count,), nonzero=True)),
        factors,
    )


theorem.instances(scaled())


def layers(case):
    return case.parameters.architecture.layers


@theorem.hypothesis("there are no biases")
def no_biases(case):
    return not any(layer.bias for layer in layers(case)[::2])


@theorem.hypothesis("the activation is positively homogeneous")
def homogeneous(case):
    return isinstance(layers(case)[1], ReLU | LeakyReLU)


@theorem.hypothesis("all factors are positive")
def positive_factors(case):
    return all(factor > 0 for factor in case.factors)


@theorem.hypothesis("no coefficient is zero")
def no_zero_coefficient(case):
    return all(float(alpha) != 0 for alpha in case.coefficients)


def pieces(case):
    """∂_k ∇f(x_j) as rows: differences over a step that stays inside the cell of x_j, where ∇f is affine."""
    architecture, step = case.parameters.architecture, constant(STEP, case.points)
    base = tangents(architecture, case.parameters, case.points)[:, 0]
    rows = []
    for axis in range(case.points.shape[1]):
        moved = case.points.copy()
        moved[:, axis] = moved[:, axis] + step
        rows.append((tangents(architecture, case.parameters, moved)[:, 0] - base) / step)
    return np.stack(rows, axis=1), base


@theorem.hypothesis("the derivatives of the tangents are independent", arithmetic=RATIONAL)
def independent_pieces(case):
    if not homogeneous(case):
        return True
    derivatives, base = pieces(case)
    flat = derivatives.reshape(-1, derivatives.shape[2])
    # a kink at a point, or one within the step, breaks Euler's identity for piecewise linear tangents
    euler = np.stack([x @ rows for x, rows in zip(case.points, derivatives, strict=True)])
    inside = not no_biases(case) or all(left == right for left, right in zip(euler.flat, base.flat, strict=True))
    return inside and rank(flat) == len(flat)


def measure(case, factors=None):
    if factors is None:
        return Measure(case.points, case.coefficients)
    return Measure(factors[:, None] * case.points, case.coefficients / factors)


def same_embedding(case, *, factors):
    theta = case.parameters
    left, right = (embed(theta.architecture, theta, m).vector() for m in (measure(case), measure(case, factors)))
    sizes = abs(tangents(theta.architecture, theta, case.points)[:, 0])
    size = float((abs(case.coefficients) @ sizes).max()) + 1e-300 if kind(case.points) == "float64" else None
    # at most 3 layers of sums of 3 products
    return equal(left, right, operations=20, magnitude=size, name="same embedding")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def only_products_are_seen(case):
    arithmetic = kind(case.points)
    if arithmetic == "ball":
        yield from at_infinite_width(case)
        return
    yield same_embedding(case, factors=case.factors)
    if arithmetic == "rational" and homogeneous(case) and no_biases(case):
        derivatives, base = pieces(case)
        columns = np.concatenate(
            [(alpha * rows) for alpha, rows in zip(case.coefficients, derivatives, strict=True)] + [base]
        )
        yield holds(rank(columns) == case.points.size, name="the Jacobian has rank N·d")


def at_infinite_width(case):
    kernel, scaled_measure = ntk(len(layers(case)) // 2, "relu"), measure(case, case.factors)
    plain = kernel(case.points) @ case.coefficients
    moved = kernel(case.points, scaled_measure.points) @ scaled_measure.coefficients
    # transcendental numbers: balls decide their equality to as many digits as one asks for
    size = abs(case.coefficients).sum() * (case.points * case.points).sum()
    yield at_most(abs(plain - moved), 0 * plain + size / 2**100, operations=40, name="same function of infinite width")


@theorem.derivation(covers="one layer, and the Jacobian of one point of the plane")
def homogeneity():
    import sympy as sp

    c = sp.symbols("c", positive=True)
    z, alpha = sp.symbols("z alpha", real=True, nonzero=True)
    relu = (z + sp.Abs(z)) / 2
    yield identity("relu(cz) = c·relu(z)", relu.subs(z, c * z), c * relu)
    yield identity("relu'(cz) = relu'(z)", sp.sign(c * z), sp.sign(z))
    x, y = sp.symbols("x y", real=True)
    g, h = sp.symbols("g h")  # the two derivatives of ∇f in the cell of (x, y)
    tangent = x * g + y * h
    direction = (
        x * sp.diff(alpha * tangent, x) + y * sp.diff(alpha * tangent, y) - alpha * sp.diff(alpha * tangent, alpha)
    )
    yield identity("the direction (x, -α) is in the null space", direction, 0)


def single(*, activation=None, bias=0.0, point=1.0, coefficient=1.0, factor=2.0):
    """One unit that looks at one point on the line."""
    weights = {"0/weight": np.array([[1.0]]), "2/weight": np.array([[1.0]])}
    network = (Linear(1, bias=bool(bias)), activation or ReLU(), Linear(1, bias=False))
    if bias:
        weights["0/bias"] = np.array([bias])
    theta = Parameters(Architecture("dense", (1,), network, "squared"), weights)
    return Scaled(theta, np.array([[point]]), np.array([coefficient]), np.array([factor]))


@theorem.without("there are no biases")
def a_bias():
    return single(bias=1.0)


@theorem.without("the activation is positively homogeneous")
def a_square():
    return single(activation=Polynomial((0.0, 0.0, 1.0)))


@theorem.without("all factors are positive")
def a_reflection():
    return single(factor=-1.0)


@theorem.without("no coefficient is zero")
def an_invisible_point():
    weights = {"0/weight": np.eye(2), "2/weight": np.ones((1, 2))}
    network = Architecture("dense", (2,), (Linear(2, bias=False), ReLU(), Linear(1, bias=False)), "squared")
    return Scaled(Parameters(network, weights), np.ones((1, 2)), np.zeros(1), np.array([2.0]))


@theorem.without("the derivatives of the tangents are independent")
def a_unit_that_is_off():
    return single(point=-1.0)


@theorem.false_twin(
    "biases that start at zero change nothing",
    without=("there are no biases",),
    instances=scaled(bias=True),
    arithmetics=(RATIONAL,),
)
def zero_biases(case):
    return same_embedding(case, factors=case.factors)


@theorem.false_twin("coefficients stay as they are while points scale", arithmetics=(RATIONAL,))
def unscaled_coefficients(case):
    theta = case.parameters
    moved = Measure(case.factors[:, None] * case.points, case.coefficients)
    left, right = (embed(theta.architecture, theta, m).vector() for m in (measure(case), moved))
    return equal(left, right, operations=60, name="same embedding")


@theorem.false_twin(
    "negative factors are invisible as well",
    without=("all factors are positive",),
    instances=scaled(sign=-1.0),
    arithmetics=(RATIONAL,),
)
def reflections(case):
    return same_embedding(case, factors=case.factors)


@theorem.false_twin("the Jacobian has full rank N(d + 1)", arithmetics=(RATIONAL,))
def full_rank(case):
    derivatives, base = pieces(case)
    columns = np.concatenate([derivatives.reshape(-1, derivatives.shape[2]), base])
    return holds(rank(columns) == case.points.size + len(case.points), name="rank N(d + 1)")
