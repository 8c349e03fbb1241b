r"""The forward and gradient equations of a convolution are short by C_out² in general, and by more where its output is small.

Let U = [F; K] stack the forward and the gradient equations of a convolution for one sample, with weight matrix W and
sensitivities D as a matrix of one row for each output channel. For every weight and every D

    rank U <= |z| + rank K - C_out · rank D,    rank U <= rank F + |W| - C_out · rank W,

and rank U is at most the number of covered unknowns. In general position the ranks of W and D are C_out (if patches have as
many entries and outputs as many positions), so both subtract C_out². rank K is at most the number of weights |W|, and less
in two cases. Stride splits the pixels into classes, and a class of few pixels bounds the rank of the rows that see it:

    rank K <= C_in · sum over classes of min(C_out · lags, pixels).

And where the output is no larger than the kernel, correlations of two sensitivities can be written in two ways. With output
size u, kernel size k and stride s on each axis, let R be the product over both axes of min(s, k - s (u - 1)), or 0 if one of
them is negative; with n(C) = C (C - 1)/2

    rank K <= |W| - R C_in (n(C_out) - n(C_out - rank D)).

The last one is not in the class count: 3 → 2 channels, a 2×2 kernel and a 3×3 image have |z| + |W| - C_out² = 28 and 27
unknowns, but rank 25 at most.

Notes
-----
.. math:: \sum_p D_{o'}(p)\, F_{(o,p)} = \sum_{\alpha} W_{o\alpha}\, K_{(o',\alpha)} \quad\text{for all } o, o'

are relations between the rows of U. Their coefficients on the rows of F are e_o ⊗ D_{o'}, and C_out rank D of them are
independent there, so as many forward equations follow from the others and the gradient equations. With W for D and K for F
the same gives the second bound. With output positions q taken as kernel entries s q + r, for a residue r,

.. math:: \sum_{q} D_{o'}(q)\, K_{(o,c,s q + r)} = \sum_{q} D_{o}(q)\, K_{(o',c,s q + r)},

because both send x to Σ_{p,q} D_{o'}(q) D_o(p) x_c(s (p + q) + r - padding), x being zero outside. A combination of these
relations with an antisymmetric table γ has the coefficients γ D for each residue and input channel, which vanish if and only
if the columns of γ lie in the left kernel of D: that is n(C_out - rank D) dimensions of tables out of n(C_out). Different
residues use different kernel entries.

Source: derived here; the layer system is that of arXiv:2010.07733 and arXiv:2111.10178. That the bound is an equality for
numbers in general position is false: ``chen2022.overlapping_patches_equality``.
"""

import math
from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import rank
from provable.leakage.layer_systems.dimension_counts import gradient_count
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.rank import witness
from provable.rigor.modular_rank import PRIME
from provable.theorems import MODULAR, RATIONAL, Source, Theorem, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For every weight W and all sensitivities D of one sample, both as matrices with C_out rows, the layer system
    U = [F; K] of a convolution has rank U <= |z| + rank K - C_out rank D and rank U <= rank F + |W| - C_out rank W, and
    rank U is at most the number of unknowns that an output sees. Further, rank K <= C_in sum_classes min(C_out lags, pixels)
    over the classes of pixels modulo the stride; and rank K <= |W| - R C_in (n(C_out) - n(C_out - rank D)) for
    n(C) = C (C - 1)/2 and R the product over both axes of max(0, min(s, k - s (u - 1))), for stride s, kernel size k and
    output size u.""",
    source=Source("derived", "", "the layer system is that of arXiv:2010.07733 and arXiv:2111.10178"),
    expected="proved",
    does_not_say="nothing about equality, which fails even in general position (chen2022.overlapping_patches_equality)",
)


@dataclass(frozen=True)
class Case:
    """The sizes of a convolution, its weight, (C_out, C_in, k_h, k_w), and its sensitivities, (C_out, u, v)."""

    sides: tuple
    stride: tuple
    padding: tuple
    weight: np.ndarray
    sensitivity: np.ndarray

    @property
    def system(self):
        outputs, inputs, *kernel = self.weight.shape
        return LayerSystem(inputs, outputs, self.sides, tuple(kernel), self.stride, self.padding)


def filled(draw, system, *, nonzero=False, integers=False):
    """Numbers for a system: readable ones, or integers from -9 to 9 without zero from a seed."""
    shapes = (system.weight_shape, system.sensitivity_shape)
    if integers:
        generator = np.random.default_rng(draw(st.integers(0, 1000)))
        numbers = [generator.integers(1, 10, shape) * generator.choice([-1.0, 1.0], shape) for shape in shapes]
    else:
        together = draw(readable_arrays((sum(map(math.prod, shapes)),), nonzero=nonzero))
        parts = np.split(together, [math.prod(shapes[0])])
        numbers = [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]
    return Case(system.input_size, system.stride, system.padding, *numbers)


def draw_system(draw, *, most_outputs=3):
    """Overlapping windows mostly: kernels of 1×2 to 2×3 on a few pixels."""
    inputs, outputs = draw(st.integers(1, 3)), draw(st.integers(1, most_outputs))
    kernel = draw(st.sampled_from(((1, 2), (1, 2), (1, 3), (2, 2), (2, 2), (1, 4), (2, 3))))
    stride = (1, draw(st.sampled_from((1, 1, 1, 2, 3))))
    padding = draw(st.sampled_from(((0, 0), (0, 0), (0, 1), (kernel[0] - 1, kernel[1] - 1))))
    grow = (draw(st.integers(0, 1)), draw(st.integers(0, 3)))
    sides = tuple(max(1, k + g - p) for k, g, p in zip(kernel, grow, padding, strict=True))
    return LayerSystem(inputs, outputs, sides, kernel, stride, padding)


@theorem.instances
def convolutions(draw):
    system = draw_system(draw, most_outputs=draw(st.sampled_from((1, 2, 2, 3))))
    return filled(draw, system, integers=draw(st.booleans()))


@theorem.degenerate
def nothing_is_seen(case):
    return not np.any(case.weight) or not np.any(case.sensitivity)


class Ranks:
    """rank U, rank F, rank K, rank W and rank D."""

    def __init__(self, case):
        forward = case.system.forward_matrix(case.weight)
        gradient = case.system.gradient_matrix(case.sensitivity)
        self.system, self.forward, self.gradient = rank(np.vstack([forward, gradient])), rank(forward), rank(gradient)
        self.weight = rank(case.weight.reshape(len(case.weight), -1))
        self.sensitivity = rank(case.sensitivity.reshape(len(case.sensitivity), -1))


def residues(system):
    """R: how many residues modulo the stride have room for the output among the kernel entries."""
    sizes = zip(system.stride, system.kernel_size, system.output_size, strict=True)
    return math.prod(max(0, min(s, k - s * (u - 1))) for s, k, u in sizes)


def pairs(count):
    return count * (count - 1) // 2


@theorem.claim(arithmetics=(RATIONAL, MODULAR))
def bounds(case):
    system, found = case.system, Ranks(case)
    outputs = system.out_channels
    yield holds(
        found.system <= system.forward_equations + found.gradient - outputs * found.sensitivity,
        name="rank U <= |z| + rank K - C_out rank D",
    )
    yield holds(
        found.system <= found.forward + system.gradient_equations - outputs * found.weight,
        name="rank U <= rank F + |W| - C_out rank W",
    )
    yield holds(found.system <= system.unknowns - system.uncovered_unknowns, name="rank U <= covered unknowns")
    yield holds(found.gradient <= gradient_count(system), name="rank K <= C_in sum_classes min(C_out lags, pixels)")
    relations = residues(system) * (pairs(outputs) - pairs(outputs - found.sensitivity))
    yield holds(
        found.gradient <= system.gradient_equations - system.in_channels * relations,
        name="rank K <= |W| - R C_in (n(C_out) - n(C_out - rank D))",
    )


@theorem.derivation
def shared_vectors():
    import sympy

    def generic(name, rows, columns):
        return sympy.Matrix(rows, columns, sympy.symbols(f"{name}:{rows * columns}"))

    weight, patch, sensitivity = (generic(name, 2, 2) for name in "wpd")
    yield identity(
        "sum_p D_o'(p) (W P)_(o,p) = sum_a W_(o,a) (D P^T)_(o',a) for every P: the same vector in both row spaces",
        (weight * patch) * sensitivity.T,
        weight * (sensitivity * patch.T).T,
    )
    coefficients = generic("c", 2, 2)
    yield identity(
        "the combination of these relations by c has c D on the rows of F: zero only if all rows of c are in D's left kernel",
        sympy.Matrix(2, 2, lambda o, p: sum(coefficients[o, other] * sensitivity[other, p] for other in range(2))),
        coefficients * sensitivity,
    )
    yield identity(
        "and c^T W on the rows of K",
        sympy.Matrix(2, 2, lambda other, a: sum(coefficients[o, other] * weight[o, a] for o in range(2))),
        coefficients.T * weight,
    )
    size, of_sensitivity, of_forward, of_gradient = sympy.symbols("C r f k")
    yield identity(
        "so C_out rank D independent vectors on the rows of F send F into the row space of K: rank U <= |z| - C r + rank K",
        (of_forward - size * of_sensitivity) + of_gradient,
        of_forward + of_gradient - size * of_sensitivity,
    )


@theorem.derivation
def gradient_equations():
    import sympy

    flat = np.array(sympy.symbols("d:4"), dtype=object).reshape(2, 2)
    # One axis and two positions are generic: sums over pairs of positions. Padding zeroes columns.
    for stride, kernel, padding in ((1, 2, 0), (1, 3, 1), (2, 3, 0), (2, 4, 2), (3, 5, 1)):
        system = LayerSystem(1, 2, (1, kernel + stride - 2 * padding), (1, kernel), (1, stride), (0, padding))
        rows = system.gradient_block(flat.reshape(2, 1, 2)).reshape(2, kernel, system.pixels)
        for residue in range(residues(system)):
            entries = [residue, residue + stride]
            yield identity(
                f"k = {kernel}, s = {stride}, padding {padding}, r = {residue}: the two sums agree",
                sympy.Matrix(flat[1] @ rows[0][entries]),
                sympy.Matrix(flat[0] @ rows[1][entries]),
            )
    gamma = sympy.Symbol("g")
    table = sympy.Matrix([[0, gamma], [-gamma, 0]])
    yield identity(
        "its coefficients are those of gamma D with an antisymmetric gamma",
        table * sympy.Matrix(flat),
        gamma * sympy.Matrix([list(flat[1]), list(-flat[0])]),
    )
    yield fact(
        "antisymmetric C x C tables with gamma N = 0 for a normal form N of rank r: those of size C - r",
        all(
            sum(1 for i in range(size) for j in range(i) if i >= r and j >= r) == pairs(size - r)
            for size in range(1, 6)
            for r in range(size + 1)
        ),
    )
    systems = [
        LayerSystem(1, outputs, (1, side), (1, kernel), (1, stride), (0, padding))
        for outputs in (1, 2)
        for side in range(2, 8)
        for kernel in range(1, 5)
        for stride in (1, 2, 3)
        for padding in range(kernel)
        if kernel <= side + 2 * padding
    ]
    yield fact(
        "a lag sees pixels of one residue modulo the stride, so K is a direct sum of blocks, one for each class",
        all(
            len({int(pixel) % system.stride[1] for pixel in system.touched(0, lag)[1]}) <= 1
            for system in systems
            for lag in range(system.kernel_size[1])
        ),
    )


@theorem.derivation(covers="3 → 2 channels, a 2×2 kernel, a 3×3 image")
def twenty_five():
    system = LayerSystem(3, 2, (3, 3), (2, 2))
    bound = system.forward_equations + system.gradient_equations - 4 - 3 * pairs(2)
    matrix = system.matrix(*(array.astype(object) for array in witness(system)))
    found = flint.nmod_mat(*matrix.shape, [int(entry) for entry in matrix.reshape(-1)], PRIME).rank()
    yield fact("rank U <= 8 + 24 - 4 - 3 = 25, attained at a random point modulo 2^61 - 1", bound == found == 25)
    yield fact("without the relations of K: min(8 + 24 - 4, 27) = 27", min(8 + 24 - 4, system.unknowns) == 27)


def nonzero_numbers(draw):
    return filled(draw, draw_system(draw), nonzero=True)


@theorem.false_twin("there is one dependency more", instances=nonzero_numbers)
def one_dependency_more(case):
    found, outputs = Ranks(case), case.system.out_channels
    bound = case.system.forward_equations + found.gradient - outputs * found.sensitivity - 1
    regular = found.sensitivity == found.weight == outputs
    return holds(not regular or found.system <= bound, name="rank U <= |z| + rank K - C_out rank D - 1")


def two_short_filters(draw):
    """Two filters of 1×1 or 1×2."""
    kernel = draw(st.integers(1, 2))
    system = LayerSystem(draw(st.integers(1, 2)), 2, (1, kernel + draw(st.integers(1, 2))), (1, kernel))
    return filled(draw, system, nonzero=True)


@theorem.false_twin("rank F may stand for |z|", instances=two_short_filters)
def rank_of_forward_equations(case):
    found = Ranks(case)
    bound = found.forward + found.gradient - case.system.out_channels * found.sensitivity
    return holds(found.system <= bound, name="rank U <= rank F + rank K - C_out rank D")


@theorem.false_twin("C_out may stand for rank D where no sensitivity vanishes", instances=two_short_filters)
def dependent_sensitivities(case):
    found = Ranks(case)
    bound = case.system.forward_equations + found.gradient - case.system.out_channels**2
    return holds(found.system <= bound, name="rank U <= |z| + rank K - C_out^2")


def small_outputs(draw):
    """One or two filters of 2×2 on 3×3, or of 1×3 on 1×4 or 1×5: outputs that fit into the kernel."""
    sides, kernel = draw(st.sampled_from((((3, 3), (2, 2)), ((1, 4), (1, 3)), ((1, 5), (1, 3)))))
    return filled(draw, LayerSystem(1, draw(st.integers(1, 2)), sides, kernel), integers=True)


def in_general_position(case):
    """Whether rank K is that at a random point modulo 2⁶¹ - 1."""
    matrix = case.system.gradient_matrix(witness(case.system)[1].astype(object))
    generic = flint.nmod_mat(*matrix.shape, [int(entry) for entry in matrix.reshape(-1)], PRIME).rank()
    return Ranks(case).gradient == generic


@theorem.false_twin("in general position, rank K is the count by classes", instances=small_outputs)
def classes_are_all(case):
    return holds(
        not in_general_position(case) or Ranks(case).gradient == gradient_count(case.system),
        name="rank K = C_in sum_classes min(C_out lags, pixels)",
    )


@theorem.false_twin("there is a relation for every ordered pair of filters", instances=small_outputs)
def ordered_pairs(case):
    system = case.system
    bound = system.gradient_equations - 2 * residues(system) * system.in_channels * pairs(system.out_channels)
    return holds(Ranks(case).gradient <= bound, name="rank K <= |W| - R C_in C_out (C_out - 1)")


def outputs_one_larger(draw):
    """Two filters, output one pixel larger than the kernel."""
    kernel = draw(st.integers(1, 3))
    return filled(draw, LayerSystem(1, 2, (1, 2 * kernel), (1, kernel)), integers=True)


@theorem.false_twin("the output may be one pixel larger than the kernel", instances=outputs_one_larger)
def larger_output(case):
    system, found = case.system, Ranks(case)
    relations = pairs(2) - pairs(2 - found.sensitivity)
    return holds(
        found.gradient <= system.gradient_equations - system.in_channels * relations,
        name="rank K <= |W| - C_in (n(C_out) - n(C_out - rank D))",
    )


def outputs_with_room(draw):
    """Two or three 1×3 or 1×4 filters with two output positions, which fit into the kernel in more than one place."""
    kernel = draw(st.integers(3, 4))
    return filled(draw, LayerSystem(1, draw(st.integers(2, 3)), (1, kernel + 1), (1, kernel)), integers=True)


@theorem.false_twin("every place of the output in the kernel gives relations of its own", instances=outputs_with_room)
def every_place(case):
    system, found = case.system, Ranks(case)
    places = math.prod(k - u + 1 for k, u in zip(system.kernel_size, system.output_size, strict=True))
    relations = pairs(system.out_channels) - pairs(system.out_channels - found.sensitivity)
    bound = system.gradient_equations - places * system.in_channels * relations
    return holds(found.gradient <= bound, name="rank K <= |W| - places C_in (n(C_out) - n(C_out - rank D))")
