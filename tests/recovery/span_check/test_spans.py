"""The spaces of one layer's gradient, against the full decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Identity
from provable.recovery.batch.chain import LinearLayer
from provable.recovery.batch.span_check.spans import Span, leading_singular

EPSILON = 2.0**-52


@given(st.integers(0, 2**32), st.integers(0, 150), st.floats(0, 11))
@settings(max_examples=10)
def test_projected_decompositions_lose_nothing_above_the_level(seed, rank, decades):
    """Ranks below, at and above the size of the first sketch; singular values over many decades."""
    rng = np.random.default_rng(seed)
    shape = (310, 420)
    left, right = (np.linalg.qr(rng.standard_normal((n, max(rank, 1))))[0][:, :rank] for n in shape)
    wanted = np.sort(10.0 ** -rng.uniform(0, decades, rank))[::-1]
    # Rounding of a product of that rank, with entries of size 1 / 300.
    noise = EPSILON * rng.standard_normal(shape) / 300
    matrix = (left * wanted) @ right.T + noise
    level = 100 * EPSILON
    found_left, singular, found_right = leading_singular(matrix, level)
    full = np.linalg.svd(matrix, compute_uv=False)
    count = np.count_nonzero(full > 2 * level)
    assert np.count_nonzero(singular > level / 2) >= count
    # Weyl: both are decompositions of matrices that differ by the level at most.
    assert np.all(np.abs(singular[:count] - full[:count]) <= 2 * level)
    kept = slice(0, count)
    assert np.max(np.abs(found_left[:, kept].T @ found_left[:, kept] - np.eye(count)), initial=0) <= 1e4 * EPSILON
    rebuilt = (found_left[:, kept] * singular[kept]) @ found_right[kept]
    # What is not kept has singular values of two levels at most.
    assert np.linalg.norm(matrix - rebuilt, 2) <= 4 * level


@pytest.mark.parametrize("power", [-300, 0, 300])
def test_units_of_measurement_do_not_decide(power):
    """Inputs of any size beside a bias of one: the extended inputs lie in the row space."""
    rng = np.random.default_rng(1)
    inputs, sensitivities = np.ldexp(rng.standard_normal((3, 7)), power), rng.standard_normal((9, 3))
    layer = LinearLayer(0, np.zeros((9, 7)), np.zeros(9), Identity(), sensitivities @ inputs, sensitivities.sum(axis=1))
    span = Span.of(layer, EPSILON)
    assert span.rank == 3
    assert 0.25 <= np.linalg.norm(inputs) / span.unit <= 16
    extended = span.extended(inputs)
    outside = extended - extended @ span.right @ span.right.T
    assert np.linalg.norm(outside) <= span.error * np.linalg.norm(extended)


def test_zero_and_missing_gradients():
    assert Span.of(LinearLayer(0, np.zeros((4, 3)), None, Identity(), None, None), EPSILON) is None
    assert Span.of(LinearLayer(0, np.zeros((4, 3)), None, Identity(), np.zeros((4, 3)), None), EPSILON).rank == 0
