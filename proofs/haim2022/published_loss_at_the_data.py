r"""The data of a network at a KKT point are a zero of the published reconstruction loss: false at kinks.

The attack of Haim et al. minimises ‖θ − Σ_i λ_i y_i ∇_θ Φ(θ; x_i)‖² over points and multipliers (plus penalties), because θ
converges in direction to a KKT point, where the sum with the training data is θ. Read with the gradient that a program
computes, relu'(0) = 0, the sum is not θ: KKT conditions of ReLU networks hold for an element of Clarke's subdifferential, and
hyperplanes of hidden units pass exactly through training points. At the example below the loss at the data is 22 % of ‖θ‖²
for the best λ, and on every family of repairs by a prescribed slope it stays positive.

Notes
-----
The refutation grants what the attack needs: θ is exactly at a KKT point (in Clarke's sense; verified in rationals), every
sample is on the margin, the labels are known, the multipliers are the best ones of either λ ≥ 0 or of any sign. What is
true: ``haim2022.clarke_stationarity`` for this example; in general the residual is zero once slopes s_ik ∈ [0, 1] at kinks
are unknowns too (`provable.stationarity.verify_stationarity` finds them). At points without kinks on the data the statement
holds, by definition of a KKT point.

Source: arXiv:2206.07758, the loss as in the authors' code; the paper's wording was not read, and it may reserve the
statement to Clarke's subdifferential. The counterexample is derived here.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, constant, full
from provable.networks import tangents
from provable.stationarity.clarke import ClarkeTangents
from provable.stationarity.kinks import one_sided_slopes
from provable.stationarity.multipliers import nearest_in_cone
from provable.stationarity.verification import verify_stationarity
from provable.theorems import Source, Theorem, at_most, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies.clarke_points import clarke_points, pairs_at_kinks
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""If \theta is a KKT point of the max-margin problem of a ReLU network for samples x_i with labels y_i, then
    there are \lambda_i >= 0 with \theta = \sum_i \lambda_i y_i \nabla_\theta \Phi(\theta; x_i), where relu'(z) is 1 for
    z > 0 and 0 for z <= 0: the training data are a zero of the reconstruction loss.""",
    source=Source("arXiv:2206.07758", "the reconstruction loss", "as in the authors' code; the paper was not read"),
    expected="refuted",
    corrected_by="haim2022.clarke_stationarity",
    does_not_say="that points without kinks on the data have this defect: there the gradient is the only Clarke tangent",
)

KKT = "KKT point in Clarke's sense"


@dataclass(frozen=True)
class Trained:
    """A network at a KKT point with its data."""

    point: StationaryPoint


theorem.instances(st.builds(Trained, st.one_of(clarke_points(), stationary_points(depths=(2,), activations=("relu",)))))


@theorem.hypothesis(KKT, arithmetic=RATIONAL, necessity_unknown=True)
def is_kkt_point(trained):
    point = trained.point
    return verify_stationarity(point.architecture, point.parameters, point.points, point.labels).verified


def residual_of(trained, base):
    """The exact least residual over λ ≥ 0, given every sample's tangent."""
    theta = trained.point.parameters.vector()
    return nearest_in_cone(theta, base, base[:0], np.zeros(0, dtype=np.intp)).residual


def hard_tangents(trained):
    point = trained.point
    return tangents(point.architecture, point.parameters, point.points)[:, 0] * point.labels[:, None]


def tangents_with_slope(trained, slope):
    """The tangents with one slope at all kinks."""
    point = trained.point
    samples = np.arange(len(point.labels))
    signs = point.labels[:, None]
    cells = ClarkeTangents(point.architecture, point.parameters, point.points, samples, signs).first_cells()
    if cells.open_layer is None:
        return cells.base
    assert one_sided_slopes(point.architecture.layers[int(cells.open_layer)]) == (0.0, 1.0)
    base = cells.base.copy()
    for owner, step in zip(cells.owners, cells.steps, strict=True):
        base[owner] = base[owner] + constant(slope, base) * step
    return base


@theorem.claim(arithmetics=(RATIONAL,))
def data_are_a_zero(trained):
    return holds(
        not np.any(residual_of(trained, hard_tangents(trained)) != 0), name="‖θ − Σ λ_i y_i ∇Φ_i‖ = 0 for some λ ≥ 0"
    )


@theorem.counterexample
def two_samples_at_an_acute_angle():
    return Trained(pairs_at_kinks([(3, 4)], [(Fraction(1), Fraction(1))]))


@theorem.derivation(covers="the example")
def the_example():
    """In the plane: x₊ = (5, 0), x₋ = (3, 4), w₊ = (4, −3), v₊ = 5, w₋ = (0, 5), v₋ = −5, margin 100."""
    import sympy

    plus, minus = sympy.Matrix([5, 0]), sympy.Matrix([3, 4])
    first, second = sympy.Matrix([4, -3]), sympy.Matrix([0, 5])
    yield identity("w₊·x₋ = 0: on the kink", first.dot(minus))
    yield identity("w₋·x₊ = 0: on the kink", second.dot(plus))
    yield identity("margin of x₊", 5 * first.dot(plus), 100)
    yield identity("margin of x₋", 5 * second.dot(minus), 100)
    multiplier = sympy.Rational(1, 4)
    slope = sympy.Rational(3, 5)
    explained = 5 * multiplier * (plus - slope * minus)
    yield identity("w₊ = v₊ (λ₊ x₊ − 3/5 λ₋ x₋), first entry", explained[0], first[0])
    yield identity("w₊ = v₊ (λ₊ x₊ − 3/5 λ₋ x₋), second entry", explained[1], first[1])
    yield identity("v₊ = λ₊ w₊·x₊", multiplier * first.dot(plus), 5)
    explained = -5 * multiplier * (slope * plus - minus)
    yield identity("w₋ = v₋ (3/5 λ₊ x₊ − λ₋ x₋), first entry", explained[0], second[0])
    yield identity("w₋ = v₋ (3/5 λ₊ x₊ − λ₋ x₋), second entry", explained[1], second[1])
    yield identity("the hard sum has no second entry in w₊, which is −3: residual at least 3", plus[1])


@theorem.false_twin("the slope 1/2 at kinks, σ(0) of the modified backward pass, repairs it")
def half_slopes(trained):
    return holds(not np.any(residual_of(trained, tangents_with_slope(trained, 0.5)) != 0), name="zero with slope 1/2")


@theorem.false_twin("the slope 1 at kinks repairs it")
def right_slopes(trained):
    return holds(not np.any(residual_of(trained, tangents_with_slope(trained, 1.0)) != 0), name="zero with slope 1")


@theorem.false_twin("multipliers of either sign repair it")
def signed_multipliers(trained):
    hard = hard_tangents(trained)
    return holds(
        not np.any(residual_of(trained, np.concatenate([hard, -hard])) != 0), name="zero for some λ of either sign"
    )


@theorem.false_twin("multipliers of each layer's own repair it")
def multipliers_by_layer(trained):
    hard, point = hard_tangents(trained), trained.point
    size = point.parameters["0/weight"].size + (point.parameters["0/bias"].size if "0/bias" in point.parameters else 0)
    zeros = full(hard.shape, 0, hard)
    first, last = zeros.copy(), zeros.copy()
    first[:, :size], last[:, size:] = hard[:, :size], hard[:, size:]
    residual = residual_of(trained, np.concatenate([first, last]))
    return holds(not np.any(residual != 0), name="zero with separate λ for each layer")


@theorem.false_twin("the loss at the data is at most a tenth of ‖θ‖²")
def a_tenth(trained):
    residual, theta = residual_of(trained, hard_tangents(trained)), trained.point.parameters.vector()
    return at_most(10 * (residual @ residual), theta @ theta, operations=1, name="loss ≤ ‖θ‖²/10")
