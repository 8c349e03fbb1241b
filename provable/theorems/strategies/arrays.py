"""Arrays for theorems: readable or spread numbers, matrices of known condition, points on spheres."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st

from provable.arithmetic import Float


def seeds() -> st.SearchStrategy[int]:
    """Seeds for `numpy.random.default_rng`.

    Returns
    -------
    SearchStrategy of int
        Integers in [0, 2**32).
    """
    return st.integers(min_value=0, max_value=2**32 - 1)


def _table(nonzero: bool) -> Float:
    """Readable numbers by byte: the simpler, the smaller the byte and the more bytes stand for it."""
    weights = {0.0: 0 if nonzero else 40, 1.0: 40, -1.0: 40, 2.0: 24, -2.0: 24, 0.5: 12, -0.5: 12, 3.0: 12, -3.0: 12}
    numbers = [value for value, weight in weights.items() for _ in range(weight)]
    quarters = [sign * n / 4 for n in range(1, 13) for sign in (1, -1)]
    return np.array((numbers + quarters * 12)[:256])


_READABLE, _READABLE_NONZERO = _table(False), _table(True)
_BLOCK = 64


@st.composite
def readable_arrays(draw: st.DrawFn, shape: tuple[int, ...], *, nonzero: bool = False) -> Float:
    """Arrays of small multiples of 1/4 in [-3, 3] (up to 6 in repeated rows), drawn entry by entry.

    One byte string of a length that is a multiple of 64 holds all entries: that is one choice for Hypothesis, cheap to draw,
    and an instance that shrinks to smaller arrays keeps the entries that it had. Entries drawn one by one almost never lie on
    a thin set, where many theorems are sharp, so some draws are put there: in one of four, rows of an array with two or
    more axes are multiples of earlier rows; in one of sixteen each, all entries have one magnitude, are copies of the first
    two, or vanish but for one.

    Parameters
    ----------
    shape : tuple of int
        Shape; () gives an array without axes.
    nonzero : bool, optional
        Leave out zeros.

    Returns
    -------
    ndarray of float64
        The array; it shrinks toward zeros (or ones).
    """
    size = int(np.prod(shape, dtype=np.int64))
    length = _BLOCK * max(1, -(-size // _BLOCK))
    drawn = np.frombuffer(draw(st.binary(min_size=length + 8, max_size=length + 8)), dtype=np.uint8)
    array = (_READABLE_NONZERO if nonzero else _READABLE)[drawn[:size]].reshape(shape)
    mode, *picks = (int(byte) for byte in drawn[length:])
    if mode >= 192 and len(shape) >= 2:
        _repeat_rows(array, picks)
    elif 144 <= mode < 192 and size >= 2:
        flat = array.reshape(-1)
        if mode < 160:
            flat[:] = np.where(flat < 0, -1.0, 1.0) * (abs(flat[0]) or 1.0)
        elif mode < 176:
            flat[2:] = flat[drawn[2:size] % 2]
        elif not nonzero:
            flat[np.arange(size) != picks[0] % size] = 0.0
    return array + 0.0  # turns -0.0 into 0.0


def _repeat_rows(array: Float, picks: list[int]) -> None:
    """Replace some rows by multiples of earlier ones: entries drawn one by one are almost never dependent."""
    factors = (1.0, -1.0, 1.0, -1.0, 2.0, -0.5)
    for row in range(1, len(array)):
        pick = picks[(row - 1) % len(picks)]
        if pick % 2:
            array[row] = factors[pick // 2 % len(factors)] * array[pick // 16 % row]


def readable_numbers(*, nonzero: bool = False) -> st.SearchStrategy[float]:
    """Single small multiples of 1/4.

    Parameters
    ----------
    nonzero : bool, optional
        Leave out zero.

    Returns
    -------
    SearchStrategy of float
        Numbers in [-3, 3].
    """
    return st.sampled_from([*dict.fromkeys((_READABLE_NONZERO if nonzero else _READABLE).tolist())])


@st.composite
def gaussian_arrays(draw: st.DrawFn, shape: tuple[int, ...], *, scale: float = 1.0) -> Float:
    """Arrays of independent normal numbers, from a seed.

    Parameters
    ----------
    shape : tuple of int
        Shape.
    scale : float, optional
        Standard deviation.

    Returns
    -------
    ndarray of float64
        The array.
    """
    generator = np.random.default_rng(draw(seeds()))
    return scale * generator.standard_normal(shape)


def arrays(shape: tuple[int, ...], *, nonzero: bool = False) -> st.SearchStrategy[Float]:
    """Readable or Gaussian arrays.

    Parameters
    ----------
    shape : tuple of int
        Shape.
    nonzero : bool, optional
        Leave out zeros.

    Returns
    -------
    SearchStrategy of ndarray of float64
        The arrays.
    """
    return st.one_of(readable_arrays(shape, nonzero=nonzero), gaussian_arrays(shape))


@st.composite
def conditioned_matrices(
    draw: st.DrawFn, rows: int, columns: int, *, max_log10_condition: float = 8.0, rank: int | None = None
) -> Float:
    """Matrices with a drawn condition number: U·diag(s)·Vᵀ with geometrically spaced singular values from 1 down to 1/κ.

    Parameters
    ----------
    rows, columns : int
        Shape; either may be zero.
    max_log10_condition : float, optional
        log₁₀ κ is drawn between 0 and this.
    rank : int, optional
        Number of nonzero singular values; default: full rank.

    Returns
    -------
    ndarray of float64, shape (rows, columns)
        The matrix.
    """
    full = min(rows, columns)
    kept = full if rank is None else min(rank, full)
    logarithm = draw(st.floats(0.0, max_log10_condition))
    generator = np.random.default_rng(draw(seeds()))
    if full == 0:
        return np.zeros((rows, columns))
    left = np.linalg.qr(generator.standard_normal((rows, full)))[0]
    right = np.linalg.qr(generator.standard_normal((columns, full)))[0]
    singular = np.zeros(full)
    singular[:kept] = 10.0 ** -np.linspace(0.0, logarithm, kept) if kept > 1 else 1.0
    matrix: Float = (left * singular) @ right.T
    return matrix


def matrices(rows: int, columns: int, *, max_log10_condition: float = 8.0) -> st.SearchStrategy[Float]:
    """Readable matrices (often rank-deficient) or conditioned ones (never, but as nearly as allowed).

    Parameters
    ----------
    rows, columns : int
        Shape.
    max_log10_condition : float, optional
        Of the conditioned ones.

    Returns
    -------
    SearchStrategy of ndarray of float64
        The matrices.
    """
    return st.one_of(
        readable_arrays((rows, columns)),
        conditioned_matrices(rows, columns, max_log10_condition=max_log10_condition),
    )


@st.composite
def sphere_points(draw: st.DrawFn, count: int, dimension: int, *, min_log10_separation: float = -6.0) -> Float:
    """Unit vectors; some draws hold a pair at a small, drawn distance from one another or from antipodes.

    Parameters
    ----------
    count : int
        Number of points.
    dimension : int
        Dimension of the space, at least 2.
    min_log10_separation : float, optional
        The close pair's distance is at least ten to this power (up to rounding); all other pairs are as random points are.

    Returns
    -------
    ndarray of float64, shape (count, dimension)
        The points, with norm 1 up to rounding.
    """
    generator = np.random.default_rng(draw(seeds()))
    points = generator.standard_normal((count, dimension))
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    kind = draw(st.sampled_from(("apart", "close pair", "nearly antipodal pair")))
    if count >= 2 and kind != "apart":
        gap = 10.0 ** draw(st.floats(min_log10_separation, -1.0))
        tangent = points[1] - (points[1] @ points[0]) * points[0]
        tangent /= np.linalg.norm(tangent)
        neighbour = np.cos(gap) * points[0] + np.sin(gap) * tangent
        points[1] = neighbour if kind == "close pair" else -neighbour
    return points


@st.composite
def readable_directions(draw: st.DrawFn, count: int, dimension: int) -> Float:
    """Nonzero readable vectors; parallel, antipodal and equal ones occur.

    Parameters
    ----------
    count, dimension : int
        Shape.

    Returns
    -------
    ndarray of float64, shape (count, dimension)
        The vectors.
    """
    vectors = draw(readable_arrays((count, dimension)))
    for row in vectors:
        if not row.any():
            row[draw(st.integers(0, dimension - 1))] = 1.0
    return vectors
