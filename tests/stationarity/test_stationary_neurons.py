"""Neurons of stationary polynomial networks: they solve their equations, and orthogonal samples have one for every subset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Polynomial
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.measures import Measure
from provable.stationarity.stationary_neurons import stationary_neurons

CUBE = Polynomial(coefficients=(0.0, 0.0, 0.0, 1.0))
ACTIVATIONS = st.sampled_from(
    [CUBE, Polynomial(coefficients=(0.1, 0.2, 0.0, 1.0)), Polynomial(coefficients=(0.0, 0.0, 1.0))]
)


@given(st.integers(0, 2**32 - 1), ACTIVATIONS, st.integers(1, 3), st.booleans())
def test_neurons_solve_their_equations(seed: int, activation: Polynomial, count: int, biased: bool) -> None:
    rng = np.random.default_rng(seed)
    points, coefficients = rng.standard_normal((count, 2)), rng.standard_normal(count)
    outer, inner = stationary_neurons(Measure(points, coefficients), activation, biased=biased, starts=40, rng=rng)
    samples = np.column_stack([points, np.ones(count)]) if biased else points
    value = np.polynomial.Polynomial(activation.coefficients)
    bound = np.polynomial.Polynomial(np.abs(activation.coefficients))
    reached, size = inner @ samples.T, np.abs(inner) @ np.abs(samples).T
    assert inner.shape == (len(outer), 2 + biased)
    # Newton's last step leaves the rounding of the sums, and that of v and w times the slope of the equations
    scale = np.abs(coefficients) @ bound(size).T + np.abs(outer)
    slope = (np.abs(coefficients) * bound.deriv()(size)) @ np.abs(samples)
    bent = (np.abs(coefficients) * bound.deriv(2)(size)) @ np.abs(samples) ** 2 if bound.degree() > 1 else 0 * slope
    moved = np.abs(inner) + np.linalg.norm(np.column_stack([outer, inner]), axis=1)[:, None]
    assert np.all(
        np.abs(value(reached) @ coefficients - outer) <= 300 * EPSILON * (scale + np.sum(slope * moved, axis=1))
    )
    wanted = outer[:, None] * ((coefficients * value.deriv()(reached)) @ samples)
    terms = np.abs(outer[:, None]) * slope + np.abs(inner) + moved * slope
    terms = terms + np.abs(outer[:, None]) * np.sum(bent * moved, axis=1, keepdims=True) * 3
    assert np.all(np.abs(wanted - inner) <= 300 * EPSILON * terms)


@pytest.mark.parametrize("count", [1, 2, 3])
def test_orthogonal_samples_have_a_neuron_for_every_subset(count: int) -> None:
    """w ∝ Σ_{i∈S} x_i / (c_i ‖x_i‖⁴), and its negative with the other v: 2 (2ⁿ − 1) for a cube."""
    rng = np.random.default_rng(count)
    lengths = rng.uniform(0.8, 1.2, count)
    points = np.linalg.qr(rng.standard_normal((4, 4)))[0][:count] * lengths[:, None]
    coefficients = rng.uniform(1.0, 1.5, count)
    _, inner = stationary_neurons(Measure(points, coefficients), CUBE, starts=1500, rng=rng)
    shares = (inner @ points.T) * coefficients * lengths**2
    largest = np.abs(shares).max(axis=1, keepdims=True)
    # Newton's method ends at rounding, far below a share of one
    subsets = np.abs(shares / largest) > 1e-6
    assert np.all(np.abs(np.abs(shares / largest)[subsets] - 1) <= 1e-9)
    assert len(inner) == 2 * (2**count - 1) and len(np.unique(subsets, axis=0)) == 2**count - 1


def test_other_measures_are_refused() -> None:
    with pytest.raises(InputError, match=r"found points of shape \(2, 3\) and coefficients of shape \(2, 2\)"):
        stationary_neurons(Measure(np.ones((2, 3)), np.ones((2, 2))), CUBE)
    with pytest.raises(InputError, match=r"shape \(1, 2, 2\)"):
        stationary_neurons(Measure(np.ones((1, 2, 2)), np.ones(1)), CUBE)
