"""Which networks the audit can read, and what their activations and their last layers let through."""

from __future__ import annotations

import dataclasses

import numpy as np
from numpy.typing import NDArray

from provable.architectures import (
    ELU,
    GELU,
    Activation,
    Architecture,
    Conv2d,
    Flatten,
    Layer,
    LeakyReLU,
    Linear,
    Polynomial,
    ReLU,
    SiLU,
)
from provable.errors import UnsupportedError
from provable.leakage.layer_system import LayerSystem

INJECTIVE = "injective"
LOCALLY_INJECTIVE = "locally injective"
FLAT_PIECE = "with a flat piece"


@dataclasses.dataclass(frozen=True)
class Link:
    """A layer with parameters and the activations between it and the next one.

    Parameters
    ----------
    index : int
        Position in the architecture.
    layer : Conv2d or Linear
        The layer.
    system : LayerSystem
        The system for its input.
    activations : tuple of Activation
        What follows it.
    """

    index: int
    layer: Conv2d | Linear
    system: LayerSystem
    activations: tuple[Activation, ...]

    @property
    def is_convolution(self) -> bool:
        """Whether the layer is a convolution."""
        return isinstance(self.layer, Conv2d)

    @property
    def passes(self) -> str:
        """What the activations let through: ``"injective"``, ``"locally injective"`` or ``"with a flat piece"``."""
        kinds = [passing(activation) for activation in self.activations]
        return next((kind for kind in (FLAT_PIECE, LOCALLY_INJECTIVE) if kind in kinds), INJECTIVE)

    @property
    def is_affine(self) -> bool:
        """Whether nothing but affine functions follows, so that the derivative is the same everywhere."""
        return all(
            activation.type == "identity" or (isinstance(activation, Polynomial) and _degree(activation) <= 1)
            for activation in self.activations
        )


def _degree(activation: Polynomial) -> int:
    return max((power for power, value in enumerate(activation.coefficients) if value), default=0)


def passing(activation: Activation) -> str:
    """Tell what an activation lets through.

    Parameters
    ----------
    activation : Activation
        The activation.

    Returns
    -------
    {"injective", "locally injective", "with a flat piece"}
        The second for functions whose derivative vanishes at isolated points only, but which take some values more than
        once; the third for functions that are constant on an interval.
    """
    if isinstance(activation, ReLU):
        return FLAT_PIECE
    if isinstance(activation, LeakyReLU | ELU):
        slope = activation.negative_slope if isinstance(activation, LeakyReLU) else activation.alpha
        return INJECTIVE if slope > 0 else LOCALLY_INJECTIVE if slope < 0 else FLAT_PIECE
    if isinstance(activation, Polynomial):
        return INJECTIVE if _degree(activation) == 1 else LOCALLY_INJECTIVE if _degree(activation) else FLAT_PIECE
    return LOCALLY_INJECTIVE if isinstance(activation, GELU | SiLU) else INJECTIVE


def links(architecture: Architecture) -> tuple[Link, ...]:
    """Read a network as a chain of layers with parameters.

    Parameters
    ----------
    architecture : Architecture
        The network.

    Returns
    -------
    tuple of Link
        From the input on: convolutions, then linear layers, at least one of them.

    Raises
    ------
    UnsupportedError
        If there is a layer without a layer system, or the recursion has no linear layer to start from.
    """
    found: list[tuple[int, Conv2d | Linear, list[Activation]]] = []
    for index, layer in enumerate(architecture.layers):
        if isinstance(layer, Conv2d | Linear):
            found.append((index, layer, []))
        elif isinstance(layer, Activation):
            if not found:
                raise _refusal(index, layer, "comes before the first layer with parameters; none is accepted there")
            if isinstance(layer, Polynomial) and _degree(layer) == 0:
                raise _refusal(index, layer, "is constant, so no gradient passes; a degree of at least 1 is accepted")
            found[-1][2].append(layer)
        elif not isinstance(layer, Flatten):
            raise _refusal(
                index, layer, "has no layer system here; linear, conv2d, flatten and activations are accepted"
            )
    if not found or not isinstance(found[-1][1], Linear):
        last = len(architecture.layers) - 1 if not found else found[-1][0]
        raise _refusal(
            last, architecture.layers[last], "ends the network; a linear layer, where the recursion starts, is needed"
        )
    if found[-1][2] and not any(isinstance(layer, Linear) and layer.bias for _, layer, _ in found):
        raise _refusal(
            found[-1][0],
            found[-1][1],
            "has no bias and is followed by an activation; a bias or no activation is needed",
        )
    return tuple(
        Link(index, layer, LayerSystem.of_layer(layer, architecture.shapes[index]), tuple(activations))
        for index, layer, activations in found
    )


def _refusal(index: int, layer: Layer, reason: str) -> UnsupportedError:
    return UnsupportedError(f"layer {index} ({layer.type}): {reason}")


def dead_inputs(chain: tuple[Link, ...]) -> int:
    """Count the input values on which neither the output nor any gradient depends.

    Parameters
    ----------
    chain : tuple of Link
        The network.

    Returns
    -------
    int
        Values that no convolution of the stack passes on to a value that is passed on itself.
    """
    useful: NDArray[np.bool_] | None = None
    for link in reversed(chain):
        if not link.is_convolution:
            continue
        below = np.zeros(link.system.pixels, dtype=np.bool_)
        for row, column in link.system.lags():
            positions, pixels = link.system.touched(row, column)
            below[pixels if useful is None else pixels[useful[positions]]] = True
        useful = below
    return 0 if useful is None else chain[0].system.in_channels * int(np.count_nonzero(~useful))


def start(architecture: Architecture, chain: tuple[Link, ...]) -> tuple[Link, str, bool]:
    """Tell where an attacker's recursion starts, and what is known there.

    Parameters
    ----------
    architecture : Architecture
        The network.
    chain : tuple of Link
        The same, read.

    Returns
    -------
    link : Link
        The linear layer whose input is known first.
    how : str
        Why it is known, in a sentence.
    unique : bool
        False if it is known up to two candidates only.
    """
    for link in chain:
        if not link.is_convolution and link.layer.bias:
            how = (
                f"layer {link.index} (linear) has a bias: its weight gradient divided by its bias gradient is its input, and "
                "the bias gradient is its sensitivity, whatever follows (some entry of the bias gradient is not 0)"
            )
            return link, how, True
    outputs = architecture.output_size
    unique = outputs > 2 if architecture.loss == "cross_entropy" else outputs > 1
    number = "one scale" if unique else "at most two scales (twins)"
    how = (
        f"layer {chain[-1].index} (linear) has no bias: its weight gradient gives its input up to scale, and the "
        f"{architecture.loss} loss with a known label leaves {number}"
    )
    return chain[-1], how, unique
