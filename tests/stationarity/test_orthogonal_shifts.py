"""Shifts toward given data: exact projections on what no parameter sees."""

from __future__ import annotations

import numpy as np
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.arithmetic import EPSILON, RATIONAL, to_float
from provable.stationarity.activation_cells import activation_cells
from provable.stationarity.orthogonal_shifts import exchanged_toward, invisible_shifts, paired_toward
from provable.theorems.strategies.stationary_points import stationary_points


@given(stationary_points(depths=(2, 3)), st.integers(0, 2**32 - 1))
def test_the_nearest_data_set_that_cannot_be_told_apart(point, seed):
    rng = np.random.default_rng(seed)
    targets = rng.integers(-9, 10, size=point.points.shape).astype(float)
    exact = RATIONAL.convert((point, targets))
    results = []
    for instance, wanted in ((point, targets), exact):
        cells = activation_cells(instance.architecture, instance.parameters, instance.points)
        coefficients = (instance.weights * instance.labels)[:, None]
        shifts = invisible_shifts(cells, coefficients)
        assume(shifts.dimension)
        found = exchanged_toward(cells, coefficients, shifts, wanted)
        results.append((cells, coefficients, shifts, found))
    cells, coefficients, shifts, found = results[1]
    # exact, with the slopes that the samples have in truth
    assert np.all(cells.at(found).embedding(found) == exact[0].parameters.vector())
    assert cells.contains(found)
    # what is left of the way to the targets is orthogonal to every shift that is invisible
    assert not np.any(shifts.exchanges @ (exact[1] - found.points) @ shifts.directions.T != 0)
    # floats find the same data set, from other bases
    size = max(np.abs(targets).max(), np.abs(point.points).max())
    gap = [np.linalg.svd(matrix, compute_uv=False) for matrix in (point.parameters["0/weight"],)]
    condition = max((float(s[0] / s[s > 1e-9 * s[0]].min()) for s in gap if s[0] > 0), default=1.0)
    sensitivities = np.linalg.svd(to_float(cells.sensitivities(coefficients)), compute_uv=False)
    if sensitivities[0] > 0:
        condition *= float(sensitivities[0] / sensitivities[sensitivities > 1e-9 * sensitivities[0]].min())
    assert np.abs(results[0][3].points - to_float(found.points)).max() <= 30 * 16 * EPSILON * condition * size


@given(stationary_points(depths=(2, 3)), st.integers(0, 2**32 - 1))
def test_pairs_toward_targets(point, seed):
    exact = RATIONAL.convert(point)
    cells = activation_cells(exact.architecture, exact.parameters, exact.points)
    coefficients = (exact.weights * exact.labels)[:, None]
    directions = invisible_shifts(cells, coefficients).directions
    assume(len(directions))
    targets = np.random.default_rng(seed).integers(-9, 10, size=exact.points.shape).astype(float)
    found = paired_toward(cells, coefficients, directions, RATIONAL.convert(targets))
    assert np.all(cells.at(found).embedding(found) == exact.parameters.vector())
    first = found.points[: len(targets)]
    assert not np.any((RATIONAL.convert(targets) - first) @ directions.T != 0)
    assert not np.any((first - exact.points) @ exact.parameters["0/weight"].T != 0)
