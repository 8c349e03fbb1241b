"""What attacks on the parameters of a trained network find by the published measure, beside chance and an equation count.

N digits (per-pixel mean subtracted, labels ±1 for odd and even) behind one hidden layer of ReLUs with a first-layer bias:
trained to stationary points with weight decay and without, and, after projection to few principal components, the exact
network of largest margin. Compared are the attack of Haim et al. as released (``haim2022``, the run of a sweep with the least
loss), the same with the candidates of all runs pooled, which is what was published and takes the training data to choose
from them, and ``univariate`` or ``clarke-matching`` of this project. The measure counts training images whose most correlated
candidate is structurally similar to more than 0.4 after both are rescaled to [0, 1]. Beside it: the same for images that were
not trained on, and for other digits and noise in the place of the candidates. Writes ``trained_networks.csv``, all sorted
numbers to ``trained_networks.json``, the sorted similarities to ``trained_networks.png`` and the nearest pairs to
``trained_networks_pairs.png``. Run with

    python experiments/trained_networks.py [FOLDER] [--full] [--samples 20] [--width 200] [--steps 3000] [--runs 8]

The defaults take a few minutes of one core; ``--full`` has the released number of steps, 40 runs and further cases, and takes
hours.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import multiprocessing
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from provable.architectures import Architecture, Linear, ReLU
from provable.max_margin import maximise_margin
from provable.observations import Observation
from provable.recovery import METHODS, Recovery
from provable.recovery.method import Method
from provable.recovery.stationary_point import haim2022
from provable.recovery.stationary_point.equation_count import count_equations
from provable.recovery.stationary_point.momentum_sweep import RELEASED_STEPS, Settings, relative_loss
from provable.recovery.stationary_point.nearest_candidates import Comparison, compare
from provable.training import small_first_layer, train_to_stationarity

NEAR = 0.1
"""A candidate within this share of the mean norm of the training samples is near, by Euclidean distance one to one."""

IMPROVED = ("univariate", "clarke-matching")
"""What this project has for stationary points of two layers; the first that applies is taken."""

LIMIT = 120
"""Seconds that such a method may take: its linear programs grow with the number of distinct neurons."""

COLUMNS = (
    "network",
    "samples",
    "support",
    "distinct_neurons",
    "determined_at_most",
    "verdict",
    "attack",
    "candidates",
    "loss",
    "loss_at_truth",
    "loss_at_truth_clarke",
    "recovered",
    "control",
    "other_digits",
    "noise",
    "advantage",
    "near",
    "near_control",
    "status",
    "seconds",
)


@dataclasses.dataclass(frozen=True)
class Victim:
    """A trained network, what it was trained on, and digits that it was not trained on, in its own coordinates."""

    name: str
    observation: Observation
    points: np.ndarray
    coefficients: np.ndarray
    clarke_loss: float  # ‖θ - Σ c ∇f‖² / ‖θ‖² with Clarke's slopes
    held_out: np.ndarray
    basis: np.ndarray  # rows: principal components, or the identity
    mean: np.ndarray

    def images(self, points: np.ndarray) -> np.ndarray:
        """Points as images of 8 by 8, without the mean."""
        return (points.reshape(len(points), -1) @ self.basis).reshape(-1, 8, 8)


@dataclasses.dataclass(frozen=True)
class Found:
    """What an attack found."""

    attack: str
    points: np.ndarray
    loss: float
    loss_at_truth: float
    status: str
    seconds: float


def digits(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Draw training images of both classes in equal number; give all others, shuffled, and the training images' mean."""
    from sklearn.datasets import load_digits

    data, rng = load_digits(), np.random.default_rng([seed, samples])
    odd = rng.permutation(np.flatnonzero(data.target % 2 == 1))
    even = rng.permutation(np.flatnonzero(data.target % 2 == 0))
    half = samples // 2
    chosen, rest = np.concatenate([odd[:half], even[:half]]), rng.permutation(np.concatenate([odd[half:], even[half:]]))
    mean = data.data[chosen].mean(axis=0) / 16
    labels = np.where(data.target[chosen] % 2 == 1, 1.0, -1.0)
    return data.data[chosen] / 16 - mean, labels, data.data[rest] / 16 - mean, mean


def trained(samples: int, width: int, weight_decay: float, seed: int) -> Victim:
    """Train to a stationary point."""
    points, labels, others, mean = digits(samples, seed)
    network = Architecture("digits", (64,), (Linear(width, True), ReLU(), Linear(1, False)), "logistic")
    start = small_first_layer(network, rng=seed)
    # Directions converge slowly: without decay the finish needs a longer descent.
    steps = 20_000 if weight_decay else 60_000
    result = train_to_stationarity(network, start, points, labels, weight_decay=weight_decay, steps=steps)
    decay = f"weight decay {weight_decay:g}" if weight_decay else "no weight decay"
    name = f"{decay}, m={width}, N={samples}" + ("" if result.finished else ", unfinished")
    return Victim(
        name, result.observation(), points, result.coefficients[:, 0], result.residual**2, others, np.eye(64), mean
    )


def largest_margin(samples: int, dimension: int, seed: int) -> Victim:
    """Project to principal components, and find the network of largest margin there."""
    points, labels, others, mean = digits(samples, seed)
    basis = np.linalg.svd(points, full_matrices=False)[2][:dimension]
    result = maximise_margin(points @ basis.T, labels, rng=seed)
    observation = Observation("stationary-point", result.parameters.architecture, result.parameters, batch_size=samples)
    name = f"largest margin, d={dimension}, N={samples}"
    coefficients = result.multipliers * labels
    return Victim(
        name,
        observation,
        points @ basis.T,
        coefficients,
        result.residual.stationarity**2,
        others @ basis.T,
        basis,
        mean,
    )


def attacks(victim: Victim, settings: Settings, seed: int) -> list[Found]:
    """Run all attacks; none is told more than the observation."""
    began = time.process_time()
    runs = haim2022.sweep(victim.observation, np.random.default_rng(seed), settings)
    seconds, best = time.process_time() - began, runs[0]
    finite = [run for run in runs if np.isfinite(run.loss)]
    at_truth = relative_loss(victim.observation, victim.points, victim.coefficients, sharpness=best.choice.sharpness)
    pooled = np.concatenate([run.points for run in finite])
    found = [
        Found("haim2022", best.points, best.loss, at_truth, "failed", seconds),
        Found("haim2022, pooled", pooled, best.loss, at_truth, "failed", seconds),
    ]
    hard = relative_loss(victim.observation, victim.points, victim.coefficients)
    fitting = [method for method in METHODS if method.name in IMPROVED and method.supports(victim.observation) is None]
    for method in fitting[:1]:
        began = time.perf_counter()
        result = within_limit(method, victim.observation, seed)
        seconds = time.perf_counter() - began
        if result is None:
            found.append(Found(method.name, victim.points[:0], np.nan, hard, f"stopped after {LIMIT} s", seconds))
            continue
        status = f"{result.status}, undetermined" if "undetermined" in result.reason else result.status
        found.append(Found(method.name, result.points, result.residual**2, hard, status, seconds))
    return found


def within_limit(method: Method, observation: Observation, seed: int) -> Recovery | None:
    """Run a method in a process of its own; None if it takes too long."""
    context = multiprocessing.get_context("fork")
    receiver, sender = context.Pipe(duplex=False)

    def work() -> None:
        sender.send(method.recover(observation, np.random.default_rng(seed)))

    process = context.Process(target=work)
    process.start()
    result: Recovery | None = receiver.recv() if receiver.poll(LIMIT) else None
    process.terminate()
    process.join()
    return result


def measured(victim: Victim, found: Found, seed: int) -> Comparison | None:
    """Compare as published; None without candidates."""
    if not len(found.points):
        return None
    count = len(victim.points) + len(found.points)
    held_out = victim.held_out[np.arange(count) % len(victim.held_out)]  # pooled candidates may outnumber the digits
    return compare(
        victim.images(found.points),
        victim.images(victim.points),
        victim.images(held_out),
        mean=victim.mean.reshape(8, 8),
        loss=found.loss,
        loss_at_truth=found.loss_at_truth,
        rng=seed,
    )


def row(victim: Victim, found: Found, result: Comparison | None) -> dict[str, str]:
    """The numbers of one attack on one network."""
    equations = count_equations(victim.observation)
    support = np.count_nonzero(np.abs(victim.coefficients) > 1e-9 * np.abs(victim.coefficients).max())
    values = {
        "network": victim.name,
        "samples": len(victim.points),
        "support": support,
        "distinct_neurons": equations.distinct[0],
        "determined_at_most": equations.largest,
        "verdict": equations.verdict,
        "attack": found.attack,
        "candidates": len(found.points),
        "loss": f"{found.loss:.1e}",
        "loss_at_truth": f"{found.loss_at_truth:.1e}",
        "loss_at_truth_clarke": f"{victim.clarke_loss:.1e}",
        "status": found.status,
        "seconds": f"{found.seconds:.0f}",
    }
    if result is not None:
        radius = NEAR * result.distances.norm
        values |= {
            "recovered": result.training.recovered,
            "control": result.held_out.recovered,
            "other_digits": result.other_images.recovered,
            "noise": result.noise.recovered,
            "advantage": f"{result.advantage:.2f}",
            "near": result.distances.within(radius),
            "near_control": int(np.count_nonzero(result.distances.held_out <= radius)),
        }
    return {name: str(values.get(name, "")) for name in COLUMNS}


def sorted_numbers(result: Comparison) -> dict[str, object]:
    """Everything that is drawn, the best first."""
    numbers: dict[str, object] = {}
    for name in ("training", "held_out", "other_images", "noise"):
        one = getattr(result, name)
        numbers[name] = {
            "similarities": np.sort(one.similarities)[::-1].tolist(),
            "correlations": np.sort(one.correlations)[::-1].tolist(),
        }
    return numbers | {"distances": json.loads(result.distances.to_json())}


def draw_curves(results: list[tuple[Victim, Found, Comparison]], path: Path) -> None:
    """Sorted similarities, a panel for each network and attack."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    names = list(dict.fromkeys(victim.name for victim, _, _ in results))
    columns = {"haim2022": 0, "haim2022, pooled": 1}  # this project's methods share the third
    figure = Figure(figsize=(3.4 * 3, 2.6 * len(names) + 0.6), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(len(names), 3, squeeze=False, sharey=True)
    for axis in axes.flat:
        axis.set_visible(False)
    for victim, found, result in results:
        axis = axes[names.index(victim.name)][columns.get(found.attack, 2)]
        axis.set_visible(True)
        places = np.arange(1, len(victim.points) + 1)
        for label, one, style in (
            ("training images", result.training, "C0o-"),
            ("images not trained on", result.held_out, "C1s--"),
            ("other digits as candidates", result.other_images, "C2-."),
            ("noise as candidates", result.noise, "C7:"),
        ):
            axis.plot(places, np.sort(one.similarities)[::-1], style, markersize=3, linewidth=1.2, label=label)
        axis.axhline(0.4, color="black", linewidth=0.6)
        axis.set_title(f"{found.attack}\n{victim.name}", fontsize=8)
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
        axis.set_xlabel("image, best first", fontsize=8)
        axis.set_ylabel("structural similarity", fontsize=8)
        axis.tick_params(labelsize=7)
    first = next(axis for axis in axes.flat if axis.get_visible())
    figure.legend(*first.get_legend_handles_labels(), loc="outside lower center", ncols=4, fontsize=8)
    figure.savefig(path)


def draw_pairs(results: list[tuple[Victim, Found, Comparison]], path: Path, columns: int = 10) -> None:
    """For each network and attack the training images with the most similar candidates, and these below."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(0.8 * columns + 0.4, 1.95 * len(results)), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    for part, (victim, found, result) in zip(np.atleast_1d(figure.subfigures(len(results), 1)), results, strict=True):
        part.suptitle(f"{found.attack}: {victim.name}", fontsize=8)
        axes = part.subplots(2, columns, squeeze=False)
        for axis in axes.flat:
            axis.set_axis_off()
        truth, candidates = victim.images(victim.points), victim.images(found.points)
        order = np.argsort(-result.training.similarities)[:columns]
        for axis, place in zip(axes[0], order, strict=False):
            axis.imshow(truth[place] + victim.mean.reshape(8, 8), cmap="gray")
        for axis, place in zip(axes[1], order, strict=False):
            axis.imshow(candidates[result.training.indices[place]] + victim.mean.reshape(8, 8), cmap="gray")
            axis.set_title(f"{result.training.similarities[place]:.2f}", fontsize=7, pad=1)
    figure.savefig(path)


def cases(chosen: argparse.Namespace) -> list[tuple[str, float, int, int]]:
    """Kind of network, weight decay or dimension, samples and width."""
    samples, width = chosen.samples, chosen.width
    listed = [("trained", 1e-2, few, width) for few in (2, 4)]
    listed += [("trained", decay, samples, width) for decay in (1e-2, 1e-3, 0.0)]
    listed += [("largest margin", float(dimension), 6, 0) for dimension in (1, 2)]
    if chosen.full:
        listed += [("trained", decay, 100, 1000) for decay in (1e-2, 1e-3)]
        listed += [("largest margin", float(dimension), 10, 0) for dimension in (1, 2, 3)]
    return list(dict.fromkeys(listed))  # few samples are asked for twice otherwise


def main(words: list[str]) -> None:
    """Run all cases and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("trained_networks"), help="where results go")
    parser.add_argument("--full", action="store_true", help="the released number of steps, 40 runs and further cases")
    parser.add_argument("--samples", type=int, default=20)
    parser.add_argument("--width", type=int, default=200)
    parser.add_argument("--steps", type=int, default=None, help="of each run of the released attack (default 3000)")
    parser.add_argument("--runs", type=int, default=None, help="of its sweep (default 8)")
    parser.add_argument("--seed", type=int, default=0)
    chosen = parser.parse_args(words)
    if chosen.samples < 2 or chosen.samples % 2:
        parser.error(f"--samples: found {chosen.samples}; an even number is accepted, half of each class")
    settings = Settings(
        steps=chosen.steps or (RELEASED_STEPS if chosen.full else 3000), runs=chosen.runs or (40 if chosen.full else 8)
    )
    chosen.folder.mkdir(parents=True, exist_ok=True)
    results: list[tuple[Victim, Found, Comparison]] = []
    document: list[dict[str, object]] = []
    with threadpool_limits(1), (chosen.folder / "trained_networks.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for kind, number, samples, width in cases(chosen):
            victim = (
                trained(samples, width, number, chosen.seed)
                if kind == "trained"
                else largest_margin(samples, int(number), chosen.seed)
            )
            for found in attacks(victim, settings, chosen.seed):
                result = measured(victim, found, chosen.seed)
                line = row(victim, found, result)
                writer.writerow(line)
                file.flush()
                sys.stdout.write("  ".join(f"{name}={value}" for name, value in line.items() if value) + "\n")
                sys.stdout.flush()
                numbers = {} if result is None else sorted_numbers(result)
                document.append({**line, "numbers": numbers})
                if result is not None:
                    results.append((victim, found, result))
    (chosen.folder / "trained_networks.json").write_text(json.dumps(document, indent=1, allow_nan=False))
    draw_curves(results, chosen.folder / "trained_networks.png")
    draw_pairs(results, chosen.folder / "trained_networks_pairs.png")


if __name__ == "__main__":
    main(sys.argv[1:])
