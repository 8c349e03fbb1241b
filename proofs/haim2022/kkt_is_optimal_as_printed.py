r"""Refuted: a KKT point of the max-margin problem need not be its optimum, though training is said to maximise the margin.

What is proved of gradient descent on homogeneous networks (Lyu and Li 2020; Ji and Telgarsky 2020) is convergence to the
direction of a KKT point, and KKT points can be worse than the optimum. Two samples of one label, norm n and an obtuse
angle α give two of them: one neuron for each sample, far from all kinks, and one neuron for both. Their ½‖θ‖² are 2/n and
1/(n cos(α/2)), and the second one is smaller for α < 120°.

Notes
-----
Proof. The neuron u_k = x_k/n² is inactive on the other sample, since cos α < 0; f(x_k) = u_k·x_k = 1 and u_k/‖u_k‖ = λ_k
x_k with λ_k = 1/n: a KKT point, near which f is smooth, every neuron is alive and balanced and every sample is a support
vector with the same multiplier. The neuron u = (x_1 + x_2)/(n² (1 + cos α)) has u·x_k = 1 and ‖u‖ = 1/(n cos(α/2)), and is
a KKT point too. The multipliers of the first violate the dual constraint at x_1 + x_2. What a KKT point needs to be
optimal is that constraint (`max_margin_weak_duality`); `provable.max_margin` decides it.

With x_1 = (p, q), x_2 = (p, -q), p < q: n cos(α/2) = p. Divided by p they are (1, ±q/p), samples ±q/p with a bias.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, at_most, equal, holds

theorem = Theorem(
    statement=r"""As it is sometimes said: if $\theta$ is a KKT point of $\min \frac12\|\theta\|^2$ subject to $y_i
    f(\theta; x_i) \ge 1$ for a two-layer ReLU network, then no network with these margins has a smaller norm.""",
    source=Source("arXiv:2206.07758", "Theorem 3.1, read as convergence to the largest margin", "a reading of it"),
    expected="refuted",
    corrected_by="haim2022.max_margin_weak_duality",
    does_not_say="that gradient descent ends at the worse point: that depends on the start",
)

TRIANGLES = ((3, 4, 5), (5, 12, 13), (8, 15, 17), (20, 21, 29), (12, 35, 37), (28, 45, 53), (33, 56, 65), (48, 55, 73))
"""p < q and the hypotenuse n."""


@dataclass(frozen=True)
class Pair:
    """Samples (p, ±q) of label 1 and their norm; divided by p, if there is a bias."""

    near: float
    far: float
    norm: float
    biased: bool = False


@st.composite
def pairs(draw, *, biased=None):
    near, far, norm = draw(st.sampled_from(TRIANGLES))
    return Pair(float(near), float(far), float(norm), draw(st.booleans()) if biased is None else biased)


theorem.instances(pairs())


def samples(case):
    """x̃_1, x̃_2 and their norm."""
    scale = case.near if case.biased else 1 + 0 * case.near
    inputs = np.array([[case.near, case.far], [case.near, -case.far]], dtype=object) / scale
    return inputs, case.norm / scale


def separate(case):
    """u_k, λ_k of one neuron for each sample."""
    inputs, norm = samples(case)
    return inputs / (norm * norm), 1 / norm


# the statement is false with its hypothesis
@theorem.hypothesis("a KKT point", arithmetic=RATIONAL, necessity_unknown=True)
def is_stationary(case):
    inputs, norm = samples(case)
    neurons, multiplier = separate(case)
    products = neurons @ inputs.T
    off = products[0, 1] < 0 and products[1, 0] < 0 and products[0, 0] == 1 and products[1, 1] == 1
    lengths = [neuron @ neuron == multiplier * multiplier for neuron in neurons]
    directions = neurons / multiplier == multiplier * inputs
    return bool(off and all(lengths) and np.all(directions) and norm > 0)


def compare(case):
    """½‖θ‖² against that of one neuron with margins 1."""
    inputs, _ = samples(case)
    _, multiplier = separate(case)
    competitor = np.array([1 / inputs[0, 0], 0 * inputs[0, 0]], dtype=object)
    yield equal(inputs @ competitor, 1 + 0 * inputs[:, 0], operations=5, name="the other network has margins 1")
    yield at_most(2 * multiplier, competitor[0], operations=5, name="½‖θ‖² is at most that of the other network")


@theorem.claim(arithmetics=(RATIONAL,))
def no_smaller_norm(case):
    yield from compare(case)


@theorem.counterexample
def angle_of_106_degrees():
    return Pair(3.0, 4.0, 5.0)


@theorem.false_twin("at least if f is smooth near θ: no kink passes through a sample")
def smooth(case):
    inputs, _ = samples(case)
    neurons, _ = separate(case)
    yield holds(bool(np.all(neurons @ inputs.T != 0)), name="no kinks")
    yield from compare(case)


@theorem.false_twin("at least if all samples are support vectors with equal multipliers, and all neurons are alive")
def symmetric(case):
    neurons, multiplier = separate(case)
    yield holds(bool(multiplier > 0) and all(neuron @ neuron > 0 for neuron in neurons), name="alive and symmetric")
    yield from compare(case)


@theorem.false_twin("at least if the first layer has a bias", instances=pairs(biased=True))
def with_bias(case):
    yield from compare(case)


@theorem.false_twin("at least if the angle is beyond 90°: the samples would share a neuron only at acute angles")
def obtuse(case):
    inputs, _ = samples(case)
    yield holds(bool(inputs[0] @ inputs[1] < 0), name="obtuse")
    yield from compare(case)


@theorem.false_twin("up to a factor of 6/5", instances=st.just(Pair(48.0, 55.0, 73.0)))
def up_to_a_factor(case):
    inputs, _ = samples(case)
    _, multiplier = separate(case)
    return at_most(10 * multiplier, 6 / inputs[0, 0], operations=5, name="½‖θ‖² ≤ 6/5 of the other one")
