"""Algorithm 2 of Wang, Lee and Lei: what crafted layers hand on, norms of features, and whole estimates."""

from __future__ import annotations

import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Flatten, Linear
from provable.architectures.activations import ELU, LeakyReLU, Polynomial, ReLU, Sigmoid, Softplus, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, trace
from provable.networks.activations import value
from provable.observations import Observation
from provable.recovery.batch.wang2023 import Erratum, Options, algorithm_2, crafted_parameters
from provable.recovery.batch.wang2023.deep import feature_norms, leaky_factor
from tests.recovery.batch.test_wang2023 import CUBIC, FIRST, OUTPUT, batch, design

UNIT = hnp.arrays(np.float64, (4,), elements=st.floats(-1, 1)).filter(lambda x: np.linalg.norm(x) > 0.1)


def network(dimension, activations, width, *, bias=False, hidden=None):
    layers = []
    for position, kind in enumerate(activations):
        last = position == len(activations) - 1
        layers += [Linear(width if last else hidden or 2 * dimension + 1 - position, bias=bias), kind]
    return Architecture("crafted", (dimension,), (*layers, Linear(1, bias=True)), "squared")


def last_preactivations(architecture, parameters, points):
    """W_l h_{l-1}, the input of the last activation."""
    return trace(architecture, parameters, points).inputs[str(len(architecture.layers) - 2)]


@given(
    slopes=st.lists(st.floats(0, 0.5), min_size=1, max_size=4),
    x=UNIT,
    bias=st.booleans(),
)
def test_leaky_layers_hand_on_the_input(slopes, x, bias):
    """W_l h_{l-1}(x) = Z x for every depth: 1 plus the product of the slopes."""
    kinds = [LeakyReLU(slope) if slope else ReLU() for slope in slopes]
    architecture = network(4, [*kinds, Tanh()], 5, bias=bias, hidden=9)
    parameters = crafted_parameters(architecture, rng=1)
    plain = np.random.default_rng(1).standard_normal((5, 4))
    found = last_preactivations(architecture, parameters, x[None])[0]
    # a rounding in each layer, and a sum of eight products of which pairs cancel
    np.testing.assert_allclose(found, plain @ x, rtol=0, atol=30 * EPSILON * np.linalg.norm(plain, axis=1).max())


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_leaky_factor_as_printed_is_that_of_one_layer(depth):
    kinds = [LeakyReLU()] * depth
    architecture = network(4, [*kinds, Tanh()], 5, hidden=8)
    points = batch(4, 3, 0)[0]
    wanted = points @ np.random.default_rng(1).standard_normal((5, 4)).T
    printed = Options(as_printed={Erratum.LEAKY_FACTOR})
    found = last_preactivations(architecture, crafted_parameters(architecture, options=printed, rng=1), points)
    np.testing.assert_allclose(found / wanted, (1 + 0.01**depth) / 1.01, rtol=1e-12)
    if depth == 1:
        np.testing.assert_allclose(found, wanted, rtol=1e-12)
    else:
        assert np.min(np.abs(found / wanted - 1)) > 0.009
    assert leaky_factor(tuple(kinds)) == pytest.approx(1 + 0.01**depth, rel=4 * EPSILON)
    assert leaky_factor((ReLU(), *kinds)) == leaky_factor((ReLU(),), as_printed=True) == 1.0


@given(x=UNIT, kinds=st.lists(st.sampled_from([Tanh(), Sigmoid()]), min_size=1, max_size=3))
def test_saturating_layers_hand_on_every_entry(x, kinds):
    architecture = network(4, [*kinds, Tanh()], 5)
    features = x
    for kind in kinds:
        features = value(kind, features)
    found = last_preactivations(architecture, crafted_parameters(architecture, rng=1), x[None])[0]
    plain = np.random.default_rng(1).standard_normal((5, 4))
    np.testing.assert_allclose(found, plain @ features, rtol=0, atol=30 * EPSILON * np.linalg.norm(plain, axis=1).max())


@given(x=UNIT, kinds=st.lists(st.sampled_from([Tanh(), Sigmoid()]), min_size=1, max_size=2).map(tuple))
def test_norm_of_a_feature_is_found_from_its_direction(x, kinds):
    features = x / np.linalg.norm(x)
    for kind in kinds:
        features = value(kind, features)
    norm = np.linalg.norm(features)
    norms = feature_norms(kinds, features / norm)
    assert norms == sorted(norms)
    # where the size of the preimage is nearly stationary in the norm, two roots are close and as good as one digit in two
    assert min(abs(found / norm - 1) for found in norms) < 1e-6
    if all(isinstance(kind, Tanh) for kind in kinds):
        assert len(norms) == 1
        assert abs(norms[0] / norm - 1) < 1e-13


def test_sigmoid_features_have_two_norms():
    """An erratum of its own: what the binary search finds need not be the feature."""
    x = np.array([0.5, 0.5, 0.5, 0.5])
    features = value(Sigmoid(), x)
    norms = feature_norms((Sigmoid(),), features / np.linalg.norm(features))
    assert len(norms) == 2
    for norm in norms:
        preimage = np.log(norm * features / np.linalg.norm(features) / (1 - norm * features / np.linalg.norm(features)))
        assert np.linalg.norm(preimage) == pytest.approx(1, abs=1e-12)


@pytest.mark.parametrize(
    ("kinds", "direction"),
    [
        ((Sigmoid(),), [0.8, -0.6]),
        ((Sigmoid(),), [1.0, 0.0]),
        ((Sigmoid(), Sigmoid()), [0.9, 0.1]),
        ((Tanh(),), [0.0, 0.0]),
    ],
)
def test_directions_without_a_preimage(kinds, direction):
    assert feature_norms(kinds, np.array(direction)) == []


def test_direction_whose_preimage_is_never_of_norm_one():
    """At its smallest, the preimage of this direction is too long: the nearest is given."""
    norms = feature_norms((Sigmoid(),), np.array([0.9, 0.1]) / np.linalg.norm([0.9, 0.1]))
    assert len(norms) == 1


def designed(architecture, parameters, neurons):
    """Crafted parameters with the neurons of an exact design in the place of random ones."""
    arrays = dict(parameters)
    index = len(architecture.layers) - 3
    weight = np.zeros_like(arrays[f"{index}/weight"])
    split = neurons.shape[1]
    weight[:, :split] = neurons
    if np.any(arrays[f"{index}/weight"][:, split : 2 * split]):
        weight[:, split : 2 * split] = -neurons
    arrays[f"{index}/weight"] = weight
    return Parameters(architecture, arrays)


@pytest.mark.parametrize(
    ("kinds", "factor"),
    [
        ((ReLU(),), 1.0),
        ((ReLU(), ReLU()), 1.0),
        ((LeakyReLU(), LeakyReLU(0.5)), 1.005),
        ((Tanh(),), 1.0),
        ((Tanh(), Tanh()), 1.0),
    ],
    ids=lambda part: "-".join(kind.type for kind in part) if isinstance(part, tuple) else "",
)
@pytest.mark.parametrize("which", [FIRST, OUTPUT])
def test_exact_moments_give_the_samples_through_any_depth(kinds, factor, which):
    dimension, degree = (3, 5) if which == FIRST else (2, 7)
    neurons = design(dimension, degree)
    architecture = network(dimension, [*kinds, CUBIC], len(neurons), hidden=7)
    crafted = crafted_parameters(architecture, output_bias=3.0, rng=0)
    parameters = designed(architecture, crafted, neurons / factor)
    points = batch(dimension, 2, 6)[0]
    labels = np.array([1.0, -1.0])
    observation = Observation.from_data(architecture, parameters, points, labels)
    estimate = algorithm_2(observation, 2, options=Options(observed=which), rng=0)
    found = Measure(estimate.points, estimate.labels).matching(Measure(points, labels))
    mean = Observation.from_data(architecture, parameters, points, labels, reduction="mean")
    halved = algorithm_2(mean, 2, options=Options(observed=which), rng=0)
    np.testing.assert_allclose(2 * halved.residuals, estimate.residuals, rtol=1e-9)
    np.testing.assert_allclose(halved.labels, estimate.labels, rtol=1e-7)
    # as without depth; the preimages under tanh are benign at norm one
    assert found.error < 1e-10 * np.linalg.cond(points) ** 3  # 1.9 at most
    printed = algorithm_2(observation, 2, options=Options(observed=which, as_printed={Erratum.DEEP_LABEL}), rng=0)
    np.testing.assert_array_equal(printed.labels, estimate.residuals)
    assert Measure(printed.points, printed.labels).matching(Measure(points, labels)).error > 0.1


def test_features_of_the_sigmoid_are_nearly_parallel():
    """What Corollary 5.2 hides: h ≈ ½·1 + x/4, so that π_min falls from 1 to 0.23; here moments are exact."""
    neurons = design(3, 5)
    architecture = network(3, [Sigmoid(), CUBIC], len(neurons), hidden=7)
    parameters = designed(architecture, crafted_parameters(architecture, output_bias=3.0, rng=0), neurons)
    points = np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    features = value(Sigmoid(), points)
    assert np.linalg.svd(points, compute_uv=False)[-1] == 1.0
    assert np.linalg.svd(features, compute_uv=False)[-1] < 0.25
    observation = Observation.from_data(architecture, parameters, points, np.array([1.0, -1.0]))
    estimate = algorithm_2(observation, 2, options=Options(observed=FIRST), rng=0)
    assert estimate.symmetries == ()
    assert Measure(estimate.points, estimate.labels).matching(Measure(points, np.array([1.0, -1.0]))).error < 1e-7


def test_estimate_at_random_neurons():
    architecture = network(6, [ReLU(), LeakyReLU(), Tanh()], 8000, hidden=13)
    parameters = crafted_parameters(architecture, rng=0)
    points = np.eye(6)[:2]
    observation = Observation.from_data(architecture, parameters, points, np.array([1.0, -1.0]))
    estimate = algorithm_2(observation, 2, options=Options(observed=FIRST), rng=0)
    assert estimate.symmetries == ("joint-sign",)
    found = Measure(estimate.points, estimate.residuals)
    truth = Measure(points, np.array([-1.0, 1.0]))
    assert found.matching(truth, fibre=("permutation", "joint-sign")).error < 0.15  # √(d/m) = 0.03


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((Linear(8), Tanh(), Linear(1)), "at least two hidden ones"),
        ((Linear(8), Linear(8), Tanh(), Linear(1)), "found linear linear tanh linear"),
        ((Linear(8), Softplus(), Linear(8), Tanh(), Linear(1)), "found softplus before the last hidden layer"),
        ((Linear(8), ReLU(), Linear(8), Tanh(), Linear(8), Tanh(), Linear(1)), "found relu, tanh before"),
        ((Linear(7), ReLU(), Linear(8), Tanh(), Linear(1)), r"layer 0 \(linear\): has 7 neurons; at least 8"),
        ((Linear(4), Tanh(), Linear(3), Tanh(), Linear(8), Tanh(), Linear(1)), r"layer 2 \(linear\): has 3 neurons"),
        ((Linear(8), ReLU(), Linear(8), Tanh(), Linear(2)), "with 2 outputs"),
    ],
)
def test_architectures_that_cannot_be_crafted(layers, message):
    with pytest.raises(UnsupportedError, match=message):
        crafted_parameters(Architecture("other", (4,), layers, "squared"))


def test_output_bias_needs_a_place():
    architecture = Architecture(
        "flat", (2, 2), (Flatten(), Linear(8), ReLU(), Linear(8), ELU(), Linear(1, bias=False)), "squared"
    )
    assert crafted_parameters(architecture).architecture == architecture
    with pytest.raises(InputError, match=r"^output_bias: found 1.0; layer 5 \(linear\) has no bias"):
        crafted_parameters(architecture, output_bias=1.0)


@pytest.mark.parametrize(
    ("key", "place"), [("0/weight", (0, 1)), ("2/weight", (0, 8)), ("2/weight", (0, 4)), ("0/bias", (3,))]
)
def test_other_weights_are_refused(key, place):
    architecture = network(4, [ReLU(), Tanh()], 6, bias=True, hidden=9)
    arrays = {name: array.copy() for name, array in crafted_parameters(architecture, rng=0).items()}
    arrays[key][place] += 1.0
    observation = Observation.from_data(architecture, Parameters(architecture, arrays), np.eye(4)[:2], np.ones(2))
    with pytest.raises(InputError, match=f"^parameters/{key}: is not "):
        algorithm_2(observation, 2)


def test_noise_may_leave_no_preimage():
    """Entries of a sigmoid's features are positive; an estimate of their direction may not be."""
    architecture = network(3, [Sigmoid(), Polynomial((0.0, 1.0, 1.0, 1.0))], 40, hidden=3)
    parameters = crafted_parameters(architecture, rng=0)
    noise = {"4/weight": np.random.default_rng(0).standard_normal((1, 40))}
    estimate = algorithm_2(Observation("gradient", architecture, parameters, noise), 2, rng=0)
    lost = np.isnan(estimate.points).any(axis=1)
    assert lost.any()
    assert np.isnan(estimate.residuals[lost]).all() and np.isnan(estimate.labels[lost]).all()
    assert math.isfinite(estimate.points[~lost].sum())
