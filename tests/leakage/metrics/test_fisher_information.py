"""Fisher information losses: what they bound, how they compose, and that null spaces do not show in them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.leakage.metrics import Spectrum, composed_loss, fisher_information, random_instance, spectrum
from provable.leakage.metrics.cramer_rao import bounds

seeds = st.integers(0, 2**32 - 1)
sizes = st.integers(1, 6)


def of_matrix(matrix):
    """Singular values of a p × n matrix, as many as n."""
    _, values, rows = np.linalg.svd(matrix, full_matrices=True)
    values = np.concatenate([np.zeros(len(rows) - len(values)), values[::-1]])
    return Spectrum(values, rows[::-1].T)


@given(name=st.sampled_from(["dense", "logit", "convolution", "pooled", "residual"]), seed=seeds)
def test_losses_are_norms_of_the_derivative(networks, dense_jacobian, name, seed):
    jacobian = random_instance(networks[name], rng=seed).jacobian()
    matrix = dense_jacobian(jacobian)
    found = fisher_information(spectrum(jacobian), 0.5)
    # norms are well-conditioned; both sides sum at most 36 · 100 squares
    assert found.loss == pytest.approx(2 * np.linalg.norm(matrix, 2), rel=30 * 36 * EPSILON)
    diagonal = 2 * np.linalg.norm(matrix) / math.sqrt(matrix.shape[1])
    assert found.diagonal_loss == pytest.approx(diagonal, rel=30 * 36 * EPSILON)


@given(seed=seeds, rows=sizes, columns=sizes, spread=st.integers(0, 6))
def test_both_bounds_are_weaker_than_cramer_rao(seed, rows, columns, spread):
    rng = np.random.default_rng(seed)
    found = of_matrix(rng.standard_normal((rows, columns)) * 10.0 ** -rng.uniform(0, spread, columns))
    losses, cramer_rao = fisher_information(found, 0.1), bounds(found, 0.1, description="", is_local=False)
    slack = 1 + 30 * columns * EPSILON
    assert losses.variance_lower_bound <= losses.mean_square_error_lower_bound * slack
    assert losses.variance_lower_bound <= slack * cramer_rao.coordinate_lower_bounds.min() ** 2
    if not cramer_rao.infinite:
        assert losses.mean_square_error_lower_bound <= slack * cramer_rao.rmse_lower_bound**2


@given(seed=seeds, rows=sizes, columns=sizes, count=st.integers(1, 4))
def test_losses_of_independent_gradients_compose(seed, rows, columns, count):
    rng = np.random.default_rng(seed)
    matrices = [rng.standard_normal((rows, columns)) for _ in range(count)]
    parts = [fisher_information(of_matrix(matrix), 0.3).loss for matrix in matrices]
    together = fisher_information(of_matrix(np.concatenate(matrices)), 0.3).loss
    slack = 1 + 30 * rows * count * EPSILON
    assert max(parts) <= slack * together <= slack**2 * composed_loss(parts)
    same = fisher_information(of_matrix(np.concatenate([matrices[0]] * count)), 0.3).loss
    assert same == pytest.approx(composed_loss(parts[:1] * count), rel=30 * rows * count * EPSILON)


@given(seed=seeds, rows=sizes, columns=sizes, kept=sizes)
def test_functions_of_the_gradient_lose(seed, rows, columns, kept):
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows, columns))
    projection = np.linalg.qr(rng.standard_normal((rows, min(kept, rows))))[0]
    before, after = (fisher_information(of_matrix(m), 1.0) for m in (matrix, projection.T @ matrix))
    slack = 1 + 30 * (rows + columns) * EPSILON
    assert after.loss <= slack * before.loss and after.diagonal_loss <= slack * before.diagonal_loss


def test_a_null_space_does_not_show():
    blind, seeing = of_matrix(np.diag([1.0, 0.0])), of_matrix(np.diag([1.0, 1.0]))
    assert fisher_information(blind, 1.0).loss == fisher_information(seeing, 1.0).loss == 1.0
    assert fisher_information(blind, 1.0).mean_square_error_lower_bound == pytest.approx(2.0)
    assert bounds(blind, 1.0, description="", is_local=False).infinite


def test_limits_and_refusals():
    found = of_matrix(np.eye(2))
    without = fisher_information(found, 0)
    assert without.loss == math.inf and without.variance_lower_bound == 0 == without.mean_square_error_lower_bound
    nothing = fisher_information(of_matrix(np.zeros((1, 2))), 0.0)
    assert nothing.loss == 0 and nothing.variance_lower_bound == math.inf == nothing.mean_square_error_lower_bound
    assert composed_loss([]) == 0.0
    for noise in (-1, math.inf, math.nan, True, "a"):
        with pytest.raises(InputError, match="noise: found"):
            fisher_information(found, noise)
