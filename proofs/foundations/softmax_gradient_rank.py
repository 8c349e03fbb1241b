"""The gradient of a softmax layer has rank C - 1 at most, so its span check needs more classes than samples.

With cross-entropy the residuals softmax(f) - e_y of a sample sum to zero over the C classes. So do the columns of the last
layer's gradient ∂L/∂A = Σ_i r_i h_iᵀ, whatever the samples are, and its rank is at most min(B, C - 1). For independent inputs
h_i of the layer the row space is span{h_i} only if the residuals are independent, which takes B ≤ C - 1 samples. The bound is
attained: with B ≥ C - 1 samples in general position the rank is C - 1.

Notes
-----
Proof. Σ_k softmax(f)_k = 1 = Σ_k (e_y)_k, so the vector of ones is orthogonal to every r_i, and to every column of
Σ_i r_i h_iᵀ. The residuals lie in a space of dimension C - 1, so that more than C - 1 of them are dependent; then rank
R H = rank R < B.

Squared loss has no such constraint: there C = B outputs suffice, and the false twin that says otherwise is refuted.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import rank
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.theorems import RATIONAL, Source, Theorem, equal, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For cross-entropy over $C$ classes let $r_i = \mathrm{softmax}(f(x_i)) - e_{y_i}$. Then
    $1^T r_i = 0$, $1^T\,\partial L/\partial A = 0$ and $1^T\,\partial L/\partial a = 0$ for weight $A$ and bias $a$ of the
    last layer, so that $\mathrm{rank}\,\partial L/\partial A \le \min(B, C - 1)$.""",
    source=Source("derived", note="used against the span check at the output layer"),
    expected="proved",
    does_not_say="that the bound is attained on every batch; it is on the one that is shown",
)


@dataclass(frozen=True)
class Batch:
    """A network with one hidden layer, samples, exponentials of their outputs and their classes.

    The exponentials are free positive numbers: a bias of the last layer for each sample, as it were. Every softmax arises.
    """

    parameters: Parameters
    inputs: np.ndarray
    exponentials: np.ndarray
    classes: np.ndarray


@theorem.instances
def batches(draw):
    classes, size, width = draw(st.integers(2, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 3))
    architecture = Architecture("classifier", (2,), (Linear(width), ReLU(), Linear(classes)), "cross_entropy")
    sizes = [architecture.parameter_count, 2 * size]
    numbers = np.split(draw(readable_arrays((sum(sizes),))), np.cumsum(sizes)[:-1])
    exponentials = np.abs(draw(readable_arrays((size, classes), nonzero=True)))
    labels = draw(st.lists(st.integers(0, classes - 1), min_size=size, max_size=size))
    theta = Parameters.from_vector(architecture, numbers[0])
    return Batch(theta, numbers[1].reshape(size, 2), exponentials, np.eye(classes)[labels])


def residuals(batch):
    """Rows softmax(f) - e_y."""
    shares = batch.exponentials / batch.exponentials.sum(axis=1)[:, None]
    return shares - batch.classes


def gradient(batch, rows):
    """The gradients of the last layer when the residuals are these rows."""
    observed = embed(batch.parameters.architecture, batch.parameters, Measure(batch.inputs, rows))
    return observed["2/weight"], observed["2/bias"]


@theorem.claim(arithmetics=(RATIONAL,))
def a_common_null_vector(batch):
    rows = residuals(batch)
    weight, bias = gradient(batch, rows)
    count, classes = rows.shape
    yield equal(rows.sum(axis=1), np.zeros(count), operations=1, name="the residuals sum to zero")
    yield equal(weight.sum(axis=0), np.zeros(weight.shape[1]), operations=1, name="so do the columns of dL/dA")
    yield equal(bias.sum(), 0, operations=1, name="and dL/da")
    wide = np.hstack([weight, bias.reshape(-1, 1)])
    yield holds(rank(wide) <= min(count, classes - 1), name="rank [dL/dA, dL/da] <= min(B, C - 1)")


@theorem.derivation
def by_the_vector_of_ones():
    import sympy as sp

    e, r, s, h, k = sp.symbols("e0:3"), sp.symbols("r0:2"), sp.symbols("s0:2"), sp.symbols("h0:2"), sp.symbols("k0:2")
    total = sum(e)
    yield identity(
        "the softmax of any exponentials e_k sums to one; three classes stand for all", sum(x / total for x in e), 1
    )
    first, second = sp.Matrix([*r, -sum(r)]), sp.Matrix([*s, -sum(s)])
    gradient = first * sp.Matrix([h]) + second * sp.Matrix([k])
    yield identity("residuals that sum to zero make columns that do", sp.ones(1, 3) * gradient, sp.zeros(1, 2))
    three = sp.Matrix.hstack(first, second, sp.Matrix([*sp.symbols("t0:2"), -sum(sp.symbols("t0:2"))]))
    yield identity("C residuals are dependent", three.det(), 0)
    yield fact("C - 1 can be independent", sp.Matrix([[1, 0], [0, 1], [-1, -1]]).rank() == 2)


@theorem.false_twin("the rank is at most C - 2", arithmetics=(RATIONAL,))
def smaller_rank(batch):
    weight, _ = gradient(batch, residuals(batch))
    return holds(rank(weight) <= max(len(weight) - 2, 0), name="rank dL/dA <= C - 2")


@theorem.false_twin("the rows sum to zero as well", arithmetics=(RATIONAL,))
def rows_sum_to_zero(batch):
    weight, _ = gradient(batch, residuals(batch))
    return equal(weight.sum(axis=1), np.zeros(len(weight)), operations=1, name="the rows of dL/dA sum to zero")


@theorem.false_twin("any difference of outputs and labels will do, as for the squared loss", arithmetics=(RATIONAL,))
def squared_loss(batch):
    weight, bias = gradient(batch, batch.exponentials - batch.classes)
    wide = np.hstack([weight, bias.reshape(-1, 1)])
    return holds(rank(wide) <= len(weight) - 1, name="rank [dL/dA, dL/da] <= C - 1")
