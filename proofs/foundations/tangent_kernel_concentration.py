r"""How fast the tangent kernel of a finite network reaches the infinite width: exactly V/m, with V in closed form.

The network f(x) = √(σ²/m) Σ_j a_j relu(√(σ²/d) w_j·x), m neurons, all entries of a and w_j independent N(0, 1) and trained,
has at initialisation the tangent kernel K_m = (1/m) Σ_j k_j with one independent matrix for each neuron,

    k_j(x, z) = σ² relu(v_j·x) relu(v_j·z) + σ² s a_j² 1[v_j·x > 0] 1[v_j·z > 0],   v_j = √(σ²/d) w_j,   s = σ² x·z/d.

With p = σ²‖x‖²/d, q = σ²‖z‖²/d and the angle θ between x and z, the expectations of the powers of one neuron's outputs are

    h_0 = (π - θ)/(2π),   h_1 = √(pq)[sin θ + (π - θ) cos θ]/(2π),   h_2 = pq[(π - θ)(1 + 2 cos²θ) + 3 sin θ cos θ]/(2π)

(the arc-cosine kernels of Cho and Saul), so that K_m has the mean K(x, z) = σ²(s h_0 + h_1), which is the kernel of infinite
width for every m, and the variance V(x, z)/m with

    V = σ⁴[3s² h_0 + 2s h_1 + h_2 - (s h_0 + h_1)²].

Therefore E‖K_m - K‖_F² = ΣV/m exactly, the relative error falls like m^{-1/2}, no faster, and with probability at least 1 - δ
it is at most √(ΣV/(mδ))/‖K‖_F (Chebyshev). On the diagonal V = 3K²: the relative standard deviation of ‖∇f(x)‖² is √(3/m),
whatever the input, its dimension and σ. Off the diagonal it is larger where the gradients are nearly orthogonal.

Notes
-----
Proof. The gradient by a_j is √(σ²/m) relu(v_j·x), that by w_j is √(σ²/m) √(σ²/d) a_j 1[v_j·x > 0] x: summing their products
over j gives the mean over neurons. For the moments write v_j·x = √p r cos φ, v_j·z = √q r cos(φ - θ), with r and φ the polar
coordinates of a standard normal pair: r² has moments E r² = 2 and E r⁴ = 8, φ is uniform, and both are positive for
θ - π/2 < φ < π/2. Indicators are their own squares, and a_j is independent of v_j with E a² = 1, E a⁴ = 3. The variance of a
mean of m independent copies is that of one over m.

For deeper networks the neurons of a layer share those of the layer before, and neither the mean nor the variance is exact;
the exponent -1/2 is measured there, in the operator norm.
"""

from dataclasses import dataclass
from fractions import Fraction

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import constant, full, kind
from provable.kernels import ntk
from provable.networks import Parameters, tangent_gram, tangents
from provable.theorems import BALL, FLOAT64, RATIONAL, Source, Theorem, at_most, equal, identity
from provable.theorems.strategies import arrays

theorem = Theorem(
    statement=r"""Let $K_m$ be the tangent kernel at initialisation of $f(x) = \sqrt{\sigma^2/m}\sum_{j\le m} a_j
    \mathrm{relu}(\sqrt{\sigma^2/d}\,w_j\cdot x)$ with independent standard normal $a$, $w$. Then $K_m$ is a mean of $m$
    independent copies, $EK_m = K$ is the kernel of infinite width, and $\mathrm{Var}\,K_m(x, z) = V(x, z)/m$ with
    $V = \sigma^4[3s^2h_0 + 2sh_1 + h_2 - (sh_0 + h_1)^2]$, $s = \sigma^2x\cdot z/d$ and $h_k$ the arc-cosine moments;
    $V = 3K^2$ for $x = z$. Hence $E\|K_m - K\|_F^2 = m^{-1}\sum V$.""",
    source=Source(
        "Jacot, Gabriel, Hongler, NeurIPS 2018",
        "Theorem 1, with its rate",
        "the limit is theirs; mean, variance and rate at finite width are derived here",
    ),
    expected="proved",
    does_not_say="anything of deeper networks, for which the exponent -1/2 is measured and not derived",
)


@dataclass(frozen=True)
class Layer:
    """Two inputs, and the neurons of one network: pre-activation weights v_j and output weights a_j."""

    points: np.ndarray
    neurons: np.ndarray
    outputs: np.ndarray
    variance: int


@theorem.instances
def layers(draw):
    dimension, width = draw(st.integers(1, 3)), draw(st.integers(1, 4))
    # all numbers in one draw, which shrinks faster than one for each array
    numbers = draw(arrays((2 + width, dimension + 1)))
    if draw(st.integers(0, 3)) == 3:  # twice the same point
        numbers[1] = numbers[0]
    points, neurons = numbers[:2, :dimension], numbers[2:, :dimension]
    return Layer(points, neurons, numbers[2:, dimension], draw(st.integers(1, 3)))


def finite_kernel(layer, neurons, outputs):
    """K_m of a network with these neurons, from the gradients of the network."""
    width, dimension = neurons.shape
    network = Architecture("layer", (dimension,), (Linear(width, bias=False), ReLU(), Linear(1, bias=False)), "squared")
    theta = Parameters(network, {"0/weight": neurons, "2/weight": outputs[None]})
    gradients = tangents(network, theta, layer.points)[:, 0]
    first, last = gradients[:, : width * dimension], gradients[:, width * dimension :]
    inner, outer = (constant(Fraction(int(layer.variance), fan_in), layer.points) for fan_in in (dimension, width))
    # in the variables w and a the gradients carry √(σ²/m)√(σ²/d) and √(σ²/m)
    return outer * (inner * (first @ first.T) + last @ last.T)


def mean_over_neurons(layer):
    width = len(layer.neurons)
    total = full((2, 2), 0, layer.points)
    for j in range(width):
        total = total + finite_kernel(layer, layer.neurons[j : j + 1], layer.outputs[j : j + 1])
    return total / constant(width, layer.points)


class Pair:
    """The quantities of the statement for the two points, in balls."""

    def __init__(self, layer):
        scale = flint.arb(int(layer.variance)) / layer.points.shape[1]
        gram = layer.points @ layer.points.T
        self.variance = flint.arb(int(layer.variance))
        self.p, self.q, self.s = (scale * gram[index] for index in ((0, 0), (1, 1), (0, 1)))
        self.root = (self.p * self.q).nonnegative_part().sqrt()
        sine = (self.p * self.q - self.s * self.s).nonnegative_part().sqrt()
        # a zero input makes all moments but h_0 vanish, and h_0 is multiplied by zero
        self.angle = flint.arb(0) if self.root.is_zero() else flint.arb.atan2(sine, self.s)
        pi, cosine = flint.arb.pi(), self.angle.cos()
        around = pi - self.angle
        self.moments = (
            around / (2 * pi),
            self.root * (self.angle.sin() + around * cosine) / (2 * pi),
            self.root**2 * (around * (1 + 2 * cosine**2) + 3 * self.angle.sin() * cosine) / (2 * pi),
        )
        self.size = (self.variance * self.root) ** 2

    def mean(self):
        """σ²(s h_0 + h_1)."""
        return self.variance * (self.s * self.moments[0] + self.moments[1])

    def second_moment(self, *, fourth=3, cross=2):
        """σ⁴(3s² h_0 + 2s h_1 + h_2)."""
        flat, linear, square = self.moments
        return self.variance**2 * (fourth * self.s**2 * flat + cross * self.s * linear + square)

    def spread(self):
        """V."""
        return self.second_moment() - self.mean() ** 2

    def integrated(self, power):
        """E relu(v·x)^k relu(v·z)^k, the integral over the polar angle enclosed by adaptive quadrature in balls."""
        pi, radial = flint.arb.pi(), (1, 2, 8)[power]
        cosine = flint.acb(self.angle).cos()
        sine = flint.acb(self.angle).sin()

        def integrand(z, _):
            return (z.cos() * (z.cos() * cosine + z.sin() * sine)) ** power

        return radial * self.root**power / (2 * pi) * flint.acb.integral(integrand, self.angle - pi / 2, pi / 2).real

    def integrated_second_moment(self):
        flat, linear, square = (self.integrated(power) for power in range(3))
        return self.variance**2 * (3 * self.s**2 * flat + 2 * self.s * linear + square)


# balls decide relations of transcendental numbers to as many digits as one asks for: 30 here
SLACK = flint.arb(2) ** -100


def one_matrix_for_each_neuron(layer):
    kernel, mean = finite_kernel(layer, layer.neurons, layer.outputs), mean_over_neurons(layer)
    for i, j in ((0, 0), (0, 1), (1, 1)):
        # sums over at most 4 neurons and 3 inputs, and six products; terms of the diagonal are nonnegative
        size = kernel[0, 0] + kernel[1, 1]
        yield equal(kernel[i, j], mean[i, j], operations=20, magnitude=size, name="K_m is the mean over the neurons")


@theorem.claim(arithmetics=(BALL, RATIONAL, FLOAT64))
def mean_and_variance(layer):
    if kind(layer.points) != "ball":
        yield from one_matrix_for_each_neuron(layer)
        return
    pair = Pair(layer)
    infinite = ntk(1, "relu", weight_variance=float(layer.variance))(layer.points)
    slack = SLACK * pair.size
    yield at_most(abs(pair.mean() - infinite[0, 1]), SLACK * pair.variance * pair.root, operations=1, name="E K_m = K")
    difference = abs(pair.second_moment() - pair.integrated_second_moment())
    yield at_most(difference, slack, operations=1, name="E k_j²")
    yield at_most(-slack, pair.spread(), operations=1, name="V >= 0")
    if all(x == z for x, z in zip(*layer.points, strict=True)):
        yield at_most(abs(pair.spread() - 3 * pair.mean() ** 2), slack, operations=1, name="V = 3K² for x = z")


@theorem.derivation
def by_neurons():
    import sympy as sp

    r, t, phi = sp.symbols("r theta phi", real=True)
    a = sp.Symbol("a", real=True)
    normal = sp.exp(-(a**2) / 2) / sp.sqrt(2 * sp.pi)
    for power, moment in ((2, 1), (4, 3)):
        yield identity(f"E a^{power} = {moment}", sp.integrate(a**power * normal, (a, -sp.oo, sp.oo)), moment)
    for power, moment in ((0, 1), (2, 2), (4, 8)):
        radial = sp.integrate(r**power * r * sp.exp(-(r**2) / 2), (r, 0, sp.oo))
        yield identity(f"E r^{power} = {moment}", radial, moment)
    around, cosine, sine = sp.pi - t, sp.cos(t), sp.sin(t)
    angular = (around, (sine + around * cosine) / 2, (around * (1 + 2 * cosine**2) + 3 * sine * cosine) / 8)
    for power, value in enumerate(angular):
        # an antiderivative in φ, at both ends
        inside = sp.expand(sp.expand_trig(sp.cos(phi) * sp.cos(phi - t)) ** power)
        primitive = sp.integrate(inside, phi)
        both = primitive.subs(phi, sp.pi / 2) - primitive.subs(phi, t - sp.pi / 2)
        yield identity(f"the angular integral of the power {power}", sp.simplify(both), value)

    s, flat, linear, square, variance = sp.symbols("s h_0 h_1 h_2 sigma2")
    # with one neuron's indicator g, g² = g, and its outputs' product o, g·o = o: E g = h_0, E o = h_1, E o² = h_2
    g, o = sp.symbols("g o")
    expanded = sp.expand((variance * o + variance * s * a**2 * g) ** 2)
    expected = expanded.subs(g**2, flat).subs(o * g, linear).subs(o**2, square).subs(a**4, 3).subs(a**2, 1)
    yield identity("E k_j²", expected, variance**2 * (3 * s**2 * flat + 2 * s * linear + square))
    m, first, second = sp.symbols("m Ek Ekk", positive=True)
    yield identity(
        "the variance of a mean of m independent copies: m terms E k² and m(m - 1) terms (E k)²",
        (m * second + m * (m - 1) * first**2) / m**2 - first**2,
        (second - first**2) / m,
    )
    p = sp.Symbol("p", positive=True)
    same = [value.subs(t, 0) for value in (angular[0], p * 2 * angular[1], p**2 * 8 * angular[2])]
    h = [value / (2 * sp.pi) for value in same]
    yield identity(
        "V = 3K² for x = z",
        3 * p**2 * h[0] + 2 * p * h[1] + h[2] - (p * h[0] + h[1]) ** 2,
        3 * (p * h[0] + h[1]) ** 2,
    )
    x, z = sp.Matrix(sp.symbols("x0 x1")), sp.Matrix(sp.symbols("z0 z1"))
    weights, scales, total = [], [], 0
    for j in range(2):
        v, c = sp.Matrix(sp.symbols(f"v{j}0 v{j}1")), sp.Symbol(f"c{j}")
        on, other = sp.symbols(f"g{j}x g{j}z")  # indicators, constant where the network is differentiable
        weights += [*v, c]
        scales.append((v, c, on, other))
        total += on * other * (v.dot(x) * v.dot(z) + c**2 * x.dot(z))
    left, right = (sum(c * (on, other)[k] * v.dot((x, z)[k]) for v, c, on, other in scales) for k in range(2))
    gram = sum(sp.diff(left, weight) * sp.diff(right, weight) for weight in weights)
    yield identity("two neurons: products of gradients add up neuron by neuron", gram, total)


def relative_error(width, rng, depth):
    """‖K_m - K‖/‖K‖ in the operator norm, root mean square over 6 networks, for 5 points in R³."""
    points = np.vstack([np.eye(3), [[1.0, 1.0, 0.0]], [[-0.5, 1.0, 0.25]]])
    kernel = ntk(depth, "relu", parametrisation="standard", width=width)(points)
    layers = [layer for _ in range(depth) for layer in (Linear(width, bias=False), ReLU())]
    network = Architecture("wide", (3,), (*layers, Linear(1, bias=False)), "squared")
    errors = []
    for _ in range(6):
        arrays = {
            name: np.sqrt(2 / shape[1]) * rng.standard_normal(shape) for name, shape in network.parameter_shapes.items()
        }
        found = tangent_gram(network, Parameters(network, arrays), points)
        errors.append(np.linalg.norm(found - kernel, 2) / np.linalg.norm(kernel, 2))
    return float(np.sqrt(np.mean(np.square(errors))))


@theorem.rate(
    exponent=-0.5,
    sizes=(16, 64, 256, 1024),
    false_exponents={"the limit is reached like 1/m": -1.0, "the limit is reached like m^(-1/4)": -0.25},
)
def one_hidden_layer(width, rng):
    return relative_error(width, rng, 1)


@theorem.rate(
    exponent=-0.5,
    sizes=(8, 32, 128, 512),
    false_exponents={"two hidden layers are half as fast": -0.25, "two hidden layers reach it like 1/m": -1.0},
)
def two_hidden_layers(width, rng):
    return relative_error(width, rng, 2)


def second_moment_is(layer, value):
    pair = Pair(layer)
    difference = abs(value(pair) - pair.integrated_second_moment())
    return at_most(difference, SLACK * pair.size, operations=1, name="E k_j²")


@theorem.false_twin("output weights of constant size would do: E a⁴ = 1", arithmetics=(BALL,))
def constant_output_weights(layer):
    return second_moment_is(layer, lambda pair: pair.second_moment(fourth=1))


@theorem.false_twin("the two layers' parts of one neuron are uncorrelated", arithmetics=(BALL,))
def uncorrelated_parts(layer):
    return second_moment_is(layer, lambda pair: pair.second_moment(cross=0))


@theorem.false_twin("no entry varies more than the diagonal: V <= 3K²", arithmetics=(BALL,))
def diagonal_varies_most(layer):
    pair = Pair(layer)
    return at_most(pair.spread(), 3 * pair.mean() ** 2 + SLACK * pair.size, operations=1, name="V <= 3K²")


@theorem.false_twin("K_m is the sum over the neurons", arithmetics=(RATIONAL,))
def sum_over_neurons(layer):
    kernel = finite_kernel(layer, layer.neurons, layer.outputs)
    width = constant(len(layer.neurons), layer.points)
    return equal(kernel[0, 0], width * mean_over_neurons(layer)[0, 0], operations=20)
