"""Without biases and with an odd activation, (α, x) and (-α, -x) cannot be told apart, and nothing else is lost.

For erf and tanh without biases, of any depth and width and at every θ, f(-x) = -f(x) and ∇f(-x) = -∇f(x). So δ_x and -δ_{-x}
have the same embedding, and the point zero is invisible. At infinite width that is all: for nonzero points, no two of them
opposite or equal, the Gram matrices of both kernels are positive definite. Norms are identified, unlike with ReLU. A measure
is thus determined up to its even part: Σ c_i k(·, x_i) = 0 if and only if the odd part Σ c_i(δ_{x_i} - δ_{-x_i}) is zero.

Notes
-----
Proof. Oddness passes through every layer; a tangent has one factor that is odd in x (the activation) and one
that is even (the signal that goes backwards, made of σ', which is even). Conversely let Σ c_i σ(w·x_i) = 0 for all w,
with one hidden layer. For almost every w the |t_i| = |w·x_i| are distinct and not zero; the Taylor coefficients at s = 0
of Σ c_i σ(s·t_i) give Σ c_i t_iᵏ = 0 for all odd k, since all odd Taylor coefficients of erf and tanh differ from zero,
and c_i t_i = 0 by Vandermonde's determinant in t_i². Deeper layers repeat this with the features of the layer before,
which are again nonzero, distinct and not opposite.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Erf, Linear, Polynomial
from provable.arithmetic import BALL, FLOAT64, RATIONAL, determinant, kind, sqrt
from provable.kernels import nngp, ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, tangents
from provable.theorems import Source, Theorem, at_most, equal, identity, less
from provable.theorems.strategies import readable_arrays, readable_directions

theorem = Theorem(
    statement=r"""Let $f$ have no biases and an odd activation. Then $\nabla f(-x) = -\nabla f(x)$ at any depth, width and
    $\theta$, and $\sum_ic_i\delta_{x_i}$ has the embedding of $-\sum_ic_i\delta_{-x_i}$. At infinite width and for erf
    (or any odd activation whose odd Taylor coefficients are all nonzero), the Gram matrix of nonzero points, no two of
    them equal or opposite, is positive definite, for the tangent and the Gaussian-process kernel of any depth $\ge
    1$.""",
    source=Source("derived"),
    expected="certified",
)


@dataclass(frozen=True)
class Points:
    """A finite network, points (n, d) with coefficients (n,), and which kernel of infinite width."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray
    tangent: bool
    bias_variance: float


ODD = (Erf(), Polynomial((0.0, 1.0, 0.0, -0.25)))


def network(seed, dimension, hidden, activation, *, bias=0.0):
    """Readable random weights without zeros; biases of one value if it is not zero."""
    generator, width, layers, values = np.random.default_rng(seed), 2, [], {}
    for index in range(hidden + 1):
        last = index == hidden
        shape = (1 if last else width, dimension if index == 0 else width)
        layers.append(Linear(shape[0], bias=bool(bias) and not last))
        values[f"{2 * index}/weight"] = (2 * generator.integers(-4, 4, shape) + 1) / 8.0
        if bias and not last:
            values[f"{2 * index}/bias"] = np.full(shape[0], bias)
        if not last:
            layers.append(activation)
    return Parameters(Architecture("dense", (dimension,), tuple(layers), "squared"), values)


@st.composite
def points(draw, *, activations=ODD, bias=0.0, opposite=False):
    dimension, count = draw(st.integers(1, 2)), draw(st.integers(1, 3))
    places = draw(readable_directions(count, dimension))
    if opposite:
        places = np.vstack([places, -places[:1]])
    if draw(st.booleans()):  # several points on one ray
        places = np.vstack([places, 2 * places[:1]])
    activation = draw(st.sampled_from(activations))
    theta = network(draw(st.integers(0, 999)), dimension, draw(st.integers(1, 2)), activation, bias=bias)
    # with full mantissas, so that float64 has to round
    coefficients = 0.3 * draw(readable_arrays((len(places),)))
    return Points(theta, places, coefficients, draw(st.booleans()), bias * bias)


theorem.instances(points())


def layers(case):
    return case.parameters.architecture.layers


@theorem.hypothesis("there are no biases", arithmetic=RATIONAL)
def no_biases(case):
    return case.bias_variance == 0 and not any(layer.bias for layer in layers(case)[::2])


@theorem.hypothesis("the activation is odd", arithmetic=RATIONAL)
def odd_activation(case):
    activation = layers(case)[1]
    return isinstance(activation, Erf) or not any(activation.coefficients[::2])


@theorem.hypothesis("no point is zero and no two are equal or opposite", arithmetic=RATIONAL)
def up_to_sign(case):
    for i, x in enumerate(case.points):
        if not x.any() or any(not (x - z).any() or not (x + z).any() for z in case.points[:i]):
            return False
    return True


@theorem.claim(arithmetics=(FLOAT64, BALL))
def odd_and_otherwise_definite(case):
    yield twisted(case)
    if kind(case.points) == "ball":
        yield definite(case)


def twisted(case):
    theta = case.parameters
    plain, mirrored = Measure(case.points, case.coefficients), Measure(-case.points, -case.coefficients)
    left, right = (embed(theta.architecture, theta, m).vector() for m in (plain, mirrored))
    if kind(case.points) == "ball":
        return at_most(abs(left - right), 0 * left + 2.0**-100, operations=40, name="the same embedding, to 30 digits")
    size = None
    if kind(case.points) == "float64":
        sizes = abs(tangents(theta.architecture, theta, case.points)[:, 0])
        size = float((abs(case.coefficients) @ sizes).max()) + 1e-300
    # chains of 3 layers of at most 2 products, an activation of a few roundings each
    return equal(left, right, operations=20, magnitude=size, name="the same embedding")


def definite(case):
    """det G > 2⁻⁹⁰(tr G)ⁿ: not only positive, so that balls can refute it where G is singular."""
    family = ntk if case.tangent else nngp
    gram = family(len(layers(case)) // 2, "erf", bias_variance=float(case.bias_variance))(case.points)
    floor = np.trace(gram) ** len(gram) / 2**90
    return less(floor, determinant(gram), operations=60, name="the Gram matrix is positive definite")


@theorem.derivation(covers="one unit, and three points")
def parity_and_vandermonde():
    import sympy as sp

    class h(sp.Function):  # its derivative has a name: SymPy's own form of it at -z is not always the same
        def fdiff(self, argindex=1):
            return sp.Function("slope")(self.args[0])

    z = sp.symbols("z", real=True)
    sigma = h(z) - h(-z)
    slope = sp.diff(sigma, z).doit()
    yield identity("an odd activation", sigma.subs(z, -z, simultaneous=True), -sigma)
    yield identity("has an even derivative", slope.subs(z, -z, simultaneous=True).doit(), slope)
    t = sp.symbols("t0:3", positive=True)
    powers = sp.Matrix(3, 3, lambda k, i: t[i] ** (2 * k + 1))
    product = t[0] * t[1] * t[2] * (t[1] ** 2 - t[0] ** 2) * (t[2] ** 2 - t[0] ** 2) * (t[2] ** 2 - t[1] ** 2)
    yield identity("odd moments of distinct positive t are independent", powers.det(), sp.expand(product))


def one_unit(activation, *, bias=0.0, place=1.0):
    return Points(network(0, 1, 1, activation, bias=bias), np.array([[place]]), np.ones(1), True, bias * bias)


@theorem.without("there are no biases")
def a_bias():
    return one_unit(ODD[1], bias=0.5)


@theorem.without("the activation is odd")
def a_square():
    return one_unit(Polynomial((0.0, 1.0, 1.0)))


@theorem.without("no point is zero and no two are equal or opposite")
def opposite_points():
    return Points(network(0, 1, 1, ODD[1]), np.array([[1.0], [-1.0]]), np.ones(2), True, 0.0)


@theorem.false_twin(
    "opposite points are told apart",
    without=("no point is zero and no two are equal or opposite",),
    instances=points(opposite=True),
    arithmetics=(BALL,),
)
def opposites(case):
    return definite(case)


@theorem.false_twin(
    "biases do not matter", without=("there are no biases",), instances=points(bias=0.5), arithmetics=(FLOAT64, BALL)
)
def with_biases(case):
    return twisted(case)


@theorem.false_twin("points on one ray merge, as with ReLU", arithmetics=(BALL,))
def rays_merge(case):
    family = ntk if case.tangent else nngp
    kernel = family(len(layers(case)) // 2, "erf")
    twice = kernel(2 * case.points, case.points)
    size = sqrt(np.diagonal(kernel(case.points)).copy()).sum() ** 2
    gap = abs(twice - 2 * kernel(case.points))
    return at_most(gap, 0 * gap + size / 2**60, operations=40, name="k(2x, z) = 2k(x, z)")


@theorem.false_twin("mirroring keeps coefficients", arithmetics=(FLOAT64, BALL))
def unchanged_coefficients(case):
    theta = case.parameters
    measures = (Measure(case.points, case.coefficients), Measure(-case.points, case.coefficients))
    left, right = (embed(theta.architecture, theta, m).vector() for m in measures)
    if kind(case.points) == "ball":
        return at_most(abs(left - right), 0 * left + 2.0**-100, operations=40)
    return equal(left, right, operations=20)
