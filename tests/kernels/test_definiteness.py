"""Strict positive definiteness by theorem against Gram matrices in balls and the features of finite networks."""

from __future__ import annotations

import json
from fractions import Fraction

import flint
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from provable import arithmetic
from provable.architectures.activations import (
    ELU,
    LeakyReLU,
    Polynomial,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.errors import InputError
from provable.kernels import nngp, ntk
from provable.kernels.coincidences import dependency
from provable.kernels.definiteness import DEFINITE, OPEN, SINGULAR, definiteness


@st.composite
def kernels(draw):
    depth = draw(st.integers(0, 3))
    activation = draw(st.sampled_from(["relu", "erf", "identity", "gelu", LeakyReLU(0.25), LeakyReLU(-1.0)]))
    biases = draw(st.sampled_from(["absent", "zero-initialised", "random"]))
    variance = 0.5 if biases == "random" else 0.0
    if draw(st.booleans()):
        return ntk(depth, activation, bias_variance=variance, biases=biases)
    return nngp(depth, activation, bias_variance=variance)


@st.composite
def point_sets(draw, most=8):
    """Points on few axes: rays, antipodes, zero and dependent axes are all likely."""
    dimension = draw(st.integers(1, 3))
    entries = st.integers(-1, 1).map(float)
    axes = draw(st.lists(st.tuples(*[entries] * dimension), min_size=1, max_size=4))
    picks = st.tuples(st.sampled_from(axes), st.sampled_from([1.0, -1.0, 2.0, -2.0, 0.5, -3.0]))
    chosen = draw(st.lists(picks, min_size=1, max_size=most))
    return np.array([[factor * entry + 0.0 for entry in axis] for axis, factor in chosen])


def balls(points):
    return arithmetic.BALL.convert(points)


@settings(max_examples=150)
@given(kernels(), point_sets())
def test_verdicts_agree_with_gram_matrices_in_balls(kernel, points):
    found = definiteness(kernel, points)
    with flint.ctx.workprec(512):
        gram = kernel(balls(points))
        if found.verdict == SINGULAR:
            assert any(found.coefficients)
            weights = [flint.arb(flint.fmpq(*c.as_integer_ratio())) for c in found.coefficients]
            images = (np.array(weights, dtype=object)[None] @ gram)[0]
            # 512 bits, and angles lose half of them where points share a ray
            assert all(image.contains(0) and image.rad() < 1e-60 for image in images)
        elif found.verdict == DEFINITE:
            assert arithmetic.determinant(gram) > 0
        else:
            assert kernel.activation == LeakyReLU(-1.0) or not points.any(axis=1).all()


SMOOTH = {
    Tanh(): np.tanh,
    Sigmoid(): lambda z: 1 / (1 + np.exp(-z)),
    Softplus(): lambda z: np.logaddexp(0, z),
    SiLU(): lambda z: z / (1 + np.exp(-z)),
    ELU(): lambda z: np.where(z > 0, z, np.expm1(np.minimum(z, 0))),
}


@settings(max_examples=150)
@given(st.sampled_from(list(SMOOTH)), st.integers(1, 2), st.booleans(), point_sets(most=5))
def test_verdicts_agree_with_the_features_of_finite_networks(activation, depth, random_biases, points):
    found = definiteness(nngp(depth, activation, bias_variance=0.5 if random_biases else 0.0), points)
    rng = np.random.default_rng(0)
    features = points
    for _ in range(depth):
        weight = rng.normal(size=(60, features.shape[1])) / np.sqrt(features.shape[1]) * 2
        features = SMOOTH[activation](features @ weight.T + random_biases * rng.normal(size=60))
    singular = np.linalg.svd(features, compute_uv=False)
    if found.verdict == SINGULAR:
        invisible = np.array([float(c) for c in found.coefficients]) @ features
        # sums of at most 5 features of size below 40
        assert np.abs(invisible).max() < 30 * 2**-52 * 40 * sum(abs(float(c)) for c in found.coefficients)
    else:
        assert found.verdict == DEFINITE
        # a rank at all needs exact arithmetic; sets of 5 small points stay this far from dependence
        assert len(singular) == len(points) and singular[-1] > 1e-9 * singular[0]


@settings(max_examples=100)
@given(kernels(), point_sets(), st.integers(0, 7), st.booleans())
def test_a_subset_of_a_definite_set_is_definite(kernel, points, dropped, reverse):
    before = definiteness(kernel, points)
    fewer = np.delete(points, dropped % len(points), axis=0)
    if before.verdict == DEFINITE and len(fewer):
        assert definiteness(kernel, fewer).verdict == DEFINITE
    order = points[::-1] if reverse else np.roll(points, 1, axis=0)
    assert definiteness(kernel, order).verdict == before.verdict


@settings(max_examples=60)
@given(kernels(), point_sets())
def test_fractions_and_floats_are_read_alike(kernel, points):
    exact = [[Fraction(entry) for entry in row] for row in points.tolist()]
    assert definiteness(kernel, exact) == definiteness(kernel, points)
    assert definiteness(kernel, arithmetic.RATIONAL.convert(points)) == definiteness(kernel, points)


def test_nearly_coinciding_rays_are_told_apart():
    nearly = [[1.0, 1.0], [np.nextafter(1.0, 2.0), 1.0]]
    assert definiteness(ntk(1, "relu"), nearly).verdict == DEFINITE
    assert definiteness(ntk(1, "relu"), [[0.1, 0.3], [0.2, 0.6]]).verdict == SINGULAR
    assert definiteness(ntk(1, "relu"), [[0.1, 0.3], [0.3, 0.9]]).verdict == DEFINITE  # 0.9 is not 3 · 0.3 in binary


def test_antipodal_pairs_of_one_hidden_layer():
    axes = np.array([[3.0, 1.0, 0.0], [0.0, 2.0, 1.0], [1.0, 0.0, 1.0]])
    kernel, deeper = ntk(1, "relu"), ntk(2, "relu")
    assert definiteness(kernel, np.vstack([axes, -2 * axes])).verdict == DEFINITE
    four = np.vstack([axes, axes.sum(axis=0)])
    found = definiteness(kernel, np.vstack([four, -2 * four]))
    assert found.verdict == SINGULAR and "antipodal" in found.obstruction
    assert all(
        second == -first / 2 for first, second in zip(found.coefficients[:4], found.coefficients[4:], strict=True)
    )
    assert definiteness(deeper, np.vstack([four, -2 * four])).verdict == DEFINITE


def test_two_crowded_axes_defeat_biases_that_start_at_zero():
    # more than the sums of c and of c‖x‖ on every ray is invisible: these eight points, two on each of four rays
    points = np.array([[r, 0.0] for r in (1, 2, -1, -3)] + [[0.0, r] for r in (1, 2, -1, -2)])
    shallow = ntk(1, "relu", biases="zero-initialised")
    found = definiteness(shallow, points)
    assert found.verdict == SINGULAR and "axes" in found.obstruction
    weights = np.array([float(c) for c in found.coefficients])
    assert sum(weights[:2]) != 0
    np.testing.assert_allclose(shallow(points) @ weights, 0, atol=1e-14)
    assert definiteness(ntk(2, "relu", biases="zero-initialised"), points).verdict == DEFINITE
    assert definiteness(shallow, points[:4]).verdict == DEFINITE


@pytest.mark.parametrize(
    ("kernel", "points"),
    [
        (ntk(1, "relu", biases="zero-initialised"), [[1.0, 2.0], [2.0, 4.0], [5.0, 10.0]]),
        (ntk(2, "relu", biases="zero-initialised"), [[-1.0, 2.0], [0.0, 1.0], [-2.0, 4.0], [-3.0, 6.0]]),
        (ntk(1, LeakyReLU(-1.0)), [[1.0, 2.0], [0.0, 1.0], [-2.0, -4.0]]),
        (nngp(2, LeakyReLU(-1.0)), [[1.0, 2.0], [3.0, 6.0]]),
        (ntk(2, "erf"), [[1.0, 2.0], [-1.0, -2.0]]),
        (nngp(1, "gelu"), [[1.0, 2.0], [0.0, 1.0], [1.0, 3.0], [-1.0, -2.0], [0.0, -1.0], [-1.0, -3.0]]),
        (ntk(1, "identity", biases="zero-initialised"), [[1.0, 1.0], [2.0, 1.0], [3.0, 1.0]]),
    ],
)
def test_every_obstruction_is_invisible(kernel, points):
    points = np.array(points)
    found = definiteness(kernel, points)
    assert found.verdict == SINGULAR
    weights = np.array([float(c) for c in found.coefficients])
    gram = kernel(points)
    scale = (abs(weights) @ np.sqrt(np.diagonal(gram))) * np.sqrt(gram.max())
    # a kernel value is good to a small multiple of (depth + d) roundings
    assert np.abs(gram @ weights).max() < 30 * 4 * 2**-52 * scale


def test_spheres():
    assert definiteness(ntk(2, "relu")).verdict == DEFINITE
    one = definiteness(ntk(1, "relu"))
    assert one.verdict == SINGULAR and one.obstruction == "no odd degrees above 1"
    assert definiteness(nngp(1, "relu", bias_variance=0.1)).verdict == DEFINITE
    assert definiteness(ntk(4, Tanh())).obstruction == "no even degrees"
    assert definiteness(nngp(1000, Polynomial((0.0, 1.0, 1.0)))).obstruction.startswith("no even degrees above 10^301")
    assert definiteness(nngp(1, "identity")).obstruction == "no even degrees and no odd degrees above 1"


def test_what_no_theorem_covers_is_said():
    assert definiteness(nngp(1, Polynomial((0.0, 0.0, 1.0))), np.eye(2)).verdict == OPEN
    zero = definiteness(ntk(1, "relu", biases="zero-initialised"), np.zeros((1, 2)))
    assert zero.verdict == OPEN and "zero point" in zero.obstruction


def test_answers_are_written_as_json():
    written = json.loads(definiteness(ntk(1, "relu"), [[1.0, 0.0], [3.0, 0.0]]).to_json())
    assert written["verdict"] == SINGULAR and written["coefficients"] == ["1", "-1/3"]


@given(st.lists(st.lists(st.integers(-2, 2), min_size=3, max_size=3), max_size=6))
def test_dependencies_are_relations(vectors):
    relation = dependency(vectors)
    if relation is None:
        assert not vectors or np.linalg.matrix_rank(np.array(vectors, dtype=float)) == len(vectors)
    else:
        assert any(relation)
        assert all(sum(c * vector[k] for c, vector in zip(relation, vectors, strict=True)) == 0 for k in range(3))


@pytest.mark.parametrize("points", [[1.0, 2.0], [[np.nan, 1.0]], [["a", "b"]], np.zeros((2, 0)), [[1.0 + 2.0j]]])
def test_bad_points_are_named(points):
    with pytest.raises(InputError, match=r"^points: found"):
        definiteness(ntk(1, "relu"), points)
