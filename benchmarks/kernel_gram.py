"""A kernel matrix of many points: time, accuracy and memory beside neural-tangents and the matrix product alone.

Run it on a quiet machine: ``python benchmarks/kernel_gram.py --peer-environment FOLDER``. The folder gets an environment
of its own with neural-tangents and the last versions that it works with (printed below; they want Python 3.9 to 3.12, which
``--python`` names if this one is newer); if there is one already, it is used. Without the option only our side is measured.
Every side runs in a process of its own, warm and compiled, with the same number of threads, and they take turns; the seconds
are medians over the rounds. The script stops with an error if the package is not three times as fast as neural-tangents in
float64 and a million times as accurate on the diagonal. ``--small`` takes a quarter of the points, and claims no ratio.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import flint
import numpy as np

from provable.arithmetic import Arithmetic
from provable.kernels import gram_memory, ntk

PEER_REQUIREMENTS = ("neural-tangents==0.6.5", "jax==0.4.30", "jaxlib==0.4.30", "tf2jax==0.3.6", "numpy<2")
POINTS, DIMENSION, DEPTH = 4000, 784, 3
LEAST_RATIO, LEAST_GAIN = 3.0, 1e6
CLOSE, EXAMPLES = 1e-6, 24


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Contestant:
    """A process that evaluates the kernel matrix when it is told to."""

    def __init__(self, name: str, python: str, data: Path, threads: int) -> None:
        script = Path(__file__).with_name("kernel_gram_contestant.py")
        quiet = {"OPENBLAS_NUM_THREADS": str(threads), "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}
        self.name, self.times = name, []
        self.process = subprocess.Popen(
            [python, str(script), name, str(data), str(DEPTH)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL if name.startswith("float") else None,
            text=True,
            env={**os.environ, **quiet},
        )

    def tell(self, line: str) -> Any:
        """Send a command and read the answer."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.name}: the process ended with status {self.process.wait()}")
        return json.loads(answer)

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait()


def peer_python(folder: Path, python: str) -> str:
    """The interpreter of an environment with neural-tangents, which is made if there is none."""
    interpreter = folder / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    if not interpreter.exists():
        subprocess.run([python, "-m", "venv", str(folder)], check=True)
        subprocess.run([str(interpreter), "-m", "pip", "install", "--quiet", *PEER_REQUIREMENTS], check=True)
    return str(interpreter)


def points_and_pairs(count: int) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Gaussian points, some of which have a neighbour at distance 1e-6 times their norm, and pairs of three kinds."""
    rng = np.random.default_rng(0)
    points = rng.standard_normal((count, DIMENSION))
    first, second = np.arange(EXAMPLES), count - 1 - np.arange(EXAMPLES)
    steps = rng.standard_normal((EXAMPLES, DIMENSION))
    steps *= CLOSE * np.linalg.norm(points[first], axis=1, keepdims=True) / np.linalg.norm(steps, axis=1, keepdims=True)
    points[second] = points[first] + steps
    pairs = {
        "diagonal": np.stack([first, first]),
        "distance 1e-6": np.stack([first, second]),
        "others": np.stack([first, first + EXAMPLES]),
    }
    return points, pairs


def exact_values(points: np.ndarray, pairs: np.ndarray) -> list[tuple[flint.arb, flint.arb]]:
    """k(x, z) and √(k(x, x) k(z, z)) in balls of 200 bits."""
    kernel, balls, found = ntk(DEPTH, "relu"), Arithmetic("ball", bits=200), []
    with balls.working():
        for x, z in pairs.T:
            matrix = kernel(balls.convert(points[[x, z]]))
            found.append((matrix[0, 1] if x != z else matrix[0, 0], (matrix[0, 0] * matrix[1, 1]).sqrt()))
    return found


def largest_error(values: np.ndarray, exact: list[tuple[flint.arb, flint.arb]]) -> float:
    """The largest |value - k|/√(k(x, x) k(z, z))."""
    with Arithmetic("ball", bits=200).working():
        return max(float(abs(k - flint.arb(float(v))) / scale) for v, (k, scale) in zip(values, exact, strict=True))


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--peer-environment", type=Path, help="folder with neural-tangents, made if it is not there")
    parser.add_argument("--peer-python", help="or the interpreter of an environment that has it already")
    parser.add_argument("--python", default=sys.executable, help="interpreter that makes the environment")
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--small", action="store_true", help="a quarter of the points")
    options = parser.parse_args()
    peer = options.peer_python
    if options.peer_environment:
        peer = peer_python(options.peer_environment, options.python)
    if not peer:
        say("neural-tangents is left out: it needs an environment with " + ", ".join(PEER_REQUIREMENTS))
    count = POINTS // 4 if options.small else POINTS
    points, pairs = points_and_pairs(count)
    exact = {kind: exact_values(points, pair) for kind, pair in pairs.items()}
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "points.npz"
        rows, columns = np.concatenate(list(pairs.values()), axis=1)
        np.savez(data, points=points, rows=rows, columns=columns)
        sides = [("provable", sys.executable), ("product", sys.executable), ("symmetric product", sys.executable)]
        sides += [("float64", peer), ("float32", peer)] if peer else []
        contestants = [Contestant(name, python, data, options.threads) for name, python in sides]
        for one in contestants:
            one.tell("run")
        for _ in range(options.rounds):
            for one in contestants:
                one.times.append(one.tell("run"))
        ratio, gain = report(contestants, exact, Path(folder))
        for one in contestants:
            one.end()
    predicted = gram_memory(ntk(DEPTH, "relu"), (count, count), DIMENSION, options.threads)
    say(f"\nour memory, predicted: {predicted / 2**20:.0f} MiB")
    if gain < LEAST_GAIN or (ratio < LEAST_RATIO and not options.small):
        raise SystemExit(f"{ratio:.2f} times as fast, {gain:.1e} times as accurate: less than what is claimed")


NAMES = {
    "provable": "provable, float64",
    "product": "matrix product alone",
    "symmetric product": "the same, symmetric",
    "float64": "neural-tangents, float64",
    "float32": "neural-tangents, float32",
}


def report(contestants: list[Contestant], exact: dict[str, list[Any]], folder: Path) -> tuple[float, float]:
    """Both tables; how much faster the package is than neural-tangents in float64, and how much more accurate."""
    medians = {one.name: np.median(np.array(one.times), axis=0) for one in contestants}
    ours = medians["provable"]
    say(f"{'':26}{'s':>8}{'to ours':>9}{'processor s':>13}{'to ours':>9}{'resident MiB':>14}")
    for one in contestants:
        wall, processor = medians[one.name]
        say(
            f"{NAMES[one.name]:26}{wall:8.3f}{wall / ours[0]:9.2f}{processor:13.3f}{processor / ours[1]:9.2f}"
            f"{one.tell('memory') / 2**20:14.0f}"
        )
    say("\nlargest error, relative to √(k(x, x) k(z, z))" + "".join(f"{kind:>16}" for kind in exact))
    errors: dict[str, list[float]] = {}
    for one in contestants:
        if "product" in one.name:
            continue
        path = folder / f"{one.name}.npy"
        one.tell(f"keep {path}")
        parts = np.split(np.load(path), len(exact))
        errors[one.name] = [largest_error(part, exact[kind]) for part, kind in zip(parts, exact, strict=True)]
        say(f"{NAMES[one.name]:45}" + "".join(f"{error:16.1e}" for error in errors[one.name]))
    if "float64" not in errors:
        return float("inf"), float("inf")
    return medians["float64"][0] / ours[0], errors["float64"][0] / max(errors["provable"][0], 2.0**-53)


if __name__ == "__main__":
    main()
