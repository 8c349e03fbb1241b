r"""Data near a subspace leave pairs with exact stationarity: the smaller σ_d, the farther they may go.

Let f(x) = Σ_k v_k σ(w_k·x + b_k) have two layers, with σ ReLU or leaky ReLU with slopes in [0, 1], with or without biases
b, and let θ = Σ_i c_i ∇_θ f(x_i). For every direction ν, with X the matrix of the samples with c_i ≠ 0, |w_k·ν| ≤ |v_k|
‖c‖ ‖Xν‖ and |∇_x f(x)·ν| ≤ ‖v‖² ‖c‖ ‖Xν‖. So while t |v_k| ‖c‖ ‖Xν‖ < |z_k(x_i)| for all neurons, the pair x_i ± tν stays
in the closed activation cell: with half the coefficient each it has exactly the tangents of x_i, and its margins differ
from that of x_i by t ‖v‖² ‖c‖ ‖Xν‖ at most.

Notes
-----
With ν the last right singular vector of X, ‖Xν‖ = σ_d, and each sample can move by t = min_k |z_k(x_i)| / (|v_k| ‖c‖ σ_d) in
both directions: to infinity as σ_d → 0, where it becomes `noprior2025.orthogonal_shifts`. For a KKT point with all support
vectors on the margin m, ‖v‖² = m Σ λ_i (`haim2022.layer_balance`), so the change of the margins is at most
t m σ_d ‖λ‖ Σ λ_i; choosing ν orthogonal to ∇_x f(x_i) as well makes it zero (`noprior2025.splitting`).

Proof. w_k = v_k Σ_i c_i s_ik x_i with s_ik in [0, 1], whatever the bias; Cauchy-Schwarz for (c_i s_ik) and Xν. Then ∇_x
f·ν = Σ_k v_k s_k w_k·ν. One sample and one neuron give equality. The distances are lower bounds: cells may reach farther.

Source: arXiv:2509.21296, Theorem 5, known from a summary (a version for data near a subspace, by σ_d); this form with its
constants is derived here, and need not be the one printed.
"""

import dataclasses
import math

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, constant
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.stationarity.activation_cells import activation_cells
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies import seeds
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""Let f(x) = \sum_k v_k \sigma(w_k \cdot x + b_k), \sigma(z) = z for z >= 0 and az otherwise, 0 <= a <= 1,
    with or without biases, and \theta = \sum_i c_i \nabla_\theta f(x_i), X the samples with c_i \ne 0. Then for every
    \nu, |w_k \cdot \nu| \le |v_k| \|c\| \|X\nu\| and |\nabla_x f(x) \cdot \nu| \le \|v\|^2 \|c\| \|X\nu\|. If
    t |v_k| \|c\| \|X\nu\| < |w_k \cdot x_i + b_k| for all k, then c_i/2 at both x_i \pm t\nu have the tangent embedding
    of c_i at x_i, and f changes by t \|v\|^2 \|c\| \|X\nu\| at most.""",
    source=Source("arXiv:2509.21296", "Theorem 5", "from a summary; form and constants are derived here"),
    expected="proved",
    does_not_say="that pairs cannot go farther, nor anything of deeper networks",
)

STATIONARY, NEAR = "stationarity", "steps within the bound"


@dataclasses.dataclass(frozen=True)
class NearSubspace:
    """A stationary point, a direction ν, a sample and a step t."""

    point: StationaryPoint
    direction: np.ndarray
    sample: int
    step: float


def support(near):
    return np.asarray(near.point.multipliers != 0, dtype=bool)


def bound(near):
    """‖c‖² ‖Xν‖²."""
    c = near.point.weights[support(near)]
    seen = near.point.points[support(near)] @ near.direction
    return (c * c).sum() * (seen * seen).sum()


def values(near):
    """Pre-activations at the sample."""
    theta = near.point.parameters
    values = theta["0/weight"] @ near.point.points[near.sample]
    return values + theta["0/bias"] if "0/bias" in theta else values


def outer(near):
    return near.point.parameters["2/weight"][0]


@st.composite
def near_subspaces(draw, *, factor=1.0):
    point = draw(stationary_points(depths=(2,), activations=("relu", "leaky_relu")))
    rng = np.random.default_rng(draw(seeds()))
    direction = rng.integers(-2, 3, size=point.inputs.shape[1]) / 1.0
    assume(np.any(direction))
    near = NearSubspace(point, direction, int(rng.integers(len(point.inputs))), 1.0)
    exact = RATIONAL.convert(near)
    z, scale = values(exact), bound(exact) * outer(exact) ** 2
    assume(np.all(np.asarray(z != 0, dtype=bool)))
    squares = [float(value * value / size) for value, size in zip(z, scale, strict=True) if size != 0]
    largest = math.sqrt(min(squares, default=4.0**10))
    return dataclasses.replace(near, step=factor * 2.0 ** math.floor(math.log2(largest) - 1e-9))


theorem.instances(near_subspaces())


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(near):
    return near.point.is_stationary


@theorem.hypothesis(NEAR, arithmetic=RATIONAL)
def within_bound(near):
    z = values(near)
    room = z * z - near.step**2 * outer(near) ** 2 * bound(near)
    return all(value > 0 for value in room)


@theorem.degenerate
def not_seen_at_all(near):
    return bound(near) == 0


def pair(near):
    sample = near.point.points[near.sample]
    return np.stack([sample + near.step * near.direction, sample - near.step * near.direction])


def gradients(near):
    """∇_x f at all samples."""
    cells = activation_cells(near.point.architecture, near.point.parameters, near.point.points)
    return np.stack([cells.cell(i).outputs[0] for i in range(len(near.point.points))])


def neurons_hardly_see(near, size):
    seen = near.point.parameters["0/weight"] @ near.direction
    return at_most(seen * seen, outer(near) ** 2 * size, operations=20, name="(w_k·ν)² ≤ v_k² ‖c‖² ‖Xν‖²")


def outputs(near, points):
    return forward(near.point.architecture, near.point.parameters, points)[:, 0]


def same_tangents(near):
    point = near.point
    c = (point.weights * point.labels)[near.sample]
    half = c * constant(0.5, point.points)

    def image(points, coefficients):
        return embed(point.architecture, point.parameters, Measure(points, coefficients)).vector()

    sample = point.points[near.sample : near.sample + 1]
    both = np.array([half, half], dtype=sample.dtype)
    whole = np.array([c], dtype=sample.dtype)
    return equal(image(pair(near), both), image(sample, whole), operations=20, name="tangents")


@theorem.claim(arithmetics=(RATIONAL,))
def hardly_seen(near):
    size, norm = bound(near), (outer(near) ** 2).sum()
    yield neurons_hardly_see(near, size)
    slopes = gradients(near) @ near.direction
    yield at_most(slopes * slopes, norm**2 * size, operations=20, name="(∇f·ν)² ≤ ‖v‖⁴ ‖c‖² ‖Xν‖²")
    yield same_tangents(near)
    change = outputs(near, pair(near)) - outputs(near, near.point.points)[near.sample]
    yield at_most(
        change * change, near.step**2 * norm**2 * size, operations=20, name="(f(x ± tν) - f(x))² ≤ t² ‖v‖⁴ ‖c‖² ‖Xν‖²"
    )


@theorem.derivation
def cauchy_schwarz():
    """Two samples and two neurons; more are the same sums."""
    import sympy

    a, x, v, w, s = (sympy.symbols(f"{name}_1:3", real=True) for name in ("a", "x", "v", "w", "s"))
    yield identity(
        "Cauchy-Schwarz for a_i = c_i s_i and (Xν)_i: ‖a‖²‖Xν‖² - (a·Xν)² is a square",
        sympy.expand((a[0] ** 2 + a[1] ** 2) * (x[0] ** 2 + x[1] ** 2) - (a[0] * x[0] + a[1] * x[1]) ** 2),
        sympy.expand((a[0] * x[1] - a[1] * x[0]) ** 2),
    )
    c, t = sympy.symbols("c t", real=True)
    yield identity(
        "slopes in [0, 1] only shrink: c² - (c s)² = c² (1 - s)(1 + s)",
        sympy.expand(c**2 * (1 - t) * (1 + t)),
        c**2 - (c * t) ** 2,
    )
    bounds = [v[k] * w[k] for k in (0, 1)]  # w_k·ν ≤ |v_k| B, with the sign of v_k taken into w_k
    yield identity(
        "∇f·ν = Σ v_k s_k (w_k·ν), and with w_k·ν = v_k B the sum is B Σ s_k v_k² ≤ B ‖v‖²",
        sympy.expand(sum(v[k] * s[k] * bounds[k] for k in (0, 1)).subs({w[0]: c, w[1]: c})),
        sympy.expand(c * (s[0] * v[0] ** 2 + s[1] * v[1] ** 2)),
    )


def one_unit(weight, sample, direction, step, multiplier=1.0):
    architecture = Architecture(
        "one unit", (len(sample),), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "logistic"
    )
    parameters = Parameters(architecture, {"0/weight": np.array([weight]), "2/weight": np.ones((1, 1))})
    point = StationaryPoint(architecture, parameters, np.array([sample]), 1.0, np.ones(1), np.array([multiplier]), 1.0)
    return NearSubspace(point, np.array(direction), 0, step)


@theorem.without(STATIONARY)
def weights_outside_the_span():
    return one_unit([1.0, 1.0], [1.0, 0.0], [0.0, 1.0], 4.0)


@theorem.without(NEAR)
def four_times_the_bound():
    return one_unit([1.0], [1.0], [1.0], 4.0)


@theorem.false_twin("half the bound holds", arithmetics=(RATIONAL,))
def half_the_bound(near):
    return neurons_hardly_see(near, bound(near) * constant(0.25, near.point.points))


@theorem.false_twin("the multipliers do not matter: |w_k·ν| ≤ |v_k| ‖Xν‖ / (2‖X‖)", arithmetics=(RATIONAL,))
def without_multipliers(near):
    points = near.point.points[support(near)]
    seen, size = points @ near.direction, (points * points).sum()
    return neurons_hardly_see(near, (seen * seen).sum() / size / 4)


@theorem.false_twin("the outputs stay as they are", arithmetics=(RATIONAL,))
def same_outputs(near):
    before = outputs(near, near.point.points)[[near.sample, near.sample]]
    return equal(outputs(near, pair(near)), before, operations=20, name="f(x ± tν) = f(x)")


@theorem.false_twin(
    "four times as far is as good", without=(NEAR,), instances=near_subspaces(factor=4.0), arithmetics=(RATIONAL,)
)
def farther(near):
    return same_tangents(near)


@theorem.false_twin("the largest multiplier stands for all: ‖c‖∞ instead of ‖c‖", arithmetics=(RATIONAL,))
def largest_multiplier(near):
    c = near.point.weights[support(near)]
    seen = near.point.points[support(near)] @ near.direction
    return neurons_hardly_see(near, max(c) ** 2 * (seen * seen).sum())
