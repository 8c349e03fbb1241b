r"""At an (ε, δ)-KKT point pairs across the span of the data have the same residual, as far as min |z| / ε.

Let θ be arbitrary for a network f whose first layer is dense, r = θ − Σ_i c_i ∇_θ f(x_i) and R its block for the first
layer's weights W. If ν is orthogonal to all x_i, then Wν = Rν, so ‖Wν‖ ≤ ‖R‖_F ‖ν‖ ≤ ε ‖ν‖ for an ε-stationary point. Let
f have two layers with (leaky) ReLUs and slopes in [0, 1]. While t ‖R‖_F ‖ν‖ < |z_k(x_i)| for all neurons, the pair x_i ±
tν with half the coefficient each has exactly the tangents of x_i: the residual of the data set does not change at all,
and the outputs change by t ‖v‖ ‖R‖_F ‖ν‖ at most.

Notes
-----
Training stops at ε-stationary points, where the exact statement (`noprior2025.orthogonal_shifts`) says nothing. Here ε enters
the distance only: the pairs reach min_k |z_k| / ε, and to any distance as ε → 0. An (ε, δ)-KKT point becomes an
(ε, δ + t ‖v‖ ε)-KKT point, and with ν orthogonal to ∇_x f(x_i) as well δ stays (`noprior2025.splitting`, which needs no
stationarity). A sample on a kink has to stay there, w_k·ν = 0, which an inexact point need not allow.

Proof. W = R + ΔᵀX and Xν = 0. A row has |w_k·ν| ≤ ‖R‖_F ‖ν‖, so no pre-activation changes its sign. f changes by
t Σ_k v_k s_k w_k·ν, at most t ‖v‖ ‖Wν‖.

Source: arXiv:2509.21296, Theorems 8 and 9, known from a summary ((ε, δ)-KKT points); this form is derived here.
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
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies import seeds
from provable.theorems.strategies.shifted_points import ShiftedPoint, shifted_points
from provable.theorems.strategies.stationary_points import StationaryPoint

theorem = Theorem(
    statement=r"""Let f(x) = \sum_k v_k \sigma(w_k \cdot x + b_k), \sigma(z) = z for z >= 0 and az otherwise, 0 <= a <= 1,
    with or without biases, r = \theta - \sum_i c_i \nabla_\theta f(x_i) with the block R for W, and \nu \perp x_i for all
    i. Then \|W\nu\| \le \|R\|_F \|\nu\|. If t \|R\|_F \|\nu\| < |w_k \cdot x_i + b_k| for all k, replacing
    c_i \delta_{x_i} by c_i/2 at both x_i \pm t\nu leaves r as it is and changes f by t \|v\| \|R\|_F \|\nu\| at most.""",
    source=Source("arXiv:2509.21296", "Theorems 8 and 9", "from a summary; this form is derived here"),
    expected="proved",
    does_not_say="anything of samples on kinks, nor of deeper networks",
)

ORTHOGONAL, NEAR = "a direction orthogonal to all samples", "steps within the bound"


@st.composite
def disturbed_points(draw, *, factor=1.0):
    """KKT points with disturbed parameters; all samples move along the first direction."""
    shifted = draw(shifted_points(depths=(2,)))
    point, rng = shifted.point, np.random.default_rng(draw(seeds()))
    size = 2.0 ** -draw(st.sampled_from((0, 4, 12)))
    noise = size * rng.integers(-2, 3, size=point.parameters.vector().shape)
    theta = Parameters.from_vector(point.architecture, point.parameters.vector() + noise)
    point = dataclasses.replace(point, parameters=theta)
    directions = shifted.directions[[int(np.argmax(np.any(shifted.directions, axis=1)))] * len(point.inputs)]
    found = ShiftedPoint(point, directions, 1.0)
    exact = RATIONAL.convert(found)
    z = pre_activations(exact)
    assume(np.all(np.asarray(z != 0, dtype=bool)))
    squared = seen_at_most(exact)
    largest = math.sqrt(float(min((z * z).reshape(-1)) / squared)) if squared != 0 else 2.0**10
    return dataclasses.replace(found, distance=factor * 2.0 ** math.floor(math.log2(largest) - 1e-9))


def pre_activations(shifted):
    theta = shifted.point.parameters
    z = shifted.point.points @ theta["0/weight"].T
    return z + theta["0/bias"] if "0/bias" in theta else z


def residual(shifted):
    return Parameters.from_vector(
        shifted.point.architecture, shifted.point.parameters.vector() - shifted.point.explained.vector()
    )


def seen_at_most(shifted):
    """‖R‖_F² ‖ν‖²."""
    direction = shifted.directions[0]
    return (residual(shifted)["0/weight"] ** 2).sum() * (direction**2).sum()


theorem.instances(disturbed_points())


@theorem.hypothesis(ORTHOGONAL, arithmetic=RATIONAL)
def is_orthogonal(shifted):
    return not np.any(shifted.directions @ shifted.point.points.T != 0)


@theorem.hypothesis(NEAR, arithmetic=RATIONAL)
def within_bound(shifted):
    z = pre_activations(shifted)
    room = z * z - shifted.distance**2 * seen_at_most(shifted)
    return all(value > 0 for value in room.reshape(-1))


@theorem.degenerate
def stationary_after_all(shifted):
    return seen_at_most(shifted) == 0


def pairs(shifted):
    moves = shifted.distance * shifted.directions
    return np.concatenate([shifted.point.points + moves, shifted.point.points - moves])


def same_residual(shifted):
    point = shifted.point
    half = point.weights * point.labels * constant(0.5, point.points)
    image = embed(point.architecture, point.parameters, Measure(pairs(shifted), np.concatenate([half, half])))
    return equal(
        point.parameters.vector() - image.vector(), residual(shifted).vector(), operations=20, name="the residual"
    )


def changes(shifted):
    point = shifted.point
    before = forward(point.architecture, point.parameters, point.points)[:, 0]
    return forward(point.architecture, point.parameters, pairs(shifted))[:, 0] - np.concatenate([before, before])


@theorem.claim(arithmetics=(RATIONAL,))
def nearly_invisible(shifted):
    seen = shifted.point.parameters["0/weight"] @ shifted.directions[0]
    yield at_most((seen * seen).sum(), seen_at_most(shifted), operations=20, name="‖Wν‖² ≤ ‖R‖² ‖ν‖²")
    yield same_residual(shifted)
    change, outer = changes(shifted), shifted.point.parameters["2/weight"]
    yield at_most(
        change * change,
        shifted.distance**2 * (outer * outer).sum() * seen_at_most(shifted),
        operations=20,
        name="(f(x ± tν) - f(x))² ≤ t² ‖v‖² ‖R‖² ‖ν‖²",
    )


@theorem.derivation
def the_residual_alone_sees_it():
    import sympy

    r, d, x, nu, a, b = (sympy.symbols(f"{name}_1:3", real=True) for name in ("r", "d", "x", "nu", "a", "b"))
    row = [r[j] + d[0] * x[j] for j in (0, 1)]
    inner = sum(x[j] * nu[j] for j in (0, 1))
    yield identity(
        "a row of W = R + ΔᵀX: w·ν = R·ν + δ (x·ν), and x·ν = 0",
        sympy.expand(sum(row[j] * nu[j] for j in (0, 1)) - d[0] * inner),
        sympy.expand(sum(r[j] * nu[j] for j in (0, 1))),
    )
    yield identity(
        "Cauchy-Schwarz, for rows of R with ν and for v with Wν",
        sympy.expand((a[0] ** 2 + a[1] ** 2) * (b[0] ** 2 + b[1] ** 2) - (a[0] * b[0] + a[1] * b[1]) ** 2),
        sympy.expand((a[0] * b[1] - a[1] * b[0]) ** 2),
    )
    c, t, delta, move = sympy.symbols("c t delta nu", real=True)
    yield identity(
        "in one cell the pair adds c δ (tν - tν) / 2 = 0 to the gradient of W, and h, affine too, in the second layer",
        sympy.expand(sum(c / 2 * delta * (x[0] + sign * t * move) for sign in (1, -1))),
        c * delta * x[0],
    )


def one_unit(weight, sample, direction, step):
    architecture = Architecture("one unit", (2,), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "logistic")
    parameters = Parameters(architecture, {"0/weight": np.array([weight]), "2/weight": np.ones((1, 1))})
    point = StationaryPoint(architecture, parameters, np.array([sample]), 1.0, np.ones(1), np.ones(1), 1.0)
    return ShiftedPoint(point, np.array([direction]), step)


@theorem.without(ORTHOGONAL)
def along_the_sample():
    return one_unit([1.0, 0.0], [1.0, 0.0], [1.0, 0.0], 2.0)


@theorem.without(NEAR)
def twice_the_bound():
    return one_unit([1.0, 1.0], [1.0, 0.0], [0.0, 1.0], 2.0)


@theorem.false_twin("the outputs stay, as at a stationary point", arithmetics=(RATIONAL,))
def same_outputs(shifted):
    change = changes(shifted)
    return equal(change, 0 * change, operations=20, name="f(x ± tν) = f(x)")


@theorem.false_twin(
    "four times as far is as good", without=(NEAR,), instances=disturbed_points(factor=4.0), arithmetics=(RATIONAL,)
)
def farther(shifted):
    return same_residual(shifted)


@theorem.false_twin("the first layer sees nothing of ν", arithmetics=(RATIONAL,))
def nothing_seen(shifted):
    seen = shifted.point.parameters["0/weight"] @ shifted.directions[0]
    return equal(seen, 0 * seen, operations=20, name="Wν = 0")


@theorem.false_twin("half the residual bounds it", arithmetics=(RATIONAL,))
def half_the_residual(shifted):
    seen = shifted.point.parameters["0/weight"] @ shifted.directions[0]
    quarter = constant(0.25, shifted.point.points)
    return at_most((seen * seen).sum(), seen_at_most(shifted) * quarter, operations=20, name="‖Wν‖ ≤ ‖R‖ ‖ν‖ / 2")


@theorem.false_twin("moving along ν without the mirror image leaves the residual", arithmetics=(RATIONAL,))
def one_side(shifted):
    point = shifted.point
    c = point.weights * point.labels
    image = embed(point.architecture, point.parameters, Measure(pairs(shifted)[: len(c)], c))
    return equal(
        point.parameters.vector() - image.vector(), residual(shifted).vector(), operations=20, name="the residual"
    )
