"""The frozen description of a network: layers, shapes and loss, and no numerics."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from provable.architectures import description, fields
from provable.architectures.fields import Shape
from provable.architectures.layers import MOST_LAYERS, Layer, chain_shapes, named_parameter_shapes
from provable.errors import InputError

LOSSES = ("squared", "logistic", "cross_entropy")
"""The losses of ``provable-architecture/1``."""


@dataclass(frozen=True)
class Architecture:
    """A network without its parameters.

    Parameters
    ----------
    name : str
        One line of printable text.
    input_shape : tuple of int
        Shape of one sample, without the batch axis: (features,) or (channels, height, width).
    layers : tuple of Layer
        The layers in order; the last one must leave a flat output.
    loss : {"squared", "logistic", "cross_entropy"}
        Σ_k ½(f_k - y_k)²; log(1 + exp(-y f)) with y = ±1 and one output; softmax with an integer label.

    Raises
    ------
    InputError
        If a field is wrong or the shapes do not fit; the message names the field or the layer.
    """

    name: str
    input_shape: Shape
    layers: tuple[Layer, ...]
    loss: str

    def __post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.isprintable() or not 1 <= len(self.name) <= 200:
            raise InputError(
                f"name: found {fields.shown(self.name)}; one line of 1 to 200 printable characters is accepted"
            )
        extents = fields.sequence(self.input_shape, "input_shape", longest=8, of="positive integers")
        shape = tuple(fields.integer(extent, f"input_shape[{axis}]", minimum=1) for axis, extent in enumerate(extents))
        object.__setattr__(self, "input_shape", shape)
        entries = fields.sequence(self.layers, "layers", longest=MOST_LAYERS, of="layers")
        for index, layer in enumerate(entries):
            if not isinstance(layer, Layer) or not hasattr(type(layer), "type"):
                raise InputError(f"layers[{index}]: found {fields.shown(layer)}; a layer is accepted")
        object.__setattr__(self, "layers", tuple(entries))
        if not isinstance(self.loss, str) or self.loss not in LOSSES:
            raise InputError(f"loss: found {fields.shown(self.loss)}; one of {', '.join(LOSSES)} is accepted")
        self._check_output()
        if self.parameter_count > fields.LARGEST_ARRAY:
            raise InputError(
                f"layers: found {self.parameter_count} parameters in all; at most {fields.LARGEST_ARRAY} are accepted"
            )

    def _check_output(self) -> None:
        output = self.shapes[-1]
        last = f"layer {len(self.layers) - 1} ({self.layers[-1].type})"
        if len(output) != 1:
            raise InputError(f"{last}: found an output of shape {output}; a flat one is accepted: end with a flatten")
        if self.loss == "logistic" and output != (1,):
            raise InputError(f"loss: found logistic with {output[0]} outputs; one output is accepted")
        if self.loss == "cross_entropy" and output == (1,):
            raise InputError("loss: found cross_entropy with one output; two or more outputs are accepted")

    @cached_property
    def shapes(self) -> tuple[Shape, ...]:
        """Shapes of one sample between the layers.

        Returns
        -------
        tuple of tuple of int
            ``shapes[i]`` is the input shape of layer i, ``shapes[-1]`` the output shape.
        """
        return chain_shapes(self.layers, self.input_shape)

    @property
    def input_size(self) -> int:
        """The number of entries of one sample.

        Returns
        -------
        int
            The product of the input shape.
        """
        return math.prod(self.input_shape)

    @property
    def output_size(self) -> int:
        """The number of outputs C.

        Returns
        -------
        int
            The length of the flat output.
        """
        return math.prod(self.shapes[-1])

    @cached_property
    def _parameter_shapes(self) -> dict[str, Shape]:
        return named_parameter_shapes(self.layers, self.input_shape)

    @property
    def parameter_shapes(self) -> dict[str, Shape]:
        """Shapes of all parameters, in the order of the layers, weight before bias.

        Returns
        -------
        dict of str to tuple of int
            Keys ``"0/weight"``; ``"3.1/weight"`` inside the residual block 3, ``"3.shortcut.0/weight"`` beside it.
        """
        return dict(self._parameter_shapes)

    @property
    def parameter_count(self) -> int:
        """The number of scalar parameters P.

        Returns
        -------
        int
            The sum of all parameter sizes.
        """
        return sum(math.prod(shape) for shape in self._parameter_shapes.values())

    @property
    def sha256(self) -> str:
        """The SHA-256 of the canonical JSON text.

        Returns
        -------
        str
            64 hexadecimal digits.
        """
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def map_numbers(self, function: Callable[[Any], Any]) -> Architecture:
        """Return the description itself: its numbers are brought into an arithmetic where they are used.

        Parameters
        ----------
        function : callable
            A conversion of numbers, not called.

        Returns
        -------
        Architecture
            This very description.
        """
        return self

    def to_dict(self) -> dict[str, Any]:
        """Describe the architecture in JSON's types.

        Returns
        -------
        dict
            The object of ``provable-architecture/1``, every field written out.
        """
        return {
            "format": description.FORMAT,
            "name": self.name,
            "input_shape": list(self.input_shape),
            "layers": [description.layer_to_dict(layer) for layer in self.layers],
            "loss": self.loss,
        }

    def to_json(self) -> str:
        """Write the canonical JSON text: the contract's key order, every field, no spaces, ASCII.

        Returns
        -------
        str
            The text; equal architectures have equal texts.
        """
        return json.dumps(self.to_dict(), separators=(",", ":"), allow_nan=False)

    @classmethod
    def from_dict(cls, value: Any) -> Architecture:
        """Read a parsed JSON object.

        Parameters
        ----------
        value : mapping
            The object of ``provable-architecture/1``.

        Returns
        -------
        Architecture
            The description.

        Raises
        ------
        InputError
            For anything unknown, missing or wrong; the message names the field and the layer.
        """
        given = description.members(value, "architecture", required=("format", "name", "input_shape", "layers", "loss"))
        if given["format"] != description.FORMAT:
            raise InputError(f"format: found {fields.shown(given['format'])}; {description.FORMAT} is accepted")
        layers = description.layers_from_list(given["layers"], "layers")
        return cls(given["name"], given["input_shape"], layers, given["loss"])

    @classmethod
    def from_json(cls, text: str | bytes) -> Architecture:
        """Read a JSON text.

        Parameters
        ----------
        text : str or bytes
            A document of ``provable-architecture/1``.

        Returns
        -------
        Architecture
            The description.

        Raises
        ------
        InputError
            For malformed JSON and for anything unknown, missing or wrong, named.
        """
        return cls.from_dict(description.strict_json(text, where="architecture"))
