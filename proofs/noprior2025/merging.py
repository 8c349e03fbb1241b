r"""Merging the samples of one activation cell into their weighted mean changes neither the stationarity nor the margin.

Let x_1, …, x_k lie in one closed activation cell of a chain f with (leaky) ReLUs, with the same slopes (Clarke weights)
and with coefficients c_i of one sign. Then C = Σ c_i at the mean x̄ = Σ c_i x_i / C has the same tangent embedding, x̄
lies in the cell, and f(x̄) = Σ c_i f(x_i) / C. So of a KKT point's support vectors with one label and one activation
pattern only the total multiplier and the weighted mean are determined: their number is not, and the mean is on the margin
if they are.

Notes
-----
Within the cell x ↦ ∇_θ f(x) is affine (`noprior2025.splitting`), x ↦ f(x) as well, and a closed cell is convex; a mean with
positive weights stays in it. In a KKT point c_i = λ_i y_i with λ_i ≥ 0, so one sign means one label. Merging all of one cell
gives the smallest data set of that pattern: at most as many samples as there are activation patterns, times two.

Merging (1 - t) times one data set with t times another of the same patterns, sample by sample, shows that the data sets with
given labels and patterns that share a stationary point and a margin are a convex set in the variables (λ_i, λ_i x_i): a
polyhedron, whose dimension is a rank (`provable.stationarity.pattern_polyhedron`).

For networks trained with weight decay w the multipliers are functions of the margins, w λ_i = -ℓ'(m_i): there the merged
sample has another multiplier than a sample trained alone, unless a weight of the loss is allowed for each sample.

Source: arXiv:2509.21296, a lemma on merging, known from a summary; derived here.
"""

import numpy as np

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL
from provable.networks import Parameters, forward
from provable.theorems import Source, Theorem, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies.activation_cells import AnchoredNetwork, CellGroup, cell_groups

theorem = Theorem(
    statement=r"""If x_1, ..., x_k lie in one closed activation cell of a chain f with (leaky) ReLUs, with the same Clarke
    weights, and c_1, ..., c_k have one sign, then with C = \sum_i c_i and \bar x = \sum_i c_i x_i / C also \bar x lies in
    the cell, C \nabla_\theta f(\bar x) = \sum_i c_i \nabla_\theta f(x_i) and C f(\bar x) = \sum_i c_i f(x_i).""",
    source=Source("arXiv:2509.21296", "a lemma on merging", "from a summary; derived here"),
    expected="proved",
    does_not_say="that a network trained with weight decay on the merged samples alone would be the same",
)

ONE_CELL, ONE_SIGN = "all samples are in one closed cell", "all coefficients have one sign"


theorem.instances(cell_groups())


def atoms(group):
    return group.network.anchor + group.moves


def mean(group):
    return (group.coefficients @ atoms(group) / group.coefficients.sum())[None]


@theorem.hypothesis(ONE_CELL, arithmetic=RATIONAL)
def in_one_cell(group):
    return group.network.cells.contains(group.network.measure(atoms(group), group.coefficients))


@theorem.hypothesis(ONE_SIGN, arithmetic=RATIONAL)
def of_one_sign(group):
    return all(c > 0 for c in group.coefficients) or all(c < 0 for c in group.coefficients)


@theorem.degenerate
def coincide(group):
    return bool(np.all(group.moves == group.moves[0]))


def same_embedding(group, points, coefficients):
    before = group.network.explained(atoms(group), group.coefficients)
    return equal(before, group.network.explained(points, coefficients), operations=20, name="Σ c ∇f")


def outputs(group, points):
    return forward(group.network.architecture, group.network.parameters, points)[:, 0]


def sum_of(group):
    result = group.coefficients[:1].copy()
    result[0] = group.coefficients.sum()
    return result


@theorem.claim(arithmetics=(RATIONAL,))
def nothing_changes(group):
    merged = group.network.measure(mean(group), sum_of(group))
    yield holds(group.network.cells.contains(merged), name="the mean lies in the cell")
    yield same_embedding(group, mean(group), sum_of(group))
    yield equal(
        sum_of(group) * outputs(group, mean(group)),
        (group.coefficients * outputs(group, atoms(group))).sum(),
        operations=20,
        name="C f(mean) = Σ c f",
    )


@theorem.derivation
def means_of_affine_functions():
    """Two samples are enough: more are merged one after the other."""
    import sympy

    c, e = sympy.symbols("c e", positive=True)
    x, z, slope, offset = sympy.symbols("x z A B")
    mixed = (c * x + e * z) / (c + e)
    yield identity(
        "an affine function of x, such as all entries of the tangent and the output: C (A x̄ + B) = Σ c_i (A x_i + B)",
        sympy.simplify((c + e) * (slope * mixed + offset)),
        sympy.expand(c * (slope * x + offset) + e * (slope * z + offset)),
    )
    p, q = sympy.symbols("p q", nonnegative=True)
    yield identity(
        "the cell: slacks p, q ≥ 0 of both samples give the mean (c p + e q) / (c + e) ≥ 0, whichever the sign of all c",
        sympy.simplify((-c * p - e * q) / (-c - e)),
        (c * p + e * q) / (c + e),
    )
    d = sympy.Symbol("d", positive=True)
    y = sympy.Symbol("y")
    pair = (c * x + e * z) / (c + e)
    yield identity(
        "one after the other: merging the mean of two with a third is the mean of three",
        sympy.simplify(((c + e) * pair + d * y) / (c + e + d)),
        sympy.simplify((c * x + e * z + d * y) / (c + e + d)),
    )


def group_of(points, coefficients):
    architecture = Architecture("unit", (1,), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "logistic")
    parameters = Parameters(architecture, {"0/weight": np.ones((1, 1)), "2/weight": np.ones((1, 1))})
    network = AnchoredNetwork(architecture, parameters, np.array(points[:1]), {"1": np.zeros((1, 1))})
    return CellGroup(network, np.array(points) - np.array(points[0]), np.array(coefficients))


@theorem.without(ONE_CELL)
def on_both_sides_of_a_kink():
    return group_of([[3.0], [-1.0]], [1.0, 1.0])


@theorem.without(ONE_SIGN)
def labels_of_both_kinds():
    return group_of([[3.0], [1.0]], [1.0, -2.0])


@theorem.false_twin("the plain mean serves as well", arithmetics=(RATIONAL,))
def plain_mean(group):
    middle = group.moves.sum(axis=0) / len(group.moves) + group.network.anchor
    return same_embedding(group, middle, sum_of(group))


@theorem.false_twin("one of the samples can stand for all", arithmetics=(RATIONAL,))
def the_first_for_all(group):
    return same_embedding(group, atoms(group)[:1], sum_of(group))


@theorem.false_twin("samples of both labels in one cell merge too", without=(ONE_SIGN,), arithmetics=(RATIONAL,))
def both_labels(group):
    signs = group.coefficients.copy()
    signs[0] = -2 * signs[0]
    if signs.sum() == 0:
        return holds(True, name="no mean")
    other = type(group)(group.network, group.moves, signs)
    return holds(
        group.network.cells.contains(group.network.measure(mean(other), sum_of(other))),
        name="the mean lies in the cell",
    )


@theorem.false_twin(
    "samples with one label merge, whatever their patterns", without=(ONE_CELL,), arithmetics=(RATIONAL,)
)
def any_patterns(group):
    spread = type(group)(group.network, 3 * group.moves, group.coefficients)
    return same_embedding(spread, mean(spread), sum_of(spread))
