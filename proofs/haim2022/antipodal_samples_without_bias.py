r"""Without a bias, opposite samples with opposite labels can be inseparable for every width, though each pair is not.

For f(x) = Σ_k v_k relu(w_k·x) the odd part is linear, f(x) - f(-x) = (Σ_k v_k w_k)·x, since relu(z) - relu(-z) = z. So if
samples x_j and -r_j x_j (r_j > 0) have the labels y_j and -y_j, and Σ_j a_j y_j x_j = 0 with a_j > 0, no two-layer ReLU
network without bias has all margins positive:

    Σ_j a_j (y_j f(x_j) + (-y_j) f(-r_j x_j)/r_j) = Σ_j a_j y_j (f(x_j) - f(-x_j)) = (Σ_k v_k w_k)·Σ_j a_j y_j x_j = 0,

while every term is positive if margins are. These and samples on one ray with different labels (or at 0) are all that
makes the max-margin problem infeasible; with a first-layer bias only coincident samples do.

Notes
-----
That nothing else does: by Farkas the problem is infeasible if and only if Σ λ_i y_i relu(w·x_i) = 0 for all w and some λ ≥
0, not zero. relu(z) = (|z| + z)/2, and the functions |w·x| of different lines are linearly independent, for each has its
kinks on a hyperplane of its own. So on each line the multipliers (times norms) cancel in the even part, and Σ λ_i y_i x_i
= 0 is left of the odd part. Unpaired samples have λ = 0 then.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $f(x) = \sum_k v_k\,\mathrm{relu}(w_k \cdot x)$, $r_j > 0$, $a_j > 0$ and $\sum_j a_j y_j x_j =
    0$. Then $\sum_j a_j (y_j f(x_j) - y_j f(-r_j x_j)/r_j) = 0$: the samples $x_j$ with labels $y_j$ and $-r_j x_j$
    with $-y_j$ do not all have positive margins, for any width.""",
    source=Source("derived", note="which programs of the kind max-margin are infeasible"),
    expected="proved",
    does_not_say="anything about networks with a bias, which separate all different samples",
)

CANCEL, NO_BIAS, SCALES = "Σ a_j y_j x_j = 0", "no bias", "r_j > 0"


@dataclass(frozen=True)
class Pairs:
    """Neurons (with a bias that should be zero), output weights, one sample of each pair, labels, r and a."""

    hidden: np.ndarray
    bias: np.ndarray
    outer: np.ndarray
    inputs: np.ndarray
    labels: np.ndarray
    scales: np.ndarray
    weights: np.ndarray


@st.composite
def pairs(draw, *, cancelling=True, biased=False):
    width, count = draw(st.integers(1, 3)), draw(st.integers(2, 3))
    numbers = draw(readable_arrays((4 * width + 5 * count,)))
    hidden, bias, outer, inputs, labels, scales, weights = np.split(
        numbers, np.cumsum([2 * width, width, width, 2 * count, count, count])
    )
    inputs, labels = inputs.reshape(count, 2), np.where(labels < 0, -1.0, 1.0)
    # powers of two keep the last sample exact
    weights, scales = 2.0 ** np.round(weights), np.where(scales == 0, 1.0, np.abs(scales))
    if cancelling:
        inputs = inputs.copy()
        inputs[-1] = -((weights * labels)[:-1] @ inputs[:-1]) / (weights[-1] * labels[-1])
    return Pairs(hidden.reshape(width, 2), bias * biased, outer, inputs, labels, scales, weights)


theorem.instances(pairs())


@theorem.hypothesis(CANCEL, arithmetic=RATIONAL)
def sums_to_zero(case):
    return all(entry == 0 for entry in (case.weights * case.labels) @ case.inputs)


@theorem.hypothesis(NO_BIAS, arithmetic=RATIONAL)
def without_bias(case):
    return all(entry == 0 for entry in case.bias)


@theorem.hypothesis(SCALES, arithmetic=RATIONAL)
def positive_scales(case):
    return all(scale > 0 for scale in case.scales)


@theorem.degenerate
def a_sample_at_zero(case):
    return any(all(entry == 0 for entry in x) for x in case.inputs)


def network(case, inputs):
    z = inputs @ case.hidden.T + case.bias
    return np.where(np.asarray(z > 0, dtype=bool), z, 0 * z) @ case.outer


def margins(case):
    """y f(x) and -y f(-r x)."""
    mirrored = -case.scales[:, None] * case.inputs
    return case.labels * network(case, case.inputs), -case.labels * network(case, mirrored)


@theorem.claim(arithmetics=(RATIONAL,))
def margins_cancel(case):
    first, second = margins(case)
    total = case.weights @ (first + second / case.scales)
    yield equal(total, 0 * total, operations=30, name="Σ a_j (y_j f(x_j) - y_j f(-r_j x_j)/r_j) = 0")
    yield holds(not all(m > 0 for m in (*first, *second)), name="not all margins are positive")


@theorem.derivation
def odd_part_is_linear():
    import sympy as sp

    z, r, v = sp.symbols("z r v", positive=True)
    x = sp.symbols("x", real=True)
    relu = (sp.Abs(x) + x) / 2
    yield identity("relu(z) - relu(-z) = z", sp.simplify(relu - relu.subs(x, -x)), x)
    yield identity("relu(-r z)/r = relu(-z): both 0 for z > 0", relu.subs(x, -r * z) / r, relu.subs(x, -z))
    yield identity("relu(r z)/r = relu(z) for z > 0", relu.subs(x, r * z) / r, relu.subs(x, z))
    a, w, y, q = sp.symbols("a_1:3"), sp.symbols("w_1:3"), sp.symbols("y_1:3"), sp.Matrix(2, 2, sp.symbols("q_1:5"))
    yield identity(
        "one neuron, two pairs in the plane, by linearity any number: Σ a y v w·x = v w·Σ a y x",
        sp.expand(sum(a[j] * y[j] * v * sum(w[i] * q[j, i] for i in (0, 1)) for j in (0, 1))),
        sp.expand(v * sum(w[i] * sum(a[j] * y[j] * q[j, i] for j in (0, 1)) for i in (0, 1))),
    )


def instance(hidden, bias, outer, inputs, labels, scales, weights):
    return Pairs(*(np.array(part, dtype=float) for part in (hidden, bias, outer, inputs, labels, scales, weights)))


@theorem.without(CANCEL)
def one_pair():
    return instance([[1, 0], [-1, 0]], [0, 0], [1, -1], [[1, 0]], [1], [1], [1])


@theorem.without(NO_BIAS)
def with_a_bias():
    # x = 1 and -1, each twice, in two pairs that cancel: relu(x - 1/2) is odd no more
    return instance([[1, 0]], [-0.5], [1], [[1, 0], [-1, 0]], [1, 1], [1, 2], [1, 1])


@theorem.without(SCALES)
def on_the_same_side():
    return instance([[1, 0]], [0], [1], [[1, 0], [-1, 0]], [1, 1], [-1, 1], [1, 1])


@theorem.false_twin("a bias changes nothing", instances=pairs(biased=True), without=(NO_BIAS,))
def biased(case):
    yield from margins_cancel(case)


@theorem.false_twin("each pair cancels by itself", instances=pairs(cancelling=False), without=(CANCEL,))
def each_pair(case):
    first, second = margins(case)
    total = first + second / case.scales
    return equal(total, 0 * total, operations=30, name="y f(x) - y f(-r x)/r = 0")


@theorem.false_twin("f itself is odd at such samples: f(-r x) = -r f(x)")
def odd(case):
    first, second = margins(case)
    return equal(second, case.scales * first, operations=30, name="f(-r x) = -r f(x)")


@theorem.false_twin("the factors r_j do not matter: Σ a_j (y_j f(x_j) - y_j f(-r_j x_j)) = 0")
def no_scales(case):
    first, second = margins(case)
    total = case.weights @ (first + second)
    return equal(total, 0 * total, operations=30, name="Σ a_j (margins of a pair) = 0")


@theorem.false_twin("all margins are zero")
def zero_margins(case):
    first, _ = margins(case)
    return equal(first, 0 * first, operations=30, name="y_j f(x_j) = 0")
