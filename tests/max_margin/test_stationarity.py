"""Networks of largest margin, verified as KKT points by `provable.stationarity`, which shares no code with their making."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from provable.errors import InputError
from provable.max_margin import MaxMarginNetwork, certify_optimality, maximise_margin
from provable.recovery.rechecking import check
from provable.rigor.certificates import Certificate
from provable.stationarity.verification import verify_stationarity

KINDS = ("general", "duplicates", "near duplicates", "one ray", "grid")
PROMISED = 1e-9
"""What is promised of residuals, near-degenerate instances included."""

KINK = 1e-11
"""Newton's method leaves pre-activations at kinks below this, relative to the factors; others are above 1e-6 here."""


def random_instance(seed: int) -> tuple[Any, Any, bool, str]:
    """N ≤ 12 samples in d ≤ 3 dimensions; drawn again if no network separates them."""
    rng = np.random.default_rng(seed)
    size, dimension, kind = int(rng.integers(2, 13)), 1 + seed % 3, KINDS[seed // 3 % len(KINDS)]
    bias = dimension == 1 or bool(rng.integers(2))
    points, labels = rng.standard_normal((size, dimension)), rng.choice([-1.0, 1.0], size)
    half = size // 2
    if kind == "grid":
        points = np.round(2 * points) / 2
        points, places = np.unique(points, axis=0, return_index=True)
        labels = labels[places]
        if not bias:
            points = points + 0.25  # no sample at 0
    elif kind != "general":
        points[:half], labels[:half] = points[half : 2 * half], labels[half : 2 * half]
        points[:half] *= 2.0 if kind == "one ray" else 1.0
        points[:half] += 1e-4 * rng.standard_normal((half, dimension)) * (kind == "near duplicates")
    return points, labels, bias, kind


def verify(network: MaxMarginNetwork) -> None:
    report = verify_stationarity(
        network.architecture,
        network.parameters,
        network.points,
        network.labels,
        kink_tolerance=KINK,
        margin_tolerance=PROMISED,
    )
    assert report.residual <= PROMISED, report.explanation
    assert report.slackness <= PROMISED, report.explanation
    assert network.margins.min() == pytest.approx(1.0, abs=PROMISED)
    assert network.residual.largest <= PROMISED
    assert network.is_proved


@pytest.mark.parametrize("block", range(6))
def test_sixty_random_instances(block: int) -> None:
    solved = 0
    for seed in range(20 * block, 20 * block + 20):
        points, labels, bias, kind = random_instance(seed)
        try:
            network = maximise_margin(points, labels, bias=bias)
        except InputError:
            continue
        verify(network)
        solved += 1
        if kind == "general":
            # kinks pass through samples of the other label only (haim2022.kinks_have_opposite_labels)
            sign = np.sign(network.parameters["2/weight"][0])
            inside = (network.clarke_weights > 1e-9) & (network.clarke_weights < 1 - 1e-9)
            assert np.all((network.labels[:, None] * sign)[inside] == -1)
    assert solved >= 10


@pytest.mark.parametrize(("size", "dimension"), [(10, 2), (20, 3), (30, 2), (16, 4)])
def test_digits_in_few_dimensions(size: int, dimension: int) -> None:
    digits = load_digits()
    rng = np.random.default_rng(size)
    chosen = rng.choice(len(digits.data), size, replace=False)
    images = digits.data[chosen] / 16
    centred = images - images.mean(axis=0)
    points = centred @ np.linalg.svd(centred, full_matrices=False)[2][:dimension].T
    network = maximise_margin(points, np.where(digits.target[chosen] % 2 == 0, 1, -1))
    verify(network)
    assert network.neurons <= network.support <= size
    certificate = certify_optimality(network)
    assert isinstance(certificate, Certificate)
    assert check(certificate.to_json()).valid
