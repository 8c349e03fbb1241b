"""Biases that start at zero and are trained show of every ray the sums of α and of α‖x‖; one hidden layer shows less.

In the tangent kernel of a ReLU network whose biases are trained from zero, ∇f(ru) = r·A(u) + B(u) for r > 0: A from the
weights, B from the biases. So of the points on one ray only Σ α and Σ α‖x‖ are visible, at every depth and width: three
points on a ray are dependent, two are not, and a point of the training set may be split on its own ray, exactly.

At infinite width and with at least two hidden layers this is all that is lost. With one hidden layer more is: write
m(u) = Σ α‖x‖ and n(u) = Σ α on the ray of u. The measure is invisible exactly if m is odd and Σ m(u)·u = 0, and n is even and
Σ n(u) = 0. On a sphere ‖x‖ = r, m = r·n, so nothing is lost there. But two points on each of four rays, which form two
axes, are already dependent: δ of every axis carries (m, n) = (0, 1) on both of its rays, and the two axes cancel.

Notes
-----
Proof. relu(ru·w) = r·relu(u·w), relu'(ru·w) = relu'(u·w), and a derivative by a weight has one factor of the former, one by a
bias none. A and B belong to different parameters, so a measure is invisible if and only if Σ m(u)A(u) = 0 and
Σ n(u)B(u) = 0. One hidden layer: A is the bias-free tangent (loo2024.even_part_and_first_moment). B has the kernel
1 + σ_w²κ_0/2, and κ_0 = ½ + asin(u)/π is a constant plus an odd series with positive coefficients. More layers: both kernels
have all powers of the cosine (loo2024.depth_sees_all_directions).
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import BALL, FLOAT64, RATIONAL, kind, sqrt
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, tangents
from provable.theorems import Source, Theorem, at_most, equal, holds, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $f$ be a ReLU network whose biases start at zero and are trained. Then $\nabla f(ru) = rA(u) + B(u)$ for
    $r > 0$, so $\sum_i\alpha_i\delta_{x_i}$ is invisible if $\sum\alpha_i = 0$ and $\sum\alpha_i\|x_i\| = 0$ on every ray. At
    infinite width, for the tangent kernel and $x_i \ne 0$, this is necessary from two hidden layers on. With one hidden
    layer, the measure is invisible if and only if $m(u) = \sum\alpha_i\|x_i\|$ is odd in the direction $u$ with
    $\sum m(u)u = 0$, and $n(u) = \sum\alpha_i$ is even with $\sum n(u) = 0$.""",
    source=Source("derived"),
    expected="certified",
)


@dataclass(frozen=True)
class OnRays:
    """A finite network, axes (a, d), factors and coefficients (a, f) of the points factor·axis, and the kernel's depth."""

    parameters: Parameters
    axes: np.ndarray
    factors: np.ndarray
    coefficients: np.ndarray
    depth: int
    biases: str


def network(seed, dimension, hidden, *, bias=0.0):
    """Readable random weights without zeros; all hidden biases have one value."""
    generator, width, layers, values = np.random.default_rng(seed), 3, [], {}
    for index in range(hidden + 1):
        last = index == hidden
        shape = (1 if last else width, dimension if index == 0 else width)
        layers.append(Linear(shape[0]))
        values[f"{2 * index}/weight"] = (2 * generator.integers(-8, 8, shape) + 1) / 8.0
        values[f"{2 * index}/bias"] = np.full(shape[0], 0.0 if last else bias)
        if not last:
            layers.append(ReLU())
    return Parameters(Architecture("dense", (dimension,), tuple(layers), "squared"), values)


AXES = {1: [[1.0]], 2: [[1.0, 0.0], [1.0, -2.0]]}


@st.composite
def on_rays(draw, *, special=None):
    """Few axes with up to five points each; `special` fills two axes with four points each."""
    dimension = 2 if special else draw(st.integers(1, 2))
    axes = np.array(AXES[dimension][: 2 if special else draw(st.integers(1, 2))])
    factors = np.tile(
        np.array([1.0, 2.0, -1.0, -3.0, 4.0][: 4 if special else draw(st.integers(1, 5))]), (len(axes), 1)
    )
    coefficients = draw(readable_arrays(factors.shape, nonzero=special is not None))
    special = special or draw(st.sampled_from(["none", "rays", "axes", "parity"]))
    if special == "rays" and factors.shape[1] == 5:  # zero and first moments vanish on the ray of 1, 2, 4
        coefficients[:] = np.array([2.0, -3.0, 0.0, 0.0, 1.0]) * coefficients[:, :1]
    elif special in ("axes", "parity") and factors.shape[1] >= 4:  # (m, n) = (0, c) on both rays of an axis
        last = -coefficients[:-1, 0].sum() if special == "axes" else 1.0
        masses = np.append(coefficients[:-1, 0], last)[:, None]
        pattern = np.array([2.0, -1.0, 1.5, -0.5, 0.0])[: factors.shape[1]]
        coefficients = masses * pattern + 0.0
    theta = network(draw(st.integers(0, 999)), dimension, draw(st.integers(1, 2)))
    return OnRays(theta, axes, factors, coefficients, 1 if special else draw(st.integers(1, 2)), "zero-initialised")


theorem.instances(on_rays())


@theorem.hypothesis("biases start at zero and are trained", arithmetic=RATIONAL)
def zero_biases(case):
    hidden = len(case.parameters.architecture.layers) // 2
    at_zero = all(entry == 0 for index in range(hidden) for entry in case.parameters[f"{2 * index}/bias"])
    return at_zero and case.biases == "zero-initialised"


@theorem.hypothesis("no point is zero", arithmetic=RATIONAL)
def no_zero_point(case):
    return all(factor != 0 for factor in case.factors.reshape(-1)) and all(axis.any() for axis in case.axes)


def points(case):
    return (case.factors[:, :, None] * case.axes[:, None, :]).reshape(-1, case.axes.shape[1])


def moments(case, row, sign):
    """Σ α|factor| and Σ α on one ray."""
    pairs = list(zip(case.factors[row], case.coefficients[row], strict=True))
    members = [(sign * factor, alpha) for factor, alpha in pairs if sign * factor > 0]
    return sum(factor * alpha for factor, alpha in members), sum(alpha for _, alpha in members)


def invisible(case):
    """Whether the moments are those of an invisible measure at infinite width; small dyadic numbers, exact."""
    rays = [(moments(case, row, 1), moments(case, row, -1)) for row in range(len(case.axes))]
    if case.depth > 1:
        return all(number == 0 for pair in rays for ray in pair for number in ray)
    parity = all(plus[0] + minus[0] == 0 and plus[1] - minus[1] == 0 for plus, minus in rays)
    first = sum(plus[0] * axis for (plus, _), axis in zip(rays, case.axes, strict=True))
    return parity and all(entry == 0 for entry in first) and sum(plus[1] for plus, _ in rays) == 0


def vanishes_exactly_if(case, condition):
    kernel = ntk(int(case.depth), "relu", bias_variance=1.0 if case.biases == "random" else 0.0, biases=case.biases)
    gram, alpha = kernel(points(case)), case.coefficients.reshape(-1)
    value, size = alpha @ gram @ alpha, abs(alpha) @ sqrt(np.diagonal(gram).copy())
    if condition:
        # transcendental numbers: balls decide their equality to as many digits as one asks for
        return at_most(abs(value), size * size / 2**100, operations=40, name="the form is zero, to 30 digits")
    return less(size * size / 2**100, value, operations=40, name="the form is positive")


def merged_on_rays(case):
    """Every ray's points written as two: at its axis and at twice its axis, with the same two moments."""
    places, weights = [], []
    for row, axis in enumerate(case.axes):
        for sign in (1, -1):
            moment, mass = moments(case, row, sign)
            places += [sign * axis, 2 * sign * axis]
            weights += [2 * mass - moment, moment - mass]
    return Measure(np.array(places), np.array(weights))


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def what_is_seen(case):
    if kind(case.axes) == "ball":
        yield vanishes_exactly_if(case, invisible(case))
        return
    theta = case.parameters
    plain = Measure(points(case), case.coefficients.reshape(-1))
    left, right = (embed(theta.architecture, theta, m).vector() for m in (plain, merged_on_rays(case)))
    size = None
    if kind(case.axes) == "float64":
        at = merged_on_rays(case).points
        sizes = abs(tangents(theta.architecture, theta, np.concatenate([plain.points, 3 * at]))[:, 0])
        size = float(sizes.max() * (1 + 8 * abs(case.coefficients).sum()))
    # at most 20 points, 3 layers of 3 units
    yield equal(left, right, operations=40, magnitude=size, name="only two moments of every ray are seen")


@theorem.derivation(covers="one unit, and the kernel of the biases of one hidden layer")
def two_moments():
    import sympy as sp

    r = sp.symbols("r", positive=True)
    z, a = sp.symbols("z a", real=True, nonzero=True)
    relu, slope = (z + sp.Abs(z)) / 2, (1 + sp.sign(z)) / 2
    yield identity("the output weight sees r·relu(z)", relu.subs(z, r * z), r * relu)
    yield identity("the bias sees a·relu'(z) for every r", a * slope.subs(z, r * z), a * slope)
    u = sp.symbols("u", real=True)
    kappa_0 = sp.Rational(1, 2) + sp.asin(u) / sp.pi
    yield identity("κ_0 - ½ is odd", (kappa_0 + kappa_0.subs(u, -u)).simplify(), 1)
    y, s = sp.symbols("y s")
    share = (s - 2 * y) / -1  # weights 2y - s at 1 and s - y at 2 have mass y and moment s
    yield identity("two points on a ray carry any two moments", share + 2 * (s - y), s)


def two_points(bias=0.0, biases="zero-initialised", factors=(1.0, 2.0, 4.0), coefficients=(2.0, -3.0, 1.0)):
    theta = network(0, 1, 1, bias=bias)
    return OnRays(theta, np.array([[1.0]]), np.array([factors]), np.array([coefficients]), 1, biases)


@theorem.without("biases start at zero and are trained")
def random_biases():
    return two_points(bias=-1.0, biases="random")


@theorem.without("no point is zero")
def a_point_at_zero():
    return two_points(factors=(0.0, 1.0), coefficients=(1.0, 0.0))


@theorem.false_twin(
    "one hidden layer shows both moments of every ray", instances=on_rays(special="axes"), arithmetics=(BALL,)
)
def moments_of_rays(case):
    rays = [moments(case, row, sign) for row in range(len(case.axes)) for sign in (1, -1)]
    return vanishes_exactly_if(case, all(number == 0 for ray in rays for number in ray))


@theorem.false_twin("every point is seen", arithmetics=(BALL,))
def every_point(case):
    return vanishes_exactly_if(case, all(alpha == 0 for alpha in case.coefficients.reshape(-1)))


@theorem.false_twin("only the products α‖x‖ are seen, as without biases", arithmetics=(RATIONAL,))
def products_alone(case):
    theta = case.parameters
    factors = [Fraction(1), Fraction(-1)]
    places = np.concatenate([int(sign) * case.axes for sign in factors])
    weights = np.array([moments(case, row, int(sign))[0] for sign in factors for row in range(len(case.axes))])
    plain = Measure(points(case), case.coefficients.reshape(-1))
    left, right = (embed(theta.architecture, theta, m).vector() for m in (plain, Measure(places, weights)))
    return equal(left, right, operations=40, name="same embedding")


@theorem.false_twin(
    "parity of m and n is enough with one hidden layer", instances=on_rays(special="parity"), arithmetics=(BALL,)
)
def parity_alone(case):
    if case.depth > 1:
        return holds(True, name="nothing is claimed")
    rays = [(moments(case, row, 1), moments(case, row, -1)) for row in range(len(case.axes))]
    return vanishes_exactly_if(case, all(plus[0] + minus[0] == 0 and plus[1] - minus[1] == 0 for plus, minus in rays))
