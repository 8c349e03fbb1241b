"""The arrangement walk on large sets in general position; the simulated network takes most of the time."""

from __future__ import annotations

import numpy as np
import pytest

from provable.recovery.kernel_regime.arrangement_walk import walk_arrangement
from provable.recovery.kernel_regime.arrangement_walk_oracle import SimulatedNetwork
from provable.recovery.kernel_regime.arrangement_walk_orientation import canonical_signs


@pytest.mark.deep
@pytest.mark.parametrize(("count", "dimension"), [(2_000, 50), (20_000, 100), (5_000, 784), (60_000, 784)])
def test_all_points_in_general_position(count, dimension):
    rng = np.random.default_rng(0)
    points = rng.standard_normal((count, dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    coefficients = rng.standard_normal(count)
    walk = walk_arrangement(SimulatedNetwork(points, coefficients), dimension)
    assert walk.measure.size == count
    assert walk.evaluations <= 6 * count
    found = walk.measure.points * canonical_signs(walk.measure.points)[:, None]
    wanted = points * canonical_signs(points)[:, None]
    nearest = np.empty(count, dtype=np.intp)
    for start in range(0, count, 1000):  # all products at once would not fit
        nearest[start : start + 1000] = (wanted[start : start + 1000] @ found.T).argmax(axis=1)
    assert len(set(nearest.tolist())) == count
    assert np.linalg.norm(found[nearest] - wanted, axis=1).max() <= 1e-12
    # A jump's own rounding bounds the error of its norm, whatever that norm is.
    signs = np.sign(walk.measure.coefficients[nearest])
    assert (signs == np.sign(coefficients)).all()
    assert np.abs(walk.measure.coefficients[nearest] - coefficients).max() <= walk.smallest_visible_jump
