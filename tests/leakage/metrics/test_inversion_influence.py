"""The inversion influence function: the shift of least squares, its bound, and what neither can see."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Conv2d, Flatten, Linear, Tanh
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.leakage.metrics import Instance, cramer_rao, inversion_influence, random_instance, spectrum
from provable.networks import Parameters

seeds = st.integers(0, 2**32 - 1)
names = st.sampled_from(["dense", "logit", "convolution", "pooled", "residual"])


@given(name=names, seed=seeds)
def test_the_shift_is_that_of_least_squares(networks, dense_jacobian, name, seed):
    jacobian = random_instance(networks[name], rng=seed).jacobian()
    found, matrix = spectrum(jacobian), dense_jacobian(jacobian)
    perturbation = np.random.default_rng(seed).standard_normal(jacobian.shape[0])
    influence = inversion_influence(jacobian, found, perturbation)
    cut = math.sqrt(found.values[found.nullity] * (found.values[found.nullity - 1] if found.nullity else 0.0))
    wanted = np.linalg.pinv(matrix, rcond=cut / found.largest) @ perturbation
    # relative to the largest possible shift; squares of singular values are divided by
    scale = np.linalg.norm(perturbation) / found.values[found.nullity]
    tolerance = 30 * jacobian.shape[1] * EPSILON * 1e3 * found.condition_number
    assert abs(influence.shift - np.linalg.norm(wanted)) <= tolerance * scale
    assert influence.lower_bound <= influence.shift * (1 + tolerance)


def test_its_mean_square_is_the_bound_of_cramer_and_rao(networks):
    instance = random_instance(networks["dense"], rng=1)
    jacobian, noise, trials = instance.jacobian(), 0.1, 2000
    found = spectrum(jacobian)
    rng = np.random.default_rng(0)
    shifts = [
        inversion_influence(jacobian, found, noise * rng.standard_normal(jacobian.shape[0])).shift
        for _ in range(trials)
    ]
    variances = noise**2 / found.values**2
    bound = cramer_rao(networks["dense"], noise, instance=instance)
    # the mean of Σ variance_i χ²_1 over the trials has a standard deviation of √(2 Σ variance_i² / trials)
    spread = math.sqrt(2 * (variances**2).sum() / trials)
    assert abs(np.mean(np.square(shifts)) - bound.inputs * bound.rmse_lower_bound**2) <= 6 * spread


@pytest.mark.parametrize("seed", range(3))
def test_pixels_that_nothing_looks_at_do_not_show(seed):
    chain = (Conv2d(6, 2, 2), Tanh(), Flatten(), Linear(3))
    small = Architecture("even", (1, 4, 4), chain, "cross_entropy")
    large = Architecture("odd", (1, 5, 5), chain, "cross_entropy")
    inside = random_instance(small, rng=seed)
    sample = np.random.default_rng(seed).standard_normal((1, 1, 5, 5))
    sample[:, :, :4, :4] = inside.inputs
    outside = Instance(Parameters(large, dict(inside.parameters.arrays)), sample, inside.labels, "")
    perturbation = np.random.default_rng(seed).standard_normal(small.parameter_count)
    one, two = (
        inversion_influence(where.jacobian(), spectrum(where.jacobian()), perturbation) for where in (inside, outside)
    )
    tolerance = 30 * 25 * EPSILON * 1e3 * spectrum(inside.jacobian()).condition_number
    assert two.shift == pytest.approx(one.shift, rel=tolerance)
    assert two.lower_bound == pytest.approx(one.lower_bound, rel=tolerance)
    assert (one.nullity, two.nullity) == (0, 9)


def test_without_a_gradient_there_is_no_shift():
    network = Architecture("dead", (2,), (Linear(2), Tanh(), Linear(1)), "squared")
    zeros = Parameters(network, {name: np.zeros(shape) for name, shape in network.parameter_shapes.items()})
    jacobian = Instance(zeros, np.ones((1, 2)), np.zeros(1), "").jacobian()
    influence = inversion_influence(jacobian, spectrum(jacobian), np.ones(network.parameter_count))
    assert (influence.shift, influence.lower_bound, influence.nullity) == (0.0, 0.0, 2)
    with pytest.raises(InputError, match="covectors: found shape"):
        inversion_influence(jacobian, spectrum(jacobian), np.ones(3))
