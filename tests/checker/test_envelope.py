"""Smallest eigenvalues by rounded elimination, in checker and solver, against LAPACK."""

from __future__ import annotations

from bisect import bisect_left
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.checker import envelope
from provable.checker.envelope import negative_pivots, radii_norm, smallest_eigenvalue_exceeds
from provable.checker.verdict import Undecided
from provable.rigor import envelope_definite
from provable.rigor.envelope_definite import dense_lower_eigenvalue

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=max(20, settings.default.max_examples // 4))
"""A quarter of the profile's examples: each one eliminates several matrices in balls."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


def banded(rng: np.random.Generator, size: int, width: int) -> Floats:
    """AᵀA for a random banded A, of a smallest eigenvalue that is neither tiny nor typical."""
    rows = np.arange(size)[:, None]
    factor = rng.standard_normal((size, size)) * (np.abs(rows - rows.T) <= width)
    gram: Floats = factor.T @ factor + 10.0 ** rng.uniform(-6, 0) * np.eye(size)
    return gram


def envelope_of(matrix: Floats) -> tuple[list[list[Any]], list[int]]:
    first = [int(np.flatnonzero(row)[0]) if np.any(row[: i + 1]) else i for i, row in enumerate(matrix)]
    first = list(np.minimum.accumulate(first[::-1])[::-1].tolist())
    return [[flint.arb(x) for x in matrix[i, first[i] : i + 1].tolist()] for i in range(len(matrix))], first


def rows_of(matrix: Floats) -> list[list[Any]]:
    return [[flint.arb(x) for x in row] for row in matrix.tolist()]


def proved(matrix: Floats, level: float, border: Floats | None = None) -> bool:
    rows, first = envelope_of(matrix)
    side = None if border is None else rows_of(border)
    try:
        return smallest_eigenvalue_exceeds(rows, first, flint.arb(level), side)
    except Undecided:
        return False


@FEW
@given(SEEDS, st.integers(1, 24), st.integers(0, 6), st.integers(1, 9))
def test_levels_below_are_proved_and_levels_above_are_not(seed: int, size: int, width: int, step: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = banded(rng, size, width)
    smallest, norm = np.linalg.eigvalsh(matrix)[[0, -1]]
    error = 30 * size * 2.0**-52 * norm  # of eigvalsh
    with pytest.MonkeyPatch.context() as patch, flint.ctx.workprec(128):
        patch.setattr(envelope, "_STEP", step)
        assert proved(matrix, 0.999 * smallest - error) or smallest < 1e3 * error
        assert not proved(matrix, 1.001 * smallest + error)


@FEW
@given(SEEDS, st.integers(2, 24), st.integers(0, 4), st.integers(1, 5), st.integers(1, 9))
def test_borders_count_like_the_matrices_they_stand_for(seed: int, size: int, width: int, rows: int, step: int) -> None:
    """A is singular on a subspace that the border fills, so that A - s has negative pivots."""
    rng = np.random.default_rng(seed)
    keep = np.ones(size)
    keep[rng.permutation(size)[: min(rows, size - 1)]] = 0
    matrix = keep[:, None] * banded(rng, size, width) * keep
    border = rng.standard_normal((rows, size)) * 10.0 ** rng.uniform(-2, 2)
    whole = matrix + border.T @ border
    smallest, norm = np.linalg.eigvalsh(whole)[[0, -1]]
    error = 30 * size * 2.0**-52 * norm
    with pytest.MonkeyPatch.context() as patch, flint.ctx.workprec(256):
        patch.setattr(envelope, "_BORDERED_STEP", step)
        if smallest > 1e3 * error:
            assert proved(matrix, 0.999 * smallest - error, border)
        assert not proved(matrix, 1.001 * max(smallest, 0.0) + error, border)


def test_long_chains_do_not_lose_the_bits_that_balls_would() -> None:
    rng = np.random.default_rng(0)
    matrix = banded(rng, 700, 5)
    smallest = np.linalg.eigvalsh(matrix)[0]
    with flint.ctx.workprec(128):
        assert proved(matrix, 0.999 * smallest)
        assert not proved(matrix, 1.001 * smallest)


def test_wide_balls_prove_nothing() -> None:
    with flint.ctx.workprec(128):
        for radius in (0.4, 0.6):
            rows = [[flint.arb(2)], [flint.arb(1, radius), flint.arb(2)]]
            found = None
            try:
                found = smallest_eigenvalue_exceeds(rows, [0, 0], flint.arb(0.5))
            except Undecided:
                found = False
            assert found == (radius < 0.5)
        nothing = [[flint.arb(1, float("inf"))]]
        with pytest.raises(Undecided):
            smallest_eigenvalue_exceeds(nothing, [0], flint.arb(0.5))


@FEW
@given(SEEDS, st.integers(1, 20))
def test_negative_pivots_are_negative_eigenvalues(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((size, size))
    matrix = matrix + matrix.T
    values = np.linalg.eigvalsh(matrix)
    if np.min(np.abs(values)) < 1e-9:
        return  # too near to a singular one for float64 to be the judge
    with flint.ctx.workprec(256):
        assert negative_pivots(rows_of(matrix)) == int(np.sum(values < 0))
    with pytest.raises(Undecided):
        negative_pivots([[flint.arb(0)]])


@FEW
@given(SEEDS, st.integers(1, 12), st.integers(1, 12), st.booleans())
def test_what_is_rounded_away_is_bounded_whichever_triangle_has_the_wide_balls(
    seed: int, height: int, width: int, symmetric: bool
) -> None:
    """Balls of a symmetric matrix whose radii are not symmetric; every matrix inside is near to the midpoints."""
    rng = np.random.default_rng(seed)
    width = height if symmetric else width
    radii = np.round(2.0**20 * 10.0 ** rng.uniform(-3, 0, (height, width))) / 2.0**20
    middles = rng.integers(-9, 10, (height, width)).astype(float)
    if symmetric:
        middles = np.tril(middles) + np.tril(middles, -1).T
    balls = flint.arb_mat(
        [[flint.arb(m, r) for m, r in zip(*rows, strict=True)] for rows in zip(middles, radii, strict=True)]
    )
    found = float(radii_norm(balls, symmetric=symmetric))
    # the worst case of nonnegative matrices: all entries at the ends of their balls
    worst = np.tril(radii) + np.tril(radii, -1).T if symmetric else radii
    norm = np.linalg.norm(worst, 2)
    assert found >= norm * (1 - 30 * 12 * 2.0**-52)
    assert found <= 30 * height * width * np.max(radii)  # and finite, of the size of radii


@FEW
@given(SEEDS, st.integers(1, 30), st.integers(1, 9))
def test_the_solver_proves_eigenvalues_a_little_below_the_estimate(seed: int, size: int, width: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = banded(rng, size, size)
    smallest, norm = np.linalg.eigvalsh(matrix)[[0, -1]]
    error = 30 * size * 2.0**-52 * norm
    with pytest.MonkeyPatch.context() as patch, flint.ctx.workprec(128):
        patch.setattr(envelope_definite, "_WIDTH", width)
        for estimate in (smallest, 1.9 * smallest, 0.5 * smallest):
            found = dense_lower_eigenvalue(flint.arb_mat(matrix.tolist()), float(estimate))
            assert found <= smallest + error
            assert found >= 0.4 * smallest or smallest < 1e3 * error
        assert dense_lower_eigenvalue(flint.arb_mat(matrix.tolist()), float(3 * smallest + 3 * error)) == 0


def test_envelopes_end_where_rows_begin() -> None:
    matrix = banded(np.random.default_rng(1), 12, 2)
    rows, first = envelope_of(matrix)
    assert first == sorted(first) and first[-1] > 0
    assert bisect_left(first, 1) < 12
    assert all(len(row) == index + 1 - start for index, (row, start) in enumerate(zip(rows, first, strict=True)))
