"""One sample behind the gradient of a network that begins with a biased linear layer."""

from __future__ import annotations

import dataclasses
import math
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import (
    Architecture,
    AvgPool2d,
    Conv2d,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    ReLU,
    Residual,
    Sigmoid,
    Softplus,
    Tanh,
)
from provable.errors import UnsupportedError
from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.recovery import Recovery
from provable.recovery.fully_connected import METHOD, numerical_rank, rank_one_input

EPSILON = 2.0**-52
ACTIVATIONS = (Tanh(), Sigmoid(), Softplus(), ReLU(), LeakyReLU())


def recovered(observation: Observation) -> Recovery:
    return METHOD.recover(observation, np.random.default_rng(0))


def relative(found, wanted) -> float:
    size = float(np.linalg.norm(wanted))
    return float(np.linalg.norm(found - wanted)) / (size if size else 1.0)


def network(draw, *, activations=ACTIVATIONS, hidden=None, last_bias=None):
    loss = draw(st.sampled_from(["squared", "logistic", "cross_entropy"]))
    outputs = {"logistic": 1, "squared": draw(st.integers(1, 4)), "cross_entropy": draw(st.integers(2, 5))}[loss]
    layers = [Linear(draw(st.integers(1, 8)) if hidden is None else hidden), draw(st.sampled_from(activations))]
    for _ in range(draw(st.integers(0, 2))):
        layers += [Linear(draw(st.integers(1, 8)), draw(st.booleans())), draw(st.sampled_from(activations))]
    shape = draw(st.sampled_from([(1,), (2,), (7,), (1, 3, 3)]))
    head = [Flatten()] if len(shape) > 1 else draw(st.sampled_from([[], [Flatten()], [Identity()]]))
    bias = draw(st.booleans()) if last_bias is None else last_bias
    return Architecture("drawn", shape, (*head, *layers, Linear(outputs, bias)), loss)


def label(architecture, rng):
    if architecture.loss == "cross_entropy":
        return rng.integers(architecture.output_size, size=1)
    if architecture.loss == "logistic":
        return rng.choice([-1.0, 1.0], size=1)
    return rng.standard_normal((1, architecture.output_size))


@st.composite
def samples(draw, **options):
    """An architecture, parameters, one input of size 10^s, its label and how the loss was reduced."""
    architecture = network(draw, **options)
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    parameters = Parameters.random(architecture, rng=rng, scale=draw(st.sampled_from(["he", "lecun"])))
    inputs = rng.standard_normal((1, *architecture.input_shape)) * 10.0 ** draw(st.floats(-3, 0.5))
    return architecture, parameters, inputs, label(architecture, rng)


def visible(observation) -> bool:
    first = next(index for index, layer in enumerate(observation.architecture.layers) if isinstance(layer, Linear))
    # Above the level at which a float64 product loses digits by underflow.
    return float(np.max(np.abs(observation.vector[f"{first}/bias"]))) > 1e-150


@given(samples(), st.booleans(), st.sampled_from(["sum", "mean"]))
def test_recovers_the_input_to_rounding(sample, batch_size_known, reduction):
    architecture, parameters, inputs, labels = sample
    observation = Observation.from_data(
        architecture, parameters, inputs, labels, batch_size_known=batch_size_known, reduction=reduction
    )
    assume(visible(observation))
    assert METHOD.supports(observation) is None
    found = recovered(observation)
    # Rounding of the data, of the fit and of the result, each at most one unit, whatever the network's condition.
    assert relative(found.points, inputs) <= 4 * EPSILON
    assert found.status == "consistent", found.reason
    assert found.points.shape == inputs.shape
    assert found.method == "fully-connected"


@given(samples(last_bias=True))
def test_coefficients_and_labels_with_a_last_bias(sample):
    architecture, parameters, inputs, labels = sample
    observation = Observation.from_data(architecture, parameters, inputs, labels)
    assume(visible(observation))
    found = recovered(observation)
    last = len(architecture.layers) - 1
    np.testing.assert_array_equal(found.coefficients[0], observation.vector[f"{last}/bias"])
    assert found.fibre == ()
    if architecture.loss == "squared":
        outputs = forward(architecture, parameters, inputs)
        size = max(1.0, float(np.max(np.abs(outputs))), float(np.max(np.abs(labels))))
        # k: longest inner product, 9 entries, through at most 4 layers of gain about 1.
        assert float(np.max(np.abs(found.labels - labels))) <= 30 * 9 * 4 * EPSILON * size
    else:
        np.testing.assert_array_equal(found.labels, labels)


@given(samples(last_bias=False, activations=(Tanh(), Sigmoid())))
def test_coefficients_by_least_squares_without_a_last_bias(sample):
    architecture, parameters, inputs, labels = sample
    observation = Observation.from_data(architecture, parameters, inputs, labels, labels_known=True)
    assume(visible(observation))
    found = recovered(observation)
    assert found.status == "consistent"
    assert found.fibre == ()
    # ∂L/∂V = c hᵀ with h the features before the last layer, so c is known as well as h is large.
    from provable.networks import trace

    last = len(architecture.layers) - 1
    features = trace(architecture, parameters, inputs).inputs[str(last)]
    wanted = observation.vector[f"{last}/weight"] @ features[0] / float(features[0] @ features[0])
    kappa = 1 + 1 / float(np.linalg.norm(features))
    assert relative(found.coefficients[0], wanted) <= 30 * 9 * kappa * EPSILON


@given(samples(hidden=1))
def test_one_hidden_unit(sample):
    architecture, parameters, inputs, labels = sample
    observation = Observation.from_data(architecture, parameters, inputs, labels)
    assume(visible(observation))
    assert relative(recovered(observation).points, inputs) <= 4 * EPSILON


@given(samples(activations=(ReLU(),)), st.floats(0, 1))
def test_dead_units_do_not_matter(sample, share):
    """All but one unit of the first layer are shut off, by biases below every pre-activation."""
    architecture, parameters, inputs, labels = sample
    first = next(index for index, layer in enumerate(architecture.layers) if isinstance(layer, Linear))
    bias = np.array(parameters[f"{first}/bias"])
    reach = float(np.max(np.abs(parameters[f"{first}/weight"] @ inputs.reshape(-1)))) + 1
    dead = 1 + int(share * (len(bias) - 1))
    bias[0], bias[1:dead] = 2 * reach, -2 * reach
    parameters = Parameters(architecture, dict(parameters) | {f"{first}/bias": bias})
    observation = Observation.from_data(architecture, parameters, inputs, labels)
    assert not np.any(observation.vector[f"{first}/bias"][1:dead])
    assume(visible(observation))
    assert relative(recovered(observation).points, inputs) <= 4 * EPSILON


@given(st.integers(0, 2**32), st.floats(-200, 0), st.integers(1, 30), st.integers(1, 20), st.integers(0, 10))
def test_rank_one_fit_against_rationals(seed, logarithm, rows, columns, zeros):
    """Rows whose sensitivities span up to 200 orders of magnitude, and zero rows; the oracle is exact."""
    rng = np.random.default_rng(seed)
    sensitivity = rng.choice([-1.0, 1.0], rows) * 10.0 ** rng.uniform(logarithm, 0, rows)
    sensitivity[rng.integers(rows)] = rng.uniform(0.5, 1)
    sensitivity = np.concatenate([sensitivity, np.zeros(zeros)])
    point = rng.standard_normal(columns)
    weight = np.outer(sensitivity, point)
    found = rank_one_input(weight, sensitivity)
    norm = sum(Fraction(entry) ** 2 for entry in sensitivity)
    for column in range(columns):
        exact = sum(Fraction(v) * Fraction(g) for v, g in zip(weight[:, column], sensitivity, strict=True)) / norm
        # Correct rounding, but for platforms without extended precision: one unit for each row.
        assert abs(Fraction(found[column]) - exact) <= Fraction(EPSILON) * rows * abs(exact)
    assert np.all(np.abs(found - point) <= 2 * EPSILON * np.abs(point))


@given(samples(), st.integers(-300, 300))
def test_scaling_the_loss_scales_the_coefficients_only(sample, power):
    architecture, parameters, inputs, labels = sample
    observation = Observation.from_data(architecture, parameters, inputs, labels)
    assume(visible(observation))
    scaled = dataclasses.replace(
        observation, vector={key: np.ldexp(piece, power) for key, piece in observation.vector.items()}
    )
    # Nothing may have under- or overflowed: then powers of two change no digit.
    assume(
        all(np.array_equal(np.ldexp(scaled.vector[key], -power), piece) for key, piece in observation.vector.items())
    )
    left, right = recovered(observation), recovered(scaled)
    np.testing.assert_array_equal(left.points, right.points)
    if architecture.layers[-1].bias:
        np.testing.assert_array_equal(np.ldexp(left.coefficients, power), right.coefficients)
    else:
        size = float(np.max(np.abs(left.coefficients)))
        # Two solutions of the same well-posed least-squares problem.
        difference = np.max(np.abs(np.ldexp(right.coefficients, -power) - left.coefficients))
        assert difference <= 30 * 100 * EPSILON * size


@given(samples(), st.integers(0, 2**32))
def test_permuting_neurons_changes_nothing(sample, seed):
    architecture, parameters, inputs, labels = sample
    first = next(index for index, layer in enumerate(architecture.layers) if isinstance(layer, Linear))
    after = next(
        index for index in range(first + 1, len(architecture.layers)) if isinstance(architecture.layers[index], Linear)
    )
    order = np.random.default_rng(seed).permutation(architecture.layers[first].out_features)

    def permuted(pieces):
        moved = dict(pieces)
        moved[f"{first}/weight"] = pieces[f"{first}/weight"][order]
        moved[f"{first}/bias"] = pieces[f"{first}/bias"][order]
        moved[f"{after}/weight"] = pieces[f"{after}/weight"][:, order]
        return moved

    observation = Observation.from_data(architecture, parameters, inputs, labels)
    assume(visible(observation))
    other = dataclasses.replace(
        observation, parameters=Parameters(architecture, permuted(parameters)), vector=permuted(observation.vector)
    )
    left, right = recovered(observation), recovered(other)
    assert right.status == left.status == "consistent"
    assert relative(left.points, right.points) <= 2 * EPSILON


@given(samples(), st.integers(0, 2**32))
def test_two_samples_are_refused_with_their_rank(sample, seed):
    architecture, parameters, inputs, labels = sample
    rng = np.random.default_rng(seed)
    batch = np.concatenate([inputs, rng.standard_normal(inputs.shape)])
    both = np.concatenate([labels, label(architecture, rng)])
    for known in (True, False):
        observation = Observation.from_data(architecture, parameters, batch, both, batch_size_known=known)
        first = next(index for index, layer in enumerate(architecture.layers) if isinstance(layer, Linear))
        columns = np.column_stack([observation.vector[f"{first}/weight"], observation.vector[f"{first}/bias"]])
        lengths = np.linalg.norm(columns, axis=0)
        assume(np.all(lengths > 0))
        singular = np.linalg.svd(columns / lengths, compute_uv=False)
        # Two samples that are seen as two: not one unit, and no gap of 1000 between them.
        assume(len(singular) > 1 and singular[1] > 2e-3 * singular[0])
        if known:
            assert "numerical rank 2; one sample is accepted" in METHOD.supports(observation)
            with pytest.raises(UnsupportedError, match="2 samples"):
                recovered(observation)
        else:
            found = recovered(observation)
            assert found.status == "failed"
            assert "numerical rank 2, so at least 2 samples" in found.reason
            assert len(found.points) == 0


MLP = Architecture("mlp", (6,), (Linear(5), Tanh(), Linear(3)), "cross_entropy")


def observe(architecture=MLP, seed=0, count=1, **options):
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    inputs = rng.standard_normal((count, *architecture.input_shape))
    labels = np.concatenate([label(architecture, rng) for _ in range(count)])
    return Observation.from_data(architecture, parameters, inputs, labels, **options), inputs, labels


@pytest.mark.parametrize("count", [2, 3, 4])
def test_the_rank_found_is_the_number_of_samples(count):
    observation, _, _ = observe(count=count, batch_size_known=False)
    assert f"numerical rank {count}, so at least {count} samples" in recovered(observation).reason


def test_known_labels_tell_the_number_of_samples():
    observation, _, _ = observe(count=2, batch_size_known=False, labels_known=True)
    assert METHOD.supports(observation).startswith("the observation is of 2 samples")


def test_the_same_sample_twice_is_one_atom():
    """The measure is what is observed: two equal atoms are one, but no label has their summed residual."""
    observation, inputs, _ = observe()
    twice = Observation.from_data(
        MLP, observation.parameters, np.concatenate([inputs, inputs]), np.array([0, 1]), batch_size_known=False
    )
    found = recovered(twice)
    assert found.status == "consistent"
    assert relative(found.points, inputs) <= 4 * EPSILON
    assert found.labels is None
    assert "no label explains" in found.reason


@pytest.mark.parametrize("rounding", [np.float32, np.float16])
def test_coarser_rounding_fails_but_leaves_the_candidate(rounding):
    observation, inputs, _ = observe()
    rounded = {key: piece.astype(rounding).astype(np.float64) for key, piece in observation.vector.items()}
    found = recovered(dataclasses.replace(observation, vector=rounded))
    assert found.status == "failed"
    assert "rank 1 up to a relative error of" in found.reason
    assert relative(found.points, inputs) <= 4 * np.finfo(rounding).eps


def test_a_sample_seen_only_by_later_layers_makes_it_partial():
    """The second sample kills the first layer's only kind of unit, yet moves the last bias."""
    architecture = Architecture("mlp", (3,), (Linear(4), ReLU(), Linear(1)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    weight = np.abs(parameters["0/weight"])
    parameters = Parameters(architecture, dict(parameters) | {"0/weight": weight, "0/bias": np.full(4, -0.1)})
    inputs = np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, -3.0]])
    observation = Observation.from_data(architecture, parameters, inputs, [[0.0], [5.0]], batch_size_known=False)
    found = recovered(observation)
    assert found.status == "partial"
    assert "more than one sample" in found.reason
    assert relative(found.points, inputs[:1]) <= 4 * EPSILON


def test_a_mixture_seen_by_one_unit_fails():
    architecture = Architecture("mlp", (3,), (Linear(1), Tanh(), Linear(1)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    inputs = np.random.default_rng(1).standard_normal((2, 3))
    observation = Observation.from_data(architecture, parameters, inputs, [[0.0], [5.0]], batch_size_known=False)
    found = recovered(observation)
    assert found.status == "failed"
    assert "the residual" in found.reason


def test_nothing_is_visible():
    observation, _, _ = observe()
    silent = dataclasses.replace(observation, vector={key: 0 * piece for key, piece in observation.vector.items()})
    found = recovered(silent)
    assert found.status == "failed"
    assert found.reason == "no sample is visible in layer 0 (linear): every entry of its gradient is zero"
    assert found.residual == 0
    found = recovered(dataclasses.replace(observation, vector=dict(observation.vector) | {"0/bias": np.zeros(5)}))
    assert found.reason == "the gradient of layer 0 (linear) is no sample's: its bias is zero, its weight not"


def test_the_zero_input_is_an_input():
    observation = Observation.from_data(MLP, observe()[0].parameters, np.zeros((1, 6)), np.array([1]))
    found = recovered(observation)
    assert found.status == "consistent"
    assert not np.any(found.points)


@pytest.mark.parametrize("outputs", [1, 2, 3])
def test_a_single_linear_layer(outputs):
    architecture = Architecture("linear", (4,), (Linear(outputs),), "squared")
    observation, inputs, labels = observe(architecture)
    found = recovered(observation)
    assert found.status == "consistent"
    assert relative(found.points, inputs) <= 4 * EPSILON
    assert np.max(np.abs(found.labels - labels)) <= 30 * 4 * EPSILON * (1 + np.max(np.abs(labels)))


def test_pieces_that_leave_coefficients_open():
    """Two hidden units cannot tell three coefficients apart once the last layer is hidden."""
    architecture = Architecture("mlp", (6,), (Linear(2), Tanh(), Linear(3)), "cross_entropy")
    observation, inputs, _ = observe(architecture)
    first = {key: piece for key, piece in observation.vector.items() if key.startswith("0/")}
    found = recovered(dataclasses.replace(observation, vector=first))
    assert found.status == "consistent"
    assert found.fibre == ("null-space:1",)
    assert found.labels is None
    assert relative(found.points, inputs) <= 4 * EPSILON
    # The last weight alone closes the gap.
    some = first | {"2/weight": observation.vector["2/weight"]}
    found = recovered(dataclasses.replace(observation, vector=some))
    assert found.fibre == ()
    assert found.labels is not None


def test_labels_that_contradict_the_gradient():
    observation, _, labels = observe(labels_known=True)
    assert recovered(observation).status == "consistent"
    found = recovered(dataclasses.replace(observation, labels=(labels + 1) % 3))
    assert found.status == "failed"
    assert "not those that its gradient shows" in found.reason


def test_tampering_with_any_piece_is_noticed():
    observation, _, _ = observe()
    for key, piece in observation.vector.items():
        changed = np.array(piece)
        changed.reshape(-1)[0] += 1e-6 * np.max(np.abs(piece))
        found = recovered(dataclasses.replace(observation, vector=dict(observation.vector) | {key: changed}))
        assert found.status in ("failed", "partial"), key


def test_wrong_parameters_are_noticed():
    observation, _, _ = observe()
    found = recovered(dataclasses.replace(observation, parameters=Parameters.random(MLP, rng=77)))
    assert found.status == "partial"


UNSUPPORTED = {
    "no bias": ((Linear(5, bias=False), Tanh(), Linear(3)), r"layer 0 \(linear\) has no bias"),
    "convolution first": ((Conv2d(2, 2), Flatten(), Linear(3)), r"layer 0 \(conv2d\) comes before the first linear"),
    "pooling first": ((AvgPool2d(2), Flatten(), Linear(3)), r"layer 0 \(avg_pool2d\) comes before"),
    "activation first": ((Flatten(), Tanh(), Linear(3)), r"layer 1 \(tanh\) comes before"),
    "residual first": ((Flatten(), Residual((Linear(16),)), Linear(3)), r"layer 1 \(residual\) comes before"),
    "no linear layer": ((Conv2d(3, 4), Flatten()), r"layer 0 \(conv2d\) comes before"),
    "nothing at all": ((Flatten(),), "has no linear layer"),
}


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_unsupported_architectures(name):
    layers, message = UNSUPPORTED[name]
    shape = (6,) if isinstance(layers[0], Linear) else (1, 4, 4)
    architecture = Architecture("other", shape, layers, "cross_entropy")
    if architecture.parameter_shapes:
        observation, _, _ = observe(architecture)
    else:
        observation = Observation("stationary-point", architecture, Parameters(architecture, {}))
        message = "of kind stationary-point"
    with pytest.raises(UnsupportedError, match=f"method fully-connected: .*{message}"):
        recovered(observation)


@pytest.mark.parametrize("piece", ["0/weight", "0/bias"])
def test_pieces_that_must_be_there(piece):
    observation, _, _ = observe()
    rest = {key: value for key, value in observation.vector.items() if key != piece}
    assert METHOD.supports(dataclasses.replace(observation, vector=rest)) == f"the gradient of {piece} was not observed"


def test_other_kinds_are_not_supported():
    observation, _, _ = observe()
    changed = dataclasses.replace(observation, kind="parameter-change")
    assert "of kind parameter-change" in METHOD.supports(changed)


@pytest.mark.parametrize("size", [1e200, 1e300])
def test_overflow_inside_the_network_is_a_failure(size):
    observation, _, _ = observe()
    huge = Parameters(MLP, {key: size * piece for key, piece in observation.parameters.items()})
    with np.errstate(all="raise"):
        found = recovered(dataclasses.replace(observation, parameters=huge))
    assert found.status in ("failed", "partial")


@pytest.mark.parametrize("power", [-1060, -1000, 900, 1020])
def test_extreme_magnitudes(power):
    """Near both ends of float64 squares do not exist, but the quotient does; subnormal data lose their digits."""
    observation, inputs, _ = observe()
    scaled = {key: np.ldexp(piece, power) for key, piece in observation.vector.items()}
    found = recovered(dataclasses.replace(observation, vector=scaled))
    smallest = math.ldexp(1.0, -1074) / float(np.max(np.abs(scaled["0/bias"])))
    assert relative(found.points, inputs) <= 4 * EPSILON + 10 * smallest
    assert found.coefficients.shape == (1, 3)


@given(st.integers(0, 2**32), st.integers(1, 4), st.integers(0, 4))
def test_numerical_rank_at_the_widest_gap(seed, rank, logarithm):
    """Noise of relative size 10^-8 or less does not hide the rank of the rest."""
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((12, rank)))[0]
    right = np.linalg.qr(rng.standard_normal((9, rank)))[0]
    noise = 10.0 ** (-8 - logarithm)
    matrix = (left * 2.0 ** -np.arange(rank)) @ right.T + noise * rng.standard_normal((12, 9)) / 10
    found, error = numerical_rank(matrix[:, :-1], matrix[:, -1])
    assert found == rank
    assert error <= 1000 * noise


def test_numerical_rank_of_nothing():
    assert numerical_rank(np.zeros((3, 2)), np.zeros(3)) == (0, 0.0)
