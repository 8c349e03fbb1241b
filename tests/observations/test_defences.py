"""Defended observations: what each defence changes and what it provably leaves as it was."""

from __future__ import annotations

import dataclasses
import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear, Sigmoid, Softplus, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, loss_gradient, losses
from provable.observations import Observation
from provable.observations.defences import (
    aggregated,
    clipped,
    clipped_per_sample,
    kept_entries,
    pruned,
    with_gaussian_noise,
)
from provable.observations.dropout import surviving, surviving_units, with_dropout
from provable.observations.local_training import after_local_steps, as_one_step

NETWORKS = {
    "scalar": Architecture("scalar", (3,), (Linear(9, bias=False), Tanh(), Linear(1, bias=False)), "squared"),
    "softmax": Architecture("softmax", (1, 2, 2), (Flatten(), Linear(6), Softplus(), Linear(3)), "cross_entropy"),
    "deep": Architecture("deep", (3,), (Linear(5), Tanh(), Linear(4), Sigmoid(), Linear(1)), "logistic"),
    "convolution": Architecture("convolution", (1, 3, 3), (Conv2d(2, 2), Tanh(), Flatten(), Linear(2)), "squared"),
}
DENSE = [name for name in NETWORKS if name != "convolution"]
seeds = st.integers(0, 2**32 - 1)


def data(network, seed, count):
    """Parameters, samples and labels."""
    rng = np.random.default_rng(seed)
    labels = {
        "squared": rng.standard_normal((count, network.output_size)),
        "logistic": rng.choice([-1.0, 1.0], count),
        "cross_entropy": rng.integers(0, network.output_size, count),
    }[network.loss]
    return Parameters.random(network, rng=rng), rng.standard_normal((count, *network.input_shape)), labels


def flat(pieces):
    return np.concatenate([piece.reshape(-1) for piece in pieces.values()])


@st.composite
def batches(draw, names=tuple(NETWORKS)):
    network = NETWORKS[draw(st.sampled_from(names))]
    return network, *data(network, draw(seeds), draw(st.integers(1, 4)))


@given(batch=batches(), noise=st.sampled_from([0.0, 1e-12, 1.0, 1e6]), seed=seeds)
def test_noise_is_repeatable_and_independent_of_the_data(batch, noise, seed):
    observation = Observation.from_data(*batch)
    one, two = (with_gaussian_noise(observation, noise, rng=seed) for _ in range(2))
    assert one.to_bytes() == two.to_bytes()
    added = flat(one.vector) - flat(observation.vector)
    drawn = noise * np.random.default_rng(seed).standard_normal(len(added))
    # one rounding of the sum, and one of the difference
    assert (abs(added - drawn) <= 2 * EPSILON * (abs(flat(observation.vector)) + abs(drawn))).all()


def test_noise_has_the_stated_size():
    wide = Architecture("wide", (40,), (Linear(200), Tanh(), Linear(1)), "squared")
    observation = Observation.from_data(wide, *data(wide, 0, 2))
    added = flat(with_gaussian_noise(observation, 0.5, rng=1).vector) - flat(observation.vector)
    # the mean square of N normal numbers has a relative standard deviation of √(2 / N)
    assert abs(np.mean(added**2) / 0.25 - 1) <= 5 * math.sqrt(2 / len(added))
    assert abs(np.mean(added)) <= 5 * 0.5 / math.sqrt(len(added))


@given(batch=batches(), bound=st.sampled_from([1e-200, 1e-3, 1.0, 1e3, 1e200]))
def test_clipping_multiplies_the_coefficients_and_moves_no_point(batch, bound):
    network, parameters, inputs, labels = batch
    observation = Observation.from_data(*batch)
    limited = clipped(observation, bound)
    norm = np.linalg.norm(flat(observation.vector))
    factor = min(1.0, bound / norm)
    coefficients = losses.residual(network.loss, forward(network, parameters, inputs), labels)
    expected = embed(network, parameters, Measure(inputs, factor * coefficients))
    # each number is a sum of products through at most three layers of less than ten terms, in two orders
    slack = 30 * 30 * EPSILON * factor * norm
    assert np.linalg.norm(flat(limited.vector) - expected.vector()) <= slack
    assert np.linalg.norm(flat(limited.vector)) <= bound * (1 + 30 * EPSILON)
    if bound > norm * (1 + 30 * EPSILON):
        assert (flat(limited.vector) == flat(observation.vector)).all()


@given(batch=batches(), bound=st.sampled_from([1e-3, 1.0, 1e3]), reduction=st.sampled_from(["sum", "mean"]))
def test_clipping_samples_scales_each_coefficient(batch, bound, reduction):
    network, parameters, inputs, labels = batch
    sent = clipped_per_sample(*batch, bound, reduction=reduction)
    coefficients = losses.residual(network.loss, forward(network, parameters, inputs), labels)
    scaled, norms = coefficients.copy(), []
    for index in range(len(inputs)):
        one = slice(index, index + 1)
        norm = np.linalg.norm(loss_gradient(network, parameters, inputs[one], labels[one]).vector())
        scaled[index] *= min(1.0, bound / norm)
        norms.append(norm)
    divisor = len(inputs) if reduction == "mean" else 1
    expected = embed(network, parameters, Measure(inputs, scaled / divisor))
    # sums of the samples' gradients in two orders
    slack = 30 * 30 * EPSILON * np.minimum(norms, bound).sum() / divisor
    assert np.linalg.norm(flat(sent.vector) - expected.vector()) <= slack
    assert np.linalg.norm(flat(sent.vector)) <= bound * (len(inputs) / divisor) * (1 + 30 * EPSILON)
    plain = Observation.from_data(*batch, reduction=reduction)
    generous = clipped_per_sample(*batch, 1e100, reduction=reduction)
    slack = 30 * 30 * EPSILON * np.sum(norms) / divisor
    assert np.linalg.norm(flat(generous.vector) - flat(plain.vector)) <= slack


@given(batch=batches(), kept=st.sampled_from([1e-9, 0.1, 0.5, 1.0]))
def test_pruning_keeps_the_largest_entries(batch, kept):
    observation = Observation.from_data(*batch)
    sparse = pruned(observation, kept)
    before, after = flat(observation.vector), flat(sparse.vector)
    stays = after != 0
    assert (after[stays] == before[stays]).all()
    assert np.count_nonzero(stays) <= max(1, round(kept * len(before)))
    assert max(abs(before[~stays]), default=0.0) <= min(abs(before[stays]), default=math.inf)
    assert (flat(kept_entries(sparse)) == stays).all()
    if kept == 1.0:
        assert (after == before).all()


@given(batch=batches(), cuts=st.lists(st.integers(0, 4), max_size=2), reduction=st.sampled_from(["sum", "mean"]))
def test_aggregated_clients_are_one_batch(batch, cuts, reduction):
    network, parameters, inputs, labels = batch
    whole = Observation.from_data(*batch, reduction=reduction, labels_known=True)
    places = [0, *sorted(cuts), len(inputs)]
    clients = [
        Observation.from_data(
            network, parameters, inputs[low:high], labels[low:high], reduction=reduction, labels_known=True
        )
        for low, high in itertools.pairwise(places)
        if low < min(high, len(inputs))
    ]
    total = aggregated(clients)
    assert total.batch_size == len(inputs) and (total.labels == whole.labels).all()
    size = sum(np.linalg.norm(flat(client.vector)) for client in clients)
    assert np.linalg.norm(flat(total.vector) - flat(whole.vector)) <= 30 * 30 * EPSILON * size


# rescaled by 10⁶, a softmax would be saturated and its gradient zero
PROBABILITIES = st.sampled_from([(0.0, True), (0.3, True), (0.9, True), (0.3, False), (1 - 1e-6, False)])


@given(batch=batches(DENSE), dropped=PROBABILITIES, seed=seeds)
def test_dropout_is_the_gradient_of_a_smaller_network(batch, dropped, seed):
    (_, parameters, inputs, labels), (probability, rescaled) = batch, dropped
    sent = with_dropout(*batch, probability, rescaled=rescaled, rng=seed)
    assert sent.parameters == parameters
    alive = surviving_units(sent)
    assert alive.any()
    smaller = surviving(sent, probability, rescaled=rescaled)
    direct = Observation.from_data(smaller.architecture, smaller.parameters, inputs, labels)
    scale = np.linalg.norm(flat(direct.vector))
    assert np.linalg.norm(flat(smaller.vector) - flat(direct.vector)) <= 30 * 30 * EPSILON * scale
    if probability == 0.0:
        plain = Observation.from_data(*batch)
        assert alive.all() and (flat(sent.vector) == flat(plain.vector)).all()


def test_dropout_is_a_mask_on_hidden_values():
    # an oracle without the trick: difference quotients of the loss of the network with masked hidden values
    network = NETWORKS["scalar"]
    parameters, inputs, labels = data(network, 3, 2)
    sent = with_dropout(network, parameters, inputs, labels, 0.4, rng=5)
    alive = surviving_units(sent)
    assert 0 < np.count_nonzero(alive) < len(alive)

    def loss(vector):
        there = Parameters.from_vector(network, vector)
        hidden = np.tanh(inputs @ there["0/weight"].T) * alive / 0.6
        return float(((hidden @ there["2/weight"].T - labels) ** 2).sum() / 2)

    here, step = parameters.vector(), 1e-5
    quotients = [(loss(here + step * e) - loss(here - step * e)) / (2 * step) for e in np.eye(len(here))]
    # step² times third derivatives, and ε / step times the loss, both below 1e-9 times numbers of order 10
    np.testing.assert_allclose(flat(sent.vector), quotients, rtol=0, atol=1e-7)


@given(batch=batches(), steps=st.integers(1, 4), reduction=st.sampled_from(["sum", "mean"]))
def test_local_steps_are_one_after_the_other(batch, steps, reduction):
    network, parameters, inputs, labels = batch
    rate = 2.0**-6
    moved = after_local_steps(*batch, steps=steps, learning_rate=rate, reduction=reduction)
    assert moved.kind == "parameter-change" and moved.parameters == parameters and moved.batch_size == len(inputs)
    total, there = np.zeros(network.parameter_count), parameters.vector()
    for _ in range(steps):
        at = Parameters.from_vector(network, there)
        one = after_local_steps(network, at, inputs, labels, steps=1, learning_rate=rate, reduction=reduction)
        total += flat(one.vector)
        there = parameters.vector() + total
    size = np.linalg.norm(total) + np.linalg.norm(there)
    assert np.linalg.norm(flat(moved.vector) - total) <= 30 * 30 * EPSILON * size
    gradient = as_one_step(moved, steps=steps, learning_rate=rate)
    if steps == 1:
        plain = Observation.from_data(*batch, reduction=reduction)
        # θ_1 - θ_0 loses what rounding of θ_1 takes, divided by η
        lost = 30 * EPSILON * np.linalg.norm(parameters.vector()) / rate + 900 * EPSILON * size / rate
        assert np.linalg.norm(flat(gradient.vector) - flat(plain.vector)) <= lost


def test_many_small_steps_are_nearly_one():
    network = NETWORKS["softmax"]
    batch = network, *data(network, 1, 3)
    plain = flat(Observation.from_data(*batch).vector)
    errors = []
    for rate in (1e-2, 1e-3, 1e-4):
        moved = after_local_steps(*batch, steps=4, learning_rate=rate)
        errors.append(np.linalg.norm(flat(as_one_step(moved, steps=4, learning_rate=rate).vector) - plain))
    # first order in η: a tenth of the rate is a tenth of the error, up to second-order terms
    assert errors[1] / errors[0] == pytest.approx(0.1, rel=0.2) and errors[2] / errors[1] == pytest.approx(
        0.1, rel=0.02
    )


@given(batch=batches(["scalar", "softmax"]), seed=seeds)
def test_the_row_space_of_the_first_layer_outlives_local_steps(batch, seed):
    network, _, inputs, _ = batch
    first = "0/weight" if network.name == "scalar" else "1/weight"
    moved = after_local_steps(*batch, steps=5, learning_rate=0.05).vector[first]
    basis = np.linalg.qr(inputs.reshape(len(inputs), -1).T)[0] if len(inputs) < 4 else np.eye(moved.shape[1])
    outside = moved - moved @ basis @ basis.T
    # the basis loses what the batch's condition number amplifies; θ_K - θ_0 what rounding of θ_K takes
    batch_matrix = inputs.reshape(len(inputs), -1)
    kappa = np.linalg.cond(batch_matrix) if len(inputs) <= batch_matrix.shape[1] else 1.0
    size = np.linalg.norm(moved) * kappa + np.linalg.norm(batch[1][first])
    assert np.linalg.norm(outside) <= 30 * 10 * EPSILON * size


def test_what_does_not_fit_is_refused():
    network = NETWORKS["scalar"]
    batch = network, *data(network, 0, 2)
    observation = Observation.from_data(*batch)
    still = Observation("stationary-point", network, batch[1])
    for defend in (lambda o: with_gaussian_noise(o, 1.0), lambda o: clipped(o, 1.0), lambda o: pruned(o, 0.5)):
        with pytest.raises(InputError, match="kind: found stationary-point"):
            defend(still)
    for value in (-1.0, math.nan, math.inf, True, "much"):
        with pytest.raises(InputError, match="noise: found"):
            with_gaussian_noise(observation, value)
        with pytest.raises(InputError, match="bound: found"):
            clipped(observation, value)
        with pytest.raises(InputError, match="kept: found"):
            pruned(observation, value)
        with pytest.raises(InputError, match="probability: found"):
            with_dropout(*batch, value)
    for zero in (lambda: clipped(observation, 0.0), lambda: pruned(observation, 0.0)):
        with pytest.raises(InputError, match=r"found 0\.0"):
            zero()
    with pytest.raises(InputError, match="observations: found none"):
        aggregated([])
    with pytest.raises(InputError, match="observations: number 1 has other parameters"):
        aggregated([observation, Observation.from_data(network, *data(network, 1, 2))])
    with pytest.raises(InputError, match="number 1 has reduction mean"):
        aggregated([observation, Observation.from_data(*batch, reduction="mean")])
    part = dataclasses.replace(observation, vector={"0/weight": observation.vector["0/weight"]})
    with pytest.raises(InputError, match="number 1 has other pieces"):
        aggregated([observation, part])
    mean = Observation.from_data(*batch, reduction="mean", batch_size_known=False)
    with pytest.raises(InputError, match="batch_size: is not known"):
        aggregated([mean, mean])
    assert aggregated([Observation.from_data(*batch, batch_size_known=False), observation]).batch_size is None
    with pytest.raises(InputError, match="layer: found '1'"):
        with_dropout(*batch, 0.5, layer=1)
    with pytest.raises(UnsupportedError, match=r"layer 2 \(linear\): dropout is supported"):
        with_dropout(*batch, 0.5, layer=2)
    picture = NETWORKS["convolution"]
    with pytest.raises(UnsupportedError, match=r"layer 3 \(linear\)"):
        with_dropout(picture, *data(picture, 0, 1), 0.5)
    zeros = {key: np.zeros(piece.shape) for key, piece in observation.vector.items()}
    with pytest.raises(InputError, match="every unit of layer 0 is dropped"):
        surviving(dataclasses.replace(observation, vector=zeros), 0.5)
    blind = Architecture("blind", (2,), (Linear(2), Tanh(), Linear(2), Tanh(), Linear(1)), "squared")
    last = Observation.from_data(blind, *data(blind, 0, 1))
    with pytest.raises(InputError, match="has neither layer 0 nor layer 2"):
        surviving_units(dataclasses.replace(last, vector={"4/bias": last.vector["4/bias"]}))
    for steps, rate, name in ((0, 1.0, "steps"), (True, 1.0, "steps"), (1, 0.0, "rate"), (1, math.nan, "rate")):
        with pytest.raises(InputError, match=name):
            after_local_steps(*batch, steps=steps, learning_rate=rate)
    with pytest.raises(InputError, match="kind: found gradient; a parameter-change"):
        as_one_step(observation, steps=1, learning_rate=1.0)
