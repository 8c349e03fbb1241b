"""Forward and backward pass of a network with their tangents along changes of the parameters, modulo a prime.

Signals are flat: values have the shape (size,), tangents (size, m) for m directions. What an activation does to a value that
it makes transcendental is a residue of its own; `jacobian_rank` says why. A direction changes the weight
matrix of a layer, (out, patch), by a matrix of rank one and every other parameter freely.

Each step first carries the value forward and the sensitivity back (`forward`, `backward`), which it keeps, and then any
number of times tangents forward and back (`push`, `pull`). A tangent of None is zero.
"""

from __future__ import annotations

import math

from provable.architectures import (
    Activation,
    AvgPool2d,
    BatchNorm2d,
    Conv2d,
    Flatten,
    Layer,
    Linear,
    MaxPool2d,
    Residual,
)
from provable.architectures.fields import Shape
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.open_dimensions.activation_cells import Cell
from provable.leakage.open_dimensions.balanced_residues import Draws, Residues, reduce_in_place
from provable.leakage.open_dimensions.modular_activations import ActivationStep
from provable.leakage.open_dimensions.modular_layers import AffineStep, LinearStep, NormalisationStep
from provable.leakage.open_dimensions.modular_step import Step, Tangents


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
