"""The data of `provable observe`: scikit-learn's digits, and synthetic images of any shape."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provable.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from provable.architectures import Architecture

DATA = ("digits", "synthetic")
"""Names of the data sets."""

_SIDE = 8
_CLASSES = 10


def samples(
    data: str, architecture: Architecture, index: int, count: int
) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Give samples in the shape of an architecture's input.

    Parameters
    ----------
    data : {"digits", "synthetic"}
        The data set.
    architecture : Architecture
        Its inputs give the shape.
    index : int
        Number of the first sample.
    count : int
        Number of samples.

    Returns
    -------
    inputs : array of shape (count, *input_shape)
        Numbers from 0 to 1.
    classes : array of int, shape (count,)
        From 0 to 9: the digits shown, or the number of the sample modulo 10.

    Raises
    ------
    InputError
        If there are no such data, or they do not fit the architecture.
    """
    if data not in DATA:
        raise InputError(f"--data: found {data!r}; {' and '.join(DATA)} are accepted")
    return _digits(architecture, index, count) if data == "digits" else _synthetic(architecture, index, count)


def _digits(architecture: Architecture, index: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Grey values as they are, or drawn larger, the same in every channel."""
    import numpy as np
    from sklearn.datasets import load_digits

    images, classes = load_digits(return_X_y=True)
    if index + count > len(images):
        raise InputError(
            f"--index, --count: samples up to {index + count - 1} are asked for; digits has 0 to {len(images) - 1}"
        )
    shape = architecture.input_shape
    chosen = images[index : index + count] / 16.0
    if architecture.input_size != images.shape[1]:
        if len(shape) != 3 or min(shape[1:]) < _SIDE:
            raise InputError(
                f"--architecture: {architecture.name} takes {architecture.input_size} numbers; a digit has "
                f"{images.shape[1]}, and only images of at least {_SIDE} by {_SIDE} pixels are drawn larger"
            )
        rows, columns = (np.arange(extent) * _SIDE // extent for extent in shape[1:])
        large = chosen.reshape(count, 1, _SIDE, _SIDE)[:, :, rows[:, None], columns]
        chosen = np.broadcast_to(large, (count, *shape))
    return chosen.reshape(count, *shape), classes[index : index + count].astype("int64")


def _synthetic(architecture: Architecture, index: int, count: int) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """Random numbers whose amplitudes fall like 1/frequency along the last two axes, as those of photographs do."""
    import numpy as np

    shape = architecture.input_shape
    extents = shape[-2:] if len(shape) > 2 else shape[-1:]
    axes = tuple(range(-len(extents), 0))
    frequencies = np.sqrt(sum(np.square(axis) for axis in np.meshgrid(*map(np.fft.fftfreq, extents), indexing="ij")))
    frequencies.flat[0] = 1.0 / max(extents)
    images = []
    for number in range(index, index + count):
        noise = np.random.default_rng(number).standard_normal(shape)
        image = np.fft.ifftn(np.fft.fftn(noise, axes=axes) / frequencies, axes=axes).real
        spread = float(np.ptp(image))
        images.append((image - image.min()) / spread if spread else np.full(shape, 0.5))
    return np.stack(images), np.arange(index, index + count, dtype=np.int64) % _CLASSES
