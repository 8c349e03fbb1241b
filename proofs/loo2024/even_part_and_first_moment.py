"""One hidden ReLU layer without biases sees of a measure its even part and its first moment, and nothing else.

Push Σ c_i δ_{x_i} to the sphere with the weights c_i‖x_i‖. For the tangent and the Gaussian-process kernel of infinite width,
Σ c_i k(·, x_i) = 0 if and only if the even part of that measure is zero, that is, for every axis the sum of c_i‖x_i‖ over its
points vanishes, and Σ c_i x_i = 0.

In spectral form: the eigenvalues on the sphere of the degrees 0, 1, 2, 4, 6, … are positive, those of the degrees 3, 5, 7, …
are zero. So x and -x on independent axes are told apart, by their first moment, and d + 1 antipodal pairs are not.

Notes
-----
Proof. With u = cos θ, π(κ_0 - ½) = asin u and πκ_1 = √(1 - u²) + u·asin u + πu/2. So κ_1 = u/2 + E_1 and uκ_0
+ κ_1 = u + E_2, where πE_1'' = (1 - u²)^{-1/2} and πE_2'' = 3(1 - u²)^{-1/2} + u²(1 - u²)^{-3/2}. These are even series
with positive coefficients, as those of (1 - u²)^{-1/2}, C(2n, n)/4ⁿ, are positive, and E_1(0) = E_2(0) = 1/π. By
Schoenberg an even series with all even coefficients positive has positive eigenvalues for all even degrees, so its form
is zero on even measures only if they are zero; on odd ones the form is a multiple of the squared first moment.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, sqrt
from provable.kernels import nngp, ntk
from provable.theorems import Source, Theorem, at_most, fact, holds, identity, less
from provable.theorems.strategies import readable_arrays, readable_directions

theorem = Theorem(
    statement=r"""Let $k$ be the tangent or the Gaussian-process kernel of an infinitely wide network on $\mathbb R^d$ with
    one hidden ReLU layer and no biases, and $x_i \ne 0$. Then $\sum_ic_ik(\cdot, x_i) = 0$ if and only if
    $\sum_ic_i\|x_i\|(\delta_{u_i} + \delta_{-u_i}) = 0$ with $u_i = x_i/\|x_i\|$, and $\sum_ic_ix_i = 0$. On the sphere its
    eigenvalues of the degrees $0, 1, 2, 4, 6, \dots$ are positive and those of the degrees $3, 5, 7, \dots$ zero.""",
    source=Source("derived", note="spectral form of loo2024.antipodal_fibre"),
    expected="certified",
)


@dataclass(frozen=True)
class Weighted:
    """Points (n, d) with coefficients (n,); which kernel, with how many hidden layers and which variance of biases."""

    points: np.ndarray
    coefficients: np.ndarray
    tangent: bool
    depth: int
    bias_variance: float


@st.composite
def weighted(draw):
    """Few axes with one or two points each; often antipodal pairs, with an even part or a first moment that vanishes."""
    dimension = draw(st.integers(1, 2))
    axes = draw(readable_directions(draw(st.integers(1, dimension + 1)), dimension))
    factors = np.array(draw(st.sampled_from([[1.0], [1.0, -1.0], [1.0, -2.0]])))
    coefficients = draw(readable_arrays((len(axes), len(factors))))
    if len(factors) > 1 and draw(st.booleans()):  # the even part vanishes on every axis
        coefficients[:, 0] = -coefficients[:, 1] * abs(factors[1]) + 0.0
    if len(axes) > 1 and draw(st.booleans()):  # and the first moment too
        axes[-1] = -(coefficients[:-1] @ factors @ axes[:-1])
        coefficients[-1] = [1.0] if len(factors) == 1 else [0.5, 0.5 / factors[1]]
        if not axes[-1].any():
            axes[-1, 0], coefficients[-1] = 1.0, 0.0
    points = (factors[None, :, None] * axes[:, None, :]).reshape(-1, dimension) + 0.0
    return Weighted(points, coefficients.reshape(-1), draw(st.booleans()), 1, 0.0)


theorem.instances(weighted())


@theorem.hypothesis("there is one hidden layer")
def one_hidden_layer(case):
    return case.depth == 1


@theorem.hypothesis("there are no biases")
def no_biases(case):
    return case.bias_variance == 0


def on_one_axis(first, second):
    """Whether ‖x‖²‖z‖² = (x·z)², exactly: the entries are small dyadic numbers."""
    product = first @ second
    return (first @ first) * (second @ second) - product * product == 0


def vanishing_even_part(case):
    """Σ c_i |x_i·z| over the points of the axis of z is zero for every z among the points."""
    for z in case.points:
        members = [(c, x) for c, x in zip(case.coefficients, case.points, strict=True) if on_one_axis(x, z)]
        if sum(c * abs(x @ z) for c, x in members) != 0:
            return False
    return True


def vanishing_first_moment(case):
    return all(entry == 0 for entry in case.coefficients @ case.points)


def form(case):
    """‖Σ c_i k(·, x_i)‖², and the size of its terms."""
    kernel = (ntk if case.tangent else nngp)(int(case.depth), "relu", bias_variance=float(case.bias_variance))
    gram = kernel(case.points)
    roots = sqrt(np.diagonal(gram).copy())
    size = abs(case.coefficients) @ roots
    return case.coefficients @ gram @ case.coefficients, size * size


def vanishes_exactly_if(case, invisible):
    value, size = form(case)
    if invisible:
        # transcendental numbers: balls decide their equality to as many digits as one asks for
        return at_most(abs(value), size / 2**100, operations=40, name="the form is zero, to 30 digits")
    return less(0 * value, value, operations=40, name="the form is positive")


@theorem.claim(arithmetics=(BALL,))
def what_is_seen(case):
    return vanishes_exactly_if(case, vanishing_even_part(case) and vanishing_first_moment(case))


@theorem.derivation(covers="the series, and eigenvalues up to degree 9 for d = 2, 8")
def series_and_eigenvalues():
    import sympy as sp

    from provable.kernels.spectrum import spectrum

    u = sp.symbols("u", real=True)
    root = sp.sqrt(1 - u**2)
    kappa_0 = sp.Rational(1, 2) + sp.asin(u) / sp.pi
    kappa_1 = (root + u * sp.asin(u)) / sp.pi + u / 2
    yield identity("κ_1' = κ_0", sp.diff(kappa_1, u), kappa_0)
    yield identity("πE_1'' = (1 - u²)^{-1/2}", sp.pi * sp.diff(kappa_1 - u / 2, u, 2), 1 / root)
    second = sp.pi * sp.diff(u * kappa_0 + kappa_1 - u, u, 2)
    yield identity("πE_2'' = 3(1 - u²)^{-1/2} + u²(1 - u²)^{-3/2}", second, 3 / root + u**2 / root**3)
    for n in range(5):
        binomial = (-1) ** n * sp.binomial(sp.Rational(-1, 2), n)
        yield identity(f"coefficient {2 * n} of (1 - u²)^(-1/2)", binomial, sp.binomial(2 * n, n) / sp.Integer(4) ** n)
    for dimension in (2, 8):
        for kernel in (ntk(1, "relu"), nngp(1, "relu")):
            balls = spectrum(kernel, dimension, 9).enclosures
            seen = [degree for degree, ball in enumerate(balls) if ball > 0]
            name = "tangent" if kernel.tangent else "Gaussian-process"
            yield fact(f"degrees seen by the {name} kernel, d = {dimension}", seen == [0, 1, 2, 4, 6, 8])


@theorem.without("there is one hidden layer")
def two_hidden_layers():
    triangle = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    coefficients = np.repeat([1.0, -1.0], 3)
    return Weighted(np.concatenate([triangle, -triangle]) + 0.0, coefficients, True, 2, 0.0)


@theorem.without("there are no biases")
def random_biases():
    return Weighted(np.array([[1.0], [2.0]]), np.array([2.0, -1.0]), True, 1, 1.0)


@theorem.false_twin("an even part of zero is enough")
def even_part_alone(case):
    return vanishes_exactly_if(case, vanishing_even_part(case))


@theorem.false_twin("a first moment of zero is enough")
def first_moment_alone(case):
    return vanishes_exactly_if(case, vanishing_first_moment(case))


@theorem.false_twin("odd measures are invisible, whatever their first moment")
def odd_measures(case):
    value, size = form(case)
    if not vanishing_even_part(case):
        return holds(True, name="nothing is claimed")
    return at_most(abs(value), size / 2**100, operations=40, name="the form of an odd measure is zero")
