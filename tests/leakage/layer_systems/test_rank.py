"""Proved rank bounds against dense elimination, closed forms and each other."""

from __future__ import annotations

import dataclasses
from unittest import mock

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.leakage.layer_systems import LayerSystem, frontal, random_witness, rank_bounds
from provable.leakage.layer_systems.dimension_counts import (
    counted_bound,
    forward_count,
    gradient_count,
    image_count,
    tiled_rank,
)
from provable.leakage.layer_systems.rank import dependency_rank, lower_bound, upper_bound, witness
from provable.leakage.layer_systems.structured_witness import LARGEST_WORK
from provable.rigor.modular_rank import PRIME, rank_mod


@st.composite
def systems(draw, largest=7):
    """Any rectangular kernel, stride and padding; kernels that lie in the padding altogether are included."""
    pads = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    image = (draw(st.integers(1, largest)), draw(st.integers(1, largest)))
    kernel = tuple(draw(st.integers(1, min(4, side + 2 * pad))) for side, pad in zip(image, pads, strict=True))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return LayerSystem(draw(st.integers(1, 4)), draw(st.integers(1, 5)), image, kernel, stride, pads)


def square(in_channels, out_channels, side, kernel, stride=1, padding=0):
    return LayerSystem(in_channels, out_channels, (side,) * 2, (kernel,) * 2, (stride,) * 2, (padding,) * 2)


def dense_rank(system, seed=0):
    return rank_mod(system.matrix(*witness(system, seed=seed)))


@given(systems(), st.integers(0, 10))
def test_compressed_rank_is_the_dense_one(system, seed):
    bounds = rank_bounds(system, seed=seed)
    dense = dense_rank(system, seed)
    assert bounds.lower.value == dense <= bounds.upper.value
    assert lower_bound(system, seed=seed).value == dense, "without a target nothing is left out"


@given(systems(), st.integers(0, 10))
def test_frontal_elimination_finds_both_ranks(system, seed):
    weight, sensitivity = witness(system, seed=seed)
    steps = frontal.eliminate(system, weight)
    assert sum(len(step.pivots) for step in steps) == rank_mod(system.forward_matrix(weight))
    assert frontal.rank_with_gradient(system, steps, sensitivity) == dense_rank(system, seed)


@given(systems(), st.integers(0, 10))
def test_both_ways_of_elimination_agree(system, seed):
    expected = dense_rank(system, seed)
    weight, sensitivity = witness(system, seed=seed)
    null = random_witness.gradient_kernel(system, sensitivity)
    everything = system.unknowns + 1
    with mock.patch.object(frontal, "work", return_value=2 * LARGEST_WORK):
        found = random_witness.full_rank(system, weight, sensitivity, null, everything)
        assert found == expected, "K first, then W on its kernel"
    found = random_witness.full_rank(system, weight, sensitivity, None, everything)
    assert found == expected, "W first, then K on its kernel"


@given(systems(), st.integers(0, 2**32), st.sampled_from([0.0, 0.3, 0.8]))
def test_no_instance_exceeds_the_upper_bound(system, seed, zeros):
    """Upper bounds hold at all points, also where many weights or sensitivities are zero."""
    rng = np.random.default_rng(seed)
    weight, sensitivity = (
        np.where(rng.random(shape) < zeros, 0, rng.integers(-99, 100, shape)).astype(object)
        for shape in (system.weight_shape, system.sensitivity_shape)
    )
    found = rank_mod(system.matrix(weight, sensitivity))
    assert found <= rank_bounds(system).upper.value
    assert rank_mod(system.forward_matrix(weight)) <= forward_count(system)
    assert rank_mod(system.gradient_matrix(sensitivity)) <= gradient_count(system)


@given(systems())
def test_dependencies_lie_in_both_row_spaces(system):
    """The law itself, with the actual ranks: rank U <= rank W + rank K - q."""
    weight, sensitivity = witness(system)
    separate = rank_mod(system.forward_matrix(weight)) + rank_mod(system.gradient_matrix(sensitivity))
    assert dense_rank(system) <= separate - dependency_rank(system)


@given(systems())
def test_image_bound_holds_with_the_actual_gradient_rank(system):
    _, sensitivity = witness(system)
    attained = rank_mod(system.gradient_matrix(sensitivity)) == gradient_count(system)
    assert dense_rank(system) <= image_count(system, gradient_attained=attained)
    assert image_count(system, gradient_attained=True) <= image_count(system, gradient_attained=False)


@given(
    st.integers(1, 4),
    st.integers(1, 6),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(1, 3), st.integers(1, 3)),
    st.tuples(st.integers(0, 2), st.integers(0, 2)),
    st.tuples(st.integers(0, 1), st.integers(0, 1)),
)
def test_closed_form_where_patches_tile(in_channels, out_channels, kernel, positions, gap, rest):
    """Nullity (patch - Cout)₊ (positions - Cout)₊, plus what no patch covers."""
    stride = tuple(k + g for k, g in zip(kernel, gap, strict=True))
    side = tuple(k + s * (n - 1) + r for k, s, n, r in zip(kernel, stride, positions, rest, strict=True))
    system = LayerSystem(in_channels, out_channels, side, kernel, stride)
    if system.output_size != positions:  # the remainder was large enough for one more patch
        positions = system.output_size
    a, b = in_channels * kernel[0] * kernel[1], positions[0] * positions[1]
    dead = in_channels * (side[0] * side[1] - kernel[0] * kernel[1] * b)
    nullity = dead + max(a - out_channels, 0) * max(b - out_channels, 0)
    bounds = rank_bounds(system)
    assert bounds.lower.value == bounds.upper.value == system.unknowns - nullity == dense_rank(system)
    assert bounds.lower.how == bounds.upper.how == "tiled patches"
    assert bounds.upper.dependencies == dependency_rank(system)


@given(systems())
def test_general_bounds_agree_with_the_closed_form(system):
    tiled = tiled_rank(system)
    if tiled is not None:
        bound = counted_bound(system, gradient_attained=True)
        assert tiled == min(bound.covered, bound.forward + bound.gradient - dependency_rank(system))
        assert tiled == min(bound.covered, image_count(system, gradient_attained=True))


@given(systems(), st.integers(0, 2**32))
def test_rank_ignores_order_and_scale_of_channels(system, seed):
    rng = np.random.default_rng(seed)
    weight, sensitivity = (array.astype(object) for array in witness(system))
    expected = rank_mod(system.matrix(weight, sensitivity))
    out, into = rng.permutation(system.out_channels), rng.permutation(system.in_channels)
    scale = rng.integers(1, 1000, (2, system.out_channels)).astype(object)
    scaled = weight[out][:, into] * scale[0].reshape(-1, 1, 1, 1) % PRIME
    assert rank_mod(system.matrix(scaled, sensitivity[out] * scale[1].reshape(-1, 1, 1) % PRIME)) == expected


@given(systems())
def test_rank_ignores_which_axis_is_vertical(system):
    """A strong check of the front, which moves along one axis only."""
    turned = dataclasses.replace(
        system,
        input_size=system.input_size[::-1],
        kernel_size=system.kernel_size[::-1],
        stride=system.stride[::-1],
        padding=system.padding[::-1],
    )
    first, second = rank_bounds(system), rank_bounds(turned)
    assert first.lower.value == second.lower.value
    points = (dataclasses.replace(bounds.upper, witness=None) for bounds in (first, second))
    assert len(set(points)) == 1, "the points at which dependencies are counted may differ"


@given(systems(), st.integers(1, 3))
def test_more_output_channels_never_lose_rank(system, more):
    wider = dataclasses.replace(system, out_channels=system.out_channels + more)
    assert dense_rank(system) <= dense_rank(wider)
    assert rank_bounds(system).upper.value <= rank_bounds(wider).upper.value


@given(systems())
def test_padding_the_image_by_hand_adds_only_known_unknowns(system):
    """The formulation with padded unknowns fixed to zero (R-GAP's) has the same deficit."""
    padded = dataclasses.replace(
        system,
        input_size=tuple(side + 2 * pad for side, pad in zip(system.input_size, system.padding, strict=True)),
        padding=(0, 0),
    )
    border = np.ones((system.in_channels, *padded.input_size), dtype=bool)
    top, left = system.padding
    border[:, top : top + system.input_size[0], left : left + system.input_size[1]] = False
    fixed = np.eye(padded.unknowns, dtype=object)[border.ravel()]
    stacked = np.vstack([padded.matrix(*(array.astype(object) for array in witness(system))), fixed])
    assert padded.unknowns - rank_mod(stacked) == system.unknowns - dense_rank(system)


def test_border_windows_lower_the_rank_more_than_the_dependency_law_says():
    """6 -> 3 channels, kernel 4, stride 2, padding 2, side 8: the law allows 354, the rank is 336."""
    system = square(6, 3, 8, 4, 2, 2)
    bound = upper_bound(system, gradient=gradient_count(system))
    assert forward_count(system) + gradient_count(system) - dependency_rank(system) == 354
    assert (bound.value, bound.how) == (336, "kernel images")
    assert rank_bounds(system).lower.value == dense_rank(system) == 336


@pytest.mark.parametrize(("in_channels", "kernel", "side"), [(1, 3, 9), (1, 4, 12), (2, 3, 12), (3, 3, 14), (3, 4, 22)])
def test_one_more_filter_than_channels_does_not_make_the_forward_map_injective(in_channels, kernel, side):
    """nullity W = Cin (Cin + 1)(k - 1)² for Cout = Cin + 1, and 0 for Cout = Cin + 2."""
    nullities = []
    for extra in (1, 2):
        system = square(in_channels, in_channels + extra, side, kernel)
        steps = frontal.eliminate(system, witness(system)[0])
        nullities.append(system.unknowns - sum(len(step.pivots) for step in steps))
    assert nullities == [in_channels * (in_channels + 1) * (kernel - 1) ** 2, 0]


def test_a_bound_that_is_too_large_to_compute_is_left_open():
    """A billion unknowns of overlapping patches: the upper bound is counted, the lower one is not begun."""
    bounds = rank_bounds(square(64, 8, 4000, 3, 1, 1))
    assert bounds.lower is None and bounds.upper.value < 64 * 4000**2


def test_tiled_layers_of_any_size_need_no_elimination():
    assert rank_bounds(square(256, 64, 56, 1)).lower.value == 802816 - 589824
    assert rank_bounds(square(3, 192, 224, 16, 16)).upper.value == 150528 - 2304
