r"""Split channels and sensitivities of one position each: the rank of a layer system is a sum over groups.

Let U = [W; K] be the layer system of a convolution on B samples with summed weight gradients. If the weight is block diagonal
for a split of the input and output channels into groups g, and every output channel has a sensitivity at one position of one
sample at most, then with X the set of pixels in the patches at these positions (the same for all groups), F the other
pixels and W_g the forward equations of a group,

    rank U = Σ_g ( inputs_g · |X| + rank (W_g restricted to F) ).

Notes
-----
The row (o,c,a,b) of K is D_o(p) times the unit vector of the pixel (c, s p + (a,b) - padding), or zero in the padding: K
spans the unit vectors of X in every input channel, whichever group it belongs to. With the columns of X first,

.. math:: U \sim \begin{pmatrix} I & 0 \\ A & W_F \end{pmatrix}, \qquad
          \mathrm{rank}\,U = C_\mathrm{in}|X| + \mathrm{rank}\,W_F, \qquad W_F = \oplus_g W_{g,F} .

Ranks at any point bound generic ranks from below. Here they need elimination of the forward equations of one group on
the pixels outside of the known patches only, so lower bounds of generic ranks are affordable for layers of any size.

Source: derived here; the layer system is that of R-GAP (arXiv:2010.07733) and of Chen and Campbell (arXiv:2111.10178).
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures.layers import Conv2d
from provable.arithmetic import constant, full, rank
from provable.networks import layers
from provable.theorems import MODULAR, RATIONAL, Source, Theorem, fact, holds, identity
from provable.theorems.strategies import readable_arrays

theorem = Theorem(
    statement=r"""For a convolution with a weight that is block diagonal for a split of the channels into groups g, and with
    sensitivities of at most one position per output channel, the layer system of B samples with summed weight
    gradients has rank sum_g (inputs_g |X| + rank of W_g on the pixels outside of X), where X are the pixels in the patches
    at these positions.""",
    source=Source("derived", "", "the layer system is that of arXiv:2010.07733 and arXiv:2111.10178"),
    expected="proved",
)


@dataclass(frozen=True)
class Case:
    """A convolution without bias, the image's sides, weight, sensitivities (B, C_out, u, v), the first group's channels."""

    convolution: Conv2d
    sides: tuple
    weight: np.ndarray
    sensitivities: np.ndarray
    first: tuple

    def groups(self):
        """Input and output channels of the two groups."""
        outputs, inputs = self.weight.shape[:2]
        into, out = self.first
        return [(range(into), range(out)), (range(into, inputs), range(out, outputs))]

    def known(self, outputs=None):
        """The pixels (sample, i, j) in the patches at the positions of sensitivities, of some output channels or of all."""
        chosen = range(len(self.weight)) if outputs is None else outputs
        convolution, found = self.convolution, set()
        for sample, output, *position in zip(*np.nonzero(self.sensitivities != 0), strict=True):
            if output in chosen:
                for lag in np.ndindex(*convolution.kernel_size):
                    pixel = tuple(
                        int(s * p + a - pad)
                        for s, p, a, pad in zip(convolution.stride, position, lag, convolution.padding, strict=True)
                    )
                    if all(0 <= i < side for i, side in zip(pixel, self.sides, strict=True)):
                        found.add((int(sample), *pixel))
        return found


def draw_case(draw, *, positions=1, dense=False, least_outputs=1):
    """Two groups of one or two channels each; `positions` sensitivities per channel; `dense` fills the other blocks."""
    kernel = (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    stride = (draw(st.integers(1, kernel[0])), draw(st.integers(1, 2)))
    padding = (0, draw(st.integers(0, kernel[1] - 1)))
    sides = (kernel[0] + draw(st.integers(0, 1)), kernel[1] + draw(st.integers(1, 2)))
    padded = tuple(side + 2 * pad for side, pad in zip(sides, padding, strict=True))
    output = tuple((one - k) // s + 1 for one, k, s in zip(padded, kernel, stride, strict=True))
    first = (1, draw(st.integers(1, 2)))
    inputs, outputs = 1 + draw(st.integers(1, 2)), first[1] + draw(st.integers(least_outputs, 2))
    weight = draw(readable_arrays((outputs, inputs, *kernel))).copy()
    if not dense:
        weight[: first[1], first[0] :] = 0
        weight[first[1] :, : first[0]] = 0
    size = draw(st.integers(1, 2))
    sensitivities = np.zeros((size, outputs, *output))
    values = draw(readable_arrays((outputs, positions), nonzero=positions > 1))
    for channel in range(outputs):
        places = st.lists(
            st.integers(0, size * math.prod(output) - 1), min_size=positions, max_size=positions, unique=True
        )
        for value, place in zip(values[channel], draw(places), strict=True):
            sample, position = divmod(place, math.prod(output))
            sensitivities[(sample, channel, *divmod(position, output[1]))] = value
    convolution = Conv2d(outputs, kernel, stride, padding, bias=False)
    return Case(convolution, sides, weight, sensitivities, first)


@theorem.instances
def split_convolutions(draw):
    return draw_case(draw)


@theorem.degenerate
def nothing_is_seen(case):
    return not np.any(case.weight) or not np.any(case.sensitivities)


@theorem.hypothesis("block diagonal weight")
def block_diagonal(case):
    (first_in, first_out), (second_in, second_out) = case.groups()
    corners = [
        case.weight[first_out.start : first_out.stop, second_in.start : second_in.stop],
        case.weight[second_out.start : second_out.stop, first_in.start : first_in.stop],
    ]
    return not any(np.any(corner != 0) for corner in corners)


@theorem.hypothesis("one position per channel")
def one_position(case):
    return bool((np.count_nonzero(case.sensitivities != 0, axis=(0, 2, 3)) <= 1).all())


def once(case):
    """The forward equations of one sample, (C_out u v, C_in h w), and the unit images that they were read off from."""
    like, channels = case.weight, case.weight.shape[1]
    count = channels * math.prod(case.sides)
    units = full((count, count), 0, like)
    np.fill_diagonal(units, constant(1, like))
    units = units.reshape(count, channels, *case.sides)
    return layers.apply(case.convolution, "0", {"0/weight": like}, units).reshape(count, -1).T, units


def system(case):
    """U on the batch and the forward equations of one sample: the layer and its weight gradient, applied to unit images."""
    like, (forward, units) = case.weight, once(case)
    size = len(case.sensitivities)
    blocks = [[forward if i == j else full(forward.shape, 0, like) for j in range(size)] for i in range(size)]
    gradients = [
        layers.sample_gradients(case.convolution, units, np.broadcast_to(one, (len(units), *one.shape)))["weight"]
        for one in case.sensitivities
    ]
    stacked = np.vstack([np.block(blocks), np.hstack([one.reshape(len(units), -1).T for one in gradients])])
    return stacked, forward


def group_rank(case, forward, inputs, outputs, known):
    """Rank of the forward equations of a group on the pixels that are not known, over all samples."""
    places = case.sensitivities[0, 0].size
    rows = [output * places + place for output in outputs for place in range(places)]
    total = 0
    for sample in range(len(case.sensitivities)):
        columns = [
            (channel * case.sides[0] + i) * case.sides[1] + j
            for channel in inputs
            for i, j in np.ndindex(*case.sides)
            if (sample, i, j) not in known
        ]
        total += rank(forward[np.ix_(rows, columns)]) if columns else 0
    return total


@theorem.claim(arithmetics=(RATIONAL, MODULAR))
def rank_by_groups(case):
    known, (matrix, forward) = case.known(), system(case)
    expected = sum(
        len(inputs) * len(known) + group_rank(case, forward, inputs, outputs, known)
        for inputs, outputs in case.groups()
    )
    return holds(rank(matrix) == expected, name="rank U = sum_g (inputs_g |X| + rank W_g on F)")


@theorem.derivation
def elimination_of_known_pixels():
    import sympy

    delta, values = sympy.symbols("D"), sympy.symbols("x:4")
    yield identity(
        "with D_o zero but at p, dL/dw_(o,c,a,b) = sum_q D_o(q) x_c(s q + (a,b)) is D_o(p) times one pixel",
        sum((delta if place == 2 else 0) * value for place, value in enumerate(values)),
        delta * values[2],
    )

    def generic(name):
        return sympy.Matrix(2, 2, sympy.symbols(f"{name}:4"))

    one, zero = sympy.eye(2), sympy.zeros(2)
    below, rest = generic("a"), generic("w")
    yield identity(
        "known pixels are cleared from the forward equations by the rows of K: rank [[I, 0], [A, W]] = |X| + rank W",
        sympy.BlockMatrix([[one, zero], [-below, one]]).as_explicit()
        * sympy.BlockMatrix([[one, zero], [below, rest]]).as_explicit(),
        sympy.BlockMatrix([[one, zero], [zero, rest]]).as_explicit(),
    )
    first, second, left, right = (generic(name) for name in "bcpq")
    yield identity(
        "blocks are brought to normal form independently: diag(P, Q) diag(B, C) = diag(P B, Q C)",
        sympy.BlockMatrix([[left, zero], [zero, right]]).as_explicit()
        * sympy.BlockMatrix([[first, zero], [zero, second]]).as_explicit(),
        sympy.BlockMatrix([[left * first, zero], [zero, right * second]]).as_explicit(),
    )
    yield fact(
        "the rank of a block diagonal matrix of normal forms is the sum of their ranks",
        all(
            sympy.diag(*([1] * r + [0] * (2 - r) + [1] * t + [0] * (2 - t))).rank() == r + t
            for r, t in itertools.product(range(3), repeat=2)
        ),
    )


def row_of_pixels(weight, sensitivity):
    """A 1×1 kernel on an image of one row; the first group has one input and one output channel."""
    weight = np.array(weight, dtype=float)[:, :, None, None]
    sensitivity = np.array(sensitivity, dtype=float)[None, :, None, :]
    convolution = Conv2d(len(weight), 1, 1, 0, bias=False)
    return Case(convolution, (1, sensitivity.shape[-1]), weight, sensitivity, (1, 1))


@theorem.without("block diagonal weight")
def crossed_channels():
    return row_of_pixels([[0, 1], [1, 0]], [[0], [0]])


@theorem.without("one position per channel")
def one_sensitivity_at_two_positions():
    return row_of_pixels([[0, 0], [0, 0]], [[1, 1], [0, 0]])


@theorem.false_twin("a group sees the sensitivities of its own outputs only")
def own_sensitivities(case):
    matrix, forward = system(case)
    expected = 0
    for inputs, outputs in case.groups():
        known = case.known(outputs)
        expected += len(inputs) * len(known) + group_rank(case, forward, inputs, outputs, known)
    return holds(rank(matrix) == expected, name="rank U = sum_g (inputs_g |X_g| + rank W_g on F_g)")


@theorem.false_twin("forward equations count in full beside known patches")
def forward_in_full(case):
    known, (matrix, forward) = len(case.known()), system(case)
    expected = sum(
        len(inputs) * known + group_rank(case, forward, inputs, outputs, set()) for inputs, outputs in case.groups()
    )
    return holds(rank(matrix) == expected, name="rank U = sum_g (inputs_g |X| + rank W_g)")


@theorem.false_twin("off by one where something is open")
def off_by_one(case):
    known, (matrix, forward) = case.known(), system(case)
    expected = sum(
        len(inputs) * len(known) + group_rank(case, forward, inputs, outputs, known)
        for inputs, outputs in case.groups()
    )
    short = int(expected < matrix.shape[1])
    return holds(rank(matrix) == expected + short, name="rank U = sum_g (inputs_g |X| + rank W_g on F) + 1")


def crossed(draw):
    return draw_case(draw, dense=True)


@theorem.false_twin("any weight", without=("block diagonal weight",), instances=crossed)
def any_weight(case):
    return rank_by_groups(case)


def two_positions(draw):
    return draw_case(draw, positions=2)


@theorem.false_twin("several positions per channel", without=("one position per channel",), instances=two_positions)
def several_positions(case):
    return rank_by_groups(case)
