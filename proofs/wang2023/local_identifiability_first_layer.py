r"""The gradient of the first layer alone determines a batch locally from 2B hidden units on, whatever the dimension.

The gradient of the first layer of f(x) = Σ_j a_j σ(w_j·x) is G = ∂L/∂W = Σ_i h_i x_iᵀ with h_i = r_i a∘σ'(Wx_i), m × d
numbers. Take the samples and the residuals as unknowns, B(d+1) numbers. Let the samples be linearly independent, the
residuals and output weights not zero, and let σ be analytic with σ'' not constant. For almost every W with m >= 2B rows the
Jacobian of G has

    rank B(d+1) if σ is not homogeneous up to a constant,   rank Bd if σ(z) = c_0 + c_p z^p.

In the first case the batch is an isolated solution; in the second one exactly the scales (t x_i, t^{-p} r_i) are open. With
m <= B units there are fewer equations than unknowns. From ∂L/∂a alone B(d+1) units are needed
(``wang2023.local_identifiability``).

Notes
-----
Proof. Let dG = Σ dh_i x_iᵀ + h_i dx_iᵀ = 0. The x_i are independent, and so are the h_i for almost every W; hence there is
a matrix M with dh_i = Σ_k M_ik h_k and dx_k = -Σ_i M_ik x_i. On the other hand dh_i = (dr_i/r_i) h_i + r_i a∘σ''(Wx_i)∘W
dx_i. With z = Xw and ρ_i = dr_i/r_i the row of w in this reads, after division by its a,

    ρ_i r_i σ'(z_i) - r_i σ''(z_i) Σ_k M_ki z_k = Σ_k M_ik r_k σ'(z_k).

For one i these are the 2B functions σ'(z_k) for all k, σ''(z_i) z_k for all k, of independent variables z_1, …, z_B. If
they are linearly independent, their values at almost all 2B points w are, and M_ki = 0 for all k, M_ik = 0 for k ≠ i, ρ_i =
M_ii = 0. They are: σ''(z_i) z_k with k ≠ i is the only one that depends on z_i and z_k together, as σ'' is not constant;
the others depend on one variable each and are not constant; and c σ'(z) = z σ''(z) only if σ' is a multiple of a power. In
that case ρ_i = p M_ii is open. For m <= B there are md < B(d+1) equations.

The claim evaluates the Jacobian modulo a prime for polynomials σ and weights of 53 random bits.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import MODULAR, RATIONAL, rank
from provable.theorems import Source, Theorem, holds, identity
from provable.theorems.strategies import gaussian_arrays, readable_arrays

theorem = Theorem(
    statement=r"""Let $G = \sum_{i\le B} r_i\,(a\odot\sigma'(Wx_i))\,x_i^T$ with linearly independent $x_i \in
    \mathbb{R}^d$, $r_i \ne 0$, $a_j \ne 0$ and $\sigma$ analytic with $\sigma''$ not constant. For almost every $W \in
    \mathbb{R}^{m\times d}$ with $m \ge 2B$ the Jacobian of $G$ with respect to all $(x_i, r_i)$ has rank $B(d+1)$, or $Bd$
    if $\sigma(z) = c_0 + c_pz^p$; for $m \le B$ its rank is below $B(d+1)$.""",
    source=Source("derived", "", "for the number of units in Theorem 5.1 of Wang, Lee, Lei, arXiv:2212.03714v3"),
    expected="proved",
    does_not_say="that a solution is unique globally or found by an algorithm; between B + 1 and 2B units nothing is proved",
)

INDEPENDENT, VISIBLE = "the samples are linearly independent", "no residual is zero"
CURVED = "σ'' is not constant"


@dataclass(frozen=True)
class Batch:
    """Samples (B, d), residuals (B,), the activation's coefficients from degree zero up, weights (m, d + 1) with a last."""

    samples: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray
    weights: np.ndarray


@st.composite
def batches(draw, *, sizes=(1, 2, 3), extra=(0, 1), width=None, degree=4, monomial=None, visible=True):
    size = draw(st.sampled_from(sizes))
    dimension = max(1, size + draw(st.sampled_from(extra)))
    # all readable numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((size * dimension + size + 5,)))
    samples, residuals, coefficients = np.split(numbers, [size * dimension, size * dimension + size])
    residuals, coefficients = np.where((residuals == 0) & visible, 1.0, residuals), coefficients.copy()
    coefficients[degree + 1 :] = 0.0
    top = draw(st.integers(min(3, degree), degree))
    coefficients[top] = coefficients[top] or 1.0
    if draw(st.integers(0, 3)) == 0 if monomial is None else monomial:
        coefficients[1:] = np.where(np.arange(1, 5) == top, coefficients[1:], 0.0)
    count = 2 * size + draw(st.integers(0, 1)) if width is None else width(size)
    return Batch(
        samples.reshape(size, dimension), residuals, coefficients, draw(gaussian_arrays((count, dimension + 1)))
    )


theorem.instances(batches())


@theorem.hypothesis(INDEPENDENT, arithmetic=RATIONAL)
def independent(batch):
    return rank(batch.samples) == len(batch.samples)


@theorem.hypothesis(VISIBLE, arithmetic=RATIONAL)
def visible_samples(batch):
    return all(residual != 0 for residual in batch.residuals)


@theorem.hypothesis(CURVED, arithmetic=RATIONAL)
def curved(batch):
    return any(coefficient != 0 for coefficient in batch.coefficients[3:])


def derivative(coefficients, z):
    """The derivative of the polynomial at z, and its coefficients."""
    lowered = [power * coefficient for power, coefficient in enumerate(coefficients)][1:]
    return sum(coefficient * z**power for power, coefficient in enumerate(lowered)), lowered


def jacobian(batch):
    """Columns ∂G/∂x_ik and ∂G/∂r_i, rows the entries of G."""
    weight, output = batch.weights[:, :-1], batch.weights[:, -1]
    z = weight @ batch.samples.T
    slope, lowered = derivative(batch.coefficients, z)
    curvature, _ = derivative(lowered, z)
    dimension, columns = batch.samples.shape[1], []
    for i, (sample, residual) in enumerate(zip(batch.samples, batch.residuals, strict=True)):
        for k in range(dimension):
            change = np.multiply.outer(output * residual * curvature[:, i] * weight[:, k], sample)
            change[:, k] = change[:, k] + output * residual * slope[:, i]
            columns.append(change.reshape(-1))
        columns.append(np.multiply.outer(output * slope[:, i], sample).reshape(-1))
    return np.stack(columns, axis=1)


def unknowns(batch):
    size, dimension = batch.samples.shape
    return size * (dimension + 1)


def is_monomial(batch):
    return sum(1 for coefficient in batch.coefficients[1:] if coefficient != 0) == 1


@theorem.claim(arithmetics=(MODULAR,))
def generic_rank(batch):
    open_scales = len(batch.samples) if is_monomial(batch) else 0
    found = rank(jacobian(batch))
    yield holds(found == unknowns(batch) - open_scales, name="rank = B(d+1), less B scales for a monomial")
    few = Batch(batch.samples, batch.residuals, batch.coefficients, batch.weights[: len(batch.samples)])
    yield holds(rank(jacobian(few)) < unknowns(batch), name="B units are too few")


@theorem.derivation
def by_the_freedom_of_a_factorisation():
    import sympy as sp

    h, x, gauge = (sp.Matrix(2, 2, sp.symbols(f"{name}:4")) for name in "hxm")
    yield identity(
        "dh_i = Σ_k M_ik h_k and dx_k = -Σ_i M_ik x_i leave Σ h_i x_iᵀ unchanged",
        (h * gauge.T) * x.T + h * (-x * gauge).T,
        sp.zeros(2),
    )
    other = sp.Matrix(2, 2, sp.symbols("v:4"))
    yield identity(
        "and nothing else does: with M = -(X⁻¹ dX), dH Xᵀ + H dXᵀ = 0 gives dH = H Mᵀ (times det X; coordinates in the span)",
        (-h * other.T) * x.adjugate().T,
        -h * (x.adjugate() * other).T,
    )
    z, c, p = sp.symbols("z c p", positive=True)
    function = sp.Function("s")
    yield identity(
        "z s'(z) = c s(z) only for s = const z^c: then (s z^{-c})' = 0",
        (z * sp.diff(function(z) * z**-c, z)).doit() * z**c,
        z * sp.diff(function(z), z) - c * function(z),
    )
    one, two = sp.symbols("z_1 z_2")
    second = sp.Function("q")
    yield identity(
        "σ''(z_i) z_k depends on both variables if σ'' is not constant: its mixed derivative is σ'''(z_i)",
        sp.diff(second(one) * two, one, two),
        sp.diff(second(one), one),
    )
    r, t = sp.symbols("r t", positive=True)
    yield identity(
        "scales of a monomial: r σ'(w·x) x is the same for (tx, t^{-p} r)",
        sp.powsimp(t**-p * r * (t * z) ** (p - 1) * t * z),
        r * z**p,
    )


WEIGHTS = np.array([[1.0, 2.0, 1.0], [3.0, -1.0, 2.0], [-2.0, 0.5, 1.0], [1.0, 5.0, -1.0]])


@theorem.without(INDEPENDENT)
def parallel_samples():
    # x and 2x with σ(z) = z + z³ and two units: three numbers of the sums of r x and of r x³ are seen
    return Batch(np.array([[1.0], [2.0]]), np.ones(2), np.array([0.0, 1.0, 0.0, 1.0, 0.0]), WEIGHTS[:, 1:])


@theorem.without(VISIBLE)
def an_invisible_sample():
    return Batch(np.array([[1.0]]), np.zeros(1), np.array([0.0, 1.0, 0.0, 1.0, 0.0]), WEIGHTS[:2, 1:])


@theorem.without(CURVED)
def quadratic_units():
    return Batch(np.eye(2), np.ones(2), np.array([0.0, 1.0, 1.0, 0.0, 0.0]), WEIGHTS)


def full_rank(batch):
    return holds(rank(jacobian(batch)) == unknowns(batch), name="rank = B(d+1)")


@theorem.false_twin("B units suffice", instances=batches(width=lambda size: size, monomial=False))
def as_many_units_as_samples(batch):
    return full_rank(batch)


@theorem.false_twin("monomials do as well", instances=batches(monomial=True))
def monomials(batch):
    return full_rank(batch)


@theorem.false_twin(
    "quadratic activations do as well", without=(CURVED,), instances=batches(sizes=(2,), degree=2, monomial=False)
)
def quadratic(batch):
    return full_rank(batch)


@theorem.false_twin(
    "samples may be dependent if there are enough units",
    without=(INDEPENDENT,),
    instances=batches(sizes=(3,), extra=(-2, -1), width=lambda size: 8, monomial=False),
)
def dependent(batch):
    return full_rank(batch)


@theorem.false_twin("residuals may vanish", without=(VISIBLE,), instances=batches(visible=False, monomial=False))
def vanishing_residuals(batch):
    return full_rank(batch)
