r"""Samples that do not span their space leave KKT data sets at any distance, all with the same parameters and margins.

Let θ be stationary for (x_i, y_i, λ_i), that is θ = Σ_i λ_i y_i ∇_θ f(x_i; θ), f a chain with one output whose first
layer is linear, with or without biases. Let each ν_i be orthogonal to all samples. Then for every t the data set of the
pairs x_i ± tν_i, with the labels y_i and the multipliers λ_i/2, is stationary for the same θ, its margins are those of
the x_i, and all its samples are at least t min_j ‖ν_j‖ away from all x_i. So no bound on the distance follows from θ.

Notes
-----
The gradient of W_1 at a sample is δ x_iᵀ, so stationarity puts the rows of W_1 into span{x_i}
(`noprior2025.weights_in_span`; a first-layer bias changes nothing in that, since it only adds a column) and W_1 ν_i = 0. All
values in the network are the same at x_i and x_i ± tν_i, and so are the sensitivities. Only the gradient of W_1 sees the
shift, and the pair adds λ_i y_i δ_i (tν_i - tν_i)ᵀ / 2 = 0.

The pair is needed: one sample moved alone along ν_i changes the gradient of W_1 by λ_i y_i δ_i tν_iᵀ, and is seen (first
twin). Moving several samples against each other works without doubling them when their sensitivities are dependent: see
`noprior2025.exchanges`. Activations play no role; the instances have ReLU, leaky ReLU or the identity.

Source: arXiv:2509.21296, Theorem 4, known from a summary (samples that do not span, KKT sets arbitrarily far, all on the
margin); the form with pairs, and that biases are allowed, are derived here.
"""

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, constant
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies.shifted_points import ShiftedPoint, shifted_points
from provable.theorems.strategies.stationary_points import StationaryPoint, stationary_points

theorem = Theorem(
    statement=r"""Let \theta = \sum_i \lambda_i y_i \nabla_\theta f(x_i; \theta) for a chain f with one output and a
    linear first layer, with or without biases, and let every \nu_i be orthogonal to span\{x_j\}. Then for every t the
    samples x_i \pm t\nu_i with labels y_i and multipliers \lambda_i / 2 satisfy the same equation, with f(x_i \pm t\nu_i)
    = f(x_i) and \|x_i \pm t\nu_i - x_j\| \ge t \|\nu_i\| for all i and j.""",
    source=Source("arXiv:2509.21296", "Theorem 4", "from a summary; the form with pairs is derived here"),
    expected="proved",
    does_not_say="that a sample can be moved alone, or that such data look like data",
)

STATIONARY, ORTHOGONAL = "stationarity", "directions orthogonal to all samples"


theorem.instances(shifted_points())


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(shifted):
    return shifted.point.is_stationary


@theorem.hypothesis(ORTHOGONAL, arithmetic=RATIONAL)
def is_orthogonal(shifted):
    return not np.any(shifted.directions @ shifted.point.points.T != 0)


@theorem.degenerate
def in_one_dimension_more(shifted):
    return len(shifted.point.points) == 1


def pairs(shifted):
    moves = shifted.distance * shifted.directions
    return np.concatenate([shifted.point.points + moves, shifted.point.points - moves])


def explains(shifted, points, coefficients):
    point = shifted.point
    image = embed(point.architecture, point.parameters, Measure(points, coefficients))
    return equal(image.vector(), point.parameters.vector(), operations=20, name="stationarity")


def halves(shifted):
    half = shifted.point.weights * shifted.point.labels * constant(0.5, shifted.point.points)
    return np.concatenate([half, half])


def margins(shifted, points):
    point = shifted.point
    return point.labels * forward(point.architecture, point.parameters, points)[:, 0]


@theorem.claim(arithmetics=(RATIONAL,))
def everything_stays(shifted):
    moved, count = pairs(shifted), len(shifted.directions)
    yield explains(shifted, moved, halves(shifted))
    for half in (moved[:count], moved[count:]):
        yield equal(margins(shifted, half), shifted.point.margins, operations=20, name="margins")
        gaps = half[:, None] - shifted.point.points[None]
        lengths = (shifted.directions**2).sum(axis=1) * shifted.distance**2
        yield at_most(
            np.repeat(lengths, len(lengths)), (gaps**2).sum(axis=2).reshape(-1), operations=20, name="distances"
        )


@theorem.derivation
def pairs_cancel():
    import sympy

    c, delta, t = sympy.symbols("c delta t")
    x, nu = sympy.symbols("x_1:3"), sympy.symbols("nu_1:3")
    a = sympy.symbols("a_1:3")
    other = sympy.symbols("z_1:3")
    weight = [a[0] * x[k] + a[1] * other[k] for k in (0, 1)]
    product = sympy.expand(sum(w * n for w, n in zip(weight, nu, strict=True)))
    inner = [sum(s * n for s, n in zip(sample, nu, strict=True)) for sample in (x, other)]
    yield identity(
        "a row of W_1 is Σ a_i x_i, so W_1 ν = Σ a_i (x_i·ν), which vanishes",
        product,
        sympy.expand(a[0] * inner[0] + a[1] * inner[1]),
    )
    yield identity(
        "the gradient of W_1 at the pair: c δ (x + tν)/2 + c δ (x - tν)/2 = c δ x",
        sympy.expand(sum(c / 2 * delta * (x[0] + s * t * nu[0]) for s in (1, -1))),
        c * delta * x[0],
    )
    yield identity(
        "every other gradient sees values in the network only, which stay: c g / 2 + c g / 2 = c g",
        c / 2 * delta + c / 2 * delta,
        c * delta,
    )
    gap = [x[k] + t * nu[k] - other[k] for k in (0, 1)]
    square = sum(entry**2 for entry in gap)
    difference = [x[k] - other[k] for k in (0, 1)]
    cross = 2 * t * (inner[0] - inner[1])
    yield identity(
        "‖x + tν - z‖² = ‖x - z‖² + 2t (x·ν - z·ν) + t²‖ν‖², and the middle vanishes",
        sympy.expand(square),
        sympy.expand(sum(entry**2 for entry in difference) + cross + t**2 * sum(n**2 for n in nu)),
    )


def one_unit(weight, sample, direction):
    architecture = Architecture("one unit", (2,), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "logistic")
    parameters = Parameters(architecture, {"0/weight": np.array([weight]), "2/weight": np.ones((1, 1))})
    point = StationaryPoint(architecture, parameters, np.array([sample]), 1.0, np.ones(1), np.ones(1), 1.0)
    return ShiftedPoint(point, np.array([direction]), 1.0)


@theorem.without(STATIONARY)
def weights_outside_the_span():
    return one_unit([1.0, 1.0], [1.0, 0.0], [0.0, 2.0])


@theorem.without(ORTHOGONAL)
def a_direction_that_is_seen():
    return one_unit([1.0, 0.0], [1.0, 0.0], [2.0, 0.0])


@theorem.false_twin("each sample can be moved alone", arithmetics=(RATIONAL,))
def moved_alone(shifted):
    coefficients = shifted.point.weights * shifted.point.labels
    return explains(shifted, pairs(shifted)[: len(coefficients)], coefficients)


@theorem.false_twin("both points of a pair keep the whole multiplier", arithmetics=(RATIONAL,))
def whole_multipliers(shifted):
    whole = shifted.point.weights * shifted.point.labels
    return explains(shifted, pairs(shifted), np.concatenate([whole, whole]))


@theorem.false_twin("one side may be twice as far, with the same multiplier", arithmetics=(RATIONAL,))
def uneven_pairs(shifted):
    count = len(shifted.directions)
    moved = pairs(shifted)
    moved[count:] = moved[count:] - shifted.distance * shifted.directions
    return explains(shifted, moved, halves(shifted))


@st.composite
def across_the_own_sample(draw):
    """Directions orthogonal to their own sample only."""
    point = draw(stationary_points(depths=(2,)))
    assume(point.inputs.shape[1] > 1)
    directions = np.zeros(point.inputs.shape)
    directions[:, 0], directions[:, 1] = point.inputs[:, 1], -point.inputs[:, 0]
    return ShiftedPoint(point, directions, 1.0)


@theorem.false_twin(
    "it is enough that ν_i is orthogonal to x_i",
    without=(ORTHOGONAL,),
    instances=across_the_own_sample(),
    arithmetics=(RATIONAL,),
)
def own_sample_only(shifted):
    yield explains(shifted, pairs(shifted), halves(shifted))
    yield equal(
        margins(shifted, pairs(shifted)[: len(shifted.directions)]),
        shifted.point.margins,
        operations=20,
        name="margins",
    )


@theorem.false_twin("the new samples are twice as far away", arithmetics=(RATIONAL,))
def twice_as_far(shifted):
    moved = pairs(shifted)[: len(shifted.directions)]
    gaps = ((moved - shifted.point.points) ** 2).sum(axis=1)
    return at_most(4 * (shifted.directions**2).sum(axis=1) * shifted.distance**2, gaps, operations=20, name="distances")
