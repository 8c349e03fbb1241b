"""Certificates of batches by splittings: their numbers against dense Jacobians, attacks inside the ball, and refusals."""

from __future__ import annotations

import dataclasses
import itertools
from fractions import Fraction
from typing import Any

import flint
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    Erf,
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
from provable.measures import Measure
from provable.networks import Parameters, embed
from provable.observations import Observation
from provable.rigor.balls import ball, ball_matrix, midpoints
from provable.rigor.batch_chain import Batch
from provable.rigor.block_triangular import Bounds, LayerInputs, forms_on_span
from provable.rigor.certificates import Certificate, Refusal
from provable.rigor.chain_derivatives import Atom, KinkError, chain_of, gram_block
from provable.rigor.isolated_recovery import certify

SEEDS = st.integers(0, 2**32 - 1)
ACTIVATIONS: list[Activation] = [Tanh(), Erf(), Sigmoid(), GELU(), SiLU(), Softplus(), ELU(0.7), ReLU(), LeakyReLU(0.2)]
ACTIVATIONS += [Polynomial((0.0, 0.0, 1.0, 1.0))]
EXPENSIVE = settings(max_examples=max(8, settings.default.max_examples // 12))
"""Each example makes a certificate and a dense Jacobian by differences."""
BALL = Arithmetic("ball", bits=400)

# inputs, widths of the layers, samples; the first for the row space, the second for the inputs of the second layer
SHAPES = {"row-space": (7, (16, 2), 3), "layer-inputs": (3, (12, 9, 1), 4)}


def observe(
    seed: int, split: str, activation: Activation, bias: bool = True, shape: tuple[Any, ...] | None = None
) -> tuple[Observation, Measure]:
    inputs, widths, samples = shape or SHAPES[split]
    rng = np.random.default_rng(seed)
    layers: list[Any] = [Linear(widths[0], bias)]
    for size in widths[1:]:
        layers += [activation, Linear(size, bias)]
    architecture = Architecture("net", (inputs,), tuple(layers), "squared")
    parameters = Parameters.random(architecture, rng=rng)
    measure = Measure(rng.standard_normal((samples, inputs)), rng.standard_normal((samples, widths[-1])))
    vector = dict(embed(architecture, parameters, measure))
    return Observation("gradient", architecture, parameters, vector), measure


def stacked(observation: Observation, pieces: list[str], z: np.ndarray, like: Measure) -> np.ndarray:
    """F(z) in float64, z ordered atom by atom."""
    rows = z.reshape(like.size, -1)
    inputs = like.points.shape[1]
    image = embed(observation.architecture, observation.parameters, Measure(rows[:, :inputs], rows[:, inputs:]))
    return np.concatenate([image[key].ravel() for key in pieces])


def jacobian(observation: Observation, pieces: list[str], measure: Measure) -> np.ndarray:
    """By central differences: good to about 1e-9 relatively, independent of every formula under test."""
    z = np.hstack([measure.points, measure.coefficients]).ravel()
    columns = []
    for step in 1e-5 * np.eye(z.size):
        sides = [stacked(observation, pieces, z + sign * step, measure) for sign in (1, -1)]
        columns.append((sides[0] - sides[1]) / 2e-5)
    return np.stack(columns, axis=1)


def slices(measure: Measure) -> np.ndarray:
    """Rows x̂_i/‖x̂_i‖ in the coordinates of z."""
    size, inputs = measure.points.shape
    width = inputs + measure.coefficients.shape[1]
    rows = np.zeros((size, size * width))
    for atom, point in enumerate(measure.points):
        rows[atom, atom * width : atom * width + inputs] = point / np.linalg.norm(point)
    return rows


def exact_image(
    observation: Observation, pieces: list[str], points: np.ndarray, coefficients: np.ndarray
) -> np.ndarray:
    image = embed(observation.architecture, BALL.convert(observation.parameters), Measure(points, coefficients))
    return np.concatenate([image[key].ravel() for key in pieces])


@pytest.mark.parametrize("split", SHAPES)
@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.type)
@EXPENSIVE
@given(SEEDS, st.booleans())
def test_sigma_is_below_the_smallest_singular_value_and_holds_in_the_ball(
    split: str, activation: Activation, seed: int, bias: bool
) -> None:
    modulo = ("positive-scaling",) if isinstance(activation, ReLU | LeakyReLU) and not bias else ()
    observation, measure = observe(seed, split, activation, bias)
    made = certify(observation, measure, split=split, modulo=modulo)
    assume(isinstance(made, Certificate))
    assert isinstance(made, Certificate)
    assert made.data["split"] == split
    pieces = made.data["pieces"]
    stated = {key: Fraction(made.data[key]) for key in ("radius", "eta", "sigma", "residual", "rho")}
    matrix = jacobian(observation, pieces, measure)
    basis = np.eye(matrix.shape[1])
    if modulo:
        basis = np.linalg.svd(slices(measure))[2][measure.size :].T
    _, values, directions = np.linalg.svd(matrix @ basis)
    # differences are good to 1e-9 of the largest singular value, or a little less for steep activations
    assert float(stated["sigma"]) <= values[-1] + 1e-7 * values[0]
    # attacks: where F moves least, to first order, and at random, from the centre to the rim
    rng = np.random.default_rng(seed + 1)
    attacks = [basis @ directions[-1], basis @ directions[-2], basis @ rng.standard_normal(basis.shape[1])]
    width = matrix.shape[1] // measure.size
    inputs = measure.points.shape[1]
    with BALL.working():
        centre = exact_image(observation, pieces, BALL.convert(measure.points), BALL.convert(measure.coefficients))
        observed = BALL.convert(np.concatenate([observation.vector[key].ravel() for key in pieces]))
        assert sum(entry**2 for entry in centre - observed) <= BALL.number(stated["residual"]) ** 2
        for direction in attacks:
            for length in (0.999, -0.999, 1e-3):
                step = direction * (length * float(stated["radius"]) / np.linalg.norm(direction))
                rows = BALL.convert(step.reshape(measure.size, width))
                there = exact_image(
                    observation,
                    pieces,
                    BALL.convert(measure.points) + rows[:, :inputs],
                    BALL.convert(measure.coefficients) + rows[:, inputs:],
                )
                moved = sum(entry**2 for entry in there - centre)
                assert moved >= BALL.number(stated["sigma"]) ** 2 * sum(entry**2 for entry in rows.ravel())


@pytest.mark.parametrize("split", SHAPES)
def test_most_batches_are_certified(split: str) -> None:
    made = [certify(*observe(seed, split, Tanh()), split=split) for seed in range(12)]
    assert sum(isinstance(result, Certificate) for result in made) >= 11


@pytest.mark.parametrize("split", SHAPES)
def test_descent_finds_no_other_explanation_in_the_ball(split: str) -> None:
    """Gauss-Newton steps towards smaller misfit, projected on the shell between rho and the radius."""
    observation, measure = observe(5, split, Tanh())
    made = certify(observation, measure, split=split)
    assert isinstance(made, Certificate)
    pieces, radius, rho = made.data["pieces"], Fraction(made.data["radius"]), Fraction(made.data["rho"])
    centre = np.hstack([measure.points, measure.coefficients]).ravel()
    target = np.concatenate([observation.vector[key].ravel() for key in pieces])
    matrix = jacobian(observation, pieces, measure)
    rng = np.random.default_rng(0)
    for _ in range(40):
        shift = rng.standard_normal(centre.size)
        for length in np.geomspace(float(radius) * 0.999, 1.001 * max(float(rho), 1e-9), 8):
            shift *= length / np.linalg.norm(shift)
            misfit = stacked(observation, pieces, centre + shift, measure) - target
            assert np.linalg.norm(misfit) > float(Fraction(made.data["eta"]))
            shift = shift - 0.9 * np.linalg.lstsq(matrix, misfit, rcond=None)[0]
            if np.linalg.norm(shift) == 0:
                break


@settings(max_examples=15)
@given(SEEDS, st.sampled_from(ACTIVATIONS), st.sampled_from([(4, (7, 2), 3), (3, (6, 5, 2), 2)]))
def test_the_form_on_the_span_is_the_dense_gram_matrix_there(seed: int, activation: Activation, shape: Any) -> None:
    """M = TᵀJᵀJT with T from (u, c) to (x, c), enclosed by other code."""
    observation, measure = observe(seed, "row-space", activation, shape=shape)
    pieces = [(0, "weight"), (0, "bias")]
    with flint.ctx.workprec(200):
        steps = chain_of(observation.architecture, observation.parameters)
        atoms = [Atom(steps, x, c) for x, c in zip(measure.points, measure.coefficients, strict=True)]
        batch = Batch(steps, ball_matrix(measure.points.T), ball_matrix(measure.coefficients.T))
        points, size, outputs = ball_matrix(measure.points.T), batch.size, batch.outputs
        turn = flint.arb_mat(
            [row + [0] * outputs for row in points.tolist()]
            + [[0] * size + [int(i == k) for k in range(outputs)] for i in range(outputs)]
        )
        form, lengths = forms_on_span(batch, bias=True)
        width = size + outputs
        for i in range(size):
            for j in range(size):
                dense = turn.transpose() * gram_block(atoms[i], atoms[j], pieces) * turn
                same = turn.transpose() * turn
                for a in range(width):
                    for b in range(width):
                        assert dense[a, b].overlaps(form[i * width + a, j * width + b])
                        expected = same[a, b] if i == j else flint.arb(0)
                        assert expected.overlaps(lengths[i * width + a, j * width + b])


@pytest.mark.parametrize("activation", ACTIVATIONS, ids=lambda a: a.type)
@settings(max_examples=5)
@given(SEEDS)
def test_constants_within_a_radius_bound_what_moves(activation: Activation, seed: int) -> None:
    """Difference quotients at random points of the ball, in 200 bits, against λ, μ, γ, τ and their Lipschitz constants."""
    observation, measure = observe(seed, "layer-inputs", activation, shape=(3, (5, 4, 2), 2))
    rng = np.random.default_rng(seed)
    with flint.ctx.workprec(200):
        steps = chain_of(observation.architecture, observation.parameters)
        points, coefficients = ball_matrix(measure.points.T), ball_matrix(measure.coefficients.T)
        batch = Batch(steps, points, coefficients)
        radius = ball(2.0**-6)
        try:
            growth = batch.growth(radius)
        except KinkError:
            return
        for _ in range(2):
            step = rng.standard_normal((batch.size, 5)) * rng.random((batch.size, 1))
            step *= 2.0**-6 / np.linalg.norm(step)
            shift = [ball_matrix(step[:, :3].T), ball_matrix(step[:, 3:].T)]
            there = Batch(steps, points + shift[0], coefficients + shift[1])
            for place in range(len(steps)):
                found = batch.decline(radius, growth, place)
                change = midpoints(there.layers[place].inputs - batch.layers[place].inputs)
                turned = midpoints(there.layers[place].gradients - batch.layers[place].gradients)
                for sample in range(batch.size):
                    length = np.linalg.norm(step[sample, :3])
                    whole = np.linalg.norm(step[sample])
                    slack = 1 + 1e-12  # lengths in float64
                    assert np.linalg.norm(change[:, sample]) <= float(growth[place].value) * length * slack
                    each = np.array([float(entry) for entry in growth[place].each])
                    assert np.all(np.abs(change[:, sample]) <= each * length * slack)
                    assert np.linalg.norm(turned[:, sample]) <= float(found.both[sample]) * whole * slack
                    own = np.array([float(entry) for entry in found.each])
                    assert np.all(np.abs(turned[:, sample]) <= own * whole * slack)
                    if place:
                        left, right = (batch_.tangent(sample, None, place) for batch_ in (there, batch))
                        assert left is not None
                        assert right is not None
                        bend = np.linalg.norm(midpoints(left - right), 2)
                        assert bend <= float(growth[place].derivative) * length * slack
            moved = [
                midpoints(after - before)
                for after, before in zip(_all_responses(there), _all_responses(batch), strict=True)
            ]
            found = batch.decline(radius, growth, 0)
            for sample, difference in enumerate(moved):
                assert np.linalg.norm(difference, 2) <= float(found.second) * np.linalg.norm(step[sample]) * (1 + 1e-12)
                here = midpoints(_all_responses(there)[sample])
                assert np.linalg.norm(here[:, :3], 2) <= float(found.by_point[sample]) * (1 + 1e-12)
                assert np.linalg.norm(here[:, 3:], 2) <= float(found.by_coefficient) * (1 + 1e-12)


def _all_responses(batch: Batch) -> list[flint.arb_mat]:
    return batch.responses(flint.arb_mat([[int(i == k) for k in range(batch.inputs)] for i in range(batch.inputs)]))


@given(st.floats(1e-6, 1e6), st.floats(1e-6, 1e6), st.floats(0, 1e6))
def test_the_smallest_singular_value_of_two_by_two(s: float, t: float, kappa: float) -> None:
    matrix = np.array([[s, 0.0], [kappa, t]])
    found = float(Bounds(ball(s), ball(kappa), ball(t)).sigma())
    least, most = np.linalg.svd(matrix, compute_uv=False)[::-1]
    assert found == pytest.approx(s * t / most, rel=1e-14)
    assert abs(found - least) <= 8 * np.finfo(np.float64).eps * most  # LAPACK's backward error


def test_a_number_that_is_not_positive_separates_nothing() -> None:
    assert Bounds(ball(-1), ball(1), ball(1)).sigma() == 0
    assert Bounds(ball(1), ball(1), ball(0)).sigma() == 0


def test_a_sample_of_small_residual_does_not_spoil_the_others() -> None:
    observation, measure = observe(3, "layer-inputs", Tanh())
    faint = Measure(measure.points, measure.coefficients * np.array([[1e-4], [1.0], [1.0], [1.0]]))
    vector = dict(embed(observation.architecture, observation.parameters, faint))
    made = certify(dataclasses.replace(observation, vector=vector), faint, split="layer-inputs")
    whole = certify(observation, measure, split="layer-inputs")
    assert isinstance(made, Certificate)
    assert isinstance(whole, Certificate)
    # σ follows the residual, and not its square: with weights κ is as small as s, and 10 is left for what κ hid before
    assert Fraction(made.data["sigma"]) > Fraction(whole.data["sigma"]) / 10**5


def refusal(observation: Observation, measure: Measure, split: str | None, **options: Any) -> str:
    made = certify(observation, measure, split=split, **options)
    assert isinstance(made, Refusal)
    assert "\n" not in made.reason
    return made.reason


@pytest.mark.parametrize("split", SHAPES)
def test_degenerate_batches_are_refused(split: str) -> None:
    observation, measure = observe(1, split, Tanh())

    def at(points: np.ndarray, coefficients: np.ndarray) -> str:
        answer = Measure(points, coefficients)
        vector = dict(embed(observation.architecture, observation.parameters, answer))
        return refusal(dataclasses.replace(observation, vector=vector), answer, split)

    equal = np.array(measure.points)
    equal[1] = equal[0]
    # the two gradients are not parallel if several outputs tell the samples apart
    assert ("injective" if split == "row-space" else "independent") in at(equal, measure.coefficients)
    none = np.array(measure.coefficients)
    none[0] = 0.0
    assert "zero coefficient" in at(measure.points, none)
    if split == "row-space":
        dependent = np.array(measure.points)
        dependent[2] = dependent[0] + dependent[1]
        assert "dependent points" in at(dependent, measure.coefficients)


@pytest.mark.parametrize("distance", [1e-2, 1e-3, 1e-6, 1e-9])
def test_near_duplicates_are_certified_truly_or_refused(distance: float) -> None:
    observation, measure = observe(2, "row-space", Tanh())
    close = np.array(measure.points)
    close[1] = close[0] + distance * close[1]
    answer = Measure(close, measure.coefficients)
    vector = dict(embed(observation.architecture, observation.parameters, answer))
    near = dataclasses.replace(observation, vector=vector)
    made = certify(near, answer, split="row-space")
    if (
        distance == 1e-2
    ):  # the smallest singular value falls as the square, so that 1e-3 is refused by the Gram matrix too
        assert isinstance(made, Certificate)
    if isinstance(made, Certificate):
        values = np.linalg.svd(jacobian(near, made.data["pieces"], answer), compute_uv=False)
        assert float(Fraction(made.data["sigma"])) <= values[-1] + 1e-7 * values[0]


def test_a_splitting_that_does_not_apply_says_what_would() -> None:
    observation, measure = observe(1, "row-space", Tanh())
    assert "no splitting" in refusal(observation, measure, "layer-inputs")
    bias = {"0/bias": observation.vector["0/bias"]}
    assert "no splitting" in refusal(dataclasses.replace(observation, vector=bias), measure, "row-space")
    wide, many = observe(1, "row-space", Tanh(), shape=(3, (16, 1), 4))
    assert "no splitting" in refusal(wide, many, None if many.size > 100 else "row-space")


def test_samples_that_are_separated_at_the_centre_only_are_refused() -> None:
    """Two gradients are parallel to 24 digits: proved to be independent, but not within the smallest radius that is tried."""
    observation, measure = observe(1, "layer-inputs", Tanh(), shape=(2, (8, 5), 3))
    coefficients = np.array(measure.coefficients)
    coefficients[0] = np.eye(5)[0]
    coefficients[1] = np.eye(5)[0] + 2.0**-81 * np.eye(5)[1]
    near = Measure(measure.points, coefficients)
    vector = dict(embed(observation.architecture, observation.parameters, near))
    assert "separated" in refusal(dataclasses.replace(observation, vector=vector), near, "layer-inputs", bits=400)


def test_a_kink_nearby_is_refused() -> None:
    observation, measure = observe(1, "row-space", ReLU())
    arrays = {key: np.array(value) for key, value in observation.parameters.items()}
    arrays["0/bias"][3] = -arrays["0/weight"][3] @ measure.points[0]
    parameters = Parameters(observation.architecture, arrays)
    vector = dict(embed(observation.architecture, parameters, measure))
    assert "kink" in refusal(
        dataclasses.replace(observation, parameters=parameters, vector=vector), measure, "row-space"
    )


def test_scaling_is_open_without_the_slice_and_closed_with_it() -> None:
    for split in SHAPES:
        observation, measure = observe(3, split, ReLU(), bias=False)
        assert "rescaling" in refusal(observation, measure, split)
        made = certify(observation, measure, split=split, modulo=("positive-scaling",))
        assert isinstance(made, Certificate)
        assert made.data["modulo"] == ["positive-scaling"]
        assert "split" not in certify(observation, measure, split="dense", modulo=("positive-scaling",)).data  # type: ignore[union-attr]
        assert "positively homogeneous" in refusal(*observe(3, split, Tanh()), split, modulo=("positive-scaling",))
        assert "joint-sign" in refusal(observation, measure, split, modulo=("joint-sign",))


def test_large_batches_go_to_a_splitting_and_small_ones_to_the_gram_matrix() -> None:
    small = certify(*observe(1, "row-space", Tanh()))
    assert isinstance(small, Certificate)
    assert "split" not in small.data
    large = certify(*observe(1, "row-space", Tanh(), shape=(150, (24, 1), 4)))
    assert isinstance(large, Certificate)
    assert large.data["split"] == "row-space"
    assert set(large.data["pieces"]) == {"0/weight", "0/bias"}


def test_the_numbers_at_the_centre_only_worsen_with_the_radius() -> None:
    observation, measure = observe(6, "layer-inputs", Tanh())
    with flint.ctx.workprec(128):
        steps = chain_of(observation.architecture, observation.parameters)
        batch = Batch(steps, ball_matrix(measure.points.T), ball_matrix(measure.coefficients.T))
        splitting = LayerInputs(batch, [(2, "weight")], False)
        found = [splitting.within(ball(2.0**-power)) for power in (40, 20, 10, 6)]
    for narrow, wide in itertools.pairwise(found):
        assert narrow.separation >= wide.separation
        assert narrow.coupling <= wide.coupling
        assert narrow.sigma() >= wide.sigma()
