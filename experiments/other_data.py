"""Other data sets with the same parameters, for trained networks and networks of largest margin, and what they look like.

Every network is at a stationary point of its digits: trained to it, or the network of largest margin. Then other data are
constructed for the same θ, at least the diameter of the digits away from them where the network allows it. Writes
``other_data.csv`` (one line for each construction) and ``other_data.png`` (digits behind one trained network, other digits
behind the same network, and the part of the digits that the network holds). Run with

    python experiments/other_data.py [FOLDER] [--seed N] [--surveyed N]

FOLDER is the current one by default. It takes about a minute of one processor.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.decomposition import PCA
from threadpoolctl import threadpool_limits

from provable.architectures import Architecture, Layer, Linear, ReLU
from provable.errors import InputError
from provable.max_margin import maximise_margin
from provable.networks import Parameters
from provable.stationarity.activation_cells import ActivationCells, CellMeasure, activation_cells
from provable.stationarity.alternatives import Alternatives, alternative_data
from provable.stationarity.orthogonal_shifts import exchanged_toward, invisible_shifts, paired_toward
from provable.training import small_first_layer, train_to_stationarity

Float = NDArray[np.float64]

COLUMNS = (
    "network",
    "samples",
    "entries",
    "rank",
    "residual",
    "diameter",
    "construction",
    "new_samples",
    "separation",
    "hausdorff",
    "assignment",
    "change",
    "margins",
    "fibre",
    "remark",
)
SHOWN = 10
ROUNDS = 20_000
SURVEYED = (1, 2, 3, 5, 8)


@dataclasses.dataclass(frozen=True)
class Stationary:
    """A network at a stationary point, its data, and the Clarke weights with which it is one."""

    name: str
    architecture: Architecture
    parameters: Parameters
    points: Float
    labels: Float
    multipliers: Float
    slopes: dict[str, Float]

    def alternatives(self, seed: int) -> Alternatives:
        """Everything that can be constructed."""
        return alternative_data(
            self.architecture,
            self.parameters,
            self.points,
            self.labels,
            self.multipliers,
            slopes=self.slopes,
            rng=seed,
        )

    @property
    def cells(self) -> ActivationCells:
        """The activation cells of the data."""
        return activation_cells(self.architecture, self.parameters, self.points, slopes=self.slopes)

    @property
    def coefficients(self) -> Float:
        """λ_i y_i as a column."""
        return (self.multipliers * self.labels)[:, None]


def digits(count: int, rng: np.random.Generator) -> tuple[Float, Float]:
    """Digits in [0, 1]⁶⁴ less their mean image, with the label 1 if they are even."""
    images, classes = load_digits(return_X_y=True)
    chosen = rng.choice(len(images), count, replace=False)
    return (images / 16)[chosen] - images.mean(axis=0) / 16, np.where(classes[chosen] % 2 == 0, 1.0, -1.0)


def trained(name: str, widths: tuple[int, ...], decay: float, count: int, seed: int) -> Stationary:
    """A network trained on digits from a small first layer, with bias there and nowhere else."""
    rng = np.random.default_rng(seed)
    points, labels = digits(count, rng)
    layers: list[Layer] = []
    for place, width in enumerate(widths):
        layers += [Linear(width, bias=place == 0), ReLU()]
    architecture = Architecture(name, (64,), (*layers, Linear(1, bias=False)), "logistic")
    result = train_to_stationarity(
        architecture, small_first_layer(architecture, rng=rng), points, labels, weight_decay=decay
    )
    if not result.finished:
        sys.stderr.write(f"{name}: {result.reason}\n")
    return Stationary(
        name, architecture, result.trained, points, labels, np.maximum(result.multipliers, 0.0), result.slopes
    )


def largest_margin(name: str, components: int | None, count: int, seed: int) -> Stationary:
    """The network of largest margin for digits, or for their principal components."""
    points, labels = digits(count, np.random.default_rng(seed))
    if components is not None:
        images = load_digits().data / 16
        points = PCA(components, random_state=0).fit(images).transform(points + images.mean(axis=0))
    network = maximise_margin(points, labels, rng=seed)
    slopes = {"1": network.clarke_weights}
    return Stationary(name, network.architecture, network.parameters, points, labels, network.multipliers, slopes)


def survey(dimension: int, seeds: int) -> str:
    """How many networks of largest margin for random data have other data as far away as the data's diameter."""
    far, everywhere, alone, networks, largest = 0, 0, 0, 0, 0.0
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        count, bias = int(rng.integers(4, 11)), bool(rng.integers(2))
        points, labels = rng.standard_normal((count, dimension)), rng.choice([-1.0, 1.0], count)
        try:
            found = maximise_margin(points, labels, bias=bias, rng=seed)
        except InputError:  # without bias on a line samples of both labels are on one ray
            continue
        slopes = {"1": found.clarke_weights}
        result = alternative_data(
            found.architecture, found.parameters, points, labels, found.multipliers, slopes=slopes, rng=seed
        )
        networks += 1
        alone += not result.found
        far += any(other.distances.hausdorff >= result.diameter for other in result.found)
        everywhere += any(other.distances.separation >= result.diameter for other in result.found)
        largest = max([largest, *(other.change for other in result.found)])
    return (
        f"{networks} networks for random samples of {dimension} entries: {alone} without other data, {far} with other data "
        f"a diameter away (Hausdorff), {everywhere} with all samples a diameter away; change {largest:.0e} at most"
    )


def lines(network: Stationary, result: Alternatives) -> list[dict[str, object]]:
    """The table of one network."""
    known = {
        "network": network.name,
        "samples": len(network.points),
        "entries": network.points.shape[1],
        "rank": network.points.shape[1] - len(result.invisible.directions),
        "residual": f"{result.residual:.1e}",
        "diameter": f"{result.diameter:.2f}",
    }
    rows: list[dict[str, object]] = [
        known
        | {
            "construction": other.name,
            "new_samples": len(other.points),
            "separation": f"{other.distances.separation:.2f}",
            "hausdorff": f"{other.distances.hausdorff:.2f}",
            "assignment": f"{other.distances.assignment:.2f}",
            "change": f"{other.change:.1e}",
            "margins": f"{np.max(np.abs(other.margins - other.margins_before)):.1e}",
            "fibre": other.fibre,
            "remark": other.claim,
        }
        for other in result.found
    ]
    return rows + [known | {"construction": name, "remark": reason} for name, reason in result.refused.items()]


def within_pixels(cells: ActivationCells, coefficients: Float, targets: Float, black: Float) -> CellMeasure:
    """The exchange nearest to targets of those with pixels in [0, 1], by Dykstra's alternating projections.

    The exchanges are an affine space, the pixels a box; `black` is the black image. The last projection is the one on
    the affine space, so that the pixels are in the box up to what convergence leaves.
    """
    shifts = invisible_shifts(cells, coefficients)
    across, along = (basis.T @ basis for basis in (shifts.exchanges, shifts.directions))
    point, rest = targets, np.zeros_like(targets)
    for _ in range(ROUNDS):
        near = cells.points + across @ (point - cells.points) @ along
        point = np.clip(near + rest, black, black + 1)
        rest = near + rest - point
    near = cells.points + across @ (point - cells.points) @ along
    return CellMeasure(near, coefficients, np.arange(len(near)))


def residual(cells: ActivationCells, measure: CellMeasure) -> float:
    """‖θ - Σ c ∇f‖ / ‖θ‖ with the slopes that the network has at the samples."""
    there, theta = cells.at(measure), cells.parameters.vector()
    image = there.embedding(there.measure(measure.coefficients))
    return float(np.linalg.norm(theta - image) / np.linalg.norm(theta))


def draw(network: Stationary, path: Path, seed: int) -> None:
    """Digits, other digits with the same parameters, and what the parameters hold of the digits."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    cells, coefficients = network.cells, network.coefficients
    shifts = invisible_shifts(cells, coefficients)
    targets, _ = digits(len(network.points), np.random.default_rng(seed + 1))
    exchanged = exchanged_toward(cells, coefficients, shifts, targets)
    pairs = paired_toward(cells, coefficients, shifts.directions, targets)
    count = len(network.points)
    held = cells.points - cells.points @ shifts.directions.T @ shifts.directions
    projected = CellMeasure(held, coefficients, np.arange(count))
    mean = load_digits().data.mean(axis=0) / 16
    boxed = within_pixels(cells, coefficients, targets, -mean)
    rank = network.points.shape[1] - len(shifts.directions)
    rows = (
        ("the data", cells.points, cells.measure(coefficients)),
        ("any other digits", targets, None),
        (f"moved toward them,\n{shifts.dimension} dimensions", exchanged.points, exchanged),
        ("the same with pixels\nkept in [0, 1]", boxed.points, boxed),
        ("pairs: one half …", pairs.points[:count], pairs),
        ("… the other half", pairs.points[count:], None),
        (f"what θ holds:\n{rank} of 64 dimensions", held, projected),
    )
    figure = Figure(figsize=(1.05 * SHOWN + 3.0, 1.12 * len(rows) + 0.7), dpi=130)
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(rows), SHOWN, squeeze=False)
    figure.subplots_adjust(left=0.225, right=0.99, top=0.91, bottom=0.01, wspace=0.06, hspace=0.1)
    for line, (title, points, measure) in zip(axes, rows, strict=True):
        lowest, highest = (round(float(end), 9) for end in (np.min(points + mean), np.max(points + mean)))
        note = f"\npixels {lowest:.2g} to {highest:.2g}"
        note += "" if measure is None else f", residual {residual(cells, measure):.0e}"
        line[0].text(-0.12, 0.5, title + note, transform=line[0].transAxes, ha="right", va="center", fontsize=8.5)
        for axis, point in zip(line, points, strict=False):
            axis.imshow((point + mean).reshape(8, 8), cmap="gray", vmin=0, vmax=1)
            axis.set_axis_off()
    figure.suptitle(f"{network.name}: {count} digits, and other data at which θ is as stationary", fontsize=11)
    figure.savefig(path)


def main() -> None:
    """Construct, measure, write and draw."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=Path())
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--surveyed", type=int, default=20, help="random data sets for each dimension")
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    seed, rows = arguments.seed, []
    with threadpool_limits(1):
        first = trained("two layers, weight decay", (50,), 1e-2, 20, seed)
        draw(first, arguments.folder / "other_data.png", seed)
        networks = [
            first,
            trained("two layers, largest margin by training", (50,), 0.0, 20, seed),
            trained("three layers, weight decay", (30, 20), 1e-2, 20, seed),
            largest_margin("two layers, exact largest margin", None, 12, seed),
            *(
                largest_margin(f"exact largest margin, {components} components", components, 12, seed)
                for components in (1, 2, 3, 5, 8)
            ),
        ]
        for network in networks:
            rows += lines(network, network.alternatives(seed))
    with (arguments.folder / "other_data.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    for row in rows:
        numbers = [
            f"{row.get(name, ''):>9}" for name in ("new_samples", "separation", "hausdorff", "change", "margins")
        ]
        remark = "" if row.get("fibre") else row["remark"]
        sys.stdout.write(f"{row['network']:<40} {row['construction']:<14}{' '.join(numbers)} {remark}\n")
    for dimension in SURVEYED:
        sys.stdout.write(survey(dimension, arguments.surveyed) + "\n")


if __name__ == "__main__":
    main()
