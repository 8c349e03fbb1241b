r"""The output at a fresh input that is uniform on a sphere: its mean in closed form, its tail, and inner products.

Let f(x) = Σ_k v_k relu(w_k·x + b_k), trained or not, on R^d with d ≥ 3, and let x be uniform on the sphere of radius R,
independent of f. With L = Σ_k |v_k| ‖w_k‖ and u_0 = -b/(R‖w‖) clipped to [-1, 1],

    E f(x) = Σ_k v_k (R‖w_k‖ C (1 - u_0²)^{(d-1)/2}/(d - 1) + b_k P(u > u_0)),   C = Γ(d/2)/(√π Γ((d-1)/2)),
    P(|f(x) - E f(x)| ≥ t) ≤ 2 exp(-(d - 1) t²/(2 L² R²)).

In particular max_i |x·x_i| ≥ s with probability at most 2n exp(-(d - 1) s²/(2 R² max ‖x_i‖²)). At a KKT point without bias
L ≤ ‖θ‖²/2 = mΛ: who has θ tells members, with |f| ≥ m, from all but a fraction 2 exp(-(d - 1)(m - |E f|)²/(2 L² R²)) of the
fresh inputs, without knowing any sample and without near-orthogonality of the data. It is of use where ΛR ≪ √d.

Who can only query f compares |f(x)| with |f| at q fresh inputs: x is among the r largest of the q + 1 with probability r/(q
+ 1) at most.

Notes ----- Proof. relu is 1-Lipschitz, so f is L-Lipschitz. The sphere of radius one in R^d has log-Sobolev constant d - 1
(Bakry and Émery: Ricci curvature d - 2, improved by the dimension to (d - 2)(d - 1)/(d - 2)), which by Herbst's argument
gives exp(-(d - 1) t²/2) to one side for functions that are 1-Lipschitz. These two are cited and not proved here; the
frequencies below test their constants. The mean: a coordinate of the unit sphere has the density C (1 - u²)^{(d-3)/2}, and
the antiderivative of u (1 - u²)^{(d-3)/2} is -(1 - u²)^{(d-1)/2}/(d - 1). The inner products are linear in x: a function
with L = ‖x_i‖ and mean zero. Ranks of exchangeable values are uniform, or lower with ties.

The account of the source has probabilities 1 - 4τ (fresh) and 1 - 2τ (members) for near-orthogonal data. Members at a KKT
point have |f| ≥ m surely; only the orthogonality of the data is probable.

Source: derived, for the statement about fresh inputs in the paper, which was not read.
"""

import functools
import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL
from provable.networks import Parameters, forward
from provable.recovery.stationary_point.membership import fresh_outputs, rank_test
from provable.theorems import Source, Theorem, at_most
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let f(x) = \sum_k v_k relu(w_k \cdot x + b_k) on R^d, d \ge 3, and L = \sum_k |v_k| \|w_k\|. Then
    |f(x) - f(y)| \le L \|x - y\|, and for x uniform on the sphere of radius R, independent of f, P(|f(x) - E f(x)| \ge t)
    \le 2 \exp(-(d - 1) t^2/(2 L^2 R^2)) with E f(x) = \sum_k v_k (R \|w_k\| C (1 - u_0^2)^{(d-1)/2}/(d - 1) + b_k P(u >
    u_0)), u_0 = -b_k/(R \|w_k\|) clipped to [-1, 1], for a coordinate u of the unit sphere, of density C (1 -
    u^2)^{(d-3)/2}.""",
    source=Source("arXiv:2410.07632", "fresh points", "not read; derived here, concentration cited"),
    expected="supported",
    does_not_say="that concentration on the sphere is proved here",
)

BOUNDED = "L = Σ |v| ‖w‖"

# integer vectors of integer norms, so that L is rational
UNITS = (
    (1.0, 0.0, 0.0, 1.0),
    (2.0, 2.0, 1.0, 3.0),
    (1.0, -2.0, 2.0, 3.0),
    (-6.0, 2.0, 3.0, 7.0),
    (0.0, 4.0, -3.0, 5.0),
)


@dataclass(frozen=True)
class Pair:
    """A network on three inputs, and two of these."""

    weights: tuple[tuple[float, float, float, float], ...]
    biases: object
    outer: object
    x: object
    y: object
    constant: float = 1.0


@theorem.instances
def pairs(draw):
    weights = draw(st.lists(st.sampled_from(UNITS), min_size=1, max_size=4))
    width = len(weights)
    arrays = [draw(readable_arrays(shape)) for shape in ((width,), (width,), (3,), (3,))]
    return Pair(tuple(weights), *arrays)


@theorem.hypothesis(BOUNDED, arithmetic=RATIONAL)
def is_the_constant(pair):
    return pair.constant >= 1


@theorem.degenerate
def one_input(pair):
    return bool(np.all(pair.x == pair.y))


def value(pair, x):
    total = pair.constant * 0
    for (*w, _), b, v in zip(pair.weights, pair.biases, pair.outer, strict=True):
        z = sum(a * c for a, c in zip(w, x, strict=True)) + b
        total = total + (v * z if z > 0 else z * 0)
    return total


@theorem.claim(arithmetics=(RATIONAL,))
def lipschitz(pair, factor=1):
    bound = sum(abs(v) * w[3] for w, v in zip(pair.weights, pair.outer, strict=True)) * factor * pair.constant
    square = sum((a - b) ** 2 for a, b in zip(pair.x, pair.y, strict=True))
    difference = value(pair, pair.x) - value(pair, pair.y)
    yield at_most(difference**2, bound**2 * square, operations=1, name="|f(x) - f(y)|² ≤ L² ‖x - y‖²")


@theorem.derivation(covers="the mean and the use of the constants, not the log-Sobolev inequality")
def steps():
    import sympy

    u, d = sympy.symbols("u d", positive=True)
    yield identity(
        "the antiderivative of u (1 - u²)^{(d-3)/2}",
        sympy.diff(-((1 - u**2) ** ((d - 1) / 2)) / (d - 1), u),
        u * (1 - u**2) ** ((d - 3) / 2),
    )
    x, y = sympy.symbols("x y", real=True)
    yield identity(
        "relu(x) - relu(y) = ((x - y) + (|x| - |y|))/2, at most |x - y| by the triangle inequality",
        (x + sympy.Abs(x)) / 2 - (y + sympy.Abs(y)) / 2,
        ((x - y) + (sympy.Abs(x) - sympy.Abs(y))) / 2,
    )
    t, length, radius = sympy.symbols("t L R", positive=True)
    yield identity(
        "f on the sphere of radius R is LR-Lipschitz on the unit sphere, so t stands for t/(LR)",
        (d - 1) * (t / (length * radius)) ** 2 / 2,
        (d - 1) * t**2 / (2 * length**2 * radius**2),
    )


@theorem.without(BOUNDED)
def half_the_constant():
    return Pair((UNITS[0],), np.zeros(1), np.ones(1), np.array([1.0, 0.0, 0.0]), np.zeros(3), 0.5)


@theorem.false_twin("half of L", arithmetics=(RATIONAL,))
def half(pair):
    yield from lipschitz(pair, factor=pair.constant / 2)


@theorem.false_twin("the largest neuron's |v| ‖w‖ is a Lipschitz constant", arithmetics=(RATIONAL,))
def largest_neuron(pair):
    bound = max(abs(v) * w[3] for w, v in zip(pair.weights, pair.outer, strict=True))
    square = sum((a - b) ** 2 for a, b in zip(pair.x, pair.y, strict=True))
    yield at_most(
        (value(pair, pair.x) - value(pair, pair.y)) ** 2, bound**2 * square, operations=1, name="|f(x) - f(y)|²"
    )


@theorem.false_twin("biases count for nothing: |f(x)| ≤ L ‖x‖", arithmetics=(RATIONAL,))
def without_biases(pair):
    bound = sum(abs(v) * w[3] for w, v in zip(pair.weights, pair.outer, strict=True))
    yield at_most(value(pair, pair.x) ** 2, bound**2 * sum(a * a for a in pair.x), operations=1, name="|f(x)|²")


DIMENSION = 20


@functools.cache
def network(width, seed):
    """A network, and what is known of its output on the unit sphere."""
    architecture = Architecture("fresh", (DIMENSION,), (Linear(width), ReLU(), Linear(1, bias=False)), "logistic")
    parameters = Parameters.random(architecture, rng=seed)
    return architecture, parameters, fresh_outputs(architecture, parameters, 1.0)


def uniform(rng, *shape):
    points = rng.standard_normal((*shape, DIMENSION))
    return points / np.linalg.norm(points, axis=-1, keepdims=True)


@theorem.tail(bound=0.5, false_bounds={})
def an_output_is_far_from_its_mean(rng):
    architecture, parameters, law = network(3, 0)
    return bool(law.tail(forward(architecture, parameters, uniform(rng, 1))[0])[0] <= 0.5)


# For one coordinate the bound is 2 exp(-(d - 1) s²/2) = 0.5 at s² = 2 ln 4/(d - 1); the probability is 0.1 or so.
@theorem.tail(bound=0.5, false_bounds={"the same with d² for d": 2 * math.exp(-(DIMENSION + 1) * math.log(4))})
def a_coordinate_is_large(rng):
    return bool(abs(uniform(rng)[0]) >= math.sqrt(2 * math.log(4) / (DIMENSION - 1)))


@theorem.tail(bound=0.1, false_bounds={"half of the level": 0.05})
def a_fresh_input_is_taken_for_a_member(rng):
    """Among twenty values two ranks are accepted, so the probability is exactly a tenth."""
    architecture, parameters, _ = network(3, 1)
    outputs = forward(architecture, parameters, uniform(rng, 20))[:, 0]
    return bool(rank_test(outputs[:1], outputs[1:], level=0.1).member[0])
