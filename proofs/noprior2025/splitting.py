r"""Splitting a sample into two within its activation cell changes neither the stationarity nor the margins.

Let f be a chain of layers with (leaky) ReLUs, x a sample with given slopes (Clarke weights at its kinks), a, b > 0, and
let x + aν and x − bν lie in the closed activation cell of x, where kinks stay zero. Then c δ_x has the same tangent
embedding Σ c ∇_θ f as c b/(a+b) δ_{x+aν} + c a/(a+b) δ_{x−bν}. If ν is orthogonal to ∇_x f, all three points have one
output. So splitting a support vector of a KKT point gives a data set with the same KKT point, on the margin and with one
sample more.

Notes
-----
With the slopes of the cell fixed, what comes out of every layer is affine in x, h(x + tν) = h(x) + tη, and the sensitivities
δ of all layers are constant. The gradient of a weight matrix is δ h(x)ᵀ, that of a bias δ: affine both, and an affine map
takes the same value at a measure and at its splitting. On the boundary of the closed cell a pre-activation becomes zero; the
slope that it keeps is one of Clarke's.

In a bounded cell the two points are near to x; `noprior2025.orthogonal_shifts` goes to any distance. That cells are small
in wide untrained networks, and large in trained ones whose neurons coincide, is why the construction matters here.

Source: arXiv:2509.21296, a lemma on splitting, known from a summary; weights, cell and the condition on ν are derived
here.
"""

import numpy as np

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, constant
from provable.networks import Parameters, forward
from provable.theorems import Source, Theorem, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies.activation_cells import AnchoredNetwork, CellLine, cell_lines

theorem = Theorem(
    statement=r"""Let f be a chain of layers with (leaky) ReLUs and x a sample with Clarke weights at its kinks. If x +
    a\nu and x - b\nu, a, b > 0, lie in the closed activation cell of x, where kinks stay zero, then c \nabla_\theta f(x)
    = c\frac{b}{a+b} \nabla_\theta f(x + a\nu) + c\frac{a}{a+b} \nabla_\theta f(x - b\nu); if also \nabla_x f \cdot \nu =
    0, then f(x) = f(x + a\nu) = f(x - b\nu).""",
    source=Source("arXiv:2509.21296", "a lemma on splitting", "from a summary; the explicit form is derived here"),
    expected="proved",
    does_not_say="that a cell is large: how far the two points are depends on the network",
)

INSIDE, LEVEL = "both points are in the closed cell", "the direction keeps the output"


theorem.instances(cell_lines())


def ends(line):
    return np.concatenate(
        [line.network.anchor + line.forward * line.direction, line.network.anchor - line.backward * line.direction]
    )


def shares(line):
    """The coefficients of both points."""
    total = line.forward + line.backward
    return np.array([line.coefficient * line.backward / total, line.coefficient * line.forward / total])


@theorem.hypothesis(INSIDE, arithmetic=RATIONAL)
def stays(line):
    return line.network.cells.contains(line.network.measure(ends(line), shares(line)))


@theorem.hypothesis(LEVEL, arithmetic=RATIONAL)
def keeps_output(line):
    return not np.any(line.network.cells.cell(0).outputs @ line.direction != 0)


@theorem.degenerate
def on_the_boundary(line):
    ended = RATIONAL.convert(line)
    cells = ended.network.cells
    there = cells.at(ended.network.measure(ends(ended), shares(ended)))
    return any(np.any(there.kinks[path][1:] != there.kinks[path][:1]) for path in there.kinks)


def outputs(line, points):
    return forward(line.network.architecture, line.network.parameters, points)[:, 0]


def same_embedding(line, points, coefficients):
    one = line.network.explained(line.network.anchor, np.array([line.coefficient]))
    return equal(one, line.network.explained(points, coefficients), operations=20, name="Σ c ∇f")


def same_outputs(line, points):
    return equal(outputs(line, points), outputs(line, line.network.anchor)[[0] * len(points)], operations=20, name="f")


@theorem.claim(arithmetics=(RATIONAL,))
def nothing_changes(line):
    yield same_embedding(line, ends(line), shares(line))
    yield same_outputs(line, ends(line))


@theorem.derivation
def affine_in_the_cell():
    import sympy

    a, b = sympy.symbols("a b", positive=True)
    c, t, s, weight, bias, h, eta, delta = sympy.symbols("c t s w beta h eta delta")
    moved = h + t * eta
    yield identity(
        "a layer with its slopes fixed: s (w (h + tη) + β) = s (w h + β) + t (s w η), affine again",
        sympy.expand(s * (weight * moved + bias)),
        sympy.expand(s * (weight * h + bias) + t * s * weight * eta),
    )
    yield identity(
        "back through it: the sensitivity s w δ has no t", sympy.diff(s * weight * delta, t), sympy.Integer(0)
    )

    def tangent(step):
        return delta * (h + step * eta)

    yield identity(
        "an entry δ h of a weight matrix' gradient: the splitting has the mean of the sample",
        sympy.simplify(c * b / (a + b) * tangent(a) + c * a / (a + b) * tangent(-b)),
        c * tangent(0),
    )
    yield identity(
        "an entry δ of a bias' gradient: the coefficients add up",
        sympy.simplify(c * b / (a + b) * delta + c * a / (a + b) * delta),
        c * delta,
    )
    g, nu = sympy.symbols("g nu")
    yield identity("the output is f + t g·ν: with g·ν = 0 it stays", (t * g * nu).subs(g * nu, 0), sympy.Integer(0))


def line_of(weight, output, anchor, direction, steps):
    layers = (Linear(len(weight), bias=False), ReLU(), Linear(1, bias=False))
    architecture = Architecture("small", (len(anchor),), layers, "logistic")
    parameters = Parameters(architecture, {"0/weight": np.array(weight), "2/weight": np.array([output])})
    network = AnchoredNetwork(architecture, parameters, np.array([anchor]), {"1": np.zeros((1, len(weight)))})
    return CellLine(network, np.array(direction), *steps, 1.0)


@theorem.without(INSIDE)
def two_steps_too_far():
    return line_of(np.eye(2), [1.0, 1.0], [1.0, 1.0], [1.0, -1.0], (2.0, 0.5))


@theorem.without(LEVEL)
def a_direction_uphill():
    return line_of(np.eye(2), [1.0, 1.0], [1.0, 1.0], [1.0, 0.0], (1.0, 0.5))


@theorem.false_twin("each half has half the coefficient", arithmetics=(RATIONAL,))
def half_each(line):
    half = line.coefficient * constant(0.5, line.network.anchor)
    return same_embedding(line, ends(line), np.array([half, half]))


@theorem.false_twin("the farther point has the larger coefficient", arithmetics=(RATIONAL,))
def other_way_round(line):
    return same_embedding(line, ends(line), shares(line)[::-1])


@theorem.false_twin("one point alone, moved within the cell, does as well", arithmetics=(RATIONAL,))
def moved_alone(line):
    return same_embedding(line, ends(line)[:1], np.array([line.coefficient]))


@theorem.false_twin(
    "the output stays for every direction in the cell",
    without=(LEVEL,),
    instances=cell_lines(keep_outputs=False),
    arithmetics=(RATIONAL,),
)
def any_direction(line):
    return same_outputs(line, ends(line))


@theorem.false_twin("twice the way is as good, in the cell or not", without=(INSIDE,), arithmetics=(RATIONAL,))
def twice_as_far(line):
    doubled = 2 * ends(line) - line.network.anchor
    return same_embedding(line, doubled, shares(line))
