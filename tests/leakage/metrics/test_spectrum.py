"""Singular values of the derivative against LAPACK's, graded ones included; ranks with their gaps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.leakage.metrics import Instance, Spectrum, random_instance, spectrum
from provable.leakage.metrics.spectrum import RESOLUTION
from provable.networks import Parameters

seeds = st.integers(0, 2**32 - 1)


@given(name=st.sampled_from(["dense", "logit", "convolution", "pooled", "residual"]), seed=seeds)
def test_singular_values_are_those_of_the_matrix(networks, dense_jacobian, name, seed):
    jacobian = random_instance(networks[name], rng=seed).jacobian()
    found, matrix = spectrum(jacobian), dense_jacobian(jacobian)
    order = jacobian.shape[1]
    values = np.linalg.svd(matrix, compute_uv=False)[::-1]
    values = np.concatenate([np.zeros(order - len(values)), values])
    # backward stable up to the loss in the directions of small singular values, which the module states
    assert np.allclose(found.values, values, rtol=0, atol=30 * order * EPSILON * 1e3 * values[-1])
    assert np.allclose(found.vectors.T @ found.vectors, np.eye(order), rtol=0, atol=30 * order * EPSILON)
    sizes = np.linalg.norm(matrix @ found.vectors, axis=0)
    assert np.allclose(sizes, found.values, rtol=0, atol=30 * order * EPSILON * 1e3 * values[-1])
    assert found.rank == np.linalg.matrix_rank(matrix, tol=RESOLUTION * values[-1])


@pytest.mark.parametrize("seed", range(3))
def test_small_singular_values_keep_their_digits(seed):
    # one neuron with weight w: the gradient of ½ (w·x - y)² for w is (w·x - y) x. At the label of residual r its
    # derivative is r I + x wᵀ, so scaling r down to δ leaves singular values δ in all directions but two
    rng = np.random.default_rng(seed)
    network = Architecture("neuron", (6,), (Linear(1, bias=False),), "squared")
    weight, sample = rng.standard_normal((1, 6)), rng.standard_normal((1, 6))
    for small in (1e-2, 1e-4, 1e-6):
        labels = sample @ weight.T - small
        jacobian = Instance(Parameters(network, {"0/weight": weight}), sample, labels, "").jacobian()
        found = spectrum(jacobian)
        residual = (sample @ weight.T - labels).item()
        # the middle ones are r exactly; what is lost is rounding over the refinement's 1e-3
        assert np.allclose(found.values[1:5], residual, rtol=0, atol=30 * EPSILON * 1e3 * found.largest)
        assert found.rank == 6 and found.is_resolved


def test_ranks_come_with_their_gap():
    clear = Spectrum(np.array([1e-15, 1e-14, 0.5, 1.0]), np.eye(4))
    assert (clear.nullity, clear.rank, clear.is_resolved, clear.condition_number) == (2, 2, True, 2.0)
    assert clear.gap == 0.5 / 1e-14
    vague = Spectrum(np.array([0.9 * RESOLUTION, 3 * RESOLUTION, 1.0]), np.eye(3))
    assert vague.nullity == 1 and not vague.is_resolved
    near = Spectrum(np.array([3 * RESOLUTION, 1.0]), np.eye(2))
    assert near.nullity == 0 and not near.is_resolved
    nothing = Spectrum(np.zeros(3), np.eye(3))
    assert (nothing.nullity, nothing.rank, nothing.condition_number) == (3, 0, float("inf"))


def test_sizes_beyond_memory_are_refused_with_the_number():
    network = Architecture("wide", (5000,), (Linear(1),), "squared")
    with pytest.raises(UnsupportedError, match=r"inputs: found 5000 values; .* 0\.9 GiB; at most 4096"):
        spectrum(random_instance(network).jacobian())


@pytest.mark.parametrize(("size", "word"), [(1e80, "large"), (1e-70, "small")])
def test_derivatives_beyond_float64_are_refused(size, word):
    network = Architecture("neuron", (3,), (Linear(1, bias=False),), "squared")
    parameters = Parameters(network, {"0/weight": np.full((1, 3), size)})
    instance = Instance(parameters, np.full((1, 3), size), np.zeros(1), "")
    with pytest.raises(UnsupportedError, match=f"squares are too {word} for float64"):
        spectrum(instance.jacobian())


def test_no_samples_are_refused():
    network = Architecture("neuron", (3,), (Linear(1, bias=False),), "squared")
    parameters = Parameters(network, {"0/weight": np.ones((1, 3))})
    with pytest.raises(InputError, match="inputs: found no samples"):
        spectrum(Instance(parameters, np.ones((0, 3)), np.zeros(0), "").jacobian())


@pytest.mark.parametrize("seed", [-1, True, "one", 0.5])
def test_other_seeds_are_refused(networks, seed):
    with pytest.raises(InputError, match="rng: found"):
        random_instance(networks["dense"], rng=seed)


@given(name=st.sampled_from(["dense", "logit", "convolution", "pooled", "residual"]), seed=seeds)
def test_instances_are_repeatable(networks, name, seed):
    one, two = random_instance(networks[name], rng=seed), random_instance(networks[name], rng=seed)
    assert one.parameters == two.parameters and (one.inputs == two.inputs).all() and (one.labels == two.labels).all()
    assert f"seed {seed}" in one.description
