r"""Where patches tile the image, the ambiguity of a layer has a closed form.

Let a convolution have stride = kernel size, no padding, and a stride that divides the sides of the image (a 1×1 convolution,
a vision transformer's patch embedding, or, with a 1×1 image, a linear layer). For a batch of B samples, each with known
pre-activation and sensitivity D_i, whose weight gradients are summed, the layer system has the nullity

    (a - r_W) (B u v - r_D)

exactly, for every weight and every D: a = C_in k_h k_w entries per patch, u v positions, r_W the rank of the (C_out, a)
weight matrix and r_D the rank of the (C_out, B u v) matrix [D_1 … D_B]. For W and D in general position that is
(a - C_out)₊ (B u v - C_out)₊. A linear layer with one sample is determined if and only if D ≠ 0 or W has rank a.

Notes
-----
Division with remainder, i = s p + α with 0 <= α < s, makes cutting into patches a bijection x ↔ P onto all (a, B u v)
matrices. The system reads W P = Z, P Dᵀ = Gᵀ, so its kernel is

.. math:: \{P : W P = 0,\ P D^T = 0\} = \ker W \otimes \ker D .

Source: derived here; the system is that of R-GAP (arXiv:2010.07733) and of Chen and Campbell (arXiv:2111.10178). For the
batch, z and D of every sample are taken as known, as in the authors' extension of R-GAP to batches.
"""

import math
from dataclasses import dataclass

import flint
import numpy as np
from hypothesis import strategies as st

from provable.architectures.layers import Conv2d
from provable.arithmetic import constant, full, rank
from provable.networks import layers
from provable.theorems import MODULAR, RATIONAL, Source, Theorem, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For a convolution with kernel = stride, no padding and a stride that divides the sides, let a be the number
    of entries of a patch and u x v that of positions. For all kernels W, as matrices with a columns, and sensitivities D_i,
    with u v columns, the layer system of B samples with summed weight gradients has nullity
    (a - rank W)(B u v - rank [D_1 ... D_B]).""",
    source=Source("derived", "", "the layer system is that of arXiv:2010.07733 and arXiv:2111.10178"),
    expected="proved",
)


@dataclass(frozen=True)
class Case:
    """A convolution without bias, the image's sides, its weight, and one sensitivity per sample, (B, C_out, u, v)."""

    convolution: Conv2d
    sides: tuple
    weight: np.ndarray
    sensitivities: np.ndarray


def draw_case(draw, *, overlap=0, most_rest=0, most_samples=2, nonzero=False):
    """The horizontal windows may overlap, and some columns may remain at the right that no window reaches."""
    kernel = (draw(st.integers(1, 2)), draw(st.integers(1 + max(overlap, most_rest), 3)))
    stride = (kernel[0], kernel[1] - overlap)
    positions = (draw(st.integers(1, 2)), draw(st.integers(1, 3)))
    height, width = (s * (n - 1) + k for s, n, k in zip(stride, positions, kernel, strict=True))
    outputs, inputs, size = draw(st.integers(1, 3)), draw(st.integers(1, 2)), draw(st.integers(1, most_samples))
    sensitivities = draw(readable_arrays((outputs, size * math.prod(positions)), nonzero=nonzero))
    return Case(
        Conv2d(outputs, kernel, stride, 0, bias=False),
        (height, width + draw(st.integers(0, most_rest))),
        draw(readable_arrays((outputs, inputs, *kernel), nonzero=nonzero)),
        sensitivities.reshape(outputs, size, *positions).transpose(1, 0, 2, 3),
    )


@theorem.instances
def tiling_convolutions(draw):
    return draw_case(draw)


@theorem.degenerate
def nothing_is_seen(case):
    return not np.any(case.weight) or not np.any(case.sensitivities)


@theorem.hypothesis("kernel = stride")
def kernel_is_stride(case):
    return case.convolution.kernel_size == case.convolution.stride


@theorem.hypothesis("no padding")
def no_padding(case):
    return case.convolution.padding == (0, 0)


@theorem.hypothesis("the stride divides the sides")
def stride_divides(case):
    return all(side % step == 0 for side, step in zip(case.sides, case.convolution.stride, strict=True))


def system(case):
    """U on the batch: the layer and its weight gradient, applied to unit images."""
    like, channels = case.weight, case.weight.shape[1]
    count = channels * math.prod(case.sides)
    units = full((count, count), 0, like)
    np.fill_diagonal(units, constant(1, like))
    units = units.reshape(count, channels, *case.sides)
    once = layers.apply(case.convolution, "0", {"0/weight": like}, units).reshape(count, -1).T
    size = len(case.sensitivities)
    blocks = [[once if i == j else full(once.shape, 0, like) for j in range(size)] for i in range(size)]
    gradients = [
        layers.sample_gradients(case.convolution, units, np.broadcast_to(one, (count, *one.shape)))["weight"]
        for one in case.sensitivities
    ]
    return np.vstack([np.block(blocks), np.hstack([one.reshape(count, -1).T for one in gradients])])


def nullity(case):
    matrix = system(case)
    return matrix.shape[1] - rank(matrix)


def sizes(case):
    """a, B u v, r_W and r_D."""
    outputs = len(case.weight)
    weight = case.weight.reshape(outputs, -1)
    sensitivity = case.sensitivities.transpose(1, 0, 2, 3).reshape(outputs, -1)
    return weight.shape[1], sensitivity.shape[1], rank(weight), rank(sensitivity)


@theorem.claim(arithmetics=(RATIONAL, MODULAR))
def closed_form(case):
    patch, positions, r_weight, r_sensitivity = sizes(case)
    expected = (patch - r_weight) * (positions - r_sensitivity)
    return holds(nullity(case) == expected, name="nullity = (a - r_W)(B u v - r_D)")


@theorem.derivation
def tensor_product_of_kernels():
    import sympy

    yield fact(
        "division with remainder: i = s p + r with 0 <= r < s is a bijection of pixels with positions and lags",
        all(
            sorted(s * p + r for p in range(u) for r in range(s)) == list(range(s * u))
            for s in range(1, 9)
            for u in range(1, 9)
        ),
    )

    def generic(name):
        return sympy.Matrix(2, 2, sympy.symbols(f"{name}:4"))

    left, weight, right, outer, sensitivity, inner, patches = (generic(name) for name in "anbcmep")
    changed = right * patches * inner.T
    yield identity(
        "with W = A N B, D = C M E (A, B, C, E invertible) and P' = B P E^T: W P E^T = A (N P')",
        left * weight * right * patches * inner.T,
        left * (weight * changed),
    )
    yield identity(
        "and B P D^T = (P' M^T) C^T",
        right * patches * (outer * sensitivity * inner).T,
        changed * sensitivity.T * outer.T,
    )
    shapes = [(a, b, r, s) for a in range(1, 4) for b in range(1, 4) for r in range(a + 1) for s in range(b + 1)]
    yield fact(
        "for normal forms N, M of ranks r, s: N P' = 0 and P' M^T = 0 leave the (a - r)(b - s) entries of P' beyond both",
        all(normal_form_nullity(*shape) == (shape[0] - shape[2]) * (shape[1] - shape[3]) for shape in shapes),
    )
    a, b, outputs = sympy.symbols("a b C", positive=True)
    yield identity(
        "for r = s = C it is |x| - |W| - |z| + C^2",
        (a - outputs) * (b - outputs),
        a * b - outputs * a - outputs * b + outputs**2,
    )


def normal_form_nullity(entries, positions, r_weight, r_sensitivity):
    one, zero = flint.fmpq(1), flint.fmpq(0)
    equations = []
    for row in range(entries):
        for column in range(positions):
            if row < r_weight or column < r_sensitivity:
                equations.append(
                    [one if (i, j) == (row, column) else zero for i in range(entries) for j in range(positions)]
                )
    return entries * positions - rank(np.array(equations, dtype=object))


def row_of_pixels(width, kernel, stride, padding, positions):
    """One input and one output channel on a 1×width image, all weights and sensitivities one."""
    convolution = Conv2d(1, (1, kernel), (1, stride), (0, padding), bias=False)
    return Case(convolution, (1, width), np.ones((1, 1, 1, kernel)), np.ones((1, 1, 1, positions)))


@theorem.without("kernel = stride")
def overlapping_windows():
    case = row_of_pixels(3, 2, 1, 0, 2)
    return Case(case.convolution, case.sides, case.weight, np.array([[[[1.0, 2.0]]]]))


@theorem.without("no padding")
def windows_that_hang_over():
    return row_of_pixels(2, 2, 2, 1, 2)


@theorem.without("the stride divides the sides")
def a_pixel_that_no_window_sees():
    return row_of_pixels(3, 2, 2, 0, 1)


def batches(draw):
    return draw_case(draw, most_samples=3, nonzero=True)


@theorem.false_twin("the samples of a batch count one by one", instances=batches)
def sample_by_sample(case):
    patch, _, r_weight, _ = sizes(case)
    outputs = len(case.weight)
    alone = sum(one[0].size - rank(one.reshape(outputs, -1)) for one in case.sensitivities)
    return holds(nullity(case) == (patch - r_weight) * alone, name="nullity = sum_i (a - r_W)(u v - r_D_i)")


def nonzero_cases(draw):
    return draw_case(draw, most_samples=1, nonzero=True)


@theorem.false_twin("the numbers of channels may stand for the ranks where no entry is zero", instances=nonzero_cases)
def generic_count(case):
    patch, positions, _, _ = sizes(case)
    outputs = len(case.weight)
    expected = max(patch - outputs, 0) * max(positions - outputs, 0)
    return holds(nullity(case) == expected, name="nullity = (a - C_out)+ (B u v - C_out)+")


@theorem.false_twin(
    "where W and D have full rank, the nullity is (|x| - |W| - |z| + C_out^2)+", instances=nonzero_cases
)
def corrected_count(case):
    patch, positions, r_weight, r_sensitivity = sizes(case)
    outputs = len(case.weight)
    regular = r_weight == min(patch, outputs) and r_sensitivity == min(positions, outputs)
    expected = max(patch * positions - outputs * (patch + positions) + outputs**2, 0)
    return holds(not regular or nullity(case) == expected, name="nullity = (|x| - |W| - |z| + C_out^2)+")


@theorem.false_twin("off by one: (a - r_W)(B u v - r_D) - 1 where that is positive", instances=nonzero_cases)
def off_by_one(case):
    patch, positions, r_weight, r_sensitivity = sizes(case)
    expected = max((patch - r_weight) * (positions - r_sensitivity) - 1, 0)
    return holds(nullity(case) == expected, name="nullity = (a - r_W)(B u v - r_D) - 1")


def overlapping_by_one(draw):
    return draw_case(draw, overlap=1, most_samples=1, nonzero=True)


@theorem.false_twin("windows may overlap by one pixel", without=("kernel = stride",), instances=overlapping_by_one)
def overlapping(case):
    return closed_form(case)


def one_column_left_over(draw):
    return draw_case(draw, most_rest=1, most_samples=1, nonzero=True)


@theorem.false_twin(
    "a remaining column does no harm", without=("the stride divides the sides",), instances=one_column_left_over
)
def remainder(case):
    return closed_form(case)
