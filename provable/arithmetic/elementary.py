"""Elementary functions, signs and rounding of arrays, dispatched on the kind of their elements."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import flint
import numpy as np
import scipy.special
from numpy.typing import NDArray

from provable.arithmetic.number_systems import Float, kind
from provable.errors import ArithmeticUnsupported


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
