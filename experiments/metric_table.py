"""What security metrics of an architecture say, beside what an attack on it achieves.

For the networks of Chen and Campbell and of R-GAP: c(M), R-GAP's index and the bounds of N*, all from the architecture
alone; then one image, its gradient, and the relative error of what attacks make of it: of the image, and of what the gradient
sees of it, which is ‖J(x̂ - x)‖ / ‖J x‖ with J the derivative of the gradients at the image. The attack is the layer-wise
recovery, and the hybrid with gradient matching where that fails; certificates are not asked for. Writes
``metric_table.csv`` and ``metric_table.png``. Run with

    python experiments/metric_table.py [FOLDER] [NAME ...]

FOLDER is the current one by default; without names, all 23 networks are done (about a quarter of an hour).
"""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np

import provable
from provable.architectures.zoo import from_zoo, zoo
from provable.networks import Parameters, gradient_jacobian
from provable.observations import Observation
from provable.recovery.hybrid import hybrid
from provable.recovery.layerwise import layerwise_report

PUBLISHED = ("cnn2", "cnn3", "cnn4", "lenet2", "cnn6", "rgap-figure")
NETWORKS = [name for name in zoo() if name.startswith(PUBLISHED)]
COLUMNS = (
    "network",
    "unknowns",
    "deficits",
    "c_metric",
    "rgap_index",
    "ambiguity_lower",
    "ambiguity_upper",
    "dead_inputs",
    "method",
    "status",
    "relative_error",
    "seen_error",
    "residual",
    "fibre",
    "seconds_audit",
    "seconds_recovery",
)


def image(shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Draw an image with the spectrum of natural ones, amplitude inversely proportional to frequency, around 0."""
    channels, height, width = shape
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    frequency[0, 0] = 1 / max(height, width)
    noise = np.fft.fft2(rng.standard_normal((channels, height, width)))
    picture = np.fft.ifft2(noise / frequency).real
    picture -= picture.mean()
    return picture / (4 * picture.std())


def row(name: str, seed: int) -> dict[str, object]:
    """Audit one network, and attack one gradient of it."""
    architecture = from_zoo(name)
    start = time.perf_counter()
    audit = provable.audit(architecture, rng=seed)
    audited = time.perf_counter()
    rng = np.random.default_rng(seed)
    parameters = Parameters.random(architecture, rng=rng)
    truth = image(architecture.input_shape, rng)
    labels = np.array([1.0]) if architecture.loss == "logistic" else np.array([3])
    observation = Observation.from_data(architecture, parameters, truth[None], labels)
    began = time.perf_counter()
    recovery = layerwise_report(observation, rng=seed).recovery
    if recovery.status == "failed":
        recovery = hybrid(observation, np.random.default_rng(seed))
    ended = time.perf_counter()
    error = seen = float("nan")
    if len(recovery.points):
        shift = recovery.points[0] - truth
        error = np.linalg.norm(shift) / np.linalg.norm(truth)
        jacobian = gradient_jacobian(architecture, parameters, truth[None], labels)
        moved, whole = jacobian.push_forward(np.stack([shift, truth])[:, None])
        seen = np.linalg.norm(moved) / np.linalg.norm(whole)
    return {
        "network": name,
        "unknowns": architecture.input_size,
        "deficits": " ".join(str(layer.deficit_lower) for layer in audit.layers if layer.type == "conv2d"),
        "c_metric": audit.c_metric,
        "rgap_index": audit.rgap_index,
        "ambiguity_lower": audit.ambiguity.lower,
        "ambiguity_upper": audit.ambiguity.upper,
        "dead_inputs": audit.dead_inputs,
        "method": recovery.method,
        "status": recovery.status,
        "relative_error": f"{error:.2e}",
        "seen_error": f"{seen:.2e}",
        "residual": f"{recovery.residual:.2e}",
        "fibre": " ".join(recovery.fibre),
        "seconds_audit": f"{audited - start:.1f}",
        "seconds_recovery": f"{ended - began:.1f}",
    }


def plot(rows: list[dict[str, object]], path: Path) -> None:
    """Draw the metrics on the left and the error of the recovery on the right, one line per network."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, (left, right) = pyplot.subplots(
        1, 2, figsize=(11, 0.32 * len(rows) + 1.6), sharey=True, layout="constrained"
    )
    places = np.arange(len(rows))
    series = (
        ("-c(M), equations short", [-int(str(r["c_metric"])) for r in rows], "s", "tab:orange"),
        ("R-GAP's index", [int(str(r["rgap_index"])) for r in rows], "^", "tab:purple"),
        ("N*, proved", [int(str(r["ambiguity_lower"])) for r in rows], "o", "tab:blue"),
    )
    for offset, (label, values, marker, colour) in zip((-0.22, 0.0, 0.22), series, strict=True):
        left.plot(values, places + offset, marker, color=colour, label=label, markersize=5)
    left.set_xscale("symlog", linthresh=10)
    left.axvline(0, color="0.7", linewidth=0.8)
    left.set_xlabel("dimensions (0: nothing is short, nothing is open)")
    left.set_yticks(places, [str(r["network"]) for r in rows])
    left.invert_yaxis()
    left.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize=8)
    colours = {"consistent": "tab:green", "partial": "tab:orange", "failed": "tab:red"}
    for status, colour in colours.items():
        chosen = [(place, r) for place, r in zip(places, rows, strict=True) if r["status"] == status]
        for key, fill, what in (
            ("relative_error", colour, "the image"),
            ("seen_error", "none", "what the gradient sees"),
        ):
            errors = [max(float(str(r[key])), 1e-17) for _, r in chosen]
            label = f"{status}: {what}"
            if chosen:
                heights = [place for place, _ in chosen]
                right.plot(errors, heights, "o", color=colour, markerfacecolor=fill, label=label)
    right.set_xscale("log")
    right.set_xlabel("relative error of the recovery")
    right.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=8)
    for axes in (left, right):
        axes.grid(axis="y", color="0.92")
    figure.savefig(path, dpi=150)


def main(arguments: list[str]) -> None:
    """Fill the table."""
    folder = Path(arguments[0] if arguments else ".")
    folder.mkdir(parents=True, exist_ok=True)
    rows = []
    for name in arguments[1:] or NETWORKS:
        rows.append(row(name, seed=0))
        sys.stdout.write("  ".join(f"{key}={value}" for key, value in rows[-1].items()) + "\n")
        sys.stdout.flush()
    with (folder / "metric_table.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    plot(rows, folder / "metric_table.png")


if __name__ == "__main__":
    main(sys.argv[1:])
