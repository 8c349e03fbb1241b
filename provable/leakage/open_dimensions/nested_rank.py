r"""An upper bound of the rank of x ↦ all gradients, layer by layer from the loss to the input.

Fix parameters and label. For the signal x_i at the input of layer i let Γ_i(x_i) be all parameter gradients of the layers
i, i+1, …: everything behind x_i is a function of x_i. Let ρ_i be the rank of dΓ_i, n_i the size of x_i. Behind the last
layer there is no gradient, so ρ = 0 there, and N* = n_1 - ρ_1. Each rule below bounds ρ_i by ρ_{i+1}, at every input and
for all parameters where the network is differentiable; the bound is the smallest.

Used values. If no connection leads from a value to the output, the sensitivity of all that is computed from it is zero,
so neither the loss nor a gradient depends on it: ρ_i <= number of used values of x_i.

Passing on. A layer without parameters has Γ_i = Γ_{i+1} ∘ layer: ρ_i <= ρ_{i+1}.

Own gradients. Γ_i is (G_i, Γ_{i+1}(x_{i+1})) with x_{i+1} a function of x_i, so the rows of dΓ_i are those of dG_i and
combinations of those of dΓ_{i+1}: ρ_i <= ρ_{i+1} + rank dG_i. Let D be the sensitivity of the layer's output and P the
patches of its input, so that G_i = D Pᵀ and the gradient of a bias is D summed over positions. rank dG_i is at most

- the number of weights that meet a used position, plus the number of biases;
- per kernel entry (lag) with m used positions, m (out + in - m) in place of out · in if m < min(out, in), because the
  gradient of this lag is a product of matrices of the shapes out × m and m × in: the rank of the derivative of the
  product at factors of ranks α, β <= m is out α + in β - α β at most, which grows with both;
- the same for all lags at once.

Conservation laws. Let layer i have outputs z and let x = s(z) with s(c z) = c^k s(z), such as (leaky) ReLU, then any
pooling and flattening, reach layer i+1. With sums over the positions of one output channel o, by Euler's formula

    <W_o, G_o>_i + b_o ∂L/∂b_o = Σ z D = k Σ x ∂L/∂x = k <W_{:,o}, G_{:,o}>_{i+1},                       (1)

an identity in x, linear in the gradients and with known coefficients: modulo dΓ_{i+1} the rows of dG_i fulfil one linear
relation per output channel. The relations of different channels involve different rows, so they are independent for
generic parameters and lower the count of weights and biases by the number of channels. If nothing but linear functions of
single channels lie in between, (1) holds for any two channels: <W_o, G_o'>_i + b_o ∂L/∂b_o' = <W_{:,o'}, G_{:,o}>_{i+1}, and
for each o' the relations are generically as many as the rank of the matrix (W, b), min(out, patch + 1 if there is a bias).
They are identities between functions, so rows of dG_i that vanish anyhow are left out on both sides. A bound of the rank
that holds for generic parameters holds for all, because rank is lower semicontinuous and the derivative continuous where
no activation is at a kink. A normalisation in evaluation mode is y = γ x̂ + β: its γ ∂L/∂γ + β ∂L/∂β = Σ y ∂L/∂y takes the
left side of (1).

At points where a piecewise linear activation keeps k channels of a layer on one side of its kink each, (1) holds for all
k² pairs of them, so the rank there is lower than in other cells. The bound does not use this.

Layer system. Let v be in the null space of U_i = [W_i; K_i]. Along v z_i stays, so everything behind it and D_i stay, and
the gradient of layer i changes by K_i v = 0 (T3). So the null space of U_i is in that of dΓ_i: ρ_i <= rank U_i, at most the
generic rank of U_i. The same with the rows of W at used positions only, since D is zero at the others. If no bound of the
rank is given, it is counted: for each o' the combinations Σ W[o,c,a,b] K_{(o',c,a,b),:} = Σ_p D_o'(p) W_{(o,p),:} are in the
row space of W, so the rows of K add at most patch - min(out, patch) each: over used positions p, and kernel entries that meet
any, ρ_i <= Σ_p min(out, in · lags inside) + out (patch - out)₊.

Residual blocks. Γ at the input of a block is all gradients inside and Γ at its output: the gradients of its layers are
added one after the other, each with its own count and with the laws between neighbours of one branch. If both branches
begin with layers U, U', what is in the null space of both changes nothing: ρ <= rank U + rank U'.

Several samples. All of this holds for the gradients of a sum over samples, with the values and positions of all samples.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from provable.architectures import (
    Activation,
    Architecture,
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
)
from provable.architectures.fields import Shape
from provable.architectures.layers import chain_shapes
from provable.errors import InputError
from provable.leakage.layer_systems.layer_system import LayerSystem
from provable.leakage.open_dimensions.coverage import Mask, pixels_looked_at

USED = "used values"
PASSING = "passing on"
GRADIENTS = "own gradients"
LAWS = "own gradients but for conservation laws"
SYSTEM = "layer system"
COUNTED = "counted layer system"


@dataclasses.dataclass(frozen=True)
class NestedStep:
    """The bound at the input of one layer.

    Parameters
    ----------
    path : str
        The layer, ``"0"``, or a residual block.
    type : str
        Its type.
    unknowns : int
        Size of its input.
    value : int
        The gradients of this layer and of all behind it have at most this rank as functions of its input.
    how : str
        The rule that gave the bound: ``"used values"``, ``"passing on"``, ``"own gradients"``, ``"own gradients but for
        conservation laws"``, ``"layer system"`` or ``"counted layer system"``.
    """

    path: str
    type: str
    unknowns: int
    value: int
    how: str


@dataclasses.dataclass(frozen=True)
class NestedRank:
    """A proved upper bound of the rank of the derivative of x ↦ all gradients.

    Parameters
    ----------
    value : int
        The rank is at most this, for all parameters and inputs where the network is differentiable.
    unknowns : int
        Size of the input of the network.
    steps : tuple of NestedStep
        The bounds from the first layer to the last one.
    """

    value: int
    unknowns: int
    steps: tuple[NestedStep, ...]

    @property
    def nullity(self) -> int:
        """At least so many dimensions of the input change no gradient to first order: a lower bound of N*."""
        return self.unknowns - self.value

    @property
    def how(self) -> str:
        """The rules that were used, from the input on, up to the first one that does not refer to the layer behind."""
        parts = []
        for step in self.steps:
            if step.how != PASSING:
                parts.append(f"layer {step.path} ({step.type}): {step.how}, {step.value} of {step.unknowns}")
            if step.how in (USED, SYSTEM, COUNTED):
                break
        return "; ".join(parts)


def nested_rank_bound(
    architecture: Architecture, rank_upper: Mapping[str, int] | None = None, *, batch_size: int = 1
) -> NestedRank:
    """Bound the rank of the derivative of the map from the samples to all gradients, summed over them, from above.

    Parameters
    ----------
    architecture : Architecture
        Any network; the loss and the label are known.
    rank_upper : mapping of str to int, optional
        Proved upper bounds of the generic rank of the layer systems of convolutions and linear layers, by path (``"0"``,
        ``"3.1"``, ``"3.shortcut.0"``), as far as there are any; of the systems for all samples at once.
    batch_size : int
        Number of samples.

    Returns
    -------
    NestedRank
        The bound, with one step per layer of the outer chain. N* is at least the size of the input minus its value.

    Raises
    ------
    InputError
        If a bound is negative or its path names no convolution and no linear layer, or there are no samples.
    """
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise InputError(f"batch_size: found {str(batch_size)[:40]!r}; a positive integer is accepted")
    bounds = dict(rank_upper or {})
    known = dict(_leaves(architecture.layers))
    for path, bound in bounds.items():
        if not isinstance(known.get(path), Conv2d | Linear):
            raise InputError(f"rank_upper: found the path {str(path)[:40]!r}; those of conv2d and linear are accepted")
        if isinstance(bound, bool) or not isinstance(bound, int | np.integer) or bound < 0:
            raise InputError(f"rank_upper[{path!r}]: found {str(bound)[:40]!r}; a nonnegative integer is accepted")
    shapes, masks = architecture.shapes, pixels_looked_at(architecture.layers, architecture.input_shape)
    gains = _gains(architecture.layers, shapes, None, batch_size)
    steps: list[NestedStep] = []
    behind = 0
    for index in reversed(range(len(architecture.layers))):
        layer, path = architecture.layers[index], f"{index}"
        gain, how = gains[index]
        unknowns = batch_size * math.prod(shapes[index])
        rules = [(batch_size * _used_values(shapes[index], masks[index]), USED), (behind + gain, how)]
        system = _system_bound(layer, path, bounds)
        if system is not None:
            rules.append((system, SYSTEM))
        if isinstance(layer, Conv2d | Linear):
            rules.append((_counted_system(layer, shapes[index], masks[index + 1], batch_size), COUNTED))
        behind, how = min(rules, key=lambda rule: rule[0])
        steps.append(NestedStep(path, layer.type, unknowns, behind, how))
    return NestedRank(behind, batch_size * architecture.input_size, tuple(reversed(steps)))


def _leaves(layers: tuple[Layer, ...], prefix: str = "") -> Iterator[tuple[str, Layer]]:
    for index, layer in enumerate(layers):
        yield f"{prefix}{index}", layer
        if isinstance(layer, Residual):
            yield from _leaves(layer.layers, f"{prefix}{index}.")
            yield from _leaves(layer.shortcut, f"{prefix}{index}.shortcut.")


def _system_bound(layer: Layer, path: str, bounds: Mapping[str, int]) -> int | None:
    if isinstance(layer, Residual):
        if not layer.shortcut:  # the identity: nothing but zero leaves the output of both branches
            return None
        straight = _system_bound(layer.layers[0], f"{path}.0", bounds)
        around = _system_bound(layer.shortcut[0], f"{path}.shortcut.0", bounds)
        return None if straight is None or around is None else straight + around
    return bounds.get(path)


def _used_values(shape: Shape, useful: Mask | None) -> int:
    return math.prod(shape) if useful is None else shape[0] * int(np.count_nonzero(useful))


def _gains(
    layers: tuple[Layer, ...], shapes: tuple[Shape, ...], useful: Mask | None, batch_size: int
) -> list[tuple[int, str]]:
    """Bound, per layer of a chain, the rank that its gradients add to those behind, and name the rule."""
    result = []
    masks = pixels_looked_at(layers, shapes[0], useful)
    for index, layer in enumerate(layers):
        behind = masks[index + 1]
        if isinstance(layer, Residual):
            branches = (layer.layers, layer.shortcut)
            inner = [_gains(branch, chain_shapes(branch, shapes[index]), behind, batch_size) for branch in branches]
            result.append((sum(gain for branch in inner for gain, _ in branch), GRADIENTS))
            continue
        counted, refined, rank = _gradient_counts(layer, shapes[index], behind, batch_size)
        gain = min(counted - _laws(layers, index, shapes[index + 1][0], rank), refined)
        result.append((gain, PASSING if not counted else LAWS if gain < min(counted, refined) else GRADIENTS))
    return result


def _gradient_counts(layer: Layer, shape: Shape, useful: Mask | None, batch_size: int) -> tuple[int, int, int]:
    """Count the gradients of a layer, plainly and by factors, and bound the generic rank of its matrix (W, b)."""
    if isinstance(layer, BatchNorm2d):
        return 2 * shape[0], 2 * shape[0], 1
    if not isinstance(layer, Conv2d | Linear):
        return 0, 0, 0
    system = LayerSystem.of_layer(layer, shape)
    outputs, inputs, biases = system.out_channels, system.in_channels, system.out_channels * layer.bias
    wanted, seen = _used_positions(system, useful)
    live = int(np.count_nonzero(seen))
    per_lag = sum(_product_dimension(outputs, inputs, batch_size * int(count)) for count in seen)
    whole = _product_dimension(outputs, inputs * live, batch_size * int(np.count_nonzero(wanted)))
    rank = min(outputs, inputs * live + layer.bias)
    return outputs * inputs * live + biases, min(per_lag, whole) + biases, rank


def _counted_system(layer: Conv2d | Linear, shape: Shape, useful: Mask | None, batch_size: int) -> int:
    """Bound the rank of the layer system without the rows of W at positions that are not used."""
    system = LayerSystem.of_layer(layer, shape)
    outputs, inputs = system.out_channels, system.in_channels
    wanted, seen = _used_positions(system, useful)
    inside = np.multiply.outer(system.axes[0].inside, system.axes[1].inside).reshape(-1)[wanted]
    patch = inputs * int(np.count_nonzero(seen))
    return batch_size * int(np.minimum(outputs, inputs * inside).sum()) + outputs * (patch - min(outputs, patch))


def _used_positions(system: LayerSystem, useful: Mask | None) -> tuple[Mask, NDArray[np.intp]]:
    """Which output positions are used, and through every lag how many of them see a pixel."""
    wanted = np.ones(system.positions, dtype=np.bool_) if useful is None else useful.reshape(-1)
    touched = (system.touched(row, column)[0] for row, column in system.lags())
    return wanted, np.array([np.count_nonzero(wanted[positions]) for positions in touched])


def _product_dimension(rows: int, columns: int, inner: int) -> int:
    """Largest rank of the derivative of (A, B) ↦ A Bᵀ, with A of shape (rows, inner) and B of shape (columns, inner)."""
    width = min(rows, columns, inner)
    return width * (rows + columns - width)


def _laws(layers: tuple[Layer, ...], index: int, outputs: int, rank: int) -> int:
    """Count the independent conservation laws between a layer with parameters and the next one in its chain."""
    if rank == 0:
        return 0
    linear = not isinstance(layers[index], BatchNorm2d)
    for layer in layers[index + 1 :]:
        if isinstance(layer, Conv2d | Linear):
            return outputs * rank if linear else outputs
        if isinstance(layer, Flatten | AvgPool2d):
            continue
        if isinstance(layer, MaxPool2d) or (isinstance(layer, Activation) and _is_homogeneous(layer)):
            linear = linear and isinstance(layer, Activation) and _is_linear(layer)
            continue
        return 0
    return 0


def _is_homogeneous(activation: Activation) -> bool:
    if isinstance(activation, Polynomial):
        return sum(value != 0 for value in activation.coefficients) == 1 and activation.coefficients[0] == 0
    return isinstance(activation, ReLU | LeakyReLU | Identity)


def _is_linear(activation: Activation) -> bool:
    return isinstance(activation, Identity) or (
        isinstance(activation, Polynomial) and all(value == 0 for value in activation.coefficients[2:])
    )
