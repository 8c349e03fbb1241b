r"""Samples on kinks, with any Clarke multipliers, are samples split among the activation cells that meet there.

f(x) = Σ_k v_k relu(w_k·x + b_k), and a sample x with slopes s_k = 1 where w_k·x + b_k > 0, 0 where it is negative and any
number in [0, 1] where it is zero, a kink. Then s is a mean Σ_t p_t D_t of at most (number of kinks) + 1 activation patterns
D_t ∈ {0, 1}^m whose closed cells have x in them. Each D_t is the pattern of x in a network as near as one likes. So the data
behind a stationary point, with all their multipliers, are the solutions of *linear* equations for moments in closed cells:
with two sets of data of one margin their mixtures explain the point as well, and wherever a stationary point has two zeros of
this kind it has a continuum.

Notes
-----
Proof. Sort the kinks by their slopes, 1 >= s_(1) >= … >= s_(q) >= 0, and let D_t be active at the kinks (1), …, (t) and where
pre-activations are positive. With the weights p_t = s_(t) - s_(t+1), s_(0) = 1 and s_(q+1) = 0, kink (j) is active in D_t for
t >= j, whose weights add up to s_(j). All these patterns agree with the signs at x up to kinks. Adding ε(2 D_k - 1) to the
biases of the kinks gives a network whose pattern at x is D. The tangent of a sample is c (s ∘ v) ⊗ (x, 1) in the first layer
and c relu(w·x + b) in the second, linear in s; hence the split sample has the same tangent. Outputs do not depend on s, so
that margins stay. A mixture of two sets, with coefficients t c and (1 - t) c', has the mixture of the two sums.

That each neuron has a slope of its own is due to its own parameters: hyperplanes that coincide move apart under changes of θ.
The statement is of two layers. Behind a second hidden layer slopes are multiplied, and means of products are no products.

Source: derived; Clarke's subdifferential enters arXiv:2206.07758, Theorem 3.1, through the KKT conditions for ReLU networks.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, constant, full, positive
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.theorems import Source, Theorem, equal, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""
    Let $f(x) = \sum_k v_k\,\mathrm{relu}(w_k\cdot x + b_k)$ and $s_k \in [0, 1]$ slopes at $x$: $1$ where
    $w_k\cdot x + b_k > 0$ and $0$ where it is negative. Then $s = \sum_t p_t D_t$ with $p_t \ge 0$, $\sum_t p_t = 1$, and at
    most one more pattern $D_t \in \{0, 1\}^m$ than there are kinks at $x$, each the pattern of $x$ in networks arbitrarily
    near. So a sample $(x, c)$ with slopes $s$ has the tangent of the samples $(x, p_t c)$ in the closed cells $D_t$, and the
    data of one margin behind one point form a convex set: of two of them $tc$ and $(1 - t)c'$ together are one.""",
    source=Source("derived", note="for the Clarke multipliers of the KKT conditions in arXiv:2206.07758, Theorem 3.1"),
    expected="proved",
    does_not_say="anything of networks with two hidden layers, or of the number of samples of a mixture",
)

CLARKE, RANGE = "off kinks the slopes are those of the ReLU", "slopes lie in [0, 1]"


@dataclass(frozen=True)
class Sample:
    """A network, a point (d,), slopes (m,) and a coefficient (1,)."""

    parameters: Parameters
    point: np.ndarray
    slopes: np.ndarray
    coefficient: np.ndarray


def network(dimension, width):
    return Architecture("two layers", (dimension,), (Linear(width), ReLU(), Linear(1, bias=False)), "logistic")


def samples(*, kinks=(1, 2, 3), fractions=(0.0, 0.25, 0.5, 0.75, 1.0), others=(0, 1)):
    def strategy(draw):
        dimension, pinned, free = draw(st.integers(1, 2)), draw(st.sampled_from(kinks)), draw(st.sampled_from(others))
        width = pinned + free
        numbers = draw(readable_arrays(((dimension + 2) * width + dimension + 1,), nonzero=True))
        weight, bias, outer, point, coefficient = np.split(
            numbers, np.cumsum([dimension * width, width, width, dimension])
        )
        weight = weight.reshape(width, dimension)
        bias[:pinned] = -weight[:pinned] @ point
        slopes = np.where(weight @ point + bias > 0, 1.0, 0.0)
        slopes[:pinned] = [draw(st.sampled_from(fractions)) for _ in range(pinned)]
        pieces = {"0/weight": weight, "0/bias": bias, "2/weight": outer[None]}
        return Sample(Parameters(network(dimension, width), pieces), point, slopes, coefficient)

    return strategy


theorem.instances(samples())


def preactivations(sample, shift=None):
    values = sample.parameters["0/weight"] @ sample.point + sample.parameters["0/bias"]
    return values if shift is None else values + shift


@theorem.hypothesis(CLARKE, arithmetic=RATIONAL)
def slopes_of_the_relu(sample):
    one = constant(1, sample.point)
    return all(value == 0 or slope == (one if positive(value) else 0 * one) for value, slope in both(sample))


@theorem.hypothesis(RANGE, arithmetic=RATIONAL)
def slopes_in_range(sample):
    one = constant(1, sample.point)
    return not any(positive(-slope) or positive(slope - one) for slope in sample.slopes)


def both(sample):
    return zip(preactivations(sample), sample.slopes, strict=True)


@theorem.degenerate
def no_slope_between(sample):
    return all(slope * (slope - 1) == 0 for slope in sample.slopes)


def kinks(sample):
    return [k for k, value in enumerate(preactivations(sample)) if value == 0]


def staircase(sample):
    """Patterns and weights: kinks are switched on one after the other, those of the largest slopes first."""
    pinned, slopes = kinks(sample), sample.slopes
    order = []
    for k in pinned:  # insertion, since exact numbers need not sort
        place = next((i for i, other in enumerate(order) if positive(slopes[k] - slopes[other])), len(order))
        order.insert(place, k)
    one = constant(1, slopes)
    base = np.where(positive(preactivations(sample)), one, 0 * one)
    levels = [one, *(slopes[k] for k in order), 0 * one]
    patterns, weights, current = [], [], base
    for step in range(len(order) + 1):
        patterns.append(current)
        weights.append(levels[step] - levels[step + 1])
        if step < len(order):
            current = current.copy()
            current[order[step]] = one
    return np.array(patterns), np.array(weights)


def tangent(sample, slopes, coefficient):
    """The Clarke tangent with given slopes: by weights, biases and output weights."""
    theta = sample.parameters
    back = coefficient * slopes * theta["2/weight"][0]
    values = preactivations(sample)
    hidden = np.where(positive(values), values, 0 * values)
    return np.concatenate([(back[:, None] * sample.point[None]).reshape(-1), back, coefficient * hidden])


def nearby(sample, pattern, size):
    """The network with the biases at kinks moved so that the point has the pattern."""
    theta = sample.parameters
    one = constant(1, pattern)
    shift = full(pattern.shape, 0, pattern)
    for k in kinks(sample):
        shift[k] = constant(size, pattern) * (2 * pattern[k] - one)
    return Parameters(theta.architecture, dict(theta) | {"0/bias": theta["0/bias"] + shift})


@theorem.claim(arithmetics=(RATIONAL,))
def a_kink_is_a_mean_of_cells(sample):
    patterns, weights = staircase(sample)
    coefficient, one = sample.coefficient[0], constant(1, sample.point)
    yield holds(len(patterns) <= len(kinks(sample)) + 1, name="at most one pattern more than kinks")
    yield holds(not any(positive(-weight) for weight in weights), name="no weight is negative")
    yield equal(weights.sum(), one, operations=1, name="weights add up to one")
    yield equal(weights @ patterns, sample.slopes, operations=1, name="the slopes are the mean of the patterns")
    parts = sum(
        tangent(sample, pattern, weight * coefficient) for pattern, weight in zip(patterns, weights, strict=True)
    )
    yield equal(
        parts, tangent(sample, sample.slopes, coefficient), operations=1, name="the tangent is that of the parts"
    )
    for pattern in patterns:
        yield from near_networks(sample, pattern, coefficient)


def near_networks(sample, pattern, coefficient):
    """The tangent of the network itself, moved by little, is that of the pattern but for as little."""
    size = 2.0**-20
    theta = nearby(sample, pattern, size)
    measure = Measure(sample.point[None], np.array([coefficient]))
    found = embed(theta.architecture, theta, measure)
    width = len(pattern)
    first = np.concatenate([found["0/weight"].reshape(-1), found["0/bias"]])
    wanted = tangent(sample, pattern, coefficient)
    yield equal(first, wanted[:-width], operations=1, name="its first layer's tangent has the pattern, exactly")
    change = found["2/weight"].reshape(-1) - wanted[-width:]
    bound = constant(size, coefficient) * (coefficient if positive(coefficient) else -coefficient)
    within = not any(positive(part - bound) or positive(-part - bound) for part in change)
    yield holds(bool(within), name="its second layer's tangent has moved by at most ε |c|")
    output = forward(theta.architecture, theta, sample.point[None])[0, 0]
    here = forward(theta.architecture, sample.parameters, sample.point[None])[0, 0]
    total = sum(value if positive(value) else -value for value in theta["2/weight"][0])
    moved = output - here if positive(output - here) else here - output
    yield holds(not positive(moved - constant(size, here) * total), name="and its output by at most ε Σ |v|")


@theorem.derivation
def staircases_and_mixtures():
    """Three kinks stand for any number: the sums telescope. One entry of a tangent stands for all."""
    import sympy as sp

    s1, s2, s3, c, v, x, t = sp.symbols("s1 s2 s3 c v x t")
    weights = [1 - s1, s1 - s2, s2 - s3, s3]
    yield identity("the weights add up to one", sum(weights), 1)
    for position, slope in enumerate((s1, s2, s3), 1):
        yield identity(
            f"kink {position} is active from step {position} on, with weight s", sum(weights[position:]), slope
        )
    patterns = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (1, 1, 1)]
    for position, slope in enumerate((s1, s2, s3)):
        parts = sum(weight * c * v * pattern[position] * x for weight, pattern in zip(weights, patterns, strict=True))
        yield identity(f"the tangent of kink {position + 1} is that of the parts", parts, c * v * slope * x)
    g, a, b = sp.symbols("g a b")  # two sums that are both g
    yield identity(
        "a mixture of two data sets with the sum g has the sum g", (t * a + (1 - t) * b).subs({a: g, b: g}), g
    )


def pinned(weights, slopes, point=1.0, shift=0.0):
    width = len(weights)
    weight = np.array(weights).reshape(width, 1)
    pieces = {"0/weight": weight, "0/bias": shift - weight[:, 0] * point, "2/weight": np.ones((1, width))}
    return Sample(Parameters(network(1, width), pieces), np.array([point]), np.array(slopes), np.ones(1))


@theorem.without(CLARKE)
def half_active_off_the_kink():
    return pinned([1.0], [0.5], shift=1.0)


@theorem.without(RANGE)
def twice_active():
    return pinned([1.0], [2.0])


@theorem.false_twin("one cell is enough: slopes zero and one, as programs have them", instances=samples())
def one_cell(sample):
    patterns, _ = staircase(sample)
    coefficient = sample.coefficient[0]
    wanted = tangent(sample, sample.slopes, coefficient)
    return holds(
        any(bool(np.all(tangent(sample, p, coefficient) == wanted)) for p in patterns), name="one pattern does"
    )


@theorem.false_twin("all cells that meet at a sample have equal weights", instances=samples())
def equal_weights(sample):
    patterns, _ = staircase(sample)
    weights = np.array([constant(1.0 / 2, sample.point)] * len(patterns)) / constant(len(patterns) / 2, sample.point)
    return equal(weights @ patterns, sample.slopes, operations=1, name="the mean of the patterns")


@theorem.false_twin("as many cells as kinks are enough", instances=samples(kinks=(1,), fractions=(0.25, 0.5)))
def as_many_cells_as_kinks(sample):
    _, weights = staircase(sample)
    return holds(sum(1 for weight in weights if weight != 0) <= len(kinks(sample)), name="cells <= kinks")


@theorem.false_twin("the sigmoid's slope 1/2 at a kink is always among the multipliers", instances=samples())
def half_everywhere(sample):
    half = np.array([constant(0.5, v) if v == 0 else s for v, s in both(sample)])
    coefficient = sample.coefficient[0]
    return equal(
        tangent(sample, half, coefficient),
        tangent(sample, sample.slopes, coefficient),
        operations=1,
        name="half at kinks",
    )
