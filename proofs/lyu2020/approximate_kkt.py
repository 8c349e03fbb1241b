r"""A point where θ and −∇ℒ are aligned is an approximate KKT point of the max-margin problem, with explicit errors.

Let Φ be homogeneous of degree L, q_i = y_i Φ(θ; x_i) > 0 with the smallest q, ℒ = Σ_i ℓ(q_i) with the exponential or the
logistic loss, p_i = −ℓ'(q_i), g = −∇ℒ = Σ_i p_i y_i ∇Φ(θ; x_i), and β the cosine of the angle between θ and g. Put

.. math:: \tilde\theta = \theta / q^{1/L}, \qquad
          \lambda_i = q^{1 - 2/L}\, \frac{\langle\theta, g\rangle}{\|g\|^2}\, p_i > 0 .

Then y_i Φ(θ̃; x_i) ≥ 1, and with λ_* the multiplier of the smallest margin, f = 1 for the exponential and f = 1 + e^{−q}
for the logistic loss, and n samples,

.. math:: \Big\|\tilde\theta - \sum_i \lambda_i y_i \nabla\Phi(\tilde\theta; x_i)\Big\|
          = \sqrt{1 - \beta^2}\, \|\tilde\theta\|, \qquad
          0 \le \sum_i \lambda_i \big(y_i \Phi(\tilde\theta; x_i) - 1\big) \le \frac{(n-1) f}{e\,q} \lambda_*
          \le \frac{(n-1) f}{e\,q} \cdot \frac{\beta^2 \|\tilde\theta\|^2}{L} .

Notes
-----
∇Φ is homogeneous of degree L − 1, so the sum at θ̃ is the orthogonal projection of θ̃ onto g: of all multipliers in the
proportions of p these leave the least. Euler's identity gives ⟨θ, g⟩ = L Σ p_i q_i > 0 and
L Σ λ_i y_i Φ(θ̃; x_i) = β²‖θ̃‖². With d = q_i − q ≥ 0 the share p_i/p_* is at most f e^{−d}, and d e^{−d} ≤ 1/e, equal at
d = 1. The two errors measure two things: the second vanishes with the loss alone (q → ∞), and the first only with the
alignment. So training far beyond the threshold does not make a KKT point by itself, and both are computed from a trained
network and its data. At kinks of ReLU networks the equations hold with any slopes that are the same at θ and θ̃, and so do
the bounds, with the β of these slopes.

Source: Lyu and Li 2020 (arXiv:1906.05890), Section 4, whose wording was not read; their multipliers make both sides of
stationarity equally long, which leaves √(2 − 2β) ≥ √(1 − β²). The constants here are derived.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Identity, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import BALL, FLOAT64, exp, log, to_float
from provable.errors import InputError
from provable.networks import Parameters, forward, tangents, trace
from provable.stationarity import degree_of_homogeneity
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import fact, identity

theorem = Theorem(
    statement=r"""Let \Phi be homogeneous of degree L in \theta, q_i = y_i \Phi(\theta; x_i) > 0 with minimum q,
    g = -\nabla \sum_i \ell(q_i) for the exponential (f = 1) or logistic loss (f = 1 + e^{-q}), \beta = cos(\theta, g),
    \tilde\theta = \theta/q^{1/L} and \lambda_i = -\ell'(q_i) q^{1-2/L} \langle\theta, g\rangle/\|g\|^2. Then
    y_i \Phi(\tilde\theta; x_i) >= 1, \|\tilde\theta - \sum_i \lambda_i y_i \nabla\Phi(\tilde\theta; x_i)\| =
    \sqrt{1-\beta^2} \|\tilde\theta\| and \sum_i \lambda_i (y_i \Phi(\tilde\theta; x_i) - 1) <= (n-1) f \lambda_*/(e q) <=
    (n-1) f \beta^2 \|\tilde\theta\|^2/(e L q), where \lambda_* belongs to the smallest margin.""",
    source=Source("arXiv:1906.05890", "Section 4", "approximate KKT points, from memory; constants derived here"),
    expected="proved",
    does_not_say="that a KKT point is near: small errors bound no distance",
)

HOMOGENEOUS, POSITIVE = "homogeneous network", "positive margins"
ACTIVATIONS = (
    ReLU(),
    LeakyReLU(negative_slope=0.25),
    Identity(),
    Polynomial((0.0, 0.0, 1.0)),
    Polynomial((0.0, 0.0, 0.0, 0.5)),
)


@dataclass(frozen=True)
class Moment:
    """A network at one time of training, with its data and its loss."""

    architecture: Architecture
    parameters: Parameters
    points: Any
    labels: Any
    loss: str

    @property
    def degree(self):
        """L; for the networks of the counterexamples, which have none, the number of layers."""
        try:
            return degree_of_homogeneity(self.architecture)
        except InputError:
            return sum(isinstance(layer, Linear) for layer in self.architecture.layers)

    def margins(self, parameters):
        return self.labels * forward(self.architecture, parameters, self.points)[:, 0]

    def gradients(self, parameters):
        """y_i ∇Φ(θ; x_i)."""
        return self.labels[:, None] * tangents(self.architecture, parameters, self.points)[:, 0]


@st.composite
def moments(draw, samples=(2, 6), depths=(2, 1, 3)):
    """Weights and inputs are small whole numbers, labels the signs of the outputs, and no unit is on a kink."""
    depth, dimension = draw(st.sampled_from(depths)), draw(st.integers(1, 2))
    layers = []
    for level in range(depth):
        width = draw(st.integers(1, 2)) if level < depth - 1 else 1
        layers.append(Linear(width, bias=level == 0 and draw(st.booleans())))
        if level < depth - 1:
            layers.append(draw(st.sampled_from(ACTIVATIONS)))
    architecture = Architecture("moment", (dimension,), tuple(layers), "logistic")
    numbers = st.integers(-3, 3).filter(bool)
    count = architecture.parameter_count
    theta = np.array(draw(st.lists(numbers, min_size=count, max_size=count)), dtype=float)
    parameters = Parameters.from_vector(architecture, theta)
    size = draw(st.integers(*samples))
    points = np.array(draw(st.lists(numbers, min_size=size * dimension, max_size=size * dimension)), dtype=float)
    points = points.reshape(size, dimension)
    traced = trace(architecture, parameters, points)
    kept = (traced.output[:, 0] != 0) & (np.abs(traced.output[:, 0]) < 30)  # beyond, shares are rounding beside others
    for index, layer in enumerate(layers):
        if isinstance(layer, ReLU | LeakyReLU):
            kept &= (traced.inputs[str(index)] != 0).all(axis=1)
    loss = draw(st.sampled_from(("exponential", "logistic")))
    if not kept.any():
        return one_unit(1.0, [1.0, 3.0], [1.0, 1.0], loss)
    return Moment(architecture, parameters, points[kept], np.sign(traced.output[kept, 0]), loss)


def one_unit(weight, points, labels, loss, output_bias=None):
    """Φ = w relu(w x) (+ b)."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias is not None))
    architecture = Architecture("one unit", (1,), layers, "logistic")
    theta = [weight, weight] + ([] if output_bias is None else [output_bias])
    parameters = Parameters.from_vector(architecture, np.array(theta))
    return Moment(architecture, parameters, np.array(points)[:, None], np.array(labels), loss)


theorem.instances(moments())


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(moment):
    return not any(isinstance(layer, Linear) and layer.bias for layer in moment.architecture.layers[1:])


@theorem.hypothesis(POSITIVE)
def has_positive_margins(moment):
    return bool(to_float(moment.margins(moment.parameters)).min() > 0)


@theorem.degenerate
def one_sample(moment):
    return len(moment.labels) == 1


@dataclass(frozen=True)
class Scaled:
    """θ̃ with its multipliers, and what the bounds are made of."""

    theta: Any
    explained: Any
    multipliers: Any
    margins: Any
    smallest: int
    q: Any
    aligned: Any
    factor: Any
    degree: int
    operations: int


def scaled(moment, powerless=False):
    """Everything about θ̃; the multipliers have the power 1 − 2/L of q, unless they are to have none."""
    theta, margins, degree = moment.parameters.vector(), moment.margins(moment.parameters), moment.degree
    smallest = int(np.argmin(to_float(margins)))
    q = abs(margins[smallest])
    shares = exp(-(margins - margins[smallest]))  # ℓ' times a common factor, which the multipliers do not see
    if moment.loss == "logistic":
        shares = shares / (1 + exp(-margins))
    level = log(np.array([q]))
    descent = shares @ moment.gradients(moment.parameters)
    c = exp(-level / degree)[0]
    parameters = moment.parameters.map_numbers(lambda array: array * c)
    power = 0 if powerless else degree - 2
    scale = exp(level * power / degree)[0] * (theta @ descent) / (descent @ descent)
    multipliers = scale * shares
    factor = 1 + exp(np.array([-q]))[0] if moment.loss == "logistic" else 1 + 0 * q
    new = parameters.vector()
    return Scaled(
        new,
        multipliers @ moment.gradients(parameters),
        multipliers,
        moment.margins(parameters),
        smallest,
        q,
        (theta @ descent) ** 2 / ((theta @ theta) * (descent @ descent)) * (new @ new),
        factor,
        degree,
        # sums over parameters and samples, and through the layers, whose products have up to `degree` factors
        len(theta) + len(shares) + 8 * degree + 16,
    )


def stationarity(point):
    """‖θ̃ − Σ λ_i y_i ∇Φ‖² = (1 − β²)‖θ̃‖²."""
    gap, norm = point.theta - point.explained, point.theta @ point.theta
    size = float(to_float(norm + point.explained @ point.explained))
    return equal(gap @ gap, norm - point.aligned, operations=4 * point.operations, magnitude=size, name="stationarity")


def slack(point):
    """Σ λ_i (y_i Φ(θ̃; x_i) − 1), and the size of its terms."""
    return point.multipliers @ (point.margins - 1), float(to_float(point.multipliers @ (point.margins + 1)))


def bound(point, factor, count):
    """Complementary slackness with a factor f and n − 1 replaced by `count`."""
    e = exp(1 + 0 * np.array([point.q]))[0]
    left, size = slack(point)
    right = count * factor / (e * point.q) * point.multipliers[point.smallest]
    return at_most(left, right, operations=2 * point.operations, magnitude=size, name="complementary slackness")


@theorem.claim(arithmetics=(FLOAT64, BALL))
def approximate_kkt(moment):
    point, count = scaled(moment), len(moment.labels) - 1
    one = 1 + 0 * point.margins
    others = np.arange(count + 1) != point.smallest
    yield equal(point.margins[~others], one[~others], operations=point.operations, name="the smallest margin is one")
    yield at_most(one[others], point.margins[others], operations=point.operations, name="feasible: y_i Φ(θ̃; x_i) ≥ 1")
    yield at_most(0 * point.multipliers, point.multipliers, operations=1, name="λ ≥ 0")
    yield stationarity(point)
    yield bound(point, point.factor, count)
    last = point.multipliers[point.smallest]
    yield at_most(last, point.aligned / point.degree, operations=4 * point.operations, name="λ_* ≤ β²‖θ̃‖²/L")


@theorem.derivation
def projection_and_two_bounds():
    """Two coordinates are generic: everything lies in the plane of θ and g."""
    import sympy

    t1, t2, g1, g2 = sympy.symbols("theta_1 theta_2 g_1 g_2", real=True)
    c, L, q = sympy.symbols("c L q", positive=True)
    theta, g = sympy.Matrix([t1, t2]), sympy.Matrix([g1, g2])
    inner, squared, norm = theta.dot(g), g.dot(g), theta.dot(theta)
    # λ_i = c^{2−L} ⟨θ, g⟩/‖g‖² p_i, and ∇Φ(cθ) = c^{L−1} ∇Φ(θ)
    explained = c ** (2 - L) * inner / squared * c ** (L - 1) * g
    gap = c * theta - explained
    yield identity(
        "‖θ̃ − Σ λ_i y_i ∇Φ(θ̃)‖² = c²(‖θ‖² − ⟨θ, g⟩²/‖g‖²) = (1 − β²)‖θ̃‖²",
        sympy.simplify(gap.dot(gap) - c**2 * (norm - inner**2 / squared)),
    )
    yield identity(
        "c^{2−L} = q^{1−2/L} for c = q^{−1/L}", sympy.simplify((q ** (-1 / L)) ** (2 - L) / q ** (1 - 2 / L)), 1
    )
    yield identity(
        "⟨θ̃, Σ λ_i y_i ∇Φ(θ̃)⟩ = β²‖θ̃‖²", sympy.simplify(c * theta.dot(explained) - c**2 * inner**2 / squared)
    )
    p1, p2, q1, q2 = sympy.symbols("p_1 p_2 q_1 q_2", positive=True)
    scale = sympy.Symbol("kappa", positive=True)
    # ⟨θ̃, Σ λ_i y_i ∇Φ(θ̃)⟩ = L Σ λ_i y_i Φ(θ̃) by Euler's identity for every sample, with y_i Φ(θ̃) = q_i/q
    total = scale * (p1 * q1 + p2 * q2) / q
    slack = scale * (p1 * (q1 / q - 1) + p2 * (q2 / q - 1))
    yield identity("Σ λ_i (q_i/q − 1) = Σ λ_i q_i/q − Σ λ_i", sympy.expand(slack - total + scale * (p1 + p2)))
    yield fact(
        "one term of a sum of positive ones: λ_* ≤ Σ λ_i q_i/q, at q_* = q",
        sympy.expand(total.subs(q1, q) - scale * p1).is_positive,
    )
    d = sympy.Symbol("d", nonnegative=True)
    bump = d * sympy.exp(-d)
    slope = sympy.factor(sympy.diff(bump, d))
    yield identity(
        "(d e^{−d})' = (1 − d) e^{−d}: rising up to d = 1 and falling from there", slope, (1 - d) * sympy.exp(-d)
    )
    yield identity("so d e^{−d} ≤ 1/e, with equality at d = 1", bump.subs(d, 1), sympy.exp(-1))
    small, further = sympy.exp(-q), sympy.exp(-q - d)
    share = (further / (1 + further)) / (small / (1 + small))
    yield identity(
        "logistic: p_i/p_* = e^{−d}(1 + e^{−q})/(1 + e^{−q−d})",
        sympy.simplify(share - sympy.exp(-d) * (1 + small) / (1 + further)),
    )
    yield fact("whose denominator is above one", (1 + further - 1).is_positive)


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    return one_unit(1.0, [1.0], [1.0], "exponential", output_bias=1.0)


@theorem.without(POSITIVE)
def a_sample_on_the_wrong_side():
    return one_unit(1.0, [1.0], [-1.0], "exponential")


def one_further(more, loss):
    """Margins 1, 2, …, 2: what lies at d = 1 has the most slack."""
    return one_unit(1.0, [1.0] + [2.0] * more, np.ones(1 + more), loss)


@theorem.false_twin(
    "one sample's slack is enough, whatever their number",
    instances=st.builds(one_further, st.integers(2, 4), st.sampled_from(("exponential", "logistic"))),
)
def one_term(moment):
    point = scaled(moment)
    yield bound(point, point.factor, 1)


@theorem.false_twin(
    "the logistic loss has the exponential one's constant",
    instances=st.builds(one_further, st.integers(1, 2), st.just("logistic")),
)
def without_the_factor(moment):
    yield bound(scaled(moment), 1, len(moment.labels) - 1)


@theorem.false_twin("the residual is (1 − β)‖θ̃‖")
def one_minus_cosine(moment):
    point = scaled(moment)
    gap, norm = point.theta - point.explained, point.theta @ point.theta
    beta = exp(log(np.array([point.aligned / norm])) / 2)[0]
    yield equal(gap @ gap, (1 - beta) ** 2 * norm, operations=8 * point.operations, name="‖gap‖ = (1 − β)‖θ̃‖")


@theorem.false_twin("the multipliers need no power of q", instances=moments(depths=(3, 1)))
def without_the_power(moment):
    yield stationarity(scaled(moment, powerless=True))


@theorem.false_twin("a small loss makes both errors small: the residual is at most ‖θ̃‖/q")
def the_loss_alone(moment):
    point = scaled(moment)
    gap, norm = point.theta - point.explained, point.theta @ point.theta
    yield at_most(gap @ gap, norm / point.q**2, operations=4 * point.operations, name="‖gap‖ ≤ ‖θ̃‖/q")
