"""The Cramér-Rao bound: attained by least squares, invariant where it must be, infinite where nothing can be seen."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear, Tanh
from provable.architectures.zoo import from_zoo
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.leakage.metrics import Instance, Spectrum, cramer_rao, random_instance
from provable.leakage.metrics.cramer_rao import bounds
from provable.networks import Parameters, loss_gradient

seeds = st.integers(0, 2**32 - 1)
names = st.sampled_from(["dense", "logit", "convolution", "pooled", "residual"])


def of_matrix(matrix, noise):
    """Bounds of the linear model v = A x + noise."""
    _, values, rows = np.linalg.svd(matrix, full_matrices=True)
    values = np.concatenate([np.zeros(len(rows) - len(values)), values[::-1]])
    return bounds(Spectrum(values, rows[::-1].T), noise, description="linear", is_local=False)


@pytest.mark.parametrize("seed", range(4))
def test_least_squares_attains_it_on_linear_models(seed):
    rng = np.random.default_rng(seed)
    order, trials, noise = 5, 4000, 0.3
    matrix = rng.standard_normal((9, order)) * 10.0 ** rng.uniform(-2, 0, order)
    bound = of_matrix(matrix, noise)
    errors = noise * rng.standard_normal((trials, 9)) @ np.linalg.pinv(matrix).T
    variances = noise**2 * np.linalg.eigvalsh(np.linalg.inv(matrix.T @ matrix))
    # the squared error is Σ variance_i χ²_1: its mean has a standard deviation of √(2 Σ variance_i² / trials)
    spread = math.sqrt(2 * (variances**2).sum() / trials)
    assert abs((errors**2).sum() / trials - order * bound.rmse_lower_bound**2) <= 6 * spread
    # each coordinate alone: relative standard deviation √(2 / trials) of its mean square
    ratio = (errors**2).mean(axis=0) / bound.coordinate_lower_bounds**2
    assert (abs(ratio - 1) <= 6 * math.sqrt(2 / trials)).all()


def test_the_best_attack_on_a_network_attains_it_for_small_noise(dense_jacobian):
    network = Architecture("small", (3,), (Linear(4), Tanh(), Linear(2)), "cross_entropy")
    instance = random_instance(network, rng=2)
    noise, trials = 1e-5, 300
    bound = cramer_rao(network, noise, instance=instance)
    assert bound.nullity == 0
    rng = np.random.default_rng(0)
    truth = loss_gradient(network, instance.parameters, instance.inputs, instance.labels).vector()
    squares = []
    for _ in range(trials):
        observed, guess = truth + noise * rng.standard_normal(truth.shape), instance.inputs.copy()
        for _ in range(3):  # Gauss-Newton for the maximum of the likelihood
            there = Instance(instance.parameters, guess, instance.labels, "")
            fitted = loss_gradient(network, instance.parameters, guess, instance.labels).vector()
            guess = guess + np.linalg.lstsq(dense_jacobian(there.jacobian()), observed - fitted, rcond=None)[0]
        squares.append(((guess - instance.inputs) ** 2).sum())
    variances = bound.noise**2 / np.linalg.svd(dense_jacobian(instance.jacobian()), compute_uv=False) ** 2
    # sampling error as above; curvature adds a share of the order of the bound itself (1e-4) and less
    spread = math.sqrt(2 * (variances**2).sum() / trials)
    assert abs(np.mean(squares) - 3 * bound.rmse_lower_bound**2) <= 6 * spread + 1e-3 * 3 * bound.rmse_lower_bound**2


@given(name=names, seed=seeds, power=st.integers(-20, 20))
def test_it_is_proportional_to_the_noise(networks, name, seed, power):
    instance = random_instance(networks[name], rng=seed)
    one = cramer_rao(networks[name], 1.0, instance=instance)
    other = cramer_rao(networks[name], 2.0**power, instance=instance)  # a power of 2, so exactly
    assert other.nullity == one.nullity
    assert (other.coordinate_lower_bounds == 2.0**power * one.coordinate_lower_bounds).all()
    if one.infinite:
        assert other.infinite
    else:
        assert other.rmse_lower_bound == 2.0**power * one.rmse_lower_bound


@given(seed=seeds)
def test_rotating_the_inputs_changes_nothing(networks, seed):
    network = networks["dense"]
    instance = random_instance(network, rng=seed)
    rotation = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))[0]
    arrays = dict(instance.parameters.arrays)
    arrays["0/weight"] = arrays["0/weight"] @ rotation.T
    rotated = Instance(Parameters(network, arrays), instance.inputs @ rotation.T, instance.labels, "")
    one, two = (cramer_rao(network, 1.0, instance=where) for where in (instance, rotated))
    assert one.nullity == two.nullity == 0
    # relative errors of singular values are ε times the condition number, and the refinement's 1e-3
    tolerance = 30 * 5 * EPSILON * 1e3 * one.condition_number
    assert two.rmse_lower_bound == pytest.approx(one.rmse_lower_bound, rel=tolerance)


@given(seed=seeds, rows=st.integers(1, 8), columns=st.integers(1, 5), more=st.integers(0, 4))
def test_seeing_less_never_lowers_it(seed, rows, columns, more):
    matrix = np.random.default_rng(seed).standard_normal((rows + more, columns))
    less, all_of_it = of_matrix(matrix[:rows], 1.0), of_matrix(matrix, 1.0)
    slack = 1 + 30 * columns * EPSILON * less.condition_number**2
    assert (all_of_it.coordinate_lower_bounds <= slack * less.coordinate_lower_bounds).all()
    assert less.infinite == (rows < columns)
    if not less.infinite:
        assert all_of_it.rmse_lower_bound <= slack * less.rmse_lower_bound


@given(name=names, seed=seeds)
def test_bounds_of_coordinates_add_up(networks, name, seed):
    bound = cramer_rao(networks[name], 0.1, rng=seed)
    if bound.infinite:
        assert bound.nullity > 0 and np.isinf(bound.coordinate_lower_bounds).any()
    else:
        total = (bound.coordinate_lower_bounds**2).mean()
        assert math.sqrt(total) == pytest.approx(bound.rmse_lower_bound, rel=30 * bound.inputs * EPSILON)
        assert bound.identifiable_rmse_lower_bound == pytest.approx(bound.rmse_lower_bound, rel=30 * EPSILON)


def test_pixels_that_nothing_looks_at_have_an_infinite_bound(networks):
    # 2×2 kernels with stride 2 on 5×5 pixels leave out the last row and column: 9 pixels of each of 2 channels. The
    # layer has 8 outputs and 16 weights for the other 32 values: more of them are not determined, but not single pixels
    bound = cramer_rao(networks["convolution"], 1.0)
    dead = np.zeros((2, 5, 5), dtype=bool)
    dead[:, 4], dead[:, :, 4] = True, True
    assert bound.infinite and bound.nullity >= 18
    assert np.isinf(bound.coordinate_lower_bounds[dead.reshape(-1)]).all()


def test_only_unseen_pixels_are_lost_where_all_others_are_seen():
    network = from_zoo("cnn-digits")
    wide = Architecture("strided", (1, 9, 9), network.layers, "cross_entropy")
    assert cramer_rao(wide, 1.0).nullity == 0
    strided = Architecture("strided", (1, 9, 9), (Conv2d(8, 2, 2), Tanh(), Flatten(), Linear(3)), "cross_entropy")
    bound = cramer_rao(strided, 1.0)
    dead = np.zeros((9, 9), dtype=bool)
    dead[8], dead[:, 8] = True, True
    assert bound.nullity == 17 and bound.infinite
    assert (np.isinf(bound.coordinate_lower_bounds) == dead.reshape(-1)).all()
    assert bound.to_dict()["identifiable"]["dimensions"] == 64
    assert 0 < bound.identifiable_rmse_lower_bound < math.inf


@pytest.mark.parametrize("noise", [1e-300, 1e-160, 1e160, 1e300])
def test_noise_whose_square_is_no_float_is_no_obstacle(networks, noise):
    one, other = (cramer_rao(networks["dense"], sigma, rng=0) for sigma in (1.0, noise))
    # one multiplication by the noise behind the same numbers
    assert other.rmse_lower_bound == noise * one.rmse_lower_bound
    np.testing.assert_array_equal(other.coordinate_lower_bounds, noise * one.coordinate_lower_bounds)


def test_a_bound_that_is_no_float_is_not_called_infinite(networks):
    bound = cramer_rao(networks["dense"], 1.7e308, rng=0)
    assert not bound.infinite and math.isfinite(bound.rmse_lower_bound)
    json.dumps(bound.to_dict(), allow_nan=False)


def test_a_network_without_a_gradient_tells_nothing():
    network = Architecture("dead", (2,), (Linear(2), Tanh(), Linear(1)), "squared")
    zeros = Parameters(network, {name: np.zeros(shape) for name, shape in network.parameter_shapes.items()})
    bound = cramer_rao(network, 1.0, instance=Instance(zeros, np.ones((1, 2)), np.zeros(1), "all zero"))
    assert bound.infinite and bound.nullity == 2 and bound.identifiable_rmse_lower_bound is None
    assert np.isinf(bound.coordinate_lower_bounds).all()
    text = json.dumps(bound.to_dict(), allow_nan=False)
    assert json.loads(text)["condition_number"] is None


def test_vague_singular_values_are_no_infinity():
    vague = bounds(Spectrum(np.array([5e-12, 2e-11, 1.0]), np.eye(3)), 1.0, description="", is_local=False)
    assert vague.nullity is None and not vague.infinite
    assert vague.to_dict()["identifiable"]["dimensions"] is None
    assert vague.rmse_lower_bound == pytest.approx(math.sqrt((1 + 2.5e21) / 3))


@given(name=names, seed=seeds, batch_size=st.integers(2, 3))
def test_a_sample_in_a_batch_is_no_easier_to_find(networks, name, seed, batch_size):
    batch = random_instance(networks[name], batch_size=batch_size, rng=seed)
    steps = []
    together = cramer_rao(networks[name], 1.0, instance=batch, progress=lambda done, total: steps.append((done, total)))
    assert steps[-1] == (together.inputs, together.inputs) and together.inputs == batch_size * networks[name].input_size
    first = Instance(batch.parameters, batch.inputs[:1], batch.labels[:1], "")
    alone = cramer_rao(networks[name], 1.0, instance=first)
    if together.nullity is None or alone.nullity is None:
        return
    # J of the batch has the columns of one sample and more: nuisances never help. Squares of singular values are
    # inverted, and what is lost in them is ε over the refinement's 1e-3
    slack = 1 + 30 * together.inputs * EPSILON * 1e3 * together.condition_number
    inside = together.coordinate_lower_bounds[: alone.inputs]
    assert (alone.coordinate_lower_bounds <= slack * inside).all()
    assert alone.nullity <= together.nullity


def test_a_batch_hides_more_than_its_samples_do():
    # one neuron: g x for each of two samples, of which only the sum is seen, so 3 of 6 dimensions are open at least
    network = Architecture("neuron", (3,), (Linear(1, bias=False),), "squared")
    assert cramer_rao(network, 1.0).nullity == 0
    assert cramer_rao(network, 1.0, batch_size=2).nullity == 3


def test_the_cell_is_named_where_there_is_one(networks):
    assert cramer_rao(networks["logit"], 1.0).is_local and not cramer_rao(networks["dense"], 1.0).is_local


@pytest.mark.parametrize("noise", [-1.0, math.inf, math.nan, True, "loud"])
def test_other_noise_is_refused(networks, noise):
    with pytest.raises(InputError, match="noise: found"):
        cramer_rao(networks["dense"], noise)


def test_misfits_are_refused(networks):
    with pytest.raises(InputError, match="instance: found one of dense; logit is accepted"):
        cramer_rao(networks["logit"], 1.0, instance=random_instance(networks["dense"]))
    with pytest.raises(InputError, match="batch_size: found '0'"):
        cramer_rao(networks["dense"], 1.0, batch_size=0)
    with pytest.raises(UnsupportedError, match="found 150528 values"):
        cramer_rao(Architecture("big", (150528,), (Linear(2),), "cross_entropy"), 1.0)
