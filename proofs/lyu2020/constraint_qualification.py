r"""On separated data every optimum of the max-margin problem is a KKT point: its constraints are qualified by θ itself.

Let Φ be homogeneous of degree L in θ and let every sample have a margin q_i = y_i Φ(θ; x_i) > 0, with tangents h_i: gradients
or elements of Clarke's subdifferential. Then ⟨θ, y_i h_i⟩ = L q_i > 0, so that θ is a direction into the interior of all
constraints at once (Mangasarian and Fromovitz's qualification). Quantitatively, for all λ_i ≥ 0

.. math:: \|\theta\| \, \Big\| \sum_i \lambda_i y_i h_i \Big\| \ge L \sum_i \lambda_i q_i
          \ge L \min_i q_i \sum_i \lambda_i ,

with equality on the left if and only if Σ λ_i y_i h_i is a nonnegative multiple of θ: at KKT points.

Notes
-----
Cauchy and Schwarz, and Euler's identity, which holds for every tangent that backpropagation can produce. By Fritz John's
conditions a local optimum has multipliers, not all zero, with λ_0 θ = Σ λ_i y_i h_i; λ_0 = 0 would contradict the inequality,
so it may be set to 1. Two more consequences: the multipliers of a KKT point with margin 1 satisfy Σ λ_i = ‖θ‖²/L, and no
combination with λ ≥ 0, Σ λ_i = 1 of the tangents is shorter than L min q/‖θ‖: the cone of tangents is pointed, so that
nonnegative least squares for λ stays bounded even where tangents are dependent.

Source: Lyu and Li 2020 (arXiv:1906.05890), the lemma that the constraint qualification holds; its wording was not read. The
inequality is derived here.
"""

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import FLOAT64, RATIONAL
from provable.networks import Parameters, tangents
from provable.stationarity import degree_of_homogeneity
from provable.theorems import Source, Theorem, at_most, equal, less
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays
from provable.theorems.strategies.clarke_points import clarke_points
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""If \Phi is homogeneous of degree L, all margins q_i = y_i \Phi(\theta; x_i) are positive and
    \lambda_i >= 0, then for tangents h_i of \Phi at x_i
    \|\theta\| \|\sum_i \lambda_i y_i h_i\| >= L \sum_i \lambda_i q_i >= L \min_i q_i \sum_i \lambda_i, with equality on the
    left if \theta = \sum_i \lambda_i y_i h_i. So the constraints of the max-margin problem are qualified, and its local
    optima are KKT points.""",
    source=Source("arXiv:1906.05890", "constraint qualification", "from memory; the inequality is derived here"),
    expected="proved",
    does_not_say="that a KKT point is an optimum, even a local one",
)

HOMOGENEOUS, SEPARATED, NONNEGATIVE = "homogeneous network", "positive margins", "nonnegative multipliers"


@dataclasses.dataclass(frozen=True)
class Weighted:
    """A network with data, a KKT point or not, and numbers λ."""

    point: StationaryPoint
    multipliers: Any

    @property
    def degree(self):
        """L; for the networks of the counterexamples, which have none, the number of layers."""
        layers = self.point.architecture.layers
        if any(isinstance(layer, Linear) and layer.bias for layer in layers[1:]):
            return sum(isinstance(layer, Linear) for layer in layers)
        return degree_of_homogeneity(self.point.architecture)

    @property
    def tangents(self):
        """y_i h_i."""
        point = self.point
        return point.labels[:, None] * tangents(point.architecture, point.parameters, point.points)[:, 0]


@st.composite
def weighted(draw, moved=True):
    """A KKT point, or one that was moved off by multiplying its layers, with its multipliers or others."""
    point = draw(st.one_of(stationary_points(), clarke_points()))
    if moved and draw(st.booleans()):
        arrays = {name: array * draw(st.sampled_from((1.0, 2.0, 0.5))) for name, array in point.parameters.items()}
        point = dataclasses.replace(point, parameters=Parameters(point.architecture, arrays))
    count = len(point.labels)
    others = np.abs(draw(readable_arrays((count,))))
    return Weighted(point, point.multipliers if draw(st.booleans()) else others)


theorem.instances(weighted())


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(case):
    return not any(isinstance(layer, Linear) and layer.bias for layer in case.point.architecture.layers[1:])


@theorem.hypothesis(SEPARATED, arithmetic=RATIONAL)
def is_separated(case):
    return all(margin > 0 for margin in case.point.margins)


@theorem.hypothesis(NONNEGATIVE)
def is_nonnegative(case):
    return all(number >= 0 for number in case.multipliers)


@theorem.degenerate
def no_multipliers(case):
    return not np.any(case.multipliers != 0)


def squares(case, degree, rows=None, margins=None):
    """‖θ‖² ‖Σ λ_i y_i h_i‖² and (L Σ λ_i q_i)², with the number of roundings and a bound for what cancels."""
    rows, margins = (case.tangents, case.point.margins) if rows is None else (rows, margins)
    theta, combined = case.point.parameters.vector(), case.multipliers @ rows
    size = None
    if case.point.parameters.kind == "float64":
        size = float(theta @ theta) * float(np.abs(case.multipliers) @ np.linalg.norm(rows, axis=1)) ** 2
    left = (theta @ theta) * (combined @ combined)
    right = degree * (case.multipliers @ margins)
    return left, right * right, 2 * len(theta) + 2 * len(margins) + 8, size


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def theta_qualifies(case):
    theta, margins, rows = case.point.parameters.vector(), case.point.margins, case.tangents
    left, right, operations, size = squares(case, case.degree, rows, margins)
    yield at_most(right, left, operations=operations, magnitude=size, name="(L Σ λ_i q_i)² ≤ ‖θ‖² ‖Σ λ_i y_i h_i‖²")
    smallest = min(margins) * case.multipliers.sum()
    yield at_most(smallest, case.multipliers @ margins, operations=operations, name="min q Σ λ_i ≤ Σ λ_i q_i")
    lengths = None
    if case.point.parameters.kind == "float64":
        lengths = float(np.linalg.norm(theta) * np.max(np.linalg.norm(rows, axis=1)))
    products = rows @ theta
    yield equal(products, case.degree * margins, operations=operations, magnitude=lengths, name="⟨θ, y_i h_i⟩ = L q_i")
    yield less(0 * products, products, operations=operations, name="θ points into the interior: ⟨θ, y_i h_i⟩ > 0")
    explained = case.multipliers @ rows  # at KKT points θ times the denominator of the multipliers
    if np.all(explained == case.point.multiplier_denominator * theta):
        yield equal(left, right, operations=operations, magnitude=size, name="equality at KKT points")


@theorem.derivation
def cauchy_schwarz_and_euler():
    """Euler's identity gives ⟨θ, y_i h_i⟩ = L q_i for each sample; two samples and two coordinates are generic."""
    import sympy

    theta, first, second = (sympy.Matrix(sympy.symbols(f"{name}_1:3", real=True)) for name in "tgh")
    a, b = sympy.symbols("lambda_1 lambda_2", nonnegative=True)
    combined = a * first + b * second
    yield identity(
        "⟨θ, Σ λ_i y_i h_i⟩ = Σ λ_i ⟨θ, y_i h_i⟩",
        sympy.expand(theta.dot(combined) - a * theta.dot(first) - b * theta.dot(second)),
    )
    gap = theta.dot(theta) * combined.dot(combined) - theta.dot(combined) ** 2
    wedge = theta[0] * combined[1] - theta[1] * combined[0]
    yield identity("Lagrange: ‖θ‖²‖g‖² − ⟨θ, g⟩² = Σ_{j<k} (θ_j g_k − θ_k g_j)²", sympy.expand(gap - wedge**2))
    scale = sympy.Symbol("s", nonnegative=True)
    yield identity(
        "equality for g = s θ",
        sympy.expand(theta.dot(theta) * (scale * theta).dot(scale * theta)),
        sympy.expand(theta.dot(scale * theta) ** 2),
    )
    floor = sympy.Symbol("q", positive=True)
    d, e = sympy.symbols("d e", nonnegative=True)
    yield identity(
        "q_i = min q + d_i: Σ λ_i q_i − min q Σ λ_i = Σ λ_i d_i ≥ 0",
        sympy.expand(a * (floor + d) + b * (floor + e) - floor * (a + b)),
        a * d + b * e,
    )


def one_unit(points, labels, multipliers, output_bias=False):
    """Φ = relu(x) (+ 1) with both weights 1."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias))
    architecture = Architecture("one unit", (1,), layers, "logistic")
    parameters = Parameters.from_vector(architecture, np.ones(2 + output_bias))
    weights = np.array(multipliers)
    point = StationaryPoint(architecture, parameters, np.array(points)[:, None], 1.0, np.array(labels), weights, 1.0)
    return Weighted(point, weights)


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    return one_unit([1.0], [1.0], [1.0], output_bias=True)


@theorem.without(SEPARATED)
def a_contradicted_label():
    return one_unit([1.0], [-1.0], [1.0])


@theorem.without(NONNEGATIVE)
def opposite_multipliers():
    """The tangents at x = 1 and x = 2 are parallel: with λ = 2, −1 they cancel."""
    return one_unit([1.0, 2.0], [1.0, 1.0], [2.0, -1.0])


@theorem.false_twin("the factor is L + 1", arithmetics=(RATIONAL,))
def a_larger_factor(case):
    left, right, operations, size = squares(case, case.degree + 1)
    return at_most(right, left, operations=operations, magnitude=size)


@theorem.false_twin("equality for all multipliers", arithmetics=(RATIONAL,))
def always_equal(case):
    left, right, operations, size = squares(case, case.degree)
    return equal(left, right, operations=operations, magnitude=size)


@theorem.false_twin("at KKT points min q Σ λ_i is ‖θ‖², whatever the degree", instances=weighted(moved=False))
def without_the_degree(case):
    theta = case.point.parameters.vector()
    return equal(min(case.point.margins) * case.point.weights.sum(), theta @ theta, operations=64)


@st.composite
def flipped(draw):
    """One label contradicted."""
    case = draw(weighted())
    labels = case.point.labels.copy()
    labels[draw(st.integers(0, len(labels) - 1))] *= -1
    return dataclasses.replace(case, point=dataclasses.replace(case.point, labels=labels))


@theorem.false_twin("contradicted labels as well", without=(SEPARATED,), instances=flipped(), arithmetics=(RATIONAL,))
def contradicted(case):
    yield from theta_qualifies(case)


@st.composite
def signed(draw):
    """Multipliers of either sign."""
    case = draw(weighted())
    return dataclasses.replace(case, multipliers=draw(readable_arrays((len(case.point.labels),))))


@theorem.false_twin("multipliers of either sign", without=(NONNEGATIVE,), instances=signed(), arithmetics=(RATIONAL,))
def either_sign(case):
    yield from theta_qualifies(case)
