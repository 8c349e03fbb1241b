"""Choosing a method, and saying why none fits."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from provable.architectures import (
    Architecture,
    Conv2d,
    Flatten,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    Tanh,
)
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery import METHODS, Recovery, recover, selection
from provable.recovery.method import Method
from provable.recovery.selection import LARGEST_ACTIVATION

MLP = Architecture("mlp", (4,), (Linear(3), Tanh(), Linear(2)), "cross_entropy")
# Maxima forget which entries they come from, and nothing in front of them has a bias.
UNBIASED = Architecture(
    "unbiased", (1, 4, 4), (Conv2d(2, 2, bias=False), MaxPool2d(2), Flatten(), Linear(2)), "cross_entropy"
)


def observe(architecture, count=1):
    rng = np.random.default_rng(0)
    inputs = rng.standard_normal((count, *architecture.input_shape))
    return Observation.from_data(
        architecture, Parameters.random(architecture, rng=rng), inputs, np.zeros(count, dtype=int)
    )


def test_names_are_unique():
    names = [method.name for method in METHODS]
    assert len(set(names)) == len(names)
    assert "auto" not in names


@pytest.mark.parametrize("method", ["auto", "fully-connected"])
def test_recovers(method):
    found = recover(observe(MLP), method=method, rng=0)
    assert found.method == "fully-connected"
    assert found.status in ("certified", "consistent")
    assert found.labels.tolist() == [0]


def test_same_seed_same_bytes():
    observation = observe(MLP)
    assert recover(observation, rng=3).to_bytes() == recover(observation, rng=3).to_bytes()


def test_unknown_method():
    with pytest.raises(InputError, match=r"^method: found 'magic'; auto, fully-connected"):
        recover(observe(MLP), method="magic")


def test_the_second_method_where_the_first_does_not_apply():
    architecture = Architecture("unbiased", (4,), (Linear(3, bias=False), Tanh(), Linear(2)), "cross_entropy")
    found = recover(observe(architecture), rng=0)
    assert found.method == "layer-wise"
    assert found.status in ("certified", "consistent")


@pytest.mark.parametrize("method", ["auto", "fully-connected"])
def test_nothing_supports_it(method):
    found = recover(observe(UNBIASED), method=method)
    assert found.status == "failed"
    assert found.method == ""
    assert "fully-connected: layer 0 (conv2d) comes before the first linear one" in found.reason
    assert found.points.shape == (0, 1, 4, 4)
    assert found.coefficients.shape == (0, 2)
    assert found.residual == 1


def attempt(name, status, atoms, **options):
    def found(observation, rng):
        points, coefficients = np.ones((atoms, 4)), np.ones((atoms, 2))
        return Recovery(points, coefficients, None, 0.5, name, (), status, reason="as told")

    return Method(name, lambda observation: None, found, **options)


@pytest.mark.parametrize(
    ("attempts", "taken"),
    [
        ((("a", "failed", 1), ("b", "consistent", 1), ("c", "consistent", 1)), "b"),
        ((("a", "failed", 1), ("b", "partial", 1), ("c", "partial", 2)), "c"),
        ((("a", "failed", 0), ("b", "failed", 2)), "b"),
    ],
)
def test_auto_goes_on_until_a_method_explains_the_observation(monkeypatch, attempts, taken):
    methods = (attempt("named-only", "consistent", 1, automatic=False), *(attempt(*each) for each in attempts))
    monkeypatch.setattr(selection, "METHODS", methods)
    found = recover(observe(MLP), rng=0)
    assert found.method == taken
    names = [name for name, _ in selection.passed_over(observe(MLP), taken)]
    assert names == [name for name, *_ in attempts[: [name for name, *_ in attempts].index(taken)]]
    assert recover(observe(MLP), method="named-only").method == "named-only"


def test_every_method_says_why_not():
    reason = recover(observe(UNBIASED)).reason
    assert all(f"{method.name}: " in reason for method in METHODS if method.automatic)


@pytest.mark.parametrize(
    "layers",
    [
        (Conv2d(1, 1, padding=2**14, bias=False), Flatten(), Linear(1)),
        (Conv2d(1, 2**13, padding=2**12), Flatten(), Linear(1)),
        (Residual((Conv2d(1, 2**15 + 1, padding=2**14, bias=False), ReLU())), Flatten(), Linear(1)),
    ],
)
def test_absurd_memory_is_refused_before_it_is_used(layers):
    """Nothing but zeros where the file would have the numbers: the architecture alone decides."""
    architecture = Architecture("absurd", (1, 2, 2), layers, "squared")
    small = {key: shape for key, shape in architecture.parameter_shapes.items() if np.prod(shape) < 10}
    parameters = object.__new__(Parameters)
    object.__setattr__(parameters, "architecture", architecture)
    object.__setattr__(parameters, "arrays", {})
    observation = Observation(
        "gradient", architecture, parameters, vector={key: np.zeros(shape) for key, shape in small.items()}
    )
    with pytest.raises(
        UnsupportedError, match=rf"^layer 0 \(\w+\): \d+ numbers arise at once; at most {LARGEST_ACTIVATION}"
    ):
        recover(observation)


@pytest.mark.parametrize("method", ["layer-wise", "hybrid"])
def test_a_start_behind_an_activation_without_inverse(method):
    """Nothing comes back through a constant activation, so the recursion would start behind it."""
    architecture = Architecture("constant", (3,), (Linear(4), Polynomial((0.5,)), Linear(1)), "squared")
    rng = np.random.default_rng(0)
    observation = Observation.from_data(architecture, Parameters.random(architecture, rng=rng), np.ones((1, 3)), [1.0])
    found = recover(observation, method=method, rng=0)
    assert found.status == "failed"
    assert "layer 1 (polynomial) is a polynomial whose degree is not 1" in found.reason


@pytest.mark.parametrize("activation", [LeakyReLU(1.0), Polynomial((0.0, 1.0)), Polynomial((0.3, 1.0, 0.0, 0.0))])
@pytest.mark.parametrize("biases", [False, True])
def test_affine_activations_are_affine_under_any_name(activation, biases):
    """All samples of a linear network with one output look like one: no batch is called found."""
    architecture = Architecture("affine", (4,), (Linear(20, biases), activation, Linear(1, biases)), "logistic")
    rng = np.random.default_rng(1)
    parameters, inputs = Parameters.random(architecture, rng=rng), rng.standard_normal((2, 4))
    found = recover(Observation.from_data(architecture, parameters, inputs, [1, -1]), rng=0)
    assert found.status == "failed", found.method


def test_the_bounds_of_a_deep_polynomial_leave_no_sigma():
    """Rounding grows with every layer of degree three, until no ball is left: there is no certificate, and no traceback."""
    cubic = Polynomial((0.0, 1.0, 0.0, 0.3))
    layers = [part for width in (40, 40, 10, 20) for part in (Linear(width, False), cubic)]
    architecture = Architecture("cubic", (3,), (*layers, Linear(3, False)), "squared")
    rng = np.random.default_rng(0)
    parameters = Parameters.random(architecture, rng=rng, scale="standard_normal")
    inputs = np.array([[-0.43, 0.41, -0.19]])
    found = recover(Observation.from_data(architecture, parameters, inputs, np.zeros((1, 3))), rng=0)
    assert found.status == "consistent", found.reason
    assert "no certificate" in found.reason


@pytest.mark.parametrize("biases", [False, True])
@pytest.mark.parametrize("count", [1, 3])
def test_norms_that_are_stated_and_wrong_are_found_out(biases, count):
    architecture = Architecture("biased", (6,), (Linear(30, biases), Tanh(), Linear(2)), "squared")
    rng = np.random.default_rng(2)
    parameters, inputs = Parameters.random(architecture, rng=rng), rng.standard_normal((count, 6))
    observation = Observation.from_data(architecture, parameters, inputs, rng.standard_normal((count, 2)))
    method = "fully-connected" if biases and count == 1 else "span-check"
    assert recover(observation, method=method, rng=0).status in ("certified", "consistent")
    found = recover(dataclasses.replace(observation, unit_norm=True), method=method, rng=0)
    assert found.status == "failed"
    assert "the observation states that" in found.reason
