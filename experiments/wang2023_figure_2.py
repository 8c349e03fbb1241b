"""Figure 2 of Wang, Lee and Lei: the error of the reconstruction against the dimension, and against the width.

Two samples e₁ and e₂ with labels 1 and -1, m = 5000 neurons, output bias M = 30, and ‖X - X̂‖_F / B for

- the curves of the paper, read off its plot (±0.01),
- its Algorithm 1 as implemented here: as printed, where any unit vector a is allowed for tanh and the sigmoid, and the
  diagonal (1, …, 1)/√d is taken; and with the erratum applied that a be the first moment,
- the span check, which ``provable recover`` takes for such gradients; certificates are not asked for.

The second part varies m at d = 50; the paper has no such plot, Theorem 5.1 says √(d/m). Means over twenty seeds. Writes
``wang2023_figure_2.csv`` and ``wang2023_figure_2.png``. Run with

    python experiments/wang2023_figure_2.py [FOLDER] [SEEDS]

FOLDER is the current one by default; twenty seeds take about half an hour on a busy core.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

from provable.architectures import Architecture, Linear
from provable.architectures.activations import Activation, Polynomial, Sigmoid, Tanh
from provable.measures import Measure
from provable.networks import Parameters
from provable.observations import Observation
from provable.recovery.batch import span_check
from provable.recovery.batch.wang2023 import Options
from provable.recovery.batch.wang2023.errata import OBSERVED
from provable.recovery.batch.wang2023.method import two_layer_gradient
from provable.recovery.batch.wang2023.two_layers import algorithm_1

OUTPUT, FIRST = OBSERVED
CUBIC = Polynomial((0.0, 0.0, 1.0, 1.0))
DIMENSIONS = tuple(range(10, 101, 10))
WIDTHS = (500, 1000, 2000, 5000, 10000, 20000)
WIDTH, DIMENSION = 5000, 50
BIAS = 30.0

# Panels: which activation, which gradient, and the curve of the paper at d = 10, 20, …, 100
PANELS: dict[str, tuple[Activation, str, tuple[float, ...]]] = {
    "x² + x³ from ∂L/∂a": (CUBIC, OUTPUT, (0.15, 0.22, 0.28, 0.32, 0.38, 0.39, 0.42, 0.445, 0.385, 0.49)),
    "x² + x³ from ∂L/∂W": (CUBIC, FIRST, (0.037, 0.055, 0.075, 0.103, 0.09, 0.10, 0.115, 0.12, 0.118, 0.125)),
    "tanh from ∂L/∂W": (Tanh(), FIRST, (0.065, 0.095, 0.16, 0.185, 0.245, 0.283, 0.283, 0.295, 0.335, 0.36)),
    "sigmoid from ∂L/∂W": (Sigmoid(), FIRST, (0.103, 0.175, 0.293, 0.265, 0.28, 0.31, 0.35, 0.377, 0.385, 0.375)),
}
COLUMNS = (
    "panel",
    "dimension",
    "width",
    "seeds",
    "paper",
    "as_printed",
    "corrected",
    "ours",
    "largest_of_ours",
    "ours_seconds",
)


def observe(activation: Activation, dimension: int, width: int, rng: np.random.Generator) -> Observation:
    """The gradient of the paper's network over its two samples."""
    layers = (Linear(width, bias=False), activation, Linear(1))
    architecture = Architecture("figure 2", (dimension,), layers, "squared")
    weights = {
        "0/weight": rng.standard_normal((width, dimension)),
        "2/weight": np.full((1, width), 1 / width),
        "2/bias": np.array([BIAS]),
    }
    points, labels = np.eye(dimension)[:2], np.array([1.0, -1.0])
    return Observation.from_data(architecture, Parameters(architecture, weights), points, labels)


def distance(points: np.ndarray, *fibre: str) -> float:
    """‖X - X̂‖_F / B modulo the order and what else is in the fibre; infinite if there are not two samples."""
    truth = Measure(np.eye(points.shape[1])[:2], np.zeros(2))
    found = Measure(points, np.zeros(len(points)))
    if len(points) != 2:
        return float("inf")
    errors = found.matching(truth, fibre=("permutation", *fibre)).errors
    return float(np.linalg.norm(errors)) / 2


def row(panel: str, dimension: int, width: int, seeds: int) -> dict[str, object]:
    """Run the algorithms on as many draws of the neurons."""
    activation, which, curve = PANELS[panel]
    errors: dict[str, list[float]] = {"as_printed": [], "corrected": [], "ours": []}
    spent = 0.0
    for seed in range(seeds):
        observation = observe(activation, dimension, width, np.random.default_rng(seed))
        gradient = two_layer_gradient(observation)
        options = Options(observed=which, positive_residuals=True)
        corrected = algorithm_1(gradient, 2, options=options, rng=seed)
        errors["corrected"].append(distance(corrected.points))
        printed = corrected  # the errata do not touch the points where no contraction is needed
        if activation is not CUBIC:
            diagonal = np.ones(dimension)
            printed = algorithm_1(gradient, 2, options=options, direction=diagonal, rng=seed)
        errors["as_printed"].append(distance(printed.points))
        start = time.process_time()
        recovery = span_check.METHOD.recover(observation, np.random.default_rng(seed))
        spent += time.process_time() - start
        errors["ours"].append(distance(recovery.points, *set(recovery.fibre) - {"permutation"}))
    paper = curve[DIMENSIONS.index(dimension)] if width == WIDTH else float("nan")
    return {
        "panel": panel,
        "dimension": dimension,
        "width": width,
        "seeds": seeds,
        "paper": f"{paper:.3f}",
        **{name: f"{np.mean(values):.3g}" for name, values in errors.items()},
        "largest_of_ours": f"{max(errors['ours']):.3g}",
        "ours_seconds": f"{spent / seeds:.2f}",
    }


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Errors against the dimension above and against the width below, one column per panel, each axis with a gap."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(
        4, len(PANELS), figsize=(13, 8), sharey="row", height_ratios=(3, 1, 3, 1), layout="constrained"
    )
    series = (
        ("paper", "the paper's plot", "k", "s"),
        ("as_printed", "its algorithm as printed", "tab:orange", "^"),
        ("corrected", "its algorithm, errata applied", "tab:blue", "o"),
        ("ours", "span check", "tab:green", "D"),
    )
    for column, (panel, (activation, _, _)) in enumerate(PANELS.items()):
        for place, (key, fixed, at) in enumerate((("dimension", "width", WIDTH), ("width", "dimension", DIMENSION))):
            chosen = [entry for entry in rows if entry["panel"] == panel and entry[fixed] == at]
            upper, lower = axes[2 * place, column], axes[2 * place + 1, column]
            places = np.array([float(str(entry[key])) for entry in chosen])
            for name, label, colour, marker in series:
                values = np.array([float(str(entry[name])) for entry in chosen])
                hidden = (name == "paper" and key == "width") or (name == "as_printed" and activation is CUBIC)
                axis = lower if name == "ours" else upper
                if not hidden:
                    axis.plot(places, np.maximum(values, 1e-18), marker, ls="-", lw=1, color=colour, label=label, ms=4)
            if key == "width":
                last = float(str(chosen[-1]["corrected"]))
                upper.plot(places, last * np.sqrt(places[-1] / places), color="0.6", ls=":", label="∝ 1/√m")
            for axis in (upper, lower):
                axis.set_yscale("log")
                axis.grid(color="0.92")
                if key == "width":
                    axis.set_xscale("log")
            upper.set_ylim(0.02, 1.6)
            lower.set_ylim(1e-18, 1e-14)
            upper.tick_params(labelbottom=False, which="both")
            lower.set_xlabel(f"d at m = {WIDTH}" if key == "dimension" else f"m at d = {DIMENSION}")
        axes[0, column].set_title(panel)
    for place in (0, 2):
        axes[place, 0].set_ylabel("‖X - X̂‖_F / B")
    entries = {}
    for axis in axes[:, -1]:
        entries |= dict(zip(*reversed(axis.get_legend_handles_labels()), strict=True))
    figure.legend(entries.values(), entries.keys(), loc="outside lower center", ncols=len(entries))
    figure.savefig(path, dpi=150)


def main(arguments: list[str]) -> None:
    """Fill the table."""
    folder = Path(arguments[0] if arguments else ".")
    folder.mkdir(parents=True, exist_ok=True)
    seeds = int(arguments[1]) if len(arguments) > 1 else 20
    places = [(dimension, WIDTH) for dimension in DIMENSIONS]
    places += [(DIMENSION, width) for width in WIDTHS if width != WIDTH]
    rows = []
    for panel in PANELS:
        for dimension, width in places:
            rows.append(row(panel, dimension, width, seeds))
            sys.stdout.write("  ".join(f"{key}={value}" for key, value in rows[-1].items()) + "\n")
            sys.stdout.flush()
    rows.sort(key=lambda r: (list(PANELS).index(str(r["panel"])), r["dimension"], r["width"]))
    with (folder / "wang2023_figure_2.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, folder / "wang2023_figure_2.png")


if __name__ == "__main__":
    main(sys.argv[1:])
