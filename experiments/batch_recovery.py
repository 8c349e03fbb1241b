"""How reliably batches come back from one gradient, how exactly, and with which share of proofs.

For every case: networks and batches are drawn anew for each seed, the gradient is computed, the method that supports it
recovers the batch, and the recovery is compared with the batch modulo the fibre that it names. A success is a batch of
which every sample is within a relative distance of 1e-9. Writes ``batch_recovery.csv`` and ``batch_recovery.png``. Run with

    python experiments/batch_recovery.py [FOLDER] [--cases WORD ...] [--seeds N] [--proofs N]

FOLDER is the current one by default; cases whose name contains one of the words are done, all by default. Proofs, made and
checked again by the independent checker, are asked for the first N seeds. Times are of the processor, of one thread.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from threadpoolctl import threadpool_limits

from provable.architectures import (
    GELU,
    Activation,
    Architecture,
    Erf,
    Layer,
    Linear,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.measures import Measure
from provable.networks import Parameters, forward, losses
from provable.observations import Observation
from provable.recovery import METHODS, Recovery
from provable.recovery.certification import certified

SUCCESS = 1e-9
SUM_OF_POWERS = Polynomial((0.0, 0.0, 1.0, 1.0))
COLUMNS = (
    "case",
    "seeds",
    "successes",
    "median_error",
    "worst_error",
    "certified",
    "asked",
    "method",
    "seconds_recovery",
    "seconds_certificate",
)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A batch, its coefficients, and the gradient that it leaves behind."""

    observation: Observation
    batch: Measure


def random_batch(
    widths: tuple[int, ...],
    activation: Activation,
    dimension: int,
    count: int,
    *,
    bias: bool = False,
    only: tuple[str, ...] = (),
) -> Callable[[int], Problem]:
    """Samples of norm 1, standard normal weights (deeper ones of variance 1 / fan-in), labels ±1, squared loss."""
    layers: list[Layer] = []
    for width in widths:
        layers += [Linear(width, bias=bias), activation]
    architecture = Architecture("network", (dimension,), (*layers, Linear(1, bias=False)), "squared")

    def make(seed: int) -> Problem:
        rng = np.random.default_rng(seed)
        parameters = Parameters.random(architecture, rng=rng, scale="standard_normal")
        scaled = {
            name: array / np.sqrt(array.shape[1]) if name.endswith("/weight") and name != "0/weight" else array
            for name, array in parameters.items()
        }
        points = rng.standard_normal((count, dimension))
        points /= np.linalg.norm(points, axis=1, keepdims=True)
        labels = rng.choice([-1.0, 1.0], count)
        return observed(architecture, Parameters(architecture, scaled), points, labels, only)

    return make


def digits(
    widths: tuple[int, ...], activation: Activation, count: int, *, twins: bool = False
) -> Callable[[int], Problem]:
    """Handwritten digits of mixed classes in [0, 1]⁶⁴, He weights, biases, cross-entropy over ten classes."""
    layers: list[Layer] = []
    for width in widths:
        layers += [Linear(width), activation]
    architecture = Architecture("network", (64,), (*layers, Linear(10)), "cross_entropy")
    data = load_digits()
    images, classes = data.data / 16.0, data.target

    def make(seed: int) -> Problem:
        rng = np.random.default_rng(seed)
        chosen = rng.choice(len(images), count, replace=False)
        if twins:  # the nearest neighbour of the first image takes the place of the second
            distances = np.linalg.norm(images - images[chosen[0]], axis=1)
            distances[chosen] = np.inf
            chosen[1] = np.argmin(distances)
        parameters = Parameters.random(architecture, rng=rng)
        return observed(architecture, parameters, images[chosen], classes[chosen], ())

    return make


def observed(
    architecture: Architecture, parameters: Parameters, points: np.ndarray, labels: np.ndarray, only: tuple[str, ...]
) -> Problem:
    observation = Observation.from_data(architecture, parameters, points, labels)
    if only:
        kept = {name: piece for name, piece in observation.vector.items() if name in only}
        observation = dataclasses.replace(observation, vector=kept)
    coefficients = losses.residual(architecture.loss, forward(architecture, parameters, points), labels)
    return Problem(observation, Measure(points, coefficients))


def cases() -> dict[str, Callable[[int], Problem]]:
    """All cases by name."""
    found: dict[str, Callable[[int], Problem]] = {}
    smooth = {"tanh": Tanh(), "erf": Erf(), "sigmoid": Sigmoid(), "GELU": GELU(), "x²+x³": SUM_OF_POWERS}
    for name, activation in smooth.items():
        for width in (40, 80, 160):
            found[f"{name}, d=784, B=10, m={width}"] = random_batch((width,), activation, 784, 10)
    for name, activation in {"softplus": Softplus(), "SiLU": SiLU()}.items():
        for width in (80, 160, 320):
            found[f"{name}, d=784, B=20, m={width}"] = random_batch((width,), activation, 784, 20)
    found["ReLU with biases, d=784, B=20, m=1000"] = random_batch((1000,), ReLU(), 784, 20, bias=True)
    for name, activation in {"tanh": Tanh(), "ReLU": ReLU(), "softplus": Softplus()}.items():
        found[f"{name}, two hidden layers, d=20, B=60"] = random_batch((400, 300), activation, 20, 60)
        found[f"{name}, two hidden layers, d=200, B=100"] = random_batch((1000, 400), activation, 200, 100)
    for count in (8, 16):
        found[f"digits, tanh, m=256, B={count}"] = digits((256,), Tanh(), count)
        found[f"digits with neighbours, tanh, m=256, B={count}"] = digits((256,), Tanh(), count, twins=True)
        found[f"digits with neighbours, softplus, m=256, B={count}"] = digits((256,), Softplus(), count, twins=True)
        found[f"digits with neighbours, ReLU, m=512, B={count}"] = digits((512,), ReLU(), count, twins=True)
    for name, activation in smooth.items():
        found[f"{name}, output layer alone, d=20, B=5, m=315"] = random_batch(
            (315,), activation, 20, 5, only=("2/weight",)
        )
    return found


def recover(observation: Observation, rng: np.random.Generator) -> Recovery:
    """What `provable.recover` does, without the proof."""
    best: Recovery | None = None
    for method in METHODS:
        if method.automatic and method.supports(observation) is None:
            result = method.recover(observation, rng)
            if result.status == "consistent":
                return result
            best = result if best is None or len(result.points) > len(best.points) else best
    if best is None:
        raise SystemExit("no method supports the observation")
    return best


def error(result: Recovery, batch: Measure) -> float:
    """Largest relative error of a sample modulo the fibre that the recovery names; infinite if one is missing."""
    symmetries = [word for word in result.fibre if word in ("joint-sign", "positive-scaling")]
    return result.measure.matching(batch, fibre=("permutation", *symmetries)).point_error


def run(name: str, make: Callable[[int], Problem], seeds: int, asked: int) -> dict[str, object]:
    """Do one case."""
    errors, proofs, times, proving = [], 0, [], []
    methods = set()
    for seed in range(seeds):
        problem = make(seed)
        start = time.process_time()
        result = recover(problem.observation, np.random.default_rng(seed))
        times.append(time.process_time() - start)
        errors.append(error(result, problem.batch))
        methods.add(result.method)
        if seed < asked:
            start = time.process_time()
            proofs += certified(problem.observation, result).status == "certified"
            proving.append(time.process_time() - start)
    return {
        "case": name,
        "seeds": seeds,
        "successes": sum(each <= SUCCESS for each in errors),
        "median_error": f"{np.median(errors):.1e}",
        "worst_error": f"{max(errors):.1e}",
        "certified": proofs,
        "asked": min(asked, seeds),
        "method": " ".join(sorted(methods)),
        "seconds_recovery": f"{np.median(times):.2f}",
        "seconds_certificate": f"{np.median(proving):.1f}" if proving else "",
    }


def draw(rows: list[dict[str, object]], path: Path) -> None:
    """Median and worst errors, case by case, with the bound of a success."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 0.3 * len(rows) + 1.5), dpi=130, layout="constrained")
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    for place, row in enumerate(reversed(rows)):
        middle, worst = (min(float(str(row[key])), 10.0) for key in ("median_error", "worst_error"))
        axis.plot([middle, worst], [place, place], color="0.6", lw=1.5, zorder=1)
        axis.plot(middle, place, "o", color="C0", ms=5)
        axis.plot(worst, place, "|", color="C3", ms=9)
        axis.text(12, place, f"{row['successes']}/{row['seeds']}", va="center", fontsize=8)
    axis.set_xscale("log")
    axis.set_xlim(1e-17, 200)
    axis.axvline(SUCCESS, color="C2", lw=1, ls="--")
    axis.set_yticks(range(len(rows)), [str(row["case"]) for row in reversed(rows)], fontsize=8)
    axis.set_xlabel(
        "relative error of the worst sample\nmedian (dot) and worst (bar); successes at the right", fontsize=8
    )
    axis.grid(axis="x", alpha=0.3)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", default=".", type=Path)
    parser.add_argument("--cases", nargs="+", default=[""])
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--proofs", type=int, default=10)
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    rows: list[dict[str, object]] = []
    for name, make in cases().items():
        if not any(word in name for word in chosen.cases):
            continue
        with threadpool_limits(1):
            rows.append(run(name, make, chosen.seeds, chosen.proofs))
        sys.stdout.write("  ".join(f"{rows[-1][key]}" for key in COLUMNS) + "\n")
        sys.stdout.flush()
        with (chosen.folder / "batch_recovery.csv").open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            writer.writerows(rows)
    draw(rows, chosen.folder / "batch_recovery.png")


if __name__ == "__main__":
    main()
