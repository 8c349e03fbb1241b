"""Convolution and pooling against loops written out, in exact integers and in floats."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import AvgPool2d, BatchNorm2d, Conv2d, Layer, MaxPool2d
from provable.arithmetic import EPSILON, RATIONAL, Array
from provable.errors import ArithmeticUnsupported, InputError, UnsupportedError
from provable.networks import layers
from provable.networks.windows import first_maxima, fold, patches


@st.composite
def geometries(draw: st.DrawFn) -> tuple[Any, ...]:
    """Kernel, stride, padding and an image that kernel and stride fit into; padding at most half the kernel."""
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    stride = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    padding = tuple(draw(st.integers(0, size // 2)) for size in kernel)
    extents = tuple(
        draw(st.integers(max(1, size - 2 * pad, step - 2 * pad), 6))
        for size, step, pad in zip(kernel, stride, padding, strict=True)
    )
    return kernel, stride, padding, extents


def images(seed: int, n: int, channels: int, extents: tuple[int, int], largest: int = 5) -> Array:
    """Small integers, on which float64 is exact."""
    return np.random.default_rng(seed).integers(-largest, largest + 1, (n, channels, *extents)).astype(float)


def window(image: Array, layer: Any, row: int, column: int) -> list[tuple[int, int]]:
    """Positions of a window inside the image, in row-major order; those in the padding are left out."""
    top, left = row * layer.stride[0] - layer.padding[0], column * layer.stride[1] - layer.padding[1]
    cells = itertools.product(range(top, top + layer.kernel_size[0]), range(left, left + layer.kernel_size[1]))
    return [(a, b) for a, b in cells if 0 <= a < image.shape[0] and 0 <= b < image.shape[1]]


def convolved(x: Array, weight: Array, bias: Array, layer: Conv2d) -> Array:
    """Cross-correlation, term by term."""
    result = np.zeros((len(x), *layer.output_shape(x.shape[1:])))
    for i, o, row, column in np.ndindex(result.shape):
        top, left = row * layer.stride[0] - layer.padding[0], column * layer.stride[1] - layer.padding[1]
        total = bias[o]
        for c in range(x.shape[1]):
            for a, b in window(x[i, c], layer, row, column):
                total += weight[o, c, a - top, b - left] * x[i, c, a, b]
        result[i, o, row, column] = total
    return result


@given(geometries(), st.integers(0, 2**32 - 1), st.integers(0, 2), st.integers(1, 2), st.booleans())
def test_convolution_is_the_sum_written_out(
    geometry: tuple[Any, ...], seed: int, n: int, channels: int, bias: bool
) -> None:
    kernel, stride, padding, extents = geometry
    layer = Conv2d(2, kernel, stride, padding, bias)
    x = images(seed, n, channels, extents)
    weight = images(seed + 1, 2, channels, kernel)
    constant = np.array([3.0, -2.0]) if bias else np.zeros(2)
    parameters = {"0/weight": weight} | ({"0/bias": constant} if bias else {})
    expected = convolved(x, weight, constant, layer)
    assert (layers.apply(layer, "0", parameters, x) == expected).all()
    if n:
        exact = layers.apply(layer, "0", RATIONAL.convert(parameters), RATIONAL.convert(x))
        assert (exact == RATIONAL.convert(expected)).all()
        residues = layers.apply(layer, "0", arithmetic.MODULAR.convert(parameters), arithmetic.MODULAR.convert(x))
        assert all(
            int(r) == int(e) % arithmetic.DEFAULT_PRIME for r, e in zip(residues.flat, expected.flat, strict=True)
        )


@given(geometries(), st.integers(0, 2**32 - 1))
def test_float_convolution_rounds_as_its_sums(geometry: tuple[Any, ...], seed: int) -> None:
    kernel, stride, padding, extents = geometry
    layer = Conv2d(2, kernel, stride, padding)
    rng = np.random.default_rng(seed)
    x, weight, bias = (
        rng.standard_normal((2, 3, *extents)),
        rng.standard_normal((2, 3, *kernel)),
        rng.standard_normal(2),
    )
    parameters = {"0/weight": weight, "0/bias": bias}
    found = layers.apply(layer, "0", parameters, x)
    exact = layers.apply(layer, "0", RATIONAL.convert(parameters), RATIONAL.convert(x))
    error = abs(arithmetic.to_float(RATIONAL.convert(found) - exact))
    assert (error <= 30 * EPSILON * convolved(abs(x), abs(weight), abs(bias), layer)).all()


@given(geometries(), st.integers(0, 2**32 - 1), st.integers(0, 2))
def test_folding_is_the_transpose_of_cutting(geometry: tuple[Any, ...], seed: int, n: int) -> None:
    kernel, stride, padding, extents = geometry
    x = images(seed, n, 2, extents)
    cut = patches(x, kernel, stride, padding)
    windows = np.random.default_rng(seed).integers(-5, 6, cut.shape).astype(float)
    assert (windows * cut).sum() == (fold(windows, extents, stride, padding) * x).sum()


@given(geometries(), st.integers(0, 2**32 - 1))
def test_average_counts_the_padding(geometry: tuple[Any, ...], seed: int) -> None:
    kernel, stride, padding, extents = geometry
    layer = AvgPool2d(kernel, stride, padding)
    x = images(seed, 2, 2, extents)
    found = layers.apply(layer, "0", {}, x)
    for i, c, row, column in np.ndindex(found.shape):
        total = sum(x[i, c, a, b] for a, b in window(x[i, c], layer, row, column))
        assert found[i, c, row, column] == total / (kernel[0] * kernel[1])


@given(geometries(), st.integers(0, 2**32 - 1))
def test_of_equal_maxima_the_first_in_row_major_order_wins(geometry: tuple[Any, ...], seed: int) -> None:
    kernel, stride, padding, extents = geometry
    layer = MaxPool2d(kernel, stride, padding)
    x = images(seed, 1, 1, extents, largest=1) - 2  # negative, so that padding would win if it took part; many ties
    cotangents = images(seed + 1, 1, 1, layer.output_shape((1, *extents))[1:])
    expected = np.zeros_like(x)
    for system in (arithmetic.FLOAT64, RATIONAL):
        found = arithmetic.to_float(layers.apply(layer, "0", {}, system.convert(x)))
        pulled = layers.pull_back(layer, "0", {}, system.convert(x), system.convert(cotangents))
        expected[...] = 0
        for _, _, row, column in np.ndindex(found.shape):
            cells = window(x[0, 0], layer, row, column)
            best = max(cells, key=lambda cell: x[0, 0, cell[0], cell[1]])  # max keeps the first
            assert found[0, 0, row, column] == x[0, 0, best[0], best[1]]
            expected[0, 0, best[0], best[1]] += cotangents[0, 0, row, column]
        assert (arithmetic.to_float(pulled) == expected).all()


@given(geometries(), st.integers(0, 2**32 - 1), st.sampled_from(["conv2d", "avg_pool2d"]))
def test_pulling_back_is_the_transpose_of_linear_layers(geometry: tuple[Any, ...], seed: int, name: str) -> None:
    kernel, stride, padding, extents = geometry
    layer: Layer = Conv2d(2, kernel, stride, padding, False) if name == "conv2d" else AvgPool2d(kernel, stride, padding)
    parameters = RATIONAL.convert({"0/weight": images(seed, 2, 2, kernel)})
    x = RATIONAL.convert(images(seed + 1, 2, 2, extents))
    y = layers.apply(layer, "0", parameters, x)
    g = RATIONAL.convert(images(seed + 2, 2, 2, y.shape[2:]))
    assert (g * y).sum() == (layers.pull_back(layer, "0", parameters, x, g) * x).sum()
    if name == "conv2d":  # and linear in the weight as well
        gradients = layers.summed_gradients(layer, x, g)["weight"]
        assert (g * y).sum() == (gradients * parameters["0/weight"]).sum()
        assert (gradients == layers.sample_gradients(layer, x, g)["weight"].sum(axis=0)).all()


def test_maxima_need_an_order() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0]).reshape(1, 1, 2, 2)
    with pytest.raises(ArithmeticUnsupported, match="no order"):
        first_maxima(arithmetic.MODULAR.convert(x), (2, 2), (2, 2), (0, 0))
    maxima, places = first_maxima(arithmetic.BALL.convert(x), (2, 2), (2, 2), (0, 0))
    assert maxima[0, 0, 0, 0] == 4 and places[0, 0, 0, 0] == 3


def test_normalisation_is_refused_with_what_it_needs() -> None:
    x = np.ones((1, 2, 3, 3))
    for call in (
        lambda: layers.apply(BatchNorm2d(), "4", {}, x),
        lambda: layers.pull_back(BatchNorm2d(), "4", {}, x, x),
    ):
        with pytest.raises(UnsupportedError, match=r"^layer 4 \(batch_norm2d\): .* running mean and variance"):
            call()

    class Strange(Layer):
        type = "strange"

    with pytest.raises(UnsupportedError, match=r"^layer 0 \(strange\): "):
        layers.apply(Strange(), "0", {}, x)
    assert layers.sample_gradients(Strange(), x, x) == {}
    with pytest.raises(InputError):
        Conv2d(1, 4).output_shape(x.shape[1:])
