r"""A KKT point may be rescaled: at cθ the multipliers are c^{2−L} λ, free of scale for two layers only.

Let Φ be positively homogeneous of degree L in θ, and let θ be a KKT point of min ½‖θ‖² subject to y_i Φ(θ; x_i) ≥ m, with
multipliers λ. For every c > 0 then cθ is a KKT point of the problem with margin c^L m and has the multipliers c^{2−L} λ. In
particular θ/m^{1/L} is one with margin 1 and multipliers m^{(L−2)/L} λ.

Notes
-----
∂Φ(cθ) = c^{L−1} ∂Φ(θ) for c > 0 (for gradients, hence for their limits and convex hulls, which are Clarke's subdifferential),
so cθ = c Σ λ_i y_i h_i = Σ (c^{2−L} λ_i) y_i (c^{L−1} h_i). Training by gradient flow gives a direction and no scale: what a
reconstruction attack fits to θ is λ at whatever norm training stopped. Bounds on λ, such as the λ_min of the attack's
penalty, mean the same at every norm for L = 2, and for L ≠ 2 only after θ has been scaled.

L is the degree and not the number of layers: with monomials z^p it is larger. Exact instances with squares and cubes are one
unit that serves two or three orthogonal samples.

Source: Lyu and Li 2020 (arXiv:1906.05890), Theorem 4.4 for the KKT point that directions of gradient flow converge to; its
wording was not read. The scaling is derived here.
"""

import dataclasses
from typing import Any

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial, ReLU
from provable.arithmetic import FLOAT64, RATIONAL, constant
from provable.networks import Parameters
from provable.stationarity import degree_of_homogeneity
from provable.theorems import Source, Theorem, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""If \Phi is positively homogeneous of degree L in \theta and
    \theta = \sum_i \lambda_i y_i \nabla_\theta \Phi(\theta; x_i), then for every c > 0
    c\theta = \sum_i c^{2-L} \lambda_i y_i \nabla_\theta \Phi(c\theta; x_i), and y_i \Phi(c\theta; x_i) = c^L y_i
    \Phi(\theta; x_i). So \lambda does not depend on the scale of \theta if and only if L = 2.""",
    source=Source("arXiv:1906.05890", "Theorem 4.4", "the KKT conditions from memory; the scaling is derived here"),
    expected="proved",
    does_not_say="at which scale training stops",
)

HOMOGENEOUS, STATIONARY, POSITIVE = "homogeneous network", "stationarity", "positive factor"


@dataclasses.dataclass(frozen=True)
class Scaled:
    """A stationary point and a factor."""

    point: StationaryPoint
    factor: float

    @property
    def degree(self):
        """L; for the networks of the counterexamples, which have none, the number of layers."""
        layers = self.point.architecture.layers
        if any(isinstance(layer, Linear) and layer.bias for layer in layers[1:]):
            return sum(isinstance(layer, Linear) for layer in layers)
        return degree_of_homogeneity(self.point.architecture)

    def scaled(self, power: Any) -> StationaryPoint:
        """The point at cθ with multipliers c^power λ."""
        factor = constant(1, self.point.multipliers) * self.factor
        return dataclasses.replace(
            self.point,
            parameters=self.point.parameters.map_numbers(lambda array: array * factor),
            multipliers=self.point.multipliers * factor**power,
        )


def monomials(power, size, radii):
    """One unit v (w·x)^p for samples r_i e_i: w = v (1, …, 1) and λ_i = v^{1−p} r_i^{−p}/p."""
    count = len(radii)
    activation = Polynomial((0.0,) * power + (1.0,))
    architecture = Architecture(
        "powers", (count,), (Linear(1, bias=False), activation, Linear(1, bias=False)), "logistic"
    )
    parameters = Parameters.from_vector(architecture, size * np.ones(count + 1))
    multipliers = size ** (1 - power) * radii ** (-power)
    return StationaryPoint(architecture, parameters, np.diag(radii), 1.0, np.ones(count), multipliers, float(power))


@st.composite
def powers(draw):
    """Squares with two samples and cubes with three: then v = Σ λ_i (w·x_i)^p."""
    power, numbers = draw(st.sampled_from((2, 3))), st.sampled_from((1.0, 2.0, 0.5))
    return monomials(power, draw(numbers), np.array([draw(numbers) for _ in range(power)]))


FACTORS = st.sampled_from((2.0, 0.5, 3.0, 0.75, 1.0, 8.0))

theorem.instances(st.builds(Scaled, st.one_of(stationary_points(), powers()), FACTORS))


@theorem.hypothesis(HOMOGENEOUS)
def is_homogeneous(scaled):
    return not any(isinstance(layer, Linear) and layer.bias for layer in scaled.point.architecture.layers[1:])


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(scaled):
    return scaled.point.is_stationary


@theorem.hypothesis(POSITIVE)
def is_positive(scaled):
    return scaled.factor > 0


@theorem.degenerate
def no_change(scaled):
    return scaled.factor == 1


def size_of_sums(point):
    """Bound on the entries of Σ λ_i ∂Φ_i: every number replaced by its absolute value; None for exact numbers."""
    if point.parameters.kind != "float64":
        return None
    absolute = point.parameters.map_numbers(np.abs)
    positive = dataclasses.replace(
        point,
        parameters=absolute,
        inputs=np.abs(point.inputs),
        labels=np.abs(point.labels),
        multipliers=abs(point.multipliers),
    )
    return float(np.max(positive.explained.vector()))


def stationary_at(point, name):
    count = point.parameters.vector().size + len(point.labels) + 8 * len(point.architecture.layers)
    left, right = point.explained.vector(), point.parameters.vector()
    return equal(left, right, operations=count, magnitude=size_of_sums(point), name=name)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def scaled_point_is_stationary(scaled):
    degree, moved = scaled.degree, scaled.scaled(2 - scaled.degree)
    yield stationary_at(moved, "cθ = Σ c^{2−L} λ_i y_i ∇Φ(cθ; x_i)")
    factor = constant(1, moved.multipliers) * scaled.factor
    # outputs are sums over paths, with as many roundings as gradients, and may cancel
    size = None
    if moved.parameters.kind == "float64":
        size = float(np.max(np.abs(moved.parameters.vector()))) * float(np.sum(np.abs(moved.parameters.vector()))) ** (
            degree - 1
        )
        size *= float(np.max(np.abs(moved.points)) + 1) ** degree
    count = moved.parameters.vector().size + 8 * len(moved.architecture.layers)
    yield equal(
        moved.margins, factor**degree * scaled.point.margins, operations=count, magnitude=size, name="margins c^L"
    )


@theorem.derivation
def homogeneity_and_one_line():
    """Along one coordinate t of θ, of which Φ is any differentiable function; sums over samples and signs y are linear."""
    import sympy

    c, t, u, lam = sympy.symbols("c t u lambda", positive=True)
    L = sympy.Symbol("L", positive=True)
    phi, gradient = sympy.Function("phi"), sympy.Symbol("g")
    inner = sympy.Subs(sympy.diff(phi(u), u), u, c * t)
    yield identity(
        "chain rule: the derivative of θ ↦ Φ(cθ) is c (∂Φ)(cθ)", sympy.diff(phi(c * t), t).doit(), c * inner.doit()
    )
    yield identity(
        "so ∂Φ(cθ) = c^{L−1} ∂Φ(θ): c ∂Φ(cθ) = c^L ∂Φ(θ)", sympy.powsimp(c**L * gradient / c), c ** (L - 1) * gradient
    )
    yield identity(
        "c^{2−L} λ · c^{L−1} g = c · λ g",
        sympy.powsimp(c ** (2 - L) * lam * c ** (L - 1) * gradient),
        c * lam * gradient,
    )
    yield identity("c^{2−L} = 1 for all c at L = 2", (c ** (2 - L)).subs(L, 2), 1)
    yield identity("and its derivative in c at c = 1 is 2 − L", sympy.diff(c ** (2 - L), c).subs(c, 1), 2 - L)
    m = sympy.Symbol("m", positive=True)
    yield identity("margin m becomes 1 at c = m^{−1/L}", sympy.powsimp((m ** (-1 / L)) ** L * m, force=True), 1)


def one_unit(output_bias=False, factor=2.0, moved=1.0):
    """Φ = v relu(w x) (+ b) at x = y = λ = 1, stationary at w = v (and b = 1) unless a factor was moved."""
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=output_bias))
    architecture = Architecture("one unit", (1,), layers, "logistic")
    parameters = Parameters.from_vector(architecture, np.array([moved, 1.0 / moved] + [1.0] * output_bias))
    return Scaled(StationaryPoint(architecture, parameters, np.ones((1, 1)), 1.0, np.ones(1), np.ones(1), 1.0), factor)


@theorem.without(HOMOGENEOUS)
def an_output_bias():
    return one_unit(output_bias=True)


@theorem.without(STATIONARY)
def a_point_that_was_not_stationary():
    return one_unit(moved=2.0)


@theorem.without(POSITIVE)
def a_negative_factor():
    """ReLU units that were active are not at −θ."""
    return one_unit(factor=-1.0)


@theorem.false_twin("multipliers scale as the inverse margin, c^{−L}")
def inverse_margin(scaled):
    return stationary_at(scaled.scaled(-scaled.degree), "c^{−L} λ")


@theorem.false_twin("multipliers scale as c^{L−2}")
def upside_down(scaled):
    return stationary_at(scaled.scaled(scaled.degree - 2), "c^{L−2} λ")


@theorem.false_twin("multipliers are free of scale at every depth")
def free_of_scale(scaled):
    return stationary_at(scaled.scaled(0), "λ")


@theorem.false_twin(
    "L is the number of layers, whatever the activation", instances=st.builds(Scaled, powers(), FACTORS)
)
def number_of_layers(scaled):
    count = sum(isinstance(layer, Linear) for layer in scaled.point.architecture.layers)
    return stationary_at(scaled.scaled(2 - count), "c^{2−layers} λ")


@theorem.false_twin(
    "negative factors as well, with |c|",
    without=(POSITIVE,),
    instances=st.builds(Scaled, stationary_points(depths=(2,)), st.sampled_from((-1.0, -2.0))),
)
def negative_factors(scaled):
    return stationary_at(scaled.scaled(2 - scaled.degree), "c^{2−L} λ at c < 0")
