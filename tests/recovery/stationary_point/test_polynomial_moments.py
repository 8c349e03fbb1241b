"""Moments as linear unknowns: rows against sums over atoms, ranks against counts, and atoms found again from starts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.recovery.stationary_point.polynomial_moments import MomentSystem, solved
from provable.recovery.stationary_point.polynomial_starts import atoms_from_starts

SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS = st.sampled_from(
    [(0.0, 0.0, 0.0, 1.0), (0.5, 0.0, -1.0, 2.0), (0.0, 1.0, 0.0, 0.0, 0.5), (1.0, 1.0), (0.0, 0.0, 0.0, 0.0, 0.0, 2.0)]
)


def system_and_atoms(
    activation: tuple[float, ...], size: int, anchored: bool, rng: np.random.Generator, count: int = 3
) -> tuple[MomentSystem, np.ndarray, np.ndarray]:
    points, coefficients = rng.standard_normal((count, size)), rng.standard_normal(count)
    norm = float(rng.uniform(0.5, 2.0)) if anchored else 0.0
    if anchored:
        points[:, 0] = 1 / norm
    return MomentSystem(activation, size, norm, not anchored and activation[0] != 0), points, coefficients


@given(SEEDS, ACTIVATIONS, st.integers(1, 3), st.booleans())
def test_rows_are_value_and_gradient_of_the_sum_over_atoms(
    seed: int, activation: tuple[float, ...], size: int, anchored: bool
) -> None:
    rng = np.random.default_rng(seed)
    system, points, coefficients = system_and_atoms(activation, size, anchored, rng)
    places = rng.standard_normal((4, size))
    unknowns = coefficients @ system.monomials(points)
    values, gradients = system.rows(places)
    function = np.polynomial.Polynomial(activation)
    inner = places @ points.T
    # sums of products of at most seven factors; every term counts with its magnitude
    magnitude = np.abs(coefficients) @ np.polynomial.Polynomial(np.abs(activation))(np.abs(places) @ np.abs(points).T).T
    tolerance = 30 * 8 * len(activation) * EPSILON * magnitude
    assert np.all(np.abs(values @ unknowns - function(inner) @ coefficients) <= tolerance)
    slope = np.polynomial.Polynomial(np.abs(activation)).deriv()(np.abs(places) @ np.abs(points).T)
    wanted = (function.deriv()(inner) * coefficients) @ points
    bound = (slope * np.abs(coefficients)) @ np.abs(points)
    assert np.all(np.abs(gradients @ unknowns - wanted) <= 30 * 8 * len(activation) * EPSILON * bound)
    if system.total or anchored:
        mass = float(np.abs(coefficients).sum())
        # with an anchor a power of the norm times one of its inverse
        assert abs(system.mass() @ unknowns - coefficients.sum()) <= 30 * 8 * EPSILON * mass


@given(SEEDS, ACTIVATIONS, st.integers(1, 3))
def test_slopes_are_those_of_the_monomials(seed: int, activation: tuple[float, ...], size: int) -> None:
    rng = np.random.default_rng(seed)
    system, points, _ = system_and_atoms(activation, size, False, rng)
    direction = rng.standard_normal(points.shape)
    step = 2.0**-20
    moved = (system.monomials(points + step * direction) - system.monomials(points - step * direction)) / (2 * step)
    wanted = np.einsum("ij,ijq->iq", direction, system.slopes(points))
    # third derivatives of monomials of degree five at numbers below five, times the square of the step
    assert np.max(np.abs(moved - wanted)) <= 1e-6 * max(1.0, float(np.max(np.abs(wanted))))


@given(SEEDS, st.integers(1, 3), st.integers(1, 5))
def test_tensors_are_sums_of_powers(seed: int, size: int, order: int) -> None:
    rng = np.random.default_rng(seed)
    system, points, coefficients = system_and_atoms((0.0,) * order + (1.0,), size, False, rng)
    tensor = system.tensors(coefficients @ system.monomials(points))[order]
    wanted = sum(c * _power(x, order) for c, x in zip(coefficients, points, strict=True))
    bound = sum(abs(c) * _power(np.abs(x), order) for c, x in zip(coefficients, points, strict=True))
    assert np.all(np.abs(tensor - wanted) <= 30 * 8 * EPSILON * bound)
    assert system.unknowns == math.comb(size + order - 1, order)


def _power(vector: np.ndarray, order: int) -> np.ndarray:
    result = np.ones(())
    for _ in range(order):
        result = np.multiply.outer(result, vector)
    return result


@given(SEEDS, st.integers(2, 3), st.integers(3, 4), st.integers(1, 8))
def test_generic_places_have_the_rank_of_the_count(seed: int, size: int, degree: int, count: int) -> None:
    """d equations per place of a monomial, or all unknowns; Alexander and Hirschowitz list the exceptions."""
    system = MomentSystem((0.0,) * degree + (1.0,), size, 0.0, False)
    places = np.random.default_rng(seed).standard_normal((count, size))
    gradients = system.rows(places)[1].reshape(-1, system.unknowns)
    solution = solved(gradients, np.zeros(len(gradients)))
    # double points: 5 in the plane's quartics lie on a double conic
    exceptional = (size, degree, count) == (3, 4, 5)
    assert solution.rank == min(size * count, system.unknowns) - exceptional


@pytest.mark.parametrize("activation", [(0.0, 0.0, 0.0, 1.0), (0.0, 0.2, 0.5, 1.0), (0.0, 0.0, 0.0, 0.0, 1.0)])
@pytest.mark.parametrize("anchored", [False, True])
def test_atoms_are_found_again_from_starts(activation: tuple[float, ...], anchored: bool) -> None:
    """With all moments seen the atoms are unique; some start finds them, and no other has the moments."""
    rng = np.random.default_rng(2)
    system, points, coefficients = system_and_atoms(activation, 3, anchored, rng)
    unknowns = coefficients @ system.monomials(points)
    found = atoms_from_starts(system, solved(np.eye(system.unknowns), unknowns), 3, 60, rng)
    assert found
    for atoms, weights in found:
        again = weights @ system.monomials(atoms)
        assert np.linalg.norm(again - unknowns) <= 1e-10 * np.linalg.norm(unknowns)
        cosines = np.abs(atoms @ points.T) / np.outer(np.linalg.norm(atoms, axis=1), np.linalg.norm(points, axis=1))
        # up to order and scale; 1e-11 of misfit, the condition of the atoms and the root of a cosine
        assert np.all(np.max(cosines, axis=0) >= 1 - 1e-9)
        if anchored:
            assert np.max(np.abs(atoms[:, 0] * system.anchored - 1)) <= 30 * EPSILON


def test_nothing_seen_leads_nowhere() -> None:
    system = MomentSystem((0.0, 0.0, 0.0, 1.0), 2, 0.0, False)
    nothing = solved(np.zeros((3, 4)), np.zeros(3))
    assert nothing.rank == 0 and nothing.open_dimensions == 4
    assert atoms_from_starts(system, nothing, 2, 5, np.random.default_rng(0)) == []
