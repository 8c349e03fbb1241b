r"""With analytic activations, almost all weights, samples and labels give a layer's system the same rank.

Let activations and loss be real-analytic. The entries of U_i = [F_i; K_i], with the sensitivities that the network makes, are
then analytic functions of parameters θ, sample x and label y. The largest rank r_i that U_i has anywhere it has outside a
closed set of measure zero, and elsewhere less. So a sum of rounded multiples of rank U_i - n_i, such as Chen and Campbell's
metric, is almost surely constant under any distribution with a density: it is a function of the architecture, activations
included.

With leaky ReLU the rank is constant on almost all of each cell of the activation pattern only. The explicit network has a 1×1
convolution from three channels to two on three pixels, followed by one to a single channel. Where all units of the first
layer are positive, its two rows of sensitivities are proportional and the system lacks two dimensions; where one unit is
negative, it lacks one.

Notes
-----
A minor of size r_i that is not zero at one point is an analytic function on a connected domain, so its zeros form a closed
null set; larger minors vanish everywhere. Checked here: ranks at random points close to two drawn points are equal, and ranks
at the drawn points, many of them special, are at most those.

.. math:: \operatorname{rank} U_i(\theta, x, y) = r_i \text{ almost everywhere}, \qquad
          \operatorname{rank} U_i(\theta, x, y) \le r_i \text{ everywhere}.

r_i may be less than the rank with free weights and sensitivities: without activation, a successor with a single 1×1 filter
makes all rows of D proportional; a nonlinear activation usually repairs that.

Source: derived here, for the metric of arXiv:2111.10178. That zeros of analytic functions are null sets is a known theorem.
Exact instances have polynomial activations.
"""

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Identity, LeakyReLU, Polynomial
from provable.architectures.layers import Conv2d, Flatten, Linear
from provable.arithmetic import RATIONAL, constant, rank
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, backpropagate, losses, trace
from provable.theorems import Source, Theorem, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let a chain of convolutions have real-analytic activations and a real-analytic loss. For each layer there
    is a number r_i such that rank U_i(theta, x, y) <= r_i for all parameters, samples and labels, with equality outside a
    closed set of measure zero.""",
    source=Source("derived", "", "for the metric of arXiv:2111.10178"),
    expected="certified",
    does_not_say="not which number r_i is, nor that it is the rank with free weights and sensitivities",
)

QUADRATIC, CUBIC = Polynomial((0.0, 1.0, 0.5)), Polynomial((0.0, 1.0, 0.0, 1.0))
LEAKY = LeakyReLU(negative_slope=0.25)


@dataclass(frozen=True)
class Case:
    """A network; two points, (2, parameters + sample + label); and the seed of the random directions away from them."""

    architecture: Architecture
    points: np.ndarray
    seed: int


def network(shape, convolutions, activation):
    chain = [layer for one in convolutions for layer in (one, activation)]
    return Architecture("drawn", shape, (*chain, Flatten(), Linear(1, bias=False)), "squared")


def coordinates(architecture):
    return architecture.parameter_count + architecture.input_size + architecture.output_size


def at_drawn_points(draw, architecture, *, nonzero=False):
    points = draw(readable_arrays((2 * coordinates(architecture),), nonzero=nonzero))
    return Case(architecture, points.reshape(2, -1), draw(st.integers(0, 1000)))


def at_seeded_points(draw, architecture):
    """Integers from -9 to 9 without zero: nothing for Hypothesis to shrink but the seed."""
    seed = draw(st.integers(0, 1000))
    generator = np.random.default_rng(seed)
    shape = (2, coordinates(architecture))
    return Case(architecture, generator.integers(1, 10, shape) * generator.choice([-1.0, 1.0], shape), seed)


def pointwise(channels):
    return [Conv2d(one, 1, bias=False) for one in channels]


@theorem.instances
def polynomial_networks(draw):
    activation = draw(st.sampled_from((QUADRATIC, QUADRATIC, CUBIC, Identity())))
    width, channels = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    first = Conv2d(draw(st.integers(1, 3)), (1, draw(st.integers(1, width))), bias=draw(st.booleans()))
    second = draw(st.sampled_from(((), pointwise([1]), pointwise([2]))))
    return at_drawn_points(draw, network((channels, 1, width), (first, *second), activation))


@theorem.hypothesis("analytic activations")
def analytic(case):
    return isinstance(case.architecture.layers[1], Polynomial | Identity)


def ranks(architecture, point):
    """rank U_i of every convolution."""
    ends = np.cumsum([architecture.parameter_count, architecture.input_size])
    vector, inputs, label = np.split(point, ends)
    values, start = {}, 0
    for name, shape in architecture.parameter_shapes.items():
        values[name] = vector[start : start + int(np.prod(shape))].reshape(shape)
        start += int(np.prod(shape))
    parameters, inputs = Parameters(architecture, values), inputs.reshape(1, *architecture.input_shape)
    traced = trace(architecture, parameters, inputs)
    residual = losses.residual("squared", traced.output, label.reshape(1, -1))
    found = backpropagate(architecture, parameters, traced, residual).outputs
    result = []
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Conv2d):
            system = LayerSystem.of_layer(layer, architecture.shapes[index])
            result.append(rank(system.matrix(values[f"{index}/weight"], found[str(index)][0])))
    return result


def nearby(case, which):
    """A random point within 2⁻²⁰ of a drawn one, in every coordinate."""
    generator = np.random.default_rng([case.seed, which])
    steps = generator.integers(-(2**20), 2**20, case.points.shape[1])
    return case.points[which] + np.array([constant(step * 2.0**-40, case.points) for step in steps], dtype=object)


@theorem.claim(arithmetics=(RATIONAL,))
def constancy(case):
    first, second = (ranks(case.architecture, nearby(case, which)) for which in (0, 1))
    yield holds(first == second, name="the ranks close to both points are equal")
    for which in (0, 1):
        special = ranks(case.architecture, case.points[which])
        yield holds(
            all(one <= most for one, most in zip(special, first, strict=True)),
            name="no point has a larger rank",
        )


def two_cells():
    """All units of the first layer positive, or one of them negative; the layer behind has one filter."""
    architecture = network((3, 1, 3), pointwise([2, 1]), LEAKY)
    weights, last = [1, 0, 0, 0, 1, 0], [1, 1, 1, 2, 3]  # channels 0 and 1 are copied; then one filter, and the output
    positive = [1, 2, 3, 1, 1, 1, 0, 0, 0]
    mixed = [1, 2, 3, 1, 1, -0.5, 0, 0, 0]
    points = np.array([weights + last + sample + [0] for sample in (positive, mixed)], dtype=float)
    return Case(architecture, points, 0)


@theorem.without("analytic activations")
def leaky_cells():
    return two_cells()


@theorem.derivation(covers="the explicit network with leaky ReLU")
def minors():
    import sympy

    w, d, slope = sympy.symbols("w:2"), sympy.symbols("d:2"), sympy.Symbol("s")
    rows = sympy.Matrix(2, 2, lambda o, p: w[o] * d[p])
    yield identity("where all units are positive, D_(o,p) = w_o d_p has only vanishing 2x2 minors", rows.det(), 0)
    rows[1, 1] *= slope
    yield identity(
        "where one unit is negative, a minor is w_0 w_1 d_0 d_1 (s - 1)",
        rows.det(),
        w[0] * w[1] * d[0] * d[1] * (slope - 1),
    )
    case = RATIONAL.convert(two_cells())
    found = [ranks(case.architecture, nearby(case, which))[0] for which in (0, 1)]
    yield fact("the systems lack (3 - 2)(3 - 1) = 2 and (3 - 2)(3 - 2) = 1 of 9 dimensions", found == [7, 8])


def leaky_networks(draw):
    return at_seeded_points(draw, network((3, 1, 3), pointwise([2, 1]), LEAKY))


@theorem.false_twin("piecewise linear activations will do", without=("analytic activations",), instances=leaky_networks)
def leaky(case):
    first, second = (ranks(case.architecture, nearby(case, which)) for which in (0, 1))
    return holds(first == second, name="the ranks close to both points are equal")


def nonzero_points(draw):
    architecture = network((draw(st.integers(1, 2)), 1, 2), pointwise([draw(st.integers(1, 2)), 1]), QUADRATIC)
    return at_drawn_points(draw, architecture, nonzero=True)


@theorem.false_twin("the rank is the same at all points without zeros", instances=nonzero_points)
def everywhere(case):
    first, second = (ranks(case.architecture, case.points[which]) for which in (0, 1))
    return holds(first == second, name="the ranks at both points are equal")


def narrowing_networks(draw):
    channels, activation = draw(st.integers(2, 3)), draw(st.sampled_from((Identity(), QUADRATIC)))
    return at_seeded_points(draw, network((channels, 1, draw(st.integers(2, 4))), pointwise([2, 1]), activation))


@theorem.false_twin("the rank does not depend on the activation", instances=narrowing_networks)
def any_activation(case):
    chain = tuple(QUADRATIC if isinstance(layer, Identity) else layer for layer in case.architecture.layers)
    other = replace(case.architecture, layers=chain)
    close = nearby(case, 0)
    return holds(ranks(case.architecture, close) == ranks(other, close), name="the ranks with z + z^2/2 are equal")


@theorem.false_twin("sensitivities made by the network are as good as free ones", instances=narrowing_networks)
def free_sensitivities(case):
    close = nearby(case, 0)
    system = LayerSystem.of_layer(case.architecture.layers[0], case.architecture.input_shape)
    size = int(np.prod(system.weight_shape))
    generator = np.random.default_rng(case.seed)
    free = generator.integers(-(2**20), 2**20, system.sensitivity_shape).tolist()
    free = np.array([constant(int(one), case.points) for one in np.ravel(free)], dtype=object)
    together = system.matrix(close[:size].reshape(system.weight_shape), free.reshape(system.sensitivity_shape))
    return holds(ranks(case.architecture, close)[0] == rank(together), name="rank U_1 is that with free sensitivities")
