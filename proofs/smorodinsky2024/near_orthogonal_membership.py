r"""What is nearly orthogonal to the training data has a small output, with all constants: members stand out.

Let f(x) = Σ_k v_k relu(w_k·x) be at a KKT point with margin m: θ = Σ_{i=1}^n λ_i y_i ∇_θ f(x_i) in Clarke's sense, λ_i > 0
and y_i f(x_i) = m. With Λ = Σ λ_i, for every x and δ ≥ max_i |x·x_i|,

    Λ = ‖θ‖²/(2m)   and   |f(x)| ≤ m δ Λ².

If also δ ≥ |x_i·x_j| for i ≠ j, Δ ≤ ‖x_i‖² and (n - 1)δ < Δ, then λ_i ≤ (Δ - (n - 1)δ)^{-1/2} and

    |f(x)| ≤ (n m δ/Δ) (1 + n^{3/2} δ/(Δ - (n - 1)δ)).

Members have |f| ≥ m. So they are told from the nearly orthogonal by θ and m alone, where δΛ² < 1, and by the data's
geometry where nδ/Δ is small. Both hold with a bias in the first layer if x̃ = (x, 1) stands for x; then x̃·x̃_i = x·x_i + 1
and ‖x̃‖² = ‖x‖² + 1, so that no unit vectors are nearly orthogonal.

Notes ----- Proof. g_k = w_k/v_k = Σ_i λ_i y_i s_ik x_i has norm one, and Σ v_k² = ‖θ‖²/2 = mΛ, by balance and Euler's
identity. So |f(x)| ≤ Σ v_k² |g_k·x| ≤ mΛ·δΛ. For the second bound: 1 = ‖g_k‖² ≥ (Δ - (n - 1)δ) Σ_i (s_ik λ_i)², for (Σ
a_i)² ≤ n Σ a_i². A sample with f(x_i) ≠ 0 is active in some neuron, which bounds λ_i, and Λ by n times that. Also e = δ Σ_j
s_jk λ_j ≤ δ √n (Δ - (n - 1)δ)^{-1/2} bounds the cross terms of g_k·x_i. With V_i = Σ_k s_ik v_k², split into neurons of the
sign y_i that are active at x_i, where y_i g_k·x_i ≥ λ_i Δ - e, and the others, where s_ik λ_i Δ ≤ e, for else their
pre-activation at x_i had the sign y_i v_k. The margin is the sum of v_k² |g_k·x_i| over the first, less that over the
second, of at most e - λ_i Δ each. So λ_i V_i Δ ≤ m + e Σ v_k² = m(1 + eΛ), and |f(x)| ≤ Σ_k v_k² δ Σ_i s_ik λ_i = δ Σ_i λ_i
V_i ≤ n δ (m/Δ)(1 + eΛ).

n m δ/Δ is attained: by orthogonal data of one class with a neuron for each, and x with x·x_i = δ for all. m δ Λ² is
attained for n = 1. Without near-orthogonality of the data (the published O(·) has it as a hypothesis) only the first bound
is left; in terms of n it has n², as Λ may be n/√Δ: the factor n in the published rate is for data with δ = O(Δ n^{-3/2}).

Source: the paper's rate O(nmδ/Δ), from an account of it; constants and proof are derived here. Reviewers contest parts of
the published proofs.
"""

import dataclasses

from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.theorems import Source, Theorem, at_most, equal
from provable.theorems.derivation import identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""At a KKT point with margin m of f(x) = \sum_k v_k relu(w_k \cdot x), with n multipliers \lambda_i > 0 and
    \Lambda = \sum_i \lambda_i: \Lambda = \|\theta\|^2/(2m), and |f(x)| \le m \delta \Lambda^2 if |x \cdot x_i| \le \delta for
    all i. If |x_i \cdot x_j| \le \delta for i \ne j, \|x_i\|^2 \ge \Delta and (n - 1) \delta < \Delta, then \lambda_i^2
    (\Delta - (n - 1) \delta) \le 1 and |f(x)| \le (n m \delta/\Delta)(1 + n^{3/2} \delta/(\Delta - (n - 1) \delta)).""",
    source=Source("arXiv:2410.07632", "near-orthogonal data", "the rate from an account; constants derived here"),
    expected="proved",
    does_not_say="how probable it is that fresh data are nearly orthogonal; see fresh_points",
)

STATIONARY, COMMON = "stationarity", "all samples have margin m"

TRIPLES = ((112.0, 15.0, 113.0), (40.0, 9.0, 41.0), (4.0, 3.0, 5.0), (1.0, 0.0, 1.0))
"""a² + b² = h²: (a, -b) and (-b, a) have the inner product -2ab and the norm h."""


@dataclasses.dataclass(frozen=True)
class Trained:
    """Pairs of samples in planes of their own, with a neuron for each sample, and four orthogonal samples that share one.

    All inner products are zero or negative, so no neuron is active on another's samples; with λ = 1/h each is stationary.
    """

    triple: tuple[float, float, float]
    scale: float
    labels: tuple[float, ...]
    sharing: float
    outer: float
    fresh: object
    stretch: float = 1.0
    uneven: float = 1.0

    @property
    def samples(self):
        a, b, _ = (number * self.scale for number in self.triple)
        zero, size = a * 0, len(self.labels) + 4 * (self.sharing != 0)
        rows = []
        for i in range(len(self.labels)):
            row = [zero] * size
            row[i], row[i ^ 1] = a, -b  # i ^ 1 is the other one of its pair
            rows.append(row)
        double = 2 * self.norm
        for i in range(len(self.labels), size):
            rows.append([double if j == i else zero for j in range(size)])
        return rows

    @property
    def norm(self):
        return self.triple[2] * self.scale

    @property
    def signs(self):
        return [*self.labels, *([self.sharing] * 4 if self.sharing != 0 else [])]

    @property
    def multipliers(self):
        own = [1 / self.norm] * len(self.labels)
        return own + [1 / (4 * self.norm)] * (len(self.signs) - len(own))

    @property
    def neurons(self):
        """w and v; the neurons' squares are those that give all samples the margin v² h."""
        count = len(self.labels)
        vectors = [
            [y * m * x for x in row] for y, m, row in zip(self.signs, self.multipliers, self.samples, strict=True)
        ]
        groups = [[i] for i in range(count)] + ([list(range(count, count + 4))] if self.sharing != 0 else [])
        result = []
        for group in groups:
            direction = [sum(column) for column in zip(*(vectors[i] for i in group), strict=True)]
            outer = self.outer * (self.uneven if group == [0] else 1) * self.signs[group[0]]
            result.append(([self.stretch * outer * g for g in direction], outer))
        return result

    @property
    def margin(self):
        return self.outer**2 * self.norm * self.stretch


def dot(x, y):
    return sum((a * b for a, b in zip(x, y, strict=True)), x[0] * 0)


def output(case, x):
    zs = [(v, dot(w, x)) for w, v in case.neurons]
    return sum((v * z for v, z in zs if z > 0), case.margin * 0)


@theorem.instances
def trained(draw):
    pairs, sharing = draw(st.integers(0, 2)), draw(st.sampled_from((0.0, 0.0, 1.0, -1.0)))
    pairs = pairs or int(sharing == 0)
    labels = draw(st.lists(st.sampled_from((1.0, -1.0)), min_size=2 * pairs, max_size=2 * pairs))
    fresh = draw(readable_arrays((len(labels) + 4 * (sharing != 0),)))
    scale = draw(st.sampled_from((1.0, 1 / 128, 1 / 16)))
    return Trained(
        draw(st.sampled_from(TRIPLES)), scale, tuple(labels), sharing, draw(st.sampled_from((1.0, 2.0, 0.5))), fresh
    )


@theorem.hypothesis(STATIONARY, arithmetic=RATIONAL)
def is_stationary(case):
    for w, v in case.neurons:
        active = [(c, x) for c, x in coefficients(case) if dot(w, x) > 0]
        explained = [sum((c * v * x[j] for c, x in active), case.margin * 0) for j in range(len(w))]
        if explained != list(w) or sum((c * dot(w, x) for c, x in active), case.margin * 0) != v:
            return False
    return True


@theorem.hypothesis(COMMON, arithmetic=RATIONAL)
def has_a_common_margin(case):
    return all(y * output(case, x) == case.margin for y, x in zip(case.signs, case.samples, strict=True))


@theorem.degenerate
def orthogonal_to_all(case):
    return all(dot(case.fresh, x) == 0 for x in case.samples)


def coefficients(case):
    return [(y * m, x) for y, m, x in zip(case.signs, case.multipliers, case.samples, strict=True)]


def largest(numbers, zero):
    return max([zero, *numbers])


def fresh_product(case):
    return largest([abs(dot(case.fresh, x)) for x in case.samples], case.margin * 0)


@theorem.claim(arithmetics=(RATIONAL,))
def outputs_are_small(case, factor=1, power=2):
    zero, m, total = case.margin * 0, case.margin, sum(case.multipliers)
    square = sum((dot(w, w) + v * v for w, v in case.neurons), zero)
    yield equal(square, 2 * m * total, operations=1, name="‖θ‖² = 2 m Λ")
    size, fresh = abs(output(case, case.fresh)), fresh_product(case)
    yield at_most(size, factor * m * fresh * total**power, operations=1, name="m δ Λ²")
    samples, count = case.samples, len(case.samples)
    pairs = [abs(dot(x, y)) for i, x in enumerate(samples) for y in samples[:i]]
    delta, norm = largest([*pairs, fresh], zero), min(dot(x, x) for x in samples)
    gap = norm - (count - 1) * delta
    if gap <= 0:
        return
    for multiplier in case.multipliers:
        yield at_most(multiplier**2 * gap, zero + 1, operations=1, name="λ² (Δ - (n - 1) δ)")
    # times Δ (Δ - (n - 1) δ), and the term with n^{3/2} squared
    rest = largest([size * norm * gap - factor * count * m * delta * gap], zero)
    yield at_most(rest**2, factor**2 * count**5 * m**2 * delta**4, operations=1, name="(n m δ/Δ)(1 + …)")


@theorem.derivation
def steps():
    import sympy

    v, lam, y, s, z = sympy.symbols("v lambda y s z", real=True)
    yield identity("one sample: w's part of ⟨θ, λ y ∇f⟩ is v's part", lam * y * v * s * z, v * (lam * y * s * z))
    a = sympy.symbols("a1:4", nonnegative=True)
    d, e = sympy.symbols("Delta delta", positive=True)
    yield identity(
        "Δ Σa² - δ((Σa)² - Σa²) - (Δ - (n - 1)δ) Σa² = δ (n Σa² - (Σa)²), a sum of squares, for n = 3",
        d * sum(x**2 for x in a) - e * (sum(a) ** 2 - sum(x**2 for x in a)) - (d - 2 * e) * sum(x**2 for x in a),
        e * ((a[0] - a[1]) ** 2 + (a[0] - a[2]) ** 2 + (a[1] - a[2]) ** 2),
    )
    cross = sympy.Symbol("e", positive=True)
    # Σv² of the right active, the wrong active and the undecided neurons
    first, second, third = sympy.symbols("A B C", nonnegative=True)
    low = sympy.symbols("u", nonnegative=True)  # λ_i Δ; cross terms worst: right ones give u - e, wrong ones e - u
    margin = first * (low - cross) - second * (cross - low)
    yield identity(
        "λVΔ ≤ (A + B) u + C e = margin + e (A + B + C)",
        (first + second) * low + third * cross,
        margin + cross * (first + second + third),
    )
    g, count = sympy.symbols("g N", positive=True)
    yield identity(
        "e Λ ≤ δ √n g^{-1/2} · n g^{-1/2} with g = Δ - (n - 1)δ",
        (e * sympy.sqrt(count) / sympy.sqrt(g)) * (count / sympy.sqrt(g)),
        count ** sympy.Rational(3, 2) * e / g,
    )


ORTHOGONAL = Trained((1.0, 0.0, 1.0), 1.0, (1.0, 1.0), 0.0, 1.0, (1.0, 1.0))


@theorem.without(STATIONARY)
def longer_weights():
    return dataclasses.replace(ORTHOGONAL, stretch=2.0)


@theorem.without(COMMON)
def a_sample_further_from_the_boundary():
    return dataclasses.replace(ORTHOGONAL, uneven=2.0)


@theorem.false_twin("half of m δ Λ²", arithmetics=(RATIONAL,))
def half(case):
    bound = case.margin * fresh_product(case) * sum(case.multipliers) ** 2 / 2
    yield at_most(abs(output(case, case.fresh)), bound, operations=1, name="m δ Λ²/2")


@theorem.false_twin("m δ Λ, with one power of Λ", arithmetics=(RATIONAL,))
def one_power(case):
    bound = case.margin * fresh_product(case) * sum(case.multipliers)
    yield at_most(abs(output(case, case.fresh)), bound, operations=1, name="m δ Λ")


@theorem.false_twin("it is enough to be nearly orthogonal to all samples but one", arithmetics=(RATIONAL,))
def all_but_one(case):
    products = sorted(abs(dot(case.fresh, x)) for x in case.samples)[:-1]
    bound = case.margin * largest(products, case.margin * 0) * sum(case.multipliers) ** 2
    yield at_most(abs(output(case, case.fresh)), bound, operations=1, name="m δ Λ²")


@theorem.false_twin("every multiplier is at least Δ^{-1/2}", arithmetics=(RATIONAL,))
def large_multipliers(case):
    norm = min(dot(x, x) for x in case.samples)
    for multiplier in case.multipliers:
        yield at_most(case.margin * 0 + 1, multiplier**2 * norm, operations=1, name="λ² Δ")
