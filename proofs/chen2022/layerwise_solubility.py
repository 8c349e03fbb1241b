r"""A layer whose system is short leaves the sample open: layer-wise solubility taken at its word, and false.

A metric that adds up what the systems of all layers lack, as Chen and Campbell's does, suggests: if rank U_i < n_i at some
layer i, the gradients leave some direction of the sample open. For the first layer that is true
(``chen2022.first_layer_null_space``). For an inner layer it is not: its input is no arbitrary vector but an image of the
sample, and the gradients of the layers before it are equations too.

The example is a small sibling of the fourth network of R-GAP's rank figure: a 1×1 convolution to two channels, leaky ReLU, a
1×1 convolution back to one, leaky ReLU and a linear output, on two pixels. The second layer is short of one dimension,
whatever the weights; the derivative of x -> all gradients has full rank. (In the figure's network the second layer was
measured to lack 336 dimensions, and none was open.) Making the first layer wider makes the second one shorter, so that the
sum gets worse while what is open does not.

Notes
-----
.. math:: \operatorname{rank} U_2 < n_2 \;\not\Rightarrow\;
          \operatorname{rank} \frac{\partial (G_1, G_2, \ldots)}{\partial x} < n_1 .

Source: Chen and Campbell, arXiv:2111.10178, whose abstract says that solubility "is primarily determined by that of the
linear system at each layer"; as a tendency, so this refutes the naive reading only. The metric is read from their code: the
sum over layers i of (d - i + 1)/d (rank U_i - n_i). Ranks and derivatives are exact; directions are open to first order.
"""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import LeakyReLU, Polynomial
from provable.architectures.layers import Conv2d, Flatten, Linear
from provable.arithmetic import constant, full, rank
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, backpropagate, gradient_jacobian, losses, trace
from provable.theorems import RATIONAL, Source, Theorem, fact, holds

theorem = Theorem(
    statement=r"""If the layer system of some convolution of a chain has rank U_i < n_i at a sample, then some direction of
    the sample changes no gradient to first order.""",
    source=Source(
        "arXiv:2111.10178",
        "abstract, and the metric in the released code",
        "a naive reading; the paper says that solubility is primarily determined by the layers' systems",
    ),
    expected="refuted",
    corrected_by="chen2022.first_layer_null_space",
    does_not_say="not that the metric is useless as a tendency, which is a matter of measurement",
)

LEAKY = LeakyReLU(negative_slope=0.25)
QUARTIC = Polynomial((0.0, 1.0, 0.5, 0.25, 0.125))


@dataclass(frozen=True)
class Case:
    """Convolutions with one activation, and a linear output; one sample and its label."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    label: np.ndarray


def network(shape, convolutions, seed, activation=LEAKY):
    """Integers from -9 to 9 without zero for everything, and a label that no output, a multiple of 1/64, can equal."""
    chain = [layer for one in convolutions for layer in (one, activation)]
    architecture = Architecture("drawn", shape, (*chain, Flatten(), Linear(1, bias=False)), "squared")
    generator = np.random.default_rng(seed)

    def integers(count):
        return generator.integers(1, 10, count) * generator.choice([-1.0, 1.0], count)

    parameters = Parameters.from_vector(architecture, integers(architecture.parameter_count))
    inputs = integers(architecture.input_size).reshape(1, *shape)
    return Case(architecture, parameters, inputs, np.array([[2.0**-9]]))


def pointwise(channels):
    return [Conv2d(one, 1, bias=False) for one in channels]


def small_seeds():
    return st.integers(0, 1000)


@theorem.instances
def chains(draw):
    shape = (draw(st.integers(1, 2)), 1, draw(st.integers(2, 4)))
    return network(
        shape, pointwise([draw(st.integers(1, 3)) for _ in range(draw(st.integers(1, 3)))]), draw(small_seeds())
    )


def shortages(case):
    """n_i - rank U_i of every convolution, from the input on."""
    traced = trace(case.architecture, case.parameters, case.inputs)
    residual = losses.residual("squared", traced.output, case.label)
    found = backpropagate(case.architecture, case.parameters, traced, residual).outputs
    result = []
    for index, layer in enumerate(case.architecture.layers):
        if isinstance(layer, Conv2d):
            system = LayerSystem.of_layer(layer, case.architecture.shapes[index])
            matrix = system.matrix(case.parameters[f"{index}/weight"], found[str(index)][0])
            result.append(system.unknowns - rank(matrix))
    return result


def jacobian(case):
    """The derivative of the gradients; one row for every pixel of the sample."""
    size = case.architecture.input_size
    units = full((size, size), 0, case.inputs)
    np.fill_diagonal(units, constant(1, case.inputs))
    derivative = gradient_jacobian(case.architecture, case.parameters, case.inputs, case.label)
    return derivative.push_forward(units.reshape(size, *case.inputs.shape))


def open_dimensions(case):
    return case.architecture.input_size - rank(jacobian(case))


@theorem.hypothesis("some layer is short", arithmetic=RATIONAL)
def some_layer_is_short(case):
    return max(shortages(case)) > 0


@theorem.claim(arithmetics=(RATIONAL,))
def something_is_open(case):
    return holds(open_dimensions(case) > 0, name="rank of the derivative < n_1")


@theorem.counterexample
def two_pixels():
    return network((1, 1, 2), pointwise([2, 1]), 0)


@theorem.without("some layer is short")
def one_layer():
    return network((1, 1, 2), pointwise([1]), 0)


@theorem.derivation(covers="the explicit counterexample")
def short_second_layer():
    case = RATIONAL.convert(two_pixels())
    yield fact("the first layer has full rank, the second one lacks (2 - 1)(2 - 1) = 1", shortages(case) == [0, 1])
    yield fact("the derivative of the gradients has rank 2 = n_1", open_dimensions(case) == 0)


@theorem.derivation(covers="a chain whose metric is very negative, and where unused pixels alone are open")
def unused_pixels():
    chain = [Conv2d(3, (1, 2), (1, 2), bias=False), Conv2d(1, 1, bias=False)]
    case = RATIONAL.convert(network((1, 1, 7), chain, 0, QUARTIC))
    yield fact("shortages are 1 and 4", shortages(case) == [1, 4])
    yield fact("one dimension is open", open_dimensions(case) == 1)
    last = jacobian(case)[-1]
    yield fact("it is the last pixel, which no window sees", bool(np.all(last == 0)))


def widening(draw):
    """A 1×1 convolution to many channels and one back to a single channel."""
    chain = pointwise([draw(st.integers(1, 4)), 1])
    return network((1, 1, draw(st.integers(2, 5))), chain, draw(small_seeds()))


@theorem.false_twin("a layer that lacks more than the parameters before it leaves something open", instances=widening)
def more_than_parameters_before(case):
    before = np.cumsum([case.parameters[f"{2 * index}/weight"].size for index in range(len(shortages(case)))])
    lacking = [short > own for short, own in zip(shortages(case)[1:], before, strict=False)]
    return holds(
        not any(lacking) or open_dimensions(case) > 0, name="something is open if n_i - rank U_i > sum |W_j|, j < i"
    )


def three_layers(draw):
    chain = pointwise([draw(st.integers(2, 3)), 2, 1])
    return network((1, 1, draw(st.integers(2, 3))), chain, draw(small_seeds()))


@theorem.false_twin("if every layer behind the first one is short, something is open", instances=three_layers)
def all_inner_layers(case):
    inner = shortages(case)[1:]
    return holds(min(inner) == 0 or open_dimensions(case) > 0, name="something is open if all inner layers are short")


def chains_with_remainder(draw):
    """Windows of two pixels side by side, which may leave the last pixel out."""
    chain = [Conv2d(draw(st.integers(2, 3)), (1, 2), (1, 2), bias=False), *pointwise([1])]
    return network((1, 1, draw(st.integers(4, 7))), chain, draw(small_seeds()))


@theorem.false_twin("the metric counts: at least half of -c(M) dimensions are open", instances=chains_with_remainder)
def metric_counts(case):
    missing = shortages(case)
    depth = len(missing)
    weighted = sum((depth - index) * short for index, short in enumerate(missing))
    return holds(2 * depth * open_dimensions(case) >= weighted, name="N* >= -c(M)/2")


@theorem.false_twin("if the metric is negative, some pixel that a window sees is open", instances=chains_with_remainder)
def seen_pixels(case):
    rows = jacobian(case)
    seen = rows[[bool(np.any(row != 0)) for row in rows]]
    return holds(rank(seen) < len(seen), name="some seen pixel is open if c(M) < 0")


def smooth_chains(draw):
    return network((1, 1, draw(st.integers(2, 4))), pointwise([2, 1]), draw(small_seeds()), QUARTIC)


@theorem.false_twin("for smooth activations it is true", instances=smooth_chains)
def smooth(case):
    return something_is_open(case)
