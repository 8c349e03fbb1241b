"""As remembered, Theorem 1 promises that 2N candidates of loss zero contain the training points only; one layer refutes it.

The statement below is the recovery theorem as it is remembered (its text was not at hand): bias-free networks in the
kernel regime, training points on a sphere, M = 2N candidates as in the released code. Then L_rec = 0 would force every
candidate with a coefficient to be a training point. With one hidden ReLU layer it does not: at every width, finite or
not,

    Σ_J α_j δ_{x_j}   and   Σ_J α_j δ_{-x_j} + ‖v‖(δ_u - δ_{-u}),   v = Σ_J α_j x_j = ‖v‖·u,

have the same embedding, and the second needs N + 2 ≤ 2N candidates as soon as N ≥ 2. See loo2024.antipodal_fibre for the
identity and loo2024.unique_recovery for what holds: strict positive definiteness on the points at hand.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL
from provable.kernels.coincidences import dependency
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.theorems import Source, Theorem, holds
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $f$ have one hidden ReLU layer and no biases, let $N$ training points and $M \le 2N$ candidates lie on
    one sphere. If $L_{rec} = 0$, then every candidate whose coefficient is not zero is a training point.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "Theorem 1, as remembered",
        "the wording is not known to us; depth and biases of the theorem's kernel may have been meant otherwise",
    ),
    expected="refuted",
    corrected_by="loo2024.unique_recovery",
)

CIRCLE = [(5, 0), (0, 5), (3, 4), (4, 3), (-3, 4), (4, -3)]
"""Points of norm 5 on different axes."""


@dataclass(frozen=True)
class Attack:
    """A network with one hidden layer, the training measure and the candidates."""

    parameters: Parameters
    training: Measure
    candidates: Measure


def two_layer(seed, width):
    generator = np.random.default_rng(seed)
    weight = (2 * generator.integers(-8, 8, (width, 2)) + 1) / 8.0 + np.array([0.0, 1 / 64])
    layers = (Linear(width, bias=False), ReLU(), Linear(1, bias=False))
    return Parameters(
        Architecture("two-layer", (2,), layers, "squared"),
        {"0/weight": weight, "2/weight": generator.integers(1, 5, (1, width)) / 2.0},
    )


@st.composite
def attacks(draw):
    theta = two_layer(draw(st.integers(0, 999)), draw(st.integers(1, 6)))
    chosen = draw(st.permutations(CIRCLE))[:3]
    relation = [float(7 * 25 * number) for number in dependency(chosen)]
    points, alpha = np.array(chosen[:2], dtype=float), np.array(relation[:2])
    if draw(st.booleans()):  # any candidates
        others = np.array(draw(st.permutations(CIRCLE))[: draw(st.integers(1, 4))], dtype=float)
        return Attack(theta, Measure(points, alpha), Measure(others, draw(readable_arrays((len(others),)))))
    # α_1 x_1 + α_2 x_2 + α_3 x_3 = 0: both points flipped, and the pair on the third axis
    pair = np.array([chosen[2]], dtype=float)
    candidates = Measure(
        np.concatenate([-points, pair, -pair]) + 0.0, np.concatenate([alpha, [-relation[2], relation[2]]])
    )
    return Attack(theta, Measure(points, alpha), candidates)


theorem.instances(attacks())


@theorem.hypothesis("all points have one norm", arithmetic=RATIONAL)
def on_one_sphere(attack):
    norms = [x @ x for x in np.concatenate([attack.training.points, attack.candidates.points])]
    return all(norm == norms[0] for norm in norms)


@theorem.hypothesis("there are at most twice as many candidates")
def twice_as_many(attack):
    return len(attack.candidates.points) <= 2 * len(attack.training.points)


def loss_is_zero(attack):
    theta = attack.parameters
    training, candidates = (
        embed(theta.architecture, theta, measure).vector() for measure in (attack.training, attack.candidates)
    )
    return all(left == right for left, right in zip(training, candidates, strict=True))


def strangers(attack):
    """Candidates with a coefficient that are not training points, up to sign or not."""
    known = {tuple(map(float, x)) for x in attack.training.points}
    seen = attack.candidates.without_null_atoms().points
    return [tuple(map(float, z)) for z in seen if tuple(map(float, z)) not in known]


@theorem.claim(arithmetics=(RATIONAL,))
def only_training_points(attack):
    return holds(not (loss_is_zero(attack) and strangers(attack)), name="L = 0 only with training points")


@theorem.counterexample
def both_points_flipped():
    training = Measure(np.array([[5.0, 0.0], [0.0, 5.0]]), np.array([3.0, 4.0]))
    flipped = np.array([[-5.0, 0.0], [0.0, -5.0], [3.0, 4.0], [-3.0, -4.0]])
    return Attack(two_layer(0, 6), training, Measure(flipped, np.array([3.0, 4.0, 5.0, -5.0])))


@theorem.without("all points have one norm")
def on_different_spheres():
    training = Measure(np.array([[5.0, 0.0], [0.0, 5.0]]), np.array([3.0, 4.0]))
    return Attack(two_layer(0, 6), training, Measure(2 * training.points, training.coefficients / 2))


@theorem.without("there are at most twice as many candidates")
def a_single_point():
    training = Measure(np.array([[5.0, 0.0]]), np.array([4.0]))
    flipped = np.array([[-5.0, 0.0], [5.0, 0.0], [-5.0, 0.0], [3.0, 4.0], [-3.0, 4.0]])
    return Attack(two_layer(0, 6), training, Measure(flipped, np.array([4.0, 4.0, -4.0, 0.0, 0.0])))


@theorem.false_twin("it holds for at least five hidden units", arithmetics=(RATIONAL,))
def wide_enough(attack):
    wide = attack.parameters["0/weight"].shape[0] >= 5
    return holds(not (wide and loss_is_zero(attack) and strangers(attack)), name="L = 0 only with training points")


@theorem.false_twin("every stranger is the antipode of a training point", arithmetics=(RATIONAL,))
def antipodes_only(attack):
    opposite = {tuple(-float(entry) + 0.0 for entry in x) for x in attack.training.points}
    foreign = [z for z in strangers(attack) if z not in opposite]
    return holds(not (loss_is_zero(attack) and foreign), name="L = 0 only with training points or their antipodes")


@theorem.false_twin("every training point is at least among the candidates", arithmetics=(RATIONAL,))
def all_are_found(attack):
    seen = {tuple(map(float, z)) for z in attack.candidates.points}
    missing = [x for x in attack.training.without_null_atoms().points if tuple(map(float, x)) not in seen]
    return holds(not (loss_is_zero(attack) and missing), name="L = 0 only if all training points are found")


@theorem.false_twin("N + 2 candidates are too few to deceive", arithmetics=(RATIONAL,))
def fewer_candidates(attack):
    few = len(attack.candidates.points) <= len(attack.training.points) + 2
    return holds(not (few and loss_is_zero(attack) and strangers(attack)), name="L = 0 only with training points")
