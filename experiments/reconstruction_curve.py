"""How much of a training set comes back from the change of a finite network's parameters, by width and size of the set.

N random digits (mean subtracted, labels ±1 for odd and even) behind one hidden layer of m ReLUs with random biases,
trained in the linearisation at the start or by gradient descent. Three attacks on the same change of parameters: the one of
Loo et al. as released but for its number of steps (``loo2024``, 80 000 were released), ``parameter-matching``, and what
``provable recover`` takes by itself (``auto``, for linearised training). Writes a line per run to
``reconstruction_curve.csv``, all sorted distances to ``reconstruction_curve.json`` and the curves, with the outlier law
below them, to ``reconstruction_curve.png``.
Run with

    python experiments/reconstruction_curve.py [FOLDER] [--full] [--widths 100 1000] [--sizes 10 20] [--steps 3000]

The defaults take a few minutes; ``--full`` has m up to 4000, N up to 100 and the released number of steps, and takes hours.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import json
import multiprocessing
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from provable import recover
from provable.architectures import Architecture, Linear, ReLU
from provable.networks import Parameters, forward, tangent_kernel
from provable.observations import Observation
from provable.recovery import Recovery
from provable.recovery.parameter_matching import loo2024, method
from provable.recovery.parameter_matching.annealing import fitted_coefficients
from provable.recovery.parameter_matching.reconstruction_loss import ReconstructionLoss
from provable.recovery.parameter_matching.report import report
from provable.training.gradient_descent import train
from provable.training.linearised_networks import default_learning_rate, train_linearised
from provable.training.optimisers import GradientDescent

DYNAMICS = ("linearised", "standard")
METHODS = ("loo2024", "parameter-matching", "auto")
NEAR = 0.3
COLUMNS = (
    "dynamics",
    "width",
    "samples",
    "method",
    "seed",
    "status",
    "near",
    "median",
    "chance",
    "held_out",
    "norm",
    "loss",
    "loss_at_truth",
    "law",
    "cost_law",
    "seconds",
)

Case = tuple[str, int, int, str, int, int]


@dataclasses.dataclass(frozen=True)
class Victim:
    """What was trained, what an attacker sees of it, and who was not trained on."""

    observation: Observation
    samples: np.ndarray
    held_out: np.ndarray
    weights: np.ndarray  # |α_j|
    deletion_costs: np.ndarray  # α_j² / [K⁻¹]_jj


def victim(dynamics: str, width: int, samples: int, seed: int) -> Victim:
    """Train a network on random digits."""
    from sklearn.datasets import load_digits

    rng = np.random.default_rng([seed, samples])
    digits = load_digits()
    chosen = rng.permutation(len(digits.data))[: 2 * samples]
    images = digits.data[chosen] / 16.0
    images = images - images[:samples].mean()
    labels = np.where(digits.target[chosen[:samples]] % 2 == 0, -1.0, 1.0)[:, None]
    architecture = Architecture("digits", (64,), (Linear(width, True), ReLU(), Linear(1, True)), "squared")
    parameters = Parameters(
        architecture,
        {
            key: rng.standard_normal(shape) * (1 / np.sqrt(shape[-1]) if key.endswith("weight") else 0.5)
            for key, shape in architecture.parameter_shapes.items()
        },
    )
    points = images[:samples]
    linearised = train_linearised(architecture, parameters, points, labels, labels_known=True)
    observation = linearised.observation
    if dynamics == "standard":
        rate = 0.3 * default_learning_rate(linearised.kernel, samples)
        optimiser = GradientDescent(rate, momentum=0.9)
        run = train(architecture, parameters, points, labels, optimiser=optimiser, steps=20_000, target_loss=1e-8)
        observation = run.observation(labels_known=True)
    kernel = np.asarray(tangent_kernel(architecture, parameters, points), dtype=np.float64)
    alpha = np.linalg.solve(kernel, labels - np.asarray(forward(architecture, parameters, points)))[:, 0]
    costs = alpha**2 / np.diag(np.linalg.inv(kernel))
    return Victim(observation, points, images[samples:], np.abs(alpha), costs)


def attack(name: str, known: Victim, steps: int, features: str, seed: int) -> Recovery:
    """Run one attack."""
    rng = np.random.default_rng(seed)
    if name == "loo2024":
        return loo2024.attack(known.observation, rng, loo2024.Settings(steps=steps, features=features))
    if name == "parameter-matching":
        return method.recover(known.observation, rng)
    return recover(known.observation, rng=rng)


def run(case: Case) -> tuple[dict[str, str], list[float]]:
    """Train, attack and compare."""
    dynamics, width, samples, name, seed, steps = case
    with threadpool_limits(1):
        known = victim(dynamics, width, samples, seed)
        # What the released attack takes for a network that was not linearised.
        features = "final" if dynamics == "standard" else "initial"
        began = time.process_time()
        found = attack(name, known, steps, features, seed)
        seconds = time.process_time() - began
        loss = ReconstructionLoss.of(known.observation, features)
        sharpness = 200.0 if name == "loo2024" else None
        at_truth = fitted_coefficients(loss, known.samples, ridge=0.0)
        truth_loss = loss.value(known.samples, at_truth, sharpness) / loss.scale
        own = np.nan
        if len(found.points) and (name != "parameter-matching" or dynamics == "linearised"):
            own = loss.value(found.points, found.coefficients[None], sharpness) / loss.scale
    result = report(found.points, known.samples, held_out=known.held_out, loss_at_truth=truth_loss, rng=seed)
    values = (
        dynamics,
        width,
        samples,
        name,
        seed,
        found.status,
        result.within(NEAR),
        f"{np.median(result.greedy):.2g}",
        f"{np.median(result.chance):.2g}",
        f"{np.median(result.held_out):.2g}",
        f"{result.norm:.3g}",
        f"{own:.1e}" if np.isfinite(own) else "",
        f"{truth_loss:.1e}",
        correlation(known.weights, result.greedy),
        correlation(known.deletion_costs, result.greedy),
        f"{seconds:.1f}",
    )
    row = {column: str(value) for column, value in zip(COLUMNS, values, strict=True)}
    return row, [float(min(distance, 1e3)) for distance in result.greedy]


def correlation(weights: np.ndarray, errors: np.ndarray) -> str:
    """Correlation of a sample's weight and its error; empty if the errors are rounding or nothing was found."""
    if not np.all(np.isfinite(errors)) or np.max(errors) < 1e-6:
        return ""
    return f"{np.corrcoef(weights, errors)[0, 1]:.2f}"


def table(rows: list[dict[str, str]]) -> str:
    """Markdown: recovered within 0.3 of all, median distance and the two correlations."""
    lines = [
        f"| dynamics | N | m | attack | within {NEAR} | median | chance | held out | loss | at truth "
        "| corr. with abs(α) | with deletion cost | s |",
        "|---" * 13 + "|",
    ]
    for row in rows:
        keys = ("median", "chance", "held_out", "loss", "loss_at_truth", "law", "cost_law", "seconds")
        cells = [row["dynamics"], row["samples"], row["width"], row["method"], f"{row['near']} of {row['samples']}"]
        lines.append("| " + " | ".join([*cells, *(row[key] for key in keys)]) + " |")
    return "\n".join(lines)


def plot(rows: list[dict[str, str]], distances: dict[str, list[float]], path: Path) -> None:
    """Sorted distances, one panel per dynamics and size; below, error against |α| for the released attack."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = sorted({int(row["samples"]) for row in rows})
    widths = sorted({int(row["width"]) for row in rows})
    kinds = [kind for kind in DYNAMICS if any(row["dynamics"] == kind for row in rows)]
    styles = {"loo2024": ":", "parameter-matching": "-"}
    colours = pyplot.get_cmap("viridis")(np.linspace(0, 0.9, len(widths)))
    figure, axes = pyplot.subplots(
        len(kinds) + 1,
        len(sizes),
        figsize=(1.5 + 3.2 * len(sizes), 2.9 * (len(kinds) + 1)),
        squeeze=False,
        layout="constrained",
    )
    for (i, kind), (j, size) in itertools.product(enumerate(kinds), enumerate(sizes)):
        panel = axes[i, j]
        here = [row for row in rows if row["dynamics"] == kind and int(row["samples"]) == size]
        for row in here:
            if row["method"] in styles:
                panel.plot(
                    np.arange(1, size + 1),
                    np.maximum(np.sort(distances[key(row)]), 1e-15),
                    styles[row["method"]],
                    color=colours[widths.index(int(row["width"]))],
                    label=f"{row['method']}, m = {row['width']}",
                )
        if here:
            panel.axhline(float(here[0]["chance"]), color="0.6", linewidth=1, zorder=0)
        panel.axhline(NEAR, color="0.6", linewidth=1, linestyle="--", zorder=0)
        panel.set_yscale("log")
        panel.set_ylim(5e-16 if kind == "linearised" else 1e-2, 20)
        panel.set_title(f"{kind} training, N = {size}", fontsize=10)
        panel.set_xlabel("training samples, sorted")
        if j == 0:
            panel.set_ylabel("distance")
    for j, size in enumerate(sizes):
        panel = axes[-1, j]
        for row in rows:
            if row["method"] == "loo2024" and int(row["samples"]) == size and row["dynamics"] == "linearised":
                known = victim("linearised", int(row["width"]), size, int(row["seed"]))
                colour = colours[widths.index(int(row["width"]))]
                panel.scatter(known.weights, distances[key(row)], s=12, color=colour, label=f"m = {row['width']}")
        panel.set_xscale("log")
        panel.set_xlabel("|α|")
        panel.set_title("loo2024, linearised: the outlier law", fontsize=10)
        if j == 0:
            panel.set_ylabel("distance")
    axes[0, 0].legend(fontsize=6, loc="center right")
    axes[-1, 0].legend(fontsize=7)
    figure.savefig(path, dpi=130)


def key(row: dict[str, str]) -> str:
    """Name of a run."""
    return " ".join(row[column] for column in COLUMNS[:5])


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--full", action="store_true")
    parser.add_argument("--widths", nargs="+", type=int)
    parser.add_argument("--sizes", nargs="+", type=int)
    parser.add_argument("--dynamics", nargs="+", default=list(DYNAMICS), choices=DYNAMICS)
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--steps", type=int)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args(words)
    chosen.widths = chosen.widths or ([100, 250, 1000, 4000] if chosen.full else [100, 250, 1000])
    chosen.sizes = chosen.sizes or ([10, 20, 40, 100] if chosen.full else [10, 20, 40])
    chosen.steps = chosen.steps or (loo2024.RELEASED_STEPS if chosen.full else 3000)
    return chosen


def main(words: list[str]) -> None:
    """Draw the curves."""
    chosen = arguments(words)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    cases: list[Case] = [
        (kind, width, size, name, seed, chosen.steps)
        for kind, size, width, name, seed in itertools.product(
            chosen.dynamics, chosen.sizes, chosen.widths, chosen.methods, range(chosen.seeds)
        )
        # Training that is not linearised has no exact method, and with few units those there are search in vain for long.
        if name != "auto" or (kind == "linearised" and size < 64 and width >= 10 * size)
    ]
    rows, distances = [], {}
    # Fresh interpreters: threads of a linear algebra library do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with (
        (chosen.folder / "reconstruction_curve.csv").open("w", newline="") as file,
        ProcessPoolExecutor(chosen.workers, mp_context=context) as pool,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for number, (row, errors) in enumerate(pool.map(run, cases), 1):
            rows.append(row)
            distances[key(row)] = errors
            writer.writerow(row)
            file.flush()
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{number} of {len(cases)}")
    (chosen.folder / "reconstruction_curve.json").write_text(json.dumps(distances, indent=1) + "\n")
    sys.stdout.write(table(rows) + "\n")
    plot(rows, distances, chosen.folder / "reconstruction_curve.png")


if __name__ == "__main__":
    main(sys.argv[1:])
