"""Convolutions, linear layers, normalisations and pooling, with tangents modulo a prime."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from provable.architectures import Conv2d, Linear
from provable.architectures.fields import Shape
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.open_dimensions.balanced_residues import (
    MOST_PRODUCTS,
    Draws,
    Residues,
    product,
    reduce_in_place,
    residue,
)
from provable.leakage.open_dimensions.modular_step import Step, Tangents


def _stretch(places: NDArray[np.intp], step: int) -> slice:
    return slice(int(places[0]), int(places[-1]) + 1, step)


class _Windows:
    """How windows of images are cut out and added up, for tangents with the direction as last axis.

    Parameters
    ----------
    system : LayerSystem
        The windows.
    """

    def __init__(self, system: LayerSystem) -> None:
        self.system = system
        self.padded = any(padding for padding in system.padding)
        self.is_flat = system.pixels == system.positions == len(system.lags()) == 1 and not self.padded
        overlaps = [int(axis.visits.max()) for axis in system.axes]
        self.overlap = overlaps[0] * overlaps[1]

    def _places(self) -> list[tuple[int, tuple[slice, slice], tuple[slice, slice]]]:
        found = []
        for index, lag in enumerate(self.system.lags()):
            touched = [axis.touched(number) for axis, number in zip(self.system.axes, lag, strict=True)]
            if all(len(positions) for positions, _ in touched):
                (rows, pixel_rows), (columns, pixel_columns) = touched
                down, across = self.system.stride
                positions = _stretch(rows, 1), _stretch(columns, 1)
                pixels = _stretch(pixel_rows, down), _stretch(pixel_columns, across)
                found.append((index, positions, pixels))
        return found

    def cut(self, images: Residues) -> Residues:
        """Cut (channels · pixels, m) into (channels · lags, positions · m)."""
        system, count = self.system, images.shape[1]
        if self.is_flat:
            return images
        pictures = images.reshape(system.in_channels, *system.input_size, count)
        make = np.zeros if self.padded else np.empty
        result = make((system.in_channels, len(system.lags()), *system.output_size, count))
        for index, positions, pixels in self._places():
            result[(slice(None), index, *positions)] = pictures[(slice(None), *pixels)]
        return result.reshape(system.in_channels * len(system.lags()), system.positions * count)

    def add(self, windows: Residues, count: int) -> Residues:
        """Add (channels · lags, positions · m) up to (channels · pixels, m): the transpose of `cut`."""
        system = self.system
        if self.is_flat:
            return windows.reshape(system.unknowns, count)
        pieces = windows.reshape(system.in_channels, len(system.lags()), *system.output_size, count)
        result = np.zeros((system.in_channels, *system.input_size, count))
        for index, positions, pixels in self._places():
            result[(slice(None), *pixels)] += pieces[(slice(None), index, *positions)]
        return result.reshape(system.unknowns, count)


class AffineStep(Step):
    """A convolution or a linear layer.

    Parameters
    ----------
    layer : Conv2d or Linear
        The layer.
    shape : tuple of int
        Shape of its input.
    draws : Draws
        Where its parameters come from.
    """

    def __init__(self, layer: Conv2d | Linear, shape: Shape, draws: Draws) -> None:
        self.system = LayerSystem.of_layer(layer, shape)
        self.windows = _Windows(self.system)
        self.weight = draws.residues(self.system.out_channels, self.system.patch)
        self.bias = draws.residues(self.system.out_channels) if layer.bias else None

    def forward(self, values: Residues) -> Residues:
        self.patches = self.windows.cut(values[:, None])
        result = product(self.weight, self.patches)
        if self.bias is not None:
            result += self.bias[:, None]
        return reduce_in_place(result).reshape(-1)

    def backward(self, sensitivity: Residues) -> Residues:
        self.sensitivity = sensitivity.reshape(self.system.out_channels, self.system.positions)
        return reduce_in_place(self.windows.add(product(self.weight.T, self.sensitivity), 1)).reshape(-1)

    def push(self, tangents: Tangents, draws: Draws, count: int) -> Tangents:
        system = self.system
        self.left = draws.residues(system.out_channels, count)
        self.right = draws.residues(system.patch, count)
        through = product(self.patches.T, self.right)
        result = self.left[:, None, :] * through
        if tangents is not None:
            moved = product(self.weight, self.windows.cut(tangents))
            result += moved.reshape(result.shape)
        if self.bias is not None:
            result += draws.residues(system.out_channels, count)[:, None, :]
        return reduce_in_place(result).reshape(system.forward_equations, count)

    def pull(self, tangents: Residues) -> Residues:
        system, count = self.system, tangents.shape[1]
        through = product(self.sensitivity.T, self.left)
        moved = tangents.reshape(system.out_channels, system.positions * count)
        few = system.out_channels < MOST_PRODUCTS
        result = self.weight.T @ moved if few else product(self.weight.T, moved)
        pieces = result.reshape(system.patch, system.positions, count)
        for index in range(system.patch):  # row by row, so that the product of rank one stays in the cache
            pieces[index] += self.right[index] * through
        if (min(system.out_channels, MOST_PRODUCTS) + 1) * self.windows.overlap > MOST_PRODUCTS:
            reduce_in_place(result)
        return reduce_in_place(self.windows.add(result, count))

    @property
    def numbers_kept(self) -> int:
        return self.system.out_channels + self.system.patch

    @property
    def numbers_in_use(self) -> int:
        return 2 * self.system.patch * self.system.positions + 3 * self.system.forward_equations + self.system.unknowns

    @property
    def multiplications(self) -> int:
        return 2 * self.system.patch * self.system.positions * (self.system.out_channels + 20)


class NormalisationStep(Step):
    """Batch norm in evaluation mode, with free running statistics.

    Parameters
    ----------
    shape : tuple of int
        (channels, height, width).
    draws : Draws
        Where its parameters and statistics come from.
    """

    def __init__(self, shape: Shape, draws: Draws) -> None:
        self.shape = shape[0], math.prod(shape[1:])
        self.scale, self.shift, self.mean, self.precision = (
            self._spread(draws.residues(shape[0], 1)) for _ in range(4)
        )

    def _spread(self, numbers: Residues) -> Residues:
        """Repeat one row per channel for all its pixels."""
        return np.repeat(numbers, self.shape[1], axis=0).reshape(-1, numbers.shape[1])

    def forward(self, values: Residues) -> Residues:
        self.normal = reduce_in_place((values - self.mean[:, 0]) * self.precision[:, 0])
        self.slope = reduce_in_place(self.scale[:, 0] * self.precision[:, 0])
        return reduce_in_place(self.normal * self.scale[:, 0] + self.shift[:, 0])

    def backward(self, sensitivity: Residues) -> Residues:
        self.sensitivity = reduce_in_place(sensitivity * self.precision[:, 0])
        return reduce_in_place(sensitivity * self.slope)

    def push(self, tangents: Tangents, draws: Draws, count: int) -> Tangents:
        self.moved = draws.residues(self.shape[0], count)
        result = self._spread(self.moved) * self.normal[:, None] + self._spread(draws.residues(self.shape[0], count))
        if tangents is not None:
            result += tangents * self.slope[:, None]
        return reduce_in_place(result)

    def pull(self, tangents: Residues) -> Residues:
        result = tangents * self.slope[:, None]
        result += self._spread(self.moved) * self.sensitivity[:, None]
        return reduce_in_place(result)

    @property
    def numbers_kept(self) -> int:
        return self.shape[0]

    @property
    def numbers_in_use(self) -> int:
        return 4 * self.shape[0] * self.shape[1]


class LinearStep(Step):
    """A linear map without parameters that a sparse list of entries describes: pooling.

    Parameters
    ----------
    system : LayerSystem
        The windows, one input channel per output channel.
    winners : ndarray of int, optional
        (channels, rows, columns): the lag that wins in each window; means are taken without it.
    """

    def __init__(self, system: LayerSystem, winners: np.ndarray | None) -> None:
        self.windows = _Windows(system)
        lags = len(system.lags())
        if winners is None:
            self.factors = np.full((system.in_channels, lags, system.positions, 1), residue(1, lags))
        else:
            chosen = winners.reshape(system.in_channels, 1, system.positions) == np.arange(lags)[:, None]
            self.factors = chosen[..., None].astype(np.float64)

    def _apply(self, values: Residues) -> Residues:
        system = self.windows.system
        cut = self.windows.cut(values).reshape(*self.factors.shape[:3], values.shape[1])
        result = reduce_in_place(cut * self.factors).sum(axis=1)
        return reduce_in_place(result).reshape(system.in_channels * system.positions, values.shape[1])

    def _transpose(self, values: Residues) -> Residues:
        system, count = self.windows.system, values.shape[1]
        pieces = reduce_in_place(values.reshape(system.in_channels, 1, system.positions, count) * self.factors)
        return reduce_in_place(self.windows.add(pieces, count))

    def forward(self, values: Residues) -> Residues:
        return self._apply(values[:, None])[:, 0]

    def backward(self, sensitivity: Residues) -> Residues:
        return self._transpose(sensitivity[:, None])[:, 0]

    def push(self, tangents: Tangents, draws: Draws, count: int) -> Tangents:
        return None if tangents is None else self._apply(tangents)

    def pull(self, tangents: Residues) -> Residues:
        return self._transpose(tangents)

    @property
    def numbers_in_use(self) -> int:
        return 3 * self.factors.size + self.windows.system.unknowns
