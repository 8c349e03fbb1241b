"""Windows of images: patches and their adjoint, on which convolution and pooling are built; any arithmetic."""

from __future__ import annotations

import numpy as np

from provable import arithmetic
from provable.architectures.fields import Pair
from provable.arithmetic import Array


def _padded(images: Array, padding: Pair) -> Array:
    if padding == (0, 0):
        return images
    n, channels, height, width = images.shape
    result = arithmetic.full((n, channels, height + 2 * padding[0], width + 2 * padding[1]), 0, images)
    result[:, :, padding[0] : padding[0] + height, padding[1] : padding[1] + width] = images
    return result


def patches(images: Array, kernel: Pair, stride: Pair, padding: Pair) -> Array:
    """Cut images into windows, zeros outside.

    Parameters
    ----------
    images : ndarray of shape (n, channels, height, width)
        Numbers of any arithmetic.
    kernel, stride, padding : tuple of two int
        Size of a window, steps between windows, zeros added on each side.

    Returns
    -------
    ndarray of shape (n, channels, kernel height, kernel width, rows, columns)
        Entry [i, c, a, b, r, s] is the padded image at row ``r * stride[0] + a`` and column ``s * stride[1] + b``.
    """
    views = np.lib.stride_tricks.sliding_window_view(_padded(images, padding), kernel, axis=(2, 3))
    return views[:, :, :: stride[0], :: stride[1]].transpose(0, 1, 4, 5, 2, 3)


def fold(windows: Array, extents: Pair, stride: Pair, padding: Pair) -> Array:
    """Add windows up into images: the transpose of `patches`.

    Parameters
    ----------
    windows : ndarray of shape (n, channels, kernel height, kernel width, rows, columns)
        Numbers of any arithmetic.
    extents : tuple of two int
        Height and width of the images.
    stride, padding : tuple of two int
        As for `patches`.

    Returns
    -------
    ndarray of shape (n, channels, height, width)
        The sums; what falls on padding is dropped.
    """
    n, channels, tall, wide, rows, columns = windows.shape
    padded = (extents[0] + 2 * padding[0], extents[1] + 2 * padding[1])
    result = arithmetic.full((n, channels, *padded), 0, windows).astype(windows.dtype, copy=False)
    for a in range(tall):
        for b in range(wide):
            place = np.s_[:, :, a : a + rows * stride[0] : stride[0], b : b + columns * stride[1] : stride[1]]
            result[place] += windows[:, :, a, b]
    return result[:, :, padding[0] : padding[0] + extents[0], padding[1] : padding[1] + extents[1]]


def first_maxima(images: Array, kernel: Pair, stride: Pair, padding: Pair) -> tuple[Array, Array]:
    """Find the maximum of every window.

    Parameters
    ----------
    images : ndarray of shape (n, channels, height, width)
        Floats, rationals or balls.
    kernel, stride, padding : tuple of two int
        As for `patches`; a padded entry never wins.

    Returns
    -------
    maxima : ndarray of shape (n, channels, rows, columns)
        The largest entries.
    places : ndarray of int, same shape
        Their row-major positions in the window; of equal entries the first.

    Raises
    ------
    ArithmeticUnsupported
        For residues, which have no order, and for balls that overlap.
    """
    windows = patches(images, kernel, stride, padding)
    inside = patches(np.ones((1, 1, *images.shape[2:])), kernel, stride, padding) > 0
    maxima = arithmetic.full((*windows.shape[:2], *windows.shape[4:]), 0, images)
    places = np.full(maxima.shape, -1, dtype=np.intp)
    for place, (a, b) in enumerate(np.ndindex(kernel)):
        entries = windows[:, :, a, b]
        candidates = np.broadcast_to(inside[:, :, a, b], places.shape)
        wins = candidates & (places < 0)
        rivals = candidates & (places >= 0)
        wins[rivals] = arithmetic.positive(entries[rivals] - maxima[rivals])
        maxima[wins] = entries[wins]
        places[wins] = place
    return maxima, places


def gather(windows: Array, places: Array) -> Array:
    """Pick one entry of every window.

    Parameters
    ----------
    windows : ndarray of shape (n, channels, kernel height, kernel width, rows, columns)
        As from `patches`.
    places : ndarray of int, shape (n, channels, rows, columns)
        Row-major positions in the window.

    Returns
    -------
    ndarray of shape (n, channels, rows, columns)
        The entries at these positions.
    """
    n, channels, tall, wide, rows, columns = windows.shape
    flat = windows.reshape(n, channels, tall * wide, rows, columns)
    return np.asarray(np.take_along_axis(flat, places[:, :, None], axis=2)[:, :, 0])


def scatter(entries: Array, places: Array, kernel: Pair) -> Array:
    """Put entries into windows of zeros: the transpose of `gather`.

    Parameters
    ----------
    entries : ndarray of shape (n, channels, rows, columns)
        Numbers of any arithmetic.
    places : ndarray of int, same shape
        Row-major positions in the window.
    kernel : tuple of two int
        Size of a window.

    Returns
    -------
    ndarray of shape (n, channels, kernel height, kernel width, rows, columns)
        Zeros but for one entry in each window.
    """
    windows = arithmetic.full((*places.shape[:2], *kernel, *places.shape[2:]), 0, entries)
    for place, (a, b) in enumerate(np.ndindex(kernel)):
        chosen = places == place
        windows[:, :, a, b][chosen] = entries[chosen]
    return windows
