"""Tangents against difference quotients in exact arithmetic, floats against exact numbers, embedding and kernel."""

from __future__ import annotations

import math
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures import (
    Activation,
    Architecture,
    AvgPool2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Polynomial,
    Residual,
)
from provable.arithmetic import EPSILON, RATIONAL, Arithmetic, Array, Float
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks import (
    Parameters,
    backpropagate,
    embed,
    forward,
    tangent_kernel,
    tangents,
    trace,
)

WIDE = Arithmetic("ball", bits=600)
STEP = flint.fmpq(1, 2**150)
seeds = st.integers(0, 2**32 - 1)
few = settings(max_examples=8)  # for each of up to twenty networks


def instance(architecture: Architecture, seed: int, count: int = 2) -> tuple[Parameters, Float]:
    """Random parameters and samples; no pre-activation is near a kink (that has probability below 1e-10)."""
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng, scale="lecun")
    return parameters, rng.standard_normal((count, *architecture.input_shape))


def one_of_each(architecture: Architecture, seed: int) -> list[int]:
    """One random coordinate of every parameter array, as indices into the vector."""
    rng, start, result = np.random.default_rng(seed), 0, []
    for shape in architecture.parameter_shapes.values():
        result.append(start + int(rng.integers(math.prod(shape))))
        start += math.prod(shape)
    return result


def quotient(architecture: Architecture, parameters: Parameters, samples: Array, coordinate: int) -> Array:
    """Central difference of the outputs along one parameter, by forward evaluations only."""
    shifted = []
    for step in (STEP, -STEP):
        vector = parameters.vector().copy()
        vector[coordinate] = vector[coordinate] + step
        shifted.append(forward(architecture, Parameters.from_vector(architecture, vector), samples))
    difference: Array = (shifted[0] - shifted[1]) / (2 * STEP)
    return difference


@few
@given(seed=seeds)
def test_tangents_equal_exact_difference_quotients(piecewise_linear: Architecture, seed: int) -> None:
    parameters, samples = RATIONAL.convert(instance(piecewise_linear, seed))
    found = tangents(piecewise_linear, parameters, samples)
    assert found.shape == (2, piecewise_linear.output_size, piecewise_linear.parameter_count)
    for coordinate in one_of_each(piecewise_linear, seed):
        assert (found[:, :, coordinate] == quotient(piecewise_linear, parameters, samples, coordinate)).all()


@few
@given(seed=seeds)
def test_tangents_are_limits_of_difference_quotients(smooth: Architecture, seed: int) -> None:
    with WIDE.working():
        parameters, samples = WIDE.convert(instance(smooth, seed))
        found = tangents(smooth, parameters, samples)
        for coordinate in one_of_each(smooth, seed):
            difference = found[:, :, coordinate] - quotient(smooth, parameters, samples, coordinate)
            for entry in difference.reshape(-1):
                # the truncation error is STEP² / 6 times a third derivative, hence below 2**-250 for those below 2**50;
                # the radius shows that the balls are narrow enough for that to be a test
                assert abs(entry).upper() < 2.0**-250 and entry.rad() < 2.0**-250


TRANSCENDENTAL = {"tanh", "sigmoid", "softplus", "erf", "gelu", "silu", "elu"}
BOUNDS = {
    "leaky_relu": (0.0, 1.0),
    "softplus": (0.7, 1.0),
    "sigmoid": (0.5, 0.25),
    "gelu": (0.0, 1.13),
    "erf": (0.0, 1.13),
}
"""Offset a and slope b with |σ(z)| ≤ a + b |z| and |σ'| ≤ b; (0, 1.1) for all others."""


def kinds(layers: tuple[Layer, ...]) -> list[str]:
    """Types of all layers, those inside residual blocks included."""
    inner = [kinds(layer.layers + layer.shortcut) for layer in layers if isinstance(layer, Residual)]
    return [layer.type for layer in layers] + [name for names in inner for name in names]


def majorant_layer(layer: Layer) -> Layer:
    """A layer that dominates another one, and its derivative, on absolute values."""
    if isinstance(layer, Residual):
        parts = (tuple(map(majorant_layer, chain)) for chain in (layer.layers, layer.shortcut))
        return Residual(*parts)
    if isinstance(layer, MaxPool2d):
        return AvgPool2d(layer.kernel_size, layer.stride, layer.padding)
    if isinstance(layer, Polynomial):
        return Polynomial(tuple(map(abs, layer.coefficients)))
    if isinstance(layer, Activation):
        return Polynomial(BOUNDS.get(layer.type, (0.0, 1.1)))
    return layer


def conditioning(architecture: Architecture, parameters: Parameters, samples: Float) -> tuple[Float, Float]:
    """Bounds, entry by entry, of how rounding is amplified in outputs and tangents: κ with error ≤ k ε κ.

    Sums of absolute values of all terms, times (1 + Σ |z|) for σ'(z) at rounded z where σ' is not constant, with all
    second derivatives below 1.1 (2 for polynomials inside the range met here); a maximum over a window of w entries
    is at most w times their mean. k is the number of layers.
    """
    layers = tuple(map(majorant_layer, architecture.layers))
    dominant = Architecture("majorant", architecture.input_shape, layers, "squared")
    absolute = Parameters(dominant, {name: abs(array) for name, array in parameters.items()})
    traced = trace(dominant, absolute, abs(samples))
    factor = float(math.prod(math.prod(p.kernel_size) for p in architecture.layers if isinstance(p, MaxPool2d)))
    if (TRANSCENDENTAL | {"polynomial"}) & set(kinds(architecture.layers)):
        factor *= 1 + sum(float(received.max(initial=0.0)) for received in traced.inputs.values())
    return factor * traced.output, factor * tangents(dominant, absolute, abs(samples))


@few
@given(seed=seeds)
def test_floats_agree_with_exact_numbers(network: Architecture, seed: int) -> None:
    parameters, samples = instance(network, seed)
    outputs, found = forward(network, parameters, samples), tangents(network, parameters, samples)
    system = WIDE if TRANSCENDENTAL & set(kinds(network.layers)) else RATIONAL
    with system.working():
        exact = system.convert((parameters, samples))
        errors = (
            abs(arithmetic.to_float(forward(network, *exact) - system.convert(outputs))),
            abs(arithmetic.to_float(tangents(network, *exact) - system.convert(found))),
        )
    for error, condition in zip(errors, conditioning(network, parameters, samples), strict=True):
        assert (error <= 30 * len(network.layers) * EPSILON * condition).all()


@few
@given(seed=seeds, data=st.data())
def test_embedding_contracts_the_tangents(network: Architecture, seed: int, data: st.DataObject) -> None:
    count = data.draw(st.integers(0, 3))
    parameters, samples = instance(network, seed, count)
    coefficients = np.random.default_rng(seed).standard_normal((count, network.output_size))
    measure = Measure(samples, coefficients)
    all_tangents = tangents(network, parameters, samples)
    expected = np.einsum("nk,nkp->p", coefficients, all_tangents)
    found = embed(network, parameters, measure)
    assert found.architecture == network
    # the two sums differ by rounding only; intermediate cancellation is bounded by the conditioning
    condition = np.einsum("nk,nkp->p", abs(coefficients), conditioning(network, parameters, samples)[1])
    assert (abs(found.vector() - expected) <= 30 * len(network.layers) * EPSILON * condition).all()
    if network.output_size == 1:
        assert embed(network, parameters, Measure(samples, coefficients[:, 0])) == found
    if count:
        doubled = Measure(np.concatenate([samples, samples]), np.concatenate([coefficients, -coefficients]))
        merged = embed(network, parameters, doubled.merged())
        assert (merged.vector() == 0).all()


@few
@given(seed=seeds)
def test_embedding_and_kernel_are_exact_in_rationals(piecewise_linear: Architecture, seed: int) -> None:
    parameters, samples = instance(piecewise_linear, seed, 3)
    coefficients = np.random.default_rng(seed).integers(-3, 4, (3, piecewise_linear.output_size)).astype(float)
    exact, points, weights = RATIONAL.convert((parameters, samples, coefficients))
    rows = tangents(piecewise_linear, exact, points).reshape(3 * piecewise_linear.output_size, -1)
    assert (embed(piecewise_linear, exact, Measure(points, weights)).vector() == weights.reshape(-1) @ rows).all()
    assert (tangent_kernel(piecewise_linear, exact, points) == rows @ rows.T).all()
    split = piecewise_linear.output_size
    assert (tangent_kernel(piecewise_linear, exact, points[:1], points[1:]) == rows[:split] @ rows[split:].T).all()


@few
@given(seed=seeds, n=st.integers(0, 3), m=st.integers(0, 3))
def test_kernel_is_the_gram_matrix_of_the_tangents(network: Architecture, seed: int, n: int, m: int) -> None:
    parameters, samples = instance(network, seed, n + m)
    X, Z = samples[:n], samples[n:]
    rows = tangents(network, parameters, samples).reshape((n + m) * network.output_size, network.parameter_count)
    left, right = rows[: n * network.output_size], rows[n * network.output_size :]
    kernel = tangent_kernel(network, parameters, X, Z)
    assert kernel.shape == (n * network.output_size, m * network.output_size)
    # each entry is a sum of P products of tangents, in two orders of summation; tangents that are sums over pixels
    # themselves are covered by the conditioning
    bound = conditioning(network, parameters, samples)[1].reshape(rows.shape)
    condition = bound[: len(left)] @ bound[len(left) :].T
    assert (abs(kernel - left @ right.T) <= 30 * len(network.layers) * EPSILON * condition).all()
    own = tangent_kernel(network, parameters, X)
    condition = bound[: len(left)] @ bound[: len(left)].T
    assert (abs(own - left @ left.T) <= 30 * len(network.layers) * EPSILON * condition).all()
    assert (abs(own - own.T) <= 30 * len(network.layers) * EPSILON * condition).all()


@few
@given(seed=seeds)
def test_coefficients_and_kernel_give_the_norm_of_the_embedding(network: Architecture, seed: int) -> None:
    parameters, samples = instance(network, seed, 2)
    coefficients = np.random.default_rng(seed).standard_normal((2, network.output_size))
    embedded = embed(network, parameters, Measure(samples, coefficients)).vector()
    kernel = tangent_kernel(network, parameters, samples)
    square = coefficients.reshape(-1) @ kernel @ coefficients.reshape(-1)
    bound = np.einsum("nk,nkp->p", abs(coefficients), conditioning(network, parameters, samples)[1])
    assert abs(embedded @ embedded - square) <= 30 * len(network.layers) * EPSILON * (bound @ bound)


@few
@given(seed=seeds)
def test_input_gradients_are_limits_of_difference_quotients(network: Architecture, seed: int) -> None:
    with WIDE.working():
        parameters, samples = WIDE.convert(instance(network, seed, 1))
        outputs = WIDE.convert(np.random.default_rng(seed).standard_normal((1, network.output_size)))
        found = backpropagate(network, parameters, trace(network, parameters, samples), outputs).input
        place = (0, *(int(i) for i in np.random.default_rng(seed).integers(network.input_shape)))
        shifted: list[Any] = []
        for step in (STEP, -STEP):
            moved = samples.copy()
            moved[place] = moved[place] + step
            shifted.append((outputs * forward(network, parameters, moved)).sum())
        error = found[place] - (shifted[0] - shifted[1]) / (2 * STEP)
        # truncation as for the tangents above
        assert abs(error).upper() < 2.0**-250


def test_residues_agree_with_rationals_modulo_the_prime() -> None:
    layers = (Linear(3), Polynomial((1.0, 2.0, 0.5)), Residual((Linear(3),)), Linear(2))
    architecture = Architecture("polynomial", (2,), layers, "squared")
    numbers = instance(architecture, 7)
    exact = tangents(architecture, *RATIONAL.convert(numbers))
    residues = tangents(architecture, *arithmetic.MODULAR.convert(numbers))
    prime = arithmetic.DEFAULT_PRIME
    for rational, residue in zip(exact.reshape(-1), residues.reshape(-1), strict=True):
        assert (int(rational.q) * int(residue) - int(rational.p)) % prime == 0


def test_networks_without_parameters_have_empty_tangents() -> None:
    architecture = Architecture("flat", (1, 2, 2), (AvgPool2d(2), Flatten()), "squared")
    parameters = Parameters(architecture, {})
    samples = np.ones((3, 1, 2, 2))
    assert tangents(architecture, parameters, samples).shape == (3, 1, 0)
    assert (tangent_kernel(architecture, parameters, samples) == np.zeros((3, 3))).all()
    assert len(embed(architecture, parameters, Measure(samples, np.ones(3)))) == 0


def test_misfits_are_refused_by_name() -> None:
    architecture = Architecture("net", (2,), (Linear(3),), "squared")
    parameters, samples = instance(architecture, 0)
    with pytest.raises(InputError, match=r"coefficients: found shape \(2,\); \(2, 3\) is accepted"):
        embed(architecture, parameters, Measure(samples, np.ones(2)))
    with pytest.raises(InputError, match=r"inputs: found shape \(2, 4\); \(n, 2\) is accepted"):
        embed(architecture, parameters, Measure(np.ones((2, 4)), np.ones((2, 3))))
    with pytest.raises(InputError, match=r"cotangent: found shape \(3,\); \(2, 3\) is accepted"):
        backpropagate(architecture, parameters, trace(architecture, parameters, samples), np.ones(3))


def test_oversized_tangents_are_refused_before_they_are_allocated() -> None:
    architecture = Architecture("wide", (1000,), (Linear(1000),), "squared")
    parameters, samples = instance(architecture, 0, 5)
    with pytest.raises(UnsupportedError, match=r"found 5 samples, whose tangents of shape \(5, 1000, 1001000\) need"):
        tangents(architecture, parameters, samples)
