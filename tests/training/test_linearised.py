"""Linearised training in closed form: against exact steps, singular kernels, stability, finite networks."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from provable.architectures import Architecture, Linear, ReLU, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters, embed, forward, tangent_kernel, tangents
from provable.training.linearised import converged, gradient_descent, gradient_flow, stability_limit
from provable.training.linearised_networks import train_linearised

QUARTERS = st.integers(-8, 8).map(lambda number: number / 4)


@st.composite
def problems(draw, *, outputs=(1, 3)):
    """Features and targets in quarters: Gram matrices are exact, often singular, samples often coincide."""
    n, width = draw(st.integers(1, 5)), draw(st.integers(1, 5))
    features = draw(arrays(np.float64, (n, width), elements=QUARTERS))
    targets = draw(arrays(np.float64, (n, draw(st.sampled_from(outputs))), elements=QUARTERS))
    return features, targets


def exact_steps(features, targets, rate, rho, steps, nesterov):
    """The change of parameters by gradient descent in parameter space, in rationals."""
    phi = [[Fraction(value) for value in row] for row in features.tolist()]
    y = [Fraction(value) for value in targets.tolist()]
    theta, velocity = [Fraction(0)] * len(phi[0]), [Fraction(0)] * len(phi[0])
    for _ in range(steps):
        there = [t + rho * v for t, v in zip(theta, velocity, strict=True)] if nesterov else theta
        residual = [b - sum(p * t for p, t in zip(row, there, strict=True)) for row, b in zip(phi, y, strict=True)]
        gradient = [sum(r * row[k] for r, row in zip(residual, phi, strict=True)) for k in range(len(theta))]
        velocity = [rho * v + rate * g for v, g in zip(velocity, gradient, strict=True)]
        theta = [t + v for t, v in zip(theta, velocity, strict=True)]
    return np.array([float(value) for value in theta])


@given(
    problems(outputs=(1,)), st.integers(0, 12), st.sampled_from([0, 0.5, 0.75]), st.booleans(), st.floats(0.05, 0.95)
)
def test_the_change_of_parameters_is_that_of_the_steps(problem, steps, rho, nesterov, share):
    features, targets = problem
    kernel = features @ features.T
    largest = float(np.linalg.eigvalsh(kernel)[-1])
    if largest == 0:
        return
    rate = share * stability_limit(largest, momentum=rho, nesterov=nesterov)
    found = gradient_descent(kernel, targets[:, 0], learning_rate=rate, steps=steps, momentum=rho, nesterov=nesterov)
    expected = exact_steps(features, targets[:, 0], Fraction(rate), Fraction(rho), steps, nesterov)
    change = features.T @ found.coefficients
    # k: an eigenbasis of size up to 5 and sums of 5; κ: 1/(1 - ρ)², and t for the effect of rounding λ on tη∂θ
    size = rate * np.abs(features).sum() * np.abs(targets).sum() * max(steps, 1) / (1 - rho)
    bound = 30 * 10 * EPSILON * (1 / (1 - rho) ** 2 + steps) * size
    assert np.max(np.abs(change - expected), initial=0.0) <= bound
    left = targets[:, 0] - features @ expected
    assert (
        np.max(np.abs(found.residual - left))
        <= bound * np.abs(features).max() * 5 + 30 * 10 * EPSILON * np.abs(targets).sum()
    )


@given(problems())
def test_the_limit_interpolates_what_can_be_fitted(problem):
    features, targets = problem
    kernel = features @ features.T
    found = converged(kernel, targets)
    assert found.rank == np.linalg.matrix_rank(features)
    theta = features.T @ found.coefficients
    # the least-norm solution, from the features by an SVD of another matrix
    expected = np.linalg.lstsq(features, targets, rcond=1e-10)[0]
    singular = np.linalg.svd(features, compute_uv=False)
    positive = singular[singular > 1e-10]
    # κ: that of the Gram matrix, times the size of the solution
    condition = (positive[0] / positive[-1]) ** 2 if positive.size else 1.0
    scale = np.abs(targets).sum() / (positive[-1] if positive.size else 1.0)
    assert np.max(np.abs(theta - expected)) <= 30 * 25 * EPSILON * condition * scale
    assert (
        np.max(np.abs(found.unfitted - (targets - features @ expected)))
        <= 30 * 25 * EPSILON * condition * np.abs(targets).sum()
    )
    np.testing.assert_array_equal(found.residual, found.unfitted)
    assert bool(found.explanation) == (found.rank < len(kernel))


@given(problems(), st.integers(0, 50), st.integers(0, 50))
def test_stopping_times_add_up(problem, first, second):
    features, targets = problem
    kernel = features @ features.T
    largest = float(np.linalg.eigvalsh(kernel)[-1])
    rate = 0.9 / largest if largest else 1.0
    whole = gradient_descent(kernel, targets, learning_rate=rate, steps=first + second)
    half = gradient_descent(kernel, targets, learning_rate=rate, steps=first)
    rest = gradient_descent(kernel, targets, learning_rate=rate, steps=second, initial_outputs=targets - half.residual)
    # k: two eigenbases of size 5; coefficients of t steps are at most t η |y|, and λ is known to ε λ_max
    size = np.abs(targets).sum()
    bound = 30 * 10 * EPSILON * (1 + first + second) * size
    assert np.max(np.abs(whole.residual - rest.residual)) <= bound
    assert np.max(np.abs(whole.coefficients - half.coefficients - rest.coefficients)) <= bound * rate * (
        1 + first + second
    )
    # the learning rate is below 1/λ_max: no step raises the loss
    assert whole.loss <= half.loss + bound * size


@given(problems(), st.floats(1e-3, 1e3))
def test_flow_is_descent_at_a_small_rate(problem, time):
    features, targets = problem
    kernel = features @ features.T
    largest = float(np.linalg.eigvalsh(kernel)[-1])
    time = time / max(largest, 1.0)
    steps = 2**30
    ours = gradient_flow(kernel, targets, time=time)
    theirs = gradient_descent(kernel, targets, learning_rate=time / steps, steps=steps)
    # (1 - x/t)ᵗ differs from e^{-x} by less than x² e^{-x}/t <= 1/t, and the coefficients by time times that
    bound = (1 / steps + 30 * 10 * EPSILON * (1 + time * largest)) * np.abs(targets).sum()
    assert np.max(np.abs(ours.residual - theirs.residual)) <= bound
    assert np.max(np.abs(ours.coefficients - theirs.coefficients)) <= bound * time


@given(problems(outputs=(3,)), st.integers(0, 9))
def test_outputs_together_and_apart(problem, steps):
    features, targets = problem
    kernel = features @ features.T
    largest = float(np.linalg.eigvalsh(kernel)[-1])
    rate = 1.1 / largest if largest else 1.0
    apart = gradient_descent(kernel, targets, learning_rate=rate, steps=steps)
    together = gradient_descent(np.kron(kernel, np.eye(3)), targets, learning_rate=rate, steps=steps)
    mean = gradient_descent(kernel, targets, learning_rate=rate * len(kernel), steps=steps, reduction="mean")
    bound = 30 * 15 * EPSILON * max(steps, 1) ** 2 * rate * np.abs(targets).sum()
    for other in (together, mean):
        assert np.max(np.abs(apart.coefficients - other.coefficients)) <= bound
    probe = np.ones((2, features.shape[1])) @ features.T
    ours = apart.outputs(probe, np.ones((2, 3)))
    theirs = together.outputs(np.kron(probe, np.eye(3)), np.ones((2, 3)))
    assert np.max(np.abs(ours - theirs)) <= bound * (1 + np.abs(probe).sum()) + 30 * EPSILON
    assert together.rank == 3 * apart.rank


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9])
def test_momentum_counts_every_gradient_in_full_in_the_end(momentum):
    rng = np.random.default_rng(3)
    features, targets = rng.standard_normal((6, 30)), rng.standard_normal(6)
    kernel = features @ features.T
    rate = 1.0 / float(np.linalg.eigvalsh(kernel)[-1])
    residuals = np.zeros(6)
    steps = 2000
    for step in range(steps):
        residuals += gradient_descent(kernel, targets, learning_rate=rate, steps=step, momentum=momentum).residual
    limit = converged(kernel, targets).coefficients
    found = rate * residuals / (1 - momentum)
    # k: the sum of 2000 residuals
    assert np.max(np.abs(found - limit)) <= 30 * steps * EPSILON * np.max(np.abs(limit)) * np.linalg.cond(kernel)


def test_coinciding_samples_share_their_coefficient_and_opposite_labels_are_not_fitted():
    features = np.array([[1.0, 2.0], [1.0, 2.0], [0.0, 1.0]])
    found = converged(features @ features.T, np.array([1.0, -1.0, 1.0]))
    assert found.rank == 2
    # k: 3, κ: that of the regular part, below 40
    np.testing.assert_allclose(found.unfitted, [1.0, -1.0, 0.0], atol=30 * 3 * 40 * EPSILON)
    assert abs(found.coefficients[0] - found.coefficients[1]) <= 30 * 3 * 40 * EPSILON
    assert "rank 2 of 3" in found.explanation
    assert "norm 1.4" in found.explanation
    assert converged(np.zeros((2, 2)), np.ones(2)).coefficients.tolist() == [0.0, 0.0]
    assert gradient_descent(np.zeros((2, 2)), np.ones(2), learning_rate=1e9, steps=10, momentum=0.9).rank == 0


WRONG = {
    "kernel: found shape (2, 3)": {"kernel": np.ones((2, 3))},
    "(3, 3) is accepted": {"kernel": np.eye(2)},
    "kernel: found K and its transpose 1 apart": {"kernel": np.eye(3) + np.eye(3, k=1)},
    "kernel: found the eigenvalue -1 beside": {"kernel": np.diag([1.0, -1.0, 2.0])},
    "kernel: found a number that is not finite": {"kernel": np.full((3, 3), np.nan)},
    "targets: found shape ()": {"targets": 1.0},
    "targets: found a number that is not finite": {"targets": np.array([np.inf, 0.0, 1.0])},
    "initial_outputs: found shape (2,)": {"initial_outputs": np.zeros(2)},
    "reduction: found 'max'": {"reduction": "max"},
    "tolerance: found 2": {"tolerance": 2},
    "steps: found '-1'": {"steps": -1},
    "steps: found '1.5'": {"steps": 1.5},
    "steps: found 'True'": {"steps": True},
    "momentum: found 1": {"momentum": 1},
    "momentum: found 'nan'": {"momentum": float("nan")},
    "learning_rate: found 0": {"learning_rate": 0},
    "below 0.666667 = 2/λ_max is accepted": {"learning_rate": 0.7},
    "below 2 = 3 times 2/λ_max is accepted": {"learning_rate": 2.1, "reduction": "mean"},
    "below 1 = 2(1 + ρ)/λ_max is accepted": {"learning_rate": 1.1, "momentum": 0.5},
    "below 0.5 = 2(1 + ρ)/((1 + 2ρ) λ_max) is accepted": {"learning_rate": 0.6, "momentum": 0.5, "nesterov": True},
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments(message):
    arguments = {"kernel": np.diag([1.0, 2.0, 3.0]), "targets": np.ones(3), "learning_rate": 0.1, "steps": 5}
    arguments |= WRONG[message]
    with pytest.raises(InputError) as caught:
        gradient_descent(arguments.pop("kernel"), arguments.pop("targets"), **arguments)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_wrong_arguments_of_the_others():
    with pytest.raises(InputError, match="time: found -1"):
        gradient_flow(np.eye(2), np.ones(2), time=-1)
    found = converged(np.eye(4), np.ones((2, 2)))
    with pytest.raises(InputError, match=r"kernel_columns: found shape \(2, 3\); \(m, 4\)"):
        found.outputs(np.ones((2, 3)))
    with pytest.raises(InputError, match="found 3 rows; a multiple of the 2 outputs"):
        found.outputs(np.ones((3, 4)))
    with pytest.raises(InputError, match="initial_outputs: found shape"):
        found.outputs(np.ones((2, 4)), np.ones(3))
    assert gradient_flow(np.eye(2), np.ones(2), time=0).coefficients.tolist() == [0.0, 0.0]


@pytest.mark.parametrize("momentum, nesterov", [(0.0, False), (0.6, False), (0.6, True)])
def test_the_limit_of_stability_is_sharp(momentum, nesterov):
    kernel, largest = np.diag([1.0, 3.0]), 3.0
    bound = stability_limit(largest, momentum=momentum, nesterov=nesterov)
    inside = gradient_descent(
        kernel, np.ones(2), learning_rate=0.999 * bound, steps=20000, momentum=momentum, nesterov=nesterov
    )
    assert inside.loss < 1e-6
    velocity, theta = 0.0, 0.0
    for _ in range(20000):  # one scalar problem, just outside
        there = theta + momentum * velocity if nesterov else theta
        velocity = momentum * velocity + 1.001 * bound * largest * (1.0 - there)
        theta += velocity
    assert abs(1.0 - theta) > 1e2


# Finite networks


def network(outputs=1, width=5, activation=None, loss="squared"):
    return Architecture("net", (3,), (Linear(width), activation or Tanh(), Linear(outputs)), loss)


@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("steps, momentum", [(0, 0.0), (7, 0.0), (40, 0.9), (None, 0.0)])
def test_a_finite_network_moves_as_its_parameters_do(outputs, steps, momentum):
    rng = np.random.default_rng(outputs)
    model = network(outputs, activation=ReLU())
    theta = Parameters.random(model, rng=rng)
    inputs, labels = rng.standard_normal((4, 3)), rng.standard_normal((4, outputs))
    found = train_linearised(model, theta, inputs, labels, steps=steps, momentum=momentum, labels_known=True)
    jacobian = tangents(model, theta, inputs).reshape(4 * outputs, -1)
    start = forward(model, theta, inputs).reshape(-1)
    rate = 1 / float(np.linalg.eigvalsh(jacobian @ jacobian.T)[-1])
    change, velocity = np.zeros(jacobian.shape[1]), np.zeros(jacobian.shape[1])
    if steps is None:
        change = np.linalg.lstsq(jacobian, labels.reshape(-1) - start, rcond=1e-10)[0]
    for _ in range(steps or 0):
        velocity = momentum * velocity + rate * jacobian.T @ (labels.reshape(-1) - start - jacobian @ change)
        change = change + velocity
    seen = found.observation
    assert (seen.kind, seen.batch_size) == ("parameter-change", 4)
    np.testing.assert_array_equal(seen.labels, labels)
    vector = np.concatenate([seen.vector[key].reshape(-1) for key in model.parameter_shapes])
    condition = np.linalg.cond(jacobian) ** 2
    # k: sums over up to 40 parameters in 40 steps
    bound = 30 * 40 * EPSILON * condition * max(1.0, np.abs(change).max())
    assert np.max(np.abs(vector - change)) <= bound
    assert embed(model, theta, found.measure).vector() == pytest.approx(vector, abs=0)
    probe = rng.standard_normal((3, 3))
    moved = forward(model, theta, probe) + (tangents(model, theta, probe) @ change).reshape(3, outputs)
    assert np.max(np.abs(found.outputs(probe) - moved)) <= bound * np.abs(tangents(model, theta, probe)).sum()
    assert np.max(np.abs(found.training.residual - (labels - found.outputs(inputs)))) <= bound * np.abs(jacobian).sum()


def test_metamorphic_relations_of_finite_networks():
    rng = np.random.default_rng(5)
    model = network(activation=ReLU())
    theta = Parameters.random(model, rng=rng)
    inputs, labels = rng.standard_normal((5, 3)), rng.standard_normal(5)
    found = train_linearised(model, theta, inputs, labels, steps=30)
    order = rng.permutation(5)
    other = train_linearised(model, theta, inputs[order], labels[order], steps=30)
    mean = train_linearised(model, theta, inputs, labels, steps=30, reduction="mean")
    # k: an eigenbasis of size 5, 30 steps
    bound = 30 * 5 * 30 * EPSILON * np.abs(labels).sum()
    assert np.max(np.abs(found.measure.coefficients[order] - other.measure.coefficients)) <= bound
    assert np.max(np.abs(found.measure.coefficients - mean.measure.coefficients)) <= bound
    assert (mean.observation.reduction, found.observation.labels) == ("mean", None)


@pytest.mark.parametrize("steps", [None, 3])
def test_the_tolerance_decides_what_is_fitted(steps):
    model = network()
    theta = Parameters.random(model, rng=1)
    inputs, labels = np.random.default_rng(1).standard_normal((4, 3)), np.ones(4)
    full = train_linearised(model, theta, inputs, labels, steps=steps)
    values = np.linalg.eigvalsh(full.kernel)
    # a tolerance between the two smallest eigenvalues, relative to the largest, leaves one direction out
    cut = train_linearised(
        model, theta, inputs, labels, steps=steps, tolerance=float(np.sqrt(values[0] * values[1]) / values[-1])
    )
    assert (full.training.rank, cut.training.rank) == (4, 3)
    assert np.linalg.norm(cut.training.unfitted) > 0 == np.linalg.norm(full.training.unfitted)
    assert full.training.explanation == ""
    assert "rank 3 of 4" in cut.training.explanation


def test_finite_networks_refuse():
    model = network(loss="logistic")
    theta = Parameters.random(model, rng=0)
    with pytest.raises(
        UnsupportedError, match="loss: found logistic; linearised training has a closed form for squared"
    ):
        train_linearised(model, theta, np.ones((1, 3)), np.ones(1))
    model = network()
    theta = Parameters.random(model, rng=0)
    with pytest.raises(InputError, match="labels: are 1; 2 would fit"):
        train_linearised(model, theta, np.ones((2, 3)), np.ones(1))
    with pytest.raises(InputError, match="inputs: found no samples"):
        train_linearised(model, theta, np.ones((0, 3)), np.ones(0))
    with pytest.raises(InputError, match="learning_rate: found 1e\\+09, with which training diverges"):
        train_linearised(model, theta, np.eye(3), np.ones(3), steps=2, learning_rate=1e9)


def test_a_kernel_of_infinite_width_is_accepted():
    from provable.kernels import ntk

    rng = np.random.default_rng(1)
    points = rng.standard_normal((6, 4))
    kernel, targets = ntk(1, "relu"), rng.standard_normal((6, 2))
    found = converged(kernel(points), targets)
    assert found.rank == 6
    # κ of the kernel matrix; k: its size
    bound = 30 * 6 * EPSILON * np.linalg.cond(kernel(points)) * np.abs(targets).sum()
    assert np.max(np.abs(found.outputs(kernel(points)) - targets)) <= bound
    # a positively homogeneous network's function is, too
    probe = rng.standard_normal((3, 4))
    assert np.max(np.abs(found.outputs(kernel(2 * probe, points)) - 2 * found.outputs(kernel(probe, points)))) <= bound


def test_tangent_kernel_ordering_is_the_targets():
    model = network(2)
    theta = Parameters.random(model, rng=2)
    points = np.random.default_rng(0).standard_normal((3, 3))
    kernel = tangent_kernel(model, theta, points)
    targets = np.arange(6.0).reshape(3, 2)
    found = converged(kernel, targets, initial_outputs=forward(model, theta, points))
    # κ of the kernel; k: its size
    bound = 30 * 6 * EPSILON * np.linalg.cond(kernel) * 10
    assert np.max(np.abs(found.outputs(kernel, forward(model, theta, points)) - targets)) <= bound


@pytest.mark.parametrize(
    "wrong", [{"learning_rate": 1e9}, {"momentum": 5.0}, {"learning_rate": -1.0}, {"reduction": "most"}]
)
def test_a_limit_that_is_not_reached_is_refused(wrong):
    model = Architecture("pair", (2,), (Linear(3), ReLU(), Linear(1)), "squared")
    with pytest.raises(InputError, match=next(iter(wrong))):
        train_linearised(model, Parameters.random(model, rng=0), np.eye(2), np.ones(2), **wrong)
