"""Shapes, names and refusals of the layer descriptions."""

from __future__ import annotations

import dataclasses
import itertools
import math
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
)
from provable.errors import InputError


def window_starts(extent: int, kernel: int, stride: int, padding: int) -> int:
    """Count by hand the places where a window lies inside the padded range."""
    return sum(1 for start in range(0, extent + 2 * padding, stride) if start + kernel <= extent + 2 * padding)


@given(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 5), st.integers(1, 5)),
    st.tuples(st.integers(1, 4), st.integers(1, 4)),
    st.tuples(st.integers(0, 3), st.integers(0, 3)),
)
def test_windows_are_counted_as_by_hand(
    extents: tuple[int, int], kernel: tuple[int, int], stride: tuple[int, int], padding: tuple[int, int]
) -> None:
    layer = Conv2d(3, kernel, stride, padding)
    counts = tuple(window_starts(*parts) for parts in zip(extents, kernel, stride, padding, strict=True))
    if min(counts) == 0:
        with pytest.raises(InputError, match="kernel_size"):
            layer.output_shape((2, *extents))
        return
    if any(step > extent + 2 * pad for step, extent, pad in zip(stride, extents, padding, strict=True)):
        with pytest.raises(InputError, match=f"stride: found .*{stride[0]}, {stride[1]}"):
            layer.output_shape((2, *extents))
        return
    assert layer.output_shape((2, *extents)) == (3, *counts)
    half = (min(padding[0], kernel[0] // 2), min(padding[1], kernel[1] // 2))
    for pool in (AvgPool2d(kernel, stride, half), MaxPool2d(kernel, stride, half)):
        expected = tuple(window_starts(*parts) for parts in zip(extents, kernel, stride, half, strict=True))
        if min(expected) > 0 and all(s <= e + 2 * h for s, e, h in zip(stride, extents, half, strict=True)):
            assert pool.output_shape((2, *extents)) == (2, *expected)


def test_pairs_are_stored_and_pools_step_by_their_kernel() -> None:
    layer = Conv2d(3, 4, stride=(2, 1))
    assert (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 1), (0, 0))
    assert AvgPool2d(3).stride == (3, 3) and MaxPool2d((2, 5)).stride == (2, 5)
    assert AvgPool2d(3) == AvgPool2d((3, 3), 3) and AvgPool2d(3) != MaxPool2d(3)
    assert dataclasses.replace(layer, bias=False) == Conv2d(3, 4, (2, 1), 0, False)
    assert pickle.loads(pickle.dumps(layer)) == layer
    with pytest.raises(dataclasses.FrozenInstanceError):
        layer.bias = False  # type: ignore[misc]


def test_parameter_names_follow_the_layers() -> None:
    block = Residual((Conv2d(4, 3, padding=1), ReLU(), Residual((Conv2d(4, 1),))), (Conv2d(4, 1, bias=False),))
    layers = (Conv2d(2, 3, bias=False), ReLU(), block, Flatten(), Linear(5))
    architecture = Architecture("net", (1, 6, 6), layers, "squared")
    assert list(architecture.parameter_shapes.items()) == [
        ("0/weight", (2, 1, 3, 3)),
        ("2.0/weight", (4, 2, 3, 3)),
        ("2.0/bias", (4,)),
        ("2.2.0/weight", (4, 4, 1, 1)),
        ("2.2.0/bias", (4,)),
        ("2.shortcut.0/weight", (4, 2, 1, 1)),
        ("4/weight", (5, 64)),
        ("4/bias", (5,)),
    ]
    assert architecture.shapes == ((1, 6, 6), (2, 4, 4), (2, 4, 4), (4, 4, 4), (64,), (5,))
    assert (architecture.input_size, architecture.output_size) == (36, 5)
    assert architecture.parameter_count == sum(math.prod(s) for s in architecture.parameter_shapes.values())
    architecture.parameter_shapes.clear()
    assert architecture.parameter_shapes


WRONG_FIELDS = [
    (lambda: Linear(0), "linear.out_features: found 0; a positive integer is accepted"),
    (lambda: Linear(True), "linear.out_features: found True; a positive integer is accepted"),
    (lambda: Linear(2.0), "linear.out_features: found 2.0; a positive integer is accepted"),  # type: ignore[arg-type]
    (lambda: Linear(2, 1), "linear.bias: found 1; true or false is accepted"),  # type: ignore[arg-type]
    (lambda: Linear(2**31 + 1), "linear.out_features: found 2147483649; at most 2147483648 is accepted"),
    (lambda: Conv2d(1, -1), "conv2d.kernel_size: found -1; a positive integer or a pair of them is accepted"),
    (lambda: Conv2d(1, (1, 2, 3)), "conv2d.kernel_size: found (1, 2, 3); a positive integer or a pair"),  # type: ignore[arg-type]
    (lambda: Conv2d(1, 3, 0), "conv2d.stride: found 0; a positive integer or a pair"),
    (lambda: Conv2d(1, 3, 1, (0, -2)), "conv2d.padding: found (0, -2); a nonnegative integer or a pair"),
    (lambda: AvgPool2d(2, padding=2), "avg_pool2d.padding: found 2; at most half the kernel is accepted"),
    (lambda: AvgPool2d((2, 4), padding=(2, 0)), "avg_pool2d.padding: found (2, 0); at most half the kernel"),
    (lambda: MaxPool2d((2, 4), padding=(0, 3)), "max_pool2d.padding: found (0, 3); at most half the kernel"),
    (lambda: MaxPool2d("3"), "max_pool2d.kernel_size: found '3'; a positive integer"),  # type: ignore[arg-type]
    (lambda: BatchNorm2d(0.0), "batch_norm2d.eps: found 0.0; a positive number is accepted"),
    (lambda: BatchNorm2d(math.nan), "batch_norm2d.eps: found nan; a finite number is accepted"),
    (lambda: LeakyReLU("0.1"), "leaky_relu.negative_slope: found '0.1'; a finite number"),  # type: ignore[arg-type]
    (lambda: LeakyReLU(10**400), "leaky_relu.negative_slope: found an integer of 1329 bits; a finite number"),
    (lambda: ELU(math.inf), "elu.alpha: found inf; a finite number is accepted"),
    (lambda: Polynomial(()), "polynomial.coefficients: found 0 entries; 1 to 256 finite numbers are accepted"),
    (lambda: Polynomial((1.0, None)), r"polynomial.coefficients[1]: found None; a finite number"),  # type: ignore[arg-type]
    (lambda: Residual(()), "residual.layers: found 0 entries; 1 to 4096 layers are accepted"),
    (lambda: Residual((ReLU(), "relu")), "residual.layers[1]: found 'relu'; a layer is accepted"),  # type: ignore[arg-type]
    (lambda: Residual((ReLU(),), 3), "residual.shortcut: found 3; a list of layers is accepted"),  # type: ignore[arg-type]
]


@pytest.mark.parametrize(("build", "message"), WRONG_FIELDS, ids=[message[:40] for _, message in WRONG_FIELDS])
def test_wrong_fields_are_named(build: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        build()  # type: ignore[operator]
    assert str(caught.value).startswith(message)


IMAGE = (2, 8, 8)
WRONG_SHAPES: list[tuple[tuple[int, ...], tuple[Layer, ...], str, str]] = [
    (IMAGE, (ReLU(), Linear(2)), "squared", "layer 1 (linear): found an input of shape (2, 8, 8); a flat one"),
    ((8,), (Conv2d(2, 3),), "squared", "layer 0 (conv2d): found an input of shape (8,); conv2d accepts (channels,"),
    ((8,), (BatchNorm2d(), Linear(1)), "squared", "layer 0 (batch_norm2d): found an input of shape (8,)"),
    (IMAGE, (Conv2d(2, 9),), "squared", "layer 0 (conv2d): kernel_size: found (9, 9) on a padded input of 8 by 8"),
    (IMAGE, (MaxPool2d(9), Flatten()), "squared", "layer 0 (max_pool2d): kernel_size: found (9, 9)"),
    (IMAGE, (Conv2d(2, 3),), "squared", "layer 0 (conv2d): found an output of shape (2, 6, 6); a flat one"),
    (IMAGE, (Residual((Conv2d(2, 3),)), Flatten()), "squared", "layer 0 (residual): found branches of shapes"),
    (IMAGE, (Residual((ReLU(), Linear(3))),), "squared", "layer 0 (residual): layer 1 (linear): found an input"),
    (IMAGE, (Residual((ReLU(),), (Linear(3),)),), "squared", "layer 0 (residual): shortcut: layer 0 (linear): found"),
    ((8,), (Linear(2),), "logistic", "loss: found logistic with 2 outputs; one output is accepted"),
    ((8,), (Linear(1),), "cross_entropy", "loss: found cross_entropy with one output"),
    ((8,), (Linear(1),), "hinge", "loss: found 'hinge'; one of squared, logistic, cross_entropy is accepted"),
    ((), (Linear(1),), "squared", "input_shape: found 0 entries; 1 to 8 positive integers are accepted"),
    ((8, 0), (Flatten(), Linear(1)), "squared", "input_shape[1]: found 0; a positive integer is accepted"),
    ((8,), (), "squared", "layers: found 0 entries; 1 to 4096 layers are accepted"),
]


@pytest.mark.parametrize(
    ("shape", "layers", "loss", "message"), WRONG_SHAPES, ids=[row[3][:50] for row in WRONG_SHAPES]
)
def test_shapes_that_do_not_fit_name_the_layer(
    shape: tuple[int, ...], layers: tuple[Layer, ...], loss: str, message: str
) -> None:
    with pytest.raises(InputError) as caught:
        Architecture("net", shape, layers, loss)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize("name", ["", "two\nlines", "x" * 201, "\ud800", 3, None])
def test_names_are_one_printable_line(name: object) -> None:
    with pytest.raises(InputError, match=r"^name: found "):
        Architecture(name, (1,), (Linear(1),), "squared")  # type: ignore[arg-type]


ABSURD: list[tuple[tuple[int, ...], tuple[Layer, ...], str]] = [
    ((2**31,), (Linear(2**31),), "layer 0 (linear): found a weight of shape (2147483648, 2147483648)"),
    ((2**20, 2**20, 2), (Flatten(), Linear(1)), "found an input of shape (1048576, 1048576, 2)"),
    ((2**16, 2**16), (Flatten(), Linear(1)), "layer 0 (flatten): found an output of shape (4294967296,)"),
    ((1, 8, 8), (Conv2d(2, 3, 2**31, 2**31), Flatten()), "layer 0 (conv2d): found a padded input of shape"),
    ((1, 8, 8), (Conv2d(2**31, 1, padding=10), Flatten()), "layer 0 (conv2d): found an output of shape"),
    ((2**20,), (Linear(2**20), Linear(2**20), Linear(1)), "layers: found 2199026401281 parameters in all"),
]


@pytest.mark.parametrize(("shape", "layers", "message"), ABSURD, ids=[row[2][:50] for row in ABSURD])
def test_absurd_sizes_are_refused_by_name_at_once(
    shape: tuple[int, ...], layers: tuple[Layer, ...], message: str
) -> None:
    with pytest.raises(InputError) as caught:
        Architecture("net", shape, layers, "squared")
    assert str(caught.value).startswith(message)


def test_nested_residuals_are_bounded_and_cheap() -> None:
    def nested(depth: int) -> Residual:
        inner: Layer = Linear(3)
        for _ in range(depth):
            inner = Residual((inner,), (Linear(3),))
        assert isinstance(inner, Residual)
        return inner

    start = time.perf_counter()
    architecture = Architecture("nested", (3,), (nested(16),), "squared")
    # shapes computed twice per level would take 2**16 times as long as one level: minutes, not a second
    assert time.perf_counter() - start < 1.0
    assert len(architecture.parameter_shapes) == 2 * 17
    with pytest.raises(InputError, match="nested 17 deep; at most 16 levels"):
        nested(17)


def test_equal_descriptions_hash_alike() -> None:
    sizes = itertools.product((1, 2), (True, False))
    assert len({Linear(out, bias) for out, bias in sizes} | {Linear(1), Linear(2)}) == 4
