"""Networks of largest margin: optimal, stationary, proved; against brute force, other solvers and metamorphic relations."""

from __future__ import annotations

import dataclasses
import importlib
import itertools
import json
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.optimize import minimize

from provable.errors import InputError, UnsupportedError
from provable.max_margin import MaxMarginNetwork, certify_optimality, maximise_margin
from provable.max_margin.feasibility import require_feasible
from provable.measures import Measure
from provable.networks import embed, forward
from provable.rigor.certificates import Refusal

Problem = tuple[Any, Any, bool]
EXPENSIVE = settings(max_examples=max(15, settings.default.max_examples // 2))


@st.composite
def problems(draw: st.DrawFn, largest: int = 8, dimensions: tuple[int, ...] = (1, 2, 3)) -> Problem:
    """Random, gridded, duplicated and nearly duplicated samples that some network separates."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    size, dimension = draw(st.integers(1, largest)), draw(st.sampled_from(dimensions))
    bias = draw(st.booleans()) if dimension > 1 else True
    points, labels = rng.standard_normal((size, dimension)), rng.choice([-1.0, 1.0], size)
    kind = draw(st.sampled_from(("general", "grid", "duplicates", "near", "one ray", "opposite")))
    half = size // 2
    if kind == "grid":
        points = np.round(2 * points) / 2
    elif kind != "general" and half:
        points[:half] = points[half : 2 * half]
        labels[:half] = labels[half : 2 * half]
        if kind == "near":
            points[:half] += 1e-4 * rng.standard_normal((half, dimension))
        if kind == "one ray":
            points[:half] *= 2.0
        if kind == "opposite":
            points[:half] *= -1.0
    try:
        require_feasible(points, labels, bias=bias)
    except InputError:
        assume(False)
    return points, labels, bias


def solved(problem: Problem, **options: Any) -> MaxMarginNetwork:
    points, labels, bias = problem
    return maximise_margin(points, labels, bias=bias, **options)


PROMISED = 1e-9
"""What is promised of residuals and gaps, near-degenerate instances included; generic ones reach 1e-14."""


def close(first: MaxMarginNetwork, second: MaxMarginNetwork, factor: float = 1.0) -> bool:
    """Both optima are enclosed to 1e-9, and float64 transformations of the points move them by about as much."""
    return abs(first.objective - factor * second.objective) <= 1e-8 * first.objective


@settings(max_examples=max(50, settings.default.max_examples))
@given(problems(largest=12))
def test_the_network_is_a_clarke_stationary_point_and_proved_to_be_the_best(problem: Problem) -> None:
    points, labels, _ = problem
    net = solved(problem)
    assert net.residual.largest <= PROMISED
    assert net.is_proved
    assert 1 <= net.neurons <= len(points)
    assert net.support >= 1 and 0 <= net.kinks <= net.support * net.neurons
    assert float(net.dual_bound) <= float(net.bracket.upper)
    assert net.objective == pytest.approx(float(net.dual_bound), rel=PROMISED)
    # the exactly feasible network, evaluated independently in rationals
    for point, label in zip(points.tolist(), labels.tolist(), strict=True):
        row = [Fraction(x) for x in point] + [Fraction(1)] * (len(net.bracket.hidden[0]) - len(point))
        value = sum(
            v * max(sum(a * b for a, b in zip(w, row, strict=True)), 0)
            for w, v in zip(net.bracket.hidden, net.bracket.outer, strict=True)
        )
        assert Fraction(label) * value >= 1
    squared = sum(entry**2 for row in (*net.bracket.hidden, net.bracket.outer) for entry in row)
    assert net.bracket.upper == squared / 2


@EXPENSIVE
@given(problems())
def test_stationarity_with_the_package_s_own_gradients(problem: Problem) -> None:
    """θ = Σ λ_i y_i g_i: the output weights by the tangent embedding, the hidden ones with the Clarke weights."""
    points, labels, bias = problem
    net = solved(problem)
    assert np.allclose(
        labels * forward(net.architecture, net.parameters, points)[:, 0], net.margins, rtol=0, atol=PROMISED
    )
    assert np.all(net.clarke_weights >= 0) and np.all(net.clarke_weights <= 1)
    coefficients = net.multipliers * labels
    norm = np.linalg.norm(net.parameters.vector())
    explained = embed(net.architecture, net.parameters, Measure(points, coefficients))
    assert np.linalg.norm(explained["2/weight"] - net.parameters["2/weight"]) <= PROMISED * norm
    moments = (net.clarke_weights * coefficients[:, None]).T * net.parameters["2/weight"][0][:, None]
    assert np.linalg.norm(moments @ points - net.parameters["0/weight"]) <= PROMISED * norm
    if bias:
        assert np.linalg.norm(moments.sum(axis=1) - net.parameters["0/bias"]) <= PROMISED * norm
    inside = (net.clarke_weights > 0) & (net.clarke_weights < 1)
    inputs = np.hstack([points, np.ones((len(points), 1))]) if bias else points
    hidden = (
        np.hstack([net.parameters["0/weight"], net.parameters["0/bias"][:, None]])
        if bias
        else net.parameters["0/weight"]
    )
    sizes = np.linalg.norm(inputs, axis=1)[:, None] * np.linalg.norm(hidden, axis=1)
    # off the kinks the ReLU has a derivative, and weights are its values
    assert np.all(np.abs(inputs @ hidden.T)[inside] <= PROMISED * sizes[inside])


@EXPENSIVE
@given(problems(largest=5))
def test_the_dual_program_over_all_sign_patterns_has_the_same_optimum(problem: Problem) -> None:
    """Brute force: max Σ λ with one second-order cone for each of 2^n patterns and both signs, empty cones included."""
    points, labels, bias = problem
    cvxpy: Any = importlib.import_module("cvxpy")
    inputs = np.hstack([points, np.ones((len(points), 1))]) if bias else points
    multipliers = cvxpy.Variable(len(points), nonneg=True)
    constraints = []
    for pattern in itertools.product((0.0, 1.0), repeat=len(points)):
        chosen = np.array(pattern)
        for sign in (1.0, -1.0):
            dual = cvxpy.Variable(len(points), nonneg=True)
            total = inputs.T @ cvxpy.multiply(sign * labels * chosen, multipliers)
            constraints.append(cvxpy.norm(total + inputs.T @ cvxpy.multiply(2 * chosen - 1, dual)) <= 1)
    program = cvxpy.Problem(cvxpy.Maximize(cvxpy.sum(multipliers)), constraints)
    program.solve(solver=cvxpy.CLARABEL)
    # 1e-5: the solver's own accuracy at condition numbers up to 1e4 (near duplicates)
    assert solved(problem).objective == pytest.approx(program.value, rel=1e-5)


@settings(max_examples=8)
@given(problems(largest=4, dimensions=(1, 2)), st.integers(0, 2**32 - 1))
def test_no_local_search_in_parameters_finds_less(problem: Problem, seed: int) -> None:
    points, labels, bias = problem
    inputs = np.hstack([points, np.ones((len(points), 1))]) if bias else points
    width, dimension = len(points) + 1, inputs.shape[1]
    rng = np.random.default_rng(seed)
    net = solved(problem)

    def margins(vector: Any) -> Any:
        hidden, outer = vector[: width * dimension].reshape(width, dimension), vector[width * dimension :]
        return labels * (np.maximum(inputs @ hidden.T, 0.0) @ outer) - 1.0

    for _ in range(3):
        start = np.sqrt(net.objective) * rng.standard_normal(width * (dimension + 1))
        found = minimize(
            lambda vector: vector @ vector / 2,
            start,
            jac=lambda vector: vector,
            constraints={"type": "ineq", "fun": margins},
            method="SLSQP",
            options={"maxiter": 60},
        )
        shortfall = max(0.0, -float(np.min(margins(found.x))))
        if shortfall < 0.5:  # dividing by what the margins are short of makes the point feasible
            assert found.fun / (1.0 - shortfall) >= float(net.dual_bound) * (1 - 1e-12)


@EXPENSIVE
@given(problems(), st.integers(0, 2**32 - 1))
def test_metamorphic_relations(problem: Problem, seed: int) -> None:
    points, labels, bias = problem
    rng = np.random.default_rng(seed)
    net = solved(problem)
    order = rng.permutation(len(points))
    assert close(net, maximise_margin(points[order], labels[order], bias=bias, rng=seed))
    assert close(net, maximise_margin(points, -labels, bias=bias))
    turn = np.linalg.qr(rng.standard_normal((points.shape[1], points.shape[1])))[0]
    if len(np.unique(points, axis=0)) == len(points) and bias:  # rotated duplicates need not stay duplicates
        assert close(net, maximise_margin(points @ turn, labels, bias=bias))
    if not bias:
        assert close(net, maximise_margin(4.0 * points, labels, bias=False), 4.0)
    repeated = int(rng.integers(len(points)))
    assert close(net, maximise_margin([*points, points[repeated]], [*labels, labels[repeated]], bias=bias))
    idle = np.flatnonzero(net.multipliers == 0)
    if len(idle):
        assert close(net, maximise_margin(np.delete(points, idle[0], 0), np.delete(labels, idle[0]), bias=bias))
    if len(points) > 1:  # fewer constraints
        fewer = maximise_margin(points[1:], labels[1:], bias=bias)
        assert fewer.objective <= net.objective * (1 + 1e-8)


@EXPENSIVE
@given(problems(largest=6))
def test_all_patterns_and_few_patterns_give_the_same(problem: Problem) -> None:
    every, few = solved(problem, patterns="all"), solved(problem, patterns=1, rng=3)
    assert close(every, few)
    assert few.is_proved and every.is_proved


def test_known_optima() -> None:
    # one sample x: f = v relu(w·x̃) with w parallel to x̃, so ½‖θ‖² = 1/‖x̃‖
    net = maximise_margin([[3.0, 4.0]], [1], bias=False)
    # 1e-14 is 45 ε here and below: sums of at most three terms, and a root
    assert net.objective == pytest.approx(0.2, rel=1e-14)
    assert net.neurons == 1 and net.multipliers[0] == pytest.approx(0.2, rel=1e-14)
    # two orthogonal samples of different labels need a neuron each, whose kinks hold the other sample
    net = maximise_margin([[1.0, 0.0], [0.0, 2.0]], [1, -1], bias=False)
    assert net.objective == pytest.approx(1.5, rel=1e-14)
    assert net.neurons == 2
    # of one label, one neuron u with u·x_i = 1: 1/distance of 0 from the segment
    net = maximise_margin([[1.0, 0.0], [0.0, 1.0]], [1, 1], bias=False)
    assert net.objective == pytest.approx(np.sqrt(2), rel=1e-14)
    assert net.neurons == 1
    assert json.loads(net.to_json())["is_proved"] is True


def test_dependent_samples_on_one_kink() -> None:
    """A grid on which three dependent samples lie on a kink, so that their shares of the Clarke weights are not unique."""
    points = np.array(
        [
            [0, -0.5, 0.5],
            [-0.5, 1.5, -0.5],
            [0.5, -1.5, -0.5],
            [-1, 0, -1],
            [1, -1.5, -1.5],
            [0, -1.5, 0],
            [-1, 1, 1.5],
            [0, 0, 0],
            [2, 0, 0],
            [1, 1, 0],
            [-0.5, 0.5, 1.5],
            [0.5, 0, 3],
        ]
    )
    net = maximise_margin(points, [1, -1, 1, 1, -1, 1, -1, -1, -1, -1, 1, -1])
    assert net.residual.largest <= 1e-12 and net.gap <= Fraction(1, 10**12)
    assert net.neurons == 5


def test_one_feature_may_be_given_flat() -> None:
    assert maximise_margin([0.0, 1.0], [1, -1]).objective == maximise_margin([[0.0], [1.0]], [1, -1]).objective


@pytest.mark.parametrize(
    ("points", "labels", "options", "message"),
    [
        ([[0.0], [1.0], [0.0]], [1, 1, -1], {}, "samples 0 and 2 coincide and have labels \\+1 and -1"),
        ([[1.0, 2.0], [3.0, 6.0]], [1, -1], {"bias": False}, "samples 0 and 1 lie on one ray"),
        ([[1.0], [0.0]], [1, 1], {"bias": False}, "sample 1 is zero"),
        (
            [[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -2.0], [-1.0, -1.0], [1.0, 1.0]],
            [1, -1, 1, -1, 1, -1],
            {"bias": False},
            "pairs of opposite samples 0 and 1, 2 and 3, 4 and 5",
        ),
        ([[1.0]], [2], {}, "2.0 was found at sample 0; 1 and -1 are accepted"),
        ([[1.0]], [1, 1], {}, "one label for each sample"),
        ([[np.nan]], [1], {}, "not finite"),
        ([[1e150], [0.0]], [1, -1], {}, r"largest entry of 1.0e\+150"),
        (np.zeros((0, 2)), [], {}, "n and d from 1 on"),
        ([[1.0]], [1], {"patterns": 0}, "a positive number or 'all'"),
        ([[1.0]], [1], {"patterns": "every"}, "a positive number or 'all'"),
    ],
)
def test_bad_input_is_named(points: Any, labels: Any, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        maximise_margin(points, labels, **options)


def test_the_pairs_alone_can_be_separated() -> None:
    """Without the third pair, the six samples of the infeasible program above are feasible."""
    net = maximise_margin([[1.0, 0.0], [-1.0, 0.0], [0.0, 1.0], [0.0, -2.0]], [1, -1, 1, -1], bias=False)
    assert net.is_proved


def test_too_large_a_tree_is_refused() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(UnsupportedError, match="more than 5 cones"):
        maximise_margin(rng.standard_normal((12, 3)), rng.choice([-1.0, 1.0], 12), largest_tree=5)


def test_samples_too_much_for_the_solver_are_said_to_be() -> None:
    with pytest.raises(UnsupportedError, match="finds no network"):
        maximise_margin([0.0, 1e-12, 1.0], [1, -1, 1])


def test_nothing_is_proved_without_a_feasible_network() -> None:
    """Far from the origin for its distances: the solver's network has a margin that is not positive."""
    net = maximise_margin(1e6 + np.arange(4.0), [1, -1, 1, -1])
    assert net.is_proved <= (net.gap is not None)
    # what the solver makes of it depends on its rounding; without a network there is no upper bound, and nothing is proved
    hollow = dataclasses.replace(net, bracket=dataclasses.replace(net.bracket, hidden=(), outer=(), upper=None))
    assert hollow.gap is None and not hollow.is_proved
    assert json.loads(hollow.to_json())["gap"] is None
    assert isinstance(certify_optimality(hollow), Refusal)
