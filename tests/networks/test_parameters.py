"""Parameters: round trips, refusals by name, distributions."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import Architecture, Linear, ReLU
from provable.errors import InputError
from provable.networks import Parameters

NET = Architecture("net", (3,), (Linear(2), ReLU(), Linear(1, bias=False)), "squared")
ARRAYS = {"0/weight": np.arange(6.0).reshape(2, 3), "0/bias": np.array([6.0, 7.0]), "2/weight": np.array([[8.0, 9.0]])}


def test_the_vector_runs_through_the_arrays_in_order() -> None:
    parameters = Parameters(NET, dict(reversed(ARRAYS.items())))
    assert list(parameters) == ["0/weight", "0/bias", "2/weight"]
    assert (parameters.vector() == np.arange(10.0)).all()
    assert Parameters.from_vector(NET, range(10)) == parameters
    assert Parameters.from_vector(NET, np.arange(10)) != Parameters.from_vector(NET, np.arange(1, 11))
    assert parameters != ARRAYS
    assert pickle.loads(pickle.dumps(parameters)) == parameters


@given(seed=st.integers(0, 2**32 - 1))
def test_vectors_and_seeds_are_repeatable(network: Architecture, seed: int) -> None:
    parameters = Parameters.random(network, rng=seed)
    again = Parameters.from_vector(network, parameters.vector())
    assert again == parameters and parameters == Parameters.random(network, rng=np.random.default_rng(seed))
    assert parameters.vector().shape == (network.parameter_count,)
    for name, shape in network.parameter_shapes.items():
        assert again[name].shape == shape and (again[name] == parameters[name]).all()
    if len(parameters):
        assert np.count_nonzero(parameters.vector()) == network.parameter_count
        assert parameters != Parameters.random(network, rng=seed + 1)


@pytest.mark.parametrize(("scale", "weight"), [("he", 2 / 50), ("lecun", 1 / 50), ("standard_normal", 1.0)])
def test_variances_are_those_of_the_scale(scale: str, weight: float) -> None:
    wide = Architecture("wide", (50,), (Linear(400),), "squared")
    parameters = Parameters.random(wide, rng=0, scale=scale)
    bias = 1.0 if scale == "standard_normal" else 1 / 50
    for name, variance in (("0/weight", weight), ("0/bias", bias)):
        count = parameters[name].size
        # the sample variance of n normal numbers has relative standard deviation sqrt(2 / n): six of them
        assert abs(parameters[name].var() / variance - 1) < 6 * math.sqrt(2 / count)


def test_numbers_are_copied_and_read_only() -> None:
    weight = ARRAYS["0/weight"].copy()
    parameters = Parameters(NET, ARRAYS | {"0/weight": weight})
    weight[0, 0] = 99.0
    assert parameters["0/weight"][0, 0] == 0.0
    with pytest.raises(ValueError, match="read-only"):
        parameters["0/weight"][0, 0] = 1.0


def test_exact_numbers_are_kept() -> None:
    parameters = Parameters(NET, ARRAYS)
    for system in (arithmetic.RATIONAL, arithmetic.MODULAR, arithmetic.BALL):
        exact = system.convert(parameters)
        assert isinstance(exact, Parameters) and exact.kind == system.name
        assert exact.vector().dtype == object and exact.architecture is NET
        assert system.convert(exact) == exact
        assert Parameters.from_vector(NET, exact.vector()) == exact
    assert arithmetic.FLOAT64.convert(parameters) == parameters and parameters.kind == "float64"


WRONG = [
    ({"0/weight": np.zeros((2, 3))}, "parameters: found no 0/bias; an array of shape (2,) is required"),
    (
        ARRAYS | {"1/weight": np.zeros(1)},
        "parameters: found the unknown name '1/weight'; 0/weight, 0/bias, 2/weight are",
    ),
    (ARRAYS | {"0/bias": np.zeros((2, 1))}, "parameters 0/bias: found shape (2, 1); (2,) is accepted"),
    (ARRAYS | {"0/bias": np.array([0.0, np.nan])}, "parameters 0/bias: found a number that is not finite; finite"),
    (ARRAYS | {"0/bias": np.array([0.0, 1j])}, "parameters 0/bias: found entries of type complex128; real numbers"),
    (ARRAYS | {"0/bias": np.array(["a", "b"])}, "parameters 0/bias: found entries of type <U1; real numbers"),
    (ARRAYS | {"0/bias": np.array([True, False])}, "parameters 0/bias: found entries of type bool; real numbers"),
    (
        ARRAYS | {"0/bias": arithmetic.RATIONAL.convert(np.zeros(2))},
        "parameters: found numbers of several arithmetics (float64, rational); one is",
    ),
]


@pytest.mark.parametrize(("arrays", "message"), WRONG, ids=[message[:45] for _, message in WRONG])
def test_wrong_arrays_are_named(arrays: dict[str, np.ndarray], message: str) -> None:
    with pytest.raises(InputError) as caught:
        Parameters(NET, arrays)
    assert str(caught.value).startswith(message)


def test_wrong_vectors_and_scales_are_named() -> None:
    with pytest.raises(InputError, match=r"vector: found shape \(9,\); \(10,\) is accepted"):
        Parameters.from_vector(NET, np.zeros(9))
    with pytest.raises(InputError, match="scale: found 'xavier'; he, lecun, standard_normal are accepted"):
        Parameters.random(NET, scale="xavier")
