"""The polyhedron of all data with given patterns: exact, of the right dimension, and no larger than brute force finds."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL, rank, to_float
from provable.errors import UnsupportedError
from provable.networks import Parameters
from provable.stationarity import pattern_polyhedron as subject
from provable.stationarity.activation_cells import activation_cells
from provable.stationarity.alternatives import alternative_data
from provable.stationarity.pattern_polyhedron import far_member, pattern_polyhedron
from provable.theorems.strategies.stationary_points import stationary_points


def exact_cells(point):
    exact = RATIONAL.convert(point)
    cells = activation_cells(exact.architecture, exact.parameters, exact.points)
    coefficients = (exact.weights * exact.labels)[:, None]
    assume(np.any(coefficients != 0))
    return exact, cells, coefficients


@given(stationary_points(depths=(2, 3)), st.booleans(), st.integers(0, 99))
def test_every_move_keeps_the_stationary_point_and_the_margins(point, keep, seed):
    exact, cells, coefficients = exact_cells(point)
    polyhedron = pattern_polyhedron(cells, coefficients, keep_multipliers=keep)
    assume(polyhedron.dimension)
    found = far_member(polyhedron, cells, 2.0, np.random.default_rng(seed))
    there = cells.at(found)
    assert np.all(there.embedding(there.measure(found.coefficients)) == exact.parameters.vector())
    margins = exact.labels[found.origin] * there.outputs(there.measure(found.coefficients))[:, 0]
    assert np.all(margins == exact.margins[found.origin])
    assert cells.contains(found)
    assert np.all(found.coefficients[:, 0] * exact.labels[found.origin] > 0)
    if keep:
        assert np.all(found.coefficients == coefficients[found.origin])
    assert np.any(found.points != exact.points[found.origin]) or not keep


@given(stationary_points(depths=(2,)))
def test_its_dimension_is_that_of_the_equations_of_two_layers(point):
    """The equations written out for two layers: Σ c_i s_ik (x_i, 1) for every neuron, one margin for each sample, kinks."""
    exact, cells, coefficients = exact_cells(point)
    polyhedron = pattern_polyhedron(cells, coefficients)
    members, dimension = polyhedron.members, exact.points.shape[1]
    weight, bias = exact.parameters["0/weight"], exact.parameters.get("0/bias")
    slopes = cells.slopes["1"]
    alive = [k for k in range(len(weight)) if exact.parameters["2/weight"][0, k] != 0]
    size = dimension + 1
    rows = []
    for k in alive:
        for entry in range(dimension + (bias is not None)):
            row = 0 * np.resize(exact.points[0], len(members) * size)
            for place, i in enumerate(members):
                row[place * size + (1 + entry if entry < dimension else 0)] = slopes[i, k] * exact.labels[i]
            rows.append(row)
    for place, i in enumerate(members):
        for k in alive:
            if cells.kinks["1"][i, k]:
                row = 0 * np.resize(exact.points[0], len(members) * size)
                row[place * size : (place + 1) * size] = np.concatenate(
                    [[bias[k] if bias is not None else 0], weight[k]]
                )
                rows.append(row)
        row = 0 * np.resize(exact.points[0], len(members) * size)
        gradient = (exact.parameters["2/weight"][0] * slopes[i]) @ weight
        offset = (exact.parameters["2/weight"][0] * slopes[i]) @ bias if bias is not None else 0
        row[place * size : (place + 1) * size] = np.concatenate(
            [[offset - exact.margins[i] * exact.labels[i]], gradient]
        )
        rows.append(row)
    assert polyhedron.dimension == len(members) * size - rank(np.array(rows, dtype=object))


@given(stationary_points(depths=(2,)))
def test_invisible_exchanges_are_among_its_directions(point):
    exact, cells, coefficients = exact_cells(point)
    polyhedron = pattern_polyhedron(cells, coefficients, keep_multipliers=True)
    result = alternative_data(exact.architecture, exact.parameters, exact.points, exact.labels, exact.weights, rng=0)
    idle = int(np.count_nonzero(np.asarray(exact.weights == 0, dtype=bool)))
    # samples without multipliers are no members, and move freely in every direction that the first layer does not see
    assert polyhedron.dimension >= result.invisible.dimension - idle * len(result.invisible.directions)


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_floats_find_the_same_dimension(seed, bias):
    """Small integers, so that no singular value is small without being zero."""
    rng = np.random.default_rng(seed)
    count, dimension, width = rng.integers(1, 5, size=3)
    layers = (Linear(int(width), bias=bias), ReLU(), Linear(1, bias=False))
    architecture = Architecture("integers", (int(dimension),), layers, "logistic")
    parameters = Parameters.from_vector(architecture, rng.integers(-2, 3, size=architecture.parameter_count) / 1.0)
    points, coefficients = (
        rng.integers(-2, 3, size=(count, dimension)) / 1.0,
        rng.integers(-2, 3, size=(count, 1)) / 1.0,
    )
    found = [
        pattern_polyhedron(activation_cells(architecture, theta, x), c).dimension
        for theta, x, c in ((parameters, points, coefficients), RATIONAL.convert((parameters, points, coefficients)))
    ]
    assert found[0] == found[1]


def test_one_dimensional_data_can_be_alone():
    """Two samples on both sides, each alone on its piece: nothing else has this pattern and stationary point."""
    layers = (Linear(2), ReLU(), Linear(1, bias=False))
    architecture = Architecture("line", (1,), layers, "logistic")
    # g = (λ x, λ) of norm one: with x = ±3/4 and λ = 4/5
    arrays = {"0/weight": [[0.6], [-0.6]], "0/bias": [0.8, 0.8], "2/weight": [[1.0, -1.0]]}
    parameters = Parameters(architecture, {name: np.array(values) for name, values in arrays.items()})
    points = np.array([[0.75 * 2], [-0.75 * 2]])
    cells = activation_cells(architecture, parameters, points)
    polyhedron = pattern_polyhedron(cells, np.array([[0.4], [-0.4]]))
    assert polyhedron.dimension == 0
    result = alternative_data(architecture, parameters, points, [1.0, -1.0], [0.4, 0.4], rng=0)
    assert "no other 2 samples" in result.refused["rearrangement"]


def test_distance_is_met_where_the_polyhedron_is_unbounded():
    layers = (Linear(1, bias=False), ReLU(), Linear(1, bias=False))
    architecture = Architecture("ray", (3,), layers, "logistic")
    parameters = Parameters(architecture, {"0/weight": np.array([[1.0, 0, 0]]), "2/weight": np.ones((1, 1))})
    points = np.array([[1.0, 2.0, 0.0], [1.0, -2.0, 0.0]])
    cells = activation_cells(architecture, parameters, points)
    polyhedron = pattern_polyhedron(cells, np.full((2, 1), 0.5))
    # two samples with two free entries each and multipliers; both entries' means and the sum of multipliers are fixed
    assert polyhedron.dimension == 2 * 2 + 2 - 2 - 1
    for distance in (1.0, 100.0):
        found = far_member(polyhedron, cells, distance, np.random.default_rng(0))
        gaps = np.linalg.norm(found.points - points, axis=1).mean()
        assert gaps >= distance
        assert np.allclose(to_float(found.points)[:, 0], 1.0, rtol=1e-12)  # a sum of a few terms of that size


def test_nothing_is_formed_beyond_the_limit(monkeypatch):
    monkeypatch.setattr(subject, "MOST_UNKNOWNS", 5)
    layers = (Linear(2), ReLU(), Linear(1, bias=False))
    architecture = Architecture("line", (1,), layers, "logistic")
    cells = activation_cells(architecture, Parameters.random(architecture, rng=0), np.ones((3, 1)))
    with pytest.raises(UnsupportedError, match="3 of 1 entries with multipliers are 6 unknowns"):
        pattern_polyhedron(cells, np.ones((3, 1)))


def test_without_multipliers_there_are_no_members():
    layers = (Linear(2), ReLU(), Linear(1, bias=False))
    architecture = Architecture("line", (1,), layers, "logistic")
    cells = activation_cells(architecture, Parameters.random(architecture, rng=0), np.ones((3, 1)))
    polyhedron = pattern_polyhedron(cells, np.zeros((3, 1)))
    assert polyhedron.dimension == 0 and len(polyhedron.members) == 0
