"""The reconstruction loss is a squared distance in the kernel's Hilbert space: a quadratic form in kernel values.

Two signed measures μ_T = Σ α_i δ_{x_i} (training set and dual coefficients) and μ_R = Σ β_j δ_{z_j} (candidates and their
coefficients), embedded by the tangents of one network at one parameter vector θ, Φμ = Σ_i α_i ∇_θ f(x_i; θ), have

    ‖Φμ_T - Φμ_R‖² = αᵀK_TT α - 2αᵀK_TR β + βᵀK_RR β

with the tangent kernel K at θ; for C outputs coefficients are vectors and K is a matrix of C × C blocks. It is the squared
maximum mean discrepancy of the two measures. With the kernel of infinite width in place of K the right-hand side is the
squared norm of h_T - h_R in its Hilbert space: it is nonnegative, depends on the measure μ_T - μ_R alone, and bounds the
difference of the two functions everywhere, |h_T(x) - h_R(x)|² ≤ k(x, x)·L. A network of width m has this value up to an error
of order m^{-1/2}.

Notes
-----
Both sides are the quadratic form of one vector, Φμ_T - Φμ_R; by bilinearity two atoms on each side stand for all.

The loss was read in the authors' code (which embeds the candidates at the trained parameters θ_f): the identity needs one θ.
A change of features between θ_0 and θ_f breaks it, unless the network is linearised or infinitely wide.
"""

from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU
from provable.arithmetic import constant, kind, sqrt
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters, embed, tangent_kernel
from provable.theorems import BALL, FLOAT64, RATIONAL, Source, Theorem, at_most, equal, identity, less
from provable.theorems.strategies import arrays

theorem = Theorem(
    statement=r"""For measures $\mu_T = \sum_i \alpha_i\delta_{x_i}$, $\mu_R = \sum_j \beta_j\delta_{z_j}$ embedded at one
    $\theta$, $L = \|\Phi_\theta\mu_T - \Phi_\theta\mu_R\|^2
    = \alpha^TK_{TT}\alpha - 2\alpha^TK_{TR}\beta + \beta^TK_{RR}\beta$ with the tangent kernel at $\theta$. For the kernel
    $k$ of infinite width this form is nonnegative, depends on $\mu_T - \mu_R$ only, and
    $|h_T(x) - h_R(x)|^2 \le k(x, x)\,L$ for $h_\mu = \int k(\cdot, z)\,d\mu(z)$.""",
    source=Source(
        "Loo, Hasani, Lechner, Amini, Rus, arXiv:2302.01428v2",
        "reconstruction loss",
        "loss read in the authors' code; the identity is derived here",
    ),
    expected="proved",
    does_not_say="that finite networks approach the infinite width at the rate -1/2 is measured, not proved",
)


@dataclass(frozen=True)
class Pair:
    """Two measures, the parameters at which each is embedded, and a point where functions are compared."""

    parameters: Parameters
    other_parameters: Parameters
    training: Measure
    candidates: Measure
    probe: np.ndarray
    depth: int
    bias_variance: float


ACTIVATIONS = (ReLU(), LeakyReLU(negative_slope=0.25), Polynomial((0.0, 1.0, 0.5)))


@st.composite
def pairs(draw, *, same=True, rescaled=False):
    dimension, outputs, hidden = draw(st.integers(1, 2)), draw(st.integers(1, 2)), draw(st.integers(0, 2))
    activation, bias = draw(st.sampled_from(ACTIVATIONS)), not rescaled and draw(st.booleans())
    layers = [layer for _ in range(hidden) for layer in (Linear(2, bias=bias), activation)]
    network = Architecture("drawn", (dimension,), (*layers, Linear(outputs, bias=bias)), "squared")
    count, atoms = network.parameter_count, draw(st.integers(1, 3))
    sizes = [count, atoms * dimension, atoms * outputs, 2 * dimension, 2 * outputs, dimension, 0 if same else count]
    # all numbers in one draw, which shrinks faster than one for each array
    numbers = draw(arrays((sum(sizes),)))
    theta, points, weights, candidates, other_weights, probe, moved = np.split(numbers, np.cumsum(sizes)[:-1])
    training = Measure(points.reshape(atoms, dimension), weights.reshape(atoms, outputs))
    other = Measure(candidates.reshape(2, dimension), other_weights.reshape(2, outputs))
    if draw(st.integers(0, 4)) == 4:  # nearly the same measure: the terms cancel
        other = Measure(training.points + 2.0**-20, training.coefficients)
    if rescaled:
        other = Measure(2 * training.points, training.coefficients / 2)
    parameters = Parameters.from_vector(network, theta)
    return Pair(
        parameters,
        parameters if same else Parameters.from_vector(network, moved),
        training,
        other,
        probe[None],
        draw(st.integers(1, 2)),
        draw(st.sampled_from((0.0, 1.0))),
    )


theorem.instances(pairs())


@theorem.hypothesis("both measures are embedded at the same parameters")
def one_theta(pair):
    return pair.parameters == pair.other_parameters


def distance(pair):
    """‖Φμ_T - Φμ_R‖² from the two embeddings."""
    ours, theirs = (
        embed(theta.architecture, theta, measure).vector()
        for theta, measure in ((pair.parameters, pair.training), (pair.other_parameters, pair.candidates))
    )
    return (ours - theirs) @ (ours - theirs)


def kernels(pair, kernel):
    """The values of a kernel on training × training, training × candidates, candidates × candidates."""
    x, z = pair.training.points, pair.candidates.points
    return kernel(x, x), kernel(x, z), kernel(z, z)


def form(alpha, beta, blocks, *, cross=2, second=1):
    """αᵀK_TT α - cross·αᵀK_TR β + second·βᵀK_RR β."""
    ours, between, theirs = blocks
    return alpha @ ours @ alpha - cross * (alpha @ between @ beta) + second * (beta @ theirs @ beta)


def finite_form(pair, **factors):
    theta = pair.parameters
    alpha, beta = pair.training.coefficients.reshape(-1), pair.candidates.coefficients.reshape(-1)
    blocks = kernels(pair, lambda x, z: tangent_kernel(theta.architecture, theta, x, z))
    return form(alpha, beta, blocks, **factors)


def finite_size(pair):
    """The size of the terms that cancel: the form of the absolute values, with kernel values bounded by Cauchy-Schwarz."""
    theta = pair.parameters
    total = 0.0
    for measure in (pair.training, pair.candidates):
        diagonal = np.diag(tangent_kernel(theta.architecture, theta, measure.points))
        total += float(np.sqrt(np.maximum(diagonal, 0.0)) @ abs(measure.coefficients.reshape(-1)))
    return total**2


def first_output(pair):
    """The coefficients of the first output: the infinite width treats outputs separately."""
    return pair.training.coefficients[:, 0], pair.candidates.coefficients[:, 0]


def infinite_form(pair, **factors):
    return form(*first_output(pair), kernels(pair, infinite_kernel(pair)), **factors)


def infinite_kernel(pair):
    return ntk(int(pair.depth), "relu", bias_variance=float(pair.bias_variance))


def infinite_size(pair):
    """The size of the terms that cancel."""
    kernel = infinite_kernel(pair)
    total = sum(
        sqrt(np.diag(kernel(measure.points))) @ abs(measure.coefficients[:, 0])
        for measure in (pair.training, pair.candidates)
    )
    return total * total


def merged_difference(pair):
    """The measure μ_T - μ_R, for the first output, with coinciding points merged."""
    alpha, beta = first_output(pair)
    points = np.concatenate([pair.training.points, pair.candidates.points])
    return Measure(points, np.concatenate([alpha, -beta])).merged()


def function_gap(pair):
    """|h_T - h_R|² at the probe, and k there."""
    kernel, (alpha, beta) = infinite_kernel(pair), first_output(pair)
    values = [kernel(pair.probe, m.points)[0] for m in (pair.training, pair.candidates)]
    gap = values[0] @ alpha - values[1] @ beta
    return gap * gap, kernel(pair.probe)[0, 0]


@theorem.claim(arithmetics=(FLOAT64, RATIONAL, BALL))
def squared_distance(pair):
    arithmetic = kind(pair.probe)
    if arithmetic != "ball":
        # chains of at most 12 roundings forward, 12 backward, 3 over the atoms and 18 over the parameters
        size = finite_size(pair) if arithmetic == "float64" else None
        yield equal(distance(pair), finite_form(pair), operations=45, magnitude=size, name="‖Φμ_T - Φμ_R‖² is the form")
    if arithmetic == "rational":
        return
    value, difference, size = infinite_form(pair), merged_difference(pair), infinite_size(pair)
    of_difference = difference.coefficients @ infinite_kernel(pair)(difference.points) @ difference.coefficients
    gap, variance = function_gap(pair)
    # balls decide relations of transcendental numbers to as many digits as one asks for: 30 here
    slack = size / 2**100
    yield at_most(-slack, value, operations=60, magnitude=size, name="the form of the infinite width is nonnegative")
    yield at_most(abs(value - of_difference), slack, operations=60, magnitude=size, name="it depends on μ_T - μ_R only")
    yield at_most(
        gap,
        variance * (value + slack),
        operations=120,
        magnitude=variance * size,
        name="|h_T(x) - h_R(x)|² <= k(x, x) L",
    )


@theorem.derivation
def by_bilinearity():
    import sympy as sp

    alpha, beta = sp.symbols("alpha0 alpha1"), sp.symbols("beta0 beta1")
    ours = [sp.Matrix(sp.symbols(f"p{i}0 p{i}1")) for i in range(2)]
    theirs = [sp.Matrix(sp.symbols(f"q{i}0 q{i}1")) for i in range(2)]
    difference = sum((a * p for a, p in zip(alpha, ours, strict=True)), sp.zeros(2, 1)) - sum(
        (b * q for b, q in zip(beta, theirs, strict=True)), sp.zeros(2, 1)
    )
    quadratic = (
        sum(alpha[i] * alpha[j] * ours[i].dot(ours[j]) for i in range(2) for j in range(2))
        - 2 * sum(alpha[i] * beta[j] * ours[i].dot(theirs[j]) for i in range(2) for j in range(2))
        + sum(beta[i] * beta[j] * theirs[i].dot(theirs[j]) for i in range(2) for j in range(2))
    )
    yield identity("two atoms and two candidates: the squared norm is the form", difference.dot(difference), quadratic)
    probe = sp.Matrix(sp.symbols("x0 x1"))
    gram = probe.dot(probe) * difference.dot(difference) - probe.dot(difference) ** 2
    determinant = sp.Matrix.hstack(probe, difference).det()
    yield identity("k(x, x)·L - (h_T - h_R)(x)² is a square, in the plane of both vectors", gram, determinant**2)
    merged = (alpha[0] + alpha[1]) * ours[0]
    yield identity("atoms at one point add up", alpha[0] * ours[0] + alpha[1] * ours[0], merged)


@theorem.without("both measures are embedded at the same parameters")
def features_that_have_moved():
    network = Architecture("linear", (1,), (Linear(1, bias=False), ReLU(), Linear(1, bias=False)), "squared")
    before, after = (
        Parameters(network, {"0/weight": np.array([[w]]), "2/weight": np.array([[1.0]])}) for w in (1.0, 2.0)
    )
    atom = Measure(np.array([[1.0]]), np.array([[1.0]]))
    return Pair(before, after, atom, atom, np.array([[1.0]]), 1, 0.0)


@theorem.rate(
    exponent=-0.5,
    sizes=(16, 64, 256, 1024),
    false_exponents={"the limit is reached like 1/m": -1.0, "the limit is reached like m^(-1/4)": -0.25},
)
def finite_width_error(width, rng):
    """Relative root mean square difference between a width-m network's form and the infinite width's, over 8 networks."""
    points, coefficients = np.eye(4, 3) - 0.5 * np.ones((4, 3)), np.array([1.0, -2.0, 1.0, 0.5])
    expected = coefficients @ ntk(1, "relu")(points) @ coefficients
    layers = (Linear(width, bias=False), ReLU(), Linear(1, bias=False))
    network = Architecture("wide", (3,), layers, "squared")
    # weight variance 2 in both layers; the tangents carry the factor √(2/fan-in) of the NTK parametrisation
    scales = {"0/weight": np.sqrt(2 / 3), "2/weight": np.sqrt(2 / width)}
    errors = []
    for _ in range(8):
        arrays = {name: scales[name] * rng.standard_normal(shape) for name, shape in network.parameter_shapes.items()}
        embedded = embed(network, Parameters(network, arrays), Measure(points, coefficients))
        errors.append(sum(np.sum((scales[name] * part) ** 2) for name, part in embedded.items()) / expected - 1)
    return float(np.sqrt(np.mean(np.square(errors))))


EXACTLY = (FLOAT64, RATIONAL)


def float_size(pair):
    return finite_size(pair) if kind(pair.probe) == "float64" else None


@theorem.false_twin("the cross term counts once", arithmetics=EXACTLY)
def cross_term_once(pair):
    return equal(distance(pair), finite_form(pair, cross=1), operations=45, magnitude=float_size(pair))


@theorem.false_twin("the form is an upper bound even with 1 % less of the candidates' term", arithmetics=EXACTLY)
def one_per_cent_less(pair):
    smaller = finite_form(pair, second=constant(Fraction(99, 100), pair.probe))
    return at_most(distance(pair), smaller, operations=45, magnitude=float_size(pair))


@theorem.false_twin(
    "different measures have a positive distance",
    instances=st.one_of(pairs(), pairs(rescaled=True)),
    arithmetics=EXACTLY,
)
def positive_distance(pair):
    value, difference = distance(pair), merged_difference(pair).without_null_atoms()
    if difference.size == 0:
        return at_most(0 * value, value, operations=45)
    return less(0 * value, value, operations=45, magnitude=float_size(pair), name="L > 0 for different measures")


@theorem.false_twin(
    "the candidates may be embedded at other parameters than the training set",
    without=("both measures are embedded at the same parameters",),
    instances=pairs(same=False),
    arithmetics=EXACTLY,
)
def moved_features(pair):
    return equal(distance(pair), finite_form(pair), operations=45, magnitude=float_size(pair))
