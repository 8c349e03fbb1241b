"""Strict reading of certificates: JSON, the outer keys, and the texts of rational numbers."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

from provable.checker.verdict import Invalid

FORMAT = "provable-certificate/1"

LARGEST_TEXT = 2**28
"""Bytes of JSON that are read at most."""

_MOST_DIGITS = 4000

_RATIONAL = re.compile(r"(?:0|-?[1-9][0-9]*)(?:/[1-9][0-9]*)?", re.ASCII)

_OUTER = {"format", "claim", "data", "subject", "library", "seed"}


def parse(text: str | bytes, what: str) -> Any:
    """Parse JSON without doubled keys, NaN and infinities.

    Parameters
    ----------
    text : str or bytes
        The document.
    what : str
        What it is, for messages.

    Returns
    -------
    object
        JSON values.

    Raises
    ------
    Invalid
        If it is not such a document.
    """
    if len(text) > LARGEST_TEXT:
        raise Invalid(f"the {what} has {len(text)} bytes, and at most {LARGEST_TEXT} are read")

    def members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        if len({key for key, _ in pairs}) < len(pairs):
            raise Invalid(f"the {what} has a key twice in one object")
        return dict(pairs)

    def number(literal: str) -> float:
        if not math.isfinite(float(literal)):
            raise Invalid(f"the {what} has a number that is not finite")
        return float(literal)

    try:
        return json.loads(text, object_pairs_hook=members, parse_float=number, parse_constant=number)
    except (ValueError, RecursionError) as error:
        raise Invalid(f"the {what} is not JSON") from error


def outer(document: Any) -> tuple[str, dict[str, Any], str]:
    """Check the outer keys of a certificate.

    Parameters
    ----------
    document : object
        Parsed JSON.

    Returns
    -------
    claim : str
        The claim type, not compared with any list yet.
    data : dict
        The claim's data, unchecked.
    subject : str
        64 hexadecimal digits.

    Raises
    ------
    Invalid
        If a key is missing, unknown or of a wrong type.
    """
    if not isinstance(document, dict):
        raise Invalid("the certificate is not a JSON object")
    if set(document) != _OUTER:
        wrong = sorted(map(str, set(document) ^ _OUTER))[0][:40]
        raise Invalid(f"the certificate lacks the key {wrong}, or has it without being allowed to")
    if document["format"] != FORMAT:
        raise Invalid(f"the format is not {FORMAT}")
    if not isinstance(document["claim"], str):
        raise Invalid("the claim is not a text")
    if not isinstance(document["data"], dict):
        raise Invalid("the data are not an object")
    subject = document["subject"]
    if not isinstance(subject, str) or not re.fullmatch(r"[0-9a-f]{64}", subject):
        raise Invalid("the subject is not a SHA-256 in lower-case hexadecimal digits")
    library = document["library"]
    if not isinstance(library, dict) or not all(isinstance(version, str) for version in library.values()):
        raise Invalid("the library is not an object of texts")
    if document["seed"] is not None and (type(document["seed"]) is not int or document["seed"] < 0):
        raise Invalid("the seed is neither null nor an integer from 0 on")
    return document["claim"], document["data"], subject


def keys(data: Mapping[str, Any], required: set[str], optional: set[str] | None = None) -> None:
    """Check that an object has the keys that it must have and no others than it may have.

    Parameters
    ----------
    data : mapping
        The object.
    required, optional : set of str
        Keys.

    Raises
    ------
    Invalid
        If a key is missing or unknown.
    """
    missing, unknown = required - set(data), set(data) - required - (optional or set())
    if missing:
        raise Invalid(f"the data lack the key {min(missing)}")
    if unknown:
        raise Invalid(f"the data have the unknown key {min(map(str, unknown))[:40]}")


def rational(value: Any, field: str) -> Fraction:
    """Read a rational number in its only accepted text form: "p" or "p/q" in lowest terms with q > 1.

    Parameters
    ----------
    value : object
        The text.
    field : str
        Its name.

    Returns
    -------
    Fraction
        The number.

    Raises
    ------
    Invalid
        If it is anything else.
    """
    if not isinstance(value, str) or len(value) > 2 * _MOST_DIGITS or not _RATIONAL.fullmatch(value):
        raise Invalid(f"{field} is not a rational number in the form p or p/q")
    top, slash, bottom = value.partition("/")
    if max(len(top), len(bottom)) > _MOST_DIGITS:
        raise Invalid(f"{field} has more than {_MOST_DIGITS} digits")
    numerator, denominator = int(top), int(bottom or "1")
    if math.gcd(numerator, denominator) != 1 or (slash and denominator == 1):
        raise Invalid(f"{field} is not in lowest terms")
    return Fraction(numerator, denominator)


def rationals(value: Any, field: str, length: int | None = None) -> list[Fraction]:
    """Read a list of rational numbers.

    Parameters
    ----------
    value : object
        The list of texts.
    field : str
        Its name.
    length : int, optional
        The number of entries that it must have; default any but 0.

    Returns
    -------
    list of Fraction
        The numbers.

    Raises
    ------
    Invalid
        If it is anything else.
    """
    if not isinstance(value, list) or not value or (length is not None and len(value) != length):
        raise Invalid(f"{field} is not a list of {length if length is not None else 'one or more'} rational numbers")
    return [rational(entry, field) for entry in value]


def rational_rows(value: Any, field: str) -> list[list[Fraction]]:
    """Read a matrix of rational numbers.

    Parameters
    ----------
    value : object
        A list of rows.
    field : str
        Its name.

    Returns
    -------
    list of list of Fraction
        At least one row, all of the same positive length.

    Raises
    ------
    Invalid
        If it is anything else.
    """
    if not isinstance(value, list) or not value or not isinstance(value[0], list):
        raise Invalid(f"{field} is not a list of rows")
    return [rationals(row, field, len(value[0])) for row in value]


def natural(value: Any, field: str, least: int = 0) -> int:
    """Read an integer.

    Parameters
    ----------
    value : object
        The integer; a boolean is none.
    field : str
        Its name.
    least : int
        The smallest one accepted.

    Returns
    -------
    int
        The integer.

    Raises
    ------
    Invalid
        If it is anything else.
    """
    if type(value) is not int or value < least:
        raise Invalid(f"{field} is not an integer from {least} on")
    return value


def canonical(value: Any) -> bytes:
    """Write JSON with sorted keys and no spaces; its SHA-256 is the subject of claims about nothing but their data.

    Parameters
    ----------
    value : object
        JSON values.

    Returns
    -------
    bytes
        ASCII.
    """
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode("ascii")
