"""The arrangement walk: all training data of an infinitely wide network from its first-layer change, and what that costs.

Run it as ``python benchmarks/infinite_width.py``; all times are of this process on all its threads. The network is simulated
by two matrix products per batch of neurons, in float64, so that most of the time is the network's and not the walk's; both
are shown. Data are unit vectors in general position with standard normal coefficients (the smallest of N is about 1/N), and
all digits of scikit-learn with a bias coordinate. ``--deep`` adds N = 60 000 in dimension 784, which takes about 5e13
operations; ``--small`` leaves out N = 5 000.

Errors are relative to each point and to each coefficient. Points that nothing orients are compared up to sign.
"""

from __future__ import annotations

import argparse
import resource
import sys
import time

import numpy as np
from scipy.spatial import cKDTree
from sklearn.datasets import load_digits

from provable.kernels import ntk
from provable.recovery.kernel_regime.arrangement_walk import ArrangementWalk, walk_arrangement
from provable.recovery.kernel_regime.arrangement_walk_oracle import SimulatedNetwork
from provable.recovery.kernel_regime.arrangement_walk_orientation import canonical_signs


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Timed:
    """An oracle that measures its own time."""

    def __init__(self, oracle: SimulatedNetwork) -> None:
        self.oracle, self.wall, self.processor = oracle, 0.0, 0.0

    def __call__(self, weights: np.ndarray) -> np.ndarray:
        wall, processor = time.perf_counter(), time.process_time()
        result = self.oracle(weights)
        self.wall += time.perf_counter() - wall
        self.processor += time.process_time() - processor
        return result


def errors(walk: ArrangementWalk, points: np.ndarray, coefficients: np.ndarray) -> tuple[int, float, float]:
    """How many points have a counterpart of their own within 1e-12, and the largest errors of points and coefficients."""
    found, wanted = walk.measure.points, points
    if walk.orientation_is_open:
        found, wanted = (array * canonical_signs(array)[:, None] for array in (found, wanted))
    shadow = np.random.default_rng(1).standard_normal((points.shape[1], 8))
    nearest = cKDTree(found @ shadow).query(wanted @ shadow)[1]
    distances = np.linalg.norm(found[nearest] - wanted, axis=1) / np.linalg.norm(wanted, axis=1)
    weights = np.abs(walk.measure.coefficients[nearest] - coefficients) / np.abs(coefficients)
    good = len(set(nearest[distances <= 1e-12].tolist()))
    return good, float(distances.max()), float(weights.max())


HEADER = (
    f"{'data':28s}{'found':>7s}{'<1e-12':>8s}{'point':>10s}{'coeff.':>10s}{'ev./N':>7s}{'circles':>8s}"
    f"{'wall s':>9s}{'cpu s':>9s}{'network':>9s}{'GiB':>6s}  orientation"
)


def row(name: str, points: np.ndarray, coefficients: np.ndarray, bias: float | None = None) -> None:
    """Walk and print one line."""
    oracle = Timed(SimulatedNetwork(points, coefficients))
    wall, processor = time.perf_counter(), time.process_time()
    walk = walk_arrangement(oracle, points.shape[1], bias=bias)
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    if bias is None:
        norms = np.linalg.norm(points, axis=1)
        points, coefficients = points / norms[:, None], coefficients * norms
    good, point_error, coefficient_error = errors(walk, points, coefficients)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    say(
        f"{name:28s}{walk.measure.size:7d}{good:8d}{point_error:10.1e}{coefficient_error:10.1e}"
        f"{walk.evaluations / len(points):7.2f}{walk.circles:8d}{wall:9.2f}{processor:9.2f}"
        f"{oracle.processor / processor:9.0%}{memory:6.2f}  {walk.orientation}"
    )


def general_position(count: int, dimension: int) -> tuple[np.ndarray, np.ndarray]:
    """Uniform unit vectors with standard normal coefficients."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((count, dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    return points, rng.standard_normal(count)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--small", action="store_true", help="leave out N = 5 000")
    parser.add_argument("--deep", action="store_true", help="only N = 60 000")
    options = parser.parse_args()
    say(HEADER)
    if options.deep:
        row("general, N=60000, d=784", *general_position(60_000, 784))
        return
    digits = load_digits()
    pixels = digits.data / 16
    labels = np.where(digits.target % 2, 1.0, -1.0)
    biased = np.c_[pixels, np.ones(len(pixels))]
    duals = np.linalg.solve(ntk(1, "relu")(biased), labels)
    rng = np.random.default_rng(0)
    row("digits + bias, trained", biased, duals, bias=1.0)
    row("digits + bias, normal", biased, rng.standard_normal(len(biased)), bias=1.0)
    row("digits, normal", pixels, rng.standard_normal(len(pixels)))
    for count, dimension in ((1000, 64), (5000, 64), (1000, 784), (5000, 784)):
        if count * dimension < 3e6 or not options.small:
            row(f"general, N={count}, d={dimension}", *general_position(count, dimension))


if __name__ == "__main__":
    main()
