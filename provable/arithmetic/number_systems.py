"""The number systems, and how a structure of floats is carried over into them.

A float64 number is a rational number, so every float64 instance of a theorem is an exact instance as well. Arrays of
the exact arithmetics are NumPy object arrays whose elements are python-flint numbers (`fmpq`, `nmod`, `arb`):
``+ - * / @`` and `numpy.tensordot` work on them unchanged. What NumPy cannot do on such arrays (elementary functions,
ranks, linear systems) is dispatched here on the kind of the elements.
"""

from __future__ import annotations

import contextlib
import contextvars
import dataclasses
from collections.abc import Callable, Iterator, Mapping
from fractions import Fraction
from typing import Any

import flint
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
Float = NDArray[np.float64]

working_arithmetic: contextvars.ContextVar[str] = contextvars.ContextVar("working", default="float64")

EPSILON = 2.0**-52
"""Distance from 1 to the next float64."""

DEFAULT_PRIME = 2**61 - 1
"""Mersenne prime; a nonzero polynomial of degree k vanishes at a random point with probability at most k / 2**61."""


@dataclasses.dataclass(frozen=True)
class Arithmetic:
    """A number system in which a claim can be evaluated.

    Parameters
    ----------
    name : {"float64", "rational", "modular", "ball"}
        Which numbers are used.
    prime : int, optional
        The modulus of ``"modular"``.
    bits : int, optional
        The working precision of ``"ball"``, in bits.
    """

    name: str
    prime: int = DEFAULT_PRIME
    bits: int = 256

    @property
    def is_exact(self) -> bool:
        """Whether a violation found in this arithmetic is a proof (true for all but float64)."""
        return self.name != "float64"

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Work in this arithmetic for the duration of a ``with`` block.

        Balls get their precision. While an exact arithmetic is at work, `rank`, `determinant` and `solve` refuse matrices
        of floats: some step before them has left the exact numbers, and rounding would decide.

        Returns
        -------
        Iterator of None
            The context; the former precision is restored on leaving it.
        """
        token = working_arithmetic.set(self.name)
        try:
            with flint.ctx.workprec(self.bits) if self.name == "ball" else contextlib.nullcontext():
                yield
        finally:
            working_arithmetic.reset(token)

    def changes(self, value: Any) -> bool:
        """Tell whether a structure holds a number that `convert` would convert.

        Parameters
        ----------
        value : object
            As for `convert`.

        Returns
        -------
        bool
            False if it holds integers, strings and the like only.
        """
        found: list[Any] = []

        def note(number: Any) -> Any:
            found.append(number)
            return self.number(number)

        _convert(value, note)
        return bool(found)

    def number(self, value: float | int | Fraction) -> Any:
        """Convert one real number exactly.

        Parameters
        ----------
        value : float, int or Fraction
            A finite number; a float stands for the rational number that it is.

        Returns
        -------
        float, fmpq, nmod or arb
            The same number in this arithmetic.
        """
        if self.name == "float64":
            return float(value)
        numerator, denominator = value.as_integer_ratio()
        if self.name == "rational":
            return flint.fmpq(numerator, denominator)
        if self.name == "modular":
            return flint.nmod(numerator, self.prime) / flint.nmod(denominator, self.prime)
        return flint.arb(flint.fmpq(numerator, denominator))

    def convert(self, value: Any) -> Any:
        """Convert every float in a nested structure; integers, strings and booleans stay as they are.

        Parameters
        ----------
        value : object
            Floats, Fractions, float arrays, and tuples, lists, mappings and dataclasses of such. An object with a method
            ``map_numbers(function)`` decides itself what its numbers are.

        Returns
        -------
        object
            The same structure with numbers of this arithmetic.
        """
        return _convert(value, self.number)


FLOAT64 = Arithmetic("float64")
RATIONAL = Arithmetic("rational")
MODULAR = Arithmetic("modular")
BALL = Arithmetic("ball")


def _convert(value: Any, number: Callable[[Any], Any]) -> Any:
    if hasattr(value, "map_numbers"):
        return value.map_numbers(lambda part: _convert(part, number))
    if isinstance(value, (np.ndarray, np.generic)) and value.dtype.kind == "f":
        floats = np.asarray(value)
        converted = np.empty(floats.shape, dtype=object)
        for index in np.ndindex(floats.shape):
            converted[index] = number(float(floats[index]))
        if converted.shape == ():
            return converted[()]
        return converted if not isinstance(number(0.0), float) else converted.astype(np.float64)
    if isinstance(value, float | Fraction):
        return number(value)
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return type(value)(*(_convert(part, number) for part in value))
    if isinstance(value, tuple | list):
        return type(value)(_convert(part, number) for part in value)
    if isinstance(value, Mapping):
        return {key: _convert(part, number) for key, part in value.items()}
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        parts = {f.name: _convert(getattr(value, f.name), number) for f in dataclasses.fields(value) if f.init}
        return dataclasses.replace(value, **parts)
    return value


def kind(array: Any) -> str:
    """Name the arithmetic of an array by its elements; Python integers, such as padded zeros, belong to every arithmetic.

    Parameters
    ----------
    array : array_like
        Numbers of one arithmetic.

    Returns
    -------
    {"float64", "rational", "modular", "ball"}
        Arrays of machine numbers, and empty ones, count as ``"float64"``.
    """
    values = np.asarray(array)
    if values.dtype != object or values.size == 0:
        return "float64"
    for entry in values.reshape(-1):
        if isinstance(entry, flint.arb):
            return "ball"
        if isinstance(entry, flint.nmod):
            return "modular"
        if isinstance(entry, float | np.floating):
            return "float64"
        if not isinstance(entry, int):
            return "rational"
    return "rational"


def modulus_of(values: Array) -> int:
    """Return the prime of an array of residues.

    Parameters
    ----------
    values : ndarray
        Residues, among which Python integers may stand.

    Returns
    -------
    int
        The modulus.
    """
    return next(int(entry.modulus()) for entry in values.reshape(-1) if isinstance(entry, flint.nmod))


def constant(value: float | int | Fraction, like: Any) -> Any:
    """Return a constant in the arithmetic of an array.

    Parameters
    ----------
    value : float, int or Fraction
        The constant; a float stands for the rational number that it is.
    like : array_like
        An array (or number) of the arithmetic wanted.

    Returns
    -------
    float, fmpq, nmod or arb
        The constant.
    """
    name = kind(like)
    if name == "modular":
        return Arithmetic("modular", prime=modulus_of(np.asarray(like))).number(value)
    return Arithmetic(name).number(value)


def full(shape: tuple[int, ...], value: float | int, like: Any) -> Array:
    """Return a constant array in the arithmetic of another one.

    Parameters
    ----------
    shape : tuple of int
        Shape of the result.
    value : float or int
        The number that fills it.
    like : array_like
        An array of the arithmetic wanted.

    Returns
    -------
    ndarray
        float64, or an object array of exact numbers.
    """
    if kind(like) == "float64":
        return np.full(shape, float(value))
    result = np.empty(shape, dtype=object)
    result[...] = constant(value, like)
    return result
