"""What splitting and merging refuse, and that one undoes the other."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU
from provable.arithmetic import RATIONAL
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters
from provable.stationarity.activation_cells import activation_cells
from provable.stationarity.merging import merge
from provable.stationarity.splitting import split


def cells_of(points, outputs=1):
    architecture = Architecture("unit", (2,), (Linear(1, bias=False), ReLU(), Linear(outputs, bias=False)), "squared")
    arrays = {"0/weight": np.array([[1.0, 0.0]]), "2/weight": np.ones((outputs, 1))}
    theta, samples = RATIONAL.convert((Parameters(architecture, arrays), np.array(points)))
    return activation_cells(architecture, theta, samples)


@given(st.integers(1, 9), st.integers(0, 9), st.integers(0, 9), st.sampled_from((1, -1)))
def test_merging_undoes_splitting(first, forward, backward, sign):
    cells = cells_of([[float(first), 0.0]])
    coefficient, direction, *steps = RATIONAL.convert(
        (sign * np.ones((1, 1)), np.array([[0.0, 1.0]]), np.array([float(forward)]), np.array([float(backward)]))
    )
    halves = split(cells.measure(coefficient), direction, *steps)
    assert len(halves.points) == (2 if forward and backward else 1)
    there = cells.at(halves)
    merged = merge(there, halves.coefficients)
    assert np.all(merged.points == cells.points) and np.all(merged.coefficients == coefficient)


def test_what_they_refuse():
    cells = cells_of([[1.0, 0.0]])
    measure, direction, one = cells.measure(cells.points[:, :1]), cells.points, cells.points[:, 0]
    with pytest.raises(InputError, match="steps: found a negative one"):
        split(measure, direction, one, -one)
    several = cells_of([[1.0, 0.0]], outputs=2)
    with pytest.raises(UnsupportedError, match="outputs: found 2"):
        merge(several, several.points)
