"""The layer system against the network it describes: W x = z - bias, K x = vec G, and what follows for patches."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear
from provable.errors import InputError
from provable.leakage.layer_systems import LayerSystem
from provable.networks import Parameters, forward, loss_gradient


@st.composite
def systems(draw, largest=6):
    """Any rectangular kernel, stride and padding; kernels that lie in the padding altogether are included."""
    pads = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    image = (draw(st.integers(1, largest)), draw(st.integers(1, largest)))
    kernel = tuple(draw(st.integers(1, min(4, side + 2 * pad))) for side, pad in zip(image, pads, strict=True))
    stride = tuple(draw(st.integers(1, min(3, side + 2 * pad))) for side, pad in zip(image, pads, strict=True))
    return LayerSystem(draw(st.integers(1, 3)), draw(st.integers(1, 4)), image, kernel, stride, pads)


def integers(shape, seed):
    """Small integers as float64: every product and sum of this file is then exact."""
    return np.random.default_rng(seed).integers(-9, 10, shape).astype(np.float64)


@given(systems(), st.booleans(), st.integers(0, 2**32))
def test_forward_and_gradient_equations_hold_for_the_network(system, bias, seed):
    convolution = Conv2d(system.out_channels, system.kernel_size, system.stride, system.padding, bias)
    shape = (system.in_channels, *system.input_size)
    network = Architecture("one layer", shape, (convolution, Flatten()), "squared")
    assert LayerSystem.of_layer(convolution, shape) == system
    arrays = {name: integers(size, seed + k) for k, (name, size) in enumerate(network.parameter_shapes.items())}
    parameters = Parameters(network, arrays)
    x, labels = integers((1, *shape), seed + 7), integers((1, network.output_size), seed + 8)
    z = forward(network, parameters, x)[0]
    shift = np.repeat(arrays["0/bias"], system.positions) if bias else 0.0
    assert np.array_equal(system.forward_matrix(arrays["0/weight"]) @ x.ravel(), z - shift)
    sensitivity = (z - labels[0]).reshape(system.sensitivity_shape)
    gradient = loss_gradient(network, parameters, x, labels)["0/weight"]
    assert np.array_equal(system.gradient_matrix(sensitivity) @ x.ravel(), gradient.ravel())
    stacked = system.matrix(arrays["0/weight"], sensitivity)
    assert np.array_equal(stacked @ x.ravel(), np.concatenate([z - shift, gradient.ravel()]))


@given(systems(largest=4), st.integers(2, 3), st.integers(0, 2**32))
def test_equations_of_a_batch_hold_for_the_summed_gradient(one, batch, seed):
    """W of every sample for its own outputs, and [K⁽¹⁾ … K⁽ᴮ⁾] for the gradient of the sum of losses."""
    convolution = Conv2d(one.out_channels, one.kernel_size, one.stride, one.padding, bias=False)
    shape = (one.in_channels, *one.input_size)
    system = LayerSystem.of_layer(convolution, shape, batch_size=batch)
    assert (system.unknowns, system.gradient_equations) == (batch * one.unknowns, one.gradient_equations)
    network = Architecture("one layer", shape, (convolution, Flatten()), "squared")
    weight = integers(system.weight_shape, seed)
    parameters = Parameters(network, {"0/weight": weight})
    x, labels = integers((batch, *shape), seed + 1), integers((batch, network.output_size), seed + 2)
    z = forward(network, parameters, x)
    sensitivity = (z - labels).reshape(system.sensitivity_shape)
    gradient = loss_gradient(network, parameters, x, labels)["0/weight"]
    stacked = system.matrix(weight, sensitivity)
    assert stacked.shape == (system.forward_equations + system.gradient_equations, system.unknowns)
    assert np.array_equal(stacked @ x.ravel(), np.concatenate([z.ravel(), gradient.ravel()]))
    patches = system.patches(x)
    assert np.array_equal(
        weight.reshape(len(weight), -1) @ patches,
        z.reshape(batch, len(weight), -1).transpose(1, 0, 2).reshape(len(weight), -1),
    )
    assert system.uncovered_unknowns == np.count_nonzero(
        ~system.matrix(np.ones_like(weight), np.ones_like(sensitivity)).any(axis=0)
    )


@given(st.integers(1, 5), st.integers(1, 5), st.integers(0, 2**32))
def test_a_linear_layer_is_a_kernel_of_one_pixel(features, outputs, seed):
    layer = Linear(outputs, bias=False)
    network = Architecture("linear", (features,), (layer,), "squared")
    system = LayerSystem.of_layer(layer, (features,))
    weight, x, y = integers((outputs, features), seed), integers(features, seed + 1), integers(outputs, seed + 2)
    assert np.array_equal(system.forward_matrix(weight), weight)
    sensitivity = weight @ x - y
    gradient = loss_gradient(network, Parameters(network, {"0/weight": weight}), x[None], y[None])["0/weight"]
    product = system.gradient_matrix(sensitivity.reshape(system.sensitivity_shape)) @ x
    assert np.array_equal(product, gradient.ravel())
    assert system.gradient_equations == outputs * features and system.positions == 1


@given(systems(), st.integers(0, 2**32))
def test_gradient_equations_are_one_block_per_channel(system, seed):
    sensitivity = integers(system.sensitivity_shape, seed)
    block = system.gradient_block(sensitivity)
    whole = np.kron(np.eye(system.in_channels), block)
    lags = len(system.lags())
    order = np.arange(system.gradient_equations).reshape(system.in_channels, system.out_channels, lags)
    assert np.array_equal(system.gradient_matrix(sensitivity), whole[order.transpose(1, 0, 2).ravel()])


@given(systems(), st.integers(0, 2**32))
def test_two_sided_law_holds_exactly_in_rationals(system, seed):
    rng = np.random.default_rng(seed)

    def rationals(*shape):
        numbers = [Fraction(int(p), int(q)) for p, q in rng.integers(1, 30, (int(np.prod(shape)), 2))]
        return np.array(numbers, dtype=object).reshape(shape)

    weight, sensitivity = rationals(*system.weight_shape), rationals(*system.sensitivity_shape)
    x = rationals(system.in_channels, *system.input_size)
    patches = system.patches(x)
    outer, inner = weight.reshape(system.out_channels, -1), sensitivity.reshape(system.out_channels, -1)
    z, gradient = outer @ patches, inner @ patches.T
    assert (outer @ gradient.T == z @ inner.T).all()
    assert (system.forward_matrix(weight) @ x.ravel() == z.ravel()).all()
    assert (system.gradient_matrix(sensitivity) @ x.ravel() == gradient.ravel()).all()


@given(systems())
def test_uncovered_pixels_are_the_zero_columns(system):
    stacked = system.matrix(np.ones(system.weight_shape), np.ones(system.sensitivity_shape))
    zero = ~stacked.any(axis=0)
    expected = np.broadcast_to(~system.covered, (system.in_channels, *system.input_size))
    assert np.array_equal(zero, expected.ravel())
    assert system.uncovered_unknowns == zero.sum()


@given(systems())
def test_axes_count_what_they_touch(system):
    for axis in system.axes:
        looks = [(p, axis.stride * p + lag - axis.padding) for p in range(axis.positions) for lag in range(axis.lags)]
        seen = [(p, i) for p, i in looks if 0 <= i < axis.pixels]
        assert [sum(p == k for p, _ in seen) for k in range(axis.positions)] == axis.inside.tolist()
        assert [sum(i == k for _, i in seen) for k in range(axis.pixels)] == axis.visits.tolist()
        assert axis.disjoint == (len({i for _, i in seen}) == len(looks))
        assert sum(kind.covered for kind in axis.classes) == axis.covered.sum()
        assert sum(sum(kind.seen) for kind in axis.classes) == len(seen)
        for kind, residue in zip(axis.classes, range(axis.stride), strict=False):
            pairs = {(p, i // axis.stride) for p, i in seen if i % axis.stride == residue}
            assert {p - i for p, i in pairs} == set(kind.shifts)


@pytest.mark.parametrize(
    "sizes",
    [
        (0, 1),
        (1, 1, (0, 3)),
        (1, 1, (3, 3), (4, 1)),
        (1, 1, (3, 3), (1, 1), (0, 1)),
        (1, 1, (3, 3), (1, 1), (1, 1), (-1, 0)),
    ],
)
def test_impossible_sizes_are_refused_in_one_line(sizes):
    with pytest.raises(InputError, match="layer system") as caught:
        LayerSystem(*sizes)
    assert "\n" not in str(caught.value)
