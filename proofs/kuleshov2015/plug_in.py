r"""Plug-in projections of a tensor with independent factors: the first-order error is at most ‖v_i‖³‖R‖/|π_i|.

Let T̂ = Σ_{i≤d} π_i u_i^{⊗3} + εR with a basis of unit vectors u_i, π_i ≠ 0, a symmetric R, and the dual basis v_i (the rows
of U⁻¹). Joint diagonalisation by congruence of the plug-in projections T̂(·,·,w_l) with w_l = c_l v_l + O(ε), any c_l ≠ 0,
gives the columns u_i + εe_i + O(ε²), up to scale, with

    e_i = (I - u_i v_iᵀ) R(·,v_i,v_i) / π_i,   ‖e_i‖ ≤ ‖v_i‖ ‖R(·,v_i,v_i)‖/|π_i| ≤ ‖v_i‖³‖R‖/|π_i|   (d ≥ 2).

The printed bound is O(√(‖π‖₁π_max)/π_min² · ‖U^{-ᵀ}‖₂³)ε: it follows with the constant 1, and the other weights turn out not
to matter. For orthonormal u_i this is better than `kuleshov2015.orthogonal_plug_in`, where the constraint that the estimate
be orthogonal mixes the errors of different weights.

Notes
-----
Writing the diagonaliser as (1 + εX)U⁻¹, the entry i, j of (1 + εX)(Λ_l + εR'_l)(1 + εX)ᵀ is
ε(X_ij λ_jl + X_ji λ_il + R'_l,ij) + O(ε²), where λ_il = π_i (u_i·w_l) and R'_l,ij = R(v_i,v_j,w_l). Each pair is a
least-squares problem in two unknowns, unique if the vectors (λ_il)_l and (λ_jl)_l are not parallel. For the plug-in
λ_il = c_i π_i δ_il, so that X_ji = -R(v_j,v_i,v_i)/π_i, and e_i = -Σ_{j≠i} X_ji u_j; Σ_j u_j v_jᵀ = I gives the closed form.
The norm of the oblique projector I - uvᵀ with u·v = 1 is ‖u‖‖v‖. Projections that are off by O(ε) change X by O(ε), because
the exact tensor is diagonalised by U along any of them.

The criterion is the sum of squares off the diagonal, as in QRJ1D; which scale the rows have does not matter to the pairs. The
authors' code projects along the u_i instead of the v_i; that is another estimate, see the false twins. The supplement, with
the authors' proof, was not read.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, rank, solve
from provable.tensors import simultaneous_diagonalisation
from provable.theorems import Source, Theorem, at_most, equal, holds
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For $\hat T = \sum_{i\le d}\pi_iu_i^{\otimes3} + \varepsilon R$ with a basis $u_i$ of unit vectors,
    $\pi_i \ne 0$ and symmetric $R$, joint diagonalisation of the plug-in projections along $c_lv_l + O(\varepsilon)$, $v_l$
    the dual basis and $c_l \ne 0$, gives the columns $u_i + \varepsilon e_i + O(\varepsilon^2)$ up to scale, with $e_i = (I -
    u_iv_i^T)R(\cdot,v_i,v_i)/\pi_i$ and $\|e_i\| \le \|v_i\|^3\|R\|/|\pi_i| \le
    \sqrt{\|\pi\|_1\pi_{\max}}\|U^{-T}\|_2^3\|R\|/\pi_{\min}^2$, $d \ge 2$.""",
    source=Source(
        "Kuleshov, Chaganty, Liang, AISTATS 2015",
        "Theorem 4",
        "quoted second-hand from the main text; closed form and constant derived here",
    ),
    expected="proved",
    does_not_say="how small ε has to be, or that an algorithm finds this joint diagonaliser: there are local minima",
)

NONZERO, INDEPENDENT, SYMMETRIC = "nonzero weights", "independent factors", "symmetric noise"


@dataclass(frozen=True)
class Case:
    """Weights (d,), the factor (d, d) with the u_i as columns, of any norms; noise (d, d, d); the scalars c_l."""

    weights: np.ndarray
    factor: np.ndarray
    noise: np.ndarray
    scales: np.ndarray


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
    factor = draw(readable_arrays((size, size)))
    if draw(st.integers(0, 3)) == 3:  # nearly dependent
        factor = np.outer(factor[:, 0], np.ones(size)) + factor * 2.0 ** -draw(st.integers(1, 12))
    weights, scales = draw(readable_arrays((2, size), nonzero=True))
    return Case(weights, factor, symmetric_noise(draw, size), scales)


@theorem.hypothesis(NONZERO, arithmetic=RATIONAL)
def nonzero_weights(case):
    return all(number != 0 for number in [*case.weights, *case.scales])


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent(case):
    return rank(case.factor) == len(case.factor)


@theorem.hypothesis(SYMMETRIC, arithmetic=RATIONAL)
def symmetric(case):
    return all(np.all(case.noise == np.transpose(case.noise, axes)) for axes in itertools.permutations(range(3)))


@theorem.degenerate
def no_noise(case):
    return not case.noise.any()


def contract(noise, *vectors):
    """R(·, …, a, b)."""
    for vector in reversed(vectors):
        noise = noise @ vector
    return noise


def dual_basis(factor):
    """Rows v_i with v_i·u_j = δ_ij."""
    unit = 0 * factor
    for place in range(len(factor)):
        unit[place, place] = unit[place, place] + 1
    return solve(factor, unit)


def least_squares(case, duals, projections):
    """The columns e_i from the normal equations of each pair, or None where they are singular."""
    size = len(case.factor)
    levels = [[case.weights[i] * (case.factor[:, i] @ w) for w in projections] for i in range(size)]
    errors = [0 * case.factor[:, 0] for _ in range(size)]
    for i, j in itertools.permutations(range(size), 2):
        noise = [contract(case.noise, duals[j], w) for w in projections]
        noise = [
            (duals[i] @ row + duals[j] @ contract(case.noise, duals[i], w)) / 2
            for row, w in zip(noise, projections, strict=True)
        ]
        a, b = levels[j], levels[i]  # X_ij λ_j + X_ji λ_i = -noise
        aa, ab, bb = (sum(x * y for x, y in zip(*pair, strict=True)) for pair in ((a, a), (a, b), (b, b)))
        ar, br = (sum(x * r for x, r in zip(row, noise, strict=True)) for row in (a, b))
        determinant = aa * bb - ab * ab
        if determinant == 0:
            return None
        errors[i] = errors[i] + (aa * br - ab * ar) / determinant * case.factor[:, j]
    return errors


def closed_form(case, duals, i):
    """e_i, and R(·,v_i,v_i)."""
    pull = contract(case.noise, duals[i], duals[i])
    return (pull - (duals[i] @ pull) * case.factor[:, i]) / case.weights[i], pull


@theorem.claim(arithmetics=(RATIONAL,))
def first_order_error(case):
    if rank(case.factor) < len(case.factor):
        yield holds(False, name="the factors have a dual basis")
        return
    duals = dual_basis(case.factor)
    errors = least_squares(case, duals, [c * v for c, v in zip(case.scales, duals, strict=True)])
    yield holds(errors is not None, name="the projections determine every pair")
    if errors is None:
        return
    for i, error in enumerate(errors):
        expected, pull = closed_form(case, duals, i)
        yield equal(error, expected, operations=1, name="e_i = (I - u_i v_iᵀ) R(·,v_i,v_i)/π_i")
        u, v = case.factor[:, i], duals[i]
        bound = (u @ u) * (v @ v) * (pull @ pull) / case.weights[i] ** 2
        yield at_most(expected @ expected, bound, operations=1, name="‖e_i‖ ≤ ‖u_i‖‖v_i‖‖R(·,v_i,v_i)‖/|π_i|")


@theorem.derivation
def two_unknowns_per_pair():
    import sympy as sp

    eps = sp.Symbol("epsilon")
    lam = sp.symbols("lambda_1:4")
    step = sp.Matrix(3, 3, lambda a, b: 0 if a == b else sp.Symbol(f"x_{a + 1}{b + 1}"))
    r = sp.Matrix(3, 3, lambda a, b: sp.Symbol(f"r_{min(a, b) + 1}{max(a, b) + 1}"))
    moved = (sp.eye(3) + eps * step) * (sp.diag(*lam) + eps * r) * (sp.eye(3) + eps * step).T
    linear = moved.applyfunc(lambda entry: sp.expand(entry).coeff(eps, 1))
    pairs = ((0, 1), (0, 2), (1, 2))
    yield identity(
        "off the diagonal the first order is X_ij λ_j + X_ji λ_i + R_ij: the pair i, j and nothing else",
        sp.Matrix([linear[i, j] for i, j in pairs]),
        sp.Matrix([step[i, j] * lam[j] + step[j, i] * lam[i] + r[i, j] for i, j in pairs]),
    )
    x, y, ri, rj, rest = sp.symbols("x y r_i r_j rest")
    li, lj = sp.symbols("l_i l_j", nonzero=True)
    # projection l = i sees λ_i only, l = j sees λ_j only, the others see neither
    squares = (y * li + ri) ** 2 + (x * lj + rj) ** 2 + rest**2
    yield identity(
        "plug-in: the minimum is at X_ji = -R'_i,ij/(c_i π_i) = -R(v_i,v_j,v_i)/π_i, and c_i cancels",
        sp.Matrix([sp.diff(squares, x), sp.diff(squares, y)]).subs({x: -rj / lj, y: -ri / li}),
        sp.zeros(2, 1),
    )
    yield identity(
        "the inverse of (1 + εX)U⁻¹ is U(1 - εX) + O(ε²)",
        ((sp.eye(3) + eps * step) * (sp.eye(3) - eps * step)).applyfunc(sp.expand),
        (sp.eye(3) - eps**2 * step * step).applyfunc(sp.expand),
    )
    tau, x1, x2, x3 = sp.symbols("tau x_1:4", real=True)
    yield identity(
        "with v along e_1 and u = (1/|v|, τ/|v|, 0, …): (1 + τ²)‖x‖² - ‖(I - uvᵀ)x‖² is a sum of squares; ‖u‖‖v‖ = √(1 + τ²)",
        (1 + tau**2) * (x1**2 + x2**2 + x3**2) - ((x2 - tau * x1) ** 2 + x3**2),
        (x1 + tau * x2) ** 2 + tau**2 * x3**2,
    )
    low, rest, big = sp.symbols("low rest big", positive=True)
    yield identity(
        "√(‖π‖₁π_max)/π_min² ≥ 1/π_min: with π_min = low, π_max = low + big, ‖π‖₁ = low + rest",
        (low + rest) * (low + big) - low**2,
        low * rest + low * big + rest * big,
    )


@theorem.rate(
    exponent=-2.0,
    sizes=(300, 900, 2700, 8100),
    false_exponents={"the first-order error is another one": -1.0, "the rest is of third order": -3.0},
)
def rest_after_the_first_order(size, rng):
    """‖ũ_i - u_i - εe_i‖ of the algorithm with ε = 1/size, for three terms in R³ and normal noise, up to scale."""
    factor = np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 0.5], [0.25, 0.0, 1.0]])
    factor /= np.linalg.norm(factor, axis=0)
    noise = rng.standard_normal((3, 3, 3))
    noise = sum(np.transpose(noise, axes) for axes in itertools.permutations(range(3))) / 6
    case = Case(np.array([1.0, 1.5, 2.0]), factor, noise, np.ones(3))
    tensor = np.einsum("r,ir,jr,kr->ijk", case.weights, *[factor] * 3) + noise / size
    found = simultaneous_diagonalisation(tensor, 3, rng=rng).factors[0]
    duals, total = np.linalg.inv(factor), 0.0
    for i, u in enumerate(factor.T):
        expected = u + closed_form(case, duals, i)[0] / size
        expected = expected / np.linalg.norm(expected)
        place = np.argmax(np.abs(u @ found))
        total += np.sum((found[:, place] * np.sign(u @ found[:, place]) - expected) ** 2)
    return float(np.sqrt(total))


@theorem.without(NONZERO)
def a_weight_of_zero():
    return Case(np.array([0.0, 1.0]), np.eye(2), np.ones((2, 2, 2)), np.ones(2))


@theorem.without(INDEPENDENT)
def parallel_factors():
    return Case(np.ones(2), np.ones((2, 2)), np.ones((2, 2, 2)), np.ones(2))


@theorem.without(SYMMETRIC)
def noise_in_one_entry():
    noise = np.zeros((2, 2, 2))
    noise[1, 0, 0] = 1.0
    return Case(np.ones(2), np.eye(2), noise, np.ones(2))


@theorem.false_twin("projections along the u_i give the same error")
def along_the_factors(case):
    duals = dual_basis(case.factor)
    errors = least_squares(case, duals, list(case.factor.T))
    if errors is None:
        return holds(True, name="nothing is claimed")
    expected = [closed_form(case, duals, i)[0] for i in range(len(errors))]
    return equal(np.stack(errors), np.stack(expected), operations=1, name="e_i as for the dual basis")


@theorem.false_twin("the oblique projector has norm one")
def projector_of_norm_one(case):
    duals = dual_basis(case.factor)
    for i in range(len(duals)):
        error, pull = closed_form(case, duals, i)
        yield at_most(
            error @ error * case.weights[i] ** 2, pull @ pull, operations=1, name="‖e_i‖ ≤ ‖R(·,v_i,v_i)‖/|π_i|"
        )


@theorem.false_twin("the formula of the orthogonal case: (π_i R(v_j,v_i,v_i) - π_j R(v_j,v_j,v_i))/(π_i² + π_j²)")
def as_if_orthogonal(case):
    duals = dual_basis(case.factor)
    i, j = 0, 1
    mixed = [contract(case.noise, duals[a], duals[b]) for a, b in ((j, i), (j, j))]
    above = case.weights[i] * (duals[i] @ mixed[0]) - case.weights[j] * (duals[i] @ mixed[1])
    below = case.weights[i] ** 2 + case.weights[j] ** 2
    error = closed_form(case, duals, i)[0]
    yield equal(duals[j] @ error, above / below, operations=1, name="the component of e_i along u_j")


@theorem.false_twin("the error is R(·,v_i,v_i)/π_i, with its component along u_i")
def unprojected(case):
    duals = dual_basis(case.factor)
    errors = least_squares(case, duals, list(duals))
    for i, error in enumerate(errors):
        pull = contract(case.noise, duals[i], duals[i])
        yield equal(error * case.weights[i], pull, operations=1, name="e_i = R(·,v_i,v_i)/π_i")
