"""The strategies are part of the product: what they promise, and that they reach the cases they are for."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from provable.architectures import Conv2d
from provable.arithmetic import EPSILON, RATIONAL, rank
from provable.theorems import strategies


def collect(strategy, count=300):
    """Draw a fixed, repeatable collection of examples."""
    found = []

    @settings(max_examples=count, derandomize=True, database=None, phases=(Phase.generate,),
              suppress_health_check=list(HealthCheck), deadline=None)  # fmt: skip
    @given(strategy)
    def run(value):
        found.append(value)

    run()
    return found


@given(st.tuples(st.integers(0, 4), st.integers(0, 4)), st.data())
def test_readable_arrays_are_small_multiples_of_a_quarter(shape, data):
    array = data.draw(strategies.readable_arrays(shape))
    assert array.shape == shape and array.dtype == np.float64
    assert np.all(np.abs(array) <= 6)
    assert np.all(array * 8 == np.round(array * 8))
    assert not np.any(np.signbit(array) & (array == 0))


@given(strategies.readable_arrays((3, 3), nonzero=True), strategies.readable_numbers(nonzero=True))
def test_nonzero_means_nonzero(array, number):
    assert np.all(array != 0) and number != 0


def test_readable_matrices_are_often_regular_and_often_not():
    ranks = Counter(rank(RATIONAL.convert(a)) for a in collect(strategies.readable_arrays((3, 3))))
    assert ranks[3] >= 100
    assert ranks[2] >= 15
    assert ranks[0] + ranks[1] >= 3


def test_matrices_reach_large_condition_numbers():
    conditions = [np.linalg.cond(a) for a in collect(strategies.conditioned_matrices(4, 3, max_log10_condition=8))]
    assert max(conditions) > 1e6
    assert min(conditions) < 10


@given(st.integers(0, 5), st.integers(0, 5), st.floats(0, 8), st.data())
def test_conditioned_matrices_have_the_condition_they_promise(rows, columns, logarithm, data):
    matrix = data.draw(strategies.conditioned_matrices(rows, columns, max_log10_condition=logarithm))
    assert matrix.shape == (rows, columns)
    if min(rows, columns) == 0:
        return
    singular = np.linalg.svd(matrix, compute_uv=False)
    # Two orthogonal factors and a product: a backward error of 30 * size * EPSILON relative to the norm, which is 1.
    slack = 30 * max(rows, columns) * EPSILON
    assert abs(singular[0] - 1) <= slack
    assert singular[-1] >= 10.0**-logarithm - slack


@given(st.data())
def test_conditioned_matrices_have_the_rank_they_promise(data):
    matrix = data.draw(strategies.conditioned_matrices(5, 4, max_log10_condition=3, rank=2))
    assert rank(matrix, relative_tolerance=1e-6) == 2  # singular values are 1, 1e-3 or more, and rounding


@given(st.integers(1, 5), st.integers(2, 5), st.data())
def test_sphere_points_have_norm_one(count, dimension, data):
    points = data.draw(strategies.sphere_points(count, dimension))
    assert points.shape == (count, dimension)
    # cos² + sin² of a unit and a unit tangent: a few roundings each.
    assert np.all(np.abs(np.linalg.norm(points, axis=1) - 1) <= 30 * dimension * EPSILON)


def test_sphere_points_reach_close_and_nearly_antipodal_pairs():
    drawn = collect(strategies.sphere_points(3, 4, min_log10_separation=-6))
    near = [np.linalg.norm(p[0] - p[1]) for p in drawn]
    opposite = [np.linalg.norm(p[0] + p[1]) for p in drawn]
    assert 0.9e-6 <= min(near) < 1e-4
    assert 0.9e-6 <= min(opposite) < 1e-4
    assert sum(distance > 0.1 for distance in near) > 50


@given(strategies.readable_directions(3, 2))
def test_directions_are_nonzero(directions):
    assert np.all(np.any(directions != 0, axis=1))


@given(strategies.architectures())
def test_architectures_are_valid_and_small(architecture):
    assert architecture.parameter_count < 500
    assert type(architecture).from_json(architecture.to_json()) == architecture


def test_architectures_cover_convolutions_biases_and_depth():
    drawn = collect(strategies.architectures())
    assert sum(isinstance(a.layers[0], Conv2d) for a in drawn) > 30
    assert sum("0/bias" in a.parameter_shapes for a in drawn) > 30
    assert max(len(a.parameter_shapes) for a in drawn) >= 5
    assert min(len(a.parameter_shapes) for a in drawn) == 1


@pytest.mark.parametrize("convolutional", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@given(data=st.data())
def test_forced_features_are_obeyed(convolutional, bias, data):
    architecture = data.draw(strategies.architectures(convolutional=convolutional, bias=bias, outputs=1))
    assert isinstance(architecture.layers[0], Conv2d) == convolutional
    assert any(name.endswith("bias") for name in architecture.parameter_shapes) == bias
    assert architecture.output_size == 1


@given(st.data())
def test_parameters_and_measures_fit(data):
    architecture = data.draw(strategies.architectures())
    theta = data.draw(strategies.parameters(architecture))
    measure = data.draw(strategies.measures(architecture.input_shape, outputs=architecture.output_size))
    assert theta.vector().shape == (architecture.parameter_count,)
    assert measure.points.shape[1:] == architecture.input_shape
    assert measure.coefficients.shape == (len(measure.points), architecture.output_size)


def test_measures_sometimes_hold_equal_atoms():
    drawn = collect(strategies.measures((2,)))
    assert any(m.size > 1 and np.array_equal(m.points[0], m.points[1]) for m in drawn)
