"""Batches from the change of the parameters by several known steps."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from provable.architectures import Architecture, Linear, Softplus, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters
from provable.observations import Observation
from provable.observations.defences import with_gaussian_noise
from provable.observations.local_training import after_local_steps, as_one_step
from provable.recovery.batch.random_starts import from_random_starts
from provable.recovery.batch.unrolled_steps import UnrolledRecovery, from_local_steps


def batch(seed, loss="squared", outputs=1, activation=None, bias=False, dimension=6, width=40):
    """A network with N(0, 1/m) outer weights, two samples and their labels."""
    rng = np.random.default_rng(seed)
    network = Architecture(
        "wide", (dimension,), (Linear(width, bias), activation or Tanh(), Linear(outputs, bias)), loss
    )
    parameters = Parameters.random(network, rng=rng, scale="standard_normal")
    arrays = dict(parameters) | {"2/weight": parameters["2/weight"] / math.sqrt(width)}
    points = rng.standard_normal((2, dimension))
    labels = rng.integers(0, outputs, 2) if loss == "cross_entropy" else rng.choice([-1.0, 1.0], (2, outputs))
    return network, Parameters(network, arrays), points, labels


def point_error(points, truth, fibre=("permutation", "joint-sign")):
    zeros = np.zeros((len(truth), 1))
    return Measure(points, zeros).matching(Measure(truth, zeros), fibre=fibre).point_error


@pytest.mark.parametrize("steps", [1, 3, 8])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_local_steps_are_no_defence(steps, reduction):
    network, parameters, points, labels = batch(0)
    options = {"steps": steps, "learning_rate": 0.01}
    sent = after_local_steps(network, parameters, points, labels, reduction=reduction, **options)
    found = from_local_steps(sent, 2, rng=0, **options)
    assert found.status == "consistent-with-noise", found.reason
    # rounding of θ is ε ‖θ‖ ~ 3e-15 against changes of 1e-2 and more, times a condition number of about 10
    assert point_error(found.points, points) <= 1e-10
    assert sorted(abs(found.labels[:, 0])) == pytest.approx([1.0, 1.0], abs=1e-9)
    if steps > 1:  # what reading the change as one step makes of it
        one = from_random_starts(as_one_step(sent, **options), 2, noise=0.0, starts=4, rng=0)
        assert one.status == "rejected" and 1e-5 < point_error(one.points, points) < 0.3


def test_known_labels_of_other_losses():
    network, parameters, points, labels = batch(1, "cross_entropy", outputs=3, activation=Softplus(), bias=True)
    options = {"steps": 3, "learning_rate": 0.02}
    sent = after_local_steps(network, parameters, points, labels, **options)
    orders = [from_local_steps(sent, 2, labels=values, rng=0, **options) for values in (labels, labels[::-1].copy())]
    accepted = [found for found in orders if found.status == "consistent-with-noise"]
    assert accepted and all(point_error(found.points, points, ("permutation",)) <= 1e-9 for found in accepted)
    with pytest.raises(UnsupportedError, match="loss: found cross_entropy; without known labels"):
        from_local_steps(sent, 2, **options)


def test_noise_on_the_change_gives_the_predicted_errors():
    network, parameters, points, labels = batch(2)
    options = {"steps": 4, "learning_rate": 0.01}
    sent = after_local_steps(network, parameters, points, labels, **options)
    squares, predicted = [], []
    for draw in range(8):
        noisy = with_gaussian_noise(sent, 1e-4, rng=draw)
        found: UnrolledRecovery = from_local_steps(noisy, 2, noise=1e-4, rng=draw, **options)
        assert found.status == "consistent-with-noise", found.reason
        matching = Measure(found.points, np.zeros(2)).matching(
            Measure(points, np.zeros(2)), fibre=("permutation", "joint-sign")
        )
        squares.append(np.sum((matching.errors * np.linalg.norm(points, axis=1)) ** 2))
        predicted.append(np.sum(found.standard_errors**2))
    # 8 draws of 12 unequal squares: relative standard deviation of the mean square about √(2 / 96) · 1.5 = 0.2
    assert 0.4 <= np.mean(squares) / np.mean(predicted) <= 1.8


def test_a_wrong_number_of_steps_is_rejected():
    network, parameters, points, labels = batch(3)
    sent = after_local_steps(network, parameters, points, labels, steps=4, learning_rate=0.01)
    found = from_local_steps(sent, 2, steps=3, learning_rate=0.01, starts=2, rng=0)
    assert found.status == "rejected" and "the misfit" in found.reason


def test_known_norms_are_imposed():
    network, parameters, points, labels = batch(4)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    sent = after_local_steps(network, parameters, points, labels, steps=2, learning_rate=0.01)
    found = from_local_steps(dataclasses.replace(sent, unit_norm=True), 2, steps=2, learning_rate=0.01, starts=5, rng=0)
    assert found.status == "consistent-with-noise" and point_error(found.points, points) <= 1e-10
    assert abs(np.linalg.norm(found.points, axis=1) - 1).max() <= 30 * EPSILON


def test_misfits_are_refused():
    network, parameters, points, labels = batch(5)
    sent = after_local_steps(network, parameters, points, labels, steps=2, learning_rate=0.01)
    with pytest.raises(InputError, match="noise: found"):
        from_local_steps(sent, 2, steps=2, learning_rate=0.01, noise=-1.0)
    with pytest.raises(InputError, match="steps: found"):
        from_local_steps(sent, 2, steps=0, learning_rate=0.01)
    with pytest.raises(InputError, match="labels: are 3"):
        from_local_steps(sent, 2, steps=2, learning_rate=0.01, labels=np.ones(3))
    gradient = Observation.from_data(network, parameters, points, labels)
    with pytest.raises(InputError, match="kind: found gradient"):
        from_local_steps(gradient, 2, steps=2, learning_rate=0.01)


def test_diverging_training_ends_without_a_claim():
    network, parameters, points, labels = batch(6)
    rate = 10.0
    sent = after_local_steps(network, parameters, points, labels, steps=4, learning_rate=rate)
    found = from_local_steps(sent, 2, steps=4, learning_rate=rate, starts=1, rng=0)
    assert found.status != "consistent-with-noise" or point_error(found.points, points) < 1e-6
    # a change that only training near overflow explains
    large = {key: 1e100 * piece for key, piece in sent.vector.items()}
    absurd = from_local_steps(dataclasses.replace(sent, vector=large), 2, steps=4, learning_rate=rate, starts=1, rng=0)
    assert absurd.status == "rejected"
    with pytest.raises(UnsupportedError, match="vector: holds numbers whose squares are too large"):
        huge = {key: 1e200 * piece for key, piece in sent.vector.items()}
        from_local_steps(dataclasses.replace(sent, vector=huge), 2, steps=4, learning_rate=rate)


def test_nothing_is_made_of_no_change():
    network, parameters, _, _ = batch(7)
    still = Observation(
        "parameter-change", network, parameters, {key: np.zeros(piece.shape) for key, piece in parameters.items()}
    )
    assert from_local_steps(still, 2, steps=2, learning_rate=0.01, starts=1, rng=0).status != "consistent-with-noise"


def test_few_numbers_prove_nothing():
    network, parameters, points, labels = batch(8, width=4)
    sent = after_local_steps(network, parameters, points, labels, steps=2, learning_rate=0.01)
    part = dataclasses.replace(sent, vector={"2/weight": sent.vector["2/weight"]})
    found = from_local_steps(part, 2, steps=2, learning_rate=0.01, starts=1, rng=0)
    assert found.status == "rejected" and "4 equations for 14 unknowns" in found.reason
