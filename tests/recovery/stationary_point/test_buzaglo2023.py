"""The attacks of Buzaglo et al.: the runner-up's margin, and multipliers of either sign."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from provable.architectures import Architecture, Linear, ReLU
from provable.errors import UnsupportedError
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.stationary_point import buzaglo2023
from provable.recovery.stationary_point.buzaglo2023 import attack, runner_up_directions, supports, sweep
from provable.recovery.stationary_point.momentum_sweep import HyperParameters, Settings


def trained(loss, outputs, *, biased=False, count=3):
    rng = np.random.default_rng(1)
    architecture = Architecture("dense", (3,), (Linear(5, True), ReLU(), Linear(outputs, biased)), loss)
    values = {key: rng.standard_normal(shape) for key, shape in architecture.parameter_shapes.items()}
    return Observation("stationary-point", architecture, Parameters(architecture, values), batch_size=count)


@given(st.integers(2, 5).flatmap(lambda c: arrays.arrays(np.float64, (4, c), elements=st.integers(-2, 2))), st.data())
def test_directions_give_the_margin_of_the_class_over_the_runner_up(outputs, data):
    labels = np.array(data.draw(st.lists(st.integers(0, outputs.shape[1] - 1), min_size=4, max_size=4)))
    directions = runner_up_directions(outputs, labels)
    for row, label, direction in zip(outputs, labels, directions, strict=True):
        others = np.delete(row, label)
        assert direction @ row == row[label] - others.max()
        assert direction[label] == 1 and direction.sum() == 0 and np.count_nonzero(direction) == 2
        # of equal ones the first
        assert np.flatnonzero(direction == -1)[0] == next(
            k for k in range(len(row)) if k != label and row[k] == others.max()
        )


@pytest.mark.parametrize(("loss", "outputs"), [("cross_entropy", 3), ("squared", 1), ("squared", 3), ("logistic", 1)])
def test_loss_falls_in_every_form(loss, outputs):
    observation = trained(loss, outputs)
    settings = Settings(
        steps=1,
        runs=1,
        multiplier_learning_rate=0.01,
        multiplier_prior=0.0,
        range_prior=0.0,
        first_runs=(HyperParameters(0.5, 0.01, 0.01, 50.0),),
    )
    losses = [
        sweep(observation, np.random.default_rng(0), dataclasses.replace(settings, steps=steps))[0].loss
        for steps in (1, 800)
    ]
    assert losses[1] < 0.9 * losses[0]
    found = attack(observation, np.random.default_rng(0), settings)
    assert found.points.shape == (6, 3) and found.coefficients.shape == (6, outputs)
    assert found.status == "failed" and found.method == "buzaglo2023" and "6 candidates for 3 samples" in found.reason


def test_candidates_of_several_classes_pull_at_two_outputs_each():
    found = attack(trained("cross_entropy", 3), np.random.default_rng(0), Settings(steps=3, runs=1))
    # two candidates for each class, multipliers in [0, 1] up to three small steps
    assert np.count_nonzero(found.coefficients, axis=1).tolist() == [2] * 6
    assert np.abs(found.coefficients.sum(axis=1)).max() < 1e-15
    assert np.argmax(found.coefficients, axis=1).tolist() == [0, 0, 1, 1, 2, 2]


def test_general_losses_have_multipliers_of_either_sign_and_no_prior():
    free, strict = (
        attack(
            trained("squared", 1, count=20),
            np.random.default_rng(0),
            Settings(steps=1, runs=1, multiplier_prior=prior, range_prior=prior),
        ).coefficients
        for prior in (0.0, 1e6)
    )
    assert np.array_equal(free, strict)
    assert np.any(free < 0) and np.any(free > 0)


def test_what_it_needs_is_said():
    assert supports(trained("cross_entropy", 3)) is None
    # only the maximum-margin form needs homogeneity
    assert "not homogeneous: there is 2/bias" in str(supports(trained("cross_entropy", 3, biased=True)))
    assert supports(trained("squared", 3, biased=True)) is None
    unknown = dataclasses.replace(trained("squared", 1), batch_size=None)
    assert "number of samples is not known" in str(supports(unknown))
    for function in (attack, sweep):
        with pytest.raises(UnsupportedError, match="method buzaglo2023"):
            function(unknown, np.random.default_rng(0))
    zero = trained("squared", 1)
    nothing = Parameters(zero.architecture, {key: 0 * piece for key, piece in zero.parameters.items()})
    found = attack(
        Observation("stationary-point", zero.architecture, nothing, batch_size=1),
        np.random.default_rng(0),
        Settings(steps=1),
    )
    assert found.status == "failed" and "all parameters are zero" in found.reason
    assert not buzaglo2023.METHOD.automatic
