r"""A change of parameters says at most d + 1 numbers per hidden unit: with fewer units than samples the data stay open.

One hidden layer of m ReLUs, one output, N samples (x_j, α_j) in d dimensions; J the Jacobian of (X, α) ↦ Σ_j α_j ∇f(x_j).
The parameters are P = m (d + 2) + 1 with biases and m (d + 1) without, but the change of an output weight is determined by
that of its unit's weights: a_k Δa_k = ⟨w_k, Δw_k⟩ + b_k Δb_k. Therefore

    rank J <= min(N (d + 1), m (d + 1) + 1)   with biases,
    rank J <= min(N d, m d)                   without.

Without biases N of the unknowns, the norms, are never seen. Where the rank is below the number of unknowns, whole curves
of other data leave the same change: the law p ≈ dn of random features, with p the first layer's parameters alone. The
bounds are attained, so that no sharper count exists.

Notes
-----
Proof. On a cell of fixed active units the component in w_k is a_k Σ_j α_j s_jk x_j, that in b_k is a_k Σ_j α_j s_jk, that
in a_k is Σ_j α_j s_jk (w_k·x_j + b_k), and that in the last bias Σ_j α_j. The third is the stated combination of the first
two (multiply by a_k), so J has no more independent rows than m (d + 1) + 1, or m d; a unit with a_k = 0 leaves one row, Δa_k.
Without biases x_j ∂/∂x_j - α_j ∂/∂α_j is in the kernel of J for every j with x_j ≠ 0, and for x_j = 0 the columns of α_j
vanish. If J has constant rank r below the number of unknowns near (X, α), which holds on an open dense set, the fibre
there is a manifold of positive dimension, by the constant rank theorem.

Source: derived here. The count p ≈ dn is that of Iurada et al., arXiv:2509.21296, for random features; here it is exact.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, constant, full, positive, rank
from provable.networks import Parameters, tangents
from provable.theorems import Source, Theorem, equal, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let $f(x) = a^T\mathrm{relu}(Wx + b) + a_0$ with $m$ hidden units, $J$ the Jacobian of
    $(x_j, \alpha_j)_{j \le N} \mapsto \sum_j \alpha_j\nabla_\theta f(x_j; \theta)$, and no unit on a kink. Then
    $\mathrm{rank}\,J \le \min(N(d + 1), m(d + 1) + 1)$ with biases and $\mathrm{rank}\,J \le \min(Nd, md)$ without, although
    there are $m(d + 2) + 1$ and $m(d + 1)$ parameters.""",
    source=Source("derived", note="the count p = dn, cf. arXiv:2509.21296, is made exact for parameter changes"),
    expected="proved",
    does_not_say="that the bounds are attained is shown for the sizes listed in a derivation, by exact ranks",
)

ONE_LAYER = "there is one hidden layer"


@dataclass(frozen=True)
class Samples:
    """A network, points (N, d) and their coefficients (N,)."""

    parameters: Parameters
    points: np.ndarray
    coefficients: np.ndarray


def architecture(dimension, width, bias, hidden=1):
    layers = ()
    for _ in range(hidden):
        layers += (Linear(width, bias=bias), ReLU())
    return Architecture("dense", (dimension,), (*layers, Linear(1, bias=bias)), "squared")


def networks(*, bias=None, hidden=1, shapes=None):
    def strategy(draw):
        if shapes is None:
            dimension, width, count = draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(1, 3))
        else:
            dimension, width, count = draw(st.sampled_from(shapes))
        net = architecture(dimension, width, draw(st.booleans()) if bias is None else bias, hidden)
        sizes = [net.parameter_count, count * dimension, count]
        numbers, points, weights = np.split(draw(readable_arrays((sum(sizes),), nonzero=True)), np.cumsum(sizes)[:-1])
        return Samples(Parameters.from_vector(net, numbers), points.reshape(count, dimension), weights)

    return strategy


theorem.instances(networks())


def has_bias(samples):
    return samples.parameters.architecture.layers[0].bias


def width_of(samples):
    return len(samples.parameters["0/weight"])


@theorem.hypothesis(ONE_LAYER)
def one_hidden_layer(samples):
    return len(samples.parameters.architecture.layers) == 3


def jacobian(samples):
    """J, one row for every unknown: the points' coordinates, then the coefficients. Exact: between kinks all is affine."""
    net, theta = samples.parameters.architecture, samples.parameters
    here = tangents(net, theta, samples.points)[:, 0]
    rows = []
    for index in range(len(samples.points)):
        for direction in derivatives(samples, samples.points[index]):
            rows.append(samples.coefficients[index] * direction)
    return np.concatenate([np.array(rows), here])


def derivatives(samples, point):
    """Derivatives of ∇_θ f by the coordinates of a point, in the order of the parameters."""
    theta, dimension = samples.parameters, len(point)
    zero = full((1,), 0, point)
    current, hidden = point, []
    moved = [unit(dimension, axis, point) for axis in range(dimension)]
    names = [f"{index}/weight" for index, layer in enumerate(theta.architecture.layers) if isinstance(layer, Linear)]
    slopes, pushed = [], [moved]
    for name in names[:-1]:
        before = theta[name] @ current
        if has_bias(samples):
            before = before + theta[name.replace("weight", "bias")]
        on = np.where(positive(before), constant(1, point), constant(0, point))
        slopes.append(on)
        current = before * on
        moved = [on * (theta[name] @ step) for step in moved]
        hidden.append(current)
        pushed.append(moved)
    deltas = [np.array([constant(1, point)])]
    for name, on in zip(names[:0:-1], slopes[::-1], strict=True):
        deltas.insert(0, on * (theta[name].T @ deltas[0]))
    for axis in range(dimension):
        pieces = []
        for level, delta in enumerate(deltas):
            pieces.append((delta[:, None] * pushed[level][axis][None, :]).reshape(-1))
            if has_bias(samples):  # δ is constant between kinks
                pieces.append(zero[0] * delta)
        yield np.concatenate(pieces)


def unit(size, place, like):
    vector = full((size,), 0, like)
    vector[place] = constant(1, like)
    return vector


def bound(samples):
    count, dimension = samples.points.shape
    width = width_of(samples)
    if has_bias(samples):
        return min(count * (dimension + 1), width * (dimension + 1) + 1)
    return min(count * dimension, width * dimension)


@theorem.claim(arithmetics=(RATIONAL,))
def count(samples):
    yield holds(rank(jacobian(samples)) <= bound(samples), name="rank J <= the bound")
    if one_hidden_layer(samples):
        theta = samples.parameters
        embedded = samples.coefficients @ tangents(theta.architecture, theta, samples.points)[:, 0]
        pieces = theta.from_vector(theta.architecture, embedded)
        left = (theta["0/weight"] * pieces["0/weight"]).sum(axis=1)
        if has_bias(samples):
            left = left + theta["0/bias"] * pieces["0/bias"]
        right = theta["2/weight"][0] * pieces["2/weight"][0]
        yield equal(left, right, operations=1, name="<w_k, Δw_k> + b_k Δb_k = a_k Δa_k")


@theorem.derivation
def two_kinds_of_dependence():
    import sympy as sp

    a, s, alpha, w, b, x, t = sp.symbols("a s alpha w b x t")
    # One sample and one coordinate: sums over both are of such terms.
    by_weight, by_bias, by_output = a * alpha * s * x, a * alpha * s, alpha * s * (w * x + b)
    yield identity("w Δw + b Δb = a Δa", w * by_weight + b * by_bias, a * by_output)
    for name, component in (("w", a * alpha * s * x), ("a", alpha * s * w * x)):
        yield identity(
            f"without biases x ∂/∂x - α ∂/∂α kills the component in {name}",
            x * sp.diff(component, x) - alpha * sp.diff(component, alpha),
            0,
        )
    yield identity("it moves along (t x, α / t)", sp.diff(t * x, t).subs(t, 1), x)
    yield identity("and its coefficient", sp.diff(alpha / t, t).subs(t, 1), -alpha)


@theorem.derivation(
    covers="the sizes d in {1, 2, 3}, m up to 6 and N up to 4 that are listed, one network and data set each"
)
def attained():
    for bias, dimension, width, size in itertools.product((True, False), (1, 2, 3), (2, 6), (1, 2, 4)):
        if not bias and dimension == 1:  # on a line through the origin there are two cells, for any number of units
            continue
        wanted = bound(next(candidates(bias, dimension, width, size)))
        reached = any(rank(jacobian(samples)) == wanted for samples in candidates(bias, dimension, width, size))
        yield fact(f"bias {bias}, d = {dimension}, m = {width}, N = {size}: the rank {wanted} is attained", reached)


def candidates(bias, dimension, width, size):
    """Networks of integers, all of them reproducible."""
    for seed in range(60):
        rng = np.random.default_rng([seed, dimension, width, size])
        net = architecture(dimension, width, bias)
        # odd multiples of a half at the biases keep integers off the kinks
        values = {
            key: rng.integers(1, 60 if key == "0/bias" else 9, shape) * rng.choice([-1.0, 1.0], shape)
            - (0.5 if key == "0/bias" else 0.0)
            for key, shape in net.parameter_shapes.items()
        }
        points = rng.integers(1, 9, (size, dimension)) * rng.choice([-1.0, 1.0], (size, dimension))
        yield RATIONAL.convert(Samples(Parameters(net, values), points + 0.0, np.ones(size)))


@theorem.without(ONE_LAYER)
def two_layers():
    # x = 1 is seen by both units, x = -1 by the second alone, x = 3 by the first alone: four sums are shown, not three
    net = architecture(1, 1, True, hidden=2)
    theta = Parameters.from_vector(net, np.array([1.0, 0.0, -1.0, 2.0, 1.0, 0.0]))
    return Samples(theta, np.array([[1.0], [-1.0], [3.0]]), np.ones(3))


SQUARES = [(1, 2, 1), (2, 3, 1), (1, 3, 2)]


@theorem.false_twin(
    "without biases the norms are seen too, if there are parameters enough: rank J = min(N (d + 1), P)",
    instances=networks(bias=False, shapes=SQUARES),
)
def norms_are_seen(samples):
    count_, dimension = samples.points.shape
    parameters = samples.parameters.architecture.parameter_count
    return holds(
        rank(jacobian(samples)) == min(count_ * (dimension + 1), parameters), name="rank J = min(N (d + 1), P)"
    )


@theorem.false_twin(
    "every parameter counts: rank J = P where there are as many unknowns",
    instances=networks(bias=True, shapes=[(1, 1, 2), (1, 1, 3), (2, 1, 2)]),
)
def every_parameter_counts(samples):
    parameters = samples.parameters.architecture.parameter_count
    unknowns = samples.points.size + len(samples.points)
    return holds(rank(jacobian(samples)) == min(unknowns, parameters), name="rank J = min(N (d + 1), P)")


@theorem.false_twin("the bound is attained whatever the active units", instances=networks())
def always_attained(samples):
    return holds(rank(jacobian(samples)) == bound(samples), name="rank J = the bound")


@theorem.false_twin(
    "the output's bias adds nothing: rank J <= m (d + 1)",
    instances=networks(bias=True, shapes=[(1, 1, 2), (1, 1, 3), (2, 1, 2)]),
)
def no_output_bias(samples):
    dimension = samples.points.shape[1]
    return holds(rank(jacobian(samples)) <= width_of(samples) * (dimension + 1), name="rank J <= m (d + 1)")


def seen_in_parts(draw):
    """Three points on a line: one active in both layers of one unit each, one in the second alone, one in the first alone."""
    net = architecture(1, 1, True, hidden=2)
    w, v, a, near, far = (abs(number) for number in draw(readable_arrays((5,), nonzero=True)))
    points = np.array([[near], [-near], [near + far]])
    # the second unit is active for preactivations below v w (near + far / 2)
    values = np.array([w, 0.0, -v, v * w * (near + far / 2), a, 0.0])
    return Samples(Parameters.from_vector(net, values), points, draw(readable_arrays((3,), nonzero=True)))


@theorem.false_twin("a second hidden layer adds nothing", without=(ONE_LAYER,), instances=seen_in_parts)
def deeper(samples):
    return holds(rank(jacobian(samples)) <= bound(samples), name="rank J <= the bound of one hidden layer")
