"""Layers, their two linear systems and the inversion of activations in balls, in checker and solver, against float64."""

from __future__ import annotations

import io
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    Architecture,
    Conv2d,
    Erf,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    Sigmoid,
    Softplus,
    Tanh,
)
from provable.checker import inversion, layerwise_recovery
from provable.checker.affine import Affine, chain
from provable.checker.archive import Archive
from provable.checker.injectivity import Proof, forward_gram, gradient_rows, rest_gram
from provable.checker.verdict import Invalid, Undecided
from provable.measures import Measure
from provable.networks import Parameters, activations, embed
from provable.observations import Observation
from provable.rigor.layer_balls import layers_in_turn, matrix_of
from provable.rigor.layer_injectivity import approximate, proposals, prove

SEEDS = st.integers(0, 2**32 - 1)
FEW = settings(max_examples=max(20, settings.default.max_examples // 4))
"""A quarter of the profile's examples: every one builds networks and dense matrices."""

Floats = np.ndarray[Any, np.dtype[np.float64]]


@st.composite
def networks(draw: st.DrawFn) -> Architecture:
    """One convolution of any geometry before a linear layer; bands, borders and dead pixels included."""
    kernel = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    stride = (draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    padding = (draw(st.integers(0, 2)), draw(st.integers(0, 2)))
    shape = (draw(st.integers(1, 3)), draw(st.integers(3, 6)), draw(st.integers(3, 6)))
    convolution = Conv2d(draw(st.integers(1, 6)), kernel, stride, padding, draw(st.booleans()))
    return Architecture("one", shape, (convolution, Tanh(), Flatten(), Linear(2)), "squared")


def layer_of(architecture: Architecture, parameters: Parameters) -> Affine:
    pieces = {key: np.zeros(shape) for key, shape in architecture.parameter_shapes.items()}
    content = Observation("gradient", architecture, parameters, pieces).to_bytes()
    step = chain(Archive(io.BytesIO(content).getvalue()))[0][0]
    assert isinstance(step, Affine)
    return step


def dense(layer: Affine) -> Floats:
    """W as a matrix, column by column, from the ball evaluation without bias."""
    columns = []
    for index in range(layer.inputs):
        unit = [arb(int(k == index)) for k in range(layer.inputs)]
        columns.append([float(entry) for entry in (layer.matrix() * layer.patches(unit)).entries()])
    return np.array(columns).T


def balls(values: Floats) -> list[Any]:
    return [arb(value) for value in values.ravel().tolist()]


def floats(entries: list[Any]) -> Floats:
    return np.array([float(entry) for entry in entries])


@FEW
@given(networks(), SEEDS)
def test_values_and_gradients_contain_those_of_the_package(architecture: Architecture, seed: int) -> None:
    rng = np.random.default_rng(seed)
    exact = Parameters.random(architecture, rng=rng)
    layer = layer_of(architecture, exact)
    point = rng.standard_normal((1, *architecture.input_shape))
    sensitivity = rng.standard_normal(layer.outputs)
    # an affine network with the layer alone, whose outputs are weighted by the sensitivity
    alone = Architecture("alone", architecture.input_shape, (architecture.layers[0], Flatten()), "squared")
    parameters = Parameters(alone, {key: exact[key] for key in alone.parameter_shapes})
    gradient = embed(alone, parameters, Measure(point, sensitivity[None]))
    patches = layer.patches(balls(point))
    size = 30 * 2.0**-52 * (1 + np.abs(sensitivity).sum()) * (1 + np.abs(point).max())
    assert np.allclose(
        floats(layer.gradient(balls(sensitivity), patches)), gradient["0/weight"].ravel(), rtol=0, atol=size
    )
    if layer.bias is not None:
        assert np.allclose(floats(layer.bias_gradient(balls(sensitivity))), gradient["0/bias"], rtol=0, atol=size)
    matrix = dense(layer)
    assert np.allclose(floats(layer.adjoint(balls(sensitivity))), matrix.T @ sensitivity, rtol=0, atol=size)
    rows = np.array([[float(entry) for entry in row] for row in gradient_rows(layer, balls(sensitivity))])
    # a norm of at most some hundred sums of as many products: 30 · 100 ε is 7e-13
    assert np.isclose(
        np.linalg.norm(rows @ by_rows(layer, point.ravel())), np.linalg.norm(gradient["0/weight"]), rtol=1e-12
    )


def by_rows(layer: Affine, values: Floats) -> Floats:
    """Values in the order of the bands: image row, channel, column."""
    image = values.reshape(layer.channels[0], -1, layer.columns)
    return image.transpose(1, 0, 2).ravel()


@FEW
@given(networks(), SEEDS)
def test_bounds_of_norms_and_gram_matrices(architecture: Architecture, seed: int) -> None:
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    layer = layer_of(architecture, parameters)
    matrix = dense(layer)
    norm = np.linalg.norm(matrix, 2)
    assert norm * (1 - 1e-14) <= float(layer.norm())
    other = layers_in_turn(architecture, parameters)[0][0]
    assert np.isclose(float(other.norm_upper()), float(layer.norm()), rtol=1e-2)  # one formula, outward-rounded
    image = rng.standard_normal(layer.inputs)
    windows = np.linalg.norm(floats(layer.patches(balls(image)).entries()))
    assert windows <= np.sqrt(layer.overlap()) * np.linalg.norm(image) * (1 + 1e-14)
    assert layer.overlap() == other.overlap()
    lowest = rng.uniform(0.2, 1.5, layer.outputs)
    rows, first = forward_gram(layer, balls(lowest))
    order = by_rows(layer, np.arange(layer.inputs)).astype(int)
    expected = (matrix.T @ (lowest[:, None] ** 2 * matrix))[np.ix_(order, order)]
    found = np.zeros_like(expected)
    for index, (row, start) in enumerate(zip(rows, first, strict=True)):
        found[index, start : index + 1] = floats(row)
    # sums of fewer than 100 products, rounded in float64 on one side only: 100 ε = 2e-14, times the size of the products
    assert np.allclose(found, np.tril(expected), rtol=0, atol=1e-13 * (1 + norm**2))
    rest = rng.standard_normal((layer.pixels, 2))
    wide = matrix @ np.kron(np.eye(layer.channels[0]), rest)
    gram = np.array([[float(e) for e in row] for row in rest_gram(layer, flint.arb_mat(rest.tolist())).tolist()])
    assert np.allclose(gram, wide.T @ wide, rtol=0, atol=1e-13 * (1 + norm**2) * (1 + np.linalg.norm(rest) ** 2))


@FEW
@given(networks(), SEEDS)
def test_every_proof_bounds_every_difference(architecture: Architecture, seed: int) -> None:
    """‖Δ‖ ≤ α‖LWΔ‖ + β‖KΔ‖ on random and on least favourable Δ, by whatever proof there is; checker and solver agree."""
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    layer, other = layer_of(architecture, parameters), layers_in_turn(architecture, parameters)[0][0]
    lowest, sensitivity = rng.uniform(0.2, 1.0, layer.outputs), rng.standard_normal(layer.outputs)
    forward = lowest[:, None] * dense(layer)
    order = by_rows(layer, np.arange(layer.inputs)).astype(int)
    gradient = np.zeros((layer.channels[0] * layer.channels[1] * len(layer.windows), layer.inputs))
    gradient[:, order] = np.array([[float(e) for e in row] for row in gradient_rows(layer, balls(sensitivity))])
    seen = np.ones((layer.channels[0], layer.pixels), dtype=bool)
    seen[:, layer.unseen([])] = False
    seen = seen.ravel()
    together = np.linalg.svd(np.vstack([forward, gradient])[:, seen])
    least = np.zeros((2, layer.inputs))
    least[:, seen] = together[2][-1], np.linalg.svd(gradient[:, seen])[2][-1]
    shape = other.outputs
    with flint.ctx.workprec(128):
        boxed = [np.array(balls(v), dtype=object).reshape(shape) for v in (sensitivity, lowest)]
        proofs = proposals(other, approximate(boxed[0]), approximate(boxed[1]), 1e4, 1.0)
        for proposal in proofs:
            found = prove(proposal, other, boxed[0], boxed[1], 128)
            if found is None:
                continue
            alpha, beta = float(found.alpha), float(found.beta)
            assert together[1][-1] > 0 and seen.sum() <= len(forward) + len(gradient)
            for delta in [rng.standard_normal(layer.inputs) * seen, *least]:
                bound = alpha * np.linalg.norm(forward @ delta) + beta * np.linalg.norm(gradient @ delta)
                assert np.linalg.norm(delta) <= bound * (1 + 1e-9) + 1e-12
            statement = {
                key: [[str(Fraction(e)) for e in row] for row in value.tolist()]
                if hasattr(value, "tolist")
                else (value if isinstance(value, str) else str(value))
                for key, value in found.statement.items()
            }
            again = Proof({"layer": 0, "error": "1", **statement}).factors(
                layer, balls(sensitivity), balls(lowest), layer.unseen([])
            )
            # both bound norms from above by powers of matrices, the checker by the higher ones
            assert all(0.9 * b <= float(a) <= b * (1 + 1e-6) for a, b in zip(again, (alpha, beta), strict=True))
            for key in {"kappa", "omega"} & set(statement):
                forged = {"layer": 0, "error": "1", **statement, key: str(2 * Fraction(statement[key]))}
                with pytest.raises(Invalid):
                    Proof(forged).factors(layer, balls(sensitivity), balls(lowest), layer.unseen([]))


@pytest.mark.parametrize(
    "activation", [Tanh(), Sigmoid(), Softplus(), Erf(), Identity(), LeakyReLU(0.2), LeakyReLU(1.5)]
)
@given(st.floats(-3, 3), st.floats(-3, 3), st.floats(-12, -0.5))
def test_slopes_are_bounded_wherever_the_output_is_near(
    activation: Any, z: float, other: float, log_error: float
) -> None:
    layer: dict[str, Any] = {"type": activation.type}
    if isinstance(activation, LeakyReLU):
        layer["negative_slope"] = activation.negative_slope
    if z == 0:
        return
    error = 10.0**log_error
    # `other` is brought near, so that its output lies within the error
    near = z + other * error
    outputs = activations.value(activation, np.array([z, near]))
    slopes = activations.derivative(activation, np.array([z, near]))
    distance = abs(outputs[1] - outputs[0])
    output, slope = inversion.value(layer, arb(z))
    try:
        bounds = inversion.entry(layer, arb(z), output, slope, arb(error))
    except Invalid:
        assert slopes[0] < 100 * error  # saturated
        return
    rounding = 1e-14  # of values between -4 and 4 in float64
    if distance <= error:
        assert distance + rounding >= float(bounds.lowest) * abs(near - z) * (1 - 1e-12)
        assert abs(slopes[1] - slopes[0]) <= float(bounds.bend) * (distance + rounding) + float(bounds.jump) + rounding
        assert max(slopes) <= float(bounds.steepest) * (1 + 1e-12) + rounding


@pytest.mark.parametrize("slope", [-0.2, 0.0])
def test_activations_that_do_not_increase_are_not_inverted(slope: float) -> None:
    """Even where all known arguments are positive: a negative one could give the same output."""
    for z in (1.0, -1.0):
        with pytest.raises(Invalid, match="not positive"):
            inversion.value({"type": "leaky_relu", "negative_slope": slope}, arb(z))
    for kind in ("relu", "gelu", "silu", "elu", "polynomial"):
        with pytest.raises(Invalid, match="not inverted"):
            inversion.value({"type": kind}, arb(1))
    with pytest.raises(Invalid, match="exactly zero"):
        inversion.value({"type": "leaky_relu"}, arb(0))
    with pytest.raises(Undecided):
        inversion.value({"type": "leaky_relu"}, arb(0, 1e-30))


@FEW
@given(networks(), SEEDS)
def test_what_is_handed_back_is_bounded(architecture: Architecture, seed: int) -> None:
    """‖R'‖ for R' = σ'(z)⊙WᵀR + (σ'(z) - σ'(ẑ))⊙Hc with slopes, R and c anywhere within their bounds."""
    rng = np.random.default_rng(seed)
    layer = layer_of(architecture, Parameters.random(architecture, rng=rng))
    matrix = dense(layer)
    heads = rng.standard_normal((2, layer.inputs))
    coefficients, error, gamma, twist = (
        rng.standard_normal(2),
        10.0 ** rng.uniform(-3, 0),
        0.1,
        10.0 ** rng.uniform(-2, 1),
    )
    bend, jump = rng.uniform(0, 1, layer.inputs), rng.uniform(0, 1, layer.inputs) * rng.integers(0, 2, layer.inputs)
    entries = [inversion.Entry(arb(1), arb(b), arb(j), arb(2)) for b, j in zip(bend, jump, strict=True)]
    bound = float(
        layerwise_recovery._turned(
            entries, layer, [balls(head) for head in heads], balls(coefficients), arb(error), arb(gamma), arb(twist)
        )
    )
    left = np.linalg.svd(matrix.T)[2][0] if matrix.any() else rng.standard_normal(layer.outputs)
    for residual in (rng.standard_normal(layer.outputs), left):
        residual = residual * twist / np.linalg.norm(residual)
        changed = coefficients + gamma * np.array([0.6, -0.8])
        # how far inputs moved, as a vector of the given length, and the slopes that this allows
        moved = np.abs(rng.standard_normal(layer.inputs))
        moved *= error / np.linalg.norm(moved)
        slopes = bend * moved + jump
        back = rng.uniform(0, 2, layer.inputs) * (matrix.T @ residual) + slopes * (changed @ heads)
        assert np.linalg.norm(back) <= bound * (1 + 1e-12)
    assert bound >= 2 * float(layer.norm()) * twist


def test_matrices_of_the_solver_agree_with_the_checker() -> None:
    rng = np.random.default_rng(0)
    convolution = Conv2d(3, (3, 2), (2, 1), (1, 0), True)
    architecture = Architecture("one", (2, 5, 4), (convolution, Tanh(), Flatten(), Linear(2)), "squared")
    parameters = Parameters.random(architecture, rng=rng)
    layer, other = layer_of(architecture, parameters), layers_in_turn(architecture, parameters)[0][0]
    image = rng.standard_normal((2, 20))
    boxed = np.array(balls(image), dtype=object).reshape(2, 20)
    patches = other.patches(boxed)
    assert np.array_equal(floats(matrix_of(patches).entries()), floats(layer.patches(balls(image)).entries()))
    # the same balls of 53 bits or more in another order: few ε on sums of 13 products
    assert np.allclose(floats(other.forward(patches).ravel().tolist()), floats(layer.forward(balls(image))), rtol=1e-14)
    sensitivity = rng.standard_normal(layer.outputs)
    boxed = np.array(balls(sensitivity), dtype=object).reshape(other.outputs)
    assert np.allclose(
        floats(other.adjoint(boxed).ravel().tolist()), floats(layer.adjoint(balls(sensitivity))), rtol=1e-13, atol=1e-14
    )
    assert np.array_equal(
        floats(matrix_of(other.gradient_map(boxed)).entries()), floats(layer.gradient_map(balls(sensitivity)).entries())
    )
