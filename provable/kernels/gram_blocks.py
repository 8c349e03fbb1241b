"""Gram matrices of many points: block by block, on all cores, with a peak of memory that is known beforehand."""

from __future__ import annotations

import os
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
from threadpoolctl import threadpool_info, threadpool_limits

from provable import arithmetic
from provable.errors import ArithmeticUnsupported, InputError
from provable.kernels.covariances import Covariance
from provable.kernels.gram_angles import Angles, Directions, Numbers, block_of_angles, directions
from provable.kernels.gram_piecewise_linear import ARRAYS, PiecewiseLinearRecursion
from provable.kernels.layer_recursion import Recursion
from provable.measures import as_numbers
from provable.memory import require_memory

SIDE = 256
"""Points on each side of a block: large enough for an efficient matrix product."""

STRIP = 64
"""Rows of a block that go through the layers together: their arrays stay in the cache."""

GENERAL_ARRAYS = 40
"""Arrays of the size of a strip that the recursion of any activation may hold at once."""

LEAST_PAIRS = 2**12
"""Number of pairs from which the blocks are faster than differences of all pairs (measured, for 2 to 784 inputs)."""


class LayeredKernel(Protocol):
    """What a kernel of a dense network tells of itself."""

    def recursion(self, points: Any) -> Recursion:
        """The constants of the layer recursion.

        Parameters
        ----------
        points : ndarray of shape (n, d)
            Points, which tell the number of inputs and the arithmetic.

        Returns
        -------
        Recursion
            What evaluates the kernel on covariances of inputs.
        """
        ...


def gram_memory(kernel: LayeredKernel, shape: tuple[int, int], dimension: int, threads: int | None = None) -> int:
    """Predict the memory that a kernel matrix takes.

    Parameters
    ----------
    kernel : DenseKernel
        The kernel.
    shape : tuple of int
        Numbers n and m of points.
    dimension : int
        Number of inputs d.
    threads : int, optional
        Default as many as BLAS has, which is the number of cores unless told otherwise.

    Returns
    -------
    int
        Bytes at the peak: the matrix, copies of the points and all working memory.
    """
    return _memory(kernel.recursion(np.zeros((1, dimension))), shape, dimension, _workers(threads))


def _memory(recursion: Recursion, shape: tuple[int, int], dimension: int, workers: int) -> int:
    piecewise = PiecewiseLinearRecursion.of(recursion) is not None
    # of each point: a copy, its unit and centred vectors, and vectors of every layer
    vectors = 3 * dimension + 8 + (4 * (recursion.depth + 1) if piecewise else 0)
    # of each worker: blocks of angles and of the result, masks and lists of pairs, and the arrays of a strip
    working = 8 * SIDE * SIDE + (ARRAYS if piecewise else GENERAL_ARRAYS) * STRIP * SIDE
    return 8 * (shape[0] * shape[1] + sum(shape) * vectors + workers * working)


def gram(
    kernel: LayeredKernel, X: Any, Z: Any = None, *, memory_limit: int | None = None, threads: int | None = None
) -> Numbers:
    """Evaluate a kernel at all pairs of many points.

    Parameters
    ----------
    kernel : DenseKernel
        The kernel.
    X : array_like of shape (n, d)
        Points, float64.
    Z : array_like of shape (m, d), optional
        Other points; default the same, which takes half the time.
    memory_limit : int, optional
        Bytes that the evaluation may take; default what is available.
    threads : int, optional
        Default as many as BLAS has, which is the number of cores unless told otherwise.

    Returns
    -------
    ndarray of shape (n, m)
        Kernel values, symmetric to the last bit if both sets are the same, and the same to the last bit for any number of
        threads. Their error is that of calling the kernel; k(x, x) comes from the recursion of the variances alone.

    Raises
    ------
    InputError
        If shapes do not fit, a number is not finite, a norm or the kernel is out of the range of float64, or a limit or
        number of threads is not a positive integer.
    ArithmeticUnsupported
        For other numbers than float64: call the kernel itself.
    UnsupportedError
        If the matrix would not fit into memory; the message says how much it needs.

    Notes
    -----
    The peak of memory is `gram_memory`. Blocks of 256 by 256 pairs are filled by all cores; BLAS has one thread meanwhile.
    """
    left = _points(X, "X")
    right = left if Z is None else _points(Z, "Z")
    if left.shape[1] != right.shape[1]:
        raise InputError(f"Z: found points of dimension {right.shape[1]}; {left.shape[1]} is accepted")
    recursion = kernel.recursion(left)
    for points, what in ((left, "X"), (right, "Z")):
        recursion.require_range(points, what)
    return matrix_of(recursion, left, right, memory_limit=memory_limit, threads=threads)


def matrix_of(
    recursion: Recursion,
    left: Numbers,
    right: Numbers,
    *,
    memory_limit: int | None = None,
    threads: int | None = None,
) -> Numbers:
    """Evaluate a kernel at all pairs of points that were validated.

    Parameters
    ----------
    recursion : Recursion
        The layers of the kernel.
    left : ndarray of shape (n, d)
        Points, finite and within the range of `Recursion.require_range`.
    right : ndarray of shape (m, d)
        Points; the matrix is symmetric if they are the same.
    memory_limit, threads : int, optional
        As for `gram`.

    Returns
    -------
    ndarray of shape (n, m)
        Kernel values, as `gram` describes them.

    Raises
    ------
    InputError
        If a limit or number of threads is not a positive integer, or the kernel leaves the range of float64.
    UnsupportedError
        If the matrix would not fit into memory.
    """
    shape, workers = (len(left), len(right)), _workers(threads)
    needed = _memory(recursion, shape, left.shape[1], workers)
    require_memory(f"a kernel matrix of shape {shape}", needed, memory_limit)
    symmetric = left is right or np.array_equal(left, right)
    result = np.empty(shape)
    if 0 in shape:
        return result
    left_points, right_points = directions(left) * 2 if symmetric else directions(left, right)
    with np.errstate(over="ignore", invalid="ignore"):  # what overflows is reported with the values
        evaluate, arrays = _evaluation(recursion, left_points, right_points)

    def fill(block: tuple[slice, slice], workspace: Numbers) -> None:
        rows, columns = block
        on_diagonal = symmetric and rows == columns
        near, far, values = _shaped(workspace, 3, rows, columns)
        angles = block_of_angles(left_points, right_points, rows, columns, near, far)
        for start in range(rows.start, rows.stop, STRIP):
            strip = slice(start, min(start + STRIP, rows.stop))
            inside = slice(strip.start - rows.start, strip.stop - rows.start)
            room = _shaped(workspace[3 * SIDE * SIDE :], arrays, strip, columns)
            with np.errstate(over="ignore", invalid="ignore"):
                evaluate(angles.strip(inside), strip, columns, room, values[inside])
        recursion.require_finite(values)
        if on_diagonal:
            np.copyto(values, values.T.copy(), where=np.tri(len(values), k=-1, dtype=np.bool_))
        result[rows, columns] = values
        if symmetric and not on_diagonal:
            result[columns, rows] = values.T

    _run(_blocks(shape, symmetric), fill, (3 * SIDE + arrays * STRIP) * SIDE, workers)
    return result


def _points(values: Any, what: str) -> Numbers:
    points = as_numbers(values, what)
    if points.ndim != 2 or points.shape[1] == 0:
        raise InputError(f"{what}: found shape {points.shape}; (n, d) with d at least 1 is accepted")
    if points.dtype == object:
        raise ArithmeticUnsupported(
            f"blocks of kernel matrices are made of float64 numbers; {what} has {arithmetic.kind(points)} numbers: call the "
            "kernel itself"
        )
    return points


def _workers(threads: int | None) -> int:
    if threads is None:
        # as many as BLAS would take, which minds environment variables and limits of the caller
        found = [library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"]
        return max(found, default=os.cpu_count() or 1)
    if isinstance(threads, bool) or not isinstance(threads, int) or threads < 1:
        raise InputError(f"threads: found {threads!r:.60}; a positive integer is accepted")
    return threads


def _blocks(shape: tuple[int, int], symmetric: bool) -> list[tuple[slice, slice]]:
    rows, columns = ([slice(start, min(start + SIDE, count)) for start in range(0, count, SIDE)] for count in shape)
    return [(row, column) for row in rows for column in columns if not symmetric or row.start <= column.start]


def _shaped(numbers: Numbers, count: int, rows: slice, columns: slice) -> Numbers:
    """Arrays of the shape of a block, contiguous however small it is."""
    height, width = rows.stop - rows.start, columns.stop - columns.start
    return numbers[: count * height * width].reshape(count, height, width)


_Evaluate = Callable[[Angles, slice, slice, Numbers, Numbers], None]


def _evaluation(recursion: Recursion, left: Directions, right: Directions) -> tuple[_Evaluate, int]:
    """How to evaluate the kernel on a strip, and how many arrays of its size that takes."""
    piecewise = PiecewiseLinearRecursion.of(recursion)
    zero = bool((left.squares == 0).any() or (right.squares == 0).any())
    # trained biases leave something of a point whose standard deviation, the unit of this recursion, is zero
    if piecewise and not (zero and recursion.bias_gain and not recursion.bias_variance):
        ours, theirs = piecewise.prepare(left.squares), piecewise.prepare(right.squares)

        def in_place(angles: Angles, rows: slice, columns: slice, room: Numbers, values: Numbers) -> None:
            piecewise.fill(angles, ours.part(rows), theirs.part(columns), room, values)

        return in_place, ARRAYS

    def general(angles: Angles, rows: slice, columns: slice, room: Numbers, values: Numbers) -> None:
        same = np.zeros(values.shape, dtype=np.bool_)
        same[angles.same] = True
        variances = left.squares[rows], right.squares[columns]
        values[...] = recursion.values(Covariance(*variances, 2 * angles.near, 2 * angles.far, same))

    return general, 0


def _run(
    blocks: list[tuple[slice, slice]],
    fill: Callable[[tuple[slice, slice], Numbers], None],
    numbers: int,
    workers: int,
) -> None:
    """Fill all blocks; each worker has its own arrays, and BLAS one thread, which gives the same bits for any number."""
    waiting: queue.SimpleQueue[tuple[slice, slice]] = queue.SimpleQueue()
    for block in blocks:
        waiting.put(block)

    def work() -> None:
        workspace = np.empty(numbers)
        while True:
            try:
                block = waiting.get_nowait()
            except queue.Empty:
                return
            fill(block, workspace)

    with threadpool_limits(limits=1, user_api="blas"):
        if min(workers, len(blocks)) == 1:
            work()
            return
        with ThreadPoolExecutor(min(workers, len(blocks))) as executor:
            for future in [executor.submit(work) for _ in range(min(workers, len(blocks)))]:
                future.result()
