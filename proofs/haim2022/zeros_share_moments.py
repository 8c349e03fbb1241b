r"""What zeros of the stationarity loss share with the data: the moments of every activation pattern, and nothing else.

Let Φ(x) = Σ_k v_k relu(w_k·x + b_k). Samples with one activation pattern D ∈ {0, 1}^m see Φ as one affine function of x, and
so do their tangents: a signed measure Σ_j c_j δ_{x_j} enters Σ_j c_j ∇_θ Φ(θ; x_j) through

.. math:: C_D = \sum_{x_j \in D} c_j, \qquad M_D = \sum_{x_j \in D} c_j x_j

alone. Two measures with the same moments for every pattern have the same tangent sum. Conversely, if no output weight is zero
and the patterns that occur in either measure are linearly independent, measures with the same tangent sum have the same
moments M_D, and with a first-layer bias the same C_D.

Notes
-----
∂/∂w_k is v_k Σ_D D_k M_D and ∂/∂b_k is v_k Σ_D D_k C_D, while ∂/∂v_k = Σ_D D_k (w_k·M_D + b_k C_D) follows from both. For
independent patterns D the first two determine M_D and C_D. So a zero of the loss with all data in one cell knows a mean and
a sum of multipliers: d + 1 numbers for N (d + 1) unknowns. Dependent patterns lose more: of two neurons g and −g and a third
one that is always on, patterns (1, 0, 1), (0, 1, 1), (1, 1, 1), (0, 0, 1) satisfy one relation, and moments may be moved
along it.

Source: derived; the corrected form of the heuristic of arXiv:2206.07758 that zeros are training data.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, positive, rank
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let \Phi(x) = \sum_k v_k relu(w_k \cdot x + b_k), with or without biases, and let \mu, \nu be signed atomic
    measures. If \sum c and \sum c x over the atoms with activation pattern D agree for every D, then
    \sum c \nabla_\theta \Phi(\theta; x) agree. If these agree, all v_k \ne 0, and the patterns that occur are linearly
    independent, then \sum c x agree for every pattern D, and with biases \sum c as well.""",
    source=Source("arXiv:2206.07758", "section 4", "the heuristic behind the attack, corrected; derived here"),
    expected="proved",
    does_not_say="that the atoms agree: measures with the same moments are many",
)


@dataclass(frozen=True)
class Measures:
    """A network and two measures."""

    parameters: Parameters
    first: Measure
    second: Measure

    @property
    def biased(self):
        """Whether the first layer has a bias."""
        return "0/bias" in self.parameters

    def patterns(self, measure):
        """Activation patterns of the atoms, one row each."""
        before = measure.points @ self.parameters["0/weight"].T
        return positive(before + self.parameters["0/bias"] if self.biased else before)

    def moments(self, measure):
        """For every pattern that occurs, Σ c x and, with a bias, Σ c in front."""
        result = {}
        for pattern, x, c in zip(self.patterns(measure), measure.points, measure.coefficients, strict=True):
            row = c * np.concatenate([x, [x[0] * 0 + 1]]) if self.biased else c * x
            key = tuple(int(bool(entry != 0)) for entry in pattern)
            result[key] = result[key] + row if key in result else row
        return result

    def tangents(self, measure):
        """Σ c ∇Φ."""
        return embed(self.parameters.architecture, self.parameters, measure).vector()

    def moments_agree(self):
        """Whether the moments of all patterns agree; a pattern that one measure does not have counts as zero."""
        one, other = self.moments(self.first), self.moments(self.second)
        zero = 0 * next(iter(one.values()))
        return all(bool(np.all(one.get(key, zero) == other.get(key, zero))) for key in {*one, *other})

    def tangents_agree(self):
        """Whether the tangent sums agree."""
        return bool(np.all(self.tangents(self.first) == self.tangents(self.second)))


def network(weights, outputs, biases=None):
    """The two-layer network with these matrices."""
    layers = (Linear(len(weights), bias=biases is not None), ReLU(), Linear(1, bias=False))
    arrays = {"0/weight": np.array(weights, dtype=float), "2/weight": np.array([outputs], dtype=float)}
    if biases is not None:
        arrays["0/bias"] = np.array(biases, dtype=float)
    return Parameters(Architecture("two-layer", (len(weights[0]),), layers, "logistic"), arrays)


@st.composite
def measures(draw):
    width, dimension, count = draw(st.integers(1, 4)), draw(st.integers(1, 2)), draw(st.integers(1, 3))
    biases = draw(readable_arrays((width,))) if draw(st.booleans()) else None
    theta = network(draw(readable_arrays((width, dimension))), draw(readable_arrays((width,), nonzero=True)), biases)
    points, coefficients = draw(readable_arrays((count, dimension))), draw(readable_arrays((count,)))
    first = Measure(points, coefficients)
    kind = draw(st.integers(0, 3))
    if kind == 0:  # any other measure
        return Measures(theta, first, Measure(points, draw(readable_arrays((count,)))))
    # the first atom split by a small step, which in general keeps its pattern
    step = draw(readable_arrays((dimension,))) / 64
    half = coefficients[0] / 2
    moved = np.concatenate([points[:1] + step, points[:1] - step, points[1:]])
    split = np.concatenate([[half, half], coefficients[1:]])
    if kind == 3:  # unequal, so that the first moment changes
        split[0] = split[0] + 0.5
    return Measures(theta, first, Measure(moved, split))


theorem.instances(measures())

ALIVE, INDEPENDENT = "no output weight is zero", "patterns are independent"


@theorem.hypothesis(ALIVE)
def is_alive(instance):
    return bool(np.all(instance.parameters["2/weight"] != 0))


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def are_independent(instance):
    seen = {*instance.moments(instance.first), *instance.moments(instance.second)}
    weight = instance.parameters["0/weight"]
    rows = np.array([[weight[0, 0] * 0 + entry for entry in pattern] for pattern in sorted(seen)])
    return rank(rows) == len(seen)


@theorem.degenerate
def the_same_measure(instance):
    same = len(instance.first.points) == len(instance.second.points)
    return same and bool(np.all(instance.first.points == instance.second.points))


@theorem.claim(arithmetics=(RATIONAL,))
def tangents_are_moments(instance):
    moments, tangents = instance.moments_agree(), instance.tangents_agree()
    yield holds(not moments or tangents, name="the same moments give the same tangents")
    yield holds(not tangents or moments, name="the same tangents give the same moments")


@theorem.derivation
def neuron_by_neuron():
    """Sums over atoms are linear: two atoms in one pattern, one neuron and one coordinate are generic."""
    import sympy

    c, x = sympy.symbols("c_1:3"), sympy.symbols("x_1:3")
    w, b, v, on = sympy.symbols("w b v D")
    total, first = sum(c), sum(p * q for p, q in zip(c, x, strict=True))
    yield identity(
        "∂/∂w = v D M", sympy.expand(sum(c[j] * v * on * x[j] for j in (0, 1))), sympy.expand(v * on * first)
    )
    yield identity("∂/∂b = v D C", sympy.expand(sum(c[j] * v * on for j in (0, 1))), sympy.expand(v * on * total))
    yield identity(
        "∂/∂v = D (w M + b C)",
        sympy.expand(sum(c[j] * on * (w * x[j] + b) for j in (0, 1))),
        sympy.expand(on * (w * first + b * total)),
    )
    # independent patterns are the rows of a matrix with a right inverse: P R = I gives (M P) R = M
    patterns = sympy.Matrix([[1, 0, 1], [0, 1, 1]])
    inverse = patterns.T * (patterns * patterns.T).inv()
    moments = sympy.Matrix(1, 2, sympy.symbols("M_1:3"))
    yield identity("two independent patterns: their moments from Σ_D M_D D", (moments * patterns * inverse), moments)


def two_patterns(outputs=(1.0, 1.0)):
    """x = 1 and x = 2 with neurons x and x − 3/2: patterns (1, 0) and (1, 1)."""
    theta = network([[1.0], [1.0]], outputs, [0.0, -1.5])
    first = Measure(np.array([[1.0], [2.0]]), np.array([1.0, 1.0]))
    return Measures(theta, first, Measure(np.array([[1.0], [1.25], [2.0]]), np.array([1.0, 1.0, 1.0])))


@theorem.without(ALIVE)
def a_silent_neuron():
    """Neuron x − 3/2 has v = 0 and sees through ∂/∂v alone: x = 2 and x = 7/4 with twice the weight are the same to it."""
    theta = network([[1.0], [1.0]], (1.0, 0.0), [0.0, -1.5])
    first = Measure(np.array([[2.0]]), np.array([1.0]))
    # c(x − 3/2) = 1/2 in the second pattern; what Σ c and Σ c x lack is made up for in the first
    second = Measure(np.array([[1.75], [0.5], [1.0]]), np.array([2.0, 1.0, -2.0]))
    return Measures(theta, first, second)


@theorem.without(INDEPENDENT)
def a_silent_pattern():
    """Behind all units nothing is seen: the pattern 0 is dependent by itself."""
    theta = network([[1.0]], (1.0,), [0.0])
    first = Measure(np.array([[1.0]]), np.array([1.0]))
    return Measures(theta, first, Measure(np.array([[1.0], [-1.0]]), np.array([1.0, 1.0])))


def one_neuron(atoms, others, biased=True):
    """relu(x), with bias 0 or without, and two measures on the line."""
    theta = network([[1.0]], (1.0,), [0.0] if biased else None)
    return Measures(
        theta,
        *(Measure(np.array([[x] for x, _ in pairs]), np.array([c for _, c in pairs])) for pairs in (atoms, others)),
    )


SPLIT = st.builds(
    one_neuron, st.just([(1.0, 1.0)]), st.sampled_from(([(0.5, 0.5), (1.5, 0.5)], [(1.0, 1.0)])), st.booleans()
)
"""One atom, and itself or two halves around it."""

MOVED = st.builds(one_neuron, st.just([(1.0, 1.0)]), st.sampled_from(([(2.0, 0.5)], [(1.0, 1.0)])), st.booleans())
"""One atom, and itself or one at twice the place with half the weight."""

PASSED_ON = st.builds(
    one_neuron,
    st.just([(1.0, 1.0), (-1.0, 1.0)]),
    st.sampled_from(([(2.0, 1.0), (-2.0, 1.0)], [(1.0, 1.0), (-1.0, 1.0)])),
)
"""Two atoms in two patterns, and themselves or others with the same mean."""


@theorem.false_twin("measures with the same tangents are the same", instances=SPLIT, arithmetics=(RATIONAL,))
def same_atoms(instance):
    def weights(measure):
        result = {}
        for x, c in zip(measure.points, measure.coefficients, strict=True):
            result[tuple(map(str, x))] = result.get(tuple(map(str, x)), 0) + c
        return {key: c for key, c in result.items() if c != 0}

    same = weights(instance.first) == weights(instance.second)
    return holds(not instance.tangents_agree() or same, name="the same tangents, the same atoms")


@theorem.false_twin(
    "the first moments alone give the tangents, with biases too", instances=MOVED, arithmetics=(RATIONAL,)
)
def first_moments_only(instance):
    if instance.biased:
        one, other = (
            {key: row[:-1] for key, row in instance.moments(measure).items()}
            for measure in (instance.first, instance.second)
        )
        zero = 0 * next(iter(one.values()))
        agree = all(bool(np.all(one.get(key, zero) == other.get(key, zero))) for key in {*one, *other})
        yield holds(not agree or instance.tangents_agree(), name="the same Σ c x give the same tangents")
    else:
        yield holds(True, name="nothing is claimed")


@theorem.false_twin(
    "moments over all atoms together give the tangents",
    without=(INDEPENDENT,),
    instances=PASSED_ON,
    arithmetics=(RATIONAL,),
)
def whole_moments(instance):
    one, other = (sum(instance.moments(measure).values()) for measure in (instance.first, instance.second))
    agree = bool(np.all(one == other))
    return holds(not agree or instance.tangents_agree(), name="the same moments of the whole, the same tangents")


@theorem.false_twin(
    "patterns need not be independent",
    without=(INDEPENDENT,),
    instances=st.builds(a_silent_pattern),
    arithmetics=(RATIONAL,),
)
def any_patterns(instance):
    return holds(
        not instance.tangents_agree() or instance.moments_agree(), name="the same tangents give the same moments"
    )


@theorem.false_twin("second moments agree as well", instances=SPLIT, arithmetics=(RATIONAL,))
def second_moments(instance):
    one, other = (
        measure.points.T @ (measure.coefficients[:, None] * measure.points)
        for measure in (instance.first, instance.second)
    )
    if instance.tangents_agree():
        yield equal(one, other, operations=10, name="Σ c x xᵀ agree")
    else:
        yield holds(True, name="nothing is claimed")
