"""One side of the comparison in ``kernel_gram.py``, in a process and an environment of its own.

It is started with the name of what to time, the file of the points and the number of hidden layers, and then answers lines
on standard input: ``run`` evaluates the kernel matrix once more and answers with the seconds that took, ``keep FILE`` writes
the entries that the file of the points asks for, ``memory`` answers with the largest resident memory so far in bytes.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable

import numpy as np


def provable_kernel(points: np.ndarray, depth: int) -> Callable[[], np.ndarray]:
    """The package's own kernel."""
    from provable.kernels import gram, ntk

    kernel = ntk(depth, "relu")
    return lambda: gram(kernel, points)


def neural_tangents_kernel(points: np.ndarray, depth: int, name: str) -> Callable[[], np.ndarray]:
    """The kernel of neural-tangents, compiled, on the processor."""
    import jax

    jax.config.update("jax_platforms", "cpu")
    jax.config.update("jax_enable_x64", name == "float64")
    from neural_tangents import stax

    # one hidden unit stands for infinitely many
    hidden = [layer for _ in range(depth) for layer in (stax.Dense(1, W_std=2**0.5), stax.Relu())]
    kernel = stax.serial(*hidden, stax.Dense(1, W_std=2**0.5))[2]
    evaluate = jax.jit(lambda x: kernel(x, None, "ntk"))
    x = jax.numpy.asarray(points, dtype=name)
    return lambda: evaluate(x).block_until_ready()


def matrix_product(points: np.ndarray, symmetric: bool) -> Callable[[], np.ndarray]:
    """The matrix product alone: of two arrays, or of one with itself, for which NumPy takes half the operations."""
    others = points if symmetric else points.copy()
    return lambda: points @ others.T


def main() -> None:
    """Answer the lines on standard input."""
    name, file, depth = sys.argv[1], np.load(sys.argv[2]), int(sys.argv[3])
    points = file["points"]
    if name == "provable":
        evaluate = provable_kernel(points, depth)
    elif name in ("float32", "float64"):
        evaluate = neural_tangents_kernel(points, depth, name)
    else:
        evaluate = matrix_product(points, name == "symmetric product")
    values = evaluate()  # compiled and warm
    for line in sys.stdin:
        command, _, path = line.rstrip("\n").partition(" ")
        answer: object = None
        if command == "run":
            del values
            wall, processor = time.perf_counter(), time.process_time()
            values = evaluate()
            answer = (time.perf_counter() - wall, time.process_time() - processor)
        elif command == "keep":
            np.save(path, np.asarray(values, dtype=np.float64)[file["rows"], file["columns"]])
        elif command == "memory":
            answer = 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        sys.stdout.write(json.dumps(answer) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
