r"""The best synthetic set of one point is where h_T(x)²/k(x, x) is largest.

For a function h in the kernel's Hilbert space and one point x with k(x, x) > 0, the best multiple of k(·, x) is
β = h(x)/k(x, x), and no other; it leaves ‖h - βk(·, x)‖² = ‖h‖² - h(x)²/k(x, x). So RKIP with one synthetic point and a free
label is smallest where h(x)²/k(x, x) is largest: the best one-term approximation of h in the dictionary {k(·, x)}. By
Cauchy-Schwarz the maximum is at most ‖h‖², and reaches it exactly if h is a multiple of one section.

Notes
-----
Proof. ‖h - βk(·, x)‖² = ‖h‖² - 2βh(x) + β²k(x, x), a parabola in β.

For M terms it is the largest h(X)ᵀK⁻¹h(X) (see loo2024.free_labels). Adding the best next point to the best single one is
not, in general, best for M = 2; nor need the best point be a training point. Both are false twins.
"""

from dataclasses import dataclass
from itertools import combinations

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import FLOAT64, RATIONAL, kind, rank, solve
from provable.theorems import Source, Theorem, at_most, equal, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $h$ be in the Hilbert space of $k$ and $k(x,x) > 0$ for all $x \in C$. Then $\min_\beta\|h -
    \beta k(\cdot,x)\|^2 = \|h\|^2 - h(x)^2/k(x,x)$, attained by $\beta = h(x)/k(x,x)$ alone, and a point of $C$ is best if
    and only if it maximises $h(x)^2/k(x,x)$ over $C$; this is at most $\|h\|^2$.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "distillation as sparse coding",
        "a reviewer reports that the paper speaks of sparse coding; the statement is derived here",
    ),
    expected="proved",
    does_not_say="how to find the maximum over all inputs: h(x)²/k(x, x) has local maxima",
)

NONZERO = "the sections are not zero"


@dataclass(frozen=True)
class Dictionary:
    """Sections at candidate points (m, D), the first of which are the training points, and h = Σ_i α_i k(·, x_i)."""

    sections: np.ndarray
    alpha: np.ndarray
    other: float

    @property
    def target(self):
        return self.sections[: len(self.alpha)].T @ self.alpha


@st.composite
def dictionaries(draw):
    size, extra, dimension = draw(st.integers(1, 3)), draw(st.integers(0, 2)), draw(st.integers(1, 3))
    numbers = draw(readable_arrays(((size + extra) * dimension + size + 1,)))
    sections = numbers[: (size + extra) * dimension].reshape(size + extra, dimension)
    sections[~sections.any(axis=1), 0] = 1.0
    return Dictionary(sections, numbers[-size - 1 : -1], float(numbers[-1]))


theorem.instances(dictionaries())


@theorem.hypothesis(NONZERO, arithmetic=RATIONAL)
def nonzero(case):
    return all(any(entry != 0 for entry in row) for row in case.sections)


@theorem.degenerate
def no_function(case):
    return not case.target.any()


def scores(case):
    return np.array([(row @ case.target) ** 2 / (row @ row) for row in case.sections])


def error_unit(case):
    if kind(case.alpha) != "float64":
        return {"operations": 1}
    total = np.abs(case.sections).sum() * np.abs(case.alpha).sum()
    smallest = min((row @ row for row in case.sections if row.any()), default=1.0)
    # products with at most 3 terms, one quotient, two squares
    return {
        "operations": 20,
        "magnitude": (1 + total) ** 2
        * (1 + abs(case.other)) ** 2
        * (1 + np.sum(case.sections**2))
        / min(smallest, 1.0),
    }


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def where_the_score_is_largest(case):
    unit, h = error_unit(case), case.target
    for row in case.sections:
        if case.other != 0:
            change = case.other * row
            yield less(0 * case.other, change @ change, operations=20, name="another multiple is worse")
    if any(all(entry == 0 for entry in row) for row in case.sections):
        return
    values = scores(case)
    best = max(range(len(values)), key=lambda place: values[place])
    losses = []
    for row, score in zip(case.sections, values, strict=True):
        beta = (row @ h) / (row @ row)
        rest, other = h - beta * row, h - (beta + case.other) * row
        losses.append(rest @ rest)
        yield equal(rest @ rest, h @ h - score, **unit, name="loss of the best multiple")
        yield equal(other @ other, h @ h - score + case.other**2 * (row @ row), **unit, name="loss of another multiple")
        yield at_most(score, h @ h, **unit, name="score at most ‖h‖²")
    yield at_most(losses[best], min(losses), **unit, name="the largest score has the smallest loss")


@theorem.derivation
def a_parabola():
    import sympy as sp

    a, t, r, beta, extra = sp.symbols("a t r beta delta", real=True)
    section, h = sp.Matrix([a, 0]), sp.Matrix([t, r])  # coordinates along k(·, x) and across, a ≠ 0
    value, variance = section.dot(h), section.dot(section)
    rest = h - section * (value / variance + extra)
    yield identity(
        "loss = ‖h‖² - h(x)²/k(x, x) + δ² k(x, x)",
        rest.dot(rest),
        h.dot(h) - value**2 / variance + extra**2 * variance,
    )
    plain = h - section * beta
    yield identity("the parabola", plain.dot(plain), h.dot(h) - 2 * beta * value + beta**2 * variance)
    yield identity("the score misses ‖h‖² by the part across", h.dot(h) - value**2 / variance, r**2)


@theorem.without(NONZERO)
def a_zero_section():
    # a zero input of a network without biases: every multiple of its section is the same function
    return Dictionary(np.array([[1.0], [0.0]]), np.ones(1), 1.0)


EXACT = (RATIONAL,)


def loss(case, places):
    """The squared distance of h to the span of some sections."""
    rows = case.sections[list(places)]
    if rank(rows) < len(rows):
        return loss(case, places[:-1])
    values = rows @ case.target
    return case.target @ case.target - values @ solve(rows @ rows.T, values)


def largest(numbers):
    return max(range(len(numbers)), key=lambda place: numbers[place])


@theorem.false_twin("the best point is where |h| is largest", arithmetics=EXACT)
def largest_value(case):
    place = largest([abs(row @ case.target) for row in case.sections])
    return at_most(max(scores(case)), scores(case)[place], operations=20)


@theorem.false_twin("the best point is the sample with the largest |α|", arithmetics=EXACT)
def largest_coefficient(case):
    return at_most(max(scores(case)), scores(case)[largest(abs(case.alpha))], operations=20)


@theorem.false_twin("the best point is a training point", arithmetics=EXACT)
def a_training_point(case):
    return at_most(max(scores(case)), max(scores(case)[: len(case.alpha)]), operations=20)


@theorem.false_twin("the best pair contains the best point", arithmetics=EXACT)
def greedy_pairs(case):
    count = len(case.sections)
    if count < 3:
        return equal(0 * case.other, 0 * case.other, operations=1)
    first = largest(scores(case))
    greedy = min(loss(case, (first, other)) for other in range(count) if other != first)
    return at_most(greedy, min(loss(case, pair) for pair in combinations(range(count), 2)), operations=20)
