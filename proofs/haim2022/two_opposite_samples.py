r"""Two samples of different labels: the largest margin in closed form; at acute angles it needs the slope cos α at kinks.

Let x_1, x_2 (with the constant coordinate, if there is a bias) have different labels, norms n_1, n_2 and the angle α > 0, and
let t = max(cos α, 0). Among all two-layer ReLU networks, of any width, with margins of at least 1 the smallest ½‖θ‖² is

    (1/n_1 + 1/n_2) / √(1 - t²),

attained by one neuron for each sample. For α ≤ 90° each neuron's kink passes exactly through the other sample, and there the
KKT conditions hold with one slope of the ReLU only, cos α: neither with 0, nor 1, nor 1/2, unless that is cos α.

So the simplest data set with two labels refutes the published attack's premise that the data are a zero of its loss: the loss
takes the slope 0 or 1 at the kinks (or a smooth function's value), and the true samples with their true multipliers leave a
residual of order cos α. The multipliers are λ_i = 1/(n_i √(1 - t²)).

Notes
-----
Proof. Put S = √(1 - t²), u_1 = (x_1/n_1 - t x_2/n_2)/(n_1 S²), u_2 likewise, f(x) = y_1 (relu(u_1·x) - relu(u_2·x)). Then
u_1·x_1 = (1 - t cos α)/S² = 1 and u_1·x_2 = n_2 (cos α - t)/(n_1 S²) ≤ 0: margins are 1. ‖u_1‖ = 1/(n_1 S) = λ_1, and
u_1/‖u_1‖ = λ_1 x_1 - t λ_2 x_2, so the network is stationary with the slope t at x_2. Optimality by weak duality: for
every w,

    λ_1 relu(w·x_1) - λ_2 relu(w·x_2) ≤ w·(λ_1 x_1 - t λ_2 x_2) ≤ ‖w‖   if w·x_1 ≥ 0, and ≤ 0 otherwise,

because relu(z) ≥ t z for 0 ≤ t ≤ 1; and Σ λ_i = ‖u_1‖ + ‖u_2‖.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, at_most, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $y_1 \ne y_2$, $\tilde x_1, \tilde x_2$ with norms $n_i$ and angle $\alpha > 0$, $t =
    \max(\cos\alpha, 0)$. The minimum of $\frac12\|\theta\|^2$ over all two-layer ReLU networks with $y_i f(x_i) \ge
    1$ is $(1/n_1 + 1/n_2)/\sqrt{1 - t^2}$. For $\alpha \le 90°$ each neuron of the optimum has the other sample on
    its kink, and the KKT conditions hold there with the slope $\cos\alpha$.""",
    source=Source("arXiv:2206.07758", "Theorem 3.1, the smallest case", "derived here"),
    expected="proved",
    does_not_say="that gradient descent finds this point, nor that the slope is unique for more samples on one kink",
)

LABELS, DIRECTIONS = "different labels", "different directions"

PYTHAGOREAN = ((1, 0), (4, 3), (3, 4), (0, 1), (12, 5), (5, 12), (24, 7), (-3, 4), (-4, -3), (0, -1), (-1, 0), (7, -24))


@dataclass(frozen=True)
class Pair:
    """Two samples with integer norms, their labels, and any neuron."""

    first: np.ndarray
    second: np.ndarray
    norms: np.ndarray
    labels: np.ndarray
    neuron: np.ndarray


def pair(first, second, sizes=(1, 1), labels=(1.0, -1.0), neuron=(1.0, 0.0)):
    vectors = [np.array(x, dtype=float) * size for x, size in zip((first, second), sizes, strict=True)]
    norms = np.array([np.rint(np.linalg.norm(x)) for x in vectors])
    return Pair(*vectors, norms, np.array(labels), np.array(neuron))


@st.composite
def pairs(draw, *, acute=False):
    first, second = (draw(st.sampled_from(PYTHAGOREAN)) for _ in range(2))
    if acute:
        first, second = draw(
            st.sampled_from((((1, 0), (4, 3)), ((3, 4), (4, 3)), ((12, 5), (3, 4)), ((0, 1), (24, 7))))
        )
    sizes = [draw(st.integers(1, 3)) for _ in range(2)]
    label = draw(st.sampled_from((1.0, -1.0)))
    return pair(first, second, sizes, (label, -label), draw(readable_arrays((2,))))


theorem.instances(pairs())


@theorem.hypothesis(LABELS, arithmetic=RATIONAL)
def labels_differ(case):
    return case.labels[0] != case.labels[1]


@theorem.hypothesis(DIRECTIONS, arithmetic=RATIONAL)
def not_on_one_ray(case):
    return case.first @ case.second != case.norms[0] * case.norms[1]


@theorem.degenerate
def orthogonal(case):
    return case.first @ case.second == 0


def relu(z):
    return z if z > 0 else 0 * z


def solution(case):
    """cos α, t, S², λ and u; on one ray nothing is known, and zeros are returned."""
    cosine = case.first @ case.second / (case.norms[0] * case.norms[1])
    determinant = case.first[0] * case.second[1] - case.first[1] * case.second[0]
    t = relu(cosine)
    sine = abs(determinant) / (case.norms[0] * case.norms[1]) if t > 0 else 1 + 0 * cosine
    units = case.first / case.norms[0], case.second / case.norms[1]
    if sine == 0:
        return cosine, t, sine, [sine, sine], [0 * units[0], 0 * units[1]]
    multipliers = [1 / (norm * sine) for norm in case.norms]
    neurons = [(units[i] - t * units[1 - i]) / (case.norms[i] * sine * sine) for i in (0, 1)]
    return cosine, t, sine, multipliers, neurons


def output(case, neurons, x):
    return case.labels[0] * (relu(neurons[0] @ x) - relu(neurons[1] @ x))


def stationary_with(case, slope, name):
    """u_i/‖u_i‖ = λ_i x_i - slope·λ_j x_j, where ‖u_i‖ = λ_i."""
    cosine, _, _, multipliers, neurons = solution(case)
    samples = case.first, case.second
    for i in (0, 1):
        unit = neurons[i] / multipliers[i]
        right = multipliers[i] * samples[i] - slope(cosine) * multipliers[1 - i] * samples[1 - i]
        yield equal(unit, right, operations=20, name=f"{name}, neuron {i + 1}")


@theorem.claim(arithmetics=(RATIONAL,))
def the_network_is_optimal(case):
    cosine, t, sine, multipliers, neurons = solution(case)
    samples = case.first, case.second
    yield holds(sine != 0, name="some network separates the samples")
    if sine == 0:
        return
    for x, y in zip(samples, case.labels, strict=True):
        yield equal(y * output(case, neurons, x), 1 + 0 * cosine, operations=30, name="margins are 1")
    for i in (0, 1):
        other = neurons[i] @ samples[1 - i]
        yield holds(
            other == 0 if cosine >= 0 else other < 0, name="the other sample is on the kink, or inactive if α > 90°"
        )
        yield equal(neurons[i] @ neurons[i], multipliers[i] ** 2, operations=30, name="‖u_i‖ = λ_i")
    yield from stationary_with(case, lambda c: t, "stationary with the slope max(cos α, 0)")
    # weak duality makes this the optimum: the sum of the λ_i is the sum of the ‖u_i‖
    value = multipliers[0] * relu(case.neuron @ case.first) - multipliers[1] * relu(case.neuron @ case.second)
    yield at_most(value * value, case.neuron @ case.neuron, operations=20, name="|h(w)| ≤ ‖w‖")


@theorem.derivation
def from_the_gram_matrix():
    """Every number depends on n_1, n_2 and cos α alone, so the dimension does not matter."""
    import sympy as sp

    n, m, c, s, z = sp.symbols("n m c s z", positive=True)
    gram = sp.Matrix([[n**2, n * m * c], [n * m * c, m**2]])
    lam, mu = 1 / (n * s), 1 / (m * s)

    def reduced(expression):
        return sp.simplify(sp.expand(expression).subs(s, sp.sqrt(1 - c**2)))

    acute = sp.Matrix([1 / n, -c / m]) / (n * s**2)  # u_1 in the basis x_1, x_2
    yield identity("α ≤ 90°: u_1·x_1 = 1", reduced((acute.T * gram)[0]), 1)
    yield identity("α ≤ 90°: u_1·x_2 = 0", reduced((acute.T * gram)[1]), 0)
    yield identity("α ≤ 90°: ‖u_1‖² = λ_1²", reduced((acute.T * gram * acute)[0]), reduced(lam**2))
    direction = sp.Matrix([lam, -c * mu])
    yield identity("α ≤ 90°: u_1/λ_1 = λ_1 x_1 - cos α λ_2 x_2", reduced((acute / lam - direction).norm() ** 2), 0)
    obtuse = sp.Matrix([1 / n**2, 0])
    d = sp.symbols("d", negative=True)
    wide = gram.subs(c, d)
    yield identity("α > 90°: u_1·x_1 = 1", (obtuse.T * wide)[0], 1)
    yield identity("α > 90°: u_1·x_2 = n_2 cos α / n_1 < 0", (obtuse.T * wide)[1], m * d / n)
    yield identity("α > 90°: ‖u_1‖² = 1/n_1²", (obtuse.T * wide * obtuse)[0], 1 / n**2)
    t = sp.symbols("t", positive=True)
    yield identity("z ≥ 0: relu(z) - t z = (1 - t) z", z - t * z, (1 - t) * z)
    yield identity("z < 0: relu(z) - t z = t |z|", 0 - t * (-z), t * z)


@theorem.without(LABELS)
def one_label():
    return pair((1, 0), (0, 1), labels=(1.0, 1.0))


@theorem.without(DIRECTIONS)
def one_ray():
    return pair((1, 0), (1, 0), sizes=(1, 2))


@theorem.false_twin("the slope 0 at kinks will do, as with the hard indicator of z > 0", instances=pairs(acute=True))
def slope_zero(case):
    yield from stationary_with(case, lambda c: 0 * c, "stationary with the slope 0")


@theorem.false_twin("the slope 1 at kinks will do", instances=pairs(acute=True))
def slope_one(case):
    yield from stationary_with(case, lambda c: 1 + 0 * c, "stationary with the slope 1")


@theorem.false_twin("the slope 1/2 at kinks will do, as with a sigmoid", instances=pairs(acute=True))
def slope_half(case):
    yield from stationary_with(case, lambda c: (1 + 0 * c) / 2, "stationary with the slope 1/2")


@theorem.false_twin("the two samples do not see each other: the optimum is 1/n_1 + 1/n_2", instances=pairs(acute=True))
def no_interaction(case):
    _, _, _, multipliers, _ = solution(case)
    return equal(sum(multipliers), sum(1 / norm for norm in case.norms), operations=20, name="½‖θ‖² = 1/n_1 + 1/n_2")


@theorem.false_twin("both multipliers are equal")
def equal_multipliers(case):
    _, _, _, multipliers, _ = solution(case)
    return equal(multipliers[0], multipliers[1], operations=20, name="λ_1 = λ_2")
