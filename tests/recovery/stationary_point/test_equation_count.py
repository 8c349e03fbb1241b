"""The count of equations at a stationary point: against ranks of Jacobians that know nothing of it."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, AvgPool2d, Flatten, LeakyReLU, Linear, Polynomial, ReLU, Tanh
from provable.errors import InputError, UnsupportedError
from provable.max_margin import maximise_margin
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery import recover
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.jacobian import embedding_jacobian
from provable.recovery.stationary_point.equation_count import count_equations, imbalance_remark
from provable.theorems.strategies.stationary_points import stationary_points


def chain(inputs, widths, activation, *, bias=(True, False), outputs=1, loss="logistic"):
    layers = []
    for position, width in enumerate(widths):
        layers += [Linear(width, bias=bias[0] if position == 0 else bias[1]), activation]
    return Architecture("chain", (inputs,), (*layers, Linear(outputs, bias=bias[1])), loss)


def balanced(architecture, rng, *, copies=1):
    """θ of two layers with ‖w_k‖ = |v_k|, every neuron in several copies of different sizes."""
    first, last = architecture.layers[0], "2/weight"
    width, inputs = first.out_features, architecture.input_shape[0]
    distinct = width // copies
    incoming = rng.standard_normal((distinct, inputs + first.bias))
    signs = rng.choice([-1.0, 1.0], distinct)
    which = np.arange(width) % distinct
    sizes = rng.uniform(0.5, 2.0, width)
    incoming = incoming[which] * sizes[:, None]
    pieces = {"0/weight": incoming[:, :inputs], last: (signs[which] * np.linalg.norm(incoming, axis=1))[None]}
    if first.bias:
        pieces["0/bias"] = incoming[:, inputs]
    return Observation("stationary-point", architecture, Parameters(architecture, pieces))


def stationarity_rank(observation, points, coefficients):
    network = FullyConnected.of(observation)
    pieces = dict.fromkeys(observation.vector, 1.0)
    return int(np.linalg.matrix_rank(embedding_jacobian(network, points, coefficients, pieces), tol=1e-9))


@settings(max_examples=40, deadline=None)
@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 3),
    st.integers(1, 4),
    st.integers(1, 3),
    st.booleans(),
    st.sampled_from([ReLU(), LeakyReLU(0.25)]),
)
def test_no_more_equations_than_counted(seed, inputs, distinct, copies, bias, activation):
    rng = np.random.default_rng(seed)
    net = chain(inputs, [distinct * copies], activation, bias=(bias, False))
    observation = balanced(net, rng, copies=copies)
    count = count_equations(observation, margins=False)
    samples = 3 * distinct
    rank = stationarity_rank(observation, rng.standard_normal((samples, inputs)), rng.uniform(0.5, 2, (samples, 1)))
    assert rank <= count.equations
    assert inputs + bias == 1 or count.distinct == (distinct,)  # on a line through 0 there are four neurons in all
    assert count.imbalance < 1e-12


@pytest.mark.parametrize("inputs, bias", [(2, True), (3, True), (3, False), (4, False)])
def test_counted_equations_are_there_for_samples_enough(inputs, bias):
    rng = np.random.default_rng(inputs)
    net = chain(inputs, [4], ReLU(), bias=(bias, False))
    observation = balanced(net, rng, copies=2)
    points, weights = rng.standard_normal((60, inputs)), rng.uniform(0.5, 2, (60, 1))
    assert count_equations(observation).equations == stationarity_rank(observation, points, weights)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32 - 1), st.booleans(), st.sampled_from(["relu", "tanh", "cubic"]), st.integers(1, 2))
def test_deeper_and_other_chains_have_no_more_than_counted(seed, bias, name, outputs):
    rng = np.random.default_rng(seed)
    kinds = {"relu": ReLU(), "tanh": Tanh(), "cubic": Polynomial((0.0, 0.0, 0.0, 1.0))}
    widths = [3] if name == "cubic" else [3, 2]
    net = chain(2, widths, kinds[name], bias=(bias, bias), outputs=outputs, loss="squared")
    theta = Parameters.from_vector(net, rng.standard_normal(net.parameter_count))
    observation = Observation("stationary-point", net, theta)
    points, weights = rng.standard_normal((40, 2)), rng.standard_normal((40, outputs))
    rank = stationarity_rank(observation, points, weights)
    count = count_equations(observation, tolerance=1e-9)  # for θ is no stationary point
    assert rank <= count.equations
    if name != "relu":  # whose neurons do not see all that they could
        assert rank == count.equations


def test_the_scale_of_samples_behind_cubes_is_no_unknown():
    # (x, c) and (t x, c / t³) look alike: two neurons give 2 (3 + 1) - 2 equations for 3 unknowns of each of two samples
    net = chain(3, [2], Polynomial((0.0, 0.0, 0.0, 1.0)), bias=(False, False), loss="squared")
    theta = Parameters.from_vector(net, np.random.default_rng(0).standard_normal(net.parameter_count))
    count = count_equations(Observation("stationary-point", net, theta), samples=2)
    assert (count.scaling, count.equations, count.largest, count.verdict) == (True, 6, 2, "not excluded")


@settings(max_examples=60, deadline=None)
@given(stationary_points(depths=(2, 3)))
def test_exact_stationary_points_are_balanced_and_keep_their_count_when_neurons_are_split(point):
    observation = Observation("stationary-point", point.architecture, point.parameters)
    count = count_equations(observation, samples=len(point.labels))
    assert not count.imbalance > 1e-12
    assert count.rank <= len(point.labels)
    if len(count.neurons) > 1:
        return
    bias = point.architecture.layers[0].bias
    width = count.neurons[0]
    wider = Architecture(
        "wider",
        point.architecture.input_shape,
        (Linear(2 * width, bias=bias), *point.architecture.layers[1:]),
        "logistic",
    )
    pieces = {
        name: np.concatenate([0.6 * array, 0.8 * array], axis=array.ndim - 1 if name[0] == "2" else 0)
        for name, array in point.parameters.items()
    }
    split = count_equations(
        Observation("stationary-point", wider, Parameters(wider, pieces)), samples=len(point.labels)
    )
    assert split.distinct == count.distinct
    assert split.largest == count.largest
    assert split.verdict == count.verdict


def test_one_dimension_has_two_samples_for_a_neuron_less_one():
    net = chain(1, [3], ReLU())
    observation = balanced(net, np.random.default_rng(0))
    assert count_equations(observation).largest == 5
    assert count_equations(observation, common_known=True).largest == 6
    assert count_equations(observation, margins=False).largest == 3
    assert count_equations(observation, samples=6).verdict == "undetermined"
    assert count_equations(observation, samples=5).verdict == "not excluded"


def test_sentence_has_the_numbers():
    observation = balanced(chain(2, [6], ReLU()), np.random.default_rng(0), copies=2)
    count = count_equations(observation, samples=7)
    assert count.sentence == (
        "undetermined: at most 4 samples can be determined, and 7 are behind the point: 3 distinct of 6 hidden neurons give "
        "9 equations for 2 unknowns a sample beyond its margin or loss and 1 in common"
    )
    assert count_equations(observation, samples=4).sentence.startswith(
        "at most 4 samples can be determined: 3 distinct"
    )


def test_gap_says_how_sure_the_groups_are():
    net = chain(2, [4], ReLU())
    observation = balanced(net, np.random.default_rng(1), copies=2)
    shaken = {
        name: array * (1 + 1e-7 * np.random.default_rng(2).standard_normal(array.shape))
        for name, array in observation.parameters.items()
    }
    count = count_equations(Observation("stationary-point", net, Parameters(net, shaken)))
    assert count.distinct == (2,)
    assert count.within < 1e-6 < 1e-2 < count.between
    assert count_equations(observation, tolerance=1e-9).distinct == (2,)
    far = count_equations(Observation("stationary-point", net, Parameters(net, shaken)), tolerance=1e-9)
    assert far.distinct == (4,)


def test_dead_neurons_and_empty_layers():
    net = chain(2, [2], ReLU())
    nothing = {name: np.zeros(shape) for name, shape in net.parameter_shapes.items()}
    count = count_equations(Observation("stationary-point", net, Parameters(net, nothing)), samples=1)
    assert (count.distinct, count.equations, count.largest, count.verdict) == ((0,), 0, 0, "undetermined")
    assert math.isinf(count.between)


def test_a_point_that_is_not_stationary_is_said_to_be_none():
    net = chain(2, [2], ReLU())
    observation = balanced(net, np.random.default_rng(0))
    moved = dict(observation.parameters) | {"2/weight": 1.5 * observation.parameters["2/weight"]}
    count = count_equations(Observation("stationary-point", net, Parameters(net, moved)))
    assert (
        "if the point is stationary: norms of incoming and outgoing weights, equal at one, differ by 33.3%"
        in count.sentence
    )


@pytest.mark.parametrize("size", [1e-3, 1e-6])
def test_a_failed_recovery_says_how_far_the_parameters_are_from_a_stationary_point(size):
    net = maximise_margin(np.random.default_rng(0).standard_normal((4, 3)), np.array([1.0, -1.0, 1.0, -1.0]), rng=0)
    point = Observation("stationary-point", net.architecture, net.parameters, batch_size=4)
    assert imbalance_remark(point) == ""
    moved = dict(net.parameters) | {"2/weight": (1.0 + size) * net.parameters["2/weight"]}
    away = Observation("stationary-point", net.architecture, Parameters(net.architecture, moved), batch_size=4)
    result = recover(away, rng=0)
    assert result.status == "failed"
    assert "at no stationary point" in result.reason and f"differ by {size / (1 + size):.2g}" in result.reason


def test_wrong_input_is_named():
    net = chain(2, [2], ReLU())
    observation = balanced(net, np.random.default_rng(0))
    other = Observation("gradient", net, observation.parameters, dict(observation.parameters))
    with pytest.raises(InputError, match="kind: found gradient; a stationary-point is accepted"):
        count_equations(other)
    with pytest.raises(InputError, match="samples: found 0"):
        count_equations(observation, samples=0)
    with pytest.raises(InputError, match="tolerance: found 2"):
        count_equations(observation, tolerance=2)
    pooled = Architecture("pooled", (1, 2, 2), (AvgPool2d(2), Flatten()), "squared")
    with pytest.raises(UnsupportedError, match="avg_pool2d"):
        count_equations(Observation("stationary-point", pooled, Parameters(pooled, {}), {}))
