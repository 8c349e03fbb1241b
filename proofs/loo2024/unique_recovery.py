"""Where the kernel is strictly positive definite, reconstruction loss zero means the training set, merged.

The repaired form of Theorem 1 of Loo et al. Let every Gram matrix of finitely many distinct points of a domain D be
non-singular, and let training set μ_T = Σ α_i δ_{x_i} and candidates μ_R = Σ β_j δ_{z_j} have all their points in D. Write
c for the coefficients of μ_T - μ_R after merging coinciding points and G for the Gram matrix of the merged points. Then the
reconstruction loss is cᵀGc, so

    L ≥ λ_min(G)·‖c‖² ≥ det(G)·((n - 1)/tr G)^{n-1}·‖c‖²

for n merged points, with 0⁰ = 1 for n = 1, and L = 0 if and only if both measures agree after merging: every training point
whose coefficients do not cancel is one of the candidates, with the same total coefficient, and every other candidate has
total coefficient zero. No universality is needed, only strict positive definiteness on the points at hand.

Which D that is depends on the kernel. ReLU networks in the limit of infinite width: with random biases, all of R^d; without
biases and at least two hidden layers, directions (no two points on one ray); without biases and with one hidden layer, axes
(no two points on one line through the origin), see loo2024.antipodal_fibre for what happens beyond. At finite width, D is any
set of points whose tangents are linearly independent.

Notes
-----
Proof. L is the quadratic form of the embedding (loo2024.rkhs_distance), which depends on the merged difference only. The
bound on the smallest eigenvalue: the other n - 1 eigenvalues have product at most (tr G/(n - 1))^{n-1}.

Theorem 1 is known to us from memory and from the reviews, not from the text: infinite width, data on the sphere, a universal
kernel. What becomes of coinciding points is then open, and the released kernel has no biases, so it is not injective on R^d.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import determinant, kind, rank
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, tangent_kernel, tangents
from provable.theorems import BALL, FLOAT64, RATIONAL, Source, Theorem, at_most, holds, identity, less
from provable.theorems.strategies import readable_arrays, readable_directions, sphere_points

theorem = Theorem(
    statement=r"""Let $k$ be strictly positive definite on a set $D$ that contains the points of
    $\mu_T = \sum_i \alpha_i\delta_{x_i}$ and $\mu_R = \sum_j \beta_j\delta_{z_j}$; let $c$ be the coefficients of
    $\mu_T - \mu_R$ after merging coinciding points, $n$ their number and $G$ their Gram matrix. Then
    $L \ge \lambda_{\min}(G)\|c\|^2 \ge \det(G)\,((n-1)/\mathrm{tr}\,G)^{n-1}\|c\|^2$, where $0^0 = 1$ for
    $n = 1$, and $L = 0$ if and only if $\mu_R = \mu_T$ after merging.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "Theorem 1, repaired",
        "wording known from memory and reviews only; the repaired form is derived here",
    ),
    expected="certified",
    does_not_say="nothing is said of local minima of the loss",
)


@dataclass(frozen=True)
class Pair:
    """Distinct or coinciding points shared by two measures: x_i with α_i, z_j with β_j; a finite and an infinite network."""

    parameters: Parameters
    training: Measure
    candidates: Measure
    depth: int
    bias_variance: float


def two_layer(weight, bias, output):
    """The network Σ a_j relu(w_j·x + b_j); without b if that is None."""
    weight, output = np.array(weight, dtype=float), np.array(output, dtype=float)
    layers = (Linear(len(weight), bias=bias is not None), ReLU(), Linear(1, bias=False))
    network = Architecture("two-layer", (weight.shape[1],), layers, "squared")
    values = {"0/weight": weight, "2/weight": output[None]}
    if bias is not None:
        values["0/bias"] = np.array(bias, dtype=float)
    return Parameters(network, values)


WIDTH = 8


def random_parameters(seed, dimension, biased):
    """Readable random parameters, wide enough to tell a handful of points apart."""
    generator = np.random.default_rng(seed)
    weight, bias = (np.round(4 * generator.standard_normal(s)) / 4 for s in ((WIDTH, dimension), WIDTH))
    return two_layer(weight, bias if biased else None, generator.integers(1, 4, WIDTH))


@st.composite
def pairs(draw):
    dimension, count, repetitions, own = (draw(st.integers(*ends)) for ends in ((2, 3), (1, 3), (0, 2), (0, 1)))
    if draw(st.booleans()):
        points = draw(sphere_points(count + own, dimension, min_log10_separation=-4.0))
    else:
        points = draw(readable_directions(count + own, dimension))
    # the candidates are the training points and perhaps one more, some of them twice
    total = count + own
    repeated = [(total - 1 - place) % total for place in range(repetitions)]
    candidates = np.concatenate([points, points[repeated]])
    weights = draw(readable_arrays((count + total + repetitions,)))
    alpha, beta = weights[:count], weights[count:].copy()
    if draw(st.booleans()):  # the same measure, written otherwise: shares moved to the repetitions
        beta[:count] = alpha
        beta[count:total] = 0.0
        for place, point in enumerate(repeated):
            beta[point] -= beta[total + place]
    biased = draw(st.booleans())
    theta = random_parameters(draw(st.integers(0, 99)), dimension, biased)
    training = Measure(points[:count], alpha)
    return Pair(theta, training, Measure(candidates, beta), draw(st.integers(1, 2)), float(biased))


@st.composite
def antipodal_pairs(draw):
    """Training points z_1, ..., z_d, z with positive coefficients, the candidates opposite to them; often Σ b_j z_j = 0."""
    dimension = draw(st.integers(2, 3))
    points, weights = draw(readable_directions(dimension, dimension)), draw(readable_arrays((dimension,), nonzero=True))
    last = -(weights @ points) if draw(st.booleans()) else draw(readable_directions(1, dimension))[0]
    points, weights = np.vstack([points, last]), np.append(weights, 1.0)
    theta = random_parameters(draw(st.integers(0, 99)), dimension, biased=False)
    return Pair(theta, Measure(points, weights), Measure(-points + 0.0, weights), 1, 0.0)


theorem.instances(pairs())


def difference(pair):
    """μ_T - μ_R with coinciding points merged; atoms of coefficient zero stay."""
    points = np.concatenate([pair.training.points, pair.candidates.points])
    return Measure(points, np.concatenate([pair.training.coefficients, -pair.candidates.coefficients])).merged()


def on_one_line(first, second):
    return rank(np.stack([first, second])) < 2


@theorem.hypothesis("the kernels are strictly positive definite on the points", arithmetic=RATIONAL)
def strictly_positive_definite(pair):
    points = difference(pair).points
    features = tangents(pair.parameters.architecture, pair.parameters, points)[:, 0]
    if rank(features) < len(points):
        return False
    if pair.bias_variance:
        return True
    same_line = [(x, z) for i, x in enumerate(points) for z in points[:i] if on_one_line(x, z)]
    if pair.depth == 1:
        return not same_line
    return all(x @ z < 0 for x, z in same_line)


@theorem.degenerate
def nothing_to_tell_apart(pair):
    return not pair.training.coefficients.any() and not pair.candidates.coefficients.any()


def finite_loss(pair):
    """The loss from the embeddings, the Gram matrix and the merged difference: a finite network."""
    theta = pair.parameters
    embedded = [embed(theta.architecture, theta, measure).vector() for measure in (pair.training, pair.candidates)]
    gap, merged = embedded[0] - embedded[1], difference(pair)
    return gap @ gap, tangent_kernel(theta.architecture, theta, merged.points), merged.coefficients


def infinite_loss(pair):
    """The same at infinite width; the loss from the training set and the candidates as they are listed."""
    kernel, merged = ntk(int(pair.depth), "relu", bias_variance=float(pair.bias_variance)), difference(pair)
    x, alpha = pair.training.points, pair.training.coefficients
    z, beta = pair.candidates.points, pair.candidates.coefficients
    loss = alpha @ kernel(x) @ alpha - 2 * (alpha @ kernel(x, z) @ beta) + beta @ kernel(z) @ beta
    return loss, kernel(merged.points), merged.coefficients


def smallest_eigenvalue_bound(gram):
    """det(G)·((n - 1)/tr G)^{n-1}, which is at most the smallest eigenvalue."""
    n, bound = len(gram), determinant(gram)
    for _ in range(n - 1):
        bound = bound * (n - 1) / np.trace(gram)
    return bound


def magnitude(pair, gram):
    """The size of the terms that cancel in the loss."""
    total = abs(pair.training.coefficients).sum() + abs(pair.candidates.coefficients).sum()
    return total * total * np.trace(gram)


def consequences(pair, loss, gram, coefficients, *, factor=1):
    """The bound with its constant multiplied by a factor, and what it implies."""
    size = magnitude(pair, gram)
    # balls decide equalities of transcendental numbers to as many digits as one asks for: 30 here
    slack = size / 2**100 if kind(gram) == "ball" else 0 * size
    # 8 units with at most 3 inputs, at most 9 atoms: chains of fewer than 60 roundings
    bound = factor * smallest_eigenvalue_bound(gram) * (coefficients @ coefficients)
    yield at_most(bound, loss + slack, operations=60, magnitude=size, name="L >= det(G)·((n-1)/tr G)^(n-1)·‖c‖²")
    if all(entry == 0 for entry in coefficients):
        yield at_most(abs(loss), slack, operations=60, magnitude=size, name="L = 0 if both agree after merging")
    elif kind(gram) != "float64":
        yield less(0 * loss, loss, operations=60, name="L > 0 if they differ after merging")


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def loss_determines_measure(pair):
    arithmetic = kind(pair.training.points)
    if arithmetic != "ball":
        yield from consequences(pair, *finite_loss(pair))
    if arithmetic != "rational":
        loss, gram, coefficients = infinite_loss(pair)
        yield from consequences(pair, loss, gram, coefficients)
        if arithmetic == "ball":
            volume = determinant(gram)
            yield less(0 * volume, volume, operations=60, name="the Gram matrix of infinite width is positive definite")


@theorem.derivation(covers="Gram matrices of at most three points, and merging")
def bounds_for_small_matrices():
    import sympy as sp

    small, other, third = sp.symbols("p q r", positive=True)
    yield identity(
        "n = 2: λ - det/tr = λ²/(λ + μ) >= 0",
        small - small * other / (small + other),
        small**2 / (small + other),
    )
    product_bound = (small + other + third) ** 2 - 4 * other * third
    yield identity(
        "n = 3: (tr G/2)² - μν is ((μ-ν)² + λ² + 2λ(μ+ν))/4 >= 0",
        product_bound / 4,
        ((other - third) ** 2 + small**2 + 2 * small * (other + third)) / 4,
    )
    a, b, g = sp.symbols("a b g")
    yield identity(
        "coinciding points: only the sum of coefficients enters", g * (a**2 + 2 * a * b + b**2), g * (a + b) ** 2
    )


@theorem.without("the kernels are strictly positive definite on the points")
def three_antipodal_pairs_in_the_plane():
    # x_1 + x_2 + x_3 = 0: the atoms x_j and -x_j with coefficients 1 and -1 embed to zero without being zero
    points = np.array([[1.0, 0.0], [0.0, 1.0], [-1.0, -1.0]])
    weight = [[1, 0.5], [0.5, -1], [-0.5, 0.25], [-1, -0.75], [0.25, 1], [2, -1]]
    theta = two_layer(weight, None, np.ones(6))
    return Pair(theta, Measure(points, np.ones(3)), Measure(-points, np.ones(3)), 1, 0.0)


@theorem.false_twin(
    "L = 0 only if the candidates are the training points, in some order", arithmetics=(FLOAT64, RATIONAL)
)
def without_merging(pair):
    loss, gram, _ = finite_loss(pair)
    lists = [
        sorted((tuple(map(float, x)), float(c)) for x, c in zip(m.points, m.coefficients, strict=True))
        for m in (pair.training.without_null_atoms(), pair.candidates.without_null_atoms())
    ]
    if lists[0] == lists[1]:
        return holds(True, name="nothing is claimed")
    return less(0 * loss, loss, operations=60, magnitude=magnitude(pair, gram), name="L > 0 for different lists")


@theorem.false_twin(
    "L = 0 only if every candidate with a coefficient is a training point", arithmetics=(FLOAT64, RATIONAL)
)
def every_candidate(pair):
    loss, gram, _ = finite_loss(pair)
    training = {tuple(map(float, x)) for x in pair.training.points}
    if all(tuple(map(float, z)) in training for z in pair.candidates.without_null_atoms().points):
        return holds(True, name="nothing is claimed")
    return less(0 * loss, loss, operations=60, magnitude=magnitude(pair, gram), name="L > 0 with a stray candidate")


@theorem.false_twin(
    "distinct directions suffice without bias and with one hidden layer",
    without=("the kernels are strictly positive definite on the points",),
    instances=antipodal_pairs(),
    arithmetics=(FLOAT64, RATIONAL),
)
def distinct_directions(pair):
    loss, gram, coefficients = finite_loss(pair)
    points = difference(pair).points
    one_ray = any(on_one_line(x, z) and x @ z >= 0 for i, x in enumerate(points) for z in points[:i])
    if one_ray or all(entry == 0 for entry in coefficients):
        return holds(True, name="nothing is claimed")
    return less(0 * loss, loss, operations=60, magnitude=magnitude(pair, gram), name="L > 0 for different measures")


@theorem.false_twin("L is 1 % larger than the bound on the smallest eigenvalue allows", arithmetics=(FLOAT64, RATIONAL))
def one_per_cent_more(pair):
    loss, gram, coefficients = finite_loss(pair)
    return next(consequences(pair, 100 * loss, gram, coefficients, factor=101))
