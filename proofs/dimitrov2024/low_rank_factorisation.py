"""A layer's gradient has at most the rank of the batch, and every factorisation of that rank is the samples' in disguise.

With the samples as the rows of X (B × d) and their sensitivities as the columns of D (m × B), a dense layer's gradient is
G = D X, as a sum of B matrices of rank one. So rank G ≤ B. If the rank is B, let G = L R be any factorisation with B
columns in L and B rows in R, from a singular value decomposition for instance. Then there is exactly one matrix Q with D
= L Q, it is invertible, and X = Q⁻¹ R: all that separates the attacker from the batch are the B² numbers of Q.

Notes
-----
Proof. G = D X has rank B, so D and X have, and so have L and R. The column space of D contains that of G and both have
dimension B; the same holds for L. So D = L Q with Q square, unique because the columns of L are independent, and invertible
because those of D are. From L Q X = L R and the independence of the columns of L, Q X = R.

The statements of the source (its Theorems 3.1 and 3.2 by a third party's reading note) were not readable here; this is a
derivation of what they are used for.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, full, rank, solve
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $G = D X$ with $D$ of shape $m \times B$ and $X$ of shape $B \times d$. Then $\mathrm{rank}\, G \le
    B$. If $\mathrm{rank}\, G = B$ and $G = L R$ with $L$ of shape $m \times B$, then there is exactly one $Q$ with $D =
    L Q$; it is invertible and $X = Q^{-1} R$.""",
    source=Source(
        "Dimitrov, Baader, Müller, Vechev, SPEAR, NeurIPS 2024",
        "Theorems 3.1 and 3.2",
        "numbers by a reading note, statement derived here: the body was not readable",
    ),
    expected="certified",
    does_not_say="how Q is found, and nothing of batches whose gradient has less rank",
)

FULL_RANK = "rank G = B"
FACTORISATION = "L R = G, L with B columns"


@dataclass(frozen=True)
class Factorisation:
    """Sensitivities D (m, B), samples X (B, d), and two factors L (m, B), R (B, d)."""

    sensitivities: np.ndarray
    samples: np.ndarray
    left: np.ndarray
    right: np.ndarray

    @property
    def gradient(self):
        return self.sensitivities @ self.samples


@theorem.instances
def factorisations(draw):
    size = draw(st.integers(1, 3))
    width, dimension = size + draw(st.integers(0, 2)), size + draw(st.integers(0, 2))
    numbers = draw(readable_arrays((width * size + size * dimension + size * size,)))
    d, x, mixing = np.split(numbers, [width * size, width * size + size * dimension])
    d, x, mixing = d.reshape(width, size), x.reshape(size, dimension), mixing.reshape(size, size)
    # A unit triangular mixing has an inverse in the same small numbers.
    mixing = np.eye(size) + np.triu(mixing, 1)
    inverse = np.linalg.inv(mixing)
    return Factorisation(d, x, d @ mixing, inverse @ x)


@theorem.hypothesis(FULL_RANK, arithmetic=RATIONAL)
def full_rank(case):
    return rank(case.gradient) == len(case.samples)


@theorem.hypothesis(FACTORISATION, arithmetic=RATIONAL)
def factorises(case):
    product = case.left @ case.right
    return case.left.shape == case.sensitivities.shape and bool(np.all(product == case.gradient))


def change(case):
    """The solution Q of L Q = D by normal equations, which are regular if the columns of L are independent."""
    return solve(case.left.T @ case.left, case.left.T @ case.sensitivities)


@theorem.claim(arithmetics=(RATIONAL,))
def factors_are_the_samples(case):
    size = len(case.samples)
    yield holds(rank(case.gradient) <= size, name="rank G ≤ B")
    if rank(case.left) < size:
        yield holds(False, name="the columns of L are independent")
        return
    q = change(case)
    yield equal(case.left @ q, case.sensitivities, operations=1, name="D = L Q")
    yield holds(rank(q) == size, name="Q is invertible")
    yield equal(q @ case.samples, case.right, operations=1, name="Q X = R")


@theorem.derivation(covers="three neurons, two samples and inputs of two coordinates")
def by_symbols():
    import sympy as sp

    left, q, x = (
        sp.Matrix(rows, 2, lambda i, j, n=name: sp.Symbol(f"{n}{i}{j}"))
        for name, rows in (("l", 3), ("q", 2), ("x", 2))
    )
    gram = left.T * left
    yield identity("(LᵀL)⁻¹Lᵀ D = Q for D = LQ: Q is unique", gram.adjugate() * left.T * left * q, gram.det() * q)
    yield identity("L(QX) = LR gives QX = R", gram.adjugate() * left.T * (left * q) * x, gram.det() * q * x)


@theorem.without(FULL_RANK)
def a_sample_without_residual():
    return Factorisation(
        np.array([[1.0, 0.0], [0.0, 0.0]]), np.eye(2), np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([[1.0, 0], [0, 0]])
    )


@theorem.without(FACTORISATION)
def factors_of_another_gradient():
    return Factorisation(np.eye(2), np.eye(2), np.array([[1.0, 0.0], [0.0, 0.0]]), np.eye(2))


@theorem.false_twin("the factors of any factorisation are the samples themselves", arithmetics=(RATIONAL,))
def no_change_of_basis(case):
    return equal(case.right, case.samples, operations=1, name="R = X")


@theorem.false_twin("the rank is B whatever the sensitivities are", without=(FULL_RANK,), arithmetics=(RATIONAL,))
def always_full(case):
    return holds(rank(case.gradient) == len(case.samples), name="rank G = B")


@theorem.false_twin("Q is orthogonal", arithmetics=(RATIONAL,))
def orthogonal(case):
    if rank(case.left) < len(case.samples):
        return holds(True, name="nothing is claimed")
    q = change(case)
    unit = full(q.shape, 0, q)
    for k in range(len(q)):
        unit[k, k] = unit[k, k] + 1
    return equal(q.T @ q, unit, operations=1, name="QᵀQ = 1")


@theorem.false_twin("the rank of the batch is enough", without=(FULL_RANK,), arithmetics=(RATIONAL,))
def independent_samples(case):
    independent = rank(case.samples) == len(case.samples)
    return holds(
        not independent or rank(case.left) == len(case.samples), name="Q exists if the samples are independent"
    )
