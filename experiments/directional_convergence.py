"""How the direction of a homogeneous network's parameters converges, and what the plateau of its stationarity residual is.

N random digits (pixels over 16 minus their mean, labels ±1 for odd and even) behind ReLU or leaky ReLU networks with
first-layer bias, small first layer, full-batch gradient descent on the logarithm of the loss, no weight decay. Descent is
followed: loss, normalised margin, angle to the point that Newton's method makes of its end. Then the relative residual
‖θ - Σ λ_i y_i ∇f_i‖/‖θ‖ where descent ended is taken apart: with the slopes of backpropagation, and with the mean slopes over
the last steps, which are free of the zigzag across kinks. Both are compared with the finished point. Writes the ways to
``directional_convergence.csv``, a line per run to ``stationarity_residuals.csv`` and all curves to
``directional_convergence.png``. Run with

    python experiments/directional_convergence.py [FOLDER] [--samples 20] [--width 200] [--steps 3000 10000 30000 100000]

The defaults take about five minutes of one core.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from provable.architectures import Activation, Architecture, LeakyReLU, Linear, ReLU
from provable.errors import InputError
from provable.training import StationaryTraining, small_first_layer, train_to_stationarity


@dataclasses.dataclass(frozen=True)
class Case:
    """A network and a loss."""

    name: str
    hidden: int
    activation: Activation
    loss: str


CASES = (
    Case("ReLU, logistic", 1, ReLU(), "logistic"),
    Case("ReLU, exponential", 1, ReLU(), "exponential"),
    Case("leaky ReLU, logistic", 1, LeakyReLU(0.1), "logistic"),
    Case("ReLU, two hidden layers", 2, ReLU(), "logistic"),
)
COLUMNS = (
    "case",
    "steps",
    "threshold",
    "log loss",
    "margin",
    "finished margin",
    "angle",
    "by signs",
    "mean slopes",
    "finished",
    "finished by signs",
    "kinks",
    "support",
    "seconds",
    "reason",
)


def digits(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits without replacement, half of them odd, and their labels."""
    from sklearn.datasets import load_digits

    data, rng = load_digits(), np.random.default_rng(seed)
    halves = [rng.choice(np.flatnonzero(data.target % 2 == parity), samples // 2, replace=False) for parity in (0, 1)]
    chosen = np.concatenate(halves)
    points = data.data[chosen] / 16
    return points - points.mean(axis=0), np.where(data.target[chosen] % 2 == 1, 1.0, -1.0)


def network(case: Case, width: int, dimension: int) -> Architecture:
    """A network that is homogeneous in its parameters."""
    layers: list[Linear | Activation] = []
    for level in range(case.hidden):
        layers += [Linear(width, bias=level == 0), case.activation]
    return Architecture(case.name, (dimension,), (*layers, Linear(1, bias=False)), "logistic")


def run(case: Case, width: int, samples: int, steps: int, seed: int) -> tuple[StationaryTraining, dict[str, str]]:
    """Train, finish, and say what came out."""
    points, labels = digits(samples, seed)
    architecture = network(case, width, points.shape[1])
    started = time.process_time()
    found = train_to_stationarity(
        architecture, small_first_layer(architecture, rng=seed), points, labels, loss=case.loss, steps=steps
    )
    seconds = time.process_time() - started
    low = getattr(case.activation, "negative_slope", 0.0)
    slopes = np.concatenate([array.reshape(-1) for array in found.slopes.values()])
    kinks = np.mean((slopes > low + 1e-9) & (slopes < 1 - 1e-9))
    history, size = found.history, np.linalg.norm(found.trained.vector())
    multipliers = found.multipliers
    return found, {
        "case": case.name,
        "steps": str(steps),
        "threshold": str(history.threshold),
        "log loss": f"{history.log_losses[-1]:.1f}",
        "margin": f"{history.normalised_margins[-1]:.5f}",
        "finished margin": f"{size ** -(case.hidden + 1):.5f}" if found.finished else "",
        "angle": f"{history.angles[-1]:.3f}" if found.finished else "",
        "by signs": f"{found.descent_residual:.3f}",
        "mean slopes": f"{found.mean_residual:.3f}",
        "finished": f"{found.residual:.0e}" if found.finished else "",
        "finished by signs": f"{found.hard_residual:.3f}" if found.finished else "",
        "kinks": f"{kinks:.2f}" if found.finished else "",
        "support": str(np.count_nonzero(multipliers > 1e-9 * multipliers.max())) if found.finished else "",
        "seconds": f"{seconds:.0f}",
        "reason": found.reason,
    }


def draw(path: Path, runs: dict[str, StationaryTraining]) -> None:
    """Loss, margin and angle against the number of steps."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (losses, margins, turns) = pyplot.subplots(1, 3, figsize=(15, 4.4), layout="constrained")
    for name, found in runs.items():
        history = found.history
        steps = np.maximum(history.steps, 1)
        line = losses.plot(steps, history.log_losses, label=name)[0]
        if history.threshold is not None:
            losses.axvline(max(history.threshold, 1), color=line.get_color(), linestyle=":", linewidth=1)
        if not found.finished:
            continue
        degree = len(found.architecture.layers) // 2 + 1
        limit = float(np.linalg.norm(found.trained.vector())) ** -degree
        gap = 1 - history.normalised_margins / limit
        margins.loglog(steps[gap < 1], gap[gap < 1], label=name, color=line.get_color())
        turns.loglog(steps, history.angles, label=name, color=line.get_color())
    losses.set(xscale="log", xlabel="step", ylabel="log of the loss", title="Loss (dotted: first below the threshold)")
    losses.set_yscale("symlog", linthresh=1)
    margins.set(xlabel="step", ylabel="1 - margin / finished margin", title="Normalised margin")
    turns.set(xlabel="step", ylabel="radians", title="Angle to the finished point")
    losses.legend()
    for axes in (losses, margins, turns):
        axes.grid(alpha=0.3)
    figure.savefig(path, dpi=130)
    pyplot.close(figure)


def main(words: list[str]) -> None:
    """Run all cases and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("directional_convergence"), help="for results")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--steps", nargs="+", type=int, default=[3000, 10_000, 30_000, 100_000])
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    longest: dict[str, StationaryTraining] = {}
    with (
        threadpool_limits(1),
        (chosen.folder / "stationarity_residuals.csv").open("w", newline="") as table,
        (chosen.folder / "directional_convergence.csv").open("w", newline="") as ways,
    ):
        writer, way = csv.DictWriter(table, COLUMNS), csv.writer(ways)
        writer.writeheader()
        way.writerow(["case", "steps in all", "step", "log loss", "norm", "normalised margin", "angle"])
        for case in CASES:
            for steps in sorted(chosen.steps):
                try:
                    found, row = run(case, chosen.width, chosen.samples, steps, chosen.seed)
                except InputError as error:  # the samples are not separated yet
                    sys.stdout.write(f"{case.name}  {steps}  {error}\n")
                    continue
                longest[case.name] = found
                writer.writerow(row)
                table.flush()
                sys.stdout.write("  ".join(row.values()) + "\n")
                sys.stdout.flush()
                past = found.history
                for values in zip(
                    past.steps, past.log_losses, past.norms, past.normalised_margins, past.angles, strict=True
                ):
                    way.writerow([case.name, steps, *(f"{value:.9g}" for value in values)])
    if longest:
        draw(chosen.folder / "directional_convergence.png", longest)


if __name__ == "__main__":
    main(sys.argv[1:])
