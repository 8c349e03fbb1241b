r"""The scale of a deep network's features follows from the norm of the sample if σ(0) = 0, and only then.

For tanh and the like, Algorithm 2 of Wang, Lee and Lei sends identities as lower layers, so that the features of a sample
are h = σ(…σ(x)…), coordinate by coordinate, finds the direction h/‖h‖, and takes the factor α for which the preimage of
αh/‖h‖ has norm one. Let g be the inverse of the strictly increasing map x -> σ(…σ(x)…). If g(0) = 0, then for every h ≠ 0

    α -> ‖g(αh)‖   is strictly increasing for α > 0, as long as αh stays in the domain of g,

so at most one α has the norm of the sample, and bisection finds it. If g(0) ≠ 0, as for the sigmoid, whose g is the logit,
it is not: both x = (t, t) and -x have features in the direction (1, 1). Then α -> Σ_i g(αh_i) is still strictly increasing,
if all h_i are positive: the sum of the pixels fixes the scale, the norm does not.

Notes
-----
Proof. g increases strictly and vanishes at zero, so |g(αh_i)| = g(α h_i) for h_i > 0 and -g(αh_i) for h_i < 0, and both
increase strictly with α. The activation need not be odd. For positive h_i every g(αh_i) increases.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, FLOAT64, RATIONAL, log
from provable.theorems import Source, Theorem, holds, identity, less
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $g$ be strictly increasing with $g(0) = 0$, applied to coordinates, and $h \ne 0$. Then $\alpha
    \mapsto \|g(\alpha h)\|$ is strictly increasing on the $\alpha > 0$ with $\alpha h$ in the domain of $g$. So the
    features $h = \sigma(\cdots\sigma(x)\cdots)$ of a sample of known norm are determined by their direction if $\sigma(0) =
    0$ (tanh, erf). If all $h_i > 0$, $\alpha \mapsto \sum_i g(\alpha h_i)$ is strictly increasing even if $g(0) \ne 0$
    (sigmoid).""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3",
        "Algorithm 2, tanh and sigmoid, corrected",
        "the algorithm was read; derived here",
    ),
    expected="proved",
    does_not_say="how an error of the direction grows on the way back through saturated units",
)

ZERO = "σ(0) = 0"


@dataclass(frozen=True)
class Features:
    """Features, two factors, and the inverse g: a polynomial c_0 + c_1 h + c_3 h³ with c_1, c_3 >= 0, or a name."""

    features: np.ndarray
    smaller: float
    larger: float
    inverse: str
    coefficients: np.ndarray


@st.composite
def draw_features(draw, *, inverses=("polynomial", "artanh", "leaky"), offset=False, positive=False):
    inverse = draw(st.sampled_from(inverses))
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((draw(st.integers(1, 3)) + 3,)))
    coefficients = np.abs(numbers[:3])
    coefficients[1] = coefficients[1] or 1.0
    coefficients[0] = -coefficients[0] if offset else 0.0
    features = np.abs(numbers[3:]) if positive else numbers[3:]
    features = features / 4 if inverse in ("artanh", "logit") else features
    smaller, larger = sorted(draw(st.permutations((0.25, 0.5, 0.75, 1.0, 1.25)))[:2])
    return Features(features, smaller, larger, inverse, coefficients)


theorem.instances(draw_features())


@theorem.hypothesis(ZERO, arithmetic=RATIONAL)
def vanishes_at_zero(case):
    return case.inverse in ("artanh", "leaky") or (case.inverse == "polynomial" and case.coefficients[0] == 0)


@theorem.degenerate
def no_features(case):
    return not case.features.any()


def preimage(case, factor):
    """g(αh)."""
    h = factor * case.features
    if case.inverse == "artanh":
        return log((1 + h) / (1 - h)) / 2
    if case.inverse == "logit":
        return log(h / (1 - h))
    if case.inverse == "leaky":  # of the leaky ReLU of slope 1/2: h for h > 0 and 2h otherwise
        return (3 * h - abs(h)) / 2
    return case.coefficients[0] + case.coefficients[1] * h + case.coefficients[2] * h**3


def increasing(case, function, name):
    """A function of the preimage is larger for the larger factor."""
    if not any(h != 0 for h in case.features):
        return holds(True, name="nothing is claimed")
    left, right = (function(preimage(case, factor)) for factor in (case.smaller, case.larger))
    # sums of three squares of numbers below 150 with a dozen roundings each
    return less(left, right, operations=20, name=name)


def square(values):
    return sum(value * value for value in values)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def norm_increases(case):
    yield increasing(case, square, "‖g(αh)‖ increases with α")
    if all(h > 0 for h in case.features):
        yield increasing(case, sum, "Σ g(αh_i) increases with α")


@theorem.derivation
def by_monotonicity():
    import sympy as sp

    h, first, second = sp.symbols("h g_1 g_2", positive=True)
    increase = second - first
    yield identity(
        "0 < g_1 < g_2: g_2² - g_1² = (g_2 - g_1)(g_2 + g_1) > 0", second**2 - first**2, increase * (second + first)
    )
    yield identity("0 > -g_1 > -g_2: the same squares", (-second) ** 2 - (-first) ** 2, increase * (second + first))
    derivative = sp.diff(sp.log((1 + h) / (1 - h)) / 2, h)
    yield identity("artanh increases: its slope is 1/(1 - h²) > 0", sp.simplify(derivative), 1 / (1 - h**2))
    yield identity(
        "the logit increases: its slope is 1/(h(1 - h)) > 0", sp.diff(sp.log(h / (1 - h)), h), 1 / (h * (1 - h))
    )
    t = sp.symbols("t", real=True)
    sigmoid = 1 / (1 + sp.exp(-t))
    yield identity(
        "sigmoid(-t) = 1 - sigmoid(t): x = (t, t) and -x have parallel features", sigmoid.subs(t, -t), 1 - sigmoid
    )


@theorem.without(ZERO)
def shifted_identity():
    # σ(x) = x + 1: features 1/2 and 1 belong to the samples -1/2 and 0
    return Features(np.ones(1), 0.5, 1.0, "polynomial", np.array([-1.0, 1.0, 0.0]))


@theorem.false_twin(
    "the sigmoid does as well", without=(ZERO,), instances=draw_features(inverses=("logit",), positive=True)
)
def sigmoid(case):
    if not all(h > 0 and 5 * h < 4 for h in case.features):  # so that αh < 1
        return holds(True, name="nothing is claimed")
    return increasing(case, square, "‖g(αh)‖ increases with α")


@theorem.false_twin(
    "it is enough that σ increases",
    without=(ZERO,),
    instances=draw_features(inverses=("polynomial",), offset=True),
    arithmetics=(RATIONAL,),
)
def any_increasing(case):
    return increasing(case, square, "‖g(αh)‖ increases with α")


@theorem.false_twin(
    "the sum of the coordinates increases for features of any sign", instances=draw_features(inverses=("polynomial",))
)
def any_sign(case):
    return increasing(case, sum, "Σ g(αh_i) increases with α")


@theorem.false_twin("the norm of the preimage is proportional to α", instances=draw_features(inverses=("polynomial",)))
def proportional(case):
    left, right = (square(preimage(case, factor)) for factor in (case.smaller, case.larger))
    return holds(left * case.larger * case.larger == right * case.smaller * case.smaller, name="‖g(αh)‖ = α ‖g(h)‖")
