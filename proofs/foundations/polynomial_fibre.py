r"""Which rescalings of a sample a polynomial network does not see: those with t^m = s for all degrees m of its activation.

Let f(x) = Σ_k v_k φ(w_k·x) with φ(z) = Σ_m a_m z^m. Then (c/s) ∇_θ f(t x; θ) = c ∇_θ f(x; θ) at every θ if and only if
t^m = s for every m with a_m ≠ 0. So a monomial of degree p leaves (t x, c/t^p) open for every real t ≠ 0, with t = -1 the
joint sign (-x, -c) for odd and the sign of the point alone, (-x, c), for even p; two degrees of the same parity leave that
sign only; degrees of both parities, or a constant beside odd degrees, leave nothing.

Notes
-----
The network sees P(w) = c φ(w·x) and v ∇P(w) at its neurons. The two sides differ by D(w·x), with the k-term polynomial
D(u) = Σ_m c a_m (t^m/s - 1) u^m, and by v D'(w·x) x. If they agree at more than k nonzero values u, then D has more than 2k
zeros there, counted with multiplicity. But a polynomial with k terms has at most k - 1 positive and k - 1 negative zeros,
counted so (Descartes; by induction with Rolle's theorem, since dividing by the lowest power and differentiating leaves one
term fewer and all but one of the zeros). So D = 0 and t^m = s wherever a_m ≠ 0. The real solutions t ≠ 0 of t^m = t^n with
m > n are 1 and, for even m - n, -1. With a first-layer bias the sample is (x, 1), and the last entry leaves only t = 1.

Source: derived; arXiv:2602.08723 has a statement of recovery for such networks, whose wording was not read.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial
from provable.arithmetic import RATIONAL, constant
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.theorems import Source, Theorem, holds
from provable.theorems.derivation import fact, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let f(x) = \sum_k v_k \phi(w_k \cdot x) with \phi(z) = \sum_m a_m z^m, let c \ne 0, s \ne 0, and let the
    numbers w_k \cdot x take more nonzero values than \phi has terms, with v_k \ne 0. Then
    (c/s) \nabla_\theta f(tx; \theta) = c \nabla_\theta f(x; \theta) if and only if t^m = s for all m with a_m \ne 0.""",
    source=Source("arXiv:2602.08723", note="known second-hand; the fibre is derived here"),
    expected="proved",
    does_not_say="what several samples leave open together: that is theorem foundations.polynomial_map_determines_data",
)


@dataclass(frozen=True)
class Scaled:
    """Activation, the numbers w_k·x on one line, the v_k, the coefficient, and the scales t and s."""

    activation: tuple
    directions: np.ndarray
    outer: np.ndarray
    coefficient: float
    factor: float
    divisor: float


@st.composite
def scaled(draw, *, several=False):
    degrees = draw(st.sets(st.integers(0, 4), min_size=1 + several, max_size=2 + several))
    activation = [0.0] * (max(degrees) + 1)
    for degree in degrees:
        activation[degree] = draw(st.sampled_from([1.0, -0.5, 2.0]))
    factor = draw(st.sampled_from([-1.0, 2.0, -0.5, 1.0, -2.0, 0.5]))
    divisor = draw(st.sampled_from([factor ** max(degrees), factor, factor ** min(degrees), -1.0, 2.0]))
    directions = np.array(draw(st.permutations([1.0, -1.0, 2.0, -2.0, 3.0])))[: len(degrees) + 1]
    outer = draw(readable_arrays((len(directions),), nonzero=True))
    coefficient = float(draw(readable_arrays((1,), nonzero=True))[0])
    return Scaled(tuple(activation), directions, outer, coefficient, factor, divisor)


theorem.instances(scaled())

ENOUGH, NONZERO = "more nonzero values w·x than terms, seen with v ≠ 0", "c ≠ 0"


def terms(case):
    return [degree for degree, number in enumerate(case.activation) if float(number) != 0]


@theorem.hypothesis(ENOUGH)
def enough_values(case):
    pairs = zip(case.directions, case.outer, strict=True)
    seen = {float(w) for w, v in pairs if float(w) != 0 and float(v) != 0}
    return len(seen) > len(terms(case))


@theorem.hypothesis(NONZERO)
def nonzero_coefficient(case):
    return float(case.coefficient) != 0


@theorem.degenerate
def nothing_is_scaled(case):
    return float(case.factor) == 1


def agrees(case, divisor):
    """Whether a network with these neurons sees the same of (x, c) and (t x, c/s), with x = 1."""
    width = len(case.directions)
    coefficients = tuple(float(number) for number in case.activation)
    layers = (Linear(width, bias=False), Polynomial(coefficients=coefficients), Linear(1, bias=False))
    architecture = Architecture("polynomial", (1,), layers, "squared")
    theta = Parameters(architecture, {"0/weight": case.directions[:, None], "2/weight": case.outer[None]})
    x = constant(1, case.directions)
    left, right = (
        embed(architecture, theta, Measure(np.array([[point]]), np.array([[number]]))).vector()
        for point, number in ((x, case.coefficient * x), (case.factor * x, case.coefficient / divisor * x))
    )
    return all(a == b for a, b in zip(left.flat, right.flat, strict=True))


def power(number, exponent, one):
    result = one
    for _ in range(exponent):
        result = result * number
    return result


def condition(case, degrees):
    one = constant(1, case.directions)
    return all(power(case.factor * one, degree, one) == case.divisor * one for degree in degrees)


@theorem.claim(arithmetics=(RATIONAL,))
def seen_unless_all_powers_agree(case):
    return holds(agrees(case, case.divisor) == condition(case, terms(case)), name="same Σ c ∇f ⟺ t^m = s for all m")


@theorem.derivation
def coefficients_of_powers():
    import sympy

    u, t, s, c = sympy.symbols("u t s c", nonzero=True)
    a = sympy.symbols("a_0:6")
    plain = sum(c * a[m] * u**m for m in range(6))
    moved = sum(c / s * a[m] * (t * u) ** m for m in range(6))
    for m in range(6):
        yield identity(
            f"the coefficient of (w·x)^{m} changes by c a_m (t^m/s − 1)",
            sympy.Poly(sympy.expand(moved - plain), u).coeff_monomial(u**m),
            c * a[m] * (t**m / s - 1),
        )
    p, q, r = sympy.symbols("alpha beta gamma")
    low, middle, high = sympy.symbols("m_0 m_1 m_2", positive=True)
    positive = sympy.Symbol("u", positive=True)
    three = p * positive**low + q * positive**middle + r * positive**high
    yield identity(
        "dividing by the lowest power and differentiating leaves one term fewer (three terms are generic, by linearity)",
        sympy.expand(
            sympy.powsimp(sympy.diff(sympy.expand(sympy.powsimp(sympy.expand(three * positive**-low))), positive))
        ),
        sympy.expand(
            q * (middle - low) * positive ** (middle - low - 1) + r * (high - low) * positive ** (high - low - 1)
        ),
    )
    z = sympy.Symbol("z")
    yield fact(
        "the real t with t^m = t^n, m > n, t ≠ 0 are 1, and −1 if m − n is even (m, n ≤ 6)",
        all(
            set(sympy.real_roots(sympy.Poly(z ** (m - n) - 1, z))) == ({1, -1} if (m - n) % 2 == 0 else {1})
            for m in range(1, 7)
            for n in range(m)
        ),
    )


CUBE = (0.0, 0.0, 0.0, 1.0)


@theorem.without(ENOUGH)
def one_neuron_at_right_angles():
    return Scaled(CUBE, np.zeros(2), np.ones(2), 1.0, 2.0, 3.0)


@theorem.without(NONZERO)
def nothing_there():
    return Scaled(CUBE, np.array([1.0, 2.0]), np.ones(2), 0.0, 2.0, 3.0)


@theorem.false_twin("only (t x, c/t) is open, as for ReLU")
def degree_one(case):
    one = constant(1, case.directions)
    return holds(agrees(case, case.divisor) == (case.factor * one == case.divisor * one), name="same Σ c ∇f ⟺ t = s")


@theorem.false_twin("the highest degree decides", instances=scaled(several=True))
def highest_degree(case):
    degree = max(terms(case))
    return holds(agrees(case, case.divisor) == condition(case, [degree]), name="same Σ c ∇f ⟺ t^p = s")


@theorem.false_twin("signs are always open")
def every_sign(case):
    turned = Scaled(case.activation, case.directions, case.outer, case.coefficient, -1.0, -1.0)
    one = constant(1, case.directions)
    turned = Scaled(case.activation, case.directions, case.outer, case.coefficient, -one, -one)
    return holds(agrees(turned, turned.divisor), name="(−x, −c) is seen as (x, c)")


@theorem.false_twin("even activations have the joint sign (−x, −c)")
def joint_sign_of_even_activations(case):
    one = constant(1, case.directions)
    turned = Scaled(case.activation, case.directions, case.outer, case.coefficient, -one, -one)
    even = all(degree % 2 == 0 for degree in terms(case))
    return holds(not even or agrees(turned, -one), name="(−x, −c) is seen as (x, c) if φ is even")
