"""Training to stationary points: equations are checked with the network's own tangents, not with the trainer's."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st
from sklearn.datasets import load_digits

from provable.architectures import Architecture, LeakyReLU, Linear, Polynomial, ReLU, Sigmoid, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.networks import Parameters, embed, forward, tangents
from provable.training import small_first_layer, train_to_stationarity


def network(widths, activation, dimension, *, bias=True, loss="logistic", outputs=1):
    layers = []
    for number, width in enumerate(widths):
        layers += [Linear(width, bias=bias and not number), activation]
    return Architecture("net", (dimension,), (*layers, Linear(outputs, bias=False)), loss)


def separated(samples, dimension, seed):
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(samples) % 2 == 0, 1.0, -1.0)
    points = rng.standard_normal((samples, dimension))
    points[:, 0] += 0.5 * labels
    return points, labels


def clarke_gap(found):
    """‖θ - Σ c_i ∇f_i‖/‖θ‖ by formula, for two layers with first-layer bias; an independent oracle."""
    weight, bias, out = (found.trained[name] for name in ("0/weight", "0/bias", "2/weight"))
    ones = np.column_stack([found.inputs, np.ones(len(found.inputs))])
    c, s = found.coefficients[:, 0], found.slopes["1"]
    z = found.inputs @ weight.T + bias
    first = out[0][:, None] * ((c[:, None] * s).T @ ones)
    second = (s * z).T @ c
    theta = np.concatenate([np.column_stack([weight, bias]).reshape(-1), out[0]])
    return np.linalg.norm(theta - np.concatenate([first.reshape(-1), second])) / np.linalg.norm(theta)


@settings(max_examples=5, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from((1e-1, 1e-2, 1e-3)), st.sampled_from((ReLU(), LeakyReLU(0.2))))
def test_relu_networks_with_weight_decay(seed, decay, activation):
    architecture = network((12,), activation, 3)
    points, labels = separated(5, 3, seed)
    start = small_first_layer(architecture, size=0.1, rng=seed)
    found = train_to_stationarity(architecture, start, points, labels, weight_decay=decay, steps=2500)
    if np.linalg.norm(found.trained.vector()) < 1e-6:
        return  # weight decay has won
    left = getattr(activation, "negative_slope", 0.0)
    assert np.all((found.slopes["1"] >= left - 1e-11) & (found.slopes["1"] <= 1 + 1e-11))
    assert abs(clarke_gap(found) - found.residual) <= 1e-12
    # c = -ℓ'/w: by the loss, independently
    np.testing.assert_allclose(found.multipliers, 1 / (1 + np.exp(found.margins)) / decay, rtol=1e-12)
    if found.finished:
        assert found.residual <= 1e-10
        z = found.inputs @ found.trained["0/weight"].T + found.trained["0/bias"]
        inside = (found.slopes["1"] > left + 1e-9) & (found.slopes["1"] < 1 - 1e-9)
        assert np.abs(z[inside]).max(initial=0.0) <= 1e-10 * np.abs(z).max()
        # Euler: ‖θ‖² = 2 Σ λ_i y_i f_i, with the residual's error
        squared = float(found.trained.vector() @ found.trained.vector())
        assert abs(squared - 2 * found.multipliers @ found.margins) <= 1e-9 * squared


@settings(max_examples=6, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(("logistic", "exponential")))
def test_max_margin_points_satisfy_all_conditions(seed, loss):
    architecture = network((10,), ReLU(), 3)
    points, labels = separated(5, 3, seed)
    start = small_first_layer(architecture, size=0.3, rng=seed)
    try:
        found = train_to_stationarity(architecture, start, points, labels, loss=loss, steps=2500)
    except InputError as error:  # a sample for which all units are off stays where it is
        assert re.search(r"has the margin -?0 after", str(error))
        reject()
    assert found.margins.min() == pytest.approx(1, abs=1e-10)
    assert found.multipliers.min() >= 0
    assert abs(clarke_gap(found) - found.residual) <= 1e-12
    if found.finished:
        assert found.residual <= 1e-10
        assert np.abs(found.multipliers * (found.margins - 1)).max() <= 1e-10 * found.multipliers.max()
    assert found.history.threshold is not None
    assert found.history.angles[-1] < 1.0


def test_most_small_problems_are_finished():
    """The tests above allow for points that could not be finished; these are few."""
    finished = []
    for seed in range(6):
        architecture = network((12,), ReLU(), 4)
        points, labels = separated(6, 4, seed)
        start = small_first_layer(architecture, size=0.1, rng=seed)
        for decay in (1e-2, 0.0):
            found = train_to_stationarity(architecture, start, points, labels, weight_decay=decay, steps=2500)
            finished.append(found.finished)
            assert found.finished or (found.reason and found.residual == found.descent_residual)
    assert np.mean(finished) >= 0.8  # 11 of 12 when this was written


def test_digits_in_three_layers():
    images, classes = load_digits(return_X_y=True)
    points, labels = images[:12] / 16 - 0.3, np.where(classes[:12] % 2 == 1, 1.0, -1.0)
    architecture = network((20, 20), ReLU(), 64)
    start = small_first_layer(architecture, size=0.1, rng=0)
    found = train_to_stationarity(architecture, start, points, labels, weight_decay=1e-2, steps=8000)
    assert found.finished, found.reason
    assert found.residual <= 1e-13
    assert found.hard_residual > 1e-3  # kinks: backpropagation alone does not see stationarity
    squared = [float((found.trained[name] ** 2).sum()) for name in ("2/weight", "4/weight")]
    assert squared[0] == pytest.approx(squared[1], rel=1e-10)  # balance of the layers
    assert squared[0] == pytest.approx(float(found.multipliers @ found.margins), rel=1e-10)


@pytest.mark.parametrize(
    ("architecture", "decay"),
    [
        (network((15,), Tanh(), 3), 1e-2),
        (network((8, 8), Sigmoid(), 3), 1e-3),
        (network((10,), Polynomial((0.0, 0.0, 0.0, 1.0)), 3, bias=False), 1e-2),
        (network((10,), Polynomial((0.0, 1.0, 0.5, 0.2)), 3, loss="squared", outputs=2), 1e-2),
        (network((10,), Tanh(), 3, loss="cross_entropy", outputs=3), 1e-2),
    ],
    ids=["tanh", "sigmoid-3", "cube", "squared", "cross-entropy"],
)
def test_smooth_networks_reach_rounding(architecture, decay):
    points, labels = separated(6, 3, 1)
    if architecture.loss == "squared":
        labels = np.column_stack([labels, 0.5 * labels**2 - points[:, 0]])
    elif architecture.loss == "cross_entropy":
        labels = np.arange(6) % 3
    start = Parameters.random(architecture, rng=3)
    found = train_to_stationarity(architecture, start, points, labels, weight_decay=decay, steps=2000)
    assert found.finished, found.reason
    image = embed(architecture, found.trained, found.measure).vector()
    theta = found.trained.vector()
    assert np.linalg.norm(theta) > 0.1
    # k: sums over units and samples; errors of f enter c through ℓ'/w, which is f/w at most
    tangent = np.linalg.norm(tangents(architecture, found.trained, points).reshape(-1, len(theta)), axis=1).sum()
    condition = 1 + (1 + np.abs(found.outputs).max()) * tangent / decay / np.linalg.norm(theta)
    assert np.linalg.norm(theta - image) <= 30 * 20 * EPSILON * condition * np.linalg.norm(theta)
    assert found.residual == found.hard_residual
    if architecture.loss != "logistic":
        with pytest.raises(UnsupportedError, match="has no labels ±1"):
            _ = found.margins


@pytest.mark.parametrize("rule", ["gradient", "loss"])
@pytest.mark.parametrize("seed", (1, 2, 3))
def test_normalised_steps_do_not_depend_on_a_factor_of_the_loss(seed, rule):
    """Repeating all samples doubles loss and gradient: the steps stay the same."""
    architecture = network((6,), ReLU(), 2)
    points, labels = separated(3, 2, seed)
    start = Parameters.random(architecture, rng=seed)
    ends = [
        train_to_stationarity(
            architecture, start, np.tile(points, (k, 1)), np.tile(labels, k), loss="exponential", rule=rule,
            learning_rate=0.01, steps=1500, second_order=False,
        ).trained.vector()
        for k in (1, 2)
    ]  # fmt: skip
    # 1500 steps that roundings may put on different sides of a kink, each of up to a hundredth of the way
    assert np.linalg.norm(ends[0] - ends[1]) <= 1e-2 * np.linalg.norm(ends[0])


def test_observation_is_a_stationary_point():
    architecture = network((6,), Tanh(), 2)
    points, labels = separated(4, 2, 0)
    found = train_to_stationarity(
        architecture, Parameters.random(architecture, rng=0), points, labels, weight_decay=1e-2, steps=500
    )
    seen = found.observation(labels_known=True)
    assert (seen.kind, seen.batch_size) == ("stationary-point", 4)
    np.testing.assert_array_equal(seen.labels, labels)
    np.testing.assert_array_equal(seen.vector["0/weight"], found.trained["0/weight"])
    hidden = found.observation(batch_size_known=False)
    assert (hidden.batch_size, hidden.labels) == (None, None)


def test_history_ends_at_the_returned_point():
    architecture = network((12,), ReLU(), 3)
    points, labels = separated(5, 3, 2)
    start = small_first_layer(architecture, size=0.1, rng=2)
    found = train_to_stationarity(
        architecture, start, points, labels, weight_decay=0, steps=3000, second_order=False, records=30
    )
    history = found.history
    assert history.steps[0] == 0 and history.steps[-1] == 3000
    assert 10 < len(history.steps) <= 31
    assert history.angles[-1] <= 30 * EPSILON
    assert np.all(np.diff(history.norms[history.steps > (history.threshold or 0)]) > 0)
    late = history.normalised_margins[history.steps > 100]
    assert late[-1] > late[0] > 0
    assert found.reason == "no second-order finish was asked for"
    assert found.residual == found.descent_residual == found.hard_residual
    # the threshold: log 2 at that step or later records only
    log_losses = history.log_losses
    assert np.all(log_losses[history.steps < history.threshold] >= np.log(np.log(2)))


WRONG = {
    "weight_decay: found -1": {"weight_decay": -1},
    "weight_decay: found nan": {"weight_decay": float("nan")},
    "steps: found '0'": {"steps": 0},
    "records: found 'True'": {"records": True},
    "learning_rate: found 0": {"learning_rate": 0},
    "rule: found 'fast'; plain, loss, gradient": {"rule": "fast"},
    "rule: found 'loss' with weight decay": {"rule": "loss", "weight_decay": 0.1},
    "momentum: found 1": {"momentum": 1},
    "loss: found 'squared' for a network with logistic": {"loss": "squared"},
    "learning_rate: found 1e\\+300, with which training leaves the range of float64 at step": {
        "learning_rate": 1e300, "weight_decay": 0.1,
    },
}  # fmt: skip


@pytest.mark.parametrize("message", WRONG)
def test_wrong_arguments_are_named(message):
    architecture = network((4,), ReLU(), 2)
    points, labels = separated(4, 2, 0)
    with pytest.raises(InputError, match=message):
        train_to_stationarity(
            architecture, Parameters.random(architecture, rng=0), points, labels, **({"steps": 20} | WRONG[message])
        )


def test_networks_and_labels_that_have_no_margin_are_refused():
    points, labels = separated(4, 2, 0)
    tanh = network((4,), Tanh(), 2)
    with pytest.raises(InputError, match=r"layer 1 \(tanh\).*without weight decay a homogeneous one is accepted"):
        train_to_stationarity(tanh, Parameters.random(tanh, rng=0), points, labels)
    squared = network((4,), ReLU(), 2, loss="squared")
    with pytest.raises(InputError, match="weight_decay: found 0 with the loss squared"):
        train_to_stationarity(squared, Parameters.random(squared, rng=0), points, labels)
    relu = network((4,), ReLU(), 2)
    twice = np.concatenate([points, points[:1]])
    with pytest.raises(InputError, match=r"labels: sample \d has the margin -.* after 300 steps"):
        train_to_stationarity(relu, Parameters.random(relu, rng=0), twice, np.append(labels, -labels[0]), steps=300)
    with pytest.raises(InputError, match="inputs: found no samples"):
        train_to_stationarity(relu, Parameters.random(relu, rng=0), points[:0], labels[:0])


EXTREME = {
    "one sample": (slice(0, 1), 1.0),
    "one class": (slice(0, 3, 2), 1.0),
    "duplicates": ([0, 0, 1, 1, 2], 1.0),
    "opposite labels far apart": ([0, 1], 100.0),
    "small": (slice(0, 4), 1e-3),
}


@pytest.mark.parametrize("decay", [1e-3, 0.0])
@pytest.mark.parametrize("name", EXTREME)
def test_degenerate_samples(name, decay):
    """Either the point passes, or it is said why not; nothing warns or breaks."""
    chosen, factor = EXTREME[name]
    points, labels = np.random.default_rng(0).standard_normal((4, 2)), np.array([1.0, -1.0, 1.0, -1.0])
    points, labels = factor * points[chosen], labels[chosen]
    architecture = network((8,), ReLU(), 2)
    start = small_first_layer(architecture, size=0.1, rng=1)
    try:
        found = train_to_stationarity(architecture, start, points, labels, weight_decay=decay, steps=1500)
    except InputError as error:
        assert "has the margin" in str(error) and decay == 0 and name == "small"
        return
    assert clarke_gap(found) == pytest.approx(found.residual, abs=1e-11)
    assert found.finished == (found.reason == "")
    assert found.finished or name == "small"


def test_samples_in_one_dimension():
    """Knots lie on samples: kinks are the rule."""
    architecture = network((10,), ReLU(), 1)
    points, labels = np.array([[-1.0], [0.0], [1.0], [2.5]]), np.array([1.0, -1.0, 1.0, 1.0])
    start = small_first_layer(architecture, size=0.3, rng=1)
    found = train_to_stationarity(architecture, start, points, labels, steps=3000)
    assert found.finished, found.reason
    assert clarke_gap(found) <= 1e-12
    assert found.margins.min() == pytest.approx(1, abs=1e-11)


def test_forward_of_the_result_agrees_with_its_outputs():
    architecture = network((8,), ReLU(), 3)
    points, labels = separated(4, 3, 5)
    found = train_to_stationarity(
        architecture, small_first_layer(architecture, rng=0, size=0.1), points, labels, weight_decay=1e-2, steps=1500
    )
    np.testing.assert_array_equal(found.outputs, forward(architecture, found.trained, points))
    np.testing.assert_allclose(found.loss, np.logaddexp(0, -found.margins).sum(), rtol=1e-14)
