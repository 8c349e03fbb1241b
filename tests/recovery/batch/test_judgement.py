"""The verdict on a batch: what explains the gradient is accepted and refined, what does not is rejected."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Activation, Architecture, LeakyReLU, Linear, ReLU, Softplus, Tanh
from provable.arithmetic import EPSILON, Float
from provable.measures import Measure
from provable.networks import Parameters, forward, losses
from provable.observations import Observation
from provable.recovery import Recovery
from provable.recovery.batch.chain import FullyConnected, numerical_rank
from provable.recovery.batch.judgement import judge
from provable.recovery.batch.refinement import fitted_coefficients, row_space

DIMENSION = 9


def network(
    activation: Activation, outputs: int, *, bias: bool, loss: str = "squared", hidden: tuple[int, ...] = (24,)
) -> Architecture:
    layers: list[object] = []
    for width in hidden:
        layers += [Linear(width, bias=bias), activation]
    return Architecture("net", (DIMENSION,), (*layers, Linear(outputs, bias=bias)), loss)  # type: ignore[arg-type]


def batch(
    architecture: Architecture, count: int, seed: int, **options: object
) -> tuple[Observation, Float, Float, np.ndarray]:
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng, scale="standard_normal")
    points = rng.standard_normal((count, DIMENSION)) / 3
    outputs = architecture.output_size
    labels: np.ndarray
    if architecture.loss == "cross_entropy":
        labels = rng.integers(outputs, size=count)
    elif architecture.loss == "logistic":
        labels = rng.choice([-1, 1], size=count)
    else:
        labels = rng.standard_normal((count, outputs))
    observation = Observation.from_data(architecture, parameters, points, labels, **options)  # type: ignore[arg-type]
    coefficients = losses.residual(architecture.loss, forward(architecture, parameters, points), labels)
    if observation.reduction == "mean":
        coefficients = coefficients / count
    return observation, points, coefficients, labels


def judged(observation: Observation, points: Float, coefficients: Float | None = None, **options: object) -> Recovery:
    rng = np.random.default_rng(7)
    return judge(observation, points, coefficients, method="test", rng=rng, **options)  # type: ignore[arg-type]


@settings(max_examples=40)
@given(
    activation=st.sampled_from([Tanh(), Softplus(), ReLU(), LeakyReLU(0.1)]),
    loss=st.sampled_from(["squared", "cross_entropy", "logistic"]),
    reduction=st.sampled_from(["sum", "mean"]),
    bias=st.booleans(),
    count=st.integers(1, 4),
    seed=st.integers(0, 2**32),
)
def test_the_batch_itself_is_accepted_with_its_labels(
    activation: Activation, loss: str, reduction: str, bias: bool, count: int, seed: int
) -> None:
    architecture = network(activation, 1 if loss == "logistic" else 3, bias=bias, loss=loss)
    observation, points, coefficients, labels = batch(architecture, count, seed, reduction=reduction)
    result = judged(observation, points, coefficients)
    assert result.status == "consistent", result.reason
    assert result.labels is not None
    matching = Measure(points, coefficients).matching(result.measure, fibre=result.fibre)
    order = matching.permutation
    found = result.labels[order].reshape(labels.shape)
    if "positive-scaling" not in result.fibre and "joint-sign" not in result.fibre:
        # Labels of a squared loss are f - c, as exact as the refined coefficients.
        np.testing.assert_allclose(found, labels, rtol=0, atol=1e4 * EPSILON * (1 + np.max(np.abs(labels))))


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("hidden", [(24,), (20, 16)])
@settings(max_examples=15)
@given(count=st.integers(1, 4), seed=st.integers(0, 2**32))
def test_points_nearby_are_refined_to_rounding(bias: bool, hidden: tuple[int, ...], count: int, seed: int) -> None:
    observation, points, _, _ = batch(network(Softplus(), 2, bias=bias, hidden=hidden), count, seed)
    noise = np.random.default_rng(seed).standard_normal(points.shape)
    result = judged(observation, points + 1e-6 * noise)
    assert result.status == "consistent", result.reason
    # The error is rounding times the condition of the problem, which the smallest singular value of the gradients bounds
    # from below; 1e-6 to begin with, so a refinement that does nothing cannot pass.
    assert np.max(np.abs(result.points - points)) < 1e-9


@settings(max_examples=30)
@given(size=st.floats(-8, -1), seed=st.integers(0, 2**32), single=st.booleans())
def test_another_gradient_is_rejected(size: float, seed: int, single: bool) -> None:
    observation, points, _, _ = batch(network(Tanh(), 1, bias=True), 3, seed)
    rng = np.random.default_rng(seed)
    pieces = {name: array.copy() for name, array in observation.vector.items()}
    for name in ["0/weight"] if single else list(pieces):
        pieces[name] = pieces[name] + 10**size * np.linalg.norm(pieces[name]) * rng.standard_normal(pieces[name].shape)
    changed = dataclasses.replace(observation, vector=pieces)
    result = judged(changed, points)
    assert result.status == "failed"
    assert "residual" in result.reason
    partial = judged(changed, points[:2], incomplete=True)
    assert partial.status == "partial"


def test_known_labels_are_compared() -> None:
    architecture = network(Tanh(), 3, bias=True, loss="cross_entropy")
    observation, points, coefficients, labels = batch(architecture, 3, 5, labels_known=True)
    assert judged(observation, points, coefficients).status == "consistent"
    wrong = dataclasses.replace(observation, labels=(labels + 1) % 3)
    result = judged(wrong, points, coefficients)
    assert result.status == "failed"
    assert "labels that the observation states" in result.reason


def test_merged_samples_have_no_label() -> None:
    architecture = network(Tanh(), 3, bias=True, loss="cross_entropy")
    rng = np.random.default_rng(3)
    parameters = Parameters.random(architecture, rng=rng)
    points = np.repeat(rng.standard_normal((1, DIMENSION)), 2, axis=0)
    observation = Observation.from_data(architecture, parameters, points, np.array([0, 1]))
    result = judged(observation, points[:1])
    assert result.status == "partial"
    assert result.labels is None
    assert "no labels explain" in result.reason


@pytest.mark.parametrize(
    ("activation", "bias", "unit_norm", "fibre"),
    [
        (Tanh(), False, None, ("permutation", "joint-sign")),
        (Tanh(), True, None, ("permutation",)),
        (ReLU(), False, None, ("permutation", "positive-scaling")),
        (ReLU(), False, True, ("permutation",)),
        (Softplus(), False, None, ("permutation",)),
    ],
)
def test_the_fibre_is_named(activation: Activation, bias: bool, unit_norm: bool | None, fibre: tuple[str, ...]) -> None:
    observation, points, _, labels = batch(network(activation, 1, bias=bias), 3, 11)
    if unit_norm:
        points = points / np.linalg.norm(points, axis=1, keepdims=True)
        observation = Observation.from_data(observation.architecture, observation.parameters, points, labels)
        observation = dataclasses.replace(observation, unit_norm=True)
    result = judged(observation, points)
    assert result.status == "consistent"
    assert result.fibre == fibre


@given(seed=st.integers(0, 2**32))
def test_single_precision_widens_the_tolerance_and_is_said(seed: int) -> None:
    observation, points, _, _ = batch(network(Softplus(), 2, bias=True), 3, seed)
    single = {name: array.astype(np.float32) for name, array in observation.vector.items()}
    result = judged(dataclasses.replace(observation, vector=single), points)
    assert result.status == "consistent"
    assert "rounded to float32" in result.reason
    assert EPSILON < result.residual < 1e-5


@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    rank=st.integers(0, 4),
    seed=st.integers(0, 2**32),
    exponent=st.integers(-300, 300),
    spread=st.floats(0, 8),
)
def test_ranks_are_counted_down_to_rounding(
    rows: int, columns: int, rank: int, seed: int, exponent: int, spread: float
) -> None:
    rank = min(rank, rows, columns)
    rng = np.random.default_rng(seed)
    left = np.linalg.qr(rng.standard_normal((rows, rows)))[0][:, :rank]
    right = np.linalg.qr(rng.standard_normal((columns, columns)))[0][:, :rank]
    matrix = (left * np.logspace(0, -spread, rank)) @ right.T if rank else np.zeros((rows, columns))
    assert numerical_rank(matrix * 10.0**exponent) == rank


@settings(max_examples=20)
@given(outputs=st.integers(1, 4), count=st.integers(1, 4), bias=st.booleans(), seed=st.integers(0, 2**32))
def test_coefficients_of_known_points(outputs: int, count: int, bias: bool, seed: int) -> None:
    observation, points, coefficients, _ = batch(network(Tanh(), outputs, bias=bias), count, seed)
    found = fitted_coefficients(FullyConnected.of(observation), points)
    # 30·24·ε = 1.6e-13 times a condition of 6e3, which the draws stay below; from the first weights alone, of 6e4.
    assert np.linalg.norm(found - coefficients) <= 1e-9 * np.linalg.norm(coefficients)
    first = {"0/weight": observation.vector["0/weight"]}
    alone = fitted_coefficients(FullyConnected.of(dataclasses.replace(observation, vector=first)), points)
    assert np.linalg.norm(alone - coefficients) <= 1e-8 * np.linalg.norm(coefficients)


def test_the_row_space_needs_all_samples() -> None:
    observation, points, _, _ = batch(network(Tanh(), 1, bias=False), 3, 2)
    chain = FullyConnected.of(observation)
    basis = row_space(chain, 3)
    assert basis is not None
    # Below 30·24·ε = 1.6e-13, with condition 1: the samples of this seed are well apart.
    assert np.linalg.norm(points - points @ basis @ basis.T) < 1e-13 * np.linalg.norm(points)
    assert row_space(chain, 4) is None


@given(seed=st.integers(0, 2**32), exponent=st.integers(-40, -14))
def test_an_atom_below_rounding_is_not_reported(seed: int, exponent: int) -> None:
    observation, points, coefficients, _ = batch(network(Softplus(), 2, bias=True), 3, seed)
    rng = np.random.default_rng(seed)
    invented = rng.standard_normal((1, DIMENSION))
    more = np.concatenate([coefficients, 10.0**exponent * np.ones((1, 2))])
    result = judged(observation, np.concatenate([points, invented]), more)
    assert len(result.points) == 3
    assert result.status == "consistent"
    assert "below its rounding" in result.reason


def test_fewer_atoms_than_samples_are_said() -> None:
    architecture = network(Tanh(), 3, bias=True)
    rng = np.random.default_rng(3)
    parameters = Parameters.random(architecture, rng=rng)
    points = np.repeat(rng.standard_normal((2, DIMENSION)), [1, 2], axis=0)
    observation = Observation.from_data(architecture, parameters, points, rng.standard_normal((3, 3)))
    result = judged(observation, points[:2])
    assert result.status == "consistent"
    assert "2 atoms explain the gradient, and the batch has 3 samples" in result.reason


def test_a_batch_that_one_sample_explains_is_partial() -> None:
    """Two samples with the same active neurons: one output sees their weighted mean, which is no sample."""
    architecture = network(ReLU(), 1, bias=True)
    rng = np.random.default_rng(3)
    parameters = Parameters.random(architecture, rng=rng)
    centre, step = rng.standard_normal((2, DIMENSION))
    points = np.array([centre, centre + 1e-3 * step])
    labels = forward(architecture, parameters, points) - np.array([[1.0], [2.0]])
    observation = Observation.from_data(architecture, parameters, points, labels)
    mean = (points[:1] + 2 * points[1:]) / 3
    assert (result := judged(observation, mean)).status == "partial", result.reason
    unknown = judged(dataclasses.replace(observation, batch_size=None), mean)
    assert "one atom can stand for several" in unknown.reason


def test_more_atoms_than_are_stated_contradict_the_observation() -> None:
    observation, points, _, _ = batch(network(Tanh(), 2, bias=True), 3, 4)
    result = judged(dataclasses.replace(observation, batch_size=2), points)
    assert result.status == "failed"
    assert "more than the 2 samples" in result.reason


@pytest.mark.parametrize("single", [False, True])
def test_open_directions_are_counted(single: bool) -> None:
    """One neuron sees one direction of each of two samples, and the sum of their multiples."""
    architecture = Architecture("neuron", (3,), (Linear(1), Softplus(), Linear(20), Softplus(), Linear(2)), "squared")
    rng = np.random.default_rng(8)
    parameters = Parameters.random(architecture, rng=rng)
    points = rng.standard_normal((2, 3))
    observation = Observation.from_data(architecture, parameters, points, rng.standard_normal((2, 2)))
    if single:
        rounded = {name: array.astype(np.float32) for name, array in observation.vector.items()}
        observation = dataclasses.replace(observation, vector=rounded)
    result = judged(observation, points)
    # of 4 directions orthogonal to the neuron's weight, the gradient of that weight determines 2
    assert "null-space:2" in result.fibre
    assert "2 directions are open" in result.reason
