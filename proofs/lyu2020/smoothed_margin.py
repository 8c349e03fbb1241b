r"""Along gradient flow on a homogeneous network the smoothed margin log(1/ℒ)/‖θ‖^L never decreases.

Let Φ be homogeneous of degree L and differentiable at θ, q_i = y_i Φ(θ; x_i) and ℒ = Σ_i e^{−q_i} < 1. Along θ' = −∇ℒ

.. math:: \frac{d}{dt} \log \frac{\log(1/\mathcal L)}{\|\theta\|^L}
          = \frac{\|\nabla\mathcal L\|^2}{\mathcal L \log(1/\mathcal L)} - \frac{L \langle\theta, -\nabla\mathcal L\rangle}
          {\|\theta\|^2} \ge 0 .

Notes
-----
With ν = Σ_i e^{−q_i} q_i, Euler's identity gives ⟨θ, −∇ℒ⟩ = Lν, and q_i ≥ log(1/ℒ) for each i (since e^{−q_i} ≤ ℒ) gives
ν ≥ ℒ log(1/ℒ) > 0. By Cauchy and Schwarz ‖∇ℒ‖² ≥ (Lν/‖θ‖)², so the rate is at least

.. math:: \frac{L^2 \nu}{\|\theta\|^2} \Big( \frac{\nu}{\mathcal L\log(1/\mathcal L)} - 1 \Big) \ge 0 .

It is zero only if θ is parallel to ∇ℒ and there is one sample. The smoothed margin lies between the normalised margin
min_i q_i/‖θ‖^L and that minus log(n)/‖θ‖^L; the normalised margin itself can decrease for a time (a false twin below). At
kinks of ReLU networks the argument needs an element of Clarke's subdifferential that obeys the chain rule along the flow.

Source: Lyu and Li 2020 (arXiv:1906.05890), Theorem 4.1 for the exponential loss; its wording was not read.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Identity, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import BALL, FLOAT64, exp, log, to_float
from provable.errors import InputError
from provable.networks import Parameters, forward, tangents
from provable.stationarity import degree_of_homogeneity
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import fact, identity

theorem = Theorem(
    statement=r"""If \Phi is homogeneous of degree L in \theta and differentiable at \theta, q_i = y_i \Phi(\theta; x_i) and
    \mathcal L = \sum_i e^{-q_i} < 1, then along \theta' = -\nabla\mathcal L the smoothed margin
    \log(1/\mathcal L)/\|\theta\|^L has a derivative >= 0:
    L \langle\theta, -\nabla\mathcal L\rangle \mathcal L \log(1/\mathcal L) <= \|\nabla\mathcal L\|^2 \|\theta\|^2.""",
    source=Source("arXiv:1906.05890", "Theorem 4.1", "for the exponential loss, from memory; derived here"),
    expected="proved",
    does_not_say="that the smallest margin over the norm's power increases at every time",
)

HOMOGENEOUS, BELOW = "homogeneous network", "loss below 1"
ACTIVATIONS = (
    ReLU(),
    LeakyReLU(negative_slope=0.25),
    Identity(),
    Polynomial((0.0, 0.0, 1.0)),
    Polynomial((0.0, 0.0, 0.0, 0.5)),
)


@dataclass(frozen=True)
class Moment:
    """A network at one time of training, with its data."""

    architecture: Architecture
    parameters: Parameters
    points: Any
    labels: Any

    @property
    def degree(self):
        """L; for the networks of the counterexamples, which have none, the number of layers."""
        try:
            return degree_of_homogeneity(self.architecture)
        except InputError:
            return sum(isinstance(layer, Linear) for layer in self.architecture.layers)

    @property
    def theta(self):
        return self.parameters.vector()

    @property
    def margins(self):
        return self.labels * forward(self.architecture, self.parameters, self.points)[:, 0]

    @property
    def tangents(self):
        """y_i ∇Φ(θ; x_i)."""
        return self.labels[:, None] * tangents(self.architecture, self.parameters, self.points)[:, 0]

    @property
    def shares(self):
        """e^{−q_i}."""
        return exp(-self.margins)

    @property
    def descent(self):
        """−∇ℒ."""
        return self.shares @ self.tangents


@st.composite
def moments(draw, samples=(1, 3)):
    """Weights and inputs are small whole numbers, labels the signs of the outputs."""
    depth, dimension = draw(st.sampled_from((2, 1, 1, 3))), draw(st.integers(1, 2))
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
    outputs = forward(architecture, parameters, points)[:, 0]
    kept = (outputs != 0) & (np.abs(outputs) < 30)  # beyond, e^{−q} is rounding beside the others
    points, outputs = points[kept], outputs[kept]
    if len(points) == 0:
        return one_unit(1.0, [1.0], [1.0])
    return Moment(architecture, parameters, points, np.sign(outputs))


def one_unit(weight, points, labels, output_bias=None):
    """Φ = w relu(w x) (+ b)."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias is not None))
    architecture = Architecture("one unit", (1,), layers, "logistic")
    theta = [weight, weight] + ([] if output_bias is None else [output_bias])
    parameters = Parameters.from_vector(architecture, np.array(theta))
    return Moment(architecture, parameters, np.array(points)[:, None], np.array(labels))


theorem.instances(moments())


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(moment):
    return not any(isinstance(layer, Linear) and layer.bias for layer in moment.architecture.layers[1:])


@theorem.hypothesis(BELOW, arithmetic=BALL)
def is_below(moment):
    return bool(moment.shares.sum() < 1)


@theorem.degenerate
def one_sample(moment):
    return len(moment.labels) == 1


def steps(moment, degree):
    """The bound for ν, and the rate of log(1/ℒ) against that of `degree` times log ‖θ‖."""
    theta, margins = moment.theta, moment.margins
    shares = exp(-margins)
    descent, loss = shares @ moment.tangents, shares.sum()
    level = loss * -log(np.array([loss]))[0]
    # margins and tangents are sums of small integers, exact in floats; exponentials and sums over samples and θ round
    count = len(theta) + len(shares) + 8
    yield at_most(level, shares @ margins, operations=count, name="ν ≥ ℒ log(1/ℒ)")
    yield at_most(
        degree * (theta @ descent) * level,
        (descent @ descent) * (theta @ theta),
        operations=3 * count,
        name="the smoothed margin does not decrease",
    )


@theorem.claim(arithmetics=(FLOAT64, BALL))
def smoothed_margin_increases(moment):
    yield from steps(moment, moment.degree)


@theorem.derivation
def two_inequalities():
    """Symbols for the quantities that enter; Euler's identity holds for each sample, Cauchy and Schwarz for any vectors."""
    import sympy

    L, nu, level, norm = sympy.symbols("L nu A N", positive=True)  # A = ℒ log(1/ℒ) and N = ‖θ‖²
    squared = sympy.Symbol("G", positive=True)  # ‖∇ℒ‖²
    loss, theta = sympy.Function("ell"), sympy.Function("rho")
    t = sympy.Symbol("t")
    smoothed = sympy.log(sympy.log(1 / loss(t))) - L * sympy.log(theta(t)) / 2  # ρ = ‖θ‖²
    rate = sympy.diff(smoothed, t).subs(sympy.Derivative(loss(t), t), -squared)
    rate = rate.subs(sympy.Derivative(theta(t), t), 2 * L * nu)
    expected = squared / (loss(t) * sympy.log(1 / loss(t))) - L * L * nu / theta(t)
    yield identity("the rate, with ℒ' = −‖∇ℒ‖² and (‖θ‖²)' = 2⟨θ, −∇ℒ⟩ = 2Lν", sympy.simplify(rate - expected))
    q, share, rest = sympy.symbols("q s r", positive=True)
    yield fact("log(1/(s + r)) ≤ log(1/s) = q at s = e^{−q}, r ≥ 0", (share + rest - share).is_nonnegative)
    yield identity("log(1/e^{−q}) = q", sympy.simplify(sympy.log(sympy.exp(q))), q)
    weight, other, floor = sympy.symbols("e_1 e_2 m", positive=True)
    first, second = sympy.symbols("d_1 d_2", nonnegative=True)  # q_i = m + d_i with m = log(1/ℒ)
    gap = weight * (floor + first) + other * (floor + second) - (weight + other) * floor
    yield identity("ν − ℒ log(1/ℒ) = Σ e^{−q_i} (q_i − log(1/ℒ))", sympy.expand(gap), weight * first + other * second)
    yield fact("which is not negative", sympy.expand(gap).is_nonnegative)
    bound = (L * nu) ** 2 / norm
    difference = bound / level - L * L * nu / norm
    yield identity(
        "at ‖∇ℒ‖² = (Lν)²/‖θ‖² the rate is L²ν/‖θ‖² (ν/A − 1)",
        sympy.simplify(difference - L**2 * nu / norm * (nu / level - 1)),
    )


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    return one_unit(1.0, [1.0], [1.0], output_bias=1.0)


@theorem.without(BELOW)
def samples_on_the_wrong_side():
    """Two copies with q = −1."""
    return one_unit(1.0, [1.0, 1.0], [-1.0, -1.0])


@theorem.false_twin("the power L + 1 of the norm as well")
def a_higher_power(moment):
    yield from steps(moment, moment.degree + 1)


@theorem.false_twin("the power is the number of layers, whatever the activation")
def number_of_layers(moment):
    count = sum(isinstance(layer, Linear) for layer in moment.architecture.layers)
    return equal(moment.theta @ moment.descent, count * (moment.shares @ moment.margins), operations=64)


def linear(shift):
    """Φ = w·x at w = (1, 1), with margins 2 and 3 of samples that pull in opposite directions."""
    architecture = Architecture("linear", (2,), (Linear(1, bias=False),), "logistic")
    parameters = Parameters.from_vector(architecture, np.ones(2))
    return Moment(architecture, parameters, np.array([[3.0, -1.0], [-shift, shift + 3.0]]), np.ones(2))


@theorem.false_twin(
    "the smallest margin over ‖θ‖^L does not decrease",
    instances=st.builds(linear, st.sampled_from((0.0, 1.0, 2.0, 4.0, 8.0))),
)
def normalised_margin(moment):
    """Its rate is ⟨∇q, −∇ℒ⟩/q − L⟨θ, −∇ℒ⟩/‖θ‖² for the sample with the smallest margin q."""
    margins = [float(number) for number in to_float(moment.margins)]
    smallest = int(np.argmin(margins))
    theta, descent = moment.theta, moment.descent
    rate = (moment.tangents[smallest] @ descent) * (theta @ theta)
    return at_most(
        moment.degree * (theta @ descent) * moment.margins[smallest],
        rate,
        operations=64,
        magnitude=float(np.abs(to_float(descent)).sum() * np.abs(to_float(theta)).max() * (theta @ theta)),
        name="the normalised margin does not decrease",
    )


@theorem.false_twin("ν = ℒ log(1/ℒ), for several samples as for one")
def equality(moment):
    loss = moment.shares.sum()
    return equal(moment.shares @ moment.margins, loss * -log(np.array([loss]))[0], operations=64, name="ν = ℒ log(1/ℒ)")


@theorem.false_twin("⟨θ, −∇ℒ⟩ = ν, without the degree")
def without_the_degree(moment):
    return equal(moment.theta @ moment.descent, moment.shares @ moment.margins, operations=64, name="⟨θ, −∇ℒ⟩ = ν")
