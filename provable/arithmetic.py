"""One formula, several arithmetics: float64, rationals, integers modulo a prime and balls.

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
import scipy.special
from numpy.typing import NDArray

from provable.errors import ArithmeticUnsupported

Array = NDArray[Any]
Float = NDArray[np.float64]

_working: contextvars.ContextVar[str] = contextvars.ContextVar("working", default="float64")

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
        token = _working.set(self.name)
        try:
            with flint.ctx.workprec(self.bits) if self.name == "ball" else contextlib.nullcontext():
                yield
        finally:
            _working.reset(token)

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


def _is_exact(values: Array, operation: str) -> bool:
    """Whether a matrix holds exact numbers; floats are refused while an exact arithmetic is at work."""
    if values.dtype.kind in "iub":
        return True
    if kind(values) != "float64":
        return True
    if _working.get() != "float64":
        raise ArithmeticUnsupported(
            f"{operation} was given floats in {_working.get()} arithmetic; exact numbers are accepted"
        )
    return False


def _modulus(values: Array) -> int:
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
        return Arithmetic("modular", prime=_modulus(np.asarray(like))).number(value)
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


def _elementwise(name: str, of_float: Callable[[Any], Any], of_ball: Callable[[Any], Any], array: Any) -> Any:
    arithmetic = kind(array)
    if arithmetic == "float64":
        return of_float(np.asarray(array, dtype=np.float64))
    if arithmetic != "ball":
        raise ArithmeticUnsupported(f"{name} has no value in {arithmetic} arithmetic; float64 and ball are accepted")
    values = np.asarray(array)
    result = np.empty(values.shape, dtype=object)
    for index in np.ndindex(values.shape):
        result[index] = of_ball(values[index])
    return result if values.shape else result[()]


def exp(array: Any) -> Any:
    """Exponential, elementwise, of floats or balls.

    Parameters
    ----------
    array : array_like
        Arguments.

    Returns
    -------
    ndarray or number
        Values in the same arithmetic.
    """
    return _elementwise("exp", np.exp, lambda z: z.exp(), array)


def log(array: Any) -> Any:
    """Natural logarithm, elementwise, of floats or balls.

    Parameters
    ----------
    array : array_like
        Positive arguments.

    Returns
    -------
    ndarray or number
        Values in the same arithmetic.
    """
    return _elementwise("log", np.log, lambda z: z.log(), array)


def sqrt(array: Any) -> Any:
    """Square root, elementwise, of floats or balls.

    Parameters
    ----------
    array : array_like
        Nonnegative arguments.

    Returns
    -------
    ndarray or number
        Values in the same arithmetic.
    """
    return _elementwise("sqrt", np.sqrt, lambda z: z.sqrt(), array)


def tanh(array: Any) -> Any:
    """Hyperbolic tangent, elementwise, of floats or balls.

    Parameters
    ----------
    array : array_like
        Arguments.

    Returns
    -------
    ndarray or number
        Values in the same arithmetic.
    """
    return _elementwise("tanh", np.tanh, lambda z: z.tanh(), array)


def erf(array: Any) -> Any:
    """Error function, elementwise, of floats or balls.

    Parameters
    ----------
    array : array_like
        Arguments.

    Returns
    -------
    ndarray or number
        Values in the same arithmetic.
    """
    return _elementwise("erf", scipy.special.erf, lambda z: z.erf(), array)


def arccos(array: Any) -> Any:
    """Inverse cosine, elementwise, of floats or balls.

    Parameters
    ----------
    array : array_like
        Arguments in [-1, 1].

    Returns
    -------
    ndarray or number
        Angles in radians, in the same arithmetic.
    """
    return _elementwise("arccos", np.arccos, lambda z: z.acos(), array)


def positive(array: Any) -> NDArray[np.bool_]:
    """Tell elementwise which numbers are positive, by an exact comparison.

    Parameters
    ----------
    array : array_like
        Floats, rationals or balls.

    Returns
    -------
    ndarray of bool
        ``array > 0``.

    Raises
    ------
    ArithmeticUnsupported
        For residues modulo a prime, which have no order, and for balls that straddle zero.
    """
    arithmetic = kind(array)
    values = np.asarray(array)
    if arithmetic == "modular":
        raise ArithmeticUnsupported("residues modulo a prime have no order, so no sign; use rationals")
    if arithmetic != "ball":
        return np.asarray(values > 0, dtype=np.bool_)
    result = np.zeros(values.shape, dtype=np.bool_)
    for index in np.ndindex(values.shape):
        if values[index] > 0:
            result[index] = True
        elif not values[index] <= 0:
            raise ArithmeticUnsupported(
                f"the ball {values[index]} straddles zero, so its sign is open; raise the precision"
            )
    return result


def to_float(array: Any) -> Float:
    """Round numbers of any ordered arithmetic to float64.

    Parameters
    ----------
    array : array_like
        Floats, rationals or balls (whose midpoints are taken).

    Returns
    -------
    ndarray of float64
        Nearest floats.

    Raises
    ------
    ArithmeticUnsupported
        For residues modulo a prime.
    """
    if kind(array) == "modular":
        raise ArithmeticUnsupported("residues modulo a prime have no real value")
    values = np.asarray(array)
    if values.dtype != object:
        return values.astype(np.float64)
    result = np.empty(values.shape)
    for index in np.ndindex(values.shape):
        entry: Any = values[index]
        result[index] = int(entry.p) / int(entry.q) if isinstance(entry, flint.fmpq) else float(entry)
    return result


def _flint_matrix(matrix: Any) -> Any:
    values = np.asarray(matrix)
    rows, columns = values.shape
    arithmetic = kind(values) if values.dtype == object else "rational"
    entries = values.reshape(-1).tolist()
    if arithmetic == "modular":
        prime = _modulus(values)
        return flint.nmod_mat(rows, columns, [int(entry) for entry in entries], prime)
    if arithmetic == "ball":
        return flint.arb_mat(rows, columns, entries)
    return flint.fmpq_mat(rows, columns, entries)


def _from_flint(matrix: Any) -> Array:
    result = np.empty((matrix.nrows(), matrix.ncols()), dtype=object)
    for index, row in enumerate(matrix.tolist()):
        result[index] = row
    return result


def rank(matrix: Any, *, relative_tolerance: float | None = None) -> int:
    """Rank of a matrix: exact for rationals and residues, numerical for floats.

    Parameters
    ----------
    matrix : array_like of shape (m, n)
        Numbers of one arithmetic.
    relative_tolerance : float, optional
        For floats only: singular values below this multiple of the largest one count as zero; default
        ``8 * max(m, n) * 2**-52``, where 8 covers the error of forming the entries by products of length below 64.

    Returns
    -------
    int
        The rank.

    Raises
    ------
    ArithmeticUnsupported
        For balls, whose rank is not determined by their midpoints.
    """
    values = np.asarray(matrix)
    if values.size == 0:
        return 0
    if kind(values) == "ball":
        raise ArithmeticUnsupported("a matrix of balls has no rank; use rationals or residues")
    if _is_exact(values, "rank"):
        return int(_flint_matrix(values).rank())
    singular = np.linalg.svd(values.astype(np.float64), compute_uv=False)
    if relative_tolerance is None:
        relative_tolerance = 8 * max(values.shape) * EPSILON
    return int(np.sum(singular > relative_tolerance * singular[0]))


def determinant(matrix: Any) -> Any:
    """Determinant of a square matrix in any arithmetic.

    Parameters
    ----------
    matrix : array_like of shape (n, n)
        Numbers of one arithmetic.

    Returns
    -------
    float, fmpq, nmod or arb
        The determinant.
    """
    values = np.asarray(matrix)
    if not _is_exact(values, "determinant"):
        return float(np.linalg.det(values.astype(np.float64)))
    return _flint_matrix(values).det()


def solve(matrix: Any, right: Any) -> Array:
    """Solve a square linear system in any arithmetic.

    Parameters
    ----------
    matrix : array_like of shape (n, n)
        An invertible matrix.
    right : array_like of shape (n,) or (n, k)
        Right-hand sides in the same arithmetic.

    Returns
    -------
    ndarray of the shape of `right`
        The solution.

    Raises
    ------
    ZeroDivisionError
        If the matrix is singular (for balls: cannot be shown to be invertible).
    """
    values, sides = np.asarray(matrix), np.asarray(right)
    if not (_is_exact(values, "solve") and _is_exact(sides, "solve")):
        try:
            solution: Array = np.linalg.solve(values.astype(np.float64), sides.astype(np.float64))
        except np.linalg.LinAlgError as error:
            raise ZeroDivisionError("the matrix is singular") from error
        return solution
    columns = sides.reshape(len(sides), -1)
    return _from_flint(_flint_matrix(values).solve(_flint_matrix(columns))).reshape(sides.shape)
