r"""The converse of the distillation bound fails: a synthetic set may fit every label and be as far away as one likes.

KIP ≤ λ_max·RKIP has no converse, neither with fewer synthetic points than samples nor with more:

- every h_S = Σ_j β_j k(·, z_j), M points, fits some labels y = h_S(X_T) without error. The function h_T that interpolates
  them is the projection of h_S, and RKIP = ½‖(1 - P)h_S‖²: positive unless h_S lies in span{k(·, x_i)}, and s² times as large
  for s h_S, while KIP stays zero;
- for fixed labels, h_T + s(1 - P)k(·, z) is a combination of the sections at the N training points and z. It takes the same
  values at the training points for every s, and RKIP = ½s²v with v the squared distance of k(·, z) to their span.

So a distilled set of KIP loss zero may still be a set that a reconstruction loss rejects: KIP and RKIP are two
problems.

Notes
-----
Proof. (1 - P)g is orthogonal to every k(·, x_i), so it vanishes at the training points; the rest is Pythagoras.

Example, in the second step of the derivation: k(x, z) = (1 + xz)² on the line, x = 1 and -1, y = (1, 1), and one synthetic
point z = 0 with label 1. Then h_S = 1 and h_T = (1 + x²)/2 agree with the labels, and RKIP = 1/4.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, kind, rank, solve
from provable.distillation import distance_parts
from provable.theorems import Source, Theorem, at_most, equal, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $K$ be the kernel matrix of $X_T$, $P$ the projection to $\mathrm{span}\{k(\cdot,x_i)\}$ and $h_S =
    \sum_{j\le M}\beta_jk(\cdot,z_j)$ outside of that span, $K$ invertible. With the labels $y = h_S(X_T)$ and their
    interpolant $h_T$, $\mathrm{KIP} = 0$ and $\mathrm{RKIP} = \frac12\|(1-P)h_S\|^2 > 0$. For any labels, $h_T + s(1-P)h_S$
    has     $\mathrm{KIP} = 0$ and $\mathrm{RKIP} = \frac{s^2}2\|(1-P)h_S\|^2$, unbounded in $s$.""",
    source=Source("derived", note="used against a converse of Theorem 2 of Loo et al., arXiv:2302.01428v2"),
    expected="proved",
    does_not_say="that minimising KIP leads to such sets, or that the kernels at hand have sections outside of every span",
)

UNSEEN = "the synthetic function is not in the span of the sections at the training points"


@dataclass(frozen=True)
class Sets:
    """Sections at the training points (N, D) and at the synthetic points (M, D), coefficients, labels and a factor."""

    training: np.ndarray
    synthetic: np.ndarray
    beta: np.ndarray
    labels: np.ndarray
    factor: float


@theorem.instances
def sets(draw):
    size, count = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    dimension = size + draw(st.integers(1, 2))
    numbers = draw(readable_arrays((size * dimension + count * dimension + count + size,)))
    ends = np.cumsum([size * dimension, count * dimension, count])
    training, synthetic, beta, labels = np.split(numbers, ends)
    factor = draw(st.sampled_from((1.0, -2.0, 1024.0, 2.0**-10)))
    return Sets(training.reshape(size, dimension), synthetic.reshape(count, dimension), beta, labels, factor)


@theorem.hypothesis(UNSEEN, arithmetic=RATIONAL)
def something_unseen(case):
    both = np.concatenate([case.training, (case.synthetic.T @ case.beta)[None]])
    return rank(both) == len(both)


def unseen(case):
    """(1 - P)h_S; the sections at the training points may be dependent, then without those that repeat the span."""
    kept = []
    for row in range(len(case.training)):
        if rank(case.training[[*kept, row]]) == len(kept) + 1:
            kept.append(row)
    h = case.synthetic.T @ case.beta
    if not kept:
        return h
    basis = case.training[kept]
    return h - basis.T @ solve(basis @ basis.T, basis @ h)


def error_unit(case):
    if kind(case.beta) != "float64":
        return {"operations": 1}
    gram = case.training @ case.training.T
    total = np.abs(case.synthetic).sum() * np.abs(case.beta).sum() + np.abs(case.labels).sum()
    size = (1 + abs(case.factor)) ** 2 * (1 + total) ** 2 * (1 + np.abs(case.training).sum()) ** 2
    # solves with K: sums of at most 6 products, a solve with 3 unknowns, done twice
    return {"operations": 60, "magnitude": size, "condition": np.linalg.cond(gram) ** 2}


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def no_error_and_a_distance(case):
    unit, left = error_unit(case), unseen(case)
    gap = left @ left
    yield less(0 * gap, gap, **unit, name="RKIP > 0")
    if rank(case.training) < len(case.training):
        return
    gram, h = case.training @ case.training.T, case.synthetic.T @ case.beta
    values = case.training @ h
    fitted = case.training.T @ solve(gram, values)
    yield equal(case.training @ fitted, values, **unit, name="KIP = 0")
    yield equal((h - fitted) @ (h - fitted), gap, **unit, name="2 RKIP = ‖(1-P)h_S‖²")
    cross, other = case.training @ case.synthetic.T, case.synthetic @ case.synthetic.T
    parts = distance_parts(gram, cross, other, values, case.beta)
    yield equal(parts.unseen, gap, **unit, name="by the two parts of the distance")
    yield at_most(abs(parts.at_the_points), 0 * gap, **unit, name="nothing at the points")
    of_labels = case.training.T @ solve(gram, case.labels)
    far = of_labels + case.factor * left
    yield equal(case.training @ far, case.labels, **unit, name="any labels: KIP = 0")
    distance = (far - of_labels) @ (far - of_labels)
    yield equal(distance, case.factor**2 * gap, **unit, name="any labels: 2 RKIP = s²‖(1-P)h_S‖²")


@theorem.derivation
def orthogonal_parts():
    """The span enters through one section and one unseen direction at a time; products are bilinear."""
    import sympy as sp

    a, c, r, s, x = sp.symbols("a c r s x", real=True)
    section, h = sp.Matrix([a, 0]), sp.Matrix([c, r])
    rest = sp.Matrix([0, r])
    yield identity("(1 - P)h_S vanishes at the training points", section.dot(rest), 0)

    def kernel(p, q):
        return (1 + p * q) ** 2

    gram = sp.Matrix(2, 2, lambda i, j: kernel((1, -1)[i], (1, -1)[j]))
    alpha = gram.inv() * sp.ones(2, 1)
    h_t = sp.expand(alpha[0] * kernel(x, 1) + alpha[1] * kernel(x, -1))
    h_s = kernel(x, 0)
    yield identity("example: h_T = (1 + x²)/2", h_t, (1 + x**2) / 2)
    yield identity(
        "example: both take the labels", sp.Matrix([h_t - h_s]).subs(x, 1) + sp.Matrix([h_t - h_s]).subs(x, -1)
    )
    cross = sp.Matrix([kernel(1, 0), kernel(-1, 0)])
    distance = (alpha.T * gram * alpha)[0] - 2 * (alpha.T * cross)[0] + kernel(0, 0)
    yield identity("example: RKIP = 1/4", distance / 2, sp.Rational(1, 4))
    yield identity("so the values are those of P h_S", section.dot(h), section.dot(h - rest))
    yield identity("h_S less its projection is the rest", (h - (h - rest)).dot(h - (h - rest)), r**2)
    far = h - rest + s * rest
    yield identity("s(1 - P)h_S more: the same values", section.dot(far), section.dot(h - rest))
    yield identity("and the distance s²‖(1 - P)h_S‖²", (far - (h - rest)).dot(far - (h - rest)), s**2 * r**2)


@theorem.without(UNSEEN)
def a_synthetic_set_inside():
    # the training set itself
    return Sets(np.ones((1, 2)), np.ones((1, 2)), np.ones(1), np.ones(1), 1.0)


EXACT = (RATIONAL,)


@theorem.false_twin("KIP = 0 only if RKIP = 0", arithmetics=EXACT)
def no_error_no_distance(case):
    left = unseen(case)
    return equal(left @ left, 0 * (left @ left), operations=60)


@theorem.false_twin("RKIP is at most 1000 times KIP", arithmetics=EXACT)
def a_constant(case):
    difference = case.factor * (case.synthetic.T @ case.beta)
    errors = case.training @ difference
    return at_most(difference @ difference, 1000 * (errors @ errors), operations=60)


@theorem.false_twin("synthetic functions without error stay within a distance", arithmetics=EXACT)
def a_largest_distance(case):
    left = unseen(case)
    far = case.factor * left
    return at_most(far @ far, 1000 + left @ left, operations=60)


@theorem.false_twin("fewer synthetic points than samples leave an error", arithmetics=EXACT)
def fewer_points(case):
    if len(case.synthetic) >= len(case.training):
        return equal(0 * case.factor, 0 * case.factor, operations=1)
    h = case.synthetic.T @ case.beta
    errors = case.training @ (h - unseen(case)) - case.training @ h
    return less(0 * (errors @ errors), errors @ errors, operations=60)
