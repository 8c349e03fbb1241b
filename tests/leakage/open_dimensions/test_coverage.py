"""Which inputs a network never looks at, against derivatives of its output."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, AvgPool2d, Conv2d, Flatten, Linear, MaxPool2d, Residual, Tanh
from provable.leakage.open_dimensions.coverage import dead_inputs
from provable.networks import Parameters, backpropagate, trace

sizes = st.tuples(st.integers(1, 3), st.integers(1, 3), st.integers(0, 1))


@st.composite
def networks(draw):
    """Chains of convolutions and pools with strides that leave borders unused, sometimes with a block around them."""
    channels = draw(st.integers(1, 2))
    layers = []
    for _ in range(draw(st.integers(1, 3))):
        kernel, stride, padding = draw(sizes)
        padding = min(padding, kernel // 2)
        kind = draw(st.sampled_from(["conv", "average", "block"]))
        if kind == "conv":
            layers += [Conv2d(draw(st.integers(1, 2)), kernel, stride, padding), Tanh()]
        elif kind == "average":
            layers.append(AvgPool2d(kernel, stride, padding))
        else:
            inner = Conv2d(2, kernel, stride, padding)
            layers.append(Residual((inner, Tanh()), (Conv2d(2, kernel, stride, padding),)))
    extent = draw(st.integers(33, 37))
    return Architecture("drawn", (channels, extent, extent), (*layers, Flatten(), Linear(2)), "cross_entropy")


@given(networks(), st.integers(0, 2**32))
def test_dead_inputs_are_those_without_derivative(architecture, seed):
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    traced = trace(architecture, parameters, rng.normal(size=(1, *architecture.input_shape)))
    gradient = backpropagate(architecture, parameters, traced, rng.normal(size=traced.output.shape)).input
    assert np.count_nonzero(gradient == 0) == dead_inputs(architecture)


def test_a_block_looks_at_what_either_branch_looks_at():
    narrow, wide = Conv2d(2, 1, 3), Conv2d(2, 3, 3)
    one = Architecture("one", (1, 9, 9), (Residual((narrow,), (narrow,)), Flatten(), Linear(2)), "cross_entropy")
    both = Architecture("both", (1, 9, 9), (Residual((narrow,), (wide,)), Flatten(), Linear(2)), "cross_entropy")
    assert (dead_inputs(one), dead_inputs(both)) == (72, 0)


def test_pools_of_other_sizes_and_flat_inputs():
    pooled = Architecture("pooled", (2, 7, 7), (MaxPool2d(2), Flatten(), Linear(2)), "cross_entropy")
    assert dead_inputs(pooled) == 2 * 13
    assert dead_inputs(Architecture("flat", (5,), (Linear(2),), "cross_entropy")) == 0
