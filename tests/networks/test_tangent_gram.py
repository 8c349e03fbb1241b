"""Tangent kernels by blocks: the same numbers as all at once, within the memory that was predicted."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import (
    Architecture,
    AvgPool2d,
    Conv2d,
    Flatten,
    Linear,
    MaxPool2d,
    ReLU,
    Residual,
    Tanh,
)
from provable.arithmetic import EPSILON, Arithmetic
from provable.errors import ArithmeticUnsupported, InputError, UnsupportedError
from provable.networks import Parameters, tangent_gram, tangent_gram_memory, tangent_kernel
from provable.theorems.strategies import seeds

DENSE = Architecture("dense", (5,), (Linear(40), Tanh(), Linear(30, bias=False), ReLU(), Linear(2)), "squared")
IMAGES = Architecture(
    "images",
    (2, 6, 6),
    (
        Conv2d(3, kernel_size=3, padding=1),
        ReLU(),
        Residual((Conv2d(3, kernel_size=3, padding=1), Tanh()), ()),
        MaxPool2d(2),
        AvgPool2d(3),
        Flatten(),
        Linear(2),
    ),
    "squared",
)
WIDE = Architecture("wide", (10,), (Linear(300), ReLU(), Linear(300), ReLU(), Linear(1)), "squared")
networks = st.sampled_from((DENSE, IMAGES))


def instance(network, seed, count):
    rng = np.random.default_rng(seed)
    return Parameters.random(network, rng=rng, scale="lecun"), rng.standard_normal((count, *network.input_shape))


@given(networks, seeds(), st.integers(1, 7), st.integers(1, 6), st.integers(1, 4))
def test_blocks_give_the_kernel(network, seed, count, others, side):
    parameters, samples = instance(network, seed, count + others)
    X, Z = samples[:count], samples[count:]
    limits = [tangent_gram_memory(network, shape, side) for shape in ((count, count), (count, others))]
    blocks = tangent_gram(network, parameters, X, memory_limit=limits[0])
    between = tangent_gram(network, parameters, X, Z, memory_limit=limits[1])
    assert np.array_equal(blocks, blocks.T)
    assert np.array_equal(blocks, tangent_gram(network, parameters, X, X.copy(), memory_limit=limits[0]))
    whole = tangent_kernel(network, parameters, samples)
    size = np.sqrt(np.outer(np.diag(whole), np.diag(whole)))
    cut = 2 * count
    # the longest chain: forward and backward through at most 300 products, then as many parameters
    unit = 300 * EPSILON
    assert np.all(np.abs(blocks - whole[:cut, :cut]) <= unit * size[:cut, :cut])
    assert np.all(np.abs(between - whole[:cut, cut:]) <= unit * size[:cut, cut:])


@pytest.mark.parametrize(
    ("network", "count"), [(DENSE, 200), (IMAGES, 60), (WIDE, 400)], ids=["dense", "images", "wide"]
)
@pytest.mark.parametrize("side", [None, 16])
def test_predicted_memory_is_an_upper_bound_that_is_met(network, count, side):
    parameters, samples = instance(network, 0, count)
    limit = tangent_gram_memory(network, (count, count), side)
    tangent_gram(network, parameters, samples[:2])  # what is made once is not counted
    tracemalloc.start()
    try:
        tangent_gram(network, parameters, samples, memory_limit=limit)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # a few Python objects beside the arrays
    assert peak <= limit + 2**16
    assert peak > limit / 5


def test_what_does_not_fit_is_refused_with_its_size():
    parameters, samples = instance(DENSE, 0, 1000)
    least = tangent_gram_memory(DENSE, (1000, 1000), 1)
    assert least > 8 * 2000**2
    with pytest.raises(UnsupportedError, match=rf"1000 by 1000 samples needs .*\({least} bytes\)"):
        tangent_gram(DENSE, parameters, samples, memory_limit=least - 1)
    for wrong in (0, "1 GB"):
        with pytest.raises(InputError, match=f"memory_limit: found {wrong!r}"):
            tangent_gram(DENSE, parameters, samples, memory_limit=wrong)


def test_no_samples_and_other_numbers():
    parameters, samples = instance(DENSE, 0, 3)
    assert tangent_gram(DENSE, parameters, samples[:0]).shape == (0, 0)
    assert tangent_gram(DENSE, parameters, samples, samples[:0]).shape == (6, 0)
    with pytest.raises(InputError, match="shape"):
        tangent_gram(DENSE, parameters, samples[:, :2])
    balls = Arithmetic("ball")
    with pytest.raises(ArithmeticUnsupported, match="float64"):
        tangent_gram(DENSE, parameters.map_numbers(balls.convert), balls.convert(samples))
