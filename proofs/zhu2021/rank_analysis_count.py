r"""More equations than unknowns, so the layer determines its input: a count of R-GAP's rank analysis, and false.

As counted in the rank analysis: a convolution with input x, weight W and output z gives |z| forward equations and |W|
gradient equations for x, so if |x| - |W| - |z| < 0, a general gradient determines x.

The C_out² identities W Gᵀ = Z Dᵀ make equations redundant whatever x is (``chen2022.dependency_law``), and more are lost
where stride splits the pixels into classes, where windows leave pixels out, and where the output is no larger than the
kernel (then Σ_a D_{o'}(a) K_(o,a) = Σ_a D_o(a) K_(o',a) as well). The example below has 9 unknowns, 12 equations and
rank 8. The second layer of the authors' own CNN6-d (12 → 20 channels, 3×3, stride 2, padding 1, on 17×17) has the count
-312, but is at least 280 equations short for all weights and sensitivities in general position.

Notes
-----
.. math:: |x| - |W| - |z| < 0 \;\not\Rightarrow\; \operatorname{rank} U = |x|, \qquad
          \operatorname{rank} U \le \operatorname{rank} F + \operatorname{rank} K - q .

Source: Zhu and Blaschko, R-GAP, arXiv:2010.07733, rank analysis. The paper's wording was not read. The count and its
reading as "negative means full recovery" are reconstructed from the figure on the authors' page, which states such
differences for whole networks, and from the layer systems in their code; the paper may make reservations. The figure also
subtracts "virtual" constraints |V|, which are absent in a first layer; the layers below are first layers.

The refutation grants more than the count asks for: every pixel is seen by a window, so that no unknown is missing from all
equations. "General position" means here: the rank at the drawn integers is that at an independent random point modulo
2⁶¹ - 1, so no counterexample is a coincidence of its numbers. The sensitivities D come from a network with leaky ReLU, one
output and no bias, as in R-GAP; only their direction matters, so the squared loss serves for any.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture
from provable.architectures.activations import LeakyReLU
from provable.architectures.layers import Conv2d, Flatten, Linear
from provable.arithmetic import rank
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.networks import Parameters, backpropagate, losses, trace
from provable.rigor.modular_rank import PRIME, witness_integers
from provable.theorems import RATIONAL, Source, Theorem, fact, holds, identity

theorem = Theorem(
    statement=r"""If |x| - |W| - |z| < 0 for a convolution with input x, weight W and output z, then the |z| forward and |W|
    gradient equations have rank |x| in general position: the layer determines its input.""",
    source=Source(
        "arXiv:2010.07733",
        "rank analysis",
        "wording reconstructed from the figure on the authors' page and from their code; the paper was not read",
    ),
    expected="refuted",
    corrected_by="chen2022.dependency_law",
    does_not_say=(
        "nothing about whole networks: what one layer's system leaves open, the gradients of other layers may settle"
    ),
)


@dataclass(frozen=True)
class Case:
    """A convolution, leaky ReLU, one linear output; a sample and its label."""

    architecture: Architecture
    parameters: Parameters
    inputs: np.ndarray
    label: np.ndarray


def network(shape, convolution, seed):
    """Integers from -9 to 9 without zero for everything, and a label that no output, a multiple of 1/4, can equal."""
    chain = (convolution, LeakyReLU(negative_slope=0.25), Flatten(), Linear(1, bias=False))
    architecture = Architecture("drawn", shape, chain, "squared")
    generator = np.random.default_rng(seed)

    def integers(count):
        return generator.integers(1, 10, count) * generator.choice([-1.0, 1.0], count)

    parameters = Parameters.from_vector(architecture, integers(architecture.parameter_count))
    return Case(architecture, parameters, integers(architecture.input_size).reshape(1, *shape), np.array([[0.125]]))


def small_seeds():
    return st.integers(0, 1000)


@theorem.instances
def small_layers(draw):
    """1×1 filters on a row of pixels, or small windows on a small image."""
    if draw(st.booleans()):
        shape = (draw(st.integers(2, 4)), 1, draw(st.integers(2, 5)))
        return network(shape, Conv2d(draw(st.integers(1, 3)), 1, bias=False), draw(small_seeds()))
    height, width = draw(st.integers(1, 3)), draw(st.integers(1, 5))
    kernel = (draw(st.integers(1, min(height, 2))), draw(st.integers(1, min(width, 3))))
    step = draw(st.integers(1, 2))
    convolution = Conv2d(draw(st.integers(1, 3)), kernel, (min(step, height), min(step, width)), bias=False)
    return network((draw(st.integers(1, 4)), height, width), convolution, draw(small_seeds()))


def layer_system(case):
    return LayerSystem.of_layer(case.architecture.layers[0], case.architecture.input_shape)


def count(case):
    """|x| - |W| - |z|."""
    system = layer_system(case)
    return system.unknowns - system.gradient_equations - system.forward_equations


def system_rank(case):
    """rank U at the case's weights and sensitivities."""
    traced = trace(case.architecture, case.parameters, case.inputs)
    residual = losses.residual("squared", traced.output, case.label)
    sensitivity = backpropagate(case.architecture, case.parameters, traced, residual).outputs["0"][0]
    return rank(layer_system(case).matrix(case.parameters["0/weight"], sensitivity))


def modular(matrix):
    rows, columns = matrix.shape
    return flint.nmod_mat(rows, columns, [int(entry) for entry in matrix.reshape(-1)], PRIME)


def witness(system, seed):
    """A random point modulo 2⁶¹ - 1."""
    shapes = {"weight": system.weight_shape, "sensitivity": system.sensitivity_shape}
    return [
        np.array(witness_integers(seed, name, int(np.prod(shape)), PRIME), dtype=object).reshape(shape)
        for name, shape in shapes.items()
    ]


@theorem.hypothesis("|x| - |W| - |z| < 0")
def negative_count(case):
    return count(case) < 0


@theorem.hypothesis("every pixel is seen by a window")
def every_pixel_is_seen(case):
    return layer_system(case).uncovered_unknowns == 0


@theorem.hypothesis("general position", arithmetic=RATIONAL)
def general_position(case):
    system = layer_system(case)
    return system_rank(case) == modular(system.matrix(*witness(system, 1))).rank()


@theorem.claim(arithmetics=(RATIONAL,))
def determined(case):
    return holds(system_rank(case) == layer_system(case).unknowns, name="rank U = |x|")


@theorem.counterexample
def nine_unknowns():
    """Three channels of three pixels, two 1×1 filters: 6 + 6 equations of rank 8."""
    return network((3, 1, 3), Conv2d(2, 1, bias=False), 0)


@theorem.without("|x| - |W| - |z| < 0")
def six_unknowns_and_five_equations():
    return network((3, 1, 2), Conv2d(1, 1, bias=False), 0)


@theorem.without("every pixel is seen by a window")
def one_pixel_of_two():
    return network((1, 1, 2), Conv2d(2, 1, (1, 2), bias=False), 0)


@theorem.without("general position")
def equal_numbers():
    case = network((1, 1, 3), Conv2d(1, (1, 2), bias=False), 0)
    ones = Parameters.from_vector(case.architecture, np.ones(case.architecture.parameter_count))
    return Case(case.architecture, ones, np.ones((1, 1, 1, 3)), case.label)


@theorem.derivation(covers="the second layer of CNN6-d")
def cnn6_d():
    system = LayerSystem(12, 20, (17, 17), (3, 3), (2, 2), (1, 1))
    negative = system.unknowns - system.gradient_equations - system.forward_equations
    yield fact("|x| - |W| - |z| = 3468 - 2160 - 1620 = -312", negative == 3468 - 2160 - 1620 == -312)
    # Rows and columns split into even pixels, seen through lag 1, and odd ones, seen through lags 0 and 2.
    classes = [(lags * other, pixels * more) for lags, pixels in ((1, 9), (2, 8)) for other, more in ((1, 9), (2, 8))]
    of_gradient = system.in_channels * sum(min(system.out_channels * lags, pixels) for lags, pixels in classes)
    yield fact("rank F <= |z| = 1620 and rank K <= 12 (20 + 40 + 40 + 64) = 1968", of_gradient == 1968)
    weight, sensitivity = witness(system, 0)
    block = system.gradient_block(sensitivity).reshape(system.out_channels, len(system.lags()), system.pixels)
    kernels = modular(weight.reshape(-1, len(system.lags())))
    shared = [np.array((kernels * modular(one)).tolist(), dtype=object) for one in block]
    vectors = np.array(shared).reshape(-1, system.unknowns)
    yield fact(
        "the 400 shared vectors are independent at a point modulo 2^61 - 1, so in general",
        modular(vectors).rank() == 400,
    )
    yield fact(
        "rank U <= 1620 + 1968 - 400 = 3188 in general, 280 less than |x|",
        system.unknowns - (system.forward_equations + of_gradient - 400) == 280,
    )


@theorem.derivation(covers="the explicit counterexample")
def nine_unknowns_in_general():
    case = nine_unknowns()
    system = layer_system(case)
    yield fact("9 unknowns, 6 forward and 6 gradient equations", count(case) == 9 - 6 - 6 and system.unknowns == 9)
    found = modular(system.matrix(*witness(system, 2))).rank()
    yield fact("the rank is 8 at a random point: (3 - 2)(3 - 2) = 1 short, by chen2022.tiled_patches", found == 8)


@theorem.derivation(covers="3×3 images under 2×2 windows")
def gradients_depend_on_one_another():
    import sympy

    system = LayerSystem(1, 2, (3, 3), (2, 2))
    sensitivity = np.array(sympy.symbols("d:8"), dtype=object)
    rows = system.gradient_block(sensitivity.reshape(2, 2, 2)).reshape(2, 4, 9)
    first, second = sensitivity.reshape(2, 4)
    yield identity(
        "where output and kernel have one size, sum_a D_1(a) K_(0,a) = sum_a D_0(a) K_(1,a): D_0 and D_1 convolved",
        sympy.Matrix(second @ rows[0]),
        sympy.Matrix(first @ rows[1]),
    )


def rows_with_remainder(draw):
    """1×3 filters with stride 2: on an even number of pixels the last one is seen by no window."""
    shape = (draw(st.integers(1, 2)), 1, draw(st.integers(4, 8)))
    return network(shape, Conv2d(draw(st.integers(1, 3)), (1, 3), (1, 2), bias=False), draw(small_seeds()))


@theorem.false_twin(
    "a surplus of C_out^2 equations makes up for the identities",
    without=("every pixel is seen by a window",),
    instances=rows_with_remainder,
)
def surplus(case):
    enough = count(case) + layer_system(case).out_channels ** 2 <= 0
    return holds(
        not enough or system_rank(case) == layer_system(case).unknowns,
        name="rank U = |x| if |x| - |W| - |z| + C_out^2 <= 0",
    )


def squares(draw):
    """Stride 1 and no padding, on images that are hardly larger than the kernel."""
    shape = (draw(st.integers(1, 4)), 3, draw(st.integers(3, 4)))
    return network(shape, Conv2d(draw(st.integers(1, 3)), (2, shape[2] - 1), bias=False), draw(small_seeds()))


@theorem.false_twin(
    "a surplus of C_out^2 equations suffices where every pixel is seen, with stride 1 and without padding",
    instances=squares,
)
def surplus_on_seen_pixels(case):
    return surplus(case)


def windows_of_full_width(draw):
    shape = (draw(st.integers(1, 2)), draw(st.integers(2, 4)), draw(st.integers(2, 4)))
    outputs = shape[0] + draw(st.integers(1, 2))
    return network(shape, Conv2d(outputs, (1, shape[2]), bias=False), draw(small_seeds()))


@theorem.false_twin("with more output than input channels the count is right", instances=windows_of_full_width)
def more_channels(case):
    system = layer_system(case)
    return holds(
        system.out_channels <= system.in_channels or system_rank(case) == system.unknowns,
        name="rank U = |x| if C_out > C_in",
    )


def partial_windows(draw):
    """2×2 filters with stride 2 whose outer windows reach into the padding at the left and the right."""
    shape = (1, draw(st.sampled_from((2, 4))), draw(st.sampled_from((4, 6))))
    return network(shape, Conv2d(draw(st.integers(2, 3)), 2, 2, (0, 1), bias=False), draw(small_seeds()))


@theorem.false_twin("as many forward equations as unknowns suffice, |z| >= |x|", instances=partial_windows)
def enough_outputs(case):
    system = layer_system(case)
    enough = system.forward_equations >= system.unknowns
    return holds(not enough or system_rank(case) == system.unknowns, name="rank U = |x| if |z| >= |x|")


def padded_rows(draw):
    shape = (draw(st.integers(1, 3)), 1, draw(st.integers(3, 5)))
    convolution = Conv2d(draw(st.integers(1, 2)), (1, 3), (1, 2), (0, 1), bias=False)
    return network(shape, convolution, draw(small_seeds()))


@theorem.false_twin("as many gradient equations as unknowns suffice, |W| >= |x|", instances=padded_rows)
def enough_weights(case):
    system = layer_system(case)
    enough = system.gradient_equations >= system.unknowns
    return holds(not enough or system_rank(case) == system.unknowns, name="rank U = |x| if |W| >= |x|")
