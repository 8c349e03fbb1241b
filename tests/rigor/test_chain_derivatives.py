"""Jacobians of the tangent embedding against differences of `networks.embed` at 600 bits."""

from __future__ import annotations

from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    AvgPool2d,
    Erf,
    Flatten,
    Identity,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.arithmetic import Arithmetic
from provable.errors import UnsupportedError
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.rigor.balls import ball, ball_matrix, exact_value, midpoints
from provable.rigor.chain_derivatives import Atom, KinkError, chain_of, gram_block

ACTIVATIONS: list[Activation] = [
    Tanh(),
    Sigmoid(),
    Softplus(),
    Erf(),
    GELU(),
    SiLU(),
    ELU(0.7),
    ReLU(),
    LeakyReLU(0.2),
    Identity(),
    Polynomial((0.5, -1.0, 0.25, 0.125)),
]
SMOOTH = [activation for activation in ACTIVATIONS if activation.type not in ("relu", "leaky_relu", "elu")]
SEEDS = st.integers(0, 2**32 - 1)
EXPENSIVE = settings(max_examples=max(25, settings.default.max_examples // 4))
"""A quarter of the profile's examples: each one differentiates a network at 600 bits."""
BALL = Arithmetic("ball", bits=600)


def network(kind: int, activation: Activation) -> Architecture:
    layers = [
        (Linear(3), activation, Linear(2)),
        (Flatten(), Linear(4, bias=False), activation, Linear(3), activation, Linear(2, bias=False)),
        (Flatten(), activation, Linear(3), Identity(), activation, Linear(1)),
        (Linear(2),),
    ][kind]
    shape = (3,) if kind in (0, 3) else (1, 2, 2)
    return Architecture("net", shape, layers, "squared")


def draw(seed: int, kind: int, activation: Activation, atoms: int = 1) -> tuple[Architecture, Parameters, Measure]:
    rng = np.random.default_rng(seed)
    architecture = network(kind, activation)
    points = rng.standard_normal((atoms, *architecture.input_shape))
    coefficients = rng.standard_normal((atoms, architecture.output_size))
    return architecture, Parameters.random(architecture, rng=rng), Measure(points, coefficients)


def pieces_of(architecture: Architecture) -> list[tuple[int, str]]:
    return [(int(name.split("/")[0]), name.split("/")[1]) for name in architecture.parameter_shapes]


def embedded(architecture: Architecture, parameters: Parameters, unknowns: np.ndarray, atoms: int) -> np.ndarray:
    """F at unknowns (atoms, d + C) of balls, by `networks.embed`."""
    size = architecture.input_size
    points = unknowns[:, :size].reshape(atoms, *architecture.input_shape)
    return embed(architecture, parameters, Measure(points, unknowns[:, size:])).vector()


def jacobian(architecture: Architecture, parameters: Parameters, measure: Measure) -> np.ndarray:
    """Central differences with step 2**-150 at 600 bits: truncation and rounding are below 1e-80."""
    with BALL.working():
        exact = BALL.convert(parameters)
        unknowns = np.concatenate(
            [measure.points.reshape(measure.size, -1), measure.coefficients.reshape(measure.size, -1)], axis=1
        )
        balls = BALL.convert(unknowns)
        step = flint.arb((1, -150))
        columns = []
        for index in np.ndindex(balls.shape):
            sides = []
            for sign in (1, -1):
                moved = balls.copy()
                moved[index] = moved[index] + sign * step
                sides.append(embedded(architecture, exact, moved, measure.size))
            columns.append((sides[0] - sides[1]) / (2 * step))
        return np.stack(columns, axis=1)


def atoms_of(architecture: Architecture, parameters: Parameters, measure: Measure) -> list[Atom]:
    steps = chain_of(architecture, parameters)
    flat = measure.points.reshape(measure.size, -1)
    return [Atom(steps, x, c) for x, c in zip(flat, measure.coefficients, strict=True)]


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@EXPENSIVE
@given(SEEDS, st.integers(0, 3), st.integers(40, 300))
def test_gram_blocks_enclose_products_of_differences(activation: Activation, seed: int, kind: int, bits: int) -> None:
    architecture, parameters, measure = draw(seed, kind, activation, atoms=2)
    explicit = jacobian(architecture, parameters, measure)
    with flint.ctx.workprec(bits):
        first, second = atoms_of(architecture, parameters, measure)
        block = gram_block(first, second, pieces_of(architecture))
    with BALL.working():
        width = explicit.shape[1] // 2
        exact = explicit[:, :width].T @ explicit[:, width:]
        slack = flint.arb(0, 1e-80)
        for i in range(width):
            for j in range(width):
                assert (block[i, j] + slack).contains(exact[i, j].mid())
                # and the enclosure is worth something: relative to the size of the entries that make it up
                assert float(block[i, j].rad()) < 2.0 ** (20 - bits) * (
                    1 + sum(float(abs(e)) for e in explicit.flat) ** 2
                )


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda activation: activation.type)
@given(SEEDS, st.integers(0, 3), st.integers(40, 300))
def test_pieces_enclose_the_embedding(activation: Activation, seed: int, kind: int, bits: int) -> None:
    architecture, parameters, measure = draw(seed, kind, activation)
    with BALL.working():
        exact = embed(architecture, BALL.convert(parameters), BALL.convert(measure))
    with flint.ctx.workprec(bits):
        (atom,) = atoms_of(architecture, parameters, measure)
        for name, (index, part) in zip(architecture.parameter_shapes, pieces_of(architecture), strict=True):
            for outer, inner in zip(atom.piece(index, part).entries(), exact[name].ravel(), strict=True):
                assert outer.contains(inner)


@pytest.mark.parametrize("activation", SMOOTH, ids=lambda activation: activation.type)
@EXPENSIVE
@given(SEEDS, st.integers(0, 3), st.integers(0, 30))
def test_the_jacobian_moves_less_than_its_bound(activation: Activation, seed: int, kind: int, log_radius: int) -> None:
    architecture, parameters, measure = draw(seed, kind, activation)
    rng = np.random.default_rng(seed + 1)
    radius = 2.0**-log_radius
    (atom,) = atoms_of(architecture, parameters, measure)
    pieces = pieces_of(architecture)
    bound = atom.jacobian_deviation(ball(radius), pieces)
    direction = rng.standard_normal(architecture.input_size + architecture.output_size)
    direction *= (1 - 2.0**-40) * radius * rng.random() ** 0.2 / np.linalg.norm(direction)
    size = architecture.input_size
    moved = Measure(
        measure.points + direction[:size].reshape(measure.points.shape), measure.coefficients + direction[size:]
    )
    with BALL.working():
        difference = jacobian(architecture, parameters, moved) - jacobian(architecture, parameters, measure)
    norm = np.linalg.norm(np.array([float(entry) for entry in difference.flat]).reshape(difference.shape), 2)
    # differences of floats were taken at 600 bits; only the last rounding and the SVD are in float64
    assert not bound.is_finite() or norm <= float(exact_value(bound)) * (1 + 30 * 2.0**-52 * difference.size)


@pytest.mark.parametrize("activation", SMOOTH, ids=lambda activation: activation.type)
def test_the_bound_is_of_the_right_size(activation: Activation) -> None:
    architecture, parameters, measure = draw(5, 0, activation)
    pieces = pieces_of(architecture)
    with flint.ctx.workprec(200):
        (atom,) = atoms_of(architecture, parameters, measure)
        bounds = [float(atom.jacobian_deviation(ball(2.0**-k), pieces)) for k in (20, 21, 40)]
    # linear in a small radius; elementary functions round the radii of their results up by up to a few per mille
    assert 2 * (1 - 2.0**-6) < bounds[0] / bounds[1] < 2 * (1 + 2.0**-6)
    norm = float(np.linalg.norm(midpoints(gram_block(atom, atom, pieces)), 2)) ** 0.5
    assert bounds[2] < 2.0**-40 * 100 * (1 + norm) ** 2


@pytest.mark.parametrize("activation", [ReLU(), LeakyReLU(0.2), ELU(0.7)], ids=lambda activation: activation.type)
def test_a_kink_within_the_radius_is_found(activation: Activation) -> None:
    architecture = Architecture("net", (2,), (Linear(1), activation, Linear(1)), "squared")
    arrays = {"0/weight": [[3.0, 4.0]], "0/bias": [-1.0], "2/weight": [[1.0]], "2/bias": [0.0]}
    parameters = Parameters(architecture, {key: np.array(value) for key, value in arrays.items()})
    pieces = pieces_of(architecture)
    # at (1, 0) the pre-activation is 2 and its gradient has norm 5, so the kink is 0.4 away
    (atom,) = atoms_of(architecture, parameters, Measure(np.array([[1.0, 0.0]]), np.array([[1.0]])))
    atom.jacobian_deviation(ball(Fraction(39, 100)), pieces)
    with pytest.raises(KinkError):
        atom.jacobian_deviation(ball(Fraction(2, 5)), pieces)


def test_other_layers_are_refused_by_name() -> None:
    layers = (AvgPool2d(2), Flatten(), Linear(1))
    architecture = Architecture("net", (1, 4, 4), layers, "squared")
    with pytest.raises(UnsupportedError, match=r"layer 0 \(avg_pool2d\)"):
        chain_of(architecture, Parameters.random(architecture, rng=0))


def test_pieces_that_are_not_observed_do_not_count() -> None:
    architecture, parameters, measure = draw(1, 0, Tanh())
    (atom,) = atoms_of(architecture, parameters, measure)
    pieces = pieces_of(architecture)
    whole = gram_block(atom, atom, pieces)
    parts = [gram_block(atom, atom, [piece]) for piece in pieces]
    total = sum(parts[1:], parts[0])
    assert np.linalg.norm(midpoints(whole) - midpoints(total)) <= 30 * 2.0**-52 * np.linalg.norm(midpoints(whole))
    assert gram_block(atom, atom, []) == ball_matrix(np.zeros((atom.size, atom.size)))
