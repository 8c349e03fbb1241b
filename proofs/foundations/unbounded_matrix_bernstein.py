r"""Means of unbounded random matrices: Bernstein's inequality after truncation, with every constant stated.

Let Z_1, …, Z_m be independent copies of a random d_1 × d_2 matrix Z with a finite mean. For a truncation level M let

    δ_0 = m P(‖Z‖ > M),   V = max(‖E[ZZᵀ; ‖Z‖ <= M]‖, ‖E[ZᵀZ; ‖Z‖ <= M]‖),   L² = sup over unit a, b of E(aᵀZb)².

For every δ_1 in (0,1), with ℓ = log((d_1 + d_2)/δ_1) and probability at least 1 - δ_0 - δ_1, the mean Ẑ over m copies
satisfies

    ‖Ẑ - EZ‖ <= √(2Vℓ/m) + 4Mℓ/(3m) + L √(δ_0/m).

Lemma A.2 of Wang, Lee and Lei is this statement with a constant that is not given (and with V a bound on the whole second
moments, which is more than is needed). All three terms, the dimensions in ℓ and the δ_0 in the probability are necessary.

Notes
-----
Proof. With probability 1 - δ_0 none of the copies exceeds M, and then Ẑ is the mean of the truncated copies Z' = Z·1{‖Z‖ <=
M}. The means differ by at most L √(δ_0/m): |E aᵀZb·1{‖Z‖ > M}| <= L P(‖Z‖ > M)^{1/2} by Cauchy and Schwarz. The centred Z'
- EZ' are bounded by 2M, and E(Z' - EZ')(Z' - EZ')ᵀ = EZ'Z'ᵀ - EZ'(EZ')ᵀ is at most EZ'Z'ᵀ, so that their variance is at
most V. The matrix Bernstein inequality (Tropp, Foundations of Computational Mathematics 12 (2012), Theorem 1.6), P(‖Σ S_j‖
>= t) <= (d_1 + d_2) exp(-(t²/2)/(v + Rt/3)) for centred S_j with ‖S_j‖ <= R, is applied with v = mV, R = 2M and t = √(2vℓ)
+ 2Rℓ/3, for which the exponent is at most -ℓ.

The claim is decided in balls: for diagonal matrices with independent entries on a few integers, the probability of an error
beyond the bound is computed exactly, by powers of the generating polynomial.
"""

from dataclasses import dataclass

import flint
from hypothesis import strategies as st

from provable.arithmetic import BALL
from provable.theorems import Source, Theorem, at_most, identity

theorem = Theorem(
    statement=r"""Let $\hat Z$ be the mean of $m$ independent copies of a random $d_1\times d_2$ matrix $Z$, $M \ge 0$,
    $\delta_0 = mP(\|Z\| > M)$, $V = \max(\|E[ZZ^T; \|Z\|\le M]\|, \|E[Z^TZ; \|Z\|\le M]\|)$,
    $L^2 = \sup_{\|a\|=\|b\|=1}E(a^TZb)^2$ and $\ell = \log((d_1+d_2)/\delta_1)$, $0 < \delta_1 < 1$. Then
    $P(\|\hat Z - EZ\| > \sqrt{2V\ell/m} + \frac{4M\ell}{3m} + L\sqrt{\delta_0/m}) \le \delta_0 + \delta_1$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3",
        "Lemma A.2, with constants",
        "the printed lemma was read; the constants are derived here from Tropp's matrix Bernstein inequality, which is cited",
    ),
    expected="certified",
    does_not_say=(
        "that Tropp's inequality is derived here; the exact probabilities are those of diagonal matrices with independent "
        "entries on four integers"
    ),
)

VALUES = (-1, 0, 1, 4)


@dataclass(frozen=True)
class Mean:
    """A mean of `count` n × n diagonal matrices whose entries have the values -1, 0, 1, 4 with these masses, out of 64."""

    masses: tuple[int, int, int, int]
    size: int
    count: int
    level: int
    halvings: int


def draw_mean(draw, *, sizes=(1, 1, 2, 16), counts=(1, 2, 4, 8, 64), halvings=(1, 2, 3, 5, 8)):
    cuts = sorted(draw(st.lists(st.sampled_from((0, 0, 1, 2, 8, 32, 62, 63, 64)), min_size=3, max_size=3)))
    masses = tuple(int(b - a) for a, b in zip((0, *cuts), (*cuts, 64), strict=True))
    order = draw(st.permutations(range(4)))
    return Mean(
        tuple(masses[k] for k in order),
        draw(st.sampled_from(sizes)),
        draw(st.sampled_from(counts)),
        draw(st.sampled_from((1, 0, 4))),
        draw(st.sampled_from(halvings)),
    )


@theorem.instances
def means(draw):
    return draw_mean(draw)


class Law:
    """The exact quantities of the statement, in balls that hold dyadic numbers."""

    def __init__(self, mean):
        masses = [flint.fmpq(mass, 64) for mass in mean.masses]
        large = sum((p for p, v in zip(masses, VALUES, strict=True) if abs(v) > mean.level), flint.fmpq(0))
        self.center = sum((p * v for p, v in zip(masses, VALUES, strict=True)), flint.fmpq(0))
        self.tail = 1 - (1 - large) ** mean.size
        kept = sum((p * v * v for p, v in zip(masses, VALUES, strict=True) if abs(v) <= mean.level), flint.fmpq(0))
        self.variance = kept * (1 - large) ** (mean.size - 1)
        self.weak = sum((p * v * v for p, v in zip(masses, VALUES, strict=True)), flint.fmpq(0))
        shifted = [flint.fmpq(0)] * 6  # powers of the generating polynomial, shifted to begin at zero
        for p, v in zip(masses, VALUES, strict=True):
            shifted[v + 1] += p
        self.sums = (flint.fmpq_poly(shifted) ** mean.count).coeffs()
        self.mean = mean
        self.delta_0 = mean.count * self.tail
        self.delta_1 = flint.fmpq(1, 2**mean.halvings)

    def logarithm(self, dimensions):
        """log(dimensions/δ_1)."""
        return flint.arb(dimensions / self.delta_1).log()

    def terms(self, logarithm):
        """The three terms of the bound."""
        count = self.mean.count
        return (
            (2 * flint.arb(self.variance / count) * logarithm).sqrt(),
            flint.arb(flint.fmpq(4 * self.mean.level, 3 * count)) * logarithm,
            flint.arb(self.weak * self.delta_0 / count).sqrt(),
        )

    def exceeding(self, bound):
        """The probability that the error is larger than the bound, a ball that holds what stays undecided."""
        within = flint.arb(0)
        for shifted, probability in enumerate(self.sums):
            error = flint.arb(abs(flint.fmpq(shifted, self.mean.count) - 1 - self.center))
            if error <= bound:
                within += flint.arb(probability)
            elif not error > bound:
                half = flint.arb(probability) / 2
                within += flint.arb(half.mid(), half.mid())
        return 1 - within**self.mean.size

    def compare(self, bound, probability, name):
        return at_most(self.exceeding(bound), flint.arb(probability), operations=1, name=name)


@theorem.degenerate
def says_nothing(mean):
    law = Law(mean)
    return bool(law.delta_0 + law.delta_1 >= 1) or max(mean.masses) == 64


STATED = "P(error > bound) <= δ_0 + δ_1"


@theorem.claim(arithmetics=(BALL,))
def bernstein(mean):
    law = Law(mean)
    bound = sum(law.terms(law.logarithm(2 * mean.size)), flint.arb(0))
    return law.compare(bound, law.delta_0 + law.delta_1, STATED)


@theorem.derivation(covers="the reduction to Tropp's inequality for bounded matrices")
def by_truncation():
    import sympy as sp

    v, size, bound = sp.symbols("v l R", positive=True)
    root = sp.sqrt(2 * v * size)
    t = root + 2 * bound * size / 3
    yield identity(
        "t²/2 - ℓ(v + Rt/3) = √(2vℓ) Rℓ/3 >= 0: the exponent is at most -ℓ",
        t**2 / 2 - size * (v + bound * t / 3),
        root * bound * size / 3,
    )
    m, variance, level = sp.symbols("m V M", positive=True)
    yield identity(
        "divided by m, with v = mV and R = 2M",
        sp.sqrt(2 * m * variance * size) / m + 2 * (2 * level) * size / 3 / m,
        sp.sqrt(2 * variance * size / m) + 4 * level * size / (3 * m),
    )
    d, delta = sp.symbols("d delta_1", positive=True)
    yield identity("(d_1 + d_2) e^{-ℓ} = δ_1", d * sp.exp(-sp.log(d / delta)), delta)
    p, x, y = sp.symbols("p x y", real=True)
    q = 1 - p
    yield identity(
        "Cauchy and Schwarz for an indicator: P(A) E X² - (E X 1_A)² >= 0; on A of probability p, X has two values",
        p * (p * (x**2 + y**2) / 2 + q * x**2) - (p * (x + y) / 2) ** 2,
        p**2 * (x - y) ** 2 / 4 + p * q * x**2,
    )
    first, second = (sp.Matrix(2, 2, sp.symbols(f"{name}:4")) for name in "zw")
    mean = p * first + q * second
    yield identity(
        "E(Z - EZ)(Z - EZ)ᵀ = E ZZᵀ - EZ(EZ)ᵀ, for a matrix with two values",
        p * (first - mean) * (first - mean).T + q * (second - mean) * (second - mean).T,
        p * first * first.T + q * second * second.T - mean * mean.T,
    )


def many_signs(draw):
    size, count = draw(st.sampled_from((1, 64))), draw(st.sampled_from((16, 64)))
    return Mean((32, 0, 32, 0), size, count, 1, draw(st.sampled_from((1, 2, 3))))


@theorem.false_twin("the dimensions do not matter: ℓ = log(2/δ_1)", instances=many_signs)
def no_dimensions(mean):
    law = Law(mean)
    return law.compare(sum(law.terms(law.logarithm(2)), flint.arb(0)), law.delta_0 + law.delta_1, STATED)


def rare_events(draw):
    seldom = draw(st.sampled_from((1, 2, 8)))
    return Mean((0, 64 - seldom, seldom, 0), 1, draw(st.sampled_from((1, 4, 8))), 1, draw(st.sampled_from((2, 5, 8))))


@theorem.false_twin("the mean is sub-Gaussian: the term with M is not needed", instances=rare_events)
def without_the_level(mean):
    law = Law(mean)
    first, _, third = law.terms(law.logarithm(2 * mean.size))
    return law.compare(first + third, law.delta_0 + law.delta_1, STATED)


@theorem.false_twin("the truncation does not move the mean: the term with L is not needed")
def without_the_bias(mean):
    law = Law(mean)
    first, second, _ = law.terms(law.logarithm(2 * mean.size))
    return law.compare(first + second, law.delta_0 + law.delta_1, STATED)


@theorem.false_twin("the bound holds with probability 1 - δ_1 whatever M is")
def without_the_tail(mean):
    law = Law(mean)
    bound = sum(law.terms(law.logarithm(2 * mean.size)), flint.arb(0))
    return law.compare(bound, law.delta_1, "P(error > bound) <= δ_1")


def long_means(draw):
    count = draw(st.sampled_from((256, 1024)))
    return Mean((32, 0, 32, 0), draw(st.sampled_from((1, 4))), count, 1, draw(st.sampled_from((6, 8, 10))))


@theorem.false_twin("the variance term is √(Vℓ/m)", instances=long_means)
def half_the_variance(mean):
    law = Law(mean)
    first, second, third = law.terms(law.logarithm(2 * mean.size))
    return law.compare(first / flint.arb(2).sqrt() + second + third, law.delta_0 + law.delta_1, STATED)
