"""Activations whose transcendental values are free residues, with tangents modulo a prime."""

from __future__ import annotations

from fractions import Fraction

import numpy as np

from provable.architectures import ELU, GELU, Activation, Identity, LeakyReLU, Polynomial, ReLU, SiLU
from provable.architectures.layers import Erf, Sigmoid, Softplus, Tanh
from provable.errors import UnsupportedError
from provable.leakage.open_dimensions.balanced_residues import Draws, Residues, reduce_in_place, residue
from provable.leakage.open_dimensions.modular_step import Step, Tangents


class ActivationStep(Step):
    """An activation, whose transcendental values are free residues.

    Parameters
    ----------
    layer : Activation
        The activation.
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
        self.extra = draws.residues(size) if isinstance(layer, Softplus | Erf | GELU) else None

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
            case Erf():
                assert self.extra is not None
                return self.extra, t, times(-2 * t, values)
            case GELU():
                assert self.extra is not None
                return (
                    times(values, self.extra),
                    reduce_in_place(self.extra + values * t),
                    times(t, reduce_in_place(2 - values * values)),
                )
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
        return None if tangents is None else reduce_in_place(tangents * self.first[:, None])

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
