"""With random biases a network of infinite width tells all distinct points of space apart, norms and signs included.

If the first-layer biases have a positive variance, the kernel at x is that of a bias-free network at (x, β) with β > 0:
all data lie in an open half-space, no two distinct points share a ray, and none are antipodal. So for ReLU already one
hidden layer sees everything (an even part of zero in a half-space is a measure of zero), and the kernels are strictly
positive definite on all of R^d, at any depth. For every continuous activation that is no polynomial the same holds
(Carvalho, Costa, Mourão, Oliveira).

Notes
-----
Proof. K(x, z) = E[σ(w·x + b)σ(w·z + b)] with a density that is positive everywhere, so Σ c_i K(·, x_i) = 0
means Σ c_i σ(w·x_i + b) = 0 for all (w, b). Replace w by s·w with t_i = w·x_i distinct, which almost every w does, and
differentiate k times by s at 0: Σ c_i t_iᵏ σ⁽ᵏ⁾(b) = 0 for all b. (If σ is not smooth, convolve it in b first.) No
polynomial means that no σ⁽ᵏ⁾ is zero everywhere, so Σ c_i t_iᵏ = 0 for all k, and c = 0 by Vandermonde's determinant. A
further layer repeats this with features in place of points: strict positive definiteness of K makes them distinct
vectors. The tangent kernel is the Gaussian-process kernel plus a positive semidefinite one.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, RATIONAL, determinant
from provable.kernels import DenseKernel
from provable.theorems import Source, Theorem, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $k$ be the tangent or the Gaussian-process kernel of an infinitely wide network with at least one hidden
    layer, a continuous activation that is no polynomial, and random biases of variance $\sigma_b^2 > 0$ in every layer. Then
    every Gram matrix of distinct points of $\mathbb R^d$ is positive definite.""",
    source=Source(
        "Carvalho, Costa, Mourao, Oliveira, arXiv:2404.12928",
        "main theorem, as summarised",
        "known from its abstract and a summary; the proof given is derived here",
    ),
    expected="certified",
)


@dataclass(frozen=True)
class Points:
    """Points (n, d) and the kernel's description."""

    points: np.ndarray
    activation: str
    tangent: bool
    depth: int
    bias_variance: float
    biases: str


@st.composite
def point_sets(draw, *, activations=("relu", "relu", "erf", "gelu"), biases="random", depths=(1, 2)):
    """Up to four points of the plane or line; multiples of one another and zero are likely."""
    dimension, count = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    points = draw(readable_arrays((count, dimension)))
    if draw(st.booleans()):  # on one line through the origin
        points = np.vstack([points, -points, 2 * points[:1]]) + 0.0
    variance = draw(st.sampled_from([1.0, 0.25])) if biases == "random" else 0.0
    depth = draw(st.sampled_from(depths))
    return Points(points, draw(st.sampled_from(activations)), draw(st.booleans()), depth, variance, biases)


theorem.instances(point_sets())


@theorem.hypothesis("the points are distinct", arithmetic=RATIONAL)
def distinct(case):
    rows = [tuple(row) for row in case.points.tolist()]
    return len(set(rows)) == len(rows)


@theorem.hypothesis("biases are random")
def random_biases(case):
    return case.biases == "random"


@theorem.hypothesis("the activation is no polynomial")
def no_polynomial(case):
    return case.activation != "identity"


@theorem.hypothesis("there is a hidden layer")
def a_hidden_layer(case):
    return case.depth > 0


@theorem.claim(arithmetics=(BALL,))
def definite(case):
    # det G > 2⁻⁹⁰(tr G)ⁿ: not only positive, so that balls can refute it where G is singular
    kernel = DenseKernel(int(case.depth), case.activation, 2.0, float(case.bias_variance), case.tangent, case.biases)
    gram = kernel(case.points)
    floor = np.trace(gram) ** len(gram) / 2**90
    return less(floor, determinant(gram), operations=60, name="the Gram matrix is positive definite")


@theorem.derivation(covers="three points and a smooth activation")
def vandermonde():
    import sympy as sp

    s, b = sp.symbols("s b")
    t, c = sp.symbols("t0:3"), sp.symbols("c0:3")
    sigma = sp.Function("sigma")
    total = sum(weight * sigma(s * place + b) for weight, place in zip(c, t, strict=True))
    for k in range(3):
        moment = sum(weight * place**k for weight, place in zip(c, t, strict=True))
        at_zero = sp.diff(total, s, k).subs(s, 0).doit()
        yield identity(f"derivative {k} at s = 0", at_zero, moment * sp.diff(sigma(b), b, k))
    powers = sp.Matrix(3, 3, lambda k, i: t[i] ** k)
    yield identity(
        "distinct t make the moments independent", powers.det(), (t[1] - t[0]) * (t[2] - t[0]) * (t[2] - t[1])
    )


def line(points, activation="relu", biases="random", depth=1):
    variance = 1.0 if biases == "random" else 0.0
    return Points(np.array(points, dtype=float)[:, None], activation, True, depth, variance, biases)


@theorem.without("the points are distinct")
def one_point_twice():
    return line([1, 1])


@theorem.without("biases are random")
def no_biases():
    return line([1, 2], biases="absent")


@theorem.without("the activation is no polynomial")
def a_linear_network():
    return line([1, 2, 3], activation="identity")


@theorem.without("there is a hidden layer")
def no_hidden_layer():
    return line([1, 2, 3], depth=0)


@theorem.false_twin("biases are not needed", without=("biases are random",), instances=point_sets(biases="absent"))
def without_biases(case):
    return definite(case)


@theorem.false_twin(
    "ReLU with biases that start at zero and are trained sees all points too",
    without=("biases are random",),
    instances=point_sets(activations=("relu",), biases="zero-initialised"),
)
def zero_biases(case):
    if not all(x.any() for x in case.points):
        return True
    return definite(case)


@theorem.false_twin(
    "the activation does not matter",
    without=("the activation is no polynomial",),
    instances=point_sets(activations=("identity",)),
)
def linear_networks(case):
    return definite(case)
