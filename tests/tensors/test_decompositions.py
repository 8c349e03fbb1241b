"""Simultaneous diagonalisation, the choice of methods and the refinement, against the vectors that made the tensors."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.tensors import (
    decompose,
    joint_diagonalisation,
    refined,
    simultaneous_diagonalisation,
    symmetric_condition,
    symmetric_jennrich,
)
from provable.tensors.decomposition import METHODS, alternating_least_squares
from provable.theorems.strategies import conditioned_matrices, seeds


def tensor_of(weights, directions, order):
    axes = "abcd"[:order]
    return np.einsum(f"r,{','.join(axis + 'r' for axis in axes)}->{axes}", weights, *[directions] * order)


def distance(found, expected):
    """Largest distance, up to sign, of a true unit vector from the nearest one found."""
    pairs = (np.linalg.norm(found - sign * u[:, None], axis=0) for u in expected.T for sign in (1, -1))
    nearest = np.array([gap.min() for gap in pairs]).reshape(-1, 2)
    return nearest.min(axis=1).max()


def noise(shape, generator):
    """A symmetric tensor of norm one."""
    entries = generator.standard_normal(shape)
    symmetric = sum(np.transpose(entries, axes) for axes in itertools.permutations(range(len(shape))))
    return symmetric / np.linalg.norm(symmetric)


@st.composite
def unit_columns(draw, most=4, condition=1.0):
    rank = draw(st.integers(1, most))
    matrix = draw(conditioned_matrices(rank + draw(st.integers(0, 2)), rank, max_log10_condition=condition))
    return matrix / np.linalg.norm(matrix, axis=0)


@given(unit_columns(), st.integers(4, 8), seeds(), st.booleans())
def test_joint_diagonalisation_recovers_the_congruence(directions, count, seed, orthogonal):
    size = directions.shape[1]
    square = np.linalg.qr(directions)[1]
    square = np.eye(size) if orthogonal else square / np.linalg.norm(square, axis=0)
    diagonals = np.random.default_rng(seed).standard_normal((count, size))
    matrices = np.einsum("ia,la,ja->lij", square, diagonals, square)
    found = joint_diagonalisation(matrices, start=square + 0.01 * np.eye(size)[::-1], orthogonal=orthogonal)
    condition = np.linalg.cond(square)
    # rounding errors of r³ sums, seen through U twice, over the smallest sine between two columns of the diagonals
    unit_diagonals = diagonals / np.linalg.norm(diagonals, axis=0)
    cosines = np.abs(np.triu(unit_diagonals.T @ unit_diagonals, 1)).max()
    if cosines > 0.99:
        return
    unit = 10 * size * EPSILON * condition**3 / (1 - cosines)
    if found.off_diagonal <= 30 * unit:  # a local minimum is no solution, and says so
        assert distance(found.vectors, square) <= 30 * unit * 10
    assert found.off_diagonal <= 30 * unit or not orthogonal
    assert np.abs(np.linalg.norm(found.vectors, axis=0) - 1).max() <= 30 * EPSILON
    rebuilt = np.einsum("ia,la,ja->lij", found.vectors, found.diagonals, found.vectors)
    off = found.off_diagonal * np.linalg.norm(found.diagonals) * np.linalg.norm(found.vectors, 2) ** 2
    assert np.linalg.norm(rebuilt - matrices) <= off + 30 * unit * np.linalg.norm(matrices)


def test_joint_diagonalisation_of_a_single_or_zero_matrix():
    single = joint_diagonalisation(np.array([[[2.0, 1.0], [1.0, 2.0]]]), orthogonal=True)
    assert sorted(np.round(single.diagonals[0], 12)) == [1.0, 3.0] and single.off_diagonal < 1e-15
    zero = joint_diagonalisation(np.zeros((3, 2, 2)))
    cut = joint_diagonalisation(np.stack([np.diag([1.0, 2.0]) + 0.5, np.diag([1.0, -1.0]) - 0.25]), most_sweeps=1)
    assert cut.sweeps == 1 and 0 < cut.off_diagonal < 0.5
    assert zero.off_diagonal == 0.0 and np.array_equal(zero.vectors, np.eye(2)) and zero.sweeps == 1


@given(unit_columns(), st.sampled_from([3, 4]), seeds(), st.booleans(), st.booleans())
def test_simultaneous_diagonalisation_recovers_the_terms(directions, order, seed, plug_in, independent):
    rank = directions.shape[1]
    weights = np.random.default_rng(seed).choice([-2.0, -1.0, 1.0, 3.0], rank)
    tensor = tensor_of(weights, directions, order)
    found, factors = simultaneous_diagonalisation(tensor, rank, plug_in=plug_in, independent=independent, rng=seed)
    condition = np.linalg.cond(directions)
    # as for joint diagonalisation; twenty projections separate all pairs, by at least a tenth
    unit = 10 * rank * EPSILON * condition**3 * 10
    assert distance(factors[0], directions) <= 30 * unit
    rebuilt = tensor_of(found, factors[0], order)
    assert np.abs(rebuilt - tensor).max() <= 30 * unit * np.abs(weights).sum()


def test_plug_in_projections_beat_random_ones_and_many_beat_one_pencil():
    errors = {"jennrich": [], "random": [], "bases": [], "plug-in": []}
    for seed in range(12):
        generator = np.random.default_rng(seed)
        directions = np.linalg.qr(generator.standard_normal((6, 6)))[0]
        tensor = tensor_of(np.ones(6), directions, 3) + 1e-3 * noise((6, 6, 6), generator)
        for name, found in (
            ("jennrich", symmetric_jennrich(tensor, 6, rng=seed)),
            ("random", simultaneous_diagonalisation(tensor, 6, projections=6, plug_in=False, rng=seed)),
            (
                "bases",
                simultaneous_diagonalisation(tensor, 6, projections=6, independent=False, plug_in=False, rng=seed),
            ),
            ("plug-in", simultaneous_diagonalisation(tensor, 6, rng=seed)),
        ):
            errors[name].append(distance(found.factors[0], directions))
    medians = {name: np.median(numbers) for name, numbers in errors.items()}
    # 2.2e-4, 3.0e-4 and 6.5e-4 over 40 seeds
    assert medians["plug-in"] < medians["random"] < medians["jennrich"]
    # for orthogonal terms one orthonormal basis of projections is as good as the plug-in, to first order
    assert np.abs(np.array(errors["bases"]) / errors["plug-in"] - 1).max() < 0.05


def test_orthogonal_factors_stay_orthogonal():
    directions = np.linalg.qr(np.random.default_rng(0).standard_normal((5, 4)))[0]
    tensor = tensor_of([1.0, 2.0, 3.0, -4.0], directions, 3) + 1e-3 * noise((5, 5, 5), np.random.default_rng(1))
    factor = simultaneous_diagonalisation(tensor, 4, orthogonal=True, rng=0).factors[0]
    assert np.abs(factor.T @ factor - np.eye(4)).max() <= 30 * 10 * EPSILON


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("order", [3, 4])
def test_every_method_explains_the_tensor(method, order):
    directions = np.linalg.qr(np.random.default_rng(3).standard_normal((5, 3)))[0] + 0.1
    weights = np.array([1.0, 2.0, 3.0])
    tensor = tensor_of(weights, directions, order)
    found, factors = decompose(tensor, 3, method=method, rng=1)
    axes = "abcd"[:order]
    rebuilt = np.einsum(f"r,{','.join(axis + 'r' for axis in axes)}->{axes}", found, *factors)
    # alternating least squares stops when the relative residual, known to √ε, falls no more
    assert np.linalg.norm(rebuilt - tensor) <= (1e-6 if method == "als" else 1e-12) * np.linalg.norm(tensor)
    assert len(factors) == order and np.all(np.diff(np.abs(found)) <= 0)
    again = decompose(tensor, 3, method=method, rng=1)
    assert np.array_equal(found, again.weights) and np.array_equal(factors[0], again.factors[0])


def test_tensors_without_symmetry_go_to_the_general_algorithm():
    generator = np.random.default_rng(0)
    factors = [generator.standard_normal((size, 2)) for size in (2, 3, 4)]
    tensor = np.einsum("ar,br,cr->abc", *factors)
    weights, found = decompose(tensor, 2, rng=0)
    assert np.linalg.norm(np.einsum("r,ar,br,cr->abc", weights, *found) - tensor) < 1e-12 * np.linalg.norm(tensor)
    with pytest.raises(InputError, match="three or four equal axes"):
        decompose(tensor, 2, method="simultaneous")


@given(unit_columns(), st.sampled_from([(3,), (4,), (2, 3), (2, 4), (1, 2, 3)]), seeds())
def test_refinement_ends_at_the_true_vectors(directions, orders, seed):
    generator = np.random.default_rng(seed)
    rank = directions.shape[1]
    coefficients = {order: generator.choice([-2.0, -1.0, 1.0, 3.0], rank) for order in orders}
    tensors = {order: tensor_of(numbers, directions, order) for order, numbers in coefficients.items()}
    condition = max(symmetric_condition(directions, max(orders)), 1.0)
    start = directions + 1e-3 / condition * generator.standard_normal(directions.shape)
    found = refined(tensors, start)
    sizes = max(np.linalg.norm(tensor) for tensor in tensors.values())
    # the equations have rounding errors of size ‖T‖, and weights differ by at most a factor of three
    unit = 10 * rank * EPSILON * condition * sizes
    assert distance(found.directions, directions) <= 30 * unit
    assert found.residual <= 30 * rank * len(orders) * EPSILON * 10
    for order in orders:
        weights, factors = found.tensor(order)
        assert np.abs(tensor_of(weights, factors[0], order) - tensors[order]).max() <= 30 * unit * 3


def test_two_orders_together_are_better_than_one():
    errors = {"one": [], "both": []}
    for seed in range(8):
        generator = np.random.default_rng(seed)
        directions = np.linalg.qr(generator.standard_normal((5, 5)))[0]
        directions = directions @ np.linalg.cholesky(0.5 * np.ones((5, 5)) + 0.5 * np.eye(5)).T
        weights = generator.uniform(1, 2, 5)
        fourth = tensor_of(weights, directions, 4) + 1e-2 * noise((5,) * 4, generator)
        second = tensor_of(3 * weights, directions, 2) + 1e-5 * noise((5,) * 2, generator)
        start = symmetric_jennrich(fourth, 5, rng=seed).factors[0]
        errors["one"].append(distance(refined({4: fourth}, start).directions, directions))
        both = refined({2: second, 4: fourth}, start, scales={2: 1e5, 4: 1e2})
        errors["both"].append(distance(both.directions, directions))
    # the second order is a thousand times more precise, but knows the span of the outer products only
    assert np.mean(np.array(errors["both"]) / np.array(errors["one"])) < 0.9


@given(unit_columns(), seeds())
def test_refinement_never_worsens_the_fit(directions, seed):
    generator = np.random.default_rng(seed)
    tensor = noise((len(directions),) * 3, generator)
    start = refined({3: tensor}, directions, most_steps=0)
    assert refined({3: tensor}, directions).residual <= start.residual
    assert start.steps == 0 and np.array_equal(start.directions, directions / np.linalg.norm(directions, axis=0))


@pytest.mark.parametrize("size", [1e-300, 1e-160, 1e150, 1e250])
def test_tensors_of_extreme_size(size):
    cube = tensor_of([1.0, 2.0, 3.0], np.eye(3), 3)
    for method in METHODS:
        weights, _ = decompose(size * cube, 3, method=method, rng=2)
        assert np.abs(weights / size - [3.0, 2.0, 1.0]).max() < 1e-6  # alternating least squares stops at √ε
    found = refined({3: size * cube}, np.eye(3) + 0.01)
    assert (
        found.residual <= 30 * EPSILON and np.abs(found.coefficients[3] / size - [1.0, 2.0, 3.0]).max() <= 30 * EPSILON
    )


def test_the_tensor_zero():
    zero = np.zeros((3, 3, 3))
    for method in METHODS:
        with pytest.raises(UnsupportedError, match=r"rank 2"):
            decompose(zero, 2, method=method, rng=0)
    found = refined({3: zero}, np.eye(3))
    assert found.residual == 0.0 and not np.any(found.coefficients[3])


def test_refuses_bad_input():
    cube = tensor_of([1.0, 1.0], np.eye(2), 3)
    with pytest.raises(InputError, match="matrices: found shape"):
        joint_diagonalisation(np.ones((2, 2)))
    with pytest.raises(InputError, match="not finite"):
        joint_diagonalisation(np.full((1, 2, 2), np.nan))
    with pytest.raises(InputError, match="start: found shape"):
        joint_diagonalisation(np.ones((1, 2, 2)), start=np.eye(3))
    with pytest.raises(InputError, match="singular"):
        joint_diagonalisation(np.ones((1, 2, 2)), start=np.ones((2, 2)))
    for projections in (1, True, 2.0):
        with pytest.raises(InputError, match="projections: found"):
            simultaneous_diagonalisation(cube, 2, projections=projections)
    with pytest.raises(InputError, match="an integer from 1 to 2"):
        simultaneous_diagonalisation(cube, 3)
    with pytest.raises(InputError, match="method: found"):
        decompose(cube, 2, method="magic")
    with pytest.raises(InputError, match="at least two axes"):
        alternating_least_squares(np.ones(3), 1)
    with pytest.raises(InputError, match="positive integer"):
        alternating_least_squares(cube, 0)
    with pytest.raises(InputError, match="starts: found 0"):
        alternating_least_squares(cube, 1, starts=0)
    with pytest.raises(InputError, match="directions: found shape"):
        refined({3: cube}, np.zeros((2, 1)))
    with pytest.raises(InputError, match="found none"):
        refined({}, np.eye(2))
    for tensors in ({5: np.ones((2,) * 5)}, {3: np.ones((3,) * 3)}):
        with pytest.raises(InputError, match="k = 1 to 4 is accepted"):
            refined(tensors, np.eye(2))
    with pytest.raises(InputError, match="not finite"):
        refined({3: np.full((2,) * 3, np.inf)}, np.eye(2))
    with pytest.raises(InputError, match="scales: found"):
        refined({3: cube}, np.eye(2), scales={3: 0.0})
    with pytest.raises(InputError, match=r"one of \[3\] is accepted"):
        refined({3: cube}, np.eye(2)).tensor(2)
