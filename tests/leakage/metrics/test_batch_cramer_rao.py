"""The Cramér-Rao bound of a batch: an inverse information matrix, with the invariances of the gradient."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.architectures.layers import Softplus
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.leakage.metrics import Instance, batch_cramer_rao, cramer_rao
from provable.measures import Measure
from provable.networks import Parameters, forward, losses
from provable.networks.embedding_derivative import embedding_jacobian

seeds = st.integers(0, 2**32 - 1)


def chain(inputs, hidden, activation=None, bias=False, outputs=1):
    return Architecture(
        "chain", (inputs,), (Linear(hidden, bias), activation or Tanh(), Linear(outputs, bias)), "squared"
    )


def problem(network, count, seed, norm=None):
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(network, rng=rng, scale="standard_normal")
    points = rng.standard_normal((count, network.input_size))
    if norm is not None:
        points *= norm / np.linalg.norm(points, axis=1, keepdims=True)
    coefficients = rng.choice([-1.0, 1.0], (count, network.output_size)) * rng.uniform(0.5, 1.5, (count, 1))
    return parameters, Measure(points, coefficients)


def slack(bound):
    """Relative errors of bounds: inverses of eigenvalues lose ε times the order times their condition number."""
    return 1 + 30 * bound.unknowns * EPSILON * bound.condition_number**2


@given(seed=seeds, outputs=st.integers(1, 2), bias=st.booleans(), pieces=st.sampled_from([None, ["2/weight"]]))
def test_it_is_the_inverse_of_the_information_matrix(seed, outputs, bias, pieces):
    network = chain(3, 40, bias=bias, outputs=outputs)
    parameters, measure = problem(network, 2, seed)
    bound = batch_cramer_rao(network, parameters, measure, 0.5, pieces=pieces)
    assert bound.unknowns == 2 * (3 + outputs) and bound.nullity == 0
    jacobian = embedding_jacobian(network, parameters, measure, pieces)
    assert bound.equations == len(jacobian)
    # an oracle by orthogonal decomposition, which does not square the condition number
    triangle = np.linalg.qr(jacobian, mode="r")
    variances = 0.25 * (np.linalg.inv(triangle) ** 2).sum(axis=1)
    tolerance = slack(bound) - 1
    assert bound.sample_lower_bounds == pytest.approx(np.sqrt(variances[:6].reshape(2, 3).sum(axis=1)), rel=tolerance)
    assert bound.coefficient_lower_bounds.reshape(-1) == pytest.approx(np.sqrt(variances[6:]), rel=tolerance)
    assert bound.rmse_lower_bound == pytest.approx(math.sqrt(variances[:6].sum() / 2), rel=tolerance)


@given(seed=seeds)
def test_known_norms_are_a_constraint(seed):
    network = chain(3, 40)
    parameters, measure = problem(network, 2, seed, norm=1.0)
    bound = batch_cramer_rao(network, parameters, measure, 1.0, unit_norm=True)
    assert bound.unknowns == 2 * 3
    # the constraint as a penalty: radial directions cost so much that they are known (Stoica and Ng's limit)
    jacobian = embedding_jacobian(network, parameters, measure)
    radial = np.zeros((2, 8))
    radial[0, :3], radial[1, 3:6] = measure.points
    penalised = np.concatenate([jacobian, 1e5 * np.linalg.norm(jacobian, 2) * radial])
    variances = (np.linalg.inv(np.linalg.qr(penalised, mode="r")) ** 2).sum(axis=1)
    # the penalty lets 1e-10 of the variances along the radius through, times how much larger they would be
    free = batch_cramer_rao(network, parameters, measure, 1.0)
    tolerance = slack(free) - 1 + 1e-8 + 30 * 8 * EPSILON * 1e5 * free.condition_number
    assume(tolerance < 0.01)
    assert bound.sample_lower_bounds == pytest.approx(np.sqrt(variances[:6].reshape(2, 3).sum(axis=1)), rel=tolerance)
    assert (bound.sample_lower_bounds <= free.sample_lower_bounds * slack(free)).all()


@given(seed=seeds, power=st.integers(-30, 30))
def test_it_is_proportional_to_the_noise(seed, power):
    network = chain(3, 30)
    parameters, measure = problem(network, 2, seed)
    one, other = (batch_cramer_rao(network, parameters, measure, noise) for noise in (1.0, 2.0**power))
    assert (other.sample_lower_bounds == 2.0**power * one.sample_lower_bounds).all()
    assert (other.coefficient_lower_bounds == 2.0**power * one.coefficient_lower_bounds).all()


@given(seed=seeds)
def test_order_and_joint_signs_change_nothing(seed):
    network = chain(3, 30)
    parameters, measure = problem(network, 3, seed)
    one = batch_cramer_rao(network, parameters, measure, 1.0)
    turned = measure.permuted([2, 0, 1]).sign_flipped([0])
    two = batch_cramer_rao(network, parameters, turned, 1.0)
    assert two.sample_lower_bounds == pytest.approx(one.sample_lower_bounds[[2, 0, 1]], rel=slack(one) - 1)


@given(seed=seeds, factor=st.sampled_from([0.01, 0.3, 2.0]))
def test_clipping_divides_what_is_seen_by_its_factor(seed, factor):
    # clipping multiplies all coefficients: the same noise is then as much larger, for the points
    network = chain(3, 30)
    parameters, measure = problem(network, 2, seed)
    one = batch_cramer_rao(network, parameters, measure, 1.0)
    other = batch_cramer_rao(network, parameters, Measure(measure.points, factor * measure.coefficients), 1.0)
    assert factor * other.sample_lower_bounds == pytest.approx(one.sample_lower_bounds, rel=slack(one) - 1)
    assert other.coefficient_lower_bounds == pytest.approx(one.coefficient_lower_bounds, rel=slack(one) - 1)


@given(seed=seeds, share=st.floats(0.3, 0.9))
def test_seeing_less_never_lowers_it(seed, share):
    network = chain(3, 60)
    parameters, measure = problem(network, 2, seed)
    rng = np.random.default_rng([seed, 1])
    mask = {key: rng.random(shape) < share for key, shape in network.parameter_shapes.items()}
    whole = batch_cramer_rao(network, parameters, measure, 1.0)
    part = batch_cramer_rao(network, parameters, measure, 1.0, mask=mask)
    outer = batch_cramer_rao(network, parameters, measure, 1.0, pieces=["2/weight"], mask=mask)
    assert part.equations == sum(np.count_nonzero(seen) for seen in mask.values())
    assert outer.equations == np.count_nonzero(mask["2/weight"])
    assert (whole.sample_lower_bounds <= part.sample_lower_bounds * slack(part)).all()
    assert (part.sample_lower_bounds <= outer.sample_lower_bounds * slack(outer)).all()


@given(seed=seeds)
def test_another_client_never_helps(seed):
    # secure aggregation: the samples of another client are nuisances
    network = chain(3, 60)
    parameters, measure = problem(network, 4, seed)
    alone = batch_cramer_rao(network, parameters, Measure(measure.points[:2], measure.coefficients[:2]), 1.0)
    together = batch_cramer_rao(network, parameters, measure, 1.0)
    assert (alone.sample_lower_bounds <= together.sample_lower_bounds[:2] * slack(together)).all()


@given(seed=seeds, count=st.integers(1, 3))
def test_known_labels_never_hurt(seed, count):
    network = chain(3, 60)
    parameters, measure = problem(network, count, seed)
    labels = forward(network, parameters, measure.points) - measure.coefficients
    assert (losses.residual("squared", forward(network, parameters, measure.points), labels) != 0).all()
    known = cramer_rao(network, 1.0, instance=Instance(parameters, measure.points, labels, ""))
    unknown = batch_cramer_rao(network, parameters, measure, 1.0)
    assert known.nullity == 0
    per_sample = np.sqrt((known.coordinate_lower_bounds**2).reshape(count, -1).sum(axis=1))
    assert (per_sample <= unknown.sample_lower_bounds * slack(unknown) * (1 + known.condition_number**2 * 1e-10)).all()


def test_it_falls_as_the_root_of_d_over_m():
    bounds = {}
    for width in (500, 2000, 8000):
        # the setting of the paper: a = 1/m, unit samples, residuals of magnitude about 1, only the outer gradient
        network, values = chain(20, width), []
        for seed in range(4):
            rng = np.random.default_rng(seed)
            parameters = Parameters(
                network,
                {"0/weight": rng.standard_normal((width, 20)), "2/weight": np.full((1, width), 1 / width)},
            )
            points = rng.standard_normal((5, 20))
            points /= np.linalg.norm(points, axis=1, keepdims=True)
            residuals = forward(network, parameters, points) - rng.choice([-1.0, 1.0], (5, 1))
            measure = Measure(points, residuals)
            values.append(batch_cramer_rao(network, parameters, measure, 1e-3, pieces=["2/weight"]).rmse_lower_bound)
        bounds[width] = np.mean(values)
    # at m = 500 the unknowns are a fifth of the equations, which costs a tenth more; constants fluctuate
    assert bounds[500] / bounds[2000] == pytest.approx(2.0, rel=0.2)
    assert bounds[2000] / bounds[8000] == pytest.approx(2.0, rel=0.1)


def test_what_cannot_be_seen_is_infinite():
    relu = chain(3, 60, ReLU())
    parameters, measure = problem(relu, 2, 0, norm=1.0)
    scales = batch_cramer_rao(relu, parameters, measure, 1.0)
    # (x, c) and (t x, c / t) have the same gradient: one direction for each sample
    assert scales.nullity == 2 and np.isinf(scales.sample_lower_bounds).all() and math.isinf(scales.rmse_lower_bound)
    assert batch_cramer_rao(relu, parameters, measure, 1.0, unit_norm=True).nullity == 0

    network = chain(3, 60, Softplus())
    parameters, measure = problem(network, 3, 1)
    invisible = batch_cramer_rao(
        network, parameters, Measure(measure.points, measure.coefficients * np.array([[1.0], [0.0], [1.0]])), 1.0
    )
    assert invisible.nullity == 3
    assert (np.isinf(invisible.sample_lower_bounds) == [False, True, False]).all()
    twins = Measure(measure.points[[0, 1, 1]], measure.coefficients)
    twice = batch_cramer_rao(network, parameters, twins, 1.0)
    assert twice.nullity == 4 and (np.isinf(twice.sample_lower_bounds) == [False, True, True]).all()
    few = batch_cramer_rao(network, parameters, measure, 1.0, pieces=[])
    assert few.nullity == few.unknowns == 12 and few.equations == 0 and math.isinf(few.condition_number)


@pytest.mark.parametrize("distance", [1e-1, 3e-2, 1e-2])
def test_near_duplicates_are_seen_as_exactly_as_an_orthogonal_decomposition_sees_them(distance):
    network = chain(4, 200)
    parameters, measure = problem(network, 2, 3)
    points = measure.points.copy()
    points[1] = points[0] + distance * (points[1] - points[0])
    near = Measure(points, measure.coefficients)
    bound = batch_cramer_rao(network, parameters, near, 1.0)
    assert bound.nullity == 0 and bound.condition_number > 1 / distance
    # the normal equations alone lose all digits where the condition number is 1e8
    jacobian = embedding_jacobian(network, parameters, near)
    scale = np.linalg.norm(jacobian, axis=0)
    _, values, rows = np.linalg.svd(jacobian / scale, full_matrices=False)
    variances = ((rows.T / values / scale[:, None]) ** 2).sum(axis=1)
    # singular values are right to ε times the condition number here, 1e-3 coarser by the refinement there
    tolerance = 1e-6 + 30 * 10 * EPSILON * 1e3 * values[0] / values[-1]
    assert tolerance < 0.01
    expected = np.sqrt(variances[:8].reshape(2, 4).sum(axis=1))
    assert bound.sample_lower_bounds == pytest.approx(expected, rel=tolerance)


def test_misfits_are_refused():
    network = chain(3, 10)
    parameters, measure = problem(network, 2, 0)
    for noise in (-1.0, math.inf, math.nan, True, "loud"):
        with pytest.raises(InputError, match="noise: found"):
            batch_cramer_rao(network, parameters, measure, noise)
    with pytest.raises(InputError, match="pieces: found the unknown name '7/bias'"):
        batch_cramer_rao(network, parameters, measure, 1.0, pieces=["7/bias"])
    with pytest.raises(InputError, match="measure: found no samples"):
        batch_cramer_rao(network, parameters, Measure(np.zeros((0, 3)), np.zeros((0, 1))), 1.0)
    with pytest.raises(InputError, match="weights 0/weight: found shape"):
        batch_cramer_rao(network, parameters, measure, 1.0, mask={"0/weight": np.ones(3, dtype=bool)})
    with (
        pytest.raises(UnsupportedError, match="found derivatives whose squares are too large"),
        np.errstate(all="ignore"),
    ):
        batch_cramer_rao(network, parameters, Measure(measure.points, 1e200 * measure.coefficients), 1.0)
