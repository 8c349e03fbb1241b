"""The format in which observed numbers were computed: found from the numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Tanh
from provable.arithmetic import Float
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.batch.precision import UNITS, number_format, precision

ARCHITECTURE = Architecture("small", (5,), (Linear(4), Tanh(), Linear(2)), "squared")


def observed(convert: object, seed: int, scale: float = 1.0) -> Observation:
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(ARCHITECTURE, rng=rng)
    vector = Parameters.random(ARCHITECTURE, rng=rng)
    pieces = {name: convert(scale * array) for name, array in vector.items()}  # type: ignore[operator]
    return Observation("gradient", ARCHITECTURE, parameters, pieces)


def to_bfloat16(array: Float) -> Float:
    cut = array.astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    return cut.view(np.float32).astype(np.float64)


FORMATS = {
    "float16": lambda array: array.astype(np.float16).astype(np.float64),
    "bfloat16": to_bfloat16,
    "float32": lambda array: array.astype(np.float32).astype(np.float64),
    "float64": lambda array: array,
}


@pytest.mark.parametrize("name", FORMATS)
@given(seed=st.integers(0, 2**32), exponent=st.integers(-3, 3))
def test_the_format_is_found(name: str, seed: int, exponent: int) -> None:
    observation = observed(FORMATS[name], seed, 2.0**exponent)
    assert number_format(observation) == name
    assert precision(observation) == UNITS[name]


@given(seed=st.integers(0, 2**32))
def test_one_longer_number_decides(seed: int) -> None:
    observation = observed(FORMATS["float32"], seed)
    pieces = {name: array.copy() for name, array in observation.vector.items()}
    pieces["2/bias"][1] = np.nextafter(pieces["2/bias"][1], np.inf)
    assert number_format(Observation("gradient", ARCHITECTURE, observation.parameters, pieces)) == "float64"


@pytest.mark.parametrize("scale", [1e-300, 1e300])
def test_numbers_out_of_range_of_short_formats_are_long(scale: float) -> None:
    assert number_format(observed(FORMATS["float64"], 1, scale)) == "float64"


def test_few_numbers_prove_nothing() -> None:
    observation = observed(lambda array: np.where(np.arange(array.size).reshape(array.shape) == 0, 0.5, 0.0), 1)
    assert number_format(observation) == "float64"
