r"""A map that is block triangular for an orthogonal splitting is injective with the least singular value of a 2 × 2 matrix.

Let z = α + β with orthogonal α and β, and let P be an orthogonal projection of the output space. If F(z) - F(0) =: d has

    ‖P d‖ >= s ‖β‖,   ‖(I - P)(F(α + β) - F(α))‖ <= κ ‖β‖,   ‖(I - P)(F(α) - F(0))‖ >= t ‖α‖

with s, t > 0, then ‖d‖ >= σ ‖z‖, where σ is the least singular value of the triangular matrix with rows (s, 0) and (κ, t).
For a matrix J with PJα = 0 these are lower bounds of PJ on the β, of J on the α, and an upper bound of (I - P)J on the β.
No larger σ will do: the 2 × 2 matrix is itself such a map.

This is how one gradient of a whole batch is shown to isolate its samples: β are movements of the samples out of their span
(or out of what the other samples' features span), α all others, and the matrix of all unknowns is never formed.

Notes
-----
Proof. With p = ‖P d‖ and q = ‖(I - P) d‖: ‖β‖ <= p/s, and t‖α‖ <= q + κ‖β‖ by the triangle inequality, so

    ‖α‖² + ‖β‖² <= p²/s² + (q + κp/s)²/t².

The least eigenvalue λ = σ² of AAᵀ, A = [[s, 0], [κ, t]], has λκ² = (s² - λ)(t² - λ) and λ <= s². With that value of κ² the
right side is (p² + q²)/λ minus a square over a nonnegative number; if λ = s², it is a limit of such cases.

The claim is decided in rationals: JᵀJ - λI is positive semidefinite exactly if no elementary symmetric function of its
eigenvalues is negative. λ is taken 10⁻⁹ below its irrational value.

Source: derived here; standard in the perturbation theory of block triangular matrices.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import constant, full, solve
from provable.theorems import RATIONAL, Source, Theorem, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $z = \alpha + \beta$ with $\alpha \perp \beta$, let $P$ be an orthogonal projection, and let
    $\|P(F(z) - F(0))\| \ge s\|\beta\|$, $\|(I - P)(F(\alpha + \beta) - F(\alpha))\| \le \kappa\|\beta\|$ and
    $\|(I - P)(F(\alpha) - F(0))\| \ge t\|\alpha\|$ with $s, t > 0$. Then $\|F(z) - F(0)\| \ge \sigma\|z\|$ with $\sigma$ the
    least singular value of $\begin{pmatrix} s & 0 \\ \kappa & t \end{pmatrix}$, and no larger $\sigma$ will do.""",
    source=Source("derived", note="block elimination with norms in the place of blocks"),
    expected="proved",
    does_not_say="how s, t and κ are found for a network; the checker of certificates proves those for each batch",
)

TRIANGULAR = "P J vanishes on the α"


@dataclass(frozen=True)
class Blocks:
    """J = [[S, U], [K, T]] on (β, α) with S = s·rotation and rows below, T likewise; U = 0 in the theorem."""

    s: np.ndarray
    t: np.ndarray
    skew: np.ndarray
    other_skew: np.ndarray
    below: np.ndarray
    coupling: np.ndarray
    upper: np.ndarray


def rotation(skew, size):
    """The Cayley transform of a skew matrix of at most two rows, given by its one entry: orthogonal and rational."""
    one, turned = full((size, size), 0, skew), full((size, size), 0, skew)
    np.fill_diagonal(one, constant(1, skew))
    if size == 2:
        turned[0, 1], turned[1, 0] = skew[0], -skew[0]
    return solve(one - turned, one + turned)


@theorem.instances
def blocks(draw):
    """Sizes 1 and 2 of both parts; one of them 1 × 1, where the bound is attained."""
    inner, outer = draw(st.sampled_from(((1, 1), (1, 1), (2, 1), (1, 2), (2, 2))))
    numbers = draw(readable_arrays((4 + inner + 2 * inner * outer,)))
    fixed, below, coupling, upper = np.split(numbers, np.cumsum([4, inner, inner * outer]))
    s, t, skew, other = (fixed[k : k + 1] for k in range(4))
    if draw(st.integers(0, 3)):
        upper = np.zeros_like(upper)
    s, t = np.where(s == 0, 1.0, s), np.where(t == 0, 1.0, t)
    return Blocks(s, t, skew, other, below, coupling.reshape(outer, inner), upper.reshape(inner, outer))


@theorem.hypothesis(TRIANGULAR, arithmetic=RATIONAL)
def triangular(case):
    return not np.any(case.upper != 0)


@theorem.without(TRIANGULAR)
def a_singular_matrix():
    one = np.ones(1)
    return Blocks(one, one, 0 * one, 0 * one, 0 * one, np.ones((1, 1)), np.ones((1, 1)))


@theorem.degenerate
def uncoupled(case):
    return not np.any(case.coupling)


def matrix(case):
    """J, with one row more than J needs in the block of the β, so that it is not square."""
    outer, inner = case.coupling.shape
    first = case.s[0] * rotation(case.skew, inner)
    last = case.t[0] * rotation(case.other_skew, outer)
    zeros = full((1, outer), 0, case.s)
    top, middle = np.hstack([first, case.upper]), np.hstack([case.below.reshape(1, inner), zeros])
    return np.vstack([top, middle, np.hstack([case.coupling, last])])


def rational(number):
    return flint.fmpq(*float(number).as_integer_ratio())


def least(first, second, coupling):
    """A rational at most 10⁻⁹ below the least eigenvalue λ of AAᵀ, from s², t² and κ²."""
    s, t, k = (float(int(x.p)) / float(int(x.q)) for x in (first, second, coupling))
    trace = s + t + k
    found = rational(2 * s * t / (trace + max(trace * trace - 4 * s * t, 0.0) ** 0.5)) * (1 - flint.fmpq(1, 10**10))
    while found > min(first, second) or (first - found) * (second - found) < found * coupling:
        found *= 1 - flint.fmpq(1, 10**10)
    return found


def semidefinite(symmetric):
    """Whether a symmetric rational matrix is positive semidefinite."""
    size = len(symmetric)
    coefficients = flint.fmpq_mat(size, size, list(symmetric.reshape(-1))).charpoly().coeffs()
    return all((-1) ** (size - power) * coefficient >= 0 for power, coefficient in enumerate(coefficients))


def bounded_below(case, level):
    """Whether ‖Jz‖² >= λ‖z‖² for all z, with λ a function of s², t² and κ² = ‖K‖_F²."""
    jacobian = matrix(case)
    coupling = sum((entry * entry for entry in case.coupling.reshape(-1)), flint.fmpq(0))
    bound = level(case.s[0] * case.s[0], case.t[0] * case.t[0], coupling)
    gram = jacobian.T @ jacobian
    gram[range(len(gram)), range(len(gram))] = gram.diagonal() - bound
    return semidefinite(gram)


@theorem.claim(arithmetics=(RATIONAL,))
def least_singular_value(case):
    return holds(bounded_below(case, least), name="JᵀJ - λI is positive semidefinite")


@theorem.derivation
def two_by_two():
    """The inequality of the proof as a square; the symbols stand for the norms and the bounds of any instance."""
    import sympy

    s, t, level, p, q = sympy.symbols("s t lambda p q", positive=True)
    k = sympy.Symbol("kappa", nonnegative=True)
    triangle = sympy.Matrix([[s, 0], [k, t]])
    square = (s**2 - level) * (t**2 - level) / level
    yield identity(
        "the eigenvalues of AAᵀ: λκ² = (s² - λ)(t² - λ)",
        (triangle * triangle.T - level * sympy.eye(2)).det(),
        (s**2 - level) * (t**2 - level) - level * k**2,
    )
    first = 1 / level - 1 / s**2 - k**2 / (s**2 * t**2)
    mixed, last = k / (s * t**2), 1 / level - 1 / t**2
    gap = (p**2 + q**2) / level - p**2 / s**2 - (q + k * p / s) ** 2 / t**2
    yield identity(
        "the gap between the two sides, times its first coefficient, is a square but for the determinant",
        first * gap,
        (first * p - mixed * q) ** 2 + (first * last - mixed**2) * q**2,
    )
    yield identity(
        "that determinant is zero at the eigenvalue",
        (first * last).subs(k, sympy.sqrt(square)) - square / (s**2 * t**4),
    )
    yield identity(
        "and the first coefficient is (s² - λ)/(s²t²), which is not negative",
        first.subs(k, sympy.sqrt(square)),
        (s**2 - level) / (s**2 * t**2),
    )
    yield identity(
        "attained: A itself is such a map, and its least singular value has the square λ",
        (triangle.T * triangle - level * sympy.eye(2)).det(),
        (triangle * triangle.T - level * sympy.eye(2)).det(),
    )


@theorem.false_twin("the coupling costs nothing: σ = min(s, t)")
def no_coupling(case):
    return holds(bounded_below(case, lambda s, t, k: min(s, t)), name="JᵀJ - min(s², t²)I")


@theorem.false_twin("the parts add up as if independent: 1/σ² = 1/s² + 1/t²")
def independent_parts(case):
    return holds(bounded_below(case, lambda s, t, k: s * t / (s + t)), name="JᵀJ - s²t²/(s² + t²)I")


@theorem.false_twin("half of the coupling will do")
def half_of_the_coupling(case):
    return holds(bounded_below(case, lambda s, t, k: least(s, t, k / 4)), name="JᵀJ - λ(s, t, κ/2)I")


@theorem.false_twin("σ² may be 1 % larger")
def a_little_more(case):
    return holds(bounded_below(case, lambda s, t, k: least(s, t, k) * flint.fmpq(101, 100)), name="JᵀJ - 1.01 λI")


@theorem.false_twin("P J need not vanish on the α", without=(TRIANGULAR,))
def any_upper_block(case):
    return least_singular_value(case)
