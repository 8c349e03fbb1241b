r"""How far the residuals of labels ±1 are from having one size: κ = (1 + |a|)/|1 - |a||, where a is the mean output.

At the query point of Wang, Lee and Lei the output weights are 1/m, so as m grows the residual of a sample tends to r*_i = E
σ(‖x_i‖Z) + M - y_i with Z ~ N(0,1), where M is a known constant that may be added to the output. Let all samples have the
same mean a = E σ(‖x_i‖Z) + M and let both labels 1 and -1 occur. The ratio κ = max|r*_i|/min|r*_i|, by which the errors of
the regression and of Proposition 5.3 grow, is then

    κ = (1 + |a|)/|1 - |a||      (infinite for |a| = 1: a sample of that label is invisible).

So κ = 1 if and only if a = 0, as for odd σ without M; κ <= 3 if and only if |a| <= 1/2 or |a| >= 2; and κ tends to 1 as M
grows. At norm one: sigmoid 3, ReLU 2.33, softplus 9.3, GELU 1.8, z² + z³ infinite.

Notes
-----
The two residuals are a - 1 and a + 1, and max(|a - 1|, |a + 1|) = 1 + |a|, min = |1 - |a||. The means: E tanh = E erf = 0
and E sigmoid = 1/2 by symmetry (so r* = -y for odd σ, but not for the sigmoid); E relu(sZ) = s/√(2π), leaky slope
α: (1 - α) times that; E gelu(sZ) = s²/√(2π(1 + s²)); polynomials by E Z^{2n} = (2n - 1)!!.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import BALL, FLOAT64, RATIONAL, arccos, constant, sqrt
from provable.theorems import Source, Theorem, equal, fact, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $r^*_i = a_i - y_i$ with $a_i = E\sigma(\|x_i\|Z) + M$, $Z \sim N(0,1)$. If $y_i \in \{\pm1\}$, both
    labels occur and all $a_i$ equal $a$, then $\kappa = \max_i|r^*_i|/\min_i|r^*_i| = (1 + |a|)/|1 - |a||$. So $\kappa = 1$
    if and only if $a = 0$, and $\kappa \le 3$ if and only if $|a| \le 1/2$ or $|a| \ge 2$.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3", "Claim 5.4, corrected", "derived here; the printed form was read"
    ),
    expected="proved",
    does_not_say="how fast the residuals at finite width approach r*; the equations of the gradient hold with the former",
)

BINARY, BOTH, ONE_MEAN = "the labels are 1 or -1", "both labels occur", "all samples have the same mean output"
NAMES = ("sigmoid", "relu", "leaky relu", "gelu", "tanh", "erf")
CENTRED = ("sigmoid", "tanh", "erf")


@dataclass(frozen=True)
class Batch:
    """Labels and norms of the samples, the activation and its numbers, and the known constant M at the output.

    The numbers of an activation are the coefficients of a polynomial or the slope of a leaky ReLU.
    """

    activation: str
    numbers: np.ndarray
    norms: np.ndarray
    labels: np.ndarray
    offset: float


def pairing_number(n):
    """E Z^n: the number of pairings of n things."""
    return 0 if n % 2 else int(np.prod(range(n - 1, 0, -2), dtype=np.int64))


def mean(batch):
    """E σ(s_i Z) for the norms s_i."""
    norm = batch.norms
    if batch.activation == "polynomial":
        return sum((c * pairing_number(k) * norm**k for k, c in enumerate(batch.numbers)), 0 * norm)
    if batch.activation in CENTRED:
        return (constant(0.5, norm) if batch.activation == "sigmoid" else 0) + 0 * norm
    root = sqrt(4 * arccos(0 * norm))  # √(2π)
    if batch.activation == "gelu":
        return norm * norm / (root * sqrt(1 + norm * norm))
    return norm / root * (1 if batch.activation == "relu" else 1 - batch.numbers[0])


def draw_batch(draw, *, offsets=(0.0, 0.0, 1.0, -2.0, 3.0), one_norm=True, labels=(1.0, -1.0)):
    activation = draw(st.sampled_from(("polynomial",) * 6 + NAMES))
    coefficients = draw(readable_arrays((4,))) if activation == "polynomial" else np.array([0.25])
    count = draw(st.integers(2, 3))
    norms = np.array(draw(st.lists(st.sampled_from((1.0, 2.0, 0.5)), min_size=count, max_size=count)))
    values = draw(st.lists(st.sampled_from(labels), min_size=count - 2, max_size=count - 2))
    both = np.array([1.0, -1.0, *values] if labels == (1.0, -1.0) else [labels[0], labels[-1], *values])
    return Batch(
        activation, coefficients, norms[0] + 0 * norms if one_norm else norms, both, draw(st.sampled_from(offsets))
    )


@theorem.instances
def batches(draw):
    return draw_batch(draw)


@theorem.hypothesis(BINARY)
def binary(batch):
    return all(abs(label) == 1 for label in batch.labels)


@theorem.hypothesis(BOTH)
def both_labels(batch):
    return min(batch.labels) < 0 < max(batch.labels)


@theorem.hypothesis(ONE_MEAN)
def one_mean(batch):
    return batch.activation in CENTRED or all(norm == batch.norms[0] for norm in batch.norms)


def sizes(batch):
    """|r*_i| of all samples."""
    return abs(mean(batch) + batch.offset - batch.labels)


def extreme(values, largest):
    """The largest or smallest of two or three numbers, by max(a, b) = (a + b + |a - b|)/2."""
    result = values[0]
    for value in values[1:]:
        result = (result + value + (1 if largest else -1) * abs(result - value)) / 2
    return result


def compare(batch, numerator, denominator, name="κ = (1 + |a|)/|1 - |a||"):
    """κ equals a quotient, both of which may be infinite; a has a dozen roundings."""
    observed = sizes(batch)
    largest, smallest = extreme(observed, True), extreme(observed, False)
    return equal(largest * denominator, smallest * numerator, operations=12, name=name, magnitude=largest * largest)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def ratio(batch):
    a = abs(mean(batch) + batch.offset)[0]
    return compare(batch, 1 + a, abs(1 - a))


@theorem.derivation
def by_two_residuals():
    import sympy as sp

    a = sp.symbols("a", nonnegative=True)
    for sign in (1, -1):
        yield identity(
            f"{'positive' if sign > 0 else 'negative'} mean: the squares of both residuals are (1 ± |a|)²",
            sp.Matrix(sorted([(sign * a - 1) ** 2, (sign * a + 1) ** 2], key=lambda e: sp.expand(e).coeff(a))),
            sp.Matrix([(1 - a) ** 2, (1 + a) ** 2]),
        )
    yield identity("(1 + |a|)² - (1 - |a|)² = 4|a|: κ = 1 if and only if a = 0", (1 + a) ** 2 - (1 - a) ** 2, 4 * a)
    yield identity(
        "9 (1 - |a|)² - (1 + |a|)² = 8 (|a| - 1/2)(|a| - 2): κ <= 3 outside of (1/2, 2)",
        9 * (1 - a) ** 2 - (1 + a) ** 2,
        8 * (a - sp.Rational(1, 2)) * (a - 2),
    )
    z, s = sp.symbols("z", real=True), sp.symbols("s", positive=True)
    density = sp.exp(-(z**2) / 2) / sp.sqrt(2 * sp.pi)
    yield identity("E relu(sZ)", sp.integrate(s * z * density, (z, 0, sp.oo)), s / sp.sqrt(2 * sp.pi))
    logistic = 1 / (1 + sp.exp(-z))
    yield identity("sigmoid(z) + sigmoid(-z) = 1, so E sigmoid(sZ) = 1/2", logistic + logistic.subs(z, -z), 1)
    yield identity(
        "E gelu(sZ) = E[sZ Φ(sZ)] = s² E φ(sZ) by one partial integration",
        s**2 * sp.integrate(sp.exp(-(z**2) * (1 + s**2) / 2) / (2 * sp.pi), (z, -sp.oo, sp.oo)),
        s**2 / sp.sqrt(2 * sp.pi * (1 + s**2)),
    )
    yield identity("E Z² = 1", sp.integrate(z**2 * density, (z, -sp.oo, sp.oo)), 1)
    relu = 1 / sp.sqrt(2 * sp.pi)
    yield fact("ReLU at norm one: 2.32 < κ < 2.33", 2.32 < sp.N((1 + relu) / (1 - relu), 20) < 2.33)


@theorem.without(BINARY)
def another_label():
    return Batch("tanh", np.zeros(1), np.ones(2), np.array([3.0, -1.0]), 0.0)


@theorem.without(BOTH)
def one_label():
    return Batch("sigmoid", np.zeros(1), np.ones(2), np.array([1.0, 1.0]), 0.0)


@theorem.without(ONE_MEAN)
def two_norms():
    return Batch("polynomial", np.array([0.0, 0.0, 1.0]), np.array([0.5, 1.0]), np.array([1.0, -1.0]), 0.0)


@theorem.false_twin("r* = -y for the sigmoid as for odd activations, so κ = 1")
def as_if_odd(batch):
    return compare(batch, 1 + 0 * batch.norms[0], 1 + 0 * batch.norms[0], "κ = 1")


@theorem.false_twin("an output constant M as large as the labels bounds κ by (1 + M)/M")
def small_constant(batch):
    size = abs(batch.offset) + 0 * batch.norms[0]
    return compare(batch, 1 + size, size, "κ = (1 + M)/M")


@theorem.false_twin("κ = (1 + a)/(1 - a), without absolute values")
def without_absolute_values(batch):
    a = (mean(batch) + batch.offset)[0]
    return compare(batch, 1 + a, 1 - a, "κ = (1 + a)/(1 - a)")


def two_norm_batches(draw):
    return draw_batch(draw, one_norm=False)


@theorem.false_twin("the first sample's norm may stand for all", without=(ONE_MEAN,), instances=two_norm_batches)
def any_norms(batch):
    return ratio(batch)


def many_labels(draw):
    return draw_batch(draw, labels=(1.0, 2.0, -3.0, -1.0))


@theorem.false_twin("labels of other sizes give the same ratio", without=(BINARY,), instances=many_labels)
def any_labels(batch):
    return ratio(batch)
