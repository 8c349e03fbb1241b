"""Exact KKT points: the equations have to hold in rationals, and the draws have to be rich."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import find, given
from hypothesis import strategies as st

from provable.arithmetic import RATIONAL
from provable.networks import trace
from provable.theorems.strategies.stationary_points import stationary_points


@given(stationary_points())
def test_every_equation_holds_exactly(point):
    exact = RATIONAL.convert(point)
    margins = exact.margins
    assert exact.is_stationary
    assert exact.is_complementary
    assert min(margins) > 0
    assert all(weight >= 0 for weight in exact.multipliers) and any(weight > 0 for weight in exact.multipliers)


@given(stationary_points())
def test_the_numbers_are_integers(point):
    numbers = [point.parameters.vector(), point.inputs.reshape(-1), point.multipliers]
    numbers = np.concatenate([*numbers, [point.input_denominator, point.multiplier_denominator]])
    assert np.array_equal(numbers, np.round(numbers)) and np.abs(numbers).max() < 2.0**53


@given(stationary_points(depths=(2,), activations=("relu",)), st.data())
def test_a_changed_number_is_noticed(point, data):
    support = data.draw(st.sampled_from(np.flatnonzero(point.multipliers).tolist()))
    changed = point.multipliers.copy()
    changed[support] += 1.0
    other = RATIONAL.convert(dataclasses.replace(point, multipliers=changed))
    # a support vector has a nonzero gradient, so its multiplier matters
    assert not other.is_stationary


@given(stationary_points(depths=(3,), biased=True, activations=("relu", "leaky_relu")))
def test_options_are_respected(point):
    assert [layer.type for layer in point.architecture.layers][::2] == ["linear"] * 3
    assert "0/bias" in point.parameters and "2/bias" not in point.parameters


def hidden(point):
    return np.concatenate([array.reshape(-1) for array in trace_inputs(point)])


def trace_inputs(point):
    exact = RATIONAL.convert(point)
    traced = trace(exact.architecture, exact.parameters, exact.points)
    return [traced.inputs[str(k)] for k, layer in enumerate(point.architecture.layers) if layer.type != "linear"]


KINDS = {
    "both labels in a ReLU network": lambda p: len(set(p.labels)) == 2 and p.architecture.layers[1].type == "relu",
    "both labels in a leaky network": lambda p: (
        len(set(p.labels)) == 2 and p.architecture.layers[1].type == "leaky_relu"
    ),
    "a bias with both labels": lambda p: "0/bias" in p.parameters and len(set(p.labels)) == 2,
    "three layers": lambda p: len(p.architecture.layers) == 5,
    "a sample that is no support vector": lambda p: not np.all(p.multipliers),
    "three support vectors of one label": lambda p: np.sum(p.multipliers * (p.labels > 0) > 0) == 3,
    "samples of one label that differ": lambda p: (
        len(np.unique(p.inputs[(p.labels > 0) & (p.multipliers > 0)], axis=0)) > 1
    ),
    "a first layer of rank two": lambda p: np.linalg.matrix_rank(p.parameters["0/weight"]) == 2,
    "a pre-activation on the kink": lambda p: "0/bias" in p.parameters and any(z == 0 for z in hidden(p)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_draws_are_rich(kind):
    depths = (3,) if kind == "three layers" else (2,)
    find(stationary_points(depths=depths, activations=("relu", "leaky_relu")), KINDS[kind])
