"""The span conditions: true samples meet them, and their derivatives are those of finite differences."""

from __future__ import annotations

import dataclasses
import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from provable.architectures import ELU, GELU, Erf, Polynomial, ReLU, Sigmoid, SiLU, Softplus, Tanh
from provable.networks import losses
from provable.networks.evaluation import trace
from provable.recovery.batch.chain import FullyConnected
from provable.recovery.batch.span_check.charts import Chart
from provable.recovery.batch.span_check.conditions import Conditions
from provable.recovery.batch.span_check.deflation import atom_at, remaining_conditions, tolerance
from provable.recovery.batch.span_check.distances import Condition, normal_equations, residuals
from provable.recovery.batch.span_check.spaces import Spaces

EPSILON = 2.0**-52
SMOOTH = (Tanh(), Sigmoid(), Erf(), Softplus(), GELU(), SiLU(), Polynomial((0.0, 0.5, 0.2, 0.05)))


@st.composite
def random_conditions(draw):
    """Conditions of a small random network; the known spaces are random, so that no distance is small."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    depth, outputs, size = draw(st.integers(2, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 5))
    widths = [draw(st.integers(5, 9)) for _ in range(depth - 1)] + [outputs]
    deeper = tuple(
        (
            rng.standard_normal((after, before)) / np.sqrt(before),
            rng.standard_normal(after) if draw(st.booleans()) else None,
        )
        for before, after in itertools.pairwise(widths)
    )

    def basis(rows):
        return np.linalg.qr(rng.standard_normal((rows, draw(st.integers(0, 3)))))[0]

    rows = []
    for layer in range(2, depth + 1):
        if draw(st.booleans()):
            unit = draw(st.sampled_from([0.0, 0.5]))
            size_h = widths[layer - 2] + bool(unit)
            origin = rng.standard_normal(size_h) if draw(st.booleans()) else None
            linear = (rng.standard_normal(size_h), rng.standard_normal((size_h, size))) if draw(st.booleans()) else None
            power = draw(st.sampled_from([0.0, 0.25, 1.0]))
            rows.append(Condition(layer, basis(size_h), rng.uniform(0.5, 2), unit, origin, linear, power))
    directions = draw(st.integers(1, outputs))
    columns = []
    for layer in range(1, depth):
        if draw(st.booleans()):
            factor = rng.standard_normal((widths[layer - 1], directions)) if draw(st.booleans()) else None
            columns.append(Condition(layer, basis(widths[layer - 1]), rng.uniform(0.5, 2), reference=factor))
    if not rows and not columns:
        columns = [Condition(1, basis(widths[0]))]
    conditions = Conditions(
        rng.standard_normal(widths[0]),
        rng.standard_normal((widths[0], size)),
        deeper,
        tuple(draw(st.sampled_from(SMOOTH)) for _ in range(depth - 1)),
        np.linalg.qr(rng.standard_normal((outputs, directions)))[0],
        tuple(rows),
        tuple(columns),
    )
    return conditions, rng.standard_normal((3, size)) / np.sqrt(size)


@given(random_conditions())
def test_derivatives_are_those_of_finite_differences(drawn):
    conditions, unknowns = drawn
    rho, _ = conditions.evaluate(unknowns)
    step = 2.0**-13
    jacobian = residuals(conditions.vectors(unknowns, rho))[1]
    complement = np.linalg.qr(rho[:, :, None], mode="complete")[0][:, :, 1:]
    size = 1 + np.max(np.abs(jacobian), axis=(1, 2))
    unseen = 0
    for column in range(jacobian.shape[2]):
        along, turned = np.zeros(conditions.dimension), np.zeros_like(rho)
        if column < conditions.dimension:
            along[column] = 1.0
        else:
            turned = complement[:, :, column - conditions.dimension]

        def quotient(h, along=along, turned=turned):
            ends = [residuals(conditions.vectors(unknowns + t * along, rho + t * turned))[0] for t in (-h, h)]
            return (ends[1] - ends[0]) / (2 * h)

        wide, narrow = quotient(step), quotient(step / 2)
        # The error of a central difference is a quarter at half the step, so what is left after extrapolation is less
        # than what the step changed; rounding enters divided by the step, enlarged by what the layers amplify.
        change = np.max(np.abs(wide - narrow), axis=1)
        room = change + 1e3 * EPSILON / step * size
        # Where a layer is saturated, the step may be too wide to see a derivative.
        seen = change <= 0.1 * np.max(np.abs(narrow), axis=1) + room - change
        assert np.all((np.max(np.abs((4 * narrow - wide) / 3 - jacobian[:, :, column]), axis=1) <= room) | ~seen)
        unseen += np.count_nonzero(~seen)
    assume(unseen <= jacobian.shape[2])  # of three times as many


@given(random_conditions())
def test_normal_equations_are_those_of_the_residuals(drawn):
    conditions, unknowns = drawn
    rho, cost = conditions.evaluate(unknowns)
    found = conditions.vectors(unknowns, rho)
    values, jacobian = residuals(found)
    gradient, matrix = normal_equations(found)
    size = 1 + np.sum(jacobian**2, axis=(1, 2))
    # Products of at most 40 terms, several times over; what lies inside the space cancels from the size of dh/‖h‖.
    room = 30 * 40 * EPSILON * (size + sum(np.sum(v.jacobian**2, (1, 2)) / np.sum(v.values**2, 1) for v in found))
    assert np.all(np.abs(np.sum(values**2, axis=1) - cost) <= room)
    assert np.all(np.abs(np.einsum("snp,sn->sp", jacobian, values) - gradient) <= 4 * room[:, None])
    assert np.all(np.abs(np.swapaxes(jacobian, 1, 2) @ jacobian - matrix) <= 4 * room[:, None, None])


@given(random_conditions(), st.integers(0, 2**32))
def test_no_direction_of_the_loss_is_better_than_the_one_chosen(drawn, seed):
    conditions, unknowns = drawn
    # One condition on sensitivities alone: then the direction minimises its distance.
    column = (*conditions.columns, Condition(1, np.zeros((len(conditions.offset), 0))))[0]
    conditions = dataclasses.replace(conditions, rows=(), columns=(column,))
    chosen, _ = conditions.evaluate(unknowns)

    def distances(rho):
        vectors = conditions.sensitivities(unknowns, rho)[column.layer - 1]
        outside = vectors - vectors @ column.basis @ column.basis.T
        sizes = np.sum(vectors**2, axis=1)
        if column.reference is not None:
            sizes = 1e-6 * sizes + np.sum((vectors - rho @ column.reference.T) ** 2, axis=1)
        return np.sum(outside**2, axis=1) / sizes

    for other in np.random.default_rng(seed).standard_normal((20, *chosen.shape)):
        # A ridge of 1e-14 in the triangular factor, whose condition is 1e3 times that of the network's factor at most.
        assert np.all(distances(chosen) <= distances(other) * (1 + 1e-6) + 1e-8)


CASES = [
    (Tanh(), (24,), 1, False, "squared"),
    (Sigmoid(), (24,), 3, True, "cross_entropy"),
    (GELU(), (20,), 7, True, "cross_entropy"),
    (Softplus(), (18, 12), 1, False, "logistic"),
    (ReLU(), (30, 16), 2, True, "squared"),
    (ELU(), (16, 14, 12), 1, True, "squared"),
]


@pytest.mark.parametrize(("activation", "widths", "outputs", "bias", "loss"), CASES)
@given(seed=st.integers(0, 2**32), size=st.integers(1, 5))
def test_true_samples_meet_all_conditions_and_have_dual_functionals(
    batch_observation, activation, widths, outputs, bias, loss, seed, size
):
    observation, inputs = batch_observation(activation, 8, size, widths, seed, outputs=outputs, bias=bias, loss=loss)
    spaces = Spaces.of(FullyConnected.of(observation), EPSILON)
    span = spaces.complete(1)
    assume(spaces.rank == size and span is not None and span.error < 1e-6)  # or a sample leaves next to no trace
    chart = Chart.of(spaces, span)
    conditions, origin, directions = remaining_conditions(spaces, chart, [], spaces.row_layers, spaces.column_layers)
    conditions = dataclasses.replace(conditions, offset=chart.offset, matrix=chart.matrix)
    coordinates = span.extended(inputs) @ span.right
    np.testing.assert_allclose(chart.points(coordinates), inputs, atol=8 * span.error)
    np.testing.assert_allclose(
        origin + (coordinates - origin) @ directions @ directions.T, coordinates, atol=8 * span.error
    )
    if conditions.rows or conditions.columns:
        limits = [tolerance(spaces, chart, c.layer) for c in (*conditions.rows, *conditions.columns)]
        assert np.all(conditions.distances(coordinates)[1] <= limits)
    atoms = [atom_at(spaces, conditions, chart, c) for c in coordinates]
    assert all(atom is not None for atom in atoms)
    for i, atom in enumerate(atoms):
        for k, other in enumerate(atoms):
            for layer, dual in atom.duals.items():
                room = np.linalg.norm(dual) * np.linalg.norm(other.features[layer])
                # The dual functional is wrong by the error of the spaces, relative to its size.
                assert (
                    abs(dual @ other.features[layer] - (i == k))
                    <= 100 * (chart.error + spaces.spans[layer - 1].error) * room
                )
            assert not atom.duals or atom.repeats(other) == (i == k)


def test_coefficients_come_with_the_dual_functionals(batch_observation):
    observation, inputs = batch_observation(
        GELU(), 12, 4, (40,), 3, outputs=3, bias=True, loss="cross_entropy", labels_known=True
    )
    spaces = Spaces.of(FullyConnected.of(observation), EPSILON)
    chart = Chart.of(spaces, spaces.complete(1))
    conditions, _, _ = remaining_conditions(spaces, chart, [], (), spaces.column_layers)
    conditions = dataclasses.replace(conditions, offset=chart.offset, matrix=chart.matrix)
    coordinates = spaces.complete(1).extended(inputs) @ spaces.complete(1).right
    found = np.array([atom_at(spaces, conditions, chart, c).sensitivity for c in coordinates])
    outputs = trace(observation.architecture, observation.parameters, inputs).output
    wanted = losses.residual("cross_entropy", outputs, observation.labels)
    assert np.max(np.abs(found - wanted)) <= 100 * spaces.complete(1).error


@given(st.integers(0, 2**32), st.integers(2, 6), st.integers(1, 5))
def test_deflation_keeps_the_other_samples_and_loses_the_found_ones(batch_observation, seed, size, found):
    found = min(found, size - 1)
    observation, inputs = batch_observation(Tanh(), 10, size, (40, 30), seed)
    spaces = Spaces.of(FullyConnected.of(observation), EPSILON)
    span = spaces.complete(1)
    assume(spaces.rank == size and span is not None and max(s.error for s in spaces.spans[:2]) < 1e-9)
    chart = Chart.of(spaces, span)
    conditions, _, _ = remaining_conditions(spaces, chart, [], (2,), (1, 2))
    coordinates = inputs @ span.right
    atoms = [atom_at(spaces, conditions, chart, c) for c in coordinates]
    left, origin, directions = remaining_conditions(spaces, chart, atoms[:found], (2,), (1, 2))
    assert left.dimension == size - found
    assert left.rows[0].basis.shape[1] == size - found
    unknowns = (coordinates - origin) @ directions
    back = origin + unknowns @ directions.T
    sizes = np.linalg.norm(coordinates, axis=1)
    worst = max(np.linalg.norm(atom.duals[layer]) * spaces.spans[layer - 1].error for atom in atoms for layer in (1, 2))
    # The functionals of the found samples are known up to the error of the spaces, relative to their size.
    assert np.all(np.linalg.norm(back - coordinates, axis=1)[found:] <= 100 * worst * sizes[found:] + 1e-12)
    assert np.all(left.distances(unknowns[found:])[1] <= 100 * worst + 1e-12)
    # A found sample is one on its own functional, so it lies off the space by 1 / ‖q‖ at least.
    off = [1 / np.linalg.norm(atom.duals[1]) for atom in atoms[:found]]
    assert np.all(np.linalg.norm(back - coordinates, axis=1)[:found] >= 0.99 * np.array(off))
