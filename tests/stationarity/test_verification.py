"""KKT points are verified, in floats and exactly, whatever their scale; what is none is refused with the number."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
import scipy.optimize
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU, Tanh
from provable.arithmetic import EPSILON, MODULAR, RATIONAL
from provable.errors import InputError
from provable.max_margin import maximise_margin
from provable.measures import Measure
from provable.networks import Parameters, embed, forward, loss_gradient, losses
from provable.stationarity import verify_stationarity, verify_weight_decay
from provable.theorems.strategies.clarke_points import clarke_points, pairs_at_kinks
from provable.theorems.strategies.stationary_points import stationary_points

POINTS = st.one_of(stationary_points(), clarke_points())


def verify(point, **options):
    return verify_stationarity(point.architecture, point.parameters, point.points, point.labels, **options)


def scaled(point, factor):
    return dataclasses.replace(point, parameters=point.parameters.map_numbers(lambda array: array * factor))


@settings(max_examples=60, deadline=None)
@given(POINTS)
def test_exact_points_are_proved_and_floats_verified(point):
    exact = verify(RATIONAL.convert(point))
    assert exact.verified, exact.explanation
    assert exact.residual == exact.slackness == exact.euler_error == 0
    assert set(exact.balance_errors.values()) == {0}
    assert "Proved" in exact.explanation
    report = verify(point)
    assert report.verified, report.explanation
    assert report.residual <= 30 * len(point.parameters.vector()) * EPSILON
    assert report.margin == pytest.approx(min(point.margins), rel=1e-14)


@settings(max_examples=60, deadline=None)
@given(clarke_points())
def test_multipliers_and_slopes_of_pairs_are_the_known_ones(point):
    """The samples are independent, so λ and the slopes needed are unique where λ v x̃ is not zero."""
    exact = RATIONAL.convert(point)
    report = verify(exact)
    assert np.all(report.multipliers == exact.weights)
    assert report.hard_residual > 0.2  # at least the part of w₊ along x₋, which no hard slope explains
    explained = embed(exact.architecture, exact.parameters, Measure(exact.points, exact.weights * exact.labels))
    assert np.any(explained.vector() != exact.parameters.vector())
    # Σ λ_i y_i s_ik x_i v_k is the first layer
    signed = report.slopes["1"] * (exact.weights * exact.labels)[:, None]
    weight = signed.T @ exact.points * exact.parameters["2/weight"].T
    assert np.all(weight == exact.parameters["0/weight"])


@settings(max_examples=40, deadline=None)
@given(POINTS, st.sampled_from((2.0, 0.25, 8.0)))
def test_scaling_the_parameters_scales_the_multipliers(point, factor):
    """θ → cθ keeps the verdict; λ → c^{2−L} λ and m → c^L m."""
    exact, other = verify(RATIONAL.convert(point)), verify(RATIONAL.convert(scaled(point, factor)))
    degree = exact.degree
    assert other.verified
    assert np.all(other.multipliers == exact.multipliers * RATIONAL.number(factor) ** (2 - degree))
    assert other.margin == exact.margin * factor**degree
    assert np.allclose(other.multipliers_at_margin_one, exact.multipliers_at_margin_one, rtol=1e-13)
    assert other.margin * other.scale**degree == pytest.approx(1, rel=1e-13)


def test_samples_on_one_ray_with_kinks_are_told_apart_by_nothing_but_rounding():
    """The samples 13 e_1 and 26 e_1 are on a kink of the second unit, and their tangents are parallel."""
    architecture = Architecture("parallel", (4,), (Linear(4, bias=False), ReLU(), Linear(1, bias=False)), "logistic")
    first = [[61, -24.75, 0.5, 0], [0, 65.5, 0.5, 0.75], [0.25, 0, 38.75, -51.25], [0.25, 0.75, 0.5, 130.25]]
    arrays = {"0/weight": np.array(first), "2/weight": np.array([[64.5, -65.25, 65, -129.5]])}
    points = np.array([[13.0, 0, 0, 0], [5, 12, 0, 0], [26, 0, 0, 0], [0, 0, 20, 0], [0, 0, 4, 3], [0, 0, 40, 0]])
    labels, parameters = np.array([1.0, -1, 1, 1, -1, 1]), Parameters(architecture, arrays)
    report = verify_stationarity(architecture, parameters, points, labels)
    exact = verify_stationarity(
        architecture, RATIONAL.convert(parameters), RATIONAL.convert(points), RATIONAL.convert(labels)
    )
    assert report.kinks["1"].sum() == 2
    assert report.residual == pytest.approx(float(exact.residual), rel=1e-12)


@settings(max_examples=40, deadline=None)
@given(POINTS, st.integers(0, 100))
def test_another_point_is_refused_with_its_residual(point, seed):
    """Unless the network has fewer parameters than multipliers, a random direction leaves the cone."""
    noise = np.random.default_rng(seed).integers(-4, 5, len(point.parameters.vector())) / 4
    moved = Parameters.from_vector(point.architecture, point.parameters.vector() + noise)
    assume(np.any(moved.vector() != 0))
    report = verify_stationarity(point.architecture, moved, point.points, point.labels)
    exact = RATIONAL.convert(dataclasses.replace(point, parameters=moved))
    proof = verify(exact)
    assert proof.verified == report.verified
    assert report.residual == pytest.approx(proof.residual, abs=1e-12)
    if not report.verified:
        assert "Not verified" in report.explanation
        if report.residual > 1e-9:
            assert f"{report.residual:.2e}" in report.explanation


@settings(max_examples=40, deadline=None)
@given(stationary_points(depths=(2, 3), activations=("relu", "leaky_relu")), st.sampled_from((1e-3, 1e-5, 1e-7)))
def test_the_residual_is_first_order_in_an_error_of_the_layers_balance(point, error):
    """Multiplying the last layer alone leaves the function's shape and violates the balance of layers to first order."""
    last = f"{len(point.architecture.layers) - 1}/weight"
    arrays = {name: array * (1 + error) if name == last else array for name, array in point.parameters.items()}
    moved = dataclasses.replace(point, parameters=Parameters(point.architecture, arrays))
    report = verify(moved)
    assert not report.verified
    assert 0.1 * error < report.residual < 3 * error  # ‖θ‖² = L‖θ_l‖²: two of the L parts differ by the factor
    assert max(report.balance_errors.values()) > 0.1 * error


@settings(max_examples=40, deadline=None)
@given(stationary_points(activations=("relu", "leaky_relu"), depths=(2, 3)))
def test_the_hard_residual_is_that_of_nonnegative_least_squares(point):
    report = verify(point)
    rows = [
        embed(point.architecture, point.parameters, Measure(x[None], np.array([y]))).vector()
        for x, y in zip(point.points, point.labels, strict=True)
    ]
    _, distance = scipy.optimize.nnls(np.array(rows).T, point.parameters.vector())
    norm = np.linalg.norm(point.parameters.vector())
    assert abs(report.hard_residual * norm - distance) <= 30 * len(rows) * EPSILON * norm


@settings(max_examples=30, deadline=None)
@given(clarke_points(beyond=True))
def test_multipliers_stay_on_the_margin_where_they_can(point):
    """2x₊ has twice the tangent of x₊, so least squares alone could give it the multiplier."""
    report = verify(point)
    assert report.verified
    assert np.all(report.multipliers[report.margins > 1.5 * report.margin] == 0)
    without = np.ones(len(point.labels), dtype=bool)
    without[0] = False  # the first pair's x₊: now 2x₊ has to take its place, off the margin of x₋
    other = verify_stationarity(point.architecture, point.parameters, point.points[without], point.labels[without])
    assert other.residual <= 1e-12
    assert other.slackness > 0.01
    assert not other.verified
    assert "slackness" in other.explanation


@settings(max_examples=30, deadline=None)
@given(POINTS)
def test_labels_that_contradict_the_outputs_are_named(point):
    labels = point.labels.copy()
    labels[-1] = -labels[-1]
    report = verify_stationarity(point.architecture, point.parameters, point.points, labels)
    assert not report.verified
    assert np.isnan(report.scale)
    worst = int(np.argmin(report.margins))
    assert f"sample {worst} has margin {report.margin:.3g}" in report.explanation


@settings(max_examples=30, deadline=None)
@given(POINTS, st.randoms(use_true_random=False))
def test_order_of_samples_does_not_matter(point, random):
    order = list(range(len(point.labels)))
    random.shuffle(order)
    exact = RATIONAL.convert(point)
    report = verify_stationarity(exact.architecture, exact.parameters, exact.points[order], exact.labels[order])
    assert report.verified
    assert sorted(report.margins) == sorted(verify(exact).margins)


@settings(max_examples=30, deadline=None)
@given(POINTS)
def test_the_report_can_be_written(point):
    report = verify(point)
    document = json.loads(report.to_json())
    assert document["format"] == "provable-stationarity/1"
    assert document["verified"] is True
    assert document["multipliers"] == report.multipliers.tolist()
    assert document["kinks"] == report.kink_count
    exact = verify(RATIONAL.convert(point))
    assert json.loads(exact.to_json())["residual"] == 0


@settings(max_examples=30, deadline=None)
@given(stationary_points(depths=(2, 3), activations=("relu",)))
def test_coefficients_are_those_of_the_measure_that_theta_embeds(point):
    report = verify(point)
    rebuilt = embed(point.architecture, point.parameters, Measure(point.points, report.coefficients)).vector()
    error = np.linalg.norm(rebuilt - point.parameters.vector())
    # no slopes between 0 and 1 are needed at these points, but they are not unique either
    assume(report.hard_residual < 1e-9 and report.kink_count == 0)
    assert error <= 30 * len(rebuilt) * EPSILON * np.linalg.norm(rebuilt)


# Several classes


def two_outputs(point):
    """The network (f, −f)/√2: its last layer has the norm of f's, so that the layers stay balanced."""
    layers = (*point.architecture.layers[:-1], Linear(2, bias=False))
    architecture = Architecture("classes", point.architecture.input_shape, layers, "cross_entropy")
    last = f"{len(layers) - 1}/weight"
    arrays = dict(point.parameters)
    arrays[last] = np.concatenate([arrays[last], -arrays[last]]) / np.sqrt(2.0)
    return architecture, Parameters(architecture, arrays), np.where(point.labels > 0, 0, 1)


@settings(max_examples=40, deadline=None)
@given(st.one_of(stationary_points(depths=(2, 3)), clarke_points()))
def test_two_classes_are_the_binary_problem(point):
    architecture, parameters, classes = two_outputs(point)
    report = verify_stationarity(architecture, parameters, point.points, classes)
    binary = verify(point)
    # Φ_y − Φ_j = √2 y f, with gradients √2 y ∂f in W and y ∂f in both rows: multipliers λ/√2
    assert report.residual <= 1e-13
    assert report.verified, report.explanation
    assert report.margin == pytest.approx(np.sqrt(2) * binary.margin, rel=1e-13)
    assert report.hard_residual == pytest.approx(binary.hard_residual, abs=1e-7)
    assert np.allclose(report.coefficients[:, 0], -report.coefficients[:, 1])


def three_classes():
    """f_k = w_k·x for the corners of a triangle: by symmetry a KKT point of the linear three-class problem."""
    angles = 2 * np.pi * np.arange(3) / 3
    corners = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    architecture = Architecture("linear", (2,), (Linear(3, bias=False),), "cross_entropy")
    return architecture, Parameters(architecture, {"0/weight": corners}), corners


def test_three_classes():
    architecture, parameters, points = three_classes()
    report = verify_stationarity(architecture, parameters, points, np.arange(3))
    assert report.verified, report.explanation
    assert len(report.multipliers) == 6
    assert report.multipliers == pytest.approx(np.full(6, 1 / 3))  # w_0 = 2λ x_0 − λ x_1 − λ x_2 = 3λ x_0
    wrong = verify_stationarity(architecture, parameters, points, np.array([0, 2, 1]))
    assert "the labels contradict the outputs" in wrong.explanation


# Weight decay


def trained(activation, loss, weight_decay, reduction="sum", seed=0):
    """A small network at a stationary point of loss plus weight decay, by SciPy."""
    outputs = {"squared": 1, "logistic": 1, "cross_entropy": 3}[loss]
    layers = (Linear(3), activation, Linear(outputs, bias=False))
    architecture = Architecture("trained", (2,), layers, loss)
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((5, 2))
    labels = rng.integers(0, 3, 5) if outputs == 3 else np.sign(rng.standard_normal(5))
    divisor = 5 if reduction == "mean" else 1

    def gradient(theta):
        parameters = Parameters.from_vector(architecture, theta)
        return loss_gradient(architecture, parameters, points, labels).vector() / divisor + weight_decay * theta

    def value(theta):
        outputs = forward(architecture, Parameters.from_vector(architecture, theta), points)
        return losses.value(loss, outputs, labels).sum() / divisor + weight_decay * theta @ theta / 2

    start = Parameters.random(architecture, rng=seed).vector()
    start = scipy.optimize.minimize(value, start, jac=gradient, options={"gtol": 1e-6}).x
    found = scipy.optimize.root(gradient, start, tol=1e-14)
    return architecture, Parameters.from_vector(architecture, found.x), points, labels


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("loss", ["squared", "logistic", "cross_entropy"])
def test_weight_decay(loss, reduction):
    case = trained(Tanh(), loss, 0.01, reduction)
    report = verify_weight_decay(*case, weight_decay=0.01, reduction=reduction)
    assert report.verified, report.explanation
    assert report.residual == pytest.approx(report.hard_residual, abs=1e-14)  # no kinks; both are rounding
    assert report.degree is None
    assert np.isnan(report.euler_error)
    wrong = verify_weight_decay(*case, weight_decay=0.011, reduction=reduction)
    assert not wrong.verified
    assert wrong.residual == pytest.approx(1 - 10 / 11, rel=1e-6)  # what is explained is 10/11 of θ
    rebuilt = embed(case[0], case[1], Measure(case[2], report.coefficients)).vector()
    assert np.linalg.norm(rebuilt - case[1].vector()) <= 1e-9 * np.linalg.norm(rebuilt)


def test_weight_decay_of_a_homogeneous_network():
    case = trained(Polynomial((0.0, 0.0, 0.0, 1.0)), "logistic", 0.01)
    report = verify_weight_decay(*case, weight_decay=0.01)
    assert report.verified
    assert report.degree == 4
    assert report.euler_error <= 1e-9
    assert max(report.balance_errors.values()) <= 1e-9  # three quarters of ‖θ‖² lie in the first layer
    assert "residual" in json.loads(report.to_json())


@settings(max_examples=40, deadline=None)
@given(clarke_points(), st.sampled_from((0.5, 0.01)))
def test_weight_decay_with_kinks(point, weight_decay):
    """With ℓ = ½(f − y)² and y = f + w c, the multipliers c of a KKT point are those of the loss."""
    architecture = dataclasses.replace(point.architecture, loss="squared")
    targets = point.labels * point.margins + weight_decay * point.weights * point.labels
    parameters = Parameters(architecture, dict(point.parameters))
    report = verify_weight_decay(architecture, parameters, point.points, targets, weight_decay=weight_decay)
    # f + w c − f loses what is rounded off a sum of size f
    condition = np.max(np.abs(targets)) / (weight_decay * np.max(point.weights))
    assert report.residual <= 30 * len(parameters.vector()) * EPSILON * (1 + condition)
    assert report.hard_residual > 0.2


def test_weight_decay_needs_a_sensible_size():
    case = trained(Tanh(), "squared", 0.1)
    for size in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InputError, match="weight_decay: found"):
            verify_weight_decay(*case, weight_decay=size)
    with pytest.raises(InputError, match="reduction: found 'max'"):
        verify_weight_decay(*case, weight_decay=0.1, reduction="max")
    exact = RATIONAL.convert(case[1])
    with pytest.raises(InputError, match="found rational numbers; float64 ones are accepted"):
        verify_weight_decay(case[0], exact, RATIONAL.convert(case[2]), RATIONAL.convert(case[3]), weight_decay=0.1)


# Bad input


def test_bad_input_is_refused():
    point = pairs_at_kinks([(3, 4)], [(1, 1)])
    architecture, parameters, points, labels = point.architecture, point.parameters, point.points, point.labels
    with pytest.raises(InputError, match="a label other than 1 and -1"):
        verify_stationarity(architecture, parameters, points, np.array([0.0, 1.0]))
    with pytest.raises(InputError, match=r"labels: found shape \(3,\)"):
        verify_stationarity(architecture, parameters, points, np.ones(3))
    with pytest.raises(InputError, match="no samples"):
        verify_stationarity(architecture, parameters, points[:0], labels[:0])
    with pytest.raises(InputError, match="inputs: found shape"):
        verify_stationarity(architecture, parameters, points[:, :1], labels)
    with pytest.raises(InputError, match="positive norm"):
        verify_stationarity(architecture, parameters.map_numbers(lambda array: 0 * array), points, labels)
    with pytest.raises(InputError, match="modular"):
        verify_stationarity(architecture, MODULAR.convert(parameters), MODULAR.convert(points), labels)
    biased = Architecture("biased", (2,), (Linear(2), LeakyReLU(), Linear(1)), "logistic")
    with pytest.raises(InputError, match=r"layer 2 \(linear\)"):
        verify_stationarity(biased, Parameters.random(biased, rng=0), points, labels)
    classes, weights, corners = three_classes()
    for wrong in (np.array([0, 1, 3]), np.array([0.0, 1.0, 2.0])):
        with pytest.raises(InputError, match="integers from 0 to 2"):
            verify_stationarity(classes, weights, corners, wrong)


@pytest.mark.parametrize("seed", range(6))
def test_networks_of_largest_margin_are_kkt_points_in_clarkes_sense(seed):
    """Found by a convex program and Newton's method, verified here from θ and the data alone."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((int(rng.integers(3, 7)), int(rng.integers(1, 4))))
    labels = rng.choice([-1.0, 1.0], len(points))
    network = maximise_margin(points, labels, rng=seed)
    report = verify_stationarity(network.architecture, network.parameters, points, labels)
    assert report.verified, report.explanation
    assert report.residual <= 1e-12
    assert report.margin == pytest.approx(1, rel=1e-12)
    # ‖θ‖² = 2 Σ λ_i at margin 1
    assert report.multipliers.sum() == pytest.approx(network.objective, rel=1e-12)


def test_a_point_next_to_kinks_says_so():
    point = pairs_at_kinks([(3, 4)], [(1, 1)])
    noise = 1 + 1e-7 * np.random.default_rng(0).standard_normal(6)
    moved = Parameters.from_vector(point.architecture, point.parameters.vector() * noise)
    report = verify_stationarity(point.architecture, moved, point.points, point.labels)
    assert not report.verified
    assert "|w||x| is not small enough for kink_tolerance" in report.explanation
    wider = verify_stationarity(
        point.architecture, moved, point.points, point.labels, kink_tolerance=1e-5, tolerance=1e-6
    )
    assert wider.verified, wider.explanation
    assert "(up to 1e-06, kinks up to 1e-05)" in wider.explanation
    assert wider.residual < 1e-6 < 0.1 < report.residual


def test_sizes_and_tolerances_out_of_range_are_refused():
    point = pairs_at_kinks([(3, 4)], [(1, 1)])
    architecture, parameters, points, labels = point.architecture, point.parameters, point.points, point.labels
    for factor in (1e-200, 1e160):
        with pytest.raises(InputError, match="parameters: found a largest entry of"):
            verify_stationarity(architecture, parameters.map_numbers(lambda array, c=factor: array * c), points, labels)
        with pytest.raises(InputError, match="points: found a largest entry of"):
            verify_stationarity(architecture, parameters, points * factor, labels)
    for name in ("tolerance", "margin_tolerance", "kink_tolerance"):
        for value in (-1.0, np.nan, np.inf):
            with pytest.raises(InputError, match=f"{name}: found"):
                verify_stationarity(architecture, parameters, points, labels, **{name: value})
    # without multipliers the residual is one: such a tolerance would verify whatever separates the data
    with pytest.raises(InputError, match=r"tolerance: found 1\.0; a number of at least 0 and below 1"):
        verify_stationarity(architecture, parameters, points, labels, tolerance=1.0)


@settings(max_examples=20, deadline=None)
@given(clarke_points(), st.sampled_from((1e-25, 1e-8, 1e8, 1e25)), st.sampled_from((1e-25, 1e25, 1.0)))
def test_verdicts_do_not_depend_on_scales(point, factor, size):
    report = verify_stationarity(
        point.architecture,
        point.parameters.map_numbers(lambda array: array * factor),
        point.points * size,
        point.labels,
    )
    assert report.verified, report.explanation
    assert report.residual <= 1e-13


@pytest.mark.parametrize("exponent", [60, 600, 3000])
def test_exact_verdicts_see_errors_below_all_floats(exponent):
    """2⁻³⁰⁰⁰ is no float, but θ is no stationary point."""
    point = RATIONAL.convert(pairs_at_kinks([(3, 4)], [(1, 1)]))
    small = RATIONAL.number(1.0) / RATIONAL.number(2.0) ** exponent
    arrays = {name: array + small if name == "2/weight" else array for name, array in point.parameters.items()}
    moved = Parameters(point.architecture, arrays)
    report = verify_stationarity(point.architecture, moved, point.points, point.labels)
    assert not report.verified
    assert report.residual > 0
    assert report.kink_count == 2
    assert verify_stationarity(point.architecture, point.parameters, point.points, point.labels).verified
