"""Validation of single fields of a description: each refusal names the field, what was found and what is accepted."""

from __future__ import annotations

import math
import operator
import reprlib
from collections.abc import Sequence
from typing import Any

from provable.errors import InputError

Shape = tuple[int, ...]
Pair = tuple[int, int]

LARGEST_DIMENSION = 2**31
"""No single extent (features, channels, height, kernel, padding) may be larger."""

LARGEST_ARRAY = 2**40
"""No activation or parameter array may have more entries (8 TiB in float64)."""


def shown(value: Any) -> str:
    """Show a value that was found, in one short line.

    Parameters
    ----------
    value : object
        Anything, however large or deeply nested.

    Returns
    -------
    str
        At most about a hundred characters, without line breaks.
    """
    if isinstance(value, int) and not isinstance(value, bool) and value.bit_length() > 128:
        return f"an integer of {value.bit_length()} bits"
    brief = reprlib.Repr()
    brief.maxstring = brief.maxother = 60
    brief.maxlevel = 2
    try:
        text = brief.repr(value)
    except (ValueError, RecursionError):
        return f"a {type(value).__name__}"
    return " ".join(text.split())[:120]


def integer(value: Any, field: str, *, minimum: int) -> int:
    """Check an extent.

    Parameters
    ----------
    value : object
        The number; a bool or a float is not an integer.
    field : str
        The name of the field, for the message.
    minimum : {0, 1}
        The smallest number accepted.

    Returns
    -------
    int
        The number.

    Raises
    ------
    InputError
        If it is anything but an integer between `minimum` and 2**31.
    """
    accepted = "a positive integer" if minimum == 1 else "a nonnegative integer"
    if isinstance(value, bool):
        raise InputError(f"{field}: found {shown(value)}; {accepted} is accepted")
    try:
        number = operator.index(value)
    except TypeError:
        raise InputError(f"{field}: found {shown(value)}; {accepted} is accepted") from None
    if number < minimum:
        raise InputError(f"{field}: found {shown(number)}; {accepted} is accepted")
    if number > LARGEST_DIMENSION:
        raise InputError(f"{field}: found {shown(number)}; at most {LARGEST_DIMENSION} is accepted")
    return number


def pair(value: Any, field: str, *, minimum: int) -> Pair:
    """Check a vertical and a horizontal extent.

    Parameters
    ----------
    value : object
        One integer for both directions, or two.
    field : str
        The name of the field, for the message.
    minimum : {0, 1}
        The smallest number accepted.

    Returns
    -------
    tuple of two int
        Vertical, horizontal.

    Raises
    ------
    InputError
        If it is anything but an integer, or a pair of them, between `minimum` and 2**31.
    """
    parts = value if isinstance(value, list | tuple) else (value, value)
    accepted = "a positive integer" if minimum == 1 else "a nonnegative integer"
    if len(parts) != 2:
        raise InputError(f"{field}: found {shown(value)}; {accepted} or a pair of them is accepted")
    try:
        return integer(parts[0], field, minimum=minimum), integer(parts[1], field, minimum=minimum)
    except InputError as error:
        if "at most" in str(error):
            raise
        raise InputError(f"{field}: found {shown(value)}; {accepted} or a pair of them is accepted") from None


def finite(value: Any, field: str) -> float:
    """Check a real number.

    Parameters
    ----------
    value : object
        The number; a bool or a string is not a number.
    field : str
        The name of the field, for the message.

    Returns
    -------
    float
        The number in float64.

    Raises
    ------
    InputError
        If it is anything but a finite real number.
    """
    # bool has __float__ and so have strings' cousins in NumPy; arrays and exact numbers are not wanted either
    if isinstance(value, bool) or not (isinstance(value, int | float) or hasattr(value, "is_integer")):
        raise InputError(f"{field}: found {shown(value)}; a finite number is accepted")
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    if not math.isfinite(number):
        raise InputError(f"{field}: found {shown(value)}; a finite number is accepted")
    return number


def boolean(value: Any, field: str) -> bool:
    """Check a flag.

    Parameters
    ----------
    value : object
        The flag; 0 and 1 are not flags.
    field : str
        The name of the field, for the message.

    Returns
    -------
    bool
        The flag.

    Raises
    ------
    InputError
        If it is anything but true or false.
    """
    if not isinstance(value, bool):
        raise InputError(f"{field}: found {shown(value)}; true or false is accepted")
    return value


def sequence(value: Any, field: str, *, longest: int, of: str) -> Sequence[Any]:
    """Check that a field is a nonempty list of bounded length.

    Parameters
    ----------
    value : object
        A list or tuple.
    field : str
        The name of the field, for the message.
    longest : int
        The largest number of entries accepted.
    of : str
        What the entries are, in the plural, for the message.

    Returns
    -------
    sequence
        The same list.

    Raises
    ------
    InputError
        If it is no list, empty or too long.
    """
    if not isinstance(value, list | tuple):
        raise InputError(f"{field}: found {shown(value)}; a list of {of} is accepted")
    if not 1 <= len(value) <= longest:
        raise InputError(f"{field}: found {len(value)} entries; 1 to {longest} {of} are accepted")
    return value


def bounded(shape: Shape, what: str) -> Shape:
    """Check that an array of a shape could be stored at all.

    Parameters
    ----------
    shape : tuple of int
        Positive extents.
    what : str
        What the array is, for the message.

    Returns
    -------
    tuple of int
        The same shape.

    Raises
    ------
    InputError
        If an extent is over 2**31 or the number of entries over 2**40.
    """
    if any(extent > LARGEST_DIMENSION for extent in shape):
        raise InputError(
            f"found {what} of shape {shape}, {8 * math.prod(shape)} bytes in float64; extents of at most {LARGEST_DIMENSION} "
            "are accepted"
        )
    if math.prod(shape) > LARGEST_ARRAY:
        raise InputError(
            f"found {what} of shape {shape} with {math.prod(shape)} entries, {8 * math.prod(shape)} bytes; at most "
            f"{LARGEST_ARRAY} entries are accepted"
        )
    return shape
