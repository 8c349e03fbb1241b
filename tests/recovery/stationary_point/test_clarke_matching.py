"""All data behind a two-layer ReLU network: networks of largest margin, whose kinks lie on samples, and wrong ones."""

import functools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.errors import UnsupportedError
from provable.max_margin.maximisation import maximise_margin
from provable.networks import Parameters, forward
from provable.observations import Observation
from provable.recovery.selection import recover as recover_by_any
from provable.recovery.stationary_point.arrangement import Arrangement
from provable.recovery.stationary_point.cell_moments import Atoms, CellMoments
from provable.recovery.stationary_point.clarke_matching import recover, supports
from provable.recovery.stationary_point.clarke_refinement import _System, refine
from provable.recovery.stationary_point.margin_search import FEASIBLE
from provable.recovery.stationary_point.only_solution import is_only_solution
from provable.stationarity.verification import verify_stationarity


@functools.cache
def largest_margin(dimension, count, seed):
    rng = np.random.default_rng(seed)
    points, labels = rng.standard_normal((count, dimension)), rng.choice([-1.0, 1.0], count)
    labels[:2] = 1.0, -1.0
    return maximise_margin(points, labels, rng=0)


def observed(net, **known):
    return Observation("stationary-point", net.architecture, net.parameters, **known)


FOUND = 1e-9
"""Errors of samples found: networks of largest margin are promised to be stationary to this, and kinks are as exact."""


def support(net):
    return net.multipliers > 1e-7


def errors(points, truth):
    """Distance of each true sample from the nearest found."""
    return np.min(np.linalg.norm(truth[:, None] - points[None], axis=2), axis=1)


def one_neuron_for_each(count, dimension, bias, rng, copies=2):
    """Samples with negative products, each seen by neurons of its own: no kink, all margins equal."""
    corners = np.eye(count) - 1.0 / count
    frame = np.linalg.qr(rng.standard_normal((dimension, dimension)))[0][:, :count]
    lengths = (3.0 if bias else 1.0) * rng.uniform(1.0, 1.2, count) / np.linalg.norm(corners, axis=1)
    points = lengths[:, None] * corners @ frame.T + 0.02 * rng.standard_normal((count, dimension))
    extended = np.column_stack([points, np.ones(count)]) if bias else points
    labels, norms = np.where(np.arange(count) % 2, 1.0, -1.0), np.linalg.norm(extended, axis=1)
    assert np.max((extended @ extended.T)[~np.eye(count, dtype=bool)]) < 0
    shares = rng.uniform(0.2, 1.0, (copies, count))
    outer = (np.sqrt(shares / shares.sum(axis=0) / norms) * labels).reshape(-1)
    rows = outer[:, None] * np.tile(labels[:, None] * extended / norms[:, None], (copies, 1))
    net = Architecture("each", (dimension,), (Linear(len(outer), bias=bias), ReLU(), Linear(1, bias=False)), "logistic")
    pieces = {"0/weight": rows[:, :dimension], "2/weight": outer[None]} | ({"0/bias": rows[:, -1]} if bias else {})
    return points, labels, Observation("stationary-point", net, Parameters(net, pieces))


@pytest.mark.parametrize("count, seed", [(6, 0), (6, 1), (6, 2)])
def test_on_a_line_all_samples_are_found(count, seed):
    net = largest_margin(1, count, seed)
    result = recover(observed(net), np.random.default_rng(0))
    assert result.status == "consistent"
    assert result.residual < 1e-12
    kept = support(net)
    assert len(result.points) == np.count_nonzero(kept)
    assert np.max(errors(result.points, net.points[kept])) < FOUND
    order, truth = np.argsort(result.points[:, 0]), np.argsort(net.points[kept, 0])
    np.testing.assert_array_equal(result.labels[order], net.labels[kept][truth])
    np.testing.assert_allclose(result.coefficients[order, 0], (net.multipliers * net.labels)[kept][truth], rtol=1e-7)


@pytest.mark.parametrize("dimension, count, seed", [(2, 6, 2), (2, 10, 3)])
def test_what_is_found_in_the_plane_is_a_kkt_point_whether_data_or_not(dimension, count, seed):
    net = largest_margin(dimension, count, seed)
    result = recover(observed(net), np.random.default_rng(0))
    assert result.status == "consistent"
    report = verify_stationarity(net.architecture, net.parameters, result.points, result.labels, kink_tolerance=FOUND)
    assert report.verified, report.explanation
    assert report.residual < FOUND
    if (
        len(result.points) != np.count_nonzero(support(net))
        or np.max(errors(result.points, net.points[support(net)])) > 1e-6
    ):
        assert result.reason.startswith("undetermined: ")


def test_samples_that_can_be_split_are_undetermined_unless_their_number_is_stated():
    points, _, observation = one_neuron_for_each(2, 2, True, np.random.default_rng(0))
    result = recover(observation, np.random.default_rng(0))
    assert np.max(errors(result.points, points)) < FOUND
    assert result.reason.startswith("undetermined: ")
    assert "each of 2 of them can be several of the same cell" in result.reason
    stated = Observation("stationary-point", observation.architecture, observation.parameters, batch_size=2)
    assert "can be several" not in recover(stated, np.random.default_rng(0)).reason
    line = recover(observed(largest_margin(1, 6, 0)), np.random.default_rng(0))
    assert "can be several" not in line.reason


def test_count_and_open_directions_are_said_where_neurons_are_few():
    net = largest_margin(3, 6, 0)
    result = recover(observed(net), np.random.default_rng(0))
    assert result.reason.startswith("undetermined: ")
    assert any(name.startswith("null-space:") for name in result.fibre)


@settings(max_examples=4, deadline=None)
@given(st.integers(0, 2**32 - 1), st.just(2), st.booleans())
def test_samples_seen_alone_are_found_by_matching_and_certified_by_exact_methods(seed, count, bias):
    points, labels, observation = one_neuron_for_each(count, 3, bias, np.random.default_rng(seed))
    for result in (recover(observation, np.random.default_rng(0)), recover_by_any(observation, rng=0)):
        assert result.status in ("consistent", "certified")
        found = result.points
        if not bias:
            assert "positive-scaling" in result.fibre
            found = found / np.linalg.norm(found, axis=1, keepdims=True)
            points = points / np.linalg.norm(points, axis=1, keepdims=True)
        assert np.max(errors(found, points)) < FOUND
        nearest = np.argmin(np.linalg.norm(found[:, None] - points[None], axis=2), axis=1)
        np.testing.assert_array_equal(result.labels, labels[nearest])
    assert result.status == "certified"


def test_a_zero_with_slopes_zero_and_one_that_is_no_training_set_is_rejected():
    # two samples, both neurons with a kink on one: other samples explain θ exactly without kinks, with unequal margins
    rng = np.random.default_rng(2)
    points, labels = rng.standard_normal((3, 8)) / np.sqrt(8), np.array([-1.0, 1.0, -1.0])
    net = maximise_margin(points, labels, rng=0)
    hard = recover_by_any(observed(net), method="moments", rng=0)
    assert hard.residual < 1e-12
    assert hard.status == "failed"
    assert "not those of one training" in hard.reason
    best = recover_by_any(observed(net), rng=0)
    assert best.method == "clarke-matching"
    assert best.status == "consistent"


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32 - 1))
def test_derivative_is_that_of_the_errors(seed):
    rng = np.random.default_rng(seed)
    net = largest_margin(2, 6, 2)
    arrangement = Arrangement.of(observed(net))
    atoms = Atoms(rng.standard_normal((4, 2)), rng.standard_normal(4), rng.uniform(size=(4, len(arrangement.signs))))
    system = _System(
        arrangement, np.sign(atoms.coefficients), rng.random(atoms.states.shape) < 0.5, np.array([[0, 0], [2, 1]])
    )
    at = system.start(atoms, 1.3)
    matrix, step = system.derivative(at), 1e-6
    for place in range(len(at)):
        moved = np.zeros(len(at))
        moved[place] = step
        quotient = (system.errors(at + moved) - system.errors(at - moved)) / (2 * step)
        # the central difference of rational functions: an error of step², and rounding divided by it
        np.testing.assert_allclose(matrix[:, place], quotient, atol=1e-8 * (1 + np.max(np.abs(quotient))))


def test_outputs_and_margins_are_those_of_the_network():
    net = largest_margin(2, 8, 5)
    arrangement = Arrangement.of(observed(net))
    points = np.random.default_rng(0).standard_normal((20, 2))
    direct = forward(net.architecture, net.parameters, points)[:, 0]
    np.testing.assert_allclose(arrangement.outputs(points @ arrangement.basis), direct, atol=1e-12)


def test_no_data_have_a_margin_beyond_what_the_network_reaches():
    net = largest_margin(1, 6, 0)
    arrangement = Arrangement.of(observed(net))
    program = CellMoments(arrangement, arrangement.patterns(100))
    assert program.infeasibility(1.0) <= FEASIBLE
    assert program.infeasibility(1.5) > 0.1
    assert program.vertex(1.5, np.ones((len(program.patterns), 2))) is None
    assert arrangement.patterns(2) is None


@pytest.mark.parametrize("dimension, count, seed", [(1, 6, 0), (1, 8, 3), (2, 6, 2), (2, 6, 3)])
def test_the_only_solution_is_every_vertex_and_others_are_told_from_it(dimension, count, seed):
    net, rng = largest_margin(dimension, count, seed), np.random.default_rng(0)
    arrangement = Arrangement.of(observed(net))
    program = CellMoments(arrangement, arrangement.patterns(100))
    solutions = [refine(arrangement, program.atoms(program.sparse_vertex(1.0, rng)), 1.0) for _ in range(6)]
    found = [one for one in solutions if one is not None]
    alone = [is_only_solution(program, one.atoms, 1.0) for one in found]
    assert len(set(alone)) == 1
    points = np.concatenate([one.atoms.points for one in found])
    different = max(np.max(errors(one.atoms.points, points)) for one in found) > 1e-6
    assert not (alone[0] and different)
    if dimension == 1:
        assert alone[0]
        assert np.max(errors(found[0].atoms.points @ arrangement.basis.T, net.points[support(net)])) < 1e-8


@pytest.mark.parametrize("margin", [0.9, 1.0, 1.2])
def test_the_margin_need_not_be_determined_even_on_a_line(margin):
    # two samples in every cell between knots, none on a kink: each margin near 1 has eight samples of its own
    points, labels = line_without_kinks()
    net = maximise_margin(points, labels, rng=0)
    arrangement = Arrangement.of(observed(net))
    program = CellMoments(arrangement, arrangement.patterns(100))
    rng = np.random.default_rng(0)
    refined = refine(arrangement, program.atoms(program.sparse_vertex(margin, rng)), margin)
    assert refined is not None
    assert refined.margin == pytest.approx(margin, rel=FOUND)
    assert refined.open_directions == 1
    found = refined.atoms.points @ arrangement.basis.T
    report = verify_stationarity(
        net.architecture, net.parameters, found, np.sign(refined.atoms.coefficients), kink_tolerance=FOUND
    )
    assert report.verified, report.explanation
    assert report.margin == pytest.approx(margin, rel=FOUND)
    assert len(found) == 8


def line_without_kinks():
    rng = np.random.default_rng(1)
    points, labels = rng.standard_normal((10, 1)), rng.choice([-1.0, 1.0], 10)
    return points, labels


def test_true_data_are_refined_to_themselves_from_nearby():
    net = largest_margin(1, 6, 2)
    kept = support(net)
    arrangement = Arrangement.of(observed(net))
    points = net.points[kept] @ arrangement.basis
    order = [int(group[0]) for group in arrangement.members]
    atoms = Atoms(points, (net.multipliers * net.labels)[kept] * (1 + 1e-4), net.clarke_weights[kept][:, order])
    refined = refine(arrangement, atoms, 1.0 + 1e-4)
    assert refined is not None
    assert refined.misfit < 1e-12
    np.testing.assert_allclose(refined.atoms.points, points, atol=1e-10)
    assert refined.margin == pytest.approx(1.0, abs=1e-10)


def test_splitting_and_permuting_neurons_changes_nothing():
    net = largest_margin(1, 6, 1)
    first = net.parameters
    order = np.random.default_rng(0).permutation(2 * len(first["0/weight"]))
    pieces = {
        key: np.concatenate([0.6 * array, 0.8 * array], axis=array.ndim - 1 if key[0] == "2" else 0)[
            (slice(None), order) if key[0] == "2" else order
        ]
        for key, array in first.items()
    }
    wider = Architecture("wider", (1,), (Linear(len(order)), ReLU(), Linear(1, bias=False)), "logistic")
    result = recover(Observation("stationary-point", wider, Parameters(wider, pieces)), np.random.default_rng(0))
    assert result.status == "consistent"
    assert np.max(errors(result.points, net.points[support(net)])) < FOUND


@pytest.mark.parametrize("factor", [1e-3, 30.0])
def test_the_size_of_the_network_does_not_matter(factor):
    net = largest_margin(1, 6, 2)
    scaled = Parameters(net.architecture, {key: factor * array for key, array in net.parameters.items()})
    result = recover(Observation("stationary-point", net.architecture, scaled), np.random.default_rng(0))
    assert result.status == "consistent"
    assert len(result.points) == np.count_nonzero(support(net))
    assert np.max(errors(result.points, net.points[support(net)])) < FOUND
    assert f"margin {factor**2:.6g}," in result.reason


@pytest.mark.parametrize("size", [1e-4, 1e-2])
def test_a_point_near_a_stationary_one_is_not_explained(size):
    net = largest_margin(1, 6, 0)
    rng = np.random.default_rng(0)
    pieces = dict(net.parameters)
    # neurons turned and lengthened, but balanced
    moved = np.column_stack([pieces["0/weight"], pieces["0/bias"]])
    moved = moved + size * rng.standard_normal(moved.shape)
    pieces |= {"0/weight": moved[:, :1], "0/bias": moved[:, 1]}
    pieces["2/weight"] = np.sign(pieces["2/weight"]) * np.linalg.norm(moved, axis=1)
    result = recover(Observation("stationary-point", net.architecture, Parameters(net.architecture, pieces)), rng)
    if result.status == "consistent":  # with this few neurons other data may be behind a point nearby
        report = verify_stationarity(
            net.architecture, Parameters(net.architecture, pieces), result.points, result.labels, kink_tolerance=FOUND
        )
        assert report.verified, report.explanation


@pytest.mark.parametrize("points", [[[0.0], [-1.5]], [[1.5], [-2.0], [-0.25]]])
def test_a_constant_network_shows_nothing_of_its_samples(points):
    # labels are all the same: a bias alone has the largest margin, with weights that are zero or rounding
    net = maximise_margin(np.array(points), np.ones(len(points)), rng=0)
    result = recover(observed(net), np.random.default_rng(0))
    assert result.status == "failed" and "sees no direction" in result.reason
    by_any = recover_by_any(observed(net), rng=0)
    assert "splitting" in by_any.fibre
    assert by_any.status in ("failed", "partial") or by_any.undetermined


def test_isolated_data_that_need_not_be_the_only_ones_are_undetermined():
    # the training data have three kinks; three samples without kinks explain the same three neurons, and are isolated
    points = np.array([[1.1858, -0.7826, -1.7254], [0.7645, 0.2881, -0.1992], [-0.8555, 0.2999, 0.0309]])
    net = maximise_margin(points, np.array([1.0, -1.0, 1.0]), bias=False, rng=0)
    found = [recover_by_any(observed(net, batch_size=3), rng=seed) for seed in range(3)]
    assert any(result.status == "certified" for result in found)
    assert all(result.status == "failed" or result.undetermined for result in found)
    sizes = np.linalg.norm(points, axis=1, keepdims=True)
    rays = [result.points / np.linalg.norm(result.points, axis=1, keepdims=True) for result in found]
    assert any(np.max(errors(directions, points / sizes)) > 0.1 for directions in rays)


def test_a_multiplier_at_the_end_of_its_interval_can_move_inward_and_that_is_said():
    # two samples at the ends of a flat piece: three on it explain the parameters as well, none of their multipliers inside
    points = np.random.default_rng(0).standard_normal((5, 1))
    net = maximise_margin(points, np.where(np.arange(5) % 2, 1.0, -1.0), rng=0)
    result = recover(observed(net, batch_size=5), np.random.default_rng(0))
    assert result.status == "consistent" and result.undetermined
    assert np.max(errors(result.points, net.points[support(net)])) > 0.1 or len(result.points) > 4
    assert any(name.startswith("null-space:") for name in result.fibre)


def test_other_margins_have_other_data_on_a_line_and_margin_one_is_preferred():
    net = largest_margin(1, 10, 3)
    result = recover(observed(net), np.random.default_rng(0))
    assert "all have the margin 1," in result.reason
    assert np.max(errors(result.points, net.points[support(net)])) < FOUND


def test_fewer_samples_than_explain_the_point_are_not_accepted():
    net = largest_margin(1, 6, 2)
    result = recover(observed(net, batch_size=3), np.random.default_rng(0))
    assert result.status == "failed"
    assert "the fewest samples found are" in result.reason


def test_labels_that_contradict_the_samples_are_said():
    net = largest_margin(1, 6, 2)
    result = recover(observed(net, labels=np.ones(6)), np.random.default_rng(0))
    assert result.status == "failed" and "none with the labels that the observation states" in result.reason


def test_what_it_does_not_take():
    net = largest_margin(1, 6, 0)
    other = Observation("gradient", net.architecture, net.parameters, dict(net.parameters))
    assert "kind gradient" in supports(other)
    unbalanced = Parameters(net.architecture, dict(net.parameters) | {"2/weight": 2 * net.parameters["2/weight"]})
    assert "at no stationary point" in supports(Observation("stationary-point", net.architecture, unbalanced))
    nothing = Parameters(net.architecture, {key: 0 * array for key, array in net.parameters.items()})
    assert "every parameter is zero" in supports(Observation("stationary-point", net.architecture, nothing))
    for layers, loss, message in (
        ((Linear(2), Tanh(), Linear(1, bias=False)), "logistic", "relu between them"),
        ((Linear(2), ReLU(), Linear(1)), "logistic", "not homogeneous"),
        ((Linear(2), ReLU(), Linear(2, bias=False)), "cross_entropy", "one output"),
        ((Linear(2), ReLU(), Linear(1, bias=False)), "squared", "common margin under logistic"),
    ):
        architecture = Architecture("other", (1,), layers, loss)
        theta = Parameters.from_vector(architecture, np.ones(architecture.parameter_count))
        observation = Observation("stationary-point", architecture, theta)
        assert message in supports(observation)
        with pytest.raises(UnsupportedError, match="method clarke-matching"):
            recover(observation, np.random.default_rng(0))
