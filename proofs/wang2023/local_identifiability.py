r"""The gradient of the output weights alone determines a batch locally from B(d+1) hidden units on, and from no fewer.

Seen alone, the gradient of the output weights of f(x) = Σ_j a_j σ(w_j·x) is g_j = Σ_i r_i σ(w_j·x_i), j = 1, …, m. Take the
points and the residuals as unknowns (the labels y_i = f(x_i) - r_i follow): B(d+1) numbers. For σ(z) = c_0 + c_1 z + c_2 z² +
c_3 z³ with c_3 ≠ 0, linearly independent samples and residuals that are not zero, the Jacobian J of g has for almost every W

    rank J = min(m, N),   N = B(d+1) if c_1 or c_2 is not zero,  Bd + 1 if only c_0 is not,  Bd if σ(z) = c_3 z³.

So the batch is an isolated solution, and the equations can be solved to machine precision near it, if m >= B(d+1) and the
activation is not homogeneous; and if m < B(d+1) the solutions near a batch where the rank is locally constant form a
manifold of dimension B(d+1) - rank J. In the homogeneous case the missing B dimensions are the scalings of a sample
and its residual, (tx, t^{-3} r). The count md > Bd of Wang, Lee and Lei, which would allow m ≳ B, needs dL/dW as well.

Notes
-----
Proof. A row of J consists of the values at w_j of the B(d+1) polynomials σ(w·x_i) and r_i σ'(w·x_i) w_k. If polynomials
span a space of dimension N, their values at m points have rank min(m, N) for almost all points: some minor is a polynomial
that does not vanish identically, by induction on its size. So N is to be found. Change coordinates so that x_i = e_i, and let

    Σ_i ρ_i σ(w_i) + r_i σ'(w_i) (v_i·w) = 0   for all w.

Its cubic part says 3 r_i v_i = -ρ_i e_i; then its quadratic part is c_2 Σ ρ_i w_i²/3, its linear part c_1 Σ 2 ρ_i w_i/3, and
its constant c_0 Σ ρ_i.

The claim evaluates J exactly at the multi-indices of length at most three. Cubics are determined by their values there.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import MODULAR, RATIONAL, constant, full, rank
from provable.theorems import Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $g_j = \sum_{i\le B} r_i\sigma(w_j^Tx_i)$, $j \le m$, with linearly independent $x_i \in
    \mathbb{R}^d$, $r_i \ne 0$ and $\sigma(z) = c_0 + c_1z + c_2z^2 + c_3z^3$, $c_3 \ne 0$. For almost every $W$ the
    Jacobian of $g$ with respect to all $(x_i, r_i)$ has rank $\min(m, N)$, where $N = B(d+1)$ if $(c_1, c_2) \ne 0$, $N =
    Bd + 1$ if only $c_0 \ne 0$, and $N = Bd$ if $\sigma(z) = c_3z^3$.""",
    source=Source(
        "derived",
        "",
        "for the remark on the number of equations after Theorem 5.1 of Wang, Lee, Lei, arXiv:2212.03714v3",
    ),
    expected="proved",
    does_not_say="that a solution is unique globally, that an algorithm finds it, or how the Jacobian is conditioned",
)

INDEPENDENT, VISIBLE, CUBIC = (
    "the samples are linearly independent",
    "no residual is zero",
    "the activation has degree three",
)


@dataclass(frozen=True)
class Batch:
    """Samples (B, d), residuals (B,), and the coefficients of the activation from degree zero up."""

    samples: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray


@st.composite
def batches(draw, *, sizes=(1, 2, 3), extra=(0, 1), homogeneous=None, degree=3, visible=True):
    size = draw(st.sampled_from(sizes))
    dimension = max(1, size + draw(st.sampled_from(extra if size < 3 else extra[:1])))
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((size * dimension + size + 4,)))
    samples, residuals, coefficients = np.split(numbers, [size * dimension, size * dimension + size])
    coefficients, residuals = coefficients.copy(), np.where((residuals == 0) & visible, 1.0, residuals)
    coefficients[degree + 1 :] = 0.0
    coefficients[degree] = coefficients[degree] or 1.0
    if draw(st.booleans()) if homogeneous is None else homogeneous:
        coefficients[1:degree] = 0.0
    return Batch(samples.reshape(size, dimension), residuals, coefficients)


theorem.instances(batches())


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent(batch):
    return rank(batch.samples) == len(batch.samples)


@theorem.hypothesis(VISIBLE, arithmetic=RATIONAL)
def visible_samples(batch):
    return all(residual != 0 for residual in batch.residuals)


@theorem.hypothesis(CUBIC, arithmetic=RATIONAL)
def degree_three(batch):
    return batch.coefficients[3] != 0


def jacobian(batch):
    """J at the weights w = n, |n| <= 3: columns σ(w·x_i) and r_i σ'(w·x_i) w_k."""
    dimension = batch.samples.shape[1]
    lattice = [n for n in product(range(4), repeat=dimension) if sum(n) <= 3]
    weight = full((len(lattice), dimension), 0, batch.samples)
    for row, point in zip(weight, lattice, strict=True):
        row[:] = [constant(n, batch.samples) for n in point]
    z = weight @ batch.samples.T
    c = batch.coefficients
    values = c[0] + z * (c[1] + z * (c[2] + z * c[3]))
    slopes = (c[1] + z * (2 * c[2] + z * (3 * c[3]))) * batch.residuals
    return np.hstack([values, (slopes[:, :, None] * weight[:, None, :]).reshape(len(lattice), -1)])


def dimension_of_the_span(batch):
    """N, as stated."""
    size, dimension = batch.samples.shape
    if batch.coefficients[1] != 0 or batch.coefficients[2] != 0:
        return size * (dimension + 1)
    return size * dimension + (1 if batch.coefficients[0] != 0 else 0)


def witnesses(matrix, count):
    """The first `count` rows that are independent of those before them: weights at which the rank is attained."""
    chosen: list[int] = []
    for row in range(len(matrix)):
        if len(chosen) == count:
            break
        if rank(matrix[[*chosen, row]]) > len(chosen):
            chosen.append(row)
    return matrix[chosen]


@theorem.claim(arithmetics=(RATIONAL, MODULAR))
def generic_rank(batch):
    matrix, expected = jacobian(batch), dimension_of_the_span(batch)
    yield holds(rank(matrix) == expected, name="the functions in a row of J span N dimensions")
    fewer = expected // 2
    yield holds(rank(witnesses(matrix, fewer)) == fewer, name="fewer weights attain their number")


@theorem.derivation
def by_degrees():
    import sympy as sp

    w = sp.symbols("w_1:4")
    rho, r = sp.symbols("rho_1 rho_2"), sp.symbols("r_1 r_2", nonzero=True)
    c = sp.symbols("c_0:4")
    v = [sp.symbols(f"{name}_1:4") for name in "uv"]

    def sigma(z):
        return sum(coefficient * z**k for k, coefficient in enumerate(c))

    z = sp.Symbol("z")
    slope = sp.diff(sigma(z), z)

    def relation(directions):
        return sum(
            rho[i] * sigma(w[i])
            + r[i] * slope.subs(z, w[i]) * sum(a * b for a, b in zip(directions[i], w, strict=True))
            for i in range(2)
        )

    total = sp.Poly(sp.expand(relation(v)), *w)
    for i in range(2):
        for k in range(3):
            monomial = w[i] ** 2 * w[k]
            expected = c[3] * (3 * r[i] * v[i][k] + (rho[i] if i == k else 0))
            yield identity(
                f"the coefficient of w_{i + 1}² w_{k + 1}; two samples in three dimensions stand for all",
                total.coeff_monomial(monomial),
                expected,
            )
    solved = [[-rho[i] / (3 * r[i]) if i == k else 0 for k in range(3)] for i in range(2)]
    rest = c[0] * sum(rho) + sum(2 * c[1] * rho[i] * w[i] / 3 + c[2] * rho[i] * w[i] ** 2 / 3 for i in range(2))
    yield identity(
        "with 3 r_i v_i = -ρ_i e_i the rest is c_0 Σρ_i + 2/3 c_1 Σρ_i w_i + 1/3 c_2 Σρ_i w_i²", relation(solved), rest
    )
    x = sp.Matrix(3, 3, sp.symbols("x:9"))
    yield identity(
        "coordinates: w = Xᵀ⁻¹u turns w·x_i into u_i, times det X",
        x.T * (x.T.adjugate() * sp.Matrix(w)),
        x.det() * sp.Matrix(w),
    )
    values = sp.Matrix(2, 2, sp.symbols("f:4"))
    yield identity(
        "induction for minors: expanded along the row of a new weight, the coefficients are minors of the others",
        values.det(),
        values[1, 1] * values[0, 0] - values[1, 0] * values[0, 1],
    )
    t = sp.Symbol("t", positive=True)
    yield identity("the fibre of z³: (tx, t^{-3} r)", t**-3 * r[0] * (t * w[0]) ** 3, r[0] * w[0] ** 3)


def cubic_batch(samples, residuals, coefficients):
    return Batch(np.array(samples, dtype=float), np.array(residuals, dtype=float), np.array(coefficients, dtype=float))


@theorem.without(INDEPENDENT)
def three_samples_in_a_plane():
    return cubic_batch([[1, 0], [0, 1], [1, 1]], [1, 1, 1], [0, 1, 0, 1])


@theorem.without(VISIBLE)
def an_invisible_sample():
    return cubic_batch([[1]], [0], [0, 1, 0, 1])


@theorem.without(CUBIC)
def quadratic_units():
    # three points may turn in the planes that they span, and the linear part sees two of the three angles
    return cubic_batch(np.eye(3), [1, 1, 1], [0, 1, 1, 0])


@theorem.false_twin("m = Bd units suffice: the rank is Bd")
def one_number_less_per_sample(batch):
    size, dimension = batch.samples.shape
    return holds(rank(jacobian(batch)) <= size * dimension, name="rank J <= Bd")


@theorem.false_twin("homogeneous activations do as well", instances=batches(homogeneous=True))
def homogeneous_too(batch):
    size, dimension = batch.samples.shape
    return holds(rank(jacobian(batch)) == size * (dimension + 1), name="N = B(d+1)")


@theorem.false_twin(
    "it is enough that no two samples are parallel", without=(INDEPENDENT,), instances=batches(sizes=(3,), extra=(-1,))
)
def no_two_parallel(batch):
    if any(rank(batch.samples[[i, j]]) < 2 for i, j in ((0, 1), (0, 2), (1, 2))):
        return holds(True, name="nothing is claimed")
    return list(generic_rank(batch))


@theorem.false_twin(
    "samples without residual are found too", without=(VISIBLE,), instances=batches(sizes=(1, 2), visible=False)
)
def invisible_samples(batch):
    return list(generic_rank(batch))


@theorem.false_twin(
    "a quadratic activation with a linear part does as well",
    without=(CUBIC,),
    instances=batches(sizes=(3,), extra=(0,), degree=2, homogeneous=False),
)
def quadratic(batch):
    return list(generic_rank(batch))
