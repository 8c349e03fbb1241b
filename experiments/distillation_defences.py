"""Defences by distillation: train on synthetic images, let the attacker recover them, and look for private images in them.

200 digits are private (odd or even, labels ±1), the others are the test set. The victim never trains on them but on M
synthetic images made from them, in the kernel of one infinitely wide hidden ReLU layer with random biases. Both attackers
are exact, so what they get is the set that the victim trained on:

- infinite width: the arrangement walk on the first layer's change, whose measure is also used as a classifier again;
- width 1000, for four of the sets: `recover` on the change of the parameters of the linearised network, which is in the
  standard parametrisation with a random start: its kernel is another one than that of the distillation.

So a defence is as good as its synthetic set is unlike the private one. For each set, the distance of every private image to
the nearest recovered one is measured (the mean norm of an image is about 2.9), beside the same for images that nobody used,
and for the 20 private images of highest and of lowest deletion cost α²/[K⁻¹]: the outliers of the outlier law.

Sets: all private images, a random subset, RKIP and KIP from noise or from data, RKIP with a share ρ of the pixels frozen to
noise, and RKIP with a penalty that keeps synthetic images at a squared distance δ from every private one. Writes
``distillation_defences.csv``, ``distillation_defences.png`` (accuracy against distance) and ``distillation_outliers.png``
(the ten private images of highest deletion cost, and the recovered image nearest to each). Run with

    python experiments/distillation_defences.py [FOLDER] [SIZE] [SEED]

SIZE is M, 20 by default; some minutes of one core.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

import provable
from provable.architectures import Architecture, Linear, ReLU
from provable.distillation import Interpolant, accuracy, describe, distil, interpolant
from provable.distillation.constraints import squared_distances
from provable.kernels import ntk
from provable.measures import Measure
from provable.networks import Parameters
from provable.recovery.kernel_regime.arrangement_walk_oracle import simulated_network
from provable.training.linearised_networks import train_linearised

PRIVATE, EXTREME, WIDTH = 200, 20, 1000
KERNEL = ntk(1, "relu", bias_variance=1.0)
CLOSE = 0.5
SETS = {
    "all 200 private images": {},
    "random subset": {"iterations": 0},
    "RKIP from data": {"iterations": 200},
    "RKIP from noise, free labels": {"labels": "free", "start": "noise", "iterations": 200},
    "KIP from data": {"loss": "kip", "iterations": 200},
    "KIP from noise": {"loss": "kip", "start": "noise", "iterations": 200},
    "RKIP, ρ = 0.25": {"corrupted": 0.25, "iterations": 200},
    "RKIP, ρ = 0.5": {"corrupted": 0.5, "iterations": 200},
    "RKIP, δ = 1": {"labels": "free", "distance": 1.0, "iterations": 200},
    "RKIP, δ = 2": {"labels": "free", "distance": 2.0, "iterations": 200},
    "RKIP, δ = 4": {"labels": "free", "distance": 4.0, "iterations": 200},
}
ATTACKED_AT_WIDTH_1000 = ("random subset", "RKIP from data", "RKIP from noise, free labels", "KIP from data")
COLUMNS = (
    "set", "size", "accuracy", "accuracy_recovered", "accuracy_width_1000", "kip", "rkip", "walk_recovered", "walk_error",
    "recovered_width_1000", "error_width_1000", "status_width_1000", "close", "outliers_close", "outliers", "inliers",
    "private", "unused", "auc", "seconds",
)  # fmt: skip


def digits(seed: int) -> tuple[np.ndarray, ...]:
    """Private points and labels, other points and labels."""
    from sklearn.datasets import load_digits

    points, classes = load_digits(return_X_y=True)
    points = points / 16
    points = points - points.mean()
    labels = np.where(classes % 2 == 1, 1.0, -1.0)
    order = np.random.default_rng(seed).permutation(len(points))
    private, rest = order[:PRIVATE], order[PRIVATE:]
    return points[private], labels[private], points[rest], labels[rest]


def matched(found: np.ndarray, truth: np.ndarray) -> tuple[int, float]:
    """How many trained images are among the recovered ones within 1e-6 of their norm, and the largest distance."""
    if not len(found):
        return 0, float("inf")
    distances = np.sqrt(squared_distances(truth, found).min(axis=1))
    return int(np.sum(distances <= 1e-6 * np.linalg.norm(truth, axis=1))), float(distances.max())


def walk(victim: Interpolant, seed: int) -> Measure:
    """The attack at infinite width: the network's inputs are (√(2/d) x, 1), by the weight and bias variances 2 and 1."""
    scale = np.sqrt(2 / victim.points.shape[1])
    inputs = np.hstack([scale * victim.points, np.ones((len(victim.points), 1))])
    oracle = simulated_network(Measure(inputs, victim.coefficients))
    found = provable.recovery.infinite_width(oracle, inputs.shape[1], bias=1.0, rng=np.random.default_rng(seed))
    return Measure(found.points[:, :-1] / scale, found.coefficients)


def at_width_1000(
    points: np.ndarray, labels: np.ndarray, test: np.ndarray, wanted: np.ndarray, seed: int, *, attack: bool
) -> tuple[float, np.ndarray, str]:
    """Train the linearised network to the end; its accuracy, and what `recover` makes of the change of parameters."""
    rng, dimension = np.random.default_rng(seed), points.shape[1]
    network = Architecture("victim", (dimension,), (Linear(WIDTH), ReLU(), Linear(1)), "squared")
    arrays = {
        name: rng.standard_normal(shape) / np.sqrt(shape[-1]) if name.endswith("weight") else rng.standard_normal(shape)
        for name, shape in network.parameter_shapes.items()
    }
    trained = train_linearised(network, Parameters(network, arrays), points, labels)
    reached = accuracy(trained.outputs(test)[:, 0], wanted)
    if not attack:
        return reached, np.empty((0, dimension)), "not run"
    recovery = provable.recover(trained.observation, rng=np.random.default_rng(seed))
    return reached, np.asarray(recovery.points, dtype=np.float64), recovery.status


def picture(private: np.ndarray, costs: np.ndarray, recovered: dict[str, np.ndarray], path: Path) -> None:
    """The ten private images of highest cost, and under each the nearest recovered image of every set."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    hardest = np.argsort(-costs)[:10]
    figure, axes = pyplot.subplots(
        1 + len(recovered), 10, figsize=(11, 1.05 * (1 + len(recovered))), layout="constrained"
    )
    for panel, place in zip(axes[0], hardest, strict=True):
        panel.imshow(private[place].reshape(8, 8), cmap="gray_r", vmin=-0.6, vmax=0.9)
    axes[0, 0].set_ylabel("private", fontsize=8, rotation=0, ha="right", va="center")
    for row, (name, points) in zip(axes[1:], recovered.items(), strict=True):
        squares = squared_distances(private[hardest], points)
        for panel, nearest, square in zip(row, squares.argmin(axis=1), squares.min(axis=1), strict=True):
            panel.imshow(points[nearest].reshape(8, 8), cmap="gray_r", vmin=-0.6, vmax=0.9)
            panel.set_title(f"{np.sqrt(square):.2f}", fontsize=7, pad=2)
        row[0].set_ylabel(
            name.replace(", ", ",\n").replace(" from", "\nfrom"), fontsize=8, rotation=0, ha="right", va="center"
        )
    for panel in axes.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    figure.savefig(path, dpi=130)


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Accuracy against the median distance of private images to the nearest recovered one: outliers and inliers."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panel = pyplot.subplots(figsize=(9, 5.5), layout="constrained")
    for row, mark in zip(rows, "osD^v<>Pphd", strict=True):
        ends, height = [float(row["outliers"]), float(row["inliers"])], float(row["accuracy"])
        line = panel.plot(ends, [height] * 2, linewidth=1)[0]
        panel.plot(ends[0], height, mark, color=line.get_color(), label=row["set"])
        panel.plot(ends[1], height, "|", markersize=12, color=line.get_color())
        panel.plot(float(row["unused"]), height, "x", color="0.5")
    panel.set_xlabel(
        f"median distance to the nearest recovered image\n{EXTREME} outliers (symbol), {EXTREME} inliers (bar), images never "
        "used (cross)"
    )
    panel.set_ylabel("test accuracy of the victim")
    panel.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.0, 0.5))
    figure.savefig(path, dpi=130)


def main(words: list[str]) -> None:
    """Fill the table."""
    folder = Path(words[0] if words else ".")
    size, seed = (int(word) for word in [*words[1:], *("20", "0")[len(words[1:]) :]][:2])
    folder.mkdir(parents=True, exist_ok=True)
    private, labels, rest, wanted = digits(seed)
    target = interpolant(KERNEL, private, labels)
    costs = describe(target, private, labels, ridge=0.0).deletion_costs
    order, unused = np.argsort(-costs), rest[:400]
    rows: list[dict[str, object]] = []
    recovered: dict[str, np.ndarray] = {}
    with (folder / "distillation_defences.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for name, options in SETS.items():
            started = time.process_time()
            made = (
                distil(target, size, rng=seed, **options) if options else describe(target, private, labels, ridge=0.0)
            )
            # the victim trains to the end: no ridge
            victim = interpolant(KERNEL, made.points, made.labels)
            met = describe(target, made.points, made.labels, ridge=0.0)
            measure = walk(victim, seed)
            walked = np.asarray(measure.points, dtype=np.float64)
            again = accuracy(KERNEL(rest, walked) @ measure.coefficients, wanted)
            attack = name in ATTACKED_AT_WIDTH_1000
            finite, found, status = at_width_1000(made.points, made.labels, rest, wanted, seed, attack=attack)
            outcome = matched(found, made.points) if attack else ("", "")
            distances, control = (np.sqrt(squared_distances(x, walked).min(axis=1)) for x in (private, unused))
            values = (
                name, len(made.points), accuracy(victim(rest), wanted), again, finite, met.kip, met.rkip,
                *matched(walked, made.points), *outcome, status,
                int(np.sum(distances < CLOSE)), int(np.sum(distances[order[:EXTREME]] < CLOSE)),
                float(np.median(distances[order[:EXTREME]])), float(np.median(distances[order[-EXTREME:]])),
                float(np.median(distances)), float(np.median(control)),
                float(np.mean(distances[:, None] < control[None]) + 0.5 * np.mean(distances[:, None] == control[None])),
                time.process_time() - started,
            )  # fmt: skip
            rows.append(dict(zip(COLUMNS, values, strict=True)))
            writer.writerow(rows[-1])
            file.flush()
            recovered[name] = walked
            texts = [
                f"{key} {value:.3g}" if isinstance(value, float) else f"{key} {value}"
                for key, value in rows[-1].items()
            ]
            sys.stdout.write("  ".join(texts) + "\n")
            sys.stdout.flush()
    plot(rows, folder / "distillation_defences.png")
    picture(private, costs, recovered, folder / "distillation_outliers.png")


if __name__ == "__main__":
    main(sys.argv[1:])
