"""Frozen descriptions of layers, all of them importable from here, and of chains of them; names are PyTorch's."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import ClassVar

from provable.architectures import fields
from provable.architectures.activations import (
    ELU,
    GELU,
    Activation,
    Erf,
    Identity,
    Layer,
    LeakyReLU,
    Polynomial,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from provable.architectures.fields import Shape
from provable.architectures.images import AvgPool2d, BatchNorm2d, Conv2d, MaxPool2d
from provable.errors import InputError

__all__ = [
    "ELU",
    "GELU",
    "LAYER_TYPES",
    "Activation",
    "AvgPool2d",
    "BatchNorm2d",
    "Conv2d",
    "Erf",
    "Flatten",
    "Identity",
    "Layer",
    "LeakyReLU",
    "Linear",
    "MaxPool2d",
    "Polynomial",
    "ReLU",
    "Residual",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "Tanh",
    "chain_shapes",
]

DEEPEST_NESTING = 16
"""Residual blocks inside residual blocks, at most."""

MOST_LAYERS = 4096
"""Layers in one list, at most."""


@dataclass(frozen=True)
class Linear(Layer):
    """Affine map of a flat input: y = W x + b.

    Parameters
    ----------
    out_features : int
        The number of outputs.
    bias : bool
        Whether b is there.
    """

    type: ClassVar[str] = "linear"
    out_features: int
    bias: bool = True

    def __post_init__(self) -> None:
        features = fields.integer(self.out_features, f"{self.type}.out_features", minimum=1)
        object.__setattr__(self, "out_features", features)
        fields.boolean(self.bias, f"{self.type}.bias")

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample.

        Parameters
        ----------
        input_shape : tuple of int
            (features,).

        Returns
        -------
        tuple of int
            (out_features,).

        Raises
        ------
        InputError
            If the input is not flat.
        """
        if len(input_shape) != 1:
            raise InputError(f"found an input of shape {input_shape}; a flat one is accepted: put a flatten before it")
        return (self.out_features,)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shapes of the parameters.

        Parameters
        ----------
        input_shape : tuple of int
            (features,).

        Returns
        -------
        dict of str to tuple of int
            ``weight`` (out_features, features) and, if wanted, ``bias`` (out_features,).
        """
        self.output_shape(input_shape)
        shapes: dict[str, Shape] = {"weight": fields.bounded((self.out_features, input_shape[0]), "a weight")}
        return shapes | ({"bias": (self.out_features,)} if self.bias else {})


@dataclass(frozen=True)
class Flatten(Layer):
    """All entries of a sample in row-major order."""

    type: ClassVar[str] = "flatten"

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample.

        Parameters
        ----------
        input_shape : tuple of int
            Any shape.

        Returns
        -------
        tuple of int
            (number of entries,).
        """
        return (math.prod(input_shape),)


def chain_shapes(layers: tuple[Layer, ...], input_shape: Shape) -> tuple[Shape, ...]:
    """Shapes between the layers of a chain.

    Parameters
    ----------
    layers : tuple of Layer
        The layers in order.
    input_shape : tuple of int
        Shape of one input sample.

    Returns
    -------
    tuple of tuple of int
        The input shape of every layer, then the output shape.

    Raises
    ------
    InputError
        If a layer does not accept its input, or would produce or need an absurdly large array; the message names
        the layer by index and type.
    """
    shapes = [fields.bounded(input_shape, "an input")]
    for index, layer in enumerate(layers):
        try:
            output = fields.bounded(layer.output_shape(shapes[-1]), "an output")
            if not isinstance(layer, Residual):  # whose own chains were checked by its output_shape
                layer.parameter_shapes(shapes[-1])
        except InputError as error:
            raise InputError(f"layer {index} ({layer.type}): {error}") from None
        shapes.append(output)
    return tuple(shapes)


@dataclass(frozen=True)
class Residual(Layer):
    """The sum of a chain of layers and a shortcut around it.

    Parameters
    ----------
    layers : tuple of Layer
        The chain.
    shortcut : tuple of Layer
        The layers on the shortcut; none for the identity.
    """

    type: ClassVar[str] = "residual"
    layers: tuple[Layer, ...]
    shortcut: tuple[Layer, ...] = ()

    def __post_init__(self) -> None:
        for name in ("layers", "shortcut"):
            chain = getattr(self, name)
            if name == "layers" or not isinstance(chain, list | tuple) or chain:
                fields.sequence(chain, f"{self.type}.{name}", longest=MOST_LAYERS, of="layers")
            for index, layer in enumerate(chain):
                if not isinstance(layer, Layer) or not hasattr(type(layer), "type"):
                    raise InputError(f"{self.type}.{name}[{index}]: found {fields.shown(layer)}; a layer is accepted")
            object.__setattr__(self, name, tuple(chain))
        if self.nesting > DEEPEST_NESTING:
            raise InputError(
                f"{self.type}.layers: found residual blocks nested {self.nesting} deep; "
                f"at most {DEEPEST_NESTING} levels are accepted"
            )

    @property
    def nesting(self) -> int:
        """How many residual blocks lie inside each other, this one included.

        Returns
        -------
        int
            1 for a block without blocks inside.
        """
        inner = (layer.nesting for layer in self.layers + self.shortcut if isinstance(layer, Residual))
        return 1 + max(inner, default=0)

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of one output sample.

        Parameters
        ----------
        input_shape : tuple of int
            Any shape that both branches accept.

        Returns
        -------
        tuple of int
            The common shape of both branches.

        Raises
        ------
        InputError
            If a branch does not accept the input or their shapes differ.
        """
        straight = chain_shapes(self.layers, input_shape)[-1]
        try:
            around = chain_shapes(self.shortcut, input_shape)[-1]
        except InputError as error:
            raise InputError(f"shortcut: {error}") from None
        if straight != around:
            raise InputError(f"found branches of shapes {straight} and {around} (shortcut); equal shapes are accepted")
        return straight

    def parameter_shapes(self, input_shape: Shape) -> dict[str, Shape]:
        """Shapes of the parameters of both branches.

        Parameters
        ----------
        input_shape : tuple of int
            Shape of one input sample.

        Returns
        -------
        dict of str to tuple of int
            Keys as ``"1/weight"``, ``"2.0/bias"``, ``"shortcut.0/weight"``.
        """
        straight = named_parameter_shapes(self.layers, input_shape)
        around = named_parameter_shapes(self.shortcut, input_shape)
        return straight | {f"shortcut.{name}": shape for name, shape in around.items()}


def named_parameter_shapes(layers: tuple[Layer, ...], input_shape: Shape) -> dict[str, Shape]:
    """Shapes of all parameters of a chain, in the order of the layers.

    Parameters
    ----------
    layers : tuple of Layer
        The layers in order.
    input_shape : tuple of int
        Shape of one input sample.

    Returns
    -------
    dict of str to tuple of int
        Keys as ``"0/weight"``, and ``"3.1/weight"`` for a layer inside the residual block 3.
    """
    result: dict[str, Shape] = {}
    shapes = chain_shapes(layers, input_shape)
    for index, layer in enumerate(layers):
        joint = "." if isinstance(layer, Residual) else "/"
        for name, shape in layer.parameter_shapes(shapes[index]).items():
            result[f"{index}{joint}{name}"] = shape
    return result


LAYER_TYPES: dict[str, type[Layer]] = {
    layer.type: layer
    for layer in (
        Linear,
        Conv2d,
        Flatten,
        AvgPool2d,
        MaxPool2d,
        BatchNorm2d,
        Residual,
        ReLU,
        LeakyReLU,
        Tanh,
        Sigmoid,
        Softplus,
        Erf,
        GELU,
        SiLU,
        ELU,
        Identity,
        Polynomial,
    )
}
"""Every layer type of ``provable-architecture/1`` by its name there."""
