"""Rows in which a sample's sensitivity vanishes give its direction in the column space, if they have rank B − 1.

Let D = L Q with L (m × B) of full column rank and Q invertible. If column i of D vanishes in the rows A and rank L_A = B
− 1, then the kernel of L_A is spanned by column i of Q. With ReLU a sensitivity vanishes wherever the neuron is off, so
a random choice of rows is such an A for some sample with a probability that can be computed.

Notes
-----
Proof. L_A q_i = D_{A,i} = 0, q_i ≠ 0 since Q is invertible, and the kernel has dimension 1.

No row set of rank B − 1 belongs to two samples: q_i and q_k are independent and would both be in the kernel. And if the
zeros of sample i are among the zeros of another one, no A serves for sample i: sparsity alone does not identify it.

Statement and proof are derived here; the source's body was not readable, and a reading note says that its algorithm takes
each column of Q as a null vector of a submatrix of L.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, rank
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $D = L Q$ with $L$ of shape $m \times B$ and $Q$ invertible, and let $D_{A,i} = 0$ for a set of
    rows $A$ with $\mathrm{rank}\, L_A = B - 1$. Then $\ker L_A = \mathrm{span}\{Q_{\cdot i}\}$, and $D_{A,k} \ne 0$ for
    every other $k$.""",
    source=Source(
        "Dimitrov, Baader, Müller, Vechev, SPEAR, NeurIPS 2024",
        "Algorithm 1",
        "derived here: the body was not readable",
    ),
    expected="certified",
    does_not_say="how often random rows meet the condition; that is the subject of expected_draws",
)

ZERO = "D_{A,i} = 0"
RANK = "rank L_A = B - 1"
INVERTIBLE = "Q is invertible"


@dataclass(frozen=True)
class Rows:
    """The factor L (m, B), the change of basis Q (B, B), the sample i and the rows A."""

    left: np.ndarray
    change: np.ndarray
    sample: int
    rows: tuple[int, ...]

    @property
    def sensitivities(self):
        return self.left @ self.change

    @property
    def chosen(self):
        return self.left[list(self.rows)]


@st.composite
def planted(draw, *, zero=True, fewer=0):
    """D with zeros in the chosen rows of one column, and L = D times a unit triangular matrix."""
    size = draw(st.integers(2, 4))
    count = max(1, size - 1 + draw(st.integers(0, 1)) - fewer)
    width = count + draw(st.integers(0, 2))
    numbers = draw(readable_arrays((width * size + size * size,)))
    d, mixing = numbers[: width * size].reshape(width, size).copy(), numbers[width * size :].reshape(size, size)
    sample = draw(st.integers(0, size - 1))
    rows = tuple(range(count))
    if zero:
        d[list(rows), sample] = 0.0
    change = np.eye(size) + np.triu(mixing, 1)
    return Rows(d @ np.linalg.inv(change), change, sample, rows)


theorem.instances(planted())


@theorem.hypothesis(ZERO, arithmetic=RATIONAL)
def sensitivity_vanishes(case):
    return bool(np.all(case.sensitivities[list(case.rows), case.sample] == 0))


@theorem.hypothesis(RANK, arithmetic=RATIONAL)
def rank_of_rows(case):
    return rank(case.chosen) == len(case.change) - 1


@theorem.hypothesis(INVERTIBLE, arithmetic=RATIONAL)
def invertible(case):
    return rank(case.change) == len(case.change)


def spans_the_kernel(case):
    """Checks that column i of Q is in the kernel, is not zero, and that the kernel has dimension one."""
    column = case.change[:, case.sample]
    yield equal(case.chosen @ column, 0 * case.chosen[:, 0], operations=1, name="L_A q_i = 0")
    yield holds(not np.all(column == 0), name="q_i ≠ 0")
    yield holds(rank(case.chosen) == len(column) - 1, name="the kernel has dimension 1")


@theorem.claim(arithmetics=(RATIONAL,))
def kernel_is_the_column(case):
    yield from spans_the_kernel(case)
    d = case.sensitivities[list(case.rows)]
    others = [k for k in range(d.shape[1]) if k != case.sample]
    yield holds(all(bool(np.any(d[:, k] != 0)) for k in others), name="no other column vanishes in the rows")


@theorem.derivation(covers="three samples, two rows")
def cross_product():
    import sympy as sp

    rows = sp.Matrix(2, 3, sp.symbols("l0:6"))
    kernel = rows.row(0).cross(rows.row(1)).T
    yield identity("the minors of L_A are in its kernel", rows * kernel, sp.zeros(2, 1))
    q, other = sp.Matrix(3, 1, sp.symbols("q0:3")), sp.Matrix(3, 1, sp.symbols("p0:3"))
    both = sp.Matrix.hstack(q, other)
    yield identity(
        "if two columns of Q are in the kernel of rows u, v, the minors of (u, v) times those of the columns vanish",
        (rows * both).det(),
        sum(
            rows.extract([0, 1], list(pair)).det() * both.extract(list(pair), [0, 1]).det()
            for pair in itertools.combinations(range(3), 2)
        ),
    )


@theorem.without(ZERO)
def an_active_neuron():
    return Rows(np.eye(2), np.eye(2), 0, (0,))


@theorem.without(RANK)
def rows_that_say_nothing():
    """Two samples are off in the row, and any combination of their directions is in the kernel."""
    return Rows(np.array([[0.0, 0.0, 1.0], [1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]), np.eye(3), 0, (0,))


@theorem.without(INVERTIBLE)
def a_direction_that_is_zero():
    return Rows(np.eye(2), np.array([[0.0, 0.0], [0.0, 1.0]]), 0, (0,))


@theorem.false_twin("B - 1 rows suffice, whatever their rank", without=(RANK,), arithmetics=(RATIONAL,))
def any_rows(case):
    if len(case.rows) < len(case.change) - 1:
        return holds(True, name="nothing is claimed")
    return holds(rank(case.chosen) == len(case.change) - 1, name="the kernel has dimension 1")


@theorem.false_twin("rank B - 2 suffices", without=(RANK,), instances=planted(fewer=1), arithmetics=(RATIONAL,))
def one_rank_less(case):
    if rank(case.chosen) < len(case.change) - 2:
        return holds(True, name="nothing is claimed")
    return holds(rank(case.chosen) == len(case.change) - 1, name="the kernel has dimension 1")


@theorem.false_twin(
    "rows of rank B - 1 give a column of Q in any case",
    without=(ZERO,),
    instances=planted(zero=False),
    arithmetics=(RATIONAL,),
)
def some_column(case):
    if rank(case.chosen) != len(case.change) - 1:
        return holds(True, name="nothing is claimed")
    images = case.chosen @ case.change
    some = any(bool(np.all(images[:, k] == 0)) for k in range(images.shape[1]))
    return holds(some, name="some column of Q is in the kernel")


@st.composite
def with_a_busy_sample(draw):
    """The same with four more neurons, in which the planted sample alone is active."""
    case = draw(planted())
    alone = np.linalg.inv(case.change)[case.sample]
    return Rows(np.vstack([case.left, np.tile(alone, (4, 1))]), case.change, case.sample, case.rows)


@theorem.false_twin(
    "the direction is that of the sample with most zeros", instances=with_a_busy_sample(), arithmetics=(RATIONAL,)
)
def most_zeros(case):
    counts = [int(np.count_nonzero(column == 0)) for column in case.sensitivities.T]
    return holds(counts[case.sample] == max(counts), name="no other sample has more zeros")
