r"""Where patches overlap, C_out² is all that forward and gradient equations lose: a plausible count, and false.

As conjectured from measurements: let the forward equations F of a convolution be independent, and the rows of the
sensitivities D. Then for numbers in general position

    rank U = min(covered unknowns, |z| + rank K - C_out²).

"At most" is a theorem (``chen2022.overlapping_patches_bound``), and where patches tile the image equality holds
(``chen2022.tiled_patches``). But windows that reach into the padding see few pixels, and several equations may fight over
them. One 1×4 filter with stride 3 and padding 3 on six pixels has windows that see the pixels {0}, {0, 1, 2, 3} and
{3, 4, 5}; no smaller layer was found. Three of its equations involve the pixels 0 and 3 only,

    w_3 x_0,    D_1 x_0 + D_2 x_3,    D_0 x_0 + D_1 x_3,

so the rank is 5, not 6. Six to three channels, 4×4, stride 2 and padding 2 on 8×8 pixels have rank 336, not 354. Padding is
not the only reason: 4 → 3 channels, 2×2, stride (2, 1) on 2×7 pixels have rank 54, not 56. The smallest rank modulo a prime
at a few random points therefore remains the way to find out.

Notes
-----
.. math:: \operatorname{rank} U = |z| + \operatorname{rank} K - \dim (R(F) \cap R(K)), \qquad
          \dim (R(F) \cap R(K)) \ge C_{out}^2 .

Source: the conjecture is derived from a rank of unrestricted patches, for which it is true (``chen2022.dependency_law``).
It was measured to hold for most small layers, with the exceptions that led to the examples here. "General position" means
that the ranks at the drawn integers are those at an independent random point modulo 2⁶¹ - 1.
"""

from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import rank
from provable.leakage.layer_systems.dimension_counts import forward_count, gradient_count
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.layer_systems.rank import dependency_rank, rank_bounds, witness
from provable.rigor.modular_rank import PRIME
from provable.theorems import RATIONAL, Source, Theorem, fact, holds, identity

theorem = Theorem(
    statement=r"""Let the forward equations F of a convolution be independent, and the rows of the sensitivities D of one
    sample. Then in general position the layer system U = [F; K] has rank U = min(n, |z| + rank K - C_out^2), with n the
    number of unknowns that an output sees.""",
    source=Source("derived", "", "a conjecture from measured ranks of layers as in arXiv:2111.10178"),
    expected="refuted",
    corrected_by="chen2022.overlapping_patches_bound",
    does_not_say="not that equality is rare: it is the rule among small layers, and exact where patches tile",
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


def filled(system, seed):
    """Integers from -9 to 9 without zero."""
    generator = np.random.default_rng(seed)
    numbers = [
        generator.integers(1, 10, shape) * generator.choice([-1.0, 1.0], shape)
        for shape in (system.weight_shape, system.sensitivity_shape)
    ]
    return Case(system.input_size, system.stride, system.padding, *numbers)


def small_seeds():
    return st.integers(0, 1000)


@theorem.instances
def padded_rows(draw):
    kernel, stride = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    padding = draw(st.sampled_from((0, kernel - 1, kernel // 2)))
    side = max(1, kernel + draw(st.integers(0, 6)) - padding)
    sizes = ((1, side), (1, kernel), (1, stride), (0, padding))
    return filled(LayerSystem(draw(st.integers(1, 3)), draw(st.integers(1, 2)), *sizes), draw(small_seeds()))


def modular_rank(matrix):
    rows, columns = matrix.shape
    return flint.nmod_mat(rows, columns, [int(entry) for entry in matrix.reshape(-1)], PRIME).rank()


def matrices(case):
    """F, K and U."""
    forward, gradient = case.system.forward_matrix(case.weight), case.system.gradient_matrix(case.sensitivity)
    return forward, gradient, np.vstack([forward, gradient])


@theorem.hypothesis("independent rows of F", arithmetic=RATIONAL)
def independent_forward_equations(case):
    return rank(matrices(case)[0]) == case.system.forward_equations


@theorem.hypothesis("independent rows of D", arithmetic=RATIONAL)
def independent_sensitivities(case):
    return rank(case.sensitivity.reshape(len(case.sensitivity), -1)) == len(case.sensitivity)


@theorem.hypothesis("general position", arithmetic=RATIONAL)
def general_position(case):
    system = case.system
    weight, sensitivity = (part.astype(object) for part in witness(system, seed=1))
    random = system.forward_matrix(weight), system.gradient_matrix(sensitivity), system.matrix(weight, sensitivity)
    return all(rank(drawn) == modular_rank(other) for drawn, other in zip(matrices(case), random, strict=True))


@theorem.claim(arithmetics=(RATIONAL,))
def equality(case):
    system = case.system
    _, gradient, together = matrices(case)
    expected = system.forward_equations + rank(gradient) - system.out_channels**2
    return holds(
        rank(together) == min(system.unknowns - system.uncovered_unknowns, expected),
        name="rank U = min(n, |z| + rank K - C_out^2)",
    )


SIX_PIXELS = LayerSystem(1, 1, (1, 6), (1, 4), (1, 3), (0, 3))


@theorem.counterexample
def six_pixels():
    return filled(SIX_PIXELS, 0)


@theorem.without("independent rows of F")
def windows_in_the_padding():
    """Two of four forward equations are empty: the count is min(4, 4 + 2 - 1), the rank 3."""
    return filled(LayerSystem(2, 1, (1, 2), (1, 1), (1, 1), (0, 1)), 0)


@theorem.without("independent rows of D")
def two_filters_on_one_position():
    """D has two rows of one number each: the count is min(4, 2 + 4 - 4), the rank 4."""
    return filled(LayerSystem(4, 2), 0)


@theorem.without("general position")
def equal_numbers():
    case = filled(LayerSystem(1, 1, (1, 3), (1, 2)), 0)
    return Case(case.sides, case.stride, case.padding, np.ones((1, 1, 1, 2)), np.ones((1, 1, 2)))


@theorem.derivation(covers="one 1×4 filter with stride 3 and padding 3 on six pixels")
def three_equations_for_two_pixels():
    import sympy

    d, w = sympy.symbols("d:3"), sympy.symbols("w:4")
    weight = np.array(w, dtype=object).reshape(SIX_PIXELS.weight_shape)
    sensitivity = np.array(d, dtype=object).reshape(SIX_PIXELS.sensitivity_shape)
    rows = np.vstack([SIX_PIXELS.forward_matrix(weight)[:1], SIX_PIXELS.gradient_matrix(sensitivity)[[0, 3]]])
    x = sympy.symbols("x:6")
    yield identity(
        "one forward and two gradient equations see the pixels 0 and 3 only",
        sympy.Matrix(rows) * sympy.Matrix(x),
        sympy.Matrix([w[3] * x[0], d[1] * x[0] + d[2] * x[3], d[0] * x[0] + d[1] * x[3]]),
    )
    yield fact("so of 3 + 4 equations one is redundant, beside that of the law", 3 + 4 - 1 - 1 == 5)
    found = modular_rank(SIX_PIXELS.matrix(*(part.astype(object) for part in witness(SIX_PIXELS))))
    yield fact("the rank at a random point modulo 2^61 - 1 is 5", found == 5)


@theorem.derivation(covers="6 → 3 channels, 4×4, stride 2, padding 2, on 8×8 pixels")
def eighteen_less():
    system = LayerSystem(6, 3, (8, 8), (4, 4), (2, 2), (2, 2))
    count = forward_count(system) + gradient_count(system) - 9
    yield fact("|z| + r_K - C_out^2 = 75 + 288 - 9 = 354 < 384", count == 75 + 288 - 9 == 354 < system.unknowns)
    yield fact("the C_out^2 = 9 shared vectors are independent in general", dependency_rank(system) == 9)
    bounds = rank_bounds(system)
    yield fact(
        "the rank in general position is 336: a witness modulo 2^61 - 1 from below, images of ker K from above",
        bounds.lower is not None and bounds.lower.value == bounds.upper.value == 336,
    )


def long_paddings(draw):
    """Stride 1; 1×2 or 1×3 filters to one channel with as much padding as possible."""
    kernel = draw(st.integers(2, 3))
    sizes = ((1, draw(st.integers(2, 3))), (1, kernel), (1, 1), (0, kernel - 1))
    return filled(LayerSystem(draw(st.integers(1, 4)), 1, *sizes), draw(small_seeds()))


@theorem.false_twin("with stride 1 it is true", instances=long_paddings)
def stride_one(case):
    return equality(case)


def narrow_paddings(draw):
    """One filter of 3×1 on images of two rows, padding 1: every window sees more pixels than padding."""
    sizes = ((2, draw(st.integers(3, 7))), (3, 1), (1, draw(st.sampled_from((1, 2, 3)))), (1, 0))
    return filled(LayerSystem(2, 1, *sizes), draw(small_seeds()))


@theorem.false_twin("where every window sees more pixels than padding it is true", instances=narrow_paddings)
def narrow_padding(case):
    return equality(case)


def unpadded_pairs_of_rows(draw):
    """Three filters of 2×2 on images of two rows, no padding."""
    sizes = ((2, draw(st.integers(4, 7))), (2, 2), (draw(st.integers(1, 2)), 1), (0, 0))
    return filled(LayerSystem(draw(st.integers(3, 4)), 3, *sizes), draw(small_seeds()))


@theorem.false_twin("without padding it is true", instances=unpadded_pairs_of_rows)
def without_padding(case):
    return equality(case)


def small_squares(draw):
    """Two filters of 2×2 on 3×3 pixels: no padding, stride 1."""
    return filled(LayerSystem(draw(st.integers(1, 3)), 2, (3, 3), (2, 2)), draw(small_seeds()))


@theorem.false_twin("with stride 1 and without padding, |W| may stand for rank K", instances=small_squares)
def all_gradient_equations(case):
    system = case.system
    expected = system.forward_equations + system.gradient_equations - system.out_channels**2
    return holds(rank(matrices(case)[2]) == min(system.unknowns, expected), name="rank U = min(n, |z| + |W| - C_out^2)")
