"""Instances survive being written as JSON and read again, bit for bit."""

from __future__ import annotations

import dataclasses
import json
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.errors import InputError
from provable.measures import Measure
from provable.theorems import strategies
from provable.theorems.instances import decode, describe, encode


@dataclasses.dataclass(frozen=True)
class Pair:
    """A dataclass as a theorem file would define it."""

    left: object
    right: object


def same(a, b):
    """Equality that looks into arrays and dataclasses and tells floats from integers."""
    if isinstance(a, np.ndarray):
        return isinstance(b, np.ndarray) and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if dataclasses.is_dataclass(a) and not hasattr(a, "items"):
        return type(a) is type(b) and all(
            same(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a) if f.init
        )
    if isinstance(a, tuple | list):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if hasattr(a, "items"):
        return set(a) == set(b) and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and a == b


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(max_size=5),
    st.fractions(),
    strategies.gaussian_arrays((2, 3)),
    strategies.readable_arrays((0, 2)),
    st.just(np.array([1, 2])),
    st.just(np.array([True, False])),
    strategies.architectures(),
    strategies.measures((2,)),
    strategies.architectures().flatmap(strategies.parameters),
)
values = st.recursive(
    leaves,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3),
        st.tuples(inner, inner),
        st.dictionaries(st.one_of(st.text(max_size=3), st.integers()), inner, max_size=2),
        st.frozensets(st.integers(), max_size=3),
        st.complex_numbers(allow_nan=False, allow_infinity=False),
        st.builds(Pair, inner, inner),
    ),
    max_leaves=5,
)


@given(values)
def test_written_and_read_again(value):
    text = json.dumps(encode(value), allow_nan=False)
    assert same(value, decode(json.loads(text), {"Pair": Pair, "Measure": Measure}))


@given(values)
def test_descriptions_are_text(value):
    assert isinstance(describe(value), str)


def test_what_cannot_be_written_is_named():
    with pytest.raises(InputError, match="an instance holds a object"):
        encode(object())
    with pytest.raises(InputError, match="an instance holds a bytes"):
        encode([b"bytes"])


@pytest.mark.parametrize(
    "damaged",
    [
        {"type": "os.system", "fields": {}},
        {"type": "Fraction", "fields": {"numerator": 1}},
        {"type": "Pair", "fields": {"middle": 1}},
        {"array": [1, 2], "dtype": "float64", "shape": [3]},
        {"array": [1], "dtype": "no such", "shape": [1]},
        {"fraction": "1/0/2"},
        {"unknown": 1},
        {"parameters": {}},
        {"mapping": 3},
    ],
)
def test_damaged_encodings_are_refused(damaged):
    with pytest.raises(InputError, match="encoded instance"):
        decode(damaged, {"Pair": Pair, "Fraction": Fraction})
