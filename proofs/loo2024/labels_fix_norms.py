"""Labels fix what scaling leaves open: ‖x_j‖ is the label divided by the trained function at the direction of x_j.

Without biases a ReLU network in the kernel regime is positively homogeneous at every moment of training: both f_0 and
h = Σ α_i k(·, x_i) satisfy g(cv) = c·g(v), c > 0. If the trained function interpolates, f_0(x_j) + h(x_j) = y_j, then for any
point v on the ray of x_j

    x_j = c·v   with   c = y_j / (f_0(v) + h(v)),

provided y_j ≠ 0. The trained function is known to whoever has the parameters, and the coefficient follows from the visible
product, α_j = (α_j c)/c. For a finite network h(v) = ∇f_0(v)·Δθ, so nothing needs to be inverted.

Notes
-----
Proof. y_j = g(cv) = c·g(v), and g(v) = y_j/c is not zero. With a label zero every point of the ray is a solution.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, ReLU
from provable.arithmetic import BALL, FLOAT64, RATIONAL, kind
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, tangents
from provable.theorems import Source, Theorem, at_most, equal, holds, identity
from provable.theorems.strategies import readable_arrays, readable_directions

theorem = Theorem(
    statement=r"""Let $f_0$ be a network without biases, of any depth, with ReLU or leaky ReLU, linearised at its start, and
    $g = f_0 + \nabla f_0\cdot\Delta\theta$ the trained function, with $\Delta\theta = \sum_i\alpha_i\nabla f_0(x_i)$ and
    $g(x_j) = y_j \ne 0$. Then for $v$ on the ray of $x_j$, $cv$ has the label $y_j$ for $c = y_j/g(v)$ and for no other
    $c > 0$, and $x_j = cv$. The same holds in the limit of infinite width for $g = \sum_i\alpha_ik(\cdot, x_i)$.""",
    source=Source("derived", note="removes the fibre of loo2024.positive_scaling"),
    expected="certified",
)


@dataclass(frozen=True)
class Labelled:
    """A network, representatives v_j of the rays (n, d), factors c_j with x_j = c_j v_j, and coefficients of the x_j."""

    parameters: Parameters
    rays: np.ndarray
    factors: np.ndarray
    coefficients: np.ndarray
    other: float


def network(seed, dimension, hidden, *, bias=False, width=2):
    """Readable random weights without zeros; biases, if any, start at zero."""
    generator, layers, values = np.random.default_rng(seed), [], {}
    for index in range(hidden + 1):
        last = index == hidden
        shape = (1 if last else width, dimension if index == 0 else width)
        layers.append(Linear(shape[0], bias=bias and not last))
        values[f"{2 * index}/weight"] = (2 * generator.integers(-8, 8, shape) + 1) / 8.0
        if bias and not last:
            values[f"{2 * index}/bias"] = np.zeros(shape[0])
        if not last:
            layers.append(ReLU() if seed % 3 else LeakyReLU(negative_slope=0.25))
    return Parameters(Architecture("dense", (dimension,), tuple(layers), "squared"), values)


@st.composite
def labelled(draw, *, bias=False):
    dimension, count = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    factors = draw(st.lists(st.sampled_from([1.0, 0.5, 3.0, 5.0, 0.3]), min_size=count, max_size=count))
    return Labelled(
        network(draw(st.integers(0, 999)), dimension, draw(st.integers(1, 2)), bias=bias),
        draw(readable_directions(count, dimension)),
        np.array(factors),
        draw(readable_arrays((count,))),
        draw(st.sampled_from([2.0, 0.5, 3.0])),
    )


theorem.instances(labelled())


def layers(case):
    return case.parameters.architecture.layers


def points(case):
    return case.factors[:, None] * case.rays


def trained(case, at):
    """f_0 + ∇f_0·Δθ at some points."""
    theta = case.parameters
    change = embed(theta.architecture, theta, Measure(points(case), case.coefficients)).vector()
    start = forward(theta.architecture, theta, at)[:, 0]
    return start + tangents(theta.architecture, theta, at)[:, 0] @ change


@theorem.hypothesis("there are no biases", arithmetic=RATIONAL)
def no_biases(case):
    return not any(layer.bias for layer in layers(case)[::2])


@theorem.hypothesis("no label is zero", arithmetic=RATIONAL)
def no_zero_label(case):
    return all(label != 0 for label in trained(case, points(case)))


def magnitude(case):
    """The size of the terms that the trained function sums at the points, and on their rays times c."""
    theta = case.parameters
    sizes = abs(tangents(theta.architecture, theta, points(case))[:, 0])
    change = abs(case.coefficients) @ sizes
    return float((abs(forward(theta.architecture, theta, points(case))[:, 0]) + sizes @ change).max()) + 1e-300


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def the_label_gives_the_norm(case):
    arithmetic = kind(case.rays)
    if arithmetic == "ball":
        yield from at_infinite_width(case)
        return
    labels, on_rays = trained(case, points(case)), trained(case, case.rays)
    size = magnitude(case) if arithmetic == "float64" else None
    yield equal(case.factors * on_rays, labels, operations=20, magnitude=size, name="y_j = c_j g(v_j)")
    if arithmetic == "rational":
        elsewhere = trained(case, case.other * points(case))
        yield holds(all(a != b for a, b in zip(elsewhere, labels, strict=True)), name="other scales have other labels")
        recovered = labels[:, None] * case.rays
        yield equal(recovered, on_rays[:, None] * points(case), operations=60, name="g(v_j)·x_j = y_j·v_j")


def at_infinite_width(case):
    kernel = ntk(len(layers(case)) // 2, "relu")
    on_points = kernel(points(case)) @ case.coefficients
    on_rays = kernel(case.rays, points(case)) @ case.coefficients
    size = (points(case) * points(case)).sum() * (1 + abs(case.coefficients).sum())
    # transcendental numbers: balls decide their equality to as many digits as one asks for
    gap = abs(case.factors * on_rays - on_points)
    yield at_most(gap, 0 * gap + size / 2**100, operations=40, name="y_j = c_j h(v_j) at infinite width")


@theorem.derivation(covers="one unit")
def division():
    import sympy as sp

    c = sp.symbols("c", positive=True)
    z, a, b = sp.symbols("z a b", real=True, nonzero=True)
    relu = (z + sp.Abs(z)) / 2
    change = a * relu + b * z * (1 + sp.sign(z)) / 2  # what Δθ adds: a in the output weight, b in the input weight
    yield identity("the trained function is homogeneous", change.subs(z, c * z), c * change)
    value, label = sp.symbols("g y", nonzero=True)
    yield identity("c·g = y has one solution", sp.solve(c * value - label, c)[0], label / value)


@theorem.without("there are no biases")
def a_bias_that_starts_at_zero():
    weights = {"0/weight": np.ones((1, 1)), "0/bias": np.zeros(1), "2/weight": np.ones((1, 1))}
    architecture = Architecture("dense", (1,), (Linear(1), ReLU(), Linear(1, bias=False)), "squared")
    theta = Parameters(architecture, weights)
    return Labelled(theta, np.array([[1.0]]), np.array([3.0]), np.array([1.0]), 2.0)


@theorem.without("no label is zero")
def an_invisible_label():
    weights = {"0/weight": np.ones((1, 1)), "2/weight": np.ones((1, 1))}
    architecture = Architecture("dense", (1,), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "squared")
    return Labelled(Parameters(architecture, weights), np.array([[-1.0]]), np.array([1.0]), np.array([1.0]), 2.0)


@theorem.false_twin(
    "biases that start at zero change nothing",
    without=("there are no biases",),
    instances=labelled(bias=True),
    arithmetics=(RATIONAL,),
)
def zero_biases(case):
    return equal(case.factors * trained(case, case.rays), trained(case, points(case)), operations=60)


@theorem.false_twin("the norm is the trained function divided by the label", arithmetics=(RATIONAL,))
def upside_down(case):
    return equal(case.factors * trained(case, points(case)), trained(case, case.rays), operations=60)


@theorem.false_twin("the change h alone gives the norm, without f_0", arithmetics=(RATIONAL,))
def without_the_start(case):
    start = forward(case.parameters.architecture, case.parameters, case.rays)[:, 0]
    labels = trained(case, points(case))
    return equal(case.factors * (trained(case, case.rays) - start), labels, operations=60)


@theorem.false_twin("the antipode has the opposite label", arithmetics=(RATIONAL,))
def antipodes(case):
    return equal(trained(case, -points(case)), -trained(case, points(case)), operations=60)
