"""A batch from one gradient: recovery against the algorithm of Wang, Lee and Lei, and against TensorLy's ALS.

Run it with one thread of BLAS, ``OPENBLAS_NUM_THREADS=1 python benchmarks/batch_recovery.py``. The first two tables compare
the span check, which ``provable recover`` takes for such gradients, with the paper's Algorithm 1 (errata applied, ∂L/∂W as in
its appendix B), at equal widths and at equal errors; certificates are not asked for. The third takes the moment tensor of one
gradient and decomposes it by alternating least squares (TensorLy's ``parafac`` from random starts, and its symmetric power
iteration), by simultaneous diagonalisation (which the paper prescribes), by Jennrich's algorithm, and by that followed by
Levenberg-Marquardt. ``--small`` leaves out the widest networks and most restarts.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from provable.architectures import Architecture, Linear
from provable.architectures.activations import Tanh
from provable.measures import Measure
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.batch import span_check
from provable.recovery.batch.wang2023.method import estimate
from provable.tensors import (
    refined,
    simultaneous_diagonalisation,
    slope_moment,
    symmetric_jennrich,
)
from provable.tensors.decomposition import alternating_least_squares

DIMENSION, SAMPLES, SEEDS = 50, 5, 5
WIDTHS = (20, 40, 80, 400, 2000, 10000, 40000)
LARGEST_ERRORS = (0.5, 0.2, 0.1, 0.05, 0.02)


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def observe(width: int, seed: int, points: np.ndarray) -> Observation:
    """The gradient of a tanh network with standard normal first weights and a_j = 1/m, labels ±1."""
    rng = np.random.default_rng(seed)
    count, dimension = points.shape
    layers = (Linear(width, bias=False), Tanh(), Linear(1, bias=False))
    architecture = Architecture("shallow", (dimension,), layers, "squared")
    weights = {"0/weight": rng.standard_normal((width, dimension)), "2/weight": np.full((1, width), 1 / width)}
    return Observation.from_data(
        architecture, Parameters(architecture, weights), points, rng.choice([-1.0, 1.0], count)
    )


def batch(count: int, dimension: int, seed: int, correlation: float = 0.0) -> np.ndarray:
    """Unit vectors, of equal pairwise inner products or (0) independent directions."""
    rng = np.random.default_rng(1000 + seed)
    if correlation:
        gram = np.full((count, count), correlation) + (1 - correlation) * np.eye(count)
        basis = np.linalg.qr(rng.standard_normal((dimension, count)))[0]
        return np.asarray((basis @ np.linalg.cholesky(gram).T).T)
    points = rng.standard_normal((count, dimension))
    return np.asarray(points / np.linalg.norm(points, axis=1)[:, None])


def error(points: np.ndarray, truth: np.ndarray) -> float:
    """Root mean square of the relative errors, modulo order and sign; 1 at most per sample."""
    found = Measure(points, np.zeros(len(points))).matching(
        Measure(truth, np.zeros(len(truth))), fibre=("permutation", "joint-sign")
    )
    return float(np.sqrt(np.mean(np.minimum(found.errors, 1.0) ** 2)))


def timed(function: Callable[[], Any]) -> tuple[Any, float]:
    """A result and the seconds of processor time it took: with one thread they do not depend on what else is running."""
    start = time.process_time()
    result = function()
    return result, time.process_time() - start


def against_the_paper(widths: tuple[int, ...]) -> None:
    """First and second table: error and time at equal widths, and time at equal errors."""
    say(f"tanh, d = {DIMENSION}, B = {SAMPLES}, medians of {SEEDS}")
    say(f"{'m':>7}{'paper: error':>14}{'s':>9}{'ours: error':>14}{'s':>9}{'status':>12}{'time ratio':>12}")
    measured = []
    for width in widths:
        paper, ours, statuses = [], [], []
        for seed in range(SEEDS):
            truth = batch(SAMPLES, DIMENSION, seed)
            observation = observe(width, seed, truth)
            raw, seconds = timed(lambda o=observation, s=seed: estimate(o, rng=np.random.default_rng(s)))
            paper.append((error(raw.points, truth), seconds))
            recovery, seconds = timed(
                lambda o=observation, s=seed: span_check.METHOD.recover(o, np.random.default_rng(s))
            )
            ours.append((error(recovery.points, truth), seconds))
            statuses.append(recovery.status)
        first, second = np.median(paper, axis=0), np.median(ours, axis=0)
        measured.append((width, first, second))
        status = max(sorted(set(statuses)), key=statuses.count)
        say(
            f"{width:7}{first[0]:14.2g}{first[1]:9.3f}{second[0]:14.1e}{second[1]:9.3f}{status:>12}"
            f"{first[1] / second[1]:12.2f}"
        )
    say(f"\n{'error at most':>13}{'paper: m':>10}{'s':>9}{'ours: m':>9}{'s':>9}{'time ratio':>12}")
    for bound in (*LARGEST_ERRORS, 1e-9):
        places = []
        for index in (1, 2):
            enough = [entry for entry in measured if entry[index][0] <= bound]
            places.append((enough[0][0], enough[0][index][1]) if enough else None)
        cells = [
            f"{place[0]:>{size}}{place[1]:9.3f}" if place else f"{'none':>{size}}{'':9}"
            for place, size in zip(places, (10, 9), strict=True)
        ]
        ratio = f"{places[0][1] / places[1][1]:12.2f}" if places[0] and places[1] else f"{'-':>12}"
        say(f"{bound:13.0e}{cells[0]}{cells[1]}{ratio}")


def moment_tensor(truth: np.ndarray, width: int | None, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """T(V, V, V) with the exact span V, and V: of the moment of one gradient, or (no width) of exact rank B."""
    count = len(truth)
    if width is None:
        basis = np.linalg.svd(truth, full_matrices=False)[2].T
        inner = truth @ basis
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], count)
        return np.einsum("i,ia,ib,ic->abc", signs, inner, inner, inner), basis
    observation = observe(width, seed, truth)
    slopes = width * observation.vector["0/weight"]
    basis = np.linalg.svd(slopes, full_matrices=False)[2][:count].T
    weights = observation.parameters["0/weight"]
    return slope_moment(weights @ basis, slopes @ basis, 3), basis


def power_iteration(tensor: np.ndarray, rank: int) -> np.ndarray:
    """TensorLy's symmetric power iteration."""
    from tensorly.decomposition import symmetric_parafac_power_iteration

    return np.asarray(symmetric_parafac_power_iteration(tensor, rank, n_repeat=10, n_iteration=20)[1])


def against_als(restarts: int) -> None:
    """Third table: decompositions of the same tensor."""
    methods: dict[str, Callable[[np.ndarray, int, int], np.ndarray]] = {
        "ALS, one start": lambda t, r, s: alternating_least_squares(t, r, starts=1, rng=s).factors[0],
        "power iteration": lambda t, r, s: power_iteration(t, r),
        "Jennrich": lambda t, r, s: symmetric_jennrich(t, r, rng=s).factors[0],
        "simultaneous, L=100": lambda t, r, s: simultaneous_diagonalisation(t, r, projections=100, rng=s).factors[0],
        "Jennrich, then LM": lambda t, r, s: refined({3: t}, symmetric_jennrich(t, r, rng=s).factors[0]).directions,
    }
    cases = [
        ("exact rank", 5, 0.0, None),
        ("exact rank", 20, 0.0, None),
        ("exact, x_i·x_j=.9", 10, 0.9, None),
        ("moment, m=20000", 5, 0.0, 20000),
        ("moment, m=20000", 10, 0.0, 20000),
        ("moment, x_i·x_j=.9", 5, 0.9, 20000),
    ]
    say(f"\nthird-order tensors in the span, {restarts} runs each; success: error within twice the least median error")
    say(
        f"{'tensor':20}{'B':>4}  {'method':22}{'median error':>13}{'success':>9}{'s':>9}{'s / success':>13}{'ALS / this':>12}"
    )
    for name, count, correlation, width in cases:
        truth = batch(count, DIMENSION, 0, correlation)
        tensor, basis = moment_tensor(truth, width, 0)
        measured = {}
        for method, decompose in methods.items():
            runs = []
            for seed in range(restarts):
                vectors, seconds = timed(lambda f=decompose, t=tensor, r=count, s=seed: f(t, r, s))
                runs.append((error((basis @ vectors).T, truth), seconds))
            measured[method] = np.array(runs)
        least = max(2 * min(np.median(runs[:, 0]) for runs in measured.values()), 1e-8)
        cost = {}
        for method, runs in measured.items():
            success = float(np.mean(runs[:, 0] <= least))
            seconds = float(np.median(runs[:, 1]))
            cost[method] = seconds / success if success else float("inf")
            ratio = cost["ALS, one start"] / cost[method] if success else 0.0
            shown = f"{cost[method]:13.4f}" if success else f"{'never':>13}"
            compared = f"{ratio:12.1f}" if 0 < ratio < float("inf") else f"{'-':>12}"
            say(
                f"{name:20}{count:4}  {method:22}{np.median(runs[:, 0]):13.1e}{success:9.0%}{seconds:9.4f}"
                f"{shown}{compared}"
            )


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--small", action="store_true", help="up to 10000 neurons and 5 restarts instead of 20")
    small = parser.parse_args().small
    against_the_paper(tuple(width for width in WIDTHS if width <= 10000 or not small))
    against_als(5 if small else 20)


if __name__ == "__main__":
    main()
