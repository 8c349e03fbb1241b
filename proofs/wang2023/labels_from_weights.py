r"""The label that belongs to a weight of the third moment: y = a - λ/b, and exactly f(x) - r at finite width.

The third Hermite moment of the gradient of the output weights is Σ_i λ_i x_i^{⊗3} with λ_i = r_i b_i, b_i = E σ'''(‖x_i‖Z)
(Lemma 4.1). The residual of a sample is r_i = f(x_i) - y_i. So

    b_i y_i = b_i f(x_i) - λ_i

exactly and for every width, which gives the label if b_i is not zero. At the query point of Wang, Lee and Lei f(x) is a
mean over units, with the limit a_i = E σ(‖x_i‖Z): in the limit y_i = a_i - λ_i/b_i, with an error of order 1/√m. For odd σ,
a_i = 0 and the label has the sign of -λ_i b_i; otherwise λ alone does not tell the sign.

Notes
-----
The printed formula is ŷ = λ̂ - Eσ: the sign is turned and the division by Eσ''' is missing. It is kept as
``wang2023.label_formula_as_printed``. The claim is exact for polynomials of degree four and rational norms.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Polynomial
from provable.arithmetic import RATIONAL, full, to_float
from provable.networks import Parameters, forward, loss_gradient
from provable.theorems import Source, Theorem, equal, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For the squared loss let $\lambda_i = r_ib_i$ be the weight of $x_i^{\otimes3}$ in the third Hermite moment,
    $b_i = E\sigma'''(\|x_i\|Z)$. Then $b_iy_i = b_if(x_i) - \lambda_i$ at every width, and with $r^*_i = a_i - y_i$,
    $a_i = E\sigma(\|x_i\|Z)$, in place of $r_i$: $b_iy_i = b_ia_i - \lambda_i$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3", "Algorithm 1, corrected", "derived here; the printed form was read"
    ),
    expected="proved",
    does_not_say="how an error of the estimated weight or point carries over; norms have to be known, as in the paper",
)


@dataclass(frozen=True)
class Sample:
    """A sample's norm and label, the coefficients of the activation, and the products w_j·x with finitely many weights."""

    norm: float
    label: float
    coefficients: np.ndarray
    products: np.ndarray


@st.composite
def samples(draw):
    # all numbers come from one choice, which shrinks fast
    numbers = draw(readable_arrays((5 + draw(st.integers(1, 3)),)))
    coefficients = numbers[:5].copy()
    if coefficients[3] == 0 and draw(st.integers(0, 3)):
        coefficients[3] = 1.0
    label = draw(st.sampled_from((1.0, -1.0)))
    return Sample(draw(st.sampled_from((1.0, 0.5, 2.0))), label, coefficients, numbers[5:])


theorem.instances(samples())


def pairings(n):
    """E Z^n."""
    return (1, 0, 1, 0, 3, 0, 15, 0, 105)[n]


def mean(sample):
    """a = E σ(sZ)."""
    return sum(c * sample.norm**k * pairings(k) for k, c in enumerate(sample.coefficients))


def mean_slope(sample):
    """b = E σ'''(sZ), of the third derivative."""
    c = sample.coefficients
    return 6 * c[3] + 24 * c[4] * sample.norm * pairings(1)


def limit_weight(sample):
    """λ* = s^{-3} E[r* σ(sZ) He_3(Z)], by Hermite's polynomial."""
    residual, norm = mean(sample) - sample.label, sample.norm
    total = sum(c * norm**k * (pairings(k + 3) - 3 * pairings(k + 1)) for k, c in enumerate(sample.coefficients))
    return residual * total / norm**3


@theorem.degenerate
def invisible(sample):
    return mean_slope(sample) == 0


def values(sample):
    """σ at the products, f(x) and dL/da of a network of this width, by the package: at a unit's product as its only input."""
    width = len(sample.products)
    # an activation has float coefficients; these are the readable ones of the instance
    coefficients = tuple(to_float(sample.coefficients).tolist())
    layers = (Linear(width, bias=False), Polynomial(coefficients), Linear(1, bias=False))
    network = Architecture("mean of units", (1,), layers, "squared")
    average = full((1, width), 1, sample.products) / width
    theta = Parameters(network, {"0/weight": sample.products[:, None], "2/weight": average})
    point = full((1, 1), 1, sample.products)
    output = forward(network, theta, point)[0, 0]
    gradient = loss_gradient(network, theta, point, full((1, 1), 0, point) + sample.label)["2/weight"][0]
    activations = [sum(c * z**k for k, c in enumerate(sample.coefficients)) for z in sample.products]
    return np.array(activations, dtype=sample.products.dtype), output, gradient


@theorem.claim(arithmetics=(RATIONAL,))
def label(sample):
    b = mean_slope(sample)
    activations, output, gradient = values(sample)
    # g_j = r σ(w_j·x), so λ σ_j = b g_j
    yield equal(
        b * sample.label * activations,
        output * b * activations - b * gradient,
        operations=1,
        name="b y = b f(x) - λ at finite width",
    )
    yield equal(
        b * sample.label,
        mean(sample) * b - limit_weight(sample),
        operations=1,
        name="b y = b a - λ in the limit",
    )


@theorem.derivation
def by_the_residual():
    import sympy as sp

    f, y, s = sp.symbols("f y s")
    b = sp.symbols("b", nonzero=True)
    yield identity("f - (f - y) b/b = y", f - (f - y) * b / b, y)
    z = sp.symbols("z", real=True)
    sigma = sp.Function("sigma")
    density = sp.exp(-(z**2) / 2)
    yield identity(
        "Stein: σ(sz) He_3(z) φ(z) - s³ σ'''(sz) φ(z) is a derivative, so r E[σ(sZ) He_3(Z)] = r s³ Eσ'''(sZ)",
        sigma(s * z) * (z**3 - 3 * z) * density
        - sp.diff(sigma(s * z), z, 3) * density
        + sp.diff(
            sigma(s * z) * sp.diff(density, z, 2)
            - sp.diff(sigma(s * z), z) * sp.diff(density, z)
            + sp.diff(sigma(s * z), z, 2) * density,
            z,
        ),
    )


def limit(sample):
    return mean(sample), mean_slope(sample), limit_weight(sample)


def compare(left, right, name):
    return equal(left, right, operations=1, name=name)


@theorem.false_twin("as printed, y = λ - a")
def printed(sample):
    a, _, weight = limit(sample)
    return compare(sample.label + 0 * a, weight - a, "y = λ - a")


@theorem.false_twin("only the sign is turned: y = a - λ")
def turned(sample):
    a, _, weight = limit(sample)
    return compare(sample.label + 0 * a, a - weight, "y = a - λ")


@theorem.false_twin("only the division is missing: b y = λ - a b")
def divided(sample):
    a, b, weight = limit(sample)
    return compare(b * sample.label, weight - a * b, "b y = λ - a b")


@theorem.false_twin("the mean output may be left out, as for odd activations: b y = -λ")
def without_the_mean(sample):
    _, b, weight = limit(sample)
    return compare(b * sample.label, -weight, "b y = -λ")


@theorem.false_twin("at finite width the mean output a may stand for f(x)")
def limit_for_the_output(sample):
    b, (activations, _, gradient) = mean_slope(sample), values(sample)
    return compare(
        b * sample.label * activations,
        mean(sample) * b * activations - b * gradient,
        "b y = b a - λ at finite width",
    )
