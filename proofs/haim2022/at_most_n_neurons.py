r"""Some network of largest margin has at most as many neurons as there are samples; one fewer is not enough.

Let a_k ≥ 0 be lengths of K neurons with directions ŵ_k and signs σ_k, so that the network takes the values Φ a at the n
samples, Φ_ik = σ_k relu(ŵ_k·x̃_i), at the cost Σ a_k = ½‖θ‖². Then there are lengths a' ≥ 0, not zero for at most rank Φ ≤
n neurons, with the same values, Φ a' = Φ a, and no greater cost. So the optimum over networks of any width is attained
with width n.

Notes
-----
Proof. If more than rank Φ lengths are positive, their columns of Φ are dependent, Φ η = 0 with η ≠ 0 supported on them;
choose the sign such that Σ η_k ≤ 0, or, if the sum is 0, such that some η_k < 0. If Σ η_k < 0 some η_k is negative too.
Going along η from a until the first length becomes zero keeps the values, does not increase the cost, and loses a neuron.
Repeat. The cost need not be kept: with it as a further equation Carathéodory's theorem gives n + 1, and n is enough since
it may fall.

Two samples of different labels need two neurons, so n - 1 is not enough.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, rank
from provable.theorems import Source, Theorem, at_most, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For $a \ge 0$ and $\Phi_{ik} = \sigma_k\,\mathrm{relu}(\hat w_k \cdot \tilde x_i)$ there is $a' \ge
    0$ with at most $\mathrm{rank}\,\Phi \le n$ positive entries, $\Phi a' = \Phi a$ and $\sum a'_k \le \sum a_k$: a
    network of largest margin on $n$ samples, among two-layer ReLU networks of any width, needs at most $n$
    neurons.""",
    source=Source("derived", note="Carathéodory's theorem for cones, with a cost"),
    expected="proved",
    does_not_say="that every optimum is so narrow, nor that n neurons are needed: digits need far fewer",
)

LENGTHS = "lengths of at least 0"


@dataclass(frozen=True)
class Network:
    """Directions (of any length), signs, lengths and samples."""

    directions: np.ndarray
    signs: np.ndarray
    lengths: np.ndarray
    inputs: np.ndarray


@st.composite
def networks(draw, *, least=0):
    count, width, dimension = draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.integers(1, 2))
    sizes = [width * dimension, width, width, count * dimension]
    directions, signs, lengths, inputs = np.split(draw(readable_arrays((sum(sizes),))), np.cumsum(sizes)[:-1])
    return Network(
        directions.reshape(width, dimension),
        np.where(signs < 0, -1.0, 1.0),
        np.abs(lengths) if least == 0 else lengths,
        inputs.reshape(count, dimension),
    )


theorem.instances(networks())


@theorem.hypothesis(LENGTHS, arithmetic=RATIONAL)
def not_negative(case):
    return all(length >= 0 for length in case.lengths)


@theorem.degenerate
def already_narrow(case):
    return sum(bool(length > 0) for length in case.lengths) <= 1


def values(case):
    """Φ."""
    products = case.inputs @ case.directions.T
    return np.where(np.asarray(products > 0, dtype=bool), products, 0 * products) * case.signs


def reduced(case):
    """a', by the steps of the proof in exact arithmetic."""
    matrix, lengths = values(case), list(case.lengths)
    while True:
        chosen = [k for k, length in enumerate(lengths) if length != 0]
        if not chosen or rank(matrix[:, chosen]) == len(chosen):
            return np.array(lengths, dtype=object)
        eta = null_vector(matrix[:, chosen])
        if sum(eta) > 0 or not any(entry < 0 for entry in eta):
            eta = [-entry for entry in eta]
        step = min(lengths[k] / -entry for k, entry in zip(chosen, eta, strict=True) if entry < 0)
        for k, entry in zip(chosen, eta, strict=True):
            lengths[k] = lengths[k] + step * entry


def null_vector(matrix):
    """A vector in the kernel: one free unknown is 1, and the others follow by elimination."""
    rows, columns = matrix.shape
    form, _ = flint.fmpq_mat(rows, columns, matrix.reshape(-1).tolist()).rref()
    pivots = []
    for i in range(rows):
        pivots += [next((j for j in range(columns) if form[i, j] != 0), None)]
    free = next(j for j in range(columns) if j not in pivots)
    vector = [flint.fmpq(int(j == free)) for j in range(columns)]
    for i, pivot in enumerate(pivots):
        if pivot is not None:
            vector[pivot] = -form[i, free]
    return vector


def support(lengths):
    return sum(bool(length != 0) for length in lengths)


@theorem.claim(arithmetics=(RATIONAL,))
def narrow_network(case):
    after, matrix = reduced(case), values(case)
    yield holds(support(after) <= rank(matrix) <= len(case.inputs), name="at most rank Φ ≤ n neurons")
    yield holds(all(length >= 0 for length in after), name="a' ≥ 0")
    yield equal(matrix @ after, matrix @ case.lengths, operations=30, name="the same values at the samples")
    yield at_most(sum(after), sum(case.lengths), operations=30, name="Σ a' ≤ Σ a")


@theorem.derivation
def one_step():
    import sympy as sp

    a, e, c, n = sp.symbols("a e c n", positive=True)
    yield identity("the first length to vanish: a - (a/e) e = 0", a - (a / e) * e, 0)
    yield identity(
        "the others stay: a - t e with t ≤ a/e, t = c a/(e (c + n))",
        sp.simplify(a - c * a / (e * (c + n)) * e),
        sp.simplify(a * n / (c + n)),
    )
    x, y, s, t = sp.symbols("x y s t")
    yield identity(
        "values do not change where Φ η = 0",
        sp.expand(x * (a + t * s) + y * (e + t * n)),
        sp.expand(x * a + y * e + t * (x * s + y * n)),
    )
    yield identity(
        "the cost changes by t Σ η ≤ 0", sp.expand((a + t * s) + (e + t * n)), sp.expand(a + e + t * (s + n))
    )


@theorem.without(LENGTHS)
def a_negative_length():
    # η = (-2, 1) leads from (1, -1) to (0, -1/2)
    return Network(np.array([[1.0], [2.0]]), np.ones(2), np.array([1.0, -1.0]), np.ones((1, 1)))


@theorem.false_twin("n - 1 neurons are enough")
def one_less(case):
    return holds(support(reduced(case)) <= max(1, len(case.inputs) - 1), name="at most n - 1 neurons")


@theorem.false_twin("it is enough to keep the longest neurons, n of them, as they are")
def the_longest(case):
    order = sorted(range(len(case.lengths)), key=lambda k: -case.lengths[k])[: len(case.inputs)]
    kept = np.array([length if k in order else 0 * length for k, length in enumerate(case.lengths)], dtype=object)
    return equal(values(case) @ kept, values(case) @ case.lengths, operations=30, name="the same values")


@theorem.false_twin("with n neurons the cost stays the same")
def the_same_cost(case):
    return equal(sum(reduced(case)), sum(case.lengths), operations=30, name="Σ a' = Σ a")


@theorem.false_twin("the network does not change between the samples either")
def everywhere(case):
    middle = case.inputs.mean(axis=0, keepdims=True) if len(case.inputs) > 1 else case.inputs * -1
    between = Network(case.directions, case.signs, case.lengths, middle)
    return equal(
        values(between) @ reduced(case), values(between) @ case.lengths, operations=30, name="f at other points"
    )
