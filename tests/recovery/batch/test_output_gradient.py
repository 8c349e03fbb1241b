"""Batches from the gradient of the output layer alone: exact where that is possible, and a plain no where it is not."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Architecture,
    Conv2d,
    Erf,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import EPSILON
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward
from provable.observations import Observation
from provable.recovery.batch.output_gradient import METHOD, method, search
from provable.recovery.certification import certified

SQUARE_CUBE = Polynomial((0.0, 0.0, 1.0, 1.0))
ACTIVATIONS = (Tanh(), Erf(), Sigmoid(), Softplus(), GELU(), SiLU(), ELU(), ReLU(), LeakyReLU(), SQUARE_CUBE)
OUTPUT = ("2/weight",)
ALL = ("0/weight", "0/bias", "2/weight", "2/bias")

EXACT = 1e-9
"""What counts as recovered. Errors are some 1e-14 typically; nearly parallel samples and small coefficients raise them."""


def network(activation, dimension, width, *, seed, hidden_bias=False, output_bias=False, outputs=1, loss="squared"):
    layers = (Linear(width, hidden_bias), activation, Linear(outputs, output_bias))
    architecture = Architecture("one hidden layer", (dimension,), layers, loss)
    return architecture, Parameters.random(architecture, rng=seed, scale="standard_normal")


def unit_vectors(count, dimension, rng):
    points = rng.standard_normal((count, dimension))
    return points / np.linalg.norm(points, axis=1, keepdims=True)


def observed(
    activation, dimension, count, width, *, seed, pieces=OUTPUT, unit_norm=None, known=True, norms=1.0, **options
):
    architecture, parameters = network(activation, dimension, width, seed=seed, **options)
    # The attacker's choice in the paper: the mean of the hidden units.
    outputs = architecture.output_size
    head = np.random.default_rng([seed, 1]).standard_normal((outputs, width)) if outputs > 1 else np.ones((1, width))
    parameters = Parameters(architecture, {**parameters, "2/weight": head / width})
    rng = np.random.default_rng([seed, 2])
    points = unit_vectors(count, dimension, rng) * np.exp(rng.uniform(-1, 1, size=(count, 1)) * np.log(norms))
    if architecture.loss == "cross_entropy":
        labels = rng.integers(outputs, size=count)
    else:
        labels = rng.choice([-1.0, 1.0], size=(count, outputs) if architecture.loss == "squared" else count)
    whole = Observation.from_data(architecture, parameters, points, labels, batch_size_known=known)
    vector = {name: whole.vector[name] for name in pieces if name in whole.vector}
    return dataclasses.replace(whole, vector=vector, unit_norm=unit_norm), points, labels


def of_measure(activation, points, coefficients, width, *, seed=0, batch_size=None, unit_norm=None):
    architecture, parameters = network(activation, points.shape[1], width, seed=seed)
    coefficients = np.asarray(coefficients, dtype=np.float64)[:, None]
    image = embed(architecture, parameters, Measure(points, coefficients))
    vector = {"2/weight": image["2/weight"]}
    return Observation("gradient", architecture, parameters, vector, batch_size=batch_size, unit_norm=unit_norm)


def recovered(observation, seed=0):
    assert METHOD.supports(observation) is None
    return METHOD.recover(observation, np.random.default_rng(seed))


def errors(found, points):
    """Error of each sample, modulo the fibre that the recovery names."""
    given_points, truth = found.points, points
    if "positive-scaling" in found.fibre:
        given_points = given_points / np.linalg.norm(given_points, axis=1, keepdims=True)
        truth = truth / np.linalg.norm(truth, axis=1, keepdims=True)
    costs = np.linalg.norm(truth[:, None] - given_points[None], axis=2)
    if "joint-sign" in found.fibre:
        costs = np.minimum(costs, np.linalg.norm(truth[:, None] + given_points[None], axis=2))
    rows, columns = scipy.optimize.linear_sum_assignment(costs)
    return costs[rows, columns]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@pytest.mark.parametrize(("dimension", "count"), [(5, 3), (10, 2)])
def test_three_equations_per_unknown_are_enough(activation, dimension, count):
    observation, points, labels = observed(activation, dimension, count, 3 * count * (dimension + 1), seed=count)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert len(found.points) == count
    assert np.max(errors(found, points)) <= EXACT
    assert found.method == "moments"
    assert ("joint-sign" in found.fibre) == isinstance(activation, Tanh | Erf)
    assert ("positive-scaling" in found.fibre) == isinstance(activation, ReLU | LeakyReLU)
    if not {"joint-sign", "positive-scaling"} & set(found.fibre):
        assert sorted(np.round(found.labels.ravel(), 6)) == sorted(labels.ravel())


@settings(max_examples=6)
@given(
    st.sampled_from(ACTIVATIONS),
    st.integers(2, 6),
    st.integers(1, 2),
    st.booleans(),
    st.booleans(),
    st.integers(0, 2**16),
)
def test_biases_and_their_gradients(activation, dimension, count, hidden_bias, output_bias, seed):
    observation, points, _ = observed(
        activation,
        dimension,
        count,
        6 * count * (dimension + 1),
        seed=seed,
        hidden_bias=hidden_bias,
        output_bias=output_bias,
        pieces=("2/weight", "2/bias"),
    )
    found = recovered(observation)
    if found.status != "consistent":  # nearly parallel or nearly invisible samples, or ReLU with few active units
        assert found.reason
        return
    if not any(name.startswith("null-space") for name in found.fibre) and not found.reason:
        assert np.max(errors(found, points)) <= 1e-6


def test_norms_are_found_where_they_are_determined():
    for activation in (Tanh(), Softplus(), SQUARE_CUBE):
        observation, points, _ = observed(activation, 6, 2, 60, seed=4, norms=2.0)
        assert np.ptp(np.linalg.norm(points, axis=1)) > 0.1
        assert np.max(errors(recovered(observation), points)) <= EXACT


def test_a_known_norm_settles_the_scale_of_relu():
    observation, points, _ = observed(ReLU(), 6, 2, 60, seed=5, unit_norm=True)
    found = recovered(observation)
    assert found.fibre == ("permutation",)
    assert np.max(errors(found, points)) <= EXACT


def test_the_output_bias_settles_the_scale_of_one_relu_sample_and_all_but_one_of_several():
    for count, fibre in ((1, ()), (3, ("permutation", "null-space:2"))):
        observation, points, _ = observed(
            ReLU(), 6, count, 90, seed=6, output_bias=True, pieces=("2/weight", "2/bias"), norms=2.0
        )
        found = recovered(observation)
        assert found.status == "consistent", found.reason
        assert found.fibre == fibre
        if count == 1:
            assert np.max(errors(found, points)) <= EXACT


def test_the_output_bias_settles_the_signs_of_tanh():
    observation, points, _ = observed(Tanh(), 6, 3, 80, seed=7, output_bias=True, pieces=("2/weight", "2/bias"))
    found = recovered(observation)
    assert found.fibre == ("permutation",)
    assert np.max(errors(found, points)) <= EXACT
    # Without its gradient the bias settles nothing.
    unseen, points, _ = observed(Tanh(), 6, 3, 80, seed=7, output_bias=True)
    found = recovered(unseen)
    assert found.fibre == ("permutation", "joint-sign")
    assert np.max(errors(found, points)) <= EXACT


def test_several_outputs_need_fewer_neurons():
    """C rows of ∂L/∂A are C equations per neuron: 36 neurons for 4 samples of 10 entries, of 14 unknowns each."""
    for loss, outputs in (("cross_entropy", 5), ("squared", 3)):
        observation, points, labels = observed(Tanh(), 10, 4, 36, seed=8, outputs=outputs, loss=loss)
        found = recovered(observation)
        assert found.status == "consistent", found.reason
        assert np.max(errors(found, points)) <= EXACT
        if loss == "cross_entropy" and found.labels is not None:
            assert sorted(found.labels) == sorted(labels)


@pytest.mark.parametrize("activation", [Tanh(), Softplus(), ReLU()], ids=lambda activation: activation.type)
def test_more_samples_than_dimensions_with_everything_observed(activation):
    """∂L/∂W has rank d < B: its spans say nothing, but the equations do."""
    observation, points, _ = observed(activation, 3, 5, 60, seed=9, hidden_bias=True, output_bias=True, pieces=ALL)
    assert np.linalg.matrix_rank(observation.vector["0/weight"]) == 3
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert np.max(errors(found, points)) <= EXACT


@pytest.mark.parametrize("activation", [Softplus(), ReLU()], ids=lambda activation: activation.type)
def test_more_samples_than_dimensions_from_the_output_layer_alone(activation):
    """Six samples in R³: their signs, 64 choices for the search, come from what is left once they are found without."""
    observation, points, _ = observed(activation, 3, 6, 200, seed=28)
    found = recovered(observation)
    assert found.status == "consistent", found.reason
    assert np.max(errors(found, points)) <= EXACT


def test_the_span_of_the_hidden_gradient_saves_equations():
    """200 entries per sample and 30 neurons: 402 unknowns for the 30 numbers ∂L/∂a, but 6 in the row space of ∂L/∂W."""
    observation, points, _ = observed(Tanh(), 200, 2, 30, seed=10, pieces=("0/weight", "2/weight"))
    assert np.max(errors(recovered(observation), points)) <= EXACT
    alone = dataclasses.replace(observation, vector={"2/weight": observation.vector["2/weight"]})
    assert "do not determine" in METHOD.supports(alone)


def test_an_unknown_batch_size_is_the_smallest_that_explains():
    observation, points, _ = observed(Softplus(), 5, 3, 60, seed=11, known=False)
    found = recovered(observation)
    assert len(found.points) == 3
    assert "3 is the smallest" in found.reason
    assert np.max(errors(found, points)) <= EXACT


def test_the_image_of_what_was_found_is_the_observation():
    """An oracle that shares nothing with the search: evaluate the network at the answer."""
    observation, _, _ = observed(SQUARE_CUBE, 5, 3, 60, seed=12)
    found = recovered(observation)
    architecture, parameters = observation.architecture, observation.parameters
    coefficients = forward(architecture, parameters, found.points) - found.labels
    image = embed(architecture, parameters, Measure(found.points, coefficients))
    wanted = observation.vector["2/weight"]
    # k = 60 entries, κ about 100 for sums of cubes that cancel.
    assert np.linalg.norm(image["2/weight"] - wanted) <= 30 * 60 * EPSILON * 100 * np.linalg.norm(wanted)


def test_symmetries_of_the_observation_move_the_answer_along():
    """Permuting neurons changes nothing; scaling g scales the coefficients; turning W's coordinates turns the samples."""
    observation, points, _ = observed(Softplus(), 4, 2, 45, seed=13)
    rng = np.random.default_rng(0)
    order = rng.permutation(45)
    turn = np.linalg.qr(rng.standard_normal((4, 4)))[0]
    parameters = {name: np.array(array) for name, array in observation.parameters.items()}
    parameters["0/weight"] = (parameters["0/weight"] @ turn.T)[order]
    parameters["2/weight"] = parameters["2/weight"][:, order]
    moved = dataclasses.replace(
        observation,
        parameters=Parameters(observation.architecture, parameters),
        vector={"2/weight": -2.0 * observation.vector["2/weight"][:, order]},
    )
    before, after = recovered(observation), recovered(moved)
    assert np.max(errors(before, points)) <= EXACT
    assert np.max(errors(after, points @ turn.T)) <= EXACT
    np.testing.assert_allclose(
        np.sort(-2 * before.coefficients.ravel()), np.sort(after.coefficients.ravel()), rtol=1e-9
    )


# What must not be answered


@pytest.mark.parametrize("width", [1, 10, 17, 18])
def test_no_more_equations_than_unknowns_are_refused(width):
    observation, _, _ = observed(Tanh(), 5, 3, width, seed=14)
    reason = METHOD.supports(observation)
    assert f"{width} equations for the 18 unknowns of 3 samples do not determine them" in reason
    with pytest.raises(UnsupportedError, match="do not determine"):
        METHOD.recover(observation, np.random.default_rng(0))


@pytest.mark.parametrize("width", [19, 22])
def test_hardly_more_equations_than_unknowns_give_the_batch_or_none(width):
    observation, points, _ = observed(Softplus(), 5, 3, width, seed=15)
    found = recovered(observation)
    assert found.status in ("consistent", "failed")
    if found.status == "consistent" and not found.reason:
        assert np.max(errors(found, points)) <= 1e-6


def test_a_polynomial_shows_its_monomials_only():
    """Neurons beyond the 50 monomials of degree 2 and 3 in 5 variables add nothing: 60 unknowns stay undetermined."""
    observation, _, _ = observed(SQUARE_CUBE, 5, 10, 500, seed=29)
    weight = observation.parameters["0/weight"]
    points = np.random.default_rng(0).standard_normal((200, 5))
    hidden = (points @ weight.T) ** 2 + (points @ weight.T) ** 3
    assert np.linalg.matrix_rank(hidden) == 50  # an oracle for the count of monomials
    assert "50 equations for the 60 unknowns of 10 samples do not determine them" in METHOD.supports(observation)


@pytest.mark.parametrize(("count", "width"), [(2, 13), (2, 16), (3, 20), (3, 22), (5, 27), (5, 33)])
@pytest.mark.parametrize("seed", [0, 1])
def test_few_relus_give_no_wrong_batch(count, width, seed):
    """With as many equations as unknowns other activation patterns have solutions that nothing contradicts."""
    observation, points, _ = observed(ReLU(), 5, count, width, seed=seed)
    shown = np.count_nonzero(observation.vector["2/weight"])
    if METHOD.supports(observation) is not None:
        assert shown <= 5 * count
        return
    found = recovered(observation)
    if found.status == "consistent" and not any(name.startswith("null-space") for name in found.fibre):
        assert np.max(errors(found, points)) <= EXACT
    else:
        assert found.reason


@pytest.mark.parametrize("exponent", [-100, -30, 30, 100])
def test_the_size_of_the_gradient_does_not_matter(exponent):
    """Powers of two round nothing."""
    observation, points, _ = observed(Tanh(), 4, 2, 45, seed=30)
    scaled = {"2/weight": np.ldexp(observation.vector["2/weight"], exponent)}
    found = recovered(dataclasses.replace(observation, vector=scaled))
    assert found.status == "consistent", found.reason
    assert found.fibre == ("permutation", "joint-sign")
    assert np.max(errors(found, points)) <= EXACT


def test_unknown_batch_size_with_few_neurons_is_not_explained_by_a_wrong_batch():
    """19 equations determine up to 3 samples of 5 entries; the 5 that are there cannot be told."""
    observation, _, _ = observed(Tanh(), 5, 5, 19, seed=16, known=False)
    found = recovered(observation)
    assert found.status == "failed"
    assert "no batch of 1 to 3 samples" in found.reason


def test_a_batch_size_below_the_true_one_fails():
    observation, _, _ = observed(Tanh(), 4, 3, 60, seed=17)
    found = recovered(dataclasses.replace(observation, batch_size=2))
    assert found.status == "failed"
    assert "no batch of 2 samples was found" in found.reason


def test_noise_is_not_explained():
    observation, _, _ = observed(Tanh(), 4, 2, 60, seed=18)
    noise = np.random.default_rng(0).standard_normal((1, 60))
    vector = {"2/weight": observation.vector["2/weight"] + 1e-9 * noise}
    found = recovered(dataclasses.replace(observation, vector=vector))
    assert found.status == "failed"


def test_a_zero_gradient_shows_no_sample():
    observation, _, _ = observed(Tanh(), 4, 2, 60, seed=19)
    found = recovered(dataclasses.replace(observation, vector={"2/weight": np.zeros((1, 60))}))
    assert found.status == "failed"
    assert len(found.points) == 0
    assert "no sample is visible" in found.reason


@pytest.mark.parametrize("weight", [0.0, 1e-16])
@pytest.mark.parametrize("activation", [Tanh(), Softplus(), ReLU()], ids=lambda activation: activation.type)
def test_a_sample_without_weight_is_named_invisible_not_invented(activation, weight):
    points = unit_vectors(3, 5, np.random.default_rng(20))
    found = recovered(of_measure(activation, points, [1.0, -0.7, weight], 90, batch_size=3))
    assert found.status == "partial"
    assert len(found.points) == 2
    assert "2 atoms explain the gradient, and the batch has 3 samples" in found.reason
    assert found.labels is None
    assert np.max(errors(found, points[:2])) <= EXACT


@settings(max_examples=5)
@given(st.floats(-12, -2), st.integers(0, 2**16))
def test_small_weights_are_found_as_well_as_they_are_seen(exponent, seed):
    points = unit_vectors(2, 4, np.random.default_rng(seed))
    found = recovered(of_measure(Tanh(), points, [1.0, 10.0**exponent], 60, batch_size=2))
    if found.status == "consistent":
        # A relative error ε of the gradient is one of ε / weight of the sample behind it; 1e3 for the condition.
        assert np.min(np.abs(found.coefficients)) > 0.5 * 10.0**exponent
        assert np.max(errors(found, points)) <= 30 * 1e3 * EPSILON / 10.0**exponent or "rounding leaves" in found.reason
    else:
        assert found.status in ("partial", "failed")
        assert found.reason


@pytest.mark.parametrize("activation", [Tanh(), Softplus(), ReLU()], ids=lambda activation: activation.type)
def test_equal_samples_are_one(activation):
    points = unit_vectors(3, 5, np.random.default_rng(21))
    points[1] = points[0]
    found = recovered(of_measure(activation, points, [1.0, -0.4, 0.8], 90, batch_size=3))
    assert found.status == "partial"
    assert len(found.points) == 2
    assert "are one atom" in found.reason
    assert np.max(errors(found, points[[0, 2]])) <= EXACT


@settings(max_examples=4)
@given(st.floats(-9, -1), st.sampled_from([Tanh(), Softplus(), ReLU()]), st.integers(0, 2**16))
def test_nearly_parallel_samples_are_told_apart_or_said_to_be_uncertain(exponent, activation, seed):
    points = unit_vectors(2, 4, np.random.default_rng(seed))
    points[1] = points[0] + 10.0**exponent * points[1]
    found = recovered(of_measure(activation, points, [1.0, 0.6], 60, batch_size=2))
    if found.status == "consistent" and not found.reason:
        assert np.max(errors(found, points)) <= 1e-4
    if len(found.points) == 1:
        # One in place of both: the mean, weighted by the coefficients, up to the square of their distance.
        assert found.status in ("partial", "failed")


@pytest.mark.parametrize(
    ("activation", "directions"),
    [(Polynomial((0.0, 0.0, 1.0)), 3), (Polynomial((0.0, 0.0, 0.0, 1.0)), 2)],
    ids=["square", "cube"],
)
def test_directions_that_stay_open_are_counted(activation, directions):
    """Σ c (w·x)² is a quadratic form, of two vectors' rotations and scales; (w·x)³ leaves scales open."""
    points = unit_vectors(2, 6, np.random.default_rng(22))
    found = recovered(of_measure(activation, points, [1.0, 0.5], 60, batch_size=2))
    assert f"null-space:{directions}" in found.fibre
    assert "infinitely many batches" in found.reason


def test_single_precision_is_accepted_and_said():
    observation, points, _ = observed(Tanh(), 4, 2, 60, seed=23)
    single = observation.vector["2/weight"].astype(np.float32).astype(np.float64)
    found = recovered(dataclasses.replace(observation, vector={"2/weight": single}))
    assert found.status == "consistent", found.reason
    assert "float32" in found.reason
    # 1e3 for the condition of the batch.
    assert np.max(errors(found, points)) <= 1e3 * 2.0**-23


@pytest.mark.parametrize(
    ("layers", "reason"),
    [
        ((Linear(30), Tanh(), Linear(30), Tanh(), Linear(1)), "one hidden layer"),
        ((Linear(30), Tanh(), Linear(1), Tanh()), "one hidden layer"),
        ((Linear(1),), "one hidden layer"),
        ((Linear(30), Identity(), Linear(1)), "affine"),
        ((Linear(30), Polynomial((1.0, 2.0)), Linear(1)), "affine"),
    ],
)
def test_other_networks_are_refused(layers, reason):
    architecture = Architecture("other", (3,), layers, "squared")
    parameters = Parameters.random(architecture, rng=0)
    assert reason in METHOD.supports(Observation.from_data(architecture, parameters, np.ones((1, 3)), np.ones(1)))


def test_refusals_name_what_is_missing():
    observation, _, _ = observed(Tanh(), 4, 2, 60, seed=24, output_bias=True, pieces=ALL)
    bias = dataclasses.replace(observation, vector={"2/bias": observation.vector["2/bias"]})
    assert "0/weight and 2/weight were not observed" in METHOD.supports(bias)
    architecture = Architecture("c", (1, 4, 4), (Conv2d(2, 3), Flatten(), Linear(9), Tanh(), Linear(1)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    convolution = Observation.from_data(architecture, parameters, np.ones((1, 1, 4, 4)), np.ones(1))
    assert "conv2d" in METHOD.supports(convolution)


def test_images_come_back_in_their_shape():
    architecture = Architecture("image", (1, 2, 3), (Flatten(), Linear(60, False), Tanh(), Linear(1, False)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    points = np.random.default_rng(25).standard_normal((2, 1, 2, 3))
    whole = Observation.from_data(architecture, parameters, points, np.ones(2))
    found = recovered(dataclasses.replace(whole, vector={"3/weight": whole.vector["3/weight"]}))
    assert found.points.shape == points.shape
    flat = dataclasses.replace(found, points=found.points.reshape(2, 6))
    assert np.max(errors(flat, points.reshape(2, 6))) <= EXACT


def test_the_same_seed_gives_the_same_answer():
    observation, _, _ = observed(Tanh(), 4, 2, 40, seed=26)
    one, other = recovered(observation, seed=3), recovered(observation, seed=3)
    np.testing.assert_array_equal(one.points, other.points)


@pytest.mark.parametrize("activation", [Tanh(), Softplus(), SQUARE_CUBE], ids=lambda activation: activation.type)
def test_what_is_recovered_can_be_certified(activation):
    observation, points, _ = observed(activation, 4, 2, 30, seed=27)
    found = certified(observation, recovered(observation))
    assert found.status == "certified", found.reason
    assert np.max(errors(found, points)) <= EXACT


def test_sizes_that_are_tried_share_the_work(monkeypatch):
    """Noise makes the rank full: from there no size explains the gradient, and each is dearer than the one before."""
    architecture = Architecture("noisy", (8,), (Linear(40, False), Tanh(), Linear(1, False)), "squared")
    rng = np.random.default_rng(3)
    parameters = Parameters.random(architecture, rng=rng)
    observation = Observation.from_data(
        architecture, parameters, rng.standard_normal((2, 8)), rng.standard_normal((2, 1)), batch_size_known=False
    )
    vector = {name: piece * (1 + 1e-3 * rng.standard_normal(piece.shape)) for name, piece in observation.vector.items()}
    noisy = dataclasses.replace(observation, vector=vector)
    steps = []

    def counted(equations, observed, count, rng, *, most, tolerance, start):
        steps.append(most * method._work(equations, count))
        return search.search(equations, observed, count, rng, most=min(most, 2), tolerance=tolerance, start=start)

    monkeypatch.setattr(method, "search", counted)
    found = recovered(noisy)
    assert found.status == "failed"
    assert sum(steps) <= method.MOST_WORK
    assert "no batch of 8 to" in found.reason


def test_samples_that_one_output_alone_determines_break_nothing_down():
    """On the way some sample's block of the normal matrix is singular to rounding, and a step was divided by it."""
    architecture = Architecture("few", (2,), (Linear(4, False), ReLU(), Linear(3, False)), "cross_entropy")
    rng = np.random.default_rng(9)
    parameters = Parameters.random(architecture, rng=rng)
    observation = Observation.from_data(architecture, parameters, rng.standard_normal((4, 2)), rng.integers(3, size=4))
    assert recovered(observation).reason
