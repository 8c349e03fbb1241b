r"""How many dimensions of a sample the gradients see in general: a conjectured count, layer by layer.

``chen2022.nested_rank_upper_bound`` bounds the rank ρ_1 of the derivative of x -> all gradients. For convolutions without
bias, an activation that is a polynomial of degree four or more, a linear layer at the end, and everything else in general
position, it seems to be known exactly. Going from the last convolution to the first one, with F'_i the forward equations of
those outputs that are used further on and U_i = [F'_i; K_i]:

    ρ_i = rank U_i                                            as long as all used inputs of layer i + 1 are seen,
    ρ_i = min(rank U_i, rank K_i + min(ρ_{i+1}, rank F'_i))   from there on down.

So as long as a layer's output and sensitivity are known, its system decides; afterwards its own gradients give what K_i can
see, on top of what arrives from behind, and the C_out² dependencies between the two are no loss any more.

Notes
-----
.. math:: \rho_i = \operatorname{rank} \frac{\partial (G_i, G_{i+1}, \ldots)}{\partial x_i}, \qquad N^* = n_1 - \rho_1 .

That ρ_i <= rank U_i is a theorem. The rest is not: own gradients G = D Pᵀ also change with D, which need not be known, and
conservation laws make gradients of different layers dependent. They do so for quadratic activations, without activation, and
for piecewise linear ones (``zhu2021.conservation_law``). For z + z³ there are exceptions too; hence degree four. A first
version of the count, which took |z| + rank K - C_out² for rank U_i and left rank U_i out from there on down, is false: see
the false twins.

Source: derived here, and tried on some thousands of small networks before it was written down. At two of about 8800
random points the rank was another one; they look like accidents of measure zero, but were not traced, so this stays a
conjecture. With numbers of equations in place of ranks it had agreed with tanh networks of Chen and Campbell's code
(arXiv:2111.10178). Everything is evaluated at random points modulo 2⁶¹ - 1, where ranks are at most those over the
rationals and equal to them but for bad luck; ranks at one point are compared with one another.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import Identity, Polynomial
from provable.architectures.layers import Conv2d, Flatten, Linear
from provable.arithmetic import MODULAR, constant, full, rank
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, backpropagate, gradient_jacobian, losses, trace
from provable.rigor.modular_rank import PRIME, witness_integers
from provable.theorems import Source, Theorem, holds

theorem = Theorem(
    statement=r"""For convolutions without bias, a polynomial activation of degree at least four, and a linear layer, all in
    general position: let F'_i be the forward equations of those outputs of layer i that are used further on, and U_i =
    [F'_i; K_i]. The gradients of layer i and of all layers behind it have, as functions of the input of layer i, a derivative
    of rank rho_i = rank U_i as long as every used input of layer i + 1 is seen, and from there on down of rank rho_i =
    min(rank U_i, rank K_i + min(rho_{i+1}, rank F'_i)).""",
    source=Source("derived", "", "a count, not a proof; for ranks of layers as in arXiv:2111.10178"),
    expected="certified",
    does_not_say="nothing about other activations: for quadratic, linear and piecewise linear ones the count is too high",
)

QUARTIC = Polynomial((0.0, 1.0, 0.5, 0.25, 0.125))
QUINTIC = Polynomial((0.0, 1.0, 0.0, 0.5, 0.25, 0.25))
QUADRATIC = Polynomial((0.0, 1.0, 0.5))
CUBIC = Polynomial((0.0, 1.0, 0.0, 1.0))


@dataclass(frozen=True)
class Case:
    """A network, and the seed of the point at which it is looked at."""

    architecture: Architecture
    seed: int


def network(shape, convolutions, activation, seed):
    chain = [layer for one in convolutions for layer in (one, activation)]
    return Case(Architecture("drawn", shape, (*chain, Flatten(), Linear(1, bias=False)), "squared"), seed)


def draw_network(draw, activations):
    """Two or three convolutions; one behind the first is often short: few filters, or windows that leave pixels out."""
    shape = (draw(st.integers(1, 2)), draw(st.sampled_from((1, 1, 2))), draw(st.integers(3, 5)))
    first = Conv2d(draw(st.integers(1, 3)), (1, draw(st.sampled_from((1, 1, 2)))), bias=False)
    step = draw(st.sampled_from((1, 1, 2)))
    convolutions = [first, Conv2d(draw(st.sampled_from((1, 1, 2))), (1, step), (1, step), bias=False)]
    if draw(st.integers(0, 3)) == 0:
        convolutions.append(Conv2d(1, 1, bias=False))
    return network(shape, convolutions, draw(st.sampled_from(activations)), draw(st.integers(0, 1000)))


@theorem.instances
def networks(draw):
    return draw_network(draw, (QUARTIC, QUINTIC))


@theorem.hypothesis("degree at least four")
def degree_at_least_four(case):
    activation = case.architecture.layers[1]
    return isinstance(activation, Polynomial) and len(activation.coefficients) >= 5


class Point:
    """A network at a random point modulo 2⁶¹ - 1: its systems, first to last, and ρ_1."""

    def __init__(self, case):
        architecture = case.architecture
        sizes = {
            "parameters": architecture.parameter_count,
            "inputs": architecture.input_size,
            "label": architecture.output_size,
        }
        vector, inputs, label = (
            np.array([MODULAR.number(one) for one in witness_integers(case.seed, name, size, PRIME)], dtype=object)
            for name, size in sizes.items()
        )
        parameters = Parameters(architecture, _cut(architecture, vector))
        inputs, label = inputs.reshape(1, *architecture.input_shape), label.reshape(1, -1)
        traced = trace(architecture, parameters, inputs)
        found = backpropagate(
            architecture, parameters, traced, losses.residual("squared", traced.output, label)
        ).outputs
        indices = [index for index, layer in enumerate(architecture.layers) if isinstance(layer, Conv2d)]
        self.systems = [LayerSystem.of_layer(architecture.layers[i], architecture.shapes[i]) for i in indices]
        pairs = list(zip(indices, self.systems, strict=True))
        self.forward = [system.forward_matrix(parameters[f"{i}/weight"]) for i, system in pairs]
        self.gradient = [system.gradient_matrix(found[str(i)][0]) for i, system in pairs]
        self.used = [np.ones(self.forward[-1].shape[0], dtype=bool)]
        for matrix in reversed(self.forward):
            self.used.insert(0, np.array([any(entry != 0 for entry in column) for column in matrix[self.used[0]].T]))
        size = architecture.input_size
        units = full((size, size), 0, inputs)
        np.fill_diagonal(units, constant(1, inputs))
        jacobian = gradient_jacobian(architecture, parameters, inputs, label)
        self.seen = rank(jacobian.push_forward(units.reshape(size, *inputs.shape)))

    def count(self, *, with_system=True, dead_pixels=True):
        """ρ_1 by the rules of the statement; or without rank U_i, or without regard to what is used."""
        value, known = int(self.used[-1].sum()), True
        for index in reversed(range(len(self.systems))):
            outputs = self.used[index + 1] if dead_pixels else np.ones_like(self.used[index + 1])
            forward, gradient = self.forward[index][outputs], self.gradient[index]
            known = known and value >= outputs.sum()
            together = rank(np.vstack([forward, gradient]))
            value = together if known else min(value, rank(forward)) + rank(gradient)
            value = min(value, together) if with_system else min(value, int(self.used[index].sum()))
        return value


def _cut(architecture, vector):
    ends = np.cumsum([int(np.prod(shape)) for shape in architecture.parameter_shapes.values()])[:-1]
    parts = zip(architecture.parameter_shapes.items(), np.split(vector, ends), strict=True)
    return {name: part.reshape(shape) for (name, shape), part in parts}


@theorem.degenerate
def inner_layers_are_full(case):
    """Then the count is rank U_1, and correct by chen2022.recursive_uniqueness wherever U_1 is full."""
    point = Point(case)
    return all(
        rank(np.vstack([forward, gradient])) == system.unknowns
        for forward, gradient, system in list(zip(point.forward, point.gradient, point.systems, strict=True))[1:]
    )


@theorem.claim(arithmetics=(MODULAR,))
def count(case):
    point = Point(case)
    return holds(point.seen == point.count(), name="rho_1 is the count")


@theorem.without("degree at least four")
def quadratic():
    """Five pixels of two channels, 2 → 2 → 1 channels: the count is 10, the rank 9."""
    return network((2, 1, 5), (Conv2d(2, 1, bias=False), Conv2d(1, 1, bias=False)), QUADRATIC, 0)


def quadratic_networks(draw):
    return draw_network(draw, (QUADRATIC,))


@theorem.false_twin("degree two suffices", without=("degree at least four",), instances=quadratic_networks)
def degree_two(case):
    return count(case)


def cubic_networks(draw):
    shape = (draw(st.integers(1, 2)), 2, draw(st.integers(2, 4)))
    first, second = Conv2d(draw(st.integers(2, 3)), 1, bias=False), Conv2d(1, (draw(st.integers(1, 2)), 1), bias=False)
    return network(shape, (first, second), CUBIC, draw(st.integers(0, 1000)))


@theorem.false_twin("z + z^3 will do", without=("degree at least four",), instances=cubic_networks)
def degree_three(case):
    return count(case)


def linear_networks(draw):
    return draw_network(draw, (Identity(),))


@theorem.false_twin("no activation is needed", without=("degree at least four",), instances=linear_networks)
def no_activation(case):
    return count(case)


def pointwise_networks(draw):
    """1×1 convolutions that have fewer filters from layer to layer."""
    channels = draw(st.integers(2, 3))
    chain = (Conv2d(channels - 1, 1, bias=False), Conv2d(1, 1, bias=False))
    return network((channels, 1, draw(st.integers(2, 4))), chain, QUARTIC, draw(st.integers(0, 1000)))


@theorem.false_twin("rank U_i matters only where all used inputs of layer i + 1 are seen", instances=pointwise_networks)
def without_systems(case):
    point = Point(case)
    return holds(point.seen == point.count(with_system=False), name="rho_1 is the count without rank U_i")


def networks_with_remainder(draw):
    """Windows of two pixels side by side on an odd number of pixels, behind a 1×1 convolution."""
    chain = (Conv2d(draw(st.integers(1, 2)), 1, bias=False), Conv2d(1, (1, 2), (1, 2), bias=False))
    return network((1, 1, draw(st.integers(2, 5))), chain, QUARTIC, draw(st.integers(0, 1000)))


@theorem.false_twin("outputs that no later layer looks at count as the others", instances=networks_with_remainder)
def unused_outputs_count(case):
    point = Point(case)
    return holds(point.seen == point.count(dead_pixels=False), name="rho_1 is the count with all outputs")


@theorem.false_twin("inner layers do not matter: rho_1 = rank U_1", instances=networks)
def first_system(case):
    point = Point(case)
    whole = rank(np.vstack([point.forward[0], point.gradient[0]]))
    return holds(point.seen == whole, name="rho_1 = rank U_1")
