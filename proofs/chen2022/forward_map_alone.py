r"""One filter more than there are channels leaves the forward equations of a convolution short, however large the image.

A convolution with stride 1 and without padding, k_h × k_w filters from C to C + 1 channels, sends an image of H × W pixels
to about (C + 1) H W outputs, more than its C H W unknowns once the image is large. Still the output does not determine the
image: for filters in general position

    dim ker F = C (C + 1) (k_h - 1) (k_w - 1)    if H >= (C + 1)(k_h - 1) and W >= (C + 1)(k_w - 1),

whatever the size. With C + 2 or more filters the kernel is zero if H >= (C + 2)(k_h - 1) and W >= (C + 2)(k_w - 1). The
first network of R-GAP's rank figure (3 → 4 channels, 4×4, on 32×32) has 3364 forward equations for 3072 unknowns, but they
have rank 2964. So |z| > |x| does not make a layer injective; what is missing has to come from its gradient equations.

Notes
-----
Write the filters as polynomials w_oc in two variables. A null vector is a linear form on images that vanishes on all
multiples of the columns of w, so dim ker F is the dimension of the cokernel of the (C, C + 1) matrix of polynomials in
box degrees below (H, W). By Cramer's rule the signed maximal minors m_o of w satisfy

.. math:: \sum_o m_o w_{oc} = 0 \quad\text{for all } c,

and their (H - (C + 1)(k_h - 1)) (W - (C + 1)(k_w - 1)) shifts are dependencies between the rows of F. That proves "at least"
for all filters (where all minors vanish, by semicontinuity of the rank). Conversely, if the matrix drops its rank at finitely
many points of P¹ × P¹, then

.. math:: 0 \to O(-(C+1)d) \to O(-d)^{C+1} \to O^C \to M \to 0, \qquad d = (k_h - 1, k_w - 1)

is exact, M has length C (C + 1)(k_h - 1)(k_w - 1) (Porteous), and no cohomology is left from the stated sides on. One pixel
less in both directions costs one dimension. For C + 2 filters the matrix drops its rank nowhere, and the Buchsbaum-Rim
complex, which ends in O(-(C + 2)d)^C, gives zero from the sides on that this needs. That there are finitely many points, or
none, follows for almost all filters from one instance with the stated nullity; exact arithmetic looks at many here.

Source: derived here; the count for square images was found by measurement. Used against reading |z| > |x| as "determined"
in the rank analysis of Zhu and Blaschko (arXiv:2010.07733); its figure was read, the paper was not.
"""

import math
from dataclasses import dataclass, replace

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import rank
from provable.leakage.layer_systems import frontal
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.rank import witness
from provable.rigor.modular_rank import PRIME
from provable.theorems import MODULAR, RATIONAL, Source, Theorem, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""Let F be the matrix of a convolution with stride 1 and no padding, with k_h x k_w filters from C to C' > C
    channels in general position, on H x W pixels; let c = min(C', C + 2), H >= c (k_h - 1) and W >= c (k_w - 1). If
    C' = C + 1, its kernel has dimension C (C + 1)(k_h - 1)(k_w - 1); otherwise the kernel is zero.""",
    source=Source("derived", "", "against |z| > |x| as a criterion in the rank analysis of arXiv:2010.07733"),
    expected="certified",
    does_not_say="nothing about the gradient equations, which usually supply what the forward equations lack",
)


@dataclass(frozen=True)
class Case:
    """Filters, (C', C, k_h, k_w), and the layer that they are filters of: image, stride and padding."""

    weight: np.ndarray
    sides: tuple
    stride: int
    padding: int


def system_of(case):
    outputs, inputs, *kernel = case.weight.shape
    return LayerSystem(inputs, outputs, case.sides, tuple(kernel), (case.stride,) * 2, (case.padding,) * 2)


def draw_case(draw, *, extra, below=0, stride=1, padding=0, integers=False):
    """`extra` filters more than channels; sides up to `below` pixels less than the theorem demands, or up to two more."""
    inputs = draw(st.sampled_from((1, 1, 2, 2, 3)))
    largest = {1: 4, 2: 3, 3: 2}[inputs]
    kernel = (draw(st.sampled_from((2, 2, 2, 1, 3))), draw(st.integers(2, largest)))
    kernel = (min(kernel[0], largest), kernel[1])
    least = inputs + min(extra, 2)
    sides = tuple(max(k, least * (k - 1) + draw(st.integers(-below, 3 - min(inputs, 2)))) for k in kernel)
    shape = (inputs + extra, inputs, *kernel)
    if integers:
        generator = np.random.default_rng(draw(st.integers(0, 1000)))
        weight = generator.integers(1, 10, shape) * generator.choice([-1.0, 1.0], shape)
    else:
        weight = draw(readable_arrays(shape, nonzero=True))
    return Case(weight, sides, stride, padding)


@theorem.instances
def convolutions(draw):
    return draw_case(draw, extra=draw(st.sampled_from((1, 1, 2, 3))), integers=draw(st.integers(0, 3)) > 0)


def nullity(case):
    system = system_of(case)
    return system.unknowns - rank(system.forward_matrix(case.weight))


def common_zeros(case):
    """C (C + 1)(k_h - 1)(k_w - 1)."""
    _, inputs, tall, wide = case.weight.shape
    return inputs * (inputs + 1) * (tall - 1) * (wide - 1)


def surplus(case):
    """C' - C."""
    return case.weight.shape[0] - case.weight.shape[1]


@theorem.hypothesis("more filters than channels")
def more_filters(case):
    return surplus(case) > 0


@theorem.hypothesis("stride 1")
def stride_one(case):
    return case.stride == 1


@theorem.hypothesis("no padding")
def no_padding(case):
    return case.padding == 0


@theorem.hypothesis("H >= c (k_h - 1) and W >= c (k_w - 1)")
def large_image(case):
    outputs, inputs, *kernel = case.weight.shape
    return all(side >= min(outputs, inputs + 2) * (k - 1) for side, k in zip(case.sides, kernel, strict=True))


def generic_rank(system):
    """Rank of F at a random point modulo 2⁶¹ - 1."""
    matrix = system.forward_matrix(witness(system)[0].astype(object))
    return flint.nmod_mat(*matrix.shape, [int(entry) for entry in matrix.reshape(-1)], PRIME).rank()


@theorem.hypothesis("general position", arithmetic=RATIONAL)
def general_position(case):
    """The rank at the drawn filters is that at an independent random point."""
    system = system_of(case)
    return system.unknowns - nullity(case) == generic_rank(system)


@theorem.claim(arithmetics=(RATIONAL, MODULAR))
def closed_form(case):
    expected = common_zeros(case) if surplus(case) == 1 else 0
    return holds(nullity(case) == expected, name="dim ker F = C (C + 1)(k_h - 1)(k_w - 1), or 0")


@theorem.degenerate
def filters_of_one_row(case):
    return common_zeros(case) == 0


@theorem.derivation(covers="the bound from below, for C + 1 filters")
def cramers_rule():
    import sympy

    for channels in (1, 2, 3):
        filters = sympy.Matrix(channels + 1, channels, sympy.symbols(f"w:{channels * (channels + 1)}"))
        minors = []
        for output in range(channels + 1):
            rest = filters.copy()
            rest.row_del(output)
            minors.append((-1) ** output * rest.det(method="berkowitz"))
        yield identity(
            f"C = {channels}: sum_o m_o w_oc = 0, the expansion of a determinant with two equal columns",
            sympy.Matrix([minors]) * filters,
            sympy.zeros(1, channels),
        )
    c, h, w, a, b = sympy.symbols("C H W a b")
    yield identity(
        "m_o has the size C (k - 1) + 1, so H - k + 1 - C (k - 1) = H - (C + 1)(k - 1) of its shifts fit into the output",
        h - (a + 1) + 1 - c * a,
        h - (c + 1) * a,
    )
    yield identity(
        "unknowns - equations + dependencies, with a = k_h - 1 and b = k_w - 1, is C (C + 1) a b",
        c * h * w - (c + 1) * (h - a) * (w - b) + (h - (c + 1) * a) * (w - (c + 1) * b),
        c * (c + 1) * a * b,
    )


@theorem.derivation(covers="the first network of R-GAP's rank figure")
def more_equations_than_unknowns():
    system = LayerSystem(3, 4, (32, 32), (4, 4))
    yield fact(
        "|z| = 3364 > |x| = 3072",
        system.forward_equations == 3364 and system.unknowns == 3072,
    )
    steps = frontal.eliminate(system, witness(system)[0])
    found = sum(len(step.pivots) for step in steps)
    yield fact(
        "rank F >= 2964 in general (a witness modulo 2^61 - 1), and rank F <= 3364 - (32 - 4 * 3)^2 = 2964 always",
        found == 2964 == 3364 - (32 - 4 * 3) ** 2,
    )


def example(outputs, inputs, kernel, sides, stride=1, padding=0):
    generator = np.random.default_rng(0)
    shape = (outputs, inputs, *kernel)
    return Case(generator.integers(1, 10, shape) * generator.choice([-1.0, 1.0], shape), sides, stride, padding)


@theorem.without("more filters than channels")
def one_filter():
    return example(1, 1, (2, 2), (2, 2))


@theorem.without("stride 1")
def every_second_window():
    return example(2, 1, (2, 2), (4, 4), stride=2)


@theorem.without("no padding")
def padded_by_one():
    return example(2, 1, (2, 2), (2, 2), padding=1)


@theorem.without("H >= c (k_h - 1) and W >= c (k_w - 1)")
def one_pixel_less_in_both_directions():
    return example(2, 1, (3, 3), (3, 3))


@theorem.without("general position")
def two_equal_filters():
    case = example(2, 1, (2, 2), (3, 3))
    return replace(case, weight=np.ones((2, 1, 2, 2)))


def growing_images(draw):
    """C + 1 filters of 2×2 on squares of increasing side."""
    inputs = draw(st.integers(1, 2))
    side = draw(st.integers(inputs + 1, 4 * inputs + 2))
    return example(inputs + 1, inputs, (2, 2), (side, side))


@theorem.false_twin("with at least as many outputs as unknowns the kernel is zero", instances=growing_images)
def enough_outputs(case):
    system = system_of(case)
    enough = system.forward_equations >= system.unknowns
    return holds(not enough or nullity(case) == 0, name="ker F = 0 if |z| >= |x|")


def one_filter_more(draw):
    return draw_case(draw, extra=1, integers=True)


@theorem.false_twin("common zeros are counted as in the projective plane", instances=one_filter_more)
def projective_count(case):
    outputs, _, tall, wide = case.weight.shape
    degree = tall + wide - 2
    return holds(nullity(case) == math.comb(outputs, 2) * degree**2, name="dim ker F = C(C + 1, 2) (k_h + k_w - 2)^2")


@theorem.false_twin("every pair of filters has its common zeros, once", instances=one_filter_more)
def once_for_each_pair(case):
    return holds(nullity(case) == common_zeros(case) // 2, name="dim ker F = C(C + 1, 2) (k_h - 1)(k_w - 1)")


def padded_convolutions(draw):
    return draw_case(draw, extra=1, padding=1, integers=True)


@theorem.false_twin("padding does no harm", without=("no padding",), instances=padded_convolutions)
def padding_is_harmless(case):
    return closed_form(case)


def slightly_smaller_images(draw):
    return draw_case(draw, extra=1, below=1, integers=True)


@theorem.false_twin(
    "one pixel less in both directions does no harm",
    without=("H >= c (k_h - 1) and W >= c (k_w - 1)",),
    instances=slightly_smaller_images,
)
def smaller_images(case):
    return closed_form(case)


def readable_filters(draw):
    return draw_case(draw, extra=1)


@theorem.false_twin(
    "filters without zeros are in general position", without=("general position",), instances=readable_filters
)
def nonzero_filters(case):
    return closed_form(case)
