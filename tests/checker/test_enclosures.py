"""The checker's balls contain what they claim to: random inner points at higher precision, random precisions."""

from __future__ import annotations

import math
from typing import Any

import flint
import numpy as np
import pytest
from flint import arb, fmpq
from hypothesis import given
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear
from provable.architectures.activations import (
    ELU,
    GELU,
    Activation,
    Erf,
    Identity,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.architectures.description import layer_to_dict
from provable.arithmetic import Arithmetic
from provable.checker.activations import jet
from provable.checker.archive import Numbers
from provable.checker.bounds import exact, length, spectral
from provable.checker.chain import Trace, embedding_piece, gram, linear
from provable.checker.verdict import Invalid
from provable.measures import Measure
from provable.networks import Parameters, activations, embed
from provable.rigor.balls import midpoints
from provable.rigor.chain_derivatives import Atom, KinkError, chain_of, gram_block

ACTIVATIONS: list[Activation] = [Tanh(), Sigmoid(), Softplus(), Erf(), GELU(), SiLU(), ELU(0.7), ReLU(), LeakyReLU(0.2)]
ACTIVATIONS += [Identity(), Polynomial((0.5, -1.0, 0.25, 0.125))]
SEEDS = st.integers(0, 2**32 - 1)
BITS = st.integers(20, 300)


def inner_point(rng: np.random.Generator, middle: fmpq, radius: fmpq) -> fmpq:
    """A rational number in [middle - radius, middle + radius], often an end."""
    share = rng.choice([fmpq(-1), fmpq(0), fmpq(1), fmpq(int(rng.integers(-1000, 1001)), 1000)])
    return middle + share * radius


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@given(SEEDS, BITS, st.floats(-40, 4), st.floats(-3, 2))
def test_jets_enclose_values_at_inner_points(
    activation: Activation, seed: int, bits: int, log_radius: float, log_size: float
) -> None:
    rng = np.random.default_rng(seed)
    middle = fmpq(int(rng.standard_normal() * 10**6 * 10**log_size), 10**6)
    radius = fmpq(int(2 ** (log_radius + 60)), 2**60)
    with flint.ctx.workprec(bits):
        ball = arb(middle) + arb(0, arb(radius).abs_upper())
        try:
            enclosure = jet(layer_to_dict(activation), ball)
        except Invalid:
            assert activation.type in ("relu", "leaky_relu", "elu")
            assert ball.contains(0)
            return
    with flint.ctx.workprec(bits + 100):
        for _ in range(4):
            point = np.array([arb(inner_point(rng, middle, radius))], dtype=object)
            for order in range(3):
                value = activations.derivative(activation, point, order)[0]
                # the value is known up to its own radius, which is 2**-100 of the enclosure's rounding
                widened = enclosure[order] + arb(0, value.rad())
                assert widened.contains(value.mid()) or not widened.is_finite()
    with flint.ctx.workprec(800):
        point = np.array([arb(inner_point(rng, middle, radius))], dtype=object)
        step = arb((1, -200))
        sides = [activations.derivative(activation, point + sign * step, 2)[0] for sign in (1, -1)]
        # the truncation error of the central difference is far below 2**-300 for these functions and arguments
        third = (sides[0] - sides[1]) / (2 * step)
        assert (enclosure[3] + arb(0, arb((1, -300)))).contains(third.mid()) or not enclosure[3].is_finite()


def chain(seed: int, activation: Activation) -> tuple[Architecture, Parameters, list[Any]]:
    architecture = Architecture(
        "net", (3,), (Linear(4), activation, Linear(2, False), activation, Linear(2)), "squared"
    )
    parameters = Parameters.random(architecture, rng=seed)
    steps: list[Any] = []
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Linear):
            weight = parameters[f"{index}/weight"]
            bias = parameters[f"{index}/bias"] if layer.bias else None
            numbers = [None if a is None else Numbers(a.shape, a.ravel().tolist()) for a in (weight, bias)]
            assert numbers[0] is not None
            steps.append(linear(index, numbers[0], numbers[1]))
        else:
            steps.append(layer_to_dict(layer))
    return architecture, parameters, steps


PIECES = [(0, "weight"), (0, "bias"), (2, "weight"), (4, "weight"), (4, "bias")]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@given(SEEDS, BITS, st.floats(-60, -4))
def test_embeddings_of_balls_enclose_embeddings_of_inner_points(
    activation: Activation, seed: int, bits: int, log_radius: float
) -> None:
    rng = np.random.default_rng(seed)
    radius = fmpq(1, 2 ** int(-log_radius))
    middles = [[fmpq(int(entry * 10**6), 10**6) for entry in row] for row in rng.standard_normal((2, 5))]
    with flint.ctx.workprec(bits):
        architecture, parameters, steps = chain(seed, activation)
        balls = [[arb(entry) + arb(0, arb(radius).abs_upper()) for entry in row] for row in middles]
        try:
            traces = [Trace(steps, row[:3], row[3:]) for row in balls]
        except Invalid:
            return
        outer = {piece: embedding_piece(traces, piece) for piece in PIECES}
    wide = Arithmetic("ball", bits=bits + 100)
    with wide.working():
        points = np.array([[arb(inner_point(rng, entry, radius)) for entry in row] for row in middles], dtype=object)
        inner = embed(architecture, wide.convert(parameters), Measure(points[:, :3], points[:, 3:]))
        for index, part in PIECES:
            for ball, value in zip(outer[index, part], inner[f"{index}/{part}"].ravel(), strict=True):
                assert ball.contains(value.mid()) or not ball.is_finite()


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@given(SEEDS, st.integers(8, 60))
def test_checker_and_solver_agree_on_gram_matrix_and_variation(
    activation: Activation, seed: int, log_radius: int
) -> None:
    rng = np.random.default_rng(seed)
    points, coefficients = rng.standard_normal((2, 3)), rng.standard_normal((2, 2))
    with flint.ctx.workprec(150):
        architecture, parameters, steps = chain(seed, activation)
        try:
            traces = [
                Trace(steps, [exact(e) for e in x], [exact(e) for e in c])
                for x, c in zip(points.tolist(), coefficients.tolist(), strict=True)
            ]
        except Invalid:  # a layer of dead neurons leaves a pre-activation that is exactly zero
            return
        solver_steps = chain_of(architecture, parameters)
        atoms = [Atom(solver_steps, x, c) for x, c in zip(points, coefficients, strict=True)]
        rows = gram(traces, set(PIECES))
        size = traces[0].unknowns
        for j in range(2):
            for k in range(j + 1):
                block = gram_block(atoms[j], atoms[k], PIECES)
                norm = np.linalg.norm(midpoints(block))
                for a in range(size):
                    for b in range(size):
                        if j * size + a >= k * size + b:
                            mine = rows[j * size + a][k * size + b]
                            assert mine.overlaps(block[a, b])
                            assert float(mine.rad()) <= 2.0**-120 * (1 + norm)
        for trace, atom in zip(traces, atoms, strict=True):
            radius = arb((1, -log_radius))
            try:
                bound = trace.variation(radius, set(PIECES))
            except Invalid:
                with pytest.raises(KinkError):
                    atom.jacobian_deviation(radius, PIECES)
                continue
            # the checker's bound may be smaller but not larger by more than the slack that the solver leaves, 2**-5
            solver_bound = atom.jacobian_deviation(radius, PIECES)
            assert bound <= solver_bound * (1 + arb((1, -6))) or not solver_bound.is_finite()


@given(SEEDS, st.integers(1, 6), st.integers(1, 6), BITS)
def test_norm_bounds_hold(seed: int, rows: int, columns: int, bits: int) -> None:
    rng = np.random.default_rng(seed)
    matrix = rng.standard_normal((rows, columns)) * 10.0 ** rng.uniform(-9, 9)
    with flint.ctx.workprec(bits):
        balls = flint.arb_mat(matrix.tolist())
        bound, euclidean = spectral(balls), length(balls.entries())
    assert bound.is_exact()
    # NumPy's norms are good to a few roundings of the largest singular value
    slack = 1 - 30 * max(rows, columns) * 2.0**-52
    assert float(bound) >= np.linalg.norm(matrix, 2) * slack
    assert float(euclidean) >= np.linalg.norm(matrix) * slack
    assert float(bound) * slack <= np.linalg.norm(matrix, 2) * min(rows, columns) ** (2.0**-8) * (
        1 + 2.0 ** (12 - bits)
    )


def test_constants_of_the_wrong_type_are_refused() -> None:
    for layer in ({"type": "elu", "alpha": "1"}, {"type": "leaky_relu", "negative_slope": True}):
        with pytest.raises(Invalid):
            jet(layer, arb(-1))
    for coefficients in (None, ["1"], [True], [10**400], [math.inf]):
        with pytest.raises(Invalid):
            jet({"type": "polynomial", "coefficients": coefficients}, arb(1))
