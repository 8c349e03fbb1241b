"""Forward and backward pass of a network with their tangents along changes of the parameters, modulo a prime.

Signals are flat: values have the shape (size,), tangents (size, m) for m directions. What an activation does to a value that
it makes transcendental is a residue of its own; `provable.leakage.jacobian_rank` says why. A direction changes the weight
matrix of a layer, (out, patch), by a matrix of rank one and every other parameter freely.

Each step first carries the value forward and the sensitivity back (`forward`, `backward`), which it keeps, and then any
number of times tangents forward and back (`push`, `pull`). A tangent of None is zero.
"""

from __future__ import annotations

import abc
import math
from fractions import Fraction

import numpy as np

from provable.architectures import (
    ELU,
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Identity,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
    SiLU,
)
from provable.architectures.fields import Shape
from provable.architectures.layers import Sigmoid, Softplus, Tanh
from provable.errors import UnsupportedError
from provable.leakage.activation_cells import Cell
from provable.leakage.balanced_residues import MOST_PRODUCTS, Draws, Residues, product, reduce_in_place, residue
from provable.leakage.layer_system import LayerSystem

Tangents = Residues | None


class Step(abc.ABC):
    """One layer, or a chain of layers."""

    @abc.abstractmethod
    def forward(self, values: Residues) -> Residues:
        """Carry the value forward.

        Parameters
        ----------
        values : ndarray of float64, shape (size of the input,)
            Residues.

        Returns
        -------
        ndarray of float64, shape (size of the output,)
            Residues.
        """

    @abc.abstractmethod
    def backward(self, sensitivity: Residues) -> Residues:
        """Carry the sensitivity back.

        Parameters
        ----------
        sensitivity : ndarray of float64, shape (size of the output,)
            Gradient of the loss with respect to the output.

        Returns
        -------
        ndarray of float64, shape (size of the input,)
            The same for the input.
        """

    @abc.abstractmethod
    def push(self, tangents: Tangents, draws: Draws, count: int) -> Tangents:
        """Carry tangents forward while the parameters of this step move as well.

        Parameters
        ----------
        tangents : ndarray of float64, shape (size of the input, count), or None
            Tangents of the input.
        draws : Draws
            Where the directions of the parameters come from.
        count : int
            Number of directions.

        Returns
        -------
        ndarray of float64, shape (size of the output, count), or None
            Tangents of the output.
        """

    @abc.abstractmethod
    def pull(self, tangents: Residues) -> Residues:
        """Carry tangents of the sensitivity back, along the directions of the last `push`.

        Parameters
        ----------
        tangents : ndarray of float64, shape (size of the output, count)
            Tangents of the gradient of the loss with respect to the output.

        Returns
        -------
        ndarray of float64, shape (size of the input, count)
            The same for the input.
        """

    @property
    def numbers_kept(self) -> int:
        """How many numbers per direction are kept between `push` and `pull`."""
        return 0

    @property
    def numbers_in_use(self) -> int:
        """How many numbers per direction are in use at once, at most."""
        return 0

    @property
    def multiplications(self) -> int:
        """Multiplications per direction, forward and back; an entry that is moved counts as twenty."""
        return 0


def _scaled(tangents: Residues, factors: Residues) -> Residues:
    return reduce_in_place(tangents * factors[:, None])


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
                positions, pixels = (
                    tuple(slice(int(ends[0]), int(ends[-1]) + 1, step) for ends, step in zip(pair, steps, strict=True))
                    for pair, steps in zip(zip(*touched, strict=True), ((1, 1), self.system.stride), strict=True)
                )
                found.append((index, positions, pixels))
        return found  # type: ignore[return-value]

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
            return windows
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


class ActivationStep(Step):
    """An activation, whose transcendental values are free residues.

    Parameters
    ----------
    layer : Activation
        The activation; erf and GELU are not accepted.
    size : int
        Number of units.
    draws : Draws
        Where free values come from.
    positive : ndarray of bool or None
        Which units of a piecewise activation are right of the kink.
    """

    def __init__(self, layer: Activation, size: int, draws: Draws, positive: np.ndarray | None) -> None:
        self.layer = layer
        self.free = draws.residues(size)
        self.positive = np.zeros(size, dtype=np.bool_) if positive is None else positive.reshape(-1)
        self.extra = draws.residues(size) if isinstance(layer, Softplus) else None

    def forward(self, values: Residues) -> Residues:
        result, self.first, self.second = self._jet(values)
        self.is_curved = bool(self.second.any())
        return result

    def _jet(self, values: Residues) -> tuple[Residues, Residues, Residues]:
        """Value, first and second derivative."""
        zero, t = np.zeros_like(values), self.free
        times = _times
        match self.layer:
            case Identity():
                return values, zero + 1, zero
            case ReLU() | LeakyReLU():
                left = self.layer.negative_slope if isinstance(self.layer, LeakyReLU) else 0.0
                factor = np.where(self.positive, 1.0, _number(left))
                return times(factor, values), factor, zero
            case Tanh():
                slope = reduce_in_place(1 - t * t)
                return t, slope, times(-2 * t, slope)
            case Sigmoid():
                slope = times(t, 1 - t)
                return t, slope, times(slope, 1 - 2 * t)
            case Softplus():
                assert self.extra is not None
                return self.extra, t, times(t, 1 - t)
            case SiLU():
                slope = times(t, 1 - t)
                bend = times(times(values, slope), 1 - 2 * t)
                return times(values, t), reduce_in_place(t + values * slope), reduce_in_place(2 * slope + bend)
            case ELU():
                slope = times(t, zero + _number(self.layer.alpha))
                outside = reduce_in_place(slope - _number(self.layer.alpha))
                return (
                    np.where(self.positive, values, outside),
                    np.where(self.positive, 1.0, slope),
                    np.where(self.positive, 0.0, slope),
                )
            case Polynomial():
                numbers = [Fraction(number) for number in self.layer.coefficients]
                jets = []
                for _ in range(3):
                    jets.append(_horner([_fraction(number) for number in numbers], values))
                    numbers = [power * number for power, number in enumerate(numbers)][1:]
                return jets[0], jets[1], jets[2]
        raise UnsupportedError(f"{self.layer.type}: its values have no description by free residues here")

    def backward(self, sensitivity: Residues) -> Residues:
        self.bend = _times(sensitivity, self.second)
        return _times(sensitivity, self.first)

    def push(self, tangents: Tangents, draws: Draws, count: int) -> Tangents:
        self.moved = tangents if self.is_curved else None
        return None if tangents is None else _scaled(tangents, self.first)

    def pull(self, tangents: Residues) -> Residues:
        result = tangents * self.first[:, None]
        if self.moved is not None:
            result += self.moved * self.bend[:, None]
            self.moved = None
        return reduce_in_place(result)

    @property
    def numbers_kept(self) -> int:
        return len(self.free)

    @property
    def numbers_in_use(self) -> int:
        return 4 * len(self.free)


class ChainStep(Step):
    """A chain of layers, or both branches of a residual block.

    Parameters
    ----------
    steps : list of Step
        The steps in order.
    around : Step, optional
        The shortcut, whose output is added.
    """

    def __init__(self, steps: list[Step], around: Step | None = None) -> None:
        self.steps = steps
        self.around = around

    def forward(self, values: Residues) -> Residues:
        result = values
        for step in self.steps:
            result = step.forward(result)
        return result if self.around is None else reduce_in_place(result + self.around.forward(values))

    def backward(self, sensitivity: Residues) -> Residues:
        result = sensitivity
        for step in reversed(self.steps):
            result = step.backward(result)
        return result if self.around is None else reduce_in_place(result + self.around.backward(sensitivity))

    def push(self, tangents: Tangents, draws: Draws, count: int) -> Tangents:
        result = tangents
        for step in self.steps:
            result = step.push(result, draws, count)
        if self.around is not None:
            other = self.around.push(tangents, draws, count)
            result = other if result is None else result if other is None else reduce_in_place(result + other)
        return result

    def pull(self, tangents: Residues) -> Residues:
        result = tangents
        for step in reversed(self.steps):
            result = step.pull(result)
        return result if self.around is None else reduce_in_place(result + self.around.pull(tangents))

    def _all(self) -> list[Step]:
        return self.steps + ([] if self.around is None else [self.around])

    @property
    def numbers_kept(self) -> int:
        return sum(step.numbers_kept for step in self._all())

    @property
    def numbers_in_use(self) -> int:
        return max((step.numbers_in_use for step in self._all()), default=0)

    @property
    def multiplications(self) -> int:
        return sum(step.multiplications for step in self._all())


def _times(left: Residues, right: Residues) -> Residues:
    return reduce_in_place(left * right)


def _fraction(number: Fraction) -> float:
    return residue(number.numerator, number.denominator)


def _number(number: float) -> float:
    return _fraction(Fraction(number))


def _horner(coefficients: list[float], values: Residues) -> Residues:
    result = np.zeros_like(values)
    for number in reversed(coefficients):
        result = reduce_in_place(result * values + number)
    return result


def step_of(layers: tuple[Layer, ...], shape: Shape, draws: Draws, cell: Cell | None, prefix: str = "") -> ChainStep:
    """Draw the parameters and free values of a chain of layers.

    Parameters
    ----------
    layers : tuple of Layer
        The layers.
    shape : tuple of int
        Shape of the input.
    draws : Draws
        Where residues come from.
    cell : Cell or None
        Sides and winners, if there are piecewise layers.
    prefix : str
        What the paths of the layers start with.

    Returns
    -------
    ChainStep
        The chain.

    Raises
    ------
    UnsupportedError
        For erf and GELU.
    """
    steps: list[Step] = []
    for index, layer in enumerate(layers):
        path = f"{prefix}{index}"
        match layer:
            case Conv2d() | Linear():
                steps.append(AffineStep(layer, shape, draws))
            case AvgPool2d() | MaxPool2d():
                channels, height, width = shape
                system = LayerSystem(
                    channels, channels, (height, width), layer.kernel_size, layer.stride, layer.padding
                )
                winners = cell.winners[path] if cell is not None and isinstance(layer, MaxPool2d) else None
                steps.append(LinearStep(system, winners))
            case BatchNorm2d():
                steps.append(NormalisationStep(shape, draws))
            case Activation():
                positive = None if cell is None else cell.positive.get(path)
                steps.append(ActivationStep(layer, math.prod(shape), draws, positive))
            case Residual():
                straight = step_of(layer.layers, shape, draws, cell, f"{path}.")
                around = step_of(layer.shortcut, shape, draws, cell, f"{path}.shortcut.")
                steps.append(ChainStep(straight.steps, around))
            case Flatten():
                pass
        shape = layer.output_shape(shape)
    return ChainStep(steps)
