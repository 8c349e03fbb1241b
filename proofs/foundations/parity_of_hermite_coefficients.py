r"""Half of the Hermite coefficients of the common activations vanish by parity, at every norm, unless there is a hidden bias.

Let a_k(s, b) = E[σ(sZ + b) He_k(Z)] with Z ~ N(0,1): the weight of x^{⊗k} in the k-th Hermite moment of a unit (Lemma 4.1 of
Wang, Lee and Lei) for an input of norm s and a hidden bias b.

* Affine plus even, σ(z) - σ(-z) = 2αz: all odd coefficients of order three and more vanish at b = 0, for every s. Here belong
  ReLU, softplus, SiLU and GELU with 2α = 1, a leaky ReLU of slope γ with 2α = 1 + γ, and all even functions.
* Constant plus odd, σ(z) + σ(-z) = 2β: all even coefficients of order two and more vanish at b = 0, for every s. Here belong
  tanh and erf (β = 0), the sigmoid (β = 1/2), and all odd functions.

Conversely, if σ is square integrable against the law of sZ, for one s > 0, and all odd coefficients of order three and more
(or all even ones of order two and more) vanish there, then σ belongs to the class almost everywhere. So no choice of the
norms helps, and any other activation has some coefficient of the other parity. A hidden bias shifts σ out of its class.

Notes
-----
Proof. He_k has the parity of k and the density is even, so a_k(s, 0) is E[σ_odd(sZ) He_k(Z)] for odd k and
E[σ_even(sZ) He_k(Z)] for even k. If σ_odd(z) = αz, the former is αs E[Z He_k(Z)] = 0 for k >= 2, and if σ_even = β the latter
is β E He_k(Z) = 0 for k >= 1. Conversely the Hermite polynomials are a complete orthogonal system, so an odd part without
coefficients of order three and more is linear, and an even part without those of order two and more is constant.

The claim evaluates polynomials exactly, including the converse, and the named activations by outward-rounded quadrature.
"""

import functools
import math
from dataclasses import dataclass, replace

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, RATIONAL, kind
from provable.errors import ArithmeticUnsupported
from provable.theorems import Source, Theorem, at_most, holds, identity
from provable.theorems.strategies import readable_arrays, readable_numbers

theorem = Theorem(
    statement=r"""Let $a_k(s) = E[\sigma(sZ)He_k(Z)]$, $Z \sim N(0,1)$, with $\sigma$ square integrable against the law of
    $sZ$. All $a_k(s)$ with odd $k \ge 3$ vanish if and only if $\sigma(z) - \sigma(-z) = 2\alpha z$ almost everywhere
    (ReLU, leaky ReLU, softplus, SiLU, GELU), and all with even $k \ge 2$ if and only if $\sigma(z) + \sigma(-z) = 2\beta$
    (tanh, erf, sigmoid); so if either holds at one $s > 0$, it holds at every one. With a hidden bias neither need
    vanish.""",
    source=Source("derived", "", "for the parity conditions in Remarks 3 and 4 of Wang, Lee, Lei, arXiv:2212.03714v3"),
    expected="proved",
    does_not_say="which coefficients of the other parity are not zero; quadrature covers the orders up to eight",
)

AFFINE_PLUS_EVEN, CONSTANT_PLUS_ODD = "affine plus even", "constant plus odd"
NAMED = {
    AFFINE_PLUS_EVEN: ("relu", "leaky relu", "softplus", "silu", "gelu"),
    CONSTANT_PLUS_ODD: ("tanh", "erf", "sigmoid"),
}
NO_BIAS = "there is no hidden bias"


@dataclass(frozen=True)
class Case:
    """An activation (a name, or polynomial coefficients from degree zero up), a class, a norm and a hidden bias."""

    parity: str
    activation: str
    coefficients: np.ndarray
    norm: float
    bias: float

    def in_class(self):
        """Whether the activation belongs to the class."""
        if self.activation != "polynomial":
            return self.activation in NAMED[self.parity]
        others = range(3, len(self.coefficients), 2) if self.parity == AFFINE_PLUS_EVEN else range(2, 6, 2)
        return all(self.coefficients[power] == 0 for power in others)


@st.composite
def cases(draw, *, biases=(0.0,), classes=(AFFINE_PLUS_EVEN, CONSTANT_PLUS_ODD), named=True):
    """Polynomials of degree five, half of them in the class, and the named activations, most of them in the class."""
    parity = draw(st.sampled_from(classes))
    names = (*NAMED[parity], "tanh", "softplus") if named else ("polynomial",)
    activation = draw(st.sampled_from(("polynomial",) * len(names) + names))
    coefficients = draw(readable_arrays((6,))) if activation == "polynomial" else np.zeros(1)
    if activation == "polynomial" and draw(st.booleans()):
        coefficients = coefficients.copy()
        coefficients[slice(3, 6, 2) if parity == AFFINE_PLUS_EVEN else slice(2, 6, 2)] = 0
    norm = draw(st.sampled_from((1.0, 0.5, 3.0)))
    return Case(parity, activation, coefficients, norm, draw(st.sampled_from(biases)))


theorem.instances(cases())


@theorem.hypothesis(NO_BIAS)
def no_bias(case):
    return case.bias == 0


@theorem.degenerate
def vanishes(case):
    return case.activation == "polynomial" and not np.any(case.coefficients)


def hermite(order):
    """Coefficients of He_k, integers from degree zero up."""
    previous, current = [0], [1]
    for k in range(order):
        shifted = [0, *current]
        padded = previous + [0] * (len(shifted) - len(previous))
        previous, current = current, [one - k * other for one, other in zip(shifted, padded, strict=True)]
    return current


def pairings(n):
    """E Z^n."""
    return 0 if n % 2 else math.prod(range(n - 1, 0, -2))


def of_polynomial(case, order):
    """a_k(s, b) of a polynomial, exactly."""
    total = 0 * case.norm
    for degree, coefficient in enumerate(case.coefficients):
        for power in range(degree + 1):  # of sZ in (sZ + b)^degree
            scale = coefficient * math.comb(degree, power) * case.norm**power * case.bias ** (degree - power)
            total += scale * sum(c * pairings(power + j) for j, c in enumerate(hermite(order)))
    return total


def logistic(z):
    return 1 / (1 + (-z).exp())


@functools.cache
def of_named(activation, norm, bias, order, bits):
    """A ball around a_k(s, b) of a named activation; softplus has a_k = s times that of the sigmoid of order k - 1."""
    if activation == "softplus":
        return flint.arb(norm) * of_named("sigmoid", norm, bias, order - 1, bits)
    norm, bias = flint.acb(norm), flint.acb(bias)
    functions = {
        "tanh": lambda z: z.tanh(),
        "sigmoid": logistic,
        "erf": lambda z: z.erf(),
        "silu": lambda z: z * logistic(z),
        "gelu": lambda z: z * (1 + (z / flint.acb(2).sqrt()).erf()) / 2,
    }
    limit = flint.acb(20)
    pieces = [(-limit, limit, functions.get(activation))]
    if activation in ("relu", "leaky relu"):
        kink, slope = -bias / norm, 0 if activation == "relu" else flint.acb(1) / 4
        pieces = [(-limit, kink, lambda z: slope * z), (kink, limit, lambda z: z)]

    def integrand(function):
        def at(z, _):
            polynomial = flint.acb(0)
            for c in reversed(hermite(order)):
                polynomial = polynomial * z + c
            return function(norm * z + bias) * polynomial * (-z * z / 2).exp()

        return at

    goal = flint.arb(2) ** -80
    inner = sum(
        (flint.acb.integral(integrand(function), a, b, rel_tol=goal, abs_tol=goal).real for a, b, function in pieces),
        flint.arb(0),
    )
    # beyond 20, |σ(sz + b)| <= 1 + 3z + 1 and |He_k(z)| <= 2 z^k for k <= 8, and (2 + 3z) 4 z^8 exp(-z²/2) <= z exp(-z²/4)
    tail = 2 * (flint.arb(-100)).exp() * 2
    return (inner + flint.arb(0, tail.upper())) / (2 * flint.arb.pi()).sqrt()


def coefficients_of(case, orders):
    """The coefficients of these orders: exact for polynomials, balls for named activations."""
    if case.activation == "polynomial":
        return np.array([of_polynomial(case, order) for order in orders], dtype=object)
    if kind(case.coefficients) != "ball":
        raise ArithmeticUnsupported(f"{case.activation} has no values in rational arithmetic; balls are accepted")
    where = (case.activation, float(case.norm), float(case.bias))
    values = [of_named(*where, order, flint.ctx.prec) for order in orders]
    return np.array(values, dtype=object)


def vanish(values):
    """Claim that all of these numbers are zero; for balls that come from quadrature, to eighteen digits."""
    if all(value == 0 for value in values):
        return holds(True, name="the coefficients are zero")
    if kind(values) == "ball":
        bound = flint.arb(2) ** -60 + 0 * values
        return at_most(abs(values), bound, operations=1, name="the coefficients are zero, up to 2^-60")
    return holds(False, name="the coefficients are zero")


ABSENT = {AFFINE_PLUS_EVEN: (3, 5, 7), CONSTANT_PLUS_ODD: (2, 4, 6, 8)}


@theorem.claim(arithmetics=(BALL, RATIONAL))
def parity_zeros(case):
    values = coefficients_of(case, ABSENT[case.parity])
    if case.in_class():
        return vanish(values)
    return holds(any(abs(value) > 0 for value in values), name="outside of the class some coefficient is not zero")


@theorem.derivation
def by_parity():
    import sympy as sp

    z, k = sp.symbols("z k", real=True)
    even, odd = sp.Function("e"), sp.Function("o")

    def parts(parity):  # any function of the parity is such a part of some function
        function = even if parity == 1 else odd
        return (function(z) + parity * function(-z)) / 2

    for parity, name in ((1, "even"), (-1, "odd")):
        following = z * parts(parity) - k * parts(-parity)
        yield identity(
            f"He_(k+1) = z He_k - k He_(k-1): from {name} He_k and the other parity below to the other parity above",
            following.subs(z, -z),
            -parity * following,
        )
    density = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    yield identity("the density is even", density.subs(z, -z), density)
    product = parts(-1) * parts(1) * density
    yield identity("odd times even is odd, so its mean is zero", product.subs(z, -z), -product)
    for order in range(1, 9):
        polynomial = sum(c * z**j for j, c in enumerate(hermite(order)))
        mean = sum(c * pairings(j) for j, c in enumerate(hermite(order)))
        yield identity(f"E He_{order}(Z) = 0: a constant has no part of this order", sp.Integer(mean))
        if order > 1:
            mean = sum(c * pairings(j + 1) for j, c in enumerate(hermite(order)))
            yield identity(f"E[Z He_{order}(Z)] = 0: a linear function has none either", sp.Integer(mean))
        yield identity(
            f"He_{order} is the one of Rodrigues' formula",
            polynomial * density,
            (-1) ** order * sp.diff(density, z, order),
        )
    # each class, activation by activation; a positive z suffices for those with a kink
    positive, slope = sp.symbols("t", positive=True), sp.symbols("gamma", real=True)
    yield identity("ReLU and leaky ReLU: t - γ(-t) = (1 + γ)t", positive - slope * (-positive), (1 + slope) * positive)
    yield identity(
        "softplus(z) - softplus(-z) = z: (1 + e^z) = e^z (1 + e^-z)",
        sp.expand(sp.exp(z) * (1 + sp.exp(-z))),
        1 + sp.exp(z),
    )
    sigmoid = 1 / (1 + sp.exp(-z))
    yield identity("sigmoid(z) + sigmoid(-z) = 1", sigmoid + sigmoid.subs(z, -z), 1)
    yield identity("SiLU: z sigmoid(z) - (-z) sigmoid(-z) = z", z * sigmoid + z * sigmoid.subs(z, -z), z)
    normal = (1 + sp.erf(z / sp.sqrt(2))) / 2
    yield identity("GELU: z Φ(z) - (-z) Φ(-z) = z", z * normal + z * normal.subs(z, -z), z)
    for function in (sp.tanh, sp.erf):
        yield identity(f"{function} is odd", function(-z), -function(z))


@theorem.without(NO_BIAS)
def a_shifted_quartic():
    return Case(AFFINE_PLUS_EVEN, "polynomial", np.array([0.0, 0.0, 0.0, 0.0, 1.0, 0.0]), 1.0, 1.0)


@theorem.false_twin(
    "a hidden bias does no harm", without=(NO_BIAS,), instances=cases(biases=(1.0, 0.5, -1.0), named=False)
)
def with_bias(case):
    return parity_zeros(case)


@theorem.false_twin(
    "the linear part vanishes with the other odd coefficients", instances=cases(classes=(AFFINE_PLUS_EVEN,))
)
def order_one_too(case):
    return vanish(coefficients_of(case, (1,))) if case.in_class() else holds(True, name="nothing is claimed")


@theorem.false_twin(
    "the constant vanishes with the other even coefficients", instances=cases(classes=(CONSTANT_PLUS_ODD,))
)
def order_zero_too(case):
    return vanish(coefficients_of(case, (0,))) if case.in_class() else holds(True, name="nothing is claimed")


@st.composite
def quintics(draw):
    """αz³ + βz⁵ with α = 0 or -10 s² β, where the third coefficient vanishes at the norm s."""
    norm, top = draw(st.sampled_from((1.0, 0.5, 2.0))), draw(readable_numbers(nonzero=True))
    cubic = draw(st.sampled_from((0.0, -10.0))) * norm**2 * top
    return Case(AFFINE_PLUS_EVEN, "polynomial", np.array([0.0, 0.0, 0.0, cubic, 0.0, top]), norm, 0.0)


@theorem.false_twin("a third coefficient that vanishes at one norm vanishes at all of them", instances=quintics())
def one_norm_for_all(case):
    if coefficients_of(case, (3,))[0] != 0:
        return holds(True, name="nothing is claimed")
    return vanish(coefficients_of(replace(case, norm=2 * case.norm), (3,)))


@theorem.false_twin(
    "a sample that is seen at order two is seen at order four",
    instances=cases(classes=(AFFINE_PLUS_EVEN,), named=False),
)
def order_four_follows(case):
    second, fourth = coefficients_of(case, (2, 4))
    return holds(second == 0 or fourth != 0, name="a_4 is not zero if a_2 is not")
