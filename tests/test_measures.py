"""Measures: symmetries, merging, and matching that recovers what was hidden."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provable import arithmetic
from provable.arithmetic import EPSILON
from provable.errors import InputError
from provable.measures import Measure
from provable.symmetries import is_symmetry, scaling_degree, scaling_name

seeds = st.integers(0, 2**32 - 1)
EVERYTHING = {"permutation", "joint-sign", "positive-scaling"}


@st.composite
def measures(draw: st.DrawFn, smallest: int = 0) -> tuple[Measure, np.random.Generator]:
    """Atoms of a few shapes with one or several coefficients, in general position; and the generator."""
    n = draw(st.integers(smallest, 6))
    shape = draw(st.sampled_from([(3,), (5,), (2, 2, 3)]))
    outputs = draw(st.sampled_from([(), (1,), (3,)]))
    rng = np.random.default_rng(draw(seeds))
    return Measure(rng.standard_normal((n, *shape)), rng.standard_normal((n, *outputs))), rng


@st.composite
def fibres(draw: st.DrawFn) -> set[str]:
    """Permutations, one kind of sign or none, and one kind of scaling or none."""
    sign = draw(st.sampled_from([None, "joint-sign", "point-sign"]))
    scaling = draw(st.sampled_from([None, "positive-scaling", "positive-scaling:2", "positive-scaling:3"]))
    return {"permutation"} | {word for word in (sign, scaling) if word is not None}


@given(measures(), fibres())
def test_matching_finds_hidden_symmetries(drawn: tuple[Measure, np.random.Generator], fibre: set[str]) -> None:
    reference, rng = drawn
    n = reference.size
    order = rng.permutation(n)
    signs, degrees = fibre & {"joint-sign", "point-sign"}, [d for word in fibre if (d := scaling_degree(word))]
    flips = np.flatnonzero(rng.random(n) < 0.5) if signs else np.array([], dtype=int)
    factors = 2.0 ** rng.integers(-3, 4, n) if degrees else np.ones(n)
    hidden = reference.permuted(order)
    hidden = hidden.turned(flips) if signs == {"point-sign"} else hidden.sign_flipped(flips)
    hidden = hidden.rescaled(factors, degree=max(degrees, default=1))
    found = hidden.matching(reference, fibre=fibre)
    # atom i of the hidden measure is atom order[i] of the reference
    assert (order[found.permutation] == np.arange(n)).all()
    assert (found.signs == np.where(np.isin(found.permutation, flips), -1.0, 1.0)).all()
    # norms are rounded, hence the factors; one rounding each in two norms and a quotient, over d terms
    assert (abs(found.factors * factors[found.permutation] - 1) <= 30 * EPSILON).all()
    assert found.error <= 30 * EPSILON and not found.unmatched.size
    aligned = found.apply(hidden)
    assert (abs(aligned.points - reference.points) <= 30 * EPSILON * abs(reference.points)).all()
    assert (abs(aligned.coefficients - reference.coefficients) <= 30 * EPSILON * abs(reference.coefficients)).all()


@given(measures(2))
def test_without_its_symmetry_a_hidden_change_shows(drawn: tuple[Measure, np.random.Generator]) -> None:
    reference, _ = drawn
    for changed, word in (
        (reference.permuted([*range(1, reference.size), 0]), "permutation"),
        (reference.sign_flipped([0]), "joint-sign"),
        (reference.rescaled([2.0] * reference.size), "positive-scaling"),
    ):
        assert changed.matching(reference, fibre=EVERYTHING).error <= 30 * EPSILON
        # Gaussian points in general position are further apart than this
        assert changed.matching(reference, fibre=EVERYTHING - {word}).error > 1e-6


def test_signs_and_scalings_of_other_kinds_are_not_divided_out() -> None:
    reference = Measure(np.eye(3), np.array([1.0, 2.0, 3.0]))
    for changed, word, other in (
        (reference.turned([0]), "point-sign", "joint-sign"),
        (reference.sign_flipped([0]), "joint-sign", "point-sign"),
        (reference.rescaled([2.0] * 3, degree=3), "positive-scaling:3", "positive-scaling:2"),
        (reference.rescaled([2.0] * 3, degree=2), "positive-scaling:2", "positive-scaling"),
    ):
        assert changed.matching(reference, fibre=["permutation", word]).error == 0
        assert changed.matching(reference, fibre=["permutation", other]).error >= 0.5


@given(st.one_of(st.text(), st.integers(0, 2000).map(lambda degree: f"positive-scaling:{degree}")))
def test_words_of_scalings_are_read_in_one_form_only(word: str) -> None:
    degree = scaling_degree(word)
    assert degree is None or (scaling_name(degree) == word and is_symmetry(word))
    for one in (
        "positive-scaling:1",
        "positive-scaling:02",
        "positive-scaling:",
        "positive-scaling:2 ",
        "null-space:2",
    ):
        assert scaling_degree(one) is None and not is_symmetry(one)


@given(measures(1), st.integers(-40, -5))
def test_errors_are_those_of_the_atoms(drawn: tuple[Measure, np.random.Generator], exponent: int) -> None:
    reference, rng = drawn
    size = 2.0**exponent
    noisy = Measure(reference.points * (1 + size), reference.coefficients * (1 - 2 * size))
    found = noisy.permuted(rng.permutation(reference.size)).matching(reference)
    # both relative errors are exact up to rounding of numbers near one: absolute error of a few ε
    assert (abs(found.errors - size) <= 30 * EPSILON).all()
    assert (abs(found.coefficient_errors - 2 * size) <= 30 * EPSILON).all()
    assert (
        found.error == max(found.errors.max(), found.coefficient_errors.max())
        and found.point_error == found.errors.max()
    )


@given(measures(2))
def test_assignment_is_optimal(drawn: tuple[Measure, np.random.Generator]) -> None:
    reference, rng = drawn
    other = Measure(rng.standard_normal(reference.points.shape), rng.standard_normal(reference.coefficients.shape))

    def cost(matching: Any) -> float:
        return float((matching.errors**2 + matching.coefficient_errors**2).sum())

    best = cost(other.matching(reference))
    for _ in range(10):
        attempt = other.permuted(rng.permutation(other.size)).matching(reference, fibre=())
        assert best <= cost(attempt) * (1 + 30 * EPSILON)


def test_partial_measures_leave_atoms_unmatched() -> None:
    reference = Measure(np.eye(3), np.array([1.0, 2.0, 3.0]))
    partial = reference.permuted([2, 0, 1])._selected(slice(0, 2))
    found = partial.matching(reference)
    assert found.permutation.tolist() == [1, -1, 0] and found.errors.tolist() == [0.0, math.inf, 0.0]
    assert found.error == math.inf and found.apply(partial) == reference._selected([0, 2])
    reverse = reference.matching(partial)
    assert reverse.unmatched.tolist() == [1] and reverse.errors.tolist() == [0.0, 0.0] and reverse.error == math.inf
    nothing = Measure(np.empty((0, 3)), np.empty(0))
    assert nothing.matching(nothing, fibre=EVERYTHING).error == 0 and nothing.matching(reference).error == math.inf


def test_zero_points_and_coefficients_are_compared_absolutely() -> None:
    reference = Measure(np.zeros((1, 2)), np.zeros(1))
    found = Measure(np.array([[3.0, 4.0]]), np.array([2.0])).matching(reference)
    assert found.errors.tolist() == [5.0] and found.coefficient_errors.tolist() == [2.0]
    scaled = reference.matching(reference, fibre=EVERYTHING)
    assert scaled.error == 0 and scaled.factors.tolist() == [1.0]


@given(measures())
def test_symmetries_undo_themselves(drawn: tuple[Measure, np.random.Generator]) -> None:
    measure, rng = drawn
    order, flips = rng.permutation(measure.size), np.flatnonzero(rng.random(measure.size) < 0.5)
    factors = 2.0 ** rng.integers(-5, 6, measure.size)
    assert measure.permuted(order).permuted(np.argsort(order)) == measure
    assert measure.sign_flipped(flips).sign_flipped(flips) == measure
    assert measure.rescaled(factors).rescaled(1 / factors) == measure
    assert measure.merged() == measure and measure.without_null_atoms() == measure


@given(measures(1), st.integers(1, 3))
def test_merging_adds_the_coefficients_of_equal_points(drawn: tuple[Measure, np.random.Generator], copies: int) -> None:
    measure, rng = drawn
    order = rng.permutation(copies * measure.size)
    repeated = Measure(
        np.concatenate([measure.points] * copies)[order], np.concatenate([measure.coefficients] * copies)[order]
    )
    merged = repeated.merged()
    found = merged.matching(Measure(measure.points, copies * measure.coefficients))
    assert merged.size == measure.size and found.point_error == 0 and found.error <= 30 * EPSILON
    jitter = 1e-9 * rng.random((len(order),) + (1,) * (measure.points.ndim - 1))
    nearly = Measure(repeated.points * (1 + jitter), repeated.coefficients)
    assert nearly.merged(1e-8).size == measure.size
    assert nearly.merged().size == copies * measure.size
    exact = arithmetic.RATIONAL.convert(repeated)
    assert exact.merged() == arithmetic.RATIONAL.convert(merged) or copies == 3  # (c + c) + c is rounded in float64
    assert exact.merged().size == measure.size


def test_null_atoms_are_dropped_and_cancelling_atoms_with_them() -> None:
    measure = Measure(np.array([[1.0], [2.0], [1.0]]), np.array([3.0, 0.0, -3.0]))
    assert measure.without_null_atoms().size == 2
    assert measure.merged().without_null_atoms().size == 0
    several = Measure(np.eye(2), np.array([[0.0, 0.0], [0.0, 1.0]]))
    assert several.without_null_atoms() == several._selected([1])


def test_exact_measures_keep_their_numbers() -> None:
    measure = Measure(np.array([[0.1, -2.0]]), np.array([0.3]))
    exact = arithmetic.RATIONAL.convert(measure)
    assert isinstance(exact, Measure) and exact.points.dtype == object and arithmetic.kind(exact.points) == "rational"
    assert exact.sign_flipped([0]).sign_flipped([0]) == exact
    assert exact.matching(measure).error == 0 and exact != measure.permuted([0]).rescaled([2.0])


def test_numbers_are_copied_and_read_only() -> None:
    points = np.zeros((1, 2))
    measure = Measure(points, [1])
    points[0, 0] = 5.0
    assert measure.points[0, 0] == 0 and measure.coefficients.dtype == np.float64
    with pytest.raises(ValueError, match="read-only"):
        measure.points[0, 0] = 1.0
    assert measure != "measure"


ONE = Measure(np.ones((2, 3)), np.ones(2))
WRONG: list[tuple[Any, str]] = [
    (lambda: Measure(np.ones(3), np.ones(3)), "points: found shape (3,); (n, *input_shape) is accepted"),
    (lambda: Measure(np.ones((2, 3)), np.ones(3)), "coefficients: found shape (3,) for 2 points; (2,) or (2, C) is"),
    (lambda: Measure(np.ones((2, 3)), np.ones((2, 1, 1))), "coefficients: found shape (2, 1, 1) for 2 points"),
    (lambda: Measure(np.full((2, 3), np.nan), np.ones(2)), "points: found a number that is not finite"),
    (lambda: Measure(np.ones((2, 3)), np.array(["a", "b"])), "coefficients: found entries of type <U1; real numbers"),
    (lambda: ONE.permuted([0, 0]), "order: found [0, 0]; a permutation of 0 to 1 is accepted"),
    (lambda: ONE.permuted([0]), "order: found [0]; a permutation of 0 to 1 is accepted"),
    (lambda: ONE.sign_flipped([2]), "indices: found [2]; numbers from 0 to 1 are accepted"),
    (lambda: ONE.sign_flipped([-1]), "indices: found [-1]; numbers from 0 to 1 are accepted"),
    (lambda: ONE.rescaled([1.0]), "factors: found shape (1,); (2,) is accepted"),
    (lambda: ONE.rescaled([1.0, 0.0]), "factors: found a number that is not positive"),
    (lambda: ONE.rescaled([1.0, np.inf]), "factors: found a number that is not finite"),
    (lambda: ONE.merged(-1.0), "tolerance: found -1.0; a nonnegative number is accepted"),
    (lambda: ONE.merged(math.nan), "tolerance: found nan; a nonnegative number is accepted"),
    (
        lambda: ONE.matching(ONE, fibre=["rotation"]),
        "fibre: found 'rotation'; permutation, joint-sign, point-sign, positive-scaling",
    ),
    (
        lambda: ONE.matching(ONE, fibre=["joint-sign", "point-sign"]),
        "fibre: found joint-sign, point-sign; one kind of sign and one of scaling at most are accepted",
    ),
    (
        lambda: ONE.matching(ONE, fibre=["positive-scaling", "positive-scaling:2"]),
        "fibre: found positive-scaling, positive-scaling:2; one kind of sign and one of scaling",
    ),
    (lambda: ONE.turned([2]), "indices: found [2]; numbers from 0 to 1 are accepted"),
    (lambda: ONE.matching(Measure(np.ones((2, 4)), np.ones(2))), "other: found atoms of shapes (4,) and ()"),
    (
        lambda: ONE.matching(Measure(np.ones((1, 3)), np.ones(1)), fibre=()),
        "other: found 1 atoms; 2 are accepted unless",
    ),
]


@pytest.mark.parametrize(("call", "message"), WRONG, ids=[message[:40] for _, message in WRONG])
def test_wrong_arguments_are_named(call: Any, message: str) -> None:
    with pytest.raises(InputError) as caught:
        call()
    assert str(caught.value).startswith(message)
