r"""Kinks of a neuron of a network of largest margin pass through support vectors of the other label only, if independent.

Let h(w) = Σ_i λ_i y_i relu(w·x̃_i) with λ ≥ 0 meet the dual constraint |h(w)| ≤ ‖w‖ for all w near ŵ, with σ h(ŵ) = ‖ŵ‖ =
1, as it does at the neurons of a network of largest margin with σ the sign of its output weight. If the samples with λ_i >
0 on the kink, ŵ·x̃_i = 0, are linearly independent, all of them have the label -σ. So a kink can be where a positive
neuron stops on a negative sample, and never where it stops on a positive one: a positive sample on the kink would give a
better neuron on one of its sides.

For d = 1 with bias there is one sample at a knot (coincident ones have one label), so every knot is strictly between the
support vectors or at one of the opposite label. At the kinks the Clarke slope s_i exists with ŵ = σ Σ_i λ_i y_i s_i x̃_i.

Notes
-----
Proof. Let e_i = σ λ_i y_i > 0 for a sample i on the kink, and choose d orthogonal to the other samples on the kink with λ
> 0, and to none of x̃_i (independence). With g = Σ_{ŵ·x̃_j > 0} e_j x̃_j, σ h(ŵ + εd) + σ h(ŵ - εd) = 2 g·ŵ + ε e_i
|d·x̃_i| for small ε > 0, and g·ŵ = σ h(ŵ) = 1, while ‖ŵ ± εd‖ sum up to 2 + O(ε²). So one of the two violates the
constraint for small ε.

Existence of slopes: let r = ŵ - g, Z the samples on the kink and φ(d) = Σ_{i ∈ Z} e_i relu(d·x̃_i). The constraint near ŵ
gives φ(d) ≤ r·d for all d, hence r·d ≤ -φ(-d), and -φ(-d) is at most the support function of the zonotope {Σ_Z e_i s_i
x̃_i : s ∈ [0, 1]} at d. So r lies in it: a network of largest margin is a KKT point in Clarke's sense.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, rank
from provable.theorems import Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $h(w) = \sum_i \lambda_i y_i\,\mathrm{relu}(w \cdot \tilde x_i)$, $\lambda \ge 0$, $\sigma
    h(\hat w) = \|\hat w\| = 1$, and let the $\tilde x_i$ with $\lambda_i > 0$ and $\hat w \cdot \tilde x_i = 0$ be
    linearly independent. If one of them has $y_i = \sigma$, then $\sigma h(w) > \|w\|$ for some $w$ arbitrarily close
    to $\hat w$. So where, at a network of largest margin, the support vectors ($\lambda_i > 0$) on a neuron's kink are
    linearly independent, all of them have the label opposite to its sign.""",
    source=Source("derived", note="what the kinks of section 8.8 of the project's notes can be"),
    expected="proved",
    does_not_say="that other KKT points, such as gradient descent finds, have this property, or anything of samples with "
    "λ_i = 0, through which kinks may pass whatever their labels",
)

CONTACT, INDEPENDENT, SAME = "σ h(ŵ) = ‖ŵ‖", "independent samples on the kink", "a sample of the label σ on the kink"


@dataclass(frozen=True)
class Contact:
    """e_i = σ λ_i y_i and the inputs of active samples and of those on the kink of ŵ = (1, 0, 0); the last kink has y = σ."""

    active: np.ndarray
    active_weights: np.ndarray
    kink: np.ndarray
    kink_weights: np.ndarray


@st.composite
def contacts(draw, *, count=(1, 2), last=1.0):
    kinks = draw(st.sampled_from(count))
    numbers = draw(readable_arrays((6 + 3 * kinks,)))
    active, weights = numbers[:4].reshape(2, 2), numbers[4:6]
    # heights over the kink: one active sample of each label, so that e·height sums to 1
    heights = np.array([1.0, 1.0])
    weights = np.array([1.0 + abs(weights[0]), -abs(weights[0])])
    kink, kink_weights = numbers[6 : 6 + 2 * kinks].reshape(kinks, 2), -np.abs(numbers[6 + 2 * kinks :])
    kink_weights[-1] = last * (abs(kink_weights[-1]) or 1.0)
    return Contact(np.column_stack([heights, active]), weights, np.column_stack([np.zeros(kinks), kink]), kink_weights)


theorem.instances(contacts())


@theorem.hypothesis(CONTACT, arithmetic=RATIONAL)
def touches(case):
    return case.active_weights @ case.active[:, 0] == 1 and all(x > 0 for x in case.active[:, 0])


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent(case):
    chosen = case.kink[[k for k, e in enumerate(case.kink_weights) if e != 0]]
    return len(chosen) > 0 and rank(chosen) == len(chosen)


@theorem.hypothesis(SAME, arithmetic=RATIONAL)
def same_label(case):
    return case.kink_weights[-1] > 0


@theorem.degenerate
def one_kink(case):
    return len(case.kink) == 1


def relu(values):
    return np.where(np.asarray(values > 0, dtype=bool), values, 0 * values)


def directions(case):
    """A direction orthogonal to the other samples on the kink, and its opposite; any two if there is none."""
    target = case.kink[-1][1:]
    others = [x[1:] for x, e in zip(case.kink[:-1], case.kink_weights[:-1], strict=True) if e != 0]
    across = np.array([-others[0][1], others[0][0]], dtype=object) if others else target
    return across, -across


def exceeds(case, across, step):
    """σ h(w) > ‖w‖ at w = ŵ + step·(0, across), by squares."""
    zero = 0 * case.active[0, 0]
    neuron = np.array([zero + 1, *(step * across)], dtype=object)
    height = relu(case.active @ neuron) @ case.active_weights + relu(case.kink @ neuron) @ case.kink_weights
    return bool(height > 0) and bool(height * height > neuron @ neuron)


@theorem.claim(arithmetics=(RATIONAL,))
def a_better_neuron_is_near(case):
    # 1/2**20 and 1/2**40 stand for "arbitrarily close": e|d·x̃| ≥ 1/16 exceeds ε‖d‖² ≤ 18/2**20 by far
    step = (0 * case.active[0, 0] + 1) / 2**20
    for size in (step, step * step):
        found = any(exceeds(case, across, size) for across in directions(case))
        yield holds(found, name="σ h(w) > ‖w‖ at one of ŵ ± εd")


@theorem.derivation
def both_sides_together():
    import sympy as sp

    g, r, e, t, s = sp.symbols("g r e t s", positive=True)  # g·ŵ, g·d, e_i, |d·x̃_i|, ε
    forward, backward = g + s * r + s * e * t, g - s * r
    yield identity("d·x̃_i > 0: h(ŵ + εd) + h(ŵ - εd) = 2 g·ŵ + ε e |d·x̃_i|", forward + backward, 2 * g + s * e * t)
    yield identity("on the other samples of the kink d·x̃_j = 0, so relu adds nothing", sp.Max(0, 0 * t), 0)
    n, p = sp.symbols("n p", positive=True)  # ‖d‖² and ŵ·d
    yield identity(
        "‖ŵ + εd‖² + ‖ŵ - εd‖² = 2 + 2 ε² ‖d‖²",
        sp.expand((1 + 2 * s * p + s**2 * n) + (1 - 2 * s * p + s**2 * n)),
        sp.expand(2 + 2 * s**2 * n),
    )
    yield identity(
        "and a sum of norms is at most √(2·(2 + 2ε²‖d‖²)) ≤ 2 + ε²‖d‖², as (2 + x)² = 4 + 4x + x²",
        sp.expand((2 + s**2 * n) ** 2 - 2 * (2 + 2 * s**2 * n)),
        s**4 * n**2,
    )


def contact(active, active_weights, kink, kink_weights):
    return Contact(*(np.array(part, dtype=float) for part in (active, active_weights, kink, kink_weights)))


@theorem.without(CONTACT)
def below_the_constraint():
    return contact([[1, 0, 0], [1, 0, 0]], [0.5, 0.25], [[0, 1, 0]], [1])


@theorem.without(INDEPENDENT)
def opposite_samples_cancel():
    # x̃ and -x̃ with weights 1 and -2, and x̃ once more: relu(z) - 2 relu(z) - ... never exceeds
    return contact([[1, 0, 0], [1, 0, 0]], [2, -1], [[0, 1, 0], [0, -1, 0], [0, 1, 0]], [-2, -1, 1])


@theorem.without(SAME)
def only_the_other_label():
    return contact([[1, 0, 0], [1, 0, 0]], [2, -1], [[0, 1, 0]], [-1])


@theorem.false_twin(
    "a sample of the other label on the kink gives a better neuron as well",
    instances=contacts(last=-1.0),
    without=(SAME,),
)
def other_label(case):
    yield from a_better_neuron_is_near(case)


@theorem.false_twin("the better neuron is on the side where the sample is active")
def active_side(case):
    step = (0 * case.active[0, 0] + 1) / 2**20
    chosen = [across for across in directions(case) if case.kink[-1][1:] @ across > 0]
    yield holds(any(exceeds(case, across, step) for across in chosen), name="σ h(w) > ‖w‖ on the active side")


@theorem.false_twin("any direction will do")
def along_the_first_axis(case):
    step = (0 * case.active[0, 0] + 1) / 2**20
    unit = np.array([step * 0 + 1, step * 0], dtype=object)
    yield holds(any(exceeds(case, side * unit, step) for side in (1, -1)), name="σ h(w) > ‖w‖ at ŵ ± ε(0, 1, 0)")


@theorem.false_twin("both sides are better")
def both_sides(case):
    step = (0 * case.active[0, 0] + 1) / 2**20
    yield holds(all(exceeds(case, across, step) for across in directions(case)), name="σ h(w) > ‖w‖ on both sides")
