"""Sizes of the linear system of a layer, which input every equation touches, and bounds of ranks by counting.

The bounds are explained in `layer_ranks`.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator


@dataclasses.dataclass(frozen=True)
class Axis:
    """One axis of the image: its extent, the kernel's, stride and padding."""

    extent: int
    lags: int
    stride: int
    padding: int

    @property
    def positions(self) -> int:
        """Number of output positions."""
        return (self.extent + 2 * self.padding - self.lags) // self.stride + 1

    def pixel(self, position: int, lag: int) -> int | None:
        """The pixel that an output position sees through a lag.

        Parameters
        ----------
        position, lag : int
            Indices of the output and of the kernel entry.

        Returns
        -------
        int or None
            The pixel; None in the padding.
        """
        place = self.stride * position + lag - self.padding
        return place if 0 <= place < self.extent else None

    def seen(self, lag: int) -> list[tuple[int, int]]:
        """Who sees what through one lag.

        Parameters
        ----------
        lag : int
            Index of the kernel entry.

        Returns
        -------
        list of (int, int)
            Pairs of position and pixel, padding left out.
        """
        pairs = ((position, self.pixel(position, lag)) for position in range(self.positions))
        return [(position, pixel) for position, pixel in pairs if pixel is not None]

    def covered(self) -> set[int]:
        """Pixels that some position sees.

        Returns
        -------
        set of int
            Their indices.
        """
        return {pixel for lag in range(self.lags) for _, pixel in self.seen(lag)}

    def inside(self) -> list[int]:
        """Count the lags that stay inside the image.

        Returns
        -------
        list of int
            One number per position.
        """
        return [
            sum(self.pixel(position, lag) is not None for lag in range(self.lags)) for position in range(self.positions)
        ]

    def tiled(self) -> bool:
        """Tell whether no pixel is seen twice and no padding is seen.

        Returns
        -------
        bool
            True if patches tile a part of the axis.
        """
        return sum(self.inside()) == self.lags * self.positions == len(self.covered())

    def phases(self) -> dict[int, tuple[list[int], int]]:
        """Split lags and pixels by their residue modulo the stride.

        Returns
        -------
        dict of int to (list of int, int)
            For every phase: the number of positions inside, per lag, and the number of covered pixels.
        """
        covered = self.covered()
        result: dict[int, tuple[list[int], int]] = {}
        for lag in range(self.lags):
            phase = (lag - self.padding) % self.stride
            pixels = sum(pixel % self.stride == phase for pixel in covered)
            result.setdefault(phase, ([], pixels))[0].append(len(self.seen(lag)))
        return result

    def look(self, phase: int) -> object:
        """Describe how the pixels of a phase are seen, such that phases with equal descriptions are seen alike.

        Parameters
        ----------
        phase : int
            Residue of the pixels modulo the stride.

        Returns
        -------
        object
            The covered pixels, numbered inside the phase, and per lag the pairs of position and numbered pixel.
        """
        pixels = tuple(pixel // self.stride for pixel in sorted(self.covered()) if pixel % self.stride == phase)
        pairs = tuple(
            tuple((position, pixel // self.stride) for position, pixel in self.seen(lag))
            for lag in range(self.lags)
            if (lag - self.padding) % self.stride == phase and self.seen(lag)
        )
        return pixels, tuple(sorted(pairs))


@dataclasses.dataclass(frozen=True)
class System:
    """Sizes of a layer system; the images of the samples count as parts of one image."""

    inputs: int
    outputs: int
    axes: tuple[Axis, Axis]
    samples: int = 1

    @property
    def pixels(self) -> int:
        """Pixels of one channel, of all samples."""
        return self.samples * self.axes[0].extent * self.axes[1].extent

    @property
    def positions(self) -> int:
        """Output positions of all samples."""
        return self.samples * self.axes[0].positions * self.axes[1].positions

    @property
    def lags(self) -> int:
        """Kernel entries."""
        return self.axes[0].lags * self.axes[1].lags

    @property
    def covered(self) -> int:
        """Inputs that some patch covers."""
        return self.samples * self.inputs * len(self.axes[0].covered()) * len(self.axes[1].covered())

    def seen(self) -> Iterator[list[tuple[int, int]]]:
        """Who sees what through every kernel entry.

        Returns
        -------
        iterator of list of (int, int)
            In row-major order of the kernel: pairs of flat position and flat pixel, both numbered through the samples.
        """
        places, pixels = self.positions // self.samples, self.pixels // self.samples
        for pairs in self.seen_once():
            yield [(t * places + p, t * pixels + i) for t in range(self.samples) for p, i in pairs]

    def seen_once(self) -> Iterator[list[tuple[int, int]]]:
        """Who sees what through every kernel entry, in one sample.

        Returns
        -------
        iterator of list of (int, int)
            In row-major order of the kernel: pairs of flat position and flat pixel.
        """
        across = self.axes[1].positions
        for a in range(self.axes[0].lags):
            for b in range(self.axes[1].lags):
                yield [
                    (p * across + q, i * self.axes[1].extent + j)
                    for p, i in self.axes[0].seen(a)
                    for q, j in self.axes[1].seen(b)
                ]

    def tiled(self) -> bool:
        """Tell whether no two patches share a pixel and none reaches into the padding.

        Returns
        -------
        bool
            True if patches tile a part of the image.
        """
        return all(axis.tiled() for axis in self.axes)

    def tiled_rank(self) -> int:
        """Generic rank of U if the patches tile.

        Returns
        -------
        int
            Covered inputs minus (patch - outputs)₊ (positions - outputs)₊.
        """
        patch = self.inputs * self.lags
        return self.covered - max(patch - self.outputs, 0) * max(self.positions - self.outputs, 0)

    def weight_bound(self) -> int:
        """Bound rank W from above.

        Returns
        -------
        int
            The bound by counting.
        """
        counts = [self.inputs * v * h for v in self.axes[0].inside() for h in self.axes[1].inside()]
        return min(self.covered, self.samples * sum(min(self.outputs, count) for count in counts))

    def gradient_bound(self) -> int:
        """Bound rank K from above.

        Returns
        -------
        int
            The bound by counting.
        """
        return self.inputs * sum(rank for rank, _, _ in self._blocks())

    def image_bound(self, *, attained: bool) -> int:
        """Bound the dimension of what all kernel entries together cut out of the null space of K̃.

        Parameters
        ----------
        attained : bool
            Whether K is known to have the rank `gradient_bound`.

        Returns
        -------
        int
            The bound by counting.
        """
        live = self.samples * sum(count > 0 for count in self.axes[0].inside())
        live *= sum(count > 0 for count in self.axes[1].inside())
        bound = live - min(self.outputs, live)
        if attained:
            different = {look: shifts * free for _, look, (shifts, free) in self._blocks()}
            bound = min(bound, sum(different.values()))
        return bound

    def _blocks(self) -> Iterator[tuple[int, object, tuple[int, int]]]:
        """Per class of pixels: rank of its block of K̃ at most, how it is seen, number of lags and what the rank leaves."""
        for vertical, horizontal in itertools.product(*(axis.phases().items() for axis in self.axes)):
            (rows, first), (columns, second) = vertical[1], horizontal[1]
            counts = [self.samples * v * h for v in rows for h in columns if v * h]
            pixels = self.samples * first * second
            rank = min(sum(min(self.outputs, count) for count in counts), pixels)
            look = (self.axes[0].look(vertical[0]), self.axes[1].look(horizontal[0]))
            yield rank, look, (len(counts), pixels - rank)
