r"""Inside one activation cell an atom splits exactly: at no finite width does L_rec = 0 imply that candidates are data.

In a dense ReLU network of any depth, with biases or not, x ↦ ∇_θ f(x; θ) is affine on every set of inputs with the same
active units. If x + s h and x - t h, s, t > 0, are in the cell of x, then

    c ∇f(x) = c t/(s + t) ∇f(x + s h) + c s/(s + t) ∇f(x - t h),

so that from N + 1 candidates on the reconstruction loss has a continuum of zeros beside the truth. Cells are small: on a
random line through a point the nearest of m kinks is at a distance of order 1/m, measured. That is the error to which a
vanishing loss pins an atom down.

Notes
-----
Proof. Fix the active units. Every sensitivity is then a constant vector δ_l and every hidden layer h_l an affine function
of x, so the components δ_l h_{l-1}ᵀ and δ_l are affine in x. The cell is convex: its ends having the active units of x, so
has the segment between them, layer by layer. An affine function of t/(s + t) (x + s h) + s/(s + t) (x - t h) = x is the
same combination of its values. With the convention σ'(0) = 0 a unit at its kink counts as inactive; z <= 0 is as convex a
condition as z > 0, so kinks do no harm.

Source: derived here, against Theorem 1 of Loo et al. read for finite widths.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import RATIONAL, constant, positive
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.theorems import Source, Theorem, different, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $f$ be a dense network with piecewise linear activations, and let $x + sh$ and $x - th$, $s, t > 0$,
    have the active units of $x$. Then $c\,\delta_x$ and $\frac{ct}{s+t}\delta_{x+sh} + \frac{cs}{s+t}\delta_{x-th}$ have the
    same embedding $\sum_j c_j\nabla_\theta f(x_j; \theta)$, at every finite width and depth.""",
    source=Source("derived", note="against Theorem 1 of Loo et al., arXiv:2302.01428v2, at finite width"),
    expected="proved",
    does_not_say="that cells shrink like 1/m along random lines is measured, not proved",
)

SAME_CELL = "both ends have the active units of the atom"
PIECEWISE_LINEAR = "the activation is piecewise linear"


@dataclass(frozen=True)
class Atom:
    """A network, a point x (d,), a direction h (d,), the numbers s and t, and the coefficient c (1,)."""

    parameters: Parameters
    point: np.ndarray
    direction: np.ndarray
    steps: np.ndarray
    coefficient: np.ndarray


def layers_of(atom):
    return atom.parameters.architecture.layers


def network(draw, activations, *, nonzero=False):
    dimension, hidden = draw(st.integers(1, 3)), draw(st.integers(1, 2))
    bias = draw(st.booleans())
    activation = draw(st.sampled_from(activations))
    layers = []
    for _ in range(hidden):
        layers += [Linear(draw(st.integers(1, 3)), bias=bias), activation]
    architecture = Architecture("dense", (dimension,), (*layers, Linear(1, bias=bias)), "squared")
    numbers = draw(readable_arrays((architecture.parameter_count,), nonzero=nonzero))
    return Parameters.from_vector(architecture, numbers)


ACTIVATIONS = (ReLU(), ReLU(), LeakyReLU(negative_slope=0.25))


def atoms(*, activations=ACTIVATIONS, reach=8.0, nonzero=False):
    def strategy(draw):
        parameters = network(draw, activations, nonzero=nonzero)
        dimension = parameters.architecture.input_shape[0]
        numbers = draw(readable_arrays((2 * dimension + 3,), nonzero=nonzero))
        point, direction, rest = np.split(numbers, [dimension, 2 * dimension])
        # powers of two: short steps stay in the cell more often
        steps = (np.abs(rest[:2]) + 0.25) / reach
        return Atom(parameters, point, direction, steps, rest[2:])

    return strategy


theorem.instances(atoms())


def ends(atom):
    """The points x + s h and x - t h."""
    s, t = atom.steps
    return np.array([atom.point + s * atom.direction, atom.point - t * atom.direction])


def active(atom, points):
    """Which units of which hidden layer have a positive preactivation."""
    rows, patterns = points, []
    for index, layer in enumerate(layers_of(atom)[:-1]):
        if isinstance(layer, Linear):
            rows = rows @ atom.parameters[f"{index}/weight"].T
            if layer.bias:
                rows = rows + atom.parameters[f"{index}/bias"]
        else:
            on = positive(rows)
            patterns.append(on)
            slope = constant(getattr(layer, "negative_slope", 0.0), rows)
            rows = np.where(on, rows, slope * rows)
    return np.concatenate(patterns, axis=1)


@theorem.hypothesis(PIECEWISE_LINEAR)
def is_piecewise_linear(atom):
    return isinstance(layers_of(atom)[1], ReLU | LeakyReLU)


@theorem.hypothesis(SAME_CELL, arithmetic=RATIONAL)
def same_cell(atom):
    if not is_piecewise_linear(atom):
        return True
    patterns = active(atom, np.concatenate([atom.point[None], ends(atom)]))
    return bool(np.all(patterns == patterns[0]))


def embedding(atom, points, coefficients):
    return embed(atom.parameters.architecture, atom.parameters, Measure(points, coefficients)).vector()


def shares(atom):
    """Shares t/(s + t) and s/(s + t)."""
    s, t = atom.steps
    return np.array([t / (s + t), s / (s + t)])


def split_is_invisible(atom, weights):
    whole = embedding(atom, atom.point[None], atom.coefficient)
    return equal(
        whole, embedding(atom, ends(atom), weights * atom.coefficient), operations=1, name="the same embedding"
    )


@theorem.claim(arithmetics=(RATIONAL,))
def splits(atom):
    yield split_is_invisible(atom, shares(atom))
    yield holds(bool(sum(shares(atom)) == constant(1, atom.point)), name="the coefficients add up to c")


@theorem.derivation
def affine_in_a_cell():
    import sympy as sp

    x, h, s, t, c = sp.symbols("x h s t c", positive=True)
    # One coordinate; with several, every component is a sum of such terms.
    w, b, v, e, a, p, q = sp.symbols("w b v e a p q")

    def components(at):
        first = p * (w * at + b)  # p, q: the slopes of the units, constant in the cell
        second = q * (v * first + e)
        back = a * q
        return (second, back * first, back, back * v * p * at, back * v * p)

    names = ("output weight", "second weight", "second bias", "first weight", "first bias")
    here, there, other = components(x), components(x + s * h), components(x - t * h)
    for name, middle, plus, minus in zip(names, here, there, other, strict=True):
        yield identity(
            f"the component in the {name} is the mean of those at the ends",
            c * middle,
            c * t / (s + t) * plus + c * s / (s + t) * minus,
        )
    z, zs, zt = sp.symbols("z zs zt", positive=True)
    lam = sp.Symbol("lam", positive=True)
    yield identity(
        "between ends where a unit is active it is active",
        sp.Abs(lam * zs + (1 - lam) * zt).subs(lam, z / (z + 1)),
        (z * zs + zt) / (z + 1),
    )


@theorem.rate(
    exponent=-1.0,
    sizes=(50, 200, 800, 3200),
    false_exponents={"cells shrink like the square root": -0.5, "cells shrink like the square": -2.0},
)
def half_chord(width, rng):
    """Mean distance from a random unit vector to the nearest kink of m random units, both ways along a random line; d = 8."""
    distances = []
    for _ in range(20):
        weight = rng.standard_normal((width, 8))
        point, direction = rng.standard_normal((2, 8))
        point, direction = point / np.linalg.norm(point), direction / np.linalg.norm(direction)
        distances.append(np.min(np.abs(weight @ point) / np.abs(weight @ direction)))
    return float(np.mean(distances))


def one_unit(activation, point, steps):
    """f(x) = σ(x + 1) with first-layer bias 1, at a point of the line."""
    architecture = Architecture("unit", (1,), (Linear(1, bias=True), activation, Linear(1, bias=True)), "squared")
    parameters = Parameters.from_vector(architecture, np.array([1.0, 1.0, 1.0, 0.0]))
    return Atom(parameters, np.array([point]), np.ones(1), np.array(steps), np.ones(1))


@theorem.without(PIECEWISE_LINEAR)
def a_square():
    return one_unit(Polynomial((0.0, 0.0, 1.0)), 1.0, [1.0, 1.0])


@theorem.without(SAME_CELL)
def across_a_kink():
    return one_unit(ReLU(), 0.0, [1.0, 2.0])


@theorem.false_twin("the ends may lie in other cells", without=(SAME_CELL,), instances=atoms(reach=0.5))
def any_ends(atom):
    return splits(atom)


@theorem.false_twin("the coefficient is split into halves")
def halves(atom):
    half = constant(0.5, atom.point)
    return split_is_invisible(atom, np.array([half, half]))


@theorem.false_twin("the coefficient is split in proportion to the distances, the farther end getting more")
def wrong_way_round(atom):
    return split_is_invisible(atom, shares(atom)[::-1])


@theorem.false_twin("a zero of the loss has the data as its candidates: one atom and two have different embeddings")
def identified(atom):
    whole = embedding(atom, atom.point[None], atom.coefficient)
    return different(whole, embedding(atom, ends(atom), shares(atom) * atom.coefficient), operations=1)


@theorem.false_twin(
    "smooth activations split as well",
    without=(PIECEWISE_LINEAR,),
    instances=atoms(activations=(Polynomial((0.0, 1.0, 0.5)),), nonzero=True),
)
def smooth(atom):
    return splits(atom)
