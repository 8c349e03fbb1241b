r"""Random projections of a tensor with independent factors: the first-order error, with its factor ‖U‖₂.

Setting and notation of `kuleshov2015.plug_in`; μ = max |u_i·u_j| over i ≠ j. For projections w_1, …, w_L let
s = R(v_i,v_j,·). The pair i, j is the regression of the numbers w_l·s on w_l·u_i and w_l·u_j, with the coefficients -π_i X_ji
and -π_j X_ij, and e_i = -Σ_{j≠i} X_ji u_j. If Σ_l w_l w_lᵀ = c I (an orthonormal basis of projections, or the limit L → ∞),

    -π_i X_ji = s·d_ij,   d_ij = (u_i - (u_i·u_j) u_j)/(1 - (u_i·u_j)²),   π_i² X_ji² (1 - (u_i·u_j)²) ≤ ‖s‖²,

for unit u_i. For independent w_l ~ N(0, I_d) and L ≥ 3 the coefficient differs from this by ‖s_⊥‖ t/√((L-1)(1 - (u_i·u_j)²)),
where s_⊥ is the part of s outside of the plane of u_i and u_j and t has Student's law with L - 1 degrees of freedom. Hence,
with τ the number that |t| exceeds with probability δ/(d(d-1)), with probability at least 1 - δ for all i

    ‖e_i‖ ≤ ‖U‖₂ √(d-1) ‖v_i‖ max_j‖v_j‖ ‖R‖ (1 + τ/√(L-1)) / (|π_i| √(1 - μ²)).

The printed bound, `kuleshov2015.random_projections_as_printed`, has no factor ‖U‖₂ and fails for many equally correlated
factors.

Notes
-----
The first order of the entry i, j for projection l is X_ij λ_jl + X_ji λ_il + R(v_i,v_j,w_l) with λ_il = π_i (u_i·w_l), as in
`kuleshov2015.plug_in`. Regression on normal rows: given the two regressors, the residual part w_l·s_⊥ is independent of them
and normal, so the coefficient of w_l·u_i is off by a normal number with variance ‖s_⊥‖²/(‖ρ‖²), where ρ is what the
regression of w_l·u_i on w_l·u_j leaves: 1 - (u_i·u_j)² times a χ² variable with L - 1 degrees of freedom. The bound: ‖e_i‖ ≤
‖U‖₂ (Σ_j X_ji²)^{1/2}, ‖s‖ ≤ ‖v_i‖‖v_j‖‖R‖ and ‖s_⊥‖ ≤ ‖s‖.

The printed theorem takes projections on the unit sphere. The supplement, with the authors' proof, was not read.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, rank, solve
from provable.theorems import Source, Theorem, at_most, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For $\hat T = \sum_{i\le d}\pi_iu_i^{\otimes3} + \varepsilon R$ with a basis $u_i$ of unit vectors, $v_i$
    its dual basis, $\pi_i \ne 0$, symmetric $R$, $|u_i\cdot u_j| \le \mu$ for $i \ne j$, and $L \ge 3$ independent
    projections along $w_l \sim N(0, I_d)$, joint diagonalisation gives the columns $u_i + \varepsilon e_i + O(\varepsilon^2)$
    up to scale, where with probability at least $1-\delta$ for all $i$: $\|e_i\| \le
    \|U\|_2\sqrt{d-1}\,\|v_i\|\max_j\|v_j\|\,\|R\|(1 + \tau/\sqrt{L-1})/(|\pi_i|\sqrt{1-\mu^2})$, $P(|t_{L-1}| > \tau) =
    \delta/(d(d-1))$. For projections with $\sum_lw_lw_l^T = cI$ the term $\tau$ is absent.""",
    source=Source(
        "Kuleshov, Chaganty, Liang, AISTATS 2015",
        "Theorem 3, corrected",
        "the printed bound is quoted second-hand; normal projections, Student's law and the constants are derived here",
    ),
    expected="proved",
    does_not_say="anything of projections on the unit sphere, of how small ε has to be, or of local minima",
)

DETERMINED, INDEPENDENT, SYMMETRIC = "no two rows of levels are parallel", "independent factors", "symmetric noise"
FREEDOM = 4


@dataclass(frozen=True)
class Case:
    """Weights (d,), the factor (d, d) with the u_i as columns, of any norms; noise (d, d, d); projections (L, d)."""

    weights: np.ndarray
    factor: np.ndarray
    noise: np.ndarray
    projections: np.ndarray


def symmetric_noise(draw, size):
    """A symmetric tensor, entry by entry readable."""
    places = list(itertools.combinations_with_replacement(range(size), 3))
    noise = np.zeros((size,) * 3)
    for place, number in zip(places, draw(readable_arrays((len(places),))), strict=True):
        for permuted in itertools.permutations(place):
            noise[permuted] = number
    return noise


@theorem.instances
def cases(draw):
    size = draw(st.integers(2, 3))
    basis = np.eye(3) * 2.0 if size == 3 else np.array([[1.0, 2.0], [-2.0, 1.0]])
    isotropic = draw(st.integers(0, 2)) == 0
    projections = basis if isotropic else draw(readable_arrays((draw(st.integers(2, 4)), size)))
    weights = draw(readable_arrays((size,), nonzero=True))
    return Case(weights, draw(readable_arrays((size, size))), symmetric_noise(draw, size), projections)


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent(case):
    return rank(case.factor) == len(case.factor) and all(weight != 0 for weight in case.weights)


@theorem.hypothesis(DETERMINED, arithmetic=RATIONAL)
def determined(case):
    levels = case.projections @ case.factor
    return all(rank(levels[:, [i, j]]) == 2 for i, j in itertools.combinations(range(len(case.factor)), 2))


@theorem.hypothesis(SYMMETRIC, arithmetic=RATIONAL)
def symmetric(case):
    return all(np.all(case.noise == np.transpose(case.noise, axes)) for axes in itertools.permutations(range(3)))


@theorem.degenerate
def no_noise(case):
    return not case.noise.any()


def dual_basis(factor):
    """Rows v_i with v_i·u_j = δ_ij."""
    unit = 0 * factor
    for place in range(len(factor)):
        unit[place, place] = unit[place, place] + 1
    return solve(factor, unit)


def coefficient(case, duals, i, j):
    """-π_i X_ji from the normal equations in the levels λ, or None if they are singular."""
    levels = case.projections @ case.factor * case.weights
    matrices = [np.tensordot(case.noise, w, 1) for w in case.projections]
    noise = np.array([duals[i] @ ((matrix + matrix.T) @ duals[j]) / 2 for matrix in matrices], dtype=levels.dtype)
    a, b = levels[:, j], levels[:, i]
    determinant = (a @ a) * (b @ b) - (a @ b) ** 2
    if determinant == 0:
        return None
    return case.weights[i] * ((a @ a) * (b @ noise) - (a @ b) * (a @ noise)) / determinant


def plane(case, i, j):
    """The vector d with d·u_i = 1 and d·u_j = 0 in the plane of both."""
    u, w = case.factor[:, i], case.factor[:, j]
    return ((w @ w) * u - (u @ w) * w) / ((u @ u) * (w @ w) - (u @ w) ** 2)


def noise_vector(case, duals, i, j):
    """s = R(v_i, v_j, ·)."""
    return (case.noise @ duals[j]) @ duals[i]


@theorem.claim(arithmetics=(RATIONAL,))
def regression_per_pair(case):
    if rank(case.factor) < len(case.factor):
        yield holds(False, name="the factors have a dual basis")
        return
    duals = dual_basis(case.factor)
    gram = case.projections.T @ case.projections
    size = len(gram)
    isotropic = all(gram[a, b] == (gram[0, 0] if a == b else 0) for a in range(size) for b in range(size))
    for i, j in itertools.permutations(range(size), 2):
        found = coefficient(case, duals, i, j)
        yield holds(found is not None, name="the projections determine the pair")
        if found is None:
            continue
        s, d = noise_vector(case, duals, i, j), plane(case, i, j)
        other = plane(case, j, i)
        rest = s - (s @ d) * case.factor[:, i] - (s @ other) * case.factor[:, j]
        a, b, c = (case.projections @ vector for vector in (case.factor[:, j], case.factor[:, i], rest))
        left = b - (a @ b) / (a @ a) * a
        yield equal(found, s @ d + (left @ c) / (left @ left), operations=1, name="-π_i X_ji = s·d + regression of s_⊥")
        if isotropic:
            yield equal(found, s @ d, operations=1, name="isotropic projections: -π_i X_ji = s·d_ij")
        u, w = case.factor[:, i], case.factor[:, j]
        sine = ((u @ u) * (w @ w) - (u @ w) ** 2) / (w @ w)
        yield at_most((s @ d) ** 2 * sine, s @ s, operations=1, name="(s·d)² (1 - μ_ij²) ≤ ‖s‖²")


@theorem.derivation
def regression():
    import sympy as sp

    m, s1, s2 = sp.symbols("m s_1 s_2", real=True)
    unit = sp.sqrt(1 - m**2)
    # the plane of u_j = (1, 0) and u_i = (m, √(1-m²))
    d = sp.Matrix([0, 1 / unit])
    u_i, u_j, s = sp.Matrix([m, unit]), sp.Matrix([1, 0]), sp.Matrix([s1, s2])
    yield identity("d·u_i = 1 and d·u_j = 0", sp.Matrix([d.dot(u_i), d.dot(u_j)]), sp.Matrix([1, 0]))
    yield identity("d = (u_i - m u_j)/(1 - m²)", d, (u_i - m * u_j) / (1 - m**2))
    yield identity(
        "(s·d)²(1 - m²) = ‖s‖² - (s·u_j)² within the plane", s.dot(d) ** 2 * (1 - m**2), s.dot(s) - s.dot(u_j) ** 2
    )
    aa, ab, bb, ac, bc = sp.symbols("aa ab bb ac bc")  # the products of two regressors a, b and the numbers c
    left_b, left_c = bb - ab**2 / aa, bc - ab * ac / aa
    best_b = left_c / left_b
    best_a = (ac - best_b * ab) / aa
    yield identity(
        "two regressors: the coefficient of b is (ρ·c)/(ρ·ρ), with ρ what the regression on a leaves of b",
        sp.Matrix([ac - best_a * aa - best_b * ab, bc - best_a * ab - best_b * bb]),
        sp.zeros(2, 1),
    )
    yield identity("given a and b, the variance of (ρ·c)/(ρ·ρ) is ‖s_⊥‖²/(ρ·ρ)", left_b / left_b**2, 1 / left_b)
    p, q = sp.symbols("p q", real=True)
    yield identity(
        "w·u_i = m (w·u_j) + √(1-m²) q with an independent normal q: ρ is √(1-m²) times what q leaves, χ² with L - 1 degrees",
        (sp.Matrix([p, q]).T * u_i)[0] - m * (sp.Matrix([p, q]).T * u_j)[0],
        unit * q,
    )
    yield identity(
        "Cov(w·s_⊥, w·u_i) = 0: s_⊥ = (0, 0, σ) beside the plane", sp.Matrix([0, 0, p]).dot(sp.Matrix([m, unit, 0])), 0
    )
    n, delta = sp.symbols("d delta", positive=True)
    yield identity("d(d-1) ordered pairs of probability δ/(d(d-1)) each", n * (n - 1) * delta / (n * (n - 1)), delta)


def deviation(rng, count, size=4):
    """The Student variable of one pair: random unit u_i, u_j and s in R⁴, `count` normal projections."""
    u, w, s = rng.standard_normal((3, size))
    u, w = u / np.linalg.norm(u), w / np.linalg.norm(w)
    cosine = u @ w
    d = (u - cosine * w) / (1 - cosine**2)
    basis = np.linalg.qr(np.stack([u, w], axis=1))[0]
    rest = s - basis @ (basis.T @ s)
    projections = rng.standard_normal((count, size))
    found = np.linalg.lstsq(projections @ np.stack([u, w], axis=1), projections @ s, rcond=None)[0][0]
    return (found - s @ d) * math.sqrt((count - 1) * (1 - cosine**2)) / np.linalg.norm(rest)


@theorem.tail(bound=0.17528, false_bounds={"the normal law, for five projections": 0.1})
def beyond_the_normal_quantile(rng):
    """|t_4| > 1.64485, which has probability 0.17527; a normal variable has 0.1."""
    return abs(deviation(rng, FREEDOM + 1)) > 1.64485


@theorem.tail(bound=0.2, false_bounds={})
def the_bound_fails(rng):
    """Three correlated factors in R³, R = v⊗v⊗v of norm one, δ = 1/5 and L = 8: |t_7| > 2.99 has probability 0.0202 > δ/6."""
    dimension, count, quantile = 3, 8, 3.0
    factor = rng.standard_normal((dimension, dimension)) + 1.0
    factor /= np.linalg.norm(factor, axis=0)
    direction = rng.standard_normal(dimension)
    direction /= np.linalg.norm(direction)
    noise = np.multiply.outer(np.outer(direction, direction), direction)
    case = Case(rng.uniform(0.5, 2.0, dimension), factor, noise, rng.standard_normal((count, dimension)))
    duals = np.linalg.inv(factor)
    sizes = np.linalg.norm(duals, axis=1)
    cosine = np.abs(np.triu(factor.T @ factor, 1)).max()
    for i in range(dimension):
        error = sum(coefficient(case, duals, i, j) / case.weights[i] * factor[:, j] for j in range(dimension) if j != i)
        bound = np.linalg.norm(factor, 2) * math.sqrt(dimension - 1) * sizes[i] * sizes.max() / case.weights[i]
        if np.linalg.norm(error) > bound * (1 + quantile / math.sqrt(count - 1)) / math.sqrt(1 - cosine**2):
            return True
    return False


@theorem.rate(exponent=-0.5, sizes=(16, 64, 256, 1024), false_exponents={"the excess falls like 1/L": -1.0})
def excess_in_projections(count, rng):
    """Root mean square over eight pairs of the part of the coefficient that comes from s_⊥."""
    return math.sqrt(np.mean([deviation(rng, count) ** 2 / (count - 1) for _ in range(8)]))


@theorem.without(INDEPENDENT)
def parallel_factors():
    # three vectors in a plane: dependent, though no two of them are parallel
    factor = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 0.0]])
    return Case(np.ones(3), factor, np.ones((3, 3, 3)), np.eye(3))


@theorem.without(DETERMINED)
def one_projection():
    return Case(np.ones(2), np.eye(2), np.ones((2, 2, 2)), np.array([[1.0, 1.0]]))


@theorem.without(SYMMETRIC)
def noise_in_one_entry():
    noise = np.zeros((2, 2, 2))
    noise[0, 1, 0] = 1.0
    return Case(np.ones(2), np.eye(2), noise, np.eye(2))


@theorem.false_twin("any projections give s·d_ij")
def no_excess(case):
    duals = dual_basis(case.factor)
    for i, j in itertools.permutations(range(len(duals)), 2):
        s, d = noise_vector(case, duals, i, j), plane(case, i, j)
        yield equal(coefficient(case, duals, i, j), s @ d, operations=1, name="-π_i X_ji = s·d_ij")


@theorem.false_twin("the correlation of the factors does no harm: |s·d| ≤ ‖s‖/‖u_i‖")
def without_incoherence(case):
    duals = dual_basis(case.factor)
    for i, j in itertools.permutations(range(len(duals)), 2):
        s, d, u = noise_vector(case, duals, i, j), plane(case, i, j), case.factor[:, i]
        yield at_most((s @ d) ** 2 * (u @ u), s @ s, operations=1, name="(s·d)²‖u_i‖² ≤ ‖s‖²")


@theorem.false_twin("isotropic projections are as good as the plug-in: R(v_j,v_i,v_i)")
def as_the_plug_in(case):
    duals = dual_basis(case.factor)
    for i, j in itertools.permutations(range(len(duals)), 2):
        s = noise_vector(case, duals, i, j)
        yield equal(s @ plane(case, i, j), s @ duals[i], operations=1, name="s·d_ij = R(v_j,v_i,v_i)")
