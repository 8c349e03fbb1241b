"""Upper bounds of the rank of x ↦ all gradients against exact Jacobians, published networks and each other."""

from __future__ import annotations

import math

import flint
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import (
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Residual,
)
from provable.architectures.layers import Tanh
from provable.architectures.zoo import from_zoo
from provable.arithmetic import RATIONAL
from provable.errors import InputError
from provable.leakage.layer_systems import LayerSystem
from provable.leakage.layer_systems.rank import upper_bound
from provable.leakage.open_dimensions.coverage import dead_inputs
from provable.leakage.open_dimensions.nested_rank import LAWS, SYSTEM, USED, nested_rank_bound
from provable.networks import Parameters

seeds = st.integers(0, 2**32 - 1)
EXACT = [
    Identity(),
    LeakyReLU(0.25),
    ReLU(),
    Polynomial((0.0, 2.0)),
    Polynomial((0.0, 0.0, 1.0)),
    Polynomial((1.0, 1.0, 0.5)),
]


@given(st.data(), seeds, st.sampled_from([0.0, 0.3, 0.8]))
def test_no_exact_jacobian_exceeds_the_bound(networks, systems, exact_rank, data, seed, zeros):
    """At all points, degenerate ones included."""
    network = data.draw(networks(EXACT))
    bound = nested_rank_bound(network, systems(network))
    assert exact_rank(network, np.random.default_rng(seed), zeros) <= bound.value <= network.input_size
    assert bound.nullity == network.input_size - bound.value


@given(st.data(), seeds)
def test_no_exact_jacobian_of_two_samples_exceeds_the_bound(networks, exact_rank, data, seed):
    network = data.draw(networks(EXACT))
    bound = nested_rank_bound(network, batch_size=2)
    assert exact_rank(network, np.random.default_rng(seed), 0.0, samples=2) <= bound.value <= 2 * network.input_size
    assert bound.value >= nested_rank_bound(network).value


@given(st.data(), seeds)
def test_no_numerical_jacobian_exceeds_the_bound(networks, systems, jacobian, data, seed):
    network = data.draw(networks([Tanh(), LeakyReLU(0.2)], "cross_entropy"))
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(network, rng=rng, scale="lecun")
    sample = rng.standard_normal((1, *network.input_shape))
    matrix = jacobian(network, parameters, sample, np.array([0]))
    singular = np.linalg.svd(matrix, compute_uv=False)
    beyond = singular[nested_rank_bound(network, systems(network)).value :]
    # rounding of sums of some hundred products through up to five layers, relative to the largest value
    assert (beyond <= 1e-12 * max(1.0, singular[0])).all()


@pytest.mark.parametrize("activation", [LeakyReLU(0.25), Polynomial((0.0, 0.0, 1.0)), Polynomial((1.0, 1.0, 0.5))])
def test_the_bound_is_attained_by_chains_without_linear_activations(activation, systems, exact_rank):
    """A bound that was too weak would pass the tests above; the maximum over points is the generic rank."""
    rng = np.random.default_rng(0)
    for kernel, stride in ((1, 1), (1, 2), (2, 1), (2, 2), (3, 1)):
        for outputs in (1, 2, 3):
            layers = (Conv2d(2, kernel, stride, bias=False), activation, Conv2d(outputs, 2), Flatten(), Linear(2))
            network = Architecture("net", (2, 4, 4), layers, "squared")
            found = max(exact_rank(network, rng, 0.0) for _ in range(3))
            assert found == nested_rank_bound(network, systems(network)).value


NULLITY = {
    "cnn2_c0": 2821,
    "cnn2_c1": 0,
    "cnn2_c2": 1470,
    "cnn2_c4": 2146,
    "cnn2_c5": 0,
    "cnn2_c6": 189,
    "cnn3_c1": 2043,
    "cnn3_c2": 2484,
    "cnn3_c3": 0,
    "cnn3_c4": 2146,
    "cnn3_c8": 1818,
    "cnn3_c9": 0,
    "cnn4_c1": 1836,
    "cnn4_c2": 189,
    "cnn4_c3": 189,
    "lenet2": 0,
    "cnn6": 0,
    "cnn6-d": 0,
    "rgap-figure-1": 0,
    "rgap-figure-2": 414,
    "rgap-figure-3": 414,
    "rgap-figure-4": 0,
    "rgap-figure-5": 36,
}
"""N* where it was computed by singular values of the Jacobian, but 36 for 38 where two channels never change sign."""


@pytest.mark.parametrize("name", NULLITY)
def test_published_networks(name, systems):
    network = from_zoo(name)
    bound = nested_rank_bound(network, systems(network))
    assert bound.nullity == NULLITY[name]
    assert [step.path for step in bound.steps] == [str(index) for index in range(len(network.layers))]
    assert bound.steps[0].value == bound.value


def test_the_steps_of_a_published_network(systems):
    steps = nested_rank_bound(from_zoo("cnn4_c1"), systems(from_zoo("cnn4_c1"))).steps
    values = {step.path: (step.value, step.how) for step in steps if step.type == "conv2d"}
    assert values["4"] == (594, SYSTEM)
    assert values["2"] == (594 + 480, "own gradients")
    assert values["0"] == (594 + 480 + 162, "own gradients")


@given(st.data(), seeds)
def test_smaller_bounds_of_layers_never_raise_the_bound(networks, systems, data, seed):
    network = data.draw(networks([*EXACT, Tanh()]))
    rng = np.random.default_rng(seed)
    known = systems(network)
    fewer = {path: value for path, value in known.items() if rng.random() < 0.5}
    assert nested_rank_bound(network, known).value <= nested_rank_bound(network, fewer).value


def test_never_below_what_the_first_layer_and_dead_inputs_say(systems):
    for name in NULLITY:
        network = from_zoo(name)
        bound = nested_rank_bound(network, systems(network))
        first = LayerSystem.of_layer(network.layers[0], network.input_shape)
        assert bound.nullity >= max(dead_inputs(network), first.unknowns - upper_bound(first).value)


def test_conservation_laws_are_needed_for_the_exact_rank(systems, exact_rank):
    layers = (Conv2d(2, 2, bias=False), LeakyReLU(0.25), Conv2d(2, 2, bias=False), LeakyReLU(0.25), Flatten())
    network = Architecture("net", (3, 6, 6), (*layers, Linear(1, bias=False)), "squared")
    bound = nested_rank_bound(network, systems(network))
    assert bound.steps[0].how == LAWS
    assert bound.value == (32 + 16 - 2 * 2) + 24 - 2
    rng = np.random.default_rng(1)
    assert max(exact_rank(network, rng, 0.0) for _ in range(5)) == bound.value


def test_channels_that_never_change_sign_obey_more_laws(systems, jacobian):
    """Where two channels lie on one side of the kink everywhere, ⟨W_o, G_o'⟩ is conserved for o ≠ o' as well."""
    layers = (Conv2d(2, 2, bias=False), LeakyReLU(0.25), Conv2d(2, 2, bias=False), LeakyReLU(0.25), Flatten())
    network = Architecture("net", (3, 6, 6), (*layers, Linear(1, bias=False)), "squared")
    rng = np.random.default_rng(0)
    draw = {name: rng.integers(-9, 10, shape).astype(float) for name, shape in network.parameter_shapes.items()}
    draw["0/weight"] = np.abs(draw["0/weight"]) + 1
    parameters = Parameters(network, {name: RATIONAL.convert(array) for name, array in draw.items()})
    sample = RATIONAL.convert(rng.integers(1, 10, (1, 3, 6, 6)).astype(float))
    matrix = jacobian(network, parameters, sample, RATIONAL.convert(np.ones((1, 1))))
    found = flint.fmpq_mat(*matrix.shape, matrix.ravel().tolist()).rank()
    assert found == nested_rank_bound(network, systems(network)).value - 2


def test_linear_networks_have_a_law_for_every_pair_of_channels(exact_rank):
    layers = (Conv2d(3, 3), Identity(), AvgPool2d(2), Flatten(), Linear(2))
    network = Architecture("net", (1, 8, 8), layers, "squared")
    bound = nested_rank_bound(network)
    assert bound.value == 27 + 3 * 9 + 3 - 9
    assert exact_rank(network, np.random.default_rng(2), 0.0) <= bound.value


def test_residual_blocks_and_normalisation():
    block = Residual((Conv2d(2, 3, 2, 1), BatchNorm2d(), ReLU()), (Conv2d(2, 1, 2),))
    network = Architecture("net", (2, 8, 8), (block, AvgPool2d(4), Flatten(), Linear(3)), "cross_entropy")
    bound = nested_rank_bound(network)
    normalisation = 4
    own = (2 * 2 * 9 + 2) + normalisation + (2 * 2 + 2)
    assert bound.value == 2 + own
    straight = Residual((Conv2d(2, 3, 2, 1), ReLU(), Conv2d(2, 1)), (Conv2d(2, 1, 2),))
    network = Architecture("net", (2, 8, 8), (straight, AvgPool2d(4), Flatten(), Linear(3)), "cross_entropy")
    own = (2 * 2 * 9 + 2) + (2 * 2 + 2) + (2 * 2 + 2)
    assert nested_rank_bound(network).value == 2 + own - 2, "laws between the two convolutions of one branch"
    assert nested_rank_bound(network, {"0.0": 9, "0.shortcut.0": 4}).value == 13
    assert nested_rank_bound(network, {"0.0": 9}).value == 2 + own - 2


@pytest.mark.parametrize("rank_upper", [{"1": 3}, {"9": 3}, {0: 3}, {"0": -1}, {"0": 1.5}, {"0": True}])
def test_wrong_bounds_are_refused(rank_upper):
    network = Architecture("net", (4,), (Linear(3), ReLU(), Linear(2)), "cross_entropy")
    with pytest.raises(InputError, match="rank_upper"):
        nested_rank_bound(network, rank_upper)


@pytest.mark.parametrize("batch_size", [0, 1.5, True])
def test_wrong_batch_sizes_are_refused(batch_size):
    with pytest.raises(InputError, match="batch_size"):
        nested_rank_bound(from_zoo("two-layer-tanh"), batch_size=batch_size)


def test_how_names_the_rules_that_were_used(systems):
    network = from_zoo("cnn3_c1")
    how = nested_rank_bound(network, systems(network)).how
    assert how == "layer 0 (conv2d): own gradients, 1029 of 3072; layer 2 (conv2d): layer system, 867 of 5400"
    assert USED in nested_rank_bound(from_zoo("cnn6")).how
    assert math.prod(network.input_shape) == 3072
