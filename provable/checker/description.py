"""Reading of architecture descriptions: what a check needs of layers and shapes, and nothing else."""

from __future__ import annotations

import math
from typing import Any

from provable.checker.documents import natural, parse
from provable.checker.verdict import Invalid

Shape = tuple[int, ...]
Layer = dict[str, Any]

ACTIVATIONS = frozenset(
    ["relu", "leaky_relu", "tanh", "sigmoid", "softplus", "erf", "gelu", "silu", "elu", "identity", "polynomial"]
)
"""Layers that act on every entry by itself."""

_WINDOW = frozenset({"kernel_size", "stride", "padding"})

_KEYS: dict[str, frozenset[str]] = {
    "linear": frozenset({"out_features", "bias"}),
    "conv2d": _WINDOW | {"out_channels", "bias"},
    "avg_pool2d": _WINDOW,
    "max_pool2d": _WINDOW,
    "batch_norm2d": frozenset({"eps"}),
    "residual": frozenset({"layers", "shortcut"}),
    "leaky_relu": frozenset({"negative_slope"}),
    "elu": frozenset({"alpha"}),
    "polynomial": frozenset({"coefficients"}),
}

_WINDOWED = frozenset({"conv2d", "avg_pool2d", "max_pool2d"})


def layers_of(text: str) -> tuple[list[Layer], Shape]:
    """Read an architecture description.

    Parameters
    ----------
    text : str
        JSON of `provable-architecture/1`.

    Returns
    -------
    layers : list of dict
        The layers as they stand in the document.
    input_shape : tuple of int
        Shape of one sample.

    Raises
    ------
    Invalid
        If it is no such document.
    """
    document = parse(text, "architecture")
    if not isinstance(document, dict) or document.get("format") != "provable-architecture/1":
        raise Invalid("the architecture is not a provable-architecture/1 document")
    if set(document) != {"format", "name", "input_shape", "layers", "loss"}:
        raise Invalid("the architecture has other keys than format, name, input_shape, layers and loss")
    shape = document.get("input_shape")
    if not isinstance(shape, list) or not 1 <= len(shape) <= 8:
        raise Invalid("the architecture has no input_shape")
    extents = tuple(natural(extent, "input_shape", 1) for extent in shape)
    return _layer_list(document.get("layers")), extents


def _layer_list(value: Any) -> list[Layer]:
    if not isinstance(value, list):
        raise Invalid("the architecture has no list of layers")
    for layer in value:
        if not isinstance(layer, dict) or not isinstance(layer.get("type"), str):
            raise Invalid("the architecture has a layer without a type")
        unknown = set(layer) - {"type"} - _KEYS.get(layer["type"], frozenset())
        if unknown:
            raise Invalid(f"a layer {ascii(layer['type'])[:40]} has the unknown key {ascii(min(unknown))[:40]}")
    return value


def pair(layer: Layer, key: str, default: Any = None, least: int = 1) -> tuple[int, int]:
    """Read a size that is one integer or a list of two.

    Parameters
    ----------
    layer : dict
        The layer.
    key : str
        The size's name.
    default : object
        What stands for an absent key.
    least : int
        Smallest integer accepted.

    Returns
    -------
    tuple of two int
        Vertical and horizontal size.

    Raises
    ------
    Invalid
        If it is neither.
    """
    value = layer.get(key, default)
    if isinstance(value, list) and len(value) == 2:
        return natural(value[0], key, least), natural(value[1], key, least)
    both = natural(value, key, least)
    return both, both


def output_shape(layer: Layer, shape: Shape) -> Shape:
    """Propagate a shape through a layer.

    Parameters
    ----------
    layer : dict
        The layer.
    shape : tuple of int
        Shape of its input.

    Returns
    -------
    tuple of int
        Shape of its output.

    Raises
    ------
    Invalid
        If the layer is unknown or does not take that shape.
    """
    kind = layer["type"]
    if kind in ACTIVATIONS or kind == "batch_norm2d":
        return shape
    if kind == "flatten":
        return (math.prod(shape),)
    if kind == "linear":
        if len(shape) != 1:
            raise Invalid("a linear layer has an input that is not flat")
        return (natural(layer.get("out_features"), "out_features", 1),)
    if kind == "residual":
        return shape_after(_layer_list(layer.get("layers")), shape)
    if kind not in _WINDOWED:
        raise Invalid(f"the layer type {ascii(kind)[:40]} is unknown")
    if len(shape) != 3:
        raise Invalid(f"a {kind} layer has an input that is no image")
    kernel, padding = pair(layer, "kernel_size"), pair(layer, "padding", 0, least=0)
    stride = pair(layer, "stride", 1 if kind == "conv2d" else list(kernel))
    channels = natural(layer.get("out_channels"), "out_channels", 1) if kind == "conv2d" else shape[0]
    height, width = (
        (extent + 2 * p - k) // s + 1 for extent, k, s, p in zip(shape[1:], kernel, stride, padding, strict=True)
    )
    if height < 1 or width < 1:
        raise Invalid(f"a {kind} layer has a kernel larger than its input")
    return channels, height, width


def shape_after(layers: list[Layer], shape: Shape) -> Shape:
    """Propagate a shape through several layers.

    Parameters
    ----------
    layers : list of dict
        The layers.
    shape : tuple of int
        Shape of the input.

    Returns
    -------
    tuple of int
        Shape of the output.
    """
    for layer in layers:
        shape = output_shape(layer, shape)
    return shape


def layer_at(layers: list[Layer], shape: Shape, path: str) -> tuple[Layer, Shape]:
    """Find a layer by its path, and the shape of its input.

    Parameters
    ----------
    layers : list of dict
        The layers.
    shape : tuple of int
        Shape of the input of the first one.
    path : str
        As in parameter names: ``"3"``, ``"3.1"`` inside a residual layer, ``"3.shortcut.0"`` on its shortcut.

    Returns
    -------
    layer : dict
        The layer.
    shape : tuple of int
        Shape of its input.

    Raises
    ------
    Invalid
        If there is none.
    """
    first, _, rest = path.partition(".")
    if len(path) <= 200 and first.isascii() and first.isdigit() and int(first) < len(layers):
        layer, entering = layers[int(first)], shape_after(layers[: int(first)], shape)
        if not rest:
            return layer, entering
        if layer["type"] == "residual":
            branch = "shortcut" if rest.startswith("shortcut.") else "layers"
            return layer_at(_layer_list(layer.get(branch, [])), entering, rest.removeprefix("shortcut."))
    raise Invalid(f"the architecture has no layer {ascii(path)[:40]}")
