"""The parameters of a network: arrays by name, in the shapes that the architecture prescribes."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from provable import arithmetic
from provable.architectures import Architecture
from provable.arithmetic import Array, Float
from provable.errors import InputError
from provable.measures import as_numbers

SCALES = ("he", "lecun", "standard_normal")
"""Distributions from which random weights can be drawn."""


@dataclass(frozen=True, eq=False)
class Parameters(Mapping[str, Array]):
    """A point θ of the parameter space, or a tangent vector to it, of one architecture.

    Parameters
    ----------
    architecture : Architecture
        What the shapes are checked against.
    arrays : mapping of str to ndarray
        ``"0/weight"`` and so on, each exactly in the prescribed shape; float64, or object arrays of exact numbers.

    Raises
    ------
    InputError
        If a name is missing or unknown, a shape is wrong, a number is not finite or arithmetics are mixed.
    """

    architecture: Architecture
    arrays: Mapping[str, Array]

    def __post_init__(self) -> None:
        shapes = self.architecture.parameter_shapes
        for name in self.arrays:
            if name not in shapes:
                raise InputError(
                    f"parameters: found the unknown name {str(name)!r:.60}; {', '.join(shapes) or 'none'} are accepted"
                )
        checked: dict[str, Array] = {}
        for name, shape in shapes.items():
            if name not in self.arrays:
                raise InputError(f"parameters: found no {name}; an array of shape {shape} is required")
            array = as_numbers(self.arrays[name], f"parameters {name}")
            if array.shape != shape:
                raise InputError(f"parameters {name}: found shape {array.shape}; {shape} is accepted")
            checked[name] = array
        kinds = {arithmetic.kind(array) for array in checked.values()}
        if len(kinds) > 1:
            raise InputError(
                f"parameters: found numbers of several arithmetics ({', '.join(sorted(kinds))}); one is accepted"
            )
        object.__setattr__(self, "arrays", checked)

    def __getitem__(self, name: str) -> Array:
        return self.arrays[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.arrays)

    def __len__(self) -> int:
        return len(self.arrays)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Parameters):
            return NotImplemented
        return self.architecture == other.architecture and all(
            np.array_equal(array, other[name]) for name, array in self.items()
        )

    __hash__ = None  # type: ignore[assignment]

    @property
    def kind(self) -> str:
        """The arithmetic of the numbers.

        Returns
        -------
        {"float64", "rational", "modular", "ball"}
            ``"float64"`` if there are no parameters at all.
        """
        return next((arithmetic.kind(array) for array in self.arrays.values()), "float64")

    def vector(self) -> Array:
        """Concatenate all parameters.

        Returns
        -------
        ndarray of shape (P,)
            Each array in row-major order, arrays in the order of ``architecture.parameter_shapes``.
        """
        if not self.arrays:
            return np.zeros(0)
        return np.concatenate([array.reshape(-1) for array in self.arrays.values()])

    def map_numbers(self, function: Callable[[Any], Any]) -> Parameters:
        """Convert every array, for instance into another arithmetic.

        Parameters
        ----------
        function : callable
            Takes and returns an array, of the same shape.

        Returns
        -------
        Parameters
            The converted parameters.
        """
        return Parameters(self.architecture, {name: function(array) for name, array in self.items()})

    @classmethod
    def from_vector(cls, architecture: Architecture, vector: ArrayLike) -> Parameters:
        """Cut a flat vector into parameters; the inverse of `vector`.

        Parameters
        ----------
        architecture : Architecture
            The architecture.
        vector : array_like of shape (P,)
            All parameters in the order of ``architecture.parameter_shapes``.

        Returns
        -------
        Parameters
            The parameters.

        Raises
        ------
        InputError
            If the length is wrong or a number is not finite.
        """
        numbers = np.asarray(vector)
        if numbers.shape != (architecture.parameter_count,):
            raise InputError(f"vector: found shape {numbers.shape}; ({architecture.parameter_count},) is accepted")
        arrays: dict[str, Array] = {}
        start = 0
        for name, shape in architecture.parameter_shapes.items():
            stop = start + math.prod(shape)
            arrays[name] = numbers[start:stop].reshape(shape)
            start = stop
        return cls(architecture, arrays)

    @classmethod
    def random(
        cls, architecture: Architecture, *, rng: int | np.random.Generator | None = None, scale: str = "he"
    ) -> Parameters:
        """Draw Gaussian parameters; biases are random too, so that nothing is degenerate.

        Parameters
        ----------
        architecture : Architecture
            The architecture.
        rng : int or Generator, optional
            Seed or generator.
        scale : {"he", "lecun", "standard_normal"}
            Variance of the weights: 2 / fan-in, 1 / fan-in or 1. Biases have variance 1 / fan-in, 1 / fan-in or 1.

        Returns
        -------
        Parameters
            The parameters.

        Raises
        ------
        InputError
            For an unknown scale.
        """
        if scale not in SCALES:
            raise InputError(f"scale: found {scale!r:.60}; {', '.join(SCALES)} are accepted")
        generator = np.random.default_rng(rng)
        arrays: dict[str, Float] = {}
        fan_in = 1
        for name, shape in architecture.parameter_shapes.items():
            is_weight = name.endswith("/weight")
            if is_weight:  # the bias of a layer follows its weight
                fan_in = math.prod(shape[1:])
            variance = 1.0 if scale == "standard_normal" else 1.0 / fan_in
            if is_weight and scale == "he":
                variance *= 2.0
            arrays[name] = math.sqrt(variance) * generator.standard_normal(shape)
        return cls(architecture, arrays)
