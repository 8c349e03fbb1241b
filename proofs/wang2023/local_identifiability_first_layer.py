r"""The gradient of the first layer alone determines a batch locally from B + 1 hidden units on, whatever the dimension.

The gradient of the first layer of f(x) = Σ_j a_j σ(w_j·x) is G = ∂L/∂W = Σ_i h_i x_iᵀ with h_i = r_i a∘σ'(Wx_i), m × d
numbers. Take the samples and the residuals as unknowns, B(d+1) numbers. Let the samples be linearly independent, the
residuals and output weights not zero, σ analytic with σ'' not constant, and σ'(0) ≠ 0 unless σ is a polynomial. For almost
every W with m >= B + 1 rows the Jacobian of G has

    rank B(d+1) if σ is not homogeneous up to a constant,   rank Bd if σ(z) = c_0 + c_p z^p.

In the first case the batch is an isolated solution; in the second one exactly the scales (t x_i, t^{-p} r_i) are open. With
m <= B units there are fewer equations than unknowns. From ∂L/∂a alone B(d+1) units are needed
(``wang2023.local_identifiability``).

Notes
-----
Proof. Minors are analytic in W, so one W of full rank is enough (a complex one for polynomials). Let dG = 0, that is
Σ dh_i x_iᵀ + h_i dx_iᵀ = 0. The x_i are independent, and so are the h_i for the W below; hence there is a matrix M with
dh_i = Σ_k M_ik h_k and dx_k = -Σ_i M_ik x_i. On the other hand dh_i = (dr_i/r_i) h_i + r_i a∘σ''(Wx_i)∘W dx_i. With
z = Xw, ρ_i = dr_i/r_i and A_ki = ρ_i δ_ki - M_ik r_k/r_i, a row w of W says, after division by its a and by r_i,

    Σ_k σ'(z_k) A_ki = σ''(z_i) Σ_k z_k M_ki     for every i.

Choose the first row with z = s (1, …, 1), where sσ''(s) = 0 and σ'(s) ≠ 0: s = 0 if σ'(0) ≠ 0. If σ is a polynomial with
σ'(0) = 0, s is a root of σ'' that is none of σ'; there is one unless σ' = c z^n, for if every root of σ'' of order k is one
of σ', of order k + 1, then deg σ' = deg σ'' + 1 leaves room for a single root, and that is 0. This row says Σ_k A_ki = 0.
Choose the others with z = t e_j, j = 1, …, B. By the first row they say, with v = σ'(t) - σ'(0) and u = tσ''(0),

    v A_ji = u M_ji  for j ≠ i,     v A_ii = tσ''(t) M_ii.

For a pair i ≠ j the former are -v (r_j/r_i) M_ij = u M_ji and -v (r_i/r_j) M_ji = u M_ij, whose determinant is v² - u². It
is not zero for almost all t, since v = ±u for all t makes σ' affine. So M_ij = 0 for i ≠ j, A_ii = 0 by the first row, and
M_ii = 0, ρ_i = 0. If σ' = c z^n with n = p - 1 >= 2, the rows z = t e_j say A_ji = 0 and A_ii = n M_ii, and B numbers M_ii
are open: the scales.

The claim evaluates the Jacobian modulo a prime for polynomials σ and weights of 53 random bits.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import MODULAR, RATIONAL, rank
from provable.theorems import Source, Theorem, holds, identity
from provable.theorems.strategies import gaussian_arrays, readable_arrays

theorem = Theorem(
    statement=r"""Let $G = \sum_{i\le B} r_i\,(a\odot\sigma'(Wx_i))\,x_i^T$ with linearly independent $x_i \in \mathbb{R}^d$,
    $r_i \ne 0$, $a_j \ne 0$ and $\sigma$ analytic with $\sigma''$ not constant, a polynomial or with $\sigma'(0) \ne 0$.
    For almost every $W \in \mathbb{R}^{m\times d}$ the Jacobian of $G$ with respect to all $(x_i, r_i)$ has rank $B(d+1)$ if
    and only if $m \ge B + 1$, unless $\sigma(z) = c_0 + c_pz^p$, when it has rank $Bd$ for $m \ge B + 1$.""",
    source=Source("derived", "", "for the number of units in Theorem 5.1 of Wang, Lee, Lei, arXiv:2212.03714v3"),
    expected="proved",
    does_not_say="that a solution is unique globally or found by an algorithm, or how the Jacobian is conditioned",
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
    count = size + draw(st.integers(1, 3)) if width is None else width(size)
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
    size = len(batch.samples)
    expected = unknowns(batch) - (size if is_monomial(batch) else 0)
    yield holds(rank(jacobian(batch)) == expected, name="rank = B(d+1), less B scales for a monomial")
    fewer = replace(batch, weights=batch.weights[:size])
    yield holds(rank(jacobian(fewer)) < unknowns(batch), name="B units are too few")


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
    s, t, r_1, r_2, r_3 = sp.symbols("s t r_1 r_2 r_3", nonzero=True)
    residuals, rho = (r_1, r_2, r_3), sp.symbols("rho_1:4")
    freedom = sp.Matrix(3, 3, sp.symbols("M:9"))
    a = sp.Matrix(3, 3, lambda k, i: (rho[i] if k == i else 0) - freedom[i, k] * residuals[k] / residuals[i])
    q, p, curvature, far, turned = sp.symbols("sigma1_0 sigma1_t sigma2_0 sigma1_s sigma2_t")

    def row(slopes, curvatures, z):  # the equations of one row, for i = 1, 2, 3
        return [
            sum(slopes[k] * a[k, i] for k in range(3)) - curvatures[i] * sum(z[k] * freedom[k, i] for k in range(3))
            for i in range(3)
        ]

    first = row([far] * 3, [0] * 3, [s] * 3)  # sσ''(s) = 0: either factor may vanish
    sums = [sum(a[k, i] for k in range(3)) for i in range(3)]
    yield identity("the first row says σ'(s) Σ_k A_ki = 0", sp.Matrix(first), far * sp.Matrix(sums))
    for j in range(3):
        slopes = [p if k == j else q for k in range(3)]
        bends = [turned if k == j else curvature for k in range(3)]
        equations = row(slopes, bends, [t if k == j else 0 for k in range(3)])
        expected = [
            q * sums[i] + (p - q) * a[j, i] - (turned if i == j else curvature) * t * freedom[j, i] for i in range(3)
        ]
        yield identity(
            f"row {j + 1}: σ'(0) Σ_k A_ki + v A_ji = t σ''(z_i) M_ji; three samples stand for all",
            sp.Matrix(equations),
            sp.Matrix(expected),
        )
    v, u = sp.symbols("v u")
    pair = sp.Matrix([[-v * r_2 / r_1, -u], [-u, -v * r_1 / r_2]])
    yield identity("the determinant of a pair", pair.det(), v**2 - u**2)
    slope = sp.Function("f")
    z, c, n = sp.symbols("z c n", positive=True)
    for sign in (1, -1):
        yield identity(
            f"v = {'+' if sign > 0 else '-'}u for all t: f(t) = f(0) {'+' if sign > 0 else '-'} t f'(0) has a constant slope",
            sp.diff(slope(z).subs(slope(z), c + sign * n * z), z, 2),
            0,
        )
    yield identity("σ' = c z^n: zσ'' = nσ', so A_ii = n M_ii", sp.simplify(z * sp.diff(c * z**n, z)), n * c * z**n)
    yield identity(
        "scales of a monomial: r σ'(w·x) x is the same for (tx, t^{-p} r), p = n + 1",
        sp.powsimp(sp.expand_power_base((c ** -(n + 1)) * (c * z) ** n * c, force=True)),
        z**n,
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
