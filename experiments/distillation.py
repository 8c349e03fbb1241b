"""Accuracy against the size of a distilled training set, on the digits: a random subset, KIP, RKIP, free labels and FRePo.

500 digits are the training set T, the other 1 297 the test set; pixels are in [0, 1] less their mean. Two tasks: odd against
even with labels ±1, decided by sign, and ten classes with one-hot labels less 0.1, decided by the largest output. The kernel
is the tangent kernel of one infinitely wide hidden ReLU layer with random biases. Every synthetic set is fitted with the
ridge 1e-5·tr(K)/M, in that kernel and, as a test of what carries over, in the kernel of two hidden layers, which no loss has
seen.

- `random`: a random subset, the same number of each class; where all others begin;
- `kip`, `rkip`: points move, labels stay; `free labels`: RKIP with y_S = h_T(X_S);
- `frepo`: KIP in the features of 8 finite networks of width 256 that are trained along, points and labels move (what FRePo
  adds to the loss for labels with a margin is left out).

Both losses, the bound λ_max·RKIP ≥ KIP and the accuracies are written to ``distillation.csv``, the plot to
``distillation.png`` and some synthetic images to ``distillation_images.png``. ``distillation_widths.csv`` has the accuracy of
networks of finite width trained on sets of 20, by their own tangent kernels, beside the mean |α| of the set. Run with

    python experiments/distillation.py [FOLDER] [SEEDS]

FOLDER is the current one; SEEDS 2 by default, some minutes of one core each.
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

from provable.distillation import Distilled, accuracy, distil, interpolant
from provable.kernels import ntk

KERNEL = ntk(1, "relu", bias_variance=1.0)
OTHER = ntk(2, "relu", bias_variance=1.0)
SIZES = {"odd or even": (2, 5, 10, 20, 50), "ten classes": (10, 20, 50)}
METHODS = {
    "random": {"iterations": 0},
    "kip": {"loss": "kip", "iterations": 100},
    "rkip": {"iterations": 100},
    "free labels": {"labels": "free", "iterations": 100},
    "frepo": {"loss": "frepo", "labels": "learned", "iterations": 1500},
}
COLUMNS = ("task", "method", "size", "seed", "accuracy", "other_kernel", "kip", "rkip", "bound", "seconds")


def digits(task: str, seed: int) -> tuple[np.ndarray, ...]:
    """Training points and labels, test points and labels."""
    from sklearn.datasets import load_digits

    points, classes = load_digits(return_X_y=True)
    points = points / 16
    points = points - points.mean()
    labels = np.where(classes % 2 == 1, 1.0, -1.0) if task == "odd or even" else np.eye(10)[classes] - 0.1
    order = np.random.default_rng(seed).permutation(len(points))
    return points[order[:500]], labels[order[:500]], points[order[500:]], labels[order[500:]]


def retrained(found: Distilled, points: np.ndarray, labels: np.ndarray) -> tuple[float, float]:
    """Test accuracy of the fit to a synthetic set, in the kernel that it was distilled in and in the other one."""
    other = interpolant(OTHER, found.points, found.labels, ridge=1e-5)
    return accuracy(found.function(points), labels), accuracy(other(points), labels)


def finite_kernel(weight: np.ndarray, bias: np.ndarray, x: np.ndarray, z: np.ndarray) -> np.ndarray:
    """The tangent kernel of one random network of finite width with output weights ±1, whose mean is `KERNEL`."""
    scale = np.sqrt(2 / x.shape[1])
    before, other = scale * x @ weight.T + bias, scale * z @ weight.T + bias
    values = np.maximum(before, 0) @ np.maximum(other, 0).T
    slopes = (before > 0).astype(np.float64) @ (other > 0).astype(np.float64).T
    return 2 / len(weight) * (values + slopes * (scale**2 * x @ z.T + 1)) + 1


def widths(folder: Path) -> None:
    """Train networks of finite width on the sets of 20 of the first task."""
    x, y, test, wanted = digits("odd or even", 0)
    target = interpolant(KERNEL, x, y)
    with (folder / "distillation_widths.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("method", "width", "mean_abs_alpha", "accuracy"))
        for method, options in METHODS.items():
            found = distil(target, 20, rng=0, **options)
            alpha = float(np.abs(found.function.coefficients).mean())
            rows: list[tuple[object, ...]] = []
            for width in (1000, 4000, 16000):
                reached = []
                for seed in range(3):
                    rng = np.random.default_rng(seed)
                    network = rng.standard_normal((width, x.shape[1])), rng.standard_normal(width)
                    gram = finite_kernel(*network, found.points, found.points)
                    gram += found.function.ridge * np.eye(len(gram))
                    values = finite_kernel(*network, test, found.points) @ np.linalg.solve(gram, found.labels)
                    reached.append(accuracy(values, wanted))
                rows.append((method, width, alpha, float(np.mean(reached))))
            rows.append((method, "infinite", alpha, accuracy(found.function(test), wanted)))
            writer.writerows(rows)
            sys.stdout.write("\n".join("  ".join(f"{entry!s:.12}" for entry in row) for row in rows) + "\n")
            sys.stdout.flush()


def plot(rows: list[dict[str, object]], full: dict[str, list[float]], path: Path) -> None:
    """One panel for each task: accuracy over the size of the set, and the losses below."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 2, figsize=(10, 7.5), layout="constrained", sharex="col")
    marks = dict(zip(METHODS, "xosD^", strict=True))
    for column, task in enumerate(SIZES):
        top, bottom = axes[0, column], axes[1, column]
        for method, mark in marks.items():
            means = {"accuracy": [], "rkip": [], "kip": []}
            for size in SIZES[task]:
                chosen = [r for r in rows if (r["task"], r["method"], r["size"]) == (task, method, size)]
                for key, values in means.items():
                    values.append(np.mean([row[key] for row in chosen]))
            line = top.plot(SIZES[task], means["accuracy"], marker=mark, label=method)[0]
            bottom.plot(SIZES[task], means["rkip"], marker=mark, color=line.get_color())
            bottom.plot(SIZES[task], means["kip"], marker=mark, color=line.get_color(), linestyle=":")
        top.axhline(np.mean(full[task]), color="black", linewidth=1, label="all 500")
        top.set(title=task, xscale="log")
        bottom.set(xlabel="size M of the synthetic set", yscale="log")
        bottom.set_xticks(SIZES[task], [str(size) for size in SIZES[task]])
        bottom.minorticks_off()
    axes[0, 0].set_ylabel("test accuracy")
    axes[1, 0].set_ylabel("RKIP (solid), KIP (dotted)")
    axes[0, 0].legend(fontsize=8)
    figure.savefig(path, dpi=130)


def images(sets: dict[str, Distilled], path: Path) -> None:
    """The ten synthetic images of each method, by their labels."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(len(sets), 10, figsize=(10, 1.25 * len(sets)), layout="constrained")
    for row, (method, found) in zip(axes, sets.items(), strict=True):
        order = np.argsort(found.labels.argmax(axis=1))
        for panel, place in zip(row, order, strict=True):
            panel.imshow(found.points[place].reshape(8, 8), cmap="gray_r", vmin=-0.6, vmax=0.9)
            panel.set_xticks([])
            panel.set_yticks([])
            panel.set_title(f"{found.labels[place].argmax()}", fontsize=8)
        row[0].set_ylabel(method, fontsize=8)
    figure.savefig(path, dpi=130)


def main(words: list[str]) -> None:
    """Fill the table."""
    folder, seeds = Path(words[0] if words else "."), int(words[1]) if len(words) > 1 else 2
    folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    full: dict[str, list[float]] = {task: [] for task in SIZES}
    shown: dict[str, Distilled] = {}
    with (folder / "distillation.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for seed in range(seeds):
            for task, sizes in SIZES.items():
                x, y, test, wanted = digits(task, seed)
                target = interpolant(KERNEL, x, y)
                full[task].append(accuracy(target(test), wanted))
                sys.stdout.write(f"{task}, seed {seed}, all 500: {full[task][-1]:.3f}\n")
                for size in sizes:
                    for method, options in METHODS.items():
                        started = time.process_time()
                        found = distil(target, size, rng=seed, **options)
                        values = (
                            task, method, size, seed, *retrained(found, test, wanted),
                            found.kip, found.rkip, found.bound, time.process_time() - started,
                        )  # fmt: skip
                        rows.append(dict(zip(COLUMNS, values, strict=True)))
                        writer.writerow(rows[-1])
                        file.flush()
                        texts = [f"{name} {value:.4g}" for name, value in list(rows[-1].items())[4:]]
                        sys.stdout.write(f"  M = {size:2d} {method:12s} " + "  ".join(texts) + "\n")
                        sys.stdout.flush()
                        if (task, size, seed) == ("ten classes", 10, 0):
                            shown[method] = found
    plot(rows, full, folder / "distillation.png")
    images(shown, folder / "distillation_images.png")
    widths(folder)


if __name__ == "__main__":
    main(sys.argv[1:])
