r"""As coded, one multiplier per sample, at the runner-up, is to explain every multi-class network; at ties it cannot.

The released attack pulls a candidate of class y at λ (Φ_y − max_{k≠y} Φ_k), so that its loss can only vanish if θ is a
combination of ∇(Φ_{y_i} − Φ_{k*(i)})(x_i) with one class k*(i) for each sample. A single sample x = 1 of class 0 among three,
with a linear classifier, has the KKT point

.. math:: W = (2, -1, -1) = 1 \cdot (e_0 - e_1) + 1 \cdot (e_0 - e_2):

both other classes tie, both constraints are tight, and no multiple of e_0 − e_1 or of e_0 − e_2 is W.

Notes
-----
This is no accident: a sample whose input of the last layer is orthogonal to those of the others is pulled away from all
other classes equally, and all of these tie, as the other theorem says.
The span, not only the cone, is too small: signs of the multipliers do not matter.

Source: the multi-class variant of arXiv:2307.01827 and its released code, as remembered and as described by third parties.
"""

import itertools

import numpy as np

from provable.arithmetic import RATIONAL, rank
from provable.theorems import Source, Theorem, holds
from provable.theorems.strategies.multiclass_points import MulticlassPoint, linear_classifier, multiclass_points

theorem = Theorem(
    statement=r"""If \theta = \sum_i \sum_{k \ne y_i} \lambda_{ik} \nabla_\theta (\Phi_{y_i} - \Phi_k)(x_i) with
    \lambda_{ik} \ge 0 and complementary slackness, then there are \lambda_i with
    \theta = \sum_i \lambda_i \nabla_\theta (\Phi_{y_i} - \Phi_{k^*(i)})(x_i), where k^*(i) is the first class with the
    largest output beside y_i.""",
    source=Source("arXiv:2307.01827", "the multi-class attack as released", "from memory and third parties"),
    expected="refuted",
    corrected_by="buzaglo2023.multiclass_runner_up",
)

STATIONARY = "stationarity"


theorem.instances(multiclass_points(ties=True))


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(point: MulticlassPoint):
    return bool(np.all(point.explained(point.multipliers) == point.parameters.vector()))


def explains(point, choices):
    """Whether θ lies in the span of the tangents of the chosen margins."""
    rows = []
    for i, choice in enumerate(choices):
        one = 0 * point.multipliers
        one[i, choice] = one[i, choice] + 1
        rows.append(point.explained(one))
    matrix = np.array(rows)
    return rank(matrix) == rank(np.concatenate([matrix, point.parameters.vector()[None]]))


@theorem.claim(arithmetics=(RATIONAL,))
def the_first_runner_up_suffices(point):
    choices = [min(point.runners_up(i)) for i in range(len(point.classes))]
    return holds(explains(point, choices), name="θ is in the span of ∇(Φ_y − Φ_k*)")


def one_sample():
    """x = 1 of class 0 among three."""
    return MulticlassPoint(
        linear_classifier(np.array([[2.0], [-1.0], [-1.0]])), np.ones((1, 1)), (0,), np.array([[0.0, 1.0, 1.0]])
    )


@theorem.counterexample
def both_others_tie():
    return one_sample()


@theorem.without(STATIONARY)
def one_sample_that_pulls_at_one_class():
    """W = (0, 0, 1) is in no span of differences from class 0's column, since its entries do not add up to zero."""
    return MulticlassPoint(
        linear_classifier(np.array([[3.0], [0.0], [1.0]])), np.ones((1, 1)), (0,), np.array([[0.0, 0.0, 1.0]])
    )


@theorem.false_twin("some choice among the classes that tie suffices", arithmetics=(RATIONAL,))
def some_choice(point):
    ties = [point.runners_up(i) for i in range(len(point.classes))]
    return holds(any(explains(point, choice) for choice in itertools.product(*ties)), name="θ is in one of the spans")


@theorem.false_twin("it suffices if no multiplier exceeds another of its sample", arithmetics=(RATIONAL,))
def equal_multipliers(point):
    even = all(len({str(number) for number in row if number != 0}) <= 1 for row in point.multipliers)
    choices = [min(point.runners_up(i)) for i in range(len(point.classes))]
    return holds(not even or explains(point, choices), name="θ is in the span of ∇(Φ_y − Φ_k*)")


@theorem.false_twin("it suffices once there are two samples or more", arithmetics=(RATIONAL,))
def several_samples(point):
    choices = [min(point.runners_up(i)) for i in range(len(point.classes))]
    return holds(len(point.classes) < 2 or explains(point, choices), name="θ is in the span of ∇(Φ_y − Φ_k*)")
