r"""The error of the averaged moments outside of the batch's span, exactly: (d-k)/m times a number that does not depend on d.

Let w_1, …, w_m be independent N(0, I_d), g(w) = Σ_i r_i σ(w·x_i) with fixed r_i and E g²‖w‖⁶ finite, Π the projection on the
span of the samples, k its dimension, and Π' = I - Π. The averages v̂, P̂, T̂ of g H_1, g H_2, g H_3 over the m weights have
expectations M_1, M_2, M_3 that lie in the span, and

    E‖Π' v̂‖²      = (d-k)/m · E g²,
    E‖Π' P̂ Π‖_F²  = (d-k)/m · E[g²‖Πw‖²],
    E‖Π' P̂ Π'‖_F² = (d-k)(d-k+1)/m · E g²,
    E‖T̂(Π,Π,Π) - M_3‖_F² = (E[g²(‖Πw‖⁶ - 6‖Πw‖⁴ + (3k+6)‖Πw‖²)] - ‖M_3‖²)/m.

The expectations on the right are over k-dimensional Gaussians. These are mean-square forms of Propositions A.1, 5.5 (with
Lemma A.3) and 5.6, for every activation with moments, Lipschitz or not, with equality in place of Õ. The part of P̂ that
turns the estimated span is Π'P̂Π; so the √(d/m) is no artefact of the proof, it is the size of the error. The last error
does not depend on d. Since E g² <= (Σ|r_i| (Eσ(‖x_i‖Z)²)^{1/2})², the factor B of the printed bounds is in the numbers on
the right.

Notes
-----
Proof. g and Πw depend on Πw only, Π'w is independent of it, with mean zero and covariance Π'. So one term g Π'w has mean
zero and mean square (d-k) E g²; g Π'(wwᵀ - I)Π = g (Π'w)(Πw)ᵀ has mean zero and mean square (d-k) E[g²‖Πw‖²]; g Π'(wwᵀ -
I)Π' has mean zero and mean square E g² E‖zzᵀ - I‖² with z standard in d-k dimensions, which is (d-k)(d-k+1). In the last
line the factor is ‖H_3(Πw)‖² in k dimensions. Averages of m independent terms have 1/m of the variance.

At finite m the residuals r_i depend on the weights through f(x_i); they are the same for all j, and fixed here.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL, constant, full, rank, solve
from provable.theorems import Source, Theorem, equal, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $w_j \sim N(0, I_d)$ be independent, $g(w) = \sum_i r_i\sigma(w^Tx_i)$ with fixed $r_i$ and $E
    g^2\|w\|^6 < \infty$, $\Pi$ the projection on the $k$-dimensional span of the $x_i$, $\Pi' = I - \Pi$. For $\hat v, \hat
    P, \hat T$ the means over $j \le m$ of $g(w_j)H_p(w_j)$, $p = 1, 2, 3$: $E\|\Pi'\hat v\|^2 = \frac{d-k}mE g^2$,
    $E\|\Pi'\hat P\Pi\|_F^2 = \frac{d-k}mE[g^2\|\Pi w\|^2]$, $E\|\Pi'\hat P\Pi'\|_F^2 = \frac{(d-k)(d-k+1)}mE g^2$, and
    $E\|\hat T(\Pi,\Pi,\Pi) - M_3\|^2$ is $1/m$ times a number that does not depend on $d$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3",
        "Propositions 5.5, 5.6, A.1 and Lemma A.3, in the mean square",
        "the printed statements were read; these equalities are derived here",
    ),
    expected="proved",
    does_not_say=(
        "anything of operator norms with high probability, which the printed bounds are about, or of residuals that vary "
        "with the weights; the rate of the span itself is measured for one sample and z²"
    ),
)

STANDARD = "weights of variance one"


@dataclass(frozen=True)
class Batch:
    """Samples (B, d), residuals (B,), coefficients of a polynomial activation, and the variance of the weights."""

    samples: np.ndarray
    residuals: np.ndarray
    coefficients: np.ndarray
    variance: float


@st.composite
def batches(draw, *, shapes=((1, 1), (1, 2), (1, 3), (2, 2), (2, 3)), degree=2, variances=(1.0,)):
    size, dimension = draw(st.sampled_from(shapes))
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((size * dimension + size + degree + 1,)))
    samples, residuals, coefficients = np.split(numbers, [size * dimension, size * dimension + size])
    return Batch(samples.reshape(size, dimension), residuals, coefficients, draw(st.sampled_from(variances)))


theorem.instances(batches())


@theorem.hypothesis(STANDARD, arithmetic=RATIONAL)
def standard_weights(batch):
    return batch.variance == 1


@theorem.degenerate
def nothing_to_see(batch):
    return not (batch.samples.any() and batch.residuals.any() and batch.coefficients[1:].any())


def pivots(samples):
    """Indices of samples that form a basis of the span."""
    chosen: list[int] = []
    for row in range(len(samples)):
        if rank(samples[[*chosen, row]]) > len(chosen):
            chosen.append(row)
    return chosen


def objects(entries):
    """An array of polynomials, which numpy would take for sequences."""
    result = np.empty(len(entries), dtype=object)
    result[:] = entries
    return result


class Moments:
    """g, the projections, and expectations of polynomials in the weights, in rationals."""

    def __init__(self, batch):
        self.dimension = batch.samples.shape[1]
        self.variance = batch.variance
        names = tuple(f"w{k}" for k in range(self.dimension))
        context = flint.fmpq_mpoly_ctx.get(names)
        self.weight = objects(context.gens())
        basis = batch.samples[pivots(batch.samples)]
        self.rank = len(basis)
        self.identity = full((self.dimension, self.dimension), 0, batch.samples)
        np.fill_diagonal(self.identity, constant(1, batch.samples))
        self.onto = 0 * self.identity
        if self.rank:
            self.onto = basis.T @ solve(basis @ basis.T, basis)
        self.off = self.identity - self.onto
        self.inside, self.outside = self.onto @ self.weight, self.off @ self.weight
        self.g = context.constant(0)
        for sample, residual in zip(batch.samples, batch.residuals, strict=True):
            argument, power = sum((x * w for x, w in zip(sample, self.weight, strict=True)), context.constant(0)), 1
            for coefficient in batch.coefficients:
                self.g = self.g + residual * coefficient * power
                power = power * argument
        self.square = self.g * self.g

    def mean(self, polynomial):
        """E of a polynomial in the weights."""
        total = flint.fmpq(0)
        for powers, coefficient in (
            polynomial.to_dict().items() if hasattr(polynomial, "to_dict") else [((), polynomial)]
        ):
            if all(power % 2 == 0 for power in powers):
                term = coefficient
                for power in powers:
                    term = term * int(np.prod(range(power - 1, 0, -2), dtype=np.int64)) * self.variance ** (power // 2)
                total += term
        return total

    def mean_square(self, entries):
        """E of the sum of g² times the squares of these polynomials."""
        return self.mean(self.square * sum(entry * entry for entry in np.ravel(entries)))

    def second(self, left, right):
        """left (wwᵀ - I) right, with polynomial entries."""
        return left @ (np.outer(self.weight, self.weight) - self.identity) @ right

    def third(self):
        """The entries H_3(w)(Π, Π, Π)."""
        z, p = self.inside, self.onto
        axes = range(self.dimension)
        return objects(
            [
                z[i] * z[j] * z[h] - z[i] * p[j, h] - z[j] * p[h, i] - z[h] * p[i, j]
                for i in axes
                for j in axes
                for h in axes
            ]
        )

    def length(self):
        """‖Πw‖²."""
        return sum(entry * entry for entry in self.inside)


@theorem.claim(arithmetics=(RATIONAL,))
def mean_squares(batch):
    of = Moments(batch)
    gap, k = of.dimension - of.rank, of.rank
    for name, entries in (
        ("Π'v̂", of.outside),
        ("Π'P̂Π", of.second(of.off, of.onto)),
        ("Π'P̂Π'", of.second(of.off, of.off)),
    ):
        means = [of.mean(of.g * entry) for entry in np.ravel(entries)]
        yield equal(np.array(means), np.array([flint.fmpq(0)] * len(means)), operations=1, name=f"E {name} = 0")
    power, crossed = of.mean(of.square), of.mean(of.square * of.length())
    yield equal(of.mean_square(of.outside), gap * power, operations=1, name="m E‖Π'v̂‖² = (d-k) E g²")
    yield equal(
        of.mean_square(of.second(of.off, of.onto)), gap * crossed, operations=1, name="m E‖Π'P̂Π‖² = (d-k) E[g²‖Πw‖²]"
    )
    yield equal(
        of.mean_square(of.second(of.off, of.off)),
        gap * (gap + 1) * power,
        operations=1,
        name="m E‖Π'P̂Π'‖² = (d-k)(d-k+1) E g²",
    )
    length = of.length()
    expected = of.mean(of.square * (length**3 - 6 * length**2 + (3 * k + 6) * length))
    yield equal(of.mean_square(of.third()), expected, operations=1, name="E g²‖H_3(Πw)‖² in k dimensions")


@theorem.derivation
def by_independence():
    import sympy as sp

    z = sp.symbols("z_1:3")
    a = sp.symbols("a_1:3")
    eye = sp.eye(2)
    vector = sp.Matrix(z)
    square = vector * vector.T - eye
    yield identity(
        "‖zzᵀ - I‖² = ‖z‖⁴ - 2‖z‖² + n; with E‖z‖⁴ = n² + 2n its mean is n(n+1); two coordinates stand for all",
        sum(entry**2 for entry in square),
        sum(v**2 for v in z) ** 2 - 2 * sum(v**2 for v in z) + 2,
    )
    n = sp.symbols("n", positive=True)
    yield identity("E‖z‖⁴ = 3n + n(n-1), so n² + 2n - 2n + n = n(n+1)", 3 * n + n * (n - 1) - 2 * n + n, n * (n + 1))
    outer = sp.Matrix(a) * vector.T
    yield identity("‖(Π'w)(Πw)ᵀ‖² = ‖Π'w‖²‖Πw‖²", sum(e**2 for e in outer), sum(v**2 for v in a) * sum(v**2 for v in z))
    delta, axes = sp.KroneckerDelta, range(2)
    third = [
        z[i] * z[j] * z[h] - z[i] * delta(j, h) - z[j] * delta(h, i) - z[h] * delta(i, j)
        for i in axes
        for j in axes
        for h in axes
    ]
    length = sum(v**2 for v in z)
    yield identity(
        "‖H_3(z)‖² = ‖z‖⁶ - 6‖z‖⁴ + (3k+6)‖z‖², here for k = 2",
        sum(entry**2 for entry in third),
        length**3 - 6 * length**2 + 12 * length,
    )
    k, s = sp.symbols("k s")
    # <z⊗z⊗z, z⊗̃I> = 3‖z‖⁴; the squares of the three terms of z⊗̃I are k‖z‖² each, their six mixed products ‖z‖² each
    yield identity(
        "any k: ‖z‖⁶ - 2·3‖z‖⁴ + (3k + 6)‖z‖²",
        s**3 - 2 * 3 * s**2 + 3 * k * s + 6 * s,
        s**3 - 6 * s**2 + (3 * k + 6) * s,
    )
    m, variance = sp.symbols("m V", positive=True)
    yield identity("the mean of m independent terms: m V/m² = V/m", m * variance / m**2, variance / m)
    u = sp.Matrix(sp.symbols("u_1:4"))
    onto = u * u.T / (u.T * u)[0]
    yield identity(
        "Πw and Π'w are jointly Gaussian with covariance ΠΠ' = 0, so independent",
        onto * (sp.eye(3) - onto),
        sp.zeros(3),
    )


def estimates(count, gap, rng, size=2):
    """Weights and g for erf and `size` orthonormal samples: (m, d) weights whose first coordinates are w·x_i, and g(w_j)."""
    from scipy.special import erf

    weights = rng.standard_normal((count, gap + size))
    return weights, erf(weights[:, :size]) @ np.array([1.0, -0.5])[:size]


@theorem.rate(
    exponent=-0.5,
    sizes=(256, 1024, 4096, 16384),
    false_exponents={"the error outside of the span falls like 1/m": -1.0, "it falls like m^(-1/4)": -0.25},
)
def error_in_width(count, rng):
    """‖Π'P̂Π‖_F at d - k = 6, root mean square over four trials."""
    squares = []
    for _ in range(4):
        weights, g = estimates(count, 6, rng)
        squares.append(np.sum(((weights[:, 2:] * g[:, None]).T @ weights[:, :2] / count) ** 2))
    return float(np.sqrt(np.mean(squares)))


@theorem.rate(
    exponent=0.5,
    sizes=(8, 32, 128, 512),
    false_exponents={"the error outside of the span grows like d": 1.0, "it does not depend on d": 0.0},
)
def error_in_dimension(gap, rng):
    """‖Π'P̂Π‖_F at m = 500 against d - k, root mean square over four trials."""
    squares = []
    for _ in range(4):
        weights, g = estimates(500, gap, rng)
        squares.append(np.sum(((weights[:, 2:] * g[:, None]).T @ weights[:, :2] / 500) ** 2))
    return float(np.sqrt(np.mean(squares)))


@theorem.rate(
    exponent=0.0,
    sizes=(8, 32, 128, 512),
    false_exponents={"the error of the third moment inside the span grows like √d": 0.5},
)
def third_moment_in_dimension(dimension, rng):
    """‖T̂(Π,Π,Π) - M_3‖_F for z + z³, one unit sample and m = 500, with a basis of the span that is not a coordinate axis."""
    direction = rng.standard_normal(dimension)
    direction /= np.linalg.norm(direction)
    squares = []
    for _ in range(4):
        z = rng.standard_normal((500, dimension)) @ direction
        squares.append((np.mean((z + z**3) * (z**3 - 3 * z)) - 6.0) ** 2)
    return float(np.sqrt(np.mean(squares)))


@theorem.rate(
    exponent=0.5,
    sizes=(4, 8, 16, 32),
    false_exponents={
        "the error of the estimated span grows like d": 1.0,
        "the error of the span does not depend on d": 0.0,
    },
)
def span_in_dimension(gap, rng):
    """Error of the leading eigenvector of P̂ for one unit sample and z², m = 20 000, root mean square over two trials."""
    squares = []
    for _ in range(2):
        weights = rng.standard_normal((20_000, gap + 1))
        g = weights[:, 0] ** 2
        estimate = (weights * g[:, None]).T @ weights / len(g) - g.mean() * np.eye(gap + 1)
        leading = np.linalg.eigh(estimate)[1][:, -1]
        squares.append(1 - leading[0] ** 2)
    return float(np.sqrt(np.mean(squares)))


@theorem.without(STANDARD)
def weights_of_half_the_variance():
    return Batch(np.array([[1.0, 0.0]]), np.ones(1), np.array([0.0, 1.0]), 0.5)


small = batches(shapes=((1, 2),))


@theorem.false_twin("the factor is d instead of d - k", instances=small)
def all_dimensions(batch):
    of = Moments(batch)
    return equal(
        of.mean_square(of.second(of.off, of.onto)),
        of.dimension * of.mean(of.square * of.length()),
        operations=1,
        name="m E‖Π'P̂Π‖² = d E[g²‖Πw‖²]",
    )


@theorem.false_twin("g² and ‖Πw‖² are uncorrelated", instances=small)
def uncorrelated(batch):
    of = Moments(batch)
    expected = (of.dimension - of.rank) * of.mean(of.square) * of.rank
    return equal(of.mean_square(of.second(of.off, of.onto)), expected, operations=1, name="m E‖Π'P̂Π‖² = (d-k) k E g²")


@theorem.false_twin("the block outside of the span has (d-k)² terms", instances=small)
def square_of_the_gap(batch):
    of = Moments(batch)
    expected = (of.dimension - of.rank) ** 2 * of.mean(of.square)
    return equal(of.mean_square(of.second(of.off, of.off)), expected, operations=1, name="m E‖Π'P̂Π'‖² = (d-k)² E g²")


@theorem.false_twin(
    "the variance of the weights does not matter",
    without=(STANDARD,),
    instances=batches(shapes=((1, 2),), variances=(1.0, 0.5)),
)
def any_variance(batch):
    return list(mean_squares(batch))
