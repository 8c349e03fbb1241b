"""From how many neurons on does the gradient of the output layer alone give a batch back exactly?

A network f(x) = a·σ(Wx) with m hidden neurons, W Gaussian and a = 1/m, as in the paper of Wang, Lee and Lei; B random unit
vectors with labels ±1; observed is ∂L/∂a and nothing else: m numbers for B (d + 1) unknowns. Recovered with the method
``moments``, which is not told that the norms are 1. A run is a success if every sample is within 1e-9, modulo the fibre that
the recovery names. Writes a line per run to ``phase_diagram.csv``, and the shares of successes to ``phase_diagram.png``; runs
that are in the file already are not repeated. Run with

    python experiments/phase_diagram.py [FOLDER] [--dimensions 5 10] [--batches 2 3 5] [--ratios 0.9 1.5 3] [--seeds 3]

The defaults (d = 5 and 10, B = 2, 3 and 5, three seeds) take a few minutes.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import math
import multiprocessing
import sys
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment
from threadpoolctl import threadpool_limits

from provable.architectures import Activation, Architecture, Linear, Polynomial, ReLU, Softplus, Tanh
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery import Recovery
from provable.recovery.batch import output_gradient

ACTIVATIONS: dict[str, Activation] = {
    "tanh": Tanh(),
    "softplus": Softplus(),
    "relu": ReLU(),
    "x²+x³": Polynomial((0.0, 0.0, 1.0, 1.0)),
}
SUCCESS = 1e-9
KEY = ("activation", "dimension", "batch", "neurons", "seed")
COLUMNS = (*KEY, "status", "error", "seconds")

Case = tuple[str, int, int, int, int]
Row = dict[str, str]


def observation(case: Case) -> tuple[Observation, np.ndarray]:
    """Draw a network and a batch, and observe the gradient of the output weights."""
    activation, dimension, batch, neurons, seed = case
    rng = np.random.default_rng([seed, dimension, batch, neurons])
    layers = (Linear(neurons, False), ACTIVATIONS[activation], Linear(1, False))
    architecture = Architecture("one hidden layer", (dimension,), layers, "squared")
    weights = {"0/weight": rng.standard_normal((neurons, dimension)), "2/weight": np.full((1, neurons), 1 / neurons)}
    points = rng.standard_normal((batch, dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    labels = rng.choice([-1.0, 1.0], size=batch)
    whole = Observation.from_data(architecture, Parameters(architecture, weights), points, labels)
    return dataclasses.replace(whole, vector={"2/weight": whole.vector["2/weight"]}), points


def largest_error(found: Recovery, points: np.ndarray) -> float:
    """Largest distance of a sample from the one that it is matched with, modulo the fibre."""
    if len(found.points) != len(points):
        return math.inf
    candidates = found.points
    if "positive-scaling" in found.fibre:
        candidates = candidates / np.linalg.norm(candidates, axis=1, keepdims=True)
    costs = np.linalg.norm(points[:, None] - candidates[None], axis=2)
    if "joint-sign" in found.fibre:
        costs = np.minimum(costs, np.linalg.norm(points[:, None] + candidates[None], axis=2))
    return float(np.max(costs[linear_sum_assignment(costs)]))


def run(case: Case) -> Row:
    """Recover one batch."""
    observed, points = observation(case)
    began = time.perf_counter()
    status, error = "refused", math.inf
    if output_gradient.supports(observed) is None:
        with threadpool_limits(1):
            found = output_gradient.recover(observed, np.random.default_rng(case[-1]))
        is_open = any(name.startswith("null-space") for name in found.fibre)
        status, error = "open" if is_open else found.status, largest_error(found, points)
    values = (*case, status, f"{error:.1e}", f"{time.perf_counter() - began:.2f}")
    return {column: str(value) for column, value in zip(COLUMNS, values, strict=True)}


def share(rows: Iterable[Row]) -> float:
    """Share of successes."""
    return float(np.mean([float(row["error"]) <= SUCCESS for row in rows]))


def grouped(rows: list[Row], *columns: str) -> dict[tuple[str, ...], list[Row]]:
    """Rows by their entries in some columns."""
    groups: dict[tuple[str, ...], list[Row]] = {}
    for row in rows:
        groups.setdefault(tuple(row[column] for column in columns), []).append(row)
    return groups


def table(rows: list[Row]) -> str:
    """Markdown: shares of successes by activation and m / (B (d + 1)), all d and B together, and what happened otherwise."""
    for row in rows:
        unknowns = int(row["batch"]) * (int(row["dimension"]) + 1)
        row["ratio"] = f"{round(20 * int(row['neurons']) / unknowns) / 20:g}"
    ratios = sorted({row["ratio"] for row in rows}, key=float)
    groups = grouped(rows, "activation", "ratio")
    lines = ["| m / (B (d + 1)) | " + " | ".join(ratios) + " |", "|---" * (1 + len(ratios)) + "|"]
    for name in ACTIVATIONS:
        cells = []
        for ratio in ratios:
            chosen = groups.get((name, ratio), [])
            good = sum(float(row["error"]) <= SUCCESS for row in chosen)
            cells.append(f"{good}/{len(chosen)}" if chosen else "")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    counts = Counter(row["status"] for row in rows if float(row["error"]) > SUCCESS)
    lines.append(
        f"\nNo successes, of {len(rows)} runs: " + ", ".join(f"{n} {status}" for status, n in sorted(counts.items()))
    )
    return "\n".join(lines)


def plot(rows: list[Row], path: Path) -> None:
    """One panel per activation and dimension: shares of successes over batch size and number of neurons."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    names = [name for name in ACTIVATIONS if any(row["activation"] == name for row in rows)]
    dimensions = sorted({int(row["dimension"]) for row in rows})
    batches = sorted({int(row["batch"]) for row in rows})
    figure, axes = pyplot.subplots(
        len(names),
        len(dimensions),
        figsize=(1.2 + 3.1 * len(dimensions), 0.8 + 2.7 * len(names)),
        squeeze=False,
        sharex=True,
        layout="constrained",
    )
    places = np.linspace(0, len(batches) - 1, 50)
    marks = None
    for (i, name), (j, dimension) in itertools.product(enumerate(names), enumerate(dimensions)):
        panel = axes[i, j]
        here = [row for row in rows if row["activation"] == name and int(row["dimension"]) == dimension]
        cells = grouped(here, "batch", "neurons")
        marks = panel.scatter(
            [batches.index(int(batch)) for batch, _ in cells],
            [int(neurons) for _, neurons in cells],
            c=[share(chosen) for chosen in cells.values()],
            marker="s",
            s=110,
            cmap="RdYlGn",
            vmin=0,
            vmax=1,
            edgecolors="0.3",
            linewidths=0.5,
            zorder=2,
        )
        sizes = np.interp(places, np.arange(len(batches)), batches)
        for factor, style in ((1, "-"), (3, "--")):
            label = f"m = {factor if factor > 1 else ''}B(d + 1)"
            panel.plot(places, factor * sizes * (dimension + 1), style, color="black", linewidth=1, label=label)
        panel.set_yscale("log")
        panel.set_title(f"{name}, d = {dimension}", fontsize=10)
        panel.set_xticks(range(len(batches)), [str(batch) for batch in batches])
        if i == len(names) - 1:
            panel.set_xlabel("batch size B")
        if j == 0:
            panel.set_ylabel("neurons m")
    axes[0, 0].legend(fontsize=7, loc="upper left")
    assert marks is not None
    figure.colorbar(marks, ax=axes, label=f"share of batches with every sample within {SUCCESS:.0e}", shrink=0.6)
    figure.savefig(path, dpi=130)


def arguments(words: list[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--activations", nargs="+", default=list(ACTIVATIONS), choices=list(ACTIVATIONS))
    parser.add_argument("--dimensions", nargs="+", type=int, default=[5, 10])
    parser.add_argument("--batches", nargs="+", type=int, default=[2, 3, 5])
    parser.add_argument("--ratios", nargs="+", type=float, default=[0.9, 1.25, 1.5, 2.0, 3.0, 4.0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=2)
    return parser.parse_args(words)


def main(words: list[str]) -> None:
    """Fill the diagram."""
    chosen = arguments(words)
    chosen.folder.mkdir(parents=True, exist_ok=True)
    path = chosen.folder / "phase_diagram.csv"
    rows: list[Row] = []
    if path.exists():
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    done = {tuple(row[column] for column in KEY) for row in rows}
    wanted = [
        (name, d, batch, round(ratio * batch * (d + 1)), seed)
        for d, ratio, batch, name, seed in itertools.product(
            chosen.dimensions, chosen.ratios, chosen.batches, chosen.activations, range(chosen.seeds)
        )
    ]
    missing = [case for case in wanted if tuple(map(str, case)) not in done]
    # Fresh interpreters: threads of a linear algebra library do not survive a fork.
    context = multiprocessing.get_context("spawn")
    with path.open("a", newline="") as file, ProcessPoolExecutor(chosen.workers, mp_context=context) as pool:
        writer = csv.DictWriter(file, COLUMNS)
        if not rows:
            writer.writeheader()
        for number, row in enumerate(pool.map(run, missing), 1):
            rows.append(row)
            writer.writerow(row)
            file.flush()
            if sys.stderr.isatty():
                sys.stderr.write(f"\r{number} of {len(missing)}")
    sys.stdout.write(table(rows) + "\n")
    plot(rows, chosen.folder / "phase_diagram.png")


if __name__ == "__main__":
    main(sys.argv[1:])
