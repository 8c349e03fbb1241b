"""Reconstruction robustness: the best attacks on mechanisms that are known exactly never beat it, and some attain it."""

from __future__ import annotations

import math
from fractions import Fraction

import numpy as np
import pytest
import scipy.special
from hypothesis import given, settings
from hypothesis import strategies as st

from provable.errors import InputError
from provable.leakage.metrics import robustness_from_gaussian, robustness_from_renyi, robustness_of_private_training
from provable.leakage.metrics.reconstruction_robustness import _sampled_gaussian_divergence

seeds = st.integers(0, 2**32 - 1)
probabilities = st.floats(0, 1)


@st.composite
def games(draw):
    """A prior, a mechanism with finitely many answers, and what counts as success, all exact."""
    samples, answers, guesses = draw(st.integers(1, 4)), draw(st.integers(1, 4)), draw(st.integers(1, 4))
    weights = [draw(st.integers(1, 9)) for _ in range(samples)]
    prior = [Fraction(weight, sum(weights)) for weight in weights]
    rows = [[draw(st.integers(1, 9)) for _ in range(answers)] for _ in range(samples)]
    mechanism = [[Fraction(entry, sum(row)) for entry in row] for row in rows]
    success = [[draw(st.booleans()) for _ in range(guesses)] for _ in range(samples)]
    return prior, mechanism, success


@given(game=games(), order=st.integers(2, 6))
def test_the_best_attack_never_beats_the_bound_exactly(game, order):
    prior, mechanism, success = game
    samples, answers, guesses = range(len(prior)), range(len(mechanism[0])), range(len(success[0]))
    blind = max(sum(prior[x] for x in samples if success[x][g]) for g in guesses)
    best = sum(max(sum(prior[x] * mechanism[x][a] for x in samples if success[x][g]) for g in guesses) for a in answers)
    # e^((α - 1) ε) for the best reference; the bound to the power α
    moments = [
        max(sum(mechanism[x][a] ** order / mechanism[r][a] ** (order - 1) for a in answers) for x in samples)
        for r in samples
    ]
    assert best**order <= blind ** (order - 1) * min(moments)
    epsilon = math.log(min(moments)) / (order - 1)
    bound = min(1.0, float(blind ** (order - 1) * min(moments)) ** (1 / order))
    assert robustness_from_renyi(float(blind), order, max(0.0, epsilon)) == pytest.approx(bound, rel=1e-13)


@given(points=st.lists(st.floats(-5, 5), min_size=1, max_size=6), noise=st.floats(0.05, 20))
def test_the_best_attack_on_gaussian_noise_never_beats_the_bound(points, noise):
    ordered = np.sort(points)
    if len(set(points)) < len(points):
        return
    # with a uniform prior the best guess is the nearest point, so it succeeds if no midpoint is crossed
    edges = np.concatenate([[-np.inf], (ordered[1:] + ordered[:-1]) / 2, [np.inf]])
    inside = scipy.special.ndtr((edges[1:] - ordered) / noise) - scipy.special.ndtr((edges[:-1] - ordered) / noise)
    mu = (ordered[-1] - ordered[0]) / (2 * noise)  # reference in the middle
    assert inside.mean() <= robustness_from_gaussian(1 / len(points), mu) * (1 + 1e-12)
    if len(points) == 2:  # then the bound is attained
        assert inside.mean() == pytest.approx(robustness_from_gaussian(0.5, mu), rel=1e-12)


def masses(edges):
    """Normal probabilities between edges, each from the tail in which it does not cancel."""
    left, right = scipy.special.ndtr(edges), scipy.special.ndtr(-edges)
    return np.where(edges[:-1] < 0, np.diff(left), -np.diff(right))


@given(prior=st.floats(1e-6, 1 - 1e-6), multiplier=st.floats(0.2, 10), sampling=probabilities, seed=seeds)
def test_one_private_step_is_the_best_test_of_its_pair(prior, multiplier, sampling, seed):
    bound = robustness_of_private_training(prior, multiplier, sampling)
    # the likelihood ratio increases, so the best event is a half line
    threshold = -multiplier * scipy.special.ndtri(prior)
    power = (1 - sampling) * prior + sampling * scipy.special.ndtr((1 - threshold) / multiplier)
    assert bound == pytest.approx(power, rel=1e-11)
    # no union of intervals does better than the bound of its own size
    edges = np.sort(np.random.default_rng(seed).uniform(-3, 4, 4))
    size, shifted = (masses(edges / multiplier)[::2].sum(), masses((edges - 1) / multiplier)[::2].sum())
    assert (1 - sampling) * size + sampling * shifted <= robustness_of_private_training(
        min(1.0, size), multiplier, sampling
    ) * (1 + 1e-11)


@pytest.mark.parametrize(("multiplier", "sampling", "steps"), [(0.7, 0.3, 2), (1.0, 0.1, 5), (2.0, 0.5, 20)])
def test_many_private_steps_stay_below_the_bound(multiplier, sampling, steps):
    rng = np.random.default_rng(0)
    trials = 40000
    without = multiplier * rng.standard_normal((trials, steps))
    batches = rng.random((trials, steps)) < sampling
    exposed = batches + multiplier * rng.standard_normal((trials, steps))

    def ratio(answers):
        return np.log1p(sampling * np.expm1((2 * answers - 1) / (2 * multiplier**2))).sum(axis=1)

    for prior in (0.01, 0.1, 0.5):
        threshold = np.quantile(ratio(without), 1 - prior)
        power = (ratio(exposed) > threshold).mean()
        bound = robustness_of_private_training(prior, multiplier, sampling, steps)
        # sampling errors of the size and the power of the test, and of the size's effect on the power (slope ≤ power / size)
        spread = math.sqrt(power / trials) + math.sqrt(prior / trials) * power / prior
        assert power <= bound + 6 * spread
        assert prior <= bound <= 1


@settings(max_examples=8)  # each asks for 255 orders four times
@given(prior=probabilities, multiplier=st.floats(0.2, 20), sampling=probabilities, steps=st.integers(1, 30))
def test_more_of_anything_helps_the_attacker(prior, multiplier, sampling, steps):
    base = robustness_of_private_training(prior, multiplier, sampling, steps)
    slack = 1 + 1e-10  # logarithms of binomials up to 256 carry rounding of about 1e-13, times orders
    assert prior <= base * slack and base <= robustness_from_gaussian(prior, math.sqrt(steps) / multiplier) * slack
    assert base <= slack * robustness_of_private_training(min(1.0, 1.1 * prior), multiplier, sampling, steps)
    assert base <= slack * robustness_of_private_training(prior, multiplier, min(1.0, 1.1 * sampling), steps)
    assert base <= slack * robustness_of_private_training(prior, multiplier / 1.1, sampling, steps)
    assert base <= slack * robustness_of_private_training(prior, multiplier, sampling, steps + 1)


@given(sampling=st.floats(1e-3, 1), multiplier=st.floats(0.3, 10))
def test_divergences_of_the_sampled_gaussian(sampling, multiplier):
    # order 2: log(1 + q² (e^(1/s²) - 1))
    wanted = math.log1p(sampling**2 * math.expm1(1 / multiplier**2))
    # the logarithm of a sum near 1 is accurate to absolute rounding
    assert _sampled_gaussian_divergence(2, sampling, multiplier) == pytest.approx(wanted, rel=1e-12, abs=1e-14)
    for order in (2, 5, 64):  # without sampling: α / (2 s²)
        assert _sampled_gaussian_divergence(order, 1.0, multiplier) == pytest.approx(
            order / (2 * multiplier**2), rel=1e-12
        )


def test_sampling_helps_over_many_steps():
    # knowing the batches would give Φ(Φ⁻¹(κ) + √10), far more
    assert robustness_of_private_training(1e-3, 1.0, 0.01, 1000) < 0.01


def test_limits_and_refusals():
    assert robustness_from_renyi(0.0, 2, 5.0) == 0.0 and robustness_from_renyi(0.5, math.inf, 0.0) == 0.5
    assert robustness_from_renyi(0.5, 2, math.inf) == 1.0
    assert robustness_from_gaussian(0.25, 0.0) == pytest.approx(0.25) and robustness_from_gaussian(0.1, math.inf) == 1.0
    assert robustness_of_private_training(0.3, 1.0, 0.0, 100) == 0.3
    for call, field in (
        (lambda: robustness_from_renyi(1.5, 2, 1), "prior"),
        (lambda: robustness_from_renyi(0.5, 1, 1), "order"),
        (lambda: robustness_from_renyi(0.5, 2, -1), "epsilon"),
        (lambda: robustness_from_gaussian(math.nan, 1), "prior"),
        (lambda: robustness_from_gaussian(0.5, -1), "mu"),
        (lambda: robustness_of_private_training(0.5, 0.0), "noise_multiplier"),
        (lambda: robustness_of_private_training(0.5, 1.0, 2.0), "sampling"),
        (lambda: robustness_of_private_training(0.5, 1.0, 0.5, 0), "steps"),
        (lambda: robustness_of_private_training(0.5, 1.0, 0.5, True), "steps"),
    ):
        with pytest.raises(InputError, match=f"{field}: found"):
            call()
