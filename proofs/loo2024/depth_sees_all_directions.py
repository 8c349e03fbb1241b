"""From two hidden layers on, a bias-free ReLU network of infinite width tells all directions apart, antipodes included.

With one hidden layer the odd part of the kernel is a multiple of x·z (loo2024.even_part_and_first_moment). With two or
more, every power of the cosine occurs in the kernel with a positive coefficient, so all eigenvalues on the sphere are
positive: it is universal there, and its Gram matrices at points on different rays are positive definite. What stays
invisible is the positive scaling of loo2024.positive_scaling: points on one ray.

Notes
-----
Proof. κ_1(u) = Σ b_n uⁿ has b_0, b_1 and all b_{2k} positive and no negative coefficient. So κ_1∘κ_1 = Σ_n
b_n κ_1ⁿ, and for every m its coefficient of u^m is at least b_n C(n, m) b_1^m b_0^{n-m} > 0 with n = m or m + 1,
whichever is even: κ_1ⁿ contains (b_0 + b_1u)ⁿ. A further layer composes with κ_1 once more, which keeps this: b_1 times
the inner series has all coefficients positive. The tangent kernel is the Gaussian-process kernel plus a series without
negative coefficients. Schoenberg: all coefficients positive gives all eigenvalues positive in every dimension, which is
universality on the sphere (Micchelli, Xu, Zhang 2006) and strict positive definiteness there.
"""

import math
from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, determinant
from provable.kernels import nngp, ntk
from provable.theorems import Source, Theorem, at_most, fact, less
from provable.theorems.strategies import readable_directions

theorem = Theorem(
    statement=r"""Let $k$ be the tangent or the Gaussian-process kernel of an infinitely wide ReLU network without biases and
    with at least two hidden layers. As a power series in the cosine of the angle it has positive coefficients only. On the
    sphere it is universal, and at nonzero points of $\mathbb R^d$, no two of them on one ray, its Gram matrix is positive
    definite.""",
    source=Source("derived", note="with theorems of Schoenberg and of Micchelli, Xu and Zhang"),
    expected="certified",
)


@dataclass(frozen=True)
class Points:
    """Points (n, d), and which kernel: tangent or not, hidden layers; and the degree of a coefficient."""

    points: np.ndarray
    tangent: bool
    depth: int
    degree: int


@st.composite
def point_sets(draw, *, depth=None, rays=False):
    dimension, count = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    points = draw(readable_directions(count, dimension))
    if draw(st.booleans()):  # antipodes; in the plane three pairs that one hidden layer confuses
        if count == 2 and dimension == 2:
            points = np.vstack([points, points.sum(axis=0)])
        points = np.vstack([points, -points]) + 0.0
    if rays:
        points = np.vstack([points, 2 * points[:1]])
    hidden = depth or draw(st.integers(2, 3))
    return Points(points, draw(st.booleans()), hidden, draw(st.integers(0, 8)))


theorem.instances(point_sets())


@theorem.hypothesis("there are at least two hidden layers")
def deep(case):
    return case.depth >= 2


@theorem.hypothesis("no point is zero and no two lie on one ray")
def different_rays(case):
    # small dyadic numbers: exact in float64
    for i, x in enumerate(case.points):
        if not any(float(entry) for entry in x):
            return False
        for z in case.points[:i]:
            inner = float(x @ z)
            if inner > 0 and inner * inner == float(x @ x) * float(z @ z):
                return False
    return True


def inner_series(length):
    """κ_1 in balls: κ_1(0) = 1/π and κ_1' = 1/2 + asin(u)/π with asin u = Σ C(2n, n)/4ⁿ u^{2n+1}/(2n+1)."""
    pi = flint.arb.pi()
    coefficients = [1 / pi, flint.arb(1) / 2] + [flint.arb(0)] * (length - 2)
    for n in range(length // 2 - 1):
        coefficients[2 * n + 2] = math.comb(2 * n, n) / (pi * 4**n * (2 * n + 1) * (2 * n + 2))
    return coefficients


def composed_series(inner):
    """κ_1∘κ_1, by κ_1(v) = (√(1 - v²) + v(π - arccos v))/π around v = 1/π."""
    pi, v = flint.arb.pi(), flint.arb_series(inner, prec=len(inner))
    return ((1 - v * v).sqrt() + v * (pi - v.acos())) / pi


@theorem.claim(arithmetics=(BALL,))
def positive(case):
    yield definite(case)
    inner = inner_series(10)
    m = int(case.degree)
    n = m + m % 2 if m > 1 else m
    bound = inner[n] * math.comb(n, m) * inner[1] ** m * inner[0] ** (n - m)
    yield less(0 * bound, bound, operations=10, name="b_n C(n, m) b_1^m b_0^(n-m) is positive")
    yield less(bound, composed_series(inner)[m], operations=10, name="the coefficient of κ_1∘κ_1 exceeds it")


def definite(case):
    """det G > 2⁻⁸⁰(tr G)ⁿ: not only positive, so that balls can refute it where G is singular."""
    values = (ntk if case.tangent else nngp)(int(case.depth), "relu")(case.points)
    floor = np.trace(values) ** len(values) / 2**80
    return less(floor, determinant(values), operations=60, name="the Gram matrix is positive definite")


@theorem.derivation(covers="eigenvalues up to degree 8 for d = 3 and 64")
def eigenvalues():
    from provable.kernels.spectrum import spectrum

    for dimension in (3, 64):
        values = spectrum(ntk(2, "relu"), dimension, 8).enclosures
        for degree, ball in enumerate(values):
            yield fact(f"the eigenvalue of degree {degree} is positive for d = {dimension}", bool(ball > 0))


@theorem.without("there are at least two hidden layers")
def one_hidden_layer():
    triangle = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    return Points(np.vstack([triangle, -triangle]) + 0.0, True, 1, 0)


@theorem.without("no point is zero and no two lie on one ray")
def one_ray():
    return Points(np.array([[1.0, 0.0], [2.0, 0.0]]), True, 2, 0)


@theorem.false_twin(
    "one hidden layer suffices",
    without=("there are at least two hidden layers",),
    instances=point_sets(depth=1),
)
def shallow(case):
    return definite(case)


@theorem.false_twin(
    "points on one ray are told apart",
    without=("no point is zero and no two lie on one ray",),
    instances=point_sets(rays=True),
)
def shared_rays(case):
    return definite(case)


@theorem.false_twin("the coefficient of κ_1∘κ_1 is no more than the bound")
def not_larger(case):
    inner = inner_series(10)
    m = int(case.degree)
    n = m + m % 2 if m > 1 else m
    bound = inner[n] * math.comb(n, m) * inner[1] ** m * inner[0] ** (n - m)
    return at_most(composed_series(inner)[m], bound, operations=10, name="coefficient <= bound")
