r"""Without ties, only the runner-up's multiplier is nonzero, and one multiplier per sample is enough.

A KKT point of min ½‖θ‖² subject to Φ_{y_i}(x_i) − Φ_k(x_i) ≥ γ for all samples i and classes k ≠ y_i has

.. math:: \theta = \sum_i \sum_{k \ne y_i} \lambda_{ik} \nabla_\theta (\Phi_{y_i} - \Phi_k)(x_i), \qquad \lambda_{ik} \ge 0,

and λ_ik = 0 unless the constraint is tight. If no sample with a multiplier has two classes that tie for the largest output
beside its own, then λ_ik = 0 for all k but the runner-up k*(i), and

.. math:: \theta = \sum_i \lambda_i \nabla_\theta \bigl(\Phi_{y_i} - \max_{k \ne y_i} \Phi_k\bigr)(x_i).

Notes
-----
A tight constraint has the smallest margin there is, so k has the largest output among the others; without ties that is k*,
and the maximum is differentiable with the gradient of Φ_{k*}. Ties are no rare accident: if the inputs h of a
linear last layer are orthogonal for different samples, Φ_k = −λ_ik ‖h‖² for k ≠ y, so that a class with a smaller multiplier
would be nearer to the margin; all others are tight and tie (``buzaglo2023.runner_up_as_coded``).

Source: the multi-class variant of arXiv:2307.01827, whose wording was not read; statement and proof are derived.
"""

import dataclasses

import numpy as np

from provable.arithmetic import FLOAT64, RATIONAL
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies.multiclass_points import MulticlassPoint, linear_classifier, multiclass_points

theorem = Theorem(
    statement=r"""Let \theta = \sum_i \sum_{k \ne y_i} \lambda_{ik} \nabla_\theta (\Phi_{y_i} - \Phi_k)(x_i) with
    \lambda_{ik} \ge 0, and \lambda_{ik} = 0 wherever \Phi_{y_i}(x_i) - \Phi_k(x_i) exceeds the smallest such margin. If no
    sample with a nonzero \lambda_{ik} has two classes that tie for the largest output beside y_i, then
    \theta = \sum_i \lambda_i \nabla_\theta (\Phi_{y_i} - \max_{k \ne y_i} \Phi_k)(x_i) with
    \lambda_i = \sum_k \lambda_{ik}.""",
    source=Source("arXiv:2307.01827", "the multi-class attack", "from memory; derived here"),
    expected="proved",
    does_not_say="that a trained network has no ties",
)

STATIONARY, SLACK, UNTIED = "stationarity", "multipliers only at the smallest margin", "no ties"


theorem.instances(multiclass_points())


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(point: MulticlassPoint):
    return bool(np.all(point.explained(point.multipliers) == point.parameters.vector()))


@theorem.hypothesis(SLACK, arithmetic=RATIONAL)
def is_complementary(point):
    margins = {
        (i, k): point.margin(i, k)
        for i, label in enumerate(point.classes)
        for k in range(point.multipliers.shape[1])
        if k != label
    }
    smallest = min(margins.values())
    return all(point.multipliers[i, k] == 0 or margin == smallest for (i, k), margin in margins.items())


@theorem.hypothesis(UNTIED, arithmetic=RATIONAL)
def is_untied(point):
    return all(
        len(point.runners_up(i)) == 1 or not np.any(point.multipliers[i] != 0) for i in range(len(point.classes))
    )


@theorem.degenerate
def two_classes(point):
    return point.multipliers.shape[1] == 2


def kept(point, choose):
    """The multipliers of each sample, all at one class among its runners-up."""
    result = 0 * point.multipliers
    for i in range(len(point.classes)):
        result[i, choose(point.runners_up(i))] = point.multipliers[i].sum()
    return result


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def one_multiplier_per_sample(point):
    # integers below 2^53: float64 makes no error at all
    reduced = point.explained(kept(point, min))
    yield equal(reduced, point.parameters.vector(), operations=1, name="θ = Σ λ_i ∇(Φ_y − max Φ_k)")
    for i in range(len(point.classes)):
        best = point.runners_up(i)
        others = [k for k in range(point.multipliers.shape[1]) if k not in best]
        yield holds(not any(point.multipliers[i, k] != 0 for k in others), name="λ_ik = 0 unless k is a runner-up")


@theorem.derivation
def a_tight_constraint_is_the_runner_ups():
    """Two competitors j and k of one sample are generic: the argument compares one with the best of the others."""
    import sympy

    own, j, k = sympy.symbols("Phi_y Phi_j Phi_k")
    excess, slack, gamma = sympy.symbols("delta s gamma", positive=True)
    yield identity("margins differ as outputs do: m_k − m_j = Φ_j − Φ_k", (own - k) - (own - j), j - k)
    # m_j ≥ γ, say m_j = γ + s with s ≥ 0, and Φ_j = Φ_k + δ with δ > 0
    margin_k = sympy.expand((own - k).subs(own, gamma + slack + j).subs(j, k + excess))
    yield identity("below the runner-up by δ > 0: m_k = γ + s + δ", margin_k, gamma + slack + excess)
    yield fact(
        "so the constraint of k is not tight, and complementary slackness gives λ_k = 0", bool(slack + excess > 0)
    )
    lam_j, grad_y, grad_j, grad_k = sympy.symbols("lambda_j g_y g_j g_k")
    yield identity(
        "what is left of the sum is the runner-up's share",
        sympy.expand(lam_j * (grad_y - grad_j) + 0 * (grad_y - grad_k)),
        sympy.expand(lam_j * (grad_y - grad_j)),
    )


def opposite_classes():
    """x = 1 of class 0 and x = −1 of class 1, and class 2 between them: W = (1, −1, 0), λ = 1 at class 2 for both."""
    weight = np.array([[1.0], [-1.0], [0.0]])
    multipliers = np.array([[0.0, 0.0, 1.0], [0.0, 0.0, 1.0]])
    return MulticlassPoint(linear_classifier(weight), np.array([[1.0], [-1.0]]), (0, 1), multipliers)


@theorem.without(STATIONARY)
def other_multipliers():
    return dataclasses.replace(opposite_classes(), multipliers=2 * opposite_classes().multipliers)


@theorem.without(SLACK)
def a_multiplier_away_from_the_margin():
    """W = e_0 − e_1 also is the pull of the first sample at class 1, whose constraint is not tight."""
    point = opposite_classes()
    return dataclasses.replace(point, multipliers=np.array([[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]))


@theorem.without(UNTIED)
def one_sample_alone():
    """x = 1 of class 0: both others tie, W = (2, −1, −1) with λ = 1 at each."""
    return MulticlassPoint(
        linear_classifier(np.array([[2.0], [-1.0], [-1.0]])), np.ones((1, 1)), (0,), np.array([[0.0, 1.0, 1.0]])
    )


@theorem.false_twin(
    "ties do no harm", without=(UNTIED,), instances=multiclass_points(ties=True), arithmetics=(RATIONAL,)
)
def with_ties(point):
    return equal(
        point.explained(kept(point, min)), point.parameters.vector(), operations=1, name="θ = Σ λ_i ∇(Φ_y − max Φ_k)"
    )


@theorem.false_twin("the runner-up is the class with the least output", arithmetics=(RATIONAL,))
def least_output(point):
    result = 0 * point.multipliers
    for i, label in enumerate(point.classes):
        others = [k for k in range(point.multipliers.shape[1]) if k != label]
        result[i, min(others, key=lambda k: point.outputs[i, k])] = point.multipliers[i].sum()
    return equal(
        point.explained(result), point.parameters.vector(), operations=1, name="θ with the least output instead"
    )


@theorem.false_twin("the class's own output is enough", arithmetics=(RATIONAL,))
def own_output_only(point):
    coefficients = 0 * point.multipliers
    for i, label in enumerate(point.classes):
        coefficients[i, label] = point.multipliers[i].sum()
    pulled = coefficients.T @ point.points
    return equal(pulled.reshape(-1), point.parameters.vector(), operations=1, name="θ = Σ λ_i ∇Φ_y")


@theorem.false_twin("every runner-up's constraint is tight", arithmetics=(RATIONAL,))
def all_are_tight(point):
    margins = [point.margin(i, min(point.runners_up(i))) for i in range(len(point.classes))]
    return holds(all(margin == min(margins) for margin in margins), name="all margins over the runner-up are equal")
