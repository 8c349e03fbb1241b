"""Erratum: no algorithm recovers the signs of the labels from the gradient of an odd network.

Theorem 5.1 as printed: for f(x) = (1/m) Σ_j σ(w_j·x) with Gaussian w_j, unit-norm linearly independent samples, labels ±1,
B ≤ Õ(d^{1/4}) and an activation that is 1-Lipschitz with ν = max(|Eσ''|, |Eσ'''|) ≠ 0 and λ = max(|Eσ'''|, |Eσ''''|) ≠ 0,
Algorithm 1 returns labels with sign(ŷ_i) = y_i and points with a small error, with high probability once m is large.

tanh meets every hypothesis, and the statement is false for it. Any algorithm is a function of what it observes. Flip the
signs of a sample and its label together: the new batch meets the hypotheses as well, and for every m and every W its gradient
is the same. So on the intersection of the two events of high probability the one answer of the algorithm would have to have
the sign +1 and the sign -1, and to lie close to x and to -x.

The claim below is what the theorem implies, whatever the algorithm: two batches that meet the hypotheses and have the same
gradient are the same batch, up to the order of the samples.

Notes
-----
The content of Theorem 5.1 and Assumption 5.1 was read in arXiv:2212.03714v3 (AISTATS 2023, proceedings version) and is
restated here in our words. Gradients are compared exactly and for every odd differentiable σ at once: for different |z|,
σ(|z|) and σ'(|z|) are independent symbols, σ(z) = sign(z)σ(|z|), and gradients that agree as polynomials in them are equal.
Weights are generic, so that no coincidence of theirs takes part: every unit sees every point, at different distances. Each
symbol then belongs to one unit and one line, so that gradients which agree at one such W agree at every W.
That tanh satisfies the assumption is decided by outward-rounded quadrature: E tanh''' = E[tanh(Z)(Z³ - 3Z)] with a bound on
the tails; E tanh'' = E tanh'''' = 0, since these are odd functions. The letter of B ≤ d^{1/4}, without hidden logarithms, is
kept.
"""

import functools
from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Tanh
from provable.arithmetic import EPSILON, kind, rank
from provable.networks import Parameters, loss_gradient
from provable.theorems import FLOAT64, RATIONAL, Source, Theorem, fact, holds

theorem = Theorem(
    statement=r"""As printed: let $f(x) = \frac1m\sum_j \sigma(w_j^T x)$ with Gaussian $w_j$, samples with $\|x_i\| = 1$ and
    $\sigma_{\min}(X) > 0$, $y_i \in \{\pm1\}$, $B \le \tilde O(d^{1/4})$, $\sigma$ 1-Lipschitz with
    $\max\{|E\sigma''|, |E\sigma'''|\} \ne 0$ and $\max\{|E\sigma'''|, |E\sigma''''|\} \ne 0$. For large $m$, Algorithm 1
    returns from $\nabla L$ points within $\tilde O(\sqrt{d/m})$ of the $x_i$ and labels with $\mathrm{sign}(\hat y_i) = y_i$,
    with high probability. Implied: two such batches with the same gradient for every $W$ agree up to order.""",
    source=Source(
        "Wang, Lee, Lei, arXiv:2212.03714v3", "Theorem 5.1", "read in the proceedings version; restated, not quoted"
    ),
    expected="refuted",
    corrected_by="wang2023.sign_recovery_modulo_joint_sign",
    does_not_say="the error bound on the points up to sign is not touched, nor are activations that are not odd",
)


@dataclass(frozen=True)
class Pair:
    """Two batches seen through the same first-layer weights; `offset` is a known constant added to the output."""

    weight: np.ndarray
    inputs: np.ndarray
    labels: np.ndarray
    other_inputs: np.ndarray
    other_labels: np.ndarray
    offset: float = 0.0


HALVES = np.array([[1.0, 1, 1, 1], [1, 1, -1, -1], [1, -1, 1, -1]]) / 2
QUARTERS = st.lists(st.integers(1, 16), min_size=8, max_size=8, unique=True)


@st.composite
def pairs(
    draw,
    *,
    shapes=((1, 2), (1, 4)),
    offsets=(0.0,),
    changes=("flip", "flip", "label", "point", "order"),
    agreeing=False,
):
    """A batch of shape (B, d) and a changed copy: samples flipped jointly, a label or a point changed, another order."""
    size, dimension = draw(st.sampled_from(shapes))
    pool = np.eye(min(dimension, 3), dimension)
    if dimension == 4:
        pool = np.vstack([pool, HALVES])
    chosen = draw(st.permutations(range(len(pool))))[: size + 1]
    signs = np.array(draw(st.lists(st.sampled_from((1.0, -1.0)), min_size=2 * size, max_size=2 * size)))
    inputs, labels = signs[:size, None] * pool[chosen[:size]], signs[size:]
    if agreeing:
        labels[:] = labels[0]
    factors, label_factors = np.ones((size, 1)), np.ones(size)
    change = draw(st.sampled_from(changes))
    if change in ("flip", "sample"):
        flipped = draw(st.lists(st.integers(0, size - 1), min_size=1, max_size=size, unique=True))
        factors[flipped] = -1
        label_factors[flipped] = -1 if change == "flip" else 1
    elif change == "label":
        label_factors[0] = -1
    other_inputs, other_labels = factors * inputs + 0.0, label_factors * labels
    if change == "point":
        other_inputs[0] = pool[chosen[-1]]
    elif change == "order":
        other_inputs, other_labels = other_inputs[::-1].copy(), other_labels[::-1].copy()
    weight = np.ones((2, dimension))
    weight[:, :4] = np.array(draw(QUARTERS)).reshape(2, 4)[:, : min(dimension, 4)] / 4
    return Pair(weight, inputs + 0.0, labels, other_inputs, other_labels, draw(st.sampled_from(offsets)))


small_pairs, wide_pairs = pairs(), pairs(shapes=((2, 16),))
theorem.instances(st.one_of(small_pairs, wide_pairs))


def batches(pair):
    return (pair.inputs, pair.labels), (pair.other_inputs, pair.other_labels)


# the statement is false with all its hypotheses, so none of them is shown to be needed
@theorem.hypothesis(
    "the samples have norm one and are linearly independent", arithmetic=RATIONAL, necessity_unknown=True
)
def unit_and_independent(pair):
    return all(all(row @ row == 1 for row in inputs) and rank(inputs) == len(inputs) for inputs, _ in batches(pair))


@theorem.hypothesis("the labels are 1 or -1", necessity_unknown=True)
def binary_labels(pair):
    return all(all(abs(label) == 1 for label in labels) for _, labels in batches(pair))


@theorem.hypothesis("B is at most the fourth root of d", necessity_unknown=True)
def small_batch(pair):
    return len(pair.inputs) ** 4 <= pair.inputs.shape[1]


@theorem.hypothesis("the weights are generic", arithmetic=RATIONAL, necessity_unknown=True)
def generic_weights(pair):
    """No unit is blind to a point, and preactivations have different absolute values, unless the points are opposite."""
    points = {min(tuple(x), tuple(-x)) for inputs, _ in batches(pair) for x in inputs}
    sizes = [abs(row @ np.array(point)) for row in pair.weight for point in points]
    return len({0, *sizes}) == len(sizes) + 1


def hermite_coefficient(order):
    """A ball around E[tanh(Z) He_order(Z)], for order 1 or 3."""
    with flint.ctx.workprec(128):
        polynomial = (lambda z: z) if order == 1 else (lambda z: z * z * z - 3 * z)
        limit = flint.arb(16)
        inner = flint.acb.integral(lambda z, _: z.tanh() * polynomial(z) * (-z * z / 2).exp(), -limit, limit).real
        # |tanh| < 1 and |He| <= z³ + 3z for z > 0; ∫ z³φ and ∫ zφ beyond s are (s² + 2)φ(s) and φ(s)
        tail = 2 * (limit * limit + 5) * (-limit * limit / 2).exp()
        return (inner + flint.arb(0, tail)) / (2 * flint.arb.pi()).sqrt()


@functools.cache
def third_derivative_mean():
    """A ball around E tanh'''(Z), which equals E[tanh(Z) He_3(Z)] by Stein's identity."""
    return hermite_coefficient(3)


@theorem.hypothesis("tanh meets Assumption 5.1: 1-Lipschitz, ν and λ are not zero", necessity_unknown=True)
def assumption_on_the_activation(pair):
    # |tanh'| = |sech²| <= 1; ν and λ are at least |E tanh'''|
    return abs(third_derivative_mean()) > 0.36


def exact_gradients(pair):
    """Both gradients (∂L/∂a_j and ∂L/∂w_j for all j) as polynomials in the values and slopes of an arbitrary odd σ."""
    products = [inputs @ pair.weight.T for inputs, _ in batches(pair)]
    sizes = sorted({abs(z) for z in np.concatenate([p.reshape(-1) for p in products])})
    names = tuple(f"{kind_}{index}" for index in range(len(sizes)) for kind_ in ("value", "slope"))
    symbols = dict(zip(names, flint.fmpq_mpoly_ctx.get(names).gens(), strict=True))

    def value(z):  # σ(0) = 0 for odd σ
        return ((z > 0) - (z < 0)) * symbols[f"value{sizes.index(abs(z))}"]

    def slope(z):  # the derivative of an odd function is even
        return symbols[f"slope{sizes.index(abs(z))}"]

    width = len(pair.weight)
    for (inputs, labels), z in zip(batches(pair), products, strict=True):
        values = [[value(entry) for entry in row] for row in z]
        slopes = [[slope(entry) for entry in row] for row in z]
        residuals = [sum(row) / width + pair.offset - label for row, label in zip(values, labels, strict=True)]
        yield [
            *(sum(r * row[j] for r, row in zip(residuals, values, strict=True)) for j in range(width)),
            *(
                sum(r * row[j] * x[k] for r, row, x in zip(residuals, slopes, inputs, strict=True)) / width
                for j in range(width)
                for k in range(inputs.shape[1])
            ),
        ]


def float_gradients(pair):
    """Both gradients with tanh, by the package; a known output constant is absorbed in the labels."""
    width, dimension = pair.weight.shape
    layers = (Linear(width, bias=False), Tanh(), Linear(1, bias=False))
    network = Architecture("tanh", (dimension,), layers, "squared")
    parameters = Parameters(network, {"0/weight": pair.weight, "2/weight": np.full((1, width), 1 / width)})
    for inputs, labels in batches(pair):
        yield loss_gradient(network, parameters, inputs, labels - pair.offset).vector()


def gradients_agree(pair):
    if kind(pair.weight) != "float64":
        first, second = exact_gradients(pair)
        return all(a == b for a, b in zip(first, second, strict=True))
    first, second = float_gradients(pair)
    # joint signs are exact in floats, and sums of at most four terms of size at most 5 may be reordered
    return bool(np.abs(first - second).max() <= 30 * 20 * EPSILON)


def atoms(batch):
    return sorted((tuple(map(float, point)), float(label)) for point, label in zip(*batch, strict=True))


def same_batch(pair):
    first, second = batches(pair)
    return atoms(first) == atoms(second)


@theorem.claim(arithmetics=(FLOAT64, RATIONAL))
def gradient_determines_batch(pair):
    return holds(same_batch(pair) or not gradients_agree(pair), name="batches with the same gradient agree up to order")


@theorem.counterexample
def two_samples_in_sixteen_dimensions():
    inputs = np.eye(2, 16)
    weight = np.ones((4, 16))
    weight[:, :2] = [[1, 2], [-0.5, 0.25], [3, -1.75], [0.75, 1.5]]
    return Pair(weight, inputs, np.array([1.0, -1.0]), inputs * [[-1.0], [1.0]], np.array([-1.0, -1.0]))


@theorem.derivation(covers="the hypotheses on the activation, for tanh")
def tanh_meets_the_assumption():
    import sympy as sp

    z = sp.symbols("z", real=True)
    yield fact("|tanh'| = 1 - tanh² <= 1", sp.simplify(sp.diff(sp.tanh(z), z) - 1 + sp.tanh(z) ** 2) == 0)
    for order in (2, 4):
        derivative = sp.diff(sp.tanh(z), z, order)
        yield fact(
            f"the derivative of order {order} is odd, so its mean is zero",
            sp.simplify(derivative + derivative.subs(z, -z)) == 0,
        )
    mean = third_derivative_mean()
    yield fact(f"E tanh''' = {mean.mid().str(8, radius=False)}, enclosed", mean < -0.3635 and mean > -0.3637)


@theorem.false_twin("true for a batch of one sample", instances=small_pairs)
def one_sample(pair):
    return gradient_determines_batch(pair)


@theorem.false_twin("true for orthonormal samples", instances=wide_pairs)
def orthonormal_samples(pair):
    first, second = pair.inputs
    orthonormal = first @ second == 0 and first @ first == second @ second == 1
    return gradient_determines_batch(pair) if orthonormal else holds(True, name="nothing is claimed")


@theorem.false_twin(
    "true if all labels of the batch are known to agree",
    instances=pairs(shapes=((2, 16),), changes=("flip", "flip", "order"), agreeing=True),
)
def equal_labels(pair):
    agreeing = all(labels[0] == labels[1] for _, labels in batches(pair))
    return gradient_determines_batch(pair) if agreeing else holds(True, name="nothing is claimed")


@theorem.false_twin("true if the observer asks for the gradient at a second W as well")
def two_queries(pair):
    second = Pair(pair.weight[::-1] + 4, *(part for batch in batches(pair) for part in batch), pair.offset)
    both = gradients_agree(pair) and gradients_agree(second)
    return holds(same_batch(pair) or not both, name="batches with the same two gradients agree up to order")


@theorem.false_twin(
    "true if a known constant as large as the labels is added to the output",
    instances=pairs(offsets=(1.0, -1.0), changes=("flip", "sample")),
)
def output_constant(pair):
    # with f + 1 a sample of label 1 has residual f(x), which is odd again: the point's sign is lost, not the label's
    return gradient_determines_batch(pair)


@theorem.false_twin("only the labels are affected: the points are determined")
def points_are_determined(pair):
    points = [sorted(tuple(map(float, point)) for point in inputs) for inputs, _ in batches(pair)]
    return holds(points[0] == points[1] or not gradients_agree(pair), name="the same gradient, so the same points")
