"""One image axis of a convolution: which output position sees which pixel."""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from numpy.typing import NDArray


@dataclasses.dataclass(frozen=True)
class PixelClass:
    """The pixels of one residue modulo the stride on one axis, numbered from 0.

    Parameters
    ----------
    pixels : int
        How many there are.
    covered : int
        How many of them some output position sees.
    shifts : tuple of int
        For every lag that sees the class: position minus number of the pixel. Equal classes are seen in the same way.
    seen : tuple of int
        For the same lags: how many pairs of position and pixel there are.
    """

    pixels: int
    covered: int
    shifts: tuple[int, ...]
    seen: tuple[int, ...]


@dataclasses.dataclass(frozen=True)
class Axis:
    """How a kernel touches one image axis: which output position sees which pixel through which lag.

    Parameters
    ----------
    pixels : int
        Length of the image axis.
    lags : int
        Length of the kernel.
    stride : int
        Step between neighbouring output positions.
    padding : int
        Zeros before and after the image.
    """

    pixels: int
    lags: int
    stride: int
    padding: int

    @property
    def positions(self) -> int:
        """Number of output positions, ``floor((pixels + 2 padding - lags) / stride) + 1``."""
        return (self.pixels + 2 * self.padding - self.lags) // self.stride + 1

    def touched(self, lag: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """List what one kernel entry touches.

        Parameters
        ----------
        lag : int
            Index of the kernel entry.

        Returns
        -------
        positions, pixels : ndarray of int
            Equally long: output position ``positions[t]`` sees pixel ``pixels[t]``; what falls on padding is left out.
        """
        positions = np.arange(self.positions)
        pixels = self.stride * positions + lag - self.padding
        inside = (pixels >= 0) & (pixels < self.pixels)
        return positions[inside], pixels[inside]

    @functools.cached_property
    def visits(self) -> NDArray[np.intp]:
        """How many pairs of a position and a lag see each pixel, (pixels,)."""
        counts = np.zeros(self.pixels, dtype=np.intp)
        for lag in range(self.lags):
            counts[self.touched(lag)[1]] += 1
        return counts

    @property
    def covered(self) -> NDArray[np.bool_]:
        """Which pixels are seen at all, (pixels,)."""
        result: NDArray[np.bool_] = self.visits > 0
        return result

    @functools.cached_property
    def inside(self) -> NDArray[np.intp]:
        """How many lags of each output position stay inside the image, (positions,)."""
        counts = np.zeros(self.positions, dtype=np.intp)
        for lag in range(self.lags):
            counts[self.touched(lag)[0]] += 1
        return counts

    @functools.cached_property
    def classes(self) -> tuple[PixelClass, ...]:
        """The classes of pixels with equal residues modulo the stride; a lag sees pixels of one class only."""
        result = []
        for residue in range(min(self.stride, self.pixels)):
            shifts, seen = [], []
            for lag in range(self.lags):
                positions, pixels = self.touched(lag)
                if len(positions) and int(pixels[0]) % self.stride == residue:
                    shifts.append(int(positions[0]) - int(pixels[0]) // self.stride)
                    seen.append(len(positions))
            members = self.covered[residue :: self.stride]
            result.append(PixelClass(len(members), int(np.count_nonzero(members)), tuple(shifts), tuple(seen)))
        return tuple(result)

    @property
    def disjoint(self) -> bool:
        """Whether no two output positions share a pixel and no position sees padding."""
        return bool((self.visits <= 1).all() and self.visits.sum() == self.lags * self.positions)
