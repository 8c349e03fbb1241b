"""Certificates of recovered measures: what they claim holds at sampled points, and refusals say why."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.architectures import (
    GELU,
    Activation,
    Architecture,
    Conv2d,
    Flatten,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    Tanh,
)
from provable.arithmetic import Arithmetic
from provable.checker import check
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.rigor.certificates import Certificate, Refusal
from provable.rigor.isolated_recovery import certify

SEEDS = st.integers(0, 2**32 - 1)
EXPENSIVE = settings(max_examples=max(25, settings.default.max_examples // 4))
"""A quarter of the profile's examples: each one makes a certificate and samples its ball."""
BALL = Arithmetic("ball", bits=400)


def observe(
    seed: int, sizes: tuple[int, ...], activation: Activation, atoms: int = 1, bias: bool = True, **changes: Any
) -> tuple[Observation, Measure]:
    rng = np.random.default_rng(seed)
    layers: list[Any] = [Linear(sizes[1], bias)]
    for size in sizes[2:]:
        layers += [activation, Linear(size, bias)]
    architecture = Architecture("net", (sizes[0],), tuple(layers), "squared")
    parameters = Parameters.random(architecture, rng=rng)
    measure = Measure(rng.standard_normal((atoms, sizes[0])), rng.standard_normal((atoms, sizes[-1])))
    vector = dict(embed(architecture, parameters, measure))
    return Observation("gradient", architecture, parameters, vector, **changes), measure


def numbers(certificate: Certificate) -> dict[str, Fraction]:
    return {key: Fraction(certificate.data[key]) for key in ("radius", "eta", "sigma", "residual", "rho")}


def exact_embedding(observation: Observation, points: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
    """F at rational unknowns, with 400 bits."""
    atoms = BALL.convert(points), BALL.convert(coefficients)
    return embed(observation.architecture, BALL.convert(observation.parameters), Measure(*atoms)).vector()


@pytest.mark.parametrize("activation", [Tanh(), ReLU(), LeakyReLU(0.2), GELU()], ids=lambda a: a.type)
@EXPENSIVE
@given(SEEDS, st.sampled_from([(6, 5, 3), (4, 4, 4, 2), (3, 8, 1), (2, 3)]), st.sampled_from([1, 1, 2]))
def test_the_stated_numbers_hold_at_sampled_points(
    activation: Activation, seed: int, sizes: tuple[int, ...], atoms: int
) -> None:
    observation, measure = observe(seed, sizes, activation, atoms)
    made = certify(observation, measure)
    if isinstance(made, Refusal):
        return  # how often that happens is the next test's subject
    stated = numbers(made)
    assert stated["eta"] >= 2 * stated["residual"]
    assert stated["rho"] * stated["sigma"] >= stated["eta"] + stated["residual"]
    assert stated["rho"] <= stated["radius"]
    assert made.subject == observation.sha256
    rng = np.random.default_rng(seed + 1)
    with BALL.working():
        observed = BALL.convert(np.concatenate([observation.vector[key].ravel() for key in made.data["pieces"]]))
        centre = exact_embedding(observation, measure.points, measure.coefficients)
        misfit = sum(entry**2 for entry in centre - observed)
        assert misfit <= BALL.number(stated["residual"]) ** 2
        for _ in range(4):
            direction = rng.standard_normal((atoms, sizes[0] + sizes[-1]))
            direction *= rng.random() ** 0.1 * 0.999 * float(stated["radius"]) / np.linalg.norm(direction)
            points = BALL.convert(measure.points) + BALL.convert(direction[:, : sizes[0]])
            coefficients = BALL.convert(measure.coefficients) + BALL.convert(direction[:, sizes[0] :])
            parameters = BALL.convert(observation.parameters)
            there = embed(observation.architecture, parameters, Measure(points, coefficients)).vector()
            moved = sum(entry**2 for entry in there - centre)
            length = sum(entry**2 for entry in BALL.convert(direction).ravel())
            assert moved >= BALL.number(stated["sigma"]) ** 2 * length


def test_most_overdetermined_problems_are_certified() -> None:
    made = [certify(*observe(seed, (6, 8, 3), Tanh(), 1)) for seed in range(40)]
    assert sum(isinstance(result, Certificate) for result in made) >= 38


def test_two_atoms_are_certified_together() -> None:
    assert isinstance(certify(*observe(3, (5, 12, 3), Tanh(), 2)), Certificate)


def test_rho_is_tight_to_the_rounding_of_its_text() -> None:
    stated = numbers(certify(*observe(1, (6, 5, 3), Tanh())))  # type: ignore[arg-type]
    assert stated["rho"] <= (stated["eta"] + stated["residual"]) / stated["sigma"] * (1 + Fraction(1, 2**60))


def test_eta_follows_the_request_and_never_falls_below_twice_the_residual() -> None:
    observation, measure = observe(1, (6, 5, 3), Tanh())
    wide = certify(observation, measure, eta=Fraction(1, 10**6))
    none = certify(observation, measure, eta=Fraction(0))
    assert isinstance(wide, Certificate)
    assert isinstance(none, Certificate)
    assert Fraction(1, 10**6) <= numbers(wide)["eta"] <= Fraction(1, 10**6) * (1 + Fraction(1, 2**60))
    assert numbers(none)["eta"] == 2 * numbers(none)["residual"]
    assert numbers(none)["rho"] < numbers(wide)["rho"]


def test_the_data_behind_a_float_gradient_explain_it_within_eta() -> None:
    observation, measure = observe(7, (6, 5, 3), Tanh())
    rng = np.random.default_rng(0)
    answer = Measure(measure.points * (1 + 2.0**-50 * rng.standard_normal((1, 6))), measure.coefficients)
    made = certify(observation, answer)
    assert isinstance(made, Certificate)
    with BALL.working():
        observed = BALL.convert(np.concatenate([observation.vector[key].ravel() for key in made.data["pieces"]]))
        truth = exact_embedding(observation, measure.points, measure.coefficients)
        assert sum(entry**2 for entry in truth - observed) <= BALL.number(numbers(made)["eta"]) ** 2
    assert np.linalg.norm(answer.points - measure.points) <= float(numbers(made)["rho"])


@pytest.mark.parametrize("bits", [80, 128, 200, 333])
def test_the_working_precision_is_a_choice_and_is_restored(bits: int) -> None:
    before = flint.ctx.prec
    observation, measure = observe(2, (5, 6, 2), Tanh())
    assert isinstance(certify(observation, measure, bits=bits), Certificate)
    assert flint.ctx.prec == before


def test_the_mean_reduction_is_absorbed_in_the_coefficients() -> None:
    observation, measure = observe(4, (5, 6, 2), Tanh(), reduction="mean", batch_size=1)
    made = certify(observation, measure)
    assert isinstance(made, Certificate)
    assert made.data["coefficients"] == [[_text(entry) for entry in measure.coefficients[0].tolist()]]


def _text(value: float) -> str:
    fraction = Fraction(value)
    return str(fraction)


def test_a_part_of_the_pieces_suffices() -> None:
    observation, measure = observe(5, (5, 6, 2), Tanh())
    pieces = {key: observation.vector[key] for key in ("0/weight", "0/bias")}
    made = certify(dataclasses.replace(observation, vector=pieces), measure)
    assert isinstance(made, Certificate)
    assert made.data["pieces"] == ["0/weight", "0/bias"]


def refusal(observation: Observation, measure: Measure) -> str:
    made = certify(observation, measure)
    assert isinstance(made, Refusal)
    assert "\n" not in made.reason
    return made.reason


def test_a_rescaling_fibre_is_refused() -> None:
    assert "rescaling" in refusal(*observe(1, (5, 6, 2), ReLU(), bias=False))


def test_equal_atoms_are_refused() -> None:
    observation, measure = observe(1, (5, 12, 3), Tanh())
    twice = Measure(np.repeat(measure.points, 2, axis=0), np.repeat(measure.coefficients / 2, 2, axis=0))
    assert "rank" in refusal(observation, twice)


def test_a_null_atom_is_refused() -> None:
    observation, measure = observe(1, (5, 6, 3), Tanh())
    more = Measure(np.vstack([measure.points, measure.points + 1]), np.vstack([measure.coefficients, np.zeros((1, 3))]))
    assert "rank" in refusal(observation, more)


def test_a_measure_that_does_not_explain_the_observation_is_refused() -> None:
    observation, measure = observe(1, (5, 6, 3), Tanh())
    assert "residual" in refusal(observation, Measure(measure.points + 0.1, measure.coefficients))


def test_a_point_on_a_kink_is_refused() -> None:
    architecture = Architecture("net", (2,), (Linear(3), ReLU(), Linear(2)), "squared")
    parameters = Parameters.random(architecture, rng=1)
    arrays = {key: np.array(value) for key, value in parameters.items()}
    point = np.array([[1.0, -2.0]])
    arrays["0/weight"][1] = [4.0, 2.0]
    arrays["0/bias"][1] = 0.0
    parameters = Parameters(architecture, arrays)
    measure = Measure(point, np.array([[1.0, 2.0]]))
    observation = Observation("gradient", architecture, parameters, dict(embed(architecture, parameters, measure)))
    assert "kink" in refusal(observation, measure)


def test_no_atoms_and_other_shapes_are_refused() -> None:
    observation, _ = observe(1, (5, 6, 3), Tanh())
    assert "no atoms" in refusal(observation, Measure(np.zeros((0, 5)), np.zeros((0, 3))))
    assert "entries" in refusal(observation, Measure(np.ones((1, 4)), np.ones((1, 3))))
    assert "shape" in refusal(observation, Measure(np.ones((1, 5)), np.ones((1, 2))))


def test_layers_without_an_enclosure_are_refused_by_name() -> None:
    architecture = Architecture("net", (1, 4, 4), (Conv2d(2, 3), Tanh(), Flatten(), Linear(1)), "squared")
    parameters = Parameters.random(architecture, rng=0)
    measure = Measure(np.random.default_rng(0).standard_normal((1, 1, 4, 4)), np.ones((1, 1)))
    observation = Observation("gradient", architecture, parameters, dict(embed(architecture, parameters, measure)))
    assert "layer 0 (conv2d)" in refusal(observation, measure)


def cubic_stationary_point(rng: np.random.Generator) -> tuple[Observation, Measure]:
    """θ = Σ_i c_i ∇f(x_i; θ) for f(x) = Σ_k v_k (w_k·z)³ with z = (x, 1), orthogonal z_i, and one unit per set S of samples.

    It has w_k = Σ_{i∈S} z_i / (3 c_i ‖z_i‖⁴ v_k), and by 27 v_k⁴ = Σ_{i∈S} c_i^-2 ‖z_i‖^-6 also v_k = Σ_i c_i (w_k·z_i)³.
    """
    directions = np.linalg.qr(rng.standard_normal((4, 4)))[0][:3]
    points, coefficients = directions / directions[:, 3:], np.array([1.0, -0.5, 2.0])
    norms = np.linalg.norm(points, axis=1)
    subsets = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0], [1, 0, 1], [0, 1, 1]])
    outer = ((subsets / (coefficients**2 * norms**6)).sum(axis=1) / 27) ** 0.25
    inner = subsets / (3 * coefficients * norms**4) @ points / outer[:, None]
    layers = (Linear(6), Polynomial(coefficients=(0.0, 0.0, 0.0, 1.0)), Linear(1, bias=False))
    architecture = Architecture("cubic", (3,), layers, "squared")
    parameters = Parameters(architecture, {"0/weight": inner[:, :3], "0/bias": inner[:, 3], "2/weight": outer[None]})
    return Observation("stationary-point", architecture, parameters), Measure(points[:, :3], coefficients[:, None])


def test_stationary_points_are_their_own_vector() -> None:
    observation, measure = cubic_stationary_point(np.random.default_rng(0))
    made = certify(observation, measure)
    assert isinstance(made, Certificate)
    assert check(made.to_json(), observation=observation.to_bytes()).valid
    moved = Measure(measure.points + 1e-3, measure.coefficients)
    assert isinstance(certify(observation, moved), Refusal)


def test_too_many_unknowns_are_refused() -> None:
    observation, measure = observe(1, (700, 1, 1), Tanh(), atoms=3)
    assert "2103" in refusal(observation, measure)


@pytest.mark.parametrize("split", [None, "dense", "row-space", "layer-inputs"])
@pytest.mark.parametrize("modulo", [(), ("positive-scaling",)])
def test_points_at_which_nothing_can_be_enclosed_are_refused(split: str | None, modulo: tuple[str, ...]) -> None:
    """A zero point, pre-activations that cancel to a ball around zero, and numbers at the ends of float64."""
    observation, measure = observe(1, (3, 8, 6, 2), ReLU(), 2, bias=False)
    cancelled = Parameters(
        observation.architecture,
        {
            **{key: np.array(piece) for key, piece in observation.parameters.items()},
            "0/weight": np.tile([1 / 3, -1 / 3, 0.0], (8, 1)) + np.arange(8)[:, None] * [0.0, 0.0, 1.0],
        },
    )
    zero = measure.points.copy()
    zero[0] = 0.0
    level = np.array([[0.1, 0.1, 1e-300], [0.3, 0.3, -1e-300]])
    for parameters, points, coefficients in [
        (observation.parameters, zero, measure.coefficients),
        (cancelled, level, measure.coefficients),
        (observation.parameters, measure.points * 1e-150, measure.coefficients * 1e-150),
        (observation.parameters, measure.points * 1e-300, measure.coefficients),
        (observation.parameters, measure.points, measure.coefficients * 1e-320),
        (observation.parameters, measure.points * 1e150, measure.coefficients * 1e-320),
    ]:
        answer = Measure(points, coefficients)
        vector = dict(embed(observation.architecture, parameters, answer))
        given = dataclasses.replace(observation, parameters=parameters, vector=vector)
        made = certify(given, answer, split=split, modulo=modulo)
        assert isinstance(made, Certificate) or (made.reason and "\n" not in made.reason)
