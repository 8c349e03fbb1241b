"""Other data sets with the same parameters: exact on rationals, far away, and refused with a reason where there are none."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON, RATIONAL, to_float
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, gradient_jacobian
from provable.stationarity.activation_cells import CellMeasure, activation_cells
from provable.stationarity.alternatives import alternative_data
from provable.stationarity.data_distances import data_distances, diameter
from provable.theorems.strategies.stationary_points import stationary_points

POINTS = stationary_points(depths=(2, 1, 3, 4))


def alternatives_of(point, **options):
    return alternative_data(
        point.architecture, point.parameters, point.points, point.labels, point.weights, **{"rng": 0} | options
    )


@given(POINTS)
def test_every_alternative_is_exact_on_rationals(point):
    exact = RATIONAL.convert(point)
    result = alternatives_of(exact)
    assert result.residual == 0
    for other in result.found:
        # forward and embed know nothing of cells: they take the slopes that the samples have
        margins = other.labels * forward(exact.architecture, exact.parameters, other.points)[:, 0]
        assert np.all(margins == other.margins_before) and np.all(margins == other.margins)
        measure = Measure(other.points, other.multipliers * other.labels)
        assert np.all(embed(exact.architecture, exact.parameters, measure).vector() == exact.parameters.vector())
        assert other.in_cells and other.change == 0
        assert all(multiplier >= 0 for multiplier in other.multipliers)
        assert sum(other.multipliers) == sum(exact.weights)


@given(POINTS)
def test_floats_agree_up_to_rounding(point):
    result = alternatives_of(point)
    depth = 1 + len(point.architecture.layers) // 2
    weight = point.parameters["0/weight"]
    widest = max(shape[0] for shape in point.architecture.parameter_shapes.values())
    for other in result.found:
        # sums over samples and units, of terms that go through one product for each layer
        operations = len(other.points) + depth * (weight.shape[1] + widest)
        assert other.change <= 30 * operations * other.rounding
        assert other.in_cells


@given(stationary_points(depths=(2, 3)))
def test_sizes_of_tangents_are_their_norms(point):
    cells = activation_cells(point.architecture, point.parameters, point.points)
    coefficients = (point.weights * point.labels)[:, None]
    found = cells.tangent_sizes(cells.measure(coefficients))
    for index, size in enumerate(found):
        alone = CellMeasure(point.points[index : index + 1], coefficients[index : index + 1], np.array([index]))
        wanted = np.linalg.norm(cells.embedding(alone))
        assert abs(size - wanted) <= 30 * 8 * EPSILON * wanted


@given(POINTS, st.sampled_from((None, 1.0, 1e3)))
def test_what_the_first_layer_does_not_see_reaches_any_distance(point, distance):
    result = alternatives_of(point, distance=distance)
    weight = point.parameters["0/weight"]
    free = weight.shape[1] - np.linalg.matrix_rank(weight)
    assert ("pairs" in [other.name for other in result.found]) == (free > 0)
    if distance is None:
        assert result.distance == (result.diameter or np.linalg.norm(point.points, axis=1).max() or 1.0)
    for other in result.found:
        if other.name == "pairs":
            assert other.distances.separation >= result.distance
            assert other.fibre == f"null-space:{free}"
        if other.name == "exchange":
            assert len(other.points) == len(point.points)
            assert np.array_equal(other.multipliers, point.weights)
            moved = np.any(other.points != point.points, axis=1)
            assert np.any(moved)
            assert np.linalg.norm(other.points - point.points, axis=1)[moved].min() >= result.distance


@given(stationary_points(depths=(2, 3)))
def test_the_exchanges_are_counted_by_the_ranks(point):
    exact = RATIONAL.convert(point)
    result = alternatives_of(exact)
    cells = activation_cells(exact.architecture, exact.parameters, exact.points)
    sensitivities = cells.sensitivities((exact.weights * exact.labels)[:, None])
    ranks = [np.linalg.matrix_rank(to_float(matrix)) for matrix in (sensitivities, exact.parameters["0/weight"])]
    assert result.invisible.dimension == (len(exact.points) - ranks[0]) * (exact.points.shape[1] - ranks[1])
    # the gradient of the first layer is Δᵀ X
    weights = (sensitivities.T @ exact.points).reshape(-1)
    assert np.all(weights == exact.parameters["0/weight"].reshape(-1))
    # an oracle that knows no ranks: the derivative of the embedding along such a shift vanishes
    if result.invisible.dimension:
        shift = np.outer(result.invisible.exchanges[0], result.invisible.directions[0])
        squared = dataclasses.replace(exact.architecture, loss="squared")
        rate = gradient_jacobian(
            squared,
            Parameters(squared, dict(exact.parameters)),
            exact.points,
            # ∂ℓ/∂f = f - y is the coefficient, so that the gradient is the embedding; the outputs do not move
            forward(exact.architecture, exact.parameters, exact.points) - (exact.weights * exact.labels)[:, None],
        ).push_forward(shift[None])
        assert not np.any(rate != 0)


@given(stationary_points(depths=(2,)))
def test_one_sample_moved_alone_is_seen(point):
    exact = RATIONAL.convert(point)
    result = alternatives_of(exact)
    assume(len(result.invisible.directions) and exact.weights[0] != 0)
    moved = exact.points.copy()
    moved[0] = moved[0] + result.invisible.directions[0]
    measure = Measure(moved, exact.weights * exact.labels)
    change = embed(exact.architecture, exact.parameters, measure).vector() - exact.parameters.vector()
    assert np.any(change != 0)


def small_network(weight, output, bias=None):
    layers = (Linear(len(weight), bias=bias is not None), ReLU(), Linear(1, bias=False))
    architecture = Architecture("small", (len(weight[0]),), layers, "logistic")
    arrays = {"0/weight": np.array(weight, dtype=float), "2/weight": np.array([output], dtype=float)}
    if bias is not None:
        arrays["0/bias"] = np.array(bias, dtype=float)
    return architecture, Parameters(architecture, arrays)


def test_a_bounded_piece_of_a_cell_can_be_alone():
    """d = 1: between knots the output is strictly monotonous, so a support vector can go nowhere."""
    architecture, parameters = small_network([[1.0], [-1.0]], [1.0, 0.5], bias=[1.0, 1.0])
    result = alternative_data(architecture, parameters, [[0.25]], [1.0], [1.0], rng=0)
    assert result.found == ()
    assert "alone" in result.refused["splitting"] and "full rank 1" in result.refused["pairs"]
    assert result.distance == 0.25  # of one sample: its length


def test_a_bounded_piece_of_a_cell_splits_as_far_as_it_reaches():
    """The triangle z > 0, sum below 3, where f = z_1 + z_2 + z_3: on its margin it is the simplex z_1 + z_2 + z_3 = 3/2."""
    architecture, parameters = small_network(np.eye(3), [1.0, 1.0, 1.0])
    for exact in (False, True):
        given_ = (parameters, np.full((1, 3), 0.5), np.ones(1), np.ones(1))
        net, *data = RATIONAL.convert(given_) if exact else given_
        other = alternative_data(architecture, net, *data, rng=0).named("splitting")
        assert "along a segment" in other.claim and other.in_cells
        # the simplex has edges of length 3/√2; half of the way to the boundary is gone on both sides
        assert 0 < other.distances.hausdorff <= 0.5 * 1.5 / np.sqrt(2) * 1.0001
        assert other.change <= 1e-15


def test_a_cell_with_one_end_splits_without_bound():
    """z_1 > 0 and z_2 < 0 with f = z_1: the ray against z_2 keeps the margin, and the other end is at z_2 = 0."""
    architecture, parameters = small_network(np.eye(2), [1.0, 1.0])
    result = alternative_data(architecture, parameters, [[1.0, -1.0]], [1.0], [1.0], distance=100.0, rng=0)
    other = result.named("splitting")
    assert "along a ray" in other.claim
    assert other.distances.hausdorff >= 100
    assert other.distances.separation <= 1
    assert np.array_equal(np.sort(other.points[:, 1]), [-101.0, -0.5])
    assert np.allclose(other.points[:, 0], 1, rtol=4 * EPSILON)


@given(st.integers(0, 2**32 - 1), st.sampled_from((0.0, 0.25, 1.0)))
def test_kinks_stay_with_any_clarke_weight(seed, weight):
    """A network with a sample on a hyperplane: the alternative keeps it there, and its tangents with the given slope."""
    rng = np.random.default_rng(seed)
    numbers = rng.integers(-3, 4, size=(4, 3)).astype(float)
    numbers[0] = (2.0, 1.0, 0.0)
    architecture, parameters = small_network(numbers, rng.integers(1, 4, size=4).astype(float))
    points = np.array([[1.0, -2.0, 1.0], [1.0, 1.0, 1.0]])
    slopes = np.full((2, 4), weight)
    exact = RATIONAL.convert((parameters, points, slopes))
    cells = activation_cells(architecture, exact[0], exact[1], slopes={"1": exact[2]})
    labels = np.where(to_float(cells.outputs(cells.measure(exact[1][:, :1])))[:, 0] > 0, 1.0, 0.0)
    assume(np.all(labels == 1))
    result = alternative_data(
        architecture, exact[0], exact[1], labels, RATIONAL.convert(np.ones(2)), slopes={"1": exact[2]}, rng=seed
    )
    assert cells.kinks["1"][0, 0]
    for other in result.found:
        at_kink = other.points @ exact[0]["0/weight"][0] == 0
        assert np.array_equal(at_kink.astype(bool), to_float(other.slopes["1"])[:, 0] == weight) or weight == 1
        assert other.change == 0 and other.in_cells


@given(st.integers(0, 2**32 - 1))
def test_a_step_to_the_boundary_stays_and_one_beyond_leaves(seed):
    rng = np.random.default_rng(seed)
    architecture, parameters = small_network(rng.integers(-3, 4, size=(3, 2)), rng.integers(1, 4, size=3))
    parameters, points, direction = RATIONAL.convert(
        (parameters, rng.integers(-3, 4, size=(1, 2)).astype(float), rng.integers(-3, 4, size=2).astype(float))
    )
    cells = activation_cells(architecture, parameters, points)
    cell = cells.cell(0)
    assume(not np.any(cell.rows[cell.kinks] @ direction != 0))
    for sign, step in zip((1, -1), cell.steps(direction), strict=True):
        for factor, inside in ((1, True), (2, step is None)):
            length = (1000 if step is None else step) * factor * sign
            moved = cells.measure(points[:, :1])
            moved = type(moved)(points + length * direction, moved.coefficients, moved.origin)
            assert cells.contains(moved) == inside


def test_samples_without_multipliers_leave_no_trace():
    architecture, parameters = small_network(np.eye(2, 3), [1.0, -1.0])
    result = alternative_data(architecture, parameters, np.ones((2, 3)), [1.0, -1.0], [0.0, 0.0], rng=0)
    assert [other.name for other in result.found] == ["exchange", "pairs"]
    assert set(result.refused) == {"splitting", "rearrangement", "merging"}
    assert all("leave no trace" in reason for reason in result.refused.values())


def test_the_residual_of_what_was_given_is_said():
    architecture, parameters = small_network([[3.0, 4.0]], [5.0])
    # θ = 1/5 times the gradient at (3, 4): w = λ v x and v = λ w·x
    result = alternative_data(architecture, parameters, [[3.0, 4.0]], [1.0], [0.2], rng=0)
    assert result.residual <= 4 * EPSILON
    result = alternative_data(architecture, parameters, [[3.0, 4.0]], [1.0], [0.1], rng=0)
    assert abs(result.residual - 0.5) <= 4 * EPSILON
    assert all(other.change <= 30 * EPSILON for other in result.found)


def test_distances_by_hand():
    found = data_distances(np.array([[0.0, 0.0], [3.0, 4.0]]), np.array([[0.0, 1.0], [0.0, 0.0], [30.0, 40.0]]))
    assert (found.separation, found.hausdorff, found.assignment) == (0.0, 45.0, np.hypot(3, 3) / 2)
    assert diameter(np.array([[0.0, 0.0], [3.0, 4.0], [0.0, 1.0]])) == 5.0
    assert diameter(np.zeros((1, 3))) == 0.0


@settings(max_examples=10)
@given(stationary_points(depths=(2,)), st.integers(0, 5))
def test_the_same_seed_gives_the_same_data(point, seed):
    first, second = alternatives_of(point, rng=seed), alternatives_of(point, rng=seed)
    for one, other in zip(first.found, second.found, strict=True):
        assert np.array_equal(one.points, other.points)


NETWORK = small_network(np.eye(2), [1.0, -1.0])


@pytest.mark.parametrize(
    ("points", "labels", "multipliers", "message"),
    [
        ([[1.0, 0.0]], [-1.0], [1.0], "labels: sample 0 has a multiplier and the margin -1"),
        ([[1.0, 0.0]], [0.5], [1.0], "labels: found 0.5"),
        ([[1.0, 0.0]], [1.0], [-0.25], "multipliers: found -0.25"),
        ([[1.0, 0.0]], [1.0, 1.0], [1.0], r"labels: found shape \(2,\)"),
        ([[1.0, 0.0, 1.0]], [1.0], [1.0], r"points: found shape \(1, 3\)"),
        (np.zeros((0, 2)), [], [], "points: found none"),
        ([[np.nan, 0.0]], [1.0], [1.0], "points: found a number that is not finite"),
    ],
)
def test_bad_data_are_refused_by_name(points, labels, multipliers, message):
    with pytest.raises(InputError, match=message):
        alternative_data(*NETWORK, points, labels, multipliers)


def test_other_bad_input_is_refused_by_name():
    data = ([[1.0, 0.0]], [1.0], [1.0])
    with pytest.raises(InputError, match="distance: found -1"):
        alternative_data(*NETWORK, *data, distance=-1)
    with pytest.raises(InputError, match="slopes: found the layer '0'"):
        alternative_data(*NETWORK, *data, slopes={"0": np.zeros((1, 2))})
    with pytest.raises(InputError, match=r"slopes 1: found 1\.5 at a kink"):
        alternative_data(*NETWORK, *data, slopes={"1": np.full((1, 2), 1.5)})
    with pytest.raises(InputError, match=r"slopes 1: found shape \(1, 3\)"):
        alternative_data(*NETWORK, *data, slopes={"1": np.zeros((1, 3))})
    with pytest.raises(InputError, match="points: found float64 numbers with rational parameters"):
        alternative_data(NETWORK[0], RATIONAL.convert(NETWORK[1]), *data)
    smooth = Architecture("smooth", (2,), (Linear(2), Tanh(), Linear(1)), "logistic")
    with pytest.raises(UnsupportedError, match=r"layer 1 \(tanh\)"):
        alternative_data(smooth, Parameters.random(smooth, rng=0), *data)
    two = Architecture("two outputs", (2,), (Linear(2), ReLU(), Linear(2)), "squared")
    with pytest.raises(InputError, match="has 2 outputs"):
        alternative_data(two, Parameters.random(two, rng=0), *data)
    with pytest.raises(InputError, match="exchange: no such alternative was constructed"):
        alternative_data(*NETWORK, *data).named("exchange")
