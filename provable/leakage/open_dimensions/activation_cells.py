r"""Cells of piecewise networks: which side of its kink every unit is on, and which entry wins in every window.

A network with (leaky) ReLU, ELU or maximum pooling is one analytic function of parameters and inputs on each open set where
no unit changes sides and no window changes its winner. Here a random point is drawn and the network evaluated in float64 with
a bound of the rounding error of every value. If all sides and winners are certain there, they hold in a neighbourhood, so the
cell that they describe is a nonempty open set.

Values that are exactly zero without any error, because all they are made of is switched off or padding, stay zero in a
neighbourhood; their side does not matter, because no gradient depends on it.

A sum of k products that is computed in any order is wrong by at most (k + 2) u / (1 - (k + 2) u) times the sum of absolute
values (u = 2⁻⁵³); elementary functions of the library are taken to be accurate to 2⁻⁴⁰ (they are to some 2⁻⁵⁰).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from provable.architectures import (
    ELU,
    Activation,
    Architecture,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Polynomial,
    ReLU,
    Residual,
)
from provable.arithmetic import Float
from provable.networks import activations, layers
from provable.networks.windows import gather, patches

ATTEMPTS = 4
"""So many points are tried with all weights of one size, and then with few large weights per output."""

_LARGE_WEIGHTS = 4

_ROUNDING = 2.0**-53
_FUNCTION = 2.0**-40
_SLACK = 1 + 2.0**-30  # more than what rounding can make the error bounds themselves too small by


@dataclasses.dataclass(frozen=True)
class Cell:
    """A nonempty open set of parameters and inputs on which the network is one analytic function.

    Parameters
    ----------
    positive : mapping of str to ndarray of bool
        By the path of a piecewise activation, in the shape of its input: which units are right of the kink.
    winners : mapping of str to ndarray of int
        By the path of a maximum pooling, (channels, rows, columns): row-major position of the largest entry in its window.
    parameters : mapping of str to ndarray
        A point of the cell: parameters by name.
    sample : ndarray
        Its input. Normalisations have mean 0 and a deviation of 1 there.
    """

    positive: Mapping[str, NDArray[np.bool_]]
    winners: Mapping[str, NDArray[np.intp]]
    parameters: Mapping[str, Float]
    sample: Float


def is_piecewise(architecture: Architecture) -> bool:
    """Tell whether a network has cells at all.

    Parameters
    ----------
    architecture : Architecture
        The network.

    Returns
    -------
    bool
        Whether it has a (leaky) ReLU, an ELU or a maximum pooling.
    """

    def any_in(chain: tuple[Layer, ...]) -> bool:
        return any(
            any_in(layer.layers) or any_in(layer.shortcut)
            if isinstance(layer, Residual)
            else isinstance(layer, ReLU | LeakyReLU | ELU | MaxPool2d)
            for layer in chain
        )

    return any_in(architecture.layers)


def find_cell(architecture: Architecture, *, seed: int = 0) -> Cell | None:
    """Draw a point and read its cell.

    Parameters
    ----------
    architecture : Architecture
        The network; batch norm is evaluated with mean 0 and deviation 1.
    seed : int
        Seed of the point: a sample of independent normal values, normal weights of variance 2 / fan-in, biases of variance
        0.01. In deep networks the error bounds of such points become useless; then points are tried whose outputs have four
        normal weights each, on the average, and all others smaller by the fan-in.

    Returns
    -------
    Cell or None
        The cell, or None if rounding leaves a side or a winner open at all points that were tried.
    """
    rng = np.random.default_rng(seed)
    for attempt in range(2 * ATTEMPTS):
        few = attempt >= ATTEMPTS
        parameters = {name: _draw(rng, name, shape, few) for name, shape in architecture.parameter_shapes.items()}
        sample = rng.standard_normal((1, *architecture.input_shape))
        reader = _Reader(parameters)
        reader.walk(architecture.layers, "", sample, np.zeros_like(sample))
        if reader.certain:
            return Cell(reader.positive, reader.winners, parameters, sample[0])
    return None


def _draw(rng: np.random.Generator, name: str, shape: tuple[int, ...], few: bool) -> Float:
    numbers = rng.standard_normal(shape)
    if len(shape) > 1:
        fan_in = math.prod(shape[1:])
        if few and fan_in > _LARGE_WEIGHTS:
            return numbers * np.where(rng.random(shape) < _LARGE_WEIGHTS / fan_in, 0.5, 1 / fan_in)
        return numbers * math.sqrt(2 / fan_in)
    return 0.1 * numbers + (1 if name.endswith("weight") else 0)  # the scale of a normalisation, or a bias


class _Reader:
    """Evaluates a network and the errors of its values, and notes sides and winners."""

    def __init__(self, parameters: Mapping[str, Float]) -> None:
        self.parameters = parameters
        self.positive: dict[str, NDArray[np.bool_]] = {}
        self.winners: dict[str, NDArray[np.intp]] = {}
        self.certain = True

    def walk(self, chain: tuple[Layer, ...], prefix: str, value: Float, error: Float) -> tuple[Float, Float]:
        for index, layer in enumerate(chain):
            if not self.certain:
                break
            value, error = self._step(layer, f"{prefix}{index}", value, error)
        return value, error

    def _step(self, layer: Layer, path: str, value: Float, error: Float) -> tuple[Float, Float]:
        match layer:
            case Residual():
                straight, around = (
                    self.walk(branch, f"{path}{name}", value, error)
                    for branch, name in ((layer.layers, "."), (layer.shortcut, ".shortcut."))
                )
                if not self.certain:
                    return value, error
                total = straight[0] + around[0]
                return total, (straight[1] + around[1] + _ROUNDING * np.abs(total)) * _SLACK
            case Activation():
                return self._activate(layer, path, value, error)
            case MaxPool2d():
                return self._maximum(layer, path, value, error)
            case Flatten():
                return layers.apply(layer, path, {}, value), layers.apply(layer, path, {}, error)
            case BatchNorm2d():
                scale, shift = (self.parameters[f"{path}/{name}"][:, None, None] for name in ("weight", "bias"))
                size = np.abs(scale) * (np.abs(value) + error)
                rounding = 3 * _ROUNDING * (size + np.abs(shift))
                return scale * value + shift, (np.abs(scale) * error + rounding) * _SLACK
        return self._linear(layer, path, value, error)

    def _linear(self, layer: Layer, path: str, value: Float, error: Float) -> tuple[Float, Float]:
        sizes = {name: np.abs(array) for name, array in self.parameters.items() if name.startswith(f"{path}/")}
        weights = {name: array if name.endswith("weight") else 0 * array for name, array in sizes.items()}
        terms = math.prod(layer.kernel_size) if isinstance(layer, Conv2d | AvgPool2d) else 1
        terms *= value.shape[1] if isinstance(layer, Conv2d | Linear) else 1
        factor = (terms + 4) * _ROUNDING / (1 - (terms + 4) * _ROUNDING)
        spread = layers.apply(layer, path, weights, error)
        spread += factor * layers.apply(layer, path, sizes, np.abs(value) + error)
        return layers.apply(layer, path, self.parameters, value), spread * _SLACK

    def _activate(self, layer: Activation, path: str, value: Float, error: Float) -> tuple[Float, Float]:
        result = activations.value(layer, value)
        if isinstance(layer, ReLU | LeakyReLU | ELU):
            self.certain = bool(((np.abs(value) > error) | (error == 0)).all())
            self.positive[path] = value[0] > 0
        if _is_flat_on_the_left(layer):
            return result, np.where(value > 0, error, 0.0)
        size = np.abs(value) + error
        rounding = _ROUNDING * np.abs(result) if isinstance(layer, LeakyReLU) else _FUNCTION * _magnitude(layer, size)
        return result, (_steepest(layer, size) * error + rounding) * _SLACK

    def _maximum(self, layer: MaxPool2d, path: str, value: Float, error: Float) -> tuple[Float, Float]:
        sizes = (layer.kernel_size, layer.stride, layer.padding)
        inside = patches(np.ones_like(value), *sizes) > 0
        ends = [np.where(error > 0, np.nextafter(value + sign * error, sign * np.inf), value) for sign in (-1, 1)]
        windows = [np.where(inside, patches(end, *sizes), -np.inf) for end in ends]
        low, high = (end.reshape(*end.shape[:2], -1, *end.shape[4:]) for end in windows)
        places = low.argmax(axis=2)
        best = np.take_along_axis(low, places[:, :, None], axis=2)
        rivals = np.arange(low.shape[2])[:, None, None] != places[:, :, None]
        zero = (best == 0) & (low == 0) & (high == 0)
        self.certain = bool((~rivals | (high < best) | zero).all())
        self.winners[path] = places[0]
        return gather(patches(value, *sizes), places), gather(patches(error, *sizes), places)


def _is_flat_on_the_left(layer: Activation) -> bool:
    if isinstance(layer, LeakyReLU | ELU):
        return (layer.negative_slope if isinstance(layer, LeakyReLU) else layer.alpha) == 0
    return isinstance(layer, ReLU)


def _magnitude(layer: Activation, size: Float) -> Float:
    """Sum of the absolute values of what is added up in a value between -size and size; zero at zero if the value is."""
    if isinstance(layer, Polynomial):
        terms = [abs(number) * size**power for power, number in enumerate(layer.coefficients)]
        return np.asarray(sum(terms, np.zeros_like(size)))
    if isinstance(layer, ELU):
        return np.asarray((1 + abs(layer.alpha)) * size)
    return size + float(activations.value(layer, np.zeros(1))[0] > 0)


def _steepest(layer: Activation, size: Float) -> Float:
    """Bound of the derivative between -size and size."""
    match layer:
        case LeakyReLU():
            return np.full_like(size, max(1.0, abs(layer.negative_slope)))
        case ELU():
            return np.full_like(size, max(1.0, abs(layer.alpha)))
        case Polynomial():
            terms = [
                power * abs(number) * size ** (power - 1) for power, number in enumerate(layer.coefficients) if power
            ]
            return np.asarray(sum(terms, np.zeros_like(size)) * _SLACK)
    return np.full_like(size, 1.25)  # tanh, sigmoid, softplus and the identity: 1; erf, GELU and SiLU: less than 1.13
