"""Algorithm 1 of Wang, Lee and Lei: exact at exact designs, converging at random neurons, and every erratum shown.

A design is a set of neurons whose averages of polynomials up to some degree are those of N(0, I) exactly. With a polynomial
activation every moment in the algorithm is then exact, so that its answer has to be right to rounding.
"""

from __future__ import annotations

import dataclasses
import itertools
import math

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from provable.architectures.activations import (
    ELU,
    GELU,
    Erf,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Tanh,
)
from provable.arithmetic import EPSILON
from provable.errors import InputError, UnsupportedError
from provable.measures import Measure
from provable.networks.activations import derivative, value
from provable.recovery.batch.wang2023.errata import OBSERVED, Erratum, Options
from provable.recovery.batch.wang2023.subspace import leading_subspace
from provable.recovery.batch.wang2023.two_layers import TwoLayerGradient, algorithm_1

OUTPUT, FIRST = OBSERVED
CUBIC = Polynomial((0.0, 0.0, 1.0, 1.0))  # x² + x³: orders 2 and 3
ODD = Polynomial((0.0, 1.0, 0.0, 1.0))  # x + x³: order 3 for both
QUARTIC = Polynomial((0.0, 1.0, 1.0, 0.0, 1.0))  # x + x² + x⁴: orders 2 and 4


def design(dimension, degree):
    """Neurons that integrate polynomials of that degree in each entry exactly: 6ᵈ for 5, 30ᵈ for 7."""
    line = {
        5: [-math.sqrt(3), *[0.0] * 4, math.sqrt(3)],
        7: [-math.sqrt(6), *[-1.0] * 9, *[0.0] * 10, *[1.0] * 9, math.sqrt(6)],
    }[degree]
    return np.array(list(itertools.product(line, repeat=dimension)))


def observed(weights, activation, points, residuals, **changes):
    """The gradient that points with given residuals leave behind, a_j = 1/m."""
    output_weights = np.full(len(weights), 1 / len(weights))
    inner = weights @ points.T
    first = (output_weights[:, None] * derivative(activation, inner) * residuals) @ points
    return TwoLayerGradient(weights, output_weights, activation, value(activation, inner) @ residuals, first, **changes)


def error(estimate, points, residuals, *fibre):
    """Largest relative error of a point or a residual modulo order and `fibre`."""
    found = Measure(estimate.points, estimate.residuals)
    return found.matching(Measure(points, residuals), fibre=("permutation", *fibre)).error


def batch(dimension, count, seed):
    rng = np.random.default_rng(seed)
    points = rng.standard_normal((count, dimension))
    return points / np.linalg.norm(points, axis=1)[:, None], rng.choice([-1.0, 1.0], count) * rng.uniform(
        0.5, 1.5, count
    )


DESIGNS = {
    (CUBIC, FIRST): (3, 5),
    (CUBIC, OUTPUT): (2, 7),
    (ODD, FIRST): (3, 5),
    (ODD, OUTPUT): (2, 7),
    (QUARTIC, FIRST): (2, 7),
}


@pytest.mark.parametrize(("activation", "which"), DESIGNS, ids=lambda part: getattr(part, "type", part))
@given(seed=st.integers(0, 2**32 - 1), norm=st.sampled_from([0.5, 1.0, 1.5]), data=st.data())
def test_exact_moments_give_the_samples(activation, which, seed, norm, data):
    """Nothing but the averages over neurons is approximate."""
    dimension, degree = DESIGNS[activation, which]
    count = data.draw(st.integers(1, dimension))
    points, residuals = batch(dimension, count, seed)
    condition = np.linalg.cond(points) ** 3
    # beyond, pairs of samples are nearly parallel, and the contraction with the first moment may hide one
    assume(condition < 100)
    gradient = observed(design(dimension, degree), activation, norm * points, residuals, norm=norm)
    if activation is ODD:
        first = gradient.moments(which).first()
        assume(np.min(np.abs(points @ first)) > 0.1 * np.linalg.norm(first))
    estimate = algorithm_1(gradient, count, options=Options(observed=which), rng=0)
    fibre = ("joint-sign",) if activation is ODD else ()
    assert estimate.symmetries == fibre
    # the power method stops where the subspace turns by 1e-12 in ten iterations, which leaves up to a hundred times that
    # where the gap is small; decomposition and weights lose up to the cube of the condition, contractions another hundredfold
    assert error(estimate, norm * points, residuals, *fibre) < 1e-10 * condition
    if not fibre:
        labels = gradient.outputs(estimate.points) - estimate.residuals
        np.testing.assert_array_equal(estimate.labels, labels)


RATES = [
    *itertools.product([ReLU(), Tanh(), GELU(), ELU(), CUBIC], OBSERVED),
    *itertools.product(
        [LeakyReLU(), Erf(), Sigmoid(), SiLU()], [FIRST]
    ),  # the others need more neurons than a test has
]


@pytest.mark.parametrize(("activation", "which"), RATES, ids=lambda part: getattr(part, "type", part))
def test_error_falls_as_the_root_of_the_width(activation, which):
    """Theorem 5.1: order √(d/m). Sixteen times the width is four times the accuracy."""
    small = 1000
    mean = {}
    for width in (small, 16 * small):
        errors = []
        for seed in range(6):
            points = np.linalg.qr(np.random.default_rng(seed).standard_normal((4, 2)))[0].T
            weights = np.random.default_rng(100 + seed).standard_normal((width, 4))
            gradient = observed(weights, activation, points, np.array([1.0, 1.5]))
            options = Options(observed=which, positive_residuals=True)
            estimate = algorithm_1(gradient, 2, options=options, rng=seed)
            gram = (estimate.points[:, None] - points[None]) ** 2
            costs = gram.sum(axis=2)
            errors.append(min(costs[0, 0] + costs[1, 1], costs[0, 1] + costs[1, 0]))
        mean[width] = math.sqrt(float(np.median(errors)))
    # the ratio of two medians of six is 4 up to a factor of 2.5
    assert mean[16 * small] < 0.35
    assert 1.6 < mean[small] / mean[16 * small] < 10


@given(exponent=st.integers(-900, 900), seed=st.integers(0, 1000))
def test_scale_of_the_gradient_is_that_of_the_residuals(exponent, seed):
    points, residuals = batch(2, 1, seed)
    gradient = observed(design(2, 5), CUBIC, points, residuals)
    scaled = dataclasses.replace(gradient, first_layer_gradient=np.ldexp(gradient.first_layer_gradient, exponent))
    options = Options(observed=FIRST)
    one, other = (algorithm_1(entry, 1, options=options, rng=0) for entry in (gradient, scaled))
    np.testing.assert_array_equal(other.points, one.points)  # powers of two round nothing
    np.testing.assert_array_equal(other.residuals, np.ldexp(one.residuals, exponent))


def test_batches_that_are_no_batch():
    """A zero gradient, and two samples at one point whose residuals cancel or add up."""
    gradient = observed(design(2, 5), CUBIC, *batch(2, 2, 0))
    nothing = dataclasses.replace(gradient, first_layer_gradient=np.zeros((36, 2)))
    with pytest.raises(UnsupportedError, match="every entry of the gradient is zero"):
        algorithm_1(nothing, 2, options=Options(observed=FIRST))
    twice = np.eye(3)[[0, 0]]
    cancelled = observed(design(3, 5), CUBIC, twice, np.array([1.0, -1.0]))
    with pytest.raises(UnsupportedError, match=r"zero|singular"):
        algorithm_1(cancelled, 2, options=Options(observed=FIRST))
    added = algorithm_1(observed(design(3, 5), CUBIC, twice, np.array([1.0, 0.5])), 1, options=Options(observed=FIRST))
    np.testing.assert_allclose(added.points, [[1.0, 0.0, 0.0]], atol=1e-10)
    np.testing.assert_allclose(added.residuals, [1.5], rtol=1e-10)


def test_more_dimensions_cost_their_root():
    """The span is what costs: with as many neurons, an error that grows with d."""
    errors = []
    for dimension in (10, 90):
        squares = []
        for seed in range(5):
            weights = np.random.default_rng(seed).standard_normal((3000, dimension))
            points = np.eye(dimension)[:2]
            gradient = observed(weights, CUBIC, points, np.array([1.0, 1.2]))
            estimate = algorithm_1(gradient, 2, options=Options(observed=FIRST), rng=seed)
            costs = ((estimate.points[:, None] - points[None]) ** 2).sum(axis=2)
            squares.append(min(costs[0, 0] + costs[1, 1], costs[0, 1] + costs[1, 0]))
        errors.append(math.sqrt(float(np.mean(squares))))
    assert 2 < errors[1] / errors[0] < 4.5  # √(90 / 10) = 3


# Errata, each with the step as printed and corrected


def test_average_is_missing():
    points, residuals = batch(3, 2, 5)
    gradient = observed(design(3, 5), CUBIC, points, residuals)
    printed = algorithm_1(gradient, 2, options=Options(as_printed={Erratum.AVERAGE}, observed=FIRST), rng=0)
    corrected = algorithm_1(gradient, 2, options=Options(observed=FIRST), rng=0)
    np.testing.assert_allclose(printed.points, corrected.points, atol=1e-12)
    np.testing.assert_allclose(printed.residuals, 216 * corrected.residuals, rtol=1e-12)
    assert error(corrected, points, residuals) < 1e-10 < 100 < error(printed, points, residuals)


def test_label_is_not_the_weight_minus_a_mean():
    points, labels = batch(3, 2, 5)[0], np.array([-1.0, 1.0])
    weights = design(3, 5)
    outputs = value(CUBIC, points @ weights.T).mean(axis=1) + 3.0
    gradient = observed(weights, CUBIC, points, outputs - labels, output_bias=3.0)
    printed = algorithm_1(gradient, 2, options=Options(as_printed={Erratum.LABEL}, observed=FIRST), rng=0)
    corrected = algorithm_1(gradient, 2, options=Options(observed=FIRST), rng=0)
    np.testing.assert_allclose(np.sort(corrected.labels), labels, atol=1e-9)
    # λ̂ = 6 r and Eσ = 1
    np.testing.assert_allclose(np.sort(printed.labels), np.sort(6 * (outputs - labels) - 1), atol=1e-5)
    assert np.min(np.abs(np.sort(printed.labels) - labels)) > 1


def test_contraction_with_any_unit_vector_may_see_nothing():
    """a ⟂ x₁: the contracted moment has no trace of x₁, so that the second vector of V is noise."""
    points, residuals = np.eye(12)[:2], np.array([1.0, 0.7])
    weights = np.random.default_rng(0).standard_normal((4000, 12))
    gradient = observed(weights, Tanh(), points, residuals)
    options = Options(observed=FIRST)
    blind = algorithm_1(gradient, 2, options=options, direction=np.eye(12)[1], rng=0)
    corrected = algorithm_1(gradient, 2, options=options, rng=0)

    def sine(estimate):
        return np.linalg.norm(points[0] - estimate.subspace @ (estimate.subspace.T @ points[0]))

    assert sine(corrected) < 0.2
    assert sine(blind) > 0.7


def test_contraction_with_a_random_vector_is_worse_by_its_overlap():
    """|a·x| is about 1/√d for a random a, and of order one for the first moment, which is in the span."""
    dimension, points = 40, np.eye(40)[:2]
    sines = {"random": [], "first moment": []}
    for seed in range(5):
        weights = np.random.default_rng(seed).standard_normal((4000, dimension))
        gradient = observed(weights, Tanh(), points, np.array([1.0, -1.0]))
        for name, printed in (("random", {Erratum.CONTRACTION}), ("first moment", ())):
            options = Options(as_printed=printed, observed=FIRST)
            basis = algorithm_1(gradient, 2, options=options, rng=seed).subspace
            sines[name].append(np.linalg.norm(points.T - basis @ (basis.T @ points.T), 2))
    assert np.median(sines["first moment"]) < 0.25
    assert np.median(sines["random"]) > 2.5 * np.median(sines["first moment"])


@given(seed=st.integers(0, 2**32 - 1))
def test_contracted_weight_lacks_the_overlap(seed):
    points, residuals = batch(2, 2, seed)
    assume(np.linalg.cond(points) < 4)
    direction = np.random.default_rng(seed).standard_normal(2)
    direction /= np.linalg.norm(direction)
    overlaps = points @ direction
    assume(np.min(np.abs(overlaps)) > 0.2)
    gradient = observed(design(2, 7), QUARTIC, points, residuals)
    both = {Erratum.CONTRACTION, Erratum.CONTRACTED_WEIGHT}
    printed = algorithm_1(gradient, 2, options=Options(as_printed=both, observed=FIRST), direction=direction, rng=0)
    mended = algorithm_1(
        gradient, 2, options=Options(as_printed={Erratum.CONTRACTION}, observed=FIRST), direction=direction, rng=0
    )
    assert error(mended, points, residuals) < 1e-8
    assert error(printed, points, residuals * overlaps) < 1e-8


@settings(max_examples=10)
@given(seed=st.integers(0, 2**32 - 1))
def test_sign_of_an_odd_activation_is_open(seed):
    """Both batches have the same gradient, bit for bit: no algorithm can tell them apart."""
    points, residuals = batch(4, 2, seed)
    weights = np.random.default_rng(seed).standard_normal((100, 4))
    one = observed(weights, Tanh(), points, residuals)
    signs = np.array([-1.0, 1.0])
    other = observed(weights, Tanh(), signs[:, None] * points, signs * residuals)
    np.testing.assert_array_equal(one.output_weight_gradient, other.output_weight_gradient)
    np.testing.assert_array_equal(one.first_layer_gradient, other.first_layer_gradient)
    printed = algorithm_1(one, 2, options=Options(as_printed=True, observed=FIRST), rng=1)
    assert printed.symmetries == ()  # the claim
    assert algorithm_1(one, 2, options=Options(observed=FIRST), rng=1).symmetries == ("joint-sign",)
    known = Options(observed=FIRST, positive_residuals=True)
    assert algorithm_1(one, 2, options=known, rng=1).symmetries == ()


# The span


@settings(max_examples=25)
@given(
    seed=st.integers(0, 2**32 - 1),
    sizes=hnp.arrays(np.float64, (3,), elements=st.floats(0.5, 2.0)),
    signs=st.tuples(*[st.sampled_from([-1.0, 1.0])] * 3),
    scale=st.sampled_from([1e-12, 1.0, 1e12]),
)
def test_leading_subspace_has_the_largest_eigenvalues_of_either_sign(seed, sizes, signs, scale):
    rng = np.random.default_rng(seed)
    basis = np.linalg.qr(rng.standard_normal((7, 7)))[0]
    values = np.concatenate([sizes * signs, rng.uniform(-0.1, 0.1, 4)])
    matrix = scale * (basis * values) @ basis.T
    found = leading_subspace(lambda block: matrix @ block, 7, 3, rng)
    np.testing.assert_allclose(found.T @ found, np.eye(3), atol=100 * EPSILON)
    # ten iterations contract by (6.1 / 6.5)^10 = 0.53 at least, so that all 500 reach rounding and what is left is no more
    # than a few times what the last ten changed, 1e-12
    outside = basis[:, :3] - found @ (found.T @ basis[:, :3])
    assert np.linalg.norm(outside, 2) < 1e-11


@pytest.mark.parametrize("activation", [CUBIC, ODD], ids=["second moment", "third moment"])
def test_span_without_forming_its_matrix(activation, monkeypatch):
    gradient = observed(design(3, 5), activation, *batch(3, 2, 1))
    formed = algorithm_1(gradient, 2, options=Options(observed=FIRST), rng=0).subspace
    monkeypatch.setattr("provable.recovery.batch.wang2023.two_layers.FORMED_UP_TO", 0)
    found = algorithm_1(gradient, 2, options=Options(observed=FIRST), rng=0).subspace
    # both stop where ten iterations change 1e-12
    np.testing.assert_allclose(found @ found.T, formed @ formed.T, atol=1e-10)


def test_leading_subspace_of_nothing_is_still_a_basis():
    found = leading_subspace(lambda block: 0 * block, 5, 2, np.random.default_rng(0))
    np.testing.assert_array_equal(found.T @ found, np.eye(2))


# Input


@pytest.mark.parametrize(
    ("activation", "what"),
    [
        (Polynomial((0.0, 1.0)), "order 2 and 3"),
        (Polynomial((0.0, 0.0, 1.0)), "order 3 and 4"),
        (Polynomial((1.0, 0.0, 1.0, 0.0, 1.0)), "order 1 and 3"),
    ],
)
def test_activations_that_carry_nothing(activation, what):
    points, residuals = batch(2, 2, 0)
    gradient = observed(design(2, 5), activation, points, residuals)
    with pytest.raises(UnsupportedError, match=f"^polynomial: moments of {what} vanish"):
        algorithm_1(gradient, 2)


@pytest.mark.parametrize("samples", [0, 3, True, 1.0, "1"])
def test_number_of_samples(samples):
    gradient = observed(design(2, 5), CUBIC, *batch(2, 2, 0))
    with pytest.raises(InputError, match=r"^samples: found .*; an integer from 1 to 2 is accepted"):
        algorithm_1(gradient, samples)


def test_missing_and_wrong_pieces():
    gradient = observed(design(2, 5), CUBIC, *batch(2, 2, 0))
    blind = dataclasses.replace(gradient, output_weight_gradient=None, first_layer_gradient=None)
    with pytest.raises(UnsupportedError, match="gradient of the output weights was not observed"):
        algorithm_1(blind, 2)
    with pytest.raises(UnsupportedError, match="gradient of the first layer was not observed"):
        algorithm_1(blind, 2, options=Options(observed=FIRST))
    dead = dataclasses.replace(gradient, output_weights=np.zeros(36))
    with pytest.raises(UnsupportedError, match="output_weights: found a zero"):
        algorithm_1(dead, 2, options=Options(observed=FIRST))
    with pytest.raises(InputError, match=r"^first_layer_gradient: found shape \(36,\); \(36, 2\) is accepted"):
        dataclasses.replace(gradient, first_layer_gradient=np.zeros(36))
    with pytest.raises(InputError, match=r"^weights: found shape \(36,\)"):
        dataclasses.replace(gradient, weights=np.zeros(36))
    for direction in (np.zeros(2), np.ones(3), np.array([math.nan, 1.0])):
        with pytest.raises(InputError, match=r"^direction: found an array of shape"):
            algorithm_1(gradient, 2, direction=direction)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"as_printed": ["LABEL"]}, "^as_printed: found 'LABEL'"),
        ({"observed": "both"}, "^observed: found 'both'"),
        ({"contractions": 1}, "^contractions: found 1"),
        ({"contractions": True}, "^contractions: found True"),
    ],
)
def test_options_are_checked(changes, message):
    with pytest.raises(InputError, match=message):
        Options(**changes)


def test_options_name_the_errata():
    assert Options(as_printed=True).as_printed == frozenset(Erratum)
    assert Options().as_printed == frozenset()
    assert all(Options(as_printed=True).printed(erratum) for erratum in Erratum)
    assert not any(Options(as_printed=False).printed(erratum) for erratum in Erratum)
