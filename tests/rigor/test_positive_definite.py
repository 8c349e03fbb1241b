"""Positive definiteness in balls against Sylvester's criterion in exact rational arithmetic."""

from __future__ import annotations

from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.errors import InputError
from provable.rigor.balls import ball_interval, ball_matrix
from provable.rigor.positive_definite import certified_lower_eigenvalue, is_positive_definite

EPSILON = 2.0**-52
SEEDS = st.integers(0, 2**32 - 1)


def sylvester(matrix: list[list[Fraction]]) -> bool:
    """All leading minors positive, in rational arithmetic."""
    entries = [[flint.fmpq(entry.numerator, entry.denominator) for entry in row] for row in matrix]
    return all(flint.fmpq_mat([row[:k] for row in entries[:k]]).det() > 0 for k in range(1, len(entries) + 1))


def shifted(matrix: np.ndarray, shift: float) -> list[list[Fraction]]:
    size = len(matrix)
    return [[Fraction(matrix[i, j]) - (Fraction(shift) if i == j else 0) for j in range(size)] for i in range(size)]


def symmetric(seed: int, size: int, log_condition: float, smallest_sign: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((size, size)))[0]
    values = 10.0 ** np.linspace(0, -log_condition, size)
    values[-1] *= smallest_sign
    matrix = (basis * values) @ basis.T
    return (matrix + matrix.T) / 2


@given(SEEDS, st.integers(1, 4), st.integers(1, 4))
def test_small_integer_matrices_are_decided_as_sylvester_does(seed: int, size: int, largest: int) -> None:
    lower = np.tril(np.random.default_rng(seed).integers(-largest, largest + 1, (size, size)))
    matrix = (lower + np.tril(lower, -1).T).astype(np.float64) + np.eye(size) * largest
    decided = is_positive_definite(ball_matrix(matrix))
    exact = sylvester(shifted(matrix, 0.0))
    if exact:
        assert decided is True
    else:
        assert decided is not True  # a zero pivot after rounding may be undecided, but is never accepted


@given(SEEDS, st.sampled_from([1, 2, 3, 5, 17, 40]), st.floats(0, 12), st.sampled_from([1, 1, 0, -1]))
def test_lower_bounds_are_below_the_smallest_eigenvalue_and_close(
    seed: int, size: int, log_condition: float, smallest_sign: int
) -> None:
    matrix = symmetric(seed, size, log_condition, smallest_sign)
    bound = certified_lower_eigenvalue(matrix)
    assert sylvester(shifted(matrix, bound))
    estimate = float(np.linalg.eigvalsh(matrix)[0])
    # eigvalsh errs by a modest multiple of eps·‖A‖, and so does the step of the search; both norms are about 1
    # (for the zero matrix, the smallest float64 below 0 is the bound)
    assert estimate - bound <= 30 * size * EPSILON * np.linalg.norm(matrix) + 5e-324


@given(SEEDS, st.sampled_from([1, 2, 4, 20]), st.floats(-14, -1))
def test_bounds_hold_for_every_matrix_within_the_radii(seed: int, size: int, log_radius: float) -> None:
    rng = np.random.default_rng(seed)
    centre = symmetric(seed, size, 2.0, 1)
    radius = rng.random((size, size)) * 10.0**log_radius
    radius = np.maximum(radius, radius.T)
    bound = certified_lower_eigenvalue((centre, radius))
    assert bound == certified_lower_eigenvalue(ball_interval(centre, radius))
    for _ in range(4):
        signs = np.triu(rng.choice([-1, 1], (size, size)))
        signs = signs + np.triu(signs, 1).T
        inner = [
            [
                Fraction(centre[i, j]) + int(signs[i, j]) * Fraction(radius[i, j]) - (Fraction(bound) if i == j else 0)
                for j in range(size)
            ]
            for i in range(size)
        ]
        assert sylvester(inner)
    # within Weyl's bound of the best possible one, up to what it costs to use row sums
    spread = np.abs(radius).sum(axis=1).max()
    assert bound >= np.linalg.eigvalsh(centre)[0] - 1.001 * spread - 30 * size * EPSILON


@given(SEEDS, st.integers(2, 6))
def test_definiteness_of_wide_balls_is_never_claimed_wrongly(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    centre = symmetric(seed, size, 1.0, 1)
    radius = np.full((size, size), 10.0 ** rng.uniform(-3, 0))
    verdict = is_positive_definite(ball_interval(centre, radius))
    for _ in range(5):
        move = np.triu(rng.uniform(-1, 1, (size, size))) * radius
        inner = centre + move + np.triu(move, 1).T
        # the float sum may leave the ball by one rounding, so only points clearly inside are compared
        inner = centre + (inner - centre) * (1 - 2.0**-40)
        if verdict is not None:
            assert sylvester(shifted(inner, 0.0)) is verdict


@given(SEEDS, st.floats(17, 30))
def test_definiteness_beyond_float64_is_found(seed: int, log_condition: float) -> None:
    rng = np.random.default_rng(seed)
    root = [[Fraction(int(entry)) for entry in row] for row in rng.integers(-3, 4, (3, 3)) + 5 * np.eye(3, dtype=int)]
    assume(abs(np.linalg.det(np.array(root, dtype=np.float64))) > 0.5)  # an integer determinant that is not 0
    tiny = Fraction(1, 10 ** int(log_condition))
    scaled = [[entry * (tiny if j == 2 else 1) for j, entry in enumerate(row)] for row in root]
    gram = [
        [sum(a * b for a, b in zip(x, y, strict=True)) for y in zip(*scaled, strict=True)]
        for x in zip(*scaled, strict=True)
    ]
    with flint.ctx.workprec(400):
        matrix = ball_matrix(np.array(gram, dtype=object))
    bound = certified_lower_eigenvalue(matrix, bits=400)
    assert bound > 0
    assert sylvester(
        [[entry - (Fraction(bound) if i == j else 0) for j, entry in enumerate(row)] for i, row in enumerate(gram)]
    )


@pytest.mark.parametrize(
    "matrix",
    [
        np.zeros((0, 0)),
        np.zeros((2, 3)),
        np.zeros(3),
        np.array([[1.0, 2.0], [2.5, 1.0]]),
        np.array([[np.nan]]),
        np.array([[np.inf]]),
        (np.eye(2), -np.eye(2)),
        (np.eye(2), np.zeros((3, 3))),
        flint.arb_mat(2, 3),
        flint.arb_mat(0, 0),
    ],
)
def test_what_is_no_symmetric_matrix_is_refused_in_one_line(matrix: object) -> None:
    with pytest.raises(InputError) as caught:
        certified_lower_eigenvalue(matrix)
    assert "\n" not in str(caught.value)


def test_extreme_scales() -> None:
    assert 0.9e300 < certified_lower_eigenvalue(np.diag([1e300, 1e303])) < 1e300
    assert 0 <= certified_lower_eigenvalue(np.array([[5e-324]])) < 5e-324
    # the Frobenius norm overflows float64, so nothing is claimed
    assert certified_lower_eigenvalue(np.diag([1.5e308, 1.7e308])) == -np.inf
