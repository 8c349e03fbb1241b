"""The table of rates: entries reduce to one another, and lower ones scale as the Cramér-Rao bound."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.leakage import defence_rates as rates
from provable.leakage.metrics import batch_cramer_rao
from provable.measures import Measure
from provable.networks import Parameters, forward
from provable.observations.dropout import surviving, with_dropout

settings_of_tables = st.builds(
    rates.Setting,
    dimension=st.integers(1, 10**4),
    width=st.integers(1, 10**6),
    samples=st.integers(1, 100),
    noise=st.sampled_from([0.0, 1e-6, 0.1, 10.0]),
)


@given(setting=settings_of_tables)
def test_defences_that_do_nothing_have_the_undefended_rates(setting):
    none = rates.undefended(setting)
    for same in (rates.local_steps(setting, 1), rates.aggregation(setting, 1), rates.dropout(setting, 0.0)):
        assert (same.upper, same.lower) == (none.upper, none.lower)
    noisy = rates.gaussian_noise(setting)
    unclipped = rates.clipping_and_noise(setting, 1.0, 2.0)
    assert (unclipped.upper, unclipped.lower) == (noisy.upper, noisy.lower)
    assert rates.pruning(setting, 0.0).lower == none.lower == noisy.lower


@given(setting=settings_of_tables, strength=st.floats(0.01, 0.99))
def test_nothing_but_noise_has_a_positive_lower_rate(setting, strength):
    rows = [
        rates.undefended(setting),
        rates.local_steps(setting, 7),
        rates.aggregation(setting, 7),
        rates.gaussian_noise(setting),
        rates.clipping_and_noise(setting, 1.0, strength),
        rates.dropout(setting, strength),
        rates.pruning(setting, strength),
    ]
    assert len({row.defence for row in rows}) == 7
    for row in rows:
        assert (row.lower > 0) is (setting.noise > 0)
        assert row.upper is None or row.upper >= rates.undefended(setting).upper
        assert row.lower >= rates.undefended(setting).lower


def instance(width, seed, dimension=10, samples=3):
    """The setting of the table."""
    rng = np.random.default_rng(seed)
    network = Architecture("table", (dimension,), (Linear(width, False), Tanh(), Linear(1, False)), "squared")
    arrays = {"0/weight": rng.standard_normal((width, dimension)), "2/weight": np.full((1, width), 1 / width)}
    parameters = Parameters(network, arrays)
    points = rng.standard_normal((samples, dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = rng.choice([-1.0, 1.0], (samples, 1))
    return network, parameters, points, labels


def bound(network, parameters, points, labels, noise):
    measure = Measure(points, forward(network, parameters, points) - labels)
    return batch_cramer_rao(network, parameters, measure, noise, pieces=["2/weight"]).rmse_lower_bound


@pytest.mark.parametrize("rescaled", [False, True])
def test_lower_rates_of_dropout_scale_as_the_bound_does(rescaled):
    quotients = []
    for seed in range(4):
        batch = instance(4000, seed)
        whole = bound(*batch, 0.01)
        sent = with_dropout(*batch, 0.75, rescaled=rescaled, rng=seed)
        left = surviving(sent, 0.75, rescaled=rescaled)
        # residuals enter the bound, and dropout without rescaling changes the outputs: compare at those of the whole network
        measure = Measure(batch[2], forward(batch[0], batch[1], batch[2]) - batch[3])
        scale = 4.0 if rescaled else 1.0  # of the gradient by the original output weights, which is what is sent
        there = batch_cramer_rao(left.architecture, left.parameters, measure, 0.01 / scale, pieces=["2/weight"])
        quotients.append(there.rmse_lower_bound / whole)
    setting = rates.Setting(10, 4000, 3, 0.01)
    rate = rates.dropout(setting, 0.75).lower / rates.undefended(setting).lower
    assert abs(rate - 2.0) <= 30 * EPSILON
    # constants fluctuate with which thousand units are left: a few per cent each
    assert np.mean(quotients) == pytest.approx(rate / 4 if rescaled else rate, rel=0.1)


def test_lower_rates_scale_with_width_noise_and_clipping_as_the_bound_does():
    one = [bound(*instance(1000, seed), 0.01) for seed in range(4)]
    wide = [bound(*instance(4000, seed), 0.01) for seed in range(4)]
    small, large = rates.Setting(10, 1000, 3, 0.01), rates.Setting(10, 4000, 3, 0.01)
    expected = rates.undefended(large).lower / rates.undefended(small).lower
    assert expected == pytest.approx(0.5)
    assert np.mean(wide) / np.mean(one) == pytest.approx(expected, rel=0.1)  # as above
    loud = rates.Setting(10, 1000, 3, 0.1)
    quotient = rates.gaussian_noise(loud).lower / rates.gaussian_noise(small).lower
    assert bound(*instance(1000, 0), 0.1) / one[0] == pytest.approx(quotient, rel=1e-9)
    # clipping to a tenth and adding the noise then, against noise alone: tests of the bound say that factors are exact
    clipped = rates.clipping_and_noise(small, 10.0, 1.0).lower / rates.gaussian_noise(small).lower
    assert clipped == pytest.approx(10.0)


def test_what_does_not_fit_is_refused():
    for name in ("dimension", "width", "samples"):
        for value in (0, -1, 1.5, True):
            with pytest.raises(InputError, match=f"{name}: found"):
                rates.Setting(**({"dimension": 1, "width": 1, "samples": 1} | {name: value}))
    setting = rates.Setting(2, 3, 4)
    for bad in (-1.0, math.nan, True):
        with pytest.raises(InputError, match="noise: found"):
            rates.Setting(1, 1, 1, bad)
        with pytest.raises(InputError, match="probability: found"):
            rates.dropout(setting, bad)
    for call in (
        lambda: rates.clipping_and_noise(setting, 0.0, 1.0),
        lambda: rates.clipping_and_noise(setting, 1.0, 0.0),
    ):
        with pytest.raises(InputError, match="a positive number is accepted"):
            call()
    with pytest.raises(InputError, match="removed: found"):
        rates.pruning(setting, 1.0)
    with pytest.raises(InputError, match="steps: found"):
        rates.local_steps(setting, 0)
    with pytest.raises(InputError, match="clients: found"):
        rates.aggregation(setting, 0)
