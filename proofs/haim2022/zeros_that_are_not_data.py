r"""The published loss has zeros that are not the data, with every prior satisfied: its zeros are not unique.

The attack looks for 2N candidates, half of each label, with multipliers λ_j ≥ λ_min > 0 and entries in [−1, 1], for which
‖θ − (1/M) Σ_j λ_j y_j ∇Φ(θ; x_j)‖² is zero. If zeros were unique, all training samples with multipliers would be among the
candidates. They are not: on a set where the activation pattern is constant ∇Φ is affine in x, so that only Σ λ y and Σ λ y x
over the candidates with one pattern are seen. For Φ(x) = v relu(g·x) − v relu(−g·x) with ‖g‖ = v, any candidates on the two
sides of the line g·x = 0 whose weighted sums are ±g/v are a zero: one that contains no training sample, no margin and none
of the samples' positions.

Notes
-----
The loss here has the slopes 1[z > 0] of ReLU, as the KKT conditions have. The released code has σ(αz) in their place, with
which the training data are no zero either. What zeros do share with the data: ``haim2022.zeros_share_moments``.

Source: that zeros are training data is the heuristic of arXiv:2206.07758, not a theorem of that paper, whose wording was not
read.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.theorems import Source, Theorem, holds

theorem = Theorem(
    statement=r"""Let \theta = \sum_i \lambda_i y_i \nabla_\theta \Phi(\theta; x_i) be a KKT point of N training samples with
    entries in [-1, 1]. If 2N candidates in [-1, 1]^d, half of each label, with multipliers \lambda_j \ge 1/2 satisfy
    \theta = \frac{1}{2N} \sum_j \lambda_j y_j \nabla_\theta \Phi(\theta; x_j), then all x_i with
    \lambda_i > 0 are among them.""",
    source=Source("arXiv:2206.07758", "section 4", "the heuristic behind the attack; not claimed as a theorem there"),
    expected="refuted",
    corrected_by="haim2022.zeros_share_moments",
)

DIRECTIONS = ((3, 4, 5), (4, 3, 5), (5, 12, 13), (1, 0, 1))
"""Integer vectors with their norms."""


@dataclass(frozen=True)
class Attack:
    """Two neurons ±g with output weights ±‖g‖, training samples, and candidates.

    Multipliers are those of the measure, λ_i and λ_j / M, times a common denominator.
    """

    parameters: Parameters
    training: np.ndarray
    training_multipliers: np.ndarray
    candidates: np.ndarray
    multipliers: np.ndarray
    denominator: float

    def labels(self, points):
        """The sign of g·x, in the arithmetic of the points."""
        values = points @ self.parameters["0/weight"][0]
        return [1 if value > 0 else -1 for value in values]

    def explains(self, points, multipliers):
        """Whether θ = Σ λ y ∇Φ, exactly."""
        signed = np.array(
            [y * weight / self.denominator for y, weight in zip(self.labels(points), multipliers, strict=True)]
        )
        image = embed(self.parameters.architecture, self.parameters, Measure(points, signed))
        return bool(np.all(image.vector() == self.parameters.vector()))

    def missing(self):
        """Training samples that are not among the candidates."""
        seen = {tuple(map(str, row)) for row in self.candidates}
        return [row for row in self.training if tuple(map(str, row)) not in seen]


def network(direction):
    """Φ(x) = ‖g‖ (relu(g·x) − relu(−g·x))."""
    g = np.array(direction[:2], dtype=float)
    layers = (Linear(2, bias=False), ReLU(), Linear(1, bias=False))
    return Parameters(
        Architecture("two neurons", (2,), layers, "logistic"),
        {"0/weight": np.stack([g, -g]), "2/weight": np.array([[direction[2], -direction[2]]], dtype=float)},
    )


def both_sides(direction, offsets):
    """Points g/16 + t p on the margin, with p orthogonal to g, and their mirror images."""
    g, p = np.array(direction[:2], dtype=float), np.array([-direction[1], direction[0]], dtype=float)
    upper = [g / 16 + offset * p for offset in offsets]
    return np.array(upper + [-point for point in upper])


def attack_of(direction, training, candidates, shares=None):
    """Multipliers that add up to 16 / ‖g‖ on each side, in equal shares unless given; shares times offsets add up to 0."""
    truth, found = both_sides(direction, training), both_sides(direction, candidates)
    parts = np.full(len(candidates), 1 / len(candidates)) if shares is None else np.array(shares)
    return Attack(
        network(direction),
        truth,
        np.full(len(truth), 16.0 / len(training)),
        found,
        16.0 * np.concatenate([parts, parts]),
        float(direction[2]),
    )


OFFSETS = (1 / 32, 1 / 64, 3 / 64, 1 / 16)


@st.composite
def attacks(draw):
    """One sample on each side and two candidates, or two and four; the samples may be among the candidates."""
    direction, offset = draw(st.sampled_from(DIRECTIONS)), st.sampled_from(OFFSETS)
    if draw(st.booleans()):
        t = draw(st.sampled_from((0.0, *OFFSETS)))
        return attack_of(direction, (0.0,), (t, -t))
    t, u, v = draw(offset), draw(offset), draw(offset)
    return attack_of(direction, (t, -t), (u, -u, v, -v))


theorem.instances(attacks())

RANGE, HALF, LEAST = "entries in [-1, 1]", "2N candidates, half of each label", "multipliers of at least 1/2"


@theorem.hypothesis(RANGE)
def in_range(attack):
    return all(-1 <= entry <= 1 for points in (attack.training, attack.candidates) for row in points for entry in row)


@theorem.hypothesis(HALF)
def twice_as_many(attack):
    labels = attack.labels(attack.candidates)
    return len(labels) == 2 * len(attack.training) and sum(labels) == 0


@theorem.hypothesis(LEAST)
def large_enough(attack):
    count = len(attack.candidates)
    return all(2 * count * weight >= attack.denominator for weight in attack.multipliers)


def deceives(attack):
    """A zero of the loss without all training samples, although the training samples are a KKT point themselves."""
    kkt = attack.explains(attack.training, attack.training_multipliers)
    return kkt and attack.explains(attack.candidates, attack.multipliers) and bool(attack.missing())


@theorem.claim(arithmetics=(RATIONAL,))
def zeros_contain_the_data(attack):
    return holds(not deceives(attack), name="zeros of the loss contain the training samples")


@theorem.counterexample
def two_samples_and_four_candidates():
    """x = ±(3, 4)/16 with λ = 16/5, and candidates ±((3, 4)/16 ± (−4, 3)/32) with half of that each."""
    return attack_of((3, 4, 5), (0.0,), (1 / 32, -1 / 32))


@theorem.without(RANGE)
def far_away():
    return attack_of((3, 4, 5), (0.0,), (1.0, -1.0))


@theorem.without(HALF)
def as_many_as_samples():
    return attack_of((3, 4, 5), (1 / 32, -1 / 32), (1 / 64, -1 / 64))


@theorem.without(LEAST)
def an_almost_silent_candidate():
    return attack_of((3, 4, 5), (0.0,), (1 / 256, -31 / 256), (31 / 32, 1 / 32))


def only_if(attack, condition, name):
    """The statement for candidates with a further property."""
    return holds(not (condition and deceives(attack)), name=name)


@theorem.false_twin("it holds if all candidates lie on the margin", arithmetics=(RATIONAL,))
def on_the_margin(attack):
    outputs = [
        forward(attack.parameters.architecture, attack.parameters, points)[:, 0]
        for points in (attack.training, attack.candidates)
    ]
    margin = max(outputs[0])
    return only_if(attack, all(f in (margin, -margin) for f in outputs[1]), "zeros on the margin contain the data")


@theorem.false_twin("at least one training sample is among the candidates", arithmetics=(RATIONAL,))
def one_is_found(attack):
    return only_if(attack, len(attack.missing()) == len(attack.training), "zeros contain some training sample")


@theorem.false_twin("it holds if no two candidates coincide", arithmetics=(RATIONAL,))
def distinct(attack):
    count = len({tuple(map(str, row)) for row in attack.candidates})
    return only_if(attack, count == len(attack.candidates), "zeros of distinct candidates contain the data")


@theorem.false_twin("every training sample has a candidate within a tenth of its norm", arithmetics=(RATIONAL,))
def near(attack):
    def is_near(sample):
        gaps = [(sample - candidate) @ (sample - candidate) for candidate in attack.candidates]
        return any(100 * gap <= sample @ sample for gap in gaps)

    return only_if(attack, not all(is_near(x) for x in attack.training), "zeros are near the data")
