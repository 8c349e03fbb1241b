"""How many training samples come back from values of the trained function alone, without a single parameter.

N random digits (pixels over 16 minus their mean, labels ±1 for odd and even) interpolated by the kernel of an infinitely wide
network; `provable.recovery.recover_from_function` asks for values of the trained function and is told the kernel, and nothing
else: neither N nor where the samples may lie. Writes a line per run to ``trained_function.csv`` and a picture of the worst
run with all samples of one kernel, truth, recovery and error, to ``trained_function.png``. Run with

    python experiments/trained_function.py [FOLDER] [--samples 20 100] [--seeds 3]

The defaults take about a quarter of an hour of one core.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
from threadpoolctl import threadpool_limits

from provable.cli.picture import draw
from provable.cli.truth import Truth
from provable.kernels import DenseKernel, nngp, ntk
from provable.measures import Measure
from provable.recovery import FunctionRecovery, Recovery, recover_from_function

KERNELS: dict[str, DenseKernel] = {
    "ReLU, 1 hidden layer": ntk(1, "relu", bias_variance=0.5),
    "ReLU, 3 hidden layers": ntk(3, "relu", bias_variance=0.5),
    "ReLU, 1 hidden layer, Gaussian process": nngp(1, "relu", bias_variance=0.5),
    "erf, 1 hidden layer": ntk(1, "erf", bias_variance=0.5),
    "erf, 2 hidden layers": ntk(2, "erf", bias_variance=0.5),
}
"""With random biases: then norms and signs are identified as well."""

NEAR = 1e-3
COLUMNS = (
    "kernel",
    "samples",
    "seed",
    "status",
    "found",
    "within",
    "median",
    "largest",
    "decided",
    "evaluations",
    "seconds",
)


def digits(samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Draw digits without replacement, and their labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    chosen = np.random.default_rng(seed).choice(len(data.data), samples, replace=False)
    points = data.data[chosen] / 16
    return points - points.mean(), np.where(data.target[chosen] % 2 == 1, 1.0, -1.0)


def run(name: str, samples: int, seed: int) -> tuple[dict[str, str], np.ndarray, np.ndarray, FunctionRecovery]:
    """Train in the kernel, recover from values of the function, and compare one to one."""
    kernel = KERNELS[name]
    points, labels = digits(samples, seed)
    gram = kernel(points)
    coefficients = np.linalg.solve(gram, labels)
    started = time.process_time()
    found = recover_from_function(
        lambda inputs: kernel(inputs, points) @ coefficients,
        kernel,
        points.shape[1],
        squared_norm=float(labels @ coefficients),
        rng=seed,
    )
    seconds = time.process_time() - started
    distances = np.full(samples, np.inf)
    if found.measure.size:
        matching = found.measure.matching(Measure(points, coefficients))
        distances = matching.errors * np.linalg.norm(points, axis=1)
    row = {
        "kernel": name,
        "samples": str(samples),
        "seed": str(seed),
        "status": found.status,
        "found": str(found.measure.size),
        "within": str(np.count_nonzero(distances <= NEAR)),
        "median": f"{np.median(distances):.1e}",
        "largest": f"{np.max(distances):.1e}",
        "decided": str(np.count_nonzero(found.decided)),
        "evaluations": str(found.evaluations),
        "seconds": f"{seconds:.1f}",
    }
    return row, points, labels, found


def picture(points: np.ndarray, labels: np.ndarray, found: FunctionRecovery) -> bytes:
    """Draw truth, recovery and difference as `provable recover --image` does."""
    truth = Truth(Measure(points, np.zeros((len(points), 1))), labels)
    coefficients = found.measure.coefficients.reshape(-1, 1)
    return draw(
        Recovery(
            found.measure.points, coefficients, None, found.residual, "trained function", found.fibre, found.status
        ),
        truth,
    )


def main(words: list[str]) -> None:
    """Run all cases and write what came out."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", nargs="?", type=Path, default=Path("trained_function"), help="where results go")
    parser.add_argument("--samples", nargs="+", type=int, default=[20, 100])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--kernels", nargs="+", default=list(KERNELS), help="names among those of the table")
    chosen = parser.parse_args(words)
    for name in chosen.kernels:
        if name not in KERNELS:
            parser.error(f"--kernels: found {name!r}; {'; '.join(KERNELS)} are accepted")
    chosen.folder.mkdir(parents=True, exist_ok=True)
    worst: tuple[float, bytes] | None = None
    with (
        threadpool_limits(1),
        (chosen.folder / "trained_function.csv").open("w", newline="") as file,
    ):
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        for samples in chosen.samples:
            for name in chosen.kernels:
                for seed in range(chosen.seeds):
                    row, points, labels, found = run(name, samples, seed)
                    writer.writerow(row)
                    file.flush()
                    sys.stdout.write("  ".join(row.values()) + "\n")
                    sys.stdout.flush()
                    error = float(row["largest"])
                    if (
                        name == chosen.kernels[0]
                        and found.measure.size == samples
                        and (worst is None or error > worst[0])
                    ):
                        worst = error, picture(points, labels, found)
    if worst is not None:
        (chosen.folder / "trained_function.png").write_bytes(worst[1])


if __name__ == "__main__":
    main(sys.argv[1:])
